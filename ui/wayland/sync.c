/* SPDX-License-Identifier: MIT */
/*
 * Explicit synchronisation: what a commit's buffer waits for before it is read, and what says that it was.
 *
 * The guest's pictures carry no fences (their dmabufs have none) and are complete when they come to us: every commit waits for the
 * same point, which was signalled before the first. What is won is the other end: with a surface object the compositor releases
 * each commit by a point of a timeline, precisely and without wl_buffer.release, which is not to be relied on any more.
 *
 *     unused --commit--> given away --signalled, eventfd readable--> unused
 *
 * A signalled point counts for all before it on its timeline, and compositors release in any order: so each commit under way has a
 * timeline of its own (struct wayland_release), which is used again, with the next point, when that commit is released. A buffer
 * that was committed twice is free when both are. There are WAYLAND_RELEASES of them; when all are given away, pictures wait. A
 * compositor that never signals holds up its window, and nothing else; one that dies leaves points that nobody waits for.
 *
 * The surface object is there only while dmabufs are shown: with it, every buffer needs points, and others than dmabufs may not
 * have any. When the kernel fails us, what follows is committed without, and wl_buffer.release counts again; what was given away
 * before is still released by its point.
 */
#include "wayland/sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/fd.h"
#include "wayland/timeline.h"
#include "wayland/wayland.h"

enum { READY_POINT = 1 };

/* ---- the display's part ---- */

static struct wp_linux_drm_syncobj_timeline_v1 *import_timeline(struct wayland_display *display, uint32_t *handle)
{
	int fd;

	if (wayland_timeline_create(display->sync.node, handle, &fd) < 0)
		return NULL;
	/* the compositor ends the connection over a timeline that it cannot import: it said that it can */
	struct wp_linux_drm_syncobj_timeline_v1 *timeline =
		wp_linux_drm_syncobj_manager_v1_import_timeline(display->sync.manager, fd);
	vtr_fd_close(&fd);
	return timeline;
}

static void end_timeline(struct wayland_display *display, struct wp_linux_drm_syncobj_timeline_v1 *timeline, uint32_t handle)
{
	wp_linux_drm_syncobj_timeline_v1_destroy(timeline);
	wayland_timeline_destroy(display->sync.node, handle);
}

static int start(struct wayland_display *display, struct vtr_error *error)
{
	struct wayland_sync *sync = &display->sync;
	int node = getenv("VITRINE_WAYLAND_IMPLICIT")
	                   ? vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ECANCELED, "VITRINE_WAYLAND_IMPLICIT is set")
	                   : wayland_timeline_open(display->formats.main_device, error);

	if (node < 0)
		return node;
	sync->node = node;
	sync->ready = import_timeline(display, &sync->handle);
	int code = sync->ready ? wayland_timeline_signal(node, sync->handle, READY_POINT) : -errno;
	return code ? vtr_error_set(error, VTR_ERROR_HOST, -code, "the kernel gives no timeline: %s", strerror(-code)) : 0;
}

void wayland_sync_start(struct wayland_display *display)
{
	struct vtr_error error;

	if (!display->sync.manager || !display->dmabuf)
		return;
	if (start(display, &error) == 0) {
		vtr_log(VTR_LOG_INFO, "wayland: buffers are released by DRM timelines");
		return;
	}
	wayland_sync_finish(display);
	vtr_log(VTR_LOG_INFO, "wayland: the compositor's explicit synchronisation is not used: %s", error.text);
}

void wayland_sync_finish(struct wayland_display *display)
{
	struct wayland_sync *sync = &display->sync;

	if (sync->ready)
		end_timeline(display, sync->ready, sync->handle);
	sync->ready = NULL;
	vtr_fd_close(&sync->node);
}

/* ---- a window's commits ---- */

static void end(struct wayland_release *release)
{
	if (!release->timeline)
		return;
	vtr_source_remove(release->source);
	vtr_fd_close(&release->event_fd);
	end_timeline(release->window->display, release->timeline, release->handle);
	*release = (struct wayland_release){ .event_fd = -1 };
}

