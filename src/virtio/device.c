/* SPDX-License-Identifier: MIT */
/*
 * The device core: status, features, queues and notifications of a virtio device (virtio 1.3, 2 and 3), between a device type and a
 * transport.
 *
 * States, by the driver's writes to the status: ACKNOWLEDGE, DRIVER, FEATURES_OK (features are fixed, queues can be started),
 * DRIVER_OK (live: queues are served). A write only adds bits, but for 0, which resets. A malformed queue ends in NEEDS_RESET: the
 * device goes silent until the driver resets it. Nothing is consumed and no interrupt sent outside of "live".
 *
 * A doorbell sets a bit and raises a loop event, so that its message is answered before the queue's work begins; rings before
 * DRIVER_OK wait for it. Serving a queue means: write the answers that wait, switch notifications off, let the device type pop,
 * switch them on, look again.
 *
 * Remote memory may be out of reach for a moment: the VMM sent something that has to be handled first, or that is being handled. It
 * is no error of the driver's, so nothing breaks: what was not done stays to be done, and the queue is kicked. That is one try each
 * turn of the loop, and the same loop handles what was in the way. A queue that waits for a translation is not tried until that has
 * come, or will not; the others go on. An answer is written in two steps that are never repeated once
 * done, its bytes and its used entry: after the second one the memory is the driver's, even if we only think that it failed.
 */
#include "virtio/device.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/log.h>

#define BIT(n) (UINT64_C(1) << (n))

/* Offered by every device (virtio 1.3, 6). ACCESS_PLATFORM is an offer: addresses are what the transport's memory map says. */
static const uint64_t core_features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
                                      BIT(VIRTIO_F_RING_RESET) | BIT(VIRTIO_F_ACCESS_PLATFORM);

static bool is_live(const struct vtr_virtio_device *device)
{
	return (device->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	       !(device->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED));
}

/* An answer, and how far it came. */
struct vtr_virtio_answer {
	struct vtr_virtio_answer *next;
	struct vtr_chain *chain;
	const void *response; /* behind this structure once it waits */
	uint32_t size;        /* of the response; 0 when it is written */
	uint32_t written;
};

/* Goes as far as it can. False when it has to go on later; otherwise the chain is gone. */
static bool give_answer(struct vtr_virtio_device *device, unsigned index, struct vtr_virtio_answer *answer)
{
	struct vtr_virtqueue *queue = &device->queues[index];
	int ret;

	if (answer->size > 0) {
		const long written = vtr_chain_write(queue, answer->chain, 0, answer->response, answer->size);

		if (vtr_virtqueue_is_transient(written))
			return false;
		answer->written = written > 0 ? (uint32_t)written : 0;
		answer->size = 0;
	}
	ret = vtr_virtqueue_push(queue, answer->chain, answer->written);
	if (ret == -EAGAIN)
		return false;
	if (ret < 0) {
		if (queue->broken)
			vtr_virtio_broken(device, queue->why);
	} else if (vtr_virtqueue_should_interrupt(queue) && device->transport) {
		device->transport->interrupt_queue(device->transport_data, index);
	}
	return true;
}

/* What could not be done now is tried in the next turn of the loop, or when the translation that is missing has come. */
static void serve_later(struct vtr_virtio_device *device, unsigned index)
{
	if (!vtr_virtqueue_waits(&device->queues[index]))
		vtr_virtio_kick(device, index);
}

static void translation_came(struct vtr_memory_waiter *waiter)
{
	struct vtr_virtio_device *device = waiter->data;
	const struct vtr_virtqueue *queue =
		(const struct vtr_virtqueue *)((const char *)waiter - offsetof(struct vtr_virtqueue, waiter));

	vtr_virtio_kick(device, (unsigned)(queue - device->queues));
}

