/* SPDX-License-Identifier: MIT */
/*
 * Memory of the client by message: DMA_READ and DMA_WRITE, server to client. The memory map calls this for regions that have no CPU
 * mapping, from wherever a device touches guest memory; the caller waits, at most dma_timeout_ms for each message.
 *
 * While we wait the client may be waiting for us, so its messages are served, as far as that leaves the memory map and the device
 * alone (server.c). Otherwise the request is cancelled: the caller gets -ECANCELED, unwinds, and can ask again afterwards. The
 * reply to a cancelled request still comes; its id is remembered until then. While a message of the client is being handled nothing
 * can be asked at all (-EBUSY): a client that does nothing else until it has its reply would never answer.
 *
 * A client that does not answer in time is lost: it would otherwise stop the device again at the next access.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "transport/vfio_user/server.h"

struct vtr_vfio_user_dma_request {
	uint16_t id;
	uint16_t command;
	struct vfio_user_dma_access access;
	uint8_t *buffer; // of a DMA_READ, access.count bytes
	bool done;
	int result;
};

/* ---- ids ---- */

/* Where id is among the cancelled ones; n_cancelled when it is not. */
static size_t find_cancelled(const struct vtr_vfio_user_dma *dma, uint16_t id)
{
	size_t i = 0;

	while (i < dma->n_cancelled && dma->cancelled[i] != id)
		i++;
	return i;
}

static uint16_t new_id(struct vtr_vfio_user_dma *dma)
{
	while (find_cancelled(dma, dma->next_id) < dma->n_cancelled)
		dma->next_id++;
	return dma->next_id++;
}

static void cancel(struct vtr_vfio_user_server *server, const struct vtr_vfio_user_dma_request *request)
{
	struct vtr_vfio_user_dma *dma = &server->dma;

	if (dma->n_cancelled < VTR_VFIO_USER_MAX_CANCELLED)
		dma->cancelled[dma->n_cancelled++] = request->id;
	else
		vtr_vfio_user_lose(server, "it leaves too many DMA requests unanswered");
}

/* ---- replies ---- */

/* The client's errno; never one that means something about the connection here. */
static int replied_error(const struct vfio_user_header *header)
{
	enum { MAX_ERRNO = 4095 };
	int error = header->error && header->error <= MAX_ERRNO ? -(int)header->error : -EIO;

	return error == -EPROTO || error == -ECANCELED || error == -EBUSY ? -EIO : error;
}

static int finish_read(struct vtr_vfio_user_dma_request *request, const uint8_t *body, size_t size)
{
	struct vfio_user_dma_access access;

	if (size != sizeof(access) + request->access.count)
		return -EPROTO;
	memcpy(&access, body, sizeof(access));
	if (access.address != request->access.address || access.count != request->access.count)
		return -EPROTO;
	memcpy(request->buffer, body + sizeof(access), request->access.count);
	return 0;
}

/* The count is 32 bits in the protocol's table of this reply, 64 in other servers' and clients' structures; QEMU sends no body. */
static int finish_write(const struct vtr_vfio_user_dma_request *request, const uint8_t *body, size_t size)
{
	const size_t narrow = sizeof(uint64_t) + sizeof(uint32_t);
	struct vfio_user_dma_access access = { 0 };

	if (!size)
		return 0;
	if (size != sizeof(access) && size != narrow)
		return -EPROTO;
	memcpy(&access, body, size);
	return access.address == request->access.address && access.count == request->access.count ? 0 : -EPROTO;
}

void vtr_vfio_user_dma_reply(struct vtr_vfio_user_server *server, const struct vfio_user_header *header,
                             const struct vtr_message *message)
{
	const uint8_t *body = message->data + sizeof(*header);
	size_t size = message->size - sizeof(*header);
	struct vtr_vfio_user_dma *dma = &server->dma;
	struct vtr_vfio_user_dma_request *request = dma->request;
	size_t cancelled = find_cancelled(dma, header->id);

	if (cancelled < dma->n_cancelled) {
		dma->cancelled[cancelled] = dma->cancelled[--dma->n_cancelled];
		return;
	}
	if (!request || request->done || header->id != request->id || header->command != request->command) {
		vtr_vfio_user_lose(server, "a reply that answers nothing");
		return;
	}
	request->done = true;
	if (header->flags & VFIO_USER_FLAG_ERROR)
		request->result = replied_error(header);
	else if (request->command == VFIO_USER_DMA_READ)
		request->result = finish_read(request, body, size);
	else
		request->result = finish_write(request, body, size);
	if (request->result == -EPROTO)
		vtr_vfio_user_lose(server,
		                   "a malformed DMA reply; with shared guest memory (QEMU: share=on) there is no need for DMA");
}

/* ---- requests ---- */

