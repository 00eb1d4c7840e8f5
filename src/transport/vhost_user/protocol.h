/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_PROTOCOL_H
#define VTR_VHOST_USER_PROTOCOL_H

#include <assert.h>
#include <linux/types.h>

/*
 * The vhost-user protocol on the wire (QEMU, docs/interop/vhost-user.rst), as both ends here speak it. Host byte order; the names
 * are the specification's. No logic.
 */

/* "Header" */
struct vhost_user_header {
	__u32 request;
	__u32 flags; /* VHOST_USER_* below */
	__u32 size;  /* of the payload, bytes */
};
static_assert(sizeof(struct vhost_user_header) == 12, "vhost-user header");

enum {
	VHOST_USER_VERSION = 1,
	VHOST_USER_VERSION_MASK = 3,
	VHOST_USER_REPLY = 1 << 2,
	VHOST_USER_NEED_REPLY = 1 << 3, /* with REPLY_ACK: answer with a u64, 0 for success */
};

/* "Front-end message types" */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
};

/* "Back-end message types": on the channel of SET_BACKEND_REQ_FD */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_IOTLB_MSG = 1,
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	VHOST_USER_BACKEND_VRING_CALL = 4,
	VHOST_USER_BACKEND_VRING_ERR = 5,
	VHOST_USER_BACKEND_SHARED_OBJECT_ADD = 6,
	VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHOST_USER_BACKEND_SHMEM_MAP = 9,
	VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
};

/* Bits of GET_FEATURES besides the virtio device's own. */
enum {
	VHOST_F_LOG_ALL_BIT = 26,
	VHOST_USER_F_PROTOCOL_FEATURES = 30,
};

/* "Protocol features" */
enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_F_RARP = 2,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_MTU = 4,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_CROSS_ENDIAN = 6,
	VHOST_USER_PROTOCOL_F_CRYPTO_SESSION = 7,
	VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
	VHOST_USER_PROTOCOL_F_XEN_MMAP = 17,
	VHOST_USER_PROTOCOL_F_SHARED_OBJECT = 18,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
	VHOST_USER_PROTOCOL_F_GPA_ADDRESSES = 21,
	VHOST_USER_PROTOCOL_F_SHMEM = 22,
};

/* "A vring state description": index and a number; also SET_VRING_ENABLE. */
struct vhost_user_vring_state {
	__u32 index;
	__u32 num;
};
static_assert(sizeof(struct vhost_user_vring_state) == 8, "vring state");

/* "A vring address description" */
struct vhost_user_vring_addr {
	__u32 index;
	__u32 flags;
	__u64 descriptor; /* ring addresses: user addresses of the front-end; IOVAs with ACCESS_PLATFORM; else guest-physical with
	                   * GPA_ADDRESSES */
	__u64 used;
	__u64 available;
	__u64 log; /* guest-physical */
};
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "vring address");

/* SET_VRING_KICK, _CALL, _ERR: a u64 */
enum {
	VHOST_USER_VRING_INDEX_MASK = 0xff,
	VHOST_USER_VRING_NOFD_MASK = 0x100, /* no fd comes along: poll, or none */
};

/* "Memory region description" */
struct vhost_user_memory_region {
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr; /* guest-physical with GPA_ADDRESSES */
	__u64 mmap_offset;    /* of the region in its fd */
};
static_assert(sizeof(struct vhost_user_memory_region) == 32, "memory region");

enum { VHOST_USER_MEMORY_BASELINE_NREGIONS = 8 };

/* "Multiple memory regions description": SET_MEM_TABLE, an fd for each */
struct vhost_user_memory {
	__u32 nregions;
	__u32 padding;
	struct vhost_user_memory_region regions[VHOST_USER_MEMORY_BASELINE_NREGIONS]; /* as many as nregions are sent */
};
static_assert(sizeof(struct vhost_user_memory) == 8 + 8 * 32, "memory table");

/* "Single memory region description": ADD_MEM_REG and REM_MEM_REG */
struct vhost_user_mem_reg {
	__u64 padding;
	struct vhost_user_memory_region region;
};
static_assert(sizeof(struct vhost_user_mem_reg) == 40, "single memory region");

