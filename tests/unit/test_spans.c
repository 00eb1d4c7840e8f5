/* SPDX-License-Identifier: MIT */
#include <vitrine/limits.h>

#include "memory_fixture.h"
#include "util/fd.h"

/*
 * The map of these tests: RAM of 16 pages at 0x10000, RAM of 16 pages right behind it at 0x20000, a hole, remote memory of 4 pages
 * at 0x40000, RAM of one page at the top of the address space.
 */
#define TOP (UINT64_MAX - PAGE + 1)

static struct vtr_memory *make_memory(struct fake_remote *remote)
{
	struct vtr_memory *memory = vtr_memory_create();

	add_ram(memory, 0x10000, 16 * PAGE, 1);
	add_ram(memory, 0x20000, 16 * PAGE, 2);
	add_remote(memory, remote, 0x40000, 3);
	add_ram(memory, TOP, PAGE, 4);
	return memory;
}

static uint8_t byte_at(uint64_t address)
{
	if (address >= TOP)
		return pattern(4, address - TOP);
	if (address >= 0x40000)
		return pattern(3, address - 0x40000);
	return address < 0x20000 ? pattern(1, address - 0x10000) : pattern(2, address - 0x20000);
}

enum { ROW_ENTRIES = 4 };

static const struct resolve_row {
	const char *name;
	struct vtr_mem_entry entries[ROW_ENTRIES];
	size_t count;
	int result;
	size_t spans;
	bool cpu;
} resolve_rows[] = {
	{ "none", { { 0 } }, 0, 0, 0, true },
	{ "one", { { 0x10000, 4096 } }, 1, 0, 1, true },
	{ "unaligned", { { 0x10123, 77 } }, 1, 0, 1, true },
	{ "neighbours-merge", { { 0x10000, 4096 }, { 0x11000, 4096 }, { 0x12000, 1 } }, 3, 0, 1, true },
	{ "hole-between", { { 0x10000, 4096 }, { 0x12000, 4096 } }, 2, 0, 2, true },
	{ "falling-order", { { 0x11000, 4096 }, { 0x10000, 4096 } }, 2, 0, 2, true },
	{ "same-twice", { { 0x10000, 4096 }, { 0x10000, 4096 } }, 2, 0, 2, true },
	{ "overlapping", { { 0x10000, 4096 }, { 0x10800, 4096 } }, 2, 0, 2, true },
	{ "merge-in-the-middle", { { 0x10000, 16 }, { 0x20000, 16 }, { 0x20010, 16 }, { 0x10010, 16 } }, 4, 0, 3, true },
	{ "across-regions-is-split", { { 0x1f000, 0x2000 } }, 1, 0, 2, true },
	{ "neighbours-in-two-regions-stay-two", { { 0x1f000, 0x1000 }, { 0x20000, 0x1000 } }, 2, 0, 2, true },
	{ "split-then-merge", { { 0x1f000, 0x2000 }, { 0x21000, 0x1000 } }, 2, 0, 2, true },
	{ "both-regions", { { 0x10000, 0x20000 } }, 1, 0, 2, true },
	{ "remote", { { 0x40000, 4096 } }, 1, 0, 1, false },
	{ "ram-and-remote", { { 0x10000, 4096 }, { 0x40000, 4096 } }, 2, 0, 2, false },
	{ "top-of-address-space", { { TOP, 4096 } }, 1, 0, 1, true },
	{ "zero-length", { { 0x10000, 4096 }, { 0x11000, 0 } }, 2, -EINVAL, 0, false },
	{ "zero-length-nowhere", { { 0x90000, 0 } }, 1, -EINVAL, 0, false },
	{ "wraps", { { TOP, 4097 } }, 1, -EOVERFLOW, 0, false },
	{ "wraps-far", { { UINT64_MAX, UINT32_MAX } }, 1, -EOVERFLOW, 0, false },
	{ "nowhere", { { 0x10000, 4096 }, { 0x90000, 4096 } }, 2, -EFAULT, 0, false },
	{ "null", { { 0, 1 } }, 1, -EFAULT, 0, false },
	{ "one-byte-beyond", { { 0x2ffff, 2 } }, 1, -EFAULT, 0, false },
	{ "one-byte-before", { { 0xffff, 2 } }, 1, -EFAULT, 0, false },
	{ "longer-than-the-map", { { 0x10000, UINT32_MAX } }, 1, -EFAULT, 0, false },
};

static void check_spans(const struct vtr_spans *spans, const struct resolve_row *row)
{
	uint64_t length = 0;
	size_t entry = 0, in_entry = 0;
	g_autofree uint8_t *image = g_malloc(spans->length + 1);

	for (size_t i = 0; i < spans->count; i++) {
		g_assert_cmpuint(spans->items[i].start, ==, length);
		g_assert_cmpuint(spans->items[i].length, >, 0);
		g_assert_cmpuint(spans->items[i].offset + spans->items[i].length, <=, spans->items[i].region->size);
		g_assert_true(vtr_spans_use(spans, spans->items[i].region));
		length += spans->items[i].length;
	}
	g_assert_cmpuint(spans->length, ==, length);
	g_assert_cmpint(vtr_spans_read(spans, 0, image, spans->length), ==, 0);
	for (uint64_t i = 0; i < length; i++) {
		g_assert_cmpuint(image[i], ==, byte_at(row->entries[entry].address + in_entry));
		if (++in_entry == row->entries[entry].length) {
			entry++;
			in_entry = 0;
		}
	}
	g_assert_cmpuint(entry, ==, row->count);
}

