/* SPDX-License-Identifier: MIT */
/* IOTLB messages: what each end takes, and what updates make of the memory table. */
#include "transport/vhost_user/iotlb.h"

#include "memory/iommu.h"
#include "memory_fixture.h"

enum { MIB = 1 << 20, SEED = 9 };

#define UADDR UINT64_C(0x7f0000000000)
#define GPA UINT64_C(0x100000000)
#define IOVA UINT64_C(0xabc000000)

/* ---- what is taken ---- */

struct taker {
	bool started;
	unsigned taken;
};

static bool is_started(void *data)
{
	return ((struct taker *)data)->started;
}

static int take(void *data, const struct vhost_user_iotlb *message)
{
	((struct taker *)data)->taken++;
	return 0;
}

static int refuse(void *data, const struct vhost_user_iotlb *message)
{
	return -EOPNOTSUPP;
}

static const struct vtr_vhost_user_iotlb_impl back_end = { .started = is_started, .update = take, .invalidate = take };
static const struct vtr_vhost_user_iotlb_impl front_end = { .started = is_started, .miss = take, .access_fail = refuse };

static const struct message {
	const char *name;
	uint8_t type, perm;
	uint64_t iova, size;
	int back_end, front_end; /* their results */
} messages[] = {
	{ "type-0", 0, 3, IOVA, PAGE, -EINVAL, -EINVAL },
	{ "miss", VHOST_USER_IOTLB_MISS, 1, IOVA, 0, -EINVAL, 0 },
	{ "miss-without-permissions", VHOST_USER_IOTLB_MISS, 0, IOVA, 0, -EINVAL, -EINVAL },
	{ "miss-with-odd-permissions", VHOST_USER_IOTLB_MISS, 4, IOVA, 0, -EINVAL, -EINVAL },
	{ "update", VHOST_USER_IOTLB_UPDATE, 2, IOVA, PAGE, 0, -EINVAL },
	{ "update-without-permissions", VHOST_USER_IOTLB_UPDATE, 0, IOVA, PAGE, -EINVAL, -EINVAL },
	{ "update-with-odd-permissions", VHOST_USER_IOTLB_UPDATE, 7, IOVA, PAGE, -EINVAL, -EINVAL },
	{ "update-of-nothing", VHOST_USER_IOTLB_UPDATE, 3, IOVA, 0, -EINVAL, -EINVAL },
	{ "update-wraps", VHOST_USER_IOTLB_UPDATE, 3, UINT64_MAX, 2, -EINVAL, -EINVAL },
	{ "update-to-the-top", VHOST_USER_IOTLB_UPDATE, 3, UINT64_MAX, 1, 0, -EINVAL },
	{ "update-of-everything", VHOST_USER_IOTLB_UPDATE, 3, 0, 0, 0, -EINVAL },
	{ "invalidate", VHOST_USER_IOTLB_INVALIDATE, 0, IOVA, PAGE, 0, -EINVAL },
	{ "invalidate-nothing", VHOST_USER_IOTLB_INVALIDATE, 0, IOVA, 0, -EINVAL, -EINVAL },
	{ "invalidate-everything", VHOST_USER_IOTLB_INVALIDATE, 0, 0, 0, 0, -EINVAL },
	{ "invalidate-wraps", VHOST_USER_IOTLB_INVALIDATE, 0, IOVA, UINT64_MAX, -EINVAL, -EINVAL },
	{ "access-fail", VHOST_USER_IOTLB_ACCESS_FAIL, 2, IOVA, 0, -EINVAL, -EOPNOTSUPP },
	{ "batch-begin", VHOST_USER_IOTLB_BATCH_BEGIN, 3, IOVA, PAGE, -EINVAL, -EINVAL },
	{ "batch-end", VHOST_USER_IOTLB_BATCH_END, 3, IOVA, PAGE, -EINVAL, -EINVAL },
	{ "type-255", 255, 3, IOVA, PAGE, -EINVAL, -EINVAL },
};

static void test_message(const void *data)
{
	const struct message *row = data;
	const struct vhost_user_iotlb message = { .iova = row->iova, .size = row->size, .perm = row->perm, .type = row->type };
	struct taker taker = { .started = true };

	g_assert_cmpint(vtr_vhost_user_iotlb_handle(&back_end, &taker, &message), ==, row->back_end);
	g_assert_cmpuint(taker.taken, ==, !row->back_end);
	taker.taken = 0;
	g_assert_cmpint(vtr_vhost_user_iotlb_handle(&front_end, &taker, &message), ==, row->front_end);
	g_assert_cmpuint(taker.taken, ==, !row->front_end);
	taker = (struct taker){ 0 };
	g_assert_cmpint(vtr_vhost_user_iotlb_handle(&back_end, &taker, &message), ==, -EINVAL);
	g_assert_cmpint(vtr_vhost_user_iotlb_handle(&front_end, &taker, &message), ==, -EINVAL);
	g_assert_cmpuint(taker.taken, ==, 0);
}

