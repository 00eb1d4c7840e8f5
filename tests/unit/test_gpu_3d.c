/* SPDX-License-Identifier: MIT */
/* What each command of 3D takes and what it refuses, a row each, and what the renderer hears of it. */
#include <errno.h>

#include "gpu_3d.h"

enum { PIXELS = 0x10000, OTHER_PIXELS = 0x20000 };

/* ---- what is offered ---- */

static void test_offered(void)
{
	const uint64_t bits = UINT64_C(1) << VIRTIO_GPU_F_VIRGL | UINT64_C(1) << VIRTIO_GPU_F_CONTEXT_INIT;
	struct gpu_machine without;
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	g_assert_cmphex(vtr_virtio_device_features(bench.machine.device) & bits, ==, bits);
	g_assert_cmpuint(bench.machine.gpu->config.base.num_capsets, ==, 2);
	g_assert_cmpstr(gpu_3d_status(&bench).renderer, ==, "the test's renderer");
	gpu_3d_destroy(&bench);

	gpu_machine_create(&without, &(struct vtr_gpu_options){ 0 }, 1, VTR_DEMAND_NONE);
	g_assert_cmphex(vtr_virtio_device_features(without.device) & bits, ==, 0);
	g_assert_cmpuint(without.gpu->config.base.num_capsets, ==, 0);
	gpu_machine_destroy(&without);
}

/* Commands of 3D are none without the feature, whatever the device has. */
static void test_not_negotiated(void)
{
	struct virtio_gpu_ctx_create create = gpu_3d_ctx_create(1);
	struct gpu_blob_request blob = gpu_create_blob(1, PIXELS);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_machine_start(&bench.machine, gpu_features);
	g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, UNSPEC);
	blob.blob.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
	g_assert_cmphex(GPU_CALL(&bench.machine, blob)->type, ==, PARAMETER);
	g_assert_cmpuint(bench.fake->calls->len, ==, 0);
	gpu_3d_destroy(&bench);
}

/* ---- capsets ---- */

static void test_capset_info(void)
{
	struct virtio_gpu_get_capset_info request = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO, .capset_index = 1 };
	const struct virtio_gpu_resp_capset_info *info;
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	info = gpu_machine_call(&bench.machine, &request, sizeof(request));
	g_assert_cmphex(info->hdr.type, ==, VIRTIO_GPU_RESP_OK_CAPSET_INFO);
	g_assert_cmpuint(info->capset_id, ==, 2);
	g_assert_cmpuint(info->capset_max_version, ==, 2);
	g_assert_cmpuint(info->capset_max_size, ==, 1024);
	request.capset_index = 2;
	g_assert_cmphex(GPU_CALL(&bench.machine, request)->type, ==, PARAMETER);
	gpu_3d_destroy(&bench);
}

static const struct capset_row {
	const char *name;
	uint32_t id, version, room, answer;
} capset_rows[] = {
	{ "first", 1, 1, 24 + 308, VIRTIO_GPU_RESP_OK_CAPSET },
	{ "second", 2, 2, 24 + 1024, VIRTIO_GPU_RESP_OK_CAPSET },
	{ "older-version", 2, 0, 24 + 1024, VIRTIO_GPU_RESP_OK_CAPSET },
	{ "newer-version", 2, 3, 24 + 1024, PARAMETER },
	{ "unknown", 3, 1, 24 + 1024, PARAMETER },
	{ "no-room", 2, 2, 24 + 1023, UNSPEC },
};

static void test_capset(gconstpointer data)
{
	const struct capset_row *row = data;
	struct virtio_gpu_get_capset request = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET,
		                                 .capset_id = row->id,
		                                 .capset_version = row->version };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	uint64_t at = gpu_machine_post(&bench.machine, 0, &request, sizeof(request), row->room);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, row->answer);
	const uint8_t *set = gpu_machine_at(&bench.machine, at + sizeof(struct virtio_gpu_ctrl_hdr));
	for (uint32_t i = 0; row->answer == VIRTIO_GPU_RESP_OK_CAPSET && i < row->room - 24; i++)
		g_assert_cmpuint(set[i], ==, row->id);
	gpu_3d_destroy(&bench);
}

/* ---- contexts ---- */

static const struct ctx_row {
	const char *name;
	uint32_t id, init, name_length, answer;
	uint64_t without; /* features */
	int fail;
	uint32_t capset, told_length; /* what the renderer hears */
} ctx_rows[] = {
	{ "good", 1, 2, 4, OK, 0, 0, 2, 4 },
	{ "default-capset", 7, 0, 0, OK, 0, 0, 0, 0 },
	{ "long-name", UINT32_MAX, 1, 64, OK, 0, 0, 1, 63 },
	{ "name-beyond-the-command", 1, 1, UINT32_MAX, OK, 0, 0, 1, 63 },
	{ "no-id", 0, 2, 4, CONTEXT, 0, 0, 0, 0 },
	{ "unknown-capset", 1, 5, 4, PARAMETER, 0, 0, 0, 0 },
	{ "reserved-bits", 1, 0x102, 4, PARAMETER, 0, 0, 0, 0 },
	{ "without-context-init", 1, 0x12345, 4, OK, UINT64_C(1) << VIRTIO_GPU_F_CONTEXT_INIT, 0, 0, 4 },
	{ "renderer-refuses", 1, 2, 4, PARAMETER, 0, -EINVAL, 0, 0 },
	{ "renderer-has-no-memory", 1, 2, 4, MEMORY, 0, -ENOMEM, 0, 0 },
	{ "renderer-is-lost", 1, 2, 4, UNSPEC, 0, -ENODEV, 0, 0 },
};

