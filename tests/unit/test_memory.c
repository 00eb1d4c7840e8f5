/* SPDX-License-Identifier: MIT */
#include <linux/magic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <vitrine/dmabuf.h>
#include <vitrine/limits.h>

#include "memory_fixture.h"

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

static int fake_dmabuf(size_t size)
{
	struct stat file;
	int fd = pattern_file(0, size);

	g_assert_cmpint(fstat(fd, &file), ==, 0);
	fake_dmabuf_inode = file.st_ino;
	return fd;
}

/* ---- what may be added ---- */

static int open_memfd(void)
{
	return pattern_file(1, 4 * PAGE);
}

static int open_pipe(void)
{
	int ends[2];

	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	close(ends[1]);
	return ends[0];
}

static int open_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int open_directory(void)
{
	return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_char_device(void)
{
	return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int open_eventfd(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

static int open_proc(void)
{
	return open("/proc/self/status", O_RDONLY | O_CLOEXEC);
}

/* The memfd once more, with other access. */
static int reopen(int flags)
{
	int fd = open_memfd();
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	int again = open(path, flags | O_CLOEXEC);

	g_assert_cmpint(again, >=, 0);
	close(fd);
	return again;
}

static int open_write_only(void)
{
	return reopen(O_WRONLY);
}

static int open_path_only(void)
{
	return reopen(O_PATH);
}

static int open_dmabuf(void)
{
	return fake_dmabuf(4 * PAGE);
}

static int open_none(void)
{
	return -1;
}

static int open_closed(void)
{
	int fd = open_memfd();

	close(fd);
	return fd;
}

static const struct add_row {
	const char *name;
	int (*open)(void);
	uint64_t address, size, offset;
	int result;
	enum vtr_region_kind kind;
} file_rows[] = {
	{ "memfd", open_memfd, 0x1000, 4 * PAGE, 0, 0, VTR_REGION_RAM },
	{ "part-of-memfd", open_memfd, 0x1000, 2 * PAGE, 2 * PAGE, 0, VTR_REGION_RAM },
	{ "unaligned", open_memfd, 0x1234, 4567, 89, 0, VTR_REGION_RAM },
	{ "one-byte", open_memfd, 0, 1, 4 * PAGE - 1, 0, VTR_REGION_RAM },
	{ "top-of-address-space", open_memfd, UINT64_MAX - PAGE + 1, PAGE, 0, 0, VTR_REGION_RAM },
	{ "remote", open_none, 0x1000, 4 * PAGE, 0, 0, VTR_REGION_REMOTE },
	{ "remote-whole-address-space", open_none, 0, UINT64_MAX, 0, 0, VTR_REGION_REMOTE },
	{ "dmabuf", open_dmabuf, 0x1000, 4 * PAGE, 0, 0, VTR_REGION_WINDOW },
	{ "dmabuf-too-short", open_dmabuf, 0x1000, 4 * PAGE, 1, -EINVAL, 0 },
	{ "size-0", open_memfd, 0x1000, 0, 0, -EINVAL, 0 },
	{ "wraps", open_memfd, UINT64_MAX - PAGE + 2, PAGE, 0, -EINVAL, 0 },
	{ "file-too-short", open_memfd, 0x1000, 4 * PAGE + 1, 0, -EINVAL, 0 },
	{ "file-too-short-for-offset", open_memfd, 0x1000, 4 * PAGE, 1, -EINVAL, 0 },
	{ "offset-beyond-file", open_memfd, 0x1000, 1, UINT64_MAX, -EINVAL, 0 },
	{ "pipe", open_pipe, 0x1000, PAGE, 0, -EINVAL, 0 },
	{ "socket", open_socket, 0x1000, PAGE, 0, -EINVAL, 0 },
	{ "directory", open_directory, 0x1000, 1, 0, -EINVAL, 0 },
	{ "char-device", open_char_device, 0x1000, PAGE, 0, -EINVAL, 0 },
	{ "eventfd", open_eventfd, 0x1000, PAGE, 0, -EINVAL, 0 },
	{ "proc-file", open_proc, 0x1000, 1, 0, -EINVAL, 0 },
	{ "write-only-file", open_write_only, 0x1000, PAGE, 0, -EINVAL, 0 },
	{ "path-only-fd", open_path_only, 0x1000, PAGE, 0, -EINVAL, 0 },
	{ "closed-fd", open_closed, 0x1000, PAGE, 0, -EINVAL, 0 },
};

static void test_add(gconstpointer data)
{
	const struct add_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	unsigned mappings = count_mappings("memfd:");
	int fd = row->open();
	uint64_t generation = vtr_memory_generation(memory);

	g_assert_cmpint(vtr_memory_add(memory, row->address, row->size, fd, row->offset, true), ==, row->result);
	const struct vtr_region *region = vtr_memory_region(memory, 0);
	if (row->result) {
		g_assert_null(region);
		g_assert_false(fd_is_open(fd));
		g_assert_cmpuint(vtr_memory_generation(memory), ==, generation);
	} else {
		g_assert_cmpuint(region->address, ==, row->address);
		g_assert_cmpuint(region->size, ==, row->size);
		g_assert_cmpint(region->kind, ==, row->kind);
		g_assert_true(region->mapped);
		g_assert_true((region->data != NULL) == (row->kind == VTR_REGION_RAM));
		g_assert_cmpuint(vtr_memory_generation(memory), !=, generation);
		if (region->data)
			assert_pattern(region->data, region->size, 1, row->offset);
		else
			g_assert_cmpuint(count_mappings("memfd:"), ==, mappings);
	}
	vtr_memory_destroy(memory);
	g_assert_true(fd < 0 || !fd_is_open(fd));
	fake_dmabuf_inode = 0;
}

static int open_read_only(void)
{
	return reopen(O_RDONLY);
}

static int open_sealed(void)
{
	int fd = open_memfd();

	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), ==, 0);
	return fd;
}

static const struct writable_row {
	const char *name;
	int (*open)(void);
	bool asked, result;
} writable_rows[] = {
	{ "read-write", open_memfd, true, true },
	{ "not-asked-for", open_memfd, false, false },
	{ "read-only-fd", open_read_only, true, false },
	{ "sealed-against-writing", open_sealed, true, false },
	{ "read-only-fd-not-asked-for", open_read_only, false, false },
};

static void test_writable(gconstpointer data)
{
	const struct writable_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	uint8_t byte = 99, back = 0;

	g_assert_cmpint(vtr_memory_add(memory, 0x1000, 4 * PAGE, row->open(), 0, row->asked), ==, 0);
	g_assert_cmpint(vtr_memory_region(memory, 0)->writable, ==, row->result);
	g_assert_cmpint(vtr_memory_write(memory, 0x1000, &byte, 1), ==, row->result ? 0 : -EACCES);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, &back, 1), ==, 0);
	g_assert_cmpuint(back, ==, row->result ? 99 : pattern(1, 0));
	vtr_memory_destroy(memory);
}