/* ---- the back-end's IOTLB ---- */

/* Two pieces of memory, neighbours in the front-end and not in the guest; and what was sent. */
struct fixture {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vhost_user_mem_table table;
	struct vtr_vhost_user_iotlb iotlb;
	struct vhost_user_iotlb sent[4 * VTR_MAX_MISSES];
	void (*done[4 * VTR_MAX_MISSES])(int result, void *call);
	void *calls[4 * VTR_MAX_MISSES];
	unsigned n_sent, n_replies; /* of these, to come */
	unsigned max_replies;
	int send_result;
};

static int send(void *data, const struct vhost_user_iotlb *message, void (*done)(int result, void *call), void *call)
{
	struct fixture *f = data;

	if (f->send_result < 0)
		return f->send_result;
	if (done && f->n_replies == f->max_replies)
		return -EBUSY;
	g_assert_cmpuint(f->n_sent, <, G_N_ELEMENTS(f->sent));
	f->n_replies += done != NULL;
	f->sent[f->n_sent] = *message;
	f->done[f->n_sent] = done;
	f->calls[f->n_sent++] = call;
	return done ? f->send_result : 0;
}

static void set_up(struct fixture *f, bool gpa_addresses)
{
	const struct vhost_user_memory_region regions[] = {
		{ .guest_phys_addr = 0, .memory_size = MIB, .userspace_addr = gpa_addresses ? 0 : UADDR },
		{ .guest_phys_addr = GPA,
		  .memory_size = MIB,
		  .userspace_addr = gpa_addresses ? GPA : UADDR + MIB,
		  .mmap_offset = MIB },
	};
	const int fd = pattern_file(SEED, 2 * MIB);

	*f = (struct fixture){ .loop = vtr_loop_create(), .memory = vtr_memory_create(), .max_replies = 1000, .send_result = 1 };
	vtr_vhost_user_mem_table_init(&f->table, f->memory);
	f->table.gpa_addresses = gpa_addresses;
	vtr_vhost_user_iotlb_init(&f->iotlb, f->loop, f->memory, &f->table, send, f);
	g_assert_cmpint(vtr_vhost_user_iotlb_set_active(&f->iotlb, true), ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++)
		g_assert_cmpint(vtr_vhost_user_mem_table_add(&f->table, &regions[i], dup(fd)), ==, 0);
	close(fd);
}

static void tear_down(struct fixture *f)
{
	g_assert_cmpint(vtr_vhost_user_iotlb_set_active(&f->iotlb, false), ==, 0);
	vtr_vhost_user_mem_table_clear(&f->table);
	vtr_memory_destroy(f->memory);
	vtr_loop_destroy(f->loop);
}

static int update(struct fixture *f, uint64_t iova, uint64_t size, uint64_t address)
{
	const struct vhost_user_iotlb message = {
		.iova = iova, .size = size, .uaddr = address, .perm = VHOST_USER_IOTLB_ACCESS_RW, .type = VHOST_USER_IOTLB_UPDATE
	};

	return vtr_vhost_user_iotlb_message(&f->iotlb, &message);
}

/* What is at iova: a byte of the file at offset, or nothing. */
static void assert_means(struct fixture *f, uint64_t iova, int64_t offset)
{
	uint8_t bytes[2];

	if (offset < 0) {
		f->send_result = -ENOTCONN;
		g_assert_cmpint(vtr_memory_read(f->memory, iova, bytes, 1), ==, -EFAULT);
		f->send_result = 1;
		return;
	}
	g_assert_cmpint(vtr_memory_read(f->memory, iova, bytes, sizeof(bytes)), ==, 0);
	assert_pattern(bytes, sizeof(bytes), SEED, (uint64_t)offset);
}

static size_t entries(const struct fixture *f)
{
	struct vtr_vhost_user_iotlb_status status;

	vtr_vhost_user_iotlb_status(&f->iotlb, &status);
	g_assert_true(status.active);
	return status.map.entries;
}

static const struct addresses {
	const char *name;
	bool gpa;
} both[] = { { "user-addresses", false }, { "guest-physical", true } };

