/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_STRICT_RENDERER_H
#define TESTS_FUZZ_STRICT_RENDERER_H

#include "render/renderer.h"

/*
 * A renderer that draws nothing, and holds its caller to render/renderer.h: every call is compared with what is known of contexts,
 * resources, backings and fences, and all that a call borrows is read until it is done. What breaks the contract ends the program.
 * How it answers is the test's choice.
 */
struct strict_renderer;

struct strict_renderer *strict_create(void);
struct vtr_renderer *strict_renderer(struct strict_renderer *strict); /* destroyed by vtr_renderer_destroy() */

/* From now on calls stay in progress, and fences where they are, until strict_answer(). */
void strict_answer_later(struct strict_renderer *strict, bool later);
void strict_answer(struct strict_renderer *strict, unsigned n); /* so many calls, oldest first, and all fences */
/* The next call that may fails, with this error (-EINVAL, ...); 0: none does. */
void strict_fail(struct strict_renderer *strict, int error);
/* EXPORT gives a dmabuf; otherwise it cannot. */
void strict_export(struct strict_renderer *strict, bool exports);
/* It is lost, with all that it has. */
void strict_lose(struct strict_renderer *strict);

/* Contexts, resources, calls and fences that it has. */
unsigned strict_alive(const struct strict_renderer *strict);

#endif
