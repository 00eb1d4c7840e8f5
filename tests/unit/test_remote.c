/* SPDX-License-Identifier: MIT */
/* The device's side of a renderer in a process of its own, with a process that says whatever a test wants. */
#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fake_process.h"
#include "rows.h"

#define MS UINT64_C(1000000)

enum { WIDTH = 16, HEIGHT = 8, RESOURCE = 5 };

struct remote_fixture {
	struct fake_process fake;
	struct vtr_loop *loop;
	struct vtr_renderer *renderer;
	struct vtr_render_call call;
	unsigned n_done, n_lost, n_fences;
	int code;           /* of the last call that was done */
	uint64_t fences[8]; /* that passed */
	unsigned after[8];  /* how many calls were done before */
};

static void on_fence(void *data, uint64_t id)
{
	struct remote_fixture *fixture = data;

	g_assert_cmpuint(fixture->n_fences, <, G_N_ELEMENTS(fixture->fences));
	fixture->after[fixture->n_fences] = fixture->n_done;
	fixture->fences[fixture->n_fences++] = id;
}

static void on_lost(void *data, const struct vtr_error *why)
{
	struct remote_fixture *fixture = data;

	g_assert_cmpint(why->code, ==, ENODEV);
	fixture->n_lost++;
}

static void on_done(struct vtr_render_call *call)
{
	struct remote_fixture *fixture = call->user;

	fixture->n_done++;
	fixture->code = call->code;
}

static void connect_to(struct remote_fixture *fixture)
{
	static const struct vtr_renderer_listener listener = { .fence_done = on_fence, .lost = on_lost };
	struct vtr_error error;

	fixture->renderer = vtr_remote_create(fixture->loop, &(struct vtr_renderer_options){ 0 }, &fixture->fake.settings, &error);
	if (!fixture->renderer)
		g_error("%s", error.text);
	vtr_renderer_set_listener(fixture->renderer, &listener, fixture);
}

static void fixture_init(struct remote_fixture *fixture)
{
	*fixture = (struct remote_fixture){ .loop = vtr_loop_create() };
	fake_process_init(&fixture->fake);
	connect_to(fixture);
}

static void fixture_finish(struct remote_fixture *fixture)
{
	vtr_renderer_destroy(fixture->renderer);
	fake_process_finish(&fixture->fake);
	vtr_loop_destroy(fixture->loop);
}

static struct vtr_remote *remote_of(struct remote_fixture *fixture)
{
	return (struct vtr_remote *)fixture->renderer;
}

static void turn(struct remote_fixture *fixture)
{
	for (int i = 0; i < 4; i++)
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 0), ==, 0);
}

/* Makes fixture->call. */
static int make_call(struct remote_fixture *fixture, uint32_t op)
{
	fixture->call.args.op = op;
	fixture->call.args.resource_id = RESOURCE;
	fixture->call.done = on_done;
	fixture->call.user = fixture;
	return vtr_renderer_call(fixture->renderer, &fixture->call);
}

/* The resource is there, as far as the device knows. */
static void create(struct remote_fixture *fixture)
{
	struct vtr_remote_call heard;

	fixture->call = (struct vtr_render_call){ 0 };
	fixture->call.args.create_3d.width = WIDTH;
	fixture->call.args.create_3d.height = HEIGHT;
	g_assert_cmpint(make_call(fixture, VTR_RENDER_CREATE_3D), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture->fake, &heard));
	g_assert_cmpuint(heard.args.create_3d.width, ==, WIDTH);
	g_assert_true(fake_say_done(&fixture->fake, heard.serial, 0));
	turn(fixture);
	g_assert_cmpuint(fixture->n_done, ==, 1);
	g_assert_cmpint(fixture->code, ==, 0);
	fixture->n_done = 0;
	fixture->call = (struct vtr_render_call){ 0 };
}

/* ---- answers ---- */

struct answer_row {
	const char *name;
	uint32_t op;
	int code;  /* what comes of it */
	bool lost; /* it is the end of the process */
	void (*answer)(struct fake_process *fake, uint64_t serial);
};

static void say_ok(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, 0);
}

static void say_einval(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, -EINVAL);
}

static void say_enoent(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, -ENOENT);
}

static void say_enomem(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, -ENOMEM);
}

static void say_in_pieces(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = fake_done(serial, 0);

	for (size_t i = 0; i < sizeof(done); i += 8)
		g_assert_true(fake_say(fake, (const char *)&done + i, 8, NULL, 0));
}

static void say_next_serial(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial + 1, 0);
}

static void say_last_serial(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial - 1, 0);
}

static void say_twice(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, 0);
	fake_say_done(fake, serial, 0);
}

static void say_unknown_code(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, -EIO);
}

static void say_positive_code(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, 1);
}

