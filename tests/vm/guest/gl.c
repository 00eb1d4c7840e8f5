/* SPDX-License-Identifier: MIT */
/*
 * guest-gl's commands, one a line on standard input, numbers in decimal. A SEED names a computed picture (guest.h), which OpenGL
 * draws into a window without a window system: GBM's buffers, shown by KMS.
 *
 *   draw SEED           computed by a shader
 *   texture SEED        computed by the processor, drawn as a texture
 *   flip SEED FRAMES    FRAMES page flips; stops on picture SEED
 *   read SEED           drawn, read back and compared; nothing is shown
 *   cursor SEED X Y     a cursor image that OpenGL has drawn, at X, Y; without arguments: none
 *   renderer            what OpenGL says of itself: @@RENDERER and @@VERSION
 *   quit
 */
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES3/gl3.h>
// after the version that it extends
#include <GLES2/gl2ext.h>
#include <errno.h>
#include <gbm.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest.h"
#include "painter.h"

enum { CURSOR_SIZE = 64, MAX_CONFIGS = 64 };

struct guest {
	struct card card;
	struct gbm_device *gbm;
	struct gbm_surface *window;
	EGLDisplay egl;
	EGLConfig config;
	EGLContext context;
	EGLSurface surface;
	struct painter painter;
	/* what the CRTC shows: none before the first picture */
	struct gbm_bo *shown;
	struct frame frame;
};

static int egl_failed(const char *what)
{
	printf("@@FAILED %s: EGL error 0x%x\n", what, eglGetError());
	return -EIO;
}

static struct canvas window_of(const struct guest *guest)
{
	return (struct canvas){ guest->card.width, guest->card.height, .is_window = true };
}

/* EGL's choice is by size: the one whose pixels the card shows is among them. */
static int find_config(struct guest *guest)
{
	static const EGLint wanted[] = {
		EGL_SURFACE_TYPE,    EGL_WINDOW_BIT,     EGL_RED_SIZE, 8, EGL_GREEN_SIZE, 8, EGL_BLUE_SIZE, 8, EGL_ALPHA_SIZE, 0,
		EGL_RENDERABLE_TYPE, EGL_OPENGL_ES3_BIT, EGL_NONE
	};
	EGLConfig configs[MAX_CONFIGS];
	EGLint n = 0, visual;

	if (!eglChooseConfig(guest->egl, wanted, configs, MAX_CONFIGS, &n))
		return egl_failed("choose a configuration");
	for (EGLint i = 0; i < n; i++)
		if (eglGetConfigAttrib(guest->egl, configs[i], EGL_NATIVE_VISUAL_ID, &visual) && visual == GBM_FORMAT_XRGB8888) {
			guest->config = configs[i];
			return 0;
		}
	return egl_failed("find a configuration with XRGB8888");
}

static int open_window(struct guest *guest)
{
	static const EGLint version[] = { EGL_CONTEXT_MAJOR_VERSION, 3, EGL_NONE };
	int ret = card_open(&guest->card, "/dev/dri/card0", 0);

	if (ret < 0)
		return ret;
	guest->gbm = gbm_create_device(guest->card.fd);
	if (!guest->gbm)
		return guest_check(-1, "make a GBM device");
	guest->window = gbm_surface_create(guest->gbm, guest->card.width, guest->card.height, GBM_FORMAT_XRGB8888,
	                                   GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING);
	if (!guest->window)
		return guest_check(-1, "make a GBM surface");
	guest->egl = eglGetPlatformDisplay(EGL_PLATFORM_GBM_KHR, guest->gbm, NULL);
	if (!guest->egl || !eglInitialize(guest->egl, NULL, NULL) || !eglBindAPI(EGL_OPENGL_ES_API))
		return egl_failed("initialize EGL");
	ret = find_config(guest);
	if (ret < 0)
		return ret;
	guest->context = eglCreateContext(guest->egl, guest->config, EGL_NO_CONTEXT, version);
	guest->surface = eglCreatePlatformWindowSurface(guest->egl, guest->config, guest->window, NULL);
	if (!eglMakeCurrent(guest->egl, guest->surface, guest->surface, guest->context))
		return egl_failed("make OpenGL current");
	return painter_init(&guest->painter);
}

