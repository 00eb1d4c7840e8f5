/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_TRANSPORT_H
#define VITRINE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/error.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/virtio.h>

/*
 * vfio-user, server: the device as a PCI function for QEMU >= 10.1 (vfio-user-pci), cloud-hypervisor and our own client.
 *
 * One client at a time; the next one in the backlog is served when it leaves. A client that leaves, for whatever reason, takes its
 * memory with it; the last picture stays until the next client has agreed on a version, which finds a device as after power-on. A
 * request that is well-formed and wrong gets an error reply; a message that
 * is malformed loses the connection.
 */
struct vtr_vfio_user_server;

struct vtr_vfio_user_status {
	bool connected;
	uint64_t connections;   /* so far */
	uint64_t messages;      /* received, of all connections */
	uint64_t bytes_fetched; /* by DMA_READ */
	uint32_t peer_pid;      /* of the connected client, 0 if unknown */
};

/* Listens on the UNIX socket path (created with mode 0600; a stale socket is replaced, a live one is -EADDRINUSE), or serves the
 * already connected or listening fd (taken). memory is filled by the client's DMA_MAPs. class_code: PCI class, 24 bits.
 * NULL with errno. */
VTR_API struct vtr_vfio_user_server *vtr_vfio_user_server_create(struct vtr_loop *loop, const char *path, int fd,
                                                                 struct vtr_virtio_device *device, uint32_t class_code,
                                                                 struct vtr_memory *memory);
/* Calls func, once, when no client can come any more: the connected socket that the server was given has closed. */
VTR_API void vtr_vfio_user_server_on_end(struct vtr_vfio_user_server *server, void (*func)(void *data), void *data);
/* Calls func whenever a client has left: its memory is gone, and of its guest only the last picture is left. */
VTR_API void vtr_vfio_user_server_on_leave(struct vtr_vfio_user_server *server, void (*func)(void *data), void *data);
VTR_API void vtr_vfio_user_server_destroy(struct vtr_vfio_user_server *server); /* removes the socket; NULL is fine */
VTR_API void vtr_vfio_user_server_status(const struct vtr_vfio_user_server *server, struct vtr_vfio_user_status *status);

/*
 * vhost-user, back-end: the device for VMMs that have the PCI function and the virtio configuration themselves and hand memory and
 * rings over: QEMU (vhost-user-gpu-pci, vhost-user-test-device-pci), crosvm, libkrun and our own front-end.
 *
 * One front-end at a time, as above. A request that is well-formed and wrong is refused where the protocol has a way to say so, and
 * changes nothing in any case; a message that is malformed, or a wrong one whose answer could only be a lie, loses the connection.
 */
struct vtr_vhost_user_server;

/* The device IOTLB, for VMMs with a virtual IOMMU. */
struct vtr_vhost_user_iotlb_status {
	bool active;                 /* ACCESS_PLATFORM: the guest's addresses are IOVAs */
	uint64_t access_failures;    /* accesses that a translation did not permit */
	struct vtr_iommu_status map; /* all 0 unless active */
};

struct vtr_vhost_user_status {
	bool connected;
	uint64_t connections;       /* so far */
	uint64_t messages;          /* received, of all connections */
	uint64_t refused;           /* of these */
	uint32_t peer_pid;          /* of the connected front-end, 0 if unknown */
	uint64_t protocol_features; /* negotiated, a bit each */
	uint32_t memory_slots;      /* of the memory table */
	uint32_t rings;             /* that run, a bit each */
	bool backend_channel;       /* the front-end takes requests of ours */
	struct vtr_vhost_user_iotlb_status iotlb;
};

/* Listens on the UNIX socket path, or serves fd, as vtr_vfio_user_server_create() does. memory is filled by the front-end's memory
 * table, at guest-physical addresses, or, behind a virtual IOMMU, by what its IOTLB messages say of them. NULL with errno. */
VTR_API struct vtr_vhost_user_server *vtr_vhost_user_server_create(struct vtr_loop *loop, const char *path, int fd,
                                                                   struct vtr_virtio_device *device, struct vtr_memory *memory);
