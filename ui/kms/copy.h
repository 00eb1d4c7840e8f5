/* SPDX-License-Identifier: MIT */
#ifndef KMS_COPY_H
#define KMS_COPY_H

#include <vitrine/display.h>

#include "dumb.h"

/*
 * Pictures that cannot be scanned out where they are: copied, converted and, where they have to be, scaled into one of two dumb
 * buffers that take turns on the screen. Each knows which part of the picture it misses, so only damage is copied. Where the card
 * has no cursor plane the cursor is drawn into the copy.
 */
struct kms_copy {
	const struct kms_card *card;
	struct kms_dumb dumbs[2];
	pixman_region32_t stale[2]; /* of the picture; meaningless where there is no dumb buffer */
	pixman_box32_t cursor[2];   /* where in the dumb buffer a cursor was drawn */
	bool stained[2];            /* there are old pixels around the picture's place */
	uint32_t width, height;     /* of the mode */
	uint32_t picture_width, picture_height;
	pixman_box32_t place; /* of the picture in the mode */
	uint64_t used_ns;
};

void kms_copy_init(struct kms_copy *copy, const struct kms_card *card);
void kms_copy_finish(struct kms_copy *copy);

/* The largest place for a picture in the middle of a mode that keeps its proportions. */
pixman_box32_t kms_copy_place(uint32_t mode_width, uint32_t mode_height, uint32_t width, uint32_t height);

/* From now on pictures of this size, in a mode of that: when one of them is another, everything is stale. */
void kms_copy_set_size(struct kms_copy *copy, uint32_t mode_width, uint32_t mode_height, uint32_t width, uint32_t height);
/* The picture has changed there (NULL: everywhere). */
void kms_copy_damage(struct kms_copy *copy, const pixman_region32_t *damage);

/* Brings one dumb buffer up to date with frame's pixels (NULL: black) and cursor (NULL: not drawn). The framebuffer, or NULL with
 * *error. which: one that is not on the screen. */
const struct kms_dumb *kms_copy_draw(struct kms_copy *copy, unsigned which, const struct vtr_frame *frame,
                                     const struct vtr_cursor *cursor, struct vtr_error *error);

/* Gives back the memory of one buffer that is not on the screen. */
void kms_copy_drop(struct kms_copy *copy, unsigned which);

#endif
