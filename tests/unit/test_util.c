/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vitrine/error.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "rows.h"
#include "util/checked.h"
#include "util/fd.h"
#include "util/fourcc.h"

/* ---- loop ---- */

struct counter {
	struct vtr_loop *loop;
	struct vtr_source *self, *other;
	unsigned calls;
};

static void count(void *data)
{
	((struct counter *)data)->calls++;
}

static void count_fd(int fd, uint32_t events, void *data)
{
	count(data);
}

static void remove_other(int fd, uint32_t events, void *data)
{
	struct counter *counter = data;

	counter->calls++;
	vtr_source_remove(counter->other);
	counter->other = NULL;
}

static void count_and_stop(void *data)
{
	count(data);
	vtr_loop_stop(((struct counter *)data)->loop);
}

static void test_loop_removed_source_never_fires(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	struct counter a = { 0 }, b = { 0 };
	int pipe_a[2], pipe_b[2];

	g_assert_cmpint(pipe2(pipe_a, O_CLOEXEC), ==, 0);
	g_assert_cmpint(pipe2(pipe_b, O_CLOEXEC), ==, 0);
	g_assert_cmpint(write(pipe_a[1], "x", 1), ==, 1);
	g_assert_cmpint(write(pipe_b[1], "x", 1), ==, 1);
	a.self = b.other = vtr_loop_add_fd(loop, pipe_a[0], EPOLLIN, remove_other, &a);
	b.self = a.other = vtr_loop_add_fd(loop, pipe_b[0], EPOLLIN, remove_other, &b);
	g_assert_cmpint(vtr_loop_dispatch(loop, 0), ==, 0);
	g_assert_cmpuint(a.calls + b.calls, ==, 1);
	vtr_loop_destroy(loop);
	for (int i = 0; i < 2; i++) {
		close(pipe_a[i]);
		close(pipe_b[i]);
	}
}

static void test_loop_timer(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	struct counter counter = { .loop = loop };
	struct vtr_source *timer = vtr_loop_add_timer(loop, count_and_stop, &counter);
	uint64_t start = vtr_now_ns();

	vtr_timer_arm(timer, start + 1);
	vtr_timer_arm(timer, 0);
	g_assert_cmpint(vtr_loop_dispatch(loop, 5), ==, 0);
	g_assert_cmpuint(counter.calls, ==, 0);
	vtr_timer_arm(timer, start + 10000000);
	g_assert_cmpint(vtr_loop_run(loop), ==, 0);
	g_assert_cmpuint(counter.calls, ==, 1);
	g_assert_cmpuint(vtr_now_ns() - start, >=, 10000000);
	vtr_loop_destroy(loop);
}

static void test_loop_signal(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	struct counter counter = { .loop = loop };

	g_assert_nonnull(vtr_loop_add_signal(loop, SIGUSR1, count_and_stop, &counter));
	raise(SIGUSR1);
	g_assert_cmpint(vtr_loop_run(loop), ==, 0);
	g_assert_cmpuint(counter.calls, ==, 1);
	vtr_loop_destroy(loop);
}

static gpointer raise_from_thread(gpointer data)
{
	vtr_event_raise(data);
	vtr_event_raise(data);
	return NULL;
}

static void test_loop_event_from_thread(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	struct counter counter = { .loop = loop };
	struct vtr_source *event = vtr_loop_add_event(loop, count_and_stop, &counter);

	g_thread_join(g_thread_new("raise", raise_from_thread, event));
	g_assert_cmpint(vtr_loop_run(loop), ==, 0);
	g_assert_cmpuint(counter.calls, ==, 1);
	vtr_loop_destroy(loop);
}

static void test_loop_set_events(void)
{
	struct vtr_loop *loop = vtr_loop_create();
	struct counter counter = { 0 };
	int ends[2];

	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	struct vtr_source *source = vtr_loop_add_fd(loop, ends[1], 0, count_fd, &counter);
	vtr_loop_dispatch(loop, 0);
	g_assert_cmpuint(counter.calls, ==, 0);
	g_assert_cmpint(vtr_source_set_events(source, EPOLLOUT), ==, 0);
	vtr_loop_dispatch(loop, 0);
	g_assert_cmpuint(counter.calls, ==, 1);
	vtr_loop_destroy(loop);
	close(ends[0]);
	close(ends[1]);
}

