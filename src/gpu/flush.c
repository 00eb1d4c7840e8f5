/* SPDX-License-Identifier: MIT */
/*
 * Flushes and their pacing.
 *
 * A flush gives a frame to every output that shows the resource. When it carries a fence, its answer waits until the displays are
 * done with these frames: that is what throttles a guest to the speed of its display. But a guest waits for a flush 50 ms at most,
 * and a display may be hidden, stopped or gone: then the flush is answered at its deadline, the scanout counts as stalled, and
 * until its display answers again flushes of this scanout are answered at the output's refresh rate. A stalled scanout does not
 * hold up the others. Answers go in the order of arrival, as fences have to (fence.c has them).
 *
 * A frame that comes back unseen with nothing newer behind it was given up because nobody looks: the output is not connected, or
 * its window is hidden. Answered at once, such a guest would draw as fast as it can for nobody. So the scanout has a clock for
 * that: ticks a refresh interval apart, and at a tick what was given up until then is answered. The first one after a pause is at
 * once.
 */
#include "gpu/flush.h"

#include <errno.h>
#include <stdlib.h>

#include "gpu/gpu.h"

#define DEADLINE_NS UINT64_C(50000000) /* the Linux driver gives up after 50 ms */
#define STALL_TOLD_NS UINT64_C(1000000000)

/* A busy machine misses a deadline now and then, which is nothing to talk about. */
static void tell_stall(struct vtr_scanout *scanout, uint64_t now)
{
	if (scanout->stall_told || now - scanout->stalled_ns < STALL_TOLD_NS)
		return;
	scanout->stall_told = true;
	vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: the display does not answer; the guest goes on without it",
	                vtr_output_name(scanout->output));
}

void vtr_flush_note_stalled(struct vtr_gpu *gpu, uint32_t mask, uint64_t now)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (!(mask & 1u << i))
			continue;
		if (!scanout->stalled)
			scanout->stalled_ns = now;
		scanout->stalled = true;
		scanout->stats.timeouts++;
	}
}

/* The scanout's frames up to sequence are not waited for any more. Returns how many flushes waited. */
static unsigned finish_frames(struct vtr_gpu *gpu, const struct vtr_scanout *scanout, uint64_t sequence)
{
	uint32_t bit = 1u << scanout->id;
	unsigned count = 0;

	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		for (struct vtr_fence *fence = timeline->head; fence; fence = fence->next)
			if (fence->frames.scanouts & bit && fence->frames.sequence[scanout->id] <= sequence) {
				fence->frames.scanouts &= ~bit;
				count++;
			}
	return count;
}

static uint64_t refresh_ns(const struct vtr_scanout *scanout)
{
	struct vtr_mode mode = vtr_output_mode(scanout->output);
	uint64_t interval = mode.refresh_mhz ? UINT64_C(1000000000000) / mode.refresh_mhz : 0;

	return interval < DEADLINE_NS ? interval : DEADLINE_NS;
}

/* The scanout's frames up to sequence are finished at its next tick. */
static void finish_at_tick(struct vtr_scanout *scanout, uint64_t sequence, uint64_t now)
{
	uint64_t next = scanout->tick_ns + refresh_ns(scanout);

	if (!scanout->tick_sequence || scanout->tick_ns <= now)
		scanout->tick_ns = next > now ? next : now;
	scanout->tick_sequence = sequence;
}

void vtr_flush_tick(struct vtr_gpu *gpu, uint64_t now)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (!scanout->tick_sequence || scanout->tick_ns > now)
			continue;
		unsigned count = finish_frames(gpu, scanout, scanout->tick_sequence);
		scanout->tick_sequence = 0;
		if (scanout->stalled)
			scanout->stats.timeouts += count;
	}
}

uint64_t vtr_flush_due(const struct vtr_gpu *gpu, const struct vtr_awaited_frames *frames)
{
	uint64_t due = frames->deadline_ns;

	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		const struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (frames->scanouts & 1u << i && scanout->tick_sequence && scanout->tick_ns < due)
			due = scanout->tick_ns;
	}
	return due;
}

void vtr_flush_frame_done(struct vtr_gpu *gpu, struct vtr_scanout *scanout, uint64_t sequence)
{
	finish_frames(gpu, scanout, sequence);
	vtr_fences_answer_due(gpu);
}

/* Flushes that wait for another display, too, are paced by that one. */
static void leave_to_others(struct vtr_gpu *gpu, const struct vtr_scanout *scanout, uint64_t sequence)
{
	uint32_t bit = 1u << scanout->id;

	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		for (struct vtr_fence *fence = timeline->head; fence; fence = fence->next)
			if (fence->frames.scanouts & bit && fence->frames.scanouts & ~bit &&
			    fence->frames.sequence[scanout->id] <= sequence)
				fence->frames.scanouts &= ~bit;
}

void vtr_flush_frame_dropped(struct vtr_gpu *gpu, struct vtr_scanout *scanout, uint64_t sequence)
{
	if (sequence == scanout->sequence) {
		leave_to_others(gpu, scanout, sequence);
		finish_at_tick(scanout, sequence, vtr_now_ns());
	} else {
		finish_frames(gpu, scanout, sequence); /* a newer one has its place */
	}
	vtr_fences_answer_due(gpu);
}

