/* SPDX-License-Identifier: MIT */
/*
 * From a queue to a handler and back. A request is copied out of guest memory once and checked against its row of the table (known,
 * offered, sent on the right queue, long enough, room for the answer); handlers see only what passed. Every chain is answered
 * exactly once: here, or with its fence (fence.c), or when displays have answered a question (questions.c) or the renderer has done
 * its part (rendering.c). A request that cannot be read just now goes back into its queue.
 */
#include "gpu/command.h"

#include <drm_fourcc.h>
#include <stdlib.h>

#include "gpu/gpu.h"

enum { QUEUE_BATCH = 256 }; /* chains handled before the loop gets its turn; the core calls again */

static const struct vtr_gpu_command {
	uint32_t type;
	const char *name;
	uint32_t size, response_size;
	unsigned queue;
	uint64_t feature; /* the bit that must have been negotiated, as a mask; 0: always there */
	vtr_gpu_handler handler;
} commands[] = {
#define ROW(type, queue, request, response, feature, handler)                                                                      \
	{                                                                                                                          \
		VIRTIO_GPU_CMD_##type, #type, sizeof(struct request), sizeof(struct response), VTR_GPU_##queue, feature, handler   \
	}
#define HEADER virtio_gpu_ctrl_hdr
#define BIT(bit) (UINT64_C(1) << VIRTIO_GPU_F_##bit)
	ROW(GET_DISPLAY_INFO, CONTROLQ, HEADER, virtio_gpu_resp_display_info, 0, vtr_gpu_get_display_info),
	ROW(GET_EDID, CONTROLQ, virtio_gpu_cmd_get_edid, virtio_gpu_resp_edid, BIT(EDID), vtr_gpu_get_edid),
	ROW(RESOURCE_CREATE_2D, CONTROLQ, virtio_gpu_resource_create_2d, HEADER, 0, vtr_gpu_resource_create_2d),
	ROW(RESOURCE_UNREF, CONTROLQ, virtio_gpu_resource_unref, HEADER, 0, vtr_gpu_resource_unref),
	ROW(SET_SCANOUT, CONTROLQ, virtio_gpu_set_scanout, HEADER, 0, vtr_gpu_set_scanout),
	ROW(RESOURCE_FLUSH, CONTROLQ, virtio_gpu_resource_flush, HEADER, 0, vtr_gpu_resource_flush),
	ROW(TRANSFER_TO_HOST_2D, CONTROLQ, virtio_gpu_transfer_to_host_2d, HEADER, 0, vtr_gpu_transfer_to_host_2d),
	ROW(RESOURCE_ATTACH_BACKING, CONTROLQ, virtio_gpu_resource_attach_backing, HEADER, 0, vtr_gpu_resource_attach_backing),
	ROW(RESOURCE_DETACH_BACKING, CONTROLQ, virtio_gpu_resource_detach_backing, HEADER, 0, vtr_gpu_resource_detach_backing),
	ROW(RESOURCE_ASSIGN_UUID, CONTROLQ, virtio_gpu_resource_assign_uuid, virtio_gpu_resp_resource_uuid, BIT(RESOURCE_UUID),
	    vtr_gpu_resource_assign_uuid),
	ROW(RESOURCE_CREATE_BLOB, CONTROLQ, virtio_gpu_resource_create_blob, HEADER, BIT(RESOURCE_BLOB),
	    vtr_gpu_resource_create_blob),
	ROW(SET_SCANOUT_BLOB, CONTROLQ, virtio_gpu_set_scanout_blob, HEADER, BIT(RESOURCE_BLOB), vtr_gpu_set_scanout_blob),
	ROW(GET_CAPSET_INFO, CONTROLQ, virtio_gpu_get_capset_info, virtio_gpu_resp_capset_info, BIT(VIRGL),
	    vtr_gpu_get_capset_info),
	ROW(GET_CAPSET, CONTROLQ, virtio_gpu_get_capset, HEADER, BIT(VIRGL), vtr_gpu_get_capset),
	ROW(CTX_CREATE, CONTROLQ, virtio_gpu_ctx_create, HEADER, BIT(VIRGL), vtr_gpu_ctx_create),
	ROW(CTX_DESTROY, CONTROLQ, virtio_gpu_ctx_destroy, HEADER, BIT(VIRGL), vtr_gpu_ctx_destroy),
	ROW(CTX_ATTACH_RESOURCE, CONTROLQ, virtio_gpu_ctx_resource, HEADER, BIT(VIRGL), vtr_gpu_ctx_attach_resource),
	ROW(CTX_DETACH_RESOURCE, CONTROLQ, virtio_gpu_ctx_resource, HEADER, BIT(VIRGL), vtr_gpu_ctx_detach_resource),
	ROW(RESOURCE_CREATE_3D, CONTROLQ, virtio_gpu_resource_create_3d, HEADER, BIT(VIRGL), vtr_gpu_resource_create_3d),
	ROW(TRANSFER_TO_HOST_3D, CONTROLQ, virtio_gpu_transfer_host_3d, HEADER, BIT(VIRGL), vtr_gpu_transfer_to_host_3d),
	ROW(TRANSFER_FROM_HOST_3D, CONTROLQ, virtio_gpu_transfer_host_3d, HEADER, BIT(VIRGL), vtr_gpu_transfer_from_host_3d),
	ROW(SUBMIT_3D, CONTROLQ, virtio_gpu_cmd_submit, HEADER, BIT(VIRGL), vtr_gpu_submit_3d),
	ROW(RESOURCE_MAP_BLOB, CONTROLQ, virtio_gpu_resource_map_blob, virtio_gpu_resp_map_info, BIT(RESOURCE_BLOB),
	    vtr_gpu_resource_map_blob),
	ROW(RESOURCE_UNMAP_BLOB, CONTROLQ, virtio_gpu_resource_unmap_blob, HEADER, BIT(RESOURCE_BLOB), vtr_gpu_resource_unmap_blob),
	ROW(UPDATE_CURSOR, CURSORQ, virtio_gpu_update_cursor, HEADER, 0, vtr_gpu_update_cursor),
	ROW(MOVE_CURSOR, CURSORQ, virtio_gpu_update_cursor, HEADER, 0, vtr_gpu_move_cursor),
#undef ROW
#undef HEADER
#undef BIT
};

