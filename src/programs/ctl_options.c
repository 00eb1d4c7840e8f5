/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/control.h>

#include "vitrine-version.h"
#include "vitrinectl.h"

enum { DEFAULT_TIMEOUT_MS = 10000, WAIT_TIMEOUT_MS = 30000, MAX_TIMEOUT_S = 24 * 3600 };

enum option_id {
	OPTION_CONTROL,
	OPTION_JSON,
	OPTION_SCANOUT,
	OPTION_CURSOR,
	OPTION_DISPLAY,
	OPTION_FRAMES,
	OPTION_IMAGE,
	OPTION_SAVE,
	OPTION_STILL,
	OPTION_REGION,
	OPTION_ANYWHERE,
	OPTION_TOLERANCE,
	OPTION_DIFFER,
	OPTION_TIMEOUT,
	OPTION_FD,
	OPTION_REMOVE,
	OPTION_OUTPUT,
	OPTION_INTERVAL,
	OPTION_PRESS,
	OPTION_RELEASE,
	OPTION_HELP,
	OPTION_VERSION,
};

/* Commands that take any number of words. */
#define WORDS "key type pointer"

/* commands: those that take the option, NULL: all of them. */
static const struct {
	const char *name;
	int has_argument;
	const char *commands;
} option_rows[] = {
	[OPTION_CONTROL] = { "control", required_argument, NULL },
	[OPTION_JSON] = { "json", no_argument, NULL },
	[OPTION_SCANOUT] = { "scanout", required_argument, "screenshot wait" },
	[OPTION_CURSOR] = { "cursor", no_argument, "screenshot wait" },
	[OPTION_DISPLAY] = { "display", required_argument, "output-add" },
	[OPTION_FRAMES] = { "frames", required_argument, "wait" },
	[OPTION_IMAGE] = { "image", required_argument, "wait" },
	[OPTION_SAVE] = { "save", required_argument, "wait" },
	[OPTION_STILL] = { "still", required_argument, "wait" },
	[OPTION_REGION] = { "region", required_argument, "screenshot wait" },
	[OPTION_ANYWHERE] = { "anywhere", no_argument, "wait" },
	[OPTION_TOLERANCE] = { "tolerance", required_argument, "wait" },
	[OPTION_DIFFER] = { "differ", required_argument, "wait" },
	[OPTION_TIMEOUT] = { "timeout", required_argument, NULL },
	[OPTION_FD] = { "fd", required_argument, "assign" },
	[OPTION_REMOVE] = { "remove", required_argument, "assign" },
	[OPTION_OUTPUT] = { "output", required_argument, "pointer" },
	[OPTION_INTERVAL] = { "interval", required_argument, WORDS },
	[OPTION_PRESS] = { "press", no_argument, "key" },
	[OPTION_RELEASE] = { "release", no_argument, "key" },
	[OPTION_HELP] = { "help", no_argument, NULL },
	[OPTION_VERSION] = { "version", no_argument, NULL },
};

enum { OPTIONS = sizeof(option_rows) / sizeof(option_rows[0]) };

static void print_help(void)
{
	const struct vtr_control_command *command;

	puts("Usage: vitrinectl [--control PATH] [--json] COMMAND [OPTION]...\n"
	     "Asks a running vitrine what it shows.\n"
	     "\n"
	     "Commands:");
	for (size_t i = 0; (command = vtr_control_command(i)); i++)
		if (command->usage)
			printf("  %s\n      %s\n", command->usage, command->summary);
	puts("\n"
	     "Options:\n"
	     "  --control PATH   the control socket (default: $XDG_RUNTIME_DIR/vitrine.sock)\n"
	     "  --json           print the reply as it came\n"
	     "  --scanout N      the guest's screen, from 0 (default 0)\n"
	     "  --cursor         with the cursor in the picture\n"
	     "  --display NAME   which shows the new output (default: the one vitrine was started with)\n"
	     "  --timeout S      seconds, with decimals (default 10; wait: 30)\n"
	     "  --region WxH+X+Y only this part of the picture\n"
	     "  --anywhere       REF may be smaller than the picture, and at any place in it; prints the place's middle: X,Y\n"
	     "  --tolerance T    how far each of red, green, blue may be off, 0 to 255 (default 0)\n"
	     "  --differ N|N%    how many pixels may differ all the same (default 0)\n"
	     "  --fd N           a VFIO device that vitrinectl was started with\n"
	     "  --remove NAME    the device to be let go, as status names it\n"
	     "  --output N       the output whose pixels X,Y are, from 0 (default 0)\n"
	     "  --interval MS    milliseconds from one key, button or motion to the next (default 10)\n"
	     "  --press, --release\n"
	     "                   only press the keys, or only release them\n"
	     "  --save FILE.png  where to put the picture that was seen last when REF did not come\n"
	     "  --help, --version\n"
	     "\n"
	     "Exit status: 0 done, 1 failed or not in time, 2 wrong usage.");
}

