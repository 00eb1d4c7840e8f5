/* SPDX-License-Identifier: MIT */
/*
 * Descriptor chains (virtio 1.3, 2.7.5).
 *
 * A chain is walked once, when it is popped: each descriptor is copied out of guest memory, checked, and becomes a segment; nothing
 * looks at the table again. A walk is over one table: the queue's own, and from there at most one indirect table, which ends the
 * chain. It visits no more descriptors than the table has, so that a chain that loops ends; all together at most VTR_MAX_CHAIN.
 *
 * The queue's own table is read descriptor by descriptor where the CPU reaches it, and copied whole where every read is a request
 * to the VMM: one request instead of hundreds. Indirect tables, which belong to one chain, are always copied whole.
 *
 * A chain is one allocation: the segments follow the header, and know where they begin, so that a reader finds an offset by
 * bisection: an array of 262144 mem entries arrives in more than a thousand descriptors.
 */
#include "virtio/queue.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

#include <vitrine/limits.h>

#include "util/checked.h"

/* Bytes of one chain (virtio 1.3, 2.7.5). */
#define MAX_CHAIN_BYTES (UINT64_C(1) << 32)

enum {
	FIRST_SEGMENTS = 8,
	EARLY = 2048, // bytes of a request, and of its answer, that are sure to be wanted
};

/* A chain being built, and why it cannot be. */
struct builder {
	struct vtr_virtqueue *queue;
	struct vtr_chain *chain;
	uint32_t capacity; /* segments */
	const char *why;
};

/* A descriptor table: in the queue's ring, or a copy. */
struct table {
	struct vtr_ring *ring; /* NULL: copy */
	struct vring_desc *copy;
	uint32_t count;
	bool indirect;
};

static int refuse(struct builder *builder, int error, const char *why)
{
	builder->why = why;
	return error;
}

static int reserve(struct builder *builder, uint32_t capacity)
{
	struct vtr_chain *chain;

	if (capacity <= builder->capacity)
		return 0;
	chain = realloc(builder->chain, sizeof(*chain) + capacity * sizeof(chain->segments[0]));
	if (!chain)
		return refuse(builder, -ENOMEM, "no memory left for a descriptor chain");
	builder->chain = chain;
	builder->capacity = capacity;
	return 0;
}

static int add_segment(struct builder *builder, const struct vring_desc *desc)
{
	struct vtr_chain *chain = builder->chain;
	const uint32_t count = chain->n_out + chain->n_in;
	const bool in = desc->flags & VRING_DESC_F_WRITE;
	uint64_t end;
	int ret;

	if (desc->len == 0)
		return refuse(builder, -EPROTO, "a descriptor of zero length");
	if (!vtr_add_u64(desc->addr, desc->len, &end))
		return refuse(builder, -EPROTO, "a descriptor whose address wraps");
	if (!in && chain->n_in > 0)
		return refuse(builder, -EPROTO, "a readable descriptor after a writable one");
	if (count == VTR_MAX_CHAIN)
		return refuse(builder, -EPROTO, "a descriptor chain that is too long");
	if ((uint64_t)chain->out_size + chain->in_size + desc->len > MAX_CHAIN_BYTES)
		return refuse(builder, -EPROTO, "a descriptor chain of more than 4 GiB");
	if (count == builder->capacity) {
		ret = reserve(builder, 2 * count);
		if (ret < 0)
			return ret;
		chain = builder->chain;
	}
	chain->segments[count] = (struct vtr_segment){
		.address = desc->addr,
		.start = in ? chain->in_size : chain->out_size,
		.length = desc->len,
	};
	*(in ? &chain->in_size : &chain->out_size) += desc->len;
	*(in ? &chain->n_in : &chain->n_out) += 1;
	return 0;
}

/* Copies descriptor index in host byte order. */
static int table_get(struct builder *builder, struct table *table, uint16_t index, struct vring_desc *desc)
{
	struct vring_desc raw;
	int ret;

	if (table->ring) {
		ret = vtr_ring_read(table->ring, index * (uint32_t)sizeof(raw), &raw, sizeof(raw));
		if (ret < 0)
			return refuse(builder, ret, "the descriptor table is not in memory");
	} else {
		raw = table->copy[index];
	}
	*desc = (struct vring_desc){
		.addr = le64toh(raw.addr),
		.len = le32toh(raw.len),
		.flags = le16toh(raw.flags),
		.next = le16toh(raw.next),
	};
	return 0;
}

/* Walks a table from index. 0: the chain is complete; 1: *indirect names the table that goes on. */
static int walk(struct builder *builder, struct table *table, uint16_t index, struct vring_desc *indirect)
{
	struct vring_desc desc;
	uint32_t visited;
	int ret;

	for (visited = 0; visited < table->count; visited++) {
		ret = table_get(builder, table, index, &desc);
		if (ret < 0)
			return ret;
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			*indirect = desc;
			return table->indirect ? refuse(builder, -EPROTO, "an indirect descriptor in an indirect table") : 1;
		}
		ret = add_segment(builder, &desc);
		if (ret < 0)
			return ret;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		if (desc.next >= table->count)
			return refuse(builder, -EPROTO, "a next descriptor beyond the table");
		index = desc.next;
	}
	return refuse(builder, -EPROTO, "a descriptor chain that loops");
}

