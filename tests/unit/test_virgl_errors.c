/* SPDX-License-Identifier: MIT */
/* What is wrong is refused, and the next right thing works: nothing that a guest asks for ends the process. */
#include <epoxy/egl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../ui/egl_software.h"
#include "virgl_fixture.h"

static const struct vtr_render_box one = { .w = 1, .h = 1, .d = 1 };

static void test_unknown_ids(void)
{
	static const uint32_t resource_ops[] = {
		VTR_RENDER_UNREF,  VTR_RENDER_DETACH_BACKING, VTR_RENDER_TRANSFER_TO_HOST,    VTR_RENDER_TRANSFER_FROM_HOST,
		VTR_RENDER_EXPORT, VTR_RENDER_EXPORT_BLOB,    VTR_RENDER_CTX_ATTACH_RESOURCE, VTR_RENDER_CTX_DETACH_RESOURCE
	};
	struct virgl_stream stream = { .count = 0 };
	struct vtr_render_args args = virgl_texture(9, FORMAT_B8G8R8A8, 8, 8);
	struct vtr_image *image = vtr_image_create(4, 4, 0);
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(resource_ops); i++)
		g_assert_cmpint(virgl_call(&fixture, resource_ops[i], 1, 9), ==, -ENOENT);
	g_assert_cmpint(virgl_attach_backing(&fixture, 9), ==, -ENOENT);
	g_assert_cmpint(virgl_read(&fixture, 9, 0, 0, 4, 4, image), ==, -ENOENT);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, -EINVAL);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 2, 9), ==, -ENOENT);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_DESTROY, 2, 0), ==, -ENOENT);
	g_assert_cmpint(virgl_submit(&fixture, 2, &stream), ==, -ENOENT);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, -EINVAL);
	g_assert_cmpint(virgl_create_context(&fixture, 0), ==, -EINVAL);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_OPS, 0, 0), ==, -EINVAL);
	vtr_image_destroy(image);
	virgl_fixture_finish(&fixture);
}

/* ---- RESOURCE_CREATE_3D ---- */

struct create_row {
	const char *name;
	uint32_t target, format, bind, width, height, depth, layers, last_level, samples, flags;
};

static void test_create(gconstpointer data)
{
	const struct create_row *row = data;
	struct vtr_render_args args = { .op = VTR_RENDER_CREATE_3D, .resource_id = 4 }, good;
	struct virgl_fixture fixture;

	args.create_3d.target = row->target;
	args.create_3d.format = row->format;
	args.create_3d.bind = row->bind;
	args.create_3d.width = row->width;
	args.create_3d.height = row->height;
	args.create_3d.depth = row->depth;
	args.create_3d.array_size = row->layers;
	args.create_3d.last_level = row->last_level;
	args.create_3d.nr_samples = row->samples;
	args.create_3d.flags = row->flags;
	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, -EINVAL);
	good = virgl_texture(4, FORMAT_B8G8R8A8, 8, 8);
	g_assert_cmpint(virgl_create(&fixture, &good), ==, 0);
	virgl_fixture_finish(&fixture);
}

/* ---- transfers ---- */

struct transfer_row {
	const char *name;
	struct vtr_render_box box;
	uint64_t offset;
	uint32_t level, stride, layer_stride;
};

/* Of a texture of 64x64 with two levels; the guest has GUEST_SIZE bytes. */
static void test_transfer(gconstpointer data)
{
	const struct transfer_row *row = data;
	struct vtr_render_args args = virgl_texture(4, FORMAT_B8G8R8A8, 64, 64);
	struct virgl_fixture fixture;

	args.create_3d.last_level = 1;
	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 4, &one, 0, 0, 0, 0), ==, -EINVAL);
	g_assert_cmpint(virgl_attach_backing(&fixture, 4), ==, 0);
	g_assert_cmpint(virgl_attach_backing(&fixture, 4), ==, -EINVAL);
	for (uint32_t op = VTR_RENDER_TRANSFER_TO_HOST; op <= VTR_RENDER_TRANSFER_FROM_HOST; op++)
		g_assert_cmpint(
			virgl_transfer(&fixture, op, 0, 4, &row->box, row->offset, row->level, row->stride, row->layer_stride), ==,
			-EINVAL);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 4, &one, 0, 0, 0, 0), ==, 0);
	virgl_fixture_finish(&fixture);
}

