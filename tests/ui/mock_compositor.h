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

enum { MOCK_MAX = 64, MOCK_MONITORS = 3, MOCK_FORMATS = 32 };

struct mock_format {
	uint32_t fourcc, padding;
	uint64_t modifier;
};

struct mock_monitor {
	int32_t refresh_mhz, scale;
};

struct mock_options {
	int dmabuf_version; /* 0: no linux-dmabuf */
	bool no_viewporter, single_pixel, tearing, syncobj, keyboard;
	uint32_t scale;        /* in 1/120; 0: no fractional scales */
	int32_t width, height; /* of the window; 0: the client decides */
	struct mock_monitor monitors[MOCK_MONITORS];
	size_t n_monitors;
};

struct mock_params {
	struct wl_resource *resource;
	int32_t width, height;
	uint32_t offset, stride, format;
	uint64_t modifier;
};

/* What feedback of linux-dmabuf lists now. */
struct mock_list {
	struct wl_resource *feedback;
	struct mock_format table[MOCK_FORMATS];
	uint32_t listed; /* entries of it: bits */
};

/* A point of a timeline (fake_syncobj.h). */
struct mock_point {
	int timeline;
	uint64_t point; /* 0: none */
};

/* A surface above the content, of shared memory; what is committed, once its parent is. */
struct mock_overlay {
	struct wl_resource *surface, *subsurface, *viewport;
	struct wl_resource *attached;
	int32_t asked_position[2], asked_destination[2];
	uint32_t *pixels; /* NULL: not mapped */
	int32_t size[2], position[2], destination[2];
	unsigned commits; /* of it, and */
	unsigned shown;   /* of its parent after them */
};

struct mock_timeline {
	struct wl_resource *resource;
	int timeline;
};

struct mock_global {
	struct mock *mock;
	const struct wl_interface *interface;
	struct wl_global *global;
	size_t number; /* of a monitor */
};

struct mock {
	struct mock_options options;
	struct wl_display *display;
	struct wl_client *client;
	char socket[64]; /* in XDG_RUNTIME_DIR */
	struct mock_global globals[20];
	size_t n_globals;

	/* what it keeps back */
	bool hold_answers, hold_callbacks, hold_releases, hold_feedbacks;
	bool fail; /* answers of params */

	/* what came */
	struct wl_resource *toplevel, *xdg_surface, *background, *content, *content_viewport, *fractional_scale;
	struct wl_resource *monitors[MOCK_MONITORS];
	struct mock_list all, surface;                 /* of formats */
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
	int32_t transform;        /* of the content's buffer: wl_output.transform */
	struct wl_resource *bars; /* attached to the background */
	int32_t bars_size[2];     /* of shared memory */
	int32_t min_size[2];      /* of the window, */
	int32_t geometry[2];      /* and what it said that it has */
	struct wl_resource *keyboard;
	int fullscreen[MOCK_MAX]; /* the monitor of each request; -1: the compositor's choice */
	size_t n_fullscreen;
	uint32_t presentation_hint; /* of tearing-control */
	struct mock_overlay overlay;
	char title[160];

	/* mock_sync.c */
	struct wl_resource *sync; /* of the content */
	struct mock_timeline timelines[MOCK_MAX];
	size_t n_timelines;
	struct mock_point acquire, release; /* of the next commit, */
	struct mock_point current_release;  /* of the last one, */
	struct mock_point points[MOCK_MAX]; /* and of those that are to be released: in the order of commits */
	size_t n_points;
	unsigned explicit_commits;
};

void mock_start(struct mock *mock, const struct mock_options *options);
void mock_finish(struct mock *mock);
void mock_dispatch(struct mock *mock, int milliseconds);

void mock_pull_monitor(struct mock *mock, size_t number);
void mock_answer(struct mock *mock); /* all that is asked */
void mock_callbacks(struct mock *mock);
void mock_release_held(struct mock *mock);
void mock_feedback(struct mock *mock, uint32_t refresh_ns, uint32_t flags); /* presented */

/* What is in the table at first; its first entry is listed for all surfaces. */
enum { MOCK_DEFAULT_FORMATS = 4 };
extern const struct mock_format mock_formats[MOCK_DEFAULT_FORMATS];

/* mock_dmabuf.c. A table, and the entries of it that are listed (bits), those of scanout for a plane of the screen; table NULL: the
 * last one. missing: bytes that the file lacks. */
void mock_send_formats(struct mock_list *list, const struct mock_format *table, size_t n, uint32_t listed, uint32_t scanout,
                       size_t missing);
void mock_tell_formats(struct mock_list *list, struct wl_resource *feedback); /* it was just made */
void mock_dmabuf_bound(struct wl_resource *dmabuf);
void mock_params_request(struct mock *mock, struct wl_resource *resource, const char *name, const union wl_argument *arguments);

/* mock_sync.c: linux-drm-syncobj-v1, with all that makes it end a connection. */
void mock_sync_request(struct mock *mock, struct wl_resource *resource, const char *name, const union wl_argument *arguments,
                       struct wl_resource *made);
void mock_sync_commit(struct mock *mock); /* of the content, with what is attached */
void mock_sync_forget(struct mock *mock, const struct wl_resource *resource);
void mock_signal(struct mock *mock, size_t i); /* the i-th of points, which is one less then */

/* mock_compositor.c */
struct wl_resource *mock_make(struct mock *mock, const struct wl_interface *interface, int version, uint32_t id);

#endif
