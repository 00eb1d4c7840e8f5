/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: commands to the gpu device. The input is a list of steps. One machine lives for the whole run and is reset for every
 * input: what a reset leaves behind is found, too.
 *
 *   step: u8 what, u8 response bytes / 8, u16 length, then length bytes
 *   what & 7: 0 control queue, 1 cursor queue, 2 the last control request again, 3 memory goes or comes, 4 queue reset,
 *             5 time passes, 6 the output wants pixels or not, 7 driver features (the bytes)
 */
#include <vitrine/log.h>

#include "gpu_machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STEPS = 64 };

static struct gpu_machine machine;
static struct {
	uint8_t bytes[GPU_REQUEST];
	uint16_t length;
} last;

static void request(unsigned queue, const uint8_t *bytes, uint16_t length, uint32_t room)
{
	gpu_machine_post(&machine, queue, bytes, length, room);
	gpu_machine_settle(&machine);
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
		last.length = length;
		memcpy(last.bytes, bytes, length);
		request(0, bytes, length, room);
		break;
	case 1:
		request(1, bytes, length, room);
		break;
	case 2:
		request(0, last.bytes, last.length, room);
		break;
	case 3:
		gpu_machine_map_pixels(&machine, !machine.pixels);
		break;
	case 4:
		vtr_virtio_reset_queue(machine.device, what >> 3 & 1);
		gpu_machine_start_queue(&machine, what >> 3 & 1);
		break;
	case 5:
		vtr_loop_dispatch(machine.loop, 1);
		break;
	case 6:
		atomic_store(&machine.display.demand, (unsigned)(what >> 3) % (VTR_DEMAND_PIXELS + 1));
		break;
	case 7:
		gpu_machine_start(&machine, read_features(bytes, length));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vtr_gpu_status status;

	if (!machine.loop) {
		vtr_log_set_level(VTR_LOG_ERROR);
		gpu_machine_create(&machine, &(struct vtr_gpu_options){ .max_hostmem = 64 << 20 }, 2, VTR_DEMAND_NONE);
	}
	gpu_machine_map_pixels(&machine, true);
	gpu_machine_start(&machine, gpu_features);
	last.length = 0;
	for (int i = 0; i < MAX_STEPS && size >= 4; i++) {
		uint16_t length = (uint16_t)(data[2] | data[3] << 8);

		if (length > sizeof(last.bytes))
			length = sizeof(last.bytes);
		if (length > size - 4)
			length = (uint16_t)(size - 4);
		step(data[0], data[1] * 8u, data + 4, length);
		data += 4 + length;
		size -= 4u + length;
	}
	vtr_virtio_reset(machine.device);
	gpu_machine_settle(&machine);
	vtr_gpu_status(machine.gpu, &status);
	g_assert_true(status.resources == 0 && status.entries == 0 && status.hostmem == 0);
	return 0;
}
