/* SPDX-License-Identifier: MIT */
#ifndef VMM_MESSAGE_H
#define VMM_MESSAGE_H

#include <linux/virtio_gpu.h>
#include <pixman.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/limits.h>

#include "display/display.h"
#include "transport/message.h"
#include "transport/vhost_user/gpu_protocol.h"

/* The display socket's messages, to and from bytes. No state, no socket. */

enum {
	VMM_EDID_SIZE = sizeof(((struct virtio_gpu_resp_edid *)NULL)->edid),
	VMM_MAX_PAYLOAD = sizeof(struct virtio_gpu_resp_edid), /* of what a front-end sends */
	VMM_BAND_SIZE = 128 * 1024,                            /* bytes of pixels in one UPDATE, unless a row is longer */
};

/* What a front-end says about one scanout. */
struct vmm_monitor {
	bool enabled;
	uint32_t width, height; /* 1 to VTR_MAX_DIMENSION when enabled */
	uint32_t refresh_mhz;   /* 0: not known */
	size_t edid_size;       /* 0: none */
	uint8_t edid[VMM_EDID_SIZE];
};

extern const struct vtr_framing vmm_framing;

/* The payload of a reply has the size that the request's reply has to have. */
bool vmm_reply_size_is_right(uint32_t request, size_t size);

/* GET_DISPLAY_INFO's reply: enabled, width and height of VIRTIO_GPU_MAX_SCANOUTS monitors; the rest is left alone. A size that no
 * picture can have counts as not enabled. */
void vmm_decode_display_info(const struct virtio_gpu_resp_display_info *info, struct vmm_monitor *monitors);

/* GET_EDID's reply: the monitor gets the EDID's blocks and refresh rate, or none when it is not one (E-EDID 1.4, 3.1: header, sum
 * of each block, and as many blocks as it says). False then. */
bool vmm_decode_edid(const struct virtio_gpu_resp_edid *reply, struct vmm_monitor *monitor);

/* How many rows of a rectangle go into one UPDATE; at least 1. */
uint32_t vmm_band_rows(uint32_t width);

/* Fills pixels, width * height words, with that part of a frame with pixels (x8r8g8b8, rows without gaps). False: its format is
 * unknown, or there is no memory. */
bool vmm_encode_pixels(const struct vtr_frame *frame, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t *pixels);

/* Whether DMABUF_SCANOUT, or DMABUF_SCANOUT2 where modifiers is set, can say where the frame's picture lies in its dmabuf; false
 * with *error. */
bool vmm_can_express(const struct vtr_frame *frame, bool modifiers, struct vtr_error *error);
/* Likewise, of formats and modifiers. */
bool vmm_can_express_format(uint32_t format, uint64_t modifier, bool modifiers, struct vtr_error *error);

struct vhost_user_gpu_dmabuf_scanout2 vmm_encode_dmabuf(const struct vtr_frame *frame, uint32_t scanout);

#endif
