/* SPDX-License-Identifier: MIT */
/* What streams draw, read back: every pixel. */
#include <string.h>

#include "guest/check/3d.h"

enum { CTX = VTR_3D_CTX, OTHER = VTR_3D_OTHER_CTX, ID = VTR_3D_TARGET, BUFFER = VTR_3D_VERTICES, W = VTR_3D_W, H = VTR_3D_H };
enum { RED = 0xff0000, YELLOW = 0xffff00, NAVY = 0x102030 };

static bool clear(struct vtr_check *check, const void *row)
{
	static const uint32_t colours[] = { 0x000000, 0xffffff, 0x336699, 0x0102fe, 0x7f8081 };
	struct vtr_3d_resource target;

	if (!vtr_3d_scene(check, &target))
		return false;
	for (size_t i = 0; i < VTR_CHECK_COUNT(colours); i++)
		if (!vtr_3d_clear(check, CTX, &target, colours[i]) || !vtr_3d_expect_colour(check, &target, colours[i]))
			return false;
	return true;
}

/* row: a format; the colour's channels are where the format has them. */
static bool clear_format(struct vtr_check *check, const void *row)
{
	struct vtr_texture texture = vtr_3d_target_texture(0);
	struct vtr_3d_resource target;

	texture.format = *(const uint32_t *)row;
	return vtr_3d_context(check, CTX) && vtr_3d_create(check, &target, ID, &texture, W * H * 4) &&
	       vtr_3d_attach(check, &target, CTX) && vtr_3d_clear(check, CTX, &target, 0x336699) &&
	       vtr_3d_expect_colour(check, &target, 0x336699);
}

/* Each level and each layer of an array is a target of its own. */
static bool clear_layer(struct vtr_check *check, const void *row)
{
	struct vtr_texture texture = vtr_3d_target_texture(0);
	struct vtr_virgl_stream stream = { 0 };
	struct vtr_3d_resource target;

	texture.target = PIPE_TEXTURE_2D_ARRAY;
	texture.array_size = 3;
	if (!vtr_3d_context(check, CTX) || !vtr_3d_create(check, &target, ID, &texture, W * H * 4) ||
	    !vtr_3d_attach(check, &target, CTX))
		return false;
	for (uint32_t layer = 0; layer < 3; layer++) {
		vtr_virgl_surface(&stream, 20 + layer, ID, texture.format, 0, layer);
		vtr_virgl_framebuffer(&stream, 20 + layer);
		vtr_virgl_clear(&stream, vtr_3d_colour(0x010101 * (layer + 1)));
	}
	if (!vtr_expect_ok(check, "SUBMIT_3D", vtr_command_submit_stream(check->guest, CTX, &stream)))
		return false;
	for (uint32_t layer = 0; layer < 3; layer++) {
		struct vtr_transfer all = vtr_3d_whole(&target);

		all.box.z = layer;
		if (!vtr_expect_ok(check, "TRANSFER_FROM_HOST_3D",
		                   vtr_command_transfer_from_host_3d(check->guest, CTX, ID, &all)) ||
		    !vtr_expect_value(check, "the upper left pixel of a layer", vtr_3d_pixel(&target, 0, 0),
		                      0x010101 * (layer + 1)) ||
		    !vtr_expect_value(check, "the lower right one", vtr_3d_pixel(&target, W - 1, H - 1), 0x010101 * (layer + 1)))
			return false;
	}
	return true;
}

/* row: flags of RESOURCE_CREATE_3D. Which row is the first must be the same when it is drawn and when it is read back. */
static bool triangle(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;

	return vtr_3d_drawn(check, &target, *(const uint32_t *)row, YELLOW, NAVY) &&
	       vtr_3d_expect_triangle(check, &target, YELLOW, NAVY);
}

/* The vertices come in the stream. */
static bool inline_vertices(struct vtr_check *check, const void *row)
{
	float corners[VTR_3D_TRIANGLE_FLOATS];
	struct vtr_virgl_stream stream = { 0 };
	struct vtr_3d_resource target, vertices;

	if (!vtr_3d_scene(check, &target) || !vtr_3d_vertices(check, &vertices, CTX, BUFFER, YELLOW))
		return false;
	vtr_3d_triangle(corners, RED);
	vtr_3d_draw_on(&stream, 9, &target);
	vtr_virgl_clear(&stream, vtr_3d_colour(NAVY));
	vtr_virgl_inline_write(&stream, BUFFER, 0, 0, sizeof(corners), corners, sizeof(corners));
	vtr_3d_draw_triangle(&stream, &target, BUFFER);
	return vtr_expect_ok(check, "SUBMIT_3D of a triangle", vtr_command_submit_stream(check->guest, CTX, &stream)) &&
	       vtr_3d_expect_triangle(check, &target, RED, NAVY);
}

