/* SPDX-License-Identifier: MIT */
/* Resources that other devices of the VM may have: which ones are announced under their UUID, what is handed on, and when it ends.
 */
#include "gpu_bar.h"

/* What a transport hears. */
struct ear {
	unsigned added, removed;
	uint8_t uuid[16]; /* of the last one */
};

static void added(void *data, const uint8_t uuid[16])
{
	struct ear *ear = data;

	ear->added++;
	memcpy(ear->uuid, uuid, sizeof(ear->uuid));
}

static void removed(void *data, const uint8_t uuid[16])
{
	struct ear *ear = data;

	g_assert_cmpmem(uuid, 16, ear->uuid, 16);
	ear->removed++;
}

static void interrupt_queue(void *data, unsigned queue)
{
}

static void interrupt_config(void *data)
{
}

static const struct vtr_virtio_transport_impl transport = {
	.interrupt_queue = interrupt_queue,
	.interrupt_config = interrupt_config,
	.object_added = added,
	.object_removed = removed,
};

static void assign_uuid(struct gpu_bar *bench, uint32_t id, uint8_t uuid[16])
{
	struct virtio_gpu_resource_assign_uuid assign = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, .resource_id = id };
	struct virtio_gpu_resp_resource_uuid answer;

	memcpy(&answer, GPU_CALL(&bench->machine, assign), sizeof(answer));
	g_assert_cmphex(answer.hdr.type, ==, VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
	memcpy(uuid, answer.uuid, sizeof(answer.uuid));
}

static int export(struct gpu_bar *bench, const uint8_t uuid[16])
{
	struct vtr_virtio_device *device = vtr_gpu_virtio(bench->machine.gpu);

	return device->impl->export_object(device, uuid);
}

static void create(struct gpu_bar *bench, struct ear *ear, enum gpu_bar_kind kind, bool device)
{
	*ear = (struct ear){ 0 };
	gpu_bar_create(bench, kind, VTR_PATH_NONE);
	if (device)
		gpu_bar_assign(bench);
	vtr_virtio_set_transport(vtr_gpu_virtio(bench->machine.gpu), &transport, ear);
}

static void destroy(struct gpu_bar *bench)
{
	vtr_virtio_set_transport(vtr_gpu_virtio(bench->machine.gpu), NULL, NULL);
	gpu_bar_destroy(bench);
}

static const struct shared_row {
	const char *name;
	enum gpu_bar_kind bar;
	enum gpu_bar_frame frame;
	bool device, shared;
} shared_rows[] = {
	{ "ranges", BAR_REMOTE, FRAME_SHUFFLED, true, true },
	{ "contiguous", BAR_REMOTE, FRAME_CONTIGUOUS, true, true },
	{ "no-device", BAR_REMOTE, FRAME_SHUFFLED, false, false },
	{ "window-at-an-offset", BAR_WINDOW, FRAME_CONTIGUOUS, false, false },
	{ "two-kinds-of-memory", BAR_REMOTE, FRAME_MIXED, true, false },
};

static void test_shared(const void *data)
{
	const struct shared_row *row = data;
	struct gpu_bar bench;
	struct ear ear;
	uint8_t uuid[16], again[16];

	create(&bench, &ear, row->bar, row->device);
	gpu_bar_paint(&bench, row->frame, 0x20);
	gpu_bar_create_blob(&bench, 1, row->frame);
	assign_uuid(&bench, 1, uuid);
	assign_uuid(&bench, 1, again);
	g_assert_cmpmem(uuid, 16, again, 16);
	g_assert_cmpuint(ear.added, ==, row->shared);
	int fd = export(&bench, uuid);
	if (row->shared) {
		uint8_t pixels[2];

		g_assert_cmpint(fd, >=, 0);
		g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
		g_assert_cmpint(pread(fd, &pixels[0], 1, 0), ==, 1);
		g_assert_cmpint(pread(fd, &pixels[1], 1, (PICTURE_PAGES - 1) * PAGE), ==, 1);
		g_assert_cmphex(pixels[0], ==, 0x20);
		g_assert_cmphex(pixels[1], ==, 0x20 + PICTURE_PAGES - 1);
		close(fd);
	} else {
		g_assert_cmpint(fd, ==, -ENOENT);
	}
	destroy(&bench);
	g_assert_cmpuint(ear.removed, ==, 0); /* nobody listens any more */
}

