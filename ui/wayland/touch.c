/* SPDX-License-Identifier: MIT */
/* The touch screen. A finger belongs to the surface on which it came down, wherever it goes. */
#include "wayland/seat.h"

/* The finger with this number; or a free place for it, where number is not down. NULL: too many are. */
static struct wayland_finger *finger_of(struct wayland_seat *seat, int32_t id, bool down)
{
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		if (down ? !seat->fingers[i].surface : seat->fingers[i].surface && seat->fingers[i].id == id)
			return &seat->fingers[i];
	return NULL;
}

static void touch_to(struct wayland_seat *seat, struct wl_surface *surface, int32_t id, wl_fixed_t fixed_x, wl_fixed_t fixed_y)
{
	struct wayland_window *window = wayland_window_of(seat->display, surface);
	uint32_t x, y;

	if (!window || !wayland_input(seat))
		return;
	wayland_window_to_picture(window, surface, wl_fixed_to_double(fixed_x), wl_fixed_to_double(fixed_y), &x, &y);
	vtr_input_touch(wayland_input(seat), (uint32_t)id, window->number, x, y);
}

static void touch_down(void *data, struct wl_touch *touch, uint32_t serial, uint32_t time, struct wl_surface *surface, int32_t id,
                       wl_fixed_t x, wl_fixed_t y)
{
	struct wayland_seat *seat = data;
	struct wayland_finger *finger = finger_of(seat, id, true);

	if (!finger)
		return;
	*finger = (struct wayland_finger){ .id = id, .surface = surface };
	touch_to(seat, surface, id, x, y);
}

static void touch_up(void *data, struct wl_touch *touch, uint32_t serial, uint32_t time, int32_t id)
{
	struct wayland_seat *seat = data;
	struct wayland_finger *finger = finger_of(seat, id, false);

	if (finger)
		finger->surface = NULL;
	if (wayland_input(seat))
		vtr_input_touch_up(wayland_input(seat), (uint32_t)id);
}

static void touch_motion(void *data, struct wl_touch *touch, uint32_t time, int32_t id, wl_fixed_t x, wl_fixed_t y)
{
	struct wayland_seat *seat = data;
	const struct wayland_finger *finger = finger_of(seat, id, false);

	if (finger)
		touch_to(seat, finger->surface, id, x, y);
}

static void touch_frame(void *data, struct wl_touch *touch)
{
	struct wayland_seat *seat = data;

	if (wayland_input(seat))
		vtr_input_touch_frame(wayland_input(seat));
}

static void touch_cancel(void *data, struct wl_touch *touch)
{
	struct wayland_seat *seat = data;

	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		seat->fingers[i].surface = NULL;
	if (wayland_input(seat))
		vtr_input_release_all(wayland_input(seat));
}

static void touch_shape(void *data, struct wl_touch *touch, int32_t id, wl_fixed_t major, wl_fixed_t minor)
{
}

static void touch_orientation(void *data, struct wl_touch *touch, int32_t id, wl_fixed_t orientation)
{
}

const struct wl_touch_listener wayland_touch_listener = {
	.down = touch_down,
	.up = touch_up,
	.motion = touch_motion,
	.frame = touch_frame,
	.cancel = touch_cancel,
	.shape = touch_shape,
	.orientation = touch_orientation,
};
