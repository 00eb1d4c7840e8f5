/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "mute_display.h"
#include "rows.h"

/* ---- vtr_output_parse ---- */

static const struct parse_row {
	const char *name, *text;
	int result;
	struct vtr_mode mode;
	const char *output; /* NULL: left alone */
} parse_rows[] = {
	{ "size", "1280x800", 0, { 1280, 800, 60000 }, NULL },
	{ "smallest", "1x1@1", 0, { 1, 1, 1000 }, NULL },
	{ "largest", "16384x16384@1000", 0, { 16384, 16384, 1000000 }, NULL },
	{ "decimals", "1920x1080@59.94", 0, { 1920, 1080, 59940 }, NULL },
	{ "three-decimals", "1920x1080@59.951", 0, { 1920, 1080, 59951 }, NULL },
	{ "name", "640x480,name=left one", 0, { 640, 480, 60000 }, "left one" },
	{ "all", "640x480@75,name=A", 0, { 640, 480, 75000 }, "A" },
	{ "longest-name", "1x1,name=1234567890123456789012345678901", 0, { 1, 1, 60000 }, "1234567890123456789012345678901" },
	{ "empty", "", -EINVAL, { 0 }, NULL },
	{ "one-number", "640", -EINVAL, { 0 }, NULL },
	{ "no-height", "640x", -EINVAL, { 0 }, NULL },
	{ "no-width", "x480", -EINVAL, { 0 }, NULL },
	{ "zero-width", "0x480", -EINVAL, { 0 }, NULL },
	{ "zero-height", "640x0", -EINVAL, { 0 }, NULL },
	{ "too-wide", "16385x480", -EINVAL, { 0 }, NULL },
	{ "overflow", "18446744073709551617x480", -EINVAL, { 0 }, NULL },
	{ "negative", "-640x480", -EINVAL, { 0 }, NULL },
	{ "space", " 640x480", -EINVAL, { 0 }, NULL },
	{ "hex", "0x10x480", -EINVAL, { 0 }, NULL },
	{ "trailing", "640x480 ", -EINVAL, { 0 }, NULL },
	{ "no-rate", "640x480@", -EINVAL, { 0 }, NULL },
	{ "zero-rate", "640x480@0", -EINVAL, { 0 }, NULL },
	{ "below-one-hertz", "640x480@0.999", -EINVAL, { 0 }, NULL },
	{ "rate-too-high", "640x480@1000.001", -EINVAL, { 0 }, NULL },
	{ "no-decimals", "640x480@60.", -EINVAL, { 0 }, NULL },
	{ "four-decimals", "640x480@60.0001", -EINVAL, { 0 }, NULL },
	{ "comma-decimals", "640x480@59,94", -EINVAL, { 0 }, NULL },
	{ "exponent", "640x480@6e1", -EINVAL, { 0 }, NULL },
	{ "empty-name", "640x480,name=", -EINVAL, { 0 }, NULL },
	{ "name-too-long", "640x480,name=12345678901234567890123456789012", -EINVAL, { 0 }, NULL },
	{ "control-character", "640x480,name=a\033[2J", -EINVAL, { 0 }, NULL },
	{ "not-ascii", "640x480,name=\xc3\xa4", -EINVAL, { 0 }, NULL },
	{ "comma-in-name", "640x480,name=a,b", -EINVAL, { 0 }, NULL },
	{ "unknown-option", "640x480,colour=red", -EINVAL, { 0 }, NULL },
};

static void test_parse(gconstpointer data)
{
	const struct parse_row *row = data;
	struct vtr_mode mode = { 0 };
	char name[32] = "unchanged";

	g_assert_cmpint(vtr_output_parse(row->text, &mode, name), ==, row->result);
	g_assert_cmpuint(mode.width, ==, row->mode.width);
	g_assert_cmpuint(mode.height, ==, row->mode.height);
	g_assert_cmpuint(mode.refresh_mhz, ==, row->mode.refresh_mhz);
	g_assert_cmpstr(name, ==, row->output ? row->output : "unchanged");
}

/* ---- outputs ---- */

