/* SPDX-License-Identifier: MIT */
#include "vfio/dmabuf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/checked.h"

/*
 * Theory of operation
 *
 * A frame comes as pieces of a BAR, at worst one per page. They are written straight into the request for the kernel: a piece that
 * continues the range before makes that longer, any other closes it and begins the next. A closed range is checked for what only
 * whole ranges have to fulfil: page borders, and a part of the BAR that may be accessed directly. One pass, one allocation.
 *
 * The kernel answers EINVAL or ENODEV to a dozen different things. So that its answer means something, everything a guest can do
 * wrong is found here, before it is asked; what it refuses after that is the host's (facts of the ioctl: uapi.h):
 *
 *   guest        no length, wraps, beyond the BAR, no such BAR, off page borders, several BARs or devices, too many   checked here
 *   unsupported  ENOTTY, EOPNOTSUPP                                  probed before, so rare; the capability is dropped for good
 *   revoked      ENODEV, EIO while the device decodes no memory or does not answer: in reset, in D3, memory decoding off
 *   host         everything else, with what an admin can do about it
 *
 * A BAR that is a memory file of another process is no kernel device's: its request is written all the same, checked all the same,
 * and then becomes a list for udmabuf.
 *
 * Merging matters beyond speed: importers behind a translating IOMMU take dmabufs of one range only (vtr_vfio_import_error()).
 */

/* ---- ranges ---- */

static struct vtr_vfio_dma_range *last_range(struct vtr_vfio_builder *builder)
{
	return builder->dma_buf->nr_ranges ? &builder->dma_buf->dma_ranges[builder->dma_buf->nr_ranges - 1] : NULL;
}

/* The last range is complete. tail: it is the very last one, and may end inside a page. */
static int finish_range(struct vtr_vfio_builder *builder, bool tail, struct vtr_error *error)
{
	const struct vtr_vfio_region *region = &builder->device->regions[builder->dma_buf->region_index];
	struct vtr_vfio_dma_range *range = last_range(builder);
	uint64_t page = builder->page, length = range->length;
	size_t area;

	if (tail)
		length = (length + page - 1) & ~(page - 1);
	if ((range->offset | length) & (page - 1))
		return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL,
		                     "range %" PRIu32 " (offset 0x%" PRIx64 ", %" PRIu64 " bytes of BAR %" PRIu32
		                     ") is not on page borders",
		                     builder->dma_buf->nr_ranges - 1, range->offset, range->length, builder->dma_buf->region_index);
	range->length = length;
	if (!vtr_vfio_find_area(region, range->offset, range->length, &area))
		return vtr_error_set(error, VTR_ERROR_GUEST, EACCES,
		                     "range %" PRIu32 " (offset 0x%" PRIx64 ", %" PRIu64 " bytes of BAR %" PRIu32
		                     ") holds registers that may not be accessed directly",
		                     builder->dma_buf->nr_ranges - 1, range->offset, range->length, builder->dma_buf->region_index);
	return 0;
}

static int check_piece(const struct vtr_vfio_builder *builder, const struct vtr_vfio_device *device, uint32_t bar, uint64_t offset,
                       uint64_t length, struct vtr_error *error)
{
	size_t entry = builder->entry;
	uint64_t end;

	if (!length)
		return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "entry %zu has no length", entry);
	if (!vtr_add_u64(offset, length, &end))
		return vtr_error_set(error, VTR_ERROR_GUEST, EOVERFLOW, "entry %zu (offset 0x%" PRIx64 ", %" PRIu64 " bytes) wraps",
		                     entry, offset, length);
	if (bar >= VTR_VFIO_BARS || !device->regions[bar].size)
		return vtr_error_set(error, VTR_ERROR_GUEST, ENODEV, "entry %zu is in BAR %" PRIu32 ", which %s does not have",
		                     entry, bar, device->name);
	if (end > device->regions[bar].size)
		return vtr_error_set(error, VTR_ERROR_GUEST, ERANGE,
		                     "entry %zu (offset 0x%" PRIx64 ", %" PRIu64 " bytes) is beyond BAR %" PRIu32 " of %s", entry,
		                     offset, length, bar, device->name);
	if (builder->device && (device != builder->device || bar != builder->dma_buf->region_index))
		return vtr_error_set(error, VTR_ERROR_GUEST, EXDEV,
		                     "entry %zu is in BAR %" PRIu32 " of %s, those before in BAR %" PRIu32
		                     " of %s: one dmabuf lies in one BAR",
		                     entry, bar, device->name, builder->dma_buf->region_index, builder->device->name);
	return 0;
}

