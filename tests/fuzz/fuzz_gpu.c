/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: commands to the gpu device. The input is a list of steps; the guest's memory begins at address 0, so that small
 * numbers in mem entries resolve. One machine lives for the whole run and is reset for every input: what a reset leaves behind is
 * found, too.
 *
 *   step: u8 what, u8 response bytes / 8, u16 length, then length bytes
 *   what & 7: 0 control queue, 1 cursor queue, 2 the last control request again, 3 memory goes or comes, 4 queue reset,
 *             5 time passes, 6 the output wants pixels or not, 7 driver features (the bytes)
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <vitrine/gpu.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "display/display.h"
#include "virtio/device.h"
#include "vring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	RAM_SIZE = 1 << 20,
	RINGS = RAM_SIZE - 0x8000, /* rings, then requests; the guest's pixels are below */
	REQUESTS = RAM_SIZE - 0x6000,
	QUEUE_SIZE = 64,
	MAX_STEPS = 64,
};

/* ---- a display that shows everything at once, and looks at it ---- */

struct sink {
	struct vtr_display base;
	atomic_uint demand;
	atomic_uint seen; /* so that the pixels are really read */
};

static void sink_frame(struct vtr_display *base, struct vtr_output *output)
{
	struct sink *sink = (struct sink *)base;
	struct vtr_frame *frame = vtr_output_take_frame(output);

	if (!frame)
		return;
	if (frame->content == VTR_FRAME_PIXELS)
		for (uint32_t y = 0; y < frame->height; y++) {
			const uint8_t *row = (const uint8_t *)frame->pixels + (size_t)y * frame->stride;

			atomic_fetch_add(&sink->seen, row[0] + row[frame->width * 4 - 1]);
		}
	vtr_frame_finish(frame, vtr_now_ns());
	vtr_output_set_demand(output, atomic_load(&sink->demand));
}

static int sink_attach(struct vtr_display *base, struct vtr_output *output)
{
	return 0;
}

static void sink_detach(struct vtr_display *base, struct vtr_output *output)
{
}

static void sink_capture(struct vtr_display *base, struct vtr_output *output, struct vtr_capture *capture)
{
	struct vtr_error error;

	vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "not here");
	vtr_capture_finish(capture, NULL, 0, &error);
}

static bool sink_accepts(struct vtr_display *base, uint32_t format, uint64_t modifier, struct vtr_error *error)
{
	return true;
}

static void sink_destroy(struct vtr_display *base)
{
}

static const struct vtr_display_impl sink_impl = {
	.name = "sink",
	.attach = sink_attach,
	.detach = sink_detach,
	.frame = sink_frame,
	.capture = sink_capture,
	.accepts = sink_accepts,
	.destroy = sink_destroy,
};

/* ---- the machine ---- */

static struct machine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct sink sink;
	struct vtr_outputs *outputs;
	struct vtr_gpu *gpu;
	struct vtr_virtio_device *device;
	struct guest_ram ram;
	struct vring_driver rings[2];
	uint16_t next[2];
	bool low_memory; /* [0, RINGS) is there */
	struct {
		uint8_t bytes[4096];
		uint16_t length;
	} last;
} machine;

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void add_low_memory(void)
{
	must(vtr_memory_add(machine.memory, 0, RINGS, dup(machine.ram.fd), 0, true) == 0);
	machine.low_memory = true;
}

static void machine_create(void)
{
	struct vtr_mode mode = { 640, 480, 0 };

	vtr_log_set_level(VTR_LOG_ERROR);
	machine.loop = vtr_loop_create();
	machine.memory = vtr_memory_create();
	guest_ram_init(&machine.ram, 0, RAM_SIZE);
	must(vtr_memory_add(machine.memory, RINGS, RAM_SIZE - RINGS, dup(machine.ram.fd), RINGS, true) == 0);
	must(vtr_display_init(&machine.sink.base, &sink_impl) == 0);
	machine.outputs = vtr_outputs_create();
	for (int i = 0; i < 2; i++)
		must(vtr_outputs_add(machine.outputs, &machine.sink.base, &mode, NULL));
	machine.gpu =
		vtr_gpu_create(machine.loop, machine.memory, machine.outputs, &(struct vtr_gpu_options){ .max_hostmem = 64 << 20 });
	must(machine.gpu);
	machine.device = vtr_gpu_virtio(machine.gpu);
}

