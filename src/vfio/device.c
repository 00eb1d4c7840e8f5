/* SPDX-License-Identifier: MIT */
#include "vfio/device.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "util/fd.h"
#include "vfio/acquire.h"
#include "vfio/kernel.h"
#include "vfio/user.h"

/*
 * Theory of operation
 *
 * A device is what its backend (backend.h) says about it, read once when it is created, checked, and kept: six memory BARs with the
 * parts of them that may be mapped, and what can be done with it. Only where the BARs are in the guest's address space changes;
 * that is read when somebody asks, because VFIO tells nobody when a guest moves a BAR.
 *
 * Whether dmabufs can be made is probed, never tried: kernels and drivers without the feature answer ENOTTY or EOPNOTSUPP,
 * vfio-user servers that do not know it EINVAL. All three are a fact about the machine and make no noise. Should the kernel still
 * say so later (a driver that probes well and does not do it), the capability is dropped and not tried again.
 *
 * A device in another process (vfio-user) makes none, but its BARs may be memory files like the guest's own RAM. Of one that is
 * sealed as udmabuf wants it, dmabufs are made without the device: a capability of its own, which the host's udmabuf has to be
 * there for.
 */

/* ---- creation ---- */

static void set_no_dmabuf(struct vtr_vfio_device *device, int code, const char *why)
{
	device->capabilities &= ~(uint32_t)VTR_VFIO_DMA_BUF;
	vtr_error_set(&device->no_dmabuf, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no dmabufs can be made of %s: %s (%s)", device->name,
	              why, strerror(code));
}

static void probe_dmabuf(struct vtr_vfio_device *device)
{
	struct vfio_device_feature probe = {
		.argsz = sizeof(probe),
		.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET | VTR_VFIO_FEATURE_DMA_BUF,
	};
	int result = device->backend->impl->feature(device->backend, &probe);

	switch (result) {
	case -ENOTTY:
	case -EINVAL:
		set_no_dmabuf(device, -result, device->backend->impl->dmabuf_remedy);
		break;
	case -EOPNOTSUPP:
		set_no_dmabuf(device, -result, "its VFIO driver does not export them, vfio-pci itself does");
		break;
	default:
		if (result < 0)
			set_no_dmabuf(device, -result, "asking for the feature failed");
		else
			device->capabilities |= VTR_VFIO_DMA_BUF;
	}
}

void vtr_vfio_device_set_udmabuf(struct vtr_vfio_device *device, const struct vtr_udmabuf_host *host,
                                 const struct vtr_error *reason)
{
	device->udmabuf = host;
	device->capabilities &= ~(uint32_t)VTR_VFIO_UDMABUF;
	if (host)
		device->capabilities |= VTR_VFIO_UDMABUF;
	else if (!(device->capabilities & VTR_VFIO_DMA_BUF))
		vtr_error_set(&device->no_dmabuf, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "no dmabufs can be made of %s: %s",
		              device->name, reason->text);
}

/* The host is asked only for a device that it is good for. */
static void probe_udmabuf(struct vtr_vfio_device *device)
{
	struct vtr_error reason = { 0 };

	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++) {
		if (!device->regions[i].sealed)
			continue;
		vtr_vfio_device_set_udmabuf(device, vtr_udmabuf_this_host(&reason), &reason);
		return;
	}
}

/* What an error of a backend means where a question was asked. */
static const char *answer_error(int code)
{
	switch (code) {
	case EPROTO:
		return "the answer contradicts itself, or the protocol";
	case ETIMEDOUT:
		return "no answer in time";
	case ENOTCONN:
	case ECONNRESET:
		return "it is gone";
	default:
		return strerror(code);
	}
}

