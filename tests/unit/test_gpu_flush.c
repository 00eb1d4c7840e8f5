/* SPDX-License-Identifier: MIT */
/* Flushes, fences and pacing against displays that do not answer: what no well-behaved machine can show. */
#include <vitrine/log.h>

#include "gpu_machine.h"

static void start(struct gpu_machine *machine, unsigned outputs)
{
	gpu_machine_create(machine, &(struct vtr_gpu_options){ 0 }, outputs, VTR_DEMAND_PIXELS);
	gpu_machine_start(machine, gpu_features);
	for (unsigned i = 0; i < outputs; i++)
		gpu_machine_show_blob(machine, i, i + 1, i * 0x10000);
}

static uint64_t post_flush(struct gpu_machine *machine, uint32_t id, uint64_t fence)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(id, fence);

	return gpu_machine_post(machine, 0, &flush, sizeof(flush), sizeof(flush.hdr));
}

static const struct virtio_gpu_ctrl_hdr *response(struct gpu_machine *machine, uint64_t address)
{
	return (const void *)gpu_machine_at(machine, address);
}

static void test_stuck_display_does_not_stall(void)
{
	struct gpu_machine machine;

	start(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	uint64_t begin = vtr_now_ns();
	gpu_machine_flush(&machine, 1);
	uint64_t first = vtr_now_ns() - begin;
	g_assert_cmpuint(first, >=, 45000000); /* it waited for the display, */
	begin = vtr_now_ns();
	gpu_machine_flush(&machine, 1);
	g_assert_cmpuint(vtr_now_ns() - begin, <, first); /* and then no more than a refresh */
	g_assert_cmpuint(gpu_machine_status(&machine, 0).timeouts, ==, 2);
	gpu_machine_destroy(&machine);
}

struct stall_lines {
	atomic_int begun, ended;
};

static void count_lines(enum vtr_log_level level, const char *message, void *data)
{
	struct stall_lines *lines = data;

	atomic_fetch_add(&lines->begun, strstr(message, "the display does not answer") != NULL);
	atomic_fetch_add(&lines->ended, strstr(message, "the display answers again") != NULL);
}

/* A deadline that is missed now and then is not worth a line, a display that is away for a second is, and its return. */
static void test_long_stall_is_told(void)
{
	struct stall_lines lines = { 0 };
	struct gpu_machine machine;

	vtr_log_set_handler(count_lines, &lines);
	start(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	gpu_machine_flush(&machine, 1);
	uint64_t stalled = vtr_now_ns();
	gpu_machine_flush(&machine, 1);
	if (vtr_now_ns() - stalled < 900000000) /* on a machine that is not too busy to tell */
		g_assert_cmpint(lines.begun, ==, 0);
	while (vtr_now_ns() - stalled < 1100000000)
		gpu_machine_flush(&machine, 1);
	gpu_machine_flush(&machine, 1);
	g_assert_cmpint(lines.begun, ==, 1);
	g_assert_cmpint(lines.ended, ==, 0);
	gpu_machine_unstick(&machine, 0);
	gpu_machine_flush(&machine, 1);
	GPU_WAIT(&machine, lines.ended == 1);
	gpu_machine_destroy(&machine);
	vtr_log_set_handler(NULL, NULL);
}

static void test_stuck_display_counts_for_all_who_waited(void)
{
	struct gpu_machine machine;

	start(&machine, 2);
	atomic_store(&machine.display.stuck, 3);
	post_flush(&machine, 1, 1);
	post_flush(&machine, 2, 2);
	g_assert_cmpuint(gpu_machine_run(&machine, 2, 1000), ==, 2);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).timeouts, ==, 1);
	g_assert_cmpuint(gpu_machine_status(&machine, 1).timeouts, ==, 1);
	gpu_machine_destroy(&machine);
}

