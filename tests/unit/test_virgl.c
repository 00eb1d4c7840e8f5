/* SPDX-License-Identifier: MIT */
/* virglrenderer behind render/renderer.h: what is drawn, transferred, read and exported is what was asked for. */
#include <drm_fourcc.h>
#include <epoxy/egl.h>
#include <epoxy/gl.h>
#include <errno.h>
#include <string.h>

#include <vitrine/buffer.h>

#include "virgl_fixture.h"

enum { Y_0_TOP = 1 };

static void test_capsets(void)
{
	struct virgl_fixture fixture;
	uint32_t caps[1024];

	virgl_fixture_init(&fixture);
	g_assert_cmpuint(fixture.renderer->n_capsets, ==, 2);
	for (uint32_t i = 0; i < 2; i++) {
		const struct vtr_capset *capset = &fixture.renderer->capsets[i];

		g_assert_cmpuint(capset->id, ==, i + 1);
		g_assert_cmpuint(capset->max_size, >=, 300);
		g_assert_cmpuint(capset->max_size, <, sizeof(caps));
		memset(caps, 0, sizeof(caps));
		fixture.renderer->impl->fill_capset(fixture.renderer, capset->id, capset->max_version, caps, capset->max_size);
		g_assert_cmpuint(caps[0], ==, i + 1); // max_version
		memset(caps, 0, sizeof(caps));
		fixture.renderer->impl->fill_capset(fixture.renderer, capset->id, capset->max_version, caps, 4);
		g_assert_cmpuint(caps[0], ==, i + 1);
		g_assert_cmpuint(caps[1], ==, 0); // no more than asked for
	}
	g_assert_true(g_str_has_prefix(vtr_renderer_description(fixture.renderer), "virgl on "));
	virgl_fixture_finish(&fixture);
}

/* A guest is told of what it may have, and not what virglrenderer takes for the size of a memory that it does not know. */
static void test_video_memory(void)
{
	const struct vtr_renderer_options options = { .max_hostmem = UINT64_C(512) << 20 };
	struct virgl_fixture fixture;
	uint32_t caps[1024];

	virgl_fixture_init_with(&fixture, &options);
	fixture.renderer->impl->fill_capset(fixture.renderer, 2, 2, caps, sizeof(caps));
	g_assert_cmpuint(caps[173], ==, 512);
	virgl_fixture_finish(&fixture);
}

static void test_one(void)
{
	struct virgl_fixture fixture;
	struct vtr_error error;

	virgl_fixture_init(&fixture);
	g_assert_null(vtr_virgl_create(fixture.loop, &(struct vtr_renderer_options){ 0 }, &error));
	g_assert_cmpint(error.code, ==, EBUSY);
	virgl_fixture_finish(&fixture);
	virgl_fixture_init(&fixture);
	virgl_fixture_finish(&fixture);
}

static void draw(struct virgl_fixture *fixture, uint32_t resource_id, uint32_t format, float r, float g, float b)
{
	struct virgl_stream stream = { .count = 0 };

	g_assert_cmpint(virgl_call(fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, resource_id), ==, 0);
	stream_draw_to(&stream, 100 + resource_id, resource_id, format, 0, 0);
	stream_clear(&stream, r, g, b, 1);
	g_assert_cmpint(virgl_submit(fixture, 1, &stream), ==, 0);
}

static void test_clear(void)
{
	struct virgl_fixture fixture;
	struct vtr_render_args texture = virgl_texture(7, FORMAT_B8G8R8A8, 64, 32);
	struct vtr_render_box all = { .w = 64, .h = 32, .d = 1 };

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	g_assert_cmpint(virgl_create(&fixture, &texture), ==, 0);
	g_assert_cmpint(virgl_attach_backing(&fixture, 7), ==, 0);
	draw(&fixture, 7, FORMAT_B8G8R8A8, 1, 0, 0.2f);
	g_assert_cmpint(virgl_fence(&fixture, 500, 0), ==, 0);
	virgl_wait_fences(&fixture, 1);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 1, 7, &all, 0, 0, 0, 0), ==, 0);
	for (unsigned i = 0; i < 64 * 32; i++)
		g_assert_cmphex(guest_words(&fixture)[i], ==, 0xffff0033);
	g_assert_cmphex(guest_words(&fixture)[64 * 32], ==, 0);
	virgl_fixture_finish(&fixture);
}

