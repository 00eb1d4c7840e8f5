/* SPDX-License-Identifier: MIT */
#ifndef KMS_COMMIT_H
#define KMS_COMMIT_H

#include <pixman.h>

#include "card.h"

/*
 * Putting a framebuffer on a connector: by atomic commits where the driver has them, by SETCRTC and PAGE_FLIP where not. Modes are
 * set when the wanted one is not on; everything else is a flip that does not wait.
 */

/* What is to be seen. */
struct kms_scene {
	uint32_t fb;
	uint32_t width, height; /* of the picture, which fills the framebuffer */
	pixman_box32_t place;   /* where it is shown in the mode */
	const drmModeModeInfo *mode;
	const pixman_region32_t *damage; /* what differs from the last commit, in the picture; NULL: all of it may */
};

/* A connector and the CRTC that feeds it. */
struct kms_pipe {
	const struct kms_card *card;
	const struct kms_connector *connector;
	struct kms_crtc *crtc; /* NULL: the connector has none */
	bool active;           /* mode and fb below are on */
	drmModeModeInfo mode;
	uint32_t fb, width, height; /* as last committed */
};

enum { KMS_EVENT_FOLLOWS, KMS_SHOWN };

/* Shows scene: KMS_EVENT_FOLLOWS (a page flip event with the CRTC as its data comes when it is on the screen), KMS_SHOWN (it is),
 * or -errno (then nothing has changed; -EACCES: not the card's master). */
int kms_commit(struct kms_pipe *pipe, const struct kms_scene *scene);

/* Could the driver show scene? 0 or -errno. A legacy driver is not asked, and shows pictures of the mode's size. */
int kms_commit_test(const struct kms_pipe *pipe, const struct kms_scene *scene);

/* Turns the connector off. */
void kms_commit_off(struct kms_pipe *pipe);

#endif
