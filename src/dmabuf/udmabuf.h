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

/* This machine's, probed once (vtr_udmabuf_probe()); NULL with *error (may be NULL) filled when there is none. */
const struct vtr_udmabuf_host *vtr_udmabuf_this_host(struct vtr_error *error);

/* Whether udmabufs can be made of fd's pages: a memfd that cannot shrink and can be written. Asks the file, not the host. */
bool vtr_udmabuf_takes(int fd);

/* Makes a udmabuf of the list, length bytes: items on page borders of files that it takes, adjacent ones merged. An fd (CLOEXEC),
 * or -errno with *error (may be NULL) filled: HOST E2BIG as vtr_udmabuf_create(), HOST with what the kernel says. */
int vtr_udmabuf_host_create_list(const struct vtr_udmabuf_host *host, const struct udmabuf_create_list *list, uint64_t length,
                                 struct vtr_error *error);

/* As vtr_udmabuf_create(). */
int vtr_udmabuf_host_create(const struct vtr_udmabuf_host *host, const struct vtr_spans *spans, struct vtr_error *error);

#endif
