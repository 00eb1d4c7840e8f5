/* SPDX-License-Identifier: MIT */
/* The parts of the user-space guest that need no device: ring builder, moving picture, memory arena, EDID reader. */
#include <errno.h>
#include <glib.h>
#include <linux/virtio_gpu.h>
#include <string.h>

#include "guest/area.h"
#include "guest/edid.h"
#include "guest/pattern.h"
#include "guest/ring.h"

enum { SIZE = 8, ADDRESS = 0x10000 };

struct ring_fixture {
	struct vtr_guest_ring ring;
	uint8_t memory[4096] __attribute__((aligned(16)));
};

static void ring_set_up(struct ring_fixture *f, gconstpointer event_idx)
{
	g_assert_cmpuint(vtr_guest_ring_bytes(SIZE), <=, sizeof(f->memory));
	vtr_guest_ring_init(&f->ring, f->memory, ADDRESS, SIZE, GPOINTER_TO_INT(event_idx));
}

/* What a device does with one chain. */
static void device_uses(struct ring_fixture *f, uint32_t id, uint32_t written)
{
	struct vring_used *used = f->ring.used;

	used->ring[used->idx % SIZE] = (vring_used_elem_t){ .id = id, .len = written };
	used->idx++;
}

static const struct vtr_guest_segment two[] = { { 0x1000, 24, false }, { 0x2000, 408, true } };

static void test_ring_layout(struct ring_fixture *f, gconstpointer data)
{
	/* virtio 1.3, 2.7: 16 bytes a descriptor; avail 6 + 2 n, aligned to 2; used 6 + 8 n, aligned to 4 */
	g_assert_cmphex(f->ring.avail_address, ==, ADDRESS + 16 * SIZE);
	g_assert_cmphex(f->ring.used_address, ==, ADDRESS + 16 * SIZE + 24);
	g_assert_cmpuint(vtr_guest_ring_bytes(SIZE), ==, 16 * SIZE + 24 + 6 + 8 * SIZE);
}

static void test_ring_chain(struct ring_fixture *f, gconstpointer data)
{
	int head = vtr_guest_ring_add(&f->ring, two, 2);

	g_assert_cmpint(head, ==, 0);
	g_assert_cmpuint(f->ring.avail->idx, ==, 1);
	g_assert_cmpuint(f->ring.avail->ring[0], ==, 0);
	g_assert_cmphex(f->ring.desc[0].addr, ==, 0x1000);
	g_assert_cmphex(f->ring.desc[0].flags, ==, VRING_DESC_F_NEXT);
	g_assert_cmpuint(f->ring.desc[f->ring.desc[0].next].len, ==, 408);
	g_assert_cmphex(f->ring.desc[f->ring.desc[0].next].flags, ==, VRING_DESC_F_WRITE);
}

static void test_ring_indirect(struct ring_fixture *f, gconstpointer data)
{
	struct vring_desc table[2];

	g_assert_cmpint(vtr_guest_ring_add_indirect(&f->ring, table, 0x8000, two, 2), ==, 0);
	g_assert_cmphex(f->ring.desc[0].flags, ==, VRING_DESC_F_INDIRECT);
	g_assert_cmphex(f->ring.desc[0].addr, ==, 0x8000);
	g_assert_cmpuint(f->ring.desc[0].len, ==, 32);
	g_assert_cmphex(table[0].flags, ==, VRING_DESC_F_NEXT);
	g_assert_cmpuint(table[0].next, ==, 1);
	g_assert_cmphex(table[1].flags, ==, VRING_DESC_F_WRITE);
	g_assert_cmpuint(f->ring.n_free, ==, SIZE - 1);
}

static void test_ring_full_and_reused(struct ring_fixture *f, gconstpointer data)
{
	uint32_t written;
	uint16_t head;

	for (int round = 0; round < 40000; round++) { /* past the wrap of the 16-bit indices */
		int a = vtr_guest_ring_add(&f->ring, two, 2), b = vtr_guest_ring_add(&f->ring, two, 2);

		g_assert_cmpint(a, >=, 0);
		g_assert_cmpint(b, >=, 0);
		device_uses(f, (uint32_t)b, 7);
		device_uses(f, (uint32_t)a, 8);
		g_assert_cmpint(vtr_guest_ring_take(&f->ring, &head, &written), ==, 1);
		g_assert_cmpuint(head, ==, b);
		g_assert_cmpuint(written, ==, 7);
		g_assert_cmpint(vtr_guest_ring_take(&f->ring, &head, &written), ==, 1);
		g_assert_cmpint(vtr_guest_ring_take(&f->ring, &head, &written), ==, 0);
	}
	for (int i = 0; i < SIZE / 2; i++)
		g_assert_cmpint(vtr_guest_ring_add(&f->ring, two, 2), >=, 0);
	g_assert_cmpint(vtr_guest_ring_add(&f->ring, two, 1), ==, -ENOSPC);
}

