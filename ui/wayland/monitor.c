/* SPDX-License-Identifier: MIT */
/*
 * The compositor's outputs (wl_output), here called monitors, because outputs are ours: which one a window is to fill, and what the
 * one that it is on tells of refresh rate and scale.
 */
#include "wayland/wayland.h"

#include <stdlib.h>

enum { MONITOR_VERSION = 3 }; /* newer ones bring names, which are not used */

/* What a window is told by the monitor that it came to last. */
static void follow(struct wayland_window *window)
{
	const struct wayland_monitor *monitor = window->n_monitors ? window->monitors[window->n_monitors - 1] : NULL;

	if (!monitor)
		return;
	wayland_window_note_refresh(window, monitor->refresh_mhz);
	if (!window->fractional_scale && window->content_viewport) /* which takes pixels to units */
		wayland_window_set_scale(window, (uint32_t)monitor->scale * WAYLAND_SCALE_ONE);
}

static void forget(struct wayland_window *window, const struct wayland_monitor *monitor)
{
	size_t kept = 0;

	for (size_t i = 0; i < window->n_monitors; i++)
		if (window->monitors[i] != monitor)
			window->monitors[kept++] = window->monitors[i];
	window->n_monitors = kept;
}

static struct wayland_monitor *monitor_of(const struct wayland_display *display, const struct wl_output *wl_output)
{
	for (struct wayland_monitor *monitor = display->monitors; monitor; monitor = monitor->next)
		if (monitor->wl_output == wl_output)
			return monitor;
	return NULL;
}

void wayland_monitor_entered(struct wayland_window *window, struct wl_output *wl_output)
{
	struct wayland_monitor *monitor = monitor_of(window->display, wl_output);

	if (!monitor)
		return;
	forget(window, monitor);
	if (window->n_monitors == WAYLAND_MAX_MONITORS)
		forget(window, window->monitors[0]);
	window->monitors[window->n_monitors++] = monitor;
	follow(window);
}

void wayland_monitor_left(struct wayland_window *window, struct wl_output *wl_output)
{
	forget(window, monitor_of(window->display, wl_output));
	follow(window);
}

/* ---- what a monitor tells ---- */

static void geometry(void *data, struct wl_output *wl_output, int32_t x, int32_t y, int32_t width_mm, int32_t height_mm,
                     int32_t subpixel, const char *make, const char *model, int32_t transform)
{
}

static void mode(void *data, struct wl_output *wl_output, uint32_t flags, int32_t width, int32_t height, int32_t refresh_mhz)
{
	struct wayland_monitor *monitor = data;

	if (flags & WL_OUTPUT_MODE_CURRENT)
		monitor->refresh_mhz = refresh_mhz > 0 ? (uint32_t)refresh_mhz : 0;
}

static void scale(void *data, struct wl_output *wl_output, int32_t factor)
{
	((struct wayland_monitor *)data)->scale = factor > 0 && factor <= 16 ? factor : 1;
}

static void done(void *data, struct wl_output *wl_output)
{
	struct wayland_monitor *monitor = data;

	for (size_t i = 0; i < VTR_MAX_SCANOUTS; i++) {
		struct wayland_window *window = monitor->display->windows[i];

		if (window && window->n_monitors && window->monitors[window->n_monitors - 1] == monitor)
			follow(window);
	}
}

static const struct wl_output_listener listener = { .geometry = geometry, .mode = mode, .scale = scale, .done = done };

/* ---- coming and going ---- */

void wayland_monitor_add(struct wayland_display *display, uint32_t name, uint32_t version)
{
	struct wayland_monitor *monitor = calloc(1, sizeof(*monitor)), **link = &display->monitors;

	if (!monitor)
		return;
	*monitor = (struct wayland_monitor){
		.display = display,
		.wl_output = wl_registry_bind(display->registry, name, &wl_output_interface,
		                              version < MONITOR_VERSION ? version : MONITOR_VERSION),
		.name = name,
		.scale = 1,
	};
	wl_output_add_listener(monitor->wl_output, &listener, monitor);
	while (*link)
		link = &(*link)->next;
	*link = monitor;
}

static void destroy(struct wayland_monitor *monitor)
{
	if (wl_output_get_version(monitor->wl_output) >= WL_OUTPUT_RELEASE_SINCE_VERSION)
		wl_output_release(monitor->wl_output);
	else
		wl_output_destroy(monitor->wl_output);
	free(monitor);
}

void wayland_monitor_removed(struct wayland_display *display, uint32_t name)
{
	for (struct wayland_monitor **link = &display->monitors, *monitor; (monitor = *link); link = &monitor->next) {
		if (monitor->name != name)
			continue;
		for (size_t i = 0; i < VTR_MAX_SCANOUTS; i++)
			if (display->windows[i])
				forget(display->windows[i], monitor);
		*link = monitor->next;
		destroy(monitor);
		return;
	}
}

void wayland_monitors_finish(struct wayland_display *display)
{
	while (display->monitors)
		wayland_monitor_removed(display, display->monitors->name);
}

struct wl_output *wayland_monitor_number(const struct wayland_display *display, unsigned number)
{
	const struct wayland_monitor *monitor = display->monitors;
	unsigned count = 0;

	for (const struct wayland_monitor *one = monitor; one; one = one->next)
		count++;
	for (unsigned i = 0; count && i < number % count; i++)
		monitor = monitor->next;
	return monitor ? monitor->wl_output : NULL;
}
