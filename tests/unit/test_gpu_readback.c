/* SPDX-License-Identifier: MIT */
/*
 * What a renderer drew, on its way to a display: shared or read back, and what is asked of the renderer for that. It answers at
 * once, or, as one in another process does, when the test says so.
 */
#include <drm_fourcc.h>

#include <poll.h>

#include <vitrine/control.h>

#include "gpu_3d.h"

/* Pixels are of one byte, and here that byte says when the picture was read. */
enum { COLOR = 0x31 };

static void paint(struct gpu_3d *bench, uint8_t color)
{
	bench->fake->pixel = color * 0x01010101u;
}

static void start_forced(struct gpu_3d *bench, unsigned outputs, enum vtr_output_demand demand, enum vtr_path forced)
{
	bench->fake = fake_renderer_create();
	bench->fake->textures = true;
	bench->fake->at_once = ~(1u << VTR_RENDER_READ | 1u << VTR_RENDER_EXPORT);
	paint(bench, COLOR);

	struct vtr_gpu_options options = { .renderer = &bench->fake->base, .force_path = forced, .max_hostmem = 1 << 20 };
	gpu_machine_create(&bench->machine, &options, outputs, demand);
	fake_renderer_use_loop(bench->fake, bench->machine.loop);
	gpu_machine_start(&bench->machine, gpu_3d_features);
}

static void start(struct gpu_3d *bench, enum vtr_output_demand demand)
{
	start_forced(bench, 1, demand, VTR_PATH_NONE);
}

static void finish(struct gpu_3d *bench)
{
	struct vtr_resource_table *resources = &bench->machine.gpu->resources;

	vtr_virtio_reset(bench->machine.device);
	g_assert_cmpuint(resources->hostmem, ==, 0);
	g_assert_cmpuint(resources->images, ==, 0);
	g_assert_cmpuint(resources->buffers, ==, 0);
	g_assert_null(bench->machine.gpu->readings);
	gpu_3d_destroy(bench);
}

/* Pixel 0 of the last picture that the display got, as a byte. */
static uint32_t shown(struct gpu_3d *bench)
{
	return atomic_load(&bench->machine.display.pixel[0]) & 0xff;
}

static void flush_rect(struct gpu_3d *bench, uint32_t id, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(id, 1);

	flush.r = (struct virtio_gpu_rect){ x, y, width, height };
	GPU_ASSERT_OK(&bench->machine, flush);
}

static unsigned reads(const struct gpu_3d *bench)
{
	return fake_renderer_asked(bench->fake, VTR_RENDER_READ);
}

/* What the last one read. */
static const struct vtr_render_args *last_read(const struct gpu_3d *bench)
{
	return &fake_renderer_last(bench->fake, VTR_RENDER_READ)->args;
}

/* Somebody looks at it from now on: the display says so with each frame, also with one that it gets only now. */
static void look_at(struct gpu_3d *bench)
{
	atomic_store(&bench->machine.display.demand, VTR_DEMAND_PIXELS);
	vtr_output_set_demand(vtr_outputs_get(bench->machine.outputs, 0), VTR_DEMAND_PIXELS);
}

/* A resource of the renderer's, on scanout 0. */
static void show(struct gpu_3d *bench, uint32_t id, uint32_t flags)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_sized(id, GPU_WIDTH, GPU_HEIGHT, flags);
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, id);

	GPU_ASSERT_OK(&bench->machine, create);
	GPU_ASSERT_OK(&bench->machine, set);
}

/* ---- which way ---- */

enum {
	TEXTURE = 1,     /* the renderer shares one */
	TAKES = 2,       /* the display takes it */
	DMABUF = 4,      /* the renderer exports one */
	IMPORTS = 8,     /* the display takes dmabufs */
	UPRIGHT = 16,    /* the display shows nothing that is upside down */
	FLAG = 32,       /* VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP: the texture is upside down */
	TILED = 64,      /* the dmabuf has a modifier */
	PART = 128,      /* 16x8 at 8,4 */
	LOOKED_AT = 256, /* its pixels are wanted */
	SWAPPED = 512,   /* the renderer keeps it with red and blue in other places */
	ODD = 1024,      /* ... in a format that pictures have not */
};

