/* SPDX-License-Identifier: MIT */
/*
 * Prints what the input devices send, as a guest's driver gets it: a line for each event. All devices are waited for at once, so
 * that the lines stand in the order in which the events came.
 */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/input.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "guest/input.h"

enum { STDIN = VTR_INPUT_KINDS, SOURCES, NS_PER_MS = 1000000, MS_PER_S = 1000 };

struct listener {
	struct vtr_guest_input devices[VTR_INPUT_KINDS];
	bool wanted[VTR_INPUT_KINDS];
	FILE *out;
};

/* "keyboard,mouse"; NULL: all. */
static bool choose(struct listener *listener, const char *names)
{
	for (size_t length; names && *names; names += length + (names[length] == ',')) {
		unsigned kind = 0;

		length = strcspn(names, ",");
		while (kind < VTR_INPUT_KINDS &&
		       (strlen(vtr_input_kind_name(kind)) != length || strncmp(vtr_input_kind_name(kind), names, length) != 0))
			kind++;
		if (kind == VTR_INPUT_KINDS)
			return false;
		listener->wanted[kind] = true;
	}
	for (unsigned kind = 0; !names && kind < VTR_INPUT_KINDS; kind++)
		listener->wanted[kind] = true;
	return true;
}

static bool open_device(struct listener *listener, const struct vtr_guest_options *options, unsigned kind)
{
	struct vtr_guest_input *device = &listener->devices[kind];
	struct vtr_error error;

	if (vtr_guest_input_open(device, options, vtr_input_kind_name(kind), &error)) {
		vtr_log(VTR_LOG_ERROR, "%s", error.text);
		return false;
	}
	if (!vtr_guest_input_give(device, VTR_GUEST_INPUT_BUFFERS, sizeof(struct virtio_input_event)))
		return true;
	vtr_log(VTR_LOG_ERROR, "%s: %s", vtr_input_kind_name(kind), vtr_guest_error(device->guest));
	return false;
}

static const char *type_name(uint16_t type)
{
	static const char *const names[] = { [EV_SYN] = "EV_SYN", [EV_KEY] = "EV_KEY", [EV_REL] = "EV_REL",
		                             [EV_ABS] = "EV_ABS", [EV_LED] = "EV_LED", [EV_REP] = "EV_REP" };

	return type < sizeof(names) / sizeof(names[0]) && names[type] ? names[type] : "EV_?";
}

/* All that has come. False when the device is gone. */
static bool print_events(struct listener *listener, unsigned kind)
{
	struct vtr_guest_input *device = &listener->devices[kind];
	struct virtio_input_event event;
	int result = vtr_guest_wait_event(device->guest, device->guest->queues[VTR_GUEST_CONTROL].eventfd, 1);

	while ((!result || result == -ETIMEDOUT) && !(result = vtr_guest_input_next(device, &event, 0)))
		fprintf(listener->out, "%s %s %u %d\n", vtr_input_kind_name(kind), type_name(event.type), event.code,
		        (int32_t)event.value);
	fflush(listener->out);
	if (result == -ETIMEDOUT)
		return true;
	vtr_log(VTR_LOG_ERROR, "%s: %s", vtr_input_kind_name(kind), vtr_guest_error(device->guest));
	return false;
}

/* True as long as nobody closed standard input. */
static bool drain_input(void)
{
	char bytes[256];

	return read(STDIN_FILENO, bytes, sizeof(bytes)) > 0;
}

/* Interrupts, and connections that break. */
static int fill_sources(const struct listener *listener, struct pollfd sources[2 * SOURCES])
{
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++) {
		const struct vtr_guest *guest = listener->wanted[kind] ? listener->devices[kind].guest : NULL;

		sources[2 * kind] = (struct pollfd){ guest ? guest->queues[VTR_GUEST_CONTROL].eventfd : -1, POLLIN, 0 };
		sources[2 * kind + 1] = (struct pollfd){ guest ? guest->link->impl->socket(guest->link) : -1, POLLIN, 0 };
	}
	sources[2 * STDIN] = (struct pollfd){ STDIN_FILENO, POLLIN, 0 };
	return 2 * STDIN + 1;
}

static int listen_until(struct listener *listener, uint64_t deadline_ns)
{
	struct pollfd sources[2 * SOURCES];

	for (uint64_t now = vtr_now_ns(); !deadline_ns || now < deadline_ns; now = vtr_now_ns()) {
		int count = fill_sources(listener, sources);
		int timeout = deadline_ns ? (int)((deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS) : -1;

		if (poll(sources, (nfds_t)count, timeout) < 0 && errno != EINTR)
			return VTR_GUEST_FAILED;
		for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++)
			if ((sources[2 * kind].revents || sources[2 * kind + 1].revents) && !print_events(listener, kind))
				return VTR_GUEST_GONE;
		if (sources[2 * STDIN].revents && !drain_input())
			return VTR_GUEST_OK;
	}
	return VTR_GUEST_OK;
}

int vtr_guest_events(const struct vtr_guest_options *options, const struct vtr_guest_events *events, FILE *out)
{
	struct listener listener = { .out = out };
	int code = VTR_GUEST_OK;

	if (!options->input || !choose(&listener, events->devices)) {
		vtr_log(VTR_LOG_ERROR, options->input
		                               ? "the devices are keyboard, tablet, mouse and touch, with commas between them"
		                               : "which devices? give the beginning of their sockets with --input PATH");
		return VTR_GUEST_USAGE;
	}
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS && code == VTR_GUEST_OK; kind++)
		if (listener.wanted[kind] && !open_device(&listener, options, kind))
			code = VTR_GUEST_GONE;
	if (code == VTR_GUEST_OK)
		code = listen_until(&listener,
		                    events->seconds ? vtr_now_ns() + (uint64_t)events->seconds * MS_PER_S * NS_PER_MS : 0);
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++)
		vtr_guest_input_close(&listener.devices[kind]);
	return code;
}
