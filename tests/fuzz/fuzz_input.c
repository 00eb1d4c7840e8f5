/* SPDX-License-Identifier: MIT */
/*
 * Input devices between a display that does anything and a driver that does anything: configuration, buffers of any size, statuses,
 * resets, memory that goes. What arrives has to make sense: keys go down and up in turns, slots are what they say, and when all is
 * released, and the driver takes its events, nothing is down.
 *
 * An input is a sequence of commands: one byte, modulo COMMANDS, and its arguments. seed_input.py writes inputs in this form.
 */
#include <stdio.h>
#include <stdlib.h>

#include <vitrine/log.h>

#include "input/script.h"
#include "input_driver.h"

enum { MAX_COMMANDS = 4096, MAX_WORDS = 200 };

enum command {
	START,   /* u8 kind */
	GIVE,    /* u8 kind, u8 count, u8 size: of buffers */
	TAKE,    /* u8 kind, u8 count */
	CONFIG,  /* u8 kind, u8 select, u8 subsel, u8 offset, u8 length */
	STATUS,  /* u8 kind, u16 type, u16 code, u8 value, u8 size */
	KEY,     /* u16 code, u8 pressed */
	BUTTON,  /* u8 button, u8 pressed */
	MOVE,    /* u8 output, u16 x, u16 y */
	MOVE_BY, /* i8 x, i8 y */
	WHEEL,   /* i8 x, i8 y, in 15 units */
	TOUCH,   /* u8 finger, u8 output, u16 x, u16 y */
	LIFT,    /* u8 finger */
	FRAME,
	RELEASE,
	DISPATCH,
	QUEUE_RESET, /* u8 kind */
	REMOVE,      /* u8 kind: its memory */
	ADD,         /* u8 kind */
	WORDS,       /* u8 what, u8 length, bytes: a script, performed */
	COMMANDS,
};

struct bytes {
	const uint8_t *data;
	size_t left;
};

/* What a guest knows after the events it has read. */
struct known {
	bool down[KEY_CNT];
	int32_t slot, contacts[VTR_INPUT_CONTACTS];
	bool lost; /* the driver did not give or take as it should: nothing more is known */
};

static struct {
	struct vtr_loop *loop;
	struct vtr_display *display;
	struct vtr_outputs *outputs; /* two screens beside each other */
	struct vtr_input *input;
	struct input_driver drivers[VTR_INPUT_KINDS];
	struct known known[VTR_INPUT_KINDS];
} machine;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static uint8_t take8(struct bytes *bytes)
{
	if (!bytes->left)
		return 0;
	bytes->left--;
	return *bytes->data++;
}

static uint16_t take16(struct bytes *bytes)
{
	const uint16_t low = take8(bytes);

	return (uint16_t)(low | take8(bytes) << 8);
}

static bool is_live(const struct input_driver *driver)
{
	return (driver->device->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) == VIRTIO_CONFIG_S_DRIVER_OK;
}

/* ---- the driver ---- */

static void start(unsigned kind)
{
	struct input_driver *driver = &machine.drivers[kind];

	vtr_virtio_reset(driver->device);
	driver_start(driver);
	machine.known[kind] = (struct known){ 0 };
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		machine.known[kind].contacts[i] = -1;
}

static void give(unsigned kind, unsigned count, uint32_t size)
{
	struct input_driver *driver = &machine.drivers[kind];

	/* no more than there are: one that comes twice would be written twice */
	while (count-- && driver->eventq.ram && (uint16_t)(driver->given - driver->eventq.used_seen) < DRIVER_SIZE)
		driver_give(driver, 1, size);
}

static void know(struct known *known, const struct virtio_input_event *event)
{
	if (event->type == EV_KEY) {
		check(event->code < KEY_CNT && event->value <= 1, "a key that is none");
		check(known->down[event->code] == !event->value, "a key goes the way it went last");
		known->down[event->code] = event->value;
	} else if (event->type == EV_ABS && event->code == ABS_MT_SLOT) {
		known->slot = (int32_t)event->value;
		check(known->slot >= 0 && known->slot < VTR_INPUT_CONTACTS, "a slot that is none");
	} else if (event->type == EV_ABS && event->code == ABS_MT_TRACKING_ID) {
		int32_t *contact = &known->contacts[known->slot];

		check((*contact < 0) != ((int32_t)event->value < 0), "a finger comes twice, or goes twice");
		*contact = (int32_t)event->value;
	} else if (event->type == EV_ABS) {
		check((int32_t)event->value >= 0 && event->value <= VTR_INPUT_ABS_MAX, "a position off its axis");
	} else {
		check(event->type == EV_REL || (event->type == EV_SYN && event->code == SYN_REPORT), "an event of no type");
	}
}

