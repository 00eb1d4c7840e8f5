/* SPDX-License-Identifier: MIT */
/*
 * Rings, and when the device is live.
 *
 * The front-end describes each ring with messages in almost any order. What it said is kept here; the device's queue runs while all
 * that it takes is there ("Ring states"): the ring is started (SET_VRING_KICK, until GET_VRING_BASE), enabled (SET_VRING_ENABLE, or
 * from the beginning when VHOST_USER_F_PROTOCOL_FEATURES was not negotiated), has addresses, and the driver is ready. Where STATUS
 * is negotiated and tells of a driver, that is DRIVER_OK. QEMU negotiates it for all its vhost-user devices, but tells some of
 * FEATURES_OK and nothing else, ever; there, and without STATUS, a ring that would run says that its driver is ready. After each
 * message that changes one of these vtr_vhost_user_rings_update() starts and stops queues accordingly. A ring that is disabled is
 * left alone: of a request that is not to have side effects nothing may be done yet, and dropping it would lose a picture.
 *
 * What the virtio device itself is told, features and status, is told when the first ring starts, all at once. Until then a device
 * whose last guest is gone goes on showing that one's picture.
 *
 * Stopped or reset? A VMM that pauses its guest stops all rings and, where it can, sets the status to 0, exactly as for a driver
 * that resets the device; but the driver of a paused guest will go on as if nothing had been. So the state of the device outlives
 * its rings, and what happened shows when they start again: where the rings go on where they stopped, with the same features, so
 * does the device; otherwise the driver is a new one, and the device is reset. RESET_DEVICE resets at once, and so does a status of
 * 0 from a front-end that did not negotiate RESET_DEVICE and has no other word for it. (A new driver begins at 0. Where the last
 * one stopped there after a multiple of 65536 commands, and no RESET_DEVICE came, it is taken for the last one.)
 */
#include "transport/vhost_user/server.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "util/eventfd.h"
#include "util/fd.h"

/* ---- interrupts ---- */

void vtr_vhost_user_signal_call(struct vtr_vhost_user_ring *ring)
{
	ring->missed = ring->call < 0;
	vtr_eventfd_signal(ring->call);
}

/* Says once for each start that the ring does not work. */
static void report_failure(struct vtr_vhost_user_ring *ring)
{
	if (!ring->failed)
		vtr_eventfd_signal(ring->err);
	ring->failed = true;
}

static void interrupt_queue(void *data, unsigned queue)
{
	vtr_vhost_user_signal_call(&((struct vtr_vhost_user_server *)data)->rings[queue]);
}

static void tell_config(struct vtr_vhost_user_server *server);

static void on_config_told(int result, void *data)
{
	struct vtr_vhost_user_server *server = data;

	server->telling_config = false;
	tell_config(server);
}

/* One message at a time where there are replies: what changes meanwhile is told together. A device that is suspended is silent
 * ("Suspended device state"). */
static void tell_config(struct vtr_vhost_user_server *server)
{
	if (!server->config_changed || server->telling_config || !server->status.rings ||
	    !vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_CONFIG))
		return;
	server->telling_config = vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	int error = vtr_vhost_user_ask(server, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, NULL, 0, -1, on_config_told, server);
	if (error)
		server->telling_config = false;
	else
		server->config_changed = false;
}

/* The configuration has changed, or the device has found a ring broken. */
static void interrupt_config(void *data)
{
	struct vtr_vhost_user_server *server = data;

	server->config_changed = true;
	tell_config(server);
	for (unsigned i = 0; i < server->device->n_queues; i++)
		if (server->rings[i].running && server->device->queues[i].broken)
			report_failure(&server->rings[i]);
}

static void tell_object(struct vtr_vhost_user_server *server, uint32_t request, const uint8_t uuid[16])
{
	if (vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_SHARED_OBJECT))
		vtr_vhost_user_ask(server, request, uuid, sizeof(struct vhost_user_shared), -1, NULL, NULL);
}

