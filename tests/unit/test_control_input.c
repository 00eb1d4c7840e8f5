/* SPDX-License-Identifier: MIT */
/* key, type and pointer over a control socket: what the guest gets, when the answer comes, and what is left when a client goes. */
#include <errno.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <unistd.h>

#include <vitrine/control.h>
#include <vitrine/gpu.h>

#include "input_driver.h"
#include "mute_display.h"
#include "rows.h"

struct machine {
	char *directory, *path;
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct mute_display *display;
	struct vtr_outputs *outputs;
	struct vtr_gpu *gpu;
	struct vtr_input *input;
	struct input_driver drivers[VTR_INPUT_KINDS];
	struct vtr_control *control;
};

static void set_up(struct machine *m, bool with_input)
{
	const struct vtr_mode mode = { 16384, 16384, 0 };
	struct vtr_control_subject subject = { 0 };

	*m = (struct machine){ .directory = g_dir_make_tmp("control-input-XXXXXX", NULL), .loop = vtr_loop_create() };
	m->path = g_build_filename(m->directory, "control", NULL);
	m->memory = vtr_memory_create();
	m->display = mute_display_create();
	m->outputs = vtr_outputs_create();
	g_assert_nonnull(vtr_outputs_add(m->outputs, &m->display->base, &mode, NULL));
	m->gpu = vtr_gpu_create(m->loop, m->memory, m->outputs, &(struct vtr_gpu_options){ 0 });
	subject = (struct vtr_control_subject){ .gpu = m->gpu, .memory = m->memory, .outputs = m->outputs };
	if (with_input) {
		m->input = vtr_input_create(m->loop, m->outputs);
		for (unsigned i = 0; i < VTR_INPUT_KINDS; i++)
			driver_init(&m->drivers[i], m->input, i, m->loop);
		subject.input = m->input;
	}
	m->control = vtr_control_create(m->loop, m->path, &subject);
	g_assert_nonnull(m->control);
}

static void tear_down(struct machine *m)
{
	vtr_control_destroy(m->control);
	for (unsigned i = 0; m->input && i < VTR_INPUT_KINDS; i++)
		driver_finish(&m->drivers[i]);
	vtr_gpu_destroy(m->gpu);
	vtr_memory_destroy(m->memory);
	vtr_display_destroy(&m->display->base);
	vtr_outputs_destroy(m->outputs);
	vtr_input_destroy(m->input);
	vtr_loop_destroy(m->loop);
	g_rmdir(m->directory);
	g_free(m->directory);
	g_free(m->path);
}

static struct input_driver *start(struct machine *m, enum vtr_input_kind kind, unsigned buffers)
{
	driver_start(&m->drivers[kind]);
	driver_give(&m->drivers[kind], buffers, sizeof(struct virtio_input_event));
	driver_dispatch(&m->drivers[kind]);
	return &m->drivers[kind];
}

/* ---- a client on a thread of its own ---- */

struct caller {
	pthread_t thread;
	int socket;
	const char *request;
	char *reply;
	int error;
};

static void *call(void *data)
{
	struct caller *caller = data;

	caller->error = vtr_control_call(caller->socket, caller->request, 20000, &caller->reply, NULL);
	return NULL;
}

static void caller_start(struct caller *caller, struct machine *m, const char *request)
{
	*caller = (struct caller){ .socket = vtr_control_connect(m->path), .request = request };
	g_assert_cmpint(caller->socket, >=, 0);
	g_assert_cmpint(pthread_create(&caller->thread, NULL, call, caller), ==, 0);
}

/* Runs the device until the client has its answer; the drivers get their buffers back as they are used, and what they read is
 * appended to events (may be NULL). */
static json_t *caller_wait(struct caller *caller, struct machine *m, GString *events)
{
	json_t *reply;

	while (pthread_tryjoin_np(caller->thread, NULL)) {
		vtr_loop_dispatch(m->loop, 1);
		for (unsigned i = 0; i < VTR_INPUT_KINDS && events; i++) {
			if (!m->drivers[i].given)
				continue;
			g_autofree char *read = driver_read(&m->drivers[i], true);
			g_string_append_printf(events, "%s%s", *read && events->len ? " " : "", read);
		}
	}
	close(caller->socket);
	g_assert_cmpint(caller->error, ==, 0);
	reply = json_loads(caller->reply, 0, NULL);
	g_assert_nonnull(reply);
	free(caller->reply);
	return reply;
}

