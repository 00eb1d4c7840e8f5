/* SPDX-License-Identifier: MIT */
/* The display socket's messages, to and from bytes. */
#include <drm_fourcc.h>
#include <glib.h>
#include <string.h>

#include <vitrine/gpu.h>

#include "rows.h"
#include "vmm/message.h"

/* ---- EDIDs ---- */

static void edid_ok(struct virtio_gpu_resp_edid *reply)
{
}

static void edid_error(struct virtio_gpu_resp_edid *reply)
{
	reply->hdr.type = VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
}

static void edid_padded(struct virtio_gpu_resp_edid *reply)
{
	reply->size = VMM_EDID_SIZE; /* as QEMU has it */
}

static void edid_empty(struct virtio_gpu_resp_edid *reply)
{
	reply->size = 0;
}

static void edid_cut(struct virtio_gpu_resp_edid *reply)
{
	reply->size = 127;
}

static void edid_too_large(struct virtio_gpu_resp_edid *reply)
{
	reply->size = VMM_EDID_SIZE + 1;
}

static void edid_without_header(struct virtio_gpu_resp_edid *reply)
{
	reply->edid[0] = 1;
	reply->edid[127]--;
}

static void edid_wrong_sum(struct virtio_gpu_resp_edid *reply)
{
	reply->edid[127]++;
}

static void edid_missing_extension(struct virtio_gpu_resp_edid *reply)
{
	reply->edid[126]++;
	reply->edid[127]--;
	reply->size = 128;
}

static void edid_all_extensions(struct virtio_gpu_resp_edid *reply)
{
	reply->edid[126] = 255;
	reply->edid[127]++;
	reply->size = VMM_EDID_SIZE;
}

static void edid_extension(struct virtio_gpu_resp_edid *reply)
{
	reply->edid[126]++;
	reply->edid[127]--;
	reply->size = 256;
}

static const struct edid_row {
	const char *name;
	void (*change)(struct virtio_gpu_resp_edid *reply);
	size_t size; /* 0: none */
} edid_rows[] = {
	{ "ok", edid_ok, 128 },
	{ "padded", edid_padded, 128 },
	{ "extension", edid_extension, 256 },
	{ "error", edid_error, 0 },
	{ "empty", edid_empty, 0 },
	{ "cut", edid_cut, 0 },
	{ "too-large", edid_too_large, 0 },
	{ "without-header", edid_without_header, 0 },
	{ "wrong-sum", edid_wrong_sum, 0 },
	{ "missing-extension", edid_missing_extension, 0 },
	{ "all-extensions", edid_all_extensions, 0 },
};

static void test_edid(const void *data)
{
	static const struct vtr_mode mode = { 1280, 1024, 60000 };
	const struct edid_row *row = data;
	struct vmm_monitor monitor = { .enabled = true, .width = 1280, .height = 1024, .edid_size = 1, .refresh_mhz = 1 };
	struct virtio_gpu_resp_edid reply = { .hdr.type = VIRTIO_GPU_RESP_OK_EDID, .size = 128 };

	vtr_edid_generate(&mode, "row", 1, reply.edid);
	row->change(&reply);
	g_assert_cmpint(vmm_decode_edid(&reply, &monitor), ==, row->size != 0);
	g_assert_cmpuint(monitor.edid_size, ==, row->size);
	g_assert_cmpuint((monitor.refresh_mhz + 500) / 1000, ==, row->size ? 60 : 0);
}

/* ---- display info ---- */

static const struct info_row {
	const char *name;
	uint32_t enabled, width, height;
	bool used;
} info_rows[] = {
	{ "ok", 1, 640, 480, true },          { "largest", 1, 16384, 16384, true },
	{ "disabled", 0, 640, 480, false },   { "no-width", 1, 0, 480, false },
	{ "no-height", 1, 640, 0, false },    { "too-wide", 1, 16385, 480, false },
	{ "too-high", 1, 640, 16385, false }, { "huge", 1, UINT32_MAX, UINT32_MAX, false },
};

static void test_info(const void *data)
{
	const struct info_row *row = data;
	struct vmm_monitor monitors[VIRTIO_GPU_MAX_SCANOUTS] = { 0 };
	struct virtio_gpu_resp_display_info info = { 0 };

	info.pmodes[15].enabled = row->enabled;
	info.pmodes[15].r = (struct virtio_gpu_rect){ 5, 5, row->width, row->height };
	vmm_decode_display_info(&info, monitors);
	g_assert_cmpint(monitors[15].enabled, ==, row->used);
	g_assert_false(monitors[0].enabled);
}

