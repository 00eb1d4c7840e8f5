/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_ASSIGNED_H
#define VTR_GUEST_ASSIGNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>
#include <vitrine/transport.h>
#include <vitrine/vfio.h>

/*
 * A device that is assigned to the guest, which another process serves by vfio-user: the guest is its VMM. Its BARs are placed in
 * the guest's address space, the guest's memory is given to it, and the memory in its largest BAR becomes the guest's area
 * VTR_GUEST_BAR, which the display device is told about as a VMM would.
 */
enum { VTR_GUEST_IRQ_KINDS = 3 }; /* INTx, MSI, MSI-X */

struct vtr_guest_assigned {
	struct vtr_vfio_user_client *client;
	struct vtr_vfio_device *device;
	uint16_t vendor_id, device_id;
	uint32_t irqs[VTR_GUEST_IRQ_KINDS]; /* how many of each kind it has */
	uint32_t bar;                       /* whose memory is VTR_GUEST_BAR */
	uint64_t area;                      /* where that memory begins in it */
	bool by_messages;                   /* write to it by messages, although it is mapped */
	uint64_t dma_bytes;                 /* read and written by requests of the device */
};

/* Connects to what text names, "vfio-user=PATH", places its BARs and fills in guest->areas[VTR_GUEST_BAR]. 0 or -errno, told by
 * vtr_guest_error(); vtr_guest_assigned_close() is due in any case. */
int vtr_guest_assigned_open(struct vtr_guest *guest, const char *text);
void vtr_guest_assigned_close(struct vtr_guest *guest); /* fine when there is none */

/* Gives the display device all parts of the BAR that may be accessed directly (or all of it without an fd, when none may), or takes
 * them back. 0 or -errno, told. */
int vtr_guest_assigned_map(struct vtr_guest *guest);
int vtr_guest_assigned_unmap(struct vtr_guest *guest);

/* Puts the BARs where they belong, or somewhere else, and enables them: at the beginning, after a reset, or to move them while the
 * display device does not have them. 0 or -errno, told. */
int vtr_guest_assigned_place(struct vtr_guest *guest, bool elsewhere);
/* Turns the device's memory decoding on or off, and looks whether it is. 0 or -errno, told. */
int vtr_guest_assigned_decode(struct vtr_guest *guest, bool on);

/* Bytes of the BAR by messages, as for a VMM that cannot map them; a write may still be on its way when it returns. 0 or -errno:
 * EFAULT when there is no assigned device, or they are not in its BAR. */
int vtr_guest_assigned_read(struct vtr_guest *guest, uint64_t address, void *buffer, size_t length);
int vtr_guest_assigned_write(struct vtr_guest *guest, uint64_t address, const void *buffer, size_t length);

/* How the BAR's memory is reached: "sealed memfd", "file", or "messages". */
const char *vtr_guest_assigned_kind(const struct vtr_guest_assigned *assigned);

#endif
