/* SPDX-License-Identifier: MIT */
/*
 * The back-end's requests, on the channel that it was given.
 *
 * A request that is well-formed and wrong is refused: its reply, where it asks for one, is an errno. One that cannot be understood,
 * or that is no request, loses the connection. What a request is about has to be agreed on (its protocol feature), and most are for
 * a device that has been started: before that, and after it has stopped, there is nothing that could be asked or told.
 */
#include <errno.h>
#include <string.h>

#include "transport/vhost_user/frontend.h"
#include "transport/vhost_user/iotlb.h"
#include "util/fd.h"

struct request {
	struct vtr_vhost_user_frontend *frontend;
	const uint8_t *payload;
	int fd;       // that came along, not taken; -1: none
	int reply_fd; // goes with the reply, and is closed then; -1: none
};

/* ---- IOTLB ---- */

static bool translates(void *data)
{
	const struct vtr_vhost_user_frontend *frontend = data;

	return frontend->access_platform && vtr_vhost_user_started(frontend);
}

static int take_miss(void *data, const struct vhost_user_iotlb *miss)
{
	return vtr_vhost_user_take_miss(data, miss);
}

static int refuse_access_failure(void *data, const struct vhost_user_iotlb *failure)
{
	struct vtr_vhost_user_frontend *frontend = data;

	frontend->counters.access_failures++;
	vtr_log_limited(&frontend->limit, VTR_LOG_WARN,
	                "the back-end reports a failed access (%s) at IOVA 0x%llx: no guest can be told of it here, it is refused",
	                failure->perm & VHOST_USER_IOTLB_ACCESS_WO ? "write" : "read", (unsigned long long)failure->iova);
	return -ENOTSUP;
}

static int take_iotlb(struct request *request)
{
	static const struct vtr_vhost_user_iotlb_impl front_end = { .started = translates,
		                                                    .miss = take_miss,
		                                                    .access_fail = refuse_access_failure };

	return vtr_vhost_user_iotlb_handle(&front_end, request->frontend, request->payload);
}

/* ---- configuration ---- */

static int take_config_change(struct request *request)
{
	struct vtr_vhost_user_frontend *frontend = request->frontend;

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_CONFIG))
		return -EINVAL;
	if (!vtr_vhost_user_started(frontend) || !frontend->impl || !frontend->impl->config_changed)
		return 0; /* whoever starts it reads the configuration then */
	frontend->serving = true;
	frontend->impl->config_changed(frontend->data);
	frontend->serving = false;
	return 0;
}

/* ---- shared objects ---- */

static size_t find_object(const struct vtr_vhost_user_frontend *frontend, const uint8_t uuid[16])
{
	size_t i = 0;

	while (i < frontend->n_objects && memcmp(frontend->objects[i], uuid, 16) != 0)
		i++;
	return i;
}

bool vtr_vhost_user_owns(const struct vtr_vhost_user_frontend *frontend, const uint8_t uuid[16])
{
	return find_object(frontend, uuid) < frontend->n_objects;
}

static int add_object(struct request *request)
{
	struct vtr_vhost_user_frontend *frontend = request->frontend;

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_SHARED_OBJECT))
		return -EINVAL;
	if (vtr_vhost_user_owns(frontend, request->payload))
		return -EEXIST;
	if (frontend->n_objects == VTR_VHOST_USER_MAX_SHARED_OBJECTS)
		return -ENOSPC;
	memcpy(frontend->objects[frontend->n_objects++], request->payload, 16);
	return 0;
}

static int remove_object(struct request *request)
{
	struct vtr_vhost_user_frontend *frontend = request->frontend;
	size_t i = find_object(frontend, request->payload);

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_SHARED_OBJECT))
		return -EINVAL;
	if (i == frontend->n_objects)
		return -ENOENT;
	memmove(frontend->objects[i], frontend->objects[--frontend->n_objects], 16);
	return 0;
}

static int look_up_object(struct request *request)
{
	struct vtr_vhost_user_frontend *frontend = request->frontend;

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_SHARED_OBJECT))
		return -EINVAL;
	if (!frontend->impl || !frontend->impl->lookup || vtr_vhost_user_owns(frontend, request->payload))
		return -ENOENT;
	frontend->serving = true;
	int fd = frontend->impl->lookup(frontend->data, request->payload);
	frontend->serving = false;
	request->reply_fd = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

