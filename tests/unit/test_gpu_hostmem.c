/* SPDX-License-Identifier: MIT */
/*
 * RESOURCE_MAP_BLOB and RESOURCE_UNMAP_BLOB between a renderer and a VMM that do what the test says, now or later, in any order:
 * the guest is answered when both have, once, whatever happens to its queue meanwhile; nothing stays mapped that nobody has.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gpu/gpu.h"
#include "render/renderer.h"

#include "gpu_machine.h"

enum { PAGE = 4096, BLOB = 3 * PAGE - 100, MAX_ASKED = 16, CONTEXT = 1 };

/* ---- a renderer whose blobs are memfds ---- */

struct blobs {
	struct vtr_renderer base;
	bool later;                    /* EXPORT_BLOB is not done at once */
	struct vtr_render_call *first; /* that are not */
	int code;                      /* of EXPORT_BLOB */
	uint64_t offset;               /* of what it gives, */
	uint64_t missing;              /* and how much less than the blob takes */
	unsigned exports;
};

static void export_blob(struct blobs *blobs, struct vtr_render_call *call)
{
	const char word[8] = "blob  1";

	if (blobs->code)
		return;
	call->mapped.fd = memfd_create("blob", MFD_CLOEXEC);
	call->mapped.offset = blobs->offset;
	call->mapped.size = 3 * PAGE - blobs->missing;
	call->mapped.map_info = VIRTIO_GPU_MAP_CACHE_WC;
	g_assert_cmpint(ftruncate(call->mapped.fd, 4 * PAGE), ==, 0);
	g_assert_cmpint(pwrite(call->mapped.fd, word, sizeof(word), 0), ==, sizeof(word));
}

static int blobs_call(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	struct blobs *blobs = (struct blobs *)renderer;

	if (call->args.op != VTR_RENDER_EXPORT_BLOB)
		return 0;
	blobs->exports++;
	if (!blobs->later) {
		export_blob(blobs, call);
		return blobs->code;
	}
	call->next = blobs->first;
	blobs->first = call;
	return -EINPROGRESS;
}

static void finish_export(struct blobs *blobs)
{
	struct vtr_render_call *call = blobs->first;

	blobs->first = call->next;
	export_blob(blobs, call);
	call->code = blobs->code;
	call->done(call);
}

static void blobs_wait(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	while (((struct blobs *)renderer)->first)
		finish_export((struct blobs *)renderer);
}

static void blobs_fill_capset(struct vtr_renderer *renderer, uint32_t id, uint32_t version, void *data, uint32_t size)
{
}

static void blobs_destroy(struct vtr_renderer *renderer)
{
}

static const struct vtr_renderer_impl blobs_impl = {
	.call = blobs_call,
	.wait = blobs_wait,
	.fill_capset = blobs_fill_capset,
	.destroy = blobs_destroy,
};

/* ---- a VMM ---- */

struct asked {
	struct vtr_virtio_shm_range range;
	bool map;
	int fd; /* that came along */
	vtr_virtio_shm_done done;
	void *data;
};

struct vmm {
	struct asked asked[MAX_ASKED]; /* so far */
	unsigned n_asked;
	int error; /* it cannot be asked */
};

static int ask(void *data, const struct vtr_virtio_shm_range *range, int fd, vtr_virtio_shm_done done, void *done_data)
{
	struct vmm *vmm = data;

	if (vmm->error)
		return vmm->error;
	g_assert_cmpuint(vmm->n_asked, <, MAX_ASKED);
	vmm->asked[vmm->n_asked++] = (struct asked){ *range, fd >= 0, fd < 0 ? -1 : dup(fd), done, done_data };
	return 0;
}

static int shm_map(void *data, const struct vtr_virtio_shm_range *range, int fd, uint64_t fd_offset, bool writable,
                   vtr_virtio_shm_done done, void *done_data)
{
	g_assert_true(writable);
	return ask(data, range, fd, done, done_data);
}

