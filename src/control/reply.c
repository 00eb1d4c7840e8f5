/* SPDX-License-Identifier: MIT */
/* Replies: made where a request was served, sent from the loop, so that whoever is on the stack finds the client alive. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "control/control.h"
#include "util/fd.h"

#define STALL_NS UINT64_C(10000000000) /* a client that does not read for so long is dropped */

static void send_json(struct vtr_control_client *client, json_t *reply, int fd)
{
	size_t length = reply ? json_dumpb(reply, NULL, 0, JSON_COMPACT) : 0;
	char *out = length ? malloc(length + 1) : NULL;

	vtr_timer_arm(client->timer, 0);
	client->state = VTR_CONTROL_READY;
	if (!out) {
		client->dropped = true; /* no memory to say anything: the connection's end says it */
		vtr_fd_close(&fd);
	} else {
		json_dumpb(reply, out, length, JSON_COMPACT);
		out[length] = '\n';
		client->out = out;
		client->out_length = length + 1;
		client->out_sent = 0;
		client->out_fd = fd;
		vtr_timer_arm(client->timer, vtr_now_ns() + STALL_NS);
	}
	json_decref(reply);
	vtr_source_set_events(client->source, EPOLLOUT);
}

void vtr_control_reply(struct vtr_control_client *client, json_t *reply, int fd)
{
	if (reply)
		json_object_set_new(reply, "ok", json_true());
	send_json(client, reply, fd);
}

void vtr_control_refuse(struct vtr_control_client *client, const char *code, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Words of the client may be in it, and may have been cut in the middle of a character. */
	for (char *c = text; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	send_json(client, json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text), -1);
}

/* One piece of the reply, with the fd on its first byte. 1: all sent, 0: the socket is full, -1: the peer is gone. */
static int send_piece(struct vtr_control_client *client)
{
	struct iovec iov = { client->out + client->out_sent, client->out_length - client->out_sent };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };

	if (client->out_fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &client->out_fd, sizeof(int));
	}
	ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	vtr_fd_close(&client->out_fd);
	client->out_sent += (size_t)sent;
	return client->out_sent == client->out_length;
}

bool vtr_control_flush(struct vtr_control_client *client)
{
	int result = send_piece(client);

	if (result < 0)
		return false;
	if (result) {
		free(client->out);
		client->out = NULL;
		vtr_timer_arm(client->timer, 0);
	}
	return true;
}
