/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_STATUS_H
#define VTR_GUEST_STATUS_H

#include <jansson.h>

#include <vitrine/error.h>

#include "guest/machine.h"

/* What the device says of itself at the control socket of the guest's options: the reply to `status` (docs/control.md), the
 * caller's to json_decref(). NULL with *error filled. The guest is not served meanwhile: nothing in the reply needs it. */
json_t *vtr_device_status(struct vtr_guest *guest, struct vtr_error *error);

/* The number at a path in it, "renderer.contexts" or "scanouts.0.bytes_copied"; -1 when there is none. */
json_int_t vtr_device_status_number(const json_t *status, const char *path);

#endif
