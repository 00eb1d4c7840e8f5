/* SPDX-License-Identifier: MIT */
/*
 * The guest's cursor. While the guest follows the host's pointer (it uses the tablet), the host's cursor takes the shape of the
 * guest's: it moves without the guest's delay, and over other windows it is the host's again. Otherwise the cursor is drawn into
 * the picture, where the guest has put it, and the host's shows where the person points.
 */
#include "sdl.h"

static bool follows_host(const struct sdl_window *window)
{
	struct vtr_input *input = window->display->options.input;

	return input && !SDL_GetRelativeMouseMode() && vtr_input_used(input, VTR_INPUT_TABLET);
}

bool sdl_cursor_is_drawn(const struct sdl_window *window)
{
	return window->cursor.visible && !follows_host(window);
}

static SDL_Cursor *create_cursor(struct vtr_cursor *cursor)
{
	SDL_Surface *surface = SDL_CreateRGBSurfaceWithFormatFrom(cursor->image, VTR_CURSOR_SIZE, VTR_CURSOR_SIZE, 32,
	                                                          VTR_CURSOR_SIZE * 4, SDL_PIXELFORMAT_ARGB8888);
	SDL_Cursor *made = surface ? SDL_CreateColorCursor(surface, (int)cursor->hot_x, (int)cursor->hot_y) : NULL;

	SDL_FreeSurface(surface);
	return made;
}

static void free_host_cursor(struct sdl_window *window)
{
	if (!window->host_cursor)
		return;
	SDL_SetCursor(SDL_GetDefaultCursor());
	SDL_FreeCursor(window->host_cursor);
	window->host_cursor = NULL;
}

/* SDL has one cursor for all windows: that of the window under the pointer. */
void sdl_cursor_update(struct sdl_window *window)
{
	if (SDL_GetMouseFocus() != window->window)
		return;
	if (!follows_host(window) || !window->width) {
		SDL_SetCursor(SDL_GetDefaultCursor());
		SDL_ShowCursor(SDL_ENABLE);
		return;
	}
	if (!window->host_cursor && window->cursor.visible)
		window->host_cursor = create_cursor(&window->cursor);
	if (window->host_cursor)
		SDL_SetCursor(window->host_cursor);
	SDL_ShowCursor(window->cursor.visible ? SDL_ENABLE : SDL_DISABLE);
}

void sdl_cursor_changed(struct sdl_window *window)
{
	uint64_t serial = window->cursor.serial;
	bool drawn = sdl_cursor_is_drawn(window);

	vtr_output_get_cursor(window->output, &window->cursor);
	if (serial != window->cursor.serial)
		free_host_cursor(window);
	sdl_cursor_update(window);
	if (drawn || sdl_cursor_is_drawn(window))
		sdl_window_repaint(window);
}

void sdl_cursor_close(struct sdl_window *window)
{
	free_host_cursor(window);
}
