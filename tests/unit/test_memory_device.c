/* SPDX-License-Identifier: MIT */
/*
 * Memory of assigned devices in the map. A file stands in for the device's fd: cut short it is a device that is away, made long
 * again one that is back.
 */
#include <vitrine/limits.h>

#include "memory_fixture.h"

enum { SIZE = 16 * PAGE, SEED = 3 };
#define BASE UINT64_C(0x10000)

struct fixture {
	struct vtr_memory *memory;
	struct vtr_memory_file *file; // all of it
	struct vtr_memory_listener listener;
	int fd; // of the device
	unsigned removing, added, faults;
	bool take_away; // the listener removes what is about to change
};

static void on_removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	struct fixture *fixture = (struct fixture *)((char *)listener - offsetof(struct fixture, listener));

	fixture->removing++;
	if (!fixture->take_away)
		return;
	fixture->take_away = false;
	g_assert_cmpint(vtr_memory_remove(fixture->memory, region->address, region->size), ==, 0);
}

static void on_added(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	((struct fixture *)((char *)listener - offsetof(struct fixture, listener)))->added++;
}

static bool no_update(void *data)
{
	return false;
}

static void on_fault(void *data)
{
	((struct fixture *)data)->faults++;
}

static const struct vtr_memory_devices_impl impl = { .update = no_update, .fault = on_fault };

static void set_up(struct fixture *fixture)
{
	*fixture = (struct fixture){ .memory = vtr_memory_create(), .fd = pattern_file(SEED, SIZE) };
	fixture->file = vtr_memory_map_device(fixture->fd, 0, SIZE);
	g_assert_nonnull(fixture->file);
	fixture->listener = (struct vtr_memory_listener){ .removing = on_removing, .added = on_added };
	vtr_memory_add_listener(fixture->memory, &fixture->listener);
	vtr_memory_set_devices(fixture->memory, &impl, fixture);
}

static void tear_down(struct fixture *fixture)
{
	vtr_memory_destroy(fixture->memory);
	vtr_memory_unmap_device(fixture->file);
	g_assert_cmpuint(count_mappings("memfd:"), ==, 0);
	close(fixture->fd);
}

static void add_announced(struct fixture *fixture)
{
	g_assert_cmpint(vtr_memory_add(fixture->memory, BASE, SIZE, -1, 0, true), ==, 0);
}

/* ---- mapping ---- */

static const struct map_row {
	const char *name;
	uint64_t offset, size;
	int error;
} map_rows[] = {
	{ "all", 0, SIZE, 0 },
	{ "a-page", PAGE, PAGE, 0 },
	{ "off-page", PAGE + 5, 100, 0 },
	{ "over-a-page-border", PAGE - 1, 2, 0 },
	{ "nothing", 0, 0, EINVAL },
	{ "wraps", UINT64_MAX - PAGE + 1, 2 * PAGE, EINVAL },
	{ "beyond-files", INT64_MAX - PAGE, 2 * PAGE, EINVAL },
	{ "top-of-files", INT64_MAX - 2 * PAGE, 2 * PAGE, EINVAL },
};

static void test_map(gconstpointer data)
{
	const struct map_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	int fd = pattern_file(SEED, SIZE);
	unsigned fds = count_fds();
	struct vtr_memory_file *file = vtr_memory_map_device(fd, row->offset, row->size);

	if (row->error) {
		g_assert_null(file);
		g_assert_cmpint(errno, ==, row->error);
		g_assert_cmpuint(count_fds(), ==, fds);
	} else {
		g_autofree uint8_t *bytes = g_malloc(row->size);

		close(fd); // the mapping has its own
		g_assert_cmpint(vtr_memory_add_device(memory, BASE, row->size, file, row->offset), ==, 0);
		vtr_memory_unmap_device(file); // and the region its reference
		g_assert_cmpint(vtr_memory_read(memory, BASE, bytes, row->size), ==, 0);
		assert_pattern(bytes, row->size, SEED, row->offset);
		fd = -1;
	}
	vtr_memory_destroy(memory);
	g_assert_cmpuint(count_mappings("memfd:"), ==, 0);
	if (fd >= 0)
		close(fd);
}

