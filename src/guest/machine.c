/* SPDX-License-Identifier: MIT */
/*
 * A guest machine of one device: memory, the link to the device (link.h), two queues, and the waiting.
 *
 * Goals: drive the device as an operating system's driver does, whatever it is behind; let checks reach below that; never hang.
 * Each wait polls three things until a deadline: the interrupt it is about, the configuration interrupt (a device that asks for a
 * reset answers nothing any more), and the connection, on which the device may have requests of its own.
 *
 * Memory: commands, answers and indirect tables come from the system area's arena, which vtr_guest_start() empties. A synchronous
 * command gives its part back when it was answered; one that timed out keeps it, as the device may still write there.
 *
 * States: open (memory given) -> started (DRIVER_OK) -> open again by a reset. A lost connection stays lost:
 * the caller opens a new guest.
 *
 * Threads: none. Limits: VTR_GUEST_RING_MAX entries a ring; the areas' fixed sizes.
 */
#include "guest/machine.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/loop.h>

#include "util/fd.h"

enum {
	DEFAULT_TIMEOUT_MS = 10000,
	PAGE = 4096,
};

/* What a driver without 3D knows how to use; more is never accepted. */
static const uint64_t known_features = UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
                                       UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | UINT64_C(1) << VIRTIO_F_RING_RESET |
                                       UINT64_C(1) << VIRTIO_F_ACCESS_PLATFORM | UINT64_C(1) << VIRTIO_GPU_F_EDID |
                                       UINT64_C(1) << VIRTIO_GPU_F_RESOURCE_UUID | UINT64_C(1) << VIRTIO_GPU_F_RESOURCE_BLOB;
/* And one with it (guest->three_d). */
static const uint64_t known_3d_features = UINT64_C(1) << VIRTIO_GPU_F_VIRGL | UINT64_C(1) << VIRTIO_GPU_F_CONTEXT_INIT;

int vtr_guest_fail(struct vtr_guest *guest, int code, const char *format, ...)
{
	va_list arguments;

	guest->failure = (struct vtr_error){ .owner = VTR_ERROR_HOST, .code = code };
	va_start(arguments, format);
	vsnprintf(guest->failure.text, sizeof(guest->failure.text), format, arguments);
	va_end(arguments);
	return -code;
}

const char *vtr_guest_error(const struct vtr_guest *guest)
{
	return guest->failure.text;
}

uint64_t vtr_guest_features(const struct vtr_guest *guest)
{
	return guest->features;
}

bool vtr_guest_connected(const struct vtr_guest *guest)
{
	return guest->link->impl->socket(guest->link) >= 0 &&
	       (!guest->assigned || vtr_vfio_user_client_fd(guest->assigned->client) >= 0);
}

uint32_t vtr_guest_peer_pid(const struct vtr_guest *guest)
{
	struct ucred peer = { 0 };
	socklen_t length = sizeof(peer);

	if (guest->options.pid)
		return guest->options.pid;
	if (getsockopt(guest->link->impl->socket(guest->link), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.pid < 0)
		return 0;
	return (uint32_t)peer.pid;
}

/* ---- what the device says ---- */

uint64_t vtr_guest_offered(struct vtr_guest *guest)
{
	uint64_t offered = 0;

	return guest->link->impl->features(guest->link, &offered) ? 0 : offered;
}

uint8_t vtr_guest_status(struct vtr_guest *guest)
{
	uint8_t status = 0;

	return guest->link->impl->status(guest->link, &status) ? 0 : status;
}

uint32_t vtr_guest_config(struct vtr_guest *guest, uint32_t offset)
{
	uint32_t value = 0;

	return guest->link->impl->read_config(guest->link, offset, &value, sizeof(value)) ? 0 : value;
}

/* ---- open and close ---- */

static int make_memory(struct vtr_guest *guest)
{
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++) {
		bool own = i != VTR_GUEST_BAR || !guest->options.assign;
		int result = own ? vtr_guest_area_init(&guest->areas[i], i, guest->options.iommu) : 0;

		if (result)
			return vtr_guest_fail(guest, -result, "no memory for the guest: %s", strerror(-result));
	}
	return 0;
}

static int make_eventfds(struct vtr_guest *guest)
{
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++) {
		guest->queues[i].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (guest->queues[i].eventfd < 0)
			return vtr_guest_fail(guest, errno, "no eventfd: %s", strerror(errno));
	}
	return 0;
}

