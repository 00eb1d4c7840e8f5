/* SPDX-License-Identifier: MIT */
/*
 * Which dmabufs the compositor takes: a list of formats and modifiers, sent once (linux-dmabuf version 3) or whenever it changes
 * (version 4: feedback, as a table in shared memory and tranches of indices into it). Feedback comes once for all surfaces and once
 * for each window's, which may be on the monitor of another GPU: the window's own list holds where there is one.
 *
 * Which device a tranche is for does not decide anything: the guest's memory is linear, and is in no device of ours. That a tranche
 * is for a plane of the screen is kept, to say why a picture is not scanned out.
 *
 * From version 4 on a compositor ends the connection of who gives it a dmabuf that it has not listed. So what is asked for when a
 * frame is made is asked again when its buffer is given away: the list may be another one by then.
 */
#include "wayland/formats.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "util/fourcc.h"

/* Of an entry of the table, in the list under way. */
enum { MARK_TRANCHE = 1, MARK_LISTED = 2, MARK_SCANOUT = 4 };

void wayland_formats_init(struct wayland_formats *formats)
{
	pthread_mutex_init(&formats->lock, NULL);
}

void wayland_formats_forget(struct wayland_formats *formats)
{
	if (formats->feedback)
		zwp_linux_dmabuf_feedback_v1_destroy(formats->feedback);
	free(formats->table);
	free(formats->marks);
	formats->feedback = NULL;
	formats->table = NULL;
	formats->marks = NULL;
	formats->table_size = 0;
	pthread_mutex_lock(&formats->lock);
	free(formats->items);
	formats->items = NULL;
	formats->count = 0;
	formats->known = false;
	pthread_mutex_unlock(&formats->lock);
}

void wayland_formats_finish(struct wayland_formats *formats)
{
	wayland_formats_forget(formats);
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
			items[formats->count++] =
				(struct wayland_format){ .fourcc = fourcc, .modifier = (uint64_t)high << 32 | low };
			formats->items = items;
		}
	}
	pthread_mutex_unlock(&formats->lock);
}

static const struct zwp_linux_dmabuf_v1_listener dmabuf_listener = { .format = format, .modifier = modifier };

/* ---- version 4: a table ---- */

/* One entry as the protocol lays it out. */
struct table_entry {
	uint32_t fourcc;
	uint32_t padding;
	uint64_t modifier;
};

/* Read, not mapped: the file may be shorter than the compositor says. */
static struct table_entry *read_entries(int fd, size_t size)
{
	char *entries = malloc(size);
	size_t done = 0;

	while (entries && done < size) {
		ssize_t n = pread(fd, entries + done, size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(entries);
			return NULL;
		}
		done += (size_t)n;
	}
	return (struct table_entry *)entries;
}

static bool read_table(struct wayland_formats *formats, int fd, size_t count)
{
	struct table_entry *entries = read_entries(fd, count * sizeof(*entries));

	formats->table = calloc(count, sizeof(*formats->table));
	formats->marks = calloc(count, sizeof(*formats->marks));
	bool ok = entries && formats->table && formats->marks;
	for (size_t i = 0; ok && i < count; i++)
		formats->table[i] = (struct wayland_format){ .fourcc = entries[i].fourcc, .modifier = entries[i].modifier };
	free(entries);
	return ok;
}

static void format_table(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, int32_t fd, uint32_t size)
{
	struct wayland_formats *formats = data;
	size_t count = size / sizeof(struct table_entry);

	free(formats->table);
	free(formats->marks);
	formats->table = NULL;
	formats->marks = NULL;
	formats->table_size = count && count <= WAYLAND_MAX_FORMATS && read_table(formats, fd, count) ? count : 0;
	if (!formats->table_size)
		vtr_log(VTR_LOG_WARN, "wayland: the compositor's table of dmabuf formats cannot be read: %u bytes", size);
	close(fd);
}

/* ---- tranches, the best first ---- */

static void main_device(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *device)
{
	struct wayland_formats *formats = data;

	formats->main_device = 0;
	if (device->size == sizeof(formats->main_device))
		memcpy(&formats->main_device, device->data, sizeof(formats->main_device));
}

static void tranche_target_device(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *device)
{
}

static void tranche_formats(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *indices)
{
	struct wayland_formats *formats = data;
	const uint16_t *index = indices->data;

	for (size_t i = 0; i < indices->size / sizeof(*index); i++)
		if (index[i] < formats->table_size)
			formats->marks[index[i]] |= MARK_TRANCHE;
}

static void tranche_flags(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, uint32_t flags)
{
	((struct wayland_formats *)data)->tranche_scanout = flags & ZWP_LINUX_DMABUF_FEEDBACK_V1_TRANCHE_FLAGS_SCANOUT;
}

