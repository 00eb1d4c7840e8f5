/* SPDX-License-Identifier: MIT */
/*
 * Input by request: key, type, pointer.
 *
 * A request becomes a script, which is played a step at a time: the next one is done when the guest has taken the events of the
 * last one and the interval has passed, so that nothing is merged or lost however long the text is. The reply comes when the guest
 * has taken all of it. One script is played at a time; other clients wait for their turn, and their time-out runs meanwhile.
 *
 * A client that leaves, or whose time is up, leaves nothing held down that its script would have released.
 */
#include <inttypes.h>

#include "control/control.h"

#define MS UINT64_C(1000000)

enum { LOOK_MS = 2 /* how often to look whether the guest has taken its events */ };

#define KIND(kind) (1u << (kind))
static const unsigned pointers = KIND(VTR_INPUT_TABLET) | KIND(VTR_INPUT_MOUSE);

/* The devices that may tell a step; buttons and wheel are told by whichever pointer there is. */
static unsigned kinds_of(const struct vtr_step *step)
{
	if (step->type == VTR_STEP_BUTTON || step->type == VTR_STEP_WHEEL)
		return pointers;
	return KIND(vtr_step_kind(step));
}

/* ---- can it be done? ---- */

static bool is_used(struct vtr_input *input, unsigned kinds)
{
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++)
		if (kinds & KIND(kind) && vtr_input_used(input, kind))
			return true;
	return false;
}

static bool any_picture(struct vtr_outputs *outputs)
{
	uint32_t width, height;

	for (size_t i = 0; i < vtr_outputs_count(outputs); i++)
		if (vtr_output_picture_size(vtr_outputs_get(outputs, i), &width, &height))
			return true;
	return false;
}

/* Pixels of the output that a pointer can be on; false when there are none, which was refused. */
static bool find_pixels(struct vtr_control_client *client, uint32_t index, uint32_t *width, uint32_t *height)
{
	struct vtr_outputs *outputs = client->control->subject.outputs;
	struct vtr_output *output = outputs ? vtr_outputs_get(outputs, index) : NULL;

	if (!output) {
		vtr_control_refuse(client, "invalid", "there is no output %u", index);
		return false;
	}
	if (vtr_output_picture_size(output, width, height))
		return true;
	if (any_picture(outputs)) {
		vtr_control_refuse(client, "failed", "the guest shows nothing on output %u", index);
		return false;
	}
	struct vtr_mode mode = vtr_output_mode(output);
	*width = mode.width;
	*height = mode.height;
	return true;
}

static bool check_step(struct vtr_control_client *client, const struct vtr_step *step)
{
	uint32_t width, height;

	if (!is_used(client->control->subject.input, kinds_of(step))) {
		vtr_control_refuse(client, "failed",
		                   "the guest does not use the %s: its VMM needs that socket, and the guest a driver",
		                   vtr_input_kind_name(vtr_step_kind(step)));
		return false;
	}
	if (step->type != VTR_STEP_MOVE && step->type != VTR_STEP_TOUCH)
		return true;
	if (!find_pixels(client, step->output, &width, &height))
		return false;
	if (step->x < width && step->y < height)
		return true;
	vtr_control_refuse(client, "invalid", "output %u shows %ux%u pixels: %g,%g is not one of them", step->output, width, height,
	                   step->x, step->y);
	return false;
}

static bool check_script(struct vtr_control_client *client)
{
	client->kinds = 0;
	for (size_t i = 0; i < client->script.count; i++) {
		if (!check_step(client, &client->script.steps[i]))
			return false;
		client->kinds |= kinds_of(&client->script.steps[i]);
	}
	return true;
}

/* ---- playing ---- */

static bool guest_took_all(const struct vtr_control_client *client)
{
	struct vtr_input_status status;

	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++) {
		vtr_input_status(client->control->subject.input, kind, &status);
		if (client->kinds & KIND(kind) && status.waiting)
			return false;
	}
	return true;
}

static void end_script(struct vtr_control_client *client)
{
	struct vtr_control *control = client->control;

	vtr_script_finish(&client->script);
	if (control->player != client)
		return;
	control->player = NULL;
	vtr_timer_arm(control->pace, vtr_now_ns()); /* somebody else's turn */
}

/* Anybody whose turn it could be. */
static struct vtr_control_client *next_player(const struct vtr_control *control)
{
	for (size_t i = 0; i < VTR_MAX_CONTROL_CLIENTS; i++)
		if (control->clients[i] && control->clients[i]->state == VTR_CONTROL_PLAYING)
			return control->clients[i];
	return NULL;
}

