/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of the PCI function: INTx and MSI-X, delivered by eventfds that the VFIO client gave.
 *
 * MSI-X is in use when the client gave an eventfd for any of its vectors, or enabled it in configuration space. A vector that fires
 * while it is masked, or has no eventfd because the client is about to exchange it, is pending and fires when that is over: an edge
 * that is lost would leave a guest waiting for ever. Addresses, data and mask bits in the MSI-X table are the client's business;
 * the table is memory here, the pending bits are real.
 *
 * INTx is a level: asserted while the ISR is not 0, unless INTX_DISABLE is set or MSI-X in use. Firing masks it, as VFIO says
 * (VFIO_IRQ_INFO_AUTOMASKED); at unmask it fires again while it is asserted. The ISR is read through the virtio BAR, and cleared by
 * it.
 *
 * eventfds are written without blocking: a full counter wakes its reader all the same.
 */
#include <string.h>

#include "util/checked.h"
#include "util/eventfd.h"
#include "util/fd.h"
#include "virtio/pci_function.h"

/* virtio 1.3, 4.1.4.5 */
enum { ISR_QUEUE = 1, ISR_CONFIG = VIRTIO_PCI_ISR_CONFIG };

static bool msix_in_use(const struct vtr_pci_function *function)
{
	unsigned i;

	if (function->config[function->msix_cap + PCI_MSIX_FLAGS + 1] & (PCI_MSIX_FLAGS_ENABLE >> 8))
		return true;
	for (i = 0; i < function->n_vectors; i++) {
		if (function->vectors[i].eventfd >= 0)
			return true;
	}
	return false;
}

void vtr_pci_irq_update(struct vtr_pci_function *function)
{
	const bool asserted = function->isr && !msix_in_use(function);
	const bool disabled = function->config[PCI_COMMAND + 1] & (PCI_COMMAND_INTX_DISABLE >> 8);

	function->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (asserted)
		function->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	if (!asserted || disabled || function->intx.masked || function->intx.eventfd < 0)
		return;
	function->intx.masked = true;
	vtr_eventfd_signal(function->intx.eventfd);
}

static void fire_vector(struct vtr_pci_function *function, uint16_t index)
{
	struct vtr_pci_vector *vector;

	if (index >= function->n_vectors)
		return; /* VIRTIO_MSI_NO_VECTOR: the driver does not want it */
	vector = &function->vectors[index];
	vector->pending = vector->masked || vector->eventfd < 0;
	if (!vector->pending)
		vtr_eventfd_signal(vector->eventfd);
}

static void interrupt_queue(void *data, unsigned queue)
{
	struct vtr_pci_function *function = data;

	if (msix_in_use(function)) {
		fire_vector(function, function->queue_vectors[queue]);
		return;
	}
	function->isr |= ISR_QUEUE;
	vtr_pci_irq_update(function);
}

/* The configuration bit is set with MSI-X too (virtio 1.3, 4.1.4.5.1). */
static void interrupt_config(void *data)
{
	struct vtr_pci_function *function = data;

	function->isr |= ISR_CONFIG;
	if (msix_in_use(function))
		fire_vector(function, function->config_vector);
	else
		vtr_pci_irq_update(function);
}

const struct vtr_virtio_transport_impl vtr_pci_transport = {
	.interrupt_queue = interrupt_queue,
	.interrupt_config = interrupt_config,
};

uint8_t vtr_pci_isr_take(struct vtr_pci_function *function)
{
	const uint8_t isr = function->isr;

	function->isr = 0;
	vtr_pci_irq_update(function);
	return isr;
}

/* ---- life ---- */

