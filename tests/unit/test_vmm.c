/* SPDX-License-Identifier: MIT */
/*
 * The vmm display on its real thread, between a front-end (vmm_frontend.c) and a device thread, both played by the test: pictures
 * that arrive, what paces them, and front-ends that are slow, silent, wrong or gone.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vitrine/display.h>
#include <vitrine/gpu.h>
#include <vitrine/log.h>

#include "rows.h"
#include "vmm_frontend.h"

enum { WIDTH = 320, HEIGHT = 200, PATIENCE_MS = 30000 };

struct guest {
	struct vtr_output *output;
	uint32_t width, height, format;
	uint32_t *pixels;
	struct vtr_buffer *buffer; /* NULL: with pixels */
	uint64_t offset;
	bool blank;
	pixman_region32_t damage; /* not presented yet */
	/* what was seen */
	unsigned done, dropped, needed, mode_changed, answered, import_failed;
	struct vtr_error error;
};

struct machine {
	struct frontend frontend;
	struct vtr_display *vmm, *headless;
	struct vtr_outputs *outputs;
	struct guest guests[FRONTEND_SCANOUTS];
	unsigned n_guests;
};

static void guest_resize(struct guest *guest, uint32_t width, uint32_t height, uint32_t format)
{
	g_free(guest->pixels);
	guest->width = width;
	guest->height = height;
	guest->format = format;
	guest->pixels = g_new0(uint32_t, (size_t)width * height);
	pixman_region32_fini(&guest->damage);
	pixman_region32_init_rect(&guest->damage, 0, 0, width, height);
}

/* Outputs without a fixed mode; refresh: see guest_set_refresh(). */
static void machine_init(struct machine *machine, unsigned n_guests, void (*prepare)(struct frontend *frontend))
{
	struct vtr_error error;
	int end;

	*machine = (struct machine){ .n_guests = n_guests };
	frontend_init(&machine->frontend, &end);
	if (prepare)
		prepare(&machine->frontend);
	machine->outputs = vtr_outputs_create();
	machine->headless = vtr_headless_create();
	vtr_outputs_set_fallback(machine->outputs, machine->headless);
	machine->vmm = vtr_vmm_create(end, &error);
	g_assert_nonnull(machine->vmm);
	for (unsigned i = 0; i < n_guests; i++) {
		machine->guests[i].output = vtr_outputs_add(machine->outputs, machine->vmm, NULL, NULL);
		pixman_region32_init(&machine->guests[i].damage);
		guest_resize(&machine->guests[i], WIDTH, HEIGHT, DRM_FORMAT_XRGB8888);
	}
}

static void machine_finish(struct machine *machine)
{
	vtr_display_destroy(machine->vmm);
	vtr_display_destroy(machine->headless);
	vtr_outputs_destroy(machine->outputs);
	for (unsigned i = 0; i < machine->n_guests; i++) {
		g_free(machine->guests[i].pixels);
		vtr_buffer_drop(machine->guests[i].buffer);
		pixman_region32_fini(&machine->guests[i].damage);
	}
	frontend_finish(&machine->frontend);
}

/* ---- the device thread's part ---- */

static void fill_staging(const struct guest *guest, struct vtr_staging *staging, const pixman_region32_t *stale)
{
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles((pixman_region32_t *)stale, &count);

	for (int i = 0; i < count; i++)
		for (int y = boxes[i].y1; y < boxes[i].y2; y++)
			memcpy((uint8_t *)vtr_staging_data(staging) + (size_t)y * vtr_staging_stride(staging) + boxes[i].x1 * 4,
			       guest->pixels + (size_t)y * guest->width + boxes[i].x1, (size_t)(boxes[i].x2 - boxes[i].x1) * 4);
}

/* As the gpu does: the frame goes without pixels when the display holds them all, and FRAME_NEEDED follows. */
static void attach_pixels(struct guest *guest, struct vtr_frame *frame)
{
	pixman_region32_t stale;

	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(guest->output, guest->width, guest->height, guest->format, &stale);
	if (staging) {
		fill_staging(guest, staging, &stale);
		vtr_staging_commit(staging, &stale, frame);
	}
	pixman_region32_fini(&stale);
}

static void present(struct guest *guest)
{
	enum vtr_output_demand demand = vtr_output_demand(guest->output);
	struct vtr_frame *frame = vtr_output_begin_frame(guest->output);

	g_assert_nonnull(frame);
	frame->content = guest->blank ? VTR_FRAME_BLANK : VTR_FRAME_UNREAD;
	if (!guest->blank) {
		frame->width = guest->width;
		frame->height = guest->height;
		frame->format = guest->format;
		frame->stride = guest->width * 4;
		pixman_region32_copy(&frame->damage, &guest->damage);
		vtr_staging_note_damage(guest->output, &guest->damage);
		pixman_region32_clear(&guest->damage);
		if (demand == VTR_DEMAND_DMABUF && guest->buffer) {
			frame->content = VTR_FRAME_BUFFER;
			frame->buffer = vtr_buffer_lock(guest->buffer);
			frame->offset = guest->offset;
		} else if (demand != VTR_DEMAND_NONE) {
			attach_pixels(guest, frame);
		}
	}
	vtr_output_submit(guest->output, frame);
}

