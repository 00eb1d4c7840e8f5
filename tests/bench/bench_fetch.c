/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/loop.h>
#include <vitrine/transport.h>

#include "transport/vfio_user/client.h"
#include "transport/vfio_user/server.h"
#include "virtio/device.h"

/*
 * What it costs to ask for memory: a 4K frame, and the most pieces that a guest may name, by DMA_READ from a client on another
 * thread that does nothing but answer. Several requests under way are compared with one after another, in turns.
 */

enum {
	PAGE = 4096,
	ROUNDS = 7,
	FRAME_BYTES = 3840 * 2160 * 4,
	FRAME_PAGES = FRAME_BYTES / PAGE,
	MEMORY = 2 * FRAME_BYTES,
};

static bool as_json;
static const char *separator = "";

static void fail(int code, const char *what)
{
	if (code >= 0)
		return;
	fprintf(stderr, "bench_fetch: %s: %s\n", what, strerror(-code));
	exit(1);
}

static void print(const char *name, double ms, double single_ms)
{
	if (as_json)
		printf("%s\n  {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"ms\", \"ratio\": %.3f, \"to\": \"one at a time\"}",
		       separator, name, ms, ms / single_ms);
	else
		printf("%-40s %10.2f ms %6.2f of one at a time\n", name, ms, ms / single_ms);
	separator = ",";
}

/* ---- the client ---- */

struct vmm {
	int socket;
	uint8_t *memory;
	atomic_bool ready, stop;
};

static int dma_read(void *data, uint64_t address, void *buffer, size_t length)
{
	const struct vmm *vmm = data;

	memcpy(buffer, vmm->memory + address, length);
	return 0;
}

static int dma_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	return -EACCES;
}

static void *run_vmm(void *data)
{
	static const struct vtr_vfio_user_dma_impl dma = { .read = dma_read, .write = dma_write };
	struct vmm *vmm = data;
	struct vtr_vfio_user_client *client = vtr_vfio_user_client_attach(vmm->socket, 10000);

	fail(client ? 0 : -errno, "client");
	vtr_vfio_user_client_set_dma(client, &dma, vmm);
	fail(vtr_vfio_user_dma_map(client, 0, MEMORY, -1, 0, true), "DMA_MAP");
	vmm->ready = true;
	while (!vmm->stop) {
		struct pollfd poll_fd = { .fd = vtr_vfio_user_client_fd(client), .events = POLLIN };

		if (poll(&poll_fd, 1, 10) > 0)
			fail(vtr_vfio_user_client_dispatch(client), "dispatch");
	}
	vtr_vfio_user_client_destroy(client);
	return NULL;
}

/* ---- the device ---- */

static uint64_t no_features(struct vtr_virtio_device *device)
{
	return 0;
}

static void no_notify(struct vtr_virtio_device *device, unsigned queue)
{
}

static void no_reset(struct vtr_virtio_device *device)
{
}

static const struct vtr_virtio_device_impl device_impl = {
	.features = no_features, .notify = no_notify, .queue_reset = no_notify, .reset = no_reset
};

struct bench {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_virtio_device device;
	struct vtr_vfio_user_server *server;
	struct vmm vmm;
	pthread_t thread;
	uint8_t *target;
};

static void start(struct bench *bench)
{
	const uint16_t size = 16;
	int sockets[2];

	fail(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets), "socketpair");
	*bench = (struct bench){ .loop = vtr_loop_create(), .memory = vtr_memory_create(), .target = malloc(FRAME_BYTES) };
	bench->vmm.socket = sockets[0];
	bench->vmm.memory = malloc(MEMORY);
	fail(bench->target && bench->vmm.memory ? 0 : -ENOMEM, "memory");
	memset(bench->vmm.memory, 0x5a, MEMORY);
	memset(bench->target, 1, FRAME_BYTES);
	fail(vtr_virtio_device_init(&bench->device, &device_impl, VIRTIO_ID_RNG, 1, &size, 0, bench->memory, bench->loop),
	     "device");
	bench->server = vtr_vfio_user_server_create(bench->loop, NULL, sockets[1], &bench->device, 0xff0000, bench->memory);
	fail(bench->server ? 0 : -errno, "server");
	fail(-pthread_create(&bench->thread, NULL, run_vmm, &bench->vmm), "thread");
	while (!bench->vmm.ready)
		vtr_loop_dispatch(bench->loop, 10);
}

static void finish(struct bench *bench)
{
	bench->vmm.stop = true;
	pthread_join(bench->thread, NULL);
	vtr_vfio_user_server_destroy(bench->server);
	vtr_virtio_device_finish(&bench->device);
	vtr_memory_destroy(bench->memory);
	vtr_loop_destroy(bench->loop);
	free(bench->vmm.memory);
	free(bench->target);
}

/* ---- pictures ---- */

/* Pieces that do not continue each other, in an order that is none. */
static struct vtr_spans make_spans(struct bench *bench, size_t count, uint32_t length, uint32_t step)
{
	struct vtr_mem_entry *entries = malloc(count * sizeof(*entries));
	struct vtr_spans spans;

	fail(entries ? 0 : -ENOMEM, "entries");
	for (size_t i = 0; i < count; i++)
		entries[i] = (struct vtr_mem_entry){ .address = i * 7919 % count * step, .length = length };
	fail(vtr_spans_resolve(&spans, bench->memory, entries, count, NULL), "resolve");
	free(entries);
	return spans;
}

static double read_once(struct bench *bench, const struct vtr_spans *spans)
{
	uint64_t started = vtr_now_ns();

	fail(vtr_spans_read(spans, 0, bench->target, (size_t)spans->length), "read");
	double ns = (double)(vtr_now_ns() - started);
	vtr_loop_dispatch(bench->loop, 0); /* another turn, with time of its own for waiting */
	return ns;
}

static void measure(struct bench *bench, const char *name, size_t count, uint32_t length, uint32_t step)
{
	const struct vtr_remote_impl single = { .read = vtr_vfio_user_remote.read, .write = vtr_vfio_user_remote.write };
	struct vtr_spans spans = make_spans(bench, count, length, step);
	double best[2] = { 0 };

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < 2; i++) {
			vtr_memory_set_remote(bench->memory, i ? &single : &vtr_vfio_user_remote, bench->server);
			double ns = read_once(bench, &spans);

			best[i] = round && best[i] < ns ? best[i] : ns;
		}
	print(name, best[0] / 1e6, best[1] / 1e6);
	vtr_spans_finish(&spans);
}

int main(int argc, char **argv)
{
	struct bench bench;

	as_json = argc == 2 && !strcmp(argv[1], "--json");
	if (argc > 1 && !as_json) {
		fprintf(stderr, "usage: %s [--json]\n", argv[0]);
		return 2;
	}
	if (as_json)
		printf("[");
	start(&bench);
	measure(&bench, "fetch 4K, one span", 1, FRAME_BYTES, FRAME_BYTES);
	measure(&bench, "fetch 4K, 63 spans", 63, FRAME_BYTES / 63 / PAGE * PAGE, 2 * (FRAME_BYTES / 63 / PAGE * PAGE));
	measure(&bench, "fetch 4K, a span per page", FRAME_PAGES, PAGE, 2 * PAGE);
	measure(&bench, "fetch 4 MiB in 262144 spans", VTR_MAX_ENTRIES, 16, 32);
	measure(&bench, "fetch 512 KiB in 32768 requests", VTR_MAX_FETCH_REQUESTS, 16, 2000);
	finish(&bench);
	if (as_json)
		printf("\n]\n");
	return 0;
}