static void start_queue(unsigned index)
{
	struct vtr_virtqueue *queue = &machine.device->queues[index];
	struct vring_driver *ring = &machine.rings[index];
	uint64_t at = RINGS + index * 0x1000;

	memset(guest_ram_at(&machine.ram, at), 0, 0x1000);
	vring_driver_init(ring, &machine.ram, at, QUEUE_SIZE);
	machine.next[index] = 0;
	queue->size = QUEUE_SIZE;
	queue->desc = ring->desc;
	queue->avail = ring->avail;
	queue->used = ring->used;
	vtr_virtio_enable_queue(machine.device, index);
}

static void start_device(uint64_t features)
{
	const uint8_t alive = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	vtr_virtio_reset(machine.device);
	if (!machine.low_memory)
		add_low_memory();
	vtr_virtio_set_status(machine.device, alive);
	vtr_virtio_set_driver_features(machine.device, features);
	vtr_virtio_set_status(machine.device, alive | VIRTIO_CONFIG_S_FEATURES_OK);
	start_queue(0);
	start_queue(1);
	vtr_virtio_set_status(machine.device, alive | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* ---- steps ---- */

static void run(void)
{
	for (int i = 0; i < 4; i++)
		vtr_loop_dispatch(machine.loop, 0);
}

static void request(unsigned index, const uint8_t *bytes, uint16_t length, uint32_t room)
{
	struct vring_driver *ring = &machine.rings[index];
	uint16_t head = machine.next[index];
	uint64_t at = REQUESTS + index * 0x3000;

	if (head + 2 > QUEUE_SIZE)
		return;
	machine.next[index] += 2;
	memcpy(guest_ram_at(&machine.ram, at), bytes, length);
	vring_put_desc(ring, ring->desc, head, at, length, room ? VRING_DESC_F_NEXT : 0, (uint16_t)(head + 1));
	if (room)
		vring_put_desc(ring, ring->desc, head + 1u, at + 0x2000, room, VRING_DESC_F_WRITE, 0);
	vring_publish(ring, head);
	vtr_virtio_kick(machine.device, index);
	run();
}

static void toggle_memory(void)
{
	if (!machine.low_memory) {
		add_low_memory();
		return;
	}
	must(vtr_memory_remove(machine.memory, 0, RINGS) == 0);
	machine.low_memory = false;
}

static uint64_t read_features(const uint8_t *bytes, uint16_t length)
{
	uint64_t features = 0;

	memcpy(&features, bytes, length < sizeof(features) ? length : sizeof(features));
	return features | UINT64_C(1) << VIRTIO_F_VERSION_1;
}

static void step(uint8_t what, uint32_t room, const uint8_t *bytes, uint16_t length)
{
	switch (what & 7) {
	case 0:
		machine.last.length = length;
		memcpy(machine.last.bytes, bytes, length);
		request(0, bytes, length, room);
		break;
	case 1:
		request(1, bytes, length, room);
		break;
	case 2:
		request(0, machine.last.bytes, machine.last.length, room);
		break;
	case 3:
		toggle_memory();
		break;
	case 4:
		vtr_virtio_reset_queue(machine.device, what >> 3 & 1);
		start_queue(what >> 3 & 1);
		break;
	case 5:
		vtr_loop_dispatch(machine.loop, 1);
		break;
	case 6:
		atomic_store(&machine.sink.demand, (unsigned)(what >> 3) % (VTR_DEMAND_PIXELS + 1));
		break;
	case 7:
		start_device(read_features(bytes, length));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vtr_gpu_status status;

	if (!machine.loop)
		machine_create();
	start_device(UINT64_C(1) << VIRTIO_F_VERSION_1 | 1u << VIRTIO_GPU_F_EDID | 1u << VIRTIO_GPU_F_RESOURCE_UUID |
	             1u << VIRTIO_GPU_F_RESOURCE_BLOB);
	machine.last.length = 0;
	for (int i = 0; i < MAX_STEPS && size >= 4; i++) {
		uint16_t length = (uint16_t)(data[2] | data[3] << 8);

		if (length > sizeof(machine.last.bytes))
			length = sizeof(machine.last.bytes);
		if (length > size - 4)
			length = (uint16_t)(size - 4);
		step(data[0], data[1] * 8u, data + 4, length);
		data += 4 + length;
		size -= 4u + length;
	}
	vtr_virtio_reset(machine.device);
	run();
	vtr_gpu_status(machine.gpu, &status);
	must(status.resources == 0 && status.entries == 0 && status.hostmem == 0);
	return 0;
}
