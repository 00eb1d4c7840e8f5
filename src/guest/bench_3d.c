/* SPDX-License-Identifier: MIT */
/*
 * What 3D costs beside the drawing: a target is cleared, which is as little as can be drawn, and then nothing else, or read back,
 * or shown; each as fast as the fences of one after the other allow. Then a picture stays, and nobody should wake up.
 *
 * What is drawn in software is drawn by threads of whoever draws, the device's or those of its renderer's process, and counts
 * there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vitrine/loop.h>

#include "guest/bench.h"
#include "guest/command.h"
#include "guest/command_3d.h"
#include "guest/machine.h"
#include "guest/status.h"
#include "guest/usage.h"

enum {
	CTX = 1,
	TARGETS = 2,
	FIRST_ID = 1, /* of targets, and of their surfaces */
	WIDTH = 1280,
	HEIGHT = 800,
	WARM_UP = 10, /* frames */
	NS_PER_MS = 1000000,
	RUN_MS = 2000,
	SETTLE_MS = 300,
	IDLE_MS = 1000,
	MAX_REQUESTS = 3,
	ROOM = 256, /* bytes of a request */
};

struct scene {
	struct vtr_bench *bench;
	uint32_t renderer; /* the process that draws, where it is not the device's; 0: none */
	struct request {
		uint8_t bytes[ROOM];
		size_t size;
	} requests[MAX_REQUESTS];
	size_t n;
};

/* Requests of one frame, in their order. */
struct way {
	const char *name;
	void (*fill)(struct scene *scene, uint32_t frame);
	bool shows;
};

static void put(struct scene *scene, const void *bytes, size_t size)
{
	memcpy(scene->requests[scene->n].bytes, bytes, size);
	scene->requests[scene->n++].size = size;
}

static struct virtio_gpu_ctrl_hdr header_of(struct scene *scene, uint32_t type, bool fenced)
{
	return (struct virtio_gpu_ctrl_hdr){ .type = type,
		                             .flags = fenced ? VIRTIO_GPU_FLAG_FENCE : 0,
		                             .fence_id = fenced ? ++scene->bench->guest->fence : 0,
		                             .ctx_id = type == VIRTIO_GPU_CMD_SUBMIT_3D ? CTX : 0 };
}

static uint32_t target_of(uint32_t frame)
{
	return FIRST_ID + frame % TARGETS;
}

static void put_clear(struct scene *scene, uint32_t frame, bool fenced)
{
	struct vtr_virgl_stream stream = { 0 };

	vtr_virgl_framebuffer(&stream, target_of(frame));
	vtr_virgl_clear(&stream, (struct vtr_virgl_colour){ (float)(frame % 256) / 255, 0.5f, 1, 1 });
	const struct virtio_gpu_cmd_submit header = { .hdr = header_of(scene, VIRTIO_GPU_CMD_SUBMIT_3D, fenced),
		                                      .size = (uint32_t)vtr_virgl_bytes(&stream) };
	struct request *request = &scene->requests[scene->n++];
	request->size = vtr_command_pack_submit(request->bytes, &header, stream.words, vtr_virgl_bytes(&stream));
}

static void fill_clear(struct scene *scene, uint32_t frame)
{
	put_clear(scene, frame, true);
}

static void fill_read_back(struct scene *scene, uint32_t frame)
{
	put_clear(scene, frame, false);
	const struct virtio_gpu_transfer_host_3d transfer = { .hdr = header_of(scene, VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, true),
		                                              .box = { .w = WIDTH, .h = HEIGHT, .d = 1 },
		                                              .resource_id = target_of(frame) };
	put(scene, &transfer, sizeof(transfer));
}

static void fill_flip(struct scene *scene, uint32_t frame)
{
	const struct virtio_gpu_rect all = { .width = WIDTH, .height = HEIGHT };

	put_clear(scene, frame, false);
	const struct virtio_gpu_set_scanout scanout = { .hdr = header_of(scene, VIRTIO_GPU_CMD_SET_SCANOUT, false),
		                                        .r = all,
		                                        .resource_id = target_of(frame) };
	put(scene, &scanout, sizeof(scanout));
	const struct virtio_gpu_resource_flush flush = { .hdr = header_of(scene, VIRTIO_GPU_CMD_RESOURCE_FLUSH, true),
		                                         .r = all,
		                                         .resource_id = target_of(frame) };
	put(scene, &flush, sizeof(flush));
}

