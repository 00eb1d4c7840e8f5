/* SPDX-License-Identifier: MIT */
#ifndef VTR_DMABUF_UDMABUF_H
#define VTR_DMABUF_UDMABUF_H

#include <linux/udmabuf.h>

#include <vitrine/dmabuf.h>

/*
 * The host's udmabuf device, apart from the one object of it that a process has: so that the paths and the ioctl are parameters,
 * and all but the kernel's own answer can be tested where there is no such device.
 */
struct vtr_udmabuf_host {
	int device;             // the device node, owned
	int list_limit;         // the module parameters, owned; -1 where the kernel has none
	int size_limit_mb;      // likewise
	const char *parameters; // folder of the two, for messages
	/* UDMABUF_CREATE_LIST: an fd or -errno */
	int (*create)(int device, const struct udmabuf_create_list *list);
};

/* Opens device and the parameters in the folder parameters (kept by pointer). 0, or -errno with *error filled and *host closed. */
int vtr_udmabuf_host_open(struct vtr_udmabuf_host *host, const char *device, const char *parameters, struct vtr_error *error);
void vtr_udmabuf_host_close(struct vtr_udmabuf_host *host);

/* As vtr_udmabuf_create(). */
int vtr_udmabuf_host_create(const struct vtr_udmabuf_host *host, const struct vtr_spans *spans, struct vtr_error *error);

#endif
