/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>

#include "memory/iommu.h"
#include "memory/region.h"

/* Bytes by guest address, from region to region. */

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

		if (!vtr_region_permits(region, VTR_ACCESS_READ))
			return vtr_iommu_missing(memory, address, length, VTR_ACCESS_READ);
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

		if (!vtr_region_permits(region, VTR_ACCESS_WRITE))
			return vtr_iommu_missing(memory, address, length, VTR_ACCESS_WRITE);
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

uint8_t *vtr_memory_pointer(struct vtr_memory *memory, uint64_t address, size_t length, unsigned access)
{
	struct vtr_region *region = vtr_memory_find(memory, address);
	uint8_t *data = NULL, *end = NULL;

	while (region && region->kind == VTR_REGION_RAM && region->data && vtr_region_permits(region, access) &&
	       (region->writable || !(access & VTR_ACCESS_WRITE))) {
		const size_t piece = piece_in(region, address, length);
		uint8_t *here = region->data + (address - region->address);

		if (end && here != end)
			return NULL;
		data = data ? data : here;
		end = here + piece;
		address += piece;
		length -= piece;
		if (!length)
			return data;
		region = address ? vtr_memory_find(memory, address) : NULL;
	}
	return NULL;
}