/* What cannot be mapped is not, and no fd is left. */
static void test_not_mappable(void)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	unsigned fds = count_fds();

	g_assert_null(vtr_memory_map_device(fd, 0, PAGE));
	g_assert_cmpint(errno, ==, ENODEV);
	g_assert_null(vtr_memory_map_device(-1, 0, PAGE));
	g_assert_cmpint(errno, ==, EBADF);
	g_assert_cmpuint(count_fds(), ==, fds);
	close(fd);
	vtr_memory_unmap_device(NULL);
}

/* ---- regions ---- */

static const struct add_row {
	const char *name;
	uint64_t address, size, offset;
	int result;
} add_rows_table[] = {
	{ "all", BASE, SIZE, 0, 0 },
	{ "a-part", BASE, 10, SIZE - 10, 0 },
	{ "nothing", BASE, 0, 0, -EINVAL },
	{ "wraps", UINT64_MAX, 2, 0, -EINVAL },
	{ "beyond-the-mapping", BASE, 10, SIZE - 9, -EINVAL },
	{ "offset-wraps", BASE, 10, UINT64_MAX - 5, -EINVAL },
	{ "over-the-vmm's", 0x1000 - 1, 2, 0, -EEXIST },
};

static void test_add(gconstpointer data)
{
	const struct add_row *row = data;
	struct fixture fixture;

	set_up(&fixture);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0x1000, PAGE, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, row->address, row->size, fixture.file, row->offset), ==, row->result);
	g_assert_cmpint(vtr_memory_remove_device(fixture.memory, BASE), ==, row->result ? -ENOENT : 0);
	g_assert_cmpint(vtr_memory_remove_device(fixture.memory, 0x1000), ==, -ENOENT);
	g_assert_cmpuint(fixture.removing, ==, !row->result);
	tear_down(&fixture);
}

static void test_limits(void)
{
	struct fixture fixture;

	set_up(&fixture);
	for (uint64_t i = 0; i < VTR_MAX_DEVICE_REGIONS; i++)
		g_assert_cmpint(vtr_memory_add_device(fixture.memory, BASE + 2 * i, 1, fixture.file, i), ==, 0);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, 0, 1, fixture.file, 0), ==, -ENOSPC);
	/* they do not take the VMM's room */
	for (uint64_t i = 0; i < VTR_MAX_REGIONS; i++)
		g_assert_cmpint(vtr_memory_add(fixture.memory, 0x100000 + i * PAGE, PAGE, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0, PAGE, -1, 0, true), ==, -ENOSPC);
	/* what gives way makes room for others again */
	g_assert_cmpint(vtr_memory_remove(fixture.memory, 0x100000, PAGE), ==, 0);
	g_assert_cmpint(vtr_memory_add(fixture.memory, BASE, PAGE, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, 0, 1, fixture.file, 0), ==, 0);
	vtr_memory_remove_all(fixture.memory);
	g_assert_null(vtr_memory_region(fixture.memory, 0));
	tear_down(&fixture);
}

/* ---- lending ---- */

