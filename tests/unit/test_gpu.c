/* SPDX-License-Identifier: MIT */
/* Scanouts whose memory goes and comes, and the cursor: what stays on the screen. */
#include <drm_fourcc.h>

#include "gpu_machine.h"

enum { OTHER = 0x20000 }; /* where a second picture is */

static void start(struct gpu_machine *machine, const struct vtr_gpu_options *options, unsigned outputs)
{
	gpu_machine_create(machine, options, outputs, VTR_DEMAND_PIXELS);
	gpu_machine_start(machine, gpu_features);
}

static uint32_t shown(struct gpu_machine *machine, unsigned output)
{
	return atomic_load(&machine->display.pixel[output]);
}

static void attach(struct gpu_machine *machine, uint32_t id, uint64_t address)
{
	struct {
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_mem_entry entry;
	} request = {
		.attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = id, .nr_entries = 1 },
		.entry = { .addr = address, .length = GPU_BYTES },
	};

	GPU_ASSERT_OK(machine, request);
}

static void detach(struct gpu_machine *machine, uint32_t id)
{
	struct virtio_gpu_resource_detach_backing request = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
		.resource_id = id,
	};

	GPU_ASSERT_OK(machine, request);
}

/* Takes the blob's memory away and gives it back, one way or the other. */
static void take_memory(struct gpu_machine *machine, bool by_guest)
{
	if (by_guest)
		detach(machine, 1);
	else
		gpu_machine_map_pixels(machine, false);
}

static void give_memory(struct gpu_machine *machine, bool by_guest)
{
	if (by_guest)
		attach(machine, 1, 0);
	else
		gpu_machine_map_pixels(machine, true);
}

static void test_freeze_and_thaw(gconstpointer data)
{
	bool by_guest = GPOINTER_TO_INT(data);
	struct gpu_machine machine;
	struct vtr_scanout_status status;

	start(&machine, &(struct vtr_gpu_options){ 0 }, 1);
	gpu_machine_paint(&machine, 0, 0x11);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	gpu_machine_flush(&machine, 1);
	g_assert_cmphex(shown(&machine, 0), ==, 0x11111111);

	/* drawn and never flushed: not to be seen */
	gpu_machine_paint(&machine, 0, 0x22);
	take_memory(&machine, by_guest);
	status = gpu_machine_status(&machine, 0);
	g_assert_true(status.frozen && status.enabled);
	g_assert_cmpint(status.path, ==, VTR_PATH_NONE);
	gpu_machine_paint(&machine, 0, 0x33);
	gpu_machine_flush(&machine, 1); /* nothing to see, nothing wrong */
	g_assert_cmphex(shown(&machine, 0), ==, 0x11111111);

	give_memory(&machine, by_guest);
	g_assert_false(gpu_machine_status(&machine, 0).frozen);
	gpu_machine_flush(&machine, 1);
	g_assert_cmphex(shown(&machine, 0), ==, 0x33333333);
	gpu_machine_destroy(&machine);
}

/* The linear view is the guest's memory itself, goes with it, and comes back with it. */
static void test_view(gconstpointer data)
{
	bool by_guest = GPOINTER_TO_INT(data);
	struct gpu_machine machine;
	struct vtr_scanout_view view;
	struct vtr_error error;

	start(&machine, &(struct vtr_gpu_options){ 0 }, 1);
	g_assert_cmpint(vtr_gpu_scanout_view(machine.gpu, 1, &view, &error), ==, -ENOENT);
	g_assert_cmpint(vtr_gpu_scanout_view(machine.gpu, 0, &view, &error), ==, -ENOENT);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	g_assert_cmpint(vtr_gpu_scanout_view(machine.gpu, 0, &view, &error), ==, 0);
	g_assert_cmpuint(view.width, ==, GPU_WIDTH);
	g_assert_cmpuint(view.height, ==, GPU_HEIGHT);
	g_assert_cmpuint(view.stride, ==, GPU_STRIDE);
	g_assert_cmphex(view.format, ==, DRM_FORMAT_XRGB8888);
	gpu_machine_paint(&machine, 0, 0x5a); /* after the view was made: it is no copy */
	for (size_t i = 0; i < GPU_BYTES; i++)
		g_assert_cmphex(view.data[i], ==, 0x5a);

	take_memory(&machine, by_guest);
	g_assert_cmpint(vtr_gpu_scanout_view(machine.gpu, 0, &view, &error), ==, -EFAULT);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_REVOKED);
	give_memory(&machine, by_guest);
	g_assert_cmpint(vtr_gpu_scanout_view(machine.gpu, 0, &view, &error), ==, 0);
	g_assert_cmphex(view.data[GPU_BYTES - 1], ==, 0x5a);
	gpu_machine_destroy(&machine);
}

