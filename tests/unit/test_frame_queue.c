/* SPDX-License-Identifier: MIT */
#include <glib.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mute_display.h"

/* Takes the next event, which must be FRAME_DONE of this frame. */
static void assert_done(struct vtr_outputs *outputs, uint64_t sequence, uint64_t presented_ns)
{
	struct vtr_event event;

	g_assert_true(vtr_outputs_next_event(outputs, &event));
	g_assert_cmpint(event.type, ==, VTR_EVENT_FRAME_DONE);
	g_assert_cmpuint(event.sequence, ==, sequence);
	g_assert_cmpint(event.dropped, ==, !presented_ns);
	if (presented_ns)
		g_assert_cmpuint(event.time_ns, ==, presented_ns);
}

static void assert_no_event(struct vtr_outputs *outputs)
{
	struct vtr_event event;

	g_assert_false(vtr_outputs_next_event(outputs, &event));
}

static void test_newest_wins(void)
{
	struct mute_set set;

	mute_set_init(&set);
	g_assert_null(vtr_output_take_frame(set.output));
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_UNREAD, 0, 0, 64, 48));
	struct vtr_frame *frame = vtr_output_take_frame(set.output);
	vtr_frame_finish(frame, 11);
	assert_done(set.outputs, 1, 11);

	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 0, 0, 10, 10));
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 10, 0, 10, 10));
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 20, 0, 10, 10));
	assert_done(set.outputs, 2, 0);
	assert_done(set.outputs, 3, 0);
	assert_no_event(set.outputs);
	frame = vtr_output_take_frame(set.output);
	g_assert_cmpuint(frame->sequence, ==, 4);
	g_assert_null(vtr_output_take_frame(set.output));
	vtr_frame_finish(frame, 44);
	assert_done(set.outputs, 4, 44);
	mute_set_finish(&set);
}

/* The damage that a taken frame shows, after the first picture was read. */
static void test_damage(void)
{
	struct mute_set set;

	mute_set_init(&set);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 5, 5, 1, 1));
	struct vtr_frame *frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 0, 0, 64, 48); /* the first of its size: everything */
	vtr_frame_finish(frame, 1);

	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 60, 40, 100, 100));
	frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 60, 40, 4, 8); /* clipped */
	vtr_frame_finish(frame, 2);

	/* replaced in the queue */
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 0, 0, 4, 4));
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 4, 0, 4, 4));
	frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 0, 0, 8, 4);
	vtr_frame_finish(frame, 3);

	/* taken without pixels, then given up, then shown */
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_UNREAD, 0, 8, 4, 4));
	frame = vtr_output_take_frame(set.output);
	vtr_frame_finish(frame, 4);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 4, 8, 4, 4));
	frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 0, 8, 8, 4);
	vtr_frame_finish(frame, 0);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_PIXELS, 8, 8, 0, 0));
	frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 0, 8, 8, 4);
	vtr_frame_finish(frame, 6);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 1, 1, 1, 1));
	frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 1, 1, 1, 1);
	vtr_frame_finish(frame, 7);

	/* black in between */
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BLANK, 0, 0, 0, 0));
	frame = vtr_output_take_frame(set.output);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_BLANK);
	vtr_frame_finish(frame, 8);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 1, 1, 1, 1));
	frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 0, 0, 64, 48);
	vtr_frame_finish(frame, 9);

	/* another size, dropped before it was seen */
	frame = new_frame(set.output, VTR_FRAME_BUFFER, 1, 1, 1, 1);
	frame->width = 32;
	vtr_output_submit(set.output, frame);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 1, 1, 1, 1));
	frame = vtr_output_take_frame(set.output);
	assert_region(&frame->damage, 0, 0, 64, 48);
	vtr_frame_finish(frame, 10);
	mute_set_finish(&set);
}

/* A frame that brings nothing newer does not push pixels out that were not seen yet. */
static void test_pixels_wait(void)
{
	struct mute_set set;

	mute_set_init(&set);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 5, 5, 1, 1));
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_UNREAD, 0, 0, 0, 0));
	assert_done(set.outputs, 1, 0);
	struct vtr_frame *frame = vtr_output_take_frame(set.output);
	g_assert_cmpuint(frame->sequence, ==, 2);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_BUFFER);
	assert_region(&frame->damage, 0, 0, 64, 48);
	vtr_frame_finish(frame, 1);

	/* something did change: what waited is out of date */
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 5, 5, 1, 1));
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_UNREAD, 6, 5, 1, 1));
	frame = vtr_output_take_frame(set.output);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_UNREAD);
	vtr_frame_finish(frame, 2);

	/* black shows nothing of it */
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 5, 5, 1, 1));
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BLANK, 0, 0, 0, 0));
	frame = vtr_output_take_frame(set.output);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_BLANK);
	vtr_frame_finish(frame, 3);
	mute_set_finish(&set);
}

