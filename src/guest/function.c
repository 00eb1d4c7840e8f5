/* SPDX-License-Identifier: MIT */
#include "guest/function.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <vitrine/loop.h>

#include "util/checked.h"
#include "util/fd.h"

enum {
	VENDOR_VIRTIO = 0x1af4,
	DEVICE_MODERN_FIRST = 0x1040,
	DEVICE_MODERN_LAST = 0x107f,
	CONFIG_SPACE_SIZE = 256,
	CAPABILITIES_START = 0x40,
};

static uint64_t read_region(struct vtr_guest_function *function, unsigned region, uint64_t offset, unsigned width)
{
	uint64_t value = 0;

	if (!function->error)
		function->error = vtr_vfio_user_read(function->client, region, offset, &value, width);
	return function->error ? 0 : value;
}

static void write_region(struct vtr_guest_function *function, unsigned region, uint64_t offset, unsigned width, uint64_t value)
{
	if (!function->error)
		function->error = vtr_vfio_user_write(function->client, region, offset, &value, width, false);
}

uint32_t vtr_guest_config_space_read(struct vtr_guest_function *function, uint32_t offset, unsigned width)
{
	return (uint32_t)read_region(function, VFIO_PCI_CONFIG_REGION_INDEX, offset, width);
}

void vtr_guest_config_space_write(struct vtr_guest_function *function, uint32_t offset, unsigned width, uint32_t value)
{
	write_region(function, VFIO_PCI_CONFIG_REGION_INDEX, offset, width, value);
}

/* Is the access inside the structure, so that a test of the device does not become an error of ours? */
static bool inside(struct vtr_guest_function *function, const struct vtr_guest_structure *structure, uint32_t offset,
                   unsigned width)
{
	if (!function->error && (!structure->found || !vtr_range_fits(offset, width, structure->length)))
		function->error = -ERANGE;
	return !function->error;
}

uint64_t vtr_guest_function_read(struct vtr_guest_function *function, const struct vtr_guest_structure *structure, uint32_t offset,
                                 unsigned width)
{
	if (!inside(function, structure, offset, width))
		return 0;
	uint64_t at = (uint64_t)structure->offset + offset;
	if (width < 8)
		return read_region(function, structure->bar, at, width);
	uint64_t low = read_region(function, structure->bar, at, 4);
	return low | read_region(function, structure->bar, at + 4, 4) << 32;
}

void vtr_guest_function_write(struct vtr_guest_function *function, const struct vtr_guest_structure *structure, uint32_t offset,
                              unsigned width, uint64_t value)
{
	if (!inside(function, structure, offset, width))
		return;
	uint64_t at = (uint64_t)structure->offset + offset;
	write_region(function, structure->bar, at, width < 8 ? width : 4, value);
	if (width == 8)
		write_region(function, structure->bar, at + 4, 4, value >> 32);
}

int vtr_guest_function_check(struct vtr_guest_function *function)
{
	int error = function->error;

	function->error = 0;
	return error;
}

/* ---- what is there ---- */

static struct vtr_guest_structure *structure_of(struct vtr_guest_function *function, uint8_t type)
{
	switch (type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		return &function->common;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		return &function->notify;
	case VIRTIO_PCI_CAP_ISR_CFG:
		return &function->isr;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		return &function->config;
	case VIRTIO_PCI_CAP_PCI_CFG:
		return &function->pci;
	default:
		return NULL;
	}
}

/* The first of each type is the one the device likes best (virtio 1.3, 4.1.4). */
static void read_vendor_capability(struct vtr_guest_function *function, uint8_t position)
{
	uint8_t type = (uint8_t)vtr_guest_config_space_read(function, position + offsetof(struct virtio_pci_cap, cfg_type), 1);
	struct vtr_guest_structure *structure = structure_of(function, type);

	if (!structure || structure->found)
		return;
	*structure = (struct vtr_guest_structure){
		.found = true,
		.type = type,
		.position = position,
		.bar = (uint8_t)vtr_guest_config_space_read(function, position + offsetof(struct virtio_pci_cap, bar), 1),
		.offset = vtr_guest_config_space_read(function, position + offsetof(struct virtio_pci_cap, offset), 4),
		.length = vtr_guest_config_space_read(function, position + offsetof(struct virtio_pci_cap, length), 4),
	};
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		function->notify_multiplier = vtr_guest_config_space_read(
			function, position + offsetof(struct virtio_pci_notify_cap, notify_off_multiplier), 4);
}

