/* SPDX-License-Identifier: MIT */
/*
 * The windows' icon: data/vitrine.svg, drawn here. Desktops find that file by the program's desktop entry; what they show in title
 * bars and what is started without an installation has only this. The shapes are the file's, in its coordinates.
 */
#include <stdbool.h>

#include "sdl.h"

enum { ICON_SIZE = 64, DRAWING_SIZE = 128, SAMPLES = 4 /* in each direction, of a pixel */ };

struct point {
	double x, y;
};

struct shape {
	uint32_t color; /* red, green, blue */
	double opacity;
	int corners;            /* of a polygon; 0: a rectangle with rounded corners from points[0] to points[1] */
	double radius;          /* of these corners; a circle is nothing else */
	struct point points[7]; /* in their order */
};

static const struct shape shapes[] = {
	{ 0x2b3a4a, 1, 0, 6, { { 10, 16 }, { 118, 96 } } },
	{ 0x7fd0e8, 1, 0, 0, { { 17, 23 }, { 111, 89 } } },
	{ 0xffd76a, 1, 0, 9, { { 80, 33 }, { 98, 51 } } },
	{ 0x2f8f6b, 1, 7, 0, { { 17, 89 }, { 17, 72 }, { 43, 46 }, { 67, 72 }, { 82, 58 }, { 111, 82 }, { 111, 89 } } },
	{ 0xffffff, 0.35, 3, 0, { { 17, 23 }, { 57, 23 }, { 17, 71 } } },
	{ 0xffffff, 0.22, 4, 0, { { 65, 23 }, { 77, 23 }, { 17, 89 }, { 17, 81 } } },
	{ 0x3d5166, 1, 4, 0, { { 52, 96 }, { 76, 96 }, { 80, 108 }, { 48, 108 } } },
	{ 0x2b3a4a, 1, 0, 3.5, { { 36, 107 }, { 92, 114 } } },
};

static bool in_polygon(const struct shape *shape, double x, double y)
{
	bool inside = false;

	for (int i = 0, before = shape->corners - 1; i < shape->corners; before = i++) {
		const struct point *a = &shape->points[i], *b = &shape->points[before];

		if ((a->y > y) != (b->y > y) && x < (b->x - a->x) * (y - a->y) / (b->y - a->y) + a->x)
			inside = !inside;
	}
	return inside;
}

/* How far value is outside of low to high. */
static double beyond(double value, double low, double high)
{
	return value < low ? low - value : value > high ? value - high : 0;
}

static bool in_rectangle(const struct shape *shape, double x, double y)
{
	const struct point *a = &shape->points[0], *b = &shape->points[1];
	double r = shape->radius, dx = beyond(x, a->x + r, b->x - r), dy = beyond(y, a->y + r, b->y - r);

	return dx * dx + dy * dy <= r * r;
}

/* What the drawing is at a place. Color and opacity of all that is there are added to sum: red, green, blue, opacity. */
static void sample(double x, double y, double sum[4])
{
	double color[4] = { 0 };

	for (size_t i = 0; i < SDL_arraysize(shapes); i++) {
		const struct shape *shape = &shapes[i];

		if (!(shape->corners ? in_polygon(shape, x, y) : in_rectangle(shape, x, y)))
			continue;
		for (int c = 0; c < 4; c++) {
			double own = c < 3 ? (shape->color >> (16 - 8 * c) & 0xff) : 255;

			color[c] += (own - color[c]) * shape->opacity;
		}
	}
	for (int c = 0; c < 4; c++)
		sum[c] += color[c];
}

static uint32_t pixel(int x, int y)
{
	const double step = (double)DRAWING_SIZE / ICON_SIZE / SAMPLES;
	double sum[4] = { 0 };
	uint32_t channels[4];

	for (int i = 0; i < SAMPLES * SAMPLES; i++)
		sample((x * SAMPLES + i % SAMPLES + 0.5) * step, (y * SAMPLES + i / SAMPLES + 0.5) * step, sum);
	for (int c = 0; c < 4; c++)
		channels[c] = (uint32_t)(c < 3 ? (sum[3] > 0 ? 255 * sum[c] / sum[3] : 0) : sum[3] / (SAMPLES * SAMPLES));
	return channels[3] << 24 | channels[0] << 16 | channels[1] << 8 | channels[2];
}

void sdl_icon_set(SDL_Window *window)
{
	SDL_Surface *surface = SDL_CreateRGBSurfaceWithFormat(0, ICON_SIZE, ICON_SIZE, 32, SDL_PIXELFORMAT_ARGB8888);

	if (!surface)
		return; /* windows do without */
	for (int y = 0; y < ICON_SIZE; y++)
		for (int x = 0; x < ICON_SIZE; x++)
			((uint32_t *)((uint8_t *)surface->pixels + y * surface->pitch))[x] = pixel(x, y);
	SDL_SetWindowIcon(window, surface);
	SDL_FreeSurface(surface);
}
