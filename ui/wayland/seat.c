/* SPDX-License-Identifier: MIT */
/*
 * What the person does, on its way to the guest. Wayland names keys and buttons by their evdev codes, so nothing is translated. The
 * hotkeys are those of the other windows: Ctrl+Alt+G gives keyboard and pointer to the guest alone (the compositor's shortcuts
 * included, where it allows that), Ctrl+Alt+F is full screen, Ctrl+Alt+S changes how pictures are scaled.
 */
#include "wayland/seat.h"

#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <unistd.h>

static struct vtr_input *input_of(const struct wayland_seat *seat)
{
	return seat->display->options.input;
}

/* ---- taking keyboard and pointer in ---- */

static void relative_motion(void *data, struct zwp_relative_pointer_v1 *relative, uint32_t time_high, uint32_t time_low,
                            wl_fixed_t dx, wl_fixed_t dy, wl_fixed_t dx_plain, wl_fixed_t dy_plain)
{
	struct wayland_seat *seat = data;

	vtr_input_move_by(input_of(seat), wl_fixed_to_double(dx_plain), wl_fixed_to_double(dy_plain));
}

static const struct zwp_relative_pointer_v1_listener relative_listener = { .relative_motion = relative_motion };

static void lock_pointer(struct wayland_seat *seat, struct wayland_window *window)
{
	struct wayland_display *display = seat->display;

	if (!display->constraints || !display->relative_pointers || !seat->pointer || !input_of(seat) ||
	    vtr_input_used(input_of(seat), VTR_INPUT_TABLET) || !vtr_input_used(input_of(seat), VTR_INPUT_MOUSE))
		return;
	seat->locked = zwp_pointer_constraints_v1_lock_pointer(display->constraints, window->background, seat->pointer, NULL,
	                                                       ZWP_POINTER_CONSTRAINTS_V1_LIFETIME_PERSISTENT);
	seat->relative = zwp_relative_pointer_manager_v1_get_relative_pointer(display->relative_pointers, seat->pointer);
	zwp_relative_pointer_v1_add_listener(seat->relative, &relative_listener, seat);
}

static void unlock_pointer(struct wayland_seat *seat)
{
	if (seat->relative)
		zwp_relative_pointer_v1_destroy(seat->relative);
	if (seat->locked)
		zwp_locked_pointer_v1_destroy(seat->locked);
	seat->relative = NULL;
	seat->locked = NULL;
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
		lock_pointer(display->seat, window);
	} else {
		if (window->inhibitor)
			zwp_keyboard_shortcuts_inhibitor_v1_destroy(window->inhibitor);
		window->inhibitor = NULL;
		unlock_pointer(display->seat);
	}
	wayland_window_set_title(window);
}

/* ---- keyboard ---- */

static void keymap(void *data, struct wl_keyboard *keyboard, uint32_t format, int32_t fd, uint32_t size)
{
	close(fd); /* the guest has its own */
}

static void keyboard_enter(void *data, struct wl_keyboard *keyboard, uint32_t serial, struct wl_surface *surface,
                           struct wl_array *keys)
{
	struct wayland_seat *seat = data;

	seat->focus = wayland_window_of(seat->display, surface);
	seat->ctrl = seat->alt = false;
}

static void keyboard_leave(void *data, struct wl_keyboard *keyboard, uint32_t serial, struct wl_surface *surface)
{
	struct wayland_seat *seat = data;

	if (seat->focus)
		wayland_grab(seat->focus, false);
	seat->focus = NULL;
	if (input_of(seat))
		vtr_input_release_all(input_of(seat));
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
	default:
		return false;
	}
}

static void note_modifiers(struct wayland_seat *seat, uint32_t key, bool pressed)
{
	if (key == KEY_LEFTCTRL || key == KEY_RIGHTCTRL)
		seat->ctrl = pressed;
	if (key == KEY_LEFTALT || key == KEY_RIGHTALT)
		seat->alt = pressed;
}

static void keyboard_key(void *data, struct wl_keyboard *keyboard, uint32_t serial, uint32_t time, uint32_t key, uint32_t state)
{
	struct wayland_seat *seat = data;
	bool pressed = state == WL_KEYBOARD_KEY_STATE_PRESSED;

	note_modifiers(seat, key, pressed);
	if (pressed && seat->ctrl && seat->alt && seat->focus && hotkey(seat->focus, key))
		return;
	if (input_of(seat))
		vtr_input_key(input_of(seat), key, pressed);
}

static void keyboard_modifiers(void *data, struct wl_keyboard *keyboard, uint32_t serial, uint32_t depressed, uint32_t latched,
                               uint32_t locked, uint32_t group)
{
}

