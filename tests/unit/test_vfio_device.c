/* SPDX-License-Identifier: MIT */
#include "fake_vfio.h"

#include <vitrine/vfio.h>

/* ---- what the device is asked, and what is made of the answers ---- */

static void test_looks(void)
{
	fake_reset();
	struct vtr_vfio_device *device = fake_open();

	g_assert_cmpstr(vtr_vfio_device_name(device), ==, "0000:01:00.0");
	g_assert_cmpuint(vtr_vfio_device_capabilities(device), ==,
	                 VTR_VFIO_DMA_BUF | VTR_VFIO_REGION_MMAP | VTR_VFIO_BAR_ADDRESSES);
	g_assert_cmpint(vtr_vfio_device_probe_dmabuf(device, NULL), ==, 0);
	const struct vtr_vfio_region *bar = vtr_vfio_device_region(device, 2);
	g_assert_cmpuint(bar->size, ==, 64 << 20);
	g_assert_cmpuint(bar->offset, ==, UINT64_C(2) << FAKE_FD_OFFSET);
	g_assert_cmpint(bar->fd, >=, 0);
	g_assert_true(bar->readable && bar->writable && bar->decoded);
	g_assert_cmpuint(bar->n_areas, ==, 1);
	g_assert_cmpuint(bar->areas[0].size, ==, 64 << 20);
	g_assert_cmpuint(vtr_vfio_device_region(device, 4)->n_areas, ==, 0);
	g_assert_null(vtr_vfio_device_region(device, VTR_VFIO_BARS));
	/* once: not again for every question */
	g_assert_cmpuint(fake.probes, ==, 1);
	vtr_vfio_device_destroy(device);
	vtr_vfio_device_destroy(NULL);
}

static const struct probe_row {
	const char *name;
	int error;
	bool supported;
	const char *word;
} probe_rows[] = {
	{ "there", 0, true, "" },
	{ "kernel-without", ENOTTY, false, "6.19" },
	{ "driver-without", EOPNOTSUPP, false, "driver" },
	{ "vfio-user-server-without", EINVAL, false, "6.19" },
	{ "asleep", EIO, false, "asking" },
};

static void test_probe(gconstpointer data)
{
	const struct probe_row *row = data;
	const struct vtr_vfio_range range = { 2, 0, PAGE };
	struct vtr_error error = { 0 };

	fake_reset();
	fake.probe_error = row->error;
	struct vtr_vfio_device *device = fake_open();
	g_assert_cmpint(!!(vtr_vfio_device_capabilities(device) & VTR_VFIO_DMA_BUF), ==, row->supported);
	int fd = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);
	if (row->supported) {
		g_assert_cmpint(close(fd), ==, 0);
	} else {
		g_assert_cmpint(fd, ==, -EOPNOTSUPP);
		g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
		g_assert_cmpint(vtr_vfio_device_probe_dmabuf(device, &error), ==, -EOPNOTSUPP);
		g_assert_nonnull(strstr(error.text, "0000:01:00.0"));
		g_assert_nonnull(strstr(error.text, row->word));
	}
	/* what is not there is never tried */
	g_assert_cmpuint(fake.gets, ==, row->supported);
	vtr_vfio_device_destroy(device);
}

static void break_info(void)
{
	fake.info_error = ENOTTY;
}

static void break_bind(void)
{
	fake.info_error = EINVAL;
}

static void break_asleep(void)
{
	fake.info_error = EIO;
}

static void break_platform(void)
{
	fake.info.flags = VFIO_DEVICE_FLAGS_PLATFORM;
}

static void break_regions(void)
{
	fake.info.num_regions = VFIO_PCI_CONFIG_REGION_INDEX;
}

static void break_region(void)
{
	fake.regions[1].error = EINVAL;
}

static void break_config(void)
{
	fake.regions[VFIO_PCI_CONFIG_REGION_INDEX].error = EINVAL;
}

static void break_index(void)
{
	fake.regions[2].info.index = 3;
}