static void reset_table(struct vtr_pci_function *function)
{
	unsigned i;

	memset(function->msix_table, 0, sizeof(function->msix_table));
	for (i = 0; i < function->n_vectors; i++)
		function->msix_table[i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

void vtr_pci_irq_init(struct vtr_pci_function *function)
{
	unsigned i;

	function->isr = 0;
	function->intx = (struct vtr_pci_vector){ .eventfd = -1 };
	for (i = 0; i < VTR_PCI_MAX_VECTORS; i++)
		function->vectors[i] = (struct vtr_pci_vector){ .eventfd = -1 };
	reset_table(function);
}

void vtr_pci_irq_finish(struct vtr_pci_function *function)
{
	unsigned i;

	vtr_fd_close(&function->intx.eventfd);
	for (i = 0; i < VTR_PCI_MAX_VECTORS; i++)
		vtr_fd_close(&function->vectors[i].eventfd);
}

void vtr_pci_irq_reset(struct vtr_pci_function *function)
{
	unsigned i;

	function->isr = 0;
	for (i = 0; i < VTR_PCI_MAX_VECTORS; i++)
		function->vectors[i].pending = false;
	vtr_pci_irq_update(function);
}

/* ---- the client's side ---- */

unsigned vtr_pci_irq_count(const struct vtr_pci_function *function, unsigned irq)
{
	switch (irq) {
	case VFIO_PCI_INTX_IRQ_INDEX:
		return 1;
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return function->n_vectors;
	default:
		return 0;
	}
}

/* NULL when there is no such interrupt. */
static struct vtr_pci_vector *find_vector(struct vtr_pci_function *function, unsigned irq, unsigned vector)
{
	if (vector >= vtr_pci_irq_count(function, irq))
		return NULL;
	return irq == VFIO_PCI_INTX_IRQ_INDEX ? &function->intx : &function->vectors[vector];
}

/* What waited for an eventfd, or for the end of a mask. */
static void deliver(struct vtr_pci_function *function, struct vtr_pci_vector *vector)
{
	if (vector->pending && !vector->masked && vector->eventfd >= 0) {
		vector->pending = false;
		vtr_eventfd_signal(vector->eventfd);
	}
	vtr_pci_irq_update(function);
}

void vtr_pci_set_irq(struct vtr_pci_function *function, unsigned irq, unsigned index, int eventfd)
{
	struct vtr_pci_vector *vector = find_vector(function, irq, index);

	if (!vector) {
		vtr_fd_close(&eventfd);
		return;
	}
	vtr_fd_close(&vector->eventfd);
	vector->eventfd = eventfd;
	vector->masked = false;
	vtr_eventfd_set_nonblocking(eventfd);
	deliver(function, vector);
}

void vtr_pci_mask_irq(struct vtr_pci_function *function, unsigned irq, unsigned index, bool masked)
{
	struct vtr_pci_vector *vector = find_vector(function, irq, index);

	if (!vector)
		return;
	vector->masked = masked;
	deliver(function, vector);
}

void vtr_pci_trigger_irq(struct vtr_pci_function *function, unsigned irq, unsigned index)
{
	const struct vtr_pci_vector *vector = find_vector(function, irq, index);

	if (vector)
		vtr_eventfd_signal(vector->eventfd);
}

/* ---- the MSI-X BAR ---- */

static uint32_t table_size(const struct vtr_pci_function *function)
{
	return function->n_vectors * PCI_MSIX_ENTRY_SIZE;
}

static uint8_t pending_byte(const struct vtr_pci_function *function, uint32_t byte)
{
	uint8_t bits = 0;
	uint32_t i;

	for (i = 8 * byte; i < 8 * byte + 8 && i < function->n_vectors; i++)
		bits |= (uint8_t)(function->vectors[i].pending << (i % 8));
	return bits;
}

void vtr_pci_msix_read(struct vtr_pci_function *function, uint32_t offset, uint8_t *buffer, uint32_t length)
{
	uint32_t i;

	for (i = 0; i < length; i++) {
		const uint32_t at = offset + i;

		if (at < table_size(function))
			buffer[i] = function->msix_table[at];
		else
			buffer[i] = at >= VTR_PCI_MSIX_PBA ? pending_byte(function, at - VTR_PCI_MSIX_PBA) : 0;
	}
}

void vtr_pci_msix_write(struct vtr_pci_function *function, uint32_t offset, const uint8_t *buffer, uint32_t length)
{
	uint32_t i;

	for (i = 0; i < length && offset + i < table_size(function); i++)
		function->msix_table[offset + i] = buffer[i];
}
