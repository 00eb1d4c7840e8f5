/* SPDX-License-Identifier: MIT */
#ifndef TEST_VIRGL_FIXTURE_H
#define TEST_VIRGL_FIXTURE_H

#include <glib.h>
#include <stdint.h>

#include <vitrine/loop.h>
#include <vitrine/memory.h>

#include "render/renderer.h"
#include "virgl_stream.h"

/* The real library, on the software device, and memory for a guest. */
enum { GUEST_SIZE = 1 << 20, MAX_DONE = 256 };

struct virgl_fixture {
	struct vtr_loop *loop;
	struct vtr_renderer *renderer;
	struct vtr_spans guest; // GUEST_SIZE bytes
	uint64_t done[MAX_DONE];
	unsigned n_done, n_lost;
};

static inline uint8_t *guest_bytes(const struct virgl_fixture *fixture)
{
	return fixture->guest.items[0].region->data;
}

static inline uint32_t *guest_words(const struct virgl_fixture *fixture)
{
	return (uint32_t *)(void *)guest_bytes(fixture);
}

void virgl_fixture_init(struct virgl_fixture *fixture);
/* With what the test sets in options; fails the test when it cannot be made. */
void virgl_fixture_init_with(struct virgl_fixture *fixture, const struct vtr_renderer_options *options);
void virgl_fixture_finish(struct virgl_fixture *fixture);

/* A call without more to it than its arguments. */
int virgl_call(struct virgl_fixture *fixture, uint32_t op, uint32_t ctx_id, uint32_t resource_id);
int virgl_create_context(struct virgl_fixture *fixture, uint32_t ctx_id);
/* A texture that can be drawn to. */
struct vtr_render_args virgl_texture(uint32_t resource_id, uint32_t format, uint32_t width, uint32_t height);
int virgl_create(struct virgl_fixture *fixture, const struct vtr_render_args *args);
int virgl_attach_backing(struct virgl_fixture *fixture, uint32_t resource_id);
int virgl_submit(struct virgl_fixture *fixture, uint32_t ctx_id, const struct virgl_stream *stream);
int virgl_transfer(struct virgl_fixture *fixture, uint32_t op, uint32_t ctx_id, uint32_t resource_id,
                   const struct vtr_render_box *box, uint64_t offset, uint32_t level, uint32_t stride, uint32_t layer_stride);
int virgl_fence(struct virgl_fixture *fixture, uint64_t id, uint32_t ctx_id);
void virgl_wait_fences(struct virgl_fixture *fixture, unsigned count);
int virgl_read(struct virgl_fixture *fixture, uint32_t resource_id, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
               struct vtr_image *image);

/* Of a picture; x and y in it. */
uint32_t image_pixel(const struct vtr_image *image, uint32_t x, uint32_t y);

#endif
