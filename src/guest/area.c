/* SPDX-License-Identifier: MIT */
#include "guest/area.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/fault.h"
#include "util/fd.h"

static const char *const names[VTR_GUEST_MEMORY_COUNT] = {
	[VTR_GUEST_SYSTEM] = "system",
	[VTR_GUEST_RAM] = "ram",
	[VTR_GUEST_BAR] = "bar",
	[VTR_GUEST_REMOTE] = "remote",
};

/* As a PC has it: RAM low, what is beyond 4 GiB, and a device's 64-bit window far up, where QEMU puts an ivshmem BAR too. */
static const struct {
	uint64_t address, size;
} places[VTR_GUEST_MEMORY_COUNT] = {
	[VTR_GUEST_SYSTEM] = { UINT64_C(0x00100000), UINT64_C(64) << 20 },
	[VTR_GUEST_RAM] = { UINT64_C(0x100000000), UINT64_C(256) << 20 },
	[VTR_GUEST_BAR] = { UINT64_C(0x380000000000), UINT64_C(256) << 20 },
	[VTR_GUEST_REMOTE] = { UINT64_C(0x390000000000), UINT64_C(128) << 20 },
};

const char *vtr_guest_memory_name(enum vtr_guest_memory kind)
{
	return names[kind];
}

int vtr_guest_memory_from_name(const char *name, enum vtr_guest_memory *kind)
{
	for (unsigned i = VTR_GUEST_RAM; i < VTR_GUEST_MEMORY_COUNT; i++) {
		if (!strcmp(name, names[i])) {
			*kind = i;
			return 0;
		}
	}
	return -EINVAL;
}

uint64_t vtr_guest_area_piece(const struct vtr_guest_area *area, uint64_t i)
{
	return (i * 5 + 3) & (area->size / VTR_GUEST_IOMMU_PIECE - 1); /* a permutation: the number of pieces is a power of two */
}

/* The file's pieces at the places that the guest sees them at. */
static int map_pieces(struct vtr_guest_area *area)
{
	const uint64_t size = VTR_GUEST_IOMMU_PIECE;

	for (uint64_t i = 0; i < area->size / size; i++)
		if (mmap(area->data + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, area->memfd,
		         (off_t)(vtr_guest_area_piece(area, i) * size)) == MAP_FAILED)
			return -errno;
	return 0;
}

int vtr_guest_area_init(struct vtr_guest_area *area, enum vtr_guest_memory kind, bool pieces)
{
	*area = (struct vtr_guest_area){ .address = places[kind].address, .size = places[kind].size, .fd = -1, .memfd = -1 };
	int fd = vtr_memfd_create(names[kind], area->size);
	if (fd < 0)
		return fd;
	void *data = mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED) {
		int error = -errno;

		vtr_fd_close(&fd);
		return error;
	}
	area->data = data;
	area->memfd = fd;
	if (kind != VTR_GUEST_REMOTE)
		area->fd = fd;
	area->pieces = pieces;
	return pieces ? map_pieces(area) : 0;
}

int vtr_guest_area_init_file(struct vtr_guest_area *area, uint64_t size, int fd, uint64_t offset)
{
	*area = (struct vtr_guest_area){ .size = size, .fd = fd, .memfd = -1 };
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
	if (data == MAP_FAILED)
		return -errno;
	/* its owner may truncate it */
	area->guard = vtr_fault_guard_add(data, size, (size_t)sysconf(_SC_PAGESIZE));
	if (!area->guard) {
		munmap(data, size);
		return -ENOMEM;
	}
	area->data = data;
	return 0;
}

void vtr_guest_area_finish(struct vtr_guest_area *area)
{
	vtr_fault_guard_remove(area->guard);
	area->guard = NULL;
	if (area->data)
		munmap(area->data, area->size);
	area->data = NULL;
	area->fd = -1;
	vtr_fd_close(&area->memfd);
}

uint64_t vtr_guest_area_alloc(struct vtr_guest_area *area, uint64_t size, uint64_t alignment)
{
	uint64_t start = (area->used + alignment - 1) & ~(alignment - 1);

	if (!vtr_range_fits(start, size, area->size))
		return 0;
	area->used = start + size;
	return area->address + start;
}

void *vtr_guest_area_data(const struct vtr_guest_area *area, uint64_t address, uint64_t length)
{
	if (!area->data || address < area->address || !vtr_range_fits(address - area->address, length, area->size))
		return NULL;
	return area->data + (address - area->address);
}