static void test_lend(void)
{
	struct fixture fixture;
	struct fake_remote remote;
	uint8_t bytes[8];

	set_up(&fixture);
	add_remote(fixture.memory, &remote, BASE, SEED + 1);
	uint64_t generation = vtr_memory_generation(fixture.memory);
	unsigned added = fixture.added;
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, BASE, fixture.file, 2 * PAGE), ==, 0);
	g_assert_cmpuint(fixture.removing, ==, 1);
	g_assert_cmpuint(fixture.added, ==, added + 1);
	g_assert_cmpuint(vtr_memory_generation(fixture.memory), !=, generation);
	const struct vtr_region *region = vtr_memory_region(fixture.memory, 0);
	g_assert_cmpint(region->kind, ==, VTR_REGION_REMOTE);
	g_assert_cmpint(region->fd, ==, -1);
	g_assert_true(region->cpu && !region->file);
	/* read through the device, written by request */
	g_assert_cmpint(vtr_memory_read(fixture.memory, BASE + 5, bytes, sizeof(bytes)), ==, 0);
	assert_pattern(bytes, sizeof(bytes), SEED, 2 * PAGE + 5);
	g_assert_cmpuint(remote.reads, ==, 0);
	g_assert_cmpint(vtr_memory_write(fixture.memory, BASE + 5, bytes, sizeof(bytes)), ==, 0);
	g_assert_cmpuint(remote.writes, ==, 1);
	/* asked for all the same where that is wanted */
	struct vtr_mem_entry entry = { .address = BASE, .length = 8 };
	struct vtr_spans spans;
	g_assert_cmpint(vtr_spans_resolve(&spans, fixture.memory, &entry, 1, NULL), ==, 0);
	g_assert_true(spans.cpu);
	g_assert_cmpint(vtr_spans_fetch(&spans, 0, 5, 1, 5, bytes, 5), ==, 0);
	assert_pattern(bytes, 5, SEED + 1, 0);
	vtr_spans_finish(&spans);
	/* and taken away */
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, BASE, NULL, 0), ==, 0);
	g_assert_null(region->data);
	g_assert_cmpint(vtr_memory_read(fixture.memory, BASE, bytes, sizeof(bytes)), ==, 0);
	assert_pattern(bytes, 5, SEED + 1, 0);
	tear_down(&fixture);
}

static void test_lend_refused(void)
{
	struct fixture fixture;

	set_up(&fixture);
	add_announced(&fixture);
	add_ram(fixture.memory, 0x1000, PAGE, 1);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, 0x4000, PAGE, fixture.file, 0), ==, 0);
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, BASE + 1, fixture.file, 0), ==, -ENOENT);
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, 0x8000, fixture.file, 0), ==, -ENOENT);
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, 0x4000, NULL, 0), ==, -ENOENT);         // a device's region is one
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, 0x1000, fixture.file, 0), ==, -EINVAL); // RAM is RAM
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, 0x1000, NULL, 0), ==, -EINVAL);
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, BASE, fixture.file, 1), ==, -EINVAL); // too short
	g_assert_cmpuint(fixture.removing, ==, 0);
	fixture.take_away = true;
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, BASE, fixture.file, 0), ==, -ECANCELED);
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, BASE, fixture.file, 0), ==, -ENOENT);
	tear_down(&fixture);
}

/* ---- away and back ---- */

/* Two mappings of one device: what happens to one is nothing to the other. */
static void test_away(void)
{
	struct vtr_mem_entry entries[] = { { .address = BASE, .length = 8 * PAGE },
		                           { .address = BASE + 8 * PAGE, .length = 8 * PAGE } };
	struct vtr_spans spans[2];
	struct fixture fixture;
	uint8_t byte;

	set_up(&fixture);
	struct vtr_memory_file *upper = vtr_memory_map_device(fixture.fd, 8 * PAGE, 8 * PAGE);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, BASE, 8 * PAGE, fixture.file, 0), ==, 0);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, BASE + 8 * PAGE, 8 * PAGE, upper, 8 * PAGE), ==, 0);
	for (int i = 0; i < 2; i++)
		g_assert_cmpint(vtr_spans_resolve(&spans[i], fixture.memory, &entries[i], 1, NULL), ==, 0);
	for (unsigned round = 1; round <= 3; round++) {
		g_assert_cmpint(ftruncate(fixture.fd, 8 * PAGE), ==, 0);
		g_assert_cmpint(vtr_spans_read(&spans[1], 0, &byte, 1), ==, -EFAULT);
		g_assert_cmpint(vtr_spans_read(&spans[1], 0, &byte, 1), ==, -EFAULT);
		g_assert_true(vtr_region_faulted(vtr_memory_region(fixture.memory, 1)));
		g_assert_false(vtr_region_faulted(vtr_memory_region(fixture.memory, 0)));
		g_assert_cmpint(vtr_spans_read(&spans[0], PAGE, &byte, 1), ==, 0);
		assert_pattern(&byte, 1, SEED, PAGE);
		g_assert_cmpint(ftruncate(fixture.fd, SIZE), ==, 0);
		g_assert_cmpint(pwrite(fixture.fd, &byte, 1, 9 * PAGE), ==, 1);
		g_assert_cmpint(vtr_spans_read(&spans[1], PAGE, &byte, 1), ==, 0);
		assert_pattern(&byte, 1, SEED, PAGE);
		g_assert_false(vtr_region_faulted(vtr_memory_region(fixture.memory, 1)));
		g_assert_cmpuint(fixture.faults, ==, 3 * round); // away, still away, back
		g_assert_cmpint(vtr_spans_read(&spans[1], PAGE, &byte, 1), ==, 0);
		g_assert_cmpuint(fixture.faults, ==, 3 * round);
	}
	vtr_memory_set_devices(fixture.memory, NULL, NULL); // nobody is told, and that is fine
	g_assert_cmpint(ftruncate(fixture.fd, 0), ==, 0);
	g_assert_cmpint(vtr_spans_read(&spans[0], 0, &byte, 1), ==, -EFAULT);
	for (int i = 0; i < 2; i++)
		vtr_spans_finish(&spans[i]);
	vtr_memory_unmap_device(upper);
	tear_down(&fixture);
}

