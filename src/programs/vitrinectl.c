/* SPDX-License-Identifier: MIT */
/* vitrinectl: asks a running vitrine over its control socket. Pictures come as file descriptors; files are written here, so that
 * the device needs no file system. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <vitrine/control.h>
#include <vitrine/vfio.h>

#include "vitrinectl.h"

/* What the device may take longer than the time it was given, before it counts as stuck. */
enum { GRACE_MS = 3000 };

int ctl_fail(const char *format, ...)
{
	va_list args;

	fputs("vitrinectl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return CTL_FAILED;
}

/* ---- talking ---- */

static int connect_to(const struct ctl_options *options)
{
	char standard[256];
	const char *path = options->control, *directory = getenv("XDG_RUNTIME_DIR");

	if (!path) {
		if (!directory) {
			ctl_fail("XDG_RUNTIME_DIR is not set: name the control socket with --control PATH");
			return -1;
		}
		snprintf(standard, sizeof(standard), "%s/vitrine.sock", directory);
		path = standard;
	}
	int fd = vtr_control_connect(path);
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		ctl_fail("no vitrine listens on %s: start it with --control %s", path, path);
	else if (fd < 0)
		ctl_fail("%s: %s", path, strerror(-fd));
	return fd;
}

/* What became of a request: its reply (malloc'ed, taken), refused or not; NULL when there is none, which was reported. *line, when
 * not NULL, gets the text to be freed. */
static json_t *parse(int error, char *reply, char **line)
{
	json_t *parsed = NULL;

	if (error == -ETIMEDOUT)
		ctl_fail("vitrine does not answer");
	else if (error == -ECONNRESET)
		ctl_fail("vitrine hung up");
	else if (error)
		ctl_fail("cannot talk to vitrine: %s", strerror(-error));
	else if (!(parsed = json_loads(reply, 0, NULL)))
		ctl_fail("vitrine's answer is not JSON");
	if (line && parsed)
		*line = reply;
	else
		free(reply);
	return parsed;
}

json_t *ctl_call(int socket, json_t *request, int64_t timeout_ms, char **line, int *fd)
{
	char *text = NULL, *reply = NULL;

	if (!request) {
		ctl_fail("out of memory, or an argument that is not UTF-8");
		return NULL;
	}
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	int error = text ? vtr_control_call(socket, text, (int)timeout_ms + GRACE_MS, &reply, fd) : -ENOMEM;
	free(text);
	return parse(error, reply, line);
}

bool ctl_is_ok(const json_t *reply)
{
	return json_is_true(json_object_get(reply, "ok"));
}

int ctl_fail_with(const json_t *reply)
{
	const char *error = json_string_value(json_object_get(reply, "error"));

	return ctl_fail("%s", error ? error : "refused without a reason");
}

/* Prints a reply (taken, as line is) if --json, or hands it to print (may be NULL). */
static int show(const struct ctl_options *options, json_t *reply, char *line, void (*print)(const json_t *reply))
{
	int status = CTL_OK;

	if (!reply)
		return CTL_FAILED;
	if (options->json)
		puts(line);
	if (!ctl_is_ok(reply))
		status = ctl_fail_with(reply);
	else if (!options->json && print)
		print(reply);
	free(line);
	json_decref(reply);
	return status;
}

int ctl_ask(const struct ctl_options *options, int socket, json_t *request, void (*print)(const json_t *reply))
{
	char *line = NULL;
	json_t *reply = ctl_call(socket, request, options->timeout_ms, &line, NULL);

	return show(options, reply, line, print);
}

/* ---- commands ---- */

static int do_status(const struct ctl_options *options, int socket)
{
	return ctl_ask(options, socket, json_pack("{s:s}", "command", "status"), ctl_print_status);
}

static int do_quit(const struct ctl_options *options, int socket)
{
	return ctl_ask(options, socket, json_pack("{s:s}", "command", "quit"), NULL);
}

/* Acquires the device; a process that was just started gets its time to open it. */
static int acquire(const struct ctl_options *options, struct vtr_error *error)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	uint64_t deadline = vtr_now_ns() + (uint64_t)options->timeout_ms * 1000000;
	bool process = !strncmp(options->device, "pid=", 4);
	int fd = vtr_vfio_acquire(options->device, error);

	while (process && (fd == -ENODEV || fd == -EAGAIN) && vtr_now_ns() < deadline) {
		nanosleep(&pause, NULL);
		fd = vtr_vfio_acquire(options->device, error);
	}
	return fd;
}

/* The device is acquired here, with the rights of who runs vitrinectl: vitrine itself needs none. */
static int do_assign(const struct ctl_options *options, int socket)
{
	struct vtr_error error = { 0 };
	char *line = NULL, *reply = NULL;

	if (options->remove)
		return ctl_ask(options, socket, json_pack("{s:s, s:s}", "command", "assign", "remove", options->remove), NULL);
	int fd = acquire(options, &error);
	if (fd < 0)
		return ctl_fail("%s", error.text);
	int code = vtr_control_call_with_fd(socket, "{\"command\":\"assign\"}", fd, (int)options->timeout_ms + GRACE_MS, &reply);
	close(fd);
	json_t *parsed = parse(code, reply, &line);
	return show(options, parsed, line, ctl_print_assigned);
}

static int ask_for_input(const struct ctl_options *options, int socket, json_t *request, int64_t more_ms)
{
	struct ctl_options patient = *options;

	patient.timeout_ms += more_ms;
	return ctl_ask(&patient, socket, request, NULL);
}

static int do_input(const struct ctl_options *options, int socket)
{
	return ctl_input(options, socket, ask_for_input);
}

static const struct ctl_command commands[] = {
	{ "status", 0, 0, do_status },
	{ "screenshot", 1, 1, ctl_screenshot },
	{ "wait", 0, 0, ctl_wait },
	{ "output-list", 0, 0, ctl_output_list },
	{ "output-add", 0, 1, ctl_output_add },
	{ "output-remove", 1, 1, ctl_output_remove },
	{ "output-resize", 2, 2, ctl_output_resize },
	{ "output-move", 2, 2, ctl_output_move },
	{ "assign", 0, 1, do_assign },
	{ "key", 1, INT_MAX, do_input },
	{ "type", 1, INT_MAX, do_input },
	{ "pointer", 1, INT_MAX, do_input },
	{ "quit", 0, 0, do_quit },
};

const struct ctl_command *ctl_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct ctl_options options;
	int status;

	if (ctl_options_parse(&options, argc, argv, &status))
		return status;
	int socket = connect_to(&options);
	if (socket < 0)
		return CTL_FAILED;
	status = ctl_command(options.command)->run(&options, socket);
	close(socket);
	return status;
}
