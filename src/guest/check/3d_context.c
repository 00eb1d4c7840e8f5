/* SPDX-License-Identifier: MIT */
/* Contexts and what is attached to them: virtio 1.3, 5.7.6.8. */
#include <string.h>
#include <vitrine/limits.h>

#include "guest/check/3d.h"
#include "guest/status.h"

enum { CTX = VTR_3D_CTX, OTHER = VTR_3D_OTHER_CTX, ID = VTR_3D_TARGET, UNKNOWN = VTR_3D_UNKNOWN, RED = 0xff0000, BLUE = 0x0000ff };

#define INVALID_CONTEXT VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID
#define INVALID_RESOURCE VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID

static uint32_t create(struct vtr_check *check, uint32_t ctx)
{
	return vtr_command_ctx_create(check->guest, ctx, 0, "check");
}

static bool ids(struct vtr_check *check, const void *row)
{
	return vtr_expect_ok(check, "CTX_CREATE", create(check, CTX)) &&
	       vtr_expect_ok(check, "CTX_CREATE of id 2^32-1", create(check, UINT32_MAX)) &&
	       vtr_expect_response(check, "CTX_CREATE of id 0", create(check, 0), INVALID_CONTEXT) &&
	       vtr_expect_response(check, "CTX_CREATE of an id in use", create(check, CTX), INVALID_CONTEXT) &&
	       vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(check->guest, CTX)) &&
	       vtr_expect_ok(check, "CTX_CREATE of an id that is free again", create(check, CTX));
}

static bool destroy_unknown(struct vtr_check *check, const void *row)
{
	return vtr_expect_response(check, "CTX_DESTROY of an unknown id", vtr_command_ctx_destroy(check->guest, UNKNOWN),
	                           INVALID_CONTEXT) &&
	       vtr_expect_response(check, "CTX_DESTROY of id 0", vtr_command_ctx_destroy(check->guest, 0), INVALID_CONTEXT) &&
	       vtr_expect_ok(check, "CTX_CREATE", create(check, CTX)) &&
	       vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(check->guest, CTX)) &&
	       vtr_expect_response(check, "CTX_DESTROY again", vtr_command_ctx_destroy(check->guest, CTX), INVALID_CONTEXT);
}

/* They end before ids do, and come back. */
static bool too_many(struct vtr_check *check, const void *row)
{
	uint32_t n = 0, response = VIRTIO_GPU_RESP_OK_NODATA;

	while (response == VIRTIO_GPU_RESP_OK_NODATA && n <= VTR_MAX_CONTEXTS)
		response = create(check, ++n);
	return vtr_expect_response(check, "CTX_CREATE again and again", response, VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY) &&
	       vtr_expect_ok(check, "CTX_DESTROY of the first", vtr_command_ctx_destroy(check->guest, 1)) &&
	       vtr_expect_ok(check, "CTX_CREATE after that", create(check, 1));
}

/* row: nlen; the 64 bytes of the name are full, without an end. A name that says that it is longer is one of 64, or none. */

static bool name(struct vtr_check *check, const void *row)
{
	const uint32_t length = *(const uint32_t *)row;
	struct virtio_gpu_ctx_create request = { .hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = CTX }, .nlen = length };
	struct virtio_gpu_ctrl_hdr response;

	memset(request.debug_name, 'x', sizeof(request.debug_name));
	uint32_t type = vtr_command(check->guest, &request, sizeof(request), &response, sizeof(response));
	return (length <= 64 ? vtr_expect_ok(check, "CTX_CREATE", type) : vtr_expect_answer(check, "CTX_CREATE", type)) &&
	       vtr_expect_alive(check);
}

/* row: context_init */
static bool unknown_capset(struct vtr_check *check, const void *row)
{
	return vtr_expect_response(check, "CTX_CREATE", vtr_command_ctx_create(check->guest, CTX, *(const uint32_t *)row, "check"),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	       vtr_expect_ok(check, "CTX_CREATE after it", create(check, CTX));
}

static bool known_capset(struct vtr_check *check, const void *row)
{
	return vtr_expect_ok(check, "CTX_CREATE", vtr_command_ctx_create(check->guest, CTX, *(const uint32_t *)row, "check"));
}

/* Without CONTEXT_INIT that field is padding. */
static bool init_is_padding(struct vtr_check *check, const void *row)
{
	return vtr_expect_success(check, "start without CONTEXT_INIT",
	                          vtr_guest_start(check->guest, ~VTR_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT))) &&
	       vtr_expect_ok(check, "CTX_CREATE", vtr_command_ctx_create(check->guest, CTX, 63, "check"));
}

