/* SPDX-License-Identifier: MIT */
/* Capability sets: virtio 1.3, 5.7.4 and 5.7.6.8. What is in virgl's begins as virgl_hw.h has it: a version, and bits of formats
 * that can be sampled, drawn on, ... */
#include <stddef.h>
#include <string.h>

#include "guest/check/3d.h"

enum { LARGEST = 65536, FORMAT_WORDS = 16, PAGE = 4096 };

/* The beginning of virgl's capsets. */
struct virgl_caps_head {
	uint32_t max_version;
	uint32_t sampler[FORMAT_WORDS], render[FORMAT_WORDS];
};

static uint32_t count_capsets(struct vtr_check *check)
{
	return vtr_guest_config(check->guest, offsetof(struct virtio_gpu_config, num_capsets));
}

static bool expect_info(struct vtr_check *check, uint32_t index, struct virtio_gpu_resp_capset_info *info)
{
	return vtr_expect_response(check, "GET_CAPSET_INFO", vtr_command_capset_info(check->guest, index, info),
	                           VIRTIO_GPU_RESP_OK_CAPSET_INFO);
}

static bool get(struct vtr_check *check, const struct virtio_gpu_resp_capset_info *info, uint8_t data[LARGEST])
{
	size_t written;
	uint32_t response =
		vtr_command_capset(check->guest, info->capset_id, info->capset_max_version, data, info->capset_max_size, &written);

	return vtr_expect_response(check, "GET_CAPSET", response, VIRTIO_GPU_RESP_OK_CAPSET) &&
	       vtr_expect_value(check, "bytes of the capset", written, info->capset_max_size);
}

/* Each index has a capset of its own, and the capset is as large as was said. */
static bool every_index(struct vtr_check *check, const void *row)
{
	static uint8_t data[LARGEST];
	struct virtio_gpu_resp_capset_info info;
	uint32_t n = count_capsets(check);
	uint64_t seen = 0;

	if (!vtr_expect_value(check, "1 to 16 capsets", n >= 1 && n <= 16, true))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!expect_info(check, i, &info) ||
		    !vtr_expect_value(check, "a capset id from 1 to 63", info.capset_id >= 1 && info.capset_id < 64, true) ||
		    !vtr_expect_value(check, "the id twice", seen >> info.capset_id & 1, false) ||
		    !vtr_expect_value(check, "1 to 65536 bytes", info.capset_max_size >= 1 && info.capset_max_size <= LARGEST,
		                      true) ||
		    !get(check, &info, data))
			return false;
		seen |= UINT64_C(1) << info.capset_id;
	}
	return vtr_expect_value(check, "the capset VIRGL", seen >> VIRTIO_GPU_CAPSET_VIRGL & 1, true);
}

/* Of any renderer: what a screen needs can be drawn on and sampled. */
static bool plausible(struct vtr_check *check, const void *row)
{
	static uint8_t data[LARGEST];
	struct virtio_gpu_resp_capset_info info;
	struct virgl_caps_head head;

	for (uint32_t i = 0; i < count_capsets(check); i++) {
		if (!expect_info(check, i, &info))
			return false;
		if (info.capset_id != VIRTIO_GPU_CAPSET_VIRGL && info.capset_id != VIRTIO_GPU_CAPSET_VIRGL2)
			continue;
		if (!vtr_expect_value(check, "room for formats", info.capset_max_size >= sizeof(head), true) ||
		    !get(check, &info, data))
			return false;
		memcpy(&head, data, sizeof(head));
		const uint32_t wanted = 1u << VIRGL_FORMAT_B8G8R8A8_UNORM | 1u << VIRGL_FORMAT_B8G8R8X8_UNORM;
		if (!vtr_expect_value(check, "B8G8R8A8 and B8G8R8X8 can be drawn on", head.render[0] & wanted, wanted) ||
		    !vtr_expect_value(check, "and sampled", head.sampler[0] & wanted, wanted))
			return false;
	}
	return true;
}

static bool same_twice(struct vtr_check *check, const void *row)
{
	static uint8_t one[LARGEST], other[LARGEST];
	struct virtio_gpu_resp_capset_info info;

	return expect_info(check, 0, &info) &&
	       vtr_expect_value(check, "at most 65536 bytes", info.capset_max_size <= LARGEST, true) && get(check, &info, one) &&
	       get(check, &info, other) &&
	       vtr_expect_value(check, "both answers are the same", !memcmp(one, other, info.capset_max_size), true);
}

