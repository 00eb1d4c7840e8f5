/* SPDX-License-Identifier: MIT */
/*
 * One window: the newest frame of its output, drawn at most once per refresh of the monitor.
 *
 * A frame with a buffer is held until another picture replaces it, because the texture is the guest's memory: an exposed window is
 * drawn from it again. It counts as presented when the GPU has drawn it (drawing.c); pixels are uploaded and given back at once. A
 * frame that cannot be shown leaves the picture as it was; the device sends it again another way.
 *
 * A window that nobody sees asks for nothing and gives its frames up, so that the guest goes on at its output's rate. A capture
 * wakes it for one picture.
 *
 * Size: an output with a fixed mode keeps its mode, the window starts as large as the picture and scales it. The mode of an output
 * without one follows the window.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>

#include "sdl.h"

#define IDLE_NS UINT64_C(2000000000)

/* ---- geometry ---- */

static void place_picture(struct sdl_window *window)
{
	struct vtr_mode mode = vtr_output_mode(window->output);
	uint32_t picture_width = window->width ? window->width : mode.width;
	uint32_t picture_height = window->height ? window->height : mode.height;
	int width, height;

	window->display->renderer->size(window, &width, &height);
	window->placement =
		vtr_placement_of(picture_width, picture_height, width > 0 ? (uint32_t)width : 1, height > 0 ? (uint32_t)height : 1,
	                         window->integer_scaling ? VTR_SCALING_INTEGER : VTR_SCALING_FIT);
}

/* 0 when SDL does not know. */
static uint32_t monitor_refresh_mhz(const struct sdl_window *window)
{
	int monitor = SDL_GetWindowDisplayIndex(window->window);
	SDL_DisplayMode mode;

	if (monitor < 0 || SDL_GetCurrentDisplayMode(monitor, &mode) < 0 || mode.refresh_rate <= 0)
		return 0;
	return (uint32_t)mode.refresh_rate * 1000;
}

void sdl_window_resized(struct sdl_window *window)
{
	struct vtr_mode mode = { .refresh_mhz = monitor_refresh_mhz(window) };
	int width, height;

	window->display->renderer->size(window, &width, &height);
	if (width > 0 && height > 0) {
		mode.width = (uint32_t)width;
		mode.height = (uint32_t)height;
		vtr_output_request_mode(window->output, &mode);
	}
	sdl_window_repaint(window);
}

/* In the window system's units, which are larger than pixels on dense monitors; as large as the monitor at most. */
void sdl_window_fit(struct sdl_window *window)
{
	struct vtr_mode mode = vtr_output_mode(window->output);
	uint32_t width = window->width ? window->width : mode.width, height = window->height ? window->height : mode.height;
	int pixels, pixels_high, units, units_high, monitor = SDL_GetWindowDisplayIndex(window->window);
	SDL_Rect room;

	window->fitted_width = width;
	window->fitted_height = height;
	if (SDL_GetWindowFlags(window->window) & (SDL_WINDOW_FULLSCREEN_DESKTOP | SDL_WINDOW_MAXIMIZED))
		return;
	window->display->renderer->size(window, &pixels, &pixels_high);
	SDL_GetWindowSize(window->window, &units, &units_high);
	double scale = pixels > 0 && units > 0 ? (double)units / pixels : 1;
	double wide = width * scale, high = height * scale;
	if (monitor >= 0 && !SDL_GetDisplayUsableBounds(monitor, &room) && room.w > 0 && room.h > 0) {
		double fit_x = room.w / wide, fit_y = room.h / high, fit = fit_x < fit_y ? fit_x : fit_y;

		wide *= fit < 1 ? fit : 1;
		high *= fit < 1 ? fit : 1;
	}
	SDL_SetWindowSize(window->window, (int)(wide + 0.5), (int)(high + 0.5));
	sdl_window_repaint(window);
}

/* ---- title ---- */

void sdl_window_set_title(struct sdl_window *window)
{
	char title[sizeof(window->title)];

	snprintf(title, sizeof(title), "%s - %s (%s%s)%s", window->display->options.guest, vtr_output_name(window->output),
	         window->width ? vtr_path_name(window->path) : "no signal",
	         window->width && vtr_output_frozen(window->output) ? ", frozen" : "",
	         window->grabbed ? " - Ctrl+Alt+G lets keyboard and pointer go" : "");
	if (!strcmp(title, window->title))
		return;
	memcpy(window->title, title, sizeof(title));
	SDL_SetWindowTitle(window->window, title);
}

/* ---- frames ---- */

static uint64_t interval_ns(const struct sdl_window *window)
{
	uint32_t refresh_mhz = monitor_refresh_mhz(window);

	if (!refresh_mhz)
		refresh_mhz = vtr_output_mode(window->output).refresh_mhz;
	return UINT64_C(1000000000000) / (refresh_mhz ? refresh_mhz : 60000);
}

