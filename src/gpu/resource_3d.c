/* SPDX-License-Identifier: MIT */
/*
 * Resources and the renderer.
 *
 * Whatever the renderer has, it has under the guest's id: 3D resources from the start, others from when a context wants to work
 * with them.
 *
 *   3D, and blobs of the host's   live there; here is what has to be known of them (struct vtr_resource_3d)
 *   2D                            live here, and survive a renderer. The twin there is made with the same picture, and gets
 *                                 each transfer, too; its backing is the image here, so it knows nothing of the guest's memory
 *   blobs of the guest's          are the guest's memory, which the renderer gets lent
 *
 * Lent memory is used by address, in this process or another, whenever the guest's command streams say so. So it has to be RAM with
 * a mapping of its own; and before it goes (detached, unmapped, invalidated) the renderer gives it back, and that is waited for:
 * once for all that goes together. Memory that was taken back because the map changed is lent again when it is back, or, behind an
 * IOMMU, when the guest uses it; and a part at a time, where that is more than the renderer takes at once.
 *
 * When the renderer is lost nothing is taken away that is shown: 3D resources stay as names, until the guest gives them up.
 */
#include "gpu/resource_3d.h"

#include <errno.h>

#include "gpu/gpu.h"
#include "util/checked.h"

/* ---- sizes ---- */

/* Bytes of a pixel. Formats have virglrenderer's numbers; those of one to four equal components follow each other. What is not in
 * the table has at most four bytes, but for a few that nobody has many of. */
static uint64_t pixel_bytes(uint32_t format)
{
	static const struct {
		uint32_t first, last, component;
	} wide[] = {
		{ 24, 27, 8 },   { 28, 47, 4 },   /* 64 and 32 bits: FLOAT; UNORM, USCALED, SNORM, SSCALED */
		{ 48, 63, 2 },   { 87, 90, 4 },   /* 16 bits: the same; 32 bits: FIXED */
		{ 91, 94, 2 },   { 185, 192, 2 }, /* 16 bits: FLOAT; UINT, SINT */
		{ 193, 200, 4 },                  /* 32 bits: UINT, SINT */
	};

	for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
		if (format >= wide[i].first && format <= wide[i].last)
			return (uint64_t)((format - wide[i].first) % 4 + 1) * wide[i].component;
	return 4;
}

static uint64_t at_least_1(uint64_t n)
{
	return n ? n : 1;
}

uint64_t vtr_resource_3d_bytes(const struct virtio_gpu_resource_create_3d *command)
{
	const bool buffer = command->target == PIPE_BUFFER;
	uint64_t total = 0;

	for (uint32_t level = 0; level <= command->last_level && level < 32; level++) {
		uint64_t bytes = buffer ? 1 : pixel_bytes(command->format);

		if (!vtr_mul_u64(bytes, at_least_1(command->width >> level), &bytes) ||
		    !vtr_mul_u64(bytes, at_least_1(command->height >> level), &bytes) ||
		    !vtr_mul_u64(bytes, at_least_1(command->depth >> level), &bytes) || !vtr_add_u64(total, bytes, &total))
			return UINT64_MAX;
	}
	if (!vtr_mul_u64(total, at_least_1(command->array_size), &total) ||
	    !vtr_mul_u64(total, at_least_1(command->nr_samples), &total))
		return UINT64_MAX;
	return total;
}

/* ---- memory ---- */

bool vtr_resource_is_lendable(struct vtr_gpu *gpu, uint32_t id, const struct vtr_spans *spans)
{
	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_region *region = spans->items[i].region;

		if (region->kind == VTR_REGION_RAM && region->data && region->writable)
			continue;
		vtr_log_limited(
			&gpu->rendering.log, VTR_LOG_WARN,
			"resource %u: the renderer cannot use its memory, which came without a writable mapping: give the VM "
			"shared memory (QEMU: memory-backend-memfd,share=on)",
			id);
		return false;
	}
	return true;
}

