/* SPDX-License-Identifier: MIT */
/*
 * The link to a PCI function: registers where the capabilities say, MSI-X vectors as eventfds, memory by DMA_MAP. Memory without an
 * fd is read and written by the device's requests, which are served whenever the connection is.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <vitrine/loop.h>

#include "guest/function.h"
#include "guest/machine.h"
#include "util/fd.h"

enum { CONFIG_VECTOR = 0 /* MSI-X vectors: configuration, then one for each queue */ };

struct pci_link {
	struct vtr_guest_link base;
	struct vtr_vfio_user_client *client;
	struct vtr_guest_function function;
	int config_eventfd;
	uint64_t doorbells[VTR_GUEST_QUEUES]; /* offsets in the notify structure's BAR */
};

static struct pci_link *pci_from_link(struct vtr_guest_link *link)
{
	return (struct pci_link *)link;
}

static int told(struct pci_link *link, const char *what, int result)
{
	return result ? vtr_guest_fail(link->base.guest, -result, "%s failed: %s", what, strerror(-result)) : 0;
}

/* Ends a sequence of accesses. */
static int check(struct pci_link *link, const char *what)
{
	return told(link, what, vtr_guest_function_check(&link->function));
}

static int link_socket(const struct vtr_guest_link *link)
{
	return vtr_vfio_user_client_fd(((const struct pci_link *)link)->client);
}

/* ---- memory ---- */

static int map(struct vtr_guest_link *link, uint64_t address, uint64_t size, int fd, uint64_t offset, bool writable)
{
	struct pci_link *pci = pci_from_link(link);

	return told(pci, "DMA_MAP", vtr_vfio_user_dma_map(pci->client, address, size, fd, offset, writable));
}

static int unmap(struct vtr_guest_link *link, uint64_t address, uint64_t size)
{
	struct pci_link *pci = pci_from_link(link);

	return told(pci, "DMA_UNMAP", vtr_vfio_user_dma_unmap(pci->client, address, size));
}

/* ---- the device's life ---- */

static int features(struct vtr_guest_link *link, uint64_t *offered)
{
	struct pci_link *pci = pci_from_link(link);

	*offered = vtr_guest_function_features(&pci->function);
	return check(pci, "reading the features");
}

static int status(struct vtr_guest_link *link, uint8_t *value)
{
	struct pci_link *pci = pci_from_link(link);

	*value = vtr_guest_function_status(&pci->function);
	return check(pci, "reading the device status");
}

static int set_status(struct vtr_guest_link *link, uint8_t value)
{
	struct pci_link *pci = pci_from_link(link);

	vtr_guest_function_set_status(&pci->function, value);
	return check(pci, "writing the device status");
}

static void drain(int eventfd)
{
	uint64_t count;

	while (read(eventfd, &count, sizeof(count)) > 0)
		;
}

static int reset(struct vtr_guest_link *link)
{
	struct pci_link *pci = pci_from_link(link);
	int result = vtr_guest_function_reset(&pci->function, link->guest->timeout_ms);

	drain(pci->config_eventfd); /* what was pending belongs to the life before */
	return told(pci, "resetting the device", result);
}

static int negotiate(struct vtr_guest_link *link, uint64_t accepted)
{
	struct pci_link *pci = pci_from_link(link);
	struct vtr_guest_function *function = &pci->function;
	int result = vtr_guest_function_negotiate(function, accepted);

	if (result)
		return vtr_guest_fail(link->guest, -result, "the device does not accept features 0x%llx: %s",
		                      (unsigned long long)accepted, strerror(-result));
	vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_MSIX, 2, CONFIG_VECTOR);
	uint64_t n_queues = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_NUMQ, 2);
	if (!function->error && n_queues < VTR_GUEST_QUEUES)
		return vtr_guest_fail(link->guest, EPROTO, "the device has %u queues in place of 2", (unsigned)n_queues);
	return check(pci, "setting up interrupts");
}

static int driver_ok(struct vtr_guest_link *link)
{
	return set_status(link, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
	                                VIRTIO_CONFIG_S_DRIVER_OK);
}

/* ---- queues ---- */

static int queue_size(struct vtr_guest_link *link, unsigned index, uint64_t *entries)
{
	struct pci_link *pci = pci_from_link(link);
	struct vtr_guest_function *function = &pci->function;

	vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	*entries = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_Q_SIZE, 2);
	return check(pci, "reading a queue's size");
}

