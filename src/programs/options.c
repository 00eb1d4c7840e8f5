/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/renderer.h>

#include "displays.h"
#include "vitrine-version.h"

static const char usage[] =
	"Usage: vitrine --vfio-user PATH | --vhost-user PATH [OPTION]...\n"
	"A virtio-gpu display device for virtual machines, shown without copying.\n"
	"\n"
	"Transport (one of them):\n"
	"  --vfio-user PATH        serve the device over vfio-user on the UNIX socket PATH\n"
	"                          (QEMU >= 10.1: -vga none -device "
	"'{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"PATH\"}}')\n"
	"  --vfio-user-fd N        the same on the inherited socket N; a connected one ends the device when it closes\n"
	"  --vhost-user PATH, --socket-path PATH\n"
	"                          be the vhost-user back-end on the UNIX socket PATH\n"
	"                          (QEMU: -chardev socket,id=gpu,path=PATH -vga none -device vhost-user-gpu-pci,chardev=gpu)\n"
	"  --fd N                  the same on the inherited socket N\n"
	"  --state PATH|none       the file that keeps what a restarted vitrine has to know of a running guest, for front-ends\n"
	"                          that do not keep it; best in /run (default: the socket's PATH.state if that is in a tmpfs)\n"
	"  --print-capabilities    print what this vhost-user back-end can do, as JSON, and do nothing else\n"
	"\n"
	"Display:\n"
	"  --display auto          windows when there is a desktop, else headless, and the VMM's own console when it wants one\n"
	"                          (default)\n"
	"  --display wayland[=SOCKET]\n"
	"                          a window for each output; the compositor gets the guest's pictures as they are\n"
	"  --display sdl[=software]\n"
	"                          a window for each output, drawn with OpenGL ES or by the processor\n"
	"  --display headless      no window: pacing, status and screenshots\n"
	"  --display kms[=CARD]    the screens of a host without a compositor: one output per connector of CARD (/dev/dri/card0;\n"
	"                          default: the first with a monitor)\n"
	"  --display vmm           the VMM's own console, as soon as it asks for the picture (--vhost-user: QEMU's "
	"vhost-user-gpu-pci);\n"
	"                          until then headless\n"
	"  --output WxH[@HZ][,name=NAME] | auto[,name=NAME]\n"
	"                          a monitor for the guest; repeat for more. A size is fixed, auto (the default) is\n"
	"                          1280x800@60 and follows the window that shows it, or with kms what the monitor prefers\n"
	"  --max-outputs N         connectors that the guest has, up to 16: monitors that 'vitrinectl output add' can\n"
	"                          plug in while it runs are among them (default 4, or as many as there are --output)\n"
	"  --name NAME             the guest's name in window titles\n"
	"  --fullscreen            windows start so, each on the monitor of its number (Ctrl+Alt+F changes it)\n"
	"  --scaling fit|integer   pictures as large as the window, or whole multiples of their pixels (Ctrl+Alt+S; default fit)\n"
	"  --tearing               wayland: a picture may replace the last one while the monitor draws it: less delay, and tears\n"
	"                          where the compositor allows it\n"
	"  --on-close quit|hide    closing a window ends vitrine, or its output goes on without it until 'vitrinectl output\n"
	"                          move' (default quit)\n"
	"  --path PATH             use only this way to the pixels: vfio-dmabuf, vfio-window, udmabuf, virgl, readback, mapped or\n"
	"                          fetched (default: the best that works)\n"
	"\n"
	"Input:\n"
	"  --input PATH            serve keyboard, tablet, mouse and touch screen over vfio-user on the sockets PATH.keyboard,\n"
	"                          PATH.tablet, PATH.mouse and PATH.touch (docs/input.md)\n"
	"\n"
	"Devices that are assigned to the guest with VFIO (docs/vfio.md):\n"
	"  --assign fd=N           an inherited VFIO device\n"
	"  --assign pid=PID[,device=BDF]\n"
	"                          a duplicate of the one that the running process PID (the VMM) holds\n"
	"  --assign bdf=BDF        opened here: 0000:01:00.0\n"
	"                          repeat for more; to a running vitrine: vitrinectl assign\n"
	"\n"
	"3D for a guest without a GPU (docs/3d.md):\n"
	"  --3d off|virgl[,isolate][,record=FILE]\n"
	"                          OpenGL by virglrenderer: in this process, or with isolate in one of its own, so that what "
	"crashes\n"
	"                          there ends no display; record, which comes last, keeps all that is asked of it in FILE\n"
	"                          (default off)\n"
	"  --virgl                 the same as --3d virgl\n"
	"  --render-node PATH      the GPU that draws, /dev/dri/renderD128 (default: with --display sdl and without isolate the\n"
	"                          one that draws the windows; else the first that EGL has, else software). On a host with\n"
	"                          several name the one that the compositor, or the card, shows with\n"
	"\n"
	"Control and limits:\n"
	"  --control PATH          control socket for vitrinectl\n"
	"  --max-hostmem SIZE      host memory a guest may take, with suffix K, M or G (default 1G)\n"
	"  --no-blob               do not offer blob resources (for guests and tests of the 2D path)\n"
	"  --log-level LEVEL       error, warn, info (default) or debug\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 ended by request, 1 could not start or go on, 2 wrong usage.\n";

