/* SPDX-License-Identifier: MIT */
/* The rungs for the memory of assigned devices, and how a scanout goes down and up the ladder. */
#include "gpu_bar.h"

enum { DMABUF = 1u << VTR_PATH_VFIO_DMABUF, WINDOW = 1u << VTR_PATH_VFIO_WINDOW };

/* ---- which rung ---- */

enum device_kind {
	NO_DEVICE,
	DEVICE,
	DEVICE_CANNOT, /* its driver exports nothing */
	DEVICE_FAILS,  /* the kernel refuses */
	DEVICE_SHORT,  /* the kernel exports less than it was asked for */
};

static const struct rung_row {
	const char *name;
	enum gpu_bar_kind bar;
	enum gpu_bar_frame frame;
	enum device_kind device;
	enum vtr_path forced, path;
	uint64_t offset;        /* of the picture in the dmabuf */
	const char *reasons[6]; /* against the better rungs: a part of each */
} rung_rows[] = {
	{ "shuffled", BAR_REMOTE, FRAME_SHUFFLED, DEVICE, 0, VTR_PATH_VFIO_DMABUF, 0, { 0 } },
	{ "shuffled-window", BAR_WINDOW, FRAME_SHUFFLED, DEVICE, 0, VTR_PATH_VFIO_DMABUF, 0, { 0 } },
	{ "contiguous", BAR_WINDOW, FRAME_CONTIGUOUS, DEVICE, 0, VTR_PATH_VFIO_DMABUF, 0, { 0 } },
	{ "no-device", BAR_WINDOW, FRAME_CONTIGUOUS, NO_DEVICE, 0, VTR_PATH_VFIO_WINDOW, 5 * PAGE, { "--assign" } },
	{ "no-device-shuffled",
	  BAR_WINDOW,
	  FRAME_SHUFFLED,
	  NO_DEVICE,
	  0,
	  VTR_PATH_FETCHED,
	  0,
	  { "--assign", "63 pieces", "mappable" } },
	{ "no-device-no-window",
	  BAR_REMOTE,
	  FRAME_CONTIGUOUS,
	  NO_DEVICE,
	  0,
	  VTR_PATH_FETCHED,
	  0,
	  { "--assign", "sent no dmabuf", "mappable" } },
	{ "window-larger",
	  BAR_WINDOW_LARGER,
	  FRAME_CONTIGUOUS,
	  NO_DEVICE,
	  0,
	  VTR_PATH_FETCHED,
	  0,
	  { "--assign", "not to be trusted", "mappable" } },
	{ "window-offset",
	  BAR_WINDOW_OFFSET,
	  FRAME_CONTIGUOUS,
	  NO_DEVICE,
	  0,
	  VTR_PATH_FETCHED,
	  0,
	  { "--assign", "not to be trusted", "mappable" } },
	{ "cannot", BAR_WINDOW, FRAME_CONTIGUOUS, DEVICE_CANNOT, 0, VTR_PATH_VFIO_WINDOW, 5 * PAGE, { "dmabuf" } },
	{ "fails", BAR_WINDOW, FRAME_CONTIGUOUS, DEVICE_FAILS, 0, VTR_PATH_VFIO_WINDOW, 5 * PAGE, { "ulimit" } },
	{ "short", BAR_WINDOW, FRAME_CONTIGUOUS, DEVICE_SHORT, 0, VTR_PATH_VFIO_WINDOW, 5 * PAGE, { "bytes long" } },
	{ "unaligned", BAR_WINDOW, FRAME_UNALIGNED, DEVICE, 0, VTR_PATH_VFIO_WINDOW, 5 * PAGE + 256, { "page borders" } },
	{ "mixed", BAR_WINDOW, FRAME_MIXED, DEVICE, 0, VTR_PATH_FETCHED, 0, { "guest RAM", "guest RAM", "udmabuf", "mappable" } },
	{ "forced-vfio-dmabuf", BAR_WINDOW, FRAME_CONTIGUOUS, DEVICE, VTR_PATH_VFIO_DMABUF, VTR_PATH_VFIO_DMABUF, 0, { 0 } },
	{ "forced-vfio-dmabuf-ram",
	  BAR_NOT,
	  FRAME_RAM,
	  DEVICE,
	  VTR_PATH_VFIO_DMABUF,
	  VTR_PATH_NONE,
	  0,
	  { "guest RAM", "--path vfio-dmabuf", "--path vfio-dmabuf", "--path vfio-dmabuf" } },
	{ "forced-vfio-window",
	  BAR_WINDOW,
	  FRAME_CONTIGUOUS,
	  DEVICE,
	  VTR_PATH_VFIO_WINDOW,
	  VTR_PATH_VFIO_WINDOW,
	  5 * PAGE,
	  { "--path vfio-window" } },
	{ "forced-vfio-window-shuffled",
	  BAR_WINDOW,
	  FRAME_SHUFFLED,
	  DEVICE,
	  VTR_PATH_VFIO_WINDOW,
	  VTR_PATH_NONE,
	  0,
	  { "--path vfio-window", "63 pieces", "--path vfio-window", "--path vfio-window" } },
	{ "forced-udmabuf",
	  BAR_WINDOW,
	  FRAME_CONTIGUOUS,
	  DEVICE,
	  VTR_PATH_UDMABUF,
	  VTR_PATH_NONE,
	  0,
	  { "--path udmabuf", "--path udmabuf", "udmabuf", "--path udmabuf", "--path udmabuf" } },
	{ "forced-mapped",
	  BAR_WINDOW,
	  FRAME_SHUFFLED,
	  DEVICE,
	  VTR_PATH_MAPPED,
	  VTR_PATH_NONE,
	  0,
	  { "--path mapped", "--path mapped", "mappable", "--path mapped" } },
	{ "forced-fetched",
	  BAR_WINDOW,
	  FRAME_SHUFFLED,
	  DEVICE,
	  VTR_PATH_FETCHED,
	  VTR_PATH_FETCHED,
	  0,
	  { "--path fetched", "--path fetched", "--path fetched" } },
};

