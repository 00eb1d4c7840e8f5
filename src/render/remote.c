/* SPDX-License-Identifier: MIT */
/*
 * virglrenderer in a process of its own (vitrine-renderer), because it is the largest body of code that a guest can reach.
 *
 * Goals. A crash there, a shader that never ends, memory that grows without end: they lose the guest's contexts and resources, and
 * nothing else. Whoever takes the process over has what the guest had already (the files of the guest's memory, the images that are
 * read into) and what a process of this user can do, but no way into this one: all that it says is checked, and it cannot make us
 * wait, grow or die.
 *
 * A call is numbered, sent as one message and answered by one, in the same order (remote_protocol.h). What is large travels in
 * shared memory: command streams and spans in the arena; guest memory and images as the files that they are, which the process
 * maps. Many calls may be in progress; each has an entry in a ring until it is answered, in which the states of a call are
 * intervals (remote.h). Their done() comes from the loop, in order, and passed fences between them in the order in which they were
 * heard of.
 *
 * Waiting. The device thread does not wait for the socket: what it does not take stays in the ring. wait() polls it, and so does a
 * call that takes something back and finds the ring full, because nobody makes that call again; any other call is refused there.
 * All waiting in one turn of the loop together ends after a few seconds, with the process, however many calls are waited for. While
 * the process owes an answer there is a timer: without any message for ten seconds, or half a minute when only fences are out, it
 * is taken for dead.
 *
 * Loss, for whatever reason: the process is killed, calls in progress are done with -ENODEV, fences are forgotten, the listener is
 * told once. A CTX_CREATE or CREATE_3D starts the next process: at once when the last one lived for ten seconds, because a guest
 * does not ask a second time; else not before a second has passed, then two, four, up to a minute. It has to offer the same
 * capsets, because the guest has read them. Calls wait while it starts. Only the first process is waited for, when the renderer is
 * made.
 *
 *   remote_child.c, _program.c   the process
 *   remote_start.c               from nothing to a process that answers, and back
 *   remote_send.c, _files.c      calls on their way there, and what of files it has
 *   remote_receive.c             what it says
 *   remote_fences.c
 */
#include "render/remote.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "util/fd.h"
#include "util/loop.h"

const struct vtr_remote_settings vtr_remote_settings = {
	.answer_ns = UINT64_C(10000000000),
	.wait_ns = UINT64_C(4000000000), /* VMMs wait 5 s for the answer that may wait for this */
	.fence_ns = UINT64_C(30000000000),
	.young_ns = UINT64_C(10000000000),
	.backoff_ns = UINT64_C(1000000000),
	.max_backoff_ns = UINT64_C(60000000000),
};

/* ---- from the loop ---- */

static void tell_loss(struct vtr_remote *remote)
{
	const struct vtr_error why = remote->why;

	remote->lost = false;
	if (remote->base.listener && remote->base.listener->lost)
		remote->base.listener->lost(remote->base.listener_data, &why);
}

static void append_answer(struct vtr_remote *remote, struct vtr_render_call *call)
{
	call->next = NULL;
	*remote->last_answer = call;
	remote->last_answer = &call->next;
	remote->to_deliver++;
}

static struct vtr_render_call *take_answer(struct vtr_remote *remote, struct vtr_render_call **link)
{
	struct vtr_render_call *call = *link;

	*link = call->next;
	if (remote->last_answer == &call->next)
		remote->last_answer = link;
	return call;
}

/* The oldest call that is answered goes back to its owner, who may free it, and may make calls. */
static void deliver_call(struct vtr_remote *remote)
{
	struct vtr_render_call *call = take_answer(remote, &remote->answers);

	remote->delivered++;
	call->done(call);
}

static void deliver(struct vtr_remote *remote)
{
	uint64_t id;

	for (;;) {
		if (vtr_remote_fence_take_passed(remote, &id)) {
			if (remote->base.listener && remote->base.listener->fence_done)
				remote->base.listener->fence_done(remote->base.listener_data, id);
		} else if (remote->answers) {
			deliver_call(remote);
		} else {
			break;
		}
	}
	if (remote->lost)
		tell_loss(remote);
}

static void on_deliver(void *data)
{
	deliver(data);
}

/* ---- answers and loss ---- */

bool vtr_remote_is_owed(const struct vtr_remote *remote)
{
	return remote->state == VTR_REMOTE_STARTING || remote->answered < remote->sent || remote->fences.first;
}

