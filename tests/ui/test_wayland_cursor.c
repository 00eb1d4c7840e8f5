/* SPDX-License-Identifier: MIT */
/* The cursor of a guest that does not follow the host's pointer, above its picture in a window of the mock compositor. */
#include <vitrine/limits.h>

#include "mock_session.h"
#include "rows.h"
#include "xdg-shell-server-protocol.h"

enum { SIZE = VTR_CURSOR_SIZE };

static uint32_t color_of(int32_t x, int32_t y, uint32_t seed)
{
	return 0xff000000u | (uint32_t)(y * SIZE + x) << 8 | seed;
}

static void set_image(struct session *session, uint32_t seed)
{
	uint32_t image[SIZE * SIZE];

	for (int32_t i = 0; i < SIZE * SIZE; i++)
		image[i] = color_of(i % SIZE, i / SIZE, seed);
	vtr_output_set_cursor(session->scanout.output, image, 5, 7);
}

/* Until condition holds of the mock's overlay. */
#define WAIT_FOR(session, condition)                                                                                               \
	do                                                                                                                         \
		step(session);                                                                                                     \
	while (!(condition))

/* What is seen is the cursor's image from first on, all of it. */
static void check_pixels(const struct mock_overlay *overlay, const int32_t first[2], uint32_t seed)
{
	for (int32_t y = 0; y < overlay->size[1]; y++)
		for (int32_t x = 0; x < overlay->size[0]; x++)
			g_assert_cmphex(overlay->pixels[y * overlay->size[0] + x], ==, color_of(first[0] + x, first[1] + y, seed));
}

/* ---- where it is ---- */

/* The window is of 640x480 units: the picture of 320x200 is twice as large in it, 40 units below the upper edge. */
static const struct place {
	const char *name;
	int32_t at[2], first[2], count[2]; /* count 0: nothing is seen */
} places[] = {
	{ "corner", { 0, 0 }, { 0, 0 }, { SIZE, SIZE } },
	{ "middle", { 100, 60 }, { 0, 0 }, { SIZE, SIZE } },
	{ "just-inside", { WIDTH - SIZE, HEIGHT - SIZE }, { 0, 0 }, { SIZE, SIZE } },
	{ "left", { -10, 20 }, { 10, 0 }, { SIZE - 10, SIZE } },
	{ "above", { 30, -63 }, { 0, 63 }, { SIZE, 1 } },
	{ "right", { WIDTH - 1, 0 }, { 0, 0 }, { 1, SIZE } },
	{ "below", { 0, HEIGHT - 30 }, { 0, 0 }, { SIZE, 30 } },
	{ "left-above", { -63, -63 }, { 63, 63 }, { 1, 1 } },
	{ "out-at-the-left", { -SIZE, 0 }, { 0, 0 }, { 0, 0 } },
	{ "out-below", { 0, HEIGHT }, { 0, 0 }, { 0, 0 } },
	{ "far-out", { INT32_MAX, INT32_MIN }, { 0, 0 }, { 0, 0 } },
};

static void test_place(const void *data)
{
	const struct place *place = data;
	struct session session;
	struct mock_overlay *overlay = &session.mock.overlay;

	start(&session, &(struct mock_options){ .dmabuf_version = 3, .width = 640, .height = 480 });
	scanout_show(&session.scanout);
	vtr_output_move_cursor(session.scanout.output, 50, 50);
	set_image(&session, 1);
	WAIT_FOR(&session, overlay->pixels && overlay->position[0] == 100);
	vtr_output_move_cursor(session.scanout.output, place->at[0], place->at[1]);
	if (place->count[0]) {
		int32_t left = (place->at[0] + place->first[0]) * 2, top = (place->at[1] + place->first[1]) * 2 + 40;

		WAIT_FOR(&session, overlay->position[0] == left && overlay->position[1] == top);
		g_assert_cmpint(overlay->size[0], ==, place->count[0]);
		g_assert_cmpint(overlay->size[1], ==, place->count[1]);
		g_assert_cmpint(overlay->destination[0], ==, place->count[0] * 2);
		g_assert_cmpint(overlay->destination[1], ==, place->count[1] * 2);
		check_pixels(overlay, place->first, 1);
	} else {
		WAIT_FOR(&session, !overlay->pixels);
	}
	vtr_output_move_cursor(session.scanout.output, 50, 50);
	WAIT_FOR(&session, overlay->pixels && overlay->size[0] == SIZE && overlay->position[1] == 140);
	check_pixels(overlay, (int32_t[]){ 0, 0 }, 1);
	finish(&session);
}

