/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_USER_PROTOCOL_H
#define VTR_VFIO_USER_PROTOCOL_H

#include <assert.h>
#include <stdint.h>

/*
 * The vfio-user wire protocol, version 0.1: docs/interop/vfio-user.rst of QEMU, whose section names the comments give. All numbers
 * are in host byte order. Flags and indices that the protocol takes over from VFIO are those of <linux/vfio.h>; structures are
 * written out here because the kernel's have grown since.
 */
enum { VFIO_USER_MAJOR = 0, VFIO_USER_MINOR = 1 };

/* "Commands"; client to server but for the two DMA accesses */
enum vfio_user_command_id {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2,
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8,
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DMA_READ = 11,  /* server to client */
	VFIO_USER_DMA_WRITE = 12, /* server to client */
	VFIO_USER_DEVICE_RESET = 13,
	VFIO_USER_REGION_WRITE_MULTI = 15,
	VFIO_USER_DEVICE_FEATURE = 16,
	VFIO_USER_MIG_DATA_READ = 17,
	VFIO_USER_MIG_DATA_WRITE = 18,
};

/* "Header" */
enum {
	VFIO_USER_FLAG_TYPE = 0xf,
	VFIO_USER_TYPE_COMMAND = 0,
	VFIO_USER_TYPE_REPLY = 1,
	VFIO_USER_FLAG_NO_REPLY = 0x10,
	VFIO_USER_FLAG_ERROR = 0x20,
	VFIO_USER_FLAGS = VFIO_USER_FLAG_TYPE | VFIO_USER_FLAG_NO_REPLY | VFIO_USER_FLAG_ERROR,
};

struct vfio_user_header {
	uint16_t id; // the sender's; echoed in the reply
	uint16_t command;
	uint32_t size; // of the whole message
	uint32_t flags;
	uint32_t error; // errno, in a reply with VFIO_USER_FLAG_ERROR; may be 0
};
static_assert(sizeof(struct vfio_user_header) == 16, "vfio-user Header");

/* "VFIO_USER_VERSION": followed by JSON with its terminating NUL, or by nothing */
struct vfio_user_version {
	uint16_t major, minor;
};
static_assert(sizeof(struct vfio_user_version) == 4, "VFIO_USER_VERSION");

/* What a peer has when it does not say otherwise */
enum {
	VFIO_USER_DEFAULT_MAX_MSG_FDS = 1,
	VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE = 1048576,
	VFIO_USER_DEFAULT_MAX_DMA_MAPS = 65535,
	VFIO_USER_DEFAULT_PGSIZES = 4096,
};

/* "VFIO_USER_DMA_MAP"; at most one fd */
enum { VFIO_USER_DMA_READABLE = 1, VFIO_USER_DMA_WRITABLE = 2 };

struct vfio_user_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset; // in the fd; 0 without one
	uint64_t address;
	uint64_t size;
};
static_assert(sizeof(struct vfio_user_dma_map) == 32, "VFIO_USER_DMA_MAP");

/* "VFIO_USER_DMA_UNMAP", command and reply. Flags: VFIO_DMA_UNMAP_FLAG_* */
struct vfio_user_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t address;
	uint64_t size;
};
static_assert(sizeof(struct vfio_user_dma_unmap) == 24, "VFIO_USER_DMA_UNMAP");

/* "VFIO_USER_DEVICE_GET_INFO", command and reply. Flags: VFIO_DEVICE_FLAGS_* */
struct vfio_user_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
};
static_assert(sizeof(struct vfio_user_device_info) == 16, "VFIO_USER_DEVICE_GET_INFO");

/* "VFIO_USER_DEVICE_GET_REGION_INFO", command and reply; capabilities follow. Flags: VFIO_REGION_INFO_FLAG_* */
struct vfio_user_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t cap_offset; // of the first capability, from the beginning of this structure
	uint64_t size;
	uint64_t offset; // for mmap
};
static_assert(sizeof(struct vfio_user_region_info) == 32, "VFIO_USER_DEVICE_GET_REGION_INFO");

/* "VFIO cap header format" */
struct vfio_user_cap_header {
	uint16_t id; // VFIO_REGION_INFO_CAP_*
	uint16_t version;
	uint32_t next; // from the beginning of struct vfio_user_region_info; 0: the last
};
static_assert(sizeof(struct vfio_user_cap_header) == 8, "VFIO cap header");

/* "VFIO region info cap sparse mmap": nr_areas areas follow */
struct vfio_user_sparse_mmap {
	uint32_t nr_areas;
	uint32_t reserved;
};
struct vfio_user_sparse_mmap_area {
	uint64_t offset; // in the region
	uint64_t size;
};
static_assert(sizeof(struct vfio_user_sparse_mmap) == 8, "sparse mmap");
static_assert(sizeof(struct vfio_user_sparse_mmap_area) == 16, "sparse mmap area");

/* "VFIO_USER_DEVICE_GET_REGION_IO_FDS", command and reply; count sub-regions follow in the reply */
struct vfio_user_region_io_fds {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};
static_assert(sizeof(struct vfio_user_region_io_fds) == 16, "VFIO_USER_DEVICE_GET_REGION_IO_FDS");

/* "VFIO_USER_DEVICE_GET_IRQ_INFO", command and reply. Flags: VFIO_IRQ_INFO_* */
struct vfio_user_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};
static_assert(sizeof(struct vfio_user_irq_info) == 16, "VFIO_USER_DEVICE_GET_IRQ_INFO");

/* "VFIO_USER_DEVICE_SET_IRQS": with VFIO_IRQ_SET_DATA_BOOL count bytes follow; with DATA_EVENTFD count fds, or none, come along */
struct vfio_user_irq_set {
	uint32_t argsz;
	uint32_t flags; // VFIO_IRQ_SET_*
	uint32_t index;
	uint32_t start;
	uint32_t count;
};
static_assert(sizeof(struct vfio_user_irq_set) == 20, "VFIO_USER_DEVICE_SET_IRQS");

/* "VFIO_USER_REGION_READ" and "VFIO_USER_REGION_WRITE", commands and replies; count bytes follow in write and read's reply */
struct vfio_user_region_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
};
static_assert(sizeof(struct vfio_user_region_access) == 16, "VFIO_USER_REGION_READ");

/* "VFIO_USER_REGION_WRITE_MULTI": wr_cnt writes follow the count; the reply is the count */
struct vfio_user_write_multi {
	uint64_t wr_cnt;
};
struct vfio_user_single_write {
	struct vfio_user_region_access access; // count at most 8
	uint8_t data[8];
};
static_assert(sizeof(struct vfio_user_write_multi) == 8, "VFIO_USER_REGION_WRITE_MULTI");
static_assert(sizeof(struct vfio_user_single_write) == 24, "Single Device Write Format");

/* "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE", commands and replies; count bytes follow in write and read's reply */
struct vfio_user_dma_access {
	uint64_t address;
	uint64_t count;
};
static_assert(sizeof(struct vfio_user_dma_access) == 16, "VFIO_USER_DMA_READ");

/* "VFIO_USER_DEVICE_FEATURE", command and reply; the feature's data follow. Flags: VFIO_DEVICE_FEATURE_* */
struct vfio_user_device_feature {
	uint32_t argsz;
	uint32_t flags;
};
static_assert(sizeof(struct vfio_user_device_feature) == 8, "VFIO_USER_DEVICE_FEATURE");

#endif