static void say_in_progress(struct fake_process *fake, uint64_t serial)
{
	fake_say_done(fake, serial, -EINPROGRESS);
}

/* A DONE with so many fds. */
static void say_with_fds(struct fake_process *fake, const struct vtr_remote_done *done, int fd, size_t n_fds)
{
	int fds[32];

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = fd;
	fake_say(fake, done, sizeof(*done), fds, n_fds);
	close(fd);
}

static void say_fd(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = fake_done(serial, 0);

	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

static void say_fd_with_error(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = fake_done(serial, -EINVAL);

	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

/* What a good EXPORT says. */
static struct vtr_remote_done exported(uint64_t serial)
{
	struct vtr_remote_done done = fake_done(serial, 0);

	done.stride = WIDTH * 4;
	done.size = WIDTH * HEIGHT * 4;
	return done;
}

static void say_picture(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = exported(serial);

	say_with_fds(fake, &done, vtr_memfd_create("fake", done.size), 1);
}

static void say_two_pictures(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = exported(serial);

	say_with_fds(fake, &done, vtr_memfd_create("fake", done.size), 2);
}

static void say_many_fds(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = exported(serial);

	say_with_fds(fake, &done, vtr_memfd_create("fake", done.size), VTR_MAX_MESSAGE_FDS + 1);
}

static void say_short_picture(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = exported(serial);

	say_with_fds(fake, &done, vtr_memfd_create("fake", done.size - 1), 1);
}

static void say_small_picture(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = exported(serial);

	done.size--;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

static void say_pipe(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = exported(serial);
	int ends[2];

	g_assert_cmpint(pipe(ends), ==, 0);
	say_with_fds(fake, &done, ends[0], 1);
	close(ends[1]);
}

/* What its owner could cut short while somebody reads it. */
static void say_unsealable(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = exported(serial);
	int fd = memfd_create("fake", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, 4096), ==, 0);
	say_with_fds(fake, &done, fd, 1);
}

static void say_no_stride(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = exported(serial);

	done.stride = 0;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

static void say_narrow_stride(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = exported(serial);

	done.stride -= 4;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

static void say_far_offset(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = exported(serial);

	done.offset = 4;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

static void say_huge_offset(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = exported(serial);

	done.offset = UINT64_MAX - 3;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

static void say_huge_stride(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = exported(serial);

	done.stride = UINT32_MAX;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

static void say_tiled_nowhere(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = exported(serial);

	done.modifier = I915_FORMAT_MOD_X_TILED;
	done.offset = done.size;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 4096), 1);
}

/* What a good EXPORT_BLOB says. */
static struct vtr_remote_done mapped(uint64_t serial)
{
	struct vtr_remote_done done = fake_done(serial, 0);

	done.offset = 4096;
	done.size = 4096;
	done.map_info = 1;
	return done;
}

static void say_blob(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = mapped(serial);

	say_with_fds(fake, &done, vtr_memfd_create("fake", 8192), 1);
}

static void say_short_blob(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = mapped(serial);

	say_with_fds(fake, &done, vtr_memfd_create("fake", 8191), 1);
}

static void say_no_blob(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = mapped(serial);

	done.size = 0;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 8192), 1);
}

static void say_wrapping_blob(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = mapped(serial);

	done.size = UINT64_MAX - 4095;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 8192), 1);
}

static void say_blob_uncachable(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = mapped(serial);

	done.map_info = 4;
	say_with_fds(fake, &done, vtr_memfd_create("fake", 8192), 1);
}

static void say_size_0(struct fake_process *fake, uint64_t serial)
{
	fake_say(fake, &(struct vtr_remote_header){ VTR_REMOTE_DONE, 0 }, sizeof(struct vtr_remote_header), NULL, 0);
}

static void say_size_huge(struct fake_process *fake, uint64_t serial)
{
	fake_say(fake, &(struct vtr_remote_header){ VTR_REMOTE_DONE, UINT32_MAX }, sizeof(struct vtr_remote_header), NULL, 0);
}

static void say_other_type(struct fake_process *fake, uint64_t serial)
{
	struct vtr_remote_done done = fake_done(serial, 0);

	done.header.type = VTR_REMOTE_FENCE_DONE;
	fake_say(fake, &done, sizeof(done), NULL, 0);
}

static void say_call(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_add_file message = { .header = { VTR_REMOTE_ADD_FILE, sizeof(message) } };

	fake_say(fake, &message, sizeof(message), NULL, 0);
}

static void say_started(struct fake_process *fake, uint64_t serial)
{
	fake_say(fake, &fake->started, sizeof(fake->started), NULL, 0);
}

static void say_fence(struct fake_process *fake, uint64_t serial)
{
	fake_say_fence(fake, 1);
}

static void hang_up(struct fake_process *fake, uint64_t serial)
{
	shutdown(fake->socket, SHUT_RDWR);
}

static void say_half(struct fake_process *fake, uint64_t serial)
{
	const struct vtr_remote_done done = fake_done(serial, 0);

	fake_say(fake, &done, sizeof(done) / 2, NULL, 0);
	shutdown(fake->socket, SHUT_RDWR);
}

static const struct answer_row answers[] = {
	{ "ok", VTR_RENDER_UNREF, 0, false, say_ok },
	{ "in-pieces", VTR_RENDER_UNREF, 0, false, say_in_pieces },
	{ "einval", VTR_RENDER_TRANSFER_TO_HOST, -EINVAL, false, say_einval },
	{ "enoent", VTR_RENDER_TRANSFER_TO_HOST, -ENOENT, false, say_enoent },
	{ "enomem", VTR_RENDER_TRANSFER_TO_HOST, -ENOMEM, false, say_enomem },
	{ "picture", VTR_RENDER_EXPORT, 0, false, say_picture },
	{ "no-picture", VTR_RENDER_EXPORT, -EINVAL, false, say_einval },
	{ "blob", VTR_RENDER_EXPORT_BLOB, 0, false, say_blob },
	{ "no-blob", VTR_RENDER_EXPORT_BLOB, -ENOMEM, false, say_enomem },

	{ "next-serial", VTR_RENDER_UNREF, -ENODEV, true, say_next_serial },
	{ "last-serial", VTR_RENDER_UNREF, -ENODEV, true, say_last_serial },
	{ "twice", VTR_RENDER_UNREF, 0, true, say_twice },
	{ "unknown-code", VTR_RENDER_UNREF, -ENODEV, true, say_unknown_code },
	{ "positive-code", VTR_RENDER_UNREF, -ENODEV, true, say_positive_code },
	{ "in-progress", VTR_RENDER_UNREF, -ENODEV, true, say_in_progress },
	{ "fd-nobody-wants", VTR_RENDER_UNREF, -ENODEV, true, say_fd },
	{ "fd-with-error", VTR_RENDER_EXPORT, -ENODEV, true, say_fd_with_error },
	{ "picture-without-fd", VTR_RENDER_EXPORT, -ENODEV, true, say_ok },
	{ "picture-twice", VTR_RENDER_EXPORT, -ENODEV, true, say_two_pictures },
	{ "picture-many-fds", VTR_RENDER_EXPORT, -ENODEV, true, say_many_fds },
	{ "picture-file-too-short", VTR_RENDER_EXPORT, -ENODEV, true, say_short_picture },
	{ "picture-too-small", VTR_RENDER_EXPORT, -ENODEV, true, say_small_picture },
	{ "picture-pipe", VTR_RENDER_EXPORT, -ENODEV, true, say_pipe },
	{ "picture-unsealable", VTR_RENDER_EXPORT, -ENODEV, true, say_unsealable },
	{ "picture-no-stride", VTR_RENDER_EXPORT, -ENODEV, true, say_no_stride },
	{ "picture-narrow-stride", VTR_RENDER_EXPORT, -ENODEV, true, say_narrow_stride },
	{ "picture-huge-stride", VTR_RENDER_EXPORT, -ENODEV, true, say_huge_stride },
	{ "picture-far-offset", VTR_RENDER_EXPORT, -ENODEV, true, say_far_offset },
	{ "picture-huge-offset", VTR_RENDER_EXPORT, -ENODEV, true, say_huge_offset },
	{ "picture-tiled-nowhere", VTR_RENDER_EXPORT, -ENODEV, true, say_tiled_nowhere },
	{ "blob-without-fd", VTR_RENDER_EXPORT_BLOB, -ENODEV, true, say_ok },
	{ "blob-too-short", VTR_RENDER_EXPORT_BLOB, -ENODEV, true, say_short_blob },
	{ "blob-empty", VTR_RENDER_EXPORT_BLOB, -ENODEV, true, say_no_blob },
	{ "blob-wraps", VTR_RENDER_EXPORT_BLOB, -ENODEV, true, say_wrapping_blob },
	{ "blob-map-info", VTR_RENDER_EXPORT_BLOB, -ENODEV, true, say_blob_uncachable },
	{ "size-0", VTR_RENDER_UNREF, -ENODEV, true, say_size_0 },
	{ "size-huge", VTR_RENDER_UNREF, -ENODEV, true, say_size_huge },
	{ "size-of-another-type", VTR_RENDER_UNREF, -ENODEV, true, say_other_type },
	{ "message-of-the-device", VTR_RENDER_UNREF, -ENODEV, true, say_call },
	{ "started-again", VTR_RENDER_UNREF, -ENODEV, true, say_started },
	{ "unknown-fence", VTR_RENDER_UNREF, -ENODEV, true, say_fence },
	{ "hangs-up", VTR_RENDER_UNREF, -ENODEV, true, hang_up },
	{ "hangs-up-half-way", VTR_RENDER_UNREF, -ENODEV, true, say_half },
};

static unsigned open_fds(void)
{
	GDir *folder = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(folder))
		count++;
	g_dir_close(folder);
	return count;
}

