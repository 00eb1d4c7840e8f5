/* SPDX-License-Identifier: MIT */
#include "guest/check/3d.h"

#include <stdlib.h>
#include <string.h>

enum { SURFACE = 50, TRIANGLE_SURFACE = 100, STATE, PIXEL = 4 };

/* ---- contexts and resources ---- */

static uint32_t newest_capset(struct vtr_guest *guest)
{
	struct virtio_gpu_resp_capset_info info;
	uint32_t n = vtr_guest_config(guest, offsetof(struct virtio_gpu_config, num_capsets)), newest = VIRTIO_GPU_CAPSET_VIRGL;

	for (uint32_t i = 0; i < n && i < 16; i++)
		if (vtr_command_capset_info(guest, i, &info) == VIRTIO_GPU_RESP_OK_CAPSET_INFO &&
		    info.capset_id == VIRTIO_GPU_CAPSET_VIRGL2)
			newest = VIRTIO_GPU_CAPSET_VIRGL2;
	return newest;
}

bool vtr_3d_context(struct vtr_check *check, uint32_t ctx)
{
	struct vtr_guest *guest = check->guest;
	bool init = vtr_guest_features(guest) & VTR_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT);

	return vtr_expect_ok(check, "CTX_CREATE", vtr_command_ctx_create(guest, ctx, init ? newest_capset(guest) : 0, "check"));
}

bool vtr_3d_create(struct vtr_check *check, struct vtr_3d_resource *resource, uint32_t id, const struct vtr_texture *texture,
                   uint64_t size)
{
	struct vtr_guest *guest = check->guest;
	uint64_t address = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_RAM], size, 4096);
	struct virtio_gpu_mem_entry entry = { address, (uint32_t)size, 0 };

	*resource = (struct vtr_3d_resource){
		.id = id, .texture = *texture, .address = address, .size = size, .pixels = vtr_guest_data(guest, address, size)
	};
	if (!resource->pixels)
		return vtr_check_fail(check, "no room for a backing of %llu bytes", (unsigned long long)size);
	memset(resource->pixels, 0, size);
	return vtr_expect_ok(check, "RESOURCE_CREATE_3D", vtr_command_create_3d(guest, id, texture)) &&
	       vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, id, &entry, 1));
}

bool vtr_3d_attach(struct vtr_check *check, struct vtr_3d_resource *resource, uint32_t ctx)
{
	resource->ctx = ctx;
	return vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(check->guest, ctx, resource->id));
}

struct vtr_texture vtr_3d_target_texture(uint32_t flags)
{
	return (struct vtr_texture){ .target = PIPE_TEXTURE_2D,
		                     .format = VIRGL_FORMAT_B8G8R8X8_UNORM,
		                     .bind = VIRGL_BIND_RENDER_TARGET | VIRGL_BIND_SAMPLER_VIEW | VIRGL_BIND_SCANOUT,
		                     .width = VTR_3D_W,
		                     .height = VTR_3D_H,
		                     .flags = flags };
}

bool vtr_3d_target(struct vtr_check *check, struct vtr_3d_resource *resource, uint32_t ctx, uint32_t id, uint32_t flags)
{
	struct vtr_texture texture = vtr_3d_target_texture(flags);

	return vtr_3d_create(check, resource, id, &texture, VTR_3D_W * VTR_3D_H * PIXEL) &&
	       (!ctx || vtr_3d_attach(check, resource, ctx));
}

bool vtr_3d_scene(struct vtr_check *check, struct vtr_3d_resource *target)
{
	return vtr_3d_context(check, VTR_3D_CTX) && vtr_3d_target(check, target, VTR_3D_CTX, VTR_3D_TARGET, 0);
}

/* ---- drawing ---- */

void vtr_3d_draw_on(struct vtr_virgl_stream *stream, uint32_t handle, const struct vtr_3d_resource *resource)
{
	vtr_virgl_surface(stream, handle, resource->id, resource->texture.format, 0, 0);
	vtr_virgl_framebuffer(stream, handle);
}

