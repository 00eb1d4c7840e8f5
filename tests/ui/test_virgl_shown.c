/* SPDX-License-Identifier: MIT */
/*
 * What virglrenderer drew, from the guest's commands to what a display shows of it: every pixel, both ways up, whole and in part.
 *
 *     test_virgl_shown KIND [PROGRAM]    headless, sdl, sdl=software or wayland; the renderer in a process of its own, by PROGRAM
 */
#include <poll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vitrine/renderer.h>
#include <vitrine/window.h>

#include "gpu/gpu.h"
#include "gpu_machine.h"
#include "virgl_stream.h"

enum { WIDE = 240, HIGH = 100, PIXELS = 0, CONTEXT = 1 };

static const char *kind, *program;

/* ---- a guest with 3D, and a display ---- */

struct scene {
	struct gpu_machine machine;
	struct vtr_display *display;
	struct vtr_renderer *renderer;
	struct vtr_loop *loop; /* the renderer's; dispatched with the machine's */
	struct vtr_source *forward;
};

static struct vtr_display *create_display(void)
{
	struct vtr_window_options options = { .guest = "test" };
	struct vtr_error error = { 0 };
	struct vtr_display *display;

	if (!strcmp(kind, "headless"))
		return vtr_headless_create();
	options.renderer = strcmp(kind, "sdl=software") ? VTR_RENDERER_AUTO : VTR_RENDERER_SOFTWARE;
	display = strcmp(kind, "wayland") ? vtr_sdl_create(&options, &error) : vtr_wayland_create(NULL, &options, &error);
	if (!display)
		g_error("%s", error.text);
	return display;
}

static void dispatch_renderer(int fd, uint32_t events, void *data)
{
	vtr_loop_dispatch(data, 0);
}

/* The renderer is there before the machine, as in vitrine; its display is the one that shows. */
static void start(struct scene *scene, enum vtr_path forced)
{
	struct vtr_error error = { 0 };

	*scene = (struct scene){ .display = create_display(), .loop = vtr_loop_create() };
	const struct vtr_renderer_options options = {
		.egl_display = program ? NULL : vtr_display_egl(scene->display),
		.isolate = program,
		.program = program,
	};
	scene->renderer = vtr_virgl_create(scene->loop, &options, &error);
	if (!scene->renderer)
		g_error("%s", error.text);
	gpu_machine_create(&scene->machine,
	                   &(struct vtr_gpu_options){ .renderer = scene->renderer, .force_path = forced, .max_hostmem = 256 << 20 },
	                   1, VTR_DEMAND_NONE);
	scene->forward = vtr_loop_add_fd(scene->machine.loop, vtr_loop_fd(scene->loop), POLLIN, dispatch_renderer, scene->loop);
	g_assert_nonnull(scene->forward);
	gpu_machine_start(&scene->machine, gpu_features | 1u << VIRTIO_GPU_F_VIRGL);
	g_assert_cmpint(vtr_output_move(vtr_outputs_get(scene->machine.outputs, 0), scene->display), ==, 0);
	GPU_WAIT(&scene->machine, !strcmp(gpu_machine_status(&scene->machine, 0).display, vtr_display_name(scene->display)));
}

static void finish(struct scene *scene)
{
	vtr_source_remove(scene->forward);
	gpu_machine_destroy_with(&scene->machine, scene->renderer, scene->display);
	vtr_loop_destroy(scene->loop);
}

/* ---- the guest draws ---- */

static uint32_t color(uint32_t x, uint32_t y, uint32_t seed)
{
	return ((x + seed) & 255) << 16 | ((y * 2 + seed) & 255) << 8 | ((x * 3 + y * 7 + seed * 11) & 255);
}

static void create(struct scene *scene, uint32_t id, uint32_t width, uint32_t height, uint32_t flags)
{
	const struct virtio_gpu_resource_create_3d resource = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
		.resource_id = id,
		.target = TARGET_2D,
		.format = FORMAT_B8G8R8X8,
		.bind = BIND_RENDER_TARGET | BIND_SAMPLER_VIEW | BIND_SCANOUT,
		.width = width,
		.height = height,
		.depth = 1,
		.array_size = 1,
		.flags = flags,
	};
	const struct {
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_mem_entry entry;
	} backing = {
		.attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = id, .nr_entries = 1 },
		.entry = { .addr = PIXELS, .length = width * height * 4 < GPU_RINGS ? width * height * 4 : GPU_RINGS },
	};

	GPU_ASSERT_OK(&scene->machine, resource);
	GPU_ASSERT_OK(&scene->machine, backing);
}

/* By a transfer: the guest's first row is the picture's top one, whatever the flag. */
static void upload(struct scene *scene, uint32_t id, uint32_t seed)
{
	const struct virtio_gpu_transfer_host_3d transfer = {
		.hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D,
		.box = { .w = WIDE, .h = HIGH, .d = 1 },
		.resource_id = id,
		.stride = WIDE * 4,
	};
	uint32_t *pixels = (uint32_t *)(void *)gpu_machine_at(&scene->machine, PIXELS);

	for (uint32_t y = 0; y < HIGH; y++)
		for (uint32_t x = 0; x < WIDE; x++)
			pixels[y * WIDE + x] = color(x, y, seed);
	GPU_ASSERT_OK(&scene->machine, transfer);
}

