/* SPDX-License-Identifier: MIT */
/*
 * vhost-user, front-end: the connection and one call on it.
 *
 * A call is synchronous: one request out, its reply in. The protocol has no ids; replies come in the order of the requests. Besides
 * the one call there may be IOTLB updates on their way, sent to answer the back-end's misses, whose acknowledgements come in
 * between: so those that were sent before the call are counted off first, and any other reply is a lie.
 *
 * The back-end has a channel of its own for requests (a socket pair, given with SET_BACKEND_REQ_FD). It may not go on before it has
 * our answer there, so both sockets are served whenever we wait, also in vtr_vhost_user_frontend_dispatch(). While too many updates
 * are not acknowledged the channel is not read: a back-end that asks without listening stops itself.
 *
 * The back-end is not trusted. Every message's size, flags and number of fds are checked before its contents are looked at; what is
 * wrong closes the connection, as does a call that is not through when its time is up, whatever else the back-end kept us busy with
 * until then. Nothing blocks but poll(), and that not beyond the deadline.
 *
 * Threads: one at a time, whichever.
 */
#include "transport/vhost_user/frontend.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vitrine/loop.h>

#include "util/fd.h"

enum { BATCH = 64 }; /* messages of the back-end taken in one turn */

static const uint64_t known_protocol_features =
	UINT64_C(1) << VHOST_USER_PROTOCOL_F_MQ | UINT64_C(1) << VHOST_USER_PROTOCOL_F_REPLY_ACK |
	UINT64_C(1) << VHOST_USER_PROTOCOL_F_BACKEND_REQ | UINT64_C(1) << VHOST_USER_PROTOCOL_F_CONFIG |
	UINT64_C(1) << VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD | UINT64_C(1) << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD |
	UINT64_C(1) << VHOST_USER_PROTOCOL_F_RESET_DEVICE | UINT64_C(1) << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS |
	UINT64_C(1) << VHOST_USER_PROTOCOL_F_STATUS | UINT64_C(1) << VHOST_USER_PROTOCOL_F_SHARED_OBJECT |
	UINT64_C(1) << VHOST_USER_PROTOCOL_F_GPA_ADDRESSES | UINT64_C(1) << VHOST_USER_PROTOCOL_F_SHMEM;

static uint64_t message_size(const uint8_t *header)
{
	struct vhost_user_header decoded;

	memcpy(&decoded, header, sizeof(decoded));
	return sizeof(decoded) + (uint64_t)decoded.size;
}

static const struct vtr_framing framing = {
	.header_size = sizeof(struct vhost_user_header),
	.max_size = sizeof(struct vhost_user_header) + VHOST_USER_MAX_PAYLOAD,
	.message_size = message_size,
};

static uint64_t deadline_after(int timeout_ms)
{
	return vtr_now_ns() + (uint64_t)timeout_ms * 1000000;
}

/* Closes the connection. Returns what a call says then. */
static int hang_up(struct vtr_vhost_user_frontend *frontend, int error)
{
	vtr_fd_close(&frontend->socket);
	vtr_fd_close(&frontend->channel);
	vtr_message_reader_finish(&frontend->reader);
	vtr_message_reader_finish(&frontend->channel_reader);
	vtr_message_queue_finish(&frontend->queue);
	vtr_message_queue_finish(&frontend->channel_queue);
	return error == -EPROTO || error == -ETIMEDOUT ? error : -ECONNRESET;
}

int vtr_vhost_user_distrust(struct vtr_vhost_user_frontend *frontend)
{
	return hang_up(frontend, -EPROTO);
}

/* ---- messages coming in ---- */

/* An acknowledgement: *refused says what of. False when it is none. */
static bool read_ack(const uint8_t *payload, size_t size, size_t n_fds, bool *refused)
{
	uint64_t value;

	if (size != sizeof(value) || n_fds)
		return false;
	memcpy(&value, payload, sizeof(value));
	*refused = value;
	return true;
}

/* An update that nobody waits for: a refused one is one that the back-end asks for again, or does without. */
static int take_update_ack(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_header *header,
                           struct vtr_message *message)
{
	bool refused, sound = header->request == VHOST_USER_IOTLB_MSG &&
	                      read_ack(message->data + sizeof(*header), header->size, message->n_fds, &refused);

	vtr_message_finish(message);
	if (!sound)
		return -EPROTO;
	frontend->updates--;
	if (refused)
		vtr_log_limited(&frontend->limit, VTR_LOG_DEBUG, "the back-end refused an IOTLB update");
	return 0;
}

