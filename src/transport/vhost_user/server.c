/* SPDX-License-Identifier: MIT */
/*
 * vhost-user, back-end: the socket and the one connection.
 *
 * States: listening (nobody connected) -> connected -> lost -> listening. A connection that was inherited as an fd ends with its
 * front-end. While one front-end is connected the next ones wait in the socket's backlog.
 *
 * What a front-end gets. A message that cannot be (another version of the protocol, a reply to nothing, a size or a number of fds
 * that the message does not have) loses the connection: there is nothing more to agree on. A well-formed message that is wrong
 * changes nothing and is refused: by an acknowledgement other than 0 where one was asked for (REPLY_ACK), by the form that the
 * specification gives it where it has one (GET_CONFIG), and silently where front-end and specification left no room for an answer.
 * Where an answer is due that cannot say "no", the connection is lost. Nothing that a front-end sends ends the process, blocks the
 * loop or leaves an fd behind: a message owns its fds and closes what its handler did not take. A front-end that sends half a
 * message is simply not there yet; one that does not read its replies is dropped when VTR_VHOST_USER_MAX_QUEUED bytes wait for it.
 *
 * Messages are handled from the loop, at the bottom of the stack, one after another, and never from inside the device.
 *
 * Tearing down: the device is abandoned, the eventfds are closed, the memory map is emptied. Of what the front-end's guest had
 * nothing is left but what its people see, the last picture, until the next front-end begins its session (SET_OWNER, or the start
 * of a ring): that is when the device is reset.
 *
 * Thread: the loop's.
 */
#include "transport/vhost_user/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/fd.h"

static uint64_t message_size(const uint8_t *bytes)
{
	struct vhost_user_header header;

	memcpy(&header, bytes, sizeof(header));
	return (uint64_t)sizeof(header) + header.size;
}

static const struct vtr_framing framing = {
	.header_size = sizeof(struct vhost_user_header),
	.max_size = sizeof(struct vhost_user_header) + VHOST_USER_MAX_PAYLOAD,
	.message_size = message_size,
};

/* ---- messages ---- */

void vtr_vhost_user_lose(struct vtr_vhost_user_server *server, const char *reason)
{
	if (server->lost)
		return;
	server->lost = true;
	vtr_log_limited(&server->log_limit, VTR_LOG_INFO, "vhost-user: front-end %u is gone: %s", server->status.peer_pid, reason);
	vtr_event_raise(server->resume);
}

bool vtr_vhost_user_has(const struct vtr_vhost_user_server *server, unsigned bit)
{
	return server->protocol_features & VTR_VHOST_USER_BIT(bit);
}