static void answer(struct vtr_remote *remote, int code)
{
	struct vtr_remote_entry *entry = vtr_remote_entry(remote, remote->answered);
	const struct vtr_render_args *args = &entry->call->args;

	if (entry->in_arena) {
		remote->arena_tail = entry->arena_end;
		remote->arena_parts--;
	}
	if (code && args->op == VTR_RENDER_FENCE)
		vtr_remote_fence_refused(remote, args->fence.id);
	if (code)
		vtr_remote_files_refused(&remote->files, args->resource_id, remote->answered);
	else if (args->op == VTR_RENDER_RESET)
		vtr_remote_fences_drop(remote, remote->answered);
	remote->answered++;
	entry->call->code = code;
	append_answer(remote, entry->call);
}

void vtr_remote_answered(struct vtr_remote *remote, int code)
{
	answer(remote, code);
	while (remote->answered < remote->sent && vtr_remote_entry(remote, remote->answered)->failed)
		answer(remote, vtr_remote_entry(remote, remote->answered)->code);
	vtr_event_raise(remote->deliver_event);
}

/* The next process may be started when this has passed; one that has lived long enough is not held against its successor. */
static uint64_t back_off(struct vtr_remote *remote, uint64_t now)
{
	const struct vtr_remote_settings *settings = &remote->settings;
	const bool young = now - remote->started_ns <= settings->young_ns;
	const uint64_t pause = !young ? 0 : remote->backoff_ns ? remote->backoff_ns : settings->backoff_ns;

	remote->not_before = now + pause;
	remote->backoff_ns = pause * 2 < settings->max_backoff_ns ? pause * 2 : settings->max_backoff_ns;
	return pause;
}

void vtr_remote_lose(struct vtr_remote *remote, const char *what)
{
	const int pid = remote->child ? (int)remote->child->pid : 0;

	if (remote->state == VTR_REMOTE_DOWN)
		return;
	if (!what)
		what = remote->child ? vtr_remote_child_cause(remote->child, 100) : "has closed its connection";
	vtr_error_set(&remote->why, VTR_ERROR_HOST, ENODEV, "the renderer process (pid %d) %s", pid, what);
	const uint64_t pause = back_off(remote, vtr_now_ns());
	if (remote->known) /* the listener says what that means */
		vtr_log(VTR_LOG_INFO, "%s: 3D contexts made in %g s or later get another one", remote->why.text,
		        (double)pause / 1e9);
	vtr_remote_stop(remote);
	remote->sent = remote->queued;
	while (remote->answered < remote->queued)
		answer(remote, -ENODEV);
	vtr_remote_fences_drop(remote, UINT64_MAX);
	vtr_remote_files_reset(&remote->files);
	remote->lost = remote->known;
	vtr_event_raise(remote->deliver_event);
}

/* ---- time ---- */

static void lose_silent(struct vtr_remote *remote, uint64_t silence_ns)
{
	char what[64];

	snprintf(what, sizeof(what), "did not answer for %.3g s", (double)silence_ns / 1e9);
	vtr_remote_lose(remote, what);
}

/* Until when the process has to say something. */
static uint64_t deadline(const struct vtr_remote *remote)
{
	bool calls = remote->state == VTR_REMOTE_STARTING || remote->answered < remote->sent;

	return remote->progress_ns + (calls ? remote->settings.answer_ns : remote->settings.fence_ns);
}

/* The timer is left alone while it runs: it looks again when it fires. */
static void arm(struct vtr_remote *remote)
{
	if (remote->timer_armed || !vtr_remote_is_owed(remote))
		return;
	remote->timer_armed = true;
	vtr_timer_arm(remote->timer, deadline(remote));
}

static void on_timer(void *data)
{
	struct vtr_remote *remote = data;

	remote->timer_armed = false;
	/* We may have been stopped ourselves: what is there counts. */
	vtr_remote_receive(remote);
	if (remote->state != VTR_REMOTE_DOWN && vtr_remote_is_owed(remote) && vtr_now_ns() >= deadline(remote))
		lose_silent(remote, vtr_now_ns() - remote->progress_ns);
	arm(remote);
	deliver(remote);
}

void vtr_remote_watch(struct vtr_remote *remote, bool idle)
{
	if (remote->state == VTR_REMOTE_DOWN)
		return;
	bool out = !vtr_message_queue_empty(&remote->queue);
	if (out != remote->wants_out) {
		remote->wants_out = out;
		vtr_source_set_events(remote->socket_source, EPOLLIN | (out ? EPOLLOUT : 0));
	}
	if (idle)
		remote->progress_ns = vtr_now_ns();
	arm(remote);
}

/* ---- the socket ---- */

/* Sends and receives what can be, once. */
static void exchange(struct vtr_remote *remote)
{
	int error = vtr_message_flush(&remote->queue, remote->socket);

	if (error && error != -EAGAIN) {
		vtr_remote_lose(remote, NULL);
		return;
	}
	vtr_remote_receive(remote);
	vtr_remote_pump(remote);
}

