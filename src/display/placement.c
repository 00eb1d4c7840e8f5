/* SPDX-License-Identifier: MIT */
#include "display/placement.h"

static uint32_t scaled(uint32_t size, uint64_t numerator, uint64_t denominator)
{
	uint64_t result = (size * numerator + denominator / 2) / denominator;

	return result ? (uint32_t)result : 1;
}

struct vtr_placement vtr_placement_of(uint32_t picture_width, uint32_t picture_height, uint32_t window_width,
                                      uint32_t window_height, enum vtr_scaling scaling)
{
	struct vtr_placement placement = { .picture_width = picture_width, .picture_height = picture_height };
	uint32_t times_x = window_width / picture_width, times_y = window_height / picture_height;
	uint32_t times = times_x < times_y ? times_x : times_y;

	if (scaling == VTR_SCALING_INTEGER && times) {
		placement.width = picture_width * times;
		placement.height = picture_height * times;
	} else if ((uint64_t)window_width * picture_height <= (uint64_t)window_height * picture_width) {
		placement.width = window_width;
		placement.height = scaled(picture_height, window_width, picture_width);
	} else {
		placement.width = scaled(picture_width, window_height, picture_height);
		placement.height = window_height;
	}
	placement.x = (int32_t)((window_width - placement.width) / 2);
	placement.y = (int32_t)((window_height - placement.height) / 2);
	return placement;
}

/* One axis. position: from the picture's edge, in window pixels. */
static bool to_pixel(double position, uint32_t size, uint32_t picture_size, uint32_t *pixel)
{
	bool inside = position >= 0 && position < size;
	double at = position * picture_size / size;

	if (!(at > 0)) /* also not a number */
		*pixel = 0;
	else if (at >= picture_size)
		*pixel = picture_size - 1;
	else
		*pixel = (uint32_t)at;
	return inside;
}

bool vtr_placement_to_picture(const struct vtr_placement *placement, double x, double y, uint32_t *picture_x, uint32_t *picture_y)
{
	bool inside_x = to_pixel(x - placement->x, placement->width, placement->picture_width, picture_x);
	bool inside_y = to_pixel(y - placement->y, placement->height, placement->picture_height, picture_y);

	return inside_x && inside_y;
}
