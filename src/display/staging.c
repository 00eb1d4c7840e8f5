/* SPDX-License-Identifier: MIT */
/*
 * Staging: where the device thread gathers pixels for an output that cannot have them as a dmabuf.
 *
 * Three images: one may wait in the frame queue, one may be read by the display, one is left to write. An image is taken by
 * vtr_staging_begin() and comes back when the frame it was committed to is finished, dropped or discarded, or when it is cancelled.
 * A display may hold more frames than one; then all three can be taken and begin returns NULL. The frame goes without pixels, and
 * as soon as an image comes back the device thread is asked to present again (FRAME_NEEDED): nobody waits, and the last picture of
 * a guest that then falls silent still arrives.
 *
 * Each image knows what it misses: all damage since it was last written, whether the frames in between carried pixels or not. Only
 * that is copied. Of the free images the one that misses least is taken, so that a display that keeps up gets one image over and
 * over again and each damaged pixel is copied once.
 *
 * Memory is mapped when it is first needed, given back when the layout changes, and bounded over all outputs (VTR_MAX_STAGING).
 */
#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "display/output.h"

void vtr_staging_init(struct vtr_output *output)
{
	for (int i = 0; i < VTR_STAGING_SLOTS; i++) {
		output->staging[i].output = output;
		pixman_region32_init(&output->staging[i].stale);
	}
}

static void free_memory(struct vtr_staging *staging)
{
	if (!staging->data)
		return;
	munmap(staging->data, staging->size);
	staging->output->outputs->staging_bytes -= staging->size;
	staging->data = NULL;
	staging->size = 0;
}

/* Memory of exactly size bytes. 0 or -ENOMEM. */
static int ensure_memory(struct vtr_staging *staging, size_t size)
{
	struct vtr_outputs *outputs = staging->output->outputs;

	if (staging->size == size)
		return 0;
	free_memory(staging);
	if (size > VTR_MAX_STAGING - outputs->staging_bytes)
		return -ENOMEM;
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return -ENOMEM;
	staging->data = data;
	staging->size = size;
	outputs->staging_bytes += size;
	return 0;
}

void vtr_staging_finish(struct vtr_output *output)
{
	for (int i = 0; i < VTR_STAGING_SLOTS; i++) {
		assert(!output->staging[i].busy);
		free_memory(&output->staging[i]);
		pixman_region32_fini(&output->staging[i].stale);
	}
}

/* A bit per image that somebody holds. What is free stays free: only the device thread takes. */
static unsigned busy_slots(struct vtr_output *output, bool starve)
{
	unsigned busy = 0;

	vtr_output_lock(output);
	for (unsigned i = 0; i < VTR_STAGING_SLOTS; i++)
		busy |= (unsigned)output->staging[i].busy << i;
	if (starve && busy == (1U << VTR_STAGING_SLOTS) - 1)
		output->starved = true;
	vtr_output_unlock(output);
	return busy;
}

static void set_busy(struct vtr_staging *staging)
{
	vtr_output_lock(staging->output);
	staging->busy = true;
	vtr_output_unlock(staging->output);
}

void vtr_staging_release(struct vtr_staging *staging)
{
	struct vtr_output *output = staging->output;

	vtr_output_lock(output);
	bool needed = output->starved;
	output->starved = false;
	staging->busy = false;
	vtr_output_unlock(output);
	if (needed)
		vtr_outputs_post(output->outputs, &output->needed);
}

void vtr_staging_set_layout(struct vtr_output *output, struct vtr_layout layout)
{
	if (vtr_layout_equal(layout, output->staging_layout))
		return;
	unsigned busy = busy_slots(output, false);
	output->staging_layout = layout;
	for (unsigned i = 0; i < VTR_STAGING_SLOTS; i++) {
		struct vtr_staging *staging = &output->staging[i];

		staging->valid = false;
		pixman_region32_clear(&staging->stale);
		if (!(busy & 1U << i))
			free_memory(staging);
	}
}

