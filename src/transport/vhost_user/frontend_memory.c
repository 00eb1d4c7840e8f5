/* SPDX-License-Identifier: MIT */
/*
 * The memory that the back-end was told of (memory_table.h), and what stands for its addresses in messages.
 *
 * With CONFIGURE_MEM_SLOTS regions come and go one by one; without, every change is the whole table again, with all its fds. Either
 * way a region is in our table while the back-end may use it: from the request that tells of it on, and until it is done with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include "transport/vhost_user/frontend.h"

bool vtr_vhost_user_message_address(const struct vtr_vhost_user_frontend *frontend, uint64_t address, uint64_t *in_messages,
                                    uint64_t *left)
{
	uint64_t offset;
	const struct vtr_vhost_user_mem_region *region = vtr_vhost_user_mem_table_find_gpa(&frontend->memory, address, &offset);

	if (!region)
		return false;
	*in_messages = (frontend->memory.gpa_addresses ? region->gpa : region->uaddr) + offset;
	*left = region->size - offset;
	return true;
}

static struct vhost_user_memory_region describe(const struct vtr_vhost_user_frontend *frontend,
                                                const struct vtr_vhost_user_mem_region *region)
{
	return (struct vhost_user_memory_region){
		.guest_phys_addr = region->gpa,
		.memory_size = region->size,
		.userspace_addr = frontend->memory.gpa_addresses ? region->gpa : region->uaddr,
		.mmap_offset = region->offset,
	};
}

/* SET_MEM_TABLE of all regions but `without` (may be NULL). */
static int tell_table(struct vtr_vhost_user_frontend *frontend, const struct vtr_vhost_user_mem_region *without)
{
	struct vhost_user_memory memory = { 0 };
	int fds[VHOST_USER_MEMORY_BASELINE_NREGIONS];

	for (size_t i = 0; i < frontend->memory.count; i++) {
		const struct vtr_vhost_user_mem_region *region = &frontend->memory.regions[i];

		if (region == without)
			continue;
		memory.regions[memory.nregions] = describe(frontend, region);
		fds[memory.nregions++] = region->fd;
	}
	size_t size = offsetof(struct vhost_user_memory, regions) + memory.nregions * sizeof(memory.regions[0]);
	return vtr_vhost_user_tell(frontend, VHOST_USER_SET_MEM_TABLE, &memory, size, fds, memory.nregions);
}

static int tell_region(struct vtr_vhost_user_frontend *frontend, uint32_t request, const struct vtr_vhost_user_mem_region *region)
{
	const struct vhost_user_mem_reg message = { .region = describe(frontend, region) };

	return vtr_vhost_user_tell(frontend, request, &message, sizeof(message), &region->fd, request == VHOST_USER_ADD_MEM_REG);
}

static bool uses_slots(const struct vtr_vhost_user_frontend *frontend)
{
	return vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
}

int vtr_vhost_user_frontend_add_memory(struct vtr_vhost_user_frontend *frontend, uint64_t address, uint64_t size,
                                       uint64_t user_address, int fd, uint64_t offset)
{
	const struct vhost_user_memory_region description = { address, size, user_address, offset };
	struct vtr_vhost_user_mem_table *table = &frontend->memory;

	if (frontend->serving)
		return -EBUSY;
	if (fd < 0)
		return -EINVAL;
	if (table->count >= frontend->max_slots)
		return -ENOSPC;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	int error = vtr_vhost_user_mem_table_add(table, &description, own);
	if (error)
		return error;
	struct vtr_vhost_user_mem_region *region = &table->regions[table->count - 1];
	error = uses_slots(frontend) ? tell_region(frontend, VHOST_USER_ADD_MEM_REG, region) : tell_table(frontend, NULL);
	if (error)
		vtr_vhost_user_mem_table_remove(table, region);
	return error;
}

int vtr_vhost_user_frontend_remove_memory(struct vtr_vhost_user_frontend *frontend, uint64_t address, uint64_t size)
{
	struct vtr_vhost_user_mem_table *table = &frontend->memory;
	struct vtr_vhost_user_mem_region *region = NULL;

	for (size_t i = 0; i < table->count; i++)
		if (table->regions[i].gpa == address && table->regions[i].size == size)
			region = &table->regions[i];
	if (!region)
		return -ENOENT;
	int error = uses_slots(frontend) ? tell_region(frontend, VHOST_USER_REM_MEM_REG, region) : tell_table(frontend, region);
	if (!error)
		vtr_vhost_user_mem_table_remove(table, region);
	return error;
}
