/* SPDX-License-Identifier: MIT */
#ifndef VTR_EGL_EGL_H
#define VTR_EGL_EGL_H

#include <epoxy/egl.h>
#include <epoxy/gl.h>
#include <pixman.h>
#include <stdbool.h>
#include <stdint.h>

#include <vitrine/buffer.h>
#include <vitrine/display.h>
#include <vitrine/error.h>

#include "display/placement.h"

/*
 * What the displays that draw with OpenGL ES share: finding out what EGL can import, textures from dmabufs and from pixels, and
 * drawing a picture with its cursor into a window. A display makes its context current and owns it; everything here works on the
 * current context, on the display's thread, unless it says otherwise. OpenGL ES 2 is enough.
 */

/* ---- egl.c: what the EGL display of the current context can do ---- */

enum { VTR_EGL_MAX_FORMATS = 64, VTR_EGL_MAX_MODIFIERS = 64 };

struct vtr_egl_format {
	uint32_t fourcc;
	size_t n_modifiers; /* 0: the driver has none; LINEAR may do, and INVALID */
	struct {
		uint64_t modifier;
		bool external_only;
	} modifiers[VTR_EGL_MAX_MODIFIERS];
};

struct vtr_egl_caps {
	EGLDisplay display;
	bool textures;                  /* EGLImages can become textures: also what a renderer drew with this EGLDisplay */
	bool import;                    /* dmabufs can become textures */
	struct vtr_error no_import;     /* why not */
	bool modifiers;                 /* imports take a modifier */
	bool external;                  /* GL_TEXTURE_EXTERNAL_OES textures */
	bool unpack_subimage;           /* uploads of a part of a row */
	bool fence;                     /* EGL_KHR_fence_sync */
	bool native_fence;              /* EGL_ANDROID_native_fence_sync */
	struct vtr_egl_format *formats; /* NULL: the driver does not list them */
	size_t n_formats;
};

/* Looks at the current context. The result is constant from then on, so that vtr_egl_accepts() may be called on any thread. */
void vtr_egl_caps_init(struct vtr_egl_caps *caps);
void vtr_egl_caps_finish(struct vtr_egl_caps *caps);

/* Any thread: as vtr_display_impl.accepts. */
bool vtr_egl_accepts(const struct vtr_egl_caps *caps, uint32_t fourcc, uint64_t modifier, struct vtr_error *error);
/* Must such a dmabuf be a GL_TEXTURE_EXTERNAL_OES? */
bool vtr_egl_external_only(const struct vtr_egl_caps *caps, uint32_t fourcc, uint64_t modifier);
/* The name of an EGL error, "EGL_BAD_MATCH". */
const char *vtr_egl_error_name(EGLint error);

/* Any thread: as vtr_display_impl.accepts_texture; textures of caps->display are. */
bool vtr_egl_accepts_texture(const struct vtr_egl_caps *caps, void *egl_display, struct vtr_error *error);

/* ---- import.c: buffers as textures, each imported once ---- */

enum { VTR_EGL_IMPORTS = 8 }; /* of one window: more than a guest flips between */

/* Where the picture is in its texture, in units of that; x and y run as the picture's do, so that of a texture with the bottom row
 * first the height is negative. Width 0: the texture is the picture. */
struct vtr_egl_source {
	GLfloat x, y, width, height;
};

struct vtr_egl_import {
	uint64_t buffer; /* id; 0: free */
	uint64_t offset, modifier;
	uint32_t x, y, width, height, stride, fourcc;
	bool flipped;
	uint64_t used;
	struct vtr_egl_source source;
	EGLImage image; /* EGL_NO_IMAGE: the texture is of the buffer's own */
	GLuint texture;
	GLenum target;
	bool drawn; /* drawing it went well once */
};

struct vtr_egl_imports {
	struct vtr_egl_import items[VTR_EGL_IMPORTS];
	uint64_t uses;
};

/* The texture of a frame with a buffer, valid until the next call; NULL with *error. Where the buffer has a texture of the EGL
 * display's own, that is it. The size of a dmabuf is checked against the frame's layout first: drivers do not. */
const struct vtr_egl_import *vtr_egl_import_frame(struct vtr_egl_imports *imports, const struct vtr_egl_caps *caps,
                                                  const struct vtr_frame *frame, struct vtr_error *error);
