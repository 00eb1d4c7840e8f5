/* SPDX-License-Identifier: MIT */
#ifndef VTR_MEMORY_COPY_H
#define VTR_MEMORY_COPY_H

#include <stddef.h>

/*
 * Copying large images out of small scattered ranges. The processor's own prefetching stops at the end of a range, so that with
 * ranges of a page a copy waits for memory at each of them, and takes twice as long as one of a single range. Told where the next
 * range lies, it fetches that while it copies this one. One implementation is chosen by meson.
 */

/* Copies length bytes and meanwhile fetches as many at ahead (any address; nothing is read there). What is written may bypass the
 * caches: it is visible to other threads after vtr_copy_stream_end() only. */
void vtr_copy_stream(void *to, const void *from, size_t length, const void *ahead);
void vtr_copy_stream_end(void);

#endif
