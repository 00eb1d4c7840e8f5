/* SPDX-License-Identifier: MIT */
/*
 * The set of outputs, and the one queue of events from the display threads to the device thread.
 *
 * An event's node lives in the object it is about, so that the queue can neither overflow nor run out of memory, and no display
 * ever waits for the device thread to read it. The eventfd is written and drained under the queue's lock (neither can block):
 * readable and not empty are the same thing, whichever thread looks.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "display/output.h"
#include "util/fd.h"

struct vtr_outputs *vtr_outputs_create(void)
{
	struct vtr_outputs *outputs = calloc(1, sizeof(*outputs));

	if (!outputs)
		return NULL;
	outputs->last = &outputs->first;
	outputs->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (outputs->event_fd < 0) {
		free(outputs);
		return NULL;
	}
	pthread_mutex_init(&outputs->lock, NULL);
	return outputs;
}

void vtr_outputs_destroy(struct vtr_outputs *outputs)
{
	struct vtr_event event;

	if (!outputs)
		return;
	while (vtr_outputs_next_event(outputs, &event))
		; /* frees the frames and captures that wait in it */
	for (size_t i = 0; i < outputs->count; i++)
		vtr_output_destroy(outputs->items[i]);
	pthread_mutex_destroy(&outputs->lock);
	vtr_fd_close(&outputs->event_fd);
	free(outputs);
}

struct vtr_output *vtr_outputs_add(struct vtr_outputs *outputs, struct vtr_display *display, const struct vtr_mode *mode,
                                   const char *name)
{
	if (outputs->count == VTR_MAX_SCANOUTS) {
		errno = ENOSPC;
		return NULL;
	}
	struct vtr_output *output = vtr_output_create(outputs, (uint32_t)outputs->count, mode, name);
	if (!output)
		return NULL;
	outputs->items[outputs->count++] = output;
	if (display)
		vtr_output_begin(output, display);
	return output;
}

size_t vtr_outputs_count(const struct vtr_outputs *outputs)
{
	return outputs->count;
}

struct vtr_output *vtr_outputs_get(struct vtr_outputs *outputs, size_t index)
{
	return index < outputs->count ? outputs->items[index] : NULL;
}

int vtr_outputs_event_fd(const struct vtr_outputs *outputs)
{
	return outputs->event_fd;
}

void vtr_outputs_post(struct vtr_outputs *outputs, struct vtr_event_node *node)
{
	uint64_t one = 1;

	pthread_mutex_lock(&outputs->lock);
	if (!node->queued) {
		if (!outputs->first) {
			ssize_t written = write(outputs->event_fd, &one, sizeof(one));

			assert(written == sizeof(one));
			(void)written;
		}
		node->queued = true;
		node->next = NULL;
		*outputs->last = node;
		outputs->last = &node->next;
	}
	pthread_mutex_unlock(&outputs->lock);
}

/* Takes node, which *link points to, out of the queue. */
static void unlink_node(struct vtr_outputs *outputs, struct vtr_event_node **link, struct vtr_event_node *node)
{
	uint64_t count;

	*link = node->next;
	node->queued = false;
	if (outputs->last == &node->next)
		outputs->last = link;
	if (!outputs->first) {
		ssize_t drained = read(outputs->event_fd, &count, sizeof(count));

		assert(drained == sizeof(count));
		(void)drained;
	}
}

void vtr_outputs_unpost(struct vtr_outputs *outputs, struct vtr_event_node *node)
{
	pthread_mutex_lock(&outputs->lock);
	for (struct vtr_event_node **link = &outputs->first; *link; link = &(*link)->next)
		if (*link == node) {
			unlink_node(outputs, link, node);
			break;
		}
	pthread_mutex_unlock(&outputs->lock);
}

static struct vtr_event_node *pop(struct vtr_outputs *outputs)
{
	pthread_mutex_lock(&outputs->lock);
	struct vtr_event_node *node = outputs->first;
	if (node)
		unlink_node(outputs, &outputs->first, node);
	pthread_mutex_unlock(&outputs->lock);
	return node;
}

bool vtr_outputs_next_event(struct vtr_outputs *outputs, struct vtr_event *event)
{
	struct vtr_event_node *node;

	while ((node = pop(outputs))) {
		*event = node->event; /* a queued node's event is not written any more: see who posts */
		if (!node->deliver || node->deliver(node))
			return true;
	}
	return false;
}