static void test_resolve(gconstpointer data)
{
	const struct resolve_row *row = data;
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_error error = { 0 };
	struct vtr_spans spans;

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, row->entries, row->count, &error), ==, row->result);
	g_assert_cmpuint(spans.count, ==, row->spans);
	if (row->result) {
		g_assert_cmpint(error.owner, ==, VTR_ERROR_GUEST);
		g_assert_cmpint(error.code, ==, -row->result);
		g_assert_cmpstr(error.text, !=, "");
		g_assert_null(spans.items);
		g_assert_cmpuint(spans.length, ==, 0);
		g_assert_cmpint(vtr_spans_resolve(&spans, memory, row->entries, row->count, NULL), ==, row->result);
	} else {
		g_assert_cmpint(spans.cpu, ==, row->cpu);
		check_spans(&spans, row);
	}
	for (size_t i = 0; row->result && vtr_memory_region(memory, i); i++)
		g_assert_cmpuint(vtr_memory_region(memory, i)->spans, ==, 0);
	vtr_spans_finish(&spans);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static void test_most_entries(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	g_autofree struct vtr_mem_entry *entries = g_new0(struct vtr_mem_entry, VTR_MAX_ENTRIES + 1);
	struct vtr_error error = { 0 };
	struct vtr_spans spans;

	/* Every second page of remote memory: nothing merges. */
	g_assert_cmpint(vtr_memory_add(memory, 0, UINT64_C(1) << 40, -1, 0, true), ==, 0);
	for (uint64_t i = 0; i <= VTR_MAX_ENTRIES; i++)
		entries[i] = (struct vtr_mem_entry){ .address = i * 2 * PAGE, .length = PAGE };
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, VTR_MAX_ENTRIES, &error), ==, 0);
	g_assert_cmpuint(spans.count, ==, VTR_MAX_ENTRIES);
	g_assert_cmpuint(spans.length, ==, (uint64_t)VTR_MAX_ENTRIES * PAGE);
	vtr_spans_finish(&spans);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, VTR_MAX_ENTRIES + 1, &error), ==, -E2BIG);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_GUEST);
	g_assert_cmpint(error.code, ==, E2BIG);
	/* The longest possible entries: the sum fits. */
	for (size_t i = 0; i < VTR_MAX_ENTRIES; i++)
		entries[i] = (struct vtr_mem_entry){ .address = 1, .length = UINT32_MAX };
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, VTR_MAX_ENTRIES, &error), ==, 0);
	g_assert_cmpuint(spans.length, ==, (uint64_t)VTR_MAX_ENTRIES * UINT32_MAX);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* Few entries over many small adjacent regions: what they become is bounded, too. */
static void test_split_is_bounded(void)
{
	enum { REGIONS = 4096, ENTRIES = VTR_MAX_ENTRIES / REGIONS };
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entries[ENTRIES + 1];
	struct vtr_error error = { 0 };
	struct vtr_spans spans;

	for (uint64_t i = 0; i < REGIONS; i++)
		g_assert_cmpint(vtr_memory_add(memory, i * 16, 16, -1, 0, true), ==, 0);
	for (size_t i = 0; i <= ENTRIES; i++)
		entries[i] = (struct vtr_mem_entry){ .address = 0, .length = REGIONS * 16 };
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, ENTRIES, &error), ==, 0);
	g_assert_cmpuint(spans.count, ==, VTR_MAX_ENTRIES);
	vtr_spans_finish(&spans);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, ENTRIES + 1, &error), ==, -E2BIG);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_GUEST);
	vtr_memory_destroy(memory);
}

/* ---- access ---- */

/* Five spans, lengths 4096, 100, 8192 - 100 (in two regions), 4096 remote, 1. */
static const struct vtr_mem_entry access_entries[] = {
	{ 0x12000, 4096 }, { 0x1ff9c, 100 }, { 0x20000, 8092 }, { 0x41000, 4096 }, { TOP + 5, 1 },
};
enum { ACCESS_LENGTH = 4096 + 8192 + 4096 + 1 };

static uint8_t image_byte(uint64_t i)
{
	for (size_t entry = 0; entry < G_N_ELEMENTS(access_entries); entry++) {
		if (i < access_entries[entry].length)
			return byte_at(access_entries[entry].address + i);
		i -= access_entries[entry].length;
	}
	g_assert_not_reached();
}

static const struct read_row {
	const char *name;
	uint64_t offset;
	size_t length;
	int result;
} read_rows[] = {
	{ "everything", 0, ACCESS_LENGTH, 0 },
	{ "nothing", 0, 0, 0 },
	{ "nothing-at-end", ACCESS_LENGTH, 0, 0 },
	{ "first-byte", 0, 1, 0 },
	{ "last-byte", ACCESS_LENGTH - 1, 1, 0 },
	{ "border", 4095, 2, 0 },
	{ "three-spans", 4000, 300, 0 },
	{ "exactly-one-span", 4096, 100, 0 },
	{ "into-remote", 12287, 2, 0 },
	{ "inside-remote", 13000, 1000, 0 },
	{ "one-too-many", ACCESS_LENGTH - 1, 2, -ERANGE },
	{ "beyond", ACCESS_LENGTH, 1, -ERANGE },
	{ "offset-wraps", UINT64_MAX, 2, -ERANGE },
};

