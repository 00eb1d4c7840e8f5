/* SPDX-License-Identifier: MIT */
/* The Wayland display and compositors that no machine here has: other protocols, other orders, refusals, errors. */
#include "mock_session.h"
#include "xdg-shell-server-protocol.h"

/* ---- buffers ---- */

static void test_hand_off(void)
{
	struct session session;

	start(&session, &plain);
	session.scanout.stride = 2048;
	session.scanout.offset = 4096;
	scanout_new_buffer(&session.scanout, 0);
	scanout_show(&session.scanout);
	g_assert_nonnull(session.mock.current);
	g_assert_cmpint(session.mock.current_params.width, ==, WIDTH);
	g_assert_cmpuint(session.mock.current_params.stride, ==, 2048);
	g_assert_cmpuint(session.mock.current_params.offset, ==, 4096);
	for (int i = 0; i < 5; i++)
		scanout_show(&session.scanout);
	g_assert_cmpuint(session.mock.n_params, ==, 1); /* asked for once */
	finish(&session);
}

static void test_failed(void)
{
	struct session session;

	start(&session, &plain);
	session.mock.fail = true;
	scanout_show(&session.scanout);
	g_assert_cmpuint(session.scanout.import_failed, ==, 1);
	g_assert_nonnull(strstr(session.scanout.error.text, "does not import a dmabuf of 320x200 XR24"));
	while (!shows_pixels(&session))
		step(&session);
	finish(&session);
}

static void test_no_dmabuf(void)
{
	struct session session;
	struct vtr_error error;

	start(&session, &(struct mock_options){ 0 });
	g_assert_cmpint(vtr_output_demand(session.scanout.output), ==, VTR_DEMAND_PIXELS);
	g_assert_false(vtr_output_accepts(session.scanout.output, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, &error));
	scanout_show(&session.scanout);
	while (!shows_pixels(&session))
		step(&session);
	finish(&session);
}

static bool accepts(const struct session *session, uint32_t format, uint64_t modifier)
{
	struct vtr_error error;

	return vtr_output_accepts(session->scanout.output, format, modifier, &error);
}

static void test_feedback(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 4 });
	while (!accepts(&session, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR))
		step(&session);
	g_assert_false(accepts(&session, DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED));
	g_assert_false(accepts(&session, DRM_FORMAT_XBGR8888, DRM_FORMAT_MOD_LINEAR));
	scanout_show(&session.scanout);
	g_assert_nonnull(session.mock.current);

	/* other entries of the same table: what is shown comes in another way now, without the guest's doing */
	mock_send_formats(&session.mock.all, NULL, 0, 6, 0, 0);
	while (!shows_pixels(&session))
		step(&session);
	g_assert_true(accepts(&session, DRM_FORMAT_XBGR8888, DRM_FORMAT_MOD_LINEAR));
	g_assert_true(accepts(&session, DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED));
	g_assert_false(accepts(&session, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR));

	mock_send_formats(&session.mock.all, mock_formats, MOCK_DEFAULT_FORMATS, 1 | 1 << 20, 0,
	                  0); /* the latter is beyond its end */
	while (!session.mock.current)
		step(&session);
	/* a file that is shorter than its table */
	mock_send_formats(&session.mock.all, mock_formats, MOCK_DEFAULT_FORMATS, 7, 0, 4);
	while (!shows_pixels(&session))
		step(&session);
	finish(&session);
}

/* The window's own list comes before the one for all, and says what may be scanned out; version 5, which is told the same way. */
static void test_surface_feedback(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 5 });
	scanout_show(&session.scanout);
	g_assert_nonnull(session.mock.current);
	unsigned needed = session.scanout.needed;
	mock_send_formats(&session.mock.surface, mock_formats, MOCK_DEFAULT_FORMATS, 2, 2, 0);
	while (!shows_pixels(&session))
		step(&session);
	g_assert_cmpuint(session.scanout.needed, >, needed);
	g_assert_true(accepts(&session, DRM_FORMAT_XBGR8888, DRM_FORMAT_MOD_LINEAR));
	g_assert_false(accepts(&session, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR));
	/* the one for all changes, and the window's does not */
	mock_send_formats(&session.mock.all, NULL, 0, 7, 0, 0);
	settle(&session);
	g_assert_false(accepts(&session, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR));
	/* on another monitor, drawn; and on one where it may be scanned out, but is not */
	mock_send_formats(&session.mock.surface, NULL, 0, 3, 2, 0);
	while (!session.mock.current)
		step(&session);
	while (!logged("draws the guest's pictures, whose format"))
		step(&session);
	finish(&session);
}

