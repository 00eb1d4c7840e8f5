/* SPDX-License-Identifier: MIT */
/* The memory of a device that is taken away for a while: the last picture stays, status says so, and the next frame after it is
 * right. */
#include "gpu_bar.h"

static void start(struct gpu_bar *bench, enum gpu_bar_kind bar)
{
	gpu_bar_create(bench, bar, VTR_PATH_NONE);
	gpu_bar_assign(bench);
	gpu_bar_show(bench, 1, FRAME_SHUFFLED, 0x20);
}

static void start_shown(struct gpu_bar *bench, enum gpu_bar_kind bar)
{
	start(bench, bar);
	gpu_bar_flush(bench, 1);
	g_assert_true(gpu_bar_shows(bench, 0x20));
	g_assert_cmpint(gpu_bar_status(bench).path, ==, VTR_PATH_VFIO_DMABUF);
}

static void expect_revoked(struct gpu_bar *bench)
{
	struct vtr_scanout_status status = gpu_bar_status(bench);

	g_assert_true(status.revoked && status.frozen && status.enabled);
	g_assert_true(gpu_bar_shows(bench, 0x20));
	g_assert_cmpuint(status.timeouts, ==, 0);
}

/* The guest goes on with another picture, which shows. */
static void expect_restored(struct gpu_bar *bench, enum vtr_path path)
{
	struct vtr_scanout_status status;

	gpu_bar_paint(bench, FRAME_SHUFFLED, 0x50);
	gpu_bar_flush(bench, 1);
	g_assert_true(gpu_bar_shows(bench, 0x50));
	status = gpu_bar_status(bench);
	g_assert_false(status.revoked || status.frozen);
	g_assert_cmpstr(vtr_path_name(status.path), ==, vtr_path_name(path));
}

/* Only the importer knows: the device is in reset or asleep. Nothing else is tried, and each flush asks again. */
static void test_import(void)
{
	struct gpu_bar bench;
	struct vtr_scanout_status status;

	start_shown(&bench, BAR_WINDOW);
	gpu_bar_refuse(&bench, ~0u, VTR_ERROR_REVOKED);
	gpu_bar_paint(&bench, FRAME_SHUFFLED, 0x30);
	for (unsigned i = 0; i < 3; i++) {
		gpu_bar_flush(&bench, 1);
		expect_revoked(&bench);
		g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF), ==, 2 + i);
	}
	status = gpu_bar_status(&bench);
	g_assert_cmpint(status.path, ==, VTR_PATH_NONE);
	g_assert_cmpuint(status.n_why_not, ==, 1);
	g_assert_cmpuint(status.bytes_copied, ==, 0);
	g_assert_cmpuint(status.frames, ==, 4);
	g_assert_cmpuint(bench.reads, ==, 0);
	g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_VFIO_WINDOW), ==, 0);
	gpu_bar_refuse(&bench, 0, VTR_ERROR_NONE);
	expect_restored(&bench, VTR_PATH_VFIO_DMABUF);
	gpu_bar_destroy(&bench);
}

/* A window's importer says the same, and RAM is never revoked: there the next rung is tried. */
static void test_import_of_others(void)
{
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_WINDOW, VTR_PATH_NONE);
	gpu_bar_refuse(&bench, ~0u, VTR_ERROR_REVOKED);
	gpu_bar_show(&bench, 1, FRAME_CONTIGUOUS, 0x20);
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_status(&bench).revoked);
	g_assert_cmpuint(bench.reads, ==, 0);

	gpu_bar_show(&bench, 2, FRAME_RAM, 0x40);
	g_assert_false(gpu_bar_status(&bench).revoked); /* that was the other one's memory */
	struct vtr_resource *resource = vtr_resource_find(bench.machine.gpu, 2);
	((struct vtr_candidate *)vtr_candidate_of(resource, VTR_PATH_UDMABUF))->buffer =
		vtr_buffer_create(VTR_PATH_UDMABUF, dup(bench.machine.ram.fd), 0, PICTURE_PAGES * PAGE);
	bench.machine.gpu->resources.buffers++;
	gpu_bar_flush(&bench, 2);
	g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_UDMABUF), ==, 1);
	g_assert_true(gpu_bar_shows(&bench, 0x40));
	g_assert_cmpint(gpu_bar_status(&bench).path, ==, VTR_PATH_MAPPED);
	gpu_bar_destroy(&bench);
}