static void test_damage_stays_small(void)
{
	struct mute_set set;

	mute_set_init(&set);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_BUFFER, 0, 0, 1, 1));
	vtr_frame_finish(vtr_output_take_frame(set.output), 1);
	for (int i = 0; i < 1000; i++)
		vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_UNREAD, 2 * (i % 30), 2 * (i / 30 % 20), 1, 1));
	struct vtr_frame *frame = vtr_output_take_frame(set.output);
	g_assert_cmpint(pixman_region32_n_rects(&frame->damage), <=, 64);
	pixman_box32_t *box = pixman_region32_extents(&frame->damage);
	g_assert_cmpint(box->x2, ==, 59);
	g_assert_cmpint(box->y2, ==, 39);
	vtr_frame_finish(frame, 1);
	mute_set_finish(&set);
}

static void test_discard(void)
{
	struct mute_set set;

	mute_set_init(&set);
	struct vtr_frame *frame = vtr_output_begin_frame(set.output);
	g_assert_cmpuint(frame->sequence, ==, 1);
	vtr_frame_discard(frame);
	frame = vtr_output_begin_frame(set.output);
	g_assert_cmpuint(frame->sequence, ==, 1);
	vtr_frame_discard(frame);
	vtr_frame_discard(NULL);
	assert_no_event(set.outputs);
	mute_set_finish(&set);
}

static void test_presented_then_finished(void)
{
	struct mute_set set;

	mute_set_init(&set);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_UNREAD, 0, 0, 1, 1));
	struct vtr_frame *frame = vtr_output_take_frame(set.output);
	vtr_frame_presented(frame, 5);
	assert_done(set.outputs, 1, 5);
	vtr_frame_presented(frame, 6);
	vtr_frame_finish(frame, 0);
	assert_no_event(set.outputs); /* once is enough */
	mute_set_finish(&set);
}

static void test_import_failed(void)
{
	struct mute_set set;
	struct vtr_event event;
	struct vtr_error error;

	mute_set_init(&set);
	int fd = memfd_create("frame", MFD_CLOEXEC);
	struct vtr_buffer *buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, 4096);
	struct vtr_frame *frame = new_frame(set.output, VTR_FRAME_BUFFER, 0, 0, 1, 1);
	frame->buffer = vtr_buffer_lock(buffer);
	uint64_t id = vtr_buffer_id(buffer);
	vtr_buffer_drop(buffer);
	vtr_output_submit(set.output, frame);
	frame = vtr_output_take_frame(set.output);
	vtr_error_set(&error, VTR_ERROR_HOST, EINVAL, "cannot");
	vtr_frame_import_failed(frame, &error);
	vtr_frame_import_failed(frame, &error);
	vtr_frame_finish(frame, 0); /* closes the fd: the frame had the last lock */
	g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, -1);
	g_assert_true(vtr_outputs_next_event(set.outputs, &event));
	g_assert_cmpint(event.type, ==, VTR_EVENT_IMPORT_FAILED);
	g_assert_cmpuint(event.sequence, ==, 1);
	g_assert_cmpuint(event.buffer_id, ==, id);
	g_assert_cmpstr(event.error.text, ==, "cannot");
	assert_done(set.outputs, 1, 0);
	assert_no_event(set.outputs);
	mute_set_finish(&set);
}

/* A device thread that never reads events runs into a bound, and goes on when it reads them. */
static void test_unread_events_are_bounded(void)
{
	struct mute_set set;
	struct vtr_event event;
	unsigned submitted = 0, done = 0;
	struct vtr_frame *frame;

	mute_set_init(&set);
	while ((frame = vtr_output_begin_frame(set.output))) {
		frame->content = VTR_FRAME_UNREAD;
		vtr_output_submit(set.output, frame);
		g_assert_cmpuint(++submitted, <, 100000);
	}
	while (vtr_outputs_next_event(set.outputs, &event))
		done++;
	g_assert_cmpuint(done, ==, submitted - 1);
	frame = vtr_output_begin_frame(set.output);
	g_assert_nonnull(frame);
	vtr_frame_discard(frame);
	mute_set_finish(&set);
}

