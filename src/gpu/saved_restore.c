/* SPDX-License-Identifier: MIT */
/*
 * From memory that a process before us left, back to a device (saved.c writes it).
 *
 * The memory may have been written by anybody: the front-end that kept it, another version of us, nobody. So it is treated like a
 * driver: each record is copied once, and the commands in it run through the handlers that the guest's own go through, with all
 * their checks and limits. What a change that was not committed has written is removed first; what a handler refuses is removed,
 * too, and is for the guest to make again.
 *
 * A resource's memory need not be there yet. Then its backing is kept, as it is when memory goes under a live resource, and the
 * scanouts that show it are presented when it is there. A 2D resource's picture was in the process that is gone: it is filled from
 * its backing, which is where the guest took it from.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"
#include "gpu/saved.h"
#include "gpu/saved_layout.h"

struct restoring {
	struct vtr_gpu *gpu;
	struct vtr_saved *saved;
	bool block_used[VTR_SAVED_BLOCKS];
	bool slot_used[VTR_MAX_RESOURCES];
	unsigned lost; /* resources that could not be made again */
};

static bool counts(const struct restoring *r, uint64_t change)
{
	return change && change <= r->saved->committed;
}

/* Runs a command of the guest's again. */
static uint32_t run(struct restoring *r, unsigned queue, const void *command, size_t size)
{
	struct vtr_gpu_request request;

	memset(&request, 0, sizeof(request));
	request.queue = queue;
	memcpy(&request.command, command, size);
	return vtr_gpu_run_again(r->gpu, &request);
}

static int read_header(struct restoring *r)
{
	const struct vtr_saved_header header = r->saved->area->header;
	static const char nothing[sizeof(header.magic)] = { 0 };

	vtr_saved_order();
	if (!header.magic[0] || !memcmp(header.magic, nothing, sizeof(nothing)))
		return -ENOENT;
	if (memcmp(header.magic, VTR_SAVED_MAGIC, sizeof(header.magic)) || header.version != VTR_SAVED_VERSION ||
	    header.n_resources > VTR_MAX_RESOURCES || header.committed > VTR_SAVED_MAX_CHANGE)
		return -EPROTO;
	r->saved->committed = header.committed;
	r->saved->resources.reserved = header.n_resources;
	return 0;
}

static void read_marks(struct restoring *r)
{
	for (unsigned queue = 0; queue < VTR_SAVED_QUEUES; queue++)
		for (unsigned i = 0; i < VTR_MAX_QUEUE_SIZE; i++) {
			struct vtr_saved_mark *item = &r->saved->area->marks[queue][i];
			const struct vtr_saved_mark mark = *item;

			vtr_saved_order();
			if (counts(r, mark.change))
				r->saved->executed[queue][i] = mark.ticket;
			else
				item->change = 0;
		}
}

/* ---- resources ---- */

/* Copies the backing of item, whose blocks are item's from then on. NULL when they cannot be. */
static struct vtr_mem_entry *read_entries(struct restoring *r, const struct vtr_saved_resource *item)
{
	uint32_t block = item->first_block;
	struct vtr_mem_entry *entries;

	if (!item->n_entries || item->n_entries > VTR_MAX_ENTRIES)
		return NULL;
	entries = malloc(item->n_entries * sizeof(entries[0]));
	for (uint32_t done = 0; entries && done < item->n_entries; done += VTR_SAVED_BLOCK) {
		const uint32_t n = item->n_entries - done < VTR_SAVED_BLOCK ? item->n_entries - done : VTR_SAVED_BLOCK;

		if (block >= VTR_SAVED_BLOCKS || r->block_used[block]) {
			free(entries);
			return NULL;
		}
		r->block_used[block] = true;
		if (block >= r->saved->blocks.reserved)
			r->saved->blocks.reserved = block + 1;
		memcpy(entries + done, r->saved->area->blocks[block].entries, n * sizeof(entries[0]));
		r->saved->next[block] = r->saved->area->blocks[block].next;
		vtr_saved_order();
		block = r->saved->next[block];
	}
	return entries;
}

