/* SPDX-License-Identifier: MIT */
/*
 * The device IOTLB between a front-end that says anything and a device that accesses anything.
 *
 * An input is a byte of flags (1: GPA_ADDRESSES, 2: small cache) and commands: one byte, modulo COMMANDS, and its arguments.
 * seed_vhost_iotlb.py writes inputs in this form. After each command the map's regions are sorted, do not overlap, and are no more
 * than there may be.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/vhost_user/iotlb.h"

#include "memory/iommu.h"
#include "vring.h"

enum { MIB = 1 << 20, SMALL = 48, MAX_COMMANDS = 2048, MAX_ENTRIES = 8 };

enum command {
	MESSAGE,    /* 32 bytes */
	TRANSLATE,  /* u16 iova page, u16 page, u8 pages, u8 permissions: an update that may well be right */
	INVALIDATE, /* u16 iova page, u8 pages */
	READ,       /* u64 address, u16 length */
	WRITE,
	ACCESS, /* u16 iova page, u8 pages, u8: write */
	SPANS,  /* u8 count, entries: u16 iova page, u8 pages */
	REPLY,  /* u8 which, u8 result */
	TURN,
	ADD_REGION, /* u8 which */
	REMOVE_REGION,
	FORGET_ALL,
	TOGGLE,
	COMMANDS,
};

struct input {
	const uint8_t *data;
	size_t left;
};

struct call {
	void (*done)(int result, void *call);
	void *data;
};

struct machine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vhost_user_mem_table table;
	struct vtr_vhost_user_iotlb iotlb;
	struct guest_ram ram;
	struct call calls[64];
	size_t n_calls;
	struct vtr_memory_waiter waiter;
	struct vtr_spans spans;
	struct vtr_memory_listener listener;
	bool small;
};

/* Zeros beyond the end. */
static void take(struct input *input, void *to, size_t size)
{
	const size_t part = size < input->left ? size : input->left;

	memset(to, 0, size);
	memcpy(to, input->data, part);
	input->data += part;
	input->left -= part;
}

static uint8_t take8(struct input *input)
{
	uint8_t value;

	take(input, &value, sizeof(value));
	return value;
}

static uint64_t take16(struct input *input)
{
	uint16_t value;

	take(input, &value, sizeof(value));
	return value;
}

static uint64_t take64(struct input *input)
{
	uint64_t value;

	take(input, &value, sizeof(value));
	return value;
}

static int send(void *data, const struct vhost_user_iotlb *message, void (*done)(int result, void *call), void *call)
{
	struct machine *m = data;

	if (m->n_calls == sizeof(m->calls) / sizeof(m->calls[0]))
		return -EBUSY;
	m->calls[m->n_calls++] = (struct call){ done, call };
	return 1;
}

static void reply(struct machine *m, size_t which, int result)
{
	if (!m->n_calls)
		return;
	which %= m->n_calls;
	struct call call = m->calls[which];
	m->n_calls--;
	m->calls[which] = m->calls[m->n_calls];
	call.done(result, call.data);
}

static void ready(struct vtr_memory_waiter *waiter)
{
	if (waiter->miss)
		abort(); /* called once, and not waiting any more */
}

static void removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	struct machine *m = (struct machine *)((char *)listener - offsetof(struct machine, listener));

	if (vtr_spans_use(&m->spans, region))
		vtr_spans_finish(&m->spans);
}

static void message(struct machine *m, uint64_t iova, uint64_t size, uint64_t uaddr, uint8_t perm, uint8_t type)
{
	const struct vhost_user_iotlb payload = { .iova = iova, .size = size, .uaddr = uaddr, .perm = perm, .type = type };

	vtr_vhost_user_iotlb_message(&m->iotlb, &payload);
}

static void access_memory(struct machine *m, uint64_t address, size_t length, bool write)
{
	static uint8_t bytes[256 * 4096];
	const int result =
		write ? vtr_memory_write(m->memory, address, bytes, length) : vtr_memory_read(m->memory, address, bytes, length);

	if (result == -EINPROGRESS)
		vtr_memory_wait(m->memory, &m->waiter);
}

static void resolve(struct machine *m, struct input *input)
{
	const size_t count = take8(input) % (MAX_ENTRIES + 1);
	struct vtr_mem_entry entries[MAX_ENTRIES];
	struct vtr_spans_cursor cursor = { 0 };

	for (size_t i = 0; i < count; i++) {
		entries[i].address = take16(input) * 4096;
		entries[i].length = take8(input) * 4096u;
	}
	vtr_spans_finish(&m->spans);
	if (vtr_spans_ask(m->memory, entries, count, &cursor, NULL))
		return;
	if (!vtr_spans_resolve(&m->spans, m->memory, entries, count, NULL) && m->spans.length) {
		uint8_t byte;

		vtr_spans_read(&m->spans, m->spans.length - 1, &byte, 1);
	}
}

