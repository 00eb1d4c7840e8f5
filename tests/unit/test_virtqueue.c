/* SPDX-License-Identifier: MIT */
/* Split virtqueues: chains as they should be, every way in which they should not, and who is notified when. */
#include <errno.h>
#include <glib.h>

#include <vitrine/limits.h>

#include "virtio/queue.h"

#include "vring.h"

enum {
	SIZE = 8,
	BASE = 0x100000,
	RINGS = BASE,
	TABLE = BASE + 0x2000, /* indirect tables */
	DATA = BASE + 0x40000,
	RAM_SIZE = 0x80000,
};

struct fixture {
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct vring_driver ring;
	struct vtr_virtqueue queue;
};

/* How the rings' memory is reached. */
enum access { ACCESS_RAM, ACCESS_REMOTE, ACCESS_SPLIT, ACCESS_ODD };

static void set_up_with(struct fixture *f, enum access access, bool event_idx, bool indirect)
{
	f->memory = vtr_memory_create();
	guest_ram_init(&f->ram, BASE, RAM_SIZE);
	vring_driver_init(&f->ring, &f->ram, access == ACCESS_ODD ? RINGS + 1 : RINGS, SIZE);
	switch (access) {
	case ACCESS_RAM:
	case ACCESS_ODD:
		g_assert_cmpint(guest_ram_add(&f->ram, f->memory), ==, 0);
		break;
	case ACCESS_REMOTE:
		vtr_memory_set_remote(f->memory, &guest_ram_remote, &f->ram);
		g_assert_cmpint(vtr_memory_add(f->memory, BASE, RAM_SIZE, -1, 0, true), ==, 0);
		break;
	case ACCESS_SPLIT:
		/* the border of two regions in the middle of the descriptor table */
		g_assert_cmpint(vtr_memory_add(f->memory, BASE, 24, dup(f->ram.fd), 0, true), ==, 0);
		g_assert_cmpint(vtr_memory_add(f->memory, BASE + 24, RAM_SIZE - 24, dup(f->ram.fd), 24, true), ==, 0);
		break;
	}
	vtr_virtqueue_init(&f->queue, f->memory, SIZE, NULL, NULL);
	f->queue.desc = f->ring.desc;
	f->queue.avail = f->ring.avail;
	f->queue.used = f->ring.used;
	vtr_virtqueue_start(&f->queue, event_idx, indirect);
}

static void set_up(struct fixture *f)
{
	set_up_with(f, ACCESS_RAM, false, true);
}

static void tear_down(struct fixture *f)
{
	vtr_memory_destroy(f->memory);
	guest_ram_finish(&f->ram);
}

static void put(struct fixture *f, unsigned index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	vring_put_desc(&f->ring, f->ring.desc, index, address, length, flags, next);
}

static void put_indirect(struct fixture *f, unsigned index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	vring_put_desc(&f->ring, TABLE, index, address, length, flags, next);
}

/* A readable and a writable descriptor at 2 and 5, published. */
static void publish_pair(struct fixture *f)
{
	memcpy(guest_ram_at(&f->ram, DATA), "request", 8);
	put(f, 2, DATA, 8, VRING_DESC_F_NEXT, 5);
	put(f, 5, DATA + 64, 16, VRING_DESC_F_WRITE, 0);
	vring_publish(&f->ring, 2);
}

static struct vtr_chain *must_pop(struct fixture *f)
{
	struct vtr_chain *chain = NULL;

	g_assert_cmpint(vtr_virtqueue_pop(&f->queue, &chain), ==, 1);
	g_assert_nonnull(chain);
	return chain;
}

static void assert_empty(struct fixture *f)
{
	struct vtr_chain *chain = (void *)1;

	g_assert_cmpint(vtr_virtqueue_pop(&f->queue, &chain), ==, 0);
	g_assert_null(chain);
}

/* ---- chains as they should be ---- */

