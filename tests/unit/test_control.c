/* SPDX-License-Identifier: MIT */
/*
 * The control socket: a real device with a real headless display on a thread of its own, a driver that flushes when it is told to,
 * and clients that behave well and badly. Then our client against servers that lie.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <vitrine/control.h>
#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "mute_display.h"
#include "util/fd.h"
#include "virtio/device.h"
#include "vring.h"

enum { WIDTH = 64, HEIGHT = 32, STRIDE = WIDTH * 4 };
#define RAM UINT64_C(0x100000)
#define RAM_SIZE (4u << 20)
#define REQUESTS (RAM + 0x10000)
#define PIXELS (RAM + 0x200000)

/* ---- a device ---- */

struct machine {
	char *directory, *path;
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_display *display;
	struct vtr_outputs *outputs;
	struct vtr_gpu *gpu;
	struct vtr_virtio_device *device;
	struct vtr_control *control;
	struct guest_ram ram;
	struct vring_driver ring;
	struct vtr_source *flush;
	unsigned quits;
	pthread_t thread;
	bool running;
};

/* Puts the request on the ring and runs the device until it is answered. */
static void driver_call(struct machine *machine, const void *request, uint32_t size)
{
	struct vring_used_elem element;
	uint64_t response = REQUESTS + 0x1000;

	memcpy(guest_ram_at(&machine->ram, REQUESTS), request, size);
	vring_put_desc(&machine->ring, machine->ring.desc, 0, REQUESTS, size, VRING_DESC_F_NEXT, 1);
	vring_put_desc(&machine->ring, machine->ring.desc, 1, response, 1024, VRING_DESC_F_WRITE, 0);
	vring_publish(&machine->ring, 0);
	vtr_virtio_kick(machine->device, 0);
	while (!vring_take_used(&machine->ring, &element))
		vtr_loop_dispatch(machine->loop, 1);
	g_assert_cmphex(((struct virtio_gpu_ctrl_hdr *)(void *)guest_ram_at(&machine->ram, response))->type, ==,
	                VIRTIO_GPU_RESP_OK_NODATA);
}

static void driver_flush(void *data)
{
	struct virtio_gpu_resource_flush flush = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH,
		.r = { 0, 0, WIDTH, HEIGHT },
		.resource_id = 1,
	};

	driver_call(data, &flush, sizeof(flush));
}

static void driver_start(struct machine *machine)
{
	struct vtr_virtqueue *queue = &machine->device->queues[0];
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint64_t features = UINT64_C(1) << VIRTIO_F_VERSION_1 | 1u << VIRTIO_GPU_F_RESOURCE_BLOB | 1u << VIRTIO_GPU_F_EDID;

	vring_driver_init(&machine->ring, &machine->ram, RAM, 64);
	vtr_virtio_set_status(machine->device, status);
	g_assert_cmpint(vtr_virtio_set_driver_features(machine->device, features), ==, 0);
	vtr_virtio_set_status(machine->device, status |= VIRTIO_CONFIG_S_FEATURES_OK);
	queue->size = 64;
	queue->desc = machine->ring.desc;
	queue->avail = machine->ring.avail;
	queue->used = machine->ring.used;
	g_assert_cmpint(vtr_virtio_enable_queue(machine->device, 0), ==, 0);
	vtr_virtio_set_status(machine->device, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

static uint32_t colour(uint32_t x, uint32_t y)
{
	return x * 0x030201 + y * 0x010507;
}

static void driver_show(struct machine *machine)
{
	struct {
		struct virtio_gpu_resource_create_blob blob;
		struct virtio_gpu_mem_entry entry;
	} create = {
		.blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		          .resource_id = 1,
		          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		          .nr_entries = 1,
		          .size = HEIGHT * STRIDE },
		.entry = { .addr = PIXELS, .length = HEIGHT * STRIDE },
	};
	struct virtio_gpu_set_scanout_blob set = {
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
		.r = { 0, 0, WIDTH, HEIGHT },
		.resource_id = 1,
		.width = WIDTH,
		.height = HEIGHT,
		.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.strides = { STRIDE },
	};
	uint32_t *pixels = (uint32_t *)(void *)guest_ram_at(&machine->ram, PIXELS);

	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++)
			pixels[y * WIDTH + x] = colour(x, y);
	driver_call(machine, &create, sizeof(create));
	driver_call(machine, &set, sizeof(set));
}

/* "test" is the display that is there; there is one more, which cannot be had. */
static struct vtr_display *machine_display(const char *name, struct vtr_error *error, void *data)
{
	if (!name || !strcmp(name, "test"))
		return ((struct machine *)data)->display;
	vtr_error_set(error, VTR_ERROR_HOST, ENODEV, "no display '%s' can be had", name);
	return NULL;
}

static void machine_quit(void *data)
{
	((struct machine *)data)->quits++;
}

static void *machine_run(void *data)
{
	vtr_loop_run(((struct machine *)data)->loop);
	return NULL;
}

