/* SPDX-License-Identifier: MIT */
#ifndef VTR_TESTS_UNIT_FAKE_DEVICE_H
#define VTR_TESTS_UNIT_FAKE_DEVICE_H

/* A device type with two queues and 24 bytes of configuration that answers each chain with its own first bytes. */
#include <glib.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdint.h>
#include <string.h>

#include "virtio/device.h"

enum { FAKE_QUEUES = 2, FAKE_QUEUE_SIZE = 64, FAKE_CONFIG_SIZE = 24 };

struct fake_device {
	struct vtr_virtio_device base;
	uint8_t config[FAKE_CONFIG_SIZE];
	unsigned activated, resets, queue_resets, notified[FAKE_QUEUES], chains;
	unsigned limit;         /* chains taken per notify; 0: all there are */
	bool hold;              /* take none */
	struct vtr_chain *held; /* the last chain is kept here when keep is set */
	bool keep;
};

static inline struct fake_device *fake_from_base(struct vtr_virtio_device *device)
{
	return (struct fake_device *)((char *)device - offsetof(struct fake_device, base));
}

static uint64_t fake_features(struct vtr_virtio_device *device)
{
	return 0x0e; /* EDID, RESOURCE_UUID, RESOURCE_BLOB of a GPU device */
}

static void fake_config_read(struct vtr_virtio_device *device, uint32_t offset, void *buffer, uint32_t length)
{
	g_assert_cmpuint(offset + length, <=, FAKE_CONFIG_SIZE);
	memcpy(buffer, fake_from_base(device)->config + offset, length);
}

static void fake_config_write(struct vtr_virtio_device *device, uint32_t offset, const void *buffer, uint32_t length)
{
	g_assert_cmpuint(offset + length, <=, FAKE_CONFIG_SIZE);
	memcpy(fake_from_base(device)->config + offset, buffer, length);
}

static void fake_activate(struct vtr_virtio_device *device)
{
	fake_from_base(device)->activated++;
}

/* False when the chain cannot be read now and went back. */
static bool fake_answer(struct fake_device *fake, unsigned queue, struct vtr_chain *chain)
{
	uint8_t bytes[16];
	long length = vtr_chain_read(&fake->base.queues[queue], chain, 0, bytes, sizeof(bytes));

	if (vtr_virtqueue_is_transient(length)) {
		vtr_virtqueue_unpop(&fake->base.queues[queue], chain);
		return false;
	}
	fake->chains++;
	vtr_virtio_answer(&fake->base, queue, chain, bytes, length > 0 ? (uint32_t)length : 0);
	return true;
}

static void fake_notify(struct vtr_virtio_device *device, unsigned queue)
{
	struct fake_device *fake = fake_from_base(device);
	struct vtr_chain *chain;
	unsigned taken = 0;

	fake->notified[queue]++;
	while (!fake->hold && (!fake->limit || taken < fake->limit) && vtr_virtqueue_pop(&device->queues[queue], &chain) > 0) {
		taken++;
		if (fake->keep) {
			fake->chains++;
			fake->held = chain;
		} else if (!fake_answer(fake, queue, chain)) {
			return;
		}
	}
}

static void fake_forget(struct fake_device *fake)
{
	vtr_chain_free(fake->held);
	fake->held = NULL;
}

static void fake_queue_reset(struct vtr_virtio_device *device, unsigned queue)
{
	fake_from_base(device)->queue_resets++;
	fake_forget(fake_from_base(device));
}

static void fake_reset(struct vtr_virtio_device *device)
{
	fake_from_base(device)->resets++;
	fake_forget(fake_from_base(device));
}

static const struct vtr_virtio_device_impl fake_impl = {
	.features = fake_features,
	.config_read = fake_config_read,
	.config_write = fake_config_write,
	.activate = fake_activate,
	.notify = fake_notify,
	.queue_reset = fake_queue_reset,
	.reset = fake_reset,
};

static inline void fake_device_init(struct fake_device *fake, struct vtr_memory *memory, struct vtr_loop *loop)
{
	static const uint16_t sizes[FAKE_QUEUES] = { FAKE_QUEUE_SIZE, 16 };
	unsigned i;

	*fake = (struct fake_device){ 0 };
	g_assert_cmpint(
		vtr_virtio_device_init(&fake->base, &fake_impl, VIRTIO_ID_GPU, FAKE_QUEUES, sizes, FAKE_CONFIG_SIZE, memory, loop),
		==, 0);
	for (i = 0; i < FAKE_CONFIG_SIZE; i++)
		fake->config[i] = (uint8_t)(0xa0 + i);
}

static inline void fake_device_finish(struct fake_device *fake)
{
	fake_forget(fake);
	vtr_virtio_device_finish(&fake->base);
}

#endif
