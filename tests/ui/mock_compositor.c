/* SPDX-License-Identifier: MIT */
#include "mock_compositor.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "fractional-scale-v1-server-protocol.h"
#include "linux-dmabuf-v1-server-protocol.h"
#include "linux-drm-syncobj-v1-server-protocol.h"
#include "presentation-time-server-protocol.h"
#include "single-pixel-buffer-v1-server-protocol.h"
#include "tearing-control-v1-server-protocol.h"
#include "viewporter-server-protocol.h"
#include "xdg-shell-server-protocol.h"

/* ---- objects ---- */

static void forget(struct wl_resource *resource, struct wl_resource **list, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		if (list[i] == resource)
			list[i--] = list[--*count];
}

static void destroyed(struct wl_resource *resource)
{
	struct mock *mock = wl_resource_get_user_data(resource);
	struct wl_resource **single[] = { &mock->toplevel,         &mock->xdg_surface,
		                          &mock->content,          &mock->content_viewport,
		                          &mock->all.feedback,     &mock->surface.feedback,
		                          &mock->fractional_scale, &mock->sync,
		                          &mock->background,       &mock->bars,
		                          &mock->attached,         &mock->current,
		                          &mock->overlay.surface,  &mock->overlay.subsurface,
		                          &mock->overlay.viewport, &mock->overlay.attached };

	for (size_t i = 0; i < G_N_ELEMENTS(single); i++)
		if (*single[i] == resource)
			*single[i] = NULL;
	for (size_t i = 0; i < MOCK_MONITORS; i++)
		if (mock->monitors[i] == resource)
			mock->monitors[i] = NULL;
	forget(resource, mock->asked_callbacks, &mock->n_asked_callbacks);
	forget(resource, mock->callbacks, &mock->n_callbacks);
	forget(resource, mock->feedbacks, &mock->n_feedbacks);
	forget(resource, mock->held, &mock->n_held);
	mock_sync_forget(mock, resource);
}

static int dispatch(const void *data, void *target, uint32_t opcode, const struct wl_message *message,
                    union wl_argument *arguments);

struct wl_resource *mock_make(struct mock *mock, const struct wl_interface *interface, int version, uint32_t id)
{
	struct wl_resource *resource = wl_resource_create(mock->client, interface, version, id);

	wl_resource_set_dispatcher(resource, dispatch, mock, mock, destroyed);
	return resource;
}

static struct wl_resource *make_argument(struct mock *mock, struct wl_resource *parent, const struct wl_message *message,
                                         const union wl_argument *arguments)
{
	int i = 0;

	for (const char *type = message->signature; *type; type++) {
		if (*type == 'n')
			return mock_make(mock, message->types[i], wl_resource_get_version(parent), arguments[i].n);
		i += strchr("iufsoah", *type) != NULL;
	}
	return NULL;
}

/* ---- surfaces ---- */

static void keep(struct wl_resource *resource, struct wl_resource **list, size_t *count)
{
	g_assert_cmpuint(*count, <, MOCK_MAX);
	list[(*count)++] = resource;
}

void mock_callbacks(struct mock *mock)
{
	while (mock->n_callbacks) {
		struct wl_resource *callback = mock->callbacks[0];

		wl_callback_send_done(callback, 0);
		wl_resource_destroy(callback);
	}
}

void mock_release_held(struct mock *mock)
{
	while (mock->n_held)
		wl_buffer_send_release(mock->held[--mock->n_held]);
	while (mock->n_points)
		mock_signal(mock, 0);
}

void mock_feedback(struct mock *mock, uint32_t refresh_ns, uint32_t flags)
{
	while (mock->n_feedbacks) {
		struct wl_resource *feedback = mock->feedbacks[0];

		wp_presentation_feedback_send_presented(feedback, 0, 1, 0, refresh_ns, 0, 0, flags);
		wl_resource_destroy(feedback);
	}
}

static uint32_t *copy_pixels(struct wl_shm_buffer *buffer)
{
	size_t size = (size_t)wl_shm_buffer_get_stride(buffer) * (size_t)wl_shm_buffer_get_height(buffer);

	wl_shm_buffer_begin_access(buffer);
	uint32_t *pixels = g_memdup2(wl_shm_buffer_get_data(buffer), size);
	wl_shm_buffer_end_access(buffer);
	return pixels;
}

static void take_buffer(struct mock *mock)
{
	struct wl_shm_buffer *shm = mock->attached ? wl_shm_buffer_get(mock->attached) : NULL;

	g_clear_pointer(&mock->pixels, g_free);
	if (shm) {
		mock->pixels = copy_pixels(shm);
		wl_buffer_send_release(mock->attached);
		mock->attached = NULL;
	}
	if (mock->current && mock->current != mock->attached && !mock->sync)
		keep(mock->current, mock->held, &mock->n_held);
	mock->current = mock->attached;
	mock->attach = false;
	if (!mock->hold_releases)
		mock_release_held(mock);
}

