/* SPDX-License-Identifier: MIT */
#include "virgl_fixture.h"

#include <string.h>

#include "util/fd.h"

static void fence_done(void *data, uint64_t id)
{
	struct virgl_fixture *fixture = data;

	g_assert_cmpuint(fixture->n_done, <, MAX_DONE);
	fixture->done[fixture->n_done++] = id;
}

static void lost(void *data, const struct vtr_error *why)
{
	struct virgl_fixture *fixture = data;

	g_assert_cmpint(why->code, ==, ENODEV);
	fixture->n_lost++;
}

void virgl_fixture_init_with(struct virgl_fixture *fixture, const struct vtr_renderer_options *options)
{
	static const struct vtr_renderer_listener listener = { .fence_done = fence_done, .lost = lost };
	struct vtr_error error = { 0 };

	*fixture = (struct virgl_fixture){ .loop = vtr_loop_create() };
	g_assert_cmpint(vtr_spans_from_file(&fixture->guest, vtr_memfd_create("guest", GUEST_SIZE), GUEST_SIZE, NULL), ==, 0);
	fixture->renderer = vtr_virgl_create(fixture->loop, options, &error);
	if (!fixture->renderer)
		g_error("%s", error.text);
	vtr_renderer_set_listener(fixture->renderer, &listener, fixture);
}

void virgl_fixture_init(struct virgl_fixture *fixture)
{
	virgl_fixture_init_with(fixture, &(struct vtr_renderer_options){ 0 });
}

void virgl_fixture_finish(struct virgl_fixture *fixture)
{
	vtr_renderer_destroy(fixture->renderer);
	vtr_spans_finish(&fixture->guest);
	vtr_loop_destroy(fixture->loop);
}

int virgl_call(struct virgl_fixture *fixture, uint32_t op, uint32_t ctx_id, uint32_t resource_id)
{
	struct vtr_render_call call = { .args = { .op = op, .ctx_id = ctx_id, .resource_id = resource_id } };

	return vtr_renderer_call_wait(fixture->renderer, &call);
}

int virgl_create_context(struct virgl_fixture *fixture, uint32_t ctx_id)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_CTX_CREATE, .ctx_id = ctx_id } };

	call.args.ctx_create.name_length = 4;
	memcpy(call.args.ctx_create.name, "test", 4);
	return vtr_renderer_call_wait(fixture->renderer, &call);
}

struct vtr_render_args virgl_texture(uint32_t resource_id, uint32_t format, uint32_t width, uint32_t height)
{
	struct vtr_render_args args = { .op = VTR_RENDER_CREATE_3D, .resource_id = resource_id };

	args.create_3d.target = TARGET_2D;
	args.create_3d.format = format;
	args.create_3d.bind = BIND_RENDER_TARGET | BIND_SAMPLER_VIEW;
	args.create_3d.width = width;
	args.create_3d.height = height;
	args.create_3d.depth = args.create_3d.array_size = 1;
	return args;
}

int virgl_create(struct virgl_fixture *fixture, const struct vtr_render_args *args)
{
	struct vtr_render_call call = { .args = *args };

	return vtr_renderer_call_wait(fixture->renderer, &call);
}

int virgl_attach_backing(struct virgl_fixture *fixture, uint32_t resource_id)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_ATTACH_BACKING, .resource_id = resource_id },
		                        .spans = &fixture->guest };

	return vtr_renderer_call_wait(fixture->renderer, &call);
}

int virgl_submit(struct virgl_fixture *fixture, uint32_t ctx_id, const struct virgl_stream *stream)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_SUBMIT, .ctx_id = ctx_id },
		                        .data = stream->words,
		                        .size = stream->count * 4 };

	return vtr_renderer_call_wait(fixture->renderer, &call);
}

int virgl_transfer(struct virgl_fixture *fixture, uint32_t op, uint32_t ctx_id, uint32_t resource_id,
                   const struct vtr_render_box *box, uint64_t offset, uint32_t level, uint32_t stride, uint32_t layer_stride)
{
	struct vtr_render_call call = { .args = { .op = op, .ctx_id = ctx_id, .resource_id = resource_id } };

	call.args.transfer.box = *box;
	call.args.transfer.offset = offset;
	call.args.transfer.level = level;
	call.args.transfer.stride = stride;
	call.args.transfer.layer_stride = layer_stride;
	return vtr_renderer_call_wait(fixture->renderer, &call);
}

int virgl_fence(struct virgl_fixture *fixture, uint64_t id, uint32_t ctx_id)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_FENCE, .ctx_id = ctx_id } };

	call.args.fence.id = id;
	call.args.fence.has_ring = ctx_id > 0;
	return vtr_renderer_call_wait(fixture->renderer, &call);
}

void virgl_wait_fences(struct virgl_fixture *fixture, unsigned count)
{
	uint64_t deadline = vtr_now_ns() + UINT64_C(60000000000);

	while (fixture->n_done < count) {
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 1000), ==, 0);
		g_assert_cmpuint(vtr_now_ns(), <, deadline);
	}
}

int virgl_read(struct virgl_fixture *fixture, uint32_t resource_id, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
               struct vtr_image *image)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_READ, .resource_id = resource_id }, .image = image };

	call.args.read.x = x;
	call.args.read.y = y;
	call.args.read.width = width;
	call.args.read.height = height;
	return vtr_renderer_call_wait(fixture->renderer, &call);
}

uint32_t image_pixel(const struct vtr_image *image, uint32_t x, uint32_t y)
{
	uint32_t pixel;

	memcpy(&pixel, image->pixels.items[0].region->data + (size_t)y * image->stride + x * 4, 4);
	return pixel;
}
