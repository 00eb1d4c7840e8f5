/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/loop.h>

#include "vfio/device.h"

/*
 * What it costs to make one VFIO dmabuf of many pieces, without the kernel's share: its answer is an open fd at once.
 * tests/vm/test_vfio.py prints the kernel's. Best of several rounds; the ways to say where the pieces are, and neighbours that
 * merge, are compared in turns.
 */

enum { PAGE = 4096, ROUNDS = 15, FRAME_PAGES = 8100 /* of 3840x2160 */ };
#define BAR_SIZE (UINT64_C(4) << 30)
#define BAR_ADDRESS (UINT64_C(64) << 30)

static bool as_json;
static const char *separator = "";

static void print(const char *way, size_t count, bool merging, double ns)
{
	if (as_json) {
		printf("%s\n  {\"name\": \"%s\", \"entries\": %zu, \"merging\": %s, \"ns_per_entry\": %.2f}", separator, way, count,
		       merging ? "true" : "false", ns / (double)count);
		separator = ",";
	} else {
		printf("%-14s %7zu entries, %-9s %8.2f us %8.2f ns/entry %8.1f M entries/s\n", way, count,
		       merging ? "merging:" : "apart:", ns / 1e3, ns / (double)count, (double)count * 1e3 / ns);
	}
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_vfio: %s\n", what);
	exit(1);
}

/* ---- a device that answers at once ---- */

static int device_info(struct vtr_vfio_backend *backend, struct vfio_device_info *info)
{
	*info = (struct vfio_device_info){ sizeof(*info), VFIO_DEVICE_FLAGS_PCI, VFIO_PCI_NUM_REGIONS };
	return 0;
}

static int region_info(struct vtr_vfio_backend *backend, struct vfio_region_info *info, int *fd)
{
	info->argsz = sizeof(*info);
	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_MMAP;
	info->size = info->index == 2 ? BAR_SIZE : info->index == VFIO_PCI_CONFIG_REGION_INDEX ? PAGE : 0;
	*fd = -1;
	return 0;
}

static int feature(struct vtr_vfio_backend *backend, struct vfio_device_feature *request)
{
	return request->flags & VFIO_DEVICE_FEATURE_PROBE ? 0 : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int read_region(struct vtr_vfio_backend *backend, uint32_t index, uint64_t start, uint64_t offset, void *buffer, size_t size)
{
	uint8_t *header = buffer;

	memset(buffer, 0, size);
	header[4] = 2;      // memory decoding
	header[0x18] = 0xc; // BAR 2, 64 bits, at BAR_ADDRESS
	header[0x1c] = BAR_ADDRESS >> 32;
	return 0;
}

static void destroy(struct vtr_vfio_backend *backend)
{
}

static const struct vtr_vfio_backend_impl impl = { device_info, region_info, feature, read_region, destroy };

/* ---- the ways ---- */

struct pieces {
	struct vtr_vfio_devices *devices;
	size_t count;
	struct vtr_vfio_range *ranges;
	struct iovec *iov;
	struct vtr_mem_entry *entries;
};

static int by_range(const struct pieces *pieces)
{
	return vtr_vfio_device_create_dmabuf(vtr_vfio_devices_get(pieces->devices, 0), pieces->ranges, pieces->count, NULL);
}

static int by_host(const struct pieces *pieces)
{
	return vtr_vfio_devices_dmabuf_from_iovec(pieces->devices, pieces->iov, pieces->count, NULL);
}

static int by_guest(const struct pieces *pieces)
{
	return vtr_vfio_devices_dmabuf_from_entries(pieces->devices, pieces->entries, pieces->count, NULL);
}

static const struct way {
	const char *name;
	int (*make)(const struct pieces *pieces);
} ways[] = { { "region-offset", by_range }, { "host-address", by_host }, { "guest-address", by_guest } };

static void fill(struct pieces *pieces, bool merging)
{
	const char *host = (const char *)(uintptr_t)BAR_ADDRESS;

	for (size_t i = 0; i < pieces->count; i++) {
		uint64_t offset = merging ? i * PAGE : i * 7919 % (BAR_SIZE / PAGE / 2) * 2 * PAGE;

		pieces->ranges[i] = (struct vtr_vfio_range){ 2, offset, PAGE };
		pieces->iov[i] = (struct iovec){ (void *)(host + offset), PAGE };
		pieces->entries[i] = (struct vtr_mem_entry){ .address = BAR_ADDRESS + offset, .length = PAGE };
	}
}

static void bench(struct pieces *pieces, size_t count, bool merging)
{
	double best[sizeof(ways) / sizeof(ways[0])] = { 0 };

	pieces->count = count;
	fill(pieces, merging);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			uint64_t start = vtr_now_ns();
			int fd = ways[i].make(pieces);
			double ns = (double)(vtr_now_ns() - start);

			check(fd >= 0, "no dmabuf");
			close(fd);
			best[i] = round && best[i] < ns ? best[i] : ns;
		}
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		print(ways[i].name, count, merging, best[i]);
}

int main(int argc, char **argv)
{
	static const size_t counts[] = { 1, 63, FRAME_PAGES, VTR_MAX_ENTRIES };
	struct vtr_vfio_backend backend = { &impl };
	struct pieces pieces = {
		.devices = vtr_vfio_devices_create(),
		.ranges = calloc(VTR_MAX_ENTRIES, sizeof(*pieces.ranges)),
		.iov = calloc(VTR_MAX_ENTRIES, sizeof(*pieces.iov)),
		.entries = calloc(VTR_MAX_ENTRIES, sizeof(*pieces.entries)),
	};
	struct vtr_vfio_device *device = vtr_vfio_device_attach(&backend, NULL, NULL);

	as_json = argc > 1 && strcmp(argv[1], "--json") == 0;
	check(device && pieces.devices && pieces.ranges && pieces.iov && pieces.entries, "out of memory");
	check(vtr_vfio_devices_add(pieces.devices, device) == 0, "no room for a device");
	check(vtr_vfio_device_add_mapping(device, 2, 0, (void *)(uintptr_t)BAR_ADDRESS, BAR_SIZE) == 0, "no mapping");
	printf("%s", as_json ? "[" : "");
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		bench(&pieces, counts[i], false);
		bench(&pieces, counts[i], true);
	}
	printf("%s", as_json ? "\n]\n" : "");
	vtr_vfio_devices_destroy(pieces.devices);
	free(pieces.ranges);
	free(pieces.iov);
	free(pieces.entries);
	return 0;
}
