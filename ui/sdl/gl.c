/* SPDX-License-Identifier: MIT */
/*
 * Windows by OpenGL ES: dmabufs and what a renderer drew are textures, damaged rows of pixels are uploaded. The context is made
 * with a window that is never shown, so that what the driver can do is known before there is an output, and is made current on the
 * window that is drawn.
 */
#include <drm_fourcc.h>
#include <errno.h>

#include "sdl.h"

static void set_attributes(void)
{
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_PROFILE_MASK, SDL_GL_CONTEXT_PROFILE_ES);
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_MAJOR_VERSION, 2);
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_MINOR_VERSION, 0);
	SDL_GL_SetAttribute(SDL_GL_DOUBLEBUFFER, 1);
	SDL_GL_SetAttribute(SDL_GL_DEPTH_SIZE, 0);
	SDL_GL_SetAttribute(SDL_GL_ALPHA_SIZE, 0);
}

int sdl_gl_start(struct sdl_display *display, struct vtr_error *error)
{
	set_attributes();
	display->hidden = SDL_CreateWindow("vitrine", 0, 0, 64, 64, SDL_WINDOW_OPENGL | SDL_WINDOW_HIDDEN);
	if (display->hidden)
		display->context = SDL_GL_CreateContext(display->hidden);
	if (!display->context) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "%s", SDL_GetError());
		sdl_gl_stop(display);
		return -EOPNOTSUPP;
	}
	vtr_egl_caps_init(&display->caps);
	int code = vtr_egl_painter_init(&display->painter, &display->caps, error);
	if (code < 0)
		sdl_gl_stop(display);
	return code;
}

void sdl_gl_stop(struct sdl_display *display)
{
	if (display->context) {
		SDL_GL_MakeCurrent(display->hidden, display->context);
		vtr_egl_painter_finish(&display->painter);
		vtr_egl_caps_finish(&display->caps);
		SDL_GL_DeleteContext(display->context);
	}
	if (display->hidden && !display->ended)
		SDL_DestroyWindow(display->hidden);
	display->context = NULL;
	display->hidden = NULL;
}

static int open_window(struct sdl_window *window)
{
	if (SDL_GL_MakeCurrent(window->window, window->display->context) < 0)
		return -EIO;
	SDL_GL_SetSwapInterval(0);
	return 0;
}

static void forget_picture(struct sdl_window *window)
{
	window->import = NULL;
	vtr_egl_imports_clear(&window->imports, &window->display->caps, NULL);
	vtr_egl_upload_finish(&window->upload);
}

static void close_window(struct sdl_window *window)
{
	SDL_GL_MakeCurrent(window->display->hidden, window->display->context);
	forget_picture(window);
	vtr_egl_fence_finish(&window->fence, &window->display->caps);
	vtr_egl_upload_finish(&window->cursor_upload);
}

static struct vtr_egl_picture imported_picture(const struct vtr_egl_import *import)
{
	return (struct vtr_egl_picture){
		.texture = import->texture,
		.target = import->target,
		.source = import->source,
		.opaque = true,
	};
}

/* Some drivers look at a dmabuf's memory only when they draw it. Asked once per import, by a pixel of the window's next picture, as
 * it means waiting for the drawing. */
static bool can_be_drawn(struct sdl_window *window, const struct vtr_egl_import *import, struct vtr_error *error)
{
	struct vtr_egl_picture picture = imported_picture(import);

	if (import->drawn)
		return true;
	vtr_egl_paint_clear(1, 1);
	vtr_egl_paint(&window->display->painter, &picture, 1, 1, 0, 0, 1, 1);
	glFinish();
	GLenum code = glGetError();
	if (code == GL_NO_ERROR) {
		vtr_egl_import_drawn(&window->imports, import);
		return true;
	}
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
	              "the OpenGL driver imports the dmabuf, but cannot draw it: error 0x%x", code);
	return false;
}

static bool load_buffer(struct sdl_window *window, const struct vtr_frame *frame, struct vtr_error *error)
{
	const struct vtr_egl_caps *caps = &window->display->caps;
	const struct vtr_egl_import *import = vtr_egl_import_frame(&window->imports, caps, frame, error);

	if (!import)
		return false;
	if (!can_be_drawn(window, import, error)) {
		vtr_egl_import_forget(&window->imports, caps, import);
		return false;
	}
	window->import = import;
	return true;
}

static bool load(struct sdl_window *window, const struct vtr_frame *frame, struct vtr_error *error)
{
	SDL_GL_MakeCurrent(window->window, window->display->context);
	switch (frame->content) {
	case VTR_FRAME_BUFFER:
		return load_buffer(window, frame, error);
	case VTR_FRAME_PIXELS:
		if (vtr_egl_upload_pixels(&window->upload, &window->display->caps, frame->pixels, frame->stride, frame->width,
		                          frame->height, frame->format, &frame->damage, error) < 0)
			return false;
		window->import = NULL;
		return true;
	case VTR_FRAME_BLANK:
		forget_picture(window);
		return true;
	case VTR_FRAME_UNREAD:
		return true;
	}
	return true;
}

