/* SPDX-License-Identifier: MIT */
#ifndef VTR_VIRTIO_QUEUE_H
#define VTR_VIRTIO_QUEUE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/limits.h>
#include <vitrine/memory.h>

#include "memory/iommu.h"
#include "virtio/ring.h"

/*
 * Split virtqueues, device side (virtio 1.3, 2.7). Rings and buffers are addressed by guest address only: every access goes through
 * the memory map, so memory may come and go between any two of them, and rings may lie in memory that has no CPU mapping.
 * A chain's descriptors are read once and checked when it is popped; reading or writing its bytes can still fail (-EFAULT).
 * Memory may also not be accessible just now (vtr_virtqueue_is_transient): that is nobody's error, and to be done again later.
 * Behind an IOMMU later is when the translation has come: until then the queue waits (vtr_virtqueue_waits).
 */
struct vtr_virtqueue_tracker;

struct vtr_virtqueue {
	struct vtr_memory *memory;
	uint16_t max_size, size;    /* entries, power of two */
	uint64_t desc, avail, used; /* guest addresses (descriptor table, driver area, device area) */
	bool enabled, event_idx, indirect;
	bool broken;          /* until reset; why says the reason */
	const char *why;      /* what the driver did wrong: a static sentence, for the log; NULL when not broken */
	uint16_t last_avail;  /* next avail entry to look at */
	uint16_t used_idx;    /* next used entry to write */
	uint32_t unsignalled; /* chains pushed since the last look at the driver's wish for interrupts */
	bool drained;         /* the last pop found the ring empty */
	bool resumed;         /* used_idx is not known yet: the used ring says */
	bool retry;           /* an access could not be made now: whoever serves the queue clears this, and serves it again */
	bool held;            /* the chain that goes back waits for something of the device's own: vtr_virtqueue_hold() */
	struct vtr_memory_waiter waiter; /* for a translation; ready is set by who serves the queue */
	uint32_t in_flight;              /* chains popped and not pushed, at most size */
	uint32_t epoch;                  /* counts starts and resets: chains of an earlier one are dead */
	uint16_t *left; /* heads of chains that were popped and left by another process; popped first. NULL: none */
	uint16_t n_left, next_left;
	struct vtr_virtqueue_tracker *tracker;            /* of the transport; NULL: nobody keeps an account */
	struct vtr_ring desc_ring, avail_ring, used_ring; /* while enabled */
};

/*
 * Keeps an account of the chains that are out, so that another process can go on with the queue. Embedded in the implementation;
 * set after the queue was started, and forgotten when it is reset. Heads are below the queue's size.
 */
struct vtr_virtqueue_tracker {
	const struct vtr_virtqueue_tracker_impl *impl;
};

struct vtr_virtqueue_tracker_impl {
	/* A resumed queue is served for the first time; used_idx is what its used ring says. Writes the heads of the chains that
	 * whoever served it before had popped and not pushed, each once, in the order in which they are to be popped again, and
	 * returns how many: then all available chains but these have been answered. -ENOENT: nothing is known of before. */
	int (*resume)(struct vtr_virtqueue_tracker *tracker, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE]);
	/* The chain is taken. Returns its ticket, which is not 0 and which no other chain of the queue has or had; for one that
	 * resume() named that which it had then. */
	uint64_t (*popped)(struct vtr_virtqueue_tracker *tracker, uint16_t head);
	/* It goes back as if it had not been taken. Not called for one that resume() named, which stays out. */
	void (*unpopped)(struct vtr_virtqueue_tracker *tracker, uint16_t head);
	/* Its used entry is written, and the used index is about to move (once more, when that could not be done); */
	void (*pushing)(struct vtr_virtqueue_tracker *tracker, uint16_t head);
	/* and has moved to used_idx. */
	void (*pushed)(struct vtr_virtqueue_tracker *tracker, uint16_t head, uint16_t used_idx);
};

/* One piece of guest memory of a chain. */
struct vtr_segment {
	uint64_t address;
	uint64_t start; /* where the piece begins in its direction of the chain: the sum of the lengths before it */
	uint32_t length;
};

struct vtr_chain {
	uint16_t head;
	bool left;                     /* by another process */
	uint32_t epoch;                /* queue->epoch when it was popped */
	uint64_t ticket;               /* of the queue's tracker; 0 without one */
	uint32_t n_out, n_in;          /* segments the device reads, writes */
	size_t out_size, in_size;      /* bytes */
	struct vtr_segment segments[]; /* out first, then in */
};

/* ready (may be NULL), with data: what a queue waited for has come, and it can be served. Called from inside the map's changes. */
void vtr_virtqueue_init(struct vtr_virtqueue *queue, struct vtr_memory *memory, uint16_t max_size,
                        void (*ready)(struct vtr_memory_waiter *waiter), void *data);

/* Enables the queue with size, desc, avail and used as they are; both indices start at 0. Rings that are not in memory show at the
 * first pop. */
void vtr_virtqueue_start(struct vtr_virtqueue *queue, bool event_idx, bool indirect);