/* ---- the map ---- */

static const struct overlap_row {
	const char *name;
	uint64_t address, size;
	int result;
} overlap_rows[] = {
	{ "before", 0xf000, 0x1000, 0 },        { "after", 0x14000, 0x1000, 0 },        { "same", 0x10000, 0x4000, -EEXIST },
	{ "inside", 0x11000, 0x1000, -EEXIST }, { "around", 0x8000, 0x10000, -EEXIST }, { "first-byte", 0xf000, 0x1001, -EEXIST },
	{ "last-byte", 0x13fff, 1, -EEXIST },
};

static void test_overlap(gconstpointer data)
{
	const struct overlap_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();

	g_assert_cmpint(vtr_memory_add(memory, 0x10000, 0x4000, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, row->address, row->size, -1, 0, true), ==, row->result);
	vtr_memory_destroy(memory);
}

static const struct remove_row {
	const char *name;
	uint64_t address, size;
	int result;
	unsigned left; // of the regions at 0x1000, 0x2000, 0x4000 of 0x1000 bytes each
} remove_rows[] = {
	{ "one", 0x2000, 0x1000, 0, 2 },
	{ "all", 0x1000, 0x4000, 0, 0 },
	{ "two", 0, 0x3000, 0, 1 },
	{ "whole-address-space", 0, UINT64_MAX, 0, 0 },
	{ "hole", 0x3000, 0x1000, -ENOENT, 3 },
	{ "beyond", 0x5000, 0x1000, -ENOENT, 3 },
	{ "first-half", 0x1000, 0x800, -EINVAL, 3 },
	{ "second-half", 0x1800, 0x800, -EINVAL, 3 },
	{ "middle", 0x1400, 0x800, -EINVAL, 3 },
	{ "one-and-a-half", 0x1000, 0x1800, -EINVAL, 3 },
	{ "size-0", 0x1000, 0, -EINVAL, 3 },
	{ "wraps", 0x1000, UINT64_MAX, -EINVAL, 3 },
};

