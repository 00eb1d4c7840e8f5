/* SPDX-License-Identifier: MIT */
/* The mock compositor's linux-dmabuf, versions 3 to 5. */
#include <drm_fourcc.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_syncobj.h"
#include "linux-dmabuf-v1-server-protocol.h"
#include "mock_compositor.h"

/* ---- buffers ---- */

static void answer(struct mock *mock, const struct mock_params *params)
{
	if (mock->fail) {
		zwp_linux_buffer_params_v1_send_failed(params->resource);
		return;
	}
	struct wl_resource *buffer = mock_make(mock, &wl_buffer_interface, 1, 0);
	zwp_linux_buffer_params_v1_send_created(params->resource, buffer);
	mock->current_params = *params;
}

void mock_answer(struct mock *mock)
{
	for (size_t i = 0; i < mock->n_asked; i++)
		answer(mock, &mock->asked[i]);
	mock->n_asked = 0;
}

static bool lists(const struct mock_list *list, const struct mock_params *params)
{
	for (int i = 0; i < MOCK_FORMATS; i++)
		if (list->listed & 1u << i && list->table[i].fourcc == params->format &&
		    list->table[i].modifier == params->modifier)
			return true;
	return false;
}

/* From version 4 on what is not listed ends the connection. */
static void check_listed(const struct mock *mock, const struct mock_params *params)
{
	g_assert_true(mock->options.dmabuf_version < 4 || lists(&mock->all, params) || lists(&mock->surface, params));
}

void mock_params_request(struct mock *mock, struct wl_resource *resource, const char *name, const union wl_argument *arguments)
{
	struct mock_params *params = &mock->asked[mock->n_asked];

	g_assert_cmpuint(mock->n_asked, <, MOCK_MAX);
	if (!strcmp(name, "add")) {
		*params = (struct mock_params){ .resource = resource,
			                        .offset = arguments[2].u,
			                        .stride = arguments[3].u,
			                        .modifier = (uint64_t)arguments[4].u << 32 | arguments[5].u };
		close(arguments[0].h);
	} else if (!strcmp(name, "create")) {
		params->width = arguments[0].i;
		params->height = arguments[1].i;
		params->format = arguments[2].u;
		check_listed(mock, params);
		mock->n_asked++;
		mock->n_params++;
		if (!mock->hold_answers)
			mock_answer(mock);
	} else {
		g_assert_cmpstr(name, ==, "destroy"); /* create_immed may end the connection */
	}
}

/* ---- formats ---- */

const struct mock_format mock_formats[MOCK_DEFAULT_FORMATS] = {
	{ DRM_FORMAT_XRGB8888, 0, DRM_FORMAT_MOD_LINEAR },
	{ DRM_FORMAT_XBGR8888, 0, DRM_FORMAT_MOD_LINEAR },
	{ DRM_FORMAT_XRGB8888, 0, I915_FORMAT_MOD_X_TILED },
	{ DRM_FORMAT_XRGB8888, 0, DRM_FORMAT_MOD_INVALID },
};

void mock_dmabuf_bound(struct wl_resource *dmabuf)
{
	if (wl_resource_get_version(dmabuf) != 3)
		return;
	zwp_linux_dmabuf_v1_send_modifier(dmabuf, DRM_FORMAT_XRGB8888, 0, DRM_FORMAT_MOD_LINEAR);
	zwp_linux_dmabuf_v1_send_modifier(dmabuf, DRM_FORMAT_ARGB8888, 0, DRM_FORMAT_MOD_LINEAR);
}

static void send_device(struct wl_resource *feedback, void (*send)(struct wl_resource *feedback, struct wl_array *device))
{
	dev_t device = FAKE_MAIN_DEVICE;
	struct wl_array array = { .size = sizeof(device), .data = &device };

	send(feedback, &array);
}

static void send_tranche(struct wl_resource *feedback, uint32_t listed, uint32_t flags)
{
	struct wl_array indices;

	if (!listed)
		return;
	wl_array_init(&indices);
	for (uint16_t i = 0; i < 32; i++)
		if (listed & 1u << i)
			*(uint16_t *)wl_array_add(&indices, sizeof(uint16_t)) = i;
	send_device(feedback, zwp_linux_dmabuf_feedback_v1_send_tranche_target_device);
	zwp_linux_dmabuf_feedback_v1_send_tranche_formats(feedback, &indices);
	zwp_linux_dmabuf_feedback_v1_send_tranche_flags(feedback, flags);
	zwp_linux_dmabuf_feedback_v1_send_tranche_done(feedback);
	wl_array_release(&indices);
}

void mock_tell_formats(struct mock_list *list, struct wl_resource *feedback)
{
	list->feedback = feedback;
	mock_send_formats(list, mock_formats, MOCK_DEFAULT_FORMATS, 1, 0, 0);
}

void mock_send_formats(struct mock_list *list, const struct mock_format *table, size_t n, uint32_t listed, uint32_t scanout,
                       size_t missing)
{
	uint32_t size = (uint32_t)(n * sizeof(*table));

	if (table) {
		int fd = memfd_create("formats", MFD_CLOEXEC);

		memset(list->table, 0, sizeof(list->table));
		memcpy(list->table, table, size);
		g_assert_cmpint(write(fd, table, size - missing), ==, (ssize_t)(size - missing));
		zwp_linux_dmabuf_feedback_v1_send_format_table(list->feedback, fd, size);
		close(fd);
	}
	list->listed = listed;
	send_device(list->feedback, zwp_linux_dmabuf_feedback_v1_send_main_device);
	send_tranche(list->feedback, listed & scanout, ZWP_LINUX_DMABUF_FEEDBACK_V1_TRANCHE_FLAGS_SCANOUT);
	send_tranche(list->feedback, listed, 0);
	zwp_linux_dmabuf_feedback_v1_send_done(list->feedback);
}
