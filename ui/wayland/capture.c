/* SPDX-License-Identifier: MIT */
/*
 * Captures are not made of what the compositor has: pixels are asked for (VTR_DEMAND_PIXELS), the next frame brings them, is shown
 * like any other, and the one after it may be a dmabuf again.
 */
#include "wayland/wayland.h"

static enum vtr_output_demand usual_demand(const struct wayland_window *window)
{
	return window->display->formats.known ? VTR_DEMAND_DMABUF : VTR_DEMAND_PIXELS;
}

void wayland_update_demand(struct wayland_window *window, bool present)
{
	if (present)
		vtr_output_set_demand(window->output, VTR_DEMAND_NONE); /* it is a rise that has the picture presented */
	vtr_output_set_demand(window->output, window->captures.count ? VTR_DEMAND_PIXELS : usual_demand(window));
}

void wayland_captures_answer(struct wayland_window *window, const struct vtr_frame *frame)
{
	bool pixels = frame->content == VTR_FRAME_PIXELS;

	if (!window->captures.count || (!pixels && frame->content != VTR_FRAME_BLANK))
		return;
	vtr_output_set_demand(window->output, usual_demand(window)); /* before the answers: who gets one sees that it fell */
	vtr_capture_set_answer_pixels(&window->captures, pixels ? frame : NULL, frame->sequence);
}

/* So far as is known. */
static bool is_blank(const struct wayland_window *window)
{
	if (window->waiting)
		return window->waiting->content == VTR_FRAME_BLANK;
	return window->told && !window->picture_width;
}

void wayland_capture(struct wayland_window *window, struct vtr_capture *capture)
{
	struct vtr_frame blank = { .content = VTR_FRAME_BLANK };

	vtr_capture_set_add(&window->captures, capture);
	wayland_take_newest(window);
	if (is_blank(window))
		wayland_captures_answer(window, &blank);
	else
		wayland_update_demand(window, false);
}