static void test_update(const void *data)
{
	const struct addresses *row = data;
	const uint64_t high = row->gpa ? GPA : UADDR + MIB;
	struct fixture f;

	set_up(&f, row->gpa);
	g_assert_cmpint(update(&f, IOVA, PAGE, high + 5 * PAGE), ==, 0);
	assert_means(&f, IOVA + 3, MIB + 5 * PAGE + 3);
	assert_means(&f, IOVA + PAGE, -1);
	g_assert_cmpint(update(&f, IOVA, PAGE, high + 6 * PAGE), ==, 0);
	assert_means(&f, IOVA, MIB + 6 * PAGE);
	g_assert_cmpuint(entries(&f), ==, 1);
	g_assert_cmpint(update(&f, IOVA + PAGE, PAGE, high + MIB), ==, -EFAULT);
	g_assert_cmpint(update(&f, IOVA + PAGE, PAGE, row->gpa ? UADDR : GPA), ==, -EFAULT);
	g_assert_cmpint(update(&f, IOVA + PAGE, 2 * PAGE, UINT64_MAX - PAGE), ==, -EINVAL);
	tear_down(&f);
}

/* The end of one region and what follows it: the next one in the front-end, a hole in the guest. */
static void test_update_across(const void *data)
{
	const struct addresses *row = data;
	struct fixture f;

	set_up(&f, row->gpa);
	g_assert_cmpint(update(&f, IOVA + PAGE, PAGE, row->gpa ? 0 : UADDR), ==, 0);
	g_assert_cmpint(update(&f, IOVA, 2 * PAGE, (row->gpa ? 0 : UADDR) + MIB - PAGE), ==, row->gpa ? -EFAULT : 0);
	assert_means(&f, IOVA, row->gpa ? -1 : MIB - PAGE);
	assert_means(&f, IOVA + PAGE, row->gpa ? 0 : MIB); /* a refusal changes nothing */
	g_assert_cmpuint(entries(&f), ==, row->gpa ? 1 : 2);
	tear_down(&f);
}

/* A domain that translates nothing, in guest-physical addresses. */
static void test_identity(void)
{
	struct fixture f;

	set_up(&f, true);
	g_assert_cmpint(update(&f, MIB, PAGE, 0), ==, 0); /* in the way of the hole */
	g_assert_cmpint(update(&f, 0, 0, 0), ==, 0);
	g_assert_cmpint(update(&f, 0, UINT64_MAX, 0), ==, 0);
	g_assert_cmpuint(entries(&f), ==, 2);
	assert_means(&f, PAGE, PAGE);
	assert_means(&f, GPA + PAGE, MIB + PAGE);
	assert_means(&f, MIB, -1);
	assert_means(&f, UINT64_MAX, -1);
	const struct vhost_user_iotlb everything = { .type = VHOST_USER_IOTLB_INVALIDATE };
	g_assert_cmpint(vtr_vhost_user_iotlb_message(&f.iotlb, &everything), ==, 0);
	g_assert_cmpuint(entries(&f), ==, 0);
	tear_down(&f);
}

/* A region that goes takes its translations with it. */
static void test_region_goes(void)
{
	struct fixture f;

	set_up(&f, false);
	g_assert_cmpint(update(&f, IOVA, PAGE, UADDR), ==, 0);
	g_assert_cmpint(update(&f, IOVA + PAGE, PAGE, UADDR + MIB), ==, 0);
	g_assert_cmpint(update(&f, IOVA + 2 * PAGE, PAGE, UADDR + 2 * MIB - PAGE), ==, 0);
	vtr_vhost_user_iotlb_forget_region(&f.iotlb, &f.table.regions[1]);
	assert_means(&f, IOVA, 0);
	g_assert_cmpuint(entries(&f), ==, 1);
	vtr_vhost_user_iotlb_forget_all(&f.iotlb);
	g_assert_cmpuint(entries(&f), ==, 0);
	tear_down(&f);
}

static void test_miss(void)
{
	struct fixture f;
	uint8_t byte = 0;

	set_up(&f, false);
	g_assert_cmpint(vtr_memory_read(f.memory, IOVA, &byte, 1), ==, -EINPROGRESS);
	g_assert_cmpint(vtr_memory_write(f.memory, IOVA + PAGE, &byte, 1), ==, -EINPROGRESS);
	g_assert_cmpuint(f.n_sent, ==, 2);
	g_assert_cmphex(f.sent[0].iova, ==, IOVA);
	g_assert_cmpuint(f.sent[0].type, ==, VHOST_USER_IOTLB_MISS);
	g_assert_cmpuint(f.sent[0].perm, ==, VHOST_USER_IOTLB_ACCESS_RO);
	g_assert_cmpuint(f.sent[1].perm, ==, VHOST_USER_IOTLB_ACCESS_WO);
	f.done[0](0, f.calls[0]); /* says nothing: the update is on its way */
	g_assert_cmpint(vtr_memory_read(f.memory, IOVA, &byte, 1), ==, -EINPROGRESS);
	f.done[1](-EREMOTEIO, f.calls[1]);
	g_assert_cmpint(vtr_memory_write(f.memory, IOVA + PAGE, &byte, 1), ==, -EFAULT);
	g_assert_cmpint(update(&f, IOVA, PAGE, UADDR), ==, 0);
	g_assert_cmpint(vtr_memory_read(f.memory, IOVA, &byte, 1), ==, 0);
	tear_down(&f);
}