static void test_stalled_display_does_not_hold_up_others(void)
{
	struct gpu_machine machine;

	start(&machine, 2);
	/* one resource on both */
	struct virtio_gpu_set_scanout_blob both = gpu_set_scanout_blob(1, 1);
	GPU_ASSERT_OK(&machine, both);
	atomic_store(&machine.display.stuck, 1);
	gpu_machine_flush(&machine, 1);
	for (int i = 0; i < 5; i++)
		gpu_machine_flush(&machine, 1);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).timeouts, ==, 1);
	g_assert_cmpuint(gpu_machine_status(&machine, 1).timeouts, ==, 0);

	/* it answers again, and is waited for again */
	gpu_machine_unstick(&machine, 0);
	gpu_machine_flush(&machine, 1);
	GPU_WAIT(&machine, gpu_machine_status(&machine, 0).frames == gpu_machine_status(&machine, 1).frames);
	atomic_store(&machine.display.stuck, 1);
	gpu_machine_flush(&machine, 1);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).timeouts, ==, 2);
	gpu_machine_destroy(&machine);
}

/* Nobody sees the output: a guest that flushes as fast as it may does so at the refresh rate, and not faster. */
enum { UNSEEN_MHZ = 100000, UNSEEN_FLUSHES = 20 };

static void assert_paced(struct gpu_machine *machine, uint32_t id)
{
	uint64_t begin, interval = UINT64_C(1000000000000) / UNSEEN_MHZ;

	gpu_machine_flush(machine, id); /* the first tick after a pause */
	begin = vtr_now_ns();
	for (int i = 0; i < UNSEEN_FLUSHES; i++)
		gpu_machine_flush(machine, id);
	uint64_t took = vtr_now_ns() - begin;
	/* The first tick may have been late, which the others do not wait for. */
	g_assert_cmpuint(took, >=, (UNSEEN_FLUSHES - 2) * interval);
	/* A busy machine may take longer, but not as long as for the deadline of each. */
	g_assert_cmpuint(took, <, UNSEEN_FLUSHES * UINT64_C(45000000));
}

static void set_refresh(struct gpu_machine *machine, unsigned output)
{
	vtr_output_resize(vtr_outputs_get(machine->outputs, output), &(struct vtr_mode){ 640, 480, UNSEEN_MHZ });
	gpu_machine_settle(machine);
}

static void test_disconnected_output_is_paced(void)
{
	struct gpu_machine machine;

	start(&machine, 1);
	set_refresh(&machine, 0);
	vtr_output_move(vtr_outputs_get(machine.outputs, 0), NULL);
	assert_paced(&machine, 1);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).timeouts, ==, 0);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).dropped, ==, UNSEEN_FLUSHES + 1);
	gpu_machine_destroy(&machine);
}

/* A window that is hidden gives up what comes. */
static void test_hidden_output_is_paced(void)
{
	struct gpu_machine machine;

	start(&machine, 1);
	set_refresh(&machine, 0);
	atomic_store(&machine.display.hidden, 1);
	assert_paced(&machine, 1);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).dropped, ==, UNSEEN_FLUSHES + 1);
	gpu_machine_destroy(&machine);
}

static void test_stalled_output_is_paced(void)
{
	struct gpu_machine machine;

	start(&machine, 1);
	set_refresh(&machine, 0);
	atomic_store(&machine.display.stuck, 1);
	gpu_machine_flush(&machine, 1);
	assert_paced(&machine, 1);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).timeouts, ==, UNSEEN_FLUSHES + 2);
	gpu_machine_destroy(&machine);
}

/* A hidden output does not make one wait that is seen, be it with a picture of its own or with the same. */
static void test_hidden_beside_seen(gconstpointer data)
{
	bool same = GPOINTER_TO_INT(data);
	struct gpu_machine machine;

	start(&machine, 2);
	if (same) {
		struct virtio_gpu_set_scanout_blob set = gpu_set_scanout_blob(0, 2);

		GPU_ASSERT_OK(&machine, set);
	}
	vtr_output_resize(vtr_outputs_get(machine.outputs, 0), &(struct vtr_mode){ 640, 480, 25000 }); /* 40 ms */
	atomic_store(&machine.display.hidden, 1);
	gpu_machine_flush(&machine, 1);
	uint64_t begin = vtr_now_ns();
	for (int i = 0; i < 10; i++)
		gpu_machine_flush(&machine, 2);
	g_assert_cmpuint(vtr_now_ns() - begin, <, 10 * 35000000);
	gpu_machine_destroy(&machine);
}