static bool picture_of(const struct sdl_window *window, struct vtr_egl_picture *picture)
{
	if (!window->width)
		return false;
	if (window->import)
		*picture = imported_picture(window->import);
	else
		*picture = (struct vtr_egl_picture){
			.texture = window->upload.texture, .target = GL_TEXTURE_2D, .fourcc = window->upload.fourcc, .opaque = true
		};
	return picture->texture != 0;
}

/* In the picture's own scale, at its place. */
static void paint_cursor(struct sdl_window *window, int width, int height)
{
	const struct vtr_placement *placement = &window->placement;
	double scale_x = (double)placement->width / placement->picture_width;
	double scale_y = (double)placement->height / placement->picture_height;
	struct vtr_error error;
	pixman_region32_t all;

	if (!sdl_cursor_is_drawn(window))
		return;
	if (window->cursor_serial != window->cursor.serial) {
		pixman_region32_init_rect(&all, 0, 0, VTR_CURSOR_SIZE, VTR_CURSOR_SIZE);
		vtr_egl_upload_pixels(&window->cursor_upload, &window->display->caps, window->cursor.image, VTR_CURSOR_SIZE * 4,
		                      VTR_CURSOR_SIZE, VTR_CURSOR_SIZE, DRM_FORMAT_ARGB8888, &all, &error);
		pixman_region32_fini(&all);
		window->cursor_serial = window->cursor.serial;
	}
	struct vtr_egl_picture picture = { .texture = window->cursor_upload.texture,
		                           .target = GL_TEXTURE_2D,
		                           .fourcc = DRM_FORMAT_ARGB8888,
		                           .smooth = window->smooth };
	vtr_egl_paint(&window->display->painter, &picture, (uint32_t)width, (uint32_t)height,
	              placement->x + window->cursor.x * scale_x, placement->y + window->cursor.y * scale_y,
	              VTR_CURSOR_SIZE * scale_x, VTR_CURSOR_SIZE * scale_y);
}

static bool paint(struct sdl_window *window, struct vtr_error *error)
{
	const struct vtr_placement *placement = &window->placement;
	struct vtr_egl_picture picture;
	int width, height;

	SDL_GL_MakeCurrent(window->window, window->display->context);
	SDL_GL_GetDrawableSize(window->window, &width, &height);
	vtr_egl_paint_clear((uint32_t)width, (uint32_t)height);
	if (picture_of(window, &picture)) {
		picture.smooth = window->smooth && placement->width != placement->picture_width;
		vtr_egl_paint(&window->display->painter, &picture, (uint32_t)width, (uint32_t)height, placement->x, placement->y,
		              placement->width, placement->height);
	}
	if (window->width)
		paint_cursor(window, width, height);
	if (window->import)
		vtr_egl_fence_insert(&window->fence, &window->display->caps);
	else
		vtr_egl_fence_finish(&window->fence, &window->display->caps); /* of a picture that was given up */
	SDL_GL_SwapWindow(window->window);
	return true;
}

/* Only what was drawn of the guest's memory is of interest. */
static bool finished(struct sdl_window *window, uint64_t timeout_ns)
{
	if (!vtr_egl_fence_passed(&window->fence, &window->display->caps, timeout_ns))
		return false;
	vtr_egl_fence_finish(&window->fence, &window->display->caps);
	return true;
}

static int finished_fd(struct sdl_window *window)
{
	return vtr_egl_fence_fd(&window->fence, &window->display->caps);
}

/* Drawn once more, at its own size, where it can be read: also what an import shows, whatever its layout. */
static pixman_image_t *read_picture(struct sdl_window *window)
{
	struct vtr_egl_picture picture;

	SDL_GL_MakeCurrent(window->window, window->display->context);
	if (!picture_of(window, &picture))
		return NULL;
	return vtr_egl_read_picture(&window->display->painter, &picture, window->width, window->height);
}

static void idle(struct sdl_window *window)
{
	SDL_GL_MakeCurrent(window->window, window->display->context);
	vtr_egl_imports_clear(&window->imports, &window->display->caps, window->import);
}

static void size(struct sdl_window *window, int *width, int *height)
{
	SDL_GL_GetDrawableSize(window->window, width, height);
}

const struct sdl_renderer sdl_gl_renderer = {
	.name = "OpenGL ES",
	.window_flags = SDL_WINDOW_OPENGL,
	.open = open_window,
	.close = close_window,
	.load = load,
	.paint = paint,
	.finished = finished,
	.finished_fd = finished_fd,
	.read = read_picture,
	.idle = idle,
	.size = size,
};
