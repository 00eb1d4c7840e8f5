/* SPDX-License-Identifier: MIT */
/*
 * What a compositor makes of the guest's buffers, seen from outside: weston's own screenshots, in every pixel. The kit's weston
 * takes the memfds that stand for dmabufs here. Its kiosk shell gives each window the whole screen of 1280x800.
 *
 * Environment: VITRINE_TEST_SCREENSHOOTER and VITRINE_TEST_COMPOSITOR (a process id), from run_in_desktop.py.
 */
#include <png.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <vitrine/limits.h>

#include "rows.h"
#include "window_scanout.h"

enum { SCREEN_WIDTH = 1280, SCREEN_HEIGHT = 800 };

static const uint64_t patience_ns = UINT64_C(30000000000);

/* ---- screenshots ---- */

static char *newest_picture(const char *directory)
{
	g_autoptr(GDir) files = g_dir_open(directory, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(files)))
		if (g_str_has_suffix(name, ".png"))
			return g_build_filename(directory, name, NULL);
	return NULL;
}

/* 0xRRGGBB of the whole screen. */
static uint32_t *take_screenshot(void)
{
	g_autofree char *directory = g_dir_make_tmp("vitrine-screen-XXXXXX", NULL);
	char *command[] = { (char *)g_getenv("VITRINE_TEST_SCREENSHOOTER"), NULL };
	g_autoptr(GError) error = NULL;
	png_image image = { .version = PNG_IMAGE_VERSION };
	int status;

	if (!g_spawn_sync(directory, command, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, NULL, &status, &error))
		g_error("%s", error->message);
	g_assert_cmpint(status, ==, 0);
	g_autofree char *path = newest_picture(directory);
	g_assert_cmpint(png_image_begin_read_from_file(&image, path), !=, 0);
	g_assert_cmpuint(image.width, ==, SCREEN_WIDTH);
	g_assert_cmpuint(image.height, ==, SCREEN_HEIGHT);
	image.format = PNG_FORMAT_BGRA;
	uint32_t *pixels = g_malloc(PNG_IMAGE_SIZE(image));
	g_assert_cmpint(png_image_finish_read(&image, NULL, pixels, 0, NULL), !=, 0);
	unlink(path);
	rmdir(directory);
	return pixels;
}

/* The guest's cursor above its picture: everywhere CURSOR_COLOR where visible. */
struct cursor {
	bool visible;
	int32_t x, y; /* of VTR_CURSOR_SIZE pixels */
};

enum { CURSOR_COLOR = 0xff8020 };

static bool covers(const struct cursor *cursor, uint32_t x, uint32_t y)
{
	int64_t right = (int64_t)x - cursor->x, down = (int64_t)y - cursor->y;

	return cursor->visible && right >= 0 && right < VTR_CURSOR_SIZE && down >= 0 && down < VTR_CURSOR_SIZE;
}

/* The first pixel that is not the scanout's picture, with its cursor, in the middle of black, or -1. */
static int first_wrong(const uint32_t *screen, const struct scanout *scanout, const struct cursor *cursor, uint32_t *expected)
{
	uint32_t left = (SCREEN_WIDTH - scanout->width) / 2, top = (SCREEN_HEIGHT - scanout->height) / 2;

	for (int i = 0; i < SCREEN_WIDTH * SCREEN_HEIGHT; i++) {
		uint32_t x = (uint32_t)i % SCREEN_WIDTH - left, y = (uint32_t)i / SCREEN_WIDTH - top;
		bool inside = x < scanout->width && y < scanout->height;

		*expected = inside ? scanout_color(x, y, scanout->seed) : 0;
		if (inside && covers(cursor, x, y))
			*expected = CURSOR_COLOR;
		if ((screen[i] & 0xffffff) != *expected)
			return i;
	}
	return -1;
}

static const struct cursor no_cursor = { 0 };

