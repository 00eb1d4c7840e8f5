/* SPDX-License-Identifier: MIT */
/*
 * What a renderer drew, shown without a copy: textures of an EGLDisplay, made by a context of the test's own as a renderer makes
 * them, shown by a display that has another context on another thread, and what it shows compared pixel by pixel.
 *
 *     test_textures KIND    headless, sdl or sdl=software
 */
#include <epoxy/egl.h>
#include <epoxy/gl.h>
#include <stdatomic.h>

#include "egl_software.h"
#include "rows.h"
#include "window_scanout.h"

enum { WIDTH = 320, HEIGHT = 200, WIDE = 500, HIGH = 333 };

static const char *kind;

/* ---- the renderer ---- */

struct renderer {
	EGLDisplay display;
	EGLContext context;
	bool own; /* the EGLDisplay is not the display's */
};

static void renderer_init(struct renderer *renderer, EGLDisplay display)
{
	*renderer = (struct renderer){ .display = display ? display : software_display(), .own = !display };
	g_assert_true(eglInitialize(renderer->display, NULL, NULL));
	eglBindAPI(EGL_OPENGL_API);
	renderer->context = eglCreateContext(renderer->display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, NULL);
	g_assert_true(renderer->context != EGL_NO_CONTEXT);
	g_assert_true(eglMakeCurrent(renderer->display, EGL_NO_SURFACE, EGL_NO_SURFACE, renderer->context));
}

static void renderer_finish(struct renderer *renderer)
{
	eglMakeCurrent(renderer->display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
	eglDestroyContext(renderer->display, renderer->context);
}

/* ---- a resource of it ---- */

struct resource {
	const struct renderer *renderer;
	GLuint texture;
	EGLImage image;
	bool flipped;
	struct vtr_buffer *buffer;
	atomic_uint released;
};

static void release(void *data)
{
	struct resource *resource = data;

	eglDestroyImage(resource->renderer->display, resource->image);
	atomic_fetch_add(&resource->released, 1);
}

/* Draws picture number seed over all of the texture. */
static void draw(struct resource *resource, uint32_t seed)
{
	g_autofree uint32_t *pixels = g_new(uint32_t, WIDE * HIGH);

	for (uint32_t y = 0; y < HIGH; y++)
		for (uint32_t x = 0; x < WIDE; x++)
			pixels[(resource->flipped ? HIGH - 1 - y : y) * WIDE + x] = scanout_color(x, y, seed) | 0x3c000000;
	glBindTexture(GL_TEXTURE_2D, resource->texture);
	glTexSubImage2D(GL_TEXTURE_2D, 0, 0, 0, WIDE, HIGH, GL_BGRA, GL_UNSIGNED_INT_8_8_8_8_REV, pixels);
	glFinish();
	g_assert_cmpuint(glGetError(), ==, GL_NO_ERROR);
}

static void resource_init(struct resource *resource, const struct renderer *renderer, bool flipped)
{
	*resource = (struct resource){ .renderer = renderer, .flipped = flipped };
	glGenTextures(1, &resource->texture);
	glBindTexture(GL_TEXTURE_2D, resource->texture);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAX_LEVEL, 0);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, WIDE, HIGH, 0, GL_BGRA, GL_UNSIGNED_INT_8_8_8_8_REV, NULL);
	resource->image = eglCreateImage(renderer->display, renderer->context, EGL_GL_TEXTURE_2D,
	                                 (EGLClientBuffer)(uintptr_t)resource->texture, NULL);
	g_assert_true(resource->image != EGL_NO_IMAGE);
	const struct vtr_buffer_texture texture = { renderer->display, resource->image, WIDE, HIGH };
	resource->buffer = vtr_buffer_create_texture(VTR_PATH_VIRGL, &texture, -1, release, resource);
}

/* The guest's resource is gone; displays keep what they hold. */
static void resource_destroy(struct resource *resource)
{
	glDeleteTextures(1, &resource->texture);
	vtr_buffer_drop(resource->buffer);
	resource->buffer = NULL;
}

/* ---- a scanout of it ---- */

struct scene {
	struct renderer renderer;
	struct scanout scanout;
	uint32_t x, y; /* where in the resource the picture is */
};

