/* SPDX-License-Identifier: MIT */
/*
 * GL contexts for virglrenderer.
 *
 * virglrenderer asks for contexts by callbacks and does not survive a no, so what it may ask for is made sure of before it is
 * called: first that contexts can be made at all (the root context, in which all others share their objects, is that test; it
 * stays), later by spare contexts, which a failing creation falls back to.
 *
 * What is current on the device thread is virglrenderer's business. Before each call into it that is put right again, should
 * somebody else have used EGL on this thread; after a call it is left as it is. virglrenderer's own thread, which waits for fences,
 * makes a context current there, once.
 *
 * A context that cannot be made current means that the EGLDisplay is gone. What was current stays current then, and virglrenderer
 * draws into the wrong context until it returns; it is called again to clean up only, with a context of another display.
 */
#include <dlfcn.h>
#include <epoxy/gl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "render/virgl.h"

static void bind_api(const struct vtr_virgl_gl *gl)
{
	eglBindAPI(gl->gles ? EGL_OPENGL_ES_API : EGL_OPENGL_API);
}

static EGLContext create(const struct vtr_virgl_gl *gl, int major, int minor)
{
	const EGLint attributes[] = { EGL_CONTEXT_MAJOR_VERSION,
		                      major,
		                      EGL_CONTEXT_MINOR_VERSION,
		                      minor,
		                      gl->gles ? EGL_NONE : EGL_CONTEXT_OPENGL_PROFILE_MASK,
		                      EGL_CONTEXT_OPENGL_CORE_PROFILE_BIT,
		                      EGL_NONE };

	bind_api(gl);
	return eglCreateContext(gl->display, gl->config, gl->root, attributes);
}

static bool make_current(const struct vtr_virgl_gl *gl, EGLContext context)
{
	bind_api(gl);
	return eglMakeCurrent(gl->display, EGL_NO_SURFACE, EGL_NO_SURFACE, context);
}

/* ---- which display, which versions ---- */

static bool choose_config(struct vtr_virgl_gl *gl, const char *extensions)
{
	const EGLint wanted[] = { EGL_RENDERABLE_TYPE, gl->gles ? EGL_OPENGL_ES3_BIT : EGL_OPENGL_BIT, EGL_SURFACE_TYPE, 0,
		                  EGL_NONE };
	EGLint count = 0;

	gl->config = EGL_NO_CONFIG_KHR;
	if (vtr_virgl_has_extension(extensions, "EGL_KHR_no_config_context") ||
	    vtr_virgl_has_extension(extensions, "EGL_MESA_configless_context"))
		return true;
	return eglChooseConfig(gl->display, wanted, &gl->config, 1, &count) && count > 0;
}

static bool create_root(struct vtr_virgl_gl *gl)
{
	static const struct {
		int major, minor;
	} desktop[] = { { 4, 6 }, { 4, 5 }, { 4, 4 }, { 4, 3 }, { 4, 2 }, { 4, 1 }, { 4, 0 }, { 3, 3 }, { 3, 2 }, { 3, 1 } },
	  es[] = { { 3, 2 }, { 3, 1 }, { 3, 0 } };
	size_t count = gl->gles ? sizeof(es) / sizeof(es[0]) : sizeof(desktop) / sizeof(desktop[0]);

	for (size_t i = 0; i < count && !gl->root; i++) {
		gl->major = gl->gles ? es[i].major : desktop[i].major;
		gl->minor = gl->gles ? es[i].minor : desktop[i].minor;
		gl->root = create(gl, gl->major, gl->minor);
	}
	if (gl->root && make_current(gl, gl->root))
		return true;
	if (gl->root)
		eglDestroyContext(gl->display, gl->root);
	gl->root = EGL_NO_CONTEXT;
	return false;
}

/* epoxy looks for a function's library at its first call, and ends the program when there is none. */
static bool has_library(bool gles)
{
	static const char *const names[2][2] = { { "libOpenGL.so.0", "libGL.so.1" }, { "libGLESv2.so.2", "libGLESv2.so.2" } };

	for (size_t i = 0; i < 2; i++) {
		void *library = dlopen(names[gles][i], RTLD_LAZY | RTLD_LOCAL);

		if (library) {
			dlclose(library);
			return true;
		}
	}
	return false;
}

static int try_display(void *data, EGLDisplay display, struct vtr_error *error)
{
	struct vtr_virgl_gl *gl = data;
	const char *extensions = eglQueryString(display, EGL_EXTENSIONS);

	gl->display = display;
	if (!extensions)
		return vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "The display's EGLDisplay is not initialised");
	if (epoxy_egl_version(display) < 15)
		return vtr_error_set(error, VTR_ERROR_HOST, ENOTSUP, "EGL is too old: %s has %s, 1.5 is needed",
		                     eglQueryString(display, EGL_VENDOR), eglQueryString(display, EGL_VERSION));
	if (!vtr_virgl_has_extension(extensions, "EGL_KHR_surfaceless_context"))
		return vtr_error_set(error, VTR_ERROR_HOST, ENOTSUP,
		                     "EGL needs a window to draw: %s lacks EGL_KHR_surfaceless_context (Mesa has it)",
		                     eglQueryString(display, EGL_VENDOR));
	for (gl->gles = false;; gl->gles = true) {
		if (has_library(gl->gles) && choose_config(gl, extensions) && create_root(gl))
			return 0;
		if (gl->gles)
			break;
	}
	return vtr_error_set(error, VTR_ERROR_HOST, ENOTSUP,
	                     "EGL has neither OpenGL 3.1 nor OpenGL ES 3.0 here (0x%x): install a driver (libgl1-mesa-dri) and a "
	                     "library for it (libopengl0 or libgles2)",
	                     eglGetError());
}

