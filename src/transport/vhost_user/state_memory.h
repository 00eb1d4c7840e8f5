/* SPDX-License-Identifier: MIT */
#ifndef VTR_VHOST_USER_STATE_MEMORY_H
#define VTR_VHOST_USER_STATE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vitrine/error.h>

#include "util/fault.h"
#include "virtio/saved_memory.h"

/*
 * Memory that outlives this process, as one mapping of a file: regions for the accounts of the queues (inflight.h) as the
 * vhost-user protocol has them, then a header of ours, then what the device saves.
 */

/* How large the parts are. */
struct vtr_state_layout {
	unsigned n_queues;
	uint16_t queue_size; /* entries of each region */
	size_t region_size;  /* bytes of each */
	size_t header;       /* where the header is, on a page of its own */
	size_t saved, saved_size;
	size_t size; /* of all */
};

/* saved_size: bytes that the device wants, may be 0. */
struct vtr_state_layout vtr_state_layout(unsigned n_queues, uint16_t queue_size, size_t saved_size);

struct vtr_state_memory {
	struct vtr_saved_memory saved; /* for the device */
	struct vtr_state_layout layout;
	uint8_t *data;
	int fd;          /* of the file; -1: there is no memory */
	uint64_t offset; /* of data in it */
	bool has_saved;  /* it is large enough for more than the accounts */
	struct vtr_fault_guard *guard;
};

/* Maps layout->size bytes at offset of fd, which is taken (also on failure), or, where there are only that many, the accounts. 0,
 * -EINVAL (no memory file, or too small), -errno. */
int vtr_state_memory_map(struct vtr_state_memory *memory, const struct vtr_state_layout *layout, int fd, uint64_t offset,
                         uint64_t size);
void vtr_state_memory_unmap(struct vtr_state_memory *memory); /* the file stays; without memory nothing happens */

/* The file that keeps the state where no front-end does. Opens or creates path, mode 0600, and locks it for this process. Returns
 * an fd, or -errno with *error, which names the remedy: EBUSY (another process has it), EEXIST (it is not a state file, or not only
 * ours). A file of another version is emptied. */
int vtr_state_file_open(const char *path, const struct vtr_state_layout *layout, struct vtr_error *error);
/* Does the file system keep files in memory, so that a file may be made there unasked? */
bool vtr_state_file_is_memory(const char *path);

#endif