/* ---- checked arithmetic ---- */

static const struct range_row {
	const char *name;
	uint64_t offset, length, size;
	bool fits;
} range_rows[] = {
	{ "whole", 0, 10, 10, true },
	{ "empty-at-end", 10, 0, 10, true },
	{ "empty-beyond-end", 11, 0, 10, false },
	{ "one-too-many", 1, 10, 10, false },
	{ "wraps", UINT64_MAX, 2, 10, false },
	{ "length-wraps", 2, UINT64_MAX, 10, false },
	{ "largest", 0, UINT64_MAX, UINT64_MAX, true },
};

static void test_range(gconstpointer data)
{
	const struct range_row *row = data;

	g_assert_cmpint(vtr_range_fits(row->offset, row->length, row->size), ==, row->fits);
}

static const struct overlap_row {
	const char *name;
	uint64_t a, a_size, b, b_size;
	bool overlap;
} overlap_rows[] = {
	{ "same", 5, 5, 5, 5, true },
	{ "touching", 0, 5, 5, 5, false },
	{ "one-byte", 0, 6, 5, 5, true },
	{ "inside", 0, 100, 50, 1, true },
	{ "empty-inside", 0, 100, 50, 0, false },
	{ "top-of-address-space", UINT64_MAX - 9, 10, UINT64_MAX, 1, true },
};

static void test_overlap(gconstpointer data)
{
	const struct overlap_row *row = data;

	g_assert_cmpint(vtr_ranges_overlap(row->a, row->a_size, row->b, row->b_size), ==, row->overlap);
	g_assert_cmpint(vtr_ranges_overlap(row->b, row->b_size, row->a, row->a_size), ==, row->overlap);
}

/* ---- fds ---- */

static void test_memfd_is_sealed(void)
{
	int fd = vtr_memfd_create("test", 4096);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, 0), <, 0);
	g_assert_cmpint(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK, !=, 0);
	g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
	vtr_fd_close(&fd);
	g_assert_cmpint(fd, ==, -1);
	g_assert_cmpint(vtr_memfd_create("test", UINT64_MAX), ==, -EFBIG);
}

static void test_unix_listen(void)
{
	char *directory = g_dir_make_tmp("vitrine-XXXXXX", NULL), *path = g_build_filename(directory, "socket", NULL);
	struct stat info;
	int first = vtr_unix_listen(path);

	g_assert_cmpint(first, >=, 0);
	g_assert_cmpint(stat(path, &info), ==, 0);
	g_assert_cmpint(info.st_mode & 0777, ==, 0600);
	g_assert_cmpint(vtr_unix_listen(path), ==, -EADDRINUSE);
	close(first);
	int second = vtr_unix_listen(path); /* nobody listens any more: replaced */
	g_assert_cmpint(second, >=, 0);
	close(second);
	g_unlink(path);
	g_assert_true(g_file_set_contents(path, "precious", -1, NULL));
	g_assert_cmpint(vtr_unix_listen(path), ==, -EEXIST); /* not a socket: not ours to remove */
	g_assert_cmpint(stat(path, &info), ==, 0);
	g_unlink(path);
	g_rmdir(directory);
	char *long_path = g_strnfill(200, 'x');
	g_assert_cmpint(vtr_unix_listen(long_path), ==, -ENAMETOOLONG);
	g_assert_cmpint(vtr_unix_connect(long_path), ==, -ENAMETOOLONG);
	g_free(long_path);
	g_free(path);
	g_free(directory);
}

/* ---- log and errors ---- */

static void collect(enum vtr_log_level level, const char *text, void *data)
{
	g_ptr_array_add(data, g_strdup(text));
}

