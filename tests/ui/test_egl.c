/* SPDX-License-Identifier: MIT */
/*
 * ui/egl on Mesa's software renderer, without a window: dmabufs (memfds, which this renderer takes) and pixels as textures, drawn
 * into a framebuffer that is read back. Every pixel is computed.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "display/display.h"
#include "egl/egl.h"
#include "egl_software.h"
#include "rows.h"

enum { WIDTH = 61, HEIGHT = 37 }; /* of pictures: nothing is a power of two */

static struct vtr_egl_caps caps;
static struct vtr_egl_painter painter;
static EGLContext context;

/* ---- set-up ---- */

static bool set_up(void)
{
	static const EGLint attributes[] = { EGL_CONTEXT_CLIENT_VERSION, 2, EGL_NONE };
	struct vtr_error error = { 0 };
	EGLDisplay display = software_display();

	if (!eglInitialize(display, NULL, NULL) || !eglBindAPI(EGL_OPENGL_ES_API))
		return false;
	context = eglCreateContext(display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, attributes);
	if (!eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context))
		return false;
	vtr_egl_caps_init(&caps);
	if (vtr_egl_painter_init(&painter, &caps, &error) < 0)
		g_error("%s", error.text);
	return true;
}

/* ---- a window that can be read ---- */

struct window {
	GLuint framebuffer, texture;
	uint32_t width, height;
};

static struct window open_window(uint32_t width, uint32_t height)
{
	struct window window = { .width = width, .height = height };

	glGenTextures(1, &window.texture);
	glBindTexture(GL_TEXTURE_2D, window.texture);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, (GLsizei)width, (GLsizei)height, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
	glGenFramebuffers(1, &window.framebuffer);
	glBindFramebuffer(GL_FRAMEBUFFER, window.framebuffer);
	glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, window.texture, 0);
	g_assert_cmpuint(glCheckFramebufferStatus(GL_FRAMEBUFFER), ==, GL_FRAMEBUFFER_COMPLETE);
	vtr_egl_paint_clear(width, height);
	return window;
}

static void close_window(struct window *window)
{
	glDeleteFramebuffers(1, &window->framebuffer);
	glDeleteTextures(1, &window->texture);
}

/* 0xRRGGBB, from the top. */
static uint32_t *read_window(const struct window *window)
{
	g_autofree uint8_t *bytes = g_malloc((size_t)window->width * window->height * 4);
	uint32_t *pixels = g_new(uint32_t, (size_t)window->width * window->height);

	glReadPixels(0, 0, (GLsizei)window->width, (GLsizei)window->height, GL_RGBA, GL_UNSIGNED_BYTE, bytes);
	for (uint32_t y = 0; y < window->height; y++)
		for (uint32_t x = 0; x < window->width; x++) {
			const uint8_t *from = bytes + ((size_t)(window->height - 1 - y) * window->width + x) * 4;

			pixels[(size_t)y * window->width + x] = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
		}
	return pixels;
}

/* ---- pictures ---- */

static uint32_t color(uint32_t x, uint32_t y, uint32_t seed)
{
	return (x * 4 + seed) % 256 << 16 | (y * 6 + seed) % 256 << 8 | (x * 7 + y * 3 + seed) % 256;
}

static void put_pixel(uint8_t *to, uint32_t fourcc, uint32_t rgb)
{
	const struct vtr_egl_channels *channels = vtr_egl_channels_of(fourcc);

	memset(to, 0x5a, 4); /* what stands in x or alpha must not matter */
	to[channels->red] = (uint8_t)(rgb >> 16);
	to[channels->green] = (uint8_t)(rgb >> 8);
	to[channels->blue] = (uint8_t)rgb;
}

static void draw_picture(uint8_t *to, uint32_t stride, uint32_t fourcc, uint32_t seed)
{
	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++)
			put_pixel(to + (size_t)y * stride + (size_t)x * 4, fourcc, color(x, y, seed));
}

