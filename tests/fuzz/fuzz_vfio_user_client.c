/* SPDX-License-Identifier: MIT */
/*
 * The vfio-user client against a server that says anything, with any fds.
 *
 * An input is one byte n, n bytes of calls, and the messages that the server sends, all of them before the first call; behind the
 * last one the connection ends, so that no call waits. seed_vfio_user.py writes inputs in this form.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vitrine/log.h>

#include "transport/vfio_user/client.h"
#include "util/fd.h"

#include "vfio_user_input.h"

enum { RAM_SIZE = 4096, MAX_MESSAGES = 256 };

enum message {
	RAW,     /* u8 fds, u16 length, bytes */
	REPLY,   /* u8 command, u8 flags, u8 fds, u16 length, bytes: with the id that the client's next call has */
	COMMAND, /* the same, a request of the server's */
	MESSAGES,
};

enum call { INFO, REGION, IRQ, SET_IRQ, READ, WRITE, POST, MAP, UNMAP, RESET, SERVE, FEATURE, CORK, UNCORK, CALLS };

static uint8_t ram[RAM_SIZE];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ram_read(void *data, uint64_t address, void *buffer, size_t length)
{
	if (address > RAM_SIZE || length > RAM_SIZE - address)
		return -EFAULT;
	memcpy(buffer, ram + address, length);
	return 0;
}

static int ram_write(void *data, uint64_t address, const void *buffer, size_t length)
{
	if (address > RAM_SIZE || length > RAM_SIZE - address)
		return -EFAULT;
	memcpy(ram + address, buffer, length);
	return 0;
}

static const struct vtr_vfio_user_dma_impl dma = { .read = ram_read, .write = ram_write };

/* What is made of the information is fuzz_vfio_device's; here the reply as such. */
static void region_info(struct vtr_vfio_user_client *client)
{
	union {
		struct vfio_region_info info;
		uint8_t bytes[256];
	} answer = { .info = { .argsz = sizeof(answer.info), .index = 4 } };
	int fd;

	if (vtr_vfio_user_region_info(client, &answer.info, &fd) || answer.info.argsz <= sizeof(answer.info))
		return;
	vtr_fd_close(&fd);
	answer.info = (struct vfio_region_info){ .argsz = sizeof(answer), .index = 4 };
	if (!vtr_vfio_user_region_info(client, &answer.info, &fd) && answer.info.index != 4)
		abort();
	vtr_fd_close(&fd);
}

static void feature(struct vtr_vfio_user_client *client)
{
	struct vfio_device_feature probe = { .argsz = sizeof(probe), .flags = VFIO_DEVICE_FEATURE_PROBE | 11 };
	int fd;

	vtr_vfio_user_feature(client, &probe, &fd);
	vtr_fd_close(&fd);
}

static void call(struct vtr_vfio_user_client *client, const struct fuzz_fds *fds, uint8_t number)
{
	uint32_t flags, regions, irqs;
	uint8_t buffer[64] = { 0 };

	switch (number % CALLS) {
	case INFO:
		vtr_vfio_user_device_info(client, &flags, &regions, &irqs);
		break;
	case REGION:
		region_info(client);
		break;
	case IRQ:
		vtr_vfio_user_irq_count(client, 2, &irqs);
		break;
	case SET_IRQ:
		vtr_vfio_user_set_irq(client, 2, 0, fds->fds[FUZZ_FD_EVENT]);
		break;
	case READ:
		vtr_vfio_user_read(client, 4, 0, buffer, 16);
		break;
	case WRITE:
	case POST:
		vtr_vfio_user_write(client, 4, 0, buffer, number & 0x80 ? 8 : 16, number % CALLS == POST);
		break;
	case MAP:
		vtr_vfio_user_dma_map(client, 0, RAM_SIZE, fds->fds[FUZZ_FD_MEMORY], 0, true);
		break;
	case UNMAP:
		vtr_vfio_user_dma_unmap(client, 0, RAM_SIZE);
		break;
	case RESET:
		vtr_vfio_user_reset(client);
		break;
	case SERVE:
		vtr_vfio_user_client_dispatch(client);
		break;
	case FEATURE:
		feature(client);
		break;
	case CORK:
		vtr_vfio_user_cork(client);
		break;
	case UNCORK:
		vtr_vfio_user_uncork(client);
		break;
	}
}

static void send_messages(int socket, const struct fuzz_fds *fds, struct fuzz_input *input)
{
	uint16_t id = 0;

	for (unsigned i = 0; input->left && i < MAX_MESSAGES; i++) {
		switch (fuzz_take8(input) % MESSAGES) {
		case RAW:
			fuzz_send_raw(socket, fds, input);
			break;
		case REPLY:
			fuzz_send_message(socket, fds, input, id++, VFIO_USER_TYPE_REPLY);
			break;
		case COMMAND:
			fuzz_send_message(socket, fds, input, 99, VFIO_USER_TYPE_COMMAND);
			break;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_fds fds;
	struct fuzz_input input = { data, size };
	struct fuzz_bytes calls = fuzz_take_bytes(&input, fuzz_take8(&input));
	int pair[2];

	if (!fds.fds[0]) {
		vtr_log_set_level(VTR_LOG_ERROR);
		fuzz_fds_init(&fds, RAM_SIZE);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	send_messages(pair[0], &fds, &input);
	shutdown(pair[0], SHUT_WR);
	struct vtr_vfio_user_client *client = vtr_vfio_user_client_attach(pair[1], 5);
	if (client)
		vtr_vfio_user_client_set_dma(client, &dma, NULL);
	for (size_t i = 0; client && i < calls.length; i++)
		call(client, &fds, calls.data[i]);
	vtr_vfio_user_client_destroy(client);
	close(pair[0]);
	return 0;
}