void vtr_remote_on_socket(int fd, uint32_t events, void *data)
{
	struct vtr_remote *remote = data;

	exchange(remote);
	deliver(remote);
}

void vtr_remote_on_exit(void *data)
{
	struct vtr_remote *remote = data;

	if (remote->state != VTR_REMOTE_DOWN) {
		vtr_remote_receive(remote); /* what it said last */
		vtr_remote_lose(remote, NULL);
	}
	vtr_remote_child_destroy(remote->child);
	remote->child = NULL;
	deliver(remote);
}

/* Waits until something can be sent or received, or until_ns. */
static void wait_for_socket(struct vtr_remote *remote, uint64_t until_ns)
{
	struct pollfd wanted = { .fd = remote->socket,
		                 .events = (short)(POLLIN | (vtr_message_queue_empty(&remote->queue) ? 0 : POLLOUT)) };
	uint64_t now = vtr_now_ns();

	poll(&wanted, 1, now < until_ns ? (int)((until_ns - now) / 1000000) + 1 : 0);
	exchange(remote);
}

/* What is left of this turn's time for waiting. */
static uint64_t time_left(struct vtr_remote *remote)
{
	const uint64_t turn = vtr_loop_turn(remote->loop);

	if (remote->turn != turn) {
		remote->turn = turn;
		remote->waited_ns = 0;
	}
	return remote->waited_ns < remote->settings.wait_ns ? remote->settings.wait_ns - remote->waited_ns : 0;
}

/* Waits until the call with that number is answered, which it is when the process is lost, too. */
static void wait_for_answer(struct vtr_remote *remote, uint64_t number)
{
	const uint64_t started = vtr_now_ns(), until = started + time_left(remote);
	char what[64];

	while (number >= remote->answered && vtr_now_ns() < until)
		wait_for_socket(remote, until);
	remote->waited_ns += vtr_now_ns() - started;
	if (number < remote->answered)
		return;
	snprintf(what, sizeof(what), "kept the device waiting for %.3g s", (double)remote->waited_ns / 1e9);
	vtr_remote_lose(remote, what);
}

/* ---- the interface ---- */

static struct vtr_remote *remote_from_base(struct vtr_renderer *renderer)
{
	return (struct vtr_remote *)renderer;
}

/* There is no process: is this call a reason to start one? 0 or its code. */
static int revive(struct vtr_remote *remote, const struct vtr_render_args *args)
{
	struct vtr_error error;

	if (args->op != VTR_RENDER_CTX_CREATE && args->op != VTR_RENDER_CREATE_3D)
		return -ENODEV;
	/* One that cannot be killed has what another one would need. */
	if (remote->child || vtr_now_ns() < remote->not_before)
		return -ENODEV;
	if (vtr_remote_start(remote, &error) == 0)
		return 0;
	back_off(remote, vtr_now_ns());
	vtr_log(VTR_LOG_WARN, "%s", error.text);
	return -ENODEV;
}

/* The renderer lets go of something that its caller takes for gone from then on. */
static bool takes_back(uint32_t op)
{
	return op == VTR_RENDER_DETACH_BACKING || op == VTR_RENDER_UNREF || op == VTR_RENDER_CTX_DESTROY || op == VTR_RENDER_RESET;
}

/* The ring is full: 0 when there is room, or the call's code. */
static int make_room(struct vtr_remote *remote, uint32_t op)
{
	if (!takes_back(op))
		return -ENOMEM;
	wait_for_answer(remote, remote->answered);
	return remote->state == VTR_REMOTE_DOWN ? -ENODEV : 0;
}

static int remote_call(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	struct vtr_remote *remote = remote_from_base(renderer);
	int code = vtr_remote_check(remote, call);

	if (!code && remote->state == VTR_REMOTE_DOWN) {
		if (call->args.op == VTR_RENDER_RESET)
			return 0; /* nothing is there */
		code = remote->lost ? -ENODEV : revive(remote, &call->args);
	}
	if (!code && remote->queued - remote->answered == VTR_REMOTE_CALLS)
		code = make_room(remote, call->args.op);
	if (!code && call->args.op == VTR_RENDER_FENCE)
		code = vtr_remote_fence_add(remote, call->args.fence.id, remote->queued);
	if (code)
		return code;
	call->exported = NULL;
	call->mapped.fd = -1;
	*vtr_remote_entry(remote, remote->queued++) = (struct vtr_remote_entry){ .call = call };
	vtr_remote_pump(remote);
	return -EINPROGRESS;
}

