/* SPDX-License-Identifier: MIT */
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "dmabuf/udmabuf.h"
#include "memory_fixture.h"
#include "util/fd.h"

/* ---- a dmabuf where the kernel has no exporter: fstatfs() tells its magic for one inode, everything else is real ---- */

static ino_t fake_dmabuf_inode;

int fstatfs(int fd, struct statfs *info)
{
	struct stat file;
	int result = (int)syscall(SYS_fstatfs, fd, info);

	if (result == 0 && fstat(fd, &file) == 0 && fake_dmabuf_inode && file.st_ino == fake_dmabuf_inode)
		info->f_type = DMA_BUF_MAGIC;
	return result;
}

/* ---- the kernel's side: the rules of facts that the caller must respect, and a memfd for an answer ---- */

static struct {
	unsigned calls;
	int error; // answered when not 0
	uint32_t count;
	struct udmabuf_create_item items[64];
} kernel;

static int fake_create(int device, const struct udmabuf_create_list *list)
{
	uint64_t size = 0;

	kernel.calls++;
	g_assert_cmpuint(list->flags, ==, UDMABUF_FLAGS_CLOEXEC);
	g_assert_cmpuint(list->count, >, 0);
	g_assert_cmpuint(list->count, <=, G_N_ELEMENTS(kernel.items));
	for (uint32_t i = 0; i < list->count; i++) {
		const struct udmabuf_create_item *item = &list->list[i];
		struct stat info;

		g_assert_cmpuint((item->offset | item->size) % PAGE, ==, 0);
		g_assert_cmpuint(item->size, >, 0);
		g_assert_cmpuint(item->__pad, ==, 0);
		g_assert_cmpint(fstat((int)item->memfd, &info), ==, 0);
		g_assert_cmpuint(item->offset + item->size, <=, ((uint64_t)info.st_size + PAGE - 1) / PAGE * PAGE);
		g_assert_cmpint(fcntl((int)item->memfd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_WRITE), ==, F_SEAL_SHRINK);
		kernel.items[i] = *item;
		size += item->size;
	}
	kernel.count = list->count;
	return kernel.error ? kernel.error : vtr_memfd_create("dmabuf", size);
}

struct fixture {
	char *folder; // of the module's parameters
	struct vtr_udmabuf_host host;
	struct vtr_memory *memory;
	struct vtr_spans spans;
	struct vtr_error error;
};

