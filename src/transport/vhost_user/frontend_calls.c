/* SPDX-License-Identifier: MIT */
/*
 * What a front-end can ask of the back-end: each function makes one request, when its protocol feature is agreed on, and checks
 * what its reply says of itself.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/stat.h>

#include "transport/vhost_user/frontend.h"
#include "util/checked.h"

enum { MAX_VRING_SIZE = 32768 };

static int finish_sound(struct vtr_vhost_user_frontend *frontend, struct vtr_vhost_user_call *call, bool sound)
{
	vtr_message_finish(&call->message);
	return sound ? 0 : vtr_vhost_user_distrust(frontend);
}

bool vtr_vhost_user_started(const struct vtr_vhost_user_frontend *frontend)
{
	/* QEMU starts rings before it says DRIVER_OK */
	return frontend->status & VIRTIO_CONFIG_S_DRIVER_OK || frontend->active & frontend->kicked;
}

/* ---- features ---- */

int vtr_vhost_user_frontend_features(struct vtr_vhost_user_frontend *frontend, uint64_t *features)
{
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_GET_FEATURES, .reply = true, .min_reply = sizeof(*features), .max_reply = sizeof(*features)
	};
	int error = vtr_vhost_user_call(frontend, &call);

	if (error)
		return error;
	memcpy(features, call.payload, sizeof(*features));
	*features &= ~(UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES);
	return finish_sound(frontend, &call, true);
}

int vtr_vhost_user_frontend_set_features(struct vtr_vhost_user_frontend *frontend, uint64_t features)
{
	bool platform = features & UINT64_C(1) << VIRTIO_F_ACCESS_PLATFORM;
	bool can = vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_BACKEND_REQ) &&
	           vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_REPLY_ACK);

	if (platform && !can)
		return -ENOTSUP;
	features |= frontend->offered & UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES;
	int error = vtr_vhost_user_tell(frontend, VHOST_USER_SET_FEATURES, &features, sizeof(features), NULL, 0);
	if (!error)
		frontend->access_platform = platform;
	return error;
}

/* ---- rings ---- */

static int tell_vring(struct vtr_vhost_user_frontend *frontend, uint32_t request, uint32_t index, uint32_t num)
{
	const struct vhost_user_vring_state state = { index, num };

	return index < VTR_VHOST_USER_MAX_VRINGS ? vtr_vhost_user_tell(frontend, request, &state, sizeof(state), NULL, 0) : -EINVAL;
}

int vtr_vhost_user_frontend_set_vring_num(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint32_t num)
{
	return tell_vring(frontend, VHOST_USER_SET_VRING_NUM, index, num);
}

int vtr_vhost_user_frontend_set_vring_base(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint32_t base)
{
	return tell_vring(frontend, VHOST_USER_SET_VRING_BASE, index, base);
}

int vtr_vhost_user_frontend_set_vring_enable(struct vtr_vhost_user_frontend *frontend, uint32_t index, bool enable)
{
	int error = frontend->offered & UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES
	                    ? tell_vring(frontend, VHOST_USER_SET_VRING_ENABLE, index, enable)
	                    : -ENOTSUP;

	if (!error)
		frontend->active = (frontend->active & ~(1u << index)) | (uint32_t)enable << index;
	return error;
}

int vtr_vhost_user_frontend_get_vring_base(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint32_t *base)
{
	struct vhost_user_vring_state state = { index, 0 };
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_GET_VRING_BASE,
		.body = &(struct iovec){ &state, sizeof(state) },
		.n_body = 1,
		.reply = true,
		.min_reply = sizeof(state),
		.max_reply = sizeof(state),
	};

	if (index >= VTR_VHOST_USER_MAX_VRINGS)
		return -EINVAL;
	int error = vtr_vhost_user_call(frontend, &call);
	if (error)
		return error;
	memcpy(&state, call.payload, sizeof(state));
	*base = state.num;
	frontend->kicked &= ~(1u << index);
	return finish_sound(frontend, &call, state.index == index && state.num <= UINT16_MAX);
}