/* The window holds picture number seed at (left, top), each pixel `times` large, and black around it. */
static void check_window(const struct window *window, int left, int top, int times, uint32_t seed)
{
	g_autofree uint32_t *pixels = read_window(window);

	for (int y = 0; y < (int)window->height; y++)
		for (int x = 0; x < (int)window->width; x++) {
			bool inside = x >= left && y >= top && x < left + WIDTH * times && y < top + HEIGHT * times;
			uint32_t expected = inside ? color((uint32_t)((x - left) / times), (uint32_t)((y - top) / times), seed) : 0;
			uint32_t got = pixels[(size_t)y * window->width + (size_t)x];

			if (got != expected)
				g_error("pixel %d,%d is %06x, not %06x", x, y, got, expected);
		}
}

/* ---- imports ---- */

struct layout {
	const char *name;
	uint32_t fourcc;
	uint64_t offset;
	uint32_t stride;
	uint64_t modifier;
	int missing;         /* bytes that the dmabuf is short */
	const char *refusal; /* part of the error text; NULL: it is shown */
};

static const struct layout layouts[] = {
	{ "xrgb8888", DRM_FORMAT_XRGB8888, 0, WIDTH * 4, 0, 0, NULL },
	{ "argb8888", DRM_FORMAT_ARGB8888, 0, WIDTH * 4, 0, 0, NULL },
	{ "xbgr8888", DRM_FORMAT_XBGR8888, 0, WIDTH * 4, 0, 0, NULL },
	{ "abgr8888", DRM_FORMAT_ABGR8888, 0, WIDTH * 4, 0, 0, NULL },
	{ "offset", DRM_FORMAT_XRGB8888, 4096, WIDTH * 4, 0, 0, NULL },
	{ "offset-within-a-page", DRM_FORMAT_XRGB8888, 256, WIDTH * 4, 0, 0, NULL },
	{ "stride", DRM_FORMAT_XRGB8888, 0, 512, 0, 0, NULL },
	{ "offset-and-stride", DRM_FORMAT_ARGB8888, 8192, 320, 0, 0, NULL },
	{ "one-byte-short", DRM_FORMAT_XRGB8888, 0, WIDTH * 4, 0, 1, "the dmabuf has 9027 bytes, the picture ends 9028" },
	{ "offset-beyond-int", DRM_FORMAT_XRGB8888, UINT64_C(1) << 31, WIDTH * 4, 0, 0,
	  "EGL cannot express an offset of 2147483648" },
	{ "stride-too-small", DRM_FORMAT_XRGB8888, 0, WIDTH * 4 - 4, 0, 0, "a stride of 240" },
	{ "tiled", DRM_FORMAT_XRGB8888, 0, WIDTH * 4, I915_FORMAT_MOD_X_TILED, 0, "does not import a dmabuf of 61x37 XR24" },
};

static struct vtr_frame frame_of(const struct layout *layout, uint32_t seed)
{
	size_t end = layout->offset + (size_t)layout->stride * (HEIGHT - 1) + WIDTH * 4;
	size_t size = layout->offset > INT32_MAX ? 4096 : end - (size_t)layout->missing;
	int fd = memfd_create("test_egl", MFD_CLOEXEC);
	g_autofree uint8_t *bytes = g_malloc0(end > size * 2 ? size : end);

	if (layout->offset <= INT32_MAX && layout->stride >= WIDTH * 4)
		draw_picture(bytes + layout->offset, layout->stride, layout->fourcc, seed);
	g_assert_cmpint(write(fd, bytes, size), ==, (ssize_t)size);
	return (struct vtr_frame){
		.content = VTR_FRAME_BUFFER,
		.width = WIDTH,
		.height = HEIGHT,
		.format = layout->fourcc,
		.buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, size),
		.offset = layout->offset,
		.modifier = layout->modifier,
		.stride = layout->stride,
	};
}

static void paint_import(const struct vtr_egl_import *import, const struct window *window, double x, double y)
{
	struct vtr_egl_picture picture = { .texture = import->texture, .target = import->target, .opaque = true };

	vtr_egl_paint(&painter, &picture, window->width, window->height, x, y, WIDTH, HEIGHT);
}

