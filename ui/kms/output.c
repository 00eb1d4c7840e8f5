/* SPDX-License-Identifier: MIT */
/*
 * An output's way from frames to the screen.
 *
 *     frame waits --take--> commit --> coming --page flip event--> shown --next event--> given back
 *
 * One commit is on its way at a time; what comes meanwhile waits in the frame queue, where the newest wins. A frame with a buffer
 * is held, and its buffer locked, until another picture has taken its place on the screen. A frame with pixels is held as long,
 * though the screen shows a copy of it: captures of a guest that is silent and a cursor without a plane of its own are made from
 * it.
 *
 * A frame that brings nothing to show (the guest's memory is away) rests until the next tick of the refresh rate, so that a guest
 * does not run faster for it. While the screen belongs to somebody else frames are given up; the device has its own clock then.
 *
 * What the driver does not take is refused: a buffer by IMPORT_FAILED; all buffers, where it is the picture's size or the cursor
 * that is in the way, through the path ladder. The pixels then come by themselves and are copied (copy.c).
 *
 * Captures: this thread does not read guest memory, so it asks for pixels, shows that frame as a copy, and goes back to dmabufs
 * with the one that follows.
 */
#include <errno.h>
#include <string.h>

#include "kms.h"

enum { DEFAULT_REFRESH_MHZ = 60000 };

static const struct kms_held nothing = { .dumb = -1 };

/* ---- what is held ---- */

static void release(struct kms_output *output, struct kms_held *held)
{
	if (held->import) {
		kms_imports_put(held->import);
		kms_sweep_later(output->kms);
	}
	if (held->dumb >= 0)
		kms_sweep_later(output->kms);
	if (held->frame)
		vtr_frame_finish(held->frame, 0);
	*held = nothing;
}

static bool same_place(const struct kms_held *a, const struct kms_held *b)
{
	return a->width == b->width && a->height == b->height && !memcmp(&a->place, &b->place, sizeof(a->place));
}

static void arrive(struct kms_output *output, uint64_t time_ns)
{
	bool moved = !same_place(&output->shown, &output->coming);

	release(output, &output->shown);
	output->shown = output->coming;
	output->coming = nothing;
	output->flipping = false;
	if (output->shown.frame)
		vtr_frame_presented(output->shown.frame, time_ns);
	if (moved)
		kms_cursor_place(output);
}

void kms_output_flipped(struct kms_output *output, uint64_t time_ns)
{
	if (!output->flipping)
		return;
	arrive(output, time_ns);
	kms_output_show(output);
}

void kms_output_release(struct kms_output *output)
{
	release(output, &output->coming);
	release(output, &output->shown);
	output->flipping = false;
	output->redraw = false;
	if (output->resting) {
		vtr_frame_finish(output->resting, 0);
		output->resting = NULL;
	}
}

/* ---- committing ---- */

static struct kms_scene scene_of(const struct kms_output *output, const struct kms_held *held, const drmModeModeInfo *mode)
{
	return (struct kms_scene){
		.fb = held->import ? held->import->fb : output->copy.dumbs[held->dumb].fb,
		.width = held->import ? held->width : output->copy.width,
		.height = held->import ? held->height : output->copy.height,
		.place = held->import ? held->place
		                      : (pixman_box32_t){ 0, 0, (int32_t)output->copy.width, (int32_t)output->copy.height },
		.mode = mode,
	};
}

/* Takes what held holds when it succeeds. 0 or -errno. */
static int commit(struct kms_output *output, const struct kms_held *held, const struct kms_scene *scene)
{
	int result = kms_commit(&output->pipe, scene);

	if (result == -EACCES || result == -EPERM)
		kms_lose_master(output->kms);
	if (result < 0)
		return result;
	output->coming = *held;
	output->flipping = true;
	if (result == KMS_SHOWN)
		arrive(output, vtr_now_ns());
	return 0;
}

/* ---- frames with a buffer ---- */

