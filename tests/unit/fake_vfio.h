/* SPDX-License-Identifier: MIT */
#ifndef FAKE_VFIO_H
#define FAKE_VFIO_H

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfio/device.h"
#include "vfio/kernel.h"

/*
 * A kernel with one VFIO device: what is behind the ioctls, so that everything above them runs as it is. It holds the caller to the
 * rules of VFIO_DEVICE_FEATURE_DMA_BUF: a request that the kernel would refuse for what is in it fails the test.
 */

enum { PAGE = 4096, FAKE_FD_OFFSET = 40, FAKE_INFO = 1024, FAKE_RANGES = 64 };

static struct {
	struct vfio_device_info info;
	int info_error;

	/* answers to VFIO_DEVICE_GET_REGION_INFO: argsz bytes of it are told */
	struct {
		union {
			struct vfio_region_info info;
			uint8_t bytes[FAKE_INFO];
		};
		int error;
	} regions[VFIO_PCI_NUM_REGIONS];

	uint8_t config[256];
	int config_error;

	int probe_error; // 0: the feature is there
	int get_error;   // 0: a dmabuf is made
	unsigned probes, gets, infos, reads;
	uint32_t flags_seen, bar, nr_ranges;
	struct vtr_vfio_dma_range ranges[FAKE_RANGES]; // the first of the last request

	int (*get)(const struct vtr_vfio_feature_dma_buf *request); // makes the dmabuf; NULL: one of nothing
} fake;

/* ---- what the device is ---- */

static void fake_region(uint32_t index, uint64_t size, uint32_t flags)
{
	fake.regions[index].info = (struct vfio_region_info){
		.argsz = sizeof(struct vfio_region_info),
		.flags = flags,
		.index = index,
		.size = size,
		.offset = (uint64_t)index << FAKE_FD_OFFSET,
	};
}

static void fake_write32(unsigned at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		fake.config[at + i] = (uint8_t)(value >> 8 * i);
}

static void fake_bar(unsigned bar, uint32_t value)
{
	fake_write32(PCI_BASE_ADDRESS_0 + 4 * bar, value);
}

static void fake_decoding(bool on)
{
	fake.config[PCI_COMMAND] = on ? PCI_COMMAND_MEMORY : 0;
}

#define FAKE_ALL (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP)

/* BAR 0: 1 MiB at 0xfe000000. BAR 2, 64-bit: 64 MiB at 0x8_0000_0000. BAR 4: 4 KiB that may not be mapped at 0xfe200000. BAR 5:
 * I/O. */
