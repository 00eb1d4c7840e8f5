/* SPDX-License-Identifier: MIT */
#ifndef VTR_WAYLAND_WAYLAND_H
#define VTR_WAYLAND_WAYLAND_H

#include <wayland-client.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/window.h>

#include "display/capture_set.h"
#include "display/placement.h"
#include "wayland/formats.h"
#include "wayland/sync.h"

#include "fractional-scale-v1-client-protocol.h"
#include "keyboard-shortcuts-inhibit-unstable-v1-client-protocol.h"
#include "pointer-constraints-unstable-v1-client-protocol.h"
#include "presentation-time-client-protocol.h"
#include "relative-pointer-unstable-v1-client-protocol.h"
#include "single-pixel-buffer-v1-client-protocol.h"
#include "tearing-control-v1-client-protocol.h"
#include "viewporter-client-protocol.h"
#include "xdg-decoration-unstable-v1-client-protocol.h"
#include "xdg-shell-client-protocol.h"

/* Between the files of this room. Everything runs on the display's thread but wayland_formats_find() (formats.h). */

struct wayland_window;
struct wayland_display;

/* ---- the display ---- */

struct wayland_display {
	struct vtr_display base;
	struct vtr_window_options options; /* guest: owned */
	char *socket;                      /* owned; NULL: $WAYLAND_DISPLAY */
	struct vtr_error failure;          /* why it did not start */
	struct wl_display *connection;
	struct vtr_source *source; /* the connection's fd */
	bool lost;
	bool unsent; /* the compositor does not read */

	struct wl_registry *registry;
	struct wl_compositor *compositor;
	struct wl_subcompositor *subcompositor;
	struct wl_shm *shm;
	struct wl_seat *wl_seat;
	uint32_t seat_name;
	struct xdg_wm_base *wm_base;
	struct zwp_linux_dmabuf_v1 *dmabuf;
	struct wp_viewporter *viewporter;
	struct wp_presentation *presentation;
	uint32_t clock; /* of presentation times; a clockid_t */
	struct wp_fractional_scale_manager_v1 *fractional_scale;
	struct wp_tearing_control_manager_v1 *tearing;
	struct wp_single_pixel_buffer_manager_v1 *single_pixel;
	struct zxdg_decoration_manager_v1 *decoration;
	struct zwp_pointer_constraints_v1 *constraints;
	struct zwp_relative_pointer_manager_v1 *relative_pointers;
	struct zwp_keyboard_shortcuts_inhibit_manager_v1 *inhibit;
	struct wl_buffer *black; /* one pixel, made larger by a viewport */

	struct wayland_formats formats;                           /* for all windows, */
	struct wayland_formats surface_formats[VTR_MAX_SCANOUTS]; /* or for the one of this output */
	struct wayland_sync sync;
	struct wayland_monitor *monitors; /* in the order in which the compositor named them */
	struct wayland_seat *seat;        /* NULL: none */
	struct wayland_window *windows[VTR_MAX_SCANOUTS];
	struct wayland_ask *asks; /* that were not answered yet */
};

/* ---- connection.c ---- */

/* Sends what was asked; after each entry from the loop. */
void wayland_flush(struct wayland_display *display);
int wayland_connection_watch(struct wayland_display *display); /* from the loop, from now on; 0 or -ENOMEM */
/* Before that: until the compositor has answered all it was asked. 0 or -errno; -ETIMEDOUT at the time end (CLOCK_MONOTONIC). */
int wayland_round_trip(struct wayland_display *display, uint64_t end);

/* ---- monitor.c: the compositor's outputs ---- */

enum { WAYLAND_MAX_MONITORS = 16 }; /* that a window is on at a time, as far as we look */

struct wayland_monitor {
	struct wayland_monitor *next; // wayland_display.monitors
	struct wayland_display *display;
	struct wl_output *wl_output;
	uint32_t name;        /* in the registry */
	uint32_t refresh_mhz; /* 0: not known */
	int32_t scale;
};

void wayland_monitor_add(struct wayland_display *display, uint32_t name, uint32_t version);
void wayland_monitor_removed(struct wayland_display *display, uint32_t name); /* nothing happens when that is none */
void wayland_monitors_finish(struct wayland_display *display);
/* The one with this number, counted round; NULL when there is none. */
struct wl_output *wayland_monitor_number(const struct wayland_display *display, unsigned number);
/* A window's surface came to a monitor, or left it; or the monitor changed. */
void wayland_monitor_entered(struct wayland_window *window, struct wl_output *wl_output);
void wayland_monitor_left(struct wayland_window *window, struct wl_output *wl_output);

/* ---- import.c: dmabufs as the compositor's buffers, each made once ---- */

enum { WAYLAND_IMPORTS = 8 };

enum wayland_import_state {
	WAYLAND_IMPORT_FREE,
	WAYLAND_IMPORT_ASKED, /* the compositor has not answered yet */
	WAYLAND_IMPORT_READY,
	WAYLAND_IMPORT_REFUSED,
};

