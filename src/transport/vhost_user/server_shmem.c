/* SPDX-License-Identifier: MIT */
/*
 * Shared memory regions of the device ("VIRTIO shared memory regions"): the front-end makes room for them where its guest can see
 * it, and places there, when it is asked on the back-end channel, what an fd holds.
 *
 * Placing something takes four protocol features: SHMEM itself, the channel (BACKEND_REQ) and its fds (BACKEND_SEND_FD), and
 * REPLY_ACK, because a guest may touch what it was promised as soon as it was promised. To a front-end that lacks one the device
 * has no regions, so that no guest finds one that stays empty.
 *
 * Nothing is kept here. What is in the regions is the device type's to know, and ends with a reset, at the front-end as well as
 * there. Requests go out in order and are dealt with in order; the channel has their deadlines. A device that is suspended asks
 * nothing ("Suspended device state"; QEMU 11.1 ends with SIGSEGV when it is asked before its device has started, or after it has
 * stopped).
 */
#include <errno.h>
#include <string.h>

#include "transport/vhost_user/server.h"

bool vtr_vhost_user_has_shmem(const struct vtr_vhost_user_server *server)
{
	for (unsigned i = 0; i < VHOST_USER_MAX_SHMEM_REGIONS; i++)
		if (vtr_virtio_shm_size(server->device, (uint8_t)i))
			return true;
	return false;
}

static bool can_place(const struct vtr_vhost_user_server *server)
{
	return vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_SHMEM) &&
	       vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_BACKEND_REQ) &&
	       vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) &&
	       vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_REPLY_ACK);
}

int vtr_vhost_user_get_shmem_config(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vhost_user_shmem_config config = { 0 };

	for (unsigned i = 0; i < VHOST_USER_MAX_SHMEM_REGIONS && can_place(server); i++) {
		config.memory_sizes[i] = vtr_virtio_shm_size(server->device, (uint8_t)i);
		config.nregions += config.memory_sizes[i] > 0;
	}
	memcpy(request->reply, &config, sizeof(config));
	request->reply_size = sizeof(config);
	return 0;
}

int vtr_vhost_user_shm_map(void *data, const struct vtr_virtio_shm_range *range, int fd, uint64_t fd_offset, bool writable,
                           vtr_virtio_shm_done done, void *done_data)
{
	struct vtr_vhost_user_server *server = data;
	const struct vhost_user_mmap request = {
		.shmid = range->shmid,
		.fd_offset = fd_offset,
		.shm_offset = range->offset,
		.len = range->size,
		.flags = writable ? VHOST_USER_FLAG_MAP_RW : 0,
	};

	if (!can_place(server))
		return -EOPNOTSUPP;
	if (!server->status.rings)
		return -EAGAIN;
	return vtr_vhost_user_ask(server, VHOST_USER_BACKEND_SHMEM_MAP, &request, sizeof(request), fd, done, done_data);
}

int vtr_vhost_user_shm_unmap(void *data, const struct vtr_virtio_shm_range *range, vtr_virtio_shm_done done, void *done_data)
{
	struct vtr_vhost_user_server *server = data;
	const struct vhost_user_mmap request = { .shmid = range->shmid, .shm_offset = range->offset, .len = range->size };

	if (!can_place(server))
		return -EOPNOTSUPP;
	if (!server->status.rings)
		return -EAGAIN;
	return vtr_vhost_user_ask(server, VHOST_USER_BACKEND_SHMEM_UNMAP, &request, sizeof(request), -1, done, done_data);
}
