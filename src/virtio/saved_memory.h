/* SPDX-License-Identifier: MIT */
#ifndef VTR_VIRTIO_SAVED_MEMORY_H
#define VTR_VIRTIO_SAVED_MEMORY_H

#include <stddef.h>

/*
 * Memory that outlives the process: whoever serves the driver after us finds in it what we stored last, however we ended. It is
 * shared, and maybe writable by others: what is read from it is read once and checked like a driver's requests. Who stores to it
 * may be killed between any two stores; the compiler must not change their order.
 *
 * Provided by the transport, used by device types.
 */
struct vtr_saved_memory {
	void *data; /* aligned to 64 bytes; zero where nothing was stored */
	size_t size;
	/* Before the first store to a range: makes sure that there are pages for it. 0 or -errno (-ENOSPC). */
	int (*reserve)(struct vtr_saved_memory *memory, size_t offset, size_t length);
	/* All of it is zeros again, and nothing reserved. 0 or -errno. */
	int (*clear)(struct vtr_saved_memory *memory);
};

/* Stores that come after it in the program come after those before it in memory that outlives us. */
static inline void vtr_saved_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

#endif
