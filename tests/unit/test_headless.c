/* SPDX-License-Identifier: MIT */
/*
 * The headless display on its real thread. The test plays the device thread: it answers FRAME_NEEDED with a frame of its picture,
 * the way the gpu does.
 */
#include <drm_fourcc.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/display.h>

#include "rows.h"

enum { WIDTH = 100, HEIGHT = 60 };

struct scanout {
	struct vtr_display *display;
	struct vtr_outputs *outputs;
	struct vtr_output *output;
	/* how FRAME_NEEDED is answered */
	struct vtr_buffer *buffer; /* NULL: with pixels */
	uint32_t width, height, format, stride;
	uint64_t offset;
	const uint8_t *pixels;
	bool blank;               /* the guest shows nothing */
	pixman_region32_t damage; /* of the next frame */
	/* what was seen */
	unsigned needed, import_failed, done, dropped;
	struct vtr_error error;
	uint64_t last_done, last_time;
};

static void scanout_init(struct scanout *scanout, uint32_t refresh_mhz)
{
	struct vtr_mode mode = { 80, 50, refresh_mhz };

	*scanout = (struct scanout){
		.display = vtr_headless_create(),
		.outputs = vtr_outputs_create(),
		.width = WIDTH,
		.height = HEIGHT,
		.format = DRM_FORMAT_XRGB8888,
		.stride = WIDTH * 4,
	};
	g_assert_nonnull(scanout->display);
	scanout->output = vtr_outputs_add(scanout->outputs, scanout->display, &mode, "test");
	g_assert_nonnull(scanout->output);
	pixman_region32_init(&scanout->damage);
}

static void scanout_finish(struct scanout *scanout)
{
	vtr_display_destroy(scanout->display);
	vtr_outputs_destroy(scanout->outputs);
	vtr_buffer_drop(scanout->buffer);
	pixman_region32_fini(&scanout->damage);
}

static struct vtr_frame *begin_frame(struct scanout *scanout, enum vtr_frame_content content)
{
	struct vtr_frame *frame = vtr_output_begin_frame(scanout->output);

	g_assert_nonnull(frame);
	frame->content = content;
	if (content == VTR_FRAME_BLANK)
		return frame;
	frame->width = scanout->width;
	frame->height = scanout->height;
	frame->format = scanout->format;
	frame->stride = scanout->stride;
	pixman_region32_copy(&frame->damage, &scanout->damage);
	vtr_staging_note_damage(scanout->output, &scanout->damage);
	pixman_region32_clear(&scanout->damage);
	return frame;
}

/* Copies what is stale from the scanout's pixels, whose rows may be longer. */
static void fill(struct scanout *scanout, struct vtr_staging *staging, const pixman_region32_t *stale)
{
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles((pixman_region32_t *)stale, &count);

	for (int i = 0; i < count; i++)
		for (int y = boxes[i].y1; y < boxes[i].y2; y++)
			memcpy((uint8_t *)vtr_staging_data(staging) + (size_t)y * vtr_staging_stride(staging) + boxes[i].x1 * 4,
			       scanout->pixels + (size_t)y * scanout->stride + boxes[i].x1 * 4,
			       (size_t)(boxes[i].x2 - boxes[i].x1) * 4);
}

/* What the gpu does at a flush: a frame as the output wants it. */
static void present(struct scanout *scanout)
{
	bool wanted = vtr_output_demand(scanout->output) != VTR_DEMAND_NONE;
	struct vtr_frame *frame = begin_frame(scanout, wanted && scanout->buffer ? VTR_FRAME_BUFFER : VTR_FRAME_UNREAD);
	pixman_region32_t stale;

	pixman_region32_init(&stale);
	if (frame->content == VTR_FRAME_BUFFER) {
		frame->buffer = vtr_buffer_lock(scanout->buffer);
		frame->offset = scanout->offset;
	} else if (wanted) {
		struct vtr_staging *staging =
			vtr_staging_begin(scanout->output, scanout->width, scanout->height, scanout->format, &stale);

		g_assert_nonnull(staging);
		fill(scanout, staging, &stale);
		vtr_staging_commit(staging, &stale, frame);
	}
	pixman_region32_fini(&stale);
	vtr_output_submit(scanout->output, frame);
}