/* display: taken; NULL: headless. shows: the guest shows a picture, and one frame was flushed. */
static void machine_start(struct machine *machine, struct vtr_display *display, bool shows)
{
	struct vtr_mode mode = { 80, 50, 0 };
	char *name = g_dir_make_tmp("vitrine-control-XXXXXX", NULL);

	*machine = (struct machine){ .directory = name, .path = g_build_filename(name, "control", NULL) };
	machine->loop = vtr_loop_create();
	machine->memory = vtr_memory_create();
	guest_ram_init(&machine->ram, RAM, RAM_SIZE);
	g_assert_cmpint(guest_ram_add(&machine->ram, machine->memory), ==, 0);
	machine->display = display ? display : vtr_headless_create();
	machine->outputs = vtr_outputs_create();
	g_assert_nonnull(vtr_outputs_add(machine->outputs, machine->display, &mode, "test"));
	g_assert_nonnull(vtr_outputs_add(machine->outputs, NULL, NULL, NULL));
	machine->gpu = vtr_gpu_create(machine->loop, machine->memory, machine->outputs,
	                              &(struct vtr_gpu_options){ .force_path = VTR_PATH_MAPPED });
	machine->device = vtr_gpu_virtio(machine->gpu);
	struct vtr_control_subject subject = {
		.gpu = machine->gpu,
		.memory = machine->memory,
		.outputs = machine->outputs,
		.transport = "none, \xff test",
		.display = machine_display,
		.quit = machine_quit,
		.data = machine,
	};
	machine->control = vtr_control_create(machine->loop, machine->path, &subject);
	g_assert_nonnull(machine->control);
	machine->flush = vtr_loop_add_event(machine->loop, driver_flush, machine);
	driver_start(machine);
	if (shows) {
		struct vtr_scanout_status status = { 0 };

		driver_show(machine);
		driver_flush(machine);
		while (!status.frames) {
			vtr_loop_dispatch(machine->loop, 1);
			vtr_gpu_scanout_status(machine->gpu, 0, &status);
		}
	}
	g_assert_cmpint(pthread_create(&machine->thread, NULL, machine_run, machine), ==, 0);
	machine->running = true;
}

static void machine_pause(struct machine *machine)
{
	if (!machine->running)
		return;
	vtr_loop_stop(machine->loop);
	pthread_join(machine->thread, NULL);
	machine->running = false;
}

static void machine_stop(struct machine *machine)
{
	machine_pause(machine);
	vtr_control_destroy(machine->control);
	g_assert_cmpint(g_access(machine->path, F_OK), <, 0); /* it cleans up */
	vtr_gpu_destroy(machine->gpu);
	vtr_memory_destroy(machine->memory);
	vtr_display_destroy(machine->display);
	vtr_outputs_destroy(machine->outputs);
	vtr_loop_destroy(machine->loop);
	guest_ram_finish(&machine->ram);
	g_rmdir(machine->directory);
	g_free(machine->path);
	g_free(machine->directory);
}

/* ---- a client that can misbehave ---- */

static int dial(struct machine *machine)
{
	int fd = vtr_control_connect(machine->path);
	struct timeval patience = { .tv_sec = 10 };

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), ==, 0);
	g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), ==, 0);
	return fd;
}

static void say(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);

		g_assert_cmpint(sent, >, 0);
		data += sent;
		length -= (size_t)sent;
	}
}

/* The next line as JSON, or NULL when the server hung up. */
static json_t *hear(int fd)
{
	GString *line = g_string_new(NULL);
	char c = 0;
	ssize_t length;

	while ((length = recv(fd, &c, 1, 0)) == 1 && c != '\n')
		g_string_append_c(line, c);
	if (length < 0)
		g_assert_cmpint(errno, ==, ECONNRESET); /* and not EAGAIN: no answer */
	json_t *reply = length == 1 ? json_loads(line->str, 0, NULL) : NULL;
	if (length == 1)
		g_assert_nonnull(reply);
	g_string_free(line, TRUE);
	return reply;
}

static void assert_gone(int fd)
{
	g_assert_null(hear(fd));
	close(fd);
}

static json_t *ask(int fd, const char *request)
{
	say(fd, request, strlen(request));
	say(fd, "\n", 1);
	return hear(fd);
}

static const char *code_of(const json_t *reply)
{
	bool ok = json_is_true(json_object_get(reply, "ok"));
	const char *code = json_string_value(json_object_get(reply, "code"));

	g_assert_true(ok == !code);
	g_assert_true(ok || json_string_length(json_object_get(reply, "error")) > 5);
	return ok ? "ok" : code;
}

static void assert_code(json_t *reply, const char *code)
{
	g_assert_nonnull(reply);
	g_assert_cmpstr(code_of(reply), ==, code);
	json_decref(reply);
}

/* ---- requests ---- */

