/* SPDX-License-Identifier: MIT */
#include "fake_vfio.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include <vitrine/limits.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/vfio.h>

#include "rows.h"

/*
 * A guest's memory map and a device with one BAR: BAR 2, 64 MiB at BASE. The device's memory is a file (fake_memory()), of which a
 * test can read what the device's fd would show. A region is written as "address-last kind", with a + when the CPU can read it and
 * addresses from BASE on.
 */

#define BASE UINT64_C(0x800000000)

enum { MIB = 1 << 20, BAR_SIZE = 64 * MIB };

struct fixture {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vfio_assigned *assigned;
	int file; // the device's memory
	unsigned changes, removing, added;
	struct vtr_memory_listener listener;
	bool ask; // the listener resolves something when a region was added
	unsigned fds;
};

static unsigned count_fds(void)
{
	GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(dir))
		count++;
	g_dir_close(dir);
	return count;
}

static struct fixture *fixture_from_listener(struct vtr_memory_listener *listener)
{
	return (struct fixture *)((char *)listener - offsetof(struct fixture, listener));
}

static void on_removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	fixture_from_listener(listener)->removing++;
	g_assert_true(region->mapped);
}

static void on_added(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	struct fixture *fixture = fixture_from_listener(listener);
	const struct vtr_mem_entry nowhere = { .address = 1, .length = 1 };
	struct vtr_spans spans;

	fixture->added++;
	if (fixture->ask)
		g_assert_cmpint(vtr_spans_resolve_named(&spans, fixture->memory, &nowhere, 1, NULL), ==, -EFAULT);
}

static void on_change(void *data)
{
	((struct fixture *)data)->changes++;
}

/* Everything that is due happens. */
static void turn(struct fixture *fixture)
{
	for (int i = 0; i < 3; i++)
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 0), ==, 0);
}

static void set_up(struct fixture *fixture)
{
	*fixture = (struct fixture){ .fds = count_fds() };
	fake_reset();
	fake_region(0, 0, 0);
	fixture->file = fake_memory();
	fixture->loop = vtr_loop_create();
	fixture->memory = vtr_memory_create();
	fixture->assigned = vtr_vfio_assigned_create(fixture->loop, fixture->memory);
	g_assert_nonnull(fixture->assigned);
	vtr_vfio_assigned_on_change(fixture->assigned, on_change, fixture);
	fixture->listener = (struct vtr_memory_listener){ .removing = on_removing, .added = on_added };
	vtr_memory_add_listener(fixture->memory, &fixture->listener);
}

static void tear_down(struct fixture *fixture)
{
	vtr_vfio_assigned_destroy(fixture->assigned);
	vtr_memory_destroy(fixture->memory);
	vtr_loop_destroy(fixture->loop);
	close(fixture->file);
	g_assert_cmpuint(count_fds(), ==, fixture->fds);
}

static void assign(struct fixture *fixture, const char *name)
{
	g_assert_cmpint(vtr_vfio_assigned_add_device(fixture->assigned, fake_open_memory(fixture->file, name), NULL), ==, 0);
	turn(fixture);
}

/* Memory without an fd, as a VMM announces a BAR that it may not share. */
static int announce(struct fixture *fixture, uint64_t offset, uint64_t size)
{
	int error = vtr_memory_add(fixture->memory, BASE + offset, size, -1, 0, true);

	turn(fixture);
	return error;
}

static void assert_map(const struct fixture *fixture, const char *expected)
{
	g_autoptr(GString) map = g_string_new("");
	const struct vtr_region *region;

	for (size_t i = 0; (region = vtr_memory_region(fixture->memory, i)); i++)
		g_string_append_printf(map, "%s%" PRIx64 "-%" PRIx64 " %s%s", i ? ", " : "", region->address - BASE,
		                       region->address - BASE + (region->size - 1), vtr_region_kind_name(region->kind),
		                       region->data ? "+" : "");
	g_assert_cmpstr(map->str, ==, expected);
}

/* Writes to the device's memory, byte by byte what the guest's address tells. */
static void write_memory(const struct fixture *fixture, uint64_t offset, const char *text)
{
	off_t at = (off_t)((UINT64_C(2) << FAKE_FD_OFFSET) + offset);

	g_assert_cmpint(pwrite(fixture->file, text, strlen(text), at), ==, strlen(text));
}

