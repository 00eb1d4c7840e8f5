/* SPDX-License-Identifier: MIT */
#include <glib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/copy.h"
#include "rows.h"

/* Every alignment of source and target, lengths around the steps that the implementations take. */
static const struct copy_row {
	const char *name;
	size_t length;
} copy_rows[] = {
	{ "0", 0 },     { "1", 1 },     { "15", 15 },   { "63", 63 },   { "64", 64 },     { "65", 65 },     { "127", 127 },
	{ "128", 128 }, { "255", 255 }, { "256", 256 }, { "257", 257 }, { "1000", 1000 }, { "4096", 4096 }, { "5001", 5001 },
};

static void test_copy(gconstpointer data)
{
	const struct copy_row *row = data;
	g_autofree guint8 *from = g_malloc(row->length + 128);
	g_autofree guint8 *to = g_malloc(row->length + 256);

	for (size_t i = 0; i < row->length + 128; i++)
		from[i] = (guint8)(i * 7 + i / 256);
	for (size_t source = 0; source < 65; source += 13)
		for (size_t target = 0; target < 64; target++) {
			memset(to, 0xee, row->length + 256);
			vtr_copy_stream(to + target, from + source, row->length, from);
			vtr_copy_stream_end();
			g_assert_cmpmem(to + target, row->length, from + source, row->length);
			for (size_t i = 0; i < row->length + 256; i++)
				if (i < target || i >= target + row->length)
					g_assert_cmpuint(to[i], ==, 0xee);
		}
}

/* Nothing beside the range is read, not even by a load that would be aligned: what is there cannot be touched. */
static void test_device(gconstpointer data)
{
	enum { PAGE = 4096 };
	const struct copy_row *row = data;
	size_t pages = (row->length + 2 * PAGE - 1) / PAGE * PAGE;
	guint8 *room = mmap(NULL, pages + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *from = room + PAGE;
	g_autofree guint8 *to = g_malloc(row->length + 64);

	g_assert_true(room != MAP_FAILED);
	g_assert_cmpint(mprotect(from, pages, PROT_READ | PROT_WRITE), ==, 0);
	for (size_t i = 0; i < pages; i++)
		from[i] = (guint8)(i * 7 + i / 256);
	for (size_t shift = 0; shift < 65; shift++)
		for (size_t target = 0; target < 64; target += 9) {
			/* from the first byte on, and up to the last */
			const guint8 *sources[] = { from + shift, from + pages - row->length - shift };

			for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
				memset(to, 0xee, row->length + 64);
				vtr_copy_device(to + target, sources[i], row->length);
				g_assert_cmpmem(to + target, row->length, sources[i], row->length);
				for (size_t j = 0; j < row->length + 64; j++)
					if (j < target || j >= target + row->length)
						g_assert_cmpuint(to[j], ==, 0xee);
			}
		}
	munmap(room, pages + 2 * PAGE);
}

/* What lies ahead is never read: it may be anywhere. */
static void test_ahead_is_nowhere(void)
{
	guint8 from[512] = "x", to[512];

	vtr_copy_stream(to, from, sizeof(to), (const void *)(guintptr)16);
	vtr_copy_stream_end();
	g_assert_cmpmem(to, sizeof(to), from, sizeof(from));
	vtr_copy_stream(to, from, sizeof(to), (const void *)G_MAXSIZE);
	vtr_copy_stream_end();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/copy/length/", copy_rows, test_copy);
	ADD_ROWS("/copy/device/", copy_rows, test_device);
	g_test_add_func("/copy/ahead-is-nowhere", test_ahead_is_nowhere);
	return g_test_run();
}
