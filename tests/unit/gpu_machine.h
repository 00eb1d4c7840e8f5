/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_GPU_MACHINE_H
#define TESTS_UNIT_GPU_MACHINE_H

/*
 * A gpu device with memory, queues and outputs, driven without a transport: rings in a memfd, the device core called directly. The
 * guest's memory begins at address 0, so that small numbers in mem entries resolve, and comes in two regions: pixels below, which
 * may go and come, rings and requests above.
 */
#include <glib.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <stdatomic.h>

#include <vitrine/gpu.h>
#include <vitrine/loop.h>

#include "display/output.h"
#include "rows.h"
#include "virtio/device.h"
#include "vring.h"

enum {
	GPU_RAM = 4 << 20,
	GPU_RINGS = GPU_RAM - 0x180000, /* two of GPU_RING bytes, then requests; pixels are below */
	GPU_RING = 0x2000,
	GPU_REQUESTS = GPU_RINGS + 2 * GPU_RING,
	GPU_REQUEST = 0x1000, /* bytes of a request, and of the room for its answer */
	GPU_SLOTS = 32,       /* requests of a queue, by turns; the control queue has 128 */
};

static const uint64_t gpu_features = UINT64_C(1) << VIRTIO_F_VERSION_1 | 1u << VIRTIO_GPU_F_EDID |
                                     1u << VIRTIO_GPU_F_RESOURCE_UUID | 1u << VIRTIO_GPU_F_RESOURCE_BLOB;

/* ---- a display that does what the test says ---- */

struct gpu_display {
	struct vtr_display base;
	atomic_uint stuck;           /* bit per output: its frames stay where they are */
	atomic_uint hidden;          /* bit per output: its frames are given up */
	atomic_uint demand;          /* enum vtr_output_demand, of an output from its next frame on */
	atomic_bool no_dmabuf;       /* says so when it is asked */
	atomic_uint refuse;          /* bit per enum vtr_path: such dmabufs it cannot import, */
	atomic_uint owner;           /* and whose fault that is (enum vtr_error_owner); NONE: the host's */
	atomic_bool asleep;          /* its thread does nothing, with the frame in its hands */
	atomic_bool mute;            /* it answers no capture, */
	struct vtr_capture *capture; /* such as this one: a test makes one at most */
	atomic_uint attached;
	atomic_uint contents;                          /* bit per enum vtr_frame_content that was seen */
	atomic_uint buffers;                           /* frames with a dmabuf */
	atomic_uint tried[VTR_PATH_COUNT];             /* of these */
	_Atomic uint64_t offset;                       /* the last one's */
	struct vtr_display_impl impl;                  /* its own, so that a test may change it before it begins */
	_Atomic(void *) egl_display;                   /* whose textures it takes; NULL: none */
	struct vtr_frame last;                         /* as it came; nothing that it points to is there any more */
	_Atomic uint32_t pixel[VTR_MAX_SCANOUTS];      /* the first one of the last frame that was shown, */
	_Atomic uint32_t last_pixel[VTR_MAX_SCANOUTS]; /* and the last one */
	_Atomic uint32_t damaged;                      /* rows from the first to the last one that it damaged */
};

static inline struct gpu_display *gpu_display_from(struct vtr_display *display)
{
	return (struct gpu_display *)display;
}

/* The dmabufs of tests are memfds. */
static inline uint32_t gpu_display_read(const struct vtr_frame *frame, uint64_t offset)
{
	uint32_t pixel = 0;

	if (frame->content == VTR_FRAME_BUFFER && vtr_buffer_fd(frame->buffer) < 0)
		return 0; /* a texture */
	if (frame->content == VTR_FRAME_PIXELS)
		memcpy(&pixel, (const uint8_t *)frame->pixels + offset, sizeof(pixel));
	else if (pread(vtr_buffer_fd(frame->buffer), &pixel, sizeof(pixel), (off_t)(frame->offset + offset)) != sizeof(pixel))
		return 0xdeadbeef;
	return pixel;
}

