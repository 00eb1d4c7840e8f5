/* SPDX-License-Identifier: MIT */
/* What the compositor tells about a picture on the screen (presentation-time): whether it was scanned out, and the refresh rate. */
#include "wayland/wayland.h"

static void sync_output(void *data, struct wp_presentation_feedback *feedback, struct wl_output *output)
{
}

static void forget_feedback(struct wayland_window *window, struct wp_presentation_feedback *feedback)
{
	for (size_t i = 0; i < WAYLAND_FEEDBACKS; i++)
		if (window->feedbacks[i] == feedback)
			window->feedbacks[i] = NULL;
	wp_presentation_feedback_destroy(feedback);
}

/* Why the picture that is shown is drawn, if that is known. */
static const char *why_drawn(const struct wayland_window *window)
{
	struct wayland_display *display = window->display;
	const struct wayland_import *shown = window->shown;
	struct wayland_formats *surface = &display->surface_formats[window->number];
	struct wayland_format found;
	struct vtr_error error;

	if (!surface->feedback || !shown ||
	    !wayland_formats_find(&display->formats, surface, shown->fourcc, shown->modifier, &found, &error))
		return "";
	return found.scanout ? "" : ", and says that it scans out none of their format here";
}

static void note_zero_copy(struct wayland_window *window, bool zero_copy)
{
	enum wayland_presentation presentation = zero_copy ? WAYLAND_SCANNED_OUT : WAYLAND_DRAWN;

	if (presentation == window->presentation || !window->shown)
		return;
	window->presentation = presentation;
	vtr_log_limited(&window->log, VTR_LOG_INFO, "wayland: output %s: the compositor %s the guest's pictures%s",
	                vtr_output_name(window->output), zero_copy ? "scans out (zero copy)" : "draws",
	                zero_copy ? "" : why_drawn(window));
}

static void presented(void *data, struct wp_presentation_feedback *feedback, uint32_t seconds_high, uint32_t seconds_low,
                      uint32_t nanoseconds, uint32_t refresh, uint32_t sequence_high, uint32_t sequence_low, uint32_t flags)
{
	struct wayland_window *window = data;

	forget_feedback(window, feedback);
	note_zero_copy(window, flags & WP_PRESENTATION_FEEDBACK_KIND_ZERO_COPY);
	if (refresh)
		wayland_window_note_refresh(window, (UINT64_C(1000000000000) + refresh / 2) / refresh);
}

static void discarded(void *data, struct wp_presentation_feedback *feedback)
{
	forget_feedback(data, feedback);
}

static const struct wp_presentation_feedback_listener feedback_listener = {
	.sync_output = sync_output,
	.presented = presented,
	.discarded = discarded,
};

/* Not while the compositor owes too many answers. */
void wayland_feedback_ask(struct wayland_window *window)
{
	for (size_t i = 0; window->display->presentation && i < WAYLAND_FEEDBACKS; i++)
		if (!window->feedbacks[i]) {
			window->feedbacks[i] = wp_presentation_feedback(window->display->presentation, window->content);
			wp_presentation_feedback_add_listener(window->feedbacks[i], &feedback_listener, window);
			return;
		}
}

void wayland_feedback_finish(struct wayland_window *window)
{
	for (size_t i = 0; i < WAYLAND_FEEDBACKS; i++)
		if (window->feedbacks[i])
			forget_feedback(window, window->feedbacks[i]);
}
