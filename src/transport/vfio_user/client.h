/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_USER_CLIENT_H
#define VTR_VFIO_USER_CLIENT_H

#include <vitrine/transport.h>

#include "transport/message.h"
#include "transport/vfio_user/capabilities.h"
#include "transport/vfio_user/protocol.h"

/* Between the client's files: client.c (connection, one call, the server's requests), client_calls.c (what can be asked),
 * client_access.c (reads and writes). */
enum {
	VTR_VFIO_USER_CLIENT_MAX_QUEUED = 2 * VTR_MAX_MESSAGE,
	VTR_VFIO_USER_MAX_COLLECTED = 128, /* posted writes that wait for each other */
};

struct vtr_vfio_user_client {
	int socket; // -1: closed
	int timeout_ms;
	uint16_t next_id;
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	struct vtr_vfio_user_capabilities server;
	bool serving; // a request of the server: no calls now

	const struct vtr_vfio_user_dma_impl *dma; // NULL: no memory
	void *dma_data;
	uint8_t *dma_buffer; // VTR_MAX_DATA_XFER bytes, made at the first request

	bool corked;
	size_t n_collected;
	struct vfio_user_single_write collected[VTR_VFIO_USER_MAX_COLLECTED];
};

struct vtr_vfio_user_call {
	uint16_t command;
	const struct iovec *body; // at most VTR_VFIO_USER_CALL_PARTS
	size_t n_body;
	const int *fds; // not taken
	size_t n_fds;
	size_t min_reply, max_reply; // sizes of the reply's body
	size_t max_reply_fds;

	struct vtr_message reply; // the caller's to finish, after success
	const uint8_t *reply_body;
	size_t reply_size; // of the body
};
enum { VTR_VFIO_USER_CALL_PARTS = 2 };

/* A client on a connected, non-blocking socket (taken, also on failure): negotiates VERSION. NULL with errno. */
struct vtr_vfio_user_client *vtr_vfio_user_client_attach(int socket, int timeout_ms);
/* Sends the command and waits for its reply, serving the server meanwhile. 0; the error that the server replied; -EBUSY; -E2BIG for
 * more fds than the server receives; or the connection is closed: -EPROTO, -ETIMEDOUT, -ECONNRESET, -ENOTCONN. */
int vtr_vfio_user_call(struct vtr_vfio_user_client *client, struct vtr_vfio_user_call *call);
/* Sends the command with NO_REPLY; returns when it is sent. */
int vtr_vfio_user_post(struct vtr_vfio_user_client *client, const struct vtr_vfio_user_call *call);
/* Sends the posted writes that wait, if any. 0 or as above. */
int vtr_vfio_user_send_collected(struct vtr_vfio_user_client *client);
/* The server broke the rules: closes the connection and returns -EPROTO. */
int vtr_vfio_user_client_distrust(struct vtr_vfio_user_client *client);

#endif
