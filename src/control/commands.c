/* SPDX-License-Identifier: MIT */
/*
 * The commands of the control socket: one table for the server, its help, and vitrinectl's. A row says what arguments a command
 * takes; they are decoded and checked once (arguments.c), and handlers see only valid values.
 */
#include <string.h>

#include "control/control.h"
#include "vitrine-version.h"

#define BIT(argument) (1u << VTR_ARGUMENT_##argument)

struct command {
	struct vtr_control_command info;
	unsigned allowed, required; /* arguments */
	void (*serve)(struct vtr_control_client *client);
};

static void serve_status(struct vtr_control_client *client)
{
	vtr_control_reply(client, vtr_control_status(&client->control->subject), -1);
}

static void serve_quit(struct vtr_control_client *client)
{
	const struct vtr_control_subject *subject = &client->control->subject;

	if (!subject->quit) {
		vtr_control_refuse(client, "failed", "this device is not ended from here");
		return;
	}
	vtr_log(VTR_LOG_INFO, "control: asked to quit");
	vtr_control_reply(client, json_object(), -1);
	vtr_control_flush(client); /* now: the loop may not come round again */
	subject->quit(subject->data);
}

static void serve_version(struct vtr_control_client *client)
{
	vtr_control_reply(client, json_pack("{s:s}", "version", VTR_VERSION), -1);
}

static void serve_help(struct vtr_control_client *client);

static const struct command commands[] = {
	{ { "status", "status", "what is shown, how, and what it costs" }, 0, 0, serve_status },
	{ { "screenshot", "screenshot [--scanout N] [--cursor] [--region WxH+X+Y] [--timeout S] FILE.png", "saves what is shown" },
	  BIT(SCANOUT) | BIT(CURSOR) | BIT(AFTER) | BIT(TIMEOUT),
	  0,
	  vtr_control_screenshot },
	{ { "wait",
	    "wait --image REF.png [--anywhere] [--save FILE.png] | --still S | --frames N\n"
	    "       [--region WxH+X+Y] [--tolerance T] [--differ N|N%] [--cursor] [--scanout N] [--timeout S]",
	    "returns when the picture is REF, or does not change for S seconds, or N frames were shown since the device started" },
	  BIT(SCANOUT) | BIT(FRAMES) | BIT(TIMEOUT),
	  BIT(FRAMES),
	  vtr_control_wait },
	{ { "assign", "assign --fd N | pid=PID[,device=BDF] | bdf=BDF | --remove NAME",
	    "gives vitrine a device that is assigned to the guest, or takes it back" },
	  BIT(REMOVE),
	  0,
	  vtr_control_assign },
	{ { "key", "key [--press | --release] [--interval MS] [--timeout S] KEYS...",
	    "presses and releases combinations of keys: ctrl-alt-f2" },
	  BIT(KEYS) | BIT(PRESS) | BIT(RELEASE) | BIT(INTERVAL) | BIT(TIMEOUT),
	  BIT(KEYS),
	  vtr_control_key },
	{ { "type", "type [--interval MS] [--timeout S] TEXT... | -", "types text on a US keyboard (-: standard input)" },
	  BIT(TEXT) | BIT(INTERVAL) | BIT(TIMEOUT),
	  BIT(TEXT),
	  vtr_control_type },
	{ { "pointer", "pointer [--output N] [--interval MS] [--timeout S] ACTION...",
	    "X,Y  click  double  press  release (:right, ...)  drag:X,Y  by:DX,DY  wheel:N  hwheel:N  tap  swipe:X,Y" },
	  BIT(ACTIONS) | BIT(OUTPUT) | BIT(INTERVAL) | BIT(TIMEOUT),
	  BIT(ACTIONS),
	  vtr_control_pointer },
	{ { "output-list", "output list", "the outputs, and the displays that show them" }, 0, 0, vtr_control_output_list },
	{ { "output-add", "output add [WxH[@HZ]|auto][,name=NAME] [--display DISPLAY]", "plugs in another monitor for the guest" },
	  BIT(MODE) | BIT(DISPLAY),
	  0,
	  vtr_control_output_add },
	{ { "output-remove", "output remove OUTPUT", "unplugs it (OUTPUT: a name or a number)" },
	  BIT(OUTPUT),
	  BIT(OUTPUT),
	  vtr_control_output_remove },
	{ { "output-resize", "output resize OUTPUT WxH[@HZ]|auto", "gives it another mode; auto: that of its window" },
	  BIT(OUTPUT) | BIT(MODE),
	  BIT(OUTPUT) | BIT(MODE),
	  vtr_control_output_resize },
	{ { "output-move", "output move OUTPUT DISPLAY", "shows it on another display" },
	  BIT(OUTPUT) | BIT(DISPLAY),
	  BIT(OUTPUT) | BIT(DISPLAY),
	  vtr_control_output_move },
	{ { "quit", "quit", "ends the device" }, 0, 0, serve_quit },
	{ { "version", NULL, "the device's version" }, 0, 0, serve_version },
	{ { "help", NULL, "the commands and their arguments" }, 0, 0, serve_help },
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

const struct vtr_control_command *vtr_control_command(size_t index)
{
	return index < COMMANDS ? &commands[index].info : NULL;
}

static void serve_help(struct vtr_control_client *client)
{
	json_t *list = json_array();

	for (size_t i = 0; i < COMMANDS; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "command", commands[i].info.name, "summary",
		                                      commands[i].info.summary, "arguments",
		                                      vtr_control_argument_names(commands[i].allowed), "required",
		                                      vtr_control_argument_names(commands[i].required)));
	vtr_control_reply(client, json_pack("{s:o}", "commands", list), -1);
}

static void serve_request(struct vtr_control_client *client, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "command"));

	if (!name) {
		vtr_control_refuse(client, "invalid", "a request is {\"command\": NAME, ...}; try {\"command\": \"help\"}");
		return;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].info.name, name)) {
			if (vtr_control_decode(client, name, commands[i].allowed, commands[i].required, request))
				commands[i].serve(client);
			return;
		}
	vtr_control_refuse(client, "unknown-command", "there is no command '%.32s'; try {\"command\": \"help\"}", name);
}

bool vtr_control_serve(struct vtr_control_client *client, const char *line, size_t length)
{
	json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);

	if (!request)
		return false;
	serve_request(client, request);
	json_decref(request);
	return true;
}