static void test_import(const void *data)
{
	const struct layout *layout = data;
	struct vtr_egl_imports imports = { 0 };
	struct vtr_frame frame = frame_of(layout, 5);
	struct window window = open_window(WIDTH + 9, HEIGHT + 4);
	struct vtr_error error = { 0 };
	const struct vtr_egl_import *import = vtr_egl_import_frame(&imports, &caps, &frame, &error);

	if (layout->refusal) {
		g_assert_null(import);
		g_assert_nonnull(strstr(error.text, layout->refusal));
	} else {
		g_assert_nonnull(import);
		paint_import(import, &window, 5, 3);
		check_window(&window, 5, 3, 1, 5);
	}
	vtr_egl_imports_clear(&imports, &caps, NULL);
	vtr_buffer_drop(frame.buffer);
	close_window(&window);
}

/* What is drawn into a buffer later shows without a new import. */
static void test_import_is_the_memory(void)
{
	struct vtr_egl_imports imports = { 0 };
	struct vtr_frame frame = frame_of(&layouts[0], 1);
	struct window window = open_window(WIDTH, HEIGHT);
	struct vtr_error error;
	const struct vtr_egl_import *import = vtr_egl_import_frame(&imports, &caps, &frame, &error);
	uint8_t *bytes = mmap(NULL, WIDTH * HEIGHT * 4, PROT_READ | PROT_WRITE, MAP_SHARED, vtr_buffer_fd(frame.buffer), 0);

	g_assert_true(bytes != MAP_FAILED);
	draw_picture(bytes, WIDTH * 4, DRM_FORMAT_XRGB8888, 77);
	g_assert_true(vtr_egl_import_frame(&imports, &caps, &frame, &error) == import);
	paint_import(import, &window, 0, 0);
	check_window(&window, 0, 0, 1, 77);
	munmap(bytes, WIDTH * HEIGHT * 4);
	vtr_egl_imports_clear(&imports, &caps, NULL);
	vtr_buffer_drop(frame.buffer);
	close_window(&window);
}

/* One more buffer than the cache has room for, twice round: the oldest goes, what is shown is always right. */
static void test_import_cache(void)
{
	struct vtr_egl_imports imports = { 0 };
	struct vtr_frame frames[VTR_EGL_IMPORTS + 1];
	struct window window = open_window(WIDTH, HEIGHT);
	struct vtr_error error;

	for (uint32_t i = 0; i < G_N_ELEMENTS(frames); i++)
		frames[i] = frame_of(&layouts[i % 4], i);
	for (uint32_t i = 0; i < 2 * G_N_ELEMENTS(frames); i++) {
		uint32_t which = i % G_N_ELEMENTS(frames);
		const struct vtr_egl_import *import = vtr_egl_import_frame(&imports, &caps, &frames[which], &error);

		g_assert_nonnull(import);
		paint_import(import, &window, 0, 0);
		check_window(&window, 0, 0, 1, which);
	}
	vtr_egl_imports_clear(&imports, &caps, &imports.items[3]);
	size_t kept = 0;
	for (size_t i = 0; i < VTR_EGL_IMPORTS; i++)
		kept += imports.items[i].buffer != 0;
	g_assert_cmpuint(kept, ==, 1);
	g_assert_cmpuint(imports.items[3].buffer, !=, 0);
	vtr_egl_imports_clear(&imports, &caps, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(frames); i++)
		vtr_buffer_drop(frames[i].buffer);
	close_window(&window);
}

/* The same buffer in another layout is another import. */
static void test_import_layouts_of_one_buffer(void)
{
	struct vtr_egl_imports imports = { 0 };
	struct vtr_frame frame = frame_of(&layouts[0], 1), turned = frame;
	struct vtr_error error;
	const struct vtr_egl_import *import = vtr_egl_import_frame(&imports, &caps, &frame, &error);

	turned.height = HEIGHT - 1;
	g_assert_true(vtr_egl_import_frame(&imports, &caps, &turned, &error) != import);
	vtr_egl_imports_clear(&imports, &caps, NULL);
	vtr_buffer_drop(frame.buffer);
}

static bool named_modifier; /* by the last import */
static PFNEGLCREATEIMAGEKHRPROC real_create_image;

