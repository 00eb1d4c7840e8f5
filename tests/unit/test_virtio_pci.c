/* SPDX-License-Identifier: MIT */
/* The virtio-pci function as a driver and a VFIO client see it: configuration space, registers, doorbells, interrupts. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_pci.h>
#include <sys/eventfd.h>

#include "virtio/pci.h"

#include "fake_device.h"
#include "vring.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,
	INTX = VFIO_PCI_INTX_IRQ_INDEX,
	MSIX = VFIO_PCI_MSIX_IRQ_INDEX,
	VECTORS = FAKE_QUEUES + 1,
	BASE = 0x10000,
	DATA = 0x18000,
	RAM_SIZE = 0x10000,
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK,
};

/* Where a capability says that its structure is. */
struct location {
	unsigned bar;
	uint64_t offset, length;
};

struct fixture {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct vring_driver ring;
	struct fake_device fake;
	struct vtr_pci_function *function;
	struct location common, notify, isr, device;
	unsigned pci_cfg, msix; /* offsets in configuration space */
	uint32_t multiplier;
};

/* ---- accesses ---- */

static uint64_t get(struct fixture *f, unsigned region, uint64_t offset, size_t length)
{
	uint64_t value = 0;

	g_assert_cmpint(vtr_pci_read(f->function, region, offset, &value, length), ==, 0);
	return le64toh(value);
}

static void set(struct fixture *f, unsigned region, uint64_t offset, uint64_t value, size_t length)
{
	value = htole64(value);
	g_assert_cmpint(vtr_pci_write(f->function, region, offset, &value, length), ==, 0);
}

static uint64_t get_common(struct fixture *f, unsigned offset, size_t length)
{
	return get(f, f->common.bar, f->common.offset + offset, length);
}

static void set_common(struct fixture *f, unsigned offset, uint64_t value, size_t length)
{
	set(f, f->common.bar, f->common.offset + offset, value, length);
}