static void break_offset(void)
{
	fake.regions[2].info.offset = UINT64_MAX - PAGE;
}

static void break_sign(void)
{
	fake.regions[2].info.offset = INT64_MAX - PAGE;
}

static void break_short(void)
{
	fake.regions[2].info.argsz = sizeof(struct vfio_region_info) - 1;
}

static void break_long(void)
{
	fake.regions[2].info.argsz = VTR_MAX_VFIO_REGION_INFO + 1;
}

static const struct broken_row {
	const char *name;
	void (*apply)(void);
	enum vtr_error_owner owner;
	int code;
} broken_rows[] = {
	{ "no-vfio-device", break_info, VTR_ERROR_HOST, EINVAL },
	{ "node-not-bound", break_bind, VTR_ERROR_HOST, EINVAL },
	{ "does-not-resume", break_asleep, VTR_ERROR_HOST, EIO },
	{ "platform-device", break_platform, VTR_ERROR_UNSUPPORTED, ENODEV },
	{ "few-regions", break_regions, VTR_ERROR_HOST, EPROTO },
	{ "region-refused", break_region, VTR_ERROR_HOST, EINVAL },
	{ "config-refused", break_config, VTR_ERROR_HOST, EINVAL },
	{ "other-region", break_index, VTR_ERROR_HOST, EPROTO },
	{ "region-wraps", break_offset, VTR_ERROR_HOST, EPROTO },
	{ "region-beyond-files", break_sign, VTR_ERROR_HOST, EPROTO },
	{ "answer-too-short", break_short, VTR_ERROR_HOST, EPROTO },
	{ "answer-too-long", break_long, VTR_ERROR_HOST, EPROTO },
};

static void test_broken(gconstpointer data)
{
	const struct broken_row *row = data;
	struct vtr_error error;

	fake_reset();
	row->apply();
	g_assert_null(fake_try_open(&error));
	g_assert_cmpint(error.owner, ==, row->owner);
	g_assert_cmpint(error.code, ==, row->code);
	g_assert_cmpuint(strlen(error.text), <, sizeof(error.text) - 1);
}

/* ---- capability chains ---- */

static void put_header(unsigned at, uint16_t id, uint32_t next)
{
	struct vfio_info_cap_header header = { .id = id, .version = 1, .next = next };

	memcpy(fake.regions[2].bytes + at, &header, sizeof(header));
}

static void put_sparse(unsigned at, uint32_t next, uint32_t nr_areas, const struct vfio_region_sparse_mmap_area *areas,
                       unsigned count)
{
	struct vfio_region_info_cap_sparse_mmap sparse = { .header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, next },
		                                           .nr_areas = nr_areas };

	memcpy(fake.regions[2].bytes + at, &sparse, sizeof(sparse));
	for (unsigned i = 0; i < count; i++)
		memcpy(fake.regions[2].bytes + at + sizeof(sparse) + i * sizeof(areas[0]), &areas[i], sizeof(areas[0]));
}

enum { FIRST = sizeof(struct vfio_region_info), CHAIN_ROWS = 4, MIB = 1 << 20 };

