/* SPDX-License-Identifier: MIT */
/*
 * Fences. virglrenderer waits for the GPU on a thread of its own (VIRGL_RENDERER_THREAD_SYNC) and makes its fd readable; then
 * virgl_renderer_poll(), on the device thread, says which fences passed. Where it has no such thread, a timer asks, while there
 * are fences.
 *
 * Fences of no ring pass in the order in which they were asked for, and one that is told of stands for those before it, which
 * virglrenderer may leave out. They are known to it by 32 bits. So do those of a context, with 64 bits; a virgl context draws in
 * one queue, whatever rings the guest has made of it, so that all its rings are virglrenderer's ring 0 here. A context takes its
 * fences with it, unsaid: they have passed then.
 *
 * The listener is told when virglrenderer has returned, because it may well ask for the next thing at once.
 *
 * A guest's shader need not end, and then no fence comes any more: after half a minute in which none has passed the renderer is
 * lost. The timer for that is left alone while it runs, and looks at the time when it fires; without fences it is not armed again.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "render/virgl.h"

enum { POLL_NS = 2000000 };
#define DRAIN_NS UINT64_C(10000000000) // longer than what GPU drivers let a shader run
#define HANG_NS UINT64_C(30000000000)  // nobody waits on the device thread for this

/* False: the renderer is lost. */
static bool poll_virgl(struct vtr_virgl *virgl)
{
	if (!vtr_virgl_check(virgl))
		return false;
	virgl->calls++;
	virgl_renderer_poll();
	virgl->calls--;
	vtr_virgl_fences_tell(virgl);
	return true;
}

static void fd_readable(int fd, uint32_t events, void *data)
{
	struct vtr_virgl *virgl = data;

	if (!poll_virgl(virgl))
		vtr_source_set_events(virgl->poll_source, 0); // nobody reads it any more
}

static void arm(struct vtr_virgl *virgl)
{
	if (virgl->poll_timer)
		vtr_timer_arm(virgl->poll_timer, virgl->fences ? vtr_now_ns() + POLL_NS : 0);
}

static void timer_due(void *data)
{
	struct vtr_virgl *virgl = data;

	poll_virgl(virgl);
	arm(virgl);
}

/* ---- hangs ---- */

static void watch(struct vtr_virgl *virgl)
{
	if (virgl->hang_armed || !virgl->fences)
		return;
	virgl->hang_armed = true;
	vtr_timer_arm(virgl->hang_timer, virgl->progress_ns + virgl->hang_ns);
}

static void unwatch(struct vtr_virgl *virgl)
{
	if (virgl->hang_armed)
		vtr_timer_arm(virgl->hang_timer, 0);
	virgl->hang_armed = false;
}

/* What has passed by now counts. A timer that comes late says that this process did not run, and the thread that waits for the GPU
 * neither: that begins anew. */
static void hang_due(void *data)
{
	struct vtr_virgl *virgl = data;

	virgl->hang_armed = false;
	if (!poll_virgl(virgl))
		return;
	const uint64_t now = vtr_now_ns(), due = virgl->progress_ns + virgl->hang_ns;
	if (virgl->fences && now >= due + virgl->hang_ns / 8) {
		virgl->progress_ns = now;
	} else if (virgl->fences && now >= due) {
		vtr_virgl_lose(virgl, VTR_VIRGL_HANGS);
		vtr_virgl_check(virgl);
	}
	watch(virgl);
}

/* ---- life ---- */

/* The first one, of which nobody is told: with it virglrenderer's thread finds the GL functions that it needs, for which the
 * EGLDisplay has to be alive. */
static int try_fence(struct vtr_virgl *virgl)
{
	struct vtr_render_call call = { .args.op = VTR_RENDER_FENCE };
	int code = vtr_virgl_fence(virgl, &call);

	if (!code && !vtr_virgl_fences_drain(virgl))
		code = -EIO;
	vtr_virgl_fences_forget(virgl);
	return code;
}

int vtr_virgl_fences_init(struct vtr_virgl *virgl)
{
	int fd = virgl_renderer_get_poll_fd();

	virgl->hang_ns = HANG_NS;
	virgl->hang_timer = vtr_loop_add_timer(virgl->loop, hang_due, virgl);
	if (fd >= 0)
		virgl->poll_source = vtr_loop_add_fd(virgl->loop, fd, EPOLLIN, fd_readable, virgl);
	else
		virgl->poll_timer = vtr_loop_add_timer(virgl->loop, timer_due, virgl);
	return virgl->hang_timer && (virgl->poll_source || virgl->poll_timer) ? try_fence(virgl) : -ENOMEM;
}