static uint8_t status(struct fixture *f)
{
	return (uint8_t)get_common(f, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(struct fixture *f, uint8_t value)
{
	set_common(f, VIRTIO_PCI_COMMON_STATUS, value, 1);
}

static uint8_t read_isr(struct fixture *f)
{
	return (uint8_t)get(f, f->isr.bar, f->isr.offset, 1);
}

/* ---- finding things as a driver does ---- */

static void find_vendor_capability(struct fixture *f, unsigned at)
{
	const struct location where = {
		.bar = (unsigned)get(f, CONFIG, at + VIRTIO_PCI_CAP_BAR, 1),
		.offset = get(f, CONFIG, at + VIRTIO_PCI_CAP_OFFSET, 4),
		.length = get(f, CONFIG, at + VIRTIO_PCI_CAP_LENGTH, 4),
	};

	switch (get(f, CONFIG, at + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		f->common = where;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		f->notify = where;
		f->multiplier = (uint32_t)get(f, CONFIG, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		g_assert_cmpuint(get(f, CONFIG, at + VIRTIO_PCI_CAP_LEN, 1), ==, 20);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		f->isr = where;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		f->device = where;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		f->pci_cfg = at;
		break;
	default:
		g_assert_not_reached();
	}
}

static void find_capabilities(struct fixture *f)
{
	unsigned at = (unsigned)get(f, CONFIG, PCI_CAPABILITY_LIST, 1), count = 0;

	g_assert_true(get(f, CONFIG, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	for (; at; at = (unsigned)get(f, CONFIG, at + PCI_CAP_LIST_NEXT, 1)) {
		g_assert_cmpuint(at % 4, ==, 0);
		g_assert_cmpuint(++count, <, 16);
		if (get(f, CONFIG, at, 1) == PCI_CAP_ID_MSIX)
			f->msix = at;
		else
			find_vendor_capability(f, at);
	}
}

static void set_up(struct fixture *f)
{
	*f = (struct fixture){ .loop = vtr_loop_create(), .memory = vtr_memory_create() };
	guest_ram_init(&f->ram, BASE, RAM_SIZE);
	g_assert_cmpint(guest_ram_add(&f->ram, f->memory), ==, 0);
	fake_device_init(&f->fake, f->memory, f->loop);
	f->function = vtr_pci_create(&f->fake.base, 0x038000);
	g_assert_nonnull(f->function);
	find_capabilities(f);
}

static void tear_down(struct fixture *f)
{
	vtr_pci_destroy(f->function);
	fake_device_finish(&f->fake);
	vtr_memory_destroy(f->memory);
	guest_ram_finish(&f->ram);
	vtr_loop_destroy(f->loop);
}

static void dispatch(struct fixture *f)
{
	g_assert_cmpint(vtr_loop_dispatch(f->loop, 0), ==, 0);
}

static void negotiate(struct fixture *f)
{
	unsigned word;

	set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	for (word = 0; word < 2; word++) {
		set_common(f, VIRTIO_PCI_COMMON_DFSELECT, word, 4);
		set_common(f, VIRTIO_PCI_COMMON_GFSELECT, word, 4);
		set_common(f, VIRTIO_PCI_COMMON_GF, get_common(f, VIRTIO_PCI_COMMON_DF, 4), 4);
	}
	set_status(f, READY);
	g_assert_cmpuint(status(f), ==, READY);
}

static void start_queue(struct fixture *f, uint16_t queue, uint16_t size)
{
	vring_driver_init(&f->ring, &f->ram, BASE, size);
	set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, queue, 2);
	set_common(f, VIRTIO_PCI_COMMON_Q_SIZE, size, 2);
	set_common(f, VIRTIO_PCI_COMMON_Q_DESCLO, f->ring.desc, 4);
	set_common(f, VIRTIO_PCI_COMMON_Q_DESCHI, f->ring.desc >> 32, 4);
	set_common(f, VIRTIO_PCI_COMMON_Q_AVAILLO, f->ring.avail, 4);
	set_common(f, VIRTIO_PCI_COMMON_Q_AVAILHI, f->ring.avail >> 32, 4);
	set_common(f, VIRTIO_PCI_COMMON_Q_USEDLO, f->ring.used, 4);
	set_common(f, VIRTIO_PCI_COMMON_Q_USEDHI, f->ring.used >> 32, 4);
	set_common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	g_assert_cmpuint(get_common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
}

static void go_live(struct fixture *f)
{
	negotiate(f);
	start_queue(f, 0, 16);
	set_status(f, READY | VIRTIO_CONFIG_S_DRIVER_OK);
	dispatch(f);
}

/* A request of 8 bytes that the fake device answers with the same bytes. */
static void publish(struct fixture *f)
{
	vring_put_desc(&f->ring, f->ring.desc, 0, DATA, 8, VRING_DESC_F_NEXT, 1);
	vring_put_desc(&f->ring, f->ring.desc, 1, DATA + 64, 8, VRING_DESC_F_WRITE, 0);
	vring_set_used_event(&f->ring, f->ring.avail_idx);
	vring_publish(&f->ring, 0);
}

static void ring_doorbell(struct fixture *f, unsigned queue, size_t width)
{
	uint64_t off;

	set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, queue, 2);
	off = f->notify.offset + get_common(f, VIRTIO_PCI_COMMON_Q_NOFF, 2) * f->multiplier;
	set(f, f->notify.bar, off, queue, width);
}

static void exchange(struct fixture *f)
{
	publish(f);
	ring_doorbell(f, 0, 2);
	dispatch(f);
}

/* An eventfd given to the function, whose counter the test reads through a duplicate. */
static int give_eventfd(struct fixture *f, unsigned irq, unsigned vector)
{
	const int fd = eventfd(0, EFD_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	vtr_pci_set_irq(f->function, irq, vector, fcntl(fd, F_DUPFD_CLOEXEC, 0));
	return fd;
}

static uint64_t take(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* ---- configuration space ---- */

static void test_identity(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmphex(get(&f, CONFIG, PCI_VENDOR_ID, 2), ==, 0x1af4);
	g_assert_cmphex(get(&f, CONFIG, PCI_DEVICE_ID, 2), ==, 0x1050);
	g_assert_cmphex(get(&f, CONFIG, PCI_REVISION_ID, 1), ==, 1);
	g_assert_cmphex(get(&f, CONFIG, PCI_CLASS_PROG, 1), ==, 0x00);
	g_assert_cmphex(get(&f, CONFIG, PCI_CLASS_DEVICE, 2), ==, 0x0380);
	g_assert_cmphex(get(&f, CONFIG, PCI_SUBSYSTEM_VENDOR_ID, 2), ==, 0x1af4);
	g_assert_cmphex(get(&f, CONFIG, PCI_SUBSYSTEM_ID, 2), ==, 0x1100);
	g_assert_cmphex(get(&f, CONFIG, PCI_HEADER_TYPE, 1), ==, PCI_HEADER_TYPE_NORMAL);
	g_assert_cmphex(get(&f, CONFIG, PCI_INTERRUPT_PIN, 1), ==, 1);
	/* none of it can be written */
	set(&f, CONFIG, PCI_VENDOR_ID, 0, 4);
	set(&f, CONFIG, PCI_CLASS_REVISION, UINT32_MAX, 4);
	g_assert_cmphex(get(&f, CONFIG, PCI_VENDOR_ID, 4), ==, 0x10501af4);
	g_assert_cmphex(get(&f, CONFIG, PCI_CLASS_REVISION, 4), ==, 0x03800001);
	tear_down(&f);
}

static void test_capabilities(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmpuint(f.common.length, ==, 64);
	g_assert_cmpuint(f.isr.length, ==, 1);
	g_assert_cmpuint(f.device.length, ==, FAKE_CONFIG_SIZE);
	g_assert_cmpuint(f.notify.length, ==, FAKE_QUEUES * f.multiplier);
	g_assert_cmpuint(f.common.bar, ==, 4);
	g_assert_cmpuint(f.isr.bar, ==, 4);
	g_assert_cmpuint(f.device.bar, ==, 4);
	g_assert_cmpuint(f.notify.bar, ==, 4);
	g_assert_cmpuint(f.pci_cfg, !=, 0);
	/* a page each */
	g_assert_cmpuint(f.common.offset >> 12, !=, f.notify.offset >> 12);
	g_assert_cmpuint(f.isr.offset >> 12, !=, f.notify.offset >> 12);
	g_assert_cmpuint(f.device.offset >> 12, !=, f.notify.offset >> 12);
	g_assert_cmpuint(get(&f, CONFIG, f.msix + PCI_MSIX_FLAGS, 2), ==, VECTORS - 1);
	g_assert_cmpuint(get(&f, CONFIG, f.msix + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_BIR, ==, 1);
	g_assert_cmpuint(get(&f, CONFIG, f.msix + PCI_MSIX_PBA, 4) & PCI_MSIX_PBA_BIR, ==, 1);
	g_assert_cmpuint(get(&f, CONFIG, f.msix + PCI_MSIX_PBA, 4) & PCI_MSIX_PBA_OFFSET, >=, 16 * VECTORS);
	tear_down(&f);
}

static const struct bar_row {
	const char *name;
	unsigned bar;
	uint32_t sized; /* what all ones read back as */
	uint32_t kept;  /* what 0xfebf7000 reads back as */
} bar_rows[] = {
	{ "none-0", 0, 0, 0 },        { "msix", 1, 0xfffff000, 0xfebf7000 },       { "none-2", 2, 0, 0 },
	{ "none-3", 3, 0, 0 },        { "virtio-low", 4, 0xffffc00c, 0xfebf400c }, { "virtio-high", 5, 0xffffffff, 0xfebf7000 },
	{ "expansion-rom", 8, 0, 0 },
};

static void test_bar(const void *data)
{
	const struct bar_row *row = data;
	const unsigned at = row->bar == 8 ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * row->bar;
	struct fixture f;

	set_up(&f);
	set(&f, CONFIG, at, UINT32_MAX, 4);
	g_assert_cmphex(get(&f, CONFIG, at, 4), ==, row->sized);
	/* the address bits above the size are kept, the type bits stay */
	set(&f, CONFIG, at, 0xfebf7000, 4);
	g_assert_cmphex(get(&f, CONFIG, at, 4), ==, row->kept);
	vtr_pci_reset(f.function);
	g_assert_cmphex(get(&f, CONFIG, at, 4), ==, row->bar == 4 ? 0xc : 0);
	tear_down(&f);
}

static void test_command(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmphex(get(&f, CONFIG, PCI_COMMAND, 2), ==, 0);
	set(&f, CONFIG, PCI_COMMAND, 0xffff, 2);
	g_assert_cmphex(get(&f, CONFIG, PCI_COMMAND, 2), ==,
	                PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	set(&f, CONFIG, PCI_COMMAND + 1, 0, 1);
	g_assert_cmphex(get(&f, CONFIG, PCI_COMMAND, 2), ==, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY);
	set(&f, CONFIG, PCI_INTERRUPT_LINE, 0xff0b, 2);
	g_assert_cmphex(get(&f, CONFIG, PCI_INTERRUPT_LINE, 2), ==, 0x010b);
	set(&f, CONFIG, f.msix + PCI_MSIX_FLAGS, 0xffff, 2);
	g_assert_cmphex(get(&f, CONFIG, f.msix + PCI_MSIX_FLAGS, 2), ==,
	                PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL | (VECTORS - 1));
	vtr_pci_reset(f.function);
	g_assert_cmphex(get(&f, CONFIG, PCI_COMMAND, 2), ==, 0);
	g_assert_cmphex(get(&f, CONFIG, f.msix + PCI_MSIX_FLAGS, 2), ==, VECTORS - 1);
	tear_down(&f);
}

/* ---- regions ---- */

static const struct range_row {
	const char *name;
	unsigned region;
	uint64_t offset;
	size_t length;
	int result;
} range_rows[] = {
	{ "config-last-byte", CONFIG, 255, 1, 0 },
	{ "config-beyond", CONFIG, 256, 1, -EINVAL },
	{ "config-across-the-end", CONFIG, 254, 4, -EINVAL },
	{ "config-whole", CONFIG, 0, 256, 0 },
	{ "msix-whole", 1, 0, 0x1000, 0 },
	{ "msix-beyond", 1, 0x1000, 1, -EINVAL },
	{ "virtio-whole", 4, 0, 0x4000, 0 },
	{ "virtio-beyond", 4, 0x3fff, 2, -EINVAL },
	{ "virtio-wraps", 4, UINT64_MAX, 2, -EINVAL },
	{ "virtio-huge", 4, 0, SIZE_MAX, -EINVAL },
	{ "virtio-nothing", 4, 0x4000, 0, 0 },
	{ "no-bar-0", 0, 0, 1, -EINVAL },
	{ "no-bar-5", 5, 0, 1, -EINVAL },
	{ "no-rom", VFIO_PCI_ROM_REGION_INDEX, 0, 1, -EINVAL },
	{ "no-vga", VFIO_PCI_VGA_REGION_INDEX, 0, 1, -EINVAL },
	{ "no-region-9", 9, 0, 1, -EINVAL },
	{ "no-region-max", UINT32_MAX, 0, 1, -EINVAL },
};

static void test_range(const void *data)
{
	const struct range_row *row = data;
	uint8_t buffer[0x4000] = { 0 };
	struct fixture f;

	set_up(&f);
	g_assert_cmpint(vtr_pci_read(f.function, row->region, row->offset, buffer, row->length), ==, row->result);
	g_assert_cmpint(vtr_pci_write(f.function, row->region, row->offset, buffer, row->length), ==, row->result);
	tear_down(&f);
}

static void test_region_sizes(const void *data)
{
	static const uint64_t sizes[] = { 0, 0x1000, 0, 0, 0x4000, 0, 0, 256, 0, 0 };
	struct fixture f;
	unsigned i;

	set_up(&f);
	for (i = 0; i < G_N_ELEMENTS(sizes); i++)
		g_assert_cmphex(vtr_pci_region_size(f.function, i), ==, sizes[i]);
	tear_down(&f);
}

/* Every offset with every width up to 16, in two states of the device: nothing breaks, and the gaps read as 0. */
static void test_odd_accesses(const void *data)
{
	static const unsigned regions[] = { 1, 4, CONFIG };
	struct fixture f;
	size_t i, length, offset;

	set_up(&f);
	for (i = 0; i < G_N_ELEMENTS(regions); i++) {
		const uint64_t size = vtr_pci_region_size(f.function, regions[i]);

		for (offset = 0; offset < size; offset++) {
			if (offset % 0x800 == 0x200)
				offset += 0x600 - 64;
			for (length = 1; length <= 16 && offset + length <= size; length++) {
				uint8_t buffer[16];

				g_assert_cmpint(vtr_pci_read(f.function, regions[i], offset, buffer, length), ==, 0);
				memset(buffer, (int)(offset * 31 + length), sizeof(buffer));
				g_assert_cmpint(vtr_pci_write(f.function, regions[i], offset, buffer, length), ==, 0);
			}
		}
	}
	dispatch(&f);
	vtr_pci_reset(f.function);
	g_assert_cmphex(get(&f, 4, 0x0ffc, 4), ==, 0);
	g_assert_cmphex(get(&f, 4, 0x1004, 4), ==, 0);
	go_live(&f);
	exchange(&f);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 1);
	tear_down(&f);
}

static void test_device_config(const void *data)
{
	const uint64_t at = 0x2000;
	struct fixture f;

	set_up(&f);
	g_assert_cmphex(get(&f, 4, at, 4), ==, 0xa3a2a1a0);
	g_assert_cmphex(get(&f, 4, at + 5, 2), ==, 0xa6a5);
	/* the end of the structure is the end */
	g_assert_cmphex(get(&f, 4, at + FAKE_CONFIG_SIZE - 2, 4), ==, 0xb7b6);
	set(&f, 4, at + FAKE_CONFIG_SIZE - 1, 0xffffff11, 4);
	g_assert_cmphex(f.fake.config[FAKE_CONFIG_SIZE - 1], ==, 0x11);
	set(&f, 4, at - 2, 0x33220000, 4);
	g_assert_cmphex(get(&f, 4, at, 4), ==, 0xa3a23322);
	tear_down(&f);
}

static void test_msix_table(const void *data)
{
	struct fixture f;
	unsigned i;

	set_up(&f);
	for (i = 0; i < VECTORS; i++)
		g_assert_cmphex(get(&f, 1, 16 * i + PCI_MSIX_ENTRY_VECTOR_CTRL, 4), ==, PCI_MSIX_ENTRY_CTRL_MASKBIT);
	set(&f, 1, 16, 0xfee00000, 8);
	g_assert_cmphex(get(&f, 1, 16, 8), ==, 0xfee00000);
	set(&f, 1, 16 * VECTORS, UINT64_MAX, 8);
	g_assert_cmphex(get(&f, 1, 16 * VECTORS, 8), ==, 0);
	set(&f, 1, 0x800, UINT64_MAX, 8);
	g_assert_cmphex(get(&f, 1, 0x800, 8), ==, 0);
	tear_down(&f);
}

/* ---- VIRTIO_PCI_CAP_PCI_CFG ---- */

static void aim(struct fixture *f, unsigned bar, uint64_t offset, uint32_t length)
{
	set(f, CONFIG, f->pci_cfg + VIRTIO_PCI_CAP_BAR, bar, 1);
	set(f, CONFIG, f->pci_cfg + VIRTIO_PCI_CAP_OFFSET, offset, 4);
	set(f, CONFIG, f->pci_cfg + VIRTIO_PCI_CAP_LENGTH, length, 4);
}

static void test_pci_cfg(const void *data)
{
	const unsigned window = 16;
	struct fixture f;

	set_up(&f);
	aim(&f, f.common.bar, f.common.offset + VIRTIO_PCI_COMMON_NUMQ, 2);
	g_assert_cmphex(get(&f, CONFIG, f.pci_cfg + window, 2), ==, FAKE_QUEUES);
	aim(&f, f.device.bar, f.device.offset + 4, 4);
	g_assert_cmphex(get(&f, CONFIG, f.pci_cfg + window, 4), ==, 0xa7a6a5a4);
	aim(&f, f.device.bar, f.device.offset + 1, 1);
	g_assert_cmphex(get(&f, CONFIG, f.pci_cfg + window, 1), ==, 0xa1);
	/* writes */
	aim(&f, f.common.bar, f.common.offset + VIRTIO_PCI_COMMON_STATUS, 1);
	set(&f, CONFIG, f.pci_cfg + window, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
	g_assert_cmphex(status(&f), ==, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	aim(&f, f.common.bar, f.common.offset + VIRTIO_PCI_COMMON_Q_SELECT, 2);
	set(&f, CONFIG, f.pci_cfg + window, 1, 2);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_Q_SELECT, 2), ==, 1);
	aim(&f, f.common.bar, f.common.offset + VIRTIO_PCI_COMMON_DFSELECT, 4);
	set(&f, CONFIG, f.pci_cfg + window, 1, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_DFSELECT, 4), ==, 1);
	tear_down(&f);
}

static void test_pci_cfg_doorbell(const void *data)
{
	struct fixture f;

	set_up(&f);
	go_live(&f);
	publish(&f);
	aim(&f, f.notify.bar, f.notify.offset, 2);
	set(&f, CONFIG, f.pci_cfg + 16, 0, 2);
	dispatch(&f);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 1);
	/* reading the ISR through it clears it; a dump of the whole space does not */
	aim(&f, f.isr.bar, f.isr.offset, 1);
	{
		uint8_t all[256];

		g_assert_cmpint(vtr_pci_read(f.function, CONFIG, 0, all, sizeof(all)), ==, 0);
	}
	g_assert_cmphex(get(&f, CONFIG, f.pci_cfg + 16, 1), ==, 1);
	g_assert_cmphex(get(&f, CONFIG, f.pci_cfg + 16, 1), ==, 0);
	tear_down(&f);
}

static const struct aim_row {
	const char *name;
	unsigned bar;
	uint64_t offset;
	uint32_t length;
} aim_rows[] = {
	{ "length-0", 4, 0x2000, 0 },       { "length-3", 4, 0x2000, 3 },
	{ "length-8", 4, 0x2000, 8 },       { "unaligned", 4, 0x2002, 4 },
	{ "beyond-the-bar", 4, 0x4000, 4 }, { "far-beyond", 4, 0xfffffffc, 4 },
	{ "no-such-bar", 2, 0, 4 },         { "rom", VFIO_PCI_ROM_REGION_INDEX, 0, 4 },
	{ "config-itself", CONFIG, 0, 4 },  { "bar-255", 255, 0, 4 },
};

static void test_pci_cfg_bad(const void *data)
{
	const struct aim_row *row = data;
	struct fixture f;

	set_up(&f);
	aim(&f, row->bar, row->offset, row->length);
	g_assert_cmphex(get(&f, CONFIG, f.pci_cfg + 16, 4), ==, 0);
	set(&f, CONFIG, f.pci_cfg + 16, UINT32_MAX, 4);
	g_assert_cmphex(get(&f, 4, 0x2000, 4), ==, 0xa3a2a1a0);
	g_assert_cmphex(status(&f), ==, 0);
	tear_down(&f);
}

/* ---- the common configuration structure ---- */

static void test_feature_select(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_DF, 4), ==, 0x0e | BIT(28) | BIT(29));
	set_common(&f, VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_DF, 4), ==, BIT(0) | BIT(1) | BIT(8));
	set_common(&f, VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_DF, 4), ==, 0);
	set_common(&f, VIRTIO_PCI_COMMON_DFSELECT, UINT32_MAX, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_DF, 4), ==, 0);
	set_common(&f, VIRTIO_PCI_COMMON_DF, UINT32_MAX, 4);
	set_common(&f, VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_DF, 4), ==, 0x0e | BIT(28) | BIT(29));
	/* the driver's words */
	set_common(&f, VIRTIO_PCI_COMMON_GF, 0x02, 4);
	set_common(&f, VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	set_common(&f, VIRTIO_PCI_COMMON_GF, 0x01, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_GF, 4), ==, 0x01);
	set_common(&f, VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_GF, 4), ==, 0x02);
	set_common(&f, VIRTIO_PCI_COMMON_GFSELECT, 7, 4);
	set_common(&f, VIRTIO_PCI_COMMON_GF, 0, 4);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_GF, 4), ==, 0);
	set_status(&f, READY);
	g_assert_cmphex(status(&f), ==, READY);
	g_assert_cmphex(vtr_virtio_driver_features(&f.fake.base), ==, 0x02 | BIT(32));
	tear_down(&f);
}

