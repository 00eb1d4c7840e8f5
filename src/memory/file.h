/* SPDX-License-Identifier: MIT */
#ifndef VTR_MEMORY_FILE_H
#define VTR_MEMORY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vitrine/dmabuf.h>
#include <vitrine/memory.h>

/*
 * The files behind regions. A VMM sends one fd per DMA region, but most are the same few files: guest RAM in pieces, and behind a
 * virtual IOMMU a region per page. Regions of one file share one fd and one mapping of all of it.
 */
struct vtr_memory_file {
	struct vtr_memory_file *next;   // vtr_memory_files.first
	struct vtr_memory_files *files; // NULL when it is not shared
	uint32_t refs;
	int fd; // owned
	dev_t device;
	ino_t inode;
	bool writable;             // mapped for writing: opened for it, and not sealed against it
	enum vtr_region_kind kind; // VTR_REGION_RAM, VTR_REGION_WINDOW, or VTR_REGION_VFIO: of a device (device.c)
	bool bracketed;            // reads need vtr_dmabuf_begin_cpu() and _end_cpu(): the mapping of a dmabuf
	size_t page;               // page size of the file (hugetlbfs: large)
	uint64_t start, length;    // what is mapped: bytes of the file; of a window what is there
	uint8_t *data;             // the mapping; NULL for a window
	struct vtr_fault_guard *guard;
	struct vtr_dmabuf_cpu cpu; // of a window: how the CPU may look through it
};

/* The shared files of one memory map. */
struct vtr_memory_files {
	struct vtr_memory_file *first;
	size_t count;
};

/*
 * The file behind fd (taken, also on failure), with one reference more; it holds [offset, offset + size) and is mapped when it is
 * RAM. files: where to look for a shared one, or NULL for a file of its own. NULL with *code a positive errno: EINVAL, ENOMEM or
 * ENOSPC (VTR_MAX_FILES), as vtr_memory_add() says.
 */
struct vtr_memory_file *vtr_memory_file_open(struct vtr_memory_files *files, int fd, uint64_t offset, uint64_t size, int *code);

/* The last reference unmaps and closes. NULL is fine. */
void vtr_memory_file_unref(struct vtr_memory_file *file);

/* file.c: as many bytes as the mapping of length bytes takes. */
size_t vtr_memory_file_mapped(const struct vtr_memory_file *file);

/* device.c: a window whose dmabuf may be mapped: its mapping, as that of a device's memory, with one reference. NULL when it may
 * not be. Fills window->cpu. */
struct vtr_memory_file *vtr_memory_file_map_window(struct vtr_memory_file *window);

/* device.c: maps a device's memory again, where a fault has replaced it. Whether it can be read now shows when it is. 0, or -EFAULT
 * when not even that is possible. */
int vtr_memory_file_restore(struct vtr_memory_file *file);

#endif