static const struct way_row {
	const char *name;
	unsigned flags;
	enum vtr_path forced, path;
	uint64_t offset; /* of what the display got, with a dmabuf */
	const char *reason;
} ways[] = {
	{ "texture", TEXTURE | TAKES, 0, VTR_PATH_VIRGL, 0, NULL },
	{ "texture-flipped", TEXTURE | TAKES | FLAG, 0, VTR_PATH_VIRGL, 0, NULL },
	{ "texture-part", TEXTURE | TAKES | PART, 0, VTR_PATH_VIRGL, 0, NULL },
	{ "texture-or-dmabuf", TEXTURE | TAKES | DMABUF | IMPORTS | TILED | PART, 0, VTR_PATH_VIRGL, 0, NULL },
	{ "dmabuf", TEXTURE | DMABUF | IMPORTS, 0, VTR_PATH_VIRGL, 64, NULL },
	{ "dmabuf-alone", DMABUF | IMPORTS, 0, VTR_PATH_VIRGL, 64, NULL },
	{ "dmabuf-flipped", DMABUF | IMPORTS | FLAG, 0, VTR_PATH_VIRGL, 64, NULL },
	{ "dmabuf-part", DMABUF | IMPORTS | PART, 0, VTR_PATH_VIRGL, 64 + 4 * 512 + 32, NULL },
	/* the next display may take the texture of the frame that waits */
	{ "dmabuf-or-texture-part", TEXTURE | DMABUF | IMPORTS | PART, 0, VTR_PATH_VIRGL, 64 + 4 * 512 + 32, NULL },
	{ "dmabuf-flipped-part", DMABUF | IMPORTS | PART | FLAG, 0, VTR_PATH_VIRGL, 64 + (GPU_HEIGHT - 12) * 512 + 32, NULL },
	{ "dmabuf-tiled", DMABUF | IMPORTS | TILED, 0, VTR_PATH_VIRGL, 64, NULL },
	{ "dmabuf-tiled-part", DMABUF | IMPORTS | TILED | PART, 0, VTR_PATH_READBACK, 0, "a part of what was drawn" },
	{ "dmabuf-swapped", DMABUF | IMPORTS | SWAPPED, 0, VTR_PATH_VIRGL, 64, NULL },
	{ "dmabuf-odd", DMABUF | IMPORTS | ODD, 0, VTR_PATH_READBACK, 0, "as RG16, which no display" },
	{ "another-display", TEXTURE, 0, VTR_PATH_READBACK, 0, "no such textures; the test's renderer makes no dmabufs" },
	{ "no-import", TEXTURE | DMABUF, 0, VTR_PATH_READBACK, 0, "no such textures; no dmabufs" },
	{ "no-import-alone", DMABUF, 0, VTR_PATH_READBACK, 0, "shares no textures; no dmabufs" },
	{ "nothing-shared", 0, 0, VTR_PATH_READBACK, 0, "the test's renderer makes no dmabufs" },
	{ "upright", TEXTURE | TAKES | UPRIGHT, 0, VTR_PATH_VIRGL, 0, NULL },
	{ "upright-flipped", TEXTURE | TAKES | UPRIGHT | FLAG, 0, VTR_PATH_READBACK, 0, "upside down" },
	{ "pixels-wanted", TEXTURE | TAKES | LOOKED_AT, 0, VTR_PATH_VIRGL, 0, NULL },
	{ "forced-virgl", TEXTURE | TAKES, VTR_PATH_VIRGL, VTR_PATH_VIRGL, 0, NULL },
	{ "forced-virgl-refused", TEXTURE, VTR_PATH_VIRGL, VTR_PATH_NONE, 0, "no such textures" },
	{ "forced-readback", TEXTURE | TAKES, VTR_PATH_READBACK, VTR_PATH_READBACK, 0, "--path readback" },
	{ "forced-mapped", TEXTURE | TAKES, VTR_PATH_MAPPED, VTR_PATH_READBACK, 0, "--path mapped" },
	{ "forced-fetched", TEXTURE | TAKES, VTR_PATH_FETCHED, VTR_PATH_READBACK, 0, "--path fetched" },
	{ "forced-udmabuf", TEXTURE | TAKES, VTR_PATH_UDMABUF, VTR_PATH_NONE, 0, "a renderer draws the picture" },
};

static void expect_buffer(struct gpu_3d *bench, const struct way_row *row)
{
	const struct vtr_frame *frame = &bench->machine.display.last;
	bool part = row->flags & PART, texture = row->flags & TAKES;

	g_assert_cmpint(frame->content, ==, VTR_FRAME_BUFFER);
	g_assert_cmpint(frame->path, ==, VTR_PATH_VIRGL);
	g_assert_cmpint(frame->flipped, ==, (row->flags & FLAG) != 0);
	g_assert_cmpuint(frame->width, ==, part ? 16 : GPU_WIDTH);
	g_assert_cmpuint(frame->x, ==, part ? 8 : 0);
	g_assert_cmpuint(frame->y, ==, part ? 4 : 0);
	if (texture)
		return;
	g_assert_cmpuint(frame->offset, ==, row->offset);
	g_assert_cmpuint(frame->stride, ==, 512);
	g_assert_cmphex(frame->format, ==, row->flags & SWAPPED ? DRM_FORMAT_XBGR8888 : DRM_FORMAT_XRGB8888);
	g_assert_cmpuint(frame->modifier, ==, row->flags & TILED ? 3 : 0);
}