void vtr_virgl_fences_finish(struct vtr_virgl *virgl)
{
	vtr_virgl_fences_forget(virgl);
	vtr_source_remove(virgl->poll_source);
	vtr_source_remove(virgl->poll_timer);
	vtr_source_remove(virgl->hang_timer);
	virgl->poll_source = virgl->poll_timer = virgl->hang_timer = NULL;
}

static bool all_passed(const struct vtr_virgl *virgl)
{
	const struct vtr_virgl_fence *fence = virgl->fences;

	while (fence && fence->passed)
		fence = fence->next;
	return !fence;
}

bool vtr_virgl_fences_drain(struct vtr_virgl *virgl)
{
	uint64_t deadline = vtr_now_ns() + DRAIN_NS;
	struct pollfd pollfd = { .fd = virgl_renderer_get_poll_fd(), .events = POLLIN };

	while (!all_passed(virgl)) {
		virgl_renderer_poll();
		if (all_passed(virgl))
			break;
		if (vtr_now_ns() > deadline) {
			vtr_virgl_lose(virgl, VTR_VIRGL_HANGS);
			return false;
		}
		poll(&pollfd, 1, pollfd.fd >= 0 ? 100 : 1);
	}
	return true;
}

/* ---- asking ---- */

int vtr_virgl_fence(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	uint32_t ctx_id = call->args.fence.has_ring ? call->args.ctx_id : 0;
	int result;

	if (call->args.fence.has_ring && !vtr_virgl_context(virgl, ctx_id))
		return -ENOENT;
	struct vtr_virgl_fence *fence = malloc(sizeof(*fence));
	if (!fence)
		return -ENOMEM;
	*fence = (struct vtr_virgl_fence){ .id = call->args.fence.id, .number = virgl->last_fence + 1, .ctx_id = ctx_id };
	if (ctx_id)
		result = virgl_renderer_context_create_fence(ctx_id, 0, 0, fence->number);
	else
		result = virgl_renderer_create_fence((int)fence->number, 0);
	if (result) {
		free(fence);
		return vtr_virgl_code(result);
	}
	virgl->last_fence++;
	if (!virgl->fences)
		virgl->progress_ns = vtr_now_ns();
	*virgl->fences_end = fence;
	virgl->fences_end = &fence->next;
	arm(virgl);
	watch(virgl);
	return 0;
}

/* ---- passing ---- */

/* The fences of ctx_id up to number. */
static void pass(struct vtr_virgl *virgl, uint32_t ctx_id, uint64_t number)
{
	for (struct vtr_virgl_fence *fence = virgl->fences; fence; fence = fence->next)
		if (fence->ctx_id == ctx_id && fence->number <= number)
			fence->passed = true;
}

void vtr_virgl_write_fence(void *cookie, uint32_t number)
{
	struct vtr_virgl *virgl = cookie;
	/* of all numbers with these low bits, the newest that was given out */
	uint64_t whole = virgl->last_fence - (uint32_t)((uint32_t)virgl->last_fence - number);

	pass(virgl, 0, whole);
}

void vtr_virgl_write_context_fence(void *cookie, uint32_t ctx_id, uint32_t ring_idx, uint64_t number)
{
	pass(cookie, ctx_id, number);
}

static struct vtr_virgl_fence *take_passed(struct vtr_virgl *virgl)
{
	for (struct vtr_virgl_fence **link = &virgl->fences; *link; link = &(*link)->next) {
		struct vtr_virgl_fence *fence = *link;

		if (!fence->passed)
			continue;
		*link = fence->next;
		if (!fence->next)
			virgl->fences_end = link;
		return fence;
	}
	return NULL;
}

void vtr_virgl_fences_tell(struct vtr_virgl *virgl)
{
	struct vtr_virgl_fence *fence;

	while (!virgl->calls && (fence = take_passed(virgl))) {
		uint64_t id = fence->id;

		free(fence);
		virgl->progress_ns = vtr_now_ns();
		if (virgl->base.listener)
			virgl->base.listener->fence_done(virgl->base.listener_data, id);
	}
}

void vtr_virgl_fences_forget(struct vtr_virgl *virgl)
{
	while (virgl->fences) {
		struct vtr_virgl_fence *fence = virgl->fences;

		virgl->fences = fence->next;
		free(fence);
	}
	virgl->fences_end = &virgl->fences;
	arm(virgl);
	unwatch(virgl);
}
