/* SPDX-License-Identifier: MIT */
/* 3D resources as pictures and cursors. A resource's first row, as transfers see it, is the screen's upper one, whatever Y_0_TOP
 * says of how it is kept. */
#include <string.h>
#include <vitrine/limits.h>

#include "guest/check/3d.h"
#include "guest/status.h"
#include "guest/usage.h"

enum { CTX = VTR_3D_CTX, ID = VTR_3D_TARGET, OTHER = ID + 1, CURSOR = 5, BUFFER = VTR_3D_VERTICES, W = VTR_3D_W, H = VTR_3D_H };
enum { RED = 0xff0000, YELLOW = 0xffff00, NAVY = 0x102030 };

#define ALL ((struct vtr_rect){ 0, 0, W, H })

/* Transfers frame number `frame` into the resource. */
static bool upload(struct vtr_check *check, const struct vtr_3d_resource *resource, uint32_t frame)
{
	const struct vtr_pattern pattern = { W, H, frame };
	const struct vtr_transfer all = vtr_3d_whole(resource);

	for (uint32_t y = 0; y < H; y++)
		vtr_pattern_row(&pattern, 0, y, W, resource->texture.format, (uint8_t *)resource->pixels + (size_t)y * W * 4);
	return vtr_expect_ok(check, "TRANSFER_TO_HOST_3D", vtr_command_transfer_to_host_3d(check->guest, CTX, resource->id, &all));
}

/* row: format and flags */
struct picture_row {
	uint32_t format, flags;
};

/* What was transferred there is shown as it was. */
static bool picture(struct vtr_check *check, const void *row)
{
	const struct picture_row *r = row;
	struct vtr_texture texture = vtr_3d_target_texture(r->flags);
	struct vtr_3d_resource target;

	texture.format = r->format;
	return vtr_3d_context(check, CTX) && vtr_3d_create(check, &target, ID, &texture, W * H * 4) &&
	       vtr_3d_attach(check, &target, CTX) && upload(check, &target, 3) && vtr_3d_show(check, &target) &&
	       vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 3 });
}

/* row: flags. What is drawn is shown as it is read back. */
static bool drawn(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;

	return vtr_3d_drawn(check, &target, *(const uint32_t *)row, YELLOW, NAVY) && vtr_3d_show(check, &target) &&
	       vtr_3d_expect_triangle(check, &target, YELLOW, NAVY) && vtr_3d_expect_shown(check, &target);
}

/* Drawing on what is shown shows with the next flush. */
static bool redrawn(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;

	if (!vtr_3d_scene(check, &target) || !vtr_3d_clear(check, CTX, &target, NAVY) || !vtr_3d_show(check, &target))
		return false;
	for (uint32_t i = 1; i < 8; i++)
		if (!vtr_3d_clear(check, CTX, &target, 0x202020 * i) ||
		    !vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, ALL)) ||
		    !vtr_3d_expect_colour(check, &target, 0x202020 * i) || !vtr_3d_expect_shown(check, &target))
			return false;
	return true;
}

/* Two targets take turns. */
static bool flip(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource targets[2];

	if (!vtr_3d_scene(check, &targets[0]) || !vtr_3d_target(check, &targets[1], CTX, OTHER, 0))
		return false;
	for (uint32_t i = 0; i < 10; i++) {
		const struct vtr_3d_resource *target = &targets[i & 1];

		if (!vtr_3d_clear(check, CTX, target, 0x051015 * i) || !vtr_3d_show(check, target) ||
		    !vtr_3d_expect_colour(check, target, 0x051015 * i) || !vtr_3d_expect_shown(check, target))
			return false;
	}
	return true;
}

