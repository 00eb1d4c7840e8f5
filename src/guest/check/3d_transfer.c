/* SPDX-License-Identifier: MIT */
/*
 * TRANSFER_TO_HOST_3D and TRANSFER_FROM_HOST_3D: virtio 1.3, 5.7.6.8. A box of a level goes between the resource and its backing,
 * whose rows are `stride` and whose slices `layer_stride` bytes apart from `offset` on; 0: as far as those of a backing that holds
 * the whole level.
 */
#include <string.h>

#include "guest/check/3d.h"

enum { CTX = VTR_3D_CTX, ID = VTR_3D_TARGET, UNKNOWN = VTR_3D_UNKNOWN, W = VTR_3D_W, H = VTR_3D_H, PIXEL = 4, POISON = 0xa5 };

/* A texture and a part of it: filled, and read back to another place of the backing in other strides. */
struct trip_row {
	struct vtr_texture texture;
	struct vtr_transfer to, from;
	uint32_t pixel; /* bytes; 0: 4 */
};

static uint32_t pixel_size(const struct trip_row *row)
{
	return row->pixel ? row->pixel : PIXEL;
}

static uint32_t minify(uint32_t side, uint32_t level)
{
	return side >> level ? side >> level : 1;
}

/* Of row y, slice z of a transfer's box, from the backing's beginning. */
static uint64_t row_offset(const struct trip_row *row, const struct vtr_transfer *transfer, uint32_t y, uint32_t z)
{
	uint64_t width = minify(row->texture.width, transfer->level), height = minify(row->texture.height, transfer->level);
	uint64_t stride = transfer->stride ? transfer->stride : width * pixel_size(row);
	uint64_t layer = transfer->layer_stride ? transfer->layer_stride : stride * height;

	return transfer->offset + z * layer + y * stride;
}

static uint64_t end_of(const struct trip_row *row, const struct vtr_transfer *transfer)
{
	return row_offset(row, transfer, transfer->box.h - 1, transfer->box.d - 1) + (uint64_t)transfer->box.w * pixel_size(row);
}

/* No two bytes near one another are the same. */
static uint8_t byte_of(uint32_t i, uint32_t y, uint32_t z)
{
	return (uint8_t)(i * 7 + y * 31 + z * 101 + 3);
}

static void fill(const struct trip_row *row, const struct vtr_transfer *transfer, uint8_t *backing)
{
	for (uint32_t z = 0; z < transfer->box.d; z++)
		for (uint32_t y = 0; y < transfer->box.h; y++)
			for (uint32_t i = 0; i < transfer->box.w * pixel_size(row); i++)
				backing[row_offset(row, transfer, y, z) + i] = byte_of(i, y, z);
}

/* All bytes of the backing: those of `from` are what `to` brought, the others are poison. */
static bool compare(struct vtr_check *check, const struct trip_row *row, const struct vtr_3d_resource *resource)
{
	static uint8_t expected[1 << 20];
	const uint8_t *got = resource->pixels;
	const uint32_t dx = (row->from.box.x - row->to.box.x) * pixel_size(row), dy = row->from.box.y - row->to.box.y,
		       dz = row->from.box.z - row->to.box.z;

	memset(expected, POISON, resource->size);
	for (uint32_t z = 0; z < row->from.box.d; z++)
		for (uint32_t y = 0; y < row->from.box.h; y++)
			for (uint32_t i = 0; i < row->from.box.w * pixel_size(row); i++)
				expected[row_offset(row, &row->from, y, z) + i] = byte_of(i + dx, y + dy, z + dz);
	for (uint64_t i = 0; i < resource->size; i++)
		if (got[i] != expected[i])
			return vtr_check_fail(check, "byte %llu of the backing: expected %02x, got %02x", (unsigned long long)i,
			                      expected[i], got[i]);
	return true;
}

static bool trip(struct vtr_check *check, const void *row)
{
	const struct trip_row *r = row;
	struct vtr_guest *guest = check->guest;
	uint64_t to = end_of(r, &r->to), from = end_of(r, &r->from);
	struct vtr_3d_resource resource;

	if (!vtr_3d_context(check, CTX) || !vtr_3d_create(check, &resource, ID, &r->texture, (to > from ? to : from) + 100) ||
	    !vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(guest, CTX, ID)))
		return false;
	fill(r, &r->to, resource.pixels);
	if (!vtr_expect_ok(check, "TRANSFER_TO_HOST_3D", vtr_command_transfer_to_host_3d(guest, CTX, ID, &r->to)))
		return false;
	memset(resource.pixels, POISON, resource.size);
	return vtr_expect_ok(check, "TRANSFER_FROM_HOST_3D", vtr_command_transfer_from_host_3d(guest, CTX, ID, &r->from)) &&
	       compare(check, r, &resource);
}

