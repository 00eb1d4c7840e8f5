/* SPDX-License-Identifier: MIT */
/*
 * A driver that refuses what it was given, under a window of SDL: at the import, or only when it draws. The window shows what it
 * showed until the picture comes another way, and who asks for a picture gets that one.
 */
#include <SDL.h>
#include <epoxy/egl.h>
#include <epoxy/gl.h>
#include <stdatomic.h>

#include <vitrine/log.h>

#include "rows.h"
#include "window_scanout.h"

enum { WIDTH = 320, HEIGHT = 200 };

/* ---- a driver ---- */

enum refusal { NOTHING, IMPORTING, DRAWING };

static struct driver {
	_Atomic enum refusal refuses;
	bool failed;        /* glGetError() has something to say */
	atomic_uint clears; /* each picture begins with one */
	atomic_uint pixel;  /* the lower left one of what was drawn last; 0: nothing was, since it was cleared */
} driver;

/* epoxy finds the driver's functions at their first call, and puts them in the place of its own. */
static PFNEGLCREATEIMAGEKHRPROC real_create_image;
static PFNGLDRAWARRAYSPROC real_draw_arrays;
static PFNGLGETERRORPROC real_get_error;
static PFNGLCLEARPROC real_clear;

static EGLImageKHR create_image(EGLDisplay display, EGLContext context, EGLenum target, EGLClientBuffer buffer,
                                const EGLint *attributes)
{
	if (driver.refuses == IMPORTING)
		return EGL_NO_IMAGE_KHR;
	epoxy_eglCreateImageKHR = real_create_image;
	EGLImageKHR image = epoxy_eglCreateImageKHR(display, context, target, buffer, attributes);
	real_create_image = epoxy_eglCreateImageKHR;
	epoxy_eglCreateImageKHR = create_image;
	return image;
}

