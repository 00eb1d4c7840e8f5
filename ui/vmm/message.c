/* SPDX-License-Identifier: MIT */
/* The display socket's messages, to and from bytes. */
#include "vmm/message.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <string.h>

#include "display/picture.h"

enum { EDID_BLOCK = 128, EDID_EXTENSIONS = 126, EDID_FIRST_TIMING = 54 };

static uint64_t message_size(const uint8_t *bytes)
{
	struct vhost_user_gpu_header header;

	memcpy(&header, bytes, sizeof(header));
	return sizeof(header) + (uint64_t)header.size;
}

const struct vtr_framing vmm_framing = {
	.header_size = sizeof(struct vhost_user_gpu_header),
	.max_size = sizeof(struct vhost_user_gpu_header) + VMM_MAX_PAYLOAD,
	.message_size = message_size,
};

bool vmm_reply_size_is_right(uint32_t request, size_t size)
{
	switch (request) {
	case VHOST_USER_GPU_GET_PROTOCOL_FEATURES:
		return size == sizeof(uint64_t);
	case VHOST_USER_GPU_GET_DISPLAY_INFO:
		return size == sizeof(struct virtio_gpu_resp_display_info);
	case VHOST_USER_GPU_GET_EDID:
		return size == sizeof(struct virtio_gpu_resp_edid);
	case VHOST_USER_GPU_DMABUF_UPDATE:
		return !size;
	default:
		return false;
	}
}

void vmm_decode_display_info(const struct virtio_gpu_resp_display_info *info, struct vmm_monitor *monitors)
{
	for (unsigned i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
		const struct virtio_gpu_rect *r = &info->pmodes[i].r;
		bool fits = r->width && r->height && r->width <= VTR_MAX_DIMENSION && r->height <= VTR_MAX_DIMENSION;

		monitors[i].enabled = info->pmodes[i].enabled && fits;
		monitors[i].width = r->width;
		monitors[i].height = r->height;
	}
}

/* ---- EDID ---- */

static bool blocks_add_up(const uint8_t *edid, size_t size)
{
	for (size_t block = 0; block < size; block += EDID_BLOCK) {
		uint8_t sum = 0;

		for (size_t i = 0; i < EDID_BLOCK; i++)
			sum = (uint8_t)(sum + edid[block + i]);
		if (sum)
			return false;
	}
	return true;
}

/* Of the preferred mode, when that is the monitor's (E-EDID 1.4, 3.10.2). */
static uint32_t edid_refresh(const uint8_t *edid, const struct vmm_monitor *monitor)
{
	const uint8_t *d = edid + EDID_FIRST_TIMING;
	uint64_t clock = (uint64_t)(d[0] | d[1] << 8) * 10000; /* Hz */
	uint32_t width = d[2] | (uint32_t)(d[4] & 0xf0) << 4, height = d[5] | (uint32_t)(d[7] & 0xf0) << 4;
	uint32_t h_blank = d[3] | (uint32_t)(d[4] & 0x0f) << 8, v_blank = d[6] | (uint32_t)(d[7] & 0x0f) << 8;

	if (!clock || width != monitor->width || height != monitor->height)
		return 0;
	uint64_t refresh_mhz = clock * 1000 / ((uint64_t)(width + h_blank) * (height + v_blank));
	return refresh_mhz >= 1000 && refresh_mhz <= 1000000 ? (uint32_t)refresh_mhz : 0;
}

bool vmm_decode_edid(const struct virtio_gpu_resp_edid *reply, struct vmm_monitor *monitor)
{
	static const uint8_t magic[8] = { 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00 };
	size_t size = ((size_t)reply->edid[EDID_EXTENSIONS] + 1) * EDID_BLOCK;

	monitor->edid_size = 0;
	monitor->refresh_mhz = 0;
	if (reply->hdr.type >= VIRTIO_GPU_RESP_ERR_UNSPEC || reply->size > VMM_EDID_SIZE || size > reply->size ||
	    memcmp(reply->edid, magic, sizeof(magic)) != 0 || !blocks_add_up(reply->edid, size))
		return false;
	memcpy(monitor->edid, reply->edid, size);
	monitor->edid_size = size;
	monitor->refresh_mhz = edid_refresh(reply->edid, monitor);
	return true;
}

/* ---- pixels ---- */

uint32_t vmm_band_rows(uint32_t width)
{
	uint32_t rows = VMM_BAND_SIZE / (width * 4);

	return rows ? rows : 1;
}

bool vmm_encode_pixels(const struct vtr_frame *frame, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t *pixels)
{
	pixman_image_t *from = vtr_picture_wrap(frame->pixels, frame->width, frame->height, frame->stride, frame->format);
	pixman_image_t *to = pixman_image_create_bits_no_clear(PIXMAN_x8r8g8b8, (int)width, (int)height, pixels, (int)(width * 4));

	if (from && to)
		pixman_image_composite32(PIXMAN_OP_SRC, from, NULL, to, (int)x, (int)y, 0, 0, 0, 0, (int)width, (int)height);
	bool ok = from && to;
	if (from)
		pixman_image_unref(from);
	if (to)
		pixman_image_unref(to);
	return ok;
}

/* ---- dmabufs ---- */

bool vmm_can_express_format(uint32_t format, uint64_t modifier, bool modifiers, struct vtr_error *error)
{
	if (!vtr_picture_knows(format)) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the vmm display does not know the format");
		return false;
	}
	if (modifier == DRM_FORMAT_MOD_LINEAR || modifiers)
		return true;
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
	              "the VMM's display socket has no modifiers (DMABUF2): it takes linear dmabufs only");
	return false;
}

bool vmm_can_express(const struct vtr_frame *frame, bool modifiers, struct vtr_error *error)
{
	if (!vmm_can_express_format(frame->format, frame->modifier, modifiers, error))
		return false;
	if (frame->offset) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the picture begins %llu bytes into its dmabuf, which the VMM's display socket cannot say",
		              (unsigned long long)frame->offset);
		return false;
	}
	return vtr_frame_fits_dmabuf(frame, error);
}

struct vhost_user_gpu_dmabuf_scanout2 vmm_encode_dmabuf(const struct vtr_frame *frame, uint32_t scanout)
{
	return (struct vhost_user_gpu_dmabuf_scanout2){
		.dmabuf_scanout = {
			.scanout_id = scanout,
			.width = frame->width,
			.height = frame->height,
			.fd_width = frame->width,
			.fd_height = frame->height,
			.fd_stride = frame->stride,
			.fd_flags = frame->flipped ? VHOST_USER_GPU_DMABUF_Y_FLIPPED : 0,
			.fd_drm_fourcc = (int32_t)frame->format,
		},
		.modifier = frame->modifier,
	};
}
