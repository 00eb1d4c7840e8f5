/* SPDX-License-Identifier: MIT */
#include "mock_compositor.h"

#include <drm_fourcc.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fractional-scale-v1-server-protocol.h"
#include "linux-dmabuf-unstable-v1-server-protocol.h"
#include "presentation-time-server-protocol.h"
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
	struct wl_resource **single[] = { &mock->toplevel,        &mock->xdg_surface,      &mock->content,  &mock->content_viewport,
		                          &mock->dmabuf_feedback, &mock->fractional_scale, &mock->attached, &mock->current };

	for (size_t i = 0; i < G_N_ELEMENTS(single); i++)
		if (*single[i] == resource)
			*single[i] = NULL;
	forget(resource, mock->asked_callbacks, &mock->n_asked_callbacks);
	forget(resource, mock->callbacks, &mock->n_callbacks);
	forget(resource, mock->feedbacks, &mock->n_feedbacks);
	forget(resource, mock->held, &mock->n_held);
}

static int dispatch(const void *data, void *target, uint32_t opcode, const struct wl_message *message,
                    union wl_argument *arguments);

static struct wl_resource *make(struct mock *mock, const struct wl_interface *interface, int version, uint32_t id)
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
			return make(mock, message->types[i], wl_resource_get_version(parent), arguments[i].n);
		i += strchr("iufsoah", *type) != NULL;
	}
	return NULL;
}

/* ---- linux-dmabuf ---- */

static void answer(struct mock *mock, const struct mock_params *params)
{
	if (mock->fail) {
		zwp_linux_buffer_params_v1_send_failed(params->resource);
		return;
	}
	struct wl_resource *buffer = make(mock, &wl_buffer_interface, 1, 0);
	zwp_linux_buffer_params_v1_send_created(params->resource, buffer);
	mock->current_params = *params;
}

void mock_answer(struct mock *mock)
{
	for (size_t i = 0; i < mock->n_asked; i++)
		answer(mock, &mock->asked[i]);
	mock->n_asked = 0;
}

static void params_request(struct mock *mock, struct wl_resource *resource, const char *name, const union wl_argument *arguments)
{
	struct mock_params *params = &mock->asked[mock->n_asked];

	g_assert_cmpuint(mock->n_asked, <, MOCK_MAX);
	if (!strcmp(name, "add")) {
		*params = (struct mock_params){ .resource = resource, .offset = arguments[2].u, .stride = arguments[3].u };
		close(arguments[0].h);
	} else if (!strcmp(name, "create")) {
		params->width = arguments[0].i;
		params->height = arguments[1].i;
		params->format = arguments[2].u;
		mock->n_asked++;
		mock->n_params++;
		if (!mock->hold_answers)
			mock_answer(mock);
	} else {
		g_assert_cmpstr(name, ==, "destroy"); /* create_immed may end the connection */
	}
}

void mock_send_formats(struct mock *mock, const struct mock_format *table, size_t n, uint32_t listed, size_t missing)
{
	struct wl_array indices;
	uint32_t size = (uint32_t)(n * sizeof(*table));

	if (table) {
		int fd = memfd_create("formats", MFD_CLOEXEC);

		g_assert_cmpint(write(fd, table, size - missing), ==, (ssize_t)(size - missing));
		zwp_linux_dmabuf_feedback_v1_send_format_table(mock->dmabuf_feedback, fd, size);
		close(fd);
	}
	wl_array_init(&indices);
	for (uint16_t i = 0; i < 32; i++)
		if (listed & 1u << i)
			*(uint16_t *)wl_array_add(&indices, sizeof(uint16_t)) = i;
	zwp_linux_dmabuf_feedback_v1_send_tranche_formats(mock->dmabuf_feedback, &indices);
	zwp_linux_dmabuf_feedback_v1_send_tranche_flags(mock->dmabuf_feedback, 0);
	zwp_linux_dmabuf_feedback_v1_send_tranche_done(mock->dmabuf_feedback);
	zwp_linux_dmabuf_feedback_v1_send_done(mock->dmabuf_feedback);
	wl_array_release(&indices);
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
	if (mock->current && mock->current != mock->attached)
		keep(mock->current, mock->held, &mock->n_held);
	mock->current = mock->attached;
	mock->attach = false;
	if (!mock->hold_releases)
		mock_release_held(mock);
}