static unsigned count_regions(const struct vtr_memory *memory)
{
	unsigned count = 0;

	while (vtr_memory_region(memory, count))
		count++;
	return count;
}

static void test_remove(gconstpointer data)
{
	const struct remove_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	unsigned fds = count_fds(), mappings = count_mappings("memfd:");

	add_ram(memory, 0x4000, PAGE, 1);
	add_ram(memory, 0x1000, PAGE, 2);
	add_ram(memory, 0x2000, PAGE, 3);
	uint64_t generation = vtr_memory_generation(memory);
	g_assert_cmpint(vtr_memory_remove(memory, row->address, row->size), ==, row->result);
	g_assert_cmpuint(count_regions(memory), ==, row->left);
	g_assert_cmpint(vtr_memory_generation(memory) != generation, ==, row->left != 3);
	g_assert_cmpuint(count_fds(), ==, fds + row->left);
	for (unsigned i = 1; i < row->left; i++)
		g_assert_cmpuint(vtr_memory_region(memory, i - 1)->address, <, vtr_memory_region(memory, i)->address);
	vtr_memory_remove_all(memory);
	g_assert_null(vtr_memory_region(memory, 0));
	g_assert_cmpuint(count_fds(), ==, fds);
	g_assert_cmpuint(count_mappings("memfd:"), ==, mappings);
	vtr_memory_destroy(memory);
}

/* What a virtual IOMMU makes of guest RAM: a region a page, in an order of its own. */
static void test_regions_share_their_file(void)
{
	enum { PAGES = 5000 };
	struct vtr_memory *memory = vtr_memory_create();
	unsigned fds = count_fds(), mappings = count_mappings("memfd:");
	int ram = pattern_file(7, (size_t)PAGES * PAGE);
	uint8_t page[PAGE];

	for (uint64_t i = 0; i < PAGES; i++)
		g_assert_cmpint(vtr_memory_add(memory, i * 2 * PAGE, PAGE, dup(ram), (i * 37 % PAGES) * PAGE, i % 2), ==, 0);
	g_assert_cmpuint(count_fds(), ==, fds + 2); /* ours and the map's */
	g_assert_cmpuint(count_mappings("memfd:"), ==, mappings + 1);
	for (uint64_t i = 0; i < PAGES; i += 499) {
		g_assert_cmpint(vtr_memory_read(memory, i * 2 * PAGE, page, PAGE), ==, 0);
		assert_pattern(page, PAGE, 7, (i * 37 % PAGES) * PAGE);
		g_assert_cmpint(vtr_memory_write(memory, i * 2 * PAGE, page, 1), ==, i % 2 ? 0 : -EACCES);
	}
	/* all but one go: the rest is as it was */
	g_assert_cmpint(vtr_memory_remove(memory, 2 * PAGE, UINT64_C(2) * PAGES * PAGE), ==, 0);
	g_assert_cmpint(vtr_memory_read(memory, 0, page, PAGE), ==, 0);
	assert_pattern(page, PAGE, 7, 0);
	/* the file has grown: what the shared mapping does not reach gets its own */
	g_assert_cmpint(ftruncate(ram, (off_t)(PAGES + 1) * PAGE), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, 0x100000, PAGE, dup(ram), (uint64_t)PAGES * PAGE, true), ==, 0);
	g_assert_cmpint(vtr_memory_read(memory, 0x100000, page, PAGE), ==, 0);
	g_assert_cmpuint(page[0] | page[PAGE - 1], ==, 0);
	vtr_memory_remove_all(memory);
	close(ram);
	g_assert_cmpuint(count_fds(), ==, fds);
	g_assert_cmpuint(count_mappings("memfd:"), ==, mappings);
	vtr_memory_destroy(memory);
}