static void attach_again(struct restoring *r, struct vtr_resource *resource, const struct vtr_saved_resource *item)
{
	struct virtio_gpu_resource_attach_backing attach = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
		.resource_id = resource->id,
		.nr_entries = item->n_entries,
	};
	struct vtr_saved_slot *slot = &r->saved->slots[resource->saved - 1];
	struct vtr_mem_entry *entries = read_entries(r, item);
	uint32_t response = VIRTIO_GPU_RESP_ERR_UNSPEC;

	resource->unfilled = resource->image != NULL;
	if (entries) {
		r->gpu->incoming = (struct vtr_incoming){ .entries = entries, .count = item->n_entries };
		response = run(r, VTR_GPU_CONTROLQ, &attach, sizeof(attach));
		vtr_gpu_forget_incoming(r->gpu);
	}
	if (response == VIRTIO_GPU_RESP_OK_NODATA) {
		slot->n_entries = item->n_entries;
		slot->first_block = item->first_block;
	} else {
		/* its blocks stay used, so that nothing has to be undone */
		r->saved->area->resources[resource->saved - 1].attached = 0;
		resource->unfilled = false;
		r->lost++;
	}
}

/* Runs the command that made the resource; its backing comes separately. NULL when that cannot be. */
static struct vtr_resource *create_again(struct restoring *r, const struct vtr_saved_resource *item)
{
	struct virtio_gpu_resource_create_blob blob = item->command.create_blob;
	uint32_t response = VIRTIO_GPU_RESP_ERR_UNSPEC;

	if (item->command.hdr.type == VIRTIO_GPU_CMD_RESOURCE_CREATE_2D) {
		response = run(r, VTR_GPU_CONTROLQ, &item->command.create_2d, sizeof(item->command.create_2d));
	} else if (item->command.hdr.type == VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB) {
		blob.nr_entries = 0;
		response = run(r, VTR_GPU_CONTROLQ, &blob, sizeof(blob));
	}
	/* the id is at the same place in both */
	return response == VIRTIO_GPU_RESP_OK_NODATA ? vtr_resource_find(r->gpu, blob.resource_id) : NULL;
}

static void restore_resource(struct restoring *r, uint32_t number)
{
	struct vtr_saved_resource *shared = &r->saved->area->resources[number];
	const struct vtr_saved_resource item = *shared;
	struct vtr_resource *resource = NULL;

	vtr_saved_order();
	if (counts(r, item.created) && !counts(r, item.destroyed))
		resource = create_again(r, &item);
	if (!resource) {
		r->lost += counts(r, item.created) && !counts(r, item.destroyed);
		shared->created = 0;
		return;
	}
	r->slot_used[number] = true;
	resource->saved = number + 1;
	if (!counts(r, item.destroyed))
		shared->destroyed = 0;
	if (!counts(r, item.detached))
		shared->detached = 0;
	if (counts(r, item.attached) && !counts(r, item.detached))
		attach_again(r, resource, &item);
	else if (!counts(r, item.attached))
		shared->attached = 0;
	if (counts(r, item.named)) {
		memcpy(resource->uuid, item.uuid, sizeof(resource->uuid));
		resource->has_uuid = r->saved->slots[number].named = true;
		resource->announced = true; /* the VMM has it from the process that was here before */
	} else {
		shared->named = 0;
	}
}

static void rebuild_pool(struct vtr_saved_pool *pool, const bool *used, uint32_t count)
{
	pool->n_free = 0;
	for (uint32_t i = count; i-- > 0;)
		if (!used[i])
			pool->free[pool->n_free++] = i;
}

/* ---- scanouts and cursors ---- */

/* Which of two copies counts, by their change numbers: 0, 1, or -1 for none. seen: as they were read; shared: where they are, and
 * the one that does not count is made void. */
