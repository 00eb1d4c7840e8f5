/* SPDX-License-Identifier: MIT */
/*
 * dmabufs that the CPU may map: which may, and memory regions that are read through them. The exporter is played by memory files
 * that call themselves dmabufs: fstatfs() tells their magic, and ioctl() answers DMA_BUF_IOCTL_SYNC; the rest is the real kernel.
 */
#include <linux/dma-buf.h>
#include <linux/magic.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "dmabuf/cpu_map.h"
#include "memory/region.h"
#include "memory_fixture.h"

static struct {
	ino_t inode;    // of the fd that is a dmabuf; 0: none is
	int sync_error; // what SYNC answers
	unsigned begun, ended;
	int feature_error; // what PROBE answers
	unsigned probed;
} exporter;

int fstatfs(int fd, struct statfs *info)
{
	struct stat file;
	int result = (int)syscall(SYS_fstatfs, fd, info);

	if (result == 0 && exporter.inode && fstat(fd, &file) == 0 && file.st_ino == exporter.inode)
		info->f_type = DMA_BUF_MAGIC;
	return result;
}

static int answer(int error)
{
	errno = error;
	return error ? -1 : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	const struct dma_buf_sync *sync;
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request != DMA_BUF_IOCTL_SYNC)
		return (int)syscall(SYS_ioctl, fd, request, argument);
	sync = argument;
	g_assert_false(sync->flags & DMA_BUF_SYNC_WRITE);
	if (!exporter.sync_error) {
		exporter.ended += (sync->flags & DMA_BUF_SYNC_END) != 0;
		exporter.begun += !(sync->flags & DMA_BUF_SYNC_END);
	}
	return answer(exporter.sync_error);
}

static int feature_ioctl(int fd, unsigned long request, void *argument)
{
	const struct vfio_device_feature *feature = argument;

	g_assert_cmphex(request, ==, VFIO_DEVICE_FEATURE);
	g_assert_cmphex(feature->flags, ==, VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | 99);
	g_assert_cmpuint(feature->argsz, ==, sizeof(*feature));
	exporter.probed++;
	return answer(exporter.feature_error);
}

static int make_dmabuf(int fd)
{
	struct stat file;

	exporter = (typeof(exporter)){ 0 };
	g_assert_cmpint(fstat(fd, &file), ==, 0);
	exporter.inode = file.st_ino;
	return fd;
}

/* ---- which may be mapped ---- */

enum exporter_kind {
	NO_DMABUF,
	MAPPABLE,
	UNMAPPABLE, // an event that was raised: mmap says ENODEV
	BUSY,       // one that was not: never idle
};

static int make_fd(enum exporter_kind kind)
{
	if (kind == UNMAPPABLE || kind == BUSY)
		return make_dmabuf(eventfd(kind == UNMAPPABLE, EFD_CLOEXEC));
	int fd = make_dmabuf(pattern_file(3, 4 * PAGE));
	if (kind == NO_DMABUF)
		exporter.inode = 0;
	return fd;
}

static const struct probe_row {
	const char *name;
	enum exporter_kind kind;
	int sync_error, result;
	const char *why_not;
	bool bracketed;
} probe_rows[] = {
	{ "mappable", MAPPABLE, 0, 0, "", true },
	{ "no-dmabuf", NO_DMABUF, 0, -EINVAL, "no dmabuf", false },
	{ "no-mmap", UNMAPPABLE, 0, -ENODEV, "mapped", true },
	{ "no-brackets", MAPPABLE, ENOTTY, -ENOTTY, "CPU", false },
	{ "revoked", MAPPABLE, ENODEV, -ENODEV, "CPU", false },
	{ "busy", BUSY, 0, -EBUSY, "CPU", false },
};

static void test_probe(gconstpointer data)
{
	const struct probe_row *row = data;
	int fd = make_fd(row->kind);
	unsigned fds = count_fds();
	struct vtr_dmabuf_cpu cpu;

	exporter.sync_error = row->sync_error;
	g_assert_cmpint(vtr_dmabuf_probe_cpu(fd, &cpu), ==, row->result);
	g_assert_nonnull(strstr(cpu.why_not.text, row->why_not));
	g_assert_cmpint(cpu.why_not.owner, ==, row->result ? VTR_ERROR_UNSUPPORTED : VTR_ERROR_NONE);
	g_assert_cmpuint(cpu.attributes, ==, 0);
	g_assert_cmpuint(exporter.begun, ==, row->bracketed);
	g_assert_cmpuint(exporter.ended, ==, row->bracketed);
	g_assert_cmpuint(count_fds(), ==, fds);
	close(fd);
}