static struct vtr_display *create_display(void)
{
	struct vtr_window_options options = { .guest = "test" };
	struct vtr_error error = { 0 };

	if (!strcmp(kind, "headless"))
		return vtr_headless_create();
	options.renderer = strcmp(kind, "sdl=software") ? VTR_RENDERER_AUTO : VTR_RENDERER_SOFTWARE;
	struct vtr_display *display = vtr_sdl_create(&options, &error);
	if (!display)
		g_error("%s", error.text);
	return display;
}

static void start(struct scene *scene)
{
	struct vtr_display *display = create_display();

	*scene = (struct scene){ 0 };
	renderer_init(&scene->renderer, vtr_display_egl(display));
	scanout_init(&scene->scanout, display, WIDTH, HEIGHT);
	if (strcmp(kind, "headless"))
		scanout_run_until(&scene->scanout, &scene->scanout.needed, 1);
}

static void finish(struct scene *scene)
{
	scanout_finish(&scene->scanout);
	renderer_finish(&scene->renderer);
}

static void present(struct scene *scene, const struct resource *resource, const pixman_box32_t *damage)
{
	struct vtr_output *output = scene->scanout.output;
	struct vtr_frame *frame = vtr_output_begin_frame(output);

	frame->width = WIDTH;
	frame->height = HEIGHT;
	frame->format = DRM_FORMAT_XRGB8888;
	frame->path = VTR_PATH_VIRGL;
	frame->flipped = resource->flipped;
	frame->x = scene->x;
	frame->y = scene->y;
	pixman_region32_union_rect(&frame->damage, &frame->damage, damage->x1, damage->y1, (unsigned)(damage->x2 - damage->x1),
	                           (unsigned)(damage->y2 - damage->y1));
	frame->content = VTR_FRAME_BUFFER;
	frame->buffer = vtr_buffer_lock(resource->buffer);
	vtr_output_submit(output, frame);
}

/* ---- what is shown ---- */

struct answer {
	unsigned calls;
	struct vtr_error error;
	uint32_t *pixels;
	size_t size;
};

static void answered(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct answer *answer = data;

	answer->calls++;
	if (error) {
		answer->error = *error;
		return;
	}
	g_assert_cmpuint(picture->width, ==, WIDTH);
	g_assert_cmpuint(picture->height, ==, HEIGHT);
	g_assert_cmpuint(picture->stride, ==, WIDTH * 4);
	answer->size = (size_t)picture->stride * picture->height;
	answer->pixels = mmap(NULL, answer->size, PROT_READ, MAP_SHARED, picture->fd, 0);
	g_assert_true(answer->pixels != MAP_FAILED);
	close(picture->fd);
}

static const pixman_box32_t everything = { 0, 0, WIDTH, HEIGHT };

/* A capture, and a frame for it: a window may have been shown all of it before, which is as well. */
static void check_shown(struct scene *scene, const struct resource *resource, const pixman_box32_t *damage, uint32_t seed)
{
	struct answer answer = { 0 };

	present(scene, resource, damage);
	g_assert_nonnull(vtr_output_capture(scene->scanout.output, false, answered, &answer));
	if (!strcmp(kind, "headless")) {
		scanout_run_until(&scene->scanout, &scene->scanout.needed, scene->scanout.needed + 1);
		present(scene, resource, damage);
	}
	scanout_run_until(&scene->scanout, &answer.calls, 1);
	g_assert_cmpstr(answer.error.text, ==, "");
	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++) {
			uint32_t expected = scanout_color(x + scene->x, y + scene->y, seed);

			if ((answer.pixels[y * WIDTH + x] & 0xffffff) != expected)
				g_error("pixel %u,%u is %06x, not %06x", x, y, answer.pixels[y * WIDTH + x] & 0xffffff, expected);
		}
	munmap(answer.pixels, answer.size);
}

/* ---- tests ---- */

static const struct place_row {
	const char *name;
	bool flipped;
	uint32_t x, y;
} places[] = {
	{ "upright", false, 0, 0 },
	{ "flipped", true, 0, 0 },
	{ "upright-part", false, 37, 101 },
	{ "flipped-part", true, 37, 101 },
	{ "flipped-corner", true, WIDE - WIDTH, HIGH - HEIGHT },
};