/* A display that sleeps for ever delays nothing that the device thread does. */
static void test_stuck_display(void)
{
	struct mute_set set;
	struct vtr_event event;
	unsigned done = 0;

	mute_set_init(&set);
	mute_set_stuck(set.display, true);
	for (int i = 0; i < 1000; i++) {
		pixman_region32_t stale;

		pixman_region32_init(&stale);
		struct vtr_staging *staging = vtr_staging_begin(set.output, 64, 48, 1, &stale);
		g_assert_nonnull(staging);
		struct vtr_frame *frame = vtr_output_begin_frame(set.output);
		vtr_staging_commit(staging, &stale, frame);
		vtr_output_submit(set.output, frame);
		vtr_output_move_cursor(set.output, i, i);
		pixman_region32_fini(&stale);
		while (vtr_outputs_next_event(set.outputs, &event))
			done += event.dropped;
	}
	mute_wait_sleeping(set.display);
	g_assert_cmpuint(done, ==, 999);
	mute_set_stuck(set.display, false);
	vtr_display_destroy(&set.display->base); /* the last frame is dropped */
	assert_done(set.outputs, 1000, 0);
	vtr_outputs_destroy(set.outputs);
}

/* ---- two threads ---- */

/*
 * The device thread draws numbers into a picture, one damaged rectangle a frame, and hands over staging images; the display copies
 * what is damaged into a picture of its own and looks whether it equals the picture of the frame's number. Frames without pixels,
 * given-up and held frames are mixed in.
 */
enum { WIDTH = 16, HEIGHT = 16, PIXELS = WIDTH * HEIGHT, HISTORY = 64, FRAMES = 5000 };

struct stress_display {
	struct vtr_display base;
	uint32_t picture[PIXELS];
	struct vtr_frame *held;
	uint64_t last; /* sequence */
	unsigned checked;
	atomic_uint turns;
};

static int stress_attach(struct vtr_display *display, struct vtr_output *output)
{
	return 0;
}

static void stress_detach(struct vtr_display *display, struct vtr_output *output)
{
	struct stress_display *stress = (struct stress_display *)display;

	if (stress->held)
		vtr_frame_finish(stress->held, 0);
}

/* Pixel values name the frame that wrote them; a pixel that is younger than the frame means that an image was written while we
 * read. */
static void stress_check(struct stress_display *stress, struct vtr_frame *frame)
{
	const uint32_t *pixels = frame->pixels;
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles(&frame->damage, &count);

	for (int i = 0; i < count; i++)
		for (int y = boxes[i].y1; y < boxes[i].y2; y++)
			memcpy(stress->picture + y * WIDTH + boxes[i].x1, pixels + y * WIDTH + boxes[i].x1,
			       (size_t)(boxes[i].x2 - boxes[i].x1) * 4);
	g_assert_cmpmem(stress->picture, sizeof(stress->picture), pixels, sizeof(stress->picture));
	uint32_t newest = 0;
	for (int i = 0; i < PIXELS; i++)
		newest = MAX(newest, pixels[i]);
	g_assert_cmpuint(newest, <=, frame->sequence);
	stress->checked++;
}

static void stress_frame(struct vtr_display *display, struct vtr_output *output)
{
	struct stress_display *stress = (struct stress_display *)display;
	struct vtr_frame *frame = vtr_output_take_frame(output);

	if (!frame)
		return;
	unsigned turn = atomic_fetch_add(&stress->turns, 1);
	g_assert_cmpuint(frame->sequence, >, stress->last);
	stress->last = frame->sequence;
	if (stress->held)
		vtr_frame_finish(stress->held, 0);
	stress->held = NULL;
	if (frame->content == VTR_FRAME_PIXELS && turn % 7 == 0) {
		vtr_frame_finish(frame, 0); /* given up: its damage comes again */
		return;
	}
	if (frame->content == VTR_FRAME_PIXELS)
		stress_check(stress, frame);
	if (turn % 3) {
		vtr_frame_finish(frame, vtr_now_ns());
	} else {
		vtr_frame_presented(frame, vtr_now_ns());
		stress->held = frame;
	}
}

static void stress_capture(struct vtr_display *display, struct vtr_output *output, struct vtr_capture *capture)
{
	struct vtr_error error = { .owner = VTR_ERROR_HOST };

	vtr_capture_finish(capture, NULL, 0, &error);
}

static void stress_destroy(struct vtr_display *display)
{
}

static const struct vtr_display_impl stress_impl = {
	.name = "stress",
	.attach = stress_attach,
	.detach = stress_detach,
	.frame = stress_frame,
	.capture = stress_capture,
	.accepts = mute_accepts,
	.destroy = stress_destroy,
};

static void stress_answered(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	(*(unsigned *)data)++;
}

/* Copies what the image misses from the scanout's picture. */
static void gather(struct vtr_staging *staging, const uint32_t *scanout, const pixman_region32_t *stale)
{
	uint32_t *target = vtr_staging_data(staging);
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles((pixman_region32_t *)stale, &count);

	for (int i = 0; i < count; i++)
		for (int y = boxes[i].y1; y < boxes[i].y2; y++)
			memcpy(target + y * WIDTH + boxes[i].x1, scanout + y * WIDTH + boxes[i].x1,
			       (size_t)(boxes[i].x2 - boxes[i].x1) * 4);
}

