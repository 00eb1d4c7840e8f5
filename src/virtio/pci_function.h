/* SPDX-License-Identifier: MIT */
#ifndef VTR_VIRTIO_PCI_FUNCTION_H
#define VTR_VIRTIO_PCI_FUNCTION_H

/* What the parts of the PCI function share: pci.c (regions), pci_config.c, pci_common.c, pci_irq.c. Nobody else includes this. */
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_pci.h>

#include "virtio/pci.h"

enum {
	VTR_PCI_CONFIG_SIZE = 256,
	VTR_PCI_MSIX_BAR = VFIO_PCI_BAR1_REGION_INDEX,
	VTR_PCI_MSIX_BAR_SIZE = 0x1000,
	VTR_PCI_MSIX_PBA = 0x800, /* in the MSI-X BAR, behind the table */
	VTR_PCI_VIRTIO_BAR = VFIO_PCI_BAR4_REGION_INDEX,
	VTR_PCI_VIRTIO_BAR_SIZE = 0x4000,
	VTR_PCI_PAGE = 0x1000,         /* each structure has a page of the virtio BAR */
	VTR_PCI_NOTIFY_MULTIPLIER = 4, /* bytes from doorbell to doorbell */
	VTR_PCI_COMMON_SIZE = 64,      /* struct virtio_pci_common_cfg of virtio 1.3, 4.1.4.3 */
	VTR_PCI_MAX_VECTORS = VTR_VIRTIO_MAX_QUEUES + 1,
};

/* A structure in the virtio BAR. The functions get ranges inside of length, of any size and alignment. */
struct vtr_pci_window {
	uint8_t cfg_type; /* VIRTIO_PCI_CAP_* */
	uint32_t offset, length;
	void (*read)(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length);
	void (*write)(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length);
};

enum { VTR_PCI_WINDOWS = 4 };

struct vtr_pci_vector {
	int eventfd; /* owned; -1 */
	bool masked;
	bool pending; /* fired while masked or without an eventfd */
};

struct vtr_pci_function {
	struct vtr_virtio_device *device;
	uint32_t class_code;
	struct vtr_pci_window windows[VTR_PCI_WINDOWS];

	/* configuration space: what it holds, and which bits the client may change */
	uint8_t config[VTR_PCI_CONFIG_SIZE], config_mask[VTR_PCI_CONFIG_SIZE];
	uint8_t msix_cap, pci_cfg_cap; /* offsets */

	/* common configuration structure */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector, queue_vectors[VTR_VIRTIO_MAX_QUEUES];

	/* interrupts */
	uint8_t isr;                /* virtio 1.3, 4.1.4.5 */
	struct vtr_pci_vector intx; /* pending is not used: the ISR tells */
	unsigned n_vectors;
	struct vtr_pci_vector vectors[VTR_PCI_MAX_VECTORS];
	uint8_t msix_table[PCI_MSIX_ENTRY_SIZE * VTR_PCI_MAX_VECTORS];
};

/* pci_config.c */
void vtr_pci_config_init(struct vtr_pci_function *function); /* as after power-on; needs windows and n_vectors */
void vtr_pci_config_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length);
void vtr_pci_config_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length);

/* pci_common.c */
void vtr_pci_common_reset(struct vtr_pci_function *function); /* selectors and vectors as after reset */
void vtr_pci_common_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length);
void vtr_pci_common_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length);

/* pci_irq.c */
extern const struct vtr_virtio_transport_impl vtr_pci_transport;
void vtr_pci_irq_init(struct vtr_pci_function *function);
void vtr_pci_irq_finish(struct vtr_pci_function *function);
void vtr_pci_irq_reset(struct vtr_pci_function *function);   /* nothing is asserted or pending; eventfds stay */
void vtr_pci_irq_update(struct vtr_pci_function *function);  /* after a change of the configuration space */
uint8_t vtr_pci_isr_take(struct vtr_pci_function *function); /* reads and clears */
void vtr_pci_msix_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length);
void vtr_pci_msix_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length);

#endif
