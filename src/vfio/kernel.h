/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_KERNEL_H
#define VTR_VFIO_KERNEL_H

#include <sys/types.h>

#include "vfio/backend.h"

/* The system calls that reach the device, so that a test can be the kernel. Both as in libc: -1 with errno. */
struct vtr_vfio_calls {
	int (*ioctl)(int fd, unsigned long request, void *argument);
	ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
};

extern const struct vtr_vfio_calls vtr_vfio_system_calls;

/* The kernel's own VFIO device. Takes fd, also on failure; calls by pointer. NULL when out of memory. */
struct vtr_vfio_backend *vtr_vfio_kernel_create(int fd, const struct vtr_vfio_calls *calls);

#endif
