/* SPDX-License-Identifier: MIT */
/* The cursor queue: virtio 1.3, 5.7.6.10. Its commands have no answer, so what goes wrong shows in the picture, or nowhere. */
#include <vitrine/limits.h>

#include "guest/check/check.h"

enum { SCREEN = 1, CURSOR = 2, UNKNOWN = 77, W = 320, H = 200, SIZE = VTR_CURSOR_SIZE, HOT_X = 5, HOT_Y = 9 };

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)

/* The cursor's image as a 2D resource. */
static bool make_cursor(struct vtr_check *check, uint32_t id, uint32_t width, uint32_t height)
{
	struct vtr_guest *guest = check->guest;
	uint64_t address = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_RAM], width * height * 4ull, 4096);
	struct virtio_gpu_mem_entry entry = { address, width * height * 4, 0 };
	uint32_t *pixels = vtr_guest_data(guest, address, width * height * 4ull);

	for (uint32_t i = 0; i < width * height; i++)
		pixels[i] = vtr_pattern_cursor(i % width, i / width);
	return vtr_expect_ok(check, "RESOURCE_CREATE_2D",
	                     vtr_command_create_2d(guest, id, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, width, height)) &&
	       vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, id, &entry, 1)) &&
	       vtr_expect_ok(check, "TRANSFER_TO_HOST_2D",
	                     vtr_command_transfer(guest, id, (struct vtr_rect){ 0, 0, width, height }, 0));
}

static bool make_screen(struct vtr_check *check)
{
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H }, SCREEN, 1);

	vtr_image_finish(&image);
	return passed;
}

/* The screen with the cursor's upper left corner at x, y (which may be off the screen): what a position is, whatever the hot spot.
 */
struct scene {
	bool visible;
	int32_t x, y;
};

static uint32_t scene_pixel(const void *data, uint32_t x, uint32_t y)
{
	const struct scene *scene = data;
	int64_t cx = (int64_t)x - scene->x, cy = (int64_t)y - scene->y;

	if (scene->visible && cx >= 0 && cx < SIZE && cy >= 0 && cy < SIZE && vtr_pattern_cursor((uint32_t)cx, (uint32_t)cy))
		return vtr_pattern_cursor((uint32_t)cx, (uint32_t)cy) & 0xffffff;
	return vtr_pattern_pixel(&(struct vtr_pattern){ W, H, 1 }, x, y);
}

static bool expect_cursor(struct vtr_check *check, bool visible, int32_t x, int32_t y)
{
	return vtr_expect_pixels(check, 0, true, W, H, scene_pixel, &(struct scene){ visible, x, y });
}

static bool picture(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	return make_screen(check) && make_cursor(check, CURSOR, SIZE, SIZE) &&
	       vtr_expect_success(check, "UPDATE_CURSOR", vtr_command_update_cursor(guest, 0, CURSOR, 100, 60, HOT_X, HOT_Y)) &&
	       expect_cursor(check, true, 100, 60) &&
	       vtr_expect_success(check, "MOVE_CURSOR", vtr_command_move_cursor(guest, 0, 211, 130)) &&
	       expect_cursor(check, true, 211, 130) &&
	       vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 }) /* without --cursor there is none */ &&
	       vtr_expect_success(check, "hiding", vtr_command_update_cursor(guest, 0, 0, 211, 130, 0, 0)) &&
	       expect_cursor(check, false, 0, 0);
}

static bool edges(struct vtr_check *check, const void *row)
{
	static const int32_t places[][2] = { { 0, 0 },    { W - 1, 0 },      { 0, H - 1 }, { W - 1, H - 1 }, { W + 500, H + 500 },
		                             { -9, -20 }, { -SIZE + 1, 30 }, { 30, -SIZE } };
	struct vtr_guest *guest = check->guest;
	bool passed = make_screen(check) && make_cursor(check, CURSOR, SIZE, SIZE);

	for (size_t i = 0; passed && i < VTR_CHECK_COUNT(places); i++)
		passed = vtr_expect_success(check, "UPDATE_CURSOR",
		                            vtr_command_update_cursor(guest, 0, CURSOR, (uint32_t)places[i][0],
		                                                      (uint32_t)places[i][1], HOT_X, HOT_Y)) &&
		         expect_cursor(check, true, places[i][0], places[i][1]);
	return passed;
}

