/* SPDX-License-Identifier: MIT */
/*
 * What a front-end may send: the table of messages, and those that are about neither memory nor rings.
 *
 * Messages of protocol features that are not offered are not in the table: such a message is unknown here. One whose feature was
 * offered and not negotiated is refused; when a refusal cannot be expressed in its reply the connection is lost, because a
 * front-end that waits for an answer would wait for ever.
 */
#include "transport/vhost_user/server.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#define BIT(n) VTR_VHOST_USER_BIT(n)
#define F(feature) VTR_VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_##feature)

/* Of every device. */
static const uint64_t offered_protocol_features = F(MQ) | F(REPLY_ACK) | F(BACKEND_REQ) | F(CONFIG) | F(BACKEND_SEND_FD) |
                                                  F(RESET_DEVICE) | F(CONFIGURE_MEM_SLOTS) | F(STATUS) | F(GPA_ADDRESSES) |
                                                  F(INFLIGHT_SHMFD);

/* ---- payloads ---- */

static uint64_t decode_u64(const struct vtr_vhost_user_request *request)
{
	uint64_t value;

	memcpy(&value, request->payload, sizeof(value));
	return value;
}

static int reply_u64(struct vtr_vhost_user_request *request, uint64_t value)
{
	memcpy(request->reply, &value, sizeof(value));
	request->reply_size = sizeof(value);
	return 0;
}

/* ---- features ---- */

static uint64_t protocol_features(const struct vtr_vhost_user_server *server)
{
	const uint64_t objects = server->device->impl->export_object ? F(SHARED_OBJECT) : 0;

	const uint64_t shmem = vtr_vhost_user_has_shmem(server) ? F(SHMEM) : 0;

	return (offered_protocol_features | objects | shmem) & ~server->withheld;
}

static uint64_t offered_features(const struct vtr_vhost_user_server *server)
{
	return vtr_virtio_device_features(server->device) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
}

static int get_features(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return reply_u64(request, offered_features(server));
}