/* "vhost-user.json": a feature is an option of that name. */
static const char capabilities[] = "{\n"
				   "  \"type\": \"gpu\",\n"
				   "  \"features\": [%s]\n"
				   "}\n";

enum option_id {
	OPTION_VFIO_USER = 1,
	OPTION_VFIO_USER_FD,
	OPTION_VHOST_USER,
	OPTION_FD,
	OPTION_PRINT_CAPABILITIES,
	OPTION_STATE,
	OPTION_DISPLAY,
	OPTION_OUTPUT,
	OPTION_MAX_OUTPUTS,
	OPTION_NAME,
	OPTION_FULLSCREEN,
	OPTION_SCALING,
	OPTION_TEARING,
	OPTION_ON_CLOSE,
	OPTION_PATH,
	OPTION_INPUT,
	OPTION_ASSIGN,
	OPTION_3D,
	OPTION_VIRGL,
	OPTION_RENDER_NODE,
	OPTION_CONTROL,
	OPTION_MAX_HOSTMEM,
	OPTION_NO_BLOB,
	OPTION_LOG_LEVEL,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{ "vfio-user", required_argument, NULL, OPTION_VFIO_USER },
	{ "vfio-user-fd", required_argument, NULL, OPTION_VFIO_USER_FD },
	{ "vhost-user", required_argument, NULL, OPTION_VHOST_USER },
	{ "socket-path", required_argument, NULL, OPTION_VHOST_USER },
	{ "fd", required_argument, NULL, OPTION_FD },
	{ "print-capabilities", no_argument, NULL, OPTION_PRINT_CAPABILITIES },
	{ "state", required_argument, NULL, OPTION_STATE },
	{ "display", required_argument, NULL, OPTION_DISPLAY },
	{ "output", required_argument, NULL, OPTION_OUTPUT },
	{ "max-outputs", required_argument, NULL, OPTION_MAX_OUTPUTS },
	{ "name", required_argument, NULL, OPTION_NAME },
	{ "fullscreen", no_argument, NULL, OPTION_FULLSCREEN },
	{ "scaling", required_argument, NULL, OPTION_SCALING },
	{ "tearing", no_argument, NULL, OPTION_TEARING },
	{ "on-close", required_argument, NULL, OPTION_ON_CLOSE },
	{ "path", required_argument, NULL, OPTION_PATH },
	{ "input", required_argument, NULL, OPTION_INPUT },
	{ "assign", required_argument, NULL, OPTION_ASSIGN },
	{ "3d", required_argument, NULL, OPTION_3D },
	{ "virgl", no_argument, NULL, OPTION_VIRGL },
	{ "render-node", required_argument, NULL, OPTION_RENDER_NODE },
	{ "control", required_argument, NULL, OPTION_CONTROL },
	{ "max-hostmem", required_argument, NULL, OPTION_MAX_HOSTMEM },
	{ "no-blob", no_argument, NULL, OPTION_NO_BLOB },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

/* Digits and nothing before them: strtoull() takes blanks and signs, too, and makes 2^64 - 1 of " -1". */
static int parse_digits(const char *text, uint64_t *value, const char **end)
{
	char *stop;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &stop, 10);
	*end = stop;
	return errno ? -EINVAL : 0;
}

