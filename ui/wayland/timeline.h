/* SPDX-License-Identifier: MIT */
#ifndef VTR_WAYLAND_TIMELINE_H
#define VTR_WAYLAND_TIMELINE_H

#include <stdint.h>
#include <sys/types.h>

#include <vitrine/error.h>

/* DRM timelines: the kernel's part of explicit synchronisation. What is an int returns 0 or -errno where nothing else is said. */

/* An fd of a DRM node whose timelines can be waited for in a loop: of the device main (0: not known), else of any. Or -errno, with
 * *error. */
int wayland_timeline_open(dev_t main, struct vtr_error *error);
/* A timeline on which nothing is signalled; *fd is the caller's. */
int wayland_timeline_create(int node, uint32_t *handle, int *fd);
int wayland_timeline_signal(int node, uint32_t handle, uint64_t point);
/* event_fd becomes readable when point is signalled, also when that has happened already. */
int wayland_timeline_watch(int node, uint32_t handle, uint64_t point, int event_fd);
void wayland_timeline_destroy(int node, uint32_t handle); /* what is waited for on it does not come any more */

#endif