static void test_ctx_create(gconstpointer data)
{
	const struct ctx_row *row = data;
	struct virtio_gpu_ctx_create create = gpu_3d_ctx_create(row->id);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_machine_start(&bench.machine, gpu_3d_features & ~row->without);
	bench.fake->fail[VTR_RENDER_CTX_CREATE] = row->fail;
	create.context_init = row->init;
	create.nlen = row->name_length;
	memset(create.debug_name, 'n', sizeof(create.debug_name));
	g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, row->answer);
	g_assert_cmpuint(gpu_3d_status(&bench).contexts, ==, row->answer == OK);
	if (row->answer == OK) {
		const struct vtr_render_args *args = &fake_renderer_last(bench.fake, VTR_RENDER_CTX_CREATE)->args;

		g_assert_cmpuint(args->ctx_id, ==, row->id);
		g_assert_cmpuint(args->ctx_create.capset_id, ==, row->capset);
		g_assert_cmpuint(args->ctx_create.name_length, ==, row->told_length);
		g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, CONTEXT); /* taken */
	}
	gpu_3d_destroy(&bench);
}

static void test_many_contexts(void)
{
	struct virtio_gpu_ctx_create create;
	struct virtio_gpu_ctrl_hdr destroy = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 70 };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	for (uint32_t id = 1; id <= VTR_MAX_CONTEXTS; id++) {
		create = gpu_3d_ctx_create(id);
		GPU_ASSERT_OK(&bench.machine, create);
	}
	create = gpu_3d_ctx_create(VTR_MAX_CONTEXTS + 1);
	g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, MEMORY);
	GPU_ASSERT_OK(&bench.machine, destroy);
	g_assert_cmphex(GPU_CALL(&bench.machine, destroy)->type, ==, CONTEXT);
	GPU_ASSERT_OK(&bench.machine, create);
	gpu_3d_destroy(&bench);
}

/* Several contexts, resources coming and going between them: the renderer is asked for what changes, and nothing else. */
static void test_attachments(void)
{
	struct virtio_gpu_ctx_create second = gpu_3d_ctx_create(2);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 2, 5);
	struct virtio_gpu_ctx_resource leave = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, 1, 5);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, second);
	for (uint32_t id = 9; id > 0; id--)
		gpu_3d_make_texture(&bench, id, PIXELS);
	g_assert_cmpuint(bench.machine.gpu->contexts.attachments, ==, 9);
	GPU_ASSERT_OK(&bench.machine, join);
	GPU_ASSERT_OK(&bench.machine, join); /* once more changes nothing */
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_CTX_ATTACH_RESOURCE), ==, 10);
	GPU_ASSERT_OK(&bench.machine, leave);
	g_assert_cmphex(GPU_CALL(&bench.machine, leave)->type, ==, RESOURCE);
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_CTX_DETACH_RESOURCE), ==, 1);
	g_assert_cmpuint(bench.machine.gpu->contexts.attachments, ==, 9);

	g_assert_cmphex(gpu_3d_unref(&bench, 5), ==, OK); /* and out of context 2 */
	g_assert_cmpuint(bench.machine.gpu->contexts.attachments, ==, 8);
	join.resource_id = 77;
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, RESOURCE);
	join.hdr.ctx_id = 3;
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, CONTEXT);
	leave.hdr.ctx_id = 0;
	g_assert_cmphex(GPU_CALL(&bench.machine, leave)->type, ==, CONTEXT);
	gpu_3d_destroy(&bench);
}

static void test_attach_fails(void)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 1);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, create);
	bench.fake->fail[VTR_RENDER_CTX_ATTACH_RESOURCE] = -ENOENT;
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, RESOURCE);
	g_assert_cmpuint(bench.machine.gpu->contexts.attachments, ==, 0);
	bench.fake->fail[VTR_RENDER_CTX_ATTACH_RESOURCE] = 0;
	GPU_ASSERT_OK(&bench.machine, join);
	gpu_3d_destroy(&bench);
}

/* What contexts and resources multiply to is bounded, too. */
static void test_many_attachments(void)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 1);
	struct gpu_3d bench;
	uint32_t *attachments;

	gpu_3d_create(&bench, 0, 1);
	attachments = &bench.machine.gpu->contexts.attachments;
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, create);
	*attachments += VTR_MAX_ATTACHMENTS; /* as if others had them */
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, MEMORY);
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_CTX_ATTACH_RESOURCE), ==, 0);
	*attachments -= 1;
	GPU_ASSERT_OK(&bench.machine, join);
	*attachments -= VTR_MAX_ATTACHMENTS - 1;
	gpu_3d_destroy(&bench);
}

