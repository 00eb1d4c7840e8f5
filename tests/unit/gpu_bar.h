/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_GPU_BAR_H
#define TESTS_UNIT_GPU_BAR_H

/*
 * A gpu machine with an assigned device: BAR 0 of the fake VFIO device at its guest address, and pictures whose pages lie in it, in
 * order or not. What the fake kernel exports is a copy of the pages asked for, so that a display sees which they were.
 */
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "fake_vfio.h"
#include "gpu/gpu.h"
#include "gpu_machine.h"

enum { BAR_SIZE = 1 << 20, BAR_PAGES = BAR_SIZE / PAGE, PICTURE_PAGES = 63, PICTURE_ROWS = PICTURE_PAGES * PAGE / GPU_STRIDE };
#define BAR_ADDRESS UINT64_C(0xfe000000)

/* How the VMM announces the BAR. */
enum gpu_bar_kind {
	BAR_NOT,           /* not at all */
	BAR_REMOTE,        /* without an fd */
	BAR_WINDOW,        /* with a dmabuf of all of it */
	BAR_WINDOW_LARGER, /* with a dmabuf that goes on behind it */
	BAR_WINDOW_OFFSET, /* as a part of a dmabuf that does not begin with it */
	BAR_OURS,          /* not at all; it is in the map because we hold the device */
};

/* Where the pages of a picture are. */
enum gpu_bar_frame {
	FRAME_SHUFFLED,   /* all over the BAR, none behind another */
	FRAME_CONTIGUOUS, /* behind each other in the BAR, from page 5 */
	FRAME_UNALIGNED,  /* likewise, but not on a page's border */
	FRAME_MIXED,      /* the first one in guest RAM, the others in the BAR */
	FRAME_RAM,
};

struct gpu_bar {
	struct gpu_machine machine;
	struct guest_ram bar;
	struct vtr_vfio_devices *devices;
	unsigned reads; /* of remote memory */
	int error;      /* what they answer, when not 0 */
};

/* ---- fakes: the kernel's dmabufs, and the magic number of one file ---- */

static struct {
	const struct guest_ram *bar;
	ino_t window;      /* this file calls itself a dmabuf */
	uint64_t short_by; /* bytes that are missing from what is exported */
	int exported;      /* the last dmabuf, and what it is of */
	uint32_t n_ranges;
	struct vtr_vfio_dma_range ranges[PICTURE_PAGES];
} gpu_bar_fake;

int fstatfs(int fd, struct statfs *info);
int fstatfs(int fd, struct statfs *info)
{
	struct stat file;
	int result = (int)syscall(SYS_fstatfs, fd, info);

	if (result == 0 && gpu_bar_fake.window && fstat(fd, &file) == 0 && file.st_ino == gpu_bar_fake.window)
		info->f_type = DMA_BUF_MAGIC;
	return result;
}

/* Brings the last export up to date: real ones are the memory itself. */
static inline void gpu_bar_refresh(void)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < gpu_bar_fake.n_ranges; i++) {
		const struct vtr_vfio_dma_range *range = &gpu_bar_fake.ranges[i];

		g_assert_cmpint(pwrite(gpu_bar_fake.exported, gpu_bar_fake.bar->data + range->offset, range->length, (off_t)at), ==,
		                range->length);
		at += range->length;
	}
	if (at)
		g_assert_cmpint(ftruncate(gpu_bar_fake.exported, (off_t)(at - gpu_bar_fake.short_by)), ==, 0);
}

static inline void gpu_bar_forget_export(void)
{
	if (gpu_bar_fake.n_ranges)
		close(gpu_bar_fake.exported);
	gpu_bar_fake.n_ranges = 0;
}

static inline int gpu_bar_export(const struct vtr_vfio_feature_dma_buf *request)
{
	g_assert_cmpuint(request->nr_ranges, <=, G_N_ELEMENTS(gpu_bar_fake.ranges));
	gpu_bar_forget_export();
	gpu_bar_fake.exported = memfd_create("dmabuf", MFD_CLOEXEC);
	gpu_bar_fake.n_ranges = request->nr_ranges;
	memcpy(gpu_bar_fake.ranges, request->dma_ranges, request->nr_ranges * sizeof(request->dma_ranges[0]));
	gpu_bar_refresh();
	return fcntl(gpu_bar_fake.exported, F_DUPFD_CLOEXEC, 0);
}

