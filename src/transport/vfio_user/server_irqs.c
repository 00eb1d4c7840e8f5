/* SPDX-License-Identifier: MIT */
/*
 * VFIO_USER_DEVICE_SET_IRQS: actions MASK, UNMASK and TRIGGER with data NONE, BOOL and EVENTFD, as VFIO defines them. An eventfd
 * for TRIGGER is what the device signals; an eventfd for UNMASK (INTx only: KVM's resample fd) is what the client signals. Nobody
 * uses eventfds for MASK; the kernel refuses them too.
 *
 * A file descriptor that is no eventfd is refused: writing to it could block, or mean something.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "transport/vfio_user/server.h"
#include "util/checked.h"
#include "util/eventfd.h"
#include "util/fd.h"

/* ---- INTx unmasked through an eventfd ---- */

static void on_unmask(int fd, uint32_t events, void *data)
{
	struct vtr_vfio_user_server *server = data;
	uint64_t count;

	/* Not blocking, so that somebody else reading it is no trouble; 0 bytes or an error: it was read already. */
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		vtr_pci_mask_irq(server->function, VFIO_PCI_INTX_IRQ_INDEX, 0, false);
}

static void remove_unmask(struct vtr_vfio_user_server *server)
{
	vtr_source_remove(server->unmask_source);
	server->unmask_source = NULL;
	vtr_fd_close(&server->unmask_fd);
}

/* Takes fd, also when it fails; -1 removes. */
static int set_unmask(struct vtr_vfio_user_server *server, int fd)
{
	remove_unmask(server);
	if (fd < 0)
		return 0;
	server->unmask_fd = fd;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
		server->unmask_source = vtr_loop_add_fd(server->loop, fd, EPOLLIN, on_unmask, server);
	if (server->unmask_source)
		return 0;
	int error = -errno;
	remove_unmask(server);
	return error;
}

/* ---- the three kinds of data ---- */

static void remove_triggers(struct vtr_vfio_user_server *server, uint32_t irq, uint32_t start, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		vtr_pci_set_irq(server->function, irq, start + i, -1);
}

void vtr_vfio_user_remove_irqs(struct vtr_vfio_user_server *server)
{
	for (uint32_t irq = 0; irq < VFIO_PCI_NUM_IRQS; irq++)
		remove_triggers(server, irq, 0, vtr_pci_irq_count(server->function, irq));
	remove_unmask(server);
}

static ssize_t set_eventfds(struct vtr_vfio_user_server *server, const struct vfio_user_irq_set *set, uint32_t action,
                            struct vtr_message *message)
{
	if (message->n_fds && message->n_fds != set->count)
		return -EINVAL;
	for (size_t i = 0; i < message->n_fds; i++)
		if (!vtr_fd_is_eventfd(message->fds[i]))
			return -EINVAL;
	if (action == VFIO_IRQ_SET_ACTION_UNMASK && set->index == VFIO_PCI_INTX_IRQ_INDEX)
		return set_unmask(server, message->n_fds ? vtr_message_take_fd(message, 0) : -1);
	if (action != VFIO_IRQ_SET_ACTION_TRIGGER)
		return -ENOTTY;
	if (!message->n_fds)
		remove_triggers(server, set->index, set->start, set->count);
	for (uint32_t i = 0; i < message->n_fds; i++)
		vtr_pci_set_irq(server->function, set->index, set->start + i, vtr_message_take_fd(message, i));
	return 0;
}

static void act(struct vtr_vfio_user_server *server, uint32_t action, uint32_t irq, uint32_t vector)
{
	if (action == VFIO_IRQ_SET_ACTION_TRIGGER)
		vtr_pci_trigger_irq(server->function, irq, vector);
	else
		vtr_pci_mask_irq(server->function, irq, vector, action == VFIO_IRQ_SET_ACTION_MASK);
}

/* booleans: one byte per vector, or NULL: all of them */
static void act_on_range(struct vtr_vfio_user_server *server, const struct vfio_user_irq_set *set, uint32_t action,
                         const uint8_t *booleans)
{
	for (uint32_t i = 0; i < set->count; i++)
		if (!booleans || booleans[i])
			act(server, action, set->index, set->start + i);
}

/* One bit of each kind and no other: what to do in *action, with what in *data. */
static bool decode_flags(uint32_t flags, uint32_t *action, uint32_t *data)
{
	*action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	*data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	return flags == (*action | *data) && vtr_is_power_of_two(*action) && vtr_is_power_of_two(*data);
}

ssize_t vtr_vfio_user_handle_set_irqs(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request)
{
	const uint8_t *booleans = request->body + sizeof(struct vfio_user_irq_set);
	struct vfio_user_irq_set set;
	uint32_t action, data;

	memcpy(&set, request->body, sizeof(set));
	if (set.argsz < sizeof(set) || !decode_flags(set.flags, &action, &data) || set.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	uint32_t available = vtr_pci_irq_count(server->function, set.index);
	if (!available || !vtr_range_fits(set.start, set.count, available))
		return -EINVAL;
	if (request->size != sizeof(set) + (data == VFIO_IRQ_SET_DATA_BOOL ? set.count : 0))
		return -EINVAL;
	if (data != VFIO_IRQ_SET_DATA_EVENTFD && request->message->n_fds)
		return -EINVAL;
	if (!set.count) {
		/* "disables all interrupts of the index" */
		if (data != VFIO_IRQ_SET_DATA_NONE || action != VFIO_IRQ_SET_ACTION_TRIGGER || set.start)
			return -EINVAL;
		remove_triggers(server, set.index, 0, available);
		return 0;
	}
	if (data == VFIO_IRQ_SET_DATA_EVENTFD)
		return set_eventfds(server, &set, action, request->message);
	act_on_range(server, &set, action, data == VFIO_IRQ_SET_DATA_BOOL ? booleans : NULL);
	return 0;
}
