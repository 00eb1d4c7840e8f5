/* SPDX-License-Identifier: MIT */
/*
 * The connection. Neither reading nor writing ever waits, once the display has started: wl_display_dispatch() and
 * wl_display_roundtrip() would, for a compositor that is stopped.
 *
 * libwayland keeps 4 KiB of what could not be sent, and ends a connection that has more. What a guest or a control client can
 * repeat is therefore sent again only when the compositor has answered the last one: frames by their callbacks, cursors by a sync;
 * and no window is opened while something is unsent.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "wayland/wayland.h"

static void lose(struct wayland_display *display, int code)
{
	const struct wl_interface *interface = NULL;
	struct vtr_error error;
	uint32_t id = 0, number;

	if (display->lost)
		return;
	display->lost = true;
	if (code == EPROTO) {
		number = wl_display_get_protocol_error(display->connection, &interface, &id);
		vtr_error_set(&error, VTR_ERROR_HOST, code, "the compositor ended the connection: error %u of %s#%u", number,
		              interface ? interface->name : "an object that is gone", id);
	} else {
		vtr_error_set(&error, VTR_ERROR_HOST, code, "the compositor is gone: %s", strerror(code));
	}
	vtr_source_remove(display->source);
	display->source = NULL;
	vtr_display_failed(&display->base, &error);
}

void wayland_flush(struct wayland_display *display)
{
	if (display->lost || !display->source)
		return;
	bool sent = wl_display_flush(display->connection) >= 0;

	/* EPIPE: why it hung up is still to be read */
	if (!sent && errno != EAGAIN && errno != EPIPE) {
		lose(display, errno);
		return;
	}
	display->unsent = !sent;
	vtr_source_set_events(display->source, EPOLLIN | (!sent && errno == EAGAIN ? EPOLLOUT : 0));
}

static int read_events(struct wl_display *connection)
{
	while (wl_display_prepare_read(connection) < 0)
		if (wl_display_dispatch_pending(connection) < 0)
			return -1;
	if (wl_display_read_events(connection) < 0)
		return -1;
	return wl_display_dispatch_pending(connection);
}

static void ready(int fd, uint32_t events, void *data)
{
	struct wayland_display *display = data;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && read_events(display->connection) < 0)
		lose(display, errno);
	wayland_flush(display);
}

int wayland_connection_watch(struct wayland_display *display)
{
	display->source = vtr_loop_add_fd(display->base.loop, wl_display_get_fd(display->connection), EPOLLIN, ready, display);
	return display->source ? 0 : -ENOMEM;
}

/* ---- before the loop runs ---- */

/* 0, or -1 with errno: ETIMEDOUT when end (CLOCK_MONOTONIC) has come. */
static int wait_readable(struct wl_display *connection, uint64_t end)
{
	struct pollfd poll_fd = { .fd = wl_display_get_fd(connection), .events = POLLIN };
	uint64_t now = vtr_now_ns();

	if (wl_display_flush(connection) < 0 && errno == EAGAIN)
		poll_fd.events |= POLLOUT;
	int n = now < end ? poll(&poll_fd, 1, (int)((end - now) / 1000000) + 1) : 0;
	if (n == 0)
		errno = ETIMEDOUT;
	return n > 0 || (n < 0 && errno == EINTR) ? 0 : -1;
}

static void synced(void *data, struct wl_callback *callback, uint32_t serial)
{
	*(bool *)data = true;
}

static const struct wl_callback_listener sync_listener = { .done = synced };

int wayland_round_trip(struct wayland_display *display, uint64_t end)
{
	struct wl_callback *callback = wl_display_sync(display->connection);
	bool done = false;
	int error = 0;

	wl_callback_add_listener(callback, &sync_listener, &done);
	while (!done && !error)
		if (wait_readable(display->connection, end) < 0 || read_events(display->connection) < 0)
			error = -errno;
	wl_callback_destroy(callback);
	return error;
}
