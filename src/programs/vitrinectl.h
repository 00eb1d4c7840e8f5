/* SPDX-License-Identifier: MIT */
#ifndef VITRINECTL_H
#define VITRINECTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit status. */
enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

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
	int64_t tolerance;
	int64_t timeout_ms;
};

/* Eight bits each of red, green, blue; rows without padding. */
struct ctl_picture {
	uint32_t width, height;
	uint8_t *pixels; /* owned */
};

/* ---- vitrinectl.c ---- */

/* Prints to standard error and returns CTL_FAILED. */
int ctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

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

struct ctl_difference {
	uint64_t pixels; /* that differ by more than the tolerance in some channel */
	uint32_t x, y;   /* the first of them */
};

/* False when the sizes differ, *difference is then left alone. */
bool ctl_picture_compare(const struct ctl_picture *a, const struct ctl_picture *b, unsigned tolerance,
                         struct ctl_difference *difference);

#endif