/* ---- the builder ---- */

int vtr_vfio_builder_begin(struct vtr_vfio_builder *builder, size_t count, struct vtr_error *error)
{
	size_t size = sizeof(*builder->feature) + sizeof(*builder->dma_buf) + count * sizeof(builder->dma_buf->dma_ranges[0]);

	*builder = (struct vtr_vfio_builder){ .capacity = count, .page = (uint64_t)sysconf(_SC_PAGESIZE) };
	if (!count)
		return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "a dmabuf of no ranges");
	if (count > VTR_MAX_ENTRIES)
		return vtr_error_set(error, VTR_ERROR_GUEST, E2BIG, "%zu entries, one dmabuf takes %d", count, VTR_MAX_ENTRIES);
	builder->feature = malloc(size);
	if (!builder->feature)
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a list of %zu ranges", count);
	*builder->feature = (struct vfio_device_feature){ .flags = VFIO_DEVICE_FEATURE_GET | VTR_VFIO_FEATURE_DMA_BUF };
	builder->dma_buf = (struct vtr_vfio_feature_dma_buf *)builder->feature->data;
	*builder->dma_buf = (struct vtr_vfio_feature_dma_buf){ .open_flags = O_RDWR | O_CLOEXEC };
	return 0;
}

/* May a dmabuf be made of this BAR? */
static int check_provider(const struct vtr_vfio_device *device, uint32_t bar, struct vtr_error *error)
{
	int code = vtr_vfio_device_probe_dmabuf(device, error);

	if (code || device->capabilities & VTR_VFIO_DMA_BUF || device->regions[bar].sealed)
		return code;
	return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
	                     "BAR %" PRIu32 " of %s is no sealed memfd: no udmabuf can be made of it", bar, device->name);
}

int vtr_vfio_builder_add(struct vtr_vfio_builder *builder, struct vtr_vfio_device *device, uint32_t bar, uint64_t offset,
                         uint64_t length, struct vtr_error *error)
{
	int code = check_piece(builder, device, bar, offset, length, error);

	if (!code && !builder->device) // what it cannot do is not prepared either
		code = check_provider(device, bar, error);
	if (code)
		return code;
	if (!vtr_add_u64(builder->length, length, &builder->length))
		return vtr_error_set(error, VTR_ERROR_GUEST, EOVERFLOW, "the entries are more bytes than can be counted");
	builder->device = device;
	builder->dma_buf->region_index = bar;
	struct vtr_vfio_dma_range *last = last_range(builder);
	if (last && last->offset + last->length == offset) {
		last->length += length;
		return 0;
	}
	code = last ? finish_range(builder, false, error) : 0;
	if (code)
		return code;
	if (builder->dma_buf->nr_ranges == builder->capacity) // an entry in pieces that do not continue each other
		return vtr_error_set(error, VTR_ERROR_GUEST, ERANGE, "entry %zu is not in one piece of BAR %" PRIu32,
		                     builder->entry, bar);
	builder->dma_buf->dma_ranges[builder->dma_buf->nr_ranges++] =
		(struct vtr_vfio_dma_range){ .offset = offset, .length = length };
	return 0;
}

/* Whose fault it is that the kernel made no dmabuf of ranges we found right. */
static int refused(struct vtr_vfio_builder *builder, int code, struct vtr_error *error)
{
	struct vtr_vfio_device *device = builder->device;
	enum vtr_error_owner owner = VTR_ERROR_HOST;
	const char *remedy = "";

	switch (code) {
	case ENOTTY:
	case EOPNOTSUPP:
		owner = VTR_ERROR_UNSUPPORTED;
		remedy = "; its driver says that it can and does not: this is not tried again";
		device->capabilities &= ~(uint32_t)VTR_VFIO_DMA_BUF;
		vtr_error_set(&device->no_dmabuf, owner, EOPNOTSUPP, "the VFIO driver of %s made no dmabuf: %s", device->name,
		              strerror(code));
		code = EOPNOTSUPP;
		break;
	case ENODEV:
	case EIO:
		owner = vtr_vfio_device_decodes(device) ? VTR_ERROR_HOST : VTR_ERROR_REVOKED;
		remedy = owner == VTR_ERROR_REVOKED ? "; its memory is away at the moment"
		                                    : "; the BAR may be in use by another driver, or the device is being removed";
		break;
	case EMFILE:
		remedy = "; raise the limit of open files (ulimit -n, LimitNOFILE=)";
		break;
	case ENFILE:
		remedy = "; raise the system's limit of open files (sysctl fs.file-max)";
		break;
	case EINVAL:
		remedy = "; the driver may use larger pages or exclude a part of the BAR";
		break;
	}
	return vtr_error_set(error, owner, code, "no dmabuf of %" PRIu32 " ranges of BAR %" PRIu32 " of %s: %s%s",
	                     builder->dma_buf->nr_ranges, builder->dma_buf->region_index, device->name, strerror(code), remedy);
}

