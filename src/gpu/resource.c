/* SPDX-License-Identifier: MIT */
/*
 * Resources and their backing.
 *
 * The guest's mem entries are kept as they came, because memory comes and goes under them: while firmware and kernel program BARs,
 * a VMM unmaps and maps RAM many times. A resource whose range goes away loses its spans and everything made from them before the
 * removal is acknowledged (the scanouts that show it freeze with the last picture), and is resolved again when the map has changed.
 */
#include "gpu/resource.h"

#include <errno.h>
#include <stdlib.h>

#include "gpu/gpu.h"
#include "render/image.h"

static struct vtr_resource **bucket(struct vtr_resource_table *table, uint32_t id)
{
	return &table->buckets[id % VTR_RESOURCE_BUCKETS];
}

struct vtr_resource *vtr_resource_find(struct vtr_gpu *gpu, uint32_t id)
{
	struct vtr_resource *resource = *bucket(&gpu->resources, id);

	while (resource && resource->id != id)
		resource = resource->next;
	return resource;
}

static struct vtr_resource *resource_create(struct vtr_gpu *gpu, uint32_t id)
{
	struct vtr_resource **head = bucket(&gpu->resources, id), *resource = malloc(sizeof(*resource));

	if (!resource)
		return NULL;
	*resource = (struct vtr_resource){ .id = id, .next = *head };
	*head = resource;
	gpu->resources.count++;
	return resource;
}

struct vtr_resource *vtr_resource_create_blob(struct vtr_gpu *gpu, uint32_t id, uint64_t size)
{
	struct vtr_resource *resource = resource_create(gpu, id);

	if (resource)
		resource->size = size;
	return resource;
}

struct vtr_resource *vtr_resource_create_2d(struct vtr_gpu *gpu, uint32_t id, uint32_t width, uint32_t height, uint32_t format)
{
	struct vtr_image *image = vtr_image_create(width, height, format);

	if (!image)
		return NULL;
	struct vtr_resource *resource = resource_create(gpu, id);
	if (!resource) {
		vtr_image_destroy(image);
		return NULL;
	}
	resource->image = image;
	resource->memory = vtr_pixel_memory(&image->pixels);
	gpu->resources.hostmem += image->pixels.length;
	gpu->resources.images++;
	return resource;
}

const struct vtr_spans *vtr_resource_pixels(const struct vtr_resource *resource)
{
	return resource->image ? &resource->image->pixels : &resource->backing;
}

static void drop_derived(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	vtr_candidates_drop(gpu, resource);
	vtr_view_destroy(resource->view);
	resource->view = NULL;
}

static void forget_spans(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	gpu->resources.spans -= resource->backing.count;
	vtr_spans_finish(&resource->backing);
}

static void lose_spans(struct vtr_gpu *gpu, struct vtr_resource *resource, bool may_fetch)
{
	if (!resource->image) {
		vtr_scanouts_freeze(gpu, resource, may_fetch);
		drop_derived(gpu, resource);
	}
	forget_spans(gpu, resource);
	vtr_scanouts_tell_frozen(gpu, resource);
}

bool vtr_resource_spans_fit(const struct vtr_gpu *gpu, const struct vtr_spans *spans)
{
	return gpu->resources.spans + spans->count <= VTR_MAX_TOTAL_ENTRIES;
}

static void have_spans(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	gpu->resources.spans += resource->backing.count;
	resource->was_resolved = true;
	if (resource->image)
		return;
	resource->memory = vtr_pixel_memory(&resource->backing);
	vtr_scanouts_thaw(gpu, resource);
}

void vtr_resource_attach(struct vtr_gpu *gpu, struct vtr_resource *resource, struct vtr_mem_entry *entries, size_t n_entries,
                         struct vtr_spans *spans)
{
	resource->entries = entries;
	resource->n_entries = n_entries;
	resource->backing = *spans;
	resource->generation = vtr_memory_generation(gpu->base.memory);
	gpu->resources.entries += n_entries;
	have_spans(gpu, resource);
}

