/* SPDX-License-Identifier: MIT */
/*
 * The common configuration structure (virtio 1.3, 4.1.4.3).
 *
 * Reading has no side effects, so a read makes the whole structure and copies the range asked for. A write reaches the registers
 * that it covers completely, in the order of their offsets; a register written in part is left alone, since drivers must use the
 * register's width (4.1.3.1). The 64-bit addresses are two registers each. What cannot be (a size that is no power of two, a vector
 * that does not exist, a queue beyond the last) is not stored, and the driver sees so when it reads back.
 */
#include <endian.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "util/checked.h"
#include "virtio/pci_function.h"

void vtr_pci_common_reset(struct vtr_pci_function *function)
{
	unsigned i;

	function->device_feature_select = function->driver_feature_select = 0;
	function->queue_select = 0;
	function->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (i = 0; i < VTR_VIRTIO_MAX_QUEUES; i++)
		function->queue_vectors[i] = VIRTIO_MSI_NO_VECTOR;
}

/* NULL when queue_select is beyond the last queue. */
static struct vtr_virtqueue *selected_queue(struct vtr_pci_function *function)
{
	struct vtr_virtio_device *device = function->device;

	return function->queue_select < device->n_queues ? &device->queues[function->queue_select] : NULL;
}

/* ---- reading ---- */

static void put16(uint8_t *bytes, uint16_t value)
{
	value = htole16(value);
	memcpy(bytes, &value, sizeof(value));
}

static void put32(uint8_t *bytes, uint32_t value)
{
	value = htole32(value);
	memcpy(bytes, &value, sizeof(value));
}

static void put64(uint8_t *bytes, uint64_t value)
{
	value = htole64(value);
	memcpy(bytes, &value, sizeof(value));
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static void snapshot_queue(struct vtr_pci_function *function, uint8_t *bytes)
{
	const struct vtr_virtqueue *queue = selected_queue(function);

	if (!queue)
		return; /* size 0: there is no such queue */
	put16(bytes + VIRTIO_PCI_COMMON_Q_SIZE, queue->size);
	put16(bytes + VIRTIO_PCI_COMMON_Q_MSIX, function->queue_vectors[function->queue_select]);
	put16(bytes + VIRTIO_PCI_COMMON_Q_ENABLE, queue->enabled);
	put16(bytes + VIRTIO_PCI_COMMON_Q_NOFF, function->queue_select);
	put64(bytes + VIRTIO_PCI_COMMON_Q_DESCLO, queue->desc);
	put64(bytes + VIRTIO_PCI_COMMON_Q_AVAILLO, queue->avail);
	put64(bytes + VIRTIO_PCI_COMMON_Q_USEDLO, queue->used);
	/* queue_reset is 0: a reset is complete when the write that asked for it is */
}

static void snapshot(struct vtr_pci_function *function, uint8_t bytes[VTR_PCI_COMMON_SIZE])
{
	const struct vtr_virtio_device *device = function->device;

	memset(bytes, 0, VTR_PCI_COMMON_SIZE);
	put32(bytes + VIRTIO_PCI_COMMON_DFSELECT, function->device_feature_select);
	put32(bytes + VIRTIO_PCI_COMMON_DF, feature_word(vtr_virtio_device_features(device), function->device_feature_select));
	put32(bytes + VIRTIO_PCI_COMMON_GFSELECT, function->driver_feature_select);
	put32(bytes + VIRTIO_PCI_COMMON_GF, feature_word(device->requested_features, function->driver_feature_select));
	put16(bytes + VIRTIO_PCI_COMMON_MSIX, function->config_vector);
	put16(bytes + VIRTIO_PCI_COMMON_NUMQ, (uint16_t)device->n_queues);
	bytes[VIRTIO_PCI_COMMON_STATUS] = device->status;
	bytes[VIRTIO_PCI_COMMON_CFGGENERATION] = device->config_generation;
	put16(bytes + VIRTIO_PCI_COMMON_Q_SELECT, function->queue_select);
	snapshot_queue(function, bytes);
}

void vtr_pci_common_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length)
{
	uint8_t bytes[VTR_PCI_COMMON_SIZE];

	snapshot(function, bytes);
	memcpy(buffer, bytes + offset, length);
}

/* ---- writing ---- */