static bool take(unsigned kind)
{
	struct input_driver *driver = &machine.drivers[kind];
	struct virtio_input_event event;
	struct vring_used_elem used;

	if (!driver->eventq.ram || !vring_take_used(&driver->eventq, &used))
		return false;
	check(used.id < DRIVER_SIZE, "a buffer that was not given");
	if (used.len != sizeof(event))
		machine.known[kind].lost = true; /* its memory was gone */
	memcpy(&event, guest_ram_at(&driver->ram, DRIVER_BUFFERS + used.id * 64u), sizeof(event));
	if (!machine.known[kind].lost)
		know(&machine.known[kind], &event);
	return true;
}

static void configure(struct bytes *bytes)
{
	struct vtr_virtio_device *device = machine.drivers[take8(bytes) % VTR_INPUT_KINDS].device;
	const uint8_t selection[2] = { take8(bytes), take8(bytes) };
	const uint32_t offset = take8(bytes) % device->config_size;
	const uint32_t length = take8(bytes) % (device->config_size - offset + 1);
	uint8_t *exact = malloc(length + 1);

	device->impl->config_write(device, 0, selection, sizeof(selection));
	device->impl->config_read(device, offset, exact, length);
	free(exact);
}

static void status(struct bytes *bytes)
{
	struct input_driver *driver = &machine.drivers[take8(bytes) % VTR_INPUT_KINDS];
	const uint16_t type = take16(bytes), code = take16(bytes);
	const uint8_t value = take8(bytes), size = take8(bytes);

	if (driver->statusq.ram && size)
		driver_send(driver, driver->statusq.avail_idx % DRIVER_SIZE, type, code, value, size);
}

/* RING_RESET, and the queue again, empty. */
static void reset_queue(unsigned kind)
{
	struct input_driver *driver = &machine.drivers[kind];

	if (!is_live(driver))
		return;
	while (take(kind))
		;
	vtr_virtio_reset_queue(driver->device, VTR_INPUT_EVENTQ);
	memset(guest_ram_at(&driver->ram, driver->eventq.desc), 0, driver->statusq.desc - driver->eventq.desc);
	vring_driver_init(&driver->eventq, &driver->ram, DRIVER_BASE, DRIVER_SIZE);
	driver->given = 0;
	driver_start_queue(driver, VTR_INPUT_EVENTQ, &driver->eventq);
}

/* ---- the other side ---- */

static void words(struct bytes *bytes)
{
	const uint8_t what = take8(bytes);
	size_t length = take8(bytes) % MAX_WORDS;
	struct vtr_script script = { 0 };
	struct vtr_error error;
	char text[MAX_WORDS];

	length = length < bytes->left ? length : bytes->left;
	memcpy(text, bytes->data, length);
	text[length] = '\0';
	bytes->data += length;
	bytes->left -= length;
	if (what % 3 == 0)
		vtr_script_type(&script, text, &error);
	else if (what % 3 == 1)
		vtr_script_keys(&script, text, what / 3 % 3, &error);
	else
		vtr_script_pointer(&script, what / 3, text, &error);
	for (size_t i = 0; i < script.count; i++)
		vtr_step_perform(&script.steps[i], machine.input);
	vtr_script_finish(&script);
}