static void read_msix_capability(struct vtr_guest_function *function, uint8_t position)
{
	uint32_t table = vtr_guest_config_space_read(function, position + PCI_MSIX_TABLE, 4);
	uint32_t pba = vtr_guest_config_space_read(function, position + PCI_MSIX_PBA, 4);

	function->msix_position = position;
	function->msix_vectors =
		(uint16_t)((vtr_guest_config_space_read(function, position + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1);
	function->msix_table_bar = table & PCI_MSIX_TABLE_BIR;
	function->msix_table_offset = table & PCI_MSIX_TABLE_OFFSET;
	function->msix_pba_bar = pba & PCI_MSIX_PBA_BIR;
	function->msix_pba_offset = pba & PCI_MSIX_PBA_OFFSET;
}

/* Follows the list; a list that loops ends when it has given more entries than fit. */
static int read_capabilities(struct vtr_guest_function *function, struct vtr_error *error)
{
	if (!(vtr_guest_config_space_read(function, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "the PCI function has no capability list");

	uint8_t position = vtr_guest_config_space_read(function, PCI_CAPABILITY_LIST, 1) & 0xfc;

	while (position && !function->error) {
		if (position < CAPABILITIES_START || ++function->n_capabilities > (CONFIG_SPACE_SIZE - CAPABILITIES_START) / 4)
			return vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "the PCI capability list loops or leads to 0x%02x",
			                     position);
		uint8_t id = (uint8_t)vtr_guest_config_space_read(function, position + PCI_CAP_LIST_ID, 1);
		if (id == PCI_CAP_ID_VNDR)
			read_vendor_capability(function, position);
		else if (id == PCI_CAP_ID_MSIX)
			read_msix_capability(function, position);
		position = vtr_guest_config_space_read(function, position + PCI_CAP_LIST_NEXT, 1) & 0xfc;
	}
	return 0;
}

/* Sizes a BAR as an operating system does: all ones in, size mask out, old value back (PCI 3.0, 6.2.5.1). Returns BARs used. */
static unsigned size_bar(struct vtr_guest_function *function, unsigned i)
{
	struct vtr_guest_bar *bar = &function->bars[i];
	uint32_t at = PCI_BASE_ADDRESS_0 + 4 * i;
	uint32_t old = vtr_guest_config_space_read(function, at, 4), old_high = 0;

	bar->io = old & PCI_BASE_ADDRESS_SPACE_IO;
	bar->is_64 = !bar->io && (old & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 && i + 1 < VTR_GUEST_BARS;
	bar->prefetchable = !bar->io && (old & PCI_BASE_ADDRESS_MEM_PREFETCH);

	vtr_guest_config_space_write(function, at, 4, UINT32_MAX);
	uint64_t mask = vtr_guest_config_space_read(function, at, 4) & (bar->io ? ~UINT32_C(3) : ~UINT32_C(15));
	if (bar->is_64) {
		old_high = vtr_guest_config_space_read(function, at + 4, 4);
		vtr_guest_config_space_write(function, at + 4, 4, UINT32_MAX);
		mask |= (uint64_t)vtr_guest_config_space_read(function, at + 4, 4) << 32;
		vtr_guest_config_space_write(function, at + 4, 4, old_high);
	} else if (mask) {
		mask |= UINT64_MAX << 32;
	}
	vtr_guest_config_space_write(function, at, 4, old);
	bar->size = mask ? ~mask + 1 : 0;
	return bar->is_64 ? 2 : 1;
}

static int read_regions(struct vtr_guest_function *function, struct vtr_error *error)
{
	uint32_t flags, n_regions, n_irqs;
	int result = vtr_vfio_user_device_info(function->client, &flags, &n_regions, &n_irqs);

	if (result)
		return vtr_error_set(error, VTR_ERROR_HOST, -result, "asking for the device's regions failed: %s",
		                     strerror(-result));
	if (!(flags & VFIO_DEVICE_FLAGS_PCI) || n_regions <= VFIO_PCI_CONFIG_REGION_INDEX || n_irqs <= VFIO_PCI_MSIX_IRQ_INDEX)
		return vtr_error_set(error, VTR_ERROR_HOST, EPROTO,
		                     "the device is no PCI function (flags 0x%x, %u regions, %u irqs)", flags, n_regions, n_irqs);
	for (unsigned i = 0; i <= VFIO_PCI_CONFIG_REGION_INDEX; i++) {
		struct vfio_region_info region = { .argsz = sizeof(region), .index = i };
		int fd;

		result = vtr_vfio_user_region_info(function->client, &region, &fd);
		vtr_fd_close(&fd); /* registers are read and written by messages */
		if (result)
			return vtr_error_set(error, VTR_ERROR_HOST, -result, "asking for region %u failed: %s", i,
			                     strerror(-result));
		function->region_flags[i] = region.flags;
		if (i < VTR_GUEST_BARS)
			function->bars[i].region = region.size;
	}
	return 0;
}

/* Everything a driver needs is there and lies inside its BAR. */
static int check_structures(struct vtr_guest_function *function, struct vtr_error *error)
{
	const struct {
		const struct vtr_guest_structure *structure;
		uint32_t needs;
		const char *name;
	} wanted[] = {
		{ &function->common, VIRTIO_PCI_COMMON_Q_USEDHI + 4, "common" },
		{ &function->notify, 2, "notify" },
		{ &function->isr, 1, "ISR" },
		{ &function->config, 16, "device" },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const struct vtr_guest_structure *s = wanted[i].structure;

		if (!s->found)
			return vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "the function has no %s configuration structure",
			                     wanted[i].name);
		if (s->length < wanted[i].needs || s->bar >= VTR_GUEST_BARS ||
		    !vtr_range_fits(s->offset, s->length, function->bars[s->bar].region))
			return vtr_error_set(
				error, VTR_ERROR_HOST, EPROTO,
				"the %s configuration structure (BAR %u, offset 0x%x, length 0x%x) is not inside its BAR",
				wanted[i].name, s->bar, s->offset, s->length);
	}
	if (!function->msix_position)
		return vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "the function has no MSI-X capability");
	return 0;
}

static void read_identity(struct vtr_guest_function *function)
{
	function->vendor = (uint16_t)vtr_guest_config_space_read(function, PCI_VENDOR_ID, 2);
	function->device = (uint16_t)vtr_guest_config_space_read(function, PCI_DEVICE_ID, 2);
	function->subsystem_vendor = (uint16_t)vtr_guest_config_space_read(function, PCI_SUBSYSTEM_VENDOR_ID, 2);
	function->subsystem = (uint16_t)vtr_guest_config_space_read(function, PCI_SUBSYSTEM_ID, 2);
	uint32_t class_revision = vtr_guest_config_space_read(function, PCI_CLASS_REVISION, 4);
	function->revision = (uint8_t)class_revision;
	function->class_code = class_revision >> 8;
	function->interrupt_pin = (uint8_t)vtr_guest_config_space_read(function, PCI_INTERRUPT_PIN, 1);
}

int vtr_guest_function_init(struct vtr_guest_function *function, struct vtr_vfio_user_client *client, struct vtr_error *error)
{
	*function = (struct vtr_guest_function){ .client = client };
	int result = read_regions(function, error);
	if (result)
		return result;

	read_identity(function);
	if (!function->error &&
	    (function->vendor != VENDOR_VIRTIO || function->device < DEVICE_MODERN_FIRST || function->device > DEVICE_MODERN_LAST))
		return vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "%04x:%04x is no modern virtio device", function->vendor,
		                     function->device);
	for (unsigned i = 0; i < VTR_GUEST_BARS;)
		i += size_bar(function, i);
	result = read_capabilities(function, error);
	if (result)
		return result;
	vtr_guest_config_space_write(function, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	if (function->msix_position)
		vtr_guest_config_space_write(function, function->msix_position + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	result = vtr_guest_function_check(function);
	if (result)
		return vtr_error_set(error, VTR_ERROR_HOST, -result, "reading PCI configuration space failed: %s",
		                     strerror(-result));
	return check_structures(function, error);
}

/* ---- device status and features ---- */

uint64_t vtr_guest_function_features(struct vtr_guest_function *function)
{
	uint64_t features = 0;

	for (uint32_t half = 0; half < 2; half++) {
		vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
		features |= vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_DF, 4) << (32 * half);
	}
	return features;
}

uint8_t vtr_guest_function_status(struct vtr_guest_function *function)
{
	return (uint8_t)vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_STATUS, 1);
}

void vtr_guest_function_set_status(struct vtr_guest_function *function, uint8_t status)
{
	vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_STATUS, 1, status);
}

int vtr_guest_function_reset(struct vtr_guest_function *function, int timeout_ms)
{
	uint64_t deadline = vtr_now_ns() + (uint64_t)timeout_ms * 1000000;

	vtr_guest_function_set_status(function, 0);
	while (vtr_guest_function_status(function) && !function->error) {
		if (vtr_now_ns() > deadline)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return vtr_guest_function_check(function);
}

int vtr_guest_function_negotiate(struct vtr_guest_function *function, uint64_t features)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE;

	vtr_guest_function_set_status(function, status);
	vtr_guest_function_set_status(function, status |= VIRTIO_CONFIG_S_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
		vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * half)));
	}
	vtr_guest_function_set_status(function, status |= VIRTIO_CONFIG_S_FEATURES_OK);
	bool accepted = vtr_guest_function_status(function) & VIRTIO_CONFIG_S_FEATURES_OK;
	int result = vtr_guest_function_check(function);
	return result ? result : accepted ? 0 : -ENOTSUP;
}