static int set_features(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	uint64_t features = decode_u64(request);

	if (features & ~offered_features(server))
		return -EINVAL;
	if (server->status.rings && features != server->features)
		return -EBUSY;
	int error = vtr_vhost_user_set_platform(server, features & BIT(VIRTIO_F_ACCESS_PLATFORM));
	if (error)
		return error;
	server->features = features;
	if (!(features & BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
		vtr_vhost_user_enable_all(server);
	return 0;
}

static int get_protocol_features(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return reply_u64(request, protocol_features(server));
}

static int set_protocol_features(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	uint64_t features = decode_u64(request), changed = features ^ server->protocol_features;

	if (features & ~protocol_features(server))
		return -EINVAL;
	/* What is there already was said in the other kind of addresses, or before anybody asked for the status. */
	if ((changed & F(GPA_ADDRESSES) && server->table.count) || (changed & F(STATUS) && server->status.rings))
		return -EBUSY;
	server->protocol_features = server->status.protocol_features = features;
	server->table.gpa_addresses = vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_GPA_ADDRESSES);
	return 0;
}

static int get_queue_num(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return reply_u64(request, server->device->n_queues);
}

static int get_max_mem_slots(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return reply_u64(request, VTR_MAX_MEM_SLOTS);
}

/* ---- shared objects ---- */

/* "Back-end will reply passing the fd when the operation is successful, or no fd otherwise." */
static int get_shared_object(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vhost_user_shared object;

	memcpy(&object, request->payload, sizeof(object));
	request->reply_fd = server->device->impl->export_object(server->device, object.uuid);
	memcpy(request->reply, &object, sizeof(object));
	request->reply_size = sizeof(object);
	return 0;
}

/* ---- owner, status, reset ---- */

/* "can be used on the back-end as a session start flag": the last session's picture ends here. */
static int set_owner(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	if (server->fresh)
		vtr_virtio_reset(server->device);
	server->fresh = false;
	return 0;
}

/* "It is recommended that back-ends either ignore this message, or use it to disable all rings." */
static int reset_owner(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return 0;
}

/* As the driver reads it: features that cannot be served do not stay (virtio 1.3, 3.1.1). */
static int set_status(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	uint64_t status = decode_u64(request), features = server->features & ~BIT(VHOST_USER_F_PROTOCOL_FEATURES);

	if (status > UINT8_MAX)
		return -EINVAL;
	if (status & VIRTIO_CONFIG_S_FEATURES_OK && !(server->device_status & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    vtr_virtio_set_driver_features(server->device, features) < 0)
		status &= ~(uint64_t)VIRTIO_CONFIG_S_FEATURES_OK;
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		status &= ~(uint64_t)VIRTIO_CONFIG_S_DRIVER_OK;
	server->device_status = (uint8_t)status;
	server->status_reset = !decode_u64(request);
	if (!status && !vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		vtr_vhost_user_reset_device(server);
	return 0;
}

static int get_status(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return reply_u64(request, server->device_status | (vtr_virtio_status(server->device) & VIRTIO_CONFIG_S_NEEDS_RESET));
}

static int reset_device(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	server->device_status = 0;
	server->status_reset = false;
	vtr_vhost_user_reset_device(server);
	return 0;
}

/* ---- configuration space ---- */

/* The payload's part before the bytes. False when bytes and size do not belong together. */
static bool decode_config(const struct vtr_vhost_user_request *request, struct vhost_user_config *config)
{
	memcpy(config, request->payload, sizeof(*config));
	return request->size - sizeof(*config) == config->size;
}

static bool in_config_space(const struct vtr_vhost_user_server *server, const struct vhost_user_config *config)
{
	return config->offset <= server->device->config_size && config->size <= server->device->config_size - config->offset;
}

/* "uses zero length of payload to indicate an error" */
static int get_config(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vhost_user_config config;

	if (!decode_config(request, &config))
		return -EPROTO;
	if (!vtr_vhost_user_has(server, VHOST_USER_PROTOCOL_F_CONFIG) || !config.size || !in_config_space(server, &config))
		return 0;
	memcpy(request->reply, &config, sizeof(config));
	server->device->impl->config_read(server->device, config.offset, request->reply + sizeof(config), config.size);
	request->reply_size = sizeof(config) + config.size;
	return 0;
}

/* What cannot be written stays as it is: front-ends write all of the space to write one field. flags: 1 is for the destination of a
 * migration, which would be another device's state. */
static int set_config(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vhost_user_config config;

	if (!decode_config(request, &config))
		return -EPROTO;
	if (config.flags || !in_config_space(server, &config))
		return -EINVAL;
	if (config.size && server->device->impl->config_write)
		server->device->impl->config_write(server->device, config.offset, request->payload + sizeof(config), config.size);
	return 0;
}

/* ---- what outlives us ---- */

/* Some front-ends send the description without the padding at its end. */
enum { INFLIGHT = sizeof(struct vhost_user_inflight), INFLIGHT_MIN = offsetof(struct vhost_user_inflight, padding) };

/* A size of 0 is how front-ends hear that there is none. */
static int get_inflight_fd(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vhost_user_inflight inflight = { 0 };

	memcpy(&inflight, request->payload, request->size);
	if (vtr_vhost_user_state_get_inflight(&server->state, &inflight, &request->reply_fd) < 0)
		inflight.mmap_size = 0;
	memcpy(request->reply, &inflight, request->size);
	request->reply_size = request->size;
	return 0;
}

static int set_inflight_fd(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	struct vhost_user_inflight inflight = { 0 };

	memcpy(&inflight, request->payload, request->size);
	if (server->status.rings)
		return -EBUSY;
	return vtr_vhost_user_state_set_inflight(&server->state, &inflight, vtr_message_take_fd(request->message, 0));
}

/* ---- sockets ---- */

static int set_backend_req_fd(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	return vtr_vhost_user_channel_open(&server->channel, vtr_message_take_fd(request->message, 0));
}

static int gpu_set_socket(struct vtr_vhost_user_server *server, struct vtr_vhost_user_request *request)
{
	if (!server->gpu_socket)
		return -EOPNOTSUPP;
	return server->gpu_socket(vtr_message_take_fd(request->message, 0), server->gpu_socket_data);
}

/* ---- the table ---- */

enum {
	STATE = sizeof(struct vhost_user_vring_state),
	ADDR = sizeof(struct vhost_user_vring_addr),
	MEM_REG = sizeof(struct vhost_user_mem_reg),
	IOTLB = sizeof(struct vhost_user_iotlb),
	TABLE = sizeof(struct vhost_user_memory),
	TABLE_HEAD = offsetof(struct vhost_user_memory, regions),
	OBJECT = sizeof(struct vhost_user_shared),
	CONFIG_HEAD = sizeof(struct vhost_user_config),
	CONFIG = CONFIG_HEAD + VHOST_USER_MAX_CONFIG_SIZE,
};

#define ROW(NAME, min_size, max_size, min_fds, max_fds, reply, needs, handler)                                                     \
	[VHOST_USER_##NAME] = { #NAME, min_size, max_size, min_fds, max_fds, reply, needs, handler }

/* "Front-end message types"; QEMU sends an fd with REM_MEM_REG, which the specification asks us to bear. */
static const struct vtr_vhost_user_message messages[] = {
	ROW(GET_FEATURES, 0, 0, 0, 0, VTR_REPLY_PAYLOAD, 0, get_features),
	ROW(SET_FEATURES, 8, 8, 0, 0, VTR_REPLY_IF_ASKED, 0, set_features),
	ROW(SET_OWNER, 0, 0, 0, 0, VTR_REPLY_IF_ASKED, 0, set_owner),
	ROW(RESET_OWNER, 0, 0, 0, 0, VTR_REPLY_IF_ASKED, 0, reset_owner),
	ROW(SET_MEM_TABLE, TABLE_HEAD, TABLE, 0, 8, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_mem_table),
	ROW(SET_VRING_NUM, STATE, STATE, 0, 0, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_vring_num),
	ROW(SET_VRING_ADDR, ADDR, ADDR, 0, 0, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_vring_addr),
	ROW(SET_VRING_BASE, STATE, STATE, 0, 0, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_vring_base),
	ROW(GET_VRING_BASE, STATE, STATE, 0, 0, VTR_REPLY_PAYLOAD, 0, vtr_vhost_user_get_vring_base),
	ROW(SET_VRING_KICK, 8, 8, 0, 1, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_vring_kick),
	ROW(SET_VRING_CALL, 8, 8, 0, 1, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_vring_call),
	ROW(SET_VRING_ERR, 8, 8, 0, 1, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_vring_err),
	ROW(GET_PROTOCOL_FEATURES, 0, 0, 0, 0, VTR_REPLY_PAYLOAD, 0, get_protocol_features),
	ROW(SET_PROTOCOL_FEATURES, 8, 8, 0, 0, VTR_REPLY_IF_ASKED, 0, set_protocol_features),
	ROW(GET_QUEUE_NUM, 0, 0, 0, 0, VTR_REPLY_PAYLOAD, 0, get_queue_num),
	ROW(SET_VRING_ENABLE, STATE, STATE, 0, 0, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_set_vring_enable),
	ROW(SET_BACKEND_REQ_FD, 0, 0, 1, 1, VTR_REPLY_IF_ASKED, F(BACKEND_REQ), set_backend_req_fd),
	ROW(IOTLB_MSG, IOTLB, IOTLB, 0, 0, VTR_REPLY_IF_ASKED, 0, vtr_vhost_user_iotlb_msg),
	ROW(GET_CONFIG, CONFIG_HEAD, CONFIG, 0, 0, VTR_REPLY_PAYLOAD, 0, get_config),
	ROW(SET_CONFIG, CONFIG_HEAD, CONFIG, 0, 0, VTR_REPLY_IF_ASKED, F(CONFIG), set_config),
	ROW(GET_INFLIGHT_FD, INFLIGHT_MIN, INFLIGHT, 0, 0, VTR_REPLY_PAYLOAD, F(INFLIGHT_SHMFD), get_inflight_fd),
	ROW(SET_INFLIGHT_FD, INFLIGHT_MIN, INFLIGHT, 1, 1, VTR_REPLY_IF_ASKED, F(INFLIGHT_SHMFD), set_inflight_fd),
	ROW(GPU_SET_SOCKET, 0, 0, 1, 1, VTR_REPLY_IF_ASKED, 0, gpu_set_socket),
	ROW(RESET_DEVICE, 0, 0, 0, 0, VTR_REPLY_IF_ASKED, F(RESET_DEVICE), reset_device),
	ROW(GET_MAX_MEM_SLOTS, 0, 0, 0, 0, VTR_REPLY_PAYLOAD, F(CONFIGURE_MEM_SLOTS), get_max_mem_slots),
	ROW(ADD_MEM_REG, MEM_REG, MEM_REG, 1, 1, VTR_REPLY_IF_ASKED, F(CONFIGURE_MEM_SLOTS), vtr_vhost_user_add_mem_reg),
	ROW(REM_MEM_REG, MEM_REG, MEM_REG, 0, 1, VTR_REPLY_IF_ASKED, F(CONFIGURE_MEM_SLOTS), vtr_vhost_user_rem_mem_reg),
	ROW(SET_STATUS, 8, 8, 0, 0, VTR_REPLY_IF_ASKED, F(STATUS), set_status),
	ROW(GET_SHARED_OBJECT, OBJECT, OBJECT, 0, 0, VTR_REPLY_PAYLOAD, F(SHARED_OBJECT), get_shared_object),
	ROW(GET_STATUS, 0, 0, 0, 0, VTR_REPLY_PAYLOAD, F(STATUS), get_status),
	ROW(GET_SHMEM_CONFIG, 0, 0, 0, 0, VTR_REPLY_PAYLOAD, F(SHMEM), vtr_vhost_user_get_shmem_config),
};

const struct vtr_vhost_user_message *vtr_vhost_user_message_find(uint32_t request)
{
	return request < sizeof(messages) / sizeof(messages[0]) && messages[request].handle ? &messages[request] : NULL;
}

/* "Protocol features" */
const char *vtr_vhost_user_protocol_feature_name(unsigned bit)
{
	static const char *const names[] = {
		[VHOST_USER_PROTOCOL_F_MQ] = "MQ",
		[VHOST_USER_PROTOCOL_F_LOG_SHMFD] = "LOG_SHMFD",
		[VHOST_USER_PROTOCOL_F_RARP] = "RARP",
		[VHOST_USER_PROTOCOL_F_REPLY_ACK] = "REPLY_ACK",
		[VHOST_USER_PROTOCOL_F_MTU] = "MTU",
		[VHOST_USER_PROTOCOL_F_BACKEND_REQ] = "BACKEND_REQ",
		[VHOST_USER_PROTOCOL_F_CROSS_ENDIAN] = "CROSS_ENDIAN",
		[VHOST_USER_PROTOCOL_F_CRYPTO_SESSION] = "CRYPTO_SESSION",
		[VHOST_USER_PROTOCOL_F_PAGEFAULT] = "PAGEFAULT",
		[VHOST_USER_PROTOCOL_F_CONFIG] = "CONFIG",
		[VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD] = "BACKEND_SEND_FD",
		[VHOST_USER_PROTOCOL_F_HOST_NOTIFIER] = "HOST_NOTIFIER",
		[VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD] = "INFLIGHT_SHMFD",
		[VHOST_USER_PROTOCOL_F_RESET_DEVICE] = "RESET_DEVICE",
		[VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS] = "INBAND_NOTIFICATIONS",
		[VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS] = "CONFIGURE_MEM_SLOTS",
		[VHOST_USER_PROTOCOL_F_STATUS] = "STATUS",
		[VHOST_USER_PROTOCOL_F_XEN_MMAP] = "XEN_MMAP",
		[VHOST_USER_PROTOCOL_F_SHARED_OBJECT] = "SHARED_OBJECT",
		[VHOST_USER_PROTOCOL_F_DEVICE_STATE] = "DEVICE_STATE",
		[VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT] = "GET_VRING_BASE_INFLIGHT",
		[VHOST_USER_PROTOCOL_F_GPA_ADDRESSES] = "GPA_ADDRESSES",
		[VHOST_USER_PROTOCOL_F_SHMEM] = "SHMEM",
	};

	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}

static bool find_feature(const char *name, size_t length, uint64_t *features)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *known = vtr_vhost_user_protocol_feature_name(bit);

		if (!known || strlen(known) != length || strncmp(known, name, length) != 0)
			continue;
		*features |= BIT(bit);
		return true;
	}
	return false;
}

bool vtr_vhost_user_protocol_features_parse(const char *names, uint64_t *features)
{
	*features = 0;
	for (size_t length; *names; names += length + (names[length] == ',')) {
		length = strcspn(names, ",");
		if (!find_feature(names, length, features))
			return false;
	}
	return *features;
}