static int shm_unmap(void *data, const struct vtr_virtio_shm_range *range, vtr_virtio_shm_done done, void *done_data)
{
	return ask(data, range, -1, done, done_data);
}

static void interrupt_queue(void *data, unsigned queue)
{
}

static void interrupt_config(void *data)
{
}

static const struct vtr_virtio_transport_impl with_regions = {
	.interrupt_queue = interrupt_queue,
	.interrupt_config = interrupt_config,
	.shm_map = shm_map,
	.shm_unmap = shm_unmap,
};
static const struct vtr_virtio_transport_impl without_regions = {
	.interrupt_queue = interrupt_queue,
	.interrupt_config = interrupt_config,
};

/* ---- all of it ---- */

struct bench {
	struct gpu_machine machine;
	struct blobs blobs;
	struct vmm vmm;
	int open_fds;
};

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static const uint64_t features_3d = gpu_features | 1u << VIRTIO_GPU_F_VIRGL | 1u << VIRTIO_GPU_F_CONTEXT_INIT;

static void create(struct bench *bench)
{
	struct vtr_gpu_options options = { .renderer = &bench->blobs.base };

	*bench = (struct bench){ .open_fds = count_fds() };
	bench->blobs.base.impl = &blobs_impl;
	bench->blobs.base.maps_blobs = true;
	gpu_machine_create(&bench->machine, &options, 1, VTR_DEMAND_NONE);
	vtr_virtio_set_transport(bench->machine.device, &with_regions, &bench->vmm);
	gpu_machine_start(&bench->machine, features_3d);
}

static void destroy(struct bench *bench)
{
	vtr_virtio_set_transport(bench->machine.device, NULL, NULL);
	gpu_machine_destroy(&bench->machine);
	for (unsigned i = 0; i < bench->vmm.n_asked; i++)
		if (bench->vmm.asked[i].fd >= 0)
			close(bench->vmm.asked[i].fd);
	g_assert_cmpint(count_fds(), ==, bench->open_fds);
}

static void create_context(struct bench *bench)
{
	struct virtio_gpu_ctx_create context = { .hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = CONTEXT } };

	GPU_ASSERT_OK(&bench->machine, context);
}

static void create_blob(struct bench *bench, uint32_t id, uint32_t flags, uint64_t size)
{
	struct virtio_gpu_resource_create_blob blob = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = CONTEXT },
		.resource_id = id,
		.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.blob_flags = flags,
		.blob_id = id,
		.size = size,
	};

	GPU_ASSERT_OK(&bench->machine, blob);
}

/* Three pages each, but for a few bytes. */
static void create_blobs(struct bench *bench, uint32_t n)
{
	create_context(bench);
	for (uint32_t id = 1; id <= n; id++)
		create_blob(bench, id, VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE, BLOB);
}

static uint64_t post_map(struct bench *bench, uint32_t id, uint64_t offset)
{
	struct virtio_gpu_resource_map_blob map = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
		                                    .resource_id = id,
		                                    .offset = offset };

	return gpu_machine_post(&bench->machine, 0, &map, sizeof(map), sizeof(struct virtio_gpu_resp_map_info));
}

static uint64_t post_unmap(struct bench *bench, uint32_t id)
{
	struct virtio_gpu_resource_unmap_blob unmap = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, .resource_id = id };

	return gpu_machine_post(&bench->machine, 0, &unmap, sizeof(unmap), sizeof(struct virtio_gpu_ctrl_hdr));
}

/* The answer has not come, and nobody is kept busy by that. */
static void assert_waiting(struct bench *bench)
{
	gpu_machine_settle(&bench->machine);
	g_assert_cmpuint(gpu_machine_run(&bench->machine, 1, 5), ==, 0);
	g_assert_cmphex(bench->machine.device->kicked, ==, 0);
}

