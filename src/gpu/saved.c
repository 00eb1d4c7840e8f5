/* SPDX-License-Identifier: MIT */
/*
 * What the guest has told the device, so that a successor can go on where we were killed.
 *
 * A guest's driver knows nothing of the death of its device: it goes on using its resource ids. So each thing it made is kept, as
 * the command that makes it again, in memory that outlives us (virtio/saved_memory.h); a successor runs those commands.
 *
 * We can be killed between any two stores. So everything that is written carries the number of the change it belongs to, and it
 * counts once the header's `committed` has reached that number: one store makes a change, whatever it consists of, the mark that
 * the command was carried out included. What an unfinished change has written does not count, and what it replaces is not
 * overwritten before:
 *
 *   - a resource's slot or block is free when the change that gave it back was committed, and taken by writing `created` or
 *     `attached` first, with a number that does not count yet;
 *   - scanouts and cursors, which change with each frame, have two copies, written in turns;
 *   - a mark names a chain's ticket; an old one names a chain that is gone.
 *
 * A flip costs some hundred bytes of stores. Mem entries are copied once, when a backing is attached, into blocks; a list of blocks
 * cannot be fragmented. Slots and blocks are taken lowest first, so that the memory is as large as a guest needs, and pages are
 * reserved before they are touched. When there are none, nothing is saved from then on: a guest is not refused anything.
 *
 * What a renderer has (3D resources, contexts) dies with the process, and is not kept: commands that name it get errors, and a
 * scanout that showed it shows nothing until the guest sets it anew.
 *
 * The memory is only ever read at the beginning (saved_restore.c). What has to be known later is kept here as well.
 */
#include "gpu/saved.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"
#include "gpu/saved_layout.h"

enum { RESERVE_STEP = 64 * 1024 }; /* bytes */

size_t vtr_saved_size(void)
{
	return sizeof(struct vtr_saved_area);
}

/* ---- slots and blocks ---- */

static bool pool_init(struct vtr_saved_pool *pool, uint32_t count)
{
	pool->free = malloc(count * sizeof(pool->free[0]));
	if (!pool->free)
		return false;
	pool->n_free = count;
	for (uint32_t i = 0; i < count; i++)
		pool->free[i] = count - 1 - i;
	return true;
}

/* Takes a number; items are item_size bytes each, from item_offset on. -ENOSPC: there are no pages for it, or no numbers. */
static int pool_take(struct vtr_saved *saved, struct vtr_saved_pool *pool, size_t item_offset, size_t item_size, uint32_t *number)
{
	if (!pool->n_free)
		return -ENOSPC;
	*number = pool->free[pool->n_free - 1];
	if (*number >= pool->reserved) {
		const uint32_t step = RESERVE_STEP / (uint32_t)item_size;
		const uint32_t end = *number + step;
		const size_t offset = item_offset + pool->reserved * item_size;
		size_t length = (end - pool->reserved) * item_size;
		int ret;

		if (length > saved->memory->size - offset)
			length = saved->memory->size - offset;
		ret = saved->memory->reserve(saved->memory, offset, length);
		if (ret < 0)
			return ret;
		pool->reserved = end;
	}
	pool->n_free--;
	return 0;
}

static void pool_give(struct vtr_saved_pool *pool, uint32_t number)
{
	pool->free[pool->n_free++] = number;
}

static void give_blocks(struct vtr_saved *saved, const struct vtr_saved_slot *slot)
{
	uint32_t block = slot->first_block;

	for (uint32_t n = 0; n < slot->n_entries; n += VTR_SAVED_BLOCK) {
		pool_give(&saved->blocks, block);
		block = saved->next[block];
	}
}

/* ---- life ---- */

struct vtr_saved *vtr_saved_new(struct vtr_saved_memory *memory)
{
	struct vtr_saved *saved = calloc(1, sizeof(*saved));

	if (!saved)
		return NULL;
	saved->memory = memory;
	saved->area = memory->data;
	if (!pool_init(&saved->resources, VTR_MAX_RESOURCES) || !pool_init(&saved->blocks, VTR_SAVED_BLOCKS)) {
		vtr_saved_destroy(saved);
		errno = ENOMEM;
		return NULL;
	}
	return saved;
}

struct vtr_saved *vtr_saved_create(struct vtr_saved_memory *memory)
{
	struct vtr_saved_area *area = memory->data;
	struct vtr_saved *saved = NULL;
	int ret;

	assert(memory->size >= sizeof(*area));
	area->header.magic[0] = 0;
	vtr_saved_order();
	ret = memory->clear(memory);
	if (ret == 0)
		ret = memory->reserve(memory, 0, offsetof(struct vtr_saved_area, resources));
	errno = -ret;
	if (ret == 0)
		saved = vtr_saved_new(memory);
	if (!saved)
		return NULL;
	area->header.version = VTR_SAVED_VERSION;
	memcpy(area->header.magic + 1, &VTR_SAVED_MAGIC[1], sizeof(area->header.magic) - 1);
	vtr_saved_order();
	area->header.magic[0] = VTR_SAVED_MAGIC[0];
	vtr_saved_order();
	return saved;
}

