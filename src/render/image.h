/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_IMAGE_H
#define VTR_RENDER_IMAGE_H

#include <pixman.h>
#include <stdint.h>

#include <vitrine/memory.h>

/*
 * The host image of a 2D resource: 32 bits per pixel in a sealed memfd of its own, so that a display gets it exactly as it gets a
 * blob (spans to gather from, or a udmabuf).
 */
struct vtr_image {
	uint32_t width, height, format; /* pixels; DRM fourcc */
	uint32_t stride;                /* bytes */
	struct vtr_spans pixels;
};

struct vtr_image *vtr_image_create(uint32_t width, uint32_t height, uint32_t format); /* cleared; NULL when out of memory */
void vtr_image_destroy(struct vtr_image *image);                                      /* NULL is fine */

/* Bytes such an image takes; 0 when it does not fit 64 bits. */
uint64_t vtr_image_bytes(uint32_t width, uint32_t height);

/*
 * Copies box (inside the image) from guest memory: the box's first pixel is at offset in source, its rows are as far apart as the
 * image's. 0 or an error of vtr_spans_gather().
 */
int vtr_image_transfer(struct vtr_image *image, const pixman_box32_t *box, const struct vtr_spans *source, uint64_t offset);

/* The pixman format of a DRM fourcc of 32 bits per pixel, or 0. */
pixman_format_code_t vtr_pixman_format(uint32_t fourcc);

/* Converts width x height pixels to premultiplied a8r8g8b8 in target (width * 4 bytes a row). 0, or -EINVAL for an unknown format.
 */
int vtr_image_convert(const void *source, uint32_t format, uint32_t stride, uint32_t width, uint32_t height, uint32_t *target);

#endif