static void commit(struct mock *mock)
{
	mock->commits += mock->attach || mock->damaged;
	mock_sync_commit(mock);
	if (mock->attach)
		take_buffer(mock);
	/* those of a surface that is not mapped never come */
	for (size_t i = 0; i < mock->n_asked_callbacks && (mock->current || mock->pixels); i++)
		keep(mock->asked_callbacks[i], mock->callbacks, &mock->n_callbacks);
	mock->n_asked_callbacks = 0;
	if (mock->damaged)
		memcpy(mock->committed_damage, mock->damage, sizeof(mock->damage));
	mock->damaged = false;
}

static void add_damage(struct mock *mock, const union wl_argument *arguments)
{
	int32_t x1 = arguments[0].i, y1 = arguments[1].i, x2 = x1 + arguments[2].i, y2 = y1 + arguments[3].i;
	int32_t *damage = mock->damage;

	damage[0] = mock->damaged ? MIN(damage[0], x1) : x1;
	damage[1] = mock->damaged ? MIN(damage[1], y1) : y1;
	damage[2] = mock->damaged ? MAX(damage[2], x2) : x2;
	damage[3] = mock->damaged ? MAX(damage[3], y2) : y2;
	mock->damaged = true;
}

static void note_bars(struct mock *mock, struct wl_resource *buffer)
{
	struct wl_shm_buffer *shm = wl_shm_buffer_get(buffer);

	mock->bars = buffer;
	mock->bars_size[0] = shm ? wl_shm_buffer_get_width(shm) : 0;
	mock->bars_size[1] = shm ? wl_shm_buffer_get_height(shm) : 0;
	for (int32_t i = 0; shm && i < mock->bars_size[0] * mock->bars_size[1]; i++)
		g_assert_cmphex(((uint32_t *)wl_shm_buffer_get_data(shm))[i] & 0xffffff, ==, 0);
}

/* It is synchronised: what was committed counts with the parent's commit. */
static void show_overlay(struct mock_overlay *overlay)
{
	struct wl_shm_buffer *shm = overlay->attached ? wl_shm_buffer_get(overlay->attached) : NULL;

	if (overlay->shown == overlay->commits)
		return;
	overlay->shown = overlay->commits;
	g_clear_pointer(&overlay->pixels, g_free);
	if (!shm)
		return;
	g_assert_cmpuint(wl_shm_buffer_get_format(shm), ==, WL_SHM_FORMAT_ARGB8888);
	overlay->pixels = copy_pixels(shm);
	overlay->size[0] = wl_shm_buffer_get_width(shm);
	overlay->size[1] = wl_shm_buffer_get_height(shm);
	g_assert_cmpint(wl_shm_buffer_get_stride(shm), ==, overlay->size[0] * 4);
	memcpy(overlay->position, overlay->asked_position, sizeof(overlay->position));
	memcpy(overlay->destination, overlay->asked_destination, sizeof(overlay->destination));
}

static void overlay_request(struct mock_overlay *overlay, const char *name, const union wl_argument *arguments)
{
	if (!strcmp(name, "attach"))
		overlay->attached = (struct wl_resource *)arguments[0].o;
	else if (!strcmp(name, "commit"))
		overlay->commits++;
}

static void surface_request(struct mock *mock, struct wl_resource *resource, const char *name, const union wl_argument *arguments,
                            struct wl_resource *made)
{
	bool content = resource == mock->content;

	if (!strcmp(name, "frame") && content)
		keep(made, mock->asked_callbacks, &mock->n_asked_callbacks);
	else if (!strcmp(name, "frame"))
		keep(made, mock->callbacks, &mock->n_callbacks);
	if (content && !strcmp(name, "attach")) {
		mock->attached = (struct wl_resource *)arguments[0].o;
		mock->attach = true;
	}
	if (content && !strcmp(name, "set_buffer_transform"))
		mock->transform = arguments[0].i;
	if (content && !strcmp(name, "damage_buffer"))
		add_damage(mock, arguments);
	if (!strcmp(name, "attach") && resource == mock->background)
		note_bars(mock, (struct wl_resource *)arguments[0].o);
	if (resource == mock->overlay.surface)
		overlay_request(&mock->overlay, name, arguments);
	if (!strcmp(name, "commit") && resource == mock->background)
		show_overlay(&mock->overlay);
	if (!strcmp(name, "commit") && content)
		commit(mock);
	if (!strcmp(name, "commit") && !mock->hold_callbacks)
		mock_callbacks(mock);
}

