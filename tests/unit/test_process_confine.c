/* SPDX-License-Identifier: MIT */
/* What the process that renders cannot do any more, and what it still can: each in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "render/process_confine.h"
#include "rows.h"

enum { LIMIT_MB = 256, ALLOWANCE_MB = 1024 };

struct row {
	const char *name;
	int (*act)(const char *path); /* 0, or a positive errno */
	int expected;
	bool by_landlock;
};

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

static int write_device(const char *path)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	return fd < 0 ? errno : result((int)write(fd, "", 1));
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

/* The files that others share with it are not counted. */
static int map_much(const char *path)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)4 << 30) < 0)
		return errno;
	return mmap(NULL, (size_t)4 << 30, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0) == MAP_FAILED ? errno : 0;
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
	{ "write-file", write_file, EACCES, true },
	{ "make-file", make_file, EACCES, true },
	{ "remove-file", remove_file, EACCES, true },
	{ "read-file", read_file, 0 },
	{ "write-device", write_device, 0 },
	{ "make-memory-file", make_memory_file, 0 },
	{ "execute", execute, EPERM },
	{ "make-process", make_process, EPERM },
	{ "make-socket", make_socket, EACCES },
	{ "look-into-parent", look_into_parent, EPERM },
	{ "signal-parent", signal_parent, EPERM },
	{ "signal-parents-thread", signal_parents_thread, EPERM },
	{ "signal-itself", signal_itself, 0 },
	{ "make-thread", make_thread, 0 },
	{ "take-some-memory", take_some_memory, 0 },
	{ "take-much-memory", take_much_memory, ENOMEM },
	{ "map-much", map_much, 0 },
	{ "other-settings", other_settings, 0 },
};

static void test_row(gconstpointer data)
{
	const struct row *row = data;
	g_autofree char *folder = g_dir_make_tmp("confine-XXXXXX", NULL), *path = g_build_filename(folder, "file", NULL);
	const char *what;
	int status;

	if (row->by_landlock && syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0) {
		g_test_skip("this kernel has no Landlock, or it is not switched on (lsm=)");
		return;
	}
	g_assert_true(g_file_set_contents(path, "x", 1, NULL));
	pid_t pid = fork();
	if (!pid) {
		if (chdir(folder) < 0 || vtr_process_confine((uint64_t)LIMIT_MB << 20, &what) < 0)
			_exit(255);
		_exit(row->act(path));
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, row->expected);
	g_unlink(path);
	g_rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/process_confine/", rows, test_row);
	return g_test_run();
}
