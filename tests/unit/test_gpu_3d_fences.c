/* SPDX-License-Identifier: MIT */
/* Fences of what is drawn: in order in each timeline, against flushes that wait for displays, and when the renderer says no. */
#include <errno.h>

#include "gpu_3d.h"

enum { PIXELS = 0x10000 };

/* A blob of the guest's on a display that does not answer, context 1, and a renderer whose fences the test passes. */
static void start(struct gpu_3d *bench)
{
	gpu_3d_create(bench, 0, 1);
	gpu_machine_show_blob(&bench->machine, 0, 8, 0);
	gpu_3d_make_context(bench);
	bench->fake->hold_fences = true;
	atomic_store(&bench->machine.display.stuck, 1);
}

static uint64_t post_submit(struct gpu_3d *bench, uint64_t fence)
{
	struct gpu_3d_submit submit = gpu_3d_submit(1, fence);

	return GPU_3D_POST(bench, submit);
}

/* ring below 0: of the global timeline */
static uint64_t post_on_ring(struct gpu_3d *bench, uint32_t context, int ring, uint64_t fence)
{
	struct gpu_3d_submit submit = gpu_3d_submit(context, fence);

	if (ring >= 0) {
		submit.submit.hdr.flags |= VIRTIO_GPU_FLAG_INFO_RING_IDX;
		submit.submit.hdr.ring_idx = (uint8_t)ring;
	}
	return GPU_3D_POST(bench, submit);
}

static uint64_t post_flush(struct gpu_3d *bench, uint64_t fence)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(8, fence);

	return GPU_3D_POST(bench, flush);
}

static bool answered(struct gpu_3d *bench, uint64_t at)
{
	return gpu_3d_answer(bench, at)->type;
}

static void test_answered_when_drawn(void)
{
	struct gpu_3d bench;

	start(&bench);
	uint64_t first = post_submit(&bench, 11), second = post_submit(&bench, 12), bare = post_submit(&bench, 0);
	g_assert_false(answered(&bench, first));
	g_assert_true(answered(&bench, bare)); /* without a fence nobody waits */
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_FENCE), ==, 2);
	g_assert_false(fake_renderer_last(bench.fake, VTR_RENDER_FENCE)->args.fence.has_ring);
	fake_renderer_pass_fence(bench.fake, 0);
	const struct virtio_gpu_ctrl_hdr *answer = gpu_3d_answer(&bench, first);
	g_assert_cmphex(answer->type, ==, OK);
	g_assert_cmphex(answer->flags, ==, VIRTIO_GPU_FLAG_FENCE);
	g_assert_cmpuint(answer->fence_id, ==, 11);
	g_assert_cmpuint(answer->ctx_id, ==, 1);
	g_assert_false(answered(&bench, second));
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_true(answered(&bench, second));
	gpu_3d_destroy(&bench);
}

/* A renderer may leave out fences that a later one stands for. */
static void test_later_fence_stands_for_earlier(void)
{
	struct gpu_3d bench;

	start(&bench);
	uint64_t first = post_submit(&bench, 1), second = post_submit(&bench, 2);
	gpu_machine_settle(&bench.machine);
	fake_renderer_pass_fence(bench.fake, 1);
	g_assert_true(answered(&bench, first));
	g_assert_true(answered(&bench, second));
	fake_renderer_pass_fence(bench.fake, 0); /* told late: it means nothing any more */
	gpu_3d_destroy(&bench);
}

/* Without hold_fences the fence is done inside the call that asks for it. */
static void test_drawn_at_once(void)
{
	struct virtio_gpu_transfer_host_3d transfer = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 1, 1);
	struct gpu_3d bench;

	start(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	bench.fake->hold_fences = false;
	g_assert_true(answered(&bench, post_submit(&bench, 1)));
	transfer.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
	transfer.hdr.fence_id = 2;
	g_assert_true(answered(&bench, GPU_3D_POST(&bench, transfer)));
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_FENCE), ==, 2);
	gpu_3d_destroy(&bench);
}

