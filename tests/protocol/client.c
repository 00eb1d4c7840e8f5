/* SPDX-License-Identifier: MIT */
/*
 * A vfio-user client that does what its command line says, and prints a line for each step: its name, 0 or the errno's name, and
 * what came back.
 *
 *   client PATH TIMEOUT_MS STEP...
 *
 * Steps: info, region N, irq N, set-irq N VECTOR, read REGION OFFSET LENGTH, write REGION OFFSET LENGTH, post REGION OFFSET LENGTH,
 * poke REGION OFFSET VALUE, map ADDRESS SIZE, map-memfd ADDRESS SIZE, unmap ADDRESS SIZE, reset, dispatch MILLISECONDS, fds,
 * feature FLAGS, cork, uncork. Its memory for the server's requests is 64 KiB at 0, byte i being i modulo 251.
 *
 * The server as an assigned device: device, then refresh, dmabuf BAR OFFSET OFFSET (two pages at the first, one at the second),
 * have-udmabuf (from here on udmabufs can be made; what of is printed).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
#include "vfio/device.h"
#include "vfio/user.h"

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

struct peer {
	struct vtr_vfio_user_client *client;
	struct vtr_vfio_backend *backend;
	struct vtr_vfio_device *device;
};

static int step_info(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	uint32_t flags, regions, irqs;
	int error = vtr_vfio_user_device_info(peer->client, &flags, &regions, &irqs);

	if (!error)
		snprintf(text, size, "flags %u regions %u irqs %u", flags, regions, irqs);
	return error;
}

/* What is made of a region's information. */
static int step_region(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	struct vtr_vfio_region region;
	int error = vtr_vfio_region_read(peer->backend, (uint32_t)arguments[0], &region);

	if (error)
		return error;
	snprintf(text, size, "size %" PRIu64 " %s%s fd %s areas %zu last %" PRIu64, region.size, region.readable ? "r" : "",
	         region.writable ? "w" : "",
	         region.sealed    ? "sealed"
	         : region.fd >= 0 ? "yes"
	                          : "no",
	         region.n_areas, region.n_areas ? region.areas[region.n_areas - 1].offset : 0);
	free(region.areas);
	return 0;
}

static int step_feature(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	struct vfio_device_feature feature = { .argsz = sizeof(feature), .flags = (uint32_t)arguments[0] };
	int fd, error = vtr_vfio_user_feature(peer->client, &feature, &fd);

	if (!error)
		snprintf(text, size, "fd %s", fd >= 0 ? "yes" : "no");
	vtr_fd_close(&fd);
	return error;
}

/* ---- the device that is made of the server ---- */

static void print_bars(const struct vtr_vfio_device *device, char *text, size_t size)
{
	for (uint32_t i = 0; i < VTR_VFIO_BARS; i++) {
		const struct vtr_vfio_region *bar = vtr_vfio_device_region(device, i);
		size_t length = strlen(text);

		if (bar->size)
			snprintf(text + length, size - length, " bar%u %" PRIu64 "/%zu%s@%" PRIx64, i, bar->size, bar->n_areas,
			         bar->sealed ? "/sealed" : "", bar->decoded ? bar->address : 0);
	}
}

static int step_device(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	static const char *const names[] = { "dmabuf", "mmap", "addresses", "udmabuf" };
	struct vtr_error error = { 0 };

	peer->device = vtr_vfio_device_create_user(peer->client, "the device", &error);
	if (!peer->device) {
		snprintf(text, size, "%s", error.text);
		return -error.code;
	}
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (vtr_vfio_device_capabilities(peer->device) & 1u << i)
			snprintf(text + strlen(text), size - strlen(text), "%s%s", *text ? "," : "", names[i]);
	print_bars(peer->device, text, size);
	return 0;
}

static int step_refresh(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	int result = vtr_vfio_device_refresh(peer->device);

	if (result > 0)
		snprintf(text, size, "changed");
	print_bars(peer->device, text + strlen(text), size - strlen(text));
	return result < 0 ? result : 0;
}

