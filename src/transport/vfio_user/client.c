/* SPDX-License-Identifier: MIT */
/*
 * vfio-user, client side: the connection and one call on it.
 *
 * A call is synchronous: one command out, its reply in. There is never more than one command whose reply is awaited, so that any
 * other reply is a lie. Meanwhile the server may ask for our memory (DMA_READ, DMA_WRITE); that is served in between, also in
 * vtr_vfio_user_client_dispatch(), since a server may not go on before it has its answer.
 *
 * The server is not trusted. Every reply's size, id, command, flags and number of fds are checked before its contents are looked
 * at; what is wrong closes the connection, as does a call that is not through when its time is up, whatever else the server kept us
 * busy with until then. Nothing blocks but poll(), and that not beyond the deadline.
 *
 * Threads: one at a time, whichever.
 */
#include "transport/vfio_user/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "util/fd.h"

enum { DISPATCH_BATCH = 64 }; /* requests served in one vtr_vfio_user_client_dispatch() */

static uint64_t message_size(const uint8_t *header)
{
	struct vfio_user_header decoded;

	memcpy(&decoded, header, sizeof(decoded));
	return decoded.size;
}

static const struct vtr_framing framing = {
	.header_size = sizeof(struct vfio_user_header),
	.max_size = VTR_MAX_MESSAGE,
	.message_size = message_size,
};

static uint64_t deadline_after(int timeout_ms)
{
	return vtr_now_ns() + (uint64_t)timeout_ms * 1000000;
}

/* Closes the connection. Returns what a call says then. */
static int hang_up(struct vtr_vfio_user_client *client, int error)
{
	vtr_fd_close(&client->socket);
	vtr_message_reader_finish(&client->reader);
	vtr_message_queue_finish(&client->queue);
	return error == -EPROTO || error == -ETIMEDOUT ? error : -ECONNRESET;
}

int vtr_vfio_user_client_distrust(struct vtr_vfio_user_client *client)
{
	return hang_up(client, -EPROTO);
}

/* ---- the server's requests ---- */

/* errors are replied as they are; a count beyond what we announced is refused. */
static int serve_dma(struct vtr_vfio_user_client *client, const struct vfio_user_header *header, const uint8_t *body, size_t size,
                     struct vfio_user_dma_access *access)
{
	const size_t fixed = sizeof(*access);

	if (size < fixed)
		return -EINVAL;
	memcpy(access, body, fixed);
	if (access->count > VTR_MAX_DATA_XFER || size - fixed != (header->command == VFIO_USER_DMA_WRITE ? access->count : 0))
		return -EINVAL;
	if (!client->dma)
		return -EFAULT;
	if (!client->dma_buffer)
		client->dma_buffer = malloc(VTR_MAX_DATA_XFER);
	if (!client->dma_buffer)
		return -ENOMEM;
	if (header->command == VFIO_USER_DMA_WRITE)
		return client->dma->write(client->dma_data, access->address, body + fixed, access->count);
	return client->dma->read(client->dma_data, access->address, client->dma_buffer, access->count);
}

/* Answers one request. 0, or an error of the connection. */
static int serve(struct vtr_vfio_user_client *client, const struct vfio_user_header *header, const struct vtr_message *message)
{
	struct vfio_user_header reply = { .id = header->id, .command = header->command, .flags = VFIO_USER_TYPE_REPLY };
	struct vfio_user_dma_access access;
	struct iovec parts[] = { { &reply, sizeof(reply) }, { &access, sizeof(access) }, { NULL, 0 } };
	int error = -ENOSYS;

	client->serving = true;
	if (message->n_fds)
		error = -EINVAL;
	else if (header->command == VFIO_USER_DMA_READ || header->command == VFIO_USER_DMA_WRITE)
		error = serve_dma(client, header, message->data + sizeof(*header), message->size - sizeof(*header), &access);
	client->serving = false;
	if (header->flags & VFIO_USER_FLAG_NO_REPLY)
		return 0;
	if (error) {
		reply.flags |= VFIO_USER_FLAG_ERROR;
		reply.error = (uint32_t)-error;
	} else if (header->command == VFIO_USER_DMA_READ) {
		parts[2] = (struct iovec){ client->dma_buffer, access.count };
	}
	reply.size = (uint32_t)(error ? sizeof(reply) : sizeof(reply) + sizeof(access) + parts[2].iov_len);
	return vtr_message_send(&client->queue, client->socket, parts, error ? 1 : 3, NULL, 0);
}

/* ---- messages coming in ---- */

