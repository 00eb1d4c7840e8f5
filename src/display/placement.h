/* SPDX-License-Identifier: MIT */
#ifndef VTR_DISPLAY_PLACEMENT_H
#define VTR_DISPLAY_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Where a picture stands in a window: in the middle, as large as its shape allows, bars around it; and the way back, from a point
 * of the window to a pixel of the picture. All sizes are physical pixels, none of them 0.
 */
enum vtr_scaling {
	VTR_SCALING_FIT,     /* as large as it gets */
	VTR_SCALING_INTEGER, /* a whole multiple of its size, so that all pixels are alike; FIT where the window is smaller */
};

struct vtr_placement {
	int32_t x, y; /* of the picture's upper left corner in the window */
	uint32_t width, height;
	uint32_t picture_width, picture_height;
};

struct vtr_placement vtr_placement_of(uint32_t picture_width, uint32_t picture_height, uint32_t window_width,
                                      uint32_t window_height, enum vtr_scaling scaling);

/* The pixel of the picture under (x, y) of the window; the nearest one outside the picture. True when the point is inside. */
bool vtr_placement_to_picture(const struct vtr_placement *placement, double x, double y, uint32_t *picture_x, uint32_t *picture_y);

#endif
