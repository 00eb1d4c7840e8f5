/* SPDX-License-Identifier: MIT */
#ifndef VTR_TRANSPORT_MESSAGE_H
#define VTR_TRANSPORT_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vitrine/limits.h>

/*
 * Messages with file descriptors over a UNIX stream socket: framing only, both ways, without ever blocking. What the bytes mean is
 * the protocol's business.
 */

/* What framing has to know of a protocol. */
struct vtr_framing {
	size_t header_size;
	size_t max_size;                                 /* of a whole message; larger ones are malformed */
	uint64_t (*message_size)(const uint8_t *header); /* of the whole message, header included, as the header says */
};

/* A received message. Its bytes are the reader's and valid until the next vtr_message_read(); its fds are the receiver's. */
struct vtr_message {
	uint8_t *data;
	size_t size;
	int fds[VTR_MAX_MESSAGE_FDS]; /* -1 once taken */
	size_t n_fds;
};

/* Returns fd number index, which becomes the caller's; -1 when it was taken before. index < n_fds. */
int vtr_message_take_fd(struct vtr_message *message, size_t index);
/* Closes the fds that nobody took. An empty or finished message is fine. */
void vtr_message_finish(struct vtr_message *message);

/* The receiving side of a connection. Embedded. */
struct vtr_message_reader {
	const struct vtr_framing *framing;
	uint8_t *buffer;
	size_t capacity; /* of buffer */
	size_t received; /* bytes of the current message */
	size_t wanted;   /* until the header is complete: its size; then the message's */
	bool sized;      /* wanted is the message's */
	int fds[VTR_MAX_MESSAGE_FDS];
	size_t n_fds;
};

void vtr_message_reader_init(struct vtr_message_reader *reader, const struct vtr_framing *framing);
void vtr_message_reader_finish(struct vtr_message_reader *reader); /* frees the buffer, closes the fds of a half message */

/*
 * Receives what is there. 1: *message is complete; 0: it is not, and the socket has no more; -ECONNRESET: the peer is gone;
 * -EPROTO: the message is malformed (a size that cannot be, more than VTR_MAX_MESSAGE_FDS fds); -ENOMEM, or another -errno. After
 * an error the stream has no defined position any more: close it.
 */
int vtr_message_read(struct vtr_message_reader *reader, int socket, struct vtr_message *message);

/* The sending side: what the socket does not take at once waits here, up to limit bytes. Embedded. */
struct vtr_message_queue {
	struct vtr_queued_message *first, **last;
	size_t bytes;
	size_t limit;
};

void vtr_message_queue_init(struct vtr_message_queue *queue, size_t limit);
void vtr_message_queue_finish(struct vtr_message_queue *queue); /* drops what was not sent */
bool vtr_message_queue_empty(const struct vtr_message_queue *queue);

/* Sends one message, or the rest of it later. fds stay the caller's (duplicated if they have to wait). 0; -ENOBUFS when the peer
 * let more than limit bytes pile up; -ECONNRESET; -ENOMEM, or another -errno: close the connection. */
int vtr_message_send(struct vtr_message_queue *queue, int socket, const struct iovec *parts, size_t n_parts, const int *fds,
                     size_t n_fds);
/* Sends what waits. 0 when nothing is left; -EAGAIN when the socket is full (poll for POLLOUT); or an error as above. */
int vtr_message_flush(struct vtr_message_queue *queue, int socket);

#endif
