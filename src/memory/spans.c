/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vitrine/limits.h>

#include "memory/copy.h"
#include "memory/region.h"
#include "util/checked.h"
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
 * Reading finds the first span by binary search on start; reading row after row goes on from the span of the row before.
 *
 * Spans keep their regions' objects alive. When a region is removed its spans read -EFAULT, until the resource resolves again.
 */

/* ---- resolving ---- */

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

/* Resolves one entry, beginning with a guess at its region: 0 or -errno. */
static int resolve_entry(struct builder *builder, struct vtr_memory *memory, struct vtr_region **guess, uint64_t address,
                         uint64_t length)
{
	if (!length)
		return -EINVAL;
	if (length - 1 > UINT64_MAX - address)
		return -EOVERFLOW;
	while (length) {
		struct vtr_region *region = *guess;

		if (!region || address - region->address >= region->size) {
			region = vtr_memory_find(memory, address);
			if (!region)
				return -EFAULT;
			*guess = region;
		}
		uint64_t offset = address - region->address;
		uint64_t piece = length < region->size - offset ? length : region->size - offset;
		int error = append(builder, region, offset, piece);
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
		int code = resolve_entry(&builder, memory, &guess, entries[i].address, entries[i].length);

		if (code) {
			vtr_spans_finish(spans);
			return resolve_error(error, code, i, &entries[i]);
		}
	}
	cut_to_size(&builder);
	return 0;
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

/* ---- access ---- */

/* Index of the span that holds offset, which is inside the image; tries guess and the spans after it first. */
static size_t seek(const struct vtr_spans *spans, size_t guess, uint64_t offset)
{
	enum { NEAR = 8 };
	size_t low = 0, end = spans->count;

	if (spans->items[guess].start <= offset) {
		for (size_t i = guess; i < end && i < guess + NEAR; i++)
			if (offset - spans->items[i].start < spans->items[i].length)
				return i;
		low = guess;
	}
	while (end - low > 1) {
		size_t middle = low + (end - low) / 2;

		if (spans->items[middle].start <= offset)
			low = middle;
		else
			end = middle;
	}
	return low;
}

/* Large images in small pieces are worth telling the processor what comes next (copy.h). Small ones stay in the caches, where
 * their reader finds them. */
enum {
	STREAM_BYTES = 4 << 20, // at least so many in all
	STREAM_SPAN = 64 << 10, // from spans of no more than that
};

static bool worth_streaming(const struct vtr_spans *spans, uint64_t length)
{
	return length >= STREAM_BYTES && spans->cpu && spans->length / spans->count <= STREAM_SPAN;
}

/* Where the span after span i holds what corresponds to skip in this one; NULL when there is nothing to fetch. */
static const void *ahead_of(const struct vtr_spans *spans, size_t i, uint64_t skip)
{
	const struct vtr_span *next = &spans->items[i + 1];

	if (i + 1 == spans->count || spans->items[i].length > STREAM_SPAN || skip >= next->length || !next->region->data)
		return NULL;
	return next->region->data + next->offset + skip;
}

enum reading {
	READ_COPY,
	READ_STREAM, /* past the cache: much at a time */
	READ_FETCH,  /* by request to the VMM, also where there is a mapping */
};

/* Reads length bytes at offset, all inside the image. *at is where the search begins and where it ended. */
static int read_at(const struct vtr_spans *spans, size_t *at, uint64_t offset, uint8_t *to, size_t length, enum reading how)
{
	if (!length)
		return 0;
	for (size_t i = seek(spans, *at, offset);; i++) {
		const struct vtr_span *span = &spans->items[i];
		uint64_t skip = offset - span->start;
		size_t piece = length < span->length - skip ? length : (size_t)(span->length - skip);
		const void *ahead = how == READ_STREAM ? ahead_of(spans, i, skip) : NULL;
		int error = how == READ_FETCH ? vtr_region_fetch(span->region, span->offset + skip, to, piece)
		                              : vtr_region_read(span->region, span->offset + skip, to, piece, ahead);

		if (error)
			return error;
		*at = i;
		offset += piece;
		to += piece;
		length -= piece;
		if (!length)
			return 0;
	}
}

/* Rows of the image and where they go. */
struct rows {
	uint64_t offset;
	uint32_t stride, count;
	size_t bytes; /* of a row */
	uint8_t *to;
	size_t target_stride;
};

/* How to copy them: streaming reads ahead, which rows that leave out most of the image do not want. */
static enum reading how_to_copy(const struct vtr_spans *spans, const struct rows *rows)
{
	bool stream = rows->bytes >= rows->stride / 2 && worth_streaming(spans, (uint64_t)rows->bytes * rows->count);

	return stream ? READ_STREAM : READ_COPY;
}

/* Reads rows that all are inside the image. */
static int read_rows(const struct vtr_spans *spans, const struct rows *rows, enum reading how)
{
	size_t at = 0;
	int error = 0;

	for (uint32_t row = 0; row < rows->count && !error; row++)
		error = read_at(spans, &at, rows->offset + (uint64_t)row * rows->stride, rows->to + row * rows->target_stride,
		                rows->bytes, how);
	if (how == READ_STREAM)
		vtr_copy_stream_end();
	return error;
}

int vtr_spans_read(const struct vtr_spans *spans, uint64_t offset, void *buffer, size_t length)
{
	struct rows rows = { .offset = offset, .count = 1, .bytes = length, .to = buffer };

	if (!vtr_range_fits(offset, length, spans->length))
		return -ERANGE;
	return read_rows(spans, &rows, how_to_copy(spans, &rows));
}

int vtr_spans_write(const struct vtr_spans *spans, uint64_t offset, const void *buffer, size_t length)
{
	const uint8_t *from = buffer;

	if (!vtr_range_fits(offset, length, spans->length))
		return -ERANGE;
	if (!length)
		return 0;
	for (size_t i = seek(spans, 0, offset);; i++) {
		const struct vtr_span *span = &spans->items[i];
		uint64_t skip = offset - span->start;
		size_t piece = length < span->length - skip ? length : (size_t)(span->length - skip);
		int error = vtr_region_write(span->region, span->offset + skip, from, piece);

		if (error)
			return error;
		offset += piece;
		from += piece;
		length -= piece;
		if (!length)
			return 0;
	}
}

/* Checks that all rows lie in the image; rows that touch on both sides become one. 0 or -ERANGE. */
static int check_rows(const struct vtr_spans *spans, struct rows *rows)
{
	if (!rows->count || !rows->bytes) {
		rows->count = 0;
		return 0;
	}
	/* (2^32 - 1)^2 fits into 64 bits. */
	uint64_t last_row = (uint64_t)rows->stride * (rows->count - 1);
	if (!vtr_range_fits(rows->offset, last_row, spans->length) ||
	    !vtr_range_fits(rows->offset + last_row, rows->bytes, spans->length))
		return -ERANGE;
	/* The product fits: it is last_row + stride, and all of it is in the image. */
	if (rows->stride == rows->bytes && rows->target_stride == rows->bytes) {
		rows->bytes *= rows->count;
		rows->count = 1;
	}
	return 0;
}

int vtr_spans_gather(const struct vtr_spans *spans, uint64_t offset, uint32_t stride, uint32_t rows, size_t row_bytes, void *target,
                     size_t target_stride)
{
	struct rows list = { offset, stride, rows, row_bytes, target, target_stride };
	int error = check_rows(spans, &list);

	return error ? error : read_rows(spans, &list, how_to_copy(spans, &list));
}

int vtr_spans_fetch(const struct vtr_spans *spans, uint64_t offset, uint32_t stride, uint32_t rows, size_t row_bytes, void *target,
                    size_t target_stride)
{
	struct rows list = { offset, stride, rows, row_bytes, target, target_stride };
	int error = check_rows(spans, &list);

	return error ? error : read_rows(spans, &list, READ_FETCH);
}
