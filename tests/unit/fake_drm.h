/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FAKE_DRM_H
#define TESTS_FAKE_DRM_H

#include <glib.h>
#include <pthread.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

/*
 * A card in memory: fake_drm.c defines the functions of libdrm that the KMS display calls, which then runs as it is. The card's
 * file is a FIFO (it has to become readable for events); mmap() of it is wrapped at link time.
 *
 * The state lies in shared memory, because the display's keeper is another process: hold the lock to look at it.
 */
enum {
	FAKE_CRTCS = 4,
	FAKE_CONNECTORS = 4,
	FAKE_MODES = 4,
	FAKE_FBS = 64,
	FAKE_HANDLES = 64,
	FAKE_BLOBS = 16,
	FAKE_CLIPS = 16,
	FAKE_EVENTS = 4
};

/* What a program before us left on the screen. */
enum { FAKE_OLD_FB = 199 };

struct fake_fb {
	uint32_t id; /* 0: free */
	uint32_t width, height, format, handle, pitch, offset;
	uint64_t modifier;
	bool with_modifiers;
};

struct fake_handle {
	bool open;
	uint64_t inode; /* of an imported dmabuf; 0: a dumb buffer */
	unsigned imports, closes;
};

struct fake_crtc {
	uint32_t fb;
	drmModeModeInfo mode;   /* of 0x0: off */
	uint32_t width, height; /* of the picture in the framebuffer */
	struct drm_mode_rect place;
	uint32_t cursor;
	int cursor_x, cursor_y;
	void *events[FAKE_EVENTS]; /* the user data of the events to come */
	unsigned n_events;
};

struct fake_connector {
	bool connected;
	int n_modes;
	struct {
		uint32_t width, height, clock;
	} modes[FAKE_MODES];
};

struct fake_drm {
	pthread_mutex_t lock;
	char path[64];
	int events; /* the FIFO's other end */
	int memory; /* of the dumb buffers, a memfd: handle h at h << 24 */

	/* what the driver is like */
	unsigned n_crtcs, n_connectors;
	bool atomic, modifiers, cursor_plane, scales, crossed, other_master;
	struct fake_connector connectors[FAKE_CONNECTORS];
	int prime_error, fb_error, test_error, commit_error, flip_error, dumb_error; /* errno of what fails; 0: it works */
	bool hold_events;                                                            /* flips happen when fake_flip() says so */

	/* what it was told */
	bool master;
	unsigned primes, commits, tests, flips, modesets, dirties, cursor_images;
	struct fake_crtc crtcs[FAKE_CRTCS];
	struct fake_fb fbs[FAKE_FBS];
	struct fake_handle handles[FAKE_HANDLES]; /* handle h is number h - 1 */
	uint32_t next_fb;
	struct {
		uint32_t size;
		uint8_t data[256];
	} blobs[FAKE_BLOBS];
	struct drm_mode_rect clips[FAKE_CLIPS]; /* of the last commit or DIRTYFB */
	unsigned n_clips;
};

/* The card that libdrm's functions are about; NULL: there is none. */
extern struct fake_drm *fake;

void fake_drm_create(void); /* one CRTC and connector, atomic, monitor of 1280x800, 1024x768 and 800x600 */
void fake_drm_destroy(void);

/* With the lock held. */
unsigned fake_count_fbs(void);
unsigned fake_count_handles(void);
unsigned fake_count_blobs(void);
const struct fake_fb *fake_find_fb(uint32_t id);          /* NULL when there is none */
uint32_t fake_pixel(uint32_t fb, uint32_t x, uint32_t y); /* of a dumb buffer */
void fake_poke(uint32_t fb, uint32_t x, uint32_t y, uint32_t pixel);

/* The first flip on its way on CRTC number crtc happens, at time_us. Takes the lock. */
void fake_flip(unsigned crtc, uint64_t time_us);

#endif
