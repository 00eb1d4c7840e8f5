/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_FLUSH_H
#define VTR_GPU_FLUSH_H

#include <stdint.h>

struct vtr_awaited_frames;
struct vtr_gpu;
struct vtr_gpu_request;
struct vtr_render_call;
struct vtr_scanout;

/* A display showed the scanout's frame with that number, and is done with all before it. */
void vtr_flush_frame_done(struct vtr_gpu *gpu, struct vtr_scanout *scanout, uint64_t sequence);
/* It was never shown: another one took its place, or nobody looks at the output. */
void vtr_flush_frame_dropped(struct vtr_gpu *gpu, struct vtr_scanout *scanout, uint64_t sequence);

/* A frame stands in for another: flushes that wait for that wait for this one. */
void vtr_flush_frame_replaced(struct vtr_gpu *gpu, uint32_t scanout, uint64_t sequence, uint64_t replacement);

/* A flush that waited for the renderer goes on: call says what came of that. */
uint32_t vtr_flush_drawn(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call);

/* ---- for fence.c ---- */

/* The displays of these scanouts (a mask) did not answer in time. */
void vtr_flush_note_stalled(struct vtr_gpu *gpu, uint32_t mask, uint64_t now);
/* Frames that are answered at a tick, and that was before now, are not waited for any more. */
void vtr_flush_tick(struct vtr_gpu *gpu, uint64_t now);
/* When there is something to be done about frames that are waited for: at their deadline, or at a tick. */
uint64_t vtr_flush_due(const struct vtr_gpu *gpu, const struct vtr_awaited_frames *frames);

/* The queue was reset: nobody waits for a tick. */
void vtr_flush_forget_ticks(struct vtr_gpu *gpu);

#endif
