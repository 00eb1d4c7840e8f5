/* SPDX-License-Identifier: MIT */
/* Explicit synchronisation (linux-drm-syncobj-v1) with the mock compositor, over timelines in memory. */
#include <fcntl.h>

#include "fake_syncobj.h"
#include "mock_session.h"
#include "xdg-shell-server-protocol.h"

static const struct mock_options explicit_options = { .dmabuf_version = 5, .syncobj = true };
static const struct fake_syncobj_options kernel = { .present = true };

static void start_explicit(struct session *session)
{
	fake_syncobj_start(&kernel);
	start(session, &explicit_options);
	g_assert_true(logged("buffers are released by DRM timelines"));
}

static void finish_explicit(struct session *session)
{
	finish(session);
	g_assert_cmpuint(fake_syncobj_handles(), ==, 0);
}

static void step_until(struct session *session, const unsigned *counter, unsigned value)
{
	while (*counter < value)
		step(session);
}

/* ---- which kernels ---- */

static const struct {
	const char *name, *log;
	struct fake_syncobj_options kernel;
	int dmabuf_version;
	unsigned asked_main, explicit_commits;
} kernels[] = {
	{ "main-device", "released by DRM timelines", { .present = true }, 4, 1, 3 },
	{ "any-device", "released by DRM timelines", { .present = true }, 3, 0, 3 },
	{ "no-device", "there is no DRM device", { 0 }, 5, 1, 0 },
	{ "no-timelines", "no timelines that can be waited for", { .present = true, .no_timelines = true }, 5, 1, 0 },
	{ "no-eventfd", "no timelines that can be waited for", { .present = true, .no_eventfd = true }, 5, 1, 0 },
};

static void test_kernel(const void *data)
{
	size_t row = GPOINTER_TO_SIZE(data);
	struct mock_options options = { .dmabuf_version = kernels[row].dmabuf_version, .syncobj = true };
	struct session session;

	fake_syncobj_start(&kernels[row].kernel);
	start(&session, &options);
	g_assert_true(logged(kernels[row].log));
	for (int i = 0; i < 3; i++)
		scanout_show(&session.scanout);
	g_assert_cmpuint(session.mock.explicit_commits, ==, kernels[row].explicit_commits);
	g_assert_cmpuint(fake_syncobj_main_device_asked(), ==, kernels[row].asked_main);
	finish_explicit(&session);
}

static void test_switched_off(void)
{
	struct session session;

	g_setenv("VITRINE_WAYLAND_IMPLICIT", "1", true);
	fake_syncobj_start(&kernel);
	start(&session, &explicit_options);
	scanout_show(&session.scanout);
	g_assert_cmpuint(session.mock.explicit_commits, ==, 0);
	g_unsetenv("VITRINE_WAYLAND_IMPLICIT");
	finish_explicit(&session);
}

/* ---- releases ---- */

static void present_new(struct session *session, struct vtr_buffer **buffers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned commits = session->mock.commits;

		scanout_present_all(&session->scanout);
		step_until(session, &session->mock.commits, commits + 1);
		settle(session);
		buffers[i] = another_buffer(session);
	}
}

static void drop_all(struct vtr_buffer **buffers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		vtr_buffer_drop(buffers[i]);
}

/* A buffer comes back when its own point is signalled, in whatever order; wl_buffer.release means nothing. Each buffer here is
 * shown once, so the window has a place for another one when one came back: it has eight. */
static void test_any_order(void)
{
	struct vtr_buffer *buffers[11];
	struct session session;

	start_explicit(&session);
	session.mock.hold_releases = true;
	present_new(&session, buffers, 8);
	g_assert_cmpuint(session.mock.n_points, ==, 7);
	scanout_present_all(&session.scanout);
	settle(&session);
	g_assert_cmpuint(session.mock.commits, ==, 8); /* no place */
	wl_buffer_send_release(session.mock.current);
	settle(&session);
	g_assert_cmpuint(session.mock.commits, ==, 8);
	for (unsigned i = 0; i < 3; i++) {
		mock_signal(&session.mock, (size_t[]){ 4, 0, 2 }[i]);
		step_until(&session, &session.mock.commits, 9 + i);
		settle(&session);
		g_assert_cmpuint(session.mock.commits, ==, 9 + i);
		buffers[8 + i] = another_buffer(&session);
		scanout_present_all(&session.scanout);
		settle(&session);
		g_assert_cmpuint(session.mock.commits, ==, 9 + i);
	}
	g_assert_cmpuint(session.mock.explicit_commits, ==, 11);
	session.mock.hold_releases = false;
	mock_release_held(&session.mock);
	step_until(&session, &session.mock.commits, 12);
	drop_all(buffers, G_N_ELEMENTS(buffers));
	finish_explicit(&session);
}