static EGLImageKHR create_image(EGLDisplay display, EGLContext some_context, EGLenum target, EGLClientBuffer buffer,
                                const EGLint *attributes)
{
	named_modifier = false;
	for (const EGLint *each = attributes; *each != EGL_NONE; each += 2)
		named_modifier |= *each == EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT || *each == EGL_DMA_BUF_PLANE0_MODIFIER_HI_EXT;
	epoxy_eglCreateImageKHR = real_create_image; /* at the first call epoxy puts the driver's in its own one's place */
	EGLImageKHR image = epoxy_eglCreateImageKHR(display, some_context, target, buffer, attributes);
	real_create_image = epoxy_eglCreateImageKHR;
	epoxy_eglCreateImageKHR = create_image;
	return image;
}

/* What the exporter's driver has no modifier for is left to the importer's, which is the same one: no modifier is named. */
static void test_import_implicit(void)
{
	static const uint64_t modifiers[] = { DRM_FORMAT_MOD_LINEAR, DRM_FORMAT_MOD_INVALID };
	struct window window = open_window(WIDTH, HEIGHT);

	g_assert_true(caps.modifiers);
	real_create_image = epoxy_eglCreateImageKHR;
	epoxy_eglCreateImageKHR = create_image;
	for (size_t i = 0; i < G_N_ELEMENTS(modifiers); i++) {
		struct vtr_egl_imports imports = { 0 };
		struct vtr_frame frame = frame_of(&layouts[0], 6);
		struct vtr_error error = { 0 };

		frame.modifier = modifiers[i];
		const struct vtr_egl_import *import = vtr_egl_import_frame(&imports, &caps, &frame, &error);
		g_assert_cmpstr(error.text, ==, "");
		g_assert_cmpint(named_modifier, ==, modifiers[i] == DRM_FORMAT_MOD_LINEAR);
		vtr_egl_paint_clear(WIDTH, HEIGHT);
		paint_import(import, &window, 0, 0);
		check_window(&window, 0, 0, 1, 6);
		vtr_egl_imports_clear(&imports, &caps, NULL);
		vtr_buffer_drop(frame.buffer);
	}
	epoxy_eglCreateImageKHR = real_create_image;
	close_window(&window);
}

/* Drivers without modifiers: with the extension, of whose formats none has any, and without it. */
static void test_accepts_implicit(void)
{
	struct vtr_egl_format formats[] = {
		{ .fourcc = DRM_FORMAT_XRGB8888 },
		{ .fourcc = DRM_FORMAT_ARGB8888, .n_modifiers = 1, .modifiers = { { .modifier = DRM_FORMAT_MOD_LINEAR } } },
	};
	struct vtr_egl_caps with = caps, without = caps;
	struct vtr_error error = { 0 };

	with.formats = formats;
	with.n_formats = G_N_ELEMENTS(formats);
	without.modifiers = false;
	without.formats = NULL;
	without.n_formats = 0;
	const struct vtr_egl_caps *const drivers[] = { &with, &without };
	for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
		g_assert_true(vtr_egl_accepts(drivers[i], DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, &error));
		g_assert_true(vtr_egl_accepts(drivers[i], DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_INVALID, &error));
		g_assert_false(vtr_egl_accepts(drivers[i], DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED, &error));
	}
	g_assert_false(vtr_egl_accepts(&with, DRM_FORMAT_ARGB8888, DRM_FORMAT_MOD_INVALID, &error));
}

static void test_accepts(void)
{
	struct vtr_error error = { 0 };

	g_assert_true(vtr_egl_accepts(&caps, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, &error));
	g_assert_false(vtr_egl_accepts(&caps, DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED, &error));
	g_assert_nonnull(strstr(error.text, "XR24 with modifier 0x1"));
	g_assert_false(vtr_egl_accepts(&caps, DRM_FORMAT_C8, DRM_FORMAT_MOD_LINEAR, &error));
	g_assert_nonnull(strstr(error.text, "of format C8"));
}

/* ---- uploads ---- */

