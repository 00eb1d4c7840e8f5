/* SPDX-License-Identifier: MIT */
/* RESOURCE_CREATE_3D and the backing of what it makes: virtio 1.3, 5.7.6.8. */
#include <vitrine/limits.h>

#include "guest/check/3d.h"

enum { CTX = VTR_3D_CTX, ID = VTR_3D_TARGET, UNKNOWN = VTR_3D_UNKNOWN, GREEN = 0x00ff00 };

#define PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define FORMAT VIRGL_FORMAT_B8G8R8A8_UNORM
#define SAMPLED VIRGL_BIND_SAMPLER_VIEW

struct create_row {
	struct vtr_texture texture;
	uint32_t expected; /* or one of these */
};
enum { EITHER = 1 /* it is the renderer's to say */, REFUSED = 2 /* for its size, or because there is no such thing */ };

static bool expect_creation(struct vtr_check *check, uint32_t expected, uint32_t response)
{
	const char *what = "RESOURCE_CREATE_3D";

	if (expected == EITHER)
		return vtr_expect_answer(check, what, response);
	if (expected == REFUSED)
		return vtr_expect_error(check, what, response);
	return vtr_expect_response(check, what, response, expected);
}

/* A resource that was made goes, and one that was not is not there. */
static bool create(struct vtr_check *check, const void *row)
{
	const struct create_row *r = row;
	uint32_t response = vtr_command_create_3d(check->guest, ID, &r->texture);
	bool made = response == VIRTIO_GPU_RESP_OK_NODATA;

	return expect_creation(check, r->expected, response) &&
	       vtr_expect_response(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, ID),
	                           made ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

/* vtr_command_create_3d() has no 0 for these. No layers may be one to a renderer. */
static bool zero_fields(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_resource_create_3d request = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
		.resource_id = ID,
		.target = PIPE_TEXTURE_2D,
		.format = FORMAT,
		.bind = SAMPLED,
		.width = 64,
		.height = 64,
		.array_size = 1,
	};

	if (!vtr_expect_response(check, "RESOURCE_CREATE_3D of depth 0", vtr_command_create_3d_raw(check->guest, &request),
	                         PARAMETER))
		return false;
	request.depth = 1;
	request.array_size = 0;
	return vtr_expect_answer(check, "RESOURCE_CREATE_3D of no layers", vtr_command_create_3d_raw(check->guest, &request)) &&
	       vtr_expect_alive(check);
}

static bool ids(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const struct vtr_texture texture = vtr_3d_target_texture(0);
	const uint32_t invalid = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;

	return vtr_expect_response(check, "RESOURCE_CREATE_3D of id 0", vtr_command_create_3d(guest, 0, &texture), invalid) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_3D", vtr_command_create_3d(guest, ID, &texture)) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_3D of an id in use", vtr_command_create_3d(guest, ID, &texture),
	                           invalid) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_2D of an id in use", vtr_command_create_2d(guest, ID, FORMAT, 16, 16),
	                           invalid) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_2D", vtr_command_create_2d(guest, ID + 1, FORMAT, 16, 16)) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_3D of a 2D resource's id",
	                           vtr_command_create_3d(guest, ID + 1, &texture), invalid) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, ID)) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_3D of an id that is free again", vtr_command_create_3d(guest, ID, &texture)) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_3D of id 2^32-1", vtr_command_create_3d(guest, UINT32_MAX, &texture));
}

/* Host memory ends before resource ids do, and comes back. */
static bool host_memory_limit(struct vtr_check *check, const void *row)
{
	const struct vtr_texture large = {
		.target = PIPE_TEXTURE_2D, .format = FORMAT, .bind = SAMPLED, .width = 8192, .height = 4096
	};
	uint32_t response = VIRTIO_GPU_RESP_OK_NODATA, n = 0;

	while (response == VIRTIO_GPU_RESP_OK_NODATA && n < 64)
		response = vtr_command_create_3d(check->guest, ++n, &large);
	return vtr_expect_response(check, "RESOURCE_CREATE_3D of 128 MiB, again and again", response,
	                           VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF of the first", vtr_command_unref(check->guest, 1)) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_3D after that", vtr_command_create_3d(check->guest, 1, &large));
}

