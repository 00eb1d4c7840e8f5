/* SPDX-License-Identifier: MIT */
/* Showing blobs: SET_SCANOUT_BLOB and RESOURCE_FLUSH (virtio 1.3, 5.7.6.8), what they accept, and that the picture is right. */
#include "guest/check/check.h"

enum { ID = 1, OTHER = 2, UNKNOWN = 77, W = 320, H = 200, STRIDE = W * 4, FORMAT = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM };

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)

struct scanout_row {
	uint32_t scanout, id;
	struct vtr_rect rect;
	struct vtr_framebuffer framebuffer;
	uint32_t expected;
};

/* A blob of exactly W x H pixels, and one SET_SCANOUT_BLOB of it. */
static bool set(struct vtr_check *check, const void *row)
{
	const struct scanout_row *r = row;
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { guest->areas[VTR_GUEST_RAM].address, STRIDE * H, 0 };

	return vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, STRIDE * H, &entry, 1)) &&
	       vtr_expect_response(check, "SET_SCANOUT_BLOB",
	                           vtr_command_set_scanout_blob(guest, r->scanout, r->id, r->rect, &r->framebuffer), r->expected) &&
	       vtr_expect_answer(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, (struct vtr_rect){ 0, 0, 1, 1 })) &&
	       vtr_expect_alive(check);
}

/* A refused SET_SCANOUT_BLOB leaves what was shown. */
static bool refused_keeps_picture(struct vtr_check *check, const void *row)
{
	struct vtr_framebuffer huge = { 8192, 8192, FORMAT, 8192 * 4, 0 };
	struct vtr_image image = { 0 };
	bool passed =
		vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H, .ranges = 5 }, ID, 9) &&
		vtr_expect_response(check, "SET_SCANOUT_BLOB of 8192x8192 on a small blob",
	                            vtr_command_set_scanout_blob(check->guest, 0, ID, (struct vtr_rect){ 0, 0, 8192, 8192 }, &huge),
	                            VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
		vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, vtr_check_whole(&image))) &&
		vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 9 });

	vtr_image_finish(&image);
	return passed;
}

static bool flush_errors(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H }, ID, 1) &&
	              vtr_expect_response(check, "RESOURCE_FLUSH of an unknown id",
	                                  vtr_command_flush(guest, UNKNOWN, vtr_check_whole(&image)),
	                                  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH of a corner",
	                            vtr_command_flush(guest, ID, (struct vtr_rect){ W - 1, H - 1, 1, 1 })) &&
	              vtr_expect_answer(check, "RESOURCE_FLUSH whose x wraps",
	                                vtr_command_flush(guest, ID, (struct vtr_rect){ UINT32_MAX, 0, 2, 1 })) &&
	              vtr_expect_answer(check, "RESOURCE_FLUSH of nothing", vtr_command_flush(guest, ID, (struct vtr_rect){ 0 })) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 });

	vtr_image_finish(&image);
	return passed;
}

static bool disable(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_framebuffer nothing = { 0 };
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H }, ID, 1) &&
	              vtr_expect_ok(check, "SET_SCANOUT_BLOB of resource 0",
	                            vtr_command_set_scanout_blob(guest, 0, 0, (struct vtr_rect){ 0 }, &nothing)) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH of what is not shown any more",
	                            vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
	              vtr_expect_ok(check, "showing it again", vtr_image_show(&image, ID, 0)) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 });

	vtr_image_finish(&image);
	return passed;
}

static bool unref_while_shown(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_BAR, W, H, .ranges = 9 }, ID, 1) &&
	              vtr_expect_ok(check, "RESOURCE_UNREF of what is shown", vtr_command_unref(guest, ID)) &&
	              vtr_expect_blank(check, 0) &&
	              vtr_expect_response(check, "RESOURCE_FLUSH of it", vtr_command_flush(guest, ID, vtr_check_whole(&image)),
	                                  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	              vtr_expect_ok(check, "RESOURCE_CREATE_BLOB with the same id", vtr_image_create_blob(&image, ID)) &&
	              vtr_expect_ok(check, "showing it", vtr_image_show(&image, ID, 0)) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 });

	vtr_image_finish(&image);
	return passed;
}

