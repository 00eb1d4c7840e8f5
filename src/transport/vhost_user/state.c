/* SPDX-License-Identifier: MIT */
/*
 * What survives this process under a running guest.
 *
 * A guest's driver does not notice that we were killed. It waits for the answers to what it had sent, and goes on using what it had
 * made. So both are kept in memory that outlives us: the accounts of the queues' chains that are out (inflight.c), and what the
 * device has been told (the device saves it itself, virtio/saved_memory.h). Where:
 *
 *   - in the memory that the front-end keeps for us (INFLIGHT_SHMFD). We say how large it is, so there is room behind the accounts;
 *   - else in a file of ours, where there is one.
 *
 * Is it the same guest? The header names where its rings are, as places in the files that its memory is made of: a virtual machine
 * that was started anew has other files, a driver that begins anew has a used index of 0, and one that goes on has the used index
 * of the account, or one more where we were killed between the two. This is looked at when the first ring is served, because the
 * used index is guest memory, which may not be within reach before. What does not belong to this guest is cleared then.
 *
 * A live device whose rings are stopped and go on (a paused guest) keeps all it has, and only the rings are looked at again.
 */
#include "transport/vhost_user/state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "transport/vhost_user/state_header.h"
#include "util/checked.h"
#include "util/fd.h"

static struct vtr_state_layout layout_for(const struct vtr_vhost_user_state *state, unsigned n_queues, uint16_t queue_size)
{
	const struct vtr_virtio_device_impl *impl = state->device->impl;

	return vtr_state_layout(n_queues, queue_size, impl->saved_size ? impl->saved_size() : 0);
}

static struct vtr_state_header *header_of(const struct vtr_state_memory *memory)
{
	return (struct vtr_state_header *)(void *)(memory->data + memory->layout.header);
}

/* ---- is it the same guest? ---- */

/* Where the queue's used ring is; false when it is in no file. */
static bool locate_ring(const struct vtr_virtqueue *queue, struct vtr_state_ring *ring)
{
	const struct vtr_mem_entry entry = { .address = queue->used, .length = sizeof(uint32_t) };
	struct vtr_spans spans;
	struct stat status;
	bool found;

	*ring = (struct vtr_state_ring){ .size = queue->size };
	if (vtr_spans_resolve(&spans, queue->memory, &entry, 1, NULL) < 0)
		return false;
	found = spans.items[0].region->fd >= 0 && fstat(spans.items[0].region->fd, &status) == 0;
	if (found) {
		ring->st_dev = status.st_dev;
		ring->st_ino = status.st_ino;
		ring->offset = spans.items[0].region->offset + spans.items[0].offset;
	}
	vtr_spans_finish(&spans);
	return found;
}

static bool ring_is_known(const struct vtr_vhost_user_state *state, const struct vtr_state_header *header, unsigned index)
{
	struct vtr_state_ring ring;

	return locate_ring(&state->device->queues[index], &ring) && !memcmp(&ring, &header->rings[index], sizeof(ring));
}

/* Goes on with the queue's account if it is of this ring: how many heads, or -errno. */
static int resume_account(struct vtr_state_queue *queue, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE])
{
	const struct vtr_virtqueue *ring = &queue->state->device->queues[queue->index];

	return vtr_inflight_resume(&queue->inflight, ring->size, used_idx, heads);
}

/* The first ring that is served tells whether the memory is of this guest. Without more than accounts in the memory they decide. */
static int recognize(struct vtr_state_queue *queue, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE])
{
	struct vtr_vhost_user_state *state = queue->state;

	if (state->used->has_saved) {
		const struct vtr_state_header header = *header_of(state->used);

		vtr_saved_order();
		if (!vtr_state_header_is_ours(&header) || header.version != VTR_STATE_VERSION || !header.valid ||
		    header.device_id != state->device->id || header.saved_size != state->used->layout.saved_size)
			return -ENOENT;
		if (header.features != state->device->driver_features || !ring_is_known(state, &header, queue->index))
			return -ESTALE;
	}
	/* Nothing was ever answered: also a driver that goes on has nothing to lose then. */
	if (queue->index == 0 && used_idx == 0)
		return -ESTALE;
	return resume_account(queue, used_idx, heads);
}

/* ---- beginning and going on ---- */

