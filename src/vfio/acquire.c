/* SPDX-License-Identifier: MIT */
#include "vfio/acquire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

/*
 * Theory of operation
 *
 * An assigned device belongs to a VMM, and VFIO gives it to one opener. There are three ways to it all the same, and
 * vtr_vfio_acquire() is the place where the admin says which:
 *
 *   fd=   whoever starts us passes it. No rights needed.
 *   pid=  acquire_process.c takes a duplicate out of the running VMM. Works with any VMM, unmodified; needs the right to debug it.
 *   bdf=  acquire_open.c opens the device, which is free: for a VMM that gets it from us, and for tests.
 *
 * All end with one fd that stands for the open device by itself: the kernel keeps group, container and IOMMU context alive with it.
 */

bool vtr_vfio_parse_bdf(const char *text, char bdf[VTR_VFIO_BDF])
{
	unsigned domain = 0, bus, slot, function;
	int end = 0;

	/* no blanks, signs or 0x, which sscanf() would take */
	if (strlen(text) >= VTR_VFIO_BDF || text[strspn(text, "0123456789abcdefABCDEF:.")])
		return false;
	if (!(sscanf(text, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &end) == 4 && !text[end])) {
		domain = 0;
		if (!(sscanf(text, "%x:%x.%x%n", &bus, &slot, &function, &end) == 3 && !text[end]))
			return false;
	}
	if (domain > 0xfffff || bus > 0xff || slot > 0x1f || function > 7)
		return false;
	snprintf(bdf, VTR_VFIO_BDF, "%04x:%02x:%02x.%x", domain, bus, slot, function);
	return true;
}

/* The whole of text as a number from 0 on; -1 when it is none. */
static int parse_number(const char *text)
{
	char *end;

	errno = 0;
	long value = strtol(text, &end, 10);
	return errno || end == text || *end || value < 0 || value > INT32_MAX || *text == '+' || *text == ' ' ? -1 : (int)value;
}

static int bad_text(const char *text, struct vtr_error *error)
{
	return vtr_error_set(error, VTR_ERROR_HOST, EINVAL,
	                     "\"%s\" names no device: fd=N, pid=PID[,device=BDF] or bdf=BDF is expected, "
	                     "with a BDF as in 0000:01:00.0",
	                     text);
}

static int take_fd(const struct vtr_vfio_host *host, int fd, struct vtr_error *error)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, EBADF, "fd %d is not open: whoever starts this has to pass it on", fd);
	if (!vtr_vfio_fd_is_device(host, "self", fd))
		return vtr_error_set(
			error, VTR_ERROR_HOST, ENODEV,
			"fd %d is no VFIO device: pass what VFIO_GROUP_GET_DEVICE_FD returned, or an open /dev/vfio/devices/vfioN",
			fd);
	if (fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "fd %d: %s", fd, strerror(errno));
	return fd;
}

/* PID[,device=BDF] */
static int take_from_process(const struct vtr_vfio_host *host, const char *text, const char *value, struct vtr_error *error)
{
	char number[16], bdf[VTR_VFIO_BDF];
	const char *comma = strchr(value, ','), *device = NULL;
	size_t length = comma ? (size_t)(comma - value) : strlen(value);

	if (length >= sizeof(number))
		return bad_text(text, error);
	memcpy(number, value, length);
	number[length] = '\0';
	if (comma) {
		if (strncmp(comma, ",device=", 8) != 0 || !vtr_vfio_parse_bdf(comma + 8, bdf))
			return bad_text(text, error);
		device = bdf;
	}
	int pid = parse_number(number);
	return pid > 0 ? vtr_vfio_acquire_process(host, pid, device, error) : bad_text(text, error);
}

int vtr_vfio_host_acquire(const struct vtr_vfio_host *host, const char *text, struct vtr_error *error)
{
	const char *value = strchr(text, '=');
	char bdf[VTR_VFIO_BDF];

	if (!value)
		return bad_text(text, error);
	value++;
	if (strncmp(text, "fd=", 3) == 0 && parse_number(value) >= 0)
		return take_fd(host, parse_number(value), error);
	if (strncmp(text, "pid=", 4) == 0)
		return take_from_process(host, text, value, error);
	if (strncmp(text, "bdf=", 4) == 0 && vtr_vfio_parse_bdf(value, bdf))
		return vtr_vfio_acquire_open(host, bdf, error);
	if (strncmp(text, "vfio-user=", 10) == 0)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL,
		                     "\"%s\" cannot be taken: a vfio-user device has one client, its VMM, which announces its "
		                     "memory by itself: nothing needs to be assigned",
		                     text);
	return bad_text(text, error);
}

static int system_ioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

static int system_pidfd_open(pid_t pid, unsigned flags)
{
	return pidfd_open(pid, flags);
}

static int system_pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	return pidfd_getfd(pidfd, fd, flags);
}

const struct vtr_vfio_host vtr_vfio_this_host = {
	.proc = "/proc",
	.sys = "/sys",
	.dev = "/dev",
	.ioctl = system_ioctl,
	.pidfd_open = system_pidfd_open,
	.pidfd_getfd = system_pidfd_getfd,
};

int vtr_vfio_acquire(const char *text, struct vtr_error *error)
{
	return vtr_vfio_host_acquire(&vtr_vfio_this_host, text, error);
}
