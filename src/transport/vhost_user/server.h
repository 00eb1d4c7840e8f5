/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_SERVER_H
#define VTR_VHOST_USER_SERVER_H

#include <vitrine/log.h>
#include <vitrine/transport.h>

#include "transport/listener.h"
#include "transport/message.h"
#include "transport/vhost_user/iotlb.h"
#include "transport/vhost_user/memory_table.h"
#include "transport/vhost_user/protocol.h"
#include "transport/vhost_user/server_channel.h"
#include "transport/vhost_user/state.h"
#include "virtio/device.h"

/*
 * Between the server's files: server.c (connection and framing), server_messages.c (what a front-end may send), server_memory.c
 * (memory table), server_vrings.c (what is said of rings, and kicks), server_rings.c (when rings run, and the device is live),
 * server_channel.c (what we ask the front-end), server_shmem.c (shared memory regions).
 */
enum {
	VTR_VHOST_USER_MAX_QUEUED = 1 << 20, /* bytes of replies that a front-end may leave unread */
	VTR_VHOST_USER_BATCH = 64,           /* messages served before the loop gets its turn */
};

#define VTR_VHOST_USER_BIT(n) (UINT64_C(1) << (n))

struct vtr_vhost_user_server;

/* A ring as the front-end describes it; the queue of the device runs while all that it takes is there. */
struct vtr_vhost_user_ring {
	struct vtr_vhost_user_server *server;
	unsigned index;
	bool started;   // by SET_VRING_KICK, until GET_VRING_BASE
	bool enabled;   // by SET_VRING_ENABLE
	bool addressed; // by SET_VRING_ADDR
	bool running;   // the device's queue is enabled
	bool failed;    // the front-end was told so by VRING_ERR
	bool polled;    // it has no kick fd
	bool missed;    // an interrupt, for want of a call fd
	uint16_t size;
	uint16_t base;    // where it goes on when it starts the next time: as it stopped, or by SET_VRING_BASE
	uint16_t stopped; // where it stopped the last time
	struct vhost_user_vring_addr addr;
	int kick, call, err; // eventfds, or -1
	struct vtr_source *kick_source;
};

struct vtr_vhost_user_server {
	struct vtr_loop *loop;
	struct vtr_virtio_device *device;
	struct vtr_memory *memory;
	struct vtr_listener listener;

	/* the connection */
	int socket; // -1: nobody
	struct vtr_source *socket_source;
	struct vtr_source *resume; // event: `lost` is to be dealt with from the loop
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	bool lost; // to be torn down

	/* what was negotiated */
	uint64_t features;          // by SET_FEATURES, as it came
	uint64_t protocol_features; // by SET_PROTOCOL_FEATURES
	uint64_t withheld;          // protocol features that are not offered
	uint8_t device_status;      // by SET_STATUS
	bool status_reset;          // which was 0 the last time: not before it is something again
	bool fresh;                 // this front-end's guest has not used the device yet: what is there is the last one's

	struct vtr_vhost_user_mem_table table;
	struct vtr_vhost_user_iotlb iotlb;
	struct vtr_vhost_user_ring rings[VTR_VIRTIO_MAX_QUEUES];
	struct vtr_source *poll; // timer, for rings without a kick fd
	struct vtr_vhost_user_state state;

	struct vtr_vhost_user_channel channel;
	bool config_changed; // and the front-end has still to be told
	bool telling_config; // its reply is still to come

	int (*gpu_socket)(int fd, void *data); // may be NULL
	void *gpu_socket_data;
	struct vtr_vhost_user_status status;
	struct vtr_log_limit log_limit;
};

/* A request, decoded as far as all of them are alike: its size and number of fds are in the bounds of the table. */
struct vtr_vhost_user_request {
	struct vhost_user_header header;
	const uint8_t *payload;
	size_t size;                 // of payload
	struct vtr_message *message; // for its fds

	/* the reply, for messages that have a payload of their own in it */
	uint8_t reply[sizeof(struct vhost_user_shmem_config)]; // the largest one
	size_t reply_size;
	int reply_fd; // not taken; -1: none
};

