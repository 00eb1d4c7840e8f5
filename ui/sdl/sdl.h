/* SPDX-License-Identifier: MIT */
#ifndef VTR_SDL_SDL_H
#define VTR_SDL_SDL_H

#include <SDL.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/window.h>

#include "display/capture_set.h"
#include "display/placement.h"
#include "egl/egl.h"

/* Between the files of this room. Everything runs on the display's thread unless it says otherwise. */

struct sdl_window;

/* How pictures get onto windows: gl.c or software.c. */
struct sdl_renderer {
	const char *name;
	uint32_t window_flags;
	/* What a window needs of its own: 0 or -errno. */
	int (*open)(struct sdl_window *window);
	void (*close)(struct sdl_window *window);
	/* Takes over what the frame shows; the frame is still the caller's. False with *error when that cannot be shown, and the
	 * window goes on with the picture that it had. */
	bool (*load)(struct sdl_window *window, const struct vtr_frame *frame, struct vtr_error *error);
	/* Draws the window's picture (none: black) and cursor. False with *error when the window cannot be drawn. */
	bool (*paint)(struct sdl_window *window, struct vtr_error *error);
	/* Whether nobody reads the buffers of what was painted any more; waits for timeout_ns at most. */
	bool (*finished)(struct sdl_window *window, uint64_t timeout_ns);
	/* An fd that becomes readable then, the caller's; -1: ask again. */
	int (*finished_fd)(struct sdl_window *window);
	/* What the window shows, without the cursor: the caller's; NULL when out of memory. */
	pixman_image_t *(*read)(struct sdl_window *window);
	/* Nothing new came for a while: what is kept for quick repetition can go. */
	void (*idle)(struct sdl_window *window);
	/* The window's size in physical pixels. */
	void (*size)(struct sdl_window *window, int *width, int *height);
};
extern const struct sdl_renderer sdl_gl_renderer, sdl_software_renderer;

struct sdl_display {
	struct vtr_display base;
	struct vtr_window_options options; /* guest: owned */
	const struct sdl_renderer *renderer;
	enum vtr_output_demand demand; /* of a window that is seen */
	struct vtr_source *pump;
	unsigned pump_ms; /* until the next look, if nothing comes */
	int watched_fd;   /* of the window system's connection, -1: none to be had */
	struct vtr_source *watch;
	struct sdl_window *windows[VTR_MAX_SCANOUTS];
	bool ended; /* the window system is gone */

	/* gl.c: one context for all windows, made with a window that is never seen */
	SDL_Window *hidden;
	SDL_GLContext context;
	struct vtr_egl_caps caps;
	struct vtr_egl_painter painter;
};

/* drawing.c */
struct sdl_drawing {
	bool active;             /* the GPU draws the last picture, */
	struct vtr_frame *frame; /* which is this one's; NULL: one that was there before */
	uint64_t end_ns;         /* it has time until then */
	struct vtr_source *timer, *source;
	int fd; /* source's; -1: none */
};

struct sdl_window {
	struct sdl_display *display;
	struct vtr_output *output;
	unsigned number; /* of the output */
	SDL_Window *window;
	struct vtr_frame *held;               /* the frame whose buffer is on screen */
	bool told;                            /* whether the guest shows something is known: a frame came */
	uint32_t width, height;               /* of the picture; 0: none */
	uint32_t fitted_width, fitted_height; /* of the picture that the window was made as large as */
	enum vtr_path path;
	uint64_t sequence;              /* of the frame that is shown */
	struct vtr_placement placement; /* of the picture, or of the output's mode while there is none */
	struct vtr_source *tick, *idle;
	bool ticking; /* a frame waits for the next tick */
	struct sdl_drawing drawing;
	bool postponed; /* there is something to be shown when that is done */
	uint64_t painted_ns;
	bool visible;
	bool current; /* the picture is that of the newest frame: captures need not wait */
	bool integer_scaling, smooth;
	char title[160];
	struct vtr_log_limit log;
	struct vtr_capture_set captures;

	/* input.c */
	bool grabbed;
	/* cursor.c */
	struct vtr_cursor cursor;
	SDL_Cursor *host_cursor; /* the guest's image; NULL: none */

	/* gl.c */
	struct vtr_egl_imports imports;
	const struct vtr_egl_import *import; /* the picture, or */
	struct vtr_egl_upload upload;        /* this */
	struct vtr_egl_upload cursor_upload;
	struct vtr_egl_fence fence;
	uint64_t cursor_serial;
	/* software.c */
	pixman_image_t *image;
};

/* sdl.c */
struct sdl_window *sdl_find_window(struct sdl_display *display, uint32_t id); /* by SDL's number; NULL */
void sdl_connection_lost(struct sdl_display *display);                        /* the window system is gone */
/* False, from then on, when it is gone. To be asked before SDL is: Xlib may crash on a connection that was lost (connection.c). */
bool sdl_alive(struct sdl_display *display);

void sdl_pump_soon(struct sdl_display *display); /* SDL was used, and may have read events */

/* connection.c: the fd of the window system's connection, or -1. From here on its loss does not end the program, but calls
 * sdl_connection_lost(). */
int sdl_connection_fd(struct sdl_display *display, SDL_Window *window);

/* gl.c: the context and what it can do. 0, or -errno with *error. */
int sdl_gl_start(struct sdl_display *display, struct vtr_error *error);
void sdl_gl_stop(struct sdl_display *display);

/* window.c */
int sdl_window_open(struct sdl_display *display, struct vtr_output *output);
void sdl_window_close(struct sdl_window *window);
void sdl_window_frame(struct sdl_window *window);   /* a frame waits */
void sdl_window_repaint(struct sdl_window *window); /* at the next tick */
void sdl_window_resized(struct sdl_window *window); /* it has another size or monitor */
void sdl_window_set_visible(struct sdl_window *window, bool visible);
void sdl_window_set_title(struct sdl_window *window);
void sdl_window_capture(struct sdl_window *window, struct vtr_capture *capture);
void sdl_window_fit(struct sdl_window *window); /* as large as its picture */

void sdl_window_drawn(struct sdl_window *window, struct vtr_frame *frame); /* the GPU is done with the picture, which was frame's */

/* drawing.c */
int sdl_drawing_init(struct sdl_window *window);                            /* 0 or -ENOMEM */
void sdl_drawing_begin(struct sdl_window *window, struct vtr_frame *frame); /* a picture was painted: takes frame (NULL: none) */
void sdl_drawing_wait(struct sdl_window *window);                           /* until the GPU is done, or given up */
void sdl_drawing_finish(struct sdl_window *window);

/* input.c */
void sdl_handle_event(struct sdl_display *display, const SDL_Event *event);
void sdl_window_release(struct sdl_window *window); /* keys and grab */

/* cursor.c */
void sdl_cursor_changed(struct sdl_window *window);
void sdl_cursor_update(struct sdl_window *window);         /* the pointer came, or the guest follows it now, or no longer */
bool sdl_cursor_is_drawn(const struct sdl_window *window); /* into the picture, as no host cursor stands for it */
void sdl_cursor_close(struct sdl_window *window);

/* icon.c */
void sdl_icon_set(SDL_Window *window);

/* keys.c: evdev code of a key by its place on the keyboard; 0: none. */
uint32_t sdl_evdev_of(SDL_Scancode scancode);

#endif
