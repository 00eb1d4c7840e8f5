/* SPDX-License-Identifier: MIT */
/*
 * Memory of the client by message: DMA_READ and DMA_WRITE, server to client. The memory map calls this for regions that have no CPU
 * mapping, from wherever a device touches guest memory; the caller waits.
 *
 * A transfer is what one caller wants: one piece, or many. It is cut into requests, of which several are under way at a time, so
 * that many small ones do not cost a round trip each. Replies may come in any order. Writes go one by one, because the guest may
 * look at what was written in the order in which it was.
 *
 * While we wait the client may be waiting for us, so its messages are served, as far as that leaves the memory map and the device
 * alone (server.c). Otherwise the transfer is cancelled: the caller gets -ECANCELED, unwinds, and can ask again afterwards. The
 * replies to cancelled requests still come; their ids are remembered until then. While a message of the client is being handled
 * nothing can be asked at all (-EBUSY): a client that does nothing else until it has its reply would never answer.
 *
 * Time. The device thread does nothing else while it waits, so it waits no longer than dma_timeout_ms in one turn of the loop,
 * whatever the guest made of its memory and however slowly the client answers:
 *   - a request that has no answer after dma_timeout_ms: the client is lost; it would stop the device again at the next access;
 *   - a transfer of many requests that had half of that time or more, of which some were answered: -ETIMEDOUT. It is too much;
 *   - any other, whose time was taken by those before it in this turn: -EBUSY. It has the whole time in the next turn.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "transport/vfio_user/server.h"
#include "util/loop.h"

/* A message under way. */
struct vtr_vfio_user_dma_request {
	uint16_t id;
	struct vfio_user_dma_access access;
	uint8_t *buffer; // access.count bytes
	uint64_t sent_ns;
};

struct vtr_vfio_user_transfer {
	uint16_t command;
	const struct vtr_remote_piece *pieces; // of a write, where the bytes come from
	size_t n_pieces;
	size_t piece, done; // asked for so far: pieces, and bytes of the next one
	struct vtr_vfio_user_dma_request flying[VTR_VFIO_USER_DMA_WINDOW];
	size_t n_flying, flying_bytes;
	bool answered; // one of them at least
	int result;    // the first error; ends the transfer
};

/* ---- ids ---- */

static uint64_t *cancelled_word(struct vtr_vfio_user_dma *dma, uint16_t id)
{
	return &dma->cancelled[id / 64];
}

static uint64_t cancelled_bit(uint16_t id)
{
	return UINT64_C(1) << id % 64;
}

static bool is_cancelled(struct vtr_vfio_user_dma *dma, uint16_t id)
{
	return *cancelled_word(dma, id) & cancelled_bit(id);
}

/* There are far more ids than may be cancelled. */
static uint16_t new_id(struct vtr_vfio_user_dma *dma)
{
	while (is_cancelled(dma, dma->next_id))
		dma->next_id++;
	return dma->next_id++;
}