static void test_features_refused(const void *data)
{
	struct fixture f;

	set_up(&f);
	set_common(&f, VIRTIO_PCI_COMMON_GF, 0x01, 4); /* VIRGL is not offered */
	set_common(&f, VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	set_common(&f, VIRTIO_PCI_COMMON_GF, 0x01, 4);
	set_status(&f, READY);
	g_assert_cmphex(status(&f), ==, READY & ~VIRTIO_CONFIG_S_FEATURES_OK);
	tear_down(&f);
}

static void test_queue_select(const void *data)
{
	static const uint16_t beyond[] = { FAKE_QUEUES, 100, 0xffff };
	struct fixture f;
	size_t i;

	set_up(&f);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_NUMQ, 2), ==, FAKE_QUEUES);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, FAKE_QUEUE_SIZE);
	set_common(&f, VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 16);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_NOFF, 2), ==, 1);
	for (i = 0; i < G_N_ELEMENTS(beyond); i++) {
		set_common(&f, VIRTIO_PCI_COMMON_Q_SELECT, beyond[i], 2);
		g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SELECT, 2), ==, beyond[i]);
		g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 0);
		g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
		set_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 8, 2);
		set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 0, 2);
		set_common(&f, VIRTIO_PCI_COMMON_Q_DESCLO, 0x1000, 4);
		set_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
		set_common(&f, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
		g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 0);
		g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
	}
	tear_down(&f);
}