static const struct upload_row {
	const char *name;
	uint32_t fourcc, stride;
	bool unpack_subimage;
} upload_rows[] = {
	{ "xrgb8888", DRM_FORMAT_XRGB8888, WIDTH * 4, true }, { "argb8888", DRM_FORMAT_ARGB8888, WIDTH * 4, true },
	{ "xbgr8888", DRM_FORMAT_XBGR8888, WIDTH * 4, true }, { "abgr8888", DRM_FORMAT_ABGR8888, WIDTH * 4, true },
	{ "rgbx8888", DRM_FORMAT_RGBX8888, WIDTH * 4, true }, { "rgba8888", DRM_FORMAT_RGBA8888, WIDTH * 4, true },
	{ "bgrx8888", DRM_FORMAT_BGRX8888, WIDTH * 4, true }, { "bgra8888", DRM_FORMAT_BGRA8888, WIDTH * 4, true },
	{ "stride", DRM_FORMAT_XRGB8888, 1000, true },        { "stride-of-odd-bytes", DRM_FORMAT_XRGB8888, 251, true },
	{ "row-by-row", DRM_FORMAT_XRGB8888, 400, false },
};

static void paint_upload(const struct vtr_egl_upload *upload, const struct window *window)
{
	struct vtr_egl_picture picture = {
		.texture = upload->texture, .target = GL_TEXTURE_2D, .fourcc = upload->fourcc, .opaque = true
	};

	vtr_egl_paint(&painter, &picture, window->width, window->height, 0, 0, WIDTH, HEIGHT);
}

static void test_upload(const void *data)
{
	const struct upload_row *row = data;
	struct vtr_egl_caps some = caps;
	struct vtr_egl_upload upload = { 0 };
	struct window window = open_window(WIDTH, HEIGHT);
	g_autofree uint8_t *pixels = g_malloc0((size_t)row->stride * HEIGHT);
	pixman_region32_t damage;
	struct vtr_error error;

	some.unpack_subimage &= row->unpack_subimage;
	pixman_region32_init(&damage);
	draw_picture(pixels, row->stride, row->fourcc, 9);
	/* the first time everything is copied, whatever the damage */
	g_assert_cmpint(vtr_egl_upload_pixels(&upload, &some, pixels, row->stride, WIDTH, HEIGHT, row->fourcc, &damage, &error), ==,
	                WIDTH * HEIGHT * 4);
	paint_upload(&upload, &window);
	check_window(&window, 0, 0, 1, 9);
	vtr_egl_upload_finish(&upload);
	pixman_region32_fini(&damage);
	close_window(&window);
}

/* Only the damage is copied; the rest stays as it was. */
static void test_upload_damage(void)
{
	struct vtr_egl_upload upload = { 0 };
	struct window window = open_window(WIDTH, HEIGHT);
	g_autofree uint8_t *pixels = g_malloc0(WIDTH * HEIGHT * 4);
	pixman_region32_t damage;
	struct vtr_error error;

	pixman_region32_init_rect(&damage, 3, 5, 10, 7);
	pixman_region32_union_rect(&damage, &damage, 50, 30, 100, 100); /* over the border */
	draw_picture(pixels, WIDTH * 4, DRM_FORMAT_XRGB8888, 1);
	vtr_egl_upload_pixels(&upload, &caps, pixels, WIDTH * 4, WIDTH, HEIGHT, DRM_FORMAT_XRGB8888, &damage, &error);
	draw_picture(pixels, WIDTH * 4, DRM_FORMAT_XRGB8888, 2);
	g_assert_cmpint(
		vtr_egl_upload_pixels(&upload, &caps, pixels, WIDTH * 4, WIDTH, HEIGHT, DRM_FORMAT_XRGB8888, &damage, &error), ==,
		(10 * 7 + 11 * 7) * 4);
	paint_upload(&upload, &window);
	g_autofree uint32_t *got = read_window(&window);
	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++) {
			bool damaged = pixman_region32_contains_point(&damage, x, y, NULL);

			g_assert_cmphex(got[y * WIDTH + x], ==, color((uint32_t)x, (uint32_t)y, damaged ? 2 : 1));
		}
	vtr_egl_upload_finish(&upload);
	pixman_region32_fini(&damage);
	close_window(&window);
}

