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

/* The same at offset of file, which reaches that far, and is not taken. NULL when out of memory. */
struct vtr_region *vtr_region_create_in_file(struct vtr_memory *memory, uint64_t address, uint64_t size,
                                             struct vtr_memory_file *file, uint64_t offset, bool writable);

/* A region of kind VTR_REGION_VFIO at offset of a device's fd, which file has mapped, with one reference. NULL when out of memory.
 */
struct vtr_region *vtr_region_create_device(struct vtr_memory *memory, uint64_t address, uint64_t size,
                                            struct vtr_memory_file *file, uint64_t offset);
/* Gives a region without a mapping of its own one of a device's memory at offset of its fd, instead of the one it has. NULL: none.
 */
void vtr_region_set_device(struct vtr_region *region, struct vtr_memory_file *file, uint64_t offset);
/* Whether its CPU mapping is that of a device's fd. */
bool vtr_region_is_device(const struct vtr_region *region);
/* Whether its CPU mapping is like that of a device, through whichever fd: uncached, for reading only, and it may be away. */
bool vtr_region_is_device_memory(const struct vtr_region *region);
/* Whether that is file, at offset of the device's fd. */
bool vtr_region_is_device_at(const struct vtr_region *region, const struct vtr_memory_file *file, uint64_t offset);

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

/* The first region that ends behind address, or holds it; NULL. */
struct vtr_region *vtr_memory_next(const struct vtr_memory *memory, uint64_t address);

/* Puts region (taken) where nothing is, and tells the listeners. 0 or -ENOMEM. */
int vtr_memory_insert(struct vtr_memory *memory, struct vtr_region *region);
/* Tells the listeners and takes the region out, unless one of them did. */
void vtr_memory_take_out(struct vtr_memory *memory, struct vtr_region *region);
size_t vtr_memory_count(const struct vtr_memory *memory);
uint64_t vtr_memory_hits(const struct vtr_memory *memory);

/* The IOMMU in front of the map, or NULL; who sets it owns it. */
struct vtr_iommu *vtr_memory_iommu(const struct vtr_memory *memory);
void vtr_memory_install_iommu(struct vtr_memory *memory, struct vtr_iommu *iommu);

const struct vtr_remote *vtr_memory_remote(const struct vtr_memory *memory);
/* Asks who knows the devices to bring them up to date: true when the map has changed. */
bool vtr_memory_update(struct vtr_memory *memory);
/* Tells who knows the devices that one could not be read, or can be again. */
void vtr_memory_device_fault(const struct vtr_memory *memory);
struct vtr_memory_files *vtr_memory_files(struct vtr_memory *memory);

#endif
