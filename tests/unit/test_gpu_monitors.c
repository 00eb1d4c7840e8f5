/* SPDX-License-Identifier: MIT */
/*
 * What a guest hears of its monitors when a display has to be asked: a gpu on a vmm display, with a front-end of the test's own,
 * which answers, is silent, or goes.
 */
#include <unistd.h>

#include <vitrine/log.h>

#include "gpu_machine.h"
#include "vmm_frontend.h"

struct monitors {
	struct gpu_machine gpu;
	struct frontend frontend;
	struct vtr_display *vmm;
	struct vtr_output *output;
};

static void start(struct monitors *machine, bool silent)
{
	int end;

	frontend_init(&machine->frontend, &end);
	machine->frontend.silent[VHOST_USER_GPU_GET_DISPLAY_INFO] = silent;
	gpu_machine_create(&machine->gpu, &(struct vtr_gpu_options){ 0 }, 1, VTR_DEMAND_PIXELS);
	gpu_machine_start(&machine->gpu, gpu_features);
	machine->vmm = vtr_vmm_create(end, NULL);
	g_assert_nonnull(machine->vmm);
	machine->output = vtr_outputs_get(machine->gpu.outputs, 0);
	g_assert_cmpint(vtr_output_resize(machine->output, NULL), ==, 0);
	g_assert_cmpint(vtr_output_move(machine->output, machine->vmm), ==, 0);
}

static void finish(struct monitors *machine)
{
	vtr_gpu_destroy(machine->gpu.gpu);
	vtr_display_destroy(machine->vmm);
	machine->gpu.gpu = NULL;
	gpu_machine_destroy(&machine->gpu);
	frontend_finish(&machine->frontend);
}

/* Runs device and front-end until n more requests are answered; false after timeout_ms. */
static bool run(struct monitors *machine, unsigned n, unsigned timeout_ms)
{
	uint64_t end = vtr_now_ns() + timeout_ms * UINT64_C(1000000);
	struct vring_used_elem element;

	while (n && vtr_now_ns() < end) {
		vtr_loop_dispatch(machine->gpu.loop, 1);
		if (machine->frontend.socket >= 0)
			frontend_step(&machine->frontend, 0);
		while (n && vring_take_used(&machine->gpu.rings[0], &element))
			n--;
	}
	return !n;
}

static uint64_t post_info(struct monitors *machine)
{
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };

	return gpu_machine_post(&machine->gpu, 0, &request, sizeof(request), sizeof(struct virtio_gpu_resp_display_info));
}

static uint64_t post_edid(struct monitors *machine)
{
	struct virtio_gpu_cmd_get_edid request = { .hdr.type = VIRTIO_GPU_CMD_GET_EDID };

	return gpu_machine_post(&machine->gpu, 0, &request, sizeof(request), sizeof(struct virtio_gpu_resp_edid));
}

static const struct virtio_gpu_resp_display_info *info_at(struct monitors *machine, uint64_t address)
{
	return (const void *)gpu_machine_at(&machine->gpu, address);
}