static void handle(struct machine *machine, const struct vtr_event *event)
{
	struct guest *guest = &machine->guests[event->output];

	switch (event->type) {
	case VTR_EVENT_FRAME_NEEDED:
	case VTR_EVENT_DISPLAY_CHANGED:
		guest->needed++;
		present(guest);
		break;
	case VTR_EVENT_IMPORT_FAILED:
		guest->import_failed++;
		guest->error = event->error;
		vtr_buffer_drop(guest->buffer); /* go down the ladder */
		guest->buffer = NULL;
		present(guest);
		break;
	case VTR_EVENT_FRAME_DONE:
		guest->done++;
		guest->dropped += event->dropped;
		break;
	case VTR_EVENT_MODE_CHANGED:
		guest->mode_changed++;
		break;
	case VTR_EVENT_ANSWERED:
		guest->answered++;
		break;
	}
}

/* Lets everybody do what there is to do. reads: the front-end, too. */
static void step(struct machine *machine, bool reads)
{
	struct pollfd pollfds[] = {
		{ .fd = vtr_outputs_event_fd(machine->outputs), .events = POLLIN },
		{ .fd = reads ? machine->frontend.socket : -1, .events = POLLIN },
	};
	struct vtr_event event;

	poll(pollfds, 2, 5);
	for (int i = 0; i < 64 && reads && frontend_step(&machine->frontend, 0); i++)
		;
	while (vtr_outputs_next_event(machine->outputs, &event))
		handle(machine, &event);
}

#define RUN_UNTIL(machine, condition)                                                                                              \
	do {                                                                                                                       \
		gint64 end_ = g_get_monotonic_time() + PATIENCE_MS * 1000;                                                         \
		while (!(condition)) {                                                                                             \
			g_assert_cmpint(g_get_monotonic_time(), <, end_);                                                          \
			step(machine, true);                                                                                       \
		}                                                                                                                  \
	} while (0)

static void run_for(struct machine *machine, unsigned ms, bool reads)
{
	gint64 end = g_get_monotonic_time() + ms * 1000;

	while (g_get_monotonic_time() < end)
		step(machine, reads);
}

static void draw(struct guest *guest, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t seed)
{
	for (uint32_t row = y; row < y + height; row++)
		for (uint32_t column = x; column < x + width; column++)
			guest->pixels[(size_t)row * guest->width + column] = seed * 2654435761u ^ (row << 16 | column);
	pixman_region32_union_rect(&guest->damage, &guest->damage, (int)x, (int)y, width, height);
}

/* True when the front-end shows the guest's picture, every pixel of it. */
static bool shows(const struct machine *machine, unsigned i)
{
	const struct frontend_scanout *scanout = &machine->frontend.scanouts[i];
	const struct guest *guest = &machine->guests[i];
	bool swapped = guest->format == DRM_FORMAT_XBGR8888;

	if (!scanout->pixels || scanout->width != guest->width || scanout->height != guest->height || scanout->fresh)
		return false;
	for (size_t p = 0; p < (size_t)guest->width * guest->height; p++) {
		uint32_t want = guest->pixels[p];

		if (swapped)
			want = (want & 0xff) << 16 | (want & 0xff00) | (want >> 16 & 0xff);
		if ((scanout->pixels[p] ^ want) & 0xffffff)
			return false;
	}
	return true;
}

/* Draws into the picture, and waits until the front-end shows it and the frame is done. */
static void flush(struct machine *machine, unsigned i)
{
	unsigned done = machine->guests[i].done;

	present(&machine->guests[i]);
	RUN_UNTIL(machine, machine->guests[i].done > done && shows(machine, i));
}

/* ---- features ---- */

static const struct features_row {
	const char *name;
	uint64_t offered, accepted;
} features_rows[] = {
	{ "none", 0, 0 }, { "edid", 1, 1 }, { "dmabuf2", 2, 2 }, { "both", 3, 3 }, { "unknown-ones", ~UINT64_C(0), 3 },
};

static const struct features_row *features_under_test;

static void offer_features(struct frontend *frontend)
{
	frontend->features = features_under_test->offered;
}

static void test_features(const void *data)
{
	const struct features_row *row = features_under_test = data;
	uint8_t edid[VTR_MAX_EDID];
	struct machine machine;

	machine_init(&machine, 1, offer_features);
	RUN_UNTIL(&machine, vtr_output_mode(machine.guests[0].output).width == 640);
	g_assert_true(machine.frontend.has_accepted);
	g_assert_cmpuint(machine.frontend.accepted, ==, row->accepted);
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_GET_EDID], ==, row->accepted & 1 ? 1 : 0);
	size_t size = vtr_output_edid(machine.guests[0].output, edid);
	g_assert_cmpmem(edid, size, machine.frontend.edid[0].edid, row->accepted & 1 ? 128 : 0);
	g_assert_cmpint(vtr_output_accepts(machine.guests[0].output, DRM_FORMAT_XRGB8888, 1, NULL), ==, row->accepted & 2 ? 1 : 0);
	g_assert_true(vtr_output_accepts(machine.guests[0].output, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, NULL));
	machine_finish(&machine);
}