static void configure(struct mock *mock)
{
	struct wl_array states;

	wl_array_init(&states);
	xdg_toplevel_send_configure(mock->toplevel, mock->options.width, mock->options.height, &states);
	xdg_surface_send_configure(mock->xdg_surface, 1);
}

static void toplevel_request(struct mock *mock, const char *name, const union wl_argument *arguments)
{
	if (!strcmp(name, "set_title"))
		g_strlcpy(mock->title, arguments[0].s, sizeof(mock->title));
	if (!strcmp(name, "set_min_size"))
		memcpy(mock->min_size, (int32_t[]){ arguments[0].i, arguments[1].i }, sizeof(mock->min_size));
	if (strcmp(name, "set_fullscreen") != 0)
		return;
	mock->fullscreen[mock->n_fullscreen] = -1;
	for (int i = 0; arguments[0].o && i < MOCK_MONITORS; i++)
		if (mock->monitors[i] == (struct wl_resource *)arguments[0].o)
			mock->fullscreen[mock->n_fullscreen] = i;
	mock->n_fullscreen++;
}

static void viewport_request(struct mock *mock, const char *name, const union wl_argument *arguments)
{
	if (!strcmp(name, "set_destination")) {
		mock->destination[0] = arguments[0].i;
		mock->destination[1] = arguments[1].i;
	} else if (!strcmp(name, "set_source")) {
		for (int i = 0; i < 4; i++)
			mock->source[i] = wl_fixed_to_double(arguments[i].f);
	}
}

static void subsurface_request(struct mock *mock, const struct wl_resource *resource, const union wl_argument *arguments)
{
	bool overlay = resource == mock->overlay.subsurface;

	memcpy(overlay ? mock->overlay.asked_position : mock->position, (int32_t[]){ arguments[0].i, arguments[1].i },
	       sizeof(mock->position));
}

/* ---- requests ---- */

static void made_by(struct mock *mock, const char *name, struct wl_resource *made, const union wl_argument *arguments)
{
	if (!strcmp(name, "get_subsurface") && mock->background && (struct wl_resource *)arguments[2].o == mock->background) {
		mock->overlay.surface = (struct wl_resource *)arguments[1].o;
		mock->overlay.subsurface = made;
	} else if (!strcmp(name, "get_subsurface"))
		mock->content = (struct wl_resource *)arguments[1].o;
	else if (!strcmp(name, "get_xdg_surface"))
		mock->background = (struct wl_resource *)arguments[1].o;
	if (!strcmp(name, "get_viewport") && (struct wl_resource *)arguments[1].o == mock->content)
		mock->content_viewport = made;
	else if (!strcmp(name, "get_viewport") && (struct wl_resource *)arguments[1].o == mock->overlay.surface)
		mock->overlay.viewport = made;
	else if (!strcmp(name, "get_xdg_surface"))
		mock->xdg_surface = made;
	else if (!strcmp(name, "get_toplevel"))
		mock->toplevel = made;
	else if (!strcmp(name, "get_keyboard"))
		mock->keyboard = made;
	else if (!strcmp(name, "feedback"))
		keep(made, mock->feedbacks, &mock->n_feedbacks);
	else if (!strcmp(name, "get_default_feedback"))
		mock_tell_formats(&mock->all, made);
	else if (!strcmp(name, "get_surface_feedback") && (struct wl_resource *)arguments[1].o == mock->content)
		mock->surface.feedback = made;
	else if (!strcmp(name, "get_fractional_scale"))
		wp_fractional_scale_v1_send_preferred_scale(mock->fractional_scale = made, mock->options.scale);
}

static int dispatch(const void *data, void *target, uint32_t opcode, const struct wl_message *message, union wl_argument *arguments)
{
	struct wl_resource *resource = target;
	struct mock *mock = (struct mock *)data;
	const char *class = wl_resource_get_class(resource), *name = message->name;
	struct wl_resource *made = make_argument(mock, resource, message, arguments);

	if (made)
		made_by(mock, name, made, arguments);
	if (!strcmp(class, "zwp_linux_buffer_params_v1"))
		mock_params_request(mock, resource, name, arguments);
	else if (!strncmp(class, "wp_linux_drm_syncobj_", 21))
		mock_sync_request(mock, resource, name, arguments, made);
	else if (!strcmp(class, "xdg_toplevel"))
		toplevel_request(mock, name, arguments);
	else if (!strcmp(class, "wl_surface"))
		surface_request(mock, resource, name, arguments, made);
	else if (!strcmp(class, "wp_viewport") && resource == mock->content_viewport)
		viewport_request(mock, name, arguments);
	else if (!strcmp(class, "wp_viewport") && resource == mock->overlay.viewport && !strcmp(name, "set_destination"))
		memcpy(mock->overlay.asked_destination, (int32_t[]){ arguments[0].i, arguments[1].i },
		       sizeof(mock->overlay.asked_destination));
	else if (!strcmp(class, "wl_subsurface") && !strcmp(name, "set_position"))
		subsurface_request(mock, resource, arguments);
	else if (!strcmp(name, "set_window_geometry"))
		memcpy(mock->geometry, (int32_t[]){ arguments[2].i, arguments[3].i }, sizeof(mock->geometry));
	else if (!strcmp(name, "set_presentation_hint"))
		mock->presentation_hint = arguments[0].u;
	if (!strcmp(name, "get_toplevel"))
		configure(mock);
	if (!strcmp(name, "destroy") || !strcmp(name, "release"))
		wl_resource_destroy(resource);
	return 0;
}