static void test_read_outside(void)
{
	struct vtr_render_args args = virgl_texture(4, FORMAT_B8G8R8A8, 64, 32);
	struct vtr_image *image = vtr_image_create(64, 64, 0x34325258);
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(virgl_read(&fixture, 4, 0, 0, 64, 33, image), ==, -EINVAL);
	g_assert_cmpint(virgl_read(&fixture, 4, 1, 0, 64, 1, image), ==, -EINVAL);
	g_assert_cmpint(virgl_read(&fixture, 4, UINT32_MAX, 0, 2, 1, image), ==, -EINVAL);
	g_assert_cmpint(virgl_read(&fixture, 4, 0, 0, 0, 1, image), ==, -EINVAL);
	g_assert_cmpint(virgl_read(&fixture, 4, 0, 0, 64, 32, image), ==, 0);
	vtr_image_destroy(image);
	virgl_fixture_finish(&fixture);
}

/* ---- streams ---- */

static void test_garbage(void)
{
	struct vtr_render_args args = virgl_texture(4, FORMAT_B8G8R8A8, 64, 64);
	struct virgl_stream stream = { .count = 0 };
	struct virgl_fixture fixture;
	GRand *random = g_rand_new_with_seed(7);

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	for (unsigned round = 0; round < 200; round++) {
		g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
		g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, 4), ==, 0);
		for (stream.count = 0; stream.count < 64;)
			stream_word(&stream, g_rand_int(random));
		g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, -EINVAL);
		g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_DESTROY, 1, 0), ==, 0);
	}
	g_rand_free(random);
	virgl_fixture_finish(&fixture);
}

static void test_cut_off(void)
{
	struct virgl_stream stream = { .count = 0 };
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_SUBMIT, .ctx_id = 1 }, .data = stream.words, .size = 6 };
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, 0); // nothing at all
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, -EINVAL);
	stream_command(&stream, CCMD_CLEAR, 0, 8);
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, -EINVAL);
	/* it did not get as far as the context, which goes on */
	stream.count = 0;
	stream_command(&stream, 0, 0, 0);
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, 0);
	virgl_fixture_finish(&fixture);
}

struct stream_row {
	const char *name;
	uint32_t command, length;
	uint32_t words[16];
};

/* Commands that virglrenderer would not survive. The texture 4 has 64x64 pixels and backing, 5 has none. */
static void test_stream(gconstpointer data)
{
	const struct stream_row *row = data;
	struct vtr_render_args args = virgl_texture(4, FORMAT_B8G8R8A8, 64, 64);
	struct virgl_stream stream = { .count = 0 };
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	for (; args.resource_id < 6; args.resource_id++) {
		g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
		g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, args.resource_id), ==, 0);
	}
	g_assert_cmpint(virgl_attach_backing(&fixture, 4), ==, 0);
	stream_command(&stream, row->command, 0, row->length);
	for (uint32_t i = 0; i < row->length; i++)
		stream_word(&stream, i < G_N_ELEMENTS(row->words) ? row->words[i] : 0);
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, -EINVAL);
	virgl_fixture_finish(&fixture);
}

static void submit_shader(struct virgl_fixture *fixture, const char *text, int expected)
{
	struct virgl_stream stream = { .count = 0 };
	uint32_t length = (uint32_t)strlen(text) + 1, words = (length + 3) / 4;

	stream_command(&stream, CCMD_CREATE_OBJECT, OBJECT_SHADER, 5 + words);
	stream_word(&stream, 77);
	stream_word(&stream, 1); // a fragment shader
	stream_word(&stream, length);
	stream_word(&stream, 300); // tokens
	stream_word(&stream, 0);
	memset(&stream.words[stream.count], 0, words * 4);
	memcpy(&stream.words[stream.count], text, length);
	stream.count += words;
	g_assert_cmpint(virgl_submit(fixture, 1, &stream), ==, expected);
}

/* Another context does not care. */
static void test_shader(void)
{
	struct virgl_stream nothing = { .words = { 0 }, .count = 1 };
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	g_assert_cmpint(virgl_create_context(&fixture, 2), ==, 0);
	submit_shader(&fixture, "FRAG\nDCL OUT[0], COLOR\nIMM[0] FLT32 { 1.0, 0.0, 0.0, 1.0 }\n0: MOV OUT[0], IMM[0]\n1: END\n", 0);
	submit_shader(&fixture, "FRAG\nthis is no shader\n", -EINVAL);
	g_assert_cmpint(virgl_submit(&fixture, 2, &nothing), ==, 0);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_DESTROY, 1, 0), ==, 0);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	g_assert_cmpint(virgl_submit(&fixture, 1, &nothing), ==, 0);
	virgl_fixture_finish(&fixture);
}

