/* SPDX-License-Identifier: MIT */
/* Calls that are done later, memory that goes under the renderer, and a renderer that goes. */
#include <errno.h>

#include "gpu_3d.h"

enum { PIXELS = 0x10000, OTHER_PIXELS = 0x20000 };

static bool answered(struct gpu_3d *bench, uint64_t at)
{
	return gpu_3d_answer(bench, at)->type;
}

/* ---- held requests ---- */

static void test_queue_waits(void)
{
	struct virtio_gpu_ctx_create create = gpu_3d_ctx_create(1);
	struct gpu_3d_submit submit = gpu_3d_submit(1, 0);
	struct virtio_gpu_ctrl_hdr info = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct virtio_gpu_update_cursor cursor = { .hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	bench.fake->later = true;
	const uint64_t first = GPU_3D_POST(&bench, create), second = GPU_3D_POST(&bench, submit);
	const uint64_t third =
		gpu_machine_post(&bench.machine, 0, &info, sizeof(info), sizeof(struct virtio_gpu_resp_display_info));
	const uint64_t other = gpu_machine_post(&bench.machine, 1, &cursor, sizeof(cursor), sizeof(cursor.hdr));

	g_assert_true(answered(&bench, other)); /* only that queue waits */
	g_assert_false(answered(&bench, first) || answered(&bench, second) || answered(&bench, third));
	g_assert_cmpuint(g_queue_get_length(bench.fake->waiting), ==, 1);
	fake_renderer_answer(bench.fake, 1);
	g_assert_cmphex(gpu_3d_answer(&bench, first)->type, ==, OK);
	g_assert_false(answered(&bench, second) || answered(&bench, third));
	fake_renderer_answer(bench.fake, 1);
	g_assert_cmphex(gpu_3d_answer(&bench, second)->type, ==, OK);
	g_assert_cmphex(gpu_3d_answer(&bench, third)->type, ==, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	g_assert_cmphex(fake_renderer_last(bench.fake, VTR_RENDER_SUBMIT)->word, ==, 0xc0ffee);
	bench.fake->later = false;
	gpu_3d_destroy(&bench);
}

/* A fenced command that is held, then drawn. */
static void test_held_then_fenced(void)
{
	struct gpu_3d_submit submit = gpu_3d_submit(1, 5);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	bench.fake->later = bench.fake->hold_fences = true;
	uint64_t at = GPU_3D_POST(&bench, submit);
	gpu_machine_settle(&bench.machine);
	fake_renderer_answer(bench.fake, 1); /* SUBMIT */
	g_assert_false(vtr_gpu_rendering(bench.machine.gpu, VTR_GPU_CONTROLQ));
	fake_renderer_answer(bench.fake, 1); /* FENCE */
	g_assert_false(answered(&bench, at));
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_cmpuint(gpu_3d_answer(&bench, at)->fence_id, ==, 5);
	bench.fake->later = false;
	gpu_3d_destroy(&bench);
}

/* What was begun here and fails there is taken back. */
static void test_late_failures(void)
{
	struct virtio_gpu_ctx_create context = gpu_3d_ctx_create(1);
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct virtio_gpu_resource_create_2d flat = gpu_create_2d(2);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 2, 2);
	struct virtio_gpu_ctx_create second = gpu_3d_ctx_create(2);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	GPU_ASSERT_OK(&bench.machine, second);
	GPU_ASSERT_OK(&bench.machine, flat);
	uint64_t hostmem = gpu_3d_status(&bench).hostmem;
	bench.fake->later = true;
	bench.fake->fail[VTR_RENDER_CTX_CREATE] = bench.fake->fail[VTR_RENDER_CREATE_3D] = -ENOMEM;
	uint64_t at = GPU_3D_POST(&bench, context);
	gpu_machine_settle(&bench.machine);
	fake_renderer_answer(bench.fake, 1);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, MEMORY);
	g_assert_cmpuint(gpu_3d_status(&bench).contexts, ==, 1);
	at = GPU_3D_POST(&bench, create);
	gpu_machine_settle(&bench.machine);
	fake_renderer_answer(bench.fake, 1);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, MEMORY);
	g_assert_cmpuint(gpu_3d_status(&bench).resources, ==, 1);
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, hostmem);
	/* the twin is made, gets its memory and its picture, and is attached: all of that under way */
	at = GPU_3D_POST(&bench, join);
	gpu_machine_settle(&bench.machine);
	g_assert_cmpuint(g_queue_get_length(bench.fake->waiting), ==, 4);
	fake_renderer_answer(bench.fake, 4);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, RESOURCE);
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, hostmem);
	g_assert_cmpuint(bench.machine.gpu->contexts.attachments, ==, 0);
	bench.fake->later = false;
	gpu_3d_destroy(&bench);
}