/* Two halves of a file: neighbours in the front-end, far from each other in the guest. */
static void add_region(struct machine *m, uint8_t which)
{
	const uint64_t half = which & 1, gpa = half << 24;
	const struct vhost_user_memory_region region = {
		.guest_phys_addr = gpa,
		.memory_size = MIB,
		.userspace_addr = m->table.gpa_addresses ? gpa : half * MIB,
		.mmap_offset = half * MIB,
	};

	vtr_vhost_user_mem_table_add(&m->table, &region, dup(m->ram.fd));
}

static void remove_region(struct machine *m, uint8_t which)
{
	if (!m->table.count)
		return;
	struct vtr_vhost_user_mem_region *region = &m->table.regions[which % m->table.count];
	vtr_vhost_user_iotlb_forget_region(&m->iotlb, region);
	vtr_vhost_user_mem_table_remove(&m->table, region);
}

static void set_active(struct machine *m, bool active)
{
	vtr_vhost_user_iotlb_set_active(&m->iotlb, active);
	if (active && m->small)
		vtr_iommu_set_limits(m->memory, SMALL, VTR_MISS_TIMEOUT_MS);
}

static void run_command(struct machine *m, struct input *input)
{
	struct vhost_user_iotlb raw;
	uint64_t iova, address;
	uint8_t pages;
	const enum command command = (enum command)(take8(input) % COMMANDS);

	switch (command) {
	case MESSAGE:
		take(input, &raw, sizeof(raw));
		vtr_vhost_user_iotlb_message(&m->iotlb, &raw);
		break;
	case TRANSLATE:
		iova = take16(input) * 4096;
		address = take16(input) * 4096;
		pages = take8(input);
		message(m, iova, pages * UINT64_C(4096), address, take8(input) & 3, VHOST_USER_IOTLB_UPDATE);
		break;
	case INVALIDATE:
		iova = take16(input) * 4096;
		message(m, iova, take8(input) * UINT64_C(4096), 0, 0, VHOST_USER_IOTLB_INVALIDATE);
		break;
	case READ:
	case WRITE:
		address = take64(input);
		access_memory(m, address, take16(input), command == WRITE);
		break;
	case ACCESS:
		iova = take16(input) * 4096;
		pages = take8(input);
		access_memory(m, iova, pages * 4096u, take8(input) & 1);
		break;
	case SPANS:
		resolve(m, input);
		break;
	case REPLY:
		pages = take8(input);
		reply(m, pages, take8(input) & 1 ? -EREMOTEIO : 0);
		break;
	case TURN:
		vtr_loop_dispatch(m->loop, 0);
		break;
	case ADD_REGION:
		add_region(m, take8(input));
		break;
	case REMOVE_REGION:
		remove_region(m, take8(input));
		break;
	case FORGET_ALL:
		vtr_vhost_user_iotlb_forget_all(&m->iotlb);
		break;
	case TOGGLE:
		set_active(m, !m->iotlb.active);
		break;
	case COMMANDS:
		break;
	}
}

static void check(const struct machine *m)
{
	const struct vtr_region *region, *last = NULL;
	struct vtr_iommu_status status;
	size_t count = 0;

	for (; (region = vtr_memory_region(m->memory, count)); count++, last = region)
		if (!region->size || !region->mapped || (last && last->address + (last->size - 1) >= region->address))
			abort();
	vtr_memory_iommu_status(m->memory, &status);
	if (m->iotlb.active && (status.entries != count || status.pending > VTR_MAX_MISSES))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct machine m = { .loop = vtr_loop_create(), .memory = vtr_memory_create() };
	const uint8_t flags = take8(&input);

	guest_ram_init(&m.ram, 0, 2 * MIB);
	m.small = flags & 2;
	m.waiter = (struct vtr_memory_waiter){ .ready = ready };
	m.listener = (struct vtr_memory_listener){ .removing = removing };
	vtr_memory_add_listener(m.memory, &m.listener);
	vtr_vhost_user_mem_table_init(&m.table, m.memory);
	m.table.gpa_addresses = flags & 1;
	vtr_vhost_user_iotlb_init(&m.iotlb, m.loop, m.memory, &m.table, send, &m);
	set_active(&m, true);
	for (unsigned i = 0; input.left && i < MAX_COMMANDS; i++) {
		run_command(&m, &input);
		check(&m);
	}
	set_active(&m, false);
	while (m.n_calls)
		reply(&m, 0, -ECONNRESET);
	vtr_memory_cancel_wait(m.memory, &m.waiter);
	vtr_spans_finish(&m.spans);
	vtr_vhost_user_mem_table_clear(&m.table);
	vtr_memory_destroy(m.memory);
	vtr_loop_destroy(m.loop);
	guest_ram_finish(&m.ram);
	return 0;
}
