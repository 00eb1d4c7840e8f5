/* SPDX-License-Identifier: MIT */
/*
 * Textures of a renderer, read by the GPU that drew them: painted into a framebuffer of the damage's size, which turns them right
 * side up and puts the channels in order, and read from there. The renderer has finished drawing when a frame comes.
 *
 * The context is surfaceless and shares nothing with the renderer's: EGLImages belong to the EGLDisplay, not to a context. It is
 * current only while something is read, so that it can be destroyed on this thread at any time.
 */
#include "texture.h"

#include <errno.h>
#include <stdlib.h>

#include "egl/egl.h"

/* One for each EGLDisplay that was read from: one for each renderer in the process. */
struct headless_textures {
	struct headless_textures *next;
	EGLDisplay display;
	EGLContext context;
	struct vtr_egl_caps caps;
	struct vtr_egl_painter painter;
	struct vtr_egl_imports imports;
};

bool headless_textures_accept(void *egl_display, struct vtr_error *error)
{
	return true;
}

static bool use(const struct headless_textures *textures)
{
	return eglMakeCurrent(textures->display, EGL_NO_SURFACE, EGL_NO_SURFACE, textures->context);
}

static void let_go(const struct headless_textures *textures)
{
	eglMakeCurrent(textures->display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
}

/* A configuration for OpenGL ES 2 where contexts have to have one. */
static EGLConfig find_config(EGLDisplay display)
{
	static const EGLint wanted[] = { EGL_RENDERABLE_TYPE, EGL_OPENGL_ES2_BIT, EGL_SURFACE_TYPE, 0, EGL_NONE };
	EGLConfig config = EGL_NO_CONFIG_KHR;
	EGLint count = 0;

	if (epoxy_has_egl_extension(display, "EGL_KHR_no_config_context") ||
	    !eglChooseConfig(display, wanted, &config, 1, &count) || !count)
		return EGL_NO_CONFIG_KHR;
	return config;
}

static int start(struct headless_textures *textures, struct vtr_error *error)
{
	static const EGLint version[] = { EGL_CONTEXT_CLIENT_VERSION, 2, EGL_NONE };

	eglBindAPI(EGL_OPENGL_ES_API); /* this thread's */
	textures->context = eglCreateContext(textures->display, find_config(textures->display), EGL_NO_CONTEXT, version);
	if (textures->context == EGL_NO_CONTEXT || !use(textures))
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "the headless display gets no OpenGL ES context to read textures with: %s",
		                     vtr_egl_error_name(eglGetError()));
	vtr_egl_caps_init(&textures->caps);
	if (!vtr_egl_accepts_texture(&textures->caps, textures->display, error))
		return -error->code;
	return vtr_egl_painter_init(&textures->painter, &textures->caps, error);
}

static void destroy(struct headless_textures *textures)
{
	if (textures->context != EGL_NO_CONTEXT && use(textures)) {
		vtr_egl_imports_clear(&textures->imports, &textures->caps, NULL);
		vtr_egl_painter_finish(&textures->painter);
		vtr_egl_caps_finish(&textures->caps);
		let_go(textures);
	}
	if (textures->context != EGL_NO_CONTEXT)
		eglDestroyContext(textures->display, textures->context);
	free(textures);
}

/* The context for display, current; NULL with *error. */
static struct headless_textures *get(struct headless_textures **list, EGLDisplay display, struct vtr_error *error)
{
	struct headless_textures *textures = *list;

	while (textures && textures->display != display)
		textures = textures->next;
	if (textures) {
		if (use(textures))
			return textures;
		vtr_error_set(error, VTR_ERROR_HOST, EIO, "the OpenGL ES context to read textures with is lost: %s",
		              vtr_egl_error_name(eglGetError()));
		return NULL;
	}
	textures = malloc(sizeof(*textures));
	if (!textures) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory");
		return NULL;
	}
	*textures = (struct headless_textures){ .next = *list, .display = display };
	if (start(textures, error)) {
		destroy(textures);
		return NULL;
	}
	return *list = textures;
}

static int read_damage(struct headless_textures *textures, const struct vtr_frame *frame, pixman_image_t *picture,
                       struct vtr_error *error)
{
	const pixman_box32_t *damage = &frame->damage.extents; /* one reading: what lies between is up to date as well */
	const struct vtr_egl_import *import = vtr_egl_import_frame(&textures->imports, &textures->caps, frame, error);

	if (!import)
		return -error->code;
	const struct vtr_egl_picture texture = {
		.texture = import->texture,
		.target = import->target,
		.source = import->source,
		.opaque = true,
	};
	if (damage->x1 < damage->x2 && damage->y1 < damage->y2 && !vtr_egl_read_box(&textures->painter, &texture, damage, picture))
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "OpenGL has no memory to read a picture of %ux%u", frame->width,
		                     frame->height);
	GLenum code = glGetError();
	if (code != GL_NO_ERROR)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "OpenGL cannot read the texture: error 0x%x", code);
	return 0;
}

int headless_textures_read(struct headless_textures **textures, const struct vtr_frame *frame, pixman_image_t *picture,
                           struct vtr_error *error)
{
	struct headless_textures *used = get(textures, vtr_buffer_texture(frame->buffer)->egl_display, error);

	if (!used)
		return -error->code;
	int result = read_damage(used, frame, picture, error);
	let_go(used);
	return result;
}

void headless_textures_clear(struct headless_textures **textures)
{
	while (*textures) {
		struct headless_textures *next = (*textures)->next;

		destroy(*textures);
		*textures = next;
	}
}
