/* SPDX-License-Identifier: MIT */
#ifndef VTR_CONTROL_CONTROL_H
#define VTR_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

#include <vitrine/control.h>
#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "input/script.h"

/* What the files of this room share. Device thread only. */

/* Arguments of a request. Numbers: -1 when not given and without a default; words: "" when not given. */
struct vtr_control_arguments {
	int64_t scanout;
	int64_t frames;
	int64_t after;
	int64_t timeout_ms;
	int64_t interval_ms;
	bool cursor, press, release;
	const char *keys, *text, *actions; /* valid while the request is decoded and begun; NULL: not given */
	char output[32];
	char mode[64];
	char display[64];
	char remove[64];
};

/* A command's arguments are bits of these (1u << VTR_ARGUMENT_...). */
enum vtr_control_argument {
	VTR_ARGUMENT_SCANOUT,
	VTR_ARGUMENT_CURSOR,
	VTR_ARGUMENT_FRAMES,
	VTR_ARGUMENT_AFTER,
	VTR_ARGUMENT_TIMEOUT,
	VTR_ARGUMENT_OUTPUT,
	VTR_ARGUMENT_MODE,
	VTR_ARGUMENT_DISPLAY,
	VTR_ARGUMENT_REMOVE,
	VTR_ARGUMENT_INTERVAL,
	VTR_ARGUMENT_KEYS,
	VTR_ARGUMENT_PRESS,
	VTR_ARGUMENT_RELEASE,
	VTR_ARGUMENT_TEXT,
	VTR_ARGUMENT_ACTIONS,
	VTR_ARGUMENT_COUNT,
};

enum vtr_control_state {
	VTR_CONTROL_READY,     /* for the next request */
	VTR_CONTROL_WAITING,   /* for the scanout's frame count */
	VTR_CONTROL_CAPTURING, /* for the display */
	VTR_CONTROL_PLAYING,   /* for the guest to take its input, or for its turn */
};

struct vtr_control_client {
	struct vtr_control *control;
	int fd;
	struct vtr_source *source;
	struct vtr_source *timer; /* of the request that waits, or of a reply that is not read */
	bool ended;               /* nothing more will be read: the peer said so, or talked nonsense */
	bool dropped;             /* at its next turn: there was no memory for its reply */

	char in[VTR_MAX_CONTROL_LINE];
	size_t in_length;
	int in_fd;        /* that came with it; -1: none */
	bool in_fds_lost; /* more than one came, or one that there was no room for */

	/* the reply on its way; NULL: none */
	char *out;
	size_t out_length, out_sent;
	int out_fd;

	/* the request that waits */
	enum vtr_control_state state;
	bool screenshot; /* WAITING: a capture follows */
	struct vtr_control_arguments arguments;
	uint64_t frames; /* when the capture was asked for */
	struct vtr_capture *capture;
	struct vtr_script script; /* PLAYING */
	size_t step;              /* of the script, the next */
	unsigned kinds;           /* bits of the devices it is for */
};

struct vtr_control {
	struct vtr_loop *loop;
	struct vtr_control_subject subject;
	char *path;
	int fd;
	struct vtr_source *source;
	struct vtr_source *retry; /* timer: accept again */
	struct vtr_control_client *clients[VTR_MAX_CONTROL_CLIENTS];
	struct vtr_control_client *player; /* whose script is played; NULL: nobody's */
	struct vtr_source *pace;           /* timer: the player's next step */
	struct vtr_log_limit log;
};

/* ---- reply.c ---- */

/* Sends reply (taken, with "ok": true) and fd (taken; -1: none). Ends the request. */
void vtr_control_reply(struct vtr_control_client *client, json_t *reply, int fd);

/* Sends an error. code, for programs: "invalid", "unknown-command", "timeout" or "failed". */
void vtr_control_refuse(struct vtr_control_client *client, const char *code, const char *format, ...) VTR_PRINTF(3, 4);

/* Sends what the socket takes of the reply. False: the peer is gone. */
bool vtr_control_flush(struct vtr_control_client *client);

/* ---- server.c ---- */

/* The fd that came with the request, which is the caller's now; -1 when none came, or more than one. */
int vtr_control_take_fd(struct vtr_control_client *client);

/* ---- commands.c ---- */

/* Serves one request line of length bytes: replies now, or leaves the client waiting. False: not JSON. */
bool vtr_control_serve(struct vtr_control_client *client, const char *line, size_t length);

/* ---- arguments.c ---- */

/* Fills client->arguments from request: those in allowed may be there, those in required must. command: the name for people. False
 * when the request was refused. */
bool vtr_control_decode(struct vtr_control_client *client, const char *command, unsigned allowed, unsigned required,
                        json_t *request);
json_t *vtr_control_argument_names(unsigned arguments); /* an array */

/* ---- outputs.c ---- */
struct vtr_output *vtr_control_find_output(struct vtr_control_client *client); /* that the request names; NULL: refused */
void vtr_control_output_list(struct vtr_control_client *client);
void vtr_control_output_add(struct vtr_control_client *client);
void vtr_control_output_remove(struct vtr_control_client *client);
void vtr_control_output_resize(struct vtr_control_client *client);
void vtr_control_output_move(struct vtr_control_client *client);

/* ---- requests.c: those that wait ---- */
void vtr_control_wait(struct vtr_control_client *client);
void vtr_control_screenshot(struct vtr_control_client *client);
void vtr_control_frame(struct vtr_control *control, uint32_t scanout); /* a frame count changed */
void vtr_control_timed_out(struct vtr_control_client *client);
void vtr_control_cancel(struct vtr_control_client *client); /* the client goes: nothing waits for it any more */

/* ---- assign.c ---- */
void vtr_control_assign(struct vtr_control_client *client);
json_t *vtr_control_assigned(const struct vtr_vfio_assigned *assigned); /* the devices; NULL when out of memory */
json_t *vtr_control_awaited(const struct vtr_vfio_assigned *assigned);  /* those that are not there yet; likewise */
/* ---- play.c: key, type, pointer ---- */
void vtr_control_key(struct vtr_control_client *client);
void vtr_control_type(struct vtr_control_client *client);
void vtr_control_pointer(struct vtr_control_client *client);
void vtr_control_pace(void *control); /* of the timer */
void vtr_control_play_timed_out(struct vtr_control_client *client);
void vtr_control_stop_playing(struct vtr_control_client *client); /* what its script holds down is released */

/* ---- status.c ---- */
json_t *vtr_control_output(const struct vtr_output *output); /* what the guest is offered, and where */
json_t *vtr_control_text(const char *string);                /* of unknown origin: what is not printable ASCII is replaced */
json_t *vtr_control_status(const struct vtr_control_subject *subject); /* the reply; NULL when out of memory */

#endif
