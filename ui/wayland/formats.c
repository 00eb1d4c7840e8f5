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
#include <sys/mman.h>
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
	if (formats->count < WAYLAND_MAX_FORMATS)
		formats->items[formats->count++] = (struct wayland_format){ fourcc, (uint64_t)high << 32 | low };
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

static void format_table(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, int32_t fd, uint32_t size)
{
	struct wayland_formats *formats = data;
	size_t count = size / sizeof(struct table_entry);
	const struct table_entry *entries = count ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;

	close(fd);
	free(formats->table);
	formats->table = NULL;
	formats->table_size = 0;
	if (entries == MAP_FAILED)
		return;
	formats->table = calloc(count, sizeof(*formats->table));
	for (size_t i = 0; formats->table && i < count; i++)
		formats->table[i] = (struct wayland_format){ entries[i].fourcc, entries[i].modifier };
	formats->table_size = formats->table ? count : 0;
	munmap((void *)entries, size);
}

static void tranche_formats(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *indices)
{
	struct wayland_formats *formats = data;
	const uint16_t *index;

	wl_array_for_each(index, indices) if (*index < formats->table_size && formats->next_count < WAYLAND_MAX_FORMATS)
		formats->next[formats->next_count++] = formats->table[*index];
}

static void feedback_done(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback)
{
	struct wayland_formats *formats = data;

	pthread_mutex_lock(&formats->lock);
	memcpy(formats->items, formats->next, formats->next_count * sizeof(formats->next[0]));
	formats->count = formats->next_count;
	pthread_mutex_unlock(&formats->lock);
	formats->next_count = 0;
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

void wayland_formats_listen(struct wayland_formats *formats, struct zwp_linux_dmabuf_v1 *dmabuf)
{
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
