/* SPDX-License-Identifier: MIT */
/* Blobs whose memory is the renderer's: virtio 1.3, 5.7.6.8 (RESOURCE_CREATE_BLOB), blob_mem HOST3D and HOST3D_GUEST. virgl makes
 * the object in a stream, by PIPE_RESOURCE_CREATE, and the blob takes it by its blob_id. */
#include <string.h>

#include "guest/check/3d.h"

enum { CTX = VTR_3D_CTX, OTHER = VTR_3D_OTHER_CTX, ID = VTR_3D_TARGET, UNKNOWN = VTR_3D_UNKNOWN, BLOB_ID = 5, SIZE = 8192 };

#define PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER

static uint32_t create_blob(struct vtr_check *check, uint32_t ctx, uint32_t id, uint32_t mem, uint64_t blob_id, uint64_t size)
{
	struct virtio_gpu_resource_create_blob request = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = ctx },
		.resource_id = id,
		.blob_mem = mem,
		.blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
		.blob_id = blob_id,
		.size = size,
	};

	return vtr_command_entries(check->guest, &request, sizeof(request), NULL, 0);
}

/* A buffer that becomes a blob. */
static bool make_object(struct vtr_check *check, uint32_t ctx)
{
	struct vtr_virgl_stream stream = { 0 };

	vtr_virgl_pipe_buffer(&stream, BLOB_ID, SIZE);
	return vtr_3d_context(check, ctx) &&
	       vtr_expect_ok(check, "SUBMIT_3D of PIPE_RESOURCE_CREATE", vtr_command_submit_stream(check->guest, ctx, &stream));
}

static bool buffer(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	return make_object(check, CTX) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_BLOB",
	                     create_blob(check, CTX, ID, VIRTIO_GPU_BLOB_MEM_HOST3D, BLOB_ID, SIZE)) &&
	       vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(guest, CTX, ID)) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB of an id in use",
	                           create_blob(check, CTX, ID, VIRTIO_GPU_BLOB_MEM_HOST3D, BLOB_ID, SIZE),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_ok(check, "CTX_DETACH_RESOURCE", vtr_command_ctx_detach(guest, CTX, ID)) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, ID));
}

/* An object is taken once, by its own context, and a blob of no object is none. */
static bool errors(struct vtr_check *check, const void *row)
{
	const uint32_t mem = VIRTIO_GPU_BLOB_MEM_HOST3D;

	return make_object(check, CTX) && vtr_3d_context(check, OTHER) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB of an unknown object", create_blob(check, CTX, ID, mem, 99, SIZE),
	                           PARAMETER) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB of another context's object",
	                           create_blob(check, OTHER, ID, mem, BLOB_ID, SIZE), PARAMETER) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB in an unknown context",
	                           create_blob(check, UNKNOWN, ID, mem, BLOB_ID, SIZE), VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB of id 0", create_blob(check, CTX, 0, mem, BLOB_ID, SIZE),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB of no size", create_blob(check, CTX, ID, mem, BLOB_ID, 0),
	                           PARAMETER) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", create_blob(check, CTX, ID, mem, BLOB_ID, SIZE)) &&
	       vtr_expect_error(check, "RESOURCE_CREATE_BLOB of an object that is taken",
	                        create_blob(check, CTX, ID + 1, mem, BLOB_ID, SIZE)) &&
	       vtr_expect_alive(check);
}

/* It is the context's no more: the blob stays. */
static bool outlives_context(struct vtr_check *check, const void *row)
{
	return make_object(check, CTX) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_BLOB",
	                     create_blob(check, CTX, ID, VIRTIO_GPU_BLOB_MEM_HOST3D, BLOB_ID, SIZE)) &&
	       vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(check->guest, CTX)) && vtr_3d_context(check, CTX) &&
	       vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(check->guest, CTX, ID)) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, ID));
}

/* A blob of the guest's memory is still what it is without contexts. */
static bool guest_blob(struct vtr_check *check, const void *row)
{
	struct vtr_image image = { 0 };
	bool passed =
		vtr_3d_context(check, CTX) &&
		vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, VTR_3D_W, VTR_3D_H, .ranges = 7 }, ID,
	                       3) &&
		vtr_expect_pattern(check, 0, &(struct vtr_pattern){ VTR_3D_W, VTR_3D_H, 3 }) &&
		vtr_expect_answer(check, "CTX_ATTACH_RESOURCE of a guest's blob", vtr_command_ctx_attach(check->guest, CTX, ID)) &&
		vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, ID));

	vtr_image_finish(&image);
	return passed;
}

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)

static const struct vtr_check_case cases[] = {
	{ "buffer", buffer, NULL, BLOB },
	{ "errors", errors, NULL, BLOB },
	{ "outlives-context", outlives_context, NULL, BLOB },
	{ "guest-blob", guest_blob, NULL, BLOB },
};

const struct vtr_check_family vtr_check_3d_blob = { "3d-blob", cases, VTR_CHECK_COUNT(cases), .three_d = true };