static bool attach_errors(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) &&
	       vtr_expect_response(check, "CTX_ATTACH_RESOURCE to an unknown context", vtr_command_ctx_attach(guest, UNKNOWN, ID),
	                           INVALID_CONTEXT) &&
	       vtr_expect_response(check, "CTX_ATTACH_RESOURCE to context 0", vtr_command_ctx_attach(guest, 0, ID),
	                           INVALID_CONTEXT) &&
	       vtr_expect_response(check, "CTX_ATTACH_RESOURCE of an unknown resource", vtr_command_ctx_attach(guest, CTX, UNKNOWN),
	                           INVALID_RESOURCE) &&
	       vtr_expect_response(check, "CTX_ATTACH_RESOURCE of resource 0", vtr_command_ctx_attach(guest, CTX, 0),
	                           INVALID_RESOURCE) &&
	       vtr_expect_response(check, "CTX_DETACH_RESOURCE from an unknown context", vtr_command_ctx_detach(guest, UNKNOWN, ID),
	                           INVALID_CONTEXT) &&
	       vtr_expect_response(check, "CTX_DETACH_RESOURCE of an unknown resource", vtr_command_ctx_detach(guest, CTX, UNKNOWN),
	                           INVALID_RESOURCE);
}

/* Attaching twice is no more than once; whether the second one is an error is left open. */
static bool attach_again(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) &&
	       vtr_expect_answer(check, "CTX_ATTACH_RESOURCE again", vtr_command_ctx_attach(guest, CTX, ID)) &&
	       vtr_expect_ok(check, "CTX_DETACH_RESOURCE", vtr_command_ctx_detach(guest, CTX, ID)) &&
	       vtr_expect_answer(check, "CTX_DETACH_RESOURCE again", vtr_command_ctx_detach(guest, CTX, ID)) &&
	       vtr_expect_error(check, "SUBMIT_3D that draws on what is detached", vtr_3d_try_clear(check, CTX, &target, RED)) &&
	       vtr_expect_alive(check);
}

/* A resource outlives the context that drew it. */
static bool resource_outlives(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) && vtr_3d_clear(check, CTX, &target, RED) &&
	       vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(check->guest, CTX)) && vtr_3d_context(check, CTX) &&
	       vtr_3d_attach(check, &target, CTX) && vtr_3d_expect_colour(check, &target, RED) &&
	       vtr_3d_clear(check, CTX, &target, BLUE) && vtr_3d_expect_colour(check, &target, BLUE);
}

/* A resource goes while it is attached: the context knows nothing of one that takes its id later. */
static bool resource_goes(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource target, later, bystander;

	return vtr_3d_scene(check, &target) && vtr_3d_context(check, OTHER) && vtr_3d_clear(check, CTX, &target, RED) &&
	       vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, ID)) && vtr_3d_target(check, &later, 0, ID, 0) &&
	       vtr_expect_error(check, "SUBMIT_3D that draws on what was never attached",
	                        vtr_3d_try_clear(check, CTX, &later, BLUE)) &&
	       vtr_3d_target(check, &bystander, OTHER, ID + 1, 0) && vtr_3d_clear(check, OTHER, &bystander, BLUE) &&
	       vtr_3d_expect_colour(check, &bystander, BLUE);
}

/* Each context draws on its own and both on what they share. */
static bool shared(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) && vtr_3d_context(check, OTHER) &&
	       vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(check->guest, OTHER, ID)) &&
	       vtr_3d_clear(check, CTX, &target, RED) && vtr_3d_expect_colour(check, &target, RED) &&
	       vtr_3d_clear(check, OTHER, &target, BLUE) && vtr_3d_expect_colour(check, &target, BLUE);
}

/* What the device says that it has, where it says so. */
struct count {
	json_int_t contexts, resources, hostmem;
};

