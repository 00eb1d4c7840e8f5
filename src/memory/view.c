/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "memory/region.h"
#include "util/fault.h"

/*
 * Theory of operation
 *
 * Most readers gather rows (spans.c). Some need one linear image: pixman, a cursor, a screenshot. For them address space is
 * reserved once, and each span's pages are mapped over it from the span's file, so that the image is there without a copy. That
 * works when the spans meet on page borders; the first may begin anywhere, and the last may end anywhere. Everything that cannot be
 * done this way ends in a copy of the bytes, which costs memory and has to be refreshed, but always works. So does the memory of
 * devices: each look at it costs a round trip to the device, and it can go at any moment.
 *
 * A guest decides how many spans there are, and both mappings (vm.max_map_count) and memory are limits of the whole process, shared
 * with whatever runs beside us in it. So both are counted process-wide, and views stop at a share that leaves the rest alone. Where
 * the kernel's limit is lower, or taken by others, it answers ENOMEM half-way, which is one more reason for a copy.
 *
 * The whole view is one guarded range: after a truncated file is hit, everything behind the first missing page reads as zeros.
 */

struct vtr_view {
	uint8_t *base;                 // what is to be unmapped; page-aligned
	size_t reserved;               // bytes at base
	const uint8_t *data;           // inside
	uint64_t length;               // bytes at data
	size_t mappings;               // counted in budget.mappings
	size_t copied;                 // counted in budget.copied; 0 for a mapped view
	struct vtr_fault_guard *guard; // NULL for a copy
};

static struct {
	atomic_size_t mappings; // of all mapped views
	atomic_size_t copied;   // bytes of all copies
} budget;

/* Counts amount in *used unless that goes over limit. */
static bool take(atomic_size_t *used, size_t amount, size_t limit)
{
	size_t now = atomic_load(used);

	do {
		if (amount > limit || now > limit - amount)
			return false;
	} while (!atomic_compare_exchange_weak(used, &now, now + amount));
	return true;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static uint64_t file_offset(const struct vtr_span *span)
{
	return span->region->offset + span->offset;
}

/* Reserves address space for lead + length bytes. False when there is none. */
static bool reserve(struct vtr_view *view, uint64_t length, size_t lead, int protection)
{
	size_t page = page_size();

	if (length > SIZE_MAX - 2 * page)
		return false;
	size_t bytes = ((size_t)length + lead + page - 1) & ~(page - 1);
	void *base = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return false;
	view->base = base;
	view->reserved = bytes;
	view->data = view->base + lead;
	view->length = length;
	return true;
}

static void release(struct vtr_view *view)
{
	vtr_fault_guard_remove(view->guard);
	if (view->base)
		munmap(view->base, view->reserved);
	atomic_fetch_sub(&budget.mappings, view->mappings);
	atomic_fetch_sub(&budget.copied, view->copied);
	*view = (struct vtr_view){ 0 };
}

/* ---- what can be read ---- */

static int truncated(struct vtr_error *error)
{
	return vtr_error_set(error, VTR_ERROR_HOST, EFAULT,
	                     "the file of the guest's memory was truncated; the VMM must map it again");
}

/* Spans that can be read at all: 0 or -errno. */
static int check_spans(const struct vtr_spans *spans, struct vtr_error *error)
{
	if (!spans->length)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "a view of no bytes");
	for (size_t i = 0; i < spans->count; i++) {
		if (!spans->items[i].region->mapped)
			return vtr_error_set(error, VTR_ERROR_REVOKED, EFAULT, "the VMM unmapped guest memory of the resource");
		if (vtr_region_faulted(spans->items[i].region) && !vtr_region_is_device_memory(spans->items[i].region))
			return truncated(error);
	}
	return 0;
}

/* Why reading them failed. Returns code. */
static int read_error(const struct vtr_spans *spans, struct vtr_error *error, int code)
{
	if (code == -EFAULT && check_spans(spans, error))
		return code;
	if (code == -EFAULT) /* every file is whole: what is left are devices */
		return vtr_error_set(error, VTR_ERROR_REVOKED, EFAULT,
		                     "the memory of the assigned device is away: comes back by itself");
	return vtr_error_set(error, code == -ECANCELED ? VTR_ERROR_REVOKED : VTR_ERROR_HOST, -code, "cannot read guest memory: %s",
	                     strerror(-code));
}

/* ---- mapped ---- */

