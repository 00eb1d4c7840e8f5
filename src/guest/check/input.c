/* SPDX-License-Identifier: MIT */
/* Virtio-input: virtio 1.3, 5.8. Each check drives a device of its own; what happens to it is asked for at the control socket. */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/control.h>

#include "guest/check/check.h"
#include "guest/input.h"
#include "util/fd.h"

enum { QUIET_MS = 50, MAX_KIND = 128 };

/* ---- the device that a check is about ---- */

/* True with the device of this kind started. */
static bool open_input(struct vtr_check *check, struct vtr_guest_input *input, const char *kind, unsigned buffers)
{
	struct vtr_error error;

	if (vtr_guest_input_open(input, &check->guest->options, kind, &error))
		return vtr_check_fail(check, "opening the %s: %s", kind, error.text);
	if (vtr_guest_input_give(input, buffers, sizeof(struct virtio_input_event)))
		return vtr_check_fail(check, "giving buffers: %s", vtr_guest_error(input->guest));
	return true;
}

/* Like the vtr_expect functions, of the other guest. */
static bool succeeded(struct vtr_check *check, struct vtr_guest_input *input, const char *what, int result)
{
	return result ? vtr_check_fail(check, "%s: %s (%s)", what, strerror(-result), vtr_guest_error(input->guest)) : true;
}

/* One request at the control socket; *reply is the caller's to free. */
static bool ask(struct vtr_check *check, const char *request, char **reply)
{
	int socket = vtr_control_connect(check->guest->options.control);
	int result = socket < 0 ? socket : vtr_control_call(socket, request, check->guest->timeout_ms + 1000, reply, NULL);

	vtr_fd_close(&socket);
	return result ? vtr_check_fail(check, "asking %s: %s", request, strerror(-result)) : true;
}

static bool request(struct vtr_check *check, const char *text, const char *expected)
{
	char *reply = NULL;

	if (!ask(check, text, &reply))
		return false;
	bool passed = strstr(reply, expected);
	if (!passed)
		vtr_check_fail(check, "%s: expected %s, got %s", text, expected, reply);
	free(reply);
	return passed;
}

static bool expect_event(struct vtr_check *check, struct vtr_guest_input *input, const struct virtio_input_event *expected)
{
	struct virtio_input_event event;

	if (!succeeded(check, input, "an event", vtr_guest_input_next(input, &event, input->guest->timeout_ms)))
		return false;
	if (!memcmp(&event, expected, sizeof(event)))
		return true;
	return vtr_check_fail(check, "expected event %u %u %d, got %u %u %d", expected->type, expected->code,
	                      (int32_t)expected->value, event.type, event.code, (int32_t)event.value);
}

static bool expect_events(struct vtr_check *check, struct vtr_guest_input *input, const struct virtio_input_event *events,
                          size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!expect_event(check, input, &events[i]))
			return false;
	return true;
}

static bool expect_silence(struct vtr_check *check, struct vtr_guest_input *input)
{
	struct virtio_input_event event;

	if (vtr_guest_input_next(input, &event, QUIET_MS) == -ETIMEDOUT)
		return true;
	return vtr_check_fail(check, "expected nothing more, got event %u %u %d", event.type, event.code, (int32_t)event.value);
}

/* ---- what a device is ---- */

struct identity_row {
	const char *kind;
	uint32_t class_code;
	const char *name;
	uint8_t types[4]; /* of events that it has; 0 ends */
};