/* ---- monitors ---- */

static void two_monitors(struct frontend *frontend)
{
	static const struct vtr_mode fast = { 800, 600, 75000 };

	frontend_set_monitor(frontend, 0, 1024, 768);
	frontend_set_monitor(frontend, 1, 800, 600);
	vtr_edid_generate(&fast, "fast", 2, frontend->edid[1].edid);
}

static void test_monitors(void)
{
	struct machine machine;

	machine_init(&machine, 3, two_monitors);
	RUN_UNTIL(&machine, !vtr_output_connected(machine.guests[2].output));
	g_assert_cmpuint(vtr_output_mode(machine.guests[0].output).width, ==, 1024);
	g_assert_cmpuint(vtr_output_mode(machine.guests[1].output).width, ==, 800);
	g_assert_cmpuint(vtr_output_mode(machine.guests[1].output).height, ==, 600);
	g_assert_cmpuint((vtr_output_mode(machine.guests[1].output).refresh_mhz + 500) / 1000, ==, 75); /* the EDID's */
	g_assert_true(vtr_output_connected(machine.guests[0].output));
	g_assert_true(vtr_output_connected(machine.guests[1].output));
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_GET_EDID], ==, 2);
	machine_finish(&machine);
}

static void test_fixed(void)
{
	static const struct vtr_mode fixed = { 1600, 1200, 50000 };
	uint8_t edid[VTR_MAX_EDID];
	struct machine machine;

	machine_init(&machine, 1, NULL);
	g_assert_cmpint(vtr_output_resize(machine.guests[0].output, &fixed), ==, 0);
	RUN_UNTIL(&machine, machine.frontend.requests[VHOST_USER_GPU_GET_EDID] == 1);
	uint32_t question = vtr_output_ask(machine.guests[0].output);
	RUN_UNTIL(&machine, vtr_output_has_answered(machine.guests[0].output, question));
	g_assert_cmpuint(vtr_output_mode(machine.guests[0].output).width, ==, 1600);
	g_assert_cmpuint(vtr_output_edid(machine.guests[0].output, edid), ==, 0);
	g_assert_cmpint(vtr_output_resize(machine.guests[0].output, NULL), ==, 0);
	question = vtr_output_ask(machine.guests[0].output);
	RUN_UNTIL(&machine, vtr_output_has_answered(machine.guests[0].output, question));
	g_assert_cmpuint(vtr_output_mode(machine.guests[0].output).width, ==, 640);
	g_assert_cmpuint(vtr_output_edid(machine.guests[0].output, edid), ==, 128);
	machine_finish(&machine);
}

/* The guest asks after the front-end's window has changed: the answer is the new size, and never the old one. */
static void test_ask(void)
{
	struct machine machine;
	struct guest *guest = &machine.guests[0];

	machine_init(&machine, 1, NULL);
	for (uint32_t i = 1; i <= 20; i++) {
		uint32_t width = 640 + 8 * i;

		frontend_set_monitor(&machine.frontend, 0, width, 480);
		uint32_t question = vtr_output_ask(guest->output);
		g_assert_cmpuint(question, !=, 0);
		RUN_UNTIL(&machine, vtr_output_has_answered(guest->output, question));
		g_assert_cmpuint(vtr_output_mode(guest->output).width, ==, width);
	}
	g_assert_cmpuint(guest->answered, >=, 20);
	machine_finish(&machine);
}

/* A question that comes while the display is looking is answered by another look. */
static void test_ask_twice(void)
{
	struct machine machine;
	struct guest *guest = &machine.guests[0];

	machine_init(&machine, 1, NULL);
	RUN_UNTIL(&machine, vtr_output_mode(guest->output).width == 640);
	machine.frontend.silent[VHOST_USER_GPU_GET_EDID] = true;
	uint32_t first = vtr_output_ask(guest->output);
	RUN_UNTIL(&machine, machine.frontend.owed[VHOST_USER_GPU_GET_EDID] == 1);
	frontend_set_monitor(&machine.frontend, 0, 1000, 500);
	uint32_t second = vtr_output_ask(guest->output);
	run_for(&machine, 20, true);
	g_assert_false(vtr_output_has_answered(guest->output, first));
	frontend_resume(&machine.frontend, VHOST_USER_GPU_GET_EDID);
	RUN_UNTIL(&machine, vtr_output_has_answered(guest->output, second));
	g_assert_cmpuint(vtr_output_mode(guest->output).width, ==, 1000);
	machine_finish(&machine);
}

static void mute_edid(struct frontend *frontend)
{
	frontend->silent[VHOST_USER_GPU_GET_EDID] = true;
}

