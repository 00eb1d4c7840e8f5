/* SPDX-License-Identifier: MIT */
/*
 * vfio-user-bars: the BARs of a vfio-user device as udmabufs of a real kernel; as root in a small guest with a DRM card. Prints one
 * TAP line a check.
 *
 *   vfio-user-bars CARD
 *
 * The device is a child of this program: BAR 0 is a memfd that may shrink, BAR 2 one that is sealed, 1 MiB each.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vitrine/dmabuf.h>
#include <vitrine/transport.h>
#include <vitrine/vfio.h>

#include "checks.h"
#include "transport/vfio_user/protocol.h"

#define SOCKET "/tmp/bars.sock"

enum { PAGE = 4096, PAGES = 256, SIZE = PAGES * PAGE, TIMEOUT_MS = 20000, DEFAULT_LIST_LIMIT = 1024 };

/* ---- the device ---- */

struct message {
	struct vfio_user_header header;
	uint8_t body[1024];
};

static void reply(int socket, const struct message *message, const void *body, size_t size, int fd)
{
	struct vfio_user_header header = {
		.id = message->header.id,
		.command = message->header.command,
		.size = (uint32_t)(sizeof(header) + size),
		.flags = VFIO_USER_TYPE_REPLY | (body ? 0 : VFIO_USER_FLAG_ERROR),
		.error = body ? 0 : EINVAL,
	};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .align = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)body, size } };
	struct msghdr all = { .msg_iov = parts, .msg_iovlen = 2 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
		all.msg_control = control.bytes;
		all.msg_controllen = sizeof(control.bytes);
	}
	sendmsg(socket, &all, MSG_NOSIGNAL);
}

static void reply_region(int socket, const struct message *message, const int bars[2])
{
	struct vfio_user_region_info info;

	memcpy(&info, message->body, sizeof(info));
	bool bar = info.index == 0 || info.index == 2, config = info.index == VFIO_PCI_CONFIG_REGION_INDEX;
	info.argsz = sizeof(info);
	info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | (bar ? VFIO_REGION_INFO_FLAG_MMAP : 0);
	info.size = bar ? SIZE : config ? 256 : 0;
	reply(socket, message, &info, sizeof(info), bar ? bars[info.index / 2] : -1);
}

static void answer(int socket, const struct message *message, const int bars[2])
{
	const struct vfio_user_version version = { VFIO_USER_MAJOR, VFIO_USER_MINOR };
	const struct vfio_user_device_info info = { sizeof(info), VFIO_DEVICE_FLAGS_PCI, 9, 5 };
	struct {
		struct vfio_user_region_access access;
		uint8_t data[64];
	} read = { 0 };

	switch (message->header.command) {
	case VFIO_USER_VERSION:
		return reply(socket, message, &version, sizeof(version), -1);
	case VFIO_USER_DEVICE_GET_INFO:
		return reply(socket, message, &info, sizeof(info), -1);
	case VFIO_USER_DEVICE_GET_REGION_INFO:
		return reply_region(socket, message, bars);
	case VFIO_USER_REGION_READ:
		memcpy(&read.access, message->body, sizeof(read.access));
		return reply(socket, message, &read, sizeof(read.access) + read.access.count % (sizeof(read.data) + 1), -1);
	default:
		return reply(socket, message, NULL, 0, -1);
	}
}

/* Serves one client; never returns. */
static void serve(int listener, const int bars[2])
{
	int socket = accept(listener, NULL, NULL);
	struct message message;

	while (recv(socket, &message.header, sizeof(message.header), MSG_WAITALL) == sizeof(message.header)) {
		size_t size = message.header.size - sizeof(message.header);

		if (size > sizeof(message.body) || (size && recv(socket, message.body, size, MSG_WAITALL) != (ssize_t)size))
			break;
		answer(socket, &message, bars);
	}
	_exit(0);
}

static pid_t start(const int bars[2])
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, 1) == 0, SOCKET);
	pid_t child = fork();
	must(child >= 0, "fork");
	if (!child)
		serve(listener, bars);
	close(listener);
	return child;
}

/* ---- checks ---- */

static int memory_file(unsigned seals)
{
	int fd = memfd_create("bar", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && ftruncate(fd, SIZE) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0, "memfd");
	return fd;
}

/* Each word of the BAR is the number of its page, and more. */
static void fill(uint32_t *words, uint32_t more)
{
	for (uint32_t i = 0; i < SIZE / sizeof(*words); i++)
		words[i] = i * (uint32_t)sizeof(*words) / PAGE + more;
}

