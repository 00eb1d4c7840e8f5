/* SPDX-License-Identifier: MIT */
#include <sys/mman.h>

#include "fake_vfio.h"

#include <vitrine/vfio.h>

enum { MAX_RANGES = 4, MIB = 1 << 20 };
#define BAR2_ADDRESS UINT64_C(0x800000000)
#define BAR2_HOST UINT64_C(0x7f0000000000)

struct fixture {
	struct vtr_vfio_devices *devices;
	struct vtr_vfio_device *device;
	struct vtr_error error;
};

static void set_up(struct fixture *fixture)
{
	fake_reset();
	*fixture = (struct fixture){ .devices = vtr_vfio_devices_create(), .device = fake_open() };
	vtr_vfio_devices_add(fixture->devices, fixture->device);
}

static void tear_down(struct fixture *fixture)
{
	vtr_vfio_devices_destroy(fixture->devices);
}

static void expect(const struct fixture *fixture, int result, enum vtr_error_owner owner, int code)
{
	if (!code) {
		g_assert_cmpstr(fixture->error.text, ==, "");
		g_assert_cmpint(fcntl(result, F_GETFD), ==, FD_CLOEXEC);
		g_assert_cmpint(close(result), ==, 0);
		return;
	}
	g_assert_cmpint(result, ==, -code);
	g_assert_cmpint(fixture->error.code, ==, code);
	g_assert_cmpstr(vtr_error_owner_name(fixture->error.owner), ==, vtr_error_owner_name(owner));
	g_assert_cmpuint(strlen(fixture->error.text), >, 10);
	g_assert_cmpuint(strlen(fixture->error.text), <, sizeof(fixture->error.text) - 1);
}

/* ---- ranges: what the kernel is asked for ---- */

static const struct made_row {
	const char *name;
	struct vtr_vfio_range ranges[MAX_RANGES];
	size_t count;
	struct vtr_vfio_dma_range asked[MAX_RANGES];
	uint32_t n_asked;
} made_rows[] = {
	{ "one", { { 2, PAGE, 2 * PAGE } }, 1, { { PAGE, 2 * PAGE } }, 1 },
	{ "all", { { 2, 0, 64 * MIB } }, 1, { { 0, 64 * MIB } }, 1 },
	{ "two", { { 2, 0, PAGE }, { 2, 2 * PAGE, PAGE } }, 2, { { 0, PAGE }, { 2 * PAGE, PAGE } }, 2 },
	{ "neighbours", { { 2, 0, PAGE }, { 2, PAGE, PAGE }, { 2, 2 * PAGE, PAGE } }, 3, { { 0, 3 * PAGE } }, 1 },
	{ "neighbours-backwards", { { 2, PAGE, PAGE }, { 2, 0, PAGE } }, 2, { { PAGE, PAGE }, { 0, PAGE } }, 2 },
	{ "neighbours-at-the-end",
	  { { 2, 8 * PAGE, PAGE }, { 2, 0, PAGE }, { 2, PAGE, PAGE } },
	  3,
	  { { 8 * PAGE, PAGE }, { 0, 2 * PAGE } },
	  2 },
	{ "twice", { { 2, 0, PAGE }, { 2, 0, PAGE } }, 2, { { 0, PAGE }, { 0, PAGE } }, 2 },
	{ "overlapping", { { 2, 0, 2 * PAGE }, { 2, PAGE, PAGE } }, 2, { { 0, 2 * PAGE }, { PAGE, PAGE } }, 2 },
	{ "pieces-of-a-page",
	  { { 2, 0, 5 }, { 2, 5, PAGE - 5 }, { 2, 2 * PAGE, PAGE } },
	  3,
	  { { 0, PAGE }, { 2 * PAGE, PAGE } },
	  2 },
	{ "tail", { { 2, 0, PAGE }, { 2, 2 * PAGE, 100 } }, 2, { { 0, PAGE }, { 2 * PAGE, PAGE } }, 2 },
	{ "tail-of-a-piece", { { 2, 0, PAGE }, { 2, PAGE, 100 } }, 2, { { 0, 2 * PAGE } }, 1 },
	{ "tail-at-the-end", { { 2, 64 * MIB - PAGE, 1 } }, 1, { { 64 * MIB - PAGE, PAGE } }, 1 },
	{ "bar-0", { { 0, PAGE, PAGE } }, 1, { { PAGE, PAGE } }, 1 },
};

