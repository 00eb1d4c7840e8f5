/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UI_WINDOW_SCANOUT_H
#define TESTS_UI_WINDOW_SCANOUT_H

#include <drm_fourcc.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/window.h>

/*
 * The device thread's part for tests of displays with windows: a scanout whose picture is computed, shown from a memfd (which the
 * kit's Mesa and weston import like a dmabuf) or as pixels, and presented again the way the gpu does.
 */
struct scanout {
	struct vtr_display *display;
	struct vtr_outputs *outputs;
	struct vtr_output *output;

	uint32_t width, height, format, stride;
	uint64_t offset, modifier;
	uint32_t seed;
	uint8_t *memory; /* of the whole file */
	size_t size;
	struct vtr_buffer *buffer;
	bool flipped;     /* the memory's first row is the bottom one */
	bool tight;       /* the memory ends with the last pixel, not with its row */
	bool no_dmabuf;   /* the ladder is at mapped */
	bool hold;        /* what the display could not import is presented again by the test */
	bool nothing_new; /* what was damaged was read: pixels that are asked for are those there are */

	void (*idle)(void *data); /* called while waiting; NULL: nothing to do */
	void *idle_data;

	unsigned needed, import_failed, done, dropped;
	uint64_t presented, shown; /* the last frame that was, by sequence */
	bool answered[4096];       /* by sequence: frames that wait are dropped before those on the screen are done */
	struct vtr_error error;
};

static inline uint32_t scanout_color(uint32_t x, uint32_t y, uint32_t seed)
{
	return ((x * 5 + seed) & 255) << 16 | ((y * 3 + seed) & 255) << 8 | ((x + y * 7 + seed * 11) & 255);
}

