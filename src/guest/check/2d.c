/* SPDX-License-Identifier: MIT */
/* Resources whose pixels the device holds: virtio 1.3, 5.7.6.8, from RESOURCE_CREATE_2D to TRANSFER_TO_HOST_2D. */
#include <vitrine/limits.h>

#include "guest/check/check.h"

enum { ID = 1, UNKNOWN = 77, W = 200, H = 120, FORMAT = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM };

/* A 2D resource of W x H with its backing drawn to `frame`, transferred, shown on scanout 0. */
static bool show_2d(struct vtr_check *check, struct vtr_image *image, uint32_t format, uint32_t frame)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_image_layout layout = { VTR_GUEST_RAM, W, H, .format = format, .ranges = 9 };
	struct vtr_pattern pattern = { W, H, frame };

	if (!vtr_expect_success(check, "laying out an image", vtr_image_init(image, guest, &layout)))
		return false;
	vtr_image_draw_all(image, &pattern);
	struct vtr_rect all = vtr_check_whole(image);
	return vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(guest, ID, format, W, H)) &&
	       vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, ID, image->entries, image->n_entries)) &&
	       vtr_expect_ok(check, "TRANSFER_TO_HOST_2D", vtr_command_transfer(guest, ID, all, 0)) &&
	       vtr_expect_ok(check, "SET_SCANOUT", vtr_command_set_scanout(guest, 0, ID, all)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all));
}

struct create_row {
	uint32_t id, format, width, height;
	uint32_t expected;
};

static bool create(struct vtr_check *check, const void *row)
{
	const struct create_row *r = row;

	return vtr_expect_response(check, "RESOURCE_CREATE_2D",
	                           vtr_command_create_2d(check->guest, r->id, r->format, r->width, r->height), r->expected) &&
	       vtr_expect_alive(check);
}

static bool create_twice(struct vtr_check *check, const void *row)
{
	return vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(check->guest, ID, FORMAT, W, H)) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_2D with an id in use",
	                           vtr_command_create_2d(check->guest, ID, FORMAT, W, H),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, ID)) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_2D with an id that is free again",
	                     vtr_command_create_2d(check->guest, ID, FORMAT, W, H));
}

/* Host memory ends before resource ids do, and comes back. */
static bool host_memory_limit(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	uint32_t response = VIRTIO_GPU_RESP_OK_NODATA, n = 0;

	while (response == VIRTIO_GPU_RESP_OK_NODATA && n < 64)
		response = vtr_command_create_2d(guest, ++n, FORMAT, 4096, 8192);
	if (!vtr_expect_response(check, "RESOURCE_CREATE_2D of 128 MiB, again and again", response,
	                         VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY))
		return false;
	return vtr_expect_ok(check, "RESOURCE_UNREF of the first", vtr_command_unref(guest, 1)) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_2D after that", vtr_command_create_2d(guest, 1, FORMAT, 4096, 8192));
}