static bool index_beyond(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_resp_capset_info info;

	return vtr_expect_response(check, "GET_CAPSET_INFO of the index behind the last",
	                           vtr_command_capset_info(check->guest, count_capsets(check), &info),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	       vtr_expect_response(check, "GET_CAPSET_INFO of index 2^32-1",
	                           vtr_command_capset_info(check->guest, UINT32_MAX, &info), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

static bool wrong_id(struct vtr_check *check, const void *row)
{
	static const uint32_t ids[] = { 0, 63, UINT32_MAX };
	uint8_t data[64];
	size_t written;

	for (size_t i = 0; i < VTR_CHECK_COUNT(ids); i++)
		if (!vtr_expect_response(check, "GET_CAPSET of an id that there is not",
		                         vtr_command_capset(check->guest, ids[i], 0, data, sizeof(data), &written),
		                         VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER))
			return false;
	return true;
}

static bool wrong_version(struct vtr_check *check, const void *row)
{
	static uint8_t data[LARGEST];
	struct virtio_gpu_resp_capset_info info;
	size_t written;

	return expect_info(check, 0, &info) &&
	       vtr_expect_response(check, "GET_CAPSET of a version above the greatest",
	                           vtr_command_capset(check->guest, info.capset_id, info.capset_max_version + 1, data,
	                                              info.capset_max_size, &written),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

/* Room for less than the capset: nothing beyond it is written, and the device goes on. */
static bool small_room(struct vtr_check *check, const void *row)
{
	static const size_t rooms[] = { 0, 1, 4, 100 };
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_resp_capset_info info;

	if (!expect_info(check, 0, &info))
		return false;
	for (size_t i = 0; i < VTR_CHECK_COUNT(rooms); i++) {
		struct virtio_gpu_get_capset request = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET,
			                                 .capset_id = info.capset_id,
			                                 .capset_version = info.capset_max_version };
		uint8_t response[sizeof(struct virtio_gpu_ctrl_hdr) + 100];
		size_t room = sizeof(struct virtio_gpu_ctrl_hdr) + rooms[i];
		/* written beyond its room would be an error of this */
		long written = vtr_guest_command(guest, &request, sizeof(request), response, room);

		if (written < 0)
			return vtr_check_fail(check, "GET_CAPSET with room for %zu bytes: %s", room, vtr_guest_error(guest));
	}
	return vtr_expect_alive(check);
}

/* Who did not accept VIRGL has no 3D commands. */
static bool not_accepted(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_resp_capset_info info;
	struct vtr_texture texture = vtr_3d_target_texture(0);
	struct vtr_transfer transfer = { .box = { .w = 1, .h = 1, .d = 1 } };
	const uint32_t nop = VIRGL_CMD0(VIRGL_CCMD_NOP, 0, 0);

	return vtr_expect_success(check, "start without VIRGL", vtr_guest_start(guest, ~VTR_3D_VIRGL)) &&
	       vtr_expect_response(check, "GET_CAPSET_INFO", vtr_command_capset_info(guest, 0, &info),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_response(check, "CTX_CREATE", vtr_command_ctx_create(guest, VTR_3D_CTX, 0, "check"),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_3D", vtr_command_create_3d(guest, VTR_3D_TARGET, &texture),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_response(check, "TRANSFER_TO_HOST_3D",
	                           vtr_command_transfer_to_host_3d(guest, 0, VTR_3D_TARGET, &transfer),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_response(check, "SUBMIT_3D", vtr_command_submit(guest, VTR_3D_CTX, &nop, sizeof(nop)),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC);
}

static const struct vtr_check_case cases[] = {
	{ "every-index", every_index },   { "plausible", plausible },       { "same-twice", same_twice },
	{ "index-beyond", index_beyond }, { "wrong-id", wrong_id },         { "wrong-version", wrong_version },
	{ "small-room", small_room },     { "not-accepted", not_accepted },
};

const struct vtr_check_family vtr_check_3d_capset = { "3d-capset", cases, VTR_CHECK_COUNT(cases), .three_d = true };
