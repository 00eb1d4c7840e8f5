/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_REMOTE_H
#define VTR_RENDER_REMOTE_H

#include <vitrine/log.h>

#include "render/remote_child.h"
#include "render/remote_files.h"
#include "render/remote_protocol.h"
#include "transport/message.h"

/*
 * A renderer in a process of its own. remote.c has the theory of operation; the rest of this header is between the remote*.c.
 */

/* What tests set; everybody else has vtr_remote_settings. */
struct vtr_remote_settings {
	uint64_t answer_ns;      /* without an answer, while calls are in progress; until a new process has started */
	uint64_t wait_ns;        /* of all waiting in one turn of the loop */
	uint64_t fence_ns;       /* without a sign, while fences are out */
	uint64_t young_ns;       /* one that dies younger makes its successor wait: */
	uint64_t backoff_ns;     /* so long for the first time, */
	uint64_t max_backoff_ns; /* doubled up to that, until one has grown older */
	/* NULL: a process is started. Else: a connected stream socket with a process at its other end, or -errno. */
	int (*connect)(void *data);
	void *data;
};
extern const struct vtr_remote_settings vtr_remote_settings;

/* As vtr_virgl_create() with options->isolate. settings NULL: vtr_remote_settings. */
struct vtr_renderer *vtr_remote_create(struct vtr_loop *loop, const struct vtr_renderer_options *options,
                                       const struct vtr_remote_settings *settings, struct vtr_error *error);

enum {
	VTR_REMOTE_CALLS = 1024,  /* not answered; a device has more only when memory comes or goes */
	VTR_REMOTE_FENCES = 4096, /* that have not passed; the device's queues hold fewer commands */
};

enum vtr_remote_state {
	VTR_REMOTE_DOWN,
	VTR_REMOTE_STARTING, /* STARTED has not come: calls wait */
	VTR_REMOTE_UP,
};

/* A call that is not answered yet. */
struct vtr_remote_entry {
	struct vtr_render_call *call;
	int code;
	bool failed; /* not sent: code is what came of it */
	bool in_arena;
	size_t arena_end; /* of its part of the arena */
};

struct vtr_remote_fence {
	struct vtr_remote_fence *next;
	uint64_t id;
	uint64_t number; /* of its call */
	uint64_t after;  /* passed: as many calls are done before it is told */
};

struct vtr_remote_fences {
	struct vtr_remote_fence *first, **last;
};

struct vtr_remote {
	struct vtr_renderer base;
	struct vtr_loop *loop;
	struct vtr_remote_settings settings;
	struct vtr_remote_program program;
	uint8_t *capset_data[VTR_MAX_CAPSETS]; /* versions 0 to max_version */
	bool known;                            /* base.capsets are; they do not change any more */

	/* the process */
	enum vtr_remote_state state;
	struct vtr_remote_child *child; // NULL with settings.connect
	int socket;
	struct vtr_source *socket_source, *timer, *deliver_event;
	bool timer_armed, wants_out;
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	uint64_t progress_ns;     /* when there was a sign of life, or reason to wait for one */
	uint64_t started_ns;      /* when it was started */
	uint64_t not_before;      /* a new one */
	uint64_t backoff_ns;      /* the next loss adds so much */
	bool lost;                /* and the listener has not been told yet */
	struct vtr_error why;     /* of the last loss */
	struct vtr_error refusal; /* code not 0: what the process says why it cannot render */

	/* its arena: parts are taken at the head and given back in the same order */
	uint8_t *arena;
	int arena_fd;
	size_t arena_head, arena_tail, arena_parts;

	/* Calls, a ring in which each has a number of its own: answered <= sent <= queued. Those up to sent wait for an answer, the
	 * others for room. */
	struct vtr_remote_entry entries[VTR_REMOTE_CALLS];
	uint64_t answered, sent, queued;

	/* Those that are answered and wait for their done(), in that order; counted from the first one that ever did. */
	struct vtr_render_call *answers, **last_answer;
	uint64_t delivered, to_deliver;