static void submit_step(struct vtr_output *output, uint32_t *scanout, uint32_t number, GRand *random)
{
	struct vtr_frame *frame = vtr_output_begin_frame(output);
	int x = g_rand_int_range(random, 0, WIDTH), y = g_rand_int_range(random, 0, HEIGHT);
	int right = g_rand_int_range(random, x, WIDTH) + 1, bottom = g_rand_int_range(random, y, HEIGHT) + 1;
	pixman_region32_t stale;

	g_assert_cmpuint(frame->sequence, ==, number);
	for (int i = y; i < bottom; i++)
		for (int j = x; j < right; j++)
			scanout[i * WIDTH + j] = number;
	pixman_region32_union_rect(&frame->damage, &frame->damage, x, y, (unsigned)(right - x), (unsigned)(bottom - y));
	vtr_staging_note_damage(output, &frame->damage);
	frame->content = VTR_FRAME_UNREAD;
	frame->width = WIDTH;
	frame->height = HEIGHT;
	frame->format = 1;
	pixman_region32_init(&stale);
	struct vtr_staging *staging = number % 5 ? vtr_staging_begin(output, WIDTH, HEIGHT, 1, &stale) : NULL;
	if (staging) {
		gather(staging, scanout, &stale);
		vtr_staging_commit(staging, &stale, frame);
	}
	pixman_region32_fini(&stale);
	vtr_output_submit(output, frame);
}

/* Waits until the display took a frame since it had taken so many: left alone, the device thread is always far ahead of it. */
static void wait_turn(struct stress_display *stress, unsigned turns)
{
	gint64 end = g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND;

	while (atomic_load(&stress->turns) == turns && g_get_monotonic_time() < end)
		g_usleep(10);
	g_assert_cmpuint(atomic_load(&stress->turns), !=, turns);
}

static void test_two_threads(void)
{
	static struct stress_display stress;
	static uint32_t scanout[PIXELS];
	struct vtr_outputs *outputs = vtr_outputs_create();
	struct vtr_mode mode = { WIDTH, HEIGHT, 0 };
	struct vtr_event event;
	GRand *random = g_rand_new_with_seed(1);
	uint64_t done = 0, shown = 0;
	unsigned answered = 0;
	bool *seen = g_new0(bool, FRAMES + 1);

	g_assert_cmpint(vtr_display_init(&stress.base, &stress_impl), ==, 0);
	struct vtr_output *output = vtr_outputs_add(outputs, &stress.base, &mode, NULL);
	for (uint32_t i = 1; i <= FRAMES; i++) {
		unsigned turns = atomic_load(&stress.turns);

		submit_step(output, scanout, i, random);
		if (i % 100 == 0)
			g_assert_nonnull(vtr_output_capture(output, false, stress_answered, &answered));
		if (g_rand_int_range(random, 0, 8) == 0)
			wait_turn(&stress, turns);
		while (i % 3 == 0 && vtr_outputs_next_event(outputs, &event))
			if (event.type == VTR_EVENT_FRAME_DONE) {
				g_assert_false(seen[event.sequence]);
				seen[event.sequence] = true;
				done++;
				shown += !event.dropped;
			}
	}
	vtr_display_destroy(&stress.base);
	while (vtr_outputs_next_event(outputs, &event))
		done += event.type == VTR_EVENT_FRAME_DONE;
	g_assert_cmpuint(done, ==, FRAMES);
	g_assert_cmpuint(answered, ==, FRAMES / 100);
	g_assert_cmpuint(shown, >, 100);
	g_assert_cmpuint(stress.checked, >, 100);
	g_test_message("%u of %u frames shown, %u compared", (unsigned)shown, FRAMES, stress.checked);
	vtr_outputs_destroy(outputs);
	g_rand_free(random);
	g_free(seen);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/frame-queue/newest-wins", test_newest_wins);
	g_test_add_func("/frame-queue/damage", test_damage);
	g_test_add_func("/frame-queue/pixels-wait", test_pixels_wait);
	g_test_add_func("/frame-queue/damage-stays-small", test_damage_stays_small);
	g_test_add_func("/frame-queue/discard", test_discard);
	g_test_add_func("/frame-queue/presented-then-finished", test_presented_then_finished);
	g_test_add_func("/frame-queue/import-failed", test_import_failed);
	g_test_add_func("/frame-queue/unread-events-are-bounded", test_unread_events_are_bounded);
	g_test_add_func("/frame-queue/stuck-display", test_stuck_display);
	g_test_add_func("/frame-queue/two-threads", test_two_threads);
	return g_test_run();
}
