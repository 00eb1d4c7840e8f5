/* SPDX-License-Identifier: MIT */
/*
 * Framing over SOCK_STREAM.
 *
 * The reader asks the socket for exactly the rest of the header, then for exactly the rest of the message, never for more: the
 * kernel hands out fds with the bytes they were sent with, so fds that arrive while a message is being read are that message's, and
 * nothing has to be guessed. The buffer grows to what a header announces, at most to the protocol's limit.
 *
 * The queue keeps messages apart and gives each its own sendmsg(): a peer that reads a header with one recv() (QEMU does) then
 * never finds a header in two pieces.
 *
 * Nothing here waits. Whoever wants to wait polls the socket.
 */
#include "transport/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

enum { INITIAL_CAPACITY = 4096 };

struct vtr_queued_message {
	struct vtr_queued_message *next;
	size_t size, sent;
	int fds[VTR_MAX_MESSAGE_FDS]; /* owned */
	size_t n_fds;
	uint8_t data[];
};

static void close_all(int *fds, size_t *n_fds)
{
	for (size_t i = 0; i < *n_fds; i++)
		vtr_fd_close(&fds[i]);
	*n_fds = 0;
}

int vtr_message_take_fd(struct vtr_message *message, size_t index)
{
	return vtr_fd_take(&message->fds[index]);
}

void vtr_message_finish(struct vtr_message *message)
{
	close_all(message->fds, &message->n_fds);
}

/* ---- receiving ---- */

void vtr_message_reader_init(struct vtr_message_reader *reader, const struct vtr_framing *framing)
{
	*reader = (struct vtr_message_reader){ .framing = framing, .wanted = framing->header_size };
}

void vtr_message_reader_finish(struct vtr_message_reader *reader)
{
	close_all(reader->fds, &reader->n_fds);
	free(reader->buffer);
	reader->buffer = NULL;
	reader->capacity = 0;
}

/* Takes all fds of one SCM_RIGHTS; those beyond the limit are closed. False when there were too many. */
static bool collect_fds(struct vtr_message_reader *reader, const struct cmsghdr *control)
{
	size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool fits = true;

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(fd));
		if (reader->n_fds < VTR_MAX_MESSAGE_FDS) {
			reader->fds[reader->n_fds++] = fd;
		} else {
			close(fd);
			fits = false;
		}
	}
	return fits;
}