static void add_device(struct gpu_bar *bench, enum device_kind kind)
{
	fake.probe_error = kind == DEVICE_CANNOT ? ENOTTY : 0;
	fake.get_error = kind == DEVICE_FAILS ? EMFILE : 0;
	gpu_bar_fake.short_by = kind == DEVICE_SHORT ? PAGE : 0;
	if (kind != NO_DEVICE)
		gpu_bar_assign(bench);
}

static void test_rung(gconstpointer data)
{
	const struct rung_row *row = data;
	struct vtr_scanout_status status;
	struct gpu_bar bench;

	gpu_bar_create(&bench, row->bar, row->forced);
	add_device(&bench, row->device);
	gpu_bar_show(&bench, 1, row->frame, 0x20);
	gpu_bar_flush(&bench, 1);
	status = gpu_bar_status(&bench);
	g_assert_cmpstr(vtr_path_name(status.path), ==, vtr_path_name(row->path));
	for (size_t i = 0; i < status.n_why_not; i++) {
		g_assert_nonnull(row->reasons[i]);
		g_assert_nonnull(strstr(status.why_not[i].reason, row->reasons[i]));
		g_assert_cmpuint(strlen(status.why_not[i].reason), <, sizeof(status.why_not[i].reason) - 1);
	}
	g_assert_null(row->reasons[status.n_why_not]);
	g_assert_cmpint(gpu_bar_shows(&bench, 0x20), ==, row->path != VTR_PATH_NONE);
	g_assert_cmpuint(status.frames, ==, 1);
	g_assert_cmpuint(status.dropped, ==, 0);
	g_assert_false(status.revoked || status.frozen);
	g_assert_cmpuint(status.bytes_copied, ==, row->path == VTR_PATH_FETCHED ? PICTURE_PAGES * PAGE : 0);
	g_assert_cmpuint(bench.reads != 0, ==, row->path == VTR_PATH_FETCHED);
	if (row->path > VTR_PATH_FETCHED) {
		g_assert_cmpuint(gpu_bar_tried(&bench, row->path), ==, 1);
		g_assert_cmpuint(atomic_load(&bench.machine.display.offset), ==, row->offset);
	}
	gpu_bar_destroy(&bench);
}

