/* SPDX-License-Identifier: MIT */
/* The client's side of the control socket: one request, one reply, within a time. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vitrine/control.h>
#include <vitrine/limits.h>

#include "util/fd.h"

enum { PIECE = 65536, MAX_FDS = 8 };

int vtr_control_connect(const char *path)
{
	return vtr_unix_connect(path);
}

/* 0 when fd is ready for events, -ETIMEDOUT at deadline_ns, or -errno. */
static int wait_ready(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd pollfd = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = vtr_now_ns();

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		uint64_t left_ms = (deadline_ns - now) / 1000000 + 1;
		int count = poll(&pollfd, 1, left_ms < 3600000 ? (int)left_ms : 3600000);
		if (count > 0)
			return 0;
		if (count < 0 && errno != EINTR)
			return -errno;
	}
}

/* The first bytes, at least one, with request_fd. Bytes sent, 0 when none could be, or -errno. */
static ssize_t send_first(int fd, const char *data, size_t length, int request_fd)
{
	struct iovec iov = { (char *)data, length };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.header), &request_fd, sizeof(int));
	ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : errno == EPIPE ? -ECONNRESET : -errno;
	return sent;
}

static int send_all(int fd, const char *data, size_t length, uint64_t deadline_ns)
{
	while (length) {
		int error = wait_ready(fd, POLLOUT, deadline_ns);

		if (error)
			return error;
		ssize_t sent = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return errno == EPIPE ? -ECONNRESET : -errno;
		if (sent > 0) {
			data += sent;
			length -= (size_t)sent;
		}
	}
	return 0;
}

/* Keeps the first fd that ever comes, closes all others. */
static void take_fds(struct msghdr *message, int *fd)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int received;

			memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof(received));
			if (*fd < 0)
				*fd = received;
			else
				close(received);
		}
	}
}

/* Bytes received, 0 when there are none yet, or -errno. */
static ssize_t receive_piece(int socket, char *data, size_t space, int *fd)
{
	struct iovec iov = { data, space };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (length < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	take_fds(&message, fd);
	return length ? length : -ECONNRESET;
}

/* Reads one line into a buffer that grows with it; the newline becomes its end. */
static int receive_line(int socket, uint64_t deadline_ns, char **line, int *fd)
{
	size_t length = 0;

	for (;;) {
		char *end, *grown = realloc(*line, length + PIECE);
		int error = grown ? wait_ready(socket, POLLIN, deadline_ns) : -ENOMEM;

		if (grown)
			*line = grown;
		if (error)
			return error;
		ssize_t received = receive_piece(socket, *line + length, PIECE, fd);
		if (received < 0)
			return (int)received;
		end = memchr(*line + length, '\n', (size_t)received);
		length += (size_t)received;
		if (end && end != *line + length - 1)
			return -EPROTO; /* more than was asked for */
		if (end) {
			*end = '\0';
			return 0;
		}
		if (length > VTR_MAX_CONTROL_REPLY)
			return -EPROTO;
	}
}

static int send_request(int socket, const char *request, int request_fd, uint64_t deadline)
{
	size_t length = strlen(request);
	ssize_t sent = 0;
	int error = 0;

	while (request_fd >= 0 && !sent && !error) {
		error = wait_ready(socket, POLLOUT, deadline);
		sent = error ? 0 : send_first(socket, request, length, request_fd);
		error = sent < 0 ? (int)sent : error;
	}
	if (!error)
		error = send_all(socket, request + sent, length - (size_t)sent, deadline);
	return error ? error : send_all(socket, "\n", 1, deadline);
}

static int call(int socket, const char *request, int request_fd, int timeout_ms, char **reply, int *fd)
{
	uint64_t deadline = vtr_now_ns() + (uint64_t)timeout_ms * 1000000;
	char *line = NULL;
	int received = -1;
	int error = send_request(socket, request, request_fd, deadline);

	if (!error)
		error = receive_line(socket, deadline, &line, &received);
	if (error || !fd)
		vtr_fd_close(&received);
	if (fd)
		*fd = received;
	if (error) {
		free(line);
		line = NULL;
	}
	*reply = line;
	return error;
}

int vtr_control_call(int socket, const char *request, int timeout_ms, char **reply, int *fd)
{
	return call(socket, request, -1, timeout_ms, reply, fd);
}

int vtr_control_call_with_fd(int socket, const char *request, int request_fd, int timeout_ms, char **reply)
{
	return call(socket, request, request_fd, timeout_ms, reply, NULL);
}
