/* SPDX-License-Identifier: MIT */
#include "util/fourcc.h"

#include <drm_fourcc.h>
#include <stdbool.h>
#include <stddef.h>

static const struct {
	uint32_t alpha, opaque;
} pairs[] = {
	{ DRM_FORMAT_ARGB8888, DRM_FORMAT_XRGB8888 },
	{ DRM_FORMAT_ABGR8888, DRM_FORMAT_XBGR8888 },
	{ DRM_FORMAT_BGRA8888, DRM_FORMAT_BGRX8888 },
	{ DRM_FORMAT_RGBA8888, DRM_FORMAT_RGBX8888 },
};

enum { PAIRS = sizeof(pairs) / sizeof(pairs[0]) };

uint32_t vtr_fourcc_opaque(uint32_t fourcc)
{
	for (size_t i = 0; i < PAIRS; i++)
		if (pairs[i].alpha == fourcc)
			return pairs[i].opaque;
	return fourcc;
}

uint32_t vtr_fourcc_of_picture(uint32_t memory, uint32_t picture)
{
	bool alpha = vtr_fourcc_opaque(picture) != picture;

	for (size_t i = 0; i < PAIRS; i++)
		if (pairs[i].alpha == memory || pairs[i].opaque == memory)
			return alpha ? pairs[i].alpha : pairs[i].opaque;
	return 0;
}
