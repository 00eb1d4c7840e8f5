/* SPDX-License-Identifier: MIT */
#include "mapping.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>

#include "util/checked.h"
#include "util/fault.h"

static void drop(struct headless_mapping *mapping)
{
	vtr_fault_guard_remove(mapping->guard);
	if (mapping->id)
		munmap(mapping->start, mapping->length);
	*mapping = (struct headless_mapping){ 0 };
}

void headless_mappings_clear(struct headless_mappings *mappings)
{
	for (size_t i = 0; i < HEADLESS_MAPPINGS; i++)
		drop(&mappings->items[i]);
}

/* What has no memory for a mapping now may have some later; what its exporter cannot map (device memory) it never can. */
static int map_error(struct vtr_error *error, int code)
{
	bool passing = code == ENOMEM || code == EAGAIN || code == ENFILE;

	return vtr_error_set(error, passing ? VTR_ERROR_HOST : VTR_ERROR_UNSUPPORTED, code,
	                     "the dmabuf cannot be mapped by the CPU: %s", strerror(code));
}

/* Maps all of the buffer. 0 or -errno, *mapping stays free on failure. */
static int map(struct headless_mapping *mapping, const struct vtr_buffer *buffer, struct vtr_error *error)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), offset = vtr_buffer_offset(buffer), size = vtr_buffer_size(buffer);
	uint64_t start = offset & ~(page - 1), end = vtr_dmabuf_size(vtr_buffer_fd(buffer));

	if (!size || !vtr_range_fits(offset, size, end))
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "the dmabuf is %llu bytes long and its picture ends beyond",
		                     (unsigned long long)end);
	size_t length = (size_t)((offset + size - start + page - 1) & ~(page - 1));
	void *data = mmap(NULL, length, PROT_READ, MAP_SHARED, vtr_buffer_fd(buffer), (off_t)start);
	if (data == MAP_FAILED)
		return map_error(error, errno);
	struct vtr_fault_guard *guard = vtr_fault_guard_add(data, length, page);
	if (!guard) {
		munmap(data, length);
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory for the dmabuf's fault guard");
	}
	*mapping = (struct headless_mapping){
		.id = vtr_buffer_id(buffer),
		.start = data,
		.length = length,
		.offset = start,
		.guard = guard,
	};
	return 0;
}

struct headless_mapping *headless_mappings_get(struct headless_mappings *mappings, const struct vtr_buffer *buffer,
                                               struct vtr_error *error)
{
	struct headless_mapping *oldest = &mappings->items[0], *found = NULL;

	for (size_t i = 0; i < HEADLESS_MAPPINGS && !found; i++) {
		struct headless_mapping *mapping = &mappings->items[i];

		if (mapping->id == vtr_buffer_id(buffer))
			found = mapping;
		else if (mapping->used < oldest->used)
			oldest = mapping;
	}
	if (!found) {
		drop(oldest);
		if (map(oldest, buffer, error))
			return NULL;
		found = oldest;
	}
	found->used = ++mappings->uses;
	return found;
}
