/* SPDX-License-Identifier: MIT */
/*
 * What the person does, on its way to the guest: one seat with keyboard, pointer and touch screen, which come and go; and a
 * window's grab of them (Ctrl+Alt+G, or a click for a guest that has no tablet), the compositor's shortcuts included where it
 * allows that.
 */
#include "wayland/seat.h"

#include <stdlib.h>

struct vtr_input *wayland_input(const struct wayland_seat *seat)
{
	return seat->display->options.input;
}

void wayland_grab(struct wayland_window *window, bool grabbed)
{
	struct wayland_display *display = window->display;

	if (window->grabbed == grabbed || !display->seat)
		return;
	window->grabbed = grabbed;
	if (grabbed) {
		if (display->inhibit)
			window->inhibitor = zwp_keyboard_shortcuts_inhibit_manager_v1_inhibit_shortcuts(
				display->inhibit, window->background, display->wl_seat);
		wayland_pointer_lock(display->seat, window);
	} else {
		if (window->inhibitor)
			zwp_keyboard_shortcuts_inhibitor_v1_destroy(window->inhibitor);
		window->inhibitor = NULL;
		wayland_pointer_unlock(display->seat);
	}
	wayland_cursor_update(window);
	wayland_window_set_title(window);
}

static void release_keyboard(struct wayland_seat *seat)
{
	if (seat->keyboard)
		wl_keyboard_destroy(seat->keyboard);
	seat->keyboard = NULL;
	seat->focus = NULL;
}

static void release_pointer(struct wayland_seat *seat)
{
	wayland_pointer_unlock(seat);
	if (seat->pointer)
		wl_pointer_destroy(seat->pointer);
	seat->pointer = NULL;
	seat->under = NULL;
}

static void release_touch(struct wayland_seat *seat)
{
	if (seat->touch)
		wl_touch_destroy(seat->touch);
	seat->touch = NULL;
}

static void capabilities(void *data, struct wl_seat *wl_seat, uint32_t has)
{
	struct wayland_seat *seat = data;

	if (has & WL_SEAT_CAPABILITY_KEYBOARD && !seat->keyboard) {
		seat->keyboard = wl_seat_get_keyboard(wl_seat);
		wl_keyboard_add_listener(seat->keyboard, &wayland_keyboard_listener, seat);
	} else if (!(has & WL_SEAT_CAPABILITY_KEYBOARD)) {
		release_keyboard(seat);
	}
	if (has & WL_SEAT_CAPABILITY_POINTER && !seat->pointer) {
		seat->pointer = wl_seat_get_pointer(wl_seat);
		wl_pointer_add_listener(seat->pointer, &wayland_pointer_listener, seat);
	} else if (!(has & WL_SEAT_CAPABILITY_POINTER)) {
		release_pointer(seat);
	}
	if (has & WL_SEAT_CAPABILITY_TOUCH && !seat->touch) {
		seat->touch = wl_seat_get_touch(wl_seat);
		wl_touch_add_listener(seat->touch, &wayland_touch_listener, seat);
	} else if (!(has & WL_SEAT_CAPABILITY_TOUCH)) {
		release_touch(seat);
	}
}

static void seat_name(void *data, struct wl_seat *wl_seat, const char *name)
{
}

static const struct wl_seat_listener seat_listener = { .capabilities = capabilities, .name = seat_name };

enum { SEAT_VERSION = 8 };

/* The first one: a second keyboard is usually a part of it, too. */
void wayland_seat_bind(struct wayland_display *display, uint32_t name, uint32_t version)
{
	if (display->wl_seat)
		return;
	display->seat = calloc(1, sizeof(*display->seat));
	if (!display->seat)
		return;
	display->seat->display = display;
	display->seat_name = name;
	display->wl_seat =
		wl_registry_bind(display->registry, name, &wl_seat_interface, version < SEAT_VERSION ? version : SEAT_VERSION);
	wl_seat_add_listener(display->wl_seat, &seat_listener, display->seat);
}

void wayland_seat_unbind(struct wayland_display *display)
{
	struct wayland_seat *seat = display->seat;

	if (!seat)
		return;
	if (wayland_input(seat))
		vtr_input_release_all(wayland_input(seat));
	release_keyboard(seat);
	release_pointer(seat);
	release_touch(seat);
	wayland_cursor_finish(seat);
	wl_seat_destroy(display->wl_seat);
	free(seat);
	display->seat = NULL;
	display->wl_seat = NULL;
}

void wayland_seat_forget(struct wayland_display *display, const struct wayland_window *window)
{
	struct wayland_seat *seat = display->seat;

	if (!seat)
		return;
	if (seat->focus == window || seat->under == window) {
		wayland_pointer_unlock(seat);
		if (wayland_input(seat))
			vtr_input_release_all(wayland_input(seat));
	}
	if (seat->focus == window)
		seat->focus = NULL;
	if (seat->under == window)
		seat->under = NULL;
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		if (wayland_window_of(display, seat->fingers[i].surface) == window)
			seat->fingers[i].surface = NULL;
}
