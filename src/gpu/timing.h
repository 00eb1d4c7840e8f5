/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_TIMING_H
#define VTR_GPU_TIMING_H

#include <stdint.h>

#include <vitrine/display.h>

/* Video timings (CVT 1.2, reduced blanking version 1), for EDIDs. */

enum {
	/* what all of them have: pixels and lines */
	VTR_CVT_H_FRONT = 48,
	VTR_CVT_H_SYNC = 32,
	VTR_CVT_H_BLANK = 160,
	VTR_CVT_V_FRONT = 3,
};

struct vtr_timing {
	uint32_t width, height;
	uint32_t v_blank, v_sync;
	uint64_t clock; /* 10 kHz */
};

/* Of a mode in the range of vtr_timing_sane_mode(). */
struct vtr_timing vtr_timing_cvt(const struct vtr_mode *mode);

/* What cannot be said in an EDID is brought into the range of what can. */
struct vtr_mode vtr_timing_sane_mode(const struct vtr_mode *mode);

/* The nearest mode that fits a detailed timing descriptor (12 bits of pixels and lines, 16 bits of clock): half the size while that
 * is too much, then 60 Hz, then half the rate. */
struct vtr_mode vtr_timing_descriptor_mode(struct vtr_mode mode);

static inline uint32_t vtr_smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t vtr_larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

#endif
