/* SPDX-License-Identifier: MIT */
/*
 * The commands of the control socket: one table for the server, its help, and vitrinectl's. A row says what arguments a command
 * takes; they are decoded and checked here, once, and handlers see only valid values.
 */
#include <inttypes.h>
#include <string.h>

#include "control/control.h"
#include "vitrine-version.h"

enum {
	DEFAULT_TIMEOUT_MS = 10000,
	MAX_TIMEOUT_MS = 24 * 3600 * 1000,
	DEFAULT_INTERVAL_MS = 10, /* as fast as nobody types, and slow enough for a program that reads one key at a time */
	MAX_INTERVAL_MS = 10000,
};

enum argument {
	ARGUMENT_SCANOUT,
	ARGUMENT_CURSOR,
	ARGUMENT_FRAMES,
	ARGUMENT_AFTER,
	ARGUMENT_TIMEOUT,
	ARGUMENT_REMOVE,
	ARGUMENT_OUTPUT,
	ARGUMENT_INTERVAL,
	ARGUMENT_KEYS,
	ARGUMENT_PRESS,
	ARGUMENT_RELEASE,
	ARGUMENT_TEXT,
	ARGUMENT_ACTIONS,
	ARGUMENT_COUNT,
};

enum kind { NUMBER, TRUTH, WORD, TEXT };

static const struct argument_spec {
	const char *name;
	enum kind kind;
	size_t offset;         /* in struct vtr_control_arguments */
	int64_t max, standard; /* of a number */
} argument_specs[ARGUMENT_COUNT] = {
	[ARGUMENT_SCANOUT] = { "scanout", NUMBER, offsetof(struct vtr_control_arguments, scanout), VTR_MAX_SCANOUTS - 1, 0 },
	[ARGUMENT_CURSOR] = { "cursor", TRUTH, offsetof(struct vtr_control_arguments, cursor) },
	[ARGUMENT_FRAMES] = { "frames", NUMBER, offsetof(struct vtr_control_arguments, frames), INT64_MAX, -1 },
	[ARGUMENT_AFTER] = { "after", NUMBER, offsetof(struct vtr_control_arguments, after), INT64_MAX, -1 },
	[ARGUMENT_TIMEOUT] = { "timeout_ms", NUMBER, offsetof(struct vtr_control_arguments, timeout_ms), MAX_TIMEOUT_MS,
	                       DEFAULT_TIMEOUT_MS },
	[ARGUMENT_REMOVE] = { "remove", WORD, offsetof(struct vtr_control_arguments, remove) },
	[ARGUMENT_OUTPUT] = { "output", NUMBER, offsetof(struct vtr_control_arguments, output), VTR_MAX_SCANOUTS - 1, 0 },
	[ARGUMENT_INTERVAL] = { "interval_ms", NUMBER, offsetof(struct vtr_control_arguments, interval_ms), MAX_INTERVAL_MS,
	                        DEFAULT_INTERVAL_MS },
	[ARGUMENT_KEYS] = { "keys", TEXT, offsetof(struct vtr_control_arguments, keys) },
	[ARGUMENT_PRESS] = { "press", TRUTH, offsetof(struct vtr_control_arguments, press) },
	[ARGUMENT_RELEASE] = { "release", TRUTH, offsetof(struct vtr_control_arguments, release) },
	[ARGUMENT_TEXT] = { "text", TEXT, offsetof(struct vtr_control_arguments, text) },
	[ARGUMENT_ACTIONS] = { "actions", TEXT, offsetof(struct vtr_control_arguments, actions) },
};

#define BIT(argument) (1u << (argument))

