/* SPDX-License-Identifier: MIT */
/*
 * The guest's cursor as the compositor's: while the pointer is over a window it looks as the guest says, and moves without the
 * guest's delay. While the guest does not follow the pointer (it does not use the tablet) the pointer has no image at all over the
 * window: the guest's cursor is seen where the guest has put it (overlay.c).
 *
 * Images are sent one at a time: a guest may change its cursor as often as it likes, a compositor may be stopped.
 */
#include <string.h>
#include <sys/mman.h>

#include "wayland/seat.h"

static void answered(void *data, struct wl_callback *callback, uint32_t serial)
{
	struct wayland_seat *seat = data;

	wl_callback_destroy(callback);
	seat->cursor_callback = NULL;
	if (seat->cursor_stale)
		wayland_cursor_set(seat);
}

static const struct wl_callback_listener answer_listener = { .done = answered };

static bool load_image(struct wayland_seat *seat, const struct vtr_cursor *cursor)
{
	void *data;
	size_t size;
	struct wl_buffer *buffer =
		wayland_shm_create(seat->display, VTR_CURSOR_SIZE, VTR_CURSOR_SIZE, WL_SHM_FORMAT_ARGB8888, &data, &size);

	if (!buffer)
		return false;
	memcpy(data, cursor->image, size);
	munmap(data, size);
	wl_surface_attach(seat->cursor, buffer, 0, 0);
	wl_surface_damage(seat->cursor, 0, 0, VTR_CURSOR_SIZE, VTR_CURSOR_SIZE);
	wl_surface_commit(seat->cursor);
	if (seat->cursor_buffer)
		wl_buffer_destroy(seat->cursor_buffer);
	seat->cursor_buffer = buffer;
	seat->cursor_serial = cursor->serial;
	return true;
}

bool wayland_cursor_is_host(const struct wayland_display *display)
{
	return display->options.input && vtr_input_used(display->options.input, VTR_INPUT_TABLET);
}

static void send(struct wayland_seat *seat)
{
	const struct vtr_cursor *cursor = &seat->under->cursor;

	if (!cursor->visible || !wayland_cursor_is_host(seat->display)) {
		wl_pointer_set_cursor(seat->pointer, seat->enter_serial, NULL, 0, 0);
		return;
	}
	if (!seat->cursor)
		seat->cursor = wl_compositor_create_surface(seat->display->compositor);
	if (seat->cursor_serial == cursor->serial || load_image(seat, cursor))
		wl_pointer_set_cursor(seat->pointer, seat->enter_serial, seat->cursor, (int32_t)cursor->hot_x,
		                      (int32_t)cursor->hot_y);
}

void wayland_cursor_set(struct wayland_seat *seat)
{
	if (!seat->under || !seat->pointer)
		return;
	seat->cursor_stale = seat->cursor_callback;
	if (seat->cursor_stale)
		return;
	send(seat);
	/* not the surface's frame callback: that never comes when the pointer has left before */
	seat->cursor_callback = wl_display_sync(seat->display->connection);
	wl_callback_add_listener(seat->cursor_callback, &answer_listener, seat);
}

void wayland_cursor_changed(struct wayland_window *window)
{
	struct wayland_seat *seat = window->display->seat;
	uint64_t serial = window->cursor.serial;
	bool visible = window->cursor.visible;

	vtr_output_get_cursor(window->output, &window->cursor);
	if (seat && seat->under == window && (serial != window->cursor.serial || visible != window->cursor.visible))
		wayland_cursor_set(seat);
	wayland_cursor_update(window);
}

void wayland_cursor_update(struct wayland_window *window)
{
	struct wayland_seat *seat = window->display->seat;
	bool was_host = window->host_cursor;

	window->host_cursor = wayland_cursor_is_host(window->display);
	if (seat && seat->under == window && window->host_cursor != was_host)
		wayland_cursor_set(seat);
	wayland_overlay_update(window);
}

void wayland_cursor_finish(struct wayland_seat *seat)
{
	if (seat->cursor_callback)
		wl_callback_destroy(seat->cursor_callback);
	if (seat->cursor_buffer)
		wl_buffer_destroy(seat->cursor_buffer);
	if (seat->cursor)
		wl_surface_destroy(seat->cursor);
}