/* An EDID that does not come is done without, and taken when it comes. */
static void test_late_edid(void)
{
	uint8_t edid[VTR_MAX_EDID];
	struct machine machine;

	machine_init(&machine, 1, mute_edid);
	RUN_UNTIL(&machine, vtr_output_mode(machine.guests[0].output).width == 640);
	g_assert_cmpuint(vtr_output_edid(machine.guests[0].output, edid), ==, 0);
	draw(&machine.guests[0], 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	frontend_resume(&machine.frontend, VHOST_USER_GPU_GET_EDID);
	RUN_UNTIL(&machine, vtr_output_edid(machine.guests[0].output, edid) == 128);
	machine_finish(&machine);
}

/* What is connected, and its size, is seen from the answer to a frame, too. */
static void test_changes_with_frames(void)
{
	struct machine machine;

	machine_init(&machine, 2, NULL);
	RUN_UNTIL(&machine, !vtr_output_connected(machine.guests[1].output));
	two_monitors(&machine.frontend);
	draw(&machine.guests[0], 0, 0, 10, 10, 1);
	flush(&machine, 0);
	RUN_UNTIL(&machine, vtr_output_connected(machine.guests[1].output));
	g_assert_cmpuint(vtr_output_mode(machine.guests[1].output).width, ==, 800);
	RUN_UNTIL(&machine, shows(&machine, 1)); /* it is asked for */
	frontend_set_monitor(&machine.frontend, 1, 0, 0);
	flush(&machine, 0);
	RUN_UNTIL(&machine, !vtr_output_connected(machine.guests[1].output));
	machine_finish(&machine);
}

/* ---- frames ---- */

static const struct format_row {
	const char *name;
	uint32_t format;
} format_rows[] = { { "xrgb", DRM_FORMAT_XRGB8888 }, { "argb", DRM_FORMAT_ARGB8888 }, { "xbgr", DRM_FORMAT_XBGR8888 } };

static void test_damage(const void *data)
{
	const struct format_row *row = data;
	struct machine machine;
	struct guest *guest = &machine.guests[0];
	g_autoptr(GRand) rand = g_rand_new_with_seed(7);

	machine_init(&machine, 1, NULL);
	guest_resize(guest, WIDTH, HEIGHT, row->format);
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	for (uint32_t i = 2; i < 20; i++) {
		uint64_t updated = machine.frontend.scanouts[0].updated, area = 0;
		int n;

		for (int rectangles = g_rand_int_range(rand, 0, 4); rectangles >= 0; rectangles--) {
			uint32_t x = (uint32_t)g_rand_int_range(rand, 0, WIDTH), y = (uint32_t)g_rand_int_range(rand, 0, HEIGHT);

			draw(guest, x, y, (uint32_t)g_rand_int_range(rand, 1, (int)(WIDTH - x + 1)),
			     (uint32_t)g_rand_int_range(rand, 1, (int)(HEIGHT - y + 1)), i);
		}
		const pixman_box32_t *boxes = pixman_region32_rectangles(&guest->damage, &n);
		for (int b = 0; b < n; b++)
			area += (uint64_t)(boxes[b].x2 - boxes[b].x1) * (uint64_t)(boxes[b].y2 - boxes[b].y1);
		flush(&machine, 0);
		g_assert_cmpuint(machine.frontend.scanouts[0].updated - updated, ==, area); /* and no more than that */
	}
	machine_finish(&machine);
}

static const struct size_row {
	const char *name;
	uint32_t width, height;
} size_rows[] = { { "1x1", 1, 1 }, { "wide", 16384, 3 }, { "high", 1, 16384 }, { "odd", 1367, 769 }, { "4k", 3840, 2160 } };

static void test_size(const void *data)
{
	const struct size_row *row = data;
	struct machine machine;

	machine_init(&machine, 1, NULL);
	draw(&machine.guests[0], 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	guest_resize(&machine.guests[0], row->width, row->height, DRM_FORMAT_XRGB8888);
	draw(&machine.guests[0], 0, 0, row->width, row->height, 2);
	flush(&machine, 0);
	machine_finish(&machine);
}

static void test_blank(void)
{
	struct machine machine;
	struct guest *guest = &machine.guests[0];

	machine_init(&machine, 1, NULL);
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	guest->blank = true;
	present(guest);
	RUN_UNTIL(&machine, !machine.frontend.scanouts[0].pixels);
	guest->blank = false;
	flush(&machine, 0);
	machine_finish(&machine);
}

static void three_monitors(struct frontend *frontend)
{
	for (unsigned i = 0; i < FRONTEND_SCANOUTS; i++)
		frontend_set_monitor(frontend, i, 640, 480);
}

static void test_scanouts(void)
{
	struct machine machine;

	machine_init(&machine, FRONTEND_SCANOUTS, three_monitors);
	for (uint32_t round = 0; round < 5; round++) {
		for (unsigned i = 0; i < FRONTEND_SCANOUTS; i++) {
			draw(&machine.guests[i], round, i, 100 + round, 100 + i, round * 16 + i);
			present(&machine.guests[i]);
		}
		RUN_UNTIL(&machine, shows(&machine, 0) && shows(&machine, 1) && shows(&machine, 2));
	}
	machine_finish(&machine);
}

/* ---- pacing ---- */

/* A front-end that does not answer gets no second frame; then all at once what changed meanwhile. */
static void test_silence(void)
{
	struct machine machine;
	struct guest *guest = &machine.guests[0];

	machine_init(&machine, 1, NULL);
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	machine.frontend.silent[VHOST_USER_GPU_GET_DISPLAY_INFO] = true;
	draw(guest, 0, 0, 1, 1, 2);
	present(guest);
	RUN_UNTIL(&machine, machine.frontend.owed[VHOST_USER_GPU_GET_DISPLAY_INFO] == 1);
	unsigned done = guest->done, updates = machine.frontend.requests[VHOST_USER_GPU_UPDATE];
	for (uint32_t i = 0; i < 30; i++) {
		draw(guest, i, i, 10, 10, 100 + i);
		present(guest);
		run_for(&machine, 5, true);
	}
	g_assert_cmpuint(machine.frontend.owed[VHOST_USER_GPU_GET_DISPLAY_INFO], ==, 1);
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_UPDATE], ==, updates);
	g_assert_cmpuint(guest->done, >=, done + 28); /* dropped: newest wins */
	g_assert_false(shows(&machine, 0));
	frontend_resume(&machine.frontend, VHOST_USER_GPU_GET_DISPLAY_INFO);
	RUN_UNTIL(&machine, shows(&machine, 0));
	machine_finish(&machine);
}

