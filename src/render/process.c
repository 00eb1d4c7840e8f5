/* SPDX-License-Identifier: MIT */
/*
 * The process that renders.
 *
 * One thread, one socket: a call is carried out when it is read, by a renderer that is done when it returns, and answered before
 * the next one is read. Fences that pass meanwhile, or later, are said at once. The device reads what it is told, so writing waits
 * for it. The device is trusted as a part of the same program: what it should never send ends the process.
 */
#include "render/process.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <vitrine/dmabuf.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "util/checked.h"
#include "util/fd.h"

enum { CALLS_PER_TURN = 32, QUEUE_LIMIT = 65536 };

struct vtr_process {
	struct vtr_loop *loop;
	int socket;
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	vtr_process_create_func create;
	void *data;
	struct vtr_renderer *renderer; // NULL until START
	uint8_t *arena;
	size_t arena_size;
	struct vtr_process_memory memory;
	int status; /* -1: goes on */
};

static void end(struct vtr_process *process, int status)
{
	if (process->status < 0)
		process->status = status;
}

static void give_up(struct vtr_process *process, const char *what)
{
	vtr_log(VTR_LOG_ERROR, "%s", what);
	end(process, 1);
}

/* ---- saying ---- */

static void say(struct vtr_process *process, const void *message, size_t size, const int *fds, size_t n_fds)
{
	struct iovec part = { (void *)message, size };
	struct pollfd room = { .fd = process->socket, .events = POLLOUT };
	int error = vtr_message_send(&process->queue, process->socket, &part, 1, fds, n_fds);

	while (!error && !vtr_message_queue_empty(&process->queue)) {
		poll(&room, 1, -1);
		error = vtr_message_flush(&process->queue, process->socket);
		if (error == -EAGAIN)
			error = 0;
	}
	if (error)
		end(process, error == -ECONNRESET ? 0 : 1);
}

static void on_fence_done(void *data, uint64_t id)
{
	const struct vtr_remote_fence_done message = { .header = { VTR_REMOTE_FENCE_DONE, sizeof(message) }, .id = id };

	say(data, &message, sizeof(message), NULL, 0);
}

static void on_lost(void *data, const struct vtr_error *why)
{
	give_up(data, why->text);
}

static const struct vtr_renderer_listener listener = { .fence_done = on_fence_done, .lost = on_lost };

static void put_error(struct vtr_remote_error *to, const struct vtr_error *error)
{
	to->owner = error->owner;
	to->code = (uint32_t)error->code;
	memcpy(to->text, error->text, sizeof(to->text));
}

/* ---- START ---- */

/* The capsets' data, all versions, one behind the other in the arena. */
static void put_capsets(struct vtr_process *process, struct vtr_remote_started *started)
{
	size_t at = 0;

	for (uint32_t i = 0; i < process->renderer->n_capsets; i++) {
		const struct vtr_capset *capset = &process->renderer->capsets[i];

		if (capset->max_size > VTR_REMOTE_MAX_CAPSET || capset->max_version > VTR_REMOTE_MAX_CAPSET_VERSION) {
			vtr_log(VTR_LOG_WARN, "capset %" PRIu32 " is left out: %" PRIu32 " bytes", capset->id, capset->max_size);
			continue;
		}
		started->capsets[started->n_capsets].id = capset->id;
		started->capsets[started->n_capsets].max_version = capset->max_version;
		started->capsets[started->n_capsets].max_size = capset->max_size;
		started->capsets[started->n_capsets++].offset = (uint32_t)at;
		for (uint32_t version = 0; version <= capset->max_version; version++, at += capset->max_size) {
			memset(process->arena + at, 0, capset->max_size);
			process->renderer->impl->fill_capset(process->renderer, capset->id, version, process->arena + at,
			                                     capset->max_size);
		}
	}
}

static int map_arena(struct vtr_process *process, int fd, uint64_t size)
{
	void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	vtr_fd_close(&fd);
	if (arena == MAP_FAILED)
		return -errno;
	process->arena = arena;
	process->arena_size = size;
	return 0;
}