static int choose_copy(const struct restoring *r, const uint64_t seen[2], uint64_t *const shared[2])
{
	const bool good[2] = { counts(r, seen[0]), counts(r, seen[1]) };
	int copy = -1;

	if (good[0] && good[1])
		copy = seen[1] > seen[0];
	else if (good[0] || good[1])
		copy = good[1];
	vtr_saved_order();
	for (int i = 1; i >= 0; i--)
		if (copy != i)
			*shared[i] = 0;
	return copy;
}

static void restore_scanout(struct restoring *r, uint32_t id)
{
	struct vtr_saved_scanout *shared = r->saved->area->scanouts[id];
	const struct vtr_saved_scanout copies[2] = { shared[0], shared[1] };
	const int copy = choose_copy(r, (uint64_t[]){ copies[0].change, copies[1].change },
	                             (uint64_t *[]){ &shared[0].change, &shared[1].change });

	if (copy < 0)
		return;
	r->saved->scanout_copy[id] = (unsigned)copy;
	r->saved->scanouts[id] = copies[copy];
	struct vtr_saved_scanout *scanout = &r->saved->scanouts[id];
	switch (scanout->command.hdr.type) {
	case VIRTIO_GPU_CMD_SET_SCANOUT:
		scanout->command.set.scanout_id = id;
		run(r, VTR_GPU_CONTROLQ, &scanout->command.set, sizeof(scanout->command.set));
		break;
	case VIRTIO_GPU_CMD_SET_SCANOUT_BLOB:
		scanout->command.set_blob.scanout_id = id;
		run(r, VTR_GPU_CONTROLQ, &scanout->command.set_blob, sizeof(scanout->command.set_blob));
		break;
	}
	if (id < r->gpu->n_scanouts && r->gpu->scanouts[id].resource)
		vtr_scanout_present_restored(r->gpu, &r->gpu->scanouts[id]);
}

static void restore_cursor(struct restoring *r, uint32_t id)
{
	struct vtr_saved_cursor *shared = r->saved->area->cursors[id];
	const struct vtr_saved_cursor copies[2] = { shared[0], shared[1] };
	const int copy = choose_copy(r, (uint64_t[]){ copies[0].change, copies[1].change },
	                             (uint64_t *[]){ &shared[0].change, &shared[1].change });

	if (copy < 0)
		return;
	r->saved->cursor_copy[id] = (unsigned)copy;
	r->saved->cursors[id] = copies[copy];
	struct virtio_gpu_update_cursor *command = &r->saved->cursors[id].command;
	command->pos.scanout_id = id;
	if (command->hdr.type == VIRTIO_GPU_CMD_UPDATE_CURSOR)
		run(r, VTR_GPU_CURSORQ, command, sizeof(*command));
}

struct vtr_saved *vtr_saved_restore(struct vtr_gpu *gpu, struct vtr_saved_memory *memory)
{
	struct restoring *r = calloc(1, sizeof(*r));
	struct vtr_saved *saved = r ? vtr_saved_new(memory) : NULL;
	int ret = -ENOMEM;

	if (!saved)
		goto free_restoring;
	r->gpu = gpu;
	r->saved = saved;
	ret = read_header(r);
	if (ret < 0)
		goto destroy_saved;
	read_marks(r);
	for (uint32_t i = 0; i < saved->resources.reserved; i++)
		restore_resource(r, i);
	rebuild_pool(&saved->resources, r->slot_used, VTR_MAX_RESOURCES);
	rebuild_pool(&saved->blocks, r->block_used, VTR_SAVED_BLOCKS);
	for (uint32_t i = 0; i < VTR_MAX_SCANOUTS; i++)
		restore_scanout(r, i);
	for (uint32_t i = 0; i < VTR_MAX_SCANOUTS; i++)
		restore_cursor(r, i);
	vtr_log(VTR_LOG_INFO, "the guest goes on where it was: %u resources are back", gpu->resources.count);
	if (r->lost)
		vtr_log(VTR_LOG_WARN, "%u resources of the guest could not be made again, or not their memory", r->lost);
	free(r);
	return saved;
destroy_saved:
	vtr_saved_destroy(saved);
free_restoring:
	free(r);
	errno = -ret;
	return NULL;
}
