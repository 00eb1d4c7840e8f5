/* SPDX-License-Identifier: MIT */
/* Outputs that come, go and move between displays, and displays that fail. The displays are mute: the test plays their part. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "display/output.h"
#include "mute_display.h"
#include "rows.h"

static const struct vtr_mode small = { 64, 48, 60000 };

/* Two displays; one output, on the first. */
struct stage {
	struct mute_display *one, *two;
	struct vtr_outputs *outputs;
	struct vtr_output *output;
	unsigned seen[VTR_EVENT_DISPLAY_CHANGED + 1]; /* events by type */
	unsigned dropped;
};

static void stage_init(struct stage *stage)
{
	*stage = (struct stage){
		.one = mute_display_create(),
		.two = mute_display_create(),
		.outputs = vtr_outputs_create(),
	};
	stage->output = vtr_outputs_add(stage->outputs, &stage->one->base, &small, "left");
	mute_wait(stage->one, &stage->one->attached, 1);
}

static void stage_finish(struct stage *stage)
{
	if (stage->one)
		vtr_display_destroy(&stage->one->base);
	if (stage->two)
		vtr_display_destroy(&stage->two->base);
	vtr_outputs_destroy(stage->outputs);
}

/* Reads the events that are there. */
static void read_events(struct stage *stage)
{
	struct vtr_event event;

	while (vtr_outputs_next_event(stage->outputs, &event)) {
		stage->seen[event.type]++;
		stage->dropped += event.dropped;
	}
}

/* Reads events until condition holds; the test fails after five seconds. */
#define WAIT(stage, condition)                                                                                                     \
	do {                                                                                                                       \
		struct pollfd pollfd = { .fd = vtr_outputs_event_fd((stage)->outputs), .events = POLLIN };                         \
		uint64_t end = vtr_now_ns() + UINT64_C(5000000000);                                                                \
                                                                                                                                   \
		for (read_events(stage); !(condition); read_events(stage)) {                                                       \
			g_assert_cmpuint(vtr_now_ns(), <, end);                                                                    \
			poll(&pollfd, 1, 100);                                                                                     \
		}                                                                                                                  \
	} while (0)

static void submit(struct stage *stage)
{
	vtr_output_submit(stage->output, new_frame(stage->output, VTR_FRAME_UNREAD, 1, 2, 3, 4));
}

/* The display falls asleep at once. */
static void stick(struct stage *stage, struct mute_display *display)
{
	mute_set_stuck(display, true);
	vtr_output_move_cursor(stage->output, 1, 1);
	mute_wait_sleeping(display);
}

/* The display has it now, as far as the device thread knows. */
static bool is_on(const struct stage *stage, const struct mute_display *display)
{
	return stage->output->display == &display->base && !stage->output->leaving;
}

/* A frame waits in the queue and goes with the output: done once, and damaged all over for the new display. */
static void test_frame_moves(void)
{
	struct stage stage;

	stage_init(&stage);
	submit(&stage);
	mute_wait(stage.one, &stage.one->frames, 1);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	g_assert_true(vtr_output_connected(stage.output));
	WAIT(&stage, is_on(&stage, stage.two));
	mute_wait(stage.one, &stage.one->detached, 1);
	mute_wait(stage.two, &stage.two->frames, 1);
	struct vtr_frame *frame = vtr_output_take_frame(stage.output);
	g_assert_cmpuint(frame->sequence, ==, 1);
	assert_region(&frame->damage, 0, 0, 64, 48);
	g_assert_false(vtr_output_is_current(stage.output));
	vtr_frame_finish(frame, 1);
	WAIT(&stage, stage.seen[VTR_EVENT_FRAME_DONE] == 1);
	g_assert_cmpuint(stage.dropped, ==, 0);
	g_assert_cmpuint(stage.seen[VTR_EVENT_DISPLAY_CHANGED], ==, 1);
	g_assert_cmpuint(stage.seen[VTR_EVENT_MODE_CHANGED], ==, 0); /* the guest notices nothing */
	stage_finish(&stage);
}