static void handle(struct scanout *scanout, const struct vtr_event *event)
{
	switch (event->type) {
	case VTR_EVENT_FRAME_NEEDED:
	case VTR_EVENT_DISPLAY_CHANGED:
		scanout->needed++;
		if (scanout->blank)
			vtr_output_submit(scanout->output, begin_frame(scanout, VTR_FRAME_BLANK));
		else
			present(scanout);
		break;
	case VTR_EVENT_IMPORT_FAILED:
		scanout->import_failed++;
		scanout->error = event->error;
		vtr_buffer_drop(scanout->buffer); /* go down the ladder */
		scanout->buffer = NULL;
		present(scanout);
		break;
	case VTR_EVENT_FRAME_DONE:
		g_assert_cmpuint(event->sequence, ==, scanout->last_done + 1);
		scanout->done++;
		scanout->dropped += event->dropped;
		scanout->last_done = event->sequence;
		scanout->last_time = event->time_ns;
		break;
	case VTR_EVENT_MODE_CHANGED:
	case VTR_EVENT_ANSWERED:
		break;
	}
}

/* Handles events until *counter is at least value; the test fails after five seconds. */
static void run_until(struct scanout *scanout, const unsigned *counter, unsigned value)
{
	struct pollfd pollfd = { .fd = vtr_outputs_event_fd(scanout->outputs), .events = POLLIN };
	uint64_t end = vtr_now_ns() + UINT64_C(5000000000);
	struct vtr_event event;

	while (*counter < value) {
		g_assert_cmpuint(vtr_now_ns(), <, end);
		poll(&pollfd, 1, 100);
		while (vtr_outputs_next_event(scanout->outputs, &event))
			handle(scanout, &event);
	}
}

struct answer {
	unsigned calls;
	struct vtr_picture picture;
	struct vtr_error error;
	uint32_t *pixels; /* mapped */
};

static void answered(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct answer *answer = data;

	answer->calls++;
	answer->picture = *picture;
	answer->pixels = NULL;
	if (error) {
		answer->error = *error;
		return;
	}
	size_t size = (size_t)picture->stride * picture->height;
	g_assert_cmpint(lseek(picture->fd, 0, SEEK_END), ==, size);
	answer->pixels = mmap(NULL, size, PROT_READ, MAP_SHARED, picture->fd, 0);
	g_assert_true(answer->pixels != MAP_FAILED);
	close(picture->fd);
}

static void answer_finish(struct answer *answer)
{
	if (answer->pixels)
		munmap(answer->pixels, (size_t)answer->picture.stride * answer->picture.height);
	*answer = (struct answer){ 0 };
}

static void take_picture(struct scanout *scanout, bool cursor, struct answer *answer)
{
	*answer = (struct answer){ 0 };
	g_assert_nonnull(vtr_output_capture(scanout->output, cursor, answered, answer));
	run_until(scanout, &answer->calls, 1);
}

static uint32_t pixel(const struct answer *answer, uint32_t x, uint32_t y)
{
	return answer->pixels[y * answer->picture.width + x] & 0xffffff;
}

/* Some colour for each place. */
static uint32_t colour(uint32_t x, uint32_t y)
{
	return (x * 2654435761u ^ y * 40503u ^ x * y << 7) & 0xffffff;
}

static void assert_colours(const struct answer *answer)
{
	g_assert_cmpuint(answer->picture.width, ==, WIDTH);
	g_assert_cmpuint(answer->picture.height, ==, HEIGHT);
	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++)
			g_assert_cmphex(pixel(answer, x, y), ==, colour(x, y));
}

/* ---- the eight formats ---- */

