/* SPDX-License-Identifier: MIT */
/*
 * Displays with windows on a real desktop, their own pictures compared pixel by pixel.
 *
 *     test_windows KIND    sdl, sdl=software or wayland
 *
 * What a compositor makes of them is looked at from outside (test_desktop.py).
 */
#include <errno.h>

#include "rows.h"
#include "window_scanout.h"

enum { WIDTH = 320, HEIGHT = 200 };

static const char *kind;

static struct vtr_display *create_display(void)
{
	struct vtr_window_options options = { .guest = "test" };
	struct vtr_error error = { 0 };
	struct vtr_display *display;

	options.renderer = strcmp(kind, "sdl=software") ? VTR_RENDERER_AUTO : VTR_RENDERER_SOFTWARE;
	display = strcmp(kind, "wayland") ? vtr_sdl_create(&options, &error) : vtr_wayland_create(NULL, &options, &error);
	if (!display)
		g_error("%s", error.text);
	return display;
}

static void start(struct scanout *scanout)
{
	scanout_init(scanout, create_display(), WIDTH, HEIGHT);
	scanout_run_until(scanout, &scanout->needed, 1); /* the window is there and wants pictures */
}

static bool imports(void)
{
	return strcmp(kind, "sdl=software") != 0 && !g_getenv("VITRINE_TEST_NO_IMPORT");
}

/* ---- what the window shows ---- */

struct answer {
	unsigned calls;
	struct vtr_picture picture;
	uint32_t *pixels;
};

static void answered(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct answer *answer = data;

	answer->calls++;
	if (error)
		g_error("%s", error->text);
	answer->picture = *picture;
	answer->pixels = mmap(NULL, (size_t)picture->stride * picture->height, PROT_READ, MAP_SHARED, picture->fd, 0);
	g_assert_true(answer->pixels != MAP_FAILED);
	close(picture->fd);
}

static void take_picture(struct scanout *scanout, struct answer *answer)
{
	*answer = (struct answer){ 0 };
	g_assert_nonnull(vtr_output_capture(scanout->output, false, answered, answer));
	scanout_run_until(scanout, &answer->calls, 1);
}

static uint32_t pixel(const struct answer *answer, uint32_t x, uint32_t y)
{
	return answer->pixels[(size_t)y * answer->picture.stride / 4 + x] & 0xffffff;
}

static void answer_finish(struct answer *answer)
{
	munmap(answer->pixels, (size_t)answer->picture.stride * answer->picture.height);
}

static void check_picture(struct scanout *scanout, uint32_t seed)
{
	struct answer answer;

	take_picture(scanout, &answer);
	g_assert_cmpuint(answer.picture.width, ==, scanout->width);
	g_assert_cmpuint(answer.picture.height, ==, scanout->height);
	for (uint32_t y = 0; y < scanout->height; y++)
		for (uint32_t x = 0; x < scanout->width; x++)
			if (pixel(&answer, x, y) != scanout_color(x, y, seed))
				g_error("pixel %u,%u is %06x, not %06x", x, y, pixel(&answer, x, y), scanout_color(x, y, seed));
	answer_finish(&answer);
}

/* ---- layouts, from memory and as pixels ---- */

static const struct layout {
	const char *name;
	uint32_t format, stride;
	uint64_t offset;
	bool no_dmabuf;
	bool tight;
	bool refused; /* by the Wayland protocol alone */
	bool flipped;
} layouts[] = {
	{ "pixels/b8g8r8x8", DRM_FORMAT_XRGB8888, WIDTH * 4, 0, true },
	{ "pixels/b8g8r8a8", DRM_FORMAT_ARGB8888, WIDTH * 4, 0, true },
	{ "pixels/r8g8b8x8", DRM_FORMAT_XBGR8888, WIDTH * 4, 0, true },
	{ "pixels/r8g8b8a8", DRM_FORMAT_ABGR8888, WIDTH * 4, 0, true },
	{ "pixels/x8b8g8r8", DRM_FORMAT_RGBX8888, WIDTH * 4, 0, true },
	{ "pixels/a8b8g8r8", DRM_FORMAT_RGBA8888, WIDTH * 4, 0, true },
	{ "pixels/x8r8g8b8", DRM_FORMAT_BGRX8888, WIDTH * 4, 0, true },
	{ "pixels/a8r8g8b8", DRM_FORMAT_BGRA8888, WIDTH * 4, 0, true },
	{ "pixels/stride", DRM_FORMAT_XRGB8888, 2048, 0, true },
	{ "dmabuf/b8g8r8x8", DRM_FORMAT_XRGB8888, WIDTH * 4, 0, false },
	{ "dmabuf/b8g8r8a8", DRM_FORMAT_ARGB8888, WIDTH * 4, 0, false },
	{ "dmabuf/r8g8b8x8", DRM_FORMAT_XBGR8888, WIDTH * 4, 0, false },
	{ "dmabuf/r8g8b8a8", DRM_FORMAT_ABGR8888, WIDTH * 4, 0, false },
	{ "dmabuf/offset", DRM_FORMAT_XRGB8888, WIDTH * 4, 8192, false },
	{ "dmabuf/stride", DRM_FORMAT_XRGB8888, 2048, 0, false },
	{ "dmabuf/offset-and-stride", DRM_FORMAT_ARGB8888, 1536, 4096, false },
	/* the right half of a larger picture that ends with its memory; and one whose last row is cut off */
	{ "dmabuf/right-half", DRM_FORMAT_XRGB8888, WIDTH * 8, WIDTH * 4, false, true },
	{ "dmabuf/flipped", DRM_FORMAT_XRGB8888, WIDTH * 4, 0, .flipped = true },
	{ "dmabuf/flipped-stride", DRM_FORMAT_ARGB8888, 2048, 4096, .flipped = true },
	{ "dmabuf/cut", DRM_FORMAT_XRGB8888, 2048, 0, false, true, true },
	/* no driver here takes it: falls to pixels */
	{ "dmabuf/a8r8g8b8", DRM_FORMAT_BGRA8888, WIDTH * 4, 0, false },
};

