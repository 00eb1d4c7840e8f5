/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_MEMORY_TABLE_H
#define VTR_VHOST_USER_MEMORY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/limits.h>
#include <vitrine/memory.h>

#include "transport/vhost_user/protocol.h"

/*
 * The memory that a front-end shares: SET_MEM_TABLE, ADD_MEM_REG and REM_MEM_REG. Each piece has two addresses: the guest's
 * physical one, and the front-end's own ("user address"), by which its messages name memory unless GPA_ADDRESSES is negotiated.
 * Pieces do not overlap in the guest, nor in the front-end.
 */
struct vtr_vhost_user_mem_region {
	uint64_t gpa;                 /* guest-physical address */
	uint64_t size;                /* bytes, not 0 */
	uint64_t uaddr;               /* of the front-end; means nothing with GPA_ADDRESSES */
	uint64_t offset;              /* of the first byte in the file */
	int fd;                       /* what came along, owned; -1 in a back-end's table, where file has it */
	struct vtr_memory_file *file; /* in a back-end's table: what fd was; else NULL */
};

struct vtr_vhost_user_mem_table {
	struct vtr_memory *memory; /* a back-end's map, whose regions share their files; NULL in a front-end */
	bool gpa_addresses;        /* GPA_ADDRESSES: user addresses are not used */
	struct vtr_vhost_user_mem_region regions[VTR_MAX_MEM_SLOTS];
	size_t count;
};

/* memory: a back-end's map, used and not owned. Nothing is added to it here. NULL: a front-end's table, whose fds are only kept. */
void vtr_vhost_user_mem_table_init(struct vtr_vhost_user_mem_table *table, struct vtr_memory *memory);
void vtr_vhost_user_mem_table_clear(struct vtr_vhost_user_mem_table *table); /* all regions; the table can be filled again */

/* Adds what the message says. Takes fd (also on failure). 0; -EINVAL (size 0, an address or the offset wraps, or in a back-end's
 * table fd is no memory of that size: vtr_memory_open()), -EEXIST (overlaps another region), -ENOSPC (VTR_MAX_MEM_SLOTS), or
 * another error of vtr_memory_open(). */
int vtr_vhost_user_mem_table_add(struct vtr_vhost_user_mem_table *table, const struct vhost_user_memory_region *message, int fd);

/* The region that the message names by its guest address, size and (without GPA_ADDRESSES) user address; the offset is not
 * compared. NULL: there is none. */
struct vtr_vhost_user_mem_region *vtr_vhost_user_mem_table_match(struct vtr_vhost_user_mem_table *table,
                                                                 const struct vhost_user_memory_region *message);
/* Ends one region: its place in the table is another one's from now on. */
void vtr_vhost_user_mem_table_remove(struct vtr_vhost_user_mem_table *table, struct vtr_vhost_user_mem_region *region);

/* The region that holds address as the messages name memory: a user address, or with GPA_ADDRESSES a guest-physical one. *offset
 * (may be NULL): of address in the region. NULL: there is none. Valid until the table changes. */
const struct vtr_vhost_user_mem_region *vtr_vhost_user_mem_table_find(const struct vtr_vhost_user_mem_table *table,
                                                                      uint64_t address, uint64_t *offset);
/* The same by guest-physical address. */
const struct vtr_vhost_user_mem_region *vtr_vhost_user_mem_table_find_gpa(const struct vtr_vhost_user_mem_table *table,
                                                                          uint64_t address, uint64_t *offset);
/* The guest-physical address of size bytes that messages name by address, all in one region: 0, or -EFAULT. */
int vtr_vhost_user_mem_table_to_gpa(const struct vtr_vhost_user_mem_table *table, uint64_t address, uint64_t size, uint64_t *gpa);

#endif