/* row: flags. A part of the resource fills the screen. */
static bool window(struct vtr_check *check, const void *row)
{
	const struct vtr_rect rect = { 40, 30, 100, 60 };
	const struct vtr_patchwork patchwork = { { W, H, 4 }, { W, H, 4 }, { 0 }, rect.x, rect.y };
	struct vtr_3d_resource target;

	return vtr_3d_context(check, CTX) && vtr_3d_target(check, &target, CTX, ID, *(const uint32_t *)row) &&
	       upload(check, &target, 4) &&
	       vtr_expect_ok(check, "SET_SCANOUT of a part", vtr_command_set_scanout(check->guest, 0, ID, rect)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, ALL)) &&
	       vtr_expect_patchwork(check, 0, rect.width, rect.height, &patchwork);
}

/* From 2D to 3D and back. */
static bool beside_2d(struct vtr_check *check, const void *row)
{
	struct vtr_image image = { 0 };
	struct vtr_3d_resource target;
	bool passed = vtr_3d_scene(check, &target) &&
	              vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H }, OTHER, 1) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 }) && upload(check, &target, 2) &&
	              vtr_3d_show(check, &target) && vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 2 }) &&
	              vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_image_show(&image, OTHER, 0)) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 });

	vtr_image_finish(&image);
	return passed;
}

/* The picture is the resource's: it stays without its context and its backing, and goes with itself. */
static bool outlives(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const struct vtr_pattern pattern = { W, H, 6 };
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) && upload(check, &target, 6) && vtr_3d_show(check, &target) &&
	       vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(guest, CTX)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, ALL)) &&
	       vtr_expect_pattern(check, 0, &pattern) &&
	       vtr_expect_ok(check, "RESOURCE_DETACH_BACKING", vtr_command_detach(guest, ID)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, ALL)) &&
	       vtr_expect_pattern(check, 0, &pattern) && vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, ID)) &&
	       vtr_expect_blank(check, 0) &&
	       vtr_expect_response(check, "RESOURCE_FLUSH of it", vtr_command_flush(guest, ID, ALL),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

static bool reset_blanks(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) && upload(check, &target, 6) && vtr_3d_show(check, &target) &&
	       vtr_expect_recovery(check) && vtr_expect_blank(check, 0);
}

/* A stream that is wrong, a context in error: the picture stays. */
static bool error_keeps_picture(struct vtr_check *check, const void *row)
{
	const uint32_t nonsense = 0xdeadbeef;
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) && upload(check, &target, 7) && vtr_3d_show(check, &target) &&
	       vtr_expect_error(check, "SUBMIT_3D of nonsense",
	                        vtr_command_submit(check->guest, CTX, &nonsense, sizeof(nonsense))) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, ALL)) &&
	       vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 7 });
}

static bool errors(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const uint32_t parameter = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	struct vtr_3d_resource target, buffer;

	return vtr_3d_scene(check, &target) && vtr_3d_vertices(check, &buffer, CTX, BUFFER, RED) &&
	       vtr_expect_response(check, "SET_SCANOUT beyond the resource",
	                           vtr_command_set_scanout(guest, 0, ID, (struct vtr_rect){ 1, 0, W, H }), parameter) &&
	       vtr_expect_response(check, "SET_SCANOUT of no width",
	                           vtr_command_set_scanout(guest, 0, ID, (struct vtr_rect){ 0, 0, 0, H }), parameter) &&
	       vtr_expect_response(check, "SET_SCANOUT of scanout 16", vtr_command_set_scanout(guest, 16, ID, ALL),
	                           VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID) &&
	       vtr_expect_error(check, "SET_SCANOUT of a buffer",
	                        vtr_command_set_scanout(guest, 0, BUFFER, (struct vtr_rect){ 0, 0, 16, 1 })) &&
	       vtr_expect_response(check, "RESOURCE_FLUSH beyond the resource",
	                           vtr_command_flush(guest, ID, (struct vtr_rect){ 0, 1, W, H }), parameter) &&
	       vtr_expect_alive(check);
}

