/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user back-end against a front-end that sends anything, with any fds, and answers on the back-end channel as it likes.
 *
 * An input is a sequence of steps: one byte, modulo STEPS, and its arguments. seed_vhost_user_server.py writes inputs in this form.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vitrine/log.h>

#include "transport/vhost_user/server.h"
#include "util/fd.h"

#include "fake_device.h"
#include "vfio_user_input.h"

enum { RAM_SIZE = 0x10000, MAX_STEPS = 512 };

enum step {
	RAW,     /* u8 fds, u16 length, bytes: just sent */
	MESSAGE, /* u8 request, u8 flags, u8 fds, u16 length, bytes: with a header that fits */
	DISPATCH,
	POKE,     /* u16 offset, u16 length, bytes: into the file that the memory table gets */
	KICK,     /* the eventfd that all fds of that kind are */
	CHANNEL,  /* SET_BACKEND_REQ_FD with a socket whose other end is ours */
	ANSWER,   /* u16 length, bytes: sent on the channel */
	CHANGE,   /* of the configuration */
	PLACE,    /* u8 page, u8 kind of fd: into the shared memory region */
	DISPLACE, /* u8 page */
	STEPS,
};

struct machine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct fake_device fake;
	struct vtr_virtio_device_impl impl; /* the fake device's, with a shared memory region */
	struct fuzz_fds fds;
	uint8_t *ram;
	struct vtr_vhost_user_server *server;
	int socket, channel;
	unsigned placing; /* requests whose end is to come */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(int socket)
{
	uint8_t bytes[4096];

	while (socket >= 0 && recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static void dispatch(struct machine *m)
{
	vtr_loop_dispatch(m->loop, 0);
	drain(m->socket);
	drain(m->channel);
}

static void send_message(struct machine *m, struct fuzz_input *input)
{
	struct vhost_user_header header = { .request = fuzz_take8(input), .flags = VHOST_USER_VERSION };
	uint8_t which;

	header.flags ^= fuzz_take8(input);
	which = fuzz_take8(input);
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)bytes.data, bytes.length } };
	header.size = (uint32_t)bytes.length;
	fuzz_send(m->socket, &m->fds, parts, 2, which);
}

static void open_channel(struct machine *m)
{
	struct vhost_user_header header = { .request = VHOST_USER_SET_BACKEND_REQ_FD, .flags = VHOST_USER_VERSION };
	struct iovec part = { &header, sizeof(header) };
	struct fuzz_fds fds;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	vtr_fd_close(&m->channel);
	m->channel = pair[0];
	for (size_t i = 0; i < FUZZ_FD_KINDS; i++)
		fds.fds[i] = pair[1];
	fuzz_send(m->socket, &fds, &part, 1, 1);
	close(pair[1]);
}

static void answer(struct machine *m, struct fuzz_input *input)
{
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));
	ssize_t sent = m->channel < 0 ? 0 : send(m->channel, bytes.data, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)sent; /* what the socket does not take is lost */
}

static void poke(struct machine *m, struct fuzz_input *input)
{
	uint16_t offset = fuzz_take16(input);
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));

	if (bytes.length <= RAM_SIZE - (size_t)offset)
		memcpy(m->ram + offset, bytes.data, bytes.length);
}

static void kick(struct machine *m)
{
	if (eventfd_write(m->fds.fds[FUZZ_FD_EVENT], 1))
		return; /* full: kicked enough */
}

static uint64_t shm_size(const struct vtr_virtio_device *device, uint8_t shmid)
{
	return shmid == 1 ? RAM_SIZE : 0;
}

/* Calls are counted: each has its end. */
static void placed(int result, void *data)
{
	if (!((struct machine *)data)->placing--)
		abort();
}

static void place(struct machine *m, struct fuzz_input *input, bool map)
{
	const struct vtr_virtio_shm_range range = { .shmid = 1, .offset = fuzz_take8(input) * UINT64_C(4096), .size = 4096 };
	int error;

	if (map)
		error = vtr_virtio_shm_map(&m->fake.base, &range, m->fds.fds[fuzz_take8(input) % FUZZ_FD_KINDS], 0, true, placed,
		                           m);
	else
		error = vtr_virtio_shm_unmap(&m->fake.base, &range, placed, m);
	m->placing += !error;
}

static void run(struct machine *m, struct fuzz_input *input)
{
	switch (fuzz_take8(input) % STEPS) {
	case RAW:
		fuzz_send_raw(m->socket, &m->fds, input);
		break;
	case MESSAGE:
		send_message(m, input);
		break;
	case DISPATCH:
		dispatch(m);
		break;
	case POKE:
		poke(m, input);
		break;
	case KICK:
		kick(m);
		break;
	case CHANNEL:
		open_channel(m);
		break;
	case ANSWER:
		answer(m, input);
		break;
	case CHANGE:
		vtr_virtio_config_changed(&m->fake.base);
		break;
	case PLACE:
		place(m, input, true);
		break;
	case DISPLACE:
		place(m, input, false);
		break;
	}
}

static void init(struct machine *m)
{
	vtr_log_set_level(VTR_LOG_ERROR);
	m->loop = vtr_loop_create();
	m->memory = vtr_memory_create();
	fuzz_fds_init(&m->fds, RAM_SIZE);
	m->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds.fds[FUZZ_FD_MEMORY], 0);
	fake_device_init(&m->fake, m->memory, m->loop);
	m->impl = *m->fake.base.impl;
	m->impl.shm_size = shm_size;
	m->fake.base.impl = &m->impl;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m; /* loop, memory and device are used again: they cost more than all the rest */
	struct fuzz_input input = { data, size };
	int pair[2];

	if (!m.loop)
		init(&m);
	memset(m.ram, 0, RAM_SIZE);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	m.socket = pair[0];
	m.channel = -1;
	m.server = vtr_vhost_user_server_create(m.loop, NULL, pair[1], &m.fake.base, m.memory);
	if (!m.server)
		abort();
	m.server->channel.timeout_ms = 1;
	for (unsigned steps = 0; input.left && steps < MAX_STEPS; steps++)
		run(&m, &input);
	dispatch(&m);
	close(m.socket);
	m.socket = -1;
	dispatch(&m);
	vtr_vhost_user_server_destroy(m.server);
	vtr_fd_close(&m.channel);
	/* What the front-end brought is gone, whatever it did. */
	if (vtr_memory_region(m.memory, 0) || m.placing)
		abort();
	return 0;
}