static int read_back(const struct fixture *fixture, uint64_t offset, char *text, size_t length)
{
	memset(text, 'x', length);
	return vtr_memory_read(fixture->memory, BASE + offset, text, length);
}

static void assert_text(const struct fixture *fixture, uint64_t offset, const char *expected)
{
	char text[32] = "";

	g_assert_cmpint(read_back(fixture, offset, text, strlen(expected)), ==, 0);
	text[strlen(expected)] = '\0';
	g_assert_cmpstr(text, ==, expected);
}

static void set_areas(const struct vfio_region_sparse_mmap_area *areas, unsigned count)
{
	struct vfio_region_info_cap_sparse_mmap sparse = { .header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .nr_areas = count };
	struct vfio_region_info *info = &fake.regions[2].info;

	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	info->cap_offset = sizeof(*info);
	info->argsz = (uint32_t)(sizeof(*info) + sizeof(sparse) + count * sizeof(areas[0]));
	memcpy(fake.regions[2].bytes + sizeof(*info), &sparse, sizeof(sparse));
	memcpy(fake.regions[2].bytes + sizeof(*info) + sizeof(sparse), areas, count * sizeof(areas[0]));
}

/* ---- what the map looks like ---- */

static const struct cover_row {
	const char *name;
	struct vfio_region_sparse_mmap_area areas[2]; // none: all of the BAR may be mapped
	struct {
		uint64_t offset, size;
	} announced[3];
	const char *expected;
} cover_rows[] = {
	{ "nothing-announced", { { 0 } }, { { 0 } }, "0-3ffffff vfio+" },
	{ "all-announced", { { 0 } }, { { 0, BAR_SIZE } }, "0-3ffffff remote+" },
	{ "in-two-pieces", { { 0 } }, { { 0, MIB }, { MIB, 63 * MIB } }, "0-fffff remote+, 100000-3ffffff remote+" },
	{ "a-part-announced", { { 0 } }, { { MIB, MIB } }, "0-fffff vfio+, 100000-1fffff remote+, 200000-3ffffff vfio+" },
	{ "a-byte-announced", { { 0 } }, { { 1, 1 } }, "0-0 vfio+, 1-1 remote+, 2-3ffffff vfio+" },
	{ "the-end-announced", { { 0 } }, { { 63 * MIB, MIB } }, "0-3efffff vfio+, 3f00000-3ffffff remote+" },
	{ "beside-it", { { 0 } }, { { BAR_SIZE, MIB } }, "0-3ffffff vfio+, 4000000-40fffff remote" },
	{ "beyond-its-end", { { 0 } }, { { 63 * MIB, 2 * MIB } }, "0-3efffff vfio+, 3f00000-40fffff remote" },
	{ "before-its-begin", { { 0 } }, { { -MIB, 2 * MIB } }, "fffffffffff00000-fffff remote, 100000-3ffffff vfio+" },
	{ "around-it", { { 0 } }, { { -MIB, BAR_SIZE + 2 * MIB } }, "fffffffffff00000-40fffff remote" },
	{ "sparse", { { 0, MIB }, { 2 * MIB, 62 * MIB } }, { { 0 } }, "0-fffff vfio+, 200000-3ffffff vfio+" },
	{ "sparse-all-announced",
	  { { 0, MIB }, { 2 * MIB, 62 * MIB } },
	  { { 0, MIB }, { MIB, MIB }, { 2 * MIB, 62 * MIB } },
	  "0-fffff remote+, 100000-1fffff remote, 200000-3ffffff remote+" },
	{ "sparse-announced-whole", { { 0, MIB }, { 2 * MIB, 62 * MIB } }, { { 0, BAR_SIZE } }, "0-3ffffff remote" },
	{ "sparse-over-the-hole", { { 0, MIB }, { 2 * MIB, MIB } }, { { 0, 2 * MIB } }, "0-1fffff remote, 200000-2fffff vfio+" },
};

static void announce_row(struct fixture *fixture, const struct cover_row *row)
{
	for (size_t i = 0; i < G_N_ELEMENTS(row->announced) && row->announced[i].size; i++)
		g_assert_cmpint(announce(fixture, row->announced[i].offset, row->announced[i].size), ==, 0);
}

