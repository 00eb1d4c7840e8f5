/* SPDX-License-Identifier: MIT */
#ifndef VTR_MEMORY_REGION_H
#define VTR_MEMORY_REGION_H

#include <vitrine/memory.h>

/*
 * One region: what its fd is, its mapping, its references. Private to src/memory; what others may see is struct vtr_region.
 */

/* What remote regions and windows ask; embedded in struct vtr_memory. */
struct vtr_remote {
	const struct vtr_remote_impl *impl; // may be NULL
	void *data;
};

/* A region of size bytes (not 0) at offset of fd, or of remote memory when fd is -1, with one reference. Takes fd (also on
 * failure). NULL with *code a positive errno: EINVAL or ENOMEM, as vtr_memory_add() says. */
struct vtr_region *vtr_region_create(struct vtr_memory *memory, uint64_t address, uint64_t size, int fd, uint64_t offset,
                                     bool writable, int *code);

/* Takes the contents away: the file is let go, every later access fails with -EFAULT. References are not touched. */
void vtr_region_revoke(struct vtr_region *region);

/* Drops one reference, or one span's; the last of both frees (and revokes). */
void vtr_region_unref(struct vtr_region *region);
void vtr_region_drop_span(struct vtr_region *region);

/* Copies bytes inside the region (the caller has checked the range). Errors as vtr_memory_read() and vtr_memory_write(); after
 * -ECANCELED everything that hangs from the map may be gone. ahead NULL: an ordinary copy; otherwise what will be read next, and
 * the copy is one of copy.h, which the caller ends. */
int vtr_region_read(struct vtr_region *region, uint64_t offset, void *buffer, size_t length, const void *ahead);
/* May bytes be asked for, also where there is a mapping? 0, or -EFAULT (removed), -ENOTCONN, -EOPNOTSUPP as vtr_spans_fetch(). */
int vtr_region_may_fetch(const struct vtr_region *region);
int vtr_region_write(struct vtr_region *region, uint64_t offset, const void *buffer, size_t length);

/* The region that holds address, or NULL. No reference is taken. */
struct vtr_region *vtr_memory_find(struct vtr_memory *memory, uint64_t address);

const struct vtr_remote *vtr_memory_remote(const struct vtr_memory *memory);
struct vtr_memory_files *vtr_memory_files(struct vtr_memory *memory);

#endif