static uint32_t answer(struct bench *bench, uint64_t response)
{
	g_assert_cmpuint(gpu_machine_run(&bench->machine, 1, 2000), ==, 1);
	return ((const struct virtio_gpu_ctrl_hdr *)gpu_machine_at(&bench->machine, response))->type;
}

/* The VMM's request number i is to map, or unmap, that range. */
static const struct asked *expect_asked(struct bench *bench, unsigned i, bool map, uint64_t offset)
{
	const struct asked *asked = &bench->vmm.asked[i];

	g_assert_cmpuint(bench->vmm.n_asked, ==, i + 1);
	g_assert_true(asked->map == map);
	g_assert_cmpuint(asked->range.shmid, ==, VIRTIO_GPU_SHM_ID_HOST_VISIBLE);
	g_assert_cmpuint(asked->range.offset, ==, offset);
	g_assert_cmpuint(asked->range.size, ==, 3 * PAGE);
	return asked;
}

static void map(struct bench *bench, uint32_t id, uint64_t offset)
{
	uint64_t response = post_map(bench, id, offset);
	unsigned i = bench->vmm.n_asked;

	GPU_WAIT(&bench->machine, bench->vmm.n_asked > i);
	const struct asked *asked = expect_asked(bench, i, true, offset);
	asked->done(0, asked->data);
	g_assert_cmphex(answer(bench, response), ==, VIRTIO_GPU_RESP_OK_MAP_INFO);
}

static void restart(struct bench *bench)
{
	gpu_machine_start(&bench->machine, features_3d);
	create_blobs(bench, 1);
}

/* ---- tests ---- */

static void test_map_and_unmap(void)
{
	struct bench bench;
	char word[8];

	create(&bench);
	create_blobs(&bench, 1);
	uint64_t response = post_map(&bench, 1, 5 * PAGE);
	assert_waiting(&bench);
	const struct asked *asked = expect_asked(&bench, 0, true, 5 * PAGE);
	g_assert_cmpint(pread(asked->fd, word, sizeof(word), 0), ==, sizeof(word));
	g_assert_cmpstr(word, ==, "blob  1");
	asked->done(0, asked->data);
	g_assert_cmphex(answer(&bench, response), ==, VIRTIO_GPU_RESP_OK_MAP_INFO);
	const struct virtio_gpu_resp_map_info *info = (const void *)gpu_machine_at(&bench.machine, response);
	g_assert_cmpuint(info->map_info, ==, VIRTIO_GPU_MAP_CACHE_WC);

	response = post_unmap(&bench, 1);
	assert_waiting(&bench);
	asked = expect_asked(&bench, 1, false, 5 * PAGE);
	asked->done(0, asked->data);
	g_assert_cmphex(answer(&bench, response), ==, VIRTIO_GPU_RESP_OK_NODATA);
	map(&bench, 1, 0);
	g_assert_cmpuint(bench.blobs.exports, ==, 2);
	destroy(&bench);
}