static void stream_sub_contexts(struct virgl_stream *stream, uint32_t command, uint32_t first, uint32_t count)
{
	stream->count = 0;
	for (uint32_t i = 0; i < count; i++) {
		stream_command(stream, command, 0, 1);
		stream_word(stream, first + i);
	}
}

static void test_sub_contexts(void)
{
	struct virgl_stream stream;
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	stream_sub_contexts(&stream, CCMD_CREATE_SUB_CTX, 1, 1000);
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, -ENOMEM);
	for (unsigned round = 0; round < 3; round++) {
		stream_sub_contexts(&stream, CCMD_CREATE_SUB_CTX, 1, 40);
		g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, 0);
		g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, -ENOMEM);
		stream_sub_contexts(&stream, CCMD_DESTROY_SUB_CTX, 1, 40);
		g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, 0);
	}
	virgl_fixture_finish(&fixture);
}

/* ---- life ---- */

static unsigned count_fds(void)
{
	GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(dir))
		count++;
	g_dir_close(dir);
	return count;
}

static long resident_pages(void)
{
	char *text;
	long size, resident;

	g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
	g_assert_cmpint(sscanf(text, "%ld %ld", &size, &resident), ==, 2);
	g_free(text);
	return resident;
}

/* Contexts, resources with backing, objects and fences of which nothing is left after each round. */
static void reset_round(struct virgl_fixture *fixture, unsigned round)
{
	struct vtr_render_args args = virgl_texture(1, FORMAT_B8G8R8A8, 256, 256);
	struct virgl_stream stream = { .count = 0 };

	g_assert_cmpint(virgl_create_context(fixture, 1), ==, 0);
	for (args.resource_id = 1; args.resource_id < 4; args.resource_id++) {
		g_assert_cmpint(virgl_create(fixture, &args), ==, 0);
		g_assert_cmpint(virgl_attach_backing(fixture, args.resource_id), ==, 0);
		g_assert_cmpint(virgl_call(fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, args.resource_id), ==, 0);
		stream_draw_to(&stream, 10 + args.resource_id, args.resource_id, FORMAT_B8G8R8A8, 0, 0);
		stream_clear(&stream, 0, 0, 1, 1);
	}
	stream_command(&stream, CCMD_CREATE_SUB_CTX, 0, 1);
	stream_word(&stream, 1);
	g_assert_cmpint(virgl_submit(fixture, 1, &stream), ==, 0);
	g_assert_cmpint(virgl_fence(fixture, 2 * round + 1, 0), ==, 0);
	g_assert_cmpint(virgl_fence(fixture, 2 * round + 2, 1), ==, 0);
	g_assert_cmpint(virgl_call(fixture, VTR_RENDER_RESET, 0, 0), ==, 0);
	g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 0), ==, 0);
}

static void test_reset_rounds(void)
{
	enum { WARM = 100, ROUNDS = 1000 };
	struct virgl_fixture fixture;
	unsigned round = 0;

	virgl_fixture_init(&fixture);
	while (round < WARM)
		reset_round(&fixture, round++);
	unsigned fds = count_fds();
	long pages = resident_pages();
	while (round < ROUNDS)
		reset_round(&fixture, round++);
	g_assert_cmpuint(count_fds(), ==, fds);
	/* what leaks each time would be 900 times as much: a picture is 64 pages */
	g_assert_cmpint(resident_pages() - pages, <, 900 * 4);
	g_assert_cmpuint(fixture.n_done, ==, 0);
	virgl_fixture_finish(&fixture);
}

static void test_render_node_missing(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	struct vtr_error error = { 0 };

	g_assert_null(vtr_virgl_create(loop, &(struct vtr_renderer_options){ .render_node = "/dev/null" }, &error));
	g_assert_cmpint(error.owner, ==, VTR_ERROR_HOST);
	g_assert_nonnull(strstr(error.text, "/dev/null"));
	vtr_loop_destroy(loop);
}

/* The display that drew ends under the renderer. */
static void test_display_gone(void)
{
	EGLDisplay display = software_display();
	struct vtr_render_args args = virgl_texture(1, FORMAT_B8G8R8A8, 64, 64);
	struct virgl_stream stream = { .count = 0 };
	struct virgl_fixture fixture;

	g_assert_true(eglInitialize(display, NULL, NULL));
	virgl_fixture_init_with(&fixture, &(struct vtr_renderer_options){ .egl_display = display });
	g_assert_true(fixture.renderer->egl_display == display);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_cmpint(virgl_fence(&fixture, 1, 0), ==, 0);
	eglTerminate(display);
	stream_clear(&stream, 1, 1, 1, 1);
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, -ENODEV);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	g_assert_cmpint(virgl_create_context(&fixture, 2), ==, -ENODEV);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_UNREF, 0, 1), ==, -ENODEV);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_RESET, 0, 0), ==, 0);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	virgl_fixture_finish(&fixture);
	virgl_fixture_init(&fixture); // another works
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	virgl_fixture_finish(&fixture);
}

