/* SPDX-License-Identifier: MIT */
#include "guest/pattern.h"

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
	SQUARE = 4, /* pixels of one frame number bit */
	BITS_PER_ROW = 16,
	BITS = 32,
	OPAQUE = 0xff,
	FILLER = 0x5a, /* for X bytes */
};

/* Where a format's bytes are. virtio names them in memory order, first byte first (virtio 1.3, 5.7.6.8). */
static const struct format {
	uint32_t format;
	uint8_t r, g, b, rest;
	uint8_t filler;
} formats[] = {
	{ VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 2, 1, 0, 3, OPAQUE }, { VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 2, 1, 0, 3, FILLER },
	{ VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 1, 2, 3, 0, OPAQUE }, { VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 1, 2, 3, 0, FILLER },
	{ VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0, 1, 2, 3, OPAQUE }, { VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 3, 2, 1, 0, FILLER },
	{ VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 3, 2, 1, 0, OPAQUE }, { VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0, 1, 2, 3, FILLER },
};

static const struct format *find_format(uint32_t format)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].format == format)
			return &formats[i];
	return &formats[0];
}

static bool in_box(const struct vtr_pattern *pattern, uint32_t x, uint32_t y)
{
	uint32_t size = pattern->height / 5 + 1;
	uint32_t left = (uint32_t)((uint64_t)pattern->frame * 7 % (pattern->width + size));
	uint32_t top = (uint32_t)((uint64_t)pattern->frame * 5 % (pattern->height + size));

	/* it comes in from the left and top edges */
	return x + size >= left && x < left && y + size >= top && y < top;
}

uint32_t vtr_pattern_pixel(const struct vtr_pattern *pattern, uint32_t x, uint32_t y)
{
	if (x < SQUARE * BITS_PER_ROW && y < SQUARE * (BITS / BITS_PER_ROW)) {
		uint32_t bit = y / SQUARE * BITS_PER_ROW + x / SQUARE;

		return pattern->frame >> bit & 1 ? 0xffffff : 0;
	}
	if (in_box(pattern, x, y))
		return 0xf8f8f8;
	uint32_t r = (uint32_t)((uint64_t)x * 256 / pattern->width);
	uint32_t g = (uint32_t)((uint64_t)y * 256 / pattern->height);
	uint32_t b = (x * 5 + y * 3 + pattern->frame * 2) & 0xff;
	return r << 16 | g << 8 | b;
}

void vtr_pattern_row(const struct vtr_pattern *pattern, uint32_t x, uint32_t y, uint32_t count, uint32_t format, void *row)
{
	const struct format *f = find_format(format);
	uint8_t *bytes = row;

	for (uint32_t i = 0; i < count; i++, bytes += 4) {
		uint32_t pixel = vtr_pattern_pixel(pattern, x + i, y);

		bytes[f->r] = (uint8_t)(pixel >> 16);
		bytes[f->g] = (uint8_t)(pixel >> 8);
		bytes[f->b] = (uint8_t)pixel;
		bytes[f->rest] = f->filler;
	}
}

uint32_t vtr_pattern_decode(uint32_t format, const uint8_t bytes[4])
{
	const struct format *f = find_format(format);

	return (uint32_t)bytes[f->r] << 16 | (uint32_t)bytes[f->g] << 8 | bytes[f->b];
}

uint32_t vtr_pattern_cursor(uint32_t x, uint32_t y)
{
	return (x / 4 + y / 4) % 2 ? 0xff000000 | x * 4 << 16 | y * 4 << 8 | 0x80 : 0;
}

uint32_t vtr_pattern_read_frame(const void *pixels, uint32_t stride)
{
	uint32_t frame = 0;

	for (uint32_t bit = 0; bit < BITS; bit++) {
		uint32_t x = bit % BITS_PER_ROW * SQUARE + SQUARE / 2, y = bit / BITS_PER_ROW * SQUARE + SQUARE / 2, pixel;

		memcpy(&pixel, (const uint8_t *)pixels + (size_t)y * stride + x * sizeof(pixel), sizeof(pixel));
		frame |= (uint32_t)(!!(pixel & 0x800000)) << bit;
	}
	return frame;
}
