/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_DISPLAY_H
#define VITRINE_DISPLAY_H

#include <pixman.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/buffer.h>
#include <vitrine/error.h>
#include <vitrine/loop.h>

/*
 * Displays and outputs: where a guest's frames go.
 *
 * An output is the host's side of a scanout: a window, a connector, a headless picture. A display shows outputs. The device thread
 * produces frames, the display's own thread shows them; between them stands one frame queue per output (newest wins; the damage of
 * a frame that was never shown is added to the next one, and so are its pixels when the next one brings nothing newer; a frame that
 * is not shown is reported as dropped) and one queue of events coming back. Neither side ever waits for the other.
 *
 *   device thread                                   display thread
 *   vtr_output_begin_frame -> fill -> submit  ==>   impl->frame: vtr_output_take_frame ... vtr_frame_finish
 *   vtr_outputs_next_event                    <==   FRAME_DONE, FRAME_NEEDED, IMPORT_FAILED, MODE_CHANGED, ANSWERED
 *
 * The display thread never touches guest memory. A frame carries either a locked buffer (a dmabuf), or pixels that the device
 * thread gathered into staging memory of the output, or nothing but its damage when the output has no use for the pixels now.
 */

struct vtr_mode {
	uint32_t width, height; /* pixels */
	uint32_t refresh_mhz;   /* millihertz: 60000 is 60 Hz; 0: not paced */
};

/* "WxH[@HZ][,name=NAME]": 1 to VTR_MAX_DIMENSION pixels, 1 to 1000 Hz with up to three decimals (60 when not given), a name of 1 to
 * 31 printable ASCII characters (what an EDID can carry) without a comma. "auto[,name=NAME]": a size that follows the window; *mode
 * is then all 0. Returns 0, or -EINVAL and leaves both alone. name is left alone when not given. */
VTR_API int vtr_output_parse(const char *text, struct vtr_mode *mode, char name[32]);

enum vtr_frame_content {
	VTR_FRAME_BLANK,  /* the scanout is disabled: show black */
	VTR_FRAME_UNREAD, /* nothing attached: the output did not want the pixels; for pacing and counting */
	VTR_FRAME_BUFFER, /* frame->buffer */
	VTR_FRAME_PIXELS, /* frame->pixels */
};

struct vtr_frame {
	struct vtr_output *output;
	uint64_t sequence;   /* per output, from 1, without gaps at submit */
	uint64_t flushed_ns; /* CLOCK_MONOTONIC, when the guest's flush arrived; 0: not made for a flush */
	enum vtr_frame_content content;
	uint32_t width, height;   /* of the picture, pixels */
	uint32_t format;          /* DRM fourcc */
	pixman_region32_t damage; /* picture coordinates; of the flush when submitted. When taken: everything since the last frame
	                           * whose pixels the display took and did not give up; all of it when size or format changed */

	/* VTR_FRAME_BUFFER: the frame owns one lock */
	struct vtr_buffer *buffer;
	enum vtr_path path; /* how the pixels come; also for PIXELS and UNREAD */
	uint64_t offset;    /* of the picture's first byte in the dmabuf, vtr_buffer_offset() included */
	uint64_t modifier;
	uint32_t stride; /* bytes; of the buffer or of pixels */
	bool flipped;    /* BUFFER: the buffer's first row is the picture's bottom one */
	uint32_t x, y; /* BUFFER with a texture: the picture's place in that, which may be larger, right side up; dmabufs: offset */

	/* VTR_FRAME_PIXELS: the whole picture, valid until vtr_frame_finish() */
	const void *pixels;
	struct vtr_staging *staging; /* set by vtr_staging_commit() */
};

/* What an output can use at the moment. */
enum vtr_output_demand {
	VTR_DEMAND_NONE,   /* nobody looks: send UNREAD frames */
	VTR_DEMAND_DMABUF, /* dmabufs it accepts, else pixels */
	VTR_DEMAND_PIXELS, /* pixels only */
};

enum vtr_event_type {
	VTR_EVENT_FRAME_DONE,      /* frame `sequence` was shown at `time_ns`, or dropped */
	VTR_EVENT_FRAME_NEEDED,    /* demand rose: present the scanout again, with all the damage that was not read */
	VTR_EVENT_IMPORT_FAILED,   /* frame `sequence`'s buffer cannot be shown: error says why; present it again another way */
	VTR_EVENT_MODE_CHANGED,    /* the output's mode, name or connection changed: tell the guest */
	VTR_EVENT_ANSWERED,        /* the display has answered vtr_output_ask(): see vtr_output_has_answered() */
	VTR_EVENT_DISPLAY_CHANGED, /* another display shows the output: it has nothing yet, so present the scanout again (a disabled
	                            * one, too), and what the last display refused may be tried again */
};