static void test_made(gconstpointer data)
{
	const struct made_row *row = data;
	struct fixture fixture;

	set_up(&fixture);
	expect(&fixture, vtr_vfio_device_create_dmabuf(fixture.device, row->ranges, row->count, &fixture.error), VTR_ERROR_NONE, 0);
	g_assert_cmpuint(fake.gets, ==, 1);
	g_assert_cmpuint(fake.bar, ==, row->ranges[0].bar);
	g_assert_cmpuint(fake.nr_ranges, ==, row->n_asked);
	for (uint32_t i = 0; i < row->n_asked; i++) {
		g_assert_cmphex(fake.ranges[i].offset, ==, row->asked[i].offset);
		g_assert_cmphex(fake.ranges[i].length, ==, row->asked[i].length);
	}
	tear_down(&fixture);
}

static const struct refused_row {
	const char *name;
	struct vtr_vfio_range ranges[MAX_RANGES];
	size_t count;
	int code;
} refused_rows[] = {
	{ "none", { { 2, 0, PAGE } }, 0, EINVAL },
	{ "too-many", { { 2, 0, PAGE } }, VTR_MAX_ENTRIES + 1, E2BIG },
	{ "no-length", { { 2, 0, 0 } }, 1, EINVAL },
	{ "no-length-later", { { 2, 0, PAGE }, { 2, PAGE, 0 } }, 2, EINVAL },
	{ "offset-off-page", { { 2, 1, PAGE } }, 1, EINVAL },
	{ "tail-off-page", { { 2, 512, 100 } }, 1, EINVAL },
	{ "length-off-page", { { 2, 0, 100 }, { 2, PAGE, PAGE } }, 2, EINVAL },
	{ "second-off-page", { { 2, 0, PAGE }, { 2, 2 * PAGE + 512, PAGE } }, 2, EINVAL },
	{ "wraps", { { 2, UINT64_MAX - PAGE + 1, PAGE } }, 1, EOVERFLOW },
	{ "wraps-far", { { 2, PAGE, UINT64_MAX } }, 1, EOVERFLOW },
	{ "beyond", { { 2, 64 * MIB - PAGE, 2 * PAGE } }, 1, ERANGE },
	{ "beyond-by-a-byte", { { 2, 64 * MIB - PAGE, PAGE + 1 } }, 1, ERANGE },
	{ "behind", { { 2, 64 * MIB, PAGE } }, 1, ERANGE },
	{ "beyond-by-merging", { { 2, 64 * MIB - PAGE, PAGE }, { 2, 64 * MIB, PAGE } }, 2, ERANGE },
	{ "no-such-number", { { 6, 0, PAGE } }, 1, ENODEV },
	{ "absent", { { 1, 0, PAGE } }, 1, ENODEV },
	{ "huge-number", { { UINT32_MAX, 0, PAGE } }, 1, ENODEV },
	{ "two-bars", { { 2, 0, PAGE }, { 0, PAGE, PAGE } }, 2, EXDEV },
	{ "not-to-be-mapped", { { 4, 0, PAGE } }, 1, EACCES },
	{ "io", { { 5, 0, 32 } }, 1, EACCES },
};