static int parse_size(const char *text, uint64_t *size)
{
	static const char suffixes[] = "KMG";
	const char *end;
	uint64_t value;

	if (parse_digits(text, &value, &end) < 0)
		return -EINVAL;
	const char *suffix = *end ? strchr(suffixes, *end) : NULL;
	unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;

	if ((*end && (!suffix || end[1])) || !value || value > UINT64_MAX >> shift)
		return -EINVAL;
	*size = value << shift;
	return 0;
}

static int parse_choice(const char *text, const char *no, const char *yes, bool *choice)
{
	*choice = !strcmp(text, yes);
	return *choice || !strcmp(text, no) ? 0 : -EINVAL;
}

static int parse_fd(const char *text, int *fd)
{
	const char *end;
	uint64_t value;

	if (parse_digits(text, &value, &end) < 0 || *end || value > INT32_MAX)
		return -EINVAL;
	*fd = (int)value;
	return 0;
}

static int parse_name(const char *text, const char **path)
{
	*path = text;
	return *text ? 0 : -EINVAL;
}

/* One transport, given once: the rest is wrong usage, reported when all options are known. */
static int add_transport(struct options *options, bool vhost_user, const char *path, const char *fd)
{
	options->vhost_user = vhost_user;
	options->n_transports++;
	return path ? parse_name(path, &options->socket_path) : parse_fd(fd, &options->socket_fd);
}

static int parse_path(const char *text, enum vtr_path *path)
{
	if (vtr_path_from_name(text, path) < 0)
		return -EINVAL;
	return *path != VTR_PATH_NONE ? 0 : -EINVAL;
}

static int parse_max_outputs(const char *text, size_t *count)
{
	const char *end;
	uint64_t value;

	if (parse_digits(text, &value, &end) < 0 || *end || !value || value > VTR_MAX_SCANOUTS)
		return -EINVAL;
	*count = value;
	return 0;
}

static int add_output(struct options *options, const char *text)
{
	if (options->n_outputs == VTR_MAX_SCANOUTS)
		return -E2BIG;
	int error = vtr_output_parse(text, &options->outputs[options->n_outputs].mode, options->outputs[options->n_outputs].name);
	if (!error)
		options->n_outputs++;
	return error;
}

/* What is behind the text is seen when the device is taken. */
static int add_assign(struct options *options, const char *text)
{
	if (options->n_assign == VTR_MAX_VFIO_DEVICES)
		return -E2BIG;
	options->assign[options->n_assign++] = text;
	return 0;
}

/* off | virgl[,isolate][,record=FILE]; FILE is the rest, whatever is in it. */
static int parse_3d(struct options *options, const char *text)
{
	static const char virgl[] = "virgl", isolate[] = ",isolate", record[] = ",record=";

	options->virgl = !strncmp(text, virgl, strlen(virgl));
	options->isolate = false;
	options->record = NULL;
	if (!options->virgl)
		return strcmp(text, "off") ? -EINVAL : 0;
	text += strlen(virgl);
	options->isolate = !strncmp(text, isolate, strlen(isolate));
	if (options->isolate)
		text += strlen(isolate);
	if (!strncmp(text, record, strlen(record)))
		return parse_name(text + strlen(record), &options->record);
	return *text ? -EINVAL : 0;
}

