/* SPDX-License-Identifier: MIT */
#ifndef VTR_WAYLAND_SEAT_H
#define VTR_WAYLAND_SEAT_H

#include "wayland/wayland.h"

struct wayland_finger {
	int32_t id;
	struct wl_surface *surface; /* on which it came down; NULL: it is not down */
};

/* Keyboard, pointer and touch screen of the person; and the cursor that the pointer has. */
struct wayland_seat {
	struct wayland_display *display;
	struct wl_keyboard *keyboard;
	struct wl_pointer *pointer;
	struct wl_touch *touch;

	struct wayland_window *focus; /* of the keyboard */
	unsigned modifiers;           /* of hotkeys: those that are down */

	struct wayland_window *under; /* the pointer */
	struct wl_surface *surface;   /* of that window */
	uint32_t enter_serial;
	int32_t wheel[2];                         /* horizontal, vertical: since the last frame, in 1/120, as the guest counts */
	bool wheel_exact[2];                      /* the compositor tells steps, and not only lengths */
	struct zwp_relative_pointer_v1 *relative; /* while a window has taken the pointer in */
	struct zwp_locked_pointer_v1 *locked;

	struct wayland_finger fingers[VTR_INPUT_CONTACTS];

	/* cursor.c */
	struct wl_surface *cursor;
	struct wl_buffer *cursor_buffer;
	struct wl_callback *cursor_callback; /* the compositor has not answered the last one yet, */
	bool cursor_stale;                   /* and another one is to be sent then */
	uint64_t cursor_serial;              /* of the image on it */
};

struct vtr_input *wayland_input(const struct wayland_seat *seat); /* NULL: what the person does goes nowhere */

extern const struct wl_keyboard_listener wayland_keyboard_listener;
extern const struct wl_pointer_listener wayland_pointer_listener;
extern const struct wl_touch_listener wayland_touch_listener;

/* pointer.c: window gets the pointer alone, where that is of use: its motion, not its place. */
void wayland_pointer_lock(struct wayland_seat *seat, struct wayland_window *window);
void wayland_pointer_unlock(struct wayland_seat *seat);

/* cursor.c: the pointer is over a window now, or what it looks like there has changed. */
void wayland_cursor_set(struct wayland_seat *seat);
void wayland_cursor_finish(struct wayland_seat *seat);

#endif