/* ---- RESOURCE_CREATE_3D ---- */

static const struct create_row {
	const char *name;
	uint32_t id, target, format, width, height, depth, last_level, samples;
	int fail;
	uint32_t answer;
	uint64_t bytes;
} create_rows[] = {
	{ "texture", 1, PIPE_TEXTURE_2D, 2, 64, 32, 1, 0, 0, 0, OK, 64 * 32 * 4 },
	{ "levels", 1, PIPE_TEXTURE_2D, 2, 64, 32, 1, 6, 0, 0, OK, 4 * (64 * 32 + 32 * 16 + 16 * 8 + 8 * 4 + 4 * 2 + 2 + 1) },
	{ "samples", 1, PIPE_TEXTURE_2D, 2, 64, 32, 1, 0, 4, 0, OK, 4 * 64 * 32 * 4 },
	{ "volume", 1, 3, 2, 16, 16, 16, 0, 0, 0, OK, 4 * 16 * 16 * 16 },
	{ "wide-format", 1, PIPE_TEXTURE_2D, 31, 64, 32, 1, 0, 0, 0, OK, 16 * 64 * 32 },
	{ "half-float", 1, PIPE_TEXTURE_2D, 94, 64, 32, 1, 0, 0, 0, OK, 8 * 64 * 32 },
	{ "buffer", 1, PIPE_BUFFER, 64, 1 << 20, 1, 1, 0, 0, 0, OK, 1 << 20 },
	{ "no-id", 0, PIPE_TEXTURE_2D, 2, 64, 32, 1, 0, 0, 0, RESOURCE, 0 },
	{ "no-width", 1, PIPE_TEXTURE_2D, 2, 0, 32, 1, 0, 0, 0, PARAMETER, 0 },
	{ "no-height", 1, PIPE_TEXTURE_2D, 2, 64, 0, 1, 0, 0, 0, PARAMETER, 0 },
	{ "too-wide", 1, PIPE_TEXTURE_2D, 2, VTR_MAX_DIMENSION + 1, 1, 1, 0, 0, 0, PARAMETER, 0 },
	{ "too-high", 1, PIPE_TEXTURE_2D, 2, 1, VTR_MAX_DIMENSION + 1, 1, 0, 0, 0, PARAMETER, 0 },
	{ "too-deep", 1, 3, 2, 1, 1, VTR_MAX_DIMENSION + 1, 0, 0, 0, PARAMETER, 0 },
	{ "too-much", 1, PIPE_TEXTURE_2D, 2, 1024, 1025, 1, 0, 0, 0, MEMORY, 0 },
	{ "too-many-samples", 1, PIPE_TEXTURE_2D, 2, 64, 32, 1, 0, UINT32_MAX, 0, MEMORY, 0 },
	{ "too-large-a-buffer", 1, PIPE_BUFFER, 64, UINT32_MAX, 1, 1, 0, 0, 0, MEMORY, 0 },
	{ "too-many-bits", 1, 3, 31, VTR_MAX_DIMENSION, VTR_MAX_DIMENSION, VTR_MAX_DIMENSION, UINT32_MAX, UINT32_MAX, 0, MEMORY,
	  0 },
	{ "renderer-refuses", 1, PIPE_TEXTURE_2D, 2, 64, 32, 1, 0, 0, -EINVAL, PARAMETER, 0 },
	{ "renderer-has-no-memory", 1, PIPE_TEXTURE_2D, 2, 64, 32, 1, 0, 0, -ENOMEM, MEMORY, 0 },
	{ "renderer-cannot", 1, PIPE_TEXTURE_2D, 2, 64, 32, 1, 0, 0, -EOPNOTSUPP, UNSPEC, 0 },
};

static void test_create_3d(gconstpointer data)
{
	const struct create_row *row = data;
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(row->id);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 4 << 20, 1);
	create.target = row->target;
	create.format = row->format;
	create.width = row->width;
	create.height = row->height;
	create.depth = row->depth;
	create.last_level = row->last_level;
	create.nr_samples = row->samples;
	create.flags = VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP;
	bench.fake->fail[VTR_RENDER_CREATE_3D] = row->fail;
	g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, row->answer);
	g_assert_cmpuint(gpu_3d_status(&bench).resources, ==, row->answer == OK);
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, row->bytes);
	if (row->answer == OK) {
		const struct vtr_render_args *args = &fake_renderer_last(bench.fake, VTR_RENDER_CREATE_3D)->args;

		g_assert_cmpuint(args->create_3d.last_level, ==, row->last_level);
		g_assert_cmpuint(args->create_3d.flags, ==, VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP);
		g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, RESOURCE); /* taken */
		g_assert_cmphex(gpu_3d_unref(&bench, row->id), ==, OK);
		g_assert_false(fake_renderer_has(bench.fake, row->id));
	}
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, 0);
	gpu_3d_destroy(&bench);
}