/* One recvmsg(). 1: something came; 0: nothing there; -errno. */
static int receive(struct vtr_message_reader *reader, int socket)
{
	union {
		char bytes[CMSG_SPACE(VTR_MAX_MESSAGE_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = { reader->buffer + reader->received, reader->wanted - reader->received };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	ssize_t got;
	bool fits = true;

	do {
		got = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			fits = collect_fds(reader, c) && fits;
	if (!got)
		return -ECONNRESET;
	reader->received += (size_t)got;
	/* The kernel closed what did not fit into the control buffer and says so. */
	return fits && !(header.msg_flags & MSG_CTRUNC) ? 1 : -EPROTO;
}

static int grow(struct vtr_message_reader *reader, size_t size)
{
	if (size < INITIAL_CAPACITY)
		size = INITIAL_CAPACITY;
	if (size <= reader->capacity)
		return 0;
	uint8_t *buffer = realloc(reader->buffer, size);
	if (!buffer)
		return -ENOMEM;
	reader->buffer = buffer;
	reader->capacity = size;
	return 0;
}

/* The header is complete: how long is the message? */
static int learn_size(struct vtr_message_reader *reader)
{
	uint64_t size = reader->framing->message_size(reader->buffer);

	if (size < reader->framing->header_size || size > reader->framing->max_size)
		return -EPROTO;
	reader->sized = true;
	reader->wanted = (size_t)size;
	return grow(reader, reader->wanted);
}

int vtr_message_read(struct vtr_message_reader *reader, int socket, struct vtr_message *message)
{
	int result = grow(reader, reader->framing->header_size);

	if (result)
		return result;
	while (!reader->sized || reader->received < reader->wanted) {
		if (reader->received < reader->wanted) {
			result = receive(reader, socket);
			if (result <= 0)
				return result;
		} else {
			result = learn_size(reader);
			if (result)
				return result;
		}
	}
	*message = (struct vtr_message){ .data = reader->buffer, .size = reader->wanted, .n_fds = reader->n_fds };
	memcpy(message->fds, reader->fds, sizeof(message->fds));
	reader->n_fds = 0;
	reader->received = 0;
	reader->wanted = reader->framing->header_size;
	reader->sized = false;
	return 1;
}

/* ---- sending ---- */

void vtr_message_queue_init(struct vtr_message_queue *queue, size_t limit)
{
	*queue = (struct vtr_message_queue){ .limit = limit };
	queue->last = &queue->first;
}

static void drop_first(struct vtr_message_queue *queue)
{
	struct vtr_queued_message *message = queue->first;

	queue->first = message->next;
	if (!queue->first)
		queue->last = &queue->first;
	queue->bytes -= message->size;
	close_all(message->fds, &message->n_fds);
	free(message);
}

void vtr_message_queue_finish(struct vtr_message_queue *queue)
{
	while (queue->first)
		drop_first(queue);
}

bool vtr_message_queue_empty(const struct vtr_message_queue *queue)
{
	return !queue->first;
}

/* One sendmsg(). The bytes it took, 0 when the socket is full, or -errno. */
static ssize_t transmit(int socket, const struct iovec *parts, size_t n_parts, const int *fds, size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(VTR_MAX_MESSAGE_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr header = { .msg_iov = (struct iovec *)parts, .msg_iovlen = n_parts };
	ssize_t sent;

	if (n_fds) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	do {
		sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	if (errno == EAGAIN)
		return 0;
	return errno == EPIPE ? -ECONNRESET : -errno;
}

/* Keeps a copy of a message whose first `sent` bytes are gone; the fds went with the first byte. */
static int enqueue(struct vtr_message_queue *queue, const struct iovec *parts, size_t n_parts, size_t size, size_t sent,
                   const int *fds, size_t n_fds)
{
	if (size > queue->limit - queue->bytes)
		return -ENOBUFS;
	struct vtr_queued_message *message = malloc(sizeof(*message) + size);
	if (!message)
		return -ENOMEM;
	*message = (struct vtr_queued_message){ .size = size, .sent = sent };
	for (size_t i = 0, at = 0; i < n_parts; at += parts[i++].iov_len)
		if (parts[i].iov_len)
			memcpy(message->data + at, parts[i].iov_base, parts[i].iov_len);
	*queue->last = message;
	queue->last = &message->next;
	queue->bytes += size;
	for (size_t i = 0; !sent && i < n_fds; i++) {
		message->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (message->fds[i] < 0)
			return -errno;
		message->n_fds++;
	}
	return 0;
}

int vtr_message_send(struct vtr_message_queue *queue, int socket, const struct iovec *parts, size_t n_parts, const int *fds,
                     size_t n_fds)
{
	ssize_t sent = 0;
	size_t size = 0;

	for (size_t i = 0; i < n_parts; i++)
		size += parts[i].iov_len;
	if (!queue->first)
		sent = transmit(socket, parts, n_parts, fds, n_fds);
	if (sent < 0)
		return (int)sent;
	return (size_t)sent == size ? 0 : enqueue(queue, parts, n_parts, size, (size_t)sent, fds, n_fds);
}

int vtr_message_flush(struct vtr_message_queue *queue, int socket)
{
	while (queue->first) {
		struct vtr_queued_message *message = queue->first;
		struct iovec part = { message->data + message->sent, message->size - message->sent };
		ssize_t sent = transmit(socket, &part, 1, message->fds, message->sent ? 0 : message->n_fds);

		if (sent <= 0)
			return sent ? (int)sent : -EAGAIN;
		message->sent += (size_t)sent;
		if (message->sent == message->size)
			drop_first(queue);
	}
	return 0;
}
