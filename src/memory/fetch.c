/* SPDX-License-Identifier: MIT */
#include "memory/fetch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "memory/region.h"

/*
 * Theory of operation
 *
 * Each request to the VMM costs a round trip, however few bytes it is about, and the guest decides in how many pieces an image
 * lies: 262144 pieces of 16 bytes, one after another, would keep the device thread busy for ten seconds. So the pieces are sorted
 * by address, and one request covers all that lie close together, whatever their order in the image. It brings the bytes between
 * them as well; they are dropped. These gaps are short: small enough to cost less than another request, also where the VMM reads
 * them from a device's uncached memory, and so short that no page is touched in which nothing was wanted. Regions are not crossed:
 * their neighbourhood means nothing to the VMM.
 *
 *   pieces        ##..##.##......................####.##      sorted by address
 *   requests      [--------]                     [-----]
 *
 * A request for a single piece is answered into its place. One for several goes through a buffer, and they are picked out of it.
 * Requests are handed over in groups, so that the remote side can have several under way; the group ends where the buffer does.
 *
 * Limits: pieces, requests and buffer are bounded; what needs more requests is refused before the first one.
 */

enum {
	MAX_GAP = 1024,                   /* bytes that nobody wants, between two pieces of one request */
	MAX_COVER = VTR_MAX_DATA_XFER,    /* bytes of a request for several pieces */
	MAX_PIECES = 2 * VTR_MAX_ENTRIES, /* as many spans as there can be, cut by as many rows */
	GROUP = 256,                      /* requests handed over together */
};

/* ---- the list ---- */

static bool continues(const struct vtr_fetch_piece *last, const struct vtr_region *region, uint64_t address, const uint8_t *to)
{
	return last->region == region && last->address + last->length == address &&
	       (last->to ? last->to + last->length == to : !to);
}