static void test_round_trip(const void *data)
{
	const enum access access = GPOINTER_TO_INT(data);
	struct vring_used_elem element;
	struct vtr_chain *chain;
	struct fixture f;
	char buffer[16];
	int turn;

	set_up_with(&f, access, false, true);
	assert_empty(&f);
	for (turn = 0; turn < 3 * SIZE; turn++) {
		publish_pair(&f);
		chain = must_pop(&f);
		g_assert_cmpuint(chain->head, ==, 2);
		g_assert_cmpuint(chain->n_out, ==, 1);
		g_assert_cmpuint(chain->n_in, ==, 1);
		g_assert_cmpuint(chain->out_size, ==, 8);
		g_assert_cmpuint(chain->in_size, ==, 16);
		g_assert_cmpuint(f.queue.in_flight, ==, 1);
		assert_empty(&f);
		g_assert_cmpint(vtr_chain_read(&f.queue, chain, 0, buffer, sizeof(buffer)), ==, 8);
		g_assert_cmpstr(buffer, ==, "request");
		g_assert_cmpint(vtr_chain_write(&f.queue, chain, 4, "answer", 7), ==, 7);
		g_assert_cmpint(vtr_virtqueue_push(&f.queue, chain, 11), ==, 0);
		g_assert_cmpuint(f.queue.in_flight, ==, 0);
		g_assert_cmpstr((char *)guest_ram_at(&f.ram, DATA + 64 + 4), ==, "answer");
		g_assert_cmpint(vring_take_used(&f.ring, &element), ==, 1);
		g_assert_cmpuint(element.id, ==, 2);
		g_assert_cmpuint(element.len, ==, 11);
		g_assert_cmpint(vring_take_used(&f.ring, &element), ==, 0);
		memset(guest_ram_at(&f.ram, DATA), 0, 128);
	}
	g_assert_false(f.queue.broken);
	tear_down(&f);
}

static void test_index_wrap(const void *data)
{
	struct vring_used_elem element;
	struct fixture f;
	uint32_t turn;

	set_up(&f);
	for (turn = 0; turn < 65536 + 3; turn++) {
		publish_pair(&f);
		g_assert_cmpint(vtr_virtqueue_push(&f.queue, must_pop(&f), 0), ==, 0);
		g_assert_cmpint(vring_take_used(&f.ring, &element), ==, 1);
	}
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 3);
	tear_down(&f);
}

/* The largest request there is: 262144 mem entries behind a header, in pages, through an indirect table. */
static void test_long_indirect(const void *data)
{
	enum { PIECES = 1030, PIECE = 64 };
	uint8_t buffer[200], expected[PIECES * PIECE];
	struct vtr_chain *chain;
	struct fixture f;
	unsigned i;
	size_t at;

	set_up(&f);
	for (i = 0; i < sizeof(expected); i++)
		expected[i] = (uint8_t)(i * 7 + i / 251);
	for (i = 0; i < PIECES; i++) {
		/* scattered: piece i lies where i * 13 mod PIECES does */
		const uint64_t address = DATA + i * 13 % PIECES * PIECE;

		memcpy(guest_ram_at(&f.ram, address), expected + i * PIECE, PIECE);
		put_indirect(&f, i, address, PIECE, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
	}
	put_indirect(&f, PIECES, DATA + PIECES * PIECE, 24, VRING_DESC_F_WRITE, 0);
	put(&f, 0, TABLE, (PIECES + 1) * 16, VRING_DESC_F_INDIRECT, 0);
	vring_publish(&f.ring, 0);
	chain = must_pop(&f);
	g_assert_cmpuint(chain->n_out, ==, PIECES);
	g_assert_cmpuint(chain->n_in, ==, 1);
	g_assert_cmpuint(chain->out_size, ==, sizeof(expected));
	for (at = 0; at < sizeof(expected); at += sizeof(buffer) - 1) {
		const size_t left = MIN(sizeof(buffer), sizeof(expected) - at);

		g_assert_cmpint(vtr_chain_read(&f.queue, chain, at, buffer, sizeof(buffer)), ==, (long)left);
		g_assert_cmpmem(buffer, left, expected + at, left);
	}
	g_assert_cmpint(vtr_chain_read(&f.queue, chain, sizeof(expected), buffer, 1), ==, 0);
	g_assert_cmpint(vtr_chain_read(&f.queue, chain, SIZE_MAX, buffer, SIZE_MAX), ==, 0);
	g_assert_cmpint(vtr_chain_write(&f.queue, chain, 20, buffer, 100), ==, 4);
	g_assert_cmpint(vtr_chain_write(&f.queue, chain, 24, buffer, 100), ==, 0);
	vtr_chain_free(chain);
	tear_down(&f);
}

/* virtio 1.3, 2.7.5.3.2: direct descriptors may precede the indirect one, whose write flag is ignored. */
static void test_direct_then_indirect(const void *data)
{
	struct vtr_chain *chain;
	struct fixture f;

	set_up(&f);
	put(&f, 1, DATA, 4, VRING_DESC_F_NEXT, 3);
	put(&f, 3, TABLE, 3 * 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
	put_indirect(&f, 0, DATA + 16, 4, VRING_DESC_F_NEXT, 2);
	put_indirect(&f, 2, DATA + 32, 4, VRING_DESC_F_WRITE, 0);
	vring_publish(&f.ring, 1);
	chain = must_pop(&f);
	g_assert_cmpuint(chain->n_out, ==, 2);
	g_assert_cmpuint(chain->n_in, ==, 1);
	g_assert_cmpuint(chain->segments[1].address, ==, DATA + 16);
	g_assert_cmpuint(chain->segments[1].start, ==, 4);
	g_assert_cmpuint(chain->segments[2].address, ==, DATA + 32);
	g_assert_cmpuint(chain->segments[2].start, ==, 0);
	vtr_chain_free(chain);
	tear_down(&f);
}

static void test_write_only(const void *data)
{
	struct vtr_chain *chain;
	struct fixture f;
	char byte;

	set_up(&f);
	put(&f, 0, DATA, 4, VRING_DESC_F_WRITE, 0);
	vring_publish(&f.ring, 0);
	chain = must_pop(&f);
	g_assert_cmpuint(chain->n_out, ==, 0);
	g_assert_cmpint(vtr_chain_read(&f.queue, chain, 0, &byte, 1), ==, 0);
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, chain, 4), ==, 0);
	tear_down(&f);
}

