/* SPDX-License-Identifier: MIT */
/*
 * The channel for requests of the back-end's.
 *
 * The front-end answers in the order in which it was asked, so a reply is that of the oldest request of its kind. A request that is
 * not answered in time ends for whoever made it; its place is kept for the reply that may still come. Places are few: a front-end
 * that stops answering gets no more questions, and holds nobody up.
 *
 * A front-end that breaks the rules here (a reply to nothing, bytes that are no reply) loses this channel, and nothing else: the
 * device works without it. The channel is torn down from the loop, never from inside a request, whose maker may be anywhere on the
 * stack.
 *
 * Thread: the loop's.
 */
#include "transport/vhost_user/server_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/fd.h"

static uint64_t message_size(const uint8_t *bytes)
{
	struct vhost_user_header header;

	memcpy(&header, bytes, sizeof(header));
	return (uint64_t)sizeof(header) + header.size;
}

/* Replies are numbers. */
static const struct vtr_framing framing = {
	.header_size = sizeof(struct vhost_user_header),
	.max_size = sizeof(struct vhost_user_header) + sizeof(uint64_t),
	.message_size = message_size,
};

static void lose(struct vtr_vhost_user_channel *channel, const char *reason)
{
	if (channel->closed)
		return;
	channel->closed = true;
	vtr_log_limited(&channel->log_limit, VTR_LOG_DEBUG, "vhost-user: the channel for requests to the front-end is closed: %s",
	                reason);
	vtr_event_raise(channel->close);
}

/* ---- calls ---- */

static void arm_timeout(struct vtr_vhost_user_channel *channel)
{
	uint64_t first = 0;

	for (size_t i = 0; i < channel->n_calls && !first; i++)
		if (channel->calls[i].done)
			first = channel->calls[i].deadline_ns;
	vtr_timer_arm(channel->timeout, first);
}

/* Takes call number i out of the list. */
static struct vtr_vhost_user_call take_call(struct vtr_vhost_user_channel *channel, size_t i)
{
	struct vtr_vhost_user_call call = channel->calls[i];

	channel->n_calls--;
	memmove(&channel->calls[i], &channel->calls[i + 1], (channel->n_calls - i) * sizeof(call));
	return call;
}

static void on_timeout(void *data)
{
	struct vtr_vhost_user_channel *channel = data;
	uint64_t now = vtr_now_ns();

	/* Whom it concerns may ask again at once: those are behind the ones that are looked at. */
	for (size_t i = 0, n = channel->n_calls; i < n; i++) {
		struct vtr_vhost_user_call *call = &channel->calls[i];
		vtr_vhost_user_done done = call->done;

		if (!done || call->deadline_ns > now)
			continue;
		call->done = NULL;
		done(-ETIMEDOUT, call->data);
	}
	arm_timeout(channel);
}

/* False: nobody asked. */
static bool end_call(struct vtr_vhost_user_channel *channel, uint32_t request, int result)
{
	size_t i = 0;

	while (i < channel->n_calls && channel->calls[i].request != request)
		i++;
	if (i == channel->n_calls)
		return false;
	struct vtr_vhost_user_call call = take_call(channel, i);
	if (call.done)
		call.done(result, call.data);
	arm_timeout(channel);
	return true;
}

/* ---- the socket ---- */

static void tear_down(struct vtr_vhost_user_channel *channel)
{
	vtr_source_remove(channel->source);
	channel->source = NULL;
	vtr_fd_close(&channel->socket);
	channel->closed = false;
	vtr_message_reader_finish(&channel->reader);
	vtr_message_queue_finish(&channel->queue);
	for (size_t n = channel->n_calls; n > 0; n--) {
		struct vtr_vhost_user_call call = take_call(channel, 0);

		if (call.done)
			call.done(-ECONNRESET, call.data);
	}
	arm_timeout(channel);
}

