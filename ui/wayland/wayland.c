/* SPDX-License-Identifier: MIT */
/*
 * A client of a Wayland compositor: the guest's dmabufs become the compositor's buffers as they are.
 *
 * The connection is read when it is readable and written after each entry from the loop. Nothing is sent that the compositor did
 * not ask for (frames wait for its callbacks), so one that is stopped finds no more than a few requests when it goes on, and we
 * never wait for it, but for a moment at the start. One that dies takes the display with it: the outputs go on headless.
 */
#include "wayland/wayland.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the compositor has ---- */

static void ping(void *data, struct xdg_wm_base *wm_base, uint32_t serial)
{
	xdg_wm_base_pong(wm_base, serial);
}

static const struct xdg_wm_base_listener wm_base_listener = { .ping = ping };

static void clock_id(void *data, struct wp_presentation *presentation, uint32_t id)
{
	((struct wayland_display *)data)->clock = id;
}

static const struct wp_presentation_listener presentation_listener = { .clock_id = clock_id };

/* Globals that need nothing but to be bound. */
static const struct {
	const struct wl_interface *interface;
	uint32_t version; /* the newest that is known here */
	size_t member;
} globals[] = {
	{ &wl_compositor_interface, 4, offsetof(struct wayland_display, compositor) },
	{ &wl_subcompositor_interface, 1, offsetof(struct wayland_display, subcompositor) },
	{ &wl_shm_interface, 1, offsetof(struct wayland_display, shm) },
	{ &xdg_wm_base_interface, 5, offsetof(struct wayland_display, wm_base) },
	{ &zwp_linux_dmabuf_v1_interface, 5, offsetof(struct wayland_display, dmabuf) },
	{ &wp_linux_drm_syncobj_manager_v1_interface, 1, offsetof(struct wayland_display, sync.manager) },
	{ &wp_viewporter_interface, 1, offsetof(struct wayland_display, viewporter) },
	{ &wp_presentation_interface, 1, offsetof(struct wayland_display, presentation) },
	{ &wp_fractional_scale_manager_v1_interface, 1, offsetof(struct wayland_display, fractional_scale) },
	{ &wp_single_pixel_buffer_manager_v1_interface, 1, offsetof(struct wayland_display, single_pixel) },
	{ &wp_tearing_control_manager_v1_interface, 1, offsetof(struct wayland_display, tearing) },
	{ &zxdg_decoration_manager_v1_interface, 1, offsetof(struct wayland_display, decoration) },
	{ &zwp_pointer_constraints_v1_interface, 1, offsetof(struct wayland_display, constraints) },
	{ &zwp_relative_pointer_manager_v1_interface, 1, offsetof(struct wayland_display, relative_pointers) },
	{ &zwp_keyboard_shortcuts_inhibit_manager_v1_interface, 1, offsetof(struct wayland_display, inhibit) },
};

/* The device thread waits for a display to start: a compositor that takes longer is stopped, or as good as that. */
#define START_NS UINT64_C(2000000000)

enum { N_GLOBALS = sizeof(globals) / sizeof(globals[0]), DMABUF_MODIFIERS_VERSION = 3 };

