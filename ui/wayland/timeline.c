/* SPDX-License-Identifier: MIT */
/*
 * DRM timelines, the kernel's side of explicit synchronisation. A timeline is no driver's: what any node makes, the compositor's
 * can import. The node of the device that the compositor draws with is taken all the same, because it is there, and awake.
 *
 * libdrm of Debian 12 does not know DRM_IOCTL_SYNCOBJ_EVENTFD (Linux 6.6), without which we would have to wait in a thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xf86drm.h>

#include "util/fd.h"
#include "wayland/timeline.h"

#ifndef DRM_IOCTL_SYNCOBJ_EVENTFD
struct drm_syncobj_eventfd {
	uint32_t handle;
	uint32_t flags;
	uint64_t point;
	int32_t fd;
	uint32_t pad;
};
#define DRM_IOCTL_SYNCOBJ_EVENTFD DRM_IOWR(0xCF, struct drm_syncobj_eventfd)
#endif

enum { MAX_DEVICES = 16 };

int wayland_timeline_create(int node, uint32_t *handle, int *fd)
{
	if (drmSyncobjCreate(node, 0, handle) < 0)
		return -errno;
	if (drmSyncobjHandleToFD(node, *handle, fd) == 0)
		return 0;
	int error = -errno;
	drmSyncobjDestroy(node, *handle);
	return error;
}

int wayland_timeline_signal(int node, uint32_t handle, uint64_t point)
{
	return drmSyncobjTimelineSignal(node, &handle, &point, 1) < 0 ? -errno : 0;
}

int wayland_timeline_watch(int node, uint32_t handle, uint64_t point, int event_fd)
{
	struct drm_syncobj_eventfd watch = { .handle = handle, .point = point, .fd = event_fd };

	return drmIoctl(node, DRM_IOCTL_SYNCOBJ_EVENTFD, &watch) < 0 ? -errno : 0;
}

void wayland_timeline_destroy(int node, uint32_t handle)
{
	drmSyncobjDestroy(node, handle);
}

/* ---- a node that can ---- */

/* A point that is signalled wakes whoever watches it. */
static int try_watching(int node)
{
	struct pollfd poll_fd = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = POLLIN };
	uint32_t handle;
	int fd = -1, error;

	if (poll_fd.fd < 0)
		return -errno;
	error = wayland_timeline_create(node, &handle, &fd);
	if (!error) {
		error = wayland_timeline_signal(node, handle, 1);
		if (!error)
			error = wayland_timeline_watch(node, handle, 1, poll_fd.fd);
		if (!error && poll(&poll_fd, 1, 0) != 1)
			error = -EOPNOTSUPP;
		wayland_timeline_destroy(node, handle);
	}
	vtr_fd_close(&fd);
	vtr_fd_close(&poll_fd.fd);
	return error;
}

static int open_node(const char *path, struct vtr_error *error)
{
	int node = open(path, O_RDWR | O_CLOEXEC);
	uint64_t timelines = 0;

	if (node < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "%s: %s", path, strerror(errno));
	drmDropMaster(node); /* who opens a card that nobody shows anything on is its master */
	int code = drmGetCap(node, DRM_CAP_SYNCOBJ_TIMELINE, &timelines) < 0 || !timelines ? -EOPNOTSUPP : try_watching(node);
	if (!code)
		return node;
	vtr_fd_close(&node);
	return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, -code,
	                     "%s has no timelines that can be waited for (Linux 6.6 or newer has): %s", path, strerror(-code));
}

/* The render node needs no rights that a person at the desktop may not have. */
static int open_device(const drmDevice *device, struct vtr_error *error)
{
	if (device->available_nodes & 1 << DRM_NODE_RENDER)
		return open_node(device->nodes[DRM_NODE_RENDER], error);
	if (device->available_nodes & 1 << DRM_NODE_PRIMARY)
		return open_node(device->nodes[DRM_NODE_PRIMARY], error);
	return vtr_error_set(error, VTR_ERROR_HOST, ENOENT, "the DRM device has no node");
}

static int open_any(struct vtr_error *error)
{
	drmDevicePtr devices[MAX_DEVICES];
	int n = drmGetDevices2(0, devices, MAX_DEVICES), node = -1;

	vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "there is no DRM device (/dev/dri)");
	if (n <= 0)
		return -ENODEV;
	if (n > MAX_DEVICES)
		n = MAX_DEVICES;
	for (int i = 0; i < n && node < 0; i++)
		node = open_device(devices[i], error);
	drmFreeDevices(devices, n);
	return node;
}

int wayland_timeline_open(dev_t main, struct vtr_error *error)
{
	drmDevicePtr device;

	if (!main || drmGetDeviceFromDevId(main, 0, &device) != 0)
		return open_any(error);
	int node = open_device(device, error);
	drmFreeDevice(&device);
	return node >= 0 ? node : open_any(error);
}
