/* SPDX-License-Identifier: MIT */
#ifndef TEST_VIRGL_STREAM_H
#define TEST_VIRGL_STREAM_H

#include <stdint.h>
#include <string.h>

/* Command streams as Mesa's virgl driver writes them, as far as tests need: a header word (what, which kind of object, how many
 * words follow) and its words. */
enum {
	CCMD_CREATE_OBJECT = 1,
	CCMD_SET_FRAMEBUFFER_STATE = 5,
	CCMD_CLEAR = 7,
	CCMD_SET_SUB_CTX = 28,
	CCMD_CREATE_SUB_CTX = 29,
	CCMD_DESTROY_SUB_CTX = 30,
	CCMD_PIPE_RESOURCE_CREATE = 48,
	CCMD_PIPE_RESOURCE_SET_TYPE = 49,

	OBJECT_SHADER = 4,
	OBJECT_SURFACE = 8,

	CLEAR_COLOR0 = 4,

	/* formats, targets, what a resource is used for */
	FORMAT_B8G8R8A8 = 1,
	FORMAT_B8G8R8X8 = 2,
	FORMAT_B5G6R5 = 7,
	FORMAT_R8 = 64,
	FORMAT_R8G8B8A8 = 67,
	TARGET_BUFFER = 0,
	TARGET_1D = 1,
	TARGET_2D = 2,
	TARGET_3D = 3,
	TARGET_CUBE = 4,
	TARGET_RECT = 5,
	TARGET_1D_ARRAY = 6,
	TARGET_2D_ARRAY = 7,
	TARGET_CUBE_ARRAY = 8,
	BIND_RENDER_TARGET = 1 << 1,
	BIND_SAMPLER_VIEW = 1 << 3,
	BIND_VERTEX_BUFFER = 1 << 4,
	BIND_SCANOUT = 1 << 18,
};

enum { STREAM_WORDS = 4096 };

struct virgl_stream {
	uint32_t words[STREAM_WORDS];
	size_t count;
};

static inline void stream_word(struct virgl_stream *stream, uint32_t word)
{
	stream->words[stream->count++] = word;
}

static inline void stream_command(struct virgl_stream *stream, uint32_t command, uint32_t object, uint32_t length)
{
	stream_word(stream, command | object << 8 | length << 16);
}

static inline void stream_float(struct virgl_stream *stream, float value)
{
	uint32_t word;

	memcpy(&word, &value, sizeof(word));
	stream_word(stream, word);
}

/* A surface (object) of a layer of a level of a texture; drawn to from now on. */
static inline void stream_draw_to(struct virgl_stream *stream, uint32_t object, uint32_t resource, uint32_t format, uint32_t level,
                                  uint32_t layer)
{
	stream_command(stream, CCMD_CREATE_OBJECT, OBJECT_SURFACE, 5);
	stream_word(stream, object);
	stream_word(stream, resource);
	stream_word(stream, format);
	stream_word(stream, level);
	stream_word(stream, layer | layer << 16);
	stream_command(stream, CCMD_SET_FRAMEBUFFER_STATE, 0, 3);
	stream_word(stream, 1);
	stream_word(stream, 0);
	stream_word(stream, object);
}

static inline void stream_clear(struct virgl_stream *stream, float r, float g, float b, float a)
{
	stream_command(stream, CCMD_CLEAR, 0, 8);
	stream_word(stream, CLEAR_COLOR0);
	stream_float(stream, r);
	stream_float(stream, g);
	stream_float(stream, b);
	stream_float(stream, a);
	for (int i = 0; i < 3; i++)
		stream_word(stream, 0); // depth (a double) and stencil
}

#endif