static void refuse_buffer(struct kms_output *output, struct vtr_frame *frame, const struct vtr_error *error)
{
	vtr_frame_import_failed(frame, error);
	vtr_frame_finish(frame, 0);
}

/* The driver is asked once per mode, size and format; then it has said yes to the flips that follow. */
static bool is_tested(const struct kms_output *output, const struct kms_held *held, const struct kms_scene *scene)
{
	const struct kms_held *shown = &output->shown;

	return output->pipe.active && shown->import && shown->import->format == held->import->format &&
	       shown->import->modifier == held->import->modifier && shown->width == held->width && shown->height == held->height &&
	       !memcmp(&shown->place, &scene->place, sizeof(scene->place)) &&
	       !memcmp(&output->pipe.mode, scene->mode, sizeof(*scene->mode));
}

static int test_and_commit(struct kms_output *output, const struct kms_held *held, const struct kms_scene *scene)
{
	int result = is_tested(output, held, scene) ? 0 : kms_commit_test(&output->pipe, scene);

	if (result == -EACCES)
		kms_lose_master(output->kms);
	return result ? result : commit(output, held, scene);
}

/* The driver does not show it: what to do about it depends on what the reason may be. */
static void buffer_failed(struct kms_output *output, struct kms_held *held, bool scaled, int code)
{
	struct vtr_frame *frame = held->frame;
	struct vtr_error error;

	held->import->failed = true;
	kms_imports_put(held->import);
	kms_sweep_later(output->kms);
	if (output->kms->away) {
		vtr_frame_finish(frame, 0);
	} else if (scaled) {
		vtr_frame_finish(frame, 0);
		kms_output_refuse(output, KMS_REFUSES_SIZE, true);
	} else {
		kms_import_error(&output->kms->card, frame, KMS_STEP_COMMIT, code, &error);
		refuse_buffer(output, frame, &error);
	}
}

static void show_buffer(struct kms_output *output, struct vtr_frame *frame)
{
	const drmModeModeInfo *mode = kms_connector_mode(output, frame->width, frame->height);
	struct vtr_error error;
	struct kms_held held = {
		.frame = frame,
		.import = kms_imports_get(&output->kms->imports, frame, &error),
		.dumb = -1,
		.width = frame->width,
		.height = frame->height,
		.place = kms_copy_place(mode->hdisplay, mode->vdisplay, frame->width, frame->height),
	};

	output->zero_copy = true;
	kms_copy_damage(&output->copy, NULL); /* the dumb buffers do not get this picture */
	if (!held.import) {
		refuse_buffer(output, frame, &error);
		return;
	}
	struct kms_scene scene = scene_of(output, &held, mode);
	if (output->shown.import) /* else the screen does not show the picture that the damage is of */
		scene.damage = &frame->damage;
	int result = test_and_commit(output, &held, &scene);
	if (result)
		buffer_failed(output, &held, mode->hdisplay != frame->width || mode->vdisplay != frame->height, -result);
}

/* ---- frames with pixels ---- */

static void give_up_pixels(struct kms_output *output, struct vtr_frame *frame, const struct vtr_error *error)
{
	if (!output->kms->away)
		vtr_log_limited(&output->log, VTR_LOG_WARN, "kms: output %s: %s", vtr_output_name(output->output), error->text);
	if (frame)
		vtr_frame_finish(frame, 0);
}

/* Draws pixels (NULL: black) into the dumb buffer that is not on the screen, and shows it. held has everything else. */
static int show_copy(struct kms_output *output, struct kms_held *held, const struct vtr_frame *pixels, const drmModeModeInfo *mode,
                     struct vtr_error *error)
{
	held->dumb = output->shown.dumb == 0;
	if (!kms_copy_draw(&output->copy, (unsigned)held->dumb, pixels, kms_cursor_to_draw(output), error))
		return -error->code;
	struct kms_scene scene = scene_of(output, held, mode);
	int result = commit(output, held, &scene);
	if (result)
		vtr_error_set(error, VTR_ERROR_HOST, -result, "%s (%s) does not show a dumb buffer of %ux%u: %s",
		              output->kms->card.path, output->kms->card.driver, mode->hdisplay, mode->vdisplay, strerror(-result));
	return result;
}