int vtr_vhost_user_frontend_set_vring_addr(struct vtr_vhost_user_frontend *frontend, uint32_t index, uint64_t descriptor,
                                           uint64_t available, uint64_t used)
{
	struct vhost_user_vring_addr addr = { .index = index };
	const uint64_t addresses[] = { descriptor, available, used };
	__u64 *const fields[] = { &addr.descriptor, &addr.available, &addr.used };

	if (index >= VTR_VHOST_USER_MAX_VRINGS)
		return -EINVAL;
	for (size_t i = 0; i < 3; i++) {
		uint64_t in_messages, left;
		bool known =
			!frontend->access_platform && vtr_vhost_user_message_address(frontend, addresses[i], &in_messages, &left);

		*fields[i] = known ? in_messages : addresses[i];
	}
	return vtr_vhost_user_tell(frontend, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static int tell_eventfd(struct vtr_vhost_user_frontend *frontend, uint32_t request, uint32_t index, int eventfd)
{
	uint64_t value = index | (eventfd < 0 ? (uint64_t)VHOST_USER_VRING_NOFD_MASK : 0);

	if (index >= VTR_VHOST_USER_MAX_VRINGS)
		return -EINVAL;
	return vtr_vhost_user_tell(frontend, request, &value, sizeof(value), &eventfd, eventfd >= 0);
}

int vtr_vhost_user_frontend_set_vring_kick(struct vtr_vhost_user_frontend *frontend, uint32_t index, int eventfd)
{
	int error = tell_eventfd(frontend, VHOST_USER_SET_VRING_KICK, index, eventfd);

	if (!error)
		frontend->kicked |= 1u << index;
	return error;
}

int vtr_vhost_user_frontend_set_vring_call(struct vtr_vhost_user_frontend *frontend, uint32_t index, int eventfd)
{
	return tell_eventfd(frontend, VHOST_USER_SET_VRING_CALL, index, eventfd);
}

int vtr_vhost_user_frontend_set_vring_err(struct vtr_vhost_user_frontend *frontend, uint32_t index, int eventfd)
{
	return tell_eventfd(frontend, VHOST_USER_SET_VRING_ERR, index, eventfd);
}

/* ---- configuration and status ---- */

int vtr_vhost_user_frontend_get_config(struct vtr_vhost_user_frontend *frontend, uint32_t offset, void *buffer, uint32_t size)
{
	struct { /* the payload's size is the same both ways */
		struct vhost_user_config head;
		uint8_t bytes[VHOST_USER_MAX_CONFIG_SIZE];
	} config = { .head = { .offset = offset, .size = size } };
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_GET_CONFIG,
		.body = &(struct iovec){ &config, sizeof(config.head) + size },
		.n_body = 1,
		.reply = true,
		.max_reply = sizeof(config.head) + size,
	};

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_CONFIG))
		return -ENOTSUP;
	if (!size || !vtr_range_fits(offset, size, VHOST_USER_MAX_CONFIG_SIZE))
		return -EINVAL;
	int error = vtr_vhost_user_call(frontend, &call);
	if (error)
		return error;
	if (!call.payload_size) { /* so a back-end says that it cannot */
		finish_sound(frontend, &call, true);
		return -EREMOTEIO;
	}
	bool sound = call.payload_size == call.max_reply;
	if (sound) {
		memcpy(&config, call.payload, call.payload_size);
		sound = config.head.offset == offset && config.head.size == size;
	}
	if (sound)
		memcpy(buffer, config.bytes, size);
	return finish_sound(frontend, &call, sound);
}

int vtr_vhost_user_frontend_set_config(struct vtr_vhost_user_frontend *frontend, uint32_t offset, const void *buffer, uint32_t size)
{
	const struct vhost_user_config head = { .offset = offset, .size = size };
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_SET_CONFIG,
		.body = (struct iovec[]){ { (void *)&head, sizeof(head) }, { (void *)buffer, size } },
		.n_body = 2,
	};

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_CONFIG))
		return -ENOTSUP;
	if (!size || !vtr_range_fits(offset, size, VHOST_USER_MAX_CONFIG_SIZE))
		return -EINVAL;
	int error = vtr_vhost_user_call(frontend, &call);
	return error ? error : finish_sound(frontend, &call, true);
}

int vtr_vhost_user_frontend_get_status(struct vtr_vhost_user_frontend *frontend, uint8_t *status)
{
	uint64_t value;
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_GET_STATUS, .reply = true, .min_reply = sizeof(value), .max_reply = sizeof(value)
	};

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_STATUS))
		return -ENOTSUP;
	int error = vtr_vhost_user_call(frontend, &call);
	if (error)
		return error;
	memcpy(&value, call.payload, sizeof(value));
	*status = (uint8_t)value;
	return finish_sound(frontend, &call, value <= UINT8_MAX);
}