/* ---- RESOURCE_CREATE_BLOB ---- */

static const struct blob_row {
	const char *name;
	uint32_t context, mem, entries;
	uint64_t size;
	int fail;
	uint32_t answer;
	bool lent;
} blob_rows[] = {
	{ "host", 1, VIRTIO_GPU_BLOB_MEM_HOST3D, 0, 4096, 0, OK, false },
	{ "host-and-guest", 1, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 1, GPU_BYTES, 0, OK, true },
	{ "no-context", 0, VIRTIO_GPU_BLOB_MEM_HOST3D, 0, 4096, 0, CONTEXT, false },
	{ "unknown-context", 2, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 1, 4096, 0, CONTEXT, false },
	{ "host-with-entries", 1, VIRTIO_GPU_BLOB_MEM_HOST3D, 1, 4096, 0, PARAMETER, false },
	{ "guest-without-entries", 1, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 0, 4096, 0, PARAMETER, false },
	{ "entries-too-short", 1, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 1, GPU_BYTES + 1, 0, PARAMETER, false },
	{ "no-memory-kind", 1, 0, 0, 4096, 0, PARAMETER, false },
	{ "unknown-memory-kind", 1, 4, 0, 4096, 0, PARAMETER, false },
	{ "no-size", 1, VIRTIO_GPU_BLOB_MEM_HOST3D, 0, 0, 0, PARAMETER, false },
	{ "too-much", 1, VIRTIO_GPU_BLOB_MEM_HOST3D, 0, (4 << 20) + 1, 0, MEMORY, false },
	{ "renderer-refuses", 1, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 1, GPU_BYTES, -EINVAL, PARAMETER, false },
};

static void test_create_blob(gconstpointer data)
{
	const struct blob_row *row = data;
	struct gpu_blob_request create = gpu_create_blob(3, PIXELS);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 4 << 20, 1);
	gpu_3d_make_context(&bench);
	bench.fake->fail[VTR_RENDER_CREATE_BLOB] = row->fail;
	create.blob.hdr.ctx_id = row->context;
	create.blob.blob_mem = row->mem;
	create.blob.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE;
	create.blob.nr_entries = row->entries;
	create.blob.blob_id = 0x1122334455667788;
	create.blob.size = row->size;
	g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, row->answer);
	g_assert_cmpuint(gpu_3d_status(&bench).resources, ==, row->answer == OK);
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, row->answer == OK ? row->entries : 0);
	if (row->answer == OK) {
		const struct fake_call *call = fake_renderer_last(bench.fake, VTR_RENDER_CREATE_BLOB);

		g_assert_cmpuint(call->args.ctx_id, ==, 1);
		g_assert_cmphex(call->args.create_blob.blob_id, ==, create.blob.blob_id);
		g_assert_cmphex(call->args.create_blob.blob_flags, ==, VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE);
		g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, row->size);
		g_assert_true(fake_renderer_is_lent(bench.fake, 3) == row->lent);
		g_assert_cmphex(gpu_3d_unref(&bench, 3), ==, OK);
	}
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, 0);
	gpu_3d_destroy(&bench);
}

/* ---- backings ---- */

static void test_backing(void)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(1, PIXELS);
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	GPU_ASSERT_OK(&bench.machine, create);
	g_assert_cmphex(GPU_CALL(&bench.machine, detach)->type, ==, UNSPEC);
	GPU_ASSERT_OK(&bench.machine, attach);
	g_assert_cmpuint(fake_renderer_last(bench.fake, VTR_RENDER_ATTACH_BACKING)->spans_length, ==, GPU_BYTES);
	g_assert_cmphex(GPU_CALL(&bench.machine, attach)->type, ==, UNSPEC); /* it has one */
	GPU_ASSERT_OK(&bench.machine, detach);
	g_assert_false(fake_renderer_is_lent(bench.fake, 1));
	GPU_ASSERT_OK(&bench.machine, attach);
	g_assert_true(fake_renderer_is_lent(bench.fake, 1));
	g_assert_cmphex(gpu_3d_unref(&bench, 1), ==, OK); /* takes it along */
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_DETACH_BACKING), ==, 1);
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 0);
	gpu_3d_destroy(&bench);
}

