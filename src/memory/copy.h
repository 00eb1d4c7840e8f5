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

/*
 * Copying out of device memory, which no cache holds: each load is a round trip to the device, however few bytes it asks for, and
 * the library's copy may ask for single ones (a string instruction on uncached memory does). All loads are aligned, which some
 * processors insist on there, none goes beyond the range, no byte is read twice, and they are as wide as the processor has them.
 */
void vtr_copy_device(void *to, const void *from, size_t length);

/* Its middle: from is on a multiple of VTR_COPY_WIDE, length is one. */
enum { VTR_COPY_WIDE = 32 };
void vtr_copy_wide(void *to, const void *from, size_t length);

#endif
