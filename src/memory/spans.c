/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vitrine/limits.h>

#include "memory/iommu.h"
#include "memory/region.h"
#include "util/fd.h"

/*
 * Theory of operation
 *
 * A resource's memory is a list of mem entries in guest addresses; a frame in 4 KiB pages has 8192 of them, and a guest may send
 * 262144. They are resolved once, when the backing is attached, into spans: (region, offset, length) and the place in the linear
 * image where the span begins. Resolving is one pass: the region of the entry before is tried first, what continues the span before
 * it in the same region is added to it, and the array is allocated once for the worst case without splits (untouched memory costs
 * nothing) and cut to size at the end. The number of spans is bounded like that of entries, because an entry of 4 GiB over many
 * small adjacent regions would otherwise be many spans.
 *
 * A device's BAR can move without anybody telling; where entries lie in one, or nowhere, is looked up where guests name them.
 *
 * Behind an IOMMU the translations of entries are asked for first (vtr_spans_ask()), in batches: a cursor remembers how far they
 * are there, so that every batch costs what it brings, however many there are.
 *
 * Spans keep their regions' objects alive. When a region is removed its spans read -EFAULT, until the resource resolves again.
 */

struct builder {
	struct vtr_spans *spans;
	size_t capacity;
	size_t worst; // no more than this many spans
};

/* Makes room for one more span: 0, -E2BIG or -ENOMEM. */
static int grow(struct builder *builder)
{
	size_t capacity = builder->capacity * 2 < VTR_MAX_ENTRIES ? builder->capacity * 2 : VTR_MAX_ENTRIES;

	if (builder->capacity == VTR_MAX_ENTRIES)
		return -E2BIG;
	struct vtr_span *items = realloc(builder->spans->items, capacity * sizeof(*items));
	if (!items)
		return -ENOMEM;
	builder->spans->items = items;
	builder->capacity = capacity;
	return 0;
}

/* Appends a range of region, or adds it to the last span when it continues that. */
static int append(struct builder *builder, struct vtr_region *region, uint64_t offset, uint64_t length)
{
	struct vtr_spans *spans = builder->spans;

	if (spans->count) {
		struct vtr_span *last = &spans->items[spans->count - 1];

		if (last->region == region && last->offset + last->length == offset) {
			last->length += length;
			spans->length += length;
			return 0;
		}
	}
	if (spans->count == builder->capacity) {
		int error = grow(builder);

		if (error)
			return error;
	}
	region->spans++;
	spans->items[spans->count++] =
		(struct vtr_span){ .region = region, .offset = offset, .length = length, .start = spans->length };
	spans->length += length;
	spans->cpu &= region->data != NULL;
	return 0;
}

static int check_entry(const struct vtr_mem_entry *entry)
{
	if (!entry->length)
		return -EINVAL;
	return entry->length - 1 > UINT64_MAX - entry->address ? -EOVERFLOW : 0;
}

/* Resolves one entry, beginning with a guess at its region: 0 or -errno. */
static int resolve_entry(struct builder *builder, struct vtr_memory *memory, struct vtr_region **guess,
                         const struct vtr_mem_entry *entry)
{
	uint64_t address = entry->address, length = entry->length;
	int error = check_entry(entry);

	if (error)
		return error;
	while (length) {
		struct vtr_region *region = *guess;

		if (!region || address - region->address >= region->size) {
			region = vtr_memory_find(memory, address);
			if (!vtr_region_permits(region, VTR_ACCESS_READ))
				return vtr_iommu_missing(memory, address, length, VTR_ACCESS_READ);
			*guess = region;
		}
		uint64_t offset = address - region->address;
		uint64_t piece = length < region->size - offset ? length : region->size - offset;
		error = append(builder, region, offset, piece);
		if (error)
			return error;
		address += piece;
		length -= piece;
	}
	return 0;
}

