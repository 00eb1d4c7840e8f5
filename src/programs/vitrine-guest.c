/* SPDX-License-Identifier: MIT */
/* vitrine-guest: a guest in user space. Arguments only; what it does is in <vitrine/guest.h>. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/guest.h>
#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/transport.h>

#include "vitrine-version.h"

static const char usage[] =
	"usage: vitrine-guest --vfio-user PATH|--vhost-user PATH [options] probe|demo|check|events|bench [options]\n"
	"A guest in user space: drives a virtio-gpu device over vfio-user or vhost-user.\n"
	"\n"
	"  --vfio-user PATH     the device's socket\n"
	"  --vhost-user PATH    the socket of a vhost-user back-end; with it:\n"
	"    --iommu            the guest's addresses are IOVAs, which the device has to ask for\n"
	"    --display-socket   give it a display socket, as QEMU does: it then shows its pictures here, and check compares those\n"
	"    --without NAME,... protocol features to do without: GPA_ADDRESSES, STATUS, ... (probe prints those that there are)\n"
	"  --control PATH       the device's control socket: check compares pictures, bench takes screenshots\n"
	"  --assign vfio-user=PATH\n"
	"                       a device that is assigned to the guest: its BAR is the memory \"bar\"\n"
	"  --input PATH         the beginning of its input devices' sockets, as vitrine --input: check looks at them, too\n"
	"  --pid PID            the device's process, when the socket does not tell\n"
	"  --timeout SECONDS    of every wait (10)\n"
	"  --log-level LEVEL    error, warn, info, debug\n"
	"  --json               probe, bench: print JSON\n"
	"  --help, --version\n"
	"\n"
	"probe                  print the device\n"
	"demo                   show a moving picture\n"
	"  --frames N           stop after N frames\n"
	"  --seconds S          stop after S seconds; without --frames and --seconds: 10\n"
	"  --size WxH           in place of the size the device prefers\n"
	"  --scanout N          in place of 0\n"
	"  --heads N            the same picture on N scanouts, from that one on\n"
	"  --memory KIND        ram, bar (an assigned device's), remote (without an fd)\n"
	"  --ranges N           mem entries of each buffer (63)\n"
	"  --buffers N          1: draw into the framebuffer that is shown, 2: flip between two (default)\n"
	"  --cursor X,Y         with a cursor there\n"
	"  --3d                 a triangle that the device draws, in a 3D context\n"
	"  --keep               leave the last picture until standard input ends\n"
	"check                  run the conformance suite\n"
	"  --filter GLOB        only checks whose family/name matches\n"
	"  --list               print the names\n"
	"  --tap                print TAP\n"
	"  --3d                 contexts, command streams and what they draw, too: for a device that offers VIRGL\n"
	"events                 print what the input devices (--input) send\n"
	"  --devices LIST       only these: keyboard,tablet,mouse,touch\n"
	"  --seconds S          stop after S seconds; else when standard input ends\n"
	"bench                  measure\n"
	"  --round-trips        commands there and back only\n"
	"  --3d                 clears in a 3D context only: alone, read back, shown\n"
	"\n"
	"Exit codes: 0 all well, 1 a check or measurement failed, 2 wrong arguments, 3 no device, or it is gone.\n";

struct arguments {
	struct vtr_guest_options options;
	struct vtr_guest_demo demo;
	struct vtr_guest_check check;
	struct vtr_guest_events events;
	bool json, round_trips, three_d, help, version;
};

enum option_id {
	OPTION_VFIO_USER = 256,
	OPTION_VHOST_USER,
	OPTION_IOMMU,
	OPTION_DISPLAY_SOCKET,
	OPTION_WITHOUT,
	OPTION_CONTROL,
	OPTION_ASSIGN,
	OPTION_INPUT,
	OPTION_PID,
	OPTION_TIMEOUT,
	OPTION_LOG_LEVEL,
	OPTION_JSON,
	OPTION_FRAMES,
	OPTION_SECONDS,
	OPTION_SIZE,
	OPTION_SCANOUT,
	OPTION_HEADS,
	OPTION_MEMORY,
	OPTION_RANGES,
	OPTION_BUFFERS,
	OPTION_CURSOR,
	OPTION_KEEP,
	OPTION_FILTER,
	OPTION_LIST,
	OPTION_TAP,
	OPTION_3D,
	OPTION_DEVICES,
	OPTION_ROUND_TRIPS,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option options[] = {
	{ "vfio-user", required_argument, NULL, OPTION_VFIO_USER },
	{ "vhost-user", required_argument, NULL, OPTION_VHOST_USER },
	{ "iommu", no_argument, NULL, OPTION_IOMMU },
	{ "display-socket", no_argument, NULL, OPTION_DISPLAY_SOCKET },
	{ "without", required_argument, NULL, OPTION_WITHOUT },
	{ "control", required_argument, NULL, OPTION_CONTROL },
	{ "assign", required_argument, NULL, OPTION_ASSIGN },
	{ "input", required_argument, NULL, OPTION_INPUT },
	{ "pid", required_argument, NULL, OPTION_PID },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "frames", required_argument, NULL, OPTION_FRAMES },
	{ "seconds", required_argument, NULL, OPTION_SECONDS },
	{ "size", required_argument, NULL, OPTION_SIZE },
	{ "scanout", required_argument, NULL, OPTION_SCANOUT },
	{ "heads", required_argument, NULL, OPTION_HEADS },
	{ "memory", required_argument, NULL, OPTION_MEMORY },
	{ "ranges", required_argument, NULL, OPTION_RANGES },
	{ "buffers", required_argument, NULL, OPTION_BUFFERS },
	{ "cursor", required_argument, NULL, OPTION_CURSOR },
	{ "keep", no_argument, NULL, OPTION_KEEP },
	{ "filter", required_argument, NULL, OPTION_FILTER },
	{ "list", no_argument, NULL, OPTION_LIST },
	{ "tap", no_argument, NULL, OPTION_TAP },
	{ "3d", no_argument, NULL, OPTION_3D },
	{ "devices", required_argument, NULL, OPTION_DEVICES },
	{ "round-trips", no_argument, NULL, OPTION_ROUND_TRIPS },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ 0 },
};

static bool parse_number(const char *text, unsigned long max, uint32_t *value)
{
	char *end;

	errno = 0;
	unsigned long number = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || number > max)
		return false;
	*value = (uint32_t)number;
	return true;
}

/* Two numbers with separator between them, each at most VTR_MAX_DIMENSION. */
static bool parse_pair(const char *text, char separator, uint32_t *first, uint32_t *second)
{
	char number[16];
	const char *end = strchr(text, separator);

	if (!end || (size_t)(end - text) >= sizeof(number))
		return false;
	memcpy(number, text, (size_t)(end - text));
	number[end - text] = 0;
	return parse_number(number, VTR_MAX_DIMENSION, first) && parse_number(end + 1, VTR_MAX_DIMENSION, second);
}