static const struct format_row {
	const char *name;
	uint32_t fourcc;
	int red, green, blue, alpha; /* byte in memory */
} format_rows[] = {
	{ "B8G8R8A8", DRM_FORMAT_ARGB8888, 2, 1, 0, 3 }, { "B8G8R8X8", DRM_FORMAT_XRGB8888, 2, 1, 0, 3 },
	{ "A8R8G8B8", DRM_FORMAT_BGRA8888, 1, 2, 3, 0 }, { "X8R8G8B8", DRM_FORMAT_BGRX8888, 1, 2, 3, 0 },
	{ "R8G8B8A8", DRM_FORMAT_ABGR8888, 0, 1, 2, 3 }, { "X8B8G8R8", DRM_FORMAT_RGBX8888, 3, 2, 1, 0 },
	{ "A8B8G8R8", DRM_FORMAT_RGBA8888, 3, 2, 1, 0 }, { "R8G8B8X8", DRM_FORMAT_XBGR8888, 0, 1, 2, 3 },
};

/* The picture in a format, with an alpha that must not matter. */
static void draw(uint8_t *target, uint32_t stride, const struct format_row *row)
{
	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++) {
			uint8_t *bytes = target + (size_t)y * stride + x * 4;

			bytes[row->red] = (uint8_t)(colour(x, y) >> 16);
			bytes[row->green] = (uint8_t)(colour(x, y) >> 8);
			bytes[row->blue] = (uint8_t)colour(x, y);
			bytes[row->alpha] = (uint8_t)(x + y);
		}
}

static void test_format_pixels(gconstpointer data)
{
	const struct format_row *row = data;
	struct scanout scanout;
	struct answer answer;
	uint8_t *pixels = g_malloc0(WIDTH * HEIGHT * 4);

	scanout_init(&scanout, 0);
	scanout.format = row->fourcc;
	scanout.pixels = pixels;
	draw(pixels, WIDTH * 4, row);
	present(&scanout);
	run_until(&scanout, &scanout.done, 1);
	take_picture(&scanout, false, &answer);
	assert_colours(&answer);
	g_assert_cmpint(vtr_output_demand(scanout.output), ==, VTR_DEMAND_NONE);
	g_assert_true(vtr_output_accepts(scanout.output, row->fourcc, DRM_FORMAT_MOD_LINEAR, NULL));
	answer_finish(&answer);
	scanout_finish(&scanout);
	g_free(pixels);
}

/* A memory file plays the dmabuf: it can be mapped, and knows no DMA_BUF_IOCTL_SYNC. */
static uint8_t *use_buffer(struct scanout *scanout, uint64_t offset, uint32_t stride, uint64_t size)
{
	int fd = memfd_create("dmabuf", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
	uint8_t *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g_assert_true(data != MAP_FAILED);
	scanout->buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, size);
	g_assert_nonnull(scanout->buffer);
	scanout->offset = offset;
	scanout->stride = stride;
	return data;
}

static const struct buffer_row {
	const char *name;
	uint64_t offset;
	uint32_t stride;
} buffer_rows[] = {
	{ "plain", 0, WIDTH * 4 },         { "offset", 8192, WIDTH * 4 },       { "odd-stride", 0, WIDTH * 4 + 3 },
	{ "odd-offset", 4097, WIDTH * 4 }, { "odd-both", 4099, WIDTH * 4 + 1 }, { "wide-stride", 64, 4096 },
};

static void test_buffer(gconstpointer data)
{
	const struct buffer_row *row = data;
	struct scanout scanout;
	struct answer answer;
	uint64_t size = row->offset + (uint64_t)row->stride * (HEIGHT - 1) + WIDTH * 4; /* not a byte more */

	scanout_init(&scanout, 0);
	uint8_t *bytes = use_buffer(&scanout, row->offset, row->stride, size);
	draw(bytes + row->offset, row->stride, &format_rows[1]);
	present(&scanout);
	run_until(&scanout, &scanout.done, 1);
	take_picture(&scanout, false, &answer);
	assert_colours(&answer);
	g_assert_cmpuint(scanout.import_failed, ==, 0);
	answer_finish(&answer);
	munmap(bytes, size);
	scanout_finish(&scanout);
}