static json_t *ask(struct machine *m, const char *request, GString *events)
{
	struct caller caller;

	caller_start(&caller, m, request);
	return caller_wait(&caller, m, events);
}

static const char *code_of(const json_t *reply)
{
	return json_is_true(json_object_get(reply, "ok")) ? "ok" : json_string_value(json_object_get(reply, "code"));
}

/* ---- requests ---- */

static const struct request_row {
	const char *name, *request, *code, *events;
} request_rows[] = {
	{ "key", "{'command':'key','keys':'ctrl-a','interval_ms':0}", "ok", "k29+ | k30+ | k30- | k29- |" },
	{ "press", "{'command':'key','keys':'shift','press':true}", "ok", "k42+ |" },
	{ "release", "{'command':'key','keys':'shift','release':true}", "ok", "" },
	{ "type", "{'command':'type','text':'a\\tB','interval_ms':1}", "ok",
	  "k30+ | k30- | k15+ | k15- | k42+ | k48+ | k48- | k42- |" },
	{ "type-nothing", "{'command':'type','text':''}", "ok", "" },
	{ "pointer", "{'command':'pointer','actions':'100,50 click'}", "ok", "x201 y101 | k272+ | k272- |" },
	{ "wheel", "{'command':'pointer','actions':'wheel:-1.5'}", "ok", "W-120 w-1 | W-60 |" },
	{ "by", "{'command':'pointer','actions':'by:5,-6 press release'}", "ok", "dx5 dy-6 | k272+ | k272- |" },
	{ "tap", "{'command':'pointer','actions':'1,2 tap'}", "ok", "slot0 id0 tx3 ty5 x3 y5 k330+ | slot0 id-1 k330- |" },
	{ "both", "{'command':'key','keys':'a','press':true,'release':true}", "invalid", "" },
	{ "no-keys", "{'command':'key'}", "invalid", "" },
	{ "keys-number", "{'command':'key','keys':7}", "invalid", "" },
	{ "press-number", "{'command':'key','keys':'a','press':1}", "invalid", "" },
	{ "unknown-key", "{'command':'key','keys':'a ctrl-foo'}", "invalid", "" },
	{ "unknown-character", "{'command':'type','text':'a\\u00e9'}", "invalid", "" },
	{ "unknown-word", "{'command':'pointer','actions':'100,50 jump'}", "invalid", "" },
	{ "outside", "{'command':'pointer','actions':'0,0 16384,0 click'}", "invalid", "" },
	{ "no-output", "{'command':'pointer','actions':'0,0','output':1}", "invalid", "" },
	{ "far-output", "{'command':'pointer','actions':'0,0','output':16}", "invalid", "" },
	{ "interval", "{'command':'key','keys':'a','interval_ms':10001}", "invalid", "" },
	{ "text-of-key", "{'command':'key','keys':'a','text':'b'}", "invalid", "" },
};

static char *with_quotes(const char *request)
{
	char *copy = g_strdup(request);

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	return copy;
}

static void test_request(const void *data)
{
	const struct request_row *row = data;
	g_autofree char *request = with_quotes(row->request);
	g_autoptr(GString) events = g_string_new(NULL);
	struct machine m;

	set_up(&m, true);
	for (unsigned i = 0; i < VTR_INPUT_KINDS; i++)
		start(&m, i, DRIVER_SIZE);
	json_t *reply = ask(&m, request, events);
	g_assert_cmpstr(code_of(reply), ==, row->code);
	g_assert_cmpstr(events->str, ==, row->events);
	json_decref(reply);
	tear_down(&m);
}

/* Nobody there to do it. */
static void test_no_input(void)
{
	struct machine m;

	set_up(&m, false);
	json_t *reply = ask(&m, "{\"command\":\"key\",\"keys\":\"a\"}", NULL);
	g_assert_cmpstr(code_of(reply), ==, "failed");
	json_decref(reply);
	tear_down(&m);
}

