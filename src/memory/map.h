/* SPDX-License-Identifier: MIT */
#ifndef VTR_MEMORY_MAP_H
#define VTR_MEMORY_MAP_H

#include <stddef.h>
#include <stdint.h>

struct vtr_region;

/*
 * Regions by address: a sorted sequence of ranges that do not overlap, cut into leaves of bounded size. Behind an IOMMU there may
 * be hundreds of thousands, which come and go in any order, so a change moves a leaf's entries and, seldom, the list of leaves; a
 * VMM's own handful lies in one leaf. Private to src/memory; whoever uses it sees to it that ranges do not overlap.
 */
struct vtr_map_entry {
	uint64_t first, last; // addresses, inclusive: a range may end at 2^64
	struct vtr_region *region;
};

struct vtr_map_leaf; // in map.c

struct vtr_map_branch {
	uint64_t last; // of the leaf's last entry
	struct vtr_map_leaf *leaf;
};

struct vtr_map {
	struct vtr_map_branch *branches; // sorted; no leaf is empty
	size_t n_branches, capacity;
	size_t count; // entries
};

/* A place in the sequence, good until it changes. */
struct vtr_map_place {
	size_t branch, i;
};

void vtr_map_finish(struct vtr_map *map); // begins as { 0 }

/* The first entry whose last address is not below address. */
struct vtr_map_place vtr_map_seek(const struct vtr_map *map, uint64_t address);
/* What is there; NULL at the end. */
const struct vtr_map_entry *vtr_map_at(const struct vtr_map *map, struct vtr_map_place place);
struct vtr_map_place vtr_map_after(const struct vtr_map *map, struct vtr_map_place place);
/* The entry with number i in address order; NULL. */
const struct vtr_map_entry *vtr_map_nth(const struct vtr_map *map, size_t i);
const struct vtr_map_entry *vtr_map_last(const struct vtr_map *map); // NULL: it is empty

int vtr_map_insert(struct vtr_map *map, struct vtr_map_entry entry);  // 0 or -ENOMEM
void vtr_map_remove(struct vtr_map *map, struct vtr_map_place place); // an entry is there

#endif
