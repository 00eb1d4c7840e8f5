/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: commands to the gpu device. The input is a list of steps. One machine lives for the whole run and is reset for every
 * input: what a reset leaves behind is found, too. An assigned device (unit/fake_vfio.h, which holds the device model to the rules
 * of the kernel) has BAR 0 at 0xfe000000, announced without an fd, and BAR 2 at 0x800000000, announced as a dmabuf. 3D is drawn by
 * nobody (strict_renderer.h, which holds the device model to what renderer.h wants of it).
 *
 *   step: u8 what, u8 response bytes / 8, u16 length, then length bytes
 *   what & 7: 0 control queue, 1 cursor queue, 2 the last control request again, 3 something goes or comes (struct toggle), 4 queue
 *             reset, 5 time passes, 6 the output wants pixels or not, 7 driver features (the bytes)
 */
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <vitrine/log.h>

#include "fake_vfio.h"
#include "gpu/gpu.h"
#include "gpu_machine.h"
#include "strict_renderer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int fstatfs(int fd, struct statfs *info);

enum { MAX_STEPS = 64, BAR0_SIZE = 1 << 20, BAR2_SIZE = 64 << 20 };
#define BAR0 UINT64_C(0xfe000000)
#define BAR2 UINT64_C(0x800000000)

static struct gpu_machine machine;
static struct {
	uint8_t bytes[GPU_REQUEST];
	uint16_t length;
} last;

/* ---- an assigned device ---- */

static struct {
	struct vtr_vfio_devices *list;
	struct vtr_vfio_device *device; /* NULL: not in the list */
	int window;                     /* BAR 2, which calls itself a dmabuf */
	ino_t inode;
	bool bar[3]; /* in the map */
	uint64_t now_ns;
} assigned;

int fstatfs(int fd, struct statfs *info)
{
	struct stat file;
	int result = (int)syscall(SYS_fstatfs, fd, info);

	if (result == 0 && assigned.inode && fstat(fd, &file) == 0 && file.st_ino == assigned.inode)
		info->f_type = DMA_BUF_MAGIC;
	return result;
}

static int export_ranges(const struct vtr_vfio_feature_dma_buf *dma_buf)
{
	uint64_t bytes = 0;
	int fd = memfd_create("dmabuf", MFD_CLOEXEC);

	for (uint32_t i = 0; i < dma_buf->nr_ranges; i++)
		bytes += dma_buf->dma_ranges[i].length;
	g_assert_cmpint(ftruncate(fd, (off_t)bytes), ==, 0);
	return fd;
}

static int read_nothing(void *data, uint64_t address, void *buffer, size_t length)
{
	memset(buffer, 0, length);
	return 0;
}

static int write_nothing(void *data, uint64_t address, const void *buffer, size_t length)
{
	return -EACCES;
}

static const struct vtr_remote_impl nothing = { .read = read_nothing, .write = write_nothing };

static uint64_t slow_clock(void)
{
	return assigned.now_ns;
}

static void map_bar(unsigned bar, bool mapped)
{
	uint64_t address = bar ? BAR2 : BAR0, size = bar ? BAR2_SIZE : BAR0_SIZE;

	if (assigned.bar[bar] == mapped)
		return;
	assigned.bar[bar] = mapped;
	if (mapped)
		g_assert_cmpint(vtr_memory_add(machine.memory, address, size, bar ? dup(assigned.window) : -1, 0, true), ==, 0);
	else
		g_assert_cmpint(vtr_memory_remove(machine.memory, address, size), ==, 0);
}

static void assign(bool wanted)
{
	if (wanted == (assigned.device != NULL))
		return;
	if (wanted) {
		assigned.device = fake_open();
		vtr_vfio_devices_add(assigned.list, assigned.device);
		vtr_gpu_devices_changed(machine.gpu);
		return;
	}
	vtr_vfio_devices_remove(assigned.list, assigned.device);
	vtr_gpu_devices_changed(machine.gpu);
	vtr_vfio_device_destroy(assigned.device);
	assigned.device = NULL;
}

static struct {
	struct strict_renderer *renderer;
	bool later, exports;
} three_d;

/* What a fuzzing step 3 does, by its upper bits. */
enum toggle {
	PIXELS, /* guest RAM below the rings */
	TOGGLE_BAR0,
	TOGGLE_BAR2,
	DECODING,
	DEVICE,
	EXPORT_FAILS,
	IMPORT_FAILS,    /* for any reason but */
	IMPORT_REVOKED,  /* this one */
	DISPLAY_CHANGES, /* it is another one */
	ANSWERS_LATER,   /* the renderer, from now on, or at once again */
	RENDERER_FAILS,  /* at its next call */
	RENDERER_ANSWERS,
	RENDERER_LOST,
	EXPORTS, /* the renderer gives dmabufs, or does not */
	TOGGLES,
};