/* Byte of red, green and blue in memory. */
static inline void scanout_channels(uint32_t format, int channels[3])
{
	static const struct {
		uint32_t format;
		int channels[3];
	} rows[] = {
		{ DRM_FORMAT_XRGB8888, { 2, 1, 0 } }, { DRM_FORMAT_ARGB8888, { 2, 1, 0 } }, { DRM_FORMAT_XBGR8888, { 0, 1, 2 } },
		{ DRM_FORMAT_ABGR8888, { 0, 1, 2 } }, { DRM_FORMAT_RGBX8888, { 3, 2, 1 } }, { DRM_FORMAT_RGBA8888, { 3, 2, 1 } },
		{ DRM_FORMAT_BGRX8888, { 1, 2, 3 } }, { DRM_FORMAT_BGRA8888, { 1, 2, 3 } },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (rows[i].format == format)
			memcpy(channels, rows[i].channels, sizeof(rows[i].channels));
}

static inline uint8_t *scanout_row(const struct scanout *scanout, uint32_t y)
{
	uint32_t row = scanout->flipped ? scanout->height - 1 - y : y;

	return scanout->memory + scanout->offset + (size_t)row * scanout->stride;
}

/* Draws picture number seed into the memory. */
static inline void scanout_draw(struct scanout *scanout, uint32_t seed)
{
	int channels[3] = { 0 };

	scanout->seed = seed;
	scanout_channels(scanout->format, channels);
	for (uint32_t y = 0; y < scanout->height; y++)
		for (uint32_t x = 0; x < scanout->width; x++) {
			uint8_t *pixel = scanout_row(scanout, y) + (size_t)x * 4;
			uint32_t color = scanout_color(x, y, seed);

			memset(pixel, 0x3c, 4); /* what stands in x or alpha must not matter */
			for (int i = 0; i < 3; i++)
				pixel[channels[i]] = (uint8_t)(color >> (16 - 8 * i));
		}
}

/* New memory of the scanout's layout, whole rows, or `missing` bytes short of what it takes. */
static inline void scanout_new_buffer(struct scanout *scanout, size_t missing)
{
	int fd = memfd_create("scanout", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (scanout->memory)
		munmap(scanout->memory, scanout->size);
	vtr_buffer_drop(scanout->buffer);
	scanout->size = scanout->offset + (size_t)scanout->stride * scanout->height;
	if (missing || scanout->tight)
		scanout->size -= scanout->stride - scanout->width * 4;
	g_assert_cmpint(ftruncate(fd, (off_t)(scanout->size - missing)), ==, 0);
	scanout->memory = mmap(NULL, scanout->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g_assert_true(scanout->memory != MAP_FAILED);
	scanout->buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, scanout->size - missing);
}

static inline void scanout_attach_pixels(struct scanout *scanout, struct vtr_frame *frame)
{
	pixman_region32_t stale;
	int n;

	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(scanout->output, scanout->width, scanout->height, scanout->format, &stale);
	const pixman_box32_t *boxes = pixman_region32_rectangles(&stale, &n);
	for (int i = 0; staging && i < n; i++)
		for (int32_t y = boxes[i].y1; y < boxes[i].y2; y++)
			memcpy((uint8_t *)vtr_staging_data(staging) + (size_t)y * vtr_staging_stride(staging) +
			               (size_t)boxes[i].x1 * 4,
			       scanout_row(scanout, (uint32_t)y) + (size_t)boxes[i].x1 * 4,
			       (size_t)(boxes[i].x2 - boxes[i].x1) * 4);
	if (staging)
		vtr_staging_commit(staging, &stale, frame);
	pixman_region32_fini(&stale);
}

/* What the gpu does at a flush of damage (NULL: none). */
static inline void scanout_present(struct scanout *scanout, const pixman_region32_t *damage)
{
	enum vtr_output_demand demand = vtr_output_demand(scanout->output);
	struct vtr_frame *frame = vtr_output_begin_frame(scanout->output);
	struct vtr_error why;

	g_assert_nonnull(frame);
	frame->content = VTR_FRAME_UNREAD;
	frame->flushed_ns = vtr_now_ns();
	frame->width = scanout->width;
	frame->height = scanout->height;
	frame->format = scanout->format;
	if (damage) {
		pixman_region32_copy(&frame->damage, (pixman_region32_t *)damage);
		vtr_staging_note_damage(scanout->output, damage);
	}
	if (demand == VTR_DEMAND_DMABUF && !scanout->no_dmabuf &&
	    vtr_output_accepts(scanout->output, scanout->format, scanout->modifier, &why)) {
		frame->content = VTR_FRAME_BUFFER;
		frame->path = VTR_PATH_UDMABUF;
		frame->buffer = vtr_buffer_lock(scanout->buffer);
		frame->offset = scanout->offset;
		frame->modifier = scanout->modifier;
		frame->stride = scanout->stride;
		frame->flipped = scanout->flipped;
	} else if (demand != VTR_DEMAND_NONE) {
		frame->path = VTR_PATH_MAPPED;
		scanout_attach_pixels(scanout, frame);
	}
	scanout->presented = frame->sequence;
	vtr_output_submit(scanout->output, frame);
}

static inline void scanout_present_all(struct scanout *scanout)
{
	pixman_region32_t all;

	pixman_region32_init_rect(&all, 0, 0, scanout->width, scanout->height);
	scanout_present(scanout, &all);
	pixman_region32_fini(&all);
}

static inline void scanout_handle(struct scanout *scanout, const struct vtr_event *event)
{
	switch (event->type) {
	case VTR_EVENT_FRAME_NEEDED:
	case VTR_EVENT_DISPLAY_CHANGED:
		scanout->needed++;
		if (scanout->memory && scanout->nothing_new)
			scanout_present(scanout, NULL);
		else if (scanout->memory)
			scanout_present_all(scanout);
		break;
	case VTR_EVENT_IMPORT_FAILED:
		scanout->import_failed++;
		scanout->error = event->error;
		scanout->no_dmabuf = true; /* down the ladder, within the same frame */
		if (!scanout->hold)
			scanout_present_all(scanout);
		break;
	case VTR_EVENT_FRAME_DONE:
		g_assert_cmpuint(event->sequence, <, G_N_ELEMENTS(scanout->answered));
		g_assert_false(scanout->answered[event->sequence]);
		scanout->answered[event->sequence] = true;
		scanout->done++;
		scanout->dropped += event->dropped;
		if (!event->dropped)
			scanout->shown = MAX(scanout->shown, event->sequence);
		break;
	case VTR_EVENT_MODE_CHANGED:
	case VTR_EVENT_ANSWERED:
		break;
	}
}

/* Handles the events that there are, after timeout_ms at most. */
static inline void scanout_step(struct scanout *scanout, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = vtr_outputs_event_fd(scanout->outputs), .events = POLLIN };
	struct vtr_event event;

	poll(&poll_fd, 1, timeout_ms);
	if (scanout->idle)
		scanout->idle(scanout->idle_data);
	while (vtr_outputs_next_event(scanout->outputs, &event))
		scanout_handle(scanout, &event);
}

/* Handles events until *counter is at least value; fails after a minute. */
static inline void scanout_run_until(struct scanout *scanout, const unsigned *counter, unsigned value)
{
	uint64_t end = vtr_now_ns() + UINT64_C(60000000000);

	while (*counter < value) {
		g_assert_cmpuint(vtr_now_ns(), <, end);
		scanout_step(scanout, scanout->idle ? 2 : 50);
	}
}

/* Handles events until the window system has had its time to map, size and expose a new window. */
static inline void scanout_settle(struct scanout *scanout)
{
	struct pollfd poll_fd = { .fd = vtr_outputs_event_fd(scanout->outputs), .events = POLLIN };
	uint64_t quiet = UINT64_C(300000000), end = vtr_now_ns() + quiet;
	struct vtr_event event;

	while (vtr_now_ns() < end) {
		if (poll(&poll_fd, 1, 20) > 0)
			end = vtr_now_ns() + quiet;
		while (vtr_outputs_next_event(scanout->outputs, &event))
			scanout_handle(scanout, &event);
	}
}

/* Presents the whole picture and waits until it was shown, one way or another. Frames before it may still be under way. */
static inline void scanout_show(struct scanout *scanout)
{
	scanout_present_all(scanout);
	uint64_t wanted = scanout->presented;
	while (scanout->shown < wanted)
		scanout_run_until(scanout, &scanout->done, scanout->done + 1);
}

static inline void scanout_init(struct scanout *scanout, struct vtr_display *display, uint32_t width, uint32_t height)
{
	struct vtr_mode mode = { width, height, 60000 };

	*scanout = (struct scanout){
		.display = display,
		.outputs = vtr_outputs_create(),
		.width = width,
		.height = height,
		.format = DRM_FORMAT_XRGB8888,
		.stride = width * 4,
	};
	scanout->output = vtr_outputs_add(scanout->outputs, display, &mode, "test");
	g_assert_nonnull(scanout->output);
}

static inline void scanout_finish(struct scanout *scanout)
{
	vtr_display_destroy(scanout->display);
	vtr_outputs_destroy(scanout->outputs);
	if (scanout->memory)
		munmap(scanout->memory, scanout->size);
	vtr_buffer_drop(scanout->buffer);
}

#endif