static bool identity(struct vtr_check *check, const void *row)
{
	const struct identity_row *r = row;
	struct vtr_guest_input input = { 0 };
	struct virtio_input_config config;
	bool passed = open_input(check, &input, r->kind, 0);

	if (passed) {
		const struct vtr_guest_function *function = vtr_guest_function_of(input.guest);

		passed = vtr_expect_value(check, "PCI device", function->device, 0x1040 + VIRTIO_ID_INPUT) &&
		         vtr_expect_value(check, "PCI class", function->class_code, r->class_code) &&
		         succeeded(check, &input, "the name",
		                   vtr_guest_input_config(&input, VIRTIO_INPUT_CFG_ID_NAME, 0, &config)) &&
		         vtr_expect_value(check, "bytes of the name", config.size, strlen(r->name)) &&
		         vtr_expect_value(check, "the name is another (memcmp)",
		                          (uint64_t)(memcmp(config.u.string, r->name, strlen(r->name)) != 0), 0);
	}
	for (uint32_t type = 1; passed && type < EV_CNT; type++) {
		bool wanted = memchr(r->types, (int)type, sizeof(r->types));

		passed = succeeded(check, &input, "event bits",
		                   vtr_guest_input_config(&input, VIRTIO_INPUT_CFG_EV_BITS, (uint8_t)type, &config)) &&
		         vtr_expect_value(check, "the device has events of a type", config.size != 0, wanted);
	}
	vtr_guest_input_close(&input);
	return passed;
}

/* Whatever is selected: the size fits, and what is behind it is 0. */
static bool selectors(struct vtr_check *check, const void *row)
{
	static const uint8_t subsels[] = { 0, 1, 3, 0x2f, 0x39, 0x7f, 0xff };
	struct vtr_guest_input input = { 0 };
	bool passed = open_input(check, &input, row, 0);

	for (unsigned select = 0; passed && select < 0x18; select++)
		for (size_t i = 0; passed && i < sizeof(subsels); i++) {
			struct virtio_input_config config;

			passed = succeeded(check, &input, "configuration",
			                   vtr_guest_input_config(&input, (uint8_t)select, subsels[i], &config)) &&
			         vtr_expect_value(check, "select", config.select, select) &&
			         vtr_expect_value(check, "subsel", config.subsel, subsels[i]);
			if (passed && config.size > sizeof(config.u))
				passed = vtr_check_fail(check, "a property of %u bytes", config.size);
			for (size_t at = config.size; passed && at < sizeof(config.u); at++)
				passed = vtr_expect_value(check, "a byte behind the property", (uint8_t)config.u.string[at], 0);
		}
	vtr_guest_input_close(&input);
	return passed;
}

/* ---- events ---- */

#define SYN                                                                                                                        \
	{                                                                                                                          \
		EV_SYN, SYN_REPORT, 0                                                                                              \
	}
#define KEY(code, value)                                                                                                           \
	{                                                                                                                          \
		EV_KEY, code, value                                                                                                \
	}
#define MAX_EVENTS 16

struct event_row {
	const char *kind, *request;
	size_t count;
	struct virtio_input_event events[MAX_EVENTS];
};

static bool events(struct vtr_check *check, const void *row)
{
	const struct event_row *r = row;
	struct vtr_guest_input input = { 0 };
	bool passed = open_input(check, &input, r->kind, VTR_GUEST_INPUT_BUFFERS) && request(check, r->request, "\"ok\":true") &&
	              expect_events(check, &input, r->events, r->count) && expect_silence(check, &input);

	vtr_guest_input_close(&input);
	return passed;
}

/* A driver that gives its buffers late: the request fails in its time, and the guest never sees a key that stays down. */
static bool late_buffers(struct vtr_check *check, const void *row)
{
	static const struct virtio_input_event after[] = { KEY(KEY_LEFTCTRL, 1), SYN, KEY(KEY_LEFTCTRL, 0), SYN };
	struct vtr_guest_input input = { 0 };
	bool passed =
		open_input(check, &input, "keyboard", 0) &&
		request(check, "{\"command\":\"key\",\"keys\":\"ctrl-a\",\"timeout_ms\":50,\"interval_ms\":0}", "\"timeout\"") &&
		succeeded(check, &input, "giving buffers",
	                  vtr_guest_input_give(&input, VTR_GUEST_INPUT_BUFFERS, sizeof(struct virtio_input_event))) &&
		expect_events(check, &input, after, VTR_CHECK_COUNT(after)) && expect_silence(check, &input);

	vtr_guest_input_close(&input);
	return passed;
}

