/* SPDX-License-Identifier: MIT */
/*
 * The process that renders takes itself in before any driver is loaded. Steps, each of which holds for all that follows:
 *
 *   it dies with the device's thread that started it, even when it hangs in a driver and does not see its socket close
 *   no new privileges, no core file: that would hold the guest's memory
 *   limits of memory, beside what the guest's resources may take (ALLOWANCE): its own, and that of each file that it makes. What
 *   it maps of many such files no limit counts; so it is also the first that the kernel ends when memory runs out
 *   files: nothing is written or made, and of devices there are those that drivers open (process_files.c); a shader cache on disk
 *   is gone with that
 *   calls: no other program, no other process, no sockets, nothing done to anybody else (process_calls.c)
 *
 * It has been started in a session of its own, without a terminal (remote_child.c). What drivers need stays: threads, memory,
 * ioctls, libraries and descriptions of hardware to be read. A kernel without Landlock or seccomp, or a processor that the filter
 * does not know, leaves those steps out, and the log says so.
 */
#include "render/process_confine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "util/checked.h"

/*
 * What the process may take for itself, beyond what it has when it starts and the guest's resources: llvmpipe takes 60 MiB of data
 * for the first contexts with Mesa 22.3, 170 with Mesa 25.0, LLVM with its rasterizer's threads. Compiled shaders come on top.
 */
#define ALLOWANCE (UINT64_C(1) << 30)

enum { FILES = 4096 };

/* ---- limits ---- */

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

/* Its own memory; and, because that of files is not counted, of each file: those that others have made may be larger. Who makes a
 * file too large gets an error, not a signal. */
static int limit_memory(uint64_t max_memory)
{
	uint64_t limit;

	if (!max_memory || !vtr_add_u64(max_memory, ALLOWANCE + data_now(), &limit))
		return 0;
	signal(SIGXFSZ, SIG_IGN);
	int error = set_limit(RLIMIT_FSIZE, max_memory + ALLOWANCE);
	return error ? error : set_limit(RLIMIT_DATA, limit);
}

/* Without /proc, it is a victim as others are. */
static void be_first_to_go(void)
{
	FILE *file = fopen("/proc/self/oom_score_adj", "we");

	if (file) {
		fputs("1000", file);
		fclose(file);
	}
}

/* Every file of the guest's memory, every image that is read, every blob is an fd. As many as are allowed, if not so many. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES) {
		limit.rlim_cur = limit.rlim_max < FILES ? limit.rlim_max : FILES;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* ---- all of it ---- */

/* What the system may not have. */
static void restrict_more(const char *render_node)
{
	int abi = vtr_process_restrict_files(render_node);

	if (abi < 0)
		vtr_log(VTR_LOG_WARN,
		        "the process can write files of its user, and has its devices and its processes' memory, because the "
		        "kernel's "
		        "Landlock cannot be used: %s",
		        strerror(-abi));
	int error = vtr_process_restrict_calls(abi < VTR_LANDLOCK_TRUNCATES);
	if (error)
		vtr_log(VTR_LOG_WARN,
		        "the process can start programs, open sockets and signal others, because seccomp cannot be used: %s",
		        strerror(-error));
}

int vtr_process_confine(uint64_t max_memory, const char *render_node, const char **what)
{
	*what = "die with vitrine";
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	*what = "do without new privileges";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	*what = "do without core files";
	int error = set_limit(RLIMIT_CORE, 0);
	if (error)
		return error;
	*what = "limit its memory";
	error = limit_memory(max_memory);
	if (error)
		return error;
	be_first_to_go();
	raise_files();
	/* what could not be written anyway is not tried, and not complained about */
	setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
	setenv("__GL_SHADER_DISK_CACHE", "0", 1);
	restrict_more(render_node);
	return 0;
}
