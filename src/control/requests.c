/* SPDX-License-Identifier: MIT */
/*
 * Requests that wait: for frames (`wait`, `screenshot` with "after") and for the display (`screenshot`). A client waits for one
 * thing at a time, and its timer runs over all of it; a time-out says what did not happen.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "control/control.h"

static bool find_scanout(struct vtr_control_client *client, struct vtr_scanout_status *status)
{
	return client->control->subject.gpu &&
	       vtr_gpu_scanout_status(client->control->subject.gpu, (uint32_t)client->arguments.scanout, status);
}

/* Checks that the scanout is there, and starts the clock. */
static bool begin(struct vtr_control_client *client, struct vtr_scanout_status *status)
{
	if (!find_scanout(client, status)) {
		vtr_control_refuse(client, "invalid", "there is no scanout %" PRId64, client->arguments.scanout);
		return false;
	}
	vtr_timer_arm(client->timer, vtr_now_ns() + (uint64_t)client->arguments.timeout_ms * 1000000 + 1);
	return true;
}

/* ---- captures ---- */

static void captured(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct vtr_control_client *client = data;
	struct vtr_scanout_status status;

	client->capture = NULL;
	if (error) {
		vtr_control_refuse(client, "failed", "no picture: %s", error->text);
		return;
	}
	bool enabled = find_scanout(client, &status) && status.enabled;
	vtr_control_reply(client,
	                  json_pack("{s:i, s:i, s:i, s:s, s:I, s:I, s:b}", "width", (int)picture->width, "height",
	                            (int)picture->height, "stride", (int)picture->stride, "format", "XR24", "sequence",
	                            (json_int_t)picture->sequence, "frames", (json_int_t)client->frames, "enabled", enabled),
	                  picture->fd);
}

static void start_capture(struct vtr_control_client *client, const struct vtr_scanout_status *status)
{
	struct vtr_output *output = vtr_outputs_get(client->control->subject.outputs, (size_t)client->arguments.scanout);

	client->frames = status->frames; /* frames that come from here on are after this picture */
	client->state = VTR_CONTROL_CAPTURING;
	client->capture = vtr_output_capture(output, client->arguments.cursor, captured, client);
	if (!client->capture && errno == EBUSY)
		vtr_control_refuse(client, "failed", "no picture: the display (%s) has not answered earlier requests",
		                   status->display);
	else if (!client->capture)
		vtr_control_refuse(client, "failed", "no picture: %s", strerror(errno));
}

/* ---- requests ---- */

/* Goes on when the count that the client waits for is reached. */
static void check_frames(struct vtr_control_client *client, const struct vtr_scanout_status *status)
{
	uint64_t wanted = client->screenshot ? (uint64_t)client->arguments.after + 1 : (uint64_t)client->arguments.frames;

	if (status->frames < wanted)
		return;
	if (client->screenshot)
		start_capture(client, status);
	else
		vtr_control_reply(client, json_pack("{s:I}", "frames", (json_int_t)status->frames), -1);
}

void vtr_control_wait(struct vtr_control_client *client)
{
	struct vtr_scanout_status status;

	if (!begin(client, &status))
		return;
	client->state = VTR_CONTROL_WAITING;
	client->screenshot = false;
	check_frames(client, &status);
}

void vtr_control_screenshot(struct vtr_control_client *client)
{
	struct vtr_scanout_status status;

	if (!begin(client, &status))
		return;
	client->state = VTR_CONTROL_WAITING;
	client->screenshot = true;
	if (client->arguments.after < 0)
		start_capture(client, &status);
	else
		check_frames(client, &status);
}

void vtr_control_frame(struct vtr_control *control, uint32_t scanout)
{
	struct vtr_scanout_status status;
	bool known = false;

	for (size_t i = 0; i < VTR_MAX_CONTROL_CLIENTS; i++) {
		struct vtr_control_client *client = control->clients[i];

		if (!client || client->state != VTR_CONTROL_WAITING || client->arguments.scanout != scanout)
			continue;
		if (!known && !vtr_gpu_scanout_status(control->subject.gpu, scanout, &status))
			return;
		known = true;
		check_frames(client, &status);
	}
}

/* ---- ends ---- */

static void refuse_frames(struct vtr_control_client *client, const struct vtr_scanout_status *status)
{
	double seconds = (double)client->arguments.timeout_ms / 1000;

	if (!status->enabled)
		vtr_control_refuse(client, "timeout",
		                   "the guest shows nothing on scanout %u (%" PRIu64 " frames so far, waited %g s)", status->id,
		                   status->frames, seconds);
	else if (client->screenshot)
		vtr_control_refuse(client, "timeout", "no frame after number %" PRId64 " within %g s", client->arguments.after,
		                   seconds);
	else
		vtr_control_refuse(client, "timeout", "%" PRIu64 " of %" PRId64 " frames within %g s", status->frames,
		                   client->arguments.frames, seconds);
}

/* The display had its time: what is known about why there is no picture. */
static void refuse_capture(struct vtr_control_client *client, const struct vtr_scanout_status *status)
{
	double seconds = (double)client->arguments.timeout_ms / 1000;

	if (status->frozen)
		vtr_control_refuse(client, "timeout", "the guest took back the memory of scanout %u before its picture was read",
		                   status->id);
	else if (status->enabled && status->path == VTR_PATH_NONE)
		vtr_control_refuse(client, "timeout", "scanout %u cannot be shown: %s", status->id,
		                   status->n_why_not ? status->why_not[status->n_why_not - 1].reason : "no path to its pixels");
	else if (status->no_pixels.owner != VTR_ERROR_NONE)
		vtr_control_refuse(client, "timeout", "the display (%s) has no copy of scanout %u to make a picture of: %s",
		                   status->display, status->id, status->no_pixels.text);
	else
		vtr_control_refuse(client, "timeout", "the display (%s) did not answer within %g s", status->display, seconds);
}

void vtr_control_timed_out(struct vtr_control_client *client)
{
	struct vtr_scanout_status status = { 0 };
	bool capturing = client->state == VTR_CONTROL_CAPTURING;

	if (client->state == VTR_CONTROL_PLAYING) {
		vtr_control_play_timed_out(client);
		return;
	}
	vtr_control_cancel(client);
	if (!find_scanout(client, &status))
		vtr_control_refuse(client, "timeout", "the scanout is gone");
	else if (capturing)
		refuse_capture(client, &status);
	else
		refuse_frames(client, &status);
}

void vtr_control_cancel(struct vtr_control_client *client)
{
	if (client->capture)
		vtr_capture_cancel(client->capture);
	client->capture = NULL;
	vtr_control_stop_playing(client);
	client->state = VTR_CONTROL_READY;
}