/* As for vfio-user. */
VTR_API void vtr_vhost_user_server_on_end(struct vtr_vhost_user_server *server, void (*func)(void *data), void *data);
VTR_API void vtr_vhost_user_server_on_leave(struct vtr_vhost_user_server *server, void (*func)(void *data), void *data);
/* Calls func with the display socket when the front-end sends one (VHOST_USER_GPU_SET_SOCKET). func takes fd, also when it fails: 0
 * or -errno. Without func, or with NULL, display sockets are refused. */
VTR_API void vtr_vhost_user_server_on_gpu_socket(struct vtr_vhost_user_server *server, int (*func)(int fd, void *data), void *data);
/* Keeps what a successor of this process has to know of the guest, should this one be killed, in the file path, which is created
 * with mode 0600 and removed when the server is destroyed while no front-end is connected. The file should lie in a tmpfs: it is
 * never synchronized. path NULL: the socket's with ".state" behind it, where that is in a tmpfs. Front-ends that keep such memory
 * themselves (INFLIGHT_SHMFD) do not need it. Call it before the loop runs. 0, or -errno with *error (may be NULL), which names
 * cause and remedy: -EBUSY (another process has the file), -EEXIST (it is not a state file of this version, or not this user's
 * alone), UNSUPPORTED -EOPNOTSUPP (path is NULL, and the socket has none or one that is not in a tmpfs), or what the system says.
 */
VTR_API int vtr_vhost_user_server_keep_state(struct vtr_vhost_user_server *server, const char *path, struct vtr_error *error);
/* Does without these protocol features (a bit each) with front-ends to come: for tests of what happens then. */
VTR_API void vtr_vhost_user_server_withhold(struct vtr_vhost_user_server *server, uint64_t protocol_features);
VTR_API void vtr_vhost_user_server_destroy(struct vtr_vhost_user_server *server); /* removes the socket; NULL is fine */
VTR_API void vtr_vhost_user_server_status(const struct vtr_vhost_user_server *server, struct vtr_vhost_user_status *status);

/* "REPLY_ACK", "CONFIG", ...; NULL when the bit has no name. */
VTR_API const char *vtr_vhost_user_protocol_feature_name(unsigned bit);
/* The bits of names with commas between them. False when there is none, or one that has no bit. */
VTR_API bool vtr_vhost_user_protocol_features_parse(const char *names, uint64_t *features);

/*
 * vfio-user, client: a VMM's end. Every call is synchronous: it sends one message and waits for its reply, serving the server's
 * DMA_READ and DMA_WRITE meanwhile, at most timeout_ms. A server that lies (wrong ids, short replies, loops, silence) costs an
 * error, nothing else; after -EPROTO, -ETIMEDOUT or -ECONNRESET the connection is closed and every call fails with -ENOTCONN.
 */
struct vtr_vfio_user_client;
struct vfio_region_info;    /* <linux/vfio.h> */
struct vfio_device_feature; /* likewise */

enum { VTR_VFIO_USER_MAX_REGIONS = 64 }; /* of one device, that the client talks about; also of kinds of irqs */

/* The client's memory as the server's requests see it. Return 0 or -errno. They may be called from within any call of the client,
 * and may not call the client themselves (-EBUSY). */
struct vtr_vfio_user_dma_impl {
	int (*read)(void *data, uint64_t address, void *buffer, size_t length);
	int (*write)(void *data, uint64_t address, const void *buffer, size_t length);
};

/* Connects and negotiates VERSION. NULL with errno (EPROTO: not a vfio-user server, or one we cannot talk to). */
VTR_API struct vtr_vfio_user_client *vtr_vfio_user_client_connect(const char *path, int timeout_ms);
VTR_API void vtr_vfio_user_client_destroy(struct vtr_vfio_user_client *client); /* NULL is fine */
VTR_API void vtr_vfio_user_client_set_dma(struct vtr_vfio_user_client *client, const struct vtr_vfio_user_dma_impl *impl,
                                          void *data);
VTR_API int vtr_vfio_user_client_fd(const struct vtr_vfio_user_client *client); /* for polling; -1 when closed */
/* Serves what the server asked meanwhile, as far as it is there; call when fd is readable. 0 or -errno. */
VTR_API int vtr_vfio_user_client_dispatch(struct vtr_vfio_user_client *client);

