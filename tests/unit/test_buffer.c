/* SPDX-License-Identifier: MIT */
#include <vitrine/buffer.h>

#include "memory_fixture.h"

static const struct path_row {
	const char *name;
	enum vtr_path path;
} path_rows[] = {
	{ "none", VTR_PATH_NONE },
	{ "fetched", VTR_PATH_FETCHED },
	{ "mapped", VTR_PATH_MAPPED },
	{ "readback", VTR_PATH_READBACK },
	{ "virgl", VTR_PATH_VIRGL },
	{ "udmabuf", VTR_PATH_UDMABUF },
	{ "vfio-window", VTR_PATH_VFIO_WINDOW },
	{ "vfio-dmabuf", VTR_PATH_VFIO_DMABUF },
};

static void test_path(gconstpointer data)
{
	const struct path_row *row = data;
	enum vtr_path path = VTR_PATH_COUNT;

	g_assert_cmpstr(vtr_path_name(row->path), ==, row->name);
	g_assert_cmpint(vtr_path_from_name(row->name, &path), ==, 0);
	g_assert_cmpint(path, ==, row->path);
}

static void test_unknown_path(void)
{
	static const char *const names[] = { "", "map", "mapped ", "Mapped", "vfio" };
	enum vtr_path path = VTR_PATH_VIRGL;

	g_assert_cmpuint(G_N_ELEMENTS(path_rows), ==, VTR_PATH_COUNT);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_cmpint(vtr_path_from_name(names[i], &path), ==, -EINVAL);
	g_assert_cmpint(path, ==, VTR_PATH_VIRGL);
}

static void test_members(void)
{
	int fd = pattern_file(1, PAGE);
	struct vtr_buffer *buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 16, 80);

	g_assert_cmpint(vtr_buffer_path(buffer), ==, VTR_PATH_UDMABUF);
	g_assert_cmpint(vtr_buffer_fd(buffer), ==, fd);
	g_assert_cmpuint(vtr_buffer_offset(buffer), ==, 16);
	g_assert_cmpuint(vtr_buffer_size(buffer), ==, 80);
	g_assert_cmpuint(vtr_buffer_ranges(buffer), ==, 1);
	vtr_buffer_set_ranges(buffer, 63);
	g_assert_cmpuint(vtr_buffer_ranges(buffer), ==, 63);
	vtr_buffer_drop(buffer);
	vtr_buffer_drop(NULL);
	vtr_buffer_unlock(NULL);
}

static void test_ids_are_never_reused(void)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < 1000; i++) {
		struct vtr_buffer *buffer = vtr_buffer_create(VTR_PATH_UDMABUF, -1, 0, 0);

		g_assert_cmpuint(vtr_buffer_id(buffer), >, last);
		last = vtr_buffer_id(buffer);
		vtr_buffer_drop(buffer);
	}
}

static const struct order_row {
	const char *name;
	const char *steps; // l: lock, u: unlock, d: drop
} order_rows[] = {
	{ "drop-only", "d" },
	{ "drop-last", "lud" },
	{ "unlock-last", "ldu" },
	{ "many", "lludlluuu" },
};

/* The fd is closed by the last step and not before. */
static void test_order(gconstpointer data)
{
	const struct order_row *row = data;
	int fd = pattern_file(1, PAGE);
	struct vtr_buffer *buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, PAGE);

	for (const char *step = row->steps; *step; step++) {
		g_assert_true(fd_is_open(fd));
		if (*step == 'l')
			g_assert_true(vtr_buffer_lock(buffer) == buffer);
		else if (*step == 'u')
			vtr_buffer_unlock(buffer);
		else
			vtr_buffer_drop(buffer);
	}
	g_assert_false(fd_is_open(fd));
}

static void count_release(void *data)
{
	++*(unsigned *)data;
}

/* A texture is let go once, by the last step; its dmabuf, if there is one, then, too. */
static void test_texture(gconstpointer data)
{
	const struct order_row *row = data;
	int display, image;
	const struct vtr_buffer_texture texture = { &display, &image, 64, 48 };
	const struct vtr_buffer_layout layout = { .stride = 512, .offset = 16, .modifier = 7 };
	int fd = pattern_file(1, PAGE);
	unsigned released = 0;
	struct vtr_buffer *buffer = vtr_buffer_create_texture(VTR_PATH_VIRGL, &texture, fd, count_release, &released);

	g_assert_null(vtr_buffer_layout(buffer));
	vtr_buffer_set_layout(buffer, &layout);
	g_assert_cmpuint(vtr_buffer_layout(buffer)->stride, ==, 512);
	g_assert_cmpuint(vtr_buffer_layout(buffer)->modifier, ==, 7);
	g_assert_true(vtr_buffer_texture(buffer)->egl_image == &image);
	g_assert_cmpuint(vtr_buffer_texture(buffer)->height, ==, 48);
	for (const char *step = row->steps; *step; step++) {
		g_assert_cmpuint(released, ==, 0);
		if (*step == 'l')
			vtr_buffer_lock(buffer);
		else if (*step == 'u')
			vtr_buffer_unlock(buffer);
		else
			vtr_buffer_drop(buffer);
	}
	g_assert_cmpuint(released, ==, 1);
	g_assert_false(fd_is_open(fd));
}

static gpointer lock_and_unlock(gpointer data)
{
	struct vtr_buffer *buffer = data;

	for (unsigned i = 0; i < 100000; i++)
		vtr_buffer_unlock(vtr_buffer_lock(buffer));
	vtr_buffer_unlock(buffer);
	return NULL;
}

static void test_threads(void)
{
	int fd = pattern_file(1, PAGE);
	struct vtr_buffer *buffer = vtr_buffer_create(VTR_PATH_UDMABUF, fd, 0, PAGE);
	GThread *threads[4];

	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		threads[i] = g_thread_new("display", lock_and_unlock, vtr_buffer_lock(buffer));
	vtr_buffer_drop(buffer);
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		g_thread_join(threads[i]);
	g_assert_false(fd_is_open(fd));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/buffer/path/", path_rows, test_path);
	ADD_ROWS("/buffer/order/", order_rows, test_order);
	ADD_ROWS("/buffer/texture/", order_rows, test_texture);
	g_test_add_func("/buffer/path/unknown", test_unknown_path);
	g_test_add_func("/buffer/members", test_members);
	g_test_add_func("/buffer/ids-are-never-reused", test_ids_are_never_reused);
	g_test_add_func("/buffer/threads", test_threads);
	return g_test_run();
}
