/* SPDX-License-Identifier: MIT */
#include "memory/iommu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "memory/file.h"
#include "memory/region.h"
#include "util/checked.h"

/*
 * Theory of operation
 *
 * Behind an IOMMU the map is a cache: each region is a translation, as large as whoever translates made it, usually a page. Nothing
 * is merged: a translation is taken back like it came, and what was made of its neighbours is to survive that. Whoever translates
 * is asked for what is missing, and answers when it likes; nobody blocks.
 *
 *   access -> not in the map -> a miss is asked for, -EINPROGRESS -> the accessor waits
 *   translation -> region, the miss is over -> its waiters are ready, and make their access again
 *   no answer, or no as an answer -> the miss has failed -> all waiters are ready; the access finds that, and fails
 *
 * A miss is a page and a kind of access; at most VTR_MAX_MISSES are under way, none twice. Somebody who needs a long range, or
 * many, asks for as much as there is room for, and waits for the last one asked for: answers come in the order of the questions, so
 * he is not called for each. How far apart the addresses are that he asks for is a guess: as far as the last translation was long.
 *
 * A miss that failed stays for two turns of the loop, in which everybody who waits makes his access again: one of them finds it. It
 * is found once, so that a later access asks again. Whoever has a translation for reading and wants to write asks for both, or two
 * accessors of a page would take it from each other for ever.
 *
 * What is cached is bounded by VTR_MAX_TRANSLATIONS. A hand that goes round the addresses forgets what nobody holds spans of, a
 * batch at a time; what is forgotten can be asked for again.
 *
 * Thread: the device thread only.
 */

enum {
	PAGE = 4096,      // no two questions for the same of these
	LOOK_AHEAD = 256, // regions and holes, behind the address that is missing
	EVICT = 1024,     // translations forgotten at a time
	FORGET_TURNS = 2, // of the loop, until a failed miss goes
};

struct miss {
	uint64_t number; // ascending
	uint64_t address;
	uint64_t deadline_ns;
	unsigned access;
	int error; // 0: asked for; else it failed, and somebody has to find it
};

struct vtr_iommu {
	struct vtr_memory *memory;
	const struct vtr_iommu_impl *impl;
	void *data;
	struct vtr_source *timer; // deadlines
	bool armed;
	struct vtr_source *forget; // event: a turn after misses failed
	unsigned turns;
	struct miss misses[VTR_MAX_MISSES]; // ascending by number
	size_t count;
	uint64_t last_number;
	uint64_t wanted;  // number of the miss that the last -EINPROGRESS was about
	uint64_t granule; // a guess at the size of translations; power of two
	uint64_t hand;    // where the next eviction begins
	struct vtr_memory_waiter *waiters;
	struct vtr_iommu_status status; // hits and entries are the map's
	struct vtr_log_limit log;
	size_t max_translations;
	unsigned timeout_ms;
};

bool vtr_memory_is_translated(const struct vtr_memory *memory)
{
	return vtr_memory_iommu(memory);
}

bool vtr_region_permits(const struct vtr_region *region, unsigned access)
{
	if (!region || !region->memory || !vtr_memory_is_translated(region->memory))
		return region;
	return (!(access & VTR_ACCESS_READ) || region->readable) && (!(access & VTR_ACCESS_WRITE) || region->writable);
}

/* ---- waiters ---- */

static void unlink_waiter(struct vtr_iommu *iommu, struct vtr_memory_waiter *waiter)
{
	struct vtr_memory_waiter **link = &iommu->waiters;

	while (*link && *link != waiter)
		link = &(*link)->next;
	if (*link)
		*link = waiter->next;
	waiter->miss = 0;
}

/* Wakes who waits for the miss with that number; 0: everybody. */
static void wake(struct vtr_iommu *iommu, uint64_t number)
{
	struct vtr_memory_waiter *next;

	for (struct vtr_memory_waiter *waiter = iommu->waiters; waiter; waiter = next) {
		next = waiter->next;
		if (number && waiter->miss != number)
			continue;
		unlink_waiter(iommu, waiter);
		waiter->ready(waiter);
	}
}

