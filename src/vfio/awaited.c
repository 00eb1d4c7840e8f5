/* SPDX-License-Identifier: MIT */
#include "vfio/awaited.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include <vitrine/log.h>

#include "util/fd.h"

/*
 * Theory of operation
 *
 * A VMM connects to us before it has opened the devices that it assigns, and whoever starts both names them before either runs. So
 * a device that is not there yet is no mistake, as long as what it will come from is there: the process of pid=, or the fd of fd=,
 * which answers once the VMM has bound it to an IOMMU.
 *
 * Nobody tells when that happens. But a VMM that assigns a device maps memory afterwards, so every change of the map is a reason to
 * look; at most one look in RETRY_NS, because at its start a VMM changes the map hundreds of times.
 *
 * A process that ends takes its number with it, and another may get that: pidfd stands for the one that was named.
 */

#define RETRY_NS UINT64_C(100000000)

/* Is the process that was named still that process? */
static bool is_running(int pidfd)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

	return pidfd < 0 || poll(&poll_fd, 1, 0) == 0;
}

static int ended(struct vtr_error *error)
{
	return vtr_error_set(error, VTR_ERROR_HOST, ESRCH, "the process has ended");
}

/* These three take what is there: 0, -EAGAIN with the reason in device->why when it may come, or -errno. */

static int add(struct vtr_vfio_awaited *awaited, struct vtr_vfio_awaited_device *device, int fd, struct vtr_error *error)
{
	if (vtr_vfio_assigned_add(awaited->assigned, fd, error))
		return 0;
	if (error->code != EINVAL)
		return -error->code;
	device->why = *error; // not bound to an IOMMU
	return -EAGAIN;
}

static int try_process(struct vtr_vfio_awaited *awaited, struct vtr_vfio_awaited_device *device, struct vtr_error *error)
{
	if (!is_running(device->pidfd))
		return ended(error);
	int fd = vtr_vfio_acquire(device->text, error);
	if (!is_running(device->pidfd)) {
		vtr_fd_close(&fd);
		return ended(error);
	}
	if (fd >= 0)
		return add(awaited, device, fd, error);
	if (fd != -ENODEV)
		return fd;
	device->why = *error;
	return -EAGAIN;
}

static int try_fd(struct vtr_vfio_awaited *awaited, struct vtr_vfio_awaited_device *device, struct vtr_error *error)
{
	int fd = fcntl(device->fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "%s: %s", device->text, strerror(errno));
	return add(awaited, device, fd, error);
}

static int try(struct vtr_vfio_awaited *awaited, struct vtr_vfio_awaited_device *device, struct vtr_error *error)
{
	return device->fd >= 0 ? try_fd(awaited, device, error) : try_process(awaited, device, error);
}

static void finish(struct vtr_vfio_awaited_device *device)
{
	vtr_fd_close(&device->pidfd);
	vtr_fd_close(&device->fd);
}

static void try_all(void *data)
{
	struct vtr_vfio_awaited *awaited = data;
	size_t kept = 0;

	awaited->tried_ns = vtr_now_ns();
	for (size_t i = 0; i < awaited->count; i++) {
		struct vtr_vfio_awaited_device *device = &awaited->items[i];
		struct vtr_error error = { 0 };
		int code = try(awaited, device, &error);

		if (code == -EAGAIN) {
			awaited->items[kept++] = *device;
			continue;
		}
		if (code)
			vtr_log(VTR_LOG_WARN, "%s is awaited no more: %s", device->text, error.text);
		finish(device);
	}
	awaited->count = kept;
}

void vtr_vfio_awaited_poke(struct vtr_vfio_awaited *awaited)
{
	if (awaited->count)
		vtr_timer_arm(awaited->timer, awaited->tried_ns + RETRY_NS);
}

/* Fills device with what text names. 0 or -errno. */
static int name(struct vtr_vfio_awaited_device *device, const char *text, struct vtr_error *error)
{
	*device = (struct vtr_vfio_awaited_device){ .pidfd = -1, .fd = -1 };
	if ((size_t)snprintf(device->text, sizeof(device->text), "%s", text) >= sizeof(device->text))
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "\"%.32s...\" names no device", text);
	if (strncmp(text, "pid=", 4) == 0)
		device->pidfd = pidfd_open((pid_t)strtol(text + 4, NULL, 10), 0); // -1: acquiring says why
	if (strncmp(text, "fd=", 3) == 0)
		device->fd = vtr_vfio_acquire(text, error);
	return device->fd < -1 ? device->fd : 0;
}

int vtr_vfio_awaited_acquire(struct vtr_vfio_awaited *awaited, const char *text, struct vtr_error *error)
{
	struct vtr_vfio_awaited_device device;
	int code = name(&device, text, error);

	if (!code)
		code = try(awaited, &device, error);
	if (code == -EAGAIN && awaited->count < VTR_MAX_VFIO_DEVICES && (device.pidfd >= 0 || device.fd >= 0)) {
		vtr_log(VTR_LOG_INFO, "%s is awaited: %s", device.text, device.why.text);
		awaited->items[awaited->count++] = device;
		return 1;
	}
	finish(&device);
	return code == -EAGAIN ? -error->code : code;
}

int vtr_vfio_awaited_init(struct vtr_vfio_awaited *awaited, struct vtr_loop *loop, struct vtr_vfio_assigned *assigned)
{
	*awaited = (struct vtr_vfio_awaited){ .assigned = assigned, .timer = vtr_loop_add_timer(loop, try_all, awaited) };
	return awaited->timer ? 0 : -errno;
}

void vtr_vfio_awaited_finish(struct vtr_vfio_awaited *awaited)
{
	for (size_t i = 0; i < awaited->count; i++)
		finish(&awaited->items[i]);
	awaited->count = 0;
	vtr_source_remove(awaited->timer);
}
