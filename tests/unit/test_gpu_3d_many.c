/* SPDX-License-Identifier: MIT */
/* More resources than calls to a renderer's process can be under way, all in memory that goes and comes. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include "fake_process.h"
#include "gpu/gpu.h"
#include "gpu_3d.h"

enum { RESOURCES = 1500, PIXELS = 0x10000 };

static_assert(RESOURCES > (int)VTR_REMOTE_CALLS, "or there is nothing to see");

/* A process that answers at once, and keeps account of the memory it was lent. */
struct account {
	struct fake_process fake;
	struct vtr_loop *loop; /* the renderer's */
	struct vtr_renderer *renderer;
	struct gpu_machine machine;
	GThread *thread;
	bool has[RESOURCES + 1], gone[RESOURCES + 1];
	atomic_uint n_has, mistakes;
	atomic_bool refuse; /* to take memory */
};

static void note(struct account *account, uint32_t id, bool has)
{
	if (account->has[id] != has)
		atomic_fetch_add(&account->n_has, has ? 1 : -1u);
	else if (has)
		atomic_fetch_add(&account->mistakes, 1); /* it is still there */
	if (has && account->gone[id])
		atomic_fetch_add(&account->mistakes, 1);
	account->has[id] = has;
}

static int carry_out(struct account *account, const struct vtr_render_args *args)
{
	const bool lends = args->op == VTR_RENDER_ATTACH_BACKING;

	if (lends && atomic_load(&account->refuse))
		return -EINVAL;
	if (args->op == VTR_RENDER_UNREF)
		account->gone[args->resource_id] = true;
	if (lends || args->op == VTR_RENDER_DETACH_BACKING)
		note(account, args->resource_id, lends);
	return 0;
}

static void *run_process(void *data)
{
	struct account *account = data;
	struct vtr_remote_call heard;

	for (;;) {
		struct pollfd readable = { .fd = account->fake.socket, .events = POLLIN };

		if (!fake_hear_call(&account->fake, &heard)) {
			poll(&readable, 1, -1);
			if (readable.revents & POLLHUP)
				return NULL;
			continue;
		}
		const int code = carry_out(account, &heard.args);
		while (!fake_say_done(&account->fake, heard.serial, code))
			g_usleep(100); /* the device has not read it yet */
	}
}

static void run_renderer(int fd, uint32_t events, void *data)
{
	struct account *account = data;

	g_assert_cmpint(vtr_loop_dispatch(account->loop, 0), ==, 0);
}

static void account_init(struct account *account)
{
	struct vtr_error error;

	fake_process_init(&account->fake);
	account->loop = vtr_loop_create();
	account->renderer = vtr_remote_create(account->loop, &(struct vtr_renderer_options){ 0 }, &account->fake.settings, &error);
	g_assert_nonnull(account->renderer);
	account->thread = g_thread_new("process", run_process, account);
	gpu_machine_create(&account->machine, &(struct vtr_gpu_options){ .renderer = account->renderer }, 1, VTR_DEMAND_NONE);
	g_assert_nonnull(vtr_loop_add_fd(account->machine.loop, vtr_loop_fd(account->loop), EPOLLIN, run_renderer, account));
	gpu_machine_start(&account->machine, gpu_3d_features);
}

static void account_finish(struct account *account)
{
	gpu_machine_destroy_with(&account->machine, account->renderer, NULL);
	g_thread_join(account->thread);
	fake_process_finish(&account->fake);
	vtr_loop_destroy(account->loop);
}

static void make_resources(struct account *account)
{
	for (uint32_t id = 1; id <= RESOURCES; id++) {
		struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(id);
		struct gpu_3d_attach attach = gpu_3d_attach_backing(id, PIXELS);

		GPU_ASSERT_OK(&account->machine, create);
		GPU_ASSERT_OK(&account->machine, attach);
	}
}

static void run_until_so_many_are_lent(struct account *account, unsigned n)
{
	const uint64_t end = vtr_now_ns() + UINT64_C(30000000000);

	while (atomic_load(&account->n_has) < n) {
		g_assert_cmpuint(vtr_now_ns(), <, end);
		vtr_loop_dispatch(account->machine.loop, 10);
	}
}

static void run_until_lent(struct account *account)
{
	run_until_so_many_are_lent(account, RESOURCES);
}

static void test_memory_goes(void)
{
	struct account *account = g_new0(struct account, 1);

	account_init(account);
	make_resources(account);
	run_until_lent(account);
	for (unsigned i = 0; i < 3; i++) {
		gpu_machine_map_pixels(&account->machine, false);
		g_assert_cmpuint(atomic_load(&account->n_has), ==, 0); /* when the unmapping is acknowledged */
		gpu_machine_map_pixels(&account->machine, true);
		run_until_lent(account);
		gpu_machine_settle(&account->machine);
		g_assert_cmpuint(account->machine.gpu->resources.missed, ==, 0);
	}
	/* ... also while it comes */
	gpu_machine_map_pixels(&account->machine, false);
	gpu_machine_map_pixels(&account->machine, true);
	gpu_machine_map_pixels(&account->machine, false);
	g_assert_cmpuint(atomic_load(&account->n_has), ==, 0);
	g_assert_cmpuint(account->machine.gpu->resources.missed, ==, RESOURCES);
	gpu_machine_map_pixels(&account->machine, true);
	run_until_lent(account);
	g_assert_cmpuint(atomic_load(&account->mistakes), ==, 0);
	account_finish(account);
	g_free(account);
}

/* What is refused, taken back all the same, and lent again: the first answer is not about the last lending. */
static void test_refused_before(void)
{
	struct account *account = g_new0(struct account, 1);

	account_init(account);
	make_resources(account);
	run_until_lent(account);
	gpu_machine_map_pixels(&account->machine, false);
	atomic_store(&account->refuse, true);
	gpu_machine_map_pixels(&account->machine, true);
	gpu_machine_map_pixels(&account->machine, false);
	g_assert_cmpuint(atomic_load(&account->n_has), ==, 0);
	atomic_store(&account->refuse, false);
	gpu_machine_map_pixels(&account->machine, true);
	run_until_lent(account);
	gpu_machine_settle(&account->machine);
	gpu_machine_map_pixels(&account->machine, false);
	g_assert_cmpuint(atomic_load(&account->n_has), ==, 0);
	account_finish(account);
	g_free(account);
}

/* The guest gives up what has its memory back, and has not been lent again. */
static void test_unreferenced_before(void)
{
	struct account *account = g_new0(struct account, 1);
	uint32_t id = 1;

	account_init(account);
	make_resources(account);
	run_until_lent(account);
	gpu_machine_map_pixels(&account->machine, false);
	gpu_machine_map_pixels(&account->machine, true);
	while (!vtr_resource_find(account->machine.gpu, id)->missed)
		id++;
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = id };
	GPU_ASSERT_OK(&account->machine, unref);
	run_until_so_many_are_lent(account, RESOURCES - 1);
	gpu_machine_settle(&account->machine);
	g_assert_cmpuint(account->machine.gpu->resources.missed, ==, 0);
	g_assert_cmpuint(atomic_load(&account->mistakes), ==, 0);
	account_finish(account);
	g_free(account);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/gpu-3d-many/memory-goes", test_memory_goes);
	g_test_add_func("/unit/gpu-3d-many/refused-before", test_refused_before);
	g_test_add_func("/unit/gpu-3d-many/unreferenced-before", test_unreferenced_before);
	return g_test_run();
}
