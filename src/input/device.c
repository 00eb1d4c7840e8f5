/* SPDX-License-Identifier: MIT */
/*
 * A virtio-input device (virtio 1.3, 5.8) between the virtio core and the state that input.c keeps.
 *
 * The event queue is served from the loop: whoever changes the state raises an event, the device is kicked, and each of its waiting
 * events goes into a buffer of the driver's; when there are no buffers left the rest waits for the next doorbell. The status queue
 * brings the driver's wishes; of them only the LEDs are known.
 *
 * A reset ends what the driver knows. What is held down then is told to the next driver when it is ready: a key that a person still
 * holds is down for it, too.
 *
 * Threads: the device thread, but for what is under input->lock.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "input/input.h"

enum { BATCH = 64 /* events or requests served before others get their turn */ };

static const uint16_t queue_sizes[VTR_INPUT_QUEUES] = { [VTR_INPUT_EVENTQ] = 64, [VTR_INPUT_STATUSQ] = 64 };

static struct vtr_input_device *device_from_base(struct vtr_virtio_device *base)
{
	return (struct vtr_input_device *)((char *)base - offsetof(struct vtr_input_device, base));
}

static void lock(struct vtr_input_device *device)
{
	pthread_mutex_lock(&device->input->lock);
}

static void unlock(struct vtr_input_device *device)
{
	pthread_mutex_unlock(&device->input->lock);
}

static uint64_t features(struct vtr_virtio_device *base)
{
	return 0; /* the type has none of its own */
}

/* ---- configuration ---- */

static void config_read(struct vtr_virtio_device *base, uint32_t offset, void *buffer, uint32_t length)
{
	struct vtr_input_device *device = device_from_base(base);
	struct virtio_input_config config;

	vtr_input_configuration(device->profile, device->select, device->subsel, &config);
	memcpy(buffer, (const uint8_t *)&config + offset, length);
}

/* Only select and subsel can be written. */
static void config_write(struct vtr_virtio_device *base, uint32_t offset, const void *buffer, uint32_t length)
{
	struct vtr_input_device *device = device_from_base(base);
	const uint8_t *bytes = buffer;

	for (uint32_t i = 0; i < length; i++) {
		if (offset + i == offsetof(struct virtio_input_config, select))
			device->select = bytes[i];
		else if (offset + i == offsetof(struct virtio_input_config, subsel))
			device->subsel = bytes[i];
	}
}

/* ---- the event queue ---- */

/* The oldest event; when there is none, of what has waited for that. */
static bool next_event(struct vtr_input_device *device, struct virtio_input_event *event)
{
	const struct virtio_input_event *oldest;

	lock(device);
	oldest = vtr_input_peek(&device->state);
	if (!oldest) {
		vtr_input_commit(&device->state);
		oldest = vtr_input_peek(&device->state);
	}
	if (oldest)
		*event = *oldest;
	unlock(device);
	return oldest;
}

static void event_given(struct vtr_input_device *device)
{
	lock(device);
	vtr_input_drop(&device->state);
	device->events++;
	unlock(device);
}

static void serve_events(struct vtr_input_device *device)
{
	struct vtr_virtqueue *queue = &device->base.queues[VTR_INPUT_EVENTQ];
	struct virtio_input_event event;
	struct vtr_chain *chain;

	for (int i = 0; i < BATCH && next_event(device, &event) && vtr_virtqueue_pop(queue, &chain) > 0; i++) {
		if (chain->in_size < sizeof(event)) {
			vtr_chain_free(chain);
			vtr_virtqueue_break(queue, "a buffer on the event queue has no room for an event");
			return;
		}
		event_given(device);
		vtr_virtio_answer(&device->base, VTR_INPUT_EVENTQ, chain, &event, sizeof(event));
	}
}

/* ---- the status queue ---- */

static void set_leds(struct vtr_input_device *device, uint32_t leds)
{
	if (leds == device->leds)
		return;
	lock(device);
	device->leds = leds;
	unlock(device);
	if (device->input->leds_func)
		device->input->leds_func(leds, device->input->leds_data);
}