/* ---- shared memory regions ---- */

static int take_shmem(struct request *request, struct vhost_user_mmap *body)
{
	memcpy(body, request->payload, sizeof(*body));
	return vtr_vhost_user_agreed(request->frontend, VHOST_USER_PROTOCOL_F_SHMEM) ? 0 : -EINVAL;
}

static int take_shmem_map(struct request *request)
{
	struct vhost_user_mmap body;
	int error = take_shmem(request, &body);

	return error ? error : vtr_vhost_user_shmem_map(request->frontend, &body, request->fd);
}

static int take_shmem_unmap(struct request *request)
{
	struct vhost_user_mmap body;
	int error = take_shmem(request, &body);

	return error ? error : vtr_vhost_user_shmem_unmap(request->frontend, &body);
}

/* ---- any request ---- */

static const struct handler {
	uint32_t request;
	uint32_t size; /* of the payload */
	uint32_t fds;
	bool answers; /* in any case: its reply says more than that it was done */
	int (*take)(struct request *request);
} handlers[] = {
	{ VHOST_USER_BACKEND_IOTLB_MSG, sizeof(struct vhost_user_iotlb), 0, false, take_iotlb },
	{ VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, 0, false, take_config_change },
	{ VHOST_USER_BACKEND_SHARED_OBJECT_ADD, sizeof(struct vhost_user_shared), 0, false, add_object },
	{ VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE, sizeof(struct vhost_user_shared), 0, false, remove_object },
	{ VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP, sizeof(struct vhost_user_shared), 0, true, look_up_object },
	{ VHOST_USER_BACKEND_SHMEM_MAP, sizeof(struct vhost_user_mmap), 1, false, take_shmem_map },
	{ VHOST_USER_BACKEND_SHMEM_UNMAP, sizeof(struct vhost_user_mmap), 0, false, take_shmem_unmap },
};

static const struct handler *find_handler(uint32_t request)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (handlers[i].request == request)
			return &handlers[i];
	return NULL;
}

static int reply(struct request *request, const struct vhost_user_header *header, int error)
{
	struct vtr_vhost_user_frontend *frontend = request->frontend;
	struct vhost_user_header answer = { header->request, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(uint64_t) };
	uint64_t value = (uint64_t)-error;
	struct iovec parts[] = { { &answer, sizeof(answer) }, { &value, sizeof(value) } };

	return vtr_message_send(&frontend->channel_queue, frontend->channel, parts, 2, &request->reply_fd, request->reply_fd >= 0);
}

/* Errors that end the connection rather than the request. */
static bool is_fatal(int error)
{
	return error == -EPROTO || error == -ECONNRESET || error == -ENOTCONN || error == -ENOBUFS;
}

int vtr_vhost_user_serve(struct vtr_vhost_user_frontend *frontend, struct vtr_message *message)
{
	struct vhost_user_header header;
	struct request request = { frontend, message->data + sizeof(header), message->n_fds ? message->fds[0] : -1, -1 };

	memcpy(&header, message->data, sizeof(header));
	const struct handler *handler = find_handler(header.request);
	bool sound = (header.flags & ~(uint32_t)VHOST_USER_NEED_REPLY) == VHOST_USER_VERSION &&
	             (!handler || (header.size == handler->size && message->n_fds == handler->fds));
	int error = -ENOSYS;
	if (sound && handler)
		error = handler->take(&request);
	vtr_message_finish(message);
	if (!sound)
		return -EPROTO;
	if (error && !is_fatal(error)) {
		frontend->counters.refused++;
		vtr_log_limited(&frontend->limit, VTR_LOG_DEBUG, "request %u of the back-end is refused: %s", header.request,
		                strerror(-error));
	}
	bool wants = vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_REPLY_ACK) && header.flags & VHOST_USER_NEED_REPLY;
	int result = is_fatal(error) ? error : 0;
	if (!result && (wants || (handler && handler->answers)))
		result = reply(&request, &header, error);
	vtr_fd_close(&request.reply_fd);
	return result;
}
