/* SPDX-License-Identifier: MIT */
/*
 * The frame queue of an output: one place, for the newest frame.
 *
 *     begun --submit--> pending --take--> taken --finish--> gone
 *       |                  |                \--presented--> held --finish--> gone
 *       \--discard--> gone \--replaced: reported as dropped, its damage goes to the frame that replaces it
 *
 * Every submitted frame gives exactly one FRAME_DONE. A frame belongs to one thread at a time (device, then display), so its fields
 * need no lock; the lock only guards the swap of `pending`.
 *
 * Damage is never lost: a frame that the display takes holds everything that changed since the last frame whose pixels it took and
 * did not give up. Two regions see to that: `pending` passes its damage on when it is replaced, and `unread` (display thread) keeps
 * the damage of frames that came without pixels or were given up. A change of size or format damages everything. Nor are pixels
 * that nobody can read again: a frame that brings nothing takes over what the replaced one brought.
 *
 * The queue goes with its output from display to display: what is pending waits for the next one, which has seen nothing, so that
 * the first frame it takes is damaged all over (`fresh`). When the guest's memory is gone there is nothing to be presented again,
 * and the last picture comes out of staging: for the next display (`renew`), and for one that asks for pixels of what it shows.
 *
 * Memory: a frame's resources go when it is finished; the little that is left lives until its events were read. A device thread
 * that never reads its events is stopped by MAX_FRAMES.
 */
#include <assert.h>
#include <stdlib.h>

#include "display/output.h"

/* Frames of one output whose events were not read yet: more than the guest can have flushes pending. */
enum { MAX_FRAMES = 2 * VTR_MAX_PENDING_FLUSHES };

struct queue_frame {
	struct vtr_frame base;
	atomic_uint refs; /* the owner, and each queued event */
	bool reported;    /* FRAME_DONE was posted */
	bool failed;      /* IMPORT_FAILED was posted */
	struct vtr_event_node done, import_failed;
};

static struct queue_frame *queue_frame(struct vtr_frame *frame)
{
	return (struct queue_frame *)frame;
}

static void unref(struct queue_frame *frame)
{
	if (atomic_fetch_sub(&frame->refs, 1) != 1)
		return;
	atomic_fetch_sub(&frame->base.output->n_frames, 1);
	free(frame);
}

static bool deliver_done(struct vtr_event_node *node)
{
	unref((struct queue_frame *)((char *)node - offsetof(struct queue_frame, done)));
	return true;
}

static bool deliver_import_failed(struct vtr_event_node *node)
{
	unref((struct queue_frame *)((char *)node - offsetof(struct queue_frame, import_failed)));
	return true;
}

/* Gives back what the frame holds. */
static void give_back(struct vtr_frame *frame)
{
	vtr_buffer_unlock(frame->buffer);
	if (frame->staging)
		vtr_staging_release(frame->staging);
	frame->buffer = NULL;
	frame->staging = NULL;
}

/* The owner is done with the frame. */
static void release(struct vtr_frame *frame)
{
	give_back(frame);
	pixman_region32_fini(&frame->damage);
	unref(queue_frame(frame));
}

static void post(struct queue_frame *frame, struct vtr_event_node *node)
{
	node->event.output = frame->base.output->index;
	node->event.sequence = frame->base.sequence;
	atomic_fetch_add(&frame->refs, 1);
	vtr_outputs_post(frame->base.output->outputs, node);
}

/* presented_ns 0: dropped. Only the first report counts. */
static void report(struct vtr_frame *base, uint64_t presented_ns)
{
	struct queue_frame *frame = queue_frame(base);

	if (frame->reported)
		return;
	frame->reported = true;
	frame->done.deliver = deliver_done;
	frame->done.event = (struct vtr_event){
		.type = VTR_EVENT_FRAME_DONE,
		.time_ns = presented_ns ? presented_ns : vtr_now_ns(),
		.flushed_ns = base->flushed_ns,
		.dropped = !presented_ns,
	};
	post(frame, &frame->done);
}

static struct vtr_frame *swap_pending(struct vtr_output *output, struct vtr_frame *frame)
{
	vtr_output_lock(output);
	struct vtr_frame *old = output->pending;
	output->pending = frame;
	vtr_output_unlock(output);
	return old;
}

static struct vtr_layout layout_of(const struct vtr_frame *frame)
{
	if (frame->content == VTR_FRAME_BLANK)
		return (struct vtr_layout){ 0 };
	return (struct vtr_layout){ frame->width, frame->height, frame->format };
}

static bool has_pixels(const struct vtr_frame *frame)
{
	return frame->content == VTR_FRAME_BUFFER || frame->content == VTR_FRAME_PIXELS;
}

/* ---- device thread ---- */

struct vtr_frame *vtr_output_begin_frame(struct vtr_output *output)
{
	if (atomic_load(&output->n_frames) >= MAX_FRAMES)
		return NULL;
	struct queue_frame *frame = calloc(1, sizeof(*frame));
	if (!frame)
		return NULL;
	atomic_init(&frame->refs, 1);
	atomic_fetch_add(&output->n_frames, 1);
	frame->base.output = output;
	frame->base.sequence = output->sequence + 1;
	pixman_region32_init(&frame->base.damage);
	return &frame->base;
}

