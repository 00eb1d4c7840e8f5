/* SPDX-License-Identifier: MIT */
/*
 * Assigned devices over the control socket: file descriptors that come with requests, and what the status says. Server and client
 * take turns in one thread. That a real device is taken is seen in tests/vm.
 */
#include "fake_vfio.h"

#include <glib/gstdio.h>
#include <jansson.h>
#include <sys/socket.h>

#include <vitrine/control.h>
#include <vitrine/limits.h>

#include "rows.h"

enum { MANY = 200 };

struct fixture {
	char *directory, *path;
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vfio_assigned *assigned;
	struct vtr_display *display;
	struct vtr_outputs *outputs;
	struct vtr_gpu *gpu;
	struct vtr_control *control;
	int client;
	unsigned fds, before; // of this process: with the client, before it
};

static unsigned count_fds(void)
{
	GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(dir))
		count++;
	g_dir_close(dir);
	return count;
}

static void turn(struct fixture *fixture)
{
	for (int i = 0; i < 6; i++)
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 0), ==, 0);
}

/* Without a display, whose thread opens fds when it likes, unless the status is asked for. */
static void set_up(struct fixture *fixture, bool assigns, bool shows)
{
	struct vtr_mode mode = { 80, 50, 0 };
	char *directory = g_dir_make_tmp("vitrine-control-XXXXXX", NULL);

	*fixture = (struct fixture){ .directory = directory, .path = g_build_filename(directory, "control", NULL) };
	fixture->loop = vtr_loop_create();
	fixture->memory = vtr_memory_create();
	fixture->assigned = vtr_vfio_assigned_create(fixture->loop, fixture->memory);
	if (shows) {
		fixture->display = vtr_headless_create();
		fixture->outputs = vtr_outputs_create();
		g_assert_nonnull(vtr_outputs_add(fixture->outputs, fixture->display, &mode, "test"));
		fixture->gpu = vtr_gpu_create(fixture->loop, fixture->memory, fixture->outputs, &(struct vtr_gpu_options){ 0 });
	}
	struct vtr_control_subject subject = {
		.gpu = fixture->gpu,
		.memory = fixture->memory,
		.outputs = fixture->outputs,
		.assigned = assigns ? fixture->assigned : NULL,
	};
	fixture->control = vtr_control_create(fixture->loop, fixture->path, &subject);
	g_assert_nonnull(fixture->control);
	fixture->before = count_fds();
	fixture->client = vtr_control_connect(fixture->path);
	g_assert_cmpint(fixture->client, >=, 0);
	turn(fixture);
	fixture->fds = count_fds();
}

static void tear_down(struct fixture *fixture)
{
	close(fixture->client);
	turn(fixture);
	vtr_control_destroy(fixture->control);
	vtr_gpu_destroy(fixture->gpu);
	vtr_vfio_assigned_destroy(fixture->assigned);
	vtr_memory_destroy(fixture->memory);
	vtr_display_destroy(fixture->display);
	vtr_outputs_destroy(fixture->outputs);
	vtr_loop_destroy(fixture->loop);
	g_rmdir(fixture->directory);
	g_free(fixture->path);
	g_free(fixture->directory);
}

/* Sends text with count duplicates of fd; the server has no turn yet. */
static void say(const struct fixture *fixture, const char *text, int fd, unsigned count)
{
	struct iovec iov = { (char *)text, strlen(text) };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(MANY * sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int)) } };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(fd), &fd, sizeof(fd));
	if (count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	g_assert_cmpint(sendmsg(fixture->client, &message, MSG_NOSIGNAL), ==, strlen(text));
}

/* The next line; the server gets its turn first. */
static json_t *hear(struct fixture *fixture)
{
	g_autoptr(GString) line = g_string_new("");
	char c = 0;

	turn(fixture);
	while (recv(fixture->client, &c, 1, MSG_DONTWAIT) == 1 && c != '\n')
		g_string_append_c(line, c);
	g_assert_cmpint(c, ==, '\n');
	json_t *reply = json_loads(line->str, 0, NULL);
	g_assert_nonnull(reply);
	return reply;
}

static void expect(struct fixture *fixture, const char *code, const char *word)
{
	json_t *reply = hear(fixture);
	const char *error = json_string_value(json_object_get(reply, "error"));

	if (!*code) {
		g_assert_true(json_is_true(json_object_get(reply, "ok")));
	} else {
		g_assert_cmpstr(json_string_value(json_object_get(reply, "code")), ==, code);
		if (!strstr(error, word))
			g_error("'%s' is not in '%s'", word, error);
	}
	json_decref(reply);
}