static const struct slow {
	const char *name;
	unsigned max_replies;
} slow[] = { { "ours", 1000 }, { "the-channel-s", 5 } };

/* Replies come later than updates: there is a limit to how many are waited for, and none to the updates. */
static void test_late_replies(const void *data)
{
	const struct slow *row = data;
	struct fixture f;
	uint8_t byte;

	set_up(&f, false);
	f.max_replies = row->max_replies;
	for (uint64_t i = 0; i < G_N_ELEMENTS(f.sent); i++) {
		g_assert_cmpint(vtr_memory_read(f.memory, IOVA + i * PAGE, &byte, 1), ==, -EINPROGRESS);
		g_assert_cmpint(update(&f, IOVA + i * PAGE, PAGE, UADDR + i * PAGE), ==, 0);
		g_assert_cmpint(vtr_memory_read(f.memory, IOVA + i * PAGE, &byte, 1), ==, 0);
	}
	g_assert_cmpuint(f.n_sent, ==, G_N_ELEMENTS(f.sent));
	g_assert_cmpuint(f.n_replies, <, f.n_sent);
	for (unsigned i = 0; i < f.n_sent; i++)
		if (f.done[i])
			f.done[i](0, f.calls[i]);
	tear_down(&f);
}

/* A failed access is reported until the front-end says that it does not want to know. */
static void test_access_failure(void)
{
	const struct vhost_user_iotlb read_only = {
		.iova = IOVA, .size = PAGE, .uaddr = UADDR, .perm = VHOST_USER_IOTLB_ACCESS_RO, .type = VHOST_USER_IOTLB_UPDATE
	};
	struct vtr_vhost_user_iotlb_status status;
	struct fixture f;
	uint8_t byte = 0;

	set_up(&f, false);
	for (unsigned i = 0; i < 2; i++) {
		f.n_sent = 0;
		g_assert_cmpint(vtr_memory_write(f.memory, IOVA, &byte, 1), ==, -EINPROGRESS);
		g_assert_cmpint(vtr_vhost_user_iotlb_message(&f.iotlb, &read_only), ==, 0);
		f.done[0](0, f.calls[0]);
		g_assert_cmpint(vtr_memory_write(f.memory, IOVA, &byte, 1), ==, -EACCES);
		g_assert_cmpuint(f.n_sent, ==, i ? 1 : 2);
		if (i)
			continue;
		g_assert_cmpuint(f.sent[1].type, ==, VHOST_USER_IOTLB_ACCESS_FAIL);
		g_assert_cmphex(f.sent[1].iova, ==, IOVA);
		f.done[1](-EREMOTEIO, f.calls[1]);
	}
	vtr_vhost_user_iotlb_status(&f.iotlb, &status);
	g_assert_cmpuint(status.access_failures, ==, 2);
	g_assert_cmpint(vtr_memory_read(f.memory, IOVA, &byte, 1), ==, 0); /* life goes on */
	tear_down(&f);
}

/* Without ACCESS_PLATFORM there is no IOTLB. */
static void test_not_active(void)
{
	struct fixture f;

	set_up(&f, false);
	g_assert_cmpint(update(&f, IOVA, PAGE, UADDR), ==, 0);
	g_assert_cmpint(vtr_vhost_user_iotlb_set_active(&f.iotlb, false), ==, 0);
	g_assert_null(vtr_memory_region(f.memory, 0));
	g_assert_cmpint(update(&f, IOVA, PAGE, UADDR), ==, -EINVAL);
	tear_down(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/vhost_iotlb/message/", messages, test_message);
	ADD_ROWS("/vhost_iotlb/update/", both, test_update);
	ADD_ROWS("/vhost_iotlb/update-across/", both, test_update_across);
	g_test_add_func("/vhost_iotlb/identity", test_identity);
	g_test_add_func("/vhost_iotlb/region-goes", test_region_goes);
	g_test_add_func("/vhost_iotlb/miss", test_miss);
	ADD_ROWS("/vhost_iotlb/late-replies/", slow, test_late_replies);
	g_test_add_func("/vhost_iotlb/access-failure", test_access_failure);
	g_test_add_func("/vhost_iotlb/not-active", test_not_active);
	return g_test_run();
}
