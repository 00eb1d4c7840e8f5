/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "memory/copy.h"
#include "memory/fetch.h"
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
 *   remote                                    as few requests as possible, each being a round trip to the VMM (fetch.h)
 *
 * While a request waits the map may change, and with it whatever was made from it: the spans themselves may be gone. So the mapped
 * spans are read first, the others put on a list, and the requests come last: after them nobody looks at the spans again.
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

/* Someone who reads an image. */
struct reader {
	const struct vtr_spans *spans;
	enum reading how;
	size_t at;              // the span where the last read ended
	struct vtr_fetch fetch; // what has to be asked for
};

static void reader_init(struct reader *reader, const struct vtr_spans *spans, enum reading how)
{
	*reader = (struct reader){ .spans = spans, .how = how };
}

/* Asks for what is missing, unless there was an error already. */
static int reader_finish(struct reader *reader, int error)
{
	if (reader->how == READ_STREAM)
		vtr_copy_stream_end();
	if (!error)
		error = vtr_fetch_run(&reader->fetch);
	vtr_fetch_finish(&reader->fetch);
	return error;
}

/* Reads length bytes of span i, skip bytes in. to NULL: nobody wants them, but they may be asked for with others. */
static int read_span(struct reader *reader, size_t i, uint64_t skip, uint8_t *to, size_t length)
{
	const struct vtr_span *span = &reader->spans->items[i];
	const void *ahead = reader->how == READ_STREAM ? ahead_of(reader->spans, i, skip) : NULL;

	if (reader->how == READ_FETCH || !span->region->data)
		return vtr_fetch_add(&reader->fetch, span->region, span->offset + skip, to, length);
	return to ? vtr_region_read(span->region, span->offset + skip, to, length, ahead) : 0;
}

/* Reads length bytes at offset, all inside the image. */
static int read_at(struct reader *reader, uint64_t offset, uint8_t *to, size_t length)
{
	const struct vtr_spans *spans = reader->spans;
	int error = 0;

	if (!length)
		return 0;
	for (size_t i = seek(spans, reader->at, offset); length && !error; i++) {
		const struct vtr_span *span = &spans->items[i];
		uint64_t skip = offset - span->start;
		size_t piece = length < span->length - skip ? length : (size_t)(span->length - skip);

		error = read_span(reader, i, skip, to, piece);
		reader->at = i;
		offset += piece;
		to = to ? to + piece : NULL;
		length -= piece;
	}
	return error;
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

/* Are rows that have to be asked for worth having with the bytes between them? */
static bool want_gaps(const struct rows *rows)
{
	return rows->bytes < rows->stride && rows->bytes >= rows->stride / 2;
}

/* Reads rows that all are inside the image. */
static int read_rows(const struct vtr_spans *spans, const struct rows *rows, enum reading how)
{
	bool gaps = want_gaps(rows) && (how == READ_FETCH || !spans->cpu);
	struct reader reader;
	int error = 0;

	reader_init(&reader, spans, how);
	for (uint32_t row = 0; row < rows->count && !error; row++) {
		uint64_t offset = rows->offset + (uint64_t)row * rows->stride;

		error = read_at(&reader, offset, rows->to + row * rows->target_stride, rows->bytes);
		if (gaps && !error && row + 1 < rows->count)
			error = read_at(&reader, offset + rows->bytes, NULL, rows->stride - rows->bytes);
	}
	return reader_finish(&reader, error);
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
		uint64_t generation = memory ? vtr_memory_generation(memory) : 0;
		int error = vtr_region_write(span->region, span->offset + skip, from, piece);

		if (error || (memory && vtr_memory_generation(memory) != generation))
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
