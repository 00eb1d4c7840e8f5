/* SPDX-License-Identifier: MIT */
/*
 * The commands of 3D contexts (virtio 1.3, 5.7.6.8): capsets, contexts, and the streams that they draw by. What is known here is
 * checked here; what a stream says only the renderer knows.
 *
 * A context whose renderer is lost takes CTX_DESTROY and nothing else: to the guest its id is not one any more.
 */
#include <errno.h>
#include <stdlib.h>

#include "gpu/gpu.h"

/* ---- capsets ---- */

uint32_t vtr_gpu_get_capset_info(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct vtr_renderer *renderer = gpu->options.renderer;
	const uint32_t index = request->command.get_capset_info.capset_index;
	struct virtio_gpu_resp_capset_info *info = &request->response.capset_info;

	if (index >= renderer->n_capsets)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	info->capset_id = renderer->capsets[index].id;
	info->capset_max_version = renderer->capsets[index].max_version;
	info->capset_max_size = renderer->capsets[index].max_size;
	return VIRTIO_GPU_RESP_OK_CAPSET_INFO;
}

/* NULL: there is no such capset. */
static const struct vtr_capset *find_capset(const struct vtr_renderer *renderer, uint32_t id)
{
	for (uint32_t i = 0; i < renderer->n_capsets; i++)
		if (renderer->capsets[i].id == id)
			return &renderer->capsets[i];
	return NULL;
}

uint32_t vtr_gpu_get_capset(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_get_capset *command = &request->command.get_capset;
	struct vtr_renderer *renderer = gpu->options.renderer;
	const struct vtr_capset *capset = find_capset(renderer, command->capset_id);

	if (!capset || command->capset_version > capset->max_version)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	const uint32_t size = (uint32_t)sizeof(struct virtio_gpu_resp_capset) + capset->max_size;
	if (request->chain->in_size < size)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	struct virtio_gpu_resp_capset *answer = calloc(1, size);
	if (!answer)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	renderer->impl->fill_capset(renderer, capset->id, command->capset_version, answer->capset_data, capset->max_size);
	request->answer = answer;
	request->response_size = size;
	return VIRTIO_GPU_RESP_OK_CAPSET;
}

/* ---- contexts ---- */

static uint32_t created(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_context *context = call->code ? vtr_context_find(gpu, call->args.ctx_id) : NULL;

	if (context)
		vtr_context_destroy(gpu, context);
	return vtr_gpu_render_error(call->code);
}

/* The capset that the context is of; 0: the renderer's default. False: there is none like that. */
static bool wanted_capset(const struct vtr_gpu *gpu, const struct virtio_gpu_ctx_create *command, uint32_t *capset)
{
	*capset = 0;
	if (!vtr_virtio_has_feature(&gpu->base, VIRTIO_GPU_F_CONTEXT_INIT))
		return true; /* the field is padding */
	*capset = command->context_init & VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK;
	return *capset == command->context_init && (!*capset || find_capset(gpu->options.renderer, *capset));
}

static bool contexts_fit(struct vtr_gpu *gpu)
{
	if (gpu->contexts.count < VTR_MAX_CONTEXTS)
		return true;
	vtr_gpu_log_limit(gpu, "the guest has %d 3D contexts, and no more are possible (VTR_MAX_CONTEXTS): end programs there",
	                  VTR_MAX_CONTEXTS);
	return false;
}

uint32_t vtr_gpu_ctx_create(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_ctx_create *command = &request->command.ctx_create;
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_CTX_CREATE, .ctx_id = command->hdr.ctx_id } };
	const size_t room = sizeof(call.args.ctx_create.name) - 1;

	if (!call.args.ctx_id || vtr_context_find(gpu, call.args.ctx_id))
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (!wanted_capset(gpu, command, &call.args.ctx_create.capset_id))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!contexts_fit(gpu) || !vtr_context_create(gpu, call.args.ctx_id))
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	call.args.ctx_create.name_length = command->nlen < room ? command->nlen : (uint32_t)room;
	memcpy(call.args.ctx_create.name, command->debug_name, call.args.ctx_create.name_length);
	return vtr_gpu_render(gpu, request, &call, created);
}

static uint32_t destroyed(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_context *context = vtr_context_find(gpu, call->args.ctx_id);

	if (context)
		vtr_context_destroy(gpu, context);
	return VIRTIO_GPU_RESP_OK_NODATA; /* whatever the renderer says, it is gone */
}

uint32_t vtr_gpu_ctx_destroy(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_CTX_DESTROY, .ctx_id = request->command.hdr.ctx_id } };
	struct vtr_context *context = vtr_context_find(gpu, call.args.ctx_id);

	if (!context)
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (context->lost)
		return destroyed(gpu, request, &call);
	return vtr_gpu_render(gpu, request, &call, destroyed);
}