static bool parse_size(const char *text, struct vtr_guest_demo *demo)
{
	return parse_pair(text, 'x', &demo->width, &demo->height) && demo->width && demo->height;
}

static bool parse_log_level(const char *text)
{
	enum vtr_log_level level;

	if (vtr_log_level_from_name(text, &level))
		return false;
	vtr_log_set_level(level);
	return true;
}

/* False when value is not what the option takes. */
static bool take_option(struct arguments *arguments, int id, const char *value)
{
	uint32_t number = 0;

	switch ((enum option_id)id) {
	case OPTION_VFIO_USER:
		arguments->options.vfio_user = value;
		return true;
	case OPTION_VHOST_USER:
		arguments->options.vhost_user = value;
		return true;
	case OPTION_IOMMU:
		return arguments->options.iommu = true;
	case OPTION_DISPLAY_SOCKET:
		return arguments->options.display_socket = true;
	case OPTION_WITHOUT:
		return vtr_vhost_user_protocol_features_parse(value, &arguments->options.without);
	case OPTION_CONTROL:
		arguments->options.control = value;
		return true;
	case OPTION_INPUT:
		arguments->options.input = value;
		return true;
	case OPTION_ASSIGN:
		arguments->options.assign = value;
		return true;
	case OPTION_PID:
		return parse_number(value, INT_MAX, &arguments->options.pid);
	case OPTION_TIMEOUT:
		if (!parse_number(value, INT_MAX / 1000, &number) || !number)
			return false;
		arguments->options.timeout_ms = (int)number * 1000;
		return true;
	case OPTION_LOG_LEVEL:
		return parse_log_level(value);
	case OPTION_JSON:
		return arguments->json = true;
	case OPTION_FRAMES:
		if (!parse_number(value, UINT32_MAX, &number))
			return false;
		arguments->demo.frames = number;
		return true;
	case OPTION_SECONDS:
		if (!parse_number(value, UINT32_MAX, &number))
			return false;
		arguments->demo.seconds = arguments->events.seconds = number;
		return true;
	case OPTION_SIZE:
		return parse_size(value, &arguments->demo);
	case OPTION_SCANOUT:
		return parse_number(value, VTR_MAX_SCANOUTS - 1, &arguments->demo.scanout);
	case OPTION_HEADS:
		return parse_number(value, VTR_MAX_SCANOUTS, &arguments->demo.heads) && arguments->demo.heads;
	case OPTION_MEMORY:
		return !vtr_guest_memory_from_name(value, &arguments->demo.memory);
	case OPTION_RANGES:
		return parse_number(value, VTR_MAX_ENTRIES, &arguments->demo.ranges);
	case OPTION_BUFFERS:
		return parse_number(value, VTR_GUEST_DEMO_BUFFERS, &arguments->demo.buffers) && arguments->demo.buffers;
	case OPTION_CURSOR:
		arguments->demo.cursor = true;
		return parse_pair(value, ',', &arguments->demo.cursor_x, &arguments->demo.cursor_y);
	case OPTION_KEEP:
		return arguments->demo.keep = true;
	case OPTION_FILTER:
		arguments->check.filter = value;
		return true;
	case OPTION_LIST:
		return arguments->check.list = true;
	case OPTION_TAP:
		return arguments->check.tap = true;
	case OPTION_3D:
		return arguments->three_d = arguments->check.three_d = arguments->demo.three_d = true;
	case OPTION_DEVICES:
		arguments->events.devices = value;
		return true;
	case OPTION_ROUND_TRIPS:
		return arguments->round_trips = true;
	case OPTION_HELP:
		return arguments->help = true;
	case OPTION_VERSION:
		return arguments->version = true;
	}
	return false;
}

