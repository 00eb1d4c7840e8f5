/* SPDX-License-Identifier: MIT */
/*
 * Host-visible memory (virtio 1.3, 5.7.6.8, RESOURCE_MAP_BLOB and RESOURCE_UNMAP_BLOB): blobs that live in the renderer (HOST3D),
 * in a shared memory region of the device, at offsets that the guest's driver chooses.
 *
 *   EXPORTING -> PLACING -> PLACED -> REMOVING -> ENDED
 *
 * The renderer says in which file a blob lies, the VMM maps that (virtio/shm.c), and the command is answered when it has: a guest
 * touches the memory as soon as it has its answer. Neither is waited for. The command goes back into its queue meanwhile, as one
 * does whose memory is not there, and the queue is kicked when there is something new; the command, run again, finds the mapping
 * and how far it is. So a queue that stops in between has nothing under way: run again when it goes on, or by another process, the
 * command goes on, or begins again. A failure is kept as an ENDED mapping until the command has taken its response from there. The
 * queue waits with it, and keeps its order; both waits have an end, the renderer's (a renderer that does not answer is lost) and
 * the transport's deadline.
 *
 * The VMM deals with our requests in order. So a range is free for the next blob when its unmapping is sent. A reset ends what is
 * placed, at both ends; but what was under way then may be placed after it, and a device whose queues are stopped has to be silent.
 * So a mapping that nobody wants any more and that may be there is left in the list, without a resource: it is unmapped when its
 * place is wanted, and forgotten with the next reset. A VMM that does not answer in time is asked to undo what it may do later.
 *
 * A mapping outlives the renderer's loss. The memory is the VMM's by then, nobody draws from it, and a guest's program that writes
 * there must not find a hole. It goes when the guest unmaps it or gives up the resource.
 */
#include "gpu/hostmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/gpu.h"
#include "util/fd.h"

enum mapping_state {
	EXPORTING, /* the renderer has not said yet where it is */
	PLACING,   /* the VMM has not mapped it yet */
	PLACED,
	REMOVING, /* the VMM has not unmapped it yet */
	ENDED,    /* it is not there; `response` is for the command that waits */
};

struct vtr_hostmem_mapping {
	struct vtr_hostmem_mapping *next;
	struct vtr_gpu *gpu;
	uint32_t resource_id;
	bool left;   /* by its resource: nobody wants it any more */
	bool undone; /* its unmapping is sent: it goes when what is under way has ended */
	bool told;   /* the guest knows that it is there */
	enum mapping_state state;
	struct vtr_virtio_shm_range range;
	uint32_t map_info; /* VIRTIO_GPU_MAP_CACHE_* */
	uint32_t response;
};

uint64_t vtr_hostmem_size(const struct vtr_gpu *gpu)
{
	const struct vtr_renderer *renderer = gpu->options.renderer;

	return renderer && renderer->maps_blobs && !gpu->options.no_blob ? VTR_HOST_VISIBLE_SIZE : 0;
}

/* ---- the list ---- */

static struct vtr_hostmem_mapping *find(const struct vtr_gpu *gpu, uint32_t resource_id)
{
	struct vtr_hostmem_mapping *mapping = gpu->hostmem.first;

	while (mapping && (mapping->left || mapping->resource_id != resource_id))
		mapping = mapping->next;
	return mapping;
}

static void remove_mapping(struct vtr_hostmem_mapping *mapping)
{
	struct vtr_hostmem_mapping **link = &mapping->gpu->hostmem.first;

	while (*link != mapping)
		link = &(*link)->next;
	*link = mapping->next;
	free(mapping);
}

/* NULL when out of memory. */
static struct vtr_hostmem_mapping *add_mapping(struct vtr_gpu *gpu, uint32_t resource_id, uint64_t offset, uint64_t size)
{
	struct vtr_hostmem_mapping **link = &gpu->hostmem.first, *mapping = malloc(sizeof(*mapping));

	if (!mapping)
		return NULL;
	*mapping = (struct vtr_hostmem_mapping){
		.gpu = gpu,
		.resource_id = resource_id,
		.range = { .shmid = VIRTIO_GPU_SHM_ID_HOST_VISIBLE, .offset = offset, .size = size },
	};
	while (*link)
		link = &(*link)->next;
	*link = mapping;
	return mapping;
}

/* Is nothing there that a resource has, or was the VMM asked to take it away? */
static bool is_free(const struct vtr_gpu *gpu, uint64_t offset, uint64_t size)
{
	for (const struct vtr_hostmem_mapping *mapping = gpu->hostmem.first; mapping; mapping = mapping->next)
		if (!mapping->left && mapping->state != REMOVING && mapping->state != ENDED &&
		    vtr_ranges_overlap(mapping->range.offset, mapping->range.size, offset, size))
			return false;
	return true;
}

