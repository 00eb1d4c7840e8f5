/* SPDX-License-Identifier: MIT */
/*
 * A vfio-user client that does what its command line says, and prints a line for each step: its name, 0 or the errno's name, and
 * what came back.
 *
 *   client PATH TIMEOUT_MS STEP...
 *
 * Steps: info, region N, irq N, set-irq N VECTOR, read REGION OFFSET LENGTH, write REGION OFFSET LENGTH, post REGION OFFSET LENGTH,
 * map ADDRESS SIZE, map-memfd ADDRESS SIZE, unmap ADDRESS SIZE, reset, dispatch MILLISECONDS, fds. Its memory for the server's
 * requests is 64 KiB at 0, byte i being i modulo 251.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vitrine/transport.h>

#include "util/checked.h"
#include "util/fd.h"

enum { MEMORY_SIZE = 65536, MAX_LENGTH = 4 << 20 };

static uint8_t memory[MEMORY_SIZE];
static uint8_t data[MAX_LENGTH];

static int memory_read(void *unused, uint64_t address, void *buffer, size_t length)
{
	if (!vtr_range_fits(address, length, MEMORY_SIZE))
		return -EFAULT;
	memcpy(buffer, memory + address, length);
	return 0;
}

static int memory_write(void *unused, uint64_t address, const void *buffer, size_t length)
{
	if (!vtr_range_fits(address, length, MEMORY_SIZE))
		return -EFAULT;
	memcpy(memory + address, buffer, length);
	return 0;
}

static const struct vtr_vfio_user_dma_impl dma = { .read = memory_read, .write = memory_write };

static int count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;

	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count;
}

static int step_info(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	uint32_t flags, regions, irqs;
	int error = vtr_vfio_user_device_info(client, &flags, &regions, &irqs);

	if (!error)
		snprintf(text, size, "flags %u regions %u irqs %u", flags, regions, irqs);
	return error;
}

static int step_region(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	struct vtr_vfio_user_region region;
	int error = vtr_vfio_user_region_info(client, (uint32_t)arguments[0], &region);

	if (!error)
		snprintf(text, size, "size %" PRIu64 " flags %u fd %s areas %u last %" PRIu64, region.size, region.flags,
		         region.fd >= 0 ? "yes" : "no", region.n_areas,
		         region.n_areas ? region.areas[region.n_areas - 1].offset : 0);
	return error;
}

static int step_irq(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	uint32_t count;
	int error = vtr_vfio_user_irq_count(client, (uint32_t)arguments[0], &count);

	if (!error)
		snprintf(text, size, "count %u", count);
	return error;
}

static int step_set_irq(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int error = vtr_vfio_user_set_irq(client, (uint32_t)arguments[0], (uint32_t)arguments[1], fd);

	close(fd);
	return error;
}

static int step_read(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	int error = vtr_vfio_user_read(client, (uint32_t)arguments[0], arguments[1], data, (size_t)arguments[2] % MAX_LENGTH);

	if (!error)
		snprintf(text, size, "first %u last %u", data[0], data[arguments[2] - 1]);
	return error;
}

static int step_write(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_write(client, (uint32_t)arguments[0], arguments[1], data, (size_t)arguments[2] % MAX_LENGTH, false);
}

static int step_post(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_write(client, (uint32_t)arguments[0], arguments[1], data, (size_t)arguments[2] % MAX_LENGTH, true);
}

static int step_map(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_dma_map(client, arguments[0], arguments[1], -1, 0, true);
}

static int step_map_memfd(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	int fd = vtr_memfd_create("client", arguments[1]);
	int error = vtr_vfio_user_dma_map(client, arguments[0], arguments[1], fd, 0, true);

	close(fd);
	return error;
}

static int step_unmap(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_dma_unmap(client, arguments[0], arguments[1]);
}

static int step_reset(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_reset(client);
}

/* Serves until the time is up or the connection is gone. */
static int step_dispatch(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	struct pollfd poll_fd = { .fd = vtr_vfio_user_client_fd(client), .events = POLLIN };
	int error = poll_fd.fd < 0 ? -ENOTCONN : 0;

	while (!error && poll(&poll_fd, 1, (int)arguments[0]) > 0)
		error = vtr_vfio_user_client_dispatch(client);
	snprintf(text, size, "memory %u", memory[0]);
	return error;
}

static int step_fds(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size)
{
	snprintf(text, size, "open %d", count_fds());
	return 0;
}

static const struct step {
	const char *name;
	int n_arguments;
	int (*run)(struct vtr_vfio_user_client *client, const uint64_t *arguments, char *text, size_t size);
} steps[] = {
	{ "info", 0, step_info },       { "region", 1, step_region }, { "irq", 1, step_irq },
	{ "set-irq", 2, step_set_irq }, { "read", 3, step_read },     { "write", 3, step_write },
	{ "post", 3, step_post },       { "map", 2, step_map },       { "map-memfd", 2, step_map_memfd },
	{ "unmap", 2, step_unmap },     { "reset", 0, step_reset },   { "dispatch", 1, step_dispatch },
	{ "fds", 0, step_fds },
};

static const struct step *find_step(const char *name)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (!strcmp(steps[i].name, name))
			return &steps[i];
	return NULL;
}

static void report(const char *name, int error, const char *text)
{
	printf("%s %s%s%s\n", name, error ? strerrorname_np(-error) : "0", *text ? " " : "", text);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct vtr_vfio_user_client *client;

	for (size_t i = 0; i < sizeof(memory); i++)
		memory[i] = (uint8_t)(i % 251);
	if (argc < 3)
		return 2;
	client = vtr_vfio_user_client_connect(argv[1], atoi(argv[2]));
	report("connect", client ? 0 : -errno, "");
	if (!client)
		return 0;
	vtr_vfio_user_client_set_dma(client, &dma, NULL);
	for (int i = 3; i < argc;) {
		const struct step *step = find_step(argv[i++]);
		uint64_t arguments[3] = { 0 };
		char text[128] = "";

		if (!step || argc - i < step->n_arguments)
			return 2;
		for (int j = 0; j < step->n_arguments; j++)
			arguments[j] = strtoull(argv[i++], NULL, 0);
		int error = step->run(client, arguments, text, sizeof(text));
		report(step->name, error, text);
	}
	vtr_vfio_user_client_destroy(client);
	return 0;
}
