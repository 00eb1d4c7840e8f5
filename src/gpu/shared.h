/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_SHARED_H
#define VTR_GPU_SHARED_H

#include <stdint.h>

struct vtr_gpu;
struct vtr_resource;

/* The guest has given the resource its UUID: where there is a dmabuf of its pixels, other devices of the VM may have it now. */
void vtr_shared_announce(struct vtr_gpu *gpu, struct vtr_resource *resource);
/* The resource is about to go, and what was announced with it. */
void vtr_shared_withdraw(struct vtr_gpu *gpu, struct vtr_resource *resource);

/* A dmabuf of the pixels of the resource with that UUID, whose first byte is theirs: an fd (CLOEXEC) of the caller's; -ENOENT:
 * nothing of that name was announced; or another -errno: it cannot be made now. */
int vtr_shared_export(struct vtr_gpu *gpu, const uint8_t uuid[16]);

#endif
