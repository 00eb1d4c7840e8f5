/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues, device side (virtio 1.3, 2.7).
 *
 * States: disabled, enabled, broken. A driver that breaks the rules gets no partial service: the queue says why it is broken and
 * stops until it is reset; the device above sets DEVICE_NEEDS_RESET. Nothing read from the rings is trusted: the driver may have
 * published at most size entries, and with size chains popped and not returned there can be no further one, so a driver cannot make
 * us hold more than size chains.
 *
 * Notifications are suppressed in both directions, by flags or, with EVENT_IDX, by index. Both sides publish first and look at the
 * other's wish afterwards; the full fences between the two steps are what keeps a notification from being lost.
 *
 * While remote ring memory is read the transport serves other messages, and the queue may be reset under our feet: the epoch tells.
 * A request that the transport gave up breaks nothing: pop takes nothing, push leaves the chain with its caller, and both can be
 * repeated, because no index of ours moves before the last access was made. The request may have been carried out all the same: the
 * driver then has seen what push writes again, so it must be written alike and before any other.
 *
 * A miss behind an IOMMU is like that but for the time: it is tried again when the translation has come, not in the next turn.
 *
 * A driver outlives a process of ours that was killed, and knows nothing of that. What a successor needs besides the rings is which
 * chains were out: a tracker is told at the right moments, and the successor pops those first. An available chain is out, answered,
 * or behind last_avail; so last_avail is ahead of the used index by as many as are out.
 */
#include "virtio/queue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "util/checked.h"

/* Field offsets of struct virtq_avail and struct virtq_used (virtio 1.3, 2.7.6 and 2.7.8). */
enum {
	AVAIL_FLAGS = 0,
	AVAIL_IDX = 2,
	AVAIL_RING = 4,
	AVAIL_ENTRY = 2, /* bytes of an entry */
	USED_FLAGS = 0,
	USED_IDX = 2,
	USED_RING = 4,
	USED_ENTRY = 8,
	EVENT_FIELD = 2, /* bytes of used_event and avail_event, behind the ring when EVENT_IDX is negotiated */
};

static void nobody_cares(struct vtr_memory_waiter *waiter)
{
}

void vtr_virtqueue_init(struct vtr_virtqueue *queue, struct vtr_memory *memory, uint16_t max_size,
                        void (*ready)(struct vtr_memory_waiter *waiter), void *data)
{
	assert(vtr_is_power_of_two(max_size) && max_size <= VTR_MAX_QUEUE_SIZE);
	*queue = (struct vtr_virtqueue){
		.memory = memory,
		.max_size = max_size,
		.size = max_size,
		.waiter = { .ready = ready ? ready : nobody_cares, .data = data },
	};
}

void vtr_virtqueue_start(struct vtr_virtqueue *queue, bool event_idx, bool indirect)
{
	const uint32_t event = event_idx ? EVENT_FIELD : 0;

	assert(!queue->enabled && vtr_is_power_of_two(queue->size) && queue->size <= queue->max_size);
	vtr_ring_init(&queue->desc_ring, queue->memory, queue->desc, queue->size * (uint32_t)sizeof(struct vring_desc), false);
	vtr_ring_init(&queue->avail_ring, queue->memory, queue->avail, AVAIL_RING + AVAIL_ENTRY * (uint32_t)queue->size + event,
	              false);
	vtr_ring_init(&queue->used_ring, queue->memory, queue->used, USED_RING + USED_ENTRY * (uint32_t)queue->size + event, true);
	queue->event_idx = event_idx;
	queue->indirect = indirect;
	queue->last_avail = queue->used_idx = 0;
	queue->unsignalled = queue->in_flight = 0;
	queue->resumed = false;
	queue->epoch++;
	queue->enabled = true;
}

void vtr_virtqueue_resume(struct vtr_virtqueue *queue, uint16_t last_avail)
{
	queue->last_avail = last_avail;
	queue->resumed = true;
}

void vtr_virtqueue_reset(struct vtr_virtqueue *queue)
{
	vtr_memory_cancel_wait(queue->memory, &queue->waiter);
	free(queue->left);
	*queue = (struct vtr_virtqueue){
		.memory = queue->memory,
		.max_size = queue->max_size,
		.size = queue->max_size,
		.epoch = queue->epoch + 1,
		.waiter = { .ready = queue->waiter.ready, .data = queue->waiter.data },
	};
}

void vtr_virtqueue_break(struct vtr_virtqueue *queue, const char *why)
{
	if (queue->broken)
		return;
	queue->broken = true;
	queue->why = why;
}

static bool usable(const struct vtr_virtqueue *queue)
{
	return queue->enabled && !queue->broken;
}