static void note_picture(struct sdl_window *window, const struct vtr_frame *frame)
{
	bool blank = frame->content == VTR_FRAME_BLANK;
	/* A person's own size of the window outlives a guest that shows nothing for a while. */
	bool resized = !blank && (window->fitted_width != frame->width || window->fitted_height != frame->height);

	window->current = frame->content != VTR_FRAME_UNREAD || (window->width && vtr_output_is_current(window->output));
	if (frame->content == VTR_FRAME_UNREAD)
		return;
	window->told = true;
	window->width = blank ? 0 : frame->width;
	window->height = blank ? 0 : frame->height;
	window->path = frame->path;
	window->sequence = frame->sequence;
	if (resized && vtr_output_fixed(window->output))
		sdl_window_fit(window);
	sdl_window_set_title(window);
}

static void fail_captures(struct sdl_window *window, const struct vtr_error *error)
{
	if (!window->visible)
		vtr_output_set_demand(window->output, VTR_DEMAND_NONE);
	vtr_capture_set_fail(&window->captures, error);
}

/* A buffer that is of no use comes again another way; captures wait for that. */
static void give_up(struct sdl_window *window, struct vtr_frame *frame, const struct vtr_error *error)
{
	if (frame->content == VTR_FRAME_BUFFER) {
		vtr_frame_import_failed(frame, error);
		window->current = false;
	} else {
		vtr_log_limited(&window->log, VTR_LOG_WARN, "sdl: output %s: %s", vtr_output_name(window->output), error->text);
		fail_captures(window, error);
	}
	vtr_frame_finish(frame, 0);
}

/* frame is on the window since now. What was held before is not needed any more, unless frame brought nothing new. */
static void shown(struct sdl_window *window, struct vtr_frame *frame, uint64_t now)
{
	if (frame->content == VTR_FRAME_BUFFER) {
		if (window->held)
			vtr_frame_finish(window->held, now);
		window->held = frame;
		vtr_frame_presented(frame, now);
		return;
	}
	if (window->held && frame->content != VTR_FRAME_UNREAD) {
		vtr_frame_finish(window->held, now);
		window->held = NULL;
	}
	vtr_frame_finish(frame, now);
}

/* Not by an older picture than the guest's: they wait for the frame that is to come. */
static void answer_captures(struct sdl_window *window)
{
	if (!window->captures.count || !window->told || !window->current)
		return;
	if (!window->visible)
		vtr_output_set_demand(window->output, VTR_DEMAND_NONE);
	pixman_image_t *picture = window->width ? window->display->renderer->read(window) : NULL;
	if (window->width)
		vtr_capture_set_answer(&window->captures, picture, window->sequence);
	else
		vtr_capture_set_answer_pixels(&window->captures, NULL, window->sequence);
	if (picture)
		pixman_image_unref(picture);
}

static void paint(struct sdl_window *window, struct vtr_frame *frame)
{
	const struct sdl_renderer *renderer = window->display->renderer;
	struct vtr_error error;

	place_picture(window);
	if (!renderer->paint(window, &error)) {
		if (frame)
			give_up(window, frame, &error);
		return;
	}
	window->painted_ns = vtr_now_ns();
	vtr_timer_arm(window->idle, window->painted_ns + IDLE_NS);
	sdl_drawing_begin(window, frame);
}

void sdl_window_drawn(struct sdl_window *window, struct vtr_frame *frame)
{
	if (frame)
		shown(window, frame, vtr_now_ns());
	if (window->postponed)
		sdl_window_repaint(window);
	window->postponed = false;
}

/* Nobody sees it. Pixels are taken over all the same: what is damaged was read for this frame only. */
static void skip(struct sdl_window *window, struct vtr_frame *frame)
{
	bool keep = frame->content == VTR_FRAME_PIXELS || frame->content == VTR_FRAME_BLANK;
	struct vtr_error error;

	if (keep && window->display->renderer->load(window, frame, &error))
		note_picture(window, frame);
	else
		window->current = false;
	if (!window->width && window->held) {
		vtr_frame_finish(window->held, 0);
		window->held = NULL;
	}
	vtr_frame_finish(frame, 0);
}

static void show_newest(struct sdl_window *window)
{
	struct vtr_error error;

	window->postponed = window->drawing.active;
	if (window->postponed)
		return;
	struct vtr_frame *frame = vtr_output_take_frame(window->output);
	if (frame && !window->visible && !window->captures.count) {
		skip(window, frame);
		return;
	}
	if (!frame && !window->visible)
		return;
	if (frame && !window->display->renderer->load(window, frame, &error)) {
		give_up(window, frame, &error);
		return;
	}
	if (frame)
		note_picture(window, frame);
	paint(window, frame);
	answer_captures(window);
}

