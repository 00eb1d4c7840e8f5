/* SPDX-License-Identifier: MIT */
/*
 * Resources: textures and buffers of virglrenderer, and blobs. It has its own table of them; ours says what is there, because it
 * replaces one by another of the same id, and ignores ids that it does not know.
 *
 * It checks what it is asked to create against what GL can do, but not all: what it would hand on to GL unseen, or reckon with
 * without looking for an overflow, is refused here.
 */
#include <errno.h>
#include <stdlib.h>

#include <linux/virtio_gpu.h>

#include "render/virgl.h"

enum {
	MAX_LAYERS = 2048, /* GL has as many at least */
	MAX_DEPTH = 2048,
	MAX_SAMPLES = 32,
	MAX_FORMAT = 1024,
};

#define MAX_BUFFER_BYTES (UINT64_C(1) << 30)
#define MAX_TEXELS (UINT64_C(1) << 27) // virglrenderer reckons in 32 bits: 16 bytes each still fit

static struct vtr_virgl_resource **slot(struct vtr_virgl *virgl, uint32_t id)
{
	struct vtr_virgl_resource **link = &virgl->resources[id % VTR_VIRGL_BUCKETS];

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

struct vtr_virgl_resource *vtr_virgl_resource(struct vtr_virgl *virgl, uint32_t id)
{
	return *slot(virgl, id);
}

int vtr_virgl_resource_prepare(struct vtr_virgl *virgl, uint32_t id, struct vtr_virgl_resource **resource)
{
	if (!id || vtr_virgl_resource(virgl, id))
		return -EINVAL;
	if (virgl->n_resources >= VTR_MAX_RESOURCES)
		return -ENOMEM;
	*resource = calloc(1, sizeof(**resource));
	if (!*resource)
		return -ENOMEM;
	(*resource)->id = id;
	return 0;
}

int vtr_virgl_resource_insert(struct vtr_virgl *virgl, struct vtr_virgl_resource *resource, int code)
{
	if (code) {
		free(resource->backing);
		free(resource);
		return code;
	}
	*slot(virgl, resource->id) = resource;
	virgl->n_resources++;
	return 0;
}

/* Backing first: virglrenderer keeps what it points to for as long as somebody else refers to the resource. */
static void destroy(struct vtr_virgl *virgl, struct vtr_virgl_resource **link)
{
	struct vtr_virgl_resource *resource = *link;

	vtr_virgl_backing_detach(resource);
	virgl_renderer_resource_unref(resource->id);
	*link = resource->next;
	virgl->n_resources--;
	free(resource);
}

int vtr_virgl_unref(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	struct vtr_virgl_resource **link = slot(virgl, call->args.resource_id);

	if (!*link)
		return -ENOENT;
	destroy(virgl, link);
	return 0;
}

void vtr_virgl_destroy_resources(struct vtr_virgl *virgl)
{
	for (unsigned i = 0; i < VTR_VIRGL_BUCKETS; i++)
		while (virgl->resources[i])
			destroy(virgl, &virgl->resources[i]);
}

/* ---- RESOURCE_CREATE_3D ---- */

static bool levels_fit(uint32_t last_level, uint32_t width, uint32_t height, uint32_t depth)
{
	uint32_t largest = width > height ? width : height;

	if (depth > largest)
		largest = depth;
	return last_level < 32 && largest >> last_level;
}

static uint64_t texels_of_texture(uint32_t target, uint32_t width, uint32_t height, uint32_t depth, uint32_t layers)
{
	if (width > VTR_MAX_DIMENSION || height > VTR_MAX_DIMENSION || depth > MAX_DEPTH || layers > MAX_LAYERS)
		return 0;
	if (depth > 1 && target != VTR_PIPE_TEXTURE_3D)
		return 0;
	if (height > 1 && (target == VTR_PIPE_TEXTURE_1D || target == VTR_PIPE_TEXTURE_1D_ARRAY))
		return 0;
	uint64_t texels = (uint64_t)width * height * depth;
	return texels <= MAX_TEXELS / layers ? texels * layers : 0;
}

uint64_t vtr_virgl_texels(const struct vtr_render_args *args)
{
	uint32_t width = args->create_3d.width, height = args->create_3d.height, depth = args->create_3d.depth;
	uint32_t target = args->create_3d.target, layers = args->create_3d.array_size;

	if (target > VTR_PIPE_TEXTURE_CUBE_ARRAY || !args->create_3d.format || args->create_3d.format > MAX_FORMAT || !width ||
	    !height || !depth || args->create_3d.nr_samples > MAX_SAMPLES ||
	    !levels_fit(args->create_3d.last_level, width, height, depth))
		return 0;
	if (target == VTR_PIPE_BUFFER)
		return width <= MAX_BUFFER_BYTES && height == 1 && depth == 1 && layers <= 1 && !args->create_3d.nr_samples ? width
		                                                                                                            : 0;
	if (!layers)
		layers = target < VTR_PIPE_TEXTURE_CUBE || target == VTR_PIPE_TEXTURE_RECT; // that have none
	return layers ? texels_of_texture(target, width, height, depth, layers) : 0;
}

static bool is_valid(const struct vtr_render_args *args)
{
	return !(args->create_3d.flags & ~(uint32_t)VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP) && vtr_virgl_texels(args);
}

/* Bytes; 0 where blocks of pixels are compressed. virglrenderer tells of a row only. */
static uint32_t pixel_size(const struct vtr_virgl_resource *resource, uint32_t format)
{
	struct virgl_renderer_resource_info info;

	if (vtr_virgl_is_compressed(format) || virgl_renderer_resource_get_info((int)resource->id, &info) ||
	    info.stride % resource->width)
		return 0;
	return info.stride / resource->width;
}

int vtr_virgl_create_3d(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	const struct vtr_render_args *args = &call->args;
	struct vtr_virgl_resource *resource;
	struct virgl_renderer_resource_create_args create = {
		.handle = args->resource_id,
		.target = args->create_3d.target,
		.format = args->create_3d.format,
		.bind = args->create_3d.bind,
		.width = args->create_3d.width,
		.height = args->create_3d.height,
		.depth = args->create_3d.depth,
		.array_size = args->create_3d.array_size,
		.last_level = args->create_3d.last_level,
		.nr_samples = args->create_3d.nr_samples,
		.flags = args->create_3d.flags,
	};
	int code = is_valid(args) ? vtr_virgl_resource_prepare(virgl, args->resource_id, &resource) : -EINVAL;

	if (code < 0)
		return code;
	resource->target = create.target;
	resource->nr_samples = create.nr_samples;
	resource->width = create.width;
	resource->height = create.height;
	code = vtr_virgl_code(virgl_renderer_resource_create(&create, NULL, 0));
	if (!code)
		resource->pixel = pixel_size(resource, create.format);
	return vtr_virgl_resource_insert(virgl, resource, code);
}

/* ---- backing and transfers ---- */

int vtr_virgl_attach_backing(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	struct vtr_virgl_resource *resource = vtr_virgl_resource(virgl, call->args.resource_id);
	struct iovec *backing;
	int count, code;

	if (!resource)
		return -ENOENT;
	if (resource->backing)
		return -EINVAL;
	code = vtr_virgl_backing_from_spans(call->spans, &backing, &count);
	if (code < 0)
		return code;
	code = vtr_virgl_code(virgl_renderer_resource_attach_iov((int)resource->id, backing, count));
	if (code) {
		free(backing);
		return code;
	}
	resource->backing = backing;
	resource->n_backing = count;
	return 0;
}

int vtr_virgl_detach_backing(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	struct vtr_virgl_resource *resource = vtr_virgl_resource(virgl, call->args.resource_id);

	if (!resource)
		return -ENOENT;
	vtr_virgl_backing_detach(resource);
	return 0;
}

static int transfer_to_host(const struct vtr_render_args *args)
{
	const struct vtr_render_box *from = &args->transfer.box;
	struct virgl_box box = { from->x, from->y, from->z, from->w, from->h, from->d };

	return vtr_virgl_code(virgl_renderer_transfer_write_iov(args->resource_id, args->ctx_id, (int)args->transfer.level,
	                                                        args->transfer.stride, args->transfer.layer_stride, &box,
	                                                        args->transfer.offset, NULL, 0));
}

static int transfer_from_host(const struct vtr_render_args *args)
{
	const struct vtr_render_box *from = &args->transfer.box;
	struct virgl_box box = { from->x, from->y, from->z, from->w, from->h, from->d };

	return vtr_virgl_code(virgl_renderer_transfer_read_iov(args->resource_id, args->ctx_id, args->transfer.level,
	                                                       args->transfer.stride, args->transfer.layer_stride, &box,
	                                                       args->transfer.offset, NULL, 0));
}

static uint32_t at_level(uint32_t size, uint32_t level)
{
	return size >> level ? size >> level : 1;
}

/* How far apart layers are in the backing; 0: not known (a format that has no pixels of its own). */
static uint64_t layer_stride_of(const struct vtr_virgl_resource *resource, const struct vtr_render_args *args)
{
	uint32_t level = args->transfer.level;
	uint64_t stride = args->transfer.stride;

	if (args->transfer.layer_stride)
		return args->transfer.layer_stride;
	if (!stride)
		stride = (uint64_t)at_level(resource->width, level) * resource->pixel;
	return stride * at_level(resource->height, level);
}

/* What can be drawn to virglrenderer reads of one layer only, whatever the box says: so one after another. */
static int transfer_layers_from_host(const struct vtr_virgl_resource *resource, const struct vtr_render_args *args)
{
	struct vtr_render_args layer = *args;
	uint64_t apart = layer_stride_of(resource, args);
	int code = 0;

	if (args->transfer.box.d <= 1 || !apart)
		return transfer_from_host(args);
	layer.transfer.box.d = 1;
	for (uint32_t i = 0; i < args->transfer.box.d && !code; i++) {
		layer.transfer.box.z = args->transfer.box.z + i;
		layer.transfer.offset = args->transfer.offset + i * apart;
		code = transfer_from_host(&layer);
	}
	return code;
}

static int transfer(struct vtr_virgl *virgl, const struct vtr_render_args *args, bool to_host)
{
	const struct vtr_virgl_resource *resource = vtr_virgl_resource(virgl, args->resource_id);

	if (!resource || (args->ctx_id && !vtr_virgl_context(virgl, args->ctx_id)))
		return -ENOENT;
	if (!resource->backing || args->transfer.level >= 32 ||
	    !vtr_virgl_transfer_fits(&args->transfer.box, args->transfer.offset, args->transfer.stride,
	                             args->transfer.layer_stride))
		return -EINVAL;
	return to_host ? transfer_to_host(args) : transfer_layers_from_host(resource, args);
}

int vtr_virgl_transfer_to_host(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	return transfer(virgl, &call->args, true);
}

int vtr_virgl_transfer_from_host(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	return transfer(virgl, &call->args, false);
}
