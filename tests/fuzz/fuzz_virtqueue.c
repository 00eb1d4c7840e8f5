/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues against a driver that does anything.
 *
 * An input is a header, an image of guest memory, and commands: what the device does with its queue, in between what the driver
 * does to memory. seed_virtqueue.py writes inputs in this form:
 *
 *   u8  flags           1 EVENT_IDX, 2 INDIRECT_DESC, 4 remote memory, 8 two regions
 *   u8  size            log2 of the queue size, modulo 8
 *   u16 desc, avail, used
 *                       offsets of the areas in guest memory
 *   u16 length          of the image, from the beginning of guest memory
 *   u8  image[length]
 *   commands            one byte, modulo COMMANDS, and its arguments, u16 each
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "virtio/queue.h"

#include "vring.h"

enum { BASE = 0x10000, SIZE = 0x4000, MAX_HELD = 160, MAX_COMMANDS = 4096 };

enum {
	FLAG_EVENT_IDX = 1,
	FLAG_INDIRECT = 2,
	FLAG_REMOTE = 4,
	FLAG_TWO_REGIONS = 8,
};

enum command {
	POP,
	PUSH,  /* which, written */
	READ,  /* which, offset, length */
	WRITE, /* which, offset, length */
	SHOULD_INTERRUPT,
	ENABLE_NOTIFY,
	DISABLE_NOTIFY,
	POKE,    /* offset, value */
	PUBLISH, /* distance: avail->idx = last_avail + distance */
	RESTART,
	REMOVE_MEMORY,
	ADD_MEMORY,
	COMMANDS,
};

struct input {
	const uint8_t *data;
	size_t left;
};

struct machine {
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct vtr_virtqueue queue;
	uint8_t flags;
	uint16_t size, desc, avail, used;
	struct vtr_chain *held[MAX_HELD];
	unsigned n_held;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

static uint8_t take8(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->data++;
}

static uint16_t take16(struct input *input)
{
	const uint16_t low = take8(input);

	return (uint16_t)(low | take8(input) << 8);
}

static void add_memory(struct machine *m)
{
	const uint64_t first = m->flags & FLAG_TWO_REGIONS ? SIZE / 2 - 7 : SIZE;
	const bool remote = m->flags & FLAG_REMOTE;

	vtr_memory_add(m->memory, BASE, first, remote ? -1 : dup(m->ram.fd), 0, true);
	if (first < SIZE)
		vtr_memory_add(m->memory, BASE + first, SIZE - first, remote ? -1 : dup(m->ram.fd), remote ? 0 : first, true);
}

static void start_queue(struct machine *m)
{
	m->queue.size = m->size;
	m->queue.desc = BASE + m->desc;
	m->queue.avail = BASE + m->avail;
	m->queue.used = BASE + m->used;
	vtr_virtqueue_start(&m->queue, m->flags & FLAG_EVENT_IDX, m->flags & FLAG_INDIRECT);
}

static void check_chain(const struct machine *m, const struct vtr_chain *chain)
{
	const uint32_t count = chain->n_out + chain->n_in;
	uint64_t out = 0, in = 0;
	uint32_t i;

	check(chain->head < m->queue.size, "head inside of the table");
	check(count > 0 && count <= VTR_MAX_CHAIN, "a bounded number of segments");
	for (i = 0; i < count; i++) {
		const struct vtr_segment *segment = &chain->segments[i];
		uint64_t *sum = i < chain->n_out ? &out : &in;

		check(segment->length > 0, "no empty segment");
		check(segment->start == *sum, "segments in a row");
		*sum += segment->length;
	}
	check(out == chain->out_size && in == chain->in_size, "sizes are the sums of the lengths");
}

static void pop(struct machine *m)
{
	const bool was_broken = m->queue.broken;
	struct vtr_chain *chain;
	int ret;

	if (m->n_held == MAX_HELD)
		return;
	ret = vtr_virtqueue_pop(&m->queue, &chain);
	check((ret == 1) == (chain != NULL), "a chain exactly when 1 is returned");
	check(ret >= 0 || (m->queue.broken && m->queue.why), "an error breaks the queue and says why");
	check(!was_broken || ret == 0, "a broken queue pops nothing");
	check(m->queue.in_flight <= m->queue.size, "no more chains than entries");
	if (!chain)
		return;
	check_chain(m, chain);
	m->held[m->n_held++] = chain;
}

/* The chain that an argument means, or NULL when there is none. */
static struct vtr_chain **choose(struct machine *m, struct input *input)
{
	const uint16_t which = take16(input);