static int grow(struct vtr_fetch *fetch)
{
	size_t capacity = fetch->capacity ? 2 * fetch->capacity : 64;
	struct vtr_fetch_piece *pieces;

	if (fetch->count == MAX_PIECES)
		return -E2BIG;
	pieces = reallocarray(fetch->pieces, capacity, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	fetch->pieces = pieces;
	fetch->capacity = capacity;
	return 0;
}

int vtr_fetch_add(struct vtr_fetch *fetch, struct vtr_region *region, uint64_t offset, uint8_t *to, size_t length)
{
	uint64_t address = region->address + offset;
	int error = vtr_region_may_fetch(region);

	if (error)
		return error;
	if (fetch->count && continues(&fetch->pieces[fetch->count - 1], region, address, to)) {
		fetch->pieces[fetch->count - 1].length += length;
		return 0;
	}
	if (fetch->count == fetch->capacity)
		error = grow(fetch);
	if (error)
		return error;
	fetch->memory = region->memory;
	fetch->pieces[fetch->count++] = (struct vtr_fetch_piece){ region, address, length, to };
	return 0;
}

void vtr_fetch_finish(struct vtr_fetch *fetch)
{
	free(fetch->pieces);
	free(fetch->bounce);
	*fetch = (struct vtr_fetch){ 0 };
}

/* ---- requests ---- */

static int by_address(const void *a, const void *b)
{
	const struct vtr_fetch_piece *left = a, *right = b;

	return left->address < right->address ? -1 : left->address > right->address;
}

/* Most lists come in order. */
static void sort(struct vtr_fetch *fetch)
{
	for (size_t i = 1; i < fetch->count; i++)
		if (fetch->pieces[i].address < fetch->pieces[i - 1].address) {
			qsort(fetch->pieces, fetch->count, sizeof(*fetch->pieces), by_address);
			return;
		}
}

/* What one request is about. */
struct cover {
	size_t first, end; // pieces
	uint64_t address;
	size_t length;
};

static bool is_direct(const struct cover *cover)
{
	return cover->end - cover->first == 1;
}

/* The longest cover that begins with the first wanted piece from *next on, which moves behind it. False when nothing is left. */
static bool next_cover(const struct vtr_fetch *fetch, size_t *next, struct cover *cover)
{
	const struct vtr_fetch_piece *pieces = fetch->pieces;
	size_t i = *next;

	while (i < fetch->count && !pieces[i].to)
		i++;
	if (i == fetch->count)
		return false;
	*cover = (struct cover){ i, i + 1, pieces[i].address, pieces[i].length };
	uint64_t reach = cover->length; // with the bytes that may be asked for
	for (i++; i < fetch->count && pieces[i].region == pieces[cover->first].region; i++) {
		uint64_t begin = pieces[i].address - cover->address, end = begin + pieces[i].length;

		if ((begin > reach && begin - reach > MAX_GAP) || end > MAX_COVER)
			break;
		if (end > reach)
			reach = end;
		if (!pieces[i].to)
			continue;
		cover->end = i + 1;
		if (end > cover->length)
			cover->length = (size_t)end;
	}
	*next = cover->end;
	return true;
}

/* Looks over all requests before the first is made: 0, -E2BIG, -ENOMEM. */
static int prepare(struct vtr_fetch *fetch)
{
	size_t covers = 0, next = 0;
	struct cover cover;
	bool direct = true;

	while (next_cover(fetch, &next, &cover)) {
		direct &= is_direct(&cover);
		if (++covers > VTR_MAX_FETCH_REQUESTS)
			return -E2BIG;
	}
	if (!direct)
		fetch->bounce = malloc(MAX_COVER);
	return direct || fetch->bounce ? 0 : -ENOMEM;
}

/* Copies the pieces out of what a request brought. */
static void pick(const struct vtr_fetch *fetch, const struct cover *cover, const uint8_t *bytes)
{
	for (size_t i = cover->first; i < cover->end; i++) {
		const struct vtr_fetch_piece *piece = &fetch->pieces[i];

		if (piece->to)
			memcpy(piece->to, bytes + (piece->address - cover->address), piece->length);
	}
}

/* Asks; when the remote side has no way to be asked for many at a time, one after another. */
static int ask(struct vtr_memory *memory, const struct vtr_remote_piece *requests, size_t count)
{
	const struct vtr_remote *remote = vtr_memory_remote(memory);
	uint64_t generation = vtr_memory_generation(memory);
	int error = 0;

	if (remote->impl->read_many)
		error = remote->impl->read_many(remote->data, requests, count);
	else
		for (size_t i = 0; i < count && !error; i++) {
			error = remote->impl->read(remote->data, requests[i].address, requests[i].buffer, requests[i].length);
			if (vtr_memory_generation(memory) != generation)
				break;
		}
	return vtr_memory_generation(memory) == generation ? error : -ECANCELED;
}

/* Fetches as many covers from *next on as one group takes. */
static int run_group(struct vtr_fetch *fetch, size_t *next)
{
	struct vtr_remote_piece requests[GROUP];
	struct cover covers[GROUP];
	size_t n = 0, used = 0, after = *next;

	while (n < GROUP && next_cover(fetch, &after, &covers[n])) {
		const struct cover *cover = &covers[n];
		uint8_t *to = fetch->pieces[cover->first].to;

		if (!is_direct(cover)) {
			if (cover->length > MAX_COVER - used)
				break;
			to = fetch->bounce + used;
			used += cover->length;
		}
		requests[n++] = (struct vtr_remote_piece){ cover->address, to, cover->length };
		*next = cover->end;
	}
	int error = n ? ask(fetch->memory, requests, n) : 0;
	for (size_t i = 0; i < n && !error; i++)
		if (!is_direct(&covers[i]))
			pick(fetch, &covers[i], requests[i].buffer);
	if (n == 0)
		*next = fetch->count;
	return error;
}

int vtr_fetch_run(struct vtr_fetch *fetch)
{
	size_t next = 0;
	int error;

	sort(fetch);
	error = prepare(fetch);
	while (!error && next < fetch->count)
		error = run_group(fetch, &next);
	return error;
}