static void run(struct bytes *bytes)
{
	const enum command command = take8(bytes) % COMMANDS;
	uint8_t a, b;
	uint16_t c;

	switch (command) {
	case START:
		start(take8(bytes) % VTR_INPUT_KINDS);
		break;
	case GIVE:
		a = take8(bytes) % VTR_INPUT_KINDS;
		b = take8(bytes);
		give(a, b, take8(bytes) % 64);
		break;
	case TAKE:
		a = take8(bytes) % VTR_INPUT_KINDS;
		for (b = take8(bytes); b && take(a); b--)
			;
		break;
	case CONFIG:
		configure(bytes);
		break;
	case STATUS:
		status(bytes);
		break;
	case KEY:
		c = take16(bytes);
		vtr_input_key(machine.input, c, take8(bytes) & 1);
		break;
	case BUTTON:
		a = take8(bytes);
		vtr_input_button(machine.input, BTN_LEFT + a % 9, take8(bytes) & 1);
		break;
	case MOVE:
		a = take8(bytes);
		c = take16(bytes);
		vtr_input_move(machine.input, a % 18, c, take16(bytes));
		break;
	case MOVE_BY:
		a = take8(bytes);
		vtr_input_move_by(machine.input, (int8_t)a, (int8_t)take8(bytes) / 4.0);
		break;
	case WHEEL:
		a = take8(bytes);
		vtr_input_wheel(machine.input, (int8_t)a * 15, (int8_t)take8(bytes) * 15);
		break;
	case TOUCH:
		a = take8(bytes);
		b = take8(bytes);
		c = take16(bytes);
		vtr_input_touch(machine.input, a % 16, b % 18, c, take16(bytes));
		break;
	case LIFT:
		vtr_input_touch_up(machine.input, take8(bytes) % 16);
		break;
	case FRAME:
		vtr_input_touch_frame(machine.input);
		break;
	case RELEASE:
		vtr_input_release_all(machine.input);
		break;
	case DISPATCH:
		vtr_loop_dispatch(machine.loop, 0);
		break;
	case QUEUE_RESET:
		reset_queue(take8(bytes) % VTR_INPUT_KINDS);
		break;
	case REMOVE:
		vtr_memory_remove_all(machine.drivers[take8(bytes) % VTR_INPUT_KINDS].memory);
		break;
	case ADD:
		a = take8(bytes) % VTR_INPUT_KINDS;
		guest_ram_add(&machine.drivers[a].ram, machine.drivers[a].memory);
		break;
	case WORDS:
		words(bytes);
		break;
	case COMMANDS:
		break;
	}
}

/* ---- the end of an input ---- */

static void expect_nothing_down(unsigned kind)
{
	const struct known *known = &machine.known[kind];
	struct vtr_input_status status_of;

	for (unsigned code = 0; code < KEY_CNT; code++)
		check(!known->down[code], "a key stays down");
	for (unsigned slot = 0; slot < VTR_INPUT_CONTACTS; slot++)
		check(known->contacts[slot] < 0, "a finger stays down");
	vtr_input_status(machine.input, kind, &status_of);
	check(!status_of.waiting && !status_of.held, "something is left to tell");
}

/* Everything is released, and every driver takes everything. */
static void settle(void)
{
	vtr_input_release_all(machine.input);
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++) {
		struct input_driver *driver = &machine.drivers[kind];
		bool more = true;

		guest_ram_add(&driver->ram, driver->memory);
		while (more) {
			give(kind, DRIVER_SIZE, sizeof(struct virtio_input_event));
			driver_dispatch(driver);
			for (more = false; take(kind); more = true)
				;
		}
		if (is_live(driver) && !machine.known[kind].lost)
			expect_nothing_down(kind);
	}
}

static void clean_up(void)
{
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++)
		driver_finish(&machine.drivers[kind]);
	vtr_display_destroy(machine.display);
	vtr_outputs_destroy(machine.outputs);
	vtr_input_destroy(machine.input);
	vtr_loop_destroy(machine.loop);
}

static void init(void)
{
	const struct vtr_mode modes[] = { { 1000, 1000, 0 }, { 2000, 500, 0 } };

	vtr_log_set_level(VTR_LOG_ERROR);
	machine.loop = vtr_loop_create();
	machine.display = vtr_headless_create();
	machine.outputs = vtr_outputs_create();
	for (unsigned i = 0; i < 2; i++)
		check(vtr_outputs_add(machine.outputs, machine.display, &modes[i], NULL), "no output");
	machine.input = vtr_input_create(machine.loop, machine.outputs);
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++)
		driver_init(&machine.drivers[kind], machine.input, kind, machine.loop);
	atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = { data, size };

	if (!machine.loop)
		init();
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++)
		start(kind);
	for (unsigned commands = 0; bytes.left && commands < MAX_COMMANDS; commands++)
		run(&bytes);
	settle();
	return 0;
}