/* State stays from one stream to the next, each context's its own. */
static bool state_stays(struct vtr_check *check, const void *row)
{
	struct vtr_virgl_stream first = { 0 }, second = { 0 };
	struct vtr_3d_resource target, vertices, other;

	if (!vtr_3d_scene(check, &target) || !vtr_3d_vertices(check, &vertices, CTX, BUFFER, YELLOW) ||
	    !vtr_3d_context(check, OTHER) || !vtr_3d_target(check, &other, OTHER, ID + 1, 0))
		return false;
	vtr_3d_draw_triangle(&first, &target, BUFFER);
	vtr_virgl_clear(&second, vtr_3d_colour(NAVY));
	vtr_virgl_draw_triangles(&second, 0, 3);
	return vtr_expect_ok(check, "SUBMIT_3D", vtr_command_submit_stream(check->guest, CTX, &first)) &&
	       vtr_3d_clear(check, OTHER, &other, RED) &&
	       vtr_expect_ok(check, "SUBMIT_3D that goes on", vtr_command_submit_stream(check->guest, CTX, &second)) &&
	       vtr_3d_expect_triangle(check, &target, YELLOW, NAVY) && vtr_3d_expect_colour(check, &other, RED);
}

/* From one resource to another, at another place. */
static bool copy(struct vtr_check *check, const void *row)
{
	enum { X = 30, Y = 10, CW = 40, CH = 50 };
	struct vtr_virgl_stream stream = { 0 };
	struct vtr_3d_resource from, to;

	if (!vtr_3d_scene(check, &to) || !vtr_3d_target(check, &from, CTX, ID + 1, 0) || !vtr_3d_clear(check, CTX, &from, RED) ||
	    !vtr_3d_clear(check, CTX, &to, NAVY))
		return false;
	vtr_virgl_copy(&stream, to.id, X, Y, from.id, CW, CH);
	if (!vtr_expect_ok(check, "SUBMIT_3D of a copy", vtr_command_submit_stream(check->guest, CTX, &stream)) ||
	    !vtr_3d_read_back(check, &to))
		return false;
	for (uint32_t y = 0; y < H; y++) {
		for (uint32_t x = 0; x < W; x++) {
			uint32_t expected = x - X < CW && y - Y < CH ? RED : NAVY;

			if (vtr_3d_pixel(&to, x, y) != expected)
				return vtr_check_fail(check, "pixel %u,%u: expected %06x, got %06x", x, y, expected,
				                      vtr_3d_pixel(&to, x, y));
		}
	}
	return true;
}

/* A 2D resource can be attached, too: what it holds, and what is transferred to it later, is there for the context, as in a
 * resource that is Y_0_TOP: its last row is the first that the context sees. */
static bool two_d_resource(struct vtr_check *check, const void *row)
{
	enum { PLAIN = 20 };
	struct vtr_guest *guest = check->guest;
	struct vtr_image image = { 0 };
	struct vtr_3d_resource target;
	const struct vtr_rect all = { 0, 0, W, H };
	struct vtr_virgl_stream stream = { 0 };
	bool passed =
		vtr_3d_scene(check, &target) &&
		vtr_expect_success(check, "laying out an image",
	                           vtr_image_init(&image, guest, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H })) &&
		vtr_expect_ok(check, "RESOURCE_CREATE_2D",
	                      vtr_command_create_2d(guest, PLAIN, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W, H)) &&
		vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, PLAIN, image.entries, image.n_entries));

	vtr_virgl_copy(&stream, ID, 0, 0, PLAIN, W, H);
	for (uint32_t frame = 1; passed && frame <= 2; frame++) {
		const struct vtr_pattern pattern = { W, H, frame };

		vtr_image_draw_all(&image, &pattern);
		passed = vtr_expect_ok(check, "TRANSFER_TO_HOST_2D", vtr_command_transfer(guest, PLAIN, all, 0)) &&
		         (frame > 1 || vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(guest, CTX, PLAIN))) &&
		         vtr_expect_ok(check, "SUBMIT_3D of a copy", vtr_command_submit_stream(guest, CTX, &stream)) &&
		         vtr_3d_read_back(check, &target);
		for (uint32_t i = 0; passed && i < W * H; i++) {
			uint32_t x = i % W, y = i / W, expected = vtr_pattern_pixel(&pattern, x, H - 1 - y);

			if (vtr_3d_pixel(&target, x, y) != expected)
				passed = vtr_check_fail(check, "pixel %u,%u of frame %u: expected %06x, got %06x", x, y, frame,
				                        expected, vtr_3d_pixel(&target, x, y));
		}
	}
	vtr_image_finish(&image);
	return passed;
}

#define NUMBER(n)                                                                                                                  \
	&(const uint32_t)                                                                                                          \
	{                                                                                                                          \
		n                                                                                                                  \
	}

static const struct vtr_check_case cases[] = {
	{ "clear", clear },
	{ "clear-b8g8r8a8", clear_format, NUMBER(VIRGL_FORMAT_B8G8R8A8_UNORM) },
	{ "clear-r8g8b8a8", clear_format, NUMBER(VIRGL_FORMAT_R8G8B8A8_UNORM) },
	{ "clear-layer", clear_layer },
	{ "triangle", triangle, NUMBER(0) },
	{ "triangle-y-0-top", triangle, NUMBER(VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP) },
	{ "inline-vertices", inline_vertices },
	{ "state-stays", state_stays },
	{ "copy", copy },
	{ "2d-resource", two_d_resource },
};

const struct vtr_check_family vtr_check_3d_draw = { "3d-draw", cases, VTR_CHECK_COUNT(cases), .three_d = true };
