/* SPDX-License-Identifier: MIT */
/*
 * Contexts and their command streams. A context has sub-contexts, one for each context of the guest's OpenGL, and each is a GL
 * context: they can be made before virglrenderer is asked for them, and are not too many.
 *
 * No context is destroyed while there are fences: virglrenderer frees those of the context, which the thread that waits for fences
 * may be looking at, and forgets the one that it is waiting for, whosever it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "render/virgl.h"

enum {
	MAX_SUBS = 64,      /* of a context and in one stream */
	MAX_ALL_SUBS = 512, /* a GL context each */
};

int vtr_virgl_code(int result)
{
	int code = abs(result);

	return !code || code == ENOMEM || code == ENOENT ? -code : -EINVAL;
}

struct vtr_virgl_context *vtr_virgl_context(struct vtr_virgl *virgl, uint32_t id)
{
	struct vtr_virgl_context *context = virgl->contexts;

	while (context && context->id != id)
		context = context->next;
	return context;
}

static bool has_capset(const struct vtr_virgl *virgl, uint32_t id)
{
	for (uint32_t i = 0; i < virgl->base.n_capsets; i++)
		if (virgl->base.capsets[i].id == id)
			return true;
	return !id;
}

static int create(const struct vtr_render_args *args)
{
	char name[sizeof(args->ctx_create.name) + 1] = { 0 };
	uint32_t length = args->ctx_create.name_length, capset = args->ctx_create.capset_id;

	if (length >= sizeof(name))
		length = sizeof(name) - 1;
	memcpy(name, args->ctx_create.name, length);
	return capset ? virgl_renderer_context_create_with_flags(args->ctx_id, capset, length, name)
	              : virgl_renderer_context_create(args->ctx_id, length, name);
}

/* Making and destroying a context leaves another GL context current than the one that virglrenderer remembers: the next stream
 * would be drawn with it, and its objects would be there. */
static void forget_current(void)
{
	virgl_renderer_force_ctx_0();
}

int vtr_virgl_ctx_create(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	const struct vtr_render_args *args = &call->args;

	if (!args->ctx_id || !has_capset(virgl, args->ctx_create.capset_id) || vtr_virgl_context(virgl, args->ctx_id))
		return -EINVAL;
	if (virgl->n_contexts >= VTR_MAX_CONTEXTS || vtr_virgl_gl_reserve(&virgl->gl, 1) < 0)
		return -ENOMEM;
	struct vtr_virgl_context *context = malloc(sizeof(*context));
	if (!context)
		return -ENOMEM;
	int code = vtr_virgl_code(create(args));
	forget_current();
	if (code) {
		free(context);
		return code;
	}
	*context = (struct vtr_virgl_context){ .id = args->ctx_id, .next = virgl->contexts };
	virgl->contexts = context;
	virgl->n_contexts++;
	return 0;
}

static void destroy(struct vtr_virgl *virgl, struct vtr_virgl_context **link)
{
	struct vtr_virgl_context *context = *link;

	virgl_renderer_context_destroy(context->id);
	forget_current();
	*link = context->next;
	vtr_virgl_forget_made(virgl, context);
	virgl->n_contexts--;
	virgl->n_subs -= context->subs;
	free(context);
}

int vtr_virgl_ctx_destroy(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	struct vtr_virgl_context **link = &virgl->contexts;

	while (*link && (*link)->id != call->args.ctx_id)
		link = &(*link)->next;
	if (!*link)
		return -ENOENT;
	if (!vtr_virgl_fences_drain(virgl))
		return -ENODEV;
	destroy(virgl, link);
	return 0;
}

void vtr_virgl_destroy_contexts(struct vtr_virgl *virgl)
{
	while (virgl->contexts)
		destroy(virgl, &virgl->contexts);
}

int vtr_virgl_ctx_attach_resource(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	if (!vtr_virgl_context(virgl, call->args.ctx_id) || !vtr_virgl_resource(virgl, call->args.resource_id))
		return -ENOENT;
	virgl_renderer_ctx_attach_resource((int)call->args.ctx_id, (int)call->args.resource_id);
	return 0;
}

int vtr_virgl_ctx_detach_resource(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	if (!vtr_virgl_context(virgl, call->args.ctx_id) || !vtr_virgl_resource(virgl, call->args.resource_id))
		return -ENOENT;
	virgl_renderer_ctx_detach_resource((int)call->args.ctx_id, (int)call->args.resource_id);
	return 0;
}

/* As if all of the stream was done: one that failed may leave fewer, and the guest is the poorer. */
static void count_subs(struct vtr_virgl *virgl, struct vtr_virgl_context *context, const struct vtr_virgl_stream *stream)
{
	unsigned subs = context->subs + stream->creates, destroys = stream->destroys < subs ? stream->destroys : subs;

	virgl->n_subs += stream->creates - destroys;
	context->subs = subs - destroys;
}

int vtr_virgl_submit(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	struct vtr_virgl_context *context = vtr_virgl_context(virgl, call->args.ctx_id);
	struct vtr_virgl_stream stream;
	size_t words = call->size / 4;

	if (!context)
		return -ENOENT;
	if (call->size % 4 || call->size > VTR_MAX_SUBMIT)
		return -EINVAL;
	int code = vtr_virgl_stream_check(virgl, context, call->data, words, &stream);
	if (code < 0)
		return code;
	if (stream.creates > MAX_SUBS - context->subs || stream.creates > MAX_ALL_SUBS - virgl->n_subs ||
	    vtr_virgl_gl_reserve(&virgl->gl, stream.creates) < 0)
		return -ENOMEM;
	context->shaders = stream.shaders;
	/* it does not write to the stream: its prototype just has no const */
	code = vtr_virgl_code(virgl_renderer_submit_cmd((void *)call->data, (int)context->id, (int)words));
	count_subs(virgl, context, &stream);
	return code;
}