/* Where a udmabuf device is said to be; what it would be asked for is told. */
static int tell_udmabuf(int device, const struct udmabuf_create_list *list)
{
	for (uint32_t i = 0; i < list->count; i++)
		printf("udmabuf %" PRIx64 "+%" PRIx64 "\n", (uint64_t)list->list[i].offset, (uint64_t)list->list[i].size);
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int step_have_udmabuf(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	static const struct vtr_udmabuf_host host = { .device = -1, .list_limit = -1, .size_limit_mb = -1, .create = tell_udmabuf };

	vtr_vfio_device_set_udmabuf(peer->device, &host, NULL);
	return 0;
}

static int step_dmabuf(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	struct vtr_vfio_range ranges[] = { { (uint32_t)arguments[0], arguments[1], 8192 },
		                           { (uint32_t)arguments[0], arguments[2], 4096 } };
	struct vtr_error error = { 0 };
	int fd = vtr_vfio_device_create_dmabuf(peer->device, ranges, 2, &error);

	if (fd < 0)
		snprintf(text, size, "%s: %s", vtr_error_owner_name(error.owner), error.text);
	else
		close(fd);
	return fd < 0 ? fd : 0;
}

static int step_cork(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	vtr_vfio_user_cork(peer->client);
	return 0;
}

static int step_uncork(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_uncork(peer->client);
}

static int step_irq(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	uint32_t count;
	int error = vtr_vfio_user_irq_count(peer->client, (uint32_t)arguments[0], &count);

	if (!error)
		snprintf(text, size, "count %u", count);
	return error;
}

static int step_set_irq(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int error = vtr_vfio_user_set_irq(peer->client, (uint32_t)arguments[0], (uint32_t)arguments[1], fd);

	close(fd);
	return error;
}

static int step_read(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	int error = vtr_vfio_user_read(peer->client, (uint32_t)arguments[0], arguments[1], data, (size_t)arguments[2] % MAX_LENGTH);

	if (!error)
		snprintf(text, size, "first %u last %u", data[0], data[arguments[2] - 1]);
	return error;
}

static int step_write(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_write(peer->client, (uint32_t)arguments[0], arguments[1], data, (size_t)arguments[2] % MAX_LENGTH,
	                           false);
}

static int step_post(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_write(peer->client, (uint32_t)arguments[0], arguments[1], data, (size_t)arguments[2] % MAX_LENGTH,
	                           true);
}

/* Four bytes, posted. */
static int step_poke(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	uint32_t value = (uint32_t)arguments[2];

	return vtr_vfio_user_write(peer->client, (uint32_t)arguments[0], arguments[1], &value, sizeof(value), true);
}

static int step_map(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_dma_map(peer->client, arguments[0], arguments[1], -1, 0, true);
}

static int step_map_memfd(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	int fd = vtr_memfd_create("client", arguments[1]);
	int error = vtr_vfio_user_dma_map(peer->client, arguments[0], arguments[1], fd, 0, true);

	close(fd);
	return error;
}

static int step_unmap(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_dma_unmap(peer->client, arguments[0], arguments[1]);
}

static int step_reset(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	return vtr_vfio_user_reset(peer->client);
}

/* Serves until the time is up or the connection is gone. */
static int step_dispatch(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	struct pollfd poll_fd = { .fd = vtr_vfio_user_client_fd(peer->client), .events = POLLIN };
	int error = poll_fd.fd < 0 ? -ENOTCONN : 0;

	while (!error && poll(&poll_fd, 1, (int)arguments[0]) > 0)
		error = vtr_vfio_user_client_dispatch(peer->client);
	snprintf(text, size, "memory %u", memory[0]);
	return error;
}

static int step_fds(struct peer *peer, const uint64_t *arguments, char *text, size_t size)
{
	snprintf(text, size, "open %d", count_fds());
	return 0;
}

static const struct step {
	const char *name;
	int n_arguments;
	int (*run)(struct peer *peer, const uint64_t *arguments, char *text, size_t size);
} steps[] = {
	{ "info", 0, step_info },
	{ "region", 1, step_region },
	{ "irq", 1, step_irq },
	{ "set-irq", 2, step_set_irq },
	{ "read", 3, step_read },
	{ "write", 3, step_write },
	{ "post", 3, step_post },
	{ "map", 2, step_map },
	{ "map-memfd", 2, step_map_memfd },
	{ "unmap", 2, step_unmap },
	{ "reset", 0, step_reset },
	{ "dispatch", 1, step_dispatch },
	{ "fds", 0, step_fds },
	{ "feature", 1, step_feature },
	{ "device", 0, step_device },
	{ "refresh", 0, step_refresh },
	{ "have-udmabuf", 0, step_have_udmabuf },
	{ "dmabuf", 3, step_dmabuf },
	{ "poke", 3, step_poke },
	{ "cork", 0, step_cork },
	{ "uncork", 0, step_uncork },
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
	struct peer peer = { 0 };

	for (size_t i = 0; i < sizeof(memory); i++)
		memory[i] = (uint8_t)(i % 251);
	if (argc < 3)
		return 2;
	peer.client = vtr_vfio_user_client_connect(argv[1], atoi(argv[2]));
	report("connect", peer.client ? 0 : -errno, "");
	if (!peer.client)
		return 0;
	vtr_vfio_user_client_set_dma(peer.client, &dma, NULL);
	peer.backend = vtr_vfio_user_create(peer.client);
	for (int i = 3; i < argc;) {
		const struct step *step = find_step(argv[i++]);
		uint64_t arguments[3] = { 0 };
		char text[512] = "";

		if (!step || argc - i < step->n_arguments)
			return 2;
		for (int j = 0; j < step->n_arguments; j++)
			arguments[j] = strtoull(argv[i++], NULL, 0);
		int error = step->run(&peer, arguments, text, sizeof(text));
		report(step->name, error, text);
	}
	vtr_vfio_device_destroy(peer.device);
	peer.backend->impl->destroy(peer.backend);
	vtr_vfio_user_client_destroy(peer.client);
	return 0;
}
