/* SPDX-License-Identifier: MIT */
/*
 * A VMM's console without a window: the other end of the display socket (gpu_protocol.h). Every scanout is a monitor of one size,
 * with an EDID that says so. SCANOUT makes a picture, UPDATE draws into it; dmabufs are taken and closed, since nothing here could
 * show them, and their updates are acknowledged at once. Nothing waits; what is malformed closes the socket.
 */
#include "guest/display.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vitrine/display.h>
#include <vitrine/gpu.h>
#include <vitrine/limits.h>

#include "transport/message.h"
#include "transport/vhost_user/gpu_protocol.h"
#include "util/checked.h"
#include "util/fd.h"

enum { MAX_PAYLOAD = 64 << 20, MAX_QUEUED = 65536, BATCH = 64 };

struct picture {
	uint32_t width, height;
	uint32_t *pixels; // NULL: nothing is shown, or a dmabuf
	bool dmabuf;
};

struct vtr_guest_display {
	int socket;
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	struct picture pictures[VTR_GUEST_DISPLAY_SCANOUTS];
	uint32_t *black; /* what a monitor shows without a picture */
};

static uint64_t message_size(const uint8_t *header)
{
	struct vhost_user_gpu_header decoded;

	memcpy(&decoded, header, sizeof(decoded));
	return sizeof(decoded) + (uint64_t)decoded.size;
}

static const struct vtr_framing framing = {
	.header_size = sizeof(struct vhost_user_gpu_header),
	.max_size = sizeof(struct vhost_user_gpu_header) + MAX_PAYLOAD,
	.message_size = message_size,
};

struct request {
	struct vtr_guest_display *display;
	uint32_t code;
	const uint8_t *payload;
	size_t size;
};

static int reply(const struct request *request, const void *payload, size_t size)
{
	struct vtr_guest_display *display = request->display;
	struct vhost_user_gpu_header header = { request->code, VHOST_USER_GPU_REPLY, (uint32_t)size };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)payload, size } };

	return vtr_message_send(&display->queue, display->socket, parts, size ? 2 : 1, NULL, 0);
}

/* ---- what it asks ---- */

static int get_protocol_features(const struct request *request)
{
	const uint64_t features = 1 << VHOST_USER_GPU_PROTOCOL_F_EDID | 1 << VHOST_USER_GPU_PROTOCOL_F_DMABUF2;

	return reply(request, &features, sizeof(features));
}

static int get_display_info(const struct request *request)
{
	struct virtio_gpu_resp_display_info info = { .hdr.type = VIRTIO_GPU_RESP_OK_DISPLAY_INFO };

	for (uint32_t i = 0; i < VTR_GUEST_DISPLAY_SCANOUTS; i++)
		info.pmodes[i] = (struct virtio_gpu_display_one){
			.r = { .width = VTR_GUEST_DISPLAY_WIDTH, .height = VTR_GUEST_DISPLAY_HEIGHT }, .enabled = i == 0
		};
	return reply(request, &info, sizeof(info));
}

static int get_edid(const struct request *request)
{
	const struct vtr_mode mode = { VTR_GUEST_DISPLAY_WIDTH, VTR_GUEST_DISPLAY_HEIGHT, 60000 };
	struct virtio_gpu_resp_edid edid = { .hdr.type = VIRTIO_GPU_RESP_OK_EDID };

	edid.size = (uint32_t)vtr_edid_generate(&mode, "vitrine-guest", 1, edid.edid);
	return reply(request, &edid, sizeof(edid));
}

/* ---- what it shows ---- */

static struct picture *find_picture(struct vtr_guest_display *display, uint32_t scanout)
{
	return scanout < VTR_GUEST_DISPLAY_SCANOUTS ? &display->pictures[scanout] : NULL;
}

static int set_scanout(const struct request *request)
{
	struct vhost_user_gpu_scanout scanout;

	memcpy(&scanout, request->payload, sizeof(scanout));
	struct picture *picture = find_picture(request->display, scanout.scanout_id);
	if (!picture || scanout.width > VTR_MAX_DIMENSION || scanout.height > VTR_MAX_DIMENSION)
		return -EPROTO;
	free(picture->pixels);
	*picture = (struct picture){ .width = scanout.width, .height = scanout.height };
	if (!scanout.width || !scanout.height)
		return 0;
	picture->pixels = calloc((size_t)scanout.width * scanout.height, sizeof(uint32_t));
	return picture->pixels ? 0 : -ENOMEM;
}

static int update(const struct request *request)
{
	struct vhost_user_gpu_update update;

	memcpy(&update, request->payload, sizeof(update));
	const uint8_t *from = request->payload + sizeof(update);
	struct picture *picture = find_picture(request->display, update.scanout_id);
	if (!picture || !picture->pixels || !vtr_range_fits(update.x, update.width, picture->width) ||
	    !vtr_range_fits(update.y, update.height, picture->height) ||
	    (uint64_t)update.width * update.height * sizeof(uint32_t) != request->size - sizeof(update))
		return -EPROTO;
	for (uint32_t y = 0; y < update.height; y++) {
		size_t bytes = update.width * sizeof(uint32_t);

		memcpy(&picture->pixels[(size_t)(update.y + y) * picture->width + update.x], from + y * bytes, bytes);
	}
	return 0;
}

/* Both kinds begin the same. */
static int set_dmabuf(const struct request *request)
{
	struct vhost_user_gpu_dmabuf_scanout dmabuf;

	memcpy(&dmabuf, request->payload, sizeof(dmabuf));
	struct picture *picture = find_picture(request->display, dmabuf.scanout_id);
	if (!picture)
		return -EPROTO;
	free(picture->pixels);
	*picture = (struct picture){ .dmabuf = dmabuf.width != 0 };
	return 0;
}

