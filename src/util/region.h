/* SPDX-License-Identifier: MIT */
#ifndef VTR_UTIL_REGION_H
#define VTR_UTIL_REGION_H

#include <pixman.h>

enum { VTR_REGION_MAX_RECTS = 64 };

/* Adds other to region. A region of more than VTR_REGION_MAX_RECTS rectangles becomes its bounding box: a guest that flushes a
 * chess-board costs some copying, not memory. */
void vtr_region_add(pixman_region32_t *region, const pixman_region32_t *other);

#endif