/* The last picture, read when its memory went, waits for the display; flushes that bring nothing newer do not push it out. */
static void test_last_picture_is_not_pushed_out(gconstpointer data)
{
	bool by_guest = GPOINTER_TO_INT(data);
	struct gpu_machine machine;

	start(&machine, &(struct vtr_gpu_options){ 0 }, 1);
	gpu_machine_paint(&machine, 0, 0x11);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	gpu_machine_flush(&machine, 1);
	atomic_store(&machine.display.stuck, 1);
	gpu_machine_paint(&machine, 0, 0x22);
	gpu_machine_flush(&machine, 1);
	take_memory(&machine, by_guest);
	gpu_machine_flush(&machine, 1);
	gpu_machine_unstick(&machine, 0);
	GPU_WAIT(&machine, shown(&machine, 0) == 0x22222222);
	gpu_machine_destroy(&machine);
}

/* Two outputs show the resource: when its memory comes back, both miss all of it. */
static void test_thaw_of_two(gconstpointer data)
{
	bool by_guest = GPOINTER_TO_INT(data);
	struct gpu_machine machine;
	struct virtio_gpu_resource_flush corner = gpu_flush(1, 1);

	start(&machine, &(struct vtr_gpu_options){ 0 }, 2);
	gpu_machine_paint(&machine, 0, 0x11);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	struct virtio_gpu_set_scanout_blob second = gpu_set_scanout_blob(1, 1);
	GPU_ASSERT_OK(&machine, second);
	gpu_machine_flush(&machine, 1);
	take_memory(&machine, by_guest);
	gpu_machine_paint(&machine, 0, 0x33);
	give_memory(&machine, by_guest);
	corner.r = (struct virtio_gpu_rect){ 0, 0, 1, 1 };
	GPU_ASSERT_OK(&machine, corner);
	for (int i = 0; i < 2; i++)
		g_assert_cmphex(atomic_load(&machine.display.last_pixel[i]), ==, 0x33333333);
	gpu_machine_destroy(&machine);
}

/* A remote side whose request is cut short once: the guest's picture comes all the same, without another flush. */
struct shy_remote {
	struct gpu_machine *machine;
	int cut; /* requests left until the one that is cut short; below 0: none */
};

static int shy_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct shy_remote *remote = data;

	if (remote->cut-- == 0)
		return -ECANCELED;
	memcpy(buffer, gpu_machine_at(remote->machine, address), length);
	return 0;
}

static int shy_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	return -EACCES;
}

static const struct vtr_remote_impl shy_impl = { .read = shy_read, .write = shy_write };

static void test_cancelled_read_is_repeated(void)
{
	struct gpu_machine machine;
	struct shy_remote remote = { .machine = &machine, .cut = -1 };

	start(&machine, &(struct vtr_gpu_options){ 0 }, 1);
	gpu_machine_map_pixels(&machine, false);
	vtr_memory_set_remote(machine.memory, &shy_impl, &remote);
	g_assert_cmpint(vtr_memory_add(machine.memory, 0, GPU_RINGS, -1, 0, true), ==, 0);
	gpu_machine_paint(&machine, 0, 0x44);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	g_assert_cmpint(gpu_machine_status(&machine, 0).path, ==, VTR_PATH_FETCHED);
	remote.cut = 0;
	gpu_machine_flush(&machine, 1);
	GPU_WAIT(&machine, shown(&machine, 0) == 0x44444444);
	gpu_machine_destroy(&machine);
}

/* With --path fetched RAM is asked for, too; but not while the VMM waits for us to give it up. */
static void test_unmap_with_forced_fetching(void)
{
	struct gpu_machine machine;
	struct shy_remote remote = { .machine = &machine, .cut = -1 };

	start(&machine, &(struct vtr_gpu_options){ .force_path = VTR_PATH_FETCHED }, 1);
	vtr_memory_set_remote(machine.memory, &shy_impl, &remote);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	remote.cut = 0; /* any request from here on */
	gpu_machine_map_pixels(&machine, false);
	g_assert_cmpint(remote.cut, ==, 0);
	g_assert_true(gpu_machine_status(&machine, 0).frozen);
	gpu_machine_destroy(&machine);
}

static void test_hostmem_bounds_copies(void)
{
	struct gpu_machine machine;

	start(&machine, &(struct vtr_gpu_options){ .max_hostmem = 3 * GPU_BYTES - 1 }, 1);
	gpu_machine_show_blob(&machine, 0, 1, 0);
	gpu_machine_flush(&machine, 1);
	g_assert_cmpuint(atomic_load(&machine.display.contents) & 1u << VTR_FRAME_PIXELS, ==, 0);
	gpu_machine_destroy(&machine);
}

/* ---- cursor ---- */

static struct virtio_gpu_update_cursor update_cursor(uint32_t id)
{
	return (struct virtio_gpu_update_cursor){
		.hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR,
		.pos = { .x = 5, .y = 6 },
		.resource_id = id,
		.hot_x = 7,
		.hot_y = 8,
	};
}

static struct vtr_cursor cursor_after(struct gpu_machine *machine, const struct virtio_gpu_update_cursor *command)
{
	struct vtr_cursor cursor;

	gpu_machine_post(machine, 1, command, sizeof(*command), 0); /* no room for an answer, as Linux does it */
	gpu_machine_settle(machine);
	vtr_output_get_cursor(vtr_outputs_get(machine->outputs, 0), &cursor);
	return cursor;
}

