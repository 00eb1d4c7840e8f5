/* SPDX-License-Identifier: MIT */
#ifndef VTR_WAYLAND_SYNC_H
#define VTR_WAYLAND_SYNC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vitrine/error.h>

#include "linux-drm-syncobj-v1-client-protocol.h"

struct wayland_display;
struct wayland_import;
struct wayland_window;

/* ---- timeline.c: the kernel's part. 0 or -errno. ---- */

/* An fd of a DRM node whose timelines can be waited for in a loop: of the device main (0: not known), else of any. Or -errno, with
 * *error. */
int wayland_timeline_open(dev_t main, struct vtr_error *error);
/* A timeline on which nothing is signalled; *fd is the caller's. */
int wayland_timeline_create(int node, uint32_t *handle, int *fd);
int wayland_timeline_signal(int node, uint32_t handle, uint64_t point);
/* event_fd becomes readable when point is signalled, also when that has happened already. */
int wayland_timeline_watch(int node, uint32_t handle, uint64_t point, int event_fd);
void wayland_timeline_destroy(int node, uint32_t handle); /* what is waited for on it does not come any more */

/* ---- sync.c: linux-drm-syncobj-v1 ---- */

struct wayland_sync {
	struct wp_linux_drm_syncobj_manager_v1 *manager; /* NULL: the compositor has none */
	int node;                                        /* of DRM; -1: buffers are released implicitly */
	uint32_t handle;
	struct wp_linux_drm_syncobj_timeline_v1 *ready; /* its point 1 is signalled; NULL: explicit synchronisation is not used */
	bool failed;                                    /* nor is it from now on */
};

enum { WAYLAND_RELEASES = 16 };

/* A commit of a buffer that the compositor will tell the end of. */
struct wayland_release {
	struct wayland_window *window;
	struct wayland_import *import; /* NULL: none is waited for */
	uint32_t handle;
	struct wp_linux_drm_syncobj_timeline_v1 *timeline; /* NULL: this release was not used yet */
	uint64_t point;                                    /* the last one that was given away */
	int event_fd;
	struct vtr_source *source;
};

enum wayland_sync_result {
	WAYLAND_SYNC_IMPLICIT, /* wl_buffer.release will come */
	WAYLAND_SYNC_EXPLICIT, /* the release point will be signalled */
};

/* What the compositor has is known: says in the log what comes of it. */
void wayland_sync_start(struct wayland_display *display);
void wayland_sync_finish(struct wayland_display *display);
/* False: too many commits were not released yet; wayland_show() is called when one is. */
bool wayland_sync_ready(const struct wayland_window *window);
/* import's buffer is attached, and committed next. */
enum wayland_sync_result wayland_sync_commit(struct wayland_window *window, struct wayland_import *import);
/* A buffer that is no dmabuf is attached, and committed next. */
void wayland_sync_suspend(struct wayland_window *window);
void wayland_sync_forget(struct wayland_import *import); /* its releases are of no interest any more */
void wayland_sync_release_window(struct wayland_window *window);

#endif
