/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_FENCE_H
#define VTR_GPU_FENCE_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stdint.h>

#include <vitrine/limits.h>

#include "virtio/queue.h"

struct vtr_gpu;
struct vtr_gpu_request;

/* Frames that displays have to be done with. */
struct vtr_awaited_frames {
	uint32_t scanouts;                   /* a bit for each that is waited for */
	uint64_t sequence[VTR_MAX_SCANOUTS]; /* the frame */
	uint64_t deadline_ns;                /* not waited for after it */
};

/* An answer with a fence that has to wait: for displays, for the renderer, or only for those before it. */
struct vtr_fence {
	struct vtr_fence *next;
	struct vtr_chain *chain;
	unsigned queue;
	struct vtr_awaited_frames frames;
	uint64_t drawing; /* the renderer's fence that is waited for; 0: none */
	uint32_t size;    /* of the response, bytes */
	_Alignas(struct virtio_gpu_ctrl_hdr) uint8_t response[];
};

/* Fences complete in the order of their timeline, and timelines know nothing of each other. */
struct vtr_timeline {
	struct vtr_timeline *next;
	uint32_t ctx_id;
	uint8_t ring_idx;
	struct vtr_fence *head, **tail; /* in the order of arrival */
};

struct vtr_fences {
	struct vtr_timeline
		global; /* of all commands without INFO_RING_IDX; its next are those of contexts' rings, while they have any */
	struct vtr_source *timer; /* armed for the next deadline, or a tick that a head waits for (flush.c) */
};

int vtr_fences_init(struct vtr_gpu *gpu); /* 0 or -errno */
void vtr_fences_finish(struct vtr_gpu *gpu);

/* Answers the request, whose response begins with its header and is size bytes long: when all before it in its timeline are
 * answered and, with request->draws, what the renderer was asked for is drawn. Otherwise displays are not waited for any more by
 * those before it: a guest may wait for such a command uninterruptibly (DETACH_BACKING). Takes the chain. */
void vtr_fence_answer(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const void *response, uint32_t size);

/* The same for a flush, when displays are done with its frames. False without memory for that: nothing was taken. */
bool vtr_fence_answer_shown(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const struct vtr_awaited_frames *frames);

/* Answers what is ready or over its time, and looks after what is then first. */
void vtr_fences_answer_due(struct vtr_gpu *gpu);

/* The renderer has drawn what was asked for before its fence `id`. Answered by vtr_fences_answer_due(). True: the fence is one of
 * the global timeline. */
bool vtr_fences_drawn(struct vtr_gpu *gpu, uint64_t id);
/* The renderer is lost: nobody draws that any more. Likewise. */
void vtr_fences_lost(struct vtr_gpu *gpu);

/* Answers everything that waits, now. */
void vtr_fences_complete_all(struct vtr_gpu *gpu);

/* The queue was reset: nobody is there to be answered. */
void vtr_fences_forget(struct vtr_gpu *gpu, unsigned queue);

#endif
