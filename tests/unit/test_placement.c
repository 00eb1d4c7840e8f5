/* SPDX-License-Identifier: MIT */
/* Where a picture stands in a window, and which of its pixels is under a point. */
#include <math.h>

#include "display/placement.h"
#include "rows.h"

static const struct row {
	const char *name;
	uint32_t picture[2], window[2];
	enum vtr_scaling scaling;
	int32_t x, y;
	uint32_t width, height;
} rows[] = {
	{ "same", { 1280, 800 }, { 1280, 800 }, VTR_SCALING_FIT, 0, 0, 1280, 800 },
	{ "bars-at-the-sides", { 1280, 800 }, { 1920, 800 }, VTR_SCALING_FIT, 320, 0, 1280, 800 },
	{ "bars-above-and-below", { 1280, 800 }, { 1280, 1000 }, VTR_SCALING_FIT, 0, 100, 1280, 800 },
	{ "larger", { 640, 480 }, { 1920, 1080 }, VTR_SCALING_FIT, 240, 0, 1440, 1080 },
	{ "smaller", { 3840, 2160 }, { 960, 600 }, VTR_SCALING_FIT, 0, 30, 960, 540 },
	{ "rounded", { 3, 2 }, { 100, 100 }, VTR_SCALING_FIT, 0, 16, 100, 67 },
	{ "a-line", { 16384, 1 }, { 100, 100 }, VTR_SCALING_FIT, 0, 49, 100, 1 },
	{ "integer", { 640, 480 }, { 1920, 1080 }, VTR_SCALING_INTEGER, 320, 60, 1280, 960 },
	{ "integer-once", { 1280, 800 }, { 1900, 1000 }, VTR_SCALING_INTEGER, 310, 100, 1280, 800 },
	{ "integer-too-small", { 1280, 800 }, { 640, 800 }, VTR_SCALING_INTEGER, 0, 200, 640, 400 },
	{ "largest", { 16384, 16384 }, { 16384, 16384 }, VTR_SCALING_INTEGER, 0, 0, 16384, 16384 },
};

static struct vtr_placement place(const struct row *row)
{
	return vtr_placement_of(row->picture[0], row->picture[1], row->window[0], row->window[1], row->scaling);
}

static void test_place(const void *data)
{
	const struct row *row = data;
	struct vtr_placement placement = place(row);

	g_assert_cmpint(placement.x, ==, row->x);
	g_assert_cmpint(placement.y, ==, row->y);
	g_assert_cmpuint(placement.width, ==, row->width);
	g_assert_cmpuint(placement.height, ==, row->height);
}

/* The corners of the picture in the window are its corner pixels. */
static void test_corners(const void *data)
{
	const struct row *row = data;
	struct vtr_placement placement = place(row);
	double right = placement.x + (double)placement.width, bottom = placement.y + (double)placement.height;
	uint32_t x, y;

	g_assert_true(vtr_placement_to_picture(&placement, placement.x, placement.y, &x, &y));
	g_assert_cmpuint(x, ==, 0);
	g_assert_cmpuint(y, ==, 0);
	g_assert_true(vtr_placement_to_picture(&placement, right - 0.001, bottom - 0.001, &x, &y));
	g_assert_cmpuint(x, ==, row->picture[0] - 1);
	g_assert_cmpuint(y, ==, row->picture[1] - 1);
	g_assert_false(vtr_placement_to_picture(&placement, right, bottom - 0.001, &x, &y));
	g_assert_false(vtr_placement_to_picture(&placement, placement.x - 0.001, placement.y, &x, &y));
}

/* A point outside is the nearest pixel: a drag goes on over the border. */
static void test_outside(void)
{
	struct vtr_placement placement = vtr_placement_of(640, 480, 1920, 1080, VTR_SCALING_FIT);
	uint32_t x, y;

	g_assert_false(vtr_placement_to_picture(&placement, -5000, 540, &x, &y));
	g_assert_cmpuint(x, ==, 0);
	g_assert_cmpuint(y, ==, 240);
	g_assert_false(vtr_placement_to_picture(&placement, 1e12, -1e12, &x, &y));
	g_assert_cmpuint(x, ==, 639);
	g_assert_cmpuint(y, ==, 0);
	g_assert_false(vtr_placement_to_picture(&placement, NAN, NAN, &x, &y));
	g_assert_cmpuint(x, ==, 0);
	g_assert_cmpuint(y, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/placement/place/", rows, test_place);
	ADD_ROWS("/placement/corners/", rows, test_corners);
	g_test_add_func("/placement/outside", test_outside);
	return g_test_run();
}
