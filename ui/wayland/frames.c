/* SPDX-License-Identifier: MIT */
/*
 * A window's frames: from the queue to the compositor, and back.
 *
 *     frame waits --take--> waiting --commit--> committed --frame callback--> shown --released--> given back
 *
 * One commit per frame callback: that paces the guest, and a compositor that is stopped is not sent anything but what it asked for.
 * What comes meanwhile waits in the frame queue, where the newest wins; the device answers the guest's flushes in time by itself. A
 * frame waits for the compositor's word on a buffer that it has not seen before, and for shared memory that is still read.
 *
 * The guest's buffer is the compositor's from the commit until it is released, which happens when another one has taken its place;
 * the frame keeps it locked so long. A guest that draws into the same buffer again has it committed again.
 * It is released by wl_buffer.release, or by points of timelines (sync.c).
 */
#include <drm_fourcc.h>
#include <string.h>

#include "wayland/wayland.h"

#define IDLE_NS UINT64_C(2000000000)

/* ---- coming back ---- */

/* committed is on the screen. */
static void arrived(struct wayland_window *window, uint64_t now)
{
	struct vtr_frame *frame = window->committed;

	window->committed = NULL;
	if (!frame)
		return;
	if (frame->content == VTR_FRAME_BUFFER && !window->committed_released)
		vtr_frame_presented(frame, now); /* its import gives it back */
	else
		vtr_frame_finish(frame, now);
	window->committed_released = false;
}

static void frame_done(void *data, struct wl_callback *callback, uint32_t time)
{
	struct wayland_window *window = data;

	wl_callback_destroy(callback);
	window->callback = NULL;
	arrived(window, vtr_now_ns());
	wayland_show(window);
}

static const struct wl_callback_listener callback_listener = { .done = frame_done };

void wayland_import_released(struct wayland_import *import)
{
	struct wayland_window *window = import->window;

	if (import->busy || import->n_releases)
		return; /* wl_buffer.release means nothing for a commit with a release point */
	if (import->frame && import->frame == window->committed)
		window->committed_released = true; /* copied already; it counts as shown at its callback */
	else if (import->frame)
		vtr_frame_finish(import->frame, 0);
	import->frame = NULL;
	wayland_show(window);
}

/* ---- committing ---- */

void wayland_take_newest(struct wayland_window *window)
{
	struct vtr_frame *frame = vtr_output_take_frame(window->output);

	if (!frame)
		return;
	if (window->waiting) {
		/* taken before it: what it would have changed is not in frame's damage */
		pixman_region32_union(&frame->damage, &frame->damage, &window->waiting->damage);
		pixman_region32_intersect_rect(&frame->damage, &frame->damage, 0, 0, frame->width, frame->height);
		vtr_frame_finish(window->waiting, 0);
	}
	window->waiting = frame;
	wayland_captures_answer(window, frame);
}

static void note_picture(struct wayland_window *window, const struct vtr_frame *frame)
{
	bool blank = frame->content == VTR_FRAME_BLANK;
	uint32_t width = blank ? 0 : frame->width, height = blank ? 0 : frame->height;

	window->told = true;
	window->path = frame->path;
	if (width != window->picture_width || height != window->picture_height) {
		window->picture_width = width;
		window->picture_height = height;
		wayland_window_place(window);
	}
	wayland_window_set_title(window);
	wayland_cursor_update(window); /* nobody says when the guest begins to use the tablet */
}

/* In the buffer's coordinates. left: columns of it before the picture. */
static void damage(const struct wayland_window *window, const struct vtr_frame *frame, int32_t left)
{
	const pixman_box32_t *boxes;
	int n;

	boxes = pixman_region32_rectangles((pixman_region32_t *)&frame->damage, &n);
	for (int i = 0; i < n; i++)
		wl_surface_damage_buffer(window->content, left + boxes[i].x1,
		                         window->flipped ? (int32_t)frame->height - boxes[i].y2 : boxes[i].y1,
		                         boxes[i].x2 - boxes[i].x1, boxes[i].y2 - boxes[i].y1);
}

/* The content gets a buffer, of which the picture is what lies right of the first columns. */
static void attach(struct wayland_window *window, struct wl_buffer *buffer, const struct vtr_frame *frame, uint32_t left)
{
	uint32_t source[3] = { left, left ? frame->width : 0, left ? frame->height : 0 };

	wl_surface_attach(window->content, buffer, 0, 0);
	window->mapped = buffer;
	if (window->flipped != frame->flipped) {
		window->flipped = frame->flipped;
		wl_surface_set_buffer_transform(window->content,
		                                frame->flipped ? WL_OUTPUT_TRANSFORM_FLIPPED_180 : WL_OUTPUT_TRANSFORM_NORMAL);
	}
	if (!memcmp(source, window->source, sizeof(source)))
		return;
	memcpy(window->source, source, sizeof(source));
	if (left)
		wp_viewport_set_source(window->content_viewport, wl_fixed_from_int((int)left), 0,
		                       wl_fixed_from_int((int)frame->width), wl_fixed_from_int((int)frame->height));
	else
		wp_viewport_set_source(window->content_viewport, wl_fixed_from_int(-1), wl_fixed_from_int(-1),
		                       wl_fixed_from_int(-1), wl_fixed_from_int(-1));
}