/* On the second scanout, too. */
static bool two_scanouts(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource targets[2];

	return vtr_expect_value(check, "two scanouts or more",
	                        vtr_guest_config(guest, offsetof(struct virtio_gpu_config, num_scanouts)) >= 2, true) &&
	       vtr_3d_scene(check, &targets[0]) && vtr_3d_target(check, &targets[1], CTX, OTHER, 0) &&
	       upload(check, &targets[0], 1) && upload(check, &targets[1], 2) && vtr_3d_show(check, &targets[0]) &&
	       vtr_expect_ok(check, "SET_SCANOUT of scanout 1", vtr_command_set_scanout(guest, 1, OTHER, ALL)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, OTHER, ALL)) &&
	       vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 }) &&
	       vtr_expect_pattern(check, 1, &(struct vtr_pattern){ W, H, 2 });
}

/* ---- rest ---- */

/* Less than polling or a frame clock takes; sanitizers have threads that wake up a few times. */
enum { SETTLE_MS = 300, REST_MS = 500, FEW = 15, TRIES = 10 };

/* How often the device, and its renderer where that is another process, woke up while nobody wanted anything of them. */
static bool count_waits(struct vtr_check *check, uint32_t device, uint32_t renderer, uint64_t *waits)
{
	uint64_t before[2] = { 0 }, after[2] = { 0 };

	if (vtr_usage_waits(device, &before[0]) || (renderer && vtr_usage_waits(renderer, &before[1])) ||
	    vtr_guest_idle(check->guest, REST_MS) || vtr_usage_waits(device, &after[0]) ||
	    (renderer && vtr_usage_waits(renderer, &after[1])))
		return vtr_check_fail(check, "the device's process cannot be looked at: try --pid PID");
	*waits = after[0] - before[0] + after[1] - before[1];
	return true;
}

/* A picture that nobody draws on: nobody wakes up, once all is done. */
static bool rests(struct vtr_check *check, const void *row)
{
	struct vtr_error error = { .text = "" };
	struct vtr_3d_resource target;
	json_t *status = check->guest->options.control ? vtr_device_status(check->guest, &error) : NULL;
	json_int_t renderer = vtr_device_status_number(status, "renderer.pid");
	uint64_t waits = UINT64_MAX;

	json_decref(status);
	if (!vtr_3d_scene(check, &target) || !upload(check, &target, 1) || !vtr_3d_show(check, &target))
		return false;
	for (int i = 0; i < TRIES && waits > FEW; i++)
		if (!vtr_expect_success(check, "resting", vtr_guest_idle(check->guest, SETTLE_MS)) ||
		    !count_waits(check, vtr_guest_peer_pid(check->guest), renderer > 0 ? (uint32_t)renderer : 0, &waits))
			return false;
	return vtr_expect_value(check, "15 wake-ups at most in half a second", waits <= FEW, true);
}

/* ---- cursors ---- */

static bool make_cursor(struct vtr_check *check, struct vtr_3d_resource *cursor, uint32_t side, uint32_t flags)
{
	const struct vtr_texture texture = { .target = PIPE_TEXTURE_2D,
		                             .format = VIRGL_FORMAT_B8G8R8A8_UNORM,
		                             .bind = VIRGL_BIND_SAMPLER_VIEW | VIRGL_BIND_CURSOR,
		                             .width = side,
		                             .height = side,
		                             .flags = flags };
	uint32_t *pixels;

	if (!vtr_3d_create(check, cursor, CURSOR, &texture, (uint64_t)side * side * 4))
		return false;
	pixels = cursor->pixels;
	for (uint32_t i = 0; i < side * side; i++)
		pixels[i] = vtr_pattern_cursor(i % side, i / side);
	const struct vtr_transfer all = vtr_3d_whole(cursor);
	return vtr_expect_ok(check, "TRANSFER_TO_HOST_3D", vtr_command_transfer_to_host_3d(check->guest, 0, CURSOR, &all));
}

