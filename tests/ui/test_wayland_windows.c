/* SPDX-License-Identifier: MIT */
/* Windows of the mock compositor: with and without what scales them, and on several monitors. */
#include <linux/input-event-codes.h>

#include "mock_session.h"
#include "rows.h"
#include "xdg-shell-server-protocol.h"

/* ---- windows ---- */

static void configure(struct session *session, int32_t width, int32_t height)
{
	struct wl_array states = { 0 };

	xdg_toplevel_send_configure(session->mock.toplevel, width, height, &states);
	xdg_surface_send_configure(session->mock.xdg_surface, 2);
}

static void test_no_viewporter(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 3, .no_viewporter = true, .width = 400, .height = 260 });
	scanout_show(&session.scanout);
	g_assert_cmpint(session.mock.position[0], ==, 40);
	g_assert_cmpint(session.mock.position[1], ==, 30);
	g_assert_cmpint(session.mock.bars_size[0], ==, 400); /* black, where the picture is not */
	g_assert_cmpint(session.mock.bars_size[1], ==, 260);
	g_assert_cmpint(session.mock.min_size[0], ==, WIDTH);
	g_assert_cmpint(session.mock.min_size[1], ==, HEIGHT);
	configure(&session, 500, 100); /* less than it asked for */
	while (session.mock.bars_size[0] != 500)
		step(&session);
	g_assert_cmpint(session.mock.bars_size[1], ==, 100);
	g_assert_cmpint(session.mock.position[0], ==, 90);
	g_assert_cmpint(session.mock.position[1], ==, 0);
	/* what would have to be cropped comes as pixels */
	session.scanout.stride = WIDTH * 8;
	session.scanout.offset = WIDTH * 4;
	session.scanout.tight = true;
	scanout_new_buffer(&session.scanout, 0);
	scanout_draw(&session.scanout, 2);
	scanout_show(&session.scanout);
	g_assert_nonnull(strstr(session.scanout.error.text, "wants the last row whole"));
	while (!shows_pixels(&session))
		step(&session);
	finish(&session);
}

/* A window of 400x260 units at 1.5: the guest is asked for 600x390 pixels, and those are shown one to one. */
static void test_fractional_scale(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 3, .scale = 180, .width = 400, .height = 260 });
	g_assert_cmpint(vtr_output_resize(session.scanout.output, NULL), ==, 0);
	g_assert_cmpint(vtr_output_move(session.scanout.output, session.headless = vtr_headless_create()), ==, 0);
	g_assert_cmpint(vtr_output_move(session.scanout.output, session.scanout.display), ==, 0);
	while (vtr_output_mode(session.scanout.output).width != 600)
		step(&session);
	g_assert_cmpuint(vtr_output_mode(session.scanout.output).height, ==, 390);
	session.scanout.width = 600;
	session.scanout.height = 390;
	session.scanout.stride = 2400;
	munmap(session.scanout.memory, session.scanout.size);
	session.scanout.memory = NULL;
	scanout_new_buffer(&session.scanout, 0);
	scanout_show(&session.scanout);
	g_assert_cmpint(session.mock.destination[0], ==, 400);
	g_assert_cmpint(session.mock.destination[1], ==, 260);
	finish(&session);
}

/* Bars are one pixel, of no memory where the compositor knows such buffers. */
static void test_bars(void)
{
	for (int single_pixel = 0; single_pixel < 2; single_pixel++) {
		struct session session;

		start(&session, &(struct mock_options){ .dmabuf_version = 3, .single_pixel = single_pixel });
		scanout_show(&session.scanout);
		g_assert_nonnull(session.mock.bars);
		g_assert_cmpint(session.mock.bars_size[0], ==, single_pixel ? 0 : 1);
		g_assert_cmpint(session.mock.min_size[0], ==, 0);
		finish(&session);
	}
}

static void test_tearing(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 3, .tearing = true });
	scanout_show(&session.scanout);
	g_assert_cmpuint(session.mock.presentation_hint, ==, 1);
	finish(&session);
}

static void wait_title(struct session *session, const char *title)
{
	while (strcmp(session->mock.title, title) != 0)
		step(session);
}

static void test_title(void)
{
	struct session session;

	start(&session, &plain);
	wait_title(&session, "test - test (no signal)");
	vtr_output_set_frozen(session.scanout.output, true);
	scanout_show(&session.scanout);
	wait_title(&session, "test - test (udmabuf, frozen)");
	vtr_output_set_frozen(session.scanout.output, false);
	wait_title(&session, "test - test (udmabuf)");
	vtr_output_set_frozen(session.scanout.output, true);
	wait_title(&session, "test - test (udmabuf, frozen)");
	finish(&session);
}

/* ---- Ctrl+Alt+0: as large as the picture ---- */

static void press_hotkey(struct mock *mock)
{
	static const uint32_t keys[] = { KEY_LEFTCTRL, KEY_LEFTALT, KEY_0 };

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		wl_keyboard_send_key(mock->keyboard, 1, 0, keys[i], WL_KEYBOARD_KEY_STATE_PRESSED);
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		wl_keyboard_send_key(mock->keyboard, 1, 0, keys[i], WL_KEYBOARD_KEY_STATE_RELEASED);
}

static const struct fit_row {
	const char *name;
	uint32_t scale;        /* 1/120; 0: no fractional scales */
	uint32_t state;        /* of the window; 0: none */
	int32_t width, height; /* that it gets */
} fits[] = {
	{ "floating", 0, 0, WIDTH, HEIGHT },
	{ "dense-monitor", 240, 0, WIDTH / 2, HEIGHT / 2 },
	{ "maximised", 0, XDG_TOPLEVEL_STATE_MAXIMIZED, 500, 300 },
	{ "full-screen", 0, XDG_TOPLEVEL_STATE_FULLSCREEN, 500, 300 },
	{ "beside-others", 0, XDG_TOPLEVEL_STATE_TILED_RIGHT, 500, 300 },
};