static void test_all_in_flight(const void *data)
{
	struct vtr_chain *chains[SIZE];
	struct fixture f;
	uint16_t i;

	set_up(&f);
	for (i = 0; i < SIZE; i++) {
		put(&f, i, DATA + i * 8, 8, 0, 0);
		vring_publish(&f.ring, i);
	}
	for (i = 0; i < SIZE; i++)
		chains[i] = must_pop(&f);
	assert_empty(&f);
	/* returned in another order than they came */
	for (i = 0; i < SIZE; i++)
		g_assert_cmpint(vtr_virtqueue_push(&f.queue, chains[(i + 3) % SIZE], 0), ==, 0);
	for (i = 0; i < SIZE; i++)
		g_assert_cmpuint(vring_used_entry(&f.ring, i).id, ==, (i + 3) % SIZE);
	tear_down(&f);
}

static void test_data_not_in_memory(const void *data)
{
	struct vtr_chain *chain;
	struct fixture f;
	char byte = 0;

	set_up(&f);
	put(&f, 0, BASE + RAM_SIZE - 4, 8, VRING_DESC_F_NEXT, 1);
	put(&f, 1, 0x10, 8, VRING_DESC_F_WRITE, 0);
	vring_publish(&f.ring, 0);
	chain = must_pop(&f);
	g_assert_cmpint(vtr_chain_read(&f.queue, chain, 3, &byte, 1), ==, 1);
	g_assert_cmpint(vtr_chain_read(&f.queue, chain, 4, &byte, 1), ==, -EFAULT);
	g_assert_cmpint(vtr_chain_write(&f.queue, chain, 0, &byte, 1), ==, -EFAULT);
	/* the queue itself is fine */
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, chain, 0), ==, 0);
	g_assert_false(f.queue.broken);
	tear_down(&f);
}

/* ---- rings and chains as they should not be ---- */

static void bad_avail_idx(struct fixture *f)
{
	vring_set_avail_idx(&f->ring, SIZE + 1);
}

static void bad_avail_idx_behind(struct fixture *f)
{
	vring_set_avail_idx(&f->ring, 0xffff);
}