static int run(struct arguments *arguments, const char *command)
{
	const struct vtr_guest_options *device = &arguments->options;

	if (!strcmp(command, "probe"))
		return vtr_guest_probe(device, arguments->json, stdout);
	if (!strcmp(command, "check"))
		return vtr_guest_check(device, &arguments->check, stdout);
	if (!strcmp(command, "bench"))
		return vtr_guest_bench(
			device, &(struct vtr_guest_bench){ arguments->json, arguments->round_trips, arguments->three_d }, stdout);
	if (!strcmp(command, "events"))
		return vtr_guest_events(device, &arguments->events, stdout);
	if (!strcmp(command, "demo")) {
		if (!arguments->demo.frames && !arguments->demo.seconds)
			arguments->demo.seconds = 10;
		return vtr_guest_demo(device, &arguments->demo, stdout);
	}
	fprintf(stderr, "vitrine-guest: there is no command \"%s\": probe, demo, check, events, bench\n", command);
	return VTR_GUEST_USAGE;
}

/* One device, and nothing about it that it cannot have. */
static bool names_device(const struct arguments *arguments, const char *command)
{
	const struct vtr_guest_options *device = &arguments->options;
	const char *problem = NULL;

	if (device->vfio_user && device->vhost_user)
		problem = "one device, please: --vfio-user PATH or --vhost-user PATH";
	else if ((device->iommu || device->display_socket || device->without) && !device->vhost_user)
		problem = "--iommu, --display-socket and --without are for --vhost-user PATH";
	else if (!device->vfio_user && !device->vhost_user && !arguments->check.list && strcmp(command, "events") != 0)
		problem = "which device? give its socket with --vfio-user PATH or --vhost-user PATH";
	if (problem)
		fprintf(stderr, "vitrine-guest: %s\n", problem);
	return !problem;
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .demo.memory = VTR_GUEST_BAR };
	int id, index = 0;

	signal(SIGPIPE, SIG_IGN); /* a device that leaves is an error code, not a signal */
	while ((id = getopt_long(argc, argv, "h", options, &index)) != -1) {
		if (id == '?')
			return VTR_GUEST_USAGE;
		if (!take_option(&arguments, id == 'h' ? OPTION_HELP : id, optarg)) {
			fprintf(stderr, "vitrine-guest: --%s does not take \"%s\"; see --help\n", options[index].name, optarg);
			return VTR_GUEST_USAGE;
		}
	}
	if (arguments.help || arguments.version) {
		fputs(arguments.help ? usage : "vitrine-guest " VTR_VERSION "\n", stdout);
		return VTR_GUEST_OK;
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return VTR_GUEST_USAGE;
	}
	if (!names_device(&arguments, argv[optind]))
		return VTR_GUEST_USAGE;
	return run(&arguments, argv[optind]);
}
