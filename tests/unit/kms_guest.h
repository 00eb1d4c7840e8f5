/* SPDX-License-Identifier: MIT */
#ifndef TESTS_KMS_GUEST_H
#define TESTS_KMS_GUEST_H

#include <vitrine/display.h>

#include "fake_drm.h"

/* The device thread's part in tests of the KMS display: a guest's scanout, presented as the gpu does it. */

enum { WIDTH = 1280, HEIGHT = 800, SECONDS = 20, OFFSET = 4096 };

/* A guest's scanout, its output, and what came back. */
struct guest {
	struct vtr_display *display;
	struct vtr_outputs *outputs;
	struct vtr_output *output;
	uint32_t width, height;
	uint32_t *pixels; /* what it draws; staging is filled from here */

	uint32_t offset;           /* of the picture in the buffer */
	struct vtr_buffer *buffer; /* shown where the output takes it; NULL: pixels */
	unsigned presented, done, dropped, needed, refused, modes, captured;
	uint64_t last_time;
	struct vtr_error error;
	struct vtr_picture picture;
	uint32_t *captured_pixels;
};

/* The other end of what the display takes for the kernel's messages about monitors. */
extern int hotplug[2];

/* The display on the fake card, and an output for each connector. */
void start(struct guest *guest);
void finish(struct guest *guest);

/* A dmabuf for size bytes: whatever has a size and an inode, for a driver that does not look at it. */
struct vtr_buffer *new_buffer(enum vtr_path path, uint64_t size);
struct vtr_buffer *frame_buffer(void); /* of WIDTH x HEIGHT */
/* What the guest shows from now on; takes buffer (NULL: pixels). */
void show_instead(struct guest *guest, struct vtr_buffer *buffer);

/* A flush of a rectangle, of everything. */
void present(struct guest *guest, int x, int y, unsigned width, unsigned height);
void present_all(struct guest *guest);

void dispatch(struct guest *guest, int timeout_ms);

/* Dispatches until condition, which is looked at with the fake's lock held. */
#define WAIT_FOR(guest, condition)                                                                                                 \
	({                                                                                                                         \
		gint64 end_ = g_get_monotonic_time() + SECONDS * G_USEC_PER_SEC;                                                   \
		for (bool met_ = false; !met_;) {                                                                                  \
			dispatch(guest, 5);                                                                                        \
			pthread_mutex_lock(&fake->lock);                                                                           \
			met_ = (condition);                                                                                        \
			pthread_mutex_unlock(&fake->lock);                                                                         \
			if (!met_ && g_get_monotonic_time() > end_)                                                                \
				g_error("%s:%d: not within %d s: %s", __FILE__, __LINE__, SECONDS, #condition);                    \
		}                                                                                                                  \
	})

/* Also what is not to happen has had its time then: the device has nothing more to do, and neither has the display. */
void settle(struct guest *guest);
/* The display shows the output, and nothing of a guest yet. */
void expect_demand(struct guest *guest);
/* The guest's dmabuf is on the screen, or a dumb buffer, and all frames are done. */
void expect_import(struct guest *guest);
void expect_copy(struct guest *guest);
uint32_t screen_pixel(uint32_t x, uint32_t y); /* of a dumb buffer */

/* what() with the fake's lock held. */
void change(void (*what)(struct fake_drm *drm, uint32_t value), uint32_t value);

/* A vtr_capture_func: keeps what it gets in the guest that data is. */
void captured(const struct vtr_picture *picture, const struct vtr_error *error, void *data);

#endif
