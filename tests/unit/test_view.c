/* SPDX-License-Identifier: MIT */
#include <sys/syscall.h>

#include <vitrine/limits.h>

#include "memory_fixture.h"
#include "util/fd.h"

/* ---- mmap() that fails when a test says so; everything else is real ---- */

static int mmap_fixed_left = -1; // so many MAP_FIXED mappings of files succeed, then ENOMEM; -1: all
static int mmap_any_left = -1;   // likewise for all mappings

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	int *left = mmap_any_left >= 0 ? &mmap_any_left : &mmap_fixed_left;

	if ((left == &mmap_any_left || ((flags & MAP_FIXED) && fd >= 0)) && *left >= 0) {
		if (!*left) {
			errno = ENOMEM;
			return MAP_FAILED;
		}
		--*left;
	}
	return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

/* ---- the map of these tests: RAM of 64 pages at 0x100000 and, right behind it, at 0x140000; remote memory at 0x200000 ---- */

static struct vtr_memory *make_memory(struct fake_remote *remote)
{
	struct vtr_memory *memory = vtr_memory_create();

	add_ram(memory, 0x100000, 64 * PAGE, 1);
	add_ram(memory, 0x140000, 64 * PAGE, 2);
	add_remote(memory, remote, 0x200000, 3);
	return memory;
}

static uint8_t byte_at(uint64_t address)
{
	if (address >= 0x200000)
		return pattern(3, address - 0x200000);
	return address < 0x140000 ? pattern(1, address - 0x100000) : pattern(2, address - 0x140000);
}

static void assert_view(const struct vtr_view *view, const struct vtr_mem_entry *entries, size_t count)
{
	const uint8_t *data = vtr_view_data(view);

	for (size_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < entries[i].length; j++)
			g_assert_cmpuint(*data++, ==, byte_at(entries[i].address + j));
}

static const struct view_row {
	const char *name;
	struct vtr_mem_entry entries[4];
	size_t count;
	bool copy;
} view_rows[] = {
	{ "one-page", { { 0x100000, PAGE } }, 1, false },
	{ "one-span", { { 0x103000, 16 * PAGE } }, 1, false },
	{ "shuffled-pages", { { 0x105000, PAGE }, { 0x101000, PAGE }, { 0x140000, 2 * PAGE }, { 0x100000, PAGE } }, 4, false },
	{ "same-page-twice", { { 0x105000, PAGE }, { 0x105000, PAGE } }, 2, false },
	{ "across-two-files", { { 0x13f000, 2 * PAGE } }, 1, false },
	{ "ends-inside-a-page", { { 0x105000, PAGE }, { 0x101000, 100 } }, 2, false },
	{ "begins-inside-a-page", { { 0x105f00, 0x100 }, { 0x101000, PAGE } }, 2, false },
	{ "inside-one-page", { { 0x105123, 77 } }, 1, false },
	{ "both-ends-inside-pages", { { 0x105f00, 0x1100 }, { 0x101000, PAGE }, { 0x140000, 1 } }, 3, false },
	{ "one-byte", { { 0x105fff, 1 } }, 1, false },
	{ "gap-in-a-page", { { 0x105000, 0x800 }, { 0x106000, PAGE } }, 2, true },
	{ "shifted", { { 0x105000, PAGE }, { 0x107800, PAGE } }, 2, true },
	{ "odd-middle", { { 0x105000, PAGE }, { 0x107000, 100 }, { 0x109000, PAGE } }, 3, true },
	{ "remote", { { 0x200000, 2 * PAGE } }, 1, true },
	{ "ram-and-remote", { { 0x105000, PAGE }, { 0x201000, PAGE } }, 2, true },
};

