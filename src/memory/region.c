/* SPDX-License-Identifier: MIT */
#include "memory/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/dmabuf.h>

#include "memory/copy.h"
#include "memory/file.h"
#include "util/fault.h"

/*
 * Theory of operation
 *
 * A region is a range of guest addresses and what answers for it: a range of a file (file.c says what files those can be), or, when
 * it came without an fd, the VMM by request. What has no CPU mapping of its own can be lent that of a device (device.c), for
 * reading.
 *
 * A region's object is counted, its contents are not: vtr_region_revoke() takes them at once, whoever still refers to it. So the
 * VMM gets its memory back when we acknowledge a removal, and a forgotten reference can only read an error.
 */

const char *vtr_region_kind_name(enum vtr_region_kind kind)
{
	static const char *const names[] = {
		[VTR_REGION_RAM] = "ram",
		[VTR_REGION_VFIO] = "vfio",
		[VTR_REGION_WINDOW] = "window",
		[VTR_REGION_REMOTE] = "remote",
	};

	return names[kind];
}

static void set_file(struct vtr_region *region, struct vtr_memory_file *file)
{
	region->file = file;
	region->kind = file->kind;
	region->fd = file->fd;
	region->page = file->page;
	region->writable &= file->kind == VTR_REGION_WINDOW || file->writable;
	if (file->data) {
		region->cpu = file;
		region->data = file->data + (region->offset - file->start);
	}
}

/* Where the bytes of a window lie in its dmabuf is known for sure only when it is all of it: what a VMM says about the offset may
 * be wrong (QEMU's is, for BARs with holes). */
static bool is_whole(const struct vtr_region *region)
{
	return !region->offset && region->size == region->file->length;
}

static void map_window(struct vtr_region *region)
{
	region->cpu = is_whole(region) ? vtr_memory_file_map_window(region->file) : NULL;
	if (region->cpu)
		region->data = region->cpu->data;
}

struct vtr_region *vtr_region_create_in_file(struct vtr_memory *memory, uint64_t address, uint64_t size,
                                             struct vtr_memory_file *file, uint64_t offset, bool writable)
{
	struct vtr_region *region = malloc(sizeof(*region));

	if (!region)
		return NULL;
	*region = (struct vtr_region){
		.address = address,
		.size = size,
		.kind = VTR_REGION_REMOTE,
		.fd = -1,
		.offset = offset,
		.readable = true,
		.writable = writable,
		.mapped = true,
		.refs = 1,
		.memory = memory,
	};
	if (file) {
		file->refs++;
		set_file(region, file);
	}
	if (region->kind == VTR_REGION_WINDOW)
		map_window(region);
	return region;
}

struct vtr_region *vtr_region_create(struct vtr_memory *memory, uint64_t address, uint64_t size, int fd, uint64_t offset,
                                     bool writable, int *code)
{
	struct vtr_memory_file *file =
		fd < 0 ? NULL : vtr_memory_file_open(memory ? vtr_memory_files(memory) : NULL, fd, offset, size, code);
	struct vtr_region *region;

	if (fd >= 0 && !file)
		return NULL;
	region = vtr_region_create_in_file(memory, address, size, file, offset, writable);
	vtr_memory_file_unref(file); // the region has its own reference
	if (!region)
		*code = ENOMEM;
	return region;
}

struct vtr_region *vtr_region_create_device(struct vtr_memory *memory, uint64_t address, uint64_t size,
                                            struct vtr_memory_file *file, uint64_t offset)
{
	return vtr_region_create_in_file(memory, address, size, file, offset, false);
}

bool vtr_region_is_device(const struct vtr_region *region)
{
	return region->cpu && region->cpu->kind == VTR_REGION_VFIO;
}

bool vtr_region_is_device_memory(const struct vtr_region *region)
{
	return region->cpu && region->cpu->kind != VTR_REGION_RAM;
}

const char *vtr_region_why_no_cpu(const struct vtr_region *region)
{
	if (!region->mapped || region->cpu)
		return NULL;
	if (!region->file)
		return "the VMM sent no fd";
	return is_whole(region) ? region->file->cpu.why_not.text
	                        : "it is said to be a part of a dmabuf: which one is not to be trusted";
}

uint32_t vtr_region_attributes(const struct vtr_region *region)
{
	return region->file ? region->file->cpu.attributes : 0;
}

bool vtr_region_is_device_at(const struct vtr_region *region, const struct vtr_memory_file *file, uint64_t offset)
{
	return vtr_region_is_device(region) && region->cpu == file && region->data == file->data + (offset - file->start);
}

