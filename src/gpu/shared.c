/* SPDX-License-Identifier: MIT */
/*
 * Resources shared with other devices of the same VM (virtio 1.3, 5.7.6.8, RESOURCE_ASSIGN_UUID, and 2.12 "Exporting Objects").
 *
 * The guest names a resource by a UUID that it got from us, the other device asks the VMM for what has that name, and the VMM asks
 * us for its dmabuf. A resource is announced when it gets its UUID and a dmabuf of its pixels can be made then; it is asked for
 * later, and the dmabuf is made anew if it had to give way meanwhile. Who has it keeps it, as with any dmabuf.
 *
 * An fd is all that is handed on. So a dmabuf in which the pixels begin somewhere else than at its beginning (a window of a whole
 * BAR) is not for sharing.
 */
#include "gpu/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "gpu/gpu.h"

/* NULL: there is none to be had. */
static struct vtr_buffer *find_dmabuf(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	static const enum vtr_path paths[] = { VTR_PATH_VFIO_DMABUF, VTR_PATH_VFIO_WINDOW, VTR_PATH_UDMABUF };
	struct vtr_error why;

	if (resource->three_d) /* its memory is the renderer's: what is here is a copy at best */
		return NULL;
	if (!resource->image && vtr_resource_resolve(gpu, resource, false) < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct vtr_buffer *buffer = NULL;

		if (vtr_candidate_applies(resource, paths[i]))
			buffer = vtr_candidate_buffer(gpu, resource, paths[i], true, &why);
		if (buffer && !vtr_buffer_offset(buffer))
			return buffer;
	}
	return NULL;
}

void vtr_shared_announce(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	if (resource->announced || !find_dmabuf(gpu, resource))
		return;
	resource->announced = true;
	vtr_virtio_object_added(&gpu->base, resource->uuid);
}

void vtr_shared_withdraw(struct vtr_gpu *gpu, struct vtr_resource *resource)
{
	if (resource->announced)
		vtr_virtio_object_removed(&gpu->base, resource->uuid);
	resource->announced = false;
}

static struct vtr_resource *find_announced(struct vtr_gpu *gpu, const uint8_t uuid[16])
{
	for (size_t i = 0; i < VTR_RESOURCE_BUCKETS; i++)
		for (struct vtr_resource *resource = gpu->resources.buckets[i]; resource; resource = resource->next)
			if (resource->announced && !memcmp(resource->uuid, uuid, sizeof(resource->uuid)))
				return resource;
	return NULL;
}

int vtr_shared_export(struct vtr_gpu *gpu, const uint8_t uuid[16])
{
	struct vtr_resource *resource = find_announced(gpu, uuid);
	struct vtr_buffer *buffer = resource ? find_dmabuf(gpu, resource) : NULL;

	if (!resource)
		return -ENOENT;
	if (!buffer)
		return -ENODATA;
	int fd = fcntl(vtr_buffer_fd(buffer), F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}