static void finish(struct vtr_control_client *client)
{
	json_int_t steps = (json_int_t)client->script.count;

	end_script(client);
	vtr_control_reply(client, json_pack("{s:I}", "steps", steps), -1);
}

/* The next step, or the end. Returns milliseconds until the one after it. */
static int64_t advance(struct vtr_control_client *client)
{
	if (client->step == client->script.count) {
		finish(client);
		return 0;
	}
	const struct vtr_step *step = &client->script.steps[client->step];
	if (!is_used(client->control->subject.input, kinds_of(step))) {
		const char *kind = vtr_input_kind_name(vtr_step_kind(step));

		vtr_control_stop_playing(client);
		vtr_control_refuse(client, "failed", "the guest's driver of the %s went away", kind);
		return 0;
	}
	vtr_step_perform(step, client->control->subject.input);
	client->step++;
	return client->arguments.interval_ms;
}

void vtr_control_pace(void *data)
{
	struct vtr_control *control = data;
	int64_t wait_ms = LOOK_MS;

	if (!control->player)
		control->player = next_player(control);
	if (!control->player)
		return;
	if (guest_took_all(control->player))
		wait_ms = advance(control->player);
	vtr_timer_arm(control->pace, vtr_now_ns() + (uint64_t)wait_ms * MS);
}

void vtr_control_stop_playing(struct vtr_control_client *client)
{
	for (size_t i = client->step; i < client->script.count && client->control->player == client; i++)
		if (vtr_step_releases(&client->script.steps[i]))
			vtr_step_perform(&client->script.steps[i], client->control->subject.input);
	end_script(client);
}

void vtr_control_play_timed_out(struct vtr_control_client *client)
{
	const bool begun = client->control->player == client;
	const size_t step = client->step, count = client->script.count;

	vtr_control_cancel(client);
	if (begun)
		vtr_control_refuse(client, "timeout", "the guest does not take its input: %zu of %zu steps were done", step, count);
	else
		vtr_control_refuse(client, "timeout", "the input of another client was not done in time");
}

/* ---- requests ---- */

static bool has_input(struct vtr_control_client *client)
{
	if (client->control->subject.input)
		return true;
	vtr_control_refuse(client, "failed", "there are no input devices: start vitrine with --input PATH");
	return false;
}

/* result: of making the script. */
static void begin(struct vtr_control_client *client, int result, const struct vtr_error *error)
{
	if (result)
		vtr_control_refuse(client, error->owner == VTR_ERROR_GUEST ? "invalid" : "failed", "%s", error->text);
	if (result || !check_script(client)) {
		vtr_script_finish(&client->script);
		return;
	}
	client->step = 0;
	client->state = VTR_CONTROL_PLAYING;
	/* The pace is not the guest's fault. */
	uint64_t time_ms = (uint64_t)client->arguments.timeout_ms + client->script.count * (uint64_t)client->arguments.interval_ms;
	vtr_timer_arm(client->timer, vtr_now_ns() + time_ms * MS + 1);
	if (!client->control->player)
		vtr_timer_arm(client->control->pace, vtr_now_ns());
}

void vtr_control_key(struct vtr_control_client *client)
{
	const struct vtr_control_arguments *arguments = &client->arguments;
	enum vtr_key_action action = arguments->press ? VTR_KEY_PRESS : arguments->release ? VTR_KEY_RELEASE : VTR_KEY_TAP;
	struct vtr_error error;

	if (arguments->press && arguments->release)
		vtr_control_refuse(client, "invalid", "press or release, not both; neither: both, one after the other");
	else if (has_input(client))
		begin(client, vtr_script_keys(&client->script, arguments->keys, action, &error), &error);
}

void vtr_control_type(struct vtr_control_client *client)
{
	struct vtr_error error;

	if (has_input(client))
		begin(client, vtr_script_type(&client->script, client->arguments.text, &error), &error);
}

void vtr_control_pointer(struct vtr_control_client *client)
{
	struct vtr_output *output = NULL;
	struct vtr_error error;

	if (!has_input(client))
		return;
	if (*client->arguments.output && !(output = vtr_control_find_output(client)))
		return;
	begin(client, vtr_script_pointer(&client->script, output ? vtr_output_index(output) : 0, client->arguments.actions, &error),
	      &error);
}