/* The window gets another size: the cursor stays over the same pixel of the guest. */
static void test_resized(void)
{
	struct session session;
	struct wl_array states = { 0 };

	start(&session, &(struct mock_options){ .dmabuf_version = 3, .width = 640, .height = 400 });
	scanout_show(&session.scanout);
	vtr_output_move_cursor(session.scanout.output, 16, 8);
	set_image(&session, 1);
	WAIT_FOR(&session, session.mock.overlay.position[0] == 32);
	xdg_toplevel_send_configure(session.mock.toplevel, 80, 60, &states); /* a quarter of it, between bars of 5 */
	xdg_surface_send_configure(session.mock.xdg_surface, 2);
	WAIT_FOR(&session, session.mock.overlay.position[0] == 4);
	g_assert_cmpint(session.mock.overlay.position[1], ==, 7);
	g_assert_cmpint(session.mock.overlay.destination[0], ==, SIZE / 4);
	g_assert_cmpint(session.mock.overlay.size[0], ==, SIZE);
	finish(&session);
}

/* 1.5 pixels a unit, and the picture as many pixels as the window: so are the cursor's. */
static void test_fractional_scale(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 3, .scale = 180, .width = 213, .height = 133 });
	scanout_show(&session.scanout);
	vtr_output_move_cursor(session.scanout.output, 150, 90);
	set_image(&session, 1);
	WAIT_FOR(&session, session.mock.overlay.pixels && session.mock.overlay.position[0] == 100);
	g_assert_cmpint(session.mock.overlay.position[1], ==, 60);
	g_assert_cmpint(session.mock.overlay.destination[0], ==, 43); /* from 100 to 142.7 */
	finish(&session);
}

static void test_no_viewporter(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 3, .no_viewporter = true, .width = 400, .height = 260 });
	scanout_show(&session.scanout);
	vtr_output_move_cursor(session.scanout.output, WIDTH - 4, -2);
	set_image(&session, 1);
	WAIT_FOR(&session, session.mock.overlay.pixels);
	g_assert_cmpint(session.mock.overlay.position[0], ==, 40 + WIDTH - 4);
	g_assert_cmpint(session.mock.overlay.position[1], ==, 30);
	g_assert_cmpint(session.mock.overlay.size[0], ==, 4);
	g_assert_cmpint(session.mock.overlay.size[1], ==, SIZE - 2);
	finish(&session);
}

/* ---- when it is there ---- */

static void test_shown(void)
{
	struct session session;
	struct mock_overlay *overlay = &session.mock.overlay;

	start(&session, &plain);
	set_image(&session, 1);
	settle(&session);
	g_assert_null(overlay->surface); /* there is no picture yet */
	scanout_show(&session.scanout);
	WAIT_FOR(&session, overlay->pixels);
	set_image(&session, 2);
	WAIT_FOR(&session, overlay->pixels && (overlay->pixels[0] & 255) == 2);
	vtr_output_set_cursor(session.scanout.output, NULL, 0, 0);
	WAIT_FOR(&session, !overlay->pixels);
	set_image(&session, 3);
	WAIT_FOR(&session, overlay->pixels && (overlay->pixels[0] & 255) == 3);
	struct vtr_frame *frame = vtr_output_begin_frame(session.scanout.output);
	frame->content = VTR_FRAME_BLANK;
	vtr_output_submit(session.scanout.output, frame);
	WAIT_FOR(&session, !overlay->pixels);
	scanout_show(&session.scanout);
	WAIT_FOR(&session, overlay->pixels);
	finish(&session);
}

