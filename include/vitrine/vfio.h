/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_VFIO_H
#define VITRINE_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vitrine/api.h>
#include <vitrine/error.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>

/*
 * Assigned devices: PCI devices that a guest owns through VFIO. A frame that lies scattered in the BAR of one becomes a single
 * dmabuf, made on the same VFIO device that the VMM uses.
 *
 * Three ways lead to that dmabuf, by what the caller knows of the frame's pieces: region and offset, host addresses inside the
 * VMM's own mapping of the BAR, or guest addresses. All merge neighbours, refuse what cannot be one dmabuf, and tell whose fault a
 * failure is: what the guest could have got right is its error, and is found before the kernel is asked.
 *
 * docs/vfio-embedding.md shows the use in a VMM. Thread: one device or list belongs to one thread; different ones may be used at
 * the same time.
 */

/* ---- getting a device ---- */

/*
 * A VFIO device's fd, as the text says where it comes from:
 *
 *   fd=N                    inherited; N becomes the caller's, and CLOEXEC
 *   pid=PID[,device=BDF]    a duplicate of the one that a running process (a VMM) holds; device= when it holds several
 *   bdf=BDF                 opened here: /dev/vfio/devices and /dev/iommu where the kernel has them, else group and container
 *
 * BDF is a PCI address as lspci prints it, 0000:01:00.0 or 01:00.0. What came by SCM_RIGHTS needs nothing of this: it goes straight
 * into vtr_vfio_device_create(). A vfio-user device has no such fd, and one client only: see vtr_vfio_device_create_user(). While the fd is open the device stays open, also when the process it came from ends. An fd
 * (CLOEXEC) the caller owns, or -errno with *error (may be NULL) filled, the missing right or step named: HOST, or UNSUPPORTED
 * ENOSYS when this kernel cannot duplicate. Not to be called with text of a guest.
 */
VTR_API int vtr_vfio_acquire(const char *text, struct vtr_error *error);

/* ---- one device ---- */

/* What a device's backend can do, found once when it is created. Asked before every use: what is not there is never tried. */
enum vtr_vfio_capability {
	VTR_VFIO_DMA_BUF = 1 << 0,       /* dmabufs of region ranges (VFIO_DEVICE_FEATURE_DMA_BUF) */
	VTR_VFIO_REGION_MMAP = 1 << 1,   /* a BAR may be mapped, in whole or in parts */
	VTR_VFIO_BAR_ADDRESSES = 1 << 2, /* configuration space tells where the guest has put the BARs */
	VTR_VFIO_UDMABUF = 1 << 3,       /* dmabufs of a BAR that is a sealed memfd, made of its pages (vfio-user, /dev/udmabuf) */
};

/* A part of a region that may be accessed directly. */
struct vtr_vfio_area {
	uint64_t offset; /* in the region */
	uint64_t size;
};

/* A BAR (a VFIO region: the index is that of the BAR). An I/O BAR has no mappable parts and is never decoded. */
struct vtr_vfio_region {
	uint64_t size;   /* bytes; 0: no such BAR */
	int fd;          /* to map from, the device's or the region's own; -1 when the backend gives none */
	bool sealed;     /* fd is a memfd that udmabufs can be made of */
	uint64_t offset; /* of the region's first byte in fd */
	bool readable;
	bool writable;
	struct vtr_vfio_area *areas; /* mappable parts in ascending order, none touching another */
	size_t n_areas;              /* 0: nothing may be mapped */
	uint64_t address;            /* guest address, as last read; kept while decoding is off */
	bool decoded;                /* the BAR answers at that address */
};

enum { VTR_VFIO_BARS = 6 };

struct vtr_vfio_device;

