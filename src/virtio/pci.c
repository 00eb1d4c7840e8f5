/* SPDX-License-Identifier: MIT */
/*
 * A virtio device as a PCI function (virtio 1.3, 4.1).
 *
 * The function is a set of regions as VFIO sees them. This file knows where things are: the virtio BAR holds four structures, each
 * in a page of its own so that a client could map the doorbells alone; the MSI-X BAR holds table and pending bits. An access of any
 * size and alignment is cut along the structures, and each structure takes what lies inside of it; the gaps read as 0.
 *
 *   pci_config.c   configuration space, capabilities, the window that reaches the BARs from there
 *   pci_common.c   the common configuration structure: status, features, queues
 *   pci_irq.c      INTx and MSI-X, to eventfds
 *
 * Memory decoding and bus mastering of the command register are kept and not enforced: whoever maps the BARs and the guest's memory
 * does that.
 */
#include "virtio/pci.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "virtio/pci_function.h"

/* ---- the small structures: ISR, device configuration, doorbells ---- */

/* Reading clears (virtio 1.3, 4.1.4.5). */
static void isr_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length)
{
	buffer[0] = vtr_pci_isr_take(function);
}

static void ignore_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length)
{
}

static void device_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length)
{
	function->device->impl->config_read(function->device, offset, buffer, length);
}

static void device_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length)
{
	if (function->device->impl->config_write)
		function->device->impl->config_write(function->device, offset, buffer, length);
}

static void notify_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length)
{
	memset(buffer, 0, length);
}

/* A doorbell is its address: 16 or 32 bits, the value says no more (virtio 1.3, 4.1.5.2; NOTIFICATION_DATA is not offered). */
static void notify_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length)
{
	unsigned i;

	for (i = 0; i < function->device->n_queues; i++) {
		const uint32_t doorbell = i * VTR_PCI_NOTIFY_MULTIPLIER;

		if (offset <= doorbell && offset + length >= doorbell + sizeof(uint16_t))
			vtr_virtio_kick(function->device, i);
	}
}

static void init_windows(struct vtr_pci_function *function)
{
	const struct vtr_pci_window windows[VTR_PCI_WINDOWS] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, 0 * VTR_PCI_PAGE, VTR_PCI_COMMON_SIZE, vtr_pci_common_read, vtr_pci_common_write },
		{ VIRTIO_PCI_CAP_ISR_CFG, 1 * VTR_PCI_PAGE, 1, isr_read, ignore_write },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, 2 * VTR_PCI_PAGE, function->device->config_size, device_read, device_write },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, 3 * VTR_PCI_PAGE, function->device->n_queues * VTR_PCI_NOTIFY_MULTIPLIER, notify_read,
		  notify_write },
	};

	assert(function->device->config_size <= VTR_PCI_PAGE);
	memcpy(function->windows, windows, sizeof(windows));
}

/* ---- regions ---- */

/* The part of [*offset, *offset + *length) that lies in the window, relative to it; skip is where it begins in the access. */
static bool clip(const struct vtr_pci_window *window, uint32_t *offset, uint32_t *length, uint32_t *skip)
{
	const uint32_t start = *offset > window->offset ? *offset : window->offset;
	const uint32_t access_end = *offset + *length, window_end = window->offset + window->length;
	const uint32_t end = access_end < window_end ? access_end : window_end;

	if (start >= end)
		return false;
	*skip = start - *offset;
	*offset = start - window->offset;
	*length = end - start;
	return true;
}

static void virtio_bar_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length)
{
	size_t i;

	memset(buffer, 0, length);
	for (i = 0; i < VTR_PCI_WINDOWS; i++) {
		uint32_t at = offset, count = length, skip;

		if (clip(&function->windows[i], &at, &count, &skip))
			function->windows[i].read(function, at, buffer + skip, count);
	}
}

static void virtio_bar_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length)
{
	size_t i;

	for (i = 0; i < VTR_PCI_WINDOWS; i++) {
		uint32_t at = offset, count = length, skip;

		if (clip(&function->windows[i], &at, &count, &skip))
			function->windows[i].write(function, at, buffer + skip, count);
	}
}

uint64_t vtr_pci_region_size(const struct vtr_pci_function *function, unsigned region)
{
	switch (region) {
	case VTR_PCI_MSIX_BAR:
		return VTR_PCI_MSIX_BAR_SIZE;
	case VTR_PCI_VIRTIO_BAR:
		return VTR_PCI_VIRTIO_BAR_SIZE;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return VTR_PCI_CONFIG_SIZE;
	default:
		return 0;
	}
}

int vtr_pci_read(struct vtr_pci_function *function, unsigned region, uint64_t offset, void *buffer, size_t length)
{
	if (!vtr_range_fits(offset, length, vtr_pci_region_size(function, region)))
		return -EINVAL;
	if (length == 0)
		return 0;
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		vtr_pci_config_read(function, (uint32_t)offset, buffer, (uint32_t)length);
	else if (region == VTR_PCI_VIRTIO_BAR)
		virtio_bar_read(function, (uint32_t)offset, buffer, (uint32_t)length);
	else
		vtr_pci_msix_read(function, (uint32_t)offset, buffer, (uint32_t)length);
	return 0;
}

int vtr_pci_write(struct vtr_pci_function *function, unsigned region, uint64_t offset, const void *buffer, size_t length)
{
	if (!vtr_range_fits(offset, length, vtr_pci_region_size(function, region)))
		return -EINVAL;
	if (length == 0)
		return 0;
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		vtr_pci_config_write(function, (uint32_t)offset, buffer, (uint32_t)length);
	else if (region == VTR_PCI_VIRTIO_BAR)
		virtio_bar_write(function, (uint32_t)offset, buffer, (uint32_t)length);
	else
		vtr_pci_msix_write(function, (uint32_t)offset, buffer, (uint32_t)length);
	return 0;
}

bool vtr_pci_is_doorbell(const struct vtr_pci_function *function, unsigned region, uint64_t offset, size_t length)
{
	const uint64_t page = VTR_PCI_VIRTIO_BAR_SIZE - VTR_PCI_PAGE; /* the last one, see init_windows() */

	return region == VTR_PCI_VIRTIO_BAR && offset >= page && vtr_range_fits(offset, length, VTR_PCI_VIRTIO_BAR_SIZE);
}

/* ---- life ---- */

struct vtr_pci_function *vtr_pci_create(struct vtr_virtio_device *device, uint32_t class_code)
{
	struct vtr_pci_function *function = malloc(sizeof(*function));

	if (!function)
		return NULL;
	*function = (struct vtr_pci_function){ .device = device, .class_code = class_code, .n_vectors = device->n_queues + 1 };
	init_windows(function);
	vtr_pci_irq_init(function);
	vtr_pci_common_reset(function);
	vtr_pci_config_init(function);
	vtr_virtio_set_transport(device, &vtr_pci_transport, function);
	return function;
}

void vtr_pci_destroy(struct vtr_pci_function *function)
{
	if (!function)
		return;
	vtr_virtio_set_transport(function->device, NULL, NULL);
	vtr_pci_irq_finish(function);
	free(function);
}

static void reset_function(struct vtr_pci_function *function)
{
	vtr_pci_common_reset(function);
	vtr_pci_config_init(function);
	vtr_pci_irq_reset(function);
}

void vtr_pci_reset(struct vtr_pci_function *function)
{
	vtr_virtio_reset(function->device);
	reset_function(function);
}

void vtr_pci_abandon(struct vtr_pci_function *function)
{
	vtr_virtio_abandon(function->device);
	reset_function(function);
}
