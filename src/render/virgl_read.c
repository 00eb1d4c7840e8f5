/* SPDX-License-Identifier: MIT */
/*
 * READ: pixels of a texture into an image, the picture's top row first.
 *
 * Which row is the top one. For the guest row 0 always is: so transfers count, and so does this. A texture of a resource without
 * VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP holds its rows in that order, row 0 (t = 0) first. With the flag virglrenderer draws upside down
 * and turns around what it transfers: row 0 of the texture is the picture's bottom row then. Whoever samples the texture or its
 * dmabuf (EXPORT) sees those rows as they are, and has to turn the picture around if and only if the resource was created with the
 * flag: vtr_frame.flipped.
 *
 * Where the image has the resource's own layout virglrenderer's transfer does all of it. Else GL converts.
 */
#include <drm_fourcc.h>
#include <epoxy/gl.h>
#include <errno.h>
#include <string.h>

#include <linux/virtio_gpu.h>

#include "render/virgl.h"

static uint8_t *row_of(const struct vtr_image *image, uint32_t x, uint32_t y)
{
	const struct vtr_span *pixels = &image->pixels.items[0];

	return pixels->region->data + pixels->offset + (uint64_t)y * image->stride + (uint64_t)x * 4;
}

static int read_as_it_is(const struct vtr_render_args *args, const struct vtr_image *image)
{
	struct virgl_box box = { args->read.x, args->read.y, 0, args->read.width, args->read.height, 1 };
	struct iovec to = { .iov_base = row_of(image, args->read.x, args->read.y) };

	to.iov_len = (size_t)image->stride * (args->read.height - 1) + (size_t)args->read.width * 4;
	return vtr_virgl_code(virgl_renderer_transfer_read_iov(args->resource_id, 0, 0, image->stride, 0, &box, 0, &to, 1));
}

static void swap_rows(uint8_t *a, uint8_t *b, size_t size)
{
	uint8_t part[1024];

	for (size_t at = 0, length; at < size; at += length) {
		length = size - at < sizeof(part) ? size - at : sizeof(part);
		memcpy(part, a + at, length);
		memcpy(a + at, b + at, length);
		memcpy(b + at, part, length);
	}
}

static GLenum gl_format(uint32_t fourcc)
{
	switch (fourcc) {
	case DRM_FORMAT_XRGB8888:
	case DRM_FORMAT_ARGB8888:
		return GL_BGRA;
	case DRM_FORMAT_XBGR8888:
	case DRM_FORMAT_ABGR8888:
		return GL_RGBA;
	default:
		return 0;
	}
}

/* With root current. */
static int read_texture(const struct vtr_render_args *args, const struct vtr_image *image, GLuint texture, GLint y)
{
	GLuint framebuffer;
	int code = -EOPNOTSUPP;

	glGenFramebuffers(1, &framebuffer);
	glBindFramebuffer(GL_READ_FRAMEBUFFER, framebuffer);
	glFramebufferTexture2D(GL_READ_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
	if (glCheckFramebufferStatus(GL_READ_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE) {
		while (glGetError() != GL_NO_ERROR)
			;
		glPixelStorei(GL_PACK_ALIGNMENT, 4);
		glPixelStorei(GL_PACK_ROW_LENGTH, (GLint)(image->stride / 4));
		glReadPixels((GLint)args->read.x, y, (GLsizei)args->read.width, (GLsizei)args->read.height,
		             gl_format(image->format), GL_UNSIGNED_BYTE, row_of(image, args->read.x, args->read.y));
		code = glGetError() == GL_NO_ERROR ? 0 : -EOPNOTSUPP;
	}
	glDeleteFramebuffers(1, &framebuffer);
	return code;
}

static int read_converted(struct vtr_virgl *virgl, const struct vtr_render_args *args, const struct vtr_image *image,
                          const struct virgl_renderer_resource_info *info)
{
	bool flipped = info->flags & VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP;
	uint32_t top = args->read.y, bottom = top + args->read.height - 1;
	int code;

	if (!gl_format(image->format) || !info->tex_id)
		return -EOPNOTSUPP;
	if (!vtr_virgl_gl_begin(&virgl->gl))
		return -ENODEV;
	code = read_texture(args, image, info->tex_id, (GLint)(flipped ? info->height - 1 - bottom : top));
	vtr_virgl_gl_end(&virgl->gl);
	for (; !code && flipped && top < bottom; top++, bottom--)
		swap_rows(row_of(image, args->read.x, top), row_of(image, args->read.x, bottom), (size_t)args->read.width * 4);
	return code;
}

static bool fits(uint32_t at, uint32_t length, uint32_t in_picture, uint32_t in_image)
{
	return length && (uint64_t)at + length <= in_picture && (uint64_t)at + length <= in_image;
}

int vtr_virgl_read(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	const struct vtr_render_args *args = &call->args;
	const struct vtr_virgl_resource *resource = vtr_virgl_resource(virgl, args->resource_id);
	const struct vtr_image *image = call->image;
	struct virgl_renderer_resource_info info;

	if (!resource)
		return -ENOENT;
	if (virgl_renderer_resource_get_info((int)resource->id, &info))
		return -EOPNOTSUPP; // a blob that is no texture yet
	if (!fits(args->read.x, args->read.width, info.width, image->width) ||
	    !fits(args->read.y, args->read.height, info.height, image->height))
		return -EINVAL;
	if (vtr_virgl_same_layout(info.virgl_format, image->format))
		return read_as_it_is(args, image);
	return read_converted(virgl, args, image, &info);
}
