/* SPDX-License-Identifier: MIT */
/*
 * Calls to the renderer, on the device thread, which never waits for one but at the few places below.
 *
 * A request whose call is in progress is held: there is one place for each queue, because a queue whose command is not done is not
 * served. So commands stay in order, and a guest cannot have more under way than it has queues. Calls that no command waits for
 * (the twin of a 2D resource, a fence, memory that came back) go to the renderer before what follows them, which is all that
 * matters: it does one after another. Each belongs to a resource or to a fence, which bounds them. A renderer may have no room for
 * more of them: what can wait is tried again when one is done.
 *
 * A command that waits for a fence of the renderer's is held in the same way, until the fence comes or the renderer is lost.
 *
 * What the renderer has to say may come from inside a call, also while memory is being taken from the map. So nothing is answered
 * from there: it is noted, and looked after from the loop, or when the call has returned.
 *
 * Waiting: when the guest's memory goes (resource_3d.c), when a picture has to be had now (readback.c), when a queue stops or is
 * reset, and with a reset of the device. It ends, because a renderer that does not answer in time is lost. Who waits hears of its
 * own call; those before it are carried out by then, but their owners hear of that from the loop.
 */
#include "gpu/rendering.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/gpu.h"

_Static_assert((int)VTR_HELD == (int)VTR_GPU_QUEUES, "a place for each queue");

/* A call that nobody waits for. */
struct vtr_aside {
	struct vtr_aside *next, **link; /* *link is this one */
	struct vtr_gpu *gpu;
	struct vtr_render_call call;
	void (*done)(struct vtr_gpu *gpu, const struct vtr_render_call *call);
};

uint32_t vtr_gpu_render_error(int code)
{
	switch (code) {
	case 0:
		return VIRTIO_GPU_RESP_OK_NODATA;
	case -EINVAL:
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	case -ENOENT: /* contexts were looked up before */
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	case -ENOMEM:
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	default:
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	}
}

bool vtr_gpu_rendering(const struct vtr_gpu *gpu, unsigned queue)
{
	return gpu->rendering.held[queue].active;
}

uint64_t vtr_gpu_next_render_fence(struct vtr_gpu *gpu)
{
	return ++gpu->rendering.last_fence;
}

static int make(struct vtr_gpu *gpu, struct vtr_render_call *call)
{
	gpu->rendering.used = true;
	gpu->rendering.inside++;
	int code = vtr_renderer_call(gpu->options.renderer, call);
	gpu->rendering.inside--;
	return code;
}

static void wait_for(struct vtr_gpu *gpu, struct vtr_render_call *call)
{
	struct vtr_renderer *renderer = gpu->options.renderer;

	gpu->rendering.inside++;
	renderer->impl->wait(renderer, call);
	gpu->rendering.inside--;
}

int vtr_gpu_render_now(struct vtr_gpu *gpu, struct vtr_render_call *call)
{
	gpu->rendering.used = true;
	gpu->rendering.inside++;
	int code = vtr_renderer_call_wait(gpu->options.renderer, call);
	gpu->rendering.inside--;
	return code;
}

/* ---- requests that wait ---- */

static bool is_ready(const struct vtr_held *held)
{
	return !held->in_progress && (held->call.code || !held->fence);
}

/* The place is free before finished is called, which may take it again. */
static uint32_t finish(struct vtr_held *held, struct vtr_gpu_request *request)
{
	struct vtr_render_call call = held->call;

	held->active = false;
	free((void *)(uintptr_t)call.data);
	call.data = NULL;
	return held->finished ? held->finished(held->gpu, request, &call) : vtr_gpu_render_error(call.code);
}