struct wayland_import {
	struct wayland_window *window;
	enum wayland_import_state state;
	uint64_t buffer; /* id */
	uint64_t offset, modifier;
	uint32_t width, height, stride, fourcc;
	uint64_t used;
	uint32_t left; /* columns of wl_buffer that lie left of the picture */
	struct wayland_ask *ask;
	struct wl_buffer *wl_buffer;
	bool busy;               /* attached without release points, and not released since */
	unsigned n_releases;     /* release points that were not signalled yet */
	struct vtr_frame *frame; /* the last one that was shown with it, until the compositor lets go */
};

/* The import of a frame with a buffer, asked for when it is new. NULL: all are busy, wait for a release; or *refused, with *error
 * why. */
struct wayland_import *wayland_import_frame(struct wayland_window *window, const struct vtr_frame *frame, bool *refused,
                                            struct vtr_error *error);
void wayland_imports_clear(struct wayland_window *window, bool all); /* else those that are not used */
void wayland_asks_finish(struct wayland_display *display);           /* no answer will come any more */

/* ---- pixels.c: pixels as the compositor's buffers ---- */

enum { WAYLAND_SHM_BUFFERS = 3 };

struct wayland_shm_buffer {
	struct wayland_window *window;
	struct wl_buffer *wl_buffer; /* NULL: none */
	pixman_image_t *image;       /* x8r8g8b8, in the shared memory */
	void *data;
	size_t size;
	pixman_region32_t stale;
	bool busy;
};

/* A buffer with the frame's pixels. NULL: all are busy; or *error says why there is none. */
struct wayland_shm_buffer *wayland_pixels_load(struct wayland_window *window, const struct vtr_frame *frame,
                                               struct vtr_error *error);
void wayland_pixels_clear(struct wayland_window *window);
/* A buffer of width x height x8r8g8b8 in shared memory and its pixels; released when the caller destroys it. NULL: no memory. */
struct wl_buffer *wayland_shm_create(struct wayland_display *display, uint32_t width, uint32_t height, uint32_t format, void **data,
                                     size_t *size);
/* A buffer that is black, all of it. NULL: no memory. */
struct wl_buffer *wayland_shm_black(struct wayland_display *display, uint32_t width, uint32_t height);

/* ---- overlay.c: the guest's cursor above its picture ---- */

/* What is to be seen of it: nothing when count is 0. Each is x, y. */
struct wayland_overlay_look {
	uint64_t serial;  /* of the cursor's image, */
	int32_t first[2]; /* of which this part is in the picture: */
	int32_t count[2]; /* pixels of the guest */
	int32_t place[2]; /* in the window, in the compositor's units, */
	int32_t size[2];  /* and how large */
};

struct wayland_overlay {
	struct wl_surface *surface; /* NULL: it was never needed */
	struct wl_subsurface *subsurface;
	struct wp_viewport *viewport; /* NULL: the compositor cannot scale */
	struct wl_buffer *buffer;     /* NULL: it is hidden */
	struct wayland_overlay_look look;
	struct wl_callback *answer; /* the compositor has not seen the last change yet */
};

/* To be called when the cursor, the picture's place, or who shows the cursor may have changed. */
void wayland_overlay_update(struct wayland_window *window);
void wayland_overlay_finish(struct wayland_window *window);

/* ---- window.c, place.c, frames.c, capture.c, feedback.c ---- */

enum { WAYLAND_FEEDBACKS = 4 }; /* pictures whose presentation the compositor may owe us at a time */

enum wayland_presentation {
	WAYLAND_UNKNOWN,
	WAYLAND_DRAWN,
	WAYLAND_SCANNED_OUT, /* from the guest's memory: zero copy */
};

struct wayland_window {
	struct wayland_display *display;
	struct vtr_output *output;
	unsigned number;

	/* window.c, place.c */
	struct wl_surface *background; /* the window: black */
	struct wl_surface *content;    /* the picture, above it */
	struct wl_subsurface *subsurface;
	struct wp_viewport *background_viewport, *content_viewport; /* NULL: the compositor cannot scale */
	struct xdg_surface *xdg_surface;
	struct xdg_toplevel *toplevel;
	struct zxdg_toplevel_decoration_v1 *decoration;
	struct wp_fractional_scale_v1 *fractional_scale;
	struct wp_tearing_control_v1 *tearing;
	struct zwp_keyboard_shortcuts_inhibitor_v1 *inhibitor;
	int32_t width, height;          /* of the window, in the compositor's units */
	int32_t asked[2];               /* of the configure event under way */
	uint32_t scale;                 /* pixels a unit, in 1/120 */
	struct vtr_placement placement; /* of the picture, in pixels */
	struct wl_buffer *bars;         /* without viewports: black, of that size; NULL: none yet */
	int32_t bars_size[2];
	uint32_t refresh_mhz;                                   /* of the monitor, 0: not known */
	struct wayland_monitor *monitors[WAYLAND_MAX_MONITORS]; /* that it is on; the last one that it came to comes last */
	size_t n_monitors;
	int32_t bounds[2]; /* of the room that the compositor has for it; 0: not told */
	bool configured, fullscreen, grabbed, integer_scaling;
	bool held; /* the compositor says how large it is: full screen, maximised or beside others */
	char title[160];