/*
 * Looks at an open VFIO device: regions, capabilities, BAR addresses. Takes fd (also on failure). NULL with *error (may be NULL)
 * filled: HOST EINVAL (fd is no VFIO device, or one that was never bound to an IOMMU), UNSUPPORTED ENODEV (no PCI device), HOST
 * EPROTO (an answer that contradicts itself), HOST ENOMEM, or HOST with what the kernel said. A device without VTR_VFIO_DMA_BUF is
 * no failure.
 */
VTR_API struct vtr_vfio_device *vtr_vfio_device_create(int fd, struct vtr_error *error);

struct vtr_vfio_user_client; /* <vitrine/transport.h> */

/*
 * The same for a device that another process serves by vfio-user. client is used, not taken, and outlives the device: a vfio-user
 * server has one client, so this is for the VMM that is it. name (copied) is what messages call the device; NULL: "VFIO device".
 * Everything the server says is checked; HOST EPROTO also for what breaks vfio-user's rules, HOST ETIMEDOUT for silence, HOST
 * ENOTCONN or ECONNRESET for a server that left. Once the connection is lost no BAR is decoded any more; what was mapped stays.
 */
VTR_API struct vtr_vfio_device *vtr_vfio_device_create_user(struct vtr_vfio_user_client *client, const char *name,
                                                            struct vtr_error *error);

/* Closes its fd, and those of its regions. dmabufs made of it go on while another fd of the device is open (the VMM's), and are
 * revoked for good with the last one; udmabufs go on. NULL is fine. */
VTR_API void vtr_vfio_device_destroy(struct vtr_vfio_device *device);

/* The PCI address ("0000:01:00.0") where the kernel tells it, else "VFIO device" (numbered from the second of a guest on). Valid as
 * long as the device. */
VTR_API const char *vtr_vfio_device_name(const struct vtr_vfio_device *device);

/* Or'ed enum vtr_vfio_capability. */
VTR_API uint32_t vtr_vfio_device_capabilities(const struct vtr_vfio_device *device);
/* May dmabufs be made of it, in either way? 0, or -errno with *error (may be NULL) filled: UNSUPPORTED and the reason, for status
 * displays. */
VTR_API int vtr_vfio_device_probe_dmabuf(const struct vtr_vfio_device *device, struct vtr_error *error);

/* BAR number bar, or NULL when there is no such number. Valid as long as the device. */
VTR_API const struct vtr_vfio_region *vtr_vfio_device_region(const struct vtr_vfio_device *device, uint32_t bar);

/* Reads the BARs' guest addresses again. 1 when one has changed, 0 when none, -errno when configuration space cannot be read (then
 * no BAR is decoded) or does not tell (-EOPNOTSUPP). */
VTR_API int vtr_vfio_device_refresh(struct vtr_vfio_device *device);

/*
 * Tells where the caller has mapped [offset, offset + size) of a BAR in its own address space, for iovecs. Nothing is read or
 * written there. 0, -EINVAL (size 0, not inside the BAR, or host wraps), -EEXIST (overlaps another mapping of the device) or
 * -ENOSPC (VTR_MAX_VFIO_MAPPINGS).
 */
VTR_API int vtr_vfio_device_add_mapping(struct vtr_vfio_device *device, uint32_t bar, uint64_t offset, const void *host,
                                        uint64_t size);
/* Forgets the mapping that begins at host: 0 or -ENOENT. */
VTR_API int vtr_vfio_device_remove_mapping(struct vtr_vfio_device *device, const void *host);

/* ---- all devices of a guest ---- */

struct vtr_vfio_devices;