/* Frames that wait together for a tick are answered at that one, as a display shows the newest. */
static void test_one_tick_for_all(void)
{
	struct gpu_machine machine;

	start(&machine, 1);
	vtr_output_resize(vtr_outputs_get(machine.outputs, 0), &(struct vtr_mode){ 640, 480, 25000 });
	atomic_store(&machine.display.hidden, 1);
	gpu_machine_flush(&machine, 1);
	uint64_t begin = vtr_now_ns();
	for (uint64_t i = 0; i < 10; i++)
		post_flush(&machine, 1, i + 2);
	g_assert_cmpuint(gpu_machine_run(&machine, 10, 2000), ==, 10);
	g_assert_cmpuint(vtr_now_ns() - begin, <, 10 * 35000000);
	gpu_machine_destroy(&machine);
}

static void test_nothing_to_wait_for(void)
{
	struct gpu_machine machine;
	struct gpu_blob_request unshown = gpu_create_blob(9, 0x8000);
	struct virtio_gpu_resource_flush outside = gpu_flush(1, 3);

	start(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	GPU_ASSERT_OK(&machine, unshown);
	uint64_t begin = vtr_now_ns();
	gpu_machine_flush(&machine, 9);
	outside.r = (struct virtio_gpu_rect){ GPU_WIDTH, 0, 8, 8 };
	GPU_ASSERT_OK(&machine, outside);
	g_assert_cmpuint(vtr_now_ns() - begin, <, 40000000);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).frames, ==, 0);
	gpu_machine_destroy(&machine);
}

/* Without a fence nobody waits, and the answer says nothing about those who do. */
static void test_without_a_fence(void)
{
	struct gpu_machine machine;

	start(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	post_flush(&machine, 1, 1);
	uint64_t second = post_flush(&machine, 1, 0), begin = vtr_now_ns();
	/* The first flush's frame was replaced by the second's: both answers are due. */
	g_assert_cmpuint(gpu_machine_run(&machine, 2, 1000), ==, 2);
	g_assert_cmpuint(vtr_now_ns() - begin, <, 40000000);
	g_assert_cmphex(response(&machine, second)->flags, ==, 0);
	gpu_machine_destroy(&machine);
}

/* What follows a flush that waits, and whether it is answered well. Fences complete in order, whatever the answer is. */
static const struct follower {
	const char *name;
	uint32_t size;
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_resource_detach_backing detach;
		struct virtio_gpu_resource_unref unref;
		struct virtio_gpu_resource_flush flush;
	} request;
	uint32_t answer;
} followers[] = {
	{ "detach",
	  sizeof(struct virtio_gpu_resource_detach_backing),
	  { .detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 } },
	  VIRTIO_GPU_RESP_OK_NODATA },
	{ "unref",
	  sizeof(struct virtio_gpu_resource_unref),
	  { .unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 } },
	  VIRTIO_GPU_RESP_OK_NODATA },
	{ "unknown-command", sizeof(struct virtio_gpu_ctrl_hdr), { .hdr.type = 0x7777 }, VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "short-command",
	  sizeof(struct virtio_gpu_ctrl_hdr),
	  { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF },
	  VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "unknown-resource",
	  sizeof(struct virtio_gpu_resource_detach_backing),
	  { .detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 77 } },
	  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID },
	{ "flush-of-unknown-resource",
	  sizeof(struct virtio_gpu_resource_flush),
	  { .flush = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .resource_id = 77 } },
	  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID },
};

