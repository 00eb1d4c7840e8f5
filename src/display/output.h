/* SPDX-License-Identifier: MIT */
#ifndef VTR_DISPLAY_OUTPUT_H
#define VTR_DISPLAY_OUTPUT_H

#include <pthread.h>
#include <stdatomic.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "display/display.h"

/*
 * What the files of this room share: an output's state, who may touch which part of it, and the queue of events.
 *
 * Locks: vtr_output.lock, vtr_outputs.lock (events) and the mail box's lock in display.c. None is ever taken while another is held,
 * and none is held over anything that can wait: pointers and flags are swapped, a cursor's 16 KiB copied, an eventfd written.
 */

/*
 * An event on its way to the device thread. The node lives in the object that the event is about (frame, output, capture), so
 * posting never allocates and never fails, and there are never more events than objects.
 */
struct vtr_event_node {
	struct vtr_event_node *next; // vtr_outputs.first
	bool queued;
	struct vtr_event event;
	/* On the device thread, with the node out of the queue: false when the event is not one for vtr_outputs_next_event(). May
	 * be NULL (true). The node may be gone when it returns. */
	bool (*deliver)(struct vtr_event_node *node);
};

struct vtr_outputs {
	struct vtr_output *items[VTR_MAX_SCANOUTS];
	size_t count;
	struct vtr_display *fallback; /* NULL: none */
	uint64_t staging_bytes;       /* of all outputs, at most VTR_MAX_STAGING */
	struct vtr_log_limit log;     /* of displays that fail: a VMM can make its own do so as often as it likes */

	pthread_mutex_t lock;
	struct vtr_event_node *first, **last;
	int event_fd; /* readable exactly while the queue is not empty */
};

/* Nothing happens when the node is queued already. Any thread. */
void vtr_outputs_post(struct vtr_outputs *outputs, struct vtr_event_node *node);

/* The node's object goes: no event of it is delivered any more. Device thread. */
void vtr_outputs_unpost(struct vtr_outputs *outputs, struct vtr_event_node *node);

/* Size and format of a picture; all 0 when there is none. */
struct vtr_layout {
	uint32_t width, height, format;
};

static inline bool vtr_layout_equal(struct vtr_layout a, struct vtr_layout b)
{
	return a.width == b.width && a.height == b.height && a.format == b.format;
}

enum { VTR_STAGING_SLOTS = 3 };

struct vtr_staging {
	struct vtr_output *output;
	uint8_t *data;
	size_t size;             /* bytes of data */
	bool valid;              /* has the layout of output->staging_layout; else all of it is stale */
	pixman_region32_t stale; /* what the scanout has and this image has not */
	bool busy;               /* being written, queued or read; output->lock */
};

/* What waits for the display thread: bits of vtr_output.mail. */
enum {
	VTR_MAIL_ATTACH = 1 << 0,
	VTR_MAIL_FRAME = 1 << 1,
	VTR_MAIL_CURSOR = 1 << 2,
	VTR_MAIL_CAPTURE = 1 << 3,
	VTR_MAIL_MODE = 1 << 4,
	VTR_MAIL_FROZEN = 1 << 5,
	VTR_MAIL_ASK = 1 << 6,
	VTR_MAIL_DETACH = 1 << 7, /* the last one from this device thread until the display has let go */
};

struct vtr_output {
	/* constant */
	struct vtr_outputs *outputs;
	uint32_t index;

	char name[32]; /* changes only while no display has the output */

	/* device thread: move.c */
	struct vtr_display *display; /* that has it; NULL: a free place */
	struct vtr_display *next;    /* leaving: to go to; NULL: nowhere */
	bool leaving;                /* display was told to let go and has not yet */
	char next_name[32];          /* leaving: taken then, when not empty */
	char lost[256];              /* why it is on the fallback display */

	/* device thread */
	uint64_t sequence;        /* of the last frame submitted */
	struct vtr_layout layout; /* likewise */
	struct vtr_layout staging_layout;
	struct vtr_staging staging[VTR_STAGING_SLOTS];
	unsigned n_captures; /* alive */
	bool renew;          /* the display is new and was given no picture yet */

	atomic_uint asked; /* the last question about the monitor; the device thread asks */

	/* any thread */
	_Atomic enum vtr_output_demand demand;
	atomic_bool connected;
	atomic_bool fixed;    /* its mode does not follow a window */
	atomic_bool frozen;   /* the memory of its picture is away */
	atomic_uint n_frames; /* alive */
	atomic_uint answered; /* of the questions about the monitor, the last that was */

	pthread_mutex_t lock;
	/* under lock */
	struct vtr_mode mode;
	struct vtr_frame *pending; /* submitted, not taken */
	struct vtr_cursor cursor;
	struct vtr_capture *captures; /* asked for, not yet seen by the display */
	bool starved;                 /* vtr_staging_begin() found no free image */
	struct vtr_error no_dmabufs;  /* owner VTR_ERROR_NONE: they can be shown */
	size_t edid_size;             /* 0: the display has none */
	uint8_t edid[VTR_MAX_EDID];