static bool unref_unknown(struct vtr_check *check, const void *row)
{
	return vtr_expect_response(check, "RESOURCE_UNREF of an unknown id", vtr_command_unref(check->guest, UNKNOWN),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_response(check, "RESOURCE_UNREF of id 0", vtr_command_unref(check->guest, 0),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

static bool backing_of_unknown(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { guest->areas[VTR_GUEST_RAM].address, 4096, 0 };

	return vtr_expect_response(check, "RESOURCE_ATTACH_BACKING of an unknown id", vtr_command_attach(guest, UNKNOWN, &entry, 1),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_response(check, "RESOURCE_DETACH_BACKING of an unknown id", vtr_command_detach(guest, UNKNOWN),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

static bool backing_twice(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { guest->areas[VTR_GUEST_RAM].address, W * H * 4, 0 };

	return vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(guest, ID, FORMAT, W, H)) &&
	       vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, ID, &entry, 1)) &&
	       vtr_expect_response(check, "RESOURCE_ATTACH_BACKING of one that has it", vtr_command_attach(guest, ID, &entry, 1),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_ok(check, "RESOURCE_DETACH_BACKING", vtr_command_detach(guest, ID)) &&
	       vtr_expect_response(check, "RESOURCE_DETACH_BACKING of one that has none", vtr_command_detach(guest, ID),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC);
}

/* Transfers that leave the resource or its backing. */
struct transfer_row {
	struct vtr_rect rect;
	uint64_t offset;
};

static bool transfer_beyond(struct vtr_check *check, const void *row)
{
	const struct transfer_row *r = row;
	struct vtr_image image = { 0 };
	bool passed = show_2d(check, &image, FORMAT, 3) &&
	              vtr_expect_response(check, "TRANSFER_TO_HOST_2D", vtr_command_transfer(check->guest, ID, r->rect, r->offset),
	                                  VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 3 });

	vtr_image_finish(&image);
	return passed;
}

static bool transfer_nothing(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_rect all = { 0, 0, W, H };

	return vtr_expect_response(check, "TRANSFER_TO_HOST_2D of an unknown id", vtr_command_transfer(guest, UNKNOWN, all, 0),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(guest, ID, FORMAT, W, H)) &&
	       vtr_expect_error(check, "TRANSFER_TO_HOST_2D without backing", vtr_command_transfer(guest, ID, all, 0)) &&
	       vtr_expect_alive(check);
}

static bool set_scanout_errors(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	static const struct {
		const char *what;
		uint32_t scanout, id;
		struct vtr_rect rect;
		uint32_t expected;
	} wrong[] = {
		{ "SET_SCANOUT of an unknown id", 0, UNKNOWN, { 0, 0, W, H }, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID },
		{ "SET_SCANOUT of scanout 16", 16, ID, { 0, 0, W, H }, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID },
		{ "SET_SCANOUT of scanout 2^32-1", UINT32_MAX, ID, { 0, 0, W, H }, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID },
		{ "disabling scanout 16", 16, 0, { 0, 0, 0, 0 }, VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID },
		{ "SET_SCANOUT wider than the resource", 0, ID, { 0, 0, W + 1, H }, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
		{ "SET_SCANOUT below the resource", 0, ID, { 0, 1, W, H }, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
		{ "SET_SCANOUT whose x wraps", 0, ID, { UINT32_MAX, 0, 2, H }, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
		{ "SET_SCANOUT of no width", 0, ID, { 0, 0, 0, H }, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
		{ "SET_SCANOUT of no height", 0, ID, { 0, 0, W, 0 }, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER },
	};

	if (!vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(guest, ID, FORMAT, W, H)))
		return false;
	for (size_t i = 0; i < VTR_CHECK_COUNT(wrong); i++)
		if (!vtr_expect_response(check, wrong[i].what,
		                         vtr_command_set_scanout(guest, wrong[i].scanout, wrong[i].id, wrong[i].rect),
		                         wrong[i].expected))
			return false;
	return vtr_expect_ok(check, "disabling scanout 0", vtr_command_set_scanout(guest, 0, 0, (struct vtr_rect){ 0 }));
}

static bool flush_errors(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	return vtr_expect_response(check, "RESOURCE_FLUSH of an unknown id",
	                           vtr_command_flush(guest, UNKNOWN, (struct vtr_rect){ 0, 0, 1, 1 }),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(guest, ID, FORMAT, W, H)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH of what is not shown",
	                     vtr_command_flush(guest, ID, (struct vtr_rect){ 0, 0, W, H })) &&
	       vtr_expect_response(check, "RESOURCE_FLUSH beyond the resource",
	                           vtr_command_flush(guest, ID, (struct vtr_rect){ 1, 0, W, H }),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	       vtr_expect_response(check, "RESOURCE_FLUSH whose y wraps",
	                           vtr_command_flush(guest, ID, (struct vtr_rect){ 0, UINT32_MAX, W, 2 }),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

static bool picture(struct vtr_check *check, const void *row)
{
	struct vtr_image image = { 0 };
	bool passed = show_2d(check, &image, *(const uint32_t *)row, 11) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 11 });

	vtr_image_finish(&image);
	return passed;
}

/* A part of the picture is transferred and flushed; the rest stays what it was, whatever the backing says by now. */
static bool part(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_patchwork patchwork = { { W, H, 1 }, { W, H, 2 }, { 33, 21, 71, 50 }, 0, 0 };
	struct vtr_image image = { 0 };
	bool passed = show_2d(check, &image, FORMAT, 1);

	if (passed) {
		vtr_image_draw_all(&image, &patchwork.inside);
		passed = vtr_expect_ok(check, "TRANSFER_TO_HOST_2D of a part",
		                       vtr_command_transfer(guest, ID, patchwork.rect, (21 * W + 33) * 4)) &&
		         vtr_expect_ok(check, "RESOURCE_FLUSH of a part", vtr_command_flush(guest, ID, patchwork.rect)) &&
		         vtr_expect_patchwork(check, 0, W, H, &patchwork);
	}
	vtr_image_finish(&image);
	return passed;
}

/* The scanout shows a part of the resource. */
static bool window(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_patchwork patchwork = { { W, H, 4 }, { W, H, 4 }, { 0 }, 40, 30 };
	struct vtr_rect rect = { 40, 30, 100, 60 };
	struct vtr_image image = { 0 };
	bool passed = show_2d(check, &image, FORMAT, 4) &&
	              vtr_expect_ok(check, "SET_SCANOUT of a part", vtr_command_set_scanout(guest, 0, ID, rect)) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
	              vtr_expect_patchwork(check, 0, rect.width, rect.height, &patchwork);

	vtr_image_finish(&image);
	return passed;
}

/* The pixels are the device's: without backing the picture stays. */
static bool survives_detach(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_image image = { 0 };
	bool passed = show_2d(check, &image, FORMAT, 6) &&
	              vtr_expect_ok(check, "RESOURCE_DETACH_BACKING", vtr_command_detach(guest, ID)) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 6 });

	vtr_image_finish(&image);
	return passed;
}

static bool unref_while_shown(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_image image = { 0 };
	bool passed = show_2d(check, &image, FORMAT, 7) &&
	              vtr_expect_ok(check, "RESOURCE_UNREF of what is shown", vtr_command_unref(guest, ID)) &&
	              vtr_expect_blank(check, 0) &&
	              vtr_expect_response(check, "RESOURCE_FLUSH of it", vtr_command_flush(guest, ID, vtr_check_whole(&image)),
	                                  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	              vtr_expect_alive(check);

	vtr_image_finish(&image);
	if (passed) {
		passed = show_2d(check, &image, FORMAT, 8) && vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 8 });
		vtr_image_finish(&image);
	}
	return passed;
}

#define CREATE(...)                                                                                                                \
	create, &(const struct create_row)                                                                                         \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}
#define TRANSFER(...)                                                                                                              \
	transfer_beyond, &(const struct transfer_row)                                                                              \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}
#define PICTURE(format) picture, &(const uint32_t){ format }, 0, true

static const struct vtr_check_case cases[] = {
	{ "create", CREATE(ID, FORMAT, W, H, VIRTIO_GPU_RESP_OK_NODATA) },
	{ "create-odd-size", CREATE(ID, FORMAT, 1, 1, VIRTIO_GPU_RESP_OK_NODATA) },
	{ "create-largest-id", CREATE(UINT32_MAX, FORMAT, 16, 16, VIRTIO_GPU_RESP_OK_NODATA) },
	{ "create-id-0", CREATE(0, FORMAT, W, H, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) },
	{ "create-twice", create_twice },
	{ "create-no-format", CREATE(ID, 0, W, H, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) },
	{ "create-unknown-format", CREATE(ID, 5, W, H, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) },
	{ "create-no-width", CREATE(ID, FORMAT, 0, H, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) },
	{ "create-no-height", CREATE(ID, FORMAT, W, 0, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) },
	{ "create-too-wide", CREATE(ID, FORMAT, VTR_MAX_DIMENSION + 1, 1, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) },
	{ "create-size-overflows", CREATE(ID, FORMAT, UINT32_MAX, UINT32_MAX, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) },
	{ "host-memory-limit", host_memory_limit },
	{ "unref-unknown", unref_unknown },
	{ "backing-of-unknown", backing_of_unknown },
	{ "backing-twice", backing_twice },
	{ "transfer-too-wide", TRANSFER({ 1, 0, W, H }, 0) },
	{ "transfer-too-high", TRANSFER({ 0, 0, W, H + 1 }, 0) },
	{ "transfer-rect-wraps", TRANSFER({ UINT32_MAX, 0, 2, 1 }, 0) },
	{ "transfer-past-backing", TRANSFER({ 0, 0, W, H }, 4096 * 24) },
	{ "transfer-offset-wraps", TRANSFER({ 0, 0, W, H }, UINT64_MAX - 3) },
	{ "transfer-nothing", transfer_nothing },
	{ "set-scanout-errors", set_scanout_errors },
	{ "flush-errors", flush_errors },
	{ "picture-b8g8r8a8", PICTURE(VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM) },
	{ "picture-b8g8r8x8", PICTURE(VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM) },
	{ "picture-a8r8g8b8", PICTURE(VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM) },
	{ "picture-x8r8g8b8", PICTURE(VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM) },
	{ "picture-r8g8b8a8", PICTURE(VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM) },
	{ "picture-x8b8g8r8", PICTURE(VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM) },
	{ "picture-a8b8g8r8", PICTURE(VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM) },
	{ "picture-r8g8b8x8", PICTURE(VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM) },
	{ "part", part, NULL, 0, true },
	{ "window", window, NULL, 0, true },
	{ "survives-detach", survives_detach },
	{ "unref-while-shown", unref_while_shown },
};

const struct vtr_check_family vtr_check_2d = { "2d", cases, VTR_CHECK_COUNT(cases) };
