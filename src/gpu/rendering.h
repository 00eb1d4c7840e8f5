/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_RENDERING_H
#define VTR_GPU_RENDERING_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/command.h"
#include "render/renderer.h"

struct vtr_gpu;

/*
 * Commands that a renderer has to do. Where it does them at once nothing is different from other commands. Where a call is in
 * progress the request is held: its chain is taken, its queue waits, everything else goes on; when the call is done the answer
 * goes to the guest, and the queue goes on.
 */

/* What came of a call, as a response type: for handlers whose work begins when the renderer has done its own. call->code is set. */
typedef uint32_t (*vtr_rendered_func)(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call);

/* Makes the call (copied; what it borrows is kept until it is done, if it was allocated by vtr_gpu_rendering_data() or belongs to
 * a resource) and returns the response type, finished's where it is not NULL: now, or, when the request is held (its chain is
 * NULL then), to the guest. Errors of calls are vtr_gpu_render_error()'s. */
uint32_t vtr_gpu_render(struct vtr_gpu *gpu, struct vtr_gpu_request *request, const struct vtr_render_call *call,
                        vtr_rendered_func finished);

/* Waits for the renderer's fence, on everything that it was asked for until now, before finished is called. */
uint32_t vtr_gpu_render_fence(struct vtr_gpu *gpu, struct vtr_gpu_request *request, vtr_rendered_func finished);

/* The response type for a call's code: OK_NODATA for 0. */
uint32_t vtr_gpu_render_error(int code);

/* True while the queue waits for the renderer. */
bool vtr_gpu_rendering(const struct vtr_gpu *gpu, unsigned queue);

#endif
