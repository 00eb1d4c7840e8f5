/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_LINK_VHOST_H
#define VTR_GUEST_LINK_VHOST_H

#include <vitrine/transport.h>

#include "guest/display.h"
#include "guest/machine.h"

/* The insides of the vhost-user link, for checks of what only that has. */
struct vtr_guest_vhost {
	struct vtr_guest_link base;
	struct vtr_vhost_user_frontend *frontend;
	struct vtr_guest_display *display; /* NULL: the back-end has displays of its own */
	int kick_eventfds[VTR_GUEST_QUEUES], err_eventfds[VTR_GUEST_QUEUES];
	uint8_t status;
	bool enables;            /* rings have to be enabled */
	bool broken;             /* the back-end has raised an err eventfd */
	uint32_t started;        /* queues, a bit each */
	bool holds_misses;       /* an address in no table: the back-end is left waiting, in place of being refused */
	uint32_t unknown_misses; /* of such addresses, so far */
};

static inline struct vtr_guest_vhost *vtr_guest_vhost_from_link(struct vtr_guest_link *link)
{
	return (struct vtr_guest_vhost *)link;
}

/* NULL on another link. */
struct vtr_guest_vhost *vtr_guest_vhost_of(struct vtr_guest *guest);

/* Stops a ring; *base: how far it has come. Starts one from there, without enabling it. 0 or -errno, told. */
int vtr_guest_vhost_stop_queue(struct vtr_guest_vhost *link, unsigned index, uint32_t *base);
int vtr_guest_vhost_start_queue(struct vtr_guest_vhost *link, unsigned index, const struct vtr_guest_ring *ring, uint32_t base);

#endif