static inline void gpu_display_look(struct gpu_display *display, const struct vtr_frame *frame)
{
	uint64_t last = (uint64_t)frame->stride * (frame->height - 1) + (uint64_t)(frame->width - 1) * 4;
	uint32_t index = frame->output->index;

	atomic_store(&display->pixel[index], gpu_display_read(frame, 0));
	atomic_store(&display->last_pixel[index], gpu_display_read(frame, last));
	const pixman_box32_t *damage = pixman_region32_extents((pixman_region32_t *)&frame->damage);
	atomic_store(&display->damaged, (uint32_t)(damage->y2 - damage->y1));
}

/* False when it is refused. */
static inline bool gpu_display_import(struct gpu_display *display, struct vtr_frame *frame)
{
	enum vtr_path path = vtr_buffer_path(frame->buffer);
	struct vtr_error error;

	atomic_fetch_add(&display->buffers, 1);
	atomic_fetch_add(&display->tried[path], 1);
	atomic_store(&display->offset, frame->offset);
	if (!(atomic_load(&display->refuse) & 1u << path))
		return true;
	vtr_error_set(&error, atomic_load(&display->owner) ? atomic_load(&display->owner) : VTR_ERROR_HOST, EINVAL,
	              "no import after all");
	vtr_frame_import_failed(frame, &error);
	return false;
}

static inline void gpu_display_frame(struct vtr_display *base, struct vtr_output *output)
{
	struct gpu_display *display = gpu_display_from(base);
	struct vtr_frame *frame = atomic_load(&display->stuck) & 1u << output->index ? NULL : vtr_output_take_frame(output);

	if (!frame)
		return;
	display->last = *frame;
	while (atomic_load(&display->asleep))
		g_usleep(1000);
	if (atomic_load(&display->hidden) & 1u << output->index) {
		vtr_frame_finish(frame, 0);
		return;
	}
	bool shown = frame->content != VTR_FRAME_BUFFER || gpu_display_import(display, frame);
	if (shown && (frame->content == VTR_FRAME_PIXELS || frame->content == VTR_FRAME_BUFFER))
		gpu_display_look(display, frame);
	atomic_fetch_or(&display->contents, 1u << frame->content);
	vtr_frame_finish(frame, shown ? vtr_now_ns() : 0);
	vtr_output_set_demand(output, atomic_load(&display->demand));
}

static inline int gpu_display_attach(struct vtr_display *base, struct vtr_output *output)
{
	vtr_output_set_demand(output, atomic_load(&gpu_display_from(base)->demand));
	atomic_fetch_add(&gpu_display_from(base)->attached, 1);
	return 0;
}

static inline void gpu_display_detach(struct vtr_display *base, struct vtr_output *output)
{
	struct gpu_display *display = gpu_display_from(base);

	if (display->capture)
		vtr_capture_give_back(display->capture);
	display->capture = NULL;
}

static inline void gpu_display_capture(struct vtr_display *base, struct vtr_output *output, struct vtr_capture *capture)
{
	struct vtr_error error;

	if (atomic_load(&gpu_display_from(base)->mute)) {
		gpu_display_from(base)->capture = capture;
		return;
	}
	vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no captures");
	vtr_capture_finish(capture, NULL, 0, &error);
}

static inline bool gpu_display_accepts(struct vtr_display *base, const struct vtr_output *output, uint32_t format,
                                       uint64_t modifier, struct vtr_error *error)
{
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no dmabufs");
	return !atomic_load(&gpu_display_from(base)->no_dmabuf);
}

static inline bool gpu_display_accepts_texture(struct vtr_display *base, void *egl_display, struct vtr_error *error)
{
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no such textures");
	return egl_display == atomic_load(&gpu_display_from(base)->egl_display);
}

static inline void gpu_display_destroy(struct vtr_display *base)
{
	/* embedded in the machine */
}

