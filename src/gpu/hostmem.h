/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_HOSTMEM_H
#define VTR_GPU_HOSTMEM_H

#include <stdint.h>

#include <vitrine/log.h>

struct vtr_gpu;
struct vtr_hostmem_mapping;
struct vtr_resource;

/* What is in the host-visible memory region (virtio 1.3, 5.7.6.8, RESOURCE_MAP_BLOB), or on its way there or back. */
struct vtr_hostmem {
	struct vtr_hostmem_mapping *first; /* in the order of their commands */
	struct vtr_log_limit log;
};

/* Bytes of the region; 0: blobs cannot be mapped, and there is none. Never changes. */
uint64_t vtr_hostmem_size(const struct vtr_gpu *gpu);

/* The resource is about to go: it is not mapped any more. */
void vtr_hostmem_forget(struct vtr_gpu *gpu, const struct vtr_resource *resource);
/* The device is reset, which ends all mappings by itself, or its VMM is gone. */
void vtr_hostmem_reset(struct vtr_gpu *gpu);
void vtr_hostmem_finish(struct vtr_gpu *gpu);

#endif