static const struct size_row {
	const char *name;
	uint16_t written, read;
} size_rows[] = {
	{ "smaller", 16, 16 },
	{ "one", 1, 1 },
	{ "same", FAKE_QUEUE_SIZE, FAKE_QUEUE_SIZE },
	{ "larger", 2 * FAKE_QUEUE_SIZE, FAKE_QUEUE_SIZE },
	{ "zero", 0, FAKE_QUEUE_SIZE },
	{ "not-a-power-of-two", 48, FAKE_QUEUE_SIZE },
	{ "max", 0xffff, FAKE_QUEUE_SIZE },
};

static void test_queue_size(const void *data)
{
	const struct size_row *row = data;
	struct fixture f;

	set_up(&f);
	set_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, row->written, 2);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, row->read);
	tear_down(&f);
}

static void test_queue_addresses(const void *data)
{
	static const unsigned offsets[] = { VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_PCI_COMMON_Q_USEDLO };
	struct fixture f;
	size_t i;

	set_up(&f);
	for (i = 0; i < G_N_ELEMENTS(offsets); i++) {
		set_common(&f, offsets[i] + 4, 0x11223344, 4);
		set_common(&f, offsets[i], 0x55667788 + i, 4);
		g_assert_cmphex(get_common(&f, offsets[i], 8), ==, 0x1122334455667788 + i);
		g_assert_cmphex(get_common(&f, offsets[i] + 4, 4), ==, 0x11223344);
		set_common(&f, offsets[i], 0x0102030405060708, 8); /* both halves in one access */
		g_assert_cmphex(get_common(&f, offsets[i], 8), ==, 0x0102030405060708);
		set_common(&f, offsets[i] + 1, 0xff, 1); /* part of a register: not a write */
		set_common(&f, offsets[i] + 2, 0xffffffff, 4);
		g_assert_cmphex(get_common(&f, offsets[i], 8), ==, 0x0102030405060708);
	}
	g_assert_cmphex(f.fake.base.queues[0].avail, ==, 0x0102030405060708);
	g_assert_cmphex(f.fake.base.queues[1].avail, ==, 0);
	tear_down(&f);
}