/* The VMM takes the BAR from the map. It waits for us: it is not asked for the pixels. */
static void test_unmapped(gconstpointer data)
{
	enum gpu_bar_kind bar = GPOINTER_TO_UINT(data);
	struct gpu_bar bench;

	start_shown(&bench, bar);
	gpu_bar_map(&bench, BAR_NOT);
	gpu_machine_settle(&bench.machine);
	expect_revoked(&bench);
	g_assert_cmpuint(bench.reads, ==, 0);
	/* what can still be read is copied while it can */
	g_assert_cmpuint(gpu_bar_status(&bench).bytes_copied, ==, bar == BAR_OURS ? PICTURE_PAGES * PAGE : 0);
	gpu_bar_paint(&bench, FRAME_SHUFFLED, 0x30);
	gpu_bar_flush(&bench, 1);
	expect_revoked(&bench);
	gpu_bar_map(&bench, bar);
	expect_restored(&bench, VTR_PATH_VFIO_DMABUF);
	gpu_bar_destroy(&bench);
}

/* The guest disables decoding where the VMM tells nothing: neither the kernel nor the display is asked for anything. */
static void test_not_decoded(gconstpointer data)
{
	bool made = GPOINTER_TO_INT(data);
	struct gpu_bar bench;

	start_shown(&bench, BAR_OURS);
	if (!made) {
		vtr_gpu_devices_changed(bench.machine.gpu);
		gpu_bar_flush(&bench,
		              1); // answered when the display is done with the frame before it, too: nobody reads pixels now
	}
	unsigned gets = fake.gets, tried = gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF);
	fake_decoding(false);
	gpu_bar_paint(&bench, FRAME_SHUFFLED, 0x30);
	gpu_bar_flush(&bench, 1);
	expect_revoked(&bench);
	g_assert_cmpuint(fake.gets, ==, gets);
	g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF), ==, tried);
	g_assert_cmpuint(gpu_bar_status(&bench).bytes_copied, ==, 0);
	fake_decoding(true);
	expect_restored(&bench, VTR_PATH_VFIO_DMABUF);
	gpu_bar_destroy(&bench);
}

/* Decoding is off when the dmabuf is to be made, and the VMM's unmapping has not arrived. */
static void test_not_decoded_at_first(void)
{
	struct gpu_bar bench;

	start(&bench, BAR_REMOTE);
	fake_decoding(false);
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_status(&bench).revoked);
	g_assert_cmpuint(bench.reads, ==, 0);
	fake_decoding(true);
	expect_restored(&bench, VTR_PATH_VFIO_DMABUF);
	gpu_bar_destroy(&bench);
}

/* A device that exports nothing is read by the CPU, and its pages can go, too. */
static void test_mapped(void)
{
	struct gpu_bar bench;

	fake.probe_error = ENOTTY;
	gpu_bar_create(&bench, BAR_OURS, VTR_PATH_MAPPED);
	gpu_bar_show(&bench, 1, FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_shows(&bench, 0x20));
	g_assert_cmpint(ftruncate(bench.bar.fd, 0), ==, 0); /* a touch faults from now on, as when decoding is off */
	gpu_bar_flush(&bench, 1);
	expect_revoked(&bench);
	g_assert_cmpint(ftruncate(bench.bar.fd, BAR_SIZE), ==, 0);
	expect_restored(&bench, VTR_PATH_MAPPED);
	gpu_bar_destroy(&bench);
}