/* The reply to the call: 1, or -errno; *replied unless the connection is no good. */
static int take_reply(struct vtr_vhost_user_call *call, const struct vhost_user_header *header, struct vtr_message *message,
                      bool *replied)
{
	const uint8_t *payload = message->data + sizeof(*header);
	bool refused = false, sound = header->request == call->request;

	if (call->reply)
		sound = sound && header->size >= call->min_reply && header->size <= call->max_reply &&
		        message->n_fds <= call->max_reply_fds;
	else
		sound = sound && read_ack(payload, header->size, message->n_fds, &refused);
	*replied = sound;
	if (!sound || refused) {
		vtr_message_finish(message);
		return sound ? -EREMOTEIO : -EPROTO;
	}
	call->message = *message;
	call->payload = payload;
	call->payload_size = header->size;
	return 1;
}

/* One message of the connection, while *before updates and then the call (or NULL) are to be answered. 1: that was the call's
 * reply; 0: it was something else; -errno with *replied false: the connection is no good. */
static int take(struct vtr_vhost_user_frontend *frontend, struct vtr_vhost_user_call *call, unsigned *before,
                struct vtr_message *message, bool *replied)
{
	struct vhost_user_header header;

	memcpy(&header, message->data, sizeof(header));
	if ((header.flags & ~(uint32_t)VHOST_USER_NEED_REPLY) == (VHOST_USER_VERSION | VHOST_USER_REPLY)) {
		if (call && !*before)
			return take_reply(call, &header, message, replied);
		if (frontend->updates) {
			*before -= *before > 0;
			return take_update_ack(frontend, &header, message);
		}
	}
	vtr_message_finish(message);
	return -EPROTO;
}

/* The channel's requests, as far as they are there. 0 or an error of the connection. */
static int serve_channel(struct vtr_vhost_user_frontend *frontend)
{
	for (int i = 0; i < BATCH && frontend->channel >= 0 && frontend->updates < VTR_VHOST_USER_FRONTEND_MAX_UPDATES; i++) {
		struct vtr_message message;
		int result = vtr_message_read(&frontend->channel_reader, frontend->channel, &message);

		if (result > 0)
			result = vtr_vhost_user_serve(frontend, &message);
		else if (!result)
			return 0;
		if (result == -ECONNRESET) { /* it may do without */
			vtr_fd_close(&frontend->channel);
			vtr_message_reader_finish(&frontend->channel_reader);
			return 0;
		}
		if (result)
			return result;
	}
	return 0;
}

/* ---- waiting ---- */

static int flush(struct vtr_message_queue *queue, int socket)
{
	int error = socket < 0 ? 0 : vtr_message_flush(queue, socket);

	return error == -EAGAIN ? 0 : error;
}

static short wanted_events(const struct vtr_message_queue *queue)
{
	return (short)(POLLIN | (vtr_message_queue_empty(queue) ? 0 : POLLOUT));
}

/* Waits until there is something to do. 0, -ETIMEDOUT or an error of the connection. */
static int wait_for_sockets(struct vtr_vhost_user_frontend *frontend, uint64_t deadline)
{
	bool deaf = frontend->updates >= VTR_VHOST_USER_FRONTEND_MAX_UPDATES;
	struct pollfd fds[] = {
		{ .fd = frontend->socket, .events = wanted_events(&frontend->queue) },
		{ .fd = deaf ? -1 : frontend->channel, .events = wanted_events(&frontend->channel_queue) },
	};
	uint64_t now = vtr_now_ns();

	if (now >= deadline)
		return -ETIMEDOUT;
	if (poll(fds, 2, (int)((deadline - now) / 1000000) + 1) <= 0)
		return 0;
	int error = flush(&frontend->queue, frontend->socket);
	return error ? error : flush(&frontend->channel_queue, frontend->channel);
}

/* Goes on until the reply to call is there or, without a call, until everything is sent. before: updates to be acknowledged first.
 */