static void test_view(gconstpointer data)
{
	const struct view_row *row = data;
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_error error = { 0 };
	struct vtr_spans spans;
	uint8_t byte = (uint8_t)~byte_at(row->entries[0].address);

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, row->entries, row->count, NULL), ==, 0);
	unsigned mappings = count_mappings("memfd:");
	struct vtr_view *view = vtr_view_create(&spans, &error);
	g_assert_nonnull(view);
	g_assert_cmpint(vtr_view_is_copy(view), ==, row->copy);
	assert_view(view, row->entries, row->count);
	/* The guest draws: a mapped view shows it at once, a copy when refreshed. */
	g_assert_cmpint(vtr_memory_write(memory, row->entries[0].address, &byte, 1), ==, 0);
	const uint8_t *bytes = vtr_view_data(view);
	g_assert_cmpint(bytes[0] == byte, ==, !row->copy);
	g_assert_cmpint(vtr_view_refresh(view, &spans, &error), ==, 0);
	g_assert_cmpuint(bytes[0], ==, byte);
	vtr_view_destroy(view);
	g_assert_cmpuint(count_mappings("memfd:"), ==, mappings);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* A frame of n pages in falling order, so that nothing merges. */
static struct vtr_spans scattered(struct vtr_memory *memory, struct vtr_mem_entry *entries, size_t n)
{
	struct vtr_spans spans;

	for (size_t i = 0; i < n; i++)
		entries[i] = (struct vtr_mem_entry){ .address = 0x100000 + (n - 1 - i) * PAGE, .length = PAGE };
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, n, NULL), ==, 0);
	g_assert_cmpuint(spans.count, ==, n);
	return spans;
}

static const struct fail_row {
	const char *name;
	int fixed_left, any_left;
	bool created;
} fail_rows[] = {
	{ "first-span", 0, -1, true },
	{ "half-way", 16, -1, true },
	{ "last-span", 31, -1, true },
	{ "reservation", -1, 0, false },
};

static void test_mmap_fails(gconstpointer data)
{
	const struct fail_row *row = data;
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_mem_entry entries[32];
	struct vtr_spans spans = scattered(memory, entries, 32);
	struct vtr_error error = { 0 };
	unsigned mappings = count_mappings("memfd:"), fds = count_fds();

	mmap_fixed_left = row->fixed_left;
	mmap_any_left = row->any_left;
	struct vtr_view *view = vtr_view_create(&spans, &error);
	mmap_fixed_left = mmap_any_left = -1;
	g_assert_true((view != NULL) == row->created);
	if (view) {
		g_assert_true(vtr_view_is_copy(view));
		assert_view(view, entries, 32);
	} else {
		g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
		g_assert_cmpint(error.code, ==, ENOMEM);
	}
	vtr_view_destroy(view);
	g_assert_cmpuint(count_mappings("memfd:"), ==, mappings);
	g_assert_cmpuint(count_fds(), ==, fds);
	/* And with the cause gone it is mapped. */
	view = vtr_view_create(&spans, NULL);
	g_assert_false(vtr_view_is_copy(view));
	vtr_view_destroy(view);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* All views together take no more than their share of the process's mappings; what was given back can be taken again. */
static void test_mappings_are_bounded(void)
{
	enum { PAGES = VTR_MAX_VIEW_MAPPINGS / 2 };
	struct vtr_memory *memory = vtr_memory_create();
	g_autofree struct vtr_mem_entry *entries = g_new(struct vtr_mem_entry, PAGES + 1);
	struct vtr_spans spans, one;
	int fd = memfd_create("test", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, PAGE), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, 0x100000, PAGE, fd, 0, true), ==, 0);
	for (size_t i = 0; i < PAGES + 1; i++)
		entries[i] = (struct vtr_mem_entry){ .address = 0x100000, .length = PAGE };
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, PAGES, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&one, memory, entries, 1, NULL), ==, 0);
	for (unsigned round = 0; round < 2; round++) {
		struct vtr_view *first = vtr_view_create(&spans, NULL), *second = vtr_view_create(&spans, NULL);
		struct vtr_view *third = vtr_view_create(&one, NULL);

		g_assert_false(vtr_view_is_copy(first));
		g_assert_false(vtr_view_is_copy(second));
		g_assert_true(vtr_view_is_copy(third));
		vtr_view_destroy(third);
		vtr_view_destroy(first);
		third = vtr_view_create(&one, NULL);
		g_assert_false(vtr_view_is_copy(third));
		vtr_view_destroy(second);
		vtr_view_destroy(third);
	}
	vtr_spans_finish(&spans);
	vtr_spans_finish(&one);
	vtr_memory_destroy(memory);
}

