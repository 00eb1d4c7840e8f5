/* SPDX-License-Identifier: MIT */
/*
 * Pixels as a texture: the rung below imports. Only damaged rectangles are copied; the bytes go up as they are, and the shader puts
 * the channels in order, so that all formats cost the same.
 */
#include <errno.h>

#include "egl/egl.h"

static bool make_texture(struct vtr_egl_upload *upload, uint32_t width, uint32_t height, uint32_t fourcc, struct vtr_error *error)
{
	GLint limit = 0;

	glGetIntegerv(GL_MAX_TEXTURE_SIZE, &limit);
	if (width > (uint32_t)limit || height > (uint32_t)limit) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EFBIG, "the OpenGL driver has no textures larger than %dx%d", limit,
		              limit);
		return false;
	}
	vtr_egl_upload_finish(upload);
	glGenTextures(1, &upload->texture);
	glBindTexture(GL_TEXTURE_2D, upload->texture);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
	while (glGetError() != GL_NO_ERROR)
		;
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, (GLsizei)width, (GLsizei)height, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	if (glGetError() != GL_NO_ERROR) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "OpenGL has no memory for a texture of %ux%u", width, height);
		vtr_egl_upload_finish(upload);
		return false;
	}
	upload->width = width;
	upload->height = height;
	upload->fourcc = fourcc;
	return true;
}

/* Without GL_EXT_unpack_subimage a row can only be given by itself. */
static void upload_box(const struct vtr_egl_caps *caps, const uint8_t *pixels, uint32_t stride, const pixman_box32_t *box)
{
	const uint8_t *from = pixels + (size_t)box->y1 * stride + (size_t)box->x1 * 4;
	GLsizei width = box->x2 - box->x1;

	if (caps->unpack_subimage && stride % 4 == 0) {
		glPixelStorei(GL_UNPACK_ROW_LENGTH, (GLint)(stride / 4));
		glTexSubImage2D(GL_TEXTURE_2D, 0, box->x1, box->y1, width, box->y2 - box->y1, GL_RGBA, GL_UNSIGNED_BYTE, from);
		glPixelStorei(GL_UNPACK_ROW_LENGTH, 0);
		return;
	}
	for (int32_t y = box->y1; y < box->y2; y++, from += stride)
		glTexSubImage2D(GL_TEXTURE_2D, 0, box->x1, y, width, 1, GL_RGBA, GL_UNSIGNED_BYTE, from);
}

int64_t vtr_egl_upload_pixels(struct vtr_egl_upload *upload, const struct vtr_egl_caps *caps, const void *pixels, uint32_t stride,
                              uint32_t width, uint32_t height, uint32_t fourcc, const pixman_region32_t *damage,
                              struct vtr_error *error)
{
	bool fresh = !upload->texture || upload->width != width || upload->height != height || upload->fourcc != fourcc;
	pixman_region32_t region;
	int64_t bytes = 0;
	int n;

	if (fresh && !make_texture(upload, width, height, fourcc, error))
		return -error->code;
	pixman_region32_init_rect(&region, 0, 0, width, height);
	if (!fresh)
		pixman_region32_intersect(&region, &region, (pixman_region32_t *)damage);
	const pixman_box32_t *boxes = pixman_region32_rectangles(&region, &n);
	glBindTexture(GL_TEXTURE_2D, upload->texture);
	glPixelStorei(GL_UNPACK_ALIGNMENT, 1);
	for (int i = 0; i < n; i++) {
		upload_box(caps, pixels, stride, &boxes[i]);
		bytes += (int64_t)(boxes[i].x2 - boxes[i].x1) * (boxes[i].y2 - boxes[i].y1) * 4;
	}
	pixman_region32_fini(&region);
	return bytes;
}

void vtr_egl_upload_finish(struct vtr_egl_upload *upload)
{
	if (upload->texture)
		glDeleteTextures(1, &upload->texture);
	*upload = (struct vtr_egl_upload){ 0 };
}
