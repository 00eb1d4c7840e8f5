/* SPDX-License-Identifier: MIT */
/*
 * vfio-user, server side: the socket and the one connection.
 *
 * States: listening (nobody connected) -> connected (VERSION expected) -> negotiated -> lost -> listening. A connection that was
 * inherited as an fd ends with its client. While one client is connected the next ones wait in the socket's backlog.
 *
 * What a client gets. A frame that cannot be (size, flags, type, more fds than a message may carry, a reply to nothing, anything
 * before VERSION) loses the connection: there is no position in the stream to go on from, or no peer to talk to. Everything else
 * that is wrong gets an error reply and costs nothing more. Neither ends the process, blocks the loop or leaves an fd behind: a
 * message owns its fds and closes what its handler did not take. A client that sends half a message is simply not there yet; one
 * that does not read its replies is dropped when VTR_VFIO_USER_MAX_QUEUED bytes wait for it.
 *
 * Who is on the stack. Commands are handled from the loop, at the bottom of the stack, except while the device waits for a
 * DMA_READ or DMA_WRITE of its own (server_dma.c): then a user of the memory map is on the stack above the device. What arrives
 * meanwhile and only looks, or rings a doorbell, is answered at once, because the VMM may be unable to answer us before (QEMU waits
 * for replies with its big lock held). What would change the memory map or the device is held, the waiting request ends with
 * -ECANCELED, and the `resume` event handles the held message from the loop. The same event tears a lost connection down. So the
 * device is never reset, and memory never removed, under its user.
 *
 * Tearing down: the device is abandoned, the irq eventfds are closed, the memory map is emptied. Of what the client's guest had
 * nothing is left but what its people see, the last picture, for as long as nobody else comes. A client that has agreed on a
 * version finds a device as after power-on: that is when it is reset.
 *
 * Thread: the loop's.
 */
#include "transport/vfio_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/fd.h"

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

/* ---- messages ---- */

void vtr_vfio_user_lose(struct vtr_vfio_user_server *server, const char *reason)
{
	if (server->lost)
		return;
	server->lost = true;
	vtr_log_limited(&server->log_limit, VTR_LOG_INFO, "vfio-user: client %u is gone: %s", server->status.peer_pid, reason);
	vtr_event_raise(server->resume);
}

void vtr_vfio_user_send(struct vtr_vfio_user_server *server, const struct iovec *parts, size_t n_parts)
{
	if (server->lost)
		return;
	int error = vtr_message_send(&server->queue, server->socket, parts, n_parts, NULL, 0);
	if (error)
		vtr_vfio_user_lose(server, error == -ENOBUFS ? "it does not read its replies" : strerror(-error));
}

static void reply(struct vtr_vfio_user_server *server, const struct vfio_user_header *command, ssize_t result)
{
	struct vfio_user_header header = { .id = command->id, .command = command->command, .flags = VFIO_USER_TYPE_REPLY };

	if (command->flags & VFIO_USER_FLAG_NO_REPLY)
		return;
	if (result < 0) {
		header.flags |= VFIO_USER_FLAG_ERROR;
		header.error = (uint32_t)-result;
		result = 0;
	}
	header.size = (uint32_t)(sizeof(header) + (size_t)result);
	vtr_vfio_user_send(server, (struct iovec[]){ { &header, sizeof(header) }, { server->reply, (size_t)result } }, 2);
}

/* Sizes and fds as the table has them; what the handlers see has passed. */
static int check(const struct vtr_vfio_user_command *command, const struct vtr_vfio_user_request *request)
{
	if (!command)
		return -ENOSYS;
	if (request->size < command->min_size || request->size > command->max_size)
		return -EINVAL;
	return request->message->n_fds > command->max_fds ? -EINVAL : 0;
}

