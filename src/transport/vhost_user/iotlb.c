/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/iotlb.h"

#include <errno.h>
#include <string.h>

#include <vitrine/log.h>

#include "util/checked.h"

/*
 * Theory of operation
 *
 * With VIRTIO_F_ACCESS_PLATFORM the addresses of rings and mem entries are IOVAs. The memory map is a cache of what they mean
 * (memory/iommu.c); here is its way to the front-end and back. A miss of the map becomes a BACKEND_IOTLB_MSG on the back-end's
 * channel. The answer is an update, an IOTLB_MSG on the front-end's: an address of the memory table, which makes it a range of a
 * file. A reply other than 0 to the miss itself says that there is no update to come, so that nobody waits for the time-out; a
 * reply of 0 says nothing, because the update it stands for is on another socket.
 *
 * "Addresses and size must be within vhost memory regions", which may be several that lie side by side. The exception is an update
 * of the whole address space, as for a domain that translates nothing: it becomes a translation for each region of the table, and
 * what lies between means nothing.
 *
 * An invalidation is acknowledged when nothing is left that was made of the memory: the map's listeners see to that. While all
 * rings are stopped front-ends do not tell of invalidations, so translations do not outlive that.
 *
 * An access that a translation does not permit is reported (ACCESS_FAIL) as long as the front-end does not refuse it. QEMU does.
 */

/* ---- messages ---- */

/* "An IOTLB message", by type. BATCH_BEGIN and _END are for vhost in the kernel. */
static const struct kind {
	bool permissions; // has to have some
	bool sized;
	size_t handler; // offset in struct vtr_vhost_user_iotlb_impl; 0: none
} kinds[] = {
	[VHOST_USER_IOTLB_MISS] = { true, false, offsetof(struct vtr_vhost_user_iotlb_impl, miss) },
	[VHOST_USER_IOTLB_UPDATE] = { true, true, offsetof(struct vtr_vhost_user_iotlb_impl, update) },
	[VHOST_USER_IOTLB_INVALIDATE] = { false, true, offsetof(struct vtr_vhost_user_iotlb_impl, invalidate) },
	[VHOST_USER_IOTLB_ACCESS_FAIL] = { true, false, offsetof(struct vtr_vhost_user_iotlb_impl, access_fail) },
};

static bool is_sound(const struct kind *kind, const struct vhost_user_iotlb *message)
{
	if (kind->permissions && (!message->perm || message->perm > VHOST_USER_IOTLB_ACCESS_RW))
		return false;
	if (!kind->sized)
		return true;
	return message->size ? message->size - 1 <= UINT64_MAX - message->iova : !message->iova;
}

int vtr_vhost_user_iotlb_handle(const struct vtr_vhost_user_iotlb_impl *impl, void *data, const void *payload)
{
	struct vhost_user_iotlb message;
	int (*handle)(void *data, const struct vhost_user_iotlb *message) = NULL;

	memcpy(&message, payload, sizeof(message));
	const struct kind *kind = message.type < sizeof(kinds) / sizeof(kinds[0]) ? &kinds[message.type] : NULL;
	if (kind && kind->handler)
		memcpy(&handle, (const char *)impl + kind->handler, sizeof(handle));
	if (!handle || !is_sound(kind, &message) || !impl->started(data))
		return -EINVAL;
	return handle(data, &message);
}

/* ---- to the front-end ---- */

static_assert((int)VTR_ACCESS_READ == (int)VHOST_USER_IOTLB_ACCESS_RO && (int)VTR_ACCESS_WRITE == (int)VHOST_USER_IOTLB_ACCESS_WO,
              "the map's and the protocol's permissions are the same bits");

static struct vtr_vhost_user_iotlb_call *free_call(struct vtr_vhost_user_iotlb *iotlb)
{
	for (size_t i = 0; i < sizeof(iotlb->calls) / sizeof(iotlb->calls[0]); i++)
		if (!iotlb->calls[i].used)
			return &iotlb->calls[i];
	return NULL;
}