static int connect_and_map(struct vtr_guest *guest)
{
	int result = make_memory(guest);

	if (!result)
		result = make_eventfds(guest);
	if (!result && guest->options.assign)
		result = vtr_guest_assigned_open(guest, guest->options.assign);
	if (!result)
		result = guest->options.vhost_user ? vtr_guest_link_open_vhost(guest) : vtr_guest_link_open_pci(guest);
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT && !result; i++)
		if (vtr_guest_has_memory(guest, i))
			result = vtr_guest_map(guest, i);
	return result;
}

struct vtr_guest *vtr_guest_open(const struct vtr_guest_options *options, struct vtr_error *error)
{
	struct vtr_guest *guest = calloc(1, sizeof(*guest));

	if (!guest) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory");
		return NULL;
	}
	guest->options = *options;
	guest->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++)
		guest->queues[i].eventfd = -1;
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++)
		guest->areas[i].memfd = -1;

	int result = connect_and_map(guest);
	if (result) {
		vtr_error_set(error, VTR_ERROR_HOST, -result, "%s", guest->failure.text);
		vtr_guest_close(guest);
		errno = -result;
		return NULL;
	}
	return guest;
}

void vtr_guest_close(struct vtr_guest *guest)
{
	if (!guest)
		return;
	if (guest->link)
		guest->link->impl->destroy(guest->link);
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++)
		vtr_guest_area_finish(&guest->areas[i]);
	vtr_guest_assigned_close(guest);
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++)
		vtr_fd_close(&guest->queues[i].eventfd);
	free(guest);
}

/* ---- start and stop ---- */

int vtr_guest_lay_queue(struct vtr_guest *guest, enum vtr_guest_queue_index index, enum vtr_guest_memory memory)
{
	uint64_t limit = guest->queue_limit ? guest->queue_limit : VTR_GUEST_RING_MAX, size;
	int result = guest->link->impl->queue_size(guest->link, index, &size);

	if (result)
		return result;
	if (!size || (size & (size - 1)))
		return vtr_guest_fail(guest, EPROTO, "queue %d has %u entries, which is no power of two", index, (unsigned)size);
	if (size > limit)
		size = limit;
	size_t bytes = vtr_guest_ring_bytes((uint16_t)size);
	uint64_t address = vtr_guest_area_alloc(&guest->areas[memory], bytes, PAGE);
	if (!address)
		return vtr_guest_fail(guest, ENOMEM, "the %s area is full", vtr_guest_memory_name(memory));
	if (!vtr_guest_data(guest, address, bytes))
		return vtr_guest_fail(guest, ENOTSUP, "the %s area cannot be mapped: no ring can be in it",
		                      vtr_guest_memory_name(memory));
	vtr_guest_ring_init(&guest->queues[index].ring, vtr_guest_data(guest, address, bytes), address, (uint16_t)size,
	                    guest->features & UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
	return 0;
}

int vtr_guest_setup_queue(struct vtr_guest *guest, enum vtr_guest_queue_index index, enum vtr_guest_memory memory)
{
	int result = vtr_guest_lay_queue(guest, index, memory);

	return result ? result : guest->link->impl->start_queue(guest->link, index, &guest->queues[index].ring);
}

static void drain(int eventfd)
{
	uint64_t count;

	while (read(eventfd, &count, sizeof(count)) > 0)
		;
}

int vtr_guest_stop(struct vtr_guest *guest)
{
	int result = guest->link->impl->reset(guest->link);

	if (result)
		return result;
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++)
		guest->areas[i].used = 0;
	guest->features = 0;
	for (unsigned i = 0; i < VTR_GUEST_QUEUES; i++)
		drain(guest->queues[i].eventfd); /* what was pending belongs to the life before */
	return 0;
}

/* What of the wish can be. */
static int choose_features(struct vtr_guest *guest, uint64_t wanted, uint64_t *features)
{
	const uint64_t platform = UINT64_C(1) << VIRTIO_F_ACCESS_PLATFORM, version_1 = UINT64_C(1) << VIRTIO_F_VERSION_1;
	uint64_t offered;
	int result = guest->link->impl->features(guest->link, &offered);

	if (result)
		return result;
	if (!(offered & version_1))
		return vtr_guest_fail(guest, EPROTO, "the device does not offer VERSION_1");
	*features = offered & (known_features | (guest->three_d ? known_3d_features : 0)) & (wanted | version_1);
	if (!guest->options.iommu && guest->options.vhost_user)
		*features &= ~platform; /* there would be nobody to translate */
	if (!guest->options.iommu)
		return 0;
	*features |= platform;
	return offered & platform ? 0 : vtr_guest_fail(guest, ENOTSUP, "the device does not offer ACCESS_PLATFORM");
}

