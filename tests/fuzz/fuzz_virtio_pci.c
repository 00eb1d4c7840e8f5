/* SPDX-License-Identifier: MIT */
/*
 * A whole virtio-pci function, with queues behind it, against a client that does anything: region accesses of any place and size,
 * guest memory, interrupts and resets.
 *
 * An input is a sequence of commands: one byte, modulo COMMANDS, and its arguments. seed_virtio_pci.py writes inputs in this form.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <linux/vfio.h>

#include "virtio/pci.h"

#include "fake_device.h"
#include "vring.h"

enum { BASE = 0x10000, SIZE = 0x4000, MAX_COMMANDS = 2048 };

enum command {
	READ_REGION,  /* u8 region, u16 offset, u8 length */
	WRITE_REGION, /* u8 region, u16 offset, u8 length, bytes */
	POKE,         /* u16 offset, u8 length, bytes */
	DISPATCH,
	SET_IRQ,     /* u8 irq, u8 vector; bit 7 of vector: remove */
	MASK_IRQ,    /* u8 irq, u8 vector; bit 7 of vector: unmask */
	TRIGGER_IRQ, /* u8 irq, u8 vector */
	RESET,
	CONFIG_CHANGED,
	REMOVE_MEMORY,
	ADD_MEMORY,
	COMMANDS,
};

struct input {
	const uint8_t *data;
	size_t left;
};

struct machine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct guest_ram ram;
	struct fake_device fake;
	struct vtr_pci_function *function;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

static size_t take_bytes(struct input *input, uint8_t *bytes, size_t length)
{
	length = length < input->left ? length : input->left;
	memcpy(bytes, input->data, length);
	input->data += length;
	input->left -= length;
	return length;
}

static void read_region(struct machine *m, struct input *input)
{
	const unsigned region = take8(input) % 10;
	const uint16_t offset = take16(input);
	const size_t length = take8(input);
	uint8_t *buffer = malloc(length ? length : 1); /* exactly, so that writing beyond it is seen */

	if (buffer)
		vtr_pci_read(m->function, region, offset, buffer, length);
	free(buffer);
}

static void write_region(struct machine *m, struct input *input)
{
	const unsigned region = take8(input) % 10;
	const uint16_t offset = take16(input);
	uint8_t bytes[256], *exact;
	const size_t length = take_bytes(input, bytes, take8(input));

	exact = malloc(length ? length : 1);
	if (!exact)
		return;
	memcpy(exact, bytes, length);
	vtr_pci_write(m->function, region, offset, exact, length);
	free(exact);
}

static void poke(struct machine *m, struct input *input)
{
	const uint16_t offset = take16(input) % (SIZE - 256);
	uint8_t bytes[256];
	const size_t length = take_bytes(input, bytes, take8(input));

	memcpy(m->ram.data + offset, bytes, length);
}

static void set_irq(struct machine *m, struct input *input)
{
	const unsigned irq = take8(input) % VFIO_PCI_NUM_IRQS;
	const uint8_t vector = take8(input);

	vtr_pci_set_irq(m->function, irq, vector & 0x7f, vector & 0x80 ? -1 : eventfd(0, EFD_CLOEXEC));
}

static void run(struct machine *m, struct input *input)
{
	unsigned irq;
	uint8_t vector;

	switch (take8(input) % COMMANDS) {
	case READ_REGION:
		read_region(m, input);
		break;
	case WRITE_REGION:
		write_region(m, input);
		break;
	case POKE:
		poke(m, input);
		break;
	case DISPATCH:
		vtr_loop_dispatch(m->loop, 0);
		break;
	case SET_IRQ:
		set_irq(m, input);
		break;
	case MASK_IRQ:
		irq = take8(input) % VFIO_PCI_NUM_IRQS;
		vector = take8(input);
		vtr_pci_mask_irq(m->function, irq, vector & 0x7f, !(vector & 0x80));
		break;
	case TRIGGER_IRQ:
		irq = take8(input) % VFIO_PCI_NUM_IRQS;
		vtr_pci_trigger_irq(m->function, irq, take8(input));
		break;
	case RESET:
		vtr_pci_reset(m->function);
		break;
	case CONFIG_CHANGED:
		vtr_virtio_config_changed(&m->fake.base);
		break;
	case REMOVE_MEMORY:
		vtr_memory_remove_all(m->memory);
		break;
	case ADD_MEMORY:
		guest_ram_add(&m->ram, m->memory);
		break;
	}
}

static void init(struct machine *m)
{
	m->loop = vtr_loop_create();
	m->memory = vtr_memory_create();
	guest_ram_init(&m->ram, BASE, SIZE);
	fake_device_init(&m->fake, m->memory, m->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m; /* loop, memory and device are used again: they cost more than all the rest */
	struct input input = { data, size };
	unsigned commands;

	if (!m.loop)
		init(&m);
	memset(m.ram.data, 0, SIZE);
	guest_ram_add(&m.ram, m.memory);
	m.function = vtr_pci_create(&m.fake.base, 0x038000);
	for (commands = 0; input.left && commands < MAX_COMMANDS; commands++)
		run(&m, &input);
	vtr_loop_dispatch(m.loop, 0);
	vtr_pci_reset(m.function);
	vtr_pci_destroy(m.function);
	vtr_memory_remove_all(m.memory);
	return 0;
}