static bool is_under_way(const struct vtr_iommu *iommu, uint64_t number)
{
	for (size_t i = 0; i < iommu->count; i++)
		if (iommu->misses[i].number == number)
			return true;
	return false;
}

void vtr_memory_wait(struct vtr_memory *memory, struct vtr_memory_waiter *waiter)
{
	struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	vtr_memory_cancel_wait(memory, waiter);
	if (!iommu || !is_under_way(iommu, iommu->wanted)) {
		waiter->ready(waiter);
		return;
	}
	waiter->miss = iommu->wanted;
	waiter->next = iommu->waiters;
	iommu->waiters = waiter;
}

void vtr_memory_cancel_wait(struct vtr_memory *memory, struct vtr_memory_waiter *waiter)
{
	if (waiter->miss)
		unlink_waiter(vtr_memory_iommu(memory), waiter);
}

/* ---- misses ---- */

/* Arms it for the first deadline unless it is armed: it may fire when that miss is long over, which is cheaper than to follow them.
 */
static void arm_timer(struct vtr_iommu *iommu)
{
	for (size_t i = 0; i < iommu->count && !iommu->armed; i++) {
		if (iommu->misses[i].error)
			continue;
		iommu->armed = true;
		vtr_timer_arm(iommu->timer, iommu->misses[i].deadline_ns);
	}
}

static void drop_miss(struct vtr_iommu *iommu, struct miss *miss)
{
	const uint64_t number = miss->number;

	iommu->count--;
	memmove(miss, miss + 1, (size_t)(iommu->misses + iommu->count - miss) * sizeof(*miss));
	wake(iommu, number);
}

/* An access has found that this miss failed, and fails. What else was asked for on its behalf is over as well: a refusal of that
 * may be on its way, and is not to hit a later access to what has come back meanwhile. */
static void take_failure(struct vtr_iommu *iommu, struct miss *miss)
{
	drop_miss(iommu, miss);
	if (!iommu->waiters)
		iommu->count = 0;
}

/* The miss has an answer that is none. Everybody looks whether it is theirs. */
static void fail_miss(struct vtr_iommu *iommu, struct miss *miss, int error)
{
	miss->error = error;
	if (error == -EACCES && iommu->impl->denied)
		iommu->impl->denied(iommu->data, miss->address, miss->access);
	iommu->turns = 0;
	vtr_event_raise(iommu->forget);
	wake(iommu, 0);
}

static void forget_failed(void *data)
{
	struct vtr_iommu *iommu = data;

	if (++iommu->turns < FORGET_TURNS) {
		vtr_event_raise(iommu->forget);
		return;
	}
	for (size_t i = iommu->count; i > 0; i--)
		if (iommu->misses[i - 1].error)
			drop_miss(iommu, &iommu->misses[i - 1]);
}

static void deadline_passed(void *data)
{
	struct vtr_iommu *iommu = data;
	const uint64_t now = vtr_now_ns();

	iommu->armed = false;
	for (size_t i = 0; i < iommu->count; i++) {
		struct miss *miss = &iommu->misses[i];

		if (miss->error || miss->deadline_ns > now)
			continue;
		vtr_log_limited(&iommu->log, VTR_LOG_WARN,
		                "the VMM has not said for %u ms what the guest's address 0x%" PRIx64 " means: the access fails",
		                iommu->timeout_ms, miss->address);
		iommu->status.timeouts++;
		fail_miss(iommu, miss, -EFAULT);
	}
	arm_timer(iommu);
}

static struct miss *find_miss(struct vtr_iommu *iommu, uint64_t address, unsigned access)
{
	for (size_t i = 0; i < iommu->count; i++) {
		struct miss *miss = &iommu->misses[i];

		if (miss->address / PAGE == address / PAGE && (miss->access & access) == access)
			return miss;
	}
	return NULL;
}

