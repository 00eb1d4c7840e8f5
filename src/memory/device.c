/* SPDX-License-Identifier: MIT */
#include <vitrine/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/file.h"
#include "util/checked.h"
#include "util/fault.h"
#include "util/fd.h"

/*
 * Memory of an assigned device, mapped through the device's fd, or through a dmabuf of it where the dmabuf's exporter lets it be
 * mapped (dmabuf/cpu_map.c).
 *
 * It is unlike a file in three ways. It goes and comes back: while the guest has the device's memory decoding off, while it is in
 * reset or asleep, the kernel takes the pages out of our mapping, and a touch raises SIGBUS. The fault guard puts zero pages there
 * as it does for a file, but these are not for good: every later access maps the device again first, and finds out by reading. That
 * costs two system calls and a signal for each attempt while the device is away, and nobody has to tell us when it is back.
 *
 * It is uncached: every load is a round trip to the device, so it is read in large aligned pieces (copy.h) and never twice. And it
 * is only read: what is written there could be registers.
 */

static int map(struct vtr_memory_file *file, void *place, int flags)
{
	file->data = mmap(place, vtr_memory_file_mapped(file), PROT_READ, MAP_SHARED | MAP_NORESERVE | flags, file->fd,
	                  (off_t)file->start);
	return file->data == MAP_FAILED ? -errno : 0;
}

static struct vtr_memory_file *map_device(int fd, uint64_t offset, uint64_t size, bool dmabuf)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = offset & ~(page - 1), end;
	struct vtr_memory_file *file = NULL;
	int error = EINVAL;

	if (!size || !vtr_add_u64(offset, size, &end) || end > INT64_MAX - page || end - start > SIZE_MAX - page)
		goto fail;
	error = ENOMEM;
	file = malloc(sizeof(*file));
	if (!file)
		goto fail;
	*file = (struct vtr_memory_file){ .refs = 1,
		                          .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3),
		                          .kind = dmabuf ? VTR_REGION_WINDOW : VTR_REGION_VFIO,
		                          .bracketed = dmabuf,
		                          .page = page,
		                          .start = start,
		                          .length = end - start };
	error = file->fd < 0 ? errno : -map(file, NULL, 0);
	if (error)
		goto close_fd;
	file->guard = vtr_fault_guard_add(file->data, vtr_memory_file_mapped(file), file->page);
	if (!file->guard) {
		error = ENOMEM;
		munmap(file->data, vtr_memory_file_mapped(file));
		goto close_fd;
	}
	return file;
close_fd:
	vtr_fd_close(&file->fd);
fail:
	free(file);
	errno = error;
	return NULL;
}

struct vtr_memory_file *vtr_memory_map_device(int fd, uint64_t offset, uint64_t size)
{
	return map_device(fd, offset, size, false);
}

struct vtr_memory_file *vtr_memory_file_map_window(struct vtr_memory_file *window)
{
	if (vtr_dmabuf_probe_cpu(window->fd, &window->cpu))
		return NULL;
	struct vtr_memory_file *file = map_device(window->fd, 0, window->length, true);
	if (!file)
		vtr_error_set(&window->cpu.why_not, VTR_ERROR_HOST, errno, "the dmabuf cannot be mapped: %s", strerror(errno));
	return file;
}

void vtr_memory_unmap_device(struct vtr_memory_file *file)
{
	vtr_memory_file_unref(file);
}

/* A mapping that fails may have taken what was there before, and our addresses are not to become somebody else's. */
static void keep_place(struct vtr_memory_file *file, void *place)
{
	mmap(place, vtr_memory_file_mapped(file), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	file->data = place;
}

int vtr_memory_file_restore(struct vtr_memory_file *file)
{
	uint8_t *data = file->data;

	if (!vtr_fault_guard_hit(file->guard))
		return 0;
	if (map(file, data, MAP_FIXED)) {
		keep_place(file, data);
		return -EFAULT;
	}
	vtr_fault_guard_reset(file->guard);
	return 0;
}
