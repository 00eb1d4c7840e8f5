/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_IOTLB_H
#define VTR_VHOST_USER_IOTLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/limits.h>
#include <vitrine/loop.h>
#include <vitrine/transport.h>

#include "transport/vhost_user/memory_table.h"
#include "transport/vhost_user/protocol.h"

/*
 * IOTLB messages ("IOMMU support"): one way in for both ends, and the back-end's device IOTLB.
 */

/* ---- messages ---- */

/* What one end does with messages, by type; NULL: the type is not for this end. The handlers see messages whose permissions, size
 * and range are right for their type, and return 0 or -errno, which refuses the message. */
struct vtr_vhost_user_iotlb_impl {
	bool (*started)(void *data); /* ACCESS_PLATFORM is accepted, and there is something to translate for */
	int (*miss)(void *data, const struct vhost_user_iotlb *message);
	int (*update)(void *data, const struct vhost_user_iotlb *message);
	int (*invalidate)(void *data, const struct vhost_user_iotlb *message);
	int (*access_fail)(void *data, const struct vhost_user_iotlb *message);
};

/* Takes the payload of an IOTLB_MSG or a BACKEND_IOTLB_MSG, sizeof(struct vhost_user_iotlb) bytes. 0; -EINVAL: not now, not from
 * that end, or wrong in itself; or the handler's -errno. */
int vtr_vhost_user_iotlb_handle(const struct vtr_vhost_user_iotlb_impl *impl, void *data, const void *payload);

/* Address of the last byte of an update or invalidation. A size of 0 at address 0 is all of the address space: what 2^64 looks like
 * in 64 bits. */
static inline uint64_t vtr_vhost_user_iotlb_last(const struct vhost_user_iotlb *message)
{
	return message->iova + (message->size - 1);
}

/* ---- the back-end's IOTLB ---- */

/* Sends a BACKEND_IOTLB_MSG. 1: its reply is still to come, and done is called once, from the loop: 0, -ETIMEDOUT, or another
 * -errno when the front-end refused it or is gone. 0: there are no replies. -errno: it was not sent. */
typedef int (*vtr_vhost_user_iotlb_send)(void *data, const struct vhost_user_iotlb *message, void (*done)(int result, void *call),
                                         void *call);

/* A message whose reply is still to come. */
struct vtr_vhost_user_iotlb_call {
	struct vtr_vhost_user_iotlb *iotlb;
	uint64_t miss; // the map's number for it; 0: a report
	bool used;
};

/* Between the memory map, which misses translations, and the front-end, which has them. Embedded. */
struct vtr_vhost_user_iotlb {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	const struct vtr_vhost_user_mem_table *table;
	vtr_vhost_user_iotlb_send send;
	void *send_data;
	bool active;     // the map is one of IOVAs
	bool no_reports; // the front-end refuses ACCESS_FAIL
	uint64_t access_failures;
	/* Twice as many as there are misses: an update ends a miss, and the reply to the message is still on its way. */
	struct vtr_vhost_user_iotlb_call calls[2 * VTR_MAX_MISSES];
};

/* All of the arguments are used, not owned. */
void vtr_vhost_user_iotlb_init(struct vtr_vhost_user_iotlb *iotlb, struct vtr_loop *loop, struct vtr_memory *memory,
                               const struct vtr_vhost_user_mem_table *table, vtr_vhost_user_iotlb_send send, void *data);

/* ACCESS_PLATFORM is accepted, or is not. Where that changes the memory map is emptied, and belongs to the IOTLB, or does no
 * longer. 0 or -errno. */
int vtr_vhost_user_iotlb_set_active(struct vtr_vhost_user_iotlb *iotlb, bool active);

/* A front-end's IOTLB_MSG. The map's listeners have let go of what is invalidated when this returns. 0; as
 * vtr_vhost_user_iotlb_handle(); -EFAULT: an update is not in the memory table; -ENOSPC, -ENOMEM. */
int vtr_vhost_user_iotlb_message(struct vtr_vhost_user_iotlb *iotlb, const void *payload);

/* The region of the memory table goes: so do translations into it. */
void vtr_vhost_user_iotlb_forget_region(struct vtr_vhost_user_iotlb *iotlb, const struct vtr_vhost_user_mem_region *region);
/* Nobody tells us of invalidations any more. */
void vtr_vhost_user_iotlb_forget_all(struct vtr_vhost_user_iotlb *iotlb);

void vtr_vhost_user_iotlb_status(const struct vtr_vhost_user_iotlb *iotlb, struct vtr_vhost_user_iotlb_status *status);

#endif