static void expect_reason(const struct vtr_scanout_status *status, const char *reason)
{
	bool found = !reason;

	for (size_t i = 0; i < status->n_why_not; i++)
		found |= reason && strstr(status->why_not[i].reason, reason);
	if (!found)
		g_error("no reason has \"%s\"; the first of %zu is \"%s\"", reason, status->n_why_not, status->why_not[0].reason);
}

static void test_way(const void *data)
{
	const struct way_row *row = data;
	struct virtio_gpu_set_scanout set = gpu_3d_set_scanout(0, 1);
	struct virtio_gpu_resource_create_3d create =
		gpu_3d_create_sized(1, GPU_WIDTH, GPU_HEIGHT, row->flags & FLAG ? VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP : 0);
	struct gpu_3d bench;

	start_forced(&bench, 1, row->flags & LOOKED_AT ? VTR_DEMAND_PIXELS : VTR_DEMAND_DMABUF, row->forced);
	bench.fake->textures = row->flags & TEXTURE;
	bench.fake->dmabufs = row->flags & DMABUF;
	bench.fake->layout = (struct vtr_buffer_layout){
		.stride = 512,
		.offset = 64,
		.format = row->flags & SWAPPED ? DRM_FORMAT_ABGR8888
		          : row->flags & ODD   ? DRM_FORMAT_RGB565
		                               : DRM_FORMAT_XRGB8888,
		.modifier = row->flags & TILED ? 3 : 0,
	};
	bench.machine.display.impl.flips = !(row->flags & UPRIGHT);
	atomic_store(&bench.machine.display.egl_display, row->flags & TAKES ? bench.fake : NULL);
	atomic_store(&bench.machine.display.no_dmabuf, !(row->flags & IMPORTS));
	GPU_ASSERT_OK(&bench.machine, create);
	if (row->flags & PART)
		set.r = (struct virtio_gpu_rect){ 8, 4, 16, 8 };
	GPU_ASSERT_OK(&bench.machine, set);
	gpu_machine_flush(&bench.machine, 1);
	gpu_machine_flush(&bench.machine, 1);

	struct vtr_scanout_status status = gpu_machine_status(&bench.machine, 0);
	bool copied = row->path == VTR_PATH_READBACK || row->flags & LOOKED_AT;
	g_assert_cmpstr(vtr_path_name(status.path), ==, vtr_path_name(row->path));
	expect_reason(&status, row->reason);
	g_assert_cmpuint(reads(&bench), ==, copied ? 2 : 0);
	bool dmabuf = row->path == VTR_PATH_VIRGL && row->flags & DMABUF;          /* the test's display looks into it */
	GPU_WAIT(&bench.machine, shown(&bench) == (copied || dmabuf ? COLOR : 0)); /* a busy one is behind the flush's answer */
	g_assert_cmpuint(fake_renderer_asked(bench.fake, VTR_RENDER_EXPORT), <=, 1);
	if (row->path == VTR_PATH_VIRGL && !copied)
		expect_buffer(&bench, row);
	finish(&bench);
}

