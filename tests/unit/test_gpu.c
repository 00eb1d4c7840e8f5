/* SPDX-License-Identifier: MIT */
/*
 * The gpu device against a display that does not answer, and memory that goes away: what no well-behaved guest can show. A driver
 * without a transport: rings in a memfd, the device core driven directly.
 */
#include <glib.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <stdatomic.h>

#include <vitrine/gpu.h>
#include <vitrine/loop.h>

#include "display/display.h"
#include "virtio/device.h"
#include "vring.h"

enum { WIDTH = 64, HEIGHT = 32, STRIDE = WIDTH * 4 };
#define RAM UINT64_C(0x100000)
#define RAM_SIZE (4u << 20)
#define PIXELS (RAM + 0x200000)

/* ---- a display that shows frames only when it is told to ---- */

struct manual_display {
	struct vtr_display base;
	atomic_bool stuck;      /* frames stay where they are */
	atomic_uint contents;   /* bit per enum vtr_frame_content seen */
	_Atomic uint32_t pixel; /* the first pixel of the last PIXELS frame */
};

static void manual_frame(struct vtr_display *base, struct vtr_output *output)
{
	struct manual_display *display = (struct manual_display *)base;

	if (atomic_load(&display->stuck))
		return;
	struct vtr_frame *frame = vtr_output_take_frame(output);
	if (!frame)
		return;
	atomic_fetch_or(&display->contents, 1u << frame->content);
	if (frame->content == VTR_FRAME_PIXELS)
		atomic_store(&display->pixel, *(const uint32_t *)frame->pixels);
	vtr_frame_finish(frame, vtr_now_ns());
}

static int manual_attach(struct vtr_display *base, struct vtr_output *output)
{
	vtr_output_set_demand(output, VTR_DEMAND_PIXELS);
	return 0;
}

static void manual_detach(struct vtr_display *base, struct vtr_output *output)
{
}

static void manual_capture(struct vtr_display *base, struct vtr_output *output, struct vtr_capture *capture)
{
	struct vtr_error error;

	vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "not here");
	vtr_capture_finish(capture, NULL, 0, &error);
}

static bool manual_accepts(struct vtr_display *base, uint32_t format, uint64_t modifier, struct vtr_error *error)
{
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "not here");
	return false;
}

static void manual_destroy(struct vtr_display *base)
{
	/* embedded in the machine */
}

static const struct vtr_display_impl manual_impl = {
	.name = "manual",
	.attach = manual_attach,
	.detach = manual_detach,
	.frame = manual_frame,
	.capture = manual_capture,
	.accepts = manual_accepts,
	.destroy = manual_destroy,
};

/* ---- a machine ---- */

struct machine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct manual_display display;
	struct vtr_outputs *outputs;
	struct vtr_gpu *gpu;
	struct vtr_virtio_device *device;
	struct guest_ram ram;
	struct vring_driver ring;
	uint64_t free; /* next free guest address */
	uint16_t next_desc;
};