/* The screen shows the scanout's picture with its cursor, soon: a compositor draws when it likes. */
static void check_screen_with(const struct scanout *scanout, const struct cursor *cursor)
{
	uint64_t end = vtr_now_ns() + patience_ns;
	uint32_t expected;

	for (;;) {
		g_autofree uint32_t *screen = take_screenshot();
		int wrong = first_wrong(screen, scanout, cursor, &expected);

		if (wrong < 0)
			return;
		if (vtr_now_ns() > end)
			g_error("pixel %d,%d of the screen is %06x, not %06x", wrong % SCREEN_WIDTH, wrong / SCREEN_WIDTH,
			        screen[wrong] & 0xffffff, expected);
	}
}

static void check_screen(const struct scanout *scanout)
{
	check_screen_with(scanout, &no_cursor);
}

/* ---- pictures ---- */

static void start(struct scanout *scanout, uint32_t width, uint32_t height)
{
	struct vtr_window_options options = { .guest = "test" };
	struct vtr_error error = { 0 };
	struct vtr_display *display = vtr_wayland_create(NULL, &options, &error);

	if (!display)
		g_error("%s", error.text);
	scanout_init(scanout, display, width, height);
	scanout_run_until(scanout, &scanout->needed, 1);
}

static const struct layout {
	const char *name;
	uint32_t width, height, format, stride;
	uint64_t offset;
	bool no_dmabuf, tight;
} layouts[] = {
	{ "dmabuf", 1280, 800, DRM_FORMAT_XRGB8888, 5120, 0 },
	{ "dmabuf/alpha", 1280, 800, DRM_FORMAT_ARGB8888, 5120, 0 },
	{ "dmabuf/bgr", 1280, 800, DRM_FORMAT_XBGR8888, 5120, 0 },
	{ "dmabuf/offset", 1280, 800, DRM_FORMAT_XRGB8888, 5120, 8192 },
	{ "dmabuf/stride", 1280, 800, DRM_FORMAT_XRGB8888, 8192, 0 },
	{ "dmabuf/offset-and-stride", 1280, 800, DRM_FORMAT_XRGB8888, 5376, 4096 },
	{ "dmabuf/bars-above-and-below", 1280, 600, DRM_FORMAT_XRGB8888, 5120, 0 },
	{ "dmabuf/bars-at-the-sides", 1000, 800, DRM_FORMAT_XRGB8888, 4000, 0 },
	{ "dmabuf/right-half", 1280, 800, DRM_FORMAT_XRGB8888, 10240, 5120, false, true },
	{ "pixels", 1280, 800, DRM_FORMAT_XRGB8888, 5120, 0, true },
	{ "pixels/r8g8b8x8", 1280, 800, DRM_FORMAT_XBGR8888, 5120, 0, true },
	{ "pixels/a8r8g8b8", 1280, 600, DRM_FORMAT_BGRA8888, 8192, 4096, true },
};

static void test_layout(const void *data)
{
	const struct layout *layout = data;
	struct scanout scanout;

	start(&scanout, layout->width, layout->height);
	scanout.format = layout->format;
	scanout.stride = layout->stride;
	scanout.offset = layout->offset;
	scanout.no_dmabuf = layout->no_dmabuf;
	scanout.tight = layout->tight;
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 3);
	scanout_show(&scanout);
	g_assert_cmpuint(scanout.import_failed, ==, 0);
	check_screen(&scanout);
	/* in the same memory: the compositor reads it, and no copy */
	scanout_draw(&scanout, 4);
	scanout_show(&scanout);
	check_screen(&scanout);
	scanout_finish(&scanout);
}

/* Blank, and back: black has no picture's remains, and a size of its own. */
static void test_blank(void)
{
	struct scanout scanout;
	uint32_t expected;

	start(&scanout, 1280, 800);
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 1);
	scanout_show(&scanout);
	struct vtr_frame *frame = vtr_output_begin_frame(scanout.output);
	frame->content = VTR_FRAME_BLANK;
	vtr_output_submit(scanout.output, frame);
	scanout_run_until(&scanout, &scanout.done, scanout.done + 1);
	struct scanout nothing = { 0 };
	g_autofree uint32_t *screen = take_screenshot();
	g_assert_cmpint(first_wrong(screen, &nothing, &no_cursor, &expected), ==, -1);
	scanout_show(&scanout);
	check_screen(&scanout);
	scanout_finish(&scanout);
}

