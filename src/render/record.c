/* SPDX-License-Identifier: MIT */
/*
 * A renderer in front of another one that writes what passes to a file, for tests and for reports of what was drawn wrong.
 *
 * Calls are plain structures and are written as they are. What they refer to is guest memory: of each backing there is a copy here,
 * and before a call that reads it the pages that have changed are written first. That costs a comparison of all backings for each
 * command stream; nobody records for speed. A file that cannot be written to any more ends the recording, not the drawing.
 *
 * A call may be in progress when we have seen the last of it, and fail then. So a backing here is what may be one: its regions are
 * kept, and looked at as long as they are in the guest's memory map.
 */
#include "render/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "memory/region.h"

enum { PAGE = 4096, MAX_PAGES = 256 /* in one chunk */ };

/* Of the guest's memory. */
struct piece {
	struct vtr_region *region; /* with a reference */
	uint64_t offset, length;
};

struct backing {
	struct backing *next;
	uint32_t resource_id;
	struct piece *pieces;
	size_t n_pieces;
	uint64_t size;
	uint8_t *copy; /* as it was last written */
};

struct recorder {
	struct vtr_renderer base;
	struct vtr_renderer *inner;
	FILE *file; /* NULL: it could not be written to any more */
	char *path;
	struct backing *backings;
};

static struct recorder *recorder_from(struct vtr_renderer *renderer)
{
	return (struct recorder *)renderer;
}

/* ---- the file ---- */

static void write_bytes(struct recorder *recorder, const void *data, size_t size)
{
	if (!recorder->file || !size || fwrite(data, 1, size, recorder->file) == size)
		return;
	vtr_log(VTR_LOG_WARN, "%s: %s; the recording ends here", recorder->path, strerror(errno));
	fclose(recorder->file);
	recorder->file = NULL;
}

static void write_chunk(struct recorder *recorder, enum vtr_record_kind kind, const void *body, size_t size, const void *more,
                        size_t more_size)
{
	struct vtr_record_chunk chunk = { kind, (uint32_t)(size + more_size) };

	write_bytes(recorder, &chunk, sizeof(chunk));
	write_bytes(recorder, body, size);
	write_bytes(recorder, more, more_size);
}

/* ---- guest memory ---- */

static struct backing **find_backing(struct recorder *recorder, uint32_t resource_id)
{
	struct backing **link = &recorder->backings;

	while (*link && (*link)->resource_id != resource_id)
		link = &(*link)->next;
	return link;
}

static void forget_backing(struct backing **link)
{
	struct backing *backing = *link;

	if (!backing)
		return;
	*link = backing->next;
	for (size_t i = 0; i < backing->n_pieces; i++)
		vtr_region_unref(backing->pieces[i].region);
	free(backing->pieces);
	free(backing->copy);
	free(backing);
}

/* Without memory for it nothing of the backing is recorded. */
static void keep_backing(struct recorder *recorder, uint32_t resource_id, const struct vtr_spans *spans)
{
	struct backing *backing = calloc(1, sizeof(*backing));

	if (!backing)
		return;
	backing->resource_id = resource_id;
	backing->pieces = calloc(spans->count, sizeof(backing->pieces[0]));
	backing->copy = calloc(1, spans->length);
	backing->next = recorder->backings;
	recorder->backings = backing;
	if (!backing->pieces || !backing->copy) {
		forget_backing(&recorder->backings);
		return;
	}
	backing->size = spans->length;
	backing->n_pieces = spans->count;
	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_span *span = &spans->items[i];

		backing->pieces[i] = (struct piece){ span->region, span->offset, span->length };
		span->region->refs++;
	}
}

/* Brings a piece of the copy up to date; false when it was. */
static bool update(struct backing *backing, uint64_t at, const uint8_t *guest, size_t size)
{
	if (!memcmp(backing->copy + at, guest, size))
		return false;
	memcpy(backing->copy + at, guest, size);
	return true;
}