static void close_window(struct guest *guest)
{
	if (guest->context)
		painter_finish(&guest->painter);
	if (guest->egl) {
		eglMakeCurrent(guest->egl, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
		eglTerminate(guest->egl);
	}
	card_free_frame(&guest->card, &guest->frame);
	if (guest->shown)
		gbm_surface_release_buffer(guest->window, guest->shown);
	if (guest->window)
		gbm_surface_destroy(guest->window);
	if (guest->gbm)
		gbm_device_destroy(guest->gbm);
	card_close(&guest->card);
}

/* Shows what was drawn; only then goes what was there before. */
static int show(struct guest *guest)
{
	struct frame frame = FRAME_NONE;
	struct gbm_bo *drawn;
	int ret;

	if (!eglSwapBuffers(guest->egl, guest->surface))
		return egl_failed("swap buffers");
	drawn = gbm_surface_lock_front_buffer(guest->window);
	if (!drawn)
		return guest_check(-1, "lock the front buffer");
	frame.handle = gbm_bo_get_handle(drawn).u32;
	frame.image =
		(struct image){ .width = guest->card.width, .height = guest->card.height, .stride = gbm_bo_get_stride(drawn) };
	ret = card_add_fb(&guest->card, &frame, 0);
	frame.handle = 0; /* GBM's */
	if (ret == 0)
		ret = guest->shown ? card_flip(&guest->card, &frame) : card_show(&guest->card, &frame);
	if (ret < 0) {
		card_free_frame(&guest->card, &frame);
		gbm_surface_release_buffer(guest->window, drawn);
		return ret;
	}
	card_free_frame(&guest->card, &guest->frame);
	if (guest->shown)
		gbm_surface_release_buffer(guest->window, guest->shown);
	guest->frame = frame;
	guest->shown = drawn;
	return 0;
}

static void told(const struct guest *guest, const char *what, uint32_t seed)
{
	printf("@@SHOWN %s seed=%u size=%ux%u\n", what, seed, guest->card.width, guest->card.height);
}

static int command_draw(struct guest *guest, char **words, unsigned n)
{
	const struct canvas canvas = window_of(guest);
	uint32_t seed = (uint32_t)atoi(words[1]);
	int ret = painter_draw(&guest->painter, &canvas, seed);

	if (ret == 0)
		ret = show(guest);
	if (ret == 0)
		told(guest, "draw", seed);
	return ret;
}

static int command_texture(struct guest *guest, char **words, unsigned n)
{
	const struct canvas canvas = window_of(guest);
	uint32_t seed = (uint32_t)atoi(words[1]);
	int ret = painter_draw_texture(&guest->painter, &canvas, seed);

	if (ret == 0)
		ret = show(guest);
	if (ret == 0)
		told(guest, "texture", seed);
	return ret;
}

static int command_flip(struct guest *guest, char **words, unsigned n)
{
	const struct canvas canvas = window_of(guest);
	uint32_t seed = (uint32_t)atoi(words[1]);
	int ret = 0;

	for (uint32_t left = (uint32_t)atoi(words[2]); ret == 0 && left-- > 0;) {
		ret = painter_draw(&guest->painter, &canvas, seed + left);
		if (ret == 0)
			ret = show(guest);
	}
	if (ret == 0)
		told(guest, "flip", seed);
	return ret;
}

static int command_read(struct guest *guest, char **words, unsigned n)
{
	const struct canvas canvas = window_of(guest);
	uint32_t seed = (uint32_t)atoi(words[1]);
	int ret = painter_draw(&guest->painter, &canvas, seed);

	return ret < 0 ? ret : painter_compare(&canvas, seed);
}

/* Draws the cursor into memory that the card can show. */
static int draw_cursor(struct guest *guest, struct gbm_bo *memory, uint32_t seed)
{
	const struct canvas canvas = { CURSOR_SIZE, CURSOR_SIZE, .is_window = false };
	PFNGLEGLIMAGETARGETRENDERBUFFERSTORAGEOESPROC set_storage =
		(PFNGLEGLIMAGETARGETRENDERBUFFERSTORAGEOESPROC)eglGetProcAddress("glEGLImageTargetRenderbufferStorageOES");
	EGLImage image = eglCreateImage(guest->egl, EGL_NO_CONTEXT, EGL_NATIVE_PIXMAP_KHR, memory, NULL);
	GLuint target, framebuffer;
	int ret;

	if (!image || !set_storage)
		return egl_failed("make an image of the cursor's memory");
	glGenRenderbuffers(1, &target);
	glBindRenderbuffer(GL_RENDERBUFFER, target);
	set_storage(GL_RENDERBUFFER, image);
	glGenFramebuffers(1, &framebuffer);
	glBindFramebuffer(GL_FRAMEBUFFER, framebuffer);
	glFramebufferRenderbuffer(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_RENDERBUFFER, target);
	ret = painter_draw_cursor(&guest->painter, &canvas, seed);
	glFinish();
	glBindFramebuffer(GL_FRAMEBUFFER, 0);
	glDeleteFramebuffers(1, &framebuffer);
	glDeleteRenderbuffers(1, &target);
	eglDestroyImage(guest->egl, image);
	return ret;
}

static int command_cursor(struct guest *guest, char **words, unsigned n)
{
	struct gbm_bo *memory;
	int ret;

	if (n < 4)
		return card_hide_cursor(&guest->card);
	memory = gbm_bo_create(guest->gbm, CURSOR_SIZE, CURSOR_SIZE, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_RENDERING);
	if (!memory)
		return guest_check(-1, "memory for a cursor");
	ret = draw_cursor(guest, memory, (uint32_t)atoi(words[1]));
	if (ret == 0)
		ret = card_set_cursor_image(&guest->card, gbm_bo_get_handle(memory).u32);
	if (ret == 0)
		ret = card_move_cursor(&guest->card, atoi(words[2]), atoi(words[3]));
	gbm_bo_destroy(memory);
	return ret;
}

static int command_renderer(struct guest *guest, char **words, unsigned n)
{
	printf("@@RENDERER %s\n", (const char *)glGetString(GL_RENDERER));
	printf("@@VERSION %s\n", (const char *)glGetString(GL_VERSION));
	return 0;
}

static const struct guest_command commands[] = {
	{ "draw", 2, command_draw }, { "texture", 2, command_texture }, { "flip", 3, command_flip },
	{ "read", 2, command_read }, { "cursor", 1, command_cursor },   { "renderer", 1, command_renderer },
};

int main(void)
{
	struct guest guest = { .card.fd = -1, .frame = FRAME_NONE };
	int ret = open_window(&guest);

	if (ret == 0)
		guest_serve("guest-gl", &guest, commands, sizeof(commands) / sizeof(commands[0]));
	close_window(&guest);
	return ret < 0;
}