int vtr_virgl_gl_init(struct vtr_virgl_gl *gl, const struct vtr_renderer_options *options, struct vtr_error *error)
{
	*gl = (struct vtr_virgl_gl){ .thread = pthread_self() };
	atomic_init(&gl->lost, false);
	gl->held = vtr_virgl_display_choose(options, try_display, gl, error);
	if (!gl->held)
		return -ENODEV;
	gl->current = gl->root;
	return 0;
}

void vtr_virgl_gl_finish(struct vtr_virgl_gl *gl)
{
	if (!gl->held)
		return;
	make_current(gl, EGL_NO_CONTEXT);
	while (gl->n_spare)
		eglDestroyContext(gl->display, gl->spare[--gl->n_spare]);
	eglDestroyContext(gl->display, gl->root);
	vtr_virgl_display_let_go(gl->held);
	gl->held = NULL;
}

/* Objects of the old contexts have names that mean nothing in the new one: GL ignores them. */
bool vtr_virgl_gl_replace(struct vtr_virgl_gl *gl)
{
	struct vtr_virgl_display *old = gl->held;

	gl->n_spare = 0; // gone with the display
	gl->root = EGL_NO_CONTEXT;
	gl->held = vtr_virgl_display_choose(&(struct vtr_renderer_options){ 0 }, try_display, gl, NULL);
	vtr_virgl_display_let_go(old);
	gl->current = gl->root;
	gl->replaced = true;
	return gl->held;
}

/* ---- what is current ---- */

static bool enter(struct vtr_virgl_gl *gl, EGLContext context)
{
	/* a borrowed display may have been terminated, which leaves what is current as it is */
	if (!atomic_load(&gl->lost) && eglQueryString(gl->display, EGL_VERSION) &&
	    (eglGetCurrentContext() == context || make_current(gl, context)))
		return true;
	atomic_store(&gl->lost, true);
	return false;
}

bool vtr_virgl_gl_enter(struct vtr_virgl_gl *gl)
{
	return enter(gl, gl->current);
}

bool vtr_virgl_gl_begin(struct vtr_virgl_gl *gl)
{
	return enter(gl, gl->root);
}

void vtr_virgl_gl_end(struct vtr_virgl_gl *gl)
{
	virgl_renderer_force_ctx_0();
}

int vtr_virgl_gl_reserve(struct vtr_virgl_gl *gl, unsigned count)
{
	while (gl->n_spare < count) {
		EGLContext context = gl->n_spare < VTR_VIRGL_MAX_SPARE ? create(gl, gl->major, gl->minor) : EGL_NO_CONTEXT;

		if (!context)
			return -ENOMEM;
		gl->spare[gl->n_spare++] = context;
	}
	return 0;
}

/* ---- callbacks ---- */

static struct vtr_virgl_gl *gl_of(void *cookie)
{
	return &((struct vtr_virgl *)cookie)->gl;
}

/* Shared or not, it shares with root: virglrenderer does not mind. Spare contexts are what it would ask for once it is initialised;
 * while it is, it tries versions that may not be there. */
virgl_renderer_gl_context vtr_virgl_create_gl_context(void *cookie, int scanout, struct virgl_renderer_gl_ctx_param *param)
{
	struct vtr_virgl_gl *gl = gl_of(cookie);
	bool as_root = param->major_ver == gl->major && param->minor_ver == gl->minor;

	if (as_root && gl->n_spare)
		return gl->spare[--gl->n_spare];
	return create(gl, param->major_ver, param->minor_ver);
}

void vtr_virgl_destroy_gl_context(void *cookie, virgl_renderer_gl_context context)
{
	struct vtr_virgl_gl *gl = gl_of(cookie);

	if (gl->replaced)
		return;
	if (context == gl->current)
		gl->current = gl->root;
	eglDestroyContext(gl->display, context);
}

int vtr_virgl_make_current(void *cookie, int scanout, virgl_renderer_gl_context context)
{
	struct vtr_virgl_gl *gl = gl_of(cookie);

	if (gl->replaced)
		return 0;
	if (!make_current(gl, context)) {
		atomic_store(&gl->lost, true);
		return -1;
	}
	if (pthread_equal(gl->thread, pthread_self()))
		gl->current = context;
	return 0;
}

void *vtr_virgl_get_egl_display(void *cookie)
{
	return gl_of(cookie)->display;
}
