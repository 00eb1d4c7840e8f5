/* SPDX-License-Identifier: MIT */
/* Places in pictures as positions of an absolute pointer: one output and several, scaled and not. */
#include <glib.h>
#include <math.h>

#include "input/layout.h"
#include "mute_display.h"
#include "rows.h"

enum { MAX = 32767 };

/* How libinput gets a pixel of a desktop out of a position. */
static uint32_t guest_pixel(int32_t value, uint32_t size)
{
	return (uint32_t)((uint64_t)value * size / (MAX + 1));
}

static struct vtr_input_layout single(uint32_t width, uint32_t height)
{
	return (struct vtr_input_layout){ width, height, { { 0, width, height } } };
}

static const struct size_row {
	const char *name;
	uint32_t width, height;
} size_rows[] = {
	{ "1x1", 1, 1 },
	{ "640x480", 640, 480 },
	{ "1280x800", 1280, 800 },
	{ "1366x768", 1366, 768 },
	{ "3840x2160", 3840, 2160 },
	{ "7680x4320", 7680, 4320 },
	{ "16384x16384", 16384, 16384 },
};

/* Each pixel is itself again in the guest. */
static void test_every_pixel(const void *data)
{
	const struct size_row *row = data;
	struct vtr_input_layout layout = single(row->width, row->height);
	int32_t x, y;

	for (uint32_t i = 0; i < row->width || i < row->height; i++) {
		struct vtr_input_place place = { 0, i, i };
		uint32_t px = MIN(i, row->width - 1), py = MIN(i, row->height - 1);

		g_assert_true(vtr_input_layout_map(&layout, &place, MAX, &x, &y));
		g_assert_cmpuint(guest_pixel(x, row->width), ==, px);
		g_assert_cmpuint(guest_pixel(y, row->height), ==, py);
		g_assert_cmpint(x, <=, MAX);
		g_assert_cmpint(y, <=, MAX);
	}
}

/* Four screens of different heights: the guest's desktop is as wide as all and as high as the highest. */
static void test_heads(void)
{
	const struct vtr_input_layout layout = {
		.width = 1920 + 1280 + 3840 + 800,
		.height = 2160,
		.areas = { { 0, 1920, 1080 }, { 1920, 1280, 1024 }, { 0, 0, 0 }, { 3200, 3840, 2160 }, { 7040, 800, 600 } },
	};
	static const struct {
		struct vtr_input_place place;
		bool shown;
		uint32_t x, y;
	} rows[] = {
		{ { 0, 0, 0 }, true, 0, 0 },
		{ { 0, 1919, 1079 }, true, 1919, 1079 },
		{ { 0, 5000, 5000 }, true, 1919, 1079 }, /* not on the next one */
		{ { 1, 0, 0 }, true, 1920, 0 },
		{ { 1, -1, 1e6 }, true, 1920, 1023 },
		{ { 2, 5, 5 }, false, 0, 0 },
		{ { 3, 3839.99, 2159.5 }, true, 7039, 2159 },
		{ { 4, 799, 300 }, true, 7839, 300 },
		{ { 5, 0, 0 }, false, 0, 0 },
		{ { 16, 0, 0 }, false, 0, 0 },
	};
	int32_t x = 0, y = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_assert_true(vtr_input_layout_map(&layout, &rows[i].place, MAX, &x, &y) == rows[i].shown);
		if (!rows[i].shown)
			continue;
		g_assert_cmpuint(guest_pixel(x, layout.width), ==, rows[i].x);
		g_assert_cmpuint(guest_pixel(y, layout.height), ==, rows[i].y);
	}
}

static void submit(struct vtr_output *output, enum vtr_frame_content content, uint32_t width, uint32_t height)
{
	struct vtr_frame *frame = vtr_output_begin_frame(output);

	frame->content = content;
	frame->width = width;
	frame->height = height;
	vtr_output_submit(output, frame);
}

/* Modes until the guest shows something, then pictures, whatever their outputs' modes are. */
static void test_outputs(void)
{
	const struct vtr_mode modes[] = { { 1280, 800, 0 }, { 1024, 768, 0 } };
	struct mute_display *display = mute_display_create();
	struct vtr_outputs *outputs = vtr_outputs_create();
	struct vtr_input_layout layout = { 0 };
	struct vtr_output *output[2];

	g_assert_false(vtr_input_layout_update(&layout, NULL));
	g_assert_false(vtr_input_layout_update(&layout, outputs));
	for (unsigned i = 0; i < 2; i++)
		output[i] = vtr_outputs_add(outputs, &display->base, &modes[i], NULL);
	g_assert_true(vtr_input_layout_update(&layout, outputs));
	g_assert_false(vtr_input_layout_update(&layout, outputs));
	g_assert_cmpuint(layout.width, ==, 2304);
	g_assert_cmpuint(layout.height, ==, 800);
	submit(output[1], VTR_FRAME_UNREAD, 640, 480);
	g_assert_true(vtr_input_layout_update(&layout, outputs));
	g_assert_cmpuint(layout.width, ==, 640);
	g_assert_cmpuint(layout.height, ==, 480);
	g_assert_cmpuint(layout.areas[0].width, ==, 0);
	submit(output[0], VTR_FRAME_UNREAD, 800, 600);
	g_assert_true(vtr_input_layout_update(&layout, outputs));
	g_assert_cmpuint(layout.width, ==, 1440);
	g_assert_cmpuint(layout.areas[1].x, ==, 800);
	submit(output[0], VTR_FRAME_BLANK, 0, 0);
	submit(output[1], VTR_FRAME_BLANK, 0, 0);
	g_assert_true(vtr_input_layout_update(&layout, outputs));
	g_assert_cmpuint(layout.width, ==, 2304);
	vtr_display_destroy(&display->base);
	vtr_outputs_destroy(outputs);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/input-layout/every-pixel/", size_rows, test_every_pixel);
	g_test_add_func("/input-layout/heads", test_heads);
	g_test_add_func("/input-layout/outputs", test_outputs);
	return g_test_run();
}
