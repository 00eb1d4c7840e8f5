/* SPDX-License-Identifier: MIT */
/* The account of a queue's chains that are out: its format, a process that is killed after any instruction, accounts that lie. */
#include <errno.h>
#include <glib.h>
#include <sys/mman.h>

#include "transport/vhost_user/inflight.h"
#include "transport/vhost_user/protocol.h"
#include "virtio/queue.h"

#include "rows.h"
#include "single_step.h"
#include "vring.h"

enum { SIZE = 8, RINGS = 0x1000, DATA = 0x8000, RAM = 0x10000 };

struct fixture {
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct vring_driver ring;
	struct vtr_virtqueue queue;
	struct vtr_inflight inflight;
	struct vhost_user_inflight_queue *region; /* shared */
	size_t region_size;
};

/* As a transport does: what is there counts, or it begins anew. */
static int resume(struct vtr_inflight *inflight, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE])
{
	int count = vtr_inflight_resume(inflight, SIZE, used_idx, heads);

	if (count >= 0)
		return count;
	vtr_inflight_begin(inflight, used_idx);
	return -ENOENT;
}

static void start(struct fixture *f, uint16_t last_avail)
{
	f->queue.desc = f->ring.desc;
	f->queue.avail = f->ring.avail;
	f->queue.used = f->ring.used;
	vtr_virtqueue_start(&f->queue, false, true);
	vtr_virtqueue_resume(&f->queue, last_avail);
	vtr_inflight_init(&f->inflight, f->region, SIZE, resume);
	f->queue.tracker = &f->inflight.base;
}

static void set_up(struct fixture *f)
{
	*f = (struct fixture){ .memory = vtr_memory_create(), .region_size = vtr_inflight_region_size(SIZE) };
	guest_ram_init(&f->ram, 0, RAM);
	g_assert_cmpint(guest_ram_add(&f->ram, f->memory), ==, 0);
	vring_driver_init(&f->ring, &f->ram, RINGS, SIZE);
	for (unsigned i = 0; i < SIZE; i++)
		vring_put_desc(&f->ring, f->ring.desc, i, DATA + 16 * i, 16, VRING_DESC_F_WRITE, 0);
	f->region = mmap(NULL, f->region_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g_assert_true(f->region != MAP_FAILED);
	vtr_virtqueue_init(&f->queue, f->memory, SIZE, NULL, NULL);
	start(f, 0);
}

static void tear_down(struct fixture *f)
{
	vtr_virtqueue_reset(&f->queue);
	munmap(f->region, f->region_size);
	vtr_memory_destroy(f->memory);
	guest_ram_finish(&f->ram);
}

/* Another process serves the queue now; the front-end knows no more than the used index. */
static void successor(struct fixture *f)
{
	vtr_virtqueue_reset(&f->queue);
	start(f, vring_used_idx(&f->ring));
}

static struct vtr_chain *pop(struct fixture *f)
{
	struct vtr_chain *chain;

	return vtr_virtqueue_pop(&f->queue, &chain) == 1 ? chain : NULL;
}

static void assert_pops(struct fixture *f, uint16_t head, bool left)
{
	struct vtr_chain *chain = pop(f);

	g_assert_nonnull(chain);
	g_assert_cmpuint(chain->head, ==, head);
	g_assert_cmpint(chain->left, ==, left);
	g_assert_cmpuint(chain->ticket, !=, 0);
	g_assert_cmpint(vtr_virtqueue_push(&f->queue, chain, 0), ==, 0);
}

/* ---- format ---- */

static void test_format(void)
{
	struct fixture f;
	struct vtr_chain *first, *second;

	set_up(&f);
	vring_publish(&f.ring, 3);
	vring_publish(&f.ring, 5);
	first = pop(&f);
	second = pop(&f);
	g_assert_cmpuint(f.region->version, ==, 1);
	g_assert_cmpuint(f.region->desc_num, ==, SIZE);
	g_assert_cmpuint(f.region->desc[3].inflight, ==, 1);
	g_assert_cmpuint(f.region->desc[5].inflight, ==, 1);
	g_assert_cmpuint(f.region->desc[3].counter, <, f.region->desc[5].counter);
	g_assert_cmpuint(f.region->desc[3].counter, ==, first->ticket);
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, second, 0), ==, 0);
	g_assert_cmpuint(f.region->desc[5].inflight, ==, 0);
	g_assert_cmpuint(f.region->last_batch_head, ==, 5);
	g_assert_cmpuint(f.region->used_idx, ==, 1);
	vtr_virtqueue_unpop(&f.queue, first);
	tear_down(&f);
}

