/* SPDX-License-Identifier: MIT */
/* What the process that renders cannot do any more, and what it still can: each in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "render/process_confine.h"
#include "render/process_kernel.h"
#include "rows.h"

enum { LIMIT_MB = 256, ALLOWANCE_MB = 1024 };

enum landlock { ANY, NEEDED, HIDDEN };

struct row {
	const char *name;
	int (*act)(const char *path); /* 0, or a positive errno */
	int expected;
	enum landlock landlock;
};

/* What the process is given from outside, as a guest's memory is: a file larger than it may make. */
static int given;

static const off_t GIVEN_SIZE = (off_t)4 << 30;

static int result(int code)
{
	return code < 0 ? errno : 0;
}

static int write_file(const char *path)
{
	return result(open(path, O_WRONLY | O_CLOEXEC));
}

static int make_file(const char *path)
{
	return result(open("made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int remove_file(const char *path)
{
	return result(unlink(path));
}

static int read_file(const char *path)
{
	return result(open(path, O_RDONLY | O_CLOEXEC));
}

static int truncate_file(const char *path)
{
	return result(truncate(path, 0));
}

/* Reading is allowed, and this is no writing, for Landlock before ABI 3. */
static int truncate_by_opening(const char *path)
{
	return result(open(path, O_RDONLY | O_TRUNC | O_CLOEXEC));
}

static int rename_file(const char *path)
{
	return result(rename(path, "renamed"));
}

static int link_file(const char *path)
{
	return result(link(path, "linked"));
}

static int change_flags(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), flags = 0;

	return fd < 0 ? EINVAL : result(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static int open_as(const char *path, int flags)
{
	return result(open(path, flags | O_CLOEXEC));
}

static int read_terminal(const char *path)
{
	return open_as("/dev/tty", O_RDONLY | O_NOCTTY);
}

static int write_terminal(const char *path)
{
	return open_as("/dev/ptmx", O_RDWR | O_NOCTTY);
}

/* The memory of other VMs is there. */
static int make_shared_memory(const char *path)
{
	int fd = shm_open("/vitrine-confine", O_CREAT | O_EXCL | O_RDWR, 0600), error = errno;

	if (fd < 0)
		return error;
	shm_unlink("/vitrine-confine");
	return 0;
}

static int write_device(const char *path)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? errno : result((int)write(fd, "", 1));
}

static int ask_device(const char *path)
{
	int fd = open("/dev/random", O_RDONLY | O_CLOEXEC), bits;

	return fd < 0 ? errno : result(ioctl(fd, RNDGETENTCNT, &bits));
}

static int make_memory_file(const char *path)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	return fd < 0 ? errno : result(ftruncate(fd, 4096));
}

static int execute(const char *path)
{
	return result(execl("/bin/true", "true", NULL));
}

static int make_process(const char *path)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return result(pid);
}

static int make_sockets(const char *path)
{
	int sockets[2];

	return result(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets));
}

static int make_socket(const char *path)
{
	return result(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int look_into_parent(const char *path)
{
	return result((int)syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, getppid(), 0, 0));
}

static int signal_parent(const char *path)
{
	return result(kill(getppid(), 0));
}

static int signal_parents_thread(const char *path)
{
	return result((int)syscall(SYS_tgkill, getppid(), getppid(), 0));
}

/* The kernel sends what the owner of a file is to get: SIGIO, or another one. */
static int own_for_parent(const char *path)
{
	return result(fcntl(given, F_SETOWN, getppid()));
}

static int own_for_parents_thread(const char *path)
{
	struct f_owner_ex owner = { .type = F_OWNER_PID, .pid = getppid() };

	return result(fcntl(given, F_SETOWN_EX, &owner));
}

static int choose_signal(const char *path)
{
	return result(fcntl(given, F_SETSIG, SIGKILL));
}

static int lease_file(const char *path)
{
	return result(fcntl(open(path, O_RDONLY | O_CLOEXEC), F_SETLEASE, F_RDLCK));
}

static int ioctl_on_pipe(unsigned long request)
{
	int pipes[2], value = 0;

	return pipe2(pipes, O_CLOEXEC) < 0 ? EINVAL : result(ioctl(pipes[0], request, &value));
}

static int own_by_ioctl(const char *path)
{
	return ioctl_on_pipe(FIOSETOWN);
}

static int group_by_ioctl(const char *path)
{
	return ioctl_on_pipe(SIOCSPGRP);
}

static int type_into_terminal(const char *path)
{
	return ioctl_on_pipe(TIOCSTI);
}

/* The kernel looks at the low half of a request only. */
static int type_by_a_long_request(const char *path)
{
	char byte = 'x';

	return result((int)syscall(SYS_ioctl, given, UINT64_C(1) << 32 | TIOCSTI, &byte));
}

static int take_terminal(const char *path)
{
	return ioctl_on_pipe(TIOCSCTTY);
}

static int paste_into_terminal(const char *path)
{
	return ioctl_on_pipe(TIOCLINUX);
}

static int outlive_vitrine(const char *path)
{
	return result(prctl(PR_SET_PDEATHSIG, 0));
}

static int limit_parent(const char *path)
{
	struct rlimit limit;

	return result(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit));
}

