/* SPDX-License-Identifier: MIT */
#include "vfio/user.h"

#include <errno.h>
#include <stdlib.h>
#include <vitrine/dmabuf.h>

#include "util/fd.h"

/*
 * Theory of operation
 *
 * The backend for a device that another process plays: what the kernel's ioctls are there are messages here, with the structures of
 * linux/vfio.h in them. The client checks what a reply says of itself; what it means is checked by whoever asked, as for any other
 * backend. A server that dies or breaks the protocol costs the connection: from then on everything fails with -ENOTCONN.
 *
 * Each region has an fd of its own, or none. They are kept here, one a region, as long as the backend; asking for a region again
 * replaces its fd. None of them is a dmabuf of the device: VFIO_DEVICE_FEATURE_DMA_BUF is asked for as of the kernel, and servers
 * answer EINVAL as long as they do not know it. One that does sends the dmabuf with its reply.
 *
 * Limits: the regions of PCI; one fd each. Threads: that of the client.
 */

struct user {
	struct vtr_vfio_backend base;
	struct vtr_vfio_user_client *client;
	int fds[VFIO_PCI_NUM_REGIONS]; // owned
};

static struct user *user_from_backend(struct vtr_vfio_backend *backend)
{
	return (struct user *)backend;
}

static int device_info(struct vtr_vfio_backend *backend, struct vfio_device_info *info)
{
	return vtr_vfio_user_device_info(user_from_backend(backend)->client, &info->flags, &info->num_regions, &info->num_irqs);
}

static int region_info(struct vtr_vfio_backend *backend, struct vfio_region_info *info, int *fd)
{
	struct user *user = user_from_backend(backend);
	uint32_t index = info->index;
	int came;

	*fd = -1;
	if (index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	int code = vtr_vfio_user_region_info(user->client, info, &came);
	if (code)
		return code;
	vtr_fd_close(&user->fds[index]);
	user->fds[index] = *fd = came;
	return 0;
}

/* What came with the answer to a request for a dmabuf. */
static int take_dmabuf(struct vtr_vfio_user_client *client, int fd)
{
	if (fd < 0)
		return -EOPNOTSUPP; // it knows the feature, and not how to hand over what it makes
	if (vtr_dmabuf_is(fd))
		return fd;
	vtr_fd_close(&fd);
	return -EPROTO;
}

/* What servers say to a feature or a command that they do not know. */
static bool is_unknown(int code)
{
	return code == -EINVAL || code == -ENOTTY || code == -ENOSYS || code == -EOPNOTSUPP;
}

static int feature(struct vtr_vfio_backend *backend, struct vfio_device_feature *request)
{
	struct vtr_vfio_user_client *client = user_from_backend(backend)->client;
	uint32_t asked = request->flags;
	int fd, code = vtr_vfio_user_feature(client, request, &fd);

	if (code)
		return is_unknown(code) && asked & VFIO_DEVICE_FEATURE_PROBE ? -EINVAL : code;
	if ((asked & VFIO_DEVICE_FEATURE_MASK) == VTR_VFIO_FEATURE_DMA_BUF && !(asked & VFIO_DEVICE_FEATURE_PROBE))
		return take_dmabuf(client, fd);
	vtr_fd_close(&fd);
	return 0;
}

static int read_region(struct vtr_vfio_backend *backend, uint32_t index, uint64_t start, uint64_t offset, void *buffer, size_t size)
{
	return vtr_vfio_user_read(user_from_backend(backend)->client, index, offset, buffer, size);
}

static void destroy(struct vtr_vfio_backend *backend)
{
	struct user *user = user_from_backend(backend);

	for (size_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		vtr_fd_close(&user->fds[i]);
	free(user);
}

static const struct vtr_vfio_backend_impl user_impl = {
	.dmabuf_remedy = "its vfio-user server would have to make them, or to keep its BARs in sealed memfds",
	.foreign_fds = true,
	.device_info = device_info,
	.region_info = region_info,
	.feature = feature,
	.read = read_region,
	.destroy = destroy,
};

struct vtr_vfio_backend *vtr_vfio_user_create(struct vtr_vfio_user_client *client)
{
	struct user *user = malloc(sizeof(*user));

	if (!user)
		return NULL;
	*user = (struct user){ .base.impl = &user_impl, .client = client };
	for (size_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		user->fds[i] = -1;
	return &user->base;
}