/* Memory that is only to be had by request cannot be lent. */
static void test_backing_without_mapping(void)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(1, GPU_RAM + 0x10000);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
	struct gpu_blob_request blob = gpu_create_blob(2, GPU_RAM + 0x10000);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	g_assert_cmpint(vtr_memory_add(bench.machine.memory, GPU_RAM, 1 << 20, -1, 0, true), ==, 0);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, create);
	g_assert_cmphex(GPU_CALL(&bench.machine, attach)->type, ==, UNSPEC);
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 0);
	/* nor when there is a copy of the picture here */
	GPU_ASSERT_OK(&bench.machine, set);
	atomic_store(&bench.machine.display.demand, VTR_DEMAND_PIXELS);
	gpu_machine_flush(&bench.machine, 1);
	gpu_machine_flush(&bench.machine, 1);
	g_assert_nonnull(vtr_resource_find(bench.machine.gpu, 1)->image);
	g_assert_cmphex(GPU_CALL(&bench.machine, attach)->type, ==, UNSPEC);
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 0);
	GPU_ASSERT_OK(&bench.machine, blob);                               /* it may be shown, */
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, UNSPEC); /* but not drawn with */
	g_assert_cmphex(gpu_3d_unref(&bench, 2), ==, OK);
	blob.blob.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
	blob.blob.hdr.ctx_id = 1;
	g_assert_cmphex(GPU_CALL(&bench.machine, blob)->type, ==, UNSPEC);
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 0);
	g_assert_cmpuint(bench.machine.gpu->resources.spans, ==, 0);
	gpu_3d_destroy(&bench);
}

/* The renderer refuses it at once: the guest hears of that. */
static void test_backing_refused(void)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(1, PIXELS);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	GPU_ASSERT_OK(&bench.machine, create);
	bench.fake->fail[VTR_RENDER_ATTACH_BACKING] = -ENOMEM;
	g_assert_cmphex(GPU_CALL(&bench.machine, attach)->type, ==, UNSPEC);
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 0);
	bench.fake->fail[VTR_RENDER_ATTACH_BACKING] = 0;
	GPU_ASSERT_OK(&bench.machine, attach);
	gpu_3d_destroy(&bench);
}

/* ---- transfers ---- */

static const struct transfer_row {
	const char *name;
	uint32_t context, id;
	struct virtio_gpu_box box;
	uint64_t offset;
	int fail;
	uint32_t answer;
} transfer_rows[] = {
	{ "all", 1, 1, { 0, 0, 0, GPU_WIDTH, GPU_HEIGHT, 1 }, 0, 0, OK },
	{ "part", 1, 1, { 8, 8, 0, 8, 8, 1 }, 64, 0, OK },
	{ "of-no-context", 0, 1, { 0, 0, 0, 1, 1, 1 }, 0, 0, OK },
	{ "last-byte", 1, 1, { 0, 0, 0, 1, 1, 1 }, GPU_BYTES - 1, 0, OK }, /* how much it takes only the renderer knows */
	{ "unknown-context", 2, 1, { 0, 0, 0, 1, 1, 1 }, 0, 0, CONTEXT },
	{ "unknown-resource", 1, 9, { 0, 0, 0, 1, 1, 1 }, 0, 0, RESOURCE },
	{ "not-attached", 1, 2, { 0, 0, 0, 1, 1, 1 }, 0, 0, RESOURCE },
	{ "no-backing", 1, 3, { 0, 0, 0, 1, 1, 1 }, 0, 0, UNSPEC },
	{ "no-width", 1, 1, { 0, 0, 0, 0, 1, 1 }, 0, 0, PARAMETER },
	{ "no-height", 1, 1, { 0, 0, 0, 1, 0, 1 }, 0, 0, PARAMETER },
	{ "no-depth", 1, 1, { 0, 0, 0, 1, 1, 0 }, 0, 0, PARAMETER },
	{ "wraps", 1, 1, { UINT32_MAX, 0, 0, 2, 1, 1 }, 0, 0, PARAMETER },
	{ "outside", 1, 1, { GPU_WIDTH, 0, 0, 1, 1, 1 }, 0, 0, PARAMETER }, /* says the renderer */
	{ "beyond-the-backing", 1, 1, { 0, 0, 0, 1, 1, 1 }, GPU_BYTES, 0, PARAMETER },
	{ "renderer-is-lost", 1, 1, { 0, 0, 0, 1, 1, 1 }, 0, -ENODEV, UNSPEC },
};

static void test_transfer(gconstpointer data)
{
	const struct transfer_row *row = data;
	struct virtio_gpu_resource_create_3d bare = gpu_3d_create_3d(3);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 3);
	struct virtio_gpu_ctx_resource leave = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, 1, 2);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	gpu_3d_make_texture(&bench, 2, OTHER_PIXELS);
	GPU_ASSERT_OK(&bench.machine, leave);
	GPU_ASSERT_OK(&bench.machine, bare);
	GPU_ASSERT_OK(&bench.machine, join);
	for (int from = 0; from < 2; from++) {
		const enum vtr_render_op op = from ? VTR_RENDER_TRANSFER_FROM_HOST : VTR_RENDER_TRANSFER_TO_HOST;
		struct virtio_gpu_transfer_host_3d transfer = gpu_3d_transfer(
			from ? VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D : VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, row->context, row->id);

		if (from && row->offset == GPU_BYTES - 1)
			continue; /* that the test's renderer cannot */
		bench.fake->fail[op] = row->fail;
		transfer.box = row->box;
		transfer.offset = row->offset;
		transfer.stride = GPU_STRIDE;
		transfer.layer_stride = 77;
		g_assert_cmphex(GPU_CALL(&bench.machine, transfer)->type, ==, row->answer);
		if (row->answer != OK)
			continue;
		const struct vtr_render_args *args = &fake_renderer_last(bench.fake, op)->args;
		g_assert_cmpmem(&args->transfer.box, sizeof(args->transfer.box), &row->box, sizeof(row->box));
		g_assert_cmpuint(args->transfer.offset, ==, row->offset);
		g_assert_cmpuint(args->transfer.layer_stride, ==, 77);
		g_assert_cmpuint(args->ctx_id, ==, row->context);
	}
	gpu_3d_destroy(&bench);
}