/* All: 0 or -errno; a negative value of an error reply is the server's errno. */
VTR_API int vtr_vfio_user_device_info(struct vtr_vfio_user_client *client, uint32_t *flags, uint32_t *n_regions, uint32_t *n_irqs);
/* As VFIO_DEVICE_GET_REGION_INFO of <linux/vfio.h>: info->argsz bytes are the caller's, zeroed but for argsz and index; in the
 * answer argsz is what it takes, and all of it is there if it fits. What capabilities and fd are is not looked at. *fd (the
 * caller's): where the region can be mapped; -1 when it cannot. */
VTR_API int vtr_vfio_user_region_info(struct vtr_vfio_user_client *client, struct vfio_region_info *info, int *fd);
/* As VFIO_DEVICE_FEATURE; the answer is in feature, no longer than argsz. *fd (the caller's): what came along, or -1. -E2BIG: more
 * than the server takes. */
VTR_API int vtr_vfio_user_feature(struct vtr_vfio_user_client *client, struct vfio_device_feature *feature, int *fd);
VTR_API int vtr_vfio_user_irq_count(struct vtr_vfio_user_client *client, uint32_t index, uint32_t *count);
/* eventfd is not taken; -1 removes the trigger. */
VTR_API int vtr_vfio_user_set_irq(struct vtr_vfio_user_client *client, uint32_t index, uint32_t vector, int eventfd);
VTR_API int vtr_vfio_user_read(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, void *buffer, size_t length);
/* posted: no reply is asked for; the message is on its way when the call returns, unless the client is corked. */
VTR_API int vtr_vfio_user_write(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, const void *buffer,
                                size_t length, bool posted);
/* From here on posted writes of up to 8 bytes wait for each other and leave in one message (VFIO_USER_REGION_WRITE_MULTI), in
 * order, at the latest before any other message of the client. A server that does not take those gets each by itself, at once. */
VTR_API void vtr_vfio_user_cork(struct vtr_vfio_user_client *client);
/* Sends what waits; posted writes leave at once again. 0 or -errno. */
VTR_API int vtr_vfio_user_uncork(struct vtr_vfio_user_client *client);
/* fd is not taken; -1: the server has to use DMA_READ and DMA_WRITE. */
VTR_API int vtr_vfio_user_dma_map(struct vtr_vfio_user_client *client, uint64_t address, uint64_t size, int fd, uint64_t offset,
                                  bool writable);
/* -ENOENT: nothing was mapped there. */
VTR_API int vtr_vfio_user_dma_unmap(struct vtr_vfio_user_client *client, uint64_t address, uint64_t size);
VTR_API int vtr_vfio_user_reset(struct vtr_vfio_user_client *client);

/*
 * vhost-user, front-end: a VMM's end (QEMU, docs/interop/vhost-user.rst; the names are the specification's). Every call is
 * synchronous, with a reply where the protocol has one and with REPLY_ACK everywhere, and serves the back-end's own requests while
 * it waits, at most timeout_ms. A back-end that lies (other requests' replies, sizes and fds that cannot be, requests without end,
 * silence) costs an error, nothing else; after -EPROTO, -ETIMEDOUT or -ECONNRESET the connection is closed and every call fails
 * with -ENOTCONN. What the back-end refuses is -EREMOTEIO, what it has not agreed to -ENOTSUP. Without REPLY_ACK a refusal is not
 * told.
 *
 * Addresses of the guest are guest-physical, or IOVAs once ACCESS_PLATFORM is accepted. In messages they are user addresses or,
 * with GPA_ADDRESSES, guest-physical ones: the front-end translates by the memory that it was told of.
 */
struct vtr_vhost_user_frontend;

enum {
	VTR_VHOST_USER_MAX_VRINGS = 16,
	VTR_VHOST_USER_MAX_IOTLB = 65536,        /* entries of the translation table */
	VTR_VHOST_USER_MAX_HELD = 64,            /* misses that wait for their entry */
	VTR_VHOST_USER_MAX_SHARED_OBJECTS = 256, /* that the back-end has announced */
	VTR_VHOST_USER_MAX_SHM_MAPPINGS = 4096,  /* of the back-end's, in its shared memory regions */
};

/* The back-end's requests, where somebody else than the front-end knows the answer. Any of them may be NULL, and may be called from
 * within any call of the front-end; from in there only vtr_vhost_user_frontend_iotlb_add() may be called. */
