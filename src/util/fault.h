/* SPDX-License-Identifier: MIT */
#ifndef VTR_UTIL_FAULT_H
#define VTR_UTIL_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Guards for mappings of files that somebody else may truncate, and of devices whose memory may be away. Touching a page beyond the
 * end of its file, or of such a device, raises SIGBUS; inside a guarded range that replaces the rest of the range by zero pages and marks the guard, and the access goes on. All functions may
 * be called from any thread. A thread that touches guarded memory must not block SIGBUS.
 */
struct vtr_fault_guard;

/* Guards the mapping [start, start + length), which begins and ends on multiples of page, the page size of its file (a power of
 * two). The first guard of the process installs the handler. NULL when out of memory. */
struct vtr_fault_guard *vtr_fault_guard_add(void *start, size_t length, size_t page);

/* Ends the guard; call before the range is unmapped. NULL is fine. */
void vtr_fault_guard_remove(struct vtr_fault_guard *guard);

/* Forgets that pages were replaced: the caller has mapped the whole range anew. */
void vtr_fault_guard_reset(struct vtr_fault_guard *guard);

/* True when pages of the range were replaced. Asked after a copy it tells whether the copy can be trusted. NULL gives false. */
bool vtr_fault_guard_hit(const struct vtr_fault_guard *guard);

#endif