struct vtr_event {
	enum vtr_event_type type;
	uint32_t output; /* index */
	uint64_t sequence;
	uint64_t time_ns;    /* CLOCK_MONOTONIC */
	uint64_t flushed_ns; /* FRAME_DONE: the frame's */
	bool dropped;
	uint64_t buffer_id;     /* IMPORT_FAILED */
	struct vtr_error error; /* IMPORT_FAILED */
};

/* ---- the set of outputs: created by the program, used by the gpu (device thread) -------------------------------------------- */
struct vtr_outputs;
struct vtr_output;
struct vtr_display;

VTR_API struct vtr_outputs *vtr_outputs_create(void);          /* NULL when out of memory or fds */
VTR_API void vtr_outputs_destroy(struct vtr_outputs *outputs); /* after gpu and displays; NULL is fine */

/* Adds output number vtr_outputs_count() (at most VTR_MAX_SCANOUTS), shown by display (not owned; a display shows outputs of one
 * set). mode: NULL for one of 1280x800 that follows its window; else it is fixed. name: as vtr_output_parse() takes it, NULL for a
 * default ("vitrine-0", ...). The output counts as connected; when the display cannot show it, it goes to the fallback display or
 * MODE_CHANGED follows. Without a display (NULL) it is a free place: not connected, for vtr_outputs_connect(). How many scanouts a
 * guest sees is fixed when the gpu is made, so places are added before. Returns NULL with errno: ENOSPC, EINVAL (mode or name),
 * ENOMEM. */
VTR_API struct vtr_output *vtr_outputs_add(struct vtr_outputs *outputs, struct vtr_display *display, const struct vtr_mode *mode,
                                           const char *name);
VTR_API size_t vtr_outputs_count(const struct vtr_outputs *outputs);
VTR_API struct vtr_output *vtr_outputs_get(struct vtr_outputs *outputs, size_t index); /* NULL beyond the last */

/* Where outputs go whose display fails or cannot show them (not owned): the device goes on. NULL: they are disconnected. */
VTR_API void vtr_outputs_set_fallback(struct vtr_outputs *outputs, struct vtr_display *display);

/* Readable when events wait; and the next of them, false when there is none. */
VTR_API int vtr_outputs_event_fd(const struct vtr_outputs *outputs);
VTR_API bool vtr_outputs_next_event(struct vtr_outputs *outputs, struct vtr_event *event);

/*
 * ---- outputs that come, go and move at run time (device thread) ----------------------------------------------------------------
 *
 * An output changes its display without the device waiting for either: the last display is told to let go, and when it has, the
 * next one gets the output with its queue, staging, cursor and captures, and the newest picture at once. Each frame still gives
 * exactly one FRAME_DONE. The guest notices nothing but a change of mode or connection.
 */

/* Connects the first free place: mode and name as in vtr_outputs_add(), display is not NULL. Returns NULL with errno: ENOSPC (no
 * place is free), EINVAL, EEXIST (another output has the name), ENODEV (the display failed). */
VTR_API struct vtr_output *vtr_outputs_connect(struct vtr_outputs *outputs, struct vtr_display *display,
                                               const struct vtr_mode *mode, const char *name);

/* Shows the output, connected, on display from now on; when that cannot show it, on the fallback display. NULL: nowhere; the output
 * is not connected and its place is free. 0, or -ENODEV when the display failed. */
VTR_API int vtr_output_move(struct vtr_output *output, struct vtr_display *display);

/* Gives the output another mode, fixed from then on, and MODE_CHANGED follows; NULL: it keeps its mode and follows its window. 0 or
 * -EINVAL. */
VTR_API int vtr_output_resize(struct vtr_output *output, const struct vtr_mode *mode);

/* Why the output is on the fallback display ("wayland: the compositor is gone"), "" when it is where it was put. */
VTR_API const char *vtr_output_lost(const struct vtr_output *output);
VTR_API bool vtr_output_fixed(const struct vtr_output *output);      /* its mode does not follow a window */
VTR_API bool vtr_output_on_display(const struct vtr_output *output); /* false: a free place */

/* ---- an output, from the device thread ----------------------------------------------------------------------------------------
 */