void vtr_saved_destroy(struct vtr_saved *saved)
{
	if (!saved)
		return;
	free(saved->resources.free);
	free(saved->blocks.free);
	free(saved);
}

/* There is no room for what the guest has: half of it is of no use to anybody. */
static void give_up(struct vtr_saved *saved, int error)
{
	struct vtr_saved_area *area = saved->area;

	vtr_log(VTR_LOG_WARN,
	        "the guest's resources cannot be saved (%s): should this process be killed, the picture comes back only "
	        "when the guest sets it anew",
	        strerror(-error));
	area->header.magic[0] = 0;
	vtr_saved_order();
	saved->memory = NULL;
}

/* Is there somewhere to note a change? It has one then. */
static bool begin_note(struct vtr_saved *saved)
{
	if (!saved || !saved->memory)
		return false;
	saved->noted = true;
	return true;
}

static uint64_t next_change(const struct vtr_saved *saved)
{
	return saved->committed + 1;
}

/* ---- resources ---- */

static struct vtr_saved_resource *slot_of(struct vtr_saved *saved, const struct vtr_resource *resource)
{
	assert(resource->saved);
	return &saved->area->resources[resource->saved - 1];
}

/* Copies entries into blocks. Nothing points to them yet. */
static int put_entries(struct vtr_saved *saved, const struct vtr_mem_entry *entries, uint32_t count, uint32_t *first)
{
	struct vtr_saved_area *area = saved->area;
	uint32_t *link = first;

	for (uint32_t done = 0; done < count; done += VTR_SAVED_BLOCK) {
		const uint32_t n = count - done < VTR_SAVED_BLOCK ? count - done : VTR_SAVED_BLOCK;
		uint32_t block;
		int ret =
			pool_take(saved, &saved->blocks, offsetof(struct vtr_saved_area, blocks), sizeof(area->blocks[0]), &block);

		if (ret < 0)
			return ret;
		memcpy(area->blocks[block].entries, entries + done, n * sizeof(entries[0]));
		*link = block;
		if (link != first)
			area->blocks[link - saved->next].next = block;
		link = &saved->next[block];
	}
	return 0;
}

static int put_backing(struct vtr_saved *saved, const struct vtr_resource *resource)
{
	struct vtr_saved_slot *slot = &saved->slots[resource->saved - 1];
	struct vtr_saved_resource *item = slot_of(saved, resource);
	uint32_t first = 0;
	int ret = put_entries(saved, resource->entries, (uint32_t)resource->n_entries, &first);

	if (ret < 0)
		return ret;
	__atomic_store_n(&item->attached, next_change(saved), __ATOMIC_RELEASE);
	vtr_saved_order();
	item->detached = 0;
	item->n_entries = slot->n_entries = (uint32_t)resource->n_entries;
	item->first_block = slot->first_block = first;
	return 0;
}

static int put_resource(struct vtr_saved *saved, struct vtr_resource *resource, const void *command, size_t size)
{
	struct vtr_saved_area *area = saved->area;
	uint32_t number;
	int ret = pool_take(saved, &saved->resources, offsetof(struct vtr_saved_area, resources), sizeof(area->resources[0]),
	                    &number);

	if (ret < 0)
		return ret;
	if (number >= area->header.n_resources)
		area->header.n_resources = number + 1;
	vtr_saved_order();
	resource->saved = number + 1;
	saved->slots[number] = (struct vtr_saved_slot){ 0 };
	struct vtr_saved_resource *item = slot_of(saved, resource);
	__atomic_store_n(&item->created, next_change(saved), __ATOMIC_RELEASE);
	vtr_saved_order();
	item->destroyed = item->attached = item->detached = item->named = 0;
	memcpy(&item->command, command, size);
	return resource->entries ? put_backing(saved, resource) : 0;
}

void vtr_saved_note_created(struct vtr_saved *saved, struct vtr_resource *resource, const void *command, size_t size)
{
	if (!begin_note(saved))
		return;
	int ret = put_resource(saved, resource, command, size);
	if (ret < 0)
		give_up(saved, ret);
}

void vtr_saved_note_attached(struct vtr_saved *saved, const struct vtr_resource *resource)
{
	if (!resource->saved || !begin_note(saved))
		return;
	int ret = put_backing(saved, resource);
	if (ret < 0)
		give_up(saved, ret);
}

/* The blocks can be used again when the change is committed. */
static void release_backing(struct vtr_saved *saved, const struct vtr_resource *resource)
{
	struct vtr_saved_slot *slot = &saved->slots[resource->saved - 1];

	saved->released = *slot;
	slot->n_entries = 0;
}

