/* SPDX-License-Identifier: MIT */
/*
 * The commands that make 3D resources and copy between them and the guest's memory (virtio 1.3, 5.7.6.8). Formats, levels and boxes
 * of 3D resources are the renderer's to check, against a backing that is there.
 *
 * Such a transfer of a 2D resource goes through its image here, whose copy the twin is.
 */
#include <errno.h>
#include <stdlib.h>

#include "gpu/gpu.h"

/* ---- creating ---- */

/* A new resource that the renderer has not taken goes again. */
static uint32_t created(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_resource *resource = call->code ? vtr_resource_find(gpu, call->args.resource_id) : NULL;

	if (resource) {
		vtr_resource_left(gpu, resource);
		vtr_resource_destroy(gpu, resource);
	}
	return vtr_gpu_render_error(call->code);
}

static bool is_picture(const struct virtio_gpu_resource_create_3d *command)
{
	return (command->target == PIPE_TEXTURE_2D || command->target == PIPE_TEXTURE_RECT) && command->nr_samples <= 1;
}

uint32_t vtr_gpu_resource_create_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_resource_create_3d *command = &request->command.create_3d;
	const uint32_t max_width = command->target == PIPE_BUFFER ? UINT32_MAX : VTR_MAX_DIMENSION;
	struct vtr_resource_3d three_d = {
		.width = command->width,
		.height = command->height,
		.format = is_picture(command) ? vtr_gpu_format_to_fourcc(command->format) : 0,
		.y_0_top = command->flags & VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP,
		.bytes = vtr_resource_3d_bytes(command),
	};
	uint32_t error = vtr_resource_check_new_id(gpu, command->resource_id);

	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	if (!command->width || command->width > max_width || !command->height || command->height > VTR_MAX_DIMENSION ||
	    command->depth > VTR_MAX_DIMENSION)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!vtr_resource_hostmem_fits(gpu, three_d.bytes))
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	struct vtr_resource *resource = vtr_resource_create_3d(gpu, command->resource_id, &three_d);
	if (!resource)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	resource->rendered = true;
	const struct vtr_render_call call = { .args = { .op = VTR_RENDER_CREATE_3D,
		                                        .resource_id = command->resource_id,
		                                        .create_3d = { .target = command->target,
		                                                       .format = command->format,
		                                                       .bind = command->bind,
		                                                       .width = command->width,
		                                                       .height = command->height,
		                                                       .depth = command->depth,
		                                                       .array_size = command->array_size,
		                                                       .last_level = command->last_level,
		                                                       .nr_samples = command->nr_samples,
		                                                       .flags = command->flags } } };
	return vtr_gpu_render(gpu, request, &call, created);
}