/* The one image that an embedding VMM draws from: it says what is away, and that it will be back. */
static void test_view(void)
{
	struct vtr_scanout_view view;
	struct vtr_error error;
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_OURS, VTR_PATH_NONE);
	gpu_bar_show(&bench, 1, FRAME_SHUFFLED, 0x20);
	g_assert_cmpint(vtr_gpu_scanout_view(bench.machine.gpu, 0, &view, &error), ==, 0);
	g_assert_cmpuint(view.data[0], ==, 0x20);
	g_assert_cmpint(ftruncate(bench.bar.fd, 0), ==, 0); /* a touch faults from now on, as when decoding is off */
	g_assert_cmpint(vtr_gpu_scanout_view(bench.machine.gpu, 0, &view, &error), ==, -EFAULT);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_REVOKED);
	g_assert_nonnull(strstr(error.text, "assigned device is away"));
	g_assert_cmpint(ftruncate(bench.bar.fd, BAR_SIZE), ==, 0);
	gpu_bar_paint(&bench, FRAME_SHUFFLED, 0x30);
	g_assert_cmpint(vtr_gpu_scanout_view(bench.machine.gpu, 0, &view, &error), ==, 0);
	g_assert_cmpuint(view.data[0], ==, 0x30);
	gpu_bar_destroy(&bench);
}

static uint64_t post_fenced(struct gpu_bar *bench, void *request, size_t size, uint64_t fence)
{
	struct virtio_gpu_ctrl_hdr *header = request;

	header->flags = VIRTIO_GPU_FLAG_FENCE;
	header->fence_id = fence;
	return gpu_machine_post(&bench->machine, 0, request, (uint32_t)size, sizeof(*header));
}

/*
 * The guest revokes the memory of a live scanout, as Linux does when a driver lets go of a buffer that was imported: it waits for
 * the answer uninterruptibly. The display sleeps meanwhile with the last frame in its hands.
 */
