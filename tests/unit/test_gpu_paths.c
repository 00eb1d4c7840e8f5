/* SPDX-License-Identifier: MIT */
/*
 * The ladder: which way a scanout's pixels take, why not a better one, and what becomes of it when the display cannot take them. A
 * udmabuf needs a kernel that makes one; here the buffer is put in its place, which is all that the ladder sees of it.
 */
#include "gpu/gpu.h"
#include "gpu_machine.h"

enum { OTHER = 0x20000 };

static struct vtr_candidate *udmabuf_of(struct gpu_machine *machine, uint32_t id)
{
	return (struct vtr_candidate *)vtr_candidate_of(vtr_resource_find(machine->gpu, id), VTR_PATH_UDMABUF);
}

static void give_buffer(struct gpu_machine *machine, uint32_t id)
{
	udmabuf_of(machine, id)->buffer = vtr_buffer_create(VTR_PATH_UDMABUF, dup(machine->ram.fd), 0, GPU_BYTES);
	machine->gpu->resources.buffers++;
}

static int remote_read(void *data, uint64_t address, void *buffer, size_t length)
{
	memcpy(buffer, gpu_machine_at(data, address), length);
	return 0;
}

static int remote_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	return -EACCES;
}

static const struct vtr_remote_impl remote_impl = { .read = remote_read, .write = remote_write };

enum source {
	RAM,
	REMOTE, /* memory without an fd */
	IMAGE,  /* a 2D resource */
};

static const struct path_row {
	const char *name;
	enum source source;
	bool dmabuf; /* could be made */
	enum vtr_path forced, path;
	size_t n_why_not;
} path_rows[] = {
	{ "ram", RAM, true, VTR_PATH_NONE, VTR_PATH_UDMABUF, 0 },
	{ "ram-without-dmabuf", RAM, false, VTR_PATH_NONE, VTR_PATH_MAPPED, 1 },
	{ "ram-udmabuf", RAM, true, VTR_PATH_UDMABUF, VTR_PATH_UDMABUF, 0 },
	{ "ram-udmabuf-without-dmabuf", RAM, false, VTR_PATH_UDMABUF, VTR_PATH_NONE, 3 },
	{ "ram-mapped", RAM, true, VTR_PATH_MAPPED, VTR_PATH_MAPPED, 1 },
	{ "ram-fetched", RAM, true, VTR_PATH_FETCHED, VTR_PATH_FETCHED, 2 },
	{ "ram-vfio-dmabuf", RAM, true, VTR_PATH_VFIO_DMABUF, VTR_PATH_NONE, 4 },
	{ "ram-vfio-window", RAM, true, VTR_PATH_VFIO_WINDOW, VTR_PATH_NONE, 4 },
	{ "remote", REMOTE, false, VTR_PATH_NONE, VTR_PATH_FETCHED, 3 },
	{ "remote-mapped", REMOTE, false, VTR_PATH_MAPPED, VTR_PATH_NONE, 4 },
	{ "remote-fetched", REMOTE, false, VTR_PATH_FETCHED, VTR_PATH_FETCHED, 3 },
	{ "remote-udmabuf", REMOTE, false, VTR_PATH_UDMABUF, VTR_PATH_NONE, 5 },
	{ "image", IMAGE, true, VTR_PATH_NONE, VTR_PATH_UDMABUF, 0 },
	{ "image-mapped", IMAGE, true, VTR_PATH_MAPPED, VTR_PATH_MAPPED, 1 },
	{ "image-fetched", IMAGE, true, VTR_PATH_FETCHED, VTR_PATH_MAPPED, 1 }, /* nobody else has it */
};

static void show(struct gpu_machine *machine, enum source source)
{
	struct virtio_gpu_resource_create_2d image = gpu_create_2d(1);
	struct virtio_gpu_set_scanout set = { .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		                              .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                              .resource_id = 1 };

	if (source != IMAGE) {
		gpu_machine_show_blob(machine, 0, 1, 0);
		return;
	}
	GPU_ASSERT_OK(machine, image);
	GPU_ASSERT_OK(machine, set);
}