/* Why spans cannot be mapped side by side, or NULL when they can. */
static const char *why_not_mapped(const struct vtr_spans *spans)
{
	size_t page = page_size();
	uint64_t lead = file_offset(&spans->items[0]) & (page - 1);

	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_span *span = &spans->items[i];

		if (!span->region->data)
			return "memory without a CPU mapping";
		if (vtr_region_is_device_memory(span->region))
			return "uncached memory of a device";
		if (span->region->page != page)
			return "memory in huge pages";
		if (i && ((file_offset(span) | (span->start + lead)) & (page - 1)))
			return "spans that do not meet on page borders";
	}
	return NULL;
}

/* Maps the pages of one span to their place; the first one's begin lead bytes before it. */
static bool map_span(struct vtr_view *view, const struct vtr_span *span, size_t lead)
{
	size_t page = page_size();
	size_t before = span->start ? 0 : lead;
	size_t bytes = ((size_t)span->length + before + page - 1) & ~(page - 1);
	uint8_t *to = view->base + (span->start ? lead + span->start : 0);

	return mmap(to, bytes, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, span->region->fd,
	            (off_t)(file_offset(span) - before)) != MAP_FAILED;
}

/* Makes view a mapped one. NULL, or the reason with nothing left behind. */
static const char *map_view(struct vtr_view *view, const struct vtr_spans *spans)
{
	size_t lead = (size_t)(file_offset(&spans->items[0]) & (page_size() - 1));
	const char *why = why_not_mapped(spans);

	if (why)
		return why;
	if (!take(&budget.mappings, spans->count, VTR_MAX_VIEW_MAPPINGS))
		return "too many mappings in views already";
	view->mappings = spans->count;
	why = "the kernel's limit on address space";
	if (!reserve(view, spans->length, lead, PROT_NONE))
		goto fail;
	why = "the kernel's limit on mappings (vm.max_map_count)";
	for (size_t i = 0; i < spans->count; i++)
		if (!map_span(view, &spans->items[i], lead))
			goto fail;
	why = "no memory for a fault guard";
	view->guard = vtr_fault_guard_add(view->base, view->reserved, page_size());
	if (!view->guard)
		goto fail;
	return NULL;
fail:
	release(view);
	return why;
}

/* ---- copied ---- */

/* Makes view a copy. 0 or -errno with nothing left behind. */
static int copy_view(struct vtr_view *view, const struct vtr_spans *spans, struct vtr_error *error)
{
	uint64_t length = spans->length;

	if (length > SIZE_MAX || !take(&budget.copied, (size_t)length, VTR_MAX_VIEW_COPIES))
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM,
		                     "no copy of %" PRIu64 " bytes of guest memory: copies may take %d MiB together", length,
		                     VTR_MAX_VIEW_COPIES >> 20);
	view->copied = (size_t)length;
	if (!reserve(view, length, 0, PROT_READ | PROT_WRITE)) {
		release(view);
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a copy of %" PRIu64 " bytes", length);
	}
	int code = vtr_spans_read(spans, 0, view->base, (size_t)length);
	if (code) {
		release(view);
		return read_error(spans, error, code);
	}
	return 0;
}

/* ---- both ---- */

struct vtr_view *vtr_view_create(const struct vtr_spans *spans, struct vtr_error *error)
{
	if (check_spans(spans, error))
		return NULL;
	struct vtr_view *view = calloc(1, sizeof(*view));
	if (!view) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a view");
		return NULL;
	}
	const char *why = map_view(view, spans);
	if (!why)
		return view;
	vtr_log(VTR_LOG_DEBUG, "view of %zu spans, %" PRIu64 " bytes, is a copy: %s", spans->count, spans->length, why);
	if (copy_view(view, spans, error)) {
		free(view);
		return NULL;
	}
	return view;
}

void vtr_view_destroy(struct vtr_view *view)
{
	if (!view)
		return;
	release(view);
	free(view);
}

const void *vtr_view_data(const struct vtr_view *view)
{
	return view->data;
}

bool vtr_view_is_copy(const struct vtr_view *view)
{
	return view->copied;
}

int vtr_view_refresh(struct vtr_view *view, const struct vtr_spans *spans, struct vtr_error *error)
{
	if (!vtr_view_is_copy(view))
		return vtr_fault_guard_hit(view->guard) ? truncated(error) : 0;
	if (spans->length != view->length)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "a view of other spans");
	int code = vtr_spans_read(spans, 0, view->base, (size_t)view->length);
	return code ? read_error(spans, error, code) : 0;
}
