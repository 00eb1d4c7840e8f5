/* SPDX-License-Identifier: MIT */
/*
 * Ways to a buffer of a resource's pixels.
 *
 * Each is a row of one table. A provider returns an fd and where in it the pixels begin; what it was given are the spans, and what
 * it says about them is checked again: a dmabuf that is shorter than the pixels is not handed on, because neither the guest's
 * kernel nor every importer looks.
 *
 *   vfio-dmabuf   ranges of an assigned device's BAR, made on a duplicate of its VFIO fd
 *   vfio-window   a contiguous frame inside the one dmabuf that the VMM sent for the whole memory region: no device fd is needed
 *   udmabuf       pages of the guest's RAM, and of 2D images
 *   virgl         what the renderer has: a texture for displays with its EGLDisplay, a dmabuf, or both; asked for once a resource.
 *                 The renderer may answer later: the scanouts are presented again then
 *
 * Each dmabuf is an fd, of which a process has few: those of resources that are not shown give way.
 */
#include "gpu/candidate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>

#include "gpu/gpu.h"

/* ---- ways ---- */

static int not_in_device(struct vtr_error *error)
{
	return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
	                     "the frame lies in guest RAM, not in the memory of a device");
}

static int make_vfio_dmabuf(struct vtr_gpu *gpu, const struct vtr_spans *pixels, uint64_t *offset, struct vtr_error *error)
{
	if (vtr_pixel_memory(pixels) == VTR_IN_RAM)
		return not_in_device(error);
	if (!gpu->options.devices || !vtr_vfio_devices_get(gpu->options.devices, 0))
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENODEV,
		                     "no assigned device is known here: name the one whose memory the guest shows (--assign)");
	return vtr_vfio_devices_dmabuf_from_spans(gpu->options.devices, pixels, error);
}

/* The offset that a VMM tells can be trusted only where there is but one right answer: QEMU's is wrong for BARs with holes. */
static int check_window(const struct vtr_region *region, struct vtr_error *error)
{
	if (region->kind == VTR_REGION_RAM)
		return not_in_device(error);
	if (region->kind != VTR_REGION_WINDOW)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "the VMM sent no dmabuf of the memory at 0x%" PRIx64
		                     " (QEMU >= 11.0 on Linux >= 6.19 does, for the BARs of assigned devices)",
		                     region->address);
	uint64_t size = vtr_dmabuf_size(region->fd);
	if (region->offset || size != region->size)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "the memory at 0x%" PRIx64 " is said to be %" PRIu64 " bytes at 0x%" PRIx64
		                     " of a dmabuf of %" PRIu64 ": offsets in a BAR with holes are not to be trusted",
		                     region->address, region->size, region->offset, size);
	return 0;
}

static int make_vfio_window(struct vtr_gpu *gpu, const struct vtr_spans *pixels, uint64_t *offset, struct vtr_error *error)
{
	const struct vtr_span *span = &pixels->items[0];
	int code = check_window(span->region, error);

	if (code)
		return code;
	if (pixels->count != 1)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "the frame lies in %zu pieces, a window shows one: for more, the device itself is needed "
		                     "(--assign)",
		                     pixels->count);
	int fd = fcntl(span->region->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "the VMM's dmabuf cannot be duplicated: %s", strerror(errno));
	*offset = span->offset;
	return fd;
}

static int make_udmabuf(struct vtr_gpu *gpu, const struct vtr_spans *pixels, uint64_t *offset, struct vtr_error *error)
{
	return vtr_udmabuf_create(pixels, error);
}

static const struct provider {
	enum vtr_path path;
	unsigned memory; /* it is for pixels in such memory; 0: in the renderer */
	/* Of spans that are not empty: an fd (CLOEXEC) the caller owns and the pixels' offset in it (0 when it is left alone), or
	 * -errno with *error filled. */
	int (*make)(struct vtr_gpu *gpu, const struct vtr_spans *pixels, uint64_t *offset, struct vtr_error *error);
} providers[] = {
	{ VTR_PATH_VFIO_DMABUF, VTR_IN_DEVICE, make_vfio_dmabuf },
	{ VTR_PATH_VFIO_WINDOW, VTR_IN_DEVICE, make_vfio_window },
	{ VTR_PATH_UDMABUF, VTR_IN_RAM, make_udmabuf },
	{ VTR_PATH_VIRGL, 0, NULL },
};