static const struct request_row {
	const char *name, *request, *code;
} request_rows[] = {
	{ "status", "{\"command\":\"status\"}", "ok" },
	{ "help", "{\"command\":\"help\"}", "ok" },
	{ "version", " { \"command\" : \"version\" } ", "ok" },
	{ "carriage-return", "{\"command\":\"version\"}\r", "ok" },
	{ "wait-for-what-was", "{\"command\":\"wait\",\"frames\":0}", "ok" },
	{ "screenshot", "{\"command\":\"screenshot\"}", "ok" },
	{ "screenshot-with-all", "{\"command\":\"screenshot\",\"scanout\":0,\"cursor\":true,\"after\":0,\"timeout_ms\":5000}",
	  "ok" },
	{ "unknown-command", "{\"command\":\"explode\"}", "unknown-command" },
	{ "not-a-name", "{\"command\":7}", "invalid" },
	{ "no-command", "{}", "invalid" },
	{ "array", "[]", "invalid" },
	{ "number", "7", "invalid" },
	{ "null", "null", "invalid" },
	{ "unknown-argument", "{\"command\":\"status\",\"colour\":1}", "invalid" },
	{ "argument-of-another", "{\"command\":\"status\",\"scanout\":0}", "invalid" },
	{ "missing-argument", "{\"command\":\"wait\"}", "invalid" },
	{ "wrong-type", "{\"command\":\"wait\",\"frames\":\"1\"}", "invalid" },
	{ "not-a-boolean", "{\"command\":\"screenshot\",\"cursor\":1}", "invalid" },
	{ "fraction", "{\"command\":\"wait\",\"frames\":1.5}", "invalid" },
	{ "negative", "{\"command\":\"wait\",\"frames\":-1}", "invalid" },
	{ "scanout-16", "{\"command\":\"screenshot\",\"scanout\":16}", "invalid" },
	{ "no-such-scanout", "{\"command\":\"screenshot\",\"scanout\":2}", "invalid" },
	{ "not-connected", "{\"command\":\"screenshot\",\"scanout\":1}", "failed" },
	{ "timeout-too-long", "{\"command\":\"wait\",\"frames\":9,\"timeout_ms\":86400001}", "invalid" },
	{ "wait-in-vain", "{\"command\":\"wait\",\"frames\":1000,\"timeout_ms\":20}", "timeout" },
	{ "wait-no-time", "{\"command\":\"wait\",\"frames\":1000,\"timeout_ms\":0}", "timeout" },
	{ "no-frame-after", "{\"command\":\"screenshot\",\"after\":1000,\"timeout_ms\":20}", "timeout" },
	{ "output-list", "{\"command\":\"output-list\"}", "ok" },
	{ "output-add", "{\"command\":\"output-add\"}", "ok" },
	{ "output-add-all", "{\"command\":\"output-add\",\"mode\":\"640x480@144,name=b\",\"display\":\"test\"}", "ok" },
	{ "output-add-auto", "{\"command\":\"output-add\",\"mode\":\"auto,name=b\"}", "ok" },
	{ "output-add-mode", "{\"command\":\"output-add\",\"mode\":\"640\"}", "invalid" },
	{ "output-add-taken", "{\"command\":\"output-add\",\"mode\":\"auto,name=test\"}", "invalid" },
	{ "output-add-display", "{\"command\":\"output-add\",\"display\":\"other\"}", "failed" },
	{ "output-add-text", "{\"command\":\"output-add\",\"mode\":640}", "invalid" },
	{ "output-add-empty", "{\"command\":\"output-add\",\"mode\":\"\"}", "invalid" },
	{ "output-add-not-ascii", "{\"command\":\"output-add\",\"mode\":\"auto,name=\xc3\xa4\"}", "invalid" },
	{ "output-remove", "{\"command\":\"output-remove\",\"output\":\"test\"}", "ok" },
	{ "output-remove-by-number", "{\"command\":\"output-remove\",\"output\":\"0\"}", "ok" },
	{ "output-remove-free", "{\"command\":\"output-remove\",\"output\":\"1\"}", "invalid" },
	{ "output-remove-unknown", "{\"command\":\"output-remove\",\"output\":\"99999999999999999999\"}", "invalid" },
	{ "output-remove-which", "{\"command\":\"output-remove\"}", "invalid" },
	{ "output-remove-long", "{\"command\":\"output-remove\",\"output\":\"12345678901234567890123456789012\"}", "invalid" },
	{ "output-resize", "{\"command\":\"output-resize\",\"output\":\"test\",\"mode\":\"800x600@75\"}", "ok" },
	{ "output-resize-auto", "{\"command\":\"output-resize\",\"output\":\"0\",\"mode\":\"auto\"}", "ok" },
	{ "output-resize-name", "{\"command\":\"output-resize\",\"output\":\"0\",\"mode\":\"auto,name=c\"}", "invalid" },
	{ "output-resize-to-what", "{\"command\":\"output-resize\",\"output\":\"0\"}", "invalid" },
	{ "output-move", "{\"command\":\"output-move\",\"output\":\"0\",\"display\":\"test\"}", "ok" },
	{ "output-move-nowhere", "{\"command\":\"output-move\",\"output\":\"0\",\"display\":\"other\"}", "failed" },
	{ "long-name",
	  "{\"command\":"
	  "\"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3"
	  "\xa4\xc3\xa4z\xc3\xa4\"}",
	  "unknown-command" },
};

