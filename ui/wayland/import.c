/* SPDX-License-Identifier: MIT */
/*
 * dmabufs as wl_buffers, made once per buffer and layout. The compositor is always asked with `create`, whose refusal is an event:
 * `create_immed` may answer a refusal with the end of the connection. Until it has answered, which takes one round trip per buffer
 * of the guest, the frame waits.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>

#include <vitrine/dmabuf.h>

#include "util/checked.h"
#include "util/fourcc.h"
#include "wayland/wayland.h"

static void forget(struct wayland_import *import)
{
	if (import->params)
		zwp_linux_buffer_params_v1_destroy(import->params);
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

static void answered(struct wayland_import *import, struct wl_buffer *wl_buffer)
{
	zwp_linux_buffer_params_v1_destroy(import->params);
	import->params = NULL;
	import->wl_buffer = wl_buffer;
	import->state = wl_buffer ? WAYLAND_IMPORT_READY : WAYLAND_IMPORT_REFUSED;
	if (wl_buffer)
		wl_buffer_add_listener(wl_buffer, &buffer_listener, import);
	wayland_import_answered(import->window);
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

/* The frame's import, or else the one that can be given up and was not used for the longest time; NULL: none can. */
static struct wayland_import *find(struct wayland_window *window, const struct vtr_frame *frame)
{
	struct wayland_import *oldest = NULL;

	for (size_t i = 0; i < WAYLAND_IMPORTS; i++) {
		struct wayland_import *import = &window->imports[i];

		if (import->state != WAYLAND_IMPORT_FREE && same(import, frame))
			return import;
		if (!import->busy && !import->frame && import->state != WAYLAND_IMPORT_ASKED &&
		    (!oldest || import->used < oldest->used))
			oldest = import;
	}
	return oldest;
}

/* Compositors read what they are told to. */
static int check_layout(const struct vtr_frame *frame, struct vtr_error *error)
{
	uint64_t length = (uint64_t)frame->stride * (frame->height - 1) + (uint64_t)frame->width * 4;
	uint64_t size = vtr_dmabuf_size(vtr_buffer_fd(frame->buffer));

	if (frame->offset > UINT32_MAX)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "linux-dmabuf cannot express an offset of %" PRIu64 " bytes", frame->offset);
	if (frame->stride / 4 < frame->width || !vtr_range_fits(frame->offset, length, size))
		return vtr_error_set(error, VTR_ERROR_HOST, ERANGE,
		                     "the dmabuf has %" PRIu64 " bytes, the picture ends %" PRIu64 " bytes from its begin", size,
		                     frame->offset + length);
	return 0;
}

static void ask(struct wayland_import *import, const struct vtr_frame *frame)
{
	*import = (struct wayland_import){
		.window = import->window,
		.state = WAYLAND_IMPORT_ASKED,
		.buffer = vtr_buffer_id(frame->buffer),
		.offset = frame->offset,
		.modifier = frame->modifier,
		.width = frame->width,
		.height = frame->height,
		.stride = frame->stride,
		.fourcc = frame->format,
		.params = zwp_linux_dmabuf_v1_create_params(import->window->display->dmabuf),
	};
	zwp_linux_buffer_params_v1_add_listener(import->params, &params_listener, import);
	zwp_linux_buffer_params_v1_add(import->params, vtr_buffer_fd(frame->buffer), 0, (uint32_t)frame->offset, frame->stride,
	                               (uint32_t)(frame->modifier >> 32), (uint32_t)frame->modifier);
	zwp_linux_buffer_params_v1_create(import->params, (int32_t)frame->width, (int32_t)frame->height, frame->format, 0);
}

struct wayland_import *wayland_import_frame(struct wayland_window *window, const struct vtr_frame *frame, bool *refused,
                                            struct vtr_error *error)
{
	struct wayland_import *import = find(window, frame);
	char name[VTR_FOURCC_NAME];

	*refused = false;
	if (!import)
		return NULL;
	import->window = window;
	if (import->state == WAYLAND_IMPORT_FREE || !same(import, frame)) {
		*refused = check_layout(frame, error) < 0;
		if (*refused)
			return NULL;
		forget(import);
		ask(import, frame);
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

		if (all || (!import->busy && !import->frame && import->state != WAYLAND_IMPORT_ASKED))
			forget(import);
	}
}