static void bad_avail_head(struct fixture *f)
{
	vring_publish(&f->ring, SIZE);
}

static void bad_next(struct fixture *f)
{
	put(f, 0, DATA, 8, VRING_DESC_F_NEXT, SIZE);
	vring_publish(&f->ring, 0);
}

static void bad_loop_self(struct fixture *f)
{
	put(f, 0, DATA, 8, VRING_DESC_F_NEXT, 0);
	vring_publish(&f->ring, 0);
}

static void bad_loop_ring(struct fixture *f)
{
	uint16_t i;

	for (i = 0; i < SIZE; i++)
		put(f, i, DATA, 8, VRING_DESC_F_NEXT, (i + 1) % SIZE);
	vring_publish(&f->ring, 4);
}

static void bad_zero_length(struct fixture *f)
{
	put(f, 0, DATA, 8, VRING_DESC_F_NEXT, 1);
	put(f, 1, DATA, 0, 0, 0);
	vring_publish(&f->ring, 0);
}

static void bad_address_wraps(struct fixture *f)
{
	put(f, 0, UINT64_MAX - 3, 8, 0, 0);
	vring_publish(&f->ring, 0);
}

static void bad_order(struct fixture *f)
{
	put(f, 0, DATA, 8, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	put(f, 1, DATA, 8, 0, 0);
	vring_publish(&f->ring, 0);
}

static void bad_sum(struct fixture *f)
{
	put(f, 0, 0, UINT32_MAX, VRING_DESC_F_NEXT, 1);
	put(f, 1, 0, 2, VRING_DESC_F_WRITE, 0);
	vring_publish(&f->ring, 0);
}

static void indirect(struct fixture *f, uint64_t table, uint32_t length, uint16_t flags)
{
	put(f, 0, table, length, VRING_DESC_F_INDIRECT | flags, 1);
	put(f, 1, DATA, 8, 0, 0);
	vring_publish(&f->ring, 0);
}

static void bad_indirect_not_negotiated(struct fixture *f)
{
	f->queue.indirect = false;
	put_indirect(f, 0, DATA, 8, 0, 0);
	indirect(f, TABLE, 16, 0);
}

static void bad_indirect_nested(struct fixture *f)
{
	put_indirect(f, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	indirect(f, TABLE, 16, 0);
}

static void bad_indirect_and_next(struct fixture *f)
{
	put_indirect(f, 0, DATA, 8, 0, 0);
	indirect(f, TABLE, 16, VRING_DESC_F_NEXT);
}

static void bad_indirect_empty(struct fixture *f)
{
	indirect(f, TABLE, 0, 0);
}

static void bad_indirect_ragged(struct fixture *f)
{
	put_indirect(f, 0, DATA, 8, 0, 0);
	indirect(f, TABLE, 24, 0);
}

static void bad_indirect_next(struct fixture *f)
{
	put_indirect(f, 0, DATA, 8, VRING_DESC_F_NEXT, 2);
	put_indirect(f, 2, DATA, 8, 0, 0);
	indirect(f, TABLE, 2 * 16, 0);
}

static void bad_indirect_loop(struct fixture *f)
{
	put_indirect(f, 0, DATA, 8, VRING_DESC_F_NEXT, 1);
	put_indirect(f, 1, DATA, 8, VRING_DESC_F_NEXT, 0);
	indirect(f, TABLE, 64 * 16, 0);
}

static void bad_indirect_table_too_long(struct fixture *f)
{
	put_indirect(f, 0, DATA, 8, 0, 0);
	indirect(f, TABLE, (VTR_MAX_CHAIN + 1) * 16, 0);
}

static void bad_chain_too_long(struct fixture *f)
{
	unsigned i;

	put(f, 0, DATA, 8, VRING_DESC_F_NEXT, 1);
	put(f, 1, TABLE, VTR_MAX_CHAIN * 16, VRING_DESC_F_INDIRECT, 0);
	for (i = 0; i < VTR_MAX_CHAIN; i++)
		put_indirect(f, i, DATA, 1, i + 1 < VTR_MAX_CHAIN ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	vring_publish(&f->ring, 0);
}

static void bad_indirect_not_in_memory(struct fixture *f)
{
	indirect(f, BASE + RAM_SIZE - 16, 32, 0);
}

static void bad_indirect_wraps(struct fixture *f)
{
	indirect(f, UINT64_MAX - 15, 32, 0);
}

static void bad_desc_area(struct fixture *f)
{
	f->queue.desc_ring.address = BASE + RAM_SIZE - 16;
	vring_publish(&f->ring, 1);
}

static void bad_desc_area_wraps(struct fixture *f)
{
	f->queue.desc_ring.address = UINT64_MAX - 15;
	vring_publish(&f->ring, 1);
}

static void bad_avail_area(struct fixture *f)
{
	f->queue.avail_ring.address = 0x1000;
}

static const struct bad_row {
	const char *name;
	void (*break_it)(struct fixture *f);
	int error;
	bool remote_too; /* the same ring gives the same error in remote memory */
} bad_rows[] = {
	{ "avail-idx-too-far", bad_avail_idx, -EPROTO, true },
	{ "avail-idx-behind", bad_avail_idx_behind, -EPROTO, true },
	{ "avail-head-beyond-table", bad_avail_head, -EPROTO, true },
	{ "next-beyond-table", bad_next, -EPROTO, true },
	{ "loop-on-itself", bad_loop_self, -EPROTO, true },
	{ "loop-through-the-ring", bad_loop_ring, -EPROTO, true },
	{ "zero-length", bad_zero_length, -EPROTO, true },
	{ "address-wraps", bad_address_wraps, -EPROTO, true },
	{ "readable-after-writable", bad_order, -EPROTO, true },
	{ "more-than-4-gib", bad_sum, -EPROTO, true },
	{ "indirect-not-negotiated", bad_indirect_not_negotiated, -EPROTO, true },
	{ "indirect-nested", bad_indirect_nested, -EPROTO, true },
	{ "indirect-and-next", bad_indirect_and_next, -EPROTO, true },
	{ "indirect-empty", bad_indirect_empty, -EPROTO, true },
	{ "indirect-ragged", bad_indirect_ragged, -EPROTO, true },
	{ "indirect-next-beyond-table", bad_indirect_next, -EPROTO, true },
	{ "indirect-loop", bad_indirect_loop, -EPROTO, true },
	{ "indirect-table-too-long", bad_indirect_table_too_long, -EPROTO, true },
	{ "chain-too-long", bad_chain_too_long, -EPROTO, true },
	{ "indirect-not-in-memory", bad_indirect_not_in_memory, -EFAULT, true },
	{ "indirect-wraps", bad_indirect_wraps, -EFAULT, true },
	{ "desc-area-not-in-memory", bad_desc_area, -EFAULT, true },
	{ "desc-area-wraps", bad_desc_area_wraps, -EFAULT, true },
	{ "avail-area-not-in-memory", bad_avail_area, -EFAULT, true },
};

static void check_bad(const struct bad_row *row, enum access access)
{
	struct vtr_chain *chain = (void *)1;
	struct fixture f;

	set_up_with(&f, access, false, true);
	row->break_it(&f);
	g_assert_cmpint(vtr_virtqueue_pop(&f.queue, &chain), ==, row->error);
	g_assert_null(chain);
	g_assert_true(f.queue.broken);
	g_assert_nonnull(f.queue.why);
	/* silent until reset, whatever the driver does */
	publish_pair(&f);
	assert_empty(&f);
	g_assert_false(vtr_virtqueue_enable_notify(&f.queue));
	g_assert_false(vtr_virtqueue_should_interrupt(&f.queue));
	vtr_virtqueue_reset(&f.queue);
	g_assert_false(f.queue.broken);
	tear_down(&f);
}

static void test_bad(const void *data)
{
	const struct bad_row *row = data;

	check_bad(row, ACCESS_RAM);
	if (row->remote_too)
		check_bad(row, ACCESS_REMOTE);
}

static void test_more_than_size(const void *data)
{
	struct vtr_chain *chains[SIZE], *chain;
	struct fixture f;
	uint16_t i;

	set_up(&f);
	put(&f, 0, DATA, 8, 0, 0);
	for (i = 0; i < SIZE; i++) {
		vring_publish(&f.ring, 0);
		chains[i] = must_pop(&f);
	}
	vring_publish(&f.ring, 0);
	g_assert_cmpint(vtr_virtqueue_pop(&f.queue, &chain), ==, -EPROTO);
	g_assert_true(f.queue.broken);
	for (i = 0; i < SIZE; i++)
		g_assert_cmpint(vtr_virtqueue_push(&f.queue, chains[i], 0), ==, -ECANCELED);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 0);
	tear_down(&f);
}

static void test_used_not_writable(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmpint(vtr_memory_add(f.memory, 0x1000, 0x1000, dup(f.ram.fd), 0x70000, false), ==, 0);
	f.queue.used_ring.address = 0x1000;
	publish_pair(&f);
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, must_pop(&f), 0), ==, -EACCES);
	g_assert_true(f.queue.broken);
	tear_down(&f);
}

