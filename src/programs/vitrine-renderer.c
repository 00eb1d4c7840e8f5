/* SPDX-License-Identifier: MIT */
/*
 * vitrine-renderer: virglrenderer in a process of its own, started by the library for --3d virgl,isolate. What it does is in
 * src/render/process.c; here the process takes itself in before any driver is loaded.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vitrine/log.h>
#include <vitrine/renderer.h>

#include "render/process.h"
#include "vitrine-version.h"

static const char usage[] = "usage: vitrine-renderer --fd N [--render-node PATH] [--max-memory BYTES]\n"
			    "virglrenderer for one vitrine, which starts it: vitrine --3d virgl,isolate\n"
			    "\n"
			    "  --fd N               the socket to vitrine, inherited\n"
			    "  --render-node PATH   the GPU to draw with: /dev/dri/renderD128\n"
			    "  --max-memory BYTES   that the guest's resources may take\n"
			    "  --help, --version\n";

/*
 * What the process may take for itself, beyond what it has when it starts and the guest's resources: llvmpipe takes 60 MiB of data
 * for the first contexts with Mesa 22.3, 170 with Mesa 25.0, LLVM with its rasterizer's threads. Compiled shaders come on top.
 */
#define ALLOWANCE (UINT64_C(1) << 30)

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

static int set_limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max = limit.rlim_max < value ? limit.rlim_max : value;
	return setrlimit(resource, &limit) < 0 ? -errno : 0;
}

/* The data that the process has already: not all of it is small, a sanitizer's for instance. */
static uint64_t data_now(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file) {
		if (fscanf(file, "%*u %*u %*u %*u %*u %lu", &pages) != 1)
			pages = 0;
		fclose(file);
	}
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int limit_memory(uint64_t max_memory)
{
	uint64_t limit;

	if (!max_memory || __builtin_add_overflow(max_memory, ALLOWANCE + data_now(), &limit))
		return 0;
	return set_limit(RLIMIT_DATA, limit);
}

/* Every file of the guest's memory, every image that is read, every blob is an fd. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096) {
		limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* 0, or -errno with *what saying what failed. */
static int confine(const struct options *options, const char **what)
{
	*what = "die with vitrine";
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	*what = "do without new privileges";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	*what = "write no core files: they would hold the guest's memory";
	int error = set_limit(RLIMIT_CORE, 0);
	if (!error) {
		*what = "limit its memory";
		error = limit_memory(options->max_memory);
	}
	raise_files();
	return error;
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
	int error = confine(&options, &what);
	if (error) {
		vtr_log(VTR_LOG_ERROR, "the process cannot %s: %s", what, strerror(-error));
		return 1;
	}
	return vtr_process_run(options.fd, create, &options.renderer);
}