/* Keeps a copy of answer for the loop. */
static void defer_answer(struct vtr_virtio_device *device, unsigned index, const struct vtr_virtio_answer *answer)
{
	struct vtr_virtio_answers *waiting = &device->answers[index];
	struct vtr_virtio_answer *kept = malloc(sizeof(*kept) + answer->size);

	if (!kept) {
		vtr_chain_free(answer->chain);
		vtr_virtqueue_break(&device->queues[index], "no memory left for an answer that has to wait");
		vtr_virtio_broken(device, device->queues[index].why);
		return;
	}
	*kept = *answer;
	kept->next = NULL;
	kept->response = kept + 1;
	if (answer->size > 0)
		memcpy(kept + 1, answer->response, answer->size);
	if (waiting->head)
		waiting->tail->next = kept;
	else
		waiting->head = kept;
	waiting->tail = kept;
	serve_later(device, index);
}

/* Takes the first answer that waits off the list, and frees it but for its chain. */
static void remove_answer(struct vtr_virtio_device *device, unsigned index)
{
	struct vtr_virtio_answer *first = device->answers[index].head;

	device->answers[index].head = first->next;
	free(first);
}

static void forget_answers(struct vtr_virtio_device *device, unsigned index)
{
	while (device->answers[index].head) {
		vtr_chain_free(device->answers[index].head->chain);
		remove_answer(device, index);
	}
}

/* Gives the answers that wait. False when some still do. */
static bool give_waiting(struct vtr_virtio_device *device, unsigned index)
{
	while (device->answers[index].head) {
		if (!give_answer(device, index, device->answers[index].head))
			return false;
		remove_answer(device, index);
	}
	return true;
}

static void serve_queue(struct vtr_virtio_device *device, unsigned index)
{
	struct vtr_virtqueue *queue = &device->queues[index];
	const uint32_t seen = vtr_virtqueue_taken(queue);
	const uint32_t epoch = queue->epoch;
	bool more;

	if (!queue->enabled)
		return;
	if (!give_waiting(device, index)) {
		serve_later(device, index);
		return;
	}
	queue->drained = queue->retry = queue->held = false;
	vtr_virtqueue_disable_notify(queue);
	device->impl->notify(device, index);
	more = vtr_virtqueue_enable_notify(queue);
	if (queue->broken)
		vtr_virtio_broken(device, queue->why);
	else if (queue->epoch == epoch && (queue->retry || (more && (queue->drained || vtr_virtqueue_taken(queue) != seen))))
		serve_later(device, index);
}

static void serve_kicked(void *data)
{
	struct vtr_virtio_device *device = data;
	uint32_t kicked;
	unsigned i;

	if (!is_live(device))
		return;
	kicked = device->kicked;
	device->kicked = 0;
	for (i = 0; i < device->n_queues && is_live(device); i++) {
		if (kicked & BIT(i))
			serve_queue(device, i);
	}
}

int vtr_virtio_device_init(struct vtr_virtio_device *device, const struct vtr_virtio_device_impl *impl, uint16_t id,
                           unsigned n_queues, const uint16_t *queue_sizes, uint32_t config_size, struct vtr_memory *memory,
                           struct vtr_loop *loop)
{
	unsigned i;

	assert(impl->features && impl->notify && impl->queue_reset && impl->reset && (impl->config_read || !config_size));
	assert(n_queues > 0 && n_queues <= VTR_VIRTIO_MAX_QUEUES);
	*device = (struct vtr_virtio_device){
		.impl = impl,
		.id = id,
		.n_queues = n_queues,
		.config_size = config_size,
		.memory = memory,
		.loop = loop,
	};
	for (i = 0; i < n_queues; i++)
		vtr_virtqueue_init(&device->queues[i], memory, queue_sizes[i], translation_came, device);
	errno = 0;
	device->kick = vtr_loop_add_event(loop, serve_kicked, device);
	if (!device->kick)
		return errno ? -errno : -ENOMEM;
	return 0;
}

static void reset_queue(struct vtr_virtio_device *device, unsigned index)
{
	forget_answers(device, index);
	vtr_virtqueue_reset(&device->queues[index]);
}

void vtr_virtio_device_finish(struct vtr_virtio_device *device)
{
	unsigned i;

	vtr_source_remove(device->kick);
	device->kick = NULL;
	for (i = 0; i < device->n_queues; i++)
		reset_queue(device, i);
}