/* Another size may fit a mode again. */
static void reconsider_size(struct kms_output *output, const struct vtr_frame *frame, const drmModeModeInfo *mode)
{
	if (output->refusals & KMS_REFUSES_SIZE && mode->hdisplay == frame->width && mode->vdisplay == frame->height)
		kms_output_refuse(output, KMS_REFUSES_SIZE, false);
}

static void show_pixels(struct kms_output *output, struct vtr_frame *frame)
{
	const drmModeModeInfo *mode = kms_connector_mode(output, frame->width, frame->height);
	struct kms_held held = { .frame = frame, .dumb = -1, .width = frame->width, .height = frame->height };
	bool asked = output->captures.count;
	struct vtr_error error;

	vtr_capture_set_answer_pixels(&output->captures, frame, frame->sequence);
	/* the device thread needs the image of the last one more than we do */
	if (output->shown.frame && output->shown.frame->content == VTR_FRAME_PIXELS) {
		vtr_frame_finish(output->shown.frame, 0);
		output->shown.frame = NULL;
	}
	kms_copy_set_size(&output->copy, mode->hdisplay, mode->vdisplay, frame->width, frame->height);
	kms_copy_damage(&output->copy, &frame->damage);
	held.place = output->copy.place;
	reconsider_size(output, frame, mode);
	if (show_copy(output, &held, frame, mode, &error))
		give_up_pixels(output, frame, &error);
	if (!asked)
		output->zero_copy = false;
	else if (output->zero_copy)
		vtr_output_set_demand(output->output, VTR_DEMAND_NONE); /* and back: the next frame is a dmabuf again */
	kms_output_update_demand(output);
}

/* The cursor has moved over a picture that is copied. */
static void redraw(struct kms_output *output)
{
	struct kms_held held = output->shown;
	struct vtr_error error;

	output->redraw = false;
	if (held.dumb < 0 || !held.frame || held.frame->content != VTR_FRAME_PIXELS)
		return;
	output->shown.frame = NULL; /* it goes on with the new copy */
	if (show_copy(output, &held, held.frame, &output->pipe.mode, &error)) {
		output->shown.frame = held.frame;
		give_up_pixels(output, NULL, &error);
	}
}

/* ---- frames with neither ---- */

static void tick(void *data)
{
	struct kms_output *output = data;
	struct vtr_frame *frame = output->resting;

	output->resting = NULL;
	if (frame)
		vtr_frame_finish(frame, vtr_now_ns());
	kms_output_show(output);
}

static void rest(struct kms_output *output, struct vtr_frame *frame)
{
	uint32_t refresh_mhz = kms_mode_refresh(&output->mode);

	output->resting = frame;
	vtr_timer_arm(output->tick, vtr_now_ns() + UINT64_C(1000000000000) / (refresh_mhz ? refresh_mhz : DEFAULT_REFRESH_MHZ));
}

static void show_unread(struct kms_output *output, struct vtr_frame *frame)
{
	const struct kms_held *newest = output->flipping ? &output->coming : &output->shown;

	if (vtr_output_is_current(output->output) && newest->frame && newest->frame->content == VTR_FRAME_PIXELS)
		vtr_capture_set_answer_pixels(&output->captures, newest->frame, frame->sequence);
	kms_output_update_demand(output);
	rest(output, frame);
}

static void show_nothing(struct kms_output *output, struct vtr_frame *frame)
{
	struct kms_held held = { .frame = frame, .dumb = -1 };
	struct vtr_error error;

	output->zero_copy = false;
	vtr_capture_set_answer_pixels(&output->captures, NULL, frame ? frame->sequence : 0);
	kms_output_update_demand(output);
	kms_copy_set_size(&output->copy, output->mode.hdisplay, output->mode.vdisplay, output->mode.hdisplay,
	                  output->mode.vdisplay);
	if (show_copy(output, &held, NULL, &output->mode, &error))
		give_up_pixels(output, frame, &error);
}

