/* SPDX-License-Identifier: MIT */
#include "egl/egl.h"

#include <stdlib.h>

/* Rows as GL has them, the bottom one first and bytes in the order red, green, blue, alpha, into box of an x8r8g8b8 image. */
static void turn(const uint8_t *from, const pixman_box32_t *box, pixman_image_t *image)
{
	size_t stride = (size_t)pixman_image_get_stride(image);
	uint8_t *data = (uint8_t *)pixman_image_get_data(image);

	for (int y = box->y2 - 1; y >= box->y1; y--) {
		uint32_t *row = (uint32_t *)(data + (size_t)y * stride);

		for (int x = box->x1; x < box->x2; x++, from += 4)
			row[x] = UINT32_C(0xff000000) | (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
	}
}

static GLuint create_target(uint32_t width, uint32_t height, GLuint *texture)
{
	GLuint framebuffer;

	glGenTextures(1, texture);
	glBindTexture(GL_TEXTURE_2D, *texture);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, (GLsizei)width, (GLsizei)height, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	glGenFramebuffers(1, &framebuffer);
	glBindFramebuffer(GL_FRAMEBUFFER, framebuffer);
	glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, *texture, 0);
	return framebuffer;
}

bool vtr_egl_read_box(const struct vtr_egl_painter *painter, const struct vtr_egl_picture *picture, const pixman_box32_t *box,
                      pixman_image_t *image)
{
	uint32_t width = (uint32_t)(box->x2 - box->x1), height = (uint32_t)(box->y2 - box->y1);
	uint8_t *bytes = malloc((size_t)width * height * 4);
	GLuint texture = 0, framebuffer = create_target(width, height, &texture);
	bool ok = bytes && glCheckFramebufferStatus(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE;

	if (ok) {
		vtr_egl_paint_clear(width, height);
		vtr_egl_paint(painter, picture, width, height, -box->x1, -box->y1, pixman_image_get_width(image),
		              pixman_image_get_height(image));
		glPixelStorei(GL_PACK_ALIGNMENT, 1);
		glReadPixels(0, 0, (GLsizei)width, (GLsizei)height, GL_RGBA, GL_UNSIGNED_BYTE, bytes);
		turn(bytes, box, image);
	}
	free(bytes);
	glBindFramebuffer(GL_FRAMEBUFFER, 0);
	glDeleteFramebuffers(1, &framebuffer);
	glDeleteTextures(1, &texture);
	return ok;
}

pixman_image_t *vtr_egl_read_picture(const struct vtr_egl_painter *painter, const struct vtr_egl_picture *picture, uint32_t width,
                                     uint32_t height)
{
	pixman_image_t *image = pixman_image_create_bits(PIXMAN_x8r8g8b8, (int)width, (int)height, NULL, 0);
	const pixman_box32_t all = { 0, 0, (int)width, (int)height };

	if (image && !vtr_egl_read_box(painter, picture, &all, image)) {
		pixman_image_unref(image);
		image = NULL;
	}
	return image;
}
