/* SPDX-License-Identifier: MIT */
/*
 * Shared memory regions (virtio 1.3, 2.10): memory of the host's that the guest sees in a BAR. The device type says which regions
 * it has; what is in them is placed there by the VMM, which the transport asks. A transport that would have to carry each access of
 * the guest's in a message (vfio-user: the BAR would be ours to serve) offers none.
 */
#include <errno.h>

#include "virtio/device.h"

uint64_t vtr_virtio_shm_size(const struct vtr_virtio_device *device, uint8_t shmid)
{
	return device->impl->shm_size ? device->impl->shm_size(device, shmid) : 0;
}

int vtr_virtio_shm_map(struct vtr_virtio_device *device, const struct vtr_virtio_shm_range *range, int fd, uint64_t fd_offset,
                       bool writable, vtr_virtio_shm_done done, void *data)
{
	if (!device->transport || !device->transport->shm_map)
		return -EOPNOTSUPP;
	return device->transport->shm_map(device->transport_data, range, fd, fd_offset, writable, done, data);
}

int vtr_virtio_shm_unmap(struct vtr_virtio_device *device, const struct vtr_virtio_shm_range *range, vtr_virtio_shm_done done,
                         void *data)
{
	if (!device->transport || !device->transport->shm_unmap)
		return -EOPNOTSUPP;
	return device->transport->shm_unmap(device->transport_data, range, done, data);
}