/* Memory of the guest's does not go up these rungs, nor are they missed there. */
static void test_blob_of_the_guest(const void *data)
{
	enum vtr_path forced = (enum vtr_path)GPOINTER_TO_INT(data);
	struct vtr_scanout_status status;
	struct gpu_3d bench;

	start_forced(&bench, 1, VTR_DEMAND_PIXELS, forced);
	gpu_machine_paint(&bench.machine, 0, COLOR);
	gpu_machine_show_blob(&bench.machine, 0, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	status = gpu_machine_status(&bench.machine, 0);
	g_assert_cmpint(status.path, ==, forced == VTR_PATH_VIRGL ? VTR_PATH_NONE : VTR_PATH_MAPPED);
	for (size_t i = 0; i < status.n_why_not; i++)
		g_assert_true(forced || (status.why_not[i].path != VTR_PATH_VIRGL && status.why_not[i].path != VTR_PATH_READBACK));
	g_assert_cmpuint(shown(&bench), ==, forced == VTR_PATH_VIRGL ? 0 : COLOR);
	finish(&bench);
}

/* ---- what is read, and when ---- */

/* While nobody looks nothing is read, and what is new is collected; then all of it is read at once. */
static void test_nobody_looks(void)
{
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	show(&bench, 1, 0);
	for (unsigned i = 0; i < 5; i++)
		gpu_machine_flush(&bench.machine, 1);
	g_assert_cmpuint(reads(&bench), ==, 0);
	g_assert_cmpuint(gpu_machine_status(&bench.machine, 0).bytes_copied, ==, 0);
	atomic_store(&bench.machine.display.demand, VTR_DEMAND_DMABUF);
	gpu_machine_flush(&bench.machine, 1); /* the display looks at what follows */
	GPU_WAIT(&bench.machine, shown(&bench) == COLOR);
	g_assert_cmpuint(reads(&bench), ==, 1);
	g_assert_cmpuint(last_read(&bench)->read.width, ==, GPU_WIDTH);
	g_assert_cmpuint(last_read(&bench)->read.height, ==, GPU_HEIGHT);
	finish(&bench);
}

/* Only what was flushed is read, and not what no output shows. */
static void test_damage(void)
{
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_PIXELS);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	paint(&bench, 0x77);
	flush_rect(&bench, 1, 3, 5, 10, 4);
	g_assert_cmpuint(last_read(&bench)->read.x, ==, 3);
	g_assert_cmpuint(last_read(&bench)->read.y, ==, 5);
	g_assert_cmpuint(last_read(&bench)->read.width, ==, 10);
	g_assert_cmpuint(last_read(&bench)->read.height, ==, 4);
	g_assert_cmpuint(shown(&bench), ==, COLOR); /* pixel 0 */
	flush_rect(&bench, 1, 0, 0, 1, 1);
	g_assert_cmpuint(shown(&bench), ==, 0x77);
	g_assert_cmpuint(reads(&bench), ==, 3);
	/* read, and gathered for the display */
	g_assert_cmpuint(gpu_machine_status(&bench.machine, 0).bytes_copied, ==, 2 * 4 * (GPU_WIDTH * GPU_HEIGHT + 10 * 4 + 1));
	finish(&bench);
}

/* The answer waits until it is drawn, and until it is read. */
static void test_held(void)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 7);
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_PIXELS);
	show(&bench, 1, 0);
	bench.fake->hold_fences = bench.fake->later = true;
	gpu_machine_post(&bench.machine, 0, &flush, sizeof(flush), sizeof(flush.hdr));
	g_assert_cmpuint(gpu_machine_run(&bench.machine, 1, 20), ==, 0);
	g_assert_cmpuint(reads(&bench), ==, 0);
	fake_renderer_pass_fence(bench.fake, 0);
	/* not read before it is known how the picture goes: the renderer is asked to share it, and that is presented later */
	g_assert_cmpuint(fake_renderer_asked(bench.fake, VTR_RENDER_EXPORT), ==, 1);
	g_assert_cmpuint(gpu_machine_run(&bench.machine, 1, 2000), ==, 1);
	g_assert_cmpuint(reads(&bench), ==, 0);
	fake_renderer_answer_all(bench.fake);
	GPU_WAIT(&bench.machine, reads(&bench) == 1);
	fake_renderer_answer_all(bench.fake);
	GPU_WAIT(&bench.machine, shown(&bench) == COLOR);

	paint(&bench, 0x42);
	gpu_machine_post(&bench.machine, 0, &flush, sizeof(flush), sizeof(flush.hdr));
	g_assert_cmpuint(gpu_machine_run(&bench.machine, 1, 20), ==, 0);
	fake_renderer_pass_fence(bench.fake, 0);
	g_assert_cmpuint(gpu_machine_run(&bench.machine, 1, 20), ==, 0);
	g_assert_cmpuint(reads(&bench), ==, 2);
	g_assert_cmpuint(shown(&bench), ==, COLOR);
	fake_renderer_answer_all(bench.fake);
	g_assert_cmpuint(gpu_machine_run(&bench.machine, 1, 2000), ==, 1);
	g_assert_cmpuint(shown(&bench), ==, 0x42);
	finish(&bench);
}

/* A display that comes while a renderer takes its time: nobody waits, and it gets its picture. */
static void test_display_comes(void)
{
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	bench.fake->later = true;
	look_at(&bench);
	GPU_WAIT(&bench.machine, reads(&bench) == 1);
	gpu_machine_settle(&bench.machine);
	vtr_scanouts_present_later(bench.machine.gpu); /* something else presents meanwhile */
	gpu_machine_settle(&bench.machine);
	g_assert_cmpuint(shown(&bench), ==, 0);
	fake_renderer_answer_all(bench.fake);
	while (shown(&bench) != COLOR) {
		gpu_machine_settle(&bench.machine);
		fake_renderer_answer_all(bench.fake);
	}
	finish(&bench);
}

