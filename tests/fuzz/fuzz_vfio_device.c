/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what a VFIO device's backend answers, and what is made of it. A backend may be another process; whatever it says,
 * what is kept of it holds together, and what is asked of the kernel is what a device may be asked for. The input:
 *
 *   u8 flags     1: regions' fds are foreign; 2: this host makes udmabufs
 *   u8 what device_info says: flags   u8 number of regions   u8 which result PROBE has   u8 which result GET has
 *   for each BAR and configuration space: u8 which fd, u16 length, the answer (struct vfio_region_info and what follows)
 *   64 bytes: configuration space
 *   then steps, u8 each: 0 new configuration space (64 bytes), 1 ranges, 2 iovecs, 3 mem entries, 4 a mapping, 5 configuration
 * space cannot be read; seed_vfio_device.py writes inputs in this form
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <vitrine/log.h>

#include "util/checked.h"
#include "vfio/device.h"

#include "vfio_user_input.h"

enum { PAGE = 4096, MEMORY = 1 << 20, ANSWERS = 8, MAX_RANGES = 16, MAX_STEPS = 64 };
enum { NO_FD = FUZZ_FD_KINDS, SEALED, FDS };
enum step { HEADER, RANGES, IOVECS, ENTRIES, MAPPING, UNREADABLE, STEPS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int results[] = { 0, -ENOTTY, -EINVAL, -EOPNOTSUPP, -EIO, -ENODEV, -EPROTO, -EMFILE };

struct machine {
	struct vtr_vfio_backend base;
	uint8_t info_flags, n_regions, probe, get;
	struct {
		uint8_t fd;
		struct fuzz_bytes bytes;
	} answers[ANSWERS]; // by region; that of the ROM is not asked for
	uint8_t header[VTR_VFIO_HEADER];
	bool unreadable;
	struct vtr_vfio_device *device;
};

static struct fuzz_fds fds;
static int sealed;

static void expect(bool condition)
{
	if (!condition)
		abort();
}

/* ---- the backend ---- */

static int device_info(struct vtr_vfio_backend *backend, struct vfio_device_info *info)
{
	const struct machine *machine = (struct machine *)backend;

	info->flags = machine->info_flags;
	info->num_regions = machine->n_regions;
	return machine->info_flags == 0xff ? -EINVAL : 0;
}

static int region_info(struct vtr_vfio_backend *backend, struct vfio_region_info *info, int *fd)
{
	const struct machine *machine = (struct machine *)backend;
	const struct fuzz_bytes *answer = &machine->answers[info->index % ANSWERS].bytes;
	unsigned which = machine->answers[info->index % ANSWERS].fd % FDS;
	size_t room = info->argsz;

	expect(info->index < ANSWERS && room >= sizeof(*info) && room <= VTR_MAX_VFIO_REGION_INFO);
	if (answer->length < sizeof(*info))
		return -EINVAL;
	memcpy(info, answer->data, answer->length < room ? answer->length : room);
	*fd = which == NO_FD ? -1 : which == SEALED ? sealed : fds.fds[which];
	return 0;
}

/* The rules of VFIO_DEVICE_FEATURE_DMA_BUF, as far as the caller can keep them. */
static void check_request(const struct machine *machine, const struct vfio_device_feature *feature)
{
	const struct vtr_vfio_feature_dma_buf *request = (const void *)feature->data;
	const struct vtr_vfio_region *region = vtr_vfio_device_region(machine->device, request->region_index);

	expect(region && request->nr_ranges && !request->flags);
	expect(feature->argsz == sizeof(*feature) + sizeof(*request) + request->nr_ranges * sizeof(request->dma_ranges[0]));
	for (uint32_t i = 0; i < request->nr_ranges; i++) {
		const struct vtr_vfio_dma_range *range = &request->dma_ranges[i];
		size_t area;

		expect(range->length && (range->offset | range->length) % PAGE == 0);
		expect(vtr_range_fits(range->offset, range->length, region->size));
		expect(vtr_vfio_find_area(region, range->offset, range->length, &area));
	}
}

static int feature(struct vtr_vfio_backend *backend, struct vfio_device_feature *request)
{
	const struct machine *machine = (struct machine *)backend;

	if (request->flags & VFIO_DEVICE_FEATURE_PROBE)
		return results[machine->probe % (sizeof(results) / sizeof(results[0]))];
	expect(vtr_vfio_device_capabilities(machine->device) & VTR_VFIO_DMA_BUF);
	check_request(machine, request);
	int result = results[machine->get % (sizeof(results) / sizeof(results[0]))];
	return result ? result : dup(sealed);
}

static int read_region(struct vtr_vfio_backend *backend, uint32_t index, uint64_t start, uint64_t offset, void *buffer, size_t size)
{
	const struct machine *machine = (struct machine *)backend;

	expect(index == VFIO_PCI_CONFIG_REGION_INDEX && vtr_range_fits(offset, size, sizeof(machine->header)));
	memcpy(buffer, machine->header + offset, size);
	return machine->unreadable ? -ENOTCONN : 0;
}

static void destroy(struct vtr_vfio_backend *backend)
{
}

/* The rules of UDMABUF_CREATE_LIST. */
static int create_udmabuf(int device, const struct udmabuf_create_list *list)
{
	struct stat info;

	expect(list->count);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct udmabuf_create_item *item = &list->list[i];

		expect(vtr_udmabuf_takes((int)item->memfd) && fstat((int)item->memfd, &info) == 0);
		expect(item->size && (item->offset | item->size) % PAGE == 0);
		expect(vtr_range_fits(item->offset, item->size, (uint64_t)info.st_size));
	}
	return dup(sealed);
}