/* Only what was damaged is read, however many frames ago, and nothing else. */
static void test_reads_damage_only(gconstpointer data)
{
	bool from_buffer = GPOINTER_TO_INT(data);
	struct scanout scanout;
	struct answer answer;
	uint8_t *own = g_malloc0(WIDTH * HEIGHT * 4), *pixels = own;

	scanout_init(&scanout, 0);
	if (from_buffer)
		pixels = use_buffer(&scanout, 0, WIDTH * 4, WIDTH * HEIGHT * 4);
	scanout.pixels = pixels;
	draw(pixels, WIDTH * 4, &format_rows[1]);
	present(&scanout);
	take_picture(&scanout, false, &answer);
	answer_finish(&answer);

	memset(pixels, 0xaa, WIDTH * HEIGHT * 4); /* everything changes, two places are told */
	pixman_region32_init_rect(&scanout.damage, 10, 10, 5, 5);
	present(&scanout);
	run_until(&scanout, &scanout.done, 2);
	pixman_region32_init_rect(&scanout.damage, 50, 20, 1, 1);
	present(&scanout);
	take_picture(&scanout, false, &answer);
	g_assert_cmphex(pixel(&answer, 10, 10), ==, 0xaaaaaa);
	g_assert_cmphex(pixel(&answer, 14, 14), ==, 0xaaaaaa);
	g_assert_cmphex(pixel(&answer, 50, 20), ==, 0xaaaaaa);
	g_assert_cmphex(pixel(&answer, 15, 14), ==, colour(15, 14));
	g_assert_cmphex(pixel(&answer, 49, 20), ==, colour(49, 20));
	g_assert_cmphex(pixel(&answer, 0, 0), ==, colour(0, 0));
	answer_finish(&answer);
	if (from_buffer)
		munmap(pixels, WIDTH * HEIGHT * 4);
	scanout_finish(&scanout);
	g_free(own);
}

/* ---- dmabufs that cannot be read ---- */

static void assert_falls_back(struct scanout *scanout, const char *reason)
{
	struct answer answer;
	uint8_t *pixels = g_malloc0(WIDTH * HEIGHT * 4);

	scanout->pixels = pixels;
	scanout->stride = WIDTH * 4;
	draw(pixels, WIDTH * 4, &format_rows[1]);
	present(scanout);
	take_picture(scanout, false, &answer);
	g_assert_cmpuint(scanout->import_failed, ==, 1);
	g_assert_nonnull(strstr(scanout->error.text, reason));
	assert_colours(&answer); /* through pixels, at the second attempt, all of it */
	answer_finish(&answer);
	scanout_finish(scanout);
	g_free(pixels);
}

static void test_cannot_map(void)
{
	struct scanout scanout;
	int ends[2];

	scanout_init(&scanout, 0);
	g_assert_cmpint(pipe(ends), ==, 0);
	close(ends[1]);
	scanout.buffer = vtr_buffer_create(VTR_PATH_UDMABUF, ends[0], 0, WIDTH * HEIGHT * 4);
	assert_falls_back(&scanout, "ends beyond"); /* a pipe has no size */
}

static void test_mmap_refused(void)
{
	struct scanout scanout;

	scanout_init(&scanout, 0);
	int fd = memfd_create("write-only", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(fd, 1 << 20), ==, 0);
	char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	int write_only = open(path, O_WRONLY | O_CLOEXEC);
	g_assert_cmpint(write_only, >=, 0);
	close(fd);
	g_free(path);
	scanout.buffer = vtr_buffer_create(VTR_PATH_UDMABUF, write_only, 0, 1 << 20);
	assert_falls_back(&scanout, "cannot be mapped");
}

static void test_too_short(void)
{
	struct scanout scanout;
	int fd = memfd_create("short", MFD_CLOEXEC);

	scanout_init(&scanout, 0);
	g_assert_cmpint(ftruncate(fd, WIDTH * HEIGHT * 4 - 1), ==, 0);
	scanout.buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, WIDTH * HEIGHT * 4);
	assert_falls_back(&scanout, "ends beyond");
}

static void test_picture_beyond_buffer(void)
{
	struct scanout scanout;
	int fd = memfd_create("buffer", MFD_CLOEXEC);

	scanout_init(&scanout, 0);
	g_assert_cmpint(ftruncate(fd, WIDTH * HEIGHT * 4), ==, 0);
	scanout.buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, WIDTH * HEIGHT * 4);
	scanout.offset = 4096;
	assert_falls_back(&scanout, "does not fit");
}

