/* SPDX-License-Identifier: MIT */
/* The VMM is gone: the last picture stays, nothing else does, and the next VMM finds a device as after power-on. */
#include <dirent.h>

#include "gpu_bar.h"

static unsigned count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	g_assert_nonnull(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static bool was_blank(struct gpu_bar *bench)
{
	return atomic_load(&bench->machine.display.contents) & 1u << VTR_FRAME_BLANK;
}

/* What the transport does when the connection closes. */
static void kill_vmm(struct gpu_bar *bench)
{
	atomic_store(&bench->machine.display.contents, 0);
	vtr_virtio_abandon(bench->machine.device);
	vtr_memory_remove_all(bench->machine.memory);
	bench->machine.pixels = false;
	bench->error = -ENOTCONN;
	gpu_machine_settle(&bench->machine);
}

/* The next VMM: a reset, memory, and a driver. */
static void start_vmm(struct gpu_bar *bench)
{
	struct gpu_machine *machine = &bench->machine;

	vtr_virtio_reset(machine->device);
	GPU_WAIT(machine, was_blank(bench));
	g_assert_false(gpu_bar_status(bench).enabled || gpu_bar_status(bench).frozen);
	bench->error = 0;
	g_assert_cmpint(vtr_memory_add(machine->memory, GPU_RINGS, GPU_RAM - GPU_RINGS, dup(machine->ram.fd), GPU_RINGS, true), ==,
	                0);
	gpu_machine_map_pixels(machine, true);
	gpu_machine_start(machine, gpu_features);
}

static void expect_nothing_left(struct gpu_bar *bench)
{
	const struct vtr_resource_table *resources = &bench->machine.gpu->resources;

	g_assert_cmpuint(resources->entries, ==, 0);
	g_assert_cmpuint(resources->spans, ==, 0);
	g_assert_cmpuint(resources->hostmem, ==, 0);
	g_assert_cmpuint(resources->images, ==, 0);
	g_assert_cmpuint(resources->buffers, ==, 0);
	g_assert_null(vtr_memory_region(bench->machine.memory, 0));
	g_assert_null(bench->machine.gpu->fences.global.head);
}

static void expect_last_picture(struct gpu_bar *bench, uint8_t value)
{
	struct vtr_scanout_status status = gpu_bar_status(bench);

	g_assert_true(status.enabled && status.frozen && status.revoked);
	g_assert_cmpuint(status.width, ==, GPU_WIDTH);
	g_assert_cmpint(status.path, ==, VTR_PATH_NONE);
	g_assert_true(gpu_bar_shows(bench, value));
	g_assert_false(was_blank(bench));
}

/* ---- blobs ---- */

static const struct blob_row {
	const char *name;
	enum gpu_bar_kind bar;
	enum gpu_bar_frame frame;
	enum vtr_path path;
	bool copied; /* the CPU can read it: the display need not keep what it has of the guest's memory */
} blob_rows[] = {
	{ "ram", BAR_REMOTE, FRAME_RAM, VTR_PATH_MAPPED, true },
	{ "bar-readable", BAR_OURS, FRAME_SHUFFLED, VTR_PATH_VFIO_DMABUF, true },
	{ "bar-remote", BAR_REMOTE, FRAME_SHUFFLED, VTR_PATH_VFIO_DMABUF, false },
	{ "window", BAR_WINDOW, FRAME_SHUFFLED, VTR_PATH_VFIO_DMABUF, false },
	{ "fetched", BAR_REMOTE, FRAME_MIXED, VTR_PATH_FETCHED, true },
};

static void test_blob(gconstpointer data)
{
	const struct blob_row *row = data;
	struct gpu_bar bench;

	gpu_bar_create(&bench, row->bar, VTR_PATH_NONE);
	gpu_bar_assign(&bench);
	gpu_bar_show(&bench, 1, row->frame, 0x20);
	gpu_bar_create_blob(&bench, 2, row->frame); /* not shown */
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_shows(&bench, 0x20));
	g_assert_cmpstr(vtr_path_name(gpu_bar_status(&bench).path), ==, vtr_path_name(row->path));
	unsigned reads = bench.reads;
	kill_vmm(&bench);
	gpu_bar_paint(&bench, row->frame, 0x30);
	expect_last_picture(&bench, 0x20);
	expect_nothing_left(&bench);
	g_assert_cmpuint(bench.machine.gpu->resources.count, ==, 1);
	g_assert_cmpuint(bench.reads, ==, reads);
	g_assert_cmpint(bench.machine.gpu->scanouts[0].holds_buffer, ==, !row->copied);

	/* whoever asks for the picture again finds nothing newer */
	vtr_gpu_devices_changed(bench.machine.gpu);
	gpu_machine_settle(&bench.machine);
	expect_last_picture(&bench, 0x20);

	start_vmm(&bench);
	gpu_bar_map(&bench, row->bar);
	gpu_bar_show(&bench, 1, row->frame, 0x50);
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_shows(&bench, 0x50));
	g_assert_false(gpu_bar_status(&bench).frozen);
	gpu_bar_destroy(&bench);
}

