/* SPDX-License-Identifier: MIT */
/*
 * Keys, by their evdev codes, which is what Wayland names them by; and the hotkeys, which are those of the other windows:
 * Ctrl+Alt+G gives keyboard and pointer to the guest alone, Ctrl+Alt+F is full screen, Ctrl+Alt+S changes how pictures are scaled,
 * Ctrl+Alt+0 makes the window as large as its picture. Either of the two keys of a modifier counts, and as long as one of them is
 * down.
 */
#include <linux/input-event-codes.h>
#include <unistd.h>

#include "wayland/seat.h"

static void keymap(void *data, struct wl_keyboard *keyboard, uint32_t format, int32_t fd, uint32_t size)
{
	close(fd); /* the guest has its own */
}

/* Those of Ctrl+Alt, a bit each; the ones on the left first. */
enum { LEFT_CTRL = 1, RIGHT_CTRL = 2, LEFT_ALT = 4, RIGHT_ALT = 8, CTRL = LEFT_CTRL | RIGHT_CTRL, ALT = LEFT_ALT | RIGHT_ALT };

static unsigned modifier_of(uint32_t key)
{
	switch (key) {
	case KEY_LEFTCTRL:
		return LEFT_CTRL;
	case KEY_RIGHTCTRL:
		return RIGHT_CTRL;
	case KEY_LEFTALT:
		return LEFT_ALT;
	case KEY_RIGHTALT:
		return RIGHT_ALT;
	default:
		return 0;
	}
}

static void keyboard_enter(void *data, struct wl_keyboard *keyboard, uint32_t serial, struct wl_surface *surface,
                           struct wl_array *keys)
{
	struct wayland_seat *seat = data;

	seat->focus = wayland_window_of(seat->display, surface);
	seat->modifiers = 0;
	for (size_t i = 0; i < keys->size / sizeof(uint32_t); i++)
		seat->modifiers |= modifier_of(((const uint32_t *)keys->data)[i]);
}

static void keyboard_leave(void *data, struct wl_keyboard *keyboard, uint32_t serial, struct wl_surface *surface)
{
	struct wayland_seat *seat = data;

	if (seat->focus)
		wayland_grab(seat->focus, false);
	seat->focus = NULL;
	if (wayland_input(seat))
		vtr_input_release_all(wayland_input(seat));
	wayland_flush(seat->display);
}

static bool hotkey(struct wayland_window *window, uint32_t key)
{
	switch (key) {
	case KEY_G:
		wayland_grab(window, !window->grabbed);
		return true;
	case KEY_F:
		wayland_window_set_fullscreen(window, !window->fullscreen);
		return true;
	case KEY_S:
		window->integer_scaling = !window->integer_scaling;
		wayland_window_resized(window);
		return true;
	case KEY_0:
		wayland_window_fit(window);
		return true;
	default:
		return false;
	}
}

static void keyboard_key(void *data, struct wl_keyboard *keyboard, uint32_t serial, uint32_t time, uint32_t key, uint32_t state)
{
	struct wayland_seat *seat = data;
	bool pressed = state == WL_KEYBOARD_KEY_STATE_PRESSED;

	seat->modifiers &= ~modifier_of(key);
	seat->modifiers |= pressed ? modifier_of(key) : 0;
	if (pressed && seat->modifiers & CTRL && seat->modifiers & ALT && seat->focus && hotkey(seat->focus, key))
		return;
	if (wayland_input(seat))
		vtr_input_key(wayland_input(seat), key, pressed);
}

static void keyboard_modifiers(void *data, struct wl_keyboard *keyboard, uint32_t serial, uint32_t depressed, uint32_t latched,
                               uint32_t locked, uint32_t group)
{
}

static void repeat_info(void *data, struct wl_keyboard *keyboard, int32_t rate, int32_t delay)
{
}

const struct wl_keyboard_listener wayland_keyboard_listener = {
	.keymap = keymap,
	.enter = keyboard_enter,
	.leave = keyboard_leave,
	.key = keyboard_key,
	.modifiers = keyboard_modifiers,
	.repeat_info = repeat_info,
};