/* import is one of imports and was drawn without an error. */
void vtr_egl_import_drawn(struct vtr_egl_imports *imports, const struct vtr_egl_import *import);
/* import is one of imports and of no use: it is made anew when such a frame comes again. */
void vtr_egl_import_forget(struct vtr_egl_imports *imports, const struct vtr_egl_caps *caps, const struct vtr_egl_import *import);
/* Lets go of all dmabufs but that of keep, which is one of imports (NULL: of all). */
void vtr_egl_imports_clear(struct vtr_egl_imports *imports, const struct vtr_egl_caps *caps, const struct vtr_egl_import *keep);

/* ---- upload.c: pixels as a texture ---- */

struct vtr_egl_upload {
	GLuint texture; /* 0: none yet */
	uint32_t width, height, fourcc;
};

/* Copies damage (in picture coordinates, clipped to the picture) of pixels into the texture; all of it when size or format changed.
 * Returns the bytes copied, or -errno with *error when GL is out of memory or the picture is larger than a texture can be. */
int64_t vtr_egl_upload_pixels(struct vtr_egl_upload *upload, const struct vtr_egl_caps *caps, const void *pixels, uint32_t stride,
                              uint32_t width, uint32_t height, uint32_t fourcc, const pixman_region32_t *damage,
                              struct vtr_error *error);
void vtr_egl_upload_finish(struct vtr_egl_upload *upload);

/* ---- fence.c: when the GPU has done what it was asked to ---- */

struct vtr_egl_fence {
	EGLSyncKHR sync; /* EGL_NO_SYNC_KHR: none, or it has passed long ago */
};

/* After all that the context was asked to draw until now. A driver that has no fences is waited for at once. */
void vtr_egl_fence_insert(struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps);
/* Whether the GPU has come past it; waits for timeout_ns at most. */
bool vtr_egl_fence_passed(const struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps, uint64_t timeout_ns);
/* An fd that becomes readable when the fence is passed, the caller's; what was drawn is flushed before (by vtr_egl_fence_passed(),
 * or swapping). -1: there is none, ask again. */
int vtr_egl_fence_fd(const struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps);
void vtr_egl_fence_finish(struct vtr_egl_fence *fence, const struct vtr_egl_caps *caps);

/* ---- draw.c ---- */

enum { VTR_EGL_PROGRAMS = 2 }; /* GL_TEXTURE_2D, GL_TEXTURE_EXTERNAL_OES */

struct vtr_egl_painter {
	struct vtr_egl_program {
		GLuint program; /* 0: not made */
		GLint place, source, channels, opaque;
	} programs[VTR_EGL_PROGRAMS];
	GLuint corners; /* buffer */
};

struct vtr_egl_picture {
	GLuint texture;
	GLenum target;
	struct vtr_egl_source source;
	uint32_t fourcc; /* of uploaded bytes; 0: GL knows the channels (an import) */
	bool smooth;     /* filter when scaled */
	bool opaque;     /* alpha is ignored; else blended, premultiplied */
};

/* 0, or -EIO with *error: shaders do not compile. */
int vtr_egl_painter_init(struct vtr_egl_painter *painter, const struct vtr_egl_caps *caps, struct vtr_error *error);
void vtr_egl_painter_finish(struct vtr_egl_painter *painter);
/* Fills the window with black. */
void vtr_egl_paint_clear(uint32_t window_width, uint32_t window_height);
/* Draws picture into a rectangle of the window; x, y: its upper left corner, y growing downwards. */
void vtr_egl_paint(const struct vtr_egl_painter *painter, const struct vtr_egl_picture *picture, uint32_t window_width,
                   uint32_t window_height, double x, double y, double width, double height);

/* ---- read.c ---- */

/* What picture looks like at its own size, as x8r8g8b8: the caller's; NULL when out of memory. The framebuffer bound afterwards is
 * the window's. */
pixman_image_t *vtr_egl_read_picture(const struct vtr_egl_painter *painter, const struct vtr_egl_picture *picture, uint32_t width,
                                     uint32_t height);
/* The same of a part, into an x8r8g8b8 image of the picture's size; box is not empty and lies inside. False when out of memory. */
bool vtr_egl_read_box(const struct vtr_egl_painter *painter, const struct vtr_egl_picture *picture, const pixman_box32_t *box,
                      pixman_image_t *image);

/* ---- formats.c ---- */

/* Which byte of a pixel, in memory order, is red, green, blue and alpha (-1: none). NULL: no format of a scanout. */
struct vtr_egl_channels {
	uint32_t fourcc;
	int8_t red, green, blue, alpha;
};
const struct vtr_egl_channels *vtr_egl_channels_of(uint32_t fourcc);

#endif
