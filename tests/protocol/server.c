/* SPDX-License-Identifier: MIT */
/*
 * A vfio-user or vhost-user server around the smallest device that uses guest memory: each chain's answer is a 32-bit result (0 or
 * an errno) and, when that is 0, the bytes of the chain's readable part. The device id is that of an entropy device, with 16 bytes
 * of configuration; a write of the last of them is a change that the driver is told of. A chain whose readable part is "share" and
 * a UUID makes the device share a file under that name, with the name as its content; "unshare" and the UUID ends that.
 *
 * It has a shared memory region of 1 MiB with the id 1. A chain whose readable part is "place", or "displace", and three numbers of
 * 64 bits (an offset there, a size, 1: the guest may write) has the VMM map a file of that size there, which begins with the word
 * "placed", or unmap it; the chain's answer comes when that is done, and is the result alone.
 *
 *   server [--vhost-user] PATH       listens there
 *   server [--vhost-user] --fd N     serves an inherited socket
 *
 * Prints "ready" when it serves, and one line of JSON for every line on standard input: "place OFFSET SIZE" and "displace OFFSET
 * SIZE" are as above, and say what came of it; everything else asks for the status. Ends with standard input.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/log.h>
#include <vitrine/transport.h>

#include "virtio/device.h"

enum { ECHO_QUEUES = 2, ECHO_CONFIG_SIZE = 16, ECHO_MAX = 2 << 20, ECHO_SHM_ID = 1, ECHO_SHM_SIZE = 1 << 20 };

struct echo {
	struct vtr_virtio_device base;
	uint8_t config[ECHO_CONFIG_SIZE];
	unsigned resets, abandoned, chains, drains;
	uint8_t buffer[ECHO_MAX];
	uint8_t object[16]; /* that is shared */
	bool shared;
	unsigned placing; /* chains that wait for the VMM */
};

struct context {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vfio_user_server *server;      /* one of */
	struct vtr_vhost_user_server *vhost_user; /* the two */
	struct echo *echo;
	unsigned removals; /* regions that left the map */
	struct vtr_memory_listener listener;
};

static struct echo *echo_from_base(struct vtr_virtio_device *device)
{
	return (struct echo *)((char *)device - offsetof(struct echo, base));
}

static uint64_t echo_features(struct vtr_virtio_device *device)
{
	return 0;
}

static void echo_config_read(struct vtr_virtio_device *device, uint32_t offset, void *buffer, uint32_t length)
{
	memcpy(buffer, echo_from_base(device)->config + offset, length);
}

static void echo_config_write(struct vtr_virtio_device *device, uint32_t offset, const void *buffer, uint32_t length)
{
	memcpy(echo_from_base(device)->config + offset, buffer, length);
	if (offset + length == ECHO_CONFIG_SIZE)
		vtr_virtio_config_changed(device);
}

/* Does the chain's readable part say word, and a UUID, which then is in echo->object? */
static bool says(struct echo *echo, const char *word, long got)
{
	size_t length = strlen(word);

	if (got != (long)(length + sizeof(echo->object)) || memcmp(echo->buffer, word, length))
		return false;
	memcpy(echo->object, echo->buffer + length, sizeof(echo->object));
	return true;
}

static void echo_share(struct echo *echo, long got)
{
	if (says(echo, "share", got)) {
		echo->shared = true;
		vtr_virtio_object_added(&echo->base, echo->object);
	} else if (says(echo, "unshare", got)) {
		echo->shared = false;
		vtr_virtio_object_removed(&echo->base, echo->object);
	}
}

static int echo_export_object(struct vtr_virtio_device *device, const uint8_t uuid[16])
{
	struct echo *echo = echo_from_base(device);

	if (!echo->shared || memcmp(uuid, echo->object, sizeof(echo->object)))
		return -ENOENT;
	int fd = memfd_create("object", MFD_CLOEXEC);
	return write(fd, uuid, sizeof(echo->object)) == sizeof(echo->object) ? fd : -EIO;
}

/* ---- the shared memory region ---- */

static uint64_t echo_shm_size(const struct vtr_virtio_device *device, uint8_t shmid)
{
	return shmid == ECHO_SHM_ID ? ECHO_SHM_SIZE : 0;
}

/* A chain that waits for the VMM. */
struct placing {
	struct echo *echo;
	unsigned queue;
	struct vtr_chain *chain;
};

static void echo_placed(int result, void *data)
{
	struct placing *placing = data;
	uint32_t answer = (uint32_t)-result;

	placing->echo->placing--;
	vtr_virtio_answer(&placing->echo->base, placing->queue, placing->chain, &answer, sizeof(answer));
	free(placing);
}