struct vtr_vhost_user_frontend_impl {
	/* CONFIG_CHANGE: the configuration is another. Not before the device is started. */
	void (*config_changed)(void *data);
	/* An address that is not in the table. 0: it will be, the miss is answered with vtr_vhost_user_frontend_iotlb_add();
	 * -errno: it is refused, as it is without this function. */
	int (*iotlb_miss)(void *data, uint64_t iova, bool write);
	/* SHARED_OBJECT_LOOKUP of an object that this back-end has not added itself. An fd, which the front-end takes, or -errno.
	 */
	int (*lookup)(void *data, const uint8_t uuid[16]);
};

struct vtr_vhost_user_frontend_options {
	int timeout_ms;
	uint64_t without; /* protocol features (1 << VHOST_USER_PROTOCOL_F_*) that are not agreed on, though both ends have them */
	const struct vtr_vhost_user_frontend_impl *impl; // may be NULL
	void *data;                                      // for impl
};

struct vtr_vhost_user_frontend_status {
	uint64_t protocol_features;              /* agreed on */
	uint32_t vrings;                         /* of the back-end; 0: it does not say (no MQ) */
	uint32_t slots;                          /* pieces of memory that it takes */
	uint64_t misses, updates, invalidations; /* IOTLB messages */
	uint64_t access_failures;                /* that it reported */
	uint64_t refused;                        /* requests of the back-end that were */
	uint32_t shm_mappings;                   /* what is mapped now in shared memory regions */
};

/* Connects, and agrees on protocol features. NULL with errno (EPROTO: not a vhost-user back-end, or one we cannot talk to). */
VTR_API struct vtr_vhost_user_frontend *vtr_vhost_user_frontend_connect(const char *path,
                                                                        const struct vtr_vhost_user_frontend_options *options);
VTR_API void vtr_vhost_user_frontend_destroy(struct vtr_vhost_user_frontend *frontend); /* NULL is fine */
/* For polling: the connection, -1 when closed, and the back-end's channel, -1 when there is none. */
VTR_API void vtr_vhost_user_frontend_fds(const struct vtr_vhost_user_frontend *frontend, int *connection, int *channel);
/* Serves what the back-end asked meanwhile, as far as it is there; call when an fd is readable. 0 or -errno. */
VTR_API int vtr_vhost_user_frontend_dispatch(struct vtr_vhost_user_frontend *frontend);
VTR_API void vtr_vhost_user_frontend_status(const struct vtr_vhost_user_frontend *frontend,
                                            struct vtr_vhost_user_frontend_status *status);

/* All from here on: 0 or -errno as above. -EINVAL: what cannot be asked. */

/* The virtio device's features (without VHOST_USER_F_PROTOCOL_FEATURES, which the front-end accepts by itself). ACCESS_PLATFORM
 * needs BACKEND_REQ and REPLY_ACK: else it is -ENOTSUP. */
VTR_API int vtr_vhost_user_frontend_features(struct vtr_vhost_user_frontend *frontend, uint64_t *features);
VTR_API int vtr_vhost_user_frontend_set_features(struct vtr_vhost_user_frontend *frontend, uint64_t features);

/* Tells of memory at a guest-physical address, which is `size` bytes at offset in fd (not taken): ADD_MEM_REG, or all of it again
 * in SET_MEM_TABLE. user_address: what stands for it in messages, unique; it is never read or written through. -ENOSPC: no slot
 * (VTR_MAX_MEM_SLOTS, or what the back-end takes); -EEXIST: memory is there. Taking away waits until the back-end is done with it;
 * -ENOENT: it was not told of. */
VTR_API int vtr_vhost_user_frontend_add_memory(struct vtr_vhost_user_frontend *frontend, uint64_t address, uint64_t size,
                                               uint64_t user_address, int fd, uint64_t offset);
VTR_API int vtr_vhost_user_frontend_remove_memory(struct vtr_vhost_user_frontend *frontend, uint64_t address, uint64_t size);

/* Rings. Addresses are the guest's; one that is nowhere goes to the back-end as it is. eventfds are not taken; -1: none. A ring
 * starts with its kick, is active once enabled, and stops with get_vring_base, which says what it has come to. */
VTR_API int vtr_vhost_user_frontend_set_vring_num(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint32_t num);
VTR_API int vtr_vhost_user_frontend_set_vring_addr(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint64_t descriptor,
                                                   uint64_t available, uint64_t used);
