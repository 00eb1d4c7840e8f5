/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_EDID_H
#define VTR_GPU_EDID_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/timing.h"

/* What the blocks of an EDID share. All numbers are little-endian. */

enum {
	VTR_EDID_BLOCK = 128,
	VTR_EDID_MAX_MM = 2550, /* of a display size: one byte of centimetres */
	VTR_EDID_MODEL_YEAR = 2025,
	VTR_EDID_PRODUCT_CODE = 1,
};

static inline void vtr_edid_put16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)value;
	bytes[1] = (uint8_t)(value >> 8);
}

static inline void vtr_edid_put32(uint8_t *bytes, uint32_t value)
{
	vtr_edid_put16(bytes, value);
	vtr_edid_put16(bytes + 2, value >> 16);
}

/* The byte that makes the sum of length bytes and itself 0. */
static inline uint8_t vtr_edid_checksum(const uint8_t *bytes, size_t length)
{
	uint8_t sum = 0;
	size_t i;

	for (i = 0; i < length; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* Millimetres at 96 dpi. */
static inline uint32_t vtr_edid_millimetres(uint32_t pixels)
{
	return vtr_smaller((pixels * 254 + 480) / 960, VTR_EDID_MAX_MM);
}

/* Fills an extension block of zeroes that says mode as a DisplayID type I timing, marked preferred. */
void vtr_edid_put_displayid(uint8_t *extension, const struct vtr_mode *mode, uint32_t serial);

#endif
