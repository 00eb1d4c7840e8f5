/* SPDX-License-Identifier: MIT */
/* The device core: status and features, deferred notifications, resets, and what a broken queue does to the device. */
#include <errno.h>
#include <glib.h>

#include "fake_device.h"
#include "vring.h"

#define BIT(n) (UINT64_C(1) << (n))
#define ALL_STATUS (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

enum { BASE = 0x10000, DATA = 0x18000, RAM_SIZE = 0x10000 };

struct fixture {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct vring_driver ring; /* queue 0 */
	struct fake_device fake;
	struct vtr_virtio_device *device;
	unsigned queue_interrupts[FAKE_QUEUES], config_interrupts;
};

static void interrupt_queue(void *data, unsigned queue)
{
	((struct fixture *)data)->queue_interrupts[queue]++;
}

static void interrupt_config(void *data)
{
	((struct fixture *)data)->config_interrupts++;
}

static const struct vtr_virtio_transport_impl transport = {
	.interrupt_queue = interrupt_queue,
	.interrupt_config = interrupt_config,
};

static void set_up(struct fixture *f)
{
	*f = (struct fixture){ .loop = vtr_loop_create(), .memory = vtr_memory_create() };
	guest_ram_init(&f->ram, BASE, RAM_SIZE);
	g_assert_cmpint(guest_ram_add(&f->ram, f->memory), ==, 0);
	vring_driver_init(&f->ring, &f->ram, BASE, FAKE_QUEUE_SIZE);
	fake_device_init(&f->fake, f->memory, f->loop);
	f->device = &f->fake.base;
	vtr_virtio_set_transport(f->device, &transport, f);
}

static void tear_down(struct fixture *f)
{
	fake_device_finish(&f->fake);
	vtr_memory_destroy(f->memory);
	guest_ram_finish(&f->ram);
	vtr_loop_destroy(f->loop);
}

static void dispatch(struct fixture *f)
{
	g_assert_cmpint(vtr_loop_dispatch(f->loop, 0), ==, 0);
}

static void negotiate(struct fixture *f, uint64_t features)
{
	vtr_virtio_set_status(f->device, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vtr_virtio_set_status(f->device, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vtr_virtio_set_driver_features(f->device, features | BIT(VIRTIO_F_VERSION_1));
	vtr_virtio_set_status(f->device, ALL_STATUS & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static void start_queue(struct fixture *f)
{
	f->device->queues[0].desc = f->ring.desc;
	f->device->queues[0].avail = f->ring.avail;
	f->device->queues[0].used = f->ring.used;
	g_assert_cmpint(vtr_virtio_enable_queue(f->device, 0), ==, 0);
}

static void go_live(struct fixture *f)
{
	negotiate(f, 0);
	start_queue(f);
	vtr_virtio_set_status(f->device, ALL_STATUS);
	dispatch(f);
}

static void publish(struct fixture *f, uint16_t index)
{
	vring_put_desc(&f->ring, f->ring.desc, index * 2u, DATA + index * 64u, 8, VRING_DESC_F_NEXT, (uint16_t)(index * 2 + 1));
	vring_put_desc(&f->ring, f->ring.desc, index * 2u + 1, DATA + index * 64u + 32, 8, VRING_DESC_F_WRITE, 0);
	vring_publish(&f->ring, index * 2);
}

/* ---- status and features ---- */

static void test_status(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, 0);
	vtr_virtio_set_status(f.device, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vtr_virtio_set_status(f.device, VIRTIO_CONFIG_S_DRIVER); /* bits are never cleared one by one */
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vtr_virtio_set_status(f.device, VIRTIO_CONFIG_S_DRIVER_OK); /* not without FEATURES_OK */
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	g_assert_cmpuint(f.fake.activated, ==, 0);
	vtr_virtio_set_status(f.device, VIRTIO_CONFIG_S_NEEDS_RESET); /* the device's alone */
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vtr_virtio_set_driver_features(f.device, BIT(VIRTIO_F_VERSION_1));
	vtr_virtio_set_status(f.device, ALL_STATUS & ~VIRTIO_CONFIG_S_DRIVER_OK);
	vtr_virtio_set_status(f.device, ALL_STATUS);
	vtr_virtio_set_status(f.device, ALL_STATUS);
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, ALL_STATUS);
	g_assert_cmpuint(f.fake.activated, ==, 1);
	vtr_virtio_set_status(f.device, ALL_STATUS | VIRTIO_CONFIG_S_FAILED);
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, ALL_STATUS | VIRTIO_CONFIG_S_FAILED);
	vtr_virtio_set_status(f.device, 0);
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, 0);
	g_assert_cmpuint(vtr_virtio_driver_features(f.device), ==, 0);
	g_assert_cmpuint(f.fake.resets, ==, 1);
	tear_down(&f);
}

static const struct feature_row {
	const char *name;
	uint64_t features;
	bool accepted;
} feature_rows[] = {
	{ "version-1-alone", BIT(VIRTIO_F_VERSION_1), true },
	{ "all-offered",
	  0x0e | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
	          BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_RING_RESET),
	  true },
	{ "none", 0, false },
	{ "version-1-missing", 0x0e, false },
	{ "device-bit-not-offered", BIT(VIRTIO_F_VERSION_1) | 0x01, false },
	{ "ring-bit-not-offered", BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED), false },
	{ "unknown-bit", BIT(VIRTIO_F_VERSION_1) | BIT(63), false },
};