int vtr_guest_start_in(struct vtr_guest *guest, uint64_t wanted, enum vtr_guest_memory rings)
{
	uint64_t features = 0;
	int result = vtr_guest_stop(guest);

	if (!result)
		result = choose_features(guest, wanted, &features);
	if (!result)
		result = guest->link->impl->negotiate(guest->link, features);
	if (result)
		return result;
	guest->features = features;
	for (unsigned i = 0; i < VTR_GUEST_QUEUES && !result; i++)
		result = vtr_guest_setup_queue(guest, i, rings);
	return result ? result : guest->link->impl->driver_ok(guest->link);
}

int vtr_guest_start(struct vtr_guest *guest, uint64_t features)
{
	return vtr_guest_start_in(guest, features, VTR_GUEST_SYSTEM);
}

/* ---- commands ---- */

/* Cuts bytes at address into pages, as a driver's scatter list does, or into larger pieces when the ring is too small for that. */
static size_t cut(struct vtr_guest_segment *segments, size_t room, uint64_t address, size_t bytes, bool device_writes)
{
	size_t piece = PAGE, n = 0;

	while ((bytes + piece - 1) / piece > room)
		piece *= 2;
	for (; bytes; n++) {
		size_t length = bytes < piece ? bytes : piece;

		segments[n] = (struct vtr_guest_segment){ address, (uint32_t)length, device_writes };
		address += length;
		bytes -= length;
	}
	return n;
}

static int add_chain(struct vtr_guest *guest, struct vtr_guest_ring *ring, const struct vtr_guest_segment *segments, size_t n)
{
	if (n < 2 || !(guest->features & UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC))
		return vtr_guest_ring_add(ring, segments, n);

	uint64_t table = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_SYSTEM], n * sizeof(struct vring_desc), 16);
	if (!table)
		return -ENOMEM;
	return vtr_guest_ring_add_indirect(ring, vtr_guest_data(guest, table, n * sizeof(struct vring_desc)), table, segments, n);
}

int vtr_guest_post(struct vtr_guest *guest, enum vtr_guest_queue_index index, struct vtr_guest_message *message,
                   const void *request, size_t request_size, size_t response_size)
{
	struct vtr_guest_area *area = &guest->areas[VTR_GUEST_SYSTEM];
	struct vtr_guest_segment *segments = calloc(VTR_MAX_CHAIN, sizeof(*segments));
	bool indirect = guest->features & UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC;
	size_t room = indirect ? VTR_MAX_CHAIN / 2 : guest->queues[index].ring.size / 2;

	if (!segments)
		return vtr_guest_fail(guest, ENOMEM, "out of memory");
	*message = (struct vtr_guest_message){
		.request = vtr_guest_area_alloc(area, request_size, 16),
		.response = vtr_guest_area_alloc(area, response_size, 16),
		.request_size = request_size,
		.response_size = response_size,
		.head = -ENOMEM,
	};
	if (message->request && message->response) {
		memcpy(vtr_guest_data(guest, message->request, request_size), request, request_size);
		if (response_size)
			memset(vtr_guest_data(guest, message->response, response_size), 0, response_size);
		size_t n = cut(segments, room, message->request, request_size, false);
		n += cut(segments + n, room, message->response, response_size, true);
		message->head = add_chain(guest, &guest->queues[index].ring, segments, n);
	}
	free(segments);
	return message->head < 0 ? vtr_guest_fail(guest, -message->head, "no room for a command: %s", strerror(-message->head)) : 0;
}

int vtr_guest_kick(struct vtr_guest *guest, enum vtr_guest_queue_index index, bool always)
{
	if (!vtr_guest_ring_needs_kick(&guest->queues[index].ring) && !always)
		return 0;
	return guest->link->impl->kick(guest->link, index);
}

static int dispatch_assigned(struct vtr_guest *guest)
{
	int result = vtr_vfio_user_client_dispatch(guest->assigned->client);

	return result ? vtr_guest_fail(guest, -result, "the connection to the assigned device broke: %s", strerror(-result)) : 0;
}

/* Waits for an interrupt on fd (-1: none) or a configuration interrupt, serving the devices' requests meanwhile; returns after each
 * thing that happened. 0, -ETIMEDOUT at the deadline, -ENOTCONN, ... */