static void signalled(int fd, uint32_t events, void *data)
{
	struct wayland_release *release = data;
	struct wayland_window *window = release->window;
	struct wayland_import *import = release->import;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) != sizeof(count) || !import)
		return;
	release->import = NULL;
	import->n_releases--;
	wayland_import_released(import);
	wayland_show(window);
	wayland_flush(window->display);
}

static int begin(struct wayland_window *window, struct wayland_release *release)
{
	struct wayland_display *display = window->display;

	*release = (struct wayland_release){ .window = window, .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (release->event_fd < 0)
		return -errno;
	release->source = vtr_loop_add_fd(display->base.loop, release->event_fd, EPOLLIN, signalled, release);
	release->timeline = release->source ? import_timeline(display, &release->handle) : NULL;
	if (release->timeline)
		return 0;
	int error = -errno;
	vtr_source_remove(release->source);
	vtr_fd_close(&release->event_fd);
	*release = (struct wayland_release){ .event_fd = -1 };
	return error;
}

/* One that is not given away, rather one that has a timeline already. */
static struct wayland_release *find(struct wayland_window *window)
{
	struct wayland_release *found = NULL;

	for (size_t i = 0; i < WAYLAND_RELEASES; i++) {
		struct wayland_release *release = &window->releases[i];

		if (!release->import && (!found || (release->timeline && !found->timeline)))
			found = release;
	}
	return found;
}

static bool in_use(const struct wayland_window *window)
{
	return window->display->sync.ready && !window->display->sync.failed;
}

bool wayland_sync_ready(const struct wayland_window *window)
{
	return !in_use(window) || find((struct wayland_window *)window);
}

static int watch_next(struct wayland_window *window, struct wayland_release *release)
{
	int error = release->timeline ? 0 : begin(window, release);

	if (error)
		return error;
	release->point++;
	return wayland_timeline_watch(window->display->sync.node, release->handle, release->point, release->event_fd);
}

static void set_points(struct wayland_window *window, const struct wayland_release *release)
{
	struct wayland_sync *sync = &window->display->sync;

	if (!window->sync)
		window->sync = wp_linux_drm_syncobj_manager_v1_get_surface(sync->manager, window->content);
	wp_linux_drm_syncobj_surface_v1_set_acquire_point(window->sync, sync->ready, 0, READY_POINT);
	wp_linux_drm_syncobj_surface_v1_set_release_point(window->sync, release->timeline, (uint32_t)(release->point >> 32),
	                                                  (uint32_t)release->point);
}

enum wayland_sync_result wayland_sync_commit(struct wayland_window *window, struct wayland_import *import)
{
	struct wayland_release *release = in_use(window) ? find(window) : NULL;
	int error = release ? watch_next(window, release) : 0;

	if (error) {
		vtr_log(VTR_LOG_WARN, "wayland: explicit synchronisation is not used any more: %s", strerror(-error));
		window->display->sync.failed = true;
		end(release);
	}
	if (!release || error) {
		wayland_sync_suspend(window);
		return WAYLAND_SYNC_IMPLICIT;
	}
	set_points(window, release);
	release->import = import;
	import->n_releases++;
	return WAYLAND_SYNC_EXPLICIT;
}

void wayland_sync_suspend(struct wayland_window *window)
{
	if (window->sync)
		wp_linux_drm_syncobj_surface_v1_destroy(window->sync);
	window->sync = NULL;
}

void wayland_sync_forget(struct wayland_import *import)
{
	for (size_t i = 0; import->n_releases && i < WAYLAND_RELEASES; i++)
		if (import->window->releases[i].import == import)
			end(&import->window->releases[i]);
	import->n_releases = 0;
}

void wayland_sync_release_window(struct wayland_window *window)
{
	wayland_sync_suspend(window);
	for (size_t i = 0; i < WAYLAND_RELEASES; i++)
		end(&window->releases[i]);
}