static void test_request(gconstpointer data)
{
	const struct request_row *row = data;
	struct machine machine;

	machine_start(&machine, NULL, true);
	int fd = dial(&machine);
	assert_code(ask(fd, row->request), row->code);
	assert_code(ask(fd, "{\"command\":\"version\"}"), "ok"); /* none of these costs the connection */
	close(fd);
	machine_stop(&machine);
}

/* What is no request at all: told so, and dropped. */
static const struct nonsense_row {
	const char *name, *line;
} nonsense_rows[] = {
	{ "text", "hello" },
	{ "empty", "" },
	{ "half-json", "{\"command\":" },
	{ "trailing", "{\"command\":\"version\"} {}" },
	{ "duplicate-keys", "{\"command\":\"version\",\"command\":\"quit\"}" },
	{ "not-utf-8", "{\"command\":\"\xff\xfe\"}" },
	{ "control-character", "{\"command\":\"\x01\"}" },
	{ "huge-number", "{\"command\":\"wait\",\"frames\":99999999999999999999999}" },
};

static void test_nonsense(gconstpointer data)
{
	const struct nonsense_row *row = data;
	struct machine machine;

	machine_start(&machine, NULL, false);
	int fd = dial(&machine);
	assert_code(ask(fd, row->line), "invalid");
	assert_gone(fd);
	machine_stop(&machine);
}

static void test_nested(void)
{
	struct machine machine;
	char *deep = g_strnfill(60000, '[');

	machine_start(&machine, NULL, false);
	int fd = dial(&machine);
	assert_code(ask(fd, deep), "invalid");
	assert_gone(fd);
	machine_stop(&machine);
	g_free(deep);
}

static void test_long_line(void)
{
	struct machine machine;
	char *line = g_strnfill(VTR_MAX_CONTROL_LINE, ' ');

	machine_start(&machine, NULL, false);
	int fd = dial(&machine);
	memcpy(line, "{\"command\":\"version\"}", 21);
	say(fd, line, VTR_MAX_CONTROL_LINE - 1); /* the longest, with its newline */
	say(fd, "\n", 1);
	assert_code(hear(fd), "ok");
	say(fd, line, VTR_MAX_CONTROL_LINE);
	assert_code(hear(fd), "invalid");
	assert_gone(fd);
	machine_stop(&machine);
	g_free(line);
}

static void test_pieces(void)
{
	static const char request[] = "{\"command\":\"version\"}\n{\"command\":\"help\"}\n";
	struct machine machine;

	machine_start(&machine, NULL, false);
	int fd = dial(&machine);
	for (size_t i = 0; i < sizeof(request) - 1; i++)
		say(fd, request + i, 1);
	json_t *reply = hear(fd);
	g_assert_nonnull(json_object_get(reply, "version"));
	json_decref(reply);
	reply = hear(fd);
	g_assert_cmpuint(json_array_size(json_object_get(reply, "commands")), ==, 15);
	json_decref(reply);
	close(fd);
	machine_stop(&machine);
}

/* Half a line and then the end: forgotten. Whole lines and then the end: answered. */
static void test_half_close(void)
{
	static const char request[] =
		"{\"command\":\"version\"}\n{\"command\":\"wait\",\"frames\":5,\"timeout_ms\":20}\n{\"command\":";
	struct machine machine;

	machine_start(&machine, NULL, true);
	int fd = dial(&machine);
	say(fd, request, sizeof(request) - 1);
	g_assert_cmpint(shutdown(fd, SHUT_WR), ==, 0);
	assert_code(hear(fd), "ok");
	assert_code(hear(fd), "timeout");
	assert_gone(fd);
	machine_stop(&machine);
}

/* Requests are answered in order, also when the first has to wait. */
static void test_order(void)
{
	static const char requests[] = "{\"command\":\"wait\",\"frames\":2,\"timeout_ms\":5000}\n{\"command\":\"explode\"}\n"
				       "{\"command\":\"wait\",\"frames\":3,\"timeout_ms\":5000}\n{\"command\":\"version\"}\n";
	struct machine machine;

	machine_start(&machine, NULL, true);
	int fd = dial(&machine);
	say(fd, requests, sizeof(requests) - 1);
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	g_assert_cmpint(poll(&pollfd, 1, 50), ==, 0);
	vtr_event_raise(machine.flush);
	json_t *reply = hear(fd);
	g_assert_cmpint(json_integer_value(json_object_get(reply, "frames")), ==, 2);
	json_decref(reply);
	assert_code(hear(fd), "unknown-command");
	vtr_event_raise(machine.flush);
	reply = hear(fd);
	g_assert_cmpint(json_integer_value(json_object_get(reply, "frames")), ==, 3);
	json_decref(reply);
	assert_code(hear(fd), "ok");
	close(fd);
	machine_stop(&machine);
}