static const struct attribute_row {
	const char *name;
	uint32_t feature;
	int error;
	unsigned probed;
	uint32_t attributes;
} attribute_rows[] = {
	{ "not-settled", 0, 0, 0, 0 },
	{ "known", 99, 0, 1, 1u << VTR_DMABUF_WRITE_COMBINING },
	{ "unknown", 99, ENOTTY, 1, 0 },
	{ "refused", 99, EOPNOTSUPP, 1, 0 },
	{ "refused-by-a-server", 99, EINVAL, 1, 0 },
};

static void test_attribute(gconstpointer data)
{
	const struct attribute_row *row = data;
	const struct vtr_cpu_attribute attributes[VTR_DMABUF_ATTRIBUTES] = { { "write-combining", row->feature } };
	const struct vtr_cpu_map_host host = { .ioctl = feature_ioctl, .attributes = attributes };
	int fd = make_fd(MAPPABLE);
	struct vtr_dmabuf_cpu cpu;

	exporter.feature_error = row->error;
	g_assert_cmpint(vtr_cpu_map_probe(&host, fd, &cpu), ==, 0);
	g_assert_cmpuint(exporter.probed, ==, row->probed);
	g_assert_cmphex(cpu.attributes, ==, row->attributes);
	close(fd);
}

static void test_attribute_names(void)
{
	g_assert_cmpstr(vtr_dmabuf_attribute_name(VTR_DMABUF_WRITE_COMBINING), ==, "write-combining");
}

/* ---- windows ---- */

enum { WINDOW = 4 * PAGE };

/* A window at 0x1000 of a dmabuf of four pages with pattern 3; who is asked has pattern 7. */
static struct vtr_memory *make_window(struct fake_remote *remote, int fd, uint64_t offset, uint64_t size)
{
	struct vtr_memory *memory = vtr_memory_create();

	add_remote(memory, remote, 0x1000, 7);
	g_assert_cmpint(vtr_memory_remove(memory, 0x1000, sizeof(remote->data)), ==, 0);
	g_assert_cmpint(vtr_memory_add(memory, 0x1000, size, fd, offset, true), ==, 0);
	g_assert_cmpint(vtr_memory_region(memory, 0)->kind, ==, VTR_REGION_WINDOW);
	return memory;
}

static const struct window_row {
	const char *name;
	uint64_t offset, size;
	int sync_error;
	const char *why_no_cpu; // NULL: it is read through its dmabuf
} window_rows[] = {
	{ "whole", 0, WINDOW, 0, NULL },
	{ "begins-later", PAGE, WINDOW - PAGE, 0, "part" },
	{ "ends-earlier", 0, WINDOW - PAGE, 0, "part" },
	{ "no-brackets", 0, WINDOW, ENOTTY, "does not let the CPU in" },
};

static void test_window(gconstpointer data)
{
	const struct window_row *row = data;
	int fd = make_fd(MAPPABLE);
	unsigned fds = count_fds() - 1;
	struct vtr_mem_entry entry = { 0x1000 + 5, 300, 0 };
	struct fake_remote remote;
	struct vtr_spans spans;
	uint8_t bytes[300];

	exporter.sync_error = row->sync_error;
	struct vtr_memory *memory = make_window(&remote, fd, row->offset, row->size);
	const struct vtr_region *region = vtr_memory_region(memory, 0);
	if (row->why_no_cpu)
		g_assert_nonnull(strstr(vtr_region_why_no_cpu(region), row->why_no_cpu));
	else
		g_assert_null(vtr_region_why_no_cpu(region));
	g_assert_cmphex(vtr_region_attributes(region), ==, 0);
	g_assert_cmpint(region->data != NULL, ==, !row->why_no_cpu);
	exporter.begun = exporter.ended = 0;
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	g_assert_cmpint(spans.cpu, ==, !row->why_no_cpu);
	g_assert_cmpint(vtr_spans_read(&spans, 0, bytes, sizeof(bytes)), ==, 0);
	assert_pattern(bytes, sizeof(bytes), row->why_no_cpu ? 7 : 3, 5);
	g_assert_cmpuint(remote.reads, ==, row->why_no_cpu ? 1 : 0);
	g_assert_cmpuint(exporter.begun, ==, row->why_no_cpu ? 0 : 1);
	g_assert_cmpuint(exporter.ended, ==, exporter.begun);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
	g_assert_cmpuint(count_fds(), ==, fds);
	g_assert_cmpuint(count_mappings("memfd:test"), ==, 0);
}

