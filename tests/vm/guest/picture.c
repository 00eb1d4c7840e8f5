/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "guest.h"

static uint32_t *row_of(const struct image *image, uint32_t y)
{
	return (uint32_t *)(void *)(image->pixels + (size_t)y * image->stride);
}

uint32_t picture_color(uint32_t x, uint32_t y, uint32_t seed)
{
	uint32_t key = (seed * 0x9e3779b1u) >> 8;
	uint32_t blue = (x >> 8 & 15) | (y >> 8 & 15) << 4;

	return key ^ ((x & 255) << 16 | (y & 255) << 8 | blue);
}

void picture_draw(const struct image *image, uint32_t seed)
{
	for (uint32_t y = 0; y < image->height; y++) {
		uint32_t *row = row_of(image, y);

		for (uint32_t x = 0; x < image->width; x++)
			row[x] = picture_color(x, y, seed);
	}
}

void picture_draw_cursor(uint32_t pixels[64 * 64], uint32_t seed)
{
	for (int32_t y = 0; y < 64; y++)
		for (int32_t x = 0; x < 64; x++) {
			bool inside = (x < 32 ? 32 - x : x - 31) + (y < 32 ? 32 - y : y - 31) <= 32;

			pixels[y * 64 + x] = inside ? 0xff000000u | picture_color((uint32_t)x, (uint32_t)y, seed) : 0;
		}
}

int picture_draw_console(const char *terminal, uint32_t columns, uint32_t rows, uint32_t seed)
{
	FILE *tty = fopen(terminal, "w");

	if (!tty)
		return guest_check(-1, terminal);
	/* no cursor, no wrapping at the right edge, attributes off, clear */
	fputs("\033[?25l\033[?7l\033[0m\033[2J", tty);
	for (uint32_t row = 0; row < rows; row++) {
		fprintf(tty, "\033[%u;1H", row + 1);
		for (uint32_t column = 0; column < columns; column++)
			fprintf(tty, "\033[%um ", 40 + (column + 3 * row + seed) % 8);
	}
	return fclose(tty) ? guest_check(-1, terminal) : 0;
}
