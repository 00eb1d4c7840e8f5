/* SPDX-License-Identifier: MIT */
#ifndef VTR_INPUT_INPUT_H
#define VTR_INPUT_INPUT_H

#include <linux/input-event-codes.h>
#include <linux/virtio_input.h>
#include <pthread.h>

#include <vitrine/input.h>
#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "input/layout.h"
#include "input/profile.h"
#include "input/state.h"
#include "virtio/device.h"

/* The structures of virtio-input are little-endian and used as they come. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts need conversions in src/input");

enum { VTR_INPUT_EVENTQ, VTR_INPUT_STATUSQ, VTR_INPUT_QUEUES };

enum { VTR_INPUT_FAR = 1 << 24 /* no single motion goes further */ };

/* One virtio-input device. */
struct vtr_input_device {
	struct vtr_virtio_device base;
	struct vtr_input *input;
	enum vtr_input_kind kind;
	const struct vtr_input_profile *profile;
	struct vtr_memory *memory; /* owned */
	uint8_t select, subsel;    /* of the configuration */
	struct vtr_log_limit guest_log;

	/* under input->lock */
	bool live;     /* DRIVER_OK */
	uint32_t leds; /* as the driver wants them; written by the device thread */
	struct vtr_input_state state;
	uint64_t events; /* given to drivers */
};

struct vtr_input_finger {
	bool down;
	uint32_t number; /* the display's */
	uint32_t order;  /* of coming down */
	struct vtr_input_place place;
};

struct vtr_input {
	struct vtr_outputs *outputs;
	struct vtr_source *wake; /* event: somebody changed something */
	struct vtr_input_device devices[VTR_INPUT_KINDS];
	vtr_input_leds_func leds_func;
	void *leds_data;

	/* Held for moments, over nothing that can wait. */
	pthread_mutex_t lock;
	struct vtr_input_layout layout;
	enum vtr_input_kind pointing; /* the pointer that moved last */
	bool placed;                  /* pointer says something */
	struct vtr_input_place pointer;
	uint32_t touches;                                    /* fingers that came down so far */
	struct vtr_input_finger fingers[VTR_INPUT_CONTACTS]; /* by slot, as of the frame that is not ended yet */
};

/* device.c. 0 or -errno; finish is fine after either. */
int vtr_input_device_init(struct vtr_input_device *device, struct vtr_input *input, enum vtr_input_kind kind,
                          struct vtr_loop *loop);
void vtr_input_device_finish(struct vtr_input_device *device);

#endif