/* A queue that was just started goes on at last_avail, and where its used ring says, which is read at the first pop. */
void vtr_virtqueue_resume(struct vtr_virtqueue *queue, uint16_t last_avail);

/* Changes with every chain that is popped for good: who served the queue compares. */
static inline uint32_t vtr_virtqueue_taken(const struct vtr_virtqueue *queue)
{
	return (uint32_t)queue->last_avail + queue->next_left;
}

/* Back to disabled, sizes and addresses as after init; keeps memory and max_size. Chains still out become dead: pushing them only
 * frees them. */
void vtr_virtqueue_reset(struct vtr_virtqueue *queue);

/* The next chain: 1 and *chain (freed by vtr_virtqueue_push or vtr_chain_free); 0 when the ring is empty, the queue is disabled or
 * was found broken before; -errno when the ring is malformed (-EPROTO), not in memory (-EFAULT or an error of the remote side) or
 * memory is short (-ENOMEM): the queue is then broken and pops nothing until it is reset. -ECANCELED: the queue was reset while a
 * request for remote memory was waiting. -EAGAIN: not now; nothing was taken, and queue->retry is set, or the queue waits. */
int vtr_virtqueue_pop(struct vtr_virtqueue *queue, struct vtr_chain **chain);

/* Gives back the chain that was popped last, before anything came of it: it is freed, and the next pop finds it again. queue->retry
 * is set unless the queue waits, or is held. */
void vtr_virtqueue_unpop(struct vtr_virtqueue *queue, struct vtr_chain *chain);

/* Returns the chain to the driver with `written` bytes, at most chain->in_size; frees it but for -EAGAIN. 0; -ECANCELED (the queue
 * was reset or is broken: nothing was written), -EFAULT, -EACCES or an error of the remote side (the used ring cannot be written:
 * the queue is broken now). -EAGAIN: not now; queue->retry is set or the queue waits, and the same chain has to come again before
 * any other, with the same `written` and its bytes left alone: the driver may have seen it already. */
int vtr_virtqueue_push(struct vtr_virtqueue *queue, struct vtr_chain *chain, uint32_t written);

/* After pushes: true when the driver has to be interrupted (flags or EVENT_IDX; virtio 1.3, 2.7.7 and 2.7.10). False when nothing
 * was pushed since the last call. */
bool vtr_virtqueue_should_interrupt(struct vtr_virtqueue *queue);

/* Tells the driver that notifications are not needed for now: the device is popping (virtio 1.3, 2.7.10). A hint. */
void vtr_virtqueue_disable_notify(struct vtr_virtqueue *queue);

/* Asks for a notification for what comes next, then tells whether something came already (pop again then). False, and queue->retry
 * or waiting, when that could not be done now: the driver may not know the wish, so the queue has to be served again unasked. */
bool vtr_virtqueue_enable_notify(struct vtr_virtqueue *queue);

/* Marks the queue broken; the first reason stays. why: a static string. */
void vtr_virtqueue_break(struct vtr_virtqueue *queue, const char *why);

/* Is this the result of an access that was given up for a reason of the transport, and will work when it is made again from the
 * loop? -ECANCELED: something else had to be done first; -EBUSY: we are in the middle of that; -EINPROGRESS: a translation was
 * asked for. In that last case the functions here make the queue wait; who gets it from elsewhere calls vtr_virtqueue_wait(). */
static inline bool vtr_virtqueue_is_transient(long result)
{
	return result == -ECANCELED || result == -EBUSY || result == -EINPROGRESS;
}

/* Serving the queue goes on when what the last -EINPROGRESS of its memory was about has come. */
static inline void vtr_virtqueue_wait(struct vtr_virtqueue *queue)
{
	vtr_memory_wait(queue->memory, &queue->waiter);
}

static inline bool vtr_virtqueue_waits(const struct vtr_virtqueue *queue)
{
	return vtr_memory_waits(&queue->waiter);
}

/* The chain that is about to be given back (vtr_virtqueue_unpop()) is not tried again by itself: whoever it waits for kicks the
 * queue. */
static inline void vtr_virtqueue_hold(struct vtr_virtqueue *queue)
{
	queue->held = true;
}

void vtr_chain_free(struct vtr_chain *chain); /* NULL is fine */

/* Copy out of the readable part / into the writable part at offset. Return the bytes copied: less than length at the end of the
 * chain; or -EFAULT, or another error of vtr_memory_read() and vtr_memory_write(). Any offset costs the same. */
long vtr_chain_read(struct vtr_virtqueue *queue, const struct vtr_chain *chain, size_t offset, void *buffer, size_t length);
long vtr_chain_write(struct vtr_virtqueue *queue, const struct vtr_chain *chain, size_t offset, const void *buffer, size_t length);

/* For the queue: reads the descriptors that begin at head (below queue->size) into a new chain. 0, -errno as vtr_virtqueue_pop()
 * with *why set to the reason. */
int vtr_chain_load(struct vtr_virtqueue *queue, uint16_t head, struct vtr_chain **chain, const char **why);

#endif