/* Answers out of order: what is left is not what lies between the used and the available index. */
static void test_out_of_order(void)
{
	struct fixture f;
	struct vtr_chain *chains[4], *last;

	set_up(&f);
	for (uint16_t i = 0; i < 4; i++)
		vring_publish(&f.ring, (uint16_t)(7 - i));
	for (unsigned i = 0; i < 4; i++)
		chains[i] = pop(&f);
	g_assert_cmpint(vtr_virtqueue_push(&f.queue, chains[2], 0), ==, 0);
	vring_publish(&f.ring, 5); /* its descriptors are the driver's again */
	last = pop(&f);
	g_assert_cmpuint(last->head, ==, 5);
	successor(&f);
	vring_publish(&f.ring, 1);
	assert_pops(&f, 7, true);
	assert_pops(&f, 6, true);
	assert_pops(&f, 4, true);
	assert_pops(&f, 5, true);
	assert_pops(&f, 1, false);
	g_assert_null(pop(&f));
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 6);
	for (unsigned i = 0; i < 4; i++)
		if (i != 2)
			vtr_chain_free(chains[i]);
	vtr_chain_free(last);
	tear_down(&f);
}

/* A chain that was left and goes back into the queue is still the first, and still out. */
static void test_unpop(void)
{
	struct fixture f;
	struct vtr_chain *chain;
	uint64_t ticket;

	set_up(&f);
	vring_publish(&f.ring, 2);
	chain = pop(&f);
	ticket = chain->ticket;
	vtr_virtqueue_unpop(&f.queue, chain);
	g_assert_cmpuint(f.region->desc[2].inflight, ==, 0);
	chain = pop(&f);
	g_assert_cmpuint(chain->ticket, !=, ticket);
	ticket = chain->ticket;
	successor(&f);
	vtr_chain_free(chain);
	chain = pop(&f);
	g_assert_cmpuint(chain->ticket, ==, ticket);
	vtr_virtqueue_unpop(&f.queue, chain);
	g_assert_cmpuint(f.region->desc[2].inflight, ==, 1);
	g_assert_true(vtr_virtqueue_enable_notify(&f.queue));
	assert_pops(&f, 2, true);
	g_assert_null(pop(&f));
	tear_down(&f);
}

/* A ticket is never given twice, also when nothing was out in between. */
static void test_tickets(void)
{
	struct fixture f;
	struct vtr_chain *chain;
	uint64_t last = 0;

	set_up(&f);
	for (unsigned i = 0; i < 3 * SIZE; i++) {
		vring_publish(&f.ring, i % SIZE);
		chain = pop(&f);
		g_assert_cmpuint(chain->ticket, >, last);
		last = chain->ticket;
		g_assert_cmpint(vtr_virtqueue_push(&f.queue, chain, 0), ==, 0);
		if (i % 3 == 0)
			successor(&f);
	}
	tear_down(&f);
}

/* ---- killed after any instruction ---- */

static void serve(void *data)
{
	struct fixture *f = data;
	struct vtr_chain *held = NULL, *chain;

	/* the first one is held until the end, the others come and go */
	for (unsigned i = 0; i < 5; i++) {
		chain = pop(f);
		if (!chain)
			_exit(1);
		if (i == 0)
			held = chain;
		else
			vtr_virtqueue_push(&f->queue, chain, 0);
	}
	vtr_virtqueue_push(&f->queue, held, 0);
}

/* Whatever was out is popped once, whatever was answered is not, and nothing gets lost. */
static void assert_complete(void *data)
{
	const struct fixture *f = data;
	struct vtr_virtqueue queue;
	struct vtr_inflight inflight;
	struct vtr_chain *chain;
	unsigned answered[SIZE] = { 0 };
	uint8_t *region = g_memdup2(f->region, f->region_size);
	uint16_t used = vring_used_idx(&f->ring);

	for (uint16_t i = 0; i < used; i++)
		answered[vring_used_entry(&f->ring, i).id]++;
	vtr_virtqueue_init(&queue, f->memory, SIZE, NULL, NULL);
	queue.desc = f->ring.desc;
	queue.avail = f->ring.avail;
	queue.used = f->ring.used;
	vtr_virtqueue_start(&queue, false, true);
	vtr_virtqueue_resume(&queue, used);
	vtr_inflight_init(&inflight, region, SIZE, resume);
	queue.tracker = &inflight.base;
	while (vtr_virtqueue_pop(&queue, &chain) == 1) {
		answered[chain->head]++;
		vtr_chain_free(chain);
	}
	g_assert_false(queue.broken);
	for (unsigned i = 0; i < SIZE; i++)
		g_assert_cmpuint(answered[i], ==, i < 5);
	vtr_virtqueue_reset(&queue);
	g_free(region);
}

