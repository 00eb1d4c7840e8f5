/* SPDX-License-Identifier: MIT */
#include "guest/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/machine.h"

static const struct {
	uint32_t type;
	uint32_t size; /* least bytes of the response */
	const char *name;
} responses[] = {
	{ VIRTIO_GPU_RESP_OK_NODATA, sizeof(struct virtio_gpu_ctrl_hdr), "OK_NODATA" },
	{ VIRTIO_GPU_RESP_OK_DISPLAY_INFO, sizeof(struct virtio_gpu_resp_display_info), "OK_DISPLAY_INFO" },
	{ VIRTIO_GPU_RESP_OK_CAPSET_INFO, sizeof(struct virtio_gpu_resp_capset_info), "OK_CAPSET_INFO" },
	{ VIRTIO_GPU_RESP_OK_CAPSET, sizeof(struct virtio_gpu_resp_capset), "OK_CAPSET" },
	{ VIRTIO_GPU_RESP_OK_EDID, sizeof(struct virtio_gpu_resp_edid), "OK_EDID" },
	{ VIRTIO_GPU_RESP_OK_RESOURCE_UUID, sizeof(struct virtio_gpu_resp_resource_uuid), "OK_RESOURCE_UUID" },
	{ VIRTIO_GPU_RESP_OK_MAP_INFO, sizeof(struct virtio_gpu_ctrl_hdr), "OK_MAP_INFO" },
	{ VIRTIO_GPU_RESP_ERR_UNSPEC, sizeof(struct virtio_gpu_ctrl_hdr), "ERR_UNSPEC" },
	{ VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY, sizeof(struct virtio_gpu_ctrl_hdr), "ERR_OUT_OF_MEMORY" },
	{ VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, sizeof(struct virtio_gpu_ctrl_hdr), "ERR_INVALID_SCANOUT_ID" },
	{ VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, sizeof(struct virtio_gpu_ctrl_hdr), "ERR_INVALID_RESOURCE_ID" },
	{ VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID, sizeof(struct virtio_gpu_ctrl_hdr), "ERR_INVALID_CONTEXT_ID" },
	{ VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, sizeof(struct virtio_gpu_ctrl_hdr), "ERR_INVALID_PARAMETER" },
};

enum { N_RESPONSES = sizeof(responses) / sizeof(responses[0]) };

const char *vtr_command_response_name(uint32_t response)
{
	static _Thread_local char unknown[40];

	for (size_t i = 0; i < N_RESPONSES; i++)
		if (responses[i].type == response)
			return responses[i].name;
	snprintf(unknown, sizeof(unknown), "unknown response 0x%x", response);
	return unknown;
}

/* No response worth the name: remembers why. */
static uint32_t VTR_PRINTF(2, 3) no_response(struct vtr_guest *guest, const char *format, ...)
{
	char text[sizeof(guest->failure.text)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	vtr_guest_fail(guest, EPROTO, "%s", text);
	return 0;
}

static uint32_t check_response(struct vtr_guest *guest, const struct virtio_gpu_ctrl_hdr *request,
                               const struct virtio_gpu_ctrl_hdr *response, long written)
{
	uint32_t fence = request->flags & VIRTIO_GPU_FLAG_FENCE;

	if (written < (long)sizeof(*response))
		return no_response(guest, "the response has %ld bytes, a header has 24", written);
	if ((response->flags & VIRTIO_GPU_FLAG_FENCE) != fence || (fence && response->fence_id != request->fence_id))
		return no_response(guest, "the response has flags 0x%x and fence %llu, the request 0x%x and %llu", response->flags,
		                   (unsigned long long)response->fence_id, request->flags, (unsigned long long)request->fence_id);
	for (size_t i = 0; i < N_RESPONSES; i++) {
		if (responses[i].type != response->type)
			continue;
		if (written < (long)responses[i].size)
			return no_response(guest, "%s came with %ld bytes, it has %u", responses[i].name, written,
			                   responses[i].size);
		return response->type;
	}
	return no_response(guest, "%s", vtr_command_response_name(response->type));
}

uint32_t vtr_command(struct vtr_guest *guest, const void *request, size_t request_size, void *response, size_t response_size)
{
	long written = vtr_guest_command(guest, request, request_size, response, response_size);

	return written < 0 ? 0 : check_response(guest, request, response, written);
}

static uint32_t simple(struct vtr_guest *guest, const void *request, size_t request_size)
{
	struct virtio_gpu_ctrl_hdr response;

	return vtr_command(guest, request, request_size, &response, sizeof(response));
}

uint32_t vtr_command_entries(struct vtr_guest *guest, const void *request, size_t request_size,
                             const struct virtio_gpu_mem_entry *entries, size_t n_entries)
{
	size_t bytes = n_entries * sizeof(*entries);
	uint8_t *whole = malloc(request_size + bytes);
	uint32_t response = 0;

	if (!whole)
		return no_response(guest, "out of memory");
	memcpy(whole, request, request_size);
	if (bytes)
		memcpy(whole + request_size, entries, bytes);
	response = simple(guest, whole, request_size + bytes);
	free(whole);
	return response;
}

static struct virtio_gpu_rect wire(struct vtr_rect rect)
{
	return (struct virtio_gpu_rect){ .x = rect.x, .y = rect.y, .width = rect.width, .height = rect.height };
}

uint32_t vtr_command_display_info(struct vtr_guest *guest, struct virtio_gpu_resp_display_info *info)
{
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };

	return vtr_command(guest, &request, sizeof(request), info, sizeof(*info));
}