VTR_API const char *vtr_output_name(const struct vtr_output *output);
VTR_API uint32_t vtr_output_index(const struct vtr_output *output); /* in the set: the scanout's number */
VTR_API struct vtr_mode vtr_output_mode(const struct vtr_output *output);
VTR_API bool vtr_output_connected(const struct vtr_output *output);
/* The size of the picture that was submitted last; false when it is blank, or none was yet. */
VTR_API bool vtr_output_picture_size(const struct vtr_output *output, uint32_t *width, uint32_t *height);
/* The EDID that the display has for the output's monitor, in whole blocks of 128 bytes; returns its size, 0 when there is none
 * (make one of the mode) or when the mode is not the monitor's but fixed. */
enum { VTR_MAX_EDID = 1024 };
VTR_API size_t vtr_output_edid(const struct vtr_output *output, uint8_t edid[VTR_MAX_EDID]);

/* Some displays hear of their monitors only when they ask (vmm): before the guest is told mode, connection and EDID, the display is
 * asked to look. Returns a number for vtr_output_has_answered(); an ANSWERED event follows, also when the output changes its
 * display, but nobody knows when. 0: what is known is right, nothing follows. */
VTR_API uint32_t vtr_output_ask(struct vtr_output *output);
VTR_API bool vtr_output_has_answered(const struct vtr_output *output, uint32_t question);

VTR_API enum vtr_output_demand vtr_output_demand(const struct vtr_output *output);
VTR_API const char *vtr_output_display_name(const struct vtr_output *output); /* "headless", "sdl", ... */

/* May the display import such a dmabuf? *error says why not. No guarantee: IMPORT_FAILED may follow. */
VTR_API bool vtr_output_accepts(const struct vtr_output *output, uint32_t format, uint64_t modifier, struct vtr_error *error);

/* The same of a texture that belongs to egl_display (EGLDisplay), and of buffers whose first row is the picture's bottom one. */
VTR_API bool vtr_output_accepts_texture(const struct vtr_output *output, void *egl_display, struct vtr_error *error);
VTR_API bool vtr_output_accepts_flipped(const struct vtr_output *output, struct vtr_error *error);

/* A new frame with empty damage and its sequence number set, or NULL when out of memory or when the events of thousands of frames
 * were not read. End it with vtr_output_submit(), or with vtr_frame_discard() (its sequence number is then given to the next one):
 * one frame at a time. */
VTR_API struct vtr_frame *vtr_output_begin_frame(struct vtr_output *output);
VTR_API void vtr_frame_discard(struct vtr_frame *frame);

/* Hands the frame to the display and takes ownership. Whatever waited in the queue is reported as dropped, and so is the frame
 * itself when the output is not connected: each submitted frame gives one FRAME_DONE. Never blocks. */
VTR_API void vtr_output_submit(struct vtr_output *output, struct vtr_frame *frame);

/*
 * Staging: up to three images of the output's own, in rotation, so that the device thread always finds one that no display reads.
 * vtr_staging_note_damage() says what changed in the scanout (also for frames that carry no pixels). vtr_staging_begin() makes one
 * image of the given layout writable and returns in *stale the region that has to be copied into it to be current; after copying,
 * vtr_staging_commit() attaches it to frame as VTR_FRAME_PIXELS. A change of width, height or format starts over.
 * stale is initialised by the caller. Formats: 32 bits per pixel.
 * vtr_staging_begin() returns NULL with errno: ENOMEM (or VTR_MAX_STAGING reached), or EBUSY when the display holds every image;
 * the frame then goes without pixels, and FRAME_NEEDED follows when an image comes back.
 */
VTR_API void vtr_staging_note_damage(struct vtr_output *output, const pixman_region32_t *damage);
VTR_API struct vtr_staging *vtr_staging_begin(struct vtr_output *output, uint32_t width, uint32_t height, uint32_t format,
                                              pixman_region32_t *stale);
VTR_API void *vtr_staging_data(struct vtr_staging *staging);
VTR_API uint32_t vtr_staging_stride(const struct vtr_staging *staging);
/* done: the part of *stale that was really copied; what was not stays stale. */
VTR_API void vtr_staging_commit(struct vtr_staging *staging, const pixman_region32_t *done, struct vtr_frame *frame);
VTR_API void vtr_staging_cancel(struct vtr_staging *staging);

