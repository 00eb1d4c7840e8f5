/* SPDX-License-Identifier: MIT */
/* From nothing to a process that can be called, and back. */
#include "render/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/fd.h"

enum { QUEUE_LIMIT = 65536 }; /* one message at a time waits, of some hundred bytes */

/* ---- beginning ---- */

/* A new one for each process: the last one may not be dead yet. */
static int make_arena(struct vtr_remote *remote)
{
	remote->arena_fd = vtr_memfd_create("vitrine-renderer", VTR_REMOTE_ARENA);
	if (remote->arena_fd < 0)
		return remote->arena_fd;
	void *arena = mmap(NULL, VTR_REMOTE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, remote->arena_fd, 0);
	if (arena == MAP_FAILED)
		return -errno;
	remote->arena = arena;
	remote->arena_head = remote->arena_tail = remote->arena_parts = 0;
	return 0;
}

/* The socket to a process; it is remote->socket. 0 or -errno. */
static int launch(struct vtr_remote *remote, struct vtr_error *error)
{
	int ends[2];

	if (remote->settings.connect) {
		remote->socket = remote->settings.connect(remote->settings.data);
		return remote->socket < 0 ? vtr_error_set(error, VTR_ERROR_HOST, -remote->socket, "no renderer process: %s",
		                                          strerror(-remote->socket))
		                          : 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "no socket for a renderer process: %s", strerror(errno));
	remote->socket = ends[0];
	remote->child = vtr_remote_child_start(remote->loop, &remote->program, ends[1], vtr_remote_on_exit, remote, error);
	close(ends[1]);
	return remote->child ? 0 : -EIO;
}

static int greet(struct vtr_remote *remote)
{
	struct vtr_remote_start message = {
		.header = { VTR_REMOTE_START, sizeof(message) },
		.version = VTR_REMOTE_VERSION,
		.log_level = vtr_log_get_level(),
		.arena_size = VTR_REMOTE_ARENA,
	};
	struct iovec part = { &message, sizeof(message) };
	/* It may have died already; then reading says so. */
	int error = vtr_message_send(&remote->queue, remote->socket, &part, 1, &remote->arena_fd, 1);

	return error == -ECONNRESET ? 0 : error;
}

int vtr_remote_start(struct vtr_remote *remote, struct vtr_error *error)
{
	remote->started_ns = vtr_now_ns();
	remote->refusal = (struct vtr_error){ .owner = VTR_ERROR_NONE };
	vtr_message_reader_init(&remote->reader, &vtr_remote_framing);
	vtr_message_queue_init(&remote->queue, QUEUE_LIMIT);
	int code = make_arena(remote);
	if (code)
		vtr_error_set(error, VTR_ERROR_HOST, -code, "no memory to share with a renderer process: %s", strerror(-code));
	else
		code = launch(remote, error);
	if (code)
		goto fail;
	remote->socket_source = vtr_loop_add_fd(remote->loop, remote->socket, EPOLLIN, vtr_remote_on_socket, remote);
	code = remote->socket_source ? greet(remote) : -errno;
	if (code) {
		vtr_error_set(error, VTR_ERROR_HOST, -code, "a renderer process cannot be spoken to: %s", strerror(-code));
		goto fail;
	}
	remote->state = VTR_REMOTE_STARTING;
	remote->wants_out = false;
	vtr_remote_watch(remote, true);
	return 0;
fail:
	vtr_remote_stop(remote);
	return code;
}

/* ---- the end ---- */

void vtr_remote_stop(struct vtr_remote *remote)
{
	remote->state = VTR_REMOTE_DOWN;
	vtr_source_remove(remote->socket_source);
	remote->socket_source = NULL;
	vtr_message_reader_finish(&remote->reader);
	vtr_message_queue_finish(&remote->queue);
	vtr_fd_close(&remote->socket);
	if (remote->arena)
		munmap(remote->arena, VTR_REMOTE_ARENA);
	remote->arena = NULL;
	vtr_fd_close(&remote->arena_fd);
	if (!remote->child)
		return;
	if (!remote->child->reaped) {
		vtr_remote_child_kill(remote->child); /* its end is an event */
		return;
	}
	vtr_remote_child_destroy(remote->child);
	remote->child = NULL;
}