/* The file loses its pages while it is mapped: no signal ends the process. */
static void test_truncated(void)
{
	struct scanout scanout;
	struct answer answer;
	int fd = memfd_create("truncated", MFD_CLOEXEC);

	scanout_init(&scanout, 0);
	g_assert_cmpint(ftruncate(fd, WIDTH * HEIGHT * 4), ==, 0);
	scanout.buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, WIDTH * HEIGHT * 4);
	present(&scanout);
	take_picture(&scanout, false, &answer);
	g_assert_cmphex(pixel(&answer, 5, 5), ==, 0);
	g_assert_cmpuint(scanout.import_failed, ==, 0);
	answer_finish(&answer);
	g_assert_cmpint(ftruncate(fd, 0), ==, 0);
	pixman_region32_init_rect(&scanout.damage, 0, 0, WIDTH, HEIGHT);
	assert_falls_back(&scanout, "went away");
}

/* ---- captures ---- */

static void take_black_picture(struct scanout *scanout)
{
	struct answer answer;

	take_picture(scanout, true, &answer);
	g_assert_cmpuint(answer.picture.width, ==, 80); /* the mode's */
	g_assert_cmpuint(answer.picture.height, ==, 50);
	for (uint32_t j = 0; j < 80 * 50; j++)
		g_assert_cmphex(answer.pixels[j], ==, 0);
	answer_finish(&answer);
}

static void test_black(void)
{
	struct scanout scanout;

	scanout_init(&scanout, 0);
	/* before the first frame it is not known what the guest shows: it is asked for, and shows nothing */
	scanout.blank = true;
	take_black_picture(&scanout);
	g_assert_cmpuint(scanout.needed, ==, 1);
	scanout.blank = false;
	present(&scanout);
	vtr_output_submit(scanout.output, begin_frame(&scanout, VTR_FRAME_BLANK));
	run_until(&scanout, &scanout.done, 3);
	/* after the scanout was disabled that is known */
	take_black_picture(&scanout);
	g_assert_cmpuint(scanout.needed, ==, 1);
	scanout_finish(&scanout);
}

/* The guest's first frame waits for its tick when somebody asks: black is not the answer any more. */
static void test_first_frame_waits(void)
{
	struct scanout scanout;
	struct answer answer;
	uint8_t *pixels = g_malloc0(WIDTH * HEIGHT * 4);

	scanout_init(&scanout, 4000);
	scanout.pixels = pixels;
	draw(pixels, WIDTH * 4, &format_rows[1]);
	vtr_output_submit(scanout.output, begin_frame(&scanout, VTR_FRAME_BLANK));
	run_until(&scanout, &scanout.done, 1);
	present(&scanout);
	take_picture(&scanout, false, &answer);
	assert_colours(&answer);
	answer_finish(&answer);
	scanout_finish(&scanout);
	g_free(pixels);
}

/* The guest disables the scanout while somebody waits for its picture. */
static void test_disabled_while_waiting(void)
{
	struct scanout scanout;
	struct answer answer = { 0 };
	struct vtr_event event;

	scanout_init(&scanout, 0);
	present(&scanout);
	run_until(&scanout, &scanout.done, 1);
	g_assert_nonnull(vtr_output_capture(scanout.output, false, answered, &answer));
	while (vtr_output_demand(scanout.output) == VTR_DEMAND_NONE)
		g_usleep(100);
	vtr_output_submit(scanout.output, begin_frame(&scanout, VTR_FRAME_BLANK));
	while (!answer.calls)
		if (vtr_outputs_next_event(scanout.outputs, &event) && event.type != VTR_EVENT_FRAME_NEEDED)
			handle(&scanout, &event);
	g_assert_cmpuint(answer.picture.width, ==, 80);
	g_assert_cmphex(pixel(&answer, 0, 0), ==, 0);
	answer_finish(&answer);
	scanout_finish(&scanout);
}