/* What draws queues up behind a flush that waits for its display. */
static void test_submit_behind_flush(void)
{
	struct gpu_3d bench;

	start(&bench);
	uint64_t begin = vtr_now_ns(), flush = post_flush(&bench, 1), submit = post_submit(&bench, 2);
	gpu_machine_settle(&bench.machine);
	fake_renderer_pass_fence(bench.fake, 0); /* drawn, before the display is done */
	if (vtr_now_ns() - begin < 40000000) {
		g_assert_false(answered(&bench, flush));
		g_assert_false(answered(&bench, submit));
	}
	gpu_machine_unstick(&bench.machine, 0);
	GPU_WAIT(&bench.machine, answered(&bench, submit));
	g_assert_true(answered(&bench, flush));
	gpu_3d_destroy(&bench);
}

/* A display that does not answer holds nothing up for longer than its deadline. */
static void test_submit_behind_stalled_flush(void)
{
	struct gpu_3d bench;

	start(&bench);
	uint64_t begin = vtr_now_ns(), flush = post_flush(&bench, 1), submit = post_submit(&bench, 2);
	gpu_machine_settle(&bench.machine);
	fake_renderer_pass_fence(bench.fake, 0);
	GPU_WAIT(&bench.machine, answered(&bench, submit));
	g_assert_cmpuint(vtr_now_ns() - begin, >=, 45000000);
	g_assert_true(answered(&bench, flush));
	g_assert_cmpuint(gpu_machine_status(&bench.machine, 0).timeouts, ==, 1);
	gpu_3d_destroy(&bench);
}

/* A flush behind what draws waits for that, however long it takes, and not for its display once that is done. */
static void test_flush_behind_submit(void)
{
	struct gpu_3d bench;

	start(&bench);
	uint64_t submit = post_submit(&bench, 1), flush = post_flush(&bench, 2), begin = vtr_now_ns();
	while (vtr_now_ns() - begin < 80000000)
		vtr_loop_dispatch(bench.machine.loop, 1);
	g_assert_false(answered(&bench, submit));
	g_assert_false(answered(&bench, flush));
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_true(answered(&bench, submit));
	g_assert_true(answered(&bench, flush)); /* its deadline has passed meanwhile */
	gpu_3d_destroy(&bench);
}

/* Other commands do not wait for displays, but for what is drawn before them. */
static const struct follower {
	const char *name;
	uint32_t id, answer;
} followers[] = {
	{ "good", 8, OK },
	{ "error", 77, RESOURCE },
};

static void test_other_commands(gconstpointer data)
{
	const struct follower *row = data;
	struct virtio_gpu_resource_detach_backing detach = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 3 },
		.resource_id = row->id,
	};
	struct gpu_3d bench;

	start(&bench);
	uint64_t submit = post_submit(&bench, 1), flush = post_flush(&bench, 2), other = GPU_3D_POST(&bench, detach);
	g_assert_false(answered(&bench, submit));
	g_assert_false(answered(&bench, flush));
	g_assert_false(answered(&bench, other));
	uint64_t begin = vtr_now_ns();
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_true(answered(&bench, submit));
	g_assert_true(answered(&bench, flush));
	g_assert_cmphex(gpu_3d_answer(&bench, other)->type, ==, row->answer);
	g_assert_cmpuint(gpu_3d_answer(&bench, other)->fence_id, ==, 3);
	g_assert_cmpuint(vtr_now_ns() - begin, <, 40000000);
	gpu_3d_destroy(&bench);
}

/* An answer with data waits as well as one without. */
static void test_data_behind_submit(void)
{
	struct virtio_gpu_get_capset get = {
		.hdr = { .type = VIRTIO_GPU_CMD_GET_CAPSET, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 2 },
		.capset_id = 2,
		.capset_version = 2,
	};
	struct gpu_3d bench;

	start(&bench);
	uint64_t submit = post_submit(&bench, 1);
	uint64_t capset = gpu_machine_post(&bench.machine, 0, &get, sizeof(get), sizeof(get.hdr) + 1024);
	g_assert_false(answered(&bench, capset));
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_true(answered(&bench, submit));
	g_assert_cmphex(gpu_3d_answer(&bench, capset)->type, ==, VIRTIO_GPU_RESP_OK_CAPSET);
	g_assert_cmpuint(*gpu_machine_at(&bench.machine, capset + sizeof(get.hdr) + 1023), ==, 2);
	gpu_3d_destroy(&bench);
}