/* Each command that can be held, while everything ends. */
static const struct ending {
	const char *name;
	enum { DEVICE_RESET, QUEUE_RESET, DRAIN, ABANDON } how;
} endings[] = {
	{ "device-reset", DEVICE_RESET },
	{ "queue-reset", QUEUE_RESET },
	{ "drain", DRAIN },
	{ "abandon", ABANDON },
};

enum { HELD_COMMANDS = 9 };

static uint64_t post_nth(struct gpu_3d *bench, unsigned n)
{
	struct virtio_gpu_ctx_create context = gpu_3d_ctx_create(2);
	struct virtio_gpu_ctrl_hdr destroy = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 1 };
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(3);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct virtio_gpu_transfer_host_3d from = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, 1, 1);
	struct gpu_3d_submit submit = gpu_3d_submit(1, 3);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(2, OTHER_PIXELS);

	switch (n) {
	case 0:
		return GPU_3D_POST(bench, context);
	case 1:
		return GPU_3D_POST(bench, destroy);
	case 2:
		return GPU_3D_POST(bench, create);
	case 3:
		return GPU_3D_POST(bench, join);
	case 4:
		return GPU_3D_POST(bench, unref);
	case 5:
		return GPU_3D_POST(bench, detach);
	case 6:
		return GPU_3D_POST(bench, from);
	case 7:
		return GPU_3D_POST(bench, submit);
	default:
		return GPU_3D_POST(bench, attach);
	}
}

static void end(struct gpu_3d *bench, const struct ending *row, uint64_t at)
{
	switch (row->how) {
	case DEVICE_RESET:
		gpu_machine_start(&bench->machine, gpu_3d_features);
		break;
	case QUEUE_RESET:
		vtr_virtio_reset_queue(bench->machine.device, 0);
		gpu_machine_start_queue(&bench->machine, 0);
		break;
	case DRAIN:
		vtr_virtio_stop_queue(bench->machine.device, 0);
		g_assert_true(answered(bench, at));
		gpu_machine_start_queue(&bench->machine, 0);
		break;
	case ABANDON:
		vtr_virtio_abandon(bench->machine.device);
		g_assert_cmpuint(gpu_3d_status(bench).hostmem, ==, 0);
		gpu_machine_start(&bench->machine, gpu_3d_features);
		break;
	}
}

static void test_ending(gconstpointer data)
{
	const struct ending *row = data;
	struct virtio_gpu_resource_create_2d flat = gpu_create_2d(2);

	for (unsigned n = 0; n < HELD_COMMANDS; n++) {
		struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
		struct gpu_3d bench;

		gpu_3d_create(&bench, 0, 1);
		gpu_3d_make_context(&bench);
		gpu_3d_make_texture(&bench, 1, PIXELS);
		GPU_ASSERT_OK(&bench.machine, set);
		GPU_ASSERT_OK(&bench.machine, flat);
		bench.fake->later = true;
		uint64_t at = post_nth(&bench, n);
		gpu_machine_settle(&bench.machine);
		end(&bench, row, at);
		g_assert_false(vtr_gpu_rendering(bench.machine.gpu, VTR_GPU_CONTROLQ));
		bench.fake->later = false;
		while (!g_queue_is_empty(bench.fake->waiting)) /* what nobody waits for */
			fake_renderer_answer(bench.fake, 1);
		g_assert_cmphex(GPU_CALL(&bench.machine, flat)->type, ==,
		                row->how == DEVICE_RESET || row->how == ABANDON ? OK : RESOURCE);
		gpu_3d_destroy(&bench);
	}
}