/* Applies one option; -errno when its argument is wrong. */
static int apply(struct options *options, int id, const char *argument)
{
	switch (id) {
	case OPTION_VFIO_USER:
		return add_transport(options, false, argument, NULL);
	case OPTION_VFIO_USER_FD:
		return add_transport(options, false, NULL, argument);
	case OPTION_VHOST_USER:
		return add_transport(options, true, argument, NULL);
	case OPTION_FD:
		return add_transport(options, true, NULL, argument);
	case OPTION_STATE:
		options->no_state = !strcmp(argument, "none");
		return parse_name(argument, &options->state);
	case OPTION_DISPLAY:
		options->display = argument;
		return displays_know(argument) ? 0 : -EINVAL;
	case OPTION_OUTPUT:
		return add_output(options, argument);
	case OPTION_MAX_OUTPUTS:
		return parse_max_outputs(argument, &options->max_outputs);
	case OPTION_NAME:
		options->name = argument;
		return 0;
	case OPTION_FULLSCREEN:
		options->fullscreen = true;
		return 0;
	case OPTION_TEARING:
		options->tearing = true;
		return 0;
	case OPTION_SCALING:
		return parse_choice(argument, "fit", "integer", &options->integer_scaling);
	case OPTION_ON_CLOSE:
		return parse_choice(argument, "quit", "hide", &options->hide);
	case OPTION_PATH:
		return parse_path(argument, &options->force_path);
	case OPTION_ASSIGN:
		return add_assign(options, argument);
	case OPTION_3D:
		return parse_3d(options, argument);
	case OPTION_VIRGL:
		options->virgl = true;
		return 0;
	case OPTION_RENDER_NODE:
		return parse_name(argument, &options->render_node);
	case OPTION_INPUT:
		return parse_name(argument, &options->input);
	case OPTION_CONTROL:
		return parse_name(argument, &options->control);
	case OPTION_MAX_HOSTMEM:
		return parse_size(argument, &options->max_hostmem);
	case OPTION_NO_BLOB:
		options->no_blob = true;
		return 0;
	case OPTION_LOG_LEVEL:
		return vtr_log_level_from_name(argument, &options->log_level);
	default:
		return -EINVAL;
	}
}

static int fail(int *status, const char *format, const char *a, const char *b)
{
	fputs("vitrine: ", stderr);
	fprintf(stderr, format, a, b);
	fputs("\nTry 'vitrine --help'.\n", stderr);
	*status = 2;
	return -1;
}

static bool ends_with(const char *text, const char *end)
{
	const size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length && !strcmp(text + length - end_length, end);
}

/* "Other options and arguments should be ignored": mistakes, too. */
static bool asks_for_capabilities(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--print-capabilities"))
			return true;
	return false;
}

/* What options say together. */
static int check(const struct options *options, int *status)
{
	if (options->n_transports != 1)
		return fail(status, "give one transport: --vfio-user PATH, --vfio-user-fd N, --vhost-user PATH or --fd N%s%s", "",
		            "");
	if (options->state && !options->vhost_user)
		return fail(status, "--state is for vhost-user%s%s: a vfio-user client gives its device up when that is gone", "",
		            "");
	if (options->record && ends_with(options->record, ",isolate"))
		return fail(status, "--3d: record comes last, all behind it is the file's name (%s): virgl,isolate,record=FILE%s",
		            options->record, "");
	if (!options->virgl && (options->force_path == VTR_PATH_VIRGL || options->force_path == VTR_PATH_READBACK))
		return fail(status, "--path %s is a way from 3D%s: give --3d virgl as well", vtr_path_name(options->force_path),
		            "");
	if (options->max_outputs && options->max_outputs < options->n_outputs)
		return fail(status, "there are more --output than --max-outputs%s%s", "", "");
	return 0;
}

int options_parse(struct options *options, int argc, char **argv, int *status)
{
	int id, index = 0;

	*options = (struct options){ .socket_fd = -1, .display = "auto", .log_level = VTR_LOG_INFO };
	*status = 0;
	if (asks_for_capabilities(argc, argv)) {
		printf(capabilities, vtr_virgl_is_built() ? "\"render-node\", \"virgl\"" : "");
		return -1;
	}
	while ((id = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (id == OPTION_HELP || id == OPTION_VERSION) {
			fputs(id == OPTION_HELP ? usage : "vitrine " VTR_VERSION "\n", stdout);
			return -1;
		}
		if (id == '?')
			return fail(status, "wrong option%s%s", "", "");
		if (apply(options, id, optarg) < 0)
			return fail(status, "--%s: '%s' is not a value it takes", long_options[index].name, optarg ? optarg : "");
	}
	if (optind < argc)
		return fail(status, "'%s' is not an option%s", argv[optind], "");
	return check(options, status);
}