static void replied(int result, void *data)
{
	struct vtr_vhost_user_iotlb_call *call = data;
	struct vtr_vhost_user_iotlb *iotlb = call->iotlb;
	const uint64_t miss = call->miss;

	call->used = false;
	if (!result || result == -ETIMEDOUT) /* the update may come all the same */
		return;
	if (!miss)
		iotlb->no_reports = true;
	else if (iotlb->active)
		vtr_memory_miss_failed(iotlb->memory, miss);
}

/* An update may overtake the reply to its miss, so there may be more replies to come than misses under way. When they are too many
 * a message goes without one: a refusal is then known by the time-out. */
static int tell(struct vtr_vhost_user_iotlb *iotlb, uint64_t miss, uint64_t iova, unsigned access)
{
	const struct vhost_user_iotlb message = {
		.iova = iova,
		.perm = (uint8_t)access,
		.type = miss ? VHOST_USER_IOTLB_MISS : VHOST_USER_IOTLB_ACCESS_FAIL,
	};
	struct vtr_vhost_user_iotlb_call *call = free_call(iotlb);
	int result = -EBUSY;

	if (call) {
		*call = (struct vtr_vhost_user_iotlb_call){ .iotlb = iotlb, .miss = miss };
		result = iotlb->send(iotlb->send_data, &message, replied, call);
		call->used = result > 0;
	}
	if (result == -EBUSY)
		result = iotlb->send(iotlb->send_data, &message, NULL, NULL);
	return result < 0 ? result : 0;
}

static int miss(void *data, uint64_t number, uint64_t address, unsigned access)
{
	return tell(data, number, address, access);
}

static void denied(void *data, uint64_t address, unsigned access)
{
	struct vtr_vhost_user_iotlb *iotlb = data;

	iotlb->access_failures++;
	if (!iotlb->no_reports)
		tell(iotlb, 0, address, access); /* a courtesy: the guest learns it from the answer */
}

static const struct vtr_iommu_impl iommu_impl = { .miss = miss, .denied = denied };

/* ---- from the front-end ---- */

static bool started(void *data)
{
	return ((struct vtr_vhost_user_iotlb *)data)->active;
}

/* How many bytes from address on, a name of memory in messages, are in no region of the table; less one. */
static uint64_t gap_after(const struct vtr_vhost_user_mem_table *table, uint64_t address)
{
	uint64_t gap = UINT64_MAX - address;

	for (size_t i = 0; i < table->count; i++) {
		const uint64_t start = table->gpa_addresses ? table->regions[i].gpa : table->regions[i].uaddr;

		if (start > address && start - address - 1 < gap)
			gap = start - address - 1;
	}
	return gap;
}

/* The part of an update that begins `done` bytes in: adds a translation if it lies in a region of the table. Returns the part's
 * last byte, counted from the beginning of the update. */
static uint64_t update_part(struct vtr_vhost_user_iotlb *iotlb, const struct vhost_user_iotlb *message, uint64_t done, int *result)
{
	const uint64_t last = vtr_vhost_user_iotlb_last(message) - message->iova, uaddr = message->uaddr + done;
	uint64_t offset;
	const struct vtr_vhost_user_mem_region *region = vtr_vhost_user_mem_table_find(iotlb->table, uaddr, &offset);

	if (!region) {
		const uint64_t gap = gap_after(iotlb->table, uaddr), size = gap < last - done ? gap : last - done;

		if (size < UINT64_MAX)
			vtr_memory_invalidate(iotlb->memory, message->iova + done, size + 1);
		return done + size;
	}
	uint64_t end = region->size - offset - 1 < last - done ? done + (region->size - offset - 1) : last;
	int error = vtr_memory_translate(iotlb->memory, message->iova + done, end - done + 1, region->file, region->offset + offset,
	                                 message->perm);
	if (*result == -EFAULT || error)
		*result = error;
	return end;
}