/* ---- STARTED ---- */

static const char *check_capset(const struct vtr_remote_started *started, uint32_t i, uint32_t *offset)
{
	const uint32_t size = started->capsets[i].max_size, version = started->capsets[i].max_version;

	for (uint32_t j = 0; j < i; j++)
		if (started->capsets[j].id == started->capsets[i].id)
			return "offers a capset twice";
	if (!size || size > VTR_REMOTE_MAX_CAPSET || version > VTR_REMOTE_MAX_CAPSET_VERSION)
		return "offers a capset of a size or version that cannot be";
	*offset = started->capsets[i].offset;
	return vtr_range_fits(*offset, (uint64_t)size * (version + 1), VTR_REMOTE_ARENA) ? NULL : "offers a capset that is nowhere";
}

static const char *learn_capset(struct vtr_remote *remote, const struct vtr_remote_started *started, uint32_t i)
{
	struct vtr_capset *capset = &remote->base.capsets[i];
	uint32_t offset;
	const char *wrong = check_capset(started, i, &offset);

	if (wrong)
		return wrong;
	*capset = (struct vtr_capset){ .id = started->capsets[i].id,
		                       .max_version = started->capsets[i].max_version,
		                       .max_size = started->capsets[i].max_size };
	const size_t bytes = (size_t)capset->max_size * (capset->max_version + 1);
	remote->capset_data[i] = malloc(bytes);
	if (!remote->capset_data[i])
		return "offers capsets, for which there is no memory";
	memcpy(remote->capset_data[i], remote->arena + offset, bytes);
	remote->base.n_capsets++;
	return NULL;
}

static bool is_same_capset(const struct vtr_remote *remote, const struct vtr_remote_started *started, uint32_t i)
{
	const struct vtr_capset *capset = &remote->base.capsets[i];

	return capset->id == started->capsets[i].id && capset->max_version == started->capsets[i].max_version &&
	       capset->max_size == started->capsets[i].max_size;
}

/* The first process says what the guest is offered, the others have to offer that. */
static const char *take_capsets(struct vtr_remote *remote, const struct vtr_remote_started *started)
{
	const char *wrong = NULL;

	if (started->n_capsets > VTR_MAX_CAPSETS)
		return "offers too many capsets";
	if (remote->known && started->n_capsets != remote->base.n_capsets)
		return "offers other capsets than the one before: restart vitrine";
	for (uint32_t i = 0; i < started->n_capsets && !wrong; i++) {
		if (!remote->known)
			wrong = learn_capset(remote, started, i);
		else if (!is_same_capset(remote, started, i))
			wrong = "offers other capsets than the one before: restart vitrine";
	}
	return wrong;
}

const char *vtr_remote_started(struct vtr_remote *remote, const struct vtr_message *message)
{
	struct vtr_remote_started started;
	const char *wrong;

	memcpy(&started, message->data, sizeof(started));
	if (remote->state != VTR_REMOTE_STARTING)
		return "says twice that it has started";
	if (started.version != VTR_REMOTE_VERSION)
		return "is of another version of Vitrine";
	if (started.code) {
		vtr_remote_take_error(&remote->refusal, &started.error);
		return remote->refusal.code ? "cannot render" : "cannot render, and does not say why";
	}
	wrong = take_capsets(remote, &started);
	if (wrong)
		return wrong;
	if (!remote->known) {
		memcpy(remote->base.description, started.description, sizeof(remote->base.description));
		vtr_remote_make_printable(remote->base.description, sizeof(remote->base.description));
		remote->base.maps_blobs = started.maps_blobs;
		remote->known = true;
	} else {
		vtr_log(VTR_LOG_INFO, "a new renderer process has started (pid %d)", remote->child ? (int)remote->child->pid : 0);
	}
	remote->state = VTR_REMOTE_UP;
	return NULL;
}
