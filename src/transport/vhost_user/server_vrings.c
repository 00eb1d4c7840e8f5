/* SPDX-License-Identifier: MIT */
/*
 * What the front-end says of rings (SET_VRING_*, GET_VRING_BASE), and their kicks. What it means for the device is
 * server_rings.c's.
 *
 * Whatever the front-end sends as a kick fd, it costs at most one turn of the loop per kick: only eventfds are taken, they are
 * watched edge-triggered, and read without waiting. A ring without one is looked at every POLL_NS.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "transport/vhost_user/server.h"
#include "util/checked.h"
#include "util/eventfd.h"
#include "util/fd.h"

#define POLL_NS UINT64_C(2000000)

/* ---- kicks ---- */

static void on_kick(int fd, uint32_t events, void *data)
{
	struct vtr_vhost_user_ring *ring = data;

	vtr_eventfd_clear(fd);
	if (ring->running)
		vtr_virtio_serve(ring->server->device, ring->index);
}

void vtr_vhost_user_remove_kick(struct vtr_vhost_user_ring *ring)
{
	vtr_source_remove(ring->kick_source);
	ring->kick_source = NULL;
	vtr_fd_close(&ring->kick);
	ring->polled = false;
}

static void on_poll(void *data)
{
	struct vtr_vhost_user_server *server = data;
	bool again = false;

	for (unsigned i = 0; i < server->device->n_queues; i++)
		if (server->rings[i].running && server->rings[i].polled) {
			vtr_virtio_kick(server->device, i);
			again = true;
		}
	vtr_timer_arm(server->poll, again ? vtr_now_ns() + POLL_NS : 0);
}

struct vtr_source *vtr_vhost_user_poll_timer(struct vtr_vhost_user_server *server)
{
	return vtr_loop_add_timer(server->loop, on_poll, server);
}

/* ---- messages ---- */

static struct vtr_vhost_user_ring *find_ring(struct vtr_vhost_user_server *server, uint64_t index)
{
	return index < server->device->n_queues ? &server->rings[index] : NULL;
}

/* The ring that a vring state is of, and its number in *num; NULL: there is no such ring. */
static struct vtr_vhost_user_ring *decode_state(struct vtr_vhost_user_server *server, const struct vtr_vhost_user_request *request,
                                                uint32_t *num)
{
	struct vhost_user_vring_state state;

	memcpy(&state, request->payload, sizeof(state));
	*num = state.num;
	return find_ring(server, state.index);
}

int vtr_vhost_user_set_vring_num(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	uint32_t num;
	struct vtr_vhost_user_ring *ring = decode_state(server, request, &num);

	if (!ring || !vtr_is_power_of_two(num) || num > server->device->queues[ring->index].max_size)
		return -EINVAL;
	if (ring->running)
		return num == ring->size ? 0 : -EBUSY;
	ring->size = (uint16_t)num;
	return 0;
}

static bool same_rings(const struct vhost_user_vring_addr *a, const struct vhost_user_vring_addr *b)
{
	return a->descriptor == b->descriptor && a->available == b->available && a->used == b->used;
}

int vtr_vhost_user_set_vring_addr(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vtr_vhost_user_ring *ring;
	struct vhost_user_vring_addr addr;

	memcpy(&addr, request->payload, sizeof(addr));
	ring = find_ring(server, addr.index);
	/* virtio 1.3, 2.7; flags only ask for a log of what is written, which is not offered */
	if (!ring || addr.flags || addr.descriptor % 16 || addr.available % 2 || addr.used % 4)
		return -EINVAL;
	if (ring->running)
		return same_rings(&addr, &ring->addr) ? 0 : -EBUSY;
	ring->addr = addr;
	ring->addressed = true;
	ring->failed = false;
	return 0;
}

int vtr_vhost_user_set_vring_base(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	uint32_t num;
	struct vtr_vhost_user_ring *ring = decode_state(server, request, &num);

	if (!ring || num > UINT16_MAX)
		return -EINVAL;
	if (ring->running)
		return -EBUSY;
	ring->base = (uint16_t)num;
	return 0;
}

int vtr_vhost_user_get_vring_base(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	uint32_t num;
	struct vtr_vhost_user_ring *ring = decode_state(server, request, &num);
	struct vhost_user_vring_state state;

	if (!ring)
		return -EINVAL;
	ring->started = false;
	vtr_vhost_user_rings_update(server);
	vtr_vhost_user_remove_kick(ring);
	ring->failed = false;
	state = (struct vhost_user_vring_state){ .index = ring->index, .num = ring->base };
	memcpy(request->reply, &state, sizeof(state));
	request->reply_size = sizeof(state);
	return 0;
}

/* The ring that an eventfd is for, and *fd, the caller's now: -1 when none is to be. 0 or -errno. */
static int decode_fd(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request,
                     struct vtr_vhost_user_ring **ring, int *fd)
{
	struct vtr_message *message = request->message;
	uint64_t value;

	memcpy(&value, request->payload, sizeof(value));
	*ring = find_ring(server, value & VHOST_USER_VRING_INDEX_MASK);
	if (!*ring || value & ~(uint64_t)(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NOFD_MASK))
		return -EINVAL;
	if (message->n_fds != (value & VHOST_USER_VRING_NOFD_MASK ? 0 : 1))
		return -EINVAL;
	if (message->n_fds && !vtr_fd_is_eventfd(message->fds[0]))
		return -EINVAL;
	*fd = message->n_fds ? vtr_message_take_fd(message, 0) : -1;
	return 0;
}

int vtr_vhost_user_set_vring_kick(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vtr_vhost_user_ring *ring;
	int fd, error = decode_fd(server, request, &ring, &fd);

	if (error)
		return error;
	vtr_vhost_user_remove_kick(ring);
	if (fd >= 0) {
		ring->kick_source = vtr_loop_add_fd(server->loop, fd, EPOLLIN | EPOLLET, on_kick, ring);
		if (!ring->kick_source) {
			error = -errno;
			vtr_fd_close(&fd);
			return error;
		}
	}
	ring->kick = fd;
	ring->polled = fd < 0;
	ring->started = true;
	ring->failed = false;
	/* Whoever kicked the old one last may not have been heard. */
	if (ring->running)
		vtr_virtio_kick(server->device, ring->index);
	if (ring->running && ring->polled)
		vtr_timer_arm(server->poll, vtr_now_ns());
	return 0;
}

int vtr_vhost_user_set_vring_call(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vtr_vhost_user_ring *ring;
	int fd, error = decode_fd(server, request, &ring, &fd);

	if (error)
		return error;
	vtr_fd_close(&ring->call);
	vtr_eventfd_set_nonblocking(fd);
	ring->call = fd;
	if (ring->missed)
		vtr_vhost_user_signal_call(ring);
	return 0;
}

int vtr_vhost_user_set_vring_err(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vtr_vhost_user_ring *ring;
	int fd, error = decode_fd(server, request, &ring, &fd);

	if (error)
		return error;
	vtr_fd_close(&ring->err);
	vtr_eventfd_set_nonblocking(fd);
	ring->err = fd;
	if (ring->failed)
		vtr_eventfd_signal(fd);
	return 0;
}

int vtr_vhost_user_set_vring_enable(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	uint32_t num;
	struct vtr_vhost_user_ring *ring = decode_state(server, request, &num);

	if (!ring || num > 1)
		return -EINVAL;
	ring->enabled = num;
	ring->failed = ring->failed && ring->enabled;
	return 0;
}