static void test_read(gconstpointer data)
{
	const struct read_row *row = data;
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_spans spans;
	g_autofree uint8_t *bytes = g_malloc0(ACCESS_LENGTH + 1);
	g_autofree uint8_t *other = g_malloc0(ACCESS_LENGTH + 1);

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, access_entries, G_N_ELEMENTS(access_entries), NULL), ==, 0);
	g_assert_cmpuint(spans.count, ==, 5);
	g_assert_cmpint(vtr_spans_read(&spans, row->offset, bytes, row->length), ==, row->result);
	for (size_t i = 0; !row->result && i < row->length; i++)
		g_assert_cmpuint(bytes[i], ==, image_byte(row->offset + i));
	for (size_t i = 0; i < row->length; i++)
		bytes[i] = (uint8_t)~bytes[i];
	g_assert_cmpint(vtr_spans_write(&spans, row->offset, bytes, row->length), ==, row->result);
	if (!row->result) {
		g_assert_cmpint(vtr_spans_read(&spans, row->offset, other, row->length), ==, 0);
		g_assert_cmpmem(bytes, row->length, other, row->length);
	}
	/* The other bytes are what they were. */
	for (uint64_t i = 0; i < ACCESS_LENGTH; i += 17) {
		if (!row->result && i >= row->offset && i < row->offset + row->length)
			continue;
		g_assert_cmpint(vtr_spans_read(&spans, i, other, 1), ==, 0);
		g_assert_cmpuint(other[0], ==, image_byte(i));
	}
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static const struct gather_row {
	const char *name;
	uint64_t offset;
	uint32_t stride, rows;
	size_t row_bytes, target_stride;
	int result;
} gather_rows[] = {
	{ "whole-as-one", 0, 64, 256, 64, 64, 0 },
	{ "padded-source", 3, 128, 100, 100, 100, 0 },
	{ "padded-target", 0, 64, 256, 64, 80, 0 },
	{ "rows-across-spans", 1, 5000, 3, 4999, 5000, 0 },
	{ "single-row", 4000, 0, 1, 400, 400, 0 },
	{ "same-row-again", 4000, 0, 5, 400, 400, 0 },
	{ "overlapping-rows", 4000, 10, 50, 400, 400, 0 },
	{ "last-row-to-the-end", 1, 8192, 2, 8192, 8192, 0 },
	{ "no-rows", UINT64_MAX, 64, 0, 64, 64, 0 },
	{ "empty-rows", UINT64_MAX, 64, 64, 0, 64, 0 },
	{ "one-row-too-many", 2, 8192, 2, 8192, 8192, -ERANGE },
	{ "offset-beyond", ACCESS_LENGTH + 1, 1, 1, 1, 1, -ERANGE },
	{ "row-bytes-huge", 0, 1, 1, SIZE_MAX, SIZE_MAX, -ERANGE },
	{ "as-one-huge", 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, -ERANGE },
	{ "offset-wraps", UINT64_MAX, UINT32_MAX, UINT32_MAX, 1, 1, -ERANGE },
};

static void test_gather(gconstpointer data)
{
	const struct gather_row *row = data;
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_spans spans;
	size_t size = row->result ? 1 : row->rows * row->target_stride;
	g_autofree uint8_t *target = g_malloc0(size + 1);

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, access_entries, G_N_ELEMENTS(access_entries), NULL), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, row->offset, row->stride, row->rows, row->row_bytes, target, row->target_stride),
	                ==, row->result);
	for (size_t i = 0; !row->result && i < size; i++) {
		uint64_t y = i / row->target_stride, x = i % row->target_stride;

		g_assert_cmpuint(target[i], ==, x < row->row_bytes ? image_byte(row->offset + y * row->stride + x) : 0);
	}
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static const struct requests_row {
	const char *name;
	uint32_t stride, rows;
	size_t row_bytes, target_stride;
	unsigned requests;
} requests_rows[] = {
	{ "tight", 64, 200, 64, 64, 1 },
	{ "padded-target", 64, 200, 64, 100, 1 },
	{ "most-of-the-row", 64, 200, 60, 60, 1 },
	{ "half-of-the-row", 64, 200, 32, 32, 1 },
	{ "little-of-the-row", 64, 200, 16, 16, 1 },
	{ "overlapping", 64, 200, 65, 65, 1 },
};

static void test_requests(gconstpointer data)
{
	const struct requests_row *row = data;
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_mem_entry entry = { .address = 0x40000, .length = sizeof(remote.data) };
	g_autofree uint8_t *target = g_malloc0(row->rows * row->target_stride);
	struct vtr_spans spans;

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, 5, row->stride, row->rows, row->row_bytes, target, row->target_stride), ==, 0);
	g_assert_cmpuint(remote.reads, ==, row->requests);
	for (size_t y = 0; y < row->rows; y++)
		for (size_t x = 0; x < row->target_stride; x++)
			g_assert_cmpuint(target[y * row->target_stride + x], ==,
			                 x < row->row_bytes ? pattern(3, 5 + y * row->stride + x) : 0);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* More rows than one request may carry. */
static int count_long_read(void *data, uint64_t address, void *buffer, size_t length)
{
	uint8_t *bytes = buffer;

	g_assert_cmpuint(length, <=, VTR_MAX_DATA_XFER);
	for (size_t i = 0; i < length; i++)
		bytes[i] = pattern(6, address + i);
	++*(unsigned *)data;
	return 0;
}

