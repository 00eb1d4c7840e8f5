/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_PATTERN_H
#define VTR_GUEST_PATTERN_H

#include <stdint.h>

/*
 * The moving picture: a pure function of size, frame number and position, so that whoever knows the frame knows every pixel. A
 * gradient that is different in each pixel's neighbours, a white box that wanders, and the frame number as 32 black and white
 * squares in the upper left corner, so that a screenshot tells which frame it shows.
 */
struct vtr_pattern {
	uint32_t width, height;
	uint32_t frame;
};

/* 0xRRGGBB of one pixel. */
uint32_t vtr_pattern_pixel(const struct vtr_pattern *pattern, uint32_t x, uint32_t y);

/* Pixels [x, x + count) of row y in format (VIRTIO_GPU_FORMAT_*, all eight are known) to row. Alpha is opaque; X bytes are not 0,
 * so that who reads them shows it. */
void vtr_pattern_row(const struct vtr_pattern *pattern, uint32_t x, uint32_t y, uint32_t count, uint32_t format, void *row);

/* The 0xRRGGBB that four bytes in format stand for. */
uint32_t vtr_pattern_decode(uint32_t format, const uint8_t bytes[4]);

/* The ARGB8888 pixels of a cursor of 64x64: half of them are opaque and tell their own coordinates, half are transparent, every
 * second square of 4x4. */
uint32_t vtr_pattern_cursor(uint32_t x, uint32_t y);

/* The frame number that the squares of an XRGB8888 picture show; stride in bytes. */
uint32_t vtr_pattern_read_frame(const void *pixels, uint32_t stride);

#endif
