/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_ROWS_H
#define TESTS_UNIT_ROWS_H

#include <glib.h>

/* Adds a test per row of a table, named prefix and the row's name, its first member. */
static inline void add_rows(const char *prefix, const void *rows, size_t count, size_t size, GTestDataFunc func)
{
	for (size_t i = 0; i < count; i++) {
		const char *row = (const char *)rows + i * size;
		g_autofree char *path = g_strconcat(prefix, *(const char *const *)row, NULL);

		g_test_add_data_func(path, row, func);
	}
}

#define ADD_ROWS(prefix, rows, func) add_rows(prefix, rows, G_N_ELEMENTS(rows), sizeof((rows)[0]), func)

#endif