static void check_result(struct remote_fixture *fixture, const struct answer_row *row)
{
	if (row->op == VTR_RENDER_EXPORT && !row->code) {
		g_assert_cmpint(vtr_buffer_path(fixture->call.exported), ==, VTR_PATH_VIRGL);
		g_assert_cmpint(vtr_buffer_fd(fixture->call.exported), >=, 0);
		g_assert_null(vtr_buffer_texture(fixture->call.exported));
		g_assert_cmpuint(vtr_buffer_layout(fixture->call.exported)->stride, ==, WIDTH * 4);
		vtr_buffer_drop(fixture->call.exported);
	} else {
		g_assert_null(fixture->call.exported);
	}
	if (row->op == VTR_RENDER_EXPORT_BLOB && !row->code) {
		g_assert_cmpuint(fixture->call.mapped.offset, ==, 4096);
		g_assert_cmpuint(fixture->call.mapped.size, ==, 4096);
		vtr_fd_close(&fixture->call.mapped.fd);
	} else {
		g_assert_cmpint(fixture->call.mapped.fd, ==, -1);
	}
}

static void test_answer(gconstpointer data)
{
	const struct answer_row *row = data;
	const unsigned fds = open_fds();
	struct remote_fixture fixture;
	struct vtr_remote_call heard;

	fixture_init(&fixture);
	create(&fixture);
	g_assert_cmpint(make_call(&fixture, row->op), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture.fake, &heard));
	g_assert_cmpuint(heard.args.op, ==, row->op);
	row->answer(&fixture.fake, heard.serial);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_cmpint(fixture.code, ==, row->code);
	g_assert_cmpuint(fixture.n_lost, ==, row->lost);
	check_result(&fixture, row);
	fixture_finish(&fixture);
	g_assert_cmpuint(open_fds(), ==, fds);
}

