/* SPDX-License-Identifier: MIT */
/*
 * The link to a vhost-user back-end. There is no PCI function here: the link is the VMM that would have one, so it keeps what the
 * back-end does not (the device status where there is no STATUS, broken rings, number of scanouts with a display socket), starts
 * and stops rings as QEMU does, and turns the back-end's requests into interrupts.
 *
 * Behind an IOMMU the guest's addresses are IOVAs. Guest-physical memory is then somewhere else (PHYSICAL), in pieces of another
 * order, and the translation table has an entry for each piece; nothing of it is sent before the back-end asks.
 */
#include "guest/link_vhost.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <vitrine/loop.h>

#include "transport/vhost_user/frontend.h"
#include "util/fd.h"

#define USER UINT64_C(0x7e0000000000)     /* what stands for guest-physical 0 in messages */
#define PHYSICAL UINT64_C(0x100000000000) /* where IOVA 0 would be in guest-physical memory, were the pieces in order */

static int told(struct vtr_guest_vhost *link, const char *what, int result)
{
	const char *why = result == -EREMOTEIO ? "the back-end refuses it" : strerror(-result);

	return result ? vtr_guest_fail(link->base.guest, -result, "%s failed: %s", what, why) : 0;
}

static bool has(const struct vtr_guest_vhost *link, enum vhost_user_protocol_feature feature)
{
	return vtr_vhost_user_agreed(link->frontend, feature);
}

static int link_socket(const struct vtr_guest_link *link)
{
	int connection, channel;

	vtr_vhost_user_frontend_fds(((const struct vtr_guest_vhost *)link)->frontend, &connection, &channel);
	return connection;
}

/* ---- memory ---- */

/* The area whose pieces are mixed, if it is one. */
static const struct vtr_guest_area *area_in_pieces(const struct vtr_guest *guest, uint64_t address, uint64_t size)
{
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++)
		if (guest->areas[i].pieces && guest->areas[i].address == address && guest->areas[i].size == size)
			return &guest->areas[i];
	return NULL;
}

static int translate(struct vtr_guest_vhost *link, uint64_t address, uint64_t size, bool writable)
{
	const struct vtr_guest_area *area = area_in_pieces(link->base.guest, address, size);
	uint64_t piece = area ? VTR_GUEST_IOMMU_PIECE : size;
	int result = 0;

	for (uint64_t at = 0; at < size && !result; at += piece) {
		uint64_t physical = area ? vtr_guest_area_piece(area, at / piece) * piece : 0;

		result = vtr_vhost_user_frontend_iotlb_add(link->frontend, address + at, piece, PHYSICAL + address + physical,
		                                           writable);
	}
	return result;
}

static int map(struct vtr_guest_link *link, uint64_t address, uint64_t size, int fd, uint64_t offset, bool writable)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	uint64_t physical = link->guest->options.iommu ? PHYSICAL + address : address;

	if (!writable && !link->guest->options.iommu)
		return told(vhost, "giving memory for reading only", -ENOTSUP);
	int result = vtr_vhost_user_frontend_add_memory(vhost->frontend, physical, size, USER + physical, fd, offset);
	if (result || !link->guest->options.iommu)
		return told(vhost, "giving memory", result);
	result = translate(vhost, address, size, writable);
	if (result)
		vtr_vhost_user_frontend_remove_memory(vhost->frontend, physical, size);
	return told(vhost, "giving memory", result);
}

static int unmap(struct vtr_guest_link *link, uint64_t address, uint64_t size)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	uint64_t physical = link->guest->options.iommu ? PHYSICAL + address : address;
	int result = 0;

	if (link->guest->options.iommu)
		result = vtr_vhost_user_frontend_iotlb_remove(vhost->frontend, address, size);
	if (!result)
		result = vtr_vhost_user_frontend_remove_memory(vhost->frontend, physical, size);
	return told(vhost, "taking memory away", result);
}

/* ---- the device's life ---- */

static int features(struct vtr_guest_link *link, uint64_t *offered)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);

	return told(vhost, "asking for the features", vtr_vhost_user_frontend_features(vhost->frontend, offered));
}

