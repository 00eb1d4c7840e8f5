/* SPDX-License-Identifier: MIT */
/*
 * The moving picture of demo.sh: a title, a counter, balls on Lissajous curves over a quiet background. Software emulation draws
 * some ten million pixels a second, so a frame touches only what moved: the background under the balls of the frame that the same
 * buffer showed before, the balls at their new places, the counter.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "guest.h"

enum { BALLS = 6, RADIUS = 56, GLYPH_WIDTH = 5, GLYPH_HEIGHT = 7, TITLE_SCALE = 16, COUNTER_SCALE = 6 };

struct ball {
	uint32_t color;
	double x, y, phase; /* turns a second on each axis, turns at the start */
};

static const struct ball balls[BALLS] = {
	{ 0xff5a4f, 0.130, 0.190, 0.00 }, { 0xffb52e, 0.170, 0.110, 0.21 }, { 0x5fd068, 0.110, 0.230, 0.37 },
	{ 0x35b8ff, 0.150, 0.210, 0.52 }, { 0x9a7bff, 0.190, 0.130, 0.68 }, { 0xff6fb7, 0.120, 0.160, 0.83 },
};

struct glyph {
	char letter;
	uint8_t rows[GLYPH_HEIGHT]; /* bit 4 is the left column */
};

static const struct glyph glyphs[] = {
	{ '0', { 0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e } }, { '1', { 0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e } },
	{ '2', { 0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f } }, { '3', { 0x0e, 0x11, 0x01, 0x06, 0x01, 0x11, 0x0e } },
	{ '4', { 0x12, 0x12, 0x12, 0x1f, 0x02, 0x02, 0x02 } }, { '5', { 0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e } },
	{ '6', { 0x0e, 0x10, 0x10, 0x1e, 0x11, 0x11, 0x0e } }, { '7', { 0x1f, 0x01, 0x02, 0x02, 0x04, 0x04, 0x04 } },
	{ '8', { 0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e } }, { '9', { 0x0e, 0x11, 0x11, 0x0f, 0x01, 0x01, 0x0e } },
	{ 'v', { 0x11, 0x11, 0x11, 0x0a, 0x0a, 0x0a, 0x04 } }, { 'i', { 0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e } },
	{ 't', { 0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04 } }, { 'r', { 0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11 } },
	{ 'n', { 0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11 } }, { 'e', { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f } },
};

struct rect {
	int32_t x, y, width, height;
};

static bool glyph_bit(char letter, int32_t column, int32_t row)
{
	for (size_t i = 0; i < sizeof(glyphs) / sizeof(glyphs[0]); i++)
		if (glyphs[i].letter == letter)
			return glyphs[i].rows[row] >> (GLYPH_WIDTH - 1 - column) & 1;
	return false;
}

static struct rect text_box(const char *text, int32_t x, int32_t y, int32_t scale)
{
	return (struct rect){ x, y, (int32_t)strlen(text) * (GLYPH_WIDTH + 1) * scale, GLYPH_HEIGHT * scale };
}

static bool text_bit(const char *text, int32_t scale, int32_t x, int32_t y)
{
	int32_t column = x / scale % (GLYPH_WIDTH + 1);

	return column < GLYPH_WIDTH && glyph_bit(text[x / scale / (GLYPH_WIDTH + 1)], column, y / scale);
}

static uint32_t mix(uint32_t a, uint32_t b, uint32_t part) /* of 256 */
{
	uint32_t odd = ((a & 0xff00ff) * (256 - part) + (b & 0xff00ff) * part) >> 8 & 0xff00ff;
	uint32_t even = ((a & 0x00ff00) * (256 - part) + (b & 0x00ff00) * part) >> 8 & 0x00ff00;

	return odd | even;
}

static struct rect title_box(const struct image *image)
{
	int32_t width = 7 * (GLYPH_WIDTH + 1) * TITLE_SCALE - TITLE_SCALE;

	return text_box("vitrine", ((int32_t)image->width - width) / 2, (int32_t)image->height / 5, TITLE_SCALE);
}