static int dmabuf_update(const struct request *request)
{
	return reply(request, NULL, 0);
}

static int ignore(const struct request *request)
{
	return 0;
}

static const struct {
	uint32_t code;
	uint32_t size; /* of the payload, at least */
	bool more;     /* pixels follow */
	bool fd;
	int (*take)(const struct request *request);
} handlers[] = {
	{ VHOST_USER_GPU_GET_PROTOCOL_FEATURES, 0, false, false, get_protocol_features },
	{ VHOST_USER_GPU_SET_PROTOCOL_FEATURES, 8, false, false, ignore },
	{ VHOST_USER_GPU_GET_DISPLAY_INFO, 0, false, false, get_display_info },
	{ VHOST_USER_GPU_GET_EDID, sizeof(struct vhost_user_gpu_edid_request), false, false, get_edid },
	{ VHOST_USER_GPU_CURSOR_POS, sizeof(struct vhost_user_gpu_cursor_pos), false, false, ignore },
	{ VHOST_USER_GPU_CURSOR_POS_HIDE, sizeof(struct vhost_user_gpu_cursor_pos), false, false, ignore },
	{ VHOST_USER_GPU_CURSOR_UPDATE, sizeof(struct vhost_user_gpu_cursor_update), false, false, ignore },
	{ VHOST_USER_GPU_SCANOUT, sizeof(struct vhost_user_gpu_scanout), false, false, set_scanout },
	{ VHOST_USER_GPU_UPDATE, sizeof(struct vhost_user_gpu_update), true, false, update },
	{ VHOST_USER_GPU_DMABUF_SCANOUT, sizeof(struct vhost_user_gpu_dmabuf_scanout), false, true, set_dmabuf },
	{ VHOST_USER_GPU_DMABUF_SCANOUT2, sizeof(struct vhost_user_gpu_dmabuf_scanout2), false, true, set_dmabuf },
	{ VHOST_USER_GPU_DMABUF_UPDATE, sizeof(struct vhost_user_gpu_update), false, false, dmabuf_update },
};

static int take(struct vtr_guest_display *display, struct vtr_message *message)
{
	struct vhost_user_gpu_header header;
	size_t n_fds = message->n_fds;

	memcpy(&header, message->data, sizeof(header));
	vtr_message_finish(message);
	const struct request request = { display, header.request, message->data + sizeof(header), header.size };
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		if (handlers[i].code != header.request)
			continue;
		/* Flags mean nothing here: QEMU's vhost-user-gpu sends its updates with whatever was in its memory. */
		bool sound = header.size >= handlers[i].size && (handlers[i].more || header.size == handlers[i].size) &&
		             n_fds <= handlers[i].fd;
		return sound ? handlers[i].take(&request) : -EPROTO;
	}
	return -EPROTO;
}

static void hang_up(struct vtr_guest_display *display)
{
	vtr_fd_close(&display->socket);
	vtr_message_reader_finish(&display->reader);
	vtr_message_queue_finish(&display->queue);
}

int vtr_guest_display_dispatch(struct vtr_guest_display *display)
{
	struct vtr_message message;
	int result = display->socket < 0 ? -ENOTCONN : vtr_message_flush(&display->queue, display->socket);

	if (result == -EAGAIN)
		result = 0;
	for (int i = 0; i < BATCH && !result; i++) {
		result = vtr_message_read(&display->reader, display->socket, &message);
		if (!result)
			return 0;
		if (result > 0)
			result = take(display, &message);
	}
	if (result)
		hang_up(display);
	return result == -ECONNRESET ? 0 : result; /* a back-end may let go of it */
}

int vtr_guest_display_fd(const struct vtr_guest_display *display)
{
	return display->socket;
}

const uint32_t *vtr_guest_display_picture(const struct vtr_guest_display *display, uint32_t scanout, uint32_t *width,
                                          uint32_t *height)
{
	const struct picture *picture = scanout < VTR_GUEST_DISPLAY_SCANOUTS ? &display->pictures[scanout] : NULL;

	if (!picture || picture->dmabuf)
		return NULL;
	*width = picture->pixels ? picture->width : VTR_GUEST_DISPLAY_WIDTH;
	*height = picture->pixels ? picture->height : VTR_GUEST_DISPLAY_HEIGHT;
	return picture->pixels ? picture->pixels : display->black;
}

struct vtr_guest_display *vtr_guest_display_create(int *socket)
{
	struct vtr_guest_display *display = calloc(1, sizeof(*display));
	int pair[2];

	if (!display)
		return NULL;
	display->black = calloc((size_t)VTR_GUEST_DISPLAY_WIDTH * VTR_GUEST_DISPLAY_HEIGHT, sizeof(uint32_t));
	if (!display->black) {
		free(display);
		return NULL;
	}
	/* The back-end's end blocks, as it does with QEMU. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
		free(display->black);
		free(display);
		return NULL;
	}
	display->socket = pair[0];
	*socket = pair[1];
	vtr_message_reader_init(&display->reader, &framing);
	vtr_message_queue_init(&display->queue, MAX_QUEUED);
	return display;
}

void vtr_guest_display_destroy(struct vtr_guest_display *display)
{
	if (!display)
		return;
	hang_up(display);
	for (size_t i = 0; i < VTR_GUEST_DISPLAY_SCANOUTS; i++)
		free(display->pictures[i].pixels);
	free(display->black);
	free(display);
}
