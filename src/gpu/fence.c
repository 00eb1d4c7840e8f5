/* SPDX-License-Identifier: MIT */
/*
 * Fences: answers that have to wait, in order.
 *
 * A command with a fence is answered when what it asked for is done (virtio 1.3, 5.7.6.7). Two kinds of commands are not done when
 * their handlers return: flushes, whose frames displays have to show (flush.c), and SUBMIT_3D and TRANSFER_*_3D, for which the
 * renderer makes a fence of its own. Their answers wait here, and whatever comes after them in the same timeline waits behind them,
 * because a guest takes a fence that completes for the completion of all older ones.
 *
 * There is the global timeline, and, with CONTEXT_INIT, one for each ring of each context that a guest names by INFO_RING_IDX;
 * these come and go with their fences. What is kept is an answer to a chain that is out: no more than the queues can hold.
 *
 * What can wait for how long: a display 50 ms, after which it is not waited for; a renderer as long as it draws, or until it is
 * lost. A command that waits for neither lets those before it go without their displays: the guest may wait for it where it cannot
 * be interrupted, and must not wait for a display then. A command that draws does not: it is what the guest is to be throttled at.
 */
#include "gpu/fence.h"

#include <errno.h>
#include <stdlib.h>

#include "gpu/gpu.h"

static struct vtr_timeline *find_timeline(struct vtr_gpu *gpu, const struct virtio_gpu_ctrl_hdr *hdr)
{
	struct vtr_timeline *timeline = &gpu->fences.global;

	if (!(hdr->flags & VIRTIO_GPU_FLAG_INFO_RING_IDX))
		return timeline;
	for (timeline = timeline->next; timeline; timeline = timeline->next)
		if (timeline->ctx_id == hdr->ctx_id && timeline->ring_idx == hdr->ring_idx)
			return timeline;
	return NULL;
}

/* NULL when out of memory. */
static struct vtr_timeline *make_timeline(struct vtr_gpu *gpu, const struct virtio_gpu_ctrl_hdr *hdr)
{
	struct vtr_timeline *timeline = malloc(sizeof(*timeline)), *global = &gpu->fences.global;

	if (!timeline)
		return NULL;
	*timeline = (struct vtr_timeline){ .next = global->next, .ctx_id = hdr->ctx_id, .ring_idx = hdr->ring_idx };
	timeline->tail = &timeline->head;
	global->next = timeline;
	return timeline;
}

static struct vtr_fence *take_head(struct vtr_timeline *timeline)
{
	struct vtr_fence *fence = timeline->head;

	timeline->head = fence->next;
	if (!fence->next)
		timeline->tail = &timeline->head;
	return fence;
}

static void answer_head(struct vtr_gpu *gpu, struct vtr_timeline *timeline)
{
	struct vtr_fence *fence = take_head(timeline);

	vtr_gpu_answer(gpu, fence->queue, fence->chain, fence->response, fence->size);
	free(fence);
}

static void drop_empty_timelines(struct vtr_gpu *gpu)
{
	struct vtr_timeline **link = &gpu->fences.global.next, *timeline;

	while ((timeline = *link)) {
		if (timeline->head) {
			link = &timeline->next;
			continue;
		}
		*link = timeline->next;
		free(timeline);
	}
}

/* ---- what is due ---- */

static void answer_ready(struct vtr_gpu *gpu, struct vtr_timeline *timeline, uint64_t now)
{
	struct vtr_fence *head;

	while ((head = timeline->head) && !head->drawing) {
		if (head->frames.scanouts && head->frames.deadline_ns > now)
			return;
		vtr_flush_note_stalled(gpu, head->frames.scanouts, now);
		answer_head(gpu, timeline);
	}
}

/* When there is something to do for a fence that is first: at its deadline, or at a tick. 0: never. */
static uint64_t next_due(const struct vtr_gpu *gpu)
{
	uint64_t due = 0;

	for (const struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next) {
		uint64_t at = 0;

		if (timeline->head && !timeline->head->drawing && timeline->head->frames.scanouts)
			at = vtr_flush_due(gpu, &timeline->head->frames);
		if (at && (!due || at < due))
			due = at;
	}
	return due;
}

void vtr_fences_answer_due(struct vtr_gpu *gpu)
{
	uint64_t now = vtr_now_ns();

	vtr_flush_tick(gpu, now);
	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		answer_ready(gpu, timeline, now);
	drop_empty_timelines(gpu);
	vtr_timer_arm(gpu->fences.timer, next_due(gpu));
}

static void deadline_passed(void *data)
{
	vtr_fences_answer_due(data);
}

/* ---- what comes ---- */

/* NULL when out of memory: nothing was taken. */
static struct vtr_fence *add(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const void *response, uint32_t size)
{
	struct vtr_timeline *timeline = find_timeline(gpu, &request->command.hdr);
	struct vtr_fence *fence = calloc(1, sizeof(*fence) + size);

	if (fence && !timeline)
		timeline = make_timeline(gpu, &request->command.hdr);
	if (!fence || !timeline) {
		free(fence);
		return NULL;
	}
	fence->chain = request->chain;
	fence->queue = request->queue;
	fence->size = size;
	memcpy(fence->response, response, size);
	request->chain = NULL;
	*timeline->tail = fence;
	timeline->tail = &fence->next;
	return fence;
}

