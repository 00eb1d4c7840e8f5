/* SPDX-License-Identifier: MIT */
#include "memory/region.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>

#include "memory/copy.h"
#include "util/checked.h"
#include "util/fault.h"
#include "util/fd.h"

/*
 * Theory of operation
 *
 * A peer hands us an fd and says that it is memory. What it is we find out ourselves, and only what was recognised is mapped:
 * mmap of an arbitrary device has effects, and a read through the mapping of the wrong thing can block or fault.
 *
 *   dmabuf                          window: never mapped, a VFIO one could not be and others need their exporter's consent
 *   regular file, long enough       RAM: memfd, hugetlbfs, tmpfs, a file; mapped whole, shared, guarded against truncation
 *   no fd                           remote
 *   anything else, or too short     EINVAL
 *
 * The dmabuf is asked for first, because whether an anonymous inode calls itself a regular file depends on the kernel.
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

/* Sets kind and page from what the fd is. 0 or -EINVAL. */
static int classify(struct vtr_region *region)
{
	struct stat info;
	struct statfs fs;

	region->page = (size_t)sysconf(_SC_PAGESIZE);
	if (region->fd < 0) {
		region->kind = VTR_REGION_REMOTE;
		return 0;
	}
	if (vtr_dmabuf_is(region->fd)) {
		region->kind = VTR_REGION_WINDOW;
		return vtr_range_fits(region->offset, region->size, vtr_dmabuf_size(region->fd)) ? 0 : -EINVAL;
	}
	if (fstat(region->fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size < 0 ||
	    !vtr_range_fits(region->offset, region->size, (uint64_t)info.st_size))
		return -EINVAL;
	region->kind = VTR_REGION_RAM;
	if (fstatfs(region->fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && vtr_is_power_of_two((uint64_t)fs.f_bsize))
		region->page = (size_t)fs.f_bsize;
	return 0;
}

/* Bytes between the beginning of the mapping and data. */
static size_t mapping_lead(const struct vtr_region *region)
{
	return (size_t)region->offset & (region->page - 1);
}

static size_t mapping_length(const struct vtr_region *region)
{
	return ((size_t)region->size + mapping_lead(region) + region->page - 1) & ~(region->page - 1);
}

static void *map_file(const struct vtr_region *region, int protection)
{
	return mmap(NULL, mapping_length(region), protection, MAP_SHARED | MAP_NORESERVE, region->fd,
	            (off_t)(region->offset - mapping_lead(region)));
}

/* Maps a RAM region whole. 0, -ENOMEM, or -EINVAL for a file that cannot be mapped. */
static int map_region(struct vtr_region *region)
{
	if (region->size > SIZE_MAX - 2 * region->page)
		return -ENOMEM;
	void *base = map_file(region, region->writable ? PROT_READ | PROT_WRITE : PROT_READ);
	if (base == MAP_FAILED && region->writable && (errno == EACCES || errno == EPERM)) {
		/* Opened for reading or sealed against writing. What we show is only read: good enough, writes are refused later.
		 */
		region->writable = false;
		base = map_file(region, PROT_READ);
	}
	if (base == MAP_FAILED)
		return errno == ENOMEM || errno == EAGAIN || errno == ENFILE ? -ENOMEM : -EINVAL;
	region->guard = vtr_fault_guard_add(base, mapping_length(region), region->page);
	if (!region->guard) {
		munmap(base, mapping_length(region));
		return -ENOMEM;
	}
	/* A crash of ours must not write the guest's memory to a core file. */
	madvise(base, mapping_length(region), MADV_DONTDUMP);
	region->data = (uint8_t *)base + mapping_lead(region);
	return 0;
}

struct vtr_region *vtr_region_create(struct vtr_memory *memory, uint64_t address, uint64_t size, int fd, uint64_t offset,
                                     bool writable, int *code)
{
	struct vtr_region *region = malloc(sizeof(*region));

	if (!region) {
		vtr_fd_close(&fd);
		*code = ENOMEM;
		return NULL;
	}
	*region = (struct vtr_region){
		.address = address,
		.size = size,
		.fd = fd,
		.offset = offset,
		.writable = writable,
		.mapped = true,
		.refs = 1,
		.memory = memory,
	};
	int error = classify(region);
	if (!error && region->kind == VTR_REGION_RAM)
		error = map_region(region);
	if (error) {
		vtr_region_unref(region);
		*code = -error;
		return NULL;
	}
	return region;
}

void vtr_region_revoke(struct vtr_region *region)
{
	if (region->data) {
		vtr_fault_guard_remove(region->guard);
		munmap(region->data - mapping_lead(region), mapping_length(region));
	}
	region->guard = NULL;
	region->data = NULL;
	region->mapped = false;
	region->memory = NULL;
	vtr_fd_close(&region->fd);
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
	return vtr_fault_guard_hit(region->guard);
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

int vtr_region_fetch(struct vtr_region *region, uint64_t offset, void *buffer, size_t length)
{
	const struct vtr_remote *remote = remote_of(region);

	if (!region->mapped)
		return -EFAULT;
	if (!remote)
		return region->memory ? -ENOTCONN : -EOPNOTSUPP;
	region->refs++;
	return finish_remote(region, remote->impl->read(remote->data, region->address + offset, buffer, length));
}

int vtr_region_read(struct vtr_region *region, uint64_t offset, void *buffer, size_t length, const void *ahead)
{
	if (!region->mapped || vtr_region_faulted(region))
		return -EFAULT;
	if (!region->data)
		return vtr_region_fetch(region, offset, buffer, length);
	if (ahead)
		vtr_copy_stream(buffer, region->data + offset, length, ahead);
	else
		memcpy(buffer, region->data + offset, length);
	return vtr_region_faulted(region) ? -EFAULT : 0;
}

int vtr_region_write(struct vtr_region *region, uint64_t offset, const void *buffer, size_t length)
{
	if (!region->mapped || vtr_region_faulted(region))
		return -EFAULT;
	if (!region->writable)
		return -EACCES;
	if (region->data) {
		memcpy(region->data + offset, buffer, length);
		return vtr_region_faulted(region) ? -EFAULT : 0;
	}
	const struct vtr_remote *remote = remote_of(region);
	if (!remote)
		return -ENOTCONN;
	region->refs++;
	return finish_remote(region, remote->impl->write(remote->data, region->address + offset, buffer, length));
}