/* A guest without the tablet, or any input: its cursor is where it says, and not over the bars. */
static void test_cursor(void)
{
	static const struct cursor places[] = { { true, 100, 100 }, { true, 0, 0 }, { true, -20, 780 }, { true, 970, -63 } };
	uint32_t image[VTR_CURSOR_SIZE * VTR_CURSOR_SIZE];
	struct scanout scanout;

	start(&scanout, 1000, 800);
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 1);
	scanout_show(&scanout);
	for (size_t i = 0; i < G_N_ELEMENTS(image); i++)
		image[i] = 0xff000000u | CURSOR_COLOR;
	vtr_output_set_cursor(scanout.output, image, 3, 3);
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		vtr_output_move_cursor(scanout.output, places[i].x, places[i].y);
		check_screen_with(&scanout, &places[i]);
	}
	vtr_output_move_cursor(scanout.output, 1000, 0); /* just outside */
	check_screen(&scanout);
	vtr_output_move_cursor(scanout.output, 500, 300);
	check_screen_with(&scanout, &(struct cursor){ true, 500, 300 });
	vtr_output_set_cursor(scanout.output, NULL, 0, 0);
	check_screen(&scanout);
	scanout_finish(&scanout);
}

/* ---- a compositor that is stopped ---- */

/* What a person does, as weston_seat.c says. */
static void act(const char *what)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/seat", g_getenv("XDG_RUNTIME_DIR"));
	g_assert_cmpint(sendto(fd, what, strlen(what), 0, (struct sockaddr *)&address, sizeof(address)), >, 0);
	close(fd);
}

/* The guest's frames are taken and dropped, captures answered, the cursor changed a thousand times, and nothing waits or breaks;
 * when the compositor goes on it shows the newest picture. */
static void test_stopped(void)
{
	GPid compositor = (GPid)g_ascii_strtoll(g_getenv("VITRINE_TEST_COMPOSITOR"), NULL, 10);
	struct vtr_window_options options = { .guest = "test" };
	uint32_t cursor[64 * 64] = { 0 };
	struct vtr_error error;
	struct scanout scanout;

	start(&scanout, 1280, 800);
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 1);
	scanout_show(&scanout);
	act("move 600 400");
	check_screen(&scanout);
	g_assert_cmpint(kill(compositor, SIGSTOP), ==, 0);
	for (uint32_t i = 0; i < 1000; i++) {
		unsigned done = scanout.done;

		for (int j = 0; j < 3; j++) /* one is committed, perhaps, one dropped, and one waits */
			scanout_present_all(&scanout);
		scanout_run_until(&scanout, &scanout.done, done + 1);
		cursor[i] = i;
		vtr_output_set_cursor(scanout.output, i % 2 ? cursor : NULL, 0, 0);
	}
	vtr_output_set_cursor(scanout.output, NULL, 0, 0);
	g_assert_null(vtr_wayland_create(NULL, &options, &error));
	g_assert_nonnull(strstr(error.text, "does not answer"));
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 2);
	scanout_present_all(&scanout);
	g_assert_true(vtr_display_alive(scanout.display));
	g_assert_cmpint(kill(compositor, SIGCONT), ==, 0);
	check_screen(&scanout);
	g_assert_true(vtr_display_alive(scanout.display));
	scanout_finish(&scanout);
}

/* The display ends while the compositor is stopped. */
static void test_ended_while_stopped(void)
{
	GPid compositor = (GPid)g_ascii_strtoll(g_getenv("VITRINE_TEST_COMPOSITOR"), NULL, 10);
	struct scanout scanout;

	start(&scanout, 1280, 800);
	scanout_new_buffer(&scanout, 0);
	scanout_show(&scanout);
	g_assert_cmpint(kill(compositor, SIGSTOP), ==, 0);
	scanout_present_all(&scanout);
	scanout_finish(&scanout);
	g_assert_cmpint(kill(compositor, SIGCONT), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/weston/", layouts, test_layout);
	g_test_add_func("/weston/blank", test_blank);
	g_test_add_func("/weston/cursor", test_cursor);
	g_test_add_func("/weston/stopped", test_stopped);
	g_test_add_func("/weston/ended-while-stopped", test_ended_while_stopped);
	return g_test_run();
}