static void test_long_requests(void)
{
	enum { STRIDE = 5120, ROWS = 1000, ROW_BYTES = 5000 };
	static const struct vtr_remote_impl impl = { .read = count_long_read };
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entry = { .address = 0, .length = STRIDE * ROWS };
	g_autofree uint8_t *target = g_malloc(ROWS * ROW_BYTES);
	struct vtr_spans spans;
	unsigned requests = 0;

	vtr_memory_set_remote(memory, &impl, &requests);
	g_assert_cmpint(vtr_memory_add(memory, 0, STRIDE * ROWS, -1, 0, false), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, 0, STRIDE, ROWS, ROW_BYTES, target, ROW_BYTES), ==, 0);
	g_assert_cmpuint(requests, ==, 5); // of 204 rows each
	memset(target, 0, ROWS * ROW_BYTES);
	g_assert_cmpint(vtr_spans_fetch(&spans, 0, STRIDE, ROWS, ROW_BYTES, target, ROW_BYTES), ==, 0);
	g_assert_cmpuint(requests, ==, 10);
	for (size_t y = 0; y < ROWS; y++)
		assert_pattern(target + y * ROW_BYTES, ROW_BYTES, 6, y * STRIDE);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* ---- small pieces of remote memory: what lies close together is asked for together ---- */

struct counting_remote {
	uint64_t size;
	unsigned requests, groups;
	uint64_t bytes;
};

static int counting_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct counting_remote *remote = data;
	uint8_t *bytes = buffer;

	g_assert_cmpuint(length, >, 0);
	g_assert_cmpuint(address, <=, remote->size);
	g_assert_cmpuint(length, <=, remote->size - address);
	for (size_t i = 0; i < length; i++)
		bytes[i] = pattern(6, address + i);
	remote->requests++;
	remote->bytes += length;
	return 0;
}

static int counting_read_many(void *data, const struct vtr_remote_piece *pieces, size_t count)
{
	struct counting_remote *remote = data;

	g_assert_cmpuint(count, >, 0);
	remote->groups++;
	for (size_t i = 0; i < count; i++)
		counting_read(remote, pieces[i].address, pieces[i].buffer, pieces[i].length);
	return 0;
}

enum order { FORWARDS, BACKWARDS, SHUFFLED, TWICE };

static const struct pieces_row {
	const char *name;
	uint32_t count, length, step; // of the pieces; from one to the next
	enum order order;
	uint64_t region; // memory is cut into regions of so many bytes; 0: one
	int result;
	unsigned requests, groups;
} pieces_rows[] = {
	{ "one", 1, 5000, 5000, FORWARDS, 0, 0, 1, 1 },
	{ "in-order", 1000, 16, 32, FORWARDS, 0, 0, 1, 1 },
	{ "backwards", 1000, 16, 32, BACKWARDS, 0, 0, 1, 1 },
	{ "shuffled", 1001, 16, 32, SHUFFLED, 0, 0, 1, 1 },
	{ "each-twice", 1000, 16, 32, TWICE, 0, 0, 1, 1 },
	{ "overlapping", 100, 64, 32, BACKWARDS, 0, 0, 1, 1 },
	{ "same-bytes", 1000, 16, 0, FORWARDS, 0, 0, 1, 1 },
	{ "gap-of-1024", 100, 16, 16 + 1024, BACKWARDS, 0, 0, 1, 1 },
	{ "gap-of-1025", 100, 16, 16 + 1025, BACKWARDS, 0, 0, 100, 1 },
	{ "in-two-regions", 128, 16, 64, BACKWARDS, 4096, 0, 2, 1 },
	{ "a-request-is-bounded", 262144, 16, 32, BACKWARDS, 0, 0, 8, 8 }, // of nearly 1 MiB each
	{ "a-group-is-bounded", 1000, 16, 8192, BACKWARDS, 0, 0, 1000, 4 },
	{ "many-requests", VTR_MAX_FETCH_REQUESTS, 4, 2048, BACKWARDS, 0, 0, VTR_MAX_FETCH_REQUESTS, 128 },
	{ "too-many-requests", VTR_MAX_FETCH_REQUESTS + 1, 4, 2048, BACKWARDS, 0, -E2BIG, 0, 0 },
};

static struct vtr_mem_entry *make_pieces(const struct pieces_row *row)
{
	struct vtr_mem_entry *entries = g_new0(struct vtr_mem_entry, row->count);

	for (uint32_t i = 0; i < row->count; i++) {
		uint64_t at = i;

		if (row->order == BACKWARDS)
			at = row->count - 1 - i;
		else if (row->order == SHUFFLED)
			at = (uint64_t)i * 389 % row->count;
		else if (row->order == TWICE)
			at = i / 2;
		entries[i] = (struct vtr_mem_entry){ at * row->step, row->length, 0 };
	}
	return entries;
}