/* Part of a picture is written: the rest stays. */
static bool part(struct vtr_check *check, const void *row)
{
	const uint32_t blue = 0x0000ff;
	const struct vtr_transfer box = { .box = { 40, 20, 0, 50, 30, 1 }, .stride = 256, .offset = 512 };
	struct vtr_3d_resource target;
	uint8_t *bytes;

	if (!vtr_3d_scene(check, &target) || !vtr_3d_clear(check, CTX, &target, blue))
		return false;
	bytes = target.pixels;
	for (uint32_t y = 0; y < box.box.h; y++)
		for (uint32_t x = 0; x < box.box.w; x++)
			memcpy(&bytes[box.offset + y * box.stride + x * PIXEL],
			       (const uint8_t[]){ (uint8_t)x, (uint8_t)y, 200, 255 }, PIXEL);
	if (!vtr_expect_ok(check, "TRANSFER_TO_HOST_3D of a part", vtr_command_transfer_to_host_3d(check->guest, CTX, ID, &box)) ||
	    !vtr_3d_read_back(check, &target))
		return false;
	for (uint32_t y = 0; y < H; y++) {
		for (uint32_t x = 0; x < W; x++) {
			bool inside = x - box.box.x < box.box.w && y - box.box.y < box.box.h;
			uint32_t expected = inside ? 200 << 16 | (y - box.box.y) << 8 | (x - box.box.x) : blue;

			if (vtr_3d_pixel(&target, x, y) != expected)
				return vtr_check_fail(check, "pixel %u,%u: expected %06x, got %06x", x, y, expected,
				                      vtr_3d_pixel(&target, x, y));
		}
	}
	return true;
}

/* Two levels and two layers hold what they were given, each its own. */
static bool apart(struct vtr_check *check, const void *row)
{
	const struct vtr_texture texture = { .target = PIPE_TEXTURE_2D_ARRAY,
		                             .format = VIRGL_FORMAT_B8G8R8A8_UNORM,
		                             .bind = VIRGL_BIND_SAMPLER_VIEW,
		                             .width = 16,
		                             .height = 16,
		                             .array_size = 2,
		                             .last_level = 1 };
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource resource;

	if (!vtr_3d_context(check, CTX) || !vtr_3d_create(check, &resource, ID, &texture, 4096) ||
	    !vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(guest, CTX, ID)))
		return false;
	uint8_t *bytes = resource.pixels;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < 4; i++) {
			const uint32_t side = 16u >> (i & 1), size = side * side * PIXEL;
			const struct vtr_transfer all = { .box = { .z = i >> 1, .w = side, .h = side, .d = 1 }, .level = i & 1 };

			memset(bytes, pass ? 0 : (int)(i + 1), size);
			if (!vtr_expect_ok(check, pass ? "TRANSFER_FROM_HOST_3D" : "TRANSFER_TO_HOST_3D",
			                   pass ? vtr_command_transfer_from_host_3d(guest, CTX, ID, &all)
			                        : vtr_command_transfer_to_host_3d(guest, CTX, ID, &all)) ||
			    !vtr_expect_value(check, "first byte of a level and layer", bytes[0], i + 1) ||
			    !vtr_expect_value(check, "its last byte", bytes[size - 1], i + 1))
				return false;
		}
	}
	return true;
}

