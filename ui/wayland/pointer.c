/* SPDX-License-Identifier: MIT */
/* The pointer: where it is over a picture; or how it moves, while a window has taken it in for a guest without the tablet. */
#include "wayland/seat.h"

/* ---- taken in ---- */

static void relative_motion(void *data, struct zwp_relative_pointer_v1 *relative, uint32_t time_high, uint32_t time_low,
                            wl_fixed_t dx, wl_fixed_t dy, wl_fixed_t dx_plain, wl_fixed_t dy_plain)
{
	struct wayland_seat *seat = data;

	vtr_input_move_by(wayland_input(seat), wl_fixed_to_double(dx_plain), wl_fixed_to_double(dy_plain));
}

static const struct zwp_relative_pointer_v1_listener relative_listener = { .relative_motion = relative_motion };

void wayland_pointer_lock(struct wayland_seat *seat, struct wayland_window *window)
{
	struct wayland_display *display = seat->display;

	if (!display->constraints || !display->relative_pointers || !seat->pointer || !wayland_input(seat) ||
	    vtr_input_used(wayland_input(seat), VTR_INPUT_TABLET) || !vtr_input_used(wayland_input(seat), VTR_INPUT_MOUSE))
		return;
	seat->locked = zwp_pointer_constraints_v1_lock_pointer(display->constraints, window->background, seat->pointer, NULL,
	                                                       ZWP_POINTER_CONSTRAINTS_V1_LIFETIME_PERSISTENT);
	seat->relative = zwp_relative_pointer_manager_v1_get_relative_pointer(display->relative_pointers, seat->pointer);
	zwp_relative_pointer_v1_add_listener(seat->relative, &relative_listener, seat);
}

void wayland_pointer_unlock(struct wayland_seat *seat)
{
	if (seat->relative)
		zwp_relative_pointer_v1_destroy(seat->relative);
	if (seat->locked)
		zwp_locked_pointer_v1_destroy(seat->locked);
	seat->relative = NULL;
	seat->locked = NULL;
}

/* ---- over a window ---- */

static void move(struct wayland_seat *seat, wl_fixed_t fixed_x, wl_fixed_t fixed_y)
{
	uint32_t x, y;

	if (!seat->under || !wayland_input(seat) || seat->locked)
		return;
	wayland_window_to_picture(seat->under, seat->surface, wl_fixed_to_double(fixed_x), wl_fixed_to_double(fixed_y), &x, &y);
	vtr_input_move(wayland_input(seat), seat->under->number, x, y);
}

static void pointer_enter(void *data, struct wl_pointer *pointer, uint32_t serial, struct wl_surface *surface, wl_fixed_t x,
                          wl_fixed_t y)
{
	struct wayland_seat *seat = data;

	seat->under = wayland_window_of(seat->display, surface);
	seat->surface = surface;
	seat->enter_serial = serial;
	seat->cursor_serial = 0; /* each output counts its own images */
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
	struct vtr_input *input = wayland_input(seat);
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

/* ---- wheels ---- */

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
	if (wayland_input(seat) && (seat->wheel[0] || seat->wheel[1]))
		vtr_input_wheel(wayland_input(seat), seat->wheel[0], seat->wheel[1]);
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

const struct wl_pointer_listener wayland_pointer_listener = {
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