/* An errno that a caller cannot take for one of the connection. */
static int replied_error(const struct vfio_user_header *header)
{
	enum { MAX_ERRNO = 4095 };
	int error = header->error && header->error <= MAX_ERRNO ? -(int)header->error : -EIO;

	switch (error) {
	case -EPROTO:
	case -ETIMEDOUT:
	case -ECONNRESET:
	case -ENOTCONN:
		return -EIO;
	default:
		return error;
	}
}

/* The reply to call: 1, its contents in call; or -errno with *replied set when that is the server's answer. */
static int take_reply(struct vtr_vfio_user_call *call, const struct vfio_user_header *header, const struct vtr_message *message,
                      bool *replied)
{
	size_t size = message->size - sizeof(*header);

	if (header->command != call->command || header->flags & VFIO_USER_FLAG_NO_REPLY)
		return -EPROTO;
	if (header->flags & VFIO_USER_FLAG_ERROR) {
		*replied = !size && !message->n_fds;
		return *replied ? replied_error(header) : -EPROTO;
	}
	if (size < call->min_reply || size > call->max_reply || message->n_fds > call->max_reply_fds)
		return -EPROTO;
	*replied = true;
	call->reply = *message;
	call->reply_body = message->data + sizeof(*header);
	call->reply_size = size;
	return 1;
}

/* One message, while the reply to call (id) is awaited, or none (NULL). 1: that was it; 0: it was something else; -errno with
 * *replied false: the connection is no good. */
static int take(struct vtr_vfio_user_client *client, struct vtr_vfio_user_call *call, uint16_t id, struct vtr_message *message,
                bool *replied)
{
	struct vfio_user_header header;
	int result = -EPROTO;
	uint32_t type;

	memcpy(&header, message->data, sizeof(header));
	type = header.flags & VFIO_USER_FLAG_TYPE;
	if (header.flags & ~(uint32_t)VFIO_USER_FLAGS)
		result = -EPROTO;
	else if (type == VFIO_USER_TYPE_COMMAND && !(header.flags & VFIO_USER_FLAG_ERROR))
		result = serve(client, &header, message);
	else if (type == VFIO_USER_TYPE_REPLY && call && header.id == id)
		result = take_reply(call, &header, message, replied);
	if (result <= 0)
		vtr_message_finish(message);
	return result;
}

/* Waits until there is something to do. 0, -ETIMEDOUT or an error of the connection. */
static int wait_for_socket(struct vtr_vfio_user_client *client, uint64_t deadline)
{
	bool unsent = !vtr_message_queue_empty(&client->queue);
	struct pollfd poll_fd = { .fd = client->socket, .events = (short)(POLLIN | (unsent ? POLLOUT : 0)) };
	uint64_t now = vtr_now_ns();

	if (now >= deadline)
		return -ETIMEDOUT;
	if (poll(&poll_fd, 1, (int)((deadline - now) / 1000000) + 1) <= 0 || !(poll_fd.revents & POLLOUT))
		return 0;
	int error = vtr_message_flush(&client->queue, client->socket);
	return error == -EAGAIN ? 0 : error;
}

/* Goes on until the reply to call is there or, without a call, until everything is sent. */
static int run(struct vtr_vfio_user_client *client, struct vtr_vfio_user_call *call, uint16_t id, uint64_t deadline)
{
	struct vtr_message message;
	bool replied = false;

	while (call || !vtr_message_queue_empty(&client->queue)) {
		int result = vtr_message_read(&client->reader, client->socket, &message);

		if (result > 0) {
			result = take(client, call, id, &message, &replied);
			if (replied)
				return result < 0 ? result : 0;
			/* A server that keeps us busy does not keep us for ever. */
			if (!result && vtr_now_ns() < deadline)
				continue;
		}
		if (!result)
			result = wait_for_socket(client, deadline);
		if (result)
			return hang_up(client, result);
	}
	return 0;
}

/* ---- calls going out ---- */

/* 0 and the message is sent or queued, behind the writes that were collected before it; -EBUSY, -ENOTCONN, -E2BIG, ... */
static int send_command(struct vtr_vfio_user_client *client, const struct vtr_vfio_user_call *call, uint16_t id, uint32_t flags)
{
	struct vfio_user_header header = { .id = id, .command = call->command, .size = sizeof(header), .flags = flags };
	struct iovec parts[1 + VTR_VFIO_USER_CALL_PARTS] = { { &header, sizeof(header) } };

	if (client->socket < 0)
		return -ENOTCONN;
	if (client->serving)
		return -EBUSY;
	if (call->n_fds > client->server.max_msg_fds)
		return -E2BIG;
	int error = vtr_vfio_user_send_collected(client);
	if (error)
		return error;
	for (size_t i = 0; i < call->n_body; i++) {
		parts[1 + i] = call->body[i];
		header.size += (uint32_t)call->body[i].iov_len;
	}
	error = vtr_message_send(&client->queue, client->socket, parts, 1 + call->n_body, call->fds, call->n_fds);
	return error ? hang_up(client, error) : 0;
}

