/* SPDX-License-Identifier: MIT */
#include "render/image.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <stdlib.h>

#include "util/checked.h"
#include "util/fd.h"

uint64_t vtr_image_bytes(uint32_t width, uint32_t height)
{
	uint64_t bytes;

	return vtr_mul_u64((uint64_t)width * 4, height, &bytes) ? bytes : 0;
}

struct vtr_image *vtr_image_create(uint32_t width, uint32_t height, uint32_t format)
{
	uint64_t bytes = vtr_image_bytes(width, height), file = (bytes + 4095) & ~UINT64_C(4095);
	struct vtr_image *image = malloc(sizeof(*image));

	if (!image)
		return NULL;
	*image = (struct vtr_image){ .width = width, .height = height, .format = format, .stride = width * 4 };
	int fd = vtr_memfd_create("vitrine-2d", file);
	if (fd < 0 || vtr_spans_from_file(&image->pixels, fd, file, NULL) < 0) {
		free(image);
		return NULL;
	}
	return image;
}

void vtr_image_destroy(struct vtr_image *image)
{
	if (!image)
		return;
	vtr_spans_finish(&image->pixels);
	free(image);
}

int vtr_image_transfer(struct vtr_image *image, const pixman_box32_t *box, const struct vtr_spans *source, uint64_t offset)
{
	uint64_t at = (uint64_t)box->y1 * image->stride + (uint64_t)box->x1 * 4;
	const struct vtr_span *pixels = &image->pixels.items[0];

	return vtr_spans_gather(source, offset, image->stride, (uint32_t)(box->y2 - box->y1), (size_t)(box->x2 - box->x1) * 4,
	                        pixels->region->data + pixels->offset + at, image->stride);
}

pixman_format_code_t vtr_pixman_format(uint32_t fourcc)
{
	static const struct {
		uint32_t fourcc;
		pixman_format_code_t format;
	} formats[] = {
		{ DRM_FORMAT_ARGB8888, PIXMAN_a8r8g8b8 }, { DRM_FORMAT_XRGB8888, PIXMAN_x8r8g8b8 },
		{ DRM_FORMAT_ABGR8888, PIXMAN_a8b8g8r8 }, { DRM_FORMAT_XBGR8888, PIXMAN_x8b8g8r8 },
		{ DRM_FORMAT_BGRA8888, PIXMAN_b8g8r8a8 }, { DRM_FORMAT_BGRX8888, PIXMAN_b8g8r8x8 },
		{ DRM_FORMAT_RGBA8888, PIXMAN_r8g8b8a8 }, { DRM_FORMAT_RGBX8888, PIXMAN_r8g8b8x8 },
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].fourcc == fourcc)
			return formats[i].format;
	return 0;
}

int vtr_image_convert(const void *source, uint32_t format, uint32_t stride, uint32_t width, uint32_t height, uint32_t *target)
{
	pixman_format_code_t code = vtr_pixman_format(format);

	if (!code)
		return -EINVAL;
	/* pixman does not write to a source image; its constructor just has no const */
	pixman_image_t *from = pixman_image_create_bits_no_clear(code, (int)width, (int)height, (uint32_t *)source, (int)stride);
	pixman_image_t *to = pixman_image_create_bits_no_clear(PIXMAN_a8r8g8b8, (int)width, (int)height, target, (int)width * 4);
	int error = from && to ? 0 : -ENOMEM;

	if (!error)
		pixman_image_composite32(PIXMAN_OP_SRC, from, NULL, to, 0, 0, 0, 0, 0, 0, (int)width, (int)height);
	if (from)
		pixman_image_unref(from);
	if (to)
		pixman_image_unref(to);
	return error;
}
