/* SPDX-License-Identifier: MIT */
/*
 * The memory table, and what it makes of the memory map.
 *
 * Each slot is a region of the map at its guest-physical address. A table that replaces another is compared with it first: slots
 * that stay the same stay in the map, because what was made of them (dmabufs, views, a frame on a screen) would go with them.
 * Everything that goes has gone before the front-end gets its acknowledgement, and goes before anything comes: a slot that has
 * grown or moved overlaps with itself.
 *
 * A new table is made and checked as a whole, files included, before any of it counts.
 *
 * With ACCESS_PLATFORM the map belongs to the IOTLB (iotlb.c): slots are what its translations lead to, and a slot that goes takes
 * those with it.
 */
#include "transport/vhost_user/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "must duplicate guest address field" */
static bool addresses_fit(const struct vtr_vhost_user_server *server, const struct vhost_user_memory_region *region)
{
	return !vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_GPA_ADDRESSES) ||
	       region->userspace_addr == region->guest_phys_addr;
}

static int map(struct vtr_vhost_user_server *server, const struct vtr_vhost_user_mem_region *slot)
{
	if (server->iotlb.active)
		return 0;
	return vtr_memory_add_file(server->memory, slot->gpa, slot->size, slot->file, slot->offset, true);
}

static void unmap(struct vtr_vhost_user_server *server, const struct vtr_vhost_user_mem_region *slot)
{
	if (server->iotlb.active)
		vtr_vhost_user_iotlb_forget_region(&server->iotlb, slot);
	else
		vtr_memory_remove(server->memory, slot->gpa, slot->size);
}

void vtr_vhost_user_remove_memory(struct vtr_vhost_user_server *server)
{
	vtr_vhost_user_iotlb_set_active(&server->iotlb, false);
	vtr_memory_remove_all(server->memory);
	vtr_vhost_user_mem_table_clear(&server->table);
}

int vtr_vhost_user_set_platform(struct vtr_vhost_user_server *server, bool platform)
{
	const bool was_active = server->iotlb.active;
	int error = vtr_vhost_user_iotlb_set_active(&server->iotlb, platform);

	for (size_t i = 0; was_active && !error && !platform && i < server->table.count; i++)
		error = map(server, &server->table.regions[i]);
	return error;
}

int vtr_vhost_user_iotlb_msg(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return vtr_vhost_user_iotlb_message(&server->iotlb, request->payload);
}

/* ---- the whole table ---- */

/* The regions of the message as a table. Takes their fds. */
static int make_table(struct vtr_vhost_user_server *server, struct vtr_message *message, const struct vhost_user_memory *wanted,
                      struct vtr_vhost_user_mem_table *table)
{
	int error = 0;

	vtr_vhost_user_mem_table_init(table, server->memory);
	table->gpa_addresses = server->table.gpa_addresses;
	for (uint32_t i = 0; !error && i < wanted->nregions; i++) {
		error = -EINVAL;
		if (addresses_fit(server, &wanted->regions[i]))
			error = vtr_vhost_user_mem_table_add(table, &wanted->regions[i], vtr_message_take_fd(message, i));
	}
	if (error)
		vtr_vhost_user_mem_table_clear(table);
	return error;
}

/* The same memory at the same place in the guest: where the front-end has it may be another thing. */
static bool is_in(const struct vtr_vhost_user_mem_table *table, const struct vtr_vhost_user_mem_region *slot)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct vtr_vhost_user_mem_region *other = &table->regions[i];

		if (other->gpa == slot->gpa && other->size == slot->size && other->file == slot->file &&
		    other->offset == slot->offset)
			return true;
	}
	return false;
}

/* Takes what is in table. */
static int replace_table(struct vtr_vhost_user_server *server, struct vtr_vhost_user_mem_table *table)
{
	struct vtr_vhost_user_mem_table *old = &server->table;
	int result = 0;

	for (size_t i = 0; i < old->count; i++)
		if (!is_in(table, &old->regions[i]))
			unmap(server, &old->regions[i]);
	for (size_t i = 0; i < table->count; i++) {
		int error = is_in(old, &table->regions[i]) ? 0 : map(server, &table->regions[i]);

		result = result ? result : error;
	}
	vtr_vhost_user_mem_table_clear(old);
	*old = *table;
	return result;
}

int vtr_vhost_user_set_mem_table(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vhost_user_memory wanted = { 0 };

	memcpy(&wanted, request->payload, request->size);
	if (wanted.nregions > VHOST_USER_MEMORY_BASELINE_NREGIONS ||
	    request->size < offsetof(struct vhost_user_memory, regions) + wanted.nregions * sizeof(wanted.regions[0]))
		return -EPROTO;
	if (request->message->n_fds != wanted.nregions)
		return -EINVAL;
	struct vtr_vhost_user_mem_table *table = malloc(sizeof(*table));
	if (!table)
		return -ENOMEM;
	int error = make_table(server, request->message, &wanted, table);
	if (!error)
		error = replace_table(server, table);
	free(table);
	return error;
}

/* ---- slot by slot ---- */

static struct vhost_user_memory_region decode_region(const struct vtr_vhost_user_request *request)
{
	struct vhost_user_mem_reg single;

	memcpy(&single, request->payload, sizeof(single));
	return single.region;
}

int vtr_vhost_user_add_mem_reg(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	const struct vhost_user_memory_region region = decode_region(request);
	struct vtr_vhost_user_mem_table *table = &server->table;

	if (!addresses_fit(server, &region))
		return -EINVAL;
	int error = vtr_vhost_user_mem_table_add(table, &region, vtr_message_take_fd(request->message, 0));
	if (error)
		return error;
	error = map(server, &table->regions[table->count - 1]);
	if (error)
		vtr_vhost_user_mem_table_remove(table, &table->regions[table->count - 1]);
	return error;
}

int vtr_vhost_user_rem_mem_reg(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	const struct vhost_user_memory_region region = decode_region(request);
	struct vtr_vhost_user_mem_region *slot = vtr_vhost_user_mem_table_match(&server->table, &region);

	if (!slot)
		return -ENOENT;
	unmap(server, slot);
	vtr_vhost_user_mem_table_remove(&server->table, slot);
	return 0;
}