static void write_parameter(const struct fixture *fixture, const char *name, const char *value)
{
	g_autofree char *path = g_build_filename(fixture->folder, name, NULL);

	g_assert_true(g_file_set_contents_full(path, value, -1, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
}

static void set_up(struct fixture *fixture, const char *list_limit, const char *size_limit_mb)
{
	*fixture = (struct fixture){ .folder = g_dir_make_tmp("vitrine-XXXXXX", NULL), .memory = vtr_memory_create() };
	if (list_limit)
		write_parameter(fixture, "list_limit", list_limit);
	if (size_limit_mb)
		write_parameter(fixture, "size_limit_mb", size_limit_mb);
	g_assert_cmpint(vtr_udmabuf_host_open(&fixture->host, "/dev/null", fixture->folder, &fixture->error), ==, 0);
	fixture->host.create = fake_create;
	memset(&kernel, 0, sizeof(kernel));
}

static void tear_down(struct fixture *fixture)
{
	static const char *const names[] = { "list_limit", "size_limit_mb" };

	vtr_spans_finish(&fixture->spans);
	vtr_memory_destroy(fixture->memory);
	vtr_udmabuf_host_close(&fixture->host);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(fixture->folder, names[i], NULL);

		unlink(path);
	}
	rmdir(fixture->folder);
	g_free(fixture->folder);
}

static int sealed_file(size_t size, int seals)
{
	int fd = pattern_file(1, size);

	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
	return fd;
}

static int create(struct fixture *fixture, const struct vtr_mem_entry *entries, size_t count)
{
	g_assert_cmpint(vtr_spans_resolve(&fixture->spans, fixture->memory, entries, count, NULL), ==, 0);
	return vtr_udmabuf_host_create(&fixture->host, &fixture->spans, &fixture->error);
}

/* ---- what the kernel is asked for ---- */

enum { ROW_ENTRIES = 4 };

/* Memory: one sealed memfd of 32 pages, its pages 0 to 15 at 0x100000 and 16 to 31 right behind, as two regions; another one at
 * 0x200000. */
static const struct list_row {
	const char *name;
	struct vtr_mem_entry entries[ROW_ENTRIES];
	size_t count;
	uint32_t items;
	uint64_t offsets[ROW_ENTRIES], sizes[ROW_ENTRIES];
} list_rows[] = {
	{ "one", { { 0x101000, 2 * PAGE } }, 1, 1, { PAGE }, { 2 * PAGE } },
	{ "two", { { 0x101000, PAGE }, { 0x103000, PAGE } }, 2, 2, { PAGE, 3 * PAGE }, { PAGE, PAGE } },
	{ "any-order", { { 0x103000, PAGE }, { 0x101000, PAGE } }, 2, 2, { 3 * PAGE, PAGE }, { PAGE, PAGE } },
	{ "duplicates", { { 0x101000, PAGE }, { 0x101000, PAGE } }, 2, 2, { PAGE, PAGE }, { PAGE, PAGE } },
	{ "merged-across-regions-of-one-file", { { 0x10f000, 2 * PAGE } }, 1, 1, { 15 * PAGE }, { 2 * PAGE } },
	{ "two-files", { { 0x11f000, PAGE }, { 0x200000, PAGE } }, 2, 2, { 31 * PAGE, 0 }, { PAGE, PAGE } },
	{ "same-offset-in-another-file", { { 0x100000, PAGE }, { 0x201000, PAGE } }, 2, 2, { 0, PAGE }, { PAGE, PAGE } },
	{ "last-page-in-part", { { 0x101000, PAGE }, { 0x103000, 5 } }, 2, 2, { PAGE, 3 * PAGE }, { PAGE, PAGE } },
	{ "less-than-a-page", { { 0x101000, 5 } }, 1, 1, { PAGE }, { PAGE } },
};

static void test_list(gconstpointer data)
{
	const struct list_row *row = data;
	struct fixture fixture;
	int file = sealed_file(32 * PAGE, F_SEAL_SHRINK);

	set_up(&fixture, "1024\n", "64\n");
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0x100000, 16 * PAGE, dup(file), 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0x110000, 16 * PAGE, file, 16 * PAGE, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0x200000, 16 * PAGE, sealed_file(16 * PAGE, F_SEAL_SHRINK), 0, true), ==, 0);
	int fd = create(&fixture, row->entries, row->count);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpuint(kernel.calls, ==, 1);
	g_assert_cmpuint(kernel.count, ==, row->items);
	for (uint32_t i = 0; i < row->items; i++) {
		g_assert_cmpuint(kernel.items[i].offset, ==, row->offsets[i]);
		g_assert_cmpuint(kernel.items[i].size, ==, row->sizes[i]);
	}
	g_assert_cmpuint(vtr_dmabuf_size(fd), >=, fixture.spans.length);
	close(fd);
	tear_down(&fixture);
}

/* ---- memory of which none can be made ---- */

static int open_plain_memfd(void)
{
	return pattern_file(1, 4 * PAGE);
}

static int open_file_in(const char *directory)
{
	g_autofree char *name = g_build_filename(directory, "vitrine-XXXXXX", NULL);
	int fd = g_mkstemp(name);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, 4 * PAGE), ==, 0);
	unlink(name);
	return fd;
}

/* tmpfs knows seals, and says so of its ordinary files, too. */
static int open_tmpfs_file(void)
{
	return open_file_in("/dev/shm");
}

static bool is_tmpfs(const char *directory)
{
	struct statfs info;

	return statfs(directory, &info) == 0 && info.f_type == TMPFS_MAGIC;
}

static int open_file(void)
{
	return open_file_in(is_tmpfs(g_get_tmp_dir()) ? "." : g_get_tmp_dir());
}

static int open_write_sealed(void)
{
	return sealed_file(4 * PAGE, F_SEAL_SHRINK | F_SEAL_WRITE);
}

static int open_good(void)
{
	return sealed_file(4 * PAGE, F_SEAL_SHRINK);
}

static int open_remote(void)
{
	return -1;
}

static int open_dmabuf(void)
{
	struct stat info;
	int fd = open_good();

	g_assert_cmpint(fstat(fd, &info), ==, 0);
	fake_dmabuf_inode = info.st_ino;
	return fd;
}

