/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as virglrenderer uses it: an iovec over the spans' mappings, which it keeps by reference and copies from and to when
 * a transfer or a command stream says so. It may write to all of it, so memory that is for reading only is refused. The iovec lives
 * as long as virglrenderer has it; the mappings live as long as the caller does not say DETACH_BACKING or UNREF.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "render/virgl.h"

/* The CPU may write where the region's mapping is that of its own file, opened for writing. */
static bool can_be_written(const struct vtr_region *region)
{
	return region->data && region->writable && region->cpu == region->file;
}

int vtr_virgl_backing_from_spans(const struct vtr_spans *spans, struct iovec **backing, int *count)
{
	if (!spans || !spans->count || spans->count > INT_MAX)
		return -EINVAL;
	struct iovec *entries = calloc(spans->count, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_span *span = &spans->items[i];

		if (!can_be_written(span->region)) {
			free(entries);
			return -EOPNOTSUPP;
		}
		entries[i] = (struct iovec){ .iov_base = span->region->data + span->offset, .iov_len = span->length };
	}
	*backing = entries;
	*count = (int)spans->count;
	return 0;
}

void vtr_virgl_backing_detach(struct vtr_virgl_resource *resource)
{
	struct iovec *had;
	int count;

	if (!resource->backing)
		return;
	virgl_renderer_resource_detach_iov((int)resource->id, &had, &count);
	free(resource->backing);
	resource->backing = NULL;
	resource->n_backing = 0;
}
