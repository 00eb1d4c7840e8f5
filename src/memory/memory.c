/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "memory/file.h"
#include "memory/region.h"
#include "util/fd.h"

/*
 * Theory of operation
 *
 * The map is an array of regions sorted by address, which never overlap. A lookup is a binary search with the last hit tried first:
 * guests use few regions and stay in one for long. The array holds first and last address beside the pointer, so that a search
 * touches no region. Last addresses are inclusive: a region may end at 2^64.
 *
 * Adding and removing move part of the array; VTR_MAX_REGIONS bounds that, and what a VMM can make us hold.
 *
 * Removal has an order that everything else relies on: first the listeners are told, while the contents are still readable; then
 * the region leaves the map and its contents go (region.c). A listener may read guest memory, and with remote memory that means
 * running the transport, which may remove regions in turn; so after each round of listeners the region is looked up again.
 *
 * Thread: the device thread only.
 */

struct map_entry {
	uint64_t first, last;      // addresses, inclusive
	struct vtr_region *region; // one reference
};

struct vtr_memory {
	struct map_entry *entries; // sorted
	size_t count, capacity;
	size_t hit; // index of the last lookup's entry
	uint64_t generation;
	struct vtr_remote remote;
	struct vtr_memory_files files;
	struct vtr_memory_listener *listeners; // in the order in which they were added
};

struct vtr_memory *vtr_memory_create(void)
{
	struct vtr_memory *memory = malloc(sizeof(*memory));

	if (memory)
		*memory = (struct vtr_memory){ .generation = 1 };
	return memory;
}

void vtr_memory_destroy(struct vtr_memory *memory)
{
	if (!memory)
		return;
	vtr_memory_remove_all(memory);
	free(memory->entries);
	free(memory);
}

void vtr_memory_set_remote(struct vtr_memory *memory, const struct vtr_remote_impl *impl, void *data)
{
	memory->remote = (struct vtr_remote){ .impl = impl, .data = data };
}

const struct vtr_remote *vtr_memory_remote(const struct vtr_memory *memory)
{
	return &memory->remote;
}

struct vtr_memory_files *vtr_memory_files(struct vtr_memory *memory)
{
	return &memory->files;
}

/* ---- listeners ---- */

void vtr_memory_add_listener(struct vtr_memory *memory, struct vtr_memory_listener *listener)
{
	struct vtr_memory_listener **end = &memory->listeners;

	while (*end)
		end = &(*end)->next;
	listener->next = NULL;
	*end = listener;
}

void vtr_memory_remove_listener(struct vtr_memory *memory, struct vtr_memory_listener *listener)
{
	for (struct vtr_memory_listener **link = &memory->listeners; *link; link = &(*link)->next)
		if (*link == listener) {
			*link = listener->next;
			return;
		}
}

static void tell_added(struct vtr_memory *memory, struct vtr_region *region)
{
	struct vtr_memory_listener *next;

	for (struct vtr_memory_listener *listener = memory->listeners; listener; listener = next) {
		next = listener->next;
		if (listener->added)
			listener->added(listener, region);
	}
}

static void tell_removing(struct vtr_memory *memory, struct vtr_region *region)
{
	struct vtr_memory_listener *next;

	for (struct vtr_memory_listener *listener = memory->listeners; listener; listener = next) {
		next = listener->next;
		if (listener->removing)
			listener->removing(listener, region);
	}
}

/* ---- lookup ---- */

/* Index of the first entry whose last address is not below address; count when there is none. */
static size_t lower_bound(const struct vtr_memory *memory, uint64_t address)
{
	size_t low = 0, count = memory->count;

	/* Scattered addresses make every branch a guess: the comparison is a number, not a decision. */
	while (count > 1) {
		size_t half = count / 2;

		low += half & -(size_t)(memory->entries[low + half - 1].last < address);
		count -= half;
	}
	return low + (count && memory->entries[low].last < address);
}

static bool entry_holds(const struct vtr_memory *memory, size_t i, uint64_t address)
{
	return i < memory->count && memory->entries[i].first <= address && address <= memory->entries[i].last;
}

struct vtr_region *vtr_memory_find(struct vtr_memory *memory, uint64_t address)
{
	if (!entry_holds(memory, memory->hit, address)) {
		size_t i = lower_bound(memory, address);

		if (!entry_holds(memory, i, address))
			return NULL;
		memory->hit = i;
	}
	return memory->entries[memory->hit].region;
}

const struct vtr_region *vtr_memory_region(const struct vtr_memory *memory, size_t i)
{
	return i < memory->count ? memory->entries[i].region : NULL;
}