struct vtr_virgl_colour vtr_3d_colour(uint32_t rgb)
{
	return (struct vtr_virgl_colour){ (float)(rgb >> 16 & 0xff) / 255, (float)(rgb >> 8 & 0xff) / 255,
		                          (float)(rgb & 0xff) / 255, 1 };
}

uint32_t vtr_3d_try_clear(struct vtr_check *check, uint32_t ctx, const struct vtr_3d_resource *resource, uint32_t rgb)
{
	struct vtr_virgl_stream stream = { 0 };

	vtr_3d_draw_on(&stream, SURFACE, resource);
	vtr_virgl_clear(&stream, vtr_3d_colour(rgb));
	vtr_virgl_framebuffer(&stream, 0);
	vtr_virgl_destroy(&stream, VIRGL_OBJECT_SURFACE, SURFACE);
	return vtr_command_submit_stream(check->guest, ctx, &stream);
}

bool vtr_3d_clear(struct vtr_check *check, uint32_t ctx, const struct vtr_3d_resource *resource, uint32_t rgb)
{
	return vtr_expect_ok(check, "SUBMIT_3D of a clear", vtr_3d_try_clear(check, ctx, resource, rgb));
}

void vtr_3d_triangle(float vertices[VTR_3D_TRIANGLE_FLOATS], uint32_t rgb)
{
	static const float corners[3][2] = { { -1, -1 }, { 1, -1 }, { -1, 1 } };
	struct vtr_virgl_colour c = vtr_3d_colour(rgb);

	for (int i = 0; i < 3; i++)
		memcpy(&vertices[i * VTR_3D_VERTEX_FLOATS],
		       (const float[]){ corners[i][0], corners[i][1], 0, 1, c.red, c.green, c.blue, c.alpha },
		       VTR_3D_VERTEX_FLOATS * sizeof(float));
}

bool vtr_3d_vertices(struct vtr_check *check, struct vtr_3d_resource *buffer, uint32_t ctx, uint32_t id, uint32_t rgb)
{
	enum { BYTES = VTR_3D_TRIANGLE_FLOATS * sizeof(float) };
	const struct vtr_texture texture = { .target = PIPE_BUFFER,
		                             .format = VIRGL_FORMAT_R8_UNORM,
		                             .bind = VIRGL_BIND_VERTEX_BUFFER,
		                             .width = BYTES,
		                             .height = 1 };
	const struct vtr_transfer all = { .box = { .w = BYTES, .h = 1, .d = 1 } };

	if (!vtr_3d_create(check, buffer, id, &texture, BYTES))
		return false;
	vtr_3d_triangle(buffer->pixels, rgb);
	return vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(check->guest, ctx, id)) &&
	       vtr_expect_ok(check, "TRANSFER_TO_HOST_3D of vertices",
	                     vtr_command_transfer_to_host_3d(check->guest, ctx, id, &all));
}

void vtr_3d_draw_triangle(struct vtr_virgl_stream *stream, const struct vtr_3d_resource *target, uint32_t vertices)
{
	vtr_3d_draw_on(stream, TRIANGLE_SURFACE, target);
	vtr_virgl_plain_state(stream, STATE, target->texture.width, target->texture.height);
	vtr_virgl_vertex_buffer(stream, vertices, VTR_3D_VERTEX_FLOATS * sizeof(float));
	vtr_virgl_draw_triangles(stream, 0, 3);
}

bool vtr_3d_drawn(struct vtr_check *check, struct vtr_3d_resource *target, uint32_t flags, uint32_t rgb, uint32_t outside)
{
	struct vtr_virgl_stream stream = { 0 };
	struct vtr_3d_resource vertices;

	if (!vtr_3d_context(check, VTR_3D_CTX) || !vtr_3d_target(check, target, VTR_3D_CTX, VTR_3D_TARGET, flags) ||
	    !vtr_3d_vertices(check, &vertices, VTR_3D_CTX, VTR_3D_VERTICES, rgb))
		return false;
	vtr_3d_draw_on(&stream, SURFACE, target);
	vtr_virgl_clear(&stream, vtr_3d_colour(outside));
	vtr_3d_draw_triangle(&stream, target, VTR_3D_VERTICES);
	return vtr_expect_ok(check, "SUBMIT_3D of a triangle", vtr_command_submit_stream(check->guest, VTR_3D_CTX, &stream));
}