static void test_layout(const void *data)
{
	const struct layout *layout = data;
	struct scanout scanout;

	start(&scanout);
	scanout.format = layout->format;
	scanout.stride = layout->stride;
	scanout.offset = layout->offset;
	scanout.no_dmabuf = layout->no_dmabuf;
	scanout.tight = layout->tight;
	scanout.flipped = layout->flipped;
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 7);
	scanout_show(&scanout);
	g_assert_cmpuint(scanout.import_failed, ==, layout->refused && !strcmp(kind, "wayland") ? 1 : 0);
	check_picture(&scanout, 7);
	scanout_finish(&scanout);
}

/* ---- damage ---- */

/* Only what is damaged is read: the rest of the memory has changed, too, and does not show. */
static void test_damage(void)
{
	struct scanout scanout;
	struct answer answer;
	pixman_region32_t damage;

	start(&scanout);
	scanout.no_dmabuf = true;
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 1);
	scanout_show(&scanout);
	scanout_settle(&scanout);
	scanout_show(&scanout);
	scanout.nothing_new = true;
	pixman_region32_init_rect(&damage, 10, 20, 30, 40);
	pixman_region32_union_rect(&damage, &damage, 300, 190, 20, 10);
	scanout_draw(&scanout, 2);
	scanout_present(&scanout, &damage);
	scanout_run_until(&scanout, &scanout.done, scanout.done + 1);
	take_picture(&scanout, &answer);
	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++) {
			uint32_t seed = pixman_region32_contains_point(&damage, x, y, NULL) ? 2 : 1;

			g_assert_cmphex(pixel(&answer, (uint32_t)x, (uint32_t)y), ==,
			                scanout_color((uint32_t)x, (uint32_t)y, seed));
		}
	answer_finish(&answer);
	pixman_region32_fini(&damage);
	scanout_finish(&scanout);
}

/* ---- refusals ---- */

static void test_undersized(void)
{
	struct scanout scanout;

	start(&scanout);
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 3);
	scanout_show(&scanout);
	g_assert_cmpuint(scanout.import_failed, ==, 0);

	scanout_new_buffer(&scanout, 1);
	scanout_draw(&scanout, 4);
	scanout_show(&scanout);
	g_assert_cmpuint(scanout.import_failed, ==, imports() ? 1 : 0);
	if (imports())
		g_assert_nonnull(strstr(scanout.error.text, "the picture ends 256000 bytes"));
	check_picture(&scanout, 4);
	scanout_finish(&scanout);
}