static void test_fences_in_order(gconstpointer data)
{
	const struct follower *row = data;
	struct follower copy = *row;
	struct gpu_machine machine;
	struct vring_used_elem element;

	start(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	copy.request.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
	copy.request.hdr.fence_id = 2;
	uint64_t begin = vtr_now_ns(), flushed = post_flush(&machine, 1, 1);
	uint64_t followed = gpu_machine_post(&machine, 0, &copy.request, row->size, sizeof(struct virtio_gpu_ctrl_hdr));
	uint16_t first = machine.rings[0].used_seen;
	GPU_WAIT(&machine, (uint16_t)(vring_used_idx(&machine.rings[0]) - first) == 2);
	g_assert_cmpuint(vtr_now_ns() - begin, <, 40000000); /* a guest may wait for it uninterruptibly */
	g_assert_cmpint(vring_take_used(&machine.rings[0], &element), ==, 1);
	g_assert_cmpuint(element.id, ==, 2 * ((machine.posted[0] - 2) % gpu_machine_slots(0)));
	g_assert_cmphex(response(&machine, flushed)->type, ==, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmpuint(response(&machine, flushed)->fence_id, ==, 1);
	g_assert_cmphex(response(&machine, followed)->type, ==, row->answer);
	g_assert_cmpuint(response(&machine, followed)->fence_id, ==, 2);
	g_assert_cmphex(response(&machine, followed)->flags, ==, VIRTIO_GPU_FLAG_FENCE);
	gpu_machine_destroy(&machine);
}

/* A storm: more frames than anybody holds, all of them counted and answered. */
static void test_storm(void)
{
	enum { STORM = 100 };
	struct gpu_machine machine;
	struct vtr_scanout_status status;

	start(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	for (int i = 0; i < STORM; i++)
		post_flush(&machine, 1, (uint64_t)i + 1);
	g_assert_cmpuint(gpu_machine_run(&machine, STORM, 2000), ==, STORM);
	gpu_machine_unstick(&machine, 0);
	GPU_WAIT(&machine, gpu_machine_status(&machine, 0).frames == STORM);
	status = gpu_machine_status(&machine, 0);
	g_assert_cmpuint(status.dropped, ==, STORM - 1);
	g_assert_cmpuint(status.present_p50_us, >=, 45000);
	g_assert_cmpuint(status.present_p99_us, ==, status.present_p50_us);
	gpu_machine_destroy(&machine);
}

/* A reset in the middle: what waited is forgotten, nothing is answered, and the device works again. */
static void test_reset_while_waiting(gconstpointer data)
{
	bool queue_only = GPOINTER_TO_INT(data);
	struct gpu_machine machine;

	start(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	post_flush(&machine, 1, 1);
	gpu_machine_settle(&machine);
	if (queue_only) {
		vtr_virtio_reset_queue(machine.device, 0);
		gpu_machine_start_queue(&machine, 0);
	} else {
		gpu_machine_start(&machine, gpu_features);
		gpu_machine_show_blob(&machine, 0, 1, 0);
	}
	g_assert_cmpuint(vring_used_idx(&machine.rings[0]), ==, queue_only ? 0 : 2);
	gpu_machine_unstick(&machine, 0);
	gpu_machine_settle(&machine);
	gpu_machine_flush(&machine, 1);
	gpu_machine_destroy(&machine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/gpu/flush/stuck-display-does-not-stall", test_stuck_display_does_not_stall);
	g_test_add_func("/unit/gpu/flush/long-stall-is-told", test_long_stall_is_told);
	g_test_add_func("/unit/gpu/flush/stuck-display-counts-for-all", test_stuck_display_counts_for_all_who_waited);
	g_test_add_func("/unit/gpu/flush/stalled-display-does-not-hold-up-others", test_stalled_display_does_not_hold_up_others);
	g_test_add_func("/unit/gpu/flush/disconnected-output-is-paced", test_disconnected_output_is_paced);
	g_test_add_func("/unit/gpu/flush/hidden-output-is-paced", test_hidden_output_is_paced);
	g_test_add_func("/unit/gpu/flush/stalled-output-is-paced", test_stalled_output_is_paced);
	g_test_add_data_func("/unit/gpu/flush/hidden-beside-seen", GINT_TO_POINTER(false), test_hidden_beside_seen);
	g_test_add_data_func("/unit/gpu/flush/hidden-beside-seen-same-picture", GINT_TO_POINTER(true), test_hidden_beside_seen);
	g_test_add_func("/unit/gpu/flush/one-tick-for-all", test_one_tick_for_all);
	g_test_add_func("/unit/gpu/flush/nothing-to-wait-for", test_nothing_to_wait_for);
	g_test_add_func("/unit/gpu/flush/without-a-fence", test_without_a_fence);
	ADD_ROWS("/unit/gpu/flush/fences-in-order/", followers, test_fences_in_order);
	g_test_add_func("/unit/gpu/flush/storm", test_storm);
	g_test_add_data_func("/unit/gpu/flush/device-reset", GINT_TO_POINTER(false), test_reset_while_waiting);
	g_test_add_data_func("/unit/gpu/flush/queue-reset", GINT_TO_POINTER(true), test_reset_while_waiting);
	return g_test_run();
}
