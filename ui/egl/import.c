/* SPDX-License-Identifier: MIT */
/*
 * Buffers as textures: dmabufs are imported as an EGLImage; what a renderer drew with the same EGLDisplay is one already. An import
 * is made once per buffer and layout and kept in a small cache: a guest flips between two or three buffers, and importing costs a
 * page table. The texture shows the memory itself, so a guest that draws into the same buffer again needs no new import. Textures
 * and EGLImages keep the memory alive: the window clears the cache when nothing was shown for a while.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>

#include "display/display.h"
#include "egl/egl.h"
#include "util/fourcc.h"

static void forget(struct vtr_egl_import *import, const struct vtr_egl_caps *caps)
{
	if (import->texture)
		glDeleteTextures(1, &import->texture);
	if (import->image != EGL_NO_IMAGE)
		eglDestroyImageKHR(caps->display, import->image);
	*import = (struct vtr_egl_import){ .image = EGL_NO_IMAGE };
}

static bool same(const struct vtr_egl_import *import, const struct vtr_frame *frame)
{
	return import->buffer == vtr_buffer_id(frame->buffer) && import->offset == frame->offset &&
	       import->modifier == frame->modifier && import->width == frame->width && import->height == frame->height &&
	       import->stride == frame->stride && import->fourcc == frame->format && import->x == frame->x &&
	       import->y == frame->y && import->flipped == frame->flipped;
}

/* An import of frame, or else the one that was not used for the longest time. */
static struct vtr_egl_import *find(struct vtr_egl_imports *imports, const struct vtr_frame *frame)
{
	struct vtr_egl_import *oldest = &imports->items[0];

	for (size_t i = 0; i < VTR_EGL_IMPORTS; i++) {
		if (same(&imports->items[i], frame))
			return &imports->items[i];
		if (imports->items[i].used < oldest->used)
			oldest = &imports->items[i];
	}
	return oldest;
}

static int check_layout(const struct vtr_frame *frame, struct vtr_error *error)
{
	if (frame->stride > INT32_MAX || frame->offset > INT32_MAX)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "EGL cannot express an offset of %" PRIu64 " bytes and a stride of %u", frame->offset,
		                     frame->stride);
	return vtr_frame_fits_dmabuf(frame, error) ? 0 : -ERANGE;
}

static EGLImage create_image(const struct vtr_egl_caps *caps, const struct vtr_frame *frame)
{
	bool is_explicit = caps->modifiers && frame->modifier != DRM_FORMAT_MOD_INVALID;
	EGLint attributes[] = {
		EGL_WIDTH,
		(EGLint)frame->width,
		EGL_HEIGHT,
		(EGLint)frame->height,
		EGL_LINUX_DRM_FOURCC_EXT,
		(EGLint)frame->format,
		EGL_DMA_BUF_PLANE0_FD_EXT,
		vtr_buffer_fd(frame->buffer),
		EGL_DMA_BUF_PLANE0_OFFSET_EXT,
		(EGLint)frame->offset,
		EGL_DMA_BUF_PLANE0_PITCH_EXT,
		(EGLint)frame->stride,
		/* the last two only where they are known */
		is_explicit ? EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT : EGL_NONE,
		(EGLint)(frame->modifier & UINT32_MAX),
		EGL_DMA_BUF_PLANE0_MODIFIER_HI_EXT,
		(EGLint)(frame->modifier >> 32),
		EGL_NONE,
	};

	return eglCreateImageKHR(caps->display, EGL_NO_CONTEXT, EGL_LINUX_DMA_BUF_EXT, NULL, attributes);
}