/* Half of a packet's buffers: its end comes with the next ones. */
static bool few_buffers(struct vtr_check *check, const void *row)
{
	static const struct virtio_input_event press[] = { KEY(KEY_A, 1), SYN };
	struct vtr_guest_input input = { 0 };
	struct virtio_input_event event;
	bool passed = open_input(check, &input, "keyboard", 1) &&
	              request(check, "{\"command\":\"key\",\"keys\":\"a\",\"press\":true,\"timeout_ms\":50}", "\"timeout\"") &&
	              expect_events(check, &input, press, VTR_CHECK_COUNT(press)) &&
	              request(check, "{\"command\":\"key\",\"keys\":\"a\",\"release\":true,\"timeout_ms\":50}", "\"timeout\"") &&
	              succeeded(check, &input, "the release", vtr_guest_input_next(&input, &event, input.guest->timeout_ms)) &&
	              vtr_expect_value(check, "the release's code", event.code, KEY_A) &&
	              vtr_expect_value(check, "the release's value", event.value, 0);

	vtr_guest_input_close(&input);
	return passed;
}

/* A buffer that cannot hold an event breaks the queue; a reset heals it. */
static bool small_buffer(struct vtr_check *check, const void *row)
{
	static const struct virtio_input_event tap[] = { KEY(KEY_A, 1), SYN, KEY(KEY_A, 0), SYN };
	struct vtr_guest_input input = { 0 };
	char *reply = NULL;
	bool passed = open_input(check, &input, "keyboard", 0) &&
	              succeeded(check, &input, "giving a buffer", vtr_guest_input_give(&input, 1, 7)) &&
	              ask(check, "{\"command\":\"key\",\"keys\":\"b\",\"timeout_ms\":50,\"interval_ms\":0}", &reply);

	free(reply);
	if (passed) {
		uint8_t status = vtr_guest_status(input.guest);

		passed = vtr_expect_value(check, "DEVICE_NEEDS_RESET", status & VIRTIO_CONFIG_S_NEEDS_RESET,
		                          VIRTIO_CONFIG_S_NEEDS_RESET) &&
		         succeeded(check, &input, "starting again", vtr_guest_input_start(&input, VTR_GUEST_SYSTEM)) &&
		         succeeded(check, &input, "giving buffers",
		                   vtr_guest_input_give(&input, VTR_GUEST_INPUT_BUFFERS, sizeof(struct virtio_input_event))) &&
		         request(check, "{\"command\":\"key\",\"keys\":\"a\"}", "\"ok\":true") &&
		         expect_events(check, &input, tap, VTR_CHECK_COUNT(tap)) && expect_silence(check, &input);
	}
	vtr_guest_input_close(&input);
	return passed;
}

/* What is held when a driver starts is told to it: after a reset, and to the next VMM. */
static bool held(struct vtr_check *check, const void *row)
{
	static const struct virtio_input_event press[] = { KEY(KEY_LEFTSHIFT, 1), SYN }, release[] = { KEY(KEY_LEFTSHIFT, 0), SYN };
	struct vtr_guest_input input = { 0 };
	bool passed = open_input(check, &input, "keyboard", VTR_GUEST_INPUT_BUFFERS) &&
	              request(check, "{\"command\":\"key\",\"keys\":\"shift\",\"press\":true}", "\"ok\":true") &&
	              expect_events(check, &input, press, VTR_CHECK_COUNT(press)) &&
	              succeeded(check, &input, "starting again", vtr_guest_input_start(&input, VTR_GUEST_SYSTEM)) &&
	              succeeded(check, &input, "giving buffers",
	                        vtr_guest_input_give(&input, VTR_GUEST_INPUT_BUFFERS, sizeof(struct virtio_input_event))) &&
	              expect_events(check, &input, press, VTR_CHECK_COUNT(press));

	vtr_guest_input_close(&input);
	passed = passed && open_input(check, &input, "keyboard", VTR_GUEST_INPUT_BUFFERS) &&
	         expect_events(check, &input, press, VTR_CHECK_COUNT(press)) &&
	         request(check, "{\"command\":\"key\",\"keys\":\"shift\",\"release\":true}", "\"ok\":true") &&
	         expect_events(check, &input, release, VTR_CHECK_COUNT(release)) && expect_silence(check, &input);
	vtr_guest_input_close(&input);
	return passed;
}