/* ---- frames ---- */

/* Sends a frame and waits for all answers. False: one was no OK, or none. */
static bool play(struct scene *scene, const struct way *way, uint32_t frame)
{
	struct vtr_guest *guest = scene->bench->guest;
	struct vtr_guest_message messages[MAX_REQUESTS];
	uint64_t mark = guest->areas[VTR_GUEST_SYSTEM].used;
	bool passed = true;
	uint32_t written;
	uint16_t head;

	scene->n = 0;
	way->fill(scene, frame);
	for (size_t i = 0; i < scene->n && passed; i++)
		passed = !vtr_guest_post(guest, VTR_GUEST_CONTROL, &messages[i], scene->requests[i].bytes, scene->requests[i].size,
		                         sizeof(struct virtio_gpu_ctrl_hdr));
	passed = passed && !vtr_guest_kick(guest, VTR_GUEST_CONTROL, false);
	for (size_t i = 0; i < scene->n && passed; i++)
		passed = !vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms);
	for (size_t i = 0; i < scene->n && passed; i++) {
		const struct virtio_gpu_ctrl_hdr *response = vtr_guest_data(guest, messages[i].response, sizeof(*response));

		passed = response->type == VIRTIO_GPU_RESP_OK_NODATA;
		if (!passed)
			vtr_guest_fail(guest, EPROTO, "%s", vtr_command_response_name(response->type));
	}
	guest->areas[VTR_GUEST_SYSTEM].used = mark;
	return passed;
}

/* What there is to be counted. */
struct counts {
	uint64_t now_ns, device_ns, renderer_ns;
	int64_t copied; /* below 0: not known */
};

static json_int_t ask_copied(struct vtr_guest *guest)
{
	struct vtr_error error;
	json_t *status = guest->options.control ? vtr_device_status(guest, &error) : NULL;
	json_int_t copied = vtr_device_status_number(status, "scanouts.0.bytes_copied");

	json_decref(status);
	return copied;
}

static struct counts count(const struct scene *scene)
{
	struct counts counts = { .copied = ask_copied(scene->bench->guest) };

	vtr_usage_cpu_ns(scene->bench->pid, &counts.device_ns);
	if (scene->renderer)
		vtr_usage_cpu_ns(scene->renderer, &counts.renderer_ns);
	counts.now_ns = vtr_now_ns();
	return counts;
}

static void tell(const struct scene *scene, const struct way *way, const struct counts *before, uint32_t frames)
{
	struct vtr_bench *bench = scene->bench;
	const struct counts after = count(scene);
	char name[80];

	snprintf(name, sizeof(name), "%s", way->name);
	vtr_bench_add(bench, name, frames * 1e9 / (double)(after.now_ns - before->now_ns), "frames/s");
	snprintf(name, sizeof(name), "%s: device CPU", way->name);
	if (after.device_ns > before->device_ns)
		vtr_bench_add(bench, name, (double)(after.device_ns - before->device_ns) / 1000 / frames, "us");
	else
		vtr_bench_give_up(bench, name, vtr_bench_unknown_process);
	snprintf(name, sizeof(name), "%s: renderer CPU", way->name);
	if (scene->renderer)
		vtr_bench_add(bench, name, (double)(after.renderer_ns - before->renderer_ns) / 1000 / frames, "us");
	snprintf(name, sizeof(name), "%s: copied", way->name);
	if (way->shows && before->copied >= 0 && after.copied >= 0)
		vtr_bench_add(bench, name, (double)(after.copied - before->copied) / frames, "bytes");
}

static bool run_way(struct scene *scene, const struct way *way)
{
	struct counts before;
	uint32_t frame = 0;

	for (; frame < WARM_UP; frame++)
		if (!play(scene, way, frame))
			goto failed;
	before = count(scene);
	while (vtr_now_ns() - before.now_ns < (uint64_t)RUN_MS * NS_PER_MS)
		if (!play(scene, way, frame++))
			goto failed;
	tell(scene, way, &before, frame - WARM_UP);
	return true;
failed:
	vtr_bench_give_up(scene->bench, way->name, vtr_guest_error(scene->bench->guest));
	return false;
}