static bool readable(struct vtr_outputs *outputs)
{
	struct pollfd pollfd = { .fd = vtr_outputs_event_fd(outputs), .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}

static void test_sixteen_outputs(void)
{
	struct vtr_outputs *outputs = vtr_outputs_create();
	struct mute_display *display = mute_display_create();
	struct vtr_mode mode = { 640, 480, 60000 };

	for (unsigned i = 0; i < VTR_MAX_SCANOUTS; i++) {
		struct vtr_output *output = vtr_outputs_add(outputs, &display->base, &mode, i == 3 ? "third" : NULL);

		g_assert_nonnull(output);
		g_assert_true(vtr_outputs_get(outputs, i) == output);
		g_assert_true(vtr_output_connected(output));
		g_assert_cmpstr(vtr_output_display_name(output), ==, "mute");
		g_assert_cmpuint(vtr_output_mode(output).height, ==, 480);
		g_assert_cmpint(vtr_output_demand(output), ==, VTR_DEMAND_NONE);
	}
	g_assert_null(vtr_outputs_add(outputs, &display->base, &mode, NULL));
	g_assert_cmpint(errno, ==, ENOSPC);
	g_assert_cmpuint(vtr_outputs_count(outputs), ==, VTR_MAX_SCANOUTS);
	g_assert_null(vtr_outputs_get(outputs, VTR_MAX_SCANOUTS));
	g_assert_cmpstr(vtr_output_name(vtr_outputs_get(outputs, 0)), ==, "vitrine-0");
	g_assert_cmpstr(vtr_output_name(vtr_outputs_get(outputs, 3)), ==, "third");
	mute_wait(display, &display->attached, VTR_MAX_SCANOUTS);
	vtr_display_destroy(&display->base);
	g_assert_false(vtr_output_connected(vtr_outputs_get(outputs, 5)));
	g_assert_cmpstr(vtr_output_display_name(vtr_outputs_get(outputs, 5)), ==, "none");
	vtr_outputs_destroy(outputs);
	vtr_outputs_destroy(NULL);
	vtr_display_destroy(NULL);
}

static void test_add_refuses(void)
{
	struct vtr_outputs *outputs = vtr_outputs_create();
	struct mute_display *display = mute_display_create();
	struct vtr_mode good = { 640, 480, 0 }, none = { 0, 480, 0 }, slow = { 640, 480, 999 };

	g_assert_null(vtr_outputs_add(outputs, &display->base, &none, NULL));
	g_assert_cmpint(errno, ==, EINVAL);
	g_assert_null(vtr_outputs_add(outputs, &display->base, &slow, NULL));
	g_assert_null(vtr_outputs_add(outputs, &display->base, &good, "12345678901234567890123456789012"));
	g_assert_cmpuint(vtr_outputs_count(outputs), ==, 0);
	vtr_display_destroy(&display->base);
	vtr_outputs_destroy(outputs);
}

/* One event must come within five seconds. */
static struct vtr_event wait_event(struct vtr_outputs *outputs)
{
	struct pollfd pollfd = { .fd = vtr_outputs_event_fd(outputs), .events = POLLIN };
	struct vtr_event event;

	g_assert_cmpint(poll(&pollfd, 1, 5000), ==, 1);
	g_assert_true(vtr_outputs_next_event(outputs, &event));
	return event;
}

static void test_attach_fails(void)
{
	struct vtr_outputs *outputs = vtr_outputs_create();
	struct mute_display *display = mute_display_create();
	struct vtr_mode mode = { 64, 48, 60000 };
	struct vtr_error error;

	display->attach_error = -EIO;
	vtr_log_set_level(VTR_LOG_ERROR);
	struct vtr_output *output = vtr_outputs_add(outputs, &display->base, &mode, NULL);
	g_assert_cmpint(wait_event(outputs).type, ==, VTR_EVENT_MODE_CHANGED);
	vtr_log_set_level(VTR_LOG_INFO);
	g_assert_false(vtr_output_connected(output));
	g_assert_false(vtr_output_accepts(output, 0, 0, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
	vtr_output_submit(output, new_frame(output, VTR_FRAME_UNREAD, 0, 0, 1, 1));
	struct vtr_event event = wait_event(outputs);
	g_assert_cmpint(event.type, ==, VTR_EVENT_FRAME_DONE);
	g_assert_true(event.dropped);
	g_assert_false(readable(outputs));
	vtr_display_destroy(&display->base);
	vtr_outputs_destroy(outputs);
}

static void test_events(void)
{
	struct mute_set set;
	struct vtr_mode mode = { 800, 600, 75000 };
	struct vtr_event event;

	mute_set_init(&set);
	g_assert_false(readable(set.outputs));
	g_assert_false(vtr_outputs_next_event(set.outputs, &event));
	vtr_output_set_demand(set.output, VTR_DEMAND_DMABUF);
	vtr_output_set_demand(set.output, VTR_DEMAND_NONE);
	vtr_output_set_demand(set.output, VTR_DEMAND_PIXELS); /* the same event, still queued */
	vtr_output_set_mode(set.output, &mode);
	g_assert_true(readable(set.outputs));
	g_assert_true(vtr_outputs_next_event(set.outputs, &event));
	g_assert_cmpint(event.type, ==, VTR_EVENT_FRAME_NEEDED);
	g_assert_cmpint(vtr_output_demand(set.output), ==, VTR_DEMAND_PIXELS);
	g_assert_true(readable(set.outputs));
	g_assert_true(vtr_outputs_next_event(set.outputs, &event));
	g_assert_cmpint(event.type, ==, VTR_EVENT_MODE_CHANGED);
	g_assert_cmpuint(vtr_output_mode(set.output).refresh_mhz, ==, 75000);
	g_assert_false(readable(set.outputs));
	g_assert_false(vtr_outputs_next_event(set.outputs, &event));
	vtr_output_set_demand(set.output, VTR_DEMAND_DMABUF); /* falls: nothing new is needed */
	g_assert_false(readable(set.outputs));
	mute_set_finish(&set);
}

static void test_accepts(void)
{
	struct mute_set set;
	struct vtr_error error;

	mute_set_init(&set);
	g_assert_true(vtr_output_accepts(set.output, 0, 0, &error));
	g_assert_false(vtr_output_accepts(set.output, 0, 1, &error));
	g_assert_cmpstr(error.text, ==, "no modifiers");
	mute_set_finish(&set);
}

static void test_refuse_dmabufs(void)
{
	struct mute_set set;
	struct vtr_error why, error;

	mute_set_init(&set);
	vtr_error_set(&why, VTR_ERROR_UNSUPPORTED, ENXIO, "no dmabufs now");
	vtr_output_refuse_dmabufs(set.output, &why);
	g_assert_cmpint(wait_event(set.outputs).type, ==, VTR_EVENT_FRAME_NEEDED);
	g_assert_false(vtr_output_accepts(set.output, 0, 0, &error));
	g_assert_cmpstr(error.text, ==, "no dmabufs now");
	g_assert_false(vtr_output_accepts(set.output, 0, 0, NULL));
	vtr_output_refuse_dmabufs(set.output, &why);
	g_assert_false(readable(set.outputs));
	vtr_output_refuse_dmabufs(set.output, NULL);
	g_assert_cmpint(wait_event(set.outputs).type, ==, VTR_EVENT_FRAME_NEEDED);
	g_assert_true(vtr_output_accepts(set.output, 0, 0, NULL));
	vtr_output_refuse_dmabufs(set.output, NULL);
	g_assert_false(readable(set.outputs));
	mute_set_finish(&set);
}

/* A monitor is pulled while a frame waits, and plugged in again. */
static void test_connection(void)
{
	struct mute_set set;

	mute_set_init(&set);
	vtr_output_set_connected(set.output, true);
	vtr_output_set_demand(set.output, VTR_DEMAND_DMABUF);
	g_assert_cmpint(wait_event(set.outputs).type, ==, VTR_EVENT_FRAME_NEEDED);
	vtr_output_submit(set.output, new_frame(set.output, VTR_FRAME_UNREAD, 0, 0, 1, 1));
	vtr_output_set_connected(set.output, false);
	struct vtr_event done = wait_event(set.outputs);
	g_assert_cmpint(done.type, ==, VTR_EVENT_FRAME_DONE);
	g_assert_true(done.dropped);
	g_assert_cmpint(wait_event(set.outputs).type, ==, VTR_EVENT_MODE_CHANGED);
	g_assert_false(vtr_output_connected(set.output));
	g_assert_cmpint(vtr_output_demand(set.output), ==, VTR_DEMAND_NONE);
	vtr_output_set_connected(set.output, false);
	g_assert_false(readable(set.outputs));
	vtr_output_set_connected(set.output, true);
	g_assert_cmpint(wait_event(set.outputs).type, ==, VTR_EVENT_MODE_CHANGED);
	g_assert_true(vtr_output_connected(set.output));
	mute_set_finish(&set);
}

static void test_cursor(void)
{
	static struct vtr_cursor cursor;
	static uint32_t image[64 * 64];
	struct mute_set set;

	mute_set_init(&set);
	vtr_output_get_cursor(set.output, &cursor);
	g_assert_false(cursor.visible);
	for (uint32_t i = 0; i < 64 * 64; i++)
		image[i] = i;
	vtr_output_set_cursor(set.output, image, 3, 4);
	vtr_output_move_cursor(set.output, -5, 6);
	memset(image, 0, sizeof(image)); /* copied, not kept */
	mute_wait(set.display, &set.display->cursors, 1);
	vtr_output_get_cursor(set.output, &cursor);
	g_assert_true(cursor.visible);
	g_assert_cmpint(cursor.x, ==, -5);
	g_assert_cmpuint(cursor.hot_y, ==, 4);
	g_assert_cmpuint(cursor.image[4095], ==, 4095);
	uint64_t serial = cursor.serial;
	vtr_output_set_cursor(set.output, NULL, 0, 0);
	vtr_output_get_cursor(set.output, &cursor);
	g_assert_false(cursor.visible);
	vtr_output_set_cursor(set.output, image, 3, 4);
	vtr_output_get_cursor(set.output, &cursor);
	g_assert_cmpuint(cursor.serial, !=, serial);
	mute_set_finish(&set);
}

static void test_frozen(void)
{
	struct mute_set set;

	mute_set_init(&set);
	g_assert_false(vtr_output_frozen(set.output));
	vtr_output_set_frozen(set.output, true);
	mute_wait(set.display, &set.display->freezes, 1);
	g_assert_true(vtr_output_frozen(set.output));
	vtr_output_set_frozen(set.output, true); /* nothing new: the display is not told */
	vtr_output_set_frozen(set.output, false);
	mute_wait(set.display, &set.display->freezes, 2);
	g_assert_false(vtr_output_frozen(set.output));
	g_assert_cmpuint(set.display->freezes, ==, 2);
	mute_set_finish(&set);
}

/* ---- captures ---- */

struct answer {
	unsigned calls;
	struct vtr_picture picture;
	struct vtr_error error;
};

static void answered(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct answer *answer = data;

	answer->calls++;
	answer->picture = *picture;
	g_assert_true((picture->fd < 0) == (error != NULL));
	if (error)
		answer->error = *error;
}

static void wait_answer(struct vtr_outputs *outputs, struct answer *answer)
{
	struct pollfd pollfd = { .fd = vtr_outputs_event_fd(outputs), .events = POLLIN };
	struct vtr_event event;

	g_assert_cmpint(poll(&pollfd, 1, 5000), ==, 1);
	g_assert_false(vtr_outputs_next_event(outputs, &event)); /* captures are answered by their function, not by an event */
	g_assert_cmpuint(answer->calls, ==, 1);
}

static void test_capture(void)
{
	static const uint32_t pixels[2][4] = { { 0x112233, 0x445566, 0x778899, 0 }, { 1, 2, 3, 0 } };
	struct mute_set set;
	struct answer answer = { 0 };
	uint32_t got[6];

	mute_set_init(&set);
	g_assert_nonnull(vtr_output_capture(set.output, true, answered, &answer));
	mute_wait(set.display, &set.display->captures, 1);
	struct vtr_capture *capture = g_ptr_array_remove_index(set.display->asked, 0);
	g_assert_true(vtr_capture_wants_cursor(capture));
	g_assert_cmpuint(answer.calls, ==, 0);
	/* three pixels wide with a stride of four: the padding does not get into the file */
	pixman_image_t *image = pixman_image_create_bits(PIXMAN_x8r8g8b8, 3, 2, (uint32_t *)pixels, 16);
	vtr_capture_finish(capture, image, 7, NULL);
	wait_answer(set.outputs, &answer);
	g_assert_cmpuint(answer.picture.width, ==, 3);
	g_assert_cmpuint(answer.picture.height, ==, 2);
	g_assert_cmpuint(answer.picture.stride, ==, 12);
	g_assert_cmpuint(answer.picture.sequence, ==, 7);
	g_assert_cmpint(lseek(answer.picture.fd, 0, SEEK_END), ==, 24);
	g_assert_cmpint(pread(answer.picture.fd, got, 24, 0), ==, 24);
	g_assert_cmpmem(got, 12, pixels[0], 12);
	g_assert_cmpmem(got + 3, 12, pixels[1], 12);
	int seals = fcntl(answer.picture.fd, F_GET_SEALS);
	g_assert_cmpint(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), ==, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	close(answer.picture.fd);
	pixman_image_unref(image);
	mute_set_finish(&set);
}

static void test_capture_cancel(void)
{
	struct mute_set set;
	struct answer first = { 0 }, second = { 0 };
	struct vtr_event event;
	struct vtr_error error = { .owner = VTR_ERROR_HOST };

	mute_set_init(&set);
	struct vtr_capture *seen = vtr_output_capture(set.output, false, answered, &first);
	mute_wait(set.display, &set.display->captures, 1);
	mute_set_stuck(set.display, true);
	vtr_output_move_cursor(set.output, 1, 1);
	mute_wait_sleeping(set.display);
	/* The display sleeps: asking is bounded, and what is cancelled is gone at once. */
	for (int i = 0; i < 1000; i++) {
		struct vtr_capture *capture = vtr_output_capture(set.output, false, answered, &second);

		g_assert_nonnull(capture);
		vtr_capture_cancel(capture);
	}
	unsigned asked = 0;
	while (vtr_output_capture(set.output, false, answered, &second))
		g_assert_cmpuint(++asked, <, 1000);
	g_assert_cmpint(errno, ==, EBUSY);
	vtr_capture_cancel(seen); /* the display has it: goes silently when it ends */
	mute_set_stuck(set.display, false);
	mute_wait(set.display, &set.display->captures, 1 + asked);
	g_assert_true(g_ptr_array_remove(set.display->asked, seen));
	vtr_capture_finish(seen, NULL, 0, &error);
	g_assert_false(vtr_outputs_next_event(set.outputs, &event));
	g_assert_cmpuint(first.calls + second.calls, ==, 0);
	vtr_display_destroy(&set.display->base);
	while (vtr_outputs_next_event(set.outputs, &event))
		;
	g_assert_cmpuint(first.calls, ==, 0);
	g_assert_cmpuint(second.calls, ==, asked);
	vtr_outputs_destroy(set.outputs);
}

static void test_capture_of_removed_output(void)
{
	struct mute_set set;
	struct answer seen = { 0 }, unseen = { 0 }, late = { 0 };
	struct vtr_event event;

	mute_set_init(&set);
	g_assert_nonnull(vtr_output_capture(set.output, false, answered, &seen));
	mute_wait(set.display, &set.display->captures, 1);
	mute_set_stuck(set.display, true);
	vtr_output_move_cursor(set.output, 1, 1);
	mute_wait_sleeping(set.display);
	g_assert_nonnull(vtr_output_capture(set.output, false, answered, &unseen));
	mute_set_stuck(set.display, false);
	vtr_display_destroy(&set.display->base);
	g_assert_nonnull(vtr_output_capture(set.output, false, answered, &late));
	while (vtr_outputs_next_event(set.outputs, &event))
		g_assert_cmpint(event.type, ==, VTR_EVENT_MODE_CHANGED);
	g_assert_cmpuint(seen.calls, ==, 1);
	g_assert_cmpuint(unseen.calls, ==, 1);
	g_assert_cmpuint(late.calls, ==, 1);
	g_assert_cmpstr(late.error.text, ==, "the output is not connected");
	vtr_outputs_destroy(set.outputs);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/output/parse/", parse_rows, test_parse);
	g_test_add_func("/output/sixteen", test_sixteen_outputs);
	g_test_add_func("/output/add-refuses", test_add_refuses);
	g_test_add_func("/output/attach-fails", test_attach_fails);
	g_test_add_func("/output/events", test_events);
	g_test_add_func("/output/accepts", test_accepts);
	g_test_add_func("/output/refuse-dmabufs", test_refuse_dmabufs);
	g_test_add_func("/output/connection", test_connection);
	g_test_add_func("/output/cursor", test_cursor);
	g_test_add_func("/output/frozen", test_frozen);
	g_test_add_func("/output/capture/picture", test_capture);
	g_test_add_func("/output/capture/cancel", test_capture_cancel);
	g_test_add_func("/output/capture/removed-output", test_capture_of_removed_output);
	return g_test_run();
}