/* ---- what has to be true of a device, whatever was said ---- */

static void check_region(const struct vtr_vfio_region *region, bool foreign)
{
	uint64_t end = 0;
	struct stat info;

	for (size_t i = 0; i < region->n_areas; i++) {
		const struct vtr_vfio_area *area = &region->areas[i];

		expect(area->size && vtr_range_fits(area->offset, area->size, region->size));
		expect(!i || area->offset > end); // in order, none touching another
		end = area->offset + area->size;
	}
	expect(!region->decoded || (region->address && region->size && region->address % region->size == 0));
	expect(!region->sealed || (foreign && region->n_areas && vtr_udmabuf_takes(region->fd)));
	if (!foreign || !region->n_areas)
		return;
	expect(region->fd >= 0 && fstat(region->fd, &info) == 0 && S_ISREG(info.st_mode));
	expect(region->offset % PAGE == 0 && vtr_range_fits(region->offset, end, (uint64_t)info.st_size));
}

static void check_device(const struct vtr_vfio_device *device, bool foreign)
{
	uint32_t capabilities = vtr_vfio_device_capabilities(device);
	struct vtr_error error = { 0 };
	bool mappable = false;

	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++) {
		const struct vtr_vfio_region *region = vtr_vfio_device_region(device, i);

		check_region(region, foreign);
		mappable |= region->n_areas && region->fd >= 0;
	}
	expect(mappable == !!(capabilities & VTR_VFIO_REGION_MMAP));
	int code = vtr_vfio_device_probe_dmabuf(device, &error);
	expect(!code == !!(capabilities & (VTR_VFIO_DMA_BUF | VTR_VFIO_UDMABUF)));
	expect(!code || (error.owner == VTR_ERROR_UNSUPPORTED && *error.text));
}

/* ---- steps ---- */

static uint64_t take_number(struct fuzz_input *input)
{
	static const uint64_t bases[] = { 0, MEMORY, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX };
	uint8_t which = fuzz_take8(input);
	uint64_t pages = fuzz_take16(input), odd = which & 8 ? fuzz_take8(input) : 0;

	return bases[(which & 7) % 5] + pages * PAGE + odd;
}

static void finish_dmabuf(int fd, const struct vtr_error *error)
{
	expect(fd >= 0 || (error->code == -fd && error->owner != VTR_ERROR_NONE && *error->text));
	if (fd >= 0)
		close(fd);
}

static void make_of_ranges(struct vtr_vfio_device *device, struct fuzz_input *input)
{
	struct vtr_vfio_range ranges[MAX_RANGES];
	struct vtr_error error = { 0 };
	size_t count = fuzz_take8(input) % (MAX_RANGES + 1);

	for (size_t i = 0; i < count; i++)
		ranges[i] = (struct vtr_vfio_range){ .bar = fuzz_take8(input) % 8,
			                             .offset = take_number(input),
			                             .length = take_number(input) };
	finish_dmabuf(vtr_vfio_device_create_dmabuf(device, ranges, count, &error), &error);
}

static void make_of_iovecs(struct vtr_vfio_devices *devices, struct fuzz_input *input)
{
	struct iovec iov[MAX_RANGES];
	struct vtr_error error = { 0 };
	size_t count = fuzz_take8(input) % (MAX_RANGES + 1);

	for (size_t i = 0; i < count; i++)
		iov[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)take_number(input), .iov_len = take_number(input) };
	finish_dmabuf(vtr_vfio_devices_dmabuf_from_iovec(devices, iov, count, &error), &error);
}