/* The process ends with calls under way. */
static void test_destroyed_while_held(void)
{
	struct gpu_3d_submit submit = gpu_3d_submit(1, 3);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	bench.fake->later = true;
	GPU_3D_POST(&bench, submit);
	gpu_machine_settle(&bench.machine);
	gpu_3d_destroy(&bench);
}

/* ---- memory that goes and comes ---- */

static void test_memory_goes(void)
{
	struct virtio_gpu_transfer_host_3d to = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 1, 1);
	struct gpu_3d_submit submit = gpu_3d_submit(1, 0);
	struct gpu_blob_request blob = gpu_create_blob(2, OTHER_PIXELS);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	GPU_ASSERT_OK(&bench.machine, blob);
	GPU_ASSERT_OK(&bench.machine, join);
	gpu_machine_map_pixels(&bench.machine, false);
	g_assert_false(fake_renderer_is_lent(bench.fake, 1)); /* when the unmapping is acknowledged */
	g_assert_false(fake_renderer_is_lent(bench.fake, 2));
	g_assert_cmphex(GPU_CALL(&bench.machine, to)->type, ==, UNSPEC);
	GPU_ASSERT_OK(&bench.machine, submit); /* what it names there is its own problem */
	gpu_machine_map_pixels(&bench.machine, true);
	g_assert_true(fake_renderer_is_lent(bench.fake, 1)); /* a stream may use it next */
	g_assert_true(fake_renderer_is_lent(bench.fake, 2));
	g_assert_cmpuint(bench.machine.gpu->resources.missed, ==, 0);
	GPU_ASSERT_OK(&bench.machine, to);
	gpu_3d_destroy(&bench);
}

/* The renderer is in the middle of using it. */
static void test_memory_goes_while_used(void)
{
	struct virtio_gpu_transfer_host_3d from = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, 1, 1);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	bench.fake->later = true;
	uint64_t at = GPU_3D_POST(&bench, from);
	gpu_machine_settle(&bench.machine);
	gpu_machine_map_pixels(&bench.machine, false);
	g_assert_true(g_queue_is_empty(bench.fake->waiting)); /* it was waited for, the transfer and the memory's return */
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, OK);
	gpu_machine_map_pixels(&bench.machine, true);
	fake_renderer_answer(bench.fake, 1);
	g_assert_true(fake_renderer_is_lent(bench.fake, 1));
	bench.fake->later = false;
	gpu_3d_destroy(&bench);
}

static void test_detach_is_held(void)
{
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	bench.fake->later = true;
	uint64_t at = GPU_3D_POST(&bench, detach);
	g_assert_false(answered(&bench, at));
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 1); /* the memory is in use */
	fake_renderer_answer(bench.fake, 1);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, OK);
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 0);
	bench.fake->later = false;
	gpu_3d_destroy(&bench);
}

/* The memory goes and comes in one turn, while the guest's own command to give it up is under way: it is not lent again. */
static void test_memory_changes(gconstpointer data)
{
	const bool unref = GPOINTER_TO_INT(data);
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct virtio_gpu_resource_unref destroy = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	fake_renderer_clear(bench.fake);
	bench.fake->later = true;
	uint64_t at = unref ? GPU_3D_POST(&bench, destroy) : GPU_3D_POST(&bench, detach);
	gpu_machine_settle(&bench.machine);
	gpu_machine_map_pixels(&bench.machine, false);
	gpu_machine_map_pixels(&bench.machine, true);
	fake_renderer_answer_all(bench.fake);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, OK);
	g_assert_cmpuint(fake_renderer_asked(bench.fake, VTR_RENDER_ATTACH_BACKING), ==, 0);
	g_assert_false(fake_renderer_is_lent(bench.fake, 1));
	g_assert_cmpuint(gpu_3d_status(&bench).entries, ==, 0);
	g_assert_cmpuint(bench.machine.gpu->resources.missed, ==, 0);
	bench.fake->later = false;
	gpu_3d_destroy(&bench);
}

