/* SPDX-License-Identifier: MIT */
#include <vitrine/dmabuf.h>

#include <errno.h>
#include <linux/dma-buf.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

/*
 * What every dmabuf can be asked, whoever made it. An fd that a peer sent is recognised by its file system: that is a question
 * about the inode, while an ioctl would be an action on a file that may be anything.
 */

enum { IDLE_MS = 50 };

bool vtr_dmabuf_is(int fd)
{
	struct statfs info;

	return fstatfs(fd, &info) == 0 && info.f_type == DMA_BUF_MAGIC;
}

static int sync_cpu(int fd, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };
	int result;

	/* Waits for the device: a signal, or an exporter that wants to be asked again, is no failure. */
	do
		result = ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
	while (result < 0 && (errno == EINTR || errno == EAGAIN));
	return result < 0 ? -errno : 0;
}

/* Are devices still using the dmabuf? SYNC would wait for them, however long that takes. */
static bool is_busy(int fd, bool write)
{
	struct pollfd poll_fd = { .fd = fd, .events = write ? POLLOUT : POLLIN };

	return fd >= 0 && poll(&poll_fd, 1, IDLE_MS) == 0;
}

int vtr_dmabuf_begin_cpu(int fd, bool write)
{
	if (is_busy(fd, write))
		return -EBUSY;
	return sync_cpu(fd, DMA_BUF_SYNC_START | (write ? DMA_BUF_SYNC_RW : DMA_BUF_SYNC_READ));
}

int vtr_dmabuf_end_cpu(int fd, bool write)
{
	return sync_cpu(fd, DMA_BUF_SYNC_END | (write ? DMA_BUF_SYNC_RW : DMA_BUF_SYNC_READ));
}

uint64_t vtr_dmabuf_size(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);

	return size > 0 ? (uint64_t)size : 0;
}
