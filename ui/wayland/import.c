/* SPDX-License-Identifier: MIT */
/*
 * dmabufs as wl_buffers, made once per buffer and layout. The compositor is always asked with `create`, whose refusal is an event:
 * `create_immed` may answer a refusal with the end of the connection. Until it has answered, which takes one round trip per buffer
 * of the guest, the frame waits.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vitrine/dmabuf.h>

#include "util/checked.h"
#include "util/fourcc.h"
#include "wayland/wayland.h"

/* A question to the compositor. It lives until it is answered, whatever becomes of the import: libwayland cannot tell what objects
 * an answer makes that comes for an object which is gone, and loses the connection over the next one. */
struct wayland_ask {
	struct wayland_ask *next; // wayland_display.asks
	struct wayland_display *display;
	struct wayland_import *import; /* NULL: nobody waits for the answer any more */
	struct zwp_linux_buffer_params_v1 *params;
};

static void forget(struct wayland_import *import)
{
	wayland_sync_forget(import);
	if (import->ask)
		import->ask->import = NULL;
	if (import->wl_buffer)
		wl_buffer_destroy(import->wl_buffer);
	if (import->frame)
		vtr_frame_finish(import->frame, 0);
	*import = (struct wayland_import){ .window = import->window };
}

static void buffer_release(void *data, struct wl_buffer *wl_buffer)
{
	struct wayland_import *import = data;

	import->busy = false;
	wayland_import_released(import);
}

static const struct wl_buffer_listener buffer_listener = { .release = buffer_release };

static void end(struct wayland_ask *ask)
{
	struct wayland_ask **link = &ask->display->asks;

	while (*link != ask)
		link = &(*link)->next;
	*link = ask->next;
	zwp_linux_buffer_params_v1_destroy(ask->params);
	free(ask);
}

static void answered(struct wayland_ask *ask, struct wl_buffer *wl_buffer)
{
	struct wayland_import *import = ask->import;

	end(ask);
	if (!import) {
		if (wl_buffer)
			wl_buffer_destroy(wl_buffer);
		return;
	}
	import->ask = NULL;
	import->wl_buffer = wl_buffer;
	import->state = wl_buffer ? WAYLAND_IMPORT_READY : WAYLAND_IMPORT_REFUSED;
	if (wl_buffer)
		wl_buffer_add_listener(wl_buffer, &buffer_listener, import);
	wayland_show(import->window);
}

static void created(void *data, struct zwp_linux_buffer_params_v1 *params, struct wl_buffer *wl_buffer)
{
	answered(data, wl_buffer);
}

static void failed(void *data, struct zwp_linux_buffer_params_v1 *params)
{
	answered(data, NULL);
}

static const struct zwp_linux_buffer_params_v1_listener params_listener = { .created = created, .failed = failed };

static bool same(const struct wayland_import *import, const struct vtr_frame *frame)
{
	return import->buffer == vtr_buffer_id(frame->buffer) && import->offset == frame->offset &&
	       import->modifier == frame->modifier && import->width == frame->width && import->height == frame->height &&
	       import->stride == frame->stride && import->fourcc == frame->format;
}

static bool unused(const struct wayland_import *import)
{
	return !import->busy && !import->n_releases && !import->frame && import->state != WAYLAND_IMPORT_ASKED &&
	       import->window->shown != import;
}

/* The frame's import, or else the one that can be given up and was not used for the longest time; NULL: none can. */
static struct wayland_import *find(struct wayland_window *window, const struct vtr_frame *frame)
{
	struct wayland_import *oldest = NULL;

	for (size_t i = 0; i < WAYLAND_IMPORTS; i++) {
		struct wayland_import *import = &window->imports[i];

		import->window = window;
		if (import->state != WAYLAND_IMPORT_FREE && same(import, frame))
			return import;
		if (unused(import) && (!oldest || import->used < oldest->used))
			oldest = import;
	}
	return oldest;
}

/* The protocol wants stride * height bytes, or ends the connection. A picture in the right of a larger one, at the end of the
 * memory, has less: its buffer begins `left` columns further left then. */