static void test_refused(gconstpointer data)
{
	const struct refused_row *row = data;
	struct fixture fixture;

	set_up(&fixture);
	expect(&fixture, vtr_vfio_device_create_dmabuf(fixture.device, row->ranges, row->count, &fixture.error), VTR_ERROR_GUEST,
	       row->code);
	g_assert_cmpint(vtr_vfio_device_create_dmabuf(fixture.device, row->ranges, row->count, NULL), ==, -row->code);
	g_assert_cmpuint(fake.gets, ==, 0);
	tear_down(&fixture);
}

/* A BAR whose page 16 holds an MSI-X table. */
static const struct area_row {
	const char *name;
	uint64_t offset, length;
	bool allowed;
} area_rows[] = {
	{ "before", 0, 16 * PAGE, true },
	{ "behind", 17 * PAGE, PAGE, true },
	{ "to-the-end", 17 * PAGE, 64 * MIB - 17 * PAGE, true },
	{ "the-table", 16 * PAGE, PAGE, false },
	{ "into-it", 15 * PAGE, 2 * PAGE, false },
	{ "out-of-it", 16 * PAGE, 2 * PAGE, false },
	{ "across", 0, 64 * MIB, false },
	{ "tail-into-it", 16 * PAGE, 1, false },
};

static void test_area(gconstpointer data)
{
	const struct area_row *row = data;
	const struct vtr_vfio_range range = { 2, row->offset, row->length };
	const struct vfio_region_sparse_mmap_area areas[] = { { 0, 16 * PAGE }, { 17 * PAGE, 64 * MIB - 17 * PAGE } };
	struct vfio_region_info_cap_sparse_mmap sparse = { .header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .nr_areas = 2 };
	struct vtr_error error = { 0 };

	fake_reset();
	fake.regions[2].info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
	fake.regions[2].info.cap_offset = sizeof(struct vfio_region_info);
	fake.regions[2].info.argsz = sizeof(struct vfio_region_info) + sizeof(sparse) + sizeof(areas);
	memcpy(fake.regions[2].bytes + sizeof(struct vfio_region_info), &sparse, sizeof(sparse));
	memcpy(fake.regions[2].bytes + sizeof(struct vfio_region_info) + sizeof(sparse), areas, sizeof(areas));
	struct vtr_vfio_device *device = fake_open();
	int fd = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);
	if (row->allowed) {
		g_assert_cmpint(close(fd), ==, 0);
	} else {
		g_assert_cmpint(fd, ==, -EACCES);
		g_assert_cmpint(error.owner, ==, VTR_ERROR_GUEST);
		g_assert_cmpuint(fake.gets, ==, 0);
	}
	vtr_vfio_device_destroy(device);
}

/* ---- what the kernel says ---- */

static const struct answer_row {
	const char *name;
	int answer;
	bool decoding, answers;
	enum vtr_error_owner owner;
	int code;
	const char *word; // of the remedy
} answer_rows[] = {
	{ "ENOTTY", ENOTTY, true, true, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "driver" },
	{ "EOPNOTSUPP", EOPNOTSUPP, true, true, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "driver" },
	{ "EINVAL", EINVAL, true, true, VTR_ERROR_HOST, EINVAL, "pages" },
	{ "ENODEV", ENODEV, true, true, VTR_ERROR_HOST, ENODEV, "another driver" },
	{ "ENODEV-decoding-off", ENODEV, false, true, VTR_ERROR_REVOKED, ENODEV, "away" },
	{ "EIO", EIO, true, true, VTR_ERROR_HOST, EIO, "removed" },
	{ "EIO-asleep", EIO, true, false, VTR_ERROR_REVOKED, EIO, "away" },
	{ "EOVERFLOW", EOVERFLOW, true, true, VTR_ERROR_HOST, EOVERFLOW, "2 ranges" },
	{ "ENOMEM", ENOMEM, true, true, VTR_ERROR_HOST, ENOMEM, "2 ranges" },
	{ "EMFILE", EMFILE, true, true, VTR_ERROR_HOST, EMFILE, "ulimit" },
	{ "ENFILE", ENFILE, true, true, VTR_ERROR_HOST, ENFILE, "fs.file-max" },
};

