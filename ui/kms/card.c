/* SPDX-License-Identifier: MIT */
#include "card.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/fourcc.h"

enum { MAX_CARDS = 64 /* minors of primary nodes */, DEFAULT_CURSOR_SIZE = 64 };

/* ---- properties ---- */

struct wanted_property {
	const char *name;
	uint32_t *id;
};

/* Finds the ids of an object's properties by their names; what it lacks stays 0. values may be NULL, else takes what they are. */
static void find_properties(int fd, uint32_t object, uint32_t type, const struct wanted_property *wanted, size_t n,
                            uint64_t *values)
{
	drmModeObjectProperties *list = drmModeObjectGetProperties(fd, object, type);

	for (uint32_t i = 0; list && i < list->count_props; i++) {
		drmModePropertyRes *property = drmModeGetProperty(fd, list->props[i]);

		for (size_t j = 0; property && j < n; j++)
			if (!strcmp(property->name, wanted[j].name)) {
				*wanted[j].id = property->prop_id;
				if (values)
					values[j] = list->prop_values[i];
			}
		drmModeFreeProperty(property);
	}
	drmModeFreeObjectProperties(list);
}

/* ---- formats ---- */

static bool plane_shows(const struct kms_crtc *crtc, uint32_t format, uint64_t modifier)
{
	for (size_t i = 0; i < crtc->n_formats; i++)
		if (crtc->formats[i].format == format && crtc->formats[i].modifier == modifier)
			return true;
	return false;
}

bool kms_card_shows(const struct kms_card *card, const struct kms_crtc *crtc, uint32_t format, uint64_t modifier)
{
	uint32_t opaque = vtr_fourcc_opaque(format); /* nothing is behind the picture */

	if (crtc)
		return plane_shows(crtc, opaque, modifier);
	for (size_t i = 0; i < card->n_crtcs; i++)
		if (plane_shows(&card->crtcs[i], opaque, modifier))
			return true;
	return false;
}

static void add_format(struct kms_crtc *crtc, uint32_t format, uint64_t modifier)
{
	if (crtc->n_formats < KMS_MAX_FORMATS)
		crtc->formats[crtc->n_formats++] = (struct kms_format){ format, modifier };
}

/* IN_FORMATS lists pairs; a driver without it takes linear framebuffers of the plane's formats. */
static void read_formats(struct kms_card *card, struct kms_crtc *crtc, const drmModePlane *plane, uint32_t in_formats_blob)
{
	drmModeFormatModifierIterator pair = { 0 };
	drmModePropertyBlobRes *blob =
		card->modifiers && in_formats_blob ? drmModeGetPropertyBlob(card->fd, in_formats_blob) : NULL;

	while (blob && drmModeFormatModifierBlobIterNext(blob, &pair))
		add_format(crtc, pair.fmt, pair.mod);
	drmModeFreePropertyBlob(blob);
	for (uint32_t i = 0; !crtc->n_formats && i < plane->count_formats; i++)
		add_format(crtc, plane->formats[i], DRM_FORMAT_MOD_LINEAR);
}

/* ---- planes and CRTCs ---- */

static void take_plane(struct kms_card *card, struct kms_crtc *crtc, const drmModePlane *plane, uint32_t in_formats_blob)
{
	struct kms_plane_props *props = &crtc->props;
	const struct wanted_property wanted[] = {
		{ "FB_ID", &props->fb_id },
		{ "CRTC_ID", &props->crtc_id },
		{ "SRC_X", &props->src_x },
		{ "SRC_Y", &props->src_y },
		{ "SRC_W", &props->src_w },
		{ "SRC_H", &props->src_h },
		{ "CRTC_X", &props->crtc_x },
		{ "CRTC_Y", &props->crtc_y },
		{ "CRTC_W", &props->crtc_w },
		{ "CRTC_H", &props->crtc_h },
		{ "FB_DAMAGE_CLIPS", &props->fb_damage_clips },
	};

	crtc->plane = plane->plane_id;
	find_properties(card->fd, plane->plane_id, DRM_MODE_OBJECT_PLANE, wanted, sizeof(wanted) / sizeof(wanted[0]), NULL);
	read_formats(card, crtc, plane, in_formats_blob);
}

