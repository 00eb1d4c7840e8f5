/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_LADDER_H
#define VTR_GPU_LADDER_H

#include <vitrine/gpu.h>

#include "gpu/imports.h"

struct vtr_scanout;

/* Where the picture is in a buffer: what frames say. */
struct vtr_placement_in_buffer {
	uint64_t offset, modifier;
	uint32_t stride, format, x, y;
	bool flipped;
};

/* Which way the pixels of a scanout take. */
struct vtr_choice {
	enum vtr_path path;                   /* NONE: the last picture stays */
	struct vtr_buffer *buffer;            /* of a zero-copy path: to be locked by who hands it on; else NULL */
	struct vtr_import_kind kind;          /* of the buffer, */
	struct vtr_placement_in_buffer place; /* and of the picture in it */
	bool revoked;                         /* NONE, because the device's memory is away */
	bool waiting;                         /* NONE, until the renderer has answered: the scanout is presented again then */
};

/* The best way for a frame to be made now; what failed before is tried again when its time has come. */
struct vtr_choice vtr_ladder_choose(struct vtr_gpu *gpu, struct vtr_scanout *scanout);

/* The best way as far as it is known, nothing that failed is tried: for status and log. With refusals (VTR_PATH_COUNT of them) also
 * why each better one is not, and how many these are. */
struct vtr_choice vtr_ladder_look(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_path_refusal *refusals, size_t *n);

/* How the CPU gets at the pixels, where the way is choice's but the output wants pixels: MAPPED, FETCHED or READBACK, or NONE as
 * choice is or because asking for them was too much the last time. */
enum vtr_path vtr_ladder_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_choice *choice);

/* Whether there is a way, choice's, but the CPU does not get at the pixels, as far as it is known: then *why. For status. */
bool vtr_ladder_lacks_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_choice *choice,
                             struct vtr_error *why);

/* The scanout has taken path: one line when the path as it is known (vtr_ladder_look()) is another than the one last written, with
 * what keeps it from being better. */
void vtr_ladder_log(struct vtr_gpu *gpu, struct vtr_scanout *scanout, enum vtr_path path);

#endif