static int read_device_info(struct vtr_vfio_device *device, struct vtr_error *error)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int code = device->backend->impl->device_info(device->backend, &info);

	if (code == -ENOTTY || code == -EINVAL || code == -EBADF)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL,
		                     "this is no VFIO device, or one that is not bound to an IOMMU yet (%s)", strerror(-code));
	if (code)
		return vtr_error_set(error, VTR_ERROR_HOST, -code, "%s does not tell what it is: %s", device->name,
		                     answer_error(-code));
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENODEV, "%s is no PCI device: only those have BARs",
		                     device->name);
	if (info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
		return vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "%s is a PCI device with %" PRIu32 " regions only",
		                     device->name, info.num_regions);
	return 0;
}

static int read_regions(struct vtr_vfio_device *device, struct vtr_error *error)
{
	struct vtr_vfio_region config;
	int code = 0;

	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++) {
		code = vtr_vfio_region_read(device->backend, i, &device->regions[i]);
		if (code)
			return vtr_error_set(error, VTR_ERROR_HOST, -code, "%s does not tell about BAR %" PRIu32 ": %s",
			                     device->name, i, answer_error(-code));
		if (device->regions[i].n_areas && device->regions[i].fd >= 0)
			device->capabilities |= VTR_VFIO_REGION_MMAP;
		device->maps[i] = calloc(device->regions[i].n_areas + 1, sizeof(*device->maps[i]));
		if (!device->maps[i])
			return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a VFIO device");
	}
	code = vtr_vfio_region_read(device->backend, VFIO_PCI_CONFIG_REGION_INDEX, &config);
	if (code)
		return vtr_error_set(error, VTR_ERROR_HOST, -code, "%s does not tell about its configuration space: %s",
		                     device->name, answer_error(-code));
	free(config.areas);
	if (config.readable && config.size >= VTR_VFIO_HEADER) {
		device->config_start = config.offset;
		device->config_size = config.size;
		device->capabilities |= VTR_VFIO_BAR_ADDRESSES;
	}
	return 0;
}

struct vtr_vfio_device *vtr_vfio_device_attach(struct vtr_vfio_backend *backend, const char *name, struct vtr_error *error)
{
	struct vtr_vfio_device *device = calloc(1, sizeof(*device));

	if (!device) {
		backend->impl->destroy(backend);
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a VFIO device");
		return NULL;
	}
	device->backend = backend;
	snprintf(device->name, sizeof(device->name), "%s", name ? name : VTR_VFIO_UNKNOWN);
	if (read_device_info(device, error) || read_regions(device, error)) {
		vtr_vfio_device_destroy(device);
		return NULL;
	}
	probe_dmabuf(device);
	probe_udmabuf(device);
	vtr_vfio_device_refresh(device);
	return device;
}

struct vtr_vfio_device *vtr_vfio_device_create(int fd, struct vtr_error *error)
{
	char bdf[VTR_VFIO_BDF];
	const char *name = vtr_vfio_fd_bdf(&vtr_vfio_this_host, "self", fd, bdf) ? bdf : NULL;
	struct vtr_vfio_backend *backend = vtr_vfio_kernel_create(fd, &vtr_vfio_system_calls);

	if (!backend) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a VFIO device");
		return NULL;
	}
	return vtr_vfio_device_attach(backend, name, error);
}

struct vtr_vfio_device *vtr_vfio_device_create_user(struct vtr_vfio_user_client *client, const char *name, struct vtr_error *error)
{
	struct vtr_vfio_backend *backend = vtr_vfio_user_create(client);

	if (!backend) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a VFIO device");
		return NULL;
	}
	struct vtr_vfio_device *device = vtr_vfio_device_attach(backend, name, error);
	if (device && vtr_vfio_user_client_fd(client) < 0) {
		/* what a device may refuse, a server may not break the connection over */
		vtr_error_set(error, VTR_ERROR_HOST, ENOTCONN, "%s stopped answering when it was asked what it can do",
		              device->name);
		vtr_vfio_device_destroy(device);
		return NULL;
	}
	return device;
}

