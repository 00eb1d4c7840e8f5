/* SPDX-License-Identifier: MIT */
/*
 * Timings are CVT with reduced blanking (version 1), but for the pixel clock, which is rounded to 10 kHz, the unit of EDID's
 * descriptors, instead of 250 kHz: the refresh rate comes out as it was asked for. Guests read size and refresh rate from it;
 * nothing is ever sent over a wire.
 */
#include "gpu/timing.h"

#include <stdbool.h>

enum {
	MIN_ACTIVE = 64, /* drivers take no less */
	MAX_ACTIVE = 65535,
	MIN_REFRESH = 1000, /* mHz */
	MAX_REFRESH = 1000000,
	DEFAULT_REFRESH = 60000,

	/* CVT reduced blanking: lines, microseconds */
	V_BACK_MIN = 6,
	V_BLANK_US = 460,

	/* limits of a detailed timing descriptor: 12 bits, and 10 kHz in 16 bits */
	DTD_MAX_LINES = 4095,
	DTD_MAX_CLOCK = 65535,
	DTD_MIN_CLOCK = 1000, /* below 10 MHz nobody believes it */

	DISPLAYID_MAX_CLOCK = 1 << 24, /* 10 kHz */
};

static bool is_ratio(const struct vtr_mode *mode, uint32_t x, uint32_t y)
{
	return (uint64_t)mode->width * y == (uint64_t)mode->height * x;
}

/* CVT codes the aspect ratio in the width of the vertical sync. */
static uint32_t cvt_v_sync(const struct vtr_mode *mode)
{
	if (is_ratio(mode, 4, 3))
		return 4;
	if (is_ratio(mode, 16, 9))
		return 5;
	if (is_ratio(mode, 16, 10))
		return 6;
	if (is_ratio(mode, 5, 4) || is_ratio(mode, 15, 9))
		return 7;
	return 10;
}

struct vtr_timing vtr_timing_cvt(const struct vtr_mode *mode)
{
	struct vtr_timing timing = { .width = mode->width, .height = mode->height, .v_sync = cvt_v_sync(mode) };
	/* the part of a frame's time that is blanking, in units of 1e-9: us * mHz */
	const uint64_t blank = (uint64_t)V_BLANK_US * mode->refresh_mhz;
	const uint64_t h_total = mode->width + VTR_CVT_H_BLANK;
	uint64_t lines; /* for DTD_MIN_CLOCK, no more than fit */

	timing.v_blank = (uint32_t)(blank * mode->height / (UINT64_C(1000000000) - blank)) + 1;
	timing.v_blank = vtr_larger(timing.v_blank, VTR_CVT_V_FRONT + timing.v_sync + V_BACK_MIN);
	lines = UINT64_C(10000000) * DTD_MIN_CLOCK / (h_total * mode->refresh_mhz) + 1;
	if (lines > timing.height + timing.v_blank)
		timing.v_blank = vtr_smaller((uint32_t)lines - timing.height, DTD_MAX_LINES);
	timing.clock = (h_total * (timing.height + timing.v_blank) * mode->refresh_mhz + 5000000) / 10000000;
	return timing;
}

static bool fits_descriptor(const struct vtr_timing *timing)
{
	return timing->width <= DTD_MAX_LINES && timing->height <= DTD_MAX_LINES && timing->v_blank <= DTD_MAX_LINES &&
	       timing->clock <= DTD_MAX_CLOCK;
}

struct vtr_mode vtr_timing_descriptor_mode(struct vtr_mode mode)
{
	struct vtr_timing timing = vtr_timing_cvt(&mode);

	while (!fits_descriptor(&timing)) {
		if (mode.width > DTD_MAX_LINES || mode.height > DTD_MAX_LINES) {
			mode.width = vtr_larger(mode.width / 2, MIN_ACTIVE);
			mode.height = vtr_larger(mode.height / 2, MIN_ACTIVE);
		} else {
			mode.refresh_mhz = mode.refresh_mhz > DEFAULT_REFRESH ? DEFAULT_REFRESH : mode.refresh_mhz / 2;
		}
		timing = vtr_timing_cvt(&mode);
	}
	return mode;
}

struct vtr_mode vtr_timing_sane_mode(const struct vtr_mode *mode)
{
	struct vtr_mode sane = *mode;

	if (sane.refresh_mhz == 0)
		sane.refresh_mhz = DEFAULT_REFRESH;
	sane.width = vtr_larger(vtr_smaller(sane.width, MAX_ACTIVE), MIN_ACTIVE);
	sane.height = vtr_larger(vtr_smaller(sane.height, MAX_ACTIVE), MIN_ACTIVE);
	sane.refresh_mhz = vtr_larger(vtr_smaller(sane.refresh_mhz, MAX_REFRESH), MIN_REFRESH);
	while (vtr_timing_cvt(&sane).clock > DISPLAYID_MAX_CLOCK)
		sane.refresh_mhz /= 2;
	return sane;
}
