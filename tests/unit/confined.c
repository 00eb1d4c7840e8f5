/* SPDX-License-Identifier: MIT */
#include "confined.h"

#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "render/process_confine.h"
#include "render/process_kernel.h"

enum { NOT_CONFINED = 255 };

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

static void confine(enum confined how)
{
	const char *what;

	if ((how == CONFINED_NO_LANDLOCK && hide_landlock() < 0) ||
	    vtr_process_confine((uint64_t)CONFINED_LIMIT_MB << 20, how == CONFINED_NODE ? CONFINED_RENDER_NODE : NULL, &what) < 0)
		_exit(NOT_CONFINED);
}

int confined_result(int (*act)(const void *data), const void *data, enum confined how)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		confine(how);
		_exit(act(data));
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