	/* for waiting */
	uint64_t turn;      /* of the loop, */
	uint64_t waited_ns; /* and how long was waited in it */

	struct vtr_remote_fences fences; /* that were asked for */
	struct vtr_remote_fences passed; /* that the listener has to be told of */
	unsigned n_fences;               /* of both */

	struct vtr_remote_files files;
	struct vtr_log_limit memory_limit;
};

static inline struct vtr_remote_entry *vtr_remote_entry(struct vtr_remote *remote, uint64_t number)
{
	return &remote->entries[number % VTR_REMOTE_CALLS];
}

/* ---- remote.c ---- */

/* Ends the process: calls in progress get -ENODEV, the listener is told, when deliver_event has its turn. what is a whole sentence
 * without a point; NULL: the process is gone by itself, and how is found out. */
void vtr_remote_lose(struct vtr_remote *remote, const char *what);
/* The call with number remote->answered is answered. */
void vtr_remote_answered(struct vtr_remote *remote, int code);
/* After something was sent or received: waits for what has to come, for a limited time. idle: until now nothing was waited for. */
void vtr_remote_watch(struct vtr_remote *remote, bool idle);
/* Calls and fences that the process owes us. */
bool vtr_remote_is_owed(const struct vtr_remote *remote);

/* For sources: remote's socket is ready; remote's child has ended. */
void vtr_remote_on_socket(int fd, uint32_t events, void *data);
void vtr_remote_on_exit(void *data);

/* ---- remote_start.c ---- */

/* Starts a process; its answer is awaited in state VTR_REMOTE_STARTING. 0 or -errno, *error filled. */
int vtr_remote_start(struct vtr_remote *remote, struct vtr_error *error);
/* Everything that belongs to the process goes, the process with it. */
void vtr_remote_stop(struct vtr_remote *remote);
/* STARTED has come: checks it. NULL, or what is wrong with it. */
const char *vtr_remote_started(struct vtr_remote *remote, const struct vtr_message *message);

/* ---- remote_send.c ---- */

/* What can be found out before a call is sent: 0 or its code. */
int vtr_remote_check(struct vtr_remote *remote, const struct vtr_render_call *call);
/* Sends calls that wait, as far as there is room for them. Loses the process when it cannot be reached. */
void vtr_remote_pump(struct vtr_remote *remote);

/* ---- remote_receive.c ---- */

extern const struct vtr_framing vtr_remote_framing;

/* Reads what the process has sent, up to a bound, and takes it in; loses the process when that is not what it should be. */
void vtr_remote_receive(struct vtr_remote *remote);
/* Text of size bytes that is safe to be shown and to be put into JSON. */
void vtr_remote_make_printable(char *text, size_t size);
/* *error of what the process said. */
void vtr_remote_take_error(struct vtr_error *error, const struct vtr_remote_error *said);

/* ---- remote_fences.c ---- */

void vtr_remote_fences_init(struct vtr_remote_fences *fences);
/* The call with that number asks for fence id. 0, or -ENOMEM. */
int vtr_remote_fence_add(struct vtr_remote *remote, uint64_t id, uint64_t number);
/* It has passed: false when nobody waits for a fence of that id. */
bool vtr_remote_fence_passed(struct vtr_remote *remote, uint64_t id);
/* The call in that place (vtr_remote.delivered and on) was waited for: those behind it move up. */
void vtr_remote_fences_move_up(struct vtr_remote *remote, uint64_t place);
/* One of which the listener is to be told now: false when there is none. */
bool vtr_remote_fence_take_passed(struct vtr_remote *remote, uint64_t *id);
/* The call that asked for it was refused. */
void vtr_remote_fence_refused(struct vtr_remote *remote, uint64_t id);
/* Those that calls up to number asked for, and that have not passed, never will. */
void vtr_remote_fences_drop(struct vtr_remote *remote, uint64_t number);
void vtr_remote_fences_finish(struct vtr_remote *remote);

#endif