void vtr_frame_discard(struct vtr_frame *frame)
{
	if (frame)
		release(frame);
}

/* No pixels, and nothing that changed: the last picture is the right one (the memory of a frozen scanout is gone). */
static bool brings_nothing(const struct vtr_frame *frame, struct vtr_layout layout)
{
	return layout.width && !has_pixels(frame) && !pixman_region32_not_empty((pixman_region32_t *)&frame->damage);
}

/* What the display did not see yet of the last picture goes on waiting with frame. */
static void take_content(struct vtr_frame *frame, struct vtr_frame *from)
{
	frame->content = from->content;
	frame->buffer = from->buffer;
	frame->path = from->path;
	frame->offset = from->offset;
	frame->modifier = from->modifier;
	frame->stride = from->stride;
	frame->flipped = from->flipped;
	frame->x = from->x;
	frame->y = from->y;
	frame->pixels = from->pixels;
	frame->staging = from->staging;
	from->buffer = NULL;
	from->staging = NULL;
}

void vtr_output_submit(struct vtr_output *output, struct vtr_frame *frame)
{
	struct vtr_layout layout = layout_of(frame);

	assert(frame->output == output && frame->sequence == output->sequence + 1);
	output->sequence++;
	if (!vtr_layout_equal(layout, output->layout))
		vtr_damage_set_all(&frame->damage, layout);
	else
		vtr_damage_clip(&frame->damage, layout);
	output->layout = layout;
	vtr_staging_set_layout(output, layout);

	enum vtr_output_demand demand = vtr_output_demand(output);
	if (brings_nothing(frame, layout) && (demand == VTR_DEMAND_PIXELS || (output->renew && demand != VTR_DEMAND_NONE)))
		vtr_staging_reattach(output, frame);
	if (frame->content != VTR_FRAME_UNREAD)
		output->renew = false;

	/* Taken out first and united without the lock: a display that looks meanwhile finds nothing and is called again. */
	struct vtr_frame *replaced = swap_pending(output, NULL);
	if (replaced) {
		if (brings_nothing(frame, layout) && vtr_layout_equal(layout_of(replaced), layout))
			take_content(frame, replaced);
		vtr_damage_add(&frame->damage, &replaced->damage, layout);
		report(replaced, 0);
		release(replaced);
	}
	swap_pending(output, frame);
	/* Looked at after the frame is in its place: a disconnection that we miss here finds the frame and drops it. */
	if (vtr_output_connected(output))
		vtr_display_mail(output, VTR_MAIL_FRAME);
	else
		vtr_queue_drop(output);
}

void vtr_queue_drop(struct vtr_output *output)
{
	struct vtr_frame *frame = swap_pending(output, NULL);

	if (frame) {
		report(frame, 0);
		release(frame);
	}
}

/* ---- display thread ---- */

struct vtr_frame *vtr_output_take_frame(struct vtr_output *output)
{
	struct vtr_frame *frame = swap_pending(output, NULL);

	if (!frame)
		return NULL;
	struct vtr_layout layout = layout_of(frame);
	if (output->fresh)
		vtr_damage_set_all(&frame->damage, layout);
	if (output->fresh || !vtr_layout_equal(layout, output->unread_layout)) {
		pixman_region32_clear(&output->unread);
		output->unread_layout = layout;
	}
	output->fresh = false;
	if (output->awaiting) {
		output->awaiting = false;
		vtr_display_remind(output, VTR_MAIL_CAPTURE); /* those that waited for it */
	}
	if (has_pixels(frame)) {
		vtr_damage_add(&frame->damage, &output->unread, layout);
		pixman_region32_clear(&output->unread);
	} else {
		vtr_damage_add(&output->unread, &frame->damage, layout);
	}
	return frame;
}

bool vtr_output_is_current(const struct vtr_output *output)
{
	return !pixman_region32_not_empty((pixman_region32_t *)&output->unread);
}

void vtr_frame_presented(struct vtr_frame *frame, uint64_t presented_ns)
{
	report(frame, presented_ns);
}

void vtr_frame_finish(struct vtr_frame *frame, uint64_t presented_ns)
{
	struct vtr_output *output = frame->output;
	bool given_up = !queue_frame(frame)->reported && !presented_ns;

	if (given_up && has_pixels(frame) && vtr_layout_equal(layout_of(frame), output->unread_layout))
		vtr_damage_add(&output->unread, &frame->damage, output->unread_layout);
	give_back(
		frame); /* first: who hears of it presents again, in the image that is free now and has nearly all of the picture */
	report(frame, presented_ns);
	release(frame);
}

void vtr_frame_import_failed(struct vtr_frame *base, const struct vtr_error *error)
{
	struct queue_frame *frame = queue_frame(base);

	if (frame->failed)
		return;
	frame->failed = true;
	frame->import_failed.deliver = deliver_import_failed;
	frame->import_failed.event = (struct vtr_event){
		.type = VTR_EVENT_IMPORT_FAILED,
		.time_ns = vtr_now_ns(),
		.buffer_id = base->buffer ? vtr_buffer_id(base->buffer) : 0,
		.error = *error,
	};
	post(frame, &frame->import_failed);
}