static void repeat_info(void *data, struct wl_keyboard *keyboard, int32_t rate, int32_t delay)
{
}

static const struct wl_keyboard_listener keyboard_listener = {
	.keymap = keymap,
	.enter = keyboard_enter,
	.leave = keyboard_leave,
	.key = keyboard_key,
	.modifiers = keyboard_modifiers,
	.repeat_info = repeat_info,
};

/* ---- pointer ---- */

static void move(struct wayland_seat *seat, wl_fixed_t fixed_x, wl_fixed_t fixed_y)
{
	uint32_t x, y;

	if (!seat->under || !input_of(seat) || seat->locked)
		return;
	wayland_window_to_picture(seat->under, seat->surface, wl_fixed_to_double(fixed_x), wl_fixed_to_double(fixed_y), &x, &y);
	vtr_input_move(input_of(seat), seat->under->number, x, y);
}

static void pointer_enter(void *data, struct wl_pointer *pointer, uint32_t serial, struct wl_surface *surface, wl_fixed_t x,
                          wl_fixed_t y)
{
	struct wayland_seat *seat = data;

	seat->under = wayland_window_of(seat->display, surface);
	seat->surface = surface;
	seat->enter_serial = serial;
	wayland_cursor_set(seat);
	move(seat, x, y);
}

static void pointer_leave(void *data, struct wl_pointer *pointer, uint32_t serial, struct wl_surface *surface)
{
	struct wayland_seat *seat = data;

	seat->under = NULL;
	seat->surface = NULL;
}

static void pointer_motion(void *data, struct wl_pointer *pointer, uint32_t time, wl_fixed_t x, wl_fixed_t y)
{
	move(data, x, y);
}

static void pointer_button(void *data, struct wl_pointer *pointer, uint32_t serial, uint32_t time, uint32_t button, uint32_t state)
{
	struct wayland_seat *seat = data;
	struct vtr_input *input = input_of(seat);
	bool pressed = state == WL_POINTER_BUTTON_STATE_PRESSED;

	if (!input)
		return;
	if (pressed && seat->under && !seat->under->grabbed && !vtr_input_used(input, VTR_INPUT_TABLET) &&
	    vtr_input_used(input, VTR_INPUT_MOUSE)) {
		wayland_grab(seat->under, true); /* this click is for us */
		return;
	}
	vtr_input_button(input, button, pressed);
}

/* Wayland counts downwards and in pixels, of which one step of a wheel is 15 in every compositor. */
enum { WHEEL_STEP = 120, PIXELS_A_STEP = 15 };

static int32_t *wheel_of(struct wayland_seat *seat, uint32_t axis)
{
	return &seat->wheel[axis == WL_POINTER_AXIS_VERTICAL_SCROLL];
}

static void add_steps(struct wayland_seat *seat, uint32_t axis, int32_t steps)
{
	bool vertical = axis == WL_POINTER_AXIS_VERTICAL_SCROLL;

	if (!seat->wheel_exact[vertical])
		*wheel_of(seat, axis) = 0; /* what the length said */
	seat->wheel_exact[vertical] = true;
	*wheel_of(seat, axis) += vertical ? -steps : steps;
}

static void send_wheel(struct wayland_seat *seat)
{
	if (input_of(seat) && (seat->wheel[0] || seat->wheel[1]))
		vtr_input_wheel(input_of(seat), seat->wheel[0], seat->wheel[1]);
	for (int i = 0; i < 2; i++) {
		seat->wheel[i] = 0;
		seat->wheel_exact[i] = false;
	}
}

static void pointer_axis(void *data, struct wl_pointer *pointer, uint32_t time, uint32_t axis, wl_fixed_t value)
{
	struct wayland_seat *seat = data;
	bool vertical = axis == WL_POINTER_AXIS_VERTICAL_SCROLL;
	int32_t steps = (int32_t)(wl_fixed_to_double(value) * WHEEL_STEP / PIXELS_A_STEP);

	if (!seat->wheel_exact[vertical])
		*wheel_of(seat, axis) += vertical ? -steps : steps;
	if (wl_pointer_get_version(pointer) < WL_POINTER_FRAME_SINCE_VERSION)
		send_wheel(seat);
}

static void pointer_frame(void *data, struct wl_pointer *pointer)
{
	send_wheel(data);
}

static void axis_source(void *data, struct wl_pointer *pointer, uint32_t source)
{
}

static void axis_stop(void *data, struct wl_pointer *pointer, uint32_t time, uint32_t axis)
{
}

