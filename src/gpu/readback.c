/* SPDX-License-Identifier: MIT */
/*
 * Copies of what a renderer drew.
 *
 * What is drawn stays with the renderer; displays that can take it from there cost nothing (the rung virgl). The others get a copy:
 * the resource's image, in host memory, made when somebody needs it the first time. What was flushed since it was read is its stale
 * part, and only that is read, only when an output wants pixels: while nobody looks it just grows. A renderer in a process of its
 * own can be lost, and the last picture has to stay: what it drew is read at each flush, also when nobody looks.
 *
 *     flush: held until the renderer has drawn -> held while the stale part is read, if somebody wants it -> presented
 *     anything else that presents (a capture, a display that comes): the stale part is asked for, and the scanout presented again
 *     when it is there; a renderer in this process has it at once
 *
 * So displays never wait for a GPU, and the device never waits for a renderer, but where a picture has to be had now or never
 * (the VMM is gone), or where the embedding VMM asks for it.
 *
 * A part that is being read is not stale any more; while any is, nothing is taken from the image. If reading fails it is stale
 * again. An image outlives its resource as long as the renderer writes to it.
 */
#include "gpu/readback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"
#include "util/region.h"

/* ---- the image ---- */

void vtr_readback_all_stale(struct vtr_resource *resource)
{
	struct vtr_resource_3d *three_d = resource->three_d;

	if (three_d && three_d->width)
		pixman_region32_union_rect(&three_d->stale, &three_d->stale, 0, 0, three_d->width, three_d->height);
}

struct vtr_image *vtr_readback_image(struct vtr_gpu *gpu, struct vtr_resource *resource, struct vtr_error *error)
{
	const struct vtr_resource_3d *three_d = resource->three_d;
	struct vtr_resource_table *table = &gpu->resources;
	uint64_t bytes = vtr_image_bytes(three_d->width, three_d->height);

	if (resource->image)
		return resource->image;
	if (table->images < VTR_MAX_IMAGES && table->hostmem + bytes <= gpu->options.max_hostmem)
		resource->image = vtr_image_create(three_d->width, three_d->height, three_d->format);
	if (!resource->image) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory for a copy of %ux%u pixels: raise --max-hostmem",
		              three_d->width, three_d->height);
		return NULL;
	}
	resource->memory = vtr_pixel_memory(&resource->image->pixels);
	table->hostmem += resource->image->pixels.length;
	table->images++;
	resource->three_d->was_read = false;
	vtr_readback_all_stale(resource);
	return resource->image;
}

static struct vtr_reading **find_reading(struct vtr_gpu *gpu, const struct vtr_image *image)
{
	struct vtr_reading **link = &gpu->readings;

	while (*link && (*link)->image != image)
		link = &(*link)->next;
	return link;
}

bool vtr_readback_begin(struct vtr_gpu *gpu, struct vtr_image *image)
{
	struct vtr_reading *reading = *find_reading(gpu, image);

	if (!reading) {
		reading = malloc(sizeof(*reading));
		if (!reading)
			return false;
		*reading = (struct vtr_reading){ .next = gpu->readings, .image = image };
		gpu->readings = reading;
	}
	reading->calls++;
	return true;
}

void vtr_readback_end(struct vtr_gpu *gpu, struct vtr_image *image)
{
	struct vtr_reading **link = find_reading(gpu, image), *reading = *link;

	if (--reading->calls)
		return;
	*link = reading->next;
	if (reading->orphaned)
		vtr_image_destroy(image);
	free(reading);
}

bool vtr_readback_keeps(struct vtr_gpu *gpu, const struct vtr_image *image)
{
	struct vtr_reading *reading = *find_reading(gpu, image);

	if (reading)
		reading->orphaned = true;
	return reading;
}

/* ---- reading ---- */

bool vtr_readback_is_there(const struct vtr_resource *resource)
{
	return resource->image && resource->three_d->was_read;
}