static const struct wrong_row {
	const char *name;
	uint32_t id;
	uint64_t offset;
	uint32_t response;
} wrong_rows[] = {
	{ "unknown", 9, 0, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID },
	{ "id-0", 0, 0, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID },
	{ "2d", 2, 0, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "of-the-guest", 3, 0, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "not-mappable", 4, 0, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "of-both", 5, 0, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "larger-than-the-region", 6, 0, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "offset-within-a-page", 8, 100, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "beyond", 8, VTR_HOST_VISIBLE_SIZE, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "over-the-end", 8, VTR_HOST_VISIBLE_SIZE - 2 * PAGE, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "wraps", 8, UINT64_MAX - PAGE + 1, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "mapped-there", 1, 0, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "mapped-elsewhere", 1, 8 * PAGE, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	{ "over-another", 8, 2 * PAGE, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
};

static void create_others(struct bench *bench)
{
	struct virtio_gpu_resource_create_2d image = gpu_create_2d(2);
	struct gpu_blob_request guest = gpu_create_blob(3, 0), both = gpu_create_blob(5, 0);

	both.blob.hdr.ctx_id = CONTEXT;
	both.blob.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
	both.blob.blob_flags = guest.blob.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE;
	GPU_ASSERT_OK(&bench->machine, image);
	GPU_ASSERT_OK(&bench->machine, guest);
	GPU_ASSERT_OK(&bench->machine, both);
	create_blob(bench, 4, VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE, BLOB);
	create_blob(bench, 6, VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE, VTR_HOST_VISIBLE_SIZE + 1);
	create_blob(bench, 8, VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE, BLOB);
}

static void test_wrong(const void *data)
{
	const struct wrong_row *row = data;
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 1);
	map(&bench, 1, 0);
	create_others(&bench);
	g_assert_cmphex(answer(&bench, post_map(&bench, row->id, row->offset)), ==, row->response);
	g_assert_cmpuint(bench.vmm.n_asked, ==, 1);
	map(&bench, 8, VTR_HOST_VISIBLE_SIZE - 3 * PAGE);
	destroy(&bench);
}

static void test_unmap_what_is_not(void)
{
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 1);
	g_assert_cmphex(answer(&bench, post_unmap(&bench, 1)), ==, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	g_assert_cmphex(answer(&bench, post_unmap(&bench, 2)), ==, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	g_assert_cmpuint(bench.vmm.n_asked, ==, 0);
	destroy(&bench);
}

static const struct fail_row {
	const char *name;
	int code;         /* of the renderer */
	uint64_t offset;  /* of its memory, */
	uint64_t missing; /* and what it lacks */
	int asking;       /* cannot be asked */
	int result;       /* of the VMM */
	uint32_t response;
} fail_rows[] = {
	{ "renderer-cannot", -EOPNOTSUPP, 0, 0, 0, 0, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "renderer-out-of-memory", -ENOMEM, 0, 0, 0, 0, VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY },
	{ "renderer-lost", -ENODEV, 0, 0, 0, 0, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "renderer-within-a-page", 0, 100, 0, 0, 0, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "renderer-too-little", 0, 0, PAGE, 0, 0, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "vmm-has-no-channel", 0, 0, 0, -ENOTCONN, 0, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "vmm-cannot", 0, 0, 0, -EOPNOTSUPP, 0, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "vmm-refuses", 0, 0, 0, 0, -EREMOTEIO, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "vmm-left", 0, 0, 0, 0, -ECONNRESET, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "vmm-silent", 0, 0, 0, 0, -ETIMEDOUT, VIRTIO_GPU_RESP_ERR_UNSPEC },
};

static void test_fail(const void *data)
{
	const struct fail_row *row = data;
	struct bench bench;

	for (unsigned later = 0; later < 2; later++) {
		create(&bench);
		create_blobs(&bench, 1);
		bench.blobs = (struct blobs){ bench.blobs.base, .later = later, .code = row->code, .offset = row->offset,
			                      .missing = row->missing };
		bench.vmm.error = row->asking;
		uint64_t response = post_map(&bench, 1, 0);
		gpu_machine_settle(&bench.machine);
		if (later)
			finish_export(&bench.blobs);
		if (row->result)
			bench.vmm.asked[0].done(row->result, bench.vmm.asked[0].data);
		g_assert_cmphex(answer(&bench, response), ==, row->response);
		/* Who did not answer may do it after all: it is to undo that. */
		g_assert_cmpuint(bench.vmm.n_asked, ==, row->result == -ETIMEDOUT ? 2 : row->result != 0);
		if (row->result == -ETIMEDOUT)
			g_assert_null(expect_asked(&bench, 1, false, 0)->done);
		/* and nothing is remembered */
		bench.blobs = (struct blobs){ bench.blobs.base };
		bench.vmm.error = 0;
		map(&bench, 1, 0);
		destroy(&bench);
	}
}

static void test_unmap_fails(void)
{
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 1);
	map(&bench, 1, 0);
	uint64_t response = post_unmap(&bench, 1);
	gpu_machine_settle(&bench.machine);
	bench.vmm.asked[1].done(-EREMOTEIO, bench.vmm.asked[1].data);
	g_assert_cmphex(answer(&bench, response), ==, VIRTIO_GPU_RESP_ERR_UNSPEC);
	map(&bench, 1, 0);
	bench.vmm.error = -ENOTCONN;
	g_assert_cmphex(answer(&bench, post_unmap(&bench, 1)), ==, VIRTIO_GPU_RESP_ERR_UNSPEC);
	destroy(&bench);
}

/* The queue waits, and what came behind the command is done behind it. */
static void test_order(void)
{
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 2);
	bench.blobs.later = true;
	uint64_t first = post_map(&bench, 1, 0), second = post_unmap(&bench, 1);
	struct virtio_gpu_update_cursor cursor = { .hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR };
	struct vring_used_elem element;
	assert_waiting(&bench);
	gpu_machine_post(&bench.machine, 1, &cursor, sizeof(cursor), 0);
	GPU_WAIT(&bench.machine, vring_take_used(&bench.machine.rings[1], &element));
	finish_export(&bench.blobs);
	assert_waiting(&bench);
	bench.vmm.asked[0].done(0, bench.vmm.asked[0].data);
	g_assert_cmphex(answer(&bench, first), ==, VIRTIO_GPU_RESP_OK_MAP_INFO);
	assert_waiting(&bench);
	expect_asked(&bench, 1, false, 0);
	bench.vmm.asked[1].done(0, bench.vmm.asked[1].data);
	g_assert_cmphex(answer(&bench, second), ==, VIRTIO_GPU_RESP_OK_NODATA);
	destroy(&bench);
}

