/* SPDX-License-Identifier: MIT */
#include "guest/input.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { BUFFER_SPACE = 16 };

/* The machine knows its queues by a GPU's names. */
static const enum vtr_guest_queue_index eventq = VTR_GUEST_CONTROL, statusq = VTR_GUEST_CURSOR;

int vtr_guest_input_open(struct vtr_guest_input *input, const struct vtr_guest_options *options, const char *kind,
                         struct vtr_error *error)
{
	struct vtr_guest_options own = { .vfio_user = input->path, .timeout_ms = options->timeout_ms };

	input->guest = NULL;
	if (snprintf(input->path, sizeof(input->path), "%s.%s", options->input, kind) >= (int)sizeof(input->path))
		return vtr_error_set(error, VTR_ERROR_HOST, ENAMETOOLONG, "%s.%s is too long for a socket", options->input, kind);
	input->guest = vtr_guest_open(&own, error);
	if (!input->guest)
		return -error->code;
	int result = vtr_guest_input_start(input, VTR_GUEST_SYSTEM);
	return result ? vtr_error_set(error, VTR_ERROR_HOST, -result, "%s", vtr_guest_error(input->guest)) : 0;
}

void vtr_guest_input_close(struct vtr_guest_input *input)
{
	vtr_guest_close(input->guest);
	input->guest = NULL;
}

int vtr_guest_input_start(struct vtr_guest_input *input, enum vtr_guest_memory rings)
{
	int result = vtr_guest_start_in(input->guest, UINT64_MAX, rings);

	if (result)
		return result;
	input->given = 0;
	input->buffers = vtr_guest_area_alloc(&input->guest->areas[rings], VTR_GUEST_INPUT_BUFFERS * BUFFER_SPACE, BUFFER_SPACE);
	return input->buffers ? 0 : vtr_guest_fail(input->guest, ENOMEM, "no memory for event buffers");
}

static int give(struct vtr_guest_input *input, uint16_t buffer, uint32_t size)
{
	const struct vtr_guest_segment segment = { input->buffers + (uint64_t)buffer * BUFFER_SPACE, size, true };
	int head = vtr_guest_ring_add(&input->guest->queues[eventq].ring, &segment, 1);

	if (head < 0)
		return vtr_guest_fail(input->guest, -head, "no room for an event buffer");
	input->buffer_of[head] = buffer;
	return 0;
}

int vtr_guest_input_give(struct vtr_guest_input *input, unsigned count, uint32_t size)
{
	for (; count > 0 && input->given < VTR_GUEST_INPUT_BUFFERS; count--) {
		int result = give(input, input->given++, size);

		if (result)
			return result;
	}
	return vtr_guest_kick(input->guest, eventq, false);
}

int vtr_guest_input_next(struct vtr_guest_input *input, struct virtio_input_event *event, int timeout_ms)
{
	uint32_t written;
	uint16_t head;
	int result = vtr_guest_collect(input->guest, eventq, &head, &written, timeout_ms);

	if (result)
		return result;
	if (written != sizeof(*event))
		return vtr_guest_fail(input->guest, EPROTO, "an event of %u bytes", written);
	const uint16_t buffer = input->buffer_of[head];
	memcpy(event, vtr_guest_data(input->guest, input->buffers + (uint64_t)buffer * BUFFER_SPACE, sizeof(*event)),
	       sizeof(*event));
	result = give(input, buffer, sizeof(*event));
	return result ? result : vtr_guest_kick(input->guest, eventq, false);
}

int vtr_guest_input_send(struct vtr_guest_input *input, const struct virtio_input_event *event, size_t size)
{
	uint64_t address = vtr_guest_area_alloc(&input->guest->areas[VTR_GUEST_SYSTEM], size, BUFFER_SPACE);
	const struct vtr_guest_segment segment = { address, (uint32_t)size, false };
	uint32_t written;
	uint16_t head;

	if (!address)
		return vtr_guest_fail(input->guest, ENOMEM, "no memory for a status");
	memset(vtr_guest_data(input->guest, address, size), 0, size);
	memcpy(vtr_guest_data(input->guest, address, size), event, size < sizeof(*event) ? size : sizeof(*event));
	int result = vtr_guest_ring_add(&input->guest->queues[statusq].ring, &segment, 1);
	if (result < 0)
		return vtr_guest_fail(input->guest, -result, "no room for a status");
	result = vtr_guest_kick(input->guest, statusq, false);
	if (!result)
		result = vtr_guest_collect(input->guest, statusq, &head, &written, input->guest->timeout_ms);
	if (!result && written)
		result = vtr_guest_fail(input->guest, EPROTO, "the device says it wrote %u bytes into a status", written);
	return result;
}

int vtr_guest_input_config(struct vtr_guest_input *input, uint8_t select, uint8_t subsel, struct virtio_input_config *config)
{
	struct vtr_guest_link *link = input->guest->link;
	uint8_t *bytes = (uint8_t *)config;
	int result = link->impl->write_config(link, offsetof(struct virtio_input_config, select), &select, 1);

	if (!result)
		result = link->impl->write_config(link, offsetof(struct virtio_input_config, subsel), &subsel, 1);
	for (uint32_t i = 0; i < sizeof(*config) && !result; i++)
		result = link->impl->read_config(link, i, &bytes[i], 1);
	return result;
}
