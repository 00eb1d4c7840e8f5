/* SPDX-License-Identifier: MIT */
#ifndef KMS_IMPORT_H
#define KMS_IMPORT_H

#include <vitrine/display.h>

#include "card.h"

/*
 * Framebuffers made of the guests' dmabufs. A guest flips between a few buffers, so each is imported once and kept while it is in
 * use and a little longer; the key is the buffer's id, which is never used again, and the layout of the picture in it.
 *
 * The kernel gives the same GEM handle for the same dmabuf, however often and through whichever fd it is imported, and one close
 * ends it for all: handles are counted. (A guest's whole BAR is one dmabuf, of which each buffer is a part.)
 */
enum { KMS_MAX_IMPORTS = 64, KMS_IMPORT_KEEP_MS = 2000 };

struct kms_import {
	uint64_t buffer; /* id; 0: free */
	uint64_t offset, modifier;
	uint32_t width, height, format, stride;
	uint32_t fb, handle;
	unsigned users;   /* on the screen, or on the way to it */
	uint64_t used_ns; /* when the last of them left */
	bool failed;      /* an error was seen while it was shown: not to be used again */
};

struct kms_imports {
	const struct kms_card *card;
	struct kms_import items[KMS_MAX_IMPORTS];
	struct {
		uint32_t handle; /* 0: free */
		unsigned count;
	} handles[KMS_MAX_IMPORTS];
};

/* The framebuffer of frame's buffer, whose user the caller is until kms_imports_put(), or NULL and *error says why there is none.
 */
struct kms_import *kms_imports_get(struct kms_imports *imports, const struct vtr_frame *frame, struct vtr_error *error);
void kms_imports_put(struct kms_import *import);

/* Forgets what nobody has used for KMS_IMPORT_KEEP_MS, or (all) at all; true when something without users is left. */
bool kms_imports_sweep(struct kms_imports *imports, bool all);

/* On the way of a dmabuf to the screen, the step that failed. */
enum kms_import_step {
	KMS_STEP_IMPORT,      /* whose memory it is */
	KMS_STEP_FRAMEBUFFER, /* size, format and stride */
	KMS_STEP_COMMIT,      /* either: some drivers look at the memory when they show it */
};

/* Fills *error with what code means that the card gave for frame's buffer in that step. Returns -code. */
int kms_import_error(const struct kms_card *card, const struct vtr_frame *frame, enum kms_import_step step, int code,
                     struct vtr_error *error);

#endif