static void test_failed_display(void)
{
	struct stage stage;
	struct vtr_error error;

	stage_init(&stage);
	vtr_log_set_level(VTR_LOG_ERROR);
	vtr_outputs_set_fallback(stage.outputs, &stage.two->base);
	submit(&stage);
	vtr_error_set(&error, VTR_ERROR_HOST, EPIPE, "the compositor is gone");
	vtr_display_failed(&stage.one->base, &error);
	WAIT(&stage, is_on(&stage, stage.two));
	g_assert_false(vtr_display_alive(&stage.one->base));
	g_assert_cmpstr(vtr_output_lost(stage.output), ==, "mute: the compositor is gone");
	g_assert_cmpuint(stage.seen[VTR_EVENT_MODE_CHANGED], ==, 0);
	g_assert_cmpuint(stage.seen[VTR_EVENT_FRAME_DONE], ==, 0);
	mute_wait(stage.two, &stage.two->frames, 1);
	vtr_frame_finish(vtr_output_take_frame(stage.output), 1);
	WAIT(&stage, stage.seen[VTR_EVENT_FRAME_DONE] == 1);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.one->base), ==, -ENODEV);
	vtr_log_set_level(VTR_LOG_INFO);
	stage_finish(&stage);
}

/* There and back while the first display sleeps: it is detached and attached again, and the other one never hears of it. */
static void test_back_before_it_let_go(void)
{
	struct stage stage;

	stage_init(&stage);
	stick(&stage, stage.one);
	submit(&stage);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.one->base), ==, 0);
	read_events(&stage);
	g_assert_false(is_on(&stage, stage.one));
	mute_set_stuck(stage.one, false);
	WAIT(&stage, is_on(&stage, stage.one));
	mute_wait(stage.one, &stage.one->attached, 2);
	g_assert_cmpuint(stage.two->attached, ==, 0);
	stage_finish(&stage);
}

/* The display that had it is done with what it held; nothing is done twice. */
static void test_held_frame(void)
{
	struct stage stage;

	stage_init(&stage);
	submit(&stage);
	mute_wait(stage.one, &stage.one->frames, 1);
	struct vtr_frame *held = vtr_output_take_frame(stage.output);
	vtr_frame_presented(held, 5);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	submit(&stage); /* on its way, wherever that is */
	WAIT(&stage, is_on(&stage, stage.two));
	vtr_frame_finish(held, 0);
	mute_wait(stage.two, &stage.two->frames, 1);
	vtr_frame_finish(vtr_output_take_frame(stage.output), 6);
	WAIT(&stage, stage.seen[VTR_EVENT_FRAME_DONE] == 2);
	g_assert_cmpuint(stage.dropped, ==, 0);
	stage_finish(&stage);
}

/* A display that never lets go keeps the output; the device goes on, and frames are counted once all the same. */
static void test_stuck_display(void)
{
	struct stage stage;

	stage_init(&stage);
	stick(&stage, stage.one);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	for (int i = 0; i < 5; i++)
		submit(&stage);
	read_events(&stage);
	g_assert_cmpuint(stage.seen[VTR_EVENT_FRAME_DONE], ==, 4); /* replaced */
	g_assert_cmpuint(stage.two->attached, ==, 0);
	mute_set_stuck(stage.one, false);
	mute_wait(stage.one, &stage.one->detached, 1);
	WAIT(&stage, is_on(&stage, stage.two));
	mute_wait(stage.two, &stage.two->frames, 1);
	struct vtr_frame *frame = vtr_output_take_frame(stage.output);
	g_assert_cmpuint(frame->sequence, ==, 5); /* the newest */
	vtr_frame_finish(frame, 1);
	WAIT(&stage, stage.seen[VTR_EVENT_FRAME_DONE] == 5);
	stage_finish(&stage);
}

static void test_cursor_moves(void)
{
	static uint32_t image[64 * 64];
	static struct vtr_cursor cursor;
	struct stage stage;

	stage_init(&stage);
	vtr_output_set_cursor(stage.output, image, 1, 2);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	WAIT(&stage, is_on(&stage, stage.two));
	mute_wait(stage.two, &stage.two->cursors, 1);
	vtr_output_get_cursor(stage.output, &cursor);
	g_assert_true(cursor.visible);
	stage_finish(&stage);
}