static void test_cursor(void)
{
	static uint32_t image[64 * 64];
	struct scanout scanout;
	struct answer answer;
	uint32_t *pixels = g_new(uint32_t, WIDTH * HEIGHT);

	scanout_init(&scanout, 0);
	for (int i = 0; i < WIDTH * HEIGHT; i++)
		pixels[i] = 0xff204060;
	scanout.pixels = (uint8_t *)pixels;
	present(&scanout);
	image[0] = 0xffffffff;            /* opaque */
	image[1] = 0x80400000;            /* half, premultiplied */
	image[64 * 63 + 63] = 0xff00ff00; /* the last one, opaque */
	vtr_output_set_cursor(scanout.output, image, 2, 3);
	vtr_output_move_cursor(scanout.output, 10, 10);
	take_picture(&scanout, true, &answer);
	g_assert_cmphex(pixel(&answer, 10, 10), ==, 0xffffff);
	g_assert_cmphex(pixel(&answer, 11, 10), ==, 0x502030);
	g_assert_cmphex(pixel(&answer, 12, 10), ==, 0x204060);
	answer_finish(&answer);

	vtr_output_move_cursor(scanout.output, -62, -63); /* only the last column is left */
	take_picture(&scanout, true, &answer);
	g_assert_cmphex(pixel(&answer, 1, 0), ==, 0x00ff00);
	g_assert_cmphex(pixel(&answer, 0, 0), ==, 0x204060);
	answer_finish(&answer);

	vtr_output_move_cursor(scanout.output, WIDTH - 1, HEIGHT - 1); /* one pixel in the corner */
	take_picture(&scanout, true, &answer);
	g_assert_cmphex(pixel(&answer, WIDTH - 1, HEIGHT - 1), ==, 0xffffff);
	answer_finish(&answer);

	take_picture(&scanout, false, &answer); /* not asked for; and the last one did not stay in the picture */
	g_assert_cmphex(pixel(&answer, WIDTH - 1, HEIGHT - 1), ==, 0x204060);
	g_assert_cmphex(pixel(&answer, 1, 0), ==, 0x204060);
	answer_finish(&answer);

	vtr_output_move_cursor(scanout.output, INT32_MIN, INT32_MAX); /* nowhere */
	take_picture(&scanout, true, &answer);
	g_assert_cmphex(pixel(&answer, 0, HEIGHT - 1), ==, 0x204060);
	answer_finish(&answer);
	vtr_output_set_cursor(scanout.output, NULL, 0, 0);
	vtr_output_move_cursor(scanout.output, 10, 10);
	take_picture(&scanout, true, &answer);
	g_assert_cmphex(pixel(&answer, 10, 10), ==, 0x204060);
	answer_finish(&answer);
	scanout_finish(&scanout);
	g_free(pixels);
}

/* A frozen scanout: its last picture came as pixels though nobody looked, and now there are none to be had. */
static void test_frozen(void)
{
	struct scanout scanout;
	struct answer answer = { 0 };
	struct vtr_event event;
	pixman_region32_t stale;
	uint8_t *pixels = g_malloc0(WIDTH * HEIGHT * 4);

	scanout_init(&scanout, 0);
	scanout.pixels = pixels;
	draw(pixels, WIDTH * 4, &format_rows[1]);
	struct vtr_frame *frame = begin_frame(&scanout, VTR_FRAME_UNREAD);
	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(scanout.output, WIDTH, HEIGHT, scanout.format, &stale);
	fill(&scanout, staging, &stale);
	vtr_staging_commit(staging, &stale, frame);
	pixman_region32_fini(&stale);
	vtr_output_submit(scanout.output, frame);
	run_until(&scanout, &scanout.done, 1);
	g_assert_nonnull(vtr_output_capture(scanout.output, false, answered, &answer));
	while (!answer.calls)
		if (vtr_outputs_next_event(scanout.outputs, &event) && event.type == VTR_EVENT_FRAME_NEEDED)
			vtr_output_submit(scanout.output, begin_frame(&scanout, VTR_FRAME_UNREAD)); /* no damage */
	assert_colours(&answer);
	answer_finish(&answer);
	scanout_finish(&scanout);
	g_free(pixels);
}