static void draw_arrays(GLenum mode, GLint first, GLsizei count)
{
	uint8_t bytes[4];

	epoxy_glDrawArrays = real_draw_arrays;
	epoxy_glDrawArrays(mode, first, count);
	real_draw_arrays = epoxy_glDrawArrays;
	epoxy_glDrawArrays = draw_arrays;
	driver.failed |= driver.refuses == DRAWING;
	glReadPixels(0, 0, 1, 1, GL_RGBA, GL_UNSIGNED_BYTE, bytes);
	driver.pixel = 0xff000000 | (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
}

static GLenum get_error(void)
{
	bool failed = driver.failed;

	epoxy_glGetError = real_get_error;
	GLenum code = epoxy_glGetError();
	real_get_error = epoxy_glGetError;
	epoxy_glGetError = get_error;
	driver.failed = false;
	return failed ? GL_OUT_OF_MEMORY : code;
}

static void clear(GLbitfield mask)
{
	epoxy_glClear = real_clear;
	epoxy_glClear(mask);
	real_clear = epoxy_glClear;
	epoxy_glClear = clear;
	driver.pixel = 0;
	driver.clears++;
}

static void insert_driver(void)
{
	real_create_image = epoxy_eglCreateImageKHR;
	real_draw_arrays = epoxy_glDrawArrays;
	real_get_error = epoxy_glGetError;
	real_clear = epoxy_glClear;
	epoxy_eglCreateImageKHR = create_image;
	epoxy_glDrawArrays = draw_arrays;
	epoxy_glGetError = get_error;
	epoxy_glClear = clear;
}

/* ---- a window ---- */

/* What the window system says to it. */
static void tell_window(SDL_WindowEventID what)
{
	/* the first one is never seen */
	SDL_Event event = { .window = { .type = SDL_WINDOWEVENT, .windowID = 2, .event = (uint8_t)what } };

	g_assert_cmpint(SDL_PushEvent(&event), ==, 1);
}

static void next_picture(struct scanout *scanout, uint32_t seed, bool dmabuf)
{
	scanout->no_dmabuf = !dmabuf;
	scanout_new_buffer(scanout, 0);
	scanout_draw(scanout, seed);
}

static void start(struct scanout *scanout, bool dmabuf)
{
	struct vtr_window_options options = { .guest = "test" };
	struct vtr_error error = { 0 };

	driver.refuses = NOTHING;
	struct vtr_display *display = vtr_sdl_create(&options, &error);
	if (!display)
		g_error("%s", error.text);
	scanout_init(scanout, display, WIDTH, HEIGHT);
	scanout_run_until(scanout, &scanout->needed, 1);
	next_picture(scanout, 1, dmabuf);
	scanout_show(scanout);
	scanout_settle(scanout);
	g_assert_cmpuint(scanout->import_failed, ==, 0);
}

static void hide(struct scanout *scanout)
{
	uint64_t end = vtr_now_ns() + UINT64_C(60000000000);

	tell_window(SDL_WINDOWEVENT_MINIMIZED);
	while (vtr_output_demand(scanout->output) != VTR_DEMAND_NONE) {
		g_assert_cmpuint(vtr_now_ns(), <, end);
		scanout_step(scanout, 2);
	}
}

/* Drawn again, it looks as picture number seed. */
static void check_exposed(struct scanout *scanout, uint32_t seed)
{
	uint64_t end = vtr_now_ns() + UINT64_C(60000000000);

	for (unsigned i = 0; i < 2; i++) { /* with the second one, the first is done */
		unsigned before = driver.clears;

		tell_window(SDL_WINDOWEVENT_EXPOSED);
		while (driver.clears == before) {
			g_assert_cmpuint(vtr_now_ns(), <, end);
			scanout_step(scanout, 2);
		}
	}
	scanout_settle(scanout);
	g_assert_cmphex(driver.pixel, ==, 0xff000000 | scanout_color(0, HEIGHT - 1, seed));
}

struct answer {
	unsigned calls;
	uint64_t sequence;
	uint32_t width, pixel;
	struct vtr_error error;
};

static void captured(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct answer *answer = data;

	answer->calls++;
	if (error) {
		answer->error = *error;
		return;
	}
	answer->sequence = picture->sequence;
	answer->width = picture->width;
	g_assert_cmpint(pread(picture->fd, &answer->pixel, 4, (off_t)picture->stride * (picture->height - 1)), ==, 4);
	close(picture->fd);
}

static void check_answer(const struct scanout *scanout, const struct answer *answer, uint32_t seed)
{
	g_assert_cmpstr(answer->error.text, ==, "");
	g_assert_cmpuint(answer->width, ==, WIDTH);
	g_assert_cmphex(answer->pixel & 0xffffff, ==, scanout_color(0, HEIGHT - 1, seed));
	g_assert_cmpuint(answer->sequence, ==, scanout->presented);
}

/* ---- tests ---- */

static const struct row {
	const char *name;
	enum refusal refusal;
	bool pixels; /* the picture before came as these */
} rows[] = {
	{ "import-after-dmabuf", IMPORTING, false },
	{ "import-after-pixels", IMPORTING, true },
	{ "drawing-after-dmabuf", DRAWING, false },
	{ "drawing-after-pixels", DRAWING, true },
};

/* Until the picture comes another way, a window that is seen shows the last one; a screenshot waits. */
static void test_seen(const void *data)
{
	const struct row *row = data;
	struct answer answer = { 0 };
	struct scanout scanout;

	start(&scanout, !row->pixels);
	driver.refuses = row->refusal;
	scanout.hold = true;
	next_picture(&scanout, 2, true);
	scanout_present_all(&scanout);
	scanout_run_until(&scanout, &scanout.import_failed, 1);
	check_exposed(&scanout, 1);
	g_assert_nonnull(vtr_output_capture(scanout.output, false, captured, &answer));
	scanout_settle(&scanout);
	g_assert_cmpuint(answer.calls, ==, 0);
	scanout_present_all(&scanout);
	scanout_run_until(&scanout, &answer.calls, 1);
	check_answer(&scanout, &answer, 2);
	check_exposed(&scanout, 2);
	scanout_finish(&scanout);
}

/* A window that nobody sees is given a picture for the screenshot, which has to come another way. */
static void test_hidden(const void *data)
{
	const struct row *row = data;
	struct answer answer = { 0 };
	struct scanout scanout;

	start(&scanout, !row->pixels);
	hide(&scanout);
	next_picture(&scanout, 2, true);
	scanout_present_all(&scanout); /* nobody looks */
	driver.refuses = row->refusal;
	g_assert_nonnull(vtr_output_capture(scanout.output, false, captured, &answer));
	scanout_run_until(&scanout, &answer.calls, 1);
	g_assert_cmpuint(scanout.import_failed, ==, 1);
	check_answer(&scanout, &answer, 2);
	scanout_finish(&scanout);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	insert_driver();
	vtr_log_set_level(VTR_LOG_WARN);
	ADD_ROWS("/sdl-import/seen/", rows, test_seen);
	ADD_ROWS("/sdl-import/hidden/", rows, test_hidden);
	return g_test_run();
}