/* Has the VMM map a file that begins with "placed", or unmap it. 0: done is called; or -errno. */
static int place(struct echo *echo, bool map, const uint64_t numbers[3], vtr_virtio_shm_done done, void *data)
{
	const struct vtr_virtio_shm_range range = { .shmid = ECHO_SHM_ID, .offset = numbers[0], .size = numbers[1] };
	int fd, result = -EIO;

	if (!map)
		return vtr_virtio_shm_unmap(&echo->base, &range, done, data);
	fd = memfd_create("placed", MFD_CLOEXEC);
	if (!ftruncate(fd, (off_t)range.size) && write(fd, "placed", 6) == 6)
		result = vtr_virtio_shm_map(&echo->base, &range, fd, 0, numbers[2], done, data);
	close(fd);
	return result;
}

/* Asks for what the chain says, and keeps it; or answers it. */
static void echo_place(struct echo *echo, unsigned queue, struct vtr_chain *chain, bool map, const uint64_t numbers[3])
{
	struct placing *placing = malloc(sizeof(*placing));

	*placing = (struct placing){ echo, queue, chain };
	echo->placing++;
	int result = place(echo, map, numbers, echo_placed, placing);
	if (result)
		echo_placed(result, placing);
}

/* Is the chain, whose readable part is in echo->buffer, about the shared memory region? */
static bool echo_places(struct echo *echo, unsigned queue, struct vtr_chain *chain, long got)
{
	uint64_t numbers[3];
	bool map = got == (long)(5 + sizeof(numbers)) && !memcmp(echo->buffer, "place", 5);
	bool unmap = got == (long)(8 + sizeof(numbers)) && !memcmp(echo->buffer, "displace", 8);

	if (!map && !unmap)
		return false;
	memcpy(numbers, echo->buffer + (map ? 5 : 8), sizeof(numbers));
	echo_place(echo, queue, chain, map, numbers);
	return true;
}

static void echo_answer(struct echo *echo, unsigned index, struct vtr_chain *chain)
{
	struct vtr_virtqueue *queue = &echo->base.queues[index];
	size_t size = chain->out_size < ECHO_MAX ? chain->out_size : ECHO_MAX;
	long got = vtr_chain_read(queue, chain, 0, echo->buffer, size);
	uint32_t result = got < 0 ? (uint32_t)-got : 0;

	if (echo_places(echo, index, chain, got))
		return;
	long written = vtr_chain_write(queue, chain, 0, &result, sizeof(result));

	if (written > 0 && got > 0) {
		long more = vtr_chain_write(queue, chain, sizeof(result), echo->buffer, (size_t)got);

		written += more > 0 ? more : 0;
	}
	echo_share(echo, got);
	vtr_virtio_complete(&echo->base, index, chain, written > 0 ? (uint32_t)written : 0);
}

static void echo_notify(struct vtr_virtio_device *device, unsigned index)
{
	struct echo *echo = echo_from_base(device);
	struct vtr_chain *chain;

	while (vtr_virtqueue_pop(&device->queues[index], &chain) > 0) {
		echo->chains++;
		echo_answer(echo, index, chain);
	}
}

static void echo_queue_reset(struct vtr_virtio_device *device, unsigned index)
{
}

static void echo_drain(struct vtr_virtio_device *device, unsigned index)
{
	echo_from_base(device)->drains++;
}

static void echo_reset(struct vtr_virtio_device *device)
{
	struct echo *echo = echo_from_base(device);

	echo->resets++;
	memset(echo->config, 0, sizeof(echo->config));
}

static void echo_abandoned(struct vtr_virtio_device *device)
{
	echo_from_base(device)->abandoned++;
}

static const struct vtr_virtio_device_impl echo_impl = {
	.features = echo_features,
	.config_read = echo_config_read,
	.config_write = echo_config_write,
	.notify = echo_notify,
	.queue_reset = echo_queue_reset,
	.drain = echo_drain,
	.export_object = echo_export_object,
	.shm_size = echo_shm_size,
	.reset = echo_reset,
	.abandoned = echo_abandoned,
};

static void on_removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	struct context *context = (struct context *)((char *)listener - offsetof(struct context, listener));

	context->removals++;
}

static void print_vhost_user(struct context *context)
{
	struct vtr_vhost_user_status status;

	vtr_vhost_user_server_status(context->vhost_user, &status);
	printf("{\"connected\": %s, \"connections\": %" PRIu64 ", \"messages\": %" PRIu64 ", \"refused\": %" PRIu64
	       ", \"peer_pid\": %u, \"slots\": %u, \"rings\": %u, \"channel\": %s, \"device_status\": %u",
	       status.connected ? "true" : "false", status.connections, status.messages, status.refused, status.peer_pid,
	       status.memory_slots, status.rings, status.backend_channel ? "true" : "false",
	       vtr_virtio_status(&context->echo->base));
}

