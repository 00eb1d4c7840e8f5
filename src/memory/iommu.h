/* SPDX-License-Identifier: MIT */
#ifndef VTR_MEMORY_IOMMU_H
#define VTR_MEMORY_IOMMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/limits.h>
#include <vitrine/memory.h>

/*
 * Waiting for translations (vtr_memory_set_iommu()). Whoever was told -EINPROGRESS waits with a waiter of its own, embedded, and
 * makes its access again when that is ready. For src/memory and for who accesses guest memory.
 */
struct vtr_memory_waiter {
	/* The access may be made again: what was asked for has come, or never will. From inside the map's changes: to be remembered
	 * for the loop, no more. */
	void (*ready)(struct vtr_memory_waiter *waiter);
	void *data;                     // of ready
	uint64_t miss;                  // waited for; 0: not waiting
	struct vtr_memory_waiter *next; // vtr_iommu.waiters
};

/* Waits for what the last -EINPROGRESS of the map was about; ready is called once. Who waits already waits for that instead. */
void vtr_memory_wait(struct vtr_memory *memory, struct vtr_memory_waiter *waiter);
void vtr_memory_cancel_wait(struct vtr_memory *memory, struct vtr_memory_waiter *waiter); // also when it does not wait

static inline bool vtr_memory_waits(const struct vtr_memory_waiter *waiter)
{
	return waiter->miss;
}

bool vtr_memory_is_translated(const struct vtr_memory *memory);

/* The CPU address of [address, address + length), where all of it may be accessed like that and lies in one piece of ordinary
 * mapped memory; NULL. Nothing is asked for. Good until the map changes. */
uint8_t *vtr_memory_pointer(struct vtr_memory *memory, uint64_t address, size_t length, unsigned access);

/* Whoever asks ahead leaves some room to those who cannot go on without: a queue does not wait for all that another one wants. */
enum { VTR_MISSES_AHEAD = VTR_MAX_MISSES - 8 };

/* ---- for src/memory ---- */

/* Can region (may be NULL) be used like that? In a map of plain addresses only what is not there cannot: what may be written, the
 * region itself knows. */
bool vtr_region_permits(const struct vtr_region *region, unsigned access);

/* Who wants to access [address, address + size), which does not wrap, cannot: not at address. Asks for that, and for what is
 * missing behind it as far as there is room. -EINPROGRESS; or -EFAULT, -EACCES as vtr_memory_read(). */
int vtr_iommu_missing(struct vtr_memory *memory, uint64_t address, uint64_t size, unsigned access);

/* [address, address + size), which does not wrap, is going to be accessed: asks for what is missing as far as there is room. */
void vtr_iommu_ask_ahead(struct vtr_memory *memory, uint64_t address, uint64_t size, unsigned access);

/* May more be asked for ahead now? */
bool vtr_iommu_has_room(const struct vtr_memory *memory);

/* ---- for tests ---- */
void vtr_iommu_set_limits(struct vtr_memory *memory, size_t translations, unsigned timeout_ms);

#endif