static bool take_start(struct vtr_process *process, struct vtr_message *message)
{
	struct vtr_remote_started started = { .header = { VTR_REMOTE_STARTED, sizeof(started) }, .version = VTR_REMOTE_VERSION };
	struct vtr_remote_start start;
	struct vtr_error error = { .owner = VTR_ERROR_NONE };

	memcpy(&start, message->data, sizeof(start));
	if (process->arena || message->n_fds != 1 || start.version != VTR_REMOTE_VERSION || start.arena_size != VTR_REMOTE_ARENA)
		return false;
	vtr_log_set_level((enum vtr_log_level)start.log_level);
	if (map_arena(process, vtr_message_take_fd(message, 0), start.arena_size) < 0)
		return false;
	process->renderer = process->create(process->loop, process->data, &error);
	if (process->renderer) {
		vtr_renderer_set_listener(process->renderer, &listener, process);
		put_capsets(process, &started);
		started.maps_blobs = process->renderer->maps_blobs;
		memcpy(started.description, process->renderer->description, sizeof(started.description));
	} else {
		started.code = -error.code;
		put_error(&started.error, &error);
		end(process, 1);
	}
	say(process, &started, sizeof(started), NULL, 0);
	return true;
}

/* ---- CALL ---- */

/* Codes that the device does not know are of libraries that forgot the convention. */
static int32_t known_code(int code)
{
	return code == -ENOENT || code == -ENOMEM || code == -EOPNOTSUPP ? code : -EINVAL;
}

/* What came of an EXPORT that succeeded: the fd (borrowed), or -1 with done->code set. */
static int put_exported(const struct vtr_render_call *call, struct vtr_remote_done *done)
{
	int fd = vtr_buffer_fd(call->exported);
	const struct vtr_buffer_layout *layout = vtr_buffer_layout(call->exported);

	if (fd < 0 || !layout) {
		done->code = -EOPNOTSUPP;
		put_error(&done->error, &call->why);
		return -1;
	}
	done->stride = layout->stride;
	done->offset = layout->offset;
	done->format = layout->format;
	done->modifier = layout->modifier;
	done->size = vtr_dmabuf_size(fd);
	return fd;
}

static void say_done(struct vtr_process *process, struct vtr_render_call *call, uint64_t serial)
{
	struct vtr_remote_done done = { .header = { VTR_REMOTE_DONE, sizeof(done) }, .serial = serial };
	int fd = -1;

	if (call->code) {
		done.code = known_code(call->code);
		put_error(&done.error, &call->why);
	} else if (call->args.op == VTR_RENDER_EXPORT) {
		fd = put_exported(call, &done);
	} else if (call->args.op == VTR_RENDER_EXPORT_BLOB) {
		fd = call->mapped.fd;
		done.offset = call->mapped.offset;
		done.size = call->mapped.size;
		done.map_info = call->mapped.map_info;
	}
	say(process, &done, sizeof(done), &fd, fd >= 0 ? 1 : 0);
}

/* What the call brings, as this process has it. 0 or -errno. */
static int prepare(struct vtr_process *process, const struct vtr_remote_call *message, struct vtr_render_call *call,
                   struct vtr_image *image)
{
	call->args = message->args;
	call->mapped.fd = -1;
	if (message->args.op == VTR_RENDER_SUBMIT) {
		call->data = process->arena + message->arena_offset;
		call->size = message->arena_size;
	} else if (message->args.op == VTR_RENDER_READ) {
		call->image = image;
		return vtr_process_image(&process->memory, message, image);
	} else if (message->has_spans) {
		return vtr_process_back(&process->memory, message->args.resource_id,
		                        (const struct vtr_remote_span *)(process->arena + message->arena_offset),
		                        message->arena_size / sizeof(struct vtr_remote_span), &call->spans);
	}
	return 0;
}

/* What the call ends is let go: also when it failed, because there was nothing then. */
static void clean_up(struct vtr_process *process, const struct vtr_remote_call *message, int code)
{
	const struct vtr_render_args *args = &message->args;

	if (args->op == VTR_RENDER_RESET)
		vtr_process_unback_all(&process->memory);
	else if (args->op == VTR_RENDER_DETACH_BACKING || args->op == VTR_RENDER_UNREF || (message->has_spans && code))
		vtr_process_unback(&process->memory, args->resource_id);
	vtr_process_forget_files(&process->memory, message->forget);
}

