/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_USER_CAPABILITIES_H
#define VTR_VFIO_USER_CAPABILITIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the two ends tell each other in VFIO_USER_VERSION. */
struct vtr_vfio_user_capabilities {
	uint64_t max_msg_fds;        /* the sender receives in one message */
	uint64_t max_data_xfer_size; /* largest count of a read or write that the sender serves */
	uint64_t max_dma_maps;
	uint64_t pgsizes;    /* sizes or'ed together */
	bool write_multiple; /* VFIO_USER_REGION_WRITE_MULTI */
};

enum { VTR_VFIO_USER_MAX_VERSION_DATA = 8192 }; /* bytes of JSON that are read */

/* Ours: the limits of this implementation. */
struct vtr_vfio_user_capabilities vtr_vfio_user_own_capabilities(void);

/* Reads size bytes of JSON with its terminating NUL; size 0 is the peer that says nothing. What is not mentioned has the protocol's
 * default. 0, or -EINVAL: no JSON, or a value that cannot be. */
int vtr_vfio_user_capabilities_parse(struct vtr_vfio_user_capabilities *capabilities, const void *data, size_t size);

/* Writes JSON and its terminating NUL. The bytes written, or -ENOMEM. */
int vtr_vfio_user_capabilities_format(const struct vtr_vfio_user_capabilities *capabilities, char *buffer, size_t size);

#endif