static void test_used_not_in_memory(const void *data)
{
	struct fixture f;

	set_up(&f);
	f.queue.used_ring.address = 0x1000;
	publish_pair(&f);
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, must_pop(&f), 0), ==, -EFAULT);
	g_assert_true(f.queue.broken);
	tear_down(&f);
}

static void test_dead_chain(const void *data)
{
	struct vtr_chain *chain;
	struct fixture f;

	set_up(&f);
	publish_pair(&f);
	chain = must_pop(&f);
	vtr_virtqueue_reset(&f.queue);
	f.queue.desc = f.ring.desc;
	f.queue.avail = f.ring.avail;
	f.queue.used = f.ring.used;
	vtr_virtqueue_start(&f.queue, false, true);
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, chain, 0), ==, -ECANCELED);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 0);
	g_assert_cmpuint(f.queue.in_flight, ==, 0);
	tear_down(&f);
}

/* ---- memory that comes and goes ---- */

static void test_memory_moves(const void *data)
{
	struct vring_used_elem element;
	struct vtr_chain *chain;
	struct guest_ram other;
	struct fixture f;

	set_up(&f);
	publish_pair(&f);
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, must_pop(&f), 0), ==, 0);
	g_assert_cmpint(vring_take_used(&f.ring, &element), ==, 1);
	publish_pair(&f);
	chain = must_pop(&f);

	/* other pages at the same addresses: nothing may touch the old ones */
	g_assert_cmpint(vtr_memory_remove(f.memory, BASE, RAM_SIZE), ==, 0);
	guest_ram_init(&other, BASE, RAM_SIZE);
	g_assert_cmpint(guest_ram_add(&other, f.memory), ==, 0);
	memcpy(other.data, f.ram.data, RAM_SIZE);
	f.ring.ram = &other;
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, chain, 0), ==, 0);
	g_assert_cmpint(vring_take_used(&f.ring, &element), ==, 1);
	f.ring.ram = &f.ram;
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 1);

	/* and none at all */
	g_assert_cmpint(vtr_memory_remove(f.memory, BASE, RAM_SIZE), ==, 0);
	g_assert_cmpint(vtr_virtqueue_pop(&f.queue, &chain), ==, -EFAULT);
	guest_ram_finish(&other);
	tear_down(&f);
}