enum vtr_vhost_user_reply {
	VTR_REPLY_IF_ASKED, /* REPLY_ACK: a u64, 0 or not, when NEED_REPLY is set */
	VTR_REPLY_RESULT,   /* the same, always */
	VTR_REPLY_PAYLOAD,  /* what the message is about; there is no way to refuse it */
};

struct vtr_vhost_user_message {
	const char *name;
	uint16_t min_size, max_size; // of the payload
	uint8_t min_fds, max_fds;
	enum vtr_vhost_user_reply reply;
	uint64_t needs; // protocol features, of which one has to be negotiated
	/* 0, or -errno: the request is refused and has changed nothing. -EPROTO: it is malformed. */
	int (*handle)(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
};

/* server.c */

/* The connection is over; nothing more is sent or served. The rest happens from the loop. reason goes to the log. */
void vtr_vhost_user_lose(struct vtr_vhost_user_server *server, const char *reason);
/* Is the protocol feature negotiated? */
bool vtr_vhost_user_has(const struct vtr_vhost_user_server *server, unsigned bit);
/* Sends a request on the back-end channel, with fd (not taken) unless it is -1. done, where it is not NULL and REPLY_ACK is
 * negotiated, is called once, later. As vtr_vhost_user_channel_send(). */
int vtr_vhost_user_ask(struct vtr_vhost_user_server *server, uint32_t request, const void *payload, size_t size, int fd,
                       vtr_vhost_user_done done, void *data);

/* server_messages.c */
const struct vtr_vhost_user_message *vtr_vhost_user_message_find(uint32_t request); // NULL: unknown

/* server_memory.c */
int vtr_vhost_user_set_mem_table(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_add_mem_reg(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_rem_mem_reg(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_iotlb_msg(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
/* ACCESS_PLATFORM was accepted, or was not: addresses of the map are IOVAs, or those of the table. 0 or -errno. */
int vtr_vhost_user_set_platform(struct vtr_vhost_user_server *server, bool platform);
void vtr_vhost_user_remove_memory(struct vtr_vhost_user_server *server); // all of it

/* server_rings.c */
extern const struct vtr_virtio_transport_impl vtr_vhost_user_transport; // data: the server
void vtr_vhost_user_rings_init(struct vtr_vhost_user_server *server);
/* Stopped, without fds and as after connecting. The device's queues are not touched: it is reset or abandoned by who calls this. */
void vtr_vhost_user_rings_reset(struct vtr_vhost_user_server *server);
/* Starts and stops the device's queues according to what the front-end has said so far. Once it has said something. */
void vtr_vhost_user_rings_update(struct vtr_vhost_user_server *server);
void vtr_vhost_user_reset_device(struct vtr_vhost_user_server *server); // the device, and the state of the rings
void vtr_vhost_user_enable_all(struct vtr_vhost_user_server *server);   // rings
void vtr_vhost_user_signal_call(struct vtr_vhost_user_ring *ring);      // or once there is an eventfd for it

/* server_vrings.c */
struct vtr_source *vtr_vhost_user_poll_timer(struct vtr_vhost_user_server *server); // NULL with errno
void vtr_vhost_user_remove_kick(struct vtr_vhost_user_ring *ring);
int vtr_vhost_user_set_vring_num(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_set_vring_addr(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_set_vring_base(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_get_vring_base(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_set_vring_kick(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_set_vring_call(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_set_vring_err(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_set_vring_enable(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);

/* server_shmem.c */
bool vtr_vhost_user_has_shmem(const struct vtr_vhost_user_server *server); // the device; whatever the front-end can do
int vtr_vhost_user_get_shmem_config(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request);
int vtr_vhost_user_shm_map(void *data, const struct vtr_virtio_shm_range *range, int fd, uint64_t fd_offset, bool writable,
                           vtr_virtio_shm_done done, void *done_data);
int vtr_vhost_user_shm_unmap(void *data, const struct vtr_virtio_shm_range *range, vtr_virtio_shm_done done, void *done_data);

#endif
