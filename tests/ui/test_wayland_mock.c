/* SPDX-License-Identifier: MIT */
/* The Wayland display's buffers with the mock compositor: orders that no other has, refusals, errors. */
#include "mock_session.h"

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

/* A renderer's dmabuf: in its driver's own layout, upside down; and a picture that is neither after it. */
static void test_flipped(void)
{
	pixman_region32_t damage;
	struct session session;

	start(&session, &(struct mock_options){ .dmabuf_version = 4 });
	mock_send_formats(&session.mock.all, mock_formats, MOCK_DEFAULT_FORMATS, 1 | 4, 0, 0);
	settle(&session);
	session.scanout.modifier = I915_FORMAT_MOD_X_TILED;
	session.scanout.flipped = true;
	scanout_show(&session.scanout);
	g_assert_nonnull(session.mock.current);
	g_assert_cmphex(session.mock.current_params.modifier, ==, I915_FORMAT_MOD_X_TILED);
	g_assert_cmpint(session.mock.transform, ==, WL_OUTPUT_TRANSFORM_FLIPPED_180);
	pixman_region32_init_rect(&damage, 10, 20, 30, 40);
	unsigned commits = session.mock.commits;
	scanout_present(&session.scanout, &damage);
	pixman_region32_fini(&damage);
	while (session.mock.commits == commits)
		step(&session);
	g_assert_cmpint(session.mock.committed_damage[0], ==, 10);
	g_assert_cmpint(session.mock.committed_damage[1], ==, HEIGHT - 60);
	g_assert_cmpint(session.mock.committed_damage[2], ==, 40);
	g_assert_cmpint(session.mock.committed_damage[3], ==, HEIGHT - 20);

	session.scanout.modifier = DRM_FORMAT_MOD_LINEAR;
	session.scanout.flipped = false;
	struct vtr_buffer *last = another_buffer(&session);
	scanout_draw(&session.scanout, 2);
	scanout_show(&session.scanout);
	g_assert_cmphex(session.mock.current_params.modifier, ==, DRM_FORMAT_MOD_LINEAR);
	g_assert_cmpint(session.mock.transform, ==, WL_OUTPUT_TRANSFORM_NORMAL);
	vtr_buffer_drop(last);
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
	g_autofree char *directory = session_init(&argc, &argv);

	g_test_add_func("/wayland-mock/hand-off", test_hand_off);
	g_test_add_func("/wayland-mock/failed", test_failed);
	g_test_add_func("/wayland-mock/no-dmabuf", test_no_dmabuf);
	g_test_add_func("/wayland-mock/cropped", test_cropped);
	g_test_add_func("/wayland-mock/hidden", test_hidden);
	g_test_add_func("/wayland-mock/unread-first", test_unread_first);
	g_test_add_func("/wayland-mock/captured-while-hidden", test_captured_while_hidden);
	g_test_add_func("/wayland-mock/never-released", test_never_released);
	g_test_add_func("/wayland-mock/released-early", test_released_early);
	g_test_add_func("/wayland-mock/answered-too-late", test_answered_too_late);
	g_test_add_func("/wayland-mock/flipped", test_flipped);
	g_test_add_func("/wayland-mock/damage", test_damage);
	g_test_add_func("/wayland-mock/presentation", test_presentation);
	g_test_add_func("/wayland-mock/protocol-error", test_protocol_error);
	return session_run_tests(directory);
}
