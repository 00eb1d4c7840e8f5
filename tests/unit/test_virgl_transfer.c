/* SPDX-License-Identifier: MIT */
/* Transfers between guest memory and textures and buffers of every kind, by way of virglrenderer. */
#include <errno.h>
#include <string.h>

#include "virgl_fixture.h"

enum { PARTS = 3 };

struct transfer_row {
	const char *name;
	uint32_t target, format, width, height, depth, layers, last_level;
	uint32_t pixel; // bytes
	struct vtr_render_box box;
	uint32_t level, stride, layer_stride; // strides 0: as the level's size says
	uint64_t offset;
};

static struct vtr_render_args resource_of(const struct transfer_row *row)
{
	struct vtr_render_args args = virgl_texture(3, row->format, row->width, row->height);

	args.create_3d.target = row->target;
	args.create_3d.depth = row->depth;
	args.create_3d.array_size = row->layers;
	args.create_3d.last_level = row->last_level;
	if (row->target == TARGET_BUFFER)
		args.create_3d.bind = BIND_VERTEX_BUFFER;
	return args;
}

static uint32_t at_level(uint32_t size, uint32_t level)
{
	return size >> level ? size >> level : 1;
}

/* Where the byte is in the guest's memory. */
static size_t byte_at(const struct transfer_row *row, uint32_t layer, uint32_t y, uint32_t x)
{
	uint32_t stride = row->stride ? row->stride : at_level(row->width, row->level) * row->pixel;
	uint32_t layer_stride = row->layer_stride ? row->layer_stride : stride * at_level(row->height, row->level);

	return row->offset + (size_t)layer * layer_stride + (size_t)y * stride + x;
}

static uint8_t value(uint32_t layer, uint32_t y, uint32_t x)
{
	return (uint8_t)(1 + (layer * 89 + y * 31 + x * 7) % 255);
}

/* What is put into a box comes back out of it, where it is asked for, and nothing else is touched. */
static void test_round(gconstpointer data)
{
	const struct transfer_row *row = data;
	struct vtr_render_args args = resource_of(row);
	struct virgl_fixture fixture;
	size_t touched = 0;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(virgl_attach_backing(&fixture, 3), ==, 0);
	for (uint32_t z = 0; z < row->box.d; z++)
		for (uint32_t y = 0; y < row->box.h; y++)
			for (uint32_t x = 0; x < row->box.w * row->pixel; x++)
				guest_bytes(&fixture)[byte_at(row, z, y, x)] = value(z, y, x);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 3, &row->box, row->offset, row->level, row->stride,
	                               row->layer_stride),
	                ==, 0);
	memset(guest_bytes(&fixture), 0, GUEST_SIZE);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 0, 3, &row->box, row->offset, row->level,
	                               row->stride, row->layer_stride),
	                ==, 0);
	for (uint32_t z = 0; z < row->box.d; z++)
		for (uint32_t y = 0; y < row->box.h; y++)
			for (uint32_t x = 0; x < row->box.w * row->pixel; x++, touched++)
				g_assert_cmpuint(guest_bytes(&fixture)[byte_at(row, z, y, x)], ==, value(z, y, x));
	for (size_t i = 0; i < GUEST_SIZE; i++)
		touched -= guest_bytes(&fixture)[i] != 0;
	g_assert_cmpuint(touched, ==, 0);
	virgl_fixture_finish(&fixture);
}

/* The part that was put in is where it belongs in the whole. */
static void test_part_of_whole(void)
{
	struct vtr_render_args args = virgl_texture(3, FORMAT_B8G8R8A8, 32, 16);
	struct vtr_render_box part = { .x = 5, .y = 3, .w = 7, .h = 4, .d = 1 }, all = { .w = 32, .h = 16, .d = 1 };
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(virgl_attach_backing(&fixture, 3), ==, 0);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 3, &all, 0, 0, 0, 0), ==, 0);
	for (unsigned i = 0; i < 7 * 4; i++)
		guest_words(&fixture)[i] = 0x01010101 * (i + 1);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 3, &part, 0, 0, 28, 0), ==, 0);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 0, 3, &all, 4096, 0, 128, 0), ==, 0);
	for (uint32_t y = 0; y < 16; y++)
		for (uint32_t x = 0; x < 32; x++) {
			bool inside = x >= 5 && x < 12 && y >= 3 && y < 7;
			uint32_t expected = inside ? 0x01010101 * ((y - 3) * 7 + (x - 5) + 1) : 0;

			g_assert_cmphex(guest_words(&fixture)[1024 + y * 32 + x], ==, expected);
		}
	virgl_fixture_finish(&fixture);
}

/* Guest memory in pieces of odd sizes, in another order. */
static void test_scattered(void)
{
	struct vtr_render_args args = virgl_texture(3, FORMAT_B8G8R8A8, 16, 16);
	struct vtr_render_box all = { .w = 16, .h = 16, .d = 1 };
	static const uint64_t offsets[PARTS] = { 8191, 100, 40000 }, lengths[PARTS] = { 333, 500, 191 };
	struct vtr_span items[PARTS];
	struct vtr_spans spans = { .items = items, .count = PARTS, .cpu = true };
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_ATTACH_BACKING, .resource_id = 3 }, .spans = &spans };
	struct virgl_fixture fixture;
	uint8_t counter = 0;

	virgl_fixture_init(&fixture);
	for (unsigned i = 0; i < PARTS; i++) {
		items[i] = (struct vtr_span){ fixture.guest.items[0].region, offsets[i], lengths[i], spans.length };
		spans.length += lengths[i];
	}
	g_assert_cmpuint(spans.length, ==, 1024);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, 0);
	for (unsigned i = 0; i < PARTS; i++)
		for (uint64_t j = 0; j < lengths[i]; j++)
			guest_bytes(&fixture)[offsets[i] + j] = counter += 3;
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 3, &all, 0, 0, 0, 0), ==, 0);
	memset(guest_bytes(&fixture), 0, GUEST_SIZE);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 0, 3, &all, 0, 0, 0, 0), ==, 0);
	counter = 0;
	for (unsigned i = 0; i < PARTS; i++)
		for (uint64_t j = 0; j < lengths[i]; j++)
			g_assert_cmpuint(guest_bytes(&fixture)[offsets[i] + j], ==, counter += 3);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_DETACH_BACKING, 0, 3), ==, 0);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 3, &all, 0, 0, 0, 0), ==, -EINVAL);
	virgl_fixture_finish(&fixture);
}