static int start_queue(struct vtr_guest_link *link, unsigned index, const struct vtr_guest_ring *ring)
{
	struct pci_link *pci = pci_from_link(link);
	struct vtr_guest_function *function = &pci->function;
	const struct vtr_guest_structure *common = &function->common;

	vtr_guest_function_write(function, common, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	vtr_guest_function_write(function, common, VIRTIO_PCI_COMMON_Q_SIZE, 2, ring->size);
	vtr_guest_function_write(function, common, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1 + index);
	bool vector_set = vtr_guest_function_read(function, common, VIRTIO_PCI_COMMON_Q_MSIX, 2) == 1 + index;
	vtr_guest_function_write(function, common, VIRTIO_PCI_COMMON_Q_DESCLO, 8, ring->address);
	vtr_guest_function_write(function, common, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, ring->avail_address);
	vtr_guest_function_write(function, common, VIRTIO_PCI_COMMON_Q_USEDLO, 8, ring->used_address);
	vtr_guest_function_write(function, common, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	uint64_t notify = vtr_guest_function_read(function, common, VIRTIO_PCI_COMMON_Q_NOFF, 2) * function->notify_multiplier;
	int result = check(pci, "setting up a queue");
	if (result)
		return result;
	if (!vector_set)
		return vtr_guest_fail(link->guest, EPROTO, "queue %u did not accept its MSI-X vector", index);
	if (notify + 2 > function->notify.length)
		return vtr_guest_fail(link->guest, EPROTO, "queue %u's doorbell lies outside the notify structure", index);
	pci->doorbells[index] = function->notify.offset + notify;
	return 0;
}

/* virtio 1.3, 4.1.4.3.2 */
static int reset_queue(struct vtr_guest_link *link, unsigned index)
{
	struct pci_link *pci = pci_from_link(link);
	struct vtr_guest_function *function = &pci->function;
	uint64_t deadline = vtr_now_ns() + (uint64_t)link->guest->timeout_ms * 1000000;

	vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	vtr_guest_function_write(function, &function->common, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	while (vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_Q_RESET, 2)) {
		if (vtr_now_ns() > deadline)
			return vtr_guest_fail(link->guest, ETIMEDOUT, "queue_reset stays 1");
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	uint64_t enabled = vtr_guest_function_read(function, &function->common, VIRTIO_PCI_COMMON_Q_ENABLE, 2);
	if (!function->error && enabled)
		return vtr_guest_fail(link->guest, EPROTO, "queue_enable is %u after a queue reset", (unsigned)enabled);
	return check(pci, "resetting a queue");
}

static int kick(struct vtr_guest_link *link, unsigned index)
{
	struct pci_link *pci = pci_from_link(link);
	uint16_t value = (uint16_t)index;

	return told(pci, "ringing the doorbell",
	            vtr_vfio_user_write(pci->client, pci->function.notify.bar, pci->doorbells[index], &value, sizeof(value), true));
}

/* ---- configuration ---- */

/* Fields are of 4 bytes, aligned, or of one (virtio 1.3, 4.1.3.1). */
static unsigned width_at(uint32_t offset, uint32_t left)
{
	return offset % 4 || left < 4 ? 1 : 4;
}

static int read_config(struct vtr_guest_link *link, uint32_t offset, void *buffer, uint32_t size)
{
	struct pci_link *pci = pci_from_link(link);
	uint8_t *bytes = buffer;

	for (uint32_t i = 0, width; i < size; i += width) {
		width = width_at(offset + i, size - i);
		uint64_t value = vtr_guest_function_read(&pci->function, &pci->function.config, offset + i, width);
		memcpy(bytes + i, &value, width);
	}
	return check(pci, "reading the configuration");
}

static int write_config(struct vtr_guest_link *link, uint32_t offset, const void *buffer, uint32_t size)
{
	struct pci_link *pci = pci_from_link(link);
	const uint8_t *bytes = buffer;

	for (uint32_t i = 0, width; i < size; i += width) {
		uint64_t value = 0;

		width = width_at(offset + i, size - i);
		memcpy(&value, bytes + i, width);
		vtr_guest_function_write(&pci->function, &pci->function.config, offset + i, width, value);
	}
	return check(pci, "writing the configuration");
}

/* ---- waiting ---- */

static size_t fds(const struct vtr_guest_link *link, struct pollfd polled[])
{
	polled[0] = (struct pollfd){ .fd = link_socket(link), .events = POLLIN };
	polled[1] = (struct pollfd){ .fd = ((const struct pci_link *)link)->config_eventfd, .events = POLLIN };
	return 2;
}

static int dispatch(struct vtr_guest_link *link, const struct pollfd polled[], size_t n)
{
	struct pci_link *pci = pci_from_link(link);
	int result = polled[0].revents ? vtr_vfio_user_client_dispatch(pci->client) : 0;

	if (result)
		return vtr_guest_fail(link->guest, -result, "the connection to the device broke: %s", strerror(-result));
	if (polled[1].revents) {
		drain(pci->config_eventfd);
		link->guest->config_events++;
	}
	return 0;
}

/* ---- open and close ---- */

static void destroy(struct vtr_guest_link *link)
{
	struct pci_link *pci = pci_from_link(link);

	vtr_vfio_user_client_destroy(pci->client);
	vtr_fd_close(&pci->config_eventfd);
	free(pci);
}

static const struct vtr_guest_link_impl impl = {
	.name = "vfio-user",
	.has_remote = true,
	.has_read_only = true,
	.destroy = destroy,
	.socket = link_socket,
	.map = map,
	.unmap = unmap,
	.features = features,
	.reset = reset,
	.negotiate = negotiate,
	.queue_size = queue_size,
	.start_queue = start_queue,
	.reset_queue = reset_queue,
	.driver_ok = driver_ok,
	.status = status,
	.set_status = set_status,
	.kick = kick,
	.read_config = read_config,
	.write_config = write_config,
	.fds = fds,
	.dispatch = dispatch,
};

static int set_up_interrupts(struct pci_link *link)
{
	struct vtr_guest *guest = link->base.guest;
	uint32_t count = 0;
	int result = vtr_vfio_user_irq_count(link->client, VFIO_PCI_MSIX_IRQ_INDEX, &count);

	if (result)
		return told(link, "asking for MSI-X vectors", result);
	if (count < 1 + VTR_GUEST_QUEUES)
		return vtr_guest_fail(guest, EPROTO, "the device has %u MSI-X vectors; %u are needed", count, 1 + VTR_GUEST_QUEUES);
	link->config_eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->config_eventfd < 0)
		return vtr_guest_fail(guest, errno, "no eventfd: %s", strerror(errno));
	for (unsigned i = 0; i < 1 + VTR_GUEST_QUEUES && !result; i++)
		result = vtr_vfio_user_set_irq(link->client, VFIO_PCI_MSIX_IRQ_INDEX, i,
		                               i ? guest->queues[i - 1].eventfd : link->config_eventfd);
	return told(link, "setting an MSI-X vector", result);
}

int vtr_guest_link_open_pci(struct vtr_guest *guest)
{
	const char *path = guest->options.vfio_user;
	struct pci_link *link = calloc(1, sizeof(*link));

	if (!link)
		return vtr_guest_fail(guest, ENOMEM, "out of memory");
	*link = (struct pci_link){ .base = { &impl, guest }, .config_eventfd = -1 };
	link->client = vtr_vfio_user_client_connect(path, guest->timeout_ms);
	if (!link->client) {
		bool nobody = errno == ENOENT || errno == ECONNREFUSED;

		free(link);
		return vtr_guest_fail(guest, errno, "cannot talk to a device at %s: %s%s%s", path, strerror(errno),
		                      nobody ? "; start one with: vitrine --vfio-user " : "", nobody ? path : "");
	}
	guest->link = &link->base;
	vtr_guest_serve_memory(guest, link->client);
	int result = vtr_guest_function_init(&link->function, link->client, &guest->failure);
	return result ? result : set_up_interrupts(link);
}

struct vtr_guest_function *vtr_guest_function_of(struct vtr_guest *guest)
{
	return guest->link->impl == &impl ? &pci_from_link(guest->link)->function : NULL;
}

struct vtr_vfio_user_client *vtr_guest_client_of(struct vtr_guest *guest)
{
	return guest->link->impl == &impl ? pci_from_link(guest->link)->client : NULL;
}