static int lay_out(const struct wayland_window *window, const struct vtr_frame *frame, uint32_t *left, struct vtr_error *error)
{
	uint64_t rows = (uint64_t)frame->stride * frame->height, size = vtr_dmabuf_size(vtr_buffer_fd(frame->buffer));
	uint64_t columns = frame->stride / 4;

	*left = 0;
	if (frame->offset > UINT32_MAX)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "linux-dmabuf cannot express an offset of %" PRIu64 " bytes", frame->offset);
	if (!vtr_frame_fits_dmabuf(frame, error))
		return -ERANGE;
	if (vtr_range_fits(frame->offset, rows, size))
		return 0;
	if (frame->modifier != DRM_FORMAT_MOD_LINEAR)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "linux-dmabuf wants %" PRIu64 " bytes, and the dmabuf has %" PRIu64, frame->offset + rows,
		                     size);
	uint64_t beyond = (frame->offset + rows - size + 3) / 4;
	if (beyond * 4 > frame->offset || beyond + frame->width > columns || !window->content_viewport)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "linux-dmabuf wants the last row whole, and the dmabuf ends within it: %" PRIu64 " bytes",
		                     size);
	*left = (uint32_t)beyond;
	return 0;
}

/* modifier: what the compositor calls the frame's. */
static bool ask(struct wayland_window *window, struct wayland_import *import, const struct vtr_frame *frame, uint64_t modifier,
                uint32_t left)
{
	struct wayland_display *display = window->display;
	struct wayland_ask *ask = calloc(1, sizeof(*ask));

	if (!ask)
		return false;
	*ask = (struct wayland_ask){
		.next = display->asks,
		.display = display,
		.import = import,
		.params = zwp_linux_dmabuf_v1_create_params(display->dmabuf),
	};
	display->asks = ask;
	*import = (struct wayland_import){
		.window = window,
		.state = WAYLAND_IMPORT_ASKED,
		.buffer = vtr_buffer_id(frame->buffer),
		.offset = frame->offset,
		.modifier = frame->modifier,
		.width = frame->width,
		.height = frame->height,
		.stride = frame->stride,
		.fourcc = frame->format,
		.left = left,
		.ask = ask,
	};
	zwp_linux_buffer_params_v1_add_listener(ask->params, &params_listener, ask);
	zwp_linux_buffer_params_v1_add(ask->params, vtr_buffer_fd(frame->buffer), 0, (uint32_t)(frame->offset - left * 4),
	                               frame->stride, (uint32_t)(modifier >> 32), (uint32_t)modifier);
	zwp_linux_buffer_params_v1_create(ask->params, (int32_t)(left + frame->width), (int32_t)frame->height, frame->format, 0);
	return true;
}

/* False: *error says why the frame cannot be. */
static bool import_new(struct wayland_window *window, struct wayland_import *import, const struct vtr_frame *frame,
                       struct vtr_error *error)
{
	struct wayland_display *display = window->display;
	struct wayland_format found;
	uint32_t left;

	if (!wayland_formats_find(&display->formats, &display->surface_formats[window->number], frame->format, frame->modifier,
	                          &found, error) ||
	    lay_out(window, frame, &left, error) < 0)
		return false;
	forget(import);
	if (ask(window, import, frame, found.modifier, left))
		return true;
	vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory");
	return false;
}

struct wayland_import *wayland_import_frame(struct wayland_window *window, const struct vtr_frame *frame, bool *refused,
                                            struct vtr_error *error)
{
	struct wayland_import *import = find(window, frame);
	char name[VTR_FOURCC_NAME];

	*refused = false;
	if (!import)
		return NULL;
	if (import->state == WAYLAND_IMPORT_FREE || !same(import, frame)) {
		*refused = !import_new(window, import, frame, error);
		if (*refused)
			return NULL;
	}
	import->used = ++window->import_uses;
	if (import->state == WAYLAND_IMPORT_REFUSED) {
		*refused = true;
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the compositor does not import a dmabuf of %ux%u %s, %zu ranges, path %s", frame->width,
		              frame->height, vtr_fourcc_name(frame->format, name), vtr_buffer_ranges(frame->buffer),
		              vtr_path_name(vtr_buffer_path(frame->buffer)));
		forget(import);
		return NULL;
	}
	return import;
}

void wayland_imports_clear(struct wayland_window *window, bool all)
{
	for (size_t i = 0; i < WAYLAND_IMPORTS; i++) {
		struct wayland_import *import = &window->imports[i];

		import->window = window;
		if (all || unused(import))
			forget(import);
	}
}

void wayland_asks_finish(struct wayland_display *display)
{
	while (display->asks)
		end(display->asks);
}