static int run(struct vtr_vhost_user_frontend *frontend, struct vtr_vhost_user_call *call, unsigned before, uint64_t deadline)
{
	struct vtr_message message;
	bool replied = false;

	while (call || !vtr_message_queue_empty(&frontend->queue) || !vtr_message_queue_empty(&frontend->channel_queue)) {
		int result = serve_channel(frontend);

		if (!result) {
			result = vtr_message_read(&frontend->reader, frontend->socket, &message);
			if (result > 0) {
				result = take(frontend, call, &before, &message, &replied);
				if (replied)
					return result < 0 ? result : 0;
				/* A back-end that keeps us busy does not keep us for ever. */
				if (!result && vtr_now_ns() < deadline)
					continue;
			}
		}
		if (!result)
			result = wait_for_sockets(frontend, deadline);
		if (result)
			return hang_up(frontend, result);
	}
	return 0;
}

/* ---- calls going out ---- */

static int send_request(struct vtr_vhost_user_frontend *frontend, const struct vtr_vhost_user_call *call, uint32_t flags)
{
	struct vhost_user_header header = { .request = call->request, .flags = VHOST_USER_VERSION | flags };
	struct iovec parts[1 + VTR_VHOST_USER_CALL_PARTS] = { { &header, sizeof(header) } };

	if (frontend->socket < 0)
		return -ENOTCONN;
	for (size_t i = 0; i < call->n_body; i++) {
		parts[1 + i] = call->body[i];
		header.size += (uint32_t)call->body[i].iov_len;
	}
	return vtr_message_send(&frontend->queue, frontend->socket, parts, 1 + call->n_body, call->fds, call->n_fds);
}

int vtr_vhost_user_call(struct vtr_vhost_user_frontend *frontend, struct vtr_vhost_user_call *call)
{
	uint64_t deadline = deadline_after(frontend->timeout_ms);
	bool ack = !call->reply && vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	unsigned before = frontend->updates;

	if (frontend->serving)
		return -EBUSY;
	int error = send_request(frontend, call, ack ? VHOST_USER_NEED_REPLY : 0);
	if (error)
		return error == -ENOTCONN ? error : hang_up(frontend, error);
	return run(frontend, ack || call->reply ? call : NULL, before, deadline);
}

int vtr_vhost_user_tell(struct vtr_vhost_user_frontend *frontend, uint32_t request, const void *body, size_t size, const int *fds,
                        size_t n_fds)
{
	struct vtr_vhost_user_call call = {
		.request = request,
		.body = &(struct iovec){ (void *)body, size },
		.n_body = size > 0,
		.fds = fds,
		.n_fds = n_fds,
	};
	int error = vtr_vhost_user_call(frontend, &call);

	if (!error)
		vtr_message_finish(&call.message);
	return error;
}

int vtr_vhost_user_post_iotlb(struct vtr_vhost_user_frontend *frontend, const struct vhost_user_iotlb *message)
{
	const struct vtr_vhost_user_call call = {
		.request = VHOST_USER_IOTLB_MSG,
		.body = &(struct iovec){ (void *)message, sizeof(*message) },
		.n_body = 1,
	};
	int error = send_request(frontend, &call, VHOST_USER_NEED_REPLY);

	frontend->updates += !error;
	return error;
}

int vtr_vhost_user_frontend_dispatch(struct vtr_vhost_user_frontend *frontend)
{
	uint64_t deadline = deadline_after(frontend->timeout_ms);
	struct vtr_message message;
	unsigned before = frontend->updates;
	bool replied = false;

	if (frontend->socket < 0)
		return -ENOTCONN;
	if (frontend->serving)
		return -EBUSY;
	int result = serve_channel(frontend);
	for (int i = 0; i < BATCH && !result; i++) {
		result = vtr_message_read(&frontend->reader, frontend->socket, &message);
		if (!result)
			break;
		if (result > 0)
			result = take(frontend, NULL, &before, &message, &replied);
	}
	return result ? hang_up(frontend, result) : run(frontend, NULL, 0, deadline);
}

/* ---- life ---- */

static int ask_u64(struct vtr_vhost_user_frontend *frontend, uint32_t request, uint64_t *value)
{
	struct vtr_vhost_user_call call = {
		.request = request, .reply = true, .min_reply = sizeof(*value), .max_reply = sizeof(*value)
	};
	int error = vtr_vhost_user_call(frontend, &call);

	if (error)
		return error;
	memcpy(value, call.payload, sizeof(*value));
	vtr_message_finish(&call.message);
	return 0;
}

