/* SPDX-License-Identifier: MIT */
/*
 * What EGL can import. Asked once per display, when its first context is there. A driver that lists formats and modifiers
 * (EGL_EXT_image_dma_buf_import_modifiers) is believed; one that does not is tried with each buffer. What it accepts here may still
 * be refused at the import, or by a driver that looks at the memory only when it draws: the path ladder goes down then.
 */
#include "egl/egl.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/fourcc.h"

const char *vtr_egl_error_name(EGLint error)
{
	static const char *const names[] = { "EGL_SUCCESS",       "EGL_NOT_INITIALIZED",     "EGL_BAD_ACCESS",
		                             "EGL_BAD_ALLOC",     "EGL_BAD_ATTRIBUTE",       "EGL_BAD_CONFIG",
		                             "EGL_BAD_CONTEXT",   "EGL_BAD_CURRENT_SURFACE", "EGL_BAD_DISPLAY",
		                             "EGL_BAD_MATCH",     "EGL_BAD_NATIVE_PIXMAP",   "EGL_BAD_NATIVE_WINDOW",
		                             "EGL_BAD_PARAMETER", "EGL_BAD_SURFACE",         "EGL_CONTEXT_LOST" };
	unsigned index = (unsigned)error - EGL_SUCCESS;

	return index < sizeof(names) / sizeof(names[0]) ? names[index] : "an unknown EGL error";
}

/* ---- probing ---- */

static void read_modifiers(const struct vtr_egl_caps *caps, struct vtr_egl_format *format)
{
	EGLuint64KHR modifiers[VTR_EGL_MAX_MODIFIERS];
	EGLBoolean external[VTR_EGL_MAX_MODIFIERS];
	EGLint count = 0;

	if (!eglQueryDmaBufModifiersEXT(caps->display, (EGLint)format->fourcc, VTR_EGL_MAX_MODIFIERS, modifiers, external, &count))
		return;
	for (EGLint i = 0; i < count && i < VTR_EGL_MAX_MODIFIERS; i++) {
		format->modifiers[i].modifier = modifiers[i];
		format->modifiers[i].external_only = external[i];
		format->n_modifiers++;
	}
}

static void read_formats(struct vtr_egl_caps *caps)
{
	EGLint fourccs[VTR_EGL_MAX_FORMATS], count = 0;

	if (!eglQueryDmaBufFormatsEXT(caps->display, VTR_EGL_MAX_FORMATS, fourccs, &count) || count <= 0)
		return;
	if (count > VTR_EGL_MAX_FORMATS)
		count = VTR_EGL_MAX_FORMATS;
	caps->formats = calloc((size_t)count, sizeof(*caps->formats));
	if (!caps->formats)
		return; /* as if the driver did not tell */
	for (EGLint i = 0; i < count; i++) {
		caps->formats[i].fourcc = (uint32_t)fourccs[i];
		read_modifiers(caps, &caps->formats[i]);
	}
	caps->n_formats = (size_t)count;
}

/* What is missing for imports, or NULL. */
static const char *missing_extension(const struct vtr_egl_caps *caps)
{
	if (!epoxy_has_egl_extension(caps->display, "EGL_EXT_image_dma_buf_import"))
		return "EGL_EXT_image_dma_buf_import";
	if (!epoxy_has_egl_extension(caps->display, "EGL_KHR_image_base") && epoxy_egl_version(caps->display) < 15)
		return "EGL_KHR_image_base";
	return caps->textures ? NULL : "GL_OES_EGL_image";
}