static void test_ring_refuses_lies(struct ring_fixture *f, gconstpointer data)
{
	uint32_t written;
	uint16_t head;

	vtr_guest_ring_add(&f->ring, two, 2);
	device_uses(f, 1, 0); /* the middle of a chain */
	g_assert_cmpint(vtr_guest_ring_take(&f->ring, &head, &written), ==, -EPROTO);
	f->ring.used->ring[0].id = 70000;
	g_assert_cmpint(vtr_guest_ring_take(&f->ring, &head, &written), ==, -EPROTO);
	f->ring.used->ring[0].id = 0;
	f->ring.used->idx = SIZE + 1;
	g_assert_cmpint(vtr_guest_ring_take(&f->ring, &head, &written), ==, -EPROTO);
	f->ring.used->idx = 1;
	g_assert_cmpint(vtr_guest_ring_take(&f->ring, &head, &written), ==, 1);
}

static void test_ring_kick(struct ring_fixture *f, gconstpointer event_idx)
{
	uint16_t *avail_event = (void *)&f->ring.used->ring[SIZE];

	vtr_guest_ring_add(&f->ring, two, 1);
	g_assert_true(vtr_guest_ring_needs_kick(&f->ring));
	if (GPOINTER_TO_INT(event_idx)) {
		vtr_guest_ring_add(&f->ring, two, 1);
		g_assert_false(vtr_guest_ring_needs_kick(&f->ring)); /* still asked for index 0 */
		*avail_event = 2;
		vtr_guest_ring_add(&f->ring, two, 1);
		g_assert_true(vtr_guest_ring_needs_kick(&f->ring));
	} else {
		f->ring.used->flags = VRING_USED_F_NO_NOTIFY;
		vtr_guest_ring_add(&f->ring, two, 1);
		g_assert_false(vtr_guest_ring_needs_kick(&f->ring));
	}
}

static void test_ring_interrupt(struct ring_fixture *f, gconstpointer event_idx)
{
	vtr_guest_ring_add(&f->ring, two, 1);
	g_assert_true(vtr_guest_ring_want_interrupt(&f->ring));
	if (GPOINTER_TO_INT(event_idx))
		g_assert_cmpuint(f->ring.avail->ring[SIZE], ==, 0);
	device_uses(f, 0, 0);
	g_assert_false(vtr_guest_ring_want_interrupt(&f->ring));
}

/* ---- pattern ---- */

struct format_row {
	const char *name;
	uint32_t format;
	uint8_t bytes[4]; /* of 0x123456; 0 where alpha or X is */
};

static const struct format_row formats[] = {
	{ "b8g8r8a8", VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, { 0x56, 0x34, 0x12, 0 } },
	{ "b8g8r8x8", VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, { 0x56, 0x34, 0x12, 0 } },
	{ "a8r8g8b8", VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, { 0, 0x12, 0x34, 0x56 } },
	{ "x8r8g8b8", VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, { 0, 0x12, 0x34, 0x56 } },
	{ "r8g8b8a8", VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, { 0x12, 0x34, 0x56, 0 } },
	{ "x8b8g8r8", VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, { 0, 0x56, 0x34, 0x12 } },
	{ "a8b8g8r8", VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, { 0, 0x56, 0x34, 0x12 } },
	{ "r8g8b8x8", VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, { 0x12, 0x34, 0x56, 0 } },
};

static void test_pattern_format(gconstpointer data)
{
	const struct format_row *row = data;
	struct vtr_pattern pattern = { .width = 200, .height = 100, .frame = 5 };
	uint8_t bytes[200 * 4];

	g_assert_cmphex(vtr_pattern_decode(row->format, row->bytes), ==, 0x123456);
	vtr_pattern_row(&pattern, 10, 50, 190, row->format, bytes);
	for (uint32_t i = 0; i < 190; i++)
		g_assert_cmphex(vtr_pattern_decode(row->format, bytes + 4 * i), ==, vtr_pattern_pixel(&pattern, 10 + i, 50));
}

static void test_pattern_frame_number(void)
{
	static const uint32_t frames[] = { 0, 1, 0x80000000, 0xdeadbeef, UINT32_MAX };
	uint32_t pixels[32][64];

	for (size_t i = 0; i < G_N_ELEMENTS(frames); i++) {
		struct vtr_pattern pattern = { .width = 64, .height = 32, .frame = frames[i] };

		for (uint32_t y = 0; y < 32; y++)
			vtr_pattern_row(&pattern, 0, y, 64, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, pixels[y]);
		g_assert_cmphex(vtr_pattern_read_frame(pixels, sizeof(pixels[0])), ==, frames[i]);
	}
}

static void test_pattern_moves(void)
{
	struct vtr_pattern a = { 320, 200, 40 }, b = { 320, 200, 41 };
	unsigned different = 0;

	for (uint32_t y = 0; y < 200; y++)
		for (uint32_t x = 0; x < 320; x++)
			different += vtr_pattern_pixel(&a, x, y) != vtr_pattern_pixel(&b, x, y);
	g_assert_cmpuint(different, >, 320 * 200 / 2);
}