VTR_API struct vtr_vfio_devices *vtr_vfio_devices_create(void);          /* NULL when out of memory */
VTR_API void vtr_vfio_devices_destroy(struct vtr_vfio_devices *devices); /* and the devices in it; NULL is fine */
/* Takes device, which is in no list yet, when it returns 0; -ENOSPC (VTR_MAX_VFIO_DEVICES). */
VTR_API int vtr_vfio_devices_add(struct vtr_vfio_devices *devices, struct vtr_vfio_device *device);
/* Gives device back to the caller. 0 or -ENOENT. */
VTR_API int vtr_vfio_devices_remove(struct vtr_vfio_devices *devices, struct vtr_vfio_device *device);
/* The i-th device in order of adding, or NULL. */
VTR_API struct vtr_vfio_device *vtr_vfio_devices_get(const struct vtr_vfio_devices *devices, size_t i);
/* vtr_vfio_device_refresh() of all: true when a BAR has moved, appeared or gone. */
VTR_API bool vtr_vfio_devices_refresh(struct vtr_vfio_devices *devices);

/* A place in a device's memory. */
struct vtr_vfio_place {
	struct vtr_vfio_device *device;
	uint32_t bar;
	uint64_t offset; /* in the region */
	uint64_t length; /* bytes from here to the end of the region or mapping */
};

/* Where guest address lies, by the BAR addresses as last read. False when it is in no BAR that answers. */
VTR_API bool vtr_vfio_devices_find(const struct vtr_vfio_devices *devices, uint64_t address, struct vtr_vfio_place *place);

/* ---- the devices of the guest behind a memory map ---- */

/*
 * A list of devices tied to a guest's memory map: memory that the VMM announced without CPU access gets that through the device's
 * fd, BARs that the VMM does not announce become regions of the map, and both follow the guest when it moves or disables a BAR.
 */
struct vtr_vfio_assigned;

/* loop and memory are used, not owned. NULL when out of memory or fds. One per map. */
VTR_API struct vtr_vfio_assigned *vtr_vfio_assigned_create(struct vtr_loop *loop, struct vtr_memory *memory);
/* Takes what it made out of the map, and destroys the devices. NULL is fine. */
VTR_API void vtr_vfio_assigned_destroy(struct vtr_vfio_assigned *assigned);
/* The list, for vtr_gpu_options and for looking: add and remove through the functions below. Owned by assigned. */
VTR_API struct vtr_vfio_devices *vtr_vfio_assigned_devices(struct vtr_vfio_assigned *assigned);
/* func is called when a device came or a BAR moved, appeared or went away (from the loop), and before a device is closed. NULL
 * removes. */
VTR_API void vtr_vfio_assigned_on_change(struct vtr_vfio_assigned *assigned, void (*func)(void *data), void *data);

/* Adds the VFIO device fd (taken, also on failure). Asks nothing of an fd that is no VFIO device. NULL with *error (may be NULL)
 * filled: HOST ENODEV (no VFIO device), HOST EEXIST (assigned already), HOST ENOSPC (VTR_MAX_VFIO_DEVICES), or as
 * vtr_vfio_device_create() says. */
VTR_API struct vtr_vfio_device *vtr_vfio_assigned_add(struct vtr_vfio_assigned *assigned, int fd, struct vtr_error *error);
/* The same for a device (taken, also on failure). 0 or -errno. */
VTR_API int vtr_vfio_assigned_add_device(struct vtr_vfio_assigned *assigned, struct vtr_vfio_device *device,
                                         struct vtr_error *error);
/*
 * Adds the device that text names, as vtr_vfio_acquire() takes it. What may come is awaited, and tried again when the VMM changes
 * the map: a device that the running process of pid= does not hold yet, and an fd that is not bound to an IOMMU yet. 0: added, 1:
 * awaited, or -errno with *error (may be NULL) filled as vtr_vfio_acquire() and vtr_vfio_assigned_add() say.
 */
VTR_API int vtr_vfio_assigned_acquire(struct vtr_vfio_assigned *assigned, const char *text, struct vtr_error *error);
/* The i-th of the awaited, and why it is not there; NULL beyond the last. Valid until the loop's next turn. */
VTR_API const char *vtr_vfio_assigned_awaited(const struct vtr_vfio_assigned *assigned, size_t i, const char **why);
/* Lets the device of that name go: what was made of it goes first, then its fd is closed. 0 or -ENOENT. */
VTR_API int vtr_vfio_assigned_remove(struct vtr_vfio_assigned *assigned, const char *name);
/* Their VMM has left: lets all go, because a device that is held here can be opened by nobody else. Who left without having
 * announced any memory was no VMM, and nothing happens. */
