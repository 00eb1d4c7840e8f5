/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_SAVED_LAYOUT_H
#define VTR_GPU_SAVED_LAYOUT_H

#include <assert.h>
#include <linux/virtio_gpu.h>
#include <stdint.h>

#include <vitrine/limits.h>
#include <vitrine/memory.h>

#include "gpu/saved.h"

/*
 * What saved.c keeps in memory. The fields that end in "change number" say since when, or until when, the rest counts: from the
 * moment on when the header's `committed` has reached that number.
 */
enum {
	VTR_SAVED_VERSION = 1, /* changes with anything below */
	VTR_SAVED_QUEUES = 2,
	VTR_SAVED_BLOCK = 63, /* mem entries of a block */
	/* every resource may have a last block that is almost empty */
	VTR_SAVED_BLOCKS = VTR_MAX_TOTAL_ENTRIES / VTR_SAVED_BLOCK + VTR_MAX_RESOURCES,
};

/* No honest device comes near it. */
#define VTR_SAVED_MAX_CHANGE (UINT64_C(1) << 62)

struct vtr_saved_header {
	char magic[8]; /* VTR_SAVED_MAGIC, or zeros: nothing is saved */
	uint32_t version;
	uint32_t n_resources; /* slots that were ever used are below */
	uint64_t committed;   /* change number */
	uint64_t reserved[5];
};
static_assert(sizeof(struct vtr_saved_header) == 64, "a cache line");

#define VTR_SAVED_MAGIC "vtrgpu\r\n"

/* The chain that had this ticket when it began at the descriptor: its command was carried out by that change. */
struct vtr_saved_mark {
	uint64_t ticket;
	uint64_t change; /* change number */
};

struct vtr_saved_scanout {
	uint64_t change; /* change number */
	union {
		struct virtio_gpu_ctrl_hdr hdr; /* type 0: nothing was ever set */
		struct virtio_gpu_set_scanout set;
		struct virtio_gpu_set_scanout_blob set_blob;
	} command;
};

struct vtr_saved_cursor {
	uint64_t change;                         /* change number */
	struct virtio_gpu_update_cursor command; /* hdr.type 0: nothing was ever set */
};

struct vtr_saved_resource {
	uint64_t created, destroyed; /* change numbers, 0: not */
	uint64_t attached, detached; /* change numbers of the backing */
	uint64_t named;              /* change number of the UUID */
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_resource_create_2d create_2d;
		struct virtio_gpu_resource_create_blob create_blob;
	} command;
	uint32_t n_entries;
	uint32_t first_block; /* and on from there by next */
	uint8_t uuid[16];
	uint64_t reserved;
};
static_assert(sizeof(struct vtr_saved_resource) == 128, "two cache lines");

struct vtr_saved_block {
	struct vtr_mem_entry entries[VTR_SAVED_BLOCK];
	uint32_t next; /* block of the same backing */
	uint32_t reserved[3];
};
static_assert(sizeof(struct vtr_saved_block) == 1024, "blocks do not straddle pages");

struct vtr_saved_area {
	struct vtr_saved_header header;
	struct vtr_saved_mark marks[VTR_SAVED_QUEUES][VTR_MAX_QUEUE_SIZE];
	/* two of each: the one with the higher change number that counts, counts */
	struct vtr_saved_scanout scanouts[VTR_MAX_SCANOUTS][2];
	struct vtr_saved_cursor cursors[VTR_MAX_SCANOUTS][2];
	struct vtr_saved_resource resources[VTR_MAX_RESOURCES];
	struct vtr_saved_block blocks[VTR_SAVED_BLOCKS];
};

/* Numbers that can be taken, lowest first as long as none was given back. */
struct vtr_saved_pool {
	uint32_t *free; /* a stack */
	uint32_t n_free;
	uint32_t reserved; /* there are pages for the numbers below */
};

/* What we know of a resource in the area without reading it again. */
struct vtr_saved_slot {
	uint32_t n_entries; /* 0: no backing */
	uint32_t first_block;
	bool named;
};

struct vtr_saved {
	struct vtr_saved_memory *memory; /* NULL: given up */
	struct vtr_saved_area *area;
	uint64_t committed;
	bool noted;                                              /* there is something to commit */
	uint64_t executed[VTR_SAVED_QUEUES][VTR_MAX_QUEUE_SIZE]; /* tickets of marks that were found */

	struct vtr_saved_pool resources, blocks;
	struct vtr_saved_slot slots[VTR_MAX_RESOURCES];
	uint32_t next[VTR_SAVED_BLOCKS]; /* as in the blocks */
	uint32_t released_slot;          /* by the change that is not committed yet: + 1, or 0 */
	struct vtr_saved_slot released;

	struct vtr_saved_scanout scanouts[VTR_MAX_SCANOUTS]; /* as they are now */
	struct vtr_saved_cursor cursors[VTR_MAX_SCANOUTS];
	unsigned scanout_copy[VTR_MAX_SCANOUTS], cursor_copy[VTR_MAX_SCANOUTS]; /* where that is */
};

/* Makes an object over memory, which it has not looked at: nothing is taken. NULL with errno. */
struct vtr_saved *vtr_saved_new(struct vtr_saved_memory *memory);

#endif