static int save(struct vtr_vhost_user_state *state, bool restore)
{
	if (!state->used->has_saved)
		return 0;
	return state->device->impl->save(state->device, &state->used->saved, restore);
}

static void cannot_save(const struct vtr_vhost_user_state *state, int error)
{
	vtr_log(VTR_LOG_WARN,
	        "the guest's state cannot be kept in %s: %s; should this process be killed, the picture comes back only "
	        "when the guest sets it anew",
	        state->used == &state->file ? state->path : "the front-end's memory", strerror(-error));
}

static void clear_accounts(const struct vtr_state_memory *memory)
{
	for (unsigned i = 0; i < memory->layout.n_queues; i++)
		vtr_inflight_clear(memory->data + i * memory->layout.region_size);
}

static void invalidate(const struct vtr_state_memory *memory)
{
	if (memory->has_saved)
		__atomic_store_n(&header_of(memory)->valid, 0, __ATOMIC_RELEASE);
	vtr_saved_order();
	clear_accounts(memory);
}

/* What is there belongs to nobody any more. The rings are entered as they are served. */
static void begin_anew(struct vtr_vhost_user_state *state)
{
	struct vtr_state_header *header;
	int error;

	invalidate(state->used);
	if (!state->used->has_saved)
		return;
	error = save(state, false);
	if (error) {
		cannot_save(state, error);
		return;
	}
	header = header_of(state->used);
	*header = (struct vtr_state_header){
		.magic = VTR_STATE_MAGIC,
		.version = VTR_STATE_VERSION,
		.device_id = state->device->id,
		.saved_size = state->used->layout.saved_size,
		.features = state->device->driver_features,
	};
	vtr_saved_order();
	__atomic_store_n(&header->valid, 1, __ATOMIC_RELEASE);
	vtr_saved_order();
}

static void go_on(struct vtr_vhost_user_state *state)
{
	int error = save(state, true);

	if (!error)
		return;
	/* Its chains are answered all the same. */
	vtr_log(VTR_LOG_WARN, "what the guest had made is not known any more (%s): its picture comes back when it sets it anew",
	        strerror(-error));
	error = save(state, false);
	if (error)
		cannot_save(state, error);
}

/* Where the ring is, for a successor. What is right is left alone: we may be killed while it is written. */
static void enter_ring(const struct vtr_vhost_user_state *state, unsigned index)
{
	struct vtr_state_ring *entry = &header_of(state->used)->rings[index], ring;

	if (!state->used->has_saved)
		return;
	if (!locate_ring(&state->device->queues[index], &ring))
		ring = (struct vtr_state_ring){ 0 };
	if (memcmp(entry, &ring, sizeof(ring)))
		*entry = ring;
	vtr_saved_order();
}

static int resume_queue(struct vtr_inflight *inflight, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE])
{
	struct vtr_state_queue *queue = (struct vtr_state_queue *)((char *)inflight - offsetof(struct vtr_state_queue, inflight));
	struct vtr_vhost_user_state *state = queue->state;
	int count = -ENOENT;

	if (!state->decided) {
		count = recognize(queue, used_idx, heads);
		state->decided = true;
		state->same = count >= 0;
		if (state->same)
			go_on(state);
		else
			begin_anew(state);
	} else if (state->same || queue->known) {
		count = resume_account(queue, used_idx, heads);
	}
	if (count < 0)
		vtr_inflight_begin(inflight, used_idx);
	enter_ring(state, queue->index);
	queue->known = true;
	return count < 0 ? -ENOENT : count;
}

/* ---- what the server says ---- */

void vtr_vhost_user_state_track(struct vtr_vhost_user_state *state, unsigned index)
{
	struct vtr_virtqueue *ring = &state->device->queues[index];
	struct vtr_state_queue *queue = &state->queues[index];

	if (!state->decided)
		state->used = state->given.fd >= 0 ? &state->given : state->file.fd >= 0 ? &state->file : NULL;
	if (!state->used || index >= state->used->layout.n_queues || ring->size > state->used->layout.queue_size)
		return;
	vtr_inflight_init(&queue->inflight, state->used->data + index * state->used->layout.region_size,
	                  state->used->layout.queue_size, resume_queue);
	ring->tracker = &queue->inflight.base;
}