static const struct sparse_row {
	const char *name;
	struct vfio_region_sparse_mmap_area areas[CHAIN_ROWS];
	uint32_t nr_areas; // told
	unsigned count;    // there
	int code;
	struct vtr_vfio_area expected[CHAIN_ROWS];
	unsigned n_expected;
} sparse_rows[] = {
	{ "one", { { MIB, MIB } }, 1, 1, 0, { { MIB, MIB } }, 1 },
	{ "two", { { 0, MIB }, { 2 * MIB, 62 * MIB } }, 2, 2, 0, { { 0, MIB }, { 2 * MIB, 62 * MIB } }, 2 },
	{ "any-order", { { 2 * MIB, MIB }, { 0, MIB } }, 2, 2, 0, { { 0, MIB }, { 2 * MIB, MIB } }, 2 },
	{ "touching-are-one", { { MIB, MIB }, { 0, MIB }, { 2 * MIB, MIB } }, 3, 3, 0, { { 0, 3 * MIB } }, 1 },
	{ "empty-area", { { MIB, 0 }, { 0, MIB } }, 2, 2, 0, { { 0, MIB } }, 1 },
	{ "none", { { 0, 0 } }, 0, 0, 0, { { 0, 0 } }, 0 },
	{ "to-the-end", { { 63 * MIB, MIB } }, 1, 1, 0, { { 63 * MIB, MIB } }, 1 },
	{ "overlapping", { { 0, 2 * MIB }, { MIB, MIB } }, 2, 2, EPROTO, { { 0, 0 } }, 0 },
	{ "overlapping-by-a-byte", { { 0, MIB + 1 }, { MIB, MIB } }, 2, 2, EPROTO, { { 0, 0 } }, 0 },
	{ "the-same-twice", { { 0, MIB }, { 0, MIB } }, 2, 2, EPROTO, { { 0, 0 } }, 0 },
	{ "beyond-the-region", { { 63 * MIB, 2 * MIB } }, 1, 1, EPROTO, { { 0, 0 } }, 0 },
	{ "behind-the-region", { { 65 * MIB, PAGE } }, 1, 1, EPROTO, { { 0, 0 } }, 0 },
	{ "wrapping", { { UINT64_MAX - PAGE + 1, 2 * PAGE } }, 1, 1, EPROTO, { { 0, 0 } }, 0 },
	{ "more-than-there-are", { { 0, MIB } }, 2, 1, EPROTO, { { 0, 0 } }, 0 },
	{ "very-many", { { 0, MIB } }, UINT32_MAX, 1, EPROTO, { { 0, 0 } }, 0 },
};

static void test_sparse(gconstpointer data)
{
	const struct sparse_row *row = data;
	struct vtr_error error;

	fake_reset();
	fake.regions[2].info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
	fake.regions[2].info.cap_offset = FIRST;
	fake.regions[2].info.argsz =
		(uint32_t)(FIRST + sizeof(struct vfio_region_info_cap_sparse_mmap) + row->count * sizeof(row->areas[0]));
	put_sparse(FIRST, 0, row->nr_areas, row->areas, row->count);
	struct vtr_vfio_device *device = fake_try_open(&error);
	g_assert_cmpint(error.code, ==, row->code);
	g_assert_cmpint(!device, ==, row->code != 0);
	if (!device)
		return;
	const struct vtr_vfio_region *bar = vtr_vfio_device_region(device, 2);
	g_assert_cmpuint(bar->n_areas, ==, row->n_expected);
	for (unsigned i = 0; i < row->n_expected; i++) {
		g_assert_cmpuint(bar->areas[i].offset, ==, row->expected[i].offset);
		g_assert_cmpuint(bar->areas[i].size, ==, row->expected[i].size);
	}
	vtr_vfio_device_destroy(device);
}

static const struct chain_row {
	const char *name;
	uint32_t argsz, cap_offset;
	struct {
		uint32_t at;
		uint16_t id;
		uint32_t next;
	} links[CHAIN_ROWS];
	int code;
} chain_rows[] = {
	/* 3 is VFIO_REGION_INFO_CAP_MSIX_MAPPABLE: no sparse areas, all may be mapped */
	{ "others-only", FIRST + 16, FIRST, { { FIRST, 2, FIRST + 8 }, { FIRST + 8, 3, 0 } }, 0 },
	{ "backwards", FIRST + 16, FIRST + 8, { { FIRST + 8, 2, FIRST }, { FIRST, 3, 0 } }, 0 },
	{ "no-chain", FIRST, 0, { { 0 } }, 0 },
	{ "loop-of-one", FIRST + 8, FIRST, { { FIRST, 2, FIRST } }, EPROTO },
	{ "loop-of-two", FIRST + 16, FIRST, { { FIRST, 2, FIRST + 8 }, { FIRST + 8, 3, FIRST } }, EPROTO },
	{ "into-the-structure", FIRST + 8, 16, { { FIRST, 2, 0 } }, EPROTO },
	{ "beyond-the-answer", FIRST + 8, FIRST + 8, { { FIRST, 2, 0 } }, EPROTO },
	{ "half-a-header", FIRST + 12, FIRST + 8, { { FIRST, 2, 0 } }, EPROTO },
	{ "far-away", FIRST + 8, UINT32_MAX, { { FIRST, 2, 0 } }, EPROTO },
	{ "next-is-far-away", FIRST + 8, FIRST, { { FIRST, 2, UINT32_MAX } }, EPROTO },
	{ "next-into-the-structure", FIRST + 8, FIRST, { { FIRST, 2, 4 } }, EPROTO },
	{ "header-of-areas-only", FIRST + 8, FIRST, { { FIRST, 1, 0 } }, EPROTO },
	{ "two-lists-of-areas", FIRST + 40, FIRST, { { FIRST, 1, FIRST + 16 }, { FIRST + 16, 1, 0 } }, EPROTO },
};

