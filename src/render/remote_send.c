/* SPDX-License-Identifier: MIT */
/*
 * Calls on their way to the process. Each is sent when everything before it is, the socket takes it and the arena has room for what
 * it brings; until then it waits, with what it has borrowed. Files that the process does not have yet go before it, one by one.
 */
#include "render/remote.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "util/checked.h"

/* ---- before ---- */

static int refuse_memory(struct vtr_remote *remote, const struct vtr_region *region, const char *why)
{
	vtr_log_limited(&remote->memory_limit, VTR_LOG_WARN,
	                "guest memory at 0x%" PRIx64 " (%s) cannot be given to the renderer's process: %s; use --3d virgl without "
	                "isolate, or a VMM that shares its memory as files",
	                region->address, vtr_region_kind_name(region->kind), why);
	return -EOPNOTSUPP;
}

/* Only files can be mapped by somebody else; and who draws writes, too. */
static int check_spans(struct vtr_remote *remote, const struct vtr_spans *spans)
{
	const struct vtr_region *checked = NULL;

	if (spans->count > VTR_MAX_ENTRIES)
		return -EINVAL;
	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_region *region = spans->items[i].region;

		if (region == checked)
			continue;
		if (!region->mapped)
			return -EOPNOTSUPP;
		if (region->fd < 0)
			return refuse_memory(remote, region, "it came without a file");
		if (region->kind != VTR_REGION_RAM)
			return refuse_memory(remote, region, "it is memory of a device");
		if (!region->writable)
			return refuse_memory(remote, region, "it must not be written to");
		checked = region;
	}
	return 0;
}

static bool backs(const struct vtr_render_call *call)
{
	return (call->args.op == VTR_RENDER_ATTACH_BACKING || call->args.op == VTR_RENDER_CREATE_BLOB) && call->spans;
}

int vtr_remote_check(struct vtr_remote *remote, const struct vtr_render_call *call)
{
	if (call->args.op == VTR_RENDER_SUBMIT)
		return call->size <= VTR_MAX_SUBMIT && call->size % 4 == 0 ? 0 : -EINVAL;
	return backs(call) ? check_spans(remote, call->spans) : 0;
}

/* ---- the arena ---- */

/* Parts are multiples of 8 bytes, in one piece. False: there is no room before something is given back. */
static bool reserve(struct vtr_remote *remote, struct vtr_remote_entry *entry, size_t size, size_t *offset)
{
	size_t end;

	if (!remote->arena_parts)
		remote->arena_head = remote->arena_tail = 0;
	bool wrapped = remote->arena_parts && remote->arena_head <= remote->arena_tail;
	*offset = remote->arena_head;
	end = wrapped ? remote->arena_tail : VTR_REMOTE_ARENA;
	size = (size + 7) & ~(size_t)7;
	if (size > end - *offset) {
		if (wrapped || size > remote->arena_tail)
			return false;
		*offset = 0;
	}
	remote->arena_head = entry->arena_end = *offset + size;
	remote->arena_parts++;
	entry->in_arena = true;
	return true;
}

/* ---- files ---- */

enum sending { SENT, WAITS, FAILED };

/* Sends the file behind fd. */
static enum sending send_file(struct vtr_remote *remote, struct vtr_remote_entry *entry, int fd)
{
	struct vtr_remote_add_file message = { .header = { VTR_REMOTE_ADD_FILE, sizeof(message) } };
	struct iovec part = { &message, sizeof(message) };
	int slot = vtr_remote_files_add(&remote->files, fd, &message.size);

	if (slot < 0) {
		entry->code = slot == -ENOSPC ? -ENOMEM : slot;
		return FAILED;
	}
	message.slot = (uint32_t)slot;
	if (vtr_message_send(&remote->queue, remote->socket, &part, 1, &fd, 1) < 0) {
		vtr_remote_lose(remote, "does not take messages");
		return WAITS;
	}
	return vtr_message_queue_empty(&remote->queue) ? SENT : WAITS;
}