/* A resource that goes is unmapped, and its place is free at once: the VMM does one after the other. */
static void test_unref(void)
{
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 2);
	map(&bench, 1, 0);
	GPU_ASSERT_OK(&bench.machine, unref);
	g_assert_null(expect_asked(&bench, 1, false, 0)->done);
	map(&bench, 2, PAGE);
	create_blob(&bench, 1, VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE, BLOB);
	g_assert_cmphex(answer(&bench, post_unmap(&bench, 1)), ==, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	destroy(&bench);
}

/* A queue that stops, as for a guest that is paused, and goes on: nothing is mapped twice. How far it was: */
enum moment { EXPORT_IS_ASKED, VMM_IS_ASKED, VMM_HAS_ANSWERED, MOMENTS };
static const char *const moment_names[MOMENTS] = { "export-is-asked", "vmm-is-asked", "vmm-has-answered" };

static void reach(struct bench *bench, enum moment moment)
{
	gpu_machine_settle(&bench->machine);
	if (moment >= VMM_IS_ASKED)
		finish_export(&bench->blobs);
	if (moment >= VMM_HAS_ANSWERED)
		bench->vmm.asked[0].done(0, bench->vmm.asked[0].data);
}

static void test_pause(const void *data)
{
	enum moment moment = (enum moment)GPOINTER_TO_UINT(data);
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 1);
	struct vtr_virtqueue *queue = &bench.machine.device->queues[0], kept = *queue;
	bench.blobs.later = true;
	uint64_t response = post_map(&bench, 1, 0);
	reach(&bench, moment);
	uint16_t base = vtr_virtio_stop_queue(bench.machine.device, 0);
	g_assert_cmpuint(base, ==, 2); /* the two commands before it */
	bench.vmm.error = -EAGAIN;
	if (moment == EXPORT_IS_ASKED) /* to no end: nobody can be asked now */
		finish_export(&bench.blobs);
	else if (moment == VMM_IS_ASKED)
		bench.vmm.asked[0].done(0, bench.vmm.asked[0].data);
	bench.vmm.error = 0;
	queue->size = kept.size;
	queue->desc = kept.desc;
	queue->avail = kept.avail;
	queue->used = kept.used;
	g_assert_cmpint(vtr_virtio_resume_queue(bench.machine.device, 0, base), ==, 0);
	if (moment == EXPORT_IS_ASKED)
		reach(&bench, VMM_HAS_ANSWERED);
	g_assert_cmphex(answer(&bench, response), ==, VIRTIO_GPU_RESP_OK_MAP_INFO);
	g_assert_cmpuint(bench.vmm.n_asked, ==, 1);
	g_assert_cmpuint(bench.blobs.exports, ==, 1 + (moment == EXPORT_IS_ASKED));
	destroy(&bench);
}

