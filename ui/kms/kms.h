/* SPDX-License-Identifier: MIT */
#ifndef KMS_KMS_H
#define KMS_KMS_H

#include <vitrine/display.h>
#include <vitrine/log.h>

#include "card.h"
#include "commit.h"
#include "copy.h"
#include "display/capture_set.h"
#include "import.h"
#include "keeper.h"

/* What the files of this display share. Everything is the display thread's, once that runs. */

struct kms {
	struct vtr_display base;
	struct kms_card card;
	struct kms_imports imports;
	struct kms_output *outputs[VTR_MAX_SCANOUTS]; // attached, in the order of the connectors
	size_t n_outputs;
	bool away; /* somebody else has the screen: not the card's master */
	bool left; /* another virtual terminal is on the screen: it is not ours to ask for */
	struct kms_keeper keeper;
	struct kms_output *leaving; // kms_output.next: detached, and still on the screen
	struct vtr_source *burial;  /* event: their end */
	struct vtr_source *keeper_source;
	int hotplug;               /* socket, -1: no messages about monitors */
	struct vtr_source *events; /* of the card; NULL: it is gone */
	bool sweeping;             /* the timer runs */
	struct vtr_source *sweep;  /* timer: memory that nobody uses any more */
	struct vtr_source *retry;  /* timer: tries to become the card's master again */
};

/* What is on the screen, or on the way to it, and what it takes. */
struct kms_held {
	struct vtr_frame *frame;   /* with the buffer or the pixels; NULL: nothing of a guest */
	struct kms_import *import; /* the framebuffer is this, */
	int dumb;                  /* or the copy's dumb buffer of this number; -1: neither */
	uint32_t width, height;    /* of the picture */
	pixman_box32_t place;
};

/* Why no dmabuf is shown for the moment. */
enum { KMS_REFUSES_CURSOR = 1 << 0, KMS_REFUSES_SIZE = 1 << 1 };

struct kms_cursor {
	struct vtr_cursor now; /* as the guest wants it */
	struct kms_dumb image; /* of the plane */
	uint64_t serial;       /* of the image in it; 0: none */
	bool composed;         /* there is no plane: it is drawn into the copy */
};

struct kms_output {
	struct kms *kms;
	struct vtr_output *output;
	struct kms_output *next; // kms.leaving
	struct kms_connector *connector;

	/* connector.c */
	drmModeModeInfo *modes; /* what the monitor takes */
	size_t n_modes;
	drmModeModeInfo preferred;
	drmModeModeInfo mode;   /* what the guest is told */
	struct vtr_mode wanted; /* by the user; width 0: what the monitor prefers */
	struct kms_pipe pipe;   /* crtc NULL: not connected */

	/* output.c */
	struct kms_held shown, coming;
	bool flipping;             /* coming is on the way; its event will come */
	struct vtr_frame *resting; /* a frame that changes nothing: done at the next tick */
	struct vtr_source *tick;
	bool redraw;    /* the copy is to be drawn again: the cursor has moved */
	bool zero_copy; /* the guest's frames come as dmabufs, but for captures */
	struct kms_copy copy;
	unsigned refusals; /* KMS_REFUSES_* */
	struct vtr_log_limit log;

	struct kms_cursor cursor;
	struct vtr_capture_set captures;
};

/* ---- output.c: from frames to the screen ---- */

int kms_output_init(struct kms_output *output); /* 0 or -errno */
void kms_output_finish(struct kms_output *output);
/* Shows the newest frame, when the last one is on the screen. */
void kms_output_show(struct kms_output *output);
/* The event of the last commit: it was on the screen at time_ns. */
void kms_output_flipped(struct kms_output *output, uint64_t time_ns);
/* Black, until a frame comes. */
void kms_output_show_black(struct kms_output *output);
/* What was on the screen when it was left is there again. */
void kms_output_restore(struct kms_output *output);
/* Gives everything back that is shown: the connector is off, or the display ends. */
void kms_output_release(struct kms_output *output);
/* Asks for what is needed now: dmabufs, pixels for a capture, nothing. */
void kms_output_update_demand(struct kms_output *output);
/* Dmabufs can not be shown for this reason (one of KMS_REFUSES_*), or not any more. */
void kms_output_refuse(struct kms_output *output, unsigned reason, bool refused);

/* ---- connector.c: monitors ---- */

/* Looks at the connector, and connects, disconnects, or tells the guest a new mode. */
void kms_connector_probe(struct kms_output *output);
void kms_connector_finish(struct kms_output *output); /* turns it off */
/* The mode for a picture of this size: one of that size, else what the guest was told. */
const drmModeModeInfo *kms_connector_mode(const struct kms_output *output, uint32_t width, uint32_t height);

/* ---- cursor.c ---- */

/* The cursor has changed, or (anew) the plane may have forgotten it. */
void kms_cursor_update(struct kms_output *output, bool anew);
void kms_cursor_finish(struct kms_output *output);
/* The picture has another place on the screen. */
void kms_cursor_place(struct kms_output *output);
/* What the copy has to draw, or NULL. */
const struct vtr_cursor *kms_cursor_to_draw(const struct kms_output *output);

/* ---- master.c: whose screen it is ---- */

/* Not the card's master any more: shows nothing until it is again. */
void kms_lose_master(struct kms *kms);
void kms_retry_master(void *data);                          /* a vtr_source_func, data: struct kms */
void kms_keeper_event(int fd, uint32_t events, void *data); /* a vtr_fd_func, likewise */

/* ---- kms.c ---- */

/* Something is not used any more: it goes when it was not used for a while. */
void kms_sweep_later(struct kms *kms);

#endif
