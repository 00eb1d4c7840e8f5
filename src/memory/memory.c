/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "memory/file.h"
#include "memory/map.h"
#include "memory/region.h"
#include "util/checked.h"
#include "util/fd.h"

/*
 * Theory of operation
 *
 * Regions are sorted by address (map.c) and never overlap. A lookup is a binary search with the last hit tried first: guests use
 * few regions and stay in one for long. VTR_MAX_REGIONS bounds what a VMM can make us hold.
 *
 * Addresses are what the transport says: guest-physical ones, or, behind an IOMMU (iommu.c), what that translates.
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

struct vtr_memory {
	struct vtr_map map;
	struct vtr_map_entry hit; // the last lookup's; region NULL: none since the last change
	uint64_t hits;
	size_t devices; // how many of the regions are of devices
	uint64_t generation;
	struct vtr_iommu *iommu; // NULL: addresses are plain
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
	vtr_memory_set_iommu(memory, NULL, NULL, NULL);
	vtr_memory_remove_all(memory);
	vtr_map_finish(&memory->map);
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
	return memory->devices_impl && !memory->iommu && memory->devices_impl->update(memory->devices_data);
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

struct vtr_iommu *vtr_memory_iommu(const struct vtr_memory *memory)
{
	return memory->iommu;
}

void vtr_memory_install_iommu(struct vtr_memory *memory, struct vtr_iommu *iommu)
{
	memory->iommu = iommu;
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

struct vtr_region *vtr_memory_find(struct vtr_memory *memory, uint64_t address)
{
	if (!memory->hit.region || address < memory->hit.first || address > memory->hit.last) {
		const struct vtr_map_entry *entry = vtr_map_at(&memory->map, vtr_map_seek(&memory->map, address));

		if (!entry || address < entry->first)
			return NULL;
		memory->hit = *entry;
	}
	memory->hits++;
	return memory->hit.region;
}

struct vtr_region *vtr_memory_next(const struct vtr_memory *memory, uint64_t address)
{
	const struct vtr_map_entry *entry = vtr_map_at(&memory->map, vtr_map_seek(&memory->map, address));

	return entry ? entry->region : NULL;
}

const struct vtr_region *vtr_memory_region(const struct vtr_memory *memory, size_t i)
{
	const struct vtr_map_entry *entry = vtr_map_nth(&memory->map, i);

	return entry ? entry->region : NULL;
}

size_t vtr_memory_count(const struct vtr_memory *memory)
{
	return memory->map.count;
}

uint64_t vtr_memory_hits(const struct vtr_memory *memory)
{
	return memory->hits;
}

uint64_t vtr_memory_generation(const struct vtr_memory *memory)
{
	return memory->generation;
}

/* ---- changes ---- */

static void changed(struct vtr_memory *memory)
{
	memory->hit.region = NULL;
	if (!++memory->generation)
		memory->generation = 1;
}

static bool overlaps(const struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	const struct vtr_region *region = vtr_memory_next(memory, address);

	return region && region->address <= address + (size - 1);
}

int vtr_memory_insert(struct vtr_memory *memory, struct vtr_region *region)
{
	const uint64_t last = region->address + (region->size - 1);
	int error = vtr_map_insert(&memory->map, (struct vtr_map_entry){ region->address, last, region });

	if (error) {
		vtr_region_unref(region);
		return error;
	}
	memory->devices += region->kind == VTR_REGION_VFIO;
	changed(memory);
	tell_added(memory, region);
	return 0;
}

void vtr_memory_take_out(struct vtr_memory *memory, struct vtr_region *region)
{
	region->refs++;
	tell_removing(memory, region);
	if (region->mapped) {
		vtr_map_remove(&memory->map, vtr_map_seek(&memory->map, region->address));
		memory->devices -= region->kind == VTR_REGION_VFIO;
		changed(memory);
		vtr_region_revoke(region);
		vtr_region_unref(region); // the map's
	}
	vtr_region_unref(region);
}

/* The first region from address on, of a device or of the VMM's as asked, that begins at last at most; NULL. */
static struct vtr_region *next_of(const struct vtr_memory *memory, uint64_t address, uint64_t last, bool device)
{
	struct vtr_map_place place = vtr_map_seek(&memory->map, address);
	const struct vtr_map_entry *entry;

	while ((entry = vtr_map_at(&memory->map, place)) && entry->first <= last) {
		if ((entry->region->kind == VTR_REGION_VFIO) == device)
			return entry->region;
		place = vtr_map_after(&memory->map, place);
	}
	return NULL;
}

/* Regions of devices in the way of the VMM's. */
static void clear_devices(struct vtr_memory *memory, uint64_t address, uint64_t last)
{
	struct vtr_region *region;

	while (memory->devices && (region = next_of(memory, address, last, true)))
		vtr_memory_take_out(memory, region);
}

static int prepare_add(struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	if (!size || size - 1 > UINT64_MAX - address)
		return -EINVAL;
	clear_devices(memory, address, address + (size - 1));
	if (overlaps(memory, address, size))
		return -EEXIST;
	return memory->map.count - memory->devices < VTR_MAX_REGIONS ? 0 : -ENOSPC;
}

int vtr_memory_add(struct vtr_memory *memory, uint64_t address, uint64_t size, int fd, uint64_t offset, bool writable)
{
	int code = prepare_add(memory, address, size);

	if (code) {
		vtr_fd_close(&fd);
		return code;
	}
	struct vtr_region *region = vtr_region_create(memory, address, size, fd, offset, writable, &code);
	return region ? vtr_memory_insert(memory, region) : -code;
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
	return region ? vtr_memory_insert(memory, region) : -ENOMEM;
}

/* Whether all of the VMM's regions that touch the range lie in it: 0, -EINVAL, or -ENOENT when there is none. */
static int check_remove(const struct vtr_memory *memory, uint64_t address, uint64_t last)
{
	struct vtr_map_place place = vtr_map_seek(&memory->map, address);
	const struct vtr_map_entry *entry;
	bool found = false;

	for (; (entry = vtr_map_at(&memory->map, place)) && entry->first <= last; place = vtr_map_after(&memory->map, place)) {
		if (entry->region->kind == VTR_REGION_VFIO)
			continue;
		if (entry->first < address || entry->last > last)
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
	while (!error && (region = next_of(memory, address, last, false)))
		vtr_memory_take_out(memory, region);
	return error;
}

/* From the end: the order in which nothing has to be moved. */
void vtr_memory_remove_all(struct vtr_memory *memory)
{
	while (memory->map.count)
		vtr_memory_take_out(memory, vtr_map_last(&memory->map)->region);
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
	if (memory->iommu)
		return -EOPNOTSUPP;
	if (overlaps(memory, address, size))
		return -EEXIST;
	if (memory->devices >= VTR_MAX_DEVICE_REGIONS)
		return -ENOSPC;
	struct vtr_region *region = vtr_region_create_device(memory, address, size, file, offset);
	return region ? vtr_memory_insert(memory, region) : -ENOMEM;
}

int vtr_memory_remove_device(struct vtr_memory *memory, uint64_t address)
{
	struct vtr_region *region = find_begin(memory, address, true);

	if (!region)
		return -ENOENT;
	vtr_memory_take_out(memory, region);
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