/* ---- orientation ---- */

struct orientation {
	const char *name;
	uint32_t flags, format, image_format;
	uint32_t expected[2]; // top and bottom row
};

/* A texture of two rows of different colours, put there by a transfer, whose row 0 is the top one by definition. */
static void upload_two_rows(struct virgl_fixture *fixture, const struct orientation *row)
{
	struct vtr_render_args texture = virgl_texture(1, row->format, 16, 2);
	struct vtr_render_box all = { .w = 16, .h = 2, .d = 1 };

	texture.create_3d.flags = row->flags;
	g_assert_cmpint(virgl_create_context(fixture, 1), ==, 0);
	g_assert_cmpint(virgl_create(fixture, &texture), ==, 0);
	g_assert_cmpint(virgl_attach_backing(fixture, 1), ==, 0);
	for (unsigned i = 0; i < 32; i++)
		guest_words(fixture)[i] = i < 16 ? 0xff112233 : 0xff445566;
	g_assert_cmpint(virgl_transfer(fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 1, &all, 0, 0, 64, 0), ==, 0);
}

static void test_read(gconstpointer data)
{
	const struct orientation *row = data;
	struct vtr_image *image = vtr_image_create(16, 2, row->image_format);
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	upload_two_rows(&fixture, row);
	g_assert_cmpint(virgl_read(&fixture, 1, 0, 0, 16, 2, image), ==, 0);
	g_assert_cmphex(image_pixel(image, 3, 0), ==, row->expected[0]);
	g_assert_cmphex(image_pixel(image, 15, 1), ==, row->expected[1]);
	vtr_image_destroy(image);

	/* a part of it, and nothing else */
	image = vtr_image_create(16, 2, row->image_format);
	g_assert_cmpint(virgl_read(&fixture, 1, 4, 1, 3, 1, image), ==, 0);
	g_assert_cmphex(image_pixel(image, 3, 1), ==, 0);
	g_assert_cmphex(image_pixel(image, 4, 1), ==, row->expected[1]);
	g_assert_cmphex(image_pixel(image, 6, 1), ==, row->expected[1]);
	g_assert_cmphex(image_pixel(image, 7, 1), ==, 0);
	g_assert_cmphex(image_pixel(image, 4, 0), ==, 0);
	vtr_image_destroy(image);
	virgl_fixture_finish(&fixture);
}

struct sampled {
	const struct vtr_buffer *buffer;
	uint32_t rows[2]; // t = 0 first; RGBA
};