static json_t *status(struct fixture *fixture)
{
	say(fixture, "{\"command\":\"status\"}\n", -1, 0);
	json_t *reply = hear(fixture), *assigned = json_object_get(reply, "assigned");

	json_incref(assigned);
	json_decref(reply);
	return assigned;
}

#define ASSIGN "{\"command\":\"assign\"}\n"
#define LONG "0123456789012345678901234567890123456789012345678901234567890123"

static const struct request_row {
	const char *name, *request;
	unsigned fds;
	const char *code, *word;
} request_rows[] = {
	{ "no-fd", ASSIGN, 0, "invalid", "needs the device's file descriptor" },
	{ "no-device", ASSIGN, 1, "failed", "no VFIO device" },
	{ "two-fds", ASSIGN, 2, "invalid", "one file descriptor" },
	{ "many-fds", ASSIGN, MANY, "invalid", "one file descriptor" },
	{ "fd-and-remove", "{\"command\":\"assign\",\"remove\":\"a\"}\n", 1, "invalid", "not both" },
	{ "many-and-remove", "{\"command\":\"assign\",\"remove\":\"a\"}\n", 3, "invalid", "not both" },
	{ "remove-unknown", "{\"command\":\"assign\",\"remove\":\"0000:01:00.0\"}\n", 0, "failed", "no device '0000:01:00.0'" },
	{ "remove-nothing", "{\"command\":\"assign\",\"remove\":\"\"}\n", 0, "invalid", "remove is text" },
	{ "remove-a-number", "{\"command\":\"assign\",\"remove\":1}\n", 0, "invalid", "remove is text" },
	{ "remove-null", "{\"command\":\"assign\",\"remove\":null}\n", 0, "invalid", "remove is text" },
	{ "remove-too-long", "{\"command\":\"assign\",\"remove\":\"" LONG "\"}\n", 0, "invalid", "remove is text" },
	{ "unknown-argument", "{\"command\":\"assign\",\"fd\":3}\n", 1, "invalid", "no argument 'fd'" },
	{ "fd-for-another-command", "{\"command\":\"version\"}\n", 1, "", "" },
	{ "fds-for-another-command", "{\"command\":\"version\"}\n", 5, "", "" },
	{ "fd-for-nonsense", "{\"command\":\"explode\"}\n", 1, "unknown-command", "explode" },
};

static void test_request(gconstpointer data)
{
	const struct request_row *row = data;
	struct fixture fixture;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	set_up(&fixture, true, false);
	say(&fixture, row->request, fd, row->fds);
	expect(&fixture, row->code, row->word);
	/* nothing is kept, and the client is as good as before */
	g_assert_cmpuint(count_fds(), ==, fixture.fds);
	say(&fixture, ASSIGN, -1, 0);
	expect(&fixture, "invalid", "needs");
	close(fd);
	tear_down(&fixture);
}

static void test_nonsense(void)
{
	struct fixture fixture;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	set_up(&fixture, true, false);
	say(&fixture, "hello\n", fd, 1);
	expect(&fixture, "invalid", "not JSON");
	turn(&fixture);
	g_assert_cmpuint(count_fds(), ==, fixture.before + 1); // our end of the connection
	close(fd);
	tear_down(&fixture);
}

/* Requests that come together: the fd is for the one that takes it. */
static void test_together(void)
{
	struct fixture fixture;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	set_up(&fixture, true, false);
	say(&fixture, "{\"command\":\"version\"}\n", -1, 0);
	say(&fixture, ASSIGN, fd, 1);
	expect(&fixture, "", "");
	expect(&fixture, "failed", "no VFIO device");
	/* in pieces */
	say(&fixture, "{\"command\":", fd, 1);
	turn(&fixture);
	say(&fixture, "\"assign\"}\n", -1, 0);
	expect(&fixture, "failed", "no VFIO device");
	/* two of them, each with its own */
	say(&fixture, ASSIGN, fd, 1);
	say(&fixture, ASSIGN, fd, 1);
	expect(&fixture, "failed", "no VFIO device");
	expect(&fixture, "failed", "no VFIO device");
	/* and each piece with one: too many */
	say(&fixture, "{\"command\":", fd, 1);
	turn(&fixture);
	say(&fixture, "\"assign\"}\n", fd, 1);
	expect(&fixture, "invalid", "one file descriptor");
	g_assert_cmpuint(count_fds(), ==, fixture.fds);
	close(fd);
	tear_down(&fixture);
}