/* Whatever comes first, device or memory, the map is the same. */
static void test_cover(gconstpointer data)
{
	const struct cover_row *row = data;

	for (int device_first = 0; device_first < 2; device_first++) {
		struct fixture fixture;

		set_up(&fixture);
		if (row->areas[0].size)
			set_areas(row->areas, 1 + (row->areas[1].size != 0));
		if (device_first)
			assign(&fixture, "a");
		announce_row(&fixture, row);
		if (!device_first)
			assign(&fixture, "a");
		assert_map(&fixture, row->expected);
		g_assert_cmpuint(fixture.changes, >, 0);
		vtr_memory_remove_all(fixture.memory);
		turn(&fixture);
		tear_down(&fixture);
	}
}

/* RAM that the VMM says is there is there. */
static void test_ram_in_bar(void)
{
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "a");
	int fd = memfd_create("ram", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(fd, MIB), ==, 0);
	g_assert_cmpint(pwrite(fd, "ram", 3, 0), ==, 3);
	g_assert_cmpint(vtr_memory_add(fixture.memory, BASE, MIB, fd, 0, true), ==, 0);
	turn(&fixture);
	assert_map(&fixture, "0-fffff ram+, 100000-3ffffff vfio+");
	assert_text(&fixture, 0, "ram");
	tear_down(&fixture);
}

/* ---- reading and writing ---- */

static void test_read(void)
{
	const struct vtr_mem_entry entries[] = { { .address = BASE + MIB - 2, .length = 4 }, { .address = BASE, .length = 3 } };
	struct vtr_spans spans;
	struct fixture fixture;
	char text[8] = "";

	set_up(&fixture);
	assign(&fixture, "a");
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	write_memory(&fixture, 0, "abc");
	write_memory(&fixture, MIB - 2, "1234");
	assert_text(&fixture, MIB - 2, "1234");
	g_assert_cmpint(vtr_spans_resolve(&spans, fixture.memory, entries, 2, NULL), ==, 0);
	g_assert_true(spans.cpu);
	g_assert_cmpuint(spans.count, ==, 3);
	g_assert_cmpint(vtr_spans_read(&spans, 0, text, 7), ==, 0);
	g_assert_cmpstr(text, ==, "1234abc");
	/* nothing is written here: what the VMM announced it is asked to write, what it did not is refused */
	g_assert_cmpint(vtr_memory_write(fixture.memory, BASE, "x", 1), ==, -ENOTCONN);
	g_assert_cmpint(vtr_memory_write(fixture.memory, BASE + MIB, "x", 1), ==, -EACCES);
	assert_text(&fixture, 0, "abc");
	vtr_spans_finish(&spans);
	tear_down(&fixture);
}

/* The guest switches decoding off: the kernel takes the pages out of our mapping. */
static void test_revoked(gconstpointer data)
{
	bool announced = GPOINTER_TO_INT(data);
	struct fixture fixture;
	char text[8];

	set_up(&fixture);
	assign(&fixture, "a");
	if (announced)
		g_assert_cmpint(announce(&fixture, 0, BAR_SIZE), ==, 0);
	write_memory(&fixture, 5 * PAGE, "first");
	assert_text(&fixture, 5 * PAGE, "first");
	unsigned changes = fixture.changes;
	for (int round = 0; round < 3; round++) {
		fake_decoding(false);
		g_assert_cmpint(ftruncate(fixture.file, PAGE), ==, 0);
		g_assert_cmpint(read_back(&fixture, 5 * PAGE, text, 5), ==, -EFAULT);
		g_assert_cmpint(read_back(&fixture, 5 * PAGE, text, 5), ==, -EFAULT);
		g_assert_true(vtr_region_faulted(vtr_memory_region(fixture.memory, 0)));
		turn(&fixture);
		assert_map(&fixture, announced ? "0-3ffffff remote+" : "0-3ffffff vfio+");
		g_assert_cmpuint(fixture.changes, ==, ++changes); // a BAR went away: once
		fake_decoding(true);
		g_assert_cmpint(ftruncate(fixture.file, (off_t)((UINT64_C(2) << FAKE_FD_OFFSET) + BAR_SIZE)), ==, 0);
		write_memory(&fixture, 5 * PAGE, "again");
		assert_text(&fixture, 5 * PAGE, "again");
		g_assert_false(vtr_region_faulted(vtr_memory_region(fixture.memory, 0)));
		turn(&fixture);
		g_assert_cmpuint(fixture.changes, ==, ++changes); // it is back: once
		assert_text(&fixture, 5 * PAGE, "again");
		turn(&fixture);
	}
	tear_down(&fixture);
}