uint16_t vtr_virtio_device_id(const struct vtr_virtio_device *device)
{
	return device->id;
}

uint64_t vtr_virtio_device_features(const struct vtr_virtio_device *device)
{
	/* features() changes nothing; it takes the device as every other function of a device type does. */
	return core_features | device->impl->features((struct vtr_virtio_device *)(uintptr_t)device);
}

uint64_t vtr_virtio_driver_features(const struct vtr_virtio_device *device)
{
	return device->driver_features;
}

uint8_t vtr_virtio_status(const struct vtr_virtio_device *device)
{
	return device->status;
}

bool vtr_virtio_has_feature(const struct vtr_virtio_device *device, unsigned bit)
{
	return bit < 64 && (device->driver_features & BIT(bit));
}

static void interrupt_config(struct vtr_virtio_device *device)
{
	if ((device->status & VIRTIO_CONFIG_S_DRIVER_OK) && device->transport)
		device->transport->interrupt_config(device->transport_data);
}

void vtr_virtio_config_changed(struct vtr_virtio_device *device)
{
	device->config_generation++;
	interrupt_config(device);
}

/* Gives the answer, or lets it wait: always behind those that wait already. */
static void answer_chain(struct vtr_virtio_device *device, unsigned index, struct vtr_virtio_answer *answer)
{
	assert(index < device->n_queues);
	/* A chain of before a reset is dead, and its memory the driver's. */
	if (!is_live(device) || answer->chain->epoch != device->queues[index].epoch)
		vtr_chain_free(answer->chain);
	else if (device->answers[index].head || !give_answer(device, index, answer))
		defer_answer(device, index, answer);
}

void vtr_virtio_answer(struct vtr_virtio_device *device, unsigned index, struct vtr_chain *chain, const void *response,
                       uint32_t size)
{
	struct vtr_virtio_answer answer = { .chain = chain, .response = response, .size = chain->in_size < size ? 0 : size };

	answer_chain(device, index, &answer);
}

void vtr_virtio_complete(struct vtr_virtio_device *device, unsigned index, struct vtr_chain *chain, uint32_t written)
{
	struct vtr_virtio_answer answer = { .chain = chain, .written = written };

	answer_chain(device, index, &answer);
}

void vtr_virtio_object_added(struct vtr_virtio_device *device, const uint8_t uuid[16])
{
	if (device->transport && device->transport->object_added)
		device->transport->object_added(device->transport_data, uuid);
}

void vtr_virtio_object_removed(struct vtr_virtio_device *device, const uint8_t uuid[16])
{
	if (device->transport && device->transport->object_removed)
		device->transport->object_removed(device->transport_data, uuid);
}