/* The pixels that a display was given come out of staging again when the guest's memory is gone and cannot be read any more. */
static void test_frozen_picture_moves(void)
{
	struct stage stage;
	pixman_region32_t stale;

	stage_init(&stage);
	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(stage.output, 64, 48, 0x34325258, &stale);
	memset(vtr_staging_data(staging), 0x77, 64 * 48 * 4);
	struct vtr_frame *frame = new_frame(stage.output, VTR_FRAME_PIXELS, 0, 0, 64, 48);
	vtr_staging_commit(staging, &stale, frame);
	vtr_output_submit(stage.output, frame);
	mute_wait(stage.one, &stage.one->frames, 1);
	vtr_frame_finish(vtr_output_take_frame(stage.output), 1);

	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	WAIT(&stage, stage.seen[VTR_EVENT_DISPLAY_CHANGED] == 1);
	mute_wait(stage.two, &stage.two->attached, 1);
	vtr_output_set_demand(stage.output, VTR_DEMAND_PIXELS);
	vtr_output_submit(stage.output, new_frame(stage.output, VTR_FRAME_UNREAD, 0, 0, 0, 0)); /* what the gpu presents then */
	mute_wait(stage.two, &stage.two->frames, 1);
	frame = vtr_output_take_frame(stage.output);
	g_assert_cmpint(frame->content, ==, VTR_FRAME_PIXELS);
	g_assert_cmphex(((const uint32_t *)frame->pixels)[64 * 48 - 1], ==, 0x77777777);
	assert_region(&frame->damage, 0, 0, 64, 48);
	vtr_frame_finish(frame, 1);
	pixman_region32_fini(&stale);
	stage_finish(&stage);
}

/* ---- captures ---- */

struct answer {
	unsigned calls, failures;
	char text[216];
};

static void answered(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct answer *answer = data;

	answer->calls++;
	answer->failures += error != NULL;
	if (error)
		g_strlcpy(answer->text, error->text, sizeof(answer->text));
	else
		close(picture->fd);
}

static void show_newest(struct vtr_output *output, const void *data)
{
	vtr_frame_finish(vtr_output_take_frame(output), 1);
}

/* One that the first display has seen and gives back, and one that it has not: the second display answers both. */
static void test_captures_move(void)
{
	struct stage stage;
	struct answer answer = { 0 };

	stage_init(&stage);
	stage.one->gives_back = true;
	g_assert_nonnull(vtr_output_capture(stage.output, false, answered, &answer));
	mute_wait(stage.one, &stage.one->captures, 1);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	g_assert_nonnull(vtr_output_capture(stage.output, false, answered, &answer));
	WAIT(&stage, is_on(&stage, stage.two));
	/* Not before it has a picture: it could only be black. */
	submit(&stage);
	mute_wait(stage.two, &stage.two->frames, 1);
	g_assert_cmpuint(stage.two->captures, ==, 0);
	mute_run(stage.two, stage.output, show_newest, NULL);
	mute_wait(stage.two, &stage.two->captures, 2);
	pixman_image_t *image = pixman_image_create_bits(PIXMAN_x8r8g8b8, 2, 2, NULL, 0);
	for (unsigned i = 0; i < 2; i++)
		vtr_capture_finish(g_ptr_array_remove_index(stage.two->asked, 0), image, 1, NULL);
	pixman_image_unref(image);
	WAIT(&stage, answer.calls == 2);
	g_assert_cmpuint(answer.failures, ==, 0);
	stage_finish(&stage);
}

/* To nowhere: nobody can answer. */
static void test_captures_end(void)
{
	struct stage stage;
	struct answer answer = { 0 };

	stage_init(&stage);
	stage.one->gives_back = true;
	g_assert_nonnull(vtr_output_capture(stage.output, false, answered, &answer));
	mute_wait(stage.one, &stage.one->captures, 1);
	g_assert_cmpint(vtr_output_move(stage.output, NULL), ==, 0);
	g_assert_false(vtr_output_connected(stage.output));
	WAIT(&stage, answer.calls == 1);
	g_assert_cmpstr(answer.text, ==, "the output is not connected");
	g_assert_cmpuint(stage.seen[VTR_EVENT_MODE_CHANGED], ==, 1);
	stage_finish(&stage);
}