static void test_answer(gconstpointer data)
{
	const struct vtr_vfio_range ranges[] = { { 2, 0, PAGE }, { 2, 2 * PAGE, PAGE } };
	const struct answer_row *row = data;
	struct fixture fixture;

	set_up(&fixture);
	fake.get_error = row->answer;
	fake_decoding(row->decoding);
	fake.config_error = row->answers ? 0 : EIO;
	expect(&fixture, vtr_vfio_device_create_dmabuf(fixture.device, ranges, 2, &fixture.error), row->owner, row->code);
	g_assert_nonnull(strstr(fixture.error.text, row->word));
	/* what turns out not to be there is not tried again; everything else is */
	vtr_vfio_device_create_dmabuf(fixture.device, ranges, 2, NULL);
	g_assert_cmpuint(fake.gets, ==, row->owner == VTR_ERROR_UNSUPPORTED ? 1 : 2);
	tear_down(&fixture);
}

static void test_decoding_off(void)
{
	const struct vtr_vfio_range range = { 2, 0, PAGE };
	struct fixture fixture;

	set_up(&fixture);
	fake_decoding(false);
	expect(&fixture, vtr_vfio_device_create_dmabuf(fixture.device, &range, 1, &fixture.error), VTR_ERROR_NONE, 0);
	tear_down(&fixture);
}

static void test_many(void)
{
	struct vtr_vfio_range *ranges = g_new(struct vtr_vfio_range, VTR_MAX_ENTRIES);
	struct fixture fixture;

	set_up(&fixture);
	for (unsigned i = 0; i < VTR_MAX_ENTRIES; i++)
		ranges[i] = (struct vtr_vfio_range){ 2, (uint64_t)(i % 8192 * 2) * PAGE, PAGE };
	expect(&fixture, vtr_vfio_device_create_dmabuf(fixture.device, ranges, VTR_MAX_ENTRIES, &fixture.error), VTR_ERROR_NONE, 0);
	g_assert_cmpuint(fake.nr_ranges, ==, VTR_MAX_ENTRIES);
	tear_down(&fixture);
	g_free(ranges);
}

/* ---- host addresses ---- */

/* BAR 2 is mapped in three pieces: its first 16 pages, behind them in memory pages 16 to 31, and elsewhere page 100. Behind that
 * lies a page of BAR 0. */
static const struct host_row {
	const char *name;
	struct {
		uint64_t host, length;
	} iov[MAX_RANGES];
	size_t count;
	enum vtr_error_owner owner;
	int code;
	struct vtr_vfio_dma_range asked[MAX_RANGES];
	uint32_t n_asked;
} host_rows[] = {
	{ "one", { { BAR2_HOST + PAGE, PAGE } }, 1, 0, 0, { { PAGE, PAGE } }, 1 },
	{ "neighbours", { { BAR2_HOST, PAGE }, { BAR2_HOST + PAGE, PAGE } }, 2, 0, 0, { { 0, 2 * PAGE } }, 1 },
	{ "across-mappings", { { BAR2_HOST + 15 * PAGE, 2 * PAGE } }, 1, 0, 0, { { 15 * PAGE, 2 * PAGE } }, 1 },
	{ "two", { { BAR2_HOST + MIB, PAGE }, { BAR2_HOST, PAGE } }, 2, 0, 0, { { 100 * PAGE, PAGE }, { 0, PAGE } }, 2 },
	{ "tail", { { BAR2_HOST + MIB, 7 } }, 1, 0, 0, { { 100 * PAGE, PAGE } }, 1 },
	{ "nowhere", { { BAR2_HOST - PAGE, PAGE } }, 1, VTR_ERROR_GUEST, EFAULT, { { 0 } }, 0 },
	{ "out-of-the-mapping", { { BAR2_HOST + 31 * PAGE, 2 * PAGE } }, 1, VTR_ERROR_GUEST, EFAULT, { { 0 } }, 0 },
	{ "second-nowhere", { { BAR2_HOST, PAGE }, { 0, PAGE } }, 2, VTR_ERROR_GUEST, EFAULT, { { 0 } }, 0 },
	{ "no-length", { { BAR2_HOST, 0 } }, 1, VTR_ERROR_GUEST, EINVAL, { { 0 } }, 0 },
	{ "wraps", { { BAR2_HOST, UINT64_MAX } }, 1, VTR_ERROR_GUEST, EOVERFLOW, { { 0 } }, 0 },
	{ "off-page", { { BAR2_HOST + 8, PAGE } }, 1, VTR_ERROR_GUEST, EINVAL, { { 0 } }, 0 },
	{ "two-bars", { { BAR2_HOST, PAGE }, { BAR2_HOST + MIB + PAGE, PAGE } }, 2, VTR_ERROR_GUEST, EXDEV, { { 0 } }, 0 },
	{ "into-another-bar", { { BAR2_HOST + MIB, 2 * PAGE } }, 1, VTR_ERROR_GUEST, EXDEV, { { 0 } }, 0 },
	{ "two-devices", { { BAR2_HOST, PAGE }, { BAR2_HOST + 2 * MIB, PAGE } }, 2, VTR_ERROR_GUEST, EXDEV, { { 0 } }, 0 },
	{ "none", { { 0 } }, 0, VTR_ERROR_GUEST, EINVAL, { { 0 } }, 0 },
};