static int gpu_bar_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct gpu_bar *bench = data;

	bench->reads++;
	if (bench->error)
		return bench->error;
	memcpy(buffer, address >= BAR_ADDRESS ? guest_ram_at(&bench->bar, address) : gpu_machine_at(&bench->machine, address),
	       length);
	return 0;
}

static int gpu_bar_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	return -EACCES;
}

static const struct vtr_remote_impl gpu_bar_remote = { .read = gpu_bar_read, .write = gpu_bar_write };

/* ---- the machine ---- */

static inline void gpu_bar_map(struct gpu_bar *bench, enum gpu_bar_kind kind)
{
	static const struct {
		bool fd;
		uint64_t size, offset;
	} kinds[] = {
		[BAR_REMOTE] = { false, BAR_SIZE, 0 },
		[BAR_WINDOW] = { true, BAR_SIZE, 0 },
		[BAR_WINDOW_LARGER] = { true, BAR_SIZE - PAGE, 0 },
		[BAR_WINDOW_OFFSET] = { true, BAR_SIZE - PAGE, PAGE },
	};

	if (kind == BAR_NOT) {
		vtr_memory_remove(bench->machine.memory, BAR_ADDRESS, BAR_SIZE);
		vtr_memory_remove_device(bench->machine.memory, BAR_ADDRESS);
	} else if (kind == BAR_OURS) {
		struct vtr_memory_file *file = vtr_memory_map_device(bench->bar.fd, 0, BAR_SIZE);

		g_assert_cmpint(vtr_memory_add_device(bench->machine.memory, BAR_ADDRESS, BAR_SIZE, file, 0), ==, 0);
		vtr_memory_unmap_device(file);
	} else {
		g_assert_cmpint(vtr_memory_add(bench->machine.memory, BAR_ADDRESS, kinds[kind].size,
		                               kinds[kind].fd ? dup(bench->bar.fd) : -1, kinds[kind].offset, true),
		                ==, 0);
	}
}

static inline struct vtr_vfio_device *gpu_bar_assign(struct gpu_bar *bench)
{
	struct vtr_vfio_device *device = fake_open();

	g_assert_cmpint(vtr_vfio_devices_add(bench->devices, device), ==, 0);
	return device;
}

static inline void gpu_bar_create(struct gpu_bar *bench, enum gpu_bar_kind kind, enum vtr_path forced)
{
	struct vtr_gpu_options options = { .force_path = forced, .devices = vtr_vfio_devices_create() };
	struct stat file;

	fake_reset();
	*bench = (struct gpu_bar){ .devices = options.devices };
	guest_ram_init(&bench->bar, BAR_ADDRESS, BAR_SIZE);
	g_assert_cmpint(fstat(bench->bar.fd, &file), ==, 0);
	gpu_bar_fake.bar = &bench->bar;
	gpu_bar_fake.window = file.st_ino;
	gpu_bar_fake.short_by = 0;
	fake.get = gpu_bar_export;
	gpu_machine_create(&bench->machine, &options, 1, VTR_DEMAND_DMABUF);
	gpu_machine_start(&bench->machine, gpu_features);
	vtr_memory_set_remote(bench->machine.memory, &gpu_bar_remote, bench);
	gpu_bar_map(bench, kind);
}

static inline void gpu_bar_destroy(struct gpu_bar *bench)
{
	gpu_machine_destroy(&bench->machine);
	vtr_vfio_devices_destroy(bench->devices);
	guest_ram_finish(&bench->bar);
	gpu_bar_forget_export();
	gpu_bar_fake.window = 0;
}

/* ---- pictures ---- */

static inline uint64_t gpu_bar_page(enum gpu_bar_frame frame, unsigned i)
{
	switch (frame) {
	case FRAME_CONTIGUOUS:
		return BAR_ADDRESS + (5 + i) * PAGE;
	case FRAME_UNALIGNED:
		return BAR_ADDRESS + (5 + i) * PAGE + 256;
	case FRAME_RAM:
		return i * PAGE;
	case FRAME_MIXED:
		if (!i)
			return 0;
		break;
	case FRAME_SHUFFLED:
		break;
	}
	return BAR_ADDRESS + (9 + 37 * i) % BAR_PAGES * PAGE; /* 37 and 256 have no common factor: no page twice */
}