static int make_udmabuf(const struct vtr_vfio_builder *builder, struct vtr_error *error)
{
	const struct vtr_vfio_region *region = &builder->device->regions[builder->dma_buf->region_index];
	uint32_t count = builder->dma_buf->nr_ranges;
	struct udmabuf_create_list *list = malloc(sizeof(*list) + count * sizeof(list->list[0]));
	uint64_t length = 0;

	if (!list)
		return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a list of %" PRIu32 " ranges", count);
	*list = (struct udmabuf_create_list){ .flags = UDMABUF_FLAGS_CLOEXEC, .count = count };
	for (uint32_t i = 0; i < count; i++) {
		const struct vtr_vfio_dma_range *range = &builder->dma_buf->dma_ranges[i];

		list->list[i] = (struct udmabuf_create_item){ .memfd = (uint32_t)region->fd,
			                                      .offset = region->offset + range->offset,
			                                      .size = range->length };
		length += range->length;
	}
	int result = vtr_udmabuf_host_create_list(builder->device->udmabuf, list, length, error);
	free(list);
	return result;
}

static int ask_kernel(struct vtr_vfio_builder *builder, struct vtr_error *error)
{
	struct vtr_vfio_feature_dma_buf *dma_buf = builder->dma_buf;
	int code = finish_range(builder, true, error);

	if (code)
		return code;
	if (!(builder->device->capabilities & VTR_VFIO_DMA_BUF))
		return make_udmabuf(builder, error);
	builder->feature->argsz =
		(uint32_t)(sizeof(*builder->feature) + sizeof(*dma_buf) + dma_buf->nr_ranges * sizeof(dma_buf->dma_ranges[0]));
	int fd = builder->device->backend->impl->feature(builder->device->backend, builder->feature);
	return fd < 0 ? refused(builder, -fd, error) : fd;
}

int vtr_vfio_builder_end(struct vtr_vfio_builder *builder, int code, struct vtr_error *error)
{
	int result = code ? code : ask_kernel(builder, error);

	free(builder->feature);
	*builder = (struct vtr_vfio_builder){ 0 };
	return result;
}

/* ---- ranges, host addresses, guest addresses ---- */

int vtr_vfio_device_create_dmabuf(struct vtr_vfio_device *device, const struct vtr_vfio_range *ranges, size_t count,
                                  struct vtr_error *error)
{
	struct vtr_vfio_builder builder;
	int code = vtr_vfio_builder_begin(&builder, count, error);

	if (code)
		return code;
	for (; !code && builder.entry < count; builder.entry++) {
		const struct vtr_vfio_range *range = &ranges[builder.entry];

		code = vtr_vfio_builder_add(&builder, device, range->bar, range->offset, range->length, error);
	}
	return vtr_vfio_builder_end(&builder, code, error);
}

static int add_host(struct vtr_vfio_builder *builder, const struct vtr_vfio_devices *devices, const struct iovec *iov,
                    struct vtr_error *error)
{
	uintptr_t host = (uintptr_t)iov->iov_base;
	uint64_t left = iov->iov_len;
	int code = 0;

	if (!left || left - 1 > UINTPTR_MAX - host)
		return vtr_error_set(error, VTR_ERROR_GUEST, left ? EOVERFLOW : EINVAL, "entry %zu %s", builder->entry,
		                     left ? "wraps" : "has no length");
	while (left && !code) {
		struct vtr_vfio_place place;

		if (!vtr_vfio_find_host(devices, host, &place))
			return vtr_error_set(error, VTR_ERROR_GUEST, EFAULT, "entry %zu (%p, %zu bytes) is not in a mapped BAR",
			                     builder->entry, iov->iov_base, iov->iov_len);
		uint64_t piece = left < place.length ? left : place.length;
		code = vtr_vfio_builder_add(builder, place.device, place.bar, place.offset, piece, error);
		host += piece;
		left -= piece;
	}
	return code;
}

