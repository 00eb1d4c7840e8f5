/* SPDX-License-Identifier: MIT */
/*
 * Which EGLDisplay is drawn with: the caller's, that of a render node, or the best there is: GPUs in the order in which EGL has
 * them, then the software device, then whatever EGL gives without a window system. Each is tried until contexts can be made on one.
 *
 * An EGLDisplay of ours tracks its references (EGL_KHR_display_reference), so that ending it ends nobody else's; where EGL cannot
 * do that it is left to the end of the process. Images that were given away hold it, too: they are good until they are released,
 * whatever became of the renderer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "render/virgl.h"

#ifndef EGL_TRACK_REFERENCES_KHR
#define EGL_TRACK_REFERENCES_KHR 0x3352
#endif
#ifndef EGL_DRM_RENDER_NODE_FILE_EXT
#define EGL_DRM_RENDER_NODE_FILE_EXT 0x3377
#endif

enum { MAX_DEVICES = 32 };

struct search {
	int (*try)(void *data, EGLDisplay display, struct vtr_error *error);
	void *data;
	struct vtr_error *error;
	const char *client; // extensions that need no display
	EGLDeviceEXT devices[MAX_DEVICES];
	EGLint n_devices;
};

bool vtr_virgl_has_extension(const char *extensions, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = extensions; at && (at = strstr(at, name)); at += length)
		if ((at == extensions || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
			return true;
	return false;
}

struct vtr_virgl_display *vtr_virgl_display_hold(struct vtr_virgl_display *display)
{
	atomic_fetch_add_explicit(&display->holders, 1, memory_order_relaxed);
	return display;
}

void vtr_virgl_display_let_go(struct vtr_virgl_display *display)
{
	if (!display || atomic_fetch_sub_explicit(&display->holders, 1, memory_order_acq_rel) > 1)
		return;
	if (display->ours)
		eglTerminate(display->display);
	free(display);
}

static struct vtr_virgl_display *create(EGLDisplay egl, bool ours, struct vtr_error *error)
{
	struct vtr_virgl_display *display = malloc(sizeof(*display));

	if (!display) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "Out of memory");
		return NULL;
	}
	*display = (struct vtr_virgl_display){ .display = egl, .ours = ours };
	atomic_init(&display->holders, 1);
	return display;
}

/* One of ours, of that platform. */
static struct vtr_virgl_display *try_platform(struct search *search, EGLenum platform, void *native, const char *name)
{
	bool tracked = vtr_virgl_has_extension(search->client, "EGL_KHR_display_reference");
	const EGLint track[] = { EGL_TRACK_REFERENCES_KHR, EGL_TRUE, EGL_NONE };
	EGLDisplay egl = eglGetPlatformDisplayEXT(platform, native, tracked ? track : NULL);
	struct vtr_virgl_display *display;

	if (!egl || !eglInitialize(egl, NULL, NULL)) {
		vtr_error_set(search->error, VTR_ERROR_HOST, ENODEV,
		              "EGL does not work with %s (0x%x): install a driver for it (libgl1-mesa-dri; software needs no GPU)",
		              name, eglGetError());
		return NULL;
	}
	display = create(egl, tracked, search->error);
	if (display && search->try(search->data, egl, search->error) < 0) {
		vtr_virgl_display_let_go(display);
		return NULL;
	}
	return display;
}

static const char *device_string(EGLDeviceEXT device, EGLint name, const char *extension)
{
	return vtr_virgl_has_extension(eglQueryDeviceStringEXT(device, EGL_EXTENSIONS), extension)
	               ? eglQueryDeviceStringEXT(device, name)
	               : NULL;
}

static const char *render_node(EGLDeviceEXT device)
{
	return device_string(device, EGL_DRM_RENDER_NODE_FILE_EXT, "EGL_EXT_device_drm_render_node");
}

static const char *primary_node(EGLDeviceEXT device)
{
	return device_string(device, EGL_DRM_DEVICE_FILE_EXT, "EGL_EXT_device_drm");
}

static bool is_software(EGLDeviceEXT device)
{
	return vtr_virgl_has_extension(eglQueryDeviceStringEXT(device, EGL_EXTENSIONS), "EGL_MESA_device_software");
}

/* Also by another name, as /dev/dri/by-path has them. */
static bool is_node(const char *node, const char *path)
{
	struct stat a, b;

	return node && (!strcmp(node, path) ||
	                (!stat(node, &a) && !stat(path, &b) && S_ISCHR(a.st_mode) && S_ISCHR(b.st_mode) && a.st_rdev == b.st_rdev));
}

static struct vtr_virgl_display *try_device(struct search *search, EGLDeviceEXT device)
{
	const char *name = render_node(device);

	if (!name)
		name = primary_node(device);
	return try_platform(search, EGL_PLATFORM_DEVICE_EXT, device, name ? name : "its software device");
}

static struct vtr_virgl_display *try_node(struct search *search, const char *path)
{
	for (EGLint i = 0; i < search->n_devices; i++)
		if (is_node(render_node(search->devices[i]), path) || is_node(primary_node(search->devices[i]), path))
			return try_device(search, search->devices[i]);
	vtr_error_set(search->error, VTR_ERROR_HOST, ENODEV,
	              "EGL has no GPU %s: see that it exists and may be opened (group render), or leave the render node out", path);
	return NULL;
}

static struct vtr_virgl_display *try_best(struct search *search)
{
	struct vtr_virgl_display *display = NULL;

	for (unsigned software = 0; software < 2; software++)
		for (EGLint i = 0; i < search->n_devices && !display; i++)
			if (is_software(search->devices[i]) == software && (software || render_node(search->devices[i])))
				display = try_device(search, search->devices[i]);
	if (!display && vtr_virgl_has_extension(search->client, "EGL_MESA_platform_surfaceless"))
		display = try_platform(search, EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, "no window system");
	return display;
}

static struct vtr_virgl_display *borrow(struct search *search, EGLDisplay egl)
{
	if (search->try(search->data, egl, search->error) < 0)
		return NULL;
	return create(egl, false, search->error);
}

struct vtr_virgl_display *vtr_virgl_display_choose(const struct vtr_renderer_options *options,
                                                   int (*try)(void *data, EGLDisplay display, struct vtr_error *error), void *data,
                                                   struct vtr_error *error)
{
	struct search search = { .try = try, .data = data, .error = error };

	if (options->egl_display)
		return borrow(&search, options->egl_display);
	search.client = eglQueryString(EGL_NO_DISPLAY, EGL_EXTENSIONS);
	if (!vtr_virgl_has_extension(search.client, "EGL_EXT_platform_base")) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOSYS,
		              "EGL cannot draw without a window: it lacks EGL_EXT_platform_base (install Mesa: libegl-mesa0)");
		return NULL;
	}
	vtr_error_set(error, VTR_ERROR_HOST, ENODEV,
	              "EGL has no device to draw with: install a driver (libgl1-mesa-dri; software needs no GPU)");
	if ((vtr_virgl_has_extension(search.client, "EGL_EXT_device_enumeration") ||
	     vtr_virgl_has_extension(search.client, "EGL_EXT_device_base")) &&
	    !eglQueryDevicesEXT(MAX_DEVICES, search.devices, &search.n_devices))
		search.n_devices = 0;
	return options->render_node ? try_node(&search, options->render_node) : try_best(&search);
}
