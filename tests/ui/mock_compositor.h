/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UI_MOCK_COMPOSITOR_H
#define TESTS_UI_MOCK_COMPOSITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <wayland-server.h>

/*
 * A compositor for one client with one window, that does what a test tells it to, on the test's own thread: mock_dispatch() is when
 * it does. Requests are looked at by name; what has no meaning here is ignored, but for the objects that it makes.
 */

enum { MOCK_MAX = 64 };

struct mock_format {
	uint32_t fourcc, padding;
	uint64_t modifier;
};

struct mock_options {
	int dmabuf_version; /* 0: no linux-dmabuf */
	bool no_viewporter;
	uint32_t scale;        /* in 1/120; 0: no fractional scales */
	int32_t width, height; /* of the window; 0: the client decides */
};

struct mock_params {
	struct wl_resource *resource;
	int32_t width, height;
	uint32_t offset, stride, format;
};

struct mock_global {
	struct mock *mock;
	const struct wl_interface *interface;
};

struct mock {
	struct mock_options options;
	struct wl_display *display;
	struct wl_client *client;
	char socket[64]; /* in XDG_RUNTIME_DIR */
	struct mock_global globals[8];
	size_t n_globals;

	/* what it keeps back */
	bool hold_answers, hold_callbacks, hold_releases, hold_feedbacks;
	bool fail; /* answers of params */

	/* what came */
	struct wl_resource *toplevel, *xdg_surface, *content, *content_viewport, *dmabuf_feedback, *fractional_scale;
	struct mock_params asked[MOCK_MAX];            /* not answered */
	size_t n_asked, n_params;                      /* n_params: ever */
	struct wl_resource *asked_callbacks[MOCK_MAX]; /* of the content's next commit */
	size_t n_asked_callbacks;
	struct wl_resource *callbacks[MOCK_MAX], *feedbacks[MOCK_MAX], *held[MOCK_MAX];
	size_t n_callbacks, n_feedbacks, n_held;
	struct wl_resource *attached, *current; /* buffers of the content; none of shared memory, which are copied */
	bool attach;
	uint32_t *pixels;                  /* of shared memory, when those are shown */
	struct mock_params current_params; /* of a dmabuf: what it was made of */
	unsigned commits;                  /* of the content, with a new buffer or damage */
	bool damaged;
	int32_t damage[4], committed_damage[4]; /* bounding boxes: x1 y1 x2 y2 */
	int32_t position[2], destination[2];    /* of the content */
	double source[4];
	char title[160];
};

void mock_start(struct mock *mock, const struct mock_options *options);
void mock_finish(struct mock *mock);
void mock_dispatch(struct mock *mock, int milliseconds);

void mock_answer(struct mock *mock); /* all that is asked */
void mock_callbacks(struct mock *mock);
void mock_release_held(struct mock *mock);
void mock_feedback(struct mock *mock, uint32_t refresh_ns, uint32_t flags); /* presented */
/* A table, and the entries of it that are listed (bits); table NULL: the last one. missing: bytes that the file lacks. */
void mock_send_formats(struct mock *mock, const struct mock_format *table, size_t n, uint32_t listed, size_t missing);

#endif