/* ---- a BAR that moves ---- */

static void move_bar(uint32_t high)
{
	fake_bar(3, high);
}

static void notice_by_map(struct fixture *fixture)
{
	g_assert_cmpint(announce(fixture, UINT64_C(0x1000000000), PAGE), ==, 0);
}

static void notice_by_name(struct fixture *fixture)
{
	const struct vtr_mem_entry entry = { .address = UINT64_C(0x900000000), .length = 16 };
	struct vtr_spans spans;

	/* at once, without a turn of the loop */
	g_assert_cmpint(vtr_spans_resolve_named(&spans, fixture->memory, &entry, 1, NULL), ==, 0);
	g_assert_true(spans.cpu);
	vtr_spans_finish(&spans);
	turn(fixture);
}

/* The guest names the old place, which the map still has: it is looked at before it is believed. */
static void notice_by_old_name(struct fixture *fixture)
{
	const struct vtr_mem_entry entry = { .address = BASE, .length = 16 };
	struct vtr_spans spans;

	g_assert_cmpint(vtr_spans_resolve_named(&spans, fixture->memory, &entry, 1, NULL), ==, -EFAULT);
	turn(fixture);
}

static void notice_by_fault(struct fixture *fixture)
{
	char text[8];

	g_assert_cmpint(ftruncate(fixture->file, 0), ==, 0);
	g_assert_cmpint(read_back(fixture, 0, text, 8), ==, -EFAULT);
	turn(fixture);
	g_assert_cmpint(ftruncate(fixture->file, (off_t)((UINT64_C(2) << FAKE_FD_OFFSET) + BAR_SIZE)), ==, 0);
}

static const struct notice_row {
	const char *name;
	void (*notice)(struct fixture *fixture);
	const char *other; // region that comes with it
} notice_rows[] = {
	{ "the-map-changes", notice_by_map, ", 1000000000-1000000fff remote" },
	{ "the-guest-names-it", notice_by_name, "" },
	{ "the-guest-names-the-old-place", notice_by_old_name, "" },
	{ "a-read-fails", notice_by_fault, "" },
};

static void test_moves(gconstpointer data)
{
	const struct notice_row *row = data;
	g_autofree char *after = g_strconcat("100000000-103ffffff vfio+", row->other, NULL);
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "a");
	assert_map(&fixture, "0-3ffffff vfio+");
	unsigned changes = fixture.changes;
	move_bar(9);
	turn(&fixture);
	assert_map(&fixture, "0-3ffffff vfio+");
	row->notice(&fixture);
	assert_map(&fixture, after);
	g_assert_cmpuint(fixture.changes, ==, changes + 1);
	write_memory(&fixture, 3, "moved");
	assert_text(&fixture, UINT64_C(0x100000003), "moved");
	tear_down(&fixture);
}

/* What the VMM announced stays where it is, but it is not the BAR any more. */
static void test_moves_away_from_announced(void)
{
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "a");
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	move_bar(9);
	notice_by_map(&fixture);
	assert_map(&fixture, "0-fffff remote, 100000000-103ffffff vfio+, 1000000000-1000000fff remote");
	tear_down(&fixture);
}

