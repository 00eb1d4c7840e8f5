/* SPDX-License-Identifier: MIT */
#ifndef VTR_TESTS_FUZZ_VFIO_USER_INPUT_H
#define VTR_TESTS_FUZZ_VFIO_USER_INPUT_H

/* Taking a fuzzer's input apart into vfio-user messages, with fds of all kinds. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/message.h"
#include "transport/vfio_user/protocol.h"

struct fuzz_input {
	const uint8_t *data;
	size_t left;
};

struct fuzz_bytes {
	const uint8_t *data;
	size_t length;
};

static inline uint8_t fuzz_take8(struct fuzz_input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->data++;
}

static inline uint16_t fuzz_take16(struct fuzz_input *input)
{
	uint16_t low = fuzz_take8(input);

	return (uint16_t)(low | fuzz_take8(input) << 8);
}

static inline struct fuzz_bytes fuzz_take_bytes(struct fuzz_input *input, size_t length)
{
	struct fuzz_bytes bytes = { input->data, length < input->left ? length : input->left };

	input->data += bytes.length;
	input->left -= bytes.length;
	return bytes;
}

/* The kinds of fds that an input can attach. */
enum { FUZZ_FD_MEMORY, FUZZ_FD_SHORT, FUZZ_FD_PIPE, FUZZ_FD_EVENT, FUZZ_FD_NULL, FUZZ_FD_KINDS };

struct fuzz_fds {
	int fds[FUZZ_FD_KINDS];
};

static inline void fuzz_fds_init(struct fuzz_fds *fds, size_t memory_size)
{
	int pipe_fds[2];

	fds->fds[FUZZ_FD_MEMORY] = memfd_create("memory", MFD_CLOEXEC);
	fds->fds[FUZZ_FD_SHORT] = memfd_create("short", MFD_CLOEXEC);
	fds->fds[FUZZ_FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds->fds[FUZZ_FD_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0 || ftruncate(fds->fds[FUZZ_FD_MEMORY], (off_t)memory_size) < 0 ||
	    ftruncate(fds->fds[FUZZ_FD_SHORT], 100) < 0)
		abort();
	fds->fds[FUZZ_FD_PIPE] = pipe_fds[1];
}

/* which: the low five bits are how many fds (up to 31), the high three of which kind. What the socket does not take is lost. */
static inline void fuzz_send(int socket, const struct fuzz_fds *fds, const struct iovec *parts, size_t n_parts, uint8_t which)
{
	union {
		char bytes[CMSG_SPACE(32 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr header = { .msg_iov = (struct iovec *)parts, .msg_iovlen = n_parts };
	size_t count = which & 31;
	int attached[31];

	for (size_t i = 0; i < count; i++)
		attached[i] = fds->fds[(which >> 5) % FUZZ_FD_KINDS];
	if (count) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), attached, count * sizeof(int));
	}
	if (sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

/* u8 fds, u16 length, bytes */
static inline void fuzz_send_raw(int socket, const struct fuzz_fds *fds, struct fuzz_input *input)
{
	uint8_t which = fuzz_take8(input);
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));
	struct iovec part = { (void *)bytes.data, bytes.length };

	fuzz_send(socket, fds, &part, 1, which);
}

/* u8 command, u8 flags, u8 fds, u16 length, bytes */
static inline void fuzz_send_message(int socket, const struct fuzz_fds *fds, struct fuzz_input *input, uint16_t id, uint32_t type)
{
	struct vfio_user_header header = { .id = id, .command = fuzz_take8(input), .flags = type, .error = 5 };
	uint8_t which;

	header.flags ^= fuzz_take8(input);
	which = fuzz_take8(input);
	struct fuzz_bytes bytes = fuzz_take_bytes(input, fuzz_take16(input));
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)bytes.data, bytes.length } };

	header.size = (uint32_t)(sizeof(header) + bytes.length);
	fuzz_send(socket, fds, parts, 2, which);
}

#endif