/* Thousands of requests, and no reply is read: the server stops taking them; when they are read, all of them are there. */
static void test_slow_reader(void)
{
	static const char request[] = "{\"command\":\"help\"}\n";
	struct machine machine;
	unsigned sent = 0;

	machine_start(&machine, NULL, false);
	int fd = dial(&machine), other = dial(&machine);
	for (;;) {
		ssize_t length = send(fd, request, sizeof(request) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (length < 0) {
			struct pollfd pollfd = { .fd = fd, .events = POLLOUT };

			g_assert_cmpint(errno, ==, EAGAIN);
			if (!poll(&pollfd, 1, 200))
				break; /* it takes no more */
			continue;
		}
		g_assert_cmpint(length, ==, sizeof(request) - 1);
		g_assert_cmpuint(++sent, <, 1000000);
	}
	assert_code(ask(other, "{\"command\":\"version\"}"), "ok"); /* nobody else is kept waiting */
	for (unsigned i = 0; i < sent; i++)
		assert_code(hear(fd), "ok");
	g_test_message("%u requests before it stopped taking them", sent);
	close(fd);
	close(other);
	machine_stop(&machine);
}

/* Connects, again and again until there is a place: those who left are noticed a moment later. */
static int dial_until_served(struct machine *machine)
{
	for (int i = 0; i < 500; i++) {
		int fd = dial(machine);
		json_t *reply = ask(fd, "{\"command\":\"version\"}");
		bool served = reply && json_is_true(json_object_get(reply, "ok"));

		json_decref(reply);
		if (served)
			return fd;
		close(fd);
		g_usleep(10000);
	}
	g_assert_not_reached();
}

static void test_many_clients(void)
{
	struct machine machine;
	int fds[VTR_MAX_CONTROL_CLIENTS];
	static const char wait[] = "{\"command\":\"wait\",\"frames\":99}\n";

	machine_start(&machine, NULL, true);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < VTR_MAX_CONTROL_CLIENTS; i++)
			fds[i] = dial_until_served(&machine);
		int extra = dial(&machine);
		assert_code(hear(extra), "failed");
		assert_gone(extra);
		/* All wait for a frame that does not come, and hang up. */
		for (int i = 0; i < VTR_MAX_CONTROL_CLIENTS; i++) {
			say(fds[i], wait, sizeof(wait) - 1);
			close(fds[i]);
		}
	}
	close(dial_until_served(&machine));
	machine_stop(&machine);
}

static unsigned count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* The server's thread may be about to close one. */
static void assert_fds(unsigned expected)
{
	for (int i = 0; i < 200 && count_fds() != expected; i++)
		g_usleep(5000);
	g_assert_cmpuint(count_fds(), ==, expected);
}

/* fds that a client sends along are nobody's. */
static void test_fds_sent(void)
{
	static char request[] = "{\"command\":\"version\"}\n";
	struct machine machine;
	struct iovec iov = { request, sizeof(request) - 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	machine_start(&machine, NULL, true); /* shows: the display's thread has all its fds */
	int fd = dial(&machine);
	assert_code(ask(fd, "{\"command\":\"version\"}"), "ok");
	unsigned before = count_fds();
	control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(64) };
	for (int i = 0; i < 16; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &fd, sizeof(int));
	for (int i = 0; i < 100; i++) {
		g_assert_cmpint(sendmsg(fd, &message, MSG_NOSIGNAL), ==, sizeof(request) - 1);
		assert_code(hear(fd), "ok");
	}
	assert_fds(before);
	close(fd);
	machine_stop(&machine);
}

/* ---- what the replies hold ---- */

