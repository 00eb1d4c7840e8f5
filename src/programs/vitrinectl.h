/* SPDX-License-Identifier: MIT */
#ifndef VITRINECTL_H
#define VITRINECTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit status. */
enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* A part of a picture, in its pixels; width 0: all of it. */
struct ctl_area {
	uint32_t x, y, width, height;
};

/* Eight bits each of red, green, blue. */
struct ctl_picture {
	uint32_t width, height;
	size_t stride;   /* bytes from row to row */
	uint8_t *pixels; /* owned, but not by a part */
	uint8_t *opaque; /* a byte per pixel, 0: transparent; owned; NULL: all are opaque */
};

struct ctl_options {
	const char *control; /* socket path, or NULL */
	bool json;
	const char *command;
	char **arguments; /* what follows it, as many as it takes */
	int n_arguments;
	const char *display; /* NULL: not given */
	const char *device;  /* of assign: as vtr_vfio_acquire() takes it; NULL: remove */
	char fd_text[16];    /* of assign --fd: what device points to */
	const char *remove;  /* of assign: a device's name, or NULL */
	int64_t output;
	int64_t interval_ms; /* -1: not given */
	bool press, release;
	int64_t scanout;
	bool cursor;
	int64_t frames;    /* -1: not given */
	const char *image; /* NULL: not given */
	const char *save;
	int64_t still_ms;       /* -1: not given */
	struct ctl_area region; /* width 0: not given */
	bool anywhere;
	int64_t tolerance;
	int64_t differ;
	bool differ_in_percent;
	int64_t timeout_ms;
};

/* ---- vitrinectl.c ---- */

/* Prints to standard error and returns CTL_FAILED. */
int ctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sends request (taken) and returns its reply, refused or not; NULL when there is none, which was reported. *line, when not NULL,
 * gets the reply's text, to be freed; *fd as vtr_control_call() says. */
json_t *ctl_call(int socket, json_t *request, int64_t timeout_ms, char **line, int *fd);
bool ctl_is_ok(const json_t *reply);
int ctl_fail_with(const json_t *reply); /* says why it was refused; CTL_FAILED */

/* Does one request (taken) and prints its reply if --json; then hands the reply to print (may be NULL). Returns the exit status. */
int ctl_ask(const struct ctl_options *options, int socket, json_t *request, void (*print)(const json_t *reply));

/* What vitrinectl can be asked for; the texts come from vtr_control_command(). */
struct ctl_command {
	const char *name; /* "output-add": written as two words */
	int min_arguments, max_arguments;
	int (*run)(const struct ctl_options *options, int socket);
};
const struct ctl_command *ctl_command(const char *name); /* NULL: there is none */

/* ---- ctl_output.c ---- */
int ctl_output_list(const struct ctl_options *options, int socket);
int ctl_output_add(const struct ctl_options *options, int socket);
int ctl_output_remove(const struct ctl_options *options, int socket);
int ctl_output_resize(const struct ctl_options *options, int socket);
int ctl_output_move(const struct ctl_options *options, int socket);

/* ---- ctl_options.c ---- */

/* 0: go on; otherwise exit with *status (help, version, or a mistake that was reported). */
int ctl_options_parse(struct ctl_options *options, int argc, char **argv, int *status);

/* ---- ctl_input.c ---- */

/* The commands key, type and pointer: make requests of the words and hand them to ask() with the time that they may take beyond
 * their time-out. The first status that is not CTL_OK ends it. */
typedef int (*ctl_ask_func)(const struct ctl_options *options, int socket, json_t *request, int64_t more_ms);
int ctl_input(const struct ctl_options *options, int socket, ctl_ask_func ask);

/* ---- ctl_status.c ---- */
void ctl_print_status(const json_t *status);   /* for people */
void ctl_print_assigned(const json_t *device); /* the reply to assign */

/* ---- ctl_picture.c ---- */

/* Reads the picture that came with a screenshot's reply. Takes fd. 0, or CTL_FAILED when it was reported. */
int ctl_picture_from_fd(struct ctl_picture *picture, const json_t *reply, int fd);
int ctl_picture_from_png(struct ctl_picture *picture, const char *path);
int ctl_picture_to_png(const struct ctl_picture *picture, const char *path);
void ctl_picture_finish(struct ctl_picture *picture);

/* What lies in the area, as a picture that is valid as long as this one and is not to be finished; false: the area is not within.
 */
bool ctl_picture_part(const struct ctl_picture *picture, const struct ctl_area *area, struct ctl_picture *part);

/* ---- ctl_match.c ---- */

struct ctl_match {
	const struct ctl_picture *wanted;
	bool anywhere;      /* smaller than what is seen, and at any place in it */
	unsigned tolerance; /* of each channel */
	uint64_t differ;    /* so many pixels may differ all the same */
};

struct ctl_difference {
	uint32_t left, top;         /* where it was found */
	uint64_t pixels;            /* that differ by more than the tolerance in some channel, when it is not to be anywhere */
	uint32_t x, y;              /* the first of them, in what is seen */
	const uint8_t *is, *should; /* its colours */
};

enum ctl_match_result { CTL_MATCH_YES, CTL_MATCH_NO, CTL_MATCH_SIZE /* it cannot: another size, or too large */ };

enum ctl_match_result ctl_match(const struct ctl_match *match, const struct ctl_picture *seen, struct ctl_difference *difference);

/* ---- ctl_wait.c ---- */
int ctl_screenshot(const struct ctl_options *options, int socket);
int ctl_wait(const struct ctl_options *options, int socket);

#endif