/* Nobody looks without a reason. */
static void test_idle(void)
{
	const struct vtr_mem_entry entry = { .address = 0x1000, .length = 16 };
	struct vtr_spans spans;
	struct fixture fixture;
	char text[16];

	set_up(&fixture);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0x1000, PAGE, memfd_create("ram", MFD_CLOEXEC), 0, true), ==, -EINVAL);
	g_assert_cmpint(announce(&fixture, -MIB, MIB), ==, 0);
	g_assert_cmpint(vtr_spans_resolve_named(&spans, fixture.memory, &entry, 1, NULL), ==, -EFAULT);
	g_assert_cmpuint(fake.reads, ==, 0); // without a device there is nothing to be looked at
	assign(&fixture, "a");
	g_assert_cmpint(announce(&fixture, 0, BAR_SIZE), ==, 0);
	unsigned reads = fake.reads, changes = fixture.changes;
	for (int i = 0; i < 100; i++) {
		turn(&fixture);
		g_assert_cmpint(read_back(&fixture, 0, text, sizeof(text)), ==, 0);
	}
	g_assert_cmpuint(fake.reads, ==, reads);
	/* announced memory is where the VMM says */
	g_assert_cmpint(vtr_spans_resolve_named(&spans, fixture.memory, &(struct vtr_mem_entry){ .address = BASE, .length = PAGE },
	                                        1, NULL),
	                ==, 0);
	vtr_spans_finish(&spans);
	g_assert_cmpuint(fake.reads, ==, reads);
	g_assert_cmpuint(fixture.changes, ==, changes);
	tear_down(&fixture);
}

/* A hundred changes of the map are one reason to look. */
static void test_many_changes(void)
{
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "a");
	unsigned reads = fake.reads;
	for (uint64_t i = 0; i < 100; i++)
		g_assert_cmpint(vtr_memory_add(fixture.memory, BASE + BAR_SIZE + i * PAGE, PAGE, -1, 0, true), ==, 0);
	turn(&fixture);
	g_assert_cmpuint(fake.reads, ==, reads + 1);
	tear_down(&fixture);
}

/* ---- the VMM's word ---- */

static void test_vmm_wins(void)
{
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "a");
	/* over all of it, over a part, over an end */
	g_assert_cmpint(vtr_memory_add(fixture.memory, BASE - PAGE, BAR_SIZE + 2 * PAGE, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_remove(fixture.memory, BASE - PAGE, BAR_SIZE + 2 * PAGE), ==, 0);
	turn(&fixture);
	assert_map(&fixture, "0-3ffffff vfio+");
	g_assert_cmpint(announce(&fixture, MIB, MIB), ==, 0);
	assert_map(&fixture, "0-fffff vfio+, 100000-1fffff remote+, 200000-3ffffff vfio+");
	/* its own it may not map twice */
	g_assert_cmpint(announce(&fixture, MIB, PAGE), ==, -EEXIST);
	g_assert_cmpint(announce(&fixture, 0, BAR_SIZE), ==, -EEXIST);
	assert_map(&fixture, "0-fffff vfio+, 100000-1fffff remote+, 200000-3ffffff vfio+");
	/* to what it removes, ours do not exist */
	g_assert_cmpint(vtr_memory_remove(fixture.memory, BASE, MIB), ==, -ENOENT);
	g_assert_cmpint(vtr_memory_remove(fixture.memory, BASE + PAGE, PAGE), ==, -ENOENT);
	g_assert_cmpint(vtr_memory_remove(fixture.memory, BASE + MIB, PAGE), ==, -EINVAL);
	g_assert_cmpint(vtr_memory_remove(fixture.memory, BASE + PAGE, 2 * MIB), ==, 0);
	turn(&fixture);
	assert_map(&fixture, "0-fffff vfio+, 100000-1fffff vfio+, 200000-3ffffff vfio+");
	/* memory that cannot be mapped is refused, and ours comes back */
	g_assert_cmpint(vtr_memory_add(fixture.memory, BASE, PAGE, open("/dev/null", O_RDWR | O_CLOEXEC), 0, true), ==, -EINVAL);
	turn(&fixture);
	assert_map(&fixture, "0-fffff vfio+, 100000-1fffff vfio+, 200000-3ffffff vfio+");
	tear_down(&fixture);
}

/* ---- devices come and go ---- */

static void test_remove(void)
{
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "a");
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	g_assert_cmpint(vtr_vfio_assigned_remove(fixture.assigned, "b"), ==, -ENOENT);
	unsigned changes = fixture.changes, removing = fixture.removing, added = fixture.added;
	g_assert_cmpint(vtr_vfio_assigned_remove(fixture.assigned, "a"), ==, 0);
	assert_map(&fixture, "0-fffff remote");
	/* at once, and what was made of the region that stays is made again */
	g_assert_cmpuint(fixture.changes, ==, changes + 1);
	g_assert_cmpuint(fixture.removing, ==, removing + 2);
	g_assert_cmpuint(fixture.added, ==, added + 1);
	g_assert_null(vtr_vfio_devices_get(vtr_vfio_assigned_devices(fixture.assigned), 0));
	turn(&fixture);
	g_assert_cmpuint(fixture.changes, ==, changes + 1);
	/* and again */
	assign(&fixture, "a");
	assert_map(&fixture, "0-fffff remote+, 100000-3ffffff vfio+");
	tear_down(&fixture);
}

