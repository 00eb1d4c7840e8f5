/* SPDX-License-Identifier: MIT */
/*
 * timelines: what the Wayland display's explicit synchronisation takes of a real kernel (ui/wayland/timeline.h), with a
 * compositor's part played by another file of the same card; in a small guest. Prints one TAP line a check.
 *
 *   timelines CARD
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>

#include "checks.h"
#include "wayland/timeline.h"

/* A timeline and who watches it; the compositor's handle of the same one. */
struct watched {
	uint32_t handle, theirs;
	int event_fd;
};

static bool is_awake(const struct watched *watched)
{
	struct pollfd poll_fd = { .fd = watched->event_fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 1;
}

static struct watched create(int node, int compositor)
{
	struct watched watched = { .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	int fd;

	must(watched.event_fd >= 0, "eventfd");
	must(wayland_timeline_create(node, &watched.handle, &fd) == 0, "a timeline");
	must(drmSyncobjFDToHandle(compositor, fd, &watched.theirs) == 0, "the compositor imports it");
	close(fd);
	return watched;
}

static void check_points(int node, int compositor)
{
	struct watched watched = create(node, compositor);
	int result = wayland_timeline_watch(node, watched.handle, 2, watched.event_fd);

	check(result == 0, "a point that nobody has given a fence yet can be watched", "%d", result);
	check(!is_awake(&watched), "it is not signalled", "awake");
	wayland_timeline_signal(compositor, watched.theirs, 1);
	check(!is_awake(&watched), "nor when the one before it is", "awake");
	wayland_timeline_signal(compositor, watched.theirs, 2);
	check(is_awake(&watched), "it is when the compositor signals it", "asleep");
	eventfd_t count = 0;
	eventfd_read(watched.event_fd, &count);
	check(count == 1, "once", "%llu times", (unsigned long long)count);
	result = wayland_timeline_watch(node, watched.handle, 1, watched.event_fd);
	check(result == 0 && is_awake(&watched), "a point that is signalled already wakes at once", "%d", result);
	eventfd_read(watched.event_fd, &count);
	result = wayland_timeline_watch(node, watched.handle, 3, watched.event_fd);
	check(result == 0 && !is_awake(&watched), "the next one is watched by the same fd", "%d", result);
	wayland_timeline_destroy(node, watched.handle);
	result = wayland_timeline_signal(compositor, watched.theirs, 3);
	check(result == 0, "the compositor may signal what we have given up", "%d", result);
	result = wayland_timeline_watch(node, watched.handle, 4, watched.event_fd);
	check(result == -ENOENT, "which cannot be watched any more", "%d", result);
	close(watched.event_fd);
}

int main(int argc, char **argv)
{
	struct vtr_error error = { 0 };
	struct stat status;

	must(argc == 2 && stat(argv[1], &status) == 0, "the card");
	int node = wayland_timeline_open(status.st_rdev, &error);
	check(node >= 0, "the card by its number", "%s", error.text);
	int other = wayland_timeline_open(0, &error), compositor = open(argv[1], O_RDWR | O_CLOEXEC);
	check(other >= 0, "any card", "%s", error.text);
	must(node >= 0 && compositor >= 0, "a node");
	int master = drmSetMaster(compositor);
	check(master == 0, "the card has no master, so that a compositor can be it", "%s", strerror(errno));
	check_points(node, compositor);
	print_plan();
	close(other);
	close(compositor);
	close(node);
	return 0;
}