uint64_t vtr_memory_generation(const struct vtr_memory *memory)
{
	return memory->generation;
}

/* ---- changes ---- */

static void changed(struct vtr_memory *memory)
{
	memory->hit = 0;
	if (!++memory->generation)
		memory->generation = 1;
}

static int reserve_entry(struct vtr_memory *memory)
{
	if (memory->count >= VTR_MAX_REGIONS)
		return -ENOSPC;
	if (memory->count < memory->capacity)
		return 0;
	size_t capacity = memory->capacity ? 2 * memory->capacity : 16;
	struct map_entry *entries = realloc(memory->entries, capacity * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	memory->entries = entries;
	memory->capacity = capacity;
	return 0;
}

/* Makes room for [address, address + size) and returns its index, or -errno. */
static int64_t prepare_add(struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	if (!size || size - 1 > UINT64_MAX - address)
		return -EINVAL;
	size_t i = lower_bound(memory, address);
	if (i < memory->count && memory->entries[i].first <= address + (size - 1))
		return -EEXIST;
	int error = reserve_entry(memory);
	return error ? error : (int64_t)i;
}

int vtr_memory_add(struct vtr_memory *memory, uint64_t address, uint64_t size, int fd, uint64_t offset, bool writable)
{
	int code;
	int64_t i = prepare_add(memory, address, size);

	if (i < 0) {
		vtr_fd_close(&fd);
		return (int)i;
	}
	struct vtr_region *region = vtr_region_create(memory, address, size, fd, offset, writable, &code);
	if (!region)
		return -code;
	struct map_entry *entry = &memory->entries[i];
	memmove(entry + 1, entry, (memory->count - (size_t)i) * sizeof(*entry));
	*entry = (struct map_entry){ .first = address, .last = address + (size - 1), .region = region };
	memory->count++;
	changed(memory);
	tell_added(memory, region);
	return 0;
}

/* Tells the listeners and takes the region out, unless one of them did. */
static void remove_region(struct vtr_memory *memory, struct vtr_region *region)
{
	region->refs++;
	tell_removing(memory, region);
	if (region->mapped) {
		struct map_entry *entry = &memory->entries[lower_bound(memory, region->address)];

		memory->count--;
		memmove(entry, entry + 1, (size_t)(memory->entries + memory->count - entry) * sizeof(*entry));
		changed(memory);
		vtr_region_revoke(region);
		vtr_region_unref(region); // the map's
	}
	vtr_region_unref(region);
}

int vtr_memory_remove(struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	uint64_t last = address + (size - 1);

	if (!size || last < address)
		return -EINVAL;
	size_t first = lower_bound(memory, address), end = first;
	while (end < memory->count && memory->entries[end].first <= last)
		end++;
	if (first == end)
		return -ENOENT;
	if (memory->entries[first].first < address || memory->entries[end - 1].last > last)
		return -EINVAL;
	for (;;) {
		size_t i = lower_bound(memory, address);

		if (i >= memory->count || memory->entries[i].last > last)
			return 0;
		remove_region(memory, memory->entries[i].region);
	}
}

void vtr_memory_remove_all(struct vtr_memory *memory)
{
	while (memory->count)
		remove_region(memory, memory->entries[memory->count - 1].region);
}

/* ---- access ---- */

/* How much of [address, address + length) lies in region. */
static size_t piece_in(const struct vtr_region *region, uint64_t address, size_t length)
{
	uint64_t rest = region->size - (address - region->address);

	return length < rest ? length : (size_t)rest;
}

int vtr_memory_read(struct vtr_memory *memory, uint64_t address, void *buffer, size_t length)
{
	uint8_t *to = buffer;

	if (length && length - 1 > UINT64_MAX - address)
		return -EFAULT;
	while (length) {
		struct vtr_region *region = vtr_memory_find(memory, address);

		if (!region)
			return -EFAULT;
		size_t piece = piece_in(region, address, length);
		int error = vtr_region_read(region, address - region->address, to, piece, NULL);
		if (error)
			return error;
		address += piece;
		to += piece;
		length -= piece;
	}
	return 0;
}

int vtr_memory_write(struct vtr_memory *memory, uint64_t address, const void *buffer, size_t length)
{
	const uint8_t *from = buffer;

	if (length && length - 1 > UINT64_MAX - address)
		return -EFAULT;
	while (length) {
		struct vtr_region *region = vtr_memory_find(memory, address);

		if (!region)
			return -EFAULT;
		size_t piece = piece_in(region, address, length);
		int error = vtr_region_write(region, address - region->address, from, piece);
		if (error)
			return error;
		address += piece;
		from += piece;
		length -= piece;
	}
	return 0;
}