VTR_API int vtr_vhost_user_frontend_set_vring_base(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint32_t base);
VTR_API int vtr_vhost_user_frontend_get_vring_base(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint32_t *base);
VTR_API int vtr_vhost_user_frontend_set_vring_kick(struct vtr_vhost_user_frontend *frontend, uint32_t index, int eventfd);
VTR_API int vtr_vhost_user_frontend_set_vring_call(struct vtr_vhost_user_frontend *frontend, uint32_t index, int eventfd);
VTR_API int vtr_vhost_user_frontend_set_vring_err(struct vtr_vhost_user_frontend *frontend, uint32_t index, int eventfd);
VTR_API int vtr_vhost_user_frontend_set_vring_enable(struct vtr_vhost_user_frontend *frontend, uint32_t index, bool enable);

/* Configuration space, at most 256 bytes (CONFIG). */
VTR_API int vtr_vhost_user_frontend_get_config(struct vtr_vhost_user_frontend *frontend, uint32_t offset, void *buffer,
                                               uint32_t size);
VTR_API int vtr_vhost_user_frontend_set_config(struct vtr_vhost_user_frontend *frontend, uint32_t offset, const void *buffer,
                                               uint32_t size);

/* The device status (STATUS; virtio 1.3, 2.1). */
VTR_API int vtr_vhost_user_frontend_get_status(struct vtr_vhost_user_frontend *frontend, uint8_t *status);
VTR_API int vtr_vhost_user_frontend_set_status(struct vtr_vhost_user_frontend *frontend, uint8_t status);
/* RESET_DEVICE: rings stop, the device is as new; memory stays. */
VTR_API int vtr_vhost_user_frontend_reset(struct vtr_vhost_user_frontend *frontend);

/* Memory in which the back-end keeps what it is working on (INFLIGHT_SHMFD), for its successor. fd is the caller's. */
struct vtr_vhost_user_inflight_memory {
	int fd;
	uint64_t size, offset;
	uint16_t vrings, vring_size;
};
VTR_API int vtr_vhost_user_frontend_get_inflight(struct vtr_vhost_user_frontend *frontend, uint16_t vrings, uint16_t vring_size,
                                                 struct vtr_vhost_user_inflight_memory *inflight);
VTR_API int vtr_vhost_user_frontend_set_inflight(struct vtr_vhost_user_frontend *frontend,
                                                 const struct vtr_vhost_user_inflight_memory *inflight);

/* The translation table of the device's IOTLB: [iova, iova + size) is guest-physical [address, ...). Misses are answered with its
 * entries; nothing is sent before the back-end asks, but for entries that a miss waits for. -EEXIST: a part is in the table
 * already; -ENOSPC. Taking away a range (of parts of entries too) invalidates it and waits until the back-end is done with it. */
VTR_API int vtr_vhost_user_frontend_iotlb_add(struct vtr_vhost_user_frontend *frontend, uint64_t iova, uint64_t size,
                                              uint64_t address, bool writable);
VTR_API int vtr_vhost_user_frontend_iotlb_remove(struct vtr_vhost_user_frontend *frontend, uint64_t iova, uint64_t size);

/* The fd of an object that the back-end has announced (SHARED_OBJECT), the caller's. -ENOENT: it has not. */
VTR_API int vtr_vhost_user_frontend_shared_object(struct vtr_vhost_user_frontend *frontend, const uint8_t uuid[16], int *fd);

/* The device's shared memory region with that id (SHMEM; virtio 1.3, 2.10), for the VMM to show its guest: *size bytes of address
 * space, in which the back-end's SHMEM_MAP and SHMEM_UNMAP are carried out. Where nothing is mapped there is private memory: a
 * guest that strays there reads zeros or what it wrote, and no access faults (a file that is truncated under a mapping reads as
 * zeros, too). NULL, and *size is 0: there is no such region. Valid until the front-end is destroyed; what is mapped stays when the
 * connection ends, and goes when the device is reset. */
VTR_API void *vtr_vhost_user_frontend_shm(const struct vtr_vhost_user_frontend *frontend, uint8_t shmid, uint64_t *size);

/* GPU_SET_SOCKET: the back-end's end of the display socket (docs/interop/vhost-user-gpu.rst); not taken. */
VTR_API int vtr_vhost_user_frontend_gpu_set_socket(struct vtr_vhost_user_frontend *frontend, int socket);

#endif