/* A remote side that resets the queue while it is asked for bytes. */
struct saboteur {
	struct fixture *fixture;
	unsigned calls, at; /* resets at this call, from 1 */
};

static void maybe_reset(struct saboteur *saboteur)
{
	if (++saboteur->calls == saboteur->at) {
		vtr_virtqueue_reset(&saboteur->fixture->queue);
		saboteur->fixture->queue.size = 2;
		vtr_virtqueue_start(&saboteur->fixture->queue, true, false);
	}
}

static int sabotaged_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct saboteur *saboteur = data;

	maybe_reset(saboteur);
	return guest_ram_remote_read(&saboteur->fixture->ram, address, buffer, length);
}

static int sabotaged_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	struct saboteur *saboteur = data;

	maybe_reset(saboteur);
	return guest_ram_remote_write(&saboteur->fixture->ram, address, buffer, length);
}

static const struct vtr_remote_impl sabotage = { .read = sabotaged_read, .write = sabotaged_write };

static void test_reset_while_remote(const void *data)
{
	struct vtr_chain *chain;
	struct fixture f;
	unsigned at;

	/* index, entry, descriptor table, indirect table; then element and index of the used ring */
	for (at = 1; at <= 6; at++) {
		struct saboteur saboteur = { .fixture = &f, .at = at };
		int ret;

		set_up_with(&f, ACCESS_REMOTE, false, true);
		vtr_memory_set_remote(f.memory, &sabotage, &saboteur);
		put_indirect(&f, 0, DATA, 8, 0, 0);
		indirect(&f, TABLE, 16, 0);
		ret = vtr_virtqueue_pop(&f.queue, &chain);
		if (at > 4) {
			g_assert_cmpint(ret, ==, 1);
			ret = vtr_virtqueue_push(&f.queue, chain, 0);
		}
		g_assert_cmpint(ret, ==, -ECANCELED);
		g_assert_cmpuint(saboteur.calls, >=, at);
		g_assert_false(f.queue.broken);
		g_assert_cmpuint(f.queue.last_avail, ==, 0);
		g_assert_cmpuint(f.queue.used_idx, ==, 0);
		g_assert_cmpuint(f.queue.in_flight, ==, 0);
		tear_down(&f);
	}
}