/* "An IOTLB message": struct vhost_iotlb_msg. On the wire with its padding. */
struct vhost_user_iotlb {
	__u64 iova;
	__u64 size;
	__u64 uaddr; /* of the front-end; guest-physical in IOTLB_MSG with GPA_ADDRESSES */
	__u8 perm;   /* VHOST_USER_IOTLB_ACCESS_* */
	__u8 type;   /* enum vhost_user_iotlb_type */
	__u8 padding[6];
};
static_assert(sizeof(struct vhost_user_iotlb) == 32, "IOTLB message");

enum {
	VHOST_USER_IOTLB_ACCESS_RO = 1,
	VHOST_USER_IOTLB_ACCESS_WO = 2,
	VHOST_USER_IOTLB_ACCESS_RW = 3,
};

enum vhost_user_iotlb_type {
	VHOST_USER_IOTLB_MISS = 1,
	VHOST_USER_IOTLB_UPDATE = 2,
	VHOST_USER_IOTLB_INVALIDATE = 3,
	VHOST_USER_IOTLB_ACCESS_FAIL = 4,
	VHOST_USER_IOTLB_BATCH_BEGIN = 5, /* of <linux/vhost_types.h>; not for vhost-user */
	VHOST_USER_IOTLB_BATCH_END = 6,
};

/* "Virtio device config space": GET_CONFIG and SET_CONFIG; size bytes of configuration follow */
struct vhost_user_config {
	__u32 offset;
	__u32 size;
	__u32 flags;
};
static_assert(sizeof(struct vhost_user_config) == 12, "configuration space");

enum { VHOST_USER_MAX_CONFIG_SIZE = 256 };

/* "Inflight description" */
struct vhost_user_inflight {
	__u64 mmap_size;
	__u64 mmap_offset;
	__u16 num_queues;
	__u16 queue_size;
	__u8 padding[4];
};
static_assert(sizeof(struct vhost_user_inflight) == 24, "inflight description");

/* "Inflight I/O tracking", split virtqueue: in the shared memory, a region for each queue */
struct vhost_user_inflight_desc {
	__u8 inflight;
	__u8 padding[5];
	__u16 next;    /* maintained by the specification's algorithm; not needed for resuming */
	__u64 counter; /* order in which they were fetched */
};
static_assert(sizeof(struct vhost_user_inflight_desc) == 16, "inflight descriptor");

struct vhost_user_inflight_queue {
	__u64 features;
	__u16 version;  /* 1 */
	__u16 desc_num; /* the queue's size */
	__u16 last_batch_head;
	__u16 used_idx;
	struct vhost_user_inflight_desc desc[];
};
static_assert(sizeof(struct vhost_user_inflight_queue) == 16, "inflight queue region");

/* "Back-end message: shared objects": a UUID, and for GET_SHARED_OBJECT and LOOKUP an fd in the reply */
struct vhost_user_shared {
	__u8 uuid[16];
};
static_assert(sizeof(struct vhost_user_shared) == 16, "shared object");

/* VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG */
struct vhost_user_vring_area {
	__u64 index;
	__u64 size;
	__u64 offset;
};
static_assert(sizeof(struct vhost_user_vring_area) == 24, "vring area");

/* "VIRTIO shared memory regions": GET_SHMEM_CONFIG's reply, and SHMEM_MAP, SHMEM_UNMAP */
enum { VHOST_USER_MAX_SHMEM_REGIONS = 256 };

struct vhost_user_shmem_config {
	__u32 nregions; /* whose sizes are not 0 */
	__u32 padding;
	__u64 memory_sizes[VHOST_USER_MAX_SHMEM_REGIONS];
};
static_assert(sizeof(struct vhost_user_shmem_config) == 8 + 8 * 256, "shared memory configuration");

struct vhost_user_mmap {
	__u8 shmid;
	__u8 padding[7];
	__u64 fd_offset;
	__u64 shm_offset;
	__u64 len;
	__u64 flags; /* 0, or VHOST_USER_FLAG_MAP_RW */
};
static_assert(sizeof(struct vhost_user_mmap) == 40, "shared memory mapping");

enum { VHOST_USER_FLAG_MAP_RW = 1 };

/* The largest payload of any message: SHMEM's configuration, a configuration space, or a memory table. */
enum { VHOST_USER_MAX_PAYLOAD = 4096, VHOST_USER_MAX_FDS = 8 };

#endif
