/* SPDX-License-Identifier: MIT */
/*
 * Modes: what a connector or a person says holds at once; what a window asks for has to settle. A window is dragged through a
 * hundred sizes in a second, and each one told to the guest would be a hotplug there, with a mode set, new framebuffers and
 * windows that move about. So a wish is kept, with the time at which it counts, and each newer one takes its place; one timer a
 * display serves all of its outputs. All of that is the display thread's.
 */
#include <assert.h>

#include "display/output.h"

#define SETTLE_NS (VTR_MODE_SETTLE_MS * UINT64_C(1000000))

static bool same_mode(const struct vtr_mode *a, const struct vtr_mode *b)
{
	return a->width == b->width && a->height == b->height && a->refresh_mhz == b->refresh_mhz;
}

void vtr_output_set_mode(struct vtr_output *output, const struct vtr_mode *mode)
{
	assert(vtr_output_mode_is_valid(mode));
	output->wanted.width = 0;
	vtr_output_lock(output);
	output->mode = *mode;
	vtr_output_unlock(output);
	vtr_outputs_post(output->outputs, &output->mode_changed);
}

static uint32_t round_size(uint32_t pixels, uint32_t step, uint32_t least)
{
	if (pixels > VTR_MAX_DIMENSION)
		pixels = VTR_MAX_DIMENSION;
	pixels -= pixels % step;
	return pixels < least ? least : pixels;
}

static uint32_t round_refresh(uint32_t refresh_mhz, uint32_t now)
{
	if (!refresh_mhz)
		return now;
	if (refresh_mhz < VTR_MIN_REFRESH_MHZ)
		return VTR_MIN_REFRESH_MHZ;
	return refresh_mhz < VTR_MAX_REFRESH_MHZ ? refresh_mhz : VTR_MAX_REFRESH_MHZ;
}

void vtr_output_request_mode(struct vtr_output *output, const struct vtr_mode *mode)
{
	const struct vtr_mode now = vtr_output_mode(output);
	const struct vtr_mode wanted = {
		.width = round_size(mode->width, VTR_MODE_WIDTH_STEP, VTR_MODE_MIN_WIDTH),
		.height = round_size(mode->height, VTR_MODE_HEIGHT_STEP, VTR_MODE_MIN_HEIGHT),
		.refresh_mhz = round_refresh(mode->refresh_mhz, now.refresh_mhz),
	};

	output->wanted = wanted;
	if (atomic_load(&output->fixed) || same_mode(&wanted, &now))
		output->wanted.width = 0;
	output->wanted_ns = vtr_now_ns() + SETTLE_NS;
	vtr_display_settle(output->display);
}

uint64_t vtr_output_settle(struct vtr_output *output, uint64_t now)
{
	if (!output->wanted.width)
		return 0;
	if (output->wanted_ns > now)
		return output->wanted_ns;
	const struct vtr_mode wanted = output->wanted;
	if (atomic_load(&output->fixed))
		output->wanted.width = 0; /* somebody said so in the meantime */
	else
		vtr_output_set_mode(output, &wanted);
	return 0;
}