static void test_queue_enable(const void *data)
{
	struct fixture f;

	set_up(&f);
	set_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2); /* before FEATURES_OK */
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
	negotiate(&f);
	set_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
	start_queue(&f, 0, 16);
	/* running: nothing of the layout changes, and 0 does not stop it */
	set_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 8, 2);
	set_common(&f, VIRTIO_PCI_COMMON_Q_DESCLO, 0, 4);
	set_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 0, 2);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, 16);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_Q_DESCLO, 4), ==, f.ring.desc);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
	tear_down(&f);
}

static void test_queue_reset(const void *data)
{
	struct fixture f;

	set_up(&f);
	go_live(&f);
	set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	set_common(&f, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_RESET, 2), ==, 0);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), ==, FAKE_QUEUE_SIZE);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_Q_DESCLO, 8), ==, 0);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2), ==, VIRTIO_MSI_NO_VECTOR);
	g_assert_cmpuint(f.fake.queue_resets, ==, 1);
	g_assert_cmphex(status(&f), ==, READY | VIRTIO_CONFIG_S_DRIVER_OK);
	/* and up again, while the device is live */
	memset(f.ram.data, 0, RAM_SIZE);
	start_queue(&f, 0, 8);
	exchange(&f);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 1);
	tear_down(&f);
}

