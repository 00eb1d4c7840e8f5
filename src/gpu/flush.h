/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_FLUSH_H
#define VTR_GPU_FLUSH_H

#include <linux/virtio_gpu.h>
#include <stdint.h>

#include <vitrine/limits.h>

#include "virtio/queue.h"

struct vtr_gpu;
struct vtr_gpu_request;
struct vtr_scanout;

/* A fenced flush whose answer waits until the displays are done with its frames. */
struct vtr_flush {
	struct vtr_flush *next;
	struct vtr_chain *chain;
	struct virtio_gpu_ctrl_hdr response;
	uint64_t deadline_ns;                /* answered then at the latest */
	uint32_t waiting;                    /* bit per scanout */
	uint64_t sequence[VTR_MAX_SCANOUTS]; /* the frame waited for */
};

struct vtr_flush_queue {
	struct vtr_flush *head, **tail; /* in the order of arrival */
	struct vtr_source *timer;       /* armed for head's deadline, or a tick that it waits for */
};

int vtr_flush_queue_init(struct vtr_gpu *gpu); /* 0 or -errno */
void vtr_flush_queue_finish(struct vtr_gpu *gpu);

/* A display showed the scanout's frame with that number, and is done with all before it. */
void vtr_flush_frame_done(struct vtr_gpu *gpu, struct vtr_scanout *scanout, uint64_t sequence);
/* It was never shown: another one took its place, or nobody looks at the output. */
void vtr_flush_frame_dropped(struct vtr_gpu *gpu, struct vtr_scanout *scanout, uint64_t sequence);

/* A frame stands in for another: flushes that wait for that wait for this one. */
void vtr_flush_frame_replaced(struct vtr_gpu *gpu, uint32_t scanout, uint64_t sequence, uint64_t replacement);

/* Answers everything that waits, now. */
void vtr_flush_complete_all(struct vtr_gpu *gpu);

/* The queue was reset: nobody is there to be answered. */
void vtr_flush_forget_all(struct vtr_gpu *gpu);

#endif
