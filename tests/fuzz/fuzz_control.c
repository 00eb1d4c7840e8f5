/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the control socket. The input is a list of steps by up to four clients; one device lives for the whole run, and
 * after every input nothing of its clients may be left.
 *
 *   step: u8 what, then for 0, 5 and 6 u16 length and length bytes
 *   what & 7: 0 send, 1 hang up, 2 close the sending side, 3 read what there is, 4 the device's turn, 5 send a fd along, 6 these
 * bytes are a server's answer to our own client what >> 4 & 3: which client
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "control/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CLIENTS = 4, MAX_STEPS = 256, PLACES = 2 };

struct fuzz_client {
	int fd; /* -1: not connected */
	char line[1 << 20];
	size_t length;
};

static struct {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vfio_assigned *assigned;
	struct vtr_display *displays[2];
	struct vtr_outputs *outputs;
	struct vtr_gpu *gpu;
	struct vtr_control *control;
	char path[64];
	struct fuzz_client clients[CLIENTS];
} machine;

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void quit(void *data)
{
	/* the run goes on */
}

static struct vtr_display *find_display(const char *name, struct vtr_error *error, void *data)
{
	if (!name || !strcmp(name, "headless"))
		return machine.displays[0];
	if (!strcmp(name, "other"))
		return machine.displays[1];
	vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "no such display");
	return NULL;
}

/* The first output is where it was, and nothing is left of those that an input added. */
static void restore_outputs(void)
{
	struct vtr_mode mode = { 8, 8, 0 };

	for (size_t i = 1; i < vtr_outputs_count(machine.outputs); i++)
		vtr_output_move(vtr_outputs_get(machine.outputs, i), NULL);
	vtr_output_move(vtr_outputs_get(machine.outputs, 0), machine.displays[0]);
	vtr_output_resize(vtr_outputs_get(machine.outputs, 0), &mode);
}

static void clean_up(void)
{
	vtr_control_destroy(machine.control);
	vtr_gpu_destroy(machine.gpu);
	vtr_vfio_assigned_destroy(machine.assigned);
	vtr_memory_destroy(machine.memory);
	vtr_display_destroy(machine.displays[0]);
	vtr_display_destroy(machine.displays[1]);
	vtr_outputs_destroy(machine.outputs);
	vtr_loop_destroy(machine.loop);
	*strrchr(machine.path, '/') = '\0';
	rmdir(machine.path);
}

static void set_up(void)
{
	struct vtr_mode mode = { 8, 8, 0 };
	char directory[] = "/tmp/fuzz-control-XXXXXX";

	check(mkdtemp(directory), "no temporary directory");
	snprintf(machine.path, sizeof(machine.path), "%s/control", directory);
	vtr_log_set_level(VTR_LOG_ERROR);
	machine.loop = vtr_loop_create();
	machine.memory = vtr_memory_create();
	machine.assigned = vtr_vfio_assigned_create(machine.loop, machine.memory);
	machine.displays[0] = vtr_headless_create();
	machine.displays[1] = vtr_headless_create();
	machine.outputs = vtr_outputs_create();
	check(vtr_outputs_add(machine.outputs, machine.displays[0], &mode, NULL), "no output");
	for (int i = 0; i < PLACES; i++)
		check(vtr_outputs_add(machine.outputs, NULL, NULL, NULL), "no place for an output");
	machine.gpu = vtr_gpu_create(machine.loop, machine.memory, machine.outputs, &(struct vtr_gpu_options){ 0 });
	struct vtr_control_subject subject = {
		.gpu = machine.gpu,
		.memory = machine.memory,
		.outputs = machine.outputs,
		.assigned = machine.assigned,
		.transport = "fuzz",
		.display = find_display,
		.quit = quit,
	};
	machine.control = vtr_control_create(machine.loop, machine.path, &subject);
	check(machine.control, "no control socket");
	for (int i = 0; i < CLIENTS; i++)
		machine.clients[i].fd = -1;
	atexit(clean_up);
}

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		vtr_loop_dispatch(machine.loop, 0);
}