/* Are the dmabuf's pages those of the BAR, in this order? */
static bool shows(int dmabuf, const uint32_t *pages, uint32_t count, uint32_t more)
{
	const uint32_t *words = mmap(NULL, (size_t)count * PAGE, PROT_READ, MAP_SHARED, dmabuf, 0);
	bool same = words != MAP_FAILED && vtr_dmabuf_begin_cpu(dmabuf, false) == 0;

	for (uint32_t i = 0; same && i < count * PAGE / sizeof(*words); i++)
		same = words[i] == pages[i * sizeof(*words) / PAGE] + more;
	vtr_dmabuf_end_cpu(dmabuf, false);
	munmap((void *)words, (size_t)count * PAGE);
	return same;
}

static int three_pages(struct vtr_vfio_device *device, uint32_t bar, struct vtr_error *error)
{
	const struct vtr_vfio_range ranges[] = { { bar, 9 * PAGE, PAGE }, { bar, 2 * PAGE, PAGE }, { bar, 3 * PAGE, PAGE } };

	return vtr_vfio_device_create_dmabuf(device, ranges, 3, error);
}

/* count single pages of a BAR that has fewer: again and again, none beside another. */
static int many_pages(struct vtr_vfio_device *device, uint32_t count, struct vtr_error *error)
{
	struct vtr_vfio_range *ranges = calloc(count, sizeof(*ranges));

	must(ranges, "memory");
	for (uint32_t i = 0; i < count; i++)
		ranges[i] = (struct vtr_vfio_range){ 2, (uint64_t)(2 * i % PAGES) * PAGE, PAGE };
	int fd = vtr_vfio_device_create_dmabuf(device, ranges, count, error);
	free(ranges);
	return fd;
}

static void check_device(struct vtr_vfio_device *device, int card, uint32_t *words)
{
	static const uint32_t pages[] = { 9, 2, 3 };
	struct vtr_error error = { 0 };
	uint32_t capabilities = vtr_vfio_device_capabilities(device);

	check((capabilities & (VTR_VFIO_UDMABUF | VTR_VFIO_DMA_BUF)) == VTR_VFIO_UDMABUF,
	      "vfio-user: of a sealed BAR udmabufs can be made", "capabilities 0x%x", capabilities);
	fill(words, 1000);
	int fd = three_pages(device, 2, &error);
	check(fd >= 0 && vtr_dmabuf_is(fd) && vtr_dmabuf_size(fd) == 3 * PAGE, "vfio-user: three pages of it are one dmabuf", "%s",
	      error.text);
	check(shows(fd, pages, 3, 1000), "vfio-user: the dmabuf has the pages in order", "other words");
	fill(words, 2000);
	check(shows(fd, pages, 3, 2000), "vfio-user: what is written to the BAR is in the dmabuf", "other words");
	int code = import(card, fd);
	check(code == 0, "vfio-user: a card imports it", "%s", strerror(-code));
	close(fd);
	check_error("vfio-user: no dmabuf of a BAR that may shrink", three_pages(device, 0, &error), &error, VTR_ERROR_UNSUPPORTED,
	            EOPNOTSUPP);
	fd = many_pages(device, DEFAULT_LIST_LIMIT, &error);
	check(fd >= 0, "vfio-user: as many pieces as list_limit", "%s", error.text);
	close(fd);
	check_error("vfio-user: one piece more than list_limit", many_pages(device, DEFAULT_LIST_LIMIT + 1, &error), &error,
	            VTR_ERROR_HOST, E2BIG);
}

/* The device's process is gone: its memory is not. */
static void check_death(struct vtr_vfio_device *device, pid_t child)
{
	static const uint32_t pages[] = { 9, 2, 3 };
	struct vtr_error error = { 0 };
	int before = three_pages(device, 2, &error);

	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	check(vtr_vfio_device_refresh(device) < 0, "vfio-user: a server that is killed is missed", "it answers");
	check(shows(before, pages, 3, 2000), "vfio-user: a dmabuf of its BAR goes on", "other words");
	int after = three_pages(device, 2, &error);
	check(after >= 0 && shows(after, pages, 3, 2000), "vfio-user: and new ones can be made", "%s", error.text);
	close(before);
	close(after);
}

int main(int argc, char **argv)
{
	int card = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	const int bars[2] = { memory_file(0), memory_file(F_SEAL_SHRINK) };
	struct vtr_error error = { 0 };

	must(argc == 2, "vfio-user-bars CARD");
	must(card >= 0, argv[1]);
	uint32_t *words = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bars[1], 0);
	must(words != MAP_FAILED, "mmap");
	pid_t child = start(bars);
	struct vtr_vfio_user_client *client = vtr_vfio_user_client_connect(SOCKET, TIMEOUT_MS);
	must(client, "connection");
	struct vtr_vfio_device *device = vtr_vfio_device_create_user(client, "the device", &error);
	check(device, "vfio-user: a device in another process", "%s", error.text);
	must(device, "device");
	check_device(device, card, words);
	check_death(device, child);
	vtr_vfio_device_destroy(device);
	vtr_vfio_user_client_destroy(client);
	print_plan();
	return 0;
}
