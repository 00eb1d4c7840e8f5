/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_INFLIGHT_H
#define VTR_VHOST_USER_INFLIGHT_H

#include <stddef.h>
#include <stdint.h>

#include <vitrine/limits.h>

#include "virtio/queue.h"

/*
 * The account of one split virtqueue's chains that are out, in the format of "Inflight I/O tracking" of the vhost-user protocol:
 * memory that outlives us, and that somebody else may have written.
 */
struct vtr_inflight {
	struct vtr_virtqueue_tracker base; /* what the queue gets */
	/* What the queue asks its tracker when it is resumed: vtr_inflight_resume(), or -ENOENT after vtr_inflight_begin(). */
	int (*resume)(struct vtr_inflight *inflight, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE]);
	void *region;     /* struct vhost_user_inflight_queue */
	uint16_t size;    /* entries of the region, at least the queue's */
	uint64_t counter; /* of the next chain */
	uint16_t last_batch_head;
	uint64_t tickets[VTR_MAX_QUEUE_SIZE]; /* counters of the chains that are out, by head; 0: not out */
};

/* Bytes of a region for queues of up to size entries. */
size_t vtr_inflight_region_size(uint16_t size);

/* region: of that size, aligned to 8 bytes; used, not owned. */
void vtr_inflight_init(struct vtr_inflight *inflight, void *region, uint16_t size,
                       int (*resume)(struct vtr_inflight *inflight, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE]));

/* Begins an account with nothing out. used_idx: the used ring's. */
void vtr_inflight_begin(struct vtr_inflight *inflight, uint16_t used_idx);

/* The region has no account any more. */
void vtr_inflight_clear(void *region);

/* Goes on with the account that the region has, of a queue of queue_size entries whose used ring has used_idx: settles what was
 * being done when it was left, and gives the heads that were out, in the order in which they were popped. Returns how many, or
 * -ENOENT (there is no account), -EPROTO (it cannot be one), -ESTALE (it is not of this ring): begin anew then. */
int vtr_inflight_resume(struct vtr_inflight *inflight, uint16_t queue_size, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE]);

#endif
