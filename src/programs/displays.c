/* SPDX-License-Identifier: MIT */
/* The displays that the program knows, and the outputs that each begins with. */
#include "displays.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>

/* What a Linux guest makes of a connector without a monitor costs next to nothing. */
enum { DEFAULT_MAX_OUTPUTS = 4 };

/* Adds an output. display: NULL for a free place. mode: NULL for one that follows its window. 0 or -errno with *error. */
static int add(struct vtr_outputs *outputs, struct vtr_display *display, const struct vtr_mode *mode, const char *name,
               struct vtr_error *error)
{
	if (vtr_outputs_add(outputs, display, mode, *name ? name : NULL))
		return 0;
	return vtr_error_set(error, VTR_ERROR_HOST, errno, "cannot add an output: %s", strerror(errno));
}

/* ---- headless and windows: as many as were asked for ---- */

static struct vtr_display *create_headless(const struct displays *displays, const char *argument, struct vtr_error *error)
{
	struct vtr_display *display = vtr_headless_create();

	if (!display)
		vtr_error_set(error, VTR_ERROR_HOST, errno, "cannot start the display: %s", strerror(errno));
	return display;
}

static struct vtr_display *create_sdl(const struct displays *displays, const char *argument, struct vtr_error *error)
{
	struct vtr_window_options window = displays->window;

	if (argument && strcmp(argument, "software") != 0) {
		vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "sdl or sdl=software, not sdl=%.64s", argument);
		return NULL;
	}
	window.renderer = argument ? VTR_RENDERER_SOFTWARE : VTR_RENDERER_AUTO;
	return vtr_sdl_create(&window, error);
}

static struct vtr_display *create_wayland(const struct displays *displays, const char *argument, struct vtr_error *error)
{
	return vtr_wayland_create(argument, &displays->window, error);
}

static int add_asked(const struct options *options, struct vtr_display *display, struct vtr_outputs *outputs,
                     struct vtr_error *error)
{
	int result = 0;

	if (!options->n_outputs)
		return add(outputs, display, NULL, "", error);
	for (size_t i = 0; i < options->n_outputs && !result; i++) {
		const struct vtr_mode *mode = &options->outputs[i].mode;

		result = add(outputs, display, mode->width ? mode : NULL, options->outputs[i].name, error);
	}
	return result;
}

/* ---- kms: one per connector; --output number i is about connector number i ---- */

static struct vtr_display *create_kms(const struct displays *displays, const char *argument, struct vtr_error *error)
{
	return vtr_kms_create(argument, error);
}

static int add_connectors(const struct options *options, struct vtr_display *display, struct vtr_outputs *outputs,
                          struct vtr_error *error)
{
	struct vtr_mode mode;
	char name[32];
	int result = 0;
	size_t i = 0;

	for (; !result && vtr_kms_connector(display, i, &mode, name); i++) {
		const struct vtr_mode *wanted = NULL; /* what the monitor prefers */

		if (i < options->n_outputs) {
			if (options->outputs[i].mode.width)
				wanted = &options->outputs[i].mode;
			if (*options->outputs[i].name)
				strcpy(name, options->outputs[i].name);
		}
		result = add(outputs, display, wanted, name, error);
	}
	if (!result && i < options->n_outputs)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL,
		                     "the card has %zu connectors and there are %zu --output: give one for each, or none", i,
		                     options->n_outputs);
	return result;
}

/* ---- vmm: there is one when the VMM has sent its display socket ---- */

static const char vmm_name[] = "vmm";

static struct vtr_display *create_vmm(const struct displays *displays, const char *argument, struct vtr_error *error)
{
	vtr_error_set(
		error, VTR_ERROR_HOST, ENOTCONN,
		"the VMM has not sent its display socket, or has closed it: it does so over vhost-user, when the guest's driver "
		"starts (QEMU: vhost-user-gpu-pci)");
	return NULL;
}

/* ---- all of them ---- */