static void test_status(void)
{
	struct machine machine;

	machine_start(&machine, NULL, true);
	int fd = dial(&machine);
	json_t *reply = ask(fd, "{\"command\":\"status\"}");
	const char *name, *kind, *display, *format, *path, *refused, *reason, *transport;
	json_int_t id, width, height, resource, frames, dropped, timeouts, copied, p50, p99, resources;
	double cpu, hertz;
	json_t *features, *regions, *refusals;
	int enabled, frozen, revoked;

	g_assert_cmpint(json_unpack(reply, "{s:s, s:o, s:o, s:I, s:[{s:I, s:s, s:s, s:I, s:I, s:s, s:I, s:s, s:o, s:b, s:b, s:b}]}",
	                            "transport", &transport, "guest_features", &features, "memory_regions", &regions, "resources",
	                            &resources, "scanouts", "id", &id, "name", &name, "display", &display, "width", &width,
	                            "height", &height, "format", &format, "resource", &resource, "path", &path, "why_not",
	                            &refusals, "enabled", &enabled, "frozen", &frozen, "revoked", &revoked),
	                ==, 0);
	g_assert_cmpint(json_unpack(reply, "{s:[{s:I, s:I, s:I, s:I, s:F, s:{s:I, s:I}, s:{s:F}}]}", "scanouts", "frames", &frames,
	                            "dropped", &dropped, "timeouts", &timeouts, "bytes_copied", &copied, "cpu_us_per_frame", &cpu,
	                            "flush_to_present_us", "p50", &p50, "p99", &p99, "output", "refresh_hz", &hertz),
	                ==, 0);
	g_assert_cmpstr(transport, ==, "none, ? test");
	g_assert_cmpint(width, ==, WIDTH);
	g_assert_cmpint(height, ==, HEIGHT);
	g_assert_cmpstr(format, ==, "XR24");
	g_assert_cmpstr(name, ==, "test");
	g_assert_cmpstr(display, ==, "headless");
	g_assert_cmpint(resource, ==, 1);
	g_assert_cmpint(resources, ==, 1);
	g_assert_cmpstr(path, ==, "mapped");
	g_assert_true(enabled && !frozen && !revoked);
	g_assert_cmpint(frames, ==, 1);
	g_assert_cmpint(p50, <=, p99);
	g_assert_cmpint(json_unpack(refusals, "[{s:s, s:s}]", "path", &refused, "reason", &reason), ==, 0);
	g_assert_cmpstr(refused, ==, "udmabuf");
	json_t *feature;
	size_t i;
	bool edid = false;
	json_array_foreach (features, i, feature)
		edid |= !strcmp(json_string_value(feature), "EDID");
	g_assert_true(edid);
	g_assert_cmpuint(json_array_size(regions), ==, 1);
	json_int_t size;
	const char *address;
	g_assert_cmpint(json_unpack(regions, "[{s:s, s:I, s:s}]", "address", &address, "size", &size, "kind", &kind), ==, 0);
	g_assert_cmpstr(address, ==, "0x100000");
	g_assert_cmpint(size, ==, RAM_SIZE);
	g_assert_cmpstr(kind, ==, "ram");
	json_decref(reply);
	close(fd);
	machine_stop(&machine);
}

/* Asks with our own client; *picture is mapped by the caller. */
static json_t *shoot(int fd, const char *request, int *picture)
{
	char *line;

	g_assert_cmpint(vtr_control_call(fd, request, 10000, &line, picture), ==, 0);
	json_t *reply = json_loads(line, 0, NULL);
	free(line);
	g_assert_nonnull(reply);
	return reply;
}

static void test_screenshot(void)
{
	struct machine machine;
	uint32_t pixels[WIDTH * HEIGHT];
	int picture;

	machine_start(&machine, NULL, true);
	int fd = dial(&machine);
	assert_code(ask(fd, "{\"command\":\"version\"}"), "ok");
	unsigned before = count_fds();
	for (int round = 0; round < 3; round++) {
		json_t *reply = shoot(fd, "{\"command\":\"screenshot\"}", &picture);

		g_assert_cmpint(json_integer_value(json_object_get(reply, "width")), ==, WIDTH);
		g_assert_cmpint(json_integer_value(json_object_get(reply, "stride")), ==, STRIDE);
		g_assert_cmpint(json_integer_value(json_object_get(reply, "frames")), ==, 1);
		g_assert_true(json_is_true(json_object_get(reply, "enabled")));
		g_assert_cmpint(fcntl(picture, F_GET_SEALS) & F_SEAL_WRITE, !=, 0);
		g_assert_cmpint(pread(picture, pixels, sizeof(pixels), 0), ==, sizeof(pixels));
		for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
			g_assert_cmphex(pixels[i] & 0xffffff, ==, colour(i % WIDTH, i / WIDTH));
		json_decref(reply);
		close(picture);
	}
	/* nobody wants the fd */
	char *line;
	g_assert_cmpint(vtr_control_call(fd, "{\"command\":\"screenshot\"}", 10000, &line, NULL), ==, 0);
	free(line);
	assert_fds(before);
	close(fd);
	machine_stop(&machine);
}

/* "after": the picture of a frame that was not there before. */
static void test_screenshot_after(void)
{
	static const char request[] = "{\"command\":\"screenshot\",\"after\":1,\"timeout_ms\":5000}\n";
	struct machine machine;

	machine_start(&machine, NULL, true);
	int fd = dial(&machine);
	say(fd, request, sizeof(request) - 1);
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	g_assert_cmpint(poll(&pollfd, 1, 50), ==, 0);
	vtr_event_raise(machine.flush);
	json_t *reply = hear(fd);
	g_assert_cmpstr(code_of(reply), ==, "ok");
	g_assert_cmpint(json_integer_value(json_object_get(reply, "frames")), ==, 2);
	json_decref(reply);
	close(fd);
	machine_stop(&machine);
}