static void machine_start(struct machine *machine, const struct vtr_gpu_options *options)
{
	struct vtr_mode mode = { 1280, 800, 60000 };

	*machine = (struct machine){ .loop = vtr_loop_create(), .memory = vtr_memory_create() };
	guest_ram_init(&machine->ram, RAM, RAM_SIZE);
	g_assert_cmpint(guest_ram_add(&machine->ram, machine->memory), ==, 0);
	g_assert_cmpint(vtr_display_init(&machine->display.base, &manual_impl), ==, 0);
	machine->outputs = vtr_outputs_create();
	g_assert_nonnull(vtr_outputs_add(machine->outputs, &machine->display.base, &mode, NULL));
	machine->gpu = vtr_gpu_create(machine->loop, machine->memory, machine->outputs, options);
	machine->device = vtr_gpu_virtio(machine->gpu);
	while (!atomic_load(&machine->display.contents)) /* the output's first wish for a frame is answered: it is attached */
		vtr_loop_dispatch(machine->loop, 1);
	machine->free = vring_driver_init(&machine->ring, &machine->ram, RAM, 64);

	struct vtr_virtqueue *queue = &machine->device->queues[0];
	vtr_virtio_set_status(machine->device, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	g_assert_cmpint(vtr_virtio_set_driver_features(machine->device, UINT64_C(1) << VIRTIO_F_VERSION_1 |
	                                                                        1u << VIRTIO_GPU_F_RESOURCE_BLOB |
	                                                                        1u << VIRTIO_GPU_F_EDID),
	                ==, 0);
	vtr_virtio_set_status(machine->device, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	queue->size = 64;
	queue->desc = machine->ring.desc;
	queue->avail = machine->ring.avail;
	queue->used = machine->ring.used;
	g_assert_cmpint(vtr_virtio_enable_queue(machine->device, 0), ==, 0);
	vtr_virtio_set_status(machine->device, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
	                                               VIRTIO_CONFIG_S_DRIVER_OK);
}

static void machine_stop(struct machine *machine)
{
	vtr_gpu_destroy(machine->gpu);
	vtr_memory_destroy(machine->memory);
	vtr_display_destroy(&machine->display.base);
	vtr_outputs_destroy(machine->outputs);
	vtr_loop_destroy(machine->loop);
	guest_ram_finish(&machine->ram);
}

/* Makes a request available; returns the guest address of its response. */
static uint64_t post(struct machine *machine, const void *request, uint32_t size)
{
	uint64_t at = machine->free, response = at + size;
	uint16_t head = machine->next_desc;

	memcpy(guest_ram_at(&machine->ram, at), request, size);
	machine->free = (response + sizeof(struct virtio_gpu_resp_edid) + 63) & ~UINT64_C(63);
	g_assert_cmpuint(machine->free, <, PIXELS);
	vring_put_desc(&machine->ring, machine->ring.desc, head, at, size, VRING_DESC_F_NEXT, head + 1);
	vring_put_desc(&machine->ring, machine->ring.desc, head + 1, response, sizeof(struct virtio_gpu_resp_edid),
	               VRING_DESC_F_WRITE, 0);
	machine->next_desc += 2;
	g_assert_cmpuint(machine->next_desc, <=, 64);
	vring_publish(&machine->ring, head);
	vtr_virtio_kick(machine->device, 0);
	return response;
}

static uint32_t response_type(struct machine *machine, uint64_t response)
{
	return ((struct virtio_gpu_ctrl_hdr *)(void *)guest_ram_at(&machine->ram, response))->type;
}

/* Runs the device until n more answers came, at most timeout_ms. Returns how many came. */
static unsigned run(struct machine *machine, unsigned n, unsigned timeout_ms)
{
	uint64_t end = vtr_now_ns() + timeout_ms * UINT64_C(1000000);
	struct vring_used_elem element;
	unsigned got = 0;

	while (got < n && vtr_now_ns() < end) {
		vtr_loop_dispatch(machine->loop, 1);
		while (vring_take_used(&machine->ring, &element))
			got++;
	}
	return got;
}

static uint32_t call(struct machine *machine, const void *request, uint32_t size)
{
	uint64_t response = post(machine, request, size);

	g_assert_cmpuint(run(machine, 1, 2000), ==, 1);
	return response_type(machine, response);
}

#define CALL(machine, request) call(machine, &(request), sizeof(request))

static void show_blob(struct machine *machine)
{
	struct {
		struct virtio_gpu_resource_create_blob blob;
		struct virtio_gpu_mem_entry entry;
	} create = {
		.blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		          .resource_id = 1,
		          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		          .nr_entries = 1,
		          .size = HEIGHT * STRIDE },
		.entry = { .addr = PIXELS, .length = HEIGHT * STRIDE },
	};
	struct virtio_gpu_set_scanout_blob set = {
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
		.r = { 0, 0, WIDTH, HEIGHT },
		.resource_id = 1,
		.width = WIDTH,
		.height = HEIGHT,
		.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.strides = { STRIDE },
	};

	memset(guest_ram_at(&machine->ram, PIXELS), 0x11, HEIGHT * STRIDE);
	g_assert_cmphex(CALL(machine, create), ==, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmphex(CALL(machine, set), ==, VIRTIO_GPU_RESP_OK_NODATA);
}

static struct virtio_gpu_resource_flush make_flush(uint64_t fence)
{
	return (struct virtio_gpu_resource_flush){
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = fence },
		.r = { 0, 0, WIDTH, HEIGHT },
		.resource_id = 1,
	};
}

/* ---- tests ---- */

static void test_stuck_display_does_not_stall(void)
{
	struct machine machine;
	struct virtio_gpu_resource_flush flush = make_flush(1);
	struct vtr_scanout_status status;

	machine_start(&machine, &(struct vtr_gpu_options){ 0 });
	show_blob(&machine);
	atomic_store(&machine.display.stuck, true);
	uint64_t start = vtr_now_ns();
	post(&machine, &flush, sizeof(flush));
	g_assert_cmpuint(run(&machine, 1, 1000), ==, 1);
	uint64_t first = vtr_now_ns() - start;
	g_assert_cmpuint(first, >=, 45000000); /* it waited for the display, */
	start = vtr_now_ns();
	post(&machine, &flush, sizeof(flush));
	g_assert_cmpuint(run(&machine, 1, 1000), ==, 1);
	g_assert_cmpuint(vtr_now_ns() - start, <, first); /* and then no more than a refresh */
	g_assert_true(vtr_gpu_scanout_status(machine.gpu, 0, &status));
	g_assert_cmpuint(status.timeouts, ==, 2);
	machine_stop(&machine);
}

static void test_detach_does_not_wait(void)
{
	struct machine machine;
	struct virtio_gpu_resource_flush flush = make_flush(1);
	struct virtio_gpu_resource_detach_backing detach = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 2 },
		.resource_id = 1,
	};
	struct vring_used_elem element;

	machine_start(&machine, &(struct vtr_gpu_options){ 0 });
	show_blob(&machine);
	atomic_store(&machine.display.stuck, true);
	uint64_t start = vtr_now_ns(), flushed = post(&machine, &flush, sizeof(flush));
	uint64_t detached = post(&machine, &detach, sizeof(detach));
	while (vring_used_idx(&machine.ring) != machine.ring.used_seen + 2 && vtr_now_ns() - start < 1000000000)
		vtr_loop_dispatch(machine.loop, 1);
	g_assert_cmpuint(vtr_now_ns() - start, <, 40000000);
	g_assert_cmpint(vring_take_used(&machine.ring, &element), ==, 1);
	g_assert_cmpuint(element.id, ==, 4); /* the flush first: fences complete in order */
	g_assert_cmphex(response_type(&machine, flushed), ==, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmphex(response_type(&machine, detached), ==, VIRTIO_GPU_RESP_OK_NODATA);
	machine_stop(&machine);
}

