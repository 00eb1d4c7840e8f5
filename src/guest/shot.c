/* SPDX-License-Identifier: MIT */
#include "guest/shot.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <vitrine/control.h>

#include "guest/link_vhost.h"
#include "util/checked.h"
#include "util/fd.h"

enum { SETTLE_MS = 20 };

uint32_t vtr_shot_pixel(const struct vtr_shot *shot, uint32_t x, uint32_t y)
{
	uint32_t pixel;

	memcpy(&pixel, (const uint8_t *)shot->pixels + (size_t)y * shot->stride + (size_t)x * sizeof(pixel), sizeof(pixel));
	return pixel & 0xffffff;
}

void vtr_shot_finish(struct vtr_shot *shot)
{
	if (shot->pixels && shot->size)
		munmap((void *)(uintptr_t)shot->pixels, shot->size);
	shot->pixels = NULL;
}

static uint32_t number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value < 0 || value > UINT32_MAX ? 0 : (uint32_t)value;
}

/* Maps the picture's file when it is as large as the reply says. */
static int map(struct vtr_shot *shot, const json_t *reply, int fd, struct vtr_error *error)
{
	struct stat info;

	shot->width = number(reply, "width");
	shot->height = number(reply, "height");
	shot->stride = number(reply, "stride");
	shot->sequence = (uint64_t)json_integer_value(json_object_get(reply, "sequence"));
	shot->size = (size_t)shot->stride * shot->height;
	if (fd < 0 || fstat(fd, &info) < 0 || !shot->size || info.st_size < 0 || (uint64_t)info.st_size < shot->size ||
	    !vtr_range_fits(0, (uint64_t)shot->width * 4, shot->stride))
		return vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "the control socket's reply holds no picture");
	void *pixels = mmap(NULL, shot->size, PROT_READ, MAP_SHARED, fd, 0);
	if (pixels == MAP_FAILED)
		return vtr_error_set(error, VTR_ERROR_HOST, errno, "cannot map the picture: %s", strerror(errno));
	shot->pixels = pixels;
	return 0;
}

/* One call to the control socket, on its own thread. */
struct call {
	const char *path;
	int timeout_ms;
	char request[128];
	int done;      /* eventfd */
	bool finished; /* the thread is through; atomic */
	int result;
	char *reply;
	int fd;
};

static void *call_control(void *data)
{
	struct call *call = data;
	int socket = vtr_control_connect(call->path);
	if (socket < 0)
		call->result = socket;
	else
		call->result = vtr_control_call(socket, call->request, call->timeout_ms, &call->reply, &call->fd);
	vtr_fd_close(&socket);
	__atomic_store_n(&call->finished, true, __ATOMIC_RELEASE);
	eventfd_write(call->done, 1);
	return NULL;
}

/* Makes the call; the guest serves the device meanwhile. The call ends by its own time-out, so joining does, too. */
static int make_call(struct call *call, struct vtr_guest *guest)
{
	pthread_t thread;
	int served = 0;

	call->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (call->done < 0)
		return -errno;
	int error = pthread_create(&thread, NULL, call_control, call);
	if (!error) {
		while (!served && !__atomic_load_n(&call->finished, __ATOMIC_ACQUIRE))
			served = vtr_guest_wait_event(guest, call->done, call->timeout_ms);
		pthread_join(thread, NULL);
	}
	vtr_fd_close(&call->done);
	return error ? -error : call->result;
}

/* What the VMM's console has; cursors are not drawn there. */
static int take_from_display(struct vtr_shot *shot, struct vtr_guest *guest, uint32_t scanout, struct vtr_error *error)
{
	const struct vtr_guest_display *display = vtr_guest_vhost_of(guest)->display;

	/* what was sent before the last answer is there by now */
	vtr_guest_idle(guest, SETTLE_MS);
	shot->pixels = vtr_guest_display_picture(display, scanout, &shot->width, &shot->height);
	shot->stride = shot->width * 4;
	return shot->pixels ? 0 : vtr_error_set(error, VTR_ERROR_HOST, ENODATA, "the display socket shows a dmabuf: compare with --path mapped");
}

int vtr_shot_take(struct vtr_shot *shot, struct vtr_guest *guest, uint32_t scanout, bool cursor, struct vtr_error *error)
{
	struct call call = { .path = guest->options.control, .timeout_ms = guest->timeout_ms, .fd = -1 };

	*shot = (struct vtr_shot){ 0 };
	if (!guest->options.control)
		return take_from_display(shot, guest, scanout, error);
	snprintf(call.request, sizeof(call.request),
	         "{\"command\": \"screenshot\", \"scanout\": %u, \"cursor\": %s, \"timeout_ms\": %d}", scanout,
	         cursor ? "true" : "false", call.timeout_ms);
	int result = make_call(&call, guest);
	if (result)
		return vtr_error_set(error, VTR_ERROR_HOST, -result, "the control socket does not answer: %s", strerror(-result));

	json_t *reply = json_loads(call.reply, 0, NULL);
	const char *refusal = json_string_value(json_object_get(reply, "error"));
	result = refusal ? vtr_error_set(error, VTR_ERROR_HOST, EIO, "%s", refusal) : map(shot, reply, call.fd, error);
	json_decref(reply);
	free(call.reply);
	vtr_fd_close(&call.fd);
	return result;
}
