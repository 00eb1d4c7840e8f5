/* SPDX-License-Identifier: MIT */
#ifndef VTR_TESTS_UNIT_SINGLE_STEP_H
#define VTR_TESTS_UNIT_SINGLE_STEP_H

/*
 * A process that is stopped after every instruction, to look at what it has stored into shared memory so far: what somebody would
 * find who came after it had been killed there.
 */
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

struct single_step_window {
	const void *data; /* shared with the child */
	size_t size;
};

/* Runs child(data) in a process of its own, and seen(data) here whenever that has changed one of the windows. Returns how often. */
static inline unsigned single_step(void (*child)(void *data), void (*seen)(void *data), void *data,
                                   const struct single_step_window *windows, size_t n_windows)
{
	uint8_t *copies[4] = { 0 };
	unsigned changes = 0;
	int status;
	pid_t pid;

	g_assert_cmpuint(n_windows, <=, G_N_ELEMENTS(copies));
	for (size_t i = 0; i < n_windows; i++)
		copies[i] = g_memdup2(windows[i].data, windows[i].size);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(2);
		raise(SIGSTOP);
		child(data);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		bool changed = false;

		for (size_t i = 0; i < n_windows; i++) {
			if (!memcmp(copies[i], windows[i].data, windows[i].size))
				continue;
			memcpy(copies[i], windows[i].data, windows[i].size);
			changed = true;
		}
		if (changed) {
			changes++;
			seen(data);
		}
		g_assert_cmpint(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), ==, 0);
	}
	g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (size_t i = 0; i < n_windows; i++)
		g_free(copies[i]);
	return changes;
}

#endif