static void test_killed(void)
{
	struct single_step_window windows[2];
	struct fixture f;

	set_up(&f);
	for (uint16_t i = 0; i < 5; i++)
		vring_publish(&f.ring, i);
	windows[0] = (struct single_step_window){ f.region, f.region_size };
	windows[1] = (struct single_step_window){ guest_ram_at(&f.ram, RINGS), 0x400 };
	/* 5 chains: counter, inflight; used entry, last_batch_head, used index, inflight, used_idx each at the least */
	g_assert_cmpuint(single_step(serve, assert_complete, &f, windows, 2), >=, 5 * 6);
	assert_complete(&f);
	tear_down(&f);
}

/* ---- accounts that lie ---- */

struct lie {
	const char *name;
	void (*tell)(struct vhost_user_inflight_queue *region);
	int result;
};

static void lie_nothing(struct vhost_user_inflight_queue *region)
{
	memset(region, 0, sizeof(*region));
}

static void lie_version(struct vhost_user_inflight_queue *region)
{
	region->version = 2;
}

static void lie_features(struct vhost_user_inflight_queue *region)
{
	region->features = 1;
}

static void lie_size(struct vhost_user_inflight_queue *region)
{
	region->desc_num = SIZE / 2;
}

static void lie_other_ring(struct vhost_user_inflight_queue *region)
{
	region->used_idx -= SIZE + 2;
}

static void lie_batch(struct vhost_user_inflight_queue *region)
{
	region->used_idx--;
	region->last_batch_head = SIZE;
}

static void lie_next(struct vhost_user_inflight_queue *region)
{
	region->used_idx = (uint16_t)(region->used_idx - 2);
	region->last_batch_head = 0;
	region->desc[0].next = 0xffff;
}

static void lie_counter(struct vhost_user_inflight_queue *region)
{
	region->desc[1].counter = UINT64_MAX;
}

static void lie_loop(struct vhost_user_inflight_queue *region)
{
	region->used_idx = (uint16_t)(region->used_idx - SIZE);
	region->last_batch_head = 3;
	region->desc[3].next = 3;
}

static void lie_all_out(struct vhost_user_inflight_queue *region)
{
	for (unsigned i = 0; i < SIZE; i++)
		region->desc[i].inflight = 0xff;
}

static const struct lie lies[] = {
	{ "nothing", lie_nothing, -ENOENT },        { "version", lie_version, -EPROTO },
	{ "features", lie_features, -EPROTO },      { "size", lie_size, -EPROTO },
	{ "other-ring", lie_other_ring, -ESTALE },  { "batch-beyond-table", lie_batch, -EPROTO },
	{ "next-beyond-table", lie_next, -EPROTO }, { "counter-at-its-end", lie_counter, -EPROTO },
	{ "list-that-loops", lie_loop, 0 },         { "all-out", lie_all_out, SIZE },
};

static void test_lie(gconstpointer data)
{
	const struct lie *lie = data;
	uint16_t heads[VTR_MAX_QUEUE_SIZE];
	struct vtr_inflight inflight;
	struct fixture f;

	set_up(&f);
	vring_publish(&f.ring, 1);
	assert_pops(&f, 1, false);
	lie->tell(f.region);
	vtr_inflight_init(&inflight, f.region, SIZE, resume);
	g_assert_cmpint(vtr_inflight_resume(&inflight, SIZE, vring_used_idx(&f.ring), heads), ==, lie->result);
	tear_down(&f);
}

/* The account of a larger queue, with a chain that the one we have cannot have. */
static void test_smaller_queue(void)
{
	uint16_t heads[VTR_MAX_QUEUE_SIZE];
	struct fixture f;

	set_up(&f);
	vring_publish(&f.ring, SIZE - 1);
	vtr_chain_free(pop(&f));
	g_assert_cmpint(vtr_inflight_resume(&f.inflight, SIZE / 2, 0, heads), ==, -ESTALE);
	g_assert_cmpint(vtr_inflight_resume(&f.inflight, SIZE, 0, heads), ==, 1);
	tear_down(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/inflight/format", test_format);
	g_test_add_func("/inflight/out-of-order", test_out_of_order);
	g_test_add_func("/inflight/unpop", test_unpop);
	g_test_add_func("/inflight/tickets", test_tickets);
	g_test_add_func("/inflight/killed-after-any-instruction", test_killed);
	ADD_ROWS("/inflight/lies/", lies, test_lie);
	g_test_add_func("/inflight/smaller-queue", test_smaller_queue);
	return g_test_run();
}