/* A client that goes in the middle of a request takes its fd with it. */
static void test_hangs_up(void)
{
	struct fixture fixture;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	set_up(&fixture, true, false);
	say(&fixture, "{\"command\":", fd, 1);
	turn(&fixture);
	g_assert_cmpuint(count_fds(), ==, fixture.fds + 1);
	close(fixture.client);
	turn(&fixture);
	g_assert_cmpuint(count_fds(), ==, fixture.before);
	fixture.client = -1;
	close(fd);
	tear_down(&fixture);
}

static void test_none_here(void)
{
	struct fixture fixture;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	set_up(&fixture, false, false);
	say(&fixture, ASSIGN, fd, 1);
	expect(&fixture, "failed", "no devices can be assigned");
	say(&fixture, "{\"command\":\"assign\",\"remove\":\"a\"}\n", -1, 0);
	expect(&fixture, "failed", "no devices can be assigned");
	close(fd);
	tear_down(&fixture);
}

/* Our own client sends the fd. */
static void test_our_client(void)
{
	struct fixture fixture;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), ends[2];
	char *reply;

	set_up(&fixture, true, false);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	g_assert_cmpint(send(ends[1], "{}\n", 3, 0), ==, 3);
	g_assert_cmpint(vtr_control_call_with_fd(ends[0], "{\"command\":\"assign\"}", fd, 1000, &reply), ==, 0);
	g_assert_cmpstr(reply, ==, "{}");
	free(reply);
	/* what came out of the other end goes to the server as it is */
	char text[64] = "";
	struct iovec iov = { text, sizeof(text) - 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t length = recvmsg(ends[1], &message, MSG_CMSG_CLOEXEC);
	int got;
	g_assert_cmpint(length, >, 0);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(got));
	say(&fixture, text, got, 1);
	if (!strchr(text, '\n'))
		say(&fixture, "\n", -1, 0);
	expect(&fixture, "failed", "no VFIO device");
	close(got);
	close(ends[0]);
	close(ends[1]);
	close(fd);
	tear_down(&fixture);
}

/* ---- what the status says ---- */

static void test_status(void)
{
	struct fixture fixture;

	fake_reset();
	fake.probe_error = ENOTTY;
	set_up(&fixture, true, true);
	json_t *assigned = status(&fixture);
	g_assert_cmpuint(json_array_size(assigned), ==, 0);
	json_decref(assigned);
	g_assert_cmpint(vtr_vfio_assigned_add_device(fixture.assigned, fake_open(), NULL), ==, 0);
	fake_decoding(false);
	say(&fixture, "{\"command\":\"version\"}\n", -1, 0);
	expect(&fixture, "", "");
	assigned = status(&fixture);
	json_t *device = json_array_get(assigned, 0), *bars = json_object_get(device, "bars"), *bar = json_array_get(bars, 1);
	g_assert_cmpstr(json_string_value(json_object_get(device, "name")), ==, "0000:01:00.0");
	g_assert_cmpuint(json_array_size(json_object_get(device, "capabilities")), ==, 2);
	g_assert_nonnull(strstr(json_string_value(json_object_get(device, "no_dmabuf")), "6.19"));
	g_assert_cmpuint(json_array_size(bars), ==, 4);
	g_assert_cmpint(json_integer_value(json_object_get(bar, "bar")), ==, 2);
	g_assert_cmpint(json_integer_value(json_object_get(bar, "size")), ==, 64 << 20);
	g_assert_cmpint(json_integer_value(json_object_get(bar, "mappable")), ==, 64 << 20);
	g_assert_cmpstr(json_string_value(json_object_get(bar, "address")), ==, "0x800000000");
	g_assert_true(json_is_false(json_object_get(bar, "decoded")));
	/* an I/O BAR is nowhere */
	g_assert_true(json_is_null(json_object_get(json_array_get(bars, 3), "address")));
	json_decref(assigned);
	say(&fixture, "{\"command\":\"assign\",\"remove\":\"0000:01:00.0\"}\n", -1, 0);
	expect(&fixture, "", "");
	assigned = status(&fixture);
	g_assert_cmpuint(json_array_size(assigned), ==, 0);
	json_decref(assigned);
	tear_down(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/control-assign/request/", request_rows, test_request);
	g_test_add_func("/control-assign/nonsense", test_nonsense);
	g_test_add_func("/control-assign/together", test_together);
	g_test_add_func("/control-assign/hangs-up", test_hangs_up);
	g_test_add_func("/control-assign/none-here", test_none_here);
	g_test_add_func("/control-assign/our-client", test_our_client);
	g_test_add_func("/control-assign/status", test_status);
	return g_test_run();
}
