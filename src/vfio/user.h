/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_USER_H
#define VTR_VFIO_USER_H

#include <vitrine/transport.h>

#include "vfio/backend.h"

/* A device in another process, by vfio-user. client is used, not taken. NULL when out of memory. */
struct vtr_vfio_backend *vtr_vfio_user_create(struct vtr_vfio_user_client *client);

#endif