static void test_too_many_files(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	unsigned fds = count_fds();

	for (uint64_t i = 0; i <= VTR_MAX_FILES; i++)
		g_assert_cmpint(vtr_memory_add(memory, i * PAGE, PAGE, pattern_file(1, PAGE), 0, true), ==,
		                i < VTR_MAX_FILES ? 0 : -ENOSPC);
	vtr_memory_destroy(memory);
	g_assert_cmpuint(count_fds(), ==, fds);
}

static void test_65536_adds(void)
{
	struct vtr_memory *memory = vtr_memory_create();

	/* In an order that is neither rising nor falling. */
	for (uint64_t i = 0; i < 65536; i++) {
		uint64_t address = (i * 40503 % 65536) * 0x2000;

		g_assert_cmpint(vtr_memory_add(memory, address, 0x1000, -1, 0, true), ==, i < VTR_MAX_REGIONS ? 0 : -ENOSPC);
	}
	g_assert_cmpuint(count_regions(memory), ==, VTR_MAX_REGIONS);
	for (unsigned i = 1; i < VTR_MAX_REGIONS; i++)
		g_assert_cmpuint(vtr_memory_region(memory, i - 1)->address, <, vtr_memory_region(memory, i)->address);
	/* One goes, one more fits. */
	g_assert_cmpint(vtr_memory_remove(memory, 0, 0x1000), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, 0x1000, 0x1000, -1, 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, 0, 0x1000, -1, 0, true), ==, -ENOSPC);
	vtr_memory_destroy(memory);
}

static void test_65536_cycles(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	uint64_t generation = vtr_memory_generation(memory);
	unsigned fds = count_fds();

	for (unsigned i = 0; i < 65536; i++) {
		g_assert_cmpint(vtr_memory_add(memory, 0x1000, 0x1000, -1, 0, true), ==, 0);
		g_assert_cmpint(vtr_memory_remove(memory, 0x1000, 0x1000), ==, 0);
	}
	g_assert_cmpuint(vtr_memory_generation(memory), !=, generation);
	g_assert_cmpuint(count_fds(), ==, fds);
	vtr_memory_destroy(memory);
}

static void test_add_failure_keeps_map(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	int fd = open_memfd();

	add_ram(memory, 0x1000, PAGE, 1);
	g_assert_cmpint(vtr_memory_add(memory, 0x1800, PAGE, fd, 0, true), ==, -EEXIST);
	g_assert_false(fd_is_open(fd));
	uint8_t bytes[PAGE];
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, PAGE), ==, 0);
	assert_pattern(bytes, PAGE, 1, 0);
	vtr_memory_destroy(memory);
	vtr_memory_destroy(NULL);
}

/* ---- access ---- */

static const struct access_row {
	const char *name;
	uint64_t address;
	size_t length;
	int result;
} access_rows[] = {
	/* RAM at 0x1000 (unaligned in its file), RAM at 0x1a00 right behind it, remote at 0x2000, a hole at 0x6000, RAM at the top
	 */
	{ "within-ram", 0x1100, 0x100, 0 },    { "across-two-files", 0x1900, 0x200, 0 },
	{ "into-remote", 0x1ff0, 0x20, 0 },    { "everything", 0x1000, 0x5000, 0 },
	{ "nothing", 0x9000, 0, 0 },           { "remote", 0x2001, 0x1234, 0 },
	{ "hole", 0x6000, 1, -EFAULT },        { "runs-into-hole", 0x5fff, 2, -EFAULT },
	{ "before-first", 0xfff, 2, -EFAULT }, { "last-byte", UINT64_MAX, 1, 0 },
	{ "wraps", UINT64_MAX, 2, -EFAULT },
};