/* What is written there could be registers: that is the VMM's to do. */
static void test_window_is_not_written(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = make_window(&remote, make_fd(MAPPABLE), 0, WINDOW);
	uint8_t byte = 0xaa;

	g_assert_cmpint(vtr_memory_write(memory, 0x1000, &byte, 1), ==, 0);
	g_assert_cmpuint(remote.writes, ==, 1);
	g_assert_cmpuint(remote.data[0], ==, 0xaa);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, &byte, 1), ==, 0);
	g_assert_cmpuint(byte, ==, pattern(3, 0));
	vtr_memory_destroy(memory);
}

/* As a device's memory is: an access fails, and a later one may succeed. */
static void test_window_is_away(void)
{
	int fd = make_fd(MAPPABLE), ours = dup(fd);
	struct fake_remote remote;
	struct vtr_memory *memory = make_window(&remote, fd, 0, WINDOW);
	const struct vtr_region *region = vtr_memory_region(memory, 0);
	uint8_t bytes[64];

	g_assert_cmpint(ftruncate(ours, 0), ==, 0);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, -EFAULT);
	g_assert_true(vtr_region_faulted(region));
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, -EFAULT);
	g_assert_cmpint(ftruncate(ours, WINDOW), ==, 0);
	g_assert_cmpint(pwrite(ours, "back", 4, 0), ==, 4);
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, 0);
	g_assert_cmpmem(bytes, 4, "back", 4);
	g_assert_false(vtr_region_faulted(region));

	exporter.sync_error = ENODEV;
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, -EFAULT);
	exporter.sync_error = 0;
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, bytes, sizeof(bytes)), ==, 0);
	g_assert_cmpuint(exporter.begun, ==, exporter.ended);
	g_assert_cmpuint(remote.reads, ==, 0);
	vtr_memory_destroy(memory);
	close(ours);
}

/* Uncached, and it may go: a linear view of it is a copy. */
static void test_view_of_a_window(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = make_window(&remote, make_fd(MAPPABLE), 0, WINDOW);
	struct vtr_mem_entry entry = { 0x1000, WINDOW, 0 };
	struct vtr_spans spans;

	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	struct vtr_view *view = vtr_view_create(&spans, NULL);
	g_assert_nonnull(view);
	g_assert_true(vtr_view_is_copy(view));
	assert_pattern(vtr_view_data(view), WINDOW, 3, 0);
	vtr_view_destroy(view);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* Who holds the device gives CPU access where there is none, and takes away only what it gave. */
static void test_window_beside_a_device(void)
{
	struct fake_remote remote;
	struct vtr_memory *memory = make_window(&remote, make_fd(MAPPABLE), 0, WINDOW);
	struct vtr_region *region = vtr_memory_find(memory, 0x1000);
	int device = pattern_file(9, WINDOW);
	struct vtr_memory_file *file = vtr_memory_map_device(device, 0, WINDOW);
	uint8_t byte;

	g_assert_false(vtr_region_is_device(region));
	g_assert_true(vtr_region_is_device_memory(region));
	g_assert_cmpint(vtr_memory_set_device(memory, 0x1000, file, 0), ==, 0);
	g_assert_true(vtr_region_is_device(region));
	g_assert_cmpint(vtr_memory_read(memory, 0x1000, &byte, 1), ==, 0);
	g_assert_cmpuint(byte, ==, pattern(9, 0));
	vtr_memory_unmap_device(file);
	vtr_memory_destroy(memory);
	close(device);
	g_assert_cmpuint(count_mappings("memfd:test"), ==, 0);
}

static void test_no_fd(void)
{
	struct vtr_memory *memory = vtr_memory_create();
	struct fake_remote remote;

	add_remote(memory, &remote, 0x1000, 7);
	add_ram(memory, 0x100000, PAGE, 1);
	g_assert_cmpstr(vtr_region_why_no_cpu(vtr_memory_region(memory, 0)), ==, "the VMM sent no fd");
	g_assert_null(vtr_region_why_no_cpu(vtr_memory_region(memory, 1)));
	vtr_memory_destroy(memory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/cpu-map/probe/", probe_rows, test_probe);
	ADD_ROWS("/cpu-map/attribute/", attribute_rows, test_attribute);
	g_test_add_func("/cpu-map/attribute-names", test_attribute_names);
	ADD_ROWS("/cpu-map/window/", window_rows, test_window);
	g_test_add_func("/cpu-map/window-is-not-written", test_window_is_not_written);
	g_test_add_func("/cpu-map/window-is-away", test_window_is_away);
	g_test_add_func("/cpu-map/view-of-a-window", test_view_of_a_window);
	g_test_add_func("/cpu-map/window-beside-a-device", test_window_beside_a_device);
	g_test_add_func("/cpu-map/no-fd", test_no_fd);
	return g_test_run();
}
