/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_REMOTE_CHILD_H
#define VTR_RENDER_REMOTE_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vitrine/error.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>
#include <vitrine/renderer.h>

/*
 * The process: found, started, listened to, ended and reaped.
 */

/* What is started: copies of the options. */
struct vtr_remote_program {
	char *path;        // owned
	char *render_node; // owned; NULL: none
	uint64_t max_hostmem;
};

/* Finds the program: the option, else VITRINE_RENDERER in the environment, else beside this process's program, else where it is
 * installed. 0 or -errno, *error filled: HOST ENOENT (nothing can be executed there), HOST ENOMEM. */
int vtr_remote_program_init(struct vtr_remote_program *program, const struct vtr_renderer_options *options,
                            struct vtr_error *error);
void vtr_remote_program_finish(struct vtr_remote_program *program);

struct vtr_remote_child {
	struct vtr_loop *loop;
	pid_t pid;
	int pidfd;
	int log; // what it writes to standard output and standard error
	struct vtr_source *log_source, *exit_source;
	void (*exited)(void *data);
	void *data;
	char line[512]; /* of the log, as far as it has come */
	size_t length;
	struct vtr_log_limit limit;
	bool killed;    /* by us */
	bool reaped;    /* it is dead and gone */
	char cause[96]; /* then: "was killed by SIGSEGV" */
};

/* Starts program with socket (borrowed) as its own. exited: from the loop, when it has ended and was reaped; the child may be
 * destroyed there. NULL with *error filled: HOST and why. */
struct vtr_remote_child *vtr_remote_child_start(struct vtr_loop *loop, const struct vtr_remote_program *program, int socket,
                                                void (*exited)(void *data), void *data, struct vtr_error *error);
/* How it ended, waiting for that for timeout_ms; "has closed its connection" when it has not. Logs what it said last. Never calls
 * exited. Valid as long as the child. */
const char *vtr_remote_child_cause(struct vtr_remote_child *child, int timeout_ms);
void vtr_remote_child_kill(struct vtr_remote_child *child); /* a dead one is fine */
/* Kills it, and waits for a second at most until it is gone. NULL is fine. */
void vtr_remote_child_destroy(struct vtr_remote_child *child);

#endif
