/* SPDX-License-Identifier: MIT */
#ifndef VTR_TESTS_UNIT_INPUT_DRIVER_H
#define VTR_TESTS_UNIT_INPUT_DRIVER_H

/* A driver of one virtio-input device: buffers for its events, and what it has to say. */
#include <glib.h>
#include <linux/virtio_config.h>
#include <stdio.h>

#include <vitrine/input.h>

#include "input/input.h"
#include "vring.h"

enum {
	DRIVER_BASE = 0x10000,
	DRIVER_RAM = 0x10000,
	DRIVER_BUFFERS = 0x18000, /* of events, eight bytes each */
	DRIVER_STATUS = 0x1c000,
	DRIVER_SIZE = 64, /* entries of either queue */
};

struct input_driver {
	struct vtr_loop *loop;
	struct vtr_virtio_device *device;
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct vring_driver eventq, statusq;
	unsigned interrupts[VTR_INPUT_QUEUES], config_interrupts;
	uint16_t given; /* buffers so far */
};

static inline void driver_interrupt_queue(void *data, unsigned queue)
{
	((struct input_driver *)data)->interrupts[queue]++;
}

static inline void driver_interrupt_config(void *data)
{
	((struct input_driver *)data)->config_interrupts++;
}

static const struct vtr_virtio_transport_impl driver_transport = {
	.interrupt_queue = driver_interrupt_queue,
	.interrupt_config = driver_interrupt_config,
};

static inline void driver_init(struct input_driver *driver, struct vtr_input *input, enum vtr_input_kind kind,
                               struct vtr_loop *loop)
{
	*driver = (struct input_driver){
		.loop = loop,
		.device = vtr_input_virtio(input, kind),
		.memory = vtr_input_memory(input, kind),
	};
	guest_ram_init(&driver->ram, DRIVER_BASE, DRIVER_RAM);
	g_assert_cmpint(guest_ram_add(&driver->ram, driver->memory), ==, 0);
	vtr_virtio_set_transport(driver->device, &driver_transport, driver);
}

static inline void driver_finish(struct input_driver *driver)
{
	vtr_virtio_reset(driver->device);
	vtr_virtio_set_transport(driver->device, NULL, NULL);
	vtr_memory_remove_all(driver->memory);
	guest_ram_finish(&driver->ram);
}

/* Until there is nothing left to do. */
static inline void driver_dispatch(struct input_driver *driver)
{
	for (int i = 0; i < 40; i++)
		g_assert_cmpint(vtr_loop_dispatch(driver->loop, 0), ==, 0);
}

static inline void driver_start_queue(struct input_driver *driver, unsigned index, const struct vring_driver *ring)
{
	struct vtr_virtqueue *queue = &driver->device->queues[index];

	queue->size = ring->size;
	queue->desc = ring->desc;
	queue->avail = ring->avail;
	queue->used = ring->used;
	g_assert_cmpint(vtr_virtio_enable_queue(driver->device, index), ==, 0);
}

/* To DRIVER_OK, without buffers. */
static inline void driver_start(struct input_driver *driver)
{
	const uint8_t ready = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	memset(driver->ram.data, 0, driver->ram.size);
	driver->given = 0;
	uint64_t next = vring_driver_init(&driver->eventq, &driver->ram, DRIVER_BASE, DRIVER_SIZE);
	vring_driver_init(&driver->statusq, &driver->ram, next, DRIVER_SIZE);
	vtr_virtio_set_status(driver->device, ready);
	vtr_virtio_set_driver_features(driver->device, UINT64_C(1) << VIRTIO_F_VERSION_1);
	vtr_virtio_set_status(driver->device, ready | VIRTIO_CONFIG_S_FEATURES_OK);
	driver_start_queue(driver, VTR_INPUT_EVENTQ, &driver->eventq);
	driver_start_queue(driver, VTR_INPUT_STATUSQ, &driver->statusq);
	vtr_virtio_set_status(driver->device, ready | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Gives count buffers of `size` bytes, each in a descriptor of its own. */
static inline void driver_give(struct input_driver *driver, unsigned count, uint32_t size)
{
	for (unsigned i = 0; i < count; i++) {
		uint16_t index = driver->given++ % DRIVER_SIZE;

		vring_put_desc(&driver->eventq, driver->eventq.desc, index, DRIVER_BUFFERS + index * 64u, size, VRING_DESC_F_WRITE,
		               0);
		vring_publish(&driver->eventq, index);
	}
	vtr_virtio_kick(driver->device, VTR_INPUT_EVENTQ);
}

/* The next event that the device has given, if any. Its buffer is not given back. */
static inline bool driver_take(struct input_driver *driver, struct virtio_input_event *event)
{
	struct vring_used_elem used;

	driver_dispatch(driver);
	if (!vring_take_used(&driver->eventq, &used))
		return false;
	g_assert_cmpuint(used.len, ==, sizeof(*event));
	memcpy(event, guest_ram_at(&driver->ram, DRIVER_BUFFERS + used.id * 64u), sizeof(*event));
	return true;
}

/* "k30+ k30- x100 y200 | ..." : all events that came, with fresh buffers for as long as there are more. */
static inline char *driver_read(struct input_driver *driver, bool refill)
{
	static const char *const relative[] = { [REL_X] = "dx",    [REL_Y] = "dy",           [REL_HWHEEL] = "hw",
		                                [REL_WHEEL] = "w", [REL_WHEEL_HI_RES] = "W", [REL_HWHEEL_HI_RES] = "HW" };
	GString *text = g_string_new(NULL);
	struct virtio_input_event event;

	while (driver_take(driver, &event)) {
		if (event.type == EV_SYN)
			g_string_append(text, "| ");
		else if (event.type == EV_KEY)
			g_string_append_printf(text, "k%u%c ", event.code, event.value ? '+' : '-');
		else if (event.type == EV_REL)
			g_string_append_printf(text, "%s%d ", relative[event.code], (int32_t)event.value);
		else if (event.code == ABS_X || event.code == ABS_Y)
			g_string_append_printf(text, "%c%d ", event.code == ABS_X ? 'x' : 'y', (int32_t)event.value);
		else
			g_string_append_printf(text, "%s%d ",
			                       event.code == ABS_MT_SLOT          ? "slot"
			                       : event.code == ABS_MT_TRACKING_ID ? "id"
			                       : event.code == ABS_MT_POSITION_X  ? "tx"
			                                                          : "ty",
			                       (int32_t)event.value);
		if (refill)
			driver_give(driver, 1, sizeof(event));
	}
	if (text->len)
		g_string_truncate(text, text->len - 1);
	return g_string_free(text, FALSE);
}

/* Sends one status event in a buffer of `size` bytes. */
static inline void driver_send(struct input_driver *driver, uint16_t index, uint16_t type, uint16_t code, uint32_t value,
                               uint32_t size)
{
	const struct virtio_input_event event = { type, code, value };

	memcpy(guest_ram_at(&driver->ram, DRIVER_STATUS + index * 64u), &event, sizeof(event));
	vring_put_desc(&driver->statusq, driver->statusq.desc, index, DRIVER_STATUS + index * 64u, size, 0, 0);
	vring_publish(&driver->statusq, index);
	vtr_virtio_kick(driver->device, VTR_INPUT_STATUSQ);
	driver_dispatch(driver);
}

#endif