/* TRANSFER_TO_HOST_2D of a 3D resource is a transfer of no context. */
static void test_transfer_2d(void)
{
	struct virtio_gpu_transfer_to_host_2d transfer = { .hdr = { .type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, .ctx_id = 9 },
		                                           .r = { 4, 6, 8, 10 },
		                                           .offset = 128,
		                                           .resource_id = 1 };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	GPU_ASSERT_OK(&bench.machine, transfer);
	const struct vtr_render_args *args = &fake_renderer_last(bench.fake, VTR_RENDER_TRANSFER_TO_HOST)->args;
	const struct vtr_render_box box = { 4, 6, 0, 8, 10, 1 };
	g_assert_cmpmem(&args->transfer.box, sizeof(box), &box, sizeof(box));
	g_assert_cmpuint(args->ctx_id, ==, 0);
	g_assert_cmpuint(args->transfer.offset, ==, 128);
	transfer.r.width = 0;
	g_assert_cmphex(GPU_CALL(&bench.machine, transfer)->type, ==, PARAMETER);
	gpu_3d_destroy(&bench);
}

/* ---- SUBMIT_3D ---- */

static const struct submit_row {
	const char *name;
	uint32_t context, size, sent; /* bytes */
	int fail;
	uint32_t answer;
	unsigned calls;
} submit_rows[] = {
	{ "good", 1, 64, 64, 0, OK, 1 },
	{ "one-word", 1, 4, 4, 0, OK, 1 },
	{ "nothing", 1, 0, 0, 0, OK, 0 },
	{ "more-is-there", 1, 8, 64, 0, OK, 1 },
	{ "no-context", 0, 64, 64, 0, CONTEXT, 0 },
	{ "unknown-context", 2, 64, 64, 0, CONTEXT, 0 },
	{ "odd-size", 1, 63, 64, 0, PARAMETER, 0 },
	{ "less-is-there", 1, 64, 60, 0, PARAMETER, 0 },
	{ "too-large", 1, VTR_MAX_SUBMIT + 4, 64, 0, PARAMETER, 0 },
	{ "huge", 1, UINT32_MAX - 3, 64, 0, PARAMETER, 0 },
	{ "garbage", 1, 64, 64, -EINVAL, PARAMETER, 1 },
	{ "renderer-has-no-memory", 1, 64, 64, -ENOMEM, MEMORY, 1 },
	{ "renderer-is-lost", 1, 64, 64, -ENODEV, UNSPEC, 1 },
};

static void test_submit(gconstpointer data)
{
	const struct submit_row *row = data;
	struct gpu_3d_submit submit = gpu_3d_submit(row->context, 0);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	bench.fake->fail[VTR_RENDER_SUBMIT] = row->fail;
	submit.submit.size = row->size;
	uint64_t at = gpu_machine_post(&bench.machine, 0, &submit, (uint32_t)sizeof(submit.submit) + row->sent,
	                               sizeof(struct virtio_gpu_ctrl_hdr));
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, row->answer);
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_SUBMIT), ==, row->calls);
	if (row->calls) {
		g_assert_cmpuint(fake_renderer_last(bench.fake, VTR_RENDER_SUBMIT)->size, ==, row->size);
		g_assert_cmphex(fake_renderer_last(bench.fake, VTR_RENDER_SUBMIT)->word, ==, 0xc0ffee);
	}
	gpu_3d_destroy(&bench);
}

/* ---- scanouts ---- */

static const struct scanout_row {
	const char *name;
	uint32_t target, format, samples, width;
	uint32_t answer;
} scanout_rows[] = {
	{ "picture", PIPE_TEXTURE_2D, 2, 0, GPU_WIDTH, OK },
	{ "rectangle", PIPE_TEXTURE_RECT, 1, 1, GPU_WIDTH, OK },
	{ "volume", 3, 2, 0, GPU_WIDTH, PARAMETER },
	{ "format-of-no-picture", PIPE_TEXTURE_2D, 31, 0, GPU_WIDTH, PARAMETER },
	{ "samples", PIPE_TEXTURE_2D, 2, 4, GPU_WIDTH, PARAMETER },
	{ "too-small", PIPE_TEXTURE_2D, 2, 0, GPU_WIDTH - 1, PARAMETER },
};