/* Only what is lent is counted here; file's mapping goes with file. */
static void drop_lent(struct vtr_region *region)
{
	if (region->cpu != region->file)
		vtr_memory_file_unref(region->cpu);
	region->cpu = NULL;
	region->data = NULL;
}

void vtr_region_set_device(struct vtr_region *region, struct vtr_memory_file *file, uint64_t offset)
{
	if (file)
		file->refs++;
	drop_lent(region);
	region->cpu = file;
	region->data = file ? file->data + (offset - file->start) : NULL;
}

void vtr_region_revoke(struct vtr_region *region)
{
	drop_lent(region);
	vtr_memory_file_unref(region->file);
	region->file = NULL;
	region->fd = -1;
	region->mapped = false;
	region->memory = NULL;
}

static void free_unused(struct vtr_region *region)
{
	if (region->refs || region->spans)
		return;
	vtr_region_revoke(region);
	free(region);
}

void vtr_region_unref(struct vtr_region *region)
{
	region->refs--;
	free_unused(region);
}

void vtr_region_drop_span(struct vtr_region *region)
{
	region->spans--;
	free_unused(region);
}

bool vtr_region_faulted(const struct vtr_region *region)
{
	return region->cpu && vtr_fault_guard_hit(region->cpu->guard);
}

/* Who answers for a region without a CPU mapping, or NULL. */
static const struct vtr_remote *remote_of(const struct vtr_region *region)
{
	const struct vtr_remote *remote = region->memory ? vtr_memory_remote(region->memory) : NULL;

	return remote && remote->impl ? remote : NULL;
}

/* The answer to a remote access: while it was waited for, the region may have been removed. Drops the reference that was held. */
static int finish_remote(struct vtr_region *region, int result)
{
	bool gone = !region->mapped;

	vtr_region_unref(region);
	return gone ? -ECANCELED : result;
}

int vtr_region_may_fetch(const struct vtr_region *region)
{
	if (!region->mapped)
		return -EFAULT;
	if (!region->memory)
		return -EOPNOTSUPP;
	return remote_of(region) ? 0 : -ENOTCONN;
}

/* The bytes by request. */
static int fetch(struct vtr_region *region, uint64_t offset, void *buffer, size_t length)
{
	const struct vtr_remote *remote = remote_of(region);
	int error = vtr_region_may_fetch(region);

	if (error)
		return error;
	region->refs++;
	return finish_remote(region, remote->impl->read(remote->data, region->address + offset, buffer, length));
}

/* What a fault took from us may be back: reading shows. */
static int read_device(struct vtr_region *region, uint64_t offset, void *buffer, size_t length)
{
	bool was_away = vtr_region_faulted(region);

	if (vtr_memory_file_restore(region->cpu))
		return -EFAULT;
	if (region->cpu->bracketed && vtr_dmabuf_begin_cpu(region->cpu->fd, false))
		return -EFAULT;
	vtr_copy_device(buffer, region->data + offset, length);
	if (region->cpu->bracketed)
		vtr_dmabuf_end_cpu(region->cpu->fd, false);
	bool is_away = vtr_region_faulted(region);
	if (region->memory && (was_away || is_away))
		vtr_memory_device_fault(region->memory);
	return is_away ? -EFAULT : 0;
}

int vtr_region_read(struct vtr_region *region, uint64_t offset, void *buffer, size_t length, const void *ahead)
{
	if (!region->readable)
		return -EACCES;
	if (region->mapped && vtr_region_is_device_memory(region))
		return read_device(region, offset, buffer, length);
	if (!region->mapped || vtr_region_faulted(region))
		return -EFAULT;
	if (!region->data)
		return fetch(region, offset, buffer, length);
	if (ahead)
		vtr_copy_stream(buffer, region->data + offset, length, ahead);
	else
		memcpy(buffer, region->data + offset, length);
	return vtr_region_faulted(region) ? -EFAULT : 0;
}

int vtr_region_write(struct vtr_region *region, uint64_t offset, const void *buffer, size_t length)
{
	bool device = vtr_region_is_device_memory(region);

	if (!region->mapped || (!device && vtr_region_faulted(region)))
		return -EFAULT;
	if (!region->writable)
		return -EACCES;
	if (region->data && !device) {
		memcpy(region->data + offset, buffer, length);
		return vtr_region_faulted(region) ? -EFAULT : 0;
	}
	const struct vtr_remote *remote = remote_of(region);
	if (!remote)
		return -ENOTCONN;
	region->refs++;
	return finish_remote(region, remote->impl->write(remote->data, region->address + offset, buffer, length));
}