/* What must not be: neither way, and the picture stays. */
static bool beyond(struct vtr_check *check, const void *row)
{
	const uint32_t colour = 0x123456;
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) && vtr_3d_clear(check, CTX, &target, colour) &&
	       vtr_expect_response(check, "TRANSFER_TO_HOST_3D", vtr_command_transfer_to_host_3d(guest, CTX, ID, row),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	       vtr_expect_response(check, "TRANSFER_FROM_HOST_3D", vtr_command_transfer_from_host_3d(guest, CTX, ID, row),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	       vtr_3d_expect_colour(check, &target, colour);
}

static bool of_unknown(struct vtr_check *check, const void *row)
{
	const uint32_t resource = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, context = VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target;

	if (!vtr_3d_scene(check, &target))
		return false;
	const struct vtr_transfer all = vtr_3d_whole(&target);
	return vtr_expect_response(check, "TRANSFER_TO_HOST_3D of an unknown resource",
	                           vtr_command_transfer_to_host_3d(guest, CTX, UNKNOWN, &all), resource) &&
	       vtr_expect_response(check, "TRANSFER_FROM_HOST_3D of an unknown resource",
	                           vtr_command_transfer_from_host_3d(guest, CTX, UNKNOWN, &all), resource) &&
	       vtr_expect_response(check, "TRANSFER_TO_HOST_3D in an unknown context",
	                           vtr_command_transfer_to_host_3d(guest, UNKNOWN, ID, &all), context) &&
	       vtr_expect_response(check, "TRANSFER_FROM_HOST_3D in an unknown context",
	                           vtr_command_transfer_from_host_3d(guest, UNKNOWN, ID, &all), context);
}

/* Without a context: what no context has yet can be filled. */
static bool without_context(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;

	if (!vtr_3d_target(check, &target, 0, ID, 0))
		return false;
	const struct vtr_transfer all = vtr_3d_whole(&target);
	memset(target.pixels, 0x42, target.size);
	return vtr_expect_ok(check, "TRANSFER_TO_HOST_3D", vtr_command_transfer_to_host_3d(check->guest, 0, ID, &all)) &&
	       vtr_3d_context(check, CTX) && vtr_3d_attach(check, &target, CTX) && vtr_3d_expect_colour(check, &target, 0x424242);
}

#define TEXTURE(...) .texture = { __VA_ARGS__ }
#define FORMAT VIRGL_FORMAT_B8G8R8A8_UNORM
#define SAMPLED VIRGL_BIND_SAMPLER_VIEW
#define TRIP(...)                                                                                                                  \
	trip, &(const struct trip_row)                                                                                             \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}
#define BEYOND(...)                                                                                                                \
	beyond, &(const struct vtr_transfer)                                                                                       \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}
#define ALL .box = { 0, 0, 0, W, H, 1 }

