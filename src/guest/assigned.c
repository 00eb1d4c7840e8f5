/* SPDX-License-Identifier: MIT */
/*
 * The guest's assigned device.
 *
 * A VMM that assigns a device to its guest does three things that matter here: it puts the device's BARs where the guest's firmware
 * wants them, it lets the device reach the guest's memory, and it tells every other device where the BARs are. All of it is done
 * over vfio-user, so this guest is the client of two servers, and either may be a liar. What the device says is checked where VFIO
 * devices are made (src/vfio); what is done with it here ends within the client's time-out.
 *
 * The device's requests (DMA_READ, DMA_WRITE) are served within any of its own calls and while the guest waits for the display
 * device; while a call to the display device is under way they wait. The display device's requests for a BAR that is in no file
 * are passed on by messages: then the assigned device is called from within a call of the other client, which is all right, as
 * nothing of the assigned device's leads back there.
 */
#include "guest/assigned.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/machine.h"
#include "util/checked.h"

/* Where BARs go: below the interrupt controllers, and in the window for 64-bit BARs, next to what plays remote memory. */
#define LOW_BEGIN UINT64_C(0xe0000000)
#define LOW_MIDDLE UINT64_C(0xf0000000)
#define LOW_END UINT64_C(0xfec00000)
#define HIGH_BEGIN UINT64_C(0x380000000000)
#define HIGH_MIDDLE UINT64_C(0x388000000000)
#define HIGH_END UINT64_C(0x390000000000)

enum { PAGE = 4096, BAR_REGISTERS = 6 };

static int lost(struct vtr_guest *guest, const char *what, int result)
{
	return vtr_guest_fail(guest, -result, "the assigned device: %s failed: %s", what, strerror(-result));
}

static const struct vtr_vfio_region *the_bar(const struct vtr_guest_assigned *assigned)
{
	return vtr_vfio_device_region(assigned->device, assigned->bar);
}

/* ---- its view of the guest ---- */

static int serve_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct vtr_guest *guest = data;
	const void *from = vtr_guest_data(guest, address, length);

	if (!from)
		return -EFAULT;
	memcpy(buffer, from, length);
	guest->assigned->dma_bytes += length;
	return 0;
}

static int serve_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	struct vtr_guest *guest = data;
	void *to = vtr_guest_data(guest, address, length);

	if (!to)
		return -EFAULT;
	memcpy(to, buffer, length);
	guest->assigned->dma_bytes += length;
	return 0;
}

static const struct vtr_vfio_user_dma_impl dma_impl = { .read = serve_read, .write = serve_write };

static int give_memory(struct vtr_guest *guest)
{
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++) {
		const struct vtr_guest_area *area = &guest->areas[i];

		if (i == VTR_GUEST_BAR)
			continue;
		int result = vtr_vfio_user_dma_map(guest->assigned->client, area->address, area->size, area->fd, 0, true);
		if (result)
			return lost(guest, "giving it the guest's memory", result);
	}
	return 0;
}

/* ---- where its BARs are ---- */

static int read_config(struct vtr_guest_assigned *assigned, uint64_t offset, void *buffer, size_t length)
{
	return vtr_vfio_user_read(assigned->client, VFIO_PCI_CONFIG_REGION_INDEX, offset, buffer, length);
}

/* Posted: an error shows in what is read afterwards. */
static void write_config(struct vtr_guest_assigned *assigned, uint64_t offset, const void *bytes, size_t length)
{
	vtr_vfio_user_write(assigned->client, VFIO_PCI_CONFIG_REGION_INDEX, offset, bytes, length, true);
}

struct window {
	uint64_t next, end;
};

/* The next place for a BAR, or 0 when there is none. */
static uint64_t allot(struct window *window, uint64_t size)
{
	uint64_t address = (window->next + size - 1) & ~(size - 1);

	if (address < window->next || address >= window->end || size > window->end - address)
		return 0;
	window->next = address + size;
	return address;
}

