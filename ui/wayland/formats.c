/* SPDX-License-Identifier: MIT */
/*
 * Which dmabufs the compositor takes: a list of formats and modifiers, sent once (linux-dmabuf version 3) or whenever it changes
 * (version 4: feedback, as a table in shared memory and tranches of indices into it). Which device a tranche is for does not matter
 * here: the guest's memory is linear, and is in no device of ours.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fourcc.h"
#include "wayland/wayland.h"

void wayland_formats_init(struct wayland_formats *formats)
{
	pthread_mutex_init(&formats->lock, NULL);
}

void wayland_formats_finish(struct wayland_formats *formats)
{
	if (formats->feedback)
		zwp_linux_dmabuf_feedback_v1_destroy(formats->feedback);
	free(formats->table);
	free(formats->listed);
	free(formats->items);
	pthread_mutex_destroy(&formats->lock);
}

/* ---- version 3 ---- */

static void format(void *data, struct zwp_linux_dmabuf_v1 *dmabuf, uint32_t fourcc)
{
}

static void modifier(void *data, struct zwp_linux_dmabuf_v1 *dmabuf, uint32_t fourcc, uint32_t high, uint32_t low)
{
	struct wayland_formats *formats = data;

	pthread_mutex_lock(&formats->lock);
	if (formats->count < WAYLAND_MAX_FORMATS) {
		struct wayland_format *items = realloc(formats->items, (formats->count + 1) * sizeof(*items));

		if (items) {
			items[formats->count++] = (struct wayland_format){ fourcc, (uint64_t)high << 32 | low };
			formats->items = items;
		}
	}
	pthread_mutex_unlock(&formats->lock);
}

static const struct zwp_linux_dmabuf_v1_listener dmabuf_listener = { .format = format, .modifier = modifier };

/* ---- version 4 ---- */

/* One entry as the protocol lays it out. */
struct table_entry {
	uint32_t fourcc;
	uint32_t padding;
	uint64_t modifier;
};

/* Read, not mapped: the file may be shorter than the compositor says. */
static bool read_table(struct wayland_formats *formats, int fd, size_t count)
{
	struct table_entry entry;

	formats->table = calloc(count, sizeof(*formats->table));
	formats->listed = calloc(count, sizeof(*formats->listed));
	if (!formats->table || !formats->listed)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (pread(fd, &entry, sizeof(entry), (off_t)(i * sizeof(entry))) != sizeof(entry))
			return false;
		formats->table[i] = (struct wayland_format){ entry.fourcc, entry.modifier };
	}
	return true;
}

static void format_table(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, int32_t fd, uint32_t size)
{
	struct wayland_formats *formats = data;
	size_t count = size / sizeof(struct table_entry);

	free(formats->table);
	free(formats->listed);
	formats->table = NULL;
	formats->listed = NULL;
	formats->table_size = count <= WAYLAND_MAX_FORMATS && read_table(formats, fd, count) ? count : 0;
	if (!formats->table_size)
		vtr_log(VTR_LOG_WARN, "wayland: the compositor's table of dmabuf formats cannot be read: %u bytes", size);
	close(fd);
}

static void tranche_formats(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *indices)
{
	struct wayland_formats *formats = data;
	const uint16_t *index;

	wl_array_for_each(index, indices) if (*index < formats->table_size) formats->listed[*index] = true;
}

/* The entries that are listed; the list under way is empty afterwards. */
static struct wayland_format *collect(struct wayland_formats *formats, size_t *count)
{
	struct wayland_format *items = calloc(formats->table_size + 1, sizeof(*items));

	*count = 0;
	for (size_t i = 0; i < formats->table_size; i++) {
		if (formats->listed[i] && items)
			items[(*count)++] = formats->table[i];
		formats->listed[i] = false;
	}
	return items;
}

static void feedback_done(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback)
{
	struct wayland_formats *formats = data;
	size_t count;
	struct wayland_format *items = collect(formats, &count), *old = formats->items;

	pthread_mutex_lock(&formats->lock);
	formats->items = items;
	formats->count = count;
	pthread_mutex_unlock(&formats->lock);
	free(old);
	formats->changed(formats->data);
}

static void main_device(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *device)
{
}

static void tranche_done(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback)
{
}

static void tranche_target_device(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *device)
{
}

static void tranche_flags(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, uint32_t flags)
{
}

static const struct zwp_linux_dmabuf_feedback_v1_listener feedback_listener = {
	.done = feedback_done,
	.format_table = format_table,
	.main_device = main_device,
	.tranche_done = tranche_done,
	.tranche_target_device = tranche_target_device,
	.tranche_formats = tranche_formats,
	.tranche_flags = tranche_flags,
};

void wayland_formats_listen(struct wayland_formats *formats, struct zwp_linux_dmabuf_v1 *dmabuf, void (*changed)(void *data),
                            void *data)
{
	formats->changed = changed;
	formats->data = data;
	formats->any = true;
	zwp_linux_dmabuf_v1_add_listener(dmabuf, &dmabuf_listener, formats);
	if (zwp_linux_dmabuf_v1_get_version(dmabuf) < ZWP_LINUX_DMABUF_V1_GET_DEFAULT_FEEDBACK_SINCE_VERSION)
		return;
	formats->feedback = zwp_linux_dmabuf_v1_get_default_feedback(dmabuf);
	zwp_linux_dmabuf_feedback_v1_add_listener(formats->feedback, &feedback_listener, formats);
}

/* ---- asking ---- */

/* A driver without modifiers has the invalid one, which leaves it to the importer what the memory looks like: linear as ours it is
 * tried. */
static bool listed(const struct wayland_formats *formats, uint32_t fourcc, uint64_t modifier)
{
	for (size_t i = 0; i < formats->count; i++)
		if (formats->items[i].fourcc == fourcc &&
		    (formats->items[i].modifier == modifier ||
		     (modifier == DRM_FORMAT_MOD_LINEAR && formats->items[i].modifier == DRM_FORMAT_MOD_INVALID)))
			return true;
	return false;
}

bool wayland_formats_accept(struct wayland_formats *formats, uint32_t fourcc, uint64_t modifier, struct vtr_error *error)
{
	char name[VTR_FOURCC_NAME];

	if (!formats->any) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the compositor takes no dmabufs: it has no zwp_linux_dmabuf_v1 version 3");
		return false;
	}
	pthread_mutex_lock(&formats->lock);
	bool accepted = listed(formats, fourcc, modifier);
	pthread_mutex_unlock(&formats->lock);
	if (!accepted)
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the compositor takes no dmabufs of format %s with modifier 0x%" PRIx64,
		              vtr_fourcc_name(fourcc, name), modifier);
	return accepted;
}