static uint32_t with_cursor(const void *data, uint32_t x, uint32_t y)
{
	const uint32_t *place = data;
	uint32_t cx = x - place[0], cy = y - place[1];
	uint32_t argb = cx < VTR_CURSOR_SIZE && cy < VTR_CURSOR_SIZE ? vtr_pattern_cursor(cx, cy) : 0;

	return argb ? argb & 0xffffff : vtr_pattern_pixel(&(struct vtr_pattern){ W, H, 1 }, x, y);
}

/* row: flags */
static bool cursor(struct vtr_check *check, const void *row)
{
	static const uint32_t places[][2] = { { 20, 10 }, { 90, 25 } };
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target, image;
	bool passed = vtr_3d_scene(check, &target) && upload(check, &target, 1) && vtr_3d_show(check, &target) &&
	              make_cursor(check, &image, VTR_CURSOR_SIZE, *(const uint32_t *)row);

	for (size_t i = 0; passed && i < VTR_CHECK_COUNT(places); i++)
		passed = vtr_expect_success(check, "UPDATE_CURSOR",
		                            vtr_command_update_cursor(guest, 0, CURSOR, places[i][0], places[i][1], 3, 4)) &&
		         vtr_expect_pixels(check, 0, true, W, H, with_cursor, places[i]);
	return passed;
}

/* A cursor of another size, or none any more: nothing happens to the screen, or to the device. */
static bool bad_cursor(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target, image;

	return vtr_3d_scene(check, &target) && upload(check, &target, 1) && vtr_3d_show(check, &target) &&
	       make_cursor(check, &image, 16, 0) &&
	       vtr_expect_success(check, "UPDATE_CURSOR", vtr_command_update_cursor(guest, 0, CURSOR, 10, 10, 0, 0)) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, CURSOR)) &&
	       vtr_expect_success(check, "UPDATE_CURSOR", vtr_command_update_cursor(guest, 0, CURSOR, 20, 20, 0, 0)) &&
	       vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 }) && vtr_expect_alive(check);
}

#define FLAGS(flags)                                                                                                               \
	&(const uint32_t)                                                                                                          \
	{                                                                                                                          \
		flags                                                                                                              \
	}
#define PICTURE(...) picture, &(const struct picture_row){ __VA_ARGS__ }, 0, true
#define Y_0_TOP VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP

static const struct vtr_check_case cases[] = {
	{ "picture-b8g8r8x8", PICTURE(VIRGL_FORMAT_B8G8R8X8_UNORM) },
	{ "picture-b8g8r8a8", PICTURE(VIRGL_FORMAT_B8G8R8A8_UNORM) },
	{ "picture-r8g8b8a8", PICTURE(VIRGL_FORMAT_R8G8B8A8_UNORM) },
	{ "picture-r8g8b8x8", PICTURE(VIRGL_FORMAT_R8G8B8X8_UNORM) },
	{ "picture-y-0-top", PICTURE(VIRGL_FORMAT_B8G8R8X8_UNORM, Y_0_TOP) },
	{ "drawn", drawn, FLAGS(0), 0, true },
	{ "drawn-y-0-top", drawn, FLAGS(Y_0_TOP), 0, true },
	{ "redrawn", redrawn, NULL, 0, true },
	{ "flip", flip, NULL, 0, true },
	{ "window", window, FLAGS(0), 0, true },
	{ "window-y-0-top", window, FLAGS(Y_0_TOP), 0, true },
	{ "beside-2d", beside_2d, NULL, VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB), true },
	{ "outlives", outlives },
	{ "reset-blanks", reset_blanks, NULL, 0, true },
	{ "error-keeps-picture", error_keeps_picture },
	{ "errors", errors },
	{ "two-scanouts", two_scanouts, NULL, 0, true },
	{ "rests", rests },
	{ "cursor", cursor, FLAGS(0), 0, true },
	{ "cursor-y-0-top", cursor, FLAGS(Y_0_TOP), 0, true },
	{ "bad-cursor", bad_cursor },
};

const struct vtr_check_family vtr_check_3d_scanout = { "3d-scanout", cases, VTR_CHECK_COUNT(cases), .three_d = true };
