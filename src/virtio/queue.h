/* SPDX-License-Identifier: MIT */
#ifndef VTR_VIRTIO_QUEUE_H
#define VTR_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/memory.h>

/*
 * Split virtqueues, device side (virtio 1.3, 2.7). Rings and buffers are addressed by guest address only: every access goes through
 * the memory map, so memory may come and go between any two of them, and rings may lie in memory that has no CPU mapping.
 * A chain's descriptors are read once and checked when it is popped; reading or writing its bytes can still fail (-EFAULT).
 */
struct vtr_virtqueue {
	struct vtr_memory *memory;
	uint16_t max_size, size;           /* entries, power of two */
	uint64_t desc, avail, used;        /* guest addresses (descriptor table, driver area, device area) */
	bool enabled, broken, event_idx, indirect;
	uint16_t last_avail;               /* next avail entry to look at */
	uint16_t used_idx;                 /* next used entry to write */
	uint16_t signalled_used;           /* used_idx at the last interrupt */
	bool signalled_valid;
	uint32_t in_flight;                /* chains popped and not pushed */
	/* cached spans of the three rings, valid for one generation of the memory map */
	uint64_t generation;
	struct vtr_span rings[3];
};

/* One direction of a chain: guest memory pieces in order. */
struct vtr_segment {
	uint64_t address;
	uint32_t length;
};

struct vtr_chain {
	uint16_t head;
	uint32_t n_out, n_in;              /* segments the device reads, writes */
	size_t out_size, in_size;          /* bytes */
	struct vtr_segment *segments;      /* out first, then in */
};

void vtr_virtqueue_init(struct vtr_virtqueue *queue, struct vtr_memory *memory, uint16_t max_size);
void vtr_virtqueue_reset(struct vtr_virtqueue *queue); /* back to disabled; keeps memory and max_size */
void vtr_virtqueue_finish(struct vtr_virtqueue *queue);

/* The next chain: 1 and *chain (freed by vtr_virtqueue_push or vtr_chain_free); 0 when the ring is empty; -errno when the ring is
 * malformed or not in memory: the queue is then broken and pops nothing until it is reset. */
int vtr_virtqueue_pop(struct vtr_virtqueue *queue, struct vtr_chain **chain);

/* Returns the chain to the driver with `written` bytes, frees it. 0 or -EFAULT (the used ring is not in memory). */
int vtr_virtqueue_push(struct vtr_virtqueue *queue, struct vtr_chain *chain, uint32_t written);

/* After pushes: true when the driver has to be interrupted (flags or EVENT_IDX; virtio 1.3, 2.7.7 and 2.7.10). */
bool vtr_virtqueue_should_interrupt(struct vtr_virtqueue *queue);

/* Asks for a notification for what comes next, then tells whether something came already (pop again then). */
bool vtr_virtqueue_enable_notify(struct vtr_virtqueue *queue);

void vtr_chain_free(struct vtr_chain *chain); /* NULL is fine */

/* Copy out of the readable part / into the writable part at offset. Return the bytes copied: less than length at the end of the
 * chain; or -EFAULT, or an error of the remote side. */
long vtr_chain_read(const struct vtr_virtqueue *queue, const struct vtr_chain *chain, size_t offset, void *buffer, size_t length);
long vtr_chain_write(const struct vtr_virtqueue *queue, const struct vtr_chain *chain, size_t offset, const void *buffer, size_t length);

#endif