int vtr_vhost_user_frontend_set_status(struct vtr_vhost_user_frontend *frontend, uint8_t status)
{
	const uint64_t value = status;

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_STATUS))
		return -ENOTSUP;
	/* From the request on: the back-end may ask before it has answered. */
	frontend->status = status;
	int error = vtr_vhost_user_tell(frontend, VHOST_USER_SET_STATUS, &value, sizeof(value), NULL, 0);
	/* Where there is another word for a reset this one may be for a guest that is only paused. */
	if (!error && !status && !vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		vtr_vhost_user_shmem_reset(frontend);
	return error;
}

int vtr_vhost_user_frontend_reset(struct vtr_vhost_user_frontend *frontend)
{
	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		return -ENOTSUP;
	int error = vtr_vhost_user_tell(frontend, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0);
	if (!error) {
		frontend->status = 0;
		frontend->active = frontend->kicked = 0;
		frontend->n_held = 0;
		vtr_vhost_user_shmem_reset(frontend);
	}
	return error;
}

/* ---- in-flight memory, shared objects, the display socket ---- */

/* Is what came as memory of `size` bytes at offset that memory? */
static bool holds(int fd, uint64_t offset, uint64_t size)
{
	struct stat info;

	return fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && vtr_range_fits(offset, size, (uint64_t)info.st_size);
}

int vtr_vhost_user_frontend_get_inflight(struct vtr_vhost_user_frontend *frontend, uint16_t vrings, uint16_t vring_size,
                                         struct vtr_vhost_user_inflight_memory *inflight)
{
	struct vhost_user_inflight body = { .num_queues = vrings, .queue_size = vring_size };
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_GET_INFLIGHT_FD,
		.body = &(struct iovec){ &body, sizeof(body) },
		.n_body = 1,
		.reply = true,
		.min_reply = sizeof(body),
		.max_reply = sizeof(body),
		.max_reply_fds = 1,
	};

	inflight->fd = -1;
	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		return -ENOTSUP;
	if (!vrings || !vring_size || vring_size > MAX_VRING_SIZE)
		return -EINVAL;
	int error = vtr_vhost_user_call(frontend, &call);
	if (error)
		return error;
	memcpy(&body, call.payload, sizeof(body));
	if (!body.mmap_size && !call.message.n_fds) { /* it has none */
		finish_sound(frontend, &call, true);
		return -EREMOTEIO;
	}
	bool sound = call.message.n_fds == 1 && body.mmap_size && body.num_queues == vrings && body.queue_size == vring_size &&
	             holds(call.message.fds[0], body.mmap_offset, body.mmap_size);
	if (sound)
		*inflight = (struct vtr_vhost_user_inflight_memory){ vtr_message_take_fd(&call.message, 0), body.mmap_size,
			                                             body.mmap_offset, vrings, vring_size };
	return finish_sound(frontend, &call, sound);
}

int vtr_vhost_user_frontend_set_inflight(struct vtr_vhost_user_frontend *frontend,
                                         const struct vtr_vhost_user_inflight_memory *inflight)
{
	const struct vhost_user_inflight body = { .mmap_size = inflight->size,
		                                  .mmap_offset = inflight->offset,
		                                  .num_queues = inflight->vrings,
		                                  .queue_size = inflight->vring_size };

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		return -ENOTSUP;
	return vtr_vhost_user_tell(frontend, VHOST_USER_SET_INFLIGHT_FD, &body, sizeof(body), &inflight->fd, 1);
}

int vtr_vhost_user_frontend_shared_object(struct vtr_vhost_user_frontend *frontend, const uint8_t uuid[16], int *fd)
{
	struct vtr_vhost_user_call call = {
		.request = VHOST_USER_GET_SHARED_OBJECT,
		.body = &(struct iovec){ (void *)uuid, sizeof(struct vhost_user_shared) },
		.n_body = 1,
		.reply = true,
		.max_reply = sizeof(struct vhost_user_shared), /* an fd is the answer; its payload differs between back-ends */
		.max_reply_fds = 1,
	};

	*fd = -1;
	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_SHARED_OBJECT))
		return -ENOTSUP;
	if (!vtr_vhost_user_owns(frontend, uuid))
		return -ENOENT;
	int error = vtr_vhost_user_call(frontend, &call);
	if (error)
		return error;
	if (!call.message.n_fds) {
		finish_sound(frontend, &call, true);
		return -EREMOTEIO;
	}
	*fd = vtr_message_take_fd(&call.message, 0);
	return finish_sound(frontend, &call, true);
}

int vtr_vhost_user_frontend_gpu_set_socket(struct vtr_vhost_user_frontend *frontend, int socket)
{
	return vtr_vhost_user_tell(frontend, VHOST_USER_GPU_SET_SOCKET, NULL, 0, &socket, 1);
}