static void commit(struct mock *mock)
{
	mock->commits += mock->attach || mock->damaged;
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
	if (content && !strcmp(name, "damage_buffer"))
		add_damage(mock, arguments);
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

/* ---- requests ---- */

static void made_by(struct mock *mock, const char *name, struct wl_resource *made, const union wl_argument *arguments)
{
	if (!strcmp(name, "get_subsurface"))
		mock->content = (struct wl_resource *)arguments[1].o;
	else if (!strcmp(name, "get_viewport") && (struct wl_resource *)arguments[1].o == mock->content)
		mock->content_viewport = made;
	else if (!strcmp(name, "get_xdg_surface"))
		mock->xdg_surface = made;
	else if (!strcmp(name, "get_toplevel"))
		mock->toplevel = made;
	else if (!strcmp(name, "feedback"))
		keep(made, mock->feedbacks, &mock->n_feedbacks);
	else if (!strcmp(name, "get_default_feedback"))
		mock->dmabuf_feedback = made;
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
		params_request(mock, resource, name, arguments);
	else if (!strcmp(class, "wl_surface"))
		surface_request(mock, resource, name, arguments, made);
	else if (!strcmp(class, "wp_viewport") && resource == mock->content_viewport)
		viewport_request(mock, name, arguments);
	else if (!strcmp(class, "wl_subsurface") && !strcmp(name, "set_position"))
		memcpy(mock->position, (int32_t[]){ arguments[0].i, arguments[1].i }, sizeof(mock->position));
	else if (!strcmp(name, "set_title"))
		g_strlcpy(mock->title, arguments[0].s, sizeof(mock->title));
	if (!strcmp(name, "get_toplevel"))
		configure(mock);
	if (!strcmp(name, "destroy") || !strcmp(name, "release"))
		wl_resource_destroy(resource);
	return 0;
}

/* ---- globals ---- */

static void bind(struct wl_client *client, void *data, uint32_t version, uint32_t id)
{
	const struct mock_global *global = data;

	global->mock->client = client;
	struct wl_resource *resource = make(global->mock, global->interface, (int)version, id);
	if (global->interface == &wp_presentation_interface)
		wp_presentation_send_clock_id(resource, 1);
	if (global->interface == &zwp_linux_dmabuf_v1_interface && version == 3) {
		zwp_linux_dmabuf_v1_send_modifier(resource, DRM_FORMAT_XRGB8888, 0, DRM_FORMAT_MOD_LINEAR);
		zwp_linux_dmabuf_v1_send_modifier(resource, DRM_FORMAT_ARGB8888, 0, DRM_FORMAT_MOD_LINEAR);
	}
}

/* version 0: not offered */
static void offer(struct mock *mock, const struct wl_interface *interface, int version)
{
	struct mock_global *global = &mock->globals[mock->n_globals];

	if (!version)
		return;
	mock->n_globals++;
	*global = (struct mock_global){ mock, interface };
	wl_global_create(mock->display, interface, version, global, bind);
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
}

void mock_finish(struct mock *mock)
{
	wl_display_destroy_clients(mock->display);
	wl_display_destroy(mock->display);
	g_free(mock->pixels);
}

void mock_dispatch(struct mock *mock, int milliseconds)
{
	wl_event_loop_dispatch(wl_display_get_event_loop(mock->display), milliseconds);
	if (!mock->hold_feedbacks)
		mock_feedback(mock, 0, 0);
	wl_display_flush_clients(mock->display);
}