static void test_unmapped_scanout_freezes_and_comes_back(void)
{
	struct machine machine;
	struct virtio_gpu_resource_flush flush = make_flush(1);
	struct vtr_scanout_status status;

	machine_start(&machine, &(struct vtr_gpu_options){ 0 });
	/* the pixels in a region of their own, so that the rings stay */
	g_assert_cmpint(vtr_memory_remove(machine.memory, RAM, RAM_SIZE), ==, 0);
	g_assert_cmpint(vtr_memory_add(machine.memory, RAM, PIXELS - RAM, dup(machine.ram.fd), 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(machine.memory, PIXELS, 0x10000, dup(machine.ram.fd), PIXELS - RAM, true), ==, 0);
	show_blob(&machine);
	g_assert_cmphex(CALL(&machine, flush), ==, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmphex(atomic_load(&machine.display.pixel), ==, 0x11111111);

	/* drawn and never flushed: not to be seen */
	memset(guest_ram_at(&machine.ram, PIXELS), 0x22, HEIGHT * STRIDE);
	g_assert_cmpint(vtr_memory_remove(machine.memory, PIXELS, 0x10000), ==, 0);
	g_assert_true(vtr_gpu_scanout_status(machine.gpu, 0, &status));
	g_assert_true(status.frozen && status.enabled);
	g_assert_cmpint(status.path, ==, VTR_PATH_NONE);
	memset(guest_ram_at(&machine.ram, PIXELS), 0x33, HEIGHT * STRIDE);
	g_assert_cmphex(CALL(&machine, flush), ==, VIRTIO_GPU_RESP_OK_NODATA); /* nothing to see, nothing wrong */
	g_assert_cmphex(atomic_load(&machine.display.pixel), ==, 0x11111111);

	g_assert_cmpint(vtr_memory_add(machine.memory, PIXELS, 0x10000, dup(machine.ram.fd), PIXELS - RAM, true), ==, 0);
	g_assert_true(vtr_gpu_scanout_status(machine.gpu, 0, &status));
	g_assert_false(status.frozen);
	g_assert_cmphex(CALL(&machine, flush), ==, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmphex(atomic_load(&machine.display.pixel), ==, 0x33333333);
	machine_stop(&machine);
}

static void test_hostmem_bounds_copies(void)
{
	struct machine machine;
	struct virtio_gpu_resource_flush flush = make_flush(1);

	machine_start(&machine, &(struct vtr_gpu_options){ .max_hostmem = 3 * HEIGHT * STRIDE - 1 });
	show_blob(&machine);
	g_assert_cmphex(CALL(&machine, flush), ==, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmpuint(atomic_load(&machine.display.contents) & 1u << VTR_FRAME_PIXELS, ==, 0);
	machine_stop(&machine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/gpu/stuck-display-does-not-stall", test_stuck_display_does_not_stall);
	g_test_add_func("/gpu/detach-does-not-wait", test_detach_does_not_wait);
	g_test_add_func("/gpu/unmapped-scanout-freezes-and-comes-back", test_unmapped_scanout_freezes_and_comes_back);
	g_test_add_func("/gpu/hostmem-bounds-copies", test_hostmem_bounds_copies);
	return g_test_run();
}