void vtr_virtio_broken(struct vtr_virtio_device *device, const char *reason)
{
	if (device->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	vtr_log(VTR_LOG_DEBUG, "virtio device %u needs a reset by its driver: %s", device->id, reason);
	device->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	interrupt_config(device);
}

void vtr_virtio_set_transport(struct vtr_virtio_device *device, const struct vtr_virtio_transport_impl *impl, void *data)
{
	assert(!impl || (impl->interrupt_queue && impl->interrupt_config));
	device->transport = impl;
	device->transport_data = data;
}

void vtr_virtio_set_max_queue_size(struct vtr_virtio_device *device, uint16_t size)
{
	unsigned i;

	for (i = 0; i < device->n_queues; i++) {
		assert(!device->queues[i].enabled);
		device->queues[i].max_size = device->queues[i].size = size;
	}
}

static bool acceptable(const struct vtr_virtio_device *device, uint64_t features)
{
	return (features & BIT(VIRTIO_F_VERSION_1)) && !(features & ~vtr_virtio_device_features(device));
}

int vtr_virtio_set_driver_features(struct vtr_virtio_device *device, uint64_t features)
{
	if (!(device->status & VIRTIO_CONFIG_S_FEATURES_OK))
		device->requested_features = features;
	return acceptable(device, features) ? 0 : -EINVAL;
}

/* Virtio 1.3, 2.2 and 3.1.1: the driver reads the status again to see whether FEATURES_OK stayed. */
static bool accept_features(struct vtr_virtio_device *device)
{
	if (!acceptable(device, device->requested_features)) {
		vtr_log(VTR_LOG_DEBUG,
		        "virtio device %u refuses features 0x%" PRIx64 ": 0x%" PRIx64 " are offered and VERSION_1 is required",
		        device->id, device->requested_features, vtr_virtio_device_features(device));
		return false;
	}
	device->driver_features = device->requested_features;
	return true;
}

/* What the driver did before DRIVER_OK, rings included, counts from now on. */
static void activate(struct vtr_virtio_device *device)
{
	unsigned i;

	if (device->impl->activate)
		device->impl->activate(device);
	for (i = 0; i < device->n_queues; i++) {
		if (device->queues[i].enabled)
			vtr_virtio_kick(device, i);
	}
}

void vtr_virtio_set_status(struct vtr_virtio_device *device, uint8_t status)
{
	uint8_t added = status & (uint8_t) ~(device->status | VIRTIO_CONFIG_S_NEEDS_RESET);

	if (status == 0) {
		vtr_virtio_reset(device);
		return;
	}
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !accept_features(device))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((device->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	device->status |= added;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		activate(device);
}

/* type: the device type's part of it. */
static void reset(struct vtr_virtio_device *device, void (*type)(struct vtr_virtio_device *device))
{
	unsigned i;

	device->status = 0;
	device->kicked = 0;
	type(device);
	for (i = 0; i < device->n_queues; i++)
		reset_queue(device, i);
	device->requested_features = device->driver_features = 0;
}

void vtr_virtio_reset(struct vtr_virtio_device *device)
{
	reset(device, device->impl->reset);
}

void vtr_virtio_abandon(struct vtr_virtio_device *device)
{
	reset(device, device->impl->abandoned ? device->impl->abandoned : device->impl->reset);
}

int vtr_virtio_enable_queue(struct vtr_virtio_device *device, unsigned index)
{
	if (index >= device->n_queues || device->queues[index].enabled || !(device->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return -EINVAL;
	vtr_virtqueue_start(&device->queues[index], vtr_virtio_has_feature(device, VIRTIO_RING_F_EVENT_IDX),
	                    vtr_virtio_has_feature(device, VIRTIO_RING_F_INDIRECT_DESC));
	return 0;
}

void vtr_virtio_reset_queue(struct vtr_virtio_device *device, unsigned index)
{
	assert(index < device->n_queues);
	device->kicked &= ~(uint32_t)BIT(index);
	device->impl->queue_reset(device, index);
	reset_queue(device, index);
}

uint16_t vtr_virtio_stop_queue(struct vtr_virtio_device *device, unsigned index)
{
	const struct vtr_virtqueue *queue = &device->queues[index];
	uint16_t last_avail;

	assert(index < device->n_queues);
	if (!queue->enabled)
		return 0;
	if (device->impl->drain)
		device->impl->drain(device, index);
	last_avail = queue->last_avail;
	vtr_virtio_reset_queue(device, index);
	return last_avail;
}

int vtr_virtio_resume_queue(struct vtr_virtio_device *device, unsigned index, uint16_t last_avail)
{
	int ret = vtr_virtio_enable_queue(device, index);

	if (ret < 0)
		return ret;
	vtr_virtqueue_resume(&device->queues[index], last_avail);
	vtr_virtio_kick(device, index);
	return 0;
}

void vtr_virtio_kick(struct vtr_virtio_device *device, unsigned index)
{
	if (index >= device->n_queues)
		return;
	device->kicked |= (uint32_t)BIT(index);
	if (is_live(device))
		vtr_event_raise(device->kick);
}

void vtr_virtio_serve(struct vtr_virtio_device *device, unsigned index)
{
	assert(index < device->n_queues);
	device->kicked |= (uint32_t)BIT(index);
	serve_kicked(device);
}
