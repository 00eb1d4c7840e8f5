/* SPDX-License-Identifier: MIT */
/*
 * What a guest wants to know of its monitors, and the display has to look up: GET_DISPLAY_INFO and GET_EDID wait until it has. Only
 * the request waits; the queue goes on. A display that has not answered after half a second is not waited for again until it does:
 * the guest is told what was known last. A request with a fence is answered at once, so that fences stay in order.
 */
#include "gpu/questions.h"

#include <errno.h>
#include <stdlib.h>

#include "gpu/gpu.h"

#define DEADLINE_NS UINT64_C(500000000) /* the Linux driver waits five seconds when it starts, and nobody later */

static void forget_head(struct vtr_gpu *gpu)
{
	struct vtr_question *question = gpu->questions.head;

	gpu->questions.head = question->next;
	if (!question->next)
		gpu->questions.tail = &gpu->questions.head;
	free(question);
}

static void note_mute(struct vtr_gpu *gpu, uint32_t waiting)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (waiting & ~gpu->questions.mute & 1u << i)
			vtr_log_limited(
				&scanout->log, VTR_LOG_INFO,
				"output %s: the display does not say what its monitor is like; the guest gets what is known",
				vtr_output_name(scanout->output));
	}
	gpu->questions.mute |= waiting;
}

/* Answers what is answered or over its time. */
static void answer_due(struct vtr_gpu *gpu)
{
	struct vtr_questions *questions = &gpu->questions;
	uint64_t now = vtr_now_ns();

	while (questions->head && (!questions->head->waiting || questions->head->deadline_ns <= now)) {
		note_mute(gpu, questions->head->waiting);
		questions->head->request.resumed = true;
		vtr_gpu_resume(gpu, &questions->head->request, questions->head->handler);
		forget_head(gpu);
	}
	vtr_timer_arm(questions->timer, questions->head ? questions->head->deadline_ns : 0);
}

static void deadline_passed(void *data)
{
	answer_due(data);
}

void vtr_questions_answered(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	uint32_t bit = 1u << scanout->id;

	gpu->questions.mute &= ~bit;
	for (struct vtr_question *question = gpu->questions.head; question; question = question->next)
		if (question->waiting & bit && vtr_output_has_answered(scanout->output, question->number[scanout->id]))
			question->waiting &= ~bit;
	answer_due(gpu);
}

/* Asks all at once, so that they look at the same time. */
static uint32_t ask(struct vtr_gpu *gpu, uint32_t scanouts, uint32_t number[VTR_MAX_SCANOUTS])
{
	uint32_t waiting = 0;

	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		number[i] = scanouts & 1u << i ? vtr_output_ask(gpu->scanouts[i].output) : 0;
		if (number[i] && !(gpu->questions.mute & 1u << i))
			waiting |= 1u << i;
	}
	return waiting;
}

bool vtr_question_wait(struct vtr_gpu *gpu, struct vtr_gpu_request *request, vtr_gpu_handler handler, uint32_t scanouts)
{
	struct vtr_questions *questions = &gpu->questions;

	if (request->resumed || request->command.hdr.flags & VIRTIO_GPU_FLAG_FENCE)
		return false;
	struct vtr_question *question = malloc(sizeof(*question));
	if (!question)
		return false;
	*question = (struct vtr_question){ .request = *request, .handler = handler };
	question->waiting = ask(gpu, scanouts, question->number);
	if (!question->waiting) {
		free(question);
		return false;
	}
	question->deadline_ns = vtr_now_ns() + DEADLINE_NS;
	request->chain = NULL;
	*questions->tail = question;
	questions->tail = &question->next;
	vtr_timer_arm(questions->timer, questions->head->deadline_ns);
	return true;
}

void vtr_questions_forget_all(struct vtr_gpu *gpu)
{
	while (gpu->questions.head) {
		vtr_chain_free(gpu->questions.head->request.chain);
		forget_head(gpu);
	}
	vtr_timer_arm(gpu->questions.timer, 0);
}

int vtr_questions_init(struct vtr_gpu *gpu)
{
	gpu->questions.tail = &gpu->questions.head;
	gpu->questions.timer = vtr_loop_add_timer(gpu->base.loop, deadline_passed, gpu);
	return gpu->questions.timer ? 0 : -errno;
}

void vtr_questions_finish(struct vtr_gpu *gpu)
{
	vtr_questions_forget_all(gpu);
	vtr_source_remove(gpu->questions.timer);
}