/* A context that can be worked with; NULL: there is none. */
static struct vtr_context *live_context(struct vtr_gpu *gpu, uint32_t id)
{
	struct vtr_context *context = vtr_context_find(gpu, id);

	return context && !context->lost ? context : NULL;
}

static uint32_t attached(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_context *context = call->code ? vtr_context_find(gpu, call->args.ctx_id) : NULL;

	if (context)
		vtr_context_detach(gpu, context, call->args.resource_id);
	return vtr_gpu_render_error(call->code);
}

uint32_t vtr_gpu_ctx_attach_resource(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_ctx_resource *command = &request->command.ctx_resource;
	struct vtr_context *context = live_context(gpu, command->hdr.ctx_id);
	struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);
	const struct vtr_render_call call = {
		.args = { .op = VTR_RENDER_CTX_ATTACH_RESOURCE, .ctx_id = command->hdr.ctx_id, .resource_id = command->resource_id }
	};

	if (!context)
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (vtr_context_has(context, resource->id))
		return VIRTIO_GPU_RESP_OK_NODATA;
	uint32_t error = vtr_resource_join_renderer(gpu, resource, request->queue);
	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	int failed = vtr_context_attach(gpu, context, resource->id);
	if (failed == -ENOSPC)
		vtr_gpu_log_limit(gpu,
		                  "the guest's 3D contexts have %d resources together, each counted in each, and no more are "
		                  "possible (VTR_MAX_ATTACHMENTS): end programs there",
		                  VTR_MAX_ATTACHMENTS);
	if (failed)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	return vtr_gpu_render(gpu, request, &call, attached);
}

uint32_t vtr_gpu_ctx_detach_resource(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_ctx_resource *command = &request->command.ctx_resource;
	struct vtr_context *context = live_context(gpu, command->hdr.ctx_id);
	const struct vtr_render_call call = {
		.args = { .op = VTR_RENDER_CTX_DETACH_RESOURCE, .ctx_id = command->hdr.ctx_id, .resource_id = command->resource_id }
	};

	if (!context)
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (!vtr_context_has(context, command->resource_id))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	vtr_context_detach(gpu, context, command->resource_id);
	return vtr_gpu_render(gpu, request, &call, NULL);
}

/* ---- command streams ---- */

/* A stream names resources by itself. What an IOMMU took of them is asked for now: OK_NODATA, or VTR_GPU_AGAIN. What is gone for
 * good is the stream's problem. */
static uint32_t await_resources(struct vtr_gpu *gpu, const struct vtr_context *context, unsigned queue)
{
	for (uint32_t i = 0; gpu->resources.missed && i < context->count; i++) {
		struct vtr_resource *resource = vtr_resource_find(gpu, context->resources[i]);

		if (resource && resource->missed && vtr_resource_await(gpu, resource, queue) == VTR_GPU_AGAIN)
			return VTR_GPU_AGAIN;
	}
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Copies the stream: *data, malloc'ed, and the response type. */
static uint32_t read_stream(struct vtr_gpu *gpu, const struct vtr_gpu_request *request, void **data)
{
	const struct virtio_gpu_cmd_submit *command = &request->command.submit;

	if (command->size % 4 || command->size > VTR_MAX_SUBMIT ||
	    !vtr_range_fits(sizeof(*command), command->size, request->chain->out_size))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	*data = malloc(command->size ? command->size : 1);
	if (!*data)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	long got = vtr_chain_read(&gpu->base.queues[request->queue], request->chain, sizeof(*command), *data, command->size);
	if (got == (long)command->size)
		return VIRTIO_GPU_RESP_OK_NODATA;
	free(*data);
	return vtr_virtqueue_is_transient(got) ? VTR_GPU_AGAIN : VIRTIO_GPU_RESP_ERR_UNSPEC;
}

uint32_t vtr_gpu_submit_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_cmd_submit *command = &request->command.submit;
	struct vtr_context *context = live_context(gpu, command->hdr.ctx_id);
	void *data;

	if (!context)
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	uint32_t error = await_resources(gpu, context, request->queue);
	if (error == VIRTIO_GPU_RESP_OK_NODATA)
		error = read_stream(gpu, request, &data);
	if (error != VIRTIO_GPU_RESP_OK_NODATA)
		return error;
	request->draws = true;
	if (!command->size) { /* nothing but a fence */
		free(data);
		return VIRTIO_GPU_RESP_OK_NODATA;
	}
	return vtr_gpu_render(gpu, request,
	                      &(struct vtr_render_call){ .args = { .op = VTR_RENDER_SUBMIT, .ctx_id = context->id },
	                                                 .data = data,
	                                                 .size = command->size },
	                      NULL);
}