/* answer: false when nobody is there for it. */
static void complete(struct vtr_gpu *gpu, unsigned queue, bool answer)
{
	struct vtr_held *held = &gpu->rendering.held[queue];
	struct vtr_gpu_request request = held->request;
	const uint64_t ticket = request.chain->ticket;
	const uint16_t head = request.chain->head;
	uint32_t type = finish(held, &request);

	if (!held->active && type != VTR_GPU_AGAIN)
		vtr_saved_commit(gpu->saved, queue, head, ticket, type == VIRTIO_GPU_RESP_OK_NODATA);
	if (request.chain && !answer) {
		vtr_chain_free(request.chain);
		free(request.answer);
	} else if (request.chain && type == VTR_GPU_AGAIN) {
		vtr_virtqueue_unpop(&gpu->base.queues[queue], request.chain); /* the last one: nothing was popped since */
	} else if (request.chain) {
		vtr_gpu_respond(gpu, &request, type);
	}
	if (!held->active)
		vtr_virtio_kick(&gpu->base, queue);
}

static void complete_ready(struct vtr_gpu *gpu)
{
	for (unsigned queue = 0; queue < VTR_GPU_QUEUES; queue++)
		if (gpu->rendering.held[queue].active && is_ready(&gpu->rendering.held[queue]))
			complete(gpu, queue, true);
}

/* Something came: at once, or, from inside of something else, later. */
static void look_after(struct vtr_gpu *gpu)
{
	if (gpu->rendering.inside) {
		vtr_event_raise(gpu->rendering.later);
		return;
	}
	vtr_fences_answer_due(gpu);
	complete_ready(gpu);
}

static void look_after_later(void *data)
{
	struct vtr_gpu *gpu = data;

	if (gpu->rendering.refused)
		vtr_resources_lend_again(gpu);
	look_after(gpu);
}

static void held_done(struct vtr_render_call *call)
{
	struct vtr_held *held = call->user;

	held->in_progress = false;
	look_after(held->gpu);
}