static void add_mappings(struct fixture *fixture)
{
	struct vtr_vfio_device *other = fake_open();

	g_assert_cmpint(vtr_vfio_device_add_mapping(fixture->device, 2, 0, (void *)BAR2_HOST, 16 * PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(fixture->device, 2, 16 * PAGE, (void *)(BAR2_HOST + 16 * PAGE), 16 * PAGE), ==,
	                0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(fixture->device, 2, 100 * PAGE, (void *)(BAR2_HOST + MIB), PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(fixture->device, 0, 0, (void *)(BAR2_HOST + MIB + PAGE), PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_device_add_mapping(other, 2, 0, (void *)(BAR2_HOST + 2 * MIB), PAGE), ==, 0);
	g_assert_cmpint(vtr_vfio_devices_add(fixture->devices, other), ==, 0);
}

static void expect_asked(const struct vtr_vfio_dma_range *asked, uint32_t n_asked)
{
	g_assert_cmpuint(fake.gets, ==, n_asked ? 1 : 0);
	g_assert_cmpuint(fake.nr_ranges, ==, n_asked);
	for (uint32_t i = 0; i < n_asked; i++) {
		g_assert_cmphex(fake.ranges[i].offset, ==, asked[i].offset);
		g_assert_cmphex(fake.ranges[i].length, ==, asked[i].length);
	}
}

static void test_host(gconstpointer data)
{
	const struct host_row *row = data;
	struct iovec iov[MAX_RANGES];
	struct fixture fixture;

	set_up(&fixture);
	add_mappings(&fixture);
	for (size_t i = 0; i < row->count; i++)
		iov[i] = (struct iovec){ .iov_base = (void *)row->iov[i].host, .iov_len = row->iov[i].length };
	expect(&fixture, vtr_vfio_devices_dmabuf_from_iovec(fixture.devices, iov, row->count, &fixture.error), row->owner,
	       row->code);
	expect_asked(row->asked, row->n_asked);
	tear_down(&fixture);
}

/* ---- guest addresses ---- */

static const struct guest_row {
	const char *name;
	struct vtr_mem_entry entries[MAX_RANGES];
	size_t count;
	enum vtr_error_owner owner;
	int code;
	struct vtr_vfio_dma_range asked[MAX_RANGES];
	uint32_t n_asked;
} guest_rows[] = {
	{ "one", { { BAR2_ADDRESS + PAGE, PAGE } }, 1, 0, 0, { { PAGE, PAGE } }, 1 },
	{ "neighbours", { { BAR2_ADDRESS, PAGE }, { BAR2_ADDRESS + PAGE, PAGE } }, 2, 0, 0, { { 0, 2 * PAGE } }, 1 },
	{ "two", { { BAR2_ADDRESS + MIB, PAGE }, { BAR2_ADDRESS, PAGE } }, 2, 0, 0, { { MIB, PAGE }, { 0, PAGE } }, 2 },
	{ "nowhere", { { 0x1000, PAGE } }, 1, VTR_ERROR_GUEST, EFAULT, { { 0 } }, 0 },
	{ "beyond", { { BAR2_ADDRESS + 64 * MIB - PAGE, 2 * PAGE } }, 1, VTR_ERROR_GUEST, ERANGE, { { 0 } }, 0 },
	{ "no-length", { { BAR2_ADDRESS, 0 } }, 1, VTR_ERROR_GUEST, EINVAL, { { 0 } }, 0 },
	{ "wraps", { { UINT64_MAX, PAGE } }, 1, VTR_ERROR_GUEST, EOVERFLOW, { { 0 } }, 0 },
	{ "two-bars", { { BAR2_ADDRESS, PAGE }, { 0xfe000000, PAGE } }, 2, VTR_ERROR_GUEST, EXDEV, { { 0 } }, 0 },
	{ "not-to-be-mapped", { { 0xfe200000, PAGE } }, 1, VTR_ERROR_GUEST, EACCES, { { 0 } }, 0 },
};

static void test_guest(gconstpointer data)
{
	const struct guest_row *row = data;
	struct fixture fixture;

	set_up(&fixture);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_entries(fixture.devices, row->entries, row->count, &fixture.error),
	       row->owner, row->code);
	expect_asked(row->asked, row->n_asked);
	tear_down(&fixture);
}

static void test_moved(void)
{
	const struct vtr_mem_entry here = { BAR2_ADDRESS, PAGE }, there = { 2 * BAR2_ADDRESS, PAGE };
	struct fixture fixture;

	set_up(&fixture);
	fake_bar(3, 16);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_entries(fixture.devices, &here, 1, &fixture.error), VTR_ERROR_GUEST, EFAULT);
	fixture.error = (struct vtr_error){ 0 };
	expect(&fixture, vtr_vfio_devices_dmabuf_from_entries(fixture.devices, &there, 1, &fixture.error), VTR_ERROR_NONE, 0);
	fake_decoding(false);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_entries(fixture.devices, &there, 1, &fixture.error), VTR_ERROR_REVOKED,
	       ENODEV);
	fake_decoding(true);
	fixture.error = (struct vtr_error){ 0 };
	expect(&fixture, vtr_vfio_devices_dmabuf_from_entries(fixture.devices, &there, 1, &fixture.error), VTR_ERROR_NONE, 0);
	tear_down(&fixture);
}