/* A device that no driver uses is not asked for in vain. */
static bool not_used(struct vtr_check *check, const void *row)
{
	return request(check, "{\"command\":\"pointer\",\"actions\":\"1,1 tap\"}", "does not use the touch");
}

/* ---- status ---- */

static bool leds(struct vtr_check *check, const void *row)
{
	static const struct virtio_input_event caps_on = { EV_LED, LED_CAPSL, 1 }, num_on = { EV_LED, LED_NUML, 1 },
					       caps_off = { EV_LED, LED_CAPSL, 0 };
	struct vtr_guest_input input = { 0 };
	bool passed = open_input(check, &input, "keyboard", 0) &&
	              succeeded(check, &input, "caps lock on", vtr_guest_input_send(&input, &caps_on, sizeof(caps_on))) &&
	              request(check, "{\"command\":\"status\"}", "\"leds\":[\"caps\"]") &&
	              succeeded(check, &input, "num lock on", vtr_guest_input_send(&input, &num_on, sizeof(num_on))) &&
	              request(check, "{\"command\":\"status\"}", "\"leds\":[\"num\",\"caps\"]") &&
	              succeeded(check, &input, "caps lock off", vtr_guest_input_send(&input, &caps_off, sizeof(caps_off))) &&
	              request(check, "{\"command\":\"status\"}", "\"leds\":[\"num\"]") &&
	              succeeded(check, &input, "reset", vtr_guest_input_start(&input, VTR_GUEST_SYSTEM)) &&
	              request(check, "{\"command\":\"status\"}", "\"leds\":[]");

	vtr_guest_input_close(&input);
	return passed;
}

/* Statuses that mean nothing are taken and given back, whatever their size. */
static bool odd_statuses(struct vtr_check *check, const void *row)
{
	static const struct {
		struct virtio_input_event event;
		size_t size;
	} odd[] = {
		{ { EV_LED, LED_NUML, 1 }, 1 },    { { EV_LED, LED_NUML, 1 }, 7 },        { { EV_LED, 0xffff, 1 }, 8 },
		{ { EV_LED, LED_MUTE, 1 }, 8 },    { { 0xffff, 0xffff, UINT32_MAX }, 8 }, { { EV_SND, SND_BELL, 1 }, 8 },
		{ { EV_REP, REP_DELAY, 250 }, 8 }, { { EV_SYN, SYN_REPORT, 0 }, 8 },      { { EV_KEY, KEY_A, 1 }, 4096 },
	};
	struct vtr_guest_input input = { 0 };
	bool passed = open_input(check, &input, row, 0);

	for (size_t i = 0; passed && i < VTR_CHECK_COUNT(odd); i++)
		passed = succeeded(check, &input, "a status", vtr_guest_input_send(&input, &odd[i].event, odd[i].size));
	passed = passed && vtr_expect_value(check, "device status", vtr_guest_status(input.guest), 0x0f);
	vtr_guest_input_close(&input);
	return passed;
}

/* Rings and buffers in memory without an fd: the device writes them by request, while the driver waits. */
static bool remote_rings(struct vtr_check *check, const void *row)
{
	static const struct virtio_input_event press[] = { KEY(KEY_LEFTSHIFT, 1), SYN };
	struct vtr_guest_input input = { 0 };
	bool passed = open_input(check, &input, "keyboard", VTR_GUEST_INPUT_BUFFERS) &&
	              request(check, "{\"command\":\"key\",\"keys\":\"shift\",\"press\":true}", "\"ok\":true") &&
	              succeeded(check, &input, "starting again", vtr_guest_input_start(&input, VTR_GUEST_REMOTE)) &&
	              succeeded(check, &input, "giving buffers",
	                        vtr_guest_input_give(&input, VTR_GUEST_INPUT_BUFFERS, sizeof(struct virtio_input_event))) &&
	              expect_events(check, &input, press, VTR_CHECK_COUNT(press));

	vtr_guest_input_close(&input);
	passed &= open_input(check, &input, "keyboard", VTR_GUEST_INPUT_BUFFERS) &&
	          request(check, "{\"command\":\"key\",\"keys\":\"shift\",\"release\":true}", "\"ok\":true");
	vtr_guest_input_close(&input);
	return passed;
}