uint32_t vtr_command_edid(struct vtr_guest *guest, uint32_t scanout, struct virtio_gpu_resp_edid *edid)
{
	struct virtio_gpu_cmd_get_edid request = { .hdr.type = VIRTIO_GPU_CMD_GET_EDID, .scanout = scanout };

	return vtr_command(guest, &request, sizeof(request), edid, sizeof(*edid));
}

uint32_t vtr_command_create_2d(struct vtr_guest *guest, uint32_t resource, uint32_t format, uint32_t width, uint32_t height)
{
	struct virtio_gpu_resource_create_2d request = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
		.resource_id = resource,
		.format = format,
		.width = width,
		.height = height,
	};

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_create_blob(struct vtr_guest *guest, uint32_t resource, uint64_t size,
                                 const struct virtio_gpu_mem_entry *entries, uint32_t n_entries)
{
	struct virtio_gpu_resource_create_blob request = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		.resource_id = resource,
		.blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE,
		.nr_entries = n_entries,
		.size = size,
	};

	return vtr_command_entries(guest, &request, sizeof(request), entries, n_entries);
}

uint32_t vtr_command_unref(struct vtr_guest *guest, uint32_t resource)
{
	struct virtio_gpu_resource_unref request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = resource };

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_attach(struct vtr_guest *guest, uint32_t resource, const struct virtio_gpu_mem_entry *entries,
                            uint32_t n_entries)
{
	struct virtio_gpu_resource_attach_backing request = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
		.resource_id = resource,
		.nr_entries = n_entries,
	};

	return vtr_command_entries(guest, &request, sizeof(request), entries, n_entries);
}

uint32_t vtr_command_detach(struct vtr_guest *guest, uint32_t resource)
{
	struct virtio_gpu_resource_detach_backing request = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
		         .flags = VIRTIO_GPU_FLAG_FENCE,
		         .fence_id = ++guest->fence },
		.resource_id = resource,
	};

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_transfer(struct vtr_guest *guest, uint32_t resource, struct vtr_rect rect, uint64_t offset)
{
	struct virtio_gpu_transfer_to_host_2d request = {
		.hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
		.r = wire(rect),
		.offset = offset,
		.resource_id = resource,
	};

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_set_scanout(struct vtr_guest *guest, uint32_t scanout, uint32_t resource, struct vtr_rect rect)
{
	struct virtio_gpu_set_scanout request = {
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		.r = wire(rect),
		.scanout_id = scanout,
		.resource_id = resource,
	};

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_set_scanout_blob(struct vtr_guest *guest, uint32_t scanout, uint32_t resource, struct vtr_rect rect,
                                      const struct vtr_framebuffer *framebuffer)
{
	struct virtio_gpu_set_scanout_blob request = {
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
		.r = wire(rect),
		.scanout_id = scanout,
		.resource_id = resource,
		.width = framebuffer->width,
		.height = framebuffer->height,
		.format = framebuffer->format,
		.strides = { framebuffer->stride },
		.offsets = { framebuffer->offset },
	};

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_flush(struct vtr_guest *guest, uint32_t resource, struct vtr_rect rect)
{
	struct virtio_gpu_resource_flush request = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = ++guest->fence },
		.r = wire(rect),
		.resource_id = resource,
	};

	return simple(guest, &request, sizeof(request));
}

uint32_t vtr_command_uuid(struct vtr_guest *guest, uint32_t resource, uint8_t uuid[16])
{
	struct virtio_gpu_resource_assign_uuid request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID,
		                                           .resource_id = resource };
	struct virtio_gpu_resp_resource_uuid response = { 0 };
	uint32_t type = vtr_command(guest, &request, sizeof(request), &response, sizeof(response));

	memcpy(uuid, response.uuid, 16);
	return type;
}

static int cursor_command(struct vtr_guest *guest, const struct virtio_gpu_update_cursor *request)
{
	long written = vtr_guest_exchange(guest, VTR_GUEST_CURSOR, request, sizeof(*request), NULL, 0);

	return written < 0 ? (int)written : 0;
}

int vtr_command_update_cursor(struct vtr_guest *guest, uint32_t scanout, uint32_t resource, uint32_t x, uint32_t y, uint32_t hot_x,
                              uint32_t hot_y)
{
	return cursor_command(guest, &(struct virtio_gpu_update_cursor){
					     .hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR,
					     .pos = { .scanout_id = scanout, .x = x, .y = y },
					     .resource_id = resource,
					     .hot_x = hot_x,
					     .hot_y = hot_y,
				     });
}

int vtr_command_move_cursor(struct vtr_guest *guest, uint32_t scanout, uint32_t x, uint32_t y)
{
	return cursor_command(guest, &(struct virtio_gpu_update_cursor){
					     .hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR,
					     .pos = { .scanout_id = scanout, .x = x, .y = y },
				     });
}
