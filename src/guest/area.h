/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_AREA_H
#define VTR_GUEST_AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>

/*
 * One piece of guest memory: a memfd (sealed against shrinking) at a guest address, mapped here, and an arena allocator over it.
 * Freeing is going back to a mark: whoever allocates for a while (one check, one bench row) remembers `used` and puts it back.
 */
struct vtr_guest_area {
	uint64_t address, size;
	uint64_t used; /* bytes from the start that are allocated */
	int fd;        /* what DMA_MAP carries: memfd, or -1 when the device gets no fd */
	int memfd;     /* owned */
	uint8_t *data;
	bool mapped; /* the device has it */
};

/* The area of this kind, empty, at its usual address and size. 0 or -errno. */
int vtr_guest_area_init(struct vtr_guest_area *area, enum vtr_guest_memory kind);
void vtr_guest_area_finish(struct vtr_guest_area *area);

/* The guest address of size bytes (contents undefined), or 0 when the area is full. alignment: a power of two. */
uint64_t vtr_guest_area_alloc(struct vtr_guest_area *area, uint64_t size, uint64_t alignment);

/* Where [address, address + length) is mapped here, or NULL when it is not all inside. */
void *vtr_guest_area_data(const struct vtr_guest_area *area, uint64_t address, uint64_t length);

#endif