/* Takes frame. */
static void commit(struct wayland_window *window, struct vtr_frame *frame)
{
	/* without a buffer the content is not mapped, and has no callbacks */
	struct wl_surface *surface = window->mapped ? window->content : window->background;

	damage(window, frame, (int32_t)window->source[0]);
	window->callback = wl_surface_frame(surface);
	wl_callback_add_listener(window->callback, &callback_listener, window);
	if (window->mapped)
		wayland_feedback_ask(window);
	wl_surface_commit(window->content);
	if (surface == window->background)
		wl_surface_commit(window->background);
	window->committed = frame;
	window->committed_released = false;
	vtr_timer_arm(window->idle, vtr_now_ns() + IDLE_NS);
}

static void give_up(struct wayland_window *window, struct vtr_frame *frame, const struct vtr_error *error)
{
	window->waiting = NULL;
	if (frame->content == VTR_FRAME_BUFFER)
		vtr_frame_import_failed(frame, error);
	else
		vtr_log_limited(&window->log, VTR_LOG_WARN, "wayland: output %s: %s", vtr_output_name(window->output), error->text);
	vtr_frame_finish(frame, 0);
}

static void show_buffer(struct wayland_window *window, struct vtr_frame *frame)
{
	struct vtr_error error;
	bool refused;
	struct wayland_import *import = wayland_import_frame(window, frame, &refused, &error);

	if (refused) {
		give_up(window, frame, &error);
		return;
	}
	if (!import || import->state != WAYLAND_IMPORT_READY || !wayland_sync_ready(window))
		return; /* an event will come */
	window->waiting = NULL;
	if (import->frame)
		vtr_frame_finish(import->frame, 0); /* it was shown; this one keeps the buffer now */
	import->frame = frame;
	window->shown = import;
	note_picture(window, frame);
	attach(window, import->wl_buffer, frame, import->left);
	if (wayland_sync_commit(window, import) == WAYLAND_SYNC_IMPLICIT)
		import->busy = true;
	commit(window, frame);
}

static void show_pixels(struct wayland_window *window, struct vtr_frame *frame)
{
	struct vtr_error error;
	struct wayland_shm_buffer *buffer = wayland_pixels_load(window, frame, &error);

	if (!buffer) {
		if (error.code)
			give_up(window, frame, &error);
		return;
	}
	window->waiting = NULL;
	buffer->busy = true;
	window->shown = NULL;
	note_picture(window, frame);
	attach(window, buffer->wl_buffer, frame, 0);
	wayland_sync_suspend(window);
	commit(window, frame);
}

static void show_nothing_new(struct wayland_window *window, struct vtr_frame *frame)
{
	window->waiting = NULL;
	if (frame->content == VTR_FRAME_BLANK) {
		window->shown = NULL;
		note_picture(window, frame);
		attach(window, NULL, frame, 0);
	}
	commit(window, frame);
}

void wayland_show(struct wayland_window *window)
{
	/* A capture needs the newest frame, also while the compositor wants none. */
	if (window->captures.count || !window->callback)
		wayland_take_newest(window);
	struct vtr_frame *frame = window->waiting;
	if (!frame || window->callback || !window->configured)
		return;
	if (frame->content == VTR_FRAME_BUFFER)
		show_buffer(window, frame);
	else if (frame->content == VTR_FRAME_PIXELS)
		show_pixels(window, frame);
	else
		show_nothing_new(window, frame);
}

void wayland_frames_release(struct wayland_window *window)
{
	if (window->callback)
		wl_callback_destroy(window->callback);
	window->callback = NULL;
	if (window->committed && (window->committed->content != VTR_FRAME_BUFFER || window->committed_released))
		vtr_frame_finish(window->committed, 0);
	window->committed = NULL;
	wayland_feedback_finish(window);
	wayland_imports_clear(window, true); /* and the frames that they keep */
	wayland_sync_release_window(window);
	if (window->waiting)
		vtr_frame_finish(window->waiting, 0);
	window->waiting = NULL;
	wayland_pixels_clear(window);
	vtr_capture_set_give_back(&window->captures);
}