/* A ring that the back-end cannot go on with is for the driver a device that wants a reset. */
static int status(struct vtr_guest_link *link, uint8_t *value)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	int result = 0;

	*value = vhost->status;
	if (has(vhost, VHOST_USER_PROTOCOL_F_STATUS))
		result = told(vhost, "asking for the status", vtr_vhost_user_frontend_get_status(vhost->frontend, value));
	if (vhost->broken)
		*value |= VIRTIO_CONFIG_S_NEEDS_RESET;
	return result;
}

static int set_status(struct vtr_guest_link *link, uint8_t value)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);

	vhost->status = value;
	if (!has(vhost, VHOST_USER_PROTOCOL_F_STATUS))
		return 0;
	return told(vhost, "setting the status", vtr_vhost_user_frontend_set_status(vhost->frontend, value));
}

static void drain(int eventfd)
{
	uint64_t count;

	while (read(eventfd, &count, sizeof(count)) > 0)
		;
}

int vtr_guest_vhost_stop_queue(struct vtr_guest_vhost *link, unsigned index, uint32_t *base)
{
	int result = vtr_vhost_user_frontend_get_vring_base(link->frontend, index, base);

	if (!result)
		link->started &= ~(1u << index);
	return told(link, "stopping a ring", result);
}

static int reset(struct vtr_guest_link *link)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	uint64_t deadline = vtr_now_ns() + (uint64_t)link->guest->timeout_ms * 1000000;
	uint8_t value = 0;
	uint32_t base;
	int result = 0;

	for (unsigned i = 0; i < VTR_GUEST_QUEUES && !result; i++)
		if (vhost->started & 1u << i)
			result = vtr_guest_vhost_stop_queue(vhost, i, &base);
	if (!result)
		result = set_status(link, 0);
	if (!result && has(vhost, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		result = told(vhost, "RESET_DEVICE", vtr_vhost_user_frontend_reset(vhost->frontend));
	vhost->broken = false;
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++)
		drain(vhost->err_eventfds[i]);
	while (!result && !(result = status(link, &value)) && value) {
		if (vtr_now_ns() > deadline)
			return vtr_guest_fail(link->guest, ETIMEDOUT, "the status is 0x%02x after a reset", value);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return result;
}

static int negotiate(struct vtr_guest_link *link, uint64_t accepted)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	uint8_t value = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	int result = set_status(link, value);

	if (!result)
		result = vtr_vhost_user_frontend_set_features(vhost->frontend, accepted);
	if (result == -EREMOTEIO)
		result = -ENOTSUP;
	if (result)
		return vtr_guest_fail(link->guest, -result, "the device does not accept features 0x%llx: %s",
		                      (unsigned long long)accepted, strerror(-result));
	result = set_status(link, value | VIRTIO_CONFIG_S_FEATURES_OK);
	if (!result)
		result = status(link, &value);
	if (result || value & VIRTIO_CONFIG_S_FEATURES_OK)
		return result;
	return vtr_guest_fail(link->guest, ENOTSUP, "the device does not accept features 0x%llx", (unsigned long long)accepted);
}

