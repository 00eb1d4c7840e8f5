/* SPDX-License-Identifier: MIT */
/*
 * The assigned device: an emulated PCI device whose BAR 2 is plain memory, driven through VFIO's group interface.
 *
 * A frame's memory is made as scattered as a GPU's: the BAR is divided into slots of two chunks, chunk i of frame `which` lies in
 * slot (which * half + i) * 37 mod slots, and the second chunk of every slot stays unused, so no two ranges touch.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define PCI_DEVICES "/sys/bus/pci/devices"

/* linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_BUF: Linux 6.19, newer than the headers at hand */
#define FEATURE_DMA_BUF 11
struct dma_range {
	uint64_t offset, length;
};
struct feature_dma_buf {
	uint32_t region_index, open_flags, flags, nr_ranges;
	struct dma_range ranges[];
};

enum { SHUFFLE = 37, BOOTS_MAGIC = 0x56425430 };

static int read_number(const char *bdf, const char *name, unsigned *value)
{
	char path[256];
	FILE *file;
	int n;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, name);
	file = fopen(path, "r");
	if (!file)
		return -1;
	n = fscanf(file, "%x", value);
	fclose(file);
	return n == 1 ? 0 : -1;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return guest_check(-1, path);
	written = write(fd, text, strlen(text));
	close(fd);
	return guest_check(written, path) < 0 ? -1 : 0;
}

static bool find_device(uint16_t vendor, uint16_t id, char bdf[32])
{
	DIR *devices = opendir(PCI_DEVICES);
	struct dirent *entry;
	bool found = false;

	while (devices && !found && (entry = readdir(devices))) {
		unsigned have_vendor, have_id;

		found = entry->d_name[0] != '.' && strlen(entry->d_name) < 32 &&
		        read_number(entry->d_name, "vendor", &have_vendor) == 0 &&
		        read_number(entry->d_name, "device", &have_id) == 0 && have_vendor == vendor && have_id == id;
		if (found)
			strcpy(bdf, entry->d_name);
	}
	if (devices)
		closedir(devices);
	return found;
}

/* Gives the device to vfio-pci and names its group's file. */
static int bind_device(const char *bdf, char group[64])
{
	char path[256], link[256];
	ssize_t length;
	int ret;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", bdf);
	ret = write_text(path, "vfio-pci");
	if (ret == 0)
		ret = write_text("/sys/bus/pci/drivers_probe", bdf);
	if (ret < 0)
		return ret;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/iommu_group", bdf);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		return guest_check(-1, "no IOMMU group: boot with intel_iommu=on and an IOMMU");
	link[length] = '\0';
	snprintf(group, 64, "/dev/vfio/%s", strrchr(link, '/') + 1);
	return 0;
}