int vtr_vfio_user_call(struct vtr_vfio_user_client *client, struct vtr_vfio_user_call *call)
{
	uint64_t deadline = deadline_after(client->timeout_ms);
	uint16_t id = client->next_id++;
	int error = send_command(client, call, id, 0);

	return error ? error : run(client, call, id, deadline);
}

int vtr_vfio_user_post(struct vtr_vfio_user_client *client, const struct vtr_vfio_user_call *call)
{
	uint64_t deadline = deadline_after(client->timeout_ms);
	int error = send_command(client, call, client->next_id++, VFIO_USER_FLAG_NO_REPLY);

	return error ? error : run(client, NULL, 0, deadline);
}

int vtr_vfio_user_client_dispatch(struct vtr_vfio_user_client *client)
{
	uint64_t deadline = deadline_after(client->timeout_ms);
	struct vtr_message message;
	bool replied = false;

	if (client->socket < 0)
		return -ENOTCONN;
	if (client->serving)
		return -EBUSY;
	for (int i = 0; i < DISPATCH_BATCH; i++) {
		int result = vtr_message_read(&client->reader, client->socket, &message);

		if (result > 0)
			result = take(client, NULL, 0, &message, &replied);
		else if (!result)
			break;
		if (result)
			return hang_up(client, result);
	}
	return run(client, NULL, 0, deadline);
}

/* ---- life ---- */

static int negotiate(struct vtr_vfio_user_client *client)
{
	const struct vtr_vfio_user_capabilities own = vtr_vfio_user_own_capabilities();
	struct vfio_user_version version = { VFIO_USER_MAJOR, VFIO_USER_MINOR };
	char data[512];
	int length = vtr_vfio_user_capabilities_format(&own, data, sizeof(data));

	if (length < 0)
		return length;
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_VERSION,
		.body = (struct iovec[]){ { &version, sizeof(version) }, { data, (size_t)length } },
		.n_body = 2,
		.min_reply = sizeof(version),
		.max_reply = sizeof(version) + VTR_VFIO_USER_MAX_VERSION_DATA,
	};
	int error = vtr_vfio_user_call(client, &call);
	if (error)
		return error;
	memcpy(&version, call.reply_body, sizeof(version));
	error = vtr_vfio_user_capabilities_parse(&client->server, call.reply_body + sizeof(version),
	                                         call.reply_size - sizeof(version));
	vtr_message_finish(&call.reply);
	return error || version.major != VFIO_USER_MAJOR || version.minor > VFIO_USER_MINOR ? -EPROTO : 0;
}

struct vtr_vfio_user_client *vtr_vfio_user_client_attach(int socket, int timeout_ms)
{
	struct vtr_vfio_user_client *client = malloc(sizeof(*client));

	if (!client) {
		close(socket);
		errno = ENOMEM;
		return NULL;
	}
	*client = (struct vtr_vfio_user_client){ .socket = socket, .timeout_ms = timeout_ms };
	vtr_message_reader_init(&client->reader, &framing);
	vtr_message_queue_init(&client->queue, VTR_VFIO_USER_CLIENT_MAX_QUEUED);
	int error = negotiate(client);
	if (error) {
		vtr_vfio_user_client_destroy(client);
		errno = -error;
		return NULL;
	}
	return client;
}

struct vtr_vfio_user_client *vtr_vfio_user_client_connect(const char *path, int timeout_ms)
{
	int socket = vtr_unix_connect_until(path, deadline_after(timeout_ms));

	if (socket < 0) {
		errno = -socket;
		return NULL;
	}
	return vtr_vfio_user_client_attach(socket, timeout_ms);
}

void vtr_vfio_user_client_destroy(struct vtr_vfio_user_client *client)
{
	if (!client)
		return;
	hang_up(client, 0);
	free(client->dma_buffer);
	free(client);
}

void vtr_vfio_user_client_set_dma(struct vtr_vfio_user_client *client, const struct vtr_vfio_user_dma_impl *impl, void *data)
{
	client->dma = impl;
	client->dma_data = data;
}

int vtr_vfio_user_client_fd(const struct vtr_vfio_user_client *client)
{
	return client->socket;
}
