/* SPDX-License-Identifier: MIT */
#include "render/renderer.h"

#include <errno.h>

/* A call that nobody looks after until it is waited for. */
static void keep(struct vtr_render_call *call)
{
}

int vtr_renderer_call_wait(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	call->done = keep;
	if (vtr_renderer_call(renderer, call) == -EINPROGRESS)
		renderer->impl->wait(renderer, call);
	return call->code;
}

void vtr_renderer_set_listener(struct vtr_renderer *renderer, const struct vtr_renderer_listener *listener, void *data)
{
	renderer->listener = listener;
	renderer->listener_data = data;
}

const char *vtr_renderer_description(const struct vtr_renderer *renderer)
{
	return renderer->description;
}

int vtr_renderer_pid(const struct vtr_renderer *renderer)
{
	return renderer->impl->pid ? renderer->impl->pid(renderer) : 0;
}

void vtr_renderer_destroy(struct vtr_renderer *renderer)
{
	if (renderer)
		renderer->impl->destroy(renderer);
}
