/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/memory_table.h"

#include <errno.h>

#include "util/checked.h"
#include "util/fd.h"

/*
 * A table of at most VTR_MAX_MEM_SLOTS regions, in no order: a VMM has a handful, one for each piece of RAM that it plugged.
 * Looking one up is a walk over the array with two comparisons each.
 *
 * In a back-end the file behind a region is opened when the region is added, so that what cannot be memory is refused in the reply
 * to the very message, and regions of one file share it (memory/file.c). A front-end knows what its fds are.
 */

void vtr_vhost_user_mem_table_init(struct vtr_vhost_user_mem_table *table, struct vtr_memory *memory)
{
	*table = (struct vtr_vhost_user_mem_table){ .memory = memory };
}

static void finish(struct vtr_vhost_user_mem_region *region)
{
	vtr_memory_close(region->file);
	vtr_fd_close(&region->fd);
}

void vtr_vhost_user_mem_table_clear(struct vtr_vhost_user_mem_table *table)
{
	while (table->count)
		finish(&table->regions[--table->count]);
}

/* Does [address, address + size) wrap? Its end may be 2^64. */
static bool wraps(uint64_t address, uint64_t size)
{
	return size - 1 > UINT64_MAX - address;
}

/* 0 or -errno. */
static int check(const struct vtr_vhost_user_mem_table *table, const struct vhost_user_memory_region *message)
{
	const uint64_t size = message->memory_size;

	if (!size || wraps(message->guest_phys_addr, size) || wraps(message->mmap_offset, size) ||
	    (!table->gpa_addresses && wraps(message->userspace_addr, size)))
		return -EINVAL;
	for (size_t i = 0; i < table->count; i++) {
		const struct vtr_vhost_user_mem_region *region = &table->regions[i];

		if (vtr_ranges_overlap(region->gpa, region->size, message->guest_phys_addr, size) ||
		    (!table->gpa_addresses && vtr_ranges_overlap(region->uaddr, region->size, message->userspace_addr, size)))
			return -EEXIST;
	}
	return table->count < VTR_MAX_MEM_SLOTS ? 0 : -ENOSPC;
}

int vtr_vhost_user_mem_table_add(struct vtr_vhost_user_mem_table *table, const struct vhost_user_memory_region *message, int fd)
{
	struct vtr_vhost_user_mem_region region = {
		.gpa = message->guest_phys_addr,
		.size = message->memory_size,
		.uaddr = message->userspace_addr,
		.offset = message->mmap_offset,
		.fd = fd,
	};
	int error = check(table, message);

	if (error || fd < 0) {
		vtr_fd_close(&region.fd);
		return error ? error : -EINVAL;
	}
	if (table->memory) {
		region.fd = -1;
		region.file = vtr_memory_open(table->memory, fd, region.offset, region.size);
		if (!region.file)
			return -errno;
	}
	table->regions[table->count++] = region;
	return 0;
}

struct vtr_vhost_user_mem_region *vtr_vhost_user_mem_table_match(struct vtr_vhost_user_mem_table *table,
                                                                 const struct vhost_user_memory_region *message)
{
	for (size_t i = 0; i < table->count; i++) {
		struct vtr_vhost_user_mem_region *region = &table->regions[i];

		if (region->gpa == message->guest_phys_addr && region->size == message->memory_size &&
		    (table->gpa_addresses || region->uaddr == message->userspace_addr))
			return region;
	}
	return NULL;
}

void vtr_vhost_user_mem_table_remove(struct vtr_vhost_user_mem_table *table, struct vtr_vhost_user_mem_region *region)
{
	finish(region);
	*region = table->regions[--table->count];
}

static const struct vtr_vhost_user_mem_region *find(const struct vtr_vhost_user_mem_table *table, uint64_t address, bool gpa,
                                                    uint64_t *offset)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct vtr_vhost_user_mem_region *region = &table->regions[i];
		const uint64_t start = gpa ? region->gpa : region->uaddr;

		if (address < start || address - start >= region->size)
			continue;
		if (offset)
			*offset = address - start;
		return region;
	}
	return NULL;
}

const struct vtr_vhost_user_mem_region *vtr_vhost_user_mem_table_find(const struct vtr_vhost_user_mem_table *table,
                                                                      uint64_t address, uint64_t *offset)
{
	return find(table, address, table->gpa_addresses, offset);
}

const struct vtr_vhost_user_mem_region *vtr_vhost_user_mem_table_find_gpa(const struct vtr_vhost_user_mem_table *table,
                                                                          uint64_t address, uint64_t *offset)
{
	return find(table, address, true, offset);
}

int vtr_vhost_user_mem_table_to_gpa(const struct vtr_vhost_user_mem_table *table, uint64_t address, uint64_t size, uint64_t *gpa)
{
	uint64_t offset;
	const struct vtr_vhost_user_mem_region *region = vtr_vhost_user_mem_table_find(table, address, &offset);

	if (!region || !vtr_range_fits(offset, size, region->size))
		return -EFAULT;
	*gpa = region->gpa + offset;
	return 0;
}