/* Those before it need not wait for displays. */
static void hurry(struct vtr_gpu *gpu, const struct vtr_gpu_request *request)
{
	struct vtr_timeline *timeline = find_timeline(gpu, &request->command.hdr);

	if (!timeline || !timeline->head)
		return;
	for (struct vtr_fence *fence = timeline->head; fence; fence = fence->next)
		fence->frames.scanouts = 0;
	vtr_fences_answer_due(gpu);
}

static void complete(struct vtr_gpu *gpu, struct vtr_timeline *timeline)
{
	while (timeline && timeline->head)
		answer_head(gpu, timeline);
}

/* The renderer cannot make the fence. What a lost one had to draw is over; otherwise the guest has named what there is not. */
static void refuse(struct vtr_fence *fence, int code)
{
	struct virtio_gpu_ctrl_hdr *response = (struct virtio_gpu_ctrl_hdr *)fence->response;

	fence->drawing = 0;
	if (code == -ENOENT)
		response->type = VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	else if (code != -ENODEV)
		response->type = vtr_gpu_render_error(code);
}

/* The call for the renderer's fence is done. */
static void asked(struct vtr_gpu *gpu, const struct vtr_render_call *call)
{
	if (!call->code)
		return;
	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		for (struct vtr_fence *fence = timeline->head; fence; fence = fence->next)
			if (fence->drawing == call->args.fence.id)
				refuse(fence, call->code);
}

static void ask_renderer(struct vtr_gpu *gpu, const struct virtio_gpu_ctrl_hdr *hdr, struct vtr_fence *fence)
{
	const bool ring = hdr->flags & VIRTIO_GPU_FLAG_INFO_RING_IDX;

	fence->drawing = vtr_gpu_next_render_fence(gpu);
	vtr_gpu_render_aside(
		gpu,
		&(struct vtr_render_call){
			.args = { .op = VTR_RENDER_FENCE,
	                          .ctx_id = ring ? hdr->ctx_id : 0,
	                          .fence = { .id = fence->drawing, .has_ring = ring, .ring_idx = ring ? hdr->ring_idx : 0 } } },
		asked);
}

void vtr_fence_answer(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const void *response, uint32_t size)
{
	struct vtr_timeline *timeline;

	if (!request->draws)
		hurry(gpu, request);
	timeline = find_timeline(gpu, &request->command.hdr);
	const bool waits = request->draws || (timeline && timeline->head);
	struct vtr_fence *fence = waits ? add(gpu, request, response, size) : NULL;
	if (!fence) {
		complete(gpu, timeline); /* out of memory: early is better than never, and still in order */
		vtr_gpu_answer(gpu, request->queue, request->chain, response, size);
		request->chain = NULL;
		return;
	}
	if (request->draws)
		ask_renderer(gpu, &request->command.hdr, fence);
	vtr_fences_answer_due(gpu);
}

bool vtr_fence_answer_shown(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const struct vtr_awaited_frames *frames)
{
	const struct virtio_gpu_ctrl_hdr response = vtr_gpu_response_header(request, VIRTIO_GPU_RESP_OK_NODATA);
	struct vtr_fence *fence = add(gpu, request, &response, sizeof(response));

	if (!fence)
		return false;
	fence->frames = *frames;
	vtr_timer_arm(gpu->fences.timer, next_due(gpu));
	return true;
}

/* ---- what the renderer says ---- */

static struct vtr_timeline *timeline_of(struct vtr_gpu *gpu, uint64_t id)
{
	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		for (const struct vtr_fence *fence = timeline->head; fence; fence = fence->next)
			if (fence->drawing == id)
				return timeline;
	return NULL;
}

/* Ids rise: what came before it in its timeline is drawn, too. */
bool vtr_fences_drawn(struct vtr_gpu *gpu, uint64_t id)
{
	struct vtr_timeline *timeline = timeline_of(gpu, id);

	for (struct vtr_fence *fence = timeline ? timeline->head : NULL; fence; fence = fence->next)
		if (fence->drawing <= id)
			fence->drawing = 0;
	return timeline == &gpu->fences.global;
}

void vtr_fences_lost(struct vtr_gpu *gpu)
{
	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		for (struct vtr_fence *fence = timeline->head; fence; fence = fence->next)
			fence->drawing = 0;
}

/* ---- life ---- */

void vtr_fences_complete_all(struct vtr_gpu *gpu)
{
	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		complete(gpu, timeline);
	drop_empty_timelines(gpu);
	vtr_timer_arm(gpu->fences.timer, 0);
}

static void forget(struct vtr_timeline *timeline, unsigned queue)
{
	struct vtr_fence **link = &timeline->head, *fence;

	while ((fence = *link)) {
		if (fence->queue != queue) {
			link = &fence->next;
			continue;
		}
		*link = fence->next;
		vtr_chain_free(fence->chain);
		free(fence);
	}
	timeline->tail = link;
}

void vtr_fences_forget(struct vtr_gpu *gpu, unsigned queue)
{
	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		forget(timeline, queue);
	drop_empty_timelines(gpu);
	vtr_timer_arm(gpu->fences.timer, next_due(gpu));
}

int vtr_fences_init(struct vtr_gpu *gpu)
{
	gpu->fences.global.tail = &gpu->fences.global.head;
	gpu->fences.timer = vtr_loop_add_timer(gpu->base.loop, deadline_passed, gpu);
	return gpu->fences.timer ? 0 : -errno;
}

void vtr_fences_finish(struct vtr_gpu *gpu)
{
	for (unsigned queue = 0; queue < VTR_GPU_QUEUES; queue++)
		vtr_fences_forget(gpu, queue);
	vtr_source_remove(gpu->fences.timer);
}