	return m->n_held ? &m->held[which % m->n_held] : NULL;
}

static void push(struct machine *m, struct input *input)
{
	struct vtr_chain **slot = choose(m, input), *chain;
	const uint16_t written = take16(input);

	if (!slot)
		return;
	chain = *slot;
	*slot = m->held[--m->n_held];
	vtr_virtqueue_push(&m->queue, chain, written < chain->in_size ? written : (uint32_t)0);
}

static void copy(struct machine *m, struct input *input, bool write)
{
	struct vtr_chain **slot = choose(m, input);
	const uint16_t offset = take16(input), length = take16(input) % 512;
	uint8_t buffer[512] = { 0 };
	size_t size, expected;
	long ret;

	if (!slot)
		return;
	size = write ? (*slot)->in_size : (*slot)->out_size;
	expected = offset < size ? size - offset : 0;
	if (expected > length)
		expected = length;
	if (write)
		ret = vtr_chain_write(&m->queue, *slot, offset, buffer, length);
	else
		ret = vtr_chain_read(&m->queue, *slot, offset, buffer, length);
	check(ret < 0 || (size_t)ret == expected, "as much is copied as the chain has");
}

static void poke(struct machine *m, struct input *input)
{
	const uint16_t offset = take16(input), value = take16(input);

	memcpy(m->ram.data + offset % (SIZE - 1), &value, sizeof(value));
}

static void publish(struct machine *m, struct input *input)
{
	const uint16_t idx = htole16((uint16_t)(m->queue.last_avail + take16(input)));

	memcpy(m->ram.data + (m->avail + 2) % (SIZE - 1), &idx, sizeof(idx));
}

static void restart(struct machine *m)
{
	vtr_virtqueue_reset(&m->queue);
	start_queue(m);
}

static void run(struct machine *m, struct input *input)
{
	switch (take8(input) % COMMANDS) {
	case POP:
		pop(m);
		break;
	case PUSH:
		push(m, input);
		break;
	case READ:
		copy(m, input, false);
		break;
	case WRITE:
		copy(m, input, true);
		break;
	case SHOULD_INTERRUPT:
		vtr_virtqueue_should_interrupt(&m->queue);
		check(!vtr_virtqueue_should_interrupt(&m->queue), "one interrupt for one reason");
		break;
	case ENABLE_NOTIFY:
		vtr_virtqueue_enable_notify(&m->queue);
		break;
	case DISABLE_NOTIFY:
		vtr_virtqueue_disable_notify(&m->queue);
		break;
	case POKE:
		poke(m, input);
		break;
	case PUBLISH:
		publish(m, input);
		break;
	case RESTART:
		restart(m);
		break;
	case REMOVE_MEMORY:
		vtr_memory_remove_all(m->memory);
		break;
	case ADD_MEMORY:
		add_memory(m);
		break;
	}
}

static void read_header(struct machine *m, struct input *input)
{
	size_t length;

	m->flags = take8(input);
	m->size = (uint16_t)(1 << take8(input) % 8);
	m->desc = take16(input);
	m->avail = take16(input);
	m->used = take16(input);
	length = take16(input);
	length = length < input->left ? length : input->left;
	length = length < SIZE ? length : SIZE;
	memcpy(m->ram.data, input->data, length);
	input->data += length;
	input->left -= length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m; /* the memory map and its file are used again: they cost more than all the rest */
	struct input input = { data, size };
	unsigned commands;

	if (!m.memory) {
		m.memory = vtr_memory_create();
		guest_ram_init(&m.ram, BASE, SIZE);
		vtr_memory_set_remote(m.memory, &guest_ram_remote, &m.ram);
	}
	memset(m.ram.data, 0, SIZE);
	read_header(&m, &input);
	vtr_virtqueue_init(&m.queue, m.memory, 128, NULL, NULL);
	add_memory(&m);
	start_queue(&m);
	for (commands = 0; input.left && commands < MAX_COMMANDS; commands++)
		run(&m, &input);
	while (m.n_held)
		vtr_chain_free(m.held[--m.n_held]);
	vtr_memory_remove_all(m.memory);
	return 0;
}