/* Rings of contexts: in order each, and independent of each other and of the global timeline. */
static void test_rings(void)
{
	struct virtio_gpu_ctx_create second = gpu_3d_ctx_create(2);
	struct gpu_3d bench;

	start(&bench);
	GPU_ASSERT_OK(&bench.machine, second);
	const uint64_t global = post_on_ring(&bench, 1, -1, 1);
	const uint64_t a1 = post_on_ring(&bench, 1, 0, 1), a2 = post_on_ring(&bench, 1, 0, 2);
	const uint64_t b1 = post_on_ring(&bench, 1, 63, 1), c1 = post_on_ring(&bench, 2, 0, 1);

	gpu_machine_settle(&bench.machine);
	const struct vtr_render_args *args = &fake_renderer_last(bench.fake, VTR_RENDER_FENCE)->args;
	g_assert_true(args->fence.has_ring);
	g_assert_cmpuint(args->ctx_id, ==, 2);
	fake_renderer_pass_fence(bench.fake, 4); /* c1 */
	g_assert_true(answered(&bench, c1));
	g_assert_false(answered(&bench, b1));
	fake_renderer_pass_fence(bench.fake, 2); /* a2, and with it a1 */
	g_assert_true(answered(&bench, a1) && answered(&bench, a2));
	g_assert_false(answered(&bench, b1) || answered(&bench, global));
	fake_renderer_pass_fence(bench.fake, 2); /* b1 */
	const struct virtio_gpu_ctrl_hdr *answer = gpu_3d_answer(&bench, b1);
	g_assert_cmphex(answer->flags, ==, VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX);
	g_assert_cmpuint(answer->ring_idx, ==, 63);
	g_assert_false(answered(&bench, global));
	g_assert_null(bench.machine.gpu->fences.global.next); /* nothing is left of the rings */
	gpu_3d_destroy(&bench);
}

static void test_ring_numbers(void)
{
	struct gpu_3d bench;

	start(&bench);
	g_assert_cmphex(gpu_3d_answer(&bench, post_on_ring(&bench, 1, 64, 1))->type, ==, PARAMETER);
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_SUBMIT), ==, 0);
	/* without CONTEXT_INIT the flag means nothing, nor does what is in its field */
	gpu_machine_start(&bench.machine, gpu_3d_features & ~(UINT64_C(1) << VIRTIO_GPU_F_CONTEXT_INIT));
	gpu_3d_make_context(&bench);
	uint64_t at = post_on_ring(&bench, 1, 64, 1);
	gpu_machine_settle(&bench.machine);
	g_assert_false(fake_renderer_last(bench.fake, VTR_RENDER_FENCE)->args.fence.has_ring);
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_cmphex(gpu_3d_answer(&bench, at)->flags, ==, VIRTIO_GPU_FLAG_FENCE);
	gpu_3d_destroy(&bench);
}

/* The renderer has no such fence: the command gets an error, in its turn. */
static const struct refusal {
	const char *name;
	int fail;
	uint32_t answer;
	bool later;
} refusals[] = {
	{ "no-such-ring", -EINVAL, PARAMETER, false },
	{ "no-such-context", -ENOENT, CONTEXT, false },
	{ "lost", -ENODEV, OK, false },
	{ "no-such-ring-later", -EINVAL, PARAMETER, true },
};

static void test_refused(gconstpointer data)
{
	const struct refusal *row = data;
	struct gpu_3d bench;

	start(&bench);
	uint64_t first = post_submit(&bench, 1);
	gpu_machine_settle(&bench.machine);
	bench.fake->fail[VTR_RENDER_FENCE] = row->fail;
	bench.fake->later = row->later;
	uint64_t second = post_submit(&bench, 2);
	gpu_machine_settle(&bench.machine);
	if (row->later)
		fake_renderer_answer(bench.fake, 2); /* SUBMIT, FENCE */
	g_assert_false(answered(&bench, second));
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_true(answered(&bench, first));
	g_assert_cmphex(gpu_3d_answer(&bench, second)->type, ==, row->answer);
	bench.fake->later = false;
	gpu_3d_destroy(&bench);
}