/* ---- displays that end ---- */

/* The display that the output is to go to is destroyed before it gets it, or the one that does not let go. */
static void test_destroyed_on_the_way(gconstpointer data)
{
	bool source = GPOINTER_TO_INT(data);
	struct stage stage;

	stage_init(&stage);
	stick(&stage, stage.one);
	submit(&stage);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	if (source) {
		mute_set_stuck(stage.one, false);
		vtr_display_destroy(&stage.one->base);
		stage.one = NULL;
		g_assert_true(is_on(&stage, stage.two)); /* nothing to wait for any more */
		mute_wait(stage.two, &stage.two->attached, 1);
		g_assert_true(vtr_output_connected(stage.output));
	} else {
		vtr_display_destroy(&stage.two->base);
		stage.two = NULL;
		mute_set_stuck(stage.one, false);
		WAIT(&stage, !stage.output->display);
		g_assert_false(vtr_output_connected(stage.output));
		g_assert_cmpuint(stage.seen[VTR_EVENT_FRAME_DONE], ==, 1);
	}
	stage_finish(&stage);
}

static void test_failed_without_fallback(void)
{
	struct stage stage;
	struct vtr_error error;

	stage_init(&stage);
	vtr_log_set_level(VTR_LOG_ERROR);
	submit(&stage);
	vtr_error_set(&error, VTR_ERROR_HOST, EPIPE, "gone");
	vtr_display_failed(&stage.one->base, &error);
	vtr_display_failed(&stage.one->base, &error); /* once is enough */
	WAIT(&stage, stage.seen[VTR_EVENT_MODE_CHANGED] == 1 && !stage.output->display);
	g_assert_false(vtr_output_connected(stage.output));
	g_assert_cmpuint(stage.seen[VTR_EVENT_FRAME_DONE], ==, 1);
	submit(&stage);
	WAIT(&stage, stage.seen[VTR_EVENT_FRAME_DONE] == 2);
	g_assert_cmpuint(stage.dropped, ==, 2);
	vtr_log_set_level(VTR_LOG_INFO);
	stage_finish(&stage);
}

/* A display that failed before it had an output, which somebody destroys before the news are read. */
static void test_failed_and_destroyed(void)
{
	struct stage stage;
	struct vtr_error error;

	stage_init(&stage);
	vtr_error_set(&error, VTR_ERROR_HOST, EPIPE, "gone");
	vtr_display_failed(&stage.two->base, &error);
	vtr_display_failed(&stage.one->base, &error);
	vtr_display_destroy(&stage.one->base);
	stage.one = NULL;
	read_events(&stage);
	g_assert_false(vtr_output_connected(stage.output));
	g_assert_null(vtr_outputs_connect(stage.outputs, &stage.two->base, NULL, NULL));
	g_assert_cmpint(errno, ==, ENODEV);
	stage_finish(&stage);
}

static void test_failed_on_the_way_to_it(void)
{
	struct stage stage;
	struct mute_display *third = mute_display_create();
	struct vtr_error error;

	stage_init(&stage);
	vtr_outputs_set_fallback(stage.outputs, &third->base);
	stick(&stage, stage.one);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	vtr_error_set(&error, VTR_ERROR_HOST, EPIPE, "gone");
	vtr_display_failed(&stage.two->base, &error);
	mute_set_stuck(stage.one, false);
	WAIT(&stage, is_on(&stage, third));
	g_assert_cmpstr(vtr_output_lost(stage.output), ==, "mute failed before it could show it");
	g_assert_cmpuint(stage.two->attached, ==, 0);
	vtr_display_destroy(&third->base);
	stage_finish(&stage);
}

