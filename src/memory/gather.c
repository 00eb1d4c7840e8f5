/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "memory/copy.h"
#include "memory/region.h"
#include "util/checked.h"

/*
 * Theory of operation
 *
 * Reading and writing the linear image that spans describe. The first span is found by binary search on start; reading row after
 * row goes on from the span of the row before. Three kinds of memory want three kinds of copies:
 *
 *   mapped, in long ranges or little of it    the library's copy, piece by piece
 *   mapped, much of it in short ranges        a copy that fetches the next range meanwhile (copy.h)
 *   remote                                    as few requests as possible, each being a round trip to the VMM
 *
 * While a request waits the map may change, and with it whatever was made from it: the spans themselves may be gone. After a
 * change, whichever region it was about, -ECANCELED is returned without another look at them.
 */

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
	READ_STREAM, // past the cache: much at a time
	READ_FETCH,  // by request to the VMM, also where there is a mapping
};

/* What may be gone when a request was answered: asked before and after it. */
static uint64_t generation_of(const struct vtr_memory *memory)
{
	return memory ? vtr_memory_generation(memory) : 0;
}

/* Reads length bytes of one span, skip bytes in. */
static int read_span(const struct vtr_span *span, uint64_t skip, uint8_t *to, size_t length, enum reading how, const void *ahead)
{
	const struct vtr_memory *memory = span->region->memory;
	uint64_t generation = generation_of(memory);
	int error = how == READ_FETCH ? vtr_region_fetch(span->region, span->offset + skip, to, length)
	                              : vtr_region_read(span->region, span->offset + skip, to, length, ahead);

	return generation_of(memory) == generation ? error : -ECANCELED;
}

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
		int error = read_span(span, skip, to, piece, how, ahead);

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
	size_t bytes; // of a row
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

/* True when rows are worth asking for many at a time, with the bytes between them: each request costs a round trip. */
static bool worth_batching(const struct vtr_spans *spans, const struct rows *rows, enum reading how)
{
	return (how == READ_FETCH || !spans->cpu) && rows->count > 1 && rows->bytes <= rows->stride &&
	       rows->bytes >= rows->stride / 2 && rows->stride <= VTR_MAX_DATA_XFER / 2;
}

/* As read_rows(), through a buffer that holds as many rows as one message to the VMM. */
static int read_batches(const struct vtr_spans *spans, const struct rows *rows, enum reading how)
{
	uint32_t batch = VTR_MAX_DATA_XFER / rows->stride;
	uint8_t *bounce = malloc((size_t)batch * rows->stride);
	int error = 0;

	if (!bounce)
		return read_rows(spans, rows, how);
	for (uint32_t row = 0; row < rows->count && !error; row += batch) {
		uint32_t count = batch < rows->count - row ? batch : rows->count - row;
		size_t length = (size_t)(count - 1) * rows->stride + rows->bytes, at = 0;

		error = read_at(spans, &at, rows->offset + (uint64_t)row * rows->stride, bounce, length, how);
		for (uint32_t i = 0; i < count && !error; i++)
			memcpy(rows->to + (row + i) * rows->target_stride, bounce + (size_t)i * rows->stride, rows->bytes);
	}
	free(bounce);
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
		const struct vtr_memory *memory = span->region->memory;
		uint64_t generation = generation_of(memory);
		int error = vtr_region_write(span->region, span->offset + skip, from, piece);

		if (error || generation_of(memory) != generation)
			return error ? error : -ECANCELED;
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

static int gather(const struct vtr_spans *spans, struct rows *rows, enum reading how)
{
	return worth_batching(spans, rows, how) ? read_batches(spans, rows, how) : read_rows(spans, rows, how);
}

int vtr_spans_gather(const struct vtr_spans *spans, uint64_t offset, uint32_t stride, uint32_t rows, size_t row_bytes, void *target,
                     size_t target_stride)
{
	struct rows list = { offset, stride, rows, row_bytes, target, target_stride };
	int error = check_rows(spans, &list);

	return error ? error : gather(spans, &list, how_to_copy(spans, &list));
}

int vtr_spans_fetch(const struct vtr_spans *spans, uint64_t offset, uint32_t stride, uint32_t rows, size_t row_bytes, void *target,
                    size_t target_stride)
{
	struct rows list = { offset, stride, rows, row_bytes, target, target_stride };
	int error = check_rows(spans, &list);

	return error ? error : gather(spans, &list, READ_FETCH);
}