/* A primary plane belongs to the first CRTC it fits that has none yet: drivers list both in the same order. */
static void read_plane(struct kms_card *card, const drmModePlane *plane)
{
	uint32_t ids[2] = { 0 };
	uint64_t values[2] = { 0 };
	const struct wanted_property wanted[] = { { "type", &ids[0] }, { "IN_FORMATS", &ids[1] } };

	find_properties(card->fd, plane->plane_id, DRM_MODE_OBJECT_PLANE, wanted, 2, values);
	if (values[0] != DRM_PLANE_TYPE_PRIMARY || !ids[0])
		return;
	for (size_t i = 0; i < card->n_crtcs; i++)
		if (plane->possible_crtcs & 1u << card->crtcs[i].index && !card->crtcs[i].plane) {
			take_plane(card, &card->crtcs[i], plane, (uint32_t)values[1]);
			return;
		}
}

static int read_crtcs(struct kms_card *card, const drmModeRes *resources)
{
	for (int i = 0; i < resources->count_crtcs && i < KMS_MAX_CRTCS; i++) {
		struct kms_crtc *crtc = &card->crtcs[card->n_crtcs++];
		const struct wanted_property wanted[] = { { "MODE_ID", &crtc->mode_id }, { "ACTIVE", &crtc->active } };

		crtc->id = resources->crtcs[i];
		crtc->index = (unsigned)i;
		crtc->formats = calloc(KMS_MAX_FORMATS, sizeof(*crtc->formats));
		if (!crtc->formats)
			return -ENOMEM;
		find_properties(card->fd, crtc->id, DRM_MODE_OBJECT_CRTC, wanted, 2, NULL);
	}
	drmModePlaneRes *planes = drmModeGetPlaneResources(card->fd);
	for (uint32_t i = 0; planes && i < planes->count_planes; i++) {
		drmModePlane *plane = drmModeGetPlane(card->fd, planes->planes[i]);

		if (plane)
			read_plane(card, plane);
		drmModeFreePlane(plane);
	}
	drmModeFreePlaneResources(planes);
	for (size_t i = 0; i < card->n_crtcs; i++)
		if (!card->crtcs[i].n_formats) /* what every driver has */
			add_format(&card->crtcs[i], DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR);
	return 0;
}

struct kms_crtc *kms_card_find_crtc(struct kms_card *card, const struct kms_connector *connector)
{
	struct kms_crtc *found = NULL;

	for (size_t i = 0; i < card->n_crtcs; i++) {
		struct kms_crtc *crtc = &card->crtcs[i];

		if (crtc->user || !(connector->possible_crtcs & 1u << crtc->index))
			continue;
		if (crtc->id == connector->crtc)
			return crtc;
		if (!found)
			found = crtc;
	}
	return found;
}

/* ---- connectors ---- */

uint32_t kms_mode_refresh(const drmModeModeInfo *mode)
{
	uint64_t total = (uint64_t)mode->htotal * mode->vtotal, millihertz;

	if (!total)
		return 0;
	millihertz = ((uint64_t)mode->clock * 1000000 + total / 2) / total;
	if (mode->flags & DRM_MODE_FLAG_INTERLACE)
		millihertz *= 2;
	if (mode->flags & DRM_MODE_FLAG_DBLSCAN)
		millihertz /= 2;
	if (mode->vscan > 1)
		millihertz /= mode->vscan;
	return millihertz >= 1000 && millihertz <= 1000000 ? (uint32_t)millihertz : 0;
}

static uint32_t encoders_crtcs(int fd, const drmModeConnector *connector, uint32_t *current)
{
	uint32_t possible = 0;

	for (int i = 0; i < connector->count_encoders; i++) {
		drmModeEncoder *encoder = drmModeGetEncoder(fd, connector->encoders[i]);

		if (!encoder)
			continue;
		possible |= encoder->possible_crtcs;
		if (encoder->encoder_id == connector->encoder_id)
			*current = encoder->crtc_id;
		drmModeFreeEncoder(encoder);
	}
	return possible;
}

