/* SPDX-License-Identifier: MIT */
/*
 * An output's frames: from the queue to the VMM, and back.
 *
 *     frame waits --take--> waiting --begin--> setup -> body -> ask -> answer --reply--> given back
 *
 * One frame at a time is under way, and no more than one in a refresh interval of the output begins. What comes meanwhile waits in
 * the frame queue, where the newest wins. The VMM paces us by its answers: DMABUF_UPDATE has one; UPDATE has none, so the display
 * info is asked for behind it, which the VMM can answer only when it has read all that was sent before. Each answer also tells
 * whether the VMM's windows have changed.
 *
 * Pixels go in bands of rows, so that the VMM, which reads a message as a whole, is not kept from its guest for longer than that
 * takes. The frame keeps its pixels, which are ours, until it is answered; a dmabuf is the VMM's own by its fd. A front-end that
 * does not answer holds one frame, and the device answers the guest's flushes in time by itself.
 *
 * SCANOUT takes the last picture away and gets a new one with the next UPDATE, so the first UPDATEs after it bring everything, and
 * none goes before it.
 *
 * Captures are not made of what the VMM has: pixels are asked for (VTR_DEMAND_PIXELS), the next frame brings them, is shown like
 * any other, and the one after it may be a dmabuf again.
 */
#include <errno.h>
#include <string.h>

#include "vmm/vmm.h"

/* ---- captures ---- */

static void update_demand(struct vmm_output *output)
{
	vtr_output_set_demand(output->output, output->captures.count ? VTR_DEMAND_PIXELS : VTR_DEMAND_DMABUF);
}

static void answer_captures(struct vmm_output *output, const struct vtr_frame *frame)
{
	bool pixels = frame->content == VTR_FRAME_PIXELS;

	if (!output->captures.count || (!pixels && frame->content != VTR_FRAME_BLANK))
		return;
	vtr_output_set_demand(output->output, VTR_DEMAND_DMABUF);
	vtr_capture_set_answer_pixels(&output->captures, pixels ? frame : NULL, frame->sequence);
}

void vmm_frames_capture(struct vmm_output *output, struct vtr_capture *capture)
{
	struct vtr_frame blank = { .content = VTR_FRAME_BLANK };

	vtr_capture_set_add(&output->captures, capture);
	vmm_frames_take(output);
	if (output->told && output->blank)
		answer_captures(output, &blank);
	else
		update_demand(output);
}

/* ---- the next frame ---- */

/* Of two that were not begun the newer one is left. A capture needs it also while the VMM has not answered. */
void vmm_frames_take(struct vmm_output *output)
{
	struct vtr_frame *frame = vtr_output_take_frame(output->output);

	if (!frame)
		return;
	if (output->waiting) {
		/* taken before it: what it would have changed is not in frame's damage */
		pixman_region32_union(&frame->damage, &frame->damage, &output->waiting->damage);
		pixman_region32_intersect_rect(&frame->damage, &frame->damage, 0, 0, frame->width, frame->height);
		vtr_frame_finish(output->waiting, 0);
	}
	output->waiting = frame;
	output->told = true;
	output->blank = frame->content == VTR_FRAME_BLANK;
	answer_captures(output, frame);
}

static uint64_t interval_ns(const struct vmm_output *output)
{
	uint32_t refresh_mhz = vtr_output_mode(output->output).refresh_mhz;

	return refresh_mhz ? UINT64_C(1000000000000) / refresh_mhz : 0;
}

/* False when the frame cannot be shown so; it is given back then. */
static bool begin(struct vmm_output *output, struct vtr_frame *frame, uint64_t now)
{
	struct vtr_error error;

	output->waiting = NULL;
	if (frame->content == VTR_FRAME_BUFFER && !vmm_can_express(frame, atomic_load(&output->vmm->modifiers), &error)) {
		vtr_frame_import_failed(frame, &error);
		vtr_frame_finish(frame, 0);
		return false;
	}
	output->frame = frame;
	output->stage = VMM_STAGE_SETUP;
	output->box = 0;
	output->row = 0;
	output->next_ns = now + interval_ns(output);
	return true;
}