static void axis_discrete(void *data, struct wl_pointer *pointer, uint32_t axis, int32_t steps)
{
	add_steps(data, axis, steps * WHEEL_STEP);
}

static void axis_value120(void *data, struct wl_pointer *pointer, uint32_t axis, int32_t value)
{
	add_steps(data, axis, value);
}

static const struct wl_pointer_listener pointer_listener = {
	.enter = pointer_enter,
	.leave = pointer_leave,
	.motion = pointer_motion,
	.button = pointer_button,
	.axis = pointer_axis,
	.frame = pointer_frame,
	.axis_source = axis_source,
	.axis_stop = axis_stop,
	.axis_discrete = axis_discrete,
	.axis_value120 = axis_value120,
};

/* ---- touch screen ---- */

static void touch_to(struct wayland_seat *seat, struct wl_surface *surface, int32_t id, wl_fixed_t fixed_x, wl_fixed_t fixed_y)
{
	struct wayland_window *window = wayland_window_of(seat->display, surface);
	uint32_t x, y;

	if (!window || !input_of(seat))
		return;
	wayland_window_to_picture(window, surface, wl_fixed_to_double(fixed_x), wl_fixed_to_double(fixed_y), &x, &y);
	vtr_input_touch(input_of(seat), (uint32_t)id, window->number, x, y);
}

static void touch_down(void *data, struct wl_touch *touch, uint32_t serial, uint32_t time, struct wl_surface *surface, int32_t id,
                       wl_fixed_t x, wl_fixed_t y)
{
	struct wayland_seat *seat = data;

	seat->touched = surface;
	touch_to(seat, surface, id, x, y);
}

static void touch_up(void *data, struct wl_touch *touch, uint32_t serial, uint32_t time, int32_t id)
{
	struct wayland_seat *seat = data;

	if (input_of(seat))
		vtr_input_touch_up(input_of(seat), (uint32_t)id);
}

static void touch_motion(void *data, struct wl_touch *touch, uint32_t time, int32_t id, wl_fixed_t x, wl_fixed_t y)
{
	struct wayland_seat *seat = data;

	touch_to(seat, seat->touched, id, x, y);
}

static void touch_frame(void *data, struct wl_touch *touch)
{
	struct wayland_seat *seat = data;

	if (input_of(seat))
		vtr_input_touch_frame(input_of(seat));
}

static void touch_cancel(void *data, struct wl_touch *touch)
{
	struct wayland_seat *seat = data;

	if (input_of(seat))
		vtr_input_release_all(input_of(seat));
}

static void touch_shape(void *data, struct wl_touch *touch, int32_t id, wl_fixed_t major, wl_fixed_t minor)
{
}

static void touch_orientation(void *data, struct wl_touch *touch, int32_t id, wl_fixed_t orientation)
{
}

static const struct wl_touch_listener touch_listener = {
	.down = touch_down,
	.up = touch_up,
	.motion = touch_motion,
	.frame = touch_frame,
	.cancel = touch_cancel,
	.shape = touch_shape,
	.orientation = touch_orientation,
};

/* ---- the seat ---- */

static void release_keyboard(struct wayland_seat *seat)
{
	if (seat->keyboard)
		wl_keyboard_destroy(seat->keyboard);
	seat->keyboard = NULL;
	seat->focus = NULL;
}

static void release_pointer(struct wayland_seat *seat)
{
	unlock_pointer(seat);
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
		wl_keyboard_add_listener(seat->keyboard, &keyboard_listener, seat);
	} else if (!(has & WL_SEAT_CAPABILITY_KEYBOARD)) {
		release_keyboard(seat);
	}
	if (has & WL_SEAT_CAPABILITY_POINTER && !seat->pointer) {
		seat->pointer = wl_seat_get_pointer(wl_seat);
		wl_pointer_add_listener(seat->pointer, &pointer_listener, seat);
	} else if (!(has & WL_SEAT_CAPABILITY_POINTER)) {
		release_pointer(seat);
	}
	if (has & WL_SEAT_CAPABILITY_TOUCH && !seat->touch) {
		seat->touch = wl_seat_get_touch(wl_seat);
		wl_touch_add_listener(seat->touch, &touch_listener, seat);
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
	if (input_of(seat))
		vtr_input_release_all(input_of(seat));
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
		unlock_pointer(seat);
		if (input_of(seat))
			vtr_input_release_all(input_of(seat));
	}
	if (seat->focus == window)
		seat->focus = NULL;
	if (seat->under == window)
		seat->under = NULL;
	seat->touched = NULL;
}