static int limit_itself(const char *path)
{
	struct rlimit limit;

	return result(prlimit(0, RLIMIT_NOFILE, NULL, &limit)) || result(prlimit(getpid(), RLIMIT_NOFILE, NULL, &limit));
}

static int slow_parent(const char *path)
{
	const struct sched_param param = { 0 };

	return result(sched_setscheduler(getppid(), SCHED_OTHER, &param));
}

static int pin(pid_t pid)
{
	cpu_set_t processors;

	return sched_getaffinity(pid, sizeof(processors), &processors) < 0
	               ? EINVAL
	               : result(sched_setaffinity(pid, sizeof(processors), &processors));
}

static int pin_parent(const char *path)
{
	return pin(getppid());
}

/* Mesa does both, when it looks at the processors. */
static int pin_itself(const char *path)
{
	int error = pin(0);

	return error ? error : pin(getpid());
}

static int read_parents_memory(const char *path)
{
	g_autofree char *memory = g_strdup_printf("/proc/%d/mem", getppid());

	return open_as(memory, O_RDONLY);
}

static int signal_itself(const char *path)
{
	return result(raise(0));
}

static void *nothing(void *data)
{
	return data;
}

static int make_thread(const char *path)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, nothing, NULL);

	return error ? error : pthread_join(thread, NULL);
}

