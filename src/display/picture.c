/* SPDX-License-Identifier: MIT */
#include "display/picture.h"

#include <drm_fourcc.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

/* A fourcc names bytes in memory from the least significant of a little-endian word, pixman the word's bits from the most
 * significant: the same on the little-endian hosts we run on. */
static const struct {
	uint32_t fourcc;
	pixman_format_code_t format;
} formats[] = {
	{ DRM_FORMAT_XRGB8888, PIXMAN_x8r8g8b8 }, { DRM_FORMAT_ARGB8888, PIXMAN_x8r8g8b8 },
	{ DRM_FORMAT_XBGR8888, PIXMAN_x8b8g8r8 }, { DRM_FORMAT_ABGR8888, PIXMAN_x8b8g8r8 },
	{ DRM_FORMAT_BGRX8888, PIXMAN_b8g8r8x8 }, { DRM_FORMAT_BGRA8888, PIXMAN_b8g8r8x8 },
	{ DRM_FORMAT_RGBX8888, PIXMAN_r8g8b8x8 }, { DRM_FORMAT_RGBA8888, PIXMAN_r8g8b8x8 },
};
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts need the other formats");

static bool find_format(uint32_t fourcc, pixman_format_code_t *format)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].fourcc == fourcc) {
			*format = formats[i].format;
			return true;
		}
	return false;
}

bool vtr_picture_knows(uint32_t fourcc)
{
	pixman_format_code_t format;

	return find_format(fourcc, &format);
}

pixman_image_t *vtr_picture_create(uint32_t width, uint32_t height)
{
	return pixman_image_create_bits(PIXMAN_x8r8g8b8, (int)width, (int)height, NULL, 0);
}

/* pixman reads whole words: rows that do not begin on one are copied first, one by one. */
static bool read_unaligned(pixman_image_t *picture, const pixman_box32_t *box, const uint8_t *data, uint32_t stride,
                           pixman_format_code_t format)
{
	int width = box->x2 - box->x1;
	pixman_image_t *line = pixman_image_create_bits_no_clear(format, width, 1, NULL, 0);

	if (!line)
		return false;
	for (int y = box->y1; y < box->y2; y++) {
		memcpy(pixman_image_get_data(line), data + (size_t)y * stride + (size_t)box->x1 * 4, (size_t)width * 4);
		pixman_image_composite32(PIXMAN_OP_SRC, line, NULL, picture, 0, 0, 0, 0, box->x1, y, width, 1);
	}
	pixman_image_unref(line);
	return true;
}

pixman_image_t *vtr_picture_wrap(const void *data, uint32_t width, uint32_t height, uint32_t stride, uint32_t fourcc)
{
	pixman_format_code_t format;

	if ((uintptr_t)data % 4 || stride % 4 || stride > INT_MAX || !find_format(fourcc, &format))
		return NULL;
	return pixman_image_create_bits_no_clear(format, (int)width, (int)height, (uint32_t *)data, (int)stride);
}

static bool read_aligned(pixman_image_t *picture, const pixman_box32_t *box, const void *data, uint32_t stride, uint32_t fourcc)
{
	int width = pixman_image_get_width(picture), height = pixman_image_get_height(picture);
	pixman_image_t *source = vtr_picture_wrap(data, (uint32_t)width, (uint32_t)height, stride, fourcc);

	if (!source)
		return false;
	pixman_image_composite32(PIXMAN_OP_SRC, source, NULL, picture, box->x1, box->y1, 0, 0, box->x1, box->y1, box->x2 - box->x1,
	                         box->y2 - box->y1);
	pixman_image_unref(source);
	return true;
}

bool vtr_picture_read(pixman_image_t *picture, const pixman_region32_t *region, const void *data, uint32_t stride, uint32_t fourcc)
{
	pixman_format_code_t format;
	bool aligned = !((uintptr_t)data % 4) && !(stride % 4) && stride <= INT_MAX, ok = find_format(fourcc, &format);
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles((pixman_region32_t *)region, &count);

	for (int i = 0; i < count && ok; i++)
		ok = aligned ? read_aligned(picture, &boxes[i], data, stride, fourcc)
		             : read_unaligned(picture, &boxes[i], data, stride, format);
	return ok;
}

/* Where the image's corner comes to lie, held where pixman can count and nothing is visible. */
static int corner(int32_t position)
{
	if (position < -VTR_CURSOR_SIZE)
		return -VTR_CURSOR_SIZE;
	return position > VTR_MAX_DIMENSION ? VTR_MAX_DIMENSION : position;
}

bool vtr_picture_draw_cursor(pixman_image_t *picture, const struct vtr_cursor *cursor)
{
	if (!cursor->visible)
		return true;
	pixman_image_t *image = pixman_image_create_bits_no_clear(PIXMAN_a8r8g8b8, VTR_CURSOR_SIZE, VTR_CURSOR_SIZE,
	                                                          (uint32_t *)cursor->image, VTR_CURSOR_SIZE * 4);
	if (!image)
		return false;
	pixman_image_composite32(PIXMAN_OP_OVER, image, NULL, picture, 0, 0, 0, 0, corner(cursor->x), corner(cursor->y),
	                         VTR_CURSOR_SIZE, VTR_CURSOR_SIZE);
	pixman_image_unref(image);
	return true;
}

pixman_image_t *vtr_picture_with_cursor(pixman_image_t *picture, const struct vtr_cursor *cursor)
{
	int width = pixman_image_get_width(picture), height = pixman_image_get_height(picture);
	pixman_image_t *copy = pixman_image_create_bits_no_clear(PIXMAN_x8r8g8b8, width, height, NULL, 0);

	if (!copy)
		return NULL;
	pixman_image_composite32(PIXMAN_OP_SRC, picture, NULL, copy, 0, 0, 0, 0, 0, 0, width, height);
	if (!vtr_picture_draw_cursor(copy, cursor)) {
		pixman_image_unref(copy);
		return NULL;
	}
	return copy;
}
