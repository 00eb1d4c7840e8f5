/* SPDX-License-Identifier: MIT */
#ifndef TESTS_MUTE_DISPLAY_H
#define TESTS_MUTE_DISPLAY_H

#include <glib.h>
#include <pthread.h>
#include <time.h>

#include "display/display.h"

/*
 * A display that does nothing by itself: its thread only counts what it was told, and the test plays the display's part when it
 * likes. With `stuck` set, the thread sleeps in its next callback until the test releases it.
 */
struct mute_display {
	struct vtr_display base;
	pthread_mutex_t lock; /* not GLib's: TSan does not see those */
	pthread_cond_t changed;
	bool stuck, sleeping;
	int attach_error;
	bool gives_back; /* what captures it has, when it is detached */
	unsigned attached, detached, frames, cursors, captures, modes, freezes;
	GPtrArray *asked;                                          /* captures that wait for an end */
	void (*task)(struct vtr_output *output, const void *data); /* for the display's thread, at its next cursor callback */
	const void *task_data;
};

static inline struct mute_display *mute_display_from(struct vtr_display *display)
{
	return (struct mute_display *)display;
}

static inline void mute_count(struct vtr_display *display, unsigned *counter)
{
	struct mute_display *mute = mute_display_from(display);

	pthread_mutex_lock(&mute->lock);
	(*counter)++;
	pthread_cond_broadcast(&mute->changed);
	while (mute->stuck) {
		mute->sleeping = true;
		pthread_cond_broadcast(&mute->changed);
		pthread_cond_wait(&mute->changed, &mute->lock);
	}
	mute->sleeping = false;
	pthread_mutex_unlock(&mute->lock);
}

static int mute_attach(struct vtr_display *display, struct vtr_output *output)
{
	mute_count(display, &mute_display_from(display)->attached);
	return mute_display_from(display)->attach_error;
}

static void mute_detach(struct vtr_display *display, struct vtr_output *output)
{
	struct mute_display *mute = mute_display_from(display);
	struct vtr_error error;

	mute_count(display, &mute->detached);
	vtr_error_set(&error, VTR_ERROR_HOST, ENODEV, "gone");
	for (unsigned i = 0; i < mute->asked->len; i++)
		if (mute->gives_back)
			vtr_capture_give_back(mute->asked->pdata[i]);
		else
			vtr_capture_finish(mute->asked->pdata[i], NULL, 0, &error);
	g_ptr_array_set_size(mute->asked, 0);
}

static void mute_frame(struct vtr_display *display, struct vtr_output *output)
{
	mute_count(display, &mute_display_from(display)->frames);
}

static void mute_cursor(struct vtr_display *display, struct vtr_output *output)
{
	struct mute_display *mute = mute_display_from(display);

	pthread_mutex_lock(&mute->lock);
	if (mute->task)
		mute->task(output, mute->task_data);
	mute->task = NULL;
	pthread_mutex_unlock(&mute->lock);
	mute_count(display, &mute_display_from(display)->cursors);
}

static void mute_mode(struct vtr_display *display, struct vtr_output *output)
{
	mute_count(display, &mute_display_from(display)->modes);
}

static void mute_frozen(struct vtr_display *display, struct vtr_output *output)
{
	mute_count(display, &mute_display_from(display)->freezes);
}

static void mute_capture(struct vtr_display *display, struct vtr_output *output, struct vtr_capture *capture)
{
	g_ptr_array_add(mute_display_from(display)->asked, capture);
	mute_count(display, &mute_display_from(display)->captures);
}

static bool mute_accepts(struct vtr_display *display, const struct vtr_output *output, uint32_t format, uint64_t modifier,
                         struct vtr_error *error)
{
	if (!modifier)
		return true;
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no modifiers");
	return false;
}

static void mute_destroy(struct vtr_display *display)
{
	g_ptr_array_unref(mute_display_from(display)->asked);
	g_free(display);
}

static const struct vtr_display_impl mute_impl = {
	.name = "mute",
	.attach = mute_attach,
	.detach = mute_detach,
	.frame = mute_frame,
	.cursor = mute_cursor,
	.mode = mute_mode,
	.frozen = mute_frozen,
	.capture = mute_capture,
	.accepts = mute_accepts,
	.destroy = mute_destroy,
};