static int take(size_t mebibytes)
{
	return mmap(NULL, mebibytes << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED
	               ? errno
	               : 0;
}

static int take_some_memory(const char *path)
{
	return take(LIMIT_MB + ALLOWANCE_MB / 2);
}

static int take_much_memory(const char *path)
{
	return take(LIMIT_MB + ALLOWANCE_MB + 64);
}

static int map_much(const char *path)
{
	return mmap(NULL, (size_t)GIVEN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, given, 0) == MAP_FAILED ? errno
	                                                                                                                  : 0;
}

static const off_t TOO_LARGE = (off_t)(LIMIT_MB + ALLOWANCE_MB + 1) << 20;

static int grow_memory_file(const char *path)
{
	return result(ftruncate(memfd_create("memory", MFD_CLOEXEC), TOO_LARGE));
}

static int allocate_memory_file(const char *path)
{
	return result(fallocate(memfd_create("memory", MFD_CLOEXEC), 0, TOO_LARGE - 4096, 4096));
}

/* Without a signal that would end the process. */
static int write_far(const char *path)
{
	return result((int)pwrite(memfd_create("memory", MFD_CLOEXEC), "", 1, TOO_LARGE));
}

static int first_to_go(const char *path)
{
	g_autofree char *text = NULL;

	return g_file_get_contents("/proc/self/oom_score_adj", &text, NULL, NULL) && atoi(text) == 1000 ? 0 : EINVAL;
}

static int other_settings(const char *path)
{
	struct rlimit core;
	int signal_number = 0;

	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return EINVAL;
	return prctl(PR_GET_PDEATHSIG, &signal_number) < 0 || signal_number != SIGKILL ? EINVAL : 0;
}

static const struct row rows[] = {
	/* files */
	{ "write-file", write_file, EACCES, NEEDED },
	{ "make-file", make_file, EACCES, NEEDED },
	{ "remove-file", remove_file, EACCES, NEEDED },
	{ "rename-file", rename_file, EACCES, NEEDED },
	{ "link-file", link_file, EACCES, NEEDED },
	{ "truncate-file", truncate_file, EPERM },
	{ "truncate-by-opening", truncate_by_opening, EACCES },
	{ "truncate-by-opening-without-landlock", truncate_by_opening, EACCES, HIDDEN },
	{ "change-flags", change_flags, EPERM },
	{ "lease-file", lease_file, EPERM },
	{ "read-file", read_file, 0 },
	{ "read-file-without-landlock", read_file, 0, HIDDEN },
	/* devices */
	{ "read-terminal", read_terminal, EACCES, NEEDED },
	{ "write-terminal", write_terminal, EACCES, NEEDED },
	{ "make-shared-memory", make_shared_memory, EACCES, NEEDED },
	{ "write-device", write_device, 0 },
	{ "ask-device", ask_device, 0 },
	{ "type-into-terminal", type_into_terminal, EPERM },
	{ "type-by-a-long-request", type_by_a_long_request, EPERM },
	{ "take-terminal", take_terminal, EPERM },
	{ "paste-into-terminal", paste_into_terminal, EPERM },
	/* programs, processes, sockets */
	{ "execute", execute, EPERM },
	{ "make-process", make_process, EPERM },
	{ "make-thread", make_thread, 0 },
	{ "make-socket", make_socket, EACCES },
	{ "make-sockets", make_sockets, EACCES },
	/* other processes */
	{ "look-into-parent", look_into_parent, EPERM },
	{ "read-parents-memory", read_parents_memory, EACCES, NEEDED },
	{ "signal-parent", signal_parent, EPERM },
	{ "signal-parents-thread", signal_parents_thread, EPERM },
	{ "signal-itself", signal_itself, 0 },
	{ "own-for-parent", own_for_parent, EPERM },
	{ "own-for-parents-thread", own_for_parents_thread, EPERM },
	{ "own-by-ioctl", own_by_ioctl, EPERM },
	{ "group-by-ioctl", group_by_ioctl, EPERM },
	{ "choose-signal", choose_signal, EPERM },
	{ "outlive-vitrine", outlive_vitrine, EPERM },
	{ "limit-parent", limit_parent, EPERM },
	{ "limit-itself", limit_itself, 0 },
	{ "slow-parent", slow_parent, EPERM },
	{ "pin-parent", pin_parent, EPERM },
	{ "pin-itself", pin_itself, 0 },
	/* memory */
	{ "make-memory-file", make_memory_file, 0 },
	{ "grow-memory-file", grow_memory_file, EFBIG },
	{ "allocate-memory-file", allocate_memory_file, EFBIG },
	{ "write-far", write_far, EFBIG },
	{ "take-some-memory", take_some_memory, 0 },
	{ "take-much-memory", take_much_memory, ENOMEM },
	{ "map-much", map_much, 0 },
	{ "first-to-go", first_to_go, 0 },
	{ "other-settings", other_settings, 0 },
};

/* ---- calls that are refused whatever they ask for ---- */

struct call {
	const char *name;
	long number;
	int expected;
};

#define CALL(name, expected)                                                                                                       \
	{                                                                                                                          \
#name, SYS_##name, expected                                                                                        \
	}

static const struct call calls[] = {
	CALL(clone3, ENOSYS),
	CALL(openat2, ENOSYS),
	CALL(io_uring_setup, ENOSYS),
	CALL(unshare, EPERM),
	CALL(setns, EPERM),
	CALL(setuid, EPERM),
	CALL(setresuid, EPERM),
	CALL(setgroups, EPERM),
	CALL(setfsuid, EPERM),
	CALL(capset, EPERM),
	CALL(setpriority, EPERM),
	CALL(ioprio_set, EPERM),
	CALL(sched_setattr, EPERM),
	CALL(sched_setparam, EPERM),
	CALL(migrate_pages, EPERM),
	CALL(move_pages, EPERM),
	CALL(process_madvise, EPERM),
	CALL(process_mrelease, EPERM),
	CALL(kcmp, EPERM),
	CALL(listen, EACCES),
	CALL(accept, EACCES),
	CALL(accept4, EACCES),
	CALL(shmget, EPERM),
	CALL(shmat, EPERM),
	CALL(shmctl, EPERM),
	CALL(semget, EPERM),
	CALL(semctl, EPERM),
	CALL(semop, EPERM),
	CALL(semtimedop, EPERM),
	CALL(msgget, EPERM),
	CALL(msgsnd, EPERM),
	CALL(msgrcv, EPERM),
	CALL(msgctl, EPERM),
	CALL(mq_open, EPERM),
	CALL(mq_unlink, EPERM),
	CALL(add_key, EPERM),
	CALL(request_key, EPERM),
	CALL(keyctl, EPERM),
	CALL(truncate, EPERM),
	CALL(fchmod, EPERM),
	CALL(fchmodat, EPERM),
	CALL(fchmodat2, EPERM),
	CALL(fchown, EPERM),
	CALL(fchownat, EPERM),
	CALL(setxattr, EPERM),
	CALL(lsetxattr, EPERM),
	CALL(fsetxattr, EPERM),
	CALL(setxattrat, EPERM),
	CALL(removexattr, EPERM),
	CALL(lremovexattr, EPERM),
	CALL(fremovexattr, EPERM),
	CALL(removexattrat, EPERM),
	CALL(file_setattr, EPERM),
	CALL(utimensat, EPERM),
#ifdef SYS_chmod
	CALL(chmod, EPERM),
	CALL(chown, EPERM),
	CALL(lchown, EPERM),
	CALL(utime, EPERM),
	CALL(utimes, EPERM),
	CALL(futimesat, EPERM),
#endif
	CALL(bpf, EPERM),
	CALL(perf_event_open, EPERM),
	CALL(userfaultfd, EPERM),
	CALL(mount, EPERM),
	CALL(umount2, EPERM),
	CALL(move_mount, EPERM),
	CALL(open_tree, EPERM),
	CALL(open_tree_attr, EPERM),
	CALL(mount_setattr, EPERM),
	CALL(fsopen, EPERM),
	CALL(fsconfig, EPERM),
	CALL(fsmount, EPERM),
	CALL(fspick, EPERM),
	CALL(pivot_root, EPERM),
	CALL(chroot, EPERM),
	CALL(open_by_handle_at, EPERM),
	CALL(fanotify_init, EPERM),
	CALL(swapon, EPERM),
	CALL(swapoff, EPERM),
	CALL(reboot, EPERM),
	CALL(init_module, EPERM),
	CALL(finit_module, EPERM),
	CALL(delete_module, EPERM),
	CALL(settimeofday, EPERM),
	CALL(clock_settime, EPERM),
	CALL(syslog, EPERM),
	CALL(acct, EPERM),
	CALL(quotactl, EPERM),
};

/* ---- in a process of its own ---- */

/* A kernel without Landlock. */
static int hide_landlock(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { .len = G_N_ELEMENTS(filter), .filter = filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -1 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

enum { NOT_CONFINED = 255 };

static void confine(const char *folder, enum landlock landlock)
{
	const char *what;

	if (chdir(folder) < 0 || (landlock == HIDDEN && hide_landlock() < 0) ||
	    vtr_process_confine((uint64_t)LIMIT_MB << 20, NULL, &what) < 0)
		_exit(NOT_CONFINED);
}

static void check_status(pid_t pid, int expected)
{
	int status;

	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, expected);
}

static void test_row(gconstpointer data)
{
	const struct row *row = data;
	g_autofree char *folder = g_dir_make_tmp("confine-XXXXXX", NULL), *path = g_build_filename(folder, "file", NULL);

	if (row->landlock == NEEDED && syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0) {
		g_test_skip("this kernel has no Landlock, or it is not switched on (lsm=)");
		return;
	}
	g_assert_true(g_file_set_contents(path, "x", 1, NULL));
	given = memfd_create("given", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(given, GIVEN_SIZE), ==, 0);
	pid_t pid = fork();
	if (!pid) {
		confine(folder, row->landlock);
		_exit(row->act(path));
	}
	check_status(pid, row->expected);
	close(given);
	g_unlink(path);
	g_rmdir(folder);
}

/* Arguments that make no sense: what is not refused fails, and changes nothing outside of that process. Calls of which that is not
 * sure have no row. */
static void test_call(gconstpointer data)
{
	const struct call *call = data;
	pid_t pid = fork();

	if (!pid) {
		confine("/", ANY);
		_exit(result((int)syscall(call->number, -1L, 0L, 0L, 0L, 0L, 0L)));
	}
	check_status(pid, call->expected);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/process_confine/", rows, test_row);
	ADD_ROWS("/unit/process_confine/call/", calls, test_call);
	return g_test_run();
}