static const struct vtr_check_case cases[] = {
	{ "1d", TRIP(TEXTURE(PIPE_TEXTURE_1D, FORMAT, SAMPLED, 64, 1), .to = { .box = { 0, 0, 0, 64, 1, 1 } },
	             .from = { .box = { 10, 0, 0, 20, 1, 1 }, .offset = 12 }) },
	{ "2d", TRIP(TEXTURE(PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 48), .to = { .box = { 0, 0, 0, 64, 48, 1 } },
	             .from = { .box = { 0, 0, 0, 64, 48, 1 } }) },
	{ "2d-part", TRIP(TEXTURE(PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 48), .to = { .box = { 0, 0, 0, 64, 48, 1 } },
	                  .from = { .box = { 7, 5, 0, 31, 20, 1 }, .offset = 4096, .stride = 256 }) },
	{ "2d-strides", TRIP(TEXTURE(PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 48),
	                     .to = { .box = { 3, 2, 0, 33, 40, 1 }, .offset = 68, .stride = 512 },
	                     .from = { .box = { 4, 3, 0, 30, 33, 1 }, .offset = 1000, .stride = 132 }) },
	{ "2d-y-0-top",
	  TRIP(TEXTURE(PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 48, .flags = VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP),
	       .to = { .box = { 0, 0, 0, 64, 48, 1 } }, .from = { .box = { 7, 5, 0, 31, 20, 1 }, .offset = 4096, .stride = 256 }) },
	{ "rgba", TRIP(TEXTURE(PIPE_TEXTURE_2D, VIRGL_FORMAT_R8G8B8A8_UNORM, SAMPLED, 64, 48),
	               .to = { .box = { 0, 0, 0, 64, 48, 1 } }, .from = { .box = { 7, 5, 0, 31, 20, 1 }, .offset = 16 }) },
	{ "one-byte-pixels", TRIP(TEXTURE(PIPE_TEXTURE_2D, VIRGL_FORMAT_R8_UNORM, SAMPLED, 61, 47),
	                          .to = { .box = { 0, 0, 0, 61, 47, 1 }, .stride = 64 },
	                          .from = { .box = { 5, 5, 0, 50, 40, 1 }, .offset = 3, .stride = 77 }, .pixel = 1) },
	{ "level-2", TRIP(TEXTURE(PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 48, .last_level = 3),
	                  .to = { .box = { 0, 0, 0, 16, 12, 1 }, .level = 2 },
	                  .from = { .box = { 3, 2, 0, 10, 9, 1 }, .level = 2, .offset = 100, .stride = 64 }) },
	{ "layers", TRIP(TEXTURE(PIPE_TEXTURE_2D_ARRAY, FORMAT, SAMPLED, 32, 24, 1, 7), .to = { .box = { 0, 0, 2, 32, 24, 1 } },
	                 .from = { .box = { 4, 4, 2, 20, 10, 1 }, .offset = 64 }) },
	{ "cube-face", TRIP(TEXTURE(PIPE_TEXTURE_CUBE, FORMAT, SAMPLED, 32, 32, 1, 6), .to = { .box = { 0, 0, 5, 32, 32, 1 } },
	                    .from = { .box = { 4, 4, 5, 20, 10, 1 }, .offset = 64 }) },
	{ "3d-slices", TRIP(TEXTURE(PIPE_TEXTURE_3D, FORMAT, SAMPLED, 16, 12, 8), .to = { .box = { 0, 0, 0, 16, 12, 8 } },
	                    .from = { .box = { 2, 3, 4, 9, 5, 3 }, .offset = 4 }) },
	{ "3d-strides", TRIP(TEXTURE(PIPE_TEXTURE_3D, FORMAT, SAMPLED, 16, 12, 8),
	                     .to = { .box = { 0, 0, 0, 16, 12, 8 }, .stride = 80, .layer_stride = 1200 },
	                     .from = { .box = { 0, 0, 1, 16, 12, 4 }, .offset = 8, .stride = 100, .layer_stride = 1300 }) },
	{ "buffer",
	  TRIP(TEXTURE(PIPE_BUFFER, VIRGL_FORMAT_R8_UNORM, VIRGL_BIND_VERTEX_BUFFER, 4096, 1),
	       .to = { .box = { 0, 0, 0, 4096, 1, 1 } }, .from = { .box = { 1000, 0, 0, 777, 1, 1 }, .offset = 33 }, .pixel = 1) },
	{ "part", part },
	{ "levels-and-layers-apart", apart },
	{ "without-context", without_context },
	{ "of-unknown", of_unknown },
	{ "too-wide", BEYOND(.box = { 1, 0, 0, W, H, 1 }) },
	{ "too-high", BEYOND(.box = { 0, 0, 0, W, H + 1, 1 }) },
	{ "too-deep", BEYOND(.box = { 0, 0, 0, W, H, 2 }) },
	{ "x-wraps", BEYOND(.box = { UINT32_MAX, 0, 0, 2, 1, 1 }) },
	{ "y-wraps", BEYOND(.box = { 0, UINT32_MAX, 0, 1, 2, 1 }) },
	{ "z-wraps", BEYOND(.box = { 0, 0, UINT32_MAX, 1, 1, 2 }) },
	{ "slice-1", BEYOND(.box = { 0, 0, 1, W, H, 1 }) },
	{ "width-2^32-1", BEYOND(.box = { 0, 0, 0, UINT32_MAX, 1, 1 }) },
	{ "no-width", BEYOND(.box = { 0, 0, 0, 0, 1, 1 }) },
	{ "no-height", BEYOND(.box = { 0, 0, 0, 1, 0, 1 }) },
	{ "no-depth", BEYOND(.box = { 0, 0, 0, 1, 1, 0 }) },
	{ "level-1-of-1", BEYOND(.box = { 0, 0, 0, 1, 1, 1 }, .level = 1) },
	{ "level-2^32-1", BEYOND(.box = { 0, 0, 0, 1, 1, 1 }, .level = UINT32_MAX) },
	{ "past-backing", BEYOND(ALL, .offset = 4) },
	{ "one-row-past-backing", BEYOND(.box = { 0, 0, 0, W, 1, 1 }, .offset = W * H * PIXEL) },
	{ "offset-wraps", BEYOND(ALL, .offset = UINT64_MAX - 3) },
	{ "offset-2^63", BEYOND(ALL, .offset = UINT64_C(1) << 63) },
	{ "stride-too-small", BEYOND(ALL, .stride = W * PIXEL - 4) },
	{ "stride-too-large", BEYOND(ALL, .stride = W * PIXEL + 4) },
	{ "stride-overflows", BEYOND(ALL, .stride = UINT32_MAX) },
};

const struct vtr_check_family vtr_check_3d_transfer = { "3d-transfer", cases, VTR_CHECK_COUNT(cases), .three_d = true };