static void test_features(const void *data)
{
	const struct feature_row *row = data;
	struct fixture f;

	set_up(&f);
	vtr_virtio_set_status(f.device, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	g_assert_cmpint(vtr_virtio_set_driver_features(f.device, row->features), ==, row->accepted ? 0 : -EINVAL);
	g_assert_cmpuint(vtr_virtio_driver_features(f.device), ==, 0);
	vtr_virtio_set_status(f.device, ALL_STATUS & ~VIRTIO_CONFIG_S_DRIVER_OK);
	g_assert_cmpint(!!(vtr_virtio_status(f.device) & VIRTIO_CONFIG_S_FEATURES_OK), ==, row->accepted);
	g_assert_cmpuint(vtr_virtio_driver_features(f.device), ==, row->accepted ? row->features : 0);
	/* fixed from here on */
	vtr_virtio_set_driver_features(f.device, BIT(VIRTIO_F_VERSION_1) | 0x02);
	vtr_virtio_set_status(f.device, ALL_STATUS & ~VIRTIO_CONFIG_S_DRIVER_OK);
	if (row->accepted)
		g_assert_cmpuint(vtr_virtio_driver_features(f.device), ==, row->features);
	else /* a refused driver may try again with less */
		g_assert_cmpuint(vtr_virtio_driver_features(f.device), ==, BIT(VIRTIO_F_VERSION_1) | 0x02);
	tear_down(&f);
}

static void test_offered(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmpuint(vtr_virtio_device_id(f.device), ==, 16);
	g_assert_cmphex(vtr_virtio_device_features(f.device), ==, 0x0e | BIT(28) | BIT(29) | BIT(32) | BIT(33) | BIT(40));
	negotiate(&f, 0x02);
	g_assert_true(vtr_virtio_has_feature(f.device, 1));
	g_assert_true(vtr_virtio_has_feature(f.device, VIRTIO_F_VERSION_1));
	g_assert_false(vtr_virtio_has_feature(f.device, 2));
	g_assert_false(vtr_virtio_has_feature(f.device, 64));
	tear_down(&f);
}

static void test_feature_names(const void *data)
{
	g_assert_cmpstr(vtr_virtio_feature_name(16, 1), ==, "EDID");
	g_assert_cmpstr(vtr_virtio_feature_name(16, 3), ==, "RESOURCE_BLOB");
	g_assert_cmpstr(vtr_virtio_feature_name(16, 32), ==, "VERSION_1");
	g_assert_cmpstr(vtr_virtio_feature_name(16, 40), ==, "RING_RESET");
	g_assert_cmpstr(vtr_virtio_feature_name(18, 29), ==, "EVENT_IDX");
	g_assert_null(vtr_virtio_feature_name(18, 1));
	g_assert_null(vtr_virtio_feature_name(16, 6));
	g_assert_null(vtr_virtio_feature_name(16, 63));
	g_assert_null(vtr_virtio_feature_name(16, UINT32_MAX));
}

static void test_enable_queue(const void *data)
{
	struct fixture f;

	set_up(&f);
	g_assert_cmpint(vtr_virtio_enable_queue(f.device, 0), ==, -EINVAL); /* FEATURES_OK first */
	negotiate(&f, BIT(VIRTIO_RING_F_EVENT_IDX));
	start_queue(&f);
	g_assert_true(f.device->queues[0].event_idx);
	g_assert_false(f.device->queues[0].indirect);
	g_assert_cmpint(vtr_virtio_enable_queue(f.device, 0), ==, -EINVAL); /* once */
	g_assert_cmpint(vtr_virtio_enable_queue(f.device, FAKE_QUEUES), ==, -EINVAL);
	tear_down(&f);
}

/* ---- notifications ---- */

static void test_kick_is_deferred(const void *data)
{
	struct vring_used_elem element;
	struct fixture f;

	set_up(&f);
	go_live(&f);
	f.fake.notified[0] = 0;
	memcpy(guest_ram_at(&f.ram, DATA), "12345678", 8);
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	vtr_virtio_kick(f.device, 0);
	vtr_virtio_kick(f.device, 1); /* not enabled */
	vtr_virtio_kick(f.device, FAKE_QUEUES);
	vtr_virtio_kick(f.device, UINT32_MAX);
	g_assert_cmpuint(f.fake.notified[0], ==, 0);
	dispatch(&f);
	g_assert_cmpuint(f.fake.notified[0], ==, 1);
	g_assert_cmpuint(f.fake.notified[1], ==, 0);
	g_assert_cmpint(vring_take_used(&f.ring, &element), ==, 1);
	g_assert_cmpuint(element.len, ==, 8);
	g_assert_cmpmem(guest_ram_at(&f.ram, DATA + 32), 8, "12345678", 8);
	g_assert_cmpuint(f.queue_interrupts[0], ==, 1);
	g_assert_cmpuint(vring_used_flags(&f.ring), ==, 0);
	dispatch(&f);
	g_assert_cmpuint(f.fake.notified[0], ==, 1);
	tear_down(&f);
}

static void test_kick_before_driver_ok(const void *data)
{
	struct fixture f;

	set_up(&f);
	negotiate(&f, 0);
	start_queue(&f);
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_cmpuint(f.fake.chains, ==, 0);
	vtr_virtio_set_status(f.device, ALL_STATUS);
	dispatch(&f);
	g_assert_cmpuint(f.fake.chains, ==, 1);
	tear_down(&f);
}

static void test_early_return_is_called_again(const void *data)
{
	struct fixture f;
	uint16_t i;

	set_up(&f);
	go_live(&f);
	f.fake.limit = 3;
	for (i = 0; i < 8; i++)
		publish(&f, i);
	vtr_virtio_kick(f.device, 0);
	f.fake.notified[0] = 0;
	for (i = 0; i < 8; i++)
		dispatch(&f);
	g_assert_cmpuint(f.fake.chains, ==, 8);
	g_assert_cmpuint(f.fake.notified[0], ==, 3);
	tear_down(&f);
}

static void test_holding_device_does_not_spin(const void *data)
{
	struct fixture f;
	unsigned i;

	set_up(&f);
	go_live(&f);
	f.fake.hold = true;
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	f.fake.notified[0] = 0;
	for (i = 0; i < 8; i++)
		dispatch(&f);
	g_assert_cmpuint(f.fake.notified[0], ==, 1);
	f.fake.hold = false;
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_cmpuint(f.fake.chains, ==, 1);
	tear_down(&f);
}

static void test_config_changed(const void *data)
{
	struct fixture f;
	uint8_t generation;

	set_up(&f);
	generation = f.device->config_generation;
	vtr_virtio_config_changed(f.device);
	g_assert_cmpuint(f.device->config_generation, !=, generation);
	g_assert_cmpuint(f.config_interrupts, ==, 0); /* not before DRIVER_OK */
	go_live(&f);
	vtr_virtio_config_changed(f.device);
	g_assert_cmpuint(f.config_interrupts, ==, 1);
	vtr_virtio_set_transport(f.device, NULL, NULL);
	vtr_virtio_config_changed(f.device);
	g_assert_cmpuint(f.config_interrupts, ==, 1);
	tear_down(&f);
}

/* ---- resets ---- */

static void test_reset(const void *data)
{
	struct fixture f;

	set_up(&f);
	go_live(&f);
	f.fake.keep = true;
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_nonnull(f.fake.held);
	publish(&f, 1);
	vtr_virtio_kick(f.device, 0);
	vtr_virtio_set_status(f.device, 0);
	g_assert_null(f.fake.held);
	g_assert_cmpuint(f.fake.resets, ==, 1);
	g_assert_false(f.device->queues[0].enabled);
	g_assert_cmpuint(f.device->queues[0].desc, ==, 0);
	f.fake.notified[0] = 0;
	dispatch(&f);
	g_assert_cmpuint(f.fake.notified[0], ==, 0);

	/* and it works again */
	f.fake.keep = false;
	vring_driver_init(&f.ring, &f.ram, BASE, FAKE_QUEUE_SIZE);
	memset(f.ram.data, 0, RAM_SIZE);
	go_live(&f);
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 1);
	tear_down(&f);
}