static void create_context(struct scene *scene)
{
	const struct virtio_gpu_ctx_create context = {
		.hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = CONTEXT },
		.nlen = 4,
		.debug_name = "test",
	};

	GPU_ASSERT_OK(&scene->machine, context);
}

static void attach_to_context(struct scene *scene, uint32_t id)
{
	const struct virtio_gpu_ctx_resource attach = {
		.hdr = { .type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, .ctx_id = CONTEXT },
		.resource_id = id,
	};

	GPU_ASSERT_OK(&scene->machine, attach);
}

static void submit(struct scene *scene, const struct virgl_stream *stream)
{
	struct {
		struct virtio_gpu_cmd_submit submit;
		uint32_t words[64];
	} command = { .submit = { .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = CONTEXT },
		                  .size = (uint32_t)stream->count * 4 } };

	g_assert_cmpuint(stream->count, <=, G_N_ELEMENTS(command.words));
	memcpy(command.words, stream->words, stream->count * 4);
	GPU_ASSERT_OK(&scene->machine, command);
}

static void show(struct scene *scene, uint32_t id, struct virtio_gpu_rect r)
{
	const struct virtio_gpu_set_scanout set = {
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		.r = r,
		.resource_id = id,
	};

	GPU_ASSERT_OK(&scene->machine, set);
}

/* fence 0: it does not wait for the display. */
static void flush(struct scene *scene, uint32_t id, struct virtio_gpu_rect r, uint64_t fence)
{
	const struct virtio_gpu_resource_flush command = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = fence ? VIRTIO_GPU_FLAG_FENCE : 0, .fence_id = fence },
		.r = r,
		.resource_id = id,
	};

	GPU_ASSERT_OK(&scene->machine, command);
}

/* ---- what is shown ---- */

struct answer {
	bool called;
	struct vtr_picture picture;
	uint32_t *pixels;
};

static void answered(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct answer *answer = data;

	if (error)
		g_error("%s", error->text);
	answer->called = true;
	answer->picture = *picture;
	answer->pixels = mmap(NULL, (size_t)picture->stride * picture->height, PROT_READ, MAP_SHARED, picture->fd, 0);
	g_assert_true(answer->pixels != MAP_FAILED);
	close(picture->fd);
}

static void take_picture(struct scene *scene, struct answer *answer)
{
	uint64_t end = vtr_now_ns() + UINT64_C(30000000000);

	*answer = (struct answer){ 0 };
	g_assert_nonnull(vtr_output_capture(vtr_outputs_get(scene->machine.outputs, 0), false, answered, answer));
	while (!answer->called) {
		g_assert_cmpuint(vtr_now_ns(), <, end);
		vtr_loop_dispatch(scene->machine.loop, 5);
	}
}

static void answer_finish(struct answer *answer)
{
	munmap(answer->pixels, (size_t)answer->picture.stride * answer->picture.height);
}

static void check_picture(struct scene *scene, struct virtio_gpu_rect r, uint32_t seed)
{
	struct answer answer;

	take_picture(scene, &answer);
	g_assert_cmpuint(answer.picture.width, ==, r.width);
	g_assert_cmpuint(answer.picture.height, ==, r.height);
	for (uint32_t y = 0; y < r.height; y++)
		for (uint32_t x = 0; x < r.width; x++) {
			uint32_t got = answer.pixels[y * answer.picture.stride / 4 + x] & 0xffffff;

			if (got != color(x + r.x, y + r.y, seed))
				g_error("pixel %u,%u is %06x, not %06x", x, y, got, color(x + r.x, y + r.y, seed));
		}
	answer_finish(&answer);
}

/* Of the displays that have one EGLDisplay with the renderer. */
static enum vtr_path expected_path(enum vtr_path forced)
{
	bool shares = !program && (!strcmp(kind, "headless") || !strcmp(kind, "sdl"));

	return shares && !forced ? VTR_PATH_VIRGL : VTR_PATH_READBACK;
}

/* ---- tests ---- */

static const struct shown_row {
	const char *name;
	uint32_t flags;
	enum vtr_path forced;
	struct virtio_gpu_rect r;
} rows[] = {
	{ "upright", 0, VTR_PATH_NONE, { 0, 0, WIDE, HIGH } },
	{ "flipped", VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP, VTR_PATH_NONE, { 0, 0, WIDE, HIGH } },
	{ "part", 0, VTR_PATH_NONE, { 16, 30, 128, 50 } },
	{ "flipped-part", VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP, VTR_PATH_NONE, { 16, 30, 128, 50 } },
	{ "readback", 0, VTR_PATH_READBACK, { 0, 0, WIDE, HIGH } },
	{ "readback-flipped-part", VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP, VTR_PATH_READBACK, { 16, 30, 128, 50 } },
};

