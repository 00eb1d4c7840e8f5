/* SPDX-License-Identifier: MIT */
/*
 * One window: a black surface that the compositor sizes, and the picture on a subsurface in its middle, scaled by the compositor
 * (wp_viewport), so that the guest's buffers are handed over as they are. The subsurface is desynchronised: frames are committed by
 * themselves, and the black surface only when its size changes. place.c says where the picture is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wayland/wayland.h"

/* ---- what the compositor asks for ---- */

static void preferred_scale(void *data, struct wp_fractional_scale_v1 *object, uint32_t scale)
{
	wayland_window_set_scale(data, scale);
}

static const struct wp_fractional_scale_v1_listener scale_listener = { .preferred_scale = preferred_scale };

/* Of the compositor's asking, or ours. */
static void resize(struct wayland_window *window)
{
	xdg_surface_set_window_geometry(window->xdg_surface, 0, 0, window->width, window->height);
	wayland_window_resized(window);
	wayland_window_request_mode(window);
}

static void surface_configure(void *data, struct xdg_surface *xdg_surface, uint32_t serial)
{
	struct wayland_window *window = data;
	struct vtr_mode mode = vtr_output_mode(window->output);

	xdg_surface_ack_configure(xdg_surface, serial);
	window->width = window->asked[0] > 0 ? window->asked[0] : window->width;
	window->height = window->asked[1] > 0 ? window->asked[1] : window->height;
	if (window->width <= 0 || window->height <= 0) {
		window->width = wayland_to_units(window, mode.width);
		window->height = wayland_to_units(window, mode.height);
	}
	window->configured = true;
	resize(window);
	wayland_show(window);
}

static const struct xdg_surface_listener surface_listener = { .configure = surface_configure };

/* Each of these says how large the window is. */
static bool holds(uint32_t state)
{
	return state == XDG_TOPLEVEL_STATE_FULLSCREEN || state == XDG_TOPLEVEL_STATE_MAXIMIZED ||
	       (state >= XDG_TOPLEVEL_STATE_TILED_LEFT && state <= XDG_TOPLEVEL_STATE_TILED_BOTTOM);
}

static void toplevel_configure(void *data, struct xdg_toplevel *toplevel, int32_t width, int32_t height, struct wl_array *states)
{
	struct wayland_window *window = data;
	const uint32_t *state;

	window->asked[0] = width;
	window->asked[1] = height;
	window->fullscreen = window->held = false;
	wl_array_for_each(state, states)
	{
		window->fullscreen |= *state == XDG_TOPLEVEL_STATE_FULLSCREEN;
		window->held |= holds(*state);
	}
}

static void toplevel_close(void *data, struct xdg_toplevel *toplevel)
{
	struct wayland_window *window = data;
	const struct vtr_window_options *options = &window->display->options;

	if (options->closed)
		options->closed(window->number, options->data);
}

static void configure_bounds(void *data, struct xdg_toplevel *toplevel, int32_t width, int32_t height)
{
	struct wayland_window *window = data;

	window->bounds[0] = width;
	window->bounds[1] = height;
}

static void wm_capabilities(void *data, struct xdg_toplevel *toplevel, struct wl_array *capabilities)
{
}

static const struct xdg_toplevel_listener toplevel_listener = {
	.configure = toplevel_configure,
	.close = toplevel_close,
	.configure_bounds = configure_bounds,
	.wm_capabilities = wm_capabilities,
};

static void surface_enter(void *data, struct wl_surface *surface, struct wl_output *wl_output)
{
	wayland_monitor_entered(data, wl_output);
}

static void surface_leave(void *data, struct wl_surface *surface, struct wl_output *wl_output)
{
	wayland_monitor_left(data, wl_output);
}

static const struct wl_surface_listener background_listener = { .enter = surface_enter, .leave = surface_leave };

/* What was refused may be taken now, and what is shown may have to come in another way. */
static void formats_changed(void *data)
{
	struct wayland_window *window = data;

	window->presentation = WAYLAND_UNKNOWN; /* and why, if it is drawn */
	wayland_update_demand(window, true);
}

/* ---- the window as a person sees it ---- */

void wayland_window_set_title(struct wayland_window *window)
{
	char title[sizeof(window->title)];

	snprintf(title, sizeof(title), "%s - %s (%s%s)%s", window->display->options.guest, vtr_output_name(window->output),
	         window->picture_width ? vtr_path_name(window->path) : "no signal",
	         window->picture_width && vtr_output_frozen(window->output) ? ", frozen" : "",
	         window->grabbed ? " - Ctrl+Alt+G lets keyboard and pointer go" : "");
	if (!strcmp(title, window->title))
		return;
	memcpy(window->title, title, sizeof(title));
	xdg_toplevel_set_title(window->toplevel, title);
}

void wayland_window_set_fullscreen(struct wayland_window *window, bool fullscreen)
{
	if (fullscreen)
		xdg_toplevel_set_fullscreen(window->toplevel, NULL);
	else
		xdg_toplevel_unset_fullscreen(window->toplevel);
}

/* A pixel of the guest is one of the monitor, unless there is no room for that. */
void wayland_window_fit(struct wayland_window *window)
{
	struct vtr_mode mode = vtr_output_mode(window->output);
	double width = window->picture_width ? window->picture_width : mode.width;
	double height = window->picture_height ? window->picture_height : mode.height;
	double units = (double)WAYLAND_SCALE_ONE / window->scale, shrink = 1;

	if (!window->configured || window->held)
		return;
	if (window->bounds[0] > 0 && width * units > window->bounds[0])
		shrink = window->bounds[0] / (width * units);
	if (window->bounds[1] > 0 && height * units * shrink > window->bounds[1])
		shrink = window->bounds[1] / (height * units);
	window->width = wayland_to_units(window, (int64_t)(width * shrink));
	window->height = wayland_to_units(window, (int64_t)(height * shrink));
	resize(window);
}

