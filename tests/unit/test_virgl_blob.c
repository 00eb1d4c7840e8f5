/* SPDX-License-Identifier: MIT */
/* Blobs of the guest's memory and of the host's, with virglrenderer. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>

#include <vitrine/buffer.h>

#include "virgl_fixture.h"

enum { SIZE = 4096, BLOB = 17, ID = 99 };

static int create_blob(struct virgl_fixture *fixture, uint32_t resource_id, uint32_t mem, uint64_t blob_id, uint64_t size,
                       const struct vtr_spans *spans)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_CREATE_BLOB, .ctx_id = 1, .resource_id = resource_id },
		                        .spans = spans };

	call.args.create_blob.blob_mem = mem;
	call.args.create_blob.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE;
	call.args.create_blob.blob_id = blob_id;
	call.args.create_blob.size = size;
	return vtr_renderer_call_wait(fixture->renderer, &call);
}

/* A context makes what CREATE_BLOB then takes by its id. */
static void make(struct virgl_fixture *fixture, uint32_t target, uint32_t format, uint32_t bind, uint32_t width, uint32_t height)
{
	struct virgl_stream stream = { .count = 0 };
	const uint32_t words[] = { target, format, bind, width, height, 1, 1, 0, 0, 0, ID };

	stream_command(&stream, CCMD_PIPE_RESOURCE_CREATE, 0, G_N_ELEMENTS(words));
	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		stream_word(&stream, words[i]);
	g_assert_cmpint(virgl_submit(fixture, 1, &stream), ==, 0);
}

static void init(struct virgl_fixture *fixture)
{
	virgl_fixture_init(fixture);
	g_assert_cmpint(virgl_create_context(fixture, 1), ==, 0);
}

static void clear(struct virgl_fixture *fixture, uint32_t resource_id)
{
	struct virgl_stream stream = { .count = 0 };

	g_assert_cmpint(virgl_call(fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, resource_id), ==, 0);
	stream_draw_to(&stream, 5, resource_id, FORMAT_B8G8R8A8, 0, 0);
	stream_clear(&stream, 1, 0, 1, 1);
	g_assert_cmpint(virgl_submit(fixture, 1, &stream), ==, 0);
}

/* Drawn to by its context, and shown. */
static void test_host3d(void)
{
	struct vtr_image *image = vtr_image_create(32, 32, 0x34325258);
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_EXPORT, .resource_id = BLOB } };
	struct virgl_fixture fixture;

	init(&fixture);
	make(&fixture, TARGET_2D, FORMAT_B8G8R8A8, BIND_RENDER_TARGET | BIND_SAMPLER_VIEW, 32, 32);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, NULL), ==, 0);
	clear(&fixture, BLOB);
	g_assert_cmpint(virgl_read(&fixture, BLOB, 0, 0, 32, 32, image), ==, 0);
	g_assert_cmphex(image_pixel(image, 31, 31) & 0xffffff, ==, 0xff00ff);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, 0);
	vtr_buffer_drop(call.exported);
	vtr_image_destroy(image);
	virgl_fixture_finish(&fixture);
}

static void test_host3d_guest(void)
{
	struct vtr_render_box all = { .w = 32, .h = 32, .d = 1 };
	struct virgl_fixture fixture;

	init(&fixture);
	make(&fixture, TARGET_2D, FORMAT_B8G8R8A8, BIND_RENDER_TARGET | BIND_SAMPLER_VIEW, 32, 32);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, ID, SIZE, &fixture.guest), ==, 0);
	clear(&fixture, BLOB);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 1, BLOB, &all, 0, 0, 0, 0), ==, 0);
	g_assert_cmphex(guest_words(&fixture)[0], ==, 0xffff00ff);
	g_assert_cmphex(guest_words(&fixture)[1023], ==, 0xffff00ff);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_DETACH_BACKING, 0, BLOB), ==, 0);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 1, BLOB, &all, 0, 0, 0, 0), ==, -EINVAL);
	virgl_fixture_finish(&fixture);
}