void vtr_egl_caps_init(struct vtr_egl_caps *caps)
{
	*caps = (struct vtr_egl_caps){ .display = eglGetCurrentDisplay() };
	caps->unpack_subimage = epoxy_gl_version() >= 30 || epoxy_has_gl_extension("GL_EXT_unpack_subimage");
	if (caps->display == EGL_NO_DISPLAY) {
		vtr_error_set(&caps->no_import, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the window's OpenGL does not go through EGL");
		return;
	}
	caps->fence = epoxy_has_egl_extension(caps->display, "EGL_KHR_fence_sync");
	caps->native_fence = epoxy_has_egl_extension(caps->display, "EGL_ANDROID_native_fence_sync");
	caps->textures = epoxy_has_gl_extension("GL_OES_EGL_image");
	const char *missing = missing_extension(caps);
	if (missing) {
		vtr_error_set(&caps->no_import, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the OpenGL driver (%s) cannot import dmabufs: it lacks %s", (const char *)glGetString(GL_RENDERER),
		              missing);
		return;
	}
	caps->import = true;
	caps->external = epoxy_has_gl_extension("GL_OES_EGL_image_external");
	caps->modifiers = epoxy_has_egl_extension(caps->display, "EGL_EXT_image_dma_buf_import_modifiers");
	if (caps->modifiers)
		read_formats(caps);
}

void vtr_egl_caps_finish(struct vtr_egl_caps *caps)
{
	free(caps->formats);
	caps->formats = NULL;
	caps->n_formats = 0;
}

/* ---- asking ---- */

static const struct vtr_egl_format *find_format(const struct vtr_egl_caps *caps, uint32_t fourcc)
{
	for (size_t i = 0; i < caps->n_formats; i++)
		if (caps->formats[i].fourcc == fourcc)
			return &caps->formats[i];
	return NULL;
}

bool vtr_egl_external_only(const struct vtr_egl_caps *caps, uint32_t fourcc, uint64_t modifier)
{
	const struct vtr_egl_format *format = find_format(caps, fourcc);

	for (size_t i = 0; format && i < format->n_modifiers; i++)
		if (format->modifiers[i].modifier == modifier)
			return format->modifiers[i].external_only;
	return false;
}

/* What a driver without modifiers can make of a dmabuf: it asks the memory, and takes what does not tell for linear. */
static bool is_implicit(uint64_t modifier)
{
	return modifier == DRM_FORMAT_MOD_LINEAR || modifier == DRM_FORMAT_MOD_INVALID;
}

static bool modifier_known(const struct vtr_egl_format *format, uint64_t modifier)
{
	for (size_t i = 0; i < format->n_modifiers; i++)
		if (format->modifiers[i].modifier == modifier)
			return true;
	return !format->n_modifiers && is_implicit(modifier);
}

bool vtr_egl_accepts(const struct vtr_egl_caps *caps, uint32_t fourcc, uint64_t modifier, struct vtr_error *error)
{
	char name[VTR_FOURCC_NAME];

	if (!caps->import) {
		*error = caps->no_import;
		return false;
	}
	if (!caps->modifiers && !is_implicit(modifier)) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the OpenGL driver imports no dmabufs with a modifier (0x%" PRIx64 "), only such as are linear",
		              modifier);
		return false;
	}
	if (!caps->formats)
		return true; /* tried */
	const struct vtr_egl_format *format = find_format(caps, fourcc);
	if (!format) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the OpenGL driver imports no dmabufs of format %s",
		              vtr_fourcc_name(fourcc, name));
		return false;
	}
	if (!modifier_known(format, modifier) || (vtr_egl_external_only(caps, fourcc, modifier) && !caps->external)) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the OpenGL driver imports no dmabufs of format %s with modifier 0x%" PRIx64,
		              vtr_fourcc_name(fourcc, name), modifier);
		return false;
	}
	return true;
}

bool vtr_egl_accepts_texture(const struct vtr_egl_caps *caps, void *egl_display, struct vtr_error *error)
{
	if (caps->textures && caps->display == egl_display)
		return true;
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "%s",
	              caps->textures ? "the display draws with another EGLDisplay than the renderer"
	                             : "the display's OpenGL cannot share textures: it lacks EGL or GL_OES_EGL_image");
	return false;
}
