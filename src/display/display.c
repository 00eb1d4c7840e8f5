/* SPDX-License-Identifier: MIT */
/*
 * A display: a loop on a thread of its own, and the mail box through which the device thread reaches it.
 *
 * The mail box holds, per output, bits that say what to look at (a frame, the cursor, captures), not messages: it cannot overflow,
 * and a display that sleeps for an hour wakes to one look at the newest of each. The device thread sets bits and writes an eventfd;
 * it never waits, except in vtr_display_destroy() for the thread to end.
 *
 * An output counts as connected from the start, so that the guest sees it at once; when attaching it fails the device thread is
 * told (move.c), and likewise when the whole display fails. From then on nothing but detach is called.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>

#include "display/output.h"

struct vtr_display_thread {
	struct vtr_display *display;
	struct vtr_outputs *outputs; /* that it shows some of, or may have to; device thread */
	pthread_t thread;
	struct vtr_source *wake;
	struct vtr_source *settle; /* timer of the modes that windows want */
	sem_t started;
	int start_error; /* 0 or -errno, once started */

	atomic_bool dead;
	struct vtr_error error; /* of the failure; before `failure` is posted the display thread's, then the device thread's */
	struct vtr_event_node failure;

	pthread_mutex_t lock;
	struct vtr_output *shown[VTR_MAX_SCANOUTS];
	size_t count;
	struct vtr_output *first, **last; /* outputs with mail */
};

/* ---- display thread ---- */

static void attach(struct vtr_display *display, struct vtr_output *output)
{
	int error = vtr_display_alive(display) ? display->impl->attach(display, output) : -ENODEV;

	output->attached = !error;
	if (!error)
		return;
	vtr_log(VTR_LOG_WARN, "%s: output %s cannot be shown: %s", display->impl->name, output->name, strerror(-error));
	vtr_outputs_post(output->outputs, &output->refused);
}

static void let_go(struct vtr_display *display, struct vtr_output *output)
{
	if (!output->attached)
		return;
	output->attached = false;
	output->wanted.width = 0;
	display->impl->detach(display, output);
	atomic_store(&output->demand, VTR_DEMAND_NONE);
}

static void detach(struct vtr_display_thread *thread, struct vtr_output *output)
{
	let_go(thread->display, output);
	pthread_mutex_lock(&thread->lock);
	for (size_t i = 0; i < thread->count; i++)
		if (thread->shown[i] == output) {
			thread->shown[i] = thread->shown[--thread->count];
			break;
		}
	pthread_mutex_unlock(&thread->lock);
	/* From here on the output is not ours. */
	vtr_outputs_post(output->outputs, &output->detached);
}

void vtr_display_failed(struct vtr_display *display, const struct vtr_error *error)
{
	struct vtr_display_thread *thread = display->thread;

	if (atomic_load(&thread->dead))
		return;
	thread->error = *error;
	atomic_store(&thread->dead, true);
	pthread_mutex_lock(&thread->lock);
	struct vtr_output *any = thread->count ? thread->shown[0] : NULL;
	pthread_mutex_unlock(&thread->lock);
	if (any)
		vtr_outputs_post(any->outputs, &thread->failure); /* an output that comes later is refused */
}

void vtr_display_settle(struct vtr_display *display)
{
	struct vtr_display_thread *thread = display->thread;
	uint64_t now = vtr_now_ns(), next = 0;

	pthread_mutex_lock(&thread->lock);
	size_t count = thread->count; /* outputs are added behind these, and only removed by this thread */
	pthread_mutex_unlock(&thread->lock);
	for (size_t i = 0; i < count; i++) {
		uint64_t due = vtr_output_settle(thread->shown[i], now);

		if (due && (!next || due < next))
			next = due;
	}
	vtr_timer_arm(thread->settle, next);
}

static void settle(void *data)
{
	vtr_display_settle(data);
}

static struct vtr_output *pop_mail(struct vtr_display_thread *thread, unsigned *mail)
{
	pthread_mutex_lock(&thread->lock);
	struct vtr_output *output = thread->first;
	if (output) {
		thread->first = output->mail_next;
		if (!thread->first)
			thread->last = &thread->first;
		*mail = output->mail;
		output->mail = 0;
	}
	pthread_mutex_unlock(&thread->lock);
	return output;
}