/* ---- starting ---- */

struct start_row {
	const char *name;
	const char *text; /* in the error */
	void (*spoil)(struct vtr_remote_started *started);
};

static void other_version(struct vtr_remote_started *started)
{
	started->version++;
}

static void refuses(struct vtr_remote_started *started)
{
	started->code = -ENODEV;
	started->error.owner = VTR_ERROR_UNSUPPORTED;
	started->error.code = ENODEV;
	memset(started->error.text, 'x', sizeof(started->error.text)); /* no end */
}

static void refuses_oddly(struct vtr_remote_started *started)
{
	started->code = 1;
	started->error.owner = 77;
	started->error.code = UINT32_MAX;
	strcpy(started->error.text, "\x1b[31m\xff red");
}

static void too_many_capsets(struct vtr_remote_started *started)
{
	started->n_capsets = VTR_MAX_CAPSETS + 1;
}

static void empty_capset(struct vtr_remote_started *started)
{
	started->capsets[1].max_size = 0;
}

static void huge_capset(struct vtr_remote_started *started)
{
	started->capsets[1].max_size = VTR_REMOTE_MAX_CAPSET + 1;
}

static void many_versions(struct vtr_remote_started *started)
{
	started->capsets[1].max_version = UINT32_MAX;
}

static void far_capset(struct vtr_remote_started *started)
{
	started->capsets[1].offset = VTR_REMOTE_ARENA - 3 * FAKE_CAPSET_SIZE + 1;
}

static void same_capset(struct vtr_remote_started *started)
{
	started->capsets[1].id = started->capsets[0].id;
}

static void other_type(struct vtr_remote_started *started)
{
	started->header.type = VTR_REMOTE_DONE;
}

static const struct start_row starts[] = {
	{ "other-version", "another version", other_version },
	{ "refuses", "xxxxxxxx", refuses },
	{ "refuses-oddly", "?[31m? red", refuses_oddly },
	{ "too-many-capsets", "too many capsets", too_many_capsets },
	{ "empty-capset", "cannot be", empty_capset },
	{ "huge-capset", "cannot be", huge_capset },
	{ "many-versions", "cannot be", many_versions },
	{ "far-capset", "nowhere", far_capset },
	{ "same-capset", "twice", same_capset },
	{ "other-type", "unknown message", other_type },
};