/* A front-end that does not read: nothing piles up, and what it reads afterwards is little and new. */
static void test_stopped(void)
{
	static uint32_t image[64 * 64];
	struct machine machine;
	struct guest *guest = &machine.guests[0];

	machine_init(&machine, 1, NULL);
	guest_resize(guest, 1920, 1080, DRM_FORMAT_XRGB8888);
	draw(guest, 0, 0, 1920, 1080, 1);
	flush(&machine, 0);
	for (uint32_t i = 0; i < 200; i++) {
		draw(guest, 0, 0, 1920, 1080, 2 + i);
		present(guest);
		image[0] = i;
		vtr_output_set_cursor(guest->output, image, 0, 0);
		vtr_output_move_cursor(guest->output, (int32_t)i, 0);
		step(&machine, false);
	}
	unsigned cursors = machine.frontend.requests[VHOST_USER_GPU_CURSOR_UPDATE];
	uint64_t updated = machine.frontend.scanouts[0].updated;
	RUN_UNTIL(&machine, shows(&machine, 0) && machine.frontend.scanouts[0].cursor.data[0] == 199);
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_CURSOR_UPDATE] - cursors, <=, 20); /* what a socket holds */
	g_assert_cmpuint(machine.frontend.scanouts[0].updated - updated, <=, 3 * 1920 * 1080);
	machine_finish(&machine);
}

/* No more frames a second than the output has, however fast the front-end is. */
static void test_refresh(void)
{
	struct machine machine;
	struct guest *guest = &machine.guests[0];

	machine_init(&machine, 1, NULL);
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	gint64 begin = g_get_monotonic_time();
	for (uint32_t i = 0; i < 12; i++) {
		draw(guest, 0, 0, 1, 1, i + 2);
		flush(&machine, 0);
	}
	g_assert_cmpint(g_get_monotonic_time() - begin, >=, 11 * 16000);
	machine_finish(&machine);
}

/* ---- dmabufs: a memory file stands for one ---- */

static struct vtr_buffer *new_buffer(struct guest *guest, struct stat *status)
{
	size_t size = (size_t)guest->width * guest->height * 4;
	int fd = memfd_create("dmabuf", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
	g_assert_cmpint(fstat(fd, status), ==, 0);
	return vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, size);
}

static bool shows_file(const struct machine *machine, const struct stat *want)
{
	int fd = machine->frontend.scanouts[0].dmabuf;
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && status.st_ino == want->st_ino;
}

static void no_features(struct frontend *frontend)
{
	frontend->features = 0;
}

static const struct dmabuf_row {
	const char *name;
	void (*prepare)(struct frontend *frontend);
	uint32_t request;
} dmabuf_rows[] = {
	{ "1", no_features, VHOST_USER_GPU_DMABUF_SCANOUT },
	{ "2", NULL, VHOST_USER_GPU_DMABUF_SCANOUT2 },
};