/* The same list again changes nothing. */
static void test_same_feedback(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 4 });
	scanout_show(&session.scanout);
	mock_send_formats(&session.mock.surface, mock_formats, MOCK_DEFAULT_FORMATS, 1, 0, 0);
	settle(&session);
	unsigned needed = session.scanout.needed;
	mock_send_formats(&session.mock.surface, mock_formats, MOCK_DEFAULT_FORMATS, 1, 0, 0);
	mock_send_formats(&session.mock.all, NULL, 0, 1, 0, 0);
	settle(&session);
	g_assert_cmpuint(session.scanout.needed, ==, needed);
	finish(&session);
}

/* A driver without modifiers: linear memory is given to it as what it lists, for anything else ends the connection. */
static void test_implicit_modifier(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 4 });
	mock_send_formats(&session.mock.all, NULL, 0, 8, 0, 0);
	settle(&session);
	scanout_show(&session.scanout);
	g_assert_nonnull(session.mock.current);
	g_assert_cmphex(session.mock.current_params.modifier, ==, DRM_FORMAT_MOD_INVALID);
	finish(&session);
}

/* The list changes between the making of a frame and its commit: what is not listed any more is not given away. */
static void test_list_changes_meanwhile(void)
{
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 5 });
	session.mock.hold_callbacks = true;
	scanout_present_all(&session.scanout);
	while (session.mock.commits != 1)
		step(&session);
	struct vtr_buffer *last = another_buffer(&session);
	scanout_present_all(&session.scanout);
	settle(&session);
	session.scanout.no_dmabuf = true; /* no other frame takes its place */
	session.scanout.nothing_new = true;
	mock_send_formats(&session.mock.surface, mock_formats, MOCK_DEFAULT_FORMATS, 2, 0, 0);
	session.mock.hold_callbacks = false;
	mock_callbacks(&session.mock);
	settle(&session);
	g_assert_cmpuint(session.mock.n_params, ==, 1);
	g_assert_true(vtr_display_alive(session.scanout.display));
	vtr_buffer_drop(last);
	finish(&session);
}

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