uint32_t vtr_gpu_create_host_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_mem_entry *entries,
                                  size_t n_entries, struct vtr_spans *spans)
{
	const struct virtio_gpu_resource_create_blob *command = &request->command.create_blob;
	const struct vtr_context *context = vtr_context_find(gpu, command->hdr.ctx_id);
	struct vtr_resource *resource = NULL;
	uint32_t error = VIRTIO_GPU_RESP_OK_NODATA;

	if (!context || context->lost)
		error = VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	else if (!vtr_resource_is_lendable(gpu, command->resource_id, spans))
		error = VIRTIO_GPU_RESP_ERR_UNSPEC;
	else if (vtr_resource_hostmem_fits(gpu, command->size))
		resource = vtr_resource_create_3d(gpu, command->resource_id, &(struct vtr_resource_3d){ .bytes = command->size });
	if (!resource) {
		free(entries);
		vtr_spans_finish(spans);
		return error != VIRTIO_GPU_RESP_OK_NODATA ? error : VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	resource->size = command->size;
	resource->three_d->mappable =
		command->blob_mem == VIRTIO_GPU_BLOB_MEM_HOST3D && command->blob_flags & VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE;
	if (n_entries)
		vtr_resource_attach(gpu, resource, entries, n_entries, spans);
	resource->rendered = true;
	resource->lent = n_entries;
	const struct vtr_render_call call = { .args = { .op = VTR_RENDER_CREATE_BLOB,
		                                        .ctx_id = command->hdr.ctx_id,
		                                        .resource_id = command->resource_id,
		                                        .create_blob = { .blob_mem = command->blob_mem,
		                                                         .blob_flags = command->blob_flags,
		                                                         .blob_id = command->blob_id,
		                                                         .size = command->size } },
		                              .spans = n_entries ? &resource->backing : NULL };
	return vtr_gpu_render(gpu, request, &call, created);
}

/* ---- transfers ---- */

static bool box_fits(const struct virtio_gpu_box *box, uint32_t width, uint32_t height)
{
	return box->w && box->h && box->d && vtr_range_fits(box->x, box->w, width) && vtr_range_fits(box->y, box->h, height);
}

/* The transfer of a 3D resource. */
static uint32_t transfer(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource, uint32_t op,
                         const struct virtio_gpu_transfer_host_3d *command)
{
	if (resource->three_d->lost)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!box_fits(&command->box, UINT32_MAX, UINT32_MAX))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	uint32_t error = vtr_resource_await(gpu, resource, request->queue);
	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	if (!resource->lent) /* it was said why */
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (command->offset >= resource->backing.length)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	const struct vtr_render_call call = { .args = { .op = op,
		                                        .ctx_id = command->hdr.ctx_id,
		                                        .resource_id = command->resource_id,
		                                        .transfer = { .box = { command->box.x, command->box.y, command->box.z,
		                                                               command->box.w, command->box.h, command->box.d },
		                                                      .offset = command->offset,
		                                                      .level = command->level,
		                                                      .stride = command->stride,
		                                                      .layer_stride = command->layer_stride } } };
	return vtr_gpu_render(gpu, request, &call, NULL);
}

uint32_t vtr_gpu_transfer_2d_of_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource)
{
	const struct virtio_gpu_transfer_to_host_2d *command = &request->command.transfer;
	const struct virtio_gpu_transfer_host_3d same = {
		.box = { .x = command->r.x, .y = command->r.y, .w = command->r.width, .h = command->r.height, .d = 1 },
		.offset = command->offset,
		.resource_id = command->resource_id,
	};

	return transfer(gpu, request, resource, VTR_RENDER_TRANSFER_TO_HOST, &same);
}

/* ---- of 2D resources, which have their pictures here ---- */

static uint8_t *image_row(const struct vtr_image *image, uint32_t x, uint32_t y)
{
	const struct vtr_span *pixels = &image->pixels.items[0];

	return pixels->region->data + pixels->offset + (uint64_t)y * image->stride + (uint64_t)x * 4;
}

static uint32_t transfer_stride(const struct virtio_gpu_transfer_host_3d *command, const struct vtr_image *image)
{
	return command->stride ? command->stride : image->stride;
}

/* The box of the command in the guest's memory and the image of a 2D resource, checked. */
static uint32_t check_image_transfer(struct vtr_gpu *gpu, const struct vtr_gpu_request *request, struct vtr_resource *resource)
{
	const struct virtio_gpu_transfer_host_3d *command = &request->command.transfer_3d;
	const struct vtr_image *image = resource->image;
	const uint32_t stride = transfer_stride(command, image);

	if (command->level || command->box.z || command->box.d != 1 || !box_fits(&command->box, image->width, image->height) ||
	    stride < command->box.w * 4)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	uint32_t error = vtr_resource_await(gpu, resource, request->queue);
	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	/* at most 2^14 rows of 2^32 bytes */
	const uint64_t bytes = (uint64_t)stride * (command->box.h - 1) + (uint64_t)command->box.w * 4;
	return vtr_range_fits(command->offset, bytes, resource->backing.length) ? VIRTIO_GPU_RESP_OK_NODATA
	                                                                        : VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
}

