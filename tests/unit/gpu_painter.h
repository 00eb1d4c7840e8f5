/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_GPU_PAINTER_H
#define TESTS_UNIT_GPU_PAINTER_H

/*
 * A renderer whose resources have one colour, the painter's: what a machine (gpu_machine.h) shows of them says when it was read.
 * It answers at once, or, as one in another process does, when the test says so.
 */
#include "gpu/gpu.h"
#include "gpu_machine.h"

struct painter {
	struct vtr_renderer base;
	uint8_t color;             /* every byte of what is drawn */
	int codes[VTR_RENDER_OPS]; /* what it answers, instead of doing it */
	bool later;                /* it answers when painter_answer() is called */
	bool slow;                 /* its fences pass when painter_draw() is called */
	bool no_texture;
	int modifier; /* of exported dmabufs; -1: it exports none */
	unsigned calls[VTR_RENDER_OPS], released;
	struct vtr_render_box read; /* the last one's */
	struct vtr_render_call *waiting;
	uint64_t fence; /* the last one */
};

static int painter_screen; /* its EGLDisplay, to be compared only */

static inline struct painter *painter_from(struct vtr_renderer *renderer)
{
	return (struct painter *)renderer;
}

static inline void painter_released(void *data)
{
	((struct painter *)data)->released++;
}

static inline void painter_read(struct painter *painter, struct vtr_render_call *call)
{
	const struct vtr_span *pixels = &call->image->pixels.items[0];
	uint32_t x = call->args.read.x, y = call->args.read.y, width = call->args.read.width, height = call->args.read.height;

	painter->read = (struct vtr_render_box){ .x = x, .y = y, .w = width, .h = height };
	for (uint32_t row = y; row < y + height; row++)
		memset(pixels->region->data + pixels->offset + (size_t)row * call->image->stride + x * 4, painter->color,
		       width * 4);
}

static inline void painter_export(struct painter *painter, struct vtr_render_call *call)
{
	const struct vtr_buffer_texture texture = { &painter_screen, painter->no_texture ? NULL : painter, GPU_WIDTH, GPU_HEIGHT };
	const struct vtr_buffer_layout layout = { .stride = 512, .offset = 64, .modifier = (uint64_t)painter->modifier };
	int fd = painter->modifier < 0 ? -1 : memfd_create("export", MFD_CLOEXEC);

	vtr_error_set(&call->why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the painter exports no dmabufs");
	if (fd >= 0)
		g_assert_cmpint(ftruncate(fd, 64 + 512 * GPU_HEIGHT), ==, 0);
	call->exported = vtr_buffer_create_texture(VTR_PATH_VIRGL, &texture, fd, painter_released, painter);
	if (fd >= 0)
		vtr_buffer_set_layout(call->exported, &layout);
}

static inline int painter_do(struct painter *painter, struct vtr_render_call *call)
{
	if (painter->codes[call->args.op])
		return painter->codes[call->args.op];
	switch (call->args.op) {
	case VTR_RENDER_READ:
		painter_read(painter, call);
		break;
	case VTR_RENDER_EXPORT:
		painter_export(painter, call);
		break;
	case VTR_RENDER_FENCE:
		painter->fence = call->args.fence.id;
		if (!painter->slow)
			painter->base.listener->fence_done(painter->base.listener_data, painter->fence);
		break;
	default:
		break;
	}
	return 0;
}

/* What is said of a resource here; all else is done at once. */
static inline int painter_call(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	struct painter *painter = painter_from(renderer);
	struct vtr_render_call **last = &painter->waiting;

	painter->calls[call->args.op]++;
	if (!painter->later || (call->args.op != VTR_RENDER_READ && call->args.op != VTR_RENDER_EXPORT))
		return painter_do(painter, call);
	while (*last)
		last = &(*last)->next;
	call->next = NULL;
	*last = call;
	return -EINPROGRESS;
}

/* Answers what waits. */
static inline void painter_answer(struct painter *painter)
{
	while (painter->waiting) {
		struct vtr_render_call *call = painter->waiting;

		painter->waiting = call->next;
		call->code = painter_do(painter, call);
		call->done(call);
	}
}

static inline void painter_wait(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	painter_answer(painter_from(renderer));
}

/* What was asked for is drawn. */
static inline void painter_draw(struct painter *painter)
{
	painter->base.listener->fence_done(painter->base.listener_data, painter->fence);
}

static inline void painter_lose(struct painter *painter)
{
	struct vtr_error why;

	vtr_error_set(&why, VTR_ERROR_HOST, ENODEV, "the painter has left");
	painter->base.listener->lost(painter->base.listener_data, &why);
}

static inline void painter_fill_capset(struct vtr_renderer *renderer, uint32_t id, uint32_t version, void *data, uint32_t size)
{
}

static inline void painter_destroy(struct vtr_renderer *renderer)
{
}

static const struct vtr_renderer_impl painter_impl = {
	.call = painter_call,
	.wait = painter_wait,
	.fill_capset = painter_fill_capset,
	.destroy = painter_destroy,
};

/* One that shares textures and no dmabufs. */
static inline void painter_init(struct painter *painter)
{
	*painter = (struct painter){ .base = { .impl = &painter_impl }, .modifier = -1 };
}

/* ---- the guest ---- */

static inline struct virtio_gpu_resource_create_3d gpu_create_3d(uint32_t id, uint32_t width, uint32_t height, uint32_t flags)
{
	return (struct virtio_gpu_resource_create_3d){
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
		.resource_id = id,
		.target = PIPE_TEXTURE_2D,
		.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.bind = PIPE_BIND_RENDER_TARGET,
		.width = width,
		.height = height,
		.depth = 1,
		.array_size = 1,
		.flags = flags,
	};
}

static inline struct virtio_gpu_set_scanout gpu_set_scanout(uint32_t scanout, uint32_t id)
{
	return (struct virtio_gpu_set_scanout){
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		.r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		.scanout_id = scanout,
		.resource_id = id,
	};
}

/* A resource of the renderer's, on scanout 0. */
static inline void gpu_machine_show_3d(struct gpu_machine *machine, uint32_t id, uint32_t flags)
{
	struct virtio_gpu_resource_create_3d create = gpu_create_3d(id, GPU_WIDTH, GPU_HEIGHT, flags);
	struct virtio_gpu_set_scanout set = gpu_set_scanout(0, id);

	GPU_ASSERT_OK(machine, create);
	GPU_ASSERT_OK(machine, set);
}

#endif
