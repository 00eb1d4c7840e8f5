/* SPDX-License-Identifier: MIT */
/*
 * The difference between what is and what the guest was told, as events.
 *
 * Each change is committed by itself, so that a guest that keeps up sees every one of them, in order. One that does not finds the
 * sum: clicks that began and ended while the queue was full did not happen, keys that are still down go down late, keys that were
 * released go up late. The queue is never longer than VTR_MAX_INPUT_EVENTS.
 */
#include "input/state.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
	MAX_KEYS =
		16, /* in one packet: readers of evdev keep few events at a time, and lose all when a packet is larger than that */
	MAX_PACKET = VTR_INPUT_CONTACTS * 4 + 2 + 6 + MAX_KEYS + 1, /* contacts, absolute axes, relative axes, keys, SYN_REPORT */
	STEP = 120,
};

/* A packet being made. */
struct packet {
	struct virtio_input_event events[MAX_PACKET];
	size_t count, keys;
	bool unfinished; /* there is more to tell, in the next one */
};

void vtr_input_state_init(struct vtr_input_state *state)
{
	*state = (struct vtr_input_state){ 0 };
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		state->now.contacts[i].id = -1;
	state->told = state->now;
}

void vtr_input_state_forget(struct vtr_input_state *state)
{
	struct vtr_input_values now = state->now;
	uint64_t merged = state->merged;

	vtr_input_state_init(state);
	state->now = now;
	state->merged = merged;
}

bool vtr_input_key_is_down(const struct vtr_input_values *values, uint32_t code)
{
	return code < KEY_CNT && values->keys[code / 8] >> code % 8 & 1;
}

void vtr_input_set_key(struct vtr_input_values *values, uint32_t code, bool pressed)
{
	const uint8_t bit = (uint8_t)(1u << code % 8);

	assert(code < KEY_CNT);
	if (pressed)
		values->keys[code / 8] |= bit;
	else
		values->keys[code / 8] &= (uint8_t)~bit;
}

void vtr_input_release_keys(struct vtr_input_values *values)
{
	memset(values->keys, 0, sizeof(values->keys));
}

size_t vtr_input_count_down(const struct vtr_input_values *values)
{
	size_t count = 0;

	for (size_t i = 0; i < sizeof(values->keys); i++)
		count += (size_t)__builtin_popcount(values->keys[i]);
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		count += values->contacts[i].id >= 0;
	return count;
}

/* ---- making packets ---- */

static void put(struct packet *packet, uint16_t type, uint16_t code, int32_t value)
{
	assert(packet->count < MAX_PACKET);
	packet->events[packet->count++] = (struct virtio_input_event){ type, code, (uint32_t)value };
}

static void put_axis(struct packet *packet, uint16_t code, int32_t *told, int32_t now)
{
	if (*told == now)
		return;
	put(packet, EV_ABS, code, now);
	*told = now;
}

/* One slot (type B). A finger that took the place of another is told in two packets: the old one goes first. */
static void put_contact(struct packet *packet, uint16_t slot, struct vtr_input_contact *told, const struct vtr_input_contact *now)
{
	const bool began = told->id < 0 && now->id >= 0;
	const bool replaced = told->id >= 0 && now->id >= 0 && told->id != now->id;

	if (told->id == now->id && (now->id < 0 || (told->x == now->x && told->y == now->y)))
		return;
	put(packet, EV_ABS, ABS_MT_SLOT, slot);
	if (told->id != now->id) {
		told->id = replaced ? -1 : now->id;
		put(packet, EV_ABS, ABS_MT_TRACKING_ID, told->id);
	}
	packet->unfinished |= replaced;
	if (told->id < 0)
		return;
	if (began || told->x != now->x)
		put(packet, EV_ABS, ABS_MT_POSITION_X, now->x);
	if (began || told->y != now->y)
		put(packet, EV_ABS, ABS_MT_POSITION_Y, now->y);
	told->x = now->x;
	told->y = now->y;
}

