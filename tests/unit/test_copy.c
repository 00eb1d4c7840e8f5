/* SPDX-License-Identifier: MIT */
#include <glib.h>
#include <string.h>

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
	g_test_add_func("/copy/ahead-is-nowhere", test_ahead_is_nowhere);
	return g_test_run();
}
