/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_CONTEXT_H
#define VTR_GPU_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

struct vtr_gpu;

/* A 3D context of the guest's, in the renderer under the same id (virtio 1.3, 5.7.6.8, CTX_CREATE). */
struct vtr_context {
	struct vtr_context *next; /* vtr_context_table.buckets[] */
	uint32_t id;
	bool lost;                /* with the renderer that had it: good for CTX_DESTROY only */
	uint32_t *resources;      /* ids that are attached, rising */
	uint32_t count, capacity; /* of these */
};

enum { VTR_CONTEXT_BUCKETS = 64 };

struct vtr_context_table {
	struct vtr_context *buckets[VTR_CONTEXT_BUCKETS];
	uint32_t count;
	uint32_t attachments; /* of all contexts */
};

struct vtr_context *vtr_context_find(struct vtr_gpu *gpu, uint32_t id); /* NULL: no such id */

/* The id was checked to be free. NULL when out of memory. */
struct vtr_context *vtr_context_create(struct vtr_gpu *gpu, uint32_t id);
void vtr_context_destroy(struct vtr_gpu *gpu, struct vtr_context *context);
void vtr_contexts_destroy_all(struct vtr_gpu *gpu);

bool vtr_context_has(const struct vtr_context *context, uint32_t resource_id);
/* The resource is not attached yet. 0, -ENOSPC (VTR_MAX_ATTACHMENTS) or -ENOMEM. */
int vtr_context_attach(struct vtr_gpu *gpu, struct vtr_context *context, uint32_t resource_id);
/* Nothing happens when it is not attached. */
void vtr_context_detach(struct vtr_gpu *gpu, struct vtr_context *context, uint32_t resource_id);

/* The resource is gone. */
void vtr_contexts_forget_resource(struct vtr_gpu *gpu, uint32_t resource_id);
/* The renderer is lost. */
void vtr_contexts_lost(struct vtr_gpu *gpu);

#endif