/* ---- a renderer that is lost ---- */

static void test_lost(void)
{
	struct virtio_gpu_transfer_host_3d to = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 0, 1);
	struct virtio_gpu_ctrl_hdr destroy = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 1 };
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 0);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct virtio_gpu_resource_create_2d flat = gpu_create_2d(2);
	struct virtio_gpu_ctx_create create = gpu_3d_ctx_create(1);
	struct gpu_3d_submit submit = gpu_3d_submit(1, 0);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	GPU_ASSERT_OK(&bench.machine, set);
	GPU_ASSERT_OK(&bench.machine, flat);
	uint64_t alone = gpu_3d_status(&bench).hostmem;
	GPU_ASSERT_OK(&bench.machine, join);
	fake_renderer_lose(bench.fake);
	g_assert_cmpuint(gpu_3d_status(&bench).renderer_lost, ==, 1);
	g_assert_cmpuint(gpu_3d_status(&bench).hostmem, ==, alone); /* the twin is gone, and its bytes */
	fake_renderer_clear(bench.fake);

	g_assert_cmphex(GPU_CALL(&bench.machine, submit)->type, ==, CONTEXT);
	g_assert_cmphex(GPU_CALL(&bench.machine, create)->type, ==, CONTEXT); /* its id is taken until the guest knows */
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, CONTEXT);
	g_assert_cmphex(GPU_CALL(&bench.machine, to)->type, ==, UNSPEC);
	g_assert_cmphex(GPU_CALL(&bench.machine, flush)->type, ==, UNSPEC);
	g_assert_cmphex(GPU_CALL(&bench.machine, set)->type, ==, UNSPEC);
	g_assert_true(gpu_machine_status(&bench.machine, 0).enabled); /* the last picture stays */
	g_assert_true(gpu_machine_status(&bench.machine, 0).frozen);
	GPU_ASSERT_OK(&bench.machine, destroy);
	g_assert_cmpuint(bench.fake->calls->len, ==, 0); /* nothing of that is the renderer's business */

	/* another one is there when it is asked for */
	GPU_ASSERT_OK(&bench.machine, create);
	GPU_ASSERT_OK(&bench.machine, submit);
	GPU_ASSERT_OK(&bench.machine, join);
	g_assert_true(fake_renderer_has(bench.fake, 2)); /* a twin again */
	join.resource_id = 1;
	g_assert_cmphex(GPU_CALL(&bench.machine, join)->type, ==, UNSPEC);
	g_assert_cmphex(gpu_3d_unref(&bench, 1), ==, OK);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	gpu_3d_destroy(&bench);
}

/* With commands and fences under way: all of them end, in order. */
static void test_lost_while_busy(void)
{
	struct gpu_3d_submit fenced = gpu_3d_submit(1, 1), held = gpu_3d_submit(1, 2);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	bench.fake->hold_fences = true;
	uint64_t first = GPU_3D_POST(&bench, fenced);
	gpu_machine_settle(&bench.machine);
	bench.fake->later = true;
	uint64_t second = GPU_3D_POST(&bench, held), third = GPU_3D_POST(&bench, held);
	g_assert_false(answered(&bench, first) || answered(&bench, second));
	fake_renderer_lose(bench.fake);
	bench.fake->later = false;
	g_assert_cmphex(gpu_3d_answer(&bench, first)->type, ==, OK);
	g_assert_cmphex(gpu_3d_answer(&bench, second)->type, ==, UNSPEC);
	g_assert_cmphex(gpu_3d_answer(&bench, third)->type, ==, CONTEXT);
	g_assert_cmpuint(gpu_3d_answer(&bench, third)->fence_id, ==, 2);
	gpu_3d_destroy(&bench);
}

/* A flush waits for what the lost renderer was to draw. */
static void test_lost_under_flush(void)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	GPU_ASSERT_OK(&bench.machine, set);
	bench.fake->hold_fences = true;
	uint64_t at = GPU_3D_POST(&bench, flush);
	g_assert_false(answered(&bench, at));
	fake_renderer_lose(bench.fake);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->type, ==, UNSPEC);
	g_assert_false(vtr_gpu_rendering(bench.machine.gpu, VTR_GPU_CONTROLQ));
	gpu_3d_destroy(&bench);
}