static void deliver(struct vtr_display *display, struct vtr_output *output, unsigned mail)
{
	if (mail & VTR_MAIL_MODE && display->impl->mode)
		display->impl->mode(display, output);
	if (mail & VTR_MAIL_ASK && display->impl->ask)
		display->impl->ask(display, output);
	if (mail & VTR_MAIL_FRAME)
		display->impl->frame(display, output);
	if (mail & VTR_MAIL_CURSOR && display->impl->cursor)
		display->impl->cursor(display, output);
	if (mail & VTR_MAIL_FROZEN && display->impl->frozen)
		display->impl->frozen(display, output);
	if (mail & VTR_MAIL_CAPTURE && !output->awaiting)
		vtr_captures_deliver(output);
}

static void read_mail(void *data)
{
	struct vtr_display_thread *thread = data;
	struct vtr_display *display = thread->display;
	struct vtr_output *output;
	unsigned mail;

	/* Not until the box is empty: a busy device thread must not keep the display's other sources waiting. Whatever is put in
	 * meanwhile raises the event again. */
	for (int i = 0; i < VTR_MAX_SCANOUTS && (output = pop_mail(thread, &mail)); i++) {
		if (mail & VTR_MAIL_ATTACH)
			attach(display, output);
		if (mail & VTR_MAIL_DETACH)
			detach(thread, output);
		else if (output->attached && vtr_display_alive(display))
			deliver(display, output, mail);
	}
}

static void show_outputs(struct vtr_display_thread *thread)
{
	struct vtr_display *display = thread->display;
	struct vtr_error failure;
	int error = vtr_loop_run(display->loop);

	/* Nothing but a mistake of ours makes it fail. Then nobody reads the mail any more, and the outputs stay here, stalled. */
	if (error) {
		vtr_error_set(&failure, VTR_ERROR_HOST, -error, "its event loop failed: %s", strerror(-error));
		vtr_display_failed(display, &failure);
	}
	pthread_mutex_lock(&thread->lock);
	size_t count = thread->count;
	pthread_mutex_unlock(&thread->lock);
	for (size_t i = 0; i < count; i++)
		let_go(display, thread->shown[i]);
}

static void *run(void *data)
{
	struct vtr_display_thread *thread = data;
	struct vtr_display *display = thread->display;
	int error = display->impl->start ? display->impl->start(display) : 0;

	thread->start_error = error;
	sem_post(&thread->started);
	if (error)
		return NULL;
	show_outputs(thread);
	if (display->impl->stop)
		display->impl->stop(display);
	return NULL;
}

/* ---- device thread ---- */

/* Its outputs go on elsewhere. */
static bool deliver_failure(struct vtr_event_node *node)
{
	struct vtr_display_thread *thread =
		(struct vtr_display_thread *)((char *)node - offsetof(struct vtr_display_thread, failure));
	struct vtr_outputs *outputs = thread->outputs;
	const char *name = thread->display->impl->name;
	char why[256];

	snprintf(why, sizeof(why), "%s: %s", name, thread->error.text);
	if (outputs->fallback && outputs->fallback != thread->display)
		vtr_log_limited(&outputs->log, VTR_LOG_WARN,
		                "display %s; the guest goes on, its outputs are %s now: 'vitrinectl output move' moves them", why,
		                outputs->fallback->impl->name);
	else
		vtr_log_limited(&outputs->log, VTR_LOG_WARN, "display %s; its outputs are not connected any more", why);
	for (size_t i = 0; i < outputs->count; i++)
		if (outputs->items[i]->display == thread->display && !outputs->items[i]->leaving)
			vtr_output_turn_over(outputs->items[i], why);
	return false;
}