static void test_upload_too_large(void)
{
	struct vtr_egl_upload upload = { 0 };
	struct vtr_error error;
	uint32_t pixel = 0;
	pixman_region32_t damage;

	pixman_region32_init(&damage);
	g_assert_cmpint(vtr_egl_upload_pixels(&upload, &caps, &pixel, 4, 1u << 20, 1, DRM_FORMAT_XRGB8888, &damage, &error), ==,
	                -EFBIG);
	g_assert_nonnull(strstr(error.text, "no textures larger than"));
	pixman_region32_fini(&damage);
}

/* ---- drawing ---- */

static void test_scaled(void)
{
	struct vtr_egl_imports imports = { 0 };
	struct vtr_frame frame = frame_of(&layouts[0], 3);
	struct window window = open_window(WIDTH * 3 + 10, HEIGHT * 3 + 6);
	struct vtr_error error;
	const struct vtr_egl_import *import = vtr_egl_import_frame(&imports, &caps, &frame, &error);
	struct vtr_egl_picture picture = { .texture = import->texture, .target = import->target, .opaque = true };

	vtr_egl_paint(&painter, &picture, window.width, window.height, 5, 3, WIDTH * 3, HEIGHT * 3);
	check_window(&window, 5, 3, 3, 3);
	vtr_egl_imports_clear(&imports, &caps, NULL);
	vtr_buffer_drop(frame.buffer);
	close_window(&window);
}

/* A cursor's premultiplied half transparent white over a picture, and where it is clear the picture. */
static void test_blended(void)
{
	static const uint32_t image[4] = { 0x80808080, 0x00000000, 0xffff0000, 0x00000000 };
	struct vtr_egl_upload cursor = { 0 };
	struct window window = open_window(2, 2);
	struct vtr_error error;
	pixman_region32_t damage;

	pixman_region32_init(&damage);
	g_assert_cmpint(vtr_egl_upload_pixels(&cursor, &caps, image, 8, 2, 2, DRM_FORMAT_ARGB8888, &damage, &error), ==, 16);
	glClearColor(0, 1, 0, 1);
	glClear(GL_COLOR_BUFFER_BIT);
	struct vtr_egl_picture picture = { .texture = cursor.texture, .target = GL_TEXTURE_2D, .fourcc = DRM_FORMAT_ARGB8888 };
	vtr_egl_paint(&painter, &picture, 2, 2, 0, 0, 2, 2);
	g_autofree uint32_t *got = read_window(&window);
	g_assert_cmphex(got[0], ==, 0x80ff80);
	g_assert_cmphex(got[1], ==, 0x00ff00);
	g_assert_cmphex(got[2], ==, 0xff0000);
	g_assert_cmphex(got[3], ==, 0x00ff00);
	vtr_egl_upload_finish(&cursor);
	pixman_region32_fini(&damage);
	close_window(&window);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (!set_up())
		g_error("no OpenGL ES without a window: %s", vtr_egl_error_name(eglGetError()));
	g_assert_true(caps.import);
	ADD_ROWS("/egl/import/", layouts, test_import);
	g_test_add_func("/egl/import/is-the-memory", test_import_is_the_memory);
	g_test_add_func("/egl/import/cache", test_import_cache);
	g_test_add_func("/egl/import/layouts-of-one-buffer", test_import_layouts_of_one_buffer);
	g_test_add_func("/egl/import/implicit", test_import_implicit);
	g_test_add_func("/egl/accepts", test_accepts);
	g_test_add_func("/egl/accepts/implicit", test_accepts_implicit);
	ADD_ROWS("/egl/upload/", upload_rows, test_upload);
	g_test_add_func("/egl/upload/damage", test_upload_damage);
	g_test_add_func("/egl/upload/too-large", test_upload_too_large);
	g_test_add_func("/egl/draw/scaled", test_scaled);
	g_test_add_func("/egl/draw/blended", test_blended);
	int failed = g_test_run();
	vtr_egl_painter_finish(&painter);
	vtr_egl_caps_finish(&caps);
	eglTerminate(caps.display);
	return failed;
}