/* Gives up what is under way. */
static void cancel(struct vtr_vfio_user_server *server, struct vtr_vfio_user_transfer *transfer)
{
	struct vtr_vfio_user_dma *dma = &server->dma;

	for (size_t i = 0; i < transfer->n_flying; i++) {
		*cancelled_word(dma, transfer->flying[i].id) |= cancelled_bit(transfer->flying[i].id);
		dma->n_cancelled++;
	}
	transfer->n_flying = 0;
	if (dma->n_cancelled > VTR_VFIO_USER_MAX_CANCELLED)
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

static int finish_read(const struct vtr_vfio_user_dma_request *request, const uint8_t *body, size_t size)
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

/* The request that a reply answers, or NULL. */
static struct vtr_vfio_user_dma_request *find(struct vtr_vfio_user_transfer *transfer, const struct vfio_user_header *header)
{
	if (!transfer || header->command != transfer->command)
		return NULL;
	for (size_t i = 0; i < transfer->n_flying; i++)
		if (transfer->flying[i].id == header->id)
			return &transfer->flying[i];
	return NULL;
}

void vtr_vfio_user_dma_reply(struct vtr_vfio_user_server *server, const struct vfio_user_header *header,
                             const struct vtr_message *message)
{
	const uint8_t *body = message->data + sizeof(*header);
	size_t size = message->size - sizeof(*header);
	struct vtr_vfio_user_dma *dma = &server->dma;
	struct vtr_vfio_user_transfer *transfer = dma->transfer;
	struct vtr_vfio_user_dma_request *request = find(transfer, header);
	int result;

	if (is_cancelled(dma, header->id)) {
		*cancelled_word(dma, header->id) &= ~cancelled_bit(header->id);
		dma->n_cancelled--;
		return;
	}
	if (!request) {
		vtr_vfio_user_lose(server, "a reply that answers nothing");
		return;
	}
	if (header->flags & VFIO_USER_FLAG_ERROR)
		result = replied_error(header);
	else if (transfer->command == VFIO_USER_DMA_READ)
		result = finish_read(request, body, size);
	else
		result = finish_write(request, body, size);
	if (!result && transfer->command == VFIO_USER_DMA_READ)
		server->status.bytes_fetched += request->access.count;
	if (!transfer->result)
		transfer->result = result;
	transfer->answered = true;
	transfer->flying_bytes -= request->access.count;
	*request = transfer->flying[--transfer->n_flying];
	if (result == -EPROTO)
		vtr_vfio_user_lose(server,
		                   "a malformed DMA reply; with shared guest memory (QEMU: share=on) there is no need for DMA");
}

/* ---- requests ---- */

/* QEMU 11.1 writes a reply with one call and forgets what the socket did not take. So all replies under way must fit into an empty
 * send buffer of the default size (212992 bytes, of which each takes up to 8 KiB more than it has), with room for other messages.
 */
enum { MAX_DMA_COUNT = 65536, MAX_FLYING_BYTES = 65536 };

static size_t next_count(const struct vtr_vfio_user_server *server, const struct vtr_vfio_user_transfer *transfer)
{
	size_t left = transfer->pieces[transfer->piece].length - transfer->done, limit = MAX_DMA_COUNT;

	if (server->client.max_data_xfer_size < limit)
		limit = (size_t)server->client.max_data_xfer_size;
	return left < limit ? left : limit;
}

static void send_request(struct vtr_vfio_user_server *server, struct vtr_vfio_user_transfer *transfer, size_t count)
{
	const struct vtr_remote_piece *piece = &transfer->pieces[transfer->piece];
	bool write = transfer->command == VFIO_USER_DMA_WRITE;
	struct vtr_vfio_user_dma_request *request = &transfer->flying[transfer->n_flying++];

	*request = (struct vtr_vfio_user_dma_request){
		.id = new_id(&server->dma),
		.access = { .address = piece->address + transfer->done, .count = count },
		.buffer = (uint8_t *)piece->buffer + transfer->done,
		.sent_ns = vtr_now_ns(),
	};
	struct vfio_user_header header = {
		.id = request->id,
		.command = transfer->command,
		.size = (uint32_t)(sizeof(header) + sizeof(request->access) + (write ? count : 0)),
	};
	const struct iovec parts[] = {
		{ &header, sizeof(header) },
		{ &request->access, sizeof(request->access) },
		{ request->buffer, count },
	};
	vtr_vfio_user_send(server, parts, write ? 3 : 2);
	transfer->flying_bytes += count;
	transfer->done += count;
	if (transfer->done == piece->length) {
		transfer->piece++;
		transfer->done = 0;
	}
}

/* As many as may be under way. */
static void send_requests(struct vtr_vfio_user_server *server, struct vtr_vfio_user_transfer *transfer)
{
	size_t window = transfer->command == VFIO_USER_DMA_WRITE ? 1 : VTR_VFIO_USER_DMA_WINDOW;

	while (transfer->piece < transfer->n_pieces && transfer->n_flying < window) {
		size_t count = next_count(server, transfer);

		if (transfer->n_flying && transfer->flying_bytes + count > MAX_FLYING_BYTES)
			return;
		send_request(server, transfer, count);
	}
}

/* ---- waiting ---- */

/* Serves one message; one that has to wait ends the transfer. */
static void serve_one(struct vtr_vfio_user_server *server, struct vtr_vfio_user_transfer *transfer, struct vtr_message *message)
{
	if (vtr_vfio_user_handle(server, message, true))
		return;
	server->held = *message;
	server->holding = true;
	vtr_event_raise(server->resume);
	transfer->result = -ECANCELED;
}

/* Until deadline, or until the socket is ready for what we want of it. */
static void wait_for_socket(struct vtr_vfio_user_server *server, uint64_t now, uint64_t deadline)
{
	bool unsent = !vtr_message_queue_empty(&server->queue);
	struct pollfd poll_fd = { .fd = server->socket, .events = (short)(POLLIN | (unsent ? POLLOUT : 0)) };

	if (poll(&poll_fd, 1, (int)((deadline - now) / 1000000) + 1) > 0 && poll_fd.revents & POLLOUT) {
		int error = vtr_message_flush(&server->queue, server->socket);

		if (error && error != -EAGAIN)
			vtr_vfio_user_lose(server, strerror(-error));
	}
}

static uint64_t timeout_ns(const struct vtr_vfio_user_server *server)
{
	return server->dma_timeout_ms * UINT64_C(1000000);
}

/* How long the transfer may still wait: until the oldest request is overdue, or until deadline. Past that it has an error. */
static uint64_t check_time(struct vtr_vfio_user_server *server, struct vtr_vfio_user_transfer *transfer, uint64_t now,
                           uint64_t started, uint64_t deadline)
{
	uint64_t oldest = now;

	for (size_t i = 0; i < transfer->n_flying; i++)
		if (transfer->flying[i].sent_ns < oldest)
			oldest = transfer->flying[i].sent_ns;
	if (now - oldest >= timeout_ns(server)) {
		transfer->result = -ETIMEDOUT;
		vtr_vfio_user_lose(server, "it did not answer a DMA request in time");
	} else if (now >= deadline) {
		bool enough = deadline - started >= timeout_ns(server) / 2;

		transfer->result = enough && transfer->answered ? -ETIMEDOUT : -EBUSY;
	}
	return oldest + timeout_ns(server) < deadline ? oldest + timeout_ns(server) : deadline;
}

/* Waits for what is under way, and sends what may follow, until all is done or one thing failed. */
static void wait_for_replies(struct vtr_vfio_user_server *server, struct vtr_vfio_user_transfer *transfer, uint64_t started,
                             uint64_t deadline)
{
	struct vtr_message message;

	while (!transfer->result) {
		send_requests(server, transfer);
		if (!transfer->n_flying)
			return;
		int got = server->lost ? -ENOTCONN : vtr_vfio_user_receive(server, &message);
		if (got > 0)
			serve_one(server, transfer, &message);
		if (server->lost && !transfer->result)
			transfer->result = -ECANCELED;
		if (transfer->result || !transfer->n_flying)
			continue;
		/* Looked at with every message: a client that keeps us busy does not keep us waiting. */
		uint64_t now = vtr_now_ns(), until = check_time(server, transfer, now, started, deadline);
		if (!got && !transfer->result)
			wait_for_socket(server, now, until);
	}
}

/* ---- transfers ---- */

/* What is left of this turn's time for waiting. */
static uint64_t time_left(struct vtr_vfio_user_server *server)
{
	struct vtr_vfio_user_dma *dma = &server->dma;
	uint64_t turn = vtr_loop_turn(server->loop);

	if (dma->turn != turn) {
		dma->turn = turn;
		dma->waited_ns = 0;
	}
	return dma->waited_ns < timeout_ns(server) ? timeout_ns(server) - dma->waited_ns : 0;
}

/* May requests be made at all now? */
static int may_ask(const struct vtr_vfio_user_server *server)
{
	if (server->socket < 0 || !server->negotiated)
		return -ENOTCONN;
	if (server->handling || server->dma.transfer)
		return -EBUSY;
	return server->holding || server->lost ? -ECANCELED : 0;
}

static int transfer(struct vtr_vfio_user_server *server, uint16_t command, const struct vtr_remote_piece *pieces, size_t n_pieces)
{
	struct vtr_vfio_user_transfer transfer = { .command = command, .pieces = pieces, .n_pieces = n_pieces };
	int error = may_ask(server);

	if (error)
		return error;
	uint64_t left = time_left(server), started = vtr_now_ns();
	if (!left)
		return -EBUSY;
	server->dma.transfer = &transfer;
	wait_for_replies(server, &transfer, started, started + left);
	server->dma.transfer = NULL;
	cancel(server, &transfer);
	server->dma.waited_ns += vtr_now_ns() - started;
	return transfer.result;
}

static int remote_read(void *data, uint64_t address, void *buffer, size_t length)
{
	return transfer(data, VFIO_USER_DMA_READ, &(struct vtr_remote_piece){ address, buffer, length }, length != 0);
}

static int remote_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	/* Only read from: the two directions share the rest. */
	return transfer(data, VFIO_USER_DMA_WRITE, &(struct vtr_remote_piece){ address, (void *)(uintptr_t)buffer, length },
	                length != 0);
}

static int remote_read_many(void *data, const struct vtr_remote_piece *pieces, size_t count)
{
	return transfer(data, VFIO_USER_DMA_READ, pieces, count);
}

const struct vtr_remote_impl vtr_vfio_user_remote = { .read = remote_read, .write = remote_write, .read_many = remote_read_many };