static void test_guest_shows_nothing(void)
{
	struct machine machine;
	int picture;

	machine_start(&machine, NULL, false);
	int fd = dial(&machine);
	json_t *reply = shoot(fd, "{\"command\":\"screenshot\"}", &picture);
	g_assert_cmpint(json_integer_value(json_object_get(reply, "width")), ==, 80);
	g_assert_true(json_is_false(json_object_get(reply, "enabled")));
	g_assert_cmpint(picture, >=, 0);
	close(picture);
	json_decref(reply);
	reply = ask(fd, "{\"command\":\"screenshot\",\"after\":0,\"timeout_ms\":20}");
	g_assert_cmpstr(code_of(reply), ==, "timeout");
	g_assert_nonnull(strstr(json_string_value(json_object_get(reply, "error")), "the guest shows nothing"));
	json_decref(reply);
	close(fd);
	machine_stop(&machine);
}

/* A display that never answers costs the client its time-out; one that hangs up meanwhile costs nothing. */
static void test_display_does_not_answer(void)
{
	struct machine machine;
	struct mute_display *mute = mute_display_create();

	machine_start(&machine, &mute->base, false);
	int fd = dial(&machine), gone = dial(&machine);
	json_t *reply = ask(fd, "{\"command\":\"screenshot\",\"timeout_ms\":20}");
	g_assert_cmpstr(code_of(reply), ==, "timeout");
	g_assert_nonnull(strstr(json_string_value(json_object_get(reply, "error")), "the display (mute) did not answer"));
	json_decref(reply);
	say(gone, "{\"command\":\"screenshot\"}\n", 25);
	mute_wait(mute, &mute->captures, 2);
	close(gone);
	assert_code(ask(fd, "{\"command\":\"version\"}"), "ok");
	/* Only so many wait for a display that holds them; those it has not seen when their time is up are not counted. */
	unsigned asked = 0;
	bool refused = false;
	while (!refused) {
		reply = ask(fd, "{\"command\":\"screenshot\",\"timeout_ms\":1}");
		refused = !strcmp(code_of(reply), "failed");
		json_decref(reply);
		g_assert_cmpuint(++asked, <, 1000);
	}
	g_assert_cmpuint(asked, >=, 30);
	close(fd);
	machine_stop(&machine);
}

static void test_destroy_while_waiting(void)
{
	static const char wait[] = "{\"command\":\"wait\",\"frames\":99}\n", shot[] = "{\"command\":\"screenshot\"}\n";
	struct machine machine;
	struct mute_display *mute = mute_display_create();

	machine_start(&machine, &mute->base, false);
	int waiting = dial(&machine), capturing = dial(&machine);
	say(waiting, wait, sizeof(wait) - 1);
	say(capturing, shot, sizeof(shot) - 1);
	mute_wait(mute, &mute->captures, 1);
	machine_stop(&machine);
	assert_gone(waiting);
	assert_gone(capturing);
}

static void test_quit(void)
{
	struct machine machine;

	machine_start(&machine, NULL, false);
	int fd = dial(&machine);
	assert_code(ask(fd, "{\"command\":\"quit\"}"), "ok");
	close(fd);
	machine_pause(&machine);
	g_assert_cmpuint(machine.quits, ==, 1);
	machine_stop(&machine);
}

static void test_socket(void)
{
	struct machine machine;
	struct stat info;
	struct vtr_control_subject subject = { 0 };
	struct vtr_loop *loop = vtr_loop_create();

	machine_start(&machine, NULL, false);
	g_assert_cmpint(stat(machine.path, &info), ==, 0);
	g_assert_cmpint(info.st_mode & 0777, ==, 0600);
	g_assert_null(vtr_control_create(loop, machine.path, &subject));
	g_assert_cmpint(errno, ==, EADDRINUSE);
	int fd = dial(&machine); /* and the first one did not suffer */
	assert_code(ask(fd, "{\"command\":\"version\"}"), "ok");
	close(fd);
	machine_stop(&machine);

	char *name = g_dir_make_tmp("vitrine-control-XXXXXX", NULL), *path = g_build_filename(name, "control", NULL);
	close(vtr_unix_listen(path)); /* stale */
	struct vtr_control *control = vtr_control_create(loop, path, &subject);
	g_assert_nonnull(control);
	vtr_control_destroy(control);
	vtr_control_destroy(NULL);
	g_assert_null(vtr_control_create(loop, "/nonexistent/control", &subject));
	g_assert_cmpint(errno, ==, ENOENT);
	vtr_loop_destroy(loop);
	g_rmdir(name);
	g_free(path);
	g_free(name);
}

/* ---- our client and servers that lie ---- */