static void object_added(void *data, const uint8_t uuid[16])
{
	tell_object(data, VHOST_USER_BACKEND_SHARED_OBJECT_ADD, uuid);
}

/* Also by a device that is reset, when its rings have stopped: nobody else will take the name out of the front-end's table. */
static void object_removed(void *data, const uint8_t uuid[16])
{
	tell_object(data, VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE, uuid);
}

const struct vtr_virtio_transport_impl vtr_vhost_user_transport = {
	.interrupt_queue = interrupt_queue,
	.interrupt_config = interrupt_config,
	.object_added = object_added,
	.object_removed = object_removed,
	.shm_map = vtr_vhost_user_shm_map,
	.shm_unmap = vtr_vhost_user_shm_unmap,
};

/* ---- the device ---- */

static uint64_t virtio_features(const struct vtr_vhost_user_server *server)
{
	return server->features & ~VTR_VHOST_USER_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
}

/* As far as the front-end says anything about its driver. */
static bool driver_is_ready(const struct vtr_vhost_user_server *server)
{
	const uint8_t status = server->device_status;

	if (!vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_STATUS))
		return true;
	if (server->status_reset || status & VIRTIO_CONFIG_S_FAILED)
		return false;
	return status & VIRTIO_CONFIG_S_DRIVER_OK || !(status & VIRTIO_CONFIG_S_DRIVER);
}

/* Do the rings go on where they stopped? Not those of a device that needs a reset: it may have stopped where a new driver begins.
 */
static bool goes_on(const struct vtr_vhost_user_server *server)
{
	const uint8_t status = vtr_virtio_status(server->device) & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);

	if (server->fresh || status != VIRTIO_CONFIG_S_DRIVER_OK ||
	    vtr_virtio_driver_features(server->device) != virtio_features(server))
		return false;
	for (unsigned i = 0; i < server->device->n_queues; i++)
		if (server->rings[i].base != server->rings[i].stopped)
			return false;
	return true;
}

/* Brings the device to where queues can be started: a new one to FEATURES_OK, one that was suspended as it is. */
static int wake_device(struct vtr_vhost_user_server *server)
{
	const uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	if (goes_on(server))
		return 0;
	vtr_virtio_reset(server->device);
	vtr_vhost_user_state_reset(&server->state);
	for (unsigned i = 0; i < server->device->n_queues; i++)
		server->rings[i].stopped = 0;
	server->fresh = server->config_changed = false;
	vtr_virtio_set_status(server->device, status);
	if (vtr_virtio_set_driver_features(server->device, virtio_features(server)) < 0)
		return -EINVAL;
	vtr_virtio_set_status(server->device, status | VIRTIO_CONFIG_S_FEATURES_OK);
	return 0;
}

/* ---- starting and stopping ---- */

static int place(const struct vtr_vhost_user_server *server, const struct vtr_vhost_user_ring *ring, struct vtr_virtqueue *queue)
{
	const uint64_t size = ring->size;
	int error;

	queue->size = ring->size;
	if (server->iotlb.active) { /* IOVAs, asked for when the ring is used */
		queue->desc = ring->addr.descriptor;
		queue->avail = ring->addr.available;
		queue->used = ring->addr.used;
		return 0;
	}
	error = vtr_vhost_user_mem_table_to_gpa(&server->table, ring->addr.descriptor, size * sizeof(struct vring_desc),
	                                        &queue->desc);

	if (!error)
		error = vtr_vhost_user_mem_table_to_gpa(&server->table, ring->addr.available, (size + 3) * sizeof(__virtio16),
		                                        &queue->avail);
	if (!error)
		error = vtr_vhost_user_mem_table_to_gpa(&server->table, ring->addr.used,
		                                        size * sizeof(struct vring_used_elem) + 3 * sizeof(__virtio16),
		                                        &queue->used);
	return error;
}