static bool must_wait(const struct vtr_vfio_user_server *server, const struct vtr_vfio_user_command *command,
                      const struct vtr_vfio_user_request *request)
{
	return command->when == VTR_UNWOUND || (command->when == VTR_WRITES && !vtr_vfio_user_rings_only(server, request));
}

/* False: not now. */
static bool handle_command(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request, bool waiting)
{
	const struct vtr_vfio_user_command *command = vtr_vfio_user_command_find(request->header.command);
	ssize_t result = check(command, request);

	if (!server->negotiated && request->header.command != VFIO_USER_VERSION) {
		vtr_vfio_user_lose(server, "it did not begin with VERSION");
		return true;
	}
	if (!result && waiting && must_wait(server, command, request))
		return false;
	if (!result) {
		server->handling = true;
		result = command->handle(server, request);
		server->handling = false;
	}
	if (result < 0)
		vtr_log_limited(&server->log_limit, VTR_LOG_DEBUG, "vfio-user: %s (command %u) refused: %s",
		                command ? command->name : "unknown", request->header.command, strerror((int)-result));
	reply(server, &request->header, result);
	/* A client that we cannot talk to is told why, and that was it. */
	if (!server->negotiated)
		vtr_vfio_user_lose(server, "its VERSION cannot be served");
	return true;
}

bool vtr_vfio_user_handle(struct vtr_vfio_user_server *server, struct vtr_message *message, bool waiting)
{
	struct vtr_vfio_user_request request = {
		.body = message->data + sizeof(request.header),
		.size = message->size - sizeof(request.header),
		.message = message,
	};
	uint32_t type;
	bool done = true;

	memcpy(&request.header, message->data, sizeof(request.header));
	type = request.header.flags & VFIO_USER_FLAG_TYPE;
	if (request.header.flags & ~(uint32_t)VFIO_USER_FLAGS || type > VFIO_USER_TYPE_REPLY) {
		vtr_vfio_user_lose(server, "a message with unknown flags");
	} else if (type == VFIO_USER_TYPE_COMMAND && request.header.flags & VFIO_USER_FLAG_ERROR) {
		vtr_vfio_user_lose(server, "a command with the error flag");
	} else if (type == VFIO_USER_TYPE_REPLY) {
		vtr_vfio_user_dma_reply(server, &request.header, message);
	} else {
		done = handle_command(server, &request, waiting);
	}
	if (done)
		vtr_message_finish(message);
	return done;
}

int vtr_vfio_user_receive(struct vtr_vfio_user_server *server, struct vtr_message *message)
{
	int got = vtr_message_read(&server->reader, server->socket, message);

	if (got > 0)
		server->status.messages++;
	if (got == -ECONNRESET)
		vtr_vfio_user_lose(server, "it closed the connection");
	else if (got < 0)
		vtr_vfio_user_lose(server, got == -EPROTO ? "a malformed message" : strerror(-got));
	return got;
}

/* ---- the connection ---- */

static void disconnect(struct vtr_vfio_user_server *server)
{
	vtr_source_remove(server->socket_source);
	server->socket_source = NULL;
	vtr_fd_close(&server->socket);
	server->status.connected = false;
	server->status.peer_pid = 0;
	if (server->holding)
		vtr_message_finish(&server->held);
	server->holding = false;
	vtr_message_reader_finish(&server->reader);
	vtr_message_queue_finish(&server->queue);

	vtr_pci_abandon(server->function);
	vtr_vfio_user_remove_irqs(server);
	vtr_memory_remove_all(server->memory);

	server->lost = false;
	vtr_listener_peer_left(&server->listener);
}

/* Serves what was held and what the socket has, but leaves the loop its turn. */
static void serve(struct vtr_vfio_user_server *server)
{
	for (int i = 0; i < VTR_VFIO_USER_BATCH && !server->lost; i++) {
		struct vtr_message message = server->held;

		if (!server->holding && vtr_vfio_user_receive(server, &message) <= 0)
			break;
		server->holding = false;
		vtr_vfio_user_handle(server, &message, false);
	}
	if (server->lost)
		disconnect(server);
	else
		vtr_source_set_events(server->socket_source, EPOLLIN | (vtr_message_queue_empty(&server->queue) ? 0 : EPOLLOUT));
}

