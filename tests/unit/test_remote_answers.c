/* SPDX-License-Identifier: MIT */
/* What the process says when it starts, and in answer to calls: good, wrong, and malformed. */
#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "remote_fixture.h"
#include "rows.h"

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
	done.format = DRM_FORMAT_XBGR8888;
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

static void check_result(struct remote_fixture *fixture, const struct answer_row *row)
{
	if (row->op == VTR_RENDER_EXPORT && !row->code) {
		g_assert_cmpint(vtr_buffer_path(fixture->call.exported), ==, VTR_PATH_VIRGL);
		g_assert_cmpint(vtr_buffer_fd(fixture->call.exported), >=, 0);
		g_assert_null(vtr_buffer_texture(fixture->call.exported));
		g_assert_cmpuint(vtr_buffer_layout(fixture->call.exported)->stride, ==, WIDTH * 4);
		g_assert_cmphex(vtr_buffer_layout(fixture->call.exported)->format, ==, DRM_FORMAT_XBGR8888);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/remote_answers/", answers, test_answer);
	ADD_ROWS("/unit/remote_answers/start/", starts, test_start);
	g_test_add_func("/unit/remote_answers/start/silent", test_start_silent);
	return g_test_run();
}
