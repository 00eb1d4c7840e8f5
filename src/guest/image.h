/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_IMAGE_H
#define VTR_GUEST_IMAGE_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>

#include "guest/command.h"
#include "guest/pattern.h"

/*
 * A framebuffer in guest memory made of many ranges in shuffled order, as a GPU's allocator leaves them. Between the ranges lie
 * gaps of poison, so that no two of them can be merged and whoever reads past one shows it.
 */
struct vtr_image_layout {
	enum vtr_guest_memory memory;
	uint32_t width, height;
	uint32_t format;      /* VIRTIO_GPU_FORMAT_*; 0: B8G8R8X8 */
	uint32_t stride;      /* bytes; 0: width * 4 */
	uint32_t offset;      /* of the first pixel in the linear image */
	uint32_t ranges;      /* about so many; 0: one */
	uint32_t granularity; /* ranges begin and end at multiples of it; 0: a page */
};

struct vtr_image {
	struct vtr_guest *guest;
	struct vtr_framebuffer framebuffer;
	uint64_t size;  /* bytes of the linear image, the blob's size */
	uint64_t chunk; /* bytes of each range but the last */
	uint32_t n_entries;
	struct virtio_gpu_mem_entry *entries; /* owned */
};

/* Lays the image out in the guest's memory (which vtr_guest_start() takes back). 0 or -errno: ENOMEM, told by vtr_guest_error(). */
int vtr_image_init(struct vtr_image *image, struct vtr_guest *guest, const struct vtr_image_layout *layout);
void vtr_image_finish(struct vtr_image *image); /* a zeroed one is fine */

/* Copies length bytes to offset of the linear image. */
void vtr_image_write(struct vtr_image *image, uint64_t offset, const void *bytes, size_t length);

/* Draws the part rect of pattern (which has the framebuffer's size or is larger). */
void vtr_image_draw(struct vtr_image *image, const struct vtr_pattern *pattern, struct vtr_rect rect);
void vtr_image_draw_all(struct vtr_image *image, const struct vtr_pattern *pattern);

/* CREATE_BLOB of the whole image as this resource; SET_SCANOUT_BLOB of all of it and a flush. The response's type. */
uint32_t vtr_image_create_blob(struct vtr_image *image, uint32_t resource);
uint32_t vtr_image_show(struct vtr_image *image, uint32_t resource, uint32_t scanout);

#endif