/* virtio 1.3, 2.7.5.3. The write flag of the descriptor that refers to the table means nothing. */
static int walk_indirect(struct builder *builder, const struct vring_desc *desc)
{
	struct table table = { .indirect = true, .count = desc->len / (uint32_t)sizeof(struct vring_desc) };
	struct vring_desc nested;
	int ret;

	if (!builder->queue->indirect)
		return refuse(builder, -EPROTO, "an indirect descriptor, which was not negotiated");
	if (desc->flags & VRING_DESC_F_NEXT)
		return refuse(builder, -EPROTO, "an indirect descriptor with a next one");
	if (desc->len == 0 || desc->len % sizeof(struct vring_desc))
		return refuse(builder, -EPROTO, "an indirect table whose length is no multiple of 16");
	if (table.count > VTR_MAX_CHAIN)
		return refuse(builder, -EPROTO, "an indirect table that is too long");
	ret = reserve(builder, builder->chain->n_out + builder->chain->n_in + table.count);
	if (ret < 0)
		return ret;
	table.copy = malloc(desc->len);
	if (!table.copy)
		return refuse(builder, -ENOMEM, "no memory left for an indirect table");
	ret = vtr_memory_read(builder->queue->memory, desc->addr, table.copy, desc->len);
	if (ret < 0)
		ret = refuse(builder, ret, "an indirect table that is not in memory");
	else
		ret = walk(builder, &table, 0, &nested);
	free(table.copy);
	return ret;
}

static int walk_queue(struct builder *builder, uint16_t head)
{
	struct vtr_virtqueue *queue = builder->queue;
	struct table table = { .ring = &queue->desc_ring, .count = queue->size };
	struct vring_desc indirect;
	int ret;

	if (!vtr_ring_is_direct(&queue->desc_ring)) {
		table.copy = malloc(queue->desc_ring.length);
		if (!table.copy)
			return refuse(builder, -ENOMEM, "no memory left for a descriptor table");
		table.ring = NULL;
		ret = vtr_ring_read(&queue->desc_ring, 0, table.copy, queue->desc_ring.length);
		if (ret < 0) {
			free(table.copy);
			return refuse(builder, ret, "the descriptor table is not in memory");
		}
	}
	ret = walk(builder, &table, head, &indirect);
	free(table.copy);
	return ret > 0 ? walk_indirect(builder, &indirect) : ret;
}

/* Segments, of which the first `left` bytes are going to be accessed: asks for what is missing (iommu.h), so that a request in a
 * thousand pages does not wait a thousand times. */
static void ask_ahead(struct vtr_memory *memory, const struct vtr_segment *segments, uint64_t left, unsigned access)
{
	for (; left && vtr_iommu_has_room(memory); segments++) {
		const uint64_t part = segments->length < left ? segments->length : left;

		vtr_iommu_ask_ahead(memory, segments->address, part, access);
		left -= part;
	}
}

/* The request will be read and an answer written: what is missing for that is asked for together. */
static void ask_early(struct vtr_memory *memory, const struct vtr_chain *chain)
{
	ask_ahead(memory, chain->segments, chain->out_size < EARLY ? chain->out_size : EARLY, VTR_ACCESS_READ);
	ask_ahead(memory, chain->segments + chain->n_out, chain->in_size < EARLY ? chain->in_size : EARLY, VTR_ACCESS_WRITE);
}

int vtr_chain_load(struct vtr_virtqueue *queue, uint16_t head, struct vtr_chain **chain, const char **why)
{
	struct builder builder = { .queue = queue };
	int ret = reserve(&builder, FIRST_SEGMENTS);

	if (ret == 0) {
		*builder.chain = (struct vtr_chain){ .head = head, .epoch = queue->epoch };
		ret = walk_queue(&builder, head);
	}
	if (ret < 0) {
		free(builder.chain);
		*why = builder.why;
		return ret;
	}
	*chain = builder.chain;
	ask_early(queue->memory, *chain);
	return 0;
}

void vtr_chain_free(struct vtr_chain *chain)
{
	free(chain);
}

/* The segment that holds offset, which lies inside the sum of the lengths: the last one that starts at or before it. */
static size_t find_segment(const struct vtr_segment *segments, size_t count, uint64_t offset)
{
	size_t low = 0, high = count;

	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;

		if (segments[middle].start <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Copies at offset of one direction, whose size is given: from guest memory into `to`, or from `from` into guest memory. */
static long copy(struct vtr_virtqueue *queue, const struct vtr_segment *segments, size_t count, size_t size, size_t offset,
                 uint8_t *to, const uint8_t *from, size_t length)
{
	struct vtr_memory *memory = queue->memory;
	size_t done = 0, i;

	if (offset >= size)
		return 0;
	if (length > size - offset)
		length = size - offset;
	for (i = find_segment(segments, count, offset); done < length; i++) {
		const uint64_t skip = offset + done - segments[i].start;
		const uint64_t left = segments[i].length - skip;
		const size_t part = left < length - done ? (size_t)left : length - done;
		int ret;

		if (to)
			ret = vtr_memory_read(memory, segments[i].address + skip, to + done, part);
		else
			ret = vtr_memory_write(memory, segments[i].address + skip, from + done, part);
		if (ret == -EINPROGRESS) {
			if (part < length - done)
				ask_ahead(memory, &segments[i + 1], length - done - part, to ? VTR_ACCESS_READ : VTR_ACCESS_WRITE);
			vtr_virtqueue_wait(queue);
		}
		if (ret < 0)
			return ret;
		done += part;
	}
	return (long)done;
}

long vtr_chain_read(struct vtr_virtqueue *queue, const struct vtr_chain *chain, size_t offset, void *buffer, size_t length)
{
	return copy(queue, chain->segments, chain->n_out, chain->out_size, offset, buffer, NULL, length);
}

long vtr_chain_write(struct vtr_virtqueue *queue, const struct vtr_chain *chain, size_t offset, const void *buffer, size_t length)
{
	return copy(queue, chain->segments + chain->n_out, chain->n_in, chain->in_size, offset, NULL, buffer, length);
}