static void forget_entries(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	gpu->resources.entries -= resource->n_entries;
	free(resource->entries);
	resource->entries = NULL;
	resource->n_entries = 0;
}

void vtr_resource_detach(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	lose_spans(gpu, resource, true);
	forget_entries(gpu, resource);
}

static void forget_image(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	if (!resource->image)
		return;
	gpu->resources.images--;
	gpu->resources.hostmem -= resource->image->pixels.length;
	vtr_image_destroy(resource->image);
	resource->image = NULL;
}

void vtr_resource_destroy(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	struct vtr_resource **link = bucket(&gpu->resources, resource->id);

	while (*link != resource)
		link = &(*link)->next;
	*link = resource->next;
	gpu->resources.count--;
	drop_derived(gpu, resource);
	vtr_resource_detach(gpu, resource);
	forget_image(gpu, resource);
	free(resource);
}

void vtr_resource_destroy_all(struct vtr_gpu *gpu)
{
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS && gpu->resources.count; i++)
		while (gpu->resources.buckets[i])
			vtr_resource_destroy(gpu, gpu->resources.buckets[i]);
}

/* Of a resource that is shown its name is left, for the scanouts: to them its memory is away. */
static void abandon(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	vtr_scanouts_freeze(gpu, resource, false);
	resource->was_resolved |= resource->image != NULL;
	drop_derived(gpu, resource);
	forget_spans(gpu, resource);
	forget_entries(gpu, resource);
	forget_image(gpu, resource);
	vtr_scanouts_tell_frozen(gpu, resource);
	vtr_scanouts_blank_unread(gpu, resource);
}

void vtr_resources_abandon(struct vtr_gpu *gpu)
{
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i], *next; resource; resource = next) {
			next = resource->next;
			if (resource->shown)
				abandon(gpu, resource);
			if (!resource->shown)
				vtr_resource_destroy(gpu, resource);
		}
}

bool vtr_resource_resolve(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	uint64_t generation = vtr_memory_generation(gpu->base.memory);
	struct vtr_error error;

	if (resource->backing.count)
		return true;
	if (!resource->entries || resource->generation == generation)
		return false;
	resource->generation = generation;
	if (vtr_spans_resolve(&resource->backing, gpu->base.memory, resource->entries, resource->n_entries, &error) < 0) {
		vtr_gpu_log_guest(gpu, "resource %u: its memory is not all there: %s", resource->id, error.text);
		return false;
	}
	if (!vtr_resource_spans_fit(gpu, &resource->backing)) {
		vtr_gpu_log_guest(gpu, "resource %u: its memory now lies in too many ranges", resource->id);
		vtr_spans_finish(&resource->backing);
		return false;
	}
	have_spans(gpu, resource);
	return true;
}

const void *vtr_resource_view(struct vtr_resource *resource, struct vtr_error *error)
{
	const struct vtr_spans *pixels = vtr_resource_pixels(resource);

	if (!pixels->count) {
		vtr_error_set(error, VTR_ERROR_REVOKED, EFAULT, "the guest's memory is not there now");
		return NULL;
	}
	/* Asking the VMM for bytes can change the memory map, and the view with it. */
	if (!pixels->cpu) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "part of the memory can only be had by request");
		return NULL;
	}
	if (!resource->view)
		resource->view = vtr_view_create(pixels, error);
	else if (vtr_view_refresh(resource->view, pixels, error) < 0)
		return NULL;
	return resource->view ? vtr_view_data(resource->view) : NULL;
}

void vtr_resources_region_removing(struct vtr_gpu *gpu, struct vtr_region *region)
{
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			if (resource->backing.count && vtr_spans_use(&resource->backing, region))
				lose_spans(gpu, resource, false);
}

void vtr_resources_devices_changed(struct vtr_gpu *gpu)
{
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			vtr_candidates_devices_changed(gpu, resource);
	vtr_resources_region_added(gpu);
}

void vtr_resources_region_added(struct vtr_gpu *gpu)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (vtr_scanout_frozen(&gpu->scanouts[i]))
			vtr_resource_resolve(gpu, gpu->scanouts[i].resource);
}