/* A picture that begins inside the blob begins there in the dmabuf, too. */
static void test_offset_in_the_blob(void)
{
	struct virtio_gpu_set_scanout_blob set = gpu_set_scanout_blob(0, 1);
	struct gpu_bar bench;

	gpu_bar_create(&bench, BAR_WINDOW, VTR_PATH_NONE);
	gpu_bar_show(&bench, 1, FRAME_CONTIGUOUS, 0x20);
	set.offsets[0] = 2 * PAGE;
	set.r.y = PAGE / GPU_STRIDE;
	set.r.height = GPU_HEIGHT - set.r.y;
	GPU_ASSERT_OK(&bench.machine, set);
	gpu_machine_flush(&bench.machine, 1);
	g_assert_cmpuint(atomic_load(&bench.machine.display.offset), ==, (5 + 2 + 1) * PAGE);
	g_assert_cmphex(atomic_load(&bench.machine.display.pixel[0]), ==, gpu_bar_grey(0x20 + 3));
	gpu_bar_destroy(&bench);
}

/* ---- down and up ---- */

static uint64_t clock_ns;

static uint64_t fake_clock(void)
{
	return clock_ns;
}

static void start(struct gpu_bar *bench, enum gpu_bar_frame frame)
{
	gpu_bar_create(bench, BAR_WINDOW, VTR_PATH_NONE);
	clock_ns = UINT64_C(1000000000000);
	bench->machine.gpu->now_ns = fake_clock;
	gpu_bar_assign(bench);
	gpu_bar_show(bench, 1, frame, 0x20);
}

static void pass(double seconds)
{
	clock_ns += (uint64_t)(seconds * 1e9);
}

static void expect(struct gpu_bar *bench, enum vtr_path path, unsigned dmabufs, unsigned windows)
{
	g_assert_cmpstr(vtr_path_name(gpu_bar_status(bench).path), ==, vtr_path_name(path));
	g_assert_cmpuint(gpu_bar_tried(bench, VTR_PATH_VFIO_DMABUF), ==, dmabufs);
	g_assert_cmpuint(gpu_bar_tried(bench, VTR_PATH_VFIO_WINDOW), ==, windows);
}

/* All the way down in one flush, which is answered when the picture is there. */
static void test_down_in_one_frame(void)
{
	struct vtr_scanout_status status;
	struct gpu_bar bench;

	start(&bench, FRAME_CONTIGUOUS);
	gpu_bar_refuse(&bench, DMABUF | WINDOW, VTR_ERROR_UNSUPPORTED);
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_shows(&bench, 0x20));
	expect(&bench, VTR_PATH_FETCHED, 1, 1);
	status = gpu_bar_status(&bench);
	g_assert_cmpuint(status.n_why_not, ==, 3);
	g_assert_cmpstr(status.why_not[0].reason, ==, "no import after all");
	g_assert_cmpstr(status.why_not[1].reason, ==, "no import after all");
	g_assert_cmpuint(status.frames, ==, 1);
	g_assert_cmpuint(status.dropped, ==, 0);
	g_assert_cmpuint(status.timeouts, ==, 0);
	gpu_bar_destroy(&bench);
}

/* What the host failed at is tried again after 1 s, 2 s, ... and as soon as it works the picture is up again. */
static void test_up_again(void)
{
	struct gpu_bar bench;
	unsigned tried = 1;

	start(&bench, FRAME_CONTIGUOUS);
	gpu_bar_refuse(&bench, DMABUF, VTR_ERROR_HOST);
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_VFIO_WINDOW, 1, 1);
	for (double delay = 1; delay < 100; delay *= 2) {
		double wait = delay < 60 ? delay : 60;

		pass(wait - 0.001);
		gpu_bar_flush(&bench, 1);
		g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF), ==, tried);
		pass(0.001);
		g_assert_cmpint(gpu_bar_status(&bench).path, ==, VTR_PATH_VFIO_WINDOW); /* looking tries nothing */
		gpu_bar_flush(&bench, 1);
		g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF), ==, ++tried);
		g_assert_cmpint(gpu_bar_status(&bench).path, ==, VTR_PATH_VFIO_WINDOW);
	}
	gpu_bar_refuse(&bench, 0, VTR_ERROR_NONE);
	pass(60);
	gpu_bar_paint(&bench, FRAME_CONTIGUOUS, 0x40);
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_VFIO_DMABUF, tried + 1, atomic_load(&bench.machine.display.tried[VTR_PATH_VFIO_WINDOW]));
	g_assert_cmpuint(gpu_bar_status(&bench).n_why_not, ==, 0);

	/* a new failure begins with a second */
	gpu_bar_refuse(&bench, DMABUF, VTR_ERROR_HOST);
	gpu_bar_flush(&bench, 1);
	pass(1);
	gpu_bar_flush(&bench, 1);
	g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF), ==, tried + 3);
	gpu_bar_destroy(&bench);
}

