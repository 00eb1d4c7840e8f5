/* SPDX-License-Identifier: MIT */
#ifndef VTR_VIRTIO_RING_H
#define VTR_VIRTIO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/memory.h>

/*
 * One area of a split virtqueue (descriptor table, driver area or device area; virtio 1.3, 2.7) in guest memory. The CPU address is
 * remembered for one generation of the memory map and used where the whole area is contiguous in mapped memory; anything else
 * (remote memory, an area across two regions, a field that is not aligned) goes through the memory map byte by byte.
 */
struct vtr_ring {
	struct vtr_memory *memory;
	uint64_t address; /* guest address */
	uint32_t length;  /* bytes */
	bool writable;    /* the device writes here */

	uint64_t generation; /* of the memory map that data was made from; 0: never */
	uint8_t *data;       /* NULL: no direct access */
};

void vtr_ring_init(struct vtr_ring *ring, struct vtr_memory *memory, uint64_t address, uint32_t length, bool writable);

/* Little-endian 16-bit fields; load has acquire, store release semantics towards the driver's CPUs.
 * 0; -EFAULT outside the area; -errno as vtr_memory_read() and vtr_memory_write(). */
int vtr_ring_load16(struct vtr_ring *ring, uint32_t offset, uint16_t *value);
int vtr_ring_store16(struct vtr_ring *ring, uint32_t offset, uint16_t value);

/* Plain bytes, copied once, in no particular order to one another. Errors as above. */
int vtr_ring_read(struct vtr_ring *ring, uint32_t offset, void *buffer, size_t length);
int vtr_ring_write(struct vtr_ring *ring, uint32_t offset, const void *buffer, size_t length);

/* True when vtr_ring_read() is a copy and not a request to the VMM. */
bool vtr_ring_is_direct(struct vtr_ring *ring);

#endif
