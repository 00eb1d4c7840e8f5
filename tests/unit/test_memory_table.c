/* SPDX-License-Identifier: MIT */
/* The memory that a vhost-user front-end shares: what a message may add, and how addresses are found. */
#include "transport/vhost_user/memory_table.h"

#include "memory_fixture.h"

enum { MIB = 1 << 20 };

#define GPA UINT64_C(0x100000000)
#define UADDR UINT64_C(0x7f0000000000)

static struct vhost_user_memory_region region_at(uint64_t gpa, uint64_t size, uint64_t uaddr, uint64_t offset)
{
	return (struct vhost_user_memory_region){
		.guest_phys_addr = gpa, .memory_size = size, .userspace_addr = uaddr, .mmap_offset = offset
	};
}

static int add(struct vtr_vhost_user_mem_table *table, uint64_t gpa, uint64_t size, uint64_t uaddr, uint64_t offset)
{
	struct vhost_user_memory_region message = region_at(gpa, size, uaddr, offset);

	return vtr_vhost_user_mem_table_add(table, &message, pattern_file(1, 2 * MIB));
}

struct refusal {
	const char *name;
	uint64_t gpa, size, uaddr, offset;
	bool gpa_addresses;
	int error;
};

static const struct refusal refusals[] = {
	{ "empty", 2 * GPA, 0, 2 * UADDR, 0, false, -EINVAL },
	{ "guest-address-wraps", UINT64_MAX - PAGE + 2, PAGE, 2 * UADDR, 0, false, -EINVAL },
	{ "guest-address-ends-at-the-top", UINT64_MAX - PAGE + 1, PAGE, 2 * UADDR, 0, false, 0 },
	{ "user-address-wraps", 2 * GPA, PAGE, UINT64_MAX, 0, false, -EINVAL },
	{ "user-address-that-means-nothing", 2 * GPA, PAGE, UINT64_MAX, 0, true, 0 },
	{ "offset-wraps", 2 * GPA, 2 * PAGE, 2 * UADDR, UINT64_MAX - PAGE, false, -EINVAL },
	{ "beyond-the-file", 2 * GPA, MIB, 2 * UADDR, MIB + PAGE, false, -EINVAL },
	{ "overlaps-in-the-guest", GPA + MIB - 1, PAGE, 2 * UADDR, 0, false, -EEXIST },
	{ "overlaps-in-the-front-end", 2 * GPA, PAGE, UADDR + MIB - 1, 0, false, -EEXIST },
	{ "no-overlap-by-guest-addresses", 2 * GPA, PAGE, UADDR, 0, true, 0 },
	{ "neighbour", GPA + MIB, MIB, UADDR + MIB, MIB, false, 0 },
};

static void test_add(const void *data)
{
	const struct refusal *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_vhost_user_mem_table table;
	unsigned fds = count_fds();

	vtr_vhost_user_mem_table_init(&table, memory);
	table.gpa_addresses = row->gpa_addresses;
	g_assert_cmpint(add(&table, GPA, MIB, UADDR, 0), ==, 0);
	g_assert_cmpint(add(&table, row->gpa, row->size, row->uaddr, row->offset), ==, row->error);
	g_assert_cmpuint(table.count, ==, row->error ? 1 : 2);
	vtr_vhost_user_mem_table_clear(&table);
	g_assert_cmpuint(count_fds(), ==, fds);
	vtr_memory_destroy(memory);
}

static void test_full(void)
{
	struct vtr_vhost_user_mem_table table;

	vtr_vhost_user_mem_table_init(&table, NULL);
	for (unsigned i = 0; i < VTR_MAX_MEM_SLOTS; i++)
		g_assert_cmpint(add(&table, GPA + i * PAGE, PAGE, UADDR + i * PAGE, 0), ==, 0);
	g_assert_cmpint(add(&table, 2 * GPA, PAGE, 2 * UADDR, 0), ==, -ENOSPC);
	vtr_vhost_user_mem_table_clear(&table);
}

static void test_not_memory(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct vhost_user_memory_region message = region_at(GPA, PAGE, UADDR, 0);
	struct vtr_vhost_user_mem_table table;
	int fds[2];

	vtr_vhost_user_mem_table_init(&table, memory);
	g_assert_cmpint(pipe(fds), ==, 0);
	g_assert_cmpint(vtr_vhost_user_mem_table_add(&table, &message, fds[0]), ==, -EINVAL);
	g_assert_false(fd_is_open(fds[0]));
	g_assert_cmpint(vtr_vhost_user_mem_table_add(&table, &message, -1), ==, -EINVAL);
	g_assert_cmpuint(table.count, ==, 0);
	close(fds[1]);
	vtr_memory_destroy(memory);
}

