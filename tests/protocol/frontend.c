/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user front-end that does what its command line says, and prints a line for each step: its name, 0 or the errno's name,
 * and what came back.
 *
 *   frontend PATH TIMEOUT_MS WITHOUT STEP...
 *
 * WITHOUT: protocol features to do without, a bit each. `steps` below lists the steps. Memory is all of one memfd of 1 MiB.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vitrine/log.h>
#include <vitrine/loop.h>
#include <vitrine/transport.h>

#include "util/fd.h"

enum { MEMORY_SIZE = 1 << 20, MAX_ARGUMENTS = 5 };

struct front_end {
	struct vtr_vhost_user_frontend *frontend;
	int memory;
	bool hold;
	unsigned config_changes, unknown;
	struct vtr_vhost_user_inflight_memory inflight;
};

static void config_changed(void *data)
{
	((struct front_end *)data)->config_changes++;
}

static int iotlb_miss(void *data, uint64_t iova, bool write)
{
	struct front_end *own = data;

	own->unknown++;
	if (vtr_vhost_user_frontend_iotlb_remove(own->frontend, 0, 4096) != -EBUSY)
		abort(); /* nothing but adding may be done in here */
	return own->hold ? 0 : -EFAULT;
}

/* An object whose uuid begins with 0x77. */
static int lookup(void *data, const uint8_t uuid[16])
{
	return uuid[0] == 0x77 ? vtr_memfd_create("object", 4096) : -ENOENT;
}

static const struct vtr_vhost_user_frontend_impl impl = { .config_changed = config_changed,
	                                                  .iotlb_miss = iotlb_miss,
	                                                  .lookup = lookup };

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

#define STEP(name) static int step_##name(struct front_end *own, const uint64_t *a, char *text, size_t size)

STEP(numbers)
{
	struct vtr_vhost_user_frontend_status status;

	vtr_vhost_user_frontend_status(own->frontend, &status);
	snprintf(text, size, "features %" PRIx64 " vrings %u slots %u", status.protocol_features, status.vrings, status.slots);
	return 0;
}

STEP(counters)
{
	struct vtr_vhost_user_frontend_status status;

	vtr_vhost_user_frontend_status(own->frontend, &status);
	snprintf(text, size,
	         "misses %" PRIu64 " updates %" PRIu64 " invalidations %" PRIu64 " failures %" PRIu64 " refused %" PRIu64
	         " unknown %u config %u",
	         status.misses, status.updates, status.invalidations, status.access_failures, status.refused, own->unknown,
	         own->config_changes);
	return 0;
}

STEP(features)
{
	uint64_t features = 0;
	int error = vtr_vhost_user_frontend_features(own->frontend, &features);

	if (!error)
		snprintf(text, size, "%" PRIx64, features);
	return error;
}

STEP(set_features)
{
	return vtr_vhost_user_frontend_set_features(own->frontend, a[0]);
}

STEP(add)
{
	return vtr_vhost_user_frontend_add_memory(own->frontend, a[0], a[1], a[2], own->memory, a[3]);
}

STEP(remove)
{
	return vtr_vhost_user_frontend_remove_memory(own->frontend, a[0], a[1]);
}

STEP(num)
{
	return vtr_vhost_user_frontend_set_vring_num(own->frontend, (uint32_t)a[0], (uint32_t)a[1]);
}

STEP(addr)
{
	return vtr_vhost_user_frontend_set_vring_addr(own->frontend, (uint32_t)a[0], a[1], a[2], a[3]);
}

STEP(base)
{
	return vtr_vhost_user_frontend_set_vring_base(own->frontend, (uint32_t)a[0], (uint32_t)a[1]);
}

STEP(get_base)
{
	uint32_t base = 0;
	int error = vtr_vhost_user_frontend_get_vring_base(own->frontend, (uint32_t)a[0], &base);

	if (!error)
		snprintf(text, size, "%u", base);
	return error;
}