static void test_dmabuf(const void *data)
{
	const struct dmabuf_row *row = data;
	struct machine machine;
	struct guest *guest = &machine.guests[0];
	const struct frontend_scanout *scanout = &machine.frontend.scanouts[0];
	struct stat first, second;

	machine_init(&machine, 1, row->prepare);
	RUN_UNTIL(&machine, machine.frontend.has_accepted && vtr_output_demand(guest->output) == VTR_DEMAND_DMABUF);
	guest->buffer = new_buffer(guest, &first);
	draw(guest, 5, 6, 7, 8, 1);
	present(guest);
	RUN_UNTIL(&machine, scanout->dmabuf_update.width && shows_file(&machine, &first));
	g_assert_cmpuint(machine.frontend.requests[row->request], ==, 1);
	g_assert_cmpuint(scanout->dmabuf_scanout.width, ==, WIDTH);
	g_assert_cmpuint(scanout->dmabuf_scanout.fd_height, ==, HEIGHT);
	g_assert_cmpuint(scanout->dmabuf_scanout.fd_stride, ==, WIDTH * 4);
	g_assert_cmphex((uint32_t)scanout->dmabuf_scanout.fd_drm_fourcc, ==, DRM_FORMAT_XRGB8888);
	g_assert_cmpuint(scanout->dmabuf_update.width, ==, WIDTH); /* the first is new all over */
	/* the same again: no new scanout */
	draw(guest, 5, 6, 7, 8, 2);
	present(guest);
	RUN_UNTIL(&machine, scanout->dmabuf_update.x == 5);
	g_assert_cmpuint(machine.frontend.requests[row->request], ==, 1);
	g_assert_cmpuint(scanout->dmabuf_update.width, ==, 7);
	g_assert_cmpuint(scanout->dmabuf_update.height, ==, 8);
	/* a flip while the front-end does not answer: not before it does */
	machine.frontend.silent[VHOST_USER_GPU_DMABUF_UPDATE] = true;
	draw(guest, 0, 0, 1, 1, 3);
	present(guest);
	RUN_UNTIL(&machine, scanout->unanswered == 1);
	vtr_buffer_drop(guest->buffer);
	guest->buffer = new_buffer(guest, &second);
	draw(guest, 9, 9, 1, 1, 3);
	present(guest);
	run_for(&machine, 50, true);
	g_assert_true(shows_file(&machine, &first));
	frontend_resume(&machine.frontend, VHOST_USER_GPU_DMABUF_UPDATE);
	RUN_UNTIL(&machine, shows_file(&machine, &second));
	/* down the ladder, and up */
	struct vtr_buffer *buffer = guest->buffer;
	guest->buffer = NULL;
	draw(guest, 0, 0, WIDTH, HEIGHT, 4);
	flush(&machine, 0);
	g_assert_cmpint(scanout->dmabuf, ==, -1);
	guest->buffer = buffer;
	present(guest);
	RUN_UNTIL(&machine, shows_file(&machine, &second));
	guest->blank = true;
	present(guest);
	RUN_UNTIL(&machine, scanout->dmabuf < 0 && !scanout->pixels);
	machine_finish(&machine);
}

static void test_dmabuf_offset(void)
{
	struct machine machine;
	struct guest *guest = &machine.guests[0];
	struct stat status;

	machine_init(&machine, 1, NULL);
	RUN_UNTIL(&machine, vtr_output_demand(guest->output) == VTR_DEMAND_DMABUF);
	guest->buffer = new_buffer(guest, &status);
	guest->offset = 64;
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	g_assert_cmpuint(guest->import_failed, >=, 1); /* a frame that was there already is refused, too */
	g_assert_cmpint(guest->error.owner, ==, VTR_ERROR_UNSUPPORTED);
	g_assert_nonnull(strstr(guest->error.text, "64 bytes into its dmabuf"));
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_DMABUF_SCANOUT2], ==, 0);
	machine_finish(&machine);
}

/* ---- cursor ---- */

static void test_cursor(void)
{
	static uint32_t image[64 * 64];
	struct machine machine;
	struct guest *guest = &machine.guests[0];
	const struct frontend_scanout *scanout = &machine.frontend.scanouts[0];

	for (size_t i = 0; i < G_N_ELEMENTS(image); i++)
		image[i] = (uint32_t)i * 2654435761u;
	machine_init(&machine, 1, NULL);
	vtr_output_move_cursor(guest->output, -3, 50);
	vtr_output_set_cursor(guest->output, image, 4, 5);
	RUN_UNTIL(&machine, scanout->cursor_visible && scanout->cursor.hot_y == 5);
	g_assert_cmpmem(scanout->cursor.data, sizeof(image), image, sizeof(image));
	g_assert_cmpint((int32_t)scanout->cursor.pos.x, ==, -3);
	g_assert_cmpuint(scanout->cursor.hot_x, ==, 4);
	unsigned images = machine.frontend.requests[VHOST_USER_GPU_CURSOR_UPDATE];
	vtr_output_move_cursor(guest->output, 100, 60);
	RUN_UNTIL(&machine, scanout->cursor.pos.x == 100 && scanout->cursor.pos.y == 60);
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_CURSOR_UPDATE], ==, images);
	vtr_output_set_cursor(guest->output, NULL, 0, 0);
	RUN_UNTIL(&machine, !scanout->cursor_visible);
	machine_finish(&machine);
}

/* ---- captures ---- */

struct captured {
	unsigned answers;
	bool right;
	const struct guest *guest;
};