/* One BAR, beginning at register i. The number of registers that it takes, or -errno. */
static int place_bar(struct vtr_guest *guest, uint32_t i, uint32_t old, struct window windows[2])
{
	const struct vtr_vfio_region *region = vtr_vfio_device_region(guest->assigned->device, i);
	bool memory = (old & PCI_BASE_ADDRESS_SPACE) == PCI_BASE_ADDRESS_SPACE_MEMORY;
	bool wide = memory && (old & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 && i + 1 < BAR_REGISTERS;

	if (!region->size || !memory)
		return wide ? 2 : 1;
	if (!vtr_is_power_of_two(region->size))
		return vtr_guest_fail(guest, EPROTO, "the assigned device: BAR %u has %llu bytes, which is no power of two", i,
		                      (unsigned long long)region->size);
	uint64_t address = allot(&windows[wide], region->size < PAGE ? PAGE : region->size);
	if (!address)
		return vtr_guest_fail(guest, ENOSPC, "the assigned device: no room for the %llu bytes of BAR %u",
		                      (unsigned long long)region->size, i);
	write_config(guest->assigned, PCI_BASE_ADDRESS_0 + 4 * i, &address, 4);
	if (wide)
		write_config(guest->assigned, PCI_BASE_ADDRESS_0 + 4 * i + 4, (const uint8_t *)&address + 4, 4);
	return wide ? 2 : 1;
}

static int place_bars(struct vtr_guest *guest, bool elsewhere)
{
	struct window windows[] = { { elsewhere ? LOW_MIDDLE : LOW_BEGIN, LOW_END },
		                    { elsewhere ? HIGH_MIDDLE : HIGH_BEGIN, HIGH_END } };
	uint32_t registers[BAR_REGISTERS];
	int result = read_config(guest->assigned, PCI_BASE_ADDRESS_0, registers, sizeof(registers));

	if (result)
		return lost(guest, "reading its BARs", result);
	for (uint32_t i = 0; i < BAR_REGISTERS; i += (uint32_t)result) {
		result = place_bar(guest, i, registers[i], windows);
		if (result < 0)
			return result;
	}
	return 0;
}

/* The address follows from the BAR, as the device says where it is. */
static int look_for_bar(struct vtr_guest *guest, bool on)
{
	struct vtr_guest_assigned *assigned = guest->assigned;
	int result = vtr_vfio_device_refresh(assigned->device);

	if (result < 0)
		return lost(guest, "asking where its BARs are", result);
	if (the_bar(assigned)->decoded != on)
		return vtr_guest_fail(guest, EPROTO, "the assigned device: BAR %u %s", assigned->bar,
		                      on ? "does not answer where it was put" : "cannot be turned off");
	guest->areas[VTR_GUEST_BAR].address = the_bar(assigned)->address + assigned->area;
	return 0;
}

int vtr_guest_assigned_decode(struct vtr_guest *guest, bool on)
{
	uint16_t command;
	int result = read_config(guest->assigned, PCI_COMMAND, &command, sizeof(command));

	if (result)
		return lost(guest, "reading its command register", result);
	command = (uint16_t)(on ? command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER : command & ~PCI_COMMAND_MEMORY);
	write_config(guest->assigned, PCI_COMMAND, &command, sizeof(command));
	return look_for_bar(guest, on);
}

int vtr_guest_assigned_place(struct vtr_guest *guest, bool elsewhere)
{
	struct vtr_guest_assigned *assigned = guest->assigned;

	vtr_vfio_user_cork(assigned->client);
	int result = place_bars(guest, elsewhere);
	int sent = vtr_vfio_user_uncork(assigned->client);
	if (!result && sent)
		result = lost(guest, "placing its BARs", sent);
	return result ? result : vtr_guest_assigned_decode(guest, true);
}

/* ---- its memory ---- */

/* The pages of a mappable part; false when it has none. */
static bool whole_pages(const struct vtr_vfio_area *area, uint64_t *offset, uint64_t *size)
{
	uint64_t end = (area->offset + area->size) & ~(uint64_t)(PAGE - 1);

	*offset = (area->offset + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	*size = end > *offset ? end - *offset : 0;
	return *size;
}

/* The largest part of a BAR that may be accessed directly; size 0 when there is none. */
static void largest_part(const struct vtr_vfio_region *region, uint64_t *offset, uint64_t *size)
{
	*offset = *size = 0;
	for (size_t i = 0; region->fd >= 0 && i < region->n_areas; i++) {
		uint64_t begin, bytes;

		if (!whole_pages(&region->areas[i], &begin, &bytes) || bytes <= *size)
			continue;
		*offset = begin;
		*size = bytes;
	}
}

/* The BAR that pictures go to: that with the most memory in one piece, or else the largest. */
static bool choose_bar(struct vtr_guest_assigned *assigned)
{
	uint64_t best = 0, largest = 0;

	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++) {
		const struct vtr_vfio_region *region = vtr_vfio_device_region(assigned->device, i);
		uint64_t offset, size;

		largest_part(region, &offset, &size);
		if (size < best || (size == best && (size || region->size <= largest)))
			continue;
		best = size;
		largest = region->size;
		assigned->bar = i;
	}
	return largest;
}

static int make_area(struct vtr_guest *guest)
{
	struct vtr_guest_assigned *assigned = guest->assigned;
	uint64_t size;

	if (!choose_bar(assigned))
		return vtr_guest_fail(guest, ENODEV, "the assigned device has no BAR");
	const struct vtr_vfio_region *region = the_bar(assigned);
	largest_part(region, &assigned->area, &size);
	if (!size) {
		guest->areas[VTR_GUEST_BAR] = (struct vtr_guest_area){ .size = region->size, .fd = -1, .memfd = -1 };
		return 0;
	}
	int result = vtr_guest_area_init_file(&guest->areas[VTR_GUEST_BAR], size, region->fd, region->offset + assigned->area);
	return result ? lost(guest, "mapping its BAR", result) : 0;
}

static int map_part(struct vtr_guest *guest, uint64_t offset, uint64_t size, int fd)
{
	const struct vtr_vfio_region *region = the_bar(guest->assigned);

	return guest->link->impl->map(guest->link, region->address + offset, size, fd, region->offset + offset, true);
}

static int unmap_part(struct vtr_guest *guest, uint64_t offset, uint64_t size, int fd)
{
	return guest->link->impl->unmap(guest->link, the_bar(guest->assigned)->address + offset, size);
}

/* Calls func for each part of the BAR that the display device is told about, until one fails; *done counts those that did not. */
static int each_part(struct vtr_guest *guest, int (*func)(struct vtr_guest *, uint64_t, uint64_t, int), size_t *done)
{
	const struct vtr_vfio_region *region = the_bar(guest->assigned);
	int result = 0;

	*done = 0;
	if (guest->areas[VTR_GUEST_BAR].fd < 0)
		return func(guest, 0, region->size, -1);
	for (size_t i = 0; i < region->n_areas && !result; i++) {
		uint64_t offset, size;

		if (!whole_pages(&region->areas[i], &offset, &size))
			continue;
		result = func(guest, offset, size, region->fd);
		*done += !result;
	}
	return result;
}

int vtr_guest_assigned_map(struct vtr_guest *guest)
{
	size_t mapped, unmapped;
	int result = each_part(guest, map_part, &mapped);

	if (result && mapped)
		each_part(guest, unmap_part, &unmapped);
	guest->areas[VTR_GUEST_BAR].mapped = !result;
	return result ? vtr_guest_fail(guest, -result, "giving the assigned device's BAR failed: %s", strerror(-result)) : 0;
}

int vtr_guest_assigned_unmap(struct vtr_guest *guest)
{
	size_t unmapped;
	int result = each_part(guest, unmap_part, &unmapped);

	if (result)
		return vtr_guest_fail(guest, -result, "taking the assigned device's BAR away failed: %s", strerror(-result));
	guest->areas[VTR_GUEST_BAR].mapped = false;
	return 0;
}

/* Where in the BAR a guest address is. */
static bool find_offset(const struct vtr_guest *guest, uint64_t address, size_t length, uint64_t *offset)
{
	const struct vtr_vfio_region *region;

	if (!guest->assigned)
		return false;
	region = the_bar(guest->assigned);
	*offset = address - region->address;
	return address >= region->address && vtr_range_fits(*offset, length, region->size);
}

int vtr_guest_assigned_read(struct vtr_guest *guest, uint64_t address, void *buffer, size_t length)
{
	uint64_t offset;

	if (!find_offset(guest, address, length, &offset))
		return -EFAULT;
	return vtr_vfio_user_read(guest->assigned->client, guest->assigned->bar, offset, buffer, length);
}

int vtr_guest_assigned_write(struct vtr_guest *guest, uint64_t address, const void *buffer, size_t length)
{
	uint64_t offset;

	if (!find_offset(guest, address, length, &offset))
		return -EFAULT;
	return vtr_vfio_user_write(guest->assigned->client, guest->assigned->bar, offset, buffer, length, true);
}

const char *vtr_guest_assigned_kind(const struct vtr_guest_assigned *assigned)
{
	const struct vtr_vfio_region *region = the_bar(assigned);

	return region->sealed ? "sealed memfd" : region->n_areas ? "file" : "messages";
}

/* ---- life ---- */

static int connect_device(struct vtr_guest *guest, const char *path)
{
	struct vtr_guest_assigned *assigned = guest->assigned;
	struct vtr_error error;

	assigned->client = vtr_vfio_user_client_connect(path, guest->timeout_ms);
	if (!assigned->client)
		return vtr_guest_fail(guest, errno, "cannot talk to a device to assign at %s: %s%s", path, strerror(errno),
		                      errno == ENOENT || errno == ECONNREFUSED ? "; start its vfio-user server first" : "");
	vtr_vfio_user_client_set_dma(assigned->client, &dma_impl, guest);
	assigned->device = vtr_vfio_device_create_user(assigned->client, "the assigned device", &error);
	return assigned->device ? 0 : vtr_guest_fail(guest, error.code, "%s", error.text);
}

static int read_identity(struct vtr_guest *guest)
{
	struct vtr_guest_assigned *assigned = guest->assigned;
	uint16_t ids[2];
	int result = read_config(assigned, PCI_VENDOR_ID, ids, sizeof(ids));

	for (uint32_t i = 0; i < VTR_GUEST_IRQ_KINDS && !result; i++)
		result = vtr_vfio_user_irq_count(assigned->client, VFIO_PCI_INTX_IRQ_INDEX + i, &assigned->irqs[i]);
	if (result)
		return lost(guest, "asking for its ids and interrupts", result);
	assigned->vendor_id = ids[0];
	assigned->device_id = ids[1];
	return 0;
}

int vtr_guest_assigned_open(struct vtr_guest *guest, const char *text)
{
	static const char scheme[] = "vfio-user=";

	if (strncmp(text, scheme, sizeof(scheme) - 1) != 0 || !text[sizeof(scheme) - 1])
		return vtr_guest_fail(guest, EINVAL, "\"%s\" cannot be assigned: vfio-user=PATH is expected", text);
	guest->assigned = calloc(1, sizeof(*guest->assigned));
	if (!guest->assigned)
		return vtr_guest_fail(guest, ENOMEM, "out of memory");
	int result = connect_device(guest, text + sizeof(scheme) - 1);
	if (!result)
		result = read_identity(guest);
	if (!result)
		result = make_area(guest);
	if (!result)
		result = vtr_guest_assigned_place(guest, false);
	return result ? result : give_memory(guest);
}

void vtr_guest_assigned_close(struct vtr_guest *guest)
{
	if (!guest->assigned)
		return;
	vtr_vfio_device_destroy(guest->assigned->device);
	vtr_vfio_user_client_destroy(guest->assigned->client);
	free(guest->assigned);
	guest->assigned = NULL;
}
