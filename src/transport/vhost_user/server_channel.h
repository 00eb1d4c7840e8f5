/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_SERVER_CHANNEL_H
#define VTR_VHOST_USER_SERVER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "transport/message.h"
#include "transport/vhost_user/protocol.h"

/*
 * The back-end's own channel to the front-end ("Back-end communication"): requests of ours, each with a reply that comes whenever
 * it comes, or with none. Nothing here waits. Embedded.
 */
enum {
	VTR_VHOST_USER_MAX_CALLS = 3 * VTR_MAX_MISSES, /* requests whose replies are still to come; most are misses */
	VTR_VHOST_USER_CALL_TIMEOUT_MS = 2000,
	VTR_VHOST_USER_CHANNEL_QUEUED = 1 << 16, /* bytes of requests that a front-end may leave unread */
};

/* A request's end: 0; -EREMOTEIO: the front-end refused it; -ETIMEDOUT; -ECONNRESET: the channel closed. From the loop. */
typedef void (*vtr_vhost_user_done)(int result, void *data);

struct vtr_vhost_user_call {
	uint32_t request;
	uint64_t deadline_ns;
	vtr_vhost_user_done done; // NULL: it has timed out, and only its reply is still to come
	void *data;
};

struct vtr_vhost_user_channel {
	struct vtr_loop *loop;
	int socket;  // -1: there is none
	bool closed; // to be torn down from the loop
	struct vtr_source *source;
	struct vtr_source *close;   // event
	struct vtr_source *timeout; // timer
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	struct vtr_vhost_user_call calls[VTR_VHOST_USER_MAX_CALLS]; // in the order in which they were sent
	size_t n_calls;
	unsigned timeout_ms;
	struct vtr_log_limit log_limit;
};

int vtr_vhost_user_channel_init(struct vtr_vhost_user_channel *channel, struct vtr_loop *loop); // 0 or -errno
void vtr_vhost_user_channel_finish(struct vtr_vhost_user_channel *channel);                     // requests end with -ECONNRESET
/* Requests go to socket (a UNIX stream socket, taken, also on failure) from now on; those that were under way end with -ECONNRESET.
 * -1: to nobody. 0, -EINVAL (another kind of fd) or another -errno; nothing has changed then. */
int vtr_vhost_user_channel_open(struct vtr_vhost_user_channel *channel, int socket);
bool vtr_vhost_user_channel_is_open(const struct vtr_vhost_user_channel *channel);

/* Sends a request, with fd (not taken; -1: without one). With done a reply is asked for, which takes REPLY_ACK, and done is called
 * once, later. 0; -ENOTCONN: there is no channel; -EBUSY: VTR_VHOST_USER_MAX_CALLS replies are outstanding; -ECONNRESET: the
 * channel has just broken. */
int vtr_vhost_user_channel_send(struct vtr_vhost_user_channel *channel, uint32_t request, const void *payload, size_t size, int fd,
                                vtr_vhost_user_done done, void *data);

#endif