/* One layout, drawn, shown, compared. */
static bool picture(struct vtr_check *check, const void *row)
{
	const struct vtr_image_layout *layout = row;
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, layout, ID, 1234) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ layout->width, layout->height, 1234 });

	vtr_image_finish(&image);
	return passed;
}

/* Drawn where it stands, a part flushed. */
static bool damage(struct vtr_check *check, const void *row)
{
	static const struct vtr_rect rects[] = {
		{ 0, 0, 1, 1 }, { 100, 50, 31, 77 }, { W - 3, H - 5, 3, 5 }, { 0, 60, W, 1 }, { 0, 0, W, H }
	};
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_BAR, W, H, .ranges = 40 }, ID, 0) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 0 });

	for (uint32_t i = 0; passed && i < VTR_CHECK_COUNT(rects); i++) {
		struct vtr_patchwork patchwork = { { W, H, 2 * i }, { W, H, 2 * i + 1 }, rects[i], 0, 0 };

		vtr_image_draw_all(&image, &patchwork.outside);
		passed = vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, vtr_check_whole(&image)));
		vtr_image_draw(&image, &patchwork.inside, rects[i]);
		passed = passed &&
		         vtr_expect_ok(check, "RESOURCE_FLUSH of a part", vtr_command_flush(check->guest, ID, rects[i])) &&
		         vtr_expect_patchwork(check, 0, W, H, &patchwork);
	}
	vtr_image_finish(&image);
	return passed;
}

/* The scanout shows a part of the framebuffer. */
static bool window(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_rect rect = { 51, 33, 128, 96 };
	struct vtr_patchwork patchwork = { { W, H, 5 }, { W, H, 5 }, { 0 }, rect.x, rect.y };
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H, .ranges = 11 }, ID, 5) &&
	              vtr_expect_ok(check, "SET_SCANOUT_BLOB of a part",
	                            vtr_command_set_scanout_blob(guest, 0, ID, rect, &image.framebuffer)) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
	              vtr_expect_patchwork(check, 0, rect.width, rect.height, &patchwork);

	vtr_image_finish(&image);
	return passed;
}

static bool flip(struct vtr_check *check, const void *row)
{
	struct vtr_image images[2] = { 0 };
	struct vtr_image_layout layout = { VTR_GUEST_BAR, W, H, .ranges = 63 };
	bool passed = vtr_check_show(check, &images[0], &layout, ID, 0) && vtr_check_show(check, &images[1], &layout, OTHER, 1);

	for (uint32_t frame = 2; passed && frame < 12; frame++) {
		struct vtr_image *image = &images[frame % 2];

		vtr_image_draw_all(image, &(struct vtr_pattern){ W, H, frame });
		passed = vtr_expect_ok(check, "flipping", vtr_image_show(image, ID + frame % 2, 0)) &&
		         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, frame });
	}
	vtr_image_finish(&images[0]);
	vtr_image_finish(&images[1]);
	return passed;
}

/* A new size, smaller and larger, in one resource after the other. */
static bool resize(struct vtr_check *check, const void *row)
{
	static const uint32_t sizes[][2] = { { 640, 480 }, { 64, 32 }, { 1921, 1081 }, { 320, 200 } };
	bool passed = true;

	for (uint32_t i = 0; passed && i < VTR_CHECK_COUNT(sizes); i++) {
		struct vtr_image_layout layout = { VTR_GUEST_RAM, sizes[i][0], sizes[i][1], .ranges = 13 };
		struct vtr_image image = { 0 };

		passed = vtr_check_show(check, &image, &layout, ID + i, i) &&
		         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ sizes[i][0], sizes[i][1], i });
		vtr_image_finish(&image);
	}
	return passed;
}

/* Also on those that no monitor is connected to: a guest may draw there, but nobody sees it. */
static bool every_scanout(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	uint32_t count = vtr_guest_config(guest, offsetof(struct virtio_gpu_config, num_scanouts));
	struct virtio_gpu_resp_display_info info;
	bool passed = vtr_expect_response(check, "GET_DISPLAY_INFO", vtr_command_display_info(guest, &info),
	                                  VIRTIO_GPU_RESP_OK_DISPLAY_INFO);

	for (uint32_t i = 0; passed && i < count; i++) {
		struct vtr_image_layout layout = { VTR_GUEST_RAM, W, H, .ranges = 5 };
		struct vtr_image image = { 0 };

		passed = vtr_check_show(check, &image, &layout, ID + i, 100 + i) &&
		         vtr_expect_ok(check, "showing it on its scanout", vtr_image_show(&image, ID + i, i));
		vtr_image_finish(&image);
	}
	for (uint32_t i = 1; passed && i < count; i++)
		if (info.pmodes[i].enabled)
			passed = vtr_expect_pattern(check, i, &(struct vtr_pattern){ W, H, 100 + i });
	return passed && vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 100 + count - 1 });
}