/* ---- notifications ---- */

static void push_one(struct fixture *f)
{
	publish_pair(f);
	g_assert_cmpint(vtr_virtqueue_push(&f->queue, must_pop(f), 0), ==, 0);
}

static void test_interrupt_flags(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_false(vtr_virtqueue_should_interrupt(&f.queue));
	push_one(&f);
	g_assert_true(vtr_virtqueue_should_interrupt(&f.queue));
	g_assert_false(vtr_virtqueue_should_interrupt(&f.queue));
	vring_set_avail_flags(&f.ring, VRING_AVAIL_F_NO_INTERRUPT);
	push_one(&f);
	g_assert_false(vtr_virtqueue_should_interrupt(&f.queue));
	vring_set_avail_flags(&f.ring, 0);
	push_one(&f);
	g_assert_true(vtr_virtqueue_should_interrupt(&f.queue));
	tear_down(&f);
}

static void test_interrupt_event_idx(const void *data)
{
	struct fixture f;
	uint32_t turn;

	set_up_with(&f, ACCESS_RAM, true, true);
	vring_set_avail_flags(&f.ring, VRING_AVAIL_F_NO_INTERRUPT); /* means nothing with EVENT_IDX */
	/* used_event = n asks for an interrupt when entry n is written; two of three are not asked for, over a whole turn of 16
	 * bits */
	vring_set_used_event(&f.ring, 2);
	for (turn = 0; turn < 65536 + 30; turn++) {
		push_one(&f);
		g_assert_cmpint(vtr_virtqueue_should_interrupt(&f.queue), ==, turn % 3 == 2);
		if (turn % 3 == 2)
			vring_set_used_event(&f.ring, (uint16_t)(turn + 3));
	}
	/* several pushes that jump over the event count */
	vring_set_used_event(&f.ring, (uint16_t)(turn + 1));
	push_one(&f);
	push_one(&f);
	push_one(&f);
	g_assert_true(vtr_virtqueue_should_interrupt(&f.queue));
	g_assert_false(vtr_virtqueue_should_interrupt(&f.queue));
	tear_down(&f);
}

static void test_notify_flags(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_false(vtr_virtqueue_enable_notify(&f.queue));
	g_assert_cmpuint(vring_used_flags(&f.ring), ==, 0);
	vtr_virtqueue_disable_notify(&f.queue);
	g_assert_cmpuint(vring_used_flags(&f.ring), ==, VRING_USED_F_NO_NOTIFY);
	publish_pair(&f);
	g_assert_true(vtr_virtqueue_enable_notify(&f.queue));
	g_assert_cmpuint(vring_used_flags(&f.ring), ==, 0);
	vtr_chain_free(must_pop(&f));
	g_assert_false(vtr_virtqueue_enable_notify(&f.queue));
	tear_down(&f);
}

