/* SPDX-License-Identifier: MIT */
/*
 * Resources and their backing.
 *
 * The guest's mem entries are kept as they came, because memory comes and goes under them: while firmware and kernel program BARs,
 * a VMM unmaps and maps RAM many times. A resource whose range goes away loses its spans and everything made from them before the
 * removal is acknowledged (the scanouts that show it freeze with the last picture), and is resolved again when the map has changed.
 *
 * Behind an IOMMU the map holds what was asked for. A resource's memory is asked for when the guest names it, and after an
 * invalidation when it is used again; a change of the map alone asks for nothing, because what was invalidated may be gone for
 * good.
 *
 * A renderer gets a backing lent, as an address: it is taken back before the memory goes (resource_3d.c).
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

struct vtr_resource *vtr_resource_create_3d(struct vtr_gpu *gpu, uint32_t id, const struct vtr_resource_3d *three_d)
{
	struct vtr_resource_3d *copy = malloc(sizeof(*copy));
	struct vtr_resource *resource = copy ? resource_create(gpu, id) : NULL;

	if (!resource) {
		free(copy);
		return NULL;
	}
	*copy = *three_d;
	pixman_region32_init(&copy->stale);
	resource->three_d = copy;
	gpu->resources.hostmem += copy->bytes;
	return resource;
}

const struct vtr_spans *vtr_resource_pixels(const struct vtr_resource *resource)
{
	static const struct vtr_spans nothing;

	if (resource->image)
		return &resource->image->pixels;
	return resource->three_d ? &nothing : &resource->backing;
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
	resource->asked = (struct vtr_spans_cursor){ 0 };
}

static void lose_spans(struct vtr_gpu *gpu, struct vtr_resource *resource, bool may_fetch)
{
	if (vtr_resource_is_blob(resource)) {
		vtr_scanouts_freeze(gpu, resource, may_fetch);
		drop_derived(gpu, resource);
	}
	vtr_resource_take_back(gpu, resource);
	forget_spans(gpu, resource);
	vtr_scanouts_tell_frozen(gpu, resource);
}

bool vtr_resource_spans_fit(const struct vtr_gpu *gpu, const struct vtr_spans *spans)
{
	return gpu->resources.spans + spans->count <= VTR_MAX_TOTAL_ENTRIES;
}

/* What the guest had transferred is where it came from, in the best case still. */
static void fill_image(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	const struct vtr_image *image = resource->image;
	const pixman_box32_t box = { 0, 0, (int32_t)image->width, (int32_t)image->height };

	resource->unfilled = false;
	if (resource->backing.length >= vtr_image_bytes(image->width, image->height))
		vtr_image_transfer(resource->image, &box, &resource->backing, 0);
	vtr_resource_fill_twin(gpu, resource);
	vtr_scanouts_thaw(gpu, resource);
}

static void have_spans(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	gpu->resources.spans += resource->backing.count;
	resource->was_resolved = true;
	if (resource->unfilled)
		fill_image(gpu, resource);
	vtr_resource_set_missed(gpu, resource, false);
	vtr_resource_lend(gpu, resource); /* it may be missed again */
	if (!vtr_resource_is_blob(resource))
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
	if (spans->count)
		have_spans(gpu, resource);
}

static void forget_entries(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	vtr_resource_set_missed(gpu, resource, false);
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
	if (!vtr_readback_keeps(gpu, resource->image))
		vtr_image_destroy(resource->image);
	resource->image = NULL;
}

static void forget_3d(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	if (!resource->three_d)
		return;
	gpu->resources.hostmem -= resource->three_d->bytes;
	pixman_region32_fini(&resource->three_d->stale);
	free(resource->three_d);
	resource->three_d = NULL;
}

void vtr_resource_destroy(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	struct vtr_resource **link = bucket(&gpu->resources, resource->id);

	while (*link != resource)
		link = &(*link)->next;
	*link = resource->next;
	gpu->resources.count--;
	vtr_shared_withdraw(gpu, resource);
	vtr_hostmem_forget(gpu, resource);
	drop_derived(gpu, resource);
	vtr_resource_detach(gpu, resource);
	vtr_resource_left(gpu, resource);
	vtr_contexts_forget_resource(gpu, resource->id);
	forget_image(gpu, resource);
	forget_3d(gpu, resource);
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
	if (!resource->three_d) /* those were, while the renderer had them */
		vtr_scanouts_freeze(gpu, resource, false);
	resource->was_resolved |= !vtr_resource_is_blob(resource);
	vtr_shared_withdraw(gpu, resource);
	drop_derived(gpu, resource);
	forget_spans(gpu, resource);
	forget_entries(gpu, resource);
	forget_image(gpu, resource);
	forget_3d(gpu, resource);
	vtr_scanouts_tell_frozen(gpu, resource);
	vtr_scanouts_blank_unread(gpu, resource);
}