/* Answers without touching the buffer, so that a copy of any size costs nothing. */
static int read_nothing(void *data, uint64_t address, void *buffer, size_t length)
{
	++*(unsigned *)data;
	return 0;
}

static const struct copies_row {
	const char *name;
	uint32_t length;
	unsigned fit; // so many at a time
} copies_rows[] = {
	{ "all-in-one", VTR_MAX_VIEW_COPIES, 1 },
	{ "halves", VTR_MAX_VIEW_COPIES / 2, 2 },
	{ "a-little-more-than-half", VTR_MAX_VIEW_COPIES / 2 + 1, 1 },
	{ "too-large", VTR_MAX_VIEW_COPIES + 1, 0 },
	{ "4-GiB", UINT32_MAX, 0 },
};

/* A guest names the same remote memory again and again: copies of it end before the host's memory does. */
static void test_copies_are_bounded(gconstpointer data)
{
	static const struct vtr_remote_impl impl = { .read = read_nothing };
	const struct copies_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entry = { .address = 0, .length = row->length };
	struct vtr_view *views[2] = { 0 };
	struct vtr_spans spans;
	unsigned reads = 0;

	vtr_memory_set_remote(memory, &impl, &reads);
	g_assert_cmpint(vtr_memory_add(memory, 0, UINT64_C(1) << 40, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	for (unsigned round = 1; round <= 2; round++) { // what was given back can be taken again
		struct vtr_error error = { 0 };

		for (unsigned i = 0; i < row->fit; i++)
			g_assert_nonnull(views[i] = vtr_view_create(&spans, NULL));
		g_assert_null(vtr_view_create(&spans, &error));
		g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
		g_assert_cmpint(error.code, ==, ENOMEM);
		g_assert_cmpuint(reads, ==, round * row->fit);
		for (unsigned i = 0; i < row->fit; i++)
			vtr_view_destroy(views[i]);
	}
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* Address space that a failure, or a destroyed copy, leaves behind would show after a hundred of them. */
static void test_nothing_is_left(void)
{
	enum { ROUNDS = 100 };
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_mem_entry entries[32], entry = { .address = 0x200000, .length = PAGE };
	struct vtr_spans spans = scattered(memory, entries, 32), far;
	unsigned mappings = count_mappings("");

	g_assert_cmpint(vtr_spans_resolve(&far, memory, &entry, 1, NULL), ==, 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		mmap_fixed_left = 7;
		vtr_view_destroy(vtr_view_create(&spans, NULL)); // half mapped, then a copy
		mmap_fixed_left = -1;
		remote.error = i % 2 ? -EIO : 0;
		vtr_view_destroy(vtr_view_create(&far, NULL)); // a copy, or none
	}
	g_assert_cmpuint(count_mappings(""), <, mappings + ROUNDS / 2);
	vtr_spans_finish(&spans);
	vtr_spans_finish(&far);
	vtr_memory_destroy(memory);
}

static void test_remote_errors(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_mem_entry entry = { .address = 0x200000, .length = PAGE };
	struct vtr_error error = { 0 };
	struct vtr_spans spans;
	unsigned mappings = count_mappings("memfd:");

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	remote.error = -EIO;
	g_assert_null(vtr_view_create(&spans, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_cmpint(error.code, ==, EIO);
	g_assert_null(vtr_view_create(&spans, NULL));
	remote.error = 0;
	struct vtr_view *view = vtr_view_create(&spans, &error);
	remote.error = -EIO;
	g_assert_cmpint(vtr_view_refresh(view, &spans, &error), ==, -EIO);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_cmpint(vtr_view_refresh(view, &spans, NULL), ==, -EIO);
	vtr_view_destroy(view);
	remote.error = 0;
	remote.remove = memory;
	g_assert_null(vtr_view_create(&spans, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_REVOKED);
	g_assert_cmpint(error.code, ==, ECANCELED);
	g_assert_cmpuint(count_mappings("memfd:"), ==, mappings);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static void test_region_removed(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_mem_entry entries[4];
	struct vtr_spans spans = scattered(memory, entries, 4);
	struct vtr_error error = { 0 };
	struct vtr_view *view = vtr_view_create(&spans, NULL);

	g_assert_cmpint(vtr_memory_remove(memory, 0x100000, 64 * PAGE), ==, 0);
	assert_view(view, entries, 4); // its own mappings: no fault, whoever forgot to destroy it
	vtr_view_destroy(view);
	g_assert_null(vtr_view_create(&spans, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_REVOKED);
	g_assert_cmpint(error.code, ==, EFAULT);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static void test_truncated(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entries[16];
	struct vtr_error error = { 0 };
	int fd = pattern_file(1, 64 * PAGE), ours = dup(fd);

	g_assert_cmpint(vtr_memory_add(memory, 0x100000, 64 * PAGE, fd, 0, true), ==, 0);
	struct vtr_spans spans = scattered(memory, entries, 16); // the last pages of the image are the first of the file
	struct vtr_view *view = vtr_view_create(&spans, NULL);
	const uint8_t *data = vtr_view_data(view);
	g_assert_cmpint(vtr_view_refresh(view, &spans, &error), ==, 0);
	g_assert_cmpint(ftruncate(ours, 8 * PAGE), ==, 0);
	g_assert_cmpuint(data[3 * PAGE], ==, 0);
	g_assert_cmpint(vtr_view_refresh(view, &spans, &error), ==, -EFAULT);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_nonnull(strstr(error.text, "truncated"));
	for (size_t i = 3 * PAGE; i < 16 * PAGE; i++)
		g_assert_cmpuint(data[i], ==, 0);
	vtr_view_destroy(view);
	/* The region itself was not touched: reading it tells. */
	uint8_t byte;
	g_assert_cmpint(vtr_spans_read(&spans, 0, &byte, 1), ==, -EFAULT);
	g_assert_null(vtr_view_create(&spans, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_cmpint(error.code, ==, EFAULT);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
	close(ours);
}

static void test_host_memory(void)
{
	struct vtr_spans spans;
	uint8_t in[100] = "a cursor";

	g_assert_cmpint(vtr_spans_from_file(&spans, vtr_memfd_create("test", 5000), 5000, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_write(&spans, 4900, in, sizeof(in)), ==, 0);
	struct vtr_view *view = vtr_view_create(&spans, NULL);
	g_assert_false(vtr_view_is_copy(view));
	g_assert_cmpmem((const uint8_t *)vtr_view_data(view) + 4900, 100, in, 100);
	vtr_view_destroy(view);
	vtr_spans_finish(&spans);
}

static void test_no_bytes(void)
{
	struct vtr_spans spans = { 0 };
	struct vtr_error error = { 0 };

	g_assert_null(vtr_view_create(&spans, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_cmpint(error.code, ==, EINVAL);
	vtr_view_destroy(NULL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/view/shape/", view_rows, test_view);
	ADD_ROWS("/view/mmap-fails/", fail_rows, test_mmap_fails);
	ADD_ROWS("/view/copies-are-bounded/", copies_rows, test_copies_are_bounded);
	g_test_add_func("/view/mappings-are-bounded", test_mappings_are_bounded);
	g_test_add_func("/view/nothing-is-left", test_nothing_is_left);
	g_test_add_func("/view/remote-errors", test_remote_errors);
	g_test_add_func("/view/region-removed", test_region_removed);
	g_test_add_func("/view/truncated", test_truncated);
	g_test_add_func("/view/host-memory", test_host_memory);
	g_test_add_func("/view/no-bytes", test_no_bytes);
	return g_test_run();
}
