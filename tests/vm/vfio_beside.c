/* SPDX-License-Identifier: MIT */
/*
 * vfio-beside: what a display process beside a running VMM can do with the VMM's own device, without the VMM knowing: the device's
 * fd is duplicated out of it, a frame is drawn into shuffled ranges of BAR 2, the ranges become one dmabuf, and a DRM card scans it
 * out. Prints one TAP line a check and `@@SHOWN`, then leaves the picture where it is until its standard input ends.
 *
 *   vfio-beside PID BDF CARD SEED
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>
#include <vitrine/vfio.h>

#include "checks.h"
#include "guest/guest.h"

enum { BAR = 2, CHUNK = 0x10000, SLOTS = 256, SHUFFLE = 37, MAX_RANGES = 128 };

/* For guest/card.c */
int guest_check(long result, const char *what)
{
	int error = errno;

	if (result >= 0)
		return (int)result;
	printf("# %s: %s\n", what, strerror(error));
	return -error;
}

/* *again: another fd of the device, for what the library does not do. */
static struct vtr_vfio_device *take_device(const char *pid, const char *bdf, int *again)
{
	struct vtr_error error = { 0 };
	char text[64];

	snprintf(text, sizeof(text), "pid=%s", pid);
	int fd = vtr_vfio_acquire(text, &error);
	check(fd >= 0, "beside: pid= takes the only device of a VMM that was not asked", "%s", error.text);
	*again = fd;
	snprintf(text, sizeof(text), "pid=%s,device=%s", pid, bdf);
	fd = vtr_vfio_acquire(text, &error);
	check(fd >= 0, "beside: pid=,device= takes it, too", "%s", error.text);
	must(fd >= 0 && *again >= 0, "no device");
	struct vtr_vfio_device *device = vtr_vfio_device_create(fd, &error);
	must(device, error.text);
	check(strcmp(vtr_vfio_device_name(device), bdf) == 0, "beside: it is that device", "%s", vtr_vfio_device_name(device));
	check(vtr_vfio_device_probe_dmabuf(device, &error) == 0, "beside: dmabufs may be made of it", "%s", error.text);
	return device;
}

/* Guest addresses mean nothing yet: firmware has not placed the BAR. Neither does the device answer, until somebody lets it. */
static void check_asleep(struct vtr_vfio_device *device, int device_fd, const char *path)
{
	const struct vtr_vfio_range range = { BAR, 0, 4096 };
	struct vtr_vfio_devices *devices = vtr_vfio_devices_create();
	const struct vtr_mem_entry entry = { .address = 0xf8000000, .length = 4096 };
	struct vtr_error error = { 0 };

	must(devices && vtr_vfio_devices_add(devices, device) == 0, "memory");
	check(vtr_vfio_device_region(device, BAR)->address == 0, "beside: before firmware runs the BAR is nowhere", "0x%llx",
	      (unsigned long long)vtr_vfio_device_region(device, BAR)->address);
	int result = vtr_vfio_devices_dmabuf_from_entries(devices, &entry, 1, &error);
	check_error("beside: then an address in it is the guest's error", result, &error, VTR_ERROR_GUEST, EFAULT);
	int card = open(path, O_RDWR | O_CLOEXEC), fd = vtr_vfio_device_create_dmabuf(device, &range, 1, &error);
	must(card >= 0, path);
	check(fd >= 0, "beside: a dmabuf can be made", "%s", error.text);
	result = import(card, fd);
	check(result == -ENODEV, "beside: it is revoked", "%s", strerror(-result));
	set_decoding(device_fd, true);
	result = import(card, fd);
	check(result == 0, "beside: memory decoding brings it to life", "%s", strerror(-result));
	close(fd);
	close(card);
	vtr_vfio_devices_remove(devices, device);
	vtr_vfio_devices_destroy(devices);
}

static size_t lay_out(struct vtr_vfio_range *ranges, size_t size)
{
	size_t count = 0;

	for (size_t left = size; left; count++) {
		size_t length = left < CHUNK ? left : CHUNK;

		must(count < MAX_RANGES, "the frame is too big");
		ranges[count] = (struct vtr_vfio_range){ BAR, (uint64_t)(count * SHUFFLE % SLOTS) * 2 * CHUNK, length };
		left -= length;
	}
	return count;
}

/* The picture, written through the device's own mapping, chunk by chunk. */
static void draw(const struct vtr_vfio_region *bar, const struct vtr_vfio_range *ranges, size_t count, const struct image *layout,
                 uint32_t seed)
{
	size_t size = (size_t)layout->stride * layout->height, at = 0;
	struct image image = *layout;

	image.pixels = malloc(size);
	must(image.pixels, "memory");
	picture_draw(&image, seed);
	uint8_t *map = mmap(NULL, bar->size, PROT_READ | PROT_WRITE, MAP_SHARED, bar->fd, (off_t)bar->offset);
	must(map != MAP_FAILED, "map the BAR");
	for (size_t i = 0; i < count; i++) {
		size_t length = at + ranges[i].length <= size ? ranges[i].length : size - at;

		memcpy(map + ranges[i].offset, image.pixels + at, length);
		at += length;
	}
	munmap(map, bar->size);
	free(image.pixels);
}

static void show(struct vtr_vfio_device *device, const char *path, uint32_t seed)
{
	struct vtr_vfio_range ranges[MAX_RANGES];
	struct vtr_error error = { 0 };
	struct frame frame = FRAME_NONE;
	struct card card;

	must(card_open(&card, path, 0) == 0, path);
	frame.image = (struct image){ .width = card.width, .height = card.height, .stride = card.width * 4 };
	size_t size = ((size_t)frame.image.stride * card.height + 4095) & ~(size_t)4095, count = lay_out(ranges, size);
	draw(vtr_vfio_device_region(device, BAR), ranges, count, &frame.image, seed);
	frame.dmabuf = vtr_vfio_device_create_dmabuf(device, ranges, count, &error);
	check(frame.dmabuf >= 0 && vtr_dmabuf_size(frame.dmabuf) == size, "beside: shuffled ranges are one dmabuf", "%s",
	      error.text);
	int result = frame.dmabuf < 0 ? frame.dmabuf : card_import_frame(&card, &frame, 0);
	check(result == 0, "beside: a card imports it", "%s", strerror(-result));
	if (result == 0)
		result = card_show(&card, &frame);
	if (result == 0)
		result = card_flush(&card, &frame);
	check(result == 0, "beside: and scans it out", "%s", strerror(-result));
	print_plan();
	printf("@@SHOWN beside seed=%u ranges=%zu\n", seed, count);
	fflush(stdout);
	while (getchar() != EOF)
		;
	card_free_frame(&card, &frame);
	card_close(&card);
}

int main(int argc, char **argv)
{
	must(argc == 5, "vfio-beside PID BDF CARD SEED");
	int again;
	struct vtr_vfio_device *device = take_device(argv[1], argv[2], &again);
	check_asleep(device, again, argv[3]);
	show(device, argv[3], (uint32_t)atoi(argv[4]));
	vtr_vfio_device_destroy(device);
	close(again);
	return 0;
}
