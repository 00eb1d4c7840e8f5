/* SPDX-License-Identifier: MIT */
/* The commands that create, fill and end resources (virtio 1.3, 5.7.6.8). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "gpu/gpu.h"

uint32_t vtr_resource_check_new_id(struct vtr_gpu *gpu, uint32_t id)
{
	if (!id || vtr_resource_find(gpu, id))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (gpu->resources.count < VTR_MAX_RESOURCES)
		return VIRTIO_GPU_RESP_OK_NODATA;
	vtr_gpu_log_limit(gpu, "the guest has %d resources, and no more are possible (VTR_MAX_RESOURCES): end programs there",
	                  VTR_MAX_RESOURCES);
	return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
}

bool vtr_resource_hostmem_fits(struct vtr_gpu *gpu, uint64_t bytes)
{
	const uint64_t mib = UINT64_C(1) << 20;
	uint64_t sum;

	if (vtr_add_u64(gpu->resources.hostmem, bytes, &sum) && sum <= gpu->options.max_hostmem)
		return true;
	vtr_gpu_log_limit(gpu,
	                  "the guest has used up its host memory (%" PRIu64 " of %" PRIu64 " MiB, and %" PRIu64
	                  " KiB more are wanted): raise --max-hostmem",
	                  gpu->resources.hostmem / mib, gpu->options.max_hostmem / mib, bytes / 1024 + (bytes % 1024 != 0));
	return false;
}

static bool images_fit(struct vtr_gpu *gpu)
{
	if (gpu->resources.images < VTR_MAX_IMAGES)
		return true;
	vtr_gpu_log_limit(gpu, "the guest has %d 2D resources, and no more are possible (VTR_MAX_IMAGES): end programs there",
	                  VTR_MAX_IMAGES);
	return false;
}

uint32_t vtr_gpu_resource_create_2d(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_resource_create_2d *command = &request->command.create_2d;
	uint32_t format = vtr_gpu_format_to_fourcc(command->format), error = vtr_resource_check_new_id(gpu, command->resource_id);

	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	if (!format || !command->width || !command->height || command->width > VTR_MAX_DIMENSION ||
	    command->height > VTR_MAX_DIMENSION)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!images_fit(gpu) || !vtr_resource_hostmem_fits(gpu, vtr_image_bytes(command->width, command->height)))
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	struct vtr_resource *resource = vtr_resource_create_2d(gpu, command->resource_id, command->width, command->height, format);
	if (!resource)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	vtr_saved_note_created(gpu->saved, resource, command, sizeof(*command));
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* ---- backings ---- */

void vtr_gpu_forget_incoming(struct vtr_gpu *gpu)
{
	free(gpu->incoming.entries);
	gpu->incoming = (struct vtr_incoming){ 0 };
}

/* Copies the count entries that follow the first `offset` bytes of the request, unless that was done before: 0 or -errno. */
static int read_entries(struct vtr_gpu *gpu, struct vtr_gpu_request *request, size_t offset, uint32_t count)
{
	struct vtr_incoming *incoming = &gpu->incoming;
	size_t bytes = count * sizeof(*incoming->entries);

	if (incoming->entries && incoming->count == count)
		return 0;
	vtr_gpu_forget_incoming(gpu);
	struct vtr_mem_entry *entries = malloc(bytes);
	if (!entries)
		return -ENOMEM;
	long got = vtr_chain_read(&gpu->base.queues[request->queue], request->chain, offset, entries, bytes);
	if (got < (long)bytes) {
		free(entries);
		return got < 0 ? (int)got : -EFAULT;
	}
	*incoming = (struct vtr_incoming){ .entries = entries, .count = count };
	return 0;
}

/* Mem entries as a request carries them, copied and resolved. */
struct backing {
	struct vtr_mem_entry *entries;
	size_t count;
	struct vtr_spans spans;
};

