/* SPDX-License-Identifier: MIT */
#ifndef HEADLESS_MAPPING_H
#define HEADLESS_MAPPING_H

#include <vitrine/buffer.h>
#include <vitrine/error.h>

/*
 * Linear dmabufs mapped for reading, each once per buffer: a small cache, keyed by the buffer's id, of which the least recently
 * used is dropped. A mapping keeps the memory behind the dmabuf alive, so the owner clears the cache when nobody looks any more. A
 * dmabuf whose pages go away under a reader costs its picture, not the process.
 */
enum { HEADLESS_MAPPINGS = 32 }; /* two a scanout */

struct headless_mapping {
	uint64_t id; /* of the buffer; 0: free */
	uint64_t used;
	void *start;
	size_t length;
	uint64_t offset; /* of start in the dmabuf */
	struct vtr_fault_guard *guard;
};

struct headless_mappings {
	struct headless_mapping items[HEADLESS_MAPPINGS];
	uint64_t uses;
};

/* The mapping of buffer, valid until the next call, or NULL and *error says why not. */
struct headless_mapping *headless_mappings_get(struct headless_mappings *mappings, const struct vtr_buffer *buffer,
                                               struct vtr_error *error);
void headless_mappings_clear(struct headless_mappings *mappings);

#endif