static const struct vtr_display_impl gpu_display_impl = {
	.name = "test",
	.attach = gpu_display_attach,
	.detach = gpu_display_detach,
	.frame = gpu_display_frame,
	.capture = gpu_display_capture,
	.accepts = gpu_display_accepts,
	.accepts_texture = gpu_display_accepts_texture,
	.flips = true,
	.destroy = gpu_display_destroy,
};

/* ---- the machine ---- */

struct gpu_machine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct gpu_display display;
	struct vtr_outputs *outputs;
	struct vtr_gpu *gpu;
	struct vtr_virtio_device *device;
	struct guest_ram ram;
	struct vring_driver rings[2];
	unsigned posted[2]; /* requests, since the queue was started */
	bool pixels;        /* the lower region is there */
};

static inline uint8_t *gpu_machine_at(struct gpu_machine *machine, uint64_t address)
{
	return guest_ram_at(&machine->ram, address);
}

/* Maps or unmaps the guest's memory below GPU_RINGS. */
static inline void gpu_machine_map_pixels(struct gpu_machine *machine, bool pixels)
{
	if (pixels == machine->pixels)
		return;
	machine->pixels = pixels;
	if (pixels)
		g_assert_cmpint(vtr_memory_add(machine->memory, 0, GPU_RINGS, dup(machine->ram.fd), 0, true), ==, 0);
	else
		g_assert_cmpint(vtr_memory_remove(machine->memory, 0, GPU_RINGS), ==, 0);
}

/* Runs what is due now. */
static inline void gpu_machine_settle(struct gpu_machine *machine)
{
	for (int i = 0; i < 4; i++)
		vtr_loop_dispatch(machine->loop, 0);
}

static inline void gpu_machine_create(struct gpu_machine *machine, const struct vtr_gpu_options *options, unsigned outputs,
                                      enum vtr_output_demand demand)
{
	struct vtr_mode mode = { 1280, 800, 60000 };

	*machine = (struct gpu_machine){ .loop = vtr_loop_create(), .memory = vtr_memory_create() };
	guest_ram_init(&machine->ram, 0, GPU_RAM);
	g_assert_cmpint(vtr_memory_add(machine->memory, GPU_RINGS, GPU_RAM - GPU_RINGS, dup(machine->ram.fd), GPU_RINGS, true), ==,
	                0);
	gpu_machine_map_pixels(machine, true);
	atomic_store(&machine->display.demand, demand);
	machine->display.impl = gpu_display_impl;
	g_assert_cmpint(vtr_display_init(&machine->display.base, &machine->display.impl), ==, 0);
	machine->outputs = vtr_outputs_create();
	for (unsigned i = 0; i < outputs; i++)
		g_assert_nonnull(vtr_outputs_add(machine->outputs, &machine->display.base, &mode, NULL));
	machine->gpu = vtr_gpu_create(machine->loop, machine->memory, machine->outputs, options);
	g_assert_nonnull(machine->gpu);
	machine->device = vtr_gpu_virtio(machine->gpu);
	while (atomic_load(&machine->display.attached) < outputs)
		vtr_loop_dispatch(machine->loop, 1);
	gpu_machine_settle(machine);
}

/* With the renderer that it has, and another display that has outputs of it; either may be NULL. */
static inline void gpu_machine_destroy_with(struct gpu_machine *machine, struct vtr_renderer *renderer, struct vtr_display *other)
{
	vtr_gpu_destroy(machine->gpu);
	vtr_renderer_destroy(renderer);
	vtr_memory_destroy(machine->memory);
	vtr_display_destroy(other);
	vtr_display_destroy(&machine->display.base);
	vtr_outputs_destroy(machine->outputs);
	vtr_loop_destroy(machine->loop);
	guest_ram_finish(&machine->ram);
}

static inline void gpu_machine_destroy(struct gpu_machine *machine)
{
	gpu_machine_destroy_with(machine, NULL, NULL);
}