/* Rings are enabled before the driver is ready, as QEMU does it. */
static int driver_ok(struct vtr_guest_link *link)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	int result = 0;

	for (unsigned i = 0; i < VTR_GUEST_QUEUES && !result; i++)
		if (vhost->started & 1u << i && vhost->enables)
			result = told(vhost, "enabling a ring", vtr_vhost_user_frontend_set_vring_enable(vhost->frontend, i, true));
	return result ? result : set_status(link, vhost->status | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* ---- queues ---- */

/* The protocol does not say: the VMM chooses, and a back-end that cannot refuses. */
static int queue_size(struct vtr_guest_link *link, unsigned index, uint64_t *entries)
{
	struct vtr_vhost_user_frontend_status numbers;

	vtr_vhost_user_frontend_status(vtr_guest_vhost_from_link(link)->frontend, &numbers);
	if (numbers.vrings && index >= numbers.vrings)
		return vtr_guest_fail(link->guest, EPROTO, "the device has %u queues in place of %u", numbers.vrings,
		                      VTR_GUEST_QUEUES);
	*entries = index == VTR_GUEST_CONTROL ? 256 : 16;
	return 0;
}

int vtr_guest_vhost_start_queue(struct vtr_guest_vhost *link, unsigned index, const struct vtr_guest_ring *ring, uint32_t base)
{
	struct vtr_vhost_user_frontend *frontend = link->frontend;
	int result = vtr_vhost_user_frontend_set_vring_num(frontend, index, ring->size);

	if (!result)
		result = vtr_vhost_user_frontend_set_vring_base(frontend, index, base);
	if (!result)
		result = vtr_vhost_user_frontend_set_vring_addr(frontend, index, ring->address, ring->avail_address,
		                                                ring->used_address);
	if (!result)
		result = vtr_vhost_user_frontend_set_vring_call(frontend, index, link->base.guest->queues[index].eventfd);
	if (!result)
		result = vtr_vhost_user_frontend_set_vring_err(frontend, index, link->err_eventfds[index]);
	if (!result)
		result = vtr_vhost_user_frontend_set_vring_kick(frontend, index, link->kick_eventfds[index]);
	if (!result)
		link->started |= 1u << index;
	return told(link, "starting a ring", result);
}

/* A queue that is set up while the driver is at work (after a queue reset) is enabled at once. */
static int start_queue(struct vtr_guest_link *link, unsigned index, const struct vtr_guest_ring *ring)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	int result = vtr_guest_vhost_start_queue(vhost, index, ring, 0);

	if (result || !(vhost->status & VIRTIO_CONFIG_S_DRIVER_OK) || !vhost->enables)
		return result;
	return told(vhost, "enabling a ring", vtr_vhost_user_frontend_set_vring_enable(vhost->frontend, index, true));
}

static int reset_queue(struct vtr_guest_link *link, unsigned index)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	uint32_t base;
	int result = 0;

	if (vhost->enables)
		result = told(vhost, "disabling a ring", vtr_vhost_user_frontend_set_vring_enable(vhost->frontend, index, false));
	return result ? result : vtr_guest_vhost_stop_queue(vhost, index, &base);
}

static int kick(struct vtr_guest_link *link, unsigned index)
{
	return eventfd_write(vtr_guest_vhost_from_link(link)->kick_eventfds[index], 1) < 0
	               ? vtr_guest_fail(link->guest, errno, "ringing the doorbell failed: %s", strerror(errno))
	               : 0;
}

/* ---- configuration ---- */

/* With a display socket the number of scanouts is the VMM's. */
static int read_config(struct vtr_guest_link *link, uint32_t offset, void *buffer, uint32_t size)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	struct virtio_gpu_config config = { 0 };
	int result = vtr_vhost_user_frontend_get_config(vhost->frontend, 0, &config, sizeof(config));

	if (!result && offset + size > sizeof(config))
		return told(vhost, "reading the configuration",
		            vtr_vhost_user_frontend_get_config(vhost->frontend, offset, buffer, size));
	if (vhost->display && !result)
		config.num_scanouts = VTR_GUEST_DISPLAY_SCANOUTS;
	if (!result)
		memcpy(buffer, (const uint8_t *)&config + offset, size);
	return told(vhost, "reading the configuration", result);
}

static int write_config(struct vtr_guest_link *link, uint32_t offset, const void *buffer, uint32_t size)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);

	return told(vhost, "writing the configuration", vtr_vhost_user_frontend_set_config(vhost->frontend, offset, buffer, size));
}

/* ---- waiting ---- */

static size_t fds(const struct vtr_guest_link *link, struct pollfd polled[])
{
	const struct vtr_guest_vhost *vhost = (const struct vtr_guest_vhost *)link;
	int connection, channel;

	vtr_vhost_user_frontend_fds(vhost->frontend, &connection, &channel);
	polled[0] = (struct pollfd){ .fd = connection, .events = POLLIN };
	polled[1] = (struct pollfd){ .fd = channel, .events = POLLIN };
	polled[2] = (struct pollfd){ .fd = vhost->display ? vtr_guest_display_fd(vhost->display) : -1, .events = POLLIN };
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++)
		polled[3 + i] = (struct pollfd){ .fd = vhost->err_eventfds[i], .events = POLLIN };
	return 3 + VTR_GUEST_QUEUES;
}