uint32_t vtr_gpu_format_to_fourcc(uint32_t format)
{
	/* virtio names the bytes in memory order, DRM the bits of a little-endian word */
	switch (format) {
	case VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM:
		return DRM_FORMAT_ARGB8888;
	case VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM:
		return DRM_FORMAT_XRGB8888;
	case VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM:
		return DRM_FORMAT_BGRA8888;
	case VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM:
		return DRM_FORMAT_BGRX8888;
	case VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM:
		return DRM_FORMAT_ABGR8888;
	case VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM:
		return DRM_FORMAT_RGBX8888;
	case VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM:
		return DRM_FORMAT_RGBA8888;
	case VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM:
		return DRM_FORMAT_XBGR8888;
	default:
		return 0;
	}
}

struct virtio_gpu_ctrl_hdr vtr_gpu_response_header(const struct vtr_gpu_request *request, uint32_t type)
{
	const struct virtio_gpu_ctrl_hdr *hdr = &request->command.hdr;
	struct virtio_gpu_ctrl_hdr header = { .type = type };

	if (hdr->flags & VIRTIO_GPU_FLAG_FENCE) {
		header.flags = VIRTIO_GPU_FLAG_FENCE;
		header.fence_id = hdr->fence_id;
		header.ctx_id = hdr->ctx_id;
		header.flags |= hdr->flags & VIRTIO_GPU_FLAG_INFO_RING_IDX;
		header.ring_idx = hdr->flags & VIRTIO_GPU_FLAG_INFO_RING_IDX ? hdr->ring_idx : 0;
	}
	return header;
}

void vtr_gpu_answer(struct vtr_gpu *gpu, unsigned queue, struct vtr_chain *chain, const void *response, uint32_t size)
{
	vtr_virtio_answer(&gpu->base, queue, chain, response, size);
}

static const struct vtr_gpu_command *find_command(const struct vtr_gpu *gpu, uint32_t type, unsigned queue)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct vtr_gpu_command *command = &commands[i];

		if (command->type == type && command->queue == queue &&
		    (gpu->base.driver_features & command->feature) == command->feature)
			return command;
	}
	return NULL;
}