/* The renderer draws again into the same texture: that shows without a new import. */
static void test_place(const void *data)
{
	const struct place_row *row = data;
	struct resource resource;
	struct scene scene;

	start(&scene);
	scene.x = row->x;
	scene.y = row->y;
	resource_init(&resource, &scene.renderer, row->flipped);
	for (uint32_t seed = 1; seed < 4; seed++) {
		draw(&resource, seed);
		check_shown(&scene, &resource, &everything, seed);
	}
	g_assert_cmpuint(scene.scanout.import_failed, ==, 0);
	resource_destroy(&resource);
	finish(&scene);
	g_assert_cmpuint(atomic_load(&resource.released), ==, 1);
}

/* The resource is destroyed while it is shown: the picture stays, and what it is made of goes with the next one. */
static void test_destroyed(void)
{
	struct resource resource, next;
	struct answer answer = { 0 };
	struct scene scene;

	start(&scene);
	resource_init(&resource, &scene.renderer, true);
	draw(&resource, 5);
	check_shown(&scene, &resource, &everything, 5);
	resource_destroy(&resource);
	if (strcmp(kind, "headless")) { /* which has no picture without somebody who asks for it */
		g_assert_cmpuint(atomic_load(&resource.released), ==, 0);
		g_assert_nonnull(vtr_output_capture(scene.scanout.output, false, answered, &answer));
		scanout_run_until(&scene.scanout, &answer.calls, 1);
		g_assert_cmphex(answer.pixels[3] & 0xffffff, ==, scanout_color(3, 0, 5));
		munmap(answer.pixels, answer.size);
	}
	resource_init(&next, &scene.renderer, false);
	draw(&next, 6);
	check_shown(&scene, &next, &everything, 6);
	while (!atomic_load(&resource.released)) {
		present(&scene, &next, &everything);
		scanout_run_until(&scene.scanout, &scene.scanout.done, scene.scanout.done + 1);
	}
	resource_destroy(&next);
	finish(&scene);
}

/* A picture that does not lie in its texture, which a renderer would not make: refused, not read. */
static void test_beyond(void)
{
	struct resource resource;
	struct scene scene;

	start(&scene);
	scanout_new_buffer(&scene.scanout, 0); /* to fall to */
	scene.scanout.no_dmabuf = true;
	scene.scanout.nothing_new = true;
	scene.x = WIDE - WIDTH + 1;
	resource_init(&resource, &scene.renderer, false);
	vtr_output_capture(scene.scanout.output, false, answered, &(struct answer){ 0 });
	if (!strcmp(kind, "headless"))
		scanout_run_until(&scene.scanout, &scene.scanout.needed, 1);
	present(&scene, &resource, &everything);
	scanout_run_until(&scene.scanout, &scene.scanout.import_failed, 1);
	g_assert_nonnull(strstr(scene.scanout.error.text, "ends beyond its texture"));
	resource_destroy(&resource);
	finish(&scene);
}

static void test_accepts(void)
{
	struct vtr_error error = { 0 };
	struct scene scene;
	int other;

	start(&scene);
	struct vtr_output *output = scene.scanout.output;
	bool window = strcmp(kind, "headless"), own = vtr_display_egl(scene.scanout.display);
	g_assert_cmpint(own, ==, !strcmp(kind, "sdl"));
	g_assert_cmpint(vtr_output_accepts_texture(output, scene.renderer.display, &error), ==, own || !window);
	if (!strcmp(kind, "sdl=software"))
		g_assert_nonnull(strstr(error.text, "without OpenGL"));
	g_assert_cmpint(vtr_output_accepts_texture(output, &other, &error), ==, !window);
	if (own)
		g_assert_nonnull(strstr(error.text, "another EGLDisplay"));
	g_assert_true(vtr_output_accepts_flipped(output, &error));
	finish(&scene);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	kind = argv[1];
	g_test_add_func("/textures/accepts", test_accepts);
	if (strcmp(kind, "sdl=software")) {
		ADD_ROWS("/textures/", places, test_place);
		g_test_add_func("/textures/destroyed", test_destroyed);
		g_test_add_func("/textures/beyond", test_beyond);
	}
	return g_test_run();
}
