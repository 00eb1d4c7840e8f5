/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_RESOURCE_3D_H
#define VTR_GPU_RESOURCE_3D_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stdint.h>

#include "render/renderer.h"

struct vtr_gpu;
struct vtr_gpu_request;
struct vtr_resource;

/* Gallium's numbers, which virglrenderer's and therefore the guest's are: the few that mean something here. */
enum {
	PIPE_BUFFER = 0,
	PIPE_TEXTURE_2D = 2,
	PIPE_TEXTURE_RECT = 5,
	PIPE_BIND_RENDER_TARGET = 1 << 1,
	PIPE_BIND_SAMPLER_VIEW = 1 << 3,
};

/* Roughly what such a resource takes, all levels, layers and samples; UINT64_MAX when that does not fit 64 bits. */
uint64_t vtr_resource_3d_bytes(const struct virtio_gpu_resource_create_3d *command);

/* May the renderer get these spans? False after a message why not. */
bool vtr_resource_is_lendable(struct vtr_gpu *gpu, uint32_t id, const struct vtr_spans *spans);
/* Does the renderer have the resource, and use its backing? It knows nothing of that of a 2D one. */
bool vtr_resource_uses_lending(const struct vtr_resource *resource);
/* The backing is there: the renderer gets it if it uses it, now or, where it has too much to do, later (missed). */
void vtr_resource_lend(struct vtr_gpu *gpu, struct vtr_resource *resource);
/* The backing is about to go: the renderer gives it back, which is waited for. */
void vtr_resource_take_back(struct vtr_gpu *gpu, struct vtr_resource *resource);
/* A region is about to go: the renderer gives back the backings that lie in it, which is waited for. They stay marked as lent until
 * each of them is looked after. */
void vtr_resources_give_back(struct vtr_gpu *gpu, const struct vtr_region *region);
/* The memory went that the renderer was lent, or that is over. */
void vtr_resource_set_missed(struct vtr_gpu *gpu, struct vtr_resource *resource, bool missed);
/* Memory came, or the renderer has room again: what it misses may be there. Nothing is asked for. */
void vtr_resources_lend_again(struct vtr_gpu *gpu);

/* A context wants to work with the resource: the renderer gets it if it has not, a 2D resource as a twin that has the same picture,
 * a blob with its memory. VIRTIO_GPU_RESP_OK_NODATA, VTR_GPU_AGAIN when the command has to wait for the memory, or an error. */
uint32_t vtr_resource_join_renderer(struct vtr_gpu *gpu, struct vtr_resource *resource, unsigned queue);
/* RESOURCE_CREATE_BLOB for a blob of the host's, whose id and size were checked. Takes entries and *spans (empty: it has none). */
uint32_t vtr_gpu_create_host_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_mem_entry *entries,
                                  size_t n_entries, struct vtr_spans *spans);
/* TRANSFER_TO_HOST_2D of a 3D resource. */
uint32_t vtr_gpu_transfer_2d_of_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource);

/* Copies the picture of a 2D resource to its twin, if it has one. */
void vtr_resource_fill_twin(struct vtr_gpu *gpu, struct vtr_resource *resource);
/* The call that does so for a box of it. */
struct vtr_render_call vtr_resource_twin_transfer(const struct vtr_resource *resource, uint32_t op,
                                                  const struct vtr_render_box *box);

/* The renderer does not have it any more; does not speak to the renderer. */
void vtr_resource_left(struct vtr_gpu *gpu, struct vtr_resource *resource);
void vtr_resources_left(struct vtr_gpu *gpu); /* all of them */
/* The renderer is lost. */
void vtr_resources_lost(struct vtr_gpu *gpu);

/* How many resources the renderer has. */
uint32_t vtr_resources_count_rendered(const struct vtr_gpu *gpu);

#endif