/* ---- pixels and dmabufs ---- */

static void test_bands(void)
{
	g_assert_cmpuint(vmm_band_rows(1), ==, VMM_BAND_SIZE / 4);
	g_assert_cmpuint(vmm_band_rows(1920) * 1920 * 4, <=, VMM_BAND_SIZE);
	g_assert_cmpuint((vmm_band_rows(1920) + 1) * 1920 * 4, >, VMM_BAND_SIZE);
	g_assert_cmpuint(vmm_band_rows(VTR_MAX_DIMENSION), >=, 1);
}

/* A part of a picture whose rows are longer than it is wide. */
static void test_pixels(void)
{
	const uint32_t from[] = { 0, 1, 2, 3, 0xff, 4, 5, 6, 7, 0xff, 8, 9, 0x0a0b0c, 11, 0xff };
	const struct vtr_frame frame = {
		.content = VTR_FRAME_PIXELS, .width = 4, .height = 3, .stride = 20, .format = DRM_FORMAT_XBGR8888, .pixels = from
	};
	const uint32_t wanted[] = { 0x050000, 0x060000, 0x090000, 0x0c0b0a };
	uint32_t got[4];
	struct vtr_frame unknown = frame;

	g_assert_true(vmm_encode_pixels(&frame, 1, 1, 2, 2, got));
	for (size_t i = 0; i < G_N_ELEMENTS(got); i++)
		g_assert_cmphex(got[i] & 0xffffff, ==, wanted[i]);
	unknown.format = DRM_FORMAT_NV12;
	g_assert_false(vmm_encode_pixels(&unknown, 0, 0, 1, 1, got));
}

static const struct format_row {
	const char *name;
	uint32_t format;
	uint64_t modifier;
	bool modifiers, expressed;
} format_rows[] = {
	{ "linear", DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, false, true },
	{ "tiled", DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED, false, false },
	{ "tiled-with-dmabuf2", DRM_FORMAT_XRGB8888, I915_FORMAT_MOD_X_TILED, true, true },
	{ "unknown-format", DRM_FORMAT_NV12, DRM_FORMAT_MOD_LINEAR, true, false },
};

static void test_format(const void *data)
{
	const struct format_row *row = data;
	struct vtr_error error = { 0 };

	g_assert_cmpint(vmm_can_express_format(row->format, row->modifier, row->modifiers, &error), ==, row->expressed);
	g_assert_cmpint(error.owner, ==, row->expressed ? VTR_ERROR_NONE : VTR_ERROR_UNSUPPORTED);
}

static const struct dmabuf_row {
	const char *name;
	bool flipped;
	uint32_t flags;
} dmabuf_rows[] = {
	{ "upright", false, 0 }, { "flipped", true, 1 }, /* VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP: the first row is the bottom one */
};

static void test_dmabuf(const void *data)
{
	const struct dmabuf_row *row = data;
	const struct vtr_frame frame = {
		.width = 640,
		.height = 480,
		.stride = 2816,
		.format = DRM_FORMAT_ARGB8888,
		.modifier = 7,
		.flipped = row->flipped,
	};
	const struct vhost_user_gpu_dmabuf_scanout2 message = vmm_encode_dmabuf(&frame, 3);
	const struct vhost_user_gpu_dmabuf_scanout *scanout = &message.dmabuf_scanout;

	g_assert_cmpuint(scanout->scanout_id, ==, 3);
	g_assert_cmpuint(scanout->x, ==, 0);
	g_assert_cmpuint(scanout->width, ==, 640);
	g_assert_cmpuint(scanout->fd_height, ==, 480);
	g_assert_cmpuint(scanout->fd_stride, ==, 2816);
	g_assert_cmpuint(scanout->fd_flags, ==, row->flags);
	g_assert_cmphex((uint32_t)scanout->fd_drm_fourcc, ==, DRM_FORMAT_ARGB8888);
	g_assert_cmpuint(message.modifier, ==, 7);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/vmm-message/edid/", edid_rows, test_edid);
	ADD_ROWS("/unit/vmm-message/info/", info_rows, test_info);
	ADD_ROWS("/unit/vmm-message/format/", format_rows, test_format);
	g_test_add_func("/unit/vmm-message/bands", test_bands);
	g_test_add_func("/unit/vmm-message/pixels", test_pixels);
	ADD_ROWS("/unit/vmm-message/dmabuf/", dmabuf_rows, test_dmabuf);
	return g_test_run();
}