/* The call's number; remote->queued when it is not waiting for an answer. */
static uint64_t number_of(struct vtr_remote *remote, const struct vtr_render_call *call)
{
	uint64_t number = remote->answered;

	while (number < remote->queued && vtr_remote_entry(remote, number)->call != call)
		number++;
	return number;
}

/* Takes the call, which is answered, from those that the loop delivers: false when it is not among them. */
static bool take_from_answers(struct vtr_remote *remote, const struct vtr_render_call *call)
{
	struct vtr_render_call **link = &remote->answers;
	uint64_t place = remote->delivered;

	for (; *link && *link != call; link = &(*link)->next)
		place++;
	if (!*link)
		return false;
	take_answer(remote, link);
	remote->to_deliver--;
	vtr_remote_fences_move_up(remote, place);
	return true;
}

static void remote_wait(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	struct vtr_remote *remote = remote_from_base(renderer);
	const uint64_t number = number_of(remote, call);

	if (number < remote->queued)
		wait_for_answer(remote, number);
	if (take_from_answers(remote, call))
		call->done(call);
}

static void remote_fill_capset(struct vtr_renderer *renderer, uint32_t id, uint32_t version, void *data, uint32_t size)
{
	struct vtr_remote *remote = remote_from_base(renderer);

	for (uint32_t i = 0; i < renderer->n_capsets; i++) {
		const struct vtr_capset *capset = &renderer->capsets[i];

		if (capset->id == id && version <= capset->max_version)
			memcpy(data, remote->capset_data[i] + (size_t)version * capset->max_size,
			       size < capset->max_size ? size : capset->max_size);
	}
}

static int remote_pid(const struct vtr_renderer *renderer)
{
	const struct vtr_remote *remote = (const struct vtr_remote *)renderer;

	return remote->state == VTR_REMOTE_UP && remote->child ? (int)remote->child->pid : -1;
}

static void remote_destroy(struct vtr_renderer *renderer)
{
	struct vtr_remote *remote = remote_from_base(renderer);

	vtr_remote_stop(remote);
	vtr_remote_child_destroy(remote->child);
	vtr_remote_fences_finish(remote);
	vtr_remote_files_reset(&remote->files);
	vtr_source_remove(remote->timer);
	vtr_source_remove(remote->deliver_event);
	for (size_t i = 0; i < VTR_MAX_CAPSETS; i++)
		free(remote->capset_data[i]);
	vtr_remote_program_finish(&remote->program);
	free(remote);
}

static const struct vtr_renderer_impl remote_impl = {
	.call = remote_call,
	.wait = remote_wait,
	.fill_capset = remote_fill_capset,
	.pid = remote_pid,
	.destroy = remote_destroy,
};

/* Starts the first process, and waits until it says what it can do. 0 or -errno, *error filled. */
static int start_first(struct vtr_remote *remote, struct vtr_error *error)
{
	int code = vtr_remote_start(remote, error);

	if (code)
		return code;
	const uint64_t until = remote->started_ns + remote->settings.answer_ns;
	while (remote->state == VTR_REMOTE_STARTING && vtr_now_ns() < until)
		wait_for_socket(remote, until);
	if (remote->state == VTR_REMOTE_UP)
		return 0;
	lose_silent(remote, remote->settings.answer_ns);
	if (error)
		*error = remote->refusal.code ? remote->refusal : remote->why;
	return -remote->why.code;
}

struct vtr_renderer *vtr_remote_create(struct vtr_loop *loop, const struct vtr_renderer_options *options,
                                       const struct vtr_remote_settings *settings, struct vtr_error *error)
{
	struct vtr_remote *remote = calloc(1, sizeof(*remote));

	if (!remote)
		goto out_of_memory;
	remote->base.impl = &remote_impl;
	remote->loop = loop;
	remote->socket = remote->arena_fd = -1;
	remote->last_answer = &remote->answers;
	remote->settings = settings ? *settings : vtr_remote_settings;
	vtr_remote_fences_init(&remote->fences);
	vtr_remote_fences_init(&remote->passed);
	remote->timer = vtr_loop_add_timer(loop, on_timer, remote);
	remote->deliver_event = vtr_loop_add_event(loop, on_deliver, remote);
	if (!remote->timer || !remote->deliver_event)
		goto out_of_memory;
	if ((!remote->settings.connect && vtr_remote_program_init(&remote->program, options, error) < 0) ||
	    start_first(remote, error) < 0) {
		remote_destroy(&remote->base);
		return NULL;
	}
	return &remote->base;
out_of_memory:
	if (remote)
		remote_destroy(&remote->base);
	vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a renderer");
	return NULL;
}
