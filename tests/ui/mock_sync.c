/* SPDX-License-Identifier: MIT */
/*
 * The mock compositor's linux-drm-syncobj-v1. What ends a connection by the protocol (invalid_timeline, surface_exists, no_surface,
 * unsupported_buffer, no_buffer, no_acquire_point, no_release_point, conflicting_points) ends the test.
 */
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "fake_syncobj.h"
#include "mock_compositor.h"

static int timeline_of(const struct mock *mock, const struct wl_resource *resource)
{
	for (size_t i = 0; i < mock->n_timelines; i++)
		if (mock->timelines[i].resource == resource)
			return mock->timelines[i].timeline;
	g_error("a timeline that was not imported");
}

static void import_timeline(struct mock *mock, struct wl_resource *made, int fd)
{
	struct mock_timeline *timeline = &mock->timelines[mock->n_timelines++];

	g_assert_cmpuint(mock->n_timelines, <=, MOCK_MAX);
	*timeline = (struct mock_timeline){ made, fake_syncobj_import(fd) };
	g_assert_cmpint(timeline->timeline, >=, 0);
	close(fd);
}

static void set_point(struct mock *mock, struct mock_point *point, const union wl_argument *arguments)
{
	g_assert_nonnull(mock->content);
	point->timeline = timeline_of(mock, (struct wl_resource *)arguments[0].o);
	point->point = (uint64_t)arguments[1].u << 32 | arguments[2].u;
	g_assert_cmpuint(point->point, !=, 0);
}

void mock_sync_request(struct mock *mock, struct wl_resource *resource, const char *name, const union wl_argument *arguments,
                       struct wl_resource *made)
{
	if (!strcmp(name, "import_timeline")) {
		import_timeline(mock, made, arguments[1].h);
	} else if (!strcmp(name, "get_surface")) {
		g_assert_null(mock->sync);
		g_assert_true((struct wl_resource *)arguments[1].o == mock->content);
		mock->sync = made;
	} else if (!strcmp(name, "set_acquire_point")) {
		set_point(mock, &mock->acquire, arguments);
	} else if (!strcmp(name, "set_release_point")) {
		set_point(mock, &mock->release, arguments);
	} else if (resource == mock->sync) {
		mock->acquire = mock->release = (struct mock_point){ 0 };
	}
}

/* No two commits under way share a timeline: they may be released in any order. */
static void check_alone(const struct mock *mock)
{
	g_assert_true(!mock->current_release.point || mock->current_release.timeline != mock->release.timeline);
	for (size_t i = 0; i < mock->n_points; i++)
		g_assert_cmpint(mock->points[i].timeline, !=, mock->release.timeline);
}

static void check_points(const struct mock *mock)
{
	g_assert_null(wl_shm_buffer_get(mock->attached));
	g_assert_cmpuint(mock->acquire.point, !=, 0);
	g_assert_cmpuint(mock->release.point, !=, 0);
	g_assert_true(mock->acquire.timeline != mock->release.timeline || mock->acquire.point < mock->release.point);
	g_assert_true(fake_syncobj_is_signalled(mock->acquire.timeline, mock->acquire.point)); /* a guest's picture is complete */
	g_assert_false(fake_syncobj_is_signalled(mock->release.timeline, mock->release.point));
	check_alone(mock);
}

void mock_sync_commit(struct mock *mock)
{
	bool buffer = mock->attach && mock->attached;

	if (!mock->sync || !buffer) {
		g_assert_cmpuint(mock->acquire.point, ==, 0);
		g_assert_cmpuint(mock->release.point, ==, 0);
	} else {
		check_points(mock);
		mock->explicit_commits++;
	}
	if (!mock->attach)
		return;
	if (mock->current_release.point) {
		g_assert_cmpuint(mock->n_points, <, MOCK_MAX);
		mock->points[mock->n_points++] = mock->current_release;
	}
	mock->current_release = mock->release;
	mock->acquire = mock->release = (struct mock_point){ 0 };
}

void mock_sync_forget(struct mock *mock, const struct wl_resource *resource)
{
	for (size_t i = 0; i < mock->n_timelines; i++)
		if (mock->timelines[i].resource == resource)
			mock->timelines[i--] = mock->timelines[--mock->n_timelines];
}

void mock_signal(struct mock *mock, size_t i)
{
	struct mock_point point = mock->points[i];

	mock->n_points--;
	memmove(&mock->points[i], &mock->points[i + 1], (mock->n_points - i) * sizeof(point));
	fake_syncobj_signal(point.timeline, point.point);
}