static void test_cursor(void)
{
	struct gpu_machine machine;
	struct gpu_blob_request create = gpu_create_blob(1, OTHER);
	struct virtio_gpu_update_cursor update = update_cursor(1), hide = update_cursor(0);
	struct vtr_cursor cursor;

	start(&machine, &(struct vtr_gpu_options){ 0 }, 1);
	create.blob.size = create.entry.length = VTR_CURSOR_SIZE * VTR_CURSOR_SIZE * 4;
	GPU_ASSERT_OK(&machine, create);
	gpu_machine_paint(&machine, OTHER, 0x55);
	cursor = cursor_after(&machine, &update);
	g_assert_true(cursor.visible && cursor.x == 5 && cursor.y == 6 && cursor.hot_x == 7 && cursor.hot_y == 8);
	g_assert_cmphex(cursor.image[0], ==, 0x55555555);

	/* the same resource with new contents */
	gpu_machine_paint(&machine, OTHER, 0x66);
	cursor = cursor_after(&machine, &update);
	g_assert_cmphex(cursor.image[0], ==, 0x66666666);

	/* refused: the one that is shown stays */
	update.hot_x = VTR_CURSOR_SIZE;
	g_assert_cmpuint(cursor_after(&machine, &update).serial, ==, cursor.serial);
	update = update_cursor(77);
	g_assert_cmpuint(cursor_after(&machine, &update).serial, ==, cursor.serial);
	gpu_machine_map_pixels(&machine, false);
	update = update_cursor(1);
	cursor = cursor_after(&machine, &update);
	g_assert_cmphex(cursor.image[0], ==, 0x66666666);
	g_assert_false(cursor_after(&machine, &hide).visible);
	gpu_machine_destroy(&machine);
}

/* Another display gets the picture without the guest's doing, also when there is no memory left that it could be read from, and
 * also the black of a guest that shows nothing. */
static void test_another_display(gconstpointer data)
{
	enum { LIVE, FROZEN, DISABLED } kind = GPOINTER_TO_INT(data);
	struct gpu_machine machine;
	struct gpu_display other = { 0 };

	start(&machine, &(struct vtr_gpu_options){ 0 }, 1);
	atomic_store(&other.demand, VTR_DEMAND_PIXELS);
	g_assert_cmpint(vtr_display_init(&other.base, &gpu_display_impl), ==, 0);
	if (kind != DISABLED) {
		gpu_machine_paint(&machine, 0, 0x44);
		gpu_machine_show_blob(&machine, 0, 1, 0);
		gpu_machine_flush(&machine, 1);
	}
	if (kind == FROZEN)
		gpu_machine_map_pixels(&machine, false);
	g_assert_cmpint(vtr_output_move(vtr_outputs_get(machine.outputs, 0), &other.base), ==, 0);
	if (kind == DISABLED)
		GPU_WAIT(&machine, atomic_load(&other.contents) == 1u << VTR_FRAME_BLANK);
	else
		GPU_WAIT(&machine, atomic_load(&other.last_pixel[0]) == 0x44444444);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).frames, ==, kind != DISABLED); /* the guest flushed once */
	vtr_display_destroy(&other.base);
	gpu_machine_destroy(&machine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/unit/gpu/freeze/unmapped", GINT_TO_POINTER(false), test_freeze_and_thaw);
	g_test_add_data_func("/unit/gpu/freeze/detached", GINT_TO_POINTER(true), test_freeze_and_thaw);
	g_test_add_data_func("/unit/gpu/view/unmapped", GINT_TO_POINTER(false), test_view);
	g_test_add_data_func("/unit/gpu/view/detached", GINT_TO_POINTER(true), test_view);
	g_test_add_data_func("/unit/gpu/last-picture/unmapped", GINT_TO_POINTER(false), test_last_picture_is_not_pushed_out);
	g_test_add_data_func("/unit/gpu/last-picture/detached", GINT_TO_POINTER(true), test_last_picture_is_not_pushed_out);
	g_test_add_data_func("/unit/gpu/thaw-of-two/unmapped", GINT_TO_POINTER(false), test_thaw_of_two);
	g_test_add_data_func("/unit/gpu/thaw-of-two/detached", GINT_TO_POINTER(true), test_thaw_of_two);
	g_test_add_func("/unit/gpu/cancelled-read-is-repeated", test_cancelled_read_is_repeated);
	g_test_add_func("/unit/gpu/unmap-with-forced-fetching", test_unmap_with_forced_fetching);
	g_test_add_func("/unit/gpu/hostmem-bounds-copies", test_hostmem_bounds_copies);
	g_test_add_data_func("/unit/gpu/another-display/live", GINT_TO_POINTER(0), test_another_display);
	g_test_add_data_func("/unit/gpu/another-display/frozen", GINT_TO_POINTER(1), test_another_display);
	g_test_add_data_func("/unit/gpu/another-display/disabled", GINT_TO_POINTER(2), test_another_display);
	g_test_add_func("/unit/gpu/cursor", test_cursor);
	return g_test_run();
}
