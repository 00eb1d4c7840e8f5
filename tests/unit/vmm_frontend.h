/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_VMM_FRONTEND_H
#define TESTS_UNIT_VMM_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/message.h"

/*
 * The VMM's end of a display socket: what it is sent becomes the pictures that it shows, and it answers, well or badly. Whatever
 * breaks the protocol (an UPDATE without a SCANOUT, a rectangle beyond it, a size that does not fit) fails the test.
 */
enum { FRONTEND_SCANOUTS = 3, FRONTEND_REQUESTS = VHOST_USER_GPU_DMABUF_SCANOUT2 + 1 };

struct frontend_scanout {
	uint32_t width, height;
	uint32_t *pixels;    /* NULL: nothing is shown */
	bool fresh;          /* no UPDATE since the SCANOUT */
	uint64_t updated;    /* pixels, of all UPDATEs */
	int dmabuf;          /* -1: none */
	uint64_t modifier;   /* of DMABUF_SCANOUT2 */
	unsigned unanswered; /* DMABUF_UPDATEs */
	struct vhost_user_gpu_dmabuf_scanout dmabuf_scanout;
	struct vhost_user_gpu_update dmabuf_update;
	bool cursor_visible;
	struct vhost_user_gpu_cursor_update cursor;
};

struct frontend {
	int socket;
	uint64_t features, accepted; /* what it offers; SET_PROTOCOL_FEATURES */
	bool has_accepted;
	struct virtio_gpu_resp_display_info info;
	struct virtio_gpu_resp_edid edid[FRONTEND_SCANOUTS];
	bool silent[FRONTEND_REQUESTS]; /* such requests are not answered, but counted as owed */
	unsigned owed[FRONTEND_REQUESTS];
	bool trickles; /* replies go byte by byte */
	unsigned requests[FRONTEND_REQUESTS];
	struct frontend_scanout scanouts[FRONTEND_SCANOUTS];
};

/* other: the end for the display. One scanout is connected, 640x480. */
void frontend_init(struct frontend *frontend, int *other);
void frontend_finish(struct frontend *frontend);
void frontend_set_monitor(struct frontend *frontend, unsigned scanout, uint32_t width, uint32_t height); /* width 0: none */
/* Handles what is there; waits up to timeout_ms for something. False: nothing came, or the display has gone. */
bool frontend_step(struct frontend *frontend, int timeout_ms);
void frontend_reply(struct frontend *frontend, uint32_t request, const void *payload, size_t size);
/* Answers what it owes of a kind, and goes on answering. */
void frontend_resume(struct frontend *frontend, uint32_t request);

#endif