static int give_eventfd(struct front_end *own, int (*give)(struct vtr_vhost_user_frontend *, uint32_t, int), const uint64_t *a)
{
	int fd = a[1] ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	int error = give(own->frontend, (uint32_t)a[0], fd);

	vtr_fd_close(&fd);
	return error;
}

STEP(kick)
{
	return give_eventfd(own, vtr_vhost_user_frontend_set_vring_kick, a);
}

STEP(call)
{
	return give_eventfd(own, vtr_vhost_user_frontend_set_vring_call, a);
}

STEP(err)
{
	return give_eventfd(own, vtr_vhost_user_frontend_set_vring_err, a);
}

STEP(enable)
{
	return vtr_vhost_user_frontend_set_vring_enable(own->frontend, (uint32_t)a[0], a[1]);
}

STEP(get_config)
{
	uint8_t bytes[256];
	int error = vtr_vhost_user_frontend_get_config(own->frontend, (uint32_t)a[0], bytes, (uint32_t)a[1]);

	for (size_t i = 0; !error && i < a[1] && 2 * i + 2 < size; i++)
		snprintf(text + 2 * i, size - 2 * i, "%02x", bytes[i]);
	return error;
}

STEP(set_config)
{
	const uint32_t value = (uint32_t)a[1];

	return vtr_vhost_user_frontend_set_config(own->frontend, (uint32_t)a[0], &value, sizeof(value));
}

STEP(get_status)
{
	uint8_t status = 0;
	int error = vtr_vhost_user_frontend_get_status(own->frontend, &status);

	if (!error)
		snprintf(text, size, "%u", status);
	return error;
}

STEP(set_status)
{
	return vtr_vhost_user_frontend_set_status(own->frontend, (uint8_t)a[0]);
}

STEP(reset)
{
	return vtr_vhost_user_frontend_reset(own->frontend);
}

STEP(get_inflight)
{
	vtr_fd_close(&own->inflight.fd);
	int error = vtr_vhost_user_frontend_get_inflight(own->frontend, (uint16_t)a[0], (uint16_t)a[1], &own->inflight);

	if (!error)
		snprintf(text, size, "%" PRIu64 "@%" PRIu64, own->inflight.size, own->inflight.offset);
	return error;
}

STEP(set_inflight)
{
	return vtr_vhost_user_frontend_set_inflight(own->frontend, &own->inflight);
}

STEP(iotlb_add)
{
	return vtr_vhost_user_frontend_iotlb_add(own->frontend, a[0], a[1], a[2], a[3]);
}

STEP(iotlb_remove)
{
	return vtr_vhost_user_frontend_iotlb_remove(own->frontend, a[0], a[1]);
}

STEP(hold)
{
	own->hold = a[0];
	return 0;
}

STEP(object)
{
	uint8_t uuid[16];
	int fd;

	memset(uuid, (int)a[0], sizeof(uuid));
	int error = vtr_vhost_user_frontend_shared_object(own->frontend, uuid, &fd);
	vtr_fd_close(&fd);
	return error;
}

/* The size of a shared memory region, and the words at some of its offsets. */
STEP(shm)
{
	uint64_t length = 0;
	const uint8_t *window = vtr_vhost_user_frontend_shm(own->frontend, (uint8_t)a[0], &length);
	int n = snprintf(text, size, "%" PRIu64, length);

	for (size_t i = 1; window && i < 3; i++)
		n += snprintf(text + n, size - (size_t)n, " %.6s", window[a[i]] ? (const char *)window + a[i] : "-");
	return window ? 0 : -ENOENT;
}

STEP(mappings)
{
	struct vtr_vhost_user_frontend_status status;

	vtr_vhost_user_frontend_status(own->frontend, &status);
	snprintf(text, size, "%u refused %" PRIu64, status.shm_mappings, status.refused);
	return 0;
}

STEP(shm_write)
{
	uint64_t length;
	uint8_t *window = vtr_vhost_user_frontend_shm(own->frontend, (uint8_t)a[0], &length);

	memcpy(window + a[1], "touched", 7);
	return 0;
}