void vtr_resources_abandon(struct vtr_gpu *gpu)
{
	/* What the renderer has is read for the last time, and then it lets go of the guest's memory. */
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			if (resource->shown && resource->three_d)
				vtr_scanouts_freeze(gpu, resource, false);
	vtr_rendering_reset(gpu);
	vtr_resources_left(gpu);
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i], *next; resource; resource = next) {
			next = resource->next;
			if (resource->shown)
				abandon(gpu, resource);
			if (!resource->shown)
				vtr_resource_destroy(gpu, resource);
		}
}

/* Are all entries there, or what is missing asked for? 0 or -errno. */
static int ask(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	struct vtr_error error;
	int code = vtr_spans_ask(gpu->base.memory, resource->entries, resource->n_entries, &resource->asked, &error);

	if (code && code != -EINPROGRESS)
		vtr_gpu_log_guest(gpu, "resource %u: its memory is not all there: %s", resource->id, error.text);
	return code;
}

static int resolve(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	struct vtr_error error;
	int code = vtr_spans_resolve(&resource->backing, gpu->base.memory, resource->entries, resource->n_entries, &error);

	if (code == -EINPROGRESS)
		return code;
	if (code < 0) {
		vtr_gpu_log_guest(gpu, "resource %u: its memory is not all there: %s", resource->id, error.text);
		return -EFAULT;
	}
	if (!vtr_resource_spans_fit(gpu, &resource->backing)) {
		vtr_gpu_log_guest(gpu, "resource %u: its memory now lies in too many ranges", resource->id);
		vtr_spans_finish(&resource->backing);
		return -EFAULT;
	}
	have_spans(gpu, resource);
	return 0;
}

int vtr_resource_resolve(struct vtr_gpu *gpu, struct vtr_resource *resource, bool wanted)
{
	const bool translated = vtr_memory_is_translated(gpu->base.memory);
	const uint64_t generation = vtr_memory_generation(gpu->base.memory);
	int code = 0;

	if (resource->backing.count) {
		if (resource->missed && resource->entries) /* else its lending has ended */
			vtr_resource_lend(gpu, resource);
		return 0;
	}
	if (!resource->entries)
		return -EFAULT;
	if (translated ? !wanted : resource->generation == generation)
		return -EFAULT;
	resource->generation = generation;
	if (translated)
		code = ask(gpu, resource);
	if (!code)
		code = resolve(gpu, resource);
	/* What was there may be gone: the next time every entry is looked at. Nothing is remembered of a failure. */
	if (code != -EINPROGRESS || resource->asked.entry == resource->n_entries)
		resource->asked = (struct vtr_spans_cursor){ 0 };
	return code;
}

uint32_t vtr_resource_await(struct vtr_gpu *gpu, struct vtr_resource *resource, unsigned queue)
{
	int code = vtr_resource_resolve(gpu, resource, true);

	if (code == -EINPROGRESS) {
		vtr_virtqueue_wait(&gpu->base.queues[queue]);
		return VTR_GPU_AGAIN;
	}
	return code ? VIRTIO_GPU_RESP_ERR_UNSPEC : VIRTIO_GPU_RESP_OK_NODATA;
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
	if (!region->spans)
		return;
	vtr_resources_give_back(gpu, region); /* before spans go that calls on their way refer to */
	for (size_t i = 0; region->spans && i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			if (resource->backing.count && vtr_spans_use(&resource->backing, region)) {
				vtr_resource_set_missed(gpu, resource, resource->lent || resource->missed);
				resource->lent = false;
				lose_spans(gpu, resource, false);
			}
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
			vtr_resource_resolve(gpu, gpu->scanouts[i].resource, false);
	if (!vtr_memory_is_translated(gpu->base.memory)) /* there it is asked for when it is used */
		vtr_resources_lend_again(gpu);
}
