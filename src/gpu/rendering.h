/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_RENDERING_H
#define VTR_GPU_RENDERING_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/log.h>

#include "gpu/command.h"
#include "render/renderer.h"

struct vtr_gpu;

/*
 * Commands that a renderer has to do. Where it does them at once nothing is different from other commands. Where a call is in
 * progress the request is held: its chain is taken, its queue waits, everything else goes on; when the call is done the answer
 * goes to the guest, and the queue goes on.
 */

/* What came of a call, as a response type: for handlers whose work begins when the renderer has done its own. call->code is set;
 * it may be -ECANCELED when the queue was reset meanwhile. What the handler knew may be gone: look it up again. VTR_GPU_AGAIN runs
 * the command from its beginning. */
typedef uint32_t (*vtr_rendered_func)(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call);

/* Makes the call (copied; its data, malloc'ed, is taken, and freed when it is done; spans and image belong to a resource that lives
 * until then) and returns the response type, finished's where it is not NULL: now, or, when the request is held (its chain is NULL
 * then), to the guest. finished may do so again. Errors of calls are vtr_gpu_render_error()'s. */
uint32_t vtr_gpu_render(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const struct vtr_render_call *call,
                        vtr_rendered_func finished);

/* Waits for the renderer's fence, on everything that it was asked for until now, before finished is called. */
uint32_t vtr_gpu_render_fence(struct vtr_gpu *gpu, struct vtr_gpu_request *request, vtr_rendered_func finished);

/* Makes a call that no request waits for (copied; what it borrows outlives it). done (may be NULL) is called when it is done,
 * maybe before this returns, with the code. 0, -EINPROGRESS or the code. What is called later is done
 * later. */
int vtr_gpu_render_aside(struct vtr_gpu *gpu, const struct vtr_render_call *call,
                         void (*done)(struct vtr_gpu *gpu, const struct vtr_render_call *call));

/* True while such a call is in progress that nobody waits for. */
bool vtr_gpu_render_has_aside(const struct vtr_gpu *gpu, uint32_t op, uint32_t resource_id);

/* Makes a call and waits for it. Returns the code. Those before it have been carried out then, but who made them hears of that
 * later.
 */
int vtr_gpu_render_now(struct vtr_gpu *gpu, struct vtr_render_call *call);

/* Waits for the calls aside that read into image: their done() has been called when it returns. */
void vtr_gpu_render_wait_image(struct vtr_gpu *gpu, const struct vtr_image *image);

/* The response type for a call's code: OK_NODATA for 0. */
uint32_t vtr_gpu_render_error(int code);

/* True while the queue waits for the renderer. */
bool vtr_gpu_rendering(const struct vtr_gpu *gpu, unsigned queue);

/* ---- for gpu.c, command.c and fence.c ---- */

/* A queue's request that waits for the renderer. */
struct vtr_held {
	struct vtr_gpu *gpu;
	bool active;      /* there is one */
	bool in_progress; /* its call is not done; */
	uint64_t fence;   /* or this fence of the renderer's did not come; 0: it need not */
	struct vtr_render_call call;
	struct vtr_gpu_request request;
	vtr_rendered_func finished;
};

enum { VTR_HELD = 2 }; /* one for each queue */

struct vtr_rendering {
	struct vtr_held held[VTR_HELD];
	struct vtr_aside *asides; /* calls in progress that nobody waits for, the oldest first, */
	struct vtr_aside **last_aside;
	bool refused;             /* and one more of which was refused: when one of them is done there may be room */
	unsigned inside;          /* calls that have not returned: what comes meanwhile is looked after later */
	struct vtr_source *later; /* event */
	uint64_t last_fence;      /* id */
	bool used;                /* since the last reset, so that there is something to reset */
	uint32_t lost;            /* so often, */
	char lost_why[256];       /* the last time because of this */
	struct vtr_log_limit log;
};

int vtr_rendering_init(struct vtr_gpu *gpu); /* 0 or -errno */
void vtr_rendering_finish(struct vtr_gpu *gpu);

/* An id for a FENCE call. */
uint64_t vtr_gpu_next_render_fence(struct vtr_gpu *gpu);

/* The queue is about to stop: waits for what it waits for. answer: the guest gets its answer; otherwise nobody is there. */
void vtr_rendering_drain(struct vtr_gpu *gpu, unsigned queue, bool answer);

/* The renderer has nothing of the guest's any more: all calls are done, contexts and resources are gone. */
void vtr_rendering_reset(struct vtr_gpu *gpu);

#endif