/* Resolves the incoming entries: 0 and *backing, or -errno. min_size: bytes they must add up to. */
static int resolve_entries(struct vtr_gpu *gpu, uint64_t min_size, struct backing *backing)
{
	struct vtr_incoming *incoming = &gpu->incoming;
	struct vtr_error error;
	int failed = vtr_spans_ask(gpu->base.memory, incoming->entries, incoming->count, &incoming->asked, &error);
	bool were_there = !failed;

	if (were_there)
		failed = vtr_spans_resolve_named(&backing->spans, gpu->base.memory, incoming->entries, incoming->count, &error);
	if (were_there && failed == -EINPROGRESS) /* some were invalidated meanwhile */
		incoming->asked = (struct vtr_spans_cursor){ 0 };
	if (failed && failed != -EINPROGRESS)
		vtr_gpu_log_guest(gpu, "guest: %s", error.text);
	if (!failed && !vtr_resource_spans_fit(gpu, &backing->spans))
		failed = -ENOMEM;
	if (!failed && backing->spans.length < min_size)
		failed = -EINVAL;
	if (failed) {
		vtr_spans_finish(&backing->spans);
		return failed;
	}
	backing->entries = incoming->entries;
	backing->count = incoming->count;
	incoming->entries = NULL;
	return 0;
}

/* The memory of a backing that was there may come back later: a command that is run again leaves it to that. */
static bool leave_entries(struct vtr_gpu *gpu, const struct vtr_gpu_request *request, int failed, uint64_t min_size,
                          struct backing *backing)
{
	struct vtr_incoming *incoming = &gpu->incoming;
	uint64_t total = 0;

	for (size_t i = 0; i < incoming->count; i++)
		total += incoming->entries[i].length;
	if (request->chain || total < min_size || (failed != -EFAULT && !vtr_virtqueue_is_transient(failed)))
		return false;
	*backing = (struct backing){ .entries = incoming->entries, .count = incoming->count };
	incoming->entries = NULL;
	return true;
}

/* A command that is run again has its entries in gpu->incoming. */
static bool entries_fit(const struct vtr_gpu_request *request, size_t offset, uint32_t count)
{
	return !request->chain || vtr_range_fits(offset, count * sizeof(struct vtr_mem_entry), request->chain->out_size);
}

/* Reads count entries that follow the first `offset` bytes of the request, and resolves them. min_size: bytes they must add up to.
 */
static uint32_t read_backing(struct vtr_gpu *gpu, struct vtr_gpu_request *request, size_t offset, uint32_t count, uint64_t min_size,
                             struct backing *backing)
{
	*backing = (struct backing){ 0 };
	if (count > VTR_MAX_ENTRIES || !entries_fit(request, offset, count))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (gpu->resources.entries + count > VTR_MAX_TOTAL_ENTRIES)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	int failed = read_entries(gpu, request, offset, count);
	bool have_entries = !failed;
	if (!failed)
		failed = resolve_entries(gpu, min_size, backing);
	if (failed && have_entries && leave_entries(gpu, request, failed, min_size, backing))
		failed = 0;
	switch (failed) {
	case 0:
		return VIRTIO_GPU_RESP_OK_NODATA;
	case -EINVAL: /* they add up to too little, or one is empty */
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	case -ENOMEM:
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	default:
		break;
	}
	if (have_entries && failed == -EINPROGRESS)
		vtr_virtqueue_wait(&gpu->base.queues[request->queue]);
	/* resolving asks nobody but an IOMMU: its other errors are final */
	return vtr_virtqueue_is_transient(failed) ? VTR_GPU_AGAIN : VIRTIO_GPU_RESP_ERR_UNSPEC;
}

/* Memory of the host's needs a renderer that has it, and either has entries or has not. */
static bool blob_memory_fits(const struct vtr_gpu *gpu, const struct virtio_gpu_resource_create_blob *command)
{
	switch (command->blob_mem) {
	case VIRTIO_GPU_BLOB_MEM_GUEST:
		return true; /* without entries the backing comes later, by RESOURCE_ATTACH_BACKING */
	case VIRTIO_GPU_BLOB_MEM_HOST3D:
		return vtr_virtio_has_feature(&gpu->base, VIRTIO_GPU_F_VIRGL) && !command->nr_entries;
	case VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST:
		return vtr_virtio_has_feature(&gpu->base, VIRTIO_GPU_F_VIRGL) && command->nr_entries;
	default:
		return false;
	}
}