/* ---- what happens to a mapping ---- */

/* The command that waits goes on. */
static void go_on(struct vtr_hostmem_mapping *mapping)
{
	vtr_virtio_kick(&mapping->gpu->base, VTR_GPU_CONTROLQ);
}

static void end(struct vtr_hostmem_mapping *mapping, uint32_t response)
{
	mapping->state = ENDED;
	mapping->response = response;
	if (mapping->left)
		remove_mapping(mapping);
	else
		go_on(mapping);
}

static const char *why_not(int result)
{
	switch (result) {
	case -EREMOTEIO:
		return "the VMM refuses";
	case -ETIMEDOUT:
		return "the VMM does not answer";
	case -EOPNOTSUPP:
		return "the VMM has agreed on no shared memory regions (vhost-user: SHMEM, BACKEND_REQ, BACKEND_SEND_FD, "
		       "REPLY_ACK)";
	default:
		return strerror(-result);
	}
}

static void tell_failure(const struct vtr_hostmem_mapping *mapping, const char *why)
{
	vtr_log_limited(&mapping->gpu->hostmem.log, VTR_LOG_WARN, "resource %u cannot be mapped for the guest: %s",
	                mapping->resource_id, why);
}

static void placed(int result, void *data)
{
	struct vtr_hostmem_mapping *mapping = data;

	if (result) {
		tell_failure(mapping, why_not(result));
		if (result == -ETIMEDOUT && !mapping->undone)
			vtr_virtio_shm_unmap(&mapping->gpu->base, &mapping->range, NULL, NULL);
	}
	if (result || mapping->undone) {
		end(mapping, VIRTIO_GPU_RESP_ERR_UNSPEC);
		return;
	}
	mapping->state = PLACED;
	if (!mapping->left)
		go_on(mapping);
}

static void removed(int result, void *data)
{
	struct vtr_hostmem_mapping *mapping = data;

	if (result)
		vtr_gpu_log_guest(mapping->gpu, "resource %u cannot be unmapped: %s", mapping->resource_id, why_not(result));
	end(mapping, result ? VIRTIO_GPU_RESP_ERR_UNSPEC : VIRTIO_GPU_RESP_OK_NODATA);
}

/* Has the VMM map what the renderer gave. */
static void place(struct vtr_hostmem_mapping *mapping, const struct vtr_render_call *call)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int error = -EINVAL;

	if (call->mapped.offset % page == 0 && call->mapped.size >= mapping->range.size)
		error = vtr_virtio_shm_map(&mapping->gpu->base, &mapping->range, call->mapped.fd, call->mapped.offset, true, placed,
		                           mapping);
	if (error == -EAGAIN) { /* the command is run again when its queue goes on, and begins anew */
		remove_mapping(mapping);
		return;
	}
	if (error) {
		if (error == -EOPNOTSUPP) /* the guest has been shown no region */
			vtr_gpu_log_guest(mapping->gpu, "guest: resource %u cannot be mapped: %s", mapping->resource_id,
			                  why_not(error));
		else
			tell_failure(mapping, why_not(error));
		end(mapping, VIRTIO_GPU_RESP_ERR_UNSPEC);
		return;
	}
	mapping->map_info = call->mapped.map_info;
	mapping->state = PLACING;
}

/* The renderer does one call after another: this one is the first that waits for it. */
static void exported(struct vtr_gpu *gpu, const struct vtr_render_call *call)
{
	struct vtr_hostmem_mapping *mapping = gpu->hostmem.first;
	int fd = call->code ? -1 : call->mapped.fd;

	while (mapping->state != EXPORTING || mapping->resource_id != call->args.resource_id)
		mapping = mapping->next;
	if (call->code)
		tell_failure(mapping, call->why.text[0] ? call->why.text : strerror(-call->code));
	if (call->code || mapping->left)
		end(mapping, call->code ? vtr_gpu_render_error(call->code) : VIRTIO_GPU_RESP_ERR_UNSPEC);
	else
		place(mapping, call);
	vtr_fd_close(&fd);
}

/* The VMM is asked to unmap what it has mapped, or was asked to; if that cannot be now, it stays to be done. */
static void undo(struct vtr_hostmem_mapping *mapping)
{
	if (mapping->undone || vtr_virtio_shm_unmap(&mapping->gpu->base, &mapping->range, NULL, NULL))
		return;
	mapping->undone = true;
	if (mapping->state == PLACED)
		remove_mapping(mapping);
}

