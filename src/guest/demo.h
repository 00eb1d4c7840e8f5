/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_DEMO_H
#define VTR_GUEST_DEMO_H

#include <stdint.h>
#include <stdio.h>

#include <vitrine/guest.h>

#include "guest/image.h"

/* A moving picture on its way, and who draws it: the guest into blobs (demo.c), or the device's renderer (demo_3d.c). */
enum { VTR_DEMO_FIRST_ID = 1 }; /* of the buffers' resources */

struct vtr_demo {
	struct vtr_guest *guest;
	const struct vtr_guest_demo *choice;
	uint32_t width, height;
	struct vtr_image images[VTR_GUEST_DEMO_BUFFERS]; /* the guest's */
};

struct vtr_demo_painter {
	uint32_t feature; /* that the device has to offer */
	const char *missing;
	/* The buffers, not shown yet. An exit code; what went wrong was told. */
	int (*make)(struct vtr_demo *demo);
	/* Draws a frame into a buffer and shows it on a scanout where it is new (draw), or as it is. The response's type. */
	uint32_t (*show)(struct vtr_demo *demo, uint32_t frame, uint32_t buffer, uint32_t scanout, bool draw);
	/* "in 63 ranges of ram memory" */
	void (*describe)(const struct vtr_demo *demo, FILE *out);
};

extern const struct vtr_demo_painter vtr_demo_3d;

uint32_t vtr_demo_buffers(const struct vtr_demo *demo);
/* Says that the device did not do it, and returns the exit code. response: its answer, 0: none. */
int vtr_demo_fail(const struct vtr_guest *guest, const char *what, uint32_t response);

#endif
