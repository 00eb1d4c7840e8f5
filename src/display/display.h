/* SPDX-License-Identifier: MIT */
#ifndef VTR_DISPLAY_DISPLAY_H
#define VTR_DISPLAY_DISPLAY_H

#include <vitrine/display.h>
#include <vitrine/limits.h>

/*
 * What a display implements (a folder in ui/) and what it may use. Every function of vtr_display_impl is called on the display's
 * thread, except accepts and destroy. A display embeds struct vtr_display as `base`. All members are mandatory but cursor.
 */
struct vtr_display_impl {
	const char *name;
	/* An output appears or goes: window, connector. attach may fail (0 or -errno): the output then counts as not connected.
	 * detach finishes all frames and captures of the output that the display holds. */
	int (*attach)(struct vtr_display *display, struct vtr_output *output);
	void (*detach)(struct vtr_display *display, struct vtr_output *output);
	/* The newest frame waits: vtr_output_take_frame() now or whenever the display is ready. */
	void (*frame)(struct vtr_display *display, struct vtr_output *output);
	/* Cursor image or position changed: vtr_output_get_cursor(). May be NULL. */
	void (*cursor)(struct vtr_display *display, struct vtr_output *output);
	/* Make a picture of what is shown and end with vtr_capture_finish(), now or later. */
	void (*capture)(struct vtr_display *display, struct vtr_output *output, struct vtr_capture *capture);
	/* Any thread: may such a dmabuf be shown? */
	bool (*accepts)(struct vtr_display *display, uint32_t format, uint64_t modifier, struct vtr_error *error);
	void (*destroy)(struct vtr_display *display); /* after the thread ended */
};

struct vtr_display {
	const struct vtr_display_impl *impl;
	struct vtr_loop *loop; /* the display thread's */
	/* the rest is src/display/display.c's: thread, mail box from the device thread */
	struct vtr_display_thread *thread;
};

/* Creates the loop and starts the thread, which has nothing to do until an output is added. 0 or -errno. vtr_display_destroy()
 * detaches all outputs, joins the thread, destroys the loop (and with it all sources), and then calls impl->destroy. */
int vtr_display_init(struct vtr_display *display, const struct vtr_display_impl *impl);

/* ---- an output, from the display thread ---- */
void *vtr_output_user(const struct vtr_output *output); /* the display's own per-output state */
void vtr_output_set_user(struct vtr_output *output, void *user);

/* The newest frame, or NULL. The display owns it until vtr_frame_finish(). A display that holds
 * more than one frame with pixels makes the device thread present twice for want of staging. */
struct vtr_frame *vtr_output_take_frame(struct vtr_output *output);

/* True when no damage is left to be read: what the display put together from the frames it took is the picture of the last of them,
 * also when that one carried no pixels. */
bool vtr_output_is_current(const struct vtr_output *output);

/* The frame is shown (presented_ns, CLOCK_MONOTONIC) or was given up (0: dropped). Frees the frame, unlocks buffer and pixels. */
void vtr_frame_finish(struct vtr_frame *frame, uint64_t presented_ns);

/* Reports presented without giving the frame back: the display goes on reading buffer or pixels until vtr_frame_finish(). */
void vtr_frame_presented(struct vtr_frame *frame, uint64_t presented_ns);

/* The frame's buffer cannot be imported: reports IMPORT_FAILED with *error; the frame is still to be finished. */
void vtr_frame_import_failed(struct vtr_frame *frame, const struct vtr_error *error);

void vtr_output_set_demand(struct vtr_output *output, enum vtr_output_demand demand); /* a rise reports FRAME_NEEDED */
void vtr_output_set_mode(struct vtr_output *output, const struct vtr_mode *mode);     /* reports MODE_CHANGED */
/* A monitor was plugged in, or pulled: reports MODE_CHANGED. Of an output that is not connected the demand is NONE, whatever waits
 * is dropped, and no frame comes. Nothing happens when it is so already. */
void vtr_output_set_connected(struct vtr_output *output, bool connected);
/* No dmabuf can be shown for the moment, whatever it is like (why), or they can again (NULL): vtr_output_accepts() says it to the
 * path ladder. Reports FRAME_NEEDED when that changed. */
void vtr_output_refuse_dmabufs(struct vtr_output *output, const struct vtr_error *why);
void vtr_output_get_cursor(struct vtr_output *output, struct vtr_cursor *cursor); /* a copy */

/* Captures of one output that are alive at a time: no display sees more. */
enum { VTR_MAX_CAPTURES = 2 * VTR_MAX_CONTROL_CLIENTS };

/* True when the capture wants the cursor in the picture. */
bool vtr_capture_wants_cursor(const struct vtr_capture *capture);
/* Ends a capture: capture is gone. image: XRGB8888/ARGB8888 (copied into the memfd), or NULL with *error. */
void vtr_capture_finish(struct vtr_capture *capture, pixman_image_t *image, uint64_t sequence, const struct vtr_error *error);

#endif
