/* SPDX-License-Identifier: MIT */
/*
 * vfio-mapped: memory of a real VFIO device in a guest memory map, as root in a small guest. Prints one TAP line a check.
 *
 *   vfio-mapped BDF
 *
 * BDF: a device whose BAR 2 is 64 MiB of plain memory (ivshmem-plain). This program is the VMM as well: it writes to the BAR, turns
 * the device's memory decoding off and on, and moves the BAR in its configuration space.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/vfio.h>

#include "checks.h"

enum { PAGE = 4096, BAR = 2, BAR_SIZE = 64 << 20, FRAME = 1 << 20, ROUNDS = 20 };

static struct {
	int fd;        // the VMM's
	uint8_t *data; // its mapping of the BAR
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vfio_assigned *assigned;
	struct vtr_vfio_device *device;
	unsigned changes;
} machine;

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i + (i >> 8) * 3 + (i >> 16) * 7);
}

static uint64_t bar_address(void)
{
	return vtr_vfio_device_region(machine.device, BAR)->address;
}

static void on_change(void *data)
{
	machine.changes++;
}

static void turn(void)
{
	for (int i = 0; i < 3; i++)
		must(vtr_loop_dispatch(machine.loop, 0) == 0, "the loop");
}

static void set_up(const char *bdf)
{
	struct vtr_error error = { 0 };
	char text[32];

	snprintf(text, sizeof(text), "bdf=%s", bdf);
	machine.fd = vtr_vfio_acquire(text, &error);
	must(machine.fd >= 0, error.text);
	set_decoding(machine.fd, true);
	machine.loop = vtr_loop_create();
	machine.memory = vtr_memory_create();
	machine.assigned = vtr_vfio_assigned_create(machine.loop, machine.memory);
	must(machine.assigned, "memory");
	vtr_vfio_assigned_on_change(machine.assigned, on_change, NULL);
	machine.device = vtr_vfio_assigned_add(machine.assigned, fcntl(machine.fd, F_DUPFD_CLOEXEC, 0), &error);
	check(machine.device, "mapped: the device is assigned", "%s", error.text);
	must(machine.device, "the device");
	const struct vtr_vfio_region *region = vtr_vfio_device_region(machine.device, BAR);
	machine.data = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, machine.fd, (off_t)region->offset);
	must(machine.data != MAP_FAILED, "map the BAR");
	for (size_t i = 0; i < FRAME; i++)
		machine.data[i] = pattern(i);
	turn();
}

/* The region at the BAR's address. */
static const struct vtr_region *find_region(void)
{
	const struct vtr_region *region;

	for (size_t i = 0; (region = vtr_memory_region(machine.memory, i)); i++)
		if (region->address == bar_address())
			return region;
	return NULL;
}

/* Reads length bytes at offset of the BAR, by guest address: 0, -errno, or 1 when they are wrong. */
static int read_right(uint64_t address, size_t offset, size_t length)
{
	uint8_t *bytes = malloc(length);
	int code;

	must(bytes, "memory");
	memset(bytes, 0xee, length);
	code = vtr_memory_read(machine.memory, address + offset, bytes, length);
	for (size_t i = 0; !code && i < length; i++)
		code = bytes[i] != pattern(offset + i);
	free(bytes);
	return code;
}

static void check_region(const char *what, enum vtr_region_kind kind)
{
	const struct vtr_region *region = find_region();
	char name[96];

	snprintf(name, sizeof(name), "mapped: %s: the BAR is a region that the CPU can read", what);
	check(region && region->kind == kind && region->data && region->size == BAR_SIZE, name, "%s",
	      region ? vtr_region_kind_name(region->kind) : "no region");
	snprintf(name, sizeof(name), "mapped: %s: all bytes are right", what);
	check(read_right(bar_address(), 0, FRAME) == 0, name, "%d", read_right(bar_address(), 0, FRAME));
	bool odd = true;
	for (size_t i = 0; i < 70; i++)
		odd &= read_right(bar_address(), i, 70 - i) == 0 && read_right(bar_address(), PAGE - i, 2 * i + 1) == 0;
	snprintf(name, sizeof(name), "mapped: %s: so are they from and to everywhere", what);
	check(odd, name, "they are not");
}

/* Rows of a picture in shuffled pages, as they are gathered for a display. */
static void check_gather(void)
{
	enum { PAGES = FRAME / PAGE, STRIDE = 1024, ROW = 1000 };
	static struct vtr_mem_entry entries[PAGES];
	static uint8_t picture[FRAME];
	struct vtr_error error = { 0 };
	struct vtr_spans spans;
	bool right = true;

	for (size_t i = 0; i < PAGES; i++)
		entries[i] = (struct vtr_mem_entry){ .address = bar_address() + i * 37 % PAGES * PAGE, .length = PAGE };
	int code = vtr_spans_resolve_named(&spans, machine.memory, entries, PAGES, &error);
	check(code == 0 && spans.cpu, "mapped: shuffled pages are spans that the CPU can read", "%s", error.text);
	code = vtr_spans_gather(&spans, 0, STRIDE, FRAME / STRIDE, ROW, picture, STRIDE);
	for (size_t i = 0; i < FRAME; i++)
		right &= i % STRIDE >= ROW || picture[i] == pattern(i / PAGE * 37 % PAGES * PAGE + i % PAGE);
	check(code == 0 && right, "mapped: their rows are gathered", "%d, bytes are %s", code, right ? "right" : "wrong");
	struct vtr_view *view = vtr_view_create(&spans, &error);
	check(view && vtr_view_is_copy(view), "mapped: a view of them is a copy", "%s", error.text);
	set_decoding(machine.fd, false);
	code = vtr_view_refresh(view, &spans, &error);
	check(code == -EFAULT, "mapped: decoding off: a view is not brought up to date", "%d", code);
	set_decoding(machine.fd, true);
	code = vtr_view_refresh(view, &spans, &error);
	check(code == 0 && !memcmp((const uint8_t *)vtr_view_data(view) + PAGE, machine.data + 37 * PAGE, PAGE),
	      "mapped: decoding on again: it is", "%d", code);
	vtr_view_destroy(view);
	vtr_spans_finish(&spans);
}