static void hang_up(struct fuzz_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	client->length = 0;
}

/* Replies are JSON objects that say whether all is well, a line each. */
static void check_line(const char *line, size_t length)
{
	json_t *reply = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	const json_t *ok = json_object_get(reply, "ok");

	check(json_is_true(ok) || (json_is_false(ok) && json_is_string(json_object_get(reply, "error"))), "a reply is not one");
	json_decref(reply);
}

static void hear(struct fuzz_client *client)
{
	if (client->fd < 0)
		return;
	check(client->length < sizeof(client->line), "a reply without an end");
	ssize_t length = recv(client->fd, client->line + client->length, sizeof(client->line) - client->length, MSG_DONTWAIT);
	if (length <= 0) {
		if (!length || errno != EAGAIN)
			hang_up(client);
		return;
	}
	client->length += (size_t)length;
	char *end;
	while ((end = memchr(client->line, '\n', client->length))) {
		size_t line = (size_t)(end - client->line);

		check_line(client->line, line);
		client->length -= line + 1;
		memmove(client->line, end + 1, client->length);
	}
}

static void say(struct fuzz_client *client, const uint8_t *data, size_t size, bool with_fd)
{
	struct iovec iov = { (void *)data, size };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int any = STDERR_FILENO; /* not the client's own: while that one waits to be read, nobody hung up */

	if (client->fd < 0)
		client->fd = vtr_control_connect(machine.path);
	if (client->fd < 0 || !size)
		return;
	if (with_fd) {
		memcpy(CMSG_DATA(&control.header), &any, sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)sent; /* a server that hung up, or takes no more: both are its right */
}

static void answer_our_client(const uint8_t *data, size_t size)
{
	int ends[2], fd;
	char *reply;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	ssize_t sent = send(ends[1], data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)sent;
	shutdown(ends[1], SHUT_WR);
	int error = vtr_control_call(ends[0], "{}", 1000, &reply, &fd);
	check(!error == (reply != NULL) && fd == -1, "an error with a reply, or none without");
	check(error != -ETIMEDOUT, "it waited for a server that had hung up");
	free(reply);
	close(ends[0]);
	close(ends[1]);
}

static void step(uint8_t what, const uint8_t *data, size_t size)
{
	struct fuzz_client *client = &machine.clients[what >> 4 & 3];

	switch (what & 7) {
	case 0:
	case 5:
		say(client, data, size, (what & 7) == 5);
		turn();
		break;
	case 1:
		hang_up(client);
		break;
	case 2:
		if (client->fd >= 0)
			shutdown(client->fd, SHUT_WR);
		break;
	case 3:
		hear(client);
		break;
	case 6:
		answer_our_client(data, size);
		break;
	default:
		turn();
	}
}

static bool any_client(void)
{
	for (int i = 0; i < VTR_MAX_CONTROL_CLIENTS; i++)
		if (machine.control->clients[i])
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!machine.loop)
		set_up();
	for (int i = 0; i < MAX_STEPS && size; i++) {
		uint8_t what = *data++;
		bool with_bytes = (what & 7) == 0 || (what & 7) == 5 || (what & 7) == 6;
		size_t length = 0;

		size--;
		if (with_bytes && size >= 2) {
			length = (size_t)(data[0] | data[1] << 8);
			data += 2;
			size -= 2;
		}
		length = length < size ? length : size;
		step(what, data, length);
		data += length;
		size -= length;
	}
	turn();
	for (int i = 0; i < CLIENTS; i++) {
		hear(&machine.clients[i]);
		hang_up(&machine.clients[i]);
	}
	/* All of them hung up: at the latest when their replies cannot be sent, nothing is left. */
	turn();
	for (int i = 0; i < 1000 && any_client(); i++)
		vtr_loop_dispatch(machine.loop, 1);
	check(!any_client(), "a client that hung up is still there");
	restore_outputs();
	return 0;
}
