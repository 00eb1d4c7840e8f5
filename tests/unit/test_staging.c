/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <glib.h>

#include "display/output.h"
#include "mute_display.h"

static struct vtr_staging *begin(struct vtr_output *output, pixman_region32_t *stale)
{
	pixman_region32_init(stale);
	return vtr_staging_begin(output, 64, 48, 1, stale);
}

/* Begins, expects exactly this to be stale, copies nothing, submits as if all was copied. */
static void step(struct vtr_output *output, int x, int y, unsigned width, unsigned height)
{
	pixman_region32_t stale;
	struct vtr_staging *staging = begin(output, &stale);
	struct vtr_frame *frame = vtr_output_begin_frame(output);

	g_assert_nonnull(staging);
	assert_region(&stale, x, y, width, height);
	vtr_staging_commit(staging, &stale, frame);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_PIXELS);
	g_assert_true(frame->pixels == vtr_staging_data(staging));
	g_assert_cmpuint(frame->stride, ==, 64 * 4);
	vtr_output_submit(output, frame);
	pixman_region32_fini(&stale);
}

static void note(struct vtr_output *output, int x, int y, unsigned width, unsigned height)
{
	pixman_region32_t region;

	vtr_staging_note_damage(output, rect(&region, x, y, width, height));
	pixman_region32_fini(&region);
}

static void show(struct vtr_output *output)
{
	vtr_frame_finish(vtr_output_take_frame(output), 1);
}

/* A display that keeps up: one image, and only what changed is stale. */
static void test_keeps_up(void)
{
	struct mute_set set;

	mute_set_init(&set);
	step(set.output, 0, 0, 64, 48);
	show(set.output);
	for (int i = 0; i < 10; i++) {
		note(set.output, i, i, 2, 2);
		step(set.output, i, i, 2, 2);
		show(set.output);
	}
	step(set.output, 0, 0, 0, 0); /* nothing changed: nothing to copy */
	show(set.output);
	g_assert_cmpuint(set.outputs->staging_bytes, ==, 64 * 48 * 4);
	mute_set_finish(&set);
}

/* Frames that carry no pixels leave their damage to the next one that does. */
static void test_unread_damage(void)
{
	struct mute_set set;

	mute_set_init(&set);
	step(set.output, 0, 0, 64, 48);
	show(set.output);
	note(set.output, 0, 0, 4, 4);
	note(set.output, 4, 0, 4, 4);
	note(set.output, 60, 40, 100, 100);
	pixman_region32_t stale;
	struct vtr_staging *staging = begin(set.output, &stale);
	g_assert_cmpint(pixman_region32_n_rects(&stale), ==, 2);
	g_assert_cmpuint(vtr_damage_area(&stale), ==, 8 * 4 + 4 * 8);
	pixman_region32_fini(&stale);
	vtr_staging_cancel(staging);

	/* What was not really copied stays stale. */
	staging = begin(set.output, &stale);
	struct vtr_frame *frame = vtr_output_begin_frame(set.output);
	pixman_region32_t done;
	vtr_staging_commit(staging, rect(&done, 0, 0, 8, 4), frame);
	vtr_output_submit(set.output, frame);
	show(set.output);
	step(set.output, 60, 40, 4, 8);
	pixman_region32_fini(&done);
	pixman_region32_fini(&stale);
	mute_set_finish(&set);
}

/* Three images in rotation: each misses what happened since it was written. */
static void test_rotation(void)
{
	struct mute_set set;

	mute_set_init(&set);
	step(set.output, 0, 0, 64, 48); /* a */
	struct vtr_frame *a = vtr_output_take_frame(set.output);
	note(set.output, 0, 0, 1, 1);
	step(set.output, 0, 0, 64, 48); /* b: never written */
	note(set.output, 1, 0, 1, 1);
	step(set.output, 0, 0, 64, 48); /* c; b was replaced in the queue */
	note(set.output, 2, 0, 1, 1);
	step(set.output, 1, 0, 2, 1); /* b; c was replaced */
	vtr_frame_finish(a, 1);
	note(set.output, 3, 0, 1, 1);
	step(set.output, 2, 0, 2, 1); /* c misses less than a */
	g_assert_cmpuint(set.outputs->staging_bytes, ==, 3 * 64 * 48 * 4);
	mute_set_finish(&set);
}

/* A display that holds all images: no image now, a request to present again as soon as there is one. */
static void test_starved(void)
{
	struct mute_set set;
	struct vtr_frame *held[3];
	pixman_region32_t stale;
	struct vtr_event event;

	mute_set_init(&set);
	for (int i = 0; i < 3; i++) {
		step(set.output, 0, 0, 64, 48);
		held[i] = vtr_output_take_frame(set.output);
	}
	note(set.output, 1, 2, 3, 4);
	g_assert_null(begin(set.output, &stale));
	g_assert_cmpint(errno, ==, EBUSY);
	g_assert_false(vtr_outputs_next_event(set.outputs, &event));
	vtr_frame_finish(held[1], 1);
	bool needed = false;
	while (vtr_outputs_next_event(set.outputs, &event))
		needed |= event.type == VTR_EVENT_FRAME_NEEDED;
	g_assert_true(needed);
	step(set.output, 1, 2, 3, 4);
	vtr_frame_finish(held[0], 1);
	vtr_frame_finish(held[2], 1);
	while (vtr_outputs_next_event(set.outputs, &event))
		g_assert_cmpint(event.type, ==, VTR_EVENT_FRAME_DONE);
	mute_set_finish(&set);
}

