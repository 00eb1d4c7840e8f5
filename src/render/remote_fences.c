/* SPDX-License-Identifier: MIT */
/*
 * Fences on their way: a list of those that were asked for, in that order, which is that of their ids, and a list of those that
 * have passed and of which the listener has not been told. The process can only say of a fence that was asked for, once, that it
 * has passed.
 */
#include "render/remote.h"

#include <errno.h>
#include <stdlib.h>

void vtr_remote_fences_init(struct vtr_remote_fences *fences)
{
	*fences = (struct vtr_remote_fences){ 0 };
	fences->last = &fences->first;
}

static void append(struct vtr_remote_fences *fences, struct vtr_remote_fence *fence)
{
	fence->next = NULL;
	*fences->last = fence;
	fences->last = &fence->next;
}

static struct vtr_remote_fence *take(struct vtr_remote_fences *fences, struct vtr_remote_fence **link)
{
	struct vtr_remote_fence *fence = *link;

	*link = fence->next;
	if (fences->last == &fence->next)
		fences->last = link;
	return fence;
}

int vtr_remote_fence_add(struct vtr_remote *remote, uint64_t id, uint64_t number)
{
	struct vtr_remote_fence *fence = remote->n_fences < VTR_REMOTE_FENCES ? malloc(sizeof(*fence)) : NULL;

	if (!fence)
		return -ENOMEM;
	*fence = (struct vtr_remote_fence){ .id = id, .number = number };
	append(&remote->fences, fence);
	remote->n_fences++;
	return 0;
}

static struct vtr_remote_fence **find(struct vtr_remote *remote, uint64_t id)
{
	struct vtr_remote_fence **link = &remote->fences.first;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

bool vtr_remote_fence_passed(struct vtr_remote *remote, uint64_t id)
{
	struct vtr_remote_fence **link = find(remote, id);

	if (!*link || (*link)->number >= remote->sent)
		return false;
	struct vtr_remote_fence *fence = take(&remote->fences, link);
	fence->after = remote->to_deliver;
	append(&remote->passed, fence);
	return true;
}

void vtr_remote_fences_move_up(struct vtr_remote *remote, uint64_t place)
{
	for (struct vtr_remote_fence *fence = remote->passed.first; fence; fence = fence->next)
		fence->after -= fence->after > place;
}

bool vtr_remote_fence_take_passed(struct vtr_remote *remote, uint64_t *id)
{
	struct vtr_remote_fence *fence = remote->passed.first;

	if (!fence || fence->after > remote->delivered)
		return false;
	*id = fence->id;
	free(take(&remote->passed, &remote->passed.first));
	remote->n_fences--;
	return true;
}

static void drop(struct vtr_remote *remote, struct vtr_remote_fence **link)
{
	free(take(&remote->fences, link));
	remote->n_fences--;
}

void vtr_remote_fence_refused(struct vtr_remote *remote, uint64_t id)
{
	struct vtr_remote_fence **link = find(remote, id);

	if (*link)
		drop(remote, link);
}

void vtr_remote_fences_drop(struct vtr_remote *remote, uint64_t number)
{
	while (remote->fences.first && remote->fences.first->number <= number)
		drop(remote, &remote->fences.first);
}

void vtr_remote_fences_finish(struct vtr_remote *remote)
{
	vtr_remote_fences_drop(remote, UINT64_MAX);
	while (remote->passed.first)
		free(take(&remote->passed, &remote->passed.first));
	remote->n_fences = 0;
}