static void read_connector(struct kms_card *card, const drmModeConnector *from)
{
	struct kms_connector *connector = &card->connectors[card->n_connectors];
	const struct wanted_property wanted[] = { { "CRTC_ID", &connector->crtc_id } };
	const char *type = drmModeGetConnectorTypeName(from->connector_type);

	if (from->connector_type == DRM_MODE_CONNECTOR_WRITEBACK || card->n_connectors == VTR_MAX_SCANOUTS)
		return;
	connector->id = from->connector_id;
	snprintf(connector->name, sizeof(connector->name), "%s-%u", type ? type : "Unknown", from->connector_type_id);
	connector->possible_crtcs = encoders_crtcs(card->fd, from, &connector->crtc);
	connector->connected = from->connection == DRM_MODE_CONNECTED && from->count_modes > 0;
	if (connector->connected)
		connector->mode = from->modes[0]; /* they come sorted, the preferred one first */
	for (int i = from->count_modes - 1; i >= 0; i--)
		if (from->modes[i].type & DRM_MODE_TYPE_PREFERRED)
			connector->mode = from->modes[i];
	find_properties(card->fd, connector->id, DRM_MODE_OBJECT_CONNECTOR, wanted, 1, NULL);
	card->n_connectors++;
}

/* Those with a monitor first: the guest's first scanout is then one that somebody sees. */
static void read_connectors(struct kms_card *card, const drmModeRes *resources)
{
	for (int connected = 1; connected >= 0; connected--)
		for (int i = 0; i < resources->count_connectors; i++) {
			drmModeConnector *connector = drmModeGetConnector(card->fd, resources->connectors[i]);

			if (connector && (connector->connection == DRM_MODE_CONNECTED && connector->count_modes > 0) == connected)
				read_connector(card, connector);
			drmModeFreeConnector(connector);
		}
}

/* ---- the card ---- */

static void read_capabilities(struct kms_card *card)
{
	uint64_t value;

	card->modifiers = !drmGetCap(card->fd, DRM_CAP_ADDFB2_MODIFIERS, &value) && value;
	card->imports = !drmGetCap(card->fd, DRM_CAP_PRIME, &value) && value & DRM_PRIME_CAP_IMPORT;
	card->monotonic = !drmGetCap(card->fd, DRM_CAP_TIMESTAMP_MONOTONIC, &value) && value;
	card->cursor_width = !drmGetCap(card->fd, DRM_CAP_CURSOR_WIDTH, &value) && value ? (uint32_t)value : DEFAULT_CURSOR_SIZE;
	card->cursor_height = !drmGetCap(card->fd, DRM_CAP_CURSOR_HEIGHT, &value) && value ? (uint32_t)value : DEFAULT_CURSOR_SIZE;
	drmSetClientCap(card->fd, DRM_CLIENT_CAP_UNIVERSAL_PLANES, 1);
	card->atomic = !getenv("VITRINE_KMS_LEGACY") && !drmSetClientCap(card->fd, DRM_CLIENT_CAP_ATOMIC, 1);
	drmVersion *version = drmGetVersion(card->fd);
	snprintf(card->driver, sizeof(card->driver), "%s", version && version->name ? version->name : "unknown driver");
	drmFreeVersion(version);
}

/* Everything that atomic commits name has to be there. */
static bool has_atomic_properties(const struct kms_card *card)
{
	for (size_t i = 0; i < card->n_crtcs; i++) {
		const struct kms_plane_props *props = &card->crtcs[i].props;

		if (!card->crtcs[i].mode_id || !card->crtcs[i].active || !props->fb_id || !props->crtc_id || !props->src_x ||
		    !props->src_y || !props->src_w || !props->src_h || !props->crtc_x || !props->crtc_y || !props->crtc_w ||
		    !props->crtc_h)
			return false;
	}
	for (size_t i = 0; i < card->n_connectors; i++)
		if (!card->connectors[i].crtc_id)
			return false;
	return true;
}

static int open_error(const char *path, int code, struct vtr_error *error)
{
	switch (code) {
	case EACCES:
	case EPERM:
		return vtr_error_set(
			error, VTR_ERROR_HOST, code,
			"no permission to open %s: add the user to the group video (or the group that ls -l %s shows) and "
			"log in again, or start from the seat's own terminal",
			path, path);
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return vtr_error_set(error, VTR_ERROR_HOST, code,
		                     "there is no %s: load the card's driver, boot without nomodeset, or name "
		                     "another card of /dev/dri",
		                     path);
	default:
		return vtr_error_set(error, VTR_ERROR_HOST, code, "%s cannot be opened: %s", path, strerror(code));
	}
}