static const struct refused_row {
	const char *name;
	int (*open)(void);
	struct vtr_mem_entry entry;
	enum vtr_error_owner owner;
	int code;
	const char *says;
} refused_rows[] = {
	{ "not-sealed", open_plain_memfd, { 0, PAGE }, VTR_ERROR_UNSUPPORTED, EPERM, "F_SEAL_SHRINK" },
	{ "write-sealed", open_write_sealed, { 0, PAGE }, VTR_ERROR_UNSUPPORTED, EPERM, "F_SEAL_WRITE" },
	{ "file", open_file, { 0, PAGE }, VTR_ERROR_UNSUPPORTED, EBADFD, "memory-backend-memfd" },
	{ "tmpfs-file", open_tmpfs_file, { 0, PAGE }, VTR_ERROR_UNSUPPORTED, EPERM, "memory-backend-file" },
	{ "remote", open_remote, { 0, PAGE }, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "remote" },
	{ "window", open_dmabuf, { 0, PAGE }, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "window" },
	{ "begins-inside-a-page", open_good, { 8, PAGE }, VTR_ERROR_HOST, EINVAL, "page borders" },
};

static void test_refused(gconstpointer data)
{
	const struct refused_row *row = data;
	struct fixture fixture;

	set_up(&fixture, "1024\n", "64\n");
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0, 4 * PAGE, row->open(), 0, true), ==, 0);
	g_assert_cmpint(create(&fixture, &row->entry, 1), ==, -row->code);
	g_assert_cmpint(fixture.error.owner, ==, row->owner);
	g_assert_cmpint(fixture.error.code, ==, row->code);
	g_assert_nonnull(strstr(fixture.error.text, row->says));
	g_assert_cmpuint(kernel.calls, ==, 0);
	g_assert_cmpint(vtr_udmabuf_host_create(&fixture.host, &fixture.spans, NULL), ==, -row->code);
	tear_down(&fixture);
	fake_dmabuf_inode = 0;
}

static void test_ends_inside_a_page(void)
{
	struct vtr_mem_entry entries[] = { { 0, 100 }, { PAGE, PAGE } };
	struct fixture fixture;

	set_up(&fixture, NULL, NULL);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0, 4 * PAGE, open_good(), 0, true), ==, 0);
	g_assert_cmpint(create(&fixture, entries, 2), ==, -EINVAL);
	g_assert_cmpint(fixture.error.owner, ==, VTR_ERROR_HOST);
	tear_down(&fixture);
}

static void test_removed(void)
{
	struct vtr_mem_entry entry = { 0, PAGE };
	struct fixture fixture;

	set_up(&fixture, NULL, NULL);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0, 4 * PAGE, open_good(), 0, true), ==, 0);
	close(create(&fixture, &entry, 1));
	vtr_memory_remove_all(fixture.memory);
	g_assert_cmpint(vtr_udmabuf_host_create(&fixture.host, &fixture.spans, &fixture.error), ==, -EFAULT);
	g_assert_cmpint(fixture.error.owner, ==, VTR_ERROR_REVOKED);
	tear_down(&fixture);
}

static void test_no_bytes(void)
{
	struct fixture fixture;

	set_up(&fixture, NULL, NULL);
	g_assert_cmpint(create(&fixture, NULL, 0), ==, -EINVAL);
	g_assert_cmpint(fixture.error.owner, ==, VTR_ERROR_HOST);
	tear_down(&fixture);
}

/* ---- limits ---- */

static const struct limit_row {
	const char *name;
	const char *list_limit, *size_limit_mb; // NULL: the kernel has no such parameter
	size_t ranges;
	uint32_t range_size;
	const char *says; // NULL: fits
} limit_rows[] = {
	{ "fits", "4\n", "1\n", 4, PAGE, NULL },
	{ "too-many-ranges", "4\n", "1\n", 5, PAGE, "echo 5 > " },
	{ "exactly-full", "64\n", "1\n", 2, 512 << 10, NULL },
	{ "too-large", "64\n", "1\n", 3, 512 << 10, "echo 2 > " },
	{ "no-list-limit", NULL, "1\n", 5, PAGE, NULL },
	{ "no-size-limit", "64\n", NULL, 3, 512 << 10, NULL },
	{ "no-limits", NULL, NULL, 3, 512 << 10, NULL },
	{ "limit-0-leaves-it-to-the-kernel", "0\n", "0\n", 3, PAGE, NULL },
	{ "limit-unreadable", "many\n", "", 3, PAGE, NULL },
};