static void undecide(struct vtr_vhost_user_state *state)
{
	state->decided = state->same = false;
	for (unsigned i = 0; i < VTR_VIRTIO_MAX_QUEUES; i++)
		state->queues[i].known = false;
}

void vtr_vhost_user_state_reset(struct vtr_vhost_user_state *state)
{
	if (state->decided)
		invalidate(state->used);
	undecide(state);
}

void vtr_vhost_user_state_leave(struct vtr_vhost_user_state *state)
{
	undecide(state);
	state->used = NULL;
	vtr_state_memory_unmap(&state->given);
}

int vtr_vhost_user_state_get_inflight(struct vtr_vhost_user_state *state, struct vhost_user_inflight *inflight, int *fd)
{
	if (!inflight->num_queues || inflight->num_queues > state->device->n_queues || !vtr_is_power_of_two(inflight->queue_size) ||
	    inflight->queue_size > VTR_MAX_QUEUE_SIZE)
		return -EINVAL;
	inflight->mmap_size = layout_for(state, inflight->num_queues, inflight->queue_size).size;
	inflight->mmap_offset = 0;
	*fd = vtr_memfd_create("vitrine-state", inflight->mmap_size);
	return *fd < 0 ? *fd : 0;
}

/* Is fd the memory that is in use? A front-end sends it again when rings start that were stopped. */
static bool is_given(const struct vtr_vhost_user_state *state, const struct vhost_user_inflight *inflight, int fd)
{
	const struct vtr_state_memory *given = &state->given;
	struct stat a, b;

	return given->fd >= 0 && fstat(given->fd, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
	       inflight->mmap_offset == given->offset && inflight->num_queues == given->layout.n_queues &&
	       inflight->queue_size == given->layout.queue_size;
}

int vtr_vhost_user_state_set_inflight(struct vtr_vhost_user_state *state, const struct vhost_user_inflight *inflight, int fd)
{
	struct vtr_state_layout layout;
	int ret = -EINVAL;

	if (!inflight->num_queues || inflight->num_queues > state->device->n_queues || !vtr_is_power_of_two(inflight->queue_size) ||
	    inflight->queue_size > VTR_MAX_QUEUE_SIZE)
		goto close_fd;
	if (is_given(state, inflight, fd)) {
		ret = 0;
		goto close_fd;
	}
	ret = -EBUSY;
	if (state->decided)
		goto close_fd;
	layout = layout_for(state, inflight->num_queues, inflight->queue_size);
	vtr_state_memory_unmap(&state->given);
	state->used = NULL;
	return vtr_state_memory_map(&state->given, &layout, fd, inflight->mmap_offset, inflight->mmap_size);
close_fd:
	vtr_fd_close(&fd);
	return ret;
}

int vtr_vhost_user_state_open(struct vtr_vhost_user_state *state, const char *path, struct vtr_error *error)
{
	const struct vtr_state_layout layout = layout_for(state, state->device->n_queues, VTR_MAX_QUEUE_SIZE);
	int fd, ret;

	assert(state->file.fd < 0);
	fd = vtr_state_file_open(path, &layout, error);
	if (fd < 0)
		return fd;
	ret = vtr_state_memory_map(&state->file, &layout, fd, 0, layout.size);
	if (ret == 0) {
		state->path = strdup(path);
		ret = state->path ? 0 : -ENOMEM;
	}
	if (ret < 0) {
		vtr_state_memory_unmap(&state->file);
		return vtr_error_set(error, VTR_ERROR_HOST, -ret, "%s: %s", path, strerror(-ret));
	}
	return 0;
}

void vtr_vhost_user_state_init(struct vtr_vhost_user_state *state, struct vtr_virtio_device *device)
{
	*state = (struct vtr_vhost_user_state){ .device = device, .file.fd = -1, .given.fd = -1 };
	for (unsigned i = 0; i < VTR_VIRTIO_MAX_QUEUES; i++) {
		state->queues[i].state = state;
		state->queues[i].index = i;
	}
}

void vtr_vhost_user_state_finish(struct vtr_vhost_user_state *state, bool guest)
{
	if (state->path && !guest)
		unlink(state->path);
	vtr_state_memory_unmap(&state->given);
	vtr_state_memory_unmap(&state->file);
	free(state->path);
	state->path = NULL;
}