/* Twice: a client that comes and goes before it has agreed on a version changes nothing. */
static void test_again(void)
{
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_REMOTE, VTR_PATH_NONE);
	gpu_bar_show(&bench, 1, FRAME_RAM, 0x20);
	gpu_bar_flush(&bench, 1);
	kill_vmm(&bench);
	kill_vmm(&bench);
	expect_last_picture(&bench, 0x20);
	g_assert_cmpuint(bench.machine.gpu->resources.count, ==, 1);
	gpu_bar_destroy(&bench);
}

/* ---- other contents ---- */

static void test_2d(void)
{
	const struct virtio_gpu_resource_create_2d create = gpu_create_2d(1);
	const struct virtio_gpu_set_scanout set = { .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		                                    .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                                    .resource_id = 1 };
	const struct virtio_gpu_transfer_to_host_2d transfer = { .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
		                                                 .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                                                 .resource_id = 1 };
	struct {
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_mem_entry entry;
	} attach = { .attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = 1, .nr_entries = 1 },
		     .entry = { .addr = 0, .length = GPU_BYTES } };
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_REMOTE, VTR_PATH_NONE);
	gpu_machine_paint(&bench.machine, 0, 0x20);
	GPU_ASSERT_OK(&bench.machine, create);
	GPU_ASSERT_OK(&bench.machine, attach);
	GPU_ASSERT_OK(&bench.machine, set);
	GPU_ASSERT_OK(&bench.machine, transfer);
	gpu_machine_flush(&bench.machine, 1);
	kill_vmm(&bench);
	g_assert_true(gpu_bar_status(&bench).revoked);
	g_assert_cmphex(atomic_load(&bench.machine.display.last_pixel[0]), ==, gpu_bar_grey(0x20));
	g_assert_false(was_blank(&bench));
	expect_nothing_left(&bench);
	start_vmm(&bench);
	gpu_bar_destroy(&bench);
}

/* Nobody looks. What can be read then is read at the last moment; what cannot is never seen, and nobody waits for it. */
static void test_unread(gconstpointer data)
{
	bool readable = GPOINTER_TO_INT(data);
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_REMOTE, VTR_PATH_NONE);
	atomic_store(&bench.machine.display.demand, VTR_DEMAND_NONE);
	vtr_output_set_demand(vtr_outputs_get(bench.machine.outputs, 0), VTR_DEMAND_NONE);
	gpu_bar_show(&bench, 1, readable ? FRAME_RAM : FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(&bench, 1);
	g_assert_false(gpu_bar_shows(&bench, 0x20));
	kill_vmm(&bench);
	if (readable) {
		GPU_WAIT(&bench.machine, gpu_bar_shows(&bench, 0x20));
		expect_last_picture(&bench, 0x20);
	} else {
		GPU_WAIT(&bench.machine, was_blank(&bench));
		g_assert_false(gpu_bar_status(&bench).enabled);
		g_assert_cmpuint(bench.machine.gpu->resources.count, ==, 0);
	}
	gpu_bar_destroy(&bench);
}

/* A guest that resets the device is alive: it has let go of its monitor. */
static void test_reset_blanks(void)
{
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_REMOTE, VTR_PATH_NONE);
	gpu_bar_show(&bench, 1, FRAME_RAM, 0x20);
	gpu_bar_flush(&bench, 1);
	atomic_store(&bench.machine.display.contents, 0);
	vtr_virtio_reset(bench.machine.device);
	GPU_WAIT(&bench.machine, was_blank(&bench));
	g_assert_false(gpu_bar_status(&bench).enabled);
	gpu_bar_destroy(&bench);
}

