/* SPDX-License-Identifier: MIT */
/*
 * Input: from what happened to the devices that tell the guest.
 *
 * Displays and the control socket call in from any thread. Each call changes the state of a device under the lock, commits it, and
 * wakes the device thread, which moves events into the guest's buffers. The lock is held for no longer than a packet takes to be
 * made, so neither side waits for the other. A driver that is not there is told nothing; when it comes, it is told what is the case
 * then.
 *
 * Positions are mapped with the layout of the outputs' pictures as the device thread saw it last. It looks again whenever it is
 * woken, and maps the last positions again when the layout has changed: the first motion after a change of mode may be told twice,
 * the second time right.
 *
 * Buttons and wheel go with the pointer that moved last; a button is released on the device that it was pressed on.
 */
#include "input/input.h"

#include <errno.h>
#include <stdlib.h>

static void lock(struct vtr_input *input)
{
	pthread_mutex_lock(&input->lock);
}

static struct vtr_input_values *values_of(struct vtr_input *input, enum vtr_input_kind kind)
{
	return &input->devices[kind].state.now;
}

/* Tells what changed on a device; under the lock. */
static void commit(struct vtr_input *input, enum vtr_input_kind kind)
{
	struct vtr_input_device *device = &input->devices[kind];

	if (device->live)
		vtr_input_commit(&device->state);
}

static void unlock_and_wake(struct vtr_input *input)
{
	pthread_mutex_unlock(&input->lock);
	vtr_event_raise(input->wake);
}

static void set_key(struct vtr_input *input, enum vtr_input_kind kind, uint32_t code, bool pressed)
{
	struct vtr_input_values *now = values_of(input, kind);

	if (!vtr_input_has(&input->devices[kind].profile->keys, code) || vtr_input_key_is_down(now, code) == pressed)
		return;
	vtr_input_set_key(now, code, pressed);
	commit(input, kind);
}

/* ---- positions; under the lock ---- */

static bool map(const struct vtr_input *input, const struct vtr_input_place *place, int32_t *x, int32_t *y)
{
	return vtr_input_layout_map(&input->layout, place, VTR_INPUT_ABS_MAX, x, y);
}

static void place_pointer(struct vtr_input *input)
{
	struct vtr_input_values *now = values_of(input, VTR_INPUT_TABLET);

	if (input->placed && map(input, &input->pointer, &now->x, &now->y))
		commit(input, VTR_INPUT_TABLET);
}

/* What the fingers do becomes the state of the touch screen. The oldest of them also moves its single pointer. */
static void place_fingers(struct vtr_input *input)
{
	struct vtr_input_values *now = values_of(input, VTR_INPUT_TOUCH);
	const struct vtr_input_finger *oldest = NULL;

	for (size_t slot = 0; slot < VTR_INPUT_CONTACTS; slot++) {
		const struct vtr_input_finger *finger = &input->fingers[slot];
		struct vtr_input_contact *contact = &now->contacts[slot];

		if (!finger->down || !map(input, &finger->place, &contact->x, &contact->y)) {
			contact->id = -1;
			continue;
		}
		contact->id = (int32_t)(finger->order % (VTR_INPUT_TRACKING_MAX + 1));
		if (oldest && finger->order - oldest->order < UINT32_MAX / 2)
			continue;
		oldest = finger;
		now->x = contact->x;
		now->y = contact->y;
	}
	vtr_input_set_key(now, BTN_TOUCH, oldest);
	commit(input, VTR_INPUT_TOUCH);
}

/* ---- any thread ---- */

bool vtr_input_used(struct vtr_input *input, enum vtr_input_kind kind)
{
	lock(input);
	bool used = input->devices[kind].live;
	pthread_mutex_unlock(&input->lock);
	return used;
}

uint32_t vtr_input_leds(struct vtr_input *input)
{
	lock(input);
	uint32_t leds = input->devices[VTR_INPUT_KEYBOARD].leds;
	pthread_mutex_unlock(&input->lock);
	return leds;
}

void vtr_input_key(struct vtr_input *input, uint32_t code, bool pressed)
{
	lock(input);
	set_key(input, VTR_INPUT_KEYBOARD, code, pressed);
	unlock_and_wake(input);
}

void vtr_input_move(struct vtr_input *input, uint32_t output, double x, double y)
{
	lock(input);
	input->pointer = (struct vtr_input_place){ output, x, y };
	input->placed = true;
	input->pointing = VTR_INPUT_TABLET;
	place_pointer(input);
	unlock_and_wake(input);
}

/* Adds motion that a driver is there to take; what happened before it came is past. */
static void add_relative(struct vtr_input *input, enum vtr_input_kind kind, enum vtr_input_relative axis, double amount)
{
	struct vtr_input_device *device = &input->devices[kind];

	if (device->live && amount > -VTR_INPUT_FAR && amount < VTR_INPUT_FAR)
		device->state.relative[axis] += amount;
}

void vtr_input_move_by(struct vtr_input *input, double dx, double dy)
{
	lock(input);
	input->pointing = VTR_INPUT_MOUSE;
	add_relative(input, VTR_INPUT_MOUSE, VTR_RELATIVE_X, dx);
	add_relative(input, VTR_INPUT_MOUSE, VTR_RELATIVE_Y, dy);
	commit(input, VTR_INPUT_MOUSE);
	unlock_and_wake(input);
}

/* The pointer that moved last, or the one that the guest uses. */
static enum vtr_input_kind pointer_of(const struct vtr_input *input)
{
	enum vtr_input_kind other = input->pointing == VTR_INPUT_TABLET ? VTR_INPUT_MOUSE : VTR_INPUT_TABLET;

