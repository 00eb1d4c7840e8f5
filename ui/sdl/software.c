/* SPDX-License-Identifier: MIT */
/* Windows without OpenGL: pixman keeps the picture, SDL scales it into the window's surface. */
#include <errno.h>

#include "display/picture.h"
#include "sdl.h"

static int open_window(struct sdl_window *window)
{
	return SDL_GetWindowSurface(window->window) ? 0 : -EIO;
}

static void forget_picture(struct sdl_window *window)
{
	if (window->image)
		pixman_image_unref(window->image);
	window->image = NULL;
}

static bool have_image(struct sdl_window *window, uint32_t width, uint32_t height)
{
	if (window->image && (uint32_t)pixman_image_get_width(window->image) == width &&
	    (uint32_t)pixman_image_get_height(window->image) == height)
		return true;
	forget_picture(window);
	window->image = vtr_picture_create(width, height);
	return window->image;
}

static bool load(struct sdl_window *window, const struct vtr_frame *frame, struct vtr_error *error)
{
	if (frame->content == VTR_FRAME_BLANK)
		forget_picture(window);
	if (frame->content == VTR_FRAME_BUFFER) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "windows are drawn without OpenGL");
		return false;
	}
	if (frame->content != VTR_FRAME_PIXELS)
		return true;
	if (have_image(window, frame->width, frame->height) &&
	    vtr_picture_read(window->image, &frame->damage, frame->pixels, frame->stride, frame->format))
		return true;
	vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory for a picture of %ux%u", frame->width, frame->height);
	return false;
}

static void blit(struct sdl_window *window, pixman_image_t *image, SDL_Surface *surface)
{
	const struct vtr_placement *placement = &window->placement;
	SDL_Rect to = { placement->x, placement->y, (int)placement->width, (int)placement->height };
	SDL_Surface *from = SDL_CreateRGBSurfaceWithFormatFrom(pixman_image_get_data(image), pixman_image_get_width(image),
	                                                       pixman_image_get_height(image), 32, pixman_image_get_stride(image),
	                                                       SDL_PIXELFORMAT_XRGB8888);

	if (from)
		SDL_BlitScaled(from, NULL, surface, &to);
	SDL_FreeSurface(from);
}

static bool paint(struct sdl_window *window, struct vtr_error *error)
{
	SDL_Surface *surface = SDL_GetWindowSurface(window->window); /* another one after each resize */

	if (!surface) {
		vtr_error_set(error, VTR_ERROR_HOST, EIO, "%s", SDL_GetError());
		return false;
	}
	SDL_FillRect(surface, NULL, SDL_MapRGB(surface->format, 0, 0, 0));
	if (window->image) {
		pixman_image_t *image = sdl_cursor_is_drawn(window) ? vtr_picture_with_cursor(window->image, &window->cursor)
		                                                    : pixman_image_ref(window->image);

		if (image) {
			blit(window, image, surface);
			pixman_image_unref(image);
		}
	}
	SDL_UpdateWindowSurface(window->window);
	return true;
}

static bool finished(struct sdl_window *window, uint64_t timeout_ns)
{
	return true;
}

static int finished_fd(struct sdl_window *window)
{
	return -1;
}

static pixman_image_t *read_picture(struct sdl_window *window)
{
	return window->image ? pixman_image_ref(window->image) : NULL;
}

static void idle(struct sdl_window *window)
{
}

static void size(struct sdl_window *window, int *width, int *height)
{
	SDL_GetWindowSize(window->window, width, height);
}

const struct sdl_renderer sdl_software_renderer = {
	.name = "software",
	.open = open_window,
	.close = forget_picture,
	.load = load,
	.paint = paint,
	.finished = finished,
	.finished_fd = finished_fd,
	.read = read_picture,
	.idle = idle,
	.size = size,
};