static void test_pieces(gconstpointer data, bool many)
{
	static const struct vtr_remote_impl single = { .read = counting_read },
					    several = { .read = counting_read, .read_many = counting_read_many };
	const struct pieces_row *row = data;
	g_autofree struct vtr_mem_entry *entries = make_pieces(row);
	struct counting_remote remote = { .size = ((uint64_t)row->count * row->step + row->length + PAGE) / PAGE * PAGE };
	uint64_t region = row->region ? row->region : remote.size;
	struct vtr_memory *memory = vtr_memory_create();
	size_t length = (size_t)row->count * row->length;
	g_autofree uint8_t *target = g_malloc0(length + 1);
	struct vtr_spans spans;

	vtr_memory_set_remote(memory, many ? &several : &single, &remote);
	for (uint64_t at = 0; at < remote.size; at += region)
		g_assert_cmpint(vtr_memory_add(memory, at, MIN(region, remote.size - at), -1, 0, false), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, row->count, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_read(&spans, 0, target, length), ==, row->result);
	g_assert_cmpuint(remote.requests, ==, row->requests);
	g_assert_cmpuint(remote.groups, ==, many ? row->groups : 0);
	for (uint32_t i = 0; i < row->count && !row->result; i++)
		assert_pattern(target + (size_t)i * row->length, row->length, 6, entries[i].address);
	g_assert_cmpuint(target[length], ==, 0);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static void test_pieces_single(gconstpointer data)
{
	test_pieces(data, false);
}

static void test_pieces_many(gconstpointer data)
{
	test_pieces(data, true);
}

/* The bytes between rows are asked for, but never alone, and never when nothing follows them. */
static void test_gaps_are_not_wanted(void)
{
	enum { STRIDE = 1 << 20, ROW_BYTES = STRIDE - 5000, ROWS = 3 };
	static const struct vtr_remote_impl impl = { .read = counting_read };
	struct counting_remote remote = { .size = ROWS * STRIDE };
	struct vtr_mem_entry entry = { .address = 0, .length = ROWS * STRIDE };
	struct vtr_memory *memory = vtr_memory_create();
	g_autofree uint8_t *target = g_malloc(ROWS * ROW_BYTES);
	struct vtr_spans spans;

	vtr_memory_set_remote(memory, &impl, &remote);
	g_assert_cmpint(vtr_memory_add(memory, 0, remote.size, -1, 0, false), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, 0, STRIDE, ROWS, ROW_BYTES, target, ROW_BYTES), ==, 0);
	g_assert_cmpuint(remote.requests, ==, ROWS);
	g_assert_cmpuint(remote.bytes, ==, ROWS * ROW_BYTES);
	for (size_t y = 0; y < ROWS; y++)
		assert_pattern(target + y * ROW_BYTES, ROW_BYTES, 6, y * STRIDE);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* Where some spans are mapped only the others are asked for, and what lies between those in memory is not touched. */
static void test_mixed_memory(void)
{
	static const struct vtr_remote_impl impl = { .read = counting_read };
	const struct vtr_mem_entry entries[] = {
		{ 2 * PAGE, 100, 0 },  // remote
		{ 4 * PAGE, 100, 0 },  // mapped
		{ PAGE, 100, 0 },      // remote
		{ 5 * PAGE, 100, 0 },  // mapped
		{ PAGE + 200, 100, 0 } // remote
	};
	struct counting_remote remote = { .size = 4 * PAGE };
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_spans spans;
	uint8_t bytes[500];

	vtr_memory_set_remote(memory, &impl, &remote);
	g_assert_cmpint(vtr_memory_add(memory, 0, 4 * PAGE, -1, 0, false), ==, 0);
	add_ram(memory, 4 * PAGE, 4 * PAGE, 1);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, G_N_ELEMENTS(entries), NULL), ==, 0);
	g_assert_false(spans.cpu);
	g_assert_cmpint(vtr_spans_gather(&spans, 0, 50, 10, 50, bytes, 50), ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(entries); i++)
		assert_pattern(bytes + 100 * i, 100, i % 2 ? 1 : 6, i % 2 ? entries[i].address - 4 * PAGE : entries[i].address);
	g_assert_cmpuint(remote.requests, ==, 2);
	g_assert_cmpuint(remote.bytes, ==, 100 + 300);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* By request also where there is a mapping: what the remote side answers is not what the mapping holds. */
static void test_fetch(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entry = { .address = 0x10000, .length = 2 * PAGE };
	struct vtr_spans spans, own;
	uint8_t bytes[2 * PAGE];

	add_remote(memory, &remote, 0x10000, 3);
	vtr_memory_remove_all(memory);
	add_ram(memory, 0x10000, 4 * PAGE, 1);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_fetch(&spans, 8, 64, 100, 64, bytes, 64), ==, 0);
	assert_pattern(bytes, 6400, 3, 8);
	g_assert_cmpuint(remote.reads, ==, 1);
	g_assert_cmpint(vtr_spans_gather(&spans, 8, 64, 100, 64, bytes, 64), ==, 0);
	assert_pattern(bytes, 6400, 1, 8);
	g_assert_cmpuint(remote.reads, ==, 1);
	g_assert_cmpint(vtr_spans_fetch(&spans, 8, 64, 200, 64, bytes, 64), ==, -ERANGE);
	g_assert_cmpint(vtr_spans_fetch(&spans, 8, 64, 0, 64, bytes, 64), ==, 0);
	remote.error = -EIO;
	g_assert_cmpint(vtr_spans_fetch(&spans, 0, 64, 1, 64, bytes, 64), ==, -EIO);
	vtr_memory_set_remote(memory, NULL, NULL);
	g_assert_cmpint(vtr_spans_fetch(&spans, 0, 64, 1, 64, bytes, 64), ==, -ENOTCONN);
	vtr_memory_remove_all(memory);
	g_assert_cmpint(vtr_spans_fetch(&spans, 0, 64, 1, 64, bytes, 64), ==, -EFAULT);
	vtr_spans_finish(&spans);
	g_assert_cmpint(vtr_spans_from_file(&own, vtr_memfd_create("test", PAGE), PAGE, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_fetch(&own, 0, 64, 1, 64, bytes, 64), ==, -EOPNOTSUPP);
	vtr_spans_finish(&own);
	vtr_memory_destroy(memory);
}

