/* SPDX-License-Identifier: MIT */
/* Lists of dmabuf formats, with the mock compositor: feedback of linux-dmabuf 4 and 5, for all windows and for one, that changes.
 */
#include "mock_session.h"

/* ---- lists of formats ---- */

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
	while (!logged("draws the guest's pictures, and says"))
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

int main(int argc, char **argv)
{
	g_autofree char *directory = session_init(&argc, &argv);

	g_test_add_func("/wayland-formats/feedback", test_feedback);
	g_test_add_func("/wayland-formats/surface-feedback", test_surface_feedback);
	g_test_add_func("/wayland-formats/same-feedback", test_same_feedback);
	g_test_add_func("/wayland-formats/implicit-modifier", test_implicit_modifier);
	g_test_add_func("/wayland-formats/list-changes-meanwhile", test_list_changes_meanwhile);
	return session_run_tests(directory);
}