void vtr_vfio_device_destroy(struct vtr_vfio_device *device)
{
	if (!device)
		return;
	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++) {
		for (size_t area = 0; device->maps[i] && area < device->regions[i].n_areas; area++)
			vtr_memory_unmap_device(device->maps[i][area]);
		free(device->maps[i]);
		free(device->regions[i].areas);
	}
	device->backend->impl->destroy(device->backend);
	free(device);
}

/* ---- what it is ---- */

const char *vtr_vfio_device_name(const struct vtr_vfio_device *device)
{
	return device->name;
}

uint32_t vtr_vfio_device_capabilities(const struct vtr_vfio_device *device)
{
	return device->capabilities;
}

int vtr_vfio_device_probe_dmabuf(const struct vtr_vfio_device *device, struct vtr_error *error)
{
	if (device->capabilities & (VTR_VFIO_DMA_BUF | VTR_VFIO_UDMABUF))
		return 0;
	if (error)
		*error = device->no_dmabuf;
	return -device->no_dmabuf.code;
}

const struct vtr_vfio_region *vtr_vfio_device_region(const struct vtr_vfio_device *device, uint32_t bar)
{
	return bar < VTR_VFIO_BARS ? &device->regions[bar] : NULL;
}

/* ---- where its BARs are ---- */

static int read_header(struct vtr_vfio_device *device, uint8_t header[VTR_VFIO_HEADER])
{
	if (!(device->capabilities & VTR_VFIO_BAR_ADDRESSES))
		return -EOPNOTSUPP;
	return device->backend->impl->read(device->backend, VFIO_PCI_CONFIG_REGION_INDEX, device->config_start, 0, header,
	                                   VTR_VFIO_HEADER);
}

int vtr_vfio_device_refresh(struct vtr_vfio_device *device)
{
	uint8_t header[VTR_VFIO_HEADER];
	int code = read_header(device, header);

	if (code) {
		vtr_vfio_forget_bars(device->regions);
		return code;
	}
	return vtr_vfio_decode_bars(header, device->regions);
}

bool vtr_vfio_device_decodes(struct vtr_vfio_device *device)
{
	if (vtr_vfio_device_refresh(device) == -EOPNOTSUPP)
		return true; // nobody says anything else
	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++)
		if (device->regions[i].decoded)
			return true;
	return false;
}

/* ---- where the caller has mapped them ---- */

/* The first mapping that ends behind host. */
static size_t find_mapping(const struct vtr_vfio_device *device, uintptr_t host)
{
	size_t i = 0;

	while (i < device->n_mappings && host - device->mappings[i].host >= device->mappings[i].size &&
	       device->mappings[i].host <= host)
		i++;
	return i;
}

int vtr_vfio_device_add_mapping(struct vtr_vfio_device *device, uint32_t bar, uint64_t offset, const void *host, uint64_t size)
{
	uintptr_t address = (uintptr_t)host;
	size_t at = find_mapping(device, address);

	if (bar >= VTR_VFIO_BARS || !size || !vtr_range_fits(offset, size, device->regions[bar].size) ||
	    size - 1 > UINTPTR_MAX - address)
		return -EINVAL;
	if (at < device->n_mappings && vtr_ranges_overlap(address, size, device->mappings[at].host, device->mappings[at].size))
		return -EEXIST;
	if (device->n_mappings == VTR_MAX_VFIO_MAPPINGS)
		return -ENOSPC;
	memmove(&device->mappings[at + 1], &device->mappings[at], (device->n_mappings - at) * sizeof(device->mappings[0]));
	device->mappings[at] = (struct vtr_vfio_mapping){ .host = address, .size = size, .bar = bar, .offset = offset };
	device->n_mappings++;
	return 0;
}

int vtr_vfio_device_remove_mapping(struct vtr_vfio_device *device, const void *host)
{
	size_t at = find_mapping(device, (uintptr_t)host);

	if (at == device->n_mappings || device->mappings[at].host != (uintptr_t)host)
		return -ENOENT;
	device->n_mappings--;
	memmove(&device->mappings[at], &device->mappings[at + 1], (device->n_mappings - at) * sizeof(device->mappings[0]));
	return 0;
}
