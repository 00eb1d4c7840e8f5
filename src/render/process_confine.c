/* SPDX-License-Identifier: MIT */
/*
 * The process that renders takes itself in before any driver is loaded. Steps, each of which holds for all that follows:
 *
 *   it dies with the device's thread that started it, even when it hangs in a driver and does not see its socket close
 *   no new privileges, no core file: that would hold the guest's memory
 *   a limit of memory, beside what the guest's resources may take (ALLOWANCE)
 *   files: nothing is written or made but under /dev (Landlock); a shader cache on disk is gone with that
 *   calls: no other program, no other process, no sockets, nobody else's memory (seccomp)
 *
 * What drivers need stays: threads, memory, ioctls, libraries and descriptions of hardware to be read. A kernel without Landlock or
 * seccomp, or a processor that the filter does not know, leaves those steps out, and the log says so.
 */
#include "render/process_confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "util/checked.h"
#include "util/fd.h"

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

static int limit_memory(uint64_t max_memory)
{
	uint64_t limit;

	if (!max_memory || !vtr_add_u64(max_memory, ALLOWANCE + data_now(), &limit))
		return 0;
	return set_limit(RLIMIT_DATA, limit);
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

/* ---- files ---- */

static int allow_below(int ruleset, const char *path, uint64_t access)
{
	int folder = open(path, O_PATH | O_CLOEXEC), error = 0;
	struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = folder };

	if (folder < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		error = -errno;
	vtr_fd_close(&folder);
	return error;
}

/* Nothing is written, made, removed or executed, but that devices are written to. */
static int restrict_files(void)
{
	const struct landlock_ruleset_attr handled = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
		                     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
		                     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
		                     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM,
	};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0), error = 0;

	if (ruleset < 0)
		return -errno;
	error = allow_below(ruleset, "/dev", LANDLOCK_ACCESS_FS_WRITE_FILE);
	if (!error && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		error = -errno;
	vtr_fd_close(&ruleset);
	return error;
}

/* ---- calls ---- */

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define OUR_ARCH AUDIT_ARCH_RISCV64
#else
#define OUR_ARCH 0
#endif

#define DATA(member) ((uint32_t)offsetof(struct seccomp_data, member))
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(member))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
/* A call is answered with an error instead. */
#define REFUSE(call, error) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), RETURN(SECCOMP_RET_ERRNO | (error))

/* Numbers from there on belong to another calling convention of the same processor (x32). */
enum { OTHER_CONVENTION = 0x40000000 };

static int restrict_calls(void)
{
	struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, OTHER_CONVENTION, 0, 1),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		REFUSE(SYS_execve, EPERM),
		REFUSE(SYS_execveat, EPERM),
		REFUSE(SYS_socket, EACCES),
		REFUSE(SYS_connect, EACCES),
		REFUSE(SYS_bind, EACCES),
		REFUSE(SYS_ptrace, EPERM),
		REFUSE(SYS_process_vm_readv, EPERM),
		REFUSE(SYS_process_vm_writev, EPERM),
		REFUSE(SYS_pidfd_getfd, EPERM),
		REFUSE(SYS_kill, EPERM),
		REFUSE(SYS_tkill, EPERM),
		REFUSE(SYS_rt_sigqueueinfo, EPERM),
		REFUSE(SYS_rt_tgsigqueueinfo, EPERM),
		REFUSE(SYS_pidfd_send_signal, EPERM),
		REFUSE(SYS_io_uring_setup, ENOSYS), /* it opens sockets, too */
#ifdef SYS_fork
		REFUSE(SYS_fork, EPERM),
		REFUSE(SYS_vfork, EPERM),
#endif
		/* clone3's flags are in memory, where a filter does not see them: without it, clone is called */
		REFUSE(SYS_clone3, ENOSYS),
		/* args: their low halves, on the processors above */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 4, 0),
		RETURN(SECCOMP_RET_ERRNO | EPERM),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 2), /* abort() takes this */
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)getpid(), 0, 1),
		RETURN(SECCOMP_RET_ALLOW),
		RETURN(SECCOMP_RET_ERRNO | EPERM),
	};
	const struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	if (!OUR_ARCH)
		return -EOPNOTSUPP;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

/* ---- all of it ---- */

/* What the system may not have. */
static void restrict_more(void)
{
	int error = restrict_files();

	if (error)
		vtr_log(VTR_LOG_WARN, "the process can write files of its user, because the kernel's Landlock cannot be used: %s",
		        strerror(-error));
	error = restrict_calls();
	if (error)
		vtr_log(VTR_LOG_WARN, "the process can start programs and open sockets, because seccomp cannot be used: %s",
		        strerror(-error));
}

int vtr_process_confine(uint64_t max_memory, const char **what)
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
	raise_files();
	/* what could not be written anyway is not tried, and not complained about */
	setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
	setenv("__GL_SHADER_DISK_CACHE", "0", 1);
	restrict_more();
	return 0;
}