static void test_layout_change(void)
{
	struct mute_set set;
	pixman_region32_t stale;

	mute_set_init(&set);
	step(set.output, 0, 0, 64, 48);
	struct vtr_frame *held = vtr_output_take_frame(set.output);
	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(set.output, 32, 16, 1, &stale);
	assert_region(&stale, 0, 0, 32, 16);
	g_assert_cmpuint(vtr_staging_stride(staging), ==, 128);
	vtr_staging_cancel(staging);
	staging = vtr_staging_begin(set.output, 32, 16, 2, &stale); /* another format */
	assert_region(&stale, 0, 0, 32, 16);
	vtr_staging_cancel(staging);
	vtr_frame_finish(held, 1);
	step(set.output, 0, 0, 64, 48); /* back: what was there before is not trusted */
	show(set.output);

	/* A frame of another size without pixels, and one of black, start over as well. */
	for (int i = 0; i < 2; i++) {
		struct vtr_frame *frame = new_frame(set.output, i ? VTR_FRAME_BLANK : VTR_FRAME_UNREAD, 0, 0, 1, 1);

		vtr_output_submit(set.output, frame);
		show(set.output);
		step(set.output, 0, 0, 64, 48);
		show(set.output);
		step(set.output, 0, 0, 0, 0);
		show(set.output);
	}
	pixman_region32_fini(&stale);
	mute_set_finish(&set);
}

static void test_memory_is_bounded(void)
{
	struct mute_set set;
	struct vtr_mode mode = { 64, 48, 60000 };
	struct vtr_staging *staging[2];
	pixman_region32_t stale;

	mute_set_init(&set);
	struct vtr_output *other = vtr_outputs_add(set.outputs, &set.display->base, &mode, NULL);
	pixman_region32_init(&stale);
	/* 1 GiB each, never touched */
	staging[0] = vtr_staging_begin(set.output, VTR_MAX_DIMENSION, VTR_MAX_DIMENSION, 1, &stale);
	staging[1] = vtr_staging_begin(set.output, VTR_MAX_DIMENSION, VTR_MAX_DIMENSION, 1, &stale);
	g_assert_nonnull(staging[0]);
	g_assert_nonnull(staging[1]);
	g_assert_null(vtr_staging_begin(other, 1, 1, 1, &stale));
	g_assert_cmpint(errno, ==, ENOMEM);
	vtr_staging_cancel(staging[0]);
	vtr_staging_cancel(staging[1]);
	staging[0] = vtr_staging_begin(set.output, 1, 1, 1, &stale); /* gives back what it had */
	staging[1] = vtr_staging_begin(other, 1, 1, 1, &stale);
	g_assert_nonnull(staging[1]);
	vtr_staging_cancel(staging[0]);
	vtr_staging_cancel(staging[1]);
	pixman_region32_fini(&stale);
	mute_set_finish(&set);
}

/* The memory of what is shown is gone, and the display asks for pixels of it (a capture): it gets those that there are, also when
 * it holds them still; none, when there are none that are up to date. */
static void test_asked_for_again(void)
{
	struct vtr_event event;
	struct mute_set set;

	mute_set_init(&set);
	step(set.output, 0, 0, 64, 48);
	struct vtr_frame *held = vtr_output_take_frame(set.output);
	vtr_output_set_demand(set.output, VTR_DEMAND_PIXELS);
	while (vtr_outputs_next_event(set.outputs, &event))
		;
	struct vtr_frame *nothing = new_frame(set.output, VTR_FRAME_UNREAD, 0, 0, 0, 0);
	nothing->format = 1;
	vtr_output_submit(set.output, nothing);
	g_assert_false(vtr_outputs_next_event(set.outputs, &event));
	vtr_frame_finish(held, 1);
	g_assert_true(vtr_outputs_next_event(set.outputs, &event));
	g_assert_cmpint(event.type, ==, VTR_EVENT_FRAME_NEEDED);
	nothing = new_frame(set.output, VTR_FRAME_UNREAD, 0, 0, 0, 0);
	nothing->format = 1;
	vtr_output_submit(set.output, nothing);
	struct vtr_frame *frame = vtr_output_take_frame(set.output);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_PIXELS);
	g_assert_nonnull(frame->pixels);
	vtr_frame_finish(frame, 1);

	note(set.output, 0, 0, 1, 1);
	nothing = new_frame(set.output, VTR_FRAME_UNREAD, 0, 0, 0, 0);
	nothing->format = 1;
	vtr_output_submit(set.output, nothing);
	frame = vtr_output_take_frame(set.output);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_UNREAD);
	vtr_frame_finish(frame, 1);
	mute_set_finish(&set);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/staging/keeps-up", test_keeps_up);
	g_test_add_func("/staging/asked-for-again", test_asked_for_again);
	g_test_add_func("/staging/unread-damage", test_unread_damage);
	g_test_add_func("/staging/rotation", test_rotation);
	g_test_add_func("/staging/starved", test_starved);
	g_test_add_func("/staging/layout-change", test_layout_change);
	g_test_add_func("/staging/memory-is-bounded", test_memory_is_bounded);
	return g_test_run();
}