/* ---- area ---- */

static void test_area(void)
{
	struct vtr_guest_area area;

	g_assert_cmpint(vtr_guest_area_init(&area, VTR_GUEST_BAR, false), ==, 0);
	uint64_t a = vtr_guest_area_alloc(&area, 10, 16), b = vtr_guest_area_alloc(&area, 10, 4096);
	g_assert_cmphex(a, ==, area.address);
	g_assert_cmphex(b, ==, area.address + 4096);
	g_assert_cmphex(vtr_guest_area_alloc(&area, area.size, 16), ==, 0);
	g_assert_cmphex(vtr_guest_area_alloc(&area, UINT64_MAX, 16), ==, 0);
	g_assert_nonnull(vtr_guest_area_data(&area, area.address + area.size - 1, 1));
	g_assert_null(vtr_guest_area_data(&area, area.address + area.size - 1, 2));
	g_assert_null(vtr_guest_area_data(&area, area.address - 1, 1));
	g_assert_null(vtr_guest_area_data(&area, area.address + 1, UINT64_MAX));
	vtr_guest_area_finish(&area);
}

static void test_memory_names(void)
{
	enum vtr_guest_memory kind = VTR_GUEST_RAM;

	g_assert_cmpint(vtr_guest_memory_from_name("remote", &kind), ==, 0);
	g_assert_cmpint(kind, ==, VTR_GUEST_REMOTE);
	g_assert_cmpint(vtr_guest_memory_from_name("system", &kind), ==, -EINVAL);
	g_assert_cmpint(kind, ==, VTR_GUEST_REMOTE);
}

/* ---- EDID ---- */

static void finish_block(uint8_t *block)
{
	uint8_t sum = 0;

	block[127] = 0;
	for (int i = 0; i < 128; i++)
		sum = (uint8_t)(sum + block[i]);
	block[127] = (uint8_t)-sum;
}

static void test_edid(void)
{
	/* 1920x1080 at 148.5 MHz, 2200x1125 in all: 60 Hz; "DVI" as vendor; a name in the second descriptor */
	uint8_t edid[128] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x12, 0xc9 };
	static const uint8_t timing[18] = { 0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40 };
	static const uint8_t name[18] = { 0, 0, 0, 0xfc, 0, 'S', 'c', 'r', 'e', 'e', 'n', '\n', ' ' };
	struct vtr_edid_info info;

	memcpy(edid + 54, timing, sizeof(timing));
	memcpy(edid + 72, name, sizeof(name));
	finish_block(edid);
	vtr_edid_read(edid, sizeof(edid), &info);
	g_assert_true(info.valid);
	g_assert_cmpstr(info.vendor, ==, "DVI");
	g_assert_cmpstr(info.name, ==, "Screen");
	g_assert_cmpuint(info.width, ==, 1920);
	g_assert_cmpuint(info.height, ==, 1080);
	g_assert_cmpuint(info.refresh_mhz, ==, 60000);

	edid[20] ^= 1; /* checksum */
	vtr_edid_read(edid, sizeof(edid), &info);
	g_assert_false(info.valid);
	edid[20] ^= 1;
	edid[126] = 1; /* an extension that is not there */
	finish_block(edid);
	vtr_edid_read(edid, sizeof(edid), &info);
	g_assert_false(info.valid);
	vtr_edid_read(edid, 100, &info);
	g_assert_false(info.valid);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct ring_fixture *f, gconstpointer data);
		int event_idx;
	} ring_tests[] = {
		{ "/guest/ring/layout", test_ring_layout, 1 },
		{ "/guest/ring/chain", test_ring_chain, 1 },
		{ "/guest/ring/indirect", test_ring_indirect, 1 },
		{ "/guest/ring/full-and-reused", test_ring_full_and_reused, 1 },
		{ "/guest/ring/refuses-lies", test_ring_refuses_lies, 1 },
		{ "/guest/ring/kick-event-idx", test_ring_kick, 1 },
		{ "/guest/ring/kick-flags", test_ring_kick, 0 },
		{ "/guest/ring/interrupt-event-idx", test_ring_interrupt, 1 },
		{ "/guest/ring/interrupt-flags", test_ring_interrupt, 0 },
	};

	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(ring_tests); i++)
		g_test_add(ring_tests[i].name, struct ring_fixture, GINT_TO_POINTER(ring_tests[i].event_idx), ring_set_up,
		           ring_tests[i].run, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
		char *path = g_strdup_printf("/guest/pattern/format/%s", formats[i].name);

		g_test_add_data_func(path, &formats[i], test_pattern_format);
		g_free(path);
	}
	g_test_add_func("/guest/pattern/frame-number", test_pattern_frame_number);
	g_test_add_func("/guest/pattern/moves", test_pattern_moves);
	g_test_add_func("/guest/area/bounds", test_area);
	g_test_add_func("/guest/area/names", test_memory_names);
	g_test_add_func("/guest/edid/reads", test_edid);
	return g_test_run();
}