struct command {
	struct vtr_control_command info;
	unsigned allowed, required; /* bits of enum argument */
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
	{ { "screenshot", "screenshot [--scanout N] [--cursor] [--timeout S] FILE.png", "saves what is shown" },
	  BIT(ARGUMENT_SCANOUT) | BIT(ARGUMENT_CURSOR) | BIT(ARGUMENT_AFTER) | BIT(ARGUMENT_TIMEOUT),
	  0,
	  vtr_control_screenshot },
	{ { "wait", "wait --frames N | --image REF.png [--tolerance T] [--cursor] [--save FILE.png] [--scanout N] [--timeout S]",
	    "returns when N frames were shown since the device started, or when the picture is REF" },
	  BIT(ARGUMENT_SCANOUT) | BIT(ARGUMENT_FRAMES) | BIT(ARGUMENT_TIMEOUT),
	  BIT(ARGUMENT_FRAMES),
	  vtr_control_wait },
	{ { "assign", "assign --fd N | pid=PID[,device=BDF] | bdf=BDF | --remove NAME",
	    "gives vitrine a device that is assigned to the guest, or takes it back" },
	  BIT(ARGUMENT_REMOVE),
	  0,
	  vtr_control_assign },
	{ { "key", "key [--press | --release] [--interval MS] [--timeout S] KEYS...",
	    "presses and releases combinations of keys: ctrl-alt-f2" },
	  BIT(ARGUMENT_KEYS) | BIT(ARGUMENT_PRESS) | BIT(ARGUMENT_RELEASE) | BIT(ARGUMENT_INTERVAL) | BIT(ARGUMENT_TIMEOUT),
	  BIT(ARGUMENT_KEYS),
	  vtr_control_key },
	{ { "type", "type [--interval MS] [--timeout S] TEXT... | -", "types text on a US keyboard (-: standard input)" },
	  BIT(ARGUMENT_TEXT) | BIT(ARGUMENT_INTERVAL) | BIT(ARGUMENT_TIMEOUT),
	  BIT(ARGUMENT_TEXT),
	  vtr_control_type },
	{ { "pointer", "pointer [--output N] [--interval MS] [--timeout S] ACTION...",
	    "X,Y  click  double  press  release (:right, ...)  drag:X,Y  by:DX,DY  wheel:N  hwheel:N  tap  swipe:X,Y" },
	  BIT(ARGUMENT_ACTIONS) | BIT(ARGUMENT_OUTPUT) | BIT(ARGUMENT_INTERVAL) | BIT(ARGUMENT_TIMEOUT),
	  BIT(ARGUMENT_ACTIONS),
	  vtr_control_pointer },
	{ { "quit", "quit", "ends the device" }, 0, 0, serve_quit },
	{ { "version", NULL, "the device's version" }, 0, 0, serve_version },
	{ { "help", NULL, "the commands and their arguments" }, 0, 0, serve_help },
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

const struct vtr_control_command *vtr_control_command(size_t index)
{
	return index < COMMANDS ? &commands[index].info : NULL;
}

static json_t *argument_names(unsigned arguments)
{
	json_t *names = json_array();

	for (int i = 0; i < ARGUMENT_COUNT; i++)
		if (arguments & BIT(i))
			json_array_append_new(names, json_string(argument_specs[i].name));
	return names;
}

static void serve_help(struct vtr_control_client *client)
{
	json_t *list = json_array();

	for (size_t i = 0; i < COMMANDS; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "command", commands[i].info.name, "summary",
		                                      commands[i].info.summary, "arguments", argument_names(commands[i].allowed),
		                                      "required", argument_names(commands[i].required)));
	vtr_control_reply(client, json_pack("{s:o}", "commands", list), -1);
}

/* Reads one argument into its place; false when it has the wrong type or range. */
static bool decode_argument(const struct argument_spec *spec, const json_t *value, struct vtr_control_arguments *arguments)
{
	void *place = (char *)arguments + spec->offset;
	const char *word = json_string_value(value);

	switch (spec->kind) {
	case TRUTH:
		*(bool *)place = json_is_true(value);
		return json_is_boolean(value);
	case WORD:
		if (!word || !*word || json_string_length(value) >= VTR_CONTROL_WORD)
			return false;
		memcpy(place, word, strlen(word) + 1);
		return true;
	case TEXT:
		*(const char **)place = word;
		return word;
	default:
		*(int64_t *)place = json_integer_value(value);
		return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= spec->max;
	}
}

static void refuse_argument(struct vtr_control_client *client, const struct argument_spec *spec)
{
	switch (spec->kind) {
	case TRUTH:
		vtr_control_refuse(client, "invalid", "%s is true or false", spec->name);
		break;
	case TEXT:
		vtr_control_refuse(client, "invalid", "%s is text", spec->name);
		break;
	case WORD:
		vtr_control_refuse(client, "invalid", "%s is text of 1 to %d bytes", spec->name, VTR_CONTROL_WORD - 1);
		break;
	default:
		vtr_control_refuse(client, "invalid", "%s is a number from 0 to %" PRId64, spec->name, spec->max);
	}
}

static void set_defaults(struct vtr_control_arguments *arguments)
{
	*arguments = (struct vtr_control_arguments){ 0 };
	for (int i = 0; i < ARGUMENT_COUNT; i++)
		if (argument_specs[i].kind == NUMBER)
			*(int64_t *)((char *)arguments + argument_specs[i].offset) = argument_specs[i].standard;
}

static int find_argument(const char *key)
{
	for (int i = 0; i < ARGUMENT_COUNT; i++)
		if (!strcmp(argument_specs[i].name, key))
			return i;
	return -1;
}

/* Fills client->arguments; false when the request was refused. */
static bool decode(struct vtr_control_client *client, const struct command *command, json_t *request)
{
	unsigned given = 0;
	const char *key;
	json_t *value;

	set_defaults(&client->arguments);
	json_object_foreach (request, key, value) {
		if (!strcmp(key, "command"))
			continue;
		int i = find_argument(key);
		if (i < 0 || !(command->allowed & BIT(i))) {
			vtr_control_refuse(client, "invalid", "%s takes no argument '%.32s'", command->info.name, key);
			return false;
		}
		if (!decode_argument(&argument_specs[i], value, &client->arguments)) {
			refuse_argument(client, &argument_specs[i]);
			return false;
		}
		given |= BIT(i);
	}
	for (int i = 0; i < ARGUMENT_COUNT; i++)
		if (command->required & ~given & BIT(i)) {
			vtr_control_refuse(client, "invalid", "%s needs %s", command->info.name, argument_specs[i].name);
			return false;
		}
	return true;
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
			if (decode(client, &commands[i], request))
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