static void test_unknown(void)
{
	struct gpu_bar bench;
	struct ear ear;
	uint8_t uuid[16] = { 0 };

	create(&bench, &ear, BAR_REMOTE, true);
	gpu_bar_create_blob(&bench, 1, FRAME_SHUFFLED);
	g_assert_cmpint(export(&bench, uuid), ==, -ENOENT); /* one without a UUID has zeroes there */
	destroy(&bench);
}

static void test_unref(void)
{
	struct gpu_bar bench;
	struct ear ear;
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	uint8_t uuid[16];

	create(&bench, &ear, BAR_REMOTE, true);
	gpu_bar_create_blob(&bench, 1, FRAME_SHUFFLED);
	assign_uuid(&bench, 1, uuid);
	GPU_ASSERT_OK(&bench.machine, unref);
	g_assert_cmpuint(ear.removed, ==, 1);
	g_assert_cmpint(export(&bench, uuid), ==, -ENOENT);
	destroy(&bench);
}

static void test_reset(void)
{
	struct gpu_bar bench;
	struct ear ear;
	uint8_t uuid[16];

	create(&bench, &ear, BAR_REMOTE, true);
	gpu_bar_create_blob(&bench, 1, FRAME_SHUFFLED);
	assign_uuid(&bench, 1, uuid);
	vtr_virtio_reset(vtr_gpu_virtio(bench.machine.gpu));
	g_assert_cmpuint(ear.removed, ==, 1);
	g_assert_cmpint(export(&bench, uuid), ==, -ENOENT);
	destroy(&bench);
}

/* The last picture stays, its name does not. */
static void test_abandoned(void)
{
	struct gpu_bar bench;
	struct ear ear;
	uint8_t uuid[16];

	create(&bench, &ear, BAR_REMOTE, true);
	gpu_bar_show(&bench, 1, FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(&bench, 1);
	assign_uuid(&bench, 1, uuid);
	vtr_virtio_abandon(vtr_gpu_virtio(bench.machine.gpu));
	g_assert_cmpuint(ear.removed, ==, 1);
	g_assert_cmpint(export(&bench, uuid), ==, -ENOENT);
	destroy(&bench);
}

/* The name stays while its memory is away; there is nothing to hand on meanwhile. */
static void test_away(void)
{
	struct gpu_bar bench;
	struct ear ear;
	uint8_t uuid[16];

	create(&bench, &ear, BAR_REMOTE, true);
	gpu_bar_create_blob(&bench, 1, FRAME_SHUFFLED);
	assign_uuid(&bench, 1, uuid);
	gpu_bar_map(&bench, BAR_NOT);
	g_assert_cmpint(export(&bench, uuid), ==, -ENODATA);
	gpu_bar_map(&bench, BAR_REMOTE);
	int fd = export(&bench, uuid);
	g_assert_cmpint(fd, >=, 0);
	close(fd);
	g_assert_cmpuint(ear.removed, ==, 0);
	destroy(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(shared_rows); i++) {
		char *path = g_strdup_printf("/gpu/shared/%s", shared_rows[i].name);

		g_test_add_data_func(path, &shared_rows[i], test_shared);
		g_free(path);
	}
	g_test_add_func("/gpu/shared/unknown", test_unknown);
	g_test_add_func("/gpu/shared/unref", test_unref);
	g_test_add_func("/gpu/shared/reset", test_reset);
	g_test_add_func("/gpu/shared/abandoned", test_abandoned);
	g_test_add_func("/gpu/shared/away", test_away);
	return g_test_run();
}