/* A device that we hold could not be opened by the next VMM. */
static void test_vmm_leaves(void)
{
	struct fixture fixture;

	set_up(&fixture);
	struct vtr_vfio_devices *devices = vtr_vfio_assigned_devices(fixture.assigned);
	assign(&fixture, "a");
	assign(&fixture, "b");
	vtr_memory_remove_all(fixture.memory);
	vtr_vfio_assigned_vmm_left(fixture.assigned); // somebody was there, but it was no VMM
	g_assert_nonnull(vtr_vfio_devices_get(devices, 1));
	turn(&fixture);
	assert_map(&fixture, "0-3ffffff vfio+");
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	vtr_memory_remove_all(fixture.memory);
	vtr_vfio_assigned_vmm_left(fixture.assigned);
	g_assert_null(vtr_vfio_devices_get(devices, 0));
	turn(&fixture);
	assert_map(&fixture, "");
	/* the next one's */
	assign(&fixture, "c");
	vtr_vfio_assigned_vmm_left(fixture.assigned);
	g_assert_nonnull(vtr_vfio_devices_get(devices, 0));
	tear_down(&fixture);
}

/* Two devices that say the same: the fake answers for both. What one held the other takes over. */
static void test_two(void)
{
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "a");
	fake_bar(2, 0x0400000c);
	assign(&fixture, "b");
	assert_map(&fixture, "4000000-7ffffff vfio+");
	g_assert_cmpint(vtr_vfio_assigned_remove(fixture.assigned, "a"), ==, 0);
	assert_map(&fixture, "4000000-7ffffff vfio+");
	tear_down(&fixture);
}

static void test_names(void)
{
	struct vtr_error error = { 0 };
	struct fixture fixture;

	set_up(&fixture);
	assign(&fixture, "0000:01:00.0");
	g_assert_cmpint(vtr_vfio_assigned_add_device(fixture.assigned, fake_open_memory(fixture.file, "0000:01:00.0"), &error), ==,
	                -EEXIST);
	g_assert_nonnull(strstr(error.text, "already"));
	for (int i = 1; i < VTR_MAX_VFIO_DEVICES; i++)
		assign(&fixture, NULL);
	struct vtr_vfio_devices *devices = vtr_vfio_assigned_devices(fixture.assigned);
	g_assert_cmpstr(vtr_vfio_device_name(vtr_vfio_devices_get(devices, 1)), ==, "VFIO device");
	g_assert_cmpstr(vtr_vfio_device_name(vtr_vfio_devices_get(devices, 2)), ==, "VFIO device 2");
	g_assert_cmpstr(vtr_vfio_device_name(vtr_vfio_devices_get(devices, 15)), ==, "VFIO device 15");
	g_assert_cmpint(vtr_vfio_assigned_add_device(fixture.assigned, fake_open_memory(fixture.file, NULL), &error), ==, -ENOSPC);
	g_assert_cmpint(vtr_vfio_assigned_remove(fixture.assigned, "VFIO device 2"), ==, 0);
	assign(&fixture, NULL);
	g_assert_cmpstr(vtr_vfio_device_name(vtr_vfio_devices_get(devices, 15)), ==, "VFIO device 2");
	tear_down(&fixture);
}

static int open_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int open_memfd(void)
{
	return memfd_create("x", MFD_CLOEXEC);
}

static int open_nothing(void)
{
	return -1;
}

static const struct no_device_row {
	const char *name;
	int (*open)(void);
} no_device_rows[] = { { "null", open_null }, { "memory-file", open_memfd }, { "nothing", open_nothing } };