/* ---- reading back ---- */

struct vtr_transfer vtr_3d_whole(const struct vtr_3d_resource *resource)
{
	const struct vtr_texture *t = &resource->texture;

	return (struct vtr_transfer){ .box = { .w = t->width, .h = t->height, .d = 1 } };
}

bool vtr_3d_read_back(struct vtr_check *check, const struct vtr_3d_resource *resource)
{
	struct vtr_transfer all = vtr_3d_whole(resource);

	memset(resource->pixels, 0xa5, resource->size);
	return vtr_expect_ok(check, "TRANSFER_FROM_HOST_3D",
	                     vtr_command_transfer_from_host_3d(check->guest, resource->ctx, resource->id, &all));
}

uint32_t vtr_3d_pixel(const struct vtr_3d_resource *resource, uint32_t x, uint32_t y)
{
	const uint8_t *bytes = resource->pixels;

	return vtr_pattern_decode(resource->texture.format, bytes + ((size_t)y * resource->texture.width + x) * PIXEL);
}

bool vtr_3d_expect_colour(struct vtr_check *check, const struct vtr_3d_resource *resource, uint32_t rgb)
{
	if (!vtr_3d_read_back(check, resource))
		return false;
	for (uint32_t y = 0; y < resource->texture.height; y++)
		for (uint32_t x = 0; x < resource->texture.width; x++)
			if (vtr_3d_pixel(resource, x, y) != rgb)
				return vtr_check_fail(check, "pixel %u,%u that was read back: expected %06x, got %06x", x, y, rgb,
				                      vtr_3d_pixel(resource, x, y));
	return true;
}

/* Interpolation may round. */
static bool close_to(uint32_t one, uint32_t other)
{
	for (int shift = 0; shift <= 16; shift += 8)
		if (abs((int)(one >> shift & 0xff) - (int)(other >> shift & 0xff)) > 1)
			return false;
	return true;
}

bool vtr_3d_expect_triangle(struct vtr_check *check, const struct vtr_3d_resource *target, uint32_t rgb, uint32_t outside)
{
	const uint32_t w = target->texture.width, h = target->texture.height;
	const bool turned = target->texture.flags & VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP;

	if (!vtr_3d_read_back(check, target))
		return false;
	for (uint32_t y = 0; y < h; y++) {
		for (uint32_t x = 0; x < w; x++) {
			/* the edge is where x/w + y/h = 1 */
			const uint32_t place = x * h + (turned ? h - 1 - y : y) * w, edge = w * h, near = 2 * (w + h);
			const uint32_t got = vtr_3d_pixel(target, x, y), expected = place < edge ? rgb : outside;

			if (place + near > edge && place < edge + near)
				continue;
			if (!close_to(got, expected))
				return vtr_check_fail(check, "pixel %u,%u of a triangle: expected %06x, got %06x", x, y, expected,
				                      got);
		}
	}
	return true;
}

/* ---- showing ---- */

bool vtr_3d_show(struct vtr_check *check, const struct vtr_3d_resource *resource)
{
	struct vtr_rect all = { 0, 0, resource->texture.width, resource->texture.height };

	return vtr_expect_ok(check, "SET_SCANOUT", vtr_command_set_scanout(check->guest, 0, resource->id, all)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, resource->id, all));
}

static uint32_t pixel_of(const void *data, uint32_t x, uint32_t y)
{
	return vtr_3d_pixel(data, x, y);
}

bool vtr_3d_expect_shown(struct vtr_check *check, const struct vtr_3d_resource *resource)
{
	return vtr_expect_pixels(check, 0, false, resource->texture.width, resource->texture.height, pixel_of, resource);
}