static int dispatch(struct vtr_guest_link *link, const struct pollfd polled[], size_t n)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);
	int result = 0;

	if (polled[0].revents || polled[1].revents)
		result = vtr_vhost_user_frontend_dispatch(vhost->frontend);
	if (result)
		return vtr_guest_fail(link->guest, -result, "the connection to the device broke: %s", strerror(-result));
	if (polled[2].revents)
		result = vtr_guest_display_dispatch(vhost->display);
	if (result)
		return vtr_guest_fail(link->guest, -result, "the display socket broke: %s", strerror(-result));
	for (size_t i = 3; i < n; i++) {
		if (!polled[i].revents)
			continue;
		drain(polled[i].fd);
		vhost->broken = true;
		link->guest->config_events++;
	}
	return 0;
}

/* ---- the back-end's requests ---- */

static void config_changed(void *data)
{
	struct vtr_guest_vhost *link = data;

	link->base.guest->config_events++;
}

static int iotlb_miss(void *data, uint64_t iova, bool write)
{
	struct vtr_guest_vhost *link = data;

	link->unknown_misses++;
	return link->holds_misses ? 0 : -EFAULT;
}

static const struct vtr_vhost_user_frontend_impl backend_requests = { .config_changed = config_changed, .iotlb_miss = iotlb_miss };

/* ---- open and close ---- */

static void destroy(struct vtr_guest_link *link)
{
	struct vtr_guest_vhost *vhost = vtr_guest_vhost_from_link(link);

	vtr_vhost_user_frontend_destroy(vhost->frontend);
	vtr_guest_display_destroy(vhost->display);
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++) {
		vtr_fd_close(&vhost->kick_eventfds[i]);
		vtr_fd_close(&vhost->err_eventfds[i]);
	}
	free(vhost);
}

static const struct vtr_guest_link_impl impl = {
	.name = "vhost-user",
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

static int make_eventfds(struct vtr_guest_vhost *link)
{
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++) {
		link->kick_eventfds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		link->err_eventfds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (link->kick_eventfds[i] < 0 || link->err_eventfds[i] < 0)
			return vtr_guest_fail(link->base.guest, errno, "no eventfd: %s", strerror(errno));
	}
	return 0;
}

static int give_display(struct vtr_guest_vhost *link)
{
	int socket = -1;

	link->display = vtr_guest_display_create(&socket);
	if (!link->display)
		return vtr_guest_fail(link->base.guest, errno, "no display socket: %s", strerror(errno));
	int result = vtr_vhost_user_frontend_gpu_set_socket(link->frontend, socket);
	vtr_fd_close(&socket);
	return told(link, "giving a display socket", result);
}

static int connect_backend(struct vtr_guest_vhost *link)
{
	const struct vtr_guest_options *options = &link->base.guest->options;
	const struct vtr_vhost_user_frontend_options frontend = {
		.timeout_ms = link->base.guest->timeout_ms, .without = options->without, .impl = &backend_requests, .data = link
	};

	link->frontend = vtr_vhost_user_frontend_connect(options->vhost_user, &frontend);
	if (!link->frontend) {
		bool nobody = errno == ENOENT || errno == ECONNREFUSED;

		return vtr_guest_fail(link->base.guest, errno, "cannot talk to a back-end at %s: %s%s%s", options->vhost_user,
		                      strerror(errno), nobody ? "; start one with: vitrine --vhost-user " : "",
		                      nobody ? options->vhost_user : "");
	}
	link->enables = link->frontend->offered & UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES;
	if (!has(link, VHOST_USER_PROTOCOL_F_CONFIG))
		return vtr_guest_fail(link->base.guest, ENOTSUP, "the back-end has no configuration space (CONFIG)");
	return options->display_socket ? give_display(link) : 0;
}

int vtr_guest_link_open_vhost(struct vtr_guest *guest)
{
	struct vtr_guest_vhost *link = calloc(1, sizeof(*link));

	if (!link)
		return vtr_guest_fail(guest, ENOMEM, "out of memory");
	*link = (struct vtr_guest_vhost){ .base = { &impl, guest }, .kick_eventfds = { -1, -1 }, .err_eventfds = { -1, -1 } };
	int result = make_eventfds(link);
	if (!result)
		result = connect_backend(link);
	if (link->frontend)
		guest->link = &link->base;
	else
		destroy(&link->base);
	return result;
}

struct vtr_guest_vhost *vtr_guest_vhost_of(struct vtr_guest *guest)
{
	return guest->link->impl == &impl ? vtr_guest_vhost_from_link(guest->link) : NULL;
}