static void test_set_scanout(gconstpointer data)
{
	const struct scanout_row *row = data;
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
	struct virtio_gpu_set_scanout_blob blob = gpu_set_scanout_blob(0, 1);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	create.target = row->target;
	create.format = row->format;
	create.nr_samples = row->samples;
	create.width = row->width;
	GPU_ASSERT_OK(&bench.machine, create);
	g_assert_cmphex(GPU_CALL(&bench.machine, set)->type, ==, row->answer);
	g_assert_cmphex(GPU_CALL(&bench.machine, blob)->type, ==, PARAMETER); /* it is none */
	g_assert_true(gpu_machine_status(&bench.machine, 0).enabled == (row->answer == OK));
	g_assert_cmpuint(gpu_machine_status(&bench.machine, 0).width, ==, row->answer == OK ? GPU_WIDTH : 0);
	gpu_3d_destroy(&bench);
}

static void test_set_scanout_host_blob(void)
{
	struct gpu_blob_request create = gpu_create_blob(1, PIXELS);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
	struct virtio_gpu_set_scanout_blob blob = gpu_set_scanout_blob(0, 1);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	create.blob.hdr.ctx_id = 1;
	create.blob.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D;
	create.blob.nr_entries = 0;
	GPU_ASSERT_OK(&bench.machine, create);
	g_assert_cmphex(GPU_CALL(&bench.machine, set)->type, ==, PARAMETER); /* nobody has said what it looks like */
	GPU_ASSERT_OK(&bench.machine, blob);
	blob.offsets[0] = 4;
	g_assert_cmphex(GPU_CALL(&bench.machine, blob)->type, ==, PARAMETER);
	gpu_3d_destroy(&bench);
}

/* ---- twins ---- */

/* A 2D resource that a context works with has the same picture there, from the start and with each transfer. */
static void test_twin(void)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(4);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(4, PIXELS);
	struct virtio_gpu_transfer_to_host_2d transfer = { .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
		                                           .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                                           .resource_id = 4 };
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 4);
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 4 };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_machine_paint(&bench.machine, PIXELS, 0x11);
	GPU_ASSERT_OK(&bench.machine, create);
	GPU_ASSERT_OK(&bench.machine, attach);
	GPU_ASSERT_OK(&bench.machine, transfer);
	g_assert_false(fake_renderer_has(bench.fake, 4));
	uint64_t alone = gpu_3d_status(&bench).hostmem;
	GPU_ASSERT_OK(&bench.machine, join);
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, 2 * alone);
	const struct vtr_render_args *args = &fake_renderer_last(bench.fake, VTR_RENDER_CREATE_3D)->args;
	g_assert_cmpuint(args->create_3d.format, ==, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
	g_assert_cmpuint(args->create_3d.width, ==, GPU_WIDTH);
	g_assert_cmphex(fake_renderer_last(bench.fake, VTR_RENDER_TRANSFER_TO_HOST)->word, ==, 0x11111111);

	gpu_machine_paint(&bench.machine, PIXELS, 0x22);
	transfer.r = (struct virtio_gpu_rect){ 2, 3, 4, 5 };
	transfer.offset = 3 * GPU_STRIDE + 2 * 4;
	GPU_ASSERT_OK(&bench.machine, transfer);
	const struct fake_call *call = fake_renderer_last(bench.fake, VTR_RENDER_TRANSFER_TO_HOST);
	const struct vtr_render_box box = { 2, 3, 0, 4, 5, 1 };
	g_assert_cmphex(call->word, ==, 0x22222222);
	g_assert_cmpmem(&call->args.transfer.box, sizeof(box), &box, sizeof(box));

	/* the guest's memory is not what the twin is made of */
	GPU_ASSERT_OK(&bench.machine, detach);
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_DETACH_BACKING), ==, 0);
	g_assert_true(fake_renderer_is_lent(bench.fake, 4));
	g_assert_cmphex(gpu_3d_unref(&bench, 4), ==, OK);
	g_assert_false(fake_renderer_has(bench.fake, 4));
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, 0);
	gpu_3d_destroy(&bench);
}

/* 3D transfers of a 2D resource: between the guest's memory, with strides of its own, and both pictures. */
static void test_twin_transfers(void)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(4);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(4, PIXELS);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 4);
	struct virtio_gpu_transfer_host_3d to = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 1, 4);
	struct virtio_gpu_transfer_host_3d from = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, 1, 4);
	struct gpu_3d bench;
	uint32_t pixels[4];

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, create);
	GPU_ASSERT_OK(&bench.machine, attach);
	g_assert_cmphex(GPU_CALL(&bench.machine, to)->type, ==, RESOURCE); /* not attached */
	GPU_ASSERT_OK(&bench.machine, join);

	gpu_machine_paint(&bench.machine, PIXELS, 0x33);
	to.box = (struct virtio_gpu_box){ 4, 4, 0, 2, 2, 1 };
	to.stride = 8;
	to.offset = 16;
	GPU_ASSERT_OK(&bench.machine, to);
	g_assert_cmphex(fake_renderer_last(bench.fake, VTR_RENDER_TRANSFER_TO_HOST)->word, ==, 0x33333333);
	g_assert_cmpuint(fake_renderer_last(bench.fake, VTR_RENDER_TRANSFER_TO_HOST)->args.transfer.stride, ==, GPU_STRIDE);

	bench.fake->pixel = 0x44556677;
	from.box = (struct virtio_gpu_box){ 4, 4, 0, 1, 2, 1 };
	from.stride = 8;
	from.offset = 16;
	GPU_ASSERT_OK(&bench.machine, from);
	memcpy(pixels, gpu_machine_at(&bench.machine, PIXELS + 16), sizeof(pixels));
	g_assert_cmphex(pixels[0], ==, 0x44556677);
	g_assert_cmphex(pixels[1], ==, 0x33333333);
	g_assert_cmphex(pixels[2], ==, 0x44556677);

	from.offset = GPU_BYTES - 4; /* its second row is beyond the backing */
	g_assert_cmphex(GPU_CALL(&bench.machine, from)->type, ==, PARAMETER);
	from.offset = 0;
	from.level = 1;
	g_assert_cmphex(GPU_CALL(&bench.machine, from)->type, ==, PARAMETER);
	from.level = 0;
	from.stride = 3;
	g_assert_cmphex(GPU_CALL(&bench.machine, from)->type, ==, PARAMETER);
	gpu_3d_destroy(&bench);
}

