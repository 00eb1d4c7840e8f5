/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_AREA_H
#define VTR_GUEST_AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>

/*
 * One piece of guest memory: a memfd (sealed against shrinking) at a guest address, mapped here, and an arena allocator over it.
 * The memory of an assigned device is in whatever its process has it. Freeing is going back to a mark: whoever allocates for a
 * while (one check, one bench row) remembers `used` and puts it back.
 */
struct vtr_guest_area {
	uint64_t address, size;
	uint64_t used;                 /* bytes from the start that are allocated */
	int fd;                        /* what DMA_MAP carries: memfd, or -1 when the device gets no fd */
	int memfd;                     /* owned; -1: memory of somebody else */
	uint8_t *data;                 /* NULL: cannot be mapped, bytes go by messages (vtr_guest_write()) */
	bool mapped;                   /* the device has it */
	bool pieces;                   /* see vtr_guest_area_piece() */
	struct vtr_fault_guard *guard; /* of memory of somebody else */
};

/* Behind an IOMMU the address is an IOVA, and the file's pieces of this size are mixed: piece i of the IOVAs, and of data, is piece
 * vtr_guest_area_piece(area, i) of the file. */
enum { VTR_GUEST_IOMMU_PIECE = 262144 };
uint64_t vtr_guest_area_piece(const struct vtr_guest_area *area, uint64_t i);

/* The area of this kind, empty, at its usual address and size, in pieces or not. 0 or -errno. */
int vtr_guest_area_init(struct vtr_guest_area *area, enum vtr_guest_memory kind, bool pieces);
/* An area over size bytes at offset of a file of somebody else (borrowed), at no address yet. 0 or -errno. */
int vtr_guest_area_init_file(struct vtr_guest_area *area, uint64_t size, int fd, uint64_t offset);
void vtr_guest_area_finish(struct vtr_guest_area *area);

/* The guest address of size bytes (contents undefined), or 0 when the area is full. alignment: a power of two. */
uint64_t vtr_guest_area_alloc(struct vtr_guest_area *area, uint64_t size, uint64_t alignment);

/* Where [address, address + length) is mapped here, or NULL when it is not all inside. */
void *vtr_guest_area_data(const struct vtr_guest_area *area, uint64_t address, uint64_t length);

#endif