/* Somebody else uses EGL on the same thread. */
static void test_current_changed(void)
{
	static const EGLint version[] = { EGL_CONTEXT_MAJOR_VERSION, 2, EGL_NONE };
	struct vtr_render_args args = virgl_texture(1, FORMAT_B8G8R8A8, 64, 64);
	struct virgl_fixture fixture;
	EGLDisplay display;

	virgl_fixture_init(&fixture);
	display = fixture.renderer->egl_display;
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	eglBindAPI(EGL_OPENGL_ES_API);
	EGLContext other = eglCreateContext(display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, version);
	g_assert_true(eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, other));
	g_assert_cmpint(virgl_create(&fixture, &args), ==, 0);
	g_assert_true(eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT));
	g_assert_cmpint(virgl_attach_backing(&fixture, 1), ==, 0);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 1, &one, 0, 0, 0, 0), ==, 0);
	eglDestroyContext(display, other);
	virgl_fixture_finish(&fixture);
}

int main(int argc, char **argv)
{
	enum { T = BIND_SAMPLER_VIEW };
	static const struct create_row creates[] = {
		{ "target", 9, 1, T, 8, 8, 1, 1 },
		{ "target-huge", UINT32_MAX, 1, T, 8, 8, 1, 1 },
		{ "format-none", TARGET_2D, 0, T, 8, 8, 1, 1 },
		{ "format-unknown", TARGET_2D, 5000, T, 8, 8, 1, 1 },
		{ "format-huge", TARGET_2D, UINT32_MAX, T, 8, 8, 1, 1 },
		{ "width-0", TARGET_2D, 1, T, 0, 8, 1, 1 },
		{ "height-0", TARGET_2D, 1, T, 8, 0, 1, 1 },
		{ "depth-0", TARGET_3D, 1, T, 8, 8, 0, 1 },
		{ "width-large", TARGET_2D, 1, T, 16385, 1, 1, 1 },
		{ "height-large", TARGET_2D, 1, T, 1, UINT32_MAX, 1, 1 },
		{ "depth-large", TARGET_3D, 1, T, 1, 1, 4096, 1 },
		{ "texels", TARGET_2D_ARRAY, 1, T, 16384, 16384, 1, 2 },
		{ "layers-0", TARGET_2D_ARRAY, 1, T, 8, 8, 1, 0 },
		{ "layers-large", TARGET_2D_ARRAY, 1, T, 1, 1, 1, UINT32_MAX },
		{ "layers-of-2d", TARGET_2D, 1, T, 8, 8, 1, 2 },
		{ "cube-layers", TARGET_CUBE, 1, T, 8, 8, 1, 5 },
		{ "cube-not-square", TARGET_CUBE, 1, T, 8, 4, 1, 6 },
		{ "2d-deep", TARGET_2D, 1, T, 8, 8, 2, 1 },
		{ "1d-high", TARGET_1D, 1, T, 8, 2, 1, 1 },
		{ "levels", TARGET_2D, 1, T, 8, 8, 1, 1, 4 },
		{ "levels-huge", TARGET_2D, 1, T, 8, 8, 1, 1, UINT32_MAX },
		{ "levels-of-rect", TARGET_RECT, 1, T, 8, 8, 1, 1, 1 },
		{ "samples-huge", TARGET_2D, 1, T, 8, 8, 1, 1, 0, UINT32_MAX },
		{ "samples-3d", TARGET_3D, 1, T, 8, 8, 8, 1, 0, 4 },
		{ "samples-levels", TARGET_2D, 1, T, 8, 8, 1, 1, 1, 4 },
		{ "flags", TARGET_2D, 1, T, 8, 8, 1, 1, 0, 0, 2 },
		{ "y-0-top-3d", TARGET_3D, 1, T, 8, 8, 8, 1, 0, 0, 1 },
		{ "bind-none", TARGET_2D, 1, 0, 8, 8, 1, 1 },
		{ "buffer-high", TARGET_BUFFER, FORMAT_R8, BIND_VERTEX_BUFFER, 8, 8, 1, 1 },
		{ "buffer-huge", TARGET_BUFFER, FORMAT_R8, BIND_VERTEX_BUFFER, UINT32_MAX, 1, 1, 1 },
	};
	static const struct transfer_row transfers[] = {
		{ "x", { 64, 0, 0, 1, 1, 1 } },
		{ "width", { 1, 0, 0, 64, 1, 1 } },
		{ "x-wraps", { UINT32_MAX, 0, 0, 2, 1, 1 } },
		{ "y-wraps", { 0, UINT32_MAX - 1, 0, 1, 4, 1 } },
		{ "height", { 0, 63, 0, 1, 2, 1 } },
		{ "layer", { 0, 0, 1, 1, 1, 1 } },
		{ "depth", { 0, 0, 0, 1, 1, 2 } },
		{ "level-none", { 0, 0, 0, 1, 1, 1 }, 0, 2 },
		{ "level-huge", { 0, 0, 0, 1, 1, 1 }, 0, UINT32_MAX },
		{ "level-smaller", { 0, 0, 0, 64, 64, 1 }, 0, 1 },
		{ "stride-small", { 0, 0, 0, 64, 64, 1 }, 0, 0, 64 },
		{ "stride-huge", { 0, 0, 0, 64, 64, 1 }, 0, 0, UINT32_MAX },
		{ "offset", { 0, 0, 0, 64, 64, 1 }, GUEST_SIZE - 64 * 64 * 4 + 4, 0 },
		{ "offset-huge", { 0, 0, 0, 1, 1, 1 }, UINT64_MAX - 3, 0 },
		{ "offset-outside", { 0, 0, 0, 1, 1, 1 }, GUEST_SIZE, 0 },
	};

	static const struct stream_row streams[] = {
		{ "inline-write-stride", 9, 31, { 4, 0, 0, UINT32_MAX, 0, 0, 0, 0, 4, 4, 1 } },
		{ "inline-write-layers", 9, 31, { 4, 0, 0, 16, UINT32_MAX, 0, 0, 0, 4, 1, 4 } },
		{ "inline-write-short", 9, 5, { 4 } },
		{ "transfer-stride", 43, 13, { 4, 0, 0, UINT32_MAX, 0, 0, 0, 0, 64, 64, 1, 0, 1 } },
		{ "transfer-read-stride", 43, 13, { 4, 0, 0, UINT32_MAX, 0, 0, 0, 0, 64, 64, 1, 0, 2 } },
		{ "transfer-offset", 43, 13, { 4, 0, 0, 256, 0, 0, 0, 0, 64, 64, 1, UINT32_MAX, 1 } },
		{ "transfer-x", 43, 13, { 4, 0, 0, 256, 0, UINT32_MAX, 0, 0, 64, 64, 1, 0, 1 } },
		{ "copy-transfer-stride", 45, 14, { 5, 0, 0, UINT32_MAX, 0, 0, 0, 0, 64, 64, 1, 4, 0, 1 } },
		{ "shader-image-format", 35, 7, { 1, 0, UINT32_MAX, 2, 0, 0, 4 } },
		{ "memory-info-nowhere", 50, 1, { 5 } },
		{ "memory-info-unknown", 50, 1, { 77 } },
		{ "make-huge", 48, 11, { TARGET_2D, 1, BIND_SAMPLER_VIEW, UINT32_MAX, UINT32_MAX, 1, 1, 0, 0, 0, 1 } },
		{ "make-short", 48, 3, { TARGET_2D } },
	};

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/virgl/error/unknown-ids", test_unknown_ids);
	for (size_t i = 0; i < G_N_ELEMENTS(creates); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virgl/error/create/%s", creates[i].name);

		g_test_add_data_func(name, &creates[i], test_create);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(transfers); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virgl/error/transfer/%s", transfers[i].name);

		g_test_add_data_func(name, &transfers[i], test_transfer);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(streams); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virgl/error/stream/%s", streams[i].name);

		g_test_add_data_func(name, &streams[i], test_stream);
	}
	g_test_add_func("/unit/virgl/error/read-outside", test_read_outside);
	g_test_add_func("/unit/virgl/error/garbage", test_garbage);
	g_test_add_func("/unit/virgl/error/cut-off", test_cut_off);
	g_test_add_func("/unit/virgl/error/shader", test_shader);
	g_test_add_func("/unit/virgl/error/sub-contexts", test_sub_contexts);
	g_test_add_func("/unit/virgl/error/reset-rounds", test_reset_rounds);
	g_test_add_func("/unit/virgl/error/render-node-missing", test_render_node_missing);
	g_test_add_func("/unit/virgl/error/display-gone", test_display_gone);
	g_test_add_func("/unit/virgl/error/current-changed", test_current_changed);
	return g_test_run();
}