static int wrong(int *status, const char *format, const char *a, const char *b)
{
	fputs("vitrinectl: ", stderr);
	fprintf(stderr, format, a, b);
	fputs("\nTry 'vitrinectl --help'.\n", stderr);
	*status = CTL_USAGE;
	return -1;
}

static int parse_integer(const char *text, int64_t max, int64_t *value)
{
	char *end;

	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < 0 || number > max)
		return -EINVAL;
	*value = number;
	return 0;
}

static int parse_seconds(const char *text, int64_t *milliseconds)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0 && seconds <= MAX_TIMEOUT_S))
		return -EINVAL;
	*milliseconds = (int64_t)(seconds * 1000);
	return 0;
}

/* "640x16+0+32" */
static int parse_region(const char *text, struct ctl_area *region)
{
	int end = 0;

	if (strspn(text, "0123456789x+") != strlen(text) ||
	    sscanf(text, "%5" SCNu32 "x%5" SCNu32 "+%5" SCNu32 "+%5" SCNu32 "%n", &region->width, &region->height, &region->x,
	           &region->y, &end) != 4 ||
	    text[end] || !region->width || !region->height)
		return -EINVAL;
	return 0;
}

/* "120" or "5%" */
static int parse_differ(const char *text, struct ctl_options *options)
{
	char number[24];
	size_t length = strlen(text);

	options->differ_in_percent = length && text[length - 1] == '%';
	if (length >= sizeof(number))
		return -EINVAL;
	memcpy(number, text, length + 1);
	if (options->differ_in_percent)
		number[length - 1] = '\0';
	return parse_integer(number, options->differ_in_percent ? 100 : INT32_MAX, &options->differ);
}

/* Applies one option; -EINVAL when its argument is wrong. */
static int apply(struct ctl_options *options, int id, const char *argument)
{
	switch (id) {
	case OPTION_CONTROL:
		options->control = argument;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	case OPTION_SCANOUT:
		return parse_integer(argument, INT32_MAX, &options->scanout);
	case OPTION_CURSOR:
		options->cursor = true;
		return 0;
	case OPTION_DISPLAY:
		options->display = argument;
		return 0;
	case OPTION_FRAMES:
		return parse_integer(argument, INT64_MAX, &options->frames);
	case OPTION_IMAGE:
		options->image = argument;
		return 0;
	case OPTION_SAVE:
		options->save = argument;
		return 0;
	case OPTION_STILL:
		return parse_seconds(argument, &options->still_ms);
	case OPTION_REGION:
		return parse_region(argument, &options->region);
	case OPTION_ANYWHERE:
		options->anywhere = true;
		return 0;
	case OPTION_DIFFER:
		return parse_differ(argument, options);
	case OPTION_TOLERANCE:
		return parse_integer(argument, 255, &options->tolerance);
	case OPTION_FD:
		snprintf(options->fd_text, sizeof(options->fd_text), "fd=%s", argument);
		options->device = options->fd_text;
		return parse_integer(argument, INT32_MAX, &(int64_t){ 0 });
	case OPTION_REMOVE:
		options->remove = argument;
		return *argument ? 0 : -EINVAL;
	case OPTION_TIMEOUT:
		return parse_seconds(argument, &options->timeout_ms);
	case OPTION_OUTPUT:
		return parse_integer(argument, INT32_MAX, &options->output);
	case OPTION_INTERVAL:
		return parse_integer(argument, INT32_MAX, &options->interval_ms);
	case OPTION_PRESS:
		options->press = true;
		return 0;
	case OPTION_RELEASE:
		options->release = true;
		return 0;
	default:
		return -EINVAL;
	}
}

static const char *usage_of(const char *name)
{
	const struct vtr_control_command *command;

	for (size_t i = 0; (command = vtr_control_command(i)); i++)
		if (!strcmp(command->name, name))
			return command->usage;
	return name;
}