/* Many at once get the picture of one frame. */
static void test_captures_together(void)
{
	struct scanout scanout;
	struct answer answers[8] = { 0 };
	uint8_t *pixels = g_malloc0(WIDTH * HEIGHT * 4);

	scanout_init(&scanout, 20000);
	scanout.pixels = pixels;
	draw(pixels, WIDTH * 4, &format_rows[1]);
	present(&scanout);
	run_until(&scanout, &scanout.done, 1);
	for (int i = 0; i < 8; i++)
		g_assert_nonnull(vtr_output_capture(scanout.output, false, answered, &answers[i]));
	for (int i = 0; i < 8; i++) {
		run_until(&scanout, &answers[i].calls, 1);
		assert_colours(&answers[i]);
		g_assert_cmpuint(answers[i].picture.sequence, ==, 2);
		answer_finish(&answers[i]);
	}
	scanout_finish(&scanout);
	g_free(pixels);
}

/* The display goes while a capture waits for a frame that never comes. */
static void test_removed_while_capturing(void)
{
	struct scanout scanout;
	struct answer answer = { 0 };
	struct vtr_event event;

	scanout_init(&scanout, 0);
	present(&scanout);
	run_until(&scanout, &scanout.done, 1);
	g_assert_nonnull(vtr_output_capture(scanout.output, false, answered, &answer));
	while (vtr_output_demand(scanout.output) == VTR_DEMAND_NONE)
		g_usleep(100);
	vtr_display_destroy(scanout.display);
	scanout.display = NULL;
	while (vtr_outputs_next_event(scanout.outputs, &event))
		;
	g_assert_cmpuint(answer.calls, ==, 1);
	g_assert_cmpint(answer.picture.fd, ==, -1);
	g_assert_cmpstr(answer.error.text, ==, "the output is not connected");
	scanout_finish(&scanout);
}

/* ---- sizes, pacing, many outputs ---- */

static void test_size_change(void)
{
	struct scanout scanout;
	struct answer answer;
	uint8_t *pixels = g_malloc(WIDTH * HEIGHT * 4);

	scanout_init(&scanout, 0);
	scanout.pixels = pixels;
	memset(pixels, 0x11, WIDTH * HEIGHT * 4);
	present(&scanout);
	take_picture(&scanout, false, &answer);
	answer_finish(&answer);
	scanout.width = 33;
	scanout.height = 7;
	memset(pixels, 0x22, WIDTH * HEIGHT * 4);
	present(&scanout);
	take_picture(&scanout, false, &answer);
	g_assert_cmpuint(answer.picture.width, ==, 33);
	g_assert_cmpuint(answer.picture.height, ==, 7);
	for (uint32_t i = 0; i < 33 * 7; i++)
		g_assert_cmphex(answer.pixels[i] & 0xffffff, ==, 0x222222);
	answer_finish(&answer);
	scanout_finish(&scanout);
	g_free(pixels);
}

/* At 100 Hz, 15 frames one after the other take at least 14 periods, whatever the load; each is finished at a time of its own. */
static void test_pacing(void)
{
	struct scanout scanout;
	uint64_t first = 0, last = 0;

	scanout_init(&scanout, 100000);
	for (unsigned i = 1; i <= 15; i++) {
		present(&scanout);
		run_until(&scanout, &scanout.done, i);
		g_assert_cmpuint(scanout.last_time, >, last);
		last = scanout.last_time;
		first = i == 1 ? last : first;
	}
	g_assert_cmpuint(scanout.dropped, ==, 0);
	/* A tick that comes late does not move the next: one period of grace. */
	g_assert_cmpuint(last - first, >=, 13 * UINT64_C(10000000));
	scanout_finish(&scanout);
}

/* Frames faster than the ticks: the newest is shown, the others are dropped, each is reported once and in order. */
static void test_faster_than_ticks(void)
{
	struct scanout scanout;

	scanout_init(&scanout, 10000);
	for (unsigned i = 0; i < 100; i++)
		present(&scanout);
	run_until(&scanout, &scanout.done, 100);
	g_assert_cmpuint(scanout.dropped, >=, 97); /* two ticks may have come in between */
	g_assert_cmpuint(scanout.dropped, <, 100);
	scanout_finish(&scanout);
}