/* Many scattered spans, read in random places: the search finds what a scan finds. */
static void test_random_reads(void)
{
	enum { PAGES = 512, READS = 2000 };
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entries[PAGES];
	struct vtr_spans spans;
	uint8_t bytes[3 * PAGE];

	add_ram(memory, 0, PAGES * PAGE, 5);
	for (uint64_t i = 0; i < PAGES; i++)
		entries[i] = (struct vtr_mem_entry){ .address = i * 181 % PAGES * PAGE, .length = PAGE };
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, PAGES, NULL), ==, 0);
	g_assert_cmpuint(spans.count, ==, PAGES);
	for (unsigned i = 0; i < READS; i++) {
		uint64_t offset = (uint64_t)g_test_rand_int_range(0, (PAGES - 3) * PAGE);
		size_t length = (size_t)g_test_rand_int_range(1, 3 * PAGE);

		g_assert_cmpint(vtr_spans_read(&spans, offset, bytes, length), ==, 0);
		for (size_t j = 0; j < length; j += 61) {
			uint64_t at = offset + j;

			g_assert_cmpuint(bytes[j], ==, pattern(5, entries[at / PAGE].address + at % PAGE));
		}
	}
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* ---- large images in small ranges, where the copy looks ahead ---- */

enum { FRAME_STRIDE = 5120, FRAME_HEIGHT = 1024, FRAME_PAGES = FRAME_STRIDE * FRAME_HEIGHT / PAGE };

static const struct large_row {
	const char *name;
	uint32_t range; // bytes of each entry
	size_t row_bytes, target_stride, target_offset;
} large_rows[] = {
	{ "pages-whole", PAGE, FRAME_STRIDE, FRAME_STRIDE, 0 },
	{ "pages-whole-unaligned-target", PAGE, FRAME_STRIDE, FRAME_STRIDE, 3 },
	{ "pages-rows", PAGE, 5116, 5116, 0 },
	{ "pages-odd-rows", PAGE, 5001, 5003, 1 },
	{ "pages-padded-target", PAGE, FRAME_STRIDE, FRAME_STRIDE + 64, 16 },
	{ "odd-ranges", 1000, FRAME_STRIDE, FRAME_STRIDE, 0 },
	{ "tiny-ranges", 40, 5119, 5119, 7 },
	{ "long-ranges", 256 * 1024, FRAME_STRIDE, FRAME_STRIDE, 0 },
};

/* Entries of range bytes over the file's frame in an order that merges nothing. Their number is odd, so that the order is a
 * permutation; what is left of the frame comes last. */
static size_t scatter(struct vtr_mem_entry *entries, uint32_t range)
{
	size_t count = (FRAME_PAGES * PAGE / range - 1) | 1, done = 0;

	for (size_t i = 0; i < count; i++, done += range)
		entries[i] = (struct vtr_mem_entry){ .address = i * 2 % count * range, .length = range };
	entries[count] = (struct vtr_mem_entry){ .address = count * range, .length = (uint32_t)(FRAME_PAGES * PAGE - done) };
	return count + (entries[count].length != 0);
}

static void test_large(gconstpointer data)
{
	const struct large_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	g_autofree struct vtr_mem_entry *entries = g_new0(struct vtr_mem_entry, FRAME_PAGES * PAGE / row->range + 2);
	size_t size = row->target_offset + FRAME_HEIGHT * row->target_stride;
	g_autofree uint8_t *target = g_malloc0(size + 64), *image = g_malloc(FRAME_PAGES * PAGE);
	struct vtr_spans spans;

	add_ram(memory, 0, FRAME_PAGES * PAGE, 1);
	size_t count = scatter(entries, row->range), at = 0;
	for (size_t i = 0; i < count; at += entries[i++].length)
		for (size_t j = 0; j < entries[i].length; j++)
			image[at + j] = pattern(1, entries[i].address + j);
	g_assert_cmpuint(at, ==, FRAME_PAGES * PAGE);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, count, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, 0, FRAME_STRIDE, FRAME_HEIGHT, row->row_bytes, target + row->target_offset,
	                                 row->target_stride),
	                ==, 0);
	for (size_t y = 0; y < FRAME_HEIGHT; y++) {
		uint8_t *to = target + row->target_offset + y * row->target_stride;

		g_assert_cmpmem(to, row->row_bytes, image + y * FRAME_STRIDE, row->row_bytes);
		memset(to, 0, row->row_bytes);
	}
	/* Nothing beside the rows was written. */
	for (size_t i = 0; i < size + 64; i++)
		g_assert_cmpuint(target[i], ==, 0);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static void test_large_truncated(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	g_autofree struct vtr_mem_entry *entries = g_new0(struct vtr_mem_entry, FRAME_PAGES + 2);
	g_autofree uint8_t *target = g_malloc(FRAME_PAGES * PAGE);
	int fd = pattern_file(1, FRAME_PAGES * PAGE), ours = dup(fd);
	struct vtr_spans spans;

	g_assert_cmpint(vtr_memory_add(memory, 0, FRAME_PAGES * PAGE, fd, 0, true), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, scatter(entries, PAGE), NULL), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, 0, 5120, 1024, 5120, target, 5120), ==, 0);
	g_assert_cmpint(ftruncate(ours, FRAME_PAGES / 2 * PAGE), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, 0, 5120, 1024, 5120, target, 5120), ==, -EFAULT);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
	close(ours);
}

