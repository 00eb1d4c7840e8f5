/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_MEMORY_FIXTURE_H
#define TESTS_UNIT_MEMORY_FIXTURE_H

/* Memory files with known contents and a remote side that answers from an array, for the tests of src/memory and src/dmabuf. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/memory.h>

#include "rows.h"

enum { PAGE = 4096 };

/* What byte i of a memory file with this seed holds: differs from page to page and from file to file. */
static inline uint8_t pattern(uint8_t seed, uint64_t i)
{
	return (uint8_t)(seed + i + (i >> 8) * 7 + (i >> 12) * 31);
}

/* A memfd without seals. */
static inline int pattern_file(uint8_t seed, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
	uint8_t *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g_assert_true(data != MAP_FAILED);
	for (size_t i = 0; i < size; i++)
		data[i] = pattern(seed, i);
	munmap(data, size);
	return fd;
}

static inline void assert_pattern(const void *buffer, size_t length, uint8_t seed, uint64_t offset)
{
	const uint8_t *bytes = buffer;

	for (size_t i = 0; i < length; i++)
		g_assert_cmpuint(bytes[i], ==, pattern(seed, offset + i));
}

/* Adds RAM of a new file with the pattern; the file begins at address. */
static inline void add_ram(struct vtr_memory *memory, uint64_t address, size_t size, uint8_t seed)
{
	g_assert_cmpint(vtr_memory_add(memory, address, size, pattern_file(seed, size), 0, true), ==, 0);
}

static inline bool fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static inline unsigned count_fds(void)
{
	GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(dir))
		count++;
	g_dir_close(dir);
	return count;
}

/* Lines of /proc/self/maps that hold what. Exact for files; of anonymous memory ("") the allocators map some, too. */
static inline unsigned count_mappings(const char *what)
{
	g_autofree char *text = NULL;
	unsigned count = 0;

	g_assert_true(g_file_get_contents("/proc/self/maps", &text, NULL, NULL));
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++)
		count += strstr(lines[i], what) != NULL;
	return count;
}

/* Answers for [address, address + sizeof(data)). */
struct fake_remote {
	uint64_t address;
	uint8_t data[4 * PAGE];
	unsigned reads, writes;
	int error;                 // what every access answers, when not 0
	struct vtr_memory *remove; // removes the region it is asked for from this map, when not NULL
};

static inline int fake_remote_access(struct fake_remote *remote, uint64_t address, size_t length)
{
	if (remote->remove)
		g_assert_cmpint(vtr_memory_remove(remote->remove, remote->address, sizeof(remote->data)), ==, 0);
	if (remote->error)
		return remote->error;
	g_assert_cmpuint(address, >=, remote->address);
	g_assert_cmpuint(address - remote->address + length, <=, sizeof(remote->data));
	return 0;
}

static inline int fake_remote_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct fake_remote *remote = data;
	int error = fake_remote_access(remote, address, length);

	remote->reads++;
	if (!error)
		memcpy(buffer, remote->data + (address - remote->address), length);
	return error;
}

static inline int fake_remote_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	struct fake_remote *remote = data;
	int error = fake_remote_access(remote, address, length);

	remote->writes++;
	if (!error)
		memcpy(remote->data + (address - remote->address), buffer, length);
	return error;
}

static const struct vtr_remote_impl fake_remote_impl = { .read = fake_remote_read, .write = fake_remote_write };

/* Adds the remote region at address, with the pattern. */
static inline void add_remote(struct vtr_memory *memory, struct fake_remote *remote, uint64_t address, uint8_t seed)
{
	*remote = (struct fake_remote){ .address = address };
	for (size_t i = 0; i < sizeof(remote->data); i++)
		remote->data[i] = pattern(seed, i);
	vtr_memory_set_remote(memory, &fake_remote_impl, remote);
	g_assert_cmpint(vtr_memory_add(memory, address, sizeof(remote->data), -1, 0, true), ==, 0);
}

#endif