/* The resource is destroyed while the renderer writes to its copy. */
static void test_destroyed_while_read(void)
{
	const struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	bench.fake->later = true;
	look_at(&bench);
	GPU_WAIT(&bench.machine, reads(&bench) == 1);
	GPU_ASSERT_OK(&bench.machine, unref);
	show(&bench, 1, 0); /* another one, of the same name */
	fake_renderer_answer_all(bench.fake);
	gpu_machine_settle(&bench.machine);
	g_assert_null(bench.machine.gpu->readings);
	bench.fake->later = false;
	finish(&bench);
}

/* What the display could not import after all is read back within the same flush. */
static void test_import_failed(void)
{
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_DMABUF);
	atomic_store(&bench.machine.display.egl_display, bench.fake);
	atomic_store(&bench.machine.display.refuse, 1u << VTR_PATH_VIRGL);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	g_assert_cmpuint(atomic_load(&bench.machine.display.tried[VTR_PATH_VIRGL]), ==, 1);
	g_assert_cmpuint(shown(&bench), ==, COLOR);
	g_assert_cmpint(gpu_machine_status(&bench.machine, 0).path, ==, VTR_PATH_READBACK);
	finish(&bench);
}

static void test_unreadable(void)
{
	struct vtr_scanout_status status;
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_PIXELS);
	bench.fake->fail[VTR_RENDER_READ] = -EOPNOTSUPP;
	show(&bench, 1, 0);
	for (unsigned i = 0; i < 3; i++)
		gpu_machine_flush(&bench.machine, 1);
	status = gpu_machine_status(&bench.machine, 0);
	g_assert_cmpint(status.path, ==, VTR_PATH_NONE);
	expect_reason(&status, "does not give the picture back");
	g_assert_cmpuint(reads(&bench), ==, 1); /* it cannot, and is not asked again */
	finish(&bench);
}

/* What the client hears to one request, which is freed by the caller. */
static char *ask_control(struct gpu_3d *bench, const char *request)
{
	const struct gpu_machine *machine = &bench->machine;
	const struct vtr_control_subject subject = { machine->gpu, machine->memory, machine->outputs, .transport = "test" };
	g_autofree char *folder = g_dir_make_tmp("readback-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "control", NULL);
	struct vtr_control *control = vtr_control_create(machine->loop, path, &subject);
	char *reply = g_malloc0(65536);

	g_assert_nonnull(control);
	struct pollfd client = { .fd = vtr_control_connect(path), .events = POLLIN };
	g_assert_cmpint(write(client.fd, request, strlen(request)), ==, (ssize_t)strlen(request));
	GPU_WAIT(machine, poll(&client, 1, 0) > 0);
	g_assert_cmpint(read(client.fd, reply, 65535), >, 0);
	close(client.fd);
	vtr_control_destroy(control);
	g_assert_cmpint(rmdir(folder), ==, 0);
	return reply;
}

/* The display has it as it is, but wants a copy to make a screenshot of: who asked for that hears why there is none. */
static void test_no_copy(void)
{
	struct vtr_scanout_status status;
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_DMABUF);
	atomic_store(&bench.machine.display.egl_display, bench.fake);
	atomic_store(&bench.machine.display.mute, true);
	bench.fake->fail[VTR_RENDER_READ] = -EOPNOTSUPP;
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	status = gpu_machine_status(&bench.machine, 0);
	g_assert_cmpint(status.path, ==, VTR_PATH_VIRGL);
	g_assert_cmpint(status.no_pixels.owner, ==, VTR_ERROR_NONE); /* so far as is known */
	look_at(&bench);
	GPU_WAIT(&bench.machine, reads(&bench) == 1);
	gpu_machine_settle(&bench.machine);
	status = gpu_machine_status(&bench.machine, 0);
	g_assert_cmpint(status.path, ==, VTR_PATH_VIRGL);
	g_assert_nonnull(strstr(status.no_pixels.text, "does not give the picture back"));
	g_autofree char *reply = ask_control(&bench, "{\"command\":\"screenshot\",\"timeout_ms\":20}\n");
	g_assert_nonnull(strstr(reply, "\"timeout\""));
	g_assert_nonnull(strstr(reply, "does not give the picture back"));
	finish(&bench);
}

/* Copies are memory of the host's. */
static void test_no_memory(void)
{
	struct vtr_scanout_status status;
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_PIXELS);
	bench.machine.gpu->options.max_hostmem = 2 * GPU_BYTES - 1; /* as much as the renderer takes, and not quite a copy */
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	status = gpu_machine_status(&bench.machine, 0);
	g_assert_cmpint(status.path, ==, VTR_PATH_NONE);
	expect_reason(&status, "--max-hostmem");
	g_assert_cmpuint(reads(&bench), ==, 0);
	finish(&bench);
}