static void assert_size(struct monitors *machine, uint64_t address, uint32_t width, uint32_t height)
{
	const struct virtio_gpu_resp_display_info *info = info_at(machine, address);

	g_assert_cmphex(info->hdr.type, ==, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	g_assert_cmpuint(info->pmodes[0].r.width, ==, width);
	g_assert_cmpuint(info->pmodes[0].r.height, ==, height);
}

/* The guest asks right after the socket came, before the display has the output. */
static void test_from_the_start(void)
{
	struct monitors machine;

	start(&machine, false);
	uint64_t edid = post_edid(&machine), info = post_info(&machine);
	g_assert_true(run(&machine, 2, 5000));
	assert_size(&machine, info, 640, 480);
	const struct virtio_gpu_resp_edid *answer = (const void *)gpu_machine_at(&machine.gpu, edid);
	g_assert_cmphex(answer->hdr.type, ==, VIRTIO_GPU_RESP_OK_EDID);
	g_assert_cmpmem(answer->edid, answer->size, machine.frontend.edid[0].edid, 128);
	finish(&machine);
}

static void test_resize(void)
{
	struct monitors machine;

	start(&machine, false);
	for (uint32_t i = 0; i < 10; i++) {
		frontend_set_monitor(&machine.frontend, 0, 800 + 8 * i, 600);
		uint64_t info = post_info(&machine);
		g_assert_true(run(&machine, 1, 5000));
		assert_size(&machine, info, 800 + 8 * i, 600);
	}
	finish(&machine);
}

static void test_others_go_on(void)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(7);
	struct monitors machine;

	start(&machine, true);
	uint64_t info = post_info(&machine);
	uint64_t created = gpu_machine_post(&machine.gpu, 0, &create, sizeof(create), sizeof(create.hdr));
	g_assert_true(run(&machine, 1, 5000));
	g_assert_cmphex(((const struct virtio_gpu_ctrl_hdr *)gpu_machine_at(&machine.gpu, created))->type, ==,
	                VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmphex(info_at(&machine, info)->hdr.type, ==, 0);
	frontend_resume(&machine.frontend, VHOST_USER_GPU_GET_DISPLAY_INFO);
	g_assert_true(run(&machine, 1, 5000));
	assert_size(&machine, info, 640, 480);
	finish(&machine);
}

/* Half a second, once; and when it has answered it is waited for again. */
static void test_silence(void)
{
	struct monitors machine;

	start(&machine, true);
	uint64_t begin = vtr_now_ns(), info = post_info(&machine);
	g_assert_true(run(&machine, 1, 5000));
	g_assert_cmpuint(vtr_now_ns() - begin, >=, 450000000);
	assert_size(&machine, info, 1280, 800);
	begin = vtr_now_ns();
	post_info(&machine);
	g_assert_true(run(&machine, 1, 5000));
	g_assert_cmpuint(vtr_now_ns() - begin, <, 400000000);
	frontend_resume(&machine.frontend, VHOST_USER_GPU_GET_DISPLAY_INFO);
	GPU_WAIT(&machine.gpu, (frontend_step(&machine.frontend, 0), vtr_output_mode(machine.output).width == 640));
	run(&machine, 1, 50);
	frontend_set_monitor(&machine.frontend, 0, 960, 540);
	info = post_info(&machine);
	g_assert_true(run(&machine, 1, 5000));
	assert_size(&machine, info, 960, 540);
	finish(&machine);
}

/* A fence is not kept waiting, and the ones behind it not out of order. */
static void test_fenced(void)
{
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
		                               .flags = VIRTIO_GPU_FLAG_FENCE,
		                               .fence_id = 3 };
	struct monitors machine;

	start(&machine, true);
	uint64_t begin = vtr_now_ns();
	gpu_machine_post(&machine.gpu, 0, &request, sizeof(request), sizeof(struct virtio_gpu_resp_display_info));
	g_assert_true(run(&machine, 1, 5000));
	g_assert_cmpuint(vtr_now_ns() - begin, <, 400000000);
	finish(&machine);
}

static void end_reset(struct monitors *machine)
{
	vtr_virtio_reset(machine->gpu.device);
}

static void end_move(struct monitors *machine)
{
	g_assert_cmpint(vtr_output_move(machine->output, &machine->gpu.display.base), ==, 0);
}

static void end_socket(struct monitors *machine)
{
	close(machine->frontend.socket);
	machine->frontend.socket = -1;
}

static const struct end_row {
	const char *name;
	void (*end)(struct monitors *machine);
	bool answered; /* before its time is over */
} end_rows[] = {
	{ "reset", end_reset, false },
	{ "output-moves", end_move, true },
	{ "socket-closes", end_socket, true },
};

/* What may happen while a question waits. */
static void test_end(const void *data)
{
	const struct end_row *row = data;
	struct monitors machine;

	start(&machine, true);
	post_info(&machine);
	GPU_WAIT(&machine.gpu, (frontend_step(&machine.frontend, 0), machine.frontend.owed[VHOST_USER_GPU_GET_DISPLAY_INFO]));
	row->end(&machine);
	g_assert_cmpint(run(&machine, 1, row->answered ? 400 : 700), ==, row->answered);
	finish(&machine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	vtr_log_set_level(VTR_LOG_ERROR);
	g_test_add_func("/unit/gpu-monitors/from-the-start", test_from_the_start);
	g_test_add_func("/unit/gpu-monitors/resize", test_resize);
	g_test_add_func("/unit/gpu-monitors/others-go-on", test_others_go_on);
	g_test_add_func("/unit/gpu-monitors/silence", test_silence);
	g_test_add_func("/unit/gpu-monitors/fenced", test_fenced);
	ADD_ROWS("/unit/gpu-monitors/end/", end_rows, test_end);
	return g_test_run();
}