/* The slot of the file, which is sent first if need be. */
static enum sending need_file(struct vtr_remote *remote, struct vtr_remote_entry *entry, int fd, uint64_t end, int *slot)
{
	for (int i = 0; i < 2; i++) {
		*slot = vtr_remote_files_find(&remote->files, fd, end);
		if (*slot >= 0)
			return SENT;
		enum sending sending = *slot == -ENOENT && i == 0 ? send_file(remote, entry, fd) : FAILED;
		if (sending != SENT) {
			if (!entry->code)
				entry->code = -EINVAL;
			return sending;
		}
	}
	return FAILED;
}

/* Which slots spans lie in. */
struct slots {
	uint16_t list[VTR_REMOTE_FILES];
	uint16_t count;
	int fd, last; /* the last one is of this file */
};

static void note_slot(struct slots *slots, int fd, int slot)
{
	slots->fd = fd;
	slots->last = slot;
	for (unsigned i = 0; i < slots->count; i++)
		if (slots->list[i] == slot)
			return;
	slots->list[slots->count++] = (uint16_t)slot;
}

/* The slot of the region's file, which the process has as far as the region reaches. Many regions may be of one file. */
static enum sending need_region(struct vtr_remote *remote, struct vtr_remote_entry *entry, const struct vtr_region *region,
                                struct slots *slots)
{
	uint64_t end;
	int slot;

	if (!region->mapped || !vtr_add_u64(region->offset, region->size, &end)) {
		entry->code = -EOPNOTSUPP; /* taken away while the call waited */
		return FAILED;
	}
	if (slots->count && slots->fd == region->fd && end <= remote->files.files[slots->last].size)
		return SENT;
	enum sending sending = need_file(remote, entry, region->fd, end, &slot);
	if (sending == SENT)
		note_slot(slots, region->fd, slot);
	return sending;
}

static enum sending need_spans(struct vtr_remote *remote, struct vtr_remote_entry *entry, const struct vtr_spans *spans,
                               struct slots *slots)
{
	*slots = (struct slots){ .count = 0 };
	for (size_t i = 0; i < spans->count; i++) {
		enum sending sending = need_region(remote, entry, spans->items[i].region, slots);

		if (sending != SENT)
			return sending;
	}
	return SENT;
}

/* All files are there. */
static enum sending put_spans(struct vtr_remote *remote, struct vtr_remote_entry *entry, const struct vtr_spans *spans,
                              struct vtr_remote_call *message, struct slots *slots)
{
	size_t offset;

	message->has_spans = 1;
	message->arena_size = spans->count * sizeof(struct vtr_remote_span);
	if (!reserve(remote, entry, message->arena_size, &offset))
		return WAITS;
	message->arena_offset = offset;
	struct vtr_remote_span *to = (struct vtr_remote_span *)(remote->arena + offset);
	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_span *span = &spans->items[i];

		if (need_region(remote, entry, span->region, slots) != SENT)
			return FAILED;
		to[i] = (struct vtr_remote_span){
			.slot = (uint32_t)slots->last,
			.offset = span->region->offset + span->offset,
			.length = span->length,
		};
	}
	return SENT;
}

/* ---- one call ---- */

static enum sending put_backing(struct vtr_remote *remote, struct vtr_remote_entry *entry, struct vtr_remote_call *message)
{
	const struct vtr_render_call *call = entry->call;
	struct slots slots;
	struct vtr_remote_resource *resource = vtr_remote_files_resource(&remote->files, call->args.resource_id);
	enum sending sending = need_spans(remote, entry, call->spans, &slots);

	if (sending == SENT)
		sending = put_spans(remote, entry, call->spans, message, &slots);
	if (sending == SENT && resource &&
	    vtr_remote_files_back(&remote->files, resource, slots.list, slots.count, remote->sent) < 0) {
		entry->code = -ENOMEM;
		sending = FAILED;
	}
	return sending;
}

static enum sending put_stream(struct vtr_remote *remote, struct vtr_remote_entry *entry, struct vtr_remote_call *message)
{
	size_t offset;

	if (!reserve(remote, entry, entry->call->size, &offset))
		return WAITS;
	memcpy(remote->arena + offset, entry->call->data, entry->call->size);
	message->arena_offset = offset;
	message->arena_size = entry->call->size;
	return SENT;
}