/* Neither three buffers nor a new one for each frame fail once for each. */
static void test_remembered_by_kind(void)
{
	struct gpu_bar bench;

	start(&bench, FRAME_SHUFFLED);
	gpu_bar_refuse(&bench, DMABUF, VTR_ERROR_UNSUPPORTED);
	gpu_bar_create_blob(&bench, 2, FRAME_SHUFFLED);
	gpu_bar_create_blob(&bench, 3, FRAME_SHUFFLED);
	for (uint32_t i = 0; i < 9; i++) {
		gpu_bar_set_scanout(&bench, 1 + i % 3);
		gpu_bar_flush(&bench, 1 + i % 3);
		pass(100000);
	}
	for (uint32_t id = 4; id < 8; id++) {
		struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = id };

		gpu_bar_create_blob(&bench, id, FRAME_SHUFFLED);
		gpu_bar_set_scanout(&bench, id);
		gpu_bar_flush(&bench, id);
		GPU_ASSERT_OK(&bench.machine, unref);
	}
	g_assert_cmpuint(gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF), ==, 1);

	/* What is in one piece is another kind: importers behind an IOMMU take that. */
	gpu_bar_show(&bench, 8, FRAME_CONTIGUOUS, 0x60);
	gpu_bar_refuse(&bench, 0, VTR_ERROR_NONE);
	gpu_bar_flush(&bench, 8);
	expect(&bench, VTR_PATH_VFIO_DMABUF, 2, 0);
	gpu_bar_destroy(&bench);
}

/* A buffer that is gone before the display has answered is a lesson all the same. */
static void test_failure_of_a_dead_buffer(void)
{
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	struct gpu_bar bench;
	struct virtio_gpu_resource_flush flush = gpu_bar_flush_request(1, 0);

	start(&bench, FRAME_SHUFFLED);
	gpu_bar_refuse(&bench, DMABUF, VTR_ERROR_UNSUPPORTED);
	atomic_store(&bench.machine.display.asleep, true);
	GPU_ASSERT_OK(&bench.machine, flush);
	gpu_bar_create_blob(&bench, 2, FRAME_SHUFFLED);
	gpu_bar_set_scanout(&bench, 2);
	GPU_ASSERT_OK(&bench.machine, unref);
	atomic_store(&bench.machine.display.asleep, false);
	GPU_WAIT(&bench.machine, gpu_bar_status(&bench).frames == 1);
	gpu_bar_flush(&bench, 2);
	expect(&bench, VTR_PATH_FETCHED, 1, 0);
	g_assert_true(gpu_bar_shows(&bench, 0x20));
	gpu_bar_destroy(&bench);
}

/* What the kernel failed at for once is made later. */
static void test_made_later(void)
{
	struct gpu_bar bench;

	start(&bench, FRAME_SHUFFLED);
	fake.get_error = ENFILE;
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_FETCHED, 0, 0);
	fake.get_error = 0;
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_FETCHED, 0, 0);
	pass(1);
	expect(&bench, VTR_PATH_FETCHED, 0, 0); /* looking makes nothing */
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_VFIO_DMABUF, 1, 0);
	gpu_bar_destroy(&bench);
}

/* ---- asking the VMM for pixels ---- */