static void test_unpaced(void)
{
	struct scanout scanout;
	uint64_t start = vtr_now_ns();

	scanout_init(&scanout, 0);
	for (unsigned i = 1; i <= 200; i++) {
		present(&scanout);
		run_until(&scanout, &scanout.done, i);
	}
	g_assert_cmpuint(scanout.dropped, ==, 0);
	g_test_message("%u us a frame", (unsigned)((vtr_now_ns() - start) / 200000));
	scanout_finish(&scanout);
}

/* The guest shows nothing there. */
static void show_blank(struct vtr_output *output)
{
	struct vtr_frame *frame = vtr_output_begin_frame(output);

	frame->content = VTR_FRAME_BLANK;
	vtr_output_submit(output, frame);
}

static void test_sixteen_outputs(void)
{
	struct vtr_display *display = vtr_headless_create();
	struct vtr_outputs *outputs = vtr_outputs_create();
	struct answer answers[16] = { 0 };

	for (uint32_t i = 0; i < 16; i++) {
		struct vtr_mode mode = { 10 + i, 20, 60000 };
		struct vtr_output *output = vtr_outputs_add(outputs, display, &mode, NULL);

		g_assert_nonnull(output);
		g_assert_nonnull(vtr_output_capture(output, false, answered, &answers[i]));
	}
	for (uint32_t i = 0; i < 16; i++) {
		struct pollfd pollfd = { .fd = vtr_outputs_event_fd(outputs), .events = POLLIN };
		struct vtr_event event;

		while (!answers[i].calls) {
			g_assert_cmpint(poll(&pollfd, 1, 5000), ==, 1);
			while (vtr_outputs_next_event(outputs, &event))
				if (event.type == VTR_EVENT_FRAME_NEEDED)
					show_blank(vtr_outputs_get(outputs, event.output));
		}
		g_assert_cmpuint(answers[i].picture.width, ==, 10 + i);
		answer_finish(&answers[i]);
	}
	vtr_display_destroy(display);
	vtr_outputs_destroy(outputs);
}

static void test_accepts(void)
{
	struct scanout scanout;
	struct vtr_error error;

	scanout_init(&scanout, 0);
	g_assert_false(vtr_output_accepts(scanout.output, DRM_FORMAT_NV12, DRM_FORMAT_MOD_LINEAR, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
	g_assert_false(vtr_output_accepts(scanout.output, DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED, &error));
	g_assert_cmpstr(vtr_output_display_name(scanout.output), ==, "headless");
	scanout_finish(&scanout);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/headless/format/", format_rows, test_format_pixels);
	ADD_ROWS("/headless/buffer/", buffer_rows, test_buffer);
	g_test_add_data_func("/headless/damage-only/pixels", GINT_TO_POINTER(false), test_reads_damage_only);
	g_test_add_data_func("/headless/damage-only/buffer", GINT_TO_POINTER(true), test_reads_damage_only);
	g_test_add_func("/headless/refused/no-size", test_cannot_map);
	g_test_add_func("/headless/refused/no-mmap", test_mmap_refused);
	g_test_add_func("/headless/refused/too-short", test_too_short);
	g_test_add_func("/headless/refused/picture-beyond-buffer", test_picture_beyond_buffer);
	g_test_add_func("/headless/refused/truncated", test_truncated);
	g_test_add_func("/headless/capture/black", test_black);
	g_test_add_func("/headless/capture/first-frame-waits", test_first_frame_waits);
	g_test_add_func("/headless/capture/disabled-while-waiting", test_disabled_while_waiting);
	g_test_add_func("/headless/capture/cursor", test_cursor);
	g_test_add_func("/headless/capture/frozen", test_frozen);
	g_test_add_func("/headless/capture/together", test_captures_together);
	g_test_add_func("/headless/capture/removed", test_removed_while_capturing);
	g_test_add_func("/headless/size-change", test_size_change);
	g_test_add_func("/headless/pacing/period", test_pacing);
	g_test_add_func("/headless/pacing/faster-than-ticks", test_faster_than_ticks);
	g_test_add_func("/headless/pacing/none", test_unpaced);
	g_test_add_func("/headless/sixteen-outputs", test_sixteen_outputs);
	g_test_add_func("/headless/accepts", test_accepts);
	return g_test_run();
}
