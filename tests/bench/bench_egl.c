/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vitrine/loop.h>

#include "egl/egl.h"
#include "egl_software.h"

/*
 * What a frame costs a display that draws with OpenGL ES, before anything is drawn: processor time of the calling thread, the best
 * of several rounds. An import must not depend on the picture's size; what is uploaded depends on the damage.
 */

enum { ROUNDS = 15, REPEAT = 200 };

static const struct size {
	const char *name;
	uint32_t width, height;
} sizes[] = { { "1280x720", 1280, 720 }, { "3840x2160", 3840, 2160 } };

static bool as_json;
static const char *separator = "";
static struct vtr_egl_caps caps;

static void print(const char *name, const struct size *size, double us, double ratio)
{
	if (as_json) {
		printf("%s\n  {\"name\": \"%s %s\", \"value\": %.3f, \"unit\": \"us\"", separator, name, size->name, us);
		if (ratio > 0)
			printf(", \"ratio\": %.3f, \"to\": \"%s %s\"", ratio, name, sizes[0].name);
		printf("}");
		separator = ",";
	} else {
		printf("%-24s %-10s %10.2f us", name, size->name, us);
		printf(ratio > 0 ? "   %.2f of %s\n" : "\n", ratio, sizes[0].name);
	}
}

static double thread_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench_egl: %s\n", what);
	exit(1);
}

/* ---- a context without a window, of the software renderer ---- */

static void set_up(void)
{
	static const EGLint attributes[] = { EGL_CONTEXT_CLIENT_VERSION, 2, EGL_NONE };
	EGLDisplay display = software_display();

	if (!eglInitialize(display, NULL, NULL) || !eglBindAPI(EGL_OPENGL_ES_API))
		fail("no software renderer");
	EGLContext context = eglCreateContext(display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, attributes);
	if (!eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context))
		fail("no context");
	vtr_egl_caps_init(&caps);
	if (!caps.import)
		fail(caps.no_import.text);
}

/* ---- imports ---- */

static struct vtr_buffer *make_buffer(uint64_t bytes)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		fail("no memory for a picture");
	return vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, bytes);
}

static struct vtr_frame frame_of(const struct size *size, struct vtr_buffer *buffer)
{
	return (struct vtr_frame){
		.content = VTR_FRAME_BUFFER,
		.buffer = buffer,
		.width = size->width,
		.height = size->height,
		.stride = size->width * 4,
		.format = DRM_FORMAT_XRGB8888,
	};
}

/* A guest that flips between three buffers. fresh: each time they are new to the display. */
static double import(const struct size *size, bool fresh)
{
	struct vtr_egl_imports imports = { 0 };
	struct vtr_error error;
	double best = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct vtr_buffer *buffers[3];

		for (int i = 0; i < 3; i++) {
			struct vtr_frame frame;

			buffers[i] = make_buffer((uint64_t)size->width * size->height * 4);
			frame = frame_of(size, buffers[i]);
			if (!fresh && !vtr_egl_import_frame(&imports, &caps, &frame, &error))
				fail(error.text);
		}
		int repeat = fresh ? 3 : REPEAT;
		double start = thread_us();
		for (int i = 0; i < repeat; i++) {
			struct vtr_frame frame = frame_of(size, buffers[i % 3]);

			if (!vtr_egl_import_frame(&imports, &caps, &frame, &error))
				fail(error.text);
		}
		double us = (thread_us() - start) / repeat;
		best = !round || us < best ? us : best;
		vtr_egl_imports_clear(&imports, &caps, NULL);
		for (int i = 0; i < 3; i++)
			vtr_buffer_drop(buffers[i]);
	}
	return best;
}

/* ---- uploads ---- */

static double upload(const struct size *size, uint32_t rows)
{
	struct vtr_egl_upload texture = { 0 };
	struct vtr_error error;
	pixman_region32_t damage;
	void *pixels = calloc(size->height, (size_t)size->width * 4);
	double best = 0;

	if (!pixels)
		fail("out of memory");
	memset(pixels, 1, (size_t)size->width * size->height * 4);
	pixman_region32_init_rect(&damage, 0, 0, size->width, rows);
	for (int round = 0; round <= ROUNDS; round++) {
		double start = thread_us();

		if (vtr_egl_upload_pixels(&texture, &caps, pixels, size->width * 4, size->width, size->height, DRM_FORMAT_XRGB8888,
		                          &damage, &error) < 0)
			fail(error.text);
		double us = thread_us() - start;
		best = round < 2 || us < best ? us : best; /* the first makes the texture */
	}
	vtr_egl_upload_finish(&texture);
	pixman_region32_fini(&damage);
	free(pixels);
	return best;
}

int main(int argc, char **argv)
{
	double first[4] = { 0 };

	as_json = argc == 2 && !strcmp(argv[1], "--json");
	set_up();
	if (as_json)
		printf("[");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct size *size = &sizes[i];
		const double us[4] = { import(size, false), import(size, true), upload(size, size->height),
			               upload(size, size->height / 100) };
		static const char *const names[4] = { "import, seen before", "import, new buffer", "upload, all", "upload, 1 %" };

		for (size_t k = 0; k < 4; k++) {
			print(names[k], size, us[k], i ? us[k] / first[k] : 0);
			if (!i)
				first[k] = us[k];
		}
	}
	if (as_json)
		printf("\n]\n");
	vtr_egl_caps_finish(&caps);
	return 0;
}