bool vtr_readback_possible(struct vtr_gpu *gpu, const struct vtr_resource *resource, bool try, struct vtr_error *why)
{
	const struct vtr_resource_3d *three_d = resource->three_d;
	const struct vtr_backoff *failure = &three_d->unreadable;

	if (!three_d->width)
		vtr_error_set(why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "a blob in the renderer's memory is not read back");
	else if (three_d->lost && !vtr_readback_is_there(resource))
		vtr_error_set(why, VTR_ERROR_HOST, ENODEV, "the renderer is lost, and nothing was read back before");
	else if (!three_d->lost && vtr_backoff_has_failed(failure) && !(try && vtr_backoff_due(failure, gpu->now_ns())))
		*why = failure->error;
	else
		return true;
	return false;
}

/* What the scanout shows and the copy does not have: false when there is none of it. */
static bool stale_part(const struct vtr_scanout *scanout, pixman_region32_t *part)
{
	const struct vtr_scanout_layout *layout = &scanout->layout;

	pixman_region32_intersect_rect(part, &scanout->resource->three_d->stale, (int)layout->x, (int)layout->y, layout->width,
	                               layout->height);
	return pixman_region32_not_empty(part);
}

static void unreadable(struct vtr_gpu *gpu, struct vtr_resource *resource, const struct vtr_error *error)
{
	vtr_backoff_failed(&resource->three_d->unreadable, error, gpu->now_ns());
}

/* A call that reads the bounding box of part, which counts as read from here on. False: it cannot be made. */
static bool begin(struct vtr_gpu *gpu, struct vtr_resource *resource, const pixman_region32_t *part, struct vtr_render_call *call)
{
	const pixman_box32_t *box = &part->extents;
	pixman_region32_t whole;
	struct vtr_error error;

	if (!vtr_readback_image(gpu, resource, &error)) {
		unreadable(gpu, resource, &error);
		return false;
	}
	if (!vtr_readback_begin(gpu, resource->image))
		return false;
	*call = (struct vtr_render_call){
		.args = {
			.op = VTR_RENDER_READ,
			.resource_id = resource->id,
			.read = {
				.x = (uint32_t)box->x1,
				.y = (uint32_t)box->y1,
				.width = (uint32_t)(box->x2 - box->x1),
				.height = (uint32_t)(box->y2 - box->y1),
			},
		},
		.image = resource->image,
	};
	pixman_region32_init_with_extents(&whole, (pixman_box32_t *)box);
	pixman_region32_subtract(&resource->three_d->stale, &resource->three_d->stale, &whole);
	pixman_region32_fini(&whole);
	return true;
}

/* What the call was about, unless that is gone. */
static struct vtr_resource *find_read(struct vtr_gpu *gpu, const struct vtr_render_call *call)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, call->args.resource_id);

	return resource && resource->three_d && resource->image == call->image ? resource : NULL;
}

/* With its process, at any moment. */
static bool can_be_lost(const struct vtr_gpu *gpu)
{
	return vtr_renderer_pid(gpu->options.renderer) != 0;
}

/* A copy was made for whoever looks at the resource, or may have to once the renderer is lost. */
static void count(struct vtr_gpu *gpu, const struct vtr_resource *resource, uint64_t bytes)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (scanout->resource == resource && (vtr_output_demand(scanout->output) != VTR_DEMAND_NONE || can_be_lost(gpu)))
			scanout->stats.bytes_copied += bytes;
	}
}

/* A call is done. Scanouts that wait for it are presented again. */
static void end(struct vtr_gpu *gpu, const struct vtr_render_call *call)
{
	struct vtr_resource *resource = find_read(gpu, call);
	struct vtr_error error;

	vtr_readback_end(gpu, call->image);
	if (!resource)
		return;
	if (call->code) {
		pixman_region32_union_rect(&resource->three_d->stale, &resource->three_d->stale, (int)call->args.read.x,
		                           (int)call->args.read.y, call->args.read.width, call->args.read.height);
		vtr_error_set(&error, call->code == -EOPNOTSUPP ? VTR_ERROR_UNSUPPORTED : VTR_ERROR_HOST, -call->code,
		              "the renderer does not give the picture back: %s", strerror(-call->code));
		unreadable(gpu, resource, &error);
	} else {
		resource->three_d->unreadable = (struct vtr_backoff){ 0 };
		resource->three_d->was_read = true;
		count(gpu, resource, (uint64_t)call->args.read.width * call->args.read.height * 4);
	}
	vtr_scanouts_continue(gpu, resource);
}

/* ---- flushes ---- */