static inline struct mute_display *mute_display_create(void)
{
	struct mute_display *mute = g_new0(struct mute_display, 1);

	mute->asked = g_ptr_array_new();
	pthread_mutex_init(&mute->lock, NULL);
	pthread_cond_init(&mute->changed, NULL);
	g_assert_cmpint(vtr_display_init(&mute->base, &mute_impl), ==, 0);
	return mute;
}

/* Waits until *counter (one of the display's) is at least value; the test fails after five seconds. */
static inline void mute_wait(struct mute_display *mute, const unsigned *counter, unsigned value)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 5;
	pthread_mutex_lock(&mute->lock);
	while (*counter < value)
		g_assert_cmpint(pthread_cond_timedwait(&mute->changed, &mute->lock, &end), ==, 0);
	pthread_mutex_unlock(&mute->lock);
}

/* Runs task on the display's thread, and waits until it ran. */
static inline void mute_run(struct mute_display *mute, struct vtr_output *output,
                            void (*task)(struct vtr_output *output, const void *data), const void *data)
{
	pthread_mutex_lock(&mute->lock);
	unsigned next = mute->cursors + 1;
	mute->task = task;
	mute->task_data = data;
	pthread_mutex_unlock(&mute->lock);
	vtr_output_move_cursor(output, 0, 0);
	mute_wait(mute, &mute->cursors, next);
}

static inline void mute_set_stuck(struct mute_display *mute, bool stuck)
{
	pthread_mutex_lock(&mute->lock);
	mute->stuck = stuck;
	pthread_cond_broadcast(&mute->changed);
	pthread_mutex_unlock(&mute->lock);
}

static inline void mute_wait_sleeping(struct mute_display *mute)
{
	pthread_mutex_lock(&mute->lock);
	while (!mute->sleeping)
		pthread_cond_wait(&mute->changed, &mute->lock);
	pthread_mutex_unlock(&mute->lock);
}

/* One output on a mute display: what most tests begin and end with. */
struct mute_set {
	struct mute_display *display;
	struct vtr_outputs *outputs;
	struct vtr_output *output;
};

static inline void mute_set_init(struct mute_set *set)
{
	struct vtr_mode mode = { 64, 48, 60000 };

	set->display = mute_display_create();
	set->outputs = vtr_outputs_create();
	set->output = vtr_outputs_add(set->outputs, &set->display->base, &mode, NULL);
	g_assert_nonnull(set->output);
	mute_wait(set->display, &set->display->attached, 1);
}

static inline void mute_set_finish(struct mute_set *set)
{
	vtr_display_destroy(&set->display->base);
	vtr_outputs_destroy(set->outputs);
}

/* A region of one rectangle, to be finished by the caller. */
static inline pixman_region32_t *rect(pixman_region32_t *region, int x, int y, unsigned width, unsigned height)
{
	pixman_region32_init_rect(region, x, y, width, height);
	return region;
}

static inline void assert_region(const pixman_region32_t *region, int x, int y, unsigned width, unsigned height)
{
	const pixman_box32_t *box = &region->extents;

	if (!width || !height) {
		g_assert_false(pixman_region32_not_empty((pixman_region32_t *)region));
		return;
	}
	g_assert_cmpint(pixman_region32_n_rects((pixman_region32_t *)region), ==, 1);
	g_assert_cmpint(box->x1, ==, x);
	g_assert_cmpint(box->y1, ==, y);
	g_assert_cmpint(box->x2, ==, x + (int)width);
	g_assert_cmpint(box->y2, ==, y + (int)height);
}

/* A frame of 64x48 XR24 with one damaged rectangle. */
static inline struct vtr_frame *new_frame(struct vtr_output *output, enum vtr_frame_content content, int x, int y, unsigned width,
                                          unsigned height)
{
	struct vtr_frame *frame = vtr_output_begin_frame(output);

	g_assert_nonnull(frame);
	frame->content = content;
	frame->width = 64;
	frame->height = 48;
	frame->format = 0x34325258;
	pixman_region32_union_rect(&frame->damage, &frame->damage, x, y, width, height);
	return frame;
}

#endif
