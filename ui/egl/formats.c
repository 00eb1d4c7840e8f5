/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <stddef.h>

#include "egl/egl.h"

/* DRM names a pixel from its highest byte to its lowest, memory has them the other way round. */
static const struct vtr_egl_channels formats[] = {
	{ DRM_FORMAT_XRGB8888, 2, 1, 0, -1 }, { DRM_FORMAT_ARGB8888, 2, 1, 0, 3 },  { DRM_FORMAT_XBGR8888, 0, 1, 2, -1 },
	{ DRM_FORMAT_ABGR8888, 0, 1, 2, 3 },  { DRM_FORMAT_RGBX8888, 3, 2, 1, -1 }, { DRM_FORMAT_RGBA8888, 3, 2, 1, 0 },
	{ DRM_FORMAT_BGRX8888, 1, 2, 3, -1 }, { DRM_FORMAT_BGRA8888, 1, 2, 3, 0 },
};

const struct vtr_egl_channels *vtr_egl_channels_of(uint32_t fourcc)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].fourcc == fourcc)
			return &formats[i];
	return NULL;
}
