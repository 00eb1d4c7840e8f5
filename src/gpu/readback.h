/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_READBACK_H
#define VTR_GPU_READBACK_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/error.h>

struct vtr_gpu;
struct vtr_gpu_request;
struct vtr_image;
struct vtr_resource;
struct vtr_scanout;

/*
 * Copies of what a renderer drew, in host memory: for outputs that cannot show it where it is, for captures, cursors, and for an
 * embedding VMM. readback.c says how.
 */

/* Copies that are being read: what the renderer writes to is kept until it is done. */
struct vtr_reading {
	struct vtr_reading *next; /* vtr_gpu.readings */
	struct vtr_image *image;
	unsigned calls;
	bool orphaned; /* its resource is gone: freed with the last call */
};

/* A flush of a resource that is shown and the renderer's: when what was asked for before is drawn, and what outputs want as pixels
 * of it is read back, goes on with vtr_flush_drawn(). Returns the response type; the request may be held (vtr_gpu_render()). */
uint32_t vtr_readback_flush(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource);

/* Has anything of the resource been read back? */
bool vtr_readback_is_there(const struct vtr_resource *resource);

/* Can there be a copy of a resource of the renderer's? False with *why. try: also when that failed before, and is due. */
bool vtr_readback_possible(struct vtr_gpu *gpu, const struct vtr_resource *resource, bool try, struct vtr_error *why);

/* Brings the copy up to date as far as the scanout shows it, where its resource is the renderer's. False when it is not so on
 * return: it cannot be had; or the renderer has not answered, and the scanout is presented again when it has. */
bool vtr_readback_update(struct vtr_gpu *gpu, struct vtr_scanout *scanout);

/* The same, waiting for the renderer if need be. */
bool vtr_readback_update_now(struct vtr_gpu *gpu, struct vtr_scanout *scanout);

/* What scanouts show of the resource may all be new: they were bound to it. */
void vtr_readback_all_stale(struct vtr_resource *resource);

/* The resource's image, for a READ of it that the caller makes, as large as the resource; its memory counts as hostmem. NULL with
 * *error. Each READ of it is between begin and end; end may find that the resource is gone. */
struct vtr_image *vtr_readback_image(struct vtr_gpu *gpu, struct vtr_resource *resource, struct vtr_error *error);
bool vtr_readback_begin(struct vtr_gpu *gpu, struct vtr_image *image);
void vtr_readback_end(struct vtr_gpu *gpu, struct vtr_image *image);

/* A resource lets go of its image: true when that is being read, and freed later. */
bool vtr_readback_keeps(struct vtr_gpu *gpu, const struct vtr_image *image);

#endif