/* Another thread with a context of its own, as a display is. */
static gpointer sample(gpointer data)
{
	struct sampled *sampled = data;
	const struct vtr_buffer_texture *texture = vtr_buffer_texture(sampled->buffer);
	static const EGLint version[] = { EGL_CONTEXT_MAJOR_VERSION, 2, EGL_NONE };
	GLuint name, framebuffer;
	uint32_t pixels[32];

	eglBindAPI(EGL_OPENGL_ES_API);
	EGLContext context = eglCreateContext(texture->egl_display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, version);
	g_assert_true(eglMakeCurrent(texture->egl_display, EGL_NO_SURFACE, EGL_NO_SURFACE, context));
	glGenTextures(1, &name);
	glBindTexture(GL_TEXTURE_2D, name);
	glEGLImageTargetTexture2DOES(GL_TEXTURE_2D, texture->egl_image);
	g_assert_cmphex(glGetError(), ==, GL_NO_ERROR);
	glGenFramebuffers(1, &framebuffer);
	glBindFramebuffer(GL_FRAMEBUFFER, framebuffer);
	glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, name, 0);
	g_assert_cmphex(glCheckFramebufferStatus(GL_FRAMEBUFFER), ==, GL_FRAMEBUFFER_COMPLETE);
	glReadPixels(0, 0, 16, 2, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	sampled->rows[0] = pixels[0];
	sampled->rows[1] = pixels[16];
	glDeleteFramebuffers(1, &framebuffer);
	glDeleteTextures(1, &name);
	eglMakeCurrent(texture->egl_display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
	eglDestroyContext(texture->egl_display, context);
	return NULL;
}

static void test_export(gconstpointer data)
{
	const struct orientation *row = data;
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_EXPORT, .resource_id = 1 } };
	struct sampled sampled;
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	upload_two_rows(&fixture, row);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, 0);
	g_assert_cmpint(vtr_buffer_path(call.exported), ==, VTR_PATH_VIRGL);
	if (vtr_buffer_fd(call.exported) < 0)
		g_assert_cmpstr(call.why.text, !=, "");
	else
		g_assert_nonnull(vtr_buffer_layout(call.exported));
	g_assert_true(vtr_buffer_texture(call.exported)->egl_display == fixture.renderer->egl_display);
	g_assert_cmpuint(vtr_buffer_texture(call.exported)->width, ==, 16);
	g_assert_cmpuint(vtr_buffer_texture(call.exported)->height, ==, 2);
	/* it outlives the resource and the renderer */
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_UNREF, 0, 1), ==, 0);
	virgl_fixture_finish(&fixture);
	sampled.buffer = call.exported;
	g_thread_join(g_thread_new("display", sample, &sampled));
	vtr_buffer_drop(call.exported);
	g_assert_cmphex(sampled.rows[0], ==, row->expected[0]);
	g_assert_cmphex(sampled.rows[1], ==, row->expected[1]);
}

int main(int argc, char **argv)
{
	static const struct orientation reads[] = {
		{ "as-it-is", 0, FORMAT_B8G8R8X8, DRM_FORMAT_XRGB8888, { 0xff112233, 0xff445566 } },
		{ "as-it-is-y-0-top", Y_0_TOP, FORMAT_B8G8R8X8, DRM_FORMAT_XRGB8888, { 0xff112233, 0xff445566 } },
		{ "converted", 0, FORMAT_B8G8R8A8, DRM_FORMAT_ABGR8888, { 0xff332211, 0xff665544 } },
		{ "converted-y-0-top", Y_0_TOP, FORMAT_B8G8R8A8, DRM_FORMAT_ABGR8888, { 0xff332211, 0xff665544 } },
		{ "rgba", 0, FORMAT_R8G8B8A8, DRM_FORMAT_ABGR8888, { 0xff112233, 0xff445566 } },
		{ "rgba-converted", Y_0_TOP, FORMAT_R8G8B8A8, DRM_FORMAT_ARGB8888, { 0xff332211, 0xff665544 } },
	};
	static const struct orientation exports[] = {
		{ "top-first", 0, FORMAT_R8G8B8A8, 0, { 0xff112233, 0xff445566 } },
		{ "y-0-top-bottom-first", Y_0_TOP, FORMAT_R8G8B8A8, 0, { 0xff445566, 0xff112233 } },
		{ "bgra", 0, FORMAT_B8G8R8A8, 0, { 0xff332211, 0xff665544 } },
	};

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/virgl/capsets", test_capsets);
	g_test_add_func("/unit/virgl/video-memory", test_video_memory);
	g_test_add_func("/unit/virgl/one", test_one);
	g_test_add_func("/unit/virgl/clear", test_clear);
	for (size_t i = 0; i < G_N_ELEMENTS(reads); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virgl/read/%s", reads[i].name);

		g_test_add_data_func(name, &reads[i], test_read);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(exports); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virgl/export/%s", exports[i].name);

		g_test_add_data_func(name, &exports[i], test_export);
	}
	return g_test_run();
}