static void test_start(gconstpointer data)
{
	const struct start_row *row = data;
	const unsigned fds = open_fds();
	struct vtr_loop *loop = vtr_loop_create();
	struct fake_process fake;
	struct vtr_error error;

	fake_process_init(&fake);
	row->spoil(&fake.started);
	g_assert_null(vtr_remote_create(loop, &(struct vtr_renderer_options){ 0 }, &fake.settings, &error));
	g_assert_nonnull(strstr(error.text, row->text));
	g_assert_cmpint(error.code, >, 0);
	g_assert_true(g_utf8_validate(error.text, -1, NULL));
	fake_process_finish(&fake);
	vtr_loop_destroy(loop);
	g_assert_cmpuint(open_fds(), ==, fds);
}

static void test_start_silent(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	struct fake_process fake;
	struct vtr_error error;

	fake_process_init(&fake);
	fake.silent = true;
	fake.settings.answer_ns = 50 * MS;
	g_assert_null(vtr_remote_create(loop, &(struct vtr_renderer_options){ 0 }, &fake.settings, &error));
	g_assert_nonnull(strstr(error.text, "did not answer for 0.05 s"));
	fake_process_finish(&fake);
	vtr_loop_destroy(loop);
}

/* ---- the next one ---- */

static void lose(struct remote_fixture *fixture)
{
	fixture->n_lost = 0;
	shutdown(fixture->fake.socket, SHUT_RDWR);
	turn(fixture);
	g_assert_cmpuint(fixture->n_lost, ==, 1);
}

static void wait_until(uint64_t time_ns)
{
	while (vtr_now_ns() < time_ns)
		g_usleep(1000);
}

static void test_backoff(void)
{
	static const uint64_t pauses[] = { 40, 80, 100, 100 };
	struct remote_fixture fixture;

	*(&fixture) = (struct remote_fixture){ .loop = vtr_loop_create() };
	fake_process_init(&fixture.fake);
	fixture.fake.settings.backoff_ns = 40 * MS;
	fixture.fake.settings.max_backoff_ns = 100 * MS;
	connect_to(&fixture);
	for (unsigned i = 0; i < G_N_ELEMENTS(pauses); i++) {
		const uint64_t before = vtr_now_ns();

		remote_of(&fixture)->started_ns = before; /* it has not lived for long */
		lose(&fixture);
		g_assert_cmpuint(remote_of(&fixture)->not_before, >=, before + pauses[i] * MS);
		g_assert_cmpuint(remote_of(&fixture)->not_before, <=, vtr_now_ns() + pauses[i] * MS);
		if (vtr_now_ns() + 10 * MS < remote_of(&fixture)->not_before)
			g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -ENODEV);
		g_assert_cmpuint(fixture.fake.starts, ==, i + 1);
		wait_until(remote_of(&fixture)->not_before);
		g_assert_cmpint(make_call(&fixture, VTR_RENDER_UNREF), ==, -ENODEV);
		g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
		g_assert_cmpuint(fixture.fake.starts, ==, i + 2);
		turn(&fixture);
	}
	/* one that has lived for long is not held against its successor */
	remote_of(&fixture)->started_ns = vtr_now_ns() - 101 * MS;
	const uint64_t before = vtr_now_ns();
	lose(&fixture);
	g_assert_cmpuint(remote_of(&fixture)->not_before, <=, vtr_now_ns() + 40 * MS);
	g_assert_cmpuint(remote_of(&fixture)->not_before, >=, before + 40 * MS);
	fixture_finish(&fixture);
}

/* A call that starts a process waits for it, and those behind it do. */
static void test_next(void)
{
	struct remote_fixture fixture;
	struct vtr_remote_call heard;
	struct vtr_render_call second = { .args = { .op = VTR_RENDER_CTX_DESTROY, .ctx_id = 1 },
		                          .done = on_done,
		                          .user = &fixture };

	fixture_init(&fixture);
	lose(&fixture);
	remote_of(&fixture)->not_before = 0;
	fixture.fake.silent = true;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	g_assert_cmpint(vtr_renderer_call(fixture.renderer, &second), ==, -EINPROGRESS);
	turn(&fixture);
	g_assert_false(fake_hear_call(&fixture.fake, &heard)); /* START only */
	fake_say(&fixture.fake, &fixture.fake.started, sizeof(fixture.fake.started), NULL, 0);
	turn(&fixture);
	for (unsigned i = 0; i < 2; i++) {
		g_assert_true(fake_hear_call(&fixture.fake, &heard));
		g_assert_cmpuint(heard.args.op, ==, i ? VTR_RENDER_CTX_DESTROY : VTR_RENDER_CTX_CREATE);
		fake_say_done(&fixture.fake, heard.serial, 0);
	}
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 2);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* The guest has read the capsets of the first. */
static void test_next_differs(void)
{
	struct remote_fixture fixture;

	fixture_init(&fixture);
	lose(&fixture);
	remote_of(&fixture)->not_before = 0;
	fixture.fake.started.capsets[0].max_size++;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_cmpint(fixture.code, ==, -ENODEV);
	g_assert_cmpuint(fixture.n_lost, ==, 2);
	g_assert_nonnull(strstr(remote_of(&fixture)->why.text, "other capsets"));
	g_assert_cmpuint(fixture.renderer->capsets[0].max_size, ==, FAKE_CAPSET_SIZE);
	fixture_finish(&fixture);
}