VTR_API void vtr_vfio_assigned_vmm_left(struct vtr_vfio_assigned *assigned);

/* ---- dmabufs ---- */

struct vtr_vfio_range {
	uint32_t bar;
	uint64_t offset; /* in the region */
	uint64_t length;
};

/*
 * Makes one dmabuf of count ranges of one BAR, in order: byte i of the dmabuf is byte i of the ranges one behind the other.
 * Neighbours that continue each other are merged. Every range that remains must begin and end on a page, but for the end of the
 * last one, whose last page is then part of the dmabuf as a whole. Overlaps and repetitions are allowed. One allocation, time
 * linear in count.
 *
 * The device makes it (VTR_VFIO_DMA_BUF); where it does not and the BAR is a sealed memfd it is a udmabuf of the memfd's pages
 * (VTR_VFIO_UDMABUF). What a device cannot do is not tried.
 *
 * Returns an fd (CLOEXEC) the caller owns, or -errno with *error (may be NULL) filled:
 * GUEST EINVAL (no range, no length, not on page borders), GUEST EOVERFLOW (offset + length wraps), GUEST ENODEV (no such BAR),
 * GUEST ERANGE (beyond its end), GUEST EACCES (a part of the BAR that may not be accessed directly), GUEST EXDEV (several BARs or
 * devices), GUEST E2BIG (count over VTR_MAX_ENTRIES); UNSUPPORTED EOPNOTSUPP (what vtr_vfio_device_probe_dmabuf() says, or this BAR
 * is no sealed memfd); REVOKED (the kernel refuses, and the device does not decode its memory or is not there at the moment); HOST
 * E2BIG (over a limit of udmabuf, named with the sysfs file to raise); HOST with anything else the kernel says.
 *
 * While the guest has the device's memory decoding off the dmabuf is made all the same, and is revoked: importers get ENODEV until
 * decoding is on again.
 */
VTR_API int vtr_vfio_device_create_dmabuf(struct vtr_vfio_device *device, const struct vtr_vfio_range *ranges, size_t count,
                                          struct vtr_error *error);

/* The same of host addresses, all inside mappings (vtr_vfio_device_add_mapping()) of one BAR. GUEST EFAULT when one is in no
 * mapping. */
VTR_API int vtr_vfio_devices_dmabuf_from_iovec(struct vtr_vfio_devices *devices, const struct iovec *iov, size_t count,
                                               struct vtr_error *error);

/* The same of guest addresses, all inside one BAR. BAR addresses are read again first. GUEST EFAULT when one is in no BAR, REVOKED
 * ENODEV when it is in one whose decoding is off. */
VTR_API int vtr_vfio_devices_dmabuf_from_entries(struct vtr_vfio_devices *devices, const struct vtr_mem_entry *entries,
                                                 size_t count, struct vtr_error *error);

/* The same of spans of guest memory (src/dmabuf/vfio.c). Also UNSUPPORTED EOPNOTSUPP (a span lies in RAM or in no BAR of these
 * devices) and REVOKED EFAULT (a region was removed). */
VTR_API int vtr_vfio_devices_dmabuf_from_spans(struct vtr_vfio_devices *devices, const struct vtr_spans *spans,
                                               struct vtr_error *error);

/*
 * Why an importer refused a VFIO dmabuf of `ranges` ranges with errno value code: fills *error and returns -code. REVOKED for
 * ENODEV, which comes back by itself; UNSUPPORTED for what the importing driver or the topology of the machine cannot do; HOST
 * else.
 */
VTR_API int vtr_vfio_import_error(struct vtr_error *error, int code, size_t ranges);

#endif
