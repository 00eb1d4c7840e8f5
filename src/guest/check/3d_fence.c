/* SPDX-License-Identifier: MIT */
/*
 * Fences of 3D commands: virtio 1.3, 5.7.6.7. Without INFO_RING_IDX they are all of one timeline, and their answers come in the
 * order of the commands, flushes among them; with it each (context, ring) is a timeline, in order in itself.
 */
#include <string.h>

#include "guest/check/3d.h"

enum { CTX = VTR_3D_CTX, OTHER = VTR_3D_OTHER_CTX, ID = VTR_3D_TARGET, W = VTR_3D_W, H = VTR_3D_H, N = 24, ROOM = 1024 };

/* A command on its way, and of which timeline it is. */
struct sent {
	struct vtr_guest_message message;
	struct virtio_gpu_ctrl_hdr header;
};

struct queue {
	struct sent sent[N];
	uint32_t n, next_fence;
};

static uint32_t timeline(const struct virtio_gpu_ctrl_hdr *header)
{
	return header->flags & VIRTIO_GPU_FLAG_INFO_RING_IDX ? header->ctx_id << 8 | header->ring_idx : 0;
}

/* Posts a request, with a fence of its own and, where ring is not negative, on that ring of its context. */
static bool post(struct vtr_check *check, struct queue *queue, void *request, size_t size, int ring)
{
	struct sent *sent = &queue->sent[queue->n++];
	struct virtio_gpu_ctrl_hdr *header = request;

	header->flags = VIRTIO_GPU_FLAG_FENCE | (ring < 0 ? 0 : VIRTIO_GPU_FLAG_INFO_RING_IDX);
	header->fence_id = 1000 + queue->next_fence++;
	header->ring_idx = ring < 0 ? 0 : (uint8_t)ring;
	sent->header = *header;
	return vtr_expect_success(check, "posting",
	                          vtr_guest_post(check->guest, VTR_GUEST_CONTROL, &sent->message, request, size, 24));
}

static bool post_clear(struct vtr_check *check, struct queue *queue, uint32_t ctx, const struct vtr_3d_resource *target,
                       uint32_t rgb, int ring)
{
	struct vtr_virgl_stream stream = { 0 };
	uint8_t request[ROOM];

	vtr_3d_draw_on(&stream, 30 + queue->n, target);
	vtr_virgl_clear(&stream, vtr_3d_colour(rgb));
	const struct virtio_gpu_cmd_submit header = { .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = ctx },
		                                      .size = (uint32_t)vtr_virgl_bytes(&stream) };
	return post(check, queue, request, vtr_command_pack_submit(request, &header, stream.words, vtr_virgl_bytes(&stream)), ring);
}

static bool post_read_back(struct vtr_check *check, struct queue *queue, uint32_t ctx, const struct vtr_3d_resource *target,
                           int ring)
{
	struct virtio_gpu_transfer_host_3d request = { .hdr = { .type = VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, .ctx_id = ctx },
		                                       .box = { 0, 0, 0, W, H, 1 },
		                                       .resource_id = target->id };

	return post(check, queue, &request, sizeof(request), ring);
}

static bool post_flush(struct vtr_check *check, struct queue *queue, uint32_t id)
{
	struct virtio_gpu_resource_flush request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH,
		                                     .r = { 0, 0, W, H },
		                                     .resource_id = id };

	return post(check, queue, &request, sizeof(request), -1);
}

static struct sent *find(struct queue *queue, int head)
{
	for (uint32_t i = 0; i < queue->n; i++)
		if (queue->sent[i].message.head == head)
			return &queue->sent[i];
	return NULL;
}

