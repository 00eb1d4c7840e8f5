/* SPDX-License-Identifier: MIT */
/*
 * Which chains of a virtqueue are out ("Inflight I/O tracking" of the vhost-user protocol, split virtqueue).
 *
 * A region has an entry for each descriptor: whether a chain that begins there is out, and a counter that tells the order. We may
 * be killed between any two stores, and what has been stored by then is what our successor finds, because the memory is shared; so
 * it is the order of the stores that counts, and the compiler is all that has to be told about it (release stores do that).
 *
 * Taking a chain is one store, `inflight`; nobody else has seen anything of it before. Returning one involves a second memory, the
 * used ring: last_batch_head names the chain, the used index moves, inflight is cleared, used_idx follows. Whoever finds used_idx
 * behind the used index knows that the chains in the list from last_batch_head were returned, whatever their entries say. Our
 * batches are of one chain; others' may be longer.
 *
 * What is read at the beginning is read once and checked; from then on the memory is only written, so that nobody who writes to
 * it can lead us anywhere. Counters go on where the account ends, also beyond chains that were answered: a chain's ticket is
 * never that of another one.
 */
#include "transport/vhost_user/inflight.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "transport/vhost_user/protocol.h"

enum { REGION_VERSION = 1, REGION_ALIGN = 64 };

/* No honest account comes near it. */
#define MAX_COUNTER (UINT64_C(1) << 62)

struct out {
	uint16_t head;
	uint64_t counter;
};

size_t vtr_inflight_region_size(uint16_t size)
{
	const size_t bytes = sizeof(struct vhost_user_inflight_queue) + (size_t)size * sizeof(struct vhost_user_inflight_desc);

	return (bytes + REGION_ALIGN - 1) & ~(size_t)(REGION_ALIGN - 1);
}

static struct vtr_inflight *from_tracker(struct vtr_virtqueue_tracker *tracker)
{
	return (struct vtr_inflight *)((char *)tracker - offsetof(struct vtr_inflight, base));
}

/* ---- while the queue runs ---- */

