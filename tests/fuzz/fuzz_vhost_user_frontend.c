/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user front-end against a back-end that says anything, with any fds, on both sockets.
 *
 * An input is one byte n, n bytes of calls, and the messages that the back-end sends, all of those on the connection before the
 * first call; behind the last one the connection ends, so that no call waits. Those on the channel are sent when there is one. An
 * input that begins with what an honest back-end says at the beginning gets beyond it: seed_vhost_frontend.py writes such.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vitrine/log.h>

#include "transport/vhost_user/frontend.h"
#include "util/fd.h"

#include "vfio_user_input.h"

enum { MAX_LOOK = 1 << 20, MEMORY_SIZE = 65536, MAX_MESSAGES = 256, CHANNEL_SIZE = 65536 };

enum message {
	RAW,     /* u8 fds, u16 length, bytes: on the connection */
	REPLY,   /* u8 request, u8 flags, u8 fds, u16 length, bytes */
	REQUEST, /* the same, on the channel */
	RAW_REQUEST,
	MESSAGES,
};

enum call {
	FEATURES,
	SET_FEATURES,
	ADD_MEMORY,
	REMOVE_MEMORY,
	RING,
	GET_BASE,
	CONFIG,
	STATUS,
	SET_STATUS,
	RESET,
	INFLIGHT,
	IOTLB_ADD,
	IOTLB_REMOVE,
	OBJECT,
	DISPATCH,
	CALLS,
};

struct channel {
	uint8_t bytes[CHANNEL_SIZE];
	size_t length;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int iotlb_miss(void *data, uint64_t iova, bool write)
{
	return iova & 1 ? 0 : -EFAULT;
}

static int lookup(void *data, const uint8_t uuid[16])
{
	return uuid[0] & 1 ? dup(*(int *)data) : -ENOENT;
}

static void config_changed(void *data)
{
}

static const struct vtr_vhost_user_frontend_impl impl = { .config_changed = config_changed,
	                                                  .iotlb_miss = iotlb_miss,
	                                                  .lookup = lookup };

static void inflight(struct vtr_vhost_user_frontend *frontend)
{
	struct vtr_vhost_user_inflight_memory memory;

	if (!vtr_vhost_user_frontend_get_inflight(frontend, 2, 64, &memory)) {
		if (memory.fd < 0 || !memory.size)
			abort();
		vtr_vhost_user_frontend_set_inflight(frontend, &memory);
	}
	vtr_fd_close(&memory.fd);
}

/* Every page of a region can be read, whatever is mapped there. */
static void look(const struct vtr_vhost_user_frontend *frontend, uint8_t shmid)
{
	uint64_t size;
	const volatile uint8_t *window = vtr_vhost_user_frontend_shm(frontend, shmid, &size);

	for (uint64_t at = 0; at < size && at < MAX_LOOK; at += 4096)
		(void)window[at];
}

static void call(struct vtr_vhost_user_frontend *frontend, const struct fuzz_fds *fds, uint8_t number)
{
	const uint64_t at = (uint64_t)(number / CALLS) * 4096;
	uint8_t bytes[16], uuid[16] = { 1 };
	uint64_t features = UINT64_C(3) << 32;
	uint32_t base;
	int fd;

	switch (number % CALLS) {
	case FEATURES:
		vtr_vhost_user_frontend_features(frontend, &features);
		break;
	case SET_FEATURES:
		vtr_vhost_user_frontend_set_features(frontend, features);
		break;
	case ADD_MEMORY:
		vtr_vhost_user_frontend_add_memory(frontend, at, 4096, at + 0x100000, fds->fds[FUZZ_FD_MEMORY], at);
		break;
	case REMOVE_MEMORY:
		vtr_vhost_user_frontend_remove_memory(frontend, at, 4096);
		break;
	case RING:
		vtr_vhost_user_frontend_set_vring_addr(frontend, 0, at, at + 1024, at + 2048);
		vtr_vhost_user_frontend_set_vring_kick(frontend, 0, fds->fds[FUZZ_FD_EVENT]);
		vtr_vhost_user_frontend_set_vring_enable(frontend, 0, true);
		break;
	case GET_BASE:
		if (!vtr_vhost_user_frontend_get_vring_base(frontend, 0, &base) && base > UINT16_MAX)
			abort();
		break;
	case CONFIG:
		vtr_vhost_user_frontend_get_config(frontend, 0, bytes, sizeof(bytes));
		break;
	case STATUS:
		vtr_vhost_user_frontend_get_status(frontend, bytes);
		break;
	case SET_STATUS:
		vtr_vhost_user_frontend_set_status(frontend, 15);
		break;
	case RESET:
		vtr_vhost_user_frontend_reset(frontend);
		break;
	case INFLIGHT:
		inflight(frontend);
		break;
	case IOTLB_ADD:
		vtr_vhost_user_frontend_iotlb_add(frontend, at, 8192, at, number & 0x80);
		break;
	case IOTLB_REMOVE:
		vtr_vhost_user_frontend_iotlb_remove(frontend, at + 2048, 4096);
		break;
	case OBJECT:
		vtr_vhost_user_frontend_shared_object(frontend, uuid, &fd);
		vtr_fd_close(&fd);
		break;
	case DISPATCH:
		vtr_vhost_user_frontend_dispatch(frontend);
		look(frontend, 1);
		break;
	}
}

/* A message in one piece; the socket takes the fds with it. */
static void send_message(int socket, const struct fuzz_fds *fds, struct fuzz_input *input, uint32_t flags)
{
	struct vhost_user_header header = { .request = fuzz_take8(input), .flags = flags };
	uint8_t which;

	header.flags ^= fuzz_take8(input);
	which = fuzz_take8(input);
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)bytes.data, bytes.length } };

	header.size = (uint32_t)bytes.length;
	fuzz_send(socket, fds, parts, 2, which);
}