static int wait_interrupt(struct vtr_guest *guest, int fd, uint64_t deadline_ns)
{
	enum { QUEUE, ASSIGNED, LINK, MAX = LINK + VTR_GUEST_LINK_FDS };
	struct vtr_vfio_user_client *assigned = guest->assigned ? guest->assigned->client : NULL;
	uint64_t now = vtr_now_ns();
	struct pollfd fds[MAX] = {
		[QUEUE] = { .fd = fd, .events = POLLIN },
		[ASSIGNED] = { .fd = assigned ? vtr_vfio_user_client_fd(assigned) : -1, .events = POLLIN },
	};

	if (!vtr_guest_connected(guest))
		return vtr_guest_fail(guest, ENOTCONN, "the %s closed the connection",
		                      guest->link->impl->socket(guest->link) < 0 ? "device" : "assigned device");
	if (now >= deadline_ns)
		return -ETIMEDOUT;
	size_t n = guest->link->impl->fds(guest->link, &fds[LINK]);
	int ready = poll(fds, LINK + n, (int)((deadline_ns - now + 999999) / 1000000));
	if (ready < 0 && errno != EINTR)
		return vtr_guest_fail(guest, errno, "poll failed: %s", strerror(errno));
	if (ready <= 0)
		return 0;
	int result = guest->link->impl->dispatch(guest->link, &fds[LINK], n);
	if (!result && fds[ASSIGNED].revents)
		result = dispatch_assigned(guest);
	if (!result && fds[QUEUE].revents)
		drain(fd);
	return result;
}

static bool needs_reset(struct vtr_guest *guest)
{
	return vtr_guest_status(guest) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

int vtr_guest_collect(struct vtr_guest *guest, enum vtr_guest_queue_index index, uint16_t *head, uint32_t *written, int timeout_ms)
{
	struct vtr_guest_queue *queue = &guest->queues[index];
	uint64_t deadline = vtr_now_ns() + (uint64_t)timeout_ms * 1000000;

	for (;;) {
		int result = vtr_guest_ring_take(&queue->ring, head, written);

		if (result < 0)
			return vtr_guest_fail(guest, EPROTO,
			                      "the used ring of queue %d names a chain that the device was not given", index);
		if (result > 0)
			return 0;
		if (!vtr_guest_ring_want_interrupt(&queue->ring))
			continue;
		uint64_t events = guest->config_events;
		result = wait_interrupt(guest, queue->eventfd, deadline);
		if (result == -ETIMEDOUT)
			return vtr_guest_fail(guest, ETIMEDOUT, "the device did not answer within %d ms", timeout_ms);
		if (result)
			return result;
		if (guest->config_events != events && needs_reset(guest))
			return vtr_guest_fail(guest, EIO, "the device asks for a reset (DEVICE_NEEDS_RESET)");
	}
}

long vtr_guest_exchange(struct vtr_guest *guest, enum vtr_guest_queue_index index, const void *request, size_t request_size,
                        void *response, size_t response_size)
{
	struct vtr_guest_message message;
	uint64_t mark = guest->areas[VTR_GUEST_SYSTEM].used;
	uint32_t written;
	uint16_t head;
	int result = vtr_guest_post(guest, index, &message, request, request_size, response_size);

	if (!result)
		result = vtr_guest_kick(guest, index, false);
	if (!result)
		result = vtr_guest_collect(guest, index, &head, &written, guest->timeout_ms);
	if (result)
		return result;
	if (head != message.head)
		return vtr_guest_fail(guest, EPROTO, "the device answered another command than the one that waits");
	if (written > response_size)
		return vtr_guest_fail(guest, EPROTO, "the device says it wrote %u bytes into room for %zu", written, response_size);
	if (response_size)
		memcpy(response, vtr_guest_data(guest, message.response, response_size), response_size);
	guest->areas[VTR_GUEST_SYSTEM].used = mark;
	return written;
}

long vtr_guest_command(struct vtr_guest *guest, const void *request, size_t request_size, void *response, size_t response_size)
{
	return vtr_guest_exchange(guest, VTR_GUEST_CONTROL, request, request_size, response, response_size);
}

int vtr_guest_wait_config(struct vtr_guest *guest, uint64_t seen, int timeout_ms)
{
	uint64_t deadline = vtr_now_ns() + (uint64_t)timeout_ms * 1000000;

	while (guest->config_events <= seen) {
		int result = wait_interrupt(guest, -1, deadline);

		if (result == -ETIMEDOUT)
			return vtr_guest_fail(guest, ETIMEDOUT, "no configuration interrupt within %d ms", timeout_ms);
		if (result)
			return result;
	}
	return 0;
}

int vtr_guest_wait_event(struct vtr_guest *guest, int eventfd, int timeout_ms)
{
	return wait_interrupt(guest, eventfd, vtr_now_ns() + (uint64_t)timeout_ms * 1000000);
}

int vtr_guest_idle(struct vtr_guest *guest, int ms)
{
	uint64_t deadline = vtr_now_ns() + (uint64_t)ms * 1000000;
	int result;

	do {
		result = wait_interrupt(guest, -1, deadline);
	} while (!result);
	return result == -ETIMEDOUT ? 0 : result;
}
