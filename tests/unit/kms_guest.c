/* SPDX-License-Identifier: MIT */
#include "kms_guest.h"

#include <drm_fourcc.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

int hotplug[2] = { -1, -1 };

/* The display's messages about monitors come from the test. */
int __wrap_kms_hotplug_open(void);
int __wrap_kms_hotplug_open(void)
{
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, hotplug), ==, 0);
	return hotplug[0];
}

void start(struct guest *guest)
{
	struct vtr_error error;
	struct vtr_mode mode;
	char name[32];

	*guest = (struct guest){ .width = WIDTH, .height = HEIGHT, .pixels = g_new0(uint32_t, WIDTH * HEIGHT) };
	guest->display = vtr_kms_create(fake->path, &error);
	if (!guest->display)
		g_error("%s", error.text);
	guest->outputs = vtr_outputs_create();
	for (size_t i = 0; vtr_kms_connector(guest->display, i, &mode, name); i++)
		g_assert_nonnull(vtr_outputs_add(guest->outputs, guest->display, NULL, name));
	guest->output = vtr_outputs_get(guest->outputs, 0);
}

void finish(struct guest *guest)
{
	vtr_display_destroy(guest->display);
	vtr_outputs_destroy(guest->outputs);
	vtr_buffer_drop(guest->buffer);
	g_free(guest->pixels);
	g_free(guest->captured_pixels);
	if (hotplug[1] >= 0)
		vtr_fd_close(&hotplug[1]);
}

struct vtr_buffer *new_buffer(enum vtr_path path, uint64_t size)
{
	return vtr_buffer_create(path, vtr_memfd_create("dmabuf", OFFSET + size), OFFSET, size);
}

struct vtr_buffer *frame_buffer(void)
{
	return new_buffer(VTR_PATH_UDMABUF, (uint64_t)WIDTH * HEIGHT * 4);
}

void show_instead(struct guest *guest, struct vtr_buffer *buffer)
{
	vtr_buffer_drop(guest->buffer);
	guest->buffer = buffer;
}

/* ---- presenting ---- */

static void attach_pixels(struct guest *guest, struct vtr_frame *frame)
{
	pixman_region32_t stale;
	int count;

	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(guest->output, guest->width, guest->height, DRM_FORMAT_XRGB8888, &stale);
	if (!staging) {
		pixman_region32_fini(&stale);
		return;
	}
	const pixman_box32_t *boxes = pixman_region32_rectangles(&stale, &count);
	for (int i = 0; i < count; i++)
		for (int y = boxes[i].y1; y < boxes[i].y2; y++)
			memcpy((uint32_t *)vtr_staging_data(staging) + (uint32_t)y * guest->width + boxes[i].x1,
			       guest->pixels + (uint32_t)y * guest->width + boxes[i].x1, (size_t)(boxes[i].x2 - boxes[i].x1) * 4);
	vtr_staging_commit(staging, &stale, frame);
	pixman_region32_fini(&stale);
}

static bool takes_buffer(const struct guest *guest)
{
	return guest->buffer && vtr_output_demand(guest->output) == VTR_DEMAND_DMABUF &&
	       vtr_output_accepts(guest->output, DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, NULL);
}

void present(struct guest *guest, int x, int y, unsigned width, unsigned height)
{
	struct vtr_frame *frame = vtr_output_begin_frame(guest->output);

	frame->content = VTR_FRAME_UNREAD;
	frame->width = guest->width;
	frame->height = guest->height;
	frame->format = DRM_FORMAT_XRGB8888;
	if (width)
		pixman_region32_union_rect(&frame->damage, &frame->damage, x, y, width, height);
	vtr_staging_note_damage(guest->output, &frame->damage);
	if (takes_buffer(guest)) {
		frame->content = VTR_FRAME_BUFFER;
		frame->buffer = vtr_buffer_lock(guest->buffer);
		frame->path = vtr_buffer_path(guest->buffer);
		frame->offset = vtr_buffer_offset(guest->buffer) + guest->offset;
		frame->modifier = DRM_FORMAT_MOD_LINEAR;
		frame->stride = guest->width * 4;
	} else if (vtr_output_demand(guest->output) != VTR_DEMAND_NONE) {
		attach_pixels(guest, frame);
	}
	guest->presented++;
	vtr_output_submit(guest->output, frame);
}