/* ---- globals ---- */

static void tell_monitor(struct mock *mock, struct wl_resource *resource, size_t number)
{
	const struct mock_monitor *monitor = &mock->options.monitors[number];

	mock->monitors[number] = resource;
	wl_output_send_geometry(resource, 0, 0, 600, 340, WL_OUTPUT_SUBPIXEL_UNKNOWN, "vitrine", "mock",
	                        WL_OUTPUT_TRANSFORM_NORMAL);
	wl_output_send_mode(resource, 0, 640, 480, 50000); /* one that it has, and has not set */
	wl_output_send_mode(resource, WL_OUTPUT_MODE_CURRENT, 1920, 1080, monitor->refresh_mhz);
	wl_output_send_scale(resource, monitor->scale);
	wl_output_send_done(resource);
}

static void bind(struct wl_client *client, void *data, uint32_t version, uint32_t id)
{
	const struct mock_global *global = data;

	global->mock->client = client;
	struct wl_resource *resource = mock_make(global->mock, global->interface, (int)version, id);
	if (global->interface == &wp_presentation_interface)
		wp_presentation_send_clock_id(resource, 1);
	if (global->interface == &zwp_linux_dmabuf_v1_interface)
		mock_dmabuf_bound(resource);
	if (global->interface == &wl_seat_interface)
		wl_seat_send_capabilities(resource, WL_SEAT_CAPABILITY_KEYBOARD);
	if (global->interface == &wl_output_interface)
		tell_monitor(global->mock, resource, global->number);
}

/* version 0: not offered */
static struct mock_global *offer(struct mock *mock, const struct wl_interface *interface, int version)
{
	struct mock_global *global = &mock->globals[mock->n_globals];

	if (!version)
		return NULL;
	mock->n_globals++;
	g_assert_cmpuint(mock->n_globals, <=, G_N_ELEMENTS(mock->globals));
	*global = (struct mock_global){ .mock = mock, .interface = interface };
	global->global = wl_global_create(mock->display, interface, version, global, bind);
	return global;
}

void mock_start(struct mock *mock, const struct mock_options *options)
{
	struct wl_display *display = wl_display_create();

	*mock = (struct mock){ .options = *options, .display = display };
	snprintf(mock->socket, sizeof(mock->socket), "%s", wl_display_add_socket_auto(display));
	wl_display_init_shm(display);
	offer(mock, &wl_compositor_interface, 4);
	offer(mock, &wl_subcompositor_interface, 1);
	offer(mock, &xdg_wm_base_interface, 3);
	offer(mock, &wp_presentation_interface, 1);
	offer(mock, &zwp_linux_dmabuf_v1_interface, options->dmabuf_version);
	offer(mock, &wp_viewporter_interface, options->no_viewporter ? 0 : 1);
	offer(mock, &wp_fractional_scale_manager_v1_interface, options->scale ? 1 : 0);
	offer(mock, &wp_single_pixel_buffer_manager_v1_interface, options->single_pixel);
	offer(mock, &wp_tearing_control_manager_v1_interface, options->tearing);
	offer(mock, &wp_linux_drm_syncobj_manager_v1_interface, options->syncobj);
	offer(mock, &wl_seat_interface, options->keyboard ? 5 : 0);
	for (size_t i = 0; i < options->n_monitors; i++)
		offer(mock, &wl_output_interface, 3)->number = i;
}

void mock_pull_monitor(struct mock *mock, size_t number)
{
	for (size_t i = 0; i < mock->n_globals; i++)
		if (mock->globals[i].interface == &wl_output_interface && mock->globals[i].number == number)
			wl_global_remove(mock->globals[i].global);
}

void mock_finish(struct mock *mock)
{
	wl_display_destroy_clients(mock->display);
	wl_display_destroy(mock->display);
	g_free(mock->pixels);
	g_free(mock->overlay.pixels);
}

void mock_dispatch(struct mock *mock, int milliseconds)
{
	wl_event_loop_dispatch(wl_display_get_event_loop(mock->display), milliseconds);
	if (!mock->hold_feedbacks)
		mock_feedback(mock, 0, 0);
	wl_display_flush_clients(mock->display);
}