static void test_chain(gconstpointer data)
{
	const struct chain_row *row = data;
	struct vtr_error error;

	fake_reset();
	fake.regions[2].info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
	fake.regions[2].info.cap_offset = row->cap_offset;
	fake.regions[2].info.argsz = row->argsz;
	for (unsigned i = 0; i < CHAIN_ROWS && row->links[i].at; i++)
		put_header(row->links[i].at, row->links[i].id, row->links[i].next);
	struct vtr_vfio_device *device = fake_try_open(&error);
	g_assert_cmpint(error.code, ==, row->code);
	g_assert_cmpint(!device, ==, row->code != 0);
	if (device)
		g_assert_cmpuint(vtr_vfio_device_region(device, 2)->n_areas, ==, 1);
	vtr_vfio_device_destroy(device);
}

/* ---- where the BARs are ---- */

enum { BAR_WORDS = 6 };

static const struct bar_row {
	const char *name;
	uint32_t words[BAR_WORDS];
	uint8_t command, header;
	uint64_t address; // of BAR 2, 64 MiB; 0: not decoded
} bar_rows[] = {
	{ "64-bit", { 0, 0, 0x0000000c, 8 }, PCI_COMMAND_MEMORY, 0, UINT64_C(0x800000000) },
	{ "64-bit-low", { 0, 0, 0xf800000c, 0 }, PCI_COMMAND_MEMORY, 0, 0xf8000000 },
	{ "32-bit", { 0, 0, 0xf8000000, 0xfe000000 }, PCI_COMMAND_MEMORY, 0, 0xf8000000 },
	{ "prefetchable", { 0, 0, 0xf8000008 }, PCI_COMMAND_MEMORY, 0, 0xf8000000 },
	{ "other-command-bits", { 0, 0, 0xf8000000 }, 7, 0, 0xf8000000 },
	{ "multi-function", { 0, 0, 0xf8000000 }, PCI_COMMAND_MEMORY, 0x80, 0xf8000000 },
	{ "decoding-off", { 0, 0, 0xf8000000 }, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 0, 0 },
	{ "not-programmed", { 0, 0, 0x0000000c, 0 }, PCI_COMMAND_MEMORY, 0, 0 },
	{ "sizing-32-bit", { 0, 0, 0xfc000000 }, PCI_COMMAND_MEMORY, 0, 0 },
	{ "sizing-64-bit", { 0, 0, 0xfc00000c, 0xffffffff }, PCI_COMMAND_MEMORY, 0, 0 },
	{ "below-the-top", { 0, 0, 0xf800000c, 0xffffffff }, PCI_COMMAND_MEMORY, 0, UINT64_C(0xfffffffff8000000) },
	{ "off-its-size", { 0, 0, 0xf8001000 }, PCI_COMMAND_MEMORY, 0, 0 },
	{ "upper-half-of-bar-1", { 0, 0x00000004, 0xf8000000 }, PCI_COMMAND_MEMORY, 0, 0 },
	{ "io", { 0, 0, 0xf8000001 }, PCI_COMMAND_MEMORY, 0, 0 },
	{ "bridge", { 0, 0, 0xf8000000 }, PCI_COMMAND_MEMORY, 1, 0 },
	{ "gone", { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u }, 0xff, 0xff, 0 },
};