static void **member_of(struct wayland_display *display, size_t i)
{
	return (void **)((char *)display + globals[i].member);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void bind_known(struct wayland_display *display, uint32_t name, const char *interface, uint32_t version)
{
	for (size_t i = 0; i < N_GLOBALS; i++) {
		const struct wl_interface *known = globals[i].interface;

		if (strcmp(interface, known->name) != 0 || *member_of(display, i))
			continue;
		if (known == &zwp_linux_dmabuf_v1_interface && version < DMABUF_MODIFIERS_VERSION)
			return;
		/* the protocol's description may be older than what is known here */
		version = least(version, least(globals[i].version, (uint32_t)known->version));
		*member_of(display, i) = wl_registry_bind(display->registry, name, known, version);
		return;
	}
}

static void global(void *data, struct wl_registry *registry, uint32_t name, const char *interface, uint32_t version)
{
	struct wayland_display *display = data;

	if (!strcmp(interface, wl_seat_interface.name))
		wayland_seat_bind(display, name, version);
	else if (!strcmp(interface, wl_output_interface.name))
		wayland_monitor_add(display, name, version);
	else if (!display->source) /* of what comes later nobody would be told */
		bind_known(display, name, interface, version);
}

static void global_remove(void *data, struct wl_registry *registry, uint32_t name)
{
	struct wayland_display *display = data;

	if (display->wl_seat && display->seat_name == name)
		wayland_seat_unbind(display);
	wayland_monitor_removed(display, name);
}

static const struct wl_registry_listener registry_listener = { .global = global, .global_remove = global_remove };

static const char *missing_global(const struct wayland_display *display)
{
	if (!display->compositor || !display->subcompositor)
		return "wl_compositor";
	if (!display->shm)
		return "wl_shm";
	return display->wm_base ? NULL : "xdg_wm_base";
}

static bool create_black(struct wayland_display *display)
{
	display->black = display->single_pixel ? wp_single_pixel_buffer_manager_v1_create_u32_rgba_buffer(display->single_pixel, 0,
	                                                                                                  0, 0, UINT32_MAX)
	                                       : wayland_shm_black(display, 1, 1);
	return display->black;
}

/* What was refused may be taken now, and what is shown may have to come in another way. */
static void formats_changed(void *data)
{
	struct wayland_display *display = data;

	for (size_t i = 0; i < VTR_MAX_SCANOUTS; i++)
		if (display->windows[i])
			wayland_update_demand(display->windows[i], true);
}

static int no_answer(struct wayland_display *display, int code)
{
	return vtr_error_set(&display->failure, VTR_ERROR_HOST, code, "the compositor does not answer: %s", strerror(code));
}

/* Two round trips: the globals, and what they say first. */
static int learn(struct wayland_display *display)
{
	uint64_t end = vtr_now_ns() + START_NS;

	display->registry = wl_display_get_registry(display->connection);
	wl_registry_add_listener(display->registry, &registry_listener, display);
	int error = wayland_round_trip(display, end);
	if (error)
		return no_answer(display, -error);
	const char *missing = missing_global(display);
	if (missing)
		return vtr_error_set(&display->failure, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the compositor has no %s", missing);
	xdg_wm_base_add_listener(display->wm_base, &wm_base_listener, display);
	if (display->presentation)
		wp_presentation_add_listener(display->presentation, &presentation_listener, display);
	if (display->dmabuf)
		wayland_formats_listen(&display->formats, display->dmabuf, formats_changed, display);
	if (!create_black(display))
		return vtr_error_set(&display->failure, VTR_ERROR_HOST, ENOMEM, "no shared memory");
	error = wayland_round_trip(display, end);
	if (error)
		return no_answer(display, -error);
	wayland_sync_start(display);
	return 0;
}

/* ---- the display ---- */

static struct wayland_display *wayland_from(struct vtr_display *display)
{
	return (struct wayland_display *)display;
}

static int start(struct vtr_display *base)
{
	struct wayland_display *display = wayland_from(base);

	display->connection = wl_display_connect(display->socket);
	if (!display->connection)
		return vtr_error_set(&display->failure, VTR_ERROR_UNSUPPORTED, errno,
		                     "no Wayland compositor answers at %s (WAYLAND_DISPLAY): %s",
		                     display->socket ? display->socket : "the usual place", strerror(errno));
	int error = learn(display);
	if (error)
		return error;
	vtr_log(VTR_LOG_INFO, "wayland: %s%s",
	        display->formats.known ? "dmabufs are handed to the compositor" : "the compositor takes no dmabufs",
	        display->viewporter ? "" : "; it has no wp_viewporter: pictures are not scaled");
	return wayland_connection_watch(display);
}

static void stop(struct vtr_display *base)
{
	struct wayland_display *display = wayland_from(base);

	vtr_source_remove(display->source);
	display->source = NULL;
}

static int attach(struct vtr_display *base, struct vtr_output *output)
{
	struct wayland_display *display = wayland_from(base);
	int error = display->unsent ? -EBUSY : wayland_window_open(display, output);

	wayland_flush(display);
	return error;
}

static void detach(struct vtr_display *base, struct vtr_output *output)
{
	wayland_window_close(vtr_output_user(output));
	wayland_flush(wayland_from(base));
}

static void frame(struct vtr_display *base, struct vtr_output *output)
{
	wayland_show(vtr_output_user(output));
	wayland_flush(wayland_from(base));
}

static void cursor(struct vtr_display *base, struct vtr_output *output)
{
	wayland_cursor_changed(vtr_output_user(output));
	wayland_flush(wayland_from(base));
}

static void frozen(struct vtr_display *base, struct vtr_output *output)
{
	wayland_window_set_title(vtr_output_user(output));
	wayland_flush(wayland_from(base));
}

static void capture(struct vtr_display *base, struct vtr_output *output, struct vtr_capture *capture)
{
	wayland_capture(vtr_output_user(output), capture);
	wayland_flush(wayland_from(base));
}

static bool accepts(struct vtr_display *base, const struct vtr_output *output, uint32_t format, uint64_t modifier,
                    struct vtr_error *error)
{
	struct wayland_display *display = wayland_from(base);
	struct wayland_formats *surface = &display->surface_formats[vtr_output_number(output)];

	return wayland_formats_find(&display->formats, surface, format, modifier, NULL, error);
}

static void destroy(struct vtr_display *base)
{
	struct wayland_display *display = wayland_from(base);

	wayland_seat_unbind(display);
	wayland_asks_finish(display);
	wayland_sync_finish(display);
	wayland_monitors_finish(display);
	wayland_formats_finish(&display->formats);
	for (size_t i = 0; i < VTR_MAX_SCANOUTS; i++)
		wayland_formats_finish(&display->surface_formats[i]);
	if (display->black)
		wl_buffer_destroy(display->black);
	for (size_t i = 0; i < N_GLOBALS; i++)
		if (*member_of(display, i))
			wl_proxy_destroy(*member_of(display, i));
	if (display->registry)
		wl_registry_destroy(display->registry);
	if (display->connection)
		wl_display_disconnect(display->connection);
	free((char *)display->options.guest);
	free(display->socket);
	free(display);
}

static const struct vtr_display_impl impl = {
	.name = "wayland",
	.start = start,
	.stop = stop,
	.attach = attach,
	.detach = detach,
	.frame = frame,
	.cursor = cursor,
	.frozen = frozen,
	.capture = capture,
	.accepts = accepts,
	.flips = true,
	.destroy = destroy,
};

struct vtr_display *vtr_wayland_create(const char *socket, const struct vtr_window_options *options, struct vtr_error *error)
{
	struct wayland_display *display = calloc(1, sizeof(*display));

	if (!display) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory");
		return NULL;
	}
	display->options = *options;
	display->options.guest = strdup(options->guest ? options->guest : "Vitrine");
	display->socket = socket ? strdup(socket) : NULL;
	display->sync.node = -1;
	wayland_formats_init(&display->formats);
	for (size_t i = 0; i < VTR_MAX_SCANOUTS; i++)
		wayland_formats_init(&display->surface_formats[i]);
	vtr_error_set(&display->failure, VTR_ERROR_HOST, ENOMEM, "out of memory");
	if (display->options.guest && vtr_display_init(&display->base, &impl) == 0)
		return &display->base;
	*error = display->failure;
	destroy(&display->base);
	return NULL;
}