/* Serves one message. False when the request is over because of it. */
static bool serve_one(struct vtr_vfio_user_server *server, struct vtr_vfio_user_dma_request *request, struct vtr_message *message)
{
	if (vtr_vfio_user_handle(server, message, true))
		return !request->done && !server->lost;
	server->held = *message;
	server->holding = true;
	vtr_event_raise(server->resume);
	cancel(server, request);
	return false;
}

/* Until deadline, or until the socket is ready for what we want of it. False when the time is up. */
static bool wait_for_socket(struct vtr_vfio_user_server *server, uint64_t deadline)
{
	bool unsent = !vtr_message_queue_empty(&server->queue);
	struct pollfd poll_fd = { .fd = server->socket, .events = (short)(POLLIN | (unsent ? POLLOUT : 0)) };
	uint64_t now = vtr_now_ns();

	if (now >= deadline)
		return false;
	if (poll(&poll_fd, 1, (int)((deadline - now) / 1000000) + 1) > 0 && poll_fd.revents & POLLOUT) {
		int error = vtr_message_flush(&server->queue, server->socket);

		if (error && error != -EAGAIN)
			vtr_vfio_user_lose(server, strerror(-error));
	}
	return true;
}

static void wait_for_reply(struct vtr_vfio_user_server *server, struct vtr_vfio_user_dma_request *request)
{
	uint64_t deadline = vtr_now_ns() + server->dma_timeout_ms * UINT64_C(1000000);
	struct vtr_message message;

	while (!server->lost) {
		int got = vtr_vfio_user_receive(server, &message);

		if (got > 0 && !serve_one(server, request, &message))
			return;
		/* Looked at with every message: a client that keeps us busy does not keep us waiting. */
		if (got > 0 && vtr_now_ns() < deadline)
			continue;
		if (got >= 0 && !wait_for_socket(server, deadline)) {
			request->result = -ETIMEDOUT;
			vtr_vfio_user_lose(server, "it did not answer a DMA request in time");
		}
	}
}

static int transfer(struct vtr_vfio_user_server *server, struct vtr_vfio_user_dma_request *request, const void *data, size_t size)
{
	struct vfio_user_header header = {
		.id = new_id(&server->dma),
		.command = request->command,
		.size = (uint32_t)(sizeof(header) + sizeof(request->access) + size),
	};
	const struct iovec parts[] = {
		{ &header, sizeof(header) },
		{ &request->access, sizeof(request->access) },
		{ (void *)data, size },
	};

	request->id = header.id;
	request->result = -ECANCELED;
	vtr_vfio_user_send(server, parts, 3);
	server->dma.request = request;
	wait_for_reply(server, request);
	server->dma.request = NULL;
	return request->result;
}

/* May a request be made at all now? */
static int may_ask(const struct vtr_vfio_user_server *server)
{
	if (server->socket < 0 || !server->negotiated)
		return -ENOTCONN;
	if (server->handling || server->dma.request)
		return -EBUSY;
	return server->holding || server->lost ? -ECANCELED : 0;
}

/* QEMU 11.1 writes a reply with one call and forgets what the socket did not take, so a reply must fit into an empty send buffer of
 * the default size (212992 bytes) with room for other messages before it. */
enum { MAX_DMA_COUNT = 65536 };

static size_t chunk_size(const struct vtr_vfio_user_server *server, size_t length)
{
	size_t limit = MAX_DMA_COUNT;

	if (server->client.max_data_xfer_size < limit)
		limit = (size_t)server->client.max_data_xfer_size;
	return length < limit ? length : limit;
}

static int remote_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct vtr_vfio_user_server *server = data;
	uint8_t *bytes = buffer;
	int error = may_ask(server);

	while (!error && length) {
		size_t count = chunk_size(server, length);
		struct vtr_vfio_user_dma_request request = { .command = VFIO_USER_DMA_READ,
			                                     .access = { .address = address, .count = count },
			                                     .buffer = bytes };

		error = transfer(server, &request, NULL, 0);
		address += count;
		bytes += count;
		length -= count;
		if (!error)
			server->status.bytes_fetched += count;
	}
	return error;
}

static int remote_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	struct vtr_vfio_user_server *server = data;
	const uint8_t *bytes = buffer;
	int error = may_ask(server);

	while (!error && length) {
		size_t count = chunk_size(server, length);
		struct vtr_vfio_user_dma_request request = { .command = VFIO_USER_DMA_WRITE,
			                                     .access = { .address = address, .count = count } };

		error = transfer(server, &request, bytes, count);
		address += count;
		bytes += count;
		length -= count;
	}
	return error;
}

const struct vtr_remote_impl vtr_vfio_user_remote = { .read = remote_read, .write = remote_write };