/* Signals are the device thread's, but for those that a thread's own access raises. */
static int start(struct vtr_display_thread *thread)
{
	static const int own[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP };
	sigset_t mask, old;

	sigfillset(&mask);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&mask, own[i]);
	pthread_sigmask(SIG_SETMASK, &mask, &old);
	int error = pthread_create(&thread->thread, NULL, run, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		return -error;
	pthread_setname_np(thread->thread, "vitrine-display");
	while (sem_wait(&thread->started) < 0)
		; /* a signal */
	if (thread->start_error)
		pthread_join(thread->thread, NULL);
	return thread->start_error;
}

int vtr_display_init(struct vtr_display *display, const struct vtr_display_impl *impl)
{
	struct vtr_display_thread *thread = calloc(1, sizeof(*thread));
	int error = -ENOMEM;

	if (!thread)
		return error;
	*display = (struct vtr_display){ .impl = impl, .loop = vtr_loop_create(), .thread = thread };
	thread->display = display;
	thread->failure.deliver = deliver_failure;
	thread->last = &thread->first;
	pthread_mutex_init(&thread->lock, NULL);
	sem_init(&thread->started, 0, 0);
	if (!display->loop)
		goto fail;
	thread->wake = vtr_loop_add_event(display->loop, read_mail, thread);
	thread->settle = vtr_loop_add_timer(display->loop, settle, display);
	if (!thread->wake || !thread->settle)
		goto fail;
	error = start(thread);
	if (error)
		goto fail;
	return 0;
fail:
	vtr_loop_destroy(display->loop);
	sem_destroy(&thread->started);
	pthread_mutex_destroy(&thread->lock);
	free(thread);
	return error;
}

void vtr_display_destroy(struct vtr_display *display)
{
	if (!display)
		return;
	struct vtr_display_thread *thread = display->thread;
	struct vtr_outputs *outputs = thread->outputs;

	vtr_loop_stop(display->loop);
	pthread_join(thread->thread, NULL);
	if (outputs) {
		vtr_outputs_unpost(outputs, &thread->failure);
		if (outputs->fallback == display)
			outputs->fallback = NULL;
		for (size_t i = 0; i < outputs->count; i++)
			vtr_output_display_destroyed(outputs->items[i], display);
	}
	vtr_loop_destroy(display->loop);
	sem_destroy(&thread->started);
	pthread_mutex_destroy(&thread->lock);
	free(thread);
	display->impl->destroy(display);
}

void vtr_display_join(struct vtr_display *display, struct vtr_outputs *outputs)
{
	assert(!display->thread->outputs || display->thread->outputs == outputs);
	display->thread->outputs = outputs;
}

void vtr_display_add_output(struct vtr_display *display, struct vtr_output *output, unsigned mail)
{
	struct vtr_display_thread *thread = display->thread;

	vtr_display_join(display, output->outputs);
	pthread_mutex_lock(&thread->lock);
	assert(thread->count < VTR_MAX_SCANOUTS); /* there are no more in a set */
	thread->shown[thread->count++] = output;
	pthread_mutex_unlock(&thread->lock);
	vtr_display_mail(output, VTR_MAIL_ATTACH | mail);
}

static void put_mail(struct vtr_display_thread *thread, struct vtr_output *output, unsigned bits)
{
	pthread_mutex_lock(&thread->lock);
	bool raise = !output->mail;
	if (raise) {
		output->mail_next = NULL;
		*thread->last = output;
		thread->last = &output->mail_next;
	}
	output->mail |= bits;
	pthread_mutex_unlock(&thread->lock);
	if (raise)
		vtr_event_raise(thread->wake);
}

void vtr_display_mail(struct vtr_output *output, unsigned bits)
{
	if (output->display && !output->leaving) /* else what waits in the output is found by whoever gets it */
		put_mail(output->display->thread, output, bits);
}

void vtr_display_remind(struct vtr_output *output, unsigned bits)
{
	if (output->attached) /* else it is about to be somebody else's */
		put_mail(output->display->thread, output, bits);
}

const char *vtr_display_name(const struct vtr_display *display)
{
	return display->impl->name;
}

void *vtr_display_egl(const struct vtr_display *display)
{
	return display->impl->egl ? display->impl->egl(display) : NULL;
}

bool vtr_display_alive(const struct vtr_display *display)
{
	return !atomic_load(&((struct vtr_display_thread *)display->thread)->dead);
}
