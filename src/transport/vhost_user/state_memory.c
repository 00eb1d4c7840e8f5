/* SPDX-License-Identifier: MIT */
/*
 * Memory that outlives this process (state_memory.h).
 *
 * It is a memory file of a front-end's, or a file of ours in a directory of a tmpfs, so that stores are all that it takes: nothing
 * is synchronized, because a machine that loses power loses the guest, too.
 *
 * Whoever else has the file may truncate it; the mapping is guarded (util/fault.h), and what is lost then is the state. Pages are
 * reserved before they are touched, because a full file system would raise the same signal.
 */
#include "transport/vhost_user/state_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "transport/vhost_user/inflight.h"
#include "transport/vhost_user/state_header.h"
#include "util/checked.h"
#include "util/fd.h"

static size_t round_to_page(size_t size)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) & ~(page - 1);
}

struct vtr_state_layout vtr_state_layout(unsigned n_queues, uint16_t queue_size, size_t saved_size)
{
	struct vtr_state_layout layout = {
		.n_queues = n_queues,
		.queue_size = queue_size,
		.region_size = vtr_inflight_region_size(queue_size),
		.saved_size = saved_size,
	};

	layout.header = round_to_page(n_queues * layout.region_size);
	layout.saved = layout.header + round_to_page(sizeof(struct vtr_state_header));
	layout.size = layout.saved + round_to_page(saved_size);
	return layout;
}

/* ---- what the device asks of it ---- */

static struct vtr_state_memory *from_saved(struct vtr_saved_memory *saved)
{
	return (struct vtr_state_memory *)((char *)saved - offsetof(struct vtr_state_memory, saved));
}

/* File systems that cannot do it do not need it, or are not full every day. */
static int allocate(const struct vtr_state_memory *memory, size_t offset, size_t length)
{
	if (fallocate(memory->fd, 0, (off_t)(memory->offset + offset), (off_t)length) < 0)
		return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
	return 0;
}

static int reserve(struct vtr_saved_memory *saved, size_t offset, size_t length)
{
	const struct vtr_state_memory *memory = from_saved(saved);

	return allocate(memory, memory->layout.saved + offset, length);
}

static int clear(struct vtr_saved_memory *saved)
{
	const struct vtr_state_memory *memory = from_saved(saved);

	if (fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(memory->offset + memory->layout.saved),
	              (off_t)saved->size) < 0)
		return -errno;
	return 0;
}

/* ---- mapping ---- */

static int map(struct vtr_state_memory *memory, uint64_t size)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t length = memory->has_saved ? memory->layout.size : memory->layout.header;
	struct stat status;

	if (fstat(memory->fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || memory->offset % page || memory->offset > INT64_MAX || length > size ||
	    !vtr_range_fits(memory->offset, length, (uint64_t)status.st_size))
		return -EINVAL;
	memory->data = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, (off_t)memory->offset);
	if (memory->data == MAP_FAILED)
		return -errno;
	memory->guard = vtr_fault_guard_add(memory->data, length, page);
	if (!memory->guard) {
		munmap(memory->data, length);
		return -ENOMEM;
	}
	/* the accounts and the header are small, and needed in any case */
	return memory->has_saved ? allocate(memory, 0, memory->layout.saved) : 0;
}

int vtr_state_memory_map(struct vtr_state_memory *memory, const struct vtr_state_layout *layout, int fd, uint64_t offset,
                         uint64_t size)
{
	int ret;

	*memory = (struct vtr_state_memory){
		.saved = { .size = layout->saved_size, .reserve = reserve, .clear = clear },
		.layout = *layout,
		.fd = fd,
		.offset = offset,
		.has_saved = layout->saved_size && size >= layout->size,
	};
	ret = map(memory, size);
	if (ret < 0) {
		if (memory->guard)
			vtr_state_memory_unmap(memory);
		vtr_fd_close(&memory->fd);
		return ret;
	}
	memory->saved.data = memory->data + layout->saved;
	return 0;
}

void vtr_state_memory_unmap(struct vtr_state_memory *memory)
{
	if (memory->fd < 0)
		return;
	vtr_fault_guard_remove(memory->guard);
	munmap(memory->data, memory->has_saved ? memory->layout.size : memory->layout.header);
	vtr_fd_close(&memory->fd);
}

/* ---- the file ---- */

bool vtr_state_file_is_memory(const char *path)
{
	struct statfs status;

	return statfs(path, &status) == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

/* Is the file ours alone? What else may be written by others, or is not what it looks like. */
static bool is_private(const struct stat *status)
{
	return S_ISREG(status->st_mode) && status->st_uid == geteuid() && !(status->st_mode & (S_IRWXG | S_IRWXO)) &&
	       status->st_nlink == 1;
}

/* Makes it a file of layout: as it is, when it is one. */
static int prepare(int fd, const char *path, const struct vtr_state_layout *layout, struct vtr_error *error)
{
	static const struct vtr_state_header nothing;
	struct vtr_state_header header = nothing;
	struct stat status;

	if (fstat(fd, &status) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "%s: %s", path, strerror(errno));
	if (!is_private(&status))
		return vtr_error_set(error, VTR_ERROR_HOST, EEXIST,
		                     "%s is not a file of this user alone: remove it, or name another one (--state)", path);
	/* The header is where this version has it, or the file is another version's: these have their name at its beginning, too.
	 */
	if (status.st_size && (pread(fd, &header, sizeof(header), (off_t)layout->header) != sizeof(header) ||
	                       (memcmp(&header, &nothing, sizeof(header)) && !vtr_state_header_is_ours(&header))))
		return vtr_error_set(error, VTR_ERROR_HOST, EEXIST,
		                     "%s is not a state file of this version: remove it, or name another one (--state)", path);
	if ((uint64_t)status.st_size != layout->size && ftruncate(fd, 0) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "%s: %s", path, strerror(errno));
	if (ftruncate(fd, (off_t)layout->size) < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "%s: %s", path, strerror(errno));
	return 0;
}

int vtr_state_file_open(const char *path, const struct vtr_state_layout *layout, struct vtr_error *error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, S_IRUSR | S_IWUSR);
	int ret;

	if (fd < 0)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "%s: %s", path,
		                     errno == ELOOP ? "it is a symbolic link, which is not followed" : strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		ret = vtr_error_set(error, VTR_ERROR_HOST, EBUSY, "%s: another process keeps its state there", path);
	else
		ret = prepare(fd, path, layout, error);
	if (ret < 0)
		vtr_fd_close(&fd);
	return ret < 0 ? ret : fd;
}
