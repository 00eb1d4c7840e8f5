/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_INPUT_H
#define VTR_GUEST_INPUT_H

#include <linux/virtio_input.h>

#include <vitrine/error.h>

#include "guest/machine.h"

/*
 * A driver of one virtio-input device (virtio 1.3, 5.8) in a guest of its own: the machine's first queue is the event queue, its
 * second the status queue. Events go into eight-byte buffers that are given back as they are read.
 */
enum { VTR_GUEST_INPUT_BUFFERS = 64 };

struct vtr_guest_input {
	struct vtr_guest *guest;
	char path[108];                         /* of the device's socket */
	uint64_t buffers;                       /* guest address of all of them */
	uint16_t given;                         /* of them, in this life of the device */
	uint16_t buffer_of[VTR_GUEST_RING_MAX]; /* by descriptor */
};

/* Connects to options->input with the kind ("keyboard", ...) behind a dot, and starts the device without buffers. 0 or -errno with
 * *error; vtr_guest_input_close() is fine after either. */
int vtr_guest_input_open(struct vtr_guest_input *input, const struct vtr_guest_options *options, const char *kind,
                         struct vtr_error *error);
void vtr_guest_input_close(struct vtr_guest_input *input);

/* Resets and starts the device again, with the rings in memory of this kind; without buffers. 0 or -errno. */
int vtr_guest_input_start(struct vtr_guest_input *input, enum vtr_guest_memory rings);

/* Gives the device the next count buffers (VTR_GUEST_INPUT_BUFFERS in all) of `size` bytes each. 0 or -errno. */
int vtr_guest_input_give(struct vtr_guest_input *input, unsigned count, uint32_t size);

/* The next event; its buffer is given back. 0; -ETIMEDOUT; -EPROTO for one that has not eight bytes; or another error of
 * vtr_guest_collect(). */
int vtr_guest_input_next(struct vtr_guest_input *input, struct virtio_input_event *event, int timeout_ms);

/* Sends size bytes of a status event and waits for its buffer. 0 or -errno. */
int vtr_guest_input_send(struct vtr_guest_input *input, const struct virtio_input_event *event, size_t size);

/* Selects and reads the configuration. 0 or -errno. */
int vtr_guest_input_config(struct vtr_guest_input *input, uint8_t select, uint8_t subsel, struct virtio_input_config *config);

#endif
