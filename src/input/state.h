/* SPDX-License-Identifier: MIT */
#ifndef VTR_INPUT_STATE_H
#define VTR_INPUT_STATE_H

#include <linux/input-event-codes.h>
#include <linux/virtio_input.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/input.h>
#include <vitrine/limits.h>

/*
 * What a device's guest knows, what is really the case, and the events between them.
 *
 * `now` is changed by whoever has news; vtr_input_commit() compares it with `told`, the state that the guest has when it has read
 * the queue, and appends the difference as packets that end with SYN_REPORT. A queue that has no room for a packet takes none: the
 * difference stays and is told later, which is all the resynchronisation there is. A packet is never cut.
 */
struct vtr_input_contact {
	int32_t id; /* tracking id, -1: none */
	int32_t x, y;
};

/* Positions of everything that has a state. */
struct vtr_input_values {
	uint8_t keys[(KEY_CNT + 7) / 8];
	int32_t x, y; /* ABS_X, ABS_Y */
	struct vtr_input_contact contacts[VTR_INPUT_CONTACTS];
};

/* Relative axes, which have none: what is still to be told. */
enum vtr_input_relative {
	VTR_RELATIVE_X,
	VTR_RELATIVE_Y,
	VTR_RELATIVE_HWHEEL, /* 1/120 */
	VTR_RELATIVE_WHEEL,
	VTR_RELATIVE_COUNT,
};

struct vtr_input_state {
	struct vtr_input_values now, told;
	double relative[VTR_RELATIVE_COUNT];
	int32_t steps[2]; /* of HWHEEL and WHEEL: told in 1/120 and not yet as a whole step */
	uint64_t merged;  /* commits that found no room, or let motion wait */

	struct virtio_input_event events[VTR_MAX_INPUT_EVENTS];
	size_t first, count;
};

void vtr_input_state_init(struct vtr_input_state *state); /* nothing is down, everything at 0 */
/* A new driver: it knows nothing, and nothing waits. What is down now will be told. */
void vtr_input_state_forget(struct vtr_input_state *state);

bool vtr_input_key_is_down(const struct vtr_input_values *values, uint32_t code);
void vtr_input_set_key(struct vtr_input_values *values, uint32_t code, bool pressed);
void vtr_input_release_keys(struct vtr_input_values *values);
size_t vtr_input_count_down(const struct vtr_input_values *values); /* keys and contacts */

/* Tells what can be told now. Motion alone waits until the queue is empty, so that a slow guest gets the newest position and not
 * all of them. Call again when events were taken. */
void vtr_input_commit(struct vtr_input_state *state);

/* The oldest event, or NULL; and the end of it. */
const struct virtio_input_event *vtr_input_peek(const struct vtr_input_state *state);
void vtr_input_drop(struct vtr_input_state *state);

#endif
