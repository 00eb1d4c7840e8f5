/* SPDX-License-Identifier: MIT */
/*
 * The connection: what goes out, and whom a reply is for.
 *
 * A message is made when the one before it is gone, so what waits here is at most one message, and what it says is the newest. The
 * kernel's buffer of the socket is all that a front-end which does not read can fill.
 *
 * Replies carry no number. A front-end answers requests of one kind in their order, so a reply belongs to the oldest request of its
 * kind; one that was not asked for, or has the wrong size, loses the connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "util/fd.h"
#include "vmm/vmm.h"

enum { READ_BATCH = 64 }; /* replies handled before others get their turn */

void vmm_fail(struct vmm *vmm, int code, const char *text)
{
	struct vtr_error error;

	if (vmm->failed)
		return;
	vmm->failed = true;
	vtr_source_remove(vmm->source);
	vmm->source = NULL;
	vtr_error_set(&error, VTR_ERROR_HOST, code, "%s", text);
	vtr_display_failed(&vmm->base, &error);
}

/* ---- sending ---- */

void vmm_send(struct vmm *vmm, uint32_t request, const void *payload, size_t size, const void *body, size_t body_size, int fd)
{
	struct vhost_user_gpu_header header = { .request = request, .size = (uint32_t)(size + body_size) };
	const struct iovec parts[] = {
		{ &header, sizeof(header) },
		{ (void *)payload, size },
		{ (void *)body, body_size },
	};
	int result = vmm->failed ? 0 : vtr_message_send(&vmm->queue, vmm->socket, parts, 3, &fd, fd >= 0);

	if (result == -ECONNRESET)
		vmm_fail(vmm, ECONNRESET, "the VMM has closed its display socket");
	else if (result)
		vmm_fail(vmm, -result, strerror(-result));
}

bool vmm_ask(struct vmm *vmm, uint32_t request, const void *payload, size_t size, enum vmm_purpose purpose,
             struct vmm_output *output)
{
	if (vmm->n_expected == VMM_MAX_EXPECTED)
		return false;
	vmm->expected[vmm->n_expected++] = (struct vmm_expected){ request, purpose, output };
	vmm_send(vmm, request, payload, size, NULL, 0, -1);
	return true;
}

void vmm_forget(struct vmm *vmm, const struct vmm_output *output)
{
	for (size_t i = 0; i < vmm->n_expected; i++)
		if (vmm->expected[i].output == output)
			vmm->expected[i].output = NULL;
}

/* One message. False when there is nothing to say. */
static bool send_next(struct vmm *vmm)
{
	if (!vmm->asked_features) {
		vmm->asked_features = true;
		return vmm_ask(vmm, VHOST_USER_GPU_GET_PROTOCOL_FEATURES, NULL, 0, VMM_FOR_FEATURES, NULL);
	}
	if (!vmm->ready)
		return false;
	if (vmm_monitors_send(vmm))
		return true;
	for (unsigned i = 0; i < VTR_MAX_SCANOUTS; i++)
		if (vmm->outputs[i] && vmm_cursor_send(vmm->outputs[i]))
			return true;
	for (unsigned i = 0; i < VTR_MAX_SCANOUTS; i++) {
		struct vmm_output *output = vmm->outputs[(vmm->turn + i) % VTR_MAX_SCANOUTS];

		if (!output || !vmm_frames_send(output))
			continue;
		vmm->turn = output->scanout + 1;
		return true;
	}
	return false;
}

void vmm_pump(struct vmm *vmm)
{
	while (!vmm->failed && vtr_message_queue_empty(&vmm->queue) && send_next(vmm))
		;
	if (vmm->source)
		vtr_source_set_events(vmm->source, EPOLLIN | (vtr_message_queue_empty(&vmm->queue) ? 0 : EPOLLOUT));
}

/* ---- receiving ---- */

static void take_features(struct vmm *vmm, uint64_t features)
{
	const uint64_t edid = UINT64_C(1) << VHOST_USER_GPU_PROTOCOL_F_EDID;
	const uint64_t dmabuf2 = UINT64_C(1) << VHOST_USER_GPU_PROTOCOL_F_DMABUF2;
	uint64_t ours = features & (edid | dmabuf2);

	vmm->edids = ours & edid;
	atomic_store(&vmm->modifiers, (ours & dmabuf2) != 0);
	vmm_send(vmm, VHOST_USER_GPU_SET_PROTOCOL_FEATURES, &ours, sizeof(ours), NULL, 0, -1);
	vmm->ready = true;
	vmm_monitors_ask(vmm);
	for (unsigned i = 0; i < VTR_MAX_SCANOUTS; i++)
		if (vmm->outputs[i])
			vmm_frames_forward(vmm->outputs[i]);
}

