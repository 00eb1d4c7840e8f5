/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_PROCESS_CONFINE_H
#define VTR_RENDER_PROCESS_CONFINE_H

#include <stdint.h>

/* Takes this process in, for good; before it has threads. max_memory: bytes that the guest's resources may take, 0: no limit. 0, or
 * -errno with *what: what it cannot do. */
int vtr_process_confine(uint64_t max_memory, const char **what);

#endif