/* Copies the request and runs its handler. Returns the response type, or VTR_GPU_AGAIN. */
static uint32_t run_request(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	size_t size = request->chain->out_size < sizeof(request->command) ? request->chain->out_size : sizeof(request->command);
	long got = vtr_chain_read(&gpu->base.queues[request->queue], request->chain, 0, &request->command, size);

	if (vtr_virtqueue_is_transient(got))
		return VTR_GPU_AGAIN;
	if (got < (long)sizeof(request->command.hdr)) {
		memset(&request->command.hdr, 0, sizeof(request->command.hdr)); /* no fence that half a header might name */
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	}
	/* Without CONTEXT_INIT there are no rings, and the flag means nothing. */
	if (!vtr_virtio_has_feature(&gpu->base, VIRTIO_GPU_F_CONTEXT_INIT))
		request->command.hdr.flags &= ~(uint32_t)VIRTIO_GPU_FLAG_INFO_RING_IDX;
	const struct vtr_gpu_command *command = find_command(gpu, request->command.hdr.type, request->queue);
	if (!command)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	request->name = command->name;
	request->response_size = command->response_size;
	bool answered = request->queue == VTR_GPU_CONTROLQ; /* the Linux driver gives cursor commands no room for an answer */
	if (got < (long)command->size || (answered && request->chain->in_size < command->response_size))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (request->command.hdr.flags & VIRTIO_GPU_FLAG_INFO_RING_IDX && request->command.hdr.ring_idx >= VTR_MAX_RINGS)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (vtr_saved_executed(gpu->saved, request->queue, request->chain))
		return VIRTIO_GPU_RESP_OK_NODATA;
	return command->handler(gpu, request);
}

void vtr_gpu_respond(struct vtr_gpu *gpu, struct vtr_gpu_request *request, uint32_t type)
{
	void *response = request->answer ? request->answer : &request->response;
	uint32_t size = request->response_size;

	if (type >= VIRTIO_GPU_RESP_ERR_UNSPEC) {
		gpu->errors++;
		size = sizeof(request->response.hdr);
		request->draws = false;
		vtr_gpu_log_guest(gpu, "guest: command %#x %s: answered with error %#x", request->command.hdr.type, request->name,
		                  type);
	}
	const struct virtio_gpu_ctrl_hdr header = vtr_gpu_response_header(request, type);
	memcpy(response, &header, sizeof(header));
	if (header.flags & VIRTIO_GPU_FLAG_FENCE)
		vtr_fence_answer(gpu, request, response, size);
	else
		vtr_gpu_answer(gpu, request->queue, request->chain, response, size);
	free(request->answer);
	request->answer = NULL;
}

uint32_t vtr_gpu_run_again(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct vtr_gpu_command *command = find_command(gpu, request->command.hdr.type, request->queue);

	return command ? command->handler(gpu, request) : VIRTIO_GPU_RESP_ERR_UNSPEC;
}

/* False when the chain went back into the queue. */
static bool handle_chain(struct vtr_gpu *gpu, unsigned queue, struct vtr_chain *chain)
{
	const uint64_t ticket = chain->ticket;
	const uint16_t head = chain->head;
	struct vtr_gpu_request request;

	memset(&request, 0, sizeof(request)); /* an initializer need not reach all of a union, and this goes to the guest */
	request.queue = queue;
	request.chain = chain;
	request.name = "?";
	uint32_t type = run_request(gpu, &request);

	if (type == VTR_GPU_AGAIN) {
		vtr_virtqueue_unpop(&gpu->base.queues[queue], chain);
		return false;
	}
	if (queue == VTR_GPU_CONTROLQ)
		vtr_gpu_forget_incoming(gpu);
	if (!vtr_gpu_rendering(gpu, queue)) /* else it is not carried out yet */
		vtr_saved_commit(gpu->saved, queue, head, ticket, type == VIRTIO_GPU_RESP_OK_NODATA);
	gpu->commands++;
	if (request.chain) /* else it waits for a display, or for the renderer */
		vtr_gpu_respond(gpu, &request, type);
	return true;
}

void vtr_gpu_resume(struct vtr_gpu *gpu, struct vtr_gpu_request *request, vtr_gpu_handler handler)
{
	vtr_gpu_respond(gpu, request, handler(gpu, request));
}

void vtr_gpu_process_queue(struct vtr_gpu *gpu, unsigned queue)
{
	struct vtr_virtqueue *vq = &gpu->base.queues[queue];
	struct vtr_chain *chain;

	for (unsigned i = 0; i < QUEUE_BATCH && !vtr_gpu_rendering(gpu, queue); i++) {
		int got = vtr_virtqueue_pop(vq, &chain);

		if (got <= 0)
			return; /* empty, not now, or broken: the core's to look after */
		if (!handle_chain(gpu, queue, chain))
			return;
	}
}