static void test_twin_refused(void)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(4);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 4);
	struct gpu_3d bench;

	gpu_3d_create(&bench, GPU_BYTES + 4096, 1);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, create);
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, MEMORY); /* there is room for one */
	g_assert_false(fake_renderer_has(bench.fake, 4));
	gpu_3d_destroy(&bench);

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, create);
	uint64_t alone = gpu_3d_status(&bench).hostmem;
	bench.fake->fail[VTR_RENDER_CREATE_3D] = -EINVAL;
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, PARAMETER);
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, alone);
	bench.fake->fail[VTR_RENDER_CREATE_3D] = 0;
	GPU_ASSERT_OK(&bench.machine, join);
	gpu_3d_destroy(&bench);
}

/* A blob of the guest's is lent when a context wants it, and not before. */
static void test_guest_blob(void)
{
	struct gpu_blob_request create = gpu_create_blob(4, PIXELS);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 4);
	struct virtio_gpu_transfer_host_3d to = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 1, 4);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, create);
	g_assert_false(fake_renderer_has(bench.fake, 4));
	GPU_ASSERT_OK(&bench.machine, join);
	g_assert_true(fake_renderer_is_lent(bench.fake, 4));
	g_assert_cmpuint(fake_renderer_last(bench.fake, VTR_RENDER_CREATE_BLOB)->args.create_blob.blob_mem, ==,
	                 VIRTIO_GPU_BLOB_MEM_GUEST);
	GPU_ASSERT_OK(&bench.machine, to); /* it is where it is */
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_TRANSFER_TO_HOST), ==, 0);
	g_assert_cmphex(gpu_3d_unref(&bench, 4), ==, OK);
	g_assert_false(fake_renderer_has(bench.fake, 4));
	gpu_3d_destroy(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/gpu/3d/offered", test_offered);
	g_test_add_func("/unit/gpu/3d/not-negotiated", test_not_negotiated);
	g_test_add_func("/unit/gpu/3d/capset-info", test_capset_info);
	ADD_ROWS("/unit/gpu/3d/capset/", capset_rows, test_capset);
	ADD_ROWS("/unit/gpu/3d/ctx-create/", ctx_rows, test_ctx_create);
	g_test_add_func("/unit/gpu/3d/many-contexts", test_many_contexts);
	g_test_add_func("/unit/gpu/3d/attachments", test_attachments);
	g_test_add_func("/unit/gpu/3d/attach-fails", test_attach_fails);
	g_test_add_func("/unit/gpu/3d/many-attachments", test_many_attachments);
	ADD_ROWS("/unit/gpu/3d/create-3d/", create_rows, test_create_3d);
	ADD_ROWS("/unit/gpu/3d/create-blob/", blob_rows, test_create_blob);
	g_test_add_func("/unit/gpu/3d/backing", test_backing);
	g_test_add_func("/unit/gpu/3d/backing-without-mapping", test_backing_without_mapping);
	g_test_add_func("/unit/gpu/3d/backing-refused", test_backing_refused);
	ADD_ROWS("/unit/gpu/3d/transfer/", transfer_rows, test_transfer);
	g_test_add_func("/unit/gpu/3d/transfer-2d", test_transfer_2d);
	ADD_ROWS("/unit/gpu/3d/submit/", submit_rows, test_submit);
	ADD_ROWS("/unit/gpu/3d/set-scanout/", scanout_rows, test_set_scanout);
	g_test_add_func("/unit/gpu/3d/set-scanout-host-blob", test_set_scanout_host_blob);
	g_test_add_func("/unit/gpu/3d/twin", test_twin);
	g_test_add_func("/unit/gpu/3d/twin-transfers", test_twin_transfers);
	g_test_add_func("/unit/gpu/3d/twin-refused", test_twin_refused);
	g_test_add_func("/unit/gpu/3d/guest-blob", test_guest_blob);
	return g_test_run();
}