static bool take_call(struct vtr_process *process, struct vtr_message *message)
{
	struct vtr_render_call call = { 0 };
	struct vtr_image image = { 0 };
	struct vtr_remote_call said;

	memcpy(&said, message->data, sizeof(said));
	if (!process->renderer || said.args.op >= VTR_RENDER_OPS ||
	    !vtr_range_fits(said.arena_offset, said.arena_size, process->arena_size) || said.arena_offset % 8)
		return false;
	call.code = prepare(process, &said, &call, &image);
	if (!call.code)
		vtr_renderer_call(process->renderer, &call);
	if (call.code == -ENODEV)
		end(process, 1); /* it is lost, with all that it had */
	vtr_spans_finish(&image.pixels);
	clean_up(process, &said, call.code);
	if (process->status < 0)
		say_done(process, &call, said.serial);
	vtr_buffer_drop(call.exported);
	vtr_fd_close(&call.mapped.fd);
	return true;
}

/* ---- messages ---- */

static uint64_t message_size(const uint8_t *header)
{
	struct vtr_remote_header said;

	memcpy(&said, header, sizeof(said));
	return said.size;
}

static const struct vtr_framing framing = {
	.header_size = sizeof(struct vtr_remote_header),
	.max_size = sizeof(struct vtr_remote_call),
	.message_size = message_size,
};

static bool take_file(struct vtr_process *process, struct vtr_message *message)
{
	struct vtr_remote_add_file file;

	memcpy(&file, message->data, sizeof(file));
	if (file.slot >= VTR_REMOTE_FILES || message->n_fds != 1)
		return false;
	vtr_process_add_file(&process->memory, file.slot, vtr_message_take_fd(message, 0), file.size);
	return true;
}

static bool take(struct vtr_process *process, struct vtr_message *message)
{
	struct vtr_remote_header header;

	memcpy(&header, message->data, sizeof(header));
	if (header.type == VTR_REMOTE_START && header.size == sizeof(struct vtr_remote_start))
		return take_start(process, message);
	if (header.type == VTR_REMOTE_ADD_FILE && header.size == sizeof(struct vtr_remote_add_file))
		return take_file(process, message);
	if (header.type == VTR_REMOTE_CALL && header.size == sizeof(struct vtr_remote_call))
		return take_call(process, message);
	return false;
}

static void on_socket(int fd, uint32_t events, void *data)
{
	struct vtr_process *process = data;

	for (int i = 0; i < CALLS_PER_TURN && process->status < 0; i++) {
		struct vtr_message message;
		int result = vtr_message_read(&process->reader, fd, &message);

		if (!result)
			break;
		if (result < 0) {
			if (result == -ECONNRESET)
				end(process, 0);
			else
				give_up(process, "the device's message cannot be read");
			break;
		}
		if (!take(process, &message))
			give_up(process, "the device has sent what makes no sense");
		vtr_message_finish(&message);
	}
}

int vtr_process_run(int socket, vtr_process_create_func create, void *data)
{
	struct vtr_process *process = calloc(1, sizeof(*process));
	int status = 1;

	if (!process) {
		vtr_fd_close(&socket);
		return status;
	}
	process->socket = socket;
	process->create = create;
	process->data = data;
	process->status = -1;
	vtr_message_reader_init(&process->reader, &framing);
	vtr_message_queue_init(&process->queue, QUEUE_LIMIT);
	process->loop = vtr_loop_create();
	if (process->loop && vtr_loop_add_fd(process->loop, socket, EPOLLIN, on_socket, process)) {
		while (process->status < 0 && vtr_loop_dispatch(process->loop, -1) == 0)
			continue;
		status = process->status;
	}
	vtr_renderer_destroy(process->renderer);
	vtr_process_memory_finish(&process->memory);
	vtr_loop_destroy(process->loop);
	vtr_message_reader_finish(&process->reader);
	vtr_message_queue_finish(&process->queue);
	if (process->arena)
		munmap(process->arena, process->arena_size);
	vtr_fd_close(&process->socket);
	free(process);
	return status;
}