static int resolve_error(struct vtr_error *error, int code, size_t i, const struct vtr_mem_entry *entry)
{
	switch (code) {
	case -EINVAL:
		return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "mem entry %zu has no length", i);
	case -EOVERFLOW:
		return vtr_error_set(error, VTR_ERROR_GUEST, EOVERFLOW,
		                     "mem entry %zu (0x%" PRIx64 ", %" PRIu32 " bytes) wraps around the end of the address space",
		                     i, entry->address, entry->length);
	case -EFAULT:
		return vtr_error_set(error, VTR_ERROR_GUEST, EFAULT,
		                     "mem entry %zu (0x%" PRIx64 ", %" PRIu32
		                     " bytes) is not in the memory that the device may use",
		                     i, entry->address, entry->length);
	case -EACCES:
		return vtr_error_set(error, VTR_ERROR_GUEST, EACCES,
		                     "mem entry %zu (0x%" PRIx64 ", %" PRIu32 " bytes) is not in memory that the device may read",
		                     i, entry->address, entry->length);
	case -EINPROGRESS:
		return vtr_error_set(error, VTR_ERROR_REVOKED, EINPROGRESS,
		                     "the VMM was asked what the address of mem entry %zu (0x%" PRIx64 ") means", i,
		                     entry->address);
	case -E2BIG:
		return vtr_error_set(error, VTR_ERROR_GUEST, E2BIG, "the mem entries fall into more than %d ranges",
		                     VTR_MAX_ENTRIES);
	default:
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for the spans of a resource");
	}
}

/* Gives back what the worst case reserved and these spans do not need. */
static void cut_to_size(struct builder *builder)
{
	struct vtr_spans *spans = builder->spans;

	if (spans->count == builder->capacity)
		return;
	struct vtr_span *items = realloc(spans->items, spans->count * sizeof(*items));
	if (items)
		spans->items = items;
}

int vtr_spans_resolve(struct vtr_spans *spans, struct vtr_memory *memory, const struct vtr_mem_entry *entries, size_t count,
                      struct vtr_error *error)
{
	struct builder builder = { .spans = spans, .capacity = count };
	struct vtr_region *guess = NULL;

	*spans = (struct vtr_spans){ .cpu = true };
	if (count > VTR_MAX_ENTRIES)
		return vtr_error_set(error, VTR_ERROR_GUEST, E2BIG, "%zu mem entries, more than %d", count, VTR_MAX_ENTRIES);
	if (!count)
		return 0;
	spans->items = malloc(count * sizeof(*spans->items));
	if (!spans->items)
		return resolve_error(error, -ENOMEM, 0, NULL);
	for (size_t i = 0; i < count; i++) {
		int code = resolve_entry(&builder, memory, &guess, &entries[i]);

		if (code) {
			vtr_spans_finish(spans);
			return resolve_error(error, code, i, &entries[i]);
		}
	}
	cut_to_size(&builder);
	return 0;
}

/* ---- asking ---- */

enum { ENTRIES_AHEAD = 4 * VTR_MAX_MISSES }; // looked at behind the first one that is missing

/* Moves the cursor over what is there of its entry: 0, -E2BIG, or 1 when something is missing. */
static int pass(struct vtr_memory *memory, const struct vtr_mem_entry *entry, struct vtr_spans_cursor *cursor)
{
	while (cursor->offset < entry->length) {
		const uint64_t address = entry->address + cursor->offset;
		struct vtr_region *region = vtr_memory_find(memory, address);

		if (!vtr_region_permits(region, VTR_ACCESS_READ))
			return 1;
		if (++cursor->regions > 2 * (size_t)VTR_MAX_ENTRIES)
			return -E2BIG;
		cursor->offset += region->size - (address - region->address);
	}
	return 0;
}

/* Asks for what is missing of the entry from offset on: 0 when nothing is. */
static int ask_entry(struct vtr_memory *memory, const struct vtr_mem_entry *entry, struct vtr_spans_cursor cursor)
{
	int missing = pass(memory, entry, &cursor);

	return missing > 0
	               ? vtr_iommu_missing(memory, entry->address + cursor.offset, entry->length - cursor.offset, VTR_ACCESS_READ)
	               : missing;
}