static bool is_everything(const struct vhost_user_iotlb *message)
{
	return !message->iova && (!message->size || message->size == UINT64_MAX);
}

/* Are all bytes from address to address + last in regions of the table? */
static bool in_table(const struct vtr_vhost_user_mem_table *table, uint64_t address, uint64_t last)
{
	const struct vtr_vhost_user_mem_region *region;
	uint64_t offset;

	while ((region = vtr_vhost_user_mem_table_find(table, address, &offset))) {
		const uint64_t rest = region->size - offset;

		if (last < rest)
			return true;
		address += rest;
		last -= rest;
	}
	return false;
}

static int update(void *data, const struct vhost_user_iotlb *message)
{
	const struct vtr_vhost_user_iotlb *iotlb = data;
	const uint64_t last = vtr_vhost_user_iotlb_last(message) - message->iova;
	int result = -EFAULT;

	if (last > UINT64_MAX - message->uaddr)
		return -EINVAL;
	if (!is_everything(message) && !in_table(iotlb->table, message->uaddr, last))
		return -EFAULT;
	for (uint64_t done = 0;; done++) {
		done = update_part(data, message, done, &result);
		if (done == last)
			return result;
	}
}

static int invalidate(void *data, const struct vhost_user_iotlb *message)
{
	struct vtr_vhost_user_iotlb *iotlb = data;

	if (message->size)
		return vtr_memory_invalidate(iotlb->memory, message->iova, message->size);
	vtr_memory_remove(iotlb->memory, UINT64_MAX, 1); /* 2^64 bytes do not fit into a size */
	return vtr_memory_invalidate(iotlb->memory, 0, UINT64_MAX);
}

static const struct vtr_vhost_user_iotlb_impl back_end = { .started = started, .update = update, .invalidate = invalidate };

int vtr_vhost_user_iotlb_message(struct vtr_vhost_user_iotlb *iotlb, const void *payload)
{
	return vtr_vhost_user_iotlb_handle(&back_end, iotlb, payload);
}

/* ---- life ---- */

void vtr_vhost_user_iotlb_init(struct vtr_vhost_user_iotlb *iotlb, struct vtr_loop *loop, struct vtr_memory *memory,
                               const struct vtr_vhost_user_mem_table *table, vtr_vhost_user_iotlb_send send, void *data)
{
	*iotlb = (struct vtr_vhost_user_iotlb){ .loop = loop, .memory = memory, .table = table, .send = send, .send_data = data };
}

int vtr_vhost_user_iotlb_set_active(struct vtr_vhost_user_iotlb *iotlb, bool active)
{
	int error = 0;

	if (active == iotlb->active)
		return 0;
	vtr_memory_remove_all(iotlb->memory);
	error = vtr_memory_set_iommu(iotlb->memory, iotlb->loop, active ? &iommu_impl : NULL, iotlb);
	iotlb->active = active && !error;
	iotlb->no_reports = false;
	return error;
}

void vtr_vhost_user_iotlb_forget_region(struct vtr_vhost_user_iotlb *iotlb, const struct vtr_vhost_user_mem_region *region)
{
	if (iotlb->active)
		vtr_memory_invalidate_file(iotlb->memory, region->file, region->offset, region->size);
}

void vtr_vhost_user_iotlb_forget_all(struct vtr_vhost_user_iotlb *iotlb)
{
	if (iotlb->active)
		vtr_memory_remove_all(iotlb->memory);
}

void vtr_vhost_user_iotlb_status(const struct vtr_vhost_user_iotlb *iotlb, struct vtr_vhost_user_iotlb_status *status)
{
	*status = (struct vtr_vhost_user_iotlb_status){ .active = iotlb->active, .access_failures = iotlb->access_failures };
	vtr_memory_iommu_status(iotlb->memory, &status->map);
}
