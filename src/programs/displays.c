/* SPDX-License-Identifier: MIT */
/* --display: the displays that the program knows, and the outputs that each begins with. */
#include "displays.h"

#include <errno.h>
#include <string.h>

static const struct vtr_mode default_mode = { 1280, 800, 60000 };

/* Adds an output; name may be empty. 0 or -errno with *error. */
static int add(struct vtr_outputs *outputs, struct vtr_display *display, const struct vtr_mode *mode, const char *name,
               struct vtr_error *error)
{
	if (vtr_outputs_add(outputs, display, mode, *name ? name : NULL))
		return 0;
	return vtr_error_set(error, VTR_ERROR_HOST, errno, "cannot add an output: %s", strerror(errno));
}

/* ---- headless: as many as were asked for ---- */

static struct vtr_display *create_headless(const char *argument, struct vtr_error *error)
{
	struct vtr_display *display = vtr_headless_create();

	if (!display)
		vtr_error_set(error, VTR_ERROR_HOST, errno, "cannot start the display: %s", strerror(errno));
	return display;
}

static int add_asked(const struct options *options, struct vtr_display *display, struct vtr_outputs *outputs,
                     struct vtr_error *error)
{
	int result = 0;

	if (!options->n_outputs)
		return add(outputs, display, &default_mode, "", error);
	for (size_t i = 0; i < options->n_outputs && !result; i++)
		result = add(outputs, display, &options->outputs[i].mode, options->outputs[i].name, error);
	return result;
}

/* ---- kms: one per connector; --output number i is about connector number i ---- */

static int add_connectors(const struct options *options, struct vtr_display *display, struct vtr_outputs *outputs,
                          struct vtr_error *error)
{
	struct vtr_mode mode;
	char name[32];
	int result = 0;
	size_t i = 0;

	for (; !result && vtr_kms_connector(display, i, &mode, name); i++) {
		if (i < options->n_outputs) {
			mode = options->outputs[i].mode;
			if (*options->outputs[i].name)
				strcpy(name, options->outputs[i].name);
		}
		result = add(outputs, display, &mode, name, error);
	}
	if (!result && i < options->n_outputs)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL,
		                     "the card has %zu connectors and there are %zu --output: give one for each, or none", i,
		                     options->n_outputs);
	return result;
}

static const struct {
	const char *name;
	bool takes_argument;
	struct vtr_display *(*create)(const char *argument, struct vtr_error *error); /* argument may be NULL */
	int (*add_outputs)(const struct options *options, struct vtr_display *display, struct vtr_outputs *outputs,
	                   struct vtr_error *error);
} displays[] = {
	{ "headless", false, create_headless, add_asked },
	{ "kms", true, vtr_kms_create, add_connectors },
};

enum { N_DISPLAYS = sizeof(displays) / sizeof(displays[0]) };

/* NAME or NAME=ARGUMENT: which display, or N_DISPLAYS. */
static size_t find(const char *text, const char **argument)
{
	size_t length = strcspn(text, "="), i = 0;

	*argument = text[length] ? text + length + 1 : NULL;
	while (i < N_DISPLAYS && (strlen(displays[i].name) != length || strncmp(displays[i].name, text, length)))
		i++;
	if (i < N_DISPLAYS && *argument && (!displays[i].takes_argument || !**argument))
		return N_DISPLAYS;
	return i;
}

bool displays_know(const char *name)
{
	const char *argument;

	return find(name, &argument) < N_DISPLAYS;
}

struct vtr_display *displays_start(const struct options *options, struct vtr_outputs *outputs, struct vtr_error *error)
{
	const char *argument;
	size_t i = find(options->display, &argument);
	struct vtr_display *display = displays[i].create(argument, error);

	if (display && displays[i].add_outputs(options, display, outputs, error)) {
		vtr_display_destroy(display);
		return NULL;
	}
	return display;
}
