/* SPDX-License-Identifier: MIT */
#ifndef VTR_VIRTIO_PCI_H
#define VTR_VIRTIO_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/device.h"

/*
 * A virtio device as a whole PCI function (virtio 1.3, 4.1): configuration space with the vendor capabilities, MSI-X, the BARs
 * behind them. What VFIO calls regions and irqs; a transport that carries VFIO's view (vfio-user) needs nothing else.
 *
 *   BAR 1  32 bit, MSI-X table and PBA (a VFIO client emulates them; the bytes are there for one that does not)
 *   BAR 4  64 bit prefetchable: common, ISR, device and notify structures, a page each
 */
struct vtr_pci_function;

/* class_code: 24 bits, e.g. 0x038000. device is not owned and gets this function as its transport. NULL when out of memory. */
struct vtr_pci_function *vtr_pci_create(struct vtr_virtio_device *device, uint32_t class_code);
void vtr_pci_destroy(struct vtr_pci_function *function); /* NULL is fine */

/* region: VFIO_PCI_BAR0_REGION_INDEX ... VFIO_PCI_CONFIG_REGION_INDEX. 0: the region does not exist. */
uint64_t vtr_pci_region_size(const struct vtr_pci_function *function, unsigned region);

/* 0, or -EINVAL when the range is not inside the region. Unimplemented bytes read as 0, writes to them are ignored. */
int vtr_pci_read(struct vtr_pci_function *function, unsigned region, uint64_t offset, void *buffer, size_t length);
int vtr_pci_write(struct vtr_pci_function *function, unsigned region, uint64_t offset, const void *buffer, size_t length);
/* True when such a write only rings doorbells: it sets flags for the loop, and touches neither guest memory nor the device's state.
 */
bool vtr_pci_is_doorbell(const struct vtr_pci_function *function, unsigned region, uint64_t offset, size_t length);

/* irq: VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, ...; 0: none of that kind. */
unsigned vtr_pci_irq_count(const struct vtr_pci_function *function, unsigned irq);
/* eventfd taken (closed when replaced, on reset of the irq and on destroy); -1 removes. The caller checked irq and vector. */
void vtr_pci_set_irq(struct vtr_pci_function *function, unsigned irq, unsigned vector, int eventfd);
/* INTx is masked by itself when it fires (VFIO_IRQ_INFO_AUTOMASKED) and fires again at unmask while the ISR is not read. */
void vtr_pci_mask_irq(struct vtr_pci_function *function, unsigned irq, unsigned vector, bool masked);
void vtr_pci_trigger_irq(struct vtr_pci_function *function, unsigned irq, unsigned vector); /* VFIO_IRQ_SET_ACTION_TRIGGER */

/* Function-level reset: device reset, configuration space as after power-on. The irq eventfds stay. */
void vtr_pci_reset(struct vtr_pci_function *function);
/* The VMM is gone: likewise, but what people see of the device may stay (vtr_virtio_abandon()) until vtr_pci_reset(). */
void vtr_pci_abandon(struct vtr_pci_function *function);

#endif