/* ---- rows ---- */

static const struct identity_row keyboard = { "keyboard", 0x090000, "Vitrine Keyboard", { EV_KEY, EV_LED, EV_REP } },
				 tablet = { "tablet", 0x098000, "Vitrine Tablet", { EV_KEY, EV_REL, EV_ABS } },
				 mouse = { "mouse", 0x090200, "Vitrine Mouse", { EV_KEY, EV_REL } },
				 touch = { "touch", 0x098000, "Vitrine Touchscreen", { EV_KEY, EV_ABS } };

static const struct event_row key_events = { "keyboard",
	                                     "{\"command\":\"key\",\"keys\":\"ctrl-alt-f2\",\"interval_ms\":0}",
	                                     12,
	                                     { KEY(KEY_LEFTCTRL, 1), SYN, KEY(KEY_LEFTALT, 1), SYN, KEY(KEY_F2, 1), SYN,
	                                       KEY(KEY_F2, 0), SYN, KEY(KEY_LEFTALT, 0), SYN, KEY(KEY_LEFTCTRL, 0), SYN } };
static const struct event_row type_events = { "keyboard",
	                                      "{\"command\":\"type\",\"text\":\"A\\n\"}",
	                                      12,
	                                      { KEY(KEY_LEFTSHIFT, 1), SYN, KEY(KEY_A, 1), SYN, KEY(KEY_A, 0), SYN,
	                                        KEY(KEY_LEFTSHIFT, 0), SYN, KEY(KEY_ENTER, 1), SYN, KEY(KEY_ENTER, 0), SYN } };
static const struct event_row click_events = { "tablet",
	                                       "{\"command\":\"pointer\",\"actions\":\"click:right wheel:1 hwheel:-0.5\"}",
	                                       9,
	                                       { KEY(BTN_RIGHT, 1),
	                                         SYN,
	                                         KEY(BTN_RIGHT, 0),
	                                         SYN,
	                                         { EV_REL, REL_WHEEL_HI_RES, 120 },
	                                         { EV_REL, REL_WHEEL, 1 },
	                                         SYN,
	                                         { EV_REL, REL_HWHEEL_HI_RES, (uint32_t)-60 },
	                                         SYN } };
static const struct event_row motion_events = { "mouse",
	                                        "{\"command\":\"pointer\",\"actions\":\"by:12,-34 double\"}",
	                                        11,
	                                        { { EV_REL, REL_X, 12 },
	                                          { EV_REL, REL_Y, (uint32_t)-34 },
	                                          SYN,
	                                          KEY(BTN_LEFT, 1),
	                                          SYN,
	                                          KEY(BTN_LEFT, 0),
	                                          SYN,
	                                          KEY(BTN_LEFT, 1),
	                                          SYN,
	                                          KEY(BTN_LEFT, 0),
	                                          SYN } };

static const struct vtr_check_case cases[] = {
	{ "identity-keyboard", identity, &keyboard },
	{ "identity-tablet", identity, &tablet },
	{ "identity-mouse", identity, &mouse },
	{ "identity-touch", identity, &touch },
	{ "selectors-keyboard", selectors, "keyboard" },
	{ "selectors-touch", selectors, "touch" },
	{ "key", events, &key_events, .pictures = true },
	{ "type", events, &type_events, .pictures = true },
	{ "click", events, &click_events, .pictures = true },
	{ "motion", events, &motion_events, .pictures = true },
	{ "late-buffers", late_buffers, .pictures = true },
	{ "few-buffers", few_buffers, .pictures = true },
	{ "small-buffer", small_buffer, .pictures = true },
	{ "held", held, .pictures = true },
	{ "remote-rings", remote_rings, .pictures = true, .links = VTR_ON_VFIO_USER },
	{ "not-used", not_used, .pictures = true },
	{ "leds", leds, .pictures = true },
	{ "odd-statuses-keyboard", odd_statuses, "keyboard" },
	{ "odd-statuses-mouse", odd_statuses, "mouse" },
};

const struct vtr_check_family vtr_check_input = { "input", cases, VTR_CHECK_COUNT(cases), .input = true };
