/* SPDX-License-Identifier: MIT */
/* What the device says of its scanouts: virtio 1.3, 5.7.4 and 5.7.6.7. */
#include <stddef.h>
#include <string.h>

#include "guest/check/check.h"
#include "guest/edid.h"

static uint32_t n_scanouts(struct vtr_check *check)
{
	return vtr_guest_config(check->guest, offsetof(struct virtio_gpu_config, num_scanouts));
}

static bool display_info(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_resp_display_info info;
	uint32_t count = n_scanouts(check);

	if (!vtr_expect_response(check, "GET_DISPLAY_INFO", vtr_command_display_info(check->guest, &info),
	                         VIRTIO_GPU_RESP_OK_DISPLAY_INFO))
		return false;
	for (uint32_t i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
		const struct virtio_gpu_display_one *one = &info.pmodes[i];

		if (i >= count && !vtr_expect_value(check, "a scanout beyond num_scanouts is enabled", one->enabled, 0))
			return false;
		if (one->enabled && !vtr_expect_value(check, "an enabled scanout has a size", one->r.width && one->r.height, true))
			return false;
	}
	return vtr_expect_value(check, "scanout 0 is enabled", info.pmodes[0].enabled, 1);
}

/* A mode that EDID and display info do not agree on is dropped by Linux. */
static bool edid(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_resp_display_info info;
	uint32_t count = n_scanouts(check);

	if (!vtr_expect_response(check, "GET_DISPLAY_INFO", vtr_command_display_info(check->guest, &info),
	                         VIRTIO_GPU_RESP_OK_DISPLAY_INFO))
		return false;
	for (uint32_t i = 0; i < count && i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
		struct virtio_gpu_resp_edid response;
		struct vtr_edid_info edid;

		if (!vtr_expect_response(check, "GET_EDID", vtr_command_edid(check->guest, i, &response),
		                         VIRTIO_GPU_RESP_OK_EDID) ||
		    !vtr_expect_value(check, "the EDID fits its response", response.size <= sizeof(response.edid), true))
			return false;
		vtr_edid_read(response.edid, response.size, &edid);
		if (!vtr_expect_value(check, "the EDID is whole", edid.valid, true) ||
		    !vtr_expect_value(check, "the EDID has a name", edid.name[0] != 0, true))
			return false;
		if (!info.pmodes[i].enabled)
			continue; /* no monitor that could have a size */
		if (!vtr_expect_value(check, "preferred width", edid.width, info.pmodes[i].r.width) ||
		    !vtr_expect_value(check, "preferred height", edid.height, info.pmodes[i].r.height))
			return false;
	}
	return true;
}

static bool edid_beyond(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_resp_edid response;

	return vtr_expect_response(check, "GET_EDID beyond the last scanout",
	                           vtr_command_edid(check->guest, n_scanouts(check), &response),
	                           VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID) &&
	       vtr_expect_response(check, "GET_EDID of scanout 2^32-1", vtr_command_edid(check->guest, UINT32_MAX, &response),
	                           VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
}

static bool no_capsets(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_get_capset_info request = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO };
	struct virtio_gpu_get_capset get = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET, .capset_id = 1 };
	uint8_t response[4096];

	return vtr_expect_error(check, "GET_CAPSET_INFO",
	                        vtr_command(check->guest, &request, sizeof(request), response, sizeof(response))) &&
	       vtr_expect_error(check, "GET_CAPSET", vtr_command(check->guest, &get, sizeof(get), response, sizeof(response)));
}

static const struct vtr_check_case cases[] = {
	{ "display-info", display_info },
	{ "edid", edid, NULL, VTR_FEATURE(VIRTIO_GPU_F_EDID) },
	{ "edid-beyond", edid_beyond, NULL, VTR_FEATURE(VIRTIO_GPU_F_EDID) },
	{ "no-capsets", no_capsets },
};

const struct vtr_check_family vtr_check_display = { "display", cases, VTR_CHECK_COUNT(cases) };