/* ---- spans ---- */

static void test_spans(void)
{
	const struct vtr_mem_entry entries[] = { { BAR2_ADDRESS + MIB, PAGE }, { BAR2_ADDRESS, PAGE } }, nowhere = { 0x5000, PAGE };
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_spans spans, elsewhere;
	struct fixture fixture;

	set_up(&fixture);
	g_assert_cmpint(vtr_memory_add(memory, BAR2_ADDRESS, 64 * MIB, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, 0, 64 * PAGE, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, 2, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&elsewhere, memory, &nowhere, 1, NULL), ==, 0);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_spans(fixture.devices, &spans, &fixture.error), VTR_ERROR_NONE, 0);
	g_assert_cmpuint(fake.nr_ranges, ==, 2);
	g_assert_cmphex(fake.ranges[0].offset, ==, MIB);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_spans(fixture.devices, &elsewhere, &fixture.error), VTR_ERROR_UNSUPPORTED,
	       EOPNOTSUPP);
	fake_decoding(false);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_spans(fixture.devices, &spans, &fixture.error), VTR_ERROR_REVOKED, ENODEV);
	g_assert_cmpint(vtr_memory_remove(memory, BAR2_ADDRESS, 64 * MIB), ==, 0);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_spans(fixture.devices, &spans, &fixture.error), VTR_ERROR_REVOKED, EFAULT);
	vtr_spans_finish(&spans);
	vtr_spans_finish(&elsewhere);
	vtr_memory_destroy(memory);
	tear_down(&fixture);
}