void vtr_flush_frame_replaced(struct vtr_gpu *gpu, uint32_t scanout, uint64_t sequence, uint64_t replacement)
{
	for (struct vtr_timeline *timeline = &gpu->fences.global; timeline; timeline = timeline->next)
		for (struct vtr_fence *fence = timeline->head; fence; fence = fence->next)
			if (fence->frames.scanouts & 1u << scanout && fence->frames.sequence[scanout] == sequence)
				fence->frames.sequence[scanout] = replacement;
}

void vtr_flush_forget_ticks(struct vtr_gpu *gpu)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		gpu->scanouts[i].tick_sequence = 0;
}

/* Takes the request's chain: it is answered when the displays are done. Without memory for that it is answered at once. */
static void wait_for_display(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_awaited_frames *frames, uint64_t now)
{
	uint32_t stalled = 0;

	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (gpu->scanouts[i].stalled && frames->scanouts & 1u << i) {
			stalled |= 1u << i;
			tell_stall(&gpu->scanouts[i], now);
		}
	if (frames->scanouts & ~stalled)
		frames->scanouts &= ~stalled;
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (frames->scanouts & stalled & 1u << i)
			finish_at_tick(&gpu->scanouts[i], frames->sequence[i], now);
	frames->deadline_ns = now + DEADLINE_NS;
	vtr_fence_answer_shown(gpu, request, frames);
}

/* The part of the scanout's picture that rect (framebuffer coordinates) covers. */
static bool damage_of(const struct vtr_scanout *scanout, const struct virtio_gpu_rect *rect, pixman_region32_t *damage)
{
	const struct vtr_scanout_layout *layout = &scanout->layout;
	uint64_t right = (uint64_t)rect->x + rect->width, bottom = (uint64_t)rect->y + rect->height;
	uint64_t x1 = rect->x > layout->x ? rect->x : layout->x, y1 = rect->y > layout->y ? rect->y : layout->y;
	uint64_t x2 = (uint64_t)layout->x + layout->width, y2 = (uint64_t)layout->y + layout->height;

	x2 = right < x2 ? right : x2;
	y2 = bottom < y2 ? bottom : y2;
	if (x1 >= x2 || y1 >= y2)
		return false;
	pixman_region32_init_rect(damage, (int)(x1 - layout->x), (int)(y1 - layout->y), (unsigned)(x2 - x1), (unsigned)(y2 - y1));
	return true;
}

static void flush_scanout(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const pixman_region32_t *damage, uint64_t now,
                          struct vtr_awaited_frames *frames)
{
	vtr_scanout_lift_revoked(scanout);
	uint64_t sequence = vtr_scanout_present(gpu, scanout, damage, now);

	if (sequence) {
		frames->scanouts |= 1u << scanout->id;
		frames->sequence[scanout->id] = sequence;
	}
}

/* Gives a frame to every output that shows the resource. */
static uint32_t show(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const struct vtr_resource *resource)
{
	const struct virtio_gpu_resource_flush *command = &request->command.flush;
	struct vtr_awaited_frames frames = { 0 };

	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];
		pixman_region32_t damage;

		if (scanout->resource != resource || !damage_of(scanout, &command->r, &damage))
			continue;
		flush_scanout(gpu, scanout, &damage, request->began_ns, &frames);
		pixman_region32_fini(&damage);
	}
	if (frames.scanouts && command->hdr.flags & VIRTIO_GPU_FLAG_FENCE)
		wait_for_display(gpu, request, &frames, vtr_now_ns());
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vtr_flush_drawn(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, request->command.flush.resource_id);

	if (call->code)
		return vtr_gpu_render_error(call->code);
	return resource ? show(gpu, request, resource) : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

/* Is the flushed rectangle inside the resource, as far as that has a size of its own? */
static bool flush_fits(const struct virtio_gpu_rect *r, const struct vtr_resource *resource)
{
	uint32_t width = 0, height = 0;

	if (resource->three_d) {
		width = resource->three_d->width;
		height = resource->three_d->height;
	} else if (resource->image) {
		width = resource->image->width;
		height = resource->image->height;
	}
	return !width || (vtr_range_fits(r->x, r->width, width) && vtr_range_fits(r->y, r->height, height));
}

uint32_t vtr_gpu_resource_flush(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_resource_flush *command = &request->command.flush;
	struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);

	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!flush_fits(&command->r, resource))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	request->began_ns = vtr_now_ns();
	if (resource->three_d && resource->three_d->lost)
		return VIRTIO_GPU_RESP_ERR_UNSPEC; /* the last picture stays */
	/* A display never waits for a renderer. */
	if (resource->three_d && resource->shown)
		return vtr_readback_flush(gpu, request, resource);
	/* A picture that nobody can translate now is not shown later either: nothing but the guest tells us when. */
	if (resource->shown && vtr_resource_is_blob(resource) && resource->entries && vtr_memory_is_translated(gpu->base.memory)) {
		uint32_t error = vtr_resource_await(gpu, resource, request->queue);

		if (error != VIRTIO_GPU_RESP_OK_NODATA)
			return error;
	}
	return show(gpu, request, resource);
}
