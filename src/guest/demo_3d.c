/* SPDX-License-Identifier: MIT */
/*
 * The moving picture of a guest that draws by OpenGL, without OpenGL: a triangle of three colours that turns before a background
 * that changes, as command streams of a virgl context. Each frame's vertices go in its stream.
 */
#include <math.h>
#include <string.h>

#include "guest/command_3d.h"
#include "guest/demo.h"

enum {
	CTX = 1,
	VERTICES = VTR_DEMO_FIRST_ID + VTR_GUEST_DEMO_BUFFERS + 1, /* behind the cursor's id */
	CORNERS = 3,
	FLOATS = 8, /* of a corner: position, colour */
	STATE = 20,
	FRAMES_A_TURN = 240,
};

static bool ok(uint32_t response)
{
	return response == VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t make_resource(struct vtr_guest *guest, uint32_t id, const struct vtr_texture *texture)
{
	uint32_t response = vtr_command_create_3d(guest, id, texture);

	return ok(response) ? vtr_command_ctx_attach(guest, CTX, id) : response;
}

/* State that stays: what a vertex is and becomes, a surface of each buffer. */
static uint32_t set_up(struct vtr_demo *demo)
{
	struct vtr_virgl_stream stream = { 0 };

	for (uint32_t i = 0; i < vtr_demo_buffers(demo); i++)
		vtr_virgl_surface(&stream, VTR_DEMO_FIRST_ID + i, VTR_DEMO_FIRST_ID + i, VIRGL_FORMAT_B8G8R8X8_UNORM, 0, 0);
	vtr_virgl_plain_state(&stream, STATE, demo->width, demo->height);
	vtr_virgl_vertex_buffer(&stream, VERTICES, FLOATS * sizeof(float));
	return vtr_command_submit_stream(demo->guest, CTX, &stream);
}

static int make(struct vtr_demo *demo)
{
	const struct vtr_texture target = { .target = PIPE_TEXTURE_2D,
		                            .format = VIRGL_FORMAT_B8G8R8X8_UNORM,
		                            .bind = VIRGL_BIND_RENDER_TARGET | VIRGL_BIND_SAMPLER_VIEW | VIRGL_BIND_SCANOUT,
		                            .width = demo->width,
		                            .height = demo->height };
	const struct vtr_texture vertices = { .target = PIPE_BUFFER,
		                              .format = VIRGL_FORMAT_R8_UNORM,
		                              .bind = VIRGL_BIND_VERTEX_BUFFER,
		                              .width = CORNERS * FLOATS * sizeof(float),
		                              .height = 1 };
	uint32_t response = vtr_command_ctx_create(demo->guest, CTX, 0, "demo");

	for (uint32_t i = 0; i < vtr_demo_buffers(demo) && ok(response); i++)
		response = make_resource(demo->guest, VTR_DEMO_FIRST_ID + i, &target);
	if (ok(response))
		response = make_resource(demo->guest, VERTICES, &vertices);
	if (ok(response))
		response = set_up(demo);
	return ok(response) ? VTR_GUEST_OK : vtr_demo_fail(demo->guest, "making a scene", response);
}

/* Corner i of the triangle, as wide as it is high whatever the picture is. */
static void corner(const struct vtr_demo *demo, uint32_t frame, unsigned i, float vertex[FLOATS])
{
	const double turn = 2 * M_PI * ((double)(frame % FRAMES_A_TURN) / FRAMES_A_TURN + i / 3.0);
	const double side = demo->width < demo->height ? demo->width : demo->height;
	const float values[FLOATS] = {
		(float)(0.9 * sin(turn) * side / demo->width),
		(float)(-0.9 * cos(turn) * side / demo->height),
		0,
		1,
		i == 0,
		i == 1,
		i == 2,
		1,
	};

	memcpy(vertex, values, sizeof(values));
}

static uint32_t draw(struct vtr_demo *demo, uint32_t frame, uint32_t buffer)
{
	const float shade = (float)(frame % 512 < 256 ? frame % 256 : 255 - frame % 256) / 255;
	float vertices[CORNERS][FLOATS];
	struct vtr_virgl_stream stream = { 0 };

	for (unsigned i = 0; i < CORNERS; i++)
		corner(demo, frame, i, vertices[i]);
	vtr_virgl_inline_write(&stream, VERTICES, 0, 0, sizeof(vertices), vertices, sizeof(vertices));
	vtr_virgl_framebuffer(&stream, VTR_DEMO_FIRST_ID + buffer);
	vtr_virgl_clear(&stream, (struct vtr_virgl_colour){ 0.1f, 0.1f * shade, 0.3f * shade, 1 });
	vtr_virgl_draw_triangles(&stream, 0, CORNERS);
	return vtr_command_submit_stream(demo->guest, CTX, &stream);
}

static uint32_t show(struct vtr_demo *demo, uint32_t frame, uint32_t buffer, uint32_t scanout, bool new)
{
	const struct vtr_rect all = { 0, 0, demo->width, demo->height };
	uint32_t response = new ? draw(demo, frame, buffer) : VIRTIO_GPU_RESP_OK_NODATA;

	if (ok(response))
		response = vtr_command_set_scanout(demo->guest, scanout, VTR_DEMO_FIRST_ID + buffer, all);
	return ok(response) ? vtr_command_flush(demo->guest, VTR_DEMO_FIRST_ID + buffer, all) : response;
}

static void describe(const struct vtr_demo *demo, FILE *out)
{
	fputs("drawn by the device's renderer", out);
}

const struct vtr_demo_painter vtr_demo_3d = {
	.feature = VIRTIO_GPU_F_VIRGL,
	.missing = "the device does not offer VIRGL, which --3d is about; start it with: vitrine --3d virgl",
	.make = make,
	.show = show,
	.describe = describe,
};