static void note_capture(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct captured *captured = data;
	const struct guest *guest = captured->guest;

	captured->answers++;
	if (error)
		return;
	size_t size = (size_t)picture->stride * picture->height;
	uint32_t *pixels = mmap(NULL, size, PROT_READ, MAP_SHARED, picture->fd, 0);
	g_assert_true(pixels != MAP_FAILED);
	captured->right = picture->width == guest->width && picture->height == guest->height;
	for (size_t i = 0; captured->right && i < size / 4; i++)
		captured->right = !((pixels[i] ^ guest->pixels[i]) & 0xffffff);
	munmap(pixels, size);
	close(picture->fd);
}

static const struct capture_row {
	const char *name;
	bool dmabuf, silent;
} capture_rows[] = {
	{ "pixels", false, false },
	{ "dmabuf", true, false },
	{ "pixels-silent-vmm", false, true },
	{ "dmabuf-silent-vmm", true, true },
};

static void test_capture(const void *data)
{
	const struct capture_row *row = data;
	struct machine machine;
	struct guest *guest = &machine.guests[0];
	struct captured captured = { .guest = guest };
	struct stat status;

	machine_init(&machine, 1, NULL);
	RUN_UNTIL(&machine, vtr_output_mode(guest->output).width == 640);
	if (row->dmabuf)
		guest->buffer = new_buffer(guest, &status);
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	present(guest);
	RUN_UNTIL(&machine, guest->done);
	machine.frontend.silent[VHOST_USER_GPU_GET_DISPLAY_INFO] = row->silent;
	machine.frontend.silent[VHOST_USER_GPU_DMABUF_UPDATE] = row->silent;
	for (uint32_t i = 1; i <= 3; i++) {
		draw(guest, i, i, 50, 50, i + 2);
		present(guest);
		g_assert_nonnull(vtr_output_capture(guest->output, false, note_capture, &captured));
		RUN_UNTIL(&machine, captured.answers == i);
		g_assert_true(captured.right);
	}
	g_assert_cmpint(vtr_output_demand(guest->output), ==, VTR_DEMAND_DMABUF);
	machine_finish(&machine);
}

/* ---- front-ends that are wrong, or go ---- */

struct wrong_row {
	const char *name;
	uint32_t request, flags, size;
	uint32_t sent; /* bytes of the payload; then the socket is closed when it is less than size */
	const char *says;
};
static const struct wrong_row wrong_rows[] = {
	{ "no-reply-flag", VHOST_USER_GPU_GET_DISPLAY_INFO, 0, 408, 408, "malformed" },
	{ "unknown-request", 99, VHOST_USER_GPU_REPLY, 0, 0, "malformed" },
	{ "request-0", 0, VHOST_USER_GPU_REPLY, 0, 0, "malformed" },
	{ "too-small", VHOST_USER_GPU_GET_DISPLAY_INFO, VHOST_USER_GPU_REPLY, 400, 400, "malformed" },
	{ "too-large", VHOST_USER_GPU_GET_DISPLAY_INFO, VHOST_USER_GPU_REPLY, 416, 416, "malformed" },
	{ "huge", VHOST_USER_GPU_GET_DISPLAY_INFO, VHOST_USER_GPU_REPLY, UINT32_MAX, 16, "malformed" },
	{ "beyond-largest", VHOST_USER_GPU_GET_EDID, VHOST_USER_GPU_REPLY, VMM_MAX_PAYLOAD + 1, 16, "malformed" },
	{ "not-asked-info", VHOST_USER_GPU_GET_DISPLAY_INFO, VHOST_USER_GPU_REPLY, 408, 408, "not asked" },
	{ "not-asked-features", VHOST_USER_GPU_GET_PROTOCOL_FEATURES, VHOST_USER_GPU_REPLY, 8, 8, "not asked" },
	{ "not-asked-update", VHOST_USER_GPU_DMABUF_UPDATE, VHOST_USER_GPU_REPLY, 0, 0, "not asked" },
	{ "reply-to-scanout", VHOST_USER_GPU_SCANOUT, VHOST_USER_GPU_REPLY, 0, 0, "malformed" },
	{ "end-in-payload", VHOST_USER_GPU_GET_DISPLAY_INFO, VHOST_USER_GPU_REPLY, 408, 100, "closed its display socket" },
};

