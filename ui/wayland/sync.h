/* SPDX-License-Identifier: MIT */
#ifndef VTR_WAYLAND_SYNC_H
#define VTR_WAYLAND_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "linux-drm-syncobj-v1-client-protocol.h"

struct vtr_source;
struct wayland_display;
struct wayland_import;
struct wayland_window;

/* linux-drm-syncobj-v1: commits whose end the compositor tells by a timeline of the kernel. */

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