static void print_vfio_user(struct context *context)
{
	struct vtr_vfio_user_status status;

	vtr_vfio_user_server_status(context->server, &status);
	printf("{\"connected\": %s, \"connections\": %" PRIu64 ", \"messages\": %" PRIu64 ", \"bytes_fetched\": %" PRIu64
	       ", \"peer_pid\": %u",
	       status.connected ? "true" : "false", status.connections, status.messages, status.bytes_fetched, status.peer_pid);
}

static void print_status(struct context *context)
{
	size_t regions = 0;

	while (vtr_memory_region(context->memory, regions))
		regions++;
	if (context->vhost_user)
		print_vhost_user(context);
	else
		print_vfio_user(context);
	printf(", \"regions\": %zu, \"removals\": %u, \"resets\": %u, \"abandoned\": %u, \"chains\": %u, \"drains\": %u, "
	       "\"placing\": %u}\n",
	       regions, context->removals, context->echo->resets, context->echo->abandoned, context->echo->chains,
	       context->echo->drains, context->echo->placing);
	fflush(stdout);
}

static void print_placed(int result, void *data)
{
	printf("{\"result\": %d}\n", -result);
	fflush(stdout);
}

static void on_stdin(int fd, uint32_t events, void *data)
{
	struct context *context = data;
	uint64_t numbers[3] = { 0, 0, 1 };
	char text[64] = "";

	if (read(fd, text, sizeof(text) - 1) <= 0) {
		vtr_loop_stop(context->loop);
	} else if (sscanf(text, "place %" SCNu64 " %" SCNu64, &numbers[0], &numbers[1]) == 2 ||
	           sscanf(text, "displace %" SCNu64 " %" SCNu64, &numbers[0], &numbers[1]) == 2) {
		int error = place(context->echo, text[0] == 'p', numbers, print_placed, NULL);

		if (error)
			print_placed(error, NULL);
	} else {
		print_status(context);
	}
}

static bool start(struct context *context, bool vhost_user, const char *path, int fd)
{
	static const uint16_t sizes[ECHO_QUEUES] = { 64, 16 };

	context->loop = vtr_loop_create();
	context->memory = vtr_memory_create();
	context->echo = calloc(1, sizeof(*context->echo));
	if (!context->loop || !context->memory || !context->echo)
		return false;
	context->listener.removing = on_removing;
	vtr_memory_add_listener(context->memory, &context->listener);
	if (vtr_virtio_device_init(&context->echo->base, &echo_impl, VIRTIO_ID_RNG, ECHO_QUEUES, sizes, ECHO_CONFIG_SIZE,
	                           context->memory, context->loop))
		return false;
	if (vhost_user)
		context->vhost_user = vtr_vhost_user_server_create(context->loop, path, fd, &context->echo->base, context->memory);
	else
		context->server =
			vtr_vfio_user_server_create(context->loop, path, fd, &context->echo->base, 0xff0000, context->memory);
	return (context->server || context->vhost_user) && vtr_loop_add_fd(context->loop, STDIN_FILENO, EPOLLIN, on_stdin, context);
}

static void finish(struct context *context)
{
	vtr_vfio_user_server_destroy(context->server);
	vtr_vhost_user_server_destroy(context->vhost_user);
	vtr_virtio_device_finish(&context->echo->base);
	free(context->echo);
	vtr_memory_remove_listener(context->memory, &context->listener);
	vtr_memory_destroy(context->memory);
	vtr_loop_destroy(context->loop);
}

int main(int argc, char **argv)
{
	struct context context = { 0 };
	bool vhost_user = argc > 1 && !strcmp(argv[1], "--vhost-user");

	argc -= vhost_user;
	argv += vhost_user;
	bool inherited = argc == 3 && !strcmp(argv[1], "--fd");
	if (argc != 2 && !inherited) {
		fputs("usage: server [--vhost-user] PATH | --fd N\n", stderr);
		return 2;
	}
	if (getenv("VTR_DEBUG"))
		vtr_log_set_level(VTR_LOG_DEBUG);
	bool started = start(&context, vhost_user, inherited ? NULL : argv[1], inherited ? atoi(argv[2]) : -1);
	if (started)
		puts("ready");
	else
		printf("failed: %s\n", strerror(errno));
	fflush(stdout);
	if (started)
		vtr_loop_run(context.loop);
	finish(&context);
	return started ? 0 : 1;
}