static const struct kind {
	const char *name;
	bool takes_argument;
	/* argument may be NULL */
	struct vtr_display *(*create)(const struct displays *displays, const char *argument, struct vtr_error *error);
	int (*add_outputs)(const struct options *options, struct vtr_display *display, struct vtr_outputs *outputs,
	                   struct vtr_error *error);
} kinds[] = {
	{ "headless", false, create_headless, add_asked },
	{ "wayland", true, create_wayland, add_asked },
	{ "sdl", true, create_sdl, add_asked },
	{ "kms", true, create_kms, add_connectors },
	{ vmm_name, false, create_vmm, add_asked },
};

/* NAME or NAME=ARGUMENT; NULL: there is no such display. */
static const struct kind *find_kind(const char *text, const char **argument)
{
	size_t length = strcspn(text, "=");

	*argument = text[length] ? text + length + 1 : NULL;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strlen(kinds[i].name) == length && !strncmp(kinds[i].name, text, length))
			return *argument && (!kinds[i].takes_argument || !**argument) ? NULL : &kinds[i];
	return NULL;
}

static bool is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value;
}

/* What "auto" stands for on this machine; other names stand for themselves. */
static const char *choose(const char *name)
{
	if (strcmp(name, "auto") != 0)
		return name;
	if (is_set("WAYLAND_DISPLAY"))
		return "wayland";
	return is_set("DISPLAY") ? "sdl" : "headless";
}

bool displays_know(const char *name)
{
	const char *argument;

	name = choose(name);
	return find_kind(name, &argument) && strlen(name) < sizeof(((struct displays *)NULL)->items[0].name);
}

/* The place of that name, else a free one; NULL when all are taken. */
static struct vtr_display **find_place(struct displays *displays, const char *name)
{
	for (size_t i = 0; i < displays->count; i++)
		if (!strcmp(displays->items[i].name, name))
			return &displays->items[i].display;
	if (displays->count == MAX_DISPLAYS)
		return NULL;
	snprintf(displays->items[displays->count].name, sizeof(displays->items[0].name), "%s", name);
	return &displays->items[displays->count++].display;
}

struct vtr_display *displays_open(struct displays *displays, const char *name, struct vtr_error *error)
{
	const char *argument;
	const struct kind *kind;

	name = choose(name);
	kind = find_kind(name, &argument);
	if (!displays_know(name)) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENOENT, "there is no display '%.64s'", name);
		return NULL;
	}
	struct vtr_display **place = find_place(displays, name);
	if (!place) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOSPC, "no more than %d displays at a time", MAX_DISPLAYS);
		return NULL;
	}
	if (*place && vtr_display_alive(*place))
		return *place;
	if (*place && *place == displays->lender)
		displays->retired = *place;
	else
		vtr_display_destroy(*place);
	*place = kind->create(displays, argument, error);
	return *place;
}

/* So many that monitors can be plugged in while the guest runs. */
static int add_free_places(const struct options *options, struct vtr_outputs *outputs, struct vtr_error *error)
{
	size_t count = vtr_outputs_count(outputs), wanted = options->max_outputs;
	int result = 0;

	if (!wanted)
		wanted = DEFAULT_MAX_OUTPUTS;
	else if (wanted < count)
		return vtr_error_set(error, VTR_ERROR_HOST, EINVAL, "there are %zu outputs: raise --max-outputs %zu", count,
		                     wanted);
	for (; count < wanted && !result; count++)
		result = add(outputs, NULL, NULL, "", error);
	return result;
}

/* A machine may have a desktop, and no way onto it for us: then auto is headless. */
static struct vtr_display *open_first(struct displays *displays, const char *name, struct vtr_display *fallback,
                                      struct vtr_error *error)
{
	displays->first = choose(name);
	if (!strcmp(displays->first, vmm_name))
		return fallback; /* until the socket comes */
	struct vtr_display *display = displays_open(displays, displays->first, error);

	if (display || strcmp(name, "auto") != 0)
		return display;
	vtr_log(VTR_LOG_WARN, "no display %s: %s", displays->first, error->text);
	displays->first = "headless";
	return fallback;
}