void vmm_frames_forward(struct vmm_output *output)
{
	uint64_t now = vtr_now_ns();

	if (output->captures.count)
		vmm_frames_take(output);
	if (output->frame || !output->vmm->ready)
		return;
	if (now < output->next_ns) {
		vtr_timer_arm(output->due, output->next_ns);
		return;
	}
	do {
		vmm_frames_take(output);
	} while (output->waiting && !begin(output, output->waiting, now));
}

void vmm_frames_answered(struct vmm_output *output)
{
	struct vtr_frame *frame = output->frame;

	output->frame = NULL;
	if (frame)
		vtr_frame_finish(frame, vtr_now_ns());
	vmm_frames_forward(output);
}

static void due(void *data)
{
	struct vmm_output *output = data;

	vmm_frames_forward(output);
	vmm_pump(output->vmm);
}

/* ---- sending: each function sends one message, or says that there is none of its kind ---- */

static void damage_all(struct vtr_frame *frame)
{
	pixman_region32_fini(&frame->damage);
	pixman_region32_init_rect(&frame->damage, 0, 0, frame->width, frame->height);
}

static bool disable_dmabuf(struct vmm_output *output)
{
	struct vhost_user_gpu_dmabuf_scanout scanout = { .scanout_id = output->scanout };

	if (output->shown != VMM_SHOWS_DMABUF)
		return false;
	output->shown = VMM_SHOWS_STALE;
	vmm_send(output->vmm, VHOST_USER_GPU_DMABUF_SCANOUT, &scanout, sizeof(scanout), NULL, 0, -1);
	return true;
}

static void send_scanout(struct vmm_output *output, uint32_t width, uint32_t height)
{
	struct vhost_user_gpu_scanout scanout = { output->scanout, width, height };

	output->shown = width ? VMM_SHOWS_PIXELS : VMM_SHOWS_NOTHING;
	output->shown_width = width;
	output->shown_height = height;
	vmm_send(output->vmm, VHOST_USER_GPU_SCANOUT, &scanout, sizeof(scanout), NULL, 0, -1);
}

static bool setup_nothing(struct vmm_output *output)
{
	if (disable_dmabuf(output))
		return true;
	if (output->shown == VMM_SHOWS_NOTHING)
		return false;
	send_scanout(output, 0, 0);
	return true;
}

static bool setup_pixels(struct vmm_output *output, struct vtr_frame *frame)
{
	if (disable_dmabuf(output))
		return true;
	if (output->shown == VMM_SHOWS_PIXELS && output->shown_width == frame->width && output->shown_height == frame->height)
		return false;
	damage_all(frame);
	send_scanout(output, frame->width, frame->height);
	return true;
}

static bool setup_dmabuf(struct vmm_output *output, struct vtr_frame *frame)
{
	const struct vmm_dmabuf dmabuf = {
		.buffer = vtr_buffer_id(frame->buffer),
		.modifier = frame->modifier,
		.width = frame->width,
		.height = frame->height,
		.stride = frame->stride,
		.format = frame->format,
	};
	bool modifiers = atomic_load(&output->vmm->modifiers);
	struct vhost_user_gpu_dmabuf_scanout2 scanout = vmm_encode_dmabuf(frame, output->scanout);

	if (output->shown == VMM_SHOWS_DMABUF && !memcmp(&dmabuf, &output->shown_dmabuf, sizeof(dmabuf)))
		return false;
	if (output->shown != VMM_SHOWS_DMABUF)
		damage_all(frame);
	output->shown = VMM_SHOWS_DMABUF;
	output->shown_dmabuf = dmabuf;
	vmm_send(output->vmm, modifiers ? VHOST_USER_GPU_DMABUF_SCANOUT2 : VHOST_USER_GPU_DMABUF_SCANOUT, &scanout,
	         modifiers ? sizeof(scanout) : sizeof(scanout.dmabuf_scanout), NULL, 0, vtr_buffer_fd(frame->buffer));
	return true;
}

static bool setup(struct vmm_output *output)
{
	switch (output->frame->content) {
	case VTR_FRAME_BLANK:
		return setup_nothing(output);
	case VTR_FRAME_PIXELS:
		return setup_pixels(output, output->frame);
	case VTR_FRAME_BUFFER:
		return setup_dmabuf(output, output->frame);
	case VTR_FRAME_UNREAD:
		break;
	}
	return false;
}