/* The command that the first one or two words name, and how many they are; NULL: none. */
static const struct ctl_command *find_command(int argc, char **argv, int *words)
{
	char name[32];

	*words = 2;
	if (argc >= 2 && snprintf(name, sizeof(name), "%s-%s", argv[0], argv[1]) < (int)sizeof(name) && ctl_command(name))
		return ctl_command(name);
	*words = 1;
	return strchr(argv[0], '-') ? NULL : ctl_command(argv[0]);
}

static bool takes(const char *commands, const char *command)
{
	size_t length = strlen(command);

	for (const char *c = commands; (c = strstr(c, command)); c += length)
		if (c[length] == ' ' || !c[length])
			return true;
	return false;
}

/* assign takes one of --fd N, --remove NAME and what is no option. */
static bool check_assign(struct ctl_options *options, int argc, char **argv)
{
	int given = argc + (options->device != NULL) + (options->remove != NULL);

	if (argc)
		options->device = argv[0];
	return given == 1;
}

/* What belongs to pictures, and what to those that are compared with a file. */
static int check_wait(const struct ctl_options *options, unsigned given, int *status)
{
	const unsigned images = 1u << OPTION_SAVE | 1u << OPTION_ANYWHERE;
	const unsigned pictures = 1u << OPTION_REGION | 1u << OPTION_TOLERANCE | 1u << OPTION_DIFFER | 1u << OPTION_CURSOR;

	if ((options->frames >= 0) + (options->image != NULL) + (options->still_ms >= 0) != 1)
		return wrong(status, "wait for one thing: --image REF.png, --still S or --frames N%s%s", "", "");
	if (!options->image && given & images)
		return wrong(status, "--save and --anywhere belong to --image%s%s", "", "");
	if (options->frames >= 0 && given & pictures)
		return wrong(status, "--region, --tolerance, --differ and --cursor belong to --image and --still%s%s", "", "");
	return 0;
}

/* What the command line holds besides options, and what only makes sense together. given: a bit per option. */
static int check(struct ctl_options *options, unsigned given, int argc, char **argv, int *status)
{
	int words;

	if (!argc)
		return wrong(status, "which command?%s%s", "", "");
	const struct ctl_command *command = find_command(argc, argv, &words);
	if (!command)
		return wrong(status, argc > 1 ? "there is no command '%s %s'" : "there is no command '%s'%s", argv[0],
		             argc > 1 ? argv[1] : "");
	options->command = command->name;
	for (int i = 0; i < OPTIONS; i++)
		if (given & 1u << i && option_rows[i].commands && !takes(option_rows[i].commands, command->name))
			return wrong(status, "%s takes no --%s", command->name, option_rows[i].name);
	options->arguments = argv + words;
	options->n_arguments = argc - words;
	bool assign = !strcmp(command->name, "assign");
	if (options->n_arguments < command->min_arguments || options->n_arguments > command->max_arguments ||
	    (assign && !check_assign(options, options->n_arguments, options->arguments)))
		return wrong(status, "usage: vitrinectl %s%s", usage_of(command->name), "");
	if (!strcmp(command->name, "wait") && check_wait(options, given, status))
		return -1;
	if (options->timeout_ms < 0)
		options->timeout_ms = !strcmp(command->name, "wait") ? WAIT_TIMEOUT_MS : DEFAULT_TIMEOUT_MS;
	return 0;
}

int ctl_options_parse(struct ctl_options *options, int argc, char **argv, int *status)
{
	struct option long_options[OPTIONS + 1] = { 0 };
	unsigned given = 0;
	int id;

	for (int i = 0; i < OPTIONS; i++)
		long_options[i] = (struct option){ option_rows[i].name, option_rows[i].has_argument, NULL, i };
	*options = (struct ctl_options){ .frames = -1, .still_ms = -1, .timeout_ms = -1, .interval_ms = -1 };
	*status = CTL_OK;
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == OPTION_HELP) {
			print_help();
			return -1;
		}
		if (id == OPTION_VERSION) {
			puts("vitrinectl " VTR_VERSION);
			return -1;
		}
		if (id == '?' || id == ':')
			return wrong(status, id == '?' ? "there is no option '%s'%s" : "%s needs a value%s", argv[optind - 1], "");
		if (apply(options, id, optarg))
			return wrong(status, "--%s: '%s' is not a value it takes", option_rows[id].name, optarg);
		given |= 1u << id;
	}
	return check(options, given, argc - optind, argv + optind, status);
}
