/* SPDX-License-Identifier: MIT */
/* key, type, pointer: words of the command line as requests. Long texts go in parts, each of which is answered when it was typed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vitrinectl.h"

enum {
	PART = 256,             /* characters of a text in one request */
	MAX_TEXT = 1 << 20,     /* characters in all */
	DEFAULT_INTERVAL = 10,  /* milliseconds, the device's */
	STEPS_A_CHARACTER = 4,  /* at most: shift down, key down, key up, shift up */
	STEPS_OF_A_WORD = 1000, /* at most, of pointer: a wheel */
};

/* Words with blanks between them, to be freed; NULL when out of memory. */
static char *join(char *const *words, int count)
{
	size_t length = 1;

	for (int i = 0; i < count; i++)
		length += strlen(words[i]) + 1;
	char *text = calloc(1, length);
	for (int i = 0; text && i < count; i++) {
		if (i)
			strcat(text, " ");
		strcat(text, words[i]);
	}
	return text;
}

static char *read_standard_input(void)
{
	char *text = malloc(MAX_TEXT + 1);
	size_t length = text ? fread(text, 1, MAX_TEXT, stdin) : 0;

	if (text)
		text[length] = '\0';
	return text;
}

static json_t *request_of(const struct ctl_options *options, const char *argument, json_t *value)
{
	json_t *request = json_pack("{s:s, s:o, s:I}", "command", options->command, argument, value, "timeout_ms",
	                            (json_int_t)options->timeout_ms);

	if (request && options->interval_ms >= 0)
		json_object_set_new(request, "interval_ms", json_integer(options->interval_ms));
	return request;
}

static int64_t pace(const struct ctl_options *options, size_t steps)
{
	return (int64_t)steps * (options->interval_ms < 0 ? DEFAULT_INTERVAL : options->interval_ms);
}

static int send_keys(const struct ctl_options *options, int socket, ctl_ask_func ask, const char *keys)
{
	json_t *request = request_of(options, "keys", json_string(keys));

	if (request && options->press)
		json_object_set_new(request, "press", json_true());
	if (request && options->release)
		json_object_set_new(request, "release", json_true());
	return ask(options, socket, request, pace(options, strlen(keys) * STEPS_A_CHARACTER));
}

static int send_actions(const struct ctl_options *options, int socket, ctl_ask_func ask, const char *actions)
{
	json_t *request = request_of(options, "actions", json_string(actions));

	if (request)
		json_object_set_new(request, "output", json_integer(options->output));
	return ask(options, socket, request, pace(options, (size_t)options->n_arguments * STEPS_OF_A_WORD));
}

static int send_text(const struct ctl_options *options, int socket, ctl_ask_func ask, const char *text)
{
	int status = CTL_OK;

	for (const char *c = text; *c; c++)
		if (*c & 0x80)
			return ctl_fail("a US keyboard has no key for byte 0x%02x, number %zu of the text", (unsigned char)*c,
			                (size_t)(c - text) + 1);
	while (*text && !status) {
		size_t length = strnlen(text, PART);

		status = ask(options, socket, request_of(options, "text", json_stringn(text, length)),
		             pace(options, length * STEPS_A_CHARACTER));
		text += length;
	}
	return status;
}

int ctl_input(const struct ctl_options *options, int socket, ctl_ask_func ask)
{
	bool typing = !strcmp(options->command, "type");
	bool standard_input = typing && options->n_arguments == 1 && !strcmp(options->arguments[0], "-");
	char *text = standard_input ? read_standard_input() : join(options->arguments, options->n_arguments);
	int status;

	if (!text)
		return ctl_fail("no memory for the words");
	if (typing)
		status = send_text(options, socket, ask, text);
	else if (!strcmp(options->command, "key"))
		status = send_keys(options, socket, ask, text);
	else
		status = send_actions(options, socket, ask, text);
	free(text);
	return status;
}
