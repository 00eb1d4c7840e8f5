/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_AWAITED_H
#define VTR_VFIO_AWAITED_H

#include <vitrine/limits.h>
#include <vitrine/vfio.h>

/*
 * Devices that somebody has named and that cannot be had yet: a process that runs has not opened its device, or an fd is not bound
 * to an IOMMU. Embedded in vtr_vfio_assigned.
 */
struct vtr_vfio_awaited {
	struct vtr_vfio_assigned *assigned;
	struct vtr_source *timer; // the next try
	uint64_t tried_ns;        // the last one
	size_t count;
	struct vtr_vfio_awaited_device {
		char text[64];
		int pidfd; // of the process that pid= names, which its number alone would not be; -1
		int fd;    // of fd=; -1
		struct vtr_error why;
	} items[VTR_MAX_VFIO_DEVICES];
};

/* 0, or -errno when there is no memory or fd for it. */
int vtr_vfio_awaited_init(struct vtr_vfio_awaited *awaited, struct vtr_loop *loop, struct vtr_vfio_assigned *assigned);
void vtr_vfio_awaited_finish(struct vtr_vfio_awaited *awaited);

/* As vtr_vfio_assigned_acquire(). */
int vtr_vfio_awaited_acquire(struct vtr_vfio_awaited *awaited, const char *text, struct vtr_error *error);
/* Something has happened: tries again, soon. */
void vtr_vfio_awaited_poke(struct vtr_vfio_awaited *awaited);

#endif