/* The renderer did not take it. It may have been taken back since, and lent again. */
static void lent(struct vtr_gpu *gpu, const struct vtr_render_call *call)
{
	struct vtr_resource *resource = call->code ? vtr_resource_find(gpu, call->args.resource_id) : NULL;

	if (!resource || call->spans != &resource->backing ||
	    vtr_gpu_render_has_aside(gpu, VTR_RENDER_ATTACH_BACKING, resource->id))
		return;
	vtr_gpu_log_guest(gpu, "resource %u: the renderer does not take its memory: %s", resource->id, strerror(-call->code));
	resource->lent = false;
}

bool vtr_resource_uses_lending(const struct vtr_resource *resource)
{
	return resource->rendered && (resource->three_d || vtr_resource_is_blob(resource));
}

void vtr_resource_lend(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	if (resource->lent || !vtr_resource_uses_lending(resource) ||
	    !vtr_resource_is_lendable(gpu, resource->id, &resource->backing))
		return;
	resource->lent = true;
	int code = vtr_gpu_render_aside(
		gpu,
		&(struct vtr_render_call){ .args = { .op = VTR_RENDER_ATTACH_BACKING, .resource_id = resource->id },
	                                   .spans = &resource->backing },
		lent);
	vtr_resource_set_missed(gpu, resource, code == -ENOMEM);
}

static struct vtr_render_call detach_call(const struct vtr_resource *resource)
{
	return (struct vtr_render_call){ .args = { .op = VTR_RENDER_DETACH_BACKING, .resource_id = resource->id } };
}

void vtr_resource_take_back(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	struct vtr_render_call call = detach_call(resource);

	if (!resource->lent)
		return;
	vtr_gpu_render_now(gpu, &call);
	resource->lent = false;
}

void vtr_resources_give_back(struct vtr_gpu *gpu, const struct vtr_region *region)
{
	struct vtr_render_call call = { .args.op = VTR_RENDER_OPS };

	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next) {
			if (!resource->lent || !vtr_spans_use(&resource->backing, region))
				continue;
			/* The one before was not the last. Without memory for it each is waited for. */
			if (call.args.op != VTR_RENDER_OPS && vtr_gpu_render_aside(gpu, &call, NULL) == -ENOMEM)
				vtr_gpu_render_now(gpu, &call);
			call = detach_call(resource);
		}
	if (call.args.op != VTR_RENDER_OPS)
		vtr_gpu_render_now(gpu, &call);
}

void vtr_resource_set_missed(struct vtr_gpu *gpu, struct vtr_resource *resource, bool missed)
{
	gpu->resources.missed += (uint32_t)missed - (uint32_t)resource->missed;
	resource->missed = missed;
}

void vtr_resources_lend_again(struct vtr_gpu *gpu)
{
	gpu->rendering.refused = false;
	for (size_t i = 0; gpu->resources.missed && i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next) {
			if (resource->missed)
				vtr_resource_resolve(gpu, resource, false);
			if (gpu->rendering.refused) /* it comes back to us */
				return;
		}
}

/* ---- twins ---- */

/* The renderer has it, or not. */
static void joined(struct vtr_gpu *gpu, const struct vtr_render_call *call)
{
	struct vtr_resource *resource = call->code ? vtr_resource_find(gpu, call->args.resource_id) : NULL;

	if (!resource || resource->three_d)
		return;
	vtr_gpu_log_guest(gpu, "resource %u: the renderer does not take it: %s", resource->id, strerror(-call->code));
	vtr_resource_left(gpu, resource);
}

struct vtr_render_call vtr_resource_twin_transfer(const struct vtr_resource *resource, uint32_t op,
                                                  const struct vtr_render_box *box)
{
	const struct vtr_image *image = resource->image;

	return (struct vtr_render_call){
		.args = { .op = op,
		          .resource_id = resource->id,
		          .transfer = { .box = *box,
		                        .offset = (uint64_t)box->y * image->stride + (uint64_t)box->x * 4,
		                        .stride = image->stride } },
	};
}

