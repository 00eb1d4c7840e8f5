/* SPDX-License-Identifier: MIT */
#ifndef VTR_INPUT_LAYOUT_H
#define VTR_INPUT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/display.h>
#include <vitrine/limits.h>

/*
 * Where the outputs lie on the one absolute pointer that a guest has: side by side from left to right by their number, upper edges
 * aligned, as GET_DISPLAY_INFO proposes it to the guest. Only outputs that show a picture count, with their picture's size; when
 * none does, those that are connected, with their mode's.
 */
struct vtr_input_layout {
	uint32_t width, height; /* of all; 0 when there is no output */
	struct vtr_input_area {
		uint32_t x; /* its left edge */
		uint32_t width, height;
	} areas[VTR_MAX_SCANOUTS]; /* width 0: not part of it */
};

/* A place in an output's picture, in pixels. */
struct vtr_input_place {
	uint32_t output;
	double x, y;
};

/* As the outputs are now (device thread; NULL: none). True when *layout was something else before. */
bool vtr_input_layout_update(struct vtr_input_layout *layout, struct vtr_outputs *outputs);

/* The place on axes of 0 to max each. False when its output is not part of the layout. */
bool vtr_input_layout_map(const struct vtr_input_layout *layout, const struct vtr_input_place *place, int32_t max, int32_t *x,
                          int32_t *y);

#endif
