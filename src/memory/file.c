/* SPDX-License-Identifier: MIT */
#include "memory/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>
#include <vitrine/limits.h>

#include "util/checked.h"
#include "util/fault.h"
#include "util/fd.h"

/*
 * Theory of operation
 *
 * A peer hands us an fd and says that it is memory. What it is we find out ourselves, and only what was recognised is mapped:
 * mmap of an arbitrary device has effects, and a read through the mapping of the wrong thing can block or fault.
 *
 *   dmabuf                          window: mapped by its exporter's leave only, which VFIO does not give (device.c)
 *   regular file, long enough       RAM: memfd, hugetlbfs, tmpfs, a file; mapped, shared, guarded against truncation
 *   anything else, or too short     EINVAL
 *
 * The dmabuf is asked for first, because whether an anonymous inode calls itself a regular file depends on the kernel.
 *
 * The same file (device and inode, opened the same way) is opened and mapped once, whole; more regions of it cost nothing more. A
 * region that the mapping does not reach (the file has grown) or a file too large to be mapped whole gets a mapping of its own.
 *
 * Devices are not told by looking: who knows that an fd is one says so (device.c).
 */

/* Sets kind, page and length (all of the file) from what the fd is. 0 or -EINVAL. */
static int classify(struct vtr_memory_file *file)
{
	struct stat info;
	struct statfs fs;

	file->page = (size_t)sysconf(_SC_PAGESIZE);
	if (fstat(file->fd, &info) < 0)
		return -EINVAL;
	file->device = info.st_dev;
	file->inode = info.st_ino;
	if (vtr_dmabuf_is(file->fd)) {
		file->kind = VTR_REGION_WINDOW;
		file->length = vtr_dmabuf_size(file->fd);
		return 0;
	}
	if (!S_ISREG(info.st_mode) || info.st_size < 0)
		return -EINVAL;
	file->kind = VTR_REGION_RAM;
	file->length = (uint64_t)info.st_size;
	if (fstatfs(file->fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && vtr_is_power_of_two((uint64_t)fs.f_bsize))
		file->page = (size_t)fs.f_bsize;
	return 0;
}

size_t vtr_memory_file_mapped(const struct vtr_memory_file *file)
{
	return ((size_t)file->length + file->page - 1) & ~(file->page - 1);
}

static void *map_range(const struct vtr_memory_file *file, int protection)
{
	return mmap(NULL, vtr_memory_file_mapped(file), protection, MAP_SHARED | MAP_NORESERVE, file->fd, (off_t)file->start);
}

/* Maps [start, start + length) of the file. 0, -ENOMEM, or -EINVAL for a file that cannot be mapped. */
static int map(struct vtr_memory_file *file)
{
	if (file->length > SIZE_MAX - file->page)
		return -ENOMEM;
	void *data = map_range(file, file->writable ? PROT_READ | PROT_WRITE : PROT_READ);
	if (data == MAP_FAILED && file->writable && (errno == EACCES || errno == EPERM)) {
		/* Opened for reading or sealed against writing. What we show is only read: good enough, writes are refused later.
		 */
		file->writable = false;
		data = map_range(file, PROT_READ);
	}
	if (data == MAP_FAILED)
		return errno == ENOMEM || errno == EAGAIN || errno == ENFILE ? -ENOMEM : -EINVAL;
	file->guard = vtr_fault_guard_add(data, vtr_memory_file_mapped(file), file->page);
	if (!file->guard) {
		munmap(data, vtr_memory_file_mapped(file));
		return -ENOMEM;
	}
	/* A crash of ours must not write the guest's memory to a core file. */
	madvise(data, vtr_memory_file_mapped(file), MADV_DONTDUMP);
	file->data = data;
	return 0;
}

/* All of the file if that can be mapped, else just the pages around [offset, offset + size). */
static int map_some(struct vtr_memory_file *file, uint64_t offset, uint64_t size)
{
	int error = map(file);

	if (error != -ENOMEM)
		return error;
	file->start = offset & ~(uint64_t)(file->page - 1);
	file->length = offset + size - file->start;
	return map(file);
}

static bool reaches(const struct vtr_memory_file *file, uint64_t offset, uint64_t size)
{
	return offset >= file->start && vtr_range_fits(offset - file->start, size, file->length);
}

/* An open file that is the same as probe's, and still whole. */
static struct vtr_memory_file *find(struct vtr_memory_files *files, const struct vtr_memory_file *probe, uint64_t offset,
                                    uint64_t size)
{
	int access = fcntl(probe->fd, F_GETFL) & O_ACCMODE;

	for (struct vtr_memory_file *file = files->first; file; file = file->next)
		if (file->device == probe->device && file->inode == probe->inode && file->kind == probe->kind &&
		    (fcntl(file->fd, F_GETFL) & O_ACCMODE) == access && reaches(file, offset, size) &&
		    !vtr_fault_guard_hit(file->guard))
			return file;
	return NULL;
}

static void share(struct vtr_memory_files *files, struct vtr_memory_file *file)
{
	file->files = files;
	file->next = files->first;
	files->first = file;
	files->count++;
}

struct vtr_memory_file *vtr_memory_file_open(struct vtr_memory_files *files, int fd, uint64_t offset, uint64_t size, int *code)
{
	struct vtr_memory_file *file = malloc(sizeof(*file)), *same;

	if (!file) {
		vtr_fd_close(&fd);
		*code = ENOMEM;
		return NULL;
	}
	*file = (struct vtr_memory_file){ .fd = fd, .refs = 1, .writable = true };
	int error = classify(file);
	if (!error && !vtr_range_fits(offset, size, file->length))
		error = -EINVAL;
	same = error || !files ? NULL : find(files, file, offset, size);
	if (same) {
		vtr_memory_file_unref(file);
		same->refs++;
		return same;
	}
	if (!error && files && files->count >= VTR_MAX_FILES)
		error = -ENOSPC;
	if (!error && file->kind == VTR_REGION_RAM)
		error = map_some(file, offset, size);
	if (error) {
		vtr_memory_file_unref(file);
		*code = -error;
		return NULL;
	}
	if (files)
		share(files, file);
	return file;
}

static void unshare(struct vtr_memory_file *file)
{
	struct vtr_memory_file **link = &file->files->first;

	while (*link != file)
		link = &(*link)->next;
	*link = file->next;
	file->files->count--;
}

void vtr_memory_file_unref(struct vtr_memory_file *file)
{
	if (!file || --file->refs)
		return;
	if (file->files)
		unshare(file);
	if (file->data) {
		vtr_fault_guard_remove(file->guard);
		munmap(file->data, vtr_memory_file_mapped(file));
	}
	vtr_fd_close(&file->fd);
	free(file);
}
