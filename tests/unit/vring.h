/* SPDX-License-Identifier: MIT */
#ifndef VTR_TESTS_UNIT_VRING_H
#define VTR_TESTS_UNIT_VRING_H

/*
 * The driver's side of a split virtqueue (virtio 1.3, 2.7), as small as tests need it, over guest memory that the test can reach by
 * pointer. Nothing is checked: writing nonsense is what it is for.
 */
#include <endian.h>
#include <linux/virtio_ring.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/memory.h>

/* Guest memory: a memfd that is mapped here and may be added to a memory map as RAM, or served as remote memory. */
struct guest_ram {
	uint64_t address;
	size_t size;
	int fd;
	uint8_t *data;
};

static inline void guest_ram_init(struct guest_ram *ram, uint64_t address, size_t size)
{
	*ram = (struct guest_ram){ .address = address, .size = size, .fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING) };
	if (ram->fd < 0 || ftruncate(ram->fd, (off_t)size) < 0)
		abort();
	ram->data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
	if (ram->data == MAP_FAILED)
		abort();
}

static inline void guest_ram_finish(struct guest_ram *ram)
{
	munmap(ram->data, ram->size);
	close(ram->fd);
}

/* Puts all of it into the map. 0 or -errno. */
static inline int guest_ram_add(const struct guest_ram *ram, struct vtr_memory *memory)
{
	return vtr_memory_add(memory, ram->address, ram->size, dup(ram->fd), 0, true);
}

static inline uint8_t *guest_ram_at(const struct guest_ram *ram, uint64_t address)
{
	return ram->data + (address - ram->address);
}

static inline int guest_ram_remote_read(void *data, uint64_t address, void *buffer, size_t length)
{
	memcpy(buffer, guest_ram_at(data, address), length);
	return 0;
}

static inline int guest_ram_remote_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	memcpy(guest_ram_at(data, address), buffer, length);
	return 0;
}

/* What vtr_memory_set_remote() takes, with the guest_ram as data. */
static const struct vtr_remote_impl guest_ram_remote = { .read = guest_ram_remote_read, .write = guest_ram_remote_write };

struct vring_driver {
	const struct guest_ram *ram;
	uint16_t size;
	uint64_t desc, avail, used; /* guest addresses */
	uint16_t avail_idx;         /* as published */
	uint16_t used_seen;         /* used entries taken */
};

/* Lays the three areas out from address on; returns the first address behind them. */
static inline uint64_t vring_driver_init(struct vring_driver *ring, const struct guest_ram *ram, uint64_t address, uint16_t size)
{
	*ring = (struct vring_driver){ .ram = ram, .size = size, .desc = address };
	ring->avail = ring->desc + 16 * (uint64_t)size;
	ring->used = (ring->avail + 6 + 2 * (uint64_t)size + 3) & ~UINT64_C(3);
	return (ring->used + 6 + 8 * (uint64_t)size + 15) & ~UINT64_C(15);
}

/* 16-bit fields, in order with all other accesses where they are aligned; a test may lay them out where they are not. */
static inline void vring_store16(const struct vring_driver *ring, uint64_t address, uint16_t value)
{
	uint8_t *field = guest_ram_at(ring->ram, address);

	value = htole16(value);
	if ((uintptr_t)field % sizeof(value) == 0)
		__atomic_store_n((uint16_t *)(void *)field, value, __ATOMIC_SEQ_CST);
	else
		memcpy(field, &value, sizeof(value));
}

static inline uint16_t vring_load16(const struct vring_driver *ring, uint64_t address)
{
	const uint8_t *field = guest_ram_at(ring->ram, address);
	uint16_t value;

	if ((uintptr_t)field % sizeof(value) == 0)
		value = __atomic_load_n((const uint16_t *)(const void *)field, __ATOMIC_SEQ_CST);
	else
		memcpy(&value, field, sizeof(value));
	return le16toh(value);
}

static inline struct vring_desc vring_make_desc(uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	return (struct vring_desc){
		.addr = htole64(address), .len = htole32(length), .flags = htole16(flags), .next = htole16(next)
	};
}

/* Writes descriptor index of the table at guest address `table` (the ring's own, or an indirect one). */
static inline void vring_put_desc(const struct vring_driver *ring, uint64_t table, unsigned index, uint64_t address,
                                  uint32_t length, uint16_t flags, uint16_t next)
{
	const struct vring_desc desc = vring_make_desc(address, length, flags, next);

	memcpy(guest_ram_at(ring->ram, table) + index * sizeof(desc), &desc, sizeof(desc));
}

static inline void vring_set_avail_entry(const struct vring_driver *ring, uint16_t position, uint16_t head)
{
	vring_store16(ring, ring->avail + 4 + 2 * (uint64_t)(position % ring->size), head);
}

static inline void vring_set_avail_idx(struct vring_driver *ring, uint16_t idx)
{
	ring->avail_idx = idx;
	vring_store16(ring, ring->avail + 2, idx);
}

/* Makes the chain that begins at head available. */
static inline void vring_publish(struct vring_driver *ring, uint16_t head)
{
	vring_set_avail_entry(ring, ring->avail_idx, head);
	vring_set_avail_idx(ring, (uint16_t)(ring->avail_idx + 1));
}

static inline void vring_set_avail_flags(const struct vring_driver *ring, uint16_t flags)
{
	vring_store16(ring, ring->avail, flags);
}

static inline void vring_set_used_event(const struct vring_driver *ring, uint16_t event)
{
	vring_store16(ring, ring->avail + 4 + 2 * (uint64_t)ring->size, event);
}

static inline uint16_t vring_used_flags(const struct vring_driver *ring)
{
	return vring_load16(ring, ring->used);
}

static inline uint16_t vring_used_idx(const struct vring_driver *ring)
{
	return vring_load16(ring, ring->used + 2);
}

static inline uint16_t vring_read_avail_event(const struct vring_driver *ring)
{
	return vring_load16(ring, ring->used + 4 + 8 * (uint64_t)ring->size);
}

static inline struct vring_used_elem vring_used_entry(const struct vring_driver *ring, uint16_t position)
{
	struct vring_used_elem element;

	memcpy(&element, guest_ram_at(ring->ram, ring->used) + 4 + 8 * (size_t)(position % ring->size), sizeof(element));
	return (struct vring_used_elem){ .id = le32toh(element.id), .len = le32toh(element.len) };
}

/* Takes the next used entry: 1 and *element, or 0 and an empty one. */
static inline int vring_take_used(struct vring_driver *ring, struct vring_used_elem *element)
{
	*element = (struct vring_used_elem){ 0 };
	if (vring_used_idx(ring) == ring->used_seen)
		return 0;
	*element = vring_used_entry(ring, ring->used_seen++);
	return 1;
}

#endif
