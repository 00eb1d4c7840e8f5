/* SPDX-License-Identifier: MIT */
#include "vfio/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/fd.h"

/*
 * The backend for a device that this machine's kernel has: ioctls on the device's fd, and all regions in that one file. What is
 * interrupted by a signal is asked again; nothing else is interpreted here.
 */

struct kernel {
	struct vtr_vfio_backend base;
	int fd; // owned
	const struct vtr_vfio_calls *calls;
};

static struct kernel *kernel_from_backend(struct vtr_vfio_backend *backend)
{
	return (struct kernel *)backend;
}

static int call(struct vtr_vfio_backend *backend, unsigned long request, void *argument)
{
	struct kernel *kernel = kernel_from_backend(backend);
	int result;

	do
		result = kernel->calls->ioctl(kernel->fd, request, argument);
	while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : result;
}

static int device_info(struct vtr_vfio_backend *backend, struct vfio_device_info *info)
{
	int result = call(backend, VFIO_DEVICE_GET_INFO, info);

	return result < 0 ? result : 0;
}

static int region_info(struct vtr_vfio_backend *backend, struct vfio_region_info *info, int *fd)
{
	int result = call(backend, VFIO_DEVICE_GET_REGION_INFO, info);

	*fd = result < 0 ? -1 : kernel_from_backend(backend)->fd;
	return result < 0 ? result : 0;
}

static int feature(struct vtr_vfio_backend *backend, struct vfio_device_feature *request)
{
	return call(backend, VFIO_DEVICE_FEATURE, request);
}

static int read_region(struct vtr_vfio_backend *backend, uint32_t index, uint64_t start, uint64_t offset, void *buffer, size_t size)
{
	struct kernel *kernel = kernel_from_backend(backend);
	ssize_t length;

	do
		length = kernel->calls->pread(kernel->fd, buffer, size, (off_t)(start + offset));
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	return (size_t)length == size ? 0 : -EIO;
}

static void destroy(struct vtr_vfio_backend *backend)
{
	struct kernel *kernel = kernel_from_backend(backend);

	vtr_fd_close(&kernel->fd);
	free(kernel);
}

static const struct vtr_vfio_backend_impl kernel_impl = {
	.dmabuf_remedy = "that takes vfio-pci of Linux 6.19 or newer with CONFIG_VFIO_PCI_DMABUF",
	.device_info = device_info,
	.region_info = region_info,
	.feature = feature,
	.read = read_region,
	.destroy = destroy,
};

struct vtr_vfio_backend *vtr_vfio_kernel_create(int fd, const struct vtr_vfio_calls *calls)
{
	struct kernel *kernel = malloc(sizeof(*kernel));

	if (!kernel) {
		vtr_fd_close(&fd);
		return NULL;
	}
	*kernel = (struct kernel){ .base.impl = &kernel_impl, .fd = fd, .calls = calls };
	return &kernel->base;
}

static int system_ioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

const struct vtr_vfio_calls vtr_vfio_system_calls = { .ioctl = system_ioctl, .pread = pread };