static void handle_reply(struct vmm *vmm, const struct vmm_expected *expected, const void *payload)
{
	uint64_t features;

	switch (expected->purpose) {
	case VMM_FOR_FEATURES:
		memcpy(&features, payload, sizeof(features));
		take_features(vmm, features);
		break;
	case VMM_FOR_MONITORS:
		vmm_monitors_reply(vmm, payload, expected->request);
		break;
	case VMM_FOR_FRAME:
		if (expected->request == VHOST_USER_GPU_GET_DISPLAY_INFO)
			vmm_monitors_compare(vmm, payload);
		if (expected->output)
			vmm_frames_answered(expected->output);
		break;
	}
}

/* Whom a reply is for; false: for nobody. */
static bool take_expected(struct vmm *vmm, uint32_t request, struct vmm_expected *expected)
{
	for (size_t i = 0; i < vmm->n_expected; i++) {
		if (vmm->expected[i].request != request)
			continue;
		*expected = vmm->expected[i];
		vmm->n_expected--;
		memmove(&vmm->expected[i], &vmm->expected[i + 1], (vmm->n_expected - i) * sizeof(vmm->expected[0]));
		return true;
	}
	return false;
}

static void handle_message(struct vmm *vmm, const struct vtr_message *message)
{
	struct vhost_user_gpu_header header;
	struct vmm_expected expected;
	/* aligned, which the message's payload is not for 64 bits */
	union {
		uint64_t features;
		struct virtio_gpu_resp_display_info info;
		struct virtio_gpu_resp_edid edid;
	} payload;

	memcpy(&header, message->data, sizeof(header));
	if (!(header.flags & VHOST_USER_GPU_REPLY) || !vmm_reply_size_is_right(header.request, header.size)) {
		vmm_fail(vmm, EPROTO, "the VMM sent a malformed message on its display socket");
		return;
	}
	if (!take_expected(vmm, header.request, &expected)) {
		vmm_fail(vmm, EPROTO, "the VMM answered on its display socket what it was not asked");
		return;
	}
	memcpy(&payload, message->data + sizeof(header), header.size);
	handle_reply(vmm, &expected, &payload);
}

static void receive(struct vmm *vmm)
{
	struct vtr_message message;
	int result = 1;

	for (int i = 0; i < READ_BATCH && !vmm->failed && result > 0; i++) {
		result = vtr_message_read(&vmm->reader, vmm->socket, &message);
		if (result <= 0)
			break;
		handle_message(vmm, &message);
		vtr_message_finish(&message);
		vmm_pump(vmm);
	}
	if (result == -ECONNRESET)
		vmm_fail(vmm, ECONNRESET, "the VMM has closed its display socket");
	else if (result == -EPROTO)
		vmm_fail(vmm, EPROTO, "the VMM sent a malformed message on its display socket");
	else if (result < 0)
		vmm_fail(vmm, -result, strerror(-result));
}

static void socket_ready(int fd, uint32_t events, void *data)
{
	struct vmm *vmm = data;
	int result = events & EPOLLOUT ? vtr_message_flush(&vmm->queue, vmm->socket) : 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(vmm);
	if (result && result != -EAGAIN && !vmm->failed)
		vmm_fail(vmm, -result, "the VMM has closed its display socket");
	vmm_pump(vmm);
}

/* ---- life ---- */

int vmm_connection_open(struct vmm *vmm)
{
	vmm->source = vtr_loop_add_fd(vmm->base.loop, vmm->socket, EPOLLIN, socket_ready, vmm);
	if (!vmm->source)
		return -errno;
	vmm_pump(vmm);
	return 0;
}

void vmm_connection_close(struct vmm *vmm)
{
	vtr_message_reader_finish(&vmm->reader);
	vtr_message_queue_finish(&vmm->queue);
	vtr_fd_close(&vmm->socket);
	free(vmm->band);
}
