/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_RING_H
#define VTR_GUEST_RING_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A split virtqueue, driver side (virtio 1.3, 2.7), in memory that the device sees at `address`. It knows no device: it lays out
 * descriptors and reads what was used; whoever owns it rings the doorbell and waits. All members are open to tests that want to
 * lay out what no driver would.
 */
enum { VTR_GUEST_RING_MAX = 1024 };

struct vtr_guest_segment {
	uint64_t address;
	uint32_t length;
	bool device_writes;
};

struct vtr_guest_ring {
	uint16_t size;    /* entries, a power of two */
	bool event_idx;   /* VIRTIO_RING_F_EVENT_IDX was negotiated */
	uint64_t address; /* of the descriptor table, the first of the three parts */
	uint64_t avail_address, used_address;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;

	uint16_t free_head, n_free; /* free descriptors, linked by `next` */
	uint16_t avail_idx;         /* what the device was told */
	uint16_t kicked_idx;        /* avail_idx at the last doorbell decision */
	uint16_t used_idx;          /* next used entry to take */
	uint16_t next[VTR_GUEST_RING_MAX];
	uint16_t count[VTR_GUEST_RING_MAX]; /* descriptors of the chain that begins here, 0: none */
};

/* Bytes a ring of this size takes; its memory must be aligned to 16 bytes. */
size_t vtr_guest_ring_bytes(uint16_t size);

/* Lays an empty ring into memory (zeroed). size: a power of two, at most VTR_GUEST_RING_MAX. */
void vtr_guest_ring_init(struct vtr_guest_ring *ring, void *memory, uint64_t address, uint16_t size, bool event_idx);

/* Makes a chain of the n segments available: what the device reads has to come before what it writes. Returns its head or -ENOSPC.
 */
int vtr_guest_ring_add(struct vtr_guest_ring *ring, const struct vtr_guest_segment *segments, size_t n);

/* The same with all segments in an indirect table of n descriptors at table_address, mapped here as table. One ring descriptor. */
int vtr_guest_ring_add_indirect(struct vtr_guest_ring *ring, struct vring_desc *table, uint64_t table_address,
                                const struct vtr_guest_segment *segments, size_t n);

/* The same with n descriptors as they are, for those who want to say what no driver would. On a fresh ring they become numbers 0 to
 * n - 1; the first is the head. */
int vtr_guest_ring_add_raw(struct vtr_guest_ring *ring, const struct vring_desc *descriptors, size_t n);

/* Puts head, whatever it is, into the next available entry: the last step of the three above. */
void vtr_guest_ring_offer(struct vtr_guest_ring *ring, uint16_t head);

/* After adding: true when the device wants a doorbell (virtio 1.3, 2.7.10). */
bool vtr_guest_ring_needs_kick(struct vtr_guest_ring *ring);

/* The next used chain: 1 with *head and *written, 0 when there is none, -EPROTO when the device returned what it was not given. */
int vtr_guest_ring_take(struct vtr_guest_ring *ring, uint16_t *head, uint32_t *written);

/* Asks to be interrupted for the next used chain; false when one is there already. */
bool vtr_guest_ring_want_interrupt(struct vtr_guest_ring *ring);

#endif