static bool backing(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target;
	struct virtio_gpu_mem_entry entry;

	if (!vtr_3d_scene(check, &target) || !vtr_3d_clear(check, CTX, &target, GREEN))
		return false;
	const struct vtr_transfer all = vtr_3d_whole(&target);
	entry = (struct virtio_gpu_mem_entry){ target.address, (uint32_t)target.size, 0 };
	return vtr_expect_response(check, "RESOURCE_ATTACH_BACKING of one that has it", vtr_command_attach(guest, ID, &entry, 1),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_ok(check, "RESOURCE_DETACH_BACKING", vtr_command_detach(guest, ID)) &&
	       vtr_expect_response(check, "RESOURCE_DETACH_BACKING of one that has none", vtr_command_detach(guest, ID),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_error(check, "TRANSFER_FROM_HOST_3D without backing",
	                        vtr_command_transfer_from_host_3d(guest, CTX, ID, &all)) &&
	       vtr_expect_error(check, "TRANSFER_TO_HOST_3D without backing",
	                        vtr_command_transfer_to_host_3d(guest, CTX, ID, &all)) &&
	       vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, ID, &entry, 1)) &&
	       vtr_3d_expect_colour(check, &target, GREEN);
}

/* In many shuffled pieces with poison between them: what is read back lies in each, and nowhere else. */
static bool scattered_backing(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const struct vtr_pattern pattern = { VTR_3D_W, VTR_3D_H, 5 };
	struct vtr_image image = { 0 };
	struct vtr_3d_resource target;
	bool passed = vtr_3d_scene(check, &target) &&
	              vtr_expect_ok(check, "RESOURCE_DETACH_BACKING", vtr_command_detach(guest, ID)) &&
	              vtr_expect_success(check, "laying out an image",
	                                 vtr_image_init(&image, guest,
	                                                &(struct vtr_image_layout){ VTR_GUEST_RAM, VTR_3D_W, VTR_3D_H, .ranges = 33,
	                                                                            .granularity = 64 }));

	if (passed) {
		const struct vtr_transfer all = vtr_3d_whole(&target);
		struct virtio_gpu_mem_entry entry = { target.address, (uint32_t)target.size, 0 };

		vtr_image_draw_all(&image, &pattern);
		passed = vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING",
		                       vtr_command_attach(guest, ID, image.entries, image.n_entries)) &&
		         vtr_expect_ok(check, "TRANSFER_TO_HOST_3D", vtr_command_transfer_to_host_3d(guest, CTX, ID, &all)) &&
		         vtr_expect_ok(check, "RESOURCE_DETACH_BACKING", vtr_command_detach(guest, ID)) &&
		         vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, ID, &entry, 1)) &&
		         vtr_3d_read_back(check, &target);
	}
	for (uint32_t i = 0; passed && i < VTR_3D_W * VTR_3D_H; i++) {
		uint32_t x = i % VTR_3D_W, y = i / VTR_3D_W, expected = vtr_pattern_pixel(&pattern, x, y);

		if (vtr_3d_pixel(&target, x, y) != expected)
			passed = vtr_check_fail(check, "pixel %u,%u: expected %06x, got %06x", x, y, expected,
			                        vtr_3d_pixel(&target, x, y));
	}
	vtr_image_finish(&image);
	return passed;
}

/* Made and destroyed again and again: ids, memory and whatever stands for them come back. */
static bool again_and_again(struct vtr_check *check, const void *row)
{
	const struct vtr_texture texture = vtr_3d_target_texture(0);

	for (int i = 0; i < 2000; i++)
		if (!vtr_expect_ok(check, "RESOURCE_CREATE_3D", vtr_command_create_3d(check->guest, ID, &texture)) ||
		    !vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, ID)))
			return false;
	return true;
}

#define CREATE(result, ...)                                                                                                        \
	create, &(const struct create_row)                                                                                         \
	{                                                                                                                          \
		{ __VA_ARGS__ }, result                                                                                            \
	}
#define MADE VIRTIO_GPU_RESP_OK_NODATA

