/* SPDX-License-Identifier: MIT */
/*
 * From places in pictures to positions of the tablet and the touch screen.
 *
 * A guest spreads the axis over all its screens: libinput, for one, takes value v of an axis with max + 1 values as the pixel
 * v * width / (max + 1), cut to a whole number. The centre of a pixel therefore comes out as that pixel, for up to max + 1 of them;
 * its left edge would, rounding being what it is, now and then come out as its neighbour.
 */
#include "input/layout.h"

#include <math.h>
#include <string.h>

static void add(struct vtr_input_layout *layout, uint32_t index, uint32_t width, uint32_t height)
{
	layout->areas[index] = (struct vtr_input_area){ layout->width, width, height };
	layout->width += width;
	if (layout->height < height)
		layout->height = height;
}

static void add_pictures(struct vtr_input_layout *layout, struct vtr_outputs *outputs)
{
	for (uint32_t i = 0; i < vtr_outputs_count(outputs); i++) {
		uint32_t width, height;

		if (vtr_output_picture_size(vtr_outputs_get(outputs, i), &width, &height))
			add(layout, i, width, height);
	}
}

static void add_modes(struct vtr_input_layout *layout, struct vtr_outputs *outputs)
{
	for (uint32_t i = 0; i < vtr_outputs_count(outputs); i++) {
		const struct vtr_output *output = vtr_outputs_get(outputs, i);
		struct vtr_mode mode = vtr_output_mode(output);

		if (vtr_output_connected(output))
			add(layout, i, mode.width, mode.height);
	}
}

bool vtr_input_layout_update(struct vtr_input_layout *layout, struct vtr_outputs *outputs)
{
	struct vtr_input_layout now = { 0 };

	if (outputs)
		add_pictures(&now, outputs);
	if (outputs && !now.width)
		add_modes(&now, outputs);
	if (!memcmp(layout, &now, sizeof(now)))
		return false;
	*layout = now;
	return true;
}

/* The centre of the pixel that position lies in, or of the nearest one. */
static double pixel(double position, uint32_t size)
{
	if (!(position > 0)) /* NaN, too */
		position = 0;
	if (position > size - 1)
		position = size - 1;
	return floor(position) + 0.5;
}

/* position of size, at least half a pixel from either end, on 0 to max. */
static int32_t scale(double position, uint32_t size, int32_t max)
{
	double value = floor(position * ((double)max + 1) / size);

	return value > max ? max : (int32_t)value;
}

bool vtr_input_layout_map(const struct vtr_input_layout *layout, const struct vtr_input_place *place, int32_t max, int32_t *x,
                          int32_t *y)
{
	const struct vtr_input_area *area = place->output < VTR_MAX_SCANOUTS ? &layout->areas[place->output] : NULL;

	if (!area || !area->width)
		return false;
	*x = scale(area->x + pixel(place->x, area->width), layout->width, max);
	*y = scale(pixel(place->y, area->height), layout->height, max);
	return true;
}
