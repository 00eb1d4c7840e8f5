/* SPDX-License-Identifier: MIT */
/* A guest that wants more than it may have: an error to it, and one line here that names the limit and what to do about it. */
#include "gpu_3d.h"
#include "rows.h"

enum { PIXELS = 0x10000 };

/* ---- what was logged ---- */

struct lines {
	const char *wanted;
	unsigned found, others;
};

static void look_for(enum vtr_log_level level, const char *text, void *data)
{
	struct lines *lines = data;

	if (level == VTR_LOG_WARN && strstr(text, lines->wanted))
		lines->found++;
	else
		lines->others++;
}

/* ---- each limit, reached ---- */

static uint32_t texture(struct gpu_3d *bench)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_sized(2, 1024, 1024, 0);

	return GPU_CALL(&bench->machine, create)->type;
}

/* Its bytes do not fit 64 bits. */
static uint32_t huge_texture(struct gpu_3d *bench)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_sized(2, VTR_MAX_DIMENSION, VTR_MAX_DIMENSION, 0);

	create.depth = VTR_MAX_DIMENSION;
	create.array_size = create.nr_samples = UINT32_MAX;
	return GPU_CALL(&bench->machine, create)->type;
}

static uint32_t host_blob(struct gpu_3d *bench)
{
	struct gpu_blob_request create = gpu_create_blob(2, PIXELS);

	gpu_3d_make_context(bench);
	create.blob.hdr.ctx_id = 1;
	create.blob.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D;
	create.blob.nr_entries = 0;
	create.blob.size = 4 << 20;
	return GPU_CALL(&bench->machine, create)->type;
}

static uint32_t picture(struct gpu_3d *bench)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(2);

	create.width = create.height = 1024;
	return GPU_CALL(&bench->machine, create)->type;
}

/* The 2D resource fits, and not a second time for the renderer. */
static uint32_t twin(struct gpu_3d *bench)
{
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);

	gpu_3d_make_context(bench);
	bench->machine.gpu->options.max_hostmem = 8 << 20;
	g_assert_cmphex(picture(bench), ==, OK);
	return GPU_CALL(&bench->machine, join)->type;
}

static uint32_t context(struct gpu_3d *bench)
{
	struct virtio_gpu_ctx_create create;

	for (uint32_t id = 1; id <= VTR_MAX_CONTEXTS; id++) {
		create = gpu_3d_ctx_create(id);
		GPU_ASSERT_OK(&bench->machine, create);
	}
	create = gpu_3d_ctx_create(VTR_MAX_CONTEXTS + 1);
	return GPU_CALL(&bench->machine, create)->type;
}

static uint32_t resource(struct gpu_3d *bench)
{
	struct virtio_gpu_resource_create_3d create;

	for (uint32_t id = 2; bench->machine.gpu->resources.count < VTR_MAX_RESOURCES; id++) {
		create = gpu_3d_create_sized(id, 1, 1, 0);
		GPU_ASSERT_OK(&bench->machine, create);
	}
	create = gpu_3d_create_sized(UINT32_MAX, 1, 1, 0);
	return GPU_CALL(&bench->machine, create)->type;
}

static uint32_t image(struct gpu_3d *bench)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(2);
	uint32_t *images = &bench->machine.gpu->resources.images, had = *images;

	*images = VTR_MAX_IMAGES; /* as if others had them */
	uint32_t answer = GPU_CALL(&bench->machine, create)->type;
	*images = had;
	return answer;
}

static uint32_t attachment(struct gpu_3d *bench)
{
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 1);
	uint32_t *attachments = &bench->machine.gpu->contexts.attachments;

	gpu_3d_make_context(bench);
	*attachments = VTR_MAX_ATTACHMENTS; /* likewise */
	uint32_t answer = GPU_CALL(&bench->machine, join)->type;
	*attachments = 0;
	return answer;
}

static const struct limit_row {
	const char *name;
	uint32_t (*reach)(struct gpu_3d *bench); /* the answer to one more */
	const char *line;
} limit_rows[] = {
	{ "hostmem-3d", texture, "used up its host memory (3 of 4 MiB, and 4096 KiB more are wanted): raise --max-hostmem" },
	{ "hostmem-3d-huge", huge_texture, "(3 of 4 MiB, and 18014398509481984 KiB more are wanted): raise --max-hostmem" },
	{ "hostmem-blob", host_blob, "used up its host memory (3 of 4 MiB, and 4096 KiB more are wanted): raise --max-hostmem" },
	{ "hostmem-2d", picture, "used up its host memory (3 of 4 MiB, and 4096 KiB more are wanted): raise --max-hostmem" },
	{ "hostmem-twin", twin, "used up its host memory (7 of 8 MiB, and 4096 KiB more are wanted): raise --max-hostmem" },
	{ "contexts", context, "the guest has 256 3D contexts, and no more are possible (VTR_MAX_CONTEXTS)" },
	{ "resources", resource, "the guest has 16384 resources, and no more are possible (VTR_MAX_RESOURCES)" },
	{ "images", image, "the guest has 512 2D resources, and no more are possible (VTR_MAX_IMAGES)" },
	{ "attachments", attachment, "have 262144 resources together, each counted in each, and no more are possible" },
};

static void test_limit(gconstpointer data)
{
	const struct limit_row *row = data;
	struct virtio_gpu_resource_create_3d first = gpu_3d_create_sized(1, 1024, 768, 0);
	struct lines lines = { .wanted = row->line };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 4 << 20, 1);
	vtr_log_set_handler(look_for, &lines);
	GPU_ASSERT_OK(&bench.machine, first); /* 3 MiB */
	g_assert_cmphex(row->reach(&bench), ==, MEMORY);
	vtr_log_set_handler(NULL, NULL);
	g_assert_cmpuint(lines.found, ==, 1);
	g_assert_cmpuint(lines.others, ==, 0);
	gpu_3d_destroy(&bench);
}

/* A guest that goes on asking cannot fill a disk. */
static void test_again_and_again(void)
{
	struct lines lines = { .wanted = "--max-hostmem" };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 1 << 20, 1);
	vtr_log_set_handler(look_for, &lines);
	for (unsigned i = 0; i < 1000; i++)
		g_assert_cmphex(texture(&bench), ==, MEMORY);
	vtr_log_set_handler(NULL, NULL);
	g_assert_cmpuint(lines.found, >=, 1);
	g_assert_cmpuint(lines.found, <, 100); /* a burst in each window; a slow machine may need a few */
	gpu_3d_destroy(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/gpu-3d-limits/", limit_rows, test_limit);
	g_test_add_func("/unit/gpu-3d-limits/again-and-again", test_again_and_again);
	return g_test_run();
}