	/* frames.c */
	struct vtr_frame *waiting;   /* taken, but not committed yet */
	struct vtr_frame *committed; /* until the frame callback */
	bool committed_released;     /* its buffer is back already */
	struct wl_callback *callback;
	struct wayland_import imports[WAYLAND_IMPORTS];
	struct wayland_shm_buffer pixels[WAYLAND_SHM_BUFFERS];
	struct wp_linux_drm_syncobj_surface_v1 *sync; /* NULL: the last buffer was committed without points */
	struct wayland_release releases[WAYLAND_RELEASES];
	uint64_t import_uses;
	bool mapped;                  /* the content has a buffer */
	struct wayland_import *shown; /* whose buffer the content has; NULL: none's */
	uint32_t source[3];           /* of the content's viewport: left, width, height; 0: all of the buffer */
	bool flipped;                 /* its buffer's first row is the bottom one */
	struct wp_presentation_feedback *feedbacks[WAYLAND_FEEDBACKS];
	bool told;                              /* whether the guest shows something is known: a frame came */
	uint32_t picture_width, picture_height; /* 0: none */
	enum vtr_path path;
	enum wayland_presentation presentation; /* of the last frame with a buffer that we were told of */
	struct vtr_source *idle;
	struct vtr_log_limit log;
	struct vtr_capture_set captures;
	struct vtr_cursor cursor;
	bool host_cursor; /* the pointer has its image: the guest follows it */
	struct wayland_overlay overlay;
};

/* window.c */
int wayland_window_open(struct wayland_display *display, struct vtr_output *output);
void wayland_window_close(struct wayland_window *window);
struct wayland_window *wayland_window_of(struct wayland_display *display, struct wl_surface *surface); /* NULL: none of ours */
void wayland_window_set_title(struct wayland_window *window);
void wayland_window_set_fullscreen(struct wayland_window *window, bool fullscreen);
void wayland_window_fit(struct wayland_window *window); /* as large as its picture, where the compositor leaves that to us */

/* place.c */
enum { WAYLAND_SCALE_ONE = 120 };
int32_t wayland_to_units(const struct wayland_window *window, int64_t pixels);
/* The picture changed its size, and is about to be committed. */
void wayland_window_place(struct wayland_window *window);
void wayland_window_resized(struct wayland_window *window);                            /* or scales in another way */
void wayland_window_request_mode(struct wayland_window *window);                       /* that of its size and monitor */
void wayland_window_set_scale(struct wayland_window *window, uint32_t scale);          /* pixels a unit, in 1/120 */
void wayland_window_note_refresh(struct wayland_window *window, uint64_t refresh_mhz); /* of its monitor */
/* The guest's pixel under a point of surface (in units); the nearest one. */
void wayland_window_to_picture(const struct wayland_window *window, struct wl_surface *surface, double x, double y,
                               uint32_t *picture_x, uint32_t *picture_y);

/* frames.c */
void wayland_show(struct wayland_window *window);            /* what can be shown now is */
void wayland_take_newest(struct wayland_window *window);     /* window->waiting is the newest frame, or NULL */
void wayland_frames_release(struct wayland_window *window);  /* all that is held */
void wayland_import_released(struct wayland_import *import); /* by the compositor, perhaps not for the last time */

/* capture.c */
void wayland_capture(struct wayland_window *window, struct vtr_capture *capture);
/* frame: that was taken; what waits is answered if it has pixels, or is blank. */
void wayland_captures_answer(struct wayland_window *window, const struct vtr_frame *frame);
void wayland_update_demand(struct wayland_window *window, bool present); /* present: the guest's picture, again */

/* feedback.c */
void wayland_feedback_ask(struct wayland_window *window); /* of the content's next commit */
void wayland_feedback_finish(struct wayland_window *window);

/* ---- seat.c, cursor.c ---- */

void wayland_seat_bind(struct wayland_display *display, uint32_t name, uint32_t version);
void wayland_seat_unbind(struct wayland_display *display);
void wayland_seat_forget(struct wayland_display *display, const struct wayland_window *window); /* the window goes */
void wayland_grab(struct wayland_window *window, bool grabbed);
void wayland_cursor_changed(struct wayland_window *window);
/* The guest may follow the host's pointer now, or no longer. */
void wayland_cursor_update(struct wayland_window *window);
bool wayland_cursor_is_host(
	const struct wayland_display *display); /* the guest follows the pointer, which has its cursor's image */

#endif