static void put_keys(struct packet *packet, struct vtr_input_values *told, const struct vtr_input_values *now, bool pressed)
{
	for (uint16_t code = 0; code < KEY_CNT; code++) {
		if (vtr_input_key_is_down(now, code) != pressed || vtr_input_key_is_down(told, code) == pressed)
			continue;
		if (packet->keys == MAX_KEYS) {
			packet->unfinished = true;
			return;
		}
		put(packet, EV_KEY, code, pressed);
		packet->keys++;
		vtr_input_set_key(told, code, pressed);
	}
}

/* Whole units; the fraction stays. */
static int32_t take_whole(double *pending)
{
	double whole = trunc(*pending);

	whole = whole > INT16_MAX ? INT16_MAX : whole < -INT16_MAX ? -INT16_MAX : whole;
	*pending -= whole;
	return (int32_t)whole;
}

static void put_relative(struct packet *packet, struct vtr_input_state *state, enum vtr_input_relative axis, uint16_t code)
{
	int32_t whole = take_whole(&state->relative[axis]);

	if (whole)
		put(packet, EV_REL, code, whole);
}

/* Both resolutions: 120 units of the fine one are a step of the coarse one, for readers that know only that. */
static void put_wheel(struct packet *packet, struct vtr_input_state *state, enum vtr_input_relative axis, uint16_t fine,
                      uint16_t coarse)
{
	int32_t *steps = &state->steps[axis - VTR_RELATIVE_HWHEEL];
	int32_t whole = take_whole(&state->relative[axis]);

	if (!whole)
		return;
	put(packet, EV_REL, fine, whole);
	*steps += whole;
	if (*steps / STEP)
		put(packet, EV_REL, coarse, *steps / STEP);
	*steps %= STEP;
}

/* The difference between now and told. Positions come first: what is pressed is pressed there. */
static void fill(struct packet *packet, struct vtr_input_state *state)
{
	struct vtr_input_values *told = &state->told;
	const struct vtr_input_values *now = &state->now;

	for (uint16_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		put_contact(packet, i, &told->contacts[i], &now->contacts[i]);
	put_axis(packet, ABS_X, &told->x, now->x);
	put_axis(packet, ABS_Y, &told->y, now->y);
	put_relative(packet, state, VTR_RELATIVE_X, REL_X);
	put_relative(packet, state, VTR_RELATIVE_Y, REL_Y);
	put_wheel(packet, state, VTR_RELATIVE_HWHEEL, REL_HWHEEL_HI_RES, REL_HWHEEL);
	put_wheel(packet, state, VTR_RELATIVE_WHEEL, REL_WHEEL_HI_RES, REL_WHEEL);
	put_keys(packet, told, now, false);
	put_keys(packet, told, now, true);
	if (packet->count)
		put(packet, EV_SYN, SYN_REPORT, 0);
}

/* ---- the queue ---- */

static void append(struct vtr_input_state *state, const struct packet *packet)
{
	for (size_t i = 0; i < packet->count; i++)
		state->events[(state->first + state->count++) % VTR_MAX_INPUT_EVENTS] = packet->events[i];
}

/* More than motion: something went down or up. */
static bool is_urgent(const struct vtr_input_state *state)
{
	if (memcmp(state->now.keys, state->told.keys, sizeof(state->now.keys)) != 0)
		return true;
	for (size_t i = 0; i < VTR_INPUT_CONTACTS; i++)
		if (state->now.contacts[i].id != state->told.contacts[i].id)
			return true;
	return false;
}

void vtr_input_commit(struct vtr_input_state *state)
{
	struct packet packet;

	do {
		if (state->count && (state->count + MAX_PACKET > VTR_MAX_INPUT_EVENTS || !is_urgent(state))) {
			state->merged++;
			return;
		}
		packet.count = packet.keys = 0;
		packet.unfinished = false;
		fill(&packet, state);
		append(state, &packet);
	} while (packet.unfinished);
}

const struct virtio_input_event *vtr_input_peek(const struct vtr_input_state *state)
{
	return state->count ? &state->events[state->first] : NULL;
}

void vtr_input_drop(struct vtr_input_state *state)
{
	assert(state->count);
	state->first = (state->first + 1) % VTR_MAX_INPUT_EVENTS;
	state->count--;
}
