/* SPDX-License-Identifier: MIT */
/*
 * vitrine-renderer: virglrenderer in a process of its own, started by the library for --3d virgl,isolate. What it does is in
 * src/render/process.c, and what it cannot do any more in process_confine.c.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/log.h>
#include <vitrine/renderer.h>

#include "render/process.h"
#include "render/process_confine.h"
#include "vitrine-version.h"

static const char usage[] = "usage: vitrine-renderer --fd N [--render-node PATH] [--max-memory BYTES]\n"
			    "virglrenderer for one vitrine, which starts it: vitrine --3d virgl,isolate\n"
			    "\n"
			    "  --fd N               the socket to vitrine, inherited\n"
			    "  --render-node PATH   the GPU to draw with: /dev/dri/renderD128\n"
			    "  --max-memory BYTES   that the guest's resources may take\n"
			    "  --help, --version\n";

struct options {
	int fd;
	uint64_t max_memory; /* 0: no limit */
	struct vtr_renderer_options renderer;
};

/* Lines as the device takes them (remote_child.c). */
static void log_to_device(enum vtr_log_level level, const char *text, void *data)
{
	static const char priorities[] = { '3', '4', '6', '7' };

	dprintf(STDERR_FILENO, "<%c>%s\n", priorities[level], text);
}

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	char *rest;

	errno = 0;
	*value = strtoull(text, &rest, 10);
	return *text >= '0' && *text <= '9' && !*rest && !errno && *value <= max;
}

/* 0: go on; otherwise exit with *status. */
static int parse(struct options *options, int argc, char **argv, int *status)
{
	static const struct option list[] = {
		{ "fd", required_argument, NULL, 'f' },         { "render-node", required_argument, NULL, 'r' },
		{ "max-memory", required_argument, NULL, 'm' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },          { 0 },
	};
	uint64_t number;
	int c;

	*options = (struct options){ .fd = -1 };
	*status = 2;
	while ((c = getopt_long(argc, argv, "", list, NULL)) >= 0) {
		if (c == 'f' && parse_number(optarg, INT32_MAX, &number)) {
			options->fd = (int)number;
		} else if (c == 'm' && parse_number(optarg, UINT64_MAX, &number)) {
			options->max_memory = number;
		} else if (c == 'r') {
			options->renderer.render_node = optarg;
		} else if (c == 'h' || c == 'v') {
			fputs(c == 'h' ? usage : "vitrine-renderer " VTR_VERSION "\n", stdout);
			*status = 0;
			return -1;
		} else {
			fputs(usage, stderr);
			return -1;
		}
	}
	if (options->fd >= 0 && optind == argc)
		return 0;
	fputs(usage, stderr);
	return -1;
}

static struct vtr_renderer *create(struct vtr_loop *loop, void *data, struct vtr_error *error)
{
	return vtr_virgl_create(loop, data, error);
}

int main(int argc, char **argv)
{
	struct options options;
	const char *what;
	int status;

	if (parse(&options, argc, argv, &status))
		return status;
	vtr_log_set_handler(log_to_device, NULL);
	int error = vtr_process_confine(options.max_memory, options.renderer.render_node, &what);
	if (error) {
		vtr_log(VTR_LOG_ERROR, "the process cannot %s: %s", what, strerror(-error));
		return 1;
	}
	return vtr_process_run(options.fd, create, &options.renderer);
}