static uint8_t expected_byte(uint64_t address)
{
	if (address < 0x1a00)
		return pattern(1, address - 0x1000 + 0x123);
	if (address < 0x2000)
		return pattern(2, address - 0x1a00);
	return address < 0x6000 ? pattern(3, address - 0x2000) : pattern(4, address - (UINT64_MAX - 0xfff));
}

static void test_access(gconstpointer data)
{
	const struct access_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	struct fake_remote remote;
	g_autofree uint8_t *bytes = g_malloc0(0x6000);
	g_autofree uint8_t *other = g_malloc0(0x6000);

	g_assert_cmpint(vtr_memory_add(memory, 0x1000, 0xa00, pattern_file(1, PAGE), 0x123, true), ==, 0);
	add_ram(memory, 0x1a00, 0x600, 2);
	add_remote(memory, &remote, 0x2000, 3);
	add_ram(memory, UINT64_MAX - 0xfff, 0x1000, 4);
	g_assert_cmpint(vtr_memory_read(memory, row->address, bytes, row->length), ==, row->result);
	for (size_t i = 0; !row->result && i < row->length; i++)
		g_assert_cmpuint(bytes[i], ==, expected_byte(row->address + i));
	for (size_t i = 0; i < row->length; i++)
		bytes[i] = (uint8_t)(255 - i);
	g_assert_cmpint(vtr_memory_write(memory, row->address, bytes, row->length), ==, row->result);
	if (!row->result) {
		g_assert_cmpint(vtr_memory_read(memory, row->address, other, row->length), ==, 0);
		g_assert_cmpmem(bytes, row->length, other, row->length);
	}
	vtr_memory_destroy(memory);
}

static void test_remote_errors(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct fake_remote remote;
	uint8_t bytes[16];

	add_remote(memory, &remote, 0x1000, 1);
	remote.error = -EIO;
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, -EIO);
	g_assert_cmpint(vtr_memory_write(memory, 0x1000, bytes, sizeof(bytes)), ==, -EIO);
	remote.error = 0;
	vtr_memory_set_remote(memory, NULL, NULL);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, -ENOTCONN);
	g_assert_cmpint(vtr_memory_write(memory, 0x1000, bytes, sizeof(bytes)), ==, -ENOTCONN);
	/* The region goes away while the VMM is asked. */
	vtr_memory_set_remote(memory, &fake_remote_impl, &remote);
	remote.remove = memory;
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, -ECANCELED);
	g_assert_null(vtr_memory_region(memory, 0));
	remote.remove = NULL;
	g_assert_cmpint(vtr_memory_add(memory, 0x1000, sizeof(remote.data), -1, 0, true), ==, 0);
	remote.remove = memory;
	g_assert_cmpint(vtr_memory_write(memory, 0x1000, bytes, sizeof(bytes)), ==, -ECANCELED);
	vtr_memory_destroy(memory);
}

static void test_remote_read_only(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct fake_remote remote = { .address = 0x1000 };
	uint8_t byte = 1;

	vtr_memory_set_remote(memory, &fake_remote_impl, &remote);
	g_assert_cmpint(vtr_memory_add(memory, 0x1000, PAGE, -1, 0, false), ==, 0);
	g_assert_cmpint(vtr_memory_write(memory, 0x1000, &byte, 1), ==, -EACCES);
	g_assert_cmpuint(remote.writes, ==, 0);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, &byte, 1), ==, 0);
	vtr_memory_destroy(memory);
}

static void test_window_is_read_by_request(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct fake_remote remote;
	uint8_t bytes[64];

	add_remote(memory, &remote, 0x1000, 7);
	g_assert_cmpint(vtr_memory_remove(memory, 0x1000, sizeof(remote.data)), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, 0x1000, sizeof(remote.data), fake_dmabuf(sizeof(remote.data)), 0, true), ==, 0);
	g_assert_cmpint(vtr_memory_region(memory, 0)->kind, ==, VTR_REGION_WINDOW);
	g_assert_cmpint(vtr_memory_read(memory, 0x1003, bytes, sizeof(bytes)), ==, 0);
	assert_pattern(bytes, sizeof(bytes), 7, 3);
	vtr_memory_destroy(memory);
	fake_dmabuf_inode = 0;
}