void present_all(struct guest *guest)
{
	present(guest, 0, 0, guest->width, guest->height);
}

static void handle(struct guest *guest, const struct vtr_event *event)
{
	if (event->output != 0)
		return;
	switch (event->type) {
	case VTR_EVENT_FRAME_NEEDED:
		guest->needed++;
		if (guest->presented)
			present(guest, 0, 0, 0, 0);
		break;
	case VTR_EVENT_IMPORT_FAILED:
		guest->refused++;
		guest->error = event->error;
		show_instead(guest, NULL);
		present_all(guest);
		break;
	case VTR_EVENT_FRAME_DONE:
		guest->done++;
		guest->dropped += event->dropped;
		guest->last_time = event->time_ns;
		break;
	case VTR_EVENT_MODE_CHANGED:
	case VTR_EVENT_ANSWERED:
		guest->modes++;
		break;
	case VTR_EVENT_DISPLAY_CHANGED:
		break;
	}
}

void dispatch(struct guest *guest, int timeout_ms)
{
	struct pollfd pollfd = { .fd = vtr_outputs_event_fd(guest->outputs), .events = POLLIN };
	struct vtr_event event;

	poll(&pollfd, 1, timeout_ms);
	while (vtr_outputs_next_event(guest->outputs, &event))
		handle(guest, &event);
}

void settle(struct guest *guest)
{
	for (int i = 0; i < 10; i++)
		dispatch(guest, 5);
}

void expect_demand(struct guest *guest)
{
	WAIT_FOR(guest, vtr_output_demand(guest->output) == VTR_DEMAND_DMABUF && fake->crtcs[0].fb > FAKE_OLD_FB &&
	                        !fake->crtcs[0].n_events);
	dispatch(guest, 0); /* all that was said on the way there: the demand came last */
}

void expect_import(struct guest *guest)
{
	WAIT_FOR(guest, fake_find_fb(fake->crtcs[0].fb) && fake->handles[fake_find_fb(fake->crtcs[0].fb)->handle - 1].inode &&
	                        !fake->crtcs[0].n_events && guest->done == guest->presented);
}

void expect_copy(struct guest *guest)
{
	WAIT_FOR(guest, fake_find_fb(fake->crtcs[0].fb) && !fake->handles[fake_find_fb(fake->crtcs[0].fb)->handle - 1].inode &&
	                        !fake->crtcs[0].n_events && guest->done == guest->presented);
}

uint32_t screen_pixel(uint32_t x, uint32_t y)
{
	pthread_mutex_lock(&fake->lock);
	uint32_t pixel = fake_pixel(fake->crtcs[0].fb, x, y);
	pthread_mutex_unlock(&fake->lock);
	return pixel;
}

void change(void (*what)(struct fake_drm *drm, uint32_t value), uint32_t value)
{
	pthread_mutex_lock(&fake->lock);
	what(fake, value);
	pthread_mutex_unlock(&fake->lock);
}

void captured(const struct vtr_picture *picture, const struct vtr_error *error, void *data)
{
	struct guest *guest = data;

	guest->captured++;
	guest->picture = *picture;
	if (error) {
		guest->error = *error;
		return;
	}
	size_t size = (size_t)picture->stride * picture->height;
	g_free(guest->captured_pixels);
	guest->captured_pixels = g_malloc(size);
	g_assert_cmpint(pread(picture->fd, guest->captured_pixels, size, 0), ==, (ssize_t)size);
	close(picture->fd);
}