static void make_of_entries(struct vtr_vfio_devices *devices, struct fuzz_input *input)
{
	struct vtr_mem_entry entries[MAX_RANGES];
	struct vtr_error error = { 0 };
	size_t count = fuzz_take8(input) % (MAX_RANGES + 1);
	uint32_t bar = fuzz_take8(input) % VTR_VFIO_BARS;
	uint64_t base = vtr_vfio_device_region(vtr_vfio_devices_get(devices, 0), bar)->address;

	for (size_t i = 0; i < count; i++)
		entries[i] = (struct vtr_mem_entry){ .address = base + take_number(input), .length = (uint32_t)take_number(input) };
	finish_dmabuf(vtr_vfio_devices_dmabuf_from_entries(devices, entries, count, &error), &error);
}

static void take_header(struct machine *machine, struct fuzz_input *input)
{
	struct fuzz_bytes bytes = fuzz_take_bytes(input, sizeof(machine->header));

	machine->unreadable = false;
	memcpy(machine->header, bytes.data, bytes.length);
}

static void step(struct machine *machine, struct vtr_vfio_devices *devices, struct fuzz_input *input)
{
	struct vtr_vfio_device *device = machine->device;

	switch ((enum step)(fuzz_take8(input) % STEPS)) {
	case HEADER:
		take_header(machine, input);
		vtr_vfio_device_refresh(device);
		break;
	case RANGES:
		make_of_ranges(device, input);
		break;
	case IOVECS:
		make_of_iovecs(devices, input);
		break;
	case ENTRIES:
		make_of_entries(devices, input);
		break;
	case MAPPING:
		vtr_vfio_device_add_mapping(device, fuzz_take8(input) % 8, take_number(input),
		                            (void *)(uintptr_t)take_number(input), take_number(input));
		break;
	case UNREADABLE:
		machine->unreadable = true;
		expect(vtr_vfio_device_refresh(device) < 0);
		break;
	case STEPS:
		break;
	}
}

/* ---- an input ---- */

static void set_up(void)
{
	vtr_log_set_level(VTR_LOG_ERROR);
	fuzz_fds_init(&fds, MEMORY);
	sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	expect(sealed >= 0 && ftruncate(sealed, MEMORY) == 0 && fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
}

static void take_answers(struct machine *machine, struct fuzz_input *input)
{
	machine->info_flags = fuzz_take8(input);
	machine->n_regions = fuzz_take8(input);
	machine->probe = fuzz_take8(input);
	machine->get = fuzz_take8(input);
	for (uint32_t i = 0; i < ANSWERS; i++) {
		if (i == VFIO_PCI_ROM_REGION_INDEX)
			continue;
		machine->answers[i].fd = fuzz_take8(input);
		machine->answers[i].bytes = fuzz_take_bytes(input, fuzz_take16(input));
	}
	take_header(machine, input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vtr_udmabuf_host host = {
		.device = -1, .list_limit = -1, .size_limit_mb = -1, .parameters = "", .create = create_udmabuf
	};
	struct fuzz_input input = { data, size };
	uint8_t flags = fuzz_take8(&input);
	const struct vtr_vfio_backend_impl impl = { device_info, region_info,    feature,  read_region,
		                                    destroy,     "a better one", flags & 1 };
	struct machine machine = { .base.impl = &impl };
	struct vtr_vfio_devices *devices = vtr_vfio_devices_create();
	struct vtr_error error = { 0 };

	if (!sealed)
		set_up();
	take_answers(&machine, &input);
	machine.device = vtr_vfio_device_attach(&machine.base, NULL, &error);
	expect(machine.device || (error.owner != VTR_ERROR_NONE && *error.text));
	if (!machine.device) {
		vtr_vfio_devices_destroy(devices);
		return 0;
	}
	bool takes = false;
	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++)
		takes |= vtr_vfio_device_region(machine.device, i)->sealed;
	if (takes)
		vtr_vfio_device_set_udmabuf(machine.device, flags & 2 ? &host : NULL, &(struct vtr_error){ .text = "none here" });
	expect(!vtr_vfio_devices_add(devices, machine.device));
	check_device(machine.device, flags & 1);
	for (unsigned i = 0; input.left && i < MAX_STEPS; i++) {
		step(&machine, devices, &input);
		check_device(machine.device, flags & 1);
	}
	vtr_vfio_devices_destroy(devices);
	return 0;
}