static void write_memory(struct recorder *recorder, const struct backing *backing, uint64_t begin, uint64_t end)
{
	struct vtr_record_memory memory = { .resource_id = backing->resource_id, .offset = begin };

	if (begin < end)
		write_chunk(recorder, VTR_RECORD_MEMORY, &memory, sizeof(memory), backing->copy + begin, (size_t)(end - begin));
}

/* Writes what the guest has changed, neighbouring pages together. */
static void look_at_backing(struct recorder *recorder, struct backing *backing)
{
	uint64_t at = 0, begin = 0, end = 0; /* [begin, end) is to be written */

	for (size_t i = 0; i < backing->n_pieces; i++) {
		const struct piece *piece = &backing->pieces[i];

		if (!piece->region->mapped || !piece->region->data) {
			at += piece->length;
			continue;
		}
		const uint8_t *guest = piece->region->data + piece->offset;
		for (uint64_t left = piece->length; left;) {
			size_t size = left < PAGE ? (size_t)left : PAGE;

			if (update(backing, at, guest, size)) {
				if (end != at || end - begin >= MAX_PAGES * PAGE) {
					write_memory(recorder, backing, begin, end);
					begin = at;
				}
				end = at + size;
			}
			at += size;
			guest += size;
			left -= size;
		}
	}
	write_memory(recorder, backing, begin, end);
}

/* Before a call: what it may read of the guest's. A command stream may read any backing. */
static void look_at_memory(struct recorder *recorder, const struct vtr_render_args *args)
{
	if (args->op != VTR_RENDER_SUBMIT && args->op != VTR_RENDER_TRANSFER_TO_HOST)
		return;
	for (struct backing *backing = recorder->backings; backing; backing = backing->next)
		if (args->op == VTR_RENDER_SUBMIT || backing->resource_id == args->resource_id)
			look_at_backing(recorder, backing);
}

/* After a call, which may still be in progress. What takes a backing away does so whatever its code is. */
static void follow(struct recorder *recorder, const struct vtr_render_call *call, int code)
{
	switch (call->args.op) {
	case VTR_RENDER_ATTACH_BACKING:
	case VTR_RENDER_CREATE_BLOB:
		if (code && code != -EINPROGRESS)
			break;
		forget_backing(find_backing(recorder, call->args.resource_id));
		if (call->spans)
			keep_backing(recorder, call->args.resource_id, call->spans);
		break;
	case VTR_RENDER_DETACH_BACKING:
	case VTR_RENDER_UNREF:
		forget_backing(find_backing(recorder, call->args.resource_id));
		break;
	case VTR_RENDER_RESET:
		while (recorder->backings)
			forget_backing(&recorder->backings);
		break;
	default:
		break;
	}
}

/* ---- calls ---- */

uint64_t vtr_record_checksum(const struct vtr_render_call *call)
{
	uint32_t width = call->args.read.width;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	uint8_t *row = malloc((size_t)width * 4);

	for (uint32_t y = 0; row && y < call->args.read.height; y++) {
		uint64_t offset = (uint64_t)(call->args.read.y + y) * call->image->stride + (uint64_t)call->args.read.x * 4;

		if (vtr_spans_read(&call->image->pixels, offset, row, (size_t)width * 4))
			break;
		for (size_t i = 0; i < (size_t)width * 4; i++)
			if (i % 4 != 3)
				sum = (sum ^ row[i]) * UINT64_C(0x100000001b3);
	}
	free(row);
	return sum;
}

static void write_call(struct recorder *recorder, const struct vtr_render_call *call)
{
	struct vtr_record_call record = { .args = call->args, .backing = call->spans ? call->spans->length : 0 };

	if (call->args.op == VTR_RENDER_READ) {
		record.width = call->image->width;
		record.height = call->image->height;
		record.format = call->image->format;
	}
	write_chunk(recorder, VTR_RECORD_CALL, &record, sizeof(record), call->data, call->data ? call->size : 0);
	if (recorder->file)
		fflush(recorder->file);
}

