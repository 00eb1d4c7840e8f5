/* SPDX-License-Identifier: MIT */
#include "vmm_frontend.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vitrine/gpu.h>

void frontend_set_monitor(struct frontend *frontend, unsigned scanout, uint32_t width, uint32_t height)
{
	struct vtr_mode mode = { width, height, 60000 };

	frontend->info.pmodes[scanout].enabled = width != 0;
	frontend->info.pmodes[scanout].r = (struct virtio_gpu_rect){ .width = width, .height = height };
	if (!width)
		return;
	frontend->edid[scanout] = (struct virtio_gpu_resp_edid){ .hdr.type = VIRTIO_GPU_RESP_OK_EDID, .size = VMM_EDID_SIZE };
	vtr_edid_generate(&mode, "frontend", scanout + 1, frontend->edid[scanout].edid);
}

void frontend_init(struct frontend *frontend, int *other)
{
	int ends[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	*frontend = (struct frontend){
		.socket = ends[0],
		.features = 1 << VHOST_USER_GPU_PROTOCOL_F_EDID | 1 << VHOST_USER_GPU_PROTOCOL_F_DMABUF2,
		.info.hdr.type = VIRTIO_GPU_RESP_OK_DISPLAY_INFO,
	};
	for (unsigned i = 0; i < FRONTEND_SCANOUTS; i++)
		frontend->scanouts[i].dmabuf = -1;
	frontend_set_monitor(frontend, 0, 640, 480);
	*other = ends[1];
}

void frontend_finish(struct frontend *frontend)
{
	for (unsigned i = 0; i < FRONTEND_SCANOUTS; i++) {
		g_free(frontend->scanouts[i].pixels);
		if (frontend->scanouts[i].dmabuf >= 0)
			close(frontend->scanouts[i].dmabuf);
	}
	if (frontend->socket >= 0)
		close(frontend->socket);
}

/* ---- the wire ---- */

/* size bytes, and an fd that came with them. False at the end of the stream. */
static bool receive(int socket, void *data, size_t size, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;

	for (size_t done = 0; done < size;) {
		struct iovec part = { (char *)data + done, size - done };
		struct msghdr header = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
		};
		ssize_t got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);

		if (got <= 0)
			return false;
		if (CMSG_FIRSTHDR(&header))
			memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(*fd));
		done += (size_t)got;
	}
	return true;
}

static void transmit(struct frontend *frontend, const void *data, size_t size)
{
	size_t step = frontend->trickles ? 1 : size;

	for (size_t done = 0; done < size; done += step) {
		g_assert_cmpint(send(frontend->socket, (const char *)data + done, step, MSG_NOSIGNAL), ==, (ssize_t)step);
		if (frontend->trickles && done < 64)
			g_usleep(500);
	}
}

void frontend_reply(struct frontend *frontend, uint32_t request, const void *payload, size_t size)
{
	struct vhost_user_gpu_header header = { request, VHOST_USER_GPU_REPLY, (uint32_t)size };
	g_autofree uint8_t *message = g_malloc(sizeof(header) + size);

	memcpy(message, &header, sizeof(header));
	if (size)
		memcpy(message + sizeof(header), payload, size);
	transmit(frontend, message, sizeof(header) + size);
}

/* ---- answers ---- */

static void answer(struct frontend *frontend, uint32_t request, const void *payload, size_t size)
{
	if (frontend->silent[request])
		frontend->owed[request]++;
	else
		frontend_reply(frontend, request, payload, size);
}

static void answer_update(struct frontend *frontend)
{
	for (unsigned i = 0; i < FRONTEND_SCANOUTS; i++)
		frontend->scanouts[i].unanswered = 0;
}

void frontend_resume(struct frontend *frontend, uint32_t request)
{
	frontend->silent[request] = false;
	for (; frontend->owed[request]; frontend->owed[request]--) {
		if (request == VHOST_USER_GPU_GET_DISPLAY_INFO)
			frontend_reply(frontend, request, &frontend->info, sizeof(frontend->info));
		else if (request == VHOST_USER_GPU_GET_EDID)
			frontend_reply(frontend, request, &frontend->edid[0], sizeof(frontend->edid[0]));
		else
			frontend_reply(frontend, request, NULL, 0);
	}
	answer_update(frontend);
}

