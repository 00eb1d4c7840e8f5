/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>

#include "vfio/dmabuf.h"

/*
 * VFIO dmabufs of spans: the way of a resource whose mem entries the guest memory map has resolved. The map knows such memory as a
 * window or as remote, because the VMM keeps the device to itself; its guest address tells which BAR it is. That memory belongs to
 * no assigned device is no error: the next rung shows the frame.
 */

static int check_span(const struct vtr_span *span, size_t i, struct vtr_error *error)
{
	const struct vtr_region *region = span->region;

	if (!region->mapped)
		return vtr_error_set(error, VTR_ERROR_REVOKED, EFAULT, "the VMM unmapped guest memory of the resource");
	if (region->kind == VTR_REGION_RAM)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "span %zu (0x%" PRIx64 ") lies in guest RAM, not in a BAR", i, region->address + span->offset);
	return 0;
}

static int add_span(struct vtr_vfio_builder *builder, const struct vtr_vfio_devices *devices, const struct vtr_span *span,
                    struct vtr_vfio_place *guess, struct vtr_error *error)
{
	uint64_t address = span->region->address + span->offset;
	struct vtr_error reason = { 0 };
	int code = vtr_vfio_builder_add_address(builder, devices, address, span->length, guess, &reason);

	if (code == -EFAULT)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "guest memory at 0x%" PRIx64
		                     " is in no assigned device that is known here: name its device (--assign)",
		                     address);
	if (code && error)
		*error = reason;
	return code;
}

int vtr_vfio_devices_dmabuf_from_spans(struct vtr_vfio_devices *devices, const struct vtr_spans *spans, struct vtr_error *error)
{
	struct vtr_vfio_place guess = { 0 };
	struct vtr_vfio_builder builder;
	int code = 0;

	for (size_t i = 0; i < spans->count && !code; i++)
		code = check_span(&spans->items[i], i, error);
	if (!code)
		code = vtr_vfio_builder_begin(&builder, spans->count, error);
	if (code)
		return code;
	vtr_vfio_devices_refresh(devices);
	for (; !code && builder.entry < spans->count; builder.entry++)
		code = add_span(&builder, devices, &spans->items[builder.entry], &guess, error);
	return vtr_vfio_builder_end(&builder, code, error);
}