static void test_no_driver(void)
{
	struct machine m;

	set_up(&m, true);
	json_t *reply = ask(&m, "{\"command\":\"key\",\"keys\":\"a\"}", NULL);
	g_assert_cmpstr(code_of(reply), ==, "failed");
	json_decref(reply);
	start(&m, VTR_INPUT_MOUSE, DRIVER_SIZE); /* buttons need some pointer, places the tablet */
	reply = ask(&m, "{\"command\":\"pointer\",\"actions\":\"click\"}", NULL);
	g_assert_cmpstr(code_of(reply), ==, "ok");
	json_decref(reply);
	reply = ask(&m, "{\"command\":\"pointer\",\"actions\":\"1,1\"}", NULL);
	g_assert_cmpstr(code_of(reply), ==, "failed");
	json_decref(reply);
	tear_down(&m);
}

/* A long text through a guest with four buffers: no character is lost. */
static void test_long_text(void)
{
	g_autoptr(GString) request = g_string_new("{\"command\":\"type\",\"interval_ms\":0,\"text\":\"");
	g_autoptr(GString) events = g_string_new(NULL), expected = g_string_new(NULL);
	struct machine m;

	for (int i = 0; i < 1000; i++) {
		g_string_append_c(request, "ab"[i % 2]);
		g_string_append_printf(expected, "%s%s", i ? " " : "", i % 2 ? "k48+ | k48- |" : "k30+ | k30- |");
	}
	g_string_append(request, "\"}");
	set_up(&m, true);
	start(&m, VTR_INPUT_KEYBOARD, 4);
	json_t *reply = ask(&m, request->str, events);
	g_assert_cmpstr(code_of(reply), ==, "ok");
	g_assert_cmpint(json_integer_value(json_object_get(reply, "steps")), ==, 2000);
	g_assert_cmpstr(events->str, ==, expected->str);
	json_decref(reply);
	tear_down(&m);
}

/* A guest that takes nothing: the request fails in its time, and what was pressed is released. */
static void test_stuck_guest(void)
{
	g_autoptr(GString) events = g_string_new(NULL);
	struct vtr_input_status status;
	struct machine m;

	set_up(&m, true);
	start(&m, VTR_INPUT_KEYBOARD, 0);
	json_t *reply = ask(&m, "{\"command\":\"key\",\"keys\":\"ctrl-alt-f2\",\"timeout_ms\":50,\"interval_ms\":0}", NULL);
	g_assert_cmpstr(code_of(reply), ==, "timeout");
	json_decref(reply);
	vtr_input_status(m.input, VTR_INPUT_KEYBOARD, &status);
	g_assert_cmpuint(status.held, ==, 0);
	driver_give(&m.drivers[VTR_INPUT_KEYBOARD], DRIVER_SIZE, sizeof(struct virtio_input_event));
	g_autofree char *late = driver_read(&m.drivers[VTR_INPUT_KEYBOARD], true);
	g_assert_cmpstr(late, ==, "k29+ | k29- |");
	reply = ask(&m, "{\"command\":\"key\",\"keys\":\"a\"}", events); /* and the next one is served */
	g_assert_cmpstr(code_of(reply), ==, "ok");
	g_assert_cmpstr(events->str, ==, "k30+ | k30- |");
	json_decref(reply);
	tear_down(&m);
}

static void dispatch_for(struct machine *m, int ms)
{
	uint64_t end = vtr_now_ns() + (uint64_t)ms * 1000000;

	while (vtr_now_ns() < end)
		vtr_loop_dispatch(m->loop, 1);
}

/* The client hangs up with a button down. */
static void test_client_leaves(void)
{
	static const char request[] = "{\"command\":\"pointer\",\"actions\":\"press wheel:1000 release\",\"interval_ms\":5}\n";
	struct vtr_input_status status;
	struct machine m;

	set_up(&m, true);
	start(&m, VTR_INPUT_TABLET, DRIVER_SIZE);
	int socket = vtr_control_connect(m.path);
	g_assert_cmpint(write(socket, request, sizeof(request) - 1), ==, sizeof(request) - 1);
	do {
		dispatch_for(&m, 1);
		vtr_input_status(m.input, VTR_INPUT_TABLET, &status);
	} while (!status.held);
	close(socket);
	do {
		dispatch_for(&m, 1);
		vtr_input_status(m.input, VTR_INPUT_TABLET, &status);
	} while (status.held);
	tear_down(&m);
}