/* ---- regions that go ---- */

static void test_region_removed(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	unsigned fds = count_fds();
	struct vtr_spans spans, again;
	uint8_t bytes[ACCESS_LENGTH];

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, access_entries, G_N_ELEMENTS(access_entries), NULL), ==, 0);
	g_assert_cmpint(vtr_memory_remove(memory, 0x20000, 16 * PAGE), ==, 0);
	g_assert_cmpuint(count_fds(), ==, fds - 1);
	/* Its spans read an error, the others are what they were. */
	g_assert_cmpint(vtr_spans_read(&spans, 0, bytes, 4196), ==, 0);
	g_assert_cmpint(vtr_spans_read(&spans, 4196, bytes, 1), ==, -EFAULT);
	g_assert_cmpint(vtr_spans_write(&spans, 4196, bytes, 1), ==, -EFAULT);
	g_assert_cmpint(vtr_spans_gather(&spans, 0, 64, 256, 64, bytes, 64), ==, -EFAULT);
	g_assert_cmpint(vtr_spans_resolve(&again, memory, access_entries, G_N_ELEMENTS(access_entries), NULL), ==, -EFAULT);
	g_assert_true(vtr_spans_use(&spans, spans.items[2].region));
	g_assert_false(spans.items[2].region->mapped);
	/* The same addresses come back: a new region, the old spans do not see it. */
	add_ram(memory, 0x20000, 16 * PAGE, 2);
	g_assert_false(vtr_spans_use(&spans, vtr_memory_region(memory, 1)));
	g_assert_cmpint(vtr_spans_read(&spans, 4196, bytes, 1), ==, -EFAULT);
	g_assert_cmpint(vtr_spans_resolve(&again, memory, access_entries, G_N_ELEMENTS(access_entries), NULL), ==, 0);
	g_assert_cmpint(vtr_spans_read(&again, 0, bytes, ACCESS_LENGTH), ==, 0);
	vtr_spans_finish(&again);
	/* Spans may outlive the map. */
	vtr_memory_destroy(memory);
	g_assert_cmpint(vtr_spans_read(&spans, 0, bytes, 1), ==, -EFAULT);
	g_assert_cmpint(vtr_spans_read(&spans, 12288, bytes, 1), ==, -EFAULT);
	vtr_spans_finish(&spans);
}

static void test_remote_goes_while_asked(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = make_memory(&remote);
	struct vtr_spans spans;
	uint8_t bytes[ACCESS_LENGTH];

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, access_entries, G_N_ELEMENTS(access_entries), NULL), ==, 0);
	remote.error = -EIO;
	g_assert_cmpint(vtr_spans_read(&spans, 0, bytes, ACCESS_LENGTH), ==, -EIO);
	remote.error = 0;
	remote.remove = memory;
	g_assert_cmpint(vtr_spans_read(&spans, 0, bytes, ACCESS_LENGTH), ==, -ECANCELED);
	g_assert_cmpint(vtr_spans_read(&spans, 12288, bytes, 1), ==, -EFAULT);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

static const struct truncated_row {
	const char *name;
	off_t left;
	uint64_t offset;
	size_t length;
	int result;
} truncated_rows[] = {
	{ "before-the-cut", 8 * PAGE, 0, 8 * PAGE, 0 },
	{ "across-the-cut", 8 * PAGE, 7 * PAGE, 2 * PAGE, -EFAULT },
	{ "behind-the-cut", 8 * PAGE, 12 * PAGE, 1, -EFAULT },
	{ "cut-inside-a-page", 8 * PAGE + 1, 8 * PAGE, PAGE, 0 }, // the rest of the page reads as zeros, as for any mapping
	{ "to-nothing", 0, 0, 16 * PAGE, -EFAULT },
};

