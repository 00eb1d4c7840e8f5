/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_TRANSPORT_H
#define VITRINE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
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
};

/* Listens on the UNIX socket path, or serves fd, as vtr_vfio_user_server_create() does. memory is filled by the front-end's memory
 * table, at guest-physical addresses. NULL with errno. */
VTR_API struct vtr_vhost_user_server *vtr_vhost_user_server_create(struct vtr_loop *loop, const char *path, int fd,
                                                                   struct vtr_virtio_device *device, struct vtr_memory *memory);
/* As for vfio-user. */
VTR_API void vtr_vhost_user_server_on_end(struct vtr_vhost_user_server *server, void (*func)(void *data), void *data);
VTR_API void vtr_vhost_user_server_on_leave(struct vtr_vhost_user_server *server, void (*func)(void *data), void *data);
/* Calls func with the display socket when the front-end sends one (VHOST_USER_GPU_SET_SOCKET). func takes fd, also when it fails: 0
 * or -errno. Without func, or with NULL, display sockets are refused. */
VTR_API void vtr_vhost_user_server_on_gpu_socket(struct vtr_vhost_user_server *server, int (*func)(int fd, void *data), void *data);
VTR_API void vtr_vhost_user_server_destroy(struct vtr_vhost_user_server *server); /* removes the socket; NULL is fine */
VTR_API void vtr_vhost_user_server_status(const struct vtr_vhost_user_server *server, struct vtr_vhost_user_status *status);

/* "REPLY_ACK", "CONFIG", ...; NULL when the bit has no name. */
VTR_API const char *vtr_vhost_user_protocol_feature_name(unsigned bit);

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

#endif