/* ---- nothing ---- */

static void idle_of(struct scene *scene, const char *name, uint32_t pid, uint64_t before)
{
	uint64_t after;

	if (!vtr_usage_waits(pid, &after))
		vtr_bench_add(scene->bench, name, (double)(after - before) * 1000 / IDLE_MS, "wake-ups/s");
	else
		vtr_bench_give_up(scene->bench, name, vtr_bench_unknown_process);
}

/* The last picture stays. */
static void idle(struct scene *scene)
{
	uint64_t device = 0, renderer = 0;

	vtr_guest_idle(scene->bench->guest, SETTLE_MS);
	vtr_usage_waits(scene->bench->pid, &device);
	if (scene->renderer)
		vtr_usage_waits(scene->renderer, &renderer);
	vtr_guest_idle(scene->bench->guest, IDLE_MS);
	idle_of(scene, "nothing drawn: device", scene->bench->pid, device);
	if (scene->renderer)
		idle_of(scene, "nothing drawn: renderer", scene->renderer, renderer);
}

/* ---- the scene ---- */

static bool make_target(struct vtr_guest *guest, uint32_t id)
{
	const struct vtr_texture texture = { .target = PIPE_TEXTURE_2D,
		                             .format = VIRGL_FORMAT_B8G8R8X8_UNORM,
		                             .bind = VIRGL_BIND_RENDER_TARGET | VIRGL_BIND_SAMPLER_VIEW | VIRGL_BIND_SCANOUT,
		                             .width = WIDTH,
		                             .height = HEIGHT };
	const struct virtio_gpu_mem_entry entry = { vtr_guest_area_alloc(&guest->areas[VTR_GUEST_RAM], WIDTH * HEIGHT * 4, 4096),
		                                    WIDTH * HEIGHT * 4, 0 };
	struct vtr_virgl_stream stream = { 0 };

	vtr_virgl_surface(&stream, id, id, texture.format, 0, 0);
	return vtr_command_create_3d(guest, id, &texture) == VIRTIO_GPU_RESP_OK_NODATA &&
	       vtr_command_attach(guest, id, &entry, 1) == VIRTIO_GPU_RESP_OK_NODATA &&
	       vtr_command_ctx_attach(guest, CTX, id) == VIRTIO_GPU_RESP_OK_NODATA &&
	       vtr_command_submit_stream(guest, CTX, &stream) == VIRTIO_GPU_RESP_OK_NODATA;
}

static bool make_scene(struct vtr_guest *guest)
{
	bool passed = vtr_command_ctx_create(guest, CTX, 0, "bench") == VIRTIO_GPU_RESP_OK_NODATA;

	for (uint32_t i = 0; i < TARGETS && passed; i++)
		passed = make_target(guest, FIRST_ID + i);
	return passed;
}

static uint32_t ask_renderer(struct vtr_guest *guest)
{
	struct vtr_error error;
	json_t *status = guest->options.control ? vtr_device_status(guest, &error) : NULL;
	json_int_t pid = vtr_device_status_number(status, "renderer.pid");

	json_decref(status);
	return pid > 0 ? (uint32_t)pid : 0;
}

void vtr_bench_3d(struct vtr_bench *bench)
{
	static const struct way ways[] = {
		{ "clear", fill_clear },
		{ "clear and read back", fill_read_back },
		{ "clear and flip", fill_flip, true },
	};
	struct scene scene = { .bench = bench };
	bool passed = true;

	if (!(vtr_guest_features(bench->guest) & UINT64_C(1) << VIRTIO_GPU_F_VIRGL)) {
		vtr_bench_give_up(bench, ways[0].name, "the device does not offer VIRGL; start it with: vitrine --3d virgl");
		return;
	}
	if (!make_scene(bench->guest)) {
		vtr_bench_give_up(bench, ways[0].name, "the device refuses a context or a target");
		return;
	}
	scene.renderer = ask_renderer(bench->guest);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && passed; i++)
		passed = run_way(&scene, &ways[i]);
	if (passed)
		idle(&scene);
}
