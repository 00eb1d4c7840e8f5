/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_STATE_H
#define VTR_VHOST_USER_STATE_H

#include <vitrine/error.h>

#include "transport/vhost_user/inflight.h"
#include "transport/vhost_user/protocol.h"
#include "transport/vhost_user/state_memory.h"
#include "virtio/device.h"

/* What survives this process under a running guest, and when it is that guest's. Embedded in the server. */
struct vtr_vhost_user_state {
	struct vtr_virtio_device *device;
	char *path;                    /* of the file; NULL: there is none */
	struct vtr_state_memory file;  /* fd -1: none */
	struct vtr_state_memory given; /* by the front-end (SET_INFLIGHT_FD); likewise */
	struct vtr_state_memory *used; /* by the device, one of the two; NULL: none */
	bool decided;                  /* whose memory it is: since then the device saves to it */
	bool same;                     /* and it was that of this guest before */
	struct vtr_state_queue {
		struct vtr_inflight inflight;
		struct vtr_vhost_user_state *state;
		unsigned index;
		bool known; /* the account is of this guest, too */
	} queues[VTR_VIRTIO_MAX_QUEUES];
};

void vtr_vhost_user_state_init(struct vtr_vhost_user_state *state, struct vtr_virtio_device *device);
/* guest: there is one that will go on. Otherwise the file is removed. */
void vtr_vhost_user_state_finish(struct vtr_vhost_user_state *state, bool guest);

/* Keeps the state in the file path where the front-end does not keep it. 0, or -errno with *error. */
int vtr_vhost_user_state_open(struct vtr_vhost_user_state *state, const char *path, struct vtr_error *error);

/* GET_INFLIGHT_FD: what was asked for becomes the answer, with *fd, the caller's. 0, -EINVAL or -errno. */
int vtr_vhost_user_state_get_inflight(struct vtr_vhost_user_state *state, struct vhost_user_inflight *inflight, int *fd);
/* SET_INFLIGHT_FD: takes fd, also on failure. 0, -EINVAL (it cannot be such memory), -EBUSY (it is in use) or -errno. */
int vtr_vhost_user_state_set_inflight(struct vtr_vhost_user_state *state, const struct vhost_user_inflight *inflight, int fd);

/* The queue was started, to be resumed: it gets its tracker, and whether this is the guest that the state is of is seen when it is
 * served. */
void vtr_vhost_user_state_track(struct vtr_vhost_user_state *state, unsigned queue);
/* The device was reset. Nothing is left of what was kept of the driver that this process has served; what there was before that is
 * looked at when the first ring is served. */
void vtr_vhost_user_state_reset(struct vtr_vhost_user_state *state);
/* The front-end is gone, and the device was abandoned. */
void vtr_vhost_user_state_leave(struct vtr_vhost_user_state *state);

#endif