/* Two outputs on halves of one resource; one on all of it. */
static void test_heads(void)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_sized(1, GPU_WIDTH, GPU_HEIGHT, 0);
	struct virtio_gpu_set_scanout left = gpu_3d_set_scanout(0, 1), right = gpu_3d_set_scanout(1, 1);
	struct gpu_3d bench;

	start_forced(&bench, 2, VTR_DEMAND_PIXELS, VTR_PATH_NONE);
	GPU_ASSERT_OK(&bench.machine, create);
	left.r.width = right.r.width = right.r.x = GPU_WIDTH / 2;
	GPU_ASSERT_OK(&bench.machine, left);
	GPU_ASSERT_OK(&bench.machine, right);
	gpu_machine_flush(&bench.machine, 1);
	g_assert_cmpuint(reads(&bench), ==, 1); /* for both */
	g_assert_cmpuint(last_read(&bench)->read.width, ==, GPU_WIDTH);
	g_assert_cmpuint(shown(&bench), ==, COLOR);
	g_assert_cmpuint(atomic_load(&bench.machine.display.last_pixel[1]) & 0xff, ==, COLOR);
	paint(&bench, 0x55);
	flush_rect(&bench, 1, GPU_WIDTH / 2 + 1, 0, 4, 4);
	g_assert_cmpuint(last_read(&bench)->read.x, ==, GPU_WIDTH / 2 + 1);
	g_assert_cmpuint(last_read(&bench)->read.width, ==, 4);
	finish(&bench);
}

/* ---- ends ---- */

static bool was_blank(struct gpu_3d *bench)
{
	return atomic_load(&bench->machine.display.contents) & 1u << VTR_FRAME_BLANK;
}

static void lose(struct gpu_3d *bench)
{
	atomic_store(&bench->machine.display.contents, 0);
	fake_renderer_lose(bench->fake);
}

/* The renderer is lost: what was read stays, also for a display that asks for it later. */
static void test_lost(void)
{
	struct vtr_output *output;
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_PIXELS);
	output = vtr_outputs_get(bench.machine.outputs, 0);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	lose(&bench);
	gpu_machine_settle(&bench.machine);
	g_assert_true(vtr_output_frozen(output));
	g_assert_true(gpu_machine_status(&bench.machine, 0).frozen);
	g_assert_cmphex(GPU_CALL(&bench.machine, flush)->type, ==, VIRTIO_GPU_RESP_ERR_UNSPEC);
	paint(&bench, 0x11);
	atomic_store(&bench.machine.display.pixel[0], 0);
	vtr_scanouts_present_later(bench.machine.gpu);
	GPU_WAIT(&bench.machine, shown(&bench) == COLOR);
	g_assert_cmpuint(reads(&bench), ==, 1);
	g_assert_false(was_blank(&bench));
	finish(&bench);
}

/* Nobody has ever read it: there is no picture. */
static void test_lost_unread(void)
{
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	bench.fake->fail[VTR_RENDER_EXPORT] = -EOPNOTSUPP;
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	lose(&bench);
	GPU_WAIT(&bench.machine, was_blank(&bench));
	g_assert_false(gpu_machine_status(&bench.machine, 0).enabled);
	finish(&bench);
}

static int some_pid(const struct vtr_renderer *renderer)
{
	return 1;
}

/* In a process of its own it can be lost at any moment: the picture is kept that was flushed last, or the one before that. */
static void test_lost_unwatched(void)
{
	struct vtr_renderer_impl isolated;
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct vtr_output *output;
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	isolated = *bench.fake->base.impl;
	isolated.pid = some_pid;
	bench.fake->base.impl = &isolated;
	bench.fake->fail[VTR_RENDER_EXPORT] = -EOPNOTSUPP;
	output = vtr_outputs_get(bench.machine.outputs, 0);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	g_assert_cmpuint(reads(&bench), ==, 1);
	paint(&bench, 0x11);
	bench.fake->fail[VTR_RENDER_FENCE] = -ENODEV; /* the next one is never drawn */
	GPU_CALL(&bench.machine, flush);
	lose(&bench);
	gpu_machine_settle(&bench.machine);
	g_assert_true(vtr_output_frozen(output));
	look_at(&bench);
	GPU_WAIT(&bench.machine, shown(&bench) == COLOR);
	g_assert_cmpuint(reads(&bench), ==, 1);
	g_assert_false(was_blank(&bench));
	finish(&bench);
}

/* What the display holds outlives the renderer. */
static void test_lost_texture(void)
{
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_DMABUF);
	atomic_store(&bench.machine.display.egl_display, bench.fake);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	lose(&bench);
	gpu_machine_settle(&bench.machine);
	g_assert_cmpuint(atomic_load(&bench.fake->textures_out), ==, 1);
	g_assert_cmpint(gpu_machine_status(&bench.machine, 0).path, ==, VTR_PATH_VIRGL);
	g_assert_true(vtr_output_frozen(vtr_outputs_get(bench.machine.outputs, 0)));
	g_assert_false(was_blank(&bench));
	finish(&bench);
}