/* A cursor may be a blob: 64 x 64 pixels in a row. */
static bool blob(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	uint64_t address = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_RAM], SIZE * SIZE * 4, 4096);
	struct virtio_gpu_mem_entry entry = { address, SIZE * SIZE * 4, 0 };
	uint32_t *pixels = vtr_guest_data(guest, address, SIZE * SIZE * 4);

	for (uint32_t i = 0; i < SIZE * SIZE; i++)
		pixels[i] = vtr_pattern_cursor(i % SIZE, i / SIZE);
	return make_screen(check) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, CURSOR, SIZE * SIZE * 4, &entry, 1)) &&
	       vtr_expect_success(check, "UPDATE_CURSOR", vtr_command_update_cursor(guest, 0, CURSOR, 150, 70, HOT_X, HOT_Y)) &&
	       expect_cursor(check, true, 150, 70);
}

/* Cursors that cannot be, one after the other; the device only has to live and go on. */
static bool bad(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	static const struct {
		uint32_t scanout, id, x, y, hot_x, hot_y;
	} wrong[] = {
		{ 0, UNKNOWN, 0, 0, 0, 0 },
		{ 16, CURSOR, 0, 0, 0, 0 },
		{ UINT32_MAX, CURSOR, 0, 0, 0, 0 },
		{ 0, 3, 0, 0, 0, 0 }, /* 16 x 16 pixels */
		{ 0, 4, 0, 0, 0, 0 }, /* 128 x 128 pixels */
		{ 0, 5, 0, 0, 0, 0 }, /* a blob of one page */
		{ 0, 6, 0, 0, 0, 0 }, /* a blob without entries */
		{ 0, CURSOR, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
		{ 0, CURSOR, INT32_MAX, 0x80000000, 0x80000000, INT32_MAX },
	};
	struct virtio_gpu_mem_entry page = { guest->areas[VTR_GUEST_RAM].address, 4096, 0 };

	if (!make_screen(check) || !make_cursor(check, CURSOR, SIZE, SIZE) || !make_cursor(check, 3, 16, 16) ||
	    !make_cursor(check, 4, 128, 128) ||
	    !vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, 5, 4096, &page, 1)) ||
	    !vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, 6, 4096 * 4, NULL, 0)))
		return false;
	for (size_t i = 0; i < VTR_CHECK_COUNT(wrong); i++)
		if (!vtr_expect_success(check, "UPDATE_CURSOR",
		                        vtr_command_update_cursor(guest, wrong[i].scanout, wrong[i].id, wrong[i].x, wrong[i].y,
		                                                  wrong[i].hot_x, wrong[i].hot_y)) ||
		    !vtr_expect_success(check, "MOVE_CURSOR",
		                        vtr_command_move_cursor(guest, wrong[i].scanout, wrong[i].x, wrong[i].y)))
			return false;
	return vtr_expect_success(check, "UPDATE_CURSOR", vtr_command_update_cursor(guest, 0, CURSOR, 100, 60, HOT_X, HOT_Y)) &&
	       expect_cursor(check, true, 100, 60) && vtr_expect_alive(check);
}

/* Who gives room for an answer may get one. */
static bool answered(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_update_cursor request = { .hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR };
	struct virtio_gpu_ctrl_hdr response;
	long written = vtr_guest_exchange(check->guest, VTR_GUEST_CURSOR, &request, sizeof(request), &response, sizeof(response));

	return vtr_expect_value(check, "the chain comes back with nothing or a header", written == 0 || written == sizeof(response),
	                        true);
}

static bool bad_commands(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_update_cursor request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D };

	for (size_t size = 1; size <= sizeof(request); size++)
		if (vtr_guest_exchange(guest, VTR_GUEST_CURSOR, &request, size, NULL, 0) < 0)
			return vtr_check_fail(check, "a command of %zu bytes: expected it back, got: %s", size,
			                      vtr_guest_error(guest));
	return vtr_expect_success(check, "MOVE_CURSOR", vtr_command_move_cursor(guest, 0, 1, 1)) && vtr_expect_alive(check);
}

static bool unref_while_shown(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	return make_screen(check) && make_cursor(check, CURSOR, SIZE, SIZE) &&
	       vtr_expect_success(check, "UPDATE_CURSOR", vtr_command_update_cursor(guest, 0, CURSOR, 50, 50, HOT_X, HOT_Y)) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, CURSOR)) &&
	       vtr_expect_success(check, "MOVE_CURSOR", vtr_command_move_cursor(guest, 0, 80, 90)) && vtr_expect_alive(check);
}

static const struct vtr_check_case cases[] = {
	{ "picture", picture, NULL, BLOB, true },
	{ "edges", edges, NULL, BLOB, true },
	{ "blob", blob, NULL, BLOB, true },
	{ "bad", bad, NULL, BLOB },
	{ "answered", answered },
	{ "bad-commands", bad_commands },
	{ "unref-while-shown", unref_while_shown, NULL, BLOB },
};

const struct vtr_check_family vtr_check_cursor = { "cursor", cases, VTR_CHECK_COUNT(cases) };