static void test_limit(gconstpointer data)
{
	const struct limit_row *row = data;
	struct vtr_mem_entry entries[8];
	struct fixture fixture;

	set_up(&fixture, row->list_limit, row->size_limit_mb);
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0, 8 << 20, sealed_file(8 << 20, F_SEAL_SHRINK), 0, true), ==, 0);
	for (size_t i = 0; i < row->ranges; i++)
		entries[i] = (struct vtr_mem_entry){ .address = 2 * i * row->range_size, .length = row->range_size };
	int fd = create(&fixture, entries, row->ranges);
	if (row->says) {
		const char *file = strstr(row->name, "large") ? "size_limit_mb" : "list_limit";
		g_autofree char *path = g_build_filename(fixture.folder, file, NULL);

		g_assert_cmpint(fd, ==, -E2BIG);
		g_assert_cmpint(fixture.error.owner, ==, VTR_ERROR_HOST);
		g_assert_nonnull(strstr(fixture.error.text, row->says));
		g_assert_nonnull(strstr(fixture.error.text, path));
		g_assert_cmpuint(kernel.calls, ==, 0);
		/* The admin does as told, while we run. */
		g_assert_cmpint(truncate(path, 0), ==, 0);
		FILE *stream = fopen(path, "w");
		g_assert_cmpint(fputs("64\n", stream), >=, 0);
		fclose(stream);
		fd = vtr_udmabuf_host_create(&fixture.host, &fixture.spans, &fixture.error);
	}
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpuint(kernel.calls, ==, 1);
	close(fd);
	tear_down(&fixture);
}

static const struct kernel_row {
	const char *name;
	int error;
} kernel_rows[] = {
	{ "EINVAL", EINVAL }, { "ENOMEM", ENOMEM }, { "EMFILE", EMFILE }, { "EBADFD", EBADFD }, { "ENOTTY", ENOTTY },
};

static void test_kernel_refuses(gconstpointer data)
{
	const struct kernel_row *row = data;
	struct vtr_mem_entry entry = { 0, PAGE };
	struct fixture fixture;

	set_up(&fixture, "1024\n", "64\n");
	kernel.error = -row->error;
	g_assert_cmpint(vtr_memory_add(fixture.memory, 0, 4 * PAGE, open_good(), 0, true), ==, 0);
	g_assert_cmpint(create(&fixture, &entry, 1), ==, -row->error);
	g_assert_cmpint(fixture.error.owner, ==, VTR_ERROR_HOST);
	g_assert_cmpint(fixture.error.code, ==, row->error);
	g_assert_nonnull(strstr(fixture.error.text, g_strerror(row->error)));
	tear_down(&fixture);
}

/* ---- the device ---- */

static void test_device_missing(void)
{
	struct vtr_udmabuf_host host;
	struct vtr_error error = { 0 };
	unsigned fds = count_fds();

	g_assert_cmpint(vtr_udmabuf_host_open(&host, "/nowhere/udmabuf", "/nowhere/parameters", &error), ==, -ENODEV);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
	g_assert_nonnull(strstr(error.text, "/nowhere/udmabuf is missing: load the udmabuf module"));
	g_assert_cmpint(vtr_udmabuf_host_open(&host, "/nowhere/udmabuf", "/tmp", &error), ==, -ENODEV);
	g_assert_nonnull(strstr(error.text, "container"));
	g_assert_cmpint(vtr_udmabuf_host_open(&host, "/proc/self/maps/x", "/tmp", &error), <, 0);
	g_assert_cmpint(vtr_udmabuf_host_open(&host, "/tmp", "/tmp", NULL), <, 0);
	g_assert_cmpuint(count_fds(), ==, fds);
}

static void test_device_is_none(void)
{
	g_autofree char *path = NULL;
	struct vtr_udmabuf_host host;
	struct vtr_error error = { 0 };

	close(g_file_open_tmp("vitrine-XXXXXX", &path, NULL));
	g_assert_cmpint(vtr_udmabuf_host_open(&host, path, "/nowhere", &error), ==, -ENOTTY);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
	g_assert_cmpint(host.device, ==, -1);
	unlink(path);
}

