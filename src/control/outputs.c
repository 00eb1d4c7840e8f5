/* SPDX-License-Identifier: MIT */
/*
 * Outputs that are plugged in, unplugged, resized and moved by request. The reply says that it is begun: the guest hears of it at
 * once, a display on its own thread when it comes to it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"

/* A number, or a name; NULL when the request was refused. */
struct vtr_output *vtr_control_find_output(struct vtr_control_client *client)
{
	struct vtr_outputs *outputs = client->control->subject.outputs;
	const char *text = client->arguments.output;
	struct vtr_output *output;

	if (strspn(text, "0123456789") == strlen(text)) {
		output = vtr_outputs_get(outputs, strtoul(text, NULL, 10));
		if (output && vtr_output_on_display(output))
			return output;
	}
	for (size_t i = 0; (output = vtr_outputs_get(outputs, i)); i++)
		if (vtr_output_on_display(output) && !strcmp(vtr_output_name(output), text))
			return output;
	vtr_control_refuse(client, "invalid", "there is no output '%s': see 'vitrinectl output list'", text);
	return NULL;
}

/* Reads the request's mode; all 0: it follows its window. name may be NULL: none is taken. */
static bool read_mode(struct vtr_control_client *client, struct vtr_mode *mode, char *name)
{
	const char *text = client->arguments.mode;
	char ignored[32] = "";

	if (!vtr_output_parse(text, mode, name ? name : ignored) && !ignored[0])
		return true;
	vtr_control_refuse(client, "invalid", "'%s' is no mode: write WxH[@HZ] or auto%s, with 1 to %d pixels and 1 to 1000 Hz",
	                   text, name ? ", with ,name=NAME behind it if you like" : "", VTR_MAX_DIMENSION);
	return false;
}

/* The display that the request names, or the one for all; NULL when the request was refused. */
static struct vtr_display *open_display(struct vtr_control_client *client)
{
	const struct vtr_control_subject *subject = &client->control->subject;
	const char *name = client->arguments.display;
	struct vtr_display *display = NULL;
	struct vtr_error error;

	vtr_error_set(&error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "this device's displays are not chosen from here");
	if (subject->display)
		display = subject->display(*name ? name : NULL, &error, subject->data);
	if (!display)
		vtr_control_refuse(client, "failed", "%s", error.text);
	return display;
}

void vtr_control_output_list(struct vtr_control_client *client)
{
	struct vtr_outputs *outputs = client->control->subject.outputs;
	json_t *list = json_array();
	struct vtr_output *output;

	for (size_t i = 0; (output = vtr_outputs_get(outputs, i)); i++)
		if (vtr_output_on_display(output)) {
			json_t *object = vtr_control_output(output);

			json_object_set_new(object, "id", json_integer((json_int_t)i));
			json_object_set_new(object, "name", vtr_control_text(vtr_output_name(output)));
			json_object_set_new(object, "display", vtr_control_text(vtr_output_display_name(output)));
			json_array_append_new(list, object);
		}
	vtr_control_reply(client, json_pack("{s:o, s:I}", "outputs", list, "max_outputs", (json_int_t)vtr_outputs_count(outputs)),
	                  -1);
}

void vtr_control_output_add(struct vtr_control_client *client)
{
	struct vtr_outputs *outputs = client->control->subject.outputs;
	struct vtr_mode mode = { 0 };
	char name[32] = "";

	if (client->arguments.mode[0] && !read_mode(client, &mode, name))
		return;
	struct vtr_display *display = open_display(client);
	if (!display)
		return;
	struct vtr_output *output = vtr_outputs_connect(outputs, display, mode.width ? &mode : NULL, *name ? name : NULL);
	if (!output && errno == ENOSPC)
		vtr_control_refuse(
			client, "failed",
			"the guest has no more than %zu outputs: remove one, or start vitrine with a larger --max-outputs",
			vtr_outputs_count(outputs));
	else if (!output && errno == EEXIST)
		vtr_control_refuse(client, "invalid", "there is an output '%s' already", name);
	else if (!output)
		vtr_control_refuse(client, "failed", "no output: %s", strerror(errno));
	if (!output)
		return;
	vtr_log_limited(&client->control->log, VTR_LOG_INFO, "control: output %s is added on %s",
	                *name ? name : vtr_output_name(output), vtr_display_name(display));
	vtr_control_reply(client, json_pack("{s:I}", "id", (json_int_t)vtr_output_index(output)), -1);
}

void vtr_control_output_remove(struct vtr_control_client *client)
{
	struct vtr_output *output = vtr_control_find_output(client);

	if (!output)
		return;
	vtr_log_limited(&client->control->log, VTR_LOG_INFO, "control: output %s is removed", vtr_output_name(output));
	vtr_output_move(output, NULL);
	vtr_control_reply(client, json_object(), -1);
}

void vtr_control_output_resize(struct vtr_control_client *client)
{
	struct vtr_output *output = vtr_control_find_output(client);
	struct vtr_mode mode;

	if (!output || !read_mode(client, &mode, NULL))
		return;
	vtr_output_resize(output, mode.width ? &mode : NULL);
	vtr_control_reply(client, json_object(), -1);
}

void vtr_control_output_move(struct vtr_control_client *client)
{
	struct vtr_output *output = vtr_control_find_output(client);
	struct vtr_display *display = output ? open_display(client) : NULL;

	if (!display)
		return;
	if (vtr_output_move(output, display)) {
		vtr_control_refuse(client, "failed", "the display %s does not work any more", vtr_display_name(display));
		return;
	}
	vtr_log_limited(&client->control->log, VTR_LOG_INFO, "control: output %s goes to %s", vtr_output_name(output),
	                vtr_display_name(display));
	vtr_control_reply(client, json_object(), -1);
}