/* The next rows of the damage. */
static bool send_band(struct vmm_output *output)
{
	struct vtr_frame *frame = output->frame;
	struct vmm *vmm = output->vmm;
	int n;
	const pixman_box32_t *boxes = pixman_region32_rectangles(&frame->damage, &n);

	if (output->box >= n)
		return false;
	const pixman_box32_t *box = &boxes[output->box];
	uint32_t rows = vmm_band_rows((uint32_t)(box->x2 - box->x1)), left = (uint32_t)(box->y2 - box->y1) - output->row;
	struct vhost_user_gpu_update update = {
		.scanout_id = output->scanout,
		.x = (uint32_t)box->x1,
		.y = (uint32_t)box->y1 + output->row,
		.width = (uint32_t)(box->x2 - box->x1),
		.height = rows < left ? rows : left,
	};

	output->row += update.height;
	if (update.height == left) {
		output->box++;
		output->row = 0;
	}
	if (!vmm_encode_pixels(frame, update.x, update.y, update.width, update.height, vmm->band)) {
		vtr_log_limited(&output->log, VTR_LOG_WARN, "vmm: output %s: no memory to convert the picture",
		                vtr_output_name(output->output));
		output->shown = VMM_SHOWS_STALE; /* the next frame brings all of it */
		output->box = n;
		return false;
	}
	vmm_send(vmm, VHOST_USER_GPU_UPDATE, &update, sizeof(update), vmm->band, (size_t)update.width * update.height * 4, -1);
	return true;
}

/* The VMM's answer to the frame is asked for. False: not now. */
static bool ask_answer(struct vmm_output *output)
{
	const pixman_box32_t *box = &output->frame->damage.extents;
	struct vhost_user_gpu_update update = {
		.scanout_id = output->scanout,
		.x = (uint32_t)box->x1,
		.y = (uint32_t)box->y1,
		.width = (uint32_t)(box->x2 - box->x1),
		.height = (uint32_t)(box->y2 - box->y1),
	};
	bool asked;

	if (output->frame->content == VTR_FRAME_BUFFER && update.width)
		asked = vmm_ask(output->vmm, VHOST_USER_GPU_DMABUF_UPDATE, &update, sizeof(update), VMM_FOR_FRAME, output);
	else
		asked = vmm_ask(output->vmm, VHOST_USER_GPU_GET_DISPLAY_INFO, NULL, 0, VMM_FOR_FRAME, output);
	if (asked)
		output->stage = VMM_STAGE_ANSWER;
	return asked;
}

bool vmm_frames_send(struct vmm_output *output)
{
	if (!output->frame)
		return false;
	if (output->stage == VMM_STAGE_SETUP) {
		if (setup(output))
			return true;
		output->stage = VMM_STAGE_BODY;
	}
	if (output->stage == VMM_STAGE_BODY) {
		if (output->frame->content == VTR_FRAME_PIXELS && send_band(output))
			return true;
		output->stage = VMM_STAGE_ASK;
	}
	return output->stage == VMM_STAGE_ASK && ask_answer(output);
}

/* ---- life ---- */

void vmm_frames_connected(struct vmm_output *output, bool connected)
{
	struct vtr_error error;

	if (connected) {
		update_demand(output);
		return;
	}
	vtr_error_set(&error, VTR_ERROR_HOST, ENODEV, "the output is not connected");
	vtr_capture_set_fail(&output->captures, &error);
}

bool vmm_frames_init(struct vmm_output *output)
{
	vtr_capture_set_init(&output->captures, output->output);
	output->due = vtr_loop_add_timer(output->vmm->base.loop, due, output);
	return output->due;
}

void vmm_frames_finish(struct vmm_output *output)
{
	if (output->frame)
		vtr_frame_finish(output->frame, 0);
	if (output->waiting)
		vtr_frame_finish(output->waiting, 0);
	vtr_capture_set_give_back(&output->captures);
	vtr_source_remove(output->due);
	while (setup_nothing(output)) /* the VMM's console is somebody else's now */
		;
}
