/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_FAKE_RENDERER_H
#define TESTS_UNIT_FAKE_RENDERER_H

/*
 * A renderer that draws nothing. It keeps the rules of render/renderer.h and holds its caller to them: what exists, what is
 * attached, whose memory it was lent. Every call is recorded. Tests say when calls and fences are done, what fails, and when it is
 * lost.
 *
 * Who waits for a call gets that one back. Those before it have been carried out by then, but their owners hear of it later, from
 * the loop, as they do of a renderer in another process.
 */
#include <glib.h>
#include <stdatomic.h>

#include <vitrine/loop.h>

#include "render/renderer.h"

/* A call as it was carried out. */
struct fake_call {
	struct vtr_render_args args;
	int code;
	size_t size;           /* SUBMIT: bytes */
	uint32_t word;         /* the first one: of a stream, of the backing where a TRANSFER_TO_HOST reads */
	uint64_t spans_length; /* of the spans it brought */
};

struct fake_renderer {
	struct vtr_renderer base;

	/* ---- what the test says ---- */
	bool later;                      /* calls are in progress until fake_renderer_answer(), */
	uint32_t at_once;                /* but for these kinds, bits of 1 << op */
	bool hold_fences;                /* until fake_renderer_pass_fence(); else they are done at once, from inside the call */
	int fail[VTR_RENDER_OPS];        /* the code that such calls end with; 0: what is right */
	uint32_t pixel;                  /* what READ and TRANSFER_FROM_HOST give */
	bool dmabufs;                    /* EXPORT gives one (a memfd of 4 bytes a pixel, all of them `pixel`), */
	bool textures;                   /* or a texture, whose pointers are the fake_renderer and no more; or both */
	struct vtr_buffer_layout layout; /* of what EXPORT gives; stride 0: rows one after the other */
	uint32_t lost_inside;            /* the next call of such a kind, bits of 1 << op, loses it, says so, and returns 0 */

	/* ---- what it saw ---- */
	GArray *calls;            /* struct fake_call, carried out */
	GQueue *waiting;          /* struct vtr_render_call *, in progress */
	GQueue *answered;         /* the same, carried out: done() has its turn */
	GArray *fences;           /* uint64_t, not passed yet */
	atomic_uint textures_out; /* exported and not released */

	GHashTable *contexts, *resources;
	struct vtr_source *deliver; /* event, the loop's */
};

/* Ends with vtr_renderer_destroy(). Capsets 1 and 2. */
struct fake_renderer *fake_renderer_create(void);
/* The loop that calls done() come from where somebody has waited for a later one. It is not used once the gpu is gone. */
void fake_renderer_use_loop(struct fake_renderer *fake, struct vtr_loop *loop);
static inline struct fake_renderer *fake_renderer_from(struct vtr_renderer *renderer)
{
	return (struct fake_renderer *)renderer;
}

/* Carries out the oldest n calls that are in progress, after what was carried out before was told. */
void fake_renderer_answer(struct fake_renderer *fake, unsigned n);
/* ... and all, with those that are called for meanwhile. */
void fake_renderer_answer_all(struct fake_renderer *fake);
/* The fence with that place among those held (0: the oldest) is passed. */
void fake_renderer_pass_fence(struct fake_renderer *fake, unsigned index);
/* Everything is gone; calls in progress end with -ENODEV. The next CTX_CREATE finds another renderer. */
void fake_renderer_lose(struct fake_renderer *fake);

/* How many calls of that kind were carried out; and how many there were, with those in progress. */
unsigned fake_renderer_count(const struct fake_renderer *fake, enum vtr_render_op op);
unsigned fake_renderer_asked(const struct fake_renderer *fake, enum vtr_render_op op);
/* The last one that was carried out (the test fails without one). */
const struct fake_call *fake_renderer_last(const struct fake_renderer *fake, enum vtr_render_op op);
/* Forgets the record. */
void fake_renderer_clear(struct fake_renderer *fake);

/* Does it have the resource; and its memory? */
bool fake_renderer_has(const struct fake_renderer *fake, uint32_t resource_id);
bool fake_renderer_is_lent(const struct fake_renderer *fake, uint32_t resource_id);

#endif