static bool two_d_resource(struct vtr_check *check, const void *row)
{
	struct vtr_framebuffer framebuffer = { W, H, FORMAT, STRIDE, 0 };

	return vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(check->guest, ID, FORMAT, W, H)) &&
	       vtr_expect_error(check, "SET_SCANOUT_BLOB of a 2D resource",
	                        vtr_command_set_scanout_blob(check->guest, 0, ID, (struct vtr_rect){ 0, 0, W, H }, &framebuffer)) &&
	       vtr_expect_alive(check);
}

static bool no_backing(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_framebuffer framebuffer = { W, H, FORMAT, STRIDE, 0 };
	struct vtr_rect all = { 0, 0, W, H };

	return vtr_expect_ok(check, "RESOURCE_CREATE_BLOB without entries",
	                     vtr_command_create_blob(guest, ID, STRIDE * H, NULL, 0)) &&
	       vtr_expect_answer(check, "SET_SCANOUT_BLOB of it", vtr_command_set_scanout_blob(guest, 0, ID, all, &framebuffer)) &&
	       vtr_expect_answer(check, "RESOURCE_FLUSH of it", vtr_command_flush(guest, ID, all)) && vtr_expect_alive(check);
}

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define ALL                                                                                                                        \
	{                                                                                                                          \
		0, 0, W, H                                                                                                         \
	}
#define SET(...) set, &(const struct scanout_row){ __VA_ARGS__ }, BLOB
#define PICTURE(memory, w, h, ...) picture, &(const struct vtr_image_layout){ memory, w, h, __VA_ARGS__ }, BLOB, true

