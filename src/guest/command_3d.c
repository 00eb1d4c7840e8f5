/* SPDX-License-Identifier: MIT */
#include "guest/command_3d.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/command.h"

static uint32_t simple(struct vtr_guest *guest, const void *request, size_t size)
{
	struct virtio_gpu_ctrl_hdr response;

	return vtr_command(guest, request, size, &response, sizeof(response));
}

static struct virtio_gpu_ctrl_hdr fenced(struct vtr_guest *guest, uint32_t type, uint32_t ctx)
{
	return (struct virtio_gpu_ctrl_hdr){
		.type = type, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = ++guest->fence, .ctx_id = ctx
	};
}

/* ---- capsets ---- */

uint32_t vtr_command_capset_info(struct vtr_guest *guest, uint32_t index, struct virtio_gpu_resp_capset_info *info)
{
	struct virtio_gpu_get_capset_info request = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO, .capset_index = index };

	return vtr_command(guest, &request, sizeof(request), info, sizeof(*info));
}

uint32_t vtr_command_capset(struct vtr_guest *guest, uint32_t id, uint32_t version, void *data, size_t size, size_t *written)
{
	struct virtio_gpu_get_capset request = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET,
		                                 .capset_id = id,
		                                 .capset_version = version };
	const size_t header = sizeof(struct virtio_gpu_resp_capset);
	struct virtio_gpu_resp_capset *response = calloc(1, header + size);

	*written = 0;
	if (!response) {
		vtr_guest_fail(guest, ENOMEM, "out of memory");
		return 0;
	}
	long bytes = vtr_guest_command(guest, &request, sizeof(request), response, header + size);
	uint32_t type = bytes < (long)header ? 0 : response->hdr.type;
	if (type)
		*written = (size_t)bytes - header;
	memcpy(data, response->capset_data, size);
	free(response);
	return type;
}

/* ---- contexts ---- */

uint32_t vtr_command_ctx_create(struct vtr_guest *guest, uint32_t ctx, uint32_t init, const char *name)
{
	struct virtio_gpu_ctx_create request = {
		.hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = ctx },
		.nlen = (uint32_t)strlen(name),
		.context_init = init,
	};

	snprintf(request.debug_name, sizeof(request.debug_name), "%s", name);
	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_ctx_destroy(struct vtr_guest *guest, uint32_t ctx)
{
	struct virtio_gpu_ctx_destroy request = { .hdr = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = ctx } };

	return simple(guest, &request, sizeof(request));
}

static uint32_t ctx_resource(struct vtr_guest *guest, uint32_t type, uint32_t ctx, uint32_t resource)
{
	struct virtio_gpu_ctx_resource request = { .hdr = { .type = type, .ctx_id = ctx }, .resource_id = resource };

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_ctx_attach(struct vtr_guest *guest, uint32_t ctx, uint32_t resource)
{
	return ctx_resource(guest, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, ctx, resource);
}

uint32_t vtr_command_ctx_detach(struct vtr_guest *guest, uint32_t ctx, uint32_t resource)
{
	return ctx_resource(guest, VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, ctx, resource);
}

/* ---- resources ---- */

uint32_t vtr_command_create_3d_raw(struct vtr_guest *guest, const struct virtio_gpu_resource_create_3d *request)
{
	return simple(guest, request, sizeof(*request));
}

uint32_t vtr_command_create_3d(struct vtr_guest *guest, uint32_t resource, const struct vtr_texture *texture)
{
	return vtr_command_create_3d_raw(guest, &(struct virtio_gpu_resource_create_3d){
							.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
							.resource_id = resource,
							.target = texture->target,
							.format = texture->format,
							.bind = texture->bind,
							.width = texture->width,
							.height = texture->height,
							.depth = texture->depth ? texture->depth : 1,
							.array_size = texture->array_size ? texture->array_size : 1,
							.last_level = texture->last_level,
							.nr_samples = texture->nr_samples,
							.flags = texture->flags,
						});
}

static uint32_t transfer_3d(struct vtr_guest *guest, uint32_t type, uint32_t ctx, uint32_t resource,
                            const struct vtr_transfer *transfer)
{
	struct virtio_gpu_transfer_host_3d request = {
		.hdr = fenced(guest, type, ctx),
		.box = transfer->box,
		.offset = transfer->offset,
		.resource_id = resource,
		.level = transfer->level,
		.stride = transfer->stride,
		.layer_stride = transfer->layer_stride,
	};

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_transfer_to_host_3d(struct vtr_guest *guest, uint32_t ctx, uint32_t resource,
                                         const struct vtr_transfer *transfer)
{
	return transfer_3d(guest, VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, ctx, resource, transfer);
}

uint32_t vtr_command_transfer_from_host_3d(struct vtr_guest *guest, uint32_t ctx, uint32_t resource,
                                           const struct vtr_transfer *transfer)
{
	return transfer_3d(guest, VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, ctx, resource, transfer);
}

/* ---- streams ---- */

size_t vtr_command_pack_submit(void *buffer, const struct virtio_gpu_cmd_submit *header, const void *stream, size_t size)
{
	memcpy(buffer, header, sizeof(*header));
	if (size)
		memcpy((uint8_t *)buffer + sizeof(*header), stream, size);
	return sizeof(*header) + size;
}

uint32_t vtr_command_submit(struct vtr_guest *guest, uint32_t ctx, const void *stream, size_t size)
{
	struct virtio_gpu_cmd_submit header = { .hdr = fenced(guest, VIRTIO_GPU_CMD_SUBMIT_3D, ctx), .size = (uint32_t)size };
	uint8_t *request = malloc(sizeof(header) + size);

	if (!request) {
		vtr_guest_fail(guest, ENOMEM, "out of memory");
		return 0;
	}
	uint32_t response = simple(guest, request, vtr_command_pack_submit(request, &header, stream, size));
	free(request);
	return response;
}

uint32_t vtr_command_submit_stream(struct vtr_guest *guest, uint32_t ctx, const struct vtr_virgl_stream *stream)
{
	if (!stream->full)
		return vtr_command_submit(guest, ctx, stream->words, vtr_virgl_bytes(stream));
	vtr_guest_fail(guest, ENOSPC, "the command stream is longer than %d words", VTR_VIRGL_WORDS);
	return 0;
}