int vtr_vfio_devices_dmabuf_from_iovec(struct vtr_vfio_devices *devices, const struct iovec *iov, size_t count,
                                       struct vtr_error *error)
{
	struct vtr_vfio_builder builder;
	int code = vtr_vfio_builder_begin(&builder, count, error);

	if (code)
		return code;
	for (; !code && builder.entry < count; builder.entry++)
		code = add_host(&builder, devices, &iov[builder.entry], error);
	return vtr_vfio_builder_end(&builder, code, error);
}

static int not_found(const struct vtr_vfio_builder *builder, const struct vtr_vfio_devices *devices, uint64_t address,
                     uint64_t length, struct vtr_error *error)
{
	struct vtr_vfio_place place;

	if (vtr_vfio_find_address(devices, address, false, &place))
		return vtr_error_set(error, VTR_ERROR_REVOKED, ENODEV,
		                     "entry %zu (0x%" PRIx64 ") is in BAR %" PRIu32 " of %s, whose memory decoding is off",
		                     builder->entry, address, place.bar, place.device->name);
	return vtr_error_set(error, VTR_ERROR_GUEST, EFAULT,
	                     "entry %zu (0x%" PRIx64 ", %" PRIu64 " bytes) is not in the memory of an assigned device",
	                     builder->entry, address, length);
}

int vtr_vfio_builder_add_address(struct vtr_vfio_builder *builder, const struct vtr_vfio_devices *devices, uint64_t address,
                                 uint64_t length, struct vtr_vfio_place *guess, struct vtr_error *error)
{
	const struct vtr_vfio_region *region = guess->device ? &guess->device->regions[guess->bar] : NULL;
	bool guessed = region && address >= region->address && address - region->address < region->size;

	if (!length || length - 1 > UINT64_MAX - address)
		return vtr_error_set(error, VTR_ERROR_GUEST, length ? EOVERFLOW : EINVAL, "entry %zu (0x%" PRIx64 ") %s",
		                     builder->entry, address, length ? "wraps" : "has no length");
	if (guessed)
		guess->offset = address - region->address;
	else if (!vtr_vfio_devices_find(devices, address, guess))
		return not_found(builder, devices, address, length, error);
	return vtr_vfio_builder_add(builder, guess->device, guess->bar, guess->offset, length, error);
}

int vtr_vfio_devices_dmabuf_from_entries(struct vtr_vfio_devices *devices, const struct vtr_mem_entry *entries, size_t count,
                                         struct vtr_error *error)
{
	struct vtr_vfio_place guess = { 0 };
	struct vtr_vfio_builder builder;
	int code = vtr_vfio_builder_begin(&builder, count, error);

	if (code)
		return code;
	vtr_vfio_devices_refresh(devices);
	for (; !code && builder.entry < count; builder.entry++)
		code = vtr_vfio_builder_add_address(&builder, devices, entries[builder.entry].address,
		                                    entries[builder.entry].length, &guess, error);
	return vtr_vfio_builder_end(&builder, code, error);
}

/* ---- importers ---- */

int vtr_vfio_import_error(struct vtr_error *error, int code, size_t ranges)
{
	switch (code) {
	case ENODEV:
		return vtr_error_set(
			error, VTR_ERROR_REVOKED, code,
			"the assigned device's memory is away (decoding off, in reset or asleep): comes back by itself");
	case EOPNOTSUPP:
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, code,
		                     "the display's driver imports no device memory (amdgpu, xe and virtio-gpu do)");
	case EADDRINUSE:
		if (ranges > 1)
			return vtr_error_set(
				error, VTR_ERROR_UNSUPPORTED, code,
				"the kernel maps one range only through an IOMMU that translates, this is %zu: boot the "
				"host with iommu=pt",
				ranges);
		break;
	case EINVAL:
		return vtr_error_set(
			error, VTR_ERROR_UNSUPPORTED, code,
			"the display's device cannot reach the assigned device: they need a common PCIe switch, or a host "
			"whose root complex routes between ports");
	}
	return vtr_error_set(error, VTR_ERROR_HOST, code, "the display did not import the device memory: %s", strerror(code));
}