/* The picture has nothing to do with it: it is not committed again, and none of its frames waits for the cursor. */
static void test_picture_alone(void)
{
	struct session session;

	start(&session, &plain);
	scanout_show(&session.scanout);
	settle(&session);
	unsigned commits = session.mock.commits;
	set_image(&session, 1);
	for (int32_t i = 0; i < 10; i++) {
		vtr_output_move_cursor(session.scanout.output, i, i);
		WAIT_FOR(&session, session.mock.overlay.pixels && session.mock.overlay.position[0] == i);
	}
	g_assert_cmpuint(session.mock.commits, ==, commits);
	scanout_show(&session.scanout);
	finish(&session);
}

/* A compositor that does not answer is not sent more than one change, and the last one when it does. */
static void test_stopped(void)
{
	struct session session;

	start(&session, &plain);
	scanout_show(&session.scanout);
	set_image(&session, 1);
	WAIT_FOR(&session, session.mock.overlay.pixels);
	settle(&session);
	unsigned commits = session.mock.overlay.commits;
	for (int32_t i = 1; i <= 2000; i++) {
		vtr_output_move_cursor(session.scanout.output, i % 200, i % 100);
		set_image(&session, (uint32_t)i % 256);
		if (i % 100 == 0)
			g_usleep(2000); /* for the display's thread */
	}
	vtr_output_move_cursor(session.scanout.output, 123, 45);
	WAIT_FOR(&session, session.mock.overlay.position[0] == 123 && session.mock.overlay.position[1] == 45);
	g_assert_cmpuint(session.mock.overlay.commits, <=, commits + 2);
	g_assert_cmphex(session.mock.overlay.pixels[0] & 255, ==, 2000 % 256);
	finish(&session);
}

/* Each window has the cursor of its own output. */
static void test_two_heads(void)
{
	struct vtr_mode mode = { WIDTH, HEIGHT, 60000 };
	struct session session;
	struct vtr_output *first;

	start(&session, &plain);
	scanout_show(&session.scanout);
	settle(&session);
	memset(session.scanout.answered, 0, sizeof(session.scanout.answered)); /* each output counts its own frames */
	first = session.scanout.output;
	struct wl_resource *background = session.mock.background;
	session.scanout.output = vtr_outputs_add(session.scanout.outputs, session.scanout.display, &mode, "second");
	while (session.mock.background == background)
		step(&session);
	set_image(&session, 9);
	scanout_show(&session.scanout);
	WAIT_FOR(&session, session.mock.overlay.pixels);
	g_assert_cmphex(session.mock.overlay.pixels[0] & 255, ==, 9);
	vtr_output_move_cursor(first, 77, 77);
	settle(&session);
	g_assert_cmpint(session.mock.overlay.position[0], ==, 0);
	finish(&session);
}

int main(int argc, char **argv)
{
	g_autofree char *directory = session_init(&argc, &argv);

	ADD_ROWS("/wayland-cursor/place/", places, test_place);
	g_test_add_func("/wayland-cursor/resized", test_resized);
	g_test_add_func("/wayland-cursor/fractional-scale", test_fractional_scale);
	g_test_add_func("/wayland-cursor/no-viewporter", test_no_viewporter);
	g_test_add_func("/wayland-cursor/shown", test_shown);
	g_test_add_func("/wayland-cursor/picture-alone", test_picture_alone);
	g_test_add_func("/wayland-cursor/stopped", test_stopped);
	g_test_add_func("/wayland-cursor/two-heads", test_two_heads);
	return session_run_tests(directory);
}
