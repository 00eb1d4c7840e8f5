/* SPDX-License-Identifier: MIT */
#ifndef KMS_DUMB_H
#define KMS_DUMB_H

#include <pixman.h>

#include "card.h"

/* A buffer of the card's own that the CPU draws into: what every driver has. */
struct kms_dumb {
	uint32_t handle; /* 0: there is none */
	uint32_t fb;     /* 0: not a framebuffer (a cursor's image) */
	uint32_t width, height;
	uint64_t size; /* bytes */
	void *data;
	pixman_image_t *image; /* over data: x8r8g8b8 of a framebuffer, a8r8g8b8 of a cursor's image */
};

/* A black framebuffer (XRGB8888), or a transparent image for a cursor. 0 or -errno; dumb is empty on failure. */
int kms_dumb_create(struct kms_dumb *dumb, const struct kms_card *card, uint32_t width, uint32_t height, bool cursor);
void kms_dumb_destroy(struct kms_dumb *dumb, const struct kms_card *card); /* an empty one is fine */

#endif
