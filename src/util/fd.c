/* SPDX-License-Identifier: MIT */
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <vitrine/loop.h>

void vtr_fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int vtr_fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

int vtr_memfd_create(const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		int error = size > INT64_MAX ? EFBIG : errno;

		close(fd);
		return -error;
	}
	return fd;
}

static int unix_address(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

int vtr_unix_connect(const char *path)
{
	struct sockaddr_un address;
	int error = unix_address(path, &address);

	if (error)
		return error;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

int vtr_unix_connect_until(const char *path, uint64_t deadline_ns)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct sockaddr_un address;
	int error = unix_address(path, &address);

	if (error)
		return error;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		error = errno == EAGAIN && vtr_now_ns() >= deadline_ns ? -ETIMEDOUT : -errno;
		if (error != -EAGAIN && error != -EINTR) {
			close(fd);
			return error;
		}
		nanosleep(&pause, NULL);
	}
	return fd;
}

/* Removes a socket file that nobody listens on; anything else at path stays and makes the bind fail. */
static int remove_stale(const char *path)
{
	struct stat info;

	if (lstat(path, &info) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(info.st_mode))
		return -EEXIST;
	int probe = vtr_unix_connect(path);
	if (probe >= 0) {
		close(probe);
		return -EADDRINUSE;
	}
	if (probe == -ECONNREFUSED)
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	return probe == -ENOENT ? 0 : probe;
}

int vtr_unix_listen(const char *path)
{
	struct sockaddr_un address;
	int error = unix_address(path, &address);

	if (!error)
		error = remove_stale(path);
	if (error)
		return error;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The mode of a bound socket is that of its inode at bind() time: no moment in which others could connect. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		goto fail;
	if (chmod(path, 0600) < 0 || listen(fd, 16) < 0) {
		error = -errno;
		unlink(path);
		close(fd);
		return error;
	}
	return fd;
fail:
	error = -errno;
	close(fd);
	return error;
}