static void test_bar(gconstpointer data)
{
	const struct bar_row *row = data;

	fake_reset();
	struct vtr_vfio_device *device = fake_open();
	memset(fake.config, 0, sizeof(fake.config));
	for (unsigned i = 0; i < BAR_WORDS; i++)
		fake_bar(i, row->words[i]);
	fake.config[PCI_COMMAND] = row->command;
	fake.config[PCI_HEADER_TYPE] = row->header;
	g_assert_cmpint(vtr_vfio_device_refresh(device), ==, 1); // BAR 0 at least has gone
	g_assert_cmpint(vtr_vfio_device_refresh(device), ==, 0);
	const struct vtr_vfio_region *bar = vtr_vfio_device_region(device, 2);
	g_assert_cmpint(bar->decoded, ==, row->address != 0);
	g_assert_cmphex(bar->address, ==, row->address ? row->address : UINT64_C(0x800000000));
	vtr_vfio_device_destroy(device);
}

static void test_last_bar(void)
{
	fake_reset();
	fake_region(5, 1 << 20, FAKE_ALL);
	fake_bar(5, 0xfd000004); // 64 bits, and there is no word for the upper half
	fake_bar(6, 0x1234);     // what is there instead
	struct vtr_vfio_device *device = fake_open();

	g_assert_cmphex(vtr_vfio_device_region(device, 5)->address, ==, 0xfd000000);
	vtr_vfio_device_destroy(device);
}

static void test_config_fails(void)
{
	fake_reset();
	struct vtr_vfio_device *device = fake_open();

	fake.config_error = EIO;
	g_assert_cmpint(vtr_vfio_device_refresh(device), ==, -EIO);
	g_assert_false(vtr_vfio_device_region(device, 2)->decoded);
	fake.config_error = 0;
	g_assert_cmpint(vtr_vfio_device_refresh(device), ==, 1);
	g_assert_true(vtr_vfio_device_region(device, 2)->decoded);
	vtr_vfio_device_destroy(device);
}

static void test_no_config(void)
{
	fake_reset();
	fake_region(VFIO_PCI_CONFIG_REGION_INDEX, 0, 0);
	struct vtr_vfio_device *device = fake_open();

	g_assert_cmpuint(vtr_vfio_device_capabilities(device) & VTR_VFIO_BAR_ADDRESSES, ==, 0);
	g_assert_cmpint(vtr_vfio_device_refresh(device), ==, -EOPNOTSUPP);
	vtr_vfio_device_destroy(device);
}

/* ---- lists ---- */