/* The cursor stands at something that is missing: asks for that and what follows. */
static int ask_from(struct vtr_memory *memory, const struct vtr_mem_entry *entries, size_t count,
                    const struct vtr_spans_cursor *cursor, struct vtr_error *error)
{
	struct vtr_spans_cursor at = *cursor;
	size_t end = count - at.entry > ENTRIES_AHEAD ? at.entry + ENTRIES_AHEAD : count;
	int code = -EINPROGRESS;

	for (; at.entry < end && (code == -EINPROGRESS || !code); at = (struct vtr_spans_cursor){ .entry = at.entry + 1 }) {
		if (at.entry > cursor->entry && !vtr_iommu_has_room(memory))
			break;
		code = check_entry(&entries[at.entry]);
		if (!code)
			code = ask_entry(memory, &entries[at.entry], at);
		if (code && code != -EINPROGRESS)
			return resolve_error(error, code, at.entry, &entries[at.entry]);
	}
	return resolve_error(error, -EINPROGRESS, cursor->entry, &entries[cursor->entry]);
}

int vtr_spans_ask(struct vtr_memory *memory, const struct vtr_mem_entry *entries, size_t count, struct vtr_spans_cursor *cursor,
                  struct vtr_error *error)
{
	if (!vtr_memory_is_translated(memory))
		return 0;
	for (; cursor->entry < count; cursor->entry++, cursor->offset = 0) {
		const struct vtr_mem_entry *entry = &entries[cursor->entry];
		int code = check_entry(entry);

		if (!code)
			code = pass(memory, entry, cursor);
		if (code > 0)
			return ask_from(memory, entries, count, cursor, error);
		if (code)
			return resolve_error(error, code, cursor->entry, entry);
	}
	return 0;
}

/* ---- named ---- */

/* Where these entries lie may be different from what the map says. */
static bool doubtful(const struct vtr_spans *spans, int code)
{
	if (code)
		return code == -EFAULT;
	for (size_t i = 0; i < spans->count; i++)
		if (spans->items[i].region->kind == VTR_REGION_VFIO)
			return true;
	return false;
}

int vtr_spans_resolve_named(struct vtr_spans *spans, struct vtr_memory *memory, const struct vtr_mem_entry *entries, size_t count,
                            struct vtr_error *error)
{
	int code = vtr_spans_resolve(spans, memory, entries, count, error);

	if (!doubtful(spans, code) || !vtr_memory_update(memory))
		return code;
	vtr_spans_finish(spans);
	return vtr_spans_resolve(spans, memory, entries, count, error);
}

int vtr_spans_from_file(struct vtr_spans *spans, int fd, uint64_t size, struct vtr_error *error)
{
	int code = EINVAL;

	*spans = (struct vtr_spans){ 0 };
	struct vtr_span *span = malloc(sizeof(*span));
	if (!span || fd < 0 || !size) {
		vtr_fd_close(&fd);
		code = span ? EINVAL : ENOMEM;
		goto fail;
	}
	struct vtr_region *region = vtr_region_create(NULL, 0, size, fd, 0, true, &code);
	if (!region)
		goto fail;
	if (!region->data) {
		vtr_region_unref(region);
		code = EINVAL;
		goto fail;
	}
	*span = (struct vtr_span){ .region = region, .length = size };
	region->spans++;
	vtr_region_unref(region); // the span keeps it
	*spans = (struct vtr_spans){ .items = span, .count = 1, .length = size, .cpu = true };
	return 0;
fail:
	free(span);
	return vtr_error_set(error, VTR_ERROR_HOST, code, "cannot map %" PRIu64 " bytes of private memory: %s", size,
	                     code == ENOMEM ? "out of memory" : "not a memory file of that size");
}

void vtr_spans_finish(struct vtr_spans *spans)
{
	for (size_t i = 0; i < spans->count; i++)
		vtr_region_drop_span(spans->items[i].region);
	free(spans->items);
	*spans = (struct vtr_spans){ 0 };
}

bool vtr_spans_use(const struct vtr_spans *spans, const struct vtr_region *region)
{
	for (size_t i = 0; region->spans && i < spans->count; i++)
		if (spans->items[i].region == region)
			return true;
	return false;
}
