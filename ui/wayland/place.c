/* SPDX-License-Identifier: MIT */
/*
 * Where a window's picture is, how large, and what the guest is told of it.
 *
 * Sizes of windows come in the compositor's units, of which one may be more than a pixel: wp_fractional_scale_v1 says how many, or
 * else the monitor. The picture's place is computed in pixels and rounded to units at the end.
 *
 * Without viewports nothing can be scaled or cropped: pictures are as large as they are, in the middle, or at the upper left of a
 * window that is too small; one whose mode does not follow the window therefore asks to be no smaller.
 */
#include "wayland/wayland.h"

enum { SAME_RATE_MHZ = 200, MIN_RATE_MHZ = 1000, MAX_RATE_MHZ = 1000000 };

static int32_t to_pixels(const struct wayland_window *window, int32_t units)
{
	return (int32_t)(((int64_t)units * window->scale + WAYLAND_SCALE_ONE / 2) / WAYLAND_SCALE_ONE);
}

int32_t wayland_to_units(const struct wayland_window *window, int64_t pixels)
{
	return (int32_t)((pixels * WAYLAND_SCALE_ONE + window->scale / 2) / window->scale);
}

static uint32_t at_least_one(int32_t size)
{
	return size > 0 ? (uint32_t)size : 1;
}

/* ---- the picture ---- */

static void place_scaled(struct wayland_window *window, uint32_t picture_width, uint32_t picture_height, uint32_t width,
                         uint32_t height)
{
	enum vtr_scaling scaling = window->integer_scaling ? VTR_SCALING_INTEGER : VTR_SCALING_FIT;
	struct vtr_placement *placement = &window->placement;

	*placement = vtr_placement_of(picture_width, picture_height, width, height, scaling);
	wp_viewport_set_destination(window->content_viewport,
	                            (int32_t)at_least_one(wayland_to_units(window, (int64_t)placement->width)),
	                            (int32_t)at_least_one(wayland_to_units(window, (int64_t)placement->height)));
}

static int32_t middle(uint32_t outer, uint32_t inner)
{
	return outer > inner ? (int32_t)((outer - inner) / 2) : 0;
}

static void place_unscaled(struct wayland_window *window, uint32_t picture_width, uint32_t picture_height, uint32_t width,
                           uint32_t height)
{
	window->placement = (struct vtr_placement){ .x = middle(width, picture_width),
		                                    .y = middle(height, picture_height),
		                                    .width = picture_width,
		                                    .height = picture_height,
		                                    .picture_width = picture_width,
		                                    .picture_height = picture_height };
	if (vtr_output_fixed(window->output))
		xdg_toplevel_set_min_size(window->toplevel, (int32_t)picture_width, (int32_t)picture_height);
}

static void place_content(struct wayland_window *window)
{
	struct vtr_mode mode = vtr_output_mode(window->output);
	bool picture = window->picture_width;
	uint32_t picture_width = picture ? window->picture_width : mode.width;
	uint32_t picture_height = picture ? window->picture_height : mode.height;
	uint32_t width = at_least_one(to_pixels(window, window->width)), height = at_least_one(to_pixels(window, window->height));

	if (window->content_viewport)
		place_scaled(window, picture_width, picture_height, width, height);
	else
		place_unscaled(window, picture_width, picture_height, width, height);
	wl_subsurface_set_position(window->subsurface, wayland_to_units(window, window->placement.x),
	                           wayland_to_units(window, window->placement.y));
}

/* ---- what is around it ---- */

/* One pixel, or as many as the window has where that cannot be made larger. *old: no longer used when the commit is done. */
static struct wl_buffer *black_buffer(struct wayland_window *window, struct wl_buffer **old)
{
	*old = NULL;
	if (window->background_viewport)
		return window->display->black;
	if (window->bars && window->bars_size[0] == window->width && window->bars_size[1] == window->height)
		return window->bars;
	struct wl_buffer *bars = wayland_shm_black(window->display, at_least_one(window->width), at_least_one(window->height));
	if (!bars)
		return window->bars ? window->bars : window->display->black;
	*old = window->bars;
	window->bars = bars;
	window->bars_size[0] = window->width;
	window->bars_size[1] = window->height;
	return bars;
}

static void commit_background(struct wayland_window *window)
{
	struct wl_buffer *old;

	wl_surface_attach(window->background, black_buffer(window, &old), 0, 0);
	if (window->background_viewport)
		wp_viewport_set_destination(window->background_viewport, window->width, window->height);
	wl_surface_damage_buffer(window->background, 0, 0, INT32_MAX, INT32_MAX);
	wl_surface_commit(window->background);
	if (old)
		wl_buffer_destroy(old);
}

void wayland_window_place(struct wayland_window *window)
{
	if (!window->configured)
		return;
	place_content(window);
	commit_background(window);
	wayland_overlay_update(window);
}

void wayland_window_resized(struct wayland_window *window)
{
	wayland_window_place(window);
	if (window->picture_width)
		wl_surface_commit(window->content); /* the viewport's new size: the next picture may be long in coming */
}

/* ---- the guest's monitor ---- */

void wayland_window_request_mode(struct wayland_window *window)
{
	struct vtr_mode mode = { at_least_one(to_pixels(window, window->width)), at_least_one(to_pixels(window, window->height)),
		                 window->refresh_mhz };

	if (window->configured)
		vtr_output_request_mode(window->output, &mode);
}

void wayland_window_set_scale(struct wayland_window *window, uint32_t scale)
{
	if (!scale || scale == window->scale)
		return;
	window->scale = scale;
	wayland_window_resized(window);
	wayland_window_request_mode(window);
}

void wayland_window_note_refresh(struct wayland_window *window, uint64_t refresh_mhz)
{
	uint32_t known = window->refresh_mhz ? window->refresh_mhz : vtr_output_mode(window->output).refresh_mhz;

	if (refresh_mhz < MIN_RATE_MHZ || refresh_mhz > MAX_RATE_MHZ)
		return;
	if (refresh_mhz + SAME_RATE_MHZ >= known && refresh_mhz <= (uint64_t)known + SAME_RATE_MHZ)
		return; /* what is measured is never exact */
	window->refresh_mhz = (uint32_t)refresh_mhz;
	wayland_window_request_mode(window);
}

/* ---- the pointer ---- */

void wayland_window_to_picture(const struct wayland_window *window, struct wl_surface *surface, double x, double y,
                               uint32_t *picture_x, uint32_t *picture_y)
{
	double scale = (double)window->scale / WAYLAND_SCALE_ONE;
	bool content = surface == window->content;

	vtr_placement_to_picture(&window->placement, x * scale + (content ? window->placement.x : 0),
	                         y * scale + (content ? window->placement.y : 0), picture_x, picture_y);
}
