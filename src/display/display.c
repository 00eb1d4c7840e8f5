/* SPDX-License-Identifier: MIT */
/*
 * A display: a loop on a thread of its own, and the mail box through which the device thread reaches it.
 *
 * The mail box holds, per output, bits that say what to look at (a frame, the cursor, captures), not messages: it cannot overflow,
 * and a display that sleeps for an hour wakes to one look at the newest of each. The device thread sets bits and writes an eventfd;
 * it never waits, except in vtr_display_destroy() for the thread to end.
 *
 * An output counts as connected from the start, so that the guest sees it at once; when attaching it fails it is disconnected, and
 * the guest is told.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>

#include "display/output.h"

struct vtr_display_thread {
	struct vtr_display *display;
	pthread_t thread;
	struct vtr_source *wake;

	pthread_mutex_t lock;
	struct vtr_output *outputs[VTR_MAX_SCANOUTS];
	size_t count;
	struct vtr_output *first, **last; /* outputs with mail */
};

/* ---- display thread ---- */

static void attach(struct vtr_display *display, struct vtr_output *output)
{
	int error = display->impl->attach(display, output);

	if (error) {
		vtr_log(VTR_LOG_WARN, "%s: output %s cannot be shown: %s", display->impl->name, output->name, strerror(-error));
		vtr_output_disconnect(output);
		return;
	}
	output->attached = true;
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
		if (!output->attached)
			continue;
		if (mail & VTR_MAIL_FRAME)
			display->impl->frame(display, output);
		if (mail & VTR_MAIL_CURSOR && display->impl->cursor)
			display->impl->cursor(display, output);
		if (mail & VTR_MAIL_CAPTURE)
			vtr_captures_deliver(output);
	}
}

static void *run(void *data)
{
	struct vtr_display_thread *thread = data;
	struct vtr_display *display = thread->display;
	int error = vtr_loop_run(display->loop);

	if (error)
		vtr_log(VTR_LOG_ERROR, "%s: the display's loop failed: %s", display->impl->name, strerror(-error));
	/* Outputs are only added by the thread that waits for us to end. */
	for (size_t i = 0; i < thread->count; i++)
		if (thread->outputs[i]->attached) {
			display->impl->detach(display, thread->outputs[i]);
			thread->outputs[i]->attached = false;
		}
	return NULL;
}

/* ---- device thread ---- */

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
	if (!error)
		pthread_setname_np(thread->thread, "vitrine-display");
	return -error;
}

int vtr_display_init(struct vtr_display *display, const struct vtr_display_impl *impl)
{
	struct vtr_display_thread *thread = calloc(1, sizeof(*thread));
	int error = -ENOMEM;

	if (!thread)
		return error;
	*display = (struct vtr_display){ .impl = impl, .loop = vtr_loop_create(), .thread = thread };
	thread->display = display;
	thread->last = &thread->first;
	pthread_mutex_init(&thread->lock, NULL);
	if (!display->loop)
		goto fail;
	thread->wake = vtr_loop_add_event(display->loop, read_mail, thread);
	if (!thread->wake)
		goto fail;
	error = start(thread);
	if (error)
		goto fail;
	return 0;
fail:
	vtr_loop_destroy(display->loop);
	pthread_mutex_destroy(&thread->lock);
	free(thread);
	return error;
}

void vtr_display_destroy(struct vtr_display *display)
{
	if (!display)
		return;
	struct vtr_display_thread *thread = display->thread;
	vtr_loop_stop(display->loop);
	pthread_join(thread->thread, NULL);
	for (size_t i = 0; i < thread->count; i++) {
		struct vtr_output *output = thread->outputs[i];

		output->display = NULL;
		vtr_output_disconnect(output);
	}
	vtr_loop_destroy(display->loop);
	pthread_mutex_destroy(&thread->lock);
	free(thread);
	display->impl->destroy(display);
}

int vtr_display_add_output(struct vtr_display *display, struct vtr_output *output)
{
	struct vtr_display_thread *thread = display->thread;
	int error = 0;

	pthread_mutex_lock(&thread->lock);
	if (thread->count < VTR_MAX_SCANOUTS)
		thread->outputs[thread->count++] = output;
	else
		error = -ENOSPC;
	pthread_mutex_unlock(&thread->lock);
	if (!error)
		vtr_display_mail(output, VTR_MAIL_ATTACH);
	return error;
}

void vtr_display_mail(struct vtr_output *output, unsigned bits)
{
	if (!output->display)
		return;
	struct vtr_display_thread *thread = output->display->thread;

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