/* Page i of the picture in the grey value + i. */
static inline void gpu_bar_paint(struct gpu_bar *bench, enum gpu_bar_frame frame, uint8_t value)
{
	for (unsigned i = 0; i < PICTURE_PAGES; i++) {
		uint64_t page = gpu_bar_page(frame, i);
		uint8_t *data = page >= BAR_ADDRESS ? guest_ram_at(&bench->bar, page) : gpu_machine_at(&bench->machine, page);

		memset(data, (uint8_t)(value + i), PAGE);
	}
	gpu_bar_refresh();
}

struct gpu_bar_entries {
	uint32_t count;
	struct virtio_gpu_mem_entry items[PICTURE_PAGES];
};

static inline void gpu_bar_entries(struct gpu_bar_entries *entries, enum gpu_bar_frame frame)
{
	*entries = (struct gpu_bar_entries){ .count = PICTURE_PAGES };
	for (unsigned i = 0; i < PICTURE_PAGES; i++)
		entries->items[i] = (struct virtio_gpu_mem_entry){ .addr = gpu_bar_page(frame, i), .length = PAGE };
}

static inline void gpu_bar_create_blob(struct gpu_bar *bench, uint32_t id, enum gpu_bar_frame frame)
{
	struct gpu_bar_entries entries;
	struct {
		struct virtio_gpu_resource_create_blob blob;
		struct virtio_gpu_mem_entry entries[PICTURE_PAGES];
	} request = {
		.blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		          .resource_id = id,
		          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		          .nr_entries = PICTURE_PAGES,
		          .size = PICTURE_PAGES * PAGE },
	};

	gpu_bar_entries(&entries, frame);
	memcpy(request.entries, entries.items, sizeof(request.entries));
	GPU_ASSERT_OK(&bench->machine, request);
}

static inline void gpu_bar_attach(struct gpu_bar *bench, uint32_t id, enum gpu_bar_frame frame)
{
	struct gpu_bar_entries entries;
	struct {
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_mem_entry entries[PICTURE_PAGES];
	} request = {
		.attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = id, .nr_entries = PICTURE_PAGES }
	};

	gpu_bar_entries(&entries, frame);
	memcpy(request.entries, entries.items, sizeof(request.entries));
	GPU_ASSERT_OK(&bench->machine, request);
}

static inline void gpu_bar_set_scanout(struct gpu_bar *bench, uint32_t id)
{
	struct virtio_gpu_set_scanout_blob set = gpu_set_scanout_blob(0, id);

	set.height = set.r.height = PICTURE_ROWS;
	GPU_ASSERT_OK(&bench->machine, set);
}

/* Paints a new blob and binds it to the scanout. */
static inline void gpu_bar_show(struct gpu_bar *bench, uint32_t id, enum gpu_bar_frame frame, uint8_t value)
{
	gpu_bar_paint(bench, frame, value);
	gpu_bar_create_blob(bench, id, frame);
	gpu_bar_set_scanout(bench, id);
}

static inline struct virtio_gpu_resource_flush gpu_bar_flush_request(uint32_t id, uint64_t fence)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(id, fence);

	flush.r.height = PICTURE_ROWS;
	return flush;
}

/* Flushes with a fence and waits for the answer. */
static inline void gpu_bar_flush(struct gpu_bar *bench, uint32_t id)
{
	struct virtio_gpu_resource_flush flush = gpu_bar_flush_request(id, 1);

	GPU_ASSERT_OK(&bench->machine, flush);
}

static inline uint32_t gpu_bar_grey(uint8_t value)
{
	return UINT32_C(0x01010101) * value;
}

/* The display has the whole picture in that grey. */
static inline bool gpu_bar_shows(struct gpu_bar *bench, uint8_t value)
{
	return atomic_load(&bench->machine.display.pixel[0]) == gpu_bar_grey(value) &&
	       atomic_load(&bench->machine.display.last_pixel[0]) == gpu_bar_grey((uint8_t)(value + PICTURE_PAGES - 1));
}

static inline struct vtr_scanout_status gpu_bar_status(struct gpu_bar *bench)
{
	return gpu_machine_status(&bench->machine, 0);
}

/* How often the display was given a dmabuf of that kind. */
static inline unsigned gpu_bar_tried(struct gpu_bar *bench, enum vtr_path path)
{
	return atomic_load(&bench->machine.display.tried[path]);
}

static inline void gpu_bar_refuse(struct gpu_bar *bench, unsigned paths, enum vtr_error_owner owner)
{
	atomic_store(&bench->machine.display.owner, owner);
	atomic_store(&bench->machine.display.refuse, paths);
}

#endif