static void write_driver_feature(struct vtr_pci_function *function, uint32_t value)
{
	const unsigned shift = 32 * function->driver_feature_select;
	uint64_t features = function->device->requested_features;

	if (function->driver_feature_select >= 2)
		return;
	features = (features & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
	vtr_virtio_set_driver_features(function->device, features);
}

static void write_status(struct vtr_pci_function *function, uint32_t value)
{
	vtr_virtio_set_status(function->device, (uint8_t)value);
	if (value)
		return;
	vtr_pci_common_reset(function);
	vtr_pci_irq_reset(function);
}

static uint16_t valid_vector(const struct vtr_pci_function *function, uint32_t value)
{
	return value < function->n_vectors ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

/* virtio 1.3, 4.1.4.3.2: only with RING_RESET. */
static void write_queue_reset(struct vtr_pci_function *function, uint32_t value)
{
	if (value != 1 || !vtr_virtio_has_feature(function->device, VIRTIO_F_RING_RESET))
		return;
	vtr_virtio_reset_queue(function->device, function->queue_select);
	function->queue_vectors[function->queue_select] = VIRTIO_MSI_NO_VECTOR;
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
	const unsigned shift = high ? 32 : 0;

	*address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

/* A running queue keeps its size and addresses: drivers set them before they enable it. */
static void write_queue_layout(struct vtr_virtqueue *queue, unsigned offset, uint32_t value)
{
	if (queue->enabled)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		if (vtr_is_power_of_two(value) && value <= queue->max_size)
			queue->size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		set_half(&queue->desc, offset == VIRTIO_PCI_COMMON_Q_DESCHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		set_half(&queue->avail, offset == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		set_half(&queue->used, offset == VIRTIO_PCI_COMMON_Q_USEDHI, value);
		break;
	}
}

static void write_queue_register(struct vtr_pci_function *function, unsigned offset, uint32_t value)
{
	struct vtr_virtqueue *queue = selected_queue(function);

	if (!queue)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_MSIX:
		function->queue_vectors[function->queue_select] = valid_vector(function, value);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1) /* 0 is not for drivers to write; what cannot start reads back as 0 */
			vtr_virtio_enable_queue(function->device, function->queue_select);
		break;
	case VIRTIO_PCI_COMMON_Q_RESET:
		write_queue_reset(function, value);
		break;
	default:
		write_queue_layout(queue, offset, value);
		break;
	}
}

static void write_register(struct vtr_pci_function *function, unsigned offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		function->device_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		function->driver_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		write_driver_feature(function, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		function->config_vector = valid_vector(function, value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		write_status(function, value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		function->queue_select = (uint16_t)value;
		break;
	default:
		write_queue_register(function, offset, value);
		break;
	}
}

void vtr_pci_common_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length)
{
	static const struct {
		uint8_t offset, size;
	} writable[] = {
		{ VIRTIO_PCI_COMMON_DFSELECT, 4 },  { VIRTIO_PCI_COMMON_GFSELECT, 4 }, { VIRTIO_PCI_COMMON_GF, 4 },
		{ VIRTIO_PCI_COMMON_MSIX, 2 },      { VIRTIO_PCI_COMMON_STATUS, 1 },   { VIRTIO_PCI_COMMON_Q_SELECT, 2 },
		{ VIRTIO_PCI_COMMON_Q_SIZE, 2 },    { VIRTIO_PCI_COMMON_Q_MSIX, 2 },   { VIRTIO_PCI_COMMON_Q_ENABLE, 2 },
		{ VIRTIO_PCI_COMMON_Q_DESCLO, 4 },  { VIRTIO_PCI_COMMON_Q_DESCHI, 4 }, { VIRTIO_PCI_COMMON_Q_AVAILLO, 4 },
		{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4 }, { VIRTIO_PCI_COMMON_Q_USEDLO, 4 }, { VIRTIO_PCI_COMMON_Q_USEDHI, 4 },
		{ VIRTIO_PCI_COMMON_Q_RESET, 2 },
	};
	size_t i;

	for (i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
		uint32_t value = 0;

		if (writable[i].offset < offset || !vtr_range_fits(writable[i].offset - offset, writable[i].size, length))
			continue;
		memcpy(&value, buffer + (writable[i].offset - offset), writable[i].size);
		write_register(function, writable[i].offset, le32toh(value));
	}
}
