/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory: where its bytes are, what of it the device has, and the device's requests for what it cannot map. Most of it
 * is mapped here; an assigned device's BAR may be reachable by messages only.
 */
#include <errno.h>
#include <string.h>

#include "guest/machine.h"

void *vtr_guest_data(struct vtr_guest *guest, uint64_t address, uint64_t length)
{
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++) {
		void *data = vtr_guest_area_data(&guest->areas[i], address, length);

		if (data)
			return data;
	}
	return NULL;
}

int vtr_guest_write(struct vtr_guest *guest, uint64_t address, const void *bytes, size_t length)
{
	void *to = guest->assigned && guest->assigned->by_messages ? NULL : vtr_guest_data(guest, address, length);

	if (!to)
		return vtr_guest_assigned_write(guest, address, bytes, length);
	memcpy(to, bytes, length);
	return 0;
}

int vtr_guest_fill(struct vtr_guest *guest, uint64_t address, uint8_t value, uint64_t length)
{
	void *to = vtr_guest_data(guest, address, length);
	uint8_t block[65536];
	int result = 0;

	if (to) {
		memset(to, value, length);
		return 0;
	}
	memset(block, value, sizeof(block));
	for (uint64_t done = 0, count; done < length && !result; done += count) {
		count = length - done < sizeof(block) ? length - done : sizeof(block);
		result = vtr_guest_assigned_write(guest, address + done, block, count);
	}
	return result;
}

/* ---- the device's view ---- */

/* As an IOMMU would: the device sees what it was given, nothing else. */
static void *dma_data(struct vtr_guest *guest, uint64_t address, size_t length)
{
	void *data = NULL;

	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT && !data; i++)
		data = guest->areas[i].mapped ? vtr_guest_area_data(&guest->areas[i], address, length) : NULL;
	for (unsigned i = 0; i < 2 && !data; i++)
		data = guest->extra[i].mapped ? vtr_guest_area_data(&guest->extra[i], address, length) : NULL;
	if (data)
		guest->dma_bytes += length;
	return data;
}

static bool has_bar(const struct vtr_guest *guest)
{
	return guest->areas[VTR_GUEST_BAR].mapped;
}

/* What the assigned device does not let us map is asked of it. */
static int dma_read(void *data, uint64_t address, void *buffer, size_t length)
{
	const void *from = dma_data(data, address, length);

	if (!from)
		return has_bar(data) ? vtr_guest_assigned_read(data, address, buffer, length) : -EFAULT;
	memcpy(buffer, from, length);
	return 0;
}

static int dma_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	void *to = dma_data(data, address, length);

	if (!to)
		return has_bar(data) ? vtr_guest_assigned_write(data, address, buffer, length) : -EFAULT;
	memcpy(to, buffer, length);
	return 0;
}

static const struct vtr_vfio_user_dma_impl dma_impl = { .read = dma_read, .write = dma_write };

void vtr_guest_serve_memory(struct vtr_guest *guest, struct vtr_vfio_user_client *client)
{
	vtr_vfio_user_client_set_dma(client, &dma_impl, guest);
}

/* ---- giving and taking ---- */

bool vtr_guest_has_memory(const struct vtr_guest *guest, enum vtr_guest_memory kind)
{
	return guest->areas[kind].fd >= 0 || guest->link->impl->has_remote;
}

int vtr_guest_map(struct vtr_guest *guest, enum vtr_guest_memory kind)
{
	struct vtr_guest_area *area = &guest->areas[kind];

	if (kind == VTR_GUEST_BAR && guest->assigned)
		return vtr_guest_assigned_map(guest);
	int result = guest->link->impl->map(guest->link, area->address, area->size, area->fd, 0, true);
	area->mapped = !result;
	return result;
}

int vtr_guest_unmap(struct vtr_guest *guest, enum vtr_guest_memory kind)
{
	struct vtr_guest_area *area = &guest->areas[kind];

	if (kind == VTR_GUEST_BAR && guest->assigned)
		return vtr_guest_assigned_unmap(guest);
	int result = guest->link->impl->unmap(guest->link, area->address, area->size);
	area->mapped = area->mapped && result;
	return result;
}