int vtr_vhost_user_ask(struct vtr_vhost_user_server *server, uint32_t request, const void *payload, size_t size, int fd,
                       vtr_vhost_user_done done, void *data)
{
	if (!vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		done = NULL;
	return vtr_vhost_user_channel_send(&server->channel, request, payload, size, fd, done, data);
}

static void reply(struct vtr_vhost_user_server *server, const struct vtr_vhost_user_request *request)
{
	struct vhost_user_header header = {
		.request = request->header.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = (uint32_t)request->reply_size,
	};
	const struct iovec parts[] = { { &header, sizeof(header) }, { (void *)request->reply, request->reply_size } };

	if (server->lost)
		return;
	int error = vtr_message_send(&server->queue, server->socket, parts, 2, &request->reply_fd, request->reply_fd < 0 ? 0 : 1);
	if (error)
		vtr_vhost_user_lose(server, error == -ENOBUFS ? "it does not read its replies" : strerror(-error));
}

/* A payload of one number: 0 or an errno. */
static void reply_result(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request, int result)
{
	uint64_t value = (uint64_t)-result;

	memcpy(request->reply, &value, sizeof(value));
	request->reply_size = sizeof(value);
	reply(server, request);
}

/* Sizes and fds as the table has them; what the handlers see has passed. */
static int check(const struct vtr_vhost_user_server *server, const struct vtr_vhost_user_message *message,
                 const struct vtr_vhost_user_request *request)
{
	size_t n_fds = request->message->n_fds;

	if (!message)
		return -ENOSYS;
	if (request->size < message->min_size || request->size > message->max_size || n_fds < message->min_fds ||
	    n_fds > message->max_fds)
		return -EPROTO;
	return (server->protocol_features & message->needs) == message->needs ? 0 : -EOPNOTSUPP;
}

/* asked: for an acknowledgement. */
static void answer(struct vtr_vhost_user_server *server, const struct vtr_vhost_user_message *message,
                   struct vtr_vhost_user_request *request, bool asked, int result)
{
	enum vtr_vhost_user_reply kind = message ? message->reply : VTR_REPLY_IF_ASKED;

	if (result == -EPROTO)
		vtr_vhost_user_lose(server, "a malformed message");
	else if (kind == VTR_REPLY_RESULT || (kind == VTR_REPLY_IF_ASKED && asked))
		reply_result(server, request, result);
	else if (kind == VTR_REPLY_PAYLOAD && result)
		vtr_vhost_user_lose(server, "it asked for what there is no answer to");
	else if (kind == VTR_REPLY_PAYLOAD)
		reply(server, request);
}

static void handle(struct vtr_vhost_user_server *server, struct vtr_message *raw)
{
	struct vtr_vhost_user_request request = {
		.payload = raw->data + sizeof(request.header),
		.size = raw->size - sizeof(request.header),
		.message = raw,
		.reply_fd = -1,
	};

	memcpy(&request.header, raw->data, sizeof(request.header));
	if ((request.header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION || request.header.flags & VHOST_USER_REPLY) {
		vtr_vhost_user_lose(server, "a message of another version of the protocol, or a reply");
		return;
	}
	const struct vtr_vhost_user_message *message = vtr_vhost_user_message_find(request.header.request);
	bool asked = request.header.flags & VHOST_USER_NEED_REPLY && vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	int result = check(server, message, &request);

	if (!result)
		result = message->handle(server, &request);
	if (result < 0) {
		server->status.refused++;
		vtr_log_limited(&server->log_limit, VTR_LOG_DEBUG, "vhost-user: %s (message %u) refused: %s",
		                message ? message->name : "unknown", request.header.request, strerror(-result));
	}
	vtr_vhost_user_rings_update(server);
	answer(server, message, &request, asked, result);
	vtr_fd_close(&request.reply_fd);
}

/* ---- the connection ---- */

static void disconnect(struct vtr_vhost_user_server *server)
{
	vtr_source_remove(server->socket_source);
	server->socket_source = NULL;
	vtr_fd_close(&server->socket);
	server->status.connected = false;
	server->status.peer_pid = 0;
	server->status.protocol_features = 0;
	vtr_message_reader_finish(&server->reader);
	vtr_message_queue_finish(&server->queue);

	vtr_vhost_user_channel_open(&server->channel, -1);
	server->config_changed = false;
	vtr_virtio_abandon(server->device);
	vtr_vhost_user_state_leave(&server->state);
	vtr_vhost_user_rings_reset(server);
	vtr_vhost_user_remove_memory(server);

	server->lost = false;
	vtr_listener_peer_left(&server->listener);
}

/* Serves what the socket has, but leaves the loop its turn. */
static void serve(struct vtr_vhost_user_server *server)
{
	for (int i = 0; i < VTR_VHOST_USER_BATCH && !server->lost; i++) {
		struct vtr_message message;
		int got = vtr_message_read(&server->reader, server->socket, &message);

		if (!got)
			break;
		if (got == -ECONNRESET) {
			vtr_vhost_user_lose(server, "it closed the connection");
		} else if (got < 0) {
			vtr_vhost_user_lose(server, got == -EPROTO ? "a malformed message" : strerror(-got));
		} else {
			server->status.messages++;
			handle(server, &message);
			vtr_message_finish(&message);
		}
	}
	if (server->lost)
		disconnect(server);
	else
		vtr_source_set_events(server->socket_source, EPOLLIN | (vtr_message_queue_empty(&server->queue) ? 0 : EPOLLOUT));
}

static void on_resume(void *data)
{
	struct vtr_vhost_user_server *server = data;

	if (server->socket >= 0)
		serve(server);
}

static void on_socket(int fd, uint32_t events, void *data)
{
	struct vtr_vhost_user_server *server = data;
	int error = events & EPOLLOUT && !server->lost ? vtr_message_flush(&server->queue, fd) : 0;

	if (error && error != -EAGAIN)
		vtr_vhost_user_lose(server, strerror(-error));
	serve(server);
}

static int connected(int socket, void *data)
{
	struct vtr_vhost_user_server *server = data;

	server->socket_source = vtr_loop_add_fd(server->loop, socket, EPOLLIN, on_socket, server);
	if (!server->socket_source) {
		int error = -errno;

		close(socket);
		return error;
	}
	server->socket = socket;
	server->features = server->protocol_features = 0;
	server->device_status = 0;
	server->status_reset = false;
	server->fresh = true;
	server->table.gpa_addresses = false;
	vtr_message_reader_init(&server->reader, &framing);
	vtr_message_queue_init(&server->queue, VTR_VHOST_USER_MAX_QUEUED);
	server->status.connected = true;
	server->status.connections++;
	server->status.peer_pid = vtr_peer_pid(socket);
	vtr_log_limited(&server->log_limit, VTR_LOG_INFO, "vhost-user: front-end %u connected", server->status.peer_pid);
	return 0;
}

/* ---- IOTLB ---- */

/* A device that is suspended asks nothing. */
static int send_iotlb(void *data, const struct vhost_user_iotlb *message, void (*done)(int result, void *call), void *call)
{
	struct vtr_vhost_user_server *server = data;

	if (!server->status.rings)
		return -ENOTCONN;
	int error = vtr_vhost_user_ask(server, VHOST_USER_BACKEND_IOTLB_MSG, message, sizeof(*message), -1, done, call);
	return error ? error : done && vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_REPLY_ACK);
}

/* ---- life ---- */

struct vtr_vhost_user_server *vtr_vhost_user_server_create(struct vtr_loop *loop, const char *path, int fd,
                                                           struct vtr_virtio_device *device, struct vtr_memory *memory)
{
	struct vtr_vhost_user_server *server = calloc(1, sizeof(*server));

	if (!server) {
		if (!path)
			close(fd);
		errno = ENOMEM;
		return NULL;
	}
	server->loop = loop;
	server->device = device;
	server->memory = memory;
	server->socket = -1;
	vtr_listener_init(&server->listener, loop, "vhost-user", connected, server);
	vtr_vhost_user_mem_table_init(&server->table, memory);
	vtr_vhost_user_iotlb_init(&server->iotlb, loop, memory, &server->table, send_iotlb, server);
	vtr_virtio_set_max_queue_size(device, VTR_MAX_QUEUE_SIZE);
	vtr_vhost_user_rings_init(server);
	vtr_vhost_user_state_init(&server->state, device);
	vtr_virtio_set_transport(device, &vtr_vhost_user_transport, server);
	server->resume = vtr_loop_add_event(loop, on_resume, server);
	server->poll = vtr_vhost_user_poll_timer(server);
	int error = vtr_vhost_user_channel_init(&server->channel, loop);
	if (!server->resume || !server->poll)
		error = -ENOMEM;
	if (!error)
		error = vtr_listener_start(&server->listener, path, fd);
	else if (!path)
		close(fd);
	if (error) {
		vtr_vhost_user_server_destroy(server);
		errno = -error;
		return NULL;
	}
	return server;
}

void vtr_vhost_user_server_on_end(struct vtr_vhost_user_server *server, void (*func)(void *data), void *data)
{
	server->listener.end = func;
	server->listener.end_data = data;
}

void vtr_vhost_user_server_on_leave(struct vtr_vhost_user_server *server, void (*func)(void *data), void *data)
{
	server->listener.leave = func;
	server->listener.leave_data = data;
}

void vtr_vhost_user_server_on_gpu_socket(struct vtr_vhost_user_server *server, int (*func)(int fd, void *data), void *data)
{
	server->gpu_socket = func;
	server->gpu_socket_data = data;
}

int vtr_vhost_user_server_keep_state(struct vtr_vhost_user_server *server, const char *path, struct vtr_error *error)
{
	char *beside;
	int ret;

	if (path)
		return vtr_vhost_user_state_open(&server->state, path, error);
	beside = vtr_listener_path(&server->listener);
	if (!beside || !vtr_state_file_is_memory(beside)) {
		free(beside);
		return vtr_error_set(
			error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
			"the socket is not in a tmpfs (/run, /dev/shm), where a file could keep it: name one (--state)");
	}
	char *file = NULL;
	ret = asprintf(&file, "%s.state", beside) < 0 ? -ENOMEM : vtr_vhost_user_state_open(&server->state, file, error);
	free(file);
	free(beside);
	return ret;
}

void vtr_vhost_user_server_withhold(struct vtr_vhost_user_server *server, uint64_t protocol_features)
{
	server->withheld = protocol_features;
}

void vtr_vhost_user_server_destroy(struct vtr_vhost_user_server *server)
{
	/* Whoever is connected now has a guest that goes on. */
	const bool guest = server && server->socket >= 0;

	if (!server)
		return;
	server->listener.end = NULL;
	if (server->socket >= 0)
		disconnect(server);
	vtr_listener_finish(&server->listener);
	vtr_vhost_user_channel_finish(&server->channel);
	vtr_source_remove(server->resume);
	vtr_source_remove(server->poll);
	vtr_virtio_set_transport(server->device, NULL, NULL);
	vtr_vhost_user_state_finish(&server->state, guest);
	free(server);
}

void vtr_vhost_user_server_status(const struct vtr_vhost_user_server *server, struct vtr_vhost_user_status *status)
{
	*status = server->status;
	status->memory_slots = (uint32_t)server->table.count;
	status->backend_channel = vtr_vhost_user_channel_is_open(&server->channel);
	vtr_vhost_user_iotlb_status(&server->iotlb, &status->iotlb);
}