static void test_no_device(gconstpointer data)
{
	const struct no_device_row *row = data;
	struct vtr_error error = { 0 };
	struct fixture fixture;

	set_up(&fixture);
	unsigned fds = count_fds();
	g_assert_null(vtr_vfio_assigned_add(fixture.assigned, row->open(), &error));
	g_assert_cmpint(error.code, ==, ENODEV);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_cmpuint(count_fds(), ==, fds);
	turn(&fixture);
	g_assert_cmpuint(fixture.changes, ==, 0);
	tear_down(&fixture);
}

/* ---- devices that are not there yet ---- */

/* A process without devices. */
static GPid start_process(void)
{
	char *arguments[] = { (char *)"sleep", (char *)"1000", NULL };
	GPid pid;

	g_assert_true(
		g_spawn_async(NULL, arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL));
	return pid;
}

static void end_process(GPid pid)
{
	g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void test_awaited(void)
{
	struct fixture fixture;
	GPid pid = start_process();
	g_autofree char *text = g_strdup_printf("pid=%d", pid);
	const char *why = NULL;

	set_up(&fixture);
	g_assert_cmpint(vtr_vfio_assigned_acquire(fixture.assigned, text, NULL), ==, 1);
	g_assert_cmpstr(vtr_vfio_assigned_awaited(fixture.assigned, 0, &why), ==, text);
	g_assert_nonnull(strstr(why, "holds no VFIO device"));
	g_assert_null(vtr_vfio_assigned_awaited(fixture.assigned, 1, &why));
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	g_assert_nonnull(vtr_vfio_assigned_awaited(fixture.assigned, 0, &why));
	/* another process with its number is not the one that was named */
	end_process(pid);
	g_assert_cmpint(announce(&fixture, MIB, MIB), ==, 0);
	for (int i = 0; i < 100 && vtr_vfio_assigned_awaited(fixture.assigned, 0, &why); i++)
		g_assert_cmpint(vtr_loop_dispatch(fixture.loop, 100), ==, 0);
	g_assert_null(vtr_vfio_assigned_awaited(fixture.assigned, 0, &why));
	tear_down(&fixture);
}

static void test_too_many_awaited(void)
{
	struct vtr_error error = { 0 };
	struct fixture fixture;
	GPid pid = start_process();
	g_autofree char *text = g_strdup_printf("pid=%d", pid);

	set_up(&fixture);
	for (int i = 0; i < VTR_MAX_VFIO_DEVICES; i++)
		g_assert_cmpint(vtr_vfio_assigned_acquire(fixture.assigned, text, &error), ==, 1);
	g_assert_cmpint(vtr_vfio_assigned_acquire(fixture.assigned, text, &error), ==, -ENODEV);
	g_assert_nonnull(strstr(error.text, "holds no VFIO device"));
	tear_down(&fixture);
	end_process(pid);
}

static const struct not_awaited_row {
	const char *name, *text;
	int code;
} not_awaited_rows[] = {
	{ "no-text", "", EINVAL },
	{ "long-text", "pid=1,device=0000000000000000000000000000000000000000000000000000000000000000", EINVAL },
	{ "no-process", "pid=4194304", ESRCH },
	{ "no-fd", "fd=4000", EBADF },
	{ "no-device-fd", "fd=0", ENODEV },
	{ "no-device", "bdf=ffff:ff:1f.7", ENODEV },
	{ "bad-device", "pid=1,device=x", EINVAL },
};

static void test_not_awaited(gconstpointer data)
{
	const struct not_awaited_row *row = data;
	struct vtr_error error = { 0 };
	struct fixture fixture;
	const char *why;

	set_up(&fixture);
	g_assert_cmpint(vtr_vfio_assigned_acquire(fixture.assigned, row->text, &error), ==, -row->code);
	g_assert_cmpint(error.code, ==, row->code);
	g_assert_cmpint(vtr_vfio_assigned_acquire(fixture.assigned, row->text, NULL), ==, -row->code);
	g_assert_null(vtr_vfio_assigned_awaited(fixture.assigned, 0, &why));
	tear_down(&fixture);
}

/* Who hears that a region came may ask where something is. */
static void test_asks_meanwhile(void)
{
	struct fixture fixture;

	set_up(&fixture);
	fixture.ask = true;
	assign(&fixture, "a");
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	assert_map(&fixture, "0-fffff remote+, 100000-3ffffff vfio+");
	tear_down(&fixture);
}

/* A device whose memory may not be mapped, or cannot be. */
static void test_not_mappable(gconstpointer data)
{
	bool refused = GPOINTER_TO_INT(data);
	struct fixture fixture;

	set_up(&fixture);
	if (!refused)
		fake.regions[2].info.flags &= ~(uint32_t)VFIO_REGION_INFO_FLAG_MMAP;
	else
		fake_region(2, BAR_SIZE, FAKE_ALL);
	int file = refused ? open("/proc/self/status", O_RDONLY | O_CLOEXEC) : fcntl(fixture.file, F_DUPFD_CLOEXEC, 0);
	g_assert_cmpint(vtr_vfio_assigned_add_device(fixture.assigned, fake_open_memory(file, "a"), NULL), ==, 0);
	close(file);
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	assert_map(&fixture, "0-fffff remote");
	tear_down(&fixture);
}

/* Configuration space that tells nothing: no BAR is anywhere. */
static void test_no_addresses(void)
{
	struct fixture fixture;

	set_up(&fixture);
	fake_region(VFIO_PCI_CONFIG_REGION_INDEX, 0, 0);
	assign(&fixture, "a");
	g_assert_cmpint(announce(&fixture, 0, MIB), ==, 0);
	assert_map(&fixture, "0-fffff remote");
	tear_down(&fixture);
}

/* The VMM's map in tiny pieces leaves gaps without end: ours are bounded. */
static void test_bounded(void)
{
	struct fixture fixture;
	const struct vtr_region *region;
	unsigned ours = 0;

	set_up(&fixture);
	for (uint64_t i = 0; i < 2 * VTR_MAX_DEVICE_REGIONS; i++)
		g_assert_cmpint(vtr_memory_add(fixture.memory, BASE + 2 * i * PAGE, PAGE, -1, 0, true), ==, 0);
	assign(&fixture, "a");
	for (size_t i = 0; (region = vtr_memory_region(fixture.memory, i)); i++)
		ours += region->kind == VTR_REGION_VFIO;
	g_assert_cmpuint(ours, ==, VTR_MAX_DEVICE_REGIONS);
	tear_down(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/vfio-assigned/cover/", cover_rows, test_cover);
	g_test_add_func("/vfio-assigned/cover/ram", test_ram_in_bar);
	g_test_add_func("/vfio-assigned/read", test_read);
	g_test_add_data_func("/vfio-assigned/revoked/announced", GINT_TO_POINTER(true), test_revoked);
	g_test_add_data_func("/vfio-assigned/revoked/not-announced", GINT_TO_POINTER(false), test_revoked);
	ADD_ROWS("/vfio-assigned/moves/", notice_rows, test_moves);
	g_test_add_func("/vfio-assigned/moves/away-from-announced", test_moves_away_from_announced);
	g_test_add_func("/vfio-assigned/idle", test_idle);
	g_test_add_func("/vfio-assigned/many-changes", test_many_changes);
	g_test_add_func("/vfio-assigned/vmm-wins", test_vmm_wins);
	g_test_add_func("/vfio-assigned/remove", test_remove);
	g_test_add_func("/vfio-assigned/vmm-leaves", test_vmm_leaves);
	g_test_add_func("/vfio-assigned/two", test_two);
	g_test_add_func("/vfio-assigned/names", test_names);
	ADD_ROWS("/vfio-assigned/no-device/", no_device_rows, test_no_device);
	g_test_add_func("/vfio-assigned/awaited", test_awaited);
	g_test_add_func("/vfio-assigned/awaited/too-many", test_too_many_awaited);
	ADD_ROWS("/vfio-assigned/not-awaited/", not_awaited_rows, test_not_awaited);
	g_test_add_func("/vfio-assigned/asks-meanwhile", test_asks_meanwhile);
	g_test_add_data_func("/vfio-assigned/not-mappable/says-so", GINT_TO_POINTER(false), test_not_mappable);
	g_test_add_data_func("/vfio-assigned/not-mappable/refuses", GINT_TO_POINTER(true), test_not_mappable);
	g_test_add_func("/vfio-assigned/no-addresses", test_no_addresses);
	g_test_add_func("/vfio-assigned/bounded", test_bounded);
	return g_test_run();
}
