/* SPDX-License-Identifier: MIT */
#include "guest/virgl_stream.h"

#include <string.h>

void vtr_virgl_put(struct vtr_virgl_stream *stream, uint32_t command, uint32_t object, const uint32_t *words, uint32_t n)
{
	if (stream->full || n > UINT16_MAX || n + 1 > VTR_VIRGL_WORDS - stream->n) {
		stream->full = true;
		return;
	}
	stream->words[stream->n++] = VIRGL_CMD0(command, object, n);
	if (n)
		memcpy(&stream->words[stream->n], words, n * sizeof(words[0]));
	stream->n += n;
}

#define PUT(stream, command, object, ...)                                                                                          \
	vtr_virgl_put(stream, command, object, (const uint32_t[]){ __VA_ARGS__ },                                                  \
	              sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static uint32_t float_bits(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

void vtr_virgl_surface(struct vtr_virgl_stream *stream, uint32_t handle, uint32_t resource, uint32_t format, uint32_t level,
                       uint32_t layer)
{
	PUT(stream, VIRGL_CCMD_CREATE_OBJECT, VIRGL_OBJECT_SURFACE, handle, resource, format, level, layer | layer << 16);
}

void vtr_virgl_framebuffer(struct vtr_virgl_stream *stream, uint32_t surface)
{
	const uint32_t words[] = { surface != 0, 0, surface };

	vtr_virgl_put(stream, VIRGL_CCMD_SET_FRAMEBUFFER_STATE, 0, words, surface ? 3 : 2);
}

void vtr_virgl_clear(struct vtr_virgl_stream *stream, struct vtr_virgl_colour colour)
{
	/* buffers, colour, depth (a double), stencil */
	PUT(stream, VIRGL_CCMD_CLEAR, 0, PIPE_CLEAR_COLOR0, float_bits(colour.red), float_bits(colour.green),
	    float_bits(colour.blue), float_bits(colour.alpha), 0, 0, 0);
}

void vtr_virgl_destroy(struct vtr_virgl_stream *stream, uint32_t object_type, uint32_t handle)
{
	PUT(stream, VIRGL_CCMD_DESTROY_OBJECT, object_type, handle);
}

/* The text goes with its end, in whole words. */
void vtr_virgl_shader(struct vtr_virgl_stream *stream, uint32_t handle, uint32_t type, const char *text)
{
	enum { HEADER = VIRGL_OBJ_SHADER_HDR_SIZE, TOKENS = 300 };
	uint32_t words[VTR_VIRGL_WORDS] = { handle, type, (uint32_t)strlen(text) + 1, TOKENS, 0 };
	uint32_t bytes = (uint32_t)strlen(text) + 1, n = HEADER + (bytes + 3) / 4;

	if (n > VTR_VIRGL_WORDS) {
		stream->full = true;
		return;
	}
	memcpy(&words[HEADER], text, bytes);
	vtr_virgl_put(stream, VIRGL_CCMD_CREATE_OBJECT, VIRGL_OBJECT_SHADER, words, n);
}

void vtr_virgl_bind_shader(struct vtr_virgl_stream *stream, uint32_t handle, uint32_t type)
{
	PUT(stream, VIRGL_CCMD_BIND_SHADER, 0, handle, type);
}

static void bind(struct vtr_virgl_stream *stream, uint32_t object_type, uint32_t handle)
{
	PUT(stream, VIRGL_CCMD_BIND_OBJECT, object_type, handle);
}

static void viewport(struct vtr_virgl_stream *stream, uint32_t width, uint32_t height)
{
	uint32_t x = float_bits((float)width / 2), y = float_bits((float)height / 2);

	/* slot, scale, translation */
	PUT(stream, VIRGL_CCMD_SET_VIEWPORT_STATE, 0, 0, x, y, float_bits(0.5f), x, y, float_bits(0.5f));
}

static void plain_shaders(struct vtr_virgl_stream *stream, uint32_t vertex, uint32_t fragment)
{
	vtr_virgl_shader(stream, vertex, PIPE_SHADER_VERTEX,
	                 "VERT\n"
	                 "DCL IN[0]\n"
	                 "DCL IN[1]\n"
	                 "DCL OUT[0], POSITION\n"
	                 "DCL OUT[1], GENERIC[0]\n"
	                 "  0: MOV OUT[0], IN[0]\n"
	                 "  1: MOV OUT[1], IN[1]\n"
	                 "  2: END\n");
	vtr_virgl_shader(stream, fragment, PIPE_SHADER_FRAGMENT,
	                 "FRAG\n"
	                 "DCL IN[0], GENERIC[0], PERSPECTIVE\n"
	                 "DCL OUT[0], COLOR\n"
	                 "  0: MOV OUT[0], IN[0]\n"
	                 "  1: END\n");
	vtr_virgl_bind_shader(stream, vertex, PIPE_SHADER_VERTEX);
	vtr_virgl_bind_shader(stream, fragment, PIPE_SHADER_FRAGMENT);
}

void vtr_virgl_plain_state(struct vtr_virgl_stream *stream, uint32_t first, uint32_t width, uint32_t height)
{
	const uint32_t colours = VIRGL_OBJ_BLEND_S2_RT_COLORMASK(0xf);
	const uint32_t blend = first, dsa = first + 1, rasterizer = first + 2, elements = first + 3;

	PUT(stream, VIRGL_CCMD_CREATE_OBJECT, VIRGL_OBJECT_BLEND, blend, 0, 0, colours, 0, 0, 0, 0, 0, 0, 0);
	PUT(stream, VIRGL_CCMD_CREATE_OBJECT, VIRGL_OBJECT_DSA, dsa, 0, 0, 0, 0);
	PUT(stream, VIRGL_CCMD_CREATE_OBJECT, VIRGL_OBJECT_RASTERIZER, rasterizer,
	    VIRGL_OBJ_RS_S0_DEPTH_CLIP | VIRGL_OBJ_RS_S0_HALF_PIXEL_CENTER, float_bits(1), 0, 0, float_bits(1), 0, 0, 0);
	/* per attribute: offset, divisor, vertex buffer, format */
	PUT(stream, VIRGL_CCMD_CREATE_OBJECT, VIRGL_OBJECT_VERTEX_ELEMENTS, elements, 0, 0, 0, VIRGL_FORMAT_R32G32B32A32_FLOAT,
	    4 * sizeof(float), 0, 0, VIRGL_FORMAT_R32G32B32A32_FLOAT);
	bind(stream, VIRGL_OBJECT_BLEND, blend);
	bind(stream, VIRGL_OBJECT_DSA, dsa);
	bind(stream, VIRGL_OBJECT_RASTERIZER, rasterizer);
	bind(stream, VIRGL_OBJECT_VERTEX_ELEMENTS, elements);
	viewport(stream, width, height);
	plain_shaders(stream, first + 4, first + 5);
}

void vtr_virgl_vertex_buffer(struct vtr_virgl_stream *stream, uint32_t resource, uint32_t stride)
{
	PUT(stream, VIRGL_CCMD_SET_VERTEX_BUFFERS, 0, stride, 0, resource);
}

void vtr_virgl_draw_triangles(struct vtr_virgl_stream *stream, uint32_t first_vertex, uint32_t vertices)
{
	const uint32_t last = first_vertex + vertices - 1;

	/* start, count, mode, indexed, instances, index bias, first instance, restart, its index, least and greatest index, count
	 * from */
	PUT(stream, VIRGL_CCMD_DRAW_VBO, 0, first_vertex, vertices, PIPE_PRIM_TRIANGLES, 0, 1, 0, 0, 0, 0, first_vertex, last, 0);
}

void vtr_virgl_inline_write(struct vtr_virgl_stream *stream, uint32_t resource, uint32_t x, uint32_t y, uint32_t width,
                            const void *bytes, uint32_t size)
{
	/* resource, level, usage, stride, layer stride, box */
	uint32_t words[VTR_VIRGL_WORDS] = { resource, 0, 0, 0, 0, x, y, 0, width, 1, 1 };

	if (size > sizeof(words) - VIRGL_RESOURCE_IW_SIZE * sizeof(words[0])) {
		stream->full = true;
		return;
	}
	memcpy(&words[VIRGL_RESOURCE_IW_SIZE], bytes, size);
	vtr_virgl_put(stream, VIRGL_CCMD_RESOURCE_INLINE_WRITE, 0, words, VIRGL_RESOURCE_IW_SIZE + size / 4);
}

void vtr_virgl_copy(struct vtr_virgl_stream *stream, uint32_t to, uint32_t x, uint32_t y, uint32_t from, uint32_t width,
                    uint32_t height)
{
	/* destination, its level, x, y, z; source, its level, box */
	PUT(stream, VIRGL_CCMD_RESOURCE_COPY_REGION, 0, to, 0, x, y, 0, from, 0, 0, 0, 0, width, height, 1);
}

void vtr_virgl_pipe_buffer(struct vtr_virgl_stream *stream, uint32_t blob_id, uint32_t size)
{
	/* target, format, bind, width, height, depth, layers, last level, samples, flags, blob_id */
	PUT(stream, VIRGL_CCMD_PIPE_RESOURCE_CREATE, 0, PIPE_BUFFER, VIRGL_FORMAT_R8_UNORM, VIRGL_BIND_CUSTOM, size, 1, 1, 1, 0, 0,
	    VIRGL_RESOURCE_FLAG_MAP_PERSISTENT | VIRGL_RESOURCE_FLAG_MAP_COHERENT, blob_id);
}