static void write_result(struct recorder *recorder, const struct vtr_render_call *call, int code)
{
	struct vtr_record_result result = { .code = code };

	if (code == -EINPROGRESS)
		return;
	if (!code && call->args.op == VTR_RENDER_READ)
		result.checksum = vtr_record_checksum(call);
	write_chunk(recorder, VTR_RECORD_RESULT, &result, sizeof(result), NULL, 0);
}

static int call(struct vtr_renderer *base, struct vtr_render_call *call)
{
	struct recorder *recorder = recorder_from(base);

	look_at_memory(recorder, &call->args);
	write_call(recorder, call);
	int code = recorder->inner->impl->call(recorder->inner, call);
	write_result(recorder, call, code);
	follow(recorder, call, code);
	return code;
}

static void wait_for(struct vtr_renderer *base, struct vtr_render_call *call)
{
	struct vtr_renderer *inner = recorder_from(base)->inner;

	inner->impl->wait(inner, call);
}

static void fill_capset(struct vtr_renderer *base, uint32_t id, uint32_t version, void *data, uint32_t size)
{
	struct vtr_renderer *inner = recorder_from(base)->inner;

	inner->impl->fill_capset(inner, id, version, data, size);
}

static int pid(const struct vtr_renderer *base)
{
	return vtr_renderer_pid(((const struct recorder *)base)->inner);
}

static void fence_done(void *data, uint64_t id)
{
	struct recorder *recorder = data;

	if (recorder->base.listener)
		recorder->base.listener->fence_done(recorder->base.listener_data, id);
}

static void lost(void *data, const struct vtr_error *why)
{
	struct recorder *recorder = data;

	while (recorder->backings)
		forget_backing(&recorder->backings);
	if (recorder->base.listener)
		recorder->base.listener->lost(recorder->base.listener_data, why);
}

static const struct vtr_renderer_listener listener = { .fence_done = fence_done, .lost = lost };

static void destroy(struct vtr_renderer *base)
{
	struct recorder *recorder = recorder_from(base);

	vtr_renderer_destroy(recorder->inner);
	while (recorder->backings)
		forget_backing(&recorder->backings);
	if (recorder->file)
		fclose(recorder->file);
	free(recorder->path);
	free(recorder);
}

static const struct vtr_renderer_impl impl = {
	.call = call,
	.wait = wait_for,
	.fill_capset = fill_capset,
	.pid = pid,
	.destroy = destroy,
};

/* ---- beginning ---- */

/* Private: what a guest shows is in it. */
static FILE *open_file(const char *path, const char *description)
{
	struct vtr_record_header header = { .magic = "VTRREC", .version = VTR_RECORD_VERSION };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	header.args_size = sizeof(struct vtr_render_args);
	snprintf(header.description, sizeof(header.description), "%s", description);
	if (fwrite(&header, sizeof(header), 1, file) == 1 && fflush(file) == 0)
		return file;
	fclose(file);
	return NULL;
}

struct vtr_renderer *vtr_renderer_record(struct vtr_renderer *renderer, const char *path, struct vtr_error *error)
{
	struct recorder *recorder = calloc(1, sizeof(*recorder));

	if (!recorder)
		goto fail;
	recorder->inner = renderer;
	recorder->path = strdup(path);
	recorder->file = recorder->path ? open_file(path, renderer->description) : NULL;
	if (!recorder->file)
		goto fail;
	recorder->base = *renderer;
	recorder->base.impl = &impl;
	recorder->base.listener = NULL;
	vtr_renderer_set_listener(renderer, &listener, recorder);
	return &recorder->base;
fail:
	vtr_error_set(error, VTR_ERROR_HOST, errno, "%s: %s", path, strerror(errno));
	if (recorder)
		free(recorder->path);
	free(recorder);
	vtr_renderer_destroy(renderer);
	return NULL;
}
