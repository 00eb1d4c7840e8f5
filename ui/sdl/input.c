/* SPDX-License-Identifier: MIT */
/*
 * What the person does in a window, on its way to the guest. Keys go by their place on the keyboard. The pointer is told as a
 * position in the picture while the guest uses the tablet; a guest that only has a mouse gets its movements after a click into the
 * window, which takes the pointer in until Ctrl+Alt+G. Four hotkeys stay here:
 *
 *   Ctrl+Alt+G   keyboard (and pointer) belong to the guest alone, or no longer
 *   Ctrl+Alt+F   full screen, or no longer
 *   Ctrl+Alt+S   whole multiples of the guest's pixels, or as large as the window
 *   Ctrl+Alt+0   the window as large as the picture
 */
#include <linux/input-event-codes.h>

#include "sdl.h"

/* ---- grabbing ---- */

static bool guest_uses(const struct sdl_window *window, enum vtr_input_kind kind)
{
	return window->display->options.input && vtr_input_used(window->display->options.input, kind);
}

static void set_grabbed(struct sdl_window *window, bool grabbed)
{
	bool relative = grabbed && !guest_uses(window, VTR_INPUT_TABLET) && guest_uses(window, VTR_INPUT_MOUSE);

	if (window->grabbed == grabbed)
		return;
	window->grabbed = grabbed;
	SDL_SetWindowKeyboardGrab(window->window, grabbed);
	SDL_SetRelativeMouseMode(relative);
	sdl_cursor_update(window);
	sdl_window_set_title(window);
	sdl_window_repaint(window); /* the cursor may have to be drawn now */
}

void sdl_window_release(struct sdl_window *window)
{
	if (!window->display->ended)
		set_grabbed(window, false);
	if (window->display->options.input)
		vtr_input_release_all(window->display->options.input);
}

/* ---- keyboard ---- */

static void toggle_fullscreen(struct sdl_window *window)
{
	bool full = SDL_GetWindowFlags(window->window) & SDL_WINDOW_FULLSCREEN_DESKTOP;

	SDL_SetWindowFullscreen(window->window, full ? 0 : SDL_WINDOW_FULLSCREEN_DESKTOP);
}

static void toggle_scaling(struct sdl_window *window)
{
	window->integer_scaling = !window->integer_scaling;
	window->smooth = !window->integer_scaling;
	sdl_window_repaint(window);
}

static bool hotkey(struct sdl_window *window, const SDL_KeyboardEvent *event)
{
	if (!(event->keysym.mod & KMOD_CTRL) || !(event->keysym.mod & KMOD_ALT))
		return false;
	switch (event->keysym.scancode) {
	case SDL_SCANCODE_G:
		set_grabbed(window, !window->grabbed);
		return true;
	case SDL_SCANCODE_F:
		toggle_fullscreen(window);
		return true;
	case SDL_SCANCODE_S:
		toggle_scaling(window);
		return true;
	case SDL_SCANCODE_0:
		sdl_window_fit(window);
		return true;
	default:
		return false;
	}
}

static void handle_key(struct sdl_window *window, const SDL_KeyboardEvent *event)
{
	struct vtr_input *input = window->display->options.input;
	uint32_t code = sdl_evdev_of(event->keysym.scancode);
	bool pressed = event->state == SDL_PRESSED;

	if (event->repeat || (pressed && hotkey(window, event)))
		return;
	if (input && code)
		vtr_input_key(input, code, pressed);
}

/* ---- pointer ---- */

/* From the window system's units to the picture's pixels. */
static void to_picture(const struct sdl_window *window, double x, double y, uint32_t *picture_x, uint32_t *picture_y)
{
	int units, units_high, pixels, pixels_high;

	SDL_GetWindowSize(window->window, &units, &units_high);
	window->display->renderer->size((struct sdl_window *)window, &pixels, &pixels_high);
	vtr_placement_to_picture(&window->placement, x * pixels / (units > 0 ? units : 1),
	                         y * pixels_high / (units_high > 0 ? units_high : 1), picture_x, picture_y);
}

static void handle_motion(struct sdl_window *window, const SDL_MouseMotionEvent *event)
{
	struct vtr_input *input = window->display->options.input;
	uint32_t x, y;

	if (SDL_GetRelativeMouseMode()) {
		vtr_input_move_by(input, event->xrel, event->yrel);
		return;
	}
	to_picture(window, event->x, event->y, &x, &y);
	vtr_input_move(input, window->number, x, y);
}