/* What the display cannot attach the fallback shows, and the guest notices nothing. */
static void test_refused(gconstpointer data)
{
	bool fallback = GPOINTER_TO_INT(data);
	struct stage stage;

	stage_init(&stage);
	vtr_log_set_level(VTR_LOG_ERROR);
	if (fallback)
		vtr_outputs_set_fallback(stage.outputs, &stage.one->base);
	stage.two->attach_error = -EIO;
	submit(&stage);
	g_assert_cmpint(vtr_output_move(stage.output, &stage.two->base), ==, 0);
	if (fallback) {
		WAIT(&stage, is_on(&stage, stage.one));
		g_assert_cmpuint(stage.two->attached, ==, 1);
		mute_wait(stage.one, &stage.one->attached, 2);
		g_assert_cmpstr(vtr_output_lost(stage.output), ==, "mute cannot show it");
		g_assert_cmpuint(stage.seen[VTR_EVENT_MODE_CHANGED], ==, 0);
		g_assert_cmpuint(stage.seen[VTR_EVENT_FRAME_DONE], ==, 0);
	} else {
		WAIT(&stage, stage.seen[VTR_EVENT_MODE_CHANGED] == 1 && stage.seen[VTR_EVENT_FRAME_DONE] == 1);
		g_assert_false(vtr_output_connected(stage.output));
		stage.two->attach_error = 0;
		g_assert_cmpint(vtr_output_move(stage.output, &stage.one->base), ==, 0);
		WAIT(&stage, is_on(&stage, stage.one) && stage.seen[VTR_EVENT_MODE_CHANGED] == 2);
		g_assert_true(vtr_output_connected(stage.output));
	}
	g_assert_cmpuint(stage.two->detached, ==, 0);
	vtr_log_set_level(VTR_LOG_INFO);
	stage_finish(&stage);
}

/* ---- places ---- */

static void test_places(void)
{
	struct stage stage;

	stage_init(&stage);
	struct vtr_output *place = vtr_outputs_add(stage.outputs, NULL, NULL, NULL);
	g_assert_false(vtr_output_connected(place));
	g_assert_false(vtr_output_on_display(place));
	g_assert_cmpstr(vtr_output_display_name(place), ==, "none");
	g_assert_null(vtr_outputs_connect(stage.outputs, &stage.two->base, NULL, "left"));
	g_assert_cmpint(errno, ==, EEXIST);
	g_assert_null(vtr_outputs_connect(stage.outputs, &stage.two->base, &(struct vtr_mode){ 0, 1, 0 }, NULL));
	g_assert_cmpint(errno, ==, EINVAL);
	g_assert_true(vtr_outputs_connect(stage.outputs, &stage.two->base, &(struct vtr_mode){ 80, 60, 75000 }, "right") == place);
	g_assert_cmpuint(vtr_output_mode(place).refresh_mhz, ==, 75000);
	g_assert_cmpstr(vtr_output_name(place), ==, "right");
	g_assert_true(vtr_output_connected(place));
	g_assert_null(vtr_outputs_connect(stage.outputs, &stage.two->base, NULL, NULL));
	g_assert_cmpint(errno, ==, ENOSPC);
	mute_wait(stage.two, &stage.two->attached, 1);
	WAIT(&stage, stage.seen[VTR_EVENT_MODE_CHANGED] == 1);
	stage_finish(&stage);
}

/* The only place is being left by a display that sleeps: it is given away all the same, with a new name once nobody reads the old
 * one. */
static void test_place_that_is_left(void)
{
	struct stage stage;

	stage_init(&stage);
	stick(&stage, stage.one);
	g_assert_cmpint(vtr_output_move(stage.output, NULL), ==, 0);
	g_assert_false(vtr_output_on_display(stage.output));
	g_assert_true(vtr_outputs_connect(stage.outputs, &stage.two->base, NULL, "new") == stage.output);
	g_assert_true(vtr_output_on_display(stage.output));
	g_assert_null(vtr_outputs_connect(stage.outputs, &stage.two->base, NULL, "new"));
	g_assert_cmpint(errno, ==, EEXIST);
	g_assert_cmpstr(vtr_output_name(stage.output), ==, "left");
	mute_set_stuck(stage.one, false);
	WAIT(&stage, is_on(&stage, stage.two));
	g_assert_cmpstr(vtr_output_name(stage.output), ==, "new");
	g_assert_cmpuint(vtr_output_mode(stage.output).width, ==, 1280);
	g_assert_false(vtr_output_fixed(stage.output));
	stage_finish(&stage);
}

/* ---- modes ---- */