/* Ends a pop or push that failed with ret, unless the queue it was about is gone: -EAGAIN when it is worth another try. */
static int fail(struct vtr_virtqueue *queue, uint32_t epoch, int ret, const char *why)
{
	if (queue->epoch != epoch)
		return -ECANCELED;
	if (ret == -EINPROGRESS)
		vtr_virtqueue_wait(queue);
	if (vtr_virtqueue_is_transient(ret)) {
		queue->retry = ret != -EINPROGRESS;
		return -EAGAIN;
	}
	vtr_virtqueue_break(queue, why);
	return ret == -EAGAIN ? -EIO : ret; /* the remote side's word for it is an error like any other */
}

/* What was left by another process is popped first. */
static int learn_left(struct vtr_virtqueue *queue)
{
	uint16_t heads[VTR_MAX_QUEUE_SIZE];
	int count = queue->tracker->impl->resume(queue->tracker, queue->used_idx, heads);

	if (count == -ENOENT)
		return 0;
	assert(count >= 0 && count <= queue->size);
	if (count > 0) {
		queue->left = malloc((size_t)count * sizeof(heads[0]));
		if (!queue->left)
			return -ENOMEM;
		memcpy(queue->left, heads, (size_t)count * sizeof(heads[0]));
	}
	queue->n_left = (uint16_t)count;
	queue->last_avail = (uint16_t)(queue->used_idx + count);
	return 0;
}

/* Where the used ring of a resumed queue goes on. Nothing is pushed before something was popped. */
static int learn_used(struct vtr_virtqueue *queue, const char **why)
{
	int ret = queue->resumed ? vtr_ring_load16(&queue->used_ring, USED_IDX, &queue->used_idx) : 0;

	*why = "the device area is not in memory";
	if (ret == 0 && queue->resumed && queue->tracker) {
		*why = "no memory left for the chains that were out";
		ret = learn_left(queue);
	}
	if (ret == 0)
		queue->resumed = false;
	return ret;
}

/* Finds the head of the next available chain: 1, 0 when there is none, -errno with *why. */
static int next_available(struct vtr_virtqueue *queue, uint16_t *head, const char **why)
{
	const uint16_t position = queue->last_avail & (uint16_t)(queue->size - 1);
	uint16_t idx;
	int ret;

	*why = "the driver area is not in memory";
	ret = vtr_ring_load16(&queue->avail_ring, AVAIL_IDX, &idx);
	if (ret < 0)
		return ret;
	if (idx == queue->last_avail)
		return 0;
	if ((uint16_t)(idx - queue->last_avail) > queue->size) {
		*why = "an available index beyond the ring";
		return -EPROTO;
	}
	if (queue->in_flight + (queue->n_left - queue->next_left) >= queue->size) {
		*why = "more chains than the queue has entries";
		return -EPROTO;
	}
	ret = vtr_ring_load16(&queue->avail_ring, AVAIL_RING + AVAIL_ENTRY * (uint32_t)position, head);
	if (ret < 0)
		return ret;
	if (*head >= queue->size) {
		*why = "an available entry beyond the descriptor table";
		return -EPROTO;
	}
	return 1;
}

static bool has_left(const struct vtr_virtqueue *queue)
{
	return queue->next_left < queue->n_left;
}

static int next_head(struct vtr_virtqueue *queue, uint16_t *head, const char **why)
{
	int ret = learn_used(queue, why);

	if (ret < 0)
		return ret;
	if (!has_left(queue))
		return next_available(queue, head, why);
	*head = queue->left[queue->next_left];
	return 1;
}

/* The chain is its taker's from here on. */
static void take(struct vtr_virtqueue *queue, struct vtr_chain *chain)
{
	chain->left = has_left(queue);
	if (chain->left)
		queue->next_left++;
	else
		queue->last_avail++;
	queue->in_flight++;
	if (queue->tracker)
		chain->ticket = queue->tracker->impl->popped(queue->tracker, chain->head);
}

/* And not any more. */
static void untake(struct vtr_virtqueue *queue, const struct vtr_chain *chain)
{
	assert(queue->in_flight > 0);
	if (chain->left)
		queue->next_left--;
	else
		queue->last_avail--;
	queue->in_flight--;
	if (queue->tracker && !chain->left)
		queue->tracker->impl->unpopped(queue->tracker, chain->head);
}

int vtr_virtqueue_pop(struct vtr_virtqueue *queue, struct vtr_chain **chain)
{
	const uint32_t epoch = queue->epoch;
	const char *why;
	uint16_t head;
	int ret;

	*chain = NULL;
	if (!usable(queue))
		return 0;
	ret = next_head(queue, &head, &why);
	if (ret > 0) {
		ret = vtr_chain_load(queue, head, chain, &why);
		ret = ret < 0 ? ret : 1;
	}
	if (ret < 0)
		return fail(queue, epoch, ret, why);
	if (queue->epoch != epoch) {
		vtr_chain_free(*chain);
		*chain = NULL;
		return -ECANCELED;
	}
	queue->drained = ret == 0;
	if (ret == 1)
		take(queue, *chain);
	return ret;
}

