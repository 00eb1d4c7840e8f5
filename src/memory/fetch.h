/* SPDX-License-Identifier: MIT */
#ifndef VTR_MEMORY_FETCH_H
#define VTR_MEMORY_FETCH_H

#include <stddef.h>
#include <stdint.h>

struct vtr_region;

/*
 * A shopping list of guest memory that has to be asked for: what is wanted is added piece by piece, in any order, and then fetched
 * with as few requests as possible. Private to src/memory.
 */
struct vtr_fetch_piece {
	struct vtr_region *region;
	uint64_t address; // guest address
	size_t length;
	uint8_t *to; // NULL: nobody wants these bytes, but they may be asked for
};

struct vtr_fetch {
	struct vtr_memory *memory; // of all pieces; NULL while there are none
	struct vtr_fetch_piece *pieces;
	size_t count, capacity;
	uint8_t *bounce; // for requests of several pieces
};

/* Adds length bytes (not 0) at offset of region. The list begins as { 0 }, and is only good until the memory map changes. 0, or
 * -EFAULT, -ENOTCONN, -EOPNOTSUPP as vtr_spans_fetch(); -E2BIG, -ENOMEM: the list is too long. */
int vtr_fetch_add(struct vtr_fetch *fetch, struct vtr_region *region, uint64_t offset, uint8_t *to, size_t length);

/* Fetches it all. 0; -E2BIG (nothing was asked: it takes more than VTR_MAX_FETCH_REQUESTS requests); -ENOMEM; -ECANCELED (the map
 * changed while we waited) or another error of the remote side. */
int vtr_fetch_run(struct vtr_fetch *fetch);

void vtr_fetch_finish(struct vtr_fetch *fetch);

#endif
