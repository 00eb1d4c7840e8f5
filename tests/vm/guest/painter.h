/* SPDX-License-Identifier: MIT */
#ifndef PAINTER_H
#define PAINTER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The computed pictures of guest.h, drawn by OpenGL ES 3.0 into the framebuffer that is bound. Each way of drawing needs other
 * parts of a driver; the pixels have to be the same. Functions return 0 or -EIO, after a line "@@FAILED".
 */
struct painter {
	uint32_t computed, textured; /* GL's programs */
	uint32_t corners;            /* GL's buffer: a square that covers everything */
};

/* Of what is drawn into. The first row in memory is GL's last one in a window and its first one in an image. */
struct canvas {
	uint32_t width, height; /* pixels */
	bool is_window;
};

int painter_init(struct painter *painter);
void painter_finish(struct painter *painter);

/* A shader computes each pixel. */
int painter_draw(const struct painter *painter, const struct canvas *canvas, uint32_t seed);
/* The processor computes them, into a texture. */
int painter_draw_texture(const struct painter *painter, const struct canvas *canvas, uint32_t seed);
/* The cursor of picture_draw_cursor(), by the shader. */
int painter_draw_cursor(const struct painter *painter, const struct canvas *canvas, uint32_t seed);
/* Reads the pixels back and compares them. */
int painter_compare(const struct canvas *canvas, uint32_t seed);

#endif
