/* SPDX-License-Identifier: MIT */
#include "memory/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * A tree of two levels. The lower one are leaves of at most LEAF entries, the upper one an array that says where each leaf ends. A
 * search is two binary searches, of which the first touches no leaf. A full leaf is cut in halves, but at the end of the sequence,
 * where addresses in ascending order come, it is left full. A leaf that becomes empty goes; leaves are not merged: with changing
 * contents the map stays within a small multiple of what it needs, and the limits on regions bound that.
 */
enum { LEAF = 256 };

struct vtr_map_leaf {
	size_t count;
	struct vtr_map_entry entries[LEAF];
};

void vtr_map_finish(struct vtr_map *map)
{
	for (size_t i = 0; i < map->n_branches; i++)
		free(map->branches[i].leaf);
	free(map->branches);
	*map = (struct vtr_map){ 0 };
}

/* ---- places ---- */

static size_t seek_branch(const struct vtr_map *map, uint64_t address)
{
	size_t low = 0, count = map->n_branches;

	/* Scattered addresses make every branch of the program a guess: the comparison is a number, not a decision. */
	while (count > 1) {
		size_t half = count / 2;

		low += half & -(size_t)(map->branches[low + half - 1].last < address);
		count -= half;
	}
	return low + (count && map->branches[low].last < address);
}

static size_t seek_entry(const struct vtr_map_leaf *leaf, uint64_t address)
{
	size_t low = 0, count = leaf->count;

	while (count > 1) {
		size_t half = count / 2;

		low += half & -(size_t)(leaf->entries[low + half - 1].last < address);
		count -= half;
	}
	return low + (count && leaf->entries[low].last < address);
}

struct vtr_map_place vtr_map_seek(const struct vtr_map *map, uint64_t address)
{
	struct vtr_map_place place = { .branch = seek_branch(map, address) };

	if (place.branch < map->n_branches)
		place.i = seek_entry(map->branches[place.branch].leaf, address);
	return place;
}

const struct vtr_map_entry *vtr_map_at(const struct vtr_map *map, struct vtr_map_place place)
{
	return place.branch < map->n_branches ? &map->branches[place.branch].leaf->entries[place.i] : NULL;
}

struct vtr_map_place vtr_map_after(const struct vtr_map *map, struct vtr_map_place place)
{
	if (++place.i == map->branches[place.branch].leaf->count)
		place = (struct vtr_map_place){ .branch = place.branch + 1 };
	return place;
}

const struct vtr_map_entry *vtr_map_nth(const struct vtr_map *map, size_t i)
{
	for (size_t branch = 0; branch < map->n_branches; branch++) {
		struct vtr_map_leaf *leaf = map->branches[branch].leaf;

		if (i < leaf->count)
			return &leaf->entries[i];
		i -= leaf->count;
	}
	return NULL;
}

const struct vtr_map_entry *vtr_map_last(const struct vtr_map *map)
{
	const struct vtr_map_leaf *leaf = map->n_branches ? map->branches[map->n_branches - 1].leaf : NULL;

	return leaf ? &leaf->entries[leaf->count - 1] : NULL;
}

/* ---- changes ---- */

static void note_last(struct vtr_map_branch *branch)
{
	branch->last = branch->leaf->entries[branch->leaf->count - 1].last;
}

/* An empty leaf at index at. */
static int add_leaf(struct vtr_map *map, size_t at)
{
	if (map->n_branches == map->capacity) {
		size_t capacity = map->capacity ? 2 * map->capacity : 4;
		struct vtr_map_branch *branches = realloc(map->branches, capacity * sizeof(*branches));

		if (!branches)
			return -ENOMEM;
		map->branches = branches;
		map->capacity = capacity;
	}
	struct vtr_map_leaf *leaf = malloc(sizeof(*leaf));
	if (!leaf)
		return -ENOMEM;
	leaf->count = 0;
	memmove(&map->branches[at + 1], &map->branches[at], (map->n_branches - at) * sizeof(map->branches[0]));
	map->branches[at] = (struct vtr_map_branch){ .leaf = leaf };
	map->n_branches++;
	return 0;
}

/* Moves the upper half of a full leaf to a new one behind it. */
static int split(struct vtr_map *map, size_t branch)
{
	int error = add_leaf(map, branch + 1);

	if (error)
		return error;
	struct vtr_map_leaf *low = map->branches[branch].leaf, *high = map->branches[branch + 1].leaf;
	low->count = LEAF / 2;
	high->count = LEAF - LEAF / 2;
	memcpy(high->entries, low->entries + low->count, high->count * sizeof(high->entries[0]));
	note_last(&map->branches[branch]);
	note_last(&map->branches[branch + 1]);
	return 0;
}

/* A leaf with room for an entry whose place is at. */
static int make_room(struct vtr_map *map, struct vtr_map_place *at)
{
	if (at->branch == map->n_branches && at->branch) /* behind everything: in the last leaf */
		*at = (struct vtr_map_place){ at->branch - 1, map->branches[at->branch - 1].leaf->count };
	if (at->branch == map->n_branches)
		return add_leaf(map, at->branch);
	if (map->branches[at->branch].leaf->count < LEAF)
		return 0;
	if (at->i == LEAF) {
		*at = (struct vtr_map_place){ .branch = at->branch + 1 };
		return add_leaf(map, at->branch);
	}
	int error = split(map, at->branch);
	if (!error && at->i > LEAF / 2)
		*at = (struct vtr_map_place){ at->branch + 1, at->i - LEAF / 2 };
	return error;
}

int vtr_map_insert(struct vtr_map *map, struct vtr_map_entry entry)
{
	struct vtr_map_place at = vtr_map_seek(map, entry.first);
	int error = make_room(map, &at);

	if (error)
		return error;
	struct vtr_map_leaf *leaf = map->branches[at.branch].leaf;
	memmove(&leaf->entries[at.i + 1], &leaf->entries[at.i], (leaf->count - at.i) * sizeof(entry));
	leaf->entries[at.i] = entry;
	leaf->count++;
	map->count++;
	note_last(&map->branches[at.branch]);
	return 0;
}

void vtr_map_remove(struct vtr_map *map, struct vtr_map_place place)
{
	struct vtr_map_leaf *leaf = map->branches[place.branch].leaf;

	leaf->count--;
	map->count--;
	memmove(&leaf->entries[place.i], &leaf->entries[place.i + 1], (leaf->count - place.i) * sizeof(leaf->entries[0]));
	if (leaf->count) {
		note_last(&map->branches[place.branch]);
		return;
	}
	free(leaf);
	map->n_branches--;
	memmove(&map->branches[place.branch], &map->branches[place.branch + 1],
	        (map->n_branches - place.branch) * sizeof(map->branches[0]));
}