static void start_ring(struct vtr_vhost_user_server *server, struct vtr_vhost_user_ring *ring)
{
	int error = place(server, ring, &server->device->queues[ring->index]);

	ring->failed = false;
	if (!error)
		error = vtr_virtio_resume_queue(server->device, ring->index, ring->base);
	if (error) {
		vtr_log_limited(&server->log_limit, VTR_LOG_DEBUG, "vhost-user: ring %u cannot start: %s", ring->index,
		                error == -EFAULT ? "its addresses are not in the memory table" : strerror(-error));
		report_failure(ring);
		return;
	}
	vtr_vhost_user_state_track(&server->state, ring->index);
	ring->running = true;
	server->status.rings |= 1u << ring->index;
	if (ring->polled)
		vtr_timer_arm(server->poll, vtr_now_ns());
}

static void stop_ring(struct vtr_vhost_user_server *server, struct vtr_vhost_user_ring *ring)
{
	ring->base = ring->stopped = vtr_virtio_stop_queue(server->device, ring->index);
	ring->running = false;
	server->status.rings &= ~(1u << ring->index);
}

static bool should_run(const struct vtr_vhost_user_server *server, const struct vtr_vhost_user_ring *ring)
{
	return ring->started && ring->enabled && ring->addressed && driver_is_ready(server);
}

void vtr_vhost_user_rings_update(struct vtr_vhost_user_server *server)
{
	bool awake = server->status.rings != 0;

	for (unsigned i = 0; i < server->device->n_queues; i++)
		if (server->rings[i].running && !should_run(server, &server->rings[i]))
			stop_ring(server, &server->rings[i]);
	for (unsigned i = 0; i < server->device->n_queues; i++) {
		struct vtr_vhost_user_ring *ring = &server->rings[i];

		if (ring->running || ring->failed || !should_run(server, ring))
			continue;
		if (!awake && wake_device(server) < 0) {
			vtr_log_limited(&server->log_limit, VTR_LOG_WARN,
			                "vhost-user: the driver's features 0x%llx cannot be served: VERSION_1 is required",
			                (unsigned long long)server->features);
			report_failure(ring);
			return;
		}
		awake = true;
		start_ring(server, ring);
	}
	if (awake && !server->status.rings)
		vtr_vhost_user_iotlb_forget_all(&server->iotlb); /* who is suspended hears of no invalidations */
	if (!server->status.rings)
		return;
	vtr_virtio_set_status(server->device, vtr_virtio_status(server->device) | VIRTIO_CONFIG_S_DRIVER_OK);
	tell_config(server);
}

void vtr_vhost_user_enable_all(struct vtr_vhost_user_server *server)
{
	for (unsigned i = 0; i < server->device->n_queues; i++)
		server->rings[i].enabled = true;
}

void vtr_vhost_user_rings_init(struct vtr_vhost_user_server *server)
{
	for (unsigned i = 0; i < server->device->n_queues; i++)
		server->rings[i] = (struct vtr_vhost_user_ring){
			.server = server,
			.index = i,
			.size = server->device->queues[i].max_size,
			.kick = -1,
			.call = -1,
			.err = -1,
		};
	server->status.rings = 0;
}

void vtr_vhost_user_rings_reset(struct vtr_vhost_user_server *server)
{
	for (unsigned i = 0; i < server->device->n_queues; i++) {
		vtr_vhost_user_remove_kick(&server->rings[i]);
		vtr_fd_close(&server->rings[i].call);
		vtr_fd_close(&server->rings[i].err);
	}
	vtr_timer_arm(server->poll, 0);
	vtr_vhost_user_rings_init(server);
}

void vtr_vhost_user_reset_device(struct vtr_vhost_user_server *server)
{
	vtr_virtio_reset(server->device);
	vtr_vhost_user_state_reset(&server->state);
	server->fresh = false;
	vtr_vhost_user_rings_reset(server);
	if (!(server->features & VTR_VHOST_USER_BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
		vtr_vhost_user_enable_all(server);
}