/* ---- requests ---- */

static struct frontend_scanout *find(struct frontend *frontend, uint32_t scanout)
{
	g_assert_cmpuint(scanout, <, FRONTEND_SCANOUTS);
	return &frontend->scanouts[scanout];
}

static void set_scanout(struct frontend *frontend, const struct vhost_user_gpu_scanout *request)
{
	struct frontend_scanout *scanout = find(frontend, request->scanout_id);

	g_assert_cmpint(!request->width, ==, !request->height);
	g_assert_cmpint(scanout->dmabuf, <, 0);
	g_free(scanout->pixels);
	scanout->pixels = request->width ? g_new0(uint32_t, (size_t)request->width * request->height) : NULL;
	scanout->width = request->width;
	scanout->height = request->height;
	scanout->fresh = true;
}

static void update(struct frontend *frontend, const struct vhost_user_gpu_update *request, size_t size)
{
	struct frontend_scanout *scanout = find(frontend, request->scanout_id);
	const uint32_t *pixels = (const uint32_t *)(request + 1);

	g_assert_nonnull(scanout->pixels);
	g_assert_cmpuint(request->width, >, 0);
	g_assert_cmpuint(request->height, >, 0);
	g_assert_cmpuint(request->x + request->width, <=, scanout->width);
	g_assert_cmpuint(request->y + request->height, <=, scanout->height);
	g_assert_cmpuint(size, ==, sizeof(*request) + (size_t)request->width * request->height * 4);
	g_assert_true(request->height == 1 || size <= sizeof(*request) + VMM_BAND_SIZE);
	for (uint32_t y = 0; y < request->height; y++)
		memcpy(scanout->pixels + (size_t)(request->y + y) * scanout->width + request->x,
		       pixels + (size_t)y * request->width, (size_t)request->width * 4);
	scanout->updated += (uint64_t)request->width * request->height;
	scanout->fresh = false;
}

static void set_dmabuf(struct frontend *frontend, const struct vhost_user_gpu_dmabuf_scanout *request, uint64_t modifier, int *fd)
{
	struct frontend_scanout *scanout = find(frontend, request->scanout_id);

	if (scanout->dmabuf >= 0)
		close(scanout->dmabuf);
	scanout->dmabuf = *fd;
	*fd = -1;
	scanout->dmabuf_scanout = *request;
	scanout->modifier = modifier;
}

static void update_dmabuf(struct frontend *frontend, const struct vhost_user_gpu_update *request)
{
	struct frontend_scanout *scanout = find(frontend, request->scanout_id);

	g_assert_cmpint(scanout->dmabuf, >=, 0);
	g_assert_cmpuint(scanout->unanswered, ==, 0);
	scanout->dmabuf_update = *request;
	scanout->unanswered = 1;
	answer(frontend, VHOST_USER_GPU_DMABUF_UPDATE, NULL, 0);
	if (!frontend->silent[VHOST_USER_GPU_DMABUF_UPDATE])
		scanout->unanswered = 0;
}

static size_t request_size(uint32_t request)
{
	static const size_t sizes[] = {
		[VHOST_USER_GPU_SET_PROTOCOL_FEATURES] = sizeof(uint64_t),
		[VHOST_USER_GPU_CURSOR_POS] = sizeof(struct vhost_user_gpu_cursor_pos),
		[VHOST_USER_GPU_CURSOR_POS_HIDE] = sizeof(struct vhost_user_gpu_cursor_pos),
		[VHOST_USER_GPU_CURSOR_UPDATE] = sizeof(struct vhost_user_gpu_cursor_update),
		[VHOST_USER_GPU_SCANOUT] = sizeof(struct vhost_user_gpu_scanout),
		[VHOST_USER_GPU_DMABUF_SCANOUT] = sizeof(struct vhost_user_gpu_dmabuf_scanout),
		[VHOST_USER_GPU_DMABUF_UPDATE] = sizeof(struct vhost_user_gpu_update),
		[VHOST_USER_GPU_GET_EDID] = sizeof(struct vhost_user_gpu_edid_request),
		[VHOST_USER_GPU_DMABUF_SCANOUT2] = sizeof(struct vhost_user_gpu_dmabuf_scanout2),
	};

	return sizes[request];
}