/* ---- time ---- */

static void dispatch_until_lost(struct remote_fixture *fixture)
{
	const uint64_t deadline = vtr_now_ns() + 30000 * MS;

	while (!fixture->n_lost) {
		g_assert_cmpuint(vtr_now_ns(), <, deadline);
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 100), ==, 0);
	}
}

static void fence(struct remote_fixture *fixture, uint64_t id)
{
	struct vtr_remote_call heard;

	fixture->call = (struct vtr_render_call){ 0 };
	fixture->call.args.fence.id = id;
	g_assert_cmpint(make_call(fixture, VTR_RENDER_FENCE), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture->fake, &heard));
	fake_say_done(&fixture->fake, heard.serial, 0);
	turn(fixture);
}

static void fixture_init_impatient(struct remote_fixture *fixture)
{
	*fixture = (struct remote_fixture){ .loop = vtr_loop_create() };
	fake_process_init(&fixture->fake);
	fixture->fake.settings.answer_ns = 50 * MS;
	fixture->fake.settings.wait_ns = 50 * MS;
	fixture->fake.settings.fence_ns = 100 * MS;
	connect_to(fixture);
}

static void test_silent(void)
{
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	const uint64_t before = vtr_now_ns();
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	dispatch_until_lost(&fixture);
	g_assert_cmpuint(vtr_now_ns() - before, >=, 50 * MS);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_nonnull(strstr(remote_of(&fixture)->why.text, "did not answer"));
	fixture_finish(&fixture);
}

/* A byte now and then is no answer. */
static void test_trickle(void)
{
	const struct vtr_remote_done done = fake_done(0, 0);
	struct remote_fixture fixture;
	size_t sent = 0;

	fixture_init_impatient(&fixture);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	const uint64_t deadline = vtr_now_ns() + 30000 * MS;
	while (!fixture.n_lost && vtr_now_ns() < deadline) {
		if (sent < sizeof(done) - 1)
			sent += fake_say(&fixture.fake, (const char *)&done + sent, 1, NULL, 0);
		vtr_loop_dispatch(fixture.loop, 1);
	}
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* Drawing may take longer than answering, but not for ever. */
static void test_fence_that_never_passes(void)
{
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	const uint64_t before = vtr_now_ns();
	fence(&fixture, 1);
	dispatch_until_lost(&fixture);
	g_assert_cmpuint(vtr_now_ns() - before, >=, 100 * MS);
	g_assert_cmpuint(fixture.n_fences, ==, 0);
	fixture_finish(&fixture);
}

/* A process that owes nothing may be silent as long as it likes. */
static void test_idle(void)
{
	const uint64_t until = vtr_now_ns() + 300 * MS;
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	fence(&fixture, 1);
	fake_say_fence(&fixture.fake, 1);
	while (vtr_now_ns() < until)
		g_assert_cmpint(vtr_loop_dispatch(fixture.loop, 10), ==, 0);
	g_assert_cmpuint(fixture.n_fences, ==, 1);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	g_assert_false(remote_of(&fixture)->timer_armed);
	fixture_finish(&fixture);
}

static void test_wait_silent(void)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_DETACH_BACKING } };
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, -ENODEV);
	g_assert_cmpuint(fixture.n_lost, ==, 0); /* from the loop */
	turn(&fixture);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* ---- order ---- */

/* What is heard while somebody waits is told by the loop, in its order. */
static void test_order(void)
{
	struct vtr_render_call wanted = { .args = { .op = VTR_RENDER_CTX_DESTROY } };
	struct remote_fixture fixture;
	struct vtr_remote_call heard;

	fixture_init(&fixture);
	fixture.call.args.fence.id = 7;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_FENCE), ==, -EINPROGRESS);
	fake_hear_call(&fixture.fake, &heard);
	fake_say_done(&fixture.fake, heard.serial, 0);
	fake_say_fence(&fixture.fake, 7);
	fake_say_done(&fixture.fake, heard.serial + 1, -ENOENT);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &wanted), ==, -ENOENT);
	g_assert_cmpuint(fixture.n_done + fixture.n_fences, ==, 0);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_cmpuint(fixture.n_fences, ==, 1);
	g_assert_cmpuint(fixture.after[0], ==, 1);
	fixture_finish(&fixture);
}

