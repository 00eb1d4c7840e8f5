/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_PROCESS_CONFINE_H
#define VTR_RENDER_PROCESS_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Takes this process in, for good; before it has threads. max_memory: bytes that the guest's resources may take, 0: no limit.
 * render_node: a device that stays open to it beside those that drivers are known for, or NULL. 0, or -errno with *what: what it
 * cannot do. What the kernel does not have is left out, with a warning.
 */
int vtr_process_confine(uint64_t max_memory, const char *render_node, const char **what);

/* ---- its parts ---- */

/* Landlock (process_files.c): no_new_privs has to be set. Returns the ABI of the kernel's Landlock, or -errno: nothing changed. */
int vtr_process_restrict_files(const char *render_node);

enum { VTR_LANDLOCK_TRUNCATES = 3 }; /* the first ABI that handles what cuts files short */

/* seccomp (process_calls.c): no_new_privs has to be set. refuse_truncation: opening with O_TRUNC is refused, because nobody else
 * does. 0 or -errno: nothing changed. */
int vtr_process_restrict_calls(bool refuse_truncation);

#endif
