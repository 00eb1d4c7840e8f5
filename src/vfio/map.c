/* SPDX-License-Identifier: MIT */
#include "vfio/map.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <vitrine/log.h>

#include "memory/region.h"

/*
 * Theory of operation
 *
 * The guest memory map is the VMM's. What it announces of a device's BAR comes as a dmabuf that no CPU may look into, or without
 * any fd, and some VMMs announce nothing of it. We know better, because we hold the device: for every part of a BAR that may be
 * mapped, and that the guest has enabled, the map is made to look like this:
 *
 *   where the VMM has announced a window or remote memory, that gets CPU access through the device's fd
 *   where it has announced nothing, there is a region of our own
 *   where it has announced memory (RAM), that is so
 *
 * Everything is found by comparing the map with the BARs' addresses, so it does not matter what has changed or how often we are
 * called: a device came or went, the guest moved a BAR, the VMM mapped or unmapped something. Only what differs is touched.
 *
 * A BAR that the guest has disabled keeps its regions while it is not seen elsewhere: reads fail meanwhile, and the guest's
 * resources need not be resolved again when it is back.
 *
 * A region of the VMM's that runs over the border of a part that may be mapped is left as it is: VMMs announce such parts one by
 * one. Behind a virtual IOMMU that translates, the map's addresses are not those in the BARs, and nothing is found; the guest has
 * to run with iommu=pt.
 */

/* Where in a device's fd the bytes of guest addresses lie. */
struct spot {
	struct vtr_memory_file *file; // borrowed; NULL: in no part that may be mapped
	uint64_t offset;
};

/* ---- what may be mapped ---- */

static struct vtr_memory_file *map_area(struct vtr_vfio_device *device, uint32_t bar, size_t area)
{
	const struct vtr_vfio_region *region = &device->regions[bar];
	struct vtr_memory_file **map = &device->maps[bar][area];

	if (*map)
		return *map;
	*map = vtr_memory_map_device(region->fd, region->offset + region->areas[area].offset, region->areas[area].size);
	if (!*map)
		vtr_log_limited(&device->log, VTR_LOG_WARN,
		                "%s: BAR %" PRIu32 " cannot be mapped (%s): its pixels are requested from the VMM", device->name,
		                bar, strerror(errno));
	return *map;
}

/* The spot of a region that lies in a BAR that answers, or in one that did when it was last seen. */
static struct spot find_spot(const struct vtr_vfio_devices *devices, const struct vtr_region *region)
{
	const struct spot nowhere = { 0 };
	struct vtr_vfio_place place;
	size_t area;

	if (!vtr_vfio_find_address(devices, region->address, true, &place) &&
	    !vtr_vfio_find_address(devices, region->address, false, &place))
		return nowhere;
	const struct vtr_vfio_region *bar = &place.device->regions[place.bar];
	if (!vtr_vfio_find_area(bar, place.offset, region->size, &area))
		return nowhere;
	return (struct spot){ place.device->maps[place.bar][area], bar->offset + place.offset };
}

/* ---- away from where no BAR is ---- */

/* A device came, or one of its BARs is not where it was. */
static bool have_moved(struct vtr_vfio_devices *devices)
{
	bool moved = false;

	for (size_t i = 0; i < devices->count; i++)
		for (uint32_t bar = 0; bar < VTR_VFIO_BARS; bar++) {
			struct vtr_vfio_device *device = devices->items[i];

			moved |= device->placed[bar] != device->regions[bar].address;
			device->placed[bar] = device->regions[bar].address;
		}
	return moved;
}

/* Takes away what was placed or lent, unless it is right. True when it was not. */
static bool take_back(const struct vtr_vfio_devices *devices, struct vtr_memory *memory, const struct vtr_region *region)
{
	struct spot spot = find_spot(devices, region);

	if (vtr_region_is_device_at(region, spot.file, spot.offset))
		return false;
	if (region->kind == VTR_REGION_VFIO)
		vtr_memory_remove_device(memory, region->address);
	else
		vtr_memory_set_device(memory, region->address, NULL, 0);
	return true;
}

/* For BARs that are not where they were. */
static bool clean(struct vtr_vfio_devices *devices, struct vtr_memory *memory)
{
	struct vtr_region *region;
	uint64_t next = 0;
	bool changed = false;

	while ((region = vtr_memory_next(memory, next))) {
		uint64_t last = region->address + (region->size - 1);

		changed |= vtr_region_is_device(region) && take_back(devices, memory, region);
		if (last == UINT64_MAX)
			break;
		next = last + 1;
	}
	return changed;
}

/* ---- to where BARs are ---- */

/* [address, end) of guest addresses is what file has mapped, all of it. */
struct stretch {
	struct vtr_memory *memory;
	struct vtr_memory_file *file;
	uint64_t address, end;
	uint64_t offset; // of the first byte in the device's fd
};

/* Fills a gap. False when there is no room for more. */
static bool fill(const struct stretch *stretch, uint64_t address, uint64_t end)
{
	return !vtr_memory_add_device(stretch->memory, address, end - address, stretch->file,
	                              stretch->offset + (address - stretch->address));
}

/* Gives a region of the VMM's what it lacks. True when something was done. */
static bool lend(const struct stretch *stretch, const struct vtr_region *region)
{
	if (region->data || region->address < stretch->address || region->size > stretch->end - region->address)
		return false;
	return !vtr_memory_set_device(stretch->memory, region->address, stretch->file,
	                              stretch->offset + (region->address - stretch->address));
}

static bool cover(const struct stretch *stretch)
{
	uint64_t at = stretch->address;
	bool changed = false;

	while (at < stretch->end) {
		const struct vtr_region *region = vtr_memory_next(stretch->memory, at);
		uint64_t begin = region && region->address < stretch->end ? region->address : stretch->end, last;

		if (begin > at) {
			if (!fill(stretch, at, begin))
				break;
			changed = true;
			at = begin;
			continue;
		}
		last = region->address + (region->size - 1);
		changed |= lend(stretch, region);
		if (last >= stretch->end - 1)
			break;
		at = last + 1;
	}
	return changed;
}

static bool cover_bar(struct vtr_memory *memory, struct vtr_vfio_device *device, uint32_t bar)
{
	const struct vtr_vfio_region *region = &device->regions[bar];
	bool changed = false;

	if (!region->decoded || region->fd < 0)
		return false;
	for (size_t i = 0; i < region->n_areas; i++) {
		struct stretch stretch = {
			.memory = memory,
			.file = map_area(device, bar, i),
			.address = region->address + region->areas[i].offset,
			.end = region->address + region->areas[i].offset + region->areas[i].size,
			.offset = region->offset + region->areas[i].offset,
		};

		if (stretch.file)
			changed |= cover(&stretch);
	}
	return changed;
}

bool vtr_vfio_map_update(struct vtr_vfio_devices *devices, struct vtr_memory *memory, bool gone)
{
	bool changed = vtr_vfio_devices_refresh(devices);

	if (have_moved(devices) || gone)
		changed |= clean(devices, memory);
	for (size_t i = 0; i < devices->count; i++)
		for (uint32_t bar = 0; bar < VTR_VFIO_BARS; bar++)
			changed |= cover_bar(memory, devices->items[i], bar);
	return changed;
}