_Static_assert(sizeof(providers) / sizeof(providers[0]) == VTR_CANDIDATES, "a provider more or less");

static const struct provider *find_provider(enum vtr_path path)
{
	for (size_t i = 0; i < VTR_CANDIDATES; i++)
		if (providers[i].path == path)
			return &providers[i];
	return NULL;
}

static struct vtr_candidate *get(struct vtr_resource *resource, enum vtr_path path)
{
	return &resource->candidates[find_provider(path) - providers];
}

const struct vtr_candidate *vtr_candidate_of(const struct vtr_resource *resource, enum vtr_path path)
{
	return get((struct vtr_resource *)resource, path);
}

unsigned vtr_pixel_memory(const struct vtr_spans *pixels)
{
	unsigned memory = 0;

	for (size_t i = 0; i < pixels->count; i++)
		memory |= pixels->items[i].region->kind == VTR_REGION_RAM ? VTR_IN_RAM : VTR_IN_DEVICE;
	return memory;
}

bool vtr_candidate_applies(const struct vtr_resource *resource, enum vtr_path path)
{
	const struct provider *provider = find_provider(path);

	if (!provider)
		return false;
	return resource->three_d ? !provider->memory : resource->memory & provider->memory;
}

/* ---- making ---- */

static void drop(struct vtr_gpu *gpu, struct vtr_candidate *candidate)
{
	gpu->resources.buffers -= candidate->buffer != NULL;
	vtr_buffer_drop(candidate->buffer);
	*candidate = (struct vtr_candidate){ 0 };
}

/* A guest may show one resource after another: those that are not shown now give way. */
static void drop_unshown(struct vtr_gpu *gpu)
{
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			for (size_t j = 0; j < VTR_CANDIDATES && !resource->shown; j++)
				if (resource->candidates[j].buffer)
					drop(gpu, &resource->candidates[j]);
}

/* Takes fd. */
static struct vtr_buffer *wrap(const struct provider *provider, const struct vtr_spans *pixels, int fd, uint64_t offset,
                               struct vtr_error *error)
{
	uint64_t size = vtr_dmabuf_size(fd);

	if (!vtr_range_fits(offset, pixels->length, size)) {
		close(fd);
		vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "the dmabuf is %" PRIu64 " bytes long, %" PRIu64 " are needed", size,
		              offset + pixels->length);
		return NULL;
	}
	struct vtr_buffer *buffer = vtr_buffer_create(provider->path, fd, offset, pixels->length);
	if (buffer)
		vtr_buffer_set_ranges(buffer, pixels->count);
	else
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory for a dmabuf");
	return buffer;
}

static struct vtr_buffer *make(struct vtr_gpu *gpu, const struct provider *provider, const struct vtr_spans *pixels,
                               struct vtr_error *error)
{
	uint64_t offset = 0;

	if (pixels->length > VTR_MAX_BUFFER_SIZE) {
		vtr_error_set(error, VTR_ERROR_GUEST, EFBIG,
		              "the resource's memory is larger than %" PRIu64 " MiB, the most that is made a dmabuf",
		              VTR_MAX_BUFFER_SIZE >> 20);
		return NULL;
	}
	if (gpu->resources.buffers >= VTR_MAX_BUFFERS)
		drop_unshown(gpu);
	int fd = provider->make(gpu, pixels, &offset, error);
	return fd < 0 ? NULL : wrap(provider, pixels, fd, offset, error);
}

/* ---- the renderer's ---- */