/* One framebuffer, drawn in place: each commit has a point of its own, and what was committed later may be released earlier. When
 * no more can be under way, pictures wait, and the guest does not. */
static void test_in_place(void)
{
	struct session session;

	start_explicit(&session);
	session.mock.hold_releases = true;
	for (unsigned i = 0; i < 16; i++) {
		scanout_present_all(&session.scanout);
		step_until(&session, &session.mock.explicit_commits, i + 1);
		settle(&session);
	}
	g_assert_cmpuint(session.mock.n_params, ==, 1);
	for (int i = 0; i < 5; i++)
		scanout_present_all(&session.scanout);
	settle(&session);
	g_assert_cmpuint(session.mock.explicit_commits, ==, 16);
	g_assert_cmpuint(session.scanout.dropped, ==, 4);
	mock_signal(&session.mock, 9);
	step_until(&session, &session.mock.explicit_commits, 17);
	mock_signal(&session.mock, 0);
	mock_signal(&session.mock, 3);
	scanout_present_all(&session.scanout);
	step_until(&session, &session.mock.explicit_commits, 18);
	session.mock.hold_releases = false;
	mock_release_held(&session.mock);
	for (int i = 0; i < 20; i++)
		scanout_show(&session.scanout);
	finish_explicit(&session);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* A buffer that was committed twice is the compositor's until both commits are released, and so is the guest's memory. */
static void test_held_until_all(void)
{
	struct session session;

	start_explicit(&session);
	session.mock.hold_releases = true;
	for (unsigned i = 0; i < 2; i++)
		scanout_show(&session.scanout);
	struct vtr_buffer *first = another_buffer(&session);
	int fd = vtr_buffer_fd(first);
	vtr_buffer_drop(first);
	scanout_show(&session.scanout);
	g_assert_cmpuint(session.mock.n_points, ==, 2);
	mock_signal(&session.mock, 1);
	settle(&session);
	g_assert_true(is_open(fd));
	mock_signal(&session.mock, 0);
	while (is_open(fd))
		step(&session);
	finish_explicit(&session);
}

/* Released before the picture's callback comes: it counts as shown with that. */
static void test_released_early(void)
{
	struct session session;

	start_explicit(&session);
	session.mock.hold_callbacks = true;
	scanout_present_all(&session.scanout);
	step_until(&session, &session.mock.explicit_commits, 1);
	session.mock.points[session.mock.n_points++] = session.mock.current_release;
	session.mock.current_release = (struct mock_point){ 0 };
	mock_signal(&session.mock, 0);
	settle(&session);
	g_assert_cmpuint(session.scanout.done, ==, 0);
	mock_callbacks(&session.mock);
	scanout_run_until(&session.scanout, &session.scanout.done, 1);
	g_assert_cmpuint(session.scanout.dropped, ==, 0);
	finish_explicit(&session);
}

/* ---- what is no dmabuf, and what changes ---- */

/* Pixels have no points; when dmabufs are shown again, they have. */
static void test_mixed(void)
{
	struct session session;

	start_explicit(&session);
	scanout_show(&session.scanout);
	for (unsigned i = 0; i < 3; i++) {
		session.scanout.no_dmabuf = true;
		scanout_show(&session.scanout);
		while (!shows_pixels(&session))
			step(&session);
		g_assert_null(session.mock.sync);
		session.scanout.no_dmabuf = false;
		scanout_show(&session.scanout);
		g_assert_nonnull(session.mock.sync);
		struct vtr_frame *frame = vtr_output_begin_frame(session.scanout.output);
		frame->content = VTR_FRAME_BLANK;
		vtr_output_submit(session.scanout.output, frame);
		scanout_run_until(&session.scanout, &session.scanout.done, session.scanout.done + 1);
		scanout_show(&session.scanout);
		g_assert_cmpuint(session.mock.explicit_commits, ==, 1 + 2 * (i + 1));
	}
	finish_explicit(&session);
}

/* The window is resized, which commits without a buffer, and so without points. */
static void test_resized(void)
{
	struct wl_array states = { 0 };
	struct session session;

	start_explicit(&session);
	scanout_show(&session.scanout);
	xdg_toplevel_send_configure(session.mock.toplevel, 500, 400, &states);
	xdg_surface_send_configure(session.mock.xdg_surface, 2);
	while (session.mock.destination[0] != 500)
		step(&session);
	scanout_show(&session.scanout);
	g_assert_cmpuint(session.mock.explicit_commits, ==, 2);
	finish_explicit(&session);
}

/* The device fails: what is under way is still released by its points, what follows by wl_buffer.release. */
static void test_device_lost(void)
{
	struct vtr_buffer *buffers[3];
	struct session session;

	start_explicit(&session);
	session.mock.hold_releases = true;
	present_new(&session, buffers, 3);
	fake_syncobj_fail_watches();
	scanout_present_all(&session.scanout);
	step_until(&session, &session.mock.commits, 4);
	g_assert_true(logged("explicit synchronisation is not used any more"));
	g_assert_null(session.mock.sync);
	g_assert_cmpuint(session.mock.explicit_commits, ==, 3);
	g_assert_cmpuint(session.mock.n_points, ==, 3);
	session.mock.hold_releases = false;
	mock_release_held(&session.mock);
	for (int i = 0; i < 20; i++) { /* more than there is room for, if they did not come back */
		struct vtr_buffer *last = another_buffer(&session);

		scanout_show(&session.scanout);
		vtr_buffer_drop(last);
	}
	drop_all(buffers, G_N_ELEMENTS(buffers));
	finish_explicit(&session);
}

/* ---- ends ---- */

/* The window goes with points that are not signalled, and comes back; they are signalled then. */
static void test_moved_away(void)
{
	struct vtr_buffer *buffers[4];
	struct session session;

	start_explicit(&session);
	session.mock.hold_releases = true;
	present_new(&session, buffers, 4);
	session.headless = vtr_headless_create();
	g_assert_cmpint(vtr_output_move(session.scanout.output, session.headless), ==, 0);
	while (session.mock.content)
		step(&session);
	g_assert_cmpuint(fake_syncobj_handles(), ==, 1); /* the one that all commits wait for */
	session.mock.current_release = (struct mock_point){ 0 };
	g_assert_cmpint(vtr_output_move(session.scanout.output, session.scanout.display), ==, 0);
	while (!session.mock.content)
		step(&session);
	mock_release_held(&session.mock);
	session.mock.hold_releases = false;
	scanout_show(&session.scanout);
	g_assert_nonnull(session.mock.sync);
	drop_all(buffers, G_N_ELEMENTS(buffers));
	finish_explicit(&session);
}

/* The compositor dies, and nobody signals what it owed. */
static void test_compositor_dies(void)
{
	struct vtr_buffer *buffers[4];
	struct session session;

	start_explicit(&session);
	session.mock.hold_releases = true;
	present_new(&session, buffers, 4);
	session.headless = vtr_headless_create();
	vtr_outputs_set_fallback(session.scanout.outputs, session.headless);
	wl_client_destroy(session.mock.client);
	while (vtr_display_alive(session.scanout.display) ||
	       strcmp(vtr_output_display_name(session.scanout.output), "headless") != 0)
		step(&session);
	scanout_show(&session.scanout);
	drop_all(buffers, G_N_ELEMENTS(buffers));
	finish_explicit(&session);
}

int main(int argc, char **argv)
{
	g_autofree char *directory = session_init(&argc, &argv);

	for (size_t i = 0; i < G_N_ELEMENTS(kernels); i++) {
		g_autofree char *name = g_strconcat("/wayland-sync/kernel/", kernels[i].name, NULL);

		g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_kernel);
	}
	g_test_add_func("/wayland-sync/switched-off", test_switched_off);
	g_test_add_func("/wayland-sync/any-order", test_any_order);
	g_test_add_func("/wayland-sync/in-place", test_in_place);
	g_test_add_func("/wayland-sync/held-until-all", test_held_until_all);
	g_test_add_func("/wayland-sync/released-early", test_released_early);
	g_test_add_func("/wayland-sync/mixed", test_mixed);
	g_test_add_func("/wayland-sync/resized", test_resized);
	g_test_add_func("/wayland-sync/device-lost", test_device_lost);
	g_test_add_func("/wayland-sync/moved-away", test_moved_away);
	g_test_add_func("/wayland-sync/compositor-dies", test_compositor_dies);
	return session_run_tests(directory);
}