static void test_queue_reset_not_negotiated(const void *data)
{
	struct fixture f;

	set_up(&f);
	set_common(&f, VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	set_common(&f, VIRTIO_PCI_COMMON_GF, 1, 4);
	set_status(&f, READY);
	start_queue(&f, 0, 16);
	set_common(&f, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 1);
	g_assert_cmpuint(f.fake.queue_resets, ==, 0);
	tear_down(&f);
}

static const struct vector_row {
	const char *name;
	uint16_t written, read;
} vector_rows[] = {
	{ "first", 0, 0 },
	{ "last", VECTORS - 1, VECTORS - 1 },
	{ "beyond", VECTORS, VIRTIO_MSI_NO_VECTOR },
	{ "none", VIRTIO_MSI_NO_VECTOR, VIRTIO_MSI_NO_VECTOR },
};

static void test_vector(const void *data)
{
	const struct vector_row *row = data;
	struct fixture f;

	set_up(&f);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_MSIX, 2), ==, VIRTIO_MSI_NO_VECTOR);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2), ==, VIRTIO_MSI_NO_VECTOR);
	set_common(&f, VIRTIO_PCI_COMMON_MSIX, 1, 2);
	set_common(&f, VIRTIO_PCI_COMMON_MSIX, row->written, 2);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_MSIX, 2), ==, row->read);
	set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, row->written, 2);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2), ==, row->read);
	set_common(&f, VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2), ==, VIRTIO_MSI_NO_VECTOR);
	set_status(&f, 0);
	g_assert_cmphex(get_common(&f, VIRTIO_PCI_COMMON_MSIX, 2), ==, VIRTIO_MSI_NO_VECTOR);
	tear_down(&f);
}

static void test_config_generation(const void *data)
{
	struct fixture f;
	uint64_t generation;

	set_up(&f);
	generation = get_common(&f, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	set_common(&f, VIRTIO_PCI_COMMON_CFGGENERATION, generation + 1, 1);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), ==, generation);
	vtr_virtio_config_changed(&f.fake.base);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), !=, generation);
	tear_down(&f);
}

/* ---- doorbells ---- */

static const struct doorbell_row {
	const char *name;
	unsigned offset; /* in the notify structure */
	size_t length;
	bool rings[FAKE_QUEUES];
} doorbell_rows[] = {
	{ "queue-0-16-bit", 0, 2, { true, false } },   { "queue-0-32-bit", 0, 4, { true, false } },
	{ "queue-1-16-bit", 4, 2, { false, true } },   { "queue-1-32-bit", 4, 4, { false, true } },
	{ "both-in-one", 0, 8, { true, true } },       { "one-byte", 0, 1, { false, false } },
	{ "not-its-address", 2, 2, { false, false } }, { "unaligned", 1, 4, { false, false } },
	{ "behind-the-last", 8, 4, { false, false } },
};

static void test_doorbell(const void *data)
{
	const struct doorbell_row *row = data;
	struct fixture f;
	unsigned i;

	set_up(&f);
	negotiate(&f);
	start_queue(&f, 0, 16);
	start_queue(&f, 1, 16);
	set_status(&f, READY | VIRTIO_CONFIG_S_DRIVER_OK);
	dispatch(&f);
	memset(f.fake.notified, 0, sizeof(f.fake.notified));
	set(&f, f.notify.bar, f.notify.offset + row->offset, 0, row->length);
	for (i = 0; i < FAKE_QUEUES; i++)
		g_assert_cmpuint(f.fake.notified[i], ==, 0); /* the work is the loop's */
	dispatch(&f);
	for (i = 0; i < FAKE_QUEUES; i++)
		g_assert_cmpuint(f.fake.notified[i], ==, row->rings[i]);
	g_assert_cmphex(get(&f, f.notify.bar, f.notify.offset, 8), ==, 0);
	tear_down(&f);
}

/* ---- interrupts ---- */

static void test_irq_counts(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmpuint(vtr_pci_irq_count(f.function, INTX), ==, 1);
	g_assert_cmpuint(vtr_pci_irq_count(f.function, VFIO_PCI_MSI_IRQ_INDEX), ==, 0);
	g_assert_cmpuint(vtr_pci_irq_count(f.function, MSIX), ==, VECTORS);
	g_assert_cmpuint(vtr_pci_irq_count(f.function, VFIO_PCI_ERR_IRQ_INDEX), ==, 0);
	g_assert_cmpuint(vtr_pci_irq_count(f.function, UINT32_MAX), ==, 0);
	/* one that does not exist is closed and forgotten */
	{
		const int fd = eventfd(0, EFD_CLOEXEC);

		vtr_pci_set_irq(f.function, MSIX, VECTORS, fd);
		g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
	}
	tear_down(&f);
}