/* Drawing to one layer of one level leaves the others alone. */
static void test_layers_and_levels(void)
{
	struct vtr_render_args args = virgl_texture(3, FORMAT_B8G8R8A8, 16, 16);
	struct vtr_render_box one = { .w = 1, .h = 1, .d = 1 };
	struct virgl_stream stream = { .count = 0 };
	struct virgl_fixture fixture;

	args.create_3d.target = TARGET_2D_ARRAY;
	args.create_3d.array_size = 3;
	args.create_3d.last_level = 2;
	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(virgl_attach_backing(&fixture, 3), ==, 0);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, 3), ==, 0);
	for (uint32_t layer = 0; layer < 3; layer++)
		for (uint32_t level = 0; level < 3; level++) {
			stream_draw_to(&stream, 10 + layer * 3 + level, 3, FORMAT_B8G8R8A8, level, layer);
			stream_clear(&stream, 0, (float)layer / 255, (float)level / 255, 1);
		}
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, 0);
	for (uint32_t layer = 0; layer < 3; layer++)
		for (uint32_t level = 0; level < 3; level++) {
			one.z = layer;
			g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 1, 3, &one, 0, level, 0, 0), ==, 0);
			g_assert_cmphex(guest_words(&fixture)[0], ==, 0xff000000 | layer << 8 | level);
		}
	virgl_fixture_finish(&fixture);
}

int main(int argc, char **argv)
{
	static const struct transfer_row rows[] = {
		{ "whole", TARGET_2D, FORMAT_B8G8R8A8, 64, 48, 1, 1, 0, 4, { 0, 0, 0, 64, 48, 1 }, 0, 0, 0, 0 },
		{ "odd-size", TARGET_2D, FORMAT_B8G8R8A8, 37, 5, 1, 1, 0, 4, { 0, 0, 0, 37, 5, 1 }, 0, 0, 0, 0 },
		{ "wide-stride", TARGET_2D, FORMAT_B8G8R8A8, 16, 16, 1, 1, 0, 4, { 0, 0, 0, 16, 16, 1 }, 0, 256, 0, 12 },
		{ "box", TARGET_2D, FORMAT_B8G8R8A8, 64, 64, 1, 1, 0, 4, { 7, 9, 0, 21, 33, 1 }, 0, 256, 0, 512 },
		{ "two-bytes", TARGET_2D, FORMAT_B5G6R5, 30, 20, 1, 1, 0, 2, { 1, 1, 0, 29, 19, 1 }, 0, 60, 0, 0 },
		{ "one-byte", TARGET_2D, FORMAT_R8, 30, 20, 1, 1, 0, 1, { 3, 0, 0, 5, 20, 1 }, 0, 32, 0, 0 },
		{ "level", TARGET_2D, FORMAT_B8G8R8A8, 64, 32, 1, 1, 4, 4, { 0, 0, 0, 16, 8, 1 }, 2, 0, 0, 0 },
		{ "last-level", TARGET_2D, FORMAT_B8G8R8A8, 64, 32, 1, 1, 6, 4, { 0, 0, 0, 1, 1, 1 }, 6, 0, 0, 0 },
		{ "array", TARGET_2D_ARRAY, FORMAT_B8G8R8A8, 16, 16, 1, 4, 0, 4, { 0, 0, 1, 16, 16, 2 }, 0, 64, 2048, 0 },
		{ "cube", TARGET_CUBE, FORMAT_B8G8R8A8, 16, 16, 1, 6, 0, 4, { 0, 0, 5, 16, 16, 1 }, 0, 0, 0, 0 },
		{ "3d", TARGET_3D, FORMAT_B8G8R8A8, 8, 8, 8, 1, 0, 4, { 2, 2, 2, 4, 4, 4 }, 0, 64, 1024, 0 },
		{ "1d", TARGET_1D, FORMAT_B8G8R8A8, 32, 1, 1, 1, 0, 4, { 4, 0, 0, 20, 1, 1 }, 0, 0, 0, 0 },
		{ "rect", TARGET_RECT, FORMAT_B8G8R8A8, 31, 17, 1, 1, 0, 4, { 0, 0, 0, 31, 17, 1 }, 0, 0, 0, 0 },
		{ "buffer", TARGET_BUFFER, FORMAT_R8, 4096, 1, 1, 1, 0, 1, { 100, 0, 0, 1000, 1, 1 }, 0, 0, 0, 50 },
	};

	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virgl/transfer/%s", rows[i].name);

		g_test_add_data_func(name, &rows[i], test_round);
	}
	g_test_add_func("/unit/virgl/transfer/part-of-whole", test_part_of_whole);
	g_test_add_func("/unit/virgl/transfer/scattered", test_scattered);
	g_test_add_func("/unit/virgl/transfer/layers-and-levels", test_layers_and_levels);
	return g_test_run();
}