/* The same, told from inside the call for the flush's fence, which has succeeded. */
static void test_lost_inside_flush(void)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
	struct virtio_gpu_resource_create_2d flat = gpu_create_2d(2);
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	GPU_ASSERT_OK(&bench.machine, set);
	bench.fake->lost_inside = 1u << VTR_RENDER_FENCE;
	g_assert_cmphex(gpu_3d_answer(&bench, GPU_3D_POST(&bench, flush))->type, ==, UNSPEC);
	g_assert_cmpuint(gpu_3d_status(&bench).renderer_lost, ==, 1);
	g_assert_cmphex(gpu_3d_answer(&bench, GPU_3D_POST(&bench, flat))->type, ==, OK);
	gpu_3d_destroy(&bench);
}

/* 2D and what is shown of it go on. */
static void test_lost_beside_2d(void)
{
	struct gpu_3d_attach attach = gpu_3d_attach_backing(2, PIXELS);
	struct virtio_gpu_resource_create_2d flat = gpu_create_2d(2);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 2);
	struct virtio_gpu_transfer_to_host_2d transfer = { .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
		                                           .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                                           .resource_id = 2 };
	struct gpu_3d bench;

	gpu_3d_create(&bench, 0, 1);
	gpu_3d_make_context(&bench);
	GPU_ASSERT_OK(&bench.machine, flat);
	GPU_ASSERT_OK(&bench.machine, attach);
	GPU_ASSERT_OK(&bench.machine, join);
	GPU_ASSERT_OK(&bench.machine, set);
	bench.fake->fail[VTR_RENDER_TRANSFER_TO_HOST] = -ENODEV; /* the loss is on its way to us */
	GPU_ASSERT_OK(&bench.machine, transfer);
	fake_renderer_lose(bench.fake);
	atomic_store(&bench.machine.display.demand, VTR_DEMAND_PIXELS);
	gpu_machine_flush(&bench.machine, 2);
	gpu_machine_paint(&bench.machine, PIXELS, 0x5a);
	GPU_ASSERT_OK(&bench.machine, transfer);
	gpu_machine_flush(&bench.machine, 2);
	GPU_WAIT(&bench.machine, atomic_load(&bench.machine.display.pixel[0]) == 0x5a5a5a5a);
	g_assert_false(gpu_machine_status(&bench.machine, 0).frozen);
	gpu_3d_destroy(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/gpu/3d-held/queue-waits", test_queue_waits);
	g_test_add_func("/unit/gpu/3d-held/held-then-fenced", test_held_then_fenced);
	g_test_add_func("/unit/gpu/3d-held/late-failures", test_late_failures);
	ADD_ROWS("/unit/gpu/3d-held/ending/", endings, test_ending);
	g_test_add_func("/unit/gpu/3d-held/destroyed", test_destroyed_while_held);
	g_test_add_func("/unit/gpu/3d-held/memory-goes", test_memory_goes);
	g_test_add_func("/unit/gpu/3d-held/memory-goes-while-used", test_memory_goes_while_used);
	g_test_add_func("/unit/gpu/3d-held/detach", test_detach_is_held);
	g_test_add_data_func("/unit/gpu/3d-held/memory-changes/detach", GINT_TO_POINTER(false), test_memory_changes);
	g_test_add_data_func("/unit/gpu/3d-held/memory-changes/unref", GINT_TO_POINTER(true), test_memory_changes);
	g_test_add_func("/unit/gpu/3d-held/lost", test_lost);
	g_test_add_func("/unit/gpu/3d-held/lost-while-busy", test_lost_while_busy);
	g_test_add_func("/unit/gpu/3d-held/lost-under-flush", test_lost_under_flush);
	g_test_add_func("/unit/gpu/3d-held/lost-inside-flush", test_lost_inside_flush);
	g_test_add_func("/unit/gpu/3d-held/lost-beside-2d", test_lost_beside_2d);
	return g_test_run();
}