/* A reset at each of these moments, and a new driver that wants the same place. What the VMM was asked for and may do after its own
 * reset is undone then, in order. */
static void test_reset(const void *data)
{
	enum moment moment = (enum moment)GPOINTER_TO_UINT(data);
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 1);
	bench.blobs.later = true;
	post_map(&bench, 1, 0);
	reach(&bench, moment);
	restart(&bench);
	const bool undone = moment == VMM_IS_ASKED;
	g_assert_cmpuint(bench.vmm.n_asked, ==, moment > EXPORT_IS_ASKED); /* stopped: silent */
	bench.blobs.later = false;
	uint64_t mapped = post_map(&bench, 1, 0);
	gpu_machine_settle(&bench.machine);
	const struct asked *again = expect_asked(&bench, (moment > EXPORT_IS_ASKED) + undone, true, 0);
	again->done(0, again->data);
	g_assert_cmphex(answer(&bench, mapped), ==, VIRTIO_GPU_RESP_OK_MAP_INFO);
	if (undone) {
		const struct asked *late = &bench.vmm.asked[0];

		g_assert_false(bench.vmm.asked[1].map);
		late->done(0, late->data);
	}
	uint64_t response = post_unmap(&bench, 1);
	gpu_machine_settle(&bench.machine);
	const struct asked *asked = expect_asked(&bench, bench.vmm.n_asked - 1, false, 0);
	asked->done(0, asked->data);
	g_assert_cmphex(answer(&bench, response), ==, VIRTIO_GPU_RESP_OK_NODATA);
	destroy(&bench);
}

/* A mapping that is being removed when the device is reset. */
static void test_reset_while_unmapping(void)
{
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 1);
	map(&bench, 1, 0);
	post_unmap(&bench, 1);
	gpu_machine_settle(&bench.machine);
	restart(&bench);
	map(&bench, 1, 0);
	bench.vmm.asked[1].done(-EREMOTEIO, bench.vmm.asked[1].data);
	g_assert_cmphex(answer(&bench, post_map(&bench, 1, 0)), ==, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	destroy(&bench);
}

static void test_vmm_leaves(void)
{
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 2);
	map(&bench, 1, 0);
	post_map(&bench, 2, 8 * PAGE);
	gpu_machine_settle(&bench.machine);
	bench.vmm.asked[1].done(-ECONNRESET, bench.vmm.asked[1].data);
	vtr_virtio_abandon(bench.machine.device);
	g_assert_cmpuint(bench.vmm.n_asked, ==, 2);
	restart(&bench);
	map(&bench, 1, 0);
	destroy(&bench);
}

/* The memory is the VMM's by then: the guest must not find a hole. */
static void test_renderer_lost(void)
{
	struct bench bench;
	struct vtr_error why;

	create(&bench);
	create_blobs(&bench, 2);
	map(&bench, 1, 0);
	vtr_error_set(&why, VTR_ERROR_HOST, ENODEV, "it crashed");
	bench.blobs.base.listener->lost(bench.blobs.base.listener_data, &why);
	g_assert_cmpuint(bench.vmm.n_asked, ==, 1);
	g_assert_cmphex(answer(&bench, post_map(&bench, 2, 8 * PAGE)), ==, VIRTIO_GPU_RESP_ERR_UNSPEC);
	uint64_t response = post_unmap(&bench, 1);
	gpu_machine_settle(&bench.machine);
	expect_asked(&bench, 1, false, 0);
	bench.vmm.asked[1].done(0, bench.vmm.asked[1].data);
	g_assert_cmphex(answer(&bench, response), ==, VIRTIO_GPU_RESP_OK_NODATA);
	destroy(&bench);
}

