/* SPDX-License-Identifier: MIT */
/*
 * guest-input: what a Linux guest sees of its input devices, through evdev.
 *
 *   guest-input list        a line per device: what it says of itself
 *   guest-input record      every event of every device, until F24 goes up; "@@LISTENING" when it has begun
 *   guest-input led CODE V  turns a LED of the keyboard on or off
 *
 * Devices are those whose names begin with "Vitrine ". Lines begin with "@@".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MAX_DEVICES = 8, QUIET_MS = 1000, NEVER_MS = 3600000 };

static const char prefix[] = "Vitrine ";

struct device {
	int fd;
	char name[64];
};

static int open_devices(struct device devices[MAX_DEVICES])
{
	char path[64];
	int count = 0;

	for (int i = 0; i < 32 && count < MAX_DEVICES; i++) {
		struct device *device = &devices[count];

		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		device->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (device->fd < 0)
			continue;
		memset(device->name, 0, sizeof(device->name));
		if (ioctl(device->fd, EVIOCGNAME(sizeof(device->name) - 1), device->name) < 0 ||
		    strncmp(device->name, prefix, strlen(prefix)) != 0)
			close(device->fd);
		else
			count++;
	}
	return count;
}

static void list_axes(int fd)
{
	struct input_absinfo info;

	for (unsigned axis = 0; axis < ABS_CNT; axis++)
		if (ioctl(fd, EVIOCGABS(axis), &info) == 0 && info.maximum)
			printf(" abs%u=%d..%d", axis, info.minimum, info.maximum);
}

static void list(const struct device *device)
{
	unsigned long types = 0, properties = 0, relative = 0, leds = 0;
	unsigned char keys[KEY_CNT / 8 + 1] = { 0 };
	struct input_id id = { 0 };
	char serial[64] = "";
	int n_keys = 0;

	ioctl(device->fd, EVIOCGID, &id);
	ioctl(device->fd, EVIOCGUNIQ(sizeof(serial) - 1), serial);
	ioctl(device->fd, EVIOCGBIT(0, sizeof(types)), &types);
	ioctl(device->fd, EVIOCGPROP(sizeof(properties)), &properties);
	ioctl(device->fd, EVIOCGBIT(EV_REL, sizeof(relative)), &relative);
	ioctl(device->fd, EVIOCGBIT(EV_LED, sizeof(leds)), &leds);
	ioctl(device->fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys);
	for (int i = 0; i < KEY_CNT; i++)
		n_keys += keys[i / 8] >> i % 8 & 1;
	printf("@@DEVICE %s: serial=%s bus=%x id=%04x:%04x version=%x types=%lx properties=%lx keys=%d rel=%lx leds=%lx",
	       device->name + strlen(prefix), serial, id.bustype, id.vendor, id.product, id.version, types, properties, n_keys,
	       relative, leds);
	list_axes(device->fd);
	putchar('\n');
}

/* Notes what is there; true when the end was seen. */
static bool read_events(const struct device *device, FILE *notes)
{
	struct input_event events[64];
	bool end = false;
	ssize_t bytes;

	while ((bytes = read(device->fd, events, sizeof(events))) > 0)
		for (size_t i = 0; i < (size_t)bytes / sizeof(events[0]); i++) {
			if (events[i].type == EV_REP)
				continue; /* our own EVIOCSREP */
			fprintf(notes, "@@EVENT %s %u %u %d\n", device->name + strlen(prefix), events[i].type, events[i].code,
			        events[i].value);
			end |= events[i].type == EV_KEY && events[i].code == KEY_F24 && !events[i].value;
		}
	return end;
}

/* Events of different devices come by different interrupts: after the end, a time of silence. The serial port is slow, and evdev keeps
 * few events for a reader: they are printed when there are no more. */
static int record(struct device *devices, int count)
{
	char *text = NULL;
	size_t length = 0;
	FILE *notes = open_memstream(&text, &length);
	unsigned repeat[2] = { NEVER_MS, NEVER_MS };
	struct pollfd fds[MAX_DEVICES];
	bool end = false;

	for (int i = 0; i < count; i++) {
		fds[i] = (struct pollfd){ .fd = devices[i].fd, .events = POLLIN };
		ioctl(devices[i].fd, EVIOCSREP, repeat); /* a busy machine must not repeat keys */
	}
	if (!notes)
		return 1;
	puts("@@LISTENING");
	while (poll(fds, (nfds_t)count, end ? QUIET_MS : -1) > 0)
		for (int i = 0; i < count; i++)
			if (fds[i].revents)
				end |= read_events(&devices[i], notes);
	fclose(notes);
	fputs(text, stdout);
	free(text);
	return 0;
}

static int set_led(struct device *devices, int count, const char *code, const char *value)
{
	struct input_event events[2] = {
		{ .type = EV_LED, .code = (unsigned short)atoi(code), .value = atoi(value) },
		{ .type = EV_SYN, .code = SYN_REPORT },
	};

	for (int i = 0; i < count; i++)
		if (!strcmp(devices[i].name, "Vitrine Keyboard"))
			return write(devices[i].fd, events, sizeof(events)) == sizeof(events) ? 0 : 1;
	return 1;
}

int main(int argc, char **argv)
{
	struct device devices[MAX_DEVICES];
	int count = open_devices(devices);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!count) {
		puts("@@FAILED there is no input device");
		return 1;
	}
	if (argc == 2 && !strcmp(argv[1], "record"))
		return record(devices, count);
	if (argc == 4 && !strcmp(argv[1], "led"))
		return set_led(devices, count, argv[2], argv[3]);
	for (int i = 0; i < count; i++)
		list(&devices[i]);
	return 0;
}
