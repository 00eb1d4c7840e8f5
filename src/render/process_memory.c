/* SPDX-License-Identifier: MIT */
/*
 * Files are mapped whole, once, and guarded: one that its owner cuts short under us reads as zeros (memory/region.h). Spans name
 * places in them, and a resource's spans are kept as long as the renderer may look at them.
 */
#include "render/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>

#include "memory/region.h"
#include "util/checked.h"
#include "util/fd.h"

void vtr_process_add_file(struct vtr_process_memory *memory, uint32_t slot, int fd, uint64_t size)
{
	int code;

	if (memory->files[slot])
		vtr_region_unref(memory->files[slot]);
	memory->files[slot] = vtr_region_create(NULL, 0, size, fd, 0, true, &code);
	if (!memory->files[slot])
		vtr_log(VTR_LOG_WARN, "%" PRIu64 " bytes of shared memory cannot be mapped: %s", size, strerror(code));
}

void vtr_process_forget_files(struct vtr_process_memory *memory, const uint64_t forget[VTR_REMOTE_FILES / 64])
{
	for (unsigned i = 0; i < VTR_REMOTE_FILES; i++)
		if (forget[i / 64] >> i % 64 & 1 && memory->files[i]) {
			vtr_region_unref(memory->files[i]);
			memory->files[i] = NULL;
		}
}

/* ---- spans ---- */

static struct vtr_region *region_of(const struct vtr_process_memory *memory, const struct vtr_remote_span *span)
{
	struct vtr_region *region = span->slot < VTR_REMOTE_FILES ? memory->files[span->slot] : NULL;

	return region && span->length && vtr_range_fits(span->offset, span->length, region->size) ? region : NULL;
}

static int make_spans(const struct vtr_process_memory *memory, const struct vtr_remote_span *from, size_t count,
                      struct vtr_spans *spans)
{
	*spans = (struct vtr_spans){ .cpu = true };
	spans->items = calloc(count, sizeof(*spans->items));
	if (!spans->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct vtr_region *region = region_of(memory, &from[i]);

		if (!region || !region->data) {
			vtr_spans_finish(spans);
			return region ? -ENOMEM : -EINVAL;
		}
		spans->items[i] = (struct vtr_span){
			.region = region, .offset = from[i].offset, .length = from[i].length, .start = spans->length
		};
		spans->length += from[i].length;
		spans->count++;
		region->spans++;
	}
	return 0;
}

static struct vtr_process_backing **find(struct vtr_process_memory *memory, uint32_t resource_id)
{
	struct vtr_process_backing **link = &memory->backings[resource_id % VTR_PROCESS_BUCKETS];

	while (*link && (*link)->resource_id != resource_id)
		link = &(*link)->next;
	return link;
}

static void drop(struct vtr_process_backing **link)
{
	struct vtr_process_backing *backing = *link;

	*link = backing->next;
	vtr_spans_finish(&backing->spans);
	free(backing);
}

int vtr_process_back(struct vtr_process_memory *memory, uint32_t resource_id, const struct vtr_remote_span *from, size_t count,
                     const struct vtr_spans **spans)
{
	struct vtr_process_backing *backing = malloc(sizeof(*backing));
	int error = backing ? make_spans(memory, from, count, &backing->spans) : -ENOMEM;

	if (error) {
		free(backing);
		return error;
	}
	vtr_process_unback(memory, resource_id);
	struct vtr_process_backing **link = find(memory, resource_id);
	backing->resource_id = resource_id;
	backing->next = NULL;
	*link = backing;
	*spans = &backing->spans;
	return 0;
}

void vtr_process_unback(struct vtr_process_memory *memory, uint32_t resource_id)
{
	struct vtr_process_backing **link = find(memory, resource_id);

	if (*link)
		drop(link);
}

void vtr_process_unback_all(struct vtr_process_memory *memory)
{
	for (unsigned i = 0; i < VTR_PROCESS_BUCKETS; i++)
		while (memory->backings[i])
			drop(&memory->backings[i]);
}

int vtr_process_image(struct vtr_process_memory *memory, const struct vtr_remote_call *call, struct vtr_image *image)
{
	const struct vtr_remote_span all = { .slot = call->image.slot,
		                             .length = (uint64_t)call->image.stride * call->image.height };

	*image = (struct vtr_image){
		.width = call->image.width, .height = call->image.height, .format = call->image.format, .stride = call->image.stride
	};
	if (image->stride / 4 < image->width)
		return -EINVAL;
	return make_spans(memory, &all, 1, &image->pixels);
}

void vtr_process_memory_finish(struct vtr_process_memory *memory)
{
	vtr_process_unback_all(memory);
	for (unsigned i = 0; i < VTR_REMOTE_FILES; i++)
		if (memory->files[i])
			vtr_region_unref(memory->files[i]);
}
