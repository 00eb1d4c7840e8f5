/* SPDX-License-Identifier: MIT */
/*
 * Configuration space of the PCI function (PCI 3.0, 6; virtio 1.3, 4.1.2 to 4.1.4).
 *
 * The space is two arrays: the bytes, and a mask of the bits that a write may change. That alone gives the command register, the
 * MSI-X control word, and the sizing of BARs: the bits below a BAR's size cannot be written, so all ones read back as the size. The
 * one register with a mind of its own is pci_cfg_data of VIRTIO_PCI_CAP_PCI_CFG (virtio 1.3, 4.1.4.9), a window to the BARs for
 * drivers that cannot map them: an access that begins at it and is no wider goes on to the BAR that the capability names. A dump of
 * the whole space passes over it without effect.
 */
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "util/checked.h"
#include "virtio/pci_function.h"

enum {
	VENDOR_ID = 0x1af4,
	DEVICE_ID_BASE = 0x1040, /* virtio 1.3, 4.1.2.1 */
	REVISION_ID = 1,
	SUBSYSTEM_ID = 0x1100,
	FIRST_CAPABILITY = 0x40,
	PCI_CFG_DATA = sizeof(struct virtio_pci_cap), /* in its capability */
	PCI_CFG_DATA_SIZE = 4,
};

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

static uint32_t get32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return le32toh(value);
}

/* Capabilities are appended one behind the other; `link` is where the next one's offset goes. */
struct layout {
	struct vtr_pci_function *function;
	uint8_t next, link;
};

/* Returns the offset of a capability of length bytes, in the list and otherwise empty. */
static uint8_t add_capability(struct layout *layout, uint8_t id, uint8_t length)
{
	uint8_t *config = layout->function->config;
	const uint8_t at = layout->next;

	assert(at + length <= VTR_PCI_CONFIG_SIZE);
	config[layout->link] = at;
	config[at + PCI_CAP_LIST_ID] = id;
	layout->link = (uint8_t)(at + PCI_CAP_LIST_NEXT);
	layout->next = (uint8_t)((at + length + 3) & ~3);
	return at;
}

