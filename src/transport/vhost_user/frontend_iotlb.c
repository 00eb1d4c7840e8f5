/* SPDX-License-Identifier: MIT */
/*
 * The translation table that the device's IOTLB caches: a VMM's virtual IOMMU as the back-end gets to see it.
 *
 * The back-end asks for an address that it does not know (a miss), is answered with an update, and is told when an entry is no
 * longer true (an invalidation), which it has to acknowledge. An entry may span several pieces of memory, which have nothing to do
 * with each other in messages: an update ends where its piece does, and the back-end asks for the rest.
 *
 * A miss that somebody else has to find an answer for is held until there is one. The table is an array sorted by iova: looked up a
 * lot, changed seldom.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/vhost_user/frontend.h"
#include "util/checked.h"

enum { FIRST_CAPACITY = 64 };

/* The first entry that ends behind iova; n_table when there is none. */
static size_t find_entry(const struct vtr_vhost_user_frontend *frontend, uint64_t iova)
{
	size_t low = 0, high = frontend->n_table;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct vtr_vhost_user_translation *entry = &frontend->table[middle];

		if (entry->iova + (entry->size - 1) < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool covers(const struct vtr_vhost_user_frontend *frontend, size_t i, uint64_t iova)
{
	return i < frontend->n_table && frontend->table[i].iova <= iova;
}

static bool permits(const struct vtr_vhost_user_translation *entry, uint8_t perm)
{
	return entry->writable || !(perm & VHOST_USER_IOTLB_ACCESS_WO);
}

/* Answers a miss with the part of the entry that iova is in. 0; -EFAULT: no memory is there; or an error of the connection. */
static int answer(struct vtr_vhost_user_frontend *frontend, const struct vtr_vhost_user_translation *entry, uint64_t iova)
{
	struct vhost_user_iotlb update = { .type = VHOST_USER_IOTLB_UPDATE,
		                           .perm = entry->writable ? VHOST_USER_IOTLB_ACCESS_RW : VHOST_USER_IOTLB_ACCESS_RO };
	uint64_t offset = iova - entry->iova, in_messages, left, start;

	if (!vtr_vhost_user_message_address(frontend, entry->address + offset, &in_messages, &left))
		return -EFAULT;
	/* back to the beginning of the entry, where that is in the same piece */
	uint64_t back = offset;
	if (!vtr_vhost_user_message_address(frontend, entry->address, &start, &(uint64_t){ 0 }) || in_messages - start != offset)
		back = 0;
	update.iova = iova - back;
	update.uaddr = in_messages - back;
	update.size = entry->size - offset < left ? entry->size - offset : left;
	update.size += back;
	frontend->counters.updates++;
	return vtr_vhost_user_post_iotlb(frontend, &update);
}

static bool is_held(const struct vtr_vhost_user_frontend *frontend, const struct vhost_user_iotlb *miss)
{
	for (size_t i = 0; i < frontend->n_held; i++)
		if (frontend->held[i].iova == miss->iova && frontend->held[i].perm == miss->perm)
			return true;
	return false;
}

/* Asks whoever knows more. */
static int hold(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_iotlb *miss)
{
	const struct vtr_vhost_user_frontend_impl *impl = frontend->impl;

	if (!impl || !impl->iotlb_miss)
		return -EFAULT;
	if (!is_held(frontend, miss)) {
		if (frontend->n_held == VTR_VHOST_USER_MAX_HELD)
			return -ENOSPC;
		frontend->held[frontend->n_held++] = (struct vtr_vhost_user_miss){ miss->iova, miss->perm };
	}
	frontend->serving = true;
	int error = impl->iotlb_miss(frontend->data, miss->iova, miss->perm & VHOST_USER_IOTLB_ACCESS_WO);
	frontend->serving = false;
	for (size_t i = 0; error && i < frontend->n_held; i++)
		if (frontend->held[i].iova == miss->iova && frontend->held[i].perm == miss->perm)
			frontend->held[i--] = frontend->held[--frontend->n_held];
	return error;
}

int vtr_vhost_user_take_miss(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_iotlb *miss)
{
	size_t i = find_entry(frontend, miss->iova);

	frontend->counters.misses++;
	if (!covers(frontend, i, miss->iova))
		return hold(frontend, miss);
	return permits(&frontend->table[i], miss->perm) ? answer(frontend, &frontend->table[i], miss->iova) : -EACCES;
}

/* ---- the table ---- */

static int make_room(struct vtr_vhost_user_frontend *frontend)
{
	if (frontend->n_table == VTR_VHOST_USER_MAX_IOTLB)
		return -ENOSPC;
	if (frontend->n_table < frontend->table_capacity)
		return 0;
	size_t capacity = frontend->table_capacity ? 2 * frontend->table_capacity : FIRST_CAPACITY;
	struct vtr_vhost_user_translation *table = realloc(frontend->table, capacity * sizeof(*table));
	if (!table)
		return -ENOMEM;
	frontend->table = table;
	frontend->table_capacity = capacity;
	return 0;
}

static void insert(struct vtr_vhost_user_frontend *frontend, size_t i, const struct vtr_vhost_user_translation *entry)
{
	memmove(&frontend->table[i + 1], &frontend->table[i], (frontend->n_table - i) * sizeof(*entry));
	frontend->table[i] = *entry;
	frontend->n_table++;
}

/* Misses that waited for this entry. An entry that does not permit what was asked is no answer. */
static int answer_held(struct vtr_vhost_user_frontend *frontend, const struct vtr_vhost_user_translation *entry)
{
	int result = 0;

	for (size_t i = 0; i < frontend->n_held && !result; i++) {
		const struct vtr_vhost_user_miss *miss = &frontend->held[i];

		if (miss->iova < entry->iova || miss->iova - entry->iova >= entry->size || !permits(entry, miss->perm))
			continue;
		result = answer(frontend, entry, miss->iova);
		frontend->held[i--] = frontend->held[--frontend->n_held];
	}
	return result == -EFAULT ? 0 : result;
}

int vtr_vhost_user_frontend_iotlb_add(struct vtr_vhost_user_frontend *frontend, uint64_t iova, uint64_t size, uint64_t address,
                                      bool writable)
{
	const struct vtr_vhost_user_translation entry = { iova, size, address, writable };
	size_t i = find_entry(frontend, iova);
	uint64_t last;

	if (!size || !vtr_add_u64(iova, size - 1, &last) || !vtr_add_u64(address, size - 1, &(uint64_t){ 0 }))
		return -EINVAL;
	if (i < frontend->n_table && frontend->table[i].iova <= last)
		return -EEXIST;
	int error = make_room(frontend);
	if (error)
		return error;
	insert(frontend, i, &entry);
	return answer_held(frontend, &entry);
}

/* Takes [first, last] out of the table. 0 or -ENOSPC, -ENOMEM where an entry would become two. */
static int cut_out(struct vtr_vhost_user_frontend *frontend, uint64_t first, uint64_t last)
{
	size_t i = find_entry(frontend, first);

	while (i < frontend->n_table && frontend->table[i].iova <= last) {
		struct vtr_vhost_user_translation old = frontend->table[i], tail = old;
		uint64_t end = old.iova + (old.size - 1);

		if (old.iova < first && end > last) {
			int error = make_room(frontend);

			if (error)
				return error;
		}
		memmove(&frontend->table[i], &frontend->table[i + 1], (frontend->n_table - i - 1) * sizeof(old));
		frontend->n_table--;
		if (old.iova < first) {
			old.size = first - old.iova;
			insert(frontend, i++, &old);
		}
		if (end > last) {
			tail.address += last + 1 - tail.iova;
			tail.size = end - last;
			tail.iova = last + 1;
			insert(frontend, i++, &tail);
		}
	}
	return 0;
}

int vtr_vhost_user_frontend_iotlb_remove(struct vtr_vhost_user_frontend *frontend, uint64_t iova, uint64_t size)
{
	const struct vhost_user_iotlb message = { .iova = iova, .size = size, .type = VHOST_USER_IOTLB_INVALIDATE };
	uint64_t last;

	if (!size || !vtr_add_u64(iova, size - 1, &last))
		return -EINVAL;
	if (frontend->serving)
		return -EBUSY;
	/* before the back-end is told, so that no miss of its is answered with what is gone */
	int error = cut_out(frontend, iova, last);
	if (error || !frontend->access_platform)
		return error;
	frontend->counters.invalidations++;
	return vtr_vhost_user_tell(frontend, VHOST_USER_IOTLB_MSG, &message, sizeof(message), NULL, 0);
}

void vtr_vhost_user_forget_translations(struct vtr_vhost_user_frontend *frontend)
{
	free(frontend->table);
	frontend->table = NULL;
	frontend->n_table = frontend->table_capacity = 0;
}