static void handle_button(struct sdl_window *window, const SDL_MouseButtonEvent *event)
{
	static const uint16_t codes[] = {
		[SDL_BUTTON_LEFT] = BTN_LEFT, [SDL_BUTTON_MIDDLE] = BTN_MIDDLE, [SDL_BUTTON_RIGHT] = BTN_RIGHT,
		[SDL_BUTTON_X1] = BTN_SIDE,   [SDL_BUTTON_X2] = BTN_EXTRA,
	};
	bool pressed = event->state == SDL_PRESSED;

	if (pressed && !window->grabbed && !guest_uses(window, VTR_INPUT_TABLET) && guest_uses(window, VTR_INPUT_MOUSE)) {
		set_grabbed(window, true); /* this click is for us */
		return;
	}
	if (event->button < sizeof(codes) / sizeof(codes[0]) && codes[event->button])
		vtr_input_button(window->display->options.input, codes[event->button], pressed);
}

static void handle_wheel(struct sdl_window *window, const SDL_MouseWheelEvent *event)
{
	int sign = event->direction == SDL_MOUSEWHEEL_FLIPPED ? -1 : 1;

	vtr_input_wheel(window->display->options.input, (int32_t)(sign * event->preciseX * 120),
	                (int32_t)(sign * event->preciseY * 120));
}

static void handle_finger(struct sdl_window *window, const SDL_TouchFingerEvent *event)
{
	struct vtr_input *input = window->display->options.input;
	uint32_t finger = (uint32_t)event->fingerId, x, y;
	int width, height;

	if (event->type == SDL_FINGERUP) {
		vtr_input_touch_up(input, finger);
	} else {
		SDL_GetWindowSize(window->window, &width, &height);
		to_picture(window, (double)event->x * width, (double)event->y * height, &x, &y);
		vtr_input_touch(input, finger, window->number, x, y);
	}
	vtr_input_touch_frame(input);
}

/* ---- the window itself ---- */

static void handle_window(struct sdl_window *window, const SDL_WindowEvent *event)
{
	const struct vtr_window_options *options = &window->display->options;

	switch (event->event) {
	case SDL_WINDOWEVENT_SIZE_CHANGED:
	case SDL_WINDOWEVENT_DISPLAY_CHANGED:
		sdl_window_resized(window);
		break;
	case SDL_WINDOWEVENT_EXPOSED:
	case SDL_WINDOWEVENT_SHOWN:
	case SDL_WINDOWEVENT_RESTORED:
	case SDL_WINDOWEVENT_MAXIMIZED:
		sdl_window_set_visible(window, true);
		sdl_window_repaint(window);
		break;
	case SDL_WINDOWEVENT_HIDDEN:
	case SDL_WINDOWEVENT_MINIMIZED:
		sdl_window_set_visible(window, false);
		break;
	case SDL_WINDOWEVENT_FOCUS_LOST:
		sdl_window_release(window);
		break;
	case SDL_WINDOWEVENT_ENTER:
		sdl_cursor_update(window);
		break;
	case SDL_WINDOWEVENT_CLOSE:
		if (options->closed)
			options->closed(window->number, options->data);
		break;
	default:
		break;
	}
}

void sdl_handle_event(struct sdl_display *display, const SDL_Event *event)
{
	/* All of these have the window's number at the same place, but for fingers, which SDL has placed elsewhere. */
	bool finger = event->type == SDL_FINGERDOWN || event->type == SDL_FINGERUP || event->type == SDL_FINGERMOTION;
	struct sdl_window *window = sdl_find_window(display, finger ? event->tfinger.windowID : event->window.windowID);

	if (!window)
		return;
	if (event->type == SDL_WINDOWEVENT)
		handle_window(window, &event->window);
	else if (event->type == SDL_KEYDOWN || event->type == SDL_KEYUP)
		handle_key(window, &event->key);
	else if (!display->options.input)
		return;
	else if (event->type == SDL_MOUSEMOTION)
		handle_motion(window, &event->motion);
	else if (event->type == SDL_MOUSEBUTTONDOWN || event->type == SDL_MOUSEBUTTONUP)
		handle_button(window, &event->button);
	else if (event->type == SDL_MOUSEWHEEL)
		handle_wheel(window, &event->wheel);
	else if (finger)
		handle_finger(window, &event->tfinger);
}