/* No command of the same timeline that was sent before is still on its way; then this one is not, either. */
static bool take(struct vtr_check *check, struct queue *queue, struct sent *sent)
{
	const struct virtio_gpu_ctrl_hdr *response = vtr_guest_data(check->guest, sent->message.response, sizeof(*response));

	for (struct sent *before = queue->sent; before < sent; before++)
		if (before->message.head >= 0 && timeline(&before->header) == timeline(&sent->header))
			return vtr_check_fail(check, "fence %llu: expected after fence %llu, got before it",
			                      (unsigned long long)sent->header.fence_id,
			                      (unsigned long long)before->header.fence_id);
	sent->message.head = -1;
	return vtr_expect_ok(check, "a fenced command", response->type) &&
	       vtr_expect_value(check, "its fence", response->fence_id, sent->header.fence_id) &&
	       vtr_expect_value(check, "its flags", response->flags, sent->header.flags) &&
	       vtr_expect_value(check, "its context", response->ctx_id, sent->header.ctx_id) &&
	       vtr_expect_value(check, "its ring", response->ring_idx, sent->header.ring_idx);
}

/* All come back, in their orders. */
static bool collect(struct vtr_check *check, struct queue *queue)
{
	struct vtr_guest *guest = check->guest;
	uint32_t written;
	uint16_t head;

	if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, false)))
		return false;
	for (uint32_t i = 0; i < queue->n; i++) {
		if (!vtr_expect_success(check, "waiting for a fence",
		                        vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)))
			return false;
		struct sent *sent = find(queue, head);
		if (!sent)
			return vtr_check_fail(check, "a chain came back that was not sent");
		if (!take(check, queue, sent))
			return false;
	}
	queue->n = 0;
	return true;
}

static bool two_contexts(struct vtr_check *check, struct vtr_3d_resource targets[2])
{
	return vtr_3d_context(check, CTX) && vtr_3d_context(check, OTHER) && vtr_3d_target(check, &targets[0], CTX, ID, 0) &&
	       vtr_3d_target(check, &targets[1], OTHER, ID + 1, 0);
}

/* Clears and transfers of two contexts on the one timeline. */
static bool in_order(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource targets[2];
	struct queue queue = { 0 };

	if (!two_contexts(check, targets))
		return false;
	for (uint32_t i = 0; i < N; i++) {
		uint32_t which = i % 3 % 2, ctx = which ? OTHER : CTX;

		if (!(i % 4 == 3 ? post_read_back(check, &queue, ctx, &targets[which], -1)
		                 : post_clear(check, &queue, ctx, &targets[which], 0x10000 * i, -1)))
			return false;
	}
	return collect(check, &queue);
}

/* A fence means that it is drawn: a transfer that was sent before the stream was answered has its pixels. */
static bool drawn_when_answered(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource targets[2];

	if (!two_contexts(check, targets))
		return false;
	for (uint32_t i = 1; i < 10; i++) {
		struct queue queue = { 0 };

		if (!post_clear(check, &queue, CTX, &targets[0], i, -1) || !post_read_back(check, &queue, CTX, &targets[0], -1) ||
		    !collect(check, &queue) ||
		    !vtr_expect_value(check, "the upper left pixel", vtr_3d_pixel(&targets[0], 0, 0), i) ||
		    !vtr_expect_value(check, "the lower right one", vtr_3d_pixel(&targets[0], W - 1, H - 1), i))
			return false;
	}
	return true;
}

/* Each ring of each context is a timeline; and the global one beside them. */
static bool rings(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource targets[2];
	struct queue queue = { 0 };

	if (!two_contexts(check, targets))
		return false;
	for (uint32_t i = 0; i < N; i++) {
		uint32_t which = i % 3 % 2, ctx = which ? OTHER : CTX;
		int ring = i % 5 == 4 ? -1 : 0;

		if (!(i % 4 == 3 ? post_read_back(check, &queue, ctx, &targets[which], ring)
		                 : post_clear(check, &queue, ctx, &targets[which], 0x10000 * i, ring)))
			return false;
	}
	return collect(check, &queue);
}