static int open_group(struct assigned *assigned, const char *group, const char *bdf)
{
	assigned->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (assigned->container < 0)
		return guest_check(-1, "/dev/vfio/vfio");
	assigned->group = open(group, O_RDWR | O_CLOEXEC);
	if (assigned->group < 0)
		return guest_check(-1, group);
	if (ioctl(assigned->group, VFIO_GROUP_SET_CONTAINER, &assigned->container) < 0)
		return guest_check(-1, "put the group into a container");
	if (ioctl(assigned->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
		return guest_check(-1, "set the container's IOMMU");
	assigned->device = ioctl(assigned->group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	return guest_check(assigned->device, "open the device") < 0 ? -1 : 0;
}

int assigned_open(struct assigned *assigned, uint16_t vendor, uint16_t id)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR2_REGION_INDEX };
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	char bdf[32], group[64];
	int ret;

	*assigned = (struct assigned){ .container = -1, .group = -1, .device = -1 };
	if (!find_device(vendor, id, bdf)) {
		errno = ENODEV;
		return guest_check(-1, "find the assigned device");
	}
	ret = bind_device(bdf, group);
	if (ret == 0)
		ret = open_group(assigned, group, bdf);
	if (ret == 0)
		ret = guest_check(ioctl(assigned->device, VFIO_DEVICE_GET_REGION_INFO, &bar), "read BAR 2's place");
	if (ret == 0)
		ret = guest_check(ioctl(assigned->device, VFIO_DEVICE_GET_REGION_INFO, &config),
		                  "read the configuration space's place");
	if (ret < 0) {
		assigned_close(assigned);
		return ret;
	}
	assigned->bar_size = bar.size;
	assigned->bar_offset = bar.offset;
	assigned->config_offset = config.offset;
	return 0;
}

void assigned_close(struct assigned *assigned)
{
	if (assigned->device >= 0)
		close(assigned->device);
	if (assigned->group >= 0)
		close(assigned->group);
	if (assigned->container >= 0)
		close(assigned->container);
	*assigned = (struct assigned){ .container = -1, .group = -1, .device = -1 };
}

static int export_ranges(struct assigned *assigned, const struct dma_range *ranges, uint32_t n)
{
	size_t argsz = sizeof(struct vfio_device_feature) + sizeof(struct feature_dma_buf) + n * sizeof(*ranges);
	struct vfio_device_feature *feature = calloc(1, argsz);
	struct feature_dma_buf *dma_buf = (void *)feature->data;
	int fd;

	feature->argsz = (uint32_t)argsz;
	feature->flags = VFIO_DEVICE_FEATURE_GET | FEATURE_DMA_BUF;
	*dma_buf = (struct feature_dma_buf){ .region_index = VFIO_PCI_BAR2_REGION_INDEX,
		                             .open_flags = O_CLOEXEC | O_RDWR,
		                             .nr_ranges = n };
	memcpy(dma_buf->ranges, ranges, n * sizeof(*ranges));
	fd = ioctl(assigned->device, VFIO_DEVICE_FEATURE, feature);
	free(feature);
	return guest_check(fd, "export ranges of the BAR as a dmabuf");
}

/* The same ranges, one behind the other, in our own address space. */
static uint8_t *map_ranges(struct assigned *assigned, const struct dma_range *ranges, uint32_t n, size_t size)
{
	uint8_t *map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *at = map;

	if (map == MAP_FAILED)
		return NULL;
	for (uint32_t i = 0; i < n; at += ranges[i++].length)
		if (mmap(at, ranges[i].length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, assigned->device,
		         (off_t)(assigned->bar_offset + ranges[i].offset)) == MAP_FAILED) {
			munmap(map, size);
			return NULL;
		}
	return map;
}

/* Where chunk i of a frame lies: in the slots as the comment above says, or in one piece, not at the beginning of its half. */
static uint64_t chunk_offset(const struct assigned *assigned, unsigned which, uint32_t i, bool scattered)
{
	uint64_t slots = assigned->bar_size / (2 * ASSIGNED_CHUNK), half = slots / 2;

	if (scattered)
		return (which * half + i) * SHUFFLE % slots * 2 * ASSIGNED_CHUNK;
	return (which * half + 1) * 2 * ASSIGNED_CHUNK + (uint64_t)i * ASSIGNED_CHUNK;
}

int assigned_export(struct assigned *assigned, size_t size, unsigned which, bool scattered, struct frame *frame)
{
	size_t total = (size + 4095) & ~(size_t)4095, chunk = scattered ? ASSIGNED_CHUNK : total;
	uint32_t n = (uint32_t)((total + chunk - 1) / chunk);
	struct dma_range *ranges;
	int ret = 0;

	*frame = FRAME_NONE;
	if (total > assigned->bar_size / 4) {
		errno = ENOSPC;
		return guest_check(-1, "the BAR is too small for two such frames");
	}
	ranges = calloc(n, sizeof(*ranges));
	for (uint32_t i = 0; i < n; i++) {
		size_t left = total - (size_t)i * chunk;

		ranges[i].offset = chunk_offset(assigned, which, i, scattered);
		ranges[i].length = left < chunk ? left : chunk;
	}
	frame->dmabuf = export_ranges(assigned, ranges, n);
	frame->map = map_ranges(assigned, ranges, n, total);
	frame->map_size = total;
	if (frame->dmabuf < 0)
		ret = frame->dmabuf;
	else if (!frame->map)
		ret = guest_check(-1, "map ranges of the BAR");
	free(ranges);
	return ret < 0 ? ret : (int)n;
}

int assigned_set_decoding(struct assigned *assigned, bool on)
{
	off_t at = (off_t)(assigned->config_offset + PCI_COMMAND);
	uint16_t command;

	if (pread(assigned->device, &command, sizeof(command), at) != (ssize_t)sizeof(command))
		return guest_check(-1, "read the PCI command register");
	command = (uint16_t)(on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY);
	if (pwrite(assigned->device, &command, sizeof(command), at) != (ssize_t)sizeof(command))
		return guest_check(-1, "write the PCI command register");
	return 0;
}

int assigned_count_boot(struct assigned *assigned)
{
	uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, assigned->device,
	                       (off_t)(assigned->bar_offset + ASSIGNED_BOOTS));
	int boots;

	if (words == MAP_FAILED)
		return guest_check(-1, "map the boot counter");
	if (words[0] != BOOTS_MAGIC)
		words[1] = 0;
	words[0] = BOOTS_MAGIC;
	boots = (int)++words[1];
	munmap(words, 4096);
	return boots;
}