static const struct server_row {
	const char *name, *reply;
	bool hang_up;
	int result;
} server_rows[] = {
	{ "good", "{}\n", false, 0 },
	{ "empty-line", "\n", false, 0 },
	{ "silent", "", false, -ETIMEDOUT },
	{ "half-line", "{", false, -ETIMEDOUT },
	{ "hangs-up", "", true, -ECONNRESET },
	{ "hangs-up-in-the-middle", "{", true, -ECONNRESET },
	{ "two-lines", "{}\n{}\n", false, -EPROTO },
	{ "more", "{}\n{", false, -EPROTO },
};

static void test_server(gconstpointer data)
{
	const struct server_row *row = data;
	int ends[2], fd;
	char *reply;

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	say(ends[1], row->reply, strlen(row->reply));
	if (row->hang_up)
		g_assert_cmpint(shutdown(ends[1], SHUT_WR), ==, 0);
	g_assert_cmpint(vtr_control_call(ends[0], "{}", 50, &reply, &fd), ==, row->result);
	g_assert_cmpint(fd, ==, -1);
	g_assert_true(row->result ? reply == NULL : strlen(reply) == strlen(row->reply) - 1);
	free(reply);
	close(ends[0]);
	close(ends[1]);
}

static void *babble(void *data)
{
	char piece[4096];

	memset(piece, 'x', sizeof(piece));
	while (send(*(int *)data, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

/* A reply that never ends. */
static void test_server_babbles(void)
{
	int ends[2];
	char *reply;
	pthread_t thread;

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	g_assert_cmpint(pthread_create(&thread, NULL, babble, &ends[1]), ==, 0);
	g_assert_cmpint(vtr_control_call(ends[0], "{}", 10000, &reply, NULL), ==, -EPROTO);
	close(ends[0]);
	pthread_join(thread, NULL);
	close(ends[1]);
}

/* A server that does not read. */
static void test_server_does_not_read(void)
{
	int ends[2];
	char *reply, *request = g_strnfill(4 << 20, 'x');

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	g_assert_cmpint(vtr_control_call(ends[0], request, 50, &reply, NULL), ==, -ETIMEDOUT);
	close(ends[0]);
	close(ends[1]);
	g_free(request);
}

/* More fds than were expected: one is kept, none leaks. */
static void test_server_sends_fds(void)
{
	static char line[] = "{}\n";
	int ends[2], fd;
	char *reply;
	struct iovec iov = { line, sizeof(line) - 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(200 * sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	unsigned before = count_fds();
	control.header =
		(struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(200 * sizeof(int)) };
	for (int i = 0; i < 200; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &ends[0], sizeof(int));
	g_assert_cmpint(sendmsg(ends[1], &message, MSG_NOSIGNAL), ==, sizeof(line) - 1);
	g_assert_cmpint(vtr_control_call(ends[0], "{}", 1000, &reply, &fd), ==, 0);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
	free(reply);
	close(fd);
	assert_fds(before);
	close(ends[0]);
	close(ends[1]);
}

static void add_rows(const char *prefix, const void *rows, size_t count, size_t size, GTestDataFunc func)
{
	for (size_t i = 0; i < count; i++) {
		const void *row = (const char *)rows + i * size;
		char *path = g_strconcat(prefix, *(const char *const *)row, NULL);

		g_test_add_data_func(path, row, func);
		g_free(path);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	vtr_log_set_level(VTR_LOG_WARN);
	add_rows("/control/request/", request_rows, G_N_ELEMENTS(request_rows), sizeof(request_rows[0]), test_request);
	add_rows("/control/nonsense/", nonsense_rows, G_N_ELEMENTS(nonsense_rows), sizeof(nonsense_rows[0]), test_nonsense);
	g_test_add_func("/control/nonsense/nested", test_nested);
	g_test_add_func("/control/nonsense/long-line", test_long_line);
	g_test_add_func("/control/client/pieces", test_pieces);
	g_test_add_func("/control/client/half-close", test_half_close);
	g_test_add_func("/control/client/order", test_order);
	g_test_add_func("/control/client/slow-reader", test_slow_reader);
	g_test_add_func("/control/client/many", test_many_clients);
	g_test_add_func("/control/client/fds-sent", test_fds_sent);
	g_test_add_func("/control/status", test_status);
	g_test_add_func("/control/screenshot/picture", test_screenshot);
	g_test_add_func("/control/screenshot/after", test_screenshot_after);
	g_test_add_func("/control/screenshot/nothing-shown", test_guest_shows_nothing);
	g_test_add_func("/control/screenshot/display-does-not-answer", test_display_does_not_answer);
	g_test_add_func("/control/destroy-while-waiting", test_destroy_while_waiting);
	g_test_add_func("/control/quit", test_quit);
	g_test_add_func("/control/socket", test_socket);
	add_rows("/control/server/", server_rows, G_N_ELEMENTS(server_rows), sizeof(server_rows[0]), test_server);
	g_test_add_func("/control/server/babbles", test_server_babbles);
	g_test_add_func("/control/server/does-not-read", test_server_does_not_read);
	g_test_add_func("/control/server/sends-fds", test_server_sends_fds);
	return g_test_run();
}
