/* SPDX-License-Identifier: MIT */
#include "util/eventfd.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Only an eventfd has no file type and takes eight bytes; adding 0 changes nothing and never blocks. */
bool vtr_fd_is_eventfd(int fd)
{
	const uint64_t nothing = 0;
	struct stat info;

	return !fstat(fd, &info) && !(info.st_mode & S_IFMT) && write(fd, &nothing, sizeof(nothing)) == sizeof(nothing);
}

void vtr_eventfd_set_nonblocking(int eventfd)
{
	int flags = eventfd < 0 ? -1 : fcntl(eventfd, F_GETFL);

	if (flags >= 0)
		fcntl(eventfd, F_SETFL, flags | O_NONBLOCK);
}

void vtr_eventfd_signal(int eventfd)
{
	const uint64_t one = 1;
	ssize_t written;

	if (eventfd < 0)
		return;
	written = write(eventfd, &one, sizeof(one));
	(void)written; /* EAGAIN: signalled already */
}

void vtr_eventfd_clear(int eventfd)
{
	uint64_t count;
	ssize_t got = preadv2(eventfd, &(struct iovec){ &count, sizeof(count) }, 1, -1, RWF_NOWAIT);

	(void)got; /* EAGAIN: somebody else took it */
}