/* The VMM is gone: the picture is read for the last time, whoever looked at it how. */
static void test_abandoned(const void *data)
{
	enum vtr_output_demand demand = (enum vtr_output_demand)GPOINTER_TO_INT(data);
	struct gpu_3d bench;

	start(&bench, demand);
	atomic_store(&bench.machine.display.egl_display, bench.fake);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	atomic_store(&bench.machine.display.contents, 0);
	vtr_virtio_abandon(bench.machine.device);
	GPU_WAIT(&bench.machine, shown(&bench) == COLOR);
	g_assert_cmpuint(bench.machine.gpu->resources.hostmem, ==, 0);
	g_assert_false(was_blank(&bench));
	gpu_machine_start(&bench.machine, gpu_3d_features);
	finish(&bench);
}

/* The same, while a display that has just come waits for the picture. */
static void test_abandoned_while_read(void)
{
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	show(&bench, 1, 0);
	gpu_machine_flush(&bench.machine, 1);
	bench.fake->later = true;
	vtr_output_set_demand(vtr_outputs_get(bench.machine.outputs, 0), VTR_DEMAND_PIXELS);
	atomic_store(&bench.machine.display.demand, VTR_DEMAND_PIXELS);
	bench.fake->at_once |= 1u << VTR_RENDER_EXPORT;
	GPU_WAIT(&bench.machine, reads(&bench) == 1);
	gpu_machine_settle(&bench.machine);
	atomic_store(&bench.machine.display.contents, 0);
	vtr_virtio_abandon(bench.machine.device);
	GPU_WAIT(&bench.machine, shown(&bench) == COLOR);
	gpu_machine_settle(&bench.machine);
	g_assert_false(was_blank(&bench));
	g_assert_true(gpu_machine_status(&bench.machine, 0).enabled);
	g_assert_cmpuint(bench.machine.gpu->resources.hostmem, ==, 0);
	bench.fake->later = false;
	gpu_machine_start(&bench.machine, gpu_3d_features);
	finish(&bench);
}

/* ---- for others ---- */

static void test_view(void)
{
	struct vtr_scanout_view view;
	struct vtr_error error;
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	show(&bench, 1, VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP);
	bench.fake->later = true;
	g_assert_cmpint(vtr_gpu_scanout_view(bench.machine.gpu, 0, &view, &error), ==, 0);
	g_assert_cmpuint(view.width, ==, GPU_WIDTH);
	g_assert_cmpuint(view.stride, ==, GPU_STRIDE);
	g_assert_cmpuint(((const uint8_t *)view.data)[GPU_BYTES - 1], ==, COLOR);
	paint(&bench, 0x22);
	gpu_machine_flush(&bench.machine, 1);
	g_assert_cmpint(vtr_gpu_scanout_view(bench.machine.gpu, 0, &view, &error), ==, 0);
	g_assert_cmpuint(((const uint8_t *)view.data)[0], ==, 0x22);
	lose(&bench);
	g_assert_cmpint(vtr_gpu_scanout_view(bench.machine.gpu, 0, &view, &error), ==, 0);
	g_assert_cmpuint(((const uint8_t *)view.data)[0], ==, 0x22);
	finish(&bench);
}

static uint32_t update_cursor(struct gpu_3d *bench, uint32_t id, bool waits)
{
	const struct virtio_gpu_update_cursor update = { .hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR, .resource_id = id };
	uint64_t answer = gpu_machine_post(&bench->machine, 1, &update, sizeof(update), sizeof(update.hdr));
	const struct virtio_gpu_ctrl_hdr *hdr = (const struct virtio_gpu_ctrl_hdr *)gpu_machine_at(&bench->machine, answer);

	gpu_machine_settle(&bench->machine);
	g_assert_cmpint(!hdr->type, ==, waits);
	if (waits) {
		fake_renderer_answer_all(bench->fake);
		gpu_machine_settle(&bench->machine);
	}
	return hdr->type;
}