static void test_truncated(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	int fd = pattern_file(1, 4 * PAGE), ours = dup(fd);
	uint8_t bytes[4 * PAGE];

	g_assert_cmpint(vtr_memory_add(memory, 0x1000, 4 * PAGE, fd, 0, true), ==, 0);
	g_assert_cmpint(ftruncate(ours, 2 * PAGE), ==, 0);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, 2 * PAGE), ==, 0); // what is there is still good
	g_assert_false(vtr_region_faulted(vtr_memory_region(memory, 0)));
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, 4 * PAGE), ==, -EFAULT);
	g_assert_true(vtr_region_faulted(vtr_memory_region(memory, 0)));
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, 1), ==, -EFAULT);
	g_assert_cmpint(vtr_memory_write(memory, 0x1000, bytes, 1), ==, -EFAULT);
	/* The range comes back with a new file. */
	g_assert_cmpint(vtr_memory_remove(memory, 0x1000, 4 * PAGE), ==, 0);
	add_ram(memory, 0x1000, 4 * PAGE, 9);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, 4 * PAGE), ==, 0);
	assert_pattern(bytes, 4 * PAGE, 9, 0);
	vtr_memory_destroy(memory);
	close(ours);
}

static void test_truncated_before_write(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	int fd = pattern_file(1, 2 * PAGE), ours = dup(fd);
	uint8_t bytes[PAGE] = { 0 };

	g_assert_cmpint(vtr_memory_add(memory, 0, 2 * PAGE, fd, 0, true), ==, 0);
	g_assert_cmpint(ftruncate(ours, PAGE), ==, 0);
	g_assert_cmpint(vtr_memory_write(memory, PAGE, bytes, PAGE), ==, -EFAULT);
	vtr_memory_destroy(memory);
	close(ours);
}

/* ---- listeners ---- */

struct recorder {
	struct vtr_memory_listener base;
	struct vtr_memory *memory;
	GString *log;
	char name;
	bool leave;           // removes itself when told
	uint64_t also_remove; // removes the region at this address when told of another one
};

static void record_removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	struct recorder *recorder = (struct recorder *)listener;
	uint8_t byte;

	/* Still there, still readable. */
	g_assert_true(region->mapped);
	g_assert_cmpint(vtr_memory_read(recorder->memory, region->address, &byte, 1), ==, 0);
	g_string_append_printf(recorder->log, "%c-%x ", recorder->name, (unsigned)region->address);
	if (recorder->leave)
		vtr_memory_remove_listener(recorder->memory, listener);
	if (recorder->also_remove) {
		uint64_t address = recorder->also_remove;

		recorder->also_remove = 0;
		g_assert_cmpint(vtr_memory_remove(recorder->memory, address, 0x1000), ==, 0);
	}
}

static void record_added(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	struct recorder *recorder = (struct recorder *)listener;
	uint8_t byte;

	g_assert_cmpint(vtr_memory_read(recorder->memory, region->address, &byte, 1), ==, 0);
	g_string_append_printf(recorder->log, "%c+%x ", recorder->name, (unsigned)region->address);
}

static struct recorder make_recorder(struct vtr_memory *memory, GString *log, char name)
{
	return (struct recorder){
		.base = { .removing = record_removing, .added = record_added },
		.memory = memory,
		.log = log,
		.name = name,
	};
}

static void test_listener_order(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	g_autoptr(GString) log = g_string_new("");
	struct recorder a = make_recorder(memory, log, 'a'), b = make_recorder(memory, log, 'b');
	struct vtr_memory_listener deaf = { 0 };

	vtr_memory_add_listener(memory, &a.base);
	vtr_memory_add_listener(memory, &deaf);
	vtr_memory_add_listener(memory, &b.base);
	add_ram(memory, 0x1000, PAGE, 1);
	add_ram(memory, 0x2000, PAGE, 2);
	g_assert_cmpint(vtr_memory_remove(memory, 0x1000, 0x2000), ==, 0);
	g_assert_cmpstr(log->str, ==, "a+1000 b+1000 a+2000 b+2000 a-1000 b-1000 a-2000 b-2000 ");
	g_string_truncate(log, 0);
	vtr_memory_remove_listener(memory, &a.base);
	add_ram(memory, 0x1000, PAGE, 1);
	vtr_memory_destroy(memory);
	g_assert_cmpstr(log->str, ==, "b+1000 b-1000 ");
}

