/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_QUESTIONS_H
#define VTR_GPU_QUESTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/limits.h>

#include "gpu/command.h"

struct vtr_scanout;

/* A request about monitors whose displays are being asked. */
struct vtr_question {
	struct vtr_question *next;
	struct vtr_gpu_request request;
	vtr_gpu_handler handler;
	uint64_t deadline_ns;              /* answered with what is known then, at the latest */
	uint32_t waiting;                  /* bit per scanout */
	uint32_t number[VTR_MAX_SCANOUTS]; /* of the output's question that is waited for */
};

struct vtr_questions {
	struct vtr_question *head, **tail; /* in the order of arrival, which is that of their deadlines */
	struct vtr_source *timer;          /* armed for head's deadline */
	uint32_t mute;                     /* bit per scanout: its display did not answer in time, and has not since */
};

int vtr_questions_init(struct vtr_gpu *gpu); /* 0 or -errno */
void vtr_questions_finish(struct vtr_gpu *gpu);

/* Asks the displays of scanouts (a mask) what their monitors are like. True: the chain is taken, and handler runs again, and its
 * answer goes to the guest, when they have answered. False: what is known is to be used. */
bool vtr_question_wait(struct vtr_gpu *gpu, struct vtr_gpu_request *request, vtr_gpu_handler handler, uint32_t scanouts);

/* The scanout's display has answered. */
void vtr_questions_answered(struct vtr_gpu *gpu, struct vtr_scanout *scanout);

/* The queue was reset: nobody is there to be answered. */
void vtr_questions_forget_all(struct vtr_gpu *gpu);

#endif