uint32_t vtr_gpu_resource_create_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_resource_create_blob *command = &request->command.create_blob;
	const uint32_t flags =
		VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE | VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE | VIRTIO_GPU_BLOB_FLAG_USE_CROSS_DEVICE;
	uint32_t error = vtr_resource_check_new_id(gpu, command->resource_id);
	struct backing backing = { 0 };

	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	if (!blob_memory_fits(gpu, command) || command->blob_flags & ~flags || !command->size || command->size > VTR_MAX_BLOB_SIZE)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (command->nr_entries) {
		error = read_backing(gpu, request, sizeof(*command), command->nr_entries, command->size, &backing);
		if (error != VIRTIO_GPU_RESP_OK_NODATA)
			return error;
	}
	if (command->blob_mem != VIRTIO_GPU_BLOB_MEM_GUEST)
		return vtr_gpu_create_host_blob(gpu, request, backing.entries, backing.count, &backing.spans);
	struct vtr_resource *resource = vtr_resource_create_blob(gpu, command->resource_id, command->size);
	if (!resource) {
		free(backing.entries);
		vtr_spans_finish(&backing.spans);
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	if (backing.count)
		vtr_resource_attach(gpu, resource, backing.entries, backing.count, &backing.spans);
	vtr_saved_note_created(gpu->saved, resource, command, sizeof(*command));
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* The renderer is asked to let go of the resource's memory, and the guest gets its answer when it has: whatever the memory map does
 * until then, it is not lent again. That the memory is in use goes on to count. */
static void end_lending(struct vtr_resource *resource)
{
	free(resource->entries);
	resource->entries = NULL;
}

/* The renderer has let go of it, and of its memory. */
static uint32_t unreferenced(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, call->args.resource_id);

	if (resource) {
		vtr_saved_note_destroyed(gpu->saved, resource);
		vtr_resource_left(gpu, resource);
		vtr_resource_destroy(gpu, resource);
	}
	return VIRTIO_GPU_RESP_OK_NODATA; /* whatever the renderer says, it is gone */
}

uint32_t vtr_gpu_resource_unref(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, request->command.unref.resource_id);

	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (resource->shown & 1u << i)
			vtr_scanout_disable(gpu, &gpu->scanouts[i]);
	if (resource->rendered) {
		end_lending(resource);
		return vtr_gpu_render(gpu, request,
		                      &(struct vtr_render_call){ .args = { .op = VTR_RENDER_UNREF, .resource_id = resource->id } },
		                      unreferenced);
	}
	vtr_saved_note_destroyed(gpu->saved, resource);
	vtr_resource_destroy(gpu, resource);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vtr_gpu_resource_attach_backing(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_resource_attach_backing *command = &request->command.attach;
	struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);
	struct backing backing;

	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (resource->entries)
		return VIRTIO_GPU_RESP_ERR_UNSPEC; /* it has one */
	if (!command->nr_entries)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	/* A transfer is checked against the backing when it comes; a blob is nothing but its backing. */
	uint32_t error = read_backing(gpu, request, sizeof(*command), command->nr_entries, resource->size, &backing);
	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	if (vtr_resource_uses_lending(resource) && !vtr_resource_is_lendable(gpu, resource->id, &backing.spans)) {
		free(backing.entries);
		vtr_spans_finish(&backing.spans);
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	}
	vtr_resource_attach(gpu, resource, backing.entries, backing.count, &backing.spans);
	if (vtr_resource_uses_lending(resource) && !resource->lent) {
		vtr_resource_detach(gpu, resource); /* the renderer has refused it */
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	}
	vtr_saved_note_attached(gpu->saved, resource);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t detached(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, call->args.resource_id);

	if (resource) {
		resource->lent = false;
		vtr_resource_detach(gpu, resource);
		vtr_saved_note_detached(gpu->saved, resource);
	}
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vtr_gpu_resource_detach_backing(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, request->command.detach.resource_id);

	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!resource->entries)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (resource->lent) {
		end_lending(resource);
		return vtr_gpu_render(
			gpu, request,
			&(struct vtr_render_call){ .args = { .op = VTR_RENDER_DETACH_BACKING, .resource_id = resource->id } },
			detached);
	}
	vtr_resource_detach(gpu, resource);
	vtr_saved_note_detached(gpu->saved, resource);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vtr_gpu_resource_assign_uuid(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, request->command.assign_uuid.resource_id);

	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!resource->has_uuid) {
		if (getrandom(resource->uuid, sizeof(resource->uuid), 0) != sizeof(resource->uuid))
			return VIRTIO_GPU_RESP_ERR_UNSPEC;
		resource->uuid[6] = (resource->uuid[6] & 0x0f) | 0x40; /* RFC 4122: version 4, random */
		resource->uuid[8] = (resource->uuid[8] & 0x3f) | 0x80;
		resource->has_uuid = true;
		vtr_saved_note_uuid(gpu->saved, resource);
	}
	vtr_shared_announce(gpu, resource);
	memcpy(request->response.uuid.uuid, resource->uuid, sizeof(resource->uuid));
	return VIRTIO_GPU_RESP_OK_RESOURCE_UUID;
}