static uint32_t hold(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const struct vtr_render_call *call, uint64_t fence,
                     vtr_rendered_func finished)
{
	struct vtr_held *held = &gpu->rendering.held[request->queue];
	const uint32_t lost = gpu->rendering.lost;

	assert(!held->active);
	held->gpu = gpu;
	held->active = held->in_progress = true;
	held->fence = fence;
	held->finished = finished;
	held->call = *call;
	held->call.done = held_done;
	held->call.user = held;
	if (make(gpu, &held->call) != -EINPROGRESS)
		held->in_progress = false;
	if (!held->in_progress && held->fence && gpu->rendering.lost != lost)
		held->call.code = -ENODEV; /* from inside the call: its fence does not come */
	if (is_ready(held))
		return finish(held, request);
	held->request = *request;
	request->chain = NULL;
	request->answer = NULL;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vtr_gpu_render(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const struct vtr_render_call *call,
                        vtr_rendered_func finished)
{
	return hold(gpu, request, call, 0, finished);
}

uint32_t vtr_gpu_render_fence(struct vtr_gpu *gpu, struct vtr_gpu_request *request, vtr_rendered_func finished)
{
	const uint64_t id = vtr_gpu_next_render_fence(gpu);

	return hold(gpu, request, &(struct vtr_render_call){ .args = { .op = VTR_RENDER_FENCE, .fence.id = id } }, id, finished);
}

/* ---- calls that nobody waits for ---- */

static void end_aside(struct vtr_aside *aside)
{
	*aside->link = aside->next;
	if (aside->next)
		aside->next->link = aside->link;
	else
		aside->gpu->rendering.last_aside = aside->link;
	if (aside->done)
		aside->done(aside->gpu, &aside->call);
	free(aside);
}

static void aside_done(struct vtr_render_call *call)
{
	struct vtr_aside *aside = call->user;
	struct vtr_gpu *gpu = aside->gpu;

	end_aside(aside);
	if (gpu->rendering.refused)
		vtr_event_raise(gpu->rendering.later);
	look_after(gpu);
}

int vtr_gpu_render_aside(struct vtr_gpu *gpu, const struct vtr_render_call *call,
                         void (*done)(struct vtr_gpu *gpu, const struct vtr_render_call *call))
{
	struct vtr_aside *aside = malloc(sizeof(*aside));
	struct vtr_render_call failed = *call;

	if (!aside) {
		failed.code = -ENOMEM;
		if (done)
			done(gpu, &failed);
		return -ENOMEM;
	}
	*aside = (struct vtr_aside){ .link = gpu->rendering.last_aside, .gpu = gpu, .call = *call, .done = done };
	aside->call.done = aside_done;
	aside->call.user = aside;
	*aside->link = aside;
	gpu->rendering.last_aside = &aside->next;
	int code = make(gpu, &aside->call);
	gpu->rendering.refused |= code == -ENOMEM && gpu->rendering.asides != aside;
	if (code != -EINPROGRESS)
		end_aside(aside);
	return code;
}

void vtr_gpu_render_wait_image(struct vtr_gpu *gpu, const struct vtr_image *image)
{
	struct vtr_aside *aside = gpu->rendering.asides;

	while (aside) {
		if (aside->call.image != image) {
			aside = aside->next;
			continue;
		}
		wait_for(gpu, &aside->call);
		aside = gpu->rendering.asides; /* that one is gone */
	}
}

bool vtr_gpu_render_has_aside(const struct vtr_gpu *gpu, uint32_t op, uint32_t resource_id)
{
	const struct vtr_aside *aside = gpu->rendering.asides;

	while (aside && (aside->call.args.op != op || aside->call.args.resource_id != resource_id))
		aside = aside->next;
	return aside;
}

/* ---- what the renderer says ---- */

static void fence_done(void *data, uint64_t id)
{
	struct vtr_gpu *gpu = data;
	const bool global = vtr_fences_drawn(gpu, id);

	for (unsigned queue = 0; queue < VTR_GPU_QUEUES; queue++) {
		struct vtr_held *held = &gpu->rendering.held[queue];

		if (held->fence == id || (global && held->fence < id))
			held->fence = 0;
	}
	look_after(gpu);
}

static void lost(void *data, const struct vtr_error *why)
{
	struct vtr_gpu *gpu = data;

	gpu->rendering.lost++;
	snprintf(gpu->rendering.lost_why, sizeof(gpu->rendering.lost_why), "%s", why->text);
	vtr_log_limited(&gpu->rendering.log, VTR_LOG_WARN,
	                "%s; the guest's 3D contexts are gone (%u), its pictures stay, and 2D goes on", why->text,
	                gpu->contexts.count);
	vtr_contexts_lost(gpu);
	vtr_resources_lost(gpu);
	vtr_fences_lost(gpu);
	for (unsigned queue = 0; queue < VTR_GPU_QUEUES; queue++)
		if (gpu->rendering.held[queue].active && !gpu->rendering.held[queue].in_progress)
			gpu->rendering.held[queue].call.code = -ENODEV; /* its fence does not come */
	look_after(gpu);
}

static const struct vtr_renderer_listener listener = { .fence_done = fence_done, .lost = lost };

/* ---- ends ---- */

void vtr_rendering_drain(struct vtr_gpu *gpu, unsigned queue, bool answer)
{
	struct vtr_held *held = &gpu->rendering.held[queue];

	while (held->active) {
		if (held->in_progress)
			wait_for(gpu, &held->call);
		/* a fence of what is drawn: there is no waiting for that, and early is better than never */
		if (!is_ready(held) && !answer)
			held->call.code = -ECANCELED;
		complete(gpu, queue, answer);
	}
}

void vtr_rendering_reset(struct vtr_gpu *gpu)
{
	if (!gpu->rendering.used)
		return;
	vtr_gpu_render_now(gpu, &(struct vtr_render_call){ .args.op = VTR_RENDER_RESET });
	while (gpu->rendering.asides)
		wait_for(gpu, &gpu->rendering.asides->call);
	gpu->rendering.used = false;
}

int vtr_rendering_init(struct vtr_gpu *gpu)
{
	gpu->rendering.last_aside = &gpu->rendering.asides;
	gpu->rendering.later = vtr_loop_add_event(gpu->base.loop, look_after_later, gpu);
	if (!gpu->rendering.later)
		return -errno;
	if (gpu->options.renderer)
		vtr_renderer_set_listener(gpu->options.renderer, &listener, gpu);
	return 0;
}

void vtr_rendering_finish(struct vtr_gpu *gpu)
{
	if (gpu->options.renderer)
		vtr_renderer_set_listener(gpu->options.renderer, NULL, NULL);
	vtr_source_remove(gpu->rendering.later);
}