static void test_find(void)
{
	struct vtr_vhost_user_mem_table table;
	uint64_t offset, gpa;

	vtr_vhost_user_mem_table_init(&table, NULL);
	g_assert_cmpint(add(&table, 0, MIB, UADDR + MIB, 0), ==, 0);
	g_assert_cmpint(add(&table, GPA, MIB, UADDR, 0), ==, 0);

	g_assert_true(vtr_vhost_user_mem_table_find(&table, UADDR + 5, &offset) == &table.regions[1]);
	g_assert_cmpuint(offset, ==, 5);
	g_assert_null(vtr_vhost_user_mem_table_find(&table, UADDR - 1, NULL));
	g_assert_null(vtr_vhost_user_mem_table_find(&table, UADDR + 2 * MIB, NULL));
	g_assert_null(vtr_vhost_user_mem_table_find(&table, GPA, NULL));
	g_assert_true(vtr_vhost_user_mem_table_find_gpa(&table, GPA + MIB - 1, &offset) == &table.regions[1]);
	g_assert_cmpuint(offset, ==, MIB - 1);

	g_assert_cmpint(vtr_vhost_user_mem_table_to_gpa(&table, UADDR + 16, MIB - 16, &gpa), ==, 0);
	g_assert_cmpuint(gpa, ==, GPA + 16);
	g_assert_cmpint(vtr_vhost_user_mem_table_to_gpa(&table, UADDR + 16, MIB, &gpa), ==, -EFAULT); /* into the next region */
	table.gpa_addresses = true;
	g_assert_cmpint(vtr_vhost_user_mem_table_to_gpa(&table, GPA + 16, 1, &gpa), ==, 0);
	g_assert_cmpuint(gpa, ==, GPA + 16);
	g_assert_cmpint(vtr_vhost_user_mem_table_to_gpa(&table, UADDR, 1, &gpa), ==, -EFAULT);
	vtr_vhost_user_mem_table_clear(&table);
}

static void test_remove(void)
{
	struct vtr_vhost_user_mem_table table;
	struct vhost_user_memory_region message = region_at(GPA, MIB, UADDR, 12345), other = region_at(GPA, MIB, UADDR + PAGE, 0);

	vtr_vhost_user_mem_table_init(&table, NULL);
	g_assert_cmpint(add(&table, GPA, MIB, UADDR, 0), ==, 0);
	g_assert_cmpint(add(&table, 2 * GPA, MIB, 2 * UADDR, 0), ==, 0);
	g_assert_null(vtr_vhost_user_mem_table_match(&table, &other));
	struct vtr_vhost_user_mem_region *region = vtr_vhost_user_mem_table_match(&table, &message);
	g_assert_nonnull(region);
	int fd = region->fd;
	vtr_vhost_user_mem_table_remove(&table, region);
	g_assert_false(fd_is_open(fd));
	g_assert_null(vtr_vhost_user_mem_table_match(&table, &message));
	g_assert_nonnull(vtr_vhost_user_mem_table_find(&table, 2 * UADDR, NULL));
	vtr_vhost_user_mem_table_clear(&table);
}

/* A back-end's map takes regions out of the table's files without an fd for each. */
static void test_into_the_map(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_vhost_user_mem_table table;
	uint8_t bytes[64];

	vtr_vhost_user_mem_table_init(&table, memory);
	g_assert_cmpint(add(&table, GPA, MIB, UADDR, MIB), ==, 0);
	struct vtr_memory_file *file = table.regions[0].file;
	g_assert_cmpint(vtr_memory_add_file(memory, 0x1000, 2 * PAGE, file, MIB + PAGE, true), ==, 0);
	g_assert_cmpint(vtr_memory_add_file(memory, 0x2000, PAGE, file, MIB, true), ==, -EEXIST);
	g_assert_cmpint(vtr_memory_add_file(memory, 0x8000, PAGE, file, 2 * MIB - PAGE + 1, true), ==, -EINVAL);
	vtr_vhost_user_mem_table_clear(&table);
	g_assert_cmpint(vtr_memory_read(memory, 0x2fc0, bytes, sizeof(bytes)), ==, 0);
	assert_pattern(bytes, sizeof(bytes), 1, MIB + PAGE + 0x1fc0);
	vtr_memory_destroy(memory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/memory_table/add/", refusals, test_add);
	g_test_add_func("/memory_table/full", test_full);
	g_test_add_func("/memory_table/not-memory", test_not_memory);
	g_test_add_func("/memory_table/find", test_find);
	g_test_add_func("/memory_table/remove", test_remove);
	g_test_add_func("/memory_table/into-the-map", test_into_the_map);
	return g_test_run();
}