void kms_output_show_black(struct kms_output *output)
{
	if (!output->flipping)
		show_nothing(output, NULL);
}

/* The screen is somebody else's, or dark. */
static void show_nowhere(struct kms_output *output, struct vtr_frame *frame)
{
	if (frame->content == VTR_FRAME_PIXELS)
		vtr_capture_set_answer_pixels(&output->captures, frame, frame->sequence);
	else if (frame->content == VTR_FRAME_BLANK)
		vtr_capture_set_answer_pixels(&output->captures, NULL, frame->sequence);
	kms_output_update_demand(output);
	vtr_frame_finish(frame, 0); /* what changed is shown later */
}

/* ---- the next one ---- */

static void show_frame(struct kms_output *output, struct vtr_frame *frame)
{
	if (output->kms->away || !output->pipe.crtc) {
		show_nowhere(output, frame);
		return;
	}
	switch (frame->content) {
	case VTR_FRAME_BUFFER:
		show_buffer(output, frame);
		break;
	case VTR_FRAME_PIXELS:
		show_pixels(output, frame);
		break;
	case VTR_FRAME_UNREAD:
		show_unread(output, frame);
		break;
	case VTR_FRAME_BLANK:
		show_nothing(output, frame);
		break;
	}
}

void kms_output_show(struct kms_output *output)
{
	struct vtr_frame *frame;

	while (!output->flipping && !output->resting && (frame = vtr_output_take_frame(output->output)))
		show_frame(output, frame);
	if (output->redraw && !output->flipping && !output->kms->away)
		redraw(output);
}

void kms_output_restore(struct kms_output *output)
{
	struct kms_held held = output->shown;

	output->pipe.active = false;
	if (!output->pipe.crtc || output->flipping)
		return;
	if (!held.import && held.dumb < 0) {
		kms_output_show_black(output);
		return;
	}
	drmModeModeInfo mode = output->pipe.mode;
	struct kms_scene scene = scene_of(output, &held, &mode);
	output->shown = nothing;
	if (commit(output, &held, &scene))
		output->shown = held;
}

/* ---- demand ---- */

void kms_output_update_demand(struct kms_output *output)
{
	enum vtr_output_demand demand = output->kms->away ? VTR_DEMAND_NONE : VTR_DEMAND_DMABUF;

	if (!vtr_output_connected(output->output))
		demand = VTR_DEMAND_NONE;
	else if (output->captures.count)
		demand = VTR_DEMAND_PIXELS;
	vtr_output_set_demand(output->output, demand);
}

void kms_output_refuse(struct kms_output *output, unsigned reason, bool refused)
{
	unsigned refusals = refused ? output->refusals | reason : output->refusals & ~reason;
	struct vtr_error error;

	output->refusals = refusals;
	if (refusals & KMS_REFUSES_SIZE)
		vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, EINVAL,
		              "connector %s has no mode of the picture's size and %s does not scale: choose one of the monitor's "
		              "modes in "
		              "the guest",
		              output->connector->name, output->kms->card.driver);
	else if (refusals & KMS_REFUSES_CURSOR)
		vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, ENXIO,
		              "%s has no cursor plane: the picture is copied while the guest shows a cursor",
		              output->kms->card.driver);
	vtr_output_refuse_dmabufs(output->output, refusals ? &error : NULL);
}

int kms_output_init(struct kms_output *output)
{
	kms_copy_init(&output->copy, &output->kms->card);
	output->shown = output->coming = nothing;
	output->tick = vtr_loop_add_timer(output->kms->base.loop, tick, output);
	return output->tick ? 0 : -errno;
}

void kms_output_finish(struct kms_output *output)
{
	kms_output_release(output);
	vtr_source_remove(output->tick);
	kms_copy_finish(&output->copy);
}