static void test_detach_while_the_display_sleeps(void)
{
	struct virtio_gpu_resource_flush flush = gpu_bar_flush_request(1, 0);
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct gpu_bar bench;

	start_shown(&bench, BAR_WINDOW);
	atomic_store(&bench.machine.display.asleep, true);
	uint64_t begin = vtr_now_ns();
	uint64_t flushed = post_fenced(&bench, &flush, sizeof(flush), 1);
	uint64_t detached = post_fenced(&bench, &detach, sizeof(detach), 2);
	g_assert_cmpuint(gpu_machine_run(&bench.machine, 2, 2000), ==, 2);
	g_assert_cmpuint(vtr_now_ns() - begin, <, 40000000); /* a flush waits 50 ms for a display */
	g_assert_cmphex(((struct virtio_gpu_ctrl_hdr *)gpu_machine_at(&bench.machine, flushed))->type, ==,
	                VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmphex(((struct virtio_gpu_ctrl_hdr *)gpu_machine_at(&bench.machine, detached))->type, ==,
	                VIRTIO_GPU_RESP_OK_NODATA);
	expect_revoked(&bench);
	g_assert_cmpuint(bench.machine.gpu->resources.buffers, ==, 0);

	/* the guest may use the memory for something else now: the picture was copied, and stays */
	gpu_bar_paint(&bench, FRAME_SHUFFLED, 0x30);
	atomic_store(&bench.machine.display.asleep, false);
	GPU_WAIT(&bench.machine, atomic_load(&bench.machine.display.contents) & 1u << VTR_FRAME_PIXELS);
	gpu_machine_settle(&bench.machine);
	expect_revoked(&bench);
	gpu_bar_attach(&bench, 1, FRAME_SHUFFLED);
	expect_restored(&bench, VTR_PATH_VFIO_DMABUF);
	gpu_bar_destroy(&bench);
}

/* The import fails after the guest has taken the memory back: there is nothing to be shown instead, and nothing breaks. */
static void test_detach_before_the_import_fails(void)
{
	struct virtio_gpu_resource_flush flush = gpu_bar_flush_request(1, 0);
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct gpu_bar bench;

	start_shown(&bench, BAR_WINDOW);
	gpu_bar_refuse(&bench, ~0u, VTR_ERROR_REVOKED);
	atomic_store(&bench.machine.display.asleep, true);
	GPU_ASSERT_OK(&bench.machine, flush);
	GPU_ASSERT_OK(&bench.machine, detach);
	atomic_store(&bench.machine.display.asleep, false);
	GPU_WAIT(&bench.machine, gpu_bar_status(&bench).frames == 2);
	gpu_machine_settle(&bench.machine);
	g_assert_true(gpu_bar_status(&bench).revoked);
	gpu_bar_refuse(&bench, 0, VTR_ERROR_NONE);
	gpu_bar_attach(&bench, 1, FRAME_SHUFFLED);
	expect_restored(&bench, VTR_PATH_VFIO_DMABUF);
	gpu_bar_destroy(&bench);
}

/* First the VMM takes the memory, then the guest does: it is still revoked until it has some again. */
static void test_unmapped_and_detached(void)
{
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct gpu_bar bench;

	start_shown(&bench, BAR_REMOTE);
	gpu_bar_map(&bench, BAR_NOT);
	GPU_ASSERT_OK(&bench.machine, detach);
	expect_revoked(&bench);
	gpu_bar_map(&bench, BAR_REMOTE);
	expect_revoked(&bench);
	gpu_bar_attach(&bench, 1, FRAME_SHUFFLED);
	expect_restored(&bench, VTR_PATH_VFIO_DMABUF);
	gpu_bar_destroy(&bench);
}

/* Memory that never was there is not revoked. */
static void test_never_there(void)
{
	struct virtio_gpu_resource_create_blob create = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		                                          .resource_id = 1,
		                                          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		                                          .size = PICTURE_PAGES * PAGE };
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_REMOTE, VTR_PATH_NONE);
	g_assert_false(gpu_bar_status(&bench).revoked);
	GPU_ASSERT_OK(&bench.machine, create);
	gpu_bar_set_scanout(&bench, 1);
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_status(&bench).frozen);
	g_assert_false(gpu_bar_status(&bench).revoked);
	gpu_bar_destroy(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/gpu/revoked/import", test_import);
	g_test_add_func("/unit/gpu/revoked/import-of-others", test_import_of_others);
	g_test_add_data_func("/unit/gpu/revoked/unmapped/remote", GUINT_TO_POINTER(BAR_REMOTE), test_unmapped);
	g_test_add_data_func("/unit/gpu/revoked/unmapped/window", GUINT_TO_POINTER(BAR_WINDOW), test_unmapped);
	g_test_add_data_func("/unit/gpu/revoked/unmapped/ours", GUINT_TO_POINTER(BAR_OURS), test_unmapped);
	g_test_add_data_func("/unit/gpu/revoked/not-decoded", GINT_TO_POINTER(true), test_not_decoded);
	g_test_add_data_func("/unit/gpu/revoked/not-decoded-made-anew", GINT_TO_POINTER(false), test_not_decoded);
	g_test_add_func("/unit/gpu/revoked/not-decoded-at-first", test_not_decoded_at_first);
	g_test_add_func("/unit/gpu/revoked/mapped", test_mapped);
	g_test_add_func("/unit/gpu/revoked/view", test_view);
	g_test_add_func("/unit/gpu/revoked/detach-while-the-display-sleeps", test_detach_while_the_display_sleeps);
	g_test_add_func("/unit/gpu/revoked/detach-before-the-import-fails", test_detach_before_the_import_fails);
	g_test_add_func("/unit/gpu/revoked/unmapped-and-detached", test_unmapped_and_detached);
	g_test_add_func("/unit/gpu/revoked/never-there", test_never_there);
	return g_test_run();
}
