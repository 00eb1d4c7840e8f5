/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_VIRGL_STREAM_H
#define VTR_GUEST_VIRGL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/virgl_protocol.h"

/*
 * Writes a command stream (virgl_protocol.h). A stream that got too long writes no further and is `full`: who submits looks once.
 * Handles of objects are the caller's to choose, above 0.
 */
enum { VTR_VIRGL_WORDS = 4096 };

struct vtr_virgl_stream {
	uint32_t words[VTR_VIRGL_WORDS];
	uint32_t n;
	bool full;
};

struct vtr_virgl_colour {
	float red, green, blue, alpha;
};

static inline size_t vtr_virgl_bytes(const struct vtr_virgl_stream *stream)
{
	return stream->n * sizeof(stream->words[0]);
}

/* Any command, whatever it says. */
void vtr_virgl_put(struct vtr_virgl_stream *stream, uint32_t command, uint32_t object, const uint32_t *words, uint32_t n);

/* A layer and a level of a resource as something to draw on. */
void vtr_virgl_surface(struct vtr_virgl_stream *stream, uint32_t handle, uint32_t resource, uint32_t format, uint32_t level,
                       uint32_t layer);
void vtr_virgl_framebuffer(struct vtr_virgl_stream *stream, uint32_t surface); /* draws on it; 0: on nothing */
void vtr_virgl_clear(struct vtr_virgl_stream *stream, struct vtr_virgl_colour colour);
void vtr_virgl_destroy(struct vtr_virgl_stream *stream, uint32_t object_type, uint32_t handle);

/* A shader in TGSI text, not bound. type: PIPE_SHADER_*. */
void vtr_virgl_shader(struct vtr_virgl_stream *stream, uint32_t handle, uint32_t type, const char *text);
void vtr_virgl_bind_shader(struct vtr_virgl_stream *stream, uint32_t handle, uint32_t type);

/* All that triangles need, as objects from `first` to `first` + 5, bound: no blending, no depth, no culling, vertices of two
 * attributes of four floats each, position and colour, shaders that leave both as they are; and a viewport of this size, whose y
 * goes down. */
void vtr_virgl_plain_state(struct vtr_virgl_stream *stream, uint32_t first, uint32_t width, uint32_t height);
void vtr_virgl_vertex_buffer(struct vtr_virgl_stream *stream, uint32_t resource, uint32_t stride);
void vtr_virgl_draw_triangles(struct vtr_virgl_stream *stream, uint32_t first_vertex, uint32_t vertices);

/* A row of bytes into a resource: width in its pixels (bytes of a buffer). size: a multiple of 4. */
void vtr_virgl_inline_write(struct vtr_virgl_stream *stream, uint32_t resource, uint32_t x, uint32_t y, uint32_t width,
                            const void *bytes, uint32_t size);
/* width x height pixels at 0, 0 of a resource to x, y of another, level 0 both. */
void vtr_virgl_copy(struct vtr_virgl_stream *stream, uint32_t to, uint32_t x, uint32_t y, uint32_t from, uint32_t width,
                    uint32_t height);

/* A buffer of so many bytes that RESOURCE_CREATE_BLOB takes by blob_id. */
void vtr_virgl_pipe_buffer(struct vtr_virgl_stream *stream, uint32_t blob_id, uint32_t size);

#endif
