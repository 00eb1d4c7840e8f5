/* SPDX-License-Identifier: MIT */
#ifndef TEST_FAKE_PROCESS_H
#define TEST_FAKE_PROCESS_H

#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "render/remote.h"
#include "util/fd.h"

/* The other end of the socket to a process that renders: says what a test wants it to say. */
struct fake_process {
	struct vtr_remote_settings settings;
	struct vtr_remote_started started; /* what it says when it is started */
	bool silent;                       /* it does not say that */
	unsigned starts;
	int socket;
	const uint8_t *arena; /* once a message was received */
};

enum { FAKE_CAPSET_SIZE = 64 };

/* One that starts well. */
static inline struct vtr_remote_started fake_started(void)
{
	struct vtr_remote_started started = {
		.header = { VTR_REMOTE_STARTED, sizeof(started) },
		.version = VTR_REMOTE_VERSION,
		.n_capsets = 2,
		.capsets = { { .id = 1, .max_version = 1, .max_size = FAKE_CAPSET_SIZE },
		             { .id = 2, .max_version = 2, .max_size = FAKE_CAPSET_SIZE, .offset = 2 * FAKE_CAPSET_SIZE } },
		.description = "fake",
	};

	return started;
}

static inline bool fake_say(struct fake_process *fake, const void *bytes, size_t size, const int *fds, size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(32 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { (void *)bytes, size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n_fds) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	return sendmsg(fake->socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

static inline int fake_connect(void *data)
{
	struct fake_process *fake = data;
	int ends[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	vtr_fd_close(&fake->socket);
	fake->socket = ends[0];
	fake->starts++;
	if (!fake->silent)
		fake_say(fake, &fake->started, sizeof(fake->started), NULL, 0);
	return ends[1];
}

static inline void fake_process_init(struct fake_process *fake)
{
	*fake = (struct fake_process){ .settings = vtr_remote_settings, .started = fake_started(), .socket = -1 };
	/* of a busy machine: tests of time have their own */
	fake->settings.answer_ns = fake->settings.wait_ns = fake->settings.fence_ns = UINT64_C(60000000000);
	fake->settings.connect = fake_connect;
	fake->settings.data = fake;
}

static inline void fake_forget_arena(struct fake_process *fake)
{
	if (fake->arena)
		munmap((void *)fake->arena, VTR_REMOTE_ARENA);
	fake->arena = NULL;
}

static inline void fake_process_finish(struct fake_process *fake)
{
	fake_forget_arena(fake);
	vtr_fd_close(&fake->socket);
}

/* What the device has said; its fds are closed, but that the arena is mapped. 0: nothing more. */
static inline size_t fake_hear(struct fake_process *fake, struct vtr_remote_call *message)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = { message, sizeof(struct vtr_remote_header) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(fake->socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return 0;
	g_assert_cmpuint(message->header.size, <=, sizeof(*message));
	const size_t rest = message->header.size - sizeof(message->header);
	g_assert_cmpint(recv(fake->socket, &message->header + 1, rest, 0), ==, rest);
	if (header.msg_controllen)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
	if (message->header.type == VTR_REMOTE_START) {
		fake_forget_arena(fake);
		fake->arena = mmap(NULL, VTR_REMOTE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		g_assert_true(fake->arena != MAP_FAILED);
	}
	vtr_fd_close(&fd);
	return message->header.size;
}

/* The next call that the device has made: false when there is none. */
static inline bool fake_hear_call(struct fake_process *fake, struct vtr_remote_call *call)
{
	while (fake_hear(fake, call))
		if (call->header.type == VTR_REMOTE_CALL)
			return true;
	return false;
}

static inline struct vtr_remote_done fake_done(uint64_t serial, int code)
{
	struct vtr_remote_done done = { .header = { VTR_REMOTE_DONE, sizeof(done) }, .serial = serial, .code = code };

	return done;
}

static inline bool fake_say_done(struct fake_process *fake, uint64_t serial, int code)
{
	const struct vtr_remote_done done = fake_done(serial, code);

	return fake_say(fake, &done, sizeof(done), NULL, 0);
}

static inline bool fake_say_fence(struct fake_process *fake, uint64_t id)
{
	const struct vtr_remote_fence_done done = { .header = { VTR_REMOTE_FENCE_DONE, sizeof(done) }, .id = id };

	return fake_say(fake, &done, sizeof(done), NULL, 0);
}

#endif