void vtr_resource_fill_twin(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	if (!resource->rendered || !resource->image)
		return;
	const struct vtr_render_box all = { .w = resource->image->width, .h = resource->image->height, .d = 1 };
	const struct vtr_render_call call = vtr_resource_twin_transfer(resource, VTR_RENDER_TRANSFER_TO_HOST, &all);

	vtr_gpu_render_aside(gpu, &call, NULL);
}

static uint32_t virtio_format(uint32_t fourcc)
{
	uint32_t format = VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM; /* the highest */

	while (format && vtr_gpu_format_to_fourcc(format) != fourcc)
		format--;
	return format;
}

static uint32_t make_twin(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	const struct vtr_image *image = resource->image;

	if (!vtr_resource_hostmem_fits(gpu, image->pixels.length))
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	gpu->resources.hostmem += resource->twin_bytes = image->pixels.length;
	resource->rendered = true;
	int code = vtr_gpu_render_aside(
		gpu,
		&(struct vtr_render_call){ .args = { .op = VTR_RENDER_CREATE_3D,
	                                             .resource_id = resource->id,
	                                             .create_3d = { .target = PIPE_TEXTURE_2D,
	                                                            .format = virtio_format(image->format),
	                                                            .bind = PIPE_BIND_RENDER_TARGET | PIPE_BIND_SAMPLER_VIEW,
	                                                            .width = image->width,
	                                                            .height = image->height,
	                                                            .depth = 1,
	                                                            .array_size = 1,
	                                                            .flags = VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP } } },
		joined);
	if (code && code != -EINPROGRESS)
		return vtr_gpu_render_error(code);
	vtr_gpu_render_aside(gpu,
	                     &(struct vtr_render_call){ .args = { .op = VTR_RENDER_ATTACH_BACKING, .resource_id = resource->id },
	                                                .spans = &image->pixels },
	                     NULL);
	vtr_resource_fill_twin(gpu, resource);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t share_blob(struct vtr_gpu *gpu, struct vtr_resource *resource, unsigned queue)
{
	uint32_t error = vtr_resource_await(gpu, resource, queue);

	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	if (!vtr_resource_is_lendable(gpu, resource->id, &resource->backing))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	resource->rendered = resource->lent = true;
	int code = vtr_gpu_render_aside(gpu,
	                                &(struct vtr_render_call){ .args = { .op = VTR_RENDER_CREATE_BLOB,
	                                                                     .resource_id = resource->id,
	                                                                     .create_blob = { .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
	                                                                                      .size = resource->size } },
	                                                           .spans = &resource->backing },
	                                joined);
	return code == -EINPROGRESS ? VIRTIO_GPU_RESP_OK_NODATA : vtr_gpu_render_error(code);
}

uint32_t vtr_resource_join_renderer(struct vtr_gpu *gpu, struct vtr_resource *resource, unsigned queue)
{
	if (resource->three_d && resource->three_d->lost)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (resource->rendered)
		return VIRTIO_GPU_RESP_OK_NODATA;
	return resource->image ? make_twin(gpu, resource) : share_blob(gpu, resource, queue);
}

/* ---- ends ---- */

void vtr_resource_left(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	vtr_resource_set_missed(gpu, resource, false);
	gpu->resources.hostmem -= resource->twin_bytes;
	resource->twin_bytes = 0;
	resource->rendered = resource->lent = false;
}

void vtr_resources_left(struct vtr_gpu *gpu)
{
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			vtr_resource_left(gpu, resource);
}

void vtr_resources_lost(struct vtr_gpu *gpu)
{
	vtr_resources_left(gpu);
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			if (resource->three_d) {
				resource->three_d->lost = true;
				vtr_scanouts_lost(gpu, resource);
			}
}

uint32_t vtr_resources_count_rendered(const struct vtr_gpu *gpu)
{
	uint32_t count = 0;

	for (size_t i = 0; gpu->rendering.used && i < VTR_RESOURCE_BUCKETS; i++)
		for (const struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			count += resource->rendered;
	return count;
}