static const struct vtr_check_case cases[] = {
	{ "set", SET(0, ID, ALL, { W, H, FORMAT, STRIDE, 0 }, OK) },
	{ "set-smaller", SET(0, ID, { 0, 0, 64, 64 }, { 64, 64, FORMAT, STRIDE, 64 }, OK) },
	{ "set-unknown-resource", SET(0, UNKNOWN, ALL, { W, H, FORMAT, STRIDE, 0 }, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) },
	{ "set-scanout-16", SET(16, ID, ALL, { W, H, FORMAT, STRIDE, 0 }, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID) },
	{ "set-scanout-2^32-1", SET(UINT32_MAX, ID, ALL, { W, H, FORMAT, STRIDE, 0 }, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID) },
	{ "disable-scanout-16", SET(16, 0, ALL, { W, H, FORMAT, STRIDE, 0 }, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID) },
	{ "set-no-format", SET(0, ID, ALL, { W, H, 0, STRIDE, 0 }, PARAMETER) },
	{ "set-unknown-format", SET(0, ID, ALL, { W, H, 5, STRIDE, 0 }, PARAMETER) },
	{ "set-no-width", SET(0, ID, { 0, 0, 0, H }, { 0, H, FORMAT, STRIDE, 0 }, PARAMETER) },
	{ "set-no-height", SET(0, ID, { 0, 0, W, 0 }, { W, 0, FORMAT, STRIDE, 0 }, PARAMETER) },
	{ "set-stride-0", SET(0, ID, ALL, { W, H, FORMAT, 0, 0 }, PARAMETER) },
	{ "set-stride-too-small", SET(0, ID, ALL, { W, H, FORMAT, STRIDE - 4, 0 }, PARAMETER) },
	{ "set-stride-too-large", SET(0, ID, ALL, { W, H, FORMAT, STRIDE + 64, 0 }, PARAMETER) },
	{ "set-stride-overflows", SET(0, ID, ALL, { W, H, FORMAT, UINT32_MAX, 0 }, PARAMETER) },
	{ "set-stride-times-height-is-2^32", SET(0, ID, { 0, 0, W, 16384 }, { W, 16384, FORMAT, 1u << 18, 0 }, PARAMETER) },
	{ "set-offset-past-blob", SET(0, ID, ALL, { W, H, FORMAT, STRIDE, STRIDE *H }, PARAMETER) },
	{ "set-offset-too-large", SET(0, ID, ALL, { W, H, FORMAT, STRIDE, 4 }, PARAMETER) },
	{ "set-offset-overflows", SET(0, ID, ALL, { W, H, FORMAT, STRIDE, UINT32_MAX }, PARAMETER) },
	{ "set-one-row-too-many", SET(0, ID, { 0, 0, W, H + 1 }, { W, H + 1, FORMAT, STRIDE, 0 }, PARAMETER) },
	{ "set-rect-outside", SET(0, ID, { 1, 0, W, H }, { W, H, FORMAT, STRIDE, 0 }, PARAMETER) },
	{ "set-rect-wraps", SET(0, ID, { 0, UINT32_MAX, W, 2 }, { W, H, FORMAT, STRIDE, 0 }, PARAMETER) },
	{ "set-too-wide", SET(0, ID, { 0, 0, 65536, 1 }, { 65536, 1, FORMAT, 65536 * 4, 0 }, PARAMETER) },
	{ "refused-keeps-picture", refused_keeps_picture, NULL, BLOB },
	{ "flush-errors", flush_errors, NULL, BLOB },
	{ "disable", disable, NULL, BLOB },
	{ "unref-while-shown", unref_while_shown, NULL, BLOB },
	{ "2d-resource", two_d_resource, NULL, BLOB },
	{ "no-backing", no_backing, NULL, BLOB },
	{ "picture-b8g8r8a8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, .ranges = 7) },
	{ "picture-b8g8r8x8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, .ranges = 7) },
	{ "picture-a8r8g8b8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, .ranges = 7) },
	{ "picture-x8r8g8b8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, .ranges = 7) },
	{ "picture-r8g8b8a8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, .ranges = 7) },
	{ "picture-x8b8g8r8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, .ranges = 7) },
	{ "picture-a8b8g8r8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, .ranges = 7) },
	{ "picture-r8g8b8x8", PICTURE(VTR_GUEST_RAM, W, H, VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, .ranges = 7) },
	{ "picture-ram-one-range", PICTURE(VTR_GUEST_RAM, 1280, 800) },
	{ "picture-ram-63-ranges", PICTURE(VTR_GUEST_RAM, 1280, 800, .ranges = 63) },
	{ "picture-bar-63-ranges", PICTURE(VTR_GUEST_BAR, 1280, 800, .ranges = 63) },
	{ "picture-remote-63-ranges", PICTURE(VTR_GUEST_REMOTE, 1280, 800, .ranges = 63), .links = VTR_ON_VFIO_USER },
	{ "picture-4k-in-pages", PICTURE(VTR_GUEST_BAR, 3840, 2160, .ranges = 8100) },
	{ "picture-ram-odd-stride", PICTURE(VTR_GUEST_RAM, W, H, .stride = STRIDE + 52, .offset = 3 * 4096 + 76, .ranges = 17) },
	{ "picture-bar-odd-stride", PICTURE(VTR_GUEST_BAR, 333, 77, .stride = 333 * 4 + 4, .offset = 4, .ranges = 17) },
	{ "picture-remote-odd-stride", PICTURE(VTR_GUEST_REMOTE, 333, 77, .stride = 333 * 4 + 4, .offset = 12, .ranges = 9),
	  .links = VTR_ON_VFIO_USER },
	{ "picture-ram-odd-ranges", PICTURE(VTR_GUEST_RAM, W, H, .ranges = 1000, .granularity = 4) },
	{ "picture-bar-odd-ranges", PICTURE(VTR_GUEST_BAR, W, H, .ranges = 77, .granularity = 64) },
	{ "picture-remote-odd-ranges", PICTURE(VTR_GUEST_REMOTE, W, H, .ranges = 77, .granularity = 64),
	  .links = VTR_ON_VFIO_USER },
	{ "damage", damage, NULL, BLOB, true },
	{ "window", window, NULL, BLOB, true },
	{ "flip", flip, NULL, BLOB, true },
	{ "resize", resize, NULL, BLOB, true },
	{ "every-scanout", every_scanout, NULL, BLOB },
};

const struct vtr_check_family vtr_check_scanout = { "scanout", cases, VTR_CHECK_COUNT(cases) };
