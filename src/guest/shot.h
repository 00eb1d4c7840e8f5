/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_SHOT_H
#define VTR_GUEST_SHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/error.h>
#include <vitrine/guest.h>

/*
 * A picture of what an output shows, fetched through the device's control socket. To make it the device may have to ask the guest
 * for memory, so the call waits on a thread of its own while the guest goes on serving the device. Without a control socket it is
 * what the device has sent over its display socket.
 */
struct vtr_shot {
	uint32_t width, height, stride; /* stride in bytes */
	uint64_t sequence;
	const void *pixels; /* XRGB8888 */
	size_t size;        /* of their mapping; 0: they are the display's, valid until the guest waits again */
};

/* Asks at the control socket of the guest's options, on a new connection, so that a late answer is nobody else's. Waits at most the
 * guest's time-out. 0 or -errno with *error (may be NULL) filled; *shot is then empty. */
int vtr_shot_take(struct vtr_shot *shot, struct vtr_guest *guest, uint32_t scanout, bool cursor, struct vtr_error *error);
void vtr_shot_finish(struct vtr_shot *shot); /* an empty one is fine */

uint32_t vtr_shot_pixel(const struct vtr_shot *shot, uint32_t x, uint32_t y); /* 0xRRGGBB */

#endif