static inline unsigned gpu_machine_slots(unsigned queue)
{
	return queue ? GPU_SLOTS : 4 * GPU_SLOTS;
}

static inline void gpu_machine_start_queue(struct gpu_machine *machine, unsigned index)
{
	struct vtr_virtqueue *queue = &machine->device->queues[index];
	struct vring_driver *ring = &machine->rings[index];
	uint64_t at = GPU_RINGS + index * GPU_RING;

	memset(gpu_machine_at(machine, at), 0, GPU_RING);
	queue->size = (uint16_t)(2 * gpu_machine_slots(index));
	vring_driver_init(ring, &machine->ram, at, queue->size);
	machine->posted[index] = 0;
	queue->desc = ring->desc;
	queue->avail = ring->avail;
	queue->used = ring->used;
	vtr_virtio_enable_queue(machine->device, index);
}

/* Resets the device and starts it as a driver does. */
static inline void gpu_machine_start(struct gpu_machine *machine, uint64_t features)
{
	const uint8_t alive = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	vtr_virtio_reset(machine->device);
	vtr_virtio_set_status(machine->device, alive);
	vtr_virtio_set_driver_features(machine->device, features);
	vtr_virtio_set_status(machine->device, alive | VIRTIO_CONFIG_S_FEATURES_OK);
	gpu_machine_start_queue(machine, 0);
	gpu_machine_start_queue(machine, 1);
	vtr_virtio_set_status(machine->device, alive | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Makes a request available, with room bytes for its answer; returns the guest address of that. */
static inline uint64_t gpu_machine_post(struct gpu_machine *machine, unsigned index, const void *request, uint32_t size,
                                        uint32_t room)
{
	struct vring_driver *ring = &machine->rings[index];
	unsigned slot = machine->posted[index]++ % gpu_machine_slots(index);
	uint64_t at = GPU_REQUESTS + (index * gpu_machine_slots(0) + slot) * 2 * (uint64_t)GPU_REQUEST;
	uint16_t head = (uint16_t)(2 * slot);

	g_assert_cmpuint(size, <=, GPU_REQUEST);
	memcpy(gpu_machine_at(machine, at), request, size);
	memset(gpu_machine_at(machine, at + GPU_REQUEST), 0, GPU_REQUEST);
	vring_put_desc(ring, ring->desc, head, at, size, room ? VRING_DESC_F_NEXT : 0, (uint16_t)(head + 1));
	if (room)
		vring_put_desc(ring, ring->desc, head + 1u, at + GPU_REQUEST, room, VRING_DESC_F_WRITE, 0);
	vring_publish(ring, head);
	vtr_virtio_kick(machine->device, index);
	return at + GPU_REQUEST;
}

/* Runs the device until the control queue has n more answers, or the time is over. Returns how many came. */
static inline unsigned gpu_machine_run(struct gpu_machine *machine, unsigned n, unsigned timeout_ms)
{
	uint64_t end = vtr_now_ns() + timeout_ms * UINT64_C(1000000);
	struct vring_used_elem element;
	unsigned got = 0;

	while (got < n && vtr_now_ns() < end) {
		vtr_loop_dispatch(machine->loop, 1);
		while (vring_take_used(&machine->rings[0], &element))
			got++;
	}
	return got;
}

static inline const void *gpu_machine_call(struct gpu_machine *machine, const void *request, uint32_t size)
{
	uint64_t response = gpu_machine_post(machine, 0, request, size, sizeof(struct virtio_gpu_resp_edid));

	g_assert_cmpuint(gpu_machine_run(machine, 1, 2000), ==, 1);
	return gpu_machine_at(machine, response);
}

/* Sends request (a structure) and returns the response's header. */
#define GPU_CALL(machine, request) ((const struct virtio_gpu_ctrl_hdr *)gpu_machine_call(machine, &(request), sizeof(request)))
#define GPU_ASSERT_OK(machine, request) g_assert_cmphex(GPU_CALL(machine, request)->type, ==, VIRTIO_GPU_RESP_OK_NODATA)

/* Runs until condition holds; the test fails after two seconds. */
#define GPU_WAIT(machine, condition)                                                                                               \
	do {                                                                                                                       \
		uint64_t end = vtr_now_ns() + UINT64_C(2000000000);                                                                \
                                                                                                                                   \
		while (!(condition)) {                                                                                             \
			g_assert_cmpuint(vtr_now_ns(), <, end);                                                                    \
			vtr_loop_dispatch((machine)->loop, 1);                                                                     \
		}                                                                                                                  \
	} while (0)

/* Lets an output go on that was stuck. */
static inline void gpu_machine_unstick(struct gpu_machine *machine, unsigned output)
{
	atomic_fetch_and(&machine->display.stuck, ~(1u << output));
	vtr_display_mail(vtr_outputs_get(machine->outputs, output), VTR_MAIL_FRAME);
}

static inline struct vtr_scanout_status gpu_machine_status(struct gpu_machine *machine, unsigned scanout)
{
	struct vtr_scanout_status status;

	g_assert_true(vtr_gpu_scanout_status(machine->gpu, scanout, &status));
	return status;
}

/* ---- a small picture, and the commands that show it ---- */

enum { GPU_WIDTH = 64, GPU_HEIGHT = 32, GPU_STRIDE = GPU_WIDTH * 4, GPU_BYTES = GPU_HEIGHT * GPU_STRIDE };

struct gpu_blob_request {
	struct virtio_gpu_resource_create_blob blob;
	struct virtio_gpu_mem_entry entry;
};

static inline struct gpu_blob_request gpu_create_blob(uint32_t id, uint64_t address)
{
	return (struct gpu_blob_request){
		.blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		          .resource_id = id,
		          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		          .nr_entries = 1,
		          .size = GPU_BYTES },
		.entry = { .addr = address, .length = GPU_BYTES },
	};
}

static inline struct virtio_gpu_set_scanout_blob gpu_set_scanout_blob(uint32_t scanout, uint32_t id)
{
	return (struct virtio_gpu_set_scanout_blob){
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
		.r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		.scanout_id = scanout,
		.resource_id = id,
		.width = GPU_WIDTH,
		.height = GPU_HEIGHT,
		.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.strides = { GPU_STRIDE },
	};
}

static inline struct virtio_gpu_resource_create_2d gpu_create_2d(uint32_t id)
{
	return (struct virtio_gpu_resource_create_2d){
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
		.resource_id = id,
		.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.width = GPU_WIDTH,
		.height = GPU_HEIGHT,
	};
}

static inline struct virtio_gpu_resource_flush gpu_flush(uint32_t id, uint64_t fence)
{
	return (struct virtio_gpu_resource_flush){
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = fence ? VIRTIO_GPU_FLAG_FENCE : 0, .fence_id = fence },
		.r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		.resource_id = id,
	};
}

/* The picture at address in one grey: every byte is value. */
static inline void gpu_machine_paint(struct gpu_machine *machine, uint64_t address, uint8_t value)
{
	memset(gpu_machine_at(machine, address), value, GPU_BYTES);
}

/* A blob over address, on the scanout. */
static inline void gpu_machine_show_blob(struct gpu_machine *machine, uint32_t scanout, uint32_t id, uint64_t address)
{
	struct gpu_blob_request create = gpu_create_blob(id, address);
	struct virtio_gpu_set_scanout_blob set = gpu_set_scanout_blob(scanout, id);

	GPU_ASSERT_OK(machine, create);
	GPU_ASSERT_OK(machine, set);
}

/* Flushes with a fence and waits for the answer. */
static inline void gpu_machine_flush(struct gpu_machine *machine, uint32_t id)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(id, 1);

	GPU_ASSERT_OK(machine, flush);
}

#endif