STEP(gpu_socket)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	int error = vtr_vhost_user_frontend_gpu_set_socket(own->frontend, pair[1]);
	close(pair[0]);
	close(pair[1]);
	return error;
}

/* Serves until the time is up or the connection is gone. */
STEP(dispatch)
{
	const uint64_t end = vtr_now_ns() + a[0] * 1000000;
	int error = 0;

	while (!error && vtr_now_ns() < end) {
		struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };

		vtr_vhost_user_frontend_fds(own->frontend, &fds[0].fd, &fds[1].fd);
		if (fds[0].fd < 0 || poll(fds, 2, 20) > 0)
			error = vtr_vhost_user_frontend_dispatch(own->frontend);
	}
	return error;
}

STEP(fds)
{
	snprintf(text, size, "open %d", count_fds());
	return 0;
}

static const struct step {
	const char *name;
	int n_arguments;
	int (*run)(struct front_end *own, const uint64_t *a, char *text, size_t size);
} steps[] = {
	{ "numbers", 0, step_numbers },
	{ "counters", 0, step_counters },
	{ "features", 0, step_features },
	{ "set-features", 1, step_set_features },
	{ "add", 4, step_add }, /* ADDRESS SIZE USER_ADDRESS OFFSET */
	{ "remove", 2, step_remove },
	{ "num", 2, step_num },
	{ "addr", 4, step_addr }, /* VRING DESCRIPTORS AVAILABLE USED */
	{ "base", 2, step_base },
	{ "get-base", 1, step_get_base },
	{ "kick", 2, step_kick }, /* VRING, 1: with an eventfd */
	{ "call", 2, step_call },
	{ "err", 2, step_err },
	{ "enable", 2, step_enable },
	{ "get-config", 2, step_get_config },
	{ "set-config", 2, step_set_config },
	{ "get-status", 0, step_get_status },
	{ "set-status", 1, step_set_status },
	{ "reset", 0, step_reset },
	{ "get-inflight", 2, step_get_inflight },
	{ "set-inflight", 0, step_set_inflight },
	{ "iotlb-add", 4, step_iotlb_add }, /* IOVA SIZE ADDRESS, 1: writable */
	{ "iotlb-remove", 2, step_iotlb_remove },
	{ "hold", 1, step_hold }, /* 1: a miss of an unknown address waits, 0: it is refused */
	{ "object", 1, step_object },
	{ "shm", 3, step_shm }, /* SHMID OFFSET OFFSET */
	{ "mappings", 0, step_mappings },
	{ "shm-write", 2, step_shm_write },
	{ "gpu-socket", 0, step_gpu_socket },
	{ "dispatch", 1, step_dispatch }, /* MILLISECONDS */
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
	struct front_end own = { .memory = vtr_memfd_create("memory", MEMORY_SIZE), .inflight.fd = -1 };

	if (argc < 4)
		return 2;
	const struct vtr_vhost_user_frontend_options options = {
		.timeout_ms = atoi(argv[2]), .without = strtoull(argv[3], NULL, 0), .impl = &impl, .data = &own
	};
	vtr_log_set_level(VTR_LOG_DEBUG);
	own.frontend = vtr_vhost_user_frontend_connect(argv[1], &options);
	report("connect", own.frontend ? 0 : -errno, "");
	for (int i = 4; own.frontend && i < argc;) {
		const struct step *step = find_step(argv[i++]);
		uint64_t arguments[MAX_ARGUMENTS] = { 0 };
		char text[600] = "";

		if (!step || argc - i < step->n_arguments)
			return 2;
		for (int j = 0; j < step->n_arguments; j++)
			arguments[j] = strtoull(argv[i++], NULL, 0);
		int error = step->run(&own, arguments, text, sizeof(text));
		report(step->name, error, text);
	}
	vtr_vhost_user_frontend_destroy(own.frontend);
	vtr_fd_close(&own.inflight.fd);
	vtr_fd_close(&own.memory);
	return 0;
}