static void start_remote(struct gpu_bar *bench)
{
	gpu_bar_create(bench, BAR_REMOTE, VTR_PATH_NONE);
	bench->machine.gpu->now_ns = fake_clock;
	gpu_bar_show(bench, 1, FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(bench, 1);
	g_assert_true(gpu_bar_shows(bench, 0x20));
	g_assert_cmpint(gpu_bar_status(bench).path, ==, VTR_PATH_FETCHED);
	gpu_bar_paint(bench, FRAME_SHUFFLED, 0x40);
}

static void expect_not_fetched(struct gpu_bar *bench, const char *reason)
{
	struct vtr_scanout_status status = gpu_bar_status(bench);

	g_assert_cmpstr(vtr_path_name(status.path), ==, "none");
	g_assert_cmpint(status.why_not[status.n_why_not - 1].path, ==, VTR_PATH_FETCHED);
	g_assert_nonnull(strstr(status.why_not[status.n_why_not - 1].reason, reason));
	g_assert_false(status.revoked);
	g_assert_true(gpu_bar_shows(bench, 0x20)); /* the last picture stays */
}

/* It stands in the way of everything else: what takes too long is asked for less and less often. */
static void test_fetching_takes_too_long(void)
{
	struct gpu_bar bench;
	unsigned reads;

	start_remote(&bench);
	bench.error = -ETIMEDOUT;
	reads = bench.reads;
	for (double delay = 1; delay < 10; delay *= 2) {
		gpu_bar_flush(&bench, 1);
		g_assert_cmpuint(bench.reads, ==, ++reads);
		expect_not_fetched(&bench, "takes too long");
		pass(delay - 0.001);
		gpu_bar_flush(&bench, 1);
		gpu_bar_set_scanout(&bench, 1); /* does not make the VMM faster */
		gpu_bar_flush(&bench, 1);
		g_assert_cmpuint(bench.reads, ==, reads);
		pass(0.001);
	}
	bench.error = 0;
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_shows(&bench, 0x40));
	g_assert_cmpint(gpu_bar_status(&bench).path, ==, VTR_PATH_FETCHED);
	g_assert_cmpuint(gpu_bar_status(&bench).timeouts, ==, 0);
	gpu_bar_destroy(&bench);
}

/* The same picture does not come in fewer pieces; another may. */
static void test_too_many_pieces(void)
{
	struct gpu_bar bench;
	unsigned reads;

	start_remote(&bench);
	bench.error = -E2BIG;
	reads = bench.reads;
	for (unsigned i = 0; i < 3; i++) {
		gpu_bar_flush(&bench, 1);
		g_assert_cmpuint(bench.reads, ==, reads + 1);
		expect_not_fetched(&bench, "pieces");
		pass(1000);
	}
	gpu_bar_set_scanout(&bench, 1);
	gpu_bar_flush(&bench, 1);
	g_assert_cmpuint(bench.reads, ==, reads + 2);
	bench.error = 0;
	gpu_bar_flush(&bench, 1);
	expect_not_fetched(&bench, "pieces");
	gpu_bar_map(&bench, BAR_NOT);
	gpu_bar_map(&bench, BAR_REMOTE);
	gpu_bar_flush(&bench, 1);
	g_assert_true(gpu_bar_shows(&bench, 0x40));
	gpu_bar_destroy(&bench);
}

/* Neither time is to blame on the picture: it is read from the loop, without another flush. */
static void test_fetched_later(gconstpointer data)
{
	struct gpu_bar bench;
	unsigned reads;

	start_remote(&bench);
	bench.error = GPOINTER_TO_INT(data);
	reads = bench.reads;
	gpu_bar_flush(&bench, 1);
	GPU_WAIT(&bench.machine, bench.reads > reads + 2);
	g_assert_true(gpu_bar_shows(&bench, 0x20));
	bench.error = 0;
	GPU_WAIT(&bench.machine, gpu_bar_shows(&bench, 0x40));
	gpu_bar_destroy(&bench);
}

/* ---- devices come and go ---- */