static void handle_cursor(struct frontend *frontend, uint32_t request, const struct vhost_user_gpu_cursor_update *cursor)
{
	struct frontend_scanout *scanout = find(frontend, cursor->pos.scanout_id);

	scanout->cursor_visible = request != VHOST_USER_GPU_CURSOR_POS_HIDE;
	if (request == VHOST_USER_GPU_CURSOR_UPDATE)
		scanout->cursor = *cursor;
	else
		scanout->cursor.pos = cursor->pos;
}

static void handle(struct frontend *frontend, const struct vhost_user_gpu_header *header, const void *payload, int *fd)
{
	const struct vhost_user_gpu_edid_request *edid = payload;
	const struct vhost_user_gpu_dmabuf_scanout2 *dmabuf = payload;

	switch (header->request) {
	case VHOST_USER_GPU_GET_PROTOCOL_FEATURES:
		answer(frontend, header->request, &frontend->features, sizeof(frontend->features));
		break;
	case VHOST_USER_GPU_SET_PROTOCOL_FEATURES:
		memcpy(&frontend->accepted, payload, sizeof(frontend->accepted));
		frontend->has_accepted = true;
		break;
	case VHOST_USER_GPU_GET_DISPLAY_INFO:
		answer(frontend, header->request, &frontend->info, sizeof(frontend->info));
		break;
	case VHOST_USER_GPU_GET_EDID:
		g_assert_true(frontend->accepted & 1 << VHOST_USER_GPU_PROTOCOL_F_EDID);
		find(frontend, edid->scanout_id);
		answer(frontend, header->request, &frontend->edid[edid->scanout_id], sizeof(frontend->edid[0]));
		break;
	case VHOST_USER_GPU_CURSOR_POS:
	case VHOST_USER_GPU_CURSOR_POS_HIDE:
	case VHOST_USER_GPU_CURSOR_UPDATE:
		handle_cursor(frontend, header->request, payload);
		break;
	case VHOST_USER_GPU_SCANOUT:
		set_scanout(frontend, payload);
		break;
	case VHOST_USER_GPU_UPDATE:
		update(frontend, payload, header->size);
		break;
	case VHOST_USER_GPU_DMABUF_SCANOUT:
		set_dmabuf(frontend, payload, 0, fd);
		break;
	case VHOST_USER_GPU_DMABUF_SCANOUT2:
		g_assert_true(frontend->accepted & 1 << VHOST_USER_GPU_PROTOCOL_F_DMABUF2);
		set_dmabuf(frontend, &dmabuf->dmabuf_scanout, dmabuf->modifier, fd);
		break;
	case VHOST_USER_GPU_DMABUF_UPDATE:
		update_dmabuf(frontend, payload);
		break;
	}
}

bool frontend_step(struct frontend *frontend, int timeout_ms)
{
	struct pollfd pollfd = { .fd = frontend->socket, .events = POLLIN };
	struct vhost_user_gpu_header header;
	int fd = -1;

	if (poll(&pollfd, 1, timeout_ms) <= 0 || !receive(frontend->socket, &header, sizeof(header), &fd))
		return false;
	g_assert_cmpuint(header.request, >=, VHOST_USER_GPU_GET_PROTOCOL_FEATURES);
	g_assert_cmpuint(header.request, <, FRONTEND_REQUESTS);
	g_assert_cmpuint(header.flags, ==, 0);
	if (header.request != VHOST_USER_GPU_UPDATE)
		g_assert_cmpuint(header.size, ==, request_size(header.request));
	g_autofree void *payload = g_malloc0(MAX(header.size, sizeof(struct vhost_user_gpu_cursor_update)));
	g_assert_true(receive(frontend->socket, payload, header.size, &fd));
	frontend->requests[header.request]++;
	handle(frontend, &header, payload, &fd);
	g_assert_cmpint(fd, ==, -1);
	return true;
}
