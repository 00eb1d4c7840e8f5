/* SPDX-License-Identifier: MIT */
/* Guest memory that is out of reach for a moment: each access in turn fails once, and the driver must not notice. */
#include <errno.h>
#include <glib.h>

#include "fake_device.h"
#include "gpu_machine.h"

enum { BASE = 0x10000, DATA = 0x18000, RAM_SIZE = 0x10000, CHAINS = 5, ALIVE = 3, TURNS = 64 };

/* Remote memory whose accesses number `first` to first + length - 1 fail with error. */
struct shaky {
	struct guest_ram *ram;
	unsigned accesses, first, length;
	int error;
	bool late; /* a write that fails is carried out all the same, as a request is whose reply nobody waits for */
};

static int shake(struct shaky *shaky)
{
	const unsigned n = shaky->accesses++;

	return n >= shaky->first && n - shaky->first < shaky->length ? shaky->error : 0;
}

static int shaky_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct shaky *shaky = data;
	int error = shake(shaky);

	return error ? error : guest_ram_remote_read(shaky->ram, address, buffer, length);
}

static int shaky_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	struct shaky *shaky = data;
	int error = shake(shaky);

	if (!error || shaky->late)
		guest_ram_remote_write(shaky->ram, address, buffer, length);
	return error;
}

static const struct vtr_remote_impl shaky_remote = { .read = shaky_read, .write = shaky_write };

static const struct row {
	const char *name;
	int error;
	unsigned length;
	bool late, event_idx;
} rows[] = {
	{ "cancelled", -ECANCELED, 1, false, false },
	{ "cancelled-late", -ECANCELED, 1, true, false },
	{ "cancelled-long", -ECANCELED, 7, false, false },
	{ "cancelled-event-idx", -ECANCELED, 1, true, true },
	{ "busy", -EBUSY, 1, false, false },
	{ "busy-long-event-idx", -EBUSY, 5, false, true },
};

struct fixture {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct shaky shaky;
	struct vring_driver ring;
	struct fake_device fake;
	unsigned interrupts;
	uint16_t used_told; /* the used index at the last interrupt */
};

static void interrupt_queue(void *data, unsigned queue)
{
	struct fixture *f = data;

	g_assert_cmpuint(vring_used_idx(&f->ring), !=, f->used_told); /* there is something to see */
	f->used_told = vring_used_idx(&f->ring);
	f->interrupts++;
}

static void interrupt_config(void *data)
{
}

static const struct vtr_virtio_transport_impl transport = { interrupt_queue, interrupt_config };