/* A ring that a virgl context does not have: an answer, whichever, and all goes on. */
static bool ring_63(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const uint32_t nop = VIRGL_CMD0(VIRGL_CCMD_NOP, 0, 0);
	struct virtio_gpu_cmd_submit header = { .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D,
		                                         .flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX,
		                                         .fence_id = 7,
		                                         .ctx_id = CTX,
		                                         .ring_idx = 63 },
		                                .size = sizeof(nop) };
	uint8_t request[sizeof(header) + sizeof(nop)];
	struct virtio_gpu_ctrl_hdr response;
	struct vtr_3d_resource target;
	size_t size = vtr_command_pack_submit(request, &header, &nop, sizeof(nop));

	return vtr_3d_scene(check, &target) &&
	       vtr_expect_answer(check, "SUBMIT_3D on ring 63", vtr_command(guest, request, size, &response, sizeof(response))) &&
	       vtr_3d_clear(check, CTX, &target, 0x123456) && vtr_3d_expect_colour(check, &target, 0x123456);
}

/* Flushes of what is shown wait for the display, and 3D commands behind them for the flushes. */
static bool flush_among_them(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource targets[2];
	struct queue queue = { 0 };

	if (!two_contexts(check, targets) || !vtr_3d_show(check, &targets[0]))
		return false;
	for (uint32_t i = 0; i < 5; i++)
		if (!post_clear(check, &queue, CTX, &targets[0], 0x203040 + i, -1) || !post_flush(check, &queue, ID) ||
		    !post_clear(check, &queue, OTHER, &targets[1], i, -1))
			return false;
	return collect(check, &queue) && vtr_3d_expect_colour(check, &targets[0], 0x203044) &&
	       vtr_3d_expect_shown(check, &targets[0]);
}

/* The fence of an error comes like any other. */
static bool on_errors(struct vtr_check *check, const void *row)
{
	const uint32_t nonsense = 0xdeadbeef;
	struct vtr_3d_resource target;

	return vtr_3d_scene(check, &target) && vtr_3d_context(check, OTHER) && vtr_3d_clear(check, CTX, &target, 1) &&
	       vtr_expect_error(check, "SUBMIT_3D of nonsense",
	                        vtr_command_submit(check->guest, OTHER, &nonsense, sizeof(nonsense))) &&
	       vtr_3d_clear(check, CTX, &target, 2) && vtr_3d_expect_colour(check, &target, 2);
}

/* The context or its target goes while commands are on their way. */
static bool gone_behind(struct vtr_check *check, const void *row)
{
	struct vtr_3d_resource targets[2];
	struct queue queue = { 0 };
	struct virtio_gpu_ctx_destroy destroy = { .hdr = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = CTX } };
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = ID };

	if (!two_contexts(check, targets))
		return false;
	for (uint32_t i = 0; i < 8; i++)
		if (!post_clear(check, &queue, CTX, &targets[0], i, -1))
			return false;
	return post(check, &queue, &unref, sizeof(unref), -1) && post(check, &queue, &destroy, sizeof(destroy), -1) &&
	       post_clear(check, &queue, OTHER, &targets[1], 0x445566, -1) && collect(check, &queue) &&
	       vtr_3d_context(check, CTX) && vtr_3d_expect_colour(check, &targets[1], 0x445566);
}

/* The device is reset with commands on their way, and starts anew. */
static bool reset_with_pending(struct vtr_check *check, const void *row)
{
	for (int round = 0; round < 10; round++) {
		struct vtr_3d_resource targets[2];
		struct queue queue = { 0 };

		if (!two_contexts(check, targets) || !vtr_3d_show(check, &targets[0]))
			return false;
		for (uint32_t i = 0; i < 8; i++)
			if (!post_clear(check, &queue, CTX, &targets[0], i, -1) || !post_flush(check, &queue, ID))
				return false;
		if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(check->guest, VTR_GUEST_CONTROL, false)) ||
		    !vtr_expect_recovery(check))
			return false;
	}
	return true;
}

#define INIT VTR_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT)

static const struct vtr_check_case cases[] = {
	{ "in-order", in_order },           { "drawn-when-answered", drawn_when_answered }, { "rings", rings, NULL, INIT },
	{ "ring-63", ring_63, NULL, INIT }, { "flush-among-them", flush_among_them },       { "on-errors", on_errors },
	{ "gone-behind", gone_behind },     { "reset-with-pending", reset_with_pending },
};

const struct vtr_check_family vtr_check_3d_fence = { "3d-fence", cases, VTR_CHECK_COUNT(cases), .three_d = true };