static void test_cropped(void)
{
	struct session session;

	start(&session, &plain);
	session.scanout.stride = WIDTH * 8;
	session.scanout.offset = WIDTH * 4;
	session.scanout.tight = true;
	scanout_new_buffer(&session.scanout, 0);
	scanout_show(&session.scanout);
	g_assert_cmpint(session.mock.current_params.width, ==, WIDTH * 2);
	g_assert_cmpuint(session.mock.current_params.offset, ==, 0);
	g_assert_cmpfloat(session.mock.source[0], ==, WIDTH);
	g_assert_cmpfloat(session.mock.source[2], ==, WIDTH);
	g_assert_cmpint(session.mock.committed_damage[0], ==, WIDTH);
	/* and one that is not */
	session.scanout.offset = 0;
	session.scanout.tight = false;
	scanout_new_buffer(&session.scanout, 0);
	scanout_show(&session.scanout);
	g_assert_cmpfloat(session.mock.source[0], ==, -1);
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

/* ---- orders ---- */

/* A window that nobody sees has no callbacks: one frame is committed, and when it is seen again the newest one. */
static void test_hidden(void)
{
	struct session session;

	start(&session, &plain);
	session.mock.hold_callbacks = true;
	scanout_present_all(&session.scanout);
	while (session.mock.commits != 1)
		step(&session);
	for (int i = 0; i < 20; i++)
		scanout_present_all(&session.scanout);
	settle(&session);
	g_assert_cmpuint(session.mock.commits, ==, 1);
	g_assert_cmpuint(session.scanout.dropped, ==, 19);
	session.mock.hold_callbacks = false;
	mock_callbacks(&session.mock);
	scanout_run_until(&session.scanout, &session.scanout.done, 21);
	g_assert_cmpuint(session.mock.commits, ==, 2);
	finish(&session);
}

/* The first frame of an output that was headless has no pixels: there is nothing to map, and no callback. */
static void test_unread_first(void)
{
	struct session session;

	start(&session, &plain);
	struct vtr_frame *frame = vtr_output_begin_frame(session.scanout.output);
	frame->content = VTR_FRAME_UNREAD;
	frame->width = WIDTH;
	frame->height = HEIGHT;
	frame->format = DRM_FORMAT_XRGB8888;
	vtr_output_submit(session.scanout.output, frame);
	scanout_run_until(&session.scanout, &session.scanout.done, 1);
	scanout_show(&session.scanout);
	g_assert_nonnull(session.mock.current);
	finish(&session);
}

static void keep_color(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	uint32_t color;

	g_assert_null(error);
	g_assert_cmpint(pread(picture->fd, &color, sizeof(color), 5 * 4), ==, sizeof(color));
	*(unsigned *)data = 1 + (color & 0xffffff);
	close(picture->fd);
}

/* A window that was black when it was hidden: what the guest shows now is what a screenshot has. */
static void test_captured_while_hidden(void)
{
	struct session session;
	unsigned color = 0;

	start(&session, &plain);
	session.mock.hold_callbacks = true;
	struct vtr_frame *frame = vtr_output_begin_frame(session.scanout.output);
	frame->content = VTR_FRAME_BLANK;
	vtr_output_submit(session.scanout.output, frame);
	settle(&session);
	scanout_present_all(&session.scanout);
	settle(&session);
	g_assert_nonnull(vtr_output_capture(session.scanout.output, false, keep_color, &color));
	scanout_run_until(&session.scanout, &color, 1);
	g_assert_cmphex(color - 1, ==, scanout_color(5, 0, 1));
	finish(&session);
}

/* A compositor that keeps every buffer: those that it has no room for wait until it gives some back. */
static void test_never_released(void)
{
	struct vtr_buffer *buffers[12];
	struct session session;

	start(&session, &plain);
	session.mock.hold_releases = true;
	for (size_t i = 0; i < G_N_ELEMENTS(buffers); i++) {
		scanout_present_all(&session.scanout);
		settle(&session);
		buffers[i] = another_buffer(&session);
	}
	g_assert_cmpuint(session.mock.commits, ==, 8);
	scanout_present_all(&session.scanout);
	session.mock.hold_releases = false;
	mock_release_held(&session.mock);
	scanout_run_until(&session.scanout, &session.scanout.done, G_N_ELEMENTS(buffers) + 1);
	g_assert_cmpuint(session.mock.commits, ==, 9);
	for (size_t i = 0; i < G_N_ELEMENTS(buffers); i++)
		vtr_buffer_drop(buffers[i]);
	finish(&session);
}

/* The compositor copies, and gives back before it calls back; or it gives back what is on the screen again. */
static void test_released_early(void)
{
	struct session session;

	start(&session, &plain);
	session.mock.hold_callbacks = true;
	scanout_present_all(&session.scanout);
	while (!session.mock.current)
		step(&session);
	wl_buffer_send_release(session.mock.current);
	wl_buffer_send_release(session.mock.current);
	settle(&session);
	g_assert_cmpuint(session.scanout.done, ==, 0);
	mock_callbacks(&session.mock);
	scanout_run_until(&session.scanout, &session.scanout.done, 1);
	g_assert_cmpuint(session.scanout.dropped, ==, 0);
	/* nothing is shown for longer than imports are kept: this one is on the screen */
	uint64_t end = vtr_now_ns() + UINT64_C(2500000000);
	while (vtr_now_ns() < end)
		step(&session);
	g_assert_nonnull(session.mock.current);
	finish(&session);
}

/* The window goes while the compositor thinks about a buffer, and comes back; the answer is for neither. */
static void test_answered_too_late(void)
{
	struct session session;

	start(&session, &plain);
	session.headless = vtr_headless_create();
	session.mock.hold_answers = true;
	scanout_present_all(&session.scanout);
	while (session.mock.n_asked != 1)
		step(&session);
	g_assert_cmpint(vtr_output_move(session.scanout.output, session.headless), ==, 0);
	while (session.mock.content)
		step(&session);
	unsigned needed = session.scanout.needed;
	g_assert_cmpint(vtr_output_move(session.scanout.output, session.scanout.display), ==, 0);
	while (session.scanout.needed == needed || session.mock.n_asked < 2)
		step(&session);
	session.mock.hold_answers = false;
	mock_answer(&session.mock);
	while (!session.mock.current)
		step(&session);
	g_assert_true(vtr_display_alive(session.scanout.display));
	finish(&session);
}

/* What a frame would have changed that was replaced before its commit is in the next one's damage. */
static void test_damage(void)
{
	pixman_region32_t damage;
	struct session session;

	start(&session, &plain);
	scanout_show(&session.scanout);
	scanout_new_buffer(&session.scanout, 0);
	session.mock.hold_answers = true;
	pixman_region32_init_rect(&damage, 10, 20, 30, 40);
	scanout_present(&session.scanout, &damage);
	while (session.mock.n_asked != 1)
		step(&session);
	pixman_region32_fini(&damage);
	pixman_region32_init_rect(&damage, 100, 50, 1, 1);
	scanout_present(&session.scanout, &damage);
	pixman_region32_fini(&damage);
	scanout_run_until(&session.scanout, &session.scanout.done, 2); /* the first of the two was dropped */
	session.mock.hold_answers = false;
	mock_answer(&session.mock);
	scanout_run_until(&session.scanout, &session.scanout.done, 3);
	g_assert_cmpint(session.mock.committed_damage[0], ==, 10);
	g_assert_cmpint(session.mock.committed_damage[1], ==, 20);
	g_assert_cmpint(session.mock.committed_damage[2], ==, 101);
	g_assert_cmpint(session.mock.committed_damage[3], ==, 60);
	finish(&session);
}

/* ---- what the compositor tells ---- */

static void test_presentation(void)
{
	struct session session;

	start(&session, &plain);
	session.mock.hold_feedbacks = true;
	g_assert_cmpint(vtr_output_resize(session.scanout.output, NULL), ==, 0);
	for (int i = 0; i < 10; i++)
		scanout_show(&session.scanout);
	settle(&session);
	g_assert_cmpuint(session.mock.n_feedbacks, ==, 4); /* no more are asked for meanwhile */
	for (int i = 0; i < 30; i++) {                     /* frames do not keep the monitor's rate from settling */
		mock_feedback(&session.mock, 6944444, ZERO_COPY);
		scanout_show(&session.scanout);
	}
	g_assert_true(logged("scans out (zero copy)"));
	while (vtr_output_mode(session.scanout.output).refresh_mhz != 144000)
		step(&session);

	/* told of a window that is gone */
	scanout_show(&session.scanout);
	while (!session.mock.n_feedbacks)
		step(&session);
	mock_feedback(&session.mock, 16666667, 0);
	g_assert_cmpint(vtr_output_move(session.scanout.output, session.headless = vtr_headless_create()), ==, 0);
	while (session.mock.content)
		step(&session);
	finish(&session);
}

static void test_protocol_error(void)
{
	struct session session;

	start(&session, &plain);
	scanout_show(&session.scanout);
	wl_resource_post_error(session.mock.xdg_surface, 3, "made up");
	while (vtr_display_alive(session.scanout.display))
		step(&session);
	while (!logged("error 3 of xdg_surface"))
		step(&session);
	finish(&session);
}

int main(int argc, char **argv)
{
	g_autofree char *directory = g_dir_make_tmp("vitrine-mock-XXXXXX", NULL);

	g_test_init(&argc, &argv, NULL);
	g_setenv("XDG_RUNTIME_DIR", directory, true);
	vtr_log_set_handler(keep_log, NULL);
	g_test_add_func("/wayland/hand-off", test_hand_off);
	g_test_add_func("/wayland/failed", test_failed);
	g_test_add_func("/wayland/no-dmabuf", test_no_dmabuf);
	g_test_add_func("/wayland/feedback", test_feedback);
	g_test_add_func("/wayland/surface-feedback", test_surface_feedback);
	g_test_add_func("/wayland/same-feedback", test_same_feedback);
	g_test_add_func("/wayland/implicit-modifier", test_implicit_modifier);
	g_test_add_func("/wayland/list-changes-meanwhile", test_list_changes_meanwhile);
	g_test_add_func("/wayland/bars", test_bars);
	g_test_add_func("/wayland/tearing", test_tearing);
	g_test_add_func("/wayland/fullscreen", test_fullscreen);
	g_test_add_func("/wayland/monitor", test_monitor);
	g_test_add_func("/wayland/monitor-pulled", test_monitor_pulled);
	g_test_add_func("/wayland/no-viewporter", test_no_viewporter);
	g_test_add_func("/wayland/cropped", test_cropped);
	g_test_add_func("/wayland/fractional-scale", test_fractional_scale);
	g_test_add_func("/wayland/hidden", test_hidden);
	g_test_add_func("/wayland/unread-first", test_unread_first);
	g_test_add_func("/wayland/captured-while-hidden", test_captured_while_hidden);
	g_test_add_func("/wayland/never-released", test_never_released);
	g_test_add_func("/wayland/released-early", test_released_early);
	g_test_add_func("/wayland/answered-too-late", test_answered_too_late);
	g_test_add_func("/wayland/damage", test_damage);
	g_test_add_func("/wayland/presentation", test_presentation);
	g_test_add_func("/wayland/protocol-error", test_protocol_error);
	int failed = g_test_run();
	rmdir(directory);
	return failed;
}
