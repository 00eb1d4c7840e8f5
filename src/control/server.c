/* SPDX-License-Identifier: MIT */
/*
 * The control socket's server: clients, lines in, replies out.
 *
 * A client has one request at a time: the next line is looked at when the reply to the last one has left, so replies come in order
 * and what we hold for a client is bounded by one line in and one reply out, however much it sends. One line is served a dispatch:
 * a client that sends thousands takes turns with the device. While a request waits, its client's input is left in the socket.
 *
 * An fd that comes with bytes belongs to a line among them; the kernel does not tell to which, when several were read at once. It
 * waits for the next request that takes one, until all lines have been served that it can have come with. A client can make us hold
 * one.
 *
 * Dropped are: clients that send a line longer than VTR_MAX_CONTROL_LINE or something that is not JSON (after being told so), that
 * do not read their reply within 10 s, or that hang up while their request waits. A client that only closed its sending side
 * gets all its replies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/control.h"
#include "util/fd.h"

#define RETRY_NS UINT64_C(1000000000)

/* ---- a client ---- */

static void client_destroy(struct vtr_control_client *client)
{
	struct vtr_control *control = client->control;

	for (size_t i = 0; i < VTR_MAX_CONTROL_CLIENTS; i++)
		if (control->clients[i] == client)
			control->clients[i] = NULL;
	vtr_control_cancel(client);
	vtr_source_remove(client->source);
	vtr_source_remove(client->timer);
	vtr_fd_close(&client->fd);
	vtr_fd_close(&client->in_fd);
	vtr_fd_close(&client->out_fd);
	free(client->out);
	free(client);
}

static void drop_fds(struct vtr_control_client *client)
{
	vtr_fd_close(&client->in_fd);
	client->in_fds_lost = false;
}

/* Keeps the one fd of a message; a client that sends more gets none. */
static void keep_fd(struct vtr_control_client *client, struct msghdr *message)
{
	client->in_fds_lost |= message->msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
			if (client->in_fd >= 0) {
				client->in_fds_lost = true;
				close(fd);
			} else {
				client->in_fd = fd;
			}
		}
	}
	if (client->in_fds_lost)
		vtr_fd_close(&client->in_fd);
}

int vtr_control_take_fd(struct vtr_control_client *client)
{
	return vtr_fd_take(&client->in_fd);
}

static bool receive(struct vtr_control_client *client)
{
	struct iovec iov = { client->in + client->in_length, sizeof(client->in) - client->in_length };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t length = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (length < 0)
		return errno == EAGAIN || errno == EINTR;
	keep_fd(client, &message);
	if (!length)
		client->ended = true;
	client->in_length += (size_t)length;
	return true;
}

/* What cannot be a request: the client is told, and hears no more. */
static void give_up(struct vtr_control_client *client, const char *why)
{
	vtr_log_limited(&client->control->log, VTR_LOG_DEBUG, "control: a client is dropped: %s", why);
	client->ended = true;
	client->in_length = 0;
	drop_fds(client);
	vtr_control_refuse(client, "invalid", "%s", why);
}

/* A line to be served, or too many bytes for one. */
static bool has_line(const struct vtr_control_client *client)
{
	return memchr(client->in, '\n', client->in_length) || client->in_length == sizeof(client->in);
}

static void serve_line(struct vtr_control_client *client)
{
	char *end = memchr(client->in, '\n', client->in_length);

	if (!end) {
		give_up(client, "the request is too long");
		return;
	}
	size_t length = (size_t)(end - client->in);
	bool ok = vtr_control_serve(client, client->in, length);
	client->in_length -= length + 1;
	memmove(client->in, end + 1, client->in_length);
	if (!client->in_length)
		drop_fds(client);
	if (!ok)
		give_up(client, "the request is not JSON");
}

static uint32_t wanted_events(const struct vtr_control_client *client)
{
	if (client->out || client->dropped)
		return EPOLLOUT;
	if (client->state != VTR_CONTROL_READY)
		return 0;                                              /* EPOLLHUP comes all the same */
	return has_line(client) || client->ended ? EPOLLOUT : EPOLLIN; /* EPOLLOUT: another turn */
}