static void on_resume(void *data)
{
	struct vtr_vfio_user_server *server = data;

	if (server->socket >= 0)
		serve(server);
}

static void on_socket(int fd, uint32_t events, void *data)
{
	struct vtr_vfio_user_server *server = data;
	int error = events & EPOLLOUT && !server->lost ? vtr_message_flush(&server->queue, fd) : 0;

	if (error && error != -EAGAIN)
		vtr_vfio_user_lose(server, strerror(-error));
	serve(server);
}

static int connected(int socket, void *data)
{
	struct vtr_vfio_user_server *server = data;

	server->socket_source = vtr_loop_add_fd(server->loop, socket, EPOLLIN, on_socket, server);
	if (!server->socket_source) {
		int error = -errno;

		close(socket);
		return error;
	}
	server->socket = socket;
	server->negotiated = false;
	server->dma = (struct vtr_vfio_user_dma){ 0 };
	vtr_message_reader_init(&server->reader, &framing);
	vtr_message_queue_init(&server->queue, VTR_VFIO_USER_MAX_QUEUED);
	server->status.connected = true;
	server->status.connections++;
	server->status.peer_pid = vtr_peer_pid(socket);
	vtr_log_limited(&server->log_limit, VTR_LOG_INFO, "vfio-user: client %u connected", server->status.peer_pid);
	return 0;
}

/* ---- life ---- */

struct vtr_vfio_user_server *vtr_vfio_user_server_create(struct vtr_loop *loop, const char *path, int fd,
                                                         struct vtr_virtio_device *device, uint32_t class_code,
                                                         struct vtr_memory *memory)
{
	struct vtr_vfio_user_server *server = malloc(sizeof(*server));
	int error;

	if (!server) {
		if (!path)
			close(fd);
		errno = ENOMEM;
		return NULL;
	}
	*server = (struct vtr_vfio_user_server){
		.loop = loop,
		.memory = memory,
		.socket = -1,
		.unmask_fd = -1,
		.dma_timeout_ms = VTR_VFIO_USER_DMA_TIMEOUT_MS,
	};
	vtr_listener_init(&server->listener, loop, "vfio-user", connected, server);
	vtr_memory_set_remote(memory, &vtr_vfio_user_remote, server);
	server->resume = vtr_loop_add_event(loop, on_resume, server);
	server->function = vtr_pci_create(device, class_code);
	error = server->resume && server->function ? 0 : -ENOMEM;
	if (!error)
		error = vtr_listener_start(&server->listener, path, fd);
	else if (!path)
		close(fd);
	if (error) {
		vtr_vfio_user_server_destroy(server);
		errno = -error;
		return NULL;
	}
	return server;
}

void vtr_vfio_user_server_on_end(struct vtr_vfio_user_server *server, void (*func)(void *data), void *data)
{
	server->listener.end = func;
	server->listener.end_data = data;
}

void vtr_vfio_user_server_on_leave(struct vtr_vfio_user_server *server, void (*func)(void *data), void *data)
{
	server->listener.leave = func;
	server->listener.leave_data = data;
}

void vtr_vfio_user_server_destroy(struct vtr_vfio_user_server *server)
{
	if (!server)
		return;
	server->listener.end = NULL;
	if (server->socket >= 0)
		disconnect(server);
	vtr_listener_finish(&server->listener);
	vtr_source_remove(server->resume);
	vtr_memory_set_remote(server->memory, NULL, NULL);
	vtr_pci_destroy(server->function);
	free(server->reply);
	free(server);
}

void vtr_vfio_user_server_status(const struct vtr_vfio_user_server *server, struct vtr_vfio_user_status *status)
{
	*status = server->status;
}