/* What to ask for where region (may be NULL) does not do. */
static unsigned both(const struct vtr_region *region, unsigned access)
{
	if (!region)
		return access;
	return access | (region->readable ? VTR_ACCESS_READ : 0u) | (region->writable ? VTR_ACCESS_WRITE : 0u);
}

/* Asks for address, where region (may be NULL) does not permit the access, unless that was done: -EINPROGRESS; -EAGAIN: likewise,
 * but there is no room to ask; or the access fails, and the miss is over if it is the access itself that finds out. */
static int ask(struct vtr_iommu *iommu, const struct vtr_region *region, uint64_t address, unsigned access, bool finds, size_t room)
{
	struct miss *miss = find_miss(iommu, address, access);

	if (miss && miss->error) {
		int error = miss->error;

		if (finds)
			take_failure(iommu, miss);
		return error;
	}
	if (!miss && iommu->count >= room) {
		iommu->wanted = iommu->misses[iommu->count - 1].number;
		return -EAGAIN;
	}
	if (!miss) {
		access = both(region, access);
		int error = iommu->impl->miss(iommu->data, iommu->last_number + 1, address, access);

		if (error == -EBUSY && iommu->count) {
			iommu->wanted = iommu->misses[iommu->count - 1].number;
			return -EAGAIN;
		}
		if (error < 0) {
			iommu->status.failures++;
			return -EFAULT;
		}
		iommu->status.misses++;
		miss = &iommu->misses[iommu->count++];
		*miss = (struct miss){ .number = ++iommu->last_number,
			               .address = address,
			               .deadline_ns = vtr_now_ns() + iommu->timeout_ms * UINT64_C(1000000),
			               .access = access };
		arm_timer(iommu);
	}
	iommu->wanted = miss->number;
	return -EINPROGRESS;
}

bool vtr_iommu_has_room(const struct vtr_memory *memory)
{
	const struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	return iommu && iommu->count < VTR_MISSES_AHEAD;
}

/* Asks for what is missing in [address, last]: the result of ask() for the last address it was called for. */
static int ask_range(struct vtr_iommu *iommu, uint64_t address, uint64_t last, unsigned access, bool finds)
{
	int result = -EINPROGRESS;

	for (unsigned step = 0; step < LOOK_AHEAD && result == -EINPROGRESS; step++) {
		const struct vtr_region *region = vtr_memory_next(iommu->memory, address);
		uint64_t end = address | (iommu->granule - 1);

		if (region && region->address <= address) {
			end = region->address + (region->size - 1);
		} else {
			end = region && region->address <= end ? region->address - 1 : end;
			region = NULL;
		}
		if (!vtr_region_permits(region, access))
			result = ask(iommu, region, address, access, finds, finds && !step ? VTR_MAX_MISSES : VTR_MISSES_AHEAD);
		if (end >= last)
			break;
		address = end + 1;
	}
	return result;
}

int vtr_iommu_missing(struct vtr_memory *memory, uint64_t address, uint64_t size, unsigned access)
{
	struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	if (!iommu)
		return -EFAULT;
	int result = ask_range(iommu, address, address + (size - 1), access, true);
	return result == -EAGAIN ? -EINPROGRESS : result;
}

void vtr_iommu_ask_ahead(struct vtr_memory *memory, uint64_t address, uint64_t size, unsigned access)
{
	struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	if (iommu)
		ask_range(iommu, address, address + (size - 1), access, false);
}

/* A translation of [first, last] has come, with that access; or none after all. */
static void settle(struct vtr_iommu *iommu, uint64_t first, uint64_t last, unsigned access)
{
	for (size_t i = iommu->count; i > 0; i--) {
		struct miss *miss = &iommu->misses[i - 1];

		if (miss->error || miss->address < first || miss->address > last)
			continue;
		if ((miss->access & access) == miss->access) {
			drop_miss(iommu, miss);
			continue;
		}
		iommu->status.failures++;
		fail_miss(iommu, miss, access ? -EACCES : -EFAULT);
	}
}