static void test_shown(const void *data)
{
	const struct shown_row *row = data;
	const struct virtio_gpu_rect all = { 0, 0, WIDE, HIGH };
	struct scene scene;

	start(&scene, row->forced);
	create(&scene, 1, WIDE, HIGH, row->flags);
	show(&scene, 1, row->r);
	for (uint32_t seed = 1; seed < 4; seed++) {
		upload(&scene, 1, seed);
		flush(&scene, 1, all, 1);
		check_picture(&scene, row->r, seed);
	}
	struct vtr_scanout_status status = gpu_machine_status(&scene.machine, 0);
	g_assert_cmpstr(vtr_path_name(status.path), ==, vtr_path_name(expected_path(row->forced)));
	if (status.path == VTR_PATH_VIRGL)
		g_assert_cmpuint(status.bytes_copied, ==, 0);
	else
		g_assert_cmpuint(status.bytes_copied, >, 0);
	finish(&scene);
}

/* Two buffers by turns, each cleared by a context: what the guest's programs do. */
static void test_flip(void)
{
	const struct virtio_gpu_rect all = { 0, 0, WIDE, HIGH };
	struct scene scene;

	start(&scene, VTR_PATH_NONE);
	create_context(&scene);
	for (uint32_t id = 1; id <= 2; id++) {
		create(&scene, id, WIDE, HIGH, VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP);
		attach_to_context(&scene, id);
	}
	for (uint32_t i = 0; i < 6; i++) {
		struct virgl_stream stream = { 0 };
		struct answer answer;

		stream_draw_to(&stream, 10 + i, 1 + i % 2, FORMAT_B8G8R8X8, 0, 0);
		stream_clear(&stream, (float)i * 51 / 255, 1, 0, 1);
		submit(&scene, &stream);
		show(&scene, 1 + i % 2, all);
		flush(&scene, 1 + i % 2, all, 1);
		take_picture(&scene, &answer);
		g_assert_cmphex(answer.pixels[0] & 0xffffff, ==, i * 51 << 16 | 0xff00);
		g_assert_cmphex(answer.pixels[(HIGH - 1) * answer.picture.stride / 4 + WIDE - 1] & 0xffffff, ==,
		                i * 51 << 16 | 0xff00);
		answer_finish(&answer);
	}
	finish(&scene);
}

/* The guest destroys what it shows, and the device is reset: the display lets go of the renderer's texture, whoever is last. */
static void test_ends(void)
{
	const struct virtio_gpu_rect all = { 0, 0, WIDE, HIGH };
	struct scene scene;

	start(&scene, VTR_PATH_NONE);
	create(&scene, 1, WIDE, HIGH, 0);
	upload(&scene, 1, 9);
	show(&scene, 1, all);
	flush(&scene, 1, all, 1);
	check_picture(&scene, all, 9);
	vtr_virtio_abandon(scene.machine.device);
	gpu_machine_settle(&scene.machine);
	check_picture(&scene, all, 9);
	finish(&scene);
}

static uint64_t process_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* While nobody looks a frame's work does not depend on its size: that of all threads, renderer and display included. The smallest
 * of several runs counts, by turns, as the machine has other things to do. */
static uint64_t frame_ns(struct scene *scene, uint32_t id, struct virtio_gpu_rect r)
{
	enum { FRAMES = 200 };

	show(scene, id, r);
	flush(scene, id, r, 1);
	uint64_t before = process_ns();
	for (int i = 0; i < FRAMES; i++)
		flush(scene, id, r, 0); /* as fast as it can */
	return (process_ns() - before) / FRAMES;
}

static void test_any_size(void)
{
	const struct virtio_gpu_rect small = { 0, 0, 1280, 720 }, large = { 0, 0, 3840, 2160 };
	uint64_t small_ns = UINT64_MAX, large_ns = UINT64_MAX;
	struct scene scene;

	start(&scene, VTR_PATH_NONE);
	create(&scene, 1, small.width, small.height, 0);
	create(&scene, 2, large.width, large.height, 0);
	for (int run = 0; run < 200 && (run < 40 || large_ns > small_ns * 11 / 10); run++) {
		small_ns = MIN(small_ns, frame_ns(&scene, 1, small));
		large_ns = MIN(large_ns, frame_ns(&scene, 2, large));
	}
	g_test_message("%" G_GUINT64_FORMAT " ns at 1280x720, %" G_GUINT64_FORMAT " ns at 3840x2160", small_ns, large_ns);
	g_assert_cmpuint(large_ns, <=, small_ns * 11 / 10);
	g_assert_cmpint(gpu_machine_status(&scene.machine, 0).path, ==, VTR_PATH_VIRGL);
	g_assert_cmpuint(gpu_machine_status(&scene.machine, 0).bytes_copied, ==, 0);
	finish(&scene);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	kind = argv[1];
	program = argc > 2 ? argv[2] : NULL;
	ADD_ROWS("/virgl-shown/", rows, test_shown);
	g_test_add_func("/virgl-shown/flip", test_flip);
	g_test_add_func("/virgl-shown/ends", test_ends);
	if (!strcmp(kind, "headless") && !program)
		g_test_add_func("/virgl-shown/any-size", test_any_size);
	return g_test_run();
}