	/* display thread; handed from one to the next through the device thread */
	void *user;
	bool attached;
	bool fresh;             /* this display took no frame yet, */
	bool awaiting;          /* and one will come, before which it could not answer captures */
	struct vtr_mode wanted; /* by the window, at wanted_ns; width 0: nothing */
	uint64_t wanted_ns;
	unsigned answering; /* the question that the display's next answer is for */
	struct vtr_layout unread_layout;
	pixman_region32_t unread; /* damage of frames that were taken and whose pixels nobody read */

	/* under the mail box's lock */
	unsigned mail;
	struct vtr_output *mail_next;

	struct vtr_event_node needed, mode_changed, display_changed, answer;
	struct vtr_event_node detached; /* the display has let go */
	struct vtr_event_node refused;  /* the display's attach failed */
};

static inline void vtr_output_lock(const struct vtr_output *output)
{
	pthread_mutex_lock((pthread_mutex_t *)&output->lock);
}

static inline void vtr_output_unlock(const struct vtr_output *output)
{
	pthread_mutex_unlock((pthread_mutex_t *)&output->lock);
}

/* output.c */
struct vtr_output *vtr_output_create(struct vtr_outputs *outputs, uint32_t index, const struct vtr_mode *mode,
                                     const char *name); /* a free place; NULL with errno */
void vtr_output_destroy(struct vtr_output *output);
bool vtr_output_name_is_valid(const char *name);
bool vtr_output_mode_is_valid(const struct vtr_mode *mode);

/* parse.c: limits of what it takes */
enum { VTR_DEFAULT_WIDTH = 1280, VTR_DEFAULT_HEIGHT = 800, VTR_DEFAULT_REFRESH_MHZ = 60000 };
enum { VTR_MIN_REFRESH_MHZ = 1000, VTR_MAX_REFRESH_MHZ = 1000000 };

/* move.c: device thread */
void vtr_output_begin(struct vtr_output *output, struct vtr_display *display); /* an output that never showed anything */
void vtr_output_turn_over(struct vtr_output *output, const char *why);         /* its display cannot show it: to the fallback */
void vtr_output_display_destroyed(struct vtr_output *output, struct vtr_display *display); /* whose thread has ended */
bool vtr_output_deliver_detached(struct vtr_event_node *node);
bool vtr_output_deliver_refused(struct vtr_event_node *node);

/* display.c: device thread. join: outputs may refer to the display from now on, and are told when it is destroyed. add: followed by
 * attach on the display thread, then by what else mail says. */
void vtr_display_join(struct vtr_display *display, struct vtr_outputs *outputs);
void vtr_display_add_output(struct vtr_display *display, struct vtr_output *output, unsigned mail);
void vtr_display_mail(struct vtr_output *output, unsigned bits); /* raises VTR_MAIL_* for the display thread */

void vtr_display_remind(struct vtr_output *output, unsigned bits); /* the same, of an attached output, from the display thread */
void vtr_display_settle(struct vtr_display *display); /* modes that windows want, now and when they are due; display thread */

/* mode.c: gives the output the mode it wants when that is due; returns when it will be, 0: not at all. Display thread. */
uint64_t vtr_output_settle(struct vtr_output *output, uint64_t now);

/* monitor.c: device thread. Another display, which may be NULL, has the output: nothing is known of its monitor, and one that is
 * not to be asked has answered. */
void vtr_output_forget_monitor(struct vtr_output *output, const struct vtr_display *display);
bool vtr_output_is_asked(const struct vtr_output *output); /* a question was not answered yet */

/* queue.c */
void vtr_queue_drop(struct vtr_output *output); /* drops the pending frame, if any */

/* staging.c */
void vtr_staging_init(struct vtr_output *output);
void vtr_staging_finish(struct vtr_output *output);
/* Another picture begins: every image is stale in full. Nothing happens when it is the same layout. */
void vtr_staging_set_layout(struct vtr_output *output, struct vtr_layout layout);
/* Gives frame, which carries nothing, the last picture when an image still has all of it. */
void vtr_staging_reattach(struct vtr_output *output, struct vtr_frame *frame);
void vtr_staging_release(struct vtr_staging *staging); /* its reader or writer is done with it; any thread */

/* capture.c */
void vtr_captures_deliver(struct vtr_output *output); /* gives the display the captures that were asked for; display thread */
void vtr_captures_fail(struct vtr_output *output, const char *reason); /* ends the captures the display has not seen */

/* damage.c: regions of a picture, of few rectangles (util/region.h). When memory runs out, the whole picture is damaged. */
void vtr_damage_set_all(pixman_region32_t *region, struct vtr_layout layout);
void vtr_damage_clip(pixman_region32_t *region, struct vtr_layout layout);
void vtr_damage_add(pixman_region32_t *region, const pixman_region32_t *other, struct vtr_layout layout); /* clipped to layout */
uint64_t vtr_damage_area(const pixman_region32_t *region);                                                /* pixels */

#endif