static void test_fences(void)
{
	struct remote_fixture fixture;

	fixture_init(&fixture);
	for (uint64_t id = 1; id <= 4; id++)
		fence(&fixture, id);
	fake_say_fence(&fixture.fake, 3); /* another ring's */
	fake_say_fence(&fixture.fake, 1);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_fences, ==, 2);
	g_assert_cmpuint(fixture.fences[0], ==, 3);
	g_assert_cmpuint(fixture.fences[1], ==, 1);
	fake_say_fence(&fixture.fake, 3); /* once more */
	turn(&fixture);
	g_assert_cmpuint(fixture.n_fences, ==, 2);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* RESET ends fences, and what is refused has none. */
static void test_fences_that_are_no_more(void)
{
	struct remote_fixture fixture;
	struct vtr_remote_call heard;

	fixture_init(&fixture);
	fence(&fixture, 1);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_RESET), ==, -EINPROGRESS);
	fake_hear_call(&fixture.fake, &heard);
	fake_say_done(&fixture.fake, heard.serial, 0);
	turn(&fixture);
	g_assert_null(remote_of(&fixture)->fences.first);
	fixture.call.args.fence.id = 2;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_FENCE), ==, -EINPROGRESS);
	fake_hear_call(&fixture.fake, &heard);
	fake_say_done(&fixture.fake, heard.serial, -EINVAL);
	turn(&fixture);
	g_assert_cmpuint(remote_of(&fixture)->n_fences, ==, 0);
	fixture_finish(&fixture);
}

/* ---- much ---- */

/* The process takes nothing: calls wait, up to a bound, and are carried out in their order when it does. */
static void test_full_socket(void)
{
	static struct vtr_render_call calls[VTR_REMOTE_CALLS + 1];
	struct remote_fixture fixture;
	struct vtr_remote_call heard;
	uint64_t serial = 0;
	unsigned left = VTR_REMOTE_CALLS;

	fixture_init(&fixture);
	for (unsigned i = 0; i <= VTR_REMOTE_CALLS; i++) {
		calls[i] = (struct vtr_render_call){ .args = { .op = VTR_RENDER_CTX_DESTROY, .ctx_id = i },
			                             .done = on_done,
			                             .user = &fixture };
		g_assert_cmpint(vtr_renderer_call(fixture.renderer, &calls[i]), ==, i < VTR_REMOTE_CALLS ? -EINPROGRESS : -ENOMEM);
	}
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 0);
	while (left) {
		if (!fake_hear_call(&fixture.fake, &heard)) {
			turn(&fixture);
			continue;
		}
		g_assert_cmpuint(heard.args.ctx_id, ==, VTR_REMOTE_CALLS - left--);
		g_assert_cmpuint(heard.serial, ==, serial++);
		g_assert_true(fake_say_done(&fixture.fake, heard.serial, 0));
		if (left % 100 == 0)
			turn(&fixture);
	}
	turn(&fixture);
	while (fixture.n_done < VTR_REMOTE_CALLS)
		g_assert_cmpint(vtr_loop_dispatch(fixture.loop, 1000), ==, 0);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	fixture_finish(&fixture);
}

enum { STREAMS = 9 };

static void check_stream(const struct fake_process *fake, const struct vtr_remote_call *heard, unsigned i)
{
	const uint32_t *words = (const uint32_t *)(const void *)(fake->arena + heard->arena_offset);

	g_assert_cmpuint(heard->arena_offset % 8, ==, 0);
	g_assert_cmpuint(words[0], ==, i);
	g_assert_cmpuint(words[heard->arena_size / 4 - 1], ==, i);
}

/* Streams share the arena: none is written over before it was read, and what does not fit waits. */
static void test_arena(void)
{
	static const size_t sizes[STREAMS] = {
		VTR_MAX_SUBMIT, VTR_MAX_SUBMIT / 2, VTR_MAX_SUBMIT, 4, VTR_MAX_SUBMIT, 20, VTR_MAX_SUBMIT, 3000, VTR_MAX_SUBMIT
	};
	struct vtr_render_call calls[STREAMS];
	struct remote_fixture fixture;
	struct vtr_remote_call heard[STREAMS];
	unsigned n_heard = 0, n_answered = 0, most = 0;

	fixture_init(&fixture);
	for (unsigned i = 0; i < STREAMS; i++) {
		uint32_t *words = g_malloc(sizes[i]);

		words[0] = words[sizes[i] / 4 - 1] = i;
		calls[i] = (struct vtr_render_call){ .args = { .op = VTR_RENDER_SUBMIT, .ctx_id = i },
			                             .data = words,
			                             .size = sizes[i],
			                             .done = on_done,
			                             .user = &fixture };
		g_assert_cmpint(vtr_renderer_call(fixture.renderer, &calls[i]), ==, -EINPROGRESS);
	}
	while (fixture.n_done < STREAMS) {
		turn(&fixture);
		while (n_heard < STREAMS && fake_hear_call(&fixture.fake, &heard[n_heard]))
			n_heard++;
		most = n_heard - n_answered > most ? n_heard - n_answered : most;
		for (unsigned i = n_answered; i < n_heard; i++)
			check_stream(&fixture.fake, &heard[i], i);
		g_assert_cmpuint(n_answered, <, n_heard);
		fake_say_done(&fixture.fake, heard[n_answered++].serial, 0);
		turn(&fixture);
	}
	g_assert_cmpuint(most, >=, 2);
	for (unsigned i = 0; i < STREAMS; i++)
		g_free((void *)calls[i].data);
	fixture_finish(&fixture);
}

