/* SPDX-License-Identifier: MIT */
/* Fences: virtio 1.3, 5.7.6.7. Linux takes a completed fence as the completion of all older ones, so the order is part of the
 * contract. */
#include "guest/check/check.h"

enum { ID = 1, W = 64, H = 48, N = 32 };

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)

static bool make_screen(struct vtr_check *check)
{
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H }, ID, 1);

	vtr_image_finish(&image);
	return passed;
}

static struct virtio_gpu_resource_flush flush_of(uint64_t fence)
{
	return (struct virtio_gpu_resource_flush){
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = fence ? VIRTIO_GPU_FLAG_FENCE : 0, .fence_id = fence },
		.r = { 0, 0, W, H },
		.resource_id = ID,
	};
}

/* Many fenced flushes at once come back in the order they were given. */
static bool in_order(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_message messages[N];

	if (!make_screen(check))
		return false;
	for (uint32_t i = 0; i < N; i++) {
		struct virtio_gpu_resource_flush flush = flush_of(1000 + i);

		if (!vtr_expect_success(check, "posting",
		                        vtr_guest_post(guest, VTR_GUEST_CONTROL, &messages[i], &flush, sizeof(flush), 24)))
			return false;
	}
	if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, false)))
		return false;
	for (uint32_t i = 0; i < N; i++) {
		const struct virtio_gpu_ctrl_hdr *response = vtr_guest_data(guest, messages[i].response, sizeof(*response));
		uint32_t written;
		uint16_t head;

		if (!vtr_expect_success(check, "waiting for a fence",
		                        vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)) ||
		    !vtr_expect_value(check, "the chain that came back", head, (uint64_t)messages[i].head) ||
		    !vtr_expect_value(check, "its fence", response->fence_id, 1000 + i) ||
		    !vtr_expect_ok(check, "RESOURCE_FLUSH", response->type))
			return false;
	}
	return true;
}

/* A fenced command that is done at once waits for the flushes before it. */
static bool quick_behind_slow(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_resource_flush flush = flush_of(1);
	struct virtio_gpu_ctrl_hdr info = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
		                            .flags = VIRTIO_GPU_FLAG_FENCE,
		                            .fence_id = 2 };
	struct vtr_guest_message first, second;
	uint32_t written;
	uint16_t head;

	return make_screen(check) &&
	       vtr_expect_success(check, "posting", vtr_guest_post(guest, VTR_GUEST_CONTROL, &first, &flush, sizeof(flush), 24)) &&
	       vtr_expect_success(check, "posting", vtr_guest_post(guest, VTR_GUEST_CONTROL, &second, &info, sizeof(info), 408)) &&
	       vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, false)) &&
	       vtr_expect_success(check, "waiting",
	                          vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)) &&
	       vtr_expect_value(check, "the first chain back is the flush", head, (uint64_t)first.head) &&
	       vtr_expect_success(check, "waiting",
	                          vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)) &&
	       vtr_expect_value(check, "the second is the other command", head, (uint64_t)second.head);
}

static bool echoed(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_ctrl_hdr request = {
		.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
		.flags = VIRTIO_GPU_FLAG_FENCE,
		.fence_id = UINT64_C(0xfedcba9876543210),
		.ctx_id = 0x1234,
	};
	struct virtio_gpu_resp_display_info response;

	return vtr_expect_response(check, "GET_DISPLAY_INFO",
	                           vtr_command(check->guest, &request, sizeof(request), &response, sizeof(response)),
	                           VIRTIO_GPU_RESP_OK_DISPLAY_INFO) &&
	       vtr_expect_value(check, "fence", response.hdr.fence_id, request.fence_id) &&
	       vtr_expect_value(check, "context of the fence", response.hdr.ctx_id, request.ctx_id);
}

static bool none_without(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO, .fence_id = 99 };
	struct virtio_gpu_resp_display_info response;

	return vtr_expect_response(check, "GET_DISPLAY_INFO",
	                           vtr_command(check->guest, &request, sizeof(request), &response, sizeof(response)),
	                           VIRTIO_GPU_RESP_OK_DISPLAY_INFO) &&
	       vtr_expect_value(check, "flags", response.hdr.flags, 0);
}

/* An error is an answer: it completes its fence. */
static bool on_errors(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_ctrl_hdr request = { .type = 0xdead, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 5 };
	struct virtio_gpu_ctrl_hdr response;

	return vtr_expect_response(check, "an unknown command",
	                           vtr_command(check->guest, &request, sizeof(request), &response, sizeof(response)),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC);
}

/* Each flush of a screen that is shown completes, unfenced ones too. */
static bool flushes_complete(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_resource_flush unfenced = flush_of(0);
	struct virtio_gpu_ctrl_hdr response;

	if (!make_screen(check))
		return false;
	for (int i = 0; i < 10; i++)
		if (!vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, (struct vtr_rect){ 0, 0, W, H })) ||
		    !vtr_expect_ok(check, "RESOURCE_FLUSH without a fence",
		                   vtr_command(check->guest, &unfenced, sizeof(unfenced), &response, sizeof(response))))
			return false;
	return true;
}

/* What the display holds may go away while its flush is on the way. */
static bool unref_behind_flush(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_resource_flush flush = flush_of(1);
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = ID };
	struct vtr_guest_message first, second;
	uint32_t written;
	uint16_t head;

	if (!make_screen(check) ||
	    !vtr_expect_success(check, "posting", vtr_guest_post(guest, VTR_GUEST_CONTROL, &first, &flush, sizeof(flush), 24)) ||
	    !vtr_expect_success(check, "posting", vtr_guest_post(guest, VTR_GUEST_CONTROL, &second, &unref, sizeof(unref), 24)) ||
	    !vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, false)))
		return false;
	for (int i = 0; i < 2; i++)
		if (!vtr_expect_success(check, "waiting",
		                        vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)))
			return false;
	const struct virtio_gpu_ctrl_hdr *flushed = vtr_guest_data(guest, first.response, 24);
	const struct virtio_gpu_ctrl_hdr *gone = vtr_guest_data(guest, second.response, 24);
	return vtr_expect_ok(check, "RESOURCE_FLUSH", flushed->type) && vtr_expect_ok(check, "RESOURCE_UNREF", gone->type) &&
	       vtr_expect_alive(check);
}

static const struct vtr_check_case cases[] = {
	{ "in-order", in_order, NULL, BLOB },
	{ "quick-behind-slow", quick_behind_slow, NULL, BLOB },
	{ "echoed", echoed },
	{ "none-without", none_without },
	{ "on-errors", on_errors },
	{ "flushes-complete", flushes_complete, NULL, BLOB },
	{ "unref-behind-flush", unref_behind_flush, NULL, BLOB },
};

const struct vtr_check_family vtr_check_fence = { "fence", cases, VTR_CHECK_COUNT(cases) };