static struct vtr_render_call twin_call(const struct vtr_gpu_request *request, const struct vtr_resource *resource, uint32_t op)
{
	const struct virtio_gpu_box *box = &request->command.transfer_3d.box;
	const struct vtr_render_box same = { box->x, box->y, box->z, box->w, box->h, box->d };

	return vtr_resource_twin_transfer(resource, op, &same);
}

static uint32_t image_to_host(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource)
{
	const struct virtio_gpu_transfer_host_3d *command = &request->command.transfer_3d;
	const struct virtio_gpu_box *box = &command->box;
	const struct vtr_image *image = resource->image;
	int failed = vtr_spans_gather(&resource->backing, command->offset, transfer_stride(command, image), box->h,
	                              (size_t)box->w * 4, image_row(image, box->x, box->y), image->stride);

	if (failed)
		return vtr_virtqueue_is_transient(failed) ? VTR_GPU_AGAIN : VIRTIO_GPU_RESP_ERR_UNSPEC;
	const struct vtr_render_call call = twin_call(request, resource, VTR_RENDER_TRANSFER_TO_HOST);
	return vtr_gpu_render(gpu, request, &call, NULL);
}

/* The image has what the twin had: on to the guest. */
static uint32_t image_read(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	const struct virtio_gpu_transfer_host_3d *command = &request->command.transfer_3d;
	const struct virtio_gpu_box *box = &command->box;
	struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);
	int failed = call->code;

	if (failed || !resource || !resource->image)
		return failed ? vtr_gpu_render_error(failed) : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	for (uint32_t row = 0; row < box->h && !failed; row++)
		failed = vtr_spans_write(&resource->backing,
		                         command->offset + (uint64_t)row * transfer_stride(command, resource->image),
		                         image_row(resource->image, box->x, box->y + row), (size_t)box->w * 4);
	if (!failed)
		return VIRTIO_GPU_RESP_OK_NODATA;
	return vtr_virtqueue_is_transient(failed) ? VTR_GPU_AGAIN : VIRTIO_GPU_RESP_ERR_UNSPEC;
}

static uint32_t image_from_host(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource)
{
	const struct vtr_render_call call = twin_call(request, resource, VTR_RENDER_TRANSFER_FROM_HOST);

	return vtr_gpu_render(gpu, request, &call, image_read);
}

/* ---- the commands ---- */

/* A context that does not have the resource would get into an error that it does not leave. */
static uint32_t check_names(struct vtr_gpu *gpu, const struct virtio_gpu_transfer_host_3d *command, struct vtr_resource **resource)
{
	const struct vtr_context *context = vtr_context_find(gpu, command->hdr.ctx_id);

	*resource = vtr_resource_find(gpu, command->resource_id);
	if (command->hdr.ctx_id && (!context || context->lost))
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (!*resource || (context && !vtr_context_has(context, command->resource_id)))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t transfer_command(struct vtr_gpu *gpu, struct vtr_gpu_request *request, uint32_t op)
{
	const struct virtio_gpu_transfer_host_3d *command = &request->command.transfer_3d;
	struct vtr_resource *resource;
	uint32_t error = check_names(gpu, command, &resource);

	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	request->draws = true;
	if (resource->three_d)
		return transfer(gpu, request, resource, op, command);
	if (!resource->image || !resource->rendered) /* a blob is where it is; of the other the renderer knows nothing */
		return resource->image ? VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID : VIRTIO_GPU_RESP_OK_NODATA;
	error = check_image_transfer(gpu, request, resource);
	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	return op == VTR_RENDER_TRANSFER_TO_HOST ? image_to_host(gpu, request, resource) : image_from_host(gpu, request, resource);
}

uint32_t vtr_gpu_transfer_to_host_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	return transfer_command(gpu, request, VTR_RENDER_TRANSFER_TO_HOST);
}

uint32_t vtr_gpu_transfer_from_host_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	return transfer_command(gpu, request, VTR_RENDER_TRANSFER_FROM_HOST);
}
