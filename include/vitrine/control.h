/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_CONTROL_H
#define VITRINE_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/display.h>
#include <vitrine/gpu.h>
#include <vitrine/input.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/renderer.h>
#include <vitrine/transport.h>
#include <vitrine/vfio.h>

/*
 * The control socket: JSON lines over a UNIX stream socket, one request and one reply a line; an fd travels with its line.
 * docs/control.md has every request and reply. Served on the device thread; a client that does not read, sends lines longer than
 * VTR_MAX_CONTROL_LINE or no JSON is dropped.
 */
struct vtr_control;

/* What the control socket talks about; used, not owned. Transports and input that are not there are NULL. */
struct vtr_control_subject {
	struct vtr_gpu *gpu;
	struct vtr_memory *memory;
	struct vtr_outputs *outputs;
	struct vtr_vfio_assigned *assigned;
	struct vtr_vfio_user_server *vfio_user;
	struct vtr_vhost_user_server *vhost_user;
	struct vtr_input *input;
	struct vtr_renderer *renderer; /* NULL: no 3D */
	const char *transport;         /* "vfio-user PATH" */
	/* The display of that name, started when it is not there yet; NULL: the one that new outputs go to. NULL with *error. The
	 * member may be NULL: outputs are not added or moved then. */
	struct vtr_display *(*display)(const char *name, struct vtr_error *error, void *data);
	void (*quit)(void *data); /* called by the quit command, from inside the control socket's source; NULL: quit is refused */
	void *data;
};

/* Listens on path (mode 0600, stale sockets replaced). NULL with errno. */
VTR_API struct vtr_control *vtr_control_create(struct vtr_loop *loop, const char *path, const struct vtr_control_subject *subject);
VTR_API void vtr_control_destroy(struct vtr_control *control); /* NULL is fine */

/* The commands, as vitrinectl's help shows them: NULL beyond the last. */
struct vtr_control_command {
	const char *name;
	const char *usage; /* of vitrinectl; NULL: not one of its commands */
	const char *summary;
};
VTR_API const struct vtr_control_command *vtr_control_command(size_t index);

/* ---- client ---- */

VTR_API int vtr_control_connect(const char *path); /* a socket, or -errno */

/* Sends one request line (JSON without a newline) and waits at most timeout_ms for the reply line. *reply is malloc'ed,
 * NUL-terminated, the caller's to free; *fd is the fd that came with it or -1, the caller's to close (fd may be NULL: closed). 0 or
 * -errno: -ETIMEDOUT, -ECONNRESET (the server hung up), -EPROTO (no line came in VTR_MAX_CONTROL_REPLY bytes, or more than one).
 * After an error the socket is good for nothing but close(). */
VTR_API int vtr_control_call(int socket, const char *request, int timeout_ms, char **reply, int *fd);
/* The same for a request that an fd (not taken) travels with. */
VTR_API int vtr_control_call_with_fd(int socket, const char *request, int request_fd, int timeout_ms, char **reply);

#endif
