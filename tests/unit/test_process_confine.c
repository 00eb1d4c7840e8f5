/* SPDX-License-Identifier: MIT */
/* What the process that renders cannot do any more, and what it still can: each in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "confined.h"
#include "render/process_kernel.h"
#include "rows.h"

enum { ALLOWANCE_MB = 1024 };

struct row {
	const char *name;
	int (*act)(const char *path); /* 0, or a positive errno */
	int expected;
	enum confined how;
};

/* What the process is given from outside, as a guest's memory is: a file larger than it may make. */
static int given;

static const off_t GIVEN_SIZE = (off_t)4 << 30;

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
	return open_as(CONFINED_RENDER_NODE, O_RDWR | O_NOCTTY);
}

/* The memory of other VMs is there. */
static char shared_name[64];

static int read_shared_memory(const char *path)
{
	return result(shm_open(shared_name, O_RDONLY, 0));
}

static int write_shared_memory(const char *path)
{
	return result(shm_open(shared_name, O_RDWR, 0));
}

static int make_shared_memory(const char *path)
{
	static const char name[] = "/vitrine-test-confined-made";
	int error = result(shm_open(name, O_CREAT | O_RDWR, 0600));

	shm_unlink(name);
	return error;
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
	int error = result(prlimit(0, RLIMIT_NOFILE, NULL, &limit));

	return error ? error : result(prlimit(getpid(), RLIMIT_NOFILE, NULL, &limit));
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
	return take(CONFINED_LIMIT_MB + ALLOWANCE_MB / 2);
}

static int take_much_memory(const char *path)
{
	return take(CONFINED_LIMIT_MB + ALLOWANCE_MB + 64);
}

static int map_much(const char *path)
{
	return mmap(NULL, (size_t)GIVEN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, given, 0) == MAP_FAILED ? errno
	                                                                                                                  : 0;
}

static const off_t TOO_LARGE = (off_t)(CONFINED_LIMIT_MB + ALLOWANCE_MB + 1) << 20;

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
	{ "write-file", write_file, EACCES, CONFINED_LANDLOCK },
	{ "make-file", make_file, EACCES, CONFINED_LANDLOCK },
	{ "remove-file", remove_file, EACCES, CONFINED_LANDLOCK },
	{ "rename-file", rename_file, EACCES, CONFINED_LANDLOCK },
	{ "link-file", link_file, EACCES, CONFINED_LANDLOCK },
	{ "truncate-file", truncate_file, EPERM },
	{ "truncate-by-opening", truncate_by_opening, EACCES },
	{ "truncate-by-opening-without-landlock", truncate_by_opening, EACCES, CONFINED_NO_LANDLOCK },
	{ "change-flags", change_flags, EPERM },
	{ "lease-file", lease_file, EPERM },
	{ "read-file", read_file, 0 },
	{ "read-file-without-landlock", read_file, 0, CONFINED_NO_LANDLOCK },
	/* devices */
	{ "read-terminal", read_terminal, EACCES, CONFINED_LANDLOCK },
	{ "write-terminal", write_terminal, EACCES, CONFINED_LANDLOCK },
	{ "write-render-node", write_terminal, 0, CONFINED_NODE },
	{ "read-shared-memory", read_shared_memory, EACCES, CONFINED_LANDLOCK },
	{ "write-shared-memory", write_shared_memory, EACCES, CONFINED_LANDLOCK },
	{ "make-shared-memory", make_shared_memory, EACCES, CONFINED_LANDLOCK },
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
	{ "read-parents-memory", read_parents_memory, EACCES, CONFINED_LANDLOCK },
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

/* ---- in a process of its own ---- */

struct act {
	const struct row *row;
	const char *folder, *path;
};

static int act(const void *data)
{
	const struct act *it = data;

	return chdir(it->folder) < 0 ? EINVAL : it->row->act(it->path);
}

static void test_row(gconstpointer data)
{
	const struct row *row = data;
	g_autofree char *folder = g_dir_make_tmp("confine-XXXXXX", NULL), *path = g_build_filename(folder, "file", NULL);

	if (row->how == CONFINED_LANDLOCK && syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0) {
		g_test_skip("this kernel has no Landlock, or it is not switched on (lsm=)");
		return;
	}
	g_assert_true(g_file_set_contents(path, "x", 1, NULL));
	given = memfd_create("given", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(given, GIVEN_SIZE), ==, 0);
	g_snprintf(shared_name, sizeof(shared_name), "/vitrine-test-confined-%d", getpid());
	int shared = shm_open(shared_name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	g_assert_cmpint(shared, >=, 0);
	g_assert_cmpint(confined_result(act, &(struct act){ row, folder, path }, row->how), ==, row->expected);
	shm_unlink(shared_name);
	close(shared);
	close(given);
	g_unlink(path);
	g_rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/process_confine/", rows, test_row);
	return g_test_run();
}