/* The guest's cursor: image 64x64 pixels of ARGB8888 (premultiplied as the guest made it), copied; NULL hides it. */
struct vtr_cursor {
	bool visible;
	int32_t x, y;          /* where the image's upper left corner is in the picture, as Linux and QEMU have it */
	uint32_t hot_x, hot_y; /* the pixel of the image that points: for a host cursor of the same shape */
	uint64_t serial;       /* changes with the image */
	uint32_t image[64 * 64];
};
VTR_API void vtr_output_set_cursor(struct vtr_output *output, const uint32_t *image, uint32_t hot_x, uint32_t hot_y);
VTR_API void vtr_output_move_cursor(struct vtr_output *output, int32_t x, int32_t y);

/* The picture is an old one, because the memory of what the guest shows is not there (true), or not any more. The display is told
 * when this changes: a person may want to know why nothing moves. */
VTR_API void vtr_output_set_frozen(struct vtr_output *output, bool frozen);

/*
 * Capture: what the output shows, as XRGB8888. The display makes it on its own thread; func runs on the thread that dispatches the
 * outputs' events (vtr_outputs_next_event() calls it). On success fd is a sealed memfd of stride * height bytes, the callee's to
 * close; else fd is -1 and error says why. A display that does not answer within the time-out of the caller is the caller's
 * business: vtr_capture_cancel() (func is then not called any more; the capture is gone for the caller, as it is when func was
 * called). vtr_output_capture() returns NULL with errno: ENOMEM, or EBUSY when too many wait for this output.
 */
struct vtr_picture {
	uint32_t width, height, stride; /* stride in bytes */
	uint64_t sequence;              /* of the frame that is shown */
	int fd;
};
typedef void (*vtr_capture_func)(const struct vtr_picture *picture, const struct vtr_error *error, void *data);
struct vtr_capture;
VTR_API struct vtr_capture *vtr_output_capture(struct vtr_output *output, bool cursor, vtr_capture_func func, void *data);
VTR_API void vtr_capture_cancel(struct vtr_capture *capture);

/* ---- displays
 * -------------------------------------------------------------------------------------------------------------------- */

/* A display is a loop on a thread of its own. Several may live in one process. destroy joins the thread; outputs that are still on
 * the display are disconnected, their queued frames dropped; NULL is fine. */
VTR_API struct vtr_display *vtr_headless_create(void); /* NULL with errno */

/*
 * The screens of a DRM card, without a compositor. card: "/dev/dri/card0", NULL for the first one with a monitor. Takes the card
 * and the virtual terminal over, and gives both back as they were when it is destroyed or the process dies. NULL with *error (may
 * be NULL) filled: HOST and what to do about it (no card, no permission, another program has the screen); UNSUPPORTED ENOSYS when
 * the library was built without it. Environment: VITRINE_KMS_LEGACY keeps from atomic commits.
 *
 * vtr_kms_connector() gives the name ("HDMI-A-1", where name is not NULL) of connector number i and the mode that its monitor
 * prefers (any mode where there is none); false beyond the last. Connectors with a monitor come first. An output that is put on the
 * display gets the connector of its name, else the first one without an output, and the monitor's mode; one with a fixed mode keeps
 * that where the monitor has it.
 */
VTR_API struct vtr_display *vtr_kms_create(const char *card, struct vtr_error *error);
VTR_API bool vtr_kms_connector(const struct vtr_display *kms, size_t i, struct vtr_mode *mode, char name[32]);

/*
 * The console of the VMM, over the display socket that a front-end of vhost-user-gpu hands out (VHOST_USER_GPU_SET_SOCKET;
 * docs/interop/vhost-user-gpu.rst of QEMU). socket: a connected UNIX stream socket, taken, closed also on failure. An output shows
 * the VMM's scanout of its own number; sizes, connections and EDIDs are the VMM's, but for outputs with a fixed mode, which keep
 * that and have an EDID of ours. Returns at once: the VMM may be waiting for us. When the VMM closes the socket the display has
 * failed. NULL with *error (may be NULL) filled: HOST.
 */
VTR_API struct vtr_display *vtr_vmm_create(int socket, struct vtr_error *error);

VTR_API void vtr_display_destroy(struct vtr_display *display);
VTR_API const char *vtr_display_name(const struct vtr_display *display);

/* The EGLDisplay that the display draws with, for a renderer whose textures it shall show without a copy; valid until the display
 * is destroyed. NULL: it draws otherwise, or takes any (headless). Any thread. */
VTR_API void *vtr_display_egl(const struct vtr_display *display);

/* False once the display failed (its compositor is gone): it shows nothing any more and is only good for vtr_display_destroy(). Any
 * thread. */
VTR_API bool vtr_display_alive(const struct vtr_display *display);

#endif