void vtr_staging_note_damage(struct vtr_output *output, const pixman_region32_t *damage)
{
	for (int i = 0; i < VTR_STAGING_SLOTS; i++)
		if (output->staging[i].valid)
			vtr_damage_add(&output->staging[i].stale, damage, output->staging_layout);
}

/* The free image that misses least, or NULL. */
static struct vtr_staging *choose(struct vtr_output *output)
{
	unsigned busy = busy_slots(output, true);
	struct vtr_staging *best = NULL;
	uint64_t best_cost = 0;

	for (unsigned i = 0; i < VTR_STAGING_SLOTS; i++) {
		struct vtr_staging *staging = &output->staging[i];
		uint64_t cost = staging->valid ? vtr_damage_area(&staging->stale) : UINT64_MAX - (staging->size != 0);

		if (!(busy & 1U << i) && (!best || cost < best_cost)) {
			best = staging;
			best_cost = cost;
		}
	}
	return best;
}

struct vtr_staging *vtr_staging_begin(struct vtr_output *output, uint32_t width, uint32_t height, uint32_t format,
                                      pixman_region32_t *stale)
{
	struct vtr_layout layout = { width, height, format };

	assert(width >= 1 && width <= VTR_MAX_DIMENSION && height >= 1 && height <= VTR_MAX_DIMENSION);
	vtr_staging_set_layout(output, layout);
	struct vtr_staging *staging = choose(output);
	if (!staging) {
		errno = EBUSY;
		return NULL;
	}
	if (ensure_memory(staging, (size_t)width * height * 4)) {
		staging->valid = false;
		errno = ENOMEM;
		return NULL;
	}
	if (!staging->valid) {
		vtr_damage_set_all(&staging->stale, layout);
		staging->valid = true;
	}
	if (!pixman_region32_copy(stale, &staging->stale))
		vtr_damage_set_all(stale, layout);
	set_busy(staging);
	return staging;
}

void *vtr_staging_data(struct vtr_staging *staging)
{
	return staging->data;
}

uint32_t vtr_staging_stride(const struct vtr_staging *staging)
{
	return staging->output->staging_layout.width * 4;
}

void vtr_staging_commit(struct vtr_staging *staging, const pixman_region32_t *done, struct vtr_frame *frame)
{
	struct vtr_layout layout = staging->output->staging_layout;

	assert(!frame->staging && frame->output == staging->output);
	if (!pixman_region32_subtract(&staging->stale, &staging->stale, done))
		vtr_damage_set_all(&staging->stale, layout);
	else
		vtr_damage_clip(&staging->stale, layout);
	frame->content = VTR_FRAME_PIXELS;
	frame->width = layout.width;
	frame->height = layout.height;
	frame->format = layout.format;
	frame->pixels = staging->data;
	frame->stride = vtr_staging_stride(staging);
	frame->staging = staging;
}

/* False when a display holds it: FRAME_NEEDED follows when it lets go. */
static bool take(struct vtr_staging *staging)
{
	vtr_output_lock(staging->output);
	bool is_free = !staging->busy;
	staging->busy = true;
	staging->output->starved |= !is_free;
	vtr_output_unlock(staging->output);
	return is_free;
}

void vtr_staging_reattach(struct vtr_output *output, struct vtr_frame *frame)
{
	struct vtr_layout layout = { frame->width, frame->height, frame->format };
	pixman_region32_t nothing;

	if (!vtr_layout_equal(layout, output->staging_layout))
		return;
	for (unsigned i = 0; i < VTR_STAGING_SLOTS; i++) {
		struct vtr_staging *staging = &output->staging[i];

		if (!staging->valid || pixman_region32_not_empty(&staging->stale) || !take(staging))
			continue;
		pixman_region32_init(&nothing);
		vtr_staging_commit(staging, &nothing, frame);
		pixman_region32_fini(&nothing);
		return;
	}
}

void vtr_staging_cancel(struct vtr_staging *staging)
{
	vtr_staging_release(staging);
}