/* A night-blue gradient with a fine grid, and the title. */
static uint32_t background(const struct image *image, int32_t x, int32_t y)
{
	struct rect title = title_box(image);
	uint32_t color = mix(0x101a33, 0x2a4a73, (uint32_t)y * 256 / image->height);

	if (x % 40 == 0 || y % 40 == 0)
		color = mix(color, 0xffffff, 16);
	if (x >= title.x && x < title.x + title.width && y >= title.y && y < title.y + title.height &&
	    text_bit("vitrine", TITLE_SCALE, x - title.x, y - title.y))
		color = mix(0xffffff, 0x9fc6ff, (uint32_t)(y - title.y) * 256 / (uint32_t)title.height);
	return color;
}

static struct rect clip(const struct image *image, struct rect rect)
{
	int32_t right = rect.x + rect.width, bottom = rect.y + rect.height;

	rect.x = rect.x < 0 ? 0 : rect.x;
	rect.y = rect.y < 0 ? 0 : rect.y;
	right = right > (int32_t)image->width ? (int32_t)image->width : right;
	bottom = bottom > (int32_t)image->height ? (int32_t)image->height : bottom;
	rect.width = right > rect.x ? right - rect.x : 0;
	rect.height = bottom > rect.y ? bottom - rect.y : 0;
	return rect;
}

static uint32_t *row_of(const struct image *image, int32_t y)
{
	return (uint32_t *)(void *)(image->pixels + (size_t)y * image->stride);
}

static void draw_background(const struct image *image, struct rect rect)
{
	rect = clip(image, rect);
	for (int32_t y = rect.y; y < rect.y + rect.height; y++)
		for (int32_t x = rect.x; x < rect.x + rect.width; x++)
			row_of(image, y)[x] = background(image, x, y);
}

static struct rect ball_box(const struct image *image, const struct ball *ball, long number)
{
	double seconds = (double)number / 30.0, turn = 2 * M_PI;
	double x = 0.5 + 0.44 * sin(turn * (ball->x * seconds + ball->phase));
	double y = 0.5 + 0.40 * cos(turn * (ball->y * seconds + ball->phase));

	return (struct rect){ (int32_t)(x * image->width) - RADIUS, (int32_t)(y * image->height) - RADIUS, 2 * RADIUS, 2 * RADIUS };
}

static void draw_ball(const struct image *image, const struct ball *ball, struct rect box)
{
	struct rect visible = clip(image, box);

	for (int32_t y = visible.y; y < visible.y + visible.height; y++)
		for (int32_t x = visible.x; x < visible.x + visible.width; x++) {
			int32_t dx = x - box.x - RADIUS, dy = y - box.y - RADIUS;
			int32_t light_x = dx + RADIUS / 3, light_y = dy + RADIUS / 3;
			uint32_t light = (uint32_t)(light_x * light_x + light_y * light_y) * 256 / (2 * RADIUS * RADIUS);

			if (dx * dx + dy * dy < RADIUS * RADIUS)
				row_of(image, y)[x] = mix(mix(ball->color, 0xffffff, light < 64 ? 128 - 2 * light : 0), 0,
				                          light > 64 ? (light - 64) * 3 / 4 : 0);
		}
}

static void draw_counter(const struct image *image, long number)
{
	char text[16];
	struct rect box;

	snprintf(text, sizeof(text), "%06ld", number % 1000000);
	box = text_box(text, 48, (int32_t)image->height - 48 - GLYPH_HEIGHT * COUNTER_SCALE, COUNTER_SCALE);
	box = clip(image, box);
	for (int32_t y = 0; y < box.height; y++)
		for (int32_t x = 0; x < box.width; x++)
			row_of(image, box.y + y)[box.x + x] =
				text_bit(text, COUNTER_SCALE, x, y) ? 0xffd27f : background(image, box.x + x, box.y + y);
}

void demo_draw(const struct image *image, long number, long previous)
{
	if (previous < 0)
		draw_background(image, (struct rect){ 0, 0, (int32_t)image->width, (int32_t)image->height });
	for (size_t i = 0; i < BALLS && previous >= 0; i++)
		draw_background(image, ball_box(image, &balls[i], previous));
	for (size_t i = 0; i < BALLS; i++)
		draw_ball(image, &balls[i], ball_box(image, &balls[i], number));
	draw_counter(image, number);
}