static void add_msix(struct layout *layout)
{
	struct vtr_pci_function *function = layout->function;
	const uint8_t at = add_capability(layout, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	uint8_t *cap = function->config + at;

	put16(cap + PCI_MSIX_FLAGS, (uint16_t)(function->n_vectors - 1));
	put32(cap + PCI_MSIX_TABLE, VTR_PCI_MSIX_BAR);
	put32(cap + PCI_MSIX_PBA, VTR_PCI_MSIX_PBA | VTR_PCI_MSIX_BAR);
	put16(function->config_mask + at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	function->msix_cap = at;
}

/* virtio 1.3, 4.1.4 */
static uint8_t add_virtio_capability(struct layout *layout, uint8_t cfg_type, uint8_t length, uint32_t offset, uint32_t size)
{
	const uint8_t at = add_capability(layout, PCI_CAP_ID_VNDR, length);
	uint8_t *cap = layout->function->config + at;

	cap[VIRTIO_PCI_CAP_LEN] = length;
	cap[VIRTIO_PCI_CAP_CFG_TYPE] = cfg_type;
	cap[VIRTIO_PCI_CAP_BAR] = cfg_type == VIRTIO_PCI_CAP_PCI_CFG ? 0 : VTR_PCI_VIRTIO_BAR;
	put32(cap + VIRTIO_PCI_CAP_OFFSET, offset);
	put32(cap + VIRTIO_PCI_CAP_LENGTH, size);
	return at;
}

static void add_window(struct layout *layout, const struct vtr_pci_window *window)
{
	const bool notify = window->cfg_type == VIRTIO_PCI_CAP_NOTIFY_CFG;
	const uint8_t length = notify ? sizeof(struct virtio_pci_notify_cap) : sizeof(struct virtio_pci_cap);
	uint8_t at;

	if (window->length == 0)
		return;
	at = add_virtio_capability(layout, window->cfg_type, length, window->offset, window->length);
	if (notify)
		put32(layout->function->config + at + VIRTIO_PCI_NOTIFY_CAP_MULT, VTR_PCI_NOTIFY_MULTIPLIER);
}

static void add_pci_cfg(struct layout *layout)
{
	struct vtr_pci_function *function = layout->function;
	const uint8_t at = add_virtio_capability(layout, VIRTIO_PCI_CAP_PCI_CFG, sizeof(struct virtio_pci_cfg_cap), 0, 0);

	function->config_mask[at + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(function->config_mask + at + VIRTIO_PCI_CAP_OFFSET, 0xff, sizeof(uint32_t));
	memset(function->config_mask + at + VIRTIO_PCI_CAP_LENGTH, 0xff, sizeof(uint32_t));
	memset(function->config_mask + at + PCI_CFG_DATA, 0xff, PCI_CFG_DATA_SIZE);
	function->pci_cfg_cap = at;
}

static void init_bars(struct vtr_pci_function *function)
{
	const unsigned msix = PCI_BASE_ADDRESS_0 + 4 * VTR_PCI_MSIX_BAR;
	const unsigned virtio = PCI_BASE_ADDRESS_0 + 4 * VTR_PCI_VIRTIO_BAR;

	put32(function->config_mask + msix, ~(VTR_PCI_MSIX_BAR_SIZE - 1u));
	put32(function->config + virtio, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	put32(function->config_mask + virtio, ~(VTR_PCI_VIRTIO_BAR_SIZE - 1u));
	put32(function->config_mask + virtio + 4, UINT32_MAX);
}

void vtr_pci_config_init(struct vtr_pci_function *function)
{
	struct layout layout = { .function = function, .next = FIRST_CAPABILITY, .link = PCI_CAPABILITY_LIST };
	uint8_t *config = function->config, *mask = function->config_mask;
	size_t i;

	memset(config, 0, VTR_PCI_CONFIG_SIZE);
	memset(mask, 0, VTR_PCI_CONFIG_SIZE);
	put16(config + PCI_VENDOR_ID, VENDOR_ID);
	put16(config + PCI_DEVICE_ID, (uint16_t)(DEVICE_ID_BASE + function->device->id));
	put16(config + PCI_STATUS, PCI_STATUS_CAP_LIST);
	put32(config + PCI_CLASS_REVISION, function->class_code << 8 | REVISION_ID);
	put16(config + PCI_SUBSYSTEM_VENDOR_ID, VENDOR_ID);
	put16(config + PCI_SUBSYSTEM_ID, SUBSYSTEM_ID);
	config[PCI_INTERRUPT_PIN] = 1; /* INTA# */
	put16(mask + PCI_COMMAND,
	      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	mask[PCI_CACHE_LINE_SIZE] = 0xff;
	mask[PCI_LATENCY_TIMER] = 0xff;
	mask[PCI_INTERRUPT_LINE] = 0xff;
	init_bars(function);
	add_msix(&layout);
	for (i = 0; i < VTR_PCI_WINDOWS; i++)
		add_window(&layout, &function->windows[i]);
	add_pci_cfg(&layout);
}

/* The access through pci_cfg_data: fills in where it goes; false when the capability's fields do not name a proper one. */
static bool data_access(const struct vtr_pci_function *function, unsigned *bar, uint32_t *offset, uint32_t *length)
{
	const uint8_t *cap = function->config + function->pci_cfg_cap;

	*bar = cap[VIRTIO_PCI_CAP_BAR];
	*offset = get32(cap + VIRTIO_PCI_CAP_OFFSET);
	*length = get32(cap + VIRTIO_PCI_CAP_LENGTH);
	return *bar <= VFIO_PCI_BAR5_REGION_INDEX && (*length == 1 || *length == 2 || *length == 4) && *offset % *length == 0;
}

static bool is_data_access(const struct vtr_pci_function *function, uint32_t offset, uint32_t length)
{
	return offset == function->pci_cfg_cap + (uint32_t)PCI_CFG_DATA && length <= PCI_CFG_DATA_SIZE;
}

void vtr_pci_config_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length)
{
	uint32_t bar_offset, bar_length;
	unsigned bar;

	if (is_data_access(function, offset, length) && data_access(function, &bar, &bar_offset, &bar_length)) {
		/* a range outside of the BAR leaves the bytes as they are */
		vtr_pci_read(function, bar, bar_offset, function->config + offset, bar_length);
	}
	memcpy(buffer, function->config + offset, length);
}

void vtr_pci_config_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length)
{
	uint32_t bar_offset, bar_length, i;
	unsigned bar;

	for (i = 0; i < length; i++) {
		const uint8_t mask = function->config_mask[offset + i];

		function->config[offset + i] = (uint8_t)((function->config[offset + i] & ~mask) | (buffer[i] & mask));
	}
	if (is_data_access(function, offset, length) && data_access(function, &bar, &bar_offset, &bar_length))
		vtr_pci_write(function, bar, bar_offset, function->config + offset, bar_length);
	if (vtr_ranges_overlap(offset, length, PCI_COMMAND, 2) ||
	    vtr_ranges_overlap(offset, length, function->msix_cap + PCI_MSIX_FLAGS, 2))
		vtr_pci_irq_update(function);
}
