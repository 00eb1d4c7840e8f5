/* SPDX-License-Identifier: MIT */
#ifndef VTR_DISPLAY_DISPLAY_H
#define VTR_DISPLAY_DISPLAY_H

#include <vitrine/display.h>
#include <vitrine/limits.h>

/*
 * What a display implements (a folder in ui/) and what it may use. Every function of vtr_display_impl is called on the display's
 * thread, except those that say otherwise. A display embeds struct vtr_display as `base`. All members are mandatory but start,
 * stop, cursor, mode, frozen, ask, egl, accepts_texture and flips.
 */
struct vtr_display_impl {
	const char *name;
	/* The first and the last on the thread, for libraries that want to be used on one. start: 0, or -errno, and then neither
	 * stop nor anything else is called. */
	int (*start)(struct vtr_display *display);
	void (*stop)(struct vtr_display *display);
	/* An output appears or goes: window, connector; from the start, or because it was added, removed or moved. attach may fail
	 * (0 or -errno): the output then goes to the fallback display, or counts as not connected. detach finishes all frames of
	 * the output that the display holds, and finishes its captures or gives them back. An attached output has no picture yet:
	 * its first frame is damaged all over. A display that needs pixels says so (vtr_output_set_demand()) each time. */
	int (*attach)(struct vtr_display *display, struct vtr_output *output);
	void (*detach)(struct vtr_display *display, struct vtr_output *output);
	/* The newest frame waits: vtr_output_take_frame() now or whenever the display is ready. */
	void (*frame)(struct vtr_display *display, struct vtr_output *output);
	/* Cursor image or position changed: vtr_output_get_cursor(). May be NULL. */
	void (*cursor)(struct vtr_display *display, struct vtr_output *output);
	/* The output's mode was changed by somebody else (vitrinectl output resize): vtr_output_mode(). May be NULL. */
	void (*mode)(struct vtr_display *display, struct vtr_output *output);
	/* vtr_output_frozen() changed. May be NULL. */
	void (*frozen)(struct vtr_display *display, struct vtr_output *output);
	/* Somebody wants to know what the output's monitor is like now (vtr_output_ask()): vtr_output_begin_answer(), look, say
	 * what is new, vtr_output_answer(). NULL: the display says by itself what changes. */
	void (*ask)(struct vtr_display *display, struct vtr_output *output);
	/* Make a picture of what is shown and end with vtr_capture_finish(), now or later. */
	void (*capture)(struct vtr_display *display, struct vtr_output *output, struct vtr_capture *capture);
	/* Any thread: may such a dmabuf be shown on this output? Of output only what any thread may ask. */
	bool (*accepts)(struct vtr_display *display, const struct vtr_output *output, uint32_t format, uint64_t modifier,
	                struct vtr_error *error);
	/* Any thread: the EGLDisplay whose textures the display samples; NULL: it samples none. May be NULL. */
	void *(*egl)(const struct vtr_display *display);
	/* Any thread: may a texture of egl_display be shown? NULL: none may. */
	bool (*accepts_texture)(struct vtr_display *display, void *egl_display, struct vtr_error *error);
	bool flips;                                   /* it shows buffers whose first row is the bottom one */
	void (*destroy)(struct vtr_display *display); /* after the thread ended */
};

struct vtr_display {
	const struct vtr_display_impl *impl;
	struct vtr_loop *loop; /* the display thread's */
	/* the rest is src/display/display.c's: thread, mail box from the device thread */
	struct vtr_display_thread *thread;
};

/* Creates the loop and starts the thread, which has nothing to do until an output is added. 0, -errno, or what start returned.
 * vtr_display_destroy() detaches all outputs, joins the thread, destroys the loop (and with it all sources), and then calls
 * impl->destroy. */
int vtr_display_init(struct vtr_display *display, const struct vtr_display_impl *impl);

/* The display is of no more use (its connection was lost). Called on its thread, from anywhere, and returns at once: nothing but
 * detach is called from then on, soon and for every output, which must cope with the loss; the outputs go to the fallback display,
 * with error in log and status. Only the first call counts. */
void vtr_display_failed(struct vtr_display *display, const struct vtr_error *error);

/* ---- an output, from the display thread ---- */
unsigned vtr_output_number(const struct vtr_output *output); /* which scanout it shows */
void *vtr_output_user(const struct vtr_output *output);      /* the display's own per-output state */
void vtr_output_set_user(struct vtr_output *output, void *user);

/* The newest frame, or NULL. The display owns it until vtr_frame_finish(). A display that holds
 * more than one frame with pixels makes the device thread present twice for want of staging. */
struct vtr_frame *vtr_output_take_frame(struct vtr_output *output);

/* True when no damage is left to be read: what the display put together from the frames it took is the picture of the last of them,
 * also when that one carried no pixels. */
