/* SPDX-License-Identifier: MIT */
/*
 * The guest's cursor where the guest has put it, for one that does not follow the host's pointer: it does not use the tablet, or
 * there is no input. (One that follows has its image on the host's cursor, cursor.c.) It is a small surface above the picture, so
 * that the guest's buffers and their pacing have nothing to do with it, scaled as the picture is. Its image is the part of the
 * cursor that lies in the picture; what would be over the bars or outside of the window is not there.
 *
 * The subsurface is synchronised: image and place change together, with a commit of the black surface that is its parent. Changes
 * are sent one at a time: a guest may move its cursor as often as it likes, a compositor may be stopped.
 */
#include <string.h>
#include <sys/mman.h>

#include "wayland/wayland.h"

/* ---- where it is ---- */

/* What of the cursor's pixels from at on is within a picture of so many. */
static void clip(int64_t at, uint32_t picture, int32_t *first, int32_t *count)
{
	int64_t begin = at < 0 ? -at : 0, end = at + VTR_CURSOR_SIZE > picture ? picture - at : VTR_CURSOR_SIZE;

	*count = end > begin ? (int32_t)(end - begin) : 0;
	*first = *count ? (int32_t)begin : 0;
}

/* From the edge of a picture's pixel to the window's units; offset and size: of the picture, in the window's pixels. */
static int32_t to_units(const struct wayland_window *window, int64_t edge, int32_t offset, uint32_t size, uint32_t picture)
{
	return wayland_to_units(window, offset + (edge * size + picture / 2) / picture);
}

static struct wayland_overlay_look look_of(const struct wayland_window *window)
{
	const struct wayland_overlay_look hidden = { 0 };
	const struct vtr_placement *placement = &window->placement;
	const struct vtr_cursor *cursor = &window->cursor;
	struct wayland_overlay_look look = { .serial = cursor->serial };

	if (!cursor->visible || !window->configured || !window->picture_width || wayland_cursor_is_host(window->display))
		return hidden;
	clip(cursor->x, placement->picture_width, &look.first[0], &look.count[0]);
	clip(cursor->y, placement->picture_height, &look.first[1], &look.count[1]);
	if (!look.count[0] || !look.count[1])
		return hidden;
	const int64_t at[2] = { (int64_t)cursor->x + look.first[0], (int64_t)cursor->y + look.first[1] };
	const int32_t offset[2] = { placement->x, placement->y };
	const uint32_t size[2] = { placement->width, placement->height };
	const uint32_t picture[2] = { placement->picture_width, placement->picture_height };
	for (int i = 0; i < 2; i++) {
		int32_t end = to_units(window, at[i] + look.count[i], offset[i], size[i], picture[i]);

		look.place[i] = to_units(window, at[i], offset[i], size[i], picture[i]);
		look.size[i] = end > look.place[i] ? end - look.place[i] : 1;
	}
	return look;
}

static bool same_image(const struct wayland_overlay_look *a, const struct wayland_overlay_look *b)
{
	return a->serial == b->serial && !memcmp(a->first, b->first, sizeof(a->first)) &&
	       !memcmp(a->count, b->count, sizeof(a->count));
}

static bool same(const struct wayland_overlay_look *a, const struct wayland_overlay_look *b)
{
	return same_image(a, b) && !memcmp(a->place, b->place, sizeof(a->place)) && !memcmp(a->size, b->size, sizeof(a->size));
}

/* ---- showing it ---- */

static void create(struct wayland_window *window)
{
	struct wayland_display *display = window->display;
	struct wayland_overlay *overlay = &window->overlay;
	struct wl_region *nowhere = wl_compositor_create_region(display->compositor);

	overlay->surface = wl_compositor_create_surface(display->compositor);
	wl_surface_set_input_region(overlay->surface, nowhere); /* the pointer is over the picture */
	wl_region_destroy(nowhere);
	overlay->subsurface = wl_subcompositor_get_subsurface(display->subcompositor, overlay->surface, window->background);
	if (display->viewporter)
		overlay->viewport = wp_viewporter_get_viewport(display->viewporter, overlay->surface);
}

/* The visible part of the image; NULL: no memory. */
static struct wl_buffer *load_image(const struct wayland_window *window, const struct wayland_overlay_look *look)
{
	const uint32_t *from = window->cursor.image + look->first[1] * VTR_CURSOR_SIZE + look->first[0];
	size_t size, row = (size_t)look->count[0] * 4;
	void *data;
	struct wl_buffer *buffer = wayland_shm_create(window->display, (uint32_t)look->count[0], (uint32_t)look->count[1],
	                                              WL_SHM_FORMAT_ARGB8888, &data, &size);

	if (!buffer)
		return NULL;
	for (int32_t y = 0; y < look->count[1]; y++)
		memcpy((uint8_t *)data + (size_t)y * row, from + y * VTR_CURSOR_SIZE, row);
	munmap(data, size);
	return buffer;
}

/* look is what the compositor has been told last from here on. */
static void commit(struct wayland_window *window, const struct wayland_overlay_look *look, struct wl_buffer *buffer)
{
	struct wayland_overlay *overlay = &window->overlay;
	struct wl_buffer *old = buffer == overlay->buffer ? NULL : overlay->buffer;

	if (buffer != overlay->buffer) {
		wl_surface_attach(overlay->surface, buffer, 0, 0);
		wl_surface_damage(overlay->surface, 0, 0, INT32_MAX, INT32_MAX);
	}
	if (buffer) {
		wl_subsurface_set_position(overlay->subsurface, look->place[0], look->place[1]);
		if (overlay->viewport)
			wp_viewport_set_destination(overlay->viewport, look->size[0], look->size[1]);
	}
	wl_surface_commit(overlay->surface);
	wl_surface_commit(window->background);
	if (old)
		wl_buffer_destroy(old);
	overlay->buffer = buffer;
	overlay->look = *look;
}

static void answered(void *data, struct wl_callback *callback, uint32_t serial)
{
	struct wayland_window *window = data;

	wl_callback_destroy(callback);
	window->overlay.answer = NULL;
	wayland_overlay_update(window);
}

static const struct wl_callback_listener answer_listener = { .done = answered };

void wayland_overlay_update(struct wayland_window *window)
{
	struct wayland_overlay *overlay = &window->overlay;
	struct wayland_overlay_look look = look_of(window);
	struct wl_buffer *buffer = overlay->buffer;

	if (overlay->answer || same(&look, &overlay->look))
		return;
	if (!overlay->surface)
		create(window);
	if (!look.count[0])
		buffer = NULL;
	else if (!buffer || !same_image(&look, &overlay->look))
		buffer = load_image(window, &look);
	if (look.count[0] && !buffer)
		return; /* no memory: it stays as it was */
	commit(window, &look, buffer);
	overlay->answer = wl_display_sync(window->display->connection);
	wl_callback_add_listener(overlay->answer, &answer_listener, window);
}

void wayland_overlay_finish(struct wayland_window *window)
{
	struct wayland_overlay *overlay = &window->overlay;

	if (overlay->answer)
		wl_callback_destroy(overlay->answer);
	if (overlay->viewport)
		wp_viewport_destroy(overlay->viewport);
	if (overlay->subsurface)
		wl_subsurface_destroy(overlay->subsurface);
	if (overlay->surface)
		wl_surface_destroy(overlay->surface);
	if (overlay->buffer)
		wl_buffer_destroy(overlay->buffer);
	*overlay = (struct wayland_overlay){ 0 };
}