static void test_log_limit(void)
{
	GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
	struct vtr_log_limit limit = { 0 };

	vtr_log_set_handler(collect, lines);
	for (int i = 0; i < 1000; i++)
		vtr_log_limited(&limit, VTR_LOG_WARN, "line %d", i);
	g_assert_cmpuint(lines->len, ==, VTR_LOG_BURST);
	limit.window_ns = 1; /* long ago */
	vtr_log_limited(&limit, VTR_LOG_WARN, "later");
	g_assert_cmpuint(lines->len, ==, VTR_LOG_BURST + 2);
	g_assert_cmpstr(lines->pdata[VTR_LOG_BURST], ==, "990 more messages like the last ones were left out");
	vtr_log(VTR_LOG_DEBUG, "not enabled");
	vtr_log(VTR_LOG_WARN, "a\nb\033[2J");
	g_assert_cmpuint(lines->len, ==, VTR_LOG_BURST + 3);
	g_assert_cmpstr(lines->pdata[VTR_LOG_BURST + 2], ==, "a?b?[2J");
	vtr_log_set_handler(NULL, NULL);
	g_ptr_array_unref(lines);
}

static const struct fourcc_row {
	const char *name;
	uint32_t memory, picture, result;
} fourcc_rows[] = {
	{ "the-same", DRM_FORMAT_XRGB8888, DRM_FORMAT_XRGB8888, DRM_FORMAT_XRGB8888 },
	{ "alpha-of-nobody", DRM_FORMAT_ARGB8888, DRM_FORMAT_XRGB8888, DRM_FORMAT_XRGB8888 },
	{ "other-places", DRM_FORMAT_ABGR8888, DRM_FORMAT_XRGB8888, DRM_FORMAT_XBGR8888 },
	{ "other-places-alpha", DRM_FORMAT_XBGR8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_ABGR8888 },
	{ "backwards", DRM_FORMAT_BGRA8888, DRM_FORMAT_RGBX8888, DRM_FORMAT_BGRX8888 },
	{ "two-bytes", DRM_FORMAT_RGB565, DRM_FORMAT_XRGB8888, 0 },
	{ "ten-bits", DRM_FORMAT_XRGB2101010, DRM_FORMAT_XRGB8888, 0 },
	{ "planes", DRM_FORMAT_NV12, DRM_FORMAT_XRGB8888, 0 },
	{ "none", 0, DRM_FORMAT_XRGB8888, 0 },
};

static void test_fourcc(const void *data)
{
	const struct fourcc_row *row = data;

	g_assert_cmphex(vtr_fourcc_of_picture(row->memory, row->picture), ==, row->result);
}

static void test_error(void)
{
	struct vtr_error error;

	g_assert_cmpint(vtr_error_set(&error, VTR_ERROR_HOST, ENOMEM, "no %s", "memory"), ==, -ENOMEM);
	g_assert_cmpstr(error.text, ==, "no memory");
	g_assert_cmpstr(vtr_error_owner_name(error.owner), ==, "host");
	g_assert_cmpint(vtr_error_set(NULL, VTR_ERROR_GUEST, EINVAL, "x"), ==, -EINVAL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/util/loop/removed-source-never-fires", test_loop_removed_source_never_fires);
	g_test_add_func("/util/loop/timer", test_loop_timer);
	g_test_add_func("/util/loop/signal", test_loop_signal);
	g_test_add_func("/util/loop/event-from-thread", test_loop_event_from_thread);
	g_test_add_func("/util/loop/set-events", test_loop_set_events);
	ADD_ROWS("/util/range/", range_rows, test_range);
	ADD_ROWS("/util/overlap/", overlap_rows, test_overlap);
	g_test_add_func("/util/fd/memfd-is-sealed", test_memfd_is_sealed);
	g_test_add_func("/util/fd/unix-listen", test_unix_listen);
	g_test_add_func("/util/log/limit", test_log_limit);
	ADD_ROWS("/util/fourcc/", fourcc_rows, test_fourcc);
	g_test_add_func("/util/error", test_error);
	return g_test_run();
}