static void test_path(gconstpointer data)
{
	const struct path_row *row = data;
	struct vtr_scanout_status status;
	struct gpu_machine machine;

	gpu_machine_create(&machine, &(struct vtr_gpu_options){ .force_path = row->forced }, 1, VTR_DEMAND_DMABUF);
	gpu_machine_start(&machine, gpu_features);
	vtr_memory_set_remote(machine.memory, &remote_impl, &machine);
	if (row->source == REMOTE) {
		gpu_machine_map_pixels(&machine, false);
		g_assert_cmpint(vtr_memory_add(machine.memory, 0, GPU_RINGS, -1, 0, true), ==, 0);
	}
	gpu_machine_paint(&machine, 0, 0x77);
	show(&machine, row->source);
	if (row->dmabuf)
		give_buffer(&machine, 1);
	gpu_machine_flush(&machine, 1);
	status = gpu_machine_status(&machine, 0);
	g_assert_cmpint(status.path, ==, row->path);
	g_assert_cmpuint(status.n_why_not, ==, row->n_why_not);
	for (size_t i = 0; i < status.n_why_not; i++)
		g_assert_cmpstr(status.why_not[i].reason, !=, "");
	bool copied = row->path == VTR_PATH_MAPPED || row->path == VTR_PATH_FETCHED;
	g_assert_cmpuint(status.bytes_copied, ==, copied ? GPU_BYTES : 0);
	g_assert_cmpuint(atomic_load(&machine.display.buffers), ==, row->path == VTR_PATH_UDMABUF);
	g_assert_cmphex(atomic_load(&machine.display.pixel[0]), ==,
	                row->path && (row->source != IMAGE || !copied) ? 0x77777777 : 0);
	gpu_machine_destroy(&machine);
}

static void start(struct gpu_machine *machine)
{
	gpu_machine_create(machine, &(struct vtr_gpu_options){ 0 }, 1, VTR_DEMAND_DMABUF);
	gpu_machine_start(machine, gpu_features);
	gpu_machine_paint(machine, 0, 0x11);
	gpu_machine_paint(machine, OTHER, 0x22);
	gpu_machine_show_blob(machine, 0, 1, 0);
	give_buffer(machine, 1);
}

static void test_display_takes_no_dmabufs(void)
{
	struct gpu_machine machine;
	struct vtr_scanout_status status;

	start(&machine);
	atomic_store(&machine.display.no_dmabuf, true);
	gpu_machine_flush(&machine, 1);
	status = gpu_machine_status(&machine, 0);
	g_assert_cmpint(status.path, ==, VTR_PATH_MAPPED);
	g_assert_cmpuint(status.n_why_not, ==, 1);
	g_assert_cmpstr(status.why_not[0].reason, ==, "no dmabufs");
	g_assert_cmphex(atomic_load(&machine.display.pixel[0]), ==, 0x11111111);
	gpu_machine_destroy(&machine);
}

static void flip(struct gpu_machine *machine, uint32_t id)
{
	struct virtio_gpu_set_scanout_blob set = gpu_set_scanout_blob(0, id);

	GPU_ASSERT_OK(machine, set);
	gpu_machine_flush(machine, id);
}

/* The picture comes another way, without another flush; and no buffer of that kind is tried again, whatever is shown in between. */
static void test_failed_imports(void)
{
	struct gpu_machine machine;

	start(&machine);
	gpu_machine_show_blob(&machine, 0, 2, OTHER);
	give_buffer(&machine, 2);
	atomic_store(&machine.display.refuse, ~0u);
	for (int i = 0; i < 4; i++) {
		flip(&machine, 1);
		GPU_WAIT(&machine, atomic_load(&machine.display.pixel[0]) == 0x11111111);
		flip(&machine, 2);
		GPU_WAIT(&machine, atomic_load(&machine.display.pixel[0]) == 0x22222222);
	}
	g_assert_cmpuint(atomic_load(&machine.display.buffers), ==, 1);
	g_assert_cmpint(gpu_machine_status(&machine, 0).path, ==, VTR_PATH_MAPPED);
	g_assert_cmpstr(gpu_machine_status(&machine, 0).why_not[0].reason, ==, "no import after all");
	gpu_machine_destroy(&machine);
}

