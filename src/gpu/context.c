/* SPDX-License-Identifier: MIT */
/*
 * The guest's 3D contexts, as far as they are known here: that they exist, and which resources are attached to them, because a
 * command that names another one would put the context into an error that it does not leave. A context whose renderer is lost stays
 * until the guest destroys it, so that its id means nothing else meanwhile.
 */
#include "gpu/context.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"

static struct vtr_context **bucket(struct vtr_gpu *gpu, uint32_t id)
{
	return &gpu->contexts.buckets[id % VTR_CONTEXT_BUCKETS];
}

struct vtr_context *vtr_context_find(struct vtr_gpu *gpu, uint32_t id)
{
	struct vtr_context *context = *bucket(gpu, id);

	while (context && context->id != id)
		context = context->next;
	return context;
}

struct vtr_context *vtr_context_create(struct vtr_gpu *gpu, uint32_t id)
{
	struct vtr_context *context = malloc(sizeof(*context));

	if (!context)
		return NULL;
	*context = (struct vtr_context){ .id = id, .next = *bucket(gpu, id) };
	*bucket(gpu, id) = context;
	gpu->contexts.count++;
	return context;
}

void vtr_context_destroy(struct vtr_gpu *gpu, struct vtr_context *context)
{
	struct vtr_context **link = bucket(gpu, context->id);

	while (*link != context)
		link = &(*link)->next;
	*link = context->next;
	gpu->contexts.count--;
	gpu->contexts.attachments -= context->count;
	free(context->resources);
	free(context);
}

void vtr_contexts_destroy_all(struct vtr_gpu *gpu)
{
	for (size_t i = 0; i < VTR_CONTEXT_BUCKETS; i++)
		while (gpu->contexts.buckets[i])
			vtr_context_destroy(gpu, gpu->contexts.buckets[i]);
}

/* Where the id is, or would be. */
static uint32_t place_of(const struct vtr_context *context, uint32_t resource_id)
{
	uint32_t low = 0, high = context->count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (context->resources[middle] < resource_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct vtr_context *context, uint32_t place, uint32_t resource_id)
{
	return place < context->count && context->resources[place] == resource_id;
}

bool vtr_context_has(const struct vtr_context *context, uint32_t resource_id)
{
	return is_at(context, place_of(context, resource_id), resource_id);
}

static int reserve(struct vtr_context *context)
{
	const uint32_t capacity = context->capacity ? 2 * context->capacity : 64;

	if (context->count < context->capacity)
		return 0;
	uint32_t *resources = realloc(context->resources, capacity * sizeof(resources[0]));
	if (!resources)
		return -ENOMEM;
	context->resources = resources;
	context->capacity = capacity;
	return 0;
}

int vtr_context_attach(struct vtr_gpu *gpu, struct vtr_context *context, uint32_t resource_id)
{
	const uint32_t place = place_of(context, resource_id);

	if (gpu->contexts.attachments >= VTR_MAX_ATTACHMENTS)
		return -ENOSPC;
	if (reserve(context) < 0)
		return -ENOMEM;
	uint32_t *at = context->resources + place;
	memmove(at + 1, at, (context->count - place) * sizeof(at[0]));
	*at = resource_id;
	context->count++;
	gpu->contexts.attachments++;
	return 0;
}

void vtr_context_detach(struct vtr_gpu *gpu, struct vtr_context *context, uint32_t resource_id)
{
	const uint32_t place = place_of(context, resource_id);

	if (!is_at(context, place, resource_id))
		return;
	uint32_t *at = context->resources + place;
	context->count--;
	memmove(at, at + 1, (context->count - place) * sizeof(at[0]));
	gpu->contexts.attachments--;
}

void vtr_contexts_forget_resource(struct vtr_gpu *gpu, uint32_t resource_id)
{
	for (size_t i = 0; i < VTR_CONTEXT_BUCKETS && gpu->contexts.attachments; i++)
		for (struct vtr_context *context = gpu->contexts.buckets[i]; context; context = context->next)
			vtr_context_detach(gpu, context, resource_id);
}

void vtr_contexts_lost(struct vtr_gpu *gpu)
{
	for (size_t i = 0; i < VTR_CONTEXT_BUCKETS; i++)
		for (struct vtr_context *context = gpu->contexts.buckets[i]; context; context = context->next)
			context->lost = true;
}
