/* SPDX-License-Identifier: MIT */
/* Pixels that the device thread has gathered, in memory that is shared with the compositor: damage alone is copied. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "display/picture.h"
#include "util/fd.h"
#include "wayland/wayland.h"

struct wl_buffer *wayland_shm_create(struct wayland_display *display, uint32_t width, uint32_t height, uint32_t format, void **data,
                                     size_t *size)
{
	int32_t stride = (int32_t)(width * 4);
	int fd = memfd_create("vitrine-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	*size = (size_t)stride * height;
	if (fd < 0 || *size > INT32_MAX || ftruncate(fd, (off_t)*size) < 0) {
		vtr_fd_close(&fd);
		return NULL;
	}
	*data = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*data == MAP_FAILED) {
		vtr_fd_close(&fd);
		return NULL;
	}
	struct wl_shm_pool *pool = wl_shm_create_pool(display->shm, fd, (int32_t)*size);
	struct wl_buffer *buffer = wl_shm_pool_create_buffer(pool, 0, (int32_t)width, (int32_t)height, stride, format);

	wl_shm_pool_destroy(pool);
	vtr_fd_close(&fd);
	return buffer;
}

struct wl_buffer *wayland_shm_black(struct wayland_display *display, uint32_t width, uint32_t height)
{
	void *data;
	size_t size;
	struct wl_buffer *buffer = wayland_shm_create(display, width, height, WL_SHM_FORMAT_XRGB8888, &data, &size); /* zeroed */

	if (buffer)
		munmap(data, size);
	return buffer;
}

static void destroy(struct wayland_shm_buffer *buffer)
{
	if (!buffer->wl_buffer)
		return;
	wl_buffer_destroy(buffer->wl_buffer);
	pixman_image_unref(buffer->image);
	munmap(buffer->data, buffer->size);
	pixman_region32_fini(&buffer->stale);
	*buffer = (struct wayland_shm_buffer){ 0 };
}

static void release(void *data, struct wl_buffer *wl_buffer)
{
	struct wayland_shm_buffer *buffer = data;

	buffer->busy = false;
	wayland_show(buffer->window);
}

static const struct wl_buffer_listener listener = { .release = release };

static bool create(struct wayland_window *window, struct wayland_shm_buffer *buffer, uint32_t width, uint32_t height)
{
	*buffer = (struct wayland_shm_buffer){ .window = window };
	buffer->wl_buffer =
		wayland_shm_create(window->display, width, height, WL_SHM_FORMAT_XRGB8888, &buffer->data, &buffer->size);
	if (!buffer->wl_buffer)
		return false;
	buffer->image = pixman_image_create_bits(PIXMAN_x8r8g8b8, (int)width, (int)height, buffer->data, (int)width * 4);
	pixman_region32_init_rect(&buffer->stale, 0, 0, width, height);
	if (!buffer->image) {
		wl_buffer_destroy(buffer->wl_buffer);
		munmap(buffer->data, buffer->size);
		pixman_region32_fini(&buffer->stale);
		*buffer = (struct wayland_shm_buffer){ 0 };
		return false;
	}
	wl_buffer_add_listener(buffer->wl_buffer, &listener, buffer);
	return true;
}

static bool fits(const struct wayland_shm_buffer *buffer, const struct vtr_frame *frame)
{
	return buffer->wl_buffer && (uint32_t)pixman_image_get_width(buffer->image) == frame->width &&
	       (uint32_t)pixman_image_get_height(buffer->image) == frame->height;
}

static struct wayland_shm_buffer *find_free(struct wayland_window *window)
{
	for (size_t i = 0; i < WAYLAND_SHM_BUFFERS; i++)
		if (!window->pixels[i].busy)
			return &window->pixels[i];
	return NULL;
}

struct wayland_shm_buffer *wayland_pixels_load(struct wayland_window *window, const struct vtr_frame *frame,
                                               struct vtr_error *error)
{
	struct wayland_shm_buffer *buffer = find_free(window);

	error->code = 0;
	if (!buffer)
		return NULL;
	if (!fits(buffer, frame)) {
		destroy(buffer);
		if (!create(window, buffer, frame->width, frame->height)) {
			vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no shared memory for a picture of %ux%u", frame->width,
			              frame->height);
			return NULL;
		}
	}
	for (size_t i = 0; i < WAYLAND_SHM_BUFFERS; i++)
		if (fits(&window->pixels[i], frame))
			pixman_region32_union(&window->pixels[i].stale, &window->pixels[i].stale, &frame->damage);
	pixman_region32_intersect_rect(&buffer->stale, &buffer->stale, 0, 0, frame->width, frame->height);
	if (!vtr_picture_read(buffer->image, &buffer->stale, frame->pixels, frame->stride, frame->format)) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory to convert the picture");
		return NULL;
	}
	pixman_region32_clear(&buffer->stale);
	return buffer;
}

void wayland_pixels_clear(struct wayland_window *window)
{
	for (size_t i = 0; i < WAYLAND_SHM_BUFFERS; i++)
		destroy(&window->pixels[i]);
}