/* Those of one socket; the others are passed over. */
static void send_messages(int socket, const struct fuzz_fds *fds, struct fuzz_input input, bool channel)
{
	for (unsigned i = 0; input.left && i < MAX_MESSAGES; i++) {
		uint8_t kind = fuzz_take8(&input) % MESSAGES;
		bool here = (kind == REQUEST || kind == RAW_REQUEST) == channel;

		if (kind == RAW || kind == RAW_REQUEST)
			fuzz_send_raw(here ? socket : -1, fds, &input);
		else
			send_message(here ? socket : -1, fds, &input,
			             VHOST_USER_VERSION | (channel ? VHOST_USER_NEED_REPLY : VHOST_USER_REPLY));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_fds fds;
	struct fuzz_input input = { data, size };
	struct fuzz_bytes calls = fuzz_take_bytes(&input, fuzz_take8(&input));
	int pair[2], channel[2];

	if (!fds.fds[0]) {
		vtr_log_set_level(VTR_LOG_ERROR);
		fuzz_fds_init(&fds, MEMORY_SIZE);
	}
	const struct vtr_vhost_user_frontend_options options = { .timeout_ms = 5, .impl = &impl, .data = &fds.fds[FUZZ_FD_MEMORY] };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel) < 0)
		abort();
	send_messages(pair[0], &fds, input, false);
	send_messages(channel[0], &fds, input, true);
	shutdown(pair[0], SHUT_WR);
	shutdown(channel[0], SHUT_WR);
	struct vtr_vhost_user_frontend *frontend = vtr_vhost_user_frontend_attach(pair[1], &options);
	if (frontend && frontend->channel >= 0) { /* what the back-end was given is on its way to nobody */
		vtr_fd_close(&frontend->channel);
		frontend->channel = vtr_fd_take(&channel[1]);
	}
	for (size_t i = 0; frontend && i < calls.length; i++)
		call(frontend, &fds, calls.data[i]);
	vtr_vhost_user_frontend_destroy(frontend);
	close(pair[0]);
	close(channel[0]);
	vtr_fd_close(&channel[1]);
	return 0;
}