static bool count(struct vtr_check *check, struct count *count)
{
	struct vtr_error error;
	json_t *status = vtr_device_status(check->guest, &error);

	if (!status)
		return vtr_check_fail(check, "status: %s", error.text);
	*count = (struct count){ vtr_device_status_number(status, "renderer.contexts"),
		                 vtr_device_status_number(status, "resources"), vtr_device_status_number(status, "hostmem") };
	json_decref(status);
	return true;
}

static bool expect_count(struct vtr_check *check, const struct count *before, json_int_t contexts, json_int_t resources)
{
	struct count now;

	return count(check, &now) &&
	       vtr_expect_value(check, "contexts", (uint64_t)(now.contexts - before->contexts), (uint64_t)contexts) &&
	       vtr_expect_value(check, "resources", (uint64_t)(now.resources - before->resources), (uint64_t)resources) &&
	       vtr_expect_value(check, "host memory grew with them", now.hostmem > before->hostmem, resources > 0);
}

/* Everything that is destroyed is gone, and everything with a reset. */
static bool none_left(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource targets[2];
	struct count before;

	if (!guest->options.control)
		return true;
	if (!count(check, &before) || !vtr_3d_scene(check, &targets[0]) || !vtr_3d_context(check, OTHER) ||
	    !vtr_3d_target(check, &targets[1], OTHER, ID + 1, 0) || !vtr_3d_clear(check, CTX, &targets[0], RED) ||
	    !vtr_3d_clear(check, OTHER, &targets[1], BLUE) || !expect_count(check, &before, 2, 2) ||
	    !vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(guest, CTX)) || !expect_count(check, &before, 1, 2) ||
	    !vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(guest, OTHER)) ||
	    !vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, ID)) ||
	    !vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, ID + 1)) || !expect_count(check, &before, 0, 0))
		return false;
	return vtr_3d_scene(check, &targets[0]) && vtr_3d_clear(check, CTX, &targets[0], RED) && vtr_expect_recovery(check) &&
	       expect_count(check, &before, 0, 0);
}

static bool reset_forgets(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource target;
	const uint32_t nop = VIRGL_CMD0(VIRGL_CCMD_NOP, 0, 0);

	return vtr_3d_scene(check, &target) && vtr_3d_clear(check, CTX, &target, RED) && vtr_expect_recovery(check) &&
	       vtr_expect_response(check, "SUBMIT_3D to a context from before a reset",
	                           vtr_command_submit(check->guest, CTX, &nop, sizeof(nop)), INVALID_CONTEXT) &&
	       vtr_expect_response(check, "RESOURCE_UNREF of a resource from before a reset", vtr_command_unref(check->guest, ID),
	                           INVALID_RESOURCE) &&
	       vtr_3d_scene(check, &target) && vtr_3d_clear(check, CTX, &target, BLUE) &&
	       vtr_3d_expect_colour(check, &target, BLUE);
}

#define NUMBER(n)                                                                                                                  \
	&(const uint32_t)                                                                                                          \
	{                                                                                                                          \
		n                                                                                                                  \
	}
#define INIT VTR_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT)
#define CAPSET(id) &(const uint32_t){ id }, INIT

static const struct vtr_check_case cases[] = {
	{ "ids", ids },
	{ "destroy-unknown", destroy_unknown },
	{ "too-many", too_many },
	{ "name-of-0", name, NUMBER(0) },
	{ "name-of-64", name, NUMBER(64) },
	{ "name-of-65", name, NUMBER(65) },
	{ "name-of-2^32-1", name, NUMBER(UINT32_MAX) },
	{ "init-0", known_capset, CAPSET(0) },
	{ "init-virgl", known_capset, CAPSET(VIRTIO_GPU_CAPSET_VIRGL) },
	{ "init-63", unknown_capset, CAPSET(63) },
	{ "init-unknown-bits", unknown_capset, CAPSET(UINT32_C(1) << 31 | VIRTIO_GPU_CAPSET_VIRGL) },
	{ "init-is-padding", init_is_padding },
	{ "attach-errors", attach_errors },
	{ "attach-again", attach_again },
	{ "resource-outlives", resource_outlives },
	{ "resource-goes", resource_goes },
	{ "shared", shared },
	{ "none-left", none_left, .pictures = true },
	{ "reset-forgets", reset_forgets },
};

const struct vtr_check_family vtr_check_3d_context = { "3d-context", cases, VTR_CHECK_COUNT(cases), .three_d = true };