static void tick(void *data)
{
	struct sdl_window *window = data;

	if (!sdl_alive(window->display))
		return;
	window->ticking = false;
	show_newest(window);
	sdl_pump_soon(window->display); /* swapping may have read events */
}

void sdl_window_repaint(struct sdl_window *window)
{
	if (window->ticking)
		return;
	window->ticking = true;
	vtr_timer_arm(window->tick, window->painted_ns + interval_ns(window));
}

void sdl_window_frame(struct sdl_window *window)
{
	sdl_window_repaint(window);
}

static void idle(void *data)
{
	struct sdl_window *window = data;

	if (!sdl_alive(window->display))
		return;
	window->display->renderer->idle(window);
	sdl_pump_soon(window->display);
}

void sdl_window_set_visible(struct sdl_window *window, bool visible)
{
	if (window->visible == visible)
		return;
	window->visible = visible;
	vtr_output_set_demand(window->output, visible ? window->display->demand : VTR_DEMAND_NONE);
	if (visible)
		sdl_window_repaint(window);
}

/* ---- captures ---- */

/* What is on the window is the newest, once the frame that waits was taken; a hidden one has to be given a picture first. */
void sdl_window_capture(struct sdl_window *window, struct vtr_capture *capture)
{
	bool first = !window->captures.count;

	sdl_drawing_wait(window); /* reading the picture would wait, too */
	if (first && !window->visible)
		show_newest(window); /* to know whether there is something new */
	vtr_capture_set_add(&window->captures, capture);
	if (window->visible)
		show_newest(window);
	else if (window->current)
		answer_captures(window);
	else if (first)
		vtr_output_set_demand(window->output, window->display->demand);
}

/* ---- opening and closing ---- */

static SDL_Window *create_window(struct sdl_display *display, struct vtr_output *output)
{
	struct vtr_mode mode = vtr_output_mode(output);
	uint32_t flags = SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI | display->renderer->window_flags;
	int monitors = SDL_GetNumVideoDisplays(), place = SDL_WINDOWPOS_UNDEFINED;

	if (display->options.fullscreen) {
		flags |= SDL_WINDOW_FULLSCREEN_DESKTOP;
		if (monitors > 0)
			place = (int)SDL_WINDOWPOS_UNDEFINED_DISPLAY(vtr_output_number(output) % (unsigned)monitors);
	}
	return SDL_CreateWindow(vtr_output_name(output), place, place, (int)mode.width, (int)mode.height, flags);
}

static void window_destroy(struct sdl_window *window)
{
	sdl_drawing_finish(window);
	vtr_source_remove(window->tick);
	vtr_source_remove(window->idle);
	if (window->window && !window->display->ended) /* SDL waits for the window system's answer for ever */
		SDL_DestroyWindow(window->window);
	free(window);
}

static struct sdl_window *window_create(struct sdl_display *display, struct vtr_output *output)
{
	struct sdl_window *window = calloc(1, sizeof(*window));

	if (!window)
		return NULL;
	*window = (struct sdl_window){
		.display = display,
		.output = output,
		.number = vtr_output_number(output),
		.window = create_window(display, output),
		.tick = vtr_loop_add_timer(display->base.loop, tick, window),
		.idle = vtr_loop_add_timer(display->base.loop, idle, window),
		.integer_scaling = display->options.integer_scaling,
		.smooth = !display->options.integer_scaling,
		.visible = true,
		.current = true,
	};
	vtr_capture_set_init(&window->captures, output);
	if (sdl_drawing_init(window) == 0)
		return window;
	window_destroy(window);
	return NULL;
}

int sdl_window_open(struct sdl_display *display, struct vtr_output *output)
{
	struct sdl_window *window = window_create(display, output);
	int error = -ENOMEM;

	if (window && !window->window) {
		vtr_log(VTR_LOG_WARN, "sdl: no window for output %s: %s", vtr_output_name(output), SDL_GetError());
		error = -EIO;
	} else if (window && window->tick && window->idle) {
		error = display->renderer->open(window);
	}
	if (error) {
		if (window)
			window_destroy(window);
		return error;
	}
	display->windows[window->number] = window;
	vtr_output_set_user(output, window);
	vtr_output_get_cursor(output, &window->cursor);
	sdl_window_set_title(window);
	sdl_icon_set(window->window);
	vtr_output_set_demand(output, display->demand);
	sdl_window_fit(window);
	sdl_window_resized(window);
	return 0;
}

void sdl_window_close(struct sdl_window *window)
{
	struct sdl_display *display = window->display;

	sdl_window_release(window);
	vtr_capture_set_give_back(&window->captures);
	if (window->held)
		vtr_frame_finish(window->held, 0);
	display->renderer->close(window);
	sdl_cursor_close(window);
	display->windows[window->number] = NULL;
	vtr_output_set_user(window->output, NULL);
	window_destroy(window);
}
