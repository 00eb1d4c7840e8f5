/* SPDX-License-Identifier: MIT */
#ifndef VTR_TRANSPORT_LISTENER_H
#define VTR_TRANSPORT_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vitrine/log.h>
#include <vitrine/loop.h>

/*
 * Where a server's peers come from: a socket that listens at a path of ours, one that was inherited listening, or a single
 * inherited connection. One peer at a time: while one is there the next ones wait in the backlog. Embedded in the server.
 */
struct vtr_listener {
	struct vtr_loop *loop;
	const char *protocol; // for the log
	/* A peer is there. Takes socket (CLOEXEC, non-blocking), also when it fails; 0 or -errno. */
	int (*connected)(int socket, void *data);
	void *data;

	int fd;                    // -1: a single connection
	struct vtr_source *source; // with events only while nobody is connected
	struct vtr_source *retry;  // timer: accept() failed for want of resources
	bool occupied;
	char *path; // of the socket we made; NULL
	dev_t path_device;
	ino_t path_inode;
	struct vtr_log_limit log_limit;

	void (*end)(void *data); // when no peer can come any more; may be NULL
	void *end_data;
	void (*leave)(void *data); // when a peer has left; may be NULL
	void *leave_data;
};

void vtr_listener_init(struct vtr_listener *listener, struct vtr_loop *loop, const char *protocol,
                       int (*connected)(int socket, void *data), void *data);
/* Listens at path (vtr_unix_listen()), or where path is NULL on fd: a UNIX stream socket, taken, also on failure. When that is
 * connected already, connected() is called from here. 0; -EPROTOTYPE (another kind of socket), -ENOTSOCK or another -errno. */
int vtr_listener_start(struct vtr_listener *listener, const char *path, int fd);
/* Where the socket that listens is in the file system; NULL when it is nowhere, or out of memory. The caller's, to be freed. */
char *vtr_listener_path(const struct vtr_listener *listener);
/* The peer has left and everything of it is gone: says so to those who want to know, and lets the next one come. */
void vtr_listener_peer_left(struct vtr_listener *listener);
/* Closes, and removes the socket's file if it is still ours. A listener that was only initialised, or failed to start, is fine. */
void vtr_listener_finish(struct vtr_listener *listener);

uint32_t vtr_peer_pid(int socket); // 0: unknown

#endif
