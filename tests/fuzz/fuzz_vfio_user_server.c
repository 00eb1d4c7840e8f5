/* SPDX-License-Identifier: MIT */
/*
 * The vfio-user server against a client that sends anything, with any fds, and answers DMA requests as it likes.
 *
 * An input is a sequence of steps: one byte, modulo STEPS, and its arguments; what is left of the byte counts for REPLY.
 * seed_vfio_user.py writes inputs in this form.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vitrine/log.h>

#include "transport/vfio_user/server.h"
#include "util/fd.h"

#include "fake_device.h"
#include "vfio_user_input.h"

enum { RAM_SIZE = 0x10000, MAX_STEPS = 512, MAX_PIECES = 32 };

enum step {
	RAW,      /* u8 fds, u16 length, bytes: just sent */
	COMMAND,  /* u8 command, u8 flags, u8 fds, u16 length, bytes: with a header that fits */
	REPLY,    /* the same, as the answer to a DMA request: the next one, or so many after it */
	DURING,   /* u16 length, steps: sent when the device asks for remote memory the next time, before it waits for the answer */
	DISPATCH, /* the loop turns once */
	POKE,     /* u16 offset, u16 length, bytes: into the file that DMA_MAP gets */
	GATHER,   /* u8 count, then u32 address, u16 length of each: memory is asked for, many pieces at a time */
	STEPS,
};

struct machine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct fake_device fake;
	struct fuzz_fds fds;
	uint8_t *ram;
	struct vtr_vfio_user_server *server;
	int socket;
	struct fuzz_input during;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void dispatch(struct machine *m)
{
	uint8_t replies[4096];

	vtr_loop_dispatch(m->loop, 0);
	while (recv(m->socket, replies, sizeof(replies), MSG_DONTWAIT) > 0)
		;
}

static void poke(struct machine *m, struct fuzz_input *input)
{
	uint16_t offset = fuzz_take16(input);
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));

	if (bytes.length <= RAM_SIZE - (size_t)offset)
		memcpy(m->ram + offset, bytes.data, bytes.length);
}

static void gather(struct machine *m, struct fuzz_input *input)
{
	static uint8_t target[MAX_PIECES * UINT16_MAX];
	struct vtr_mem_entry entries[MAX_PIECES];
	size_t count = fuzz_take8(input) % MAX_PIECES;
	struct vtr_spans spans;

	for (size_t i = 0; i < count; i++) {
		uint64_t address = fuzz_take16(input);

		entries[i] = (struct vtr_mem_entry){ .address = address | (uint64_t)fuzz_take16(input) << 16,
			                             .length = fuzz_take16(input) };
	}
	if (vtr_spans_resolve(&spans, m->memory, entries, count, NULL))
		return;
	vtr_spans_fetch(&spans, 0, 0, 1, (size_t)spans.length, target, 0);
	vtr_spans_finish(&spans);
}

static void send_message(struct machine *m, struct fuzz_input *input, uint8_t byte)
{
	uint16_t id = (uint16_t)(m->server->dma.next_id + byte / STEPS);

	switch (byte % STEPS) {
	case RAW:
		fuzz_send_raw(m->socket, &m->fds, input);
		break;
	case COMMAND:
		fuzz_send_message(m->socket, &m->fds, input, 7, VFIO_USER_TYPE_COMMAND);
		break;
	case REPLY:
		fuzz_send_message(m->socket, &m->fds, input, id, VFIO_USER_TYPE_REPLY);
		break;
	}
}

static void run(struct machine *m, struct fuzz_input *input)
{
	uint8_t byte = fuzz_take8(input);
	struct fuzz_bytes bytes;

	switch (byte % STEPS) {
	case DURING:
		bytes = fuzz_take_bytes(input, fuzz_take16(input));
		m->during = (struct fuzz_input){ bytes.data, bytes.length };
		break;
	case DISPATCH:
		dispatch(m);
		break;
	case POKE:
		poke(m, input);
		break;
	case GATHER:
		gather(m, input);
		break;
	default:
		send_message(m, input, byte);
		break;
	}
}

/* ---- between the memory map and the server: what the client does while the device waits ---- */

static void send_during(struct machine *m)
{
	struct fuzz_input during = m->during;

	m->during.left = 0;
	while (during.left)
		send_message(m, &during, fuzz_take8(&during));
}

static int remote_read(void *data, uint64_t address, void *buffer, size_t length)
{
	struct machine *m = data;

	send_during(m);
	return vtr_vfio_user_remote.read(m->server, address, buffer, length);
}

static int remote_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	struct machine *m = data;

	send_during(m);
	return vtr_vfio_user_remote.write(m->server, address, buffer, length);
}

static int remote_read_many(void *data, const struct vtr_remote_piece *pieces, size_t count)
{
	struct machine *m = data;

	send_during(m);
	return vtr_vfio_user_remote.read_many(m->server, pieces, count);
}

static const struct vtr_remote_impl remote = { .read = remote_read, .write = remote_write, .read_many = remote_read_many };

static void init(struct machine *m)
{
	vtr_log_set_level(VTR_LOG_ERROR);
	m->loop = vtr_loop_create();
	m->memory = vtr_memory_create();
	fuzz_fds_init(&m->fds, RAM_SIZE);
	m->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds.fds[FUZZ_FD_MEMORY], 0);
	fake_device_init(&m->fake, m->memory, m->loop);
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
	m.server = vtr_vfio_user_server_create(m.loop, NULL, pair[1], &m.fake.base, 0x038000, m.memory);
	if (!m.server)
		abort();
	m.server->dma_timeout_ms = 1;
	m.during.left = 0;
	vtr_memory_set_remote(m.memory, &remote, &m);
	for (unsigned steps = 0; input.left && steps < MAX_STEPS; steps++)
		run(&m, &input);
	dispatch(&m);
	close(m.socket);
	dispatch(&m);
	vtr_vfio_user_server_destroy(m.server);
	/* What the client brought is gone, whatever it did. */
	if (vtr_memory_region(m.memory, 0))
		abort();
	return 0;
}
