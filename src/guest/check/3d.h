/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_CHECK_3D_H
#define VTR_GUEST_CHECK_3D_H

#include "guest/check/check.h"
#include "guest/command_3d.h"

/*
 * What the checks of contexts have in common. Most of them draw in one context, CTX, on one target, TARGET, whose backing is one
 * piece of RAM; what was drawn is read back there.
 */
enum { VTR_3D_CTX = 1, VTR_3D_OTHER_CTX = 2, VTR_3D_TARGET = 1, VTR_3D_VERTICES = 10, VTR_3D_UNKNOWN = 77, VTR_3D_W = 160, VTR_3D_H = 96 };

#define VTR_3D_VIRGL VTR_FEATURE(VIRTIO_GPU_F_VIRGL)

/* A resource with its backing. pixels: the backing, mapped here. */
struct vtr_3d_resource {
	uint32_t id;
	uint32_t ctx; /* in which transfers are made; 0: in none */
	struct vtr_texture texture;
	uint64_t address, size; /* of the backing */
	void *pixels;
};

/* A context for the newest of virgl's capsets that the device has. */
bool vtr_3d_context(struct vtr_check *check, uint32_t ctx);

/* RESOURCE_CREATE_3D with `size` bytes of backing, which are 0. */
bool vtr_3d_create(struct vtr_check *check, struct vtr_3d_resource *resource, uint32_t id, const struct vtr_texture *texture,
                   uint64_t size);
/* The same of a B8G8R8X8 target that can be drawn on, shown and sampled, attached to ctx (0: to none). flags: of
 * RESOURCE_CREATE_3D. */
bool vtr_3d_target(struct vtr_check *check, struct vtr_3d_resource *resource, uint32_t ctx, uint32_t id, uint32_t flags);
/* vtr_3d_context() of VTR_3D_CTX and vtr_3d_target() of VTR_3D_TARGET. */
bool vtr_3d_scene(struct vtr_check *check, struct vtr_3d_resource *target);

struct vtr_texture vtr_3d_target_texture(uint32_t flags);

/* CTX_ATTACH_RESOURCE; transfers are made in that context from here on. */
bool vtr_3d_attach(struct vtr_check *check, struct vtr_3d_resource *resource, uint32_t ctx);

/* Appends that ctx draws on level 0 of the resource from here on; handle: of the surface. */
void vtr_3d_draw_on(struct vtr_virgl_stream *stream, uint32_t handle, const struct vtr_3d_resource *resource);

/* The colour whose 8-bit channels are those of 0xRRGGBB, opaque. */
struct vtr_virgl_colour vtr_3d_colour(uint32_t rgb);

/* SUBMIT_3D that clears the resource in ctx. */
bool vtr_3d_clear(struct vtr_check *check, uint32_t ctx, const struct vtr_3d_resource *resource, uint32_t rgb);
/* The response's type of the same. */
uint32_t vtr_3d_try_clear(struct vtr_check *check, uint32_t ctx, const struct vtr_3d_resource *resource, uint32_t rgb);

/* TRANSFER_FROM_HOST_3D of all of level 0 into the backing. */
bool vtr_3d_read_back(struct vtr_check *check, const struct vtr_3d_resource *resource);
/* Pixel of a picture of four bytes a pixel that was read back, 0xRRGGBB. */
uint32_t vtr_3d_pixel(const struct vtr_3d_resource *resource, uint32_t x, uint32_t y);

/* Reads back and looks at all pixels: each is rgb. */
bool vtr_3d_expect_colour(struct vtr_check *check, const struct vtr_3d_resource *resource, uint32_t rgb);
/* The device's output 0 shows what the resource's backing holds since it was read back. */
bool vtr_3d_expect_shown(struct vtr_check *check, const struct vtr_3d_resource *resource);

/* SET_SCANOUT of all of the resource on scanout 0, and RESOURCE_FLUSH. */
bool vtr_3d_show(struct vtr_check *check, const struct vtr_3d_resource *resource);

/* The whole of level 0, rows one after the other from the backing's beginning. */
struct vtr_transfer vtr_3d_whole(const struct vtr_3d_resource *resource);

/* One triangle in the half of the target that is at 0, 0, its right angle in that corner: x/W + y/H < 1 is inside. Where that
 * corner is depends on the target: the first row that is drawn on is the first that is transferred, or the last one when it is
 * Y_0_TOP. Draws with state and shaders of its own; handles from 100 to 109. vertices: a buffer (vtr_3d_vertices()) that is
 * attached to the context. */
void vtr_3d_draw_triangle(struct vtr_virgl_stream *stream, const struct vtr_3d_resource *target, uint32_t vertices);
/* What is in its buffer: three vertices, position and colour each. */
enum { VTR_3D_VERTEX_FLOATS = 8, VTR_3D_TRIANGLE_FLOATS = 3 * VTR_3D_VERTEX_FLOATS };
void vtr_3d_triangle(float vertices[VTR_3D_TRIANGLE_FLOATS], uint32_t rgb);
/* A buffer with them, attached to ctx, filled by TRANSFER_TO_HOST_3D. */
bool vtr_3d_vertices(struct vtr_check *check, struct vtr_3d_resource *buffer, uint32_t ctx, uint32_t id, uint32_t rgb);
/* vtr_3d_scene() with flags of RESOURCE_CREATE_3D, and the triangle drawn there; its buffer is VTR_3D_VERTICES. */
bool vtr_3d_drawn(struct vtr_check *check, struct vtr_3d_resource *target, uint32_t flags, uint32_t rgb, uint32_t outside);
/* Reads the target back: rgb inside, outside what it was cleared to. Pixels at the edge may be either. */
bool vtr_3d_expect_triangle(struct vtr_check *check, const struct vtr_3d_resource *target, uint32_t rgb, uint32_t outside);

#endif
