/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_USAGE_H
#define VTR_GUEST_USAGE_H

#include <stdint.h>

/* What another process has used so far, from /proc. All return 0 or -errno and leave the result alone on failure. */
int vtr_usage_cpu_ns(uint32_t pid, uint64_t *cpu_ns);  /* of all its threads, user and system */
int vtr_usage_waits(uint32_t pid, uint64_t *waits);    /* how often its threads went to sleep, so were woken */
int vtr_usage_resident(uint32_t pid, uint64_t *bytes); /* its own memory: without files and guest memory it maps */

#endif