static void test_list(void)
{
	struct vtr_vfio_devices *devices = vtr_vfio_devices_create();
	struct vtr_vfio_place place;

	fake_reset();
	struct vtr_vfio_device *device = fake_open();
	g_assert_false(vtr_vfio_devices_find(devices, 0xfe000000, &place));
	g_assert_cmpint(vtr_vfio_devices_add(devices, device), ==, 0);
	g_assert_true(vtr_vfio_devices_get(devices, 0) == device);
	g_assert_null(vtr_vfio_devices_get(devices, 1));
	g_assert_true(vtr_vfio_devices_find(devices, 0x800001000, &place));
	g_assert_true(place.device == device);
	g_assert_cmpuint(place.bar, ==, 2);
	g_assert_cmphex(place.offset, ==, 0x1000);
	g_assert_cmphex(place.length, ==, (64 << 20) - 0x1000);
	g_assert_true(vtr_vfio_devices_find(devices, 0xfe0fffff, &place));
	g_assert_cmpuint(place.length, ==, 1);
	g_assert_false(vtr_vfio_devices_find(devices, 0xfe100000, &place));
	g_assert_false(vtr_vfio_devices_find(devices, 0xfdffffff, &place));
	/* moved, and the list knows when it is asked to look */
	fake_bar(0, 0xfd000000);
	g_assert_true(vtr_vfio_devices_find(devices, 0xfe000000, &place));
	g_assert_true(vtr_vfio_devices_refresh(devices));
	g_assert_false(vtr_vfio_devices_find(devices, 0xfe000000, &place));
	g_assert_true(vtr_vfio_devices_find(devices, 0xfd000000, &place));
	fake_decoding(false);
	g_assert_true(vtr_vfio_devices_refresh(devices));
	g_assert_false(vtr_vfio_devices_refresh(devices));
	g_assert_false(vtr_vfio_devices_find(devices, 0xfd000000, &place));
	g_assert_cmpint(vtr_vfio_devices_remove(devices, device), ==, 0);
	g_assert_cmpint(vtr_vfio_devices_remove(devices, device), ==, -ENOENT);
	vtr_vfio_device_destroy(device);
	for (unsigned i = 0; i < VTR_MAX_VFIO_DEVICES; i++)
		g_assert_cmpint(vtr_vfio_devices_add(devices, fake_open()), ==, 0);
	device = fake_open();
	g_assert_cmpint(vtr_vfio_devices_add(devices, device), ==, -ENOSPC);
	vtr_vfio_device_destroy(device);
	vtr_vfio_devices_destroy(devices);
	vtr_vfio_devices_destroy(NULL);
}

static void test_mappings(void)
{
	const uint8_t *host = (const uint8_t *)(uintptr_t)0x7f0000000000;

	fake_reset();
	struct vtr_vfio_device *device = fake_open();
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host, 0), ==, -EINVAL);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 6, 0, host, PAGE), ==, -EINVAL);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, PAGE, host, 64 << 20), ==, -EINVAL);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, (const void *)(UINTPTR_MAX - PAGE), 2 * PAGE), ==, -EINVAL);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host + 4 * PAGE, 2 * PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host + 5 * PAGE, PAGE), ==, -EEXIST);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host + 3 * PAGE, 2 * PAGE), ==, -EEXIST);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host, 16 * PAGE), ==, -EEXIST);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host + 3 * PAGE, PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host + 6 * PAGE, PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_remove_mapping(device, host + 5 * PAGE), ==, -ENOENT);
	g_assert_cmpint(vtr_vfio_device_remove_mapping(device, host + 4 * PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 0, 0, host + 4 * PAGE, 2 * PAGE), ==, 0);
	for (unsigned i = 3; i < VTR_MAX_VFIO_MAPPINGS; i++)
		g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host + (100 - i) * PAGE, PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(device, 2, 0, host, PAGE), ==, -ENOSPC);
	vtr_vfio_device_destroy(device);
}

#define ADD_ROWS(path, rows, function)                                                                                             \
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {                                                                          \
		g_autofree char *name = g_strdup_printf(path "/%s", rows[i].name);                                                 \
		g_test_add_data_func(name, &rows[i], function);                                                                    \
	}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/vfio/device/looks", test_looks);
	ADD_ROWS("/unit/vfio/probe", probe_rows, test_probe);
	ADD_ROWS("/unit/vfio/broken", broken_rows, test_broken);
	ADD_ROWS("/unit/vfio/sparse", sparse_rows, test_sparse);
	ADD_ROWS("/unit/vfio/chain", chain_rows, test_chain);
	ADD_ROWS("/unit/vfio/bar", bar_rows, test_bar);
	g_test_add_func("/unit/vfio/bar/last-of-all", test_last_bar);
	g_test_add_func("/unit/vfio/bar/config-fails", test_config_fails);
	g_test_add_func("/unit/vfio/bar/no-config", test_no_config);
	g_test_add_func("/unit/vfio/list", test_list);
	g_test_add_func("/unit/vfio/mappings", test_mappings);
	return g_test_run();
}