/* Two clients at a time: one after the other, not mixed. */
static void test_turns(void)
{
	g_autoptr(GString) events = g_string_new(NULL);
	struct caller callers[2];
	struct machine m;

	set_up(&m, true);
	start(&m, VTR_INPUT_KEYBOARD, DRIVER_SIZE);
	caller_start(&callers[0], &m, "{\"command\":\"type\",\"text\":\"AAAA\",\"interval_ms\":2}");
	caller_start(&callers[1], &m, "{\"command\":\"type\",\"text\":\"BBBB\",\"interval_ms\":2}");
	for (int i = 0; i < 2; i++) {
		json_t *reply = caller_wait(&callers[i], &m, events);

		g_assert_cmpstr(code_of(reply), ==, "ok");
		json_decref(reply);
	}
	const char *last_a = g_strrstr(events->str, "k30"), *last_b = g_strrstr(events->str, "k48");
	g_assert_true(last_a < strstr(events->str, "k48") || last_b < strstr(events->str, "k30"));
	tear_down(&m);
}

/* The driver goes in the middle. */
static void test_driver_leaves(void)
{
	struct caller caller;
	struct machine m;

	set_up(&m, true);
	start(&m, VTR_INPUT_KEYBOARD, DRIVER_SIZE);
	caller_start(&caller, &m, "{\"command\":\"type\",\"text\":\"abcdefgh\",\"interval_ms\":20}");
	dispatch_for(&m, 60);
	vtr_virtio_reset(m.drivers[VTR_INPUT_KEYBOARD].device);
	json_t *reply = caller_wait(&caller, &m, NULL);
	g_assert_cmpstr(code_of(reply), ==, "failed");
	json_decref(reply);
	tear_down(&m);
}

static void test_status(void)
{
	struct machine m;

	set_up(&m, true);
	struct input_driver *driver = start(&m, VTR_INPUT_KEYBOARD, DRIVER_SIZE);
	driver_send(driver, 0, EV_LED, LED_CAPSL, 1, 8);
	vtr_input_key(m.input, KEY_A, true);
	json_t *reply = ask(&m, "{\"command\":\"status\"}", NULL);
	const json_t *input = json_object_get(reply, "input"), *keyboard = json_array_get(json_object_get(input, "devices"), 0);
	g_assert_cmpuint(json_array_size(json_object_get(input, "devices")), ==, VTR_INPUT_KINDS);
	g_assert_cmpstr(json_string_value(json_object_get(keyboard, "kind")), ==, "keyboard");
	g_assert_true(json_is_true(json_object_get(keyboard, "used")));
	g_assert_cmpint(json_integer_value(json_object_get(keyboard, "held")), ==, 1);
	g_assert_true(json_is_false(json_object_get(json_array_get(json_object_get(input, "devices"), 1), "used")));
	g_assert_cmpuint(json_array_size(json_object_get(input, "leds")), ==, 1);
	g_assert_cmpstr(json_string_value(json_array_get(json_object_get(input, "leds"), 0)), ==, "caps");
	json_decref(reply);
	tear_down(&m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/control-input/request/", request_rows, test_request);
	g_test_add_func("/control-input/no-input", test_no_input);
	g_test_add_func("/control-input/no-driver", test_no_driver);
	g_test_add_func("/control-input/long-text", test_long_text);
	g_test_add_func("/control-input/stuck-guest", test_stuck_guest);
	g_test_add_func("/control-input/client-leaves", test_client_leaves);
	g_test_add_func("/control-input/turns", test_turns);
	g_test_add_func("/control-input/driver-leaves", test_driver_leaves);
	g_test_add_func("/control-input/status", test_status);
	return g_test_run();
}