static void handle_reply(struct vtr_vhost_user_channel *channel, const struct vtr_message *message)
{
	struct vhost_user_header header;
	uint64_t value;

	memcpy(&header, message->data, sizeof(header));
	if ((header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION || !(header.flags & VHOST_USER_REPLY) ||
	    header.size != sizeof(value) || message->n_fds) {
		lose(channel, "a message that is no reply");
		return;
	}
	memcpy(&value, message->data + sizeof(header), sizeof(value));
	if (!end_call(channel, header.request, value ? -EREMOTEIO : 0))
		lose(channel, "a reply to nothing");
}

static void on_socket(int fd, uint32_t events, void *data)
{
	struct vtr_vhost_user_channel *channel = data;
	struct vtr_message message;
	int error = events & EPOLLOUT ? vtr_message_flush(&channel->queue, fd) : 0, got = 0;

	/* No more at a time than can be outstanding: the loop has others. */
	for (unsigned i = 0; i < VTR_VHOST_USER_MAX_CALLS && !channel->closed; i++) {
		got = vtr_message_read(&channel->reader, fd, &message);
		if (got <= 0)
			break;
		handle_reply(channel, &message);
		vtr_message_finish(&message);
	}
	if (error && error != -EAGAIN)
		lose(channel, strerror(-error));
	else if (got < 0)
		lose(channel, got == -ECONNRESET ? "by the front-end" : strerror(-got));
	if (!channel->closed)
		vtr_source_set_events(channel->source, EPOLLIN | (vtr_message_queue_empty(&channel->queue) ? 0 : EPOLLOUT));
	else if (channel->source)
		vtr_source_set_events(channel->source, 0);
}

static void on_close(void *data)
{
	struct vtr_vhost_user_channel *channel = data;

	if (channel->closed)
		tear_down(channel);
}

static bool is_stream(int socket)
{
	int type = 0, domain = 0;
	socklen_t size = sizeof(int);

	return !getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM &&
	       !getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_UNIX;
}

int vtr_vhost_user_channel_open(struct vtr_vhost_user_channel *channel, int socket)
{
	struct vtr_source *source = NULL;
	int error = socket < 0 || is_stream(socket) ? 0 : -EINVAL;

	if (socket >= 0 && !error) {
		source = vtr_loop_add_fd(channel->loop, socket, EPOLLIN, on_socket, channel);
		error = source ? 0 : -errno;
	}
	if (error) {
		vtr_fd_close(&socket);
		return error;
	}
	tear_down(channel);
	channel->socket = socket;
	channel->source = source;
	vtr_message_reader_init(&channel->reader, &framing);
	vtr_message_queue_init(&channel->queue, VTR_VHOST_USER_CHANNEL_QUEUED);
	return 0;
}

bool vtr_vhost_user_channel_is_open(const struct vtr_vhost_user_channel *channel)
{
	return channel->socket >= 0 && !channel->closed;
}

int vtr_vhost_user_channel_send(struct vtr_vhost_user_channel *channel, uint32_t request, const void *payload, size_t size, int fd,
                                vtr_vhost_user_done done, void *data)
{
	const struct vhost_user_header header = {
		.request = request,
		.flags = VHOST_USER_VERSION | (done ? VHOST_USER_NEED_REPLY : 0),
		.size = (uint32_t)size,
	};
	const struct iovec parts[] = { { (void *)&header, sizeof(header) }, { (void *)payload, size } };

	if (!vtr_vhost_user_channel_is_open(channel))
		return -ENOTCONN;
	if (done && channel->n_calls == VTR_VHOST_USER_MAX_CALLS)
		return -EBUSY;
	int error = vtr_message_send(&channel->queue, channel->socket, parts, 2, &fd, fd >= 0);
	if (error) {
		lose(channel, error == -ENOBUFS ? "the front-end does not read its requests" : strerror(-error));
		return -ECONNRESET;
	}
	if (!vtr_message_queue_empty(&channel->queue))
		vtr_source_set_events(channel->source, EPOLLIN | EPOLLOUT);
	if (done) {
		uint64_t deadline = vtr_now_ns() + (uint64_t)channel->timeout_ms * 1000000;

		channel->calls[channel->n_calls++] =
			(struct vtr_vhost_user_call){ .request = request, .deadline_ns = deadline, .done = done, .data = data };
		arm_timeout(channel);
	}
	return 0;
}

/* ---- life ---- */

int vtr_vhost_user_channel_init(struct vtr_vhost_user_channel *channel, struct vtr_loop *loop)
{
	*channel = (struct vtr_vhost_user_channel){ .loop = loop, .socket = -1, .timeout_ms = VTR_VHOST_USER_CALL_TIMEOUT_MS };
	vtr_message_reader_init(&channel->reader, &framing);
	vtr_message_queue_init(&channel->queue, VTR_VHOST_USER_CHANNEL_QUEUED);
	channel->close = vtr_loop_add_event(loop, on_close, channel);
	channel->timeout = vtr_loop_add_timer(loop, on_timeout, channel);
	return channel->close && channel->timeout ? 0 : -ENOMEM;
}

void vtr_vhost_user_channel_finish(struct vtr_vhost_user_channel *channel)
{
	tear_down(channel);
	vtr_source_remove(channel->close);
	vtr_source_remove(channel->timeout);
	channel->close = channel->timeout = NULL;
}
