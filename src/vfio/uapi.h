/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_UAPI_H
#define VTR_VFIO_UAPI_H

#include <assert.h>
#include <linux/ioctl.h>
#include <linux/vfio.h>
#include <stdint.h>

/*
 * What the kernel's user interface has and older headers of it lack, by our own names: a program built on an old distribution runs
 * on a new kernel. Nothing here needs the kernel to have it.
 */

/* VFIO_DEVICE_FEATURE_DMA_BUF (Linux 6.19): with GET, the ioctl returns the dmabuf's fd. */
enum { VTR_VFIO_FEATURE_DMA_BUF = 11 };

struct vtr_vfio_dma_range { // struct vfio_region_dma_range
	uint64_t offset;    // in the region; both on page borders of the host
	uint64_t length;
};

struct vtr_vfio_feature_dma_buf { // struct vfio_device_feature_dma_buf
	uint32_t region_index;
	uint32_t open_flags; // of the fd
	uint32_t flags;      // 0
	uint32_t nr_ranges;
	struct vtr_vfio_dma_range dma_ranges[];
};

static_assert(sizeof(struct vtr_vfio_dma_range) == 16, "struct vfio_region_dma_range");
static_assert(sizeof(struct vtr_vfio_feature_dma_buf) == 16, "struct vfio_device_feature_dma_buf");

/* Device nodes in /dev/vfio/devices (Linux 6.6). */
struct vtr_vfio_bind_iommufd { // struct vfio_device_bind_iommufd
	uint32_t argsz;
	uint32_t flags; // 0
	int32_t iommufd;
	uint32_t out_devid;
};

static_assert(sizeof(struct vtr_vfio_bind_iommufd) == 16, "struct vfio_device_bind_iommufd");
#define VTR_VFIO_DEVICE_BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)

#endif
