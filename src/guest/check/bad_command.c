/* SPDX-License-Identifier: MIT */
/* Requests that are unknown, too short or too long, and answers that do not fit: virtio 1.3, 5.7.6.7. */
#include <string.h>

#include "guest/check/check.h"

enum { ID = 1, MARK = 0xc7 };

static bool unknown(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_ctrl_hdr request = { .type = *(const uint32_t *)row };
	uint8_t response[2048];

	return vtr_expect_response(check, "the command",
	                           vtr_command(check->guest, &request, sizeof(request), response, sizeof(response)),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_alive(check);
}

/* Every length below the command's own, down to one byte. */
struct short_row {
	uint32_t type;
	size_t size;
};

static bool too_short(struct vtr_check *check, const void *row)
{
	const struct short_row *r = row;
	uint8_t request[256] = { 0 }, response[2048];
	struct virtio_gpu_ctrl_hdr *header = (void *)request;

	header->type = r->type;
	for (size_t size = r->size - 1; size >= sizeof(*header); size--)
		if (!vtr_expect_response(check, "a request that is too short",
		                         vtr_command(check->guest, request, size, response, sizeof(response)),
		                         VIRTIO_GPU_RESP_ERR_UNSPEC))
			return false;
	for (size_t size = sizeof(*header) - 1; size; size--) {
		long written = vtr_guest_command(check->guest, request, size, response, sizeof(response));

		if (written < 0)
			return vtr_check_fail(check, "a header of %zu bytes: expected the chain back, got: %s", size,
			                      vtr_guest_error(check->guest));
		if (written &&
		    (written != sizeof(*header) || ((struct virtio_gpu_ctrl_hdr *)response)->type < VIRTIO_GPU_RESP_ERR_UNSPEC))
			return vtr_check_fail(check, "a header of %zu bytes: expected nothing or an error, got %ld bytes", size,
			                      written);
	}
	return vtr_expect_alive(check);
}

/* What follows a command's own bytes does not matter. */
static bool too_long(struct vtr_check *check, const void *row)
{
	struct {
		struct virtio_gpu_resource_create_2d create;
		uint8_t more[20000];
	} request = {
		.create = {
			.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
			.resource_id = ID,
			.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
			.width = 16,
			.height = 16,
		},
	};
	struct virtio_gpu_ctrl_hdr response;

	memset(request.more, 0xff, sizeof(request.more));
	return vtr_expect_ok(check, "RESOURCE_CREATE_2D with 20000 bytes behind it",
	                     vtr_command(check->guest, &request, sizeof(request), &response, sizeof(response))) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, ID));
}

/* More than any command has. */
static bool huge(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_area *area = &guest->areas[VTR_GUEST_RAM];
	struct virtio_gpu_ctrl_hdr *request = vtr_guest_data(guest, area->address, sizeof(*request));
	uint64_t response = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_SYSTEM], 24, 16);
	struct vtr_guest_segment segments[] = { { area->address, (uint32_t)area->size, false }, { response, 24, true } };
	uint32_t written;
	uint16_t head;

	*request = (struct virtio_gpu_ctrl_hdr){ .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB };
	vtr_guest_ring_add(&guest->queues[VTR_GUEST_CONTROL].ring, segments, 2);
	return vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)) &&
	       vtr_expect_success(check, "a request of 256 MiB comes back",
	                          vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)) &&
	       vtr_expect_alive(check);
}