static void test_intx(const void *data)
{
	struct fixture f;
	int fd;

	set_up(&f);
	fd = give_eventfd(&f, INTX, 0);
	go_live(&f);
	exchange(&f);
	g_assert_cmpuint(take(fd), ==, 1);
	g_assert_true(get(&f, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	/* masked by itself: the level is still there, another reason does not fire */
	vtr_virtio_config_changed(&f.fake.base);
	g_assert_cmpuint(take(fd), ==, 0);
	/* unmasked without reading the ISR: fires again */
	vtr_pci_mask_irq(f.function, INTX, 0, false);
	g_assert_cmpuint(take(fd), ==, 1);
	g_assert_cmphex(read_isr(&f), ==, 3);
	g_assert_cmphex(read_isr(&f), ==, 0);
	g_assert_false(get(&f, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	vtr_pci_mask_irq(f.function, INTX, 0, false);
	g_assert_cmpuint(take(fd), ==, 0);
	/* masked by the client: waits */
	vtr_pci_mask_irq(f.function, INTX, 0, true);
	vtr_virtio_config_changed(&f.fake.base);
	g_assert_cmpuint(take(fd), ==, 0);
	vtr_pci_mask_irq(f.function, INTX, 0, false);
	g_assert_cmpuint(take(fd), ==, 1);
	g_assert_cmphex(read_isr(&f), ==, 2);
	close(fd);
	tear_down(&f);
}

static void test_intx_disable(const void *data)
{
	struct fixture f;
	int fd;

	set_up(&f);
	fd = give_eventfd(&f, INTX, 0);
	go_live(&f);
	set(&f, CONFIG, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
	exchange(&f);
	g_assert_cmpuint(take(fd), ==, 0);
	g_assert_true(get(&f, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT); /* the status bit does not care */
	set(&f, CONFIG, PCI_COMMAND, 0, 2);
	g_assert_cmpuint(take(fd), ==, 1);
	close(fd);
	tear_down(&f);
}

static void test_intx_eventfd_comes_late(const void *data)
{
	struct fixture f;
	int fd;

	set_up(&f);
	go_live(&f);
	exchange(&f);
	fd = give_eventfd(&f, INTX, 0);
	g_assert_cmpuint(take(fd), ==, 1);
	/* taken away again */
	vtr_pci_set_irq(f.function, INTX, 0, -1);
	vtr_pci_mask_irq(f.function, INTX, 0, false);
	g_assert_cmpuint(take(fd), ==, 0);
	close(fd);
	tear_down(&f);
}

static void test_msix(const void *data)
{
	struct fixture f;
	int intx, config, queue;

	set_up(&f);
	intx = give_eventfd(&f, INTX, 0);
	config = give_eventfd(&f, MSIX, 0);
	queue = give_eventfd(&f, MSIX, 1);
	set_common(&f, VIRTIO_PCI_COMMON_MSIX, 0, 2);
	set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	go_live(&f);
	exchange(&f);
	g_assert_cmpuint(take(queue), ==, 1);
	g_assert_cmpuint(take(config), ==, 0);
	vtr_virtio_config_changed(&f.fake.base);
	g_assert_cmpuint(take(queue), ==, 0);
	g_assert_cmpuint(take(config), ==, 1);
	g_assert_cmpuint(take(intx), ==, 0);
	g_assert_false(get(&f, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	g_assert_cmphex(read_isr(&f), ==, VIRTIO_PCI_ISR_CONFIG);
	/* no vector: no interrupt */
	set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, VIRTIO_MSI_NO_VECTOR, 2);
	exchange(&f);
	g_assert_cmpuint(take(queue) + take(config) + take(intx), ==, 0);
	close(intx);
	close(config);
	close(queue);
	tear_down(&f);
}

static void test_msix_pending(const void *data)
{
	struct fixture f;
	int queue;

	set_up(&f);
	set(&f, CONFIG, f.msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	go_live(&f);
	exchange(&f);
	g_assert_cmphex(get(&f, 1, 0x800, 1), ==, 0x02);
	queue = give_eventfd(&f, MSIX, 1);
	g_assert_cmpuint(take(queue), ==, 1);
	g_assert_cmphex(get(&f, 1, 0x800, 1), ==, 0);
	vtr_pci_mask_irq(f.function, MSIX, 1, true);
	exchange(&f);
	exchange(&f);
	g_assert_cmpuint(take(queue), ==, 0);
	g_assert_cmphex(get(&f, 1, 0x800, 1), ==, 0x02);
	vtr_pci_mask_irq(f.function, MSIX, 1, false);
	g_assert_cmpuint(take(queue), ==, 1);
	/* a reset forgets */
	vtr_pci_mask_irq(f.function, MSIX, 1, true);
	exchange(&f);
	set_status(&f, 0);
	vtr_pci_mask_irq(f.function, MSIX, 1, false);
	g_assert_cmpuint(take(queue), ==, 0);
	close(queue);
	tear_down(&f);
}

static void test_trigger(const void *data)
{
	struct fixture f;
	int intx, msix;

	set_up(&f);
	intx = give_eventfd(&f, INTX, 0);
	msix = give_eventfd(&f, MSIX, 2);
	vtr_pci_trigger_irq(f.function, INTX, 0);
	vtr_pci_trigger_irq(f.function, MSIX, 2);
	vtr_pci_trigger_irq(f.function, MSIX, 0); /* has no eventfd */
	vtr_pci_trigger_irq(f.function, MSIX, 99);
	g_assert_cmpuint(take(intx), ==, 1);
	g_assert_cmpuint(take(msix), ==, 1);
	close(intx);
	close(msix);
	tear_down(&f);
}

/* A client that never reads its eventfd must not stop us. */
static void test_full_eventfd(const void *data)
{
	const uint64_t full = UINT64_MAX - 1;
	struct fixture f;
	int fd;

	set_up(&f);
	fd = give_eventfd(&f, MSIX, 0);
	g_assert_cmpint(write(fd, &full, sizeof(full)), ==, sizeof(full));
	vtr_pci_trigger_irq(f.function, MSIX, 0);
	vtr_pci_trigger_irq(f.function, MSIX, 0);
	g_assert_cmpuint(take(fd), ==, full);
	close(fd);
	tear_down(&f);
}

/* ---- resets and whole lives ---- */

static void test_reset_by_status(const void *data)
{
	struct fixture f;
	int fd;

	set_up(&f);
	fd = give_eventfd(&f, INTX, 0);
	go_live(&f);
	exchange(&f);
	set(&f, CONFIG, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	set_common(&f, VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	set_common(&f, VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	set_status(&f, 0);
	g_assert_cmphex(status(&f), ==, 0);
	g_assert_cmpuint(f.fake.resets, ==, 1);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_DFSELECT, 4), ==, 0);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_SELECT, 2), ==, 0);
	g_assert_cmpuint(get_common(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), ==, 0);
	g_assert_cmphex(read_isr(&f), ==, 0);
	/* a device reset is not a function reset */
	g_assert_cmphex(get(&f, CONFIG, PCI_COMMAND, 2), ==, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	take(fd);
	vtr_pci_mask_irq(f.function, INTX, 0, false);
	g_assert_cmpuint(take(fd), ==, 0);

	/* the driver comes back */
	memset(f.ram.data, 0, RAM_SIZE);
	go_live(&f);
	exchange(&f);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 1);
	g_assert_cmpuint(take(fd), ==, 1);
	close(fd);
	tear_down(&f);
}

static void test_function_reset(const void *data)
{
	struct fixture f;
	int fd;

	set_up(&f);
	fd = give_eventfd(&f, MSIX, 1);
	set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	go_live(&f);
	exchange(&f);
	g_assert_cmpuint(take(fd), ==, 1);
	set(&f, CONFIG, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	set(&f, 1, 0, UINT64_MAX, 8);
	vtr_pci_reset(f.function);
	g_assert_cmphex(status(&f), ==, 0);
	g_assert_cmphex(get(&f, CONFIG, PCI_COMMAND, 2), ==, 0);
	g_assert_cmpuint(f.fake.resets, ==, 1);
	/* the eventfds stay */
	memset(f.ram.data, 0, RAM_SIZE);
	set_common(&f, VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	go_live(&f);
	exchange(&f);
	g_assert_cmpuint(take(fd), ==, 1);
	close(fd);
	tear_down(&f);
}

static void test_needs_reset(const void *data)
{
	struct fixture f;
	int fd;

	set_up(&f);
	fd = give_eventfd(&f, INTX, 0);
	go_live(&f);
	vring_publish(&f.ring, 0xffff);
	ring_doorbell(&f, 0, 2);
	dispatch(&f);
	g_assert_cmphex(status(&f), ==, READY | VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	g_assert_cmpuint(take(fd), ==, 1);
	g_assert_cmphex(read_isr(&f), ==, VIRTIO_PCI_ISR_CONFIG);
	close(fd);
	tear_down(&f);
}

struct named_test {
	const char *name;
	void (*func)(const void *data);
};

static const struct named_test tests[] = {
	{ "config/identity", test_identity },
	{ "config/capabilities", test_capabilities },
	{ "config/command", test_command },
	{ "region/sizes", test_region_sizes },
	{ "region/odd-accesses", test_odd_accesses },
	{ "region/device-config", test_device_config },
	{ "region/msix-table", test_msix_table },
	{ "pci-cfg/widths", test_pci_cfg },
	{ "pci-cfg/doorbell-and-isr", test_pci_cfg_doorbell },
	{ "common/feature-select", test_feature_select },
	{ "common/features-refused", test_features_refused },
	{ "common/queue-select", test_queue_select },
	{ "common/queue-addresses", test_queue_addresses },
	{ "common/queue-enable", test_queue_enable },
	{ "common/queue-reset", test_queue_reset },
	{ "common/queue-reset-not-negotiated", test_queue_reset_not_negotiated },
	{ "common/config-generation", test_config_generation },
	{ "irq/counts", test_irq_counts },
	{ "irq/intx", test_intx },
	{ "irq/intx-disable", test_intx_disable },
	{ "irq/intx-eventfd-comes-late", test_intx_eventfd_comes_late },
	{ "irq/msix", test_msix },
	{ "irq/msix-pending", test_msix_pending },
	{ "irq/trigger", test_trigger },
	{ "irq/full-eventfd", test_full_eventfd },
	{ "reset/status", test_reset_by_status },
	{ "reset/function", test_function_reset },
	{ "reset/needs-reset", test_needs_reset },
};

static void add_row(const char *group, const char *name, const void *row, void (*func)(const void *data))
{
	g_autofree char *path = g_strdup_printf("/unit/virtio-pci/%s/%s", group, name);

	g_test_add_data_func(path, row, func);
}

int main(int argc, char **argv)
{
	size_t i;

	g_test_init(&argc, &argv, NULL);
	for (i = 0; i < G_N_ELEMENTS(tests); i++) {
		g_autofree char *path = g_strdup_printf("/unit/virtio-pci/%s", tests[i].name);

		g_test_add_data_func(path, NULL, tests[i].func);
	}
	for (i = 0; i < G_N_ELEMENTS(bar_rows); i++)
		add_row("bar", bar_rows[i].name, &bar_rows[i], test_bar);
	for (i = 0; i < G_N_ELEMENTS(range_rows); i++)
		add_row("range", range_rows[i].name, &range_rows[i], test_range);
	for (i = 0; i < G_N_ELEMENTS(aim_rows); i++)
		add_row("pci-cfg/bad", aim_rows[i].name, &aim_rows[i], test_pci_cfg_bad);
	for (i = 0; i < G_N_ELEMENTS(size_rows); i++)
		add_row("queue-size", size_rows[i].name, &size_rows[i], test_queue_size);
	for (i = 0; i < G_N_ELEMENTS(vector_rows); i++)
		add_row("vector", vector_rows[i].name, &vector_rows[i], test_vector);
	for (i = 0; i < G_N_ELEMENTS(doorbell_rows); i++)
		add_row("doorbell", doorbell_rows[i].name, &doorbell_rows[i], test_doorbell);
	return g_test_run();
}