static void leave(struct vtr_hostmem_mapping *mapping)
{
	mapping->left = true;
	if (mapping->state == PLACED)
		undo(mapping);
	else if (mapping->state == ENDED)
		remove_mapping(mapping);
}

/* Takes away what is left of others where a new mapping is to be. */
static void clear(struct vtr_gpu *gpu, uint64_t offset, uint64_t size)
{
	for (struct vtr_hostmem_mapping *mapping = gpu->hostmem.first, *next; mapping; mapping = next) {
		next = mapping->next;
		if (mapping->left && (mapping->state == PLACING || mapping->state == PLACED) &&
		    vtr_ranges_overlap(mapping->range.offset, mapping->range.size, offset, size))
			undo(mapping);
	}
}

void vtr_hostmem_forget(struct vtr_gpu *gpu, const struct vtr_resource *resource)
{
	struct vtr_hostmem_mapping *mapping = find(gpu, resource->id);

	if (mapping)
		leave(mapping);
}

void vtr_hostmem_reset(struct vtr_gpu *gpu)
{
	for (struct vtr_hostmem_mapping *mapping = gpu->hostmem.first, *next; mapping; mapping = next) {
		next = mapping->next;
		if (mapping->state == PLACED) /* the VMM has forgotten it, too */
			remove_mapping(mapping);
		else
			leave(mapping);
	}
}

void vtr_hostmem_finish(struct vtr_gpu *gpu)
{
	while (gpu->hostmem.first)
		remove_mapping(gpu->hostmem.first);
}

/* ---- commands ---- */

/* The queue waits with this command, which is run again. */
static uint32_t wait(struct vtr_gpu *gpu, const struct vtr_gpu_request *request)
{
	vtr_virtqueue_hold(&gpu->base.queues[request->queue]);
	return VTR_GPU_AGAIN;
}

/* The response, once: the mapping is gone then. */
static uint32_t take_response(struct vtr_hostmem_mapping *mapping)
{
	const uint32_t response = mapping->response;

	remove_mapping(mapping);
	return response;
}

/* VIRTIO_GPU_RESP_OK_NODATA, with *size of the range that the resource takes, or what is wrong. */
static uint32_t check(struct vtr_gpu *gpu, const struct virtio_gpu_resource_map_blob *command, uint64_t *size)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);

	if (!vtr_hostmem_size(gpu))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!resource->three_d || !resource->three_d->mappable || resource->size > VTR_HOST_VISIBLE_SIZE)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	*size = (resource->size + page - 1) & ~(page - 1);
	if (command->offset % page || !vtr_range_fits(command->offset, *size, VTR_HOST_VISIBLE_SIZE) ||
	    !is_free(gpu, command->offset, *size))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	return resource->three_d->lost ? VIRTIO_GPU_RESP_ERR_UNSPEC : VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t begin(struct vtr_gpu *gpu, const struct virtio_gpu_resource_map_blob *command)
{
	uint64_t size;
	uint32_t error = check(gpu, command, &size);

	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	clear(gpu, command->offset, size);
	if (!add_mapping(gpu, command->resource_id, command->offset, size))
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	vtr_gpu_render_aside(
		gpu, &(struct vtr_render_call){ .args = { .op = VTR_RENDER_EXPORT_BLOB, .resource_id = command->resource_id } },
		exported);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vtr_gpu_resource_map_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_resource_map_blob *command = &request->command.map_blob;
	struct vtr_hostmem_mapping *mapping = find(gpu, command->resource_id);

	if (mapping && (mapping->told || mapping->range.offset != command->offset))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER; /* it is somewhere already */
	if (!mapping) {
		uint32_t error = begin(gpu, command);

		if (error != VIRTIO_GPU_RESP_OK_NODATA)
			return error;
		mapping = find(gpu, command->resource_id);
	}
	if (mapping && mapping->state == ENDED)
		return take_response(mapping);
	if (!mapping || mapping->state != PLACED)
		return wait(gpu, request);
	mapping->told = true;
	request->response.map_info.map_info = mapping->map_info;
	return VIRTIO_GPU_RESP_OK_MAP_INFO;
}

uint32_t vtr_gpu_resource_unmap_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const uint32_t id = request->command.unmap_blob.resource_id;
	struct vtr_hostmem_mapping *mapping = find(gpu, id);

	if (!vtr_resource_find(gpu, id))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!mapping || !mapping->told)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (mapping->state == PLACED) {
		mapping->state = REMOVING;
		int error = vtr_virtio_shm_unmap(&gpu->base, &mapping->range, removed, mapping);
		if (error)
			removed(error, mapping);
	}
	return mapping->state == ENDED ? take_response(mapping) : wait(gpu, request);
}