void vtr_memory_miss_failed(struct vtr_memory *memory, uint64_t number)
{
	struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	for (size_t i = 0; iommu && i < iommu->count; i++) {
		struct miss *miss = &iommu->misses[i];

		if (miss->error || miss->number != number)
			continue;
		iommu->status.failures++;
		fail_miss(iommu, miss, -EFAULT);
		return;
	}
}

/* ---- translations ---- */

static void add_rest(struct vtr_memory *memory, const struct vtr_region *old, uint64_t first, uint64_t last,
                     struct vtr_memory_file *file)
{
	struct vtr_region *rest = vtr_region_create_in_file(memory, first, last - first + 1, file,
	                                                    old->offset + (first - old->address), old->writable);

	if (!rest)
		return; // it will be asked for again
	rest->readable = old->readable;
	vtr_memory_insert(memory, rest);
}

/* Takes [first, last] out of the region. */
static void punch(struct vtr_memory *memory, struct vtr_region *region, uint64_t first, uint64_t last)
{
	const struct vtr_region old = *region;
	const uint64_t old_last = old.address + (old.size - 1);
	struct vtr_memory_file *file = old.file;

	file->refs++;
	vtr_memory_take_out(memory, region);
	if (old.address < first)
		add_rest(memory, &old, old.address, first - 1, file);
	if (old_last > last)
		add_rest(memory, &old, last + 1, old_last, file);
	vtr_memory_file_unref(file);
}

static void punch_all(struct vtr_memory *memory, uint64_t first, uint64_t last)
{
	struct vtr_region *region;

	while ((region = vtr_memory_next(memory, first)) && region->address <= last)
		punch(memory, region, first, last);
}

int vtr_memory_invalidate(struct vtr_memory *memory, uint64_t address, uint64_t size)
{
	struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	if (!iommu || !size || size - 1 > UINT64_MAX - address)
		return -EINVAL;
	iommu->status.invalidations++;
	punch_all(memory, address, address + (size - 1));
	return 0;
}

void vtr_memory_invalidate_file(struct vtr_memory *memory, const struct vtr_memory_file *file, uint64_t offset, uint64_t size)
{
	struct vtr_region *region;

	for (uint64_t address = 0; (region = vtr_memory_next(memory, address));) {
		const uint64_t last = region->address + (region->size - 1);

		if (region->file == file && vtr_ranges_overlap(region->offset, region->size, offset, size))
			vtr_memory_take_out(memory, region);
		if (last == UINT64_MAX)
			return;
		address = last + 1;
	}
}

/* Forgets translations that nobody uses. False when there was none within reach. */
static bool evict(struct vtr_iommu *iommu)
{
	size_t looked = vtr_memory_count(iommu->memory), evicted = 0;

	for (; looked && evicted < EVICT; looked--) {
		struct vtr_region *region = vtr_memory_next(iommu->memory, iommu->hand);

		if (!region) {
			iommu->hand = 0;
			continue;
		}
		iommu->hand = region->address + (region->size - 1) + 1;
		if (region->spans)
			continue;
		vtr_memory_take_out(iommu->memory, region);
		evicted++;
	}
	iommu->status.evictions += evicted;
	return evicted;
}

/* Is that what the map says already? Then nothing that was made of it has to go. */
static bool is_known(const struct vtr_memory *memory, uint64_t address, uint64_t size, const struct vtr_memory_file *file,
                     uint64_t offset, unsigned access)
{
	const struct vtr_region *old = vtr_memory_next(memory, address);

	return old && old->address <= address && vtr_range_fits(address - old->address, size, old->size) && old->file == file &&
	       old->offset + (address - old->address) == offset && old->readable == !!(access & VTR_ACCESS_READ) &&
	       old->writable == !!(access & VTR_ACCESS_WRITE);
}

static int replace(struct vtr_iommu *iommu, uint64_t address, uint64_t size, struct vtr_memory_file *file, uint64_t offset,
                   unsigned access)
{
	struct vtr_memory *memory = iommu->memory;

	punch_all(memory, address, address + (size - 1));
	if (vtr_memory_count(memory) >= iommu->max_translations && !evict(iommu))
		return -ENOSPC;
	struct vtr_region *region = vtr_region_create_in_file(memory, address, size, file, offset, access & VTR_ACCESS_WRITE);
	if (!region)
		return -ENOMEM;
	region->readable = access & VTR_ACCESS_READ;
	return vtr_memory_insert(memory, region);
}

