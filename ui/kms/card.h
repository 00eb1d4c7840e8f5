/* SPDX-License-Identifier: MIT */
#ifndef KMS_CARD_H
#define KMS_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include <vitrine/error.h>
#include <vitrine/limits.h>

/*
 * A DRM card that has outputs: what it consists of and what its driver can do. Read once when it is opened; nothing in it changes
 * afterwards but which CRTC is in use.
 */

enum { KMS_MAX_CRTCS = 32 /* the bits of possible_crtcs */, KMS_MAX_FORMATS = 512, KMS_NAME_SIZE = 32 };

struct kms_format {
	uint32_t format; /* DRM fourcc */
	uint64_t modifier;
};

/* Property ids; 0: the object has no such property. */
struct kms_plane_props {
	uint32_t fb_id, crtc_id, src_x, src_y, src_w, src_h, crtc_x, crtc_y, crtc_w, crtc_h, fb_damage_clips;
};

/* A CRTC and the plane that shows its picture. */
struct kms_crtc {
	uint32_t id;
	unsigned index;           /* its bit in possible_crtcs */
	void *user;               /* the output that it shows; NULL: it is free */
	unsigned events;          /* page flip events to come */
	uint32_t plane;           /* 0: the driver tells of none */
	uint32_t mode_id, active; /* property ids */
	struct kms_plane_props props;
	struct kms_format *formats; /* what the plane shows */
	size_t n_formats;
};

struct kms_connector {
	uint32_t id;
	char name[KMS_NAME_SIZE]; /* "HDMI-A-1", as the kernel and xrandr name it */
	uint32_t possible_crtcs;
	uint32_t crtc;        /* id of the CRTC that fed it when the card was opened; 0: none */
	uint32_t crtc_id;     /* property id */
	bool busy;            /* shows one of our outputs */
	bool connected;       /* when the card was opened */
	drmModeModeInfo mode; /* the one it prefers, when it was connected */
};

struct kms_card {
	int fd;
	char path[256];
	char driver[32];
	bool atomic;
	bool modifiers;                       /* framebuffers take modifiers */
	bool imports;                         /* dmabufs */
	bool monotonic;                       /* events carry CLOCK_MONOTONIC */
	uint32_t cursor_width, cursor_height; /* the cursor image that the driver wants */
	struct kms_crtc crtcs[KMS_MAX_CRTCS];
	size_t n_crtcs;
	struct kms_connector connectors[VTR_MAX_SCANOUTS];
	size_t n_connectors;
};

/* Opens the card at path (NULL: the first one with a connected connector, else the first with a connector), becomes its master, and
 * reads what it has. 0, or -errno with *error: cause and remedy. */
int kms_card_open(struct kms_card *card, const char *path, struct vtr_error *error);
void kms_card_close(struct kms_card *card); /* a closed or zeroed one with fd -1 is fine */

/* Becomes the card's master, which sets modes and flips pages. 0, or -errno with *error. */
int kms_card_become_master(const struct kms_card *card, struct vtr_error *error);

/* May crtc's plane (NULL: any CRTC's) show such framebuffers? */
bool kms_card_shows(const struct kms_card *card, const struct kms_crtc *crtc, uint32_t format, uint64_t modifier);

/* A CRTC for the connector that no output uses: the one that feeds it already, if that is free. NULL when none is left. The caller
 * sets and clears its `user`. */
struct kms_crtc *kms_card_find_crtc(struct kms_card *card, const struct kms_connector *connector);

/* Millihertz, 0 when the mode does not tell or it is not one that a guest can be told. */
uint32_t kms_mode_refresh(const drmModeModeInfo *mode);

#endif
