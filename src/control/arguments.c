/* SPDX-License-Identifier: MIT */
/* The arguments of requests: a table of their names, kinds and ranges, and the one place where they are decoded and checked. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/control.h"

enum {
	DEFAULT_TIMEOUT_MS = 10000,
	MAX_TIMEOUT_MS = 24 * 3600 * 1000,
	DEFAULT_INTERVAL_MS = 10, /* as fast as nobody types, and slow enough for a program that reads one key at a time */
	MAX_INTERVAL_MS = 10000,
};

enum kind {
	NUMBER,
	TRUTH,
	WORD,           /* printable ASCII, copied: what cannot be that is no name of anything here */
	WORD_OR_NUMBER, /* the number becomes a word */
	TEXT,           /* anything, not copied */
};

#define PLACE(member) offsetof(struct vtr_control_arguments, member)
#define ROOM(member) sizeof(((struct vtr_control_arguments *)NULL)->member)

static const struct argument_spec {
	const char *name;
	enum kind kind;
	size_t offset;         /* in struct vtr_control_arguments */
	int64_t max, standard; /* of a number; the bytes that a word has room for */
} specs[VTR_ARGUMENT_COUNT] = {
	[VTR_ARGUMENT_SCANOUT] = { "scanout", NUMBER, PLACE(scanout), VTR_MAX_SCANOUTS - 1, 0 },
	[VTR_ARGUMENT_CURSOR] = { "cursor", TRUTH, PLACE(cursor) },
	[VTR_ARGUMENT_FRAMES] = { "frames", NUMBER, PLACE(frames), INT64_MAX, -1 },
	[VTR_ARGUMENT_AFTER] = { "after", NUMBER, PLACE(after), INT64_MAX, -1 },
	[VTR_ARGUMENT_TIMEOUT] = { "timeout_ms", NUMBER, PLACE(timeout_ms), MAX_TIMEOUT_MS, DEFAULT_TIMEOUT_MS },
	[VTR_ARGUMENT_OUTPUT] = { "output", WORD_OR_NUMBER, PLACE(output), ROOM(output) },
	[VTR_ARGUMENT_MODE] = { "mode", WORD, PLACE(mode), ROOM(mode) },
	[VTR_ARGUMENT_DISPLAY] = { "display", WORD, PLACE(display), ROOM(display) },
	[VTR_ARGUMENT_REMOVE] = { "remove", WORD, PLACE(remove), ROOM(remove) },
	[VTR_ARGUMENT_INTERVAL] = { "interval_ms", NUMBER, PLACE(interval_ms), MAX_INTERVAL_MS, DEFAULT_INTERVAL_MS },
	[VTR_ARGUMENT_KEYS] = { "keys", TEXT, PLACE(keys) },
	[VTR_ARGUMENT_PRESS] = { "press", TRUTH, PLACE(press) },
	[VTR_ARGUMENT_RELEASE] = { "release", TRUTH, PLACE(release) },
	[VTR_ARGUMENT_TEXT] = { "text", TEXT, PLACE(text) },
	[VTR_ARGUMENT_ACTIONS] = { "actions", TEXT, PLACE(actions) },
};

json_t *vtr_control_argument_names(unsigned arguments)
{
	json_t *names = json_array();

	for (int i = 0; i < VTR_ARGUMENT_COUNT; i++)
		if (arguments & 1u << i)
			json_array_append_new(names, json_string(specs[i].name));
	return names;
}

static void set_defaults(struct vtr_control_arguments *arguments)
{
	*arguments = (struct vtr_control_arguments){ 0 };
	for (int i = 0; i < VTR_ARGUMENT_COUNT; i++)
		if (specs[i].kind == NUMBER)
			*(int64_t *)((char *)arguments + specs[i].offset) = specs[i].standard;
}

static int find_argument(const char *key)
{
	for (int i = 0; i < VTR_ARGUMENT_COUNT; i++)
		if (!strcmp(specs[i].name, key))
			return i;
	return -1;
}

static bool decode_number(const json_t *value, int64_t max, int64_t *number)
{
	*number = json_integer_value(value);
	return json_is_integer(value) && *number >= 0 && *number <= max;
}

static bool decode_word(const json_t *value, size_t room, char *word)
{
	const char *string = json_string_value(value);
	size_t length = string ? json_string_length(value) : 0;

	if (!length || length >= room)
		return false;
	for (size_t i = 0; i < length; i++)
		if (string[i] < 0x20 || string[i] > 0x7e)
			return false;
	memcpy(word, string, length + 1);
	return true;
}

/* Reads one argument into its place; false when it has the wrong type or range. */
static bool decode_argument(const struct argument_spec *spec, const json_t *value, struct vtr_control_arguments *arguments)
{
	void *place = (char *)arguments + spec->offset;
	int64_t number;

	switch (spec->kind) {
	case NUMBER:
		return decode_number(value, spec->max, place);
	case TRUTH:
		*(bool *)place = json_is_true(value);
		return json_is_boolean(value);
	case WORD_OR_NUMBER:
		if (!json_is_integer(value))
			return decode_word(value, (size_t)spec->max, place);
		if (!decode_number(value, UINT32_MAX, &number))
			return false;
		snprintf(place, (size_t)spec->max, "%" PRId64, number);
		return true;
	case WORD:
		return decode_word(value, (size_t)spec->max, place);
	case TEXT:
		*(const char **)place = json_string_value(value);
		return json_is_string(value);
	}
	return false;
}

static void refuse_argument(struct vtr_control_client *client, const struct argument_spec *spec)
{
	switch (spec->kind) {
	case NUMBER:
		vtr_control_refuse(client, "invalid", "%s is a number from 0 to %" PRId64, spec->name, spec->max);
		break;
	case TRUTH:
		vtr_control_refuse(client, "invalid", "%s is true or false", spec->name);
		break;
	case WORD:
	case WORD_OR_NUMBER:
		vtr_control_refuse(client, "invalid", "%s is %stext of 1 to %" PRId64 " printable ASCII characters", spec->name,
		                   spec->kind == WORD_OR_NUMBER ? "a number or " : "", spec->max - 1);
		break;
	case TEXT:
		vtr_control_refuse(client, "invalid", "%s is text", spec->name);
		break;
	}
}

bool vtr_control_decode(struct vtr_control_client *client, const char *command, unsigned allowed, unsigned required,
                        json_t *request)
{
	unsigned given = 0;
	const char *key;
	json_t *value;

	set_defaults(&client->arguments);
	json_object_foreach (request, key, value) {
		if (!strcmp(key, "command"))
			continue;
		int i = find_argument(key);
		if (i < 0 || !(allowed & 1u << i)) {
			vtr_control_refuse(client, "invalid", "%s takes no argument '%.32s'", command, key);
			return false;
		}
		if (!decode_argument(&specs[i], value, &client->arguments)) {
			refuse_argument(client, &specs[i]);
			return false;
		}
		given |= 1u << i;
	}
	for (int i = 0; i < VTR_ARGUMENT_COUNT; i++)
		if (required & ~given & 1u << i) {
			vtr_control_refuse(client, "invalid", "%s needs %s", command, specs[i].name);
			return false;
		}
	return true;
}