/* A transfer is work for the scanouts that show the resource. */
static void count_transfer(struct vtr_gpu *gpu, const struct vtr_resource *resource, uint64_t bytes, uint64_t cpu_ns)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (resource->shown & 1u << i) {
			gpu->scanouts[i].stats.bytes_copied += bytes;
			gpu->scanouts[i].stats.cpu_ns += cpu_ns;
		}
}

/* 2D goes on without a renderer. */
static uint32_t twin_filled(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	return call->code == -ENODEV ? VIRTIO_GPU_RESP_OK_NODATA : vtr_gpu_render_error(call->code);
}

uint32_t vtr_gpu_transfer_to_host_2d(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_transfer_to_host_2d *command = &request->command.transfer;
	struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);
	const struct virtio_gpu_rect *r = &command->r;

	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (resource->three_d)
		return vtr_gpu_transfer_2d_of_3d(gpu, request, resource);
	if (!resource->image)
		return VIRTIO_GPU_RESP_OK_NODATA; /* the Linux driver transfers dumb blobs too: they are where they are */
	if (!r->width || !r->height || !vtr_range_fits(r->x, r->width, resource->image->width) ||
	    !vtr_range_fits(r->y, r->height, resource->image->height))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	uint32_t error = vtr_resource_await(gpu, resource, request->queue);
	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	uint64_t bytes = (uint64_t)resource->image->stride * (r->height - 1) + (uint64_t)r->width * 4;
	if (!vtr_range_fits(command->offset, bytes, resource->backing.length))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	pixman_box32_t box = { (int32_t)r->x, (int32_t)r->y, (int32_t)(r->x + r->width), (int32_t)(r->y + r->height) };
	uint64_t cpu = resource->shown ? vtr_scanout_cpu_ns() : 0; /* looking at that clock costs more than a small transfer */
	int failed = vtr_image_transfer(resource->image, &box, &resource->backing, command->offset);
	if (failed) /* rows that were copied are copied again */
		return vtr_virtqueue_is_transient(failed) ? VTR_GPU_AGAIN : VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (resource->shown)
		count_transfer(gpu, resource, (uint64_t)r->width * 4 * r->height, vtr_scanout_cpu_ns() - cpu);
	if (!resource->rendered)
		return VIRTIO_GPU_RESP_OK_NODATA;
	const struct vtr_render_box twins = { .x = r->x, .y = r->y, .w = r->width, .h = r->height, .d = 1 };
	const struct vtr_render_call call = vtr_resource_twin_transfer(resource, VTR_RENDER_TRANSFER_TO_HOST, &twins);
	return vtr_gpu_render(gpu, request, &call, twin_filled);
}
