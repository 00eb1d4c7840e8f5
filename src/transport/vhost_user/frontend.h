/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_FRONTEND_H
#define VTR_VHOST_USER_FRONTEND_H

#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/transport.h>

#include "transport/message.h"
#include "transport/vhost_user/memory_table.h"
#include "transport/vhost_user/protocol.h"

/* Between the front-end's files: frontend.c (connection, one call), frontend_calls.c (what can be asked), frontend_memory.c (memory
 * and addresses), frontend_channel.c (the back-end's requests), frontend_iotlb.c (translation table), frontend_shmem.c (shared
 * memory regions). */
enum {
	VTR_VHOST_USER_FRONTEND_MAX_QUEUED = 65536, /* bytes that a back-end does not read, on either socket */
	VTR_VHOST_USER_FRONTEND_MAX_UPDATES = 256,  /* that it has not acknowledged */
	VTR_VHOST_USER_CALL_PARTS = 2,
};

struct vtr_vhost_user_translation {
	uint64_t iova, size;
	uint64_t address; /* guest-physical */
	bool writable;
};

struct vtr_vhost_user_shm_region; /* frontend_shmem.c */

struct vtr_vhost_user_miss {
	uint64_t iova;
	uint8_t perm;
};

struct vtr_vhost_user_frontend {
	int socket, channel; // -1: closed
	int timeout_ms;
	const struct vtr_vhost_user_frontend_impl *impl; // may be NULL
	void *data;
	struct vtr_message_reader reader, channel_reader;
	struct vtr_message_queue queue, channel_queue;
	bool serving;     // in a function of impl: no calls now
	unsigned updates; // that were sent and not acknowledged

	uint64_t offered, protocol_features;
	bool access_platform; // accepted
	uint32_t n_vrings;
	uint8_t status;
	uint32_t active, kicked; // vrings that are enabled, that have a kick; a bit each

	uint32_t max_slots;
	struct vtr_vhost_user_mem_table memory;

	struct vtr_vhost_user_translation *table; // by iova, without overlaps
	size_t n_table, table_capacity;
	size_t n_held;
	struct vtr_vhost_user_miss held[VTR_VHOST_USER_MAX_HELD];

	struct vtr_vhost_user_shm_region *shm; /* an array */
	size_t n_shm;

	size_t n_objects;
	uint8_t objects[VTR_VHOST_USER_MAX_SHARED_OBJECTS][16];

	struct vtr_vhost_user_frontend_status counters;
	struct vtr_log_limit limit;
};

struct vtr_vhost_user_call {
	uint32_t request;
	const struct iovec *body; // at most VTR_VHOST_USER_CALL_PARTS
	size_t n_body;
	const int *fds; // not taken
	size_t n_fds;
	bool reply;                  // the request has one of its own
	size_t min_reply, max_reply; // sizes of its payload
	size_t max_reply_fds;

	struct vtr_message message; // the reply; the caller's to finish, after success
	const uint8_t *payload;
	size_t payload_size;
};

/* A front-end on a connected, non-blocking socket (taken, also on failure). NULL with errno. */
struct vtr_vhost_user_frontend *vtr_vhost_user_frontend_attach(int socket, const struct vtr_vhost_user_frontend_options *options);
static inline bool vtr_vhost_user_agreed(const struct vtr_vhost_user_frontend *frontend, enum vhost_user_protocol_feature feature)
{
	return frontend->protocol_features >> feature & 1;
}
/* Sends the request and waits for its reply, or for its acknowledgement where REPLY_ACK gives one. 0; -EREMOTEIO: refused; -EBUSY
 * from within a function of impl; or the connection is closed: -EPROTO, -ETIMEDOUT, -ECONNRESET, -ENOTCONN. */
int vtr_vhost_user_call(struct vtr_vhost_user_frontend *frontend, struct vtr_vhost_user_call *call);
/* The same without contents of a reply, body being one structure. */
int vtr_vhost_user_tell(struct vtr_vhost_user_frontend *frontend, uint32_t request, const void *body, size_t size, const int *fds,
                        size_t n_fds);
/* Sends an IOTLB_MSG, whose acknowledgement is taken when it comes. 0 or -errno. */
int vtr_vhost_user_post_iotlb(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_iotlb *message);
/* The back-end broke the rules: closes the connection and returns -EPROTO. */
int vtr_vhost_user_distrust(struct vtr_vhost_user_frontend *frontend);

/* Has the device been started: DRIVER_OK, or a ring that has its kick and is enabled? */
bool vtr_vhost_user_started(const struct vtr_vhost_user_frontend *frontend);

/* One message of the channel, which is finished. 0, or an error of the connection. */
int vtr_vhost_user_serve(struct vtr_vhost_user_frontend *frontend, struct vtr_message *message);

/* Has the back-end announced this object? */
bool vtr_vhost_user_owns(const struct vtr_vhost_user_frontend *frontend, const uint8_t uuid[16]);

/* A miss, checked as to its form. 0, or -errno for the reply. */
int vtr_vhost_user_take_miss(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_iotlb *miss);
void vtr_vhost_user_forget_translations(struct vtr_vhost_user_frontend *frontend);

/* Asks for the device's shared memory regions, and makes room for them. 0 or -errno. */
int vtr_vhost_user_ask_shmem(struct vtr_vhost_user_frontend *frontend);
/* SHMEM_MAP and SHMEM_UNMAP. fd is not taken. 0, or -errno for the reply. */
int vtr_vhost_user_shmem_map(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_mmap *request, int fd);
int vtr_vhost_user_shmem_unmap(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_mmap *request);
/* The device was reset: nothing is mapped any more. */
void vtr_vhost_user_shmem_reset(struct vtr_vhost_user_frontend *frontend);
void vtr_vhost_user_shmem_finish(struct vtr_vhost_user_frontend *frontend);

/* What stands for a guest-physical address in messages; false when no memory is there. *left: bytes from there to the slot's end.
 */
bool vtr_vhost_user_message_address(const struct vtr_vhost_user_frontend *frontend, uint64_t address, uint64_t *in_messages,
                                    uint64_t *left);

#endif