static const struct mode_row {
	const char *name;
	struct vtr_mode wanted, given;
} mode_rows[] = {
	{ "as-it-is", { 1920, 1080, 144000 }, { 1920, 1080, 144000 } },
	{ "rounded", { 1367, 769, 0 }, { 1360, 768, 60000 } },
	{ "an-icon", { 1, 1, 1 }, { 320, 200, 1000 } },
	{ "a-wall", { 100000, 100000, 2000000 }, { 16384, 16384, 1000000 } },
};

static void request(struct vtr_output *output, uint32_t width, uint32_t height)
{
	vtr_output_request_mode(output, &(struct vtr_mode){ width, height, 0 });
}

static void drag(struct vtr_output *output, const void *wanted)
{
	for (uint32_t i = 0; i < 100; i++)
		request(output, 400 + i, 300 + i);
	vtr_output_request_mode(output, wanted);
}

/* A window is resized in many steps: the guest hears of the last one, once, when it has settled. */
static void test_settles(gconstpointer data)
{
	const struct mode_row *row = data;
	struct stage stage;

	stage_init(&stage);
	g_assert_cmpint(vtr_output_resize(stage.output, NULL), ==, 0);
	uint64_t begin = vtr_now_ns();
	mute_run(stage.one, stage.output, drag, &row->wanted);
	WAIT(&stage, stage.seen[VTR_EVENT_MODE_CHANGED] == 1);
	g_assert_cmpuint(vtr_now_ns() - begin, >=, VTR_MODE_SETTLE_MS * UINT64_C(1000000));
	struct vtr_mode mode = vtr_output_mode(stage.output);
	g_assert_cmpuint(mode.width, ==, row->given.width);
	g_assert_cmpuint(mode.height, ==, row->given.height);
	g_assert_cmpuint(mode.refresh_mhz, ==, row->given.refresh_mhz);
	stage_finish(&stage);
}

/* No mode comes of it: for twice the time that it would take nothing happens. */
static void assert_no_mode(struct stage *stage)
{
	uint64_t end = vtr_now_ns() + 2 * VTR_MODE_SETTLE_MS * UINT64_C(1000000);

	while (vtr_now_ns() < end) {
		read_events(stage);
		g_usleep(10000);
	}
	g_assert_cmpuint(stage->seen[VTR_EVENT_MODE_CHANGED], ==, 0);
}

static void test_fixed_mode(void)
{
	struct stage stage;

	stage_init(&stage);
	g_assert_true(vtr_output_fixed(stage.output));
	mute_run(stage.one, stage.output, drag, &(struct vtr_mode){ 640, 480, 0 });
	assert_no_mode(&stage);
	g_assert_cmpuint(vtr_output_mode(stage.output).width, ==, 64);
	stage_finish(&stage);
}

/* There and back again. */
static void test_second_thoughts(void)
{
	struct stage stage;

	stage_init(&stage);
	g_assert_cmpint(vtr_output_resize(stage.output, &(struct vtr_mode){ 640, 480, 60000 }), ==, 0);
	WAIT(&stage, stage.seen[VTR_EVENT_MODE_CHANGED] == 1);
	stage.seen[VTR_EVENT_MODE_CHANGED] = 0;
	g_assert_cmpint(vtr_output_resize(stage.output, NULL), ==, 0);
	mute_run(stage.one, stage.output, drag, &(struct vtr_mode){ 640, 480, 0 });
	assert_no_mode(&stage);
	stage_finish(&stage);
}

static void test_resize(void)
{
	struct stage stage;

	stage_init(&stage);
	g_assert_cmpint(vtr_output_resize(stage.output, &(struct vtr_mode){ 0, 1, 0 }), ==, -EINVAL);
	g_assert_cmpint(vtr_output_resize(stage.output, &(struct vtr_mode){ 801, 600, 75000 }), ==, 0);
	WAIT(&stage, stage.seen[VTR_EVENT_MODE_CHANGED] == 1);
	mute_wait(stage.one, &stage.one->modes, 1); /* the window gets the guest's size */
	g_assert_cmpuint(vtr_output_mode(stage.output).width, ==, 801);
	stage_finish(&stage);
}

/* ---- all at once ---- */

enum { STORM_OUTPUTS = 4, STORM_MOVES = 2000 };