static void answer(struct vtr_gpu *gpu, struct vtr_candidate *candidate, const struct vtr_render_call *call)
{
	struct vtr_error error = call->why;

	candidate->waiting = false;
	if (!call->code) {
		candidate->buffer = call->exported;
		candidate->no_dmabuf = call->why;
		candidate->failure = (struct vtr_backoff){ 0 };
		gpu->resources.buffers++;
		return;
	}
	if (error.owner == VTR_ERROR_NONE)
		vtr_error_set(&error, call->code == -EOPNOTSUPP ? VTR_ERROR_UNSUPPORTED : VTR_ERROR_HOST, -call->code,
		              "the renderer does not share the picture: %s", strerror(-call->code));
	vtr_backoff_failed(&candidate->failure, &error, gpu->now_ns());
}

/* The resource may be gone, or another one. */
static void exported(struct vtr_gpu *gpu, const struct vtr_render_call *call)
{
	struct vtr_resource *resource = vtr_resource_find(gpu, call->args.resource_id);
	struct vtr_candidate *candidate = resource ? get(resource, VTR_PATH_VIRGL) : NULL;

	if (candidate && candidate->waiting) {
		answer(gpu, candidate, call);
		vtr_scanouts_continue(gpu, resource);
	} else if (!call->code) {
		vtr_buffer_drop(call->exported);
	}
}

static void ask_renderer(struct vtr_gpu *gpu, struct vtr_resource *resource, struct vtr_candidate *candidate)
{
	const struct vtr_render_call call = { .args = { .op = VTR_RENDER_EXPORT, .resource_id = resource->id } };

	if (candidate->waiting || resource->three_d->lost)
		return;
	if (gpu->resources.buffers >= VTR_MAX_BUFFERS)
		drop_unshown(gpu);
	candidate->waiting = true;
	vtr_gpu_render_aside(gpu, &call, exported);
}

static void try_to_make(struct vtr_gpu *gpu, struct vtr_resource *resource, const struct provider *provider,
                        struct vtr_candidate *candidate)
{
	struct vtr_error error;

	if (!provider->make) {
		ask_renderer(gpu, resource, candidate);
		return;
	}
	candidate->buffer = make(gpu, provider, vtr_resource_pixels(resource), &error);
	gpu->resources.buffers += candidate->buffer != NULL;
	if (candidate->buffer)
		candidate->failure = (struct vtr_backoff){ 0 };
	else
		vtr_backoff_failed(&candidate->failure, &error, gpu->now_ns());
}

struct vtr_buffer *vtr_candidate_buffer(struct vtr_gpu *gpu, struct vtr_resource *resource, enum vtr_path path, bool try,
                                        struct vtr_error *why)
{
	struct vtr_candidate *candidate = get(resource, path);
	bool failed = vtr_backoff_has_failed(&candidate->failure);

	if (!candidate->buffer && (!failed || (try && vtr_backoff_due(&candidate->failure, gpu->now_ns()))))
		try_to_make(gpu, resource, find_provider(path), candidate);
	if (candidate->buffer)
		return candidate->buffer;
	*why = candidate->failure.error;
	if (candidate->waiting)
		vtr_error_set(why, VTR_ERROR_HOST, EINPROGRESS,
		              "the renderer was asked to share the picture, and has not answered");
	else if (why->owner == VTR_ERROR_NONE)
		vtr_error_set(why, VTR_ERROR_HOST, ENODEV, "the renderer is lost, and has not shared the picture before");
	return NULL;
}

/* ---- forgetting ---- */

void vtr_candidates_drop(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	for (size_t i = 0; i < VTR_CANDIDATES; i++)
		drop(gpu, &resource->candidates[i]);
}

void vtr_candidates_devices_changed(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	for (size_t i = 0; i < VTR_CANDIDATES; i++)
		if (!resource->candidates[i].buffer || providers[i].path == VTR_PATH_VFIO_DMABUF)
			drop(gpu, &resource->candidates[i]);
}

void vtr_candidates_lift_revoked(struct vtr_resource *resource)
{
	for (size_t i = 0; i < VTR_CANDIDATES; i++)
		vtr_backoff_lift_revoked(&resource->candidates[i].failure);
}