/* A stream that is refused has drawn nothing: its answer waits for those before it and no longer. */
static void test_bad_stream(void)
{
	struct gpu_3d bench;

	start(&bench);
	uint64_t flush = post_flush(&bench, 1);
	gpu_machine_settle(&bench.machine);
	bench.fake->fail[VTR_RENDER_SUBMIT] = -EINVAL;
	uint64_t submit = post_submit(&bench, 2);
	g_assert_cmphex(gpu_3d_answer(&bench, submit)->type, ==, PARAMETER);
	g_assert_true(answered(&bench, flush));
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_FENCE), ==, 0);
	gpu_3d_destroy(&bench);
}

/* More than anybody keeps: a full queue of fences, answered in order. */
static void test_full_queue(void)
{
	enum { MANY = 100 };
	struct gpu_3d bench;
	struct vring_used_elem element;
	uint64_t at[MANY];

	start(&bench);
	while (vring_take_used(&bench.machine.rings[0], &element))
		continue;
	unsigned before = bench.machine.posted[0];
	for (unsigned i = 0; i < MANY; i++)
		at[i] = post_on_ring(&bench, 1, i % 2 ? 7 : -1, i + 1);
	gpu_machine_settle(&bench.machine);
	for (unsigned i = 0; i < MANY; i++) {
		g_assert_false(answered(&bench, at[i]));
		fake_renderer_pass_fence(bench.fake, 0);
		g_assert_true(answered(&bench, at[i]));
		g_assert_cmpint(vring_take_used(&bench.machine.rings[0], &element), ==, 1);
		g_assert_cmpuint(element.id, ==, 2 * ((before + i) % gpu_machine_slots(0)));
	}
	gpu_3d_destroy(&bench);
}

/* ---- flushes of what is drawn ---- */

static void show_texture(struct gpu_3d *bench)
{
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);

	gpu_3d_make_texture(bench, 1, PIXELS);
	GPU_ASSERT_OK(&bench->machine, set);
}

/* No display waits for the renderer: the flush does, and its queue. */
static void test_flush_waits_for_renderer(void)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct virtio_gpu_update_cursor cursor = { .hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR };
	struct gpu_3d bench;

	start(&bench);
	atomic_store(&bench.machine.display.stuck, 0);
	show_texture(&bench);
	uint64_t frames = gpu_machine_status(&bench.machine, 0).frames;
	uint64_t at = GPU_3D_POST(&bench, flush), behind = post_submit(&bench, 0);
	g_assert_false(answered(&bench, at));
	g_assert_true(vtr_gpu_rendering(bench.machine.gpu, VTR_GPU_CONTROLQ));
	g_assert_false(answered(&bench, behind));
	g_assert_cmpuint(gpu_machine_status(&bench.machine, 0).frames, ==, frames);
	/* the other queue goes on */
	uint64_t moved = gpu_machine_post(&bench.machine, 1, &cursor, sizeof(cursor), sizeof(cursor.hdr));
	g_assert_true(answered(&bench, moved));
	fake_renderer_pass_fence(bench.fake, 0);
	GPU_WAIT(&bench.machine, answered(&bench, at));
	g_assert_true(answered(&bench, behind));
	GPU_WAIT(&bench.machine, gpu_machine_status(&bench.machine, 0).frames == frames + 1);
	gpu_3d_destroy(&bench);
}

static const struct flush_row {
	const char *name;
	struct virtio_gpu_rect r;
	uint32_t answer;
} flush_rows[] = {
	{ "all", { 0, 0, GPU_WIDTH, GPU_HEIGHT }, OK },    { "part", { GPU_WIDTH - 1, GPU_HEIGHT - 1, 1, 1 }, OK },
	{ "too-wide", { 1, 0, GPU_WIDTH, 1 }, PARAMETER }, { "too-high", { 0, 1, 1, GPU_HEIGHT }, PARAMETER },
	{ "wraps", { UINT32_MAX, 0, 2, 1 }, PARAMETER },
};

static void test_flush_bounds(gconstpointer data)
{
	const struct flush_row *row = data;
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 0);
	struct gpu_3d bench;

	start(&bench);
	bench.fake->hold_fences = false;
	show_texture(&bench);
	flush.r = row->r;
	g_assert_cmphex(GPU_CALL(&bench.machine, flush)->type, ==, row->answer);
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_FENCE), ==, row->answer == OK);
	gpu_3d_destroy(&bench);
}