bool vtr_output_is_current(const struct vtr_output *output);

/* The frame is shown (presented_ns, CLOCK_MONOTONIC) or was given up (0: dropped). Frees the frame, unlocks buffer and pixels. An
 * output that nobody sees (a hidden or minimised window) gives its frames up when they come, with a demand of VTR_DEMAND_NONE: the
 * device answers the guest's flushes at the output's refresh rate then, so that the display needs no clock for it. */
void vtr_frame_finish(struct vtr_frame *frame, uint64_t presented_ns);

/* Reports presented without giving the frame back: the display goes on reading buffer or pixels until vtr_frame_finish(). */
void vtr_frame_presented(struct vtr_frame *frame, uint64_t presented_ns);

/* The frame's buffer cannot be imported: reports IMPORT_FAILED with *error; the frame is still to be finished. */
void vtr_frame_import_failed(struct vtr_frame *frame, const struct vtr_error *error);

/* Whether the picture of a frame with a buffer of 32 bits a pixel lies within its dmabuf; false with *error. To be asked before an
 * import: drivers and compositors take less than they read. Of what is not linear, only
 * a driver knows: true. */
bool vtr_frame_fits_dmabuf(const struct vtr_frame *frame, struct vtr_error *error);

void vtr_output_set_demand(struct vtr_output *output, enum vtr_output_demand demand); /* a rise reports FRAME_NEEDED */

/* The monitor has another mode: at once, also for fixed outputs, reports MODE_CHANGED. For connectors. */
void vtr_output_set_mode(struct vtr_output *output, const struct vtr_mode *mode);

/* The monitor's EDID, size bytes in whole blocks (at most VTR_MAX_EDID), copied; size 0: none. Reports MODE_CHANGED when it is
 * another one. */
void vtr_output_set_edid(struct vtr_output *output, const uint8_t *edid, size_t size);

/* Whatever was asked until begin_answer is answered by answer: look at the monitor in between. */
void vtr_output_begin_answer(struct vtr_output *output);
void vtr_output_answer(struct vtr_output *output);

/* The window has another size (pixels) or monitor: the output takes it when the last such call is VTR_MODE_SETTLE_MS ago, rounded
 * down to VTR_MODE_WIDTH_STEP x VTR_MODE_HEIGHT_STEP pixels and at least VTR_MODE_MIN_WIDTH x VTR_MODE_MIN_HEIGHT. refresh_mhz 0:
 * as it is. Outputs with a fixed mode ignore it. */
void vtr_output_request_mode(struct vtr_output *output, const struct vtr_mode *mode);

enum {
	VTR_MODE_SETTLE_MS = 150, /* a window is dragged in many steps; each would be a mode set for the guest */
	/* CVT's cell, which is what a guest rounds to that makes timings itself; and no odd heights, for subsampled pixels. The
	 * Linux driver takes a preferred mode up to 16 pixels below GET_DISPLAY_INFO's; ours are the same. */
	VTR_MODE_WIDTH_STEP = 8,
	VTR_MODE_HEIGHT_STEP = 2,
	VTR_MODE_MIN_WIDTH = 320,
	VTR_MODE_MIN_HEIGHT = 200,
};

/* A monitor was plugged in, or pulled: reports MODE_CHANGED. Of an output that is not connected the demand is NONE, whatever waits
 * is dropped, and no frame comes; it stays with its display. Nothing happens when it is so already. Also from attach. */
void vtr_output_set_connected(struct vtr_output *output, bool connected);
/* No dmabuf can be shown for the moment, whatever it is like (why), or they can again (NULL): vtr_output_accepts() says it to the
 * path ladder. Reports FRAME_NEEDED when that changed. */
void vtr_output_refuse_dmabufs(struct vtr_output *output, const struct vtr_error *why);
void vtr_output_get_cursor(struct vtr_output *output, struct vtr_cursor *cursor); /* a copy */
bool vtr_output_frozen(const struct vtr_output *output); /* any thread: the picture is an old one, its memory is away */

/* Captures of one output that are alive at a time: no display sees more. */
enum { VTR_MAX_CAPTURES = 2 * VTR_MAX_CONTROL_CLIENTS };

/* True when the capture wants the cursor in the picture. */
bool vtr_capture_wants_cursor(const struct vtr_capture *capture);
/* Ends a capture: capture is gone. image: XRGB8888/ARGB8888 (copied into the memfd), or NULL with *error. */
void vtr_capture_finish(struct vtr_capture *capture, pixman_image_t *image, uint64_t sequence, const struct vtr_error *error);

/* In place of vtr_capture_finish(), from detach: the output's next display makes the picture. Takes capture. */
void vtr_capture_give_back(struct vtr_capture *capture);

#endif