static void test_ring_reset(const void *data)
{
	struct fixture f;

	set_up(&f);
	go_live(&f);
	f.fake.keep = true;
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	vtr_virtio_kick(f.device, 0);
	vtr_virtio_reset_queue(f.device, 0);
	g_assert_null(f.fake.held);
	g_assert_cmpuint(f.fake.queue_resets, ==, 1);
	g_assert_cmpuint(f.fake.resets, ==, 0);
	g_assert_false(f.device->queues[0].enabled);
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, ALL_STATUS);
	f.fake.notified[0] = 0;
	dispatch(&f);
	g_assert_cmpuint(f.fake.notified[0], ==, 0);

	/* the same queue starts again while the device is live */
	f.fake.keep = false;
	memset(f.ram.data, 0, RAM_SIZE);
	vring_driver_init(&f.ring, &f.ram, BASE + 0x1000, 16);
	f.device->queues[0].size = 16;
	start_queue(&f);
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 1);
	tear_down(&f);
}

/* ---- broken ---- */

static void test_broken_queue(const void *data)
{
	struct fixture f;

	set_up(&f);
	go_live(&f);
	f.fake.keep = true;
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	vring_publish(&f.ring, 0xffff);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, ALL_STATUS | VIRTIO_CONFIG_S_NEEDS_RESET);
	g_assert_cmpuint(f.config_interrupts, ==, 1);
	/* silence: no more chains, no used entries, no interrupts */
	f.fake.notified[0] = 0;
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_cmpuint(f.fake.notified[0], ==, 0);
	vtr_virtio_complete(f.device, 0, f.fake.held, 0);
	f.fake.held = NULL;
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 0);
	g_assert_cmpuint(f.queue_interrupts[0], ==, 0);
	vtr_virtio_broken(f.device, "again");
	g_assert_cmpuint(f.config_interrupts, ==, 1);
	vtr_virtio_set_status(f.device, 0);
	g_assert_cmpuint(vtr_virtio_status(f.device), ==, 0);
	tear_down(&f);
}