/* Nobody sees it: there is nothing to wait for. */
static void test_flush_unshown(void)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct gpu_3d bench;

	start(&bench);
	gpu_3d_make_texture(&bench, 1, PIXELS);
	GPU_ASSERT_OK(&bench.machine, flush);
	g_assert_cmpuint(fake_renderer_count(bench.fake, VTR_RENDER_FENCE), ==, 0);
	gpu_3d_destroy(&bench);
}

/* ---- ends ---- */

static const struct ending {
	const char *name;
	bool queue, drain;
} endings[] = {
	{ "device-reset", false, false },
	{ "queue-reset", true, false },
	{ "drain", true, true },
};

/* Fences and a held flush that wait while everything ends. */
static void test_ending(gconstpointer data)
{
	const struct ending *row = data;
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 9);
	struct gpu_3d bench;

	start(&bench);
	show_texture(&bench);
	uint64_t submit = post_submit(&bench, 7), ring = post_on_ring(&bench, 1, 3, 8), held = GPU_3D_POST(&bench, flush);
	g_assert_false(answered(&bench, held));
	g_assert_true(vtr_gpu_rendering(bench.machine.gpu, VTR_GPU_CONTROLQ));
	if (row->drain) {
		vtr_virtio_stop_queue(bench.machine.device, 0);
		g_assert_true(answered(&bench, submit) && answered(&bench, ring) && answered(&bench, held));
	} else if (row->queue) {
		vtr_virtio_reset_queue(bench.machine.device, 0);
	} else {
		gpu_machine_start(&bench.machine, gpu_3d_features);
	}
	if (row->queue)
		gpu_machine_start_queue(&bench.machine, 0);
	g_assert_false(vtr_gpu_rendering(bench.machine.gpu, VTR_GPU_CONTROLQ));
	while (bench.fake->fences->len)
		fake_renderer_pass_fence(bench.fake, 0); /* of what nobody waits for */
	gpu_machine_settle(&bench.machine);
	g_assert_cmpuint(vring_used_idx(&bench.machine.rings[0]), ==, 0);
	if (!row->queue)
		gpu_3d_make_context(&bench);
	submit = post_submit(&bench, 1);
	g_assert_false(answered(&bench, submit));
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_cmphex(gpu_3d_answer(&bench, submit)->type, ==, OK);
	gpu_3d_destroy(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/gpu/3d-fences/answered-when-drawn", test_answered_when_drawn);
	g_test_add_func("/unit/gpu/3d-fences/later-stands-for-earlier", test_later_fence_stands_for_earlier);
	g_test_add_func("/unit/gpu/3d-fences/drawn-at-once", test_drawn_at_once);
	g_test_add_func("/unit/gpu/3d-fences/submit-behind-flush", test_submit_behind_flush);
	g_test_add_func("/unit/gpu/3d-fences/submit-behind-stalled-flush", test_submit_behind_stalled_flush);
	g_test_add_func("/unit/gpu/3d-fences/flush-behind-submit", test_flush_behind_submit);
	ADD_ROWS("/unit/gpu/3d-fences/other-commands/", followers, test_other_commands);
	g_test_add_func("/unit/gpu/3d-fences/data-behind-submit", test_data_behind_submit);
	g_test_add_func("/unit/gpu/3d-fences/rings", test_rings);
	g_test_add_func("/unit/gpu/3d-fences/ring-numbers", test_ring_numbers);
	ADD_ROWS("/unit/gpu/3d-fences/refused/", refusals, test_refused);
	g_test_add_func("/unit/gpu/3d-fences/bad-stream", test_bad_stream);
	g_test_add_func("/unit/gpu/3d-fences/full-queue", test_full_queue);
	g_test_add_func("/unit/gpu/3d-fences/flush-waits-for-renderer", test_flush_waits_for_renderer);
	ADD_ROWS("/unit/gpu/3d-fences/flush-bounds/", flush_rows, test_flush_bounds);
	g_test_add_func("/unit/gpu/3d-fences/flush-unshown", test_flush_unshown);
	ADD_ROWS("/unit/gpu/3d-fences/ending/", endings, test_ending);
	return g_test_run();
}