static void test_truncated(gconstpointer data)
{
	const struct truncated_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entry = { .address = 0, .length = 16 * PAGE };
	struct vtr_spans spans;
	int fd = pattern_file(1, 16 * PAGE), ours = dup(fd);
	uint8_t bytes[16 * PAGE], byte;

	g_assert_cmpint(vtr_memory_add(memory, 0, 16 * PAGE, fd, 0, true), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	g_assert_cmpint(vtr_spans_read(&spans, 0, bytes, sizeof(bytes)), ==, 0);
	g_assert_cmpint(ftruncate(ours, row->left), ==, 0);
	g_assert_cmpint(vtr_spans_gather(&spans, row->offset, 1, 1, row->length, bytes, 1), ==, row->result);
	g_assert_cmpint(vtr_region_faulted(spans.items[0].region), ==, row->result != 0);
	g_assert_cmpint(vtr_spans_read(&spans, 0, &byte, 1), ==, row->result);
	g_assert_cmpint(vtr_spans_write(&spans, 0, &byte, 1), ==, row->result);
	if (row->result && row->left) // what was read before the error is right
		g_assert_cmpuint(bytes[0], ==, row->offset < (uint64_t)row->left ? pattern(1, row->offset) : 0);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
	close(ours);
}

/* ---- host memory ---- */

static void test_from_file(void)
{
	struct vtr_spans spans;
	unsigned fds = count_fds();
	uint8_t out[300], in[300] = "host memory";

	g_assert_cmpint(vtr_spans_from_file(&spans, vtr_memfd_create("test", 5000), 5000, NULL), ==, 0);
	g_assert_cmpuint(spans.count, ==, 1);
	g_assert_cmpuint(spans.length, ==, 5000);
	g_assert_true(spans.cpu);
	g_assert_cmpint(vtr_spans_write(&spans, 4700, in, 300), ==, 0);
	g_assert_cmpint(vtr_spans_read(&spans, 4700, out, 300), ==, 0);
	g_assert_cmpmem(in, 300, out, 300);
	g_assert_cmpint(vtr_spans_read(&spans, 4701, out, 300), ==, -ERANGE);
	vtr_spans_finish(&spans);
	g_assert_cmpuint(count_fds(), ==, fds);
}

static const struct file_row {
	const char *name;
	size_t size; // of the file; 0 for no file
	uint64_t asked;
} file_rows[] = {
	{ "no-file", 0, 4096 },
	{ "too-short", 4096, 4097 },
	{ "size-0", 4096, 0 },
	{ "size-huge", 4096, UINT64_MAX },
};

static void test_from_file_error(gconstpointer data)
{
	const struct file_row *row = data;
	struct vtr_error error = { 0 };
	struct vtr_spans spans;
	int fd = row->size ? pattern_file(1, row->size) : -1;

	g_assert_cmpint(vtr_spans_from_file(&spans, fd, row->asked, &error), ==, -EINVAL);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_cmpuint(spans.count, ==, 0);
	g_assert_true(fd < 0 || !fd_is_open(fd));
	vtr_spans_finish(&spans);
}

/* Another region of the spans goes while one is asked for, and its user drops them at once, as users do. */
struct spans_user {
	struct vtr_memory_listener listener;
	struct vtr_memory *memory;
	struct vtr_spans spans;
};

static void user_removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	vtr_spans_finish(&((struct spans_user *)listener)->spans);
}

static int removes_next(void *data, uint64_t address, void *buffer, size_t length)
{
	struct spans_user *user = data;

	memset(buffer, 0, length);
	return vtr_memory_remove(user->memory, address + PAGE, PAGE);
}

static int writes_and_removes_next(void *data, uint64_t address, const void *buffer, size_t length)
{
	return vtr_memory_remove(((struct spans_user *)data)->memory, address + PAGE, PAGE);
}

static void test_spans_go_while_asked(gconstpointer data)
{
	static const struct vtr_remote_impl remote = { .read = removes_next, .write = writes_and_removes_next };
	const struct vtr_mem_entry entry = { 0, 2 * PAGE, 0 };
	struct spans_user user = { .listener.removing = user_removing, .memory = vtr_memory_create() };
	static uint8_t bytes[2 * PAGE];
	int result;

	vtr_memory_set_remote(user.memory, &remote, &user);
	vtr_memory_add_listener(user.memory, &user.listener);
	g_assert_cmpint(vtr_memory_add(user.memory, 0, PAGE, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(user.memory, PAGE, PAGE, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&user.spans, user.memory, &entry, 1, NULL), ==, 0);
	g_assert_cmpuint(user.spans.count, ==, 2);
	if (GPOINTER_TO_INT(data))
		result = vtr_spans_write(&user.spans, 0, bytes, sizeof(bytes));
	else
		result = vtr_spans_gather(&user.spans, 0, 2 * PAGE, 1, 2 * PAGE, bytes, 2 * PAGE);
	g_assert_cmpint(result, ==, -ECANCELED);
	g_assert_cmpuint(user.spans.count, ==, 0);
	vtr_memory_destroy(user.memory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/spans/resolve/", resolve_rows, test_resolve);
	ADD_ROWS("/spans/read/", read_rows, test_read);
	ADD_ROWS("/spans/gather/", gather_rows, test_gather);
	ADD_ROWS("/spans/large/", large_rows, test_large);
	ADD_ROWS("/spans/requests/", requests_rows, test_requests);
	g_test_add_func("/spans/requests/many-rows", test_long_requests);
	ADD_ROWS("/spans/pieces/", pieces_rows, test_pieces_many);
	ADD_ROWS("/spans/pieces-one-by-one/", pieces_rows, test_pieces_single);
	g_test_add_func("/spans/requests/gaps-are-not-wanted", test_gaps_are_not_wanted);
	g_test_add_func("/spans/requests/mixed-memory", test_mixed_memory);
	g_test_add_func("/spans/requests/fetch", test_fetch);
	ADD_ROWS("/spans/truncated/", truncated_rows, test_truncated);
	g_test_add_func("/spans/large/truncated", test_large_truncated);
	ADD_ROWS("/spans/from-file-error/", file_rows, test_from_file_error);
	g_test_add_func("/spans/resolve/most-entries", test_most_entries);
	g_test_add_func("/spans/resolve/split-is-bounded", test_split_is_bounded);
	g_test_add_func("/spans/read/random", test_random_reads);
	g_test_add_func("/spans/region-removed", test_region_removed);
	g_test_add_func("/spans/remote-goes-while-asked", test_remote_goes_while_asked);
	g_test_add_data_func("/spans/spans-go-while-asked/gather", GINT_TO_POINTER(false), test_spans_go_while_asked);
	g_test_add_data_func("/spans/spans-go-while-asked/write", GINT_TO_POINTER(true), test_spans_go_while_asked);
	g_test_add_func("/spans/from-file", test_from_file);
	return g_test_run();
}
