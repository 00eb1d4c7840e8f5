/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_BACKEND_H
#define VTR_VFIO_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio/uapi.h"

/*
 * How a VFIO device is talked to: the structures are those of linux/vfio.h, whoever answers. Everything that comes back is checked
 * by the caller, because a backend may be another process. All functions are mandatory; each returns 0 or -errno unless it says
 * otherwise.
 */
struct vtr_vfio_backend;

struct vtr_vfio_backend_impl {
	int (*device_info)(struct vtr_vfio_backend *backend, struct vfio_device_info *info);
	/* info->argsz bytes are the caller's; in the answer argsz is what it takes. *fd is where the region can be mapped
	 * (borrowed, at info->offset), or -1. */
	int (*region_info)(struct vtr_vfio_backend *backend, struct vfio_region_info *info, int *fd);
	/* VFIO_DEVICE_FEATURE: what the ioctl returns, so an fd for one that makes an fd. */
	int (*feature)(struct vtr_vfio_backend *backend, struct vfio_device_feature *feature);
	/* Exactly size bytes at offset of a region, which begins at start in the device's file where it is one. */
	int (*read)(struct vtr_vfio_backend *backend, uint32_t index, uint64_t start, uint64_t offset, void *buffer, size_t size);
	void (*destroy)(struct vtr_vfio_backend *backend);

	/* What makes dmabufs of such a device where it does not make them, for messages. */
	const char *dmabuf_remedy;
	/* Regions' fds come from another process: they are looked at before anybody maps them. */
	bool foreign_fds;
};

struct vtr_vfio_backend {
	const struct vtr_vfio_backend_impl *impl;
};

#endif
