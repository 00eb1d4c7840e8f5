/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_WINDOW_H
#define VITRINE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/display.h>
#include <vitrine/error.h>
#include <vitrine/input.h>

/* Displays with windows: one per output, on a person's desktop. */

enum vtr_window_renderer {
	VTR_RENDERER_AUTO,     /* OpenGL ES, or software where that does not start */
	VTR_RENDERER_SOFTWARE, /* without OpenGL */
};

struct vtr_window_options {
	const char *guest; /* the guest's name in titles; NULL: "Vitrine". Copied. */
	enum vtr_window_renderer renderer;
	bool integer_scaling;    /* whole multiples of the picture's pixels only */
	bool tearing;            /* wayland: pictures may be shown while the screen is being drawn */
	bool fullscreen;         /* each window starts so, on the monitor with the number of its output, counted round */
	struct vtr_input *input; /* where keys and pointer go; used, not owned, outlives the display; NULL: nowhere */
	/* The person closed the window of output number `output`. On the display's thread: hand it over and return. The window
	 * stays until the output is moved elsewhere or the display destroyed. NULL: closing does nothing. */
	void (*closed)(unsigned output, void *data);
	void *data;
};

/* Windows by SDL2: wherever SDL has a video driver. options is only read during the call. NULL with *error: UNSUPPORTED ENODEV (SDL
 * finds no desktop), HOST with what SDL says otherwise. ENOSYS: this build has no SDL. */
VTR_API struct vtr_display *vtr_sdl_create(const struct vtr_window_options *options, struct vtr_error *error);

/* Windows of a Wayland compositor, which gets the guest's dmabufs as they are. socket: its name or path; NULL: WAYLAND_DISPLAY's.
 * options is only read during the call. NULL with *error: UNSUPPORTED (no compositor answers, or it lacks what is needed), HOST
 * ENOMEM. ENOSYS: this build has no Wayland. Environment: VITRINE_WAYLAND_IMPLICIT keeps from explicit synchronisation. */
VTR_API struct vtr_display *vtr_wayland_create(const char *socket, const struct vtr_window_options *options,
                                               struct vtr_error *error);

#endif