static void test_fit(const void *data)
{
	const struct fit_row *row = data;
	uint32_t state = row->state;
	struct wl_array states = { .size = state ? sizeof(state) : 0, .data = &state }, no_keys = { 0 };
	struct session session;
	struct mock *mock = &session.mock;

	start(&session,
	      &(struct mock_options){ .dmabuf_version = 3, .scale = row->scale, .keyboard = true, .width = 400, .height = 300 });
	scanout_show(&session.scanout);
	xdg_toplevel_send_configure(mock->toplevel, 500, 300, &states);
	xdg_surface_send_configure(mock->xdg_surface, 2);
	wl_keyboard_send_enter(mock->keyboard, 1, mock->background, &no_keys);
	while (mock->geometry[0] != 500)
		step(&session);
	press_hotkey(mock);
	while (mock->geometry[0] != row->width || mock->geometry[1] != row->height)
		step(&session);
	settle(&session);
	g_assert_cmpint(mock->geometry[0], ==, row->width);
	g_assert_cmpint(mock->destination[0], ==, row->state ? 480 : row->width);
	finish(&session);
}

/* ---- monitors ---- */

static const struct mock_options two_monitors = {
	.dmabuf_version = 3,
	.width = 640,
	.height = 400,
	.monitors = { { 60000, 1 }, { 143912, 2 } },
	.n_monitors = 2,
};

static void wait_refresh(struct session *session, uint32_t refresh_mhz)
{
	while (vtr_output_mode(session->scanout.output).refresh_mhz != refresh_mhz)
		step(session);
}

/* Each window is full screen on the monitor with its output's number, counted round. */
static void test_fullscreen(void)
{
	struct session session;

	start(&session, &two_monitors);
	for (size_t i = 1; i < 3; i++) {
		g_assert_nonnull(vtr_outputs_add(session.scanout.outputs, session.scanout.display, NULL, NULL));
		while (session.mock.n_fullscreen != i + 1)
			step(&session);
	}
	for (int i = 0; i < 3; i++)
		g_assert_cmpint(session.mock.fullscreen[i], ==, i % 2);
	finish(&session);
}

/* The guest's mode has the rate of the monitor that the window is on, and its pixels. */
static void test_monitor(void)
{
	struct session session;

	start(&session, &two_monitors);
	g_assert_cmpint(vtr_output_resize(session.scanout.output, NULL), ==, 0);
	scanout_show(&session.scanout);
	wl_surface_send_enter(session.mock.background, session.mock.monitors[0]);
	wl_surface_send_enter(session.mock.background, session.mock.monitors[1]);
	wait_refresh(&session, 143912);
	while (vtr_output_mode(session.scanout.output).width != 1280)
		step(&session);
	wl_surface_send_leave(session.mock.background, session.mock.monitors[1]);
	wait_refresh(&session, 60000);
	while (vtr_output_mode(session.scanout.output).width != 640)
		step(&session);
	/* the monitor changes under the window */
	wl_output_send_mode(session.mock.monitors[0], WL_OUTPUT_MODE_CURRENT, 2560, 1440, 164999);
	wl_output_send_done(session.mock.monitors[0]);
	wait_refresh(&session, 164999);
	/* no rate at all, or none that there is */
	wl_output_send_mode(session.mock.monitors[0], WL_OUTPUT_MODE_CURRENT, 2560, 1440, 0);
	wl_output_send_done(session.mock.monitors[0]);
	wl_output_send_mode(session.mock.monitors[0], WL_OUTPUT_MODE_CURRENT, 2560, 1440, INT32_MAX);
	wl_output_send_done(session.mock.monitors[0]);
	settle(&session);
	g_assert_cmpuint(vtr_output_mode(session.scanout.output).refresh_mhz, ==, 164999);
	finish(&session);
}

/* Pulled out while the window is on it, and another one comes. */
static void test_monitor_pulled(void)
{
	struct session session;

	start(&session, &two_monitors);
	g_assert_cmpint(vtr_output_resize(session.scanout.output, NULL), ==, 0);
	scanout_show(&session.scanout);
	wl_surface_send_enter(session.mock.background, session.mock.monitors[0]);
	wl_surface_send_enter(session.mock.background, session.mock.monitors[1]);
	wait_refresh(&session, 143912);
	mock_pull_monitor(&session.mock, 1);
	while (session.mock.monitors[1])
		step(&session);
	g_assert_nonnull(vtr_outputs_add(session.scanout.outputs, session.scanout.display, NULL, NULL));
	while (session.mock.n_fullscreen != 2)
		step(&session);
	g_assert_cmpint(session.mock.fullscreen[1], ==, 0);
	finish(&session);
}

int main(int argc, char **argv)
{
	g_autofree char *directory = session_init(&argc, &argv);

	g_test_add_func("/wayland-windows/bars", test_bars);
	g_test_add_func("/wayland-windows/tearing", test_tearing);
	g_test_add_func("/wayland-windows/title", test_title);
	ADD_ROWS("/wayland-windows/fit/", fits, test_fit);
	g_test_add_func("/wayland-windows/fullscreen", test_fullscreen);
	g_test_add_func("/wayland-windows/monitor", test_monitor);
	g_test_add_func("/wayland-windows/monitor-pulled", test_monitor_pulled);
	g_test_add_func("/wayland-windows/no-viewporter", test_no_viewporter);
	g_test_add_func("/wayland-windows/fractional-scale", test_fractional_scale);
	return session_run_tests(directory);
}