	return input->devices[input->pointing].live || !input->devices[other].live ? input->pointing : other;
}

void vtr_input_button(struct vtr_input *input, uint32_t code, bool pressed)
{
	lock(input);
	if (pressed) {
		set_key(input, pointer_of(input), code, true);
	} else {
		set_key(input, VTR_INPUT_TABLET, code, false);
		set_key(input, VTR_INPUT_MOUSE, code, false);
	}
	unlock_and_wake(input);
}

void vtr_input_wheel(struct vtr_input *input, int32_t horizontal, int32_t vertical)
{
	lock(input);
	enum vtr_input_kind kind = pointer_of(input);
	add_relative(input, kind, VTR_RELATIVE_HWHEEL, horizontal);
	add_relative(input, kind, VTR_RELATIVE_WHEEL, vertical);
	commit(input, kind);
	unlock_and_wake(input);
}

static struct vtr_input_finger *find_finger(struct vtr_input *input, uint32_t number)
{
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		if (input->fingers[i].down && input->fingers[i].number == number)
			return &input->fingers[i];
	return NULL;
}

/* A new finger takes the first free slot. */
static struct vtr_input_finger *add_finger(struct vtr_input *input, uint32_t number)
{
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		if (!input->fingers[i].down) {
			input->fingers[i] = (struct vtr_input_finger){ .down = true, .number = number, .order = input->touches++ };
			return &input->fingers[i];
		}
	return NULL;
}

void vtr_input_touch(struct vtr_input *input, uint32_t finger, uint32_t output, double x, double y)
{
	lock(input);
	struct vtr_input_finger *found = find_finger(input, finger);
	if (!found)
		found = add_finger(input, finger);
	if (found)
		found->place = (struct vtr_input_place){ output, x, y };
	pthread_mutex_unlock(&input->lock);
}

void vtr_input_touch_up(struct vtr_input *input, uint32_t finger)
{
	lock(input);
	struct vtr_input_finger *found = find_finger(input, finger);
	if (found)
		found->down = false;
	pthread_mutex_unlock(&input->lock);
}

void vtr_input_touch_frame(struct vtr_input *input)
{
	lock(input);
	place_fingers(input);
	unlock_and_wake(input);
}

void vtr_input_release_all(struct vtr_input *input)
{
	lock(input);
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		input->fingers[i].down = false;
	place_fingers(input);
	for (size_t kind = 0; kind < VTR_INPUT_KINDS; kind++) {
		vtr_input_release_keys(values_of(input, kind));
		commit(input, kind);
	}
	unlock_and_wake(input);
}

/* ---- device thread ---- */

static void woken(void *data)
{
	struct vtr_input *input = data;
	bool waiting[VTR_INPUT_KINDS];

	lock(input);
	if (vtr_input_layout_update(&input->layout, input->outputs)) {
		place_pointer(input);
		place_fingers(input);
	}
	for (size_t kind = 0; kind < VTR_INPUT_KINDS; kind++)
		waiting[kind] = vtr_input_peek(&input->devices[kind].state);
	pthread_mutex_unlock(&input->lock);
	for (size_t kind = 0; kind < VTR_INPUT_KINDS; kind++)
		if (waiting[kind])
			vtr_virtio_kick(&input->devices[kind].base, VTR_INPUT_EVENTQ);
}

void vtr_input_status(struct vtr_input *input, enum vtr_input_kind kind, struct vtr_input_status *status)
{
	const struct vtr_input_device *device = &input->devices[kind];

	lock(input);
	*status = (struct vtr_input_status){
		.used = device->live,
		.waiting = device->state.count,
		.events = device->events,
		.merged = device->state.merged,
		.held = vtr_input_count_down(&device->state.now),
	};
	pthread_mutex_unlock(&input->lock);
}

void vtr_input_set_leds_listener(struct vtr_input *input, vtr_input_leds_func func, void *data)
{
	input->leds_func = func;
	input->leds_data = data;
}

struct vtr_virtio_device *vtr_input_virtio(struct vtr_input *input, enum vtr_input_kind kind)
{
	return &input->devices[kind].base;
}

struct vtr_memory *vtr_input_memory(struct vtr_input *input, enum vtr_input_kind kind)
{
	return input->devices[kind].memory;
}

struct vtr_input *vtr_input_create(struct vtr_loop *loop, struct vtr_outputs *outputs)
{
	struct vtr_input *input = calloc(1, sizeof(*input));
	int error = 0;

	if (!input)
		return NULL;
	input->outputs = outputs;
	input->pointing = VTR_INPUT_TABLET;
	pthread_mutex_init(&input->lock, NULL);
	for (size_t kind = 0; kind < VTR_INPUT_KINDS && !error; kind++)
		error = vtr_input_device_init(&input->devices[kind], input, kind, loop);
	input->wake = error ? NULL : vtr_loop_add_event(loop, woken, input);
	if (!input->wake) {
		vtr_input_destroy(input);
		return NULL;
	}
	vtr_input_layout_update(&input->layout, outputs);
	return input;
}

void vtr_input_destroy(struct vtr_input *input)
{
	if (!input)
		return;
	vtr_source_remove(input->wake);
	for (size_t kind = 0; kind < VTR_INPUT_KINDS; kind++)
		vtr_input_device_finish(&input->devices[kind]);
	pthread_mutex_destroy(&input->lock);
	free(input);
}