/* While the device is away the VMM takes writes as before: they never went through the mapping. */
static void test_away_write(void)
{
	struct fixture fixture;
	struct fake_remote remote;
	uint8_t byte = 7;

	set_up(&fixture);
	add_remote(fixture.memory, &remote, BASE, 1);
	g_assert_cmpint(vtr_memory_set_device(fixture.memory, BASE, fixture.file, 0), ==, 0);
	g_assert_cmpint(ftruncate(fixture.fd, 0), ==, 0);
	g_assert_cmpint(vtr_memory_read(fixture.memory, BASE, &byte, 1), ==, -EFAULT);
	g_assert_cmpint(vtr_memory_write(fixture.memory, BASE, &byte, 1), ==, 0);
	g_assert_cmpuint(remote.writes, ==, 1);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, 0, PAGE, fixture.file, 0), ==, 0);
	g_assert_cmpint(vtr_memory_write(fixture.memory, 0, &byte, 1), ==, -EACCES);
	tear_down(&fixture);
}

static void test_view(void)
{
	struct vtr_mem_entry entry = { .address = BASE, .length = SIZE };
	struct vtr_error error = { 0 };
	struct fixture fixture;
	struct vtr_spans spans;

	set_up(&fixture);
	g_assert_cmpint(vtr_memory_add_device(fixture.memory, BASE, SIZE, fixture.file, 0), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, fixture.memory, &entry, 1, NULL), ==, 0);
	struct vtr_view *view = vtr_view_create(&spans, &error);
	g_assert_true(vtr_view_is_copy(view));
	assert_pattern(vtr_view_data(view), SIZE, SEED, 0);
	g_assert_cmpint(ftruncate(fixture.fd, 0), ==, 0);
	g_assert_cmpint(vtr_view_refresh(view, &spans, &error), ==, -EFAULT);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_REVOKED);
	g_assert_nonnull(strstr(error.text, "comes back by itself"));
	vtr_view_destroy(view);
	g_assert_null(vtr_view_create(&spans, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_REVOKED);
	g_assert_cmpint(ftruncate(fixture.fd, SIZE), ==, 0);
	view = vtr_view_create(&spans, &error);
	g_assert_nonnull(view);
	vtr_view_destroy(view);
	vtr_spans_finish(&spans);
	tear_down(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/memory-device/map/", map_rows, test_map);
	g_test_add_func("/memory-device/map/not-mappable", test_not_mappable);
	ADD_ROWS("/memory-device/add/", add_rows_table, test_add);
	g_test_add_func("/memory-device/limits", test_limits);
	g_test_add_func("/memory-device/lend", test_lend);
	g_test_add_func("/memory-device/lend/refused", test_lend_refused);
	g_test_add_func("/memory-device/away", test_away);
	g_test_add_func("/memory-device/away/write", test_away_write);
	g_test_add_func("/memory-device/view", test_view);
	return g_test_run();
}