static void test_notify_event_idx(const void *data)
{
	struct vring_used_elem element;
	struct fixture f;
	uint32_t turn;

	set_up_with(&f, ACCESS_RAM, true, true);
	for (turn = 0; turn < 65536 + 3; turn++) {
		const uint16_t old = f.ring.avail_idx;

		vtr_virtqueue_disable_notify(&f.queue);
		g_assert_cmpuint(vring_used_flags(&f.ring), ==, 0);
		g_assert_false(vtr_virtqueue_enable_notify(&f.queue));
		publish_pair(&f);
		/* the driver, which looks at avail_event, notifies */
		g_assert_true(vring_need_event(vring_read_avail_event(&f.ring), f.ring.avail_idx, old));
		g_assert_cmpint(vtr_virtqueue_push(&f.queue, must_pop(&f), 0), ==, 0);
		g_assert_cmpint(vring_take_used(&f.ring, &element), ==, 1);
	}
	/* not asked for again: the next one comes without a notification */
	publish_pair(&f);
	g_assert_false(vring_need_event(vring_read_avail_event(&f.ring), f.ring.avail_idx, (uint16_t)(f.ring.avail_idx - 1)));
	g_assert_true(vtr_virtqueue_enable_notify(&f.queue));
	tear_down(&f);
}

static void test_notify_memory_gone(const void *data)
{
	struct fixture f;

	set_up(&f);
	vtr_memory_remove_all(f.memory);
	g_assert_false(vtr_virtqueue_enable_notify(&f.queue));
	g_assert_true(f.queue.broken);
	tear_down(&f);
}

int main(int argc, char **argv)
{
	size_t i;

	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/unit/virtqueue/round-trip/ram", GINT_TO_POINTER(ACCESS_RAM), test_round_trip);
	g_test_add_data_func("/unit/virtqueue/round-trip/remote", GINT_TO_POINTER(ACCESS_REMOTE), test_round_trip);
	g_test_add_data_func("/unit/virtqueue/round-trip/two-regions", GINT_TO_POINTER(ACCESS_SPLIT), test_round_trip);
	g_test_add_data_func("/unit/virtqueue/round-trip/unaligned", GINT_TO_POINTER(ACCESS_ODD), test_round_trip);
	g_test_add_data_func("/unit/virtqueue/index-wraps", NULL, test_index_wrap);
	g_test_add_data_func("/unit/virtqueue/long-indirect", NULL, test_long_indirect);
	g_test_add_data_func("/unit/virtqueue/direct-then-indirect", NULL, test_direct_then_indirect);
	g_test_add_data_func("/unit/virtqueue/write-only", NULL, test_write_only);
	g_test_add_data_func("/unit/virtqueue/all-in-flight", NULL, test_all_in_flight);
	g_test_add_data_func("/unit/virtqueue/data-not-in-memory", NULL, test_data_not_in_memory);
	for (i = 0; i < G_N_ELEMENTS(bad_rows); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virtqueue/bad/%s", bad_rows[i].name);

		g_test_add_data_func(name, &bad_rows[i], test_bad);
	}
	g_test_add_data_func("/unit/virtqueue/bad/more-chains-than-entries", NULL, test_more_than_size);
	g_test_add_data_func("/unit/virtqueue/bad/used-not-writable", NULL, test_used_not_writable);
	g_test_add_data_func("/unit/virtqueue/bad/used-not-in-memory", NULL, test_used_not_in_memory);
	g_test_add_data_func("/unit/virtqueue/dead-chain", NULL, test_dead_chain);
	g_test_add_data_func("/unit/virtqueue/memory-moves", NULL, test_memory_moves);
	g_test_add_data_func("/unit/virtqueue/reset-while-remote", NULL, test_reset_while_remote);
	g_test_add_data_func("/unit/virtqueue/interrupt/flags", NULL, test_interrupt_flags);
	g_test_add_data_func("/unit/virtqueue/interrupt/event-idx", NULL, test_interrupt_event_idx);
	g_test_add_data_func("/unit/virtqueue/notify/flags", NULL, test_notify_flags);
	g_test_add_data_func("/unit/virtqueue/notify/event-idx", NULL, test_notify_event_idx);
	g_test_add_data_func("/unit/virtqueue/notify/memory-gone", NULL, test_notify_memory_gone);
	return g_test_run();
}
