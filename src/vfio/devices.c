/* SPDX-License-Identifier: MIT */
#include "vfio/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The devices that are assigned to a guest, a handful with a few BARs or mappings each. Lookups go through all of them: a bounded
 * number of comparisons, about as many as a search in a sorted list would take.
 */

struct vtr_vfio_devices *vtr_vfio_devices_create(void)
{
	return calloc(1, sizeof(struct vtr_vfio_devices));
}

void vtr_vfio_devices_destroy(struct vtr_vfio_devices *devices)
{
	if (!devices)
		return;
	for (size_t i = 0; i < devices->count; i++)
		vtr_vfio_device_destroy(devices->items[i]);
	free(devices);
}

int vtr_vfio_devices_add(struct vtr_vfio_devices *devices, struct vtr_vfio_device *device)
{
	if (devices->count == VTR_MAX_VFIO_DEVICES)
		return -ENOSPC;
	devices->items[devices->count++] = device;
	return 0;
}

int vtr_vfio_devices_remove(struct vtr_vfio_devices *devices, struct vtr_vfio_device *device)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (devices->items[i] != device)
			continue;
		devices->count--;
		memmove(&devices->items[i], &devices->items[i + 1], (devices->count - i) * sizeof(devices->items[0]));
		return 0;
	}
	return -ENOENT;
}

struct vtr_vfio_device *vtr_vfio_devices_get(const struct vtr_vfio_devices *devices, size_t i)
{
	return i < devices->count ? devices->items[i] : NULL;
}

bool vtr_vfio_devices_refresh(struct vtr_vfio_devices *devices)
{
	bool changed = false;

	for (size_t i = 0; i < devices->count; i++)
		changed |= vtr_vfio_device_refresh(devices->items[i]) > 0;
	return changed;
}

bool vtr_vfio_find_address(const struct vtr_vfio_devices *devices, uint64_t address, bool decoded, struct vtr_vfio_place *place)
{
	for (size_t i = 0; i < devices->count; i++)
		for (uint32_t bar = 0; bar < VTR_VFIO_BARS; bar++) {
			const struct vtr_vfio_region *region = &devices->items[i]->regions[bar];
			uint64_t offset = address - region->address;

			/* address 0: never known */
			if (!region->address || region->decoded != decoded || address < region->address || offset >= region->size)
				continue;
			*place = (struct vtr_vfio_place){
				.device = devices->items[i], .bar = bar, .offset = offset, .length = region->size - offset
			};
			return true;
		}
	return false;
}

bool vtr_vfio_devices_find(const struct vtr_vfio_devices *devices, uint64_t address, struct vtr_vfio_place *place)
{
	return vtr_vfio_find_address(devices, address, true, place);
}

bool vtr_vfio_find_host(const struct vtr_vfio_devices *devices, uintptr_t host, struct vtr_vfio_place *place)
{
	for (size_t i = 0; i < devices->count; i++)
		for (size_t j = 0; j < devices->items[i]->n_mappings; j++) {
			const struct vtr_vfio_mapping *mapping = &devices->items[i]->mappings[j];
			uint64_t offset = host - mapping->host;

			if (host < mapping->host || offset >= mapping->size)
				continue;
			*place = (struct vtr_vfio_place){
				.device = devices->items[i],
				.bar = mapping->bar,
				.offset = mapping->offset + offset,
				.length = mapping->size - offset,
			};
			return true;
		}
	return false;
}