static void set_up(struct fixture *f, const struct row *row, unsigned first)
{
	const uint8_t fixed = ALIVE | VIRTIO_CONFIG_S_FEATURES_OK;
	const uint64_t features = UINT64_C(1) << VIRTIO_F_VERSION_1 | (row->event_idx ? UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX : 0);
	struct vtr_virtqueue *queue = &f->fake.base.queues[0];

	*f = (struct fixture){ .loop = vtr_loop_create(), .memory = vtr_memory_create() };
	guest_ram_init(&f->ram, BASE, RAM_SIZE);
	f->shaky = (struct shaky){ &f->ram, 0, first, row->length, row->error, row->late };
	vtr_memory_set_remote(f->memory, &shaky_remote, &f->shaky);
	g_assert_cmpint(vtr_memory_add(f->memory, BASE, RAM_SIZE, -1, 0, true), ==, 0);
	vring_driver_init(&f->ring, &f->ram, BASE, FAKE_QUEUE_SIZE);
	fake_device_init(&f->fake, f->memory, f->loop);
	vtr_virtio_set_transport(&f->fake.base, &transport, f);
	vtr_virtio_set_status(&f->fake.base, ALIVE);
	vtr_virtio_set_driver_features(&f->fake.base, features);
	vtr_virtio_set_status(&f->fake.base, fixed);
	queue->desc = f->ring.desc;
	queue->avail = f->ring.avail;
	queue->used = f->ring.used;
	g_assert_cmpint(vtr_virtio_enable_queue(&f->fake.base, 0), ==, 0);
	for (uint16_t i = 0; i < CHAINS; i++) {
		memset(guest_ram_at(&f->ram, DATA + i * 64u), 'a' + i, 8);
		vring_put_desc(&f->ring, f->ring.desc, i * 2u, DATA + i * 64u, 8, VRING_DESC_F_NEXT, (uint16_t)(i * 2 + 1));
		vring_put_desc(&f->ring, f->ring.desc, i * 2u + 1, DATA + i * 64u + 32, 8, VRING_DESC_F_WRITE, 0);
		vring_publish(&f->ring, (uint16_t)(i * 2));
	}
	vtr_virtio_set_status(&f->fake.base, fixed | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void tear_down(struct fixture *f)
{
	fake_device_finish(&f->fake);
	vtr_memory_destroy(f->memory);
	guest_ram_finish(&f->ram);
	vtr_loop_destroy(f->loop);
}

static void check_answers(struct fixture *f)
{
	struct vring_used_elem element;

	g_assert_false(f->fake.base.status & VIRTIO_CONFIG_S_NEEDS_RESET);
	g_assert_cmpuint(f->fake.chains, ==, CHAINS);
	for (uint32_t i = 0; i < CHAINS; i++) {
		g_assert_cmpint(vring_take_used(&f->ring, &element), ==, 1);
		g_assert_cmpuint(element.id, ==, 2 * i);
		g_assert_cmpuint(element.len, ==, 8);
		g_assert_cmpint(memcmp(guest_ram_at(&f->ram, DATA + i * 64), guest_ram_at(&f->ram, DATA + i * 64 + 32), 8), ==, 0);
	}
	g_assert_cmpint(vring_take_used(&f->ring, &element), ==, 0);
	g_assert_cmpuint(f->interrupts, >, 0);
	g_assert_cmpuint(f->fake.base.queues[0].in_flight, ==, 0);
	g_assert_null(f->fake.base.answers[0].head);
}

static void test_every_access(const void *data)
{
	const struct row *row = data;
	unsigned n = 0;
	bool reached;

	do {
		struct fixture f;
		unsigned turns = 0, before;

		set_up(&f, row, n++);
		do {
			before = f.fake.base.kicked;
			vtr_loop_dispatch(f.loop, 0);
		} while (++turns < TURNS && (before || f.fake.base.kicked));
		g_assert_cmpuint(turns, <, TURNS); /* it comes to rest */
		check_answers(&f);
		reached = f.shaky.accesses > f.shaky.first;
		tear_down(&f);
	} while (reached);
	g_assert_cmpuint(n, >, CHAINS * 4);
}

/* Answers that wait die with their queue. */
static void test_reset(const void *data)
{
	const bool whole = GPOINTER_TO_INT(data);
	struct fixture f;

	set_up(&f, &(struct row){ .error = -ECANCELED, .length = UINT_MAX / 2 }, 6);
	vtr_loop_dispatch(f.loop, 0);
	for (unsigned i = 0; i < 100 && !f.fake.base.answers[0].head; i++) {
		tear_down(&f);
		set_up(&f, &(struct row){ .error = -ECANCELED, .length = UINT_MAX / 2 }, i);
		vtr_loop_dispatch(f.loop, 0);
	}
	g_assert_nonnull(f.fake.base.answers[0].head);
	if (whole)
		vtr_virtio_reset(&f.fake.base);
	else
		vtr_virtio_reset_queue(&f.fake.base, 0);
	g_assert_null(f.fake.base.answers[0].head);
	vtr_loop_dispatch(f.loop, 0);
	g_assert_cmpuint(vring_used_idx(&f.ring), ==, 0);
	tear_down(&f);
}

/* CREATE_BLOB with its entries: each is created once, and says so. */
static void test_gpu(const void *data)
{
	bool reached;
	unsigned n = 0;

	do {
		struct gpu_machine machine;
		struct shaky shaky = { &machine.ram, 0, n++, 1, -ECANCELED, true };
		struct gpu_blob_request first = gpu_create_blob(1, 0), second = gpu_create_blob(2, GPU_BYTES);
		uint64_t answers[2];

		gpu_machine_create(&machine, &(struct vtr_gpu_options){ 0 }, 1, 0);
		vtr_memory_set_remote(machine.memory, &shaky_remote, &shaky);
		g_assert_cmpint(vtr_memory_remove(machine.memory, GPU_RINGS, GPU_RAM - GPU_RINGS), ==, 0);
		g_assert_cmpint(vtr_memory_add(machine.memory, GPU_RINGS, GPU_RAM - GPU_RINGS, -1, 0, true), ==, 0);
		gpu_machine_start(&machine, gpu_features);
		answers[0] = gpu_machine_post(&machine, 0, &first, sizeof(first), sizeof(struct virtio_gpu_ctrl_hdr));
		answers[1] = gpu_machine_post(&machine, 0, &second, sizeof(second), sizeof(struct virtio_gpu_ctrl_hdr));
		g_assert_cmpuint(gpu_machine_run(&machine, 2, 2000), ==, 2);
		gpu_machine_settle(&machine);
		for (int i = 0; i < 2; i++) {
			const struct virtio_gpu_ctrl_hdr *hdr = (const void *)gpu_machine_at(&machine, answers[i]);

			g_assert_cmphex(hdr->type, ==, VIRTIO_GPU_RESP_OK_NODATA);
		}
		g_assert_cmpuint(vring_used_idx(&machine.rings[0]), ==, 2);
		g_assert_false(machine.device->status & VIRTIO_CONFIG_S_NEEDS_RESET);
		reached = shaky.accesses > shaky.first;
		gpu_machine_destroy(&machine);
	} while (reached);
	g_assert_cmpuint(n, >, 8);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		char name[64];

		g_snprintf(name, sizeof(name), "/virtio-retry/%s", rows[i].name);
		g_test_add_data_func(name, &rows[i], test_every_access);
	}
	g_test_add_data_func("/virtio-retry/queue-reset", GINT_TO_POINTER(false), test_reset);
	g_test_add_data_func("/virtio-retry/device-reset", GINT_TO_POINTER(true), test_reset);
	g_test_add_data_func("/virtio-retry/create-blob", NULL, test_gpu);
	return g_test_run();
}
