/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_CANDIDATE_H
#define VTR_GPU_CANDIDATE_H

#include <vitrine/buffer.h>

#include "gpu/backoff.h"

struct vtr_gpu;
struct vtr_resource;
struct vtr_spans;

/*
 * The buffers that can be made of a resource's pixels: one candidate for each way to make one, best way first. A candidate is made
 * when the ladder first asks for it, and kept until the pixels are others; why it could not be made is kept, too.
 */
struct vtr_candidate {
	struct vtr_buffer *buffer; /* NULL: not made */
	struct vtr_backoff failure;
	bool waiting;               /* the renderer was asked, and has not answered */
	struct vtr_error no_dmabuf; /* of a renderer's: why it is a texture only */
};

enum { VTR_CANDIDATES = 4 };

/* Bits: in which kinds of memory pixels lie. */
enum {
	VTR_IN_RAM = 1 << 0,
	VTR_IN_DEVICE = 1 << 1, /* a BAR, or whatever came without CPU access */
};
unsigned vtr_pixel_memory(const struct vtr_spans *pixels);

/* Is this way for memory like that of the resource's pixels? What is not, is not missed. False for paths without a dmabuf. */
bool vtr_candidate_applies(const struct vtr_resource *resource, enum vtr_path path);

/* The buffer of the pixels (not empty, or in the renderer), made at the first call and then when its back-off says so; NULL with
 * *why. try: false only to look what there is, when it was tried before. Valid until the backing changes or the resource is not
 * shown any more. */
struct vtr_buffer *vtr_candidate_buffer(struct vtr_gpu *gpu, struct vtr_resource *resource, enum vtr_path path, bool try,
                                        struct vtr_error *why);

/* The candidate of a path that has buffers. */
const struct vtr_candidate *vtr_candidate_of(const struct vtr_resource *resource, enum vtr_path path);

/* Forgets all of a resource's. Displays keep what they locked. */
void vtr_candidates_drop(struct vtr_gpu *gpu, struct vtr_resource *resource);
/* The assigned devices are others now: forgets what was made of them and what could not be made. */
void vtr_candidates_devices_changed(struct vtr_gpu *gpu, struct vtr_resource *resource);
/* Memory that was revoked may be back. */
void vtr_candidates_lift_revoked(struct vtr_resource *resource);

#endif