/* What the protocol features say about numbers. */
static int ask_numbers(struct vtr_vhost_user_frontend *frontend)
{
	uint64_t vrings = 0, slots = VHOST_USER_MEMORY_BASELINE_NREGIONS;
	int error = 0;

	if (vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_MQ))
		error = ask_u64(frontend, VHOST_USER_GET_QUEUE_NUM, &vrings);
	if (!error && vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		error = ask_u64(frontend, VHOST_USER_GET_MAX_MEM_SLOTS, &slots);
	if (error)
		return error;
	if (!slots || vrings > UINT16_MAX)
		return -EPROTO;
	frontend->n_vrings = (uint32_t)vrings;
	frontend->max_slots = slots < VTR_MAX_MEM_SLOTS ? (uint32_t)slots : VTR_MAX_MEM_SLOTS;
	return 0;
}

static int give_channel(struct vtr_vhost_user_frontend *frontend)
{
	int pair[2];

	if (!vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	frontend->channel = pair[0];
	int error = vtr_vhost_user_tell(frontend, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	return error;
}

static int negotiate(struct vtr_vhost_user_frontend *frontend, uint64_t without)
{
	uint64_t agreed;
	int error = ask_u64(frontend, VHOST_USER_GET_FEATURES, &frontend->offered);

	frontend->max_slots = VHOST_USER_MEMORY_BASELINE_NREGIONS;
	if (!error && frontend->offered & UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES) {
		error = ask_u64(frontend, VHOST_USER_GET_PROTOCOL_FEATURES, &agreed);
		if (error)
			return error;
		agreed &= known_protocol_features & ~without;
		error = vtr_vhost_user_tell(frontend, VHOST_USER_SET_PROTOCOL_FEATURES, &agreed, sizeof(agreed), NULL, 0);
		if (!error)
			frontend->protocol_features = agreed;
		frontend->memory.gpa_addresses = vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_GPA_ADDRESSES);
	}
	if (!error)
		error = vtr_vhost_user_tell(frontend, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0);
	if (!error)
		error = ask_numbers(frontend);
	if (!error && vtr_vhost_user_agreed(frontend, VHOST_USER_PROTOCOL_F_SHMEM))
		error = vtr_vhost_user_ask_shmem(frontend);
	return error ? error : give_channel(frontend);
}

struct vtr_vhost_user_frontend *vtr_vhost_user_frontend_attach(int socket, const struct vtr_vhost_user_frontend_options *options)
{
	struct vtr_vhost_user_frontend *frontend = malloc(sizeof(*frontend));

	if (!frontend) {
		close(socket);
		errno = ENOMEM;
		return NULL;
	}
	*frontend = (struct vtr_vhost_user_frontend){
		.socket = socket, .channel = -1, .timeout_ms = options->timeout_ms, .impl = options->impl, .data = options->data
	};
	vtr_vhost_user_mem_table_init(&frontend->memory, NULL);
	vtr_message_reader_init(&frontend->reader, &framing);
	vtr_message_reader_init(&frontend->channel_reader, &framing);
	vtr_message_queue_init(&frontend->queue, VTR_VHOST_USER_FRONTEND_MAX_QUEUED);
	vtr_message_queue_init(&frontend->channel_queue, VTR_VHOST_USER_FRONTEND_MAX_QUEUED);
	int error = negotiate(frontend, options->without);
	if (error) {
		vtr_vhost_user_frontend_destroy(frontend);
		errno = -error;
		return NULL;
	}
	return frontend;
}

struct vtr_vhost_user_frontend *vtr_vhost_user_frontend_connect(const char *path,
                                                                const struct vtr_vhost_user_frontend_options *options)
{
	int socket = vtr_unix_connect_until(path, deadline_after(options->timeout_ms));

	if (socket < 0) {
		errno = -socket;
		return NULL;
	}
	return vtr_vhost_user_frontend_attach(socket, options);
}

void vtr_vhost_user_frontend_destroy(struct vtr_vhost_user_frontend *frontend)
{
	if (!frontend)
		return;
	hang_up(frontend, 0);
	vtr_vhost_user_mem_table_clear(&frontend->memory);
	vtr_vhost_user_forget_translations(frontend);
	vtr_vhost_user_shmem_finish(frontend);
	free(frontend);
}

void vtr_vhost_user_frontend_fds(const struct vtr_vhost_user_frontend *frontend, int *connection, int *channel)
{
	*connection = frontend->socket;
	*channel = frontend->channel;
}

void vtr_vhost_user_frontend_status(const struct vtr_vhost_user_frontend *frontend, struct vtr_vhost_user_frontend_status *status)
{
	*status = frontend->counters;
	status->protocol_features = frontend->protocol_features;
	status->vrings = frontend->n_vrings;
	status->slots = frontend->max_slots;
}