void vtr_virtqueue_unpop(struct vtr_virtqueue *queue, struct vtr_chain *chain)
{
	if (chain->epoch == queue->epoch) {
		untake(queue, chain);
		queue->retry = !vtr_virtqueue_waits(queue) && !queue->held;
	}
	vtr_chain_free(chain);
}

static int put_used(struct vtr_virtqueue *queue, uint16_t head, uint32_t written)
{
	const uint32_t epoch = queue->epoch;
	const struct vring_used_elem element = { .id = htole32(head), .len = htole32(written) };
	const uint16_t position = queue->used_idx & (uint16_t)(queue->size - 1);
	int ret;

	ret = vtr_ring_write(&queue->used_ring, USED_RING + USED_ENTRY * (uint32_t)position, &element, sizeof(element));
	if (ret < 0 || queue->epoch != epoch)
		return ret;
	if (queue->tracker)
		queue->tracker->impl->pushing(queue->tracker, head);
	return vtr_ring_store16(&queue->used_ring, USED_IDX, (uint16_t)(queue->used_idx + 1));
}

int vtr_virtqueue_push(struct vtr_virtqueue *queue, struct vtr_chain *chain, uint32_t written)
{
	const uint32_t epoch = chain->epoch;
	int ret = -ECANCELED;

	assert(written <= chain->in_size);
	if (epoch != queue->epoch || !usable(queue))
		goto free_chain;
	assert(queue->in_flight > 0);
	ret = put_used(queue, chain->head, written);
	if (ret < 0) {
		ret = fail(queue, epoch, ret, "the device area is not in memory that the device may write");
		if (ret == -EAGAIN)
			return ret;
	} else if (epoch != queue->epoch) {
		ret = -ECANCELED;
	} else {
		queue->used_idx++;
		if (queue->tracker)
			queue->tracker->impl->pushed(queue->tracker, chain->head, queue->used_idx);
		queue->in_flight--;
		queue->unsignalled++;
	}
free_chain:
	vtr_chain_free(chain);
	return ret;
}

bool vtr_virtqueue_should_interrupt(struct vtr_virtqueue *queue)
{
	const uint32_t field = queue->event_idx ? AVAIL_RING + AVAIL_ENTRY * (uint32_t)queue->size : AVAIL_FLAGS;
	const uint32_t pushed = queue->unsignalled;
	const uint16_t idx = queue->used_idx;
	uint16_t wish;

	if (!usable(queue) || pushed == 0)
		return false;
	queue->unsignalled = 0;
	/* The used index must be visible before the wish is read, or both sides go to sleep. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (vtr_ring_load16(&queue->avail_ring, field, &wish) < 0)
		return true;
	if (queue->event_idx)
		return pushed > UINT16_MAX || vring_need_event(wish, idx, (uint16_t)(idx - pushed));
	return !(wish & VRING_AVAIL_F_NO_INTERRUPT);
}

void vtr_virtqueue_disable_notify(struct vtr_virtqueue *queue)
{
	const uint32_t epoch = queue->epoch;
	int ret;

	/* With EVENT_IDX the index the driver compares with simply stays behind (virtio 1.3, 2.7.10.2: flags are 0). */
	if (!usable(queue) || queue->event_idx)
		return;
	ret = vtr_ring_store16(&queue->used_ring, USED_FLAGS, VRING_USED_F_NO_NOTIFY);
	if (ret < 0 && !vtr_virtqueue_is_transient(ret)) /* a hint need not be given */
		fail(queue, epoch, ret, "the device area is not in memory that the device may write");
}

bool vtr_virtqueue_enable_notify(struct vtr_virtqueue *queue)
{
	const uint32_t epoch = queue->epoch;
	uint16_t idx;
	int ret;

	if (!usable(queue))
		return false;
	if (queue->event_idx)
		ret = vtr_ring_store16(&queue->used_ring, USED_RING + USED_ENTRY * (uint32_t)queue->size, queue->last_avail);
	else
		ret = vtr_ring_store16(&queue->used_ring, USED_FLAGS, 0);
	if (ret < 0) {
		fail(queue, epoch, ret, "the device area is not in memory that the device may write");
		return false;
	}
	/* The wish must be visible before the index is read, or both sides go to sleep. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ret = vtr_ring_load16(&queue->avail_ring, AVAIL_IDX, &idx);
	if (ret < 0)
		fail(queue, epoch, ret, "the driver area is not in memory");
	return ret == 0 && queue->epoch == epoch && (idx != queue->last_avail || has_left(queue));
}
