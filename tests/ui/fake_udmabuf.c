/* SPDX-License-Identifier: MIT */
/*
 * udmabuf for machines whose kernel has none: to be loaded (LD_PRELOAD) before the program that makes dmabufs and before the one
 * that imports them by mapping them, as the kit's Mesa does for llvmpipe.
 *
 * A "dmabuf" is a memfd with a name of its own, as long as its pages together, followed by a list that says which pages of which
 * memfds those are. Who maps it gets these pages instead, nothing is copied. The memfds are found through /proc in the process
 * that made it, which has to live.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME "fake-udmabuf"

struct piece { /* no padding */
	char path[40];
	uint64_t offset, size;
};

int open64(const char *path, int flags, ...);
int ioctl(int fd, unsigned long request, ...);
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
/* mmap itself, which is a name for mmap64 to the compiler */
void *plain_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) __asm__("mmap");

static void *map(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

int open64(const char *path, int flags, ...)
{
	va_list arguments;

	va_start(arguments, flags);
	int mode = va_arg(arguments, int); /* whatever it is where it is not asked for */
	va_end(arguments);
	return (int)syscall(SYS_openat, AT_FDCWD, strcmp(path, "/dev/udmabuf") ? path : "/dev/null", flags, mode);
}

/* ---- making ---- */

static int create(const struct udmabuf_create_list *list)
{
	int fd = memfd_create(NAME, MFD_CLOEXEC);
	uint64_t total = 0;

	for (uint32_t i = 0; i < list->count; i++)
		total += list->list[i].size;
	if (fd < 0 || ftruncate(fd, (off_t)total) < 0 || lseek(fd, 0, SEEK_END) < 0)
		return -1;
	for (uint32_t i = 0; i < list->count; i++) {
		struct piece piece = { .offset = list->list[i].offset, .size = list->list[i].size };

		snprintf(piece.path, sizeof(piece.path), "/proc/%d/fd/%u", getpid(), list->list[i].memfd);
		if (write(fd, &piece, sizeof(piece)) != sizeof(piece))
			return -1;
	}
	return write(fd, &list->count, sizeof(list->count)) == sizeof(list->count) ? fd : -1;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;

	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	return request == UDMABUF_CREATE_LIST ? create(argument) : (int)syscall(SYS_ioctl, fd, request, argument);
}

/* ---- mapping ---- */

/* Of one of ours; else NULL. The list's length is in its last word. */
static struct piece *read_pieces(int fd, uint32_t *count)
{
	char path[32], target[64] = "";
	struct piece *pieces = NULL;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, target, sizeof(target) - 1) < 0 || strncmp(target, "/memfd:" NAME, strlen("/memfd:" NAME)))
		return NULL;
	off_t end = lseek(fd, 0, SEEK_END) - (off_t)sizeof(*count);
	if (pread(fd, count, sizeof(*count), end) == sizeof(*count))
		pieces = malloc(*count * sizeof(*pieces));
	if (pieces && pread(fd, pieces, *count * sizeof(*pieces), end - (off_t)(*count * sizeof(*pieces))) < 0)
		*count = 0;
	return pieces;
}

static void map_piece(char *to, size_t length, int protection, int flags, const struct piece *piece, uint64_t skip)
{
	int memory = (int)syscall(SYS_openat, AT_FDCWD, piece->path, O_RDWR | O_CLOEXEC);
	uint64_t size = piece->size - skip < length ? piece->size - skip : length;

	if (memory < 0 || map(to, size, protection, flags | MAP_FIXED, memory, (off_t)(piece->offset + skip)) == MAP_FAILED)
		abort(); /* the test has to know */
	close(memory);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	uint32_t count = 0;
	struct piece *pieces = fd < 0 ? NULL : read_pieces(fd, &count);
	char *start = map(address, length, protection, flags, fd, offset);
	uint64_t at = 0, first = (uint64_t)offset;

	for (uint32_t i = 0; i < count && start != MAP_FAILED; at += pieces[i++].size) {
		uint64_t skip = at < first ? first - at : 0, to = at + skip - first;

		if (skip < pieces[i].size && to < length)
			map_piece(start + to, length - to, protection, flags, &pieces[i], skip);
	}
	free(pieces);
	return start;
}

void *plain_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return mmap64(address, length, protection, flags, fd, offset);
}