/* 2: a card with a monitor, 1: with connectors, 0: not one for us, -errno: cannot be opened. */
static int look_at(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), found = 0;

	if (fd < 0)
		return -errno;
	drmModeRes *resources = drmModeGetResources(fd);
	if (resources && resources->count_crtcs && resources->count_connectors)
		found = 1;
	for (int i = 0; found == 1 && i < resources->count_connectors; i++) {
		drmModeConnector *connector = drmModeGetConnector(fd, resources->connectors[i]);

		if (connector && connector->connection == DRM_MODE_CONNECTED)
			found = 2;
		drmModeFreeConnector(connector);
	}
	drmModeFreeResources(resources);
	close(fd);
	return found;
}

static int choose(char *path, size_t size, struct vtr_error *error)
{
	int best = 0, first_error = -ENOENT;
	bool denied = false;
	char name[32];

	for (int i = 0; i < MAX_CARDS && best < 2; i++) {
		snprintf(name, sizeof(name), "/dev/dri/card%d", i);
		int found = look_at(name);

		if ((found == -EACCES || found == -EPERM) && !denied) {
			denied = true;
			first_error = found;
			snprintf(path, size, "%s", name);
		}
		if (found > best) {
			best = found;
			snprintf(path, size, "%s", name);
		}
	}
	if (best)
		return 0;
	if (denied)
		return open_error(path, -first_error, error);
	return vtr_error_set(error, VTR_ERROR_HOST, ENODEV,
	                     "no card with a connector in /dev/dri: load its driver, or boot without nomodeset");
}

int kms_card_become_master(const struct kms_card *card, struct vtr_error *error)
{
	if (drmIsMaster(card->fd) || !drmSetMaster(card->fd))
		return 0;
	return vtr_error_set(
		error, VTR_ERROR_HOST, EBUSY,
		"another program shows its picture on %s (a compositor, a login screen): end it, or start from a free virtual "
		"terminal, or name another card",
		card->path);
}

static int read_card(struct kms_card *card, struct vtr_error *error)
{
	read_capabilities(card);
	drmModeRes *resources = drmModeGetResources(card->fd);
	if (!resources)
		return vtr_error_set(error, VTR_ERROR_HOST, EOPNOTSUPP,
		                     "%s (%s) has no outputs, it only renders: name another card", card->path, card->driver);
	int result = read_crtcs(card, resources);
	if (!result)
		read_connectors(card, resources);
	drmModeFreeResources(resources);
	if (result)
		return vtr_error_set(error, VTR_ERROR_HOST, -result, "no memory to read what %s has", card->path);
	if (!card->n_connectors || !card->n_crtcs)
		return vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "%s (%s) has no connectors: name another card", card->path,
		                     card->driver);
	if (card->atomic && !has_atomic_properties(card)) {
		card->atomic = false;
		drmSetClientCap(card->fd, DRM_CLIENT_CAP_ATOMIC, 0);
	}
	return 0;
}

int kms_card_open(struct kms_card *card, const char *path, struct vtr_error *error)
{
	*card = (struct kms_card){ .fd = -1 };
	if (path && strlen(path) >= sizeof(card->path))
		return vtr_error_set(error, VTR_ERROR_HOST, ENAMETOOLONG, "the card's name is too long");
	if (path)
		strcpy(card->path, path);
	int result = path ? 0 : choose(card->path, sizeof(card->path), error);
	if (result)
		return result;
	card->fd = open(card->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (card->fd < 0)
		return open_error(card->path, errno, error);
	result = kms_card_become_master(card, error);
	if (!result)
		result = read_card(card, error);
	if (result)
		kms_card_close(card);
	return result;
}

void kms_card_close(struct kms_card *card)
{
	for (size_t i = 0; i < card->n_crtcs; i++)
		free(card->crtcs[i].formats);
	card->n_crtcs = 0;
	vtr_fd_close(&card->fd);
}