/* ---- memory that nobody else can have ---- */

struct memory_row {
	const char *name;
	bool file, writable;
	int code;
};

static const struct memory_row memories[] = {
	{ "file", true, true, -EINPROGRESS },
	{ "for-reading-only", true, false, -EOPNOTSUPP },
	{ "remote", false, true, -EOPNOTSUPP },
};

static void test_memory(gconstpointer data)
{
	const struct memory_row *row = data;
	const struct vtr_mem_entry entry = { .address = 0x1000, .length = 4096 };
	struct vtr_memory *memory = vtr_memory_create();
	struct remote_fixture fixture;
	struct vtr_spans spans;

	fixture_init(&fixture);
	create(&fixture);
	g_assert_cmpint(vtr_memory_add(memory, 0x1000, 4096, row->file ? vtr_memfd_create("memory", 4096) : -1, 0, row->writable),
	                ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	fixture.call.spans = &spans;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_ATTACH_BACKING), ==, row->code);
	/* taken away: nothing can be made of it any more */
	vtr_memory_remove_all(memory);
	struct vtr_render_call late = { .args = { .op = VTR_RENDER_ATTACH_BACKING, .resource_id = RESOURCE }, .spans = &spans };
	g_assert_cmpint(vtr_renderer_call(fixture.renderer, &late), ==, -EOPNOTSUPP);
	fixture_finish(&fixture);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* A backing that was refused leaves nothing behind: the process is told to forget the file. */
static void test_refused_backing(void)
{
	struct remote_fixture fixture;
	struct vtr_remote_call heard;
	struct vtr_spans spans;

	fixture_init(&fixture);
	create(&fixture);
	g_assert_cmpint(vtr_spans_from_file(&spans, vtr_memfd_create("memory", 4096), 4096, NULL), ==, 0);
	fixture.call.spans = &spans;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_ATTACH_BACKING), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture.fake, &heard));
	g_assert_cmpuint(heard.has_spans, ==, 1);
	g_assert_cmpuint(heard.arena_size, ==, sizeof(struct vtr_remote_span));
	const struct vtr_remote_span *span = (const void *)(fixture.fake.arena + heard.arena_offset);
	g_assert_cmpuint(span->slot, ==, 0);
	g_assert_cmpuint(span->length, ==, 4096);
	fake_say_done(&fixture.fake, heard.serial, -EINVAL);
	turn(&fixture);
	g_assert_cmpint(fixture.code, ==, -EINVAL);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_DETACH_BACKING), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture.fake, &heard));
	g_assert_cmpuint(heard.forget[0], ==, 1);
	fixture_finish(&fixture);
	vtr_spans_finish(&spans);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/remote/answer/", answers, test_answer);
	ADD_ROWS("/unit/remote/start/", starts, test_start);
	g_test_add_func("/unit/remote/start/silent", test_start_silent);
	g_test_add_func("/unit/remote/backoff", test_backoff);
	g_test_add_func("/unit/remote/next", test_next);
	g_test_add_func("/unit/remote/next-differs", test_next_differs);
	g_test_add_func("/unit/remote/silent", test_silent);
	g_test_add_func("/unit/remote/trickle", test_trickle);
	g_test_add_func("/unit/remote/fence-that-never-passes", test_fence_that_never_passes);
	g_test_add_func("/unit/remote/idle", test_idle);
	g_test_add_func("/unit/remote/wait-silent", test_wait_silent);
	g_test_add_func("/unit/remote/order", test_order);
	g_test_add_func("/unit/remote/fences", test_fences);
	g_test_add_func("/unit/remote/fences-that-are-no-more", test_fences_that_are_no_more);
	g_test_add_func("/unit/remote/full-socket", test_full_socket);
	g_test_add_func("/unit/remote/arena", test_arena);
	ADD_ROWS("/unit/remote/memory/", memories, test_memory);
	g_test_add_func("/unit/remote/refused-backing", test_refused_backing);
	return g_test_run();
}