static void test_used_ring_gone(const void *data)
{
	struct fixture f;

	set_up(&f);
	go_live(&f);
	f.fake.keep = true;
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	vtr_memory_remove_all(f.memory);
	vtr_virtio_complete(f.device, 0, f.fake.held, 0);
	f.fake.held = NULL;
	g_assert_true(vtr_virtio_status(f.device) & VIRTIO_CONFIG_S_NEEDS_RESET);
	tear_down(&f);
}

static void test_failed(const void *data)
{
	struct fixture f;

	set_up(&f);
	go_live(&f);
	vtr_virtio_set_status(f.device, ALL_STATUS | VIRTIO_CONFIG_S_FAILED);
	publish(&f, 0);
	vtr_virtio_kick(f.device, 0);
	dispatch(&f);
	g_assert_cmpuint(f.fake.chains, ==, 0);
	tear_down(&f);
}

int main(int argc, char **argv)
{
	size_t i;

	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/unit/virtio-device/status", NULL, test_status);
	for (i = 0; i < G_N_ELEMENTS(feature_rows); i++) {
		g_autofree char *name = g_strdup_printf("/unit/virtio-device/features/%s", feature_rows[i].name);

		g_test_add_data_func(name, &feature_rows[i], test_features);
	}
	g_test_add_data_func("/unit/virtio-device/features/offered", NULL, test_offered);
	g_test_add_data_func("/unit/virtio-device/features/names", NULL, test_feature_names);
	g_test_add_data_func("/unit/virtio-device/enable-queue", NULL, test_enable_queue);
	g_test_add_data_func("/unit/virtio-device/kick/deferred", NULL, test_kick_is_deferred);
	g_test_add_data_func("/unit/virtio-device/kick/before-driver-ok", NULL, test_kick_before_driver_ok);
	g_test_add_data_func("/unit/virtio-device/kick/early-return", NULL, test_early_return_is_called_again);
	g_test_add_data_func("/unit/virtio-device/kick/holding-device", NULL, test_holding_device_does_not_spin);
	g_test_add_data_func("/unit/virtio-device/config-changed", NULL, test_config_changed);
	g_test_add_data_func("/unit/virtio-device/reset", NULL, test_reset);
	g_test_add_data_func("/unit/virtio-device/ring-reset", NULL, test_ring_reset);
	g_test_add_data_func("/unit/virtio-device/broken/queue", NULL, test_broken_queue);
	g_test_add_data_func("/unit/virtio-device/broken/used-ring-gone", NULL, test_used_ring_gone);
	g_test_add_data_func("/unit/virtio-device/failed", NULL, test_failed);
	return g_test_run();
}