static void test_listener_leaves_when_told(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	g_autoptr(GString) log = g_string_new("");
	struct recorder a = make_recorder(memory, log, 'a'), b = make_recorder(memory, log, 'b');

	a.leave = true;
	vtr_memory_add_listener(memory, &a.base);
	vtr_memory_add_listener(memory, &b.base);
	add_ram(memory, 0x1000, PAGE, 1);
	add_ram(memory, 0x2000, PAGE, 1);
	vtr_memory_remove_all(memory);
	g_assert_cmpstr(log->str, ==, "a+1000 b+1000 a+2000 b+2000 a-2000 b-2000 b-1000 ");
	vtr_memory_destroy(memory);
}

static const struct nested_row {
	const char *name;
	uint64_t also_remove;
	const char *log;
} nested_rows[] = {
	{ "the-same", 0x2000, "a-2000 a-2000 " },
	{ "one-before", 0x1000, "a-2000 a-1000 " },
	{ "one-after", 0x3000, "a-2000 a-3000 " },
};

static void test_nested_removal(gconstpointer data)
{
	const struct nested_row *row = data;
	struct vtr_memory *memory = vtr_memory_create();
	g_autoptr(GString) log = g_string_new("");
	struct recorder a = make_recorder(memory, log, 'a');

	for (uint64_t address = 0x1000; address <= 0x3000; address += 0x1000)
		add_ram(memory, address, PAGE, 1);
	vtr_memory_add_listener(memory, &a.base);
	a.also_remove = row->also_remove;
	g_assert_cmpint(vtr_memory_remove(memory, 0x2000, 0x1000), ==, 0);
	g_assert_cmpstr(log->str, ==, row->log);
	g_assert_cmpuint(count_regions(memory), ==, row->also_remove == 0x2000 ? 2 : 1);
	vtr_memory_destroy(memory);
}

static void test_kind_names(void)
{
	g_assert_cmpstr(vtr_region_kind_name(VTR_REGION_RAM), ==, "ram");
	g_assert_cmpstr(vtr_region_kind_name(VTR_REGION_VFIO), ==, "vfio");
	g_assert_cmpstr(vtr_region_kind_name(VTR_REGION_WINDOW), ==, "window");
	g_assert_cmpstr(vtr_region_kind_name(VTR_REGION_REMOTE), ==, "remote");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/memory/add/", file_rows, test_add);
	ADD_ROWS("/memory/writable/", writable_rows, test_writable);
	ADD_ROWS("/memory/overlap/", overlap_rows, test_overlap);
	ADD_ROWS("/memory/remove/", remove_rows, test_remove);
	ADD_ROWS("/memory/access/", access_rows, test_access);
	ADD_ROWS("/memory/nested-removal/", nested_rows, test_nested_removal);
	g_test_add_func("/memory/65536-adds", test_65536_adds);
	g_test_add_func("/memory/65536-cycles", test_65536_cycles);
	g_test_add_func("/memory/add-failure-keeps-map", test_add_failure_keeps_map);
	g_test_add_func("/memory/remote/errors", test_remote_errors);
	g_test_add_func("/memory/remote/read-only", test_remote_read_only);
	g_test_add_func("/memory/window-is-read-by-request", test_window_is_read_by_request);
	g_test_add_func("/memory/truncated/read", test_truncated);
	g_test_add_func("/memory/truncated/write", test_truncated_before_write);
	g_test_add_func("/memory/files/shared", test_regions_share_their_file);
	g_test_add_func("/memory/files/too-many", test_too_many_files);
	g_test_add_func("/memory/listener/order", test_listener_order);
	g_test_add_func("/memory/listener/leaves-when-told", test_listener_leaves_when_told);
	g_test_add_func("/memory/kind-names", test_kind_names);
	return g_test_run();
}