static void test_transport_without_regions(void)
{
	struct bench bench;

	create(&bench);
	create_blobs(&bench, 1);
	vtr_virtio_set_transport(bench.machine.device, &without_regions, NULL);
	g_assert_cmphex(answer(&bench, post_map(&bench, 1, 0)), ==, VIRTIO_GPU_RESP_ERR_UNSPEC);
	destroy(&bench);
}

static const struct size_row {
	const char *name;
	bool renderer, maps_blobs, no_blob;
	uint64_t size;
} size_rows[] = {
	{ "with", true, true, false, VTR_HOST_VISIBLE_SIZE },
	{ "without-renderer", false, true, false, 0 },
	{ "without-exports", true, false, false, 0 },
	{ "without-blobs", true, true, true, 0 },
};

/* No region where mapping would fail: a guest that sees one relies on it. */
static void test_size(const void *data)
{
	const struct size_row *row = data;
	struct blobs blobs = { .base = { .impl = &blobs_impl, .maps_blobs = row->maps_blobs } };
	struct vtr_gpu_options options = { .renderer = row->renderer ? &blobs.base : NULL, .no_blob = row->no_blob };
	struct gpu_machine machine;

	gpu_machine_create(&machine, &options, 1, VTR_DEMAND_NONE);
	g_assert_cmpuint(vtr_virtio_shm_size(machine.device, VIRTIO_GPU_SHM_ID_HOST_VISIBLE), ==, row->size);
	g_assert_cmpuint(vtr_virtio_shm_size(machine.device, 0), ==, 0);
	g_assert_cmpuint(vtr_virtio_shm_size(machine.device, 2), ==, 0);
	gpu_machine_destroy(&machine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	vtr_log_set_level(VTR_LOG_ERROR);
	g_test_add_func("/unit/gpu-hostmem/map-and-unmap", test_map_and_unmap);
	ADD_ROWS("/unit/gpu-hostmem/wrong/", wrong_rows, test_wrong);
	g_test_add_func("/unit/gpu-hostmem/unmap-what-is-not", test_unmap_what_is_not);
	ADD_ROWS("/unit/gpu-hostmem/fail/", fail_rows, test_fail);
	g_test_add_func("/unit/gpu-hostmem/unmap-fails", test_unmap_fails);
	g_test_add_func("/unit/gpu-hostmem/order", test_order);
	g_test_add_func("/unit/gpu-hostmem/unref", test_unref);
	for (unsigned i = 0; i < MOMENTS; i++) {
		g_autofree char *pause = g_strdup_printf("/unit/gpu-hostmem/pause/%s", moment_names[i]);
		g_autofree char *reset = g_strdup_printf("/unit/gpu-hostmem/reset/%s", moment_names[i]);

		g_test_add_data_func(pause, GUINT_TO_POINTER(i), test_pause);
		g_test_add_data_func(reset, GUINT_TO_POINTER(i), test_reset);
	}
	g_test_add_func("/unit/gpu-hostmem/reset-while-unmapping", test_reset_while_unmapping);
	g_test_add_func("/unit/gpu-hostmem/vmm-leaves", test_vmm_leaves);
	g_test_add_func("/unit/gpu-hostmem/renderer-lost", test_renderer_lost);
	g_test_add_func("/unit/gpu-hostmem/transport-without-regions", test_transport_without_regions);
	ADD_ROWS("/unit/gpu-hostmem/size/", size_rows, test_size);
	return g_test_run();
}
