/* SPDX-License-Identifier: MIT */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <stdatomic.h>

#include <vitrine/log.h>

#include "display/capture_set.h"
#include "vmm/message.h"

/* Between the files of this room. Everything runs on the display's thread but vmm_accepts() in vmm.c. */

/* What a reply is for. */
enum vmm_purpose {
	VMM_FOR_FEATURES,
	VMM_FOR_MONITORS,
	VMM_FOR_FRAME,
};

/* More than can be waited for at a time: two a scanout, in case of outputs that come and go while the VMM is silent. */
enum { VMM_MAX_EXPECTED = 3 * VTR_MAX_SCANOUTS };

struct vmm_expected {
	uint32_t request;
	enum vmm_purpose purpose;
	struct vmm_output *output; /* FOR_FRAME; NULL: it is gone */
};

enum vmm_step {
	VMM_STEP_IDLE,
	VMM_STEP_INFO, /* GET_DISPLAY_INFO */
	VMM_STEP_EDID, /* GET_EDID of scanout number `next` */
};

/* monitors.c */
struct vmm_monitors {
	struct vmm_monitor items[VIRTIO_GPU_MAX_SCANOUTS];
	bool known;
	enum vmm_step step;
	bool asked; /* the step's request was sent */
	bool again; /* somebody asked since the first step */
	unsigned next;
	struct vtr_source *patience; /* timer: an EDID that does not come */
};

/* What the VMM shows of a scanout, as far as we told it. */
enum vmm_shown {
	VMM_SHOWS_NOTHING,
	VMM_SHOWS_PIXELS, /* a picture of shown_width x shown_height */
	VMM_SHOWS_DMABUF, /* shown_dmabuf */
	VMM_SHOWS_STALE,  /* no dmabuf any more, and nothing in its place yet */
};

/* Where the frame under way is. */
enum vmm_stage {
	VMM_STAGE_SETUP,  /* the VMM may have to be told what kind of picture it is */
	VMM_STAGE_BODY,   /* its pixels or its damage */
	VMM_STAGE_ASK,    /* GET_DISPLAY_INFO: its reply says that the VMM has read all before it */
	VMM_STAGE_ANSWER, /* the VMM's turn */
};

struct vmm_dmabuf {
	uint64_t buffer; /* id */
	uint64_t modifier;
	uint32_t width, height, stride, format;
};

struct vmm_output {
	struct vmm *vmm;
	struct vtr_output *output;
	uint32_t scanout;

	/* frames.c */
	struct vtr_frame *waiting; /* taken, and the one before it is not done yet, or its time has not come */
	struct vtr_frame *frame;   /* under way */
	enum vmm_stage stage;
	int box;                /* of the frame's damage: the next to be sent, */
	uint32_t row;           /* and how many of its rows were */
	uint64_t next_ns;       /* no frame begins before that */
	struct vtr_source *due; /* timer for it */
	bool told, blank;       /* a frame came; the newest shows nothing */
	enum vmm_shown shown;
	uint32_t shown_width, shown_height;
	struct vmm_dmabuf shown_dmabuf;
	struct vtr_capture_set captures;
	struct vtr_log_limit log;

	/* cursor.c */
	bool cursor_stale;
	uint64_t cursor_serial; /* of the image that the VMM has; 0: none */
};

struct vmm {
	struct vtr_display base;

	/* connection.c */
	int socket; /* owned */
	struct vtr_source *source;
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	struct vmm_expected expected[VMM_MAX_EXPECTED];
	size_t n_expected;
	bool asked_features, ready; /* ready: they are negotiated */
	atomic_bool modifiers;      /* DMABUF2 */
	bool edids;                 /* EDID */
	bool failed;
	uint32_t *band; /* VMM_BAND_SIZE, or a row of VTR_MAX_DIMENSION if that is more */

	struct vmm_monitors monitors;
	struct vmm_output *outputs[VTR_MAX_SCANOUTS]; /* by scanout; NULL: not ours */
	unsigned turn;                                /* whose frame goes on first */
};

static inline struct vmm *vmm_from(struct vtr_display *display)
{
	return (struct vmm *)display;
}

/* ---- connection.c ---- */

int vmm_connection_open(struct vmm *vmm); /* on the thread; 0 or -errno */
void vmm_connection_close(struct vmm *vmm);
/* The connection is of no more use. */
void vmm_fail(struct vmm *vmm, int code, const char *text);
/* Sends what can be sent now; after each entry from the loop. */
void vmm_pump(struct vmm *vmm);
/* Sends one message of payload and body (NULL: none), with fd unless that is -1. */
void vmm_send(struct vmm *vmm, uint32_t request, const void *payload, size_t size, const void *body, size_t body_size, int fd);
/* Sends a request that the VMM answers. False, and nothing is sent, when it owes us too many answers. */
bool vmm_ask(struct vmm *vmm, uint32_t request, const void *payload, size_t size, enum vmm_purpose purpose,
             struct vmm_output *output);
/* The output goes: answers for it are nobody's. */
void vmm_forget(struct vmm *vmm, const struct vmm_output *output);

/* ---- monitors.c: how the VMM's scanouts are ---- */

int vmm_monitors_open(struct vmm *vmm);
void vmm_monitors_ask(struct vmm *vmm);  /* the VMM, from the beginning */
bool vmm_monitors_send(struct vmm *vmm); /* true when something was sent */
void vmm_monitors_reply(struct vmm *vmm, const void *payload, uint32_t request);
void vmm_monitors_apply(struct vmm_output *output); /* what is known of its scanout */
/* A reply that came for another reason: has something changed? */
void vmm_monitors_compare(struct vmm *vmm, const struct virtio_gpu_resp_display_info *info);

/* ---- frames.c ---- */

bool vmm_frames_init(struct vmm_output *output);    /* false with errno */
void vmm_frames_finish(struct vmm_output *output);  /* gives back all that is held */
void vmm_frames_take(struct vmm_output *output);    /* the newest frame waits */
void vmm_frames_forward(struct vmm_output *output); /* the next frame's turn may have come */
bool vmm_frames_send(struct vmm_output *output);    /* true when something was sent */
void vmm_frames_answered(struct vmm_output *output);
void vmm_frames_capture(struct vmm_output *output, struct vtr_capture *capture);
void vmm_frames_connected(struct vmm_output *output, bool connected); /* whether it is, maybe for the first time */

/* ---- cursor.c ---- */

bool vmm_cursor_send(struct vmm_output *output); /* true when something was sent */

#endif