static void test_device_comes_and_goes(void)
{
	struct gpu_bar bench;
	struct vtr_vfio_device *device;
	uint64_t copied;

	gpu_bar_create(&bench, BAR_REMOTE, VTR_PATH_NONE);
	gpu_bar_show(&bench, 1, FRAME_SHUFFLED, 0x20);
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_FETCHED, 0, 0);
	copied = gpu_bar_status(&bench).bytes_copied;

	device = gpu_bar_assign(&bench);
	gpu_bar_paint(&bench, FRAME_SHUFFLED, 0x40);
	vtr_gpu_devices_changed(bench.machine.gpu);
	GPU_WAIT(&bench.machine, gpu_bar_shows(&bench, 0x40));
	expect(&bench, VTR_PATH_VFIO_DMABUF, 1, 0);
	g_assert_cmpuint(gpu_bar_status(&bench).bytes_copied, ==, copied);

	g_assert_cmpint(vtr_vfio_devices_remove(bench.devices, device), ==, 0);
	vtr_gpu_devices_changed(bench.machine.gpu);
	g_assert_cmpuint(bench.machine.gpu->resources.buffers, ==, 0);
	vtr_vfio_device_destroy(device);
	gpu_bar_paint(&bench, FRAME_SHUFFLED, 0x60);
	GPU_WAIT(&bench.machine, gpu_bar_shows(&bench, 0x60));
	expect(&bench, VTR_PATH_FETCHED, 1, 0);
	gpu_bar_destroy(&bench);
}

/* Another device may be one that the display reaches; so may another display be one that reaches the device. */
static void test_forgotten_with_the_devices(void)
{
	struct gpu_bar bench;

	start(&bench, FRAME_SHUFFLED);
	gpu_bar_refuse(&bench, DMABUF, VTR_ERROR_UNSUPPORTED);
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_FETCHED, 1, 0);
	gpu_bar_refuse(&bench, 0, VTR_ERROR_NONE);
	vtr_gpu_devices_changed(bench.machine.gpu);
	GPU_WAIT(&bench.machine, gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF) == 2);
	GPU_WAIT(&bench.machine, gpu_bar_status(&bench).path == VTR_PATH_VFIO_DMABUF);
	gpu_bar_refuse(&bench, DMABUF, VTR_ERROR_UNSUPPORTED);
	gpu_bar_flush(&bench, 1);
	expect(&bench, VTR_PATH_FETCHED, 3, 0);
	gpu_bar_refuse(&bench, 0, VTR_ERROR_NONE);
	vtr_scanout_display_changed(bench.machine.gpu, &bench.machine.gpu->scanouts[0]);
	GPU_WAIT(&bench.machine, gpu_bar_tried(&bench, VTR_PATH_VFIO_DMABUF) == 4);
	gpu_bar_destroy(&bench);
}

/* ---- back-off ---- */

static const struct backoff_row {
	const char *name;
	enum vtr_error_owner owner;
	uint64_t retry_s; /* after the first failure; 0: not by the clock */
	bool lifted;      /* by vtr_backoff_lift_revoked() */
} backoff_rows[] = {
	{ "host", VTR_ERROR_HOST, 1, false },
	{ "unsupported", VTR_ERROR_UNSUPPORTED, 0, false },
	{ "guest", VTR_ERROR_GUEST, 0, false },
	{ "revoked", VTR_ERROR_REVOKED, 0, true },
};

static void test_backoff(gconstpointer data)
{
	const struct backoff_row *row = data;
	const uint64_t second = UINT64_C(1000000000), now = 77 * second;
	struct vtr_backoff backoff = { 0 };
	struct vtr_error error;

	g_assert_true(vtr_backoff_due(&backoff, 0));
	vtr_error_set(&error, row->owner, EIO, "no");
	vtr_backoff_failed(&backoff, &error, now);
	g_assert_true(vtr_backoff_has_failed(&backoff));
	g_assert_false(vtr_backoff_due(&backoff, now));
	/* frames that were on their way when the first failed make nothing longer */
	vtr_backoff_failed(&backoff, &error, now + 1);
	g_assert_cmpint(vtr_backoff_due(&backoff, now + second), ==, row->retry_s == 1);
	g_assert_cmpint(vtr_backoff_due(&backoff, now + 1000000 * second), ==, row->retry_s == 1);
	vtr_backoff_lift_revoked(&backoff);
	g_assert_cmpint(vtr_backoff_due(&backoff, now), ==, row->lifted);
	/* and what fails again after that waits again */
	vtr_backoff_failed(&backoff, &error, now + second);
	g_assert_false(vtr_backoff_due(&backoff, now + second));
	g_assert_cmpint(vtr_backoff_due(&backoff, now + 3 * second), ==, row->retry_s == 1);
}