/* An answer that does not fit: never a byte beyond the room, and nothing below a header's size. */
static bool small_room(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_cmd_get_edid request = { .hdr.type = *(const uint32_t *)row };
	static const size_t rooms[] = { 0, 1, 8, 23, 24, 25, 100, 407, 1055 };

	for (size_t i = 0; i < VTR_CHECK_COUNT(rooms); i++) {
		struct vtr_guest_message message;
		uint32_t written;
		uint16_t head;

		if (!vtr_expect_success(check, "posting",
		                        vtr_guest_post(guest, VTR_GUEST_CONTROL, &message, &request, sizeof(request), rooms[i])))
			return false;
		/* the next bytes of the arena are nobody's */
		uint8_t *beyond = vtr_guest_data(guest, message.response + rooms[i], 2048);
		uint8_t untouched[2048];
		memset(untouched, MARK, sizeof(untouched));
		size_t used_by_table = 128; /* the indirect table lies right behind */
		memcpy(untouched, beyond, used_by_table);
		memset(beyond + used_by_table, MARK, sizeof(untouched) - used_by_table);
		if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, false)) ||
		    !vtr_expect_success(check, "the chain comes back",
		                        vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)) ||
		    !vtr_expect_value(check, "bytes written fit the room", written <= rooms[i], true) ||
		    !vtr_expect_value(check, "less than a header is nothing", written < 24 ? written : 0, 0) ||
		    !vtr_expect_value(check, "bytes beyond the room changed",
		                      (uint64_t)memcmp(beyond, untouched, sizeof(untouched)), 0))
			return false;
	}
	return vtr_expect_alive(check);
}

#define UNKNOWN(type)                                                                                                              \
	unknown, &(const uint32_t)                                                                                                 \
	{                                                                                                                          \
		type                                                                                                               \
	}
#define SHORT(type, name)                                                                                                          \
	too_short, &(const struct short_row)                                                                                       \
	{                                                                                                                          \
		type, sizeof(struct name)                                                                                          \
	}

static const struct vtr_check_case cases[] = {
	{ "unknown-0", UNKNOWN(0) },
	{ "unknown-0xff", UNKNOWN(0xff) },
	{ "unknown-0x1ff", UNKNOWN(0x1ff) },
	{ "unknown-3d", UNKNOWN(VIRTIO_GPU_CMD_CTX_CREATE) },
	{ "unknown-submit-3d", UNKNOWN(VIRTIO_GPU_CMD_SUBMIT_3D) },
	{ "unknown-map-blob", UNKNOWN(VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB) },
	{ "unknown-response", UNKNOWN(VIRTIO_GPU_RESP_OK_NODATA) },
	{ "unknown-2^32-1", UNKNOWN(UINT32_MAX) },
	{ "cursor-on-control-queue", UNKNOWN(VIRTIO_GPU_CMD_UPDATE_CURSOR) },
	{ "short-get-display-info", SHORT(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, virtio_gpu_ctrl_hdr) },
	{ "short-get-edid", SHORT(VIRTIO_GPU_CMD_GET_EDID, virtio_gpu_cmd_get_edid) },
	{ "short-create-2d", SHORT(VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, virtio_gpu_resource_create_2d) },
	{ "short-unref", SHORT(VIRTIO_GPU_CMD_RESOURCE_UNREF, virtio_gpu_resource_unref) },
	{ "short-set-scanout", SHORT(VIRTIO_GPU_CMD_SET_SCANOUT, virtio_gpu_set_scanout) },
	{ "short-flush", SHORT(VIRTIO_GPU_CMD_RESOURCE_FLUSH, virtio_gpu_resource_flush) },
	{ "short-transfer", SHORT(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, virtio_gpu_transfer_to_host_2d) },
	{ "short-attach-backing", SHORT(VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, virtio_gpu_resource_attach_backing) },
	{ "short-detach-backing", SHORT(VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, virtio_gpu_resource_detach_backing) },
	{ "short-assign-uuid", SHORT(VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, virtio_gpu_resource_assign_uuid) },
	{ "short-create-blob", SHORT(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, virtio_gpu_resource_create_blob) },
	{ "short-set-scanout-blob", SHORT(VIRTIO_GPU_CMD_SET_SCANOUT_BLOB, virtio_gpu_set_scanout_blob) },
	{ "long-create-2d", too_long },
	{ "huge", huge },
	{ "small-room-display-info", small_room, &(const uint32_t){ VIRTIO_GPU_CMD_GET_DISPLAY_INFO } },
	{ "small-room-edid", small_room, &(const uint32_t){ VIRTIO_GPU_CMD_GET_EDID } },
	{ "small-room-error", small_room, &(const uint32_t){ 0xdead } },
};

const struct vtr_check_family vtr_check_bad_command = { "bad-command", cases, VTR_CHECK_COUNT(cases) };