/* The guest goes on headless, and is told nothing but what was true before. */
static void test_wrong(const void *data)
{
	const struct wrong_row *row = data;
	struct vhost_user_gpu_header header = { row->request, row->flags, row->size };
	g_autofree uint8_t *payload = g_malloc0(row->sent + 1);
	struct machine machine;
	struct guest *guest = &machine.guests[0];
	struct captured captured = { .guest = guest };

	machine_init(&machine, 1, NULL);
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	run_for(&machine, 30, true);
	g_assert_cmpint(write(machine.frontend.socket, &header, sizeof(header)), ==, sizeof(header));
	g_assert_cmpint(write(machine.frontend.socket, payload, row->sent), ==, row->sent);
	if (row->sent < row->size && row->size <= VMM_MAX_PAYLOAD) {
		close(machine.frontend.socket);
		machine.frontend.socket = -1;
	}
	while (*vtr_output_lost(guest->output) == '\0')
		step(&machine, false);
	g_assert_nonnull(strstr(vtr_output_lost(guest->output), row->says));
	g_assert_false(vtr_display_alive(machine.vmm));
	g_assert_true(vtr_output_connected(guest->output));
	g_assert_nonnull(vtr_output_capture(guest->output, false, note_capture, &captured));
	while (!captured.answers)
		step(&machine, false);
	g_assert_true(captured.right);
	machine_finish(&machine);
}

static void trickle(struct frontend *frontend)
{
	frontend->trickles = true;
}

static void test_trickling(void)
{
	struct machine machine;

	machine_init(&machine, 1, trickle);
	RUN_UNTIL(&machine, vtr_output_mode(machine.guests[0].output).width == 640);
	draw(&machine.guests[0], 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	machine_finish(&machine);
}

static void mute_features(struct frontend *frontend)
{
	frontend->silent[VHOST_USER_GPU_GET_PROTOCOL_FEATURES] = true;
}

/* Nothing is sent before the features are known, and the end of such a display does not wait for them. */
static void test_mute_from_the_start(void)
{
	struct machine machine;

	machine_init(&machine, 1, mute_features);
	draw(&machine.guests[0], 0, 0, WIDTH, HEIGHT, 1);
	present(&machine.guests[0]);
	g_assert_cmpuint(vtr_output_ask(machine.guests[0].output), !=, 0);
	run_for(&machine, 50, true);
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_GET_DISPLAY_INFO], ==, 0);
	g_assert_cmpuint(machine.frontend.requests[VHOST_USER_GPU_SCANOUT], ==, 0);
	machine_finish(&machine);
}

/* The VMM's console goes black when the output goes elsewhere, and gets the picture again when it comes back. */
static void test_move(void)
{
	struct machine machine;
	struct guest *guest = &machine.guests[0];

	machine_init(&machine, 1, NULL);
	draw(guest, 0, 0, WIDTH, HEIGHT, 1);
	flush(&machine, 0);
	for (uint32_t i = 0; i < 10; i++) {
		g_assert_cmpint(vtr_output_move(guest->output, machine.headless), ==, 0);
		RUN_UNTIL(&machine, !machine.frontend.scanouts[0].pixels);
		g_assert_cmpint(vtr_output_move(guest->output, machine.vmm), ==, 0);
		RUN_UNTIL(&machine, shows(&machine, 0));
	}
	machine_finish(&machine);
}

static void test_no_socket(void)
{
	struct vtr_error error = { 0 };
	int fd = memfd_create("no socket", MFD_CLOEXEC);

	g_assert_null(vtr_vmm_create(fd, &error));
	g_assert_cmpint(error.code, ==, EINVAL);
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1); /* taken */
	g_assert_null(vtr_vmm_create(-1, &error));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	vtr_log_set_level(VTR_LOG_ERROR);
	ADD_ROWS("/unit/vmm/features/", features_rows, test_features);
	g_test_add_func("/unit/vmm/monitors/several", test_monitors);
	g_test_add_func("/unit/vmm/monitors/fixed", test_fixed);
	g_test_add_func("/unit/vmm/monitors/ask", test_ask);
	g_test_add_func("/unit/vmm/monitors/ask-twice", test_ask_twice);
	g_test_add_func("/unit/vmm/monitors/late-edid", test_late_edid);
	g_test_add_func("/unit/vmm/monitors/with-frames", test_changes_with_frames);
	ADD_ROWS("/unit/vmm/damage/", format_rows, test_damage);
	ADD_ROWS("/unit/vmm/size/", size_rows, test_size);
	g_test_add_func("/unit/vmm/blank", test_blank);
	g_test_add_func("/unit/vmm/scanouts", test_scanouts);
	g_test_add_func("/unit/vmm/pacing/silence", test_silence);
	g_test_add_func("/unit/vmm/pacing/stopped", test_stopped);
	g_test_add_func("/unit/vmm/pacing/refresh", test_refresh);
	ADD_ROWS("/unit/vmm/dmabuf/", dmabuf_rows, test_dmabuf);
	g_test_add_func("/unit/vmm/dmabuf/offset", test_dmabuf_offset);
	g_test_add_func("/unit/vmm/cursor", test_cursor);
	ADD_ROWS("/unit/vmm/capture/", capture_rows, test_capture);
	ADD_ROWS("/unit/vmm/wrong/", wrong_rows, test_wrong);
	g_test_add_func("/unit/vmm/trickling", test_trickling);
	g_test_add_func("/unit/vmm/mute-from-the-start", test_mute_from_the_start);
	g_test_add_func("/unit/vmm/move", test_move);
	g_test_add_func("/unit/vmm/no-socket", test_no_socket);
	return g_test_run();
}