static bool file_holds(const struct vtr_memory_file *file, uint64_t offset, uint64_t size)
{
	return offset >= file->start && vtr_range_fits(offset - file->start, size, file->length);
}

int vtr_memory_translate(struct vtr_memory *memory, uint64_t address, uint64_t size, struct vtr_memory_file *file, uint64_t offset,
                         unsigned access)
{
	struct vtr_iommu *iommu = vtr_memory_iommu(memory);
	int error = 0;

	if (!iommu || !size || size - 1 > UINT64_MAX - address || !access || access & ~(VTR_ACCESS_READ | VTR_ACCESS_WRITE) ||
	    !file_holds(file, offset, size))
		return -EINVAL;
	iommu->status.updates++;
	if (file->kind == VTR_REGION_RAM && !file->writable)
		access &= ~(unsigned)VTR_ACCESS_WRITE; // whatever they say: the region cannot be written
	if (vtr_is_power_of_two(size) && size >= PAGE)
		iommu->granule = size;
	if (!is_known(memory, address, size, file, offset, access))
		error = replace(iommu, address, size, file, offset, access);
	settle(iommu, address, address + (size - 1), error ? 0 : access);
	return error;
}

/* ---- life ---- */

void vtr_memory_iommu_status(const struct vtr_memory *memory, struct vtr_iommu_status *status)
{
	const struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	*status = (struct vtr_iommu_status){ 0 };
	if (!iommu)
		return;
	*status = iommu->status;
	status->hits = vtr_memory_hits(memory) - iommu->status.hits;
	status->entries = vtr_memory_count(memory);
	status->pending = iommu->count;
}

void vtr_iommu_set_limits(struct vtr_memory *memory, size_t translations, unsigned timeout_ms)
{
	struct vtr_iommu *iommu = vtr_memory_iommu(memory);

	iommu->max_translations = translations;
	iommu->timeout_ms = timeout_ms;
}

static void destroy(struct vtr_iommu *iommu)
{
	if (!iommu)
		return;
	iommu->count = 0;
	wake(iommu, 0);
	vtr_source_remove(iommu->timer);
	vtr_source_remove(iommu->forget);
	free(iommu);
}

static struct vtr_iommu *create(struct vtr_memory *memory, struct vtr_loop *loop, const struct vtr_iommu_impl *impl, void *data)
{
	struct vtr_iommu *iommu = malloc(sizeof(*iommu));

	if (!iommu)
		return NULL;
	*iommu = (struct vtr_iommu){ .memory = memory,
		                     .impl = impl,
		                     .data = data,
		                     .granule = PAGE,
		                     .max_translations = VTR_MAX_TRANSLATIONS,
		                     .timeout_ms = VTR_MISS_TIMEOUT_MS,
		                     .status.hits = vtr_memory_hits(memory) };
	iommu->timer = vtr_loop_add_timer(loop, deadline_passed, iommu);
	iommu->forget = vtr_loop_add_event(loop, forget_failed, iommu);
	if (iommu->timer && iommu->forget)
		return iommu;
	destroy(iommu);
	return NULL;
}

int vtr_memory_set_iommu(struct vtr_memory *memory, struct vtr_loop *loop, const struct vtr_iommu_impl *impl, void *data)
{
	struct vtr_iommu *old = vtr_memory_iommu(memory), *iommu = NULL;

	if (!old && !impl)
		return 0;
	vtr_memory_remove_all(memory);
	vtr_memory_install_iommu(memory, NULL);
	destroy(old);
	if (!impl)
		return 0;
	iommu = create(memory, loop, impl, data);
	vtr_memory_install_iommu(memory, iommu);
	return iommu ? 0 : -ENOMEM;
}