/* Sends, receives, serves: what is next. False: the client is to be dropped. */
static bool take_turn(struct vtr_control_client *client, uint32_t events)
{
	if (client->dropped)
		return false;
	if (client->out && !vtr_control_flush(client))
		return false;
	if (client->out)
		return true;
	if (client->state != VTR_CONTROL_READY)
		return !(events & (EPOLLHUP | EPOLLERR)); /* the peer hung up: nobody waits for the answer */
	if (!has_line(client) && !client->ended && !receive(client))
		return false;
	if (!has_line(client))
		return !client->ended; /* else what is left is half a line that nobody will complete */
	serve_line(client);
	return true;
}

static void client_ready(int fd, uint32_t events, void *data)
{
	struct vtr_control_client *client = data;

	if (take_turn(client, events))
		vtr_source_set_events(client->source, wanted_events(client));
	else
		client_destroy(client);
}

static void client_timer(void *data)
{
	struct vtr_control_client *client = data;

	if (client->out) {
		vtr_log_limited(&client->control->log, VTR_LOG_DEBUG, "control: a client that does not read is dropped");
		client_destroy(client);
	} else if (client->state != VTR_CONTROL_READY) {
		vtr_control_timed_out(client);
	}
}

/* ---- listening ---- */

/* Takes fd. */
static void client_create(struct vtr_control *control, size_t slot, int fd)
{
	struct vtr_control_client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	client->control = control;
	client->fd = fd;
	client->in_fd = -1;
	client->out_fd = -1;
	client->source = vtr_loop_add_fd(control->loop, fd, EPOLLIN, client_ready, client);
	client->timer = vtr_loop_add_timer(control->loop, client_timer, client);
	if (!client->source || !client->timer) {
		client_destroy(client);
		return;
	}
	control->clients[slot] = client;
}

static void connection(int listener, uint32_t events, void *data)
{
	static const char full[] = "{\"ok\":false,\"code\":\"failed\",\"error\":\"too many control clients\"}\n";
	struct vtr_control *control = data;
	size_t slot = 0;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		/* Out of fds or memory: the connection stays in the backlog, and would keep us spinning. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			vtr_log_limited(&control->log, VTR_LOG_WARN, "control: cannot accept a client: %s", strerror(errno));
			vtr_source_set_events(control->source, 0);
			vtr_timer_arm(control->retry, vtr_now_ns() + RETRY_NS);
		}
		return;
	}
	while (slot < VTR_MAX_CONTROL_CLIENTS && control->clients[slot])
		slot++;
	if (slot < VTR_MAX_CONTROL_CLIENTS) {
		client_create(control, slot, fd);
		return;
	}
	ssize_t sent = send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)sent;
	close(fd);
}

static void accept_again(void *data)
{
	struct vtr_control *control = data;

	vtr_source_set_events(control->source, EPOLLIN);
}

static void frame_counted(uint32_t scanout, void *data)
{
	vtr_control_frame(data, scanout);
}

struct vtr_control *vtr_control_create(struct vtr_loop *loop, const char *path, const struct vtr_control_subject *subject)
{
	struct vtr_control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	control->loop = loop;
	control->subject = *subject;
	control->path = strdup(path);
	control->fd = control->path ? vtr_unix_listen(path) : -ENOMEM;
	if (control->fd < 0) {
		errno = -control->fd;
		goto fail;
	}
	control->source = vtr_loop_add_fd(loop, control->fd, EPOLLIN, connection, control);
	control->retry = vtr_loop_add_timer(loop, accept_again, control);
	control->pace = vtr_loop_add_timer(loop, vtr_control_pace, control);
	if (!control->source || !control->retry || !control->pace)
		goto fail;
	if (subject->gpu)
		vtr_gpu_set_frame_listener(subject->gpu, frame_counted, control);
	return control;
fail:;
	int error = errno;
	vtr_control_destroy(control);
	errno = error;
	return NULL;
}

void vtr_control_destroy(struct vtr_control *control)
{
	if (!control)
		return;
	if (control->retry && control->subject.gpu)
		vtr_gpu_set_frame_listener(control->subject.gpu, NULL, NULL);
	for (size_t i = 0; i < VTR_MAX_CONTROL_CLIENTS; i++)
		if (control->clients[i])
			client_destroy(control->clients[i]);
	vtr_source_remove(control->source);
	vtr_source_remove(control->retry);
	vtr_source_remove(control->pace);
	if (control->fd >= 0) {
		unlink(control->path);
		close(control->fd);
	}
	free(control->path);
	free(control);
}
