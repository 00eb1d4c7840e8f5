/* SPDX-License-Identifier: MIT */
#include "guest/ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "virtio's little-endian structures are used in place");

static size_t avail_offset(uint16_t size)
{
	return size * sizeof(struct vring_desc);
}

static size_t used_offset(uint16_t size)
{
	/* flags, idx, ring, used_event; the used ring is aligned to 4 */
	size_t end = avail_offset(size) + sizeof(uint16_t) * (3 + (size_t)size);

	return (end + VRING_USED_ALIGN_SIZE - 1) & ~(size_t)(VRING_USED_ALIGN_SIZE - 1);
}

size_t vtr_guest_ring_bytes(uint16_t size)
{
	return used_offset(size) + 3 * sizeof(uint16_t) + size * sizeof(struct vring_used_elem);
}

/* The two event fields stand behind the rings (virtio 1.3, 2.7.6 and 2.7.8). */
static uint16_t *used_event(const struct vtr_guest_ring *ring)
{
	return &ring->avail->ring[ring->size];
}

static uint16_t *avail_event(const struct vtr_guest_ring *ring)
{
	return (uint16_t *)(void *)&ring->used->ring[ring->size];
}

void vtr_guest_ring_init(struct vtr_guest_ring *ring, void *memory, uint64_t address, uint16_t size, bool event_idx)
{
	uint8_t *bytes = memory;

	assert(size && size <= VTR_GUEST_RING_MAX && !(size & (size - 1)));
	memset(memory, 0, vtr_guest_ring_bytes(size));
	*ring = (struct vtr_guest_ring){
		.size = size,
		.event_idx = event_idx,
		.address = address,
		.avail_address = address + avail_offset(size),
		.used_address = address + used_offset(size),
		.desc = memory,
		.avail = (void *)(bytes + avail_offset(size)),
		.used = (void *)(bytes + used_offset(size)),
		.n_free = size,
	};
	for (uint16_t i = 0; i < size; i++)
		ring->next[i] = (uint16_t)(i + 1);
}

static void fill(struct vring_desc *desc, const struct vtr_guest_segment *segment)
{
	*desc = (struct vring_desc){
		.addr = segment->address,
		.len = segment->length,
		.flags = segment->device_writes ? VRING_DESC_F_WRITE : 0,
	};
}

static uint16_t take_free(struct vtr_guest_ring *ring)
{
	uint16_t i = ring->free_head;

	ring->free_head = ring->next[i];
	ring->n_free--;
	return i;
}

int vtr_guest_ring_add(struct vtr_guest_ring *ring, const struct vtr_guest_segment *segments, size_t n)
{
	if (!n || n > ring->n_free)
		return -ENOSPC;

	uint16_t head = ring->free_head;
	struct vring_desc *previous = NULL;

	for (size_t i = 0; i < n; i++) {
		uint16_t at = take_free(ring);

		fill(&ring->desc[at], &segments[i]);
		if (previous) {
			previous->flags |= VRING_DESC_F_NEXT;
			previous->next = at;
		}
		previous = &ring->desc[at];
	}
	ring->count[head] = (uint16_t)n;
	vtr_guest_ring_offer(ring, head);
	return head;
}

int vtr_guest_ring_add_indirect(struct vtr_guest_ring *ring, struct vring_desc *table, uint64_t table_address,
                                const struct vtr_guest_segment *segments, size_t n)
{
	if (!n || !ring->n_free || n > UINT16_MAX)
		return -ENOSPC;
	for (size_t i = 0; i < n; i++) {
		fill(&table[i], &segments[i]);
		if (i + 1 < n) {
			table[i].flags |= VRING_DESC_F_NEXT;
			table[i].next = (uint16_t)(i + 1);
		}
	}
	uint16_t head = take_free(ring);
	ring->desc[head] = (struct vring_desc){
		.addr = table_address,
		.len = (uint32_t)(n * sizeof(*table)),
		.flags = VRING_DESC_F_INDIRECT,
	};
	ring->count[head] = 1;
	vtr_guest_ring_offer(ring, head);
	return head;
}

int vtr_guest_ring_add_raw(struct vtr_guest_ring *ring, const struct vring_desc *descriptors, size_t n)
{
	if (!n || n > ring->n_free)
		return -ENOSPC;

	uint16_t head = ring->free_head;

	for (size_t i = 0; i < n; i++)
		ring->desc[take_free(ring)] = descriptors[i];
	ring->count[head] = (uint16_t)n;
	vtr_guest_ring_offer(ring, head);
	return head;
}

void vtr_guest_ring_offer(struct vtr_guest_ring *ring, uint16_t head)
{
	ring->avail->ring[ring->avail_idx & (ring->size - 1)] = head;
	ring->avail_idx++;
	/* descriptors and entry first, then the index that shows them */
	__atomic_store_n(&ring->avail->idx, ring->avail_idx, __ATOMIC_RELEASE);
}

bool vtr_guest_ring_needs_kick(struct vtr_guest_ring *ring)
{
	uint16_t before = ring->kicked_idx, now = ring->avail_idx;

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* our index before the device's wish */
	ring->kicked_idx = now;
	if (!ring->event_idx)
		return !(__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
	uint16_t event = __atomic_load_n(avail_event(ring), __ATOMIC_RELAXED);
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

/* A chain's descriptors were taken one after the other from the free list, so they are still linked; the device's copy of the links
 * is not asked. */
static void give_back(struct vtr_guest_ring *ring, uint16_t head)
{
	uint16_t last = head;

	for (uint16_t i = 1; i < ring->count[head]; i++)
		last = ring->next[last];
	ring->next[last] = ring->free_head;
	ring->free_head = head;
	ring->n_free = (uint16_t)(ring->n_free + ring->count[head]);
	ring->count[head] = 0;
}

int vtr_guest_ring_take(struct vtr_guest_ring *ring, uint16_t *head, uint32_t *written)
{
	uint16_t idx = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);

	if (idx == ring->used_idx)
		return 0;
	const struct vring_used_elem *used = &ring->used->ring[ring->used_idx & (ring->size - 1)];
	uint32_t id = used->id;

	if ((uint16_t)(idx - ring->used_idx) > ring->size || id >= ring->size || !ring->count[id])
		return -EPROTO;
	*head = (uint16_t)id;
	*written = used->len;
	ring->used_idx++;
	give_back(ring, *head);
	return 1;
}

bool vtr_guest_ring_want_interrupt(struct vtr_guest_ring *ring)
{
	if (ring->event_idx)
		__atomic_store_n(used_event(ring), ring->used_idx, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&ring->avail->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* our wish before the device's index */
	return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) == ring->used_idx;
}