static void toggle(enum toggle what)
{
	struct gpu_display *display = &machine.display;

	switch (what) {
	case PIXELS:
		gpu_machine_map_pixels(&machine, !machine.pixels);
		break;
	case TOGGLE_BAR0:
		map_bar(0, !assigned.bar[0]);
		break;
	case TOGGLE_BAR2:
		map_bar(2, !assigned.bar[2]);
		break;
	case DECODING:
		fake_decoding(!(fake.config[PCI_COMMAND] & PCI_COMMAND_MEMORY));
		break;
	case DEVICE:
		assign(!assigned.device);
		break;
	case EXPORT_FAILS:
		fake.get_error = fake.get_error ? 0 : ENODEV;
		break;
	case IMPORT_FAILS:
	case IMPORT_REVOKED:
		atomic_store(&display->owner, what == IMPORT_REVOKED ? VTR_ERROR_REVOKED : VTR_ERROR_HOST);
		atomic_store(&display->refuse, ~atomic_load(&display->refuse));
		break;
	case DISPLAY_CHANGES:
		vtr_scanout_display_changed(machine.gpu, &machine.gpu->scanouts[0]);
		break;
	case ANSWERS_LATER:
		three_d.later = !three_d.later;
		strict_answer_later(three_d.renderer, three_d.later);
		break;
	case RENDERER_FAILS:
		strict_fail(three_d.renderer, -EINVAL);
		break;
	case RENDERER_ANSWERS:
		strict_answer(three_d.renderer, 1);
		break;
	case RENDERER_LOST:
		strict_lose(three_d.renderer);
		break;
	case EXPORTS:
		three_d.exports = !three_d.exports;
		strict_export(three_d.renderer, three_d.exports);
		break;
	case TOGGLES:
		break;
	}
}

/* Everything as it is at the beginning. */
static void settle(void)
{
	fake_reset();
	fake.get = export_ranges;
	assign(true);
	map_bar(0, true);
	map_bar(2, true);
	gpu_machine_map_pixels(&machine, true);
	atomic_store(&machine.display.refuse, 0);
	three_d.later = three_d.exports = false;
	strict_answer_later(three_d.renderer, false);
	strict_export(three_d.renderer, false);
	strict_fail(three_d.renderer, 0);
}

/* ---- the steps ---- */

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

/* The VMM dies: nothing but pictures is left. */
static void abandon(void)
{
	const struct vtr_resource_table *resources = &machine.gpu->resources;

	vtr_virtio_abandon(machine.device);
	g_assert_true(!resources->entries && !resources->spans && !resources->hostmem && !resources->buffers);
	g_assert_cmpuint(resources->count, <=, machine.gpu->n_scanouts);
	gpu_machine_settle(&machine);
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
		toggle((enum toggle)((unsigned)(what >> 3) % TOGGLES));
		break;
	case 4:
		vtr_virtio_reset_queue(machine.device, what >> 3 & 1);
		gpu_machine_start_queue(&machine, what >> 3 & 1);
		break;
	case 5:
		assigned.now_ns += UINT64_C(1000000000) * (what >> 3);
		vtr_loop_dispatch(machine.loop, 1);
		break;
	case 6:
		atomic_store(&machine.display.demand, (unsigned)(what >> 3) % (VTR_DEMAND_PIXELS + 1));
		break;
	case 7:
		if (what >> 3 & 1)
			abandon();
		gpu_machine_start(&machine, read_features(bytes, length));
		break;
	}
}

static void create(void)
{
	struct vtr_gpu_options options = { .max_hostmem = 64 << 20 };
	struct stat file;

	vtr_log_set_level(VTR_LOG_ERROR);
	assigned.list = vtr_vfio_devices_create();
	assigned.window = memfd_create("window", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(assigned.window, BAR2_SIZE), ==, 0);
	g_assert_cmpint(fstat(assigned.window, &file), ==, 0);
	assigned.inode = file.st_ino;
	three_d.renderer = strict_create();
	options.renderer = strict_renderer(three_d.renderer);
	options.devices = assigned.list;
	gpu_machine_create(&machine, &options, 2, VTR_DEMAND_NONE);
	machine.gpu->now_ns = slow_clock;
	vtr_memory_set_remote(machine.memory, &nothing, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vtr_gpu_status status;

	if (!machine.loop)
		create();
	settle();
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
	strict_answer(three_d.renderer, UINT_MAX);
	gpu_machine_settle(&machine);
	g_assert_cmpuint(strict_alive(three_d.renderer), ==, 0);
	vtr_gpu_status(machine.gpu, &status);
	g_assert_true(status.resources == 0 && status.entries == 0 && status.hostmem == 0);
	g_assert_cmpuint(machine.gpu->resources.buffers, ==, 0);
	return 0;
}
