/* SPDX-License-Identifier: MIT */
/*
 * EXPORT: a texture as an EGLImage, which any context of the EGLDisplay may sample on any thread, and as a dmabuf where the driver
 * can make one (EGL_MESA_image_dma_buf_export; what virglrenderer has for that crashes without). The image keeps the pixels alive
 * when the resource is gone: the buffer holds the image and the EGLDisplay.
 *
 * Which row of the texture is the top one: virgl_read.c.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <stdlib.h>

#include "render/virgl.h"
#include "util/fd.h"

struct image {
	struct vtr_virgl_display *held;
	EGLImage image;
	PFNEGLDESTROYIMAGEPROC destroy; // epoxy would look for it in a context that is current
};

/* Any thread. */
static void release_image(void *data)
{
	struct image *image = data;

	image->destroy(image->held->display, image->image);
	vtr_virgl_display_let_go(image->held);
	free(image);
}

static struct image *create_image(struct vtr_virgl *virgl, uint32_t texture, struct vtr_error *why)
{
	static const EGLAttrib attributes[] = { EGL_NONE };
	struct image *image = malloc(sizeof(*image));

	if (!image) {
		vtr_error_set(why, VTR_ERROR_HOST, ENOMEM, "Out of memory");
		return NULL;
	}
	image->image = eglCreateImage(virgl->gl.display, virgl->gl.root, EGL_GL_TEXTURE_2D, (EGLClientBuffer)(uintptr_t)texture,
	                              attributes);
	if (!image->image) {
		vtr_error_set(why, VTR_ERROR_HOST, ENOTSUP, "EGL makes no image of this texture (0x%x): it is read back instead",
		              eglGetError());
		free(image);
		return NULL;
	}
	image->destroy = (PFNEGLDESTROYIMAGEPROC)eglGetProcAddress("eglDestroyImage");
	image->held = vtr_virgl_display_hold(virgl->gl.held);
	return image;
}

/* ---- dmabufs ---- */

static int dmabuf_of(struct vtr_virgl *virgl, const struct image *image, struct vtr_buffer_layout *layout, struct vtr_error *why)
{
	EGLDisplay display = virgl->gl.display;
	int fourcc = 0, planes = 0, fd = -1;
	EGLuint64KHR modifier = DRM_FORMAT_MOD_INVALID;
	EGLint stride = 0, offset = 0;

	if (!vtr_virgl_has_extension(eglQueryString(display, EGL_EXTENSIONS), "EGL_MESA_image_dma_buf_export"))
		return vtr_error_set(why, VTR_ERROR_UNSUPPORTED, ENOTSUP,
		                     "%s exports no dmabufs (EGL_MESA_image_dma_buf_export is missing): that takes a GPU",
		                     virgl->base.description);
	if (!eglExportDMABUFImageQueryMESA(display, image->image, &fourcc, &planes, &modifier))
		return vtr_error_set(why, VTR_ERROR_HOST, ENOTSUP, "EGL exports no dmabuf of this texture (0x%x)", eglGetError());
	if (planes != 1)
		return vtr_error_set(why, VTR_ERROR_UNSUPPORTED, ENOTSUP,
		                     "The GPU keeps this picture in %d planes: displays take one", planes);
	if (!eglExportDMABUFImageMESA(display, image->image, &fd, &stride, &offset) || fd < 0 || stride <= 0 || offset < 0) {
		vtr_fd_close(&fd);
		return vtr_error_set(why, VTR_ERROR_HOST, ENOTSUP, "EGL exports no dmabuf of this texture (0x%x)", eglGetError());
	}
	*layout = (struct vtr_buffer_layout){
		.stride = (uint32_t)stride, .offset = (uint32_t)offset, .format = (uint32_t)fourcc, .modifier = modifier
	};
	return fd;
}

/* ---- EXPORT ---- */

static bool is_flat(const struct vtr_virgl_resource *resource, const struct virgl_renderer_resource_info *info)
{
	return (resource->blob || (resource->target == VTR_PIPE_TEXTURE_2D && !resource->nr_samples)) && info->tex_id &&
	       info->depth <= 1;
}

static int export(struct vtr_virgl *virgl, struct vtr_render_call *call, const struct virgl_renderer_resource_info *info)
{
	struct image *image = create_image(virgl, info->tex_id, &call->why);
	struct vtr_buffer_texture texture = { .egl_display = virgl->gl.display, .width = info->width, .height = info->height };
	struct vtr_buffer_layout layout;

	if (!image)
		return -call->why.code;
	texture.egl_image = image->image;
	int fd = dmabuf_of(virgl, image, &layout, &call->why);
	call->exported = vtr_buffer_create_texture(VTR_PATH_VIRGL, &texture, fd < 0 ? -1 : fd, release_image, image);
	if (!call->exported)
		return vtr_error_set(&call->why, VTR_ERROR_HOST, ENOMEM, "Out of memory");
	if (fd >= 0)
		vtr_buffer_set_layout(call->exported, &layout);
	return 0;
}

int vtr_virgl_export(struct vtr_virgl *virgl, struct vtr_render_call *call)
{
	const struct vtr_virgl_resource *resource = vtr_virgl_resource(virgl, call->args.resource_id);
	struct virgl_renderer_resource_info info;
	int code;

	call->why = (struct vtr_error){ 0 };
	if (!resource)
		return -ENOENT;
	if (virgl_renderer_resource_get_info((int)resource->id, &info) || !is_flat(resource, &info)) {
		vtr_error_set(&call->why, VTR_ERROR_UNSUPPORTED, ENOTSUP, "Resource %u is no plain two-dimensional texture",
		              resource->id);
		return -EOPNOTSUPP;
	}
	if (!vtr_virgl_gl_begin(&virgl->gl))
		return -ENODEV;
	code = export(virgl, call, &info);
	vtr_virgl_gl_end(&virgl->gl);
	return code;
}
