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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/move/frame", test_frame_moves);
	g_test_add_func("/unit/move/back-before-it-let-go", test_back_before_it_let_go);
	g_test_add_func("/unit/move/failed-display", test_failed_display);
	return g_test_run();
}