/* Whatever can make the difference to an importer makes another kind. */
static void test_kinds(void)
{
	const struct vtr_import_kind kind = { .path = VTR_PATH_UDMABUF, .format = 1, .width = 2, .height = 3, .stride = 8 };
	struct vtr_import_kind others[] = { kind, kind, kind, kind, kind, kind, kind };
	struct vtr_imports imports = { 0 };
	struct vtr_error error;

	others[0].path = VTR_PATH_VFIO_DMABUF;
	others[1].format++;
	others[2].width++;
	others[3].height++;
	others[4].stride++;
	others[5].scattered = true;
	others[6].origin++;
	vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no");
	vtr_imports_failed(&imports, &kind, &error, 1);
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
		g_assert_null(vtr_imports_failure(&imports, &others[i]));
	g_assert_nonnull(vtr_imports_failure(&imports, &kind));
}

/* More kinds than there is room for: the oldest is forgotten, the others are not. */
static void test_more_failures_than_places(void)
{
	struct vtr_imports imports = { 0 };
	struct vtr_error error;

	vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no");
	for (uint32_t i = 0; i <= VTR_IMPORT_FAILURES; i++)
		vtr_imports_failed(&imports, &(struct vtr_import_kind){ .format = i }, &error, 1);
	for (uint32_t i = 0; i <= VTR_IMPORT_FAILURES; i++)
		g_assert_cmpint(vtr_imports_failure(&imports, &(struct vtr_import_kind){ .format = i }) != NULL, ==, i != 0);
	vtr_imports_succeeded(&imports, &(struct vtr_import_kind){ .format = 3 });
	g_assert_null(vtr_imports_failure(&imports, &(struct vtr_import_kind){ .format = 3 }));
	vtr_imports_forget(&imports);
	g_assert_null(vtr_imports_failure(&imports, &(struct vtr_import_kind){ .format = 4 }));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/gpu/rung/", rung_rows, test_rung);
	g_test_add_func("/unit/gpu/rung/offset-in-the-blob", test_offset_in_the_blob);
	g_test_add_func("/unit/gpu/ladder/down-in-one-frame", test_down_in_one_frame);
	g_test_add_func("/unit/gpu/ladder/up-again", test_up_again);
	g_test_add_func("/unit/gpu/ladder/remembered-by-kind", test_remembered_by_kind);
	g_test_add_func("/unit/gpu/ladder/failure-of-a-dead-buffer", test_failure_of_a_dead_buffer);
	g_test_add_func("/unit/gpu/ladder/made-later", test_made_later);
	g_test_add_func("/unit/gpu/ladder/fetching-takes-too-long", test_fetching_takes_too_long);
	g_test_add_func("/unit/gpu/ladder/too-many-pieces", test_too_many_pieces);
	g_test_add_data_func("/unit/gpu/ladder/fetched-later/cancelled", GINT_TO_POINTER(-ECANCELED), test_fetched_later);
	g_test_add_data_func("/unit/gpu/ladder/fetched-later/busy", GINT_TO_POINTER(-EBUSY), test_fetched_later);
	g_test_add_func("/unit/gpu/ladder/device-comes-and-goes", test_device_comes_and_goes);
	g_test_add_func("/unit/gpu/ladder/forgotten-with-the-devices", test_forgotten_with_the_devices);
	ADD_ROWS("/unit/gpu/backoff/", backoff_rows, test_backoff);
	g_test_add_func("/unit/gpu/imports/kinds", test_kinds);
	g_test_add_func("/unit/gpu/imports/more-failures-than-places", test_more_failures_than_places);
	return g_test_run();
}