/* ---- displays ---- */

/* The display has the last frame's dmabuf in its hands: one fd, until it has looked at the copy. */
static void test_display_holds_it(void)
{
	struct virtio_gpu_resource_flush flush = gpu_bar_flush_request(1, 0);
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_OURS, VTR_PATH_NONE);
	gpu_bar_assign(&bench);
	unsigned fds = count_fds();
	gpu_bar_show(&bench, 1, FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(&bench, 1);
	g_assert_cmpuint(count_fds(), >, fds);
	atomic_store(&bench.machine.display.asleep, true);
	GPU_ASSERT_OK(&bench.machine, flush);
	kill_vmm(&bench);
	gpu_bar_forget_export(); /* the test's own */
	g_assert_cmpuint(bench.machine.gpu->resources.buffers, ==, 0);
	atomic_store(&bench.machine.display.asleep, false);
	GPU_WAIT(&bench.machine, atomic_load(&bench.machine.display.contents) & 1u << VTR_FRAME_PIXELS);
	gpu_machine_settle(&bench.machine);
	expect_last_picture(&bench, 0x20);
	g_assert_cmpuint(count_fds(), <=, fds - 2); /* the dmabuf's, and those of the memory map */
	gpu_bar_destroy(&bench);
}

/* A display that had dmabufs gets all of the picture as pixels, not what changed since the last dmabuf. */
static void test_all_of_it(void)
{
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_OURS, VTR_PATH_NONE);
	gpu_bar_assign(&bench);
	gpu_bar_show(&bench, 1, FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(&bench, 1);
	kill_vmm(&bench);
	GPU_WAIT(&bench.machine, atomic_load(&bench.machine.display.contents) & 1u << VTR_FRAME_PIXELS);
	g_assert_cmpuint(atomic_load(&bench.machine.display.damaged), ==, PICTURE_ROWS);
	gpu_bar_destroy(&bench);
}

/* The picture goes with its output to another display, also after devices were let go. */
static void test_other_display(void)
{
	struct gpu_display other = { .demand = VTR_DEMAND_DMABUF };
	struct gpu_bar bench;

	g_assert_cmpint(vtr_display_init(&other.base, &gpu_display_impl), ==, 0);
	gpu_bar_create(&bench, BAR_OURS, VTR_PATH_NONE);
	gpu_bar_assign(&bench);
	gpu_bar_show(&bench, 1, FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(&bench, 1);
	kill_vmm(&bench);
	vtr_gpu_devices_changed(bench.machine.gpu);
	gpu_machine_settle(&bench.machine);
	g_assert_cmpint(vtr_output_move(vtr_outputs_get(bench.machine.outputs, 0), &other.base), ==, 0);
	GPU_WAIT(&bench.machine, atomic_load(&other.pixel[0]) == gpu_bar_grey(0x20));
	g_assert_cmphex(atomic_load(&other.last_pixel[0]), ==, gpu_bar_grey(0x20 + PICTURE_PAGES - 1));
	expect_last_picture(&bench, 0x20);
	vtr_display_destroy(&other.base);
	gpu_bar_destroy(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(blob_rows); i++) {
		g_autofree char *name = g_strdup_printf("/unit/gpu/abandoned/%s", blob_rows[i].name);

		g_test_add_data_func(name, &blob_rows[i], test_blob);
	}
	g_test_add_func("/unit/gpu/abandoned/again", test_again);
	g_test_add_func("/unit/gpu/abandoned/2d", test_2d);
	g_test_add_data_func("/unit/gpu/abandoned/unread/readable", GINT_TO_POINTER(true), test_unread);
	g_test_add_data_func("/unit/gpu/abandoned/unread/remote", GINT_TO_POINTER(false), test_unread);
	g_test_add_func("/unit/gpu/abandoned/reset-blanks", test_reset_blanks);
	g_test_add_func("/unit/gpu/abandoned/display-holds-it", test_display_holds_it);
	g_test_add_func("/unit/gpu/abandoned/all-of-it", test_all_of_it);
	g_test_add_func("/unit/gpu/abandoned/other-display", test_other_display);
	return g_test_run();
}