static void test_tiled(void)
{
	struct scanout scanout;
	struct vtr_error error = { 0 };

	start(&scanout);
	g_assert_false(vtr_output_accepts(scanout.output, DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
	g_assert_cmpuint(vtr_output_accepts(scanout.output, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, &error), ==, imports());
	scanout_finish(&scanout);
}

/* ---- many frames ---- */

/* A guest that flips between three buffers: each frame is answered once, the last one shows. */
static void test_flips(void)
{
	struct scanout scanout;
	struct vtr_buffer *buffers[3];
	uint8_t *memories[3];

	start(&scanout);
	for (uint32_t i = 0; i < 3; i++) {
		scanout.buffer = NULL;
		scanout.memory = NULL;
		scanout_new_buffer(&scanout, 0);
		scanout_draw(&scanout, i);
		buffers[i] = scanout.buffer;
		memories[i] = scanout.memory;
	}
	for (uint32_t i = 0; i < 60; i++) {
		scanout.buffer = buffers[i % 3];
		scanout.memory = memories[i % 3];
		scanout_show(&scanout);
	}
	g_assert_cmpuint(scanout.import_failed, ==, 0);
	check_picture(&scanout, 59 % 3);
	for (uint32_t i = 0; i < 3; i++)
		if (i != 59 % 3) {
			vtr_buffer_drop(buffers[i]);
			munmap(memories[i], scanout.size);
		}
	scanout_finish(&scanout);
}

/* A guest that draws into the one buffer it has. */
static void test_in_place(void)
{
	struct scanout scanout;

	start(&scanout);
	scanout_new_buffer(&scanout, 0);
	for (uint32_t seed = 0; seed < 5; seed++) {
		scanout_draw(&scanout, seed);
		scanout_show(&scanout);
		check_picture(&scanout, seed);
	}
	scanout_finish(&scanout);
}

/* A guest that does not wait: frames may be dropped, and each is answered. */
static void test_burst(void)
{
	struct scanout scanout;

	start(&scanout);
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 9);
	for (int i = 0; i < 200; i++)
		scanout_present_all(&scanout);
	scanout_run_until(&scanout, &scanout.done, 200);
	check_picture(&scanout, 9);
	scanout_finish(&scanout);
}

static void test_resize(void)
{
	static const uint32_t sizes[][2] = { { 640, 480 }, { 33, 17 }, { 1024, 768 }, { WIDTH, HEIGHT } };
	struct scanout scanout;

	start(&scanout);
	for (uint32_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		if (scanout.memory)
			munmap(scanout.memory, scanout.size);
		scanout.memory = NULL;
		scanout.width = sizes[i][0];
		scanout.height = sizes[i][1];
		scanout.stride = scanout.width * 4;
		scanout_new_buffer(&scanout, 0);
		scanout_draw(&scanout, i);
		scanout_show(&scanout);
		check_picture(&scanout, i);
	}
	scanout_finish(&scanout);
}

/* The guest shows nothing: black, of the output's size. */
static void test_blank(void)
{
	struct scanout scanout;
	struct answer answer;

	start(&scanout);
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 1);
	scanout_show(&scanout);
	struct vtr_frame *frame = vtr_output_begin_frame(scanout.output);
	frame->content = VTR_FRAME_BLANK;
	vtr_output_submit(scanout.output, frame);
	scanout_run_until(&scanout, &scanout.done, scanout.done + 1);
	munmap(scanout.memory, scanout.size);
	scanout.memory = NULL;
	take_picture(&scanout, &answer);
	g_assert_cmpuint(answer.picture.width, ==, WIDTH);
	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++)
			g_assert_cmphex(pixel(&answer, x, y), ==, 0);
	answer_finish(&answer);
	scanout_finish(&scanout);
}

/* To headless and back: the picture is there at once. */
static void test_move(void)
{
	struct scanout scanout;
	struct vtr_display *headless = vtr_headless_create(), *window;

	start(&scanout);
	window = scanout.display;
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 5);
	scanout_show(&scanout);
	for (int i = 0; i < 3; i++) {
		g_assert_cmpint(vtr_output_move(scanout.output, headless), ==, 0);
		check_picture(&scanout, 5);
		g_assert_cmpint(vtr_output_move(scanout.output, window), ==, 0);
		check_picture(&scanout, 5);
	}
	vtr_display_destroy(headless);
	scanout_finish(&scanout);
}

static void test_two_windows(void)
{
	struct vtr_mode mode = { 200, 100, 60000 };
	struct scanout scanout;

	start(&scanout);
	g_assert_nonnull(vtr_outputs_add(scanout.outputs, scanout.display, &mode, "second"));
	scanout_new_buffer(&scanout, 0);
	scanout_draw(&scanout, 5);
	scanout_present_all(&scanout);
	check_picture(&scanout, 5); /* also when the second window hides the first, whose frame is then not called back */
	scanout_finish(&scanout);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (argc != 2)
		g_error("usage: test_windows sdl|sdl=software|wayland");
	kind = argv[1];
	ADD_ROWS("/windows/", layouts, test_layout);
	g_test_add_func("/windows/damage", test_damage);
	g_test_add_func("/windows/undersized", test_undersized);
	g_test_add_func("/windows/tiled", test_tiled);
	g_test_add_func("/windows/flips", test_flips);
	g_test_add_func("/windows/in-place", test_in_place);
	g_test_add_func("/windows/burst", test_burst);
	g_test_add_func("/windows/resize", test_resize);
	g_test_add_func("/windows/blank", test_blank);
	g_test_add_func("/windows/move", test_move);
	g_test_add_func("/windows/two-windows", test_two_windows);
	return g_test_run();
}