static enum sending put_image(struct vtr_remote *remote, struct vtr_remote_entry *entry, struct vtr_remote_call *message)
{
	const struct vtr_image *image = entry->call->image;
	const struct vtr_region *region = image->pixels.items[0].region;
	struct vtr_remote_resource *resource = vtr_remote_files_resource(&remote->files, entry->call->args.resource_id);
	int slot;
	enum sending sending = need_file(remote, entry, region->fd, image->pixels.length, &slot);

	if (sending != SENT)
		return sending;
	if (resource)
		vtr_remote_files_set_image(&remote->files, resource, slot);
	message->image.slot = (uint32_t)slot;
	message->image.width = image->width;
	message->image.height = image->height;
	message->image.format = image->format;
	message->image.stride = image->stride;
	return SENT;
}

/* What the device has to remember of a resource. */
static enum sending note_created(struct vtr_remote *remote, struct vtr_remote_entry *entry)
{
	const struct vtr_render_args *args = &entry->call->args;
	struct vtr_remote_resource *resource = vtr_remote_files_create(&remote->files, args->resource_id, remote->sent);

	if (!resource) {
		entry->code = -ENOMEM;
		return FAILED;
	}
	if (args->op == VTR_RENDER_CREATE_3D) {
		resource->width = args->create_3d.width;
		resource->height = args->create_3d.height;
	}
	return SENT;
}

/* What the call brings goes where the process finds it; what it ends is not needed any more. */
static enum sending put(struct vtr_remote *remote, struct vtr_remote_entry *entry, struct vtr_remote_call *message)
{
	const struct vtr_render_call *call = entry->call;
	struct vtr_remote_resource *resource;

	switch (call->args.op) {
	case VTR_RENDER_SUBMIT:
		return put_stream(remote, entry, message);
	case VTR_RENDER_ATTACH_BACKING:
		return put_backing(remote, entry, message);
	case VTR_RENDER_READ:
		return put_image(remote, entry, message);
	case VTR_RENDER_CREATE_3D:
		return note_created(remote, entry);
	case VTR_RENDER_CREATE_BLOB:
		if (note_created(remote, entry) != SENT)
			return FAILED;
		return call->spans ? put_backing(remote, entry, message) : SENT;
	case VTR_RENDER_UNREF:
		vtr_remote_files_unref(&remote->files, call->args.resource_id);
		return SENT;
	case VTR_RENDER_DETACH_BACKING:
		resource = vtr_remote_files_resource(&remote->files, call->args.resource_id);
		if (resource)
			vtr_remote_files_unback(&remote->files, resource);
		return SENT;
	case VTR_RENDER_RESET:
		vtr_remote_files_unref_all(&remote->files);
		return SENT;
	default:
		return SENT;
	}
}

/* Sends the first call that waits. */
static enum sending send_call(struct vtr_remote *remote, struct vtr_remote_entry *entry)
{
	struct vtr_remote_call message = {
		.header = { VTR_REMOTE_CALL, sizeof(message) },
		.serial = remote->sent,
		.args = entry->call->args,
	};
	struct iovec part = { &message, sizeof(message) };
	enum sending sending = put(remote, entry, &message);

	if (sending != SENT)
		return sending;
	vtr_remote_files_forget(&remote->files, message.forget);
	if (vtr_message_send(&remote->queue, remote->socket, &part, 1, NULL, 0) < 0) {
		vtr_remote_lose(remote, "does not take messages");
		return WAITS;
	}
	return SENT;
}

void vtr_remote_pump(struct vtr_remote *remote)
{
	bool idle = !vtr_remote_is_owed(remote);

	while (remote->state == VTR_REMOTE_UP && remote->sent < remote->queued && vtr_message_queue_empty(&remote->queue)) {
		struct vtr_remote_entry *entry = vtr_remote_entry(remote, remote->sent);
		enum sending sending = send_call(remote, entry);

		if (sending == WAITS)
			break;
		entry->failed = sending == FAILED;
		remote->sent++;
		if (entry->failed && remote->answered == remote->sent - 1)
			vtr_remote_answered(remote, entry->code);
	}
	vtr_remote_watch(remote, idle);
}