static const struct vtr_check_case cases[] = {
	{ "1d", CREATE(MADE, PIPE_TEXTURE_1D, FORMAT, SAMPLED, 64, 1) },
	{ "2d", CREATE(MADE, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 48) },
	{ "3d", CREATE(MADE, PIPE_TEXTURE_3D, FORMAT, SAMPLED, 16, 16, 16) },
	{ "cube", CREATE(MADE, PIPE_TEXTURE_CUBE, FORMAT, SAMPLED, 32, 32, 1, 6) },
	{ "rect", CREATE(MADE, PIPE_TEXTURE_RECT, FORMAT, SAMPLED, 33, 17) },
	{ "1d-array", CREATE(MADE, PIPE_TEXTURE_1D_ARRAY, FORMAT, SAMPLED, 64, 1, 1, 5) },
	{ "2d-array", CREATE(MADE, PIPE_TEXTURE_2D_ARRAY, FORMAT, SAMPLED, 64, 48, 1, 5) },
	{ "cube-array", CREATE(EITHER, PIPE_TEXTURE_CUBE_ARRAY, FORMAT, SAMPLED, 32, 32, 1, 12) },
	{ "buffer", CREATE(MADE, PIPE_BUFFER, VIRGL_FORMAT_R8_UNORM, VIRGL_BIND_VERTEX_BUFFER, 4096, 1) },
	{ "levels", CREATE(MADE, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 64, .last_level = 6) },
	{ "samples", CREATE(EITHER, PIPE_TEXTURE_2D, FORMAT, VIRGL_BIND_RENDER_TARGET, 64, 64, .nr_samples = 4) },
	{ "y-0-top", CREATE(MADE, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 64, .flags = VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP) },
	{ "largest", CREATE(EITHER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, VTR_MAX_DIMENSION, 1) },
	{ "no-width", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 0, 64) },
	{ "no-height", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 0) },
	{ "zero-fields", zero_fields },
	{ "too-wide", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, UINT32_MAX, 1) },
	{ "too-high", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 1, UINT32_MAX) },
	{ "too-deep", CREATE(REFUSED, PIPE_TEXTURE_3D, FORMAT, SAMPLED, 16, 16, UINT32_MAX) },
	{ "too-many-layers", CREATE(REFUSED, PIPE_TEXTURE_2D_ARRAY, FORMAT, SAMPLED, 16, 16, 1, UINT32_MAX) },
	{ "size-overflows", CREATE(REFUSED, PIPE_TEXTURE_3D, FORMAT, SAMPLED, 65536, 65536, 65536) },
	{ "no-format", CREATE(PARAMETER, PIPE_TEXTURE_2D, 0, SAMPLED, 64, 64) },
	{ "unknown-format", CREATE(PARAMETER, PIPE_TEXTURE_2D, 99999, SAMPLED, 64, 64) },
	{ "unknown-target", CREATE(PARAMETER, PIPE_MAX_TEXTURE_TYPES, FORMAT, SAMPLED, 64, 64) },
	{ "too-many-levels", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 64, .last_level = 7) },
	{ "2^32-1-levels", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 64, .last_level = UINT32_MAX) },
	{ "too-many-samples", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, VIRGL_BIND_RENDER_TARGET, 64, 64, .nr_samples = 1000) },
	{ "samples-and-levels",
	  CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, VIRGL_BIND_RENDER_TARGET, 64, 64, .nr_samples = 4, .last_level = 2) },
	{ "2d-of-depth-2", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 64, 2) },
	{ "2d-of-two-layers", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 64, 1, 2) },
	{ "1d-of-height-2", CREATE(PARAMETER, PIPE_TEXTURE_1D, FORMAT, SAMPLED, 64, 2) },
	{ "cube-of-five", CREATE(PARAMETER, PIPE_TEXTURE_CUBE, FORMAT, SAMPLED, 32, 32, 1, 5) },
	{ "unknown-flags", CREATE(PARAMETER, PIPE_TEXTURE_2D, FORMAT, SAMPLED, 64, 64, .flags = UINT32_C(1) << 31) },
	{ "ids", ids },
	{ "host-memory-limit", host_memory_limit },
	{ "backing", backing },
	{ "scattered-backing", scattered_backing },
	{ "again-and-again", again_and_again },
};

const struct vtr_check_family vtr_check_3d_resource = { "3d-resource", cases, VTR_CHECK_COUNT(cases), .three_d = true };