static void test_spans_in_ram(void)
{
	const struct vtr_mem_entry entry = { BAR2_ADDRESS, PAGE };
	struct vtr_memory *memory = vtr_memory_create();
	int fd = memfd_create("ram", MFD_CLOEXEC);
	struct vtr_spans spans;
	struct fixture fixture;

	set_up(&fixture);
	g_assert_cmpint(ftruncate(fd, PAGE), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, BAR2_ADDRESS, PAGE, fd, 0, true), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	expect(&fixture, vtr_vfio_devices_dmabuf_from_spans(fixture.devices, &spans, &fixture.error), VTR_ERROR_UNSUPPORTED,
	       EOPNOTSUPP);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
	tear_down(&fixture);
}

/* ---- importers ---- */

static const struct import_row {
	const char *name;
	int code;
	size_t ranges;
	enum vtr_error_owner owner;
	const char *word;
} import_rows[] = {
	{ "ENODEV", ENODEV, 2, VTR_ERROR_REVOKED, "away" },
	{ "EOPNOTSUPP", EOPNOTSUPP, 1, VTR_ERROR_UNSUPPORTED, "amdgpu" },
	{ "EADDRINUSE", EADDRINUSE, 63, VTR_ERROR_UNSUPPORTED, "iommu=pt" },
	{ "EADDRINUSE-of-one", EADDRINUSE, 1, VTR_ERROR_HOST, "did not import" },
	{ "EINVAL", EINVAL, 1, VTR_ERROR_UNSUPPORTED, "switch" },
	{ "ENOMEM", ENOMEM, 1, VTR_ERROR_HOST, "did not import" },
};

static void test_import(gconstpointer data)
{
	const struct import_row *row = data;
	struct vtr_error error;

	g_assert_cmpint(vtr_vfio_import_error(&error, row->code, row->ranges), ==, -row->code);
	g_assert_cmpint(error.owner, ==, row->owner);
	g_assert_nonnull(strstr(error.text, row->word));
	g_assert_cmpuint(strlen(error.text), <, sizeof(error.text) - 1);
}

#define ADD_ROWS(path, rows, function)                                                                                             \
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {                                                                          \
		g_autofree char *name = g_strdup_printf(path "/%s", rows[i].name);                                                 \
		g_test_add_data_func(name, &rows[i], function);                                                                    \
	}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/vfio/dmabuf/made", made_rows, test_made);
	ADD_ROWS("/unit/vfio/dmabuf/refused", refused_rows, test_refused);
	ADD_ROWS("/unit/vfio/dmabuf/area", area_rows, test_area);
	ADD_ROWS("/unit/vfio/dmabuf/answer", answer_rows, test_answer);
	g_test_add_func("/unit/vfio/dmabuf/decoding-off", test_decoding_off);
	g_test_add_func("/unit/vfio/dmabuf/as-many-as-there-may-be", test_many);
	ADD_ROWS("/unit/vfio/dmabuf/host", host_rows, test_host);
	ADD_ROWS("/unit/vfio/dmabuf/guest", guest_rows, test_guest);
	g_test_add_func("/unit/vfio/dmabuf/guest/moved", test_moved);
	g_test_add_func("/unit/vfio/dmabuf/spans", test_spans);
	g_test_add_func("/unit/vfio/dmabuf/spans/ram", test_spans_in_ram);
	ADD_ROWS("/unit/vfio/import", import_rows, test_import);
	return g_test_run();
}
