/* SPDX-License-Identifier: MIT */
/* virglrenderer's formats, which are Gallium's as they once were, and the DRM formats with the same layout in memory. */
#include <drm_fourcc.h>
#include <stddef.h>

#include "render/virgl.h"

static const struct {
	uint32_t virgl, fourcc, opaque; // opaque: the same without alpha
} formats[] = {
	{ 1, DRM_FORMAT_ARGB8888, DRM_FORMAT_XRGB8888 },         // B8G8R8A8_UNORM
	{ 2, DRM_FORMAT_XRGB8888, DRM_FORMAT_XRGB8888 },         // B8G8R8X8_UNORM
	{ 3, DRM_FORMAT_BGRA8888, DRM_FORMAT_BGRX8888 },         // A8R8G8B8_UNORM
	{ 4, DRM_FORMAT_BGRX8888, DRM_FORMAT_BGRX8888 },         // X8R8G8B8_UNORM
	{ 5, DRM_FORMAT_ARGB1555, DRM_FORMAT_XRGB1555 },         // B5G5R5A1_UNORM
	{ 7, DRM_FORMAT_RGB565, DRM_FORMAT_RGB565 },             // B5G6R5_UNORM
	{ 8, DRM_FORMAT_ABGR2101010, DRM_FORMAT_XBGR2101010 },   // R10G10B10A2_UNORM
	{ 67, DRM_FORMAT_ABGR8888, DRM_FORMAT_XBGR8888 },        // R8G8B8A8_UNORM
	{ 68, DRM_FORMAT_RGBX8888, DRM_FORMAT_RGBX8888 },        // X8B8G8R8_UNORM
	{ 100, DRM_FORMAT_ARGB8888, DRM_FORMAT_XRGB8888 },       // B8G8R8A8_SRGB
	{ 101, DRM_FORMAT_XRGB8888, DRM_FORMAT_XRGB8888 },       // B8G8R8X8_SRGB
	{ 104, DRM_FORMAT_ABGR8888, DRM_FORMAT_XBGR8888 },       // R8G8B8A8_SRGB
	{ 121, DRM_FORMAT_RGBA8888, DRM_FORMAT_RGBX8888 },       // A8B8G8R8_UNORM
	{ 131, DRM_FORMAT_ARGB2101010, DRM_FORMAT_XRGB2101010 }, // B10G10R10A2_UNORM
	{ 134, DRM_FORMAT_XBGR8888, DRM_FORMAT_XBGR8888 },       // R8G8B8X8_UNORM
};

bool vtr_virgl_same_layout(uint32_t format, uint32_t fourcc)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].virgl == format && (formats[i].fourcc == fourcc || formats[i].opaque == fourcc))
			return true;
	return false;
}

bool vtr_virgl_is_compressed(uint32_t format)
{
	/* DXT and RGTC; from 225 on come ETC, BPTC and ASTC, between others */
	return (format >= 105 && format <= 116) || format >= 225;
}
