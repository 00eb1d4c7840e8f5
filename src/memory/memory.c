/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "memory/file.h"
#include "memory/region.h"
#include "util/checked.h"
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
 * Regions of devices are ours, not the VMM's: they lie where a device's BAR is and the VMM has announced nothing. To the VMM they
 * do not exist: they give way to what it adds, are left alone by what it removes, and do not count as its regions.
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
	size_t hit;     // index of the last lookup's entry
	size_t devices; // how many of the regions are of devices
	uint64_t generation;
	struct vtr_remote remote;
	const struct vtr_memory_devices_impl *devices_impl; // may be NULL
	void *devices_data;
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

void vtr_memory_set_devices(struct vtr_memory *memory, const struct vtr_memory_devices_impl *impl, void *data)
{
	memory->devices_impl = impl;
	memory->devices_data = data;
}

bool vtr_memory_update(struct vtr_memory *memory)
{
	return memory->devices_impl && memory->devices_impl->update(memory->devices_data);
}

void vtr_memory_device_fault(const struct vtr_memory *memory)
{
	if (memory->devices_impl)
		memory->devices_impl->fault(memory->devices_data);
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

struct vtr_region *vtr_memory_next(const struct vtr_memory *memory, uint64_t address)
{
	size_t i = lower_bound(memory, address);

	return i < memory->count ? memory->entries[i].region : NULL;
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

static bool overlaps(const struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	size_t i = lower_bound(memory, address);

	return i < memory->count && memory->entries[i].first <= address + (size - 1);
}

/* Puts region (taken) where nothing is. */
static int insert(struct vtr_memory *memory, struct vtr_region *region)
{
	int error = reserve_entry(memory);

	if (error) {
		vtr_region_unref(region);
		return error;
	}
	size_t i = lower_bound(memory, region->address);
	struct map_entry *entry = &memory->entries[i];
	memmove(entry + 1, entry, (memory->count - i) * sizeof(*entry));
	*entry = (struct map_entry){ .first = region->address, .last = region->address + (region->size - 1), .region = region };
	memory->count++;
	memory->devices += region->kind == VTR_REGION_VFIO;
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
		memory->devices -= region->kind == VTR_REGION_VFIO;
		memmove(entry, entry + 1, (size_t)(memory->entries + memory->count - entry) * sizeof(*entry));
		changed(memory);
		vtr_region_revoke(region);
		vtr_region_unref(region); // the map's
	}
	vtr_region_unref(region);
}

/* Regions of devices in the way of the VMM's. */
static void clear_devices(struct vtr_memory *memory, uint64_t address, uint64_t last)
{
	for (size_t i = lower_bound(memory, address); i < memory->count && memory->entries[i].first <= last;) {
		struct vtr_region *region = memory->entries[i].region;

		address = memory->entries[i].last;
		if (region->kind == VTR_REGION_VFIO)
			remove_region(memory, region);
		if (address >= last)
			return;
		i = lower_bound(memory, address + 1);
	}
}

static int prepare_add(struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	if (!size || size - 1 > UINT64_MAX - address)
		return -EINVAL;
	if (memory->devices)
		clear_devices(memory, address, address + (size - 1));
	if (overlaps(memory, address, size))
		return -EEXIST;
	return memory->count - memory->devices < VTR_MAX_REGIONS ? 0 : -ENOSPC;
}

int vtr_memory_add(struct vtr_memory *memory, uint64_t address, uint64_t size, int fd, uint64_t offset, bool writable)
{
	int code = prepare_add(memory, address, size);

	if (code) {
		vtr_fd_close(&fd);
		return code;
	}
	struct vtr_region *region = vtr_region_create(memory, address, size, fd, offset, writable, &code);
	return region ? insert(memory, region) : -code;
}

static bool file_holds(const struct vtr_memory_file *file, uint64_t offset, uint64_t size)
{
	return offset >= file->start && vtr_range_fits(offset - file->start, size, file->length);
}

struct vtr_memory_file *vtr_memory_open(struct vtr_memory *memory, int fd, uint64_t offset, uint64_t size)
{
	int code = EINVAL;
	struct vtr_memory_file *file = fd < 0 || !size ? NULL : vtr_memory_file_open(&memory->files, fd, offset, size, &code);

	if (fd >= 0 && !size)
		vtr_fd_close(&fd);
	if (!file)
		errno = code;
	return file;
}

void vtr_memory_close(struct vtr_memory_file *file)
{
	vtr_memory_file_unref(file);
}

int vtr_memory_add_file(struct vtr_memory *memory, uint64_t address, uint64_t size, struct vtr_memory_file *file, uint64_t offset,
                        bool writable)
{
	int error = prepare_add(memory, address, size);

	if (error)
		return error;
	if (!file_holds(file, offset, size))
		return -EINVAL;
	struct vtr_region *region = vtr_region_create_in_file(memory, address, size, file, offset, writable);
	return region ? insert(memory, region) : -ENOMEM;
}

/* The first region of the VMM's from entry i on, inside last; NULL. */
static struct vtr_region *next_announced(const struct vtr_memory *memory, size_t i, uint64_t last)
{
	while (i < memory->count && memory->entries[i].first <= last && memory->entries[i].region->kind == VTR_REGION_VFIO)
		i++;
	return i < memory->count && memory->entries[i].first <= last ? memory->entries[i].region : NULL;
}

/* Whether all of the VMM's regions that touch the range lie in it: 0, -EINVAL, or -ENOENT when there is none. */
static int check_remove(const struct vtr_memory *memory, uint64_t address, uint64_t last)
{
	bool found = false;

	for (size_t i = lower_bound(memory, address); i < memory->count && memory->entries[i].first <= last; i++) {
		if (memory->entries[i].region->kind == VTR_REGION_VFIO)
			continue;
		if (memory->entries[i].first < address || memory->entries[i].last > last)
			return -EINVAL;
		found = true;
	}
	return found ? 0 : -ENOENT;
}

int vtr_memory_remove(struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	uint64_t last = address + (size - 1);
	struct vtr_region *region;

	if (!size || last < address)
		return -EINVAL;
	int error = check_remove(memory, address, last);
	while (!error && (region = next_announced(memory, lower_bound(memory, address), last)))
		remove_region(memory, region);
	return error;
}

void vtr_memory_remove_all(struct vtr_memory *memory)
{
	while (memory->count)
		remove_region(memory, memory->entries[memory->count - 1].region);
}

/* ---- memory of devices ---- */

/* The region that begins at address, and whether it is of a device. */
static struct vtr_region *find_begin(struct vtr_memory *memory, uint64_t address, bool device)
{
	struct vtr_region *region = vtr_memory_find(memory, address);

	return region && region->address == address && (region->kind == VTR_REGION_VFIO) == device ? region : NULL;
}

int vtr_memory_add_device(struct vtr_memory *memory, uint64_t address, uint64_t size, struct vtr_memory_file *file, uint64_t offset)
{
	if (!size || size - 1 > UINT64_MAX - address || !file_holds(file, offset, size))
		return -EINVAL;
	if (overlaps(memory, address, size))
		return -EEXIST;
	if (memory->devices >= VTR_MAX_DEVICE_REGIONS)
		return -ENOSPC;
	struct vtr_region *region = vtr_region_create_device(memory, address, size, file, offset);
	return region ? insert(memory, region) : -ENOMEM;
}

int vtr_memory_remove_device(struct vtr_memory *memory, uint64_t address)
{
	struct vtr_region *region = find_begin(memory, address, true);

	if (!region)
		return -ENOENT;
	remove_region(memory, region);
	return 0;
}

int vtr_memory_set_device(struct vtr_memory *memory, uint64_t address, struct vtr_memory_file *file, uint64_t offset)
{
	struct vtr_region *region = find_begin(memory, address, false);
	int error = 0;

	if (!region)
		return -ENOENT;
	if ((region->cpu && region->cpu == region->file) || (file && !file_holds(file, offset, region->size)))
		return -EINVAL;
	region->refs++;
	tell_removing(memory, region);
	if (region->mapped) {
		vtr_region_set_device(region, file, offset);
		changed(memory);
		tell_added(memory, region);
	} else {
		error = -ECANCELED;
	}
	vtr_region_unref(region);
	return error;
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
