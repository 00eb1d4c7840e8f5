/* SPDX-License-Identifier: MIT */
/*
 * The door of a server.
 *
 * States: open (nobody connected, the socket is polled) and occupied (it is not: whoever comes waits in the backlog). A peer that
 * cannot be accepted for want of fds or memory stays in the backlog, too, and is tried again a little later: the loop must not spin
 * on it. A single connection that was inherited is a door that closes for good behind its peer.
 *
 * Thread: the loop's.
 */
#include "transport/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/fd.h"

#define RETRY_NS UINT64_C(100000000)

uint32_t vtr_peer_pid(int socket)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? 0 : (uint32_t)peer.pid;
}

static void poll_for_peers(struct vtr_listener *listener, bool enabled)
{
	if (listener->source)
		vtr_source_set_events(listener->source, enabled ? EPOLLIN : 0);
}

static int admit(struct vtr_listener *listener, int socket)
{
	int error = listener->connected(socket, listener->data);

	if (error)
		return error;
	listener->occupied = true;
	poll_for_peers(listener, false);
	return 0;
}

static void on_retry(void *data)
{
	struct vtr_listener *listener = data;

	poll_for_peers(listener, !listener->occupied);
}

static void on_peer(int fd, uint32_t events, void *data)
{
	struct vtr_listener *listener = data;
	int socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int error = socket < 0 ? -errno : admit(listener, socket);

	if (!error || error == -EAGAIN || error == -EINTR || error == -ECONNABORTED)
		return;
	vtr_log_limited(&listener->log_limit, VTR_LOG_WARN, "%s: a connection cannot be served now: %s", listener->protocol,
	                strerror(-error));
	poll_for_peers(listener, false);
	vtr_timer_arm(listener->retry, vtr_now_ns() + RETRY_NS);
}

void vtr_listener_init(struct vtr_listener *listener, struct vtr_loop *loop, const char *protocol,
                       int (*connected)(int socket, void *data), void *data)
{
	*listener = (struct vtr_listener){ .loop = loop, .protocol = protocol, .connected = connected, .data = data, .fd = -1 };
}

static int listen_on(struct vtr_listener *listener, int fd)
{
	listener->fd = fd;
	listener->retry = vtr_loop_add_timer(listener->loop, on_retry, listener);
	listener->source = vtr_loop_add_fd(listener->loop, fd, EPOLLIN, on_peer, listener);
	return listener->source && listener->retry ? 0 : -errno;
}

static int listen_at(struct vtr_listener *listener, const char *path)
{
	struct stat info;
	int fd = vtr_unix_listen(path);

	if (fd < 0)
		return fd;
	listener->path = strdup(path);
	if (!listener->path || lstat(path, &info) < 0) {
		int error = -errno;

		unlink(path);
		close(fd);
		return error;
	}
	listener->path_device = info.st_dev;
	listener->path_inode = info.st_ino;
	return listen_on(listener, fd);
}

/* A socket option as a number, or -errno. */
static int socket_option(int fd, int option)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -errno : value;
}

static int inherit(struct vtr_listener *listener, int fd)
{
	int listening = socket_option(fd, SO_ACCEPTCONN);
	int flags = fcntl(fd, F_GETFL);
	int error = 0;

	if (listening < 0 || flags < 0)
		error = listening < 0 ? listening : -errno;
	else if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM)
		error = -EPROTOTYPE;
	else if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	return listening ? listen_on(listener, fd) : admit(listener, fd);
}

int vtr_listener_start(struct vtr_listener *listener, const char *path, int fd)
{
	return path ? listen_at(listener, path) : inherit(listener, fd);
}

void vtr_listener_peer_left(struct vtr_listener *listener)
{
	listener->occupied = false;
	poll_for_peers(listener, true);
	if (listener->leave)
		listener->leave(listener->leave_data);
	if (listener->fd < 0 && listener->end)
		listener->end(listener->end_data);
}

/* Only what is still ours: somebody may have replaced the socket meanwhile. */
static void unlink_socket(const struct vtr_listener *listener)
{
	struct stat info;

	if (listener->path && !lstat(listener->path, &info) && info.st_dev == listener->path_device &&
	    info.st_ino == listener->path_inode)
		unlink(listener->path);
}

void vtr_listener_finish(struct vtr_listener *listener)
{
	unlink_socket(listener);
	free(listener->path);
	listener->path = NULL;
	vtr_source_remove(listener->source);
	vtr_source_remove(listener->retry);
	listener->source = listener->retry = NULL;
	vtr_fd_close(&listener->fd);
}

char *vtr_listener_path(const struct vtr_listener *listener)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address);

	if (listener->path)
		return strdup(listener->path);
	/* an inherited one: of an abstract name the first byte is 0, and a connection's peer is not named */
	if (listener->fd < 0 || getsockname(listener->fd, (struct sockaddr *)&address, &size) < 0 || !address.sun_path[0])
		return NULL;
	return strndup(address.sun_path, sizeof(address.sun_path));
}