/* The guest's own memory has no texture until a context says what it is: then nothing is to be had of it but an answer. */
static void test_guest(void)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_EXPORT, .resource_id = BLOB } };
	struct vtr_image *image = vtr_image_create(32, 32, 0x34325258);
	struct virgl_fixture fixture;

	init(&fixture);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_GUEST, 0, SIZE, &fixture.guest), ==, 0);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, BLOB), ==, 0);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, -EOPNOTSUPP);
	g_assert_cmpstr(call.why.text, !=, "");
	g_assert_cmpint(virgl_read(&fixture, BLOB, 0, 0, 32, 32, image), ==, -EOPNOTSUPP);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_DETACH_RESOURCE, 1, BLOB), ==, 0);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_UNREF, 0, BLOB), ==, 0);
	vtr_image_destroy(image);
	virgl_fixture_finish(&fixture);
}

static void test_errors(void)
{
	struct virgl_fixture fixture;

	init(&fixture);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, NULL), ==, -EINVAL); // not made
	make(&fixture, TARGET_BUFFER, FORMAT_R8, BIND_VERTEX_BUFFER, SIZE, 1);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, &fixture.guest), ==, -EINVAL);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, 0, NULL), ==, -EINVAL);
	g_assert_cmpint(create_blob(&fixture, BLOB, 4, ID, SIZE, &fixture.guest), ==, -EINVAL);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_GUEST, 0, SIZE, NULL), ==, -EINVAL);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_GUEST, 0, GUEST_SIZE + 1, &fixture.guest), ==, -EINVAL);
	g_assert_cmpint(create_blob(&fixture, 0, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, NULL), ==, -EINVAL);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, NULL), ==, 0);
	g_assert_cmpint(create_blob(&fixture, BLOB + 1, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, NULL), ==, -EINVAL); // taken
	virgl_fixture_finish(&fixture);
}

/* A context that makes and makes, and takes no blobs. */
static void test_made_for_nothing(void)
{
	struct virgl_stream stream = { .count = 0 };
	struct virgl_fixture fixture;

	init(&fixture);
	for (uint32_t i = 0; i < 40; i++) {
		const uint32_t words[] = { TARGET_2D, FORMAT_R8, BIND_SAMPLER_VIEW, 2048, 2048, 1, 1, 0, 0, 0, i };

		stream_command(&stream, CCMD_PIPE_RESOURCE_CREATE, 0, G_N_ELEMENTS(words));
		for (size_t j = 0; j < G_N_ELEMENTS(words); j++)
			stream_word(&stream, words[j]);
	}
	g_assert_cmpint(virgl_submit(&fixture, 1, &stream), ==, -ENOMEM);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_DESTROY, 1, 0), ==, 0);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	/* a blob of a large texture that says it is small */
	make(&fixture, TARGET_2D, FORMAT_B8G8R8A8, BIND_SAMPLER_VIEW, 1024, 1024);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, NULL), ==, -EINVAL);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, 1024 * SIZE, NULL), ==, 0);
	virgl_fixture_finish(&fixture);
}

/* What maps_blobs says is true. */
static void test_export(void)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_EXPORT_BLOB, .resource_id = BLOB } };
	struct virgl_fixture fixture;

	init(&fixture);
	make(&fixture, TARGET_BUFFER, FORMAT_R8, BIND_VERTEX_BUFFER, SIZE, 1);
	g_assert_cmpint(create_blob(&fixture, BLOB, VIRTIO_GPU_BLOB_MEM_HOST3D, ID, SIZE, NULL), ==, 0);
	vtr_renderer_call_wait(fixture.renderer, &call);
	if (fixture.renderer->maps_blobs) {
		g_assert_cmpint(call.code, ==, 0);
		g_assert_cmpuint(call.mapped.size, >=, SIZE);
		g_assert_cmpuint(call.mapped.size % 4096, ==, 0);
		close(call.mapped.fd);
	} else {
		g_assert_cmpint(call.code, ==, -EOPNOTSUPP);
		g_assert_cmpint(call.why.owner, ==, VTR_ERROR_UNSUPPORTED);
		g_assert_nonnull(strstr(call.why.text, "render node"));
	}
	virgl_fixture_finish(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/virgl/blob/host3d", test_host3d);
	g_test_add_func("/unit/virgl/blob/host3d-guest", test_host3d_guest);
	g_test_add_func("/unit/virgl/blob/guest", test_guest);
	g_test_add_func("/unit/virgl/blob/errors", test_errors);
	g_test_add_func("/unit/virgl/blob/made-for-nothing", test_made_for_nothing);
	g_test_add_func("/unit/virgl/blob/export", test_export);
	return g_test_run();
}