void vtr_saved_note_detached(struct vtr_saved *saved, const struct vtr_resource *resource)
{
	if (!resource->saved || !begin_note(saved))
		return;
	__atomic_store_n(&slot_of(saved, resource)->detached, next_change(saved), __ATOMIC_RELEASE);
	release_backing(saved, resource);
}

void vtr_saved_note_uuid(struct vtr_saved *saved, const struct vtr_resource *resource)
{
	if (!saved || !resource->saved || saved->slots[resource->saved - 1].named || !begin_note(saved))
		return;
	struct vtr_saved_resource *item = slot_of(saved, resource);
	memcpy(item->uuid, resource->uuid, sizeof(item->uuid));
	__atomic_store_n(&item->named, next_change(saved), __ATOMIC_RELEASE);
	saved->slots[resource->saved - 1].named = true;
}

/* ---- scanouts and cursors ---- */

static void put_scanout(struct vtr_saved *saved, uint32_t id)
{
	const unsigned copy = !saved->scanout_copy[id];
	struct vtr_saved_scanout *item = &saved->area->scanouts[id][copy];

	item->command = saved->scanouts[id].command;
	__atomic_store_n(&item->change, next_change(saved), __ATOMIC_RELEASE);
	saved->scanout_copy[id] = copy;
}

static void put_cursor(struct vtr_saved *saved, uint32_t id)
{
	const unsigned copy = !saved->cursor_copy[id];
	struct vtr_saved_cursor *item = &saved->area->cursors[id][copy];

	item->command = saved->cursors[id].command;
	__atomic_store_n(&item->change, next_change(saved), __ATOMIC_RELEASE);
	saved->cursor_copy[id] = copy;
}

void vtr_saved_note_scanout(struct vtr_saved *saved, uint32_t scanout, const void *command, size_t size)
{
	if (!begin_note(saved))
		return;
	saved->scanouts[scanout].command.hdr.type = 0;
	if (command)
		memcpy(&saved->scanouts[scanout].command, command, size);
	put_scanout(saved, scanout);
}

void vtr_saved_note_cursor(struct vtr_saved *saved, const struct virtio_gpu_update_cursor *command)
{
	const uint32_t id = command->pos.scanout_id;

	if (!begin_note(saved))
		return;
	if (command->hdr.type == VIRTIO_GPU_CMD_UPDATE_CURSOR) {
		saved->cursors[id].command = *command;
	} else {
		saved->cursors[id].command.hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR;
		saved->cursors[id].command.pos = command->pos;
	}
	put_cursor(saved, id);
}

/* The id may be another resource's soon. */
static void forget_shown(struct vtr_saved *saved, uint32_t id)
{
	for (uint32_t i = 0; i < VTR_MAX_SCANOUTS; i++) {
		struct vtr_saved_scanout *scanout = &saved->scanouts[i];
		const uint32_t type = scanout->command.hdr.type;

		if ((type == VIRTIO_GPU_CMD_SET_SCANOUT && scanout->command.set.resource_id == id) ||
		    (type == VIRTIO_GPU_CMD_SET_SCANOUT_BLOB && scanout->command.set_blob.resource_id == id)) {
			scanout->command.hdr.type = 0;
			put_scanout(saved, i);
		}
		if (saved->cursors[i].command.resource_id == id) {
			saved->cursors[i].command.resource_id = 0;
			put_cursor(saved, i);
		}
	}
}

void vtr_saved_note_destroyed(struct vtr_saved *saved, const struct vtr_resource *resource)
{
	if (!begin_note(saved))
		return;
	forget_shown(saved, resource->id);
	if (!resource->saved)
		return;
	__atomic_store_n(&slot_of(saved, resource)->destroyed, next_change(saved), __ATOMIC_RELEASE);
	release_backing(saved, resource);
	saved->released_slot = resource->saved;
}

/* ---- commands ---- */

bool vtr_saved_executed(const struct vtr_saved *saved, unsigned queue, const struct vtr_chain *chain)
{
	return saved && chain->ticket && saved->executed[queue][chain->head] == chain->ticket;
}

void vtr_saved_commit(struct vtr_saved *saved, unsigned queue, uint16_t head, uint64_t ticket, bool mark)
{
	mark = mark && ticket;
	if (!saved || !saved->memory || !(mark || saved->noted))
		return;
	if (mark) {
		struct vtr_saved_mark *item = &saved->area->marks[queue][head];

		item->change = UINT64_MAX;
		vtr_saved_order();
		item->ticket = ticket;
		vtr_saved_order();
		item->change = next_change(saved);
	}
	saved->committed++;
	__atomic_store_n(&saved->area->header.committed, saved->committed, __ATOMIC_RELEASE);
	vtr_saved_order();
	give_blocks(saved, &saved->released);
	saved->released = (struct vtr_saved_slot){ 0 };
	if (saved->released_slot)
		pool_give(&saved->resources, saved->released_slot - 1);
	saved->released_slot = 0;
	saved->noted = false;
}