int displays_start(struct displays *displays, const struct options *options, struct vtr_outputs *outputs, struct vtr_error *error)
{
	const char *argument;
	struct vtr_display *fallback = displays_open(displays, "headless", error);
	struct vtr_display *display = fallback ? open_first(displays, options->display, fallback, error) : NULL;

	if (!display)
		return -error->code;
	displays->outputs = outputs;
	displays->follow = !strcmp(options->display, "auto") || !strcmp(options->display, vmm_name);
	vtr_outputs_set_fallback(outputs, fallback);
	int result = find_kind(displays->first, &argument)->add_outputs(options, display, outputs, error);
	return result ? result : add_free_places(options, outputs, error);
}

/* ---- the VMM's console: outputs go there with its socket ---- */

/* On it, or they were until it failed. */
static bool is_with_vmm(const struct vtr_output *output)
{
	return !strcmp(vtr_output_display_name(output), vmm_name) || !strncmp(vtr_output_lost(output), "vmm:", 4);
}

/* The display that the program began with; headless as long as it shows nothing else. */
static const char *home(const struct displays *displays)
{
	return strcmp(displays->first, vmm_name) != 0 ? displays->first : "headless";
}

/* The outputs that nobody has put elsewhere, and free places, so that the VMM's other scanouts have outputs. */
static bool goes_to_vmm(struct displays *displays, const struct vtr_output *output)
{
	const char *argument;

	if (is_with_vmm(output))
		return true;
	if (!displays->follow)
		return false;
	if (vtr_output_on_display(output))
		return *vtr_output_lost(output) ||
		       !strcmp(vtr_output_display_name(output), find_kind(home(displays), &argument)->name);
	displays->lent |= 1u << vtr_output_index(output);
	return true;
}

int displays_take_vmm(struct displays *displays, int socket)
{
	struct vtr_error error;
	struct vtr_display **place = find_place(displays, vmm_name);
	struct vtr_display *display = vtr_vmm_create(socket, &error);

	if (!display) {
		vtr_log_limited(&displays->vmm_log, VTR_LOG_WARN, "no display vmm: %s", error.text);
		return -error.code;
	}
	if (!place) {
		vtr_log_limited(&displays->vmm_log, VTR_LOG_WARN, "no display vmm: no more than %d displays at a time",
		                MAX_DISPLAYS);
		vtr_display_destroy(display);
		return -ENOSPC;
	}
	for (size_t i = 0; i < vtr_outputs_count(displays->outputs); i++) {
		struct vtr_output *output = vtr_outputs_get(displays->outputs, i);

		if (goes_to_vmm(displays, output))
			vtr_output_move(output, display);
	}
	vtr_display_destroy(*place); /* its outputs are on their way */
	*place = display;
	vtr_log_limited(&displays->vmm_log, VTR_LOG_INFO, "display vmm: the VMM has sent its display socket; %s",
	                displays->follow ? "its console shows the outputs"
	                                 : "'vitrinectl output move' moves outputs to its console");
	return 0;
}

static void go_home(struct displays *displays, struct vtr_output *output)
{
	struct vtr_error error;
	struct vtr_display *display = displays_open(displays, home(displays), &error);

	vtr_output_move(output, display ? display : displays_open(displays, "headless", &error));
}

void displays_vmm_left(struct displays *displays)
{
	for (size_t i = 0; displays->follow && i < vtr_outputs_count(displays->outputs); i++) {
		struct vtr_output *output = vtr_outputs_get(displays->outputs, i);

		if (!is_with_vmm(output))
			continue;
		if (displays->lent & 1u << i)
			vtr_output_move(output, NULL);
		else
			go_home(displays, output);
	}
	displays->lent = 0;
}

void *displays_lend_egl(struct displays *displays)
{
	struct vtr_error error;
	struct vtr_display *display = displays_open(displays, home(displays), &error);
	void *egl = display ? vtr_display_egl(display) : NULL;

	displays->lender = egl ? display : NULL;
	return egl;
}

void displays_close(struct displays *displays)
{
	vtr_display_destroy(displays->retired);
	while (displays->count)
		vtr_display_destroy(displays->items[--displays->count].display);
}
