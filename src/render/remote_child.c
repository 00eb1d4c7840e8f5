/* SPDX-License-Identifier: MIT */
/*
 * The renderer's process, from the device's side.
 *
 * It is started by posix_spawn(), which is safe in a process with threads, and does what has to be done to itself first
 * (vitrine-renderer.c): it dies with us, gains no privileges, has limits. It inherits its socket, and as standard output and error
 * a pipe whose lines become ours: with the level they begin with, "<4>" as the system's log has it, when it is the process that
 * says something, and as information when it is a library. The pipe drops what we do not read in time, because a process that waits
 * for us to read its log while we wait for its answer would never give one.
 *
 * Who hosts this library may have child processes and ideas about SIGCHLD of its own: we look at our pidfd only, and where somebody
 * else has reaped the process, we just do not know how it ended.
 */
#include "render/remote_child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"

enum {
	SOCKET_FD = 3,        /* in the process */
	READ_PER_TURN = 4096, /* of its log */
	DEATH_TIMEOUT_MS = 1000,
};

/* ---- its log ---- */

static void log_line(struct vtr_remote_child *child)
{
	enum vtr_log_level level = VTR_LOG_INFO;
	const char *text = child->line;

	child->line[child->length] = '\0';
	child->length = 0;
	if (text[0] == '<' && text[1] && text[2] == '>') {
		level = text[1] <= '3'   ? VTR_LOG_ERROR
		        : text[1] == '4' ? VTR_LOG_WARN
		        : text[1] >= '7' ? VTR_LOG_DEBUG
		                         : VTR_LOG_INFO;
		text += 3;
	}
	if (*text)
		vtr_log_limited(&child->limit, level, "renderer process: %s", text);
}

enum log_state { LOG_MORE, LOG_EMPTY, LOG_ENDED };

static enum log_state read_log(struct vtr_remote_child *child)
{
	char bytes[READ_PER_TURN];
	ssize_t got = read(child->log, bytes, sizeof(bytes));

	for (ssize_t i = 0; i < got; i++) {
		if (bytes[i] != '\n')
			child->line[child->length++] = bytes[i];
		if (bytes[i] == '\n' || child->length == sizeof(child->line) - 1)
			log_line(child);
	}
	if (got > 0)
		return LOG_MORE;
	return got < 0 && (errno == EAGAIN || errno == EINTR) ? LOG_EMPTY : LOG_ENDED;
}

static void on_log(int fd, uint32_t events, void *data)
{
	struct vtr_remote_child *child = data;

	if (read_log(child) != LOG_ENDED)
		return;
	vtr_source_remove(child->log_source);
	child->log_source = NULL;
}

/* ---- its end ---- */

static void describe_end(struct vtr_remote_child *child, const siginfo_t *info)
{
	const char *name = sigabbrev_np(info->si_status);

	if (info->si_code == CLD_EXITED)
		snprintf(child->cause, sizeof(child->cause), "has ended with exit code %d", info->si_status);
	else if (name)
		snprintf(child->cause, sizeof(child->cause), "was killed by SIG%s", name);
	else
		snprintf(child->cause, sizeof(child->cause), "was killed by signal %d", info->si_status);
}

/* Looks whether it is dead. */
static bool reap(struct vtr_remote_child *child)
{
	siginfo_t info = { 0 };

	if (child->reaped)
		return true;
	if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0) {
		if (errno != ECHILD)
			return false;
		snprintf(child->cause, sizeof(child->cause), "has ended");
	} else if (!info.si_pid) {
		return false;
	} else {
		describe_end(child, &info);
	}
	child->reaped = true;
	vtr_source_remove(child->exit_source);
	child->exit_source = NULL;
	return true;
}

static void on_exit_event(int fd, uint32_t events, void *data)
{
	struct vtr_remote_child *child = data;

	if (reap(child))
		child->exited(child->data);
}

static bool wait_for_death(struct vtr_remote_child *child, int timeout_ms)
{
	struct pollfd wanted = { .fd = child->pidfd, .events = POLLIN };

	if (!reap(child) && timeout_ms)
		poll(&wanted, 1, timeout_ms);
	return reap(child);
}

const char *vtr_remote_child_cause(struct vtr_remote_child *child, int timeout_ms)
{
	wait_for_death(child, timeout_ms);
	for (int i = 0; i < 16 && read_log(child) == LOG_MORE; i++)
		continue;
	if (child->length)
		log_line(child);
	return child->reaped ? child->cause : "has closed its connection";
}

void vtr_remote_child_kill(struct vtr_remote_child *child)
{
	if (!child->reaped)
		syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
}

