/* SPDX-License-Identifier: MIT */
/*
 * One area of a virtqueue in guest memory.
 *
 * The driver changes ring memory while we look at it, and the transport changes the memory map between any two of our calls (also
 * inside one, while a request to the VMM is answered). So no pointer survives a call: every access first compares the map's
 * generation with the one the pointer was made from. A region stays in the map, and its mapping in place, as long as the generation
 * is the same; no reference is needed. Stores go to regions the device may write only: a read-only mapping would fault.
 *
 * The index fields order everything else: the driver's entries are visible before its index is (acquire), ours before our index
 * (release). Where memory is reached through requests, the requests themselves are in order; the fences keep the compiler and a
 * copy inside vtr_memory_read() honest.
 */
#include "virtio/ring.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "memory/iommu.h"
#include "util/checked.h"

void vtr_ring_init(struct vtr_ring *ring, struct vtr_memory *memory, uint64_t address, uint32_t length, bool writable)
{
	*ring = (struct vtr_ring){ .memory = memory, .address = address, .length = length, .writable = writable };
}

/* The CPU address of the area, or NULL when it has to go through the memory map. */
static uint8_t *direct(struct vtr_ring *ring)
{
	const uint64_t generation = vtr_memory_generation(ring->memory);

	if (ring->generation != generation) {
		ring->data = vtr_memory_pointer(ring->memory, ring->address, ring->length,
		                                ring->writable ? VTR_ACCESS_WRITE : VTR_ACCESS_READ);
		ring->generation = generation;
	}
	return ring->data;
}

bool vtr_ring_is_direct(struct vtr_ring *ring)
{
	return direct(ring);
}

/* The guest address of a field. False when it is not in the area, which has no bytes once its queue is reset, or wraps. */
static bool locate(const struct vtr_ring *ring, uint32_t offset, size_t length, uint64_t *address)
{
	return vtr_range_fits(offset, length, ring->length) && vtr_add_u64(ring->address, offset, address);
}

int vtr_ring_read(struct vtr_ring *ring, uint32_t offset, void *buffer, size_t length)
{
	const uint8_t *data;
	uint64_t address;

	if (!locate(ring, offset, length, &address))
		return -EFAULT;
	data = direct(ring);
	if (!data)
		return vtr_memory_read(ring->memory, address, buffer, length);
	memcpy(buffer, data + offset, length);
	/* The copy is made here and now: the compiler must not read guest memory again in its place. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return 0;
}

int vtr_ring_write(struct vtr_ring *ring, uint32_t offset, const void *buffer, size_t length)
{
	uint64_t address;
	uint8_t *data;

	if (!locate(ring, offset, length, &address))
		return -EFAULT;
	data = direct(ring);
	if (!data)
		return vtr_memory_write(ring->memory, address, buffer, length);
	memcpy(data + offset, buffer, length);
	return 0;
}

/* The CPU address of a 16-bit field that can be accessed atomically, or NULL. */
static uint16_t *atomic_field(struct vtr_ring *ring, uint32_t offset)
{
	uint64_t address;
	uint8_t *data;

	if (!locate(ring, offset, sizeof(uint16_t), &address))
		return NULL;
	data = direct(ring);
	if (!data || (uintptr_t)(data + offset) % sizeof(uint16_t))
		return NULL;
	return (uint16_t *)(void *)(data + offset);
}

/* These two may fault when the memory's file shrank under us (util/fault.h). The handler cannot run while ThreadSanitizer's
 * run-time library does an atomic access for us: it would wait for a lock that the interrupted access holds. */
#if __has_attribute(disable_sanitizer_instrumentation)
#define VTR_UNINSTRUMENTED __attribute__((disable_sanitizer_instrumentation, noinline))
#else
#define VTR_UNINSTRUMENTED
#endif

VTR_UNINSTRUMENTED static uint16_t load_acquire(const uint16_t *field)
{
	return __atomic_load_n(field, __ATOMIC_ACQUIRE);
}

VTR_UNINSTRUMENTED static void store_release(uint16_t *field, uint16_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELEASE);
}

int vtr_ring_load16(struct vtr_ring *ring, uint32_t offset, uint16_t *value)
{
	const uint16_t *field = atomic_field(ring, offset);
	uint16_t raw;
	int ret;

	if (field) {
		*value = le16toh(load_acquire(field));
		return 0;
	}
	ret = vtr_ring_read(ring, offset, &raw, sizeof(raw));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (ret == 0)
		*value = le16toh(raw);
	return ret;
}

int vtr_ring_store16(struct vtr_ring *ring, uint32_t offset, uint16_t value)
{
	uint16_t *field = atomic_field(ring, offset);
	const uint16_t raw = htole16(value);

	if (field) {
		store_release(field, raw);
		return 0;
	}
	__atomic_thread_fence(__ATOMIC_RELEASE);
	return vtr_ring_write(ring, offset, &raw, sizeof(raw));
}
