/* SPDX-License-Identifier: MIT */
#include "vfio/device.h"

#include <linux/pci_regs.h>

/*
 * Where the guest has put a device's BARs, read from the device's configuration space as the guest wrote it (PCI Local
 * Bus 3.0, 6.2.5).
 *
 * A BAR register holds nonsense at times: all ones while the guest asks for its size, zero before it is programmed. An address that
 * ends at the top of its address space is that of the former, one of zero that of the latter, and neither is where a BAR can be:
 * they are not taken. With memory decoding off no BAR answers, but its last address is remembered, so that a range that lies in a
 * BAR which is away can be told from one that lies nowhere.
 */

static uint16_t read16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t read32(const uint8_t *at)
{
	return (uint32_t)read16(at) | (uint32_t)read16(at + 2) << 16;
}

static bool is_place(uint64_t address, uint64_t size, uint64_t top)
{
	return address && size && address % size == 0 && size - 1 <= top && address < top - (size - 1);
}

/* Takes what a memory BAR's register says; decodes: the device's memory decoding is on. True when that is news. */
static bool set_bar(struct vtr_vfio_region *region, uint64_t address, uint64_t top, bool decodes)
{
	bool decoded = decodes && is_place(address, region->size, top);
	bool changed = decoded != region->decoded || (decoded && address != region->address);

	if (decoded)
		region->address = address;
	region->decoded = decoded;
	return changed;
}

bool vtr_vfio_decode_bars(const uint8_t header[VTR_VFIO_HEADER], struct vtr_vfio_region regions[VTR_VFIO_BARS])
{
	bool decodes = read16(header + PCI_COMMAND) & PCI_COMMAND_MEMORY;
	bool changed = false;

	/* a device that has gone reads as all ones */
	if ((header[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) != PCI_HEADER_TYPE_NORMAL)
		return vtr_vfio_forget_bars(regions);
	for (unsigned i = 0; i < VTR_VFIO_BARS; i++) {
		uint32_t low = read32(header + PCI_BASE_ADDRESS_0 + 4 * i);
		bool memory = (low & PCI_BASE_ADDRESS_SPACE) == PCI_BASE_ADDRESS_SPACE_MEMORY;
		bool wide =
			memory && (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 && i + 1 < VTR_VFIO_BARS;
		uint64_t address = memory ? low & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK : 0;

		if (wide)
			address |= (uint64_t)read32(header + PCI_BASE_ADDRESS_0 + 4 * i + 4) << 32;
		changed |= set_bar(&regions[i], address, wide ? UINT64_MAX : UINT32_MAX, decodes);
		if (wide)
			changed |= set_bar(&regions[++i], 0, UINT32_MAX, false); // the upper half is no BAR
	}
	return changed;
}

bool vtr_vfio_forget_bars(struct vtr_vfio_region regions[VTR_VFIO_BARS])
{
	bool changed = false;

	for (unsigned i = 0; i < VTR_VFIO_BARS; i++) {
		changed |= regions[i].decoded;
		regions[i].decoded = false;
	}
	return changed;
}