void vtr_remote_child_destroy(struct vtr_remote_child *child)
{
	if (!child)
		return;
	if (child->pidfd >= 0) {
		vtr_remote_child_kill(child);
		if (!wait_for_death(child, DEATH_TIMEOUT_MS))
			vtr_log(VTR_LOG_WARN, "the renderer process (pid %d) cannot be killed: a driver holds it", (int)child->pid);
	}
	vtr_source_remove(child->exit_source);
	vtr_source_remove(child->log_source);
	vtr_fd_close(&child->log);
	vtr_fd_close(&child->pidfd);
	free(child);
}

/* ---- its beginning ---- */

enum { MAX_ARGUMENTS = 8 };

struct arguments {
	char fd[16], memory[32];
	char *list[MAX_ARGUMENTS];
};

static void make_arguments(struct arguments *arguments, const struct vtr_remote_program *program)
{
	size_t n = 0;

	snprintf(arguments->fd, sizeof(arguments->fd), "%d", SOCKET_FD);
	snprintf(arguments->memory, sizeof(arguments->memory), "%" PRIu64, program->max_hostmem);
	arguments->list[n++] = program->path;
	arguments->list[n++] = (char *)"--fd"; // posix_spawn() does not write there, its type just has no const
	arguments->list[n++] = arguments->fd;
	if (program->max_hostmem) {
		arguments->list[n++] = (char *)"--max-memory";
		arguments->list[n++] = arguments->memory;
	}
	if (program->render_node) {
		arguments->list[n++] = (char *)"--render-node";
		arguments->list[n++] = program->render_node;
	}
	arguments->list[n] = NULL;
}

/* 0 or a positive errno. The process begins without blocked or ignored signals, whatever this thread has, and in a session of its
 * own: what our terminal would let it do is no business of its. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int socket, int log)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	int error = posix_spawnattr_setsigmask(attributes, &none);
	if (!error)
		error = posix_spawnattr_setsigdefault(attributes, &all);
	if (!error)
		error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	if (!error)
		error = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, log, STDOUT_FILENO);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, log, STDERR_FILENO);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, socket, SOCKET_FD);
	if (!error)
		error = posix_spawn_file_actions_addclosefrom_np(actions, SOCKET_FD + 1);
	return error;
}

/* 0 or a positive errno. socket and log are none of the numbers that the process uses. */
static int spawn(pid_t *pid, const struct vtr_remote_program *program, int socket, int log)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	struct arguments arguments;

	make_arguments(&arguments, program);
	int error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = posix_spawnattr_init(&attributes);
	if (!error) {
		error = prepare(&actions, &attributes, socket, log);
		if (!error)
			error = posix_spawn(pid, program->path, &actions, &attributes, arguments.list, environ);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/* 0 or a positive errno. Copies of the fds with numbers that are out of the way: a host may have closed its standard files. */
static int spawn_with_copies(struct vtr_remote_child *child, const struct vtr_remote_program *program, int socket, int log)
{
	int socket_copy = fcntl(socket, F_DUPFD_CLOEXEC, SOCKET_FD + 1), log_copy = fcntl(log, F_DUPFD_CLOEXEC, SOCKET_FD + 1);
	int error = socket_copy < 0 || log_copy < 0 ? errno : spawn(&child->pid, program, socket_copy, log_copy);

	vtr_fd_close(&socket_copy);
	vtr_fd_close(&log_copy);
	if (error)
		return error;
	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pidfd >= 0)
		return 0;
	error = errno;
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	return error;
}

struct vtr_remote_child *vtr_remote_child_start(struct vtr_loop *loop, const struct vtr_remote_program *program, int socket,
                                                void (*exited)(void *data), void *data, struct vtr_error *error)
{
	struct vtr_remote_child *child = malloc(sizeof(*child));
	int code = ENOMEM, log[2] = { -1, -1 };

	if (!child)
		goto fail;
	*child = (struct vtr_remote_child){ .loop = loop, .pidfd = -1, .log = -1, .exited = exited, .data = data };
	if (pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0) {
		code = errno;
		goto fail;
	}
	child->log = log[0];
	code = spawn_with_copies(child, program, socket, log[1]);
	vtr_fd_close(&log[1]);
	if (code)
		goto fail;
	child->log_source = vtr_loop_add_fd(loop, child->log, EPOLLIN, on_log, child);
	child->exit_source = vtr_loop_add_fd(loop, child->pidfd, EPOLLIN, on_exit_event, child);
	if (child->log_source && child->exit_source)
		return child;
	code = errno;
fail:
	vtr_remote_child_destroy(child);
	vtr_error_set(error, VTR_ERROR_HOST, code, "the renderer process cannot be started: %s: %s", program->path, strerror(code));
	return NULL;
}
