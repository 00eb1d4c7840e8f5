/* SPDX-License-Identifier: MIT */
#include "hotplug.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { KERNEL_GROUP = 1, MAX_MESSAGE = 8192, MAX_READ = 64 };

int kms_hotplug_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

/* The value of KEY=VALUE among the strings of a message, or NULL. */
static const char *value_of(const char *message, size_t size, const char *key)
{
	size_t length = strlen(key);

	for (size_t at = 0; at < size; at += strlen(message + at) + 1)
		if (!strncmp(message + at, key, length) && message[at + length] == '=')
			return message + at + length + 1;
	return NULL;
}

static bool says(const char *message, size_t size, const char *key, const char *wanted)
{
	const char *value = value_of(message, size, key);

	return value && !strcmp(value, wanted);
}

/* message ends with a zero byte. */
static bool is_about(const char *message, size_t size, dev_t card)
{
	char major_number[16], minor_number[16];

	snprintf(major_number, sizeof(major_number), "%u", major(card));
	snprintf(minor_number, sizeof(minor_number), "%u", minor(card));
	return says(message, size, "SUBSYSTEM", "drm") && says(message, size, "ACTION", "change") &&
	       says(message, size, "MAJOR", major_number) && says(message, size, "MINOR", minor_number);
}

bool kms_hotplug_read(int fd, dev_t card)
{
	char message[MAX_MESSAGE + 1];
	bool found = false;

	for (int i = 0; i < MAX_READ; i++) {
		struct sockaddr_nl sender = { 0 };
		socklen_t length = sizeof(sender);
		ssize_t size = recvfrom(fd, message, MAX_MESSAGE, 0, (struct sockaddr *)&sender, &length);

		if (size < 0 && errno == ENOBUFS)
			found = true;
		else if (size < 0)
			break;
		else if (sender.nl_pid == 0) { /* the kernel, and nobody else */
			message[size] = '\0';
			found |= is_about(message, (size_t)size, card);
		}
	}
	return found;
}