/* Its flags may have come after its formats. */
static void tranche_done(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback)
{
	struct wayland_formats *formats = data;

	for (size_t i = 0; i < formats->table_size; i++)
		if (formats->marks[i] & MARK_TRANCHE) {
			formats->marks[i] |= MARK_LISTED | (formats->tranche_scanout ? MARK_SCANOUT : 0);
			formats->marks[i] &= (uint8_t)~MARK_TRANCHE;
		}
	formats->tranche_scanout = false;
}

/* The entries that are listed; the list under way is empty afterwards. */
static struct wayland_format *collect(struct wayland_formats *formats, size_t *count)
{
	struct wayland_format *items = calloc(formats->table_size + 1, sizeof(*items));

	*count = 0;
	for (size_t i = 0; i < formats->table_size; i++) {
		if (formats->marks[i] & MARK_LISTED && items) {
			items[*count] = formats->table[i];
			items[(*count)++].scanout = formats->marks[i] & MARK_SCANOUT;
		}
		formats->marks[i] = 0;
	}
	return items;
}

static bool equal(const struct wayland_format *a, const struct wayland_format *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (a[i].fourcc != b[i].fourcc || a[i].modifier != b[i].modifier || a[i].scanout != b[i].scanout)
			return false;
	return true;
}

static void feedback_done(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback)
{
	struct wayland_formats *formats = data;
	size_t count;
	struct wayland_format *items = collect(formats, &count), *old = formats->items;
	bool changed = !formats->known || count != formats->count || !equal(items, old, count);

	pthread_mutex_lock(&formats->lock);
	formats->items = items;
	formats->count = count;
	formats->known = true;
	pthread_mutex_unlock(&formats->lock);
	free(old);
	if (changed)
		formats->changed(formats->data);
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

static bool has_feedback(struct zwp_linux_dmabuf_v1 *dmabuf)
{
	return zwp_linux_dmabuf_v1_get_version(dmabuf) >= ZWP_LINUX_DMABUF_V1_GET_DEFAULT_FEEDBACK_SINCE_VERSION;
}

void wayland_formats_listen(struct wayland_formats *formats, struct zwp_linux_dmabuf_v1 *dmabuf, void (*changed)(void *data),
                            void *data)
{
	formats->changed = changed;
	formats->data = data;
	formats->known = true;
	zwp_linux_dmabuf_v1_add_listener(dmabuf, &dmabuf_listener, formats);
	if (!has_feedback(dmabuf))
		return;
	formats->feedback = zwp_linux_dmabuf_v1_get_default_feedback(dmabuf);
	zwp_linux_dmabuf_feedback_v1_add_listener(formats->feedback, &feedback_listener, formats);
}

void wayland_formats_listen_surface(struct wayland_formats *formats, struct zwp_linux_dmabuf_v1 *dmabuf, struct wl_surface *surface,
                                    void (*changed)(void *data), void *data)
{
	if (!has_feedback(dmabuf))
		return;
	formats->changed = changed;
	formats->data = data;
	formats->feedback = zwp_linux_dmabuf_v1_get_surface_feedback(dmabuf, surface);
	zwp_linux_dmabuf_feedback_v1_add_listener(formats->feedback, &feedback_listener, formats);
}

/* ---- asking ---- */

/* A driver without modifiers has the invalid one, which leaves it to the importer what the memory looks like: linear as ours it is
 * tried, but it must be called invalid then. */
static bool find(const struct wayland_formats *formats, uint32_t fourcc, uint64_t modifier, struct wayland_format *found)
{
	bool any = false;

	for (size_t i = 0; i < formats->count; i++) {
		const struct wayland_format *item = &formats->items[i];
		bool exact = item->modifier == modifier;

		if (item->fourcc != fourcc ||
		    (!exact && (any || modifier != DRM_FORMAT_MOD_LINEAR || item->modifier != DRM_FORMAT_MOD_INVALID)))
			continue;
		any = true;
		*found = *item;
		if (exact)
			return true;
	}
	return any;
}

/* False in *known: there is no list. */
static bool find_locked(struct wayland_formats *formats, uint32_t fourcc, uint64_t modifier, struct wayland_format *found,
                        bool *known)
{
	pthread_mutex_lock(&formats->lock);
	*known = formats->known;
	bool listed = *known && find(formats, fourcc, modifier, found);
	pthread_mutex_unlock(&formats->lock);
	return listed;
}

bool wayland_formats_find(struct wayland_formats *all, struct wayland_formats *surface, uint32_t fourcc, uint64_t modifier,
                          struct wayland_format *found, struct vtr_error *error)
{
	char name[VTR_FOURCC_NAME];
	struct wayland_format item;
	bool known;
	bool listed = find_locked(surface, fourcc, modifier, &item, &known);

	if (!known)
		listed = find_locked(all, fourcc, modifier, &item, &known);
	if (!known)
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the compositor takes no dmabufs: it has no zwp_linux_dmabuf_v1 version 3");
	else if (!listed)
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the compositor takes no dmabufs of format %s with modifier 0x%" PRIx64,
		              vtr_fourcc_name(fourcc, name), modifier);
	else if (found)
		*found = item;
	return listed;
}
