/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_GPU_PROTOCOL_H
#define VTR_VHOST_USER_GPU_PROTOCOL_H

#include <assert.h>
#include <linux/types.h>
#include <linux/virtio_gpu.h>

/*
 * The vhost-user-gpu display socket on the wire (QEMU, docs/interop/vhost-user-gpu.rst), which a front-end gives with
 * VHOST_USER_GPU_SET_SOCKET: the back-end asks, the front-end answers. Host byte order. No logic.
 */
struct vhost_user_gpu_header {
	__u32 request;
	__u32 flags; /* VHOST_USER_GPU_REPLY */
	__u32 size;  /* of the payload, bytes */
};
static_assert(sizeof(struct vhost_user_gpu_header) == 12, "display socket header");

enum { VHOST_USER_GPU_REPLY = 4 };

enum vhost_user_gpu_request {
	VHOST_USER_GPU_GET_PROTOCOL_FEATURES = 1,
	VHOST_USER_GPU_SET_PROTOCOL_FEATURES = 2,
	VHOST_USER_GPU_GET_DISPLAY_INFO = 3, /* answered with struct virtio_gpu_resp_display_info */
	VHOST_USER_GPU_CURSOR_POS = 4,
	VHOST_USER_GPU_CURSOR_POS_HIDE = 5,
	VHOST_USER_GPU_CURSOR_UPDATE = 6,
	VHOST_USER_GPU_SCANOUT = 7,
	VHOST_USER_GPU_UPDATE = 8,
	VHOST_USER_GPU_DMABUF_SCANOUT = 9, /* with an fd, -1 to disable */
	VHOST_USER_GPU_DMABUF_UPDATE = 10, /* answered, empty, when the front-end is done with it */
	VHOST_USER_GPU_GET_EDID = 11,      /* answered with struct virtio_gpu_resp_edid */
	VHOST_USER_GPU_DMABUF_SCANOUT2 = 12,
};

enum vhost_user_gpu_protocol_feature {
	VHOST_USER_GPU_PROTOCOL_F_EDID = 0,
	VHOST_USER_GPU_PROTOCOL_F_DMABUF2 = 1,
};

struct vhost_user_gpu_edid_request {
	__u32 scanout_id;
};
static_assert(sizeof(struct vhost_user_gpu_edid_request) == 4, "EDID request");

struct vhost_user_gpu_cursor_pos {
	__u32 scanout_id;
	__u32 x, y;
};
static_assert(sizeof(struct vhost_user_gpu_cursor_pos) == 12, "cursor position");

struct vhost_user_gpu_cursor_update {
	struct vhost_user_gpu_cursor_pos pos;
	__u32 hot_x, hot_y;
	__u32 data[64 * 64];
};
static_assert(sizeof(struct vhost_user_gpu_cursor_update) == 12 + 8 + 16384, "cursor");

struct vhost_user_gpu_scanout {
	__u32 scanout_id;
	__u32 width, height; /* 0: disable */
};
static_assert(sizeof(struct vhost_user_gpu_scanout) == 12, "scanout");

/* UPDATE: width * height pixels of PIXMAN_x8r8g8b8 follow, rows without gaps; DMABUF_UPDATE: nothing does. */
struct vhost_user_gpu_update {
	__u32 scanout_id;
	__u32 x, y, width, height;
};
static_assert(sizeof(struct vhost_user_gpu_update) == 20, "update");

enum { VHOST_USER_GPU_DMABUF_Y_FLIPPED = 1 << 0 }; /* the first row is the bottom one: VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP */

struct vhost_user_gpu_dmabuf_scanout {
	__u32 scanout_id;
	__u32 x, y;          /* of the scanout */
	__u32 width, height; /* of the scanout */
	__u32 fd_width, fd_height, fd_stride;
	__u32 fd_flags; /* VHOST_USER_GPU_DMABUF_* */
	__s32 fd_drm_fourcc;
};
static_assert(sizeof(struct vhost_user_gpu_dmabuf_scanout) == 40, "dmabuf scanout");

struct vhost_user_gpu_dmabuf_scanout2 {
	struct vhost_user_gpu_dmabuf_scanout dmabuf_scanout;
	__u64 modifier;
};
static_assert(sizeof(struct vhost_user_gpu_dmabuf_scanout2) == 48, "dmabuf scanout with a modifier");

#endif