static void test_cursor(void)
{
	const struct virtio_gpu_resource_create_3d create = gpu_3d_create_sized(1, 64, 64, 0),
						   small = gpu_3d_create_sized(2, 64, 32, 0);
	struct vtr_cursor cursor;
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	GPU_ASSERT_OK(&bench.machine, create);
	GPU_ASSERT_OK(&bench.machine, small);
	g_assert_cmphex(update_cursor(&bench, 1, false), ==, VIRTIO_GPU_RESP_OK_NODATA);
	vtr_output_get_cursor(vtr_outputs_get(bench.machine.outputs, 0), &cursor);
	g_assert_true(cursor.visible);
	g_assert_cmphex(cursor.image[64 * 64 - 1] & 0xffffff, ==, 0x313131);
	g_assert_cmphex(update_cursor(&bench, 2, false), ==, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	bench.fake->later = true;
	paint(&bench, 0x66);
	g_assert_cmphex(update_cursor(&bench, 1, true), ==, VIRTIO_GPU_RESP_OK_NODATA);
	vtr_output_get_cursor(vtr_outputs_get(bench.machine.outputs, 0), &cursor);
	g_assert_cmphex(cursor.image[0] & 0xffffff, ==, 0x666666);
	bench.fake->fail[VTR_RENDER_READ] = -EINVAL;
	g_assert_cmphex(update_cursor(&bench, 1, true), ==, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	finish(&bench);
}

/* The control queue goes on while the cursor's waits: its resource may be gone then. */
static void test_cursor_destroyed(void)
{
	const struct virtio_gpu_update_cursor update = { .hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR, .resource_id = 1 };
	const struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	const struct virtio_gpu_resource_create_3d create = gpu_3d_create_sized(1, 64, 64, 0);
	struct gpu_3d bench;

	start(&bench, VTR_DEMAND_NONE);
	GPU_ASSERT_OK(&bench.machine, create);
	bench.fake->later = true;
	uint64_t answer = gpu_machine_post(&bench.machine, 1, &update, sizeof(update), sizeof(update.hdr));
	gpu_machine_settle(&bench.machine);
	GPU_ASSERT_OK(&bench.machine, unref);
	fake_renderer_answer_all(bench.fake);
	gpu_machine_settle(&bench.machine);
	const struct virtio_gpu_ctrl_hdr *hdr = (const struct virtio_gpu_ctrl_hdr *)gpu_machine_at(&bench.machine, answer);
	g_assert_cmphex(hdr->type, ==, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	g_assert_null(bench.machine.gpu->readings);
	finish(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/gpu/readback/way/", ways, test_way);
	g_test_add_data_func("/unit/gpu/readback/guest-memory", GINT_TO_POINTER(VTR_PATH_NONE), test_blob_of_the_guest);
	g_test_add_data_func("/unit/gpu/readback/guest-memory-forced-virgl", GINT_TO_POINTER(VTR_PATH_VIRGL),
	                     test_blob_of_the_guest);
	g_test_add_data_func("/unit/gpu/readback/guest-memory-forced-readback", GINT_TO_POINTER(VTR_PATH_READBACK),
	                     test_blob_of_the_guest);
	g_test_add_func("/unit/gpu/readback/nobody-looks", test_nobody_looks);
	g_test_add_func("/unit/gpu/readback/damage", test_damage);
	g_test_add_func("/unit/gpu/readback/held", test_held);
	g_test_add_func("/unit/gpu/readback/display-comes", test_display_comes);
	g_test_add_func("/unit/gpu/readback/destroyed-while-read", test_destroyed_while_read);
	g_test_add_func("/unit/gpu/readback/import-failed", test_import_failed);
	g_test_add_func("/unit/gpu/readback/unreadable", test_unreadable);
	g_test_add_func("/unit/gpu/readback/no-copy", test_no_copy);
	g_test_add_func("/unit/gpu/readback/no-memory", test_no_memory);
	g_test_add_func("/unit/gpu/readback/heads", test_heads);
	g_test_add_func("/unit/gpu/readback/lost", test_lost);
	g_test_add_func("/unit/gpu/readback/lost-unread", test_lost_unread);
	g_test_add_func("/unit/gpu/readback/lost-unwatched", test_lost_unwatched);
	g_test_add_func("/unit/gpu/readback/lost-texture", test_lost_texture);
	g_test_add_data_func("/unit/gpu/readback/abandoned/texture", GINT_TO_POINTER(VTR_DEMAND_DMABUF), test_abandoned);
	g_test_add_data_func("/unit/gpu/readback/abandoned/pixels", GINT_TO_POINTER(VTR_DEMAND_PIXELS), test_abandoned);
	g_test_add_data_func("/unit/gpu/readback/abandoned/unseen", GINT_TO_POINTER(VTR_DEMAND_NONE), test_abandoned);
	g_test_add_func("/unit/gpu/readback/abandoned/while-read", test_abandoned_while_read);
	g_test_add_func("/unit/gpu/readback/view", test_view);
	g_test_add_func("/unit/gpu/readback/cursor", test_cursor);
	g_test_add_func("/unit/gpu/readback/cursor-destroyed", test_cursor_destroyed);
	return g_test_run();
}