static void take_status(struct vtr_input_device *device, const struct virtio_input_event *event)
{
	uint32_t leds = device->leds;

	if (event->type != EV_LED || !vtr_input_has(&device->profile->leds, event->code)) {
		/* EV_SYN ends the driver's packets, EV_REP tells how fast it repeats keys: neither is for us. */
		if (event->type != EV_SYN && event->type != EV_REP)
			vtr_log_limited(&device->guest_log, VTR_LOG_DEBUG,
			                "%s: the driver sent status %u, code %u, which it has not", device->profile->kind,
			                event->type, event->code);
		return;
	}
	if (event->value)
		leds |= 1u << event->code;
	else
		leds &= ~(1u << event->code);
	set_leds(device, leds);
}

/* False when the chain has to be read again later. */
static bool serve_status(struct vtr_input_device *device, struct vtr_chain *chain)
{
	struct virtio_input_event event;
	struct vtr_virtqueue *queue = &device->base.queues[VTR_INPUT_STATUSQ];
	const long length = vtr_chain_read(queue, chain, 0, &event, sizeof(event));

	if (vtr_virtqueue_is_transient(length)) {
		vtr_virtqueue_unpop(queue, chain);
		return false;
	}
	if (length == sizeof(event))
		take_status(device, &event);
	else
		vtr_log_limited(&device->guest_log, VTR_LOG_DEBUG, "%s: a status of %ld bytes is none", device->profile->kind,
		                length);
	vtr_virtio_complete(&device->base, VTR_INPUT_STATUSQ, chain, 0);
	return true;
}

static void serve_statuses(struct vtr_input_device *device)
{
	struct vtr_chain *chain;

	for (int i = 0; i < BATCH && vtr_virtqueue_pop(&device->base.queues[VTR_INPUT_STATUSQ], &chain) > 0; i++)
		if (!serve_status(device, chain))
			return;
}

/* ---- life ---- */

static void notify(struct vtr_virtio_device *base, unsigned queue)
{
	struct vtr_input_device *device = device_from_base(base);

	if (queue == VTR_INPUT_EVENTQ)
		serve_events(device);
	else
		serve_statuses(device);
}

static void activate(struct vtr_virtio_device *base)
{
	struct vtr_input_device *device = device_from_base(base);

	lock(device);
	device->live = true;
	unlock(device);
}

/* No chain is ever kept; events wait for the queue to come back. */
static void queue_reset(struct vtr_virtio_device *base, unsigned queue)
{
}

static void reset(struct vtr_virtio_device *base)
{
	struct vtr_input_device *device = device_from_base(base);

	lock(device);
	device->live = false;
	vtr_input_state_forget(&device->state);
	unlock(device);
	device->select = device->subsel = 0;
	set_leds(device, 0);
}

static const struct vtr_virtio_device_impl device_impl = {
	.features = features,
	.config_read = config_read,
	.config_write = config_write,
	.activate = activate,
	.notify = notify,
	.queue_reset = queue_reset,
	.reset = reset,
};

int vtr_input_device_init(struct vtr_input_device *device, struct vtr_input *input, enum vtr_input_kind kind, struct vtr_loop *loop)
{
	*device = (struct vtr_input_device){
		.input = input,
		.kind = kind,
		.profile = &vtr_input_profiles[kind],
		.memory = vtr_memory_create(),
	};
	vtr_input_state_init(&device->state);
	if (!device->memory)
		return -ENOMEM;
	return vtr_virtio_device_init(&device->base, &device_impl, VIRTIO_ID_INPUT, VTR_INPUT_QUEUES, queue_sizes,
	                              sizeof(struct virtio_input_config), device->memory, loop);
}

void vtr_input_device_finish(struct vtr_input_device *device)
{
	vtr_virtio_device_finish(&device->base);
	vtr_memory_destroy(device->memory);
	device->memory = NULL;
}