/* Root may open everything: so open() is told to refuse, and stat() to describe such a device. Everything else is real. */
static struct {
	bool on;
	gid_t gid;
	mode_t mode;
} refuse;

int open(const char *path, int flags, ...)
{
	va_list arguments;

	if (refuse.on) {
		errno = EACCES;
		return -1;
	}
	va_start(arguments, flags);
	int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
	va_end(arguments);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int stat(const char *path, struct stat *info)
{
	if (!refuse.on)
		return fstatat(AT_FDCWD, path, info, 0);
	*info = (struct stat){ .st_gid = refuse.gid, .st_mode = S_IFCHR | refuse.mode };
	return 0;
}

static const struct permission_row {
	const char *name;
	gid_t gid;
	mode_t mode;
	const char *says;
} permission_rows[] = {
	{ "group-has-access", 1, 0660, "add the user to the group daemon" },
	{ "group-root", 0, 0660, "chgrp kvm" },
	{ "group-without-access", 1, 0600, "chmod 660" },
	{ "group-unknown", 54321, 0660, "udev rule" },
};

static void test_permission(gconstpointer data)
{
	const struct permission_row *row = data;
	struct vtr_udmabuf_host host;
	struct vtr_error error = { 0 };

	refuse.on = true;
	refuse.gid = row->gid;
	refuse.mode = row->mode;
	int result = vtr_udmabuf_host_open(&host, "/dev/udmabuf", "/nowhere", &error);
	refuse.on = false;
	g_assert_cmpint(result, ==, -EACCES);
	g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
	g_assert_nonnull(strstr(error.text, "no permission to open /dev/udmabuf"));
	g_assert_nonnull(strstr(error.text, row->says));
}

/* Whatever this machine has: the same answer each time, and a reason when it is no. */
static void test_probe(void)
{
	struct vtr_error error = { 0 };
	struct vtr_spans none = { 0 };
	int result = vtr_udmabuf_probe(&error);

	g_assert_cmpint(vtr_udmabuf_probe(NULL), ==, result);
	if (result) {
		g_assert_cmpint(error.owner, ==, VTR_ERROR_UNSUPPORTED);
		g_assert_cmpint(error.code, ==, -result);
		g_assert_nonnull(strstr(error.text, "/dev/udmabuf"));
	}
	g_assert_cmpint(vtr_udmabuf_create(&none, NULL), ==, result ? result : -EINVAL);
}

static void test_not_a_dmabuf(void)
{
	int fd = pattern_file(1, PAGE);

	g_assert_false(vtr_dmabuf_is(fd));
	g_assert_false(vtr_dmabuf_is(-1));
	g_assert_cmpuint(vtr_dmabuf_size(fd), ==, PAGE);
	g_assert_cmpuint(vtr_dmabuf_size(-1), ==, 0);
	g_assert_cmpint(vtr_dmabuf_begin_cpu(fd, false), ==, -ENOTTY);
	g_assert_cmpint(vtr_dmabuf_end_cpu(fd, true), ==, -ENOTTY);
	g_assert_cmpint(vtr_dmabuf_begin_cpu(-1, true), ==, -EBADF);
	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/udmabuf/list/", list_rows, test_list);
	ADD_ROWS("/udmabuf/refused/", refused_rows, test_refused);
	ADD_ROWS("/udmabuf/limit/", limit_rows, test_limit);
	ADD_ROWS("/udmabuf/kernel-refuses/", kernel_rows, test_kernel_refuses);
	ADD_ROWS("/udmabuf/permission/", permission_rows, test_permission);
	g_test_add_func("/udmabuf/refused/ends-inside-a-page", test_ends_inside_a_page);
	g_test_add_func("/udmabuf/refused/removed", test_removed);
	g_test_add_func("/udmabuf/refused/no-bytes", test_no_bytes);
	g_test_add_func("/udmabuf/device/missing", test_device_missing);
	g_test_add_func("/udmabuf/device/is-none", test_device_is_none);
	g_test_add_func("/udmabuf/probe", test_probe);
	g_test_add_func("/dmabuf/not-a-dmabuf", test_not_a_dmabuf);
	return g_test_run();
}