/* The storm's displays take what comes; one thread submits and moves, and every frame is done once. */
static void storm_frame(struct vtr_display *display, struct vtr_output *output)
{
	struct vtr_frame *frame = vtr_output_take_frame(output);
	uint32_t number = frame ? (uint32_t)frame->sequence : 0;

	if (frame)
		vtr_frame_finish(frame, number % 3 ? vtr_now_ns() : 0);
	vtr_output_set_demand(output, number % 2 ? VTR_DEMAND_PIXELS : VTR_DEMAND_NONE);
	request(output, 640 + 8 * (number % 8), 480);
}

static void test_storm(void)
{
	struct vtr_display_impl impl = mute_impl;
	struct mute_display *displays[3];
	struct vtr_output *outputs[STORM_OUTPUTS];
	struct stage stage = { .outputs = vtr_outputs_create() };
	GRand *rand = g_rand_new_with_seed(7);
	unsigned submitted = 0;

	impl.frame = storm_frame;
	for (int i = 0; i < 3; i++) {
		displays[i] = mute_display_create();
		displays[i]->base.impl = &impl;
	}
	for (int i = 0; i < STORM_OUTPUTS; i++)
		outputs[i] = vtr_outputs_add(stage.outputs, &displays[0]->base, NULL, NULL);
	for (int i = 0; i < STORM_MOVES; i++) {
		struct vtr_output *output = outputs[g_rand_int_range(rand, 0, STORM_OUTPUTS)];
		int to = g_rand_int_range(rand, 0, 12);

		if (to < 4)
			g_assert_cmpint(vtr_output_move(output, to < 3 ? &displays[to]->base : NULL), ==, 0);
		vtr_output_submit(output, new_frame(output, VTR_FRAME_UNREAD, 0, 0, 1, 1));
		submitted++;
		vtr_output_move_cursor(output, i, i);
		read_events(&stage);
	}
	for (int i = 0; i < 3; i++)
		vtr_display_destroy(&displays[i]->base);
	read_events(&stage);
	g_assert_cmpuint(stage.seen[VTR_EVENT_FRAME_DONE], ==, submitted);
	g_rand_free(rand);
	vtr_outputs_destroy(stage.outputs);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/move/frame", test_frame_moves);
	g_test_add_func("/unit/move/held-frame", test_held_frame);
	g_test_add_func("/unit/move/stuck-display", test_stuck_display);
	g_test_add_func("/unit/move/back-before-it-let-go", test_back_before_it_let_go);
	g_test_add_func("/unit/move/cursor", test_cursor_moves);
	g_test_add_func("/unit/move/frozen-picture", test_frozen_picture_moves);
	g_test_add_func("/unit/move/captures", test_captures_move);
	g_test_add_func("/unit/move/captures-end", test_captures_end);
	g_test_add_data_func("/unit/move/destroyed-source", GINT_TO_POINTER(true), test_destroyed_on_the_way);
	g_test_add_data_func("/unit/move/destroyed-target", GINT_TO_POINTER(false), test_destroyed_on_the_way);
	g_test_add_func("/unit/move/failed-display", test_failed_display);
	g_test_add_func("/unit/move/failed-without-fallback", test_failed_without_fallback);
	g_test_add_func("/unit/move/failed-and-destroyed", test_failed_and_destroyed);
	g_test_add_func("/unit/move/failed-on-the-way-to-it", test_failed_on_the_way_to_it);
	g_test_add_data_func("/unit/move/refused", GINT_TO_POINTER(true), test_refused);
	g_test_add_data_func("/unit/move/refused-without-fallback", GINT_TO_POINTER(false), test_refused);
	g_test_add_func("/unit/move/storm", test_storm);
	g_test_add_func("/unit/places/connect", test_places);
	g_test_add_func("/unit/places/left", test_place_that_is_left);
	ADD_ROWS("/unit/mode/settles/", mode_rows, test_settles);
	g_test_add_func("/unit/mode/fixed", test_fixed_mode);
	g_test_add_func("/unit/mode/second-thoughts", test_second_thoughts);
	g_test_add_func("/unit/mode/resize", test_resize);
	return g_test_run();
}
