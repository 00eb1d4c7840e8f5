/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_LIMITS_H
#define VITRINE_LIMITS_H

/*
 * Every bound on what a guest, a VMM or a control client can make us hold, in one place. What goes beyond is refused with the
 * error that the protocol has for it; nothing here is a tuning knob.
 */
enum {
	/* guest memory map */
	VTR_MAX_REGIONS = 65535,          /* DMA regions at a time; QEMU uses a few dozen, or one per page behind a virtual IOMMU */
	VTR_MAX_FILES = 256,              /* different files behind them */
	VTR_MAX_TRANSLATIONS = 524288,    /* regions behind an IOMMU, which tells us of pages: of two resources, or a 2 GiB guest */
	VTR_MAX_MISSES = 32,              /* translations asked for at a time; more would only fill a socket */
	VTR_MISS_TIMEOUT_MS = 5000,       /* that long may the VMM take for one; it takes microseconds */
	VTR_MAX_DEVICE_REGIONS = 512,     /* besides: of assigned devices, where the VMM announces nothing */
	VTR_MAX_ENTRIES = 262144,         /* mem entries of one resource: as many ranges as one VFIO dmabuf takes */
	VTR_MAX_TOTAL_ENTRIES = 1048576,  /* mem entries of all resources of a device together, and spans they resolve to */
	VTR_MAX_FETCH_REQUESTS = 32768,   /* to the VMM for one picture: 8K in scattered pages takes 32400 */
	VTR_MAX_VIEW_MAPPINGS = 32768,    /* mappings of all linear views together; the kernel's limit for a process is 65530 */
	VTR_MAX_VIEW_COPIES = 1073741824, /* bytes of all linear views that are copies */

	/* virtio */
	VTR_MAX_QUEUE_SIZE = 1024,
	VTR_MAX_CHAIN = 4096, /* descriptors of one chain, direct and indirect; 262144 entries arrive in about 1030 */

	/* virtio-gpu */
	VTR_MAX_SCANOUTS = 16, /* VIRTIO_GPU_MAX_SCANOUTS */
	VTR_MAX_RESOURCES = 16384,
	VTR_MAX_DIMENSION = 16384, /* width and height of a resource or framebuffer */
	VTR_CURSOR_SIZE = 64,
	VTR_MAX_PENDING_FLUSHES = 1024, /* no more than the queue can hold */
	VTR_MAX_IMAGES = 512,           /* 2D resources: each holds an fd, of which a process has 1024 */
	VTR_MAX_BUFFERS = 64,           /* dmabufs of resources, likewise; more than can be shown at a time */
	VTR_MAX_CONTEXTS = 256,         /* 3D contexts: a GL context each */
	VTR_MAX_ATTACHMENTS = 262144,   /* resources attached to 3D contexts, counted once for each context */
	VTR_MAX_SUBMIT = 16777216,      /* bytes of one command stream; Mesa's are 256 KiB at the most */
	VTR_MAX_RINGS = 64,             /* of a context, each with fences of its own (virtio 1.3, 5.7.6.7) */

	/* virtio-input */
	VTR_MAX_INPUT_EVENTS = 512, /* of a device, that wait for the guest */

	/* vfio-user */
	VTR_MAX_MESSAGE_FDS = 16,
	VTR_MAX_DATA_XFER = 1048576,
	VTR_MAX_MESSAGE = VTR_MAX_DATA_XFER + 4096,

	/* vhost-user */
	VTR_MAX_MEM_SLOTS = 256, /* pieces of the guest's memory: no more than VTR_MAX_FILES */

	/* assigned devices */
	VTR_MAX_VFIO_DEVICES = 16,
	VTR_MAX_VFIO_MAPPINGS = 64,       /* of one device by an embedding VMM; a BAR with an MSI-X table in it takes two */
	VTR_MAX_VFIO_REGION_INFO = 65536, /* bytes of what a device says about one region */

	/* control socket */
	VTR_MAX_CONTROL_CLIENTS = 16,
	VTR_MAX_CONTROL_LINE = 65536,     /* a request */
	VTR_MAX_CONTROL_REPLY = 16777216, /* what a client takes; a status with VTR_MAX_REGIONS regions is 7 MB */
};

/* Largest dmabuf that is made of a resource, 16384x16384 pixels: the kernel keeps a pointer per page of it. */
#define VTR_MAX_BUFFER_SIZE (UINT64_C(1) << 30)
/* Largest blob the device accepts; it takes none of our memory. */
#define VTR_MAX_BLOB_SIZE (UINT64_C(1) << 40)
/* Host memory of 2D resources and of the pixels copied for displays together, unless --max-hostmem says otherwise. */
#define VTR_DEFAULT_MAX_HOSTMEM (UINT64_C(1) << 30)

/* The region in which a guest has blobs of the host's mapped: address space, no memory. Guest programs map a few buffers each, of a
 * few MiB; a BAR of that size finds a place also in guests whose firmware puts all of them below 4 GiB. A power of two. */
#define VTR_HOST_VISIBLE_SIZE (UINT64_C(256) << 20)

/* Staging images of all outputs together: a 16384x16384 picture is 1 GiB, three 4K images of 16 outputs are 1.5 GiB. */
#define VTR_MAX_STAGING (UINT64_C(2) << 30)

#endif
