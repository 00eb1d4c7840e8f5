/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_STATE_HEADER_H
#define VTR_VHOST_USER_STATE_HEADER_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "virtio/device.h"

/* Where a ring is, so that it is known again: the place of its used ring in the memory's file, whatever addresses have become. */
struct vtr_state_ring {
	uint64_t st_dev, st_ino; /* of the file; 0: not known */
	uint64_t offset;
	uint64_t size; /* entries */
};

/* Between the accounts of the queues and what the device saves. In memory that outlives us. */
struct vtr_state_header {
	char magic[8]; /* VTR_STATE_MAGIC */
	uint32_t version;
	uint32_t device_id; /* virtio 1.3, 5 */
	uint64_t saved_size;
	uint32_t valid; /* all of it, the accounts, and what is saved belong to the guest of the rings */
	uint32_t reserved;
	uint64_t features; /* of the driver */
	struct vtr_state_ring rings[VTR_VIRTIO_MAX_QUEUES];
};
static_assert(sizeof(struct vtr_state_header) == 40 + 4 * 32, "state header");

enum { VTR_STATE_VERSION = 1 };
#define VTR_STATE_MAGIC "vtrstate"

static inline bool vtr_state_header_is_ours(const struct vtr_state_header *header)
{
	return !memcmp(header->magic, VTR_STATE_MAGIC, sizeof(header->magic));
}

#endif