/* ---- opening and closing ---- */

static void idle(void *data)
{
	wayland_imports_clear(data, false);
}

static void create_surfaces(struct wayland_window *window)
{
	struct wayland_display *display = window->display;

	window->background = wl_compositor_create_surface(display->compositor);
	wl_surface_add_listener(window->background, &background_listener, window);
	window->content = wl_compositor_create_surface(display->compositor);
	window->subsurface = wl_subcompositor_get_subsurface(display->subcompositor, window->content, window->background);
	wl_subsurface_set_desync(window->subsurface);
	if (display->viewporter) {
		window->background_viewport = wp_viewporter_get_viewport(display->viewporter, window->background);
		window->content_viewport = wp_viewporter_get_viewport(display->viewporter, window->content);
	}
	if (display->fractional_scale && display->viewporter) {
		window->fractional_scale =
			wp_fractional_scale_manager_v1_get_fractional_scale(display->fractional_scale, window->background);
		wp_fractional_scale_v1_add_listener(window->fractional_scale, &scale_listener, window);
	}
	if (display->tearing && display->options.tearing) {
		window->tearing = wp_tearing_control_manager_v1_get_tearing_control(display->tearing, window->content);
		wp_tearing_control_v1_set_presentation_hint(window->tearing, WP_TEARING_CONTROL_V1_PRESENTATION_HINT_ASYNC);
	}
	if (display->dmabuf)
		wayland_formats_listen_surface(&display->surface_formats[window->number], display->dmabuf, window->content,
		                               formats_changed, window);
}

static void create_toplevel(struct wayland_window *window)
{
	struct wayland_display *display = window->display;

	window->xdg_surface = xdg_wm_base_get_xdg_surface(display->wm_base, window->background);
	xdg_surface_add_listener(window->xdg_surface, &surface_listener, window);
	window->toplevel = xdg_surface_get_toplevel(window->xdg_surface);
	xdg_toplevel_add_listener(window->toplevel, &toplevel_listener, window);
	xdg_toplevel_set_app_id(window->toplevel, "vitrine");
	if (display->options.fullscreen)
		xdg_toplevel_set_fullscreen(window->toplevel, wayland_monitor_number(display, window->number));
	if (display->decoration) {
		window->decoration = zxdg_decoration_manager_v1_get_toplevel_decoration(display->decoration, window->toplevel);
		zxdg_toplevel_decoration_v1_set_mode(window->decoration, ZXDG_TOPLEVEL_DECORATION_V1_MODE_SERVER_SIDE);
	}
	wayland_window_set_title(window);
	wl_surface_commit(window->background);
}

int wayland_window_open(struct wayland_display *display, struct vtr_output *output)
{
	struct wayland_window *window = calloc(1, sizeof(*window));

	if (!window)
		return -ENOMEM;
	*window = (struct wayland_window){
		.display = display,
		.output = output,
		.number = vtr_output_number(output),
		.scale = WAYLAND_SCALE_ONE,
		.integer_scaling = display->options.integer_scaling,
		.idle = vtr_loop_add_timer(display->base.loop, idle, window),
	};
	vtr_capture_set_init(&window->captures, output);
	if (!window->idle) {
		free(window);
		return -ENOMEM;
	}
	create_surfaces(window);
	create_toplevel(window);
	display->windows[window->number] = window;
	vtr_output_set_user(output, window);
	vtr_output_get_cursor(output, &window->cursor);
	vtr_output_set_demand(output, display->formats.known ? VTR_DEMAND_DMABUF : VTR_DEMAND_PIXELS);
	return 0;
}

static void destroy_extras(struct wayland_window *window)
{
	if (window->inhibitor)
		zwp_keyboard_shortcuts_inhibitor_v1_destroy(window->inhibitor);
	if (window->tearing)
		wp_tearing_control_v1_destroy(window->tearing);
	if (window->fractional_scale)
		wp_fractional_scale_v1_destroy(window->fractional_scale);
	if (window->decoration)
		zxdg_toplevel_decoration_v1_destroy(window->decoration);
	if (window->content_viewport)
		wp_viewport_destroy(window->content_viewport);
	if (window->background_viewport)
		wp_viewport_destroy(window->background_viewport);
}

void wayland_window_close(struct wayland_window *window)
{
	wayland_seat_forget(window->display, window);
	wayland_frames_release(window);
	wayland_formats_forget(&window->display->surface_formats[window->number]);
	wayland_overlay_finish(window);
	destroy_extras(window);
	wl_subsurface_destroy(window->subsurface);
	xdg_toplevel_destroy(window->toplevel);
	xdg_surface_destroy(window->xdg_surface);
	wl_surface_destroy(window->content);
	wl_surface_destroy(window->background);
	if (window->bars)
		wl_buffer_destroy(window->bars);
	vtr_source_remove(window->idle);
	window->display->windows[window->number] = NULL;
	vtr_output_set_user(window->output, NULL);
	free(window);
}

struct wayland_window *wayland_window_of(struct wayland_display *display, struct wl_surface *surface)
{
	for (size_t i = 0; i < VTR_MAX_SCANOUTS; i++)
		if (display->windows[i] && surface &&
		    (display->windows[i]->background == surface || display->windows[i]->content == surface))
			return display->windows[i];
	return NULL;
}