/* A failure that comes when the guest shows something else already does not show that before its flush. */
static void test_late_failure(void)
{
	struct gpu_machine machine;
	struct gpu_blob_request create = gpu_create_blob(2, OTHER);
	struct virtio_gpu_set_scanout_blob set = gpu_set_scanout_blob(0, 2);

	start(&machine);
	GPU_ASSERT_OK(&machine, create);
	atomic_store(&machine.display.refuse, ~0u);
	atomic_store(&machine.display.stuck, 1);
	gpu_machine_flush(&machine, 1);
	GPU_ASSERT_OK(&machine, set);
	gpu_machine_unstick(&machine, 0);
	GPU_WAIT(&machine, gpu_machine_status(&machine, 0).frames == 1);
	gpu_machine_settle(&machine);
	g_assert_cmphex(atomic_load(&machine.display.pixel[0]), ==, 0);
	gpu_machine_flush(&machine, 2);
	g_assert_cmphex(atomic_load(&machine.display.pixel[0]), ==, 0x22222222);
	gpu_machine_destroy(&machine);
}

/* A guest that shows one resource after another does not fill the process with dmabufs. */
static void test_buffers_give_way(void)
{
	struct gpu_machine machine;
	struct vtr_resource_table *resources;

	start(&machine);
	resources = &machine.gpu->resources;
	for (uint32_t id = 2; id <= VTR_MAX_BUFFERS; id++) {
		gpu_machine_show_blob(&machine, 0, id, 0);
		give_buffer(&machine, id);
	}
	g_assert_cmpuint(resources->buffers, ==, VTR_MAX_BUFFERS);
	gpu_machine_show_blob(&machine, 0, VTR_MAX_BUFFERS + 1, 0);
	gpu_machine_flush(&machine, VTR_MAX_BUFFERS + 1);
	g_assert_cmpuint(resources->buffers, <=, 1);
	g_assert_null(udmabuf_of(&machine, 1)->buffer);
	gpu_machine_destroy(&machine);
}

/* One blob over most of a large guest's memory is no reason to have the kernel list all of its pages. */
static void test_large_memory(void)
{
	struct gpu_machine machine;
	struct vtr_scanout_status status;

	start(&machine);
	gpu_machine_show_blob(&machine, 0, 2, OTHER);
	/* as a guest with more memory than this one makes it */
	vtr_resource_find(machine.gpu, 2)->backing.length = VTR_MAX_BUFFER_SIZE + 1;
	status = gpu_machine_status(&machine, 0);
	g_assert_cmpint(status.path, ==, VTR_PATH_MAPPED);
	g_assert_nonnull(strstr(status.why_not[0].reason, "1024 MiB"));
	gpu_machine_destroy(&machine);
}

/* What could not be made of a resource is tried again, and shown, without the guest's doing. */
static void test_devices_changed(void)
{
	struct gpu_machine machine;
	struct vtr_error error;

	gpu_machine_create(&machine, &(struct vtr_gpu_options){ 0 }, 1, VTR_DEMAND_DMABUF);
	gpu_machine_start(&machine, gpu_features);
	vtr_gpu_devices_changed(machine.gpu); /* nothing is shown */
	gpu_machine_settle(&machine);
	gpu_machine_paint(&machine, 0, 0x11);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, ENODEV, "no such device");
	vtr_backoff_failed(&udmabuf_of(&machine, 1)->failure, &error, 0);
	gpu_machine_flush(&machine, 1);
	g_assert_cmpstr(gpu_machine_status(&machine, 0).why_not[0].reason, ==, "no such device");
	atomic_store(&machine.display.contents, 0);
	vtr_gpu_devices_changed(machine.gpu);
	GPU_WAIT(&machine, atomic_load(&machine.display.contents));
	g_assert_cmpstr(gpu_machine_status(&machine, 0).why_not[0].reason, !=, "no such device");
	gpu_machine_destroy(&machine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/gpu/path/", path_rows, test_path);
	g_test_add_func("/unit/gpu/display-takes-no-dmabufs", test_display_takes_no_dmabufs);
	g_test_add_func("/unit/gpu/failed-imports", test_failed_imports);
	g_test_add_func("/unit/gpu/late-failure", test_late_failure);
	g_test_add_func("/unit/gpu/buffers-give-way", test_buffers_give_way);
	g_test_add_func("/unit/gpu/large-memory", test_large_memory);
	g_test_add_func("/unit/gpu/devices-changed", test_devices_changed);
	return g_test_run();
}