/* The guest turns decoding off: the kernel takes the pages away, also from us. */
static void check_decoding(const char *what)
{
	unsigned changes = machine.changes;
	char name[96];
	int off = -EFAULT, on = 0;

	for (int i = 0; i < ROUNDS && off == -EFAULT && !on; i++) {
		set_decoding(machine.fd, false);
		off = read_right(bar_address(), 0, FRAME);
		if (off == -EFAULT)
			off = read_right(bar_address(), FRAME - 1, 1);
		turn();
		set_decoding(machine.fd, true);
		on = read_right(bar_address(), 0, FRAME);
		turn();
	}
	snprintf(name, sizeof(name), "mapped: %s: decoding off: reading fails with EFAULT", what);
	check(off == -EFAULT, name, "%d", off);
	snprintf(name, sizeof(name), "mapped: %s: decoding on again: all bytes are right", what);
	check(on == 0, name, "%d", on);
	snprintf(name, sizeof(name), "mapped: %s: going and coming back are noticed and told", what);
	check(machine.changes == changes + 2 * ROUNDS, name, "%u of %d", machine.changes - changes, 2 * ROUNDS);
}

/* The guest moves the BAR, and nobody tells. */
static void check_moved(void)
{
	const struct vtr_vfio_region *region = vtr_vfio_device_region(machine.device, BAR);
	uint32_t low;
	off_t at = (off_t)config_offset(machine.fd) + PCI_BASE_ADDRESS_0 + 4 * BAR;
	uint64_t before = region->address, after = before ^ (UINT64_C(1) << 27);

	must(pread(machine.fd, &low, sizeof(low), at) == sizeof(low), "read the BAR");
	low ^= 1 << 27;
	must(pwrite(machine.fd, &low, sizeof(low), at) == sizeof(low), "move the BAR");
	const struct vtr_mem_entry entry = { .address = after, .length = PAGE };
	struct vtr_error error = { 0 };
	struct vtr_spans spans = { 0 };
	int code = vtr_spans_resolve_named(&spans, machine.memory, &entry, 1, &error);
	check(code == 0 && region->address == after, "mapped: moved: what the guest names there is found at once", "%s",
	      error.text);
	check(read_right(after, 0, FRAME) == 0, "mapped: moved: all bytes are right", "%d", read_right(after, 0, FRAME));
	check(read_right(before, 0, PAGE) == -EFAULT, "mapped: moved: there is nothing at the old place", "%d",
	      read_right(before, 0, PAGE));
	vtr_spans_finish(&spans);
	low ^= 1 << 27;
	must(pwrite(machine.fd, &low, sizeof(low), at) == sizeof(low), "move the BAR back");
	code = vtr_spans_resolve_named(&spans, machine.memory, &entry, 1, &error);
	check(code == -EFAULT && region->address == before, "mapped: moved back: the other place is not believed", "%d", code);
	check(read_right(before, 0, FRAME) == 0, "mapped: moved back: all bytes are right", "%d", read_right(before, 0, FRAME));
	vtr_spans_finish(&spans);
}

/* The VMM announces the BAR without an fd, as QEMU before 11.0. */
static void check_announced(void)
{
	int code = vtr_memory_add(machine.memory, bar_address(), BAR_SIZE, -1, 0, true);

	check(code == 0, "mapped: the VMM announces the BAR where ours is", "%d", code);
	turn();
	check_region("announced", VTR_REGION_REMOTE);
	check_decoding("announced");
	code = vtr_memory_remove(machine.memory, bar_address(), BAR_SIZE);
	turn();
	check(code == 0 && find_region() && find_region()->kind == VTR_REGION_VFIO,
	      "mapped: the VMM takes it back: ours is there again", "%d", code);
}

/* Nothing of the device is held when it was let go: the last fd is the VMM's. */
static void check_let_go(const char *bdf)
{
	struct vtr_error error = { 0 };
	uint64_t address = bar_address();
	char text[32];
	int code = vtr_vfio_assigned_remove(machine.assigned, bdf);

	check(code == 0, "mapped: the device is let go by its name", "%d", code);
	check(read_right(address, 0, 1) == -EFAULT, "mapped: its memory is not in the map any more", "it is");
	munmap(machine.data, BAR_SIZE);
	close(machine.fd);
	snprintf(text, sizeof(text), "bdf=%s", bdf);
	int fd = vtr_vfio_acquire(text, &error);
	check(fd >= 0, "mapped: somebody else can open it", "%s", error.text);
	close(fd);
}

int main(int argc, char **argv)
{
	must(argc == 2, "vfio-mapped BDF");
	set_up(argv[1]);
	check_region("not announced", VTR_REGION_VFIO);
	check_gather();
	check_decoding("not announced");
	check_moved();
	check_announced();
	check_let_go(argv[1]);
	vtr_vfio_assigned_destroy(machine.assigned);
	vtr_memory_destroy(machine.memory);
	vtr_loop_destroy(machine.loop);
	print_plan();
	return 0;
}