static void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.info = (struct vfio_device_info){ .argsz = sizeof(fake.info),
		                               .flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
		                               .num_regions = VFIO_PCI_NUM_REGIONS };
	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		fake_region(i, 0, 0);
	fake_region(0, 1 << 20, FAKE_ALL);
	fake_region(2, 64 << 20, FAKE_ALL);
	fake_region(4, PAGE, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	fake_region(5, 32, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	fake_region(VFIO_PCI_CONFIG_REGION_INDEX, 256, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	fake_decoding(true);
	fake_bar(0, 0xfe000000);
	fake_bar(2, 0x0000000c);
	fake_bar(3, 8);
	fake_bar(4, 0xfe200000);
	fake_bar(5, 0xc001);
}

/* ---- how it answers ---- */

static int fake_fail(int error)
{
	errno = error;
	return -1;
}

static int fake_region_info(struct vfio_region_info *info)
{
	uint32_t room = info->argsz, index = info->index;

	fake.infos++;
	g_assert_cmpuint(index, <, VFIO_PCI_NUM_REGIONS);
	g_assert_cmpuint(room, >=, sizeof(*info));
	g_assert_cmpuint(room, <=, VTR_MAX_VFIO_REGION_INFO);
	if (fake.regions[index].error)
		return fake_fail(fake.regions[index].error);
	uint32_t told = fake.regions[index].info.argsz;
	memcpy(info, &fake.regions[index].info, MIN(MIN(room, MAX(told, sizeof(*info))), FAKE_INFO));
	/* as the kernel does: what has no room is not told */
	if (told > room)
		info->cap_offset = 0;
	return 0;
}

static int fake_get_dmabuf(const struct vfio_device_feature *feature)
{
	const struct vtr_vfio_feature_dma_buf *request = (const void *)feature->data;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	fake.gets++;
	g_assert_cmpuint(request->nr_ranges, >, 0);
	g_assert_cmpuint(request->nr_ranges, <=, VTR_MAX_ENTRIES);
	g_assert_cmpuint(feature->argsz, ==,
	                 sizeof(*feature) + sizeof(*request) + request->nr_ranges * sizeof(request->dma_ranges[0]));
	g_assert_cmpuint(request->flags, ==, 0);
	g_assert_cmpuint(request->open_flags, ==, O_RDWR | O_CLOEXEC);
	g_assert_cmpuint(request->region_index, <, VFIO_PCI_ROM_REGION_INDEX);
	for (uint32_t i = 0; i < request->nr_ranges; i++) {
		const struct vtr_vfio_dma_range *range = &request->dma_ranges[i];
		uint64_t end;

		g_assert_false(__builtin_add_overflow(range->offset, range->length, &end));
		g_assert_cmpuint(end, <=, fake.regions[request->region_index].info.size);
		g_assert_cmpuint((range->offset | range->length) % page, ==, 0);
		g_assert_cmpuint(range->length, >, 0);
		if (i < FAKE_RANGES)
			fake.ranges[i] = *range;
	}
	fake.bar = request->region_index;
	fake.nr_ranges = request->nr_ranges;
	if (fake.get_error)
		return fake_fail(fake.get_error);
	return fake.get ? fake.get(request) : open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int fake_feature(const struct vfio_device_feature *feature)
{
	fake.flags_seen = feature->flags;
	g_assert_cmpuint(feature->flags & VFIO_DEVICE_FEATURE_MASK, ==, VTR_VFIO_FEATURE_DMA_BUF);
	if (!(feature->flags & VFIO_DEVICE_FEATURE_PROBE))
		return fake_get_dmabuf(feature);
	fake.probes++;
	g_assert_cmpuint(feature->flags & (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET), ==, VFIO_DEVICE_FEATURE_GET);
	return fake.probe_error ? fake_fail(fake.probe_error) : 0;
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
	switch (request) {
	case VFIO_DEVICE_GET_INFO:
		if (fake.info_error)
			return fake_fail(fake.info_error);
		g_assert_cmpuint(((struct vfio_device_info *)argument)->argsz, >=, offsetof(struct vfio_device_info, cap_offset));
		memcpy(argument, &fake.info, sizeof(fake.info));
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		return fake_region_info(argument);
	case VFIO_DEVICE_FEATURE:
		return fake_feature(argument);
	default:
		g_assert_not_reached();
	}
}

static ssize_t fake_pread(int fd, void *buffer, size_t size, off_t offset)
{
	uint64_t at = (uint64_t)offset - ((uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << FAKE_FD_OFFSET);

	fake.reads++;
	g_assert_cmpuint(at + size, <=, sizeof(fake.config));
	if (fake.config_error)
		return fake_fail(fake.config_error);
	memcpy(buffer, fake.config + at, size);
	return (ssize_t)size;
}

static const struct vtr_vfio_calls fake_calls = { .ioctl = fake_ioctl, .pread = fake_pread };

/* NULL with *error filled. */
G_GNUC_UNUSED static struct vtr_vfio_device *fake_try_open(struct vtr_error *error)
{
	*error = (struct vtr_error){ 0 };
	return vtr_vfio_device_attach(vtr_vfio_kernel_create(open("/dev/null", O_RDWR | O_CLOEXEC), &fake_calls), "0000:01:00.0",
	                              error);
}

/* A file that can be mapped as the device's fd can: it ends where BAR 2 does. Cut short it is a device that is away. */
G_GNUC_UNUSED static int fake_memory(void)
{
	int fd = memfd_create("device", MFD_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)(fake.regions[2].info.offset + fake.regions[2].info.size)), ==, 0);
	return fd;
}

/* The device with memory that can be mapped; memory is not taken. */
G_GNUC_UNUSED static struct vtr_vfio_device *fake_open_memory(int memory, const char *name)
{
	struct vtr_error error = { 0 };
	int fd = fcntl(memory, F_DUPFD_CLOEXEC, 0);
	struct vtr_vfio_device *device = vtr_vfio_device_attach(vtr_vfio_kernel_create(fd, &fake_calls), name, &error);

	g_assert_cmpstr(error.text, ==, "");
	g_assert_nonnull(device);
	return device;
}

G_GNUC_UNUSED static struct vtr_vfio_device *fake_open(void)
{
	struct vtr_error error;
	struct vtr_vfio_device *device = fake_try_open(&error);

	g_assert_cmpstr(error.text, ==, "");
	g_assert_nonnull(device);
	return device;
}

#endif