static int make_texture(struct vtr_egl_import *import, EGLImage image, struct vtr_error *error)
{
	glGenTextures(1, &import->texture);
	glBindTexture(import->target, import->texture);
	glTexParameteri(import->target, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
	glTexParameteri(import->target, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
	while (glGetError() != GL_NO_ERROR)
		; /* only what the next call says counts */
	glEGLImageTargetTexture2DOES(import->target, image);
	GLenum code = glGetError();
	if (code == GL_NO_ERROR)
		return 0;
	return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "OpenGL makes no texture of the %s: error 0x%x",
	                     import->image == EGL_NO_IMAGE ? "renderer's EGLImage" : "dmabuf", code);
}

/* The renderer's texture, where it can be bound here; NULL: the dmabuf has to do. */
static const struct vtr_buffer_texture *own_texture(const struct vtr_egl_caps *caps, const struct vtr_frame *frame)
{
	const struct vtr_buffer_texture *texture = vtr_buffer_texture(frame->buffer);

	return texture && caps->textures && texture->egl_display == caps->display ? texture : NULL;
}

/* Of a dmabuf, the EGLImage is the picture; a texture is the whole resource. */
static struct vtr_egl_source source_of(const struct vtr_frame *frame, const struct vtr_buffer_texture *texture)
{
	struct vtr_egl_source source = { 0, 0, 1, 1 };

	if (texture) {
		source.x = (GLfloat)frame->x / (GLfloat)texture->width;
		source.y = (GLfloat)frame->y / (GLfloat)texture->height;
		source.width = (GLfloat)frame->width / (GLfloat)texture->width;
		source.height = (GLfloat)frame->height / (GLfloat)texture->height;
	}
	if (frame->flipped) {
		source.y = 1 - source.y;
		source.height = -source.height;
	}
	return source;
}

static int import_dmabuf(struct vtr_egl_import *import, const struct vtr_egl_caps *caps, const struct vtr_frame *frame,
                         struct vtr_error *error)
{
	char name[VTR_FOURCC_NAME];

	if (check_layout(frame, error) < 0)
		return -ERANGE;
	if (vtr_egl_external_only(caps, frame->format, frame->modifier))
		import->target = GL_TEXTURE_EXTERNAL_OES;
	import->image = create_image(caps, frame);
	if (import->image != EGL_NO_IMAGE)
		return make_texture(import, import->image, error);
	return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
	                     "the OpenGL driver does not import a dmabuf of %ux%u %s, %zu ranges, path %s: %s", frame->width,
	                     frame->height, vtr_fourcc_name(frame->format, name), vtr_buffer_ranges(frame->buffer),
	                     vtr_path_name(vtr_buffer_path(frame->buffer)), vtr_egl_error_name(eglGetError()));
}

static int import_texture(struct vtr_egl_import *import, const struct vtr_frame *frame, const struct vtr_buffer_texture *texture,
                          struct vtr_error *error)
{
	if (frame->x > texture->width || frame->width > texture->width - frame->x || frame->y > texture->height ||
	    frame->height > texture->height - frame->y)
		return vtr_error_set(error, VTR_ERROR_HOST, ERANGE, "the picture of %ux%u ends beyond its texture of %ux%u",
		                     frame->width, frame->height, texture->width, texture->height);
	return make_texture(import, texture->egl_image, error);
}

static int import_frame(struct vtr_egl_import *import, const struct vtr_egl_caps *caps, const struct vtr_frame *frame,
                        struct vtr_error *error)
{
	const struct vtr_buffer_texture *texture = own_texture(caps, frame);

	*import = (struct vtr_egl_import){
		.buffer = vtr_buffer_id(frame->buffer),
		.offset = frame->offset,
		.modifier = frame->modifier,
		.x = frame->x,
		.y = frame->y,
		.width = frame->width,
		.height = frame->height,
		.stride = frame->stride,
		.fourcc = frame->format,
		.flipped = frame->flipped,
		.source = source_of(frame, texture),
		.image = EGL_NO_IMAGE,
		.target = GL_TEXTURE_2D,
	};
	return texture ? import_texture(import, frame, texture, error) : import_dmabuf(import, caps, frame, error);
}

const struct vtr_egl_import *vtr_egl_import_frame(struct vtr_egl_imports *imports, const struct vtr_egl_caps *caps,
                                                  const struct vtr_frame *frame, struct vtr_error *error)
{
	struct vtr_egl_import *import = find(imports, frame);

	if (!same(import, frame)) {
		forget(import, caps);
		if (import_frame(import, caps, frame, error) < 0) {
			forget(import, caps);
			return NULL;
		}
	}
	import->used = ++imports->uses;
	return import;
}

void vtr_egl_import_drawn(struct vtr_egl_imports *imports, const struct vtr_egl_import *import)
{
	imports->items[import - imports->items].drawn = true;
}

void vtr_egl_import_forget(struct vtr_egl_imports *imports, const struct vtr_egl_caps *caps, const struct vtr_egl_import *import)
{
	forget(&imports->items[import - imports->items], caps);
}

void vtr_egl_imports_clear(struct vtr_egl_imports *imports, const struct vtr_egl_caps *caps, const struct vtr_egl_import *keep)
{
	for (size_t i = 0; i < VTR_EGL_IMPORTS; i++)
		if (imports->items[i].buffer && &imports->items[i] != keep)
			forget(&imports->items[i], caps);
}