static bool wants_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	enum vtr_output_demand demand = vtr_output_demand(scanout->output);
	struct vtr_choice choice;

	if (demand == VTR_DEMAND_NONE && !can_be_lost(gpu))
		return false;
	choice = vtr_ladder_choose(gpu, scanout);
	return choice.path == VTR_PATH_READBACK || (choice.path == VTR_PATH_VIRGL && demand == VTR_DEMAND_PIXELS);
}

/* What all outputs together want of the resource: false when that is nothing. */
static bool wanted_part(struct vtr_gpu *gpu, const struct vtr_resource *resource, pixman_region32_t *wanted)
{
	pixman_region32_t part;

	pixman_region32_init(&part);
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (scanout->resource == resource && wants_pixels(gpu, scanout) && stale_part(scanout, &part))
			pixman_region32_union(wanted, wanted, &part);
	}
	pixman_region32_fini(&part);
	return pixman_region32_not_empty(wanted);
}

/* The copy may be as it was: that is seen when it is presented. */
static uint32_t go_on(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	return vtr_flush_drawn(gpu, request, &(struct vtr_render_call){ .code = 0 });
}

static uint32_t was_read(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	end(gpu, call);
	return call->code == -ECANCELED ? vtr_gpu_render_error(call->code) : go_on(gpu, request);
}

static uint32_t was_drawn(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, request->command.flush.resource_id);
	struct vtr_render_call read;
	pixman_region32_t wanted;

	if (call->code || !resource || !resource->three_d)
		return vtr_flush_drawn(gpu, request, call);
	pixman_region32_init(&wanted);
	bool reads = wanted_part(gpu, resource, &wanted) && begin(gpu, resource, &wanted, &read);
	pixman_region32_fini(&wanted);
	return reads ? vtr_gpu_render(gpu, request, &read, was_read) : go_on(gpu, request);
}

uint32_t vtr_readback_flush(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource)
{
	const struct virtio_gpu_rect *r = &request->command.flush.r;
	pixman_region32_t flushed;

	if (resource->three_d->width) {
		pixman_region32_init_rect(&flushed, (int)r->x, (int)r->y, r->width, r->height);
		vtr_region_add(&resource->three_d->stale, &flushed);
		pixman_region32_fini(&flushed);
	}
	return vtr_gpu_render_fence(gpu, request, was_drawn);
}

/* ---- without a flush ---- */

/* 1: up to date; 0: call is to be made; -1: it cannot be had now. */
static int look(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_render_call *call)
{
	struct vtr_resource *resource = scanout->resource;
	pixman_region32_t part;
	int result = 1;

	if (resource->three_d->lost)
		return vtr_readback_is_there(resource) ? 1 : -1;
	pixman_region32_init(&part);
	if (!resource->image)
		vtr_readback_all_stale(resource);
	if (stale_part(scanout, &part))
		result = begin(gpu, resource, &part, call) ? 0 : -1;
	pixman_region32_fini(&part);
	return result;
}

static bool is_read(struct vtr_gpu *gpu, const struct vtr_resource *resource)
{
	return resource->image && !*find_reading(gpu, resource->image);
}

bool vtr_readback_update(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	struct vtr_render_call call;

	if (!scanout->resource->three_d)
		return true;
	int result = look(gpu, scanout, &call);
	if (!result)
		result = vtr_gpu_render_aside(gpu, &call, end) ? -1 : 1;
	if (scanout->resource->image && *find_reading(gpu, scanout->resource->image))
		scanout->waiting = true;
	return result > 0 && is_read(gpu, scanout->resource);
}

bool vtr_readback_update_now(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	struct vtr_render_call call;

	if (!scanout->resource->three_d)
		return true;
	if (!is_read(gpu, scanout->resource) && scanout->resource->image)
		vtr_gpu_render_wait_image(gpu, scanout->resource->image);
	if (!is_read(gpu, scanout->resource))
		vtr_readback_all_stale(scanout->resource); /* what a command waits for is done when this is */
	int result = look(gpu, scanout, &call);
	if (!result) {
		result = vtr_gpu_render_now(gpu, &call) ? -1 : 1;
		end(gpu, &call);
	}
	return result > 0 && scanout->resource->image;
}