static void set_inflight(struct vhost_user_inflight_desc *desc, bool out)
{
	__atomic_store_n(&desc->inflight, out, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* later stores stay behind it */
}

static uint64_t popped(struct vtr_virtqueue_tracker *tracker, uint16_t head)
{
	struct vtr_inflight *inflight = from_tracker(tracker);
	struct vhost_user_inflight_queue *region = inflight->region;
	uint64_t ticket = inflight->tickets[head];

	if (ticket)
		return ticket;
	ticket = inflight->tickets[head] = inflight->counter++;
	region->desc[head].counter = ticket;
	set_inflight(&region->desc[head], true);
	return ticket;
}

static void unpopped(struct vtr_virtqueue_tracker *tracker, uint16_t head)
{
	struct vtr_inflight *inflight = from_tracker(tracker);
	struct vhost_user_inflight_queue *region = inflight->region;

	inflight->tickets[head] = 0;
	set_inflight(&region->desc[head], false);
}

static void pushing(struct vtr_virtqueue_tracker *tracker, uint16_t head)
{
	struct vtr_inflight *inflight = from_tracker(tracker);
	struct vhost_user_inflight_queue *region = inflight->region;

	if (inflight->last_batch_head == head)
		return; /* a list of one that leads to itself is as good, but nobody should have to count on that */
	region->desc[head].next = inflight->last_batch_head;
	inflight->last_batch_head = head;
	__atomic_store_n(&region->last_batch_head, head, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void pushed(struct vtr_virtqueue_tracker *tracker, uint16_t head, uint16_t used_idx)
{
	struct vtr_inflight *inflight = from_tracker(tracker);
	struct vhost_user_inflight_queue *region = inflight->region;

	inflight->tickets[head] = 0;
	set_inflight(&region->desc[head], false);
	__atomic_store_n(&region->used_idx, used_idx, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static int account_of(struct vtr_virtqueue_tracker *tracker, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE])
{
	struct vtr_inflight *inflight = from_tracker(tracker);

	return inflight->resume(inflight, used_idx, heads);
}

static const struct vtr_virtqueue_tracker_impl tracker_impl = {
	.resume = account_of,
	.popped = popped,
	.unpopped = unpopped,
	.pushing = pushing,
	.pushed = pushed,
};

/* ---- at the beginning ---- */

void vtr_inflight_init(struct vtr_inflight *inflight, void *region, uint16_t size,
                       int (*resume)(struct vtr_inflight *inflight, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE]))
{
	*inflight =
		(struct vtr_inflight){ .base.impl = &tracker_impl, .resume = resume, .region = region, .size = size, .counter = 1 };
}

void vtr_inflight_clear(void *memory)
{
	struct vhost_user_inflight_queue *region = memory;

	__atomic_store_n(&region->version, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void vtr_inflight_begin(struct vtr_inflight *inflight, uint16_t used_idx)
{
	struct vhost_user_inflight_queue *region = inflight->region;

	inflight->counter = 1;
	inflight->last_batch_head = 0;
	memset(inflight->tickets, 0, sizeof(inflight->tickets));
	vtr_inflight_clear(region);
	region->features = 0;
	region->desc_num = inflight->size;
	region->last_batch_head = 0;
	region->used_idx = used_idx;
	for (unsigned i = 0; i < inflight->size; i++)
		region->desc[i] = (struct vhost_user_inflight_desc){ 0 };
	__atomic_store_n(&region->version, REGION_VERSION, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* What a region says, read once. */
struct account {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct vhost_user_inflight_desc desc[VTR_MAX_QUEUE_SIZE];
};

static int read_account(struct account *account, const void *memory, uint16_t size)
{
	const struct vhost_user_inflight_queue *region = memory;

	account->features = __atomic_load_n(&region->features, __ATOMIC_RELAXED);
	account->version = __atomic_load_n(&region->version, __ATOMIC_RELAXED);
	account->desc_num = __atomic_load_n(&region->desc_num, __ATOMIC_RELAXED);
	account->last_batch_head = __atomic_load_n(&region->last_batch_head, __ATOMIC_RELAXED);
	account->used_idx = __atomic_load_n(&region->used_idx, __ATOMIC_RELAXED);
	memcpy(account->desc, region->desc, size * sizeof(account->desc[0]));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (account->version == 0)
		return -ENOENT;
	if (account->version != REGION_VERSION || account->features || account->desc_num != size)
		return -EPROTO;
	return 0;
}

/* The chains of the last batch were returned when the used index moved. */
static int settle(struct account *account, uint16_t size, uint16_t used_idx)
{
	const uint16_t batch = (uint16_t)(used_idx - account->used_idx);
	uint16_t head = account->last_batch_head;

	if (batch > size)
		return -ESTALE;
	for (uint16_t i = 0; i < batch; i++, head = account->desc[head].next) {
		if (head >= size)
			return -EPROTO;
		account->desc[head].inflight = 0;
	}
	account->used_idx = used_idx;
	return 0;
}

static int compare_counters(const void *a, const void *b)
{
	const struct out *first = a, *second = b;

	return first->counter < second->counter ? -1 : first->counter > second->counter;
}

/* Collects the chains that are out into heads; returns how many. */
static int collect(struct vtr_inflight *inflight, const struct account *account, uint16_t queue_size,
                   uint16_t heads[VTR_MAX_QUEUE_SIZE])
{
	struct out out[VTR_MAX_QUEUE_SIZE];
	int n = 0;

	for (uint16_t i = 0; i < inflight->size; i++) {
		const struct vhost_user_inflight_desc *desc = &account->desc[i];

		if (desc->counter > MAX_COUNTER)
			return -EPROTO;
		if (desc->counter >= inflight->counter)
			inflight->counter = desc->counter + 1;
		if (!desc->inflight)
			continue;
		if (i >= queue_size)
			return -ESTALE;
		out[n++] = (struct out){ .head = i, .counter = desc->counter };
	}
	qsort(out, (size_t)n, sizeof(out[0]), compare_counters);
	for (int i = 0; i < n; i++) {
		heads[i] = out[i].head;
		/* 0 is no ticket: such a chain (another program's first) gets one when it is popped again */
		inflight->tickets[heads[i]] = out[i].counter;
	}
	return n;
}

/* Writes back what was settled. Until used_idx has followed it can be settled again. */
static void write_account(struct vtr_inflight *inflight, const struct account *account)
{
	struct vhost_user_inflight_queue *region = inflight->region;

	for (uint16_t i = 0; i < inflight->size; i++) {
		if (!account->desc[i].inflight)
			set_inflight(&region->desc[i], false);
	}
	__atomic_store_n(&region->used_idx, account->used_idx, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

int vtr_inflight_resume(struct vtr_inflight *inflight, uint16_t queue_size, uint16_t used_idx, uint16_t heads[VTR_MAX_QUEUE_SIZE])
{
	struct account account;
	int count = read_account(&account, inflight->region, inflight->size);

	if (count == 0)
		count = settle(&account, inflight->size, used_idx);
	if (count < 0)
		return count;
	inflight->counter = 1;
	inflight->last_batch_head = account.last_batch_head;
	memset(inflight->tickets, 0, sizeof(inflight->tickets));
	count = collect(inflight, &account, queue_size, heads);
	if (count >= 0)
		write_account(inflight, &account);
	return count;
}
