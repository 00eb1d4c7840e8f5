/* SPDX-License-Identifier: MIT */
/* Blobs of the host's in the guest's address space: virtio 1.3, 5.7.6.8 (RESOURCE_MAP_BLOB, RESOURCE_UNMAP_BLOB), where the device
 * has a region for them. Where it has none both commands are errors, which harm nothing. */
#include <string.h>

#include "guest/check/3d.h"
#include "guest/link_vhost.h"

enum { CTX = VTR_3D_CTX, ID = VTR_3D_TARGET, BLOB_ID = 6, SIZE = 8192, VALUE = 0x5a };

#define PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define UNKNOWN_ID VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID

/* In CTX, which is there. */
static bool make_blob(struct vtr_check *check)
{
	struct vtr_virgl_stream stream = { 0 };
	const struct virtio_gpu_resource_create_blob request = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = CTX },
		.resource_id = ID,
		.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
		.blob_id = BLOB_ID,
		.size = SIZE,
	};

	vtr_virgl_pipe_buffer(&stream, BLOB_ID, SIZE);
	return vtr_expect_ok(check, "SUBMIT_3D of PIPE_RESOURCE_CREATE", vtr_command_submit_stream(check->guest, CTX, &stream)) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_entries(check->guest, &request, sizeof(request), NULL, 0));
}

static uint32_t map(struct vtr_check *check, uint32_t id, uint64_t offset)
{
	const struct virtio_gpu_resource_map_blob request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
		                                              .resource_id = id,
		                                              .offset = offset };
	struct virtio_gpu_resp_map_info info;

	return vtr_command(check->guest, &request, sizeof(request), &info, sizeof(info));
}

static uint32_t unmap(struct vtr_check *check, uint32_t id)
{
	const struct virtio_gpu_resource_unmap_blob request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, .resource_id = id };
	struct virtio_gpu_ctrl_hdr header;

	return vtr_command(check->guest, &request, sizeof(request), &header, sizeof(header));
}

static bool expect_mapped(struct vtr_check *check, uint64_t offset)
{
	return vtr_expect_response(check, "RESOURCE_MAP_BLOB", map(check, ID, offset), VIRTIO_GPU_RESP_OK_MAP_INFO);
}

/* NULL: the device has none. */
static uint8_t *region_of(struct vtr_check *check, uint64_t *size)
{
	struct vtr_guest_vhost *link = vtr_guest_vhost_of(check->guest);

	return link ? vtr_vhost_user_frontend_shm(link->frontend, VIRTIO_GPU_SHM_ID_HOST_VISIBLE, size) : NULL;
}

static bool expect_byte(struct vtr_check *check, const char *what, const uint8_t *at, uint8_t value)
{
	return vtr_expect_value(check, what, *(const volatile uint8_t *)at, value);
}

/* What is written is the blob's, wherever it is mapped. */
static bool mapped(struct vtr_check *check, const void *row)
{
	uint64_t size;
	uint8_t *region = region_of(check, &size);

	if (!vtr_3d_context(check, CTX) || !make_blob(check))
		return false;
	if (!region)
		return vtr_expect_error(check, "RESOURCE_MAP_BLOB without a region", map(check, ID, 0)) &&
		       vtr_expect_error(check, "RESOURCE_UNMAP_BLOB of what is not mapped", unmap(check, ID)) &&
		       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, ID)) && vtr_expect_alive(check);
	if (!expect_mapped(check, SIZE))
		return false;
	memset(region + SIZE, VALUE, SIZE);
	if (!vtr_expect_ok(check, "RESOURCE_UNMAP_BLOB", unmap(check, ID)) ||
	    !expect_byte(check, "a byte where nothing is mapped", region + SIZE, 0) || !expect_mapped(check, size - SIZE) ||
	    !expect_byte(check, "the first byte", region + size - SIZE, VALUE) ||
	    !expect_byte(check, "the last byte", region + size - 1, VALUE))
		return false;
	return vtr_expect_ok(check, "RESOURCE_UNREF of a mapped blob", vtr_command_unref(check->guest, ID)) && make_blob(check) &&
	       expect_mapped(check, size - SIZE) && vtr_expect_alive(check);
}

static bool errors(struct vtr_check *check, const void *row)
{
	uint64_t size;
	const bool region = region_of(check, &size) != NULL;

	if (!vtr_3d_context(check, CTX) || !make_blob(check))
		return false;
	if (!region)
		return vtr_expect_error(check, "RESOURCE_MAP_BLOB of an unknown id", map(check, VTR_3D_UNKNOWN, 0)) &&
		       vtr_expect_alive(check);
	return vtr_expect_response(check, "RESOURCE_MAP_BLOB of an unknown id", map(check, VTR_3D_UNKNOWN, 0), UNKNOWN_ID) &&
	       vtr_expect_response(check, "RESOURCE_UNMAP_BLOB of an unknown id", unmap(check, VTR_3D_UNKNOWN), UNKNOWN_ID) &&
	       vtr_expect_response(check, "RESOURCE_UNMAP_BLOB of what is not mapped", unmap(check, ID), PARAMETER) &&
	       vtr_expect_response(check, "RESOURCE_MAP_BLOB within a page", map(check, ID, 100), PARAMETER) &&
	       vtr_expect_response(check, "RESOURCE_MAP_BLOB over the end", map(check, ID, size - SIZE / 2), PARAMETER) &&
	       expect_mapped(check, 0) &&
	       vtr_expect_response(check, "RESOURCE_MAP_BLOB of what is mapped", map(check, ID, 2 * SIZE), PARAMETER) &&
	       vtr_expect_ok(check, "RESOURCE_UNMAP_BLOB", unmap(check, ID)) && vtr_expect_alive(check);
}

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)

static const struct vtr_check_case cases[] = {
	{ "mapped", mapped, NULL, BLOB },
	{ "errors", errors, NULL, BLOB },
};

const struct vtr_check_family vtr_check_3d_hostmem = { "3d-hostmem", cases, VTR_CHECK_COUNT(cases), .three_d = true };
