/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_LINK_H
#define VTR_GUEST_LINK_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>

#include "guest/ring.h"

/*
 * How the machine reaches its device: what a driver does to it, put into the words of one transport. Two kinds: the PCI function of
 * a vfio-user device (link_pci.c) and the back-end of a vhost-user device (link_vhost.c), for which the link is the VMM as well.
 *
 * All functions that return an int: 0, or -errno which vtr_guest_error() tells. None waits longer than guest->timeout_ms.
 * Interrupts of queue i arrive at guest->queues[i].eventfd, those of the configuration at guest->config_events, by dispatch.
 */
enum { VTR_GUEST_LINK_FDS = 5 };

struct vtr_guest_link {
	const struct vtr_guest_link_impl *impl;
	struct vtr_guest *guest; /* not owned */
};

struct vtr_guest_link_impl {
	const char *name;   /* "vfio-user", "vhost-user" */
	bool has_remote;    /* the device can ask for memory that has no fd */
	bool has_read_only; /* memory can be given for reading only */

	void (*destroy)(struct vtr_guest_link *link);
	int (*socket)(const struct vtr_guest_link *link); /* of the connection; -1 when it is lost */

	/* Memory at a guest address. fd: not taken; -1 only with has_remote. */
	int (*map)(struct vtr_guest_link *link, uint64_t address, uint64_t size, int fd, uint64_t offset, bool writable);
	int (*unmap)(struct vtr_guest_link *link, uint64_t address, uint64_t size);

	int (*features)(struct vtr_guest_link *link, uint64_t *offered);
	/* Stops everything and waits until the device has. */
	int (*reset)(struct vtr_guest_link *link);
	/* Up to FEATURES_OK (virtio 1.3, 3.1.1 steps 2 to 6). -ENOTSUP: the device refuses the features. */
	int (*negotiate)(struct vtr_guest_link *link, uint64_t features);
	int (*queue_size)(struct vtr_guest_link *link, unsigned index, uint64_t *entries);
	int (*start_queue)(struct vtr_guest_link *link, unsigned index, const struct vtr_guest_ring *ring);
	int (*reset_queue)(struct vtr_guest_link *link, unsigned index); /* RING_RESET */
	int (*driver_ok)(struct vtr_guest_link *link);
	int (*status)(struct vtr_guest_link *link, uint8_t *status);
	int (*set_status)(struct vtr_guest_link *link, uint8_t status);
	int (*kick)(struct vtr_guest_link *link, unsigned index);

	int (*read_config)(struct vtr_guest_link *link, uint32_t offset, void *buffer, uint32_t size);
	int (*write_config)(struct vtr_guest_link *link, uint32_t offset, const void *buffer, uint32_t size);

	/* What to wait for besides queues; at most VTR_GUEST_LINK_FDS. */
	size_t (*fds)(const struct vtr_guest_link *link, struct pollfd fds[]);
	int (*dispatch)(struct vtr_guest_link *link, const struct pollfd fds[], size_t n);
};

/* Connect to what guest->options name, without giving memory. 0 or -errno, told; guest->link is set once there is something to
 * destroy. */
int vtr_guest_link_open_pci(struct vtr_guest *guest);
int vtr_guest_link_open_vhost(struct vtr_guest *guest);

/* The vfio-user function behind the link; NULL on another link. */
struct vtr_guest_function *vtr_guest_function_of(struct vtr_guest *guest);
struct vtr_vfio_user_client *vtr_guest_client_of(struct vtr_guest *guest);

#endif
