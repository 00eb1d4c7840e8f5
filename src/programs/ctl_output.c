/* SPDX-License-Identifier: MIT */
/* vitrinectl output: monitors plugged in and out, resized and moved between displays. */
#include <inttypes.h>
#include <stdio.h>

#include "vitrinectl.h"

static void print_output(const json_t *output)
{
	const char *lost = json_string_value(json_object_get(output, "lost"));

	printf("%" JSON_INTEGER_FORMAT "  %-16s %-10s %" JSON_INTEGER_FORMAT "x%" JSON_INTEGER_FORMAT " at %g Hz%s%s\n",
	       json_integer_value(json_object_get(output, "id")), json_string_value(json_object_get(output, "name")),
	       json_string_value(json_object_get(output, "display")), json_integer_value(json_object_get(output, "width")),
	       json_integer_value(json_object_get(output, "height")), json_number_value(json_object_get(output, "refresh_hz")),
	       json_is_true(json_object_get(output, "fixed")) ? "" : ", follows its window",
	       json_is_true(json_object_get(output, "connected")) ? "" : ", not connected");
	if (lost)
		printf("   lost: %s\n", lost);
}

static void print_list(const json_t *reply)
{
	const json_t *outputs = json_object_get(reply, "outputs"), *output;
	size_t i;

	json_array_foreach (outputs, i, output)
		print_output(output);
	printf("%zu of %" JSON_INTEGER_FORMAT " outputs\n", json_array_size(outputs),
	       json_integer_value(json_object_get(reply, "max_outputs")));
}

int ctl_output_list(const struct ctl_options *options, int socket)
{
	return ctl_ask(options, socket, json_pack("{s:s}", "command", "output-list"), print_list);
}

static void print_added(const json_t *reply)
{
	printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(json_object_get(reply, "id")));
}

/* ",name=NAME" alone stands for "auto,name=NAME". */
int ctl_output_add(const struct ctl_options *options, int socket)
{
	json_t *request = json_pack("{s:s}", "command", "output-add");

	if (options->n_arguments && options->arguments[0][0] == ',')
		json_object_set_new(request, "mode", json_sprintf("auto%s", options->arguments[0]));
	else if (options->n_arguments)
		json_object_set_new(request, "mode", json_string(options->arguments[0]));
	if (options->display)
		json_object_set_new(request, "display", json_string(options->display));
	return ctl_ask(options, socket, request, print_added);
}

int ctl_output_remove(const struct ctl_options *options, int socket)
{
	return ctl_ask(options, socket, json_pack("{s:s, s:s}", "command", "output-remove", "output", options->arguments[0]), NULL);
}

int ctl_output_resize(const struct ctl_options *options, int socket)
{
	return ctl_ask(options, socket,
	               json_pack("{s:s, s:s, s:s}", "command", "output-resize", "output", options->arguments[0], "mode",
	                         options->arguments[1]),
	               NULL);
}

int ctl_output_move(const struct ctl_options *options, int socket)
{
	return ctl_ask(options, socket,
	               json_pack("{s:s, s:s, s:s}", "command", "output-move", "output", options->arguments[0], "display",
	                         options->arguments[1]),
	               NULL);
}
