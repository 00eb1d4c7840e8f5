/* SPDX-License-Identifier: MIT */
#include <vitrine/buffer.h>

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"

/*
 * A buffer is what a resource and the displays share: one dmabuf and what it means. Nothing in it changes once it is shared but the
 * count of its holders: the producer, until it drops the buffer, and each lock. Holders come and go on any thread; the one that
 * brings the count to 0 frees, so that a resource may be destroyed while a compositor still reads its last frame.
 */
struct vtr_buffer {
	atomic_uint holders;
	enum vtr_path path;
	int fd;                            // owned; -1 for a texture that nobody else can have
	struct vtr_buffer_texture texture; // egl_image NULL: none
	void (*release)(void *data);       // of the texture
	void *release_data;
	bool has_layout;
	struct vtr_buffer_layout layout;
	uint64_t offset, size;
	size_t ranges;
	uint64_t id;
};

static const char *const path_names[VTR_PATH_COUNT] = {
	[VTR_PATH_NONE] = "none",
	[VTR_PATH_FETCHED] = "fetched",
	[VTR_PATH_MAPPED] = "mapped",
	[VTR_PATH_READBACK] = "readback",
	[VTR_PATH_VIRGL] = "virgl",
	[VTR_PATH_UDMABUF] = "udmabuf",
	[VTR_PATH_VFIO_WINDOW] = "vfio-window",
	[VTR_PATH_VFIO_DMABUF] = "vfio-dmabuf",
};

const char *vtr_path_name(enum vtr_path path)
{
	return path_names[path];
}

int vtr_path_from_name(const char *name, enum vtr_path *path)
{
	for (unsigned i = 0; i < VTR_PATH_COUNT; i++)
		if (!strcmp(name, path_names[i])) {
			*path = (enum vtr_path)i;
			return 0;
		}
	return -EINVAL;
}

/* Ids are unique in the process, because a display may hold buffers of several devices: a counter that only rises. */
static uint64_t next_id(void)
{
	static _Atomic uint64_t last;

	return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

struct vtr_buffer *vtr_buffer_create(enum vtr_path path, int dmabuf_fd, uint64_t offset, uint64_t size)
{
	struct vtr_buffer *buffer = malloc(sizeof(*buffer));

	if (!buffer) {
		vtr_fd_close(&dmabuf_fd);
		return NULL;
	}
	*buffer =
		(struct vtr_buffer){ .path = path, .fd = dmabuf_fd, .offset = offset, .size = size, .ranges = 1, .id = next_id() };
	atomic_init(&buffer->holders, 1);
	return buffer;
}

struct vtr_buffer *vtr_buffer_create_texture(enum vtr_path path, const struct vtr_buffer_texture *texture, int dmabuf_fd,
                                             void (*release)(void *data), void *data)
{
	struct vtr_buffer *buffer = vtr_buffer_create(path, dmabuf_fd, 0, 0);

	if (!buffer) {
		release(data);
		return NULL;
	}
	buffer->texture = *texture;
	buffer->release = release;
	buffer->release_data = data;
	return buffer;
}

const struct vtr_buffer_texture *vtr_buffer_texture(const struct vtr_buffer *buffer)
{
	return buffer->texture.egl_image ? &buffer->texture : NULL;
}

void vtr_buffer_set_layout(struct vtr_buffer *buffer, const struct vtr_buffer_layout *layout)
{
	buffer->layout = *layout;
	buffer->has_layout = true;
}

const struct vtr_buffer_layout *vtr_buffer_layout(const struct vtr_buffer *buffer)
{
	return buffer->has_layout ? &buffer->layout : NULL;
}

void vtr_buffer_set_ranges(struct vtr_buffer *buffer, size_t ranges)
{
	buffer->ranges = ranges;
}

size_t vtr_buffer_ranges(const struct vtr_buffer *buffer)
{
	return buffer->ranges;
}

static void let_go(struct vtr_buffer *buffer)
{
	/* Release: what this holder read happened before the free. Acquire: the one who frees sees that of all others. */
	unsigned before = atomic_fetch_sub_explicit(&buffer->holders, 1, memory_order_acq_rel);

	assert(before > 0);
	if (before > 1)
		return;
	if (buffer->release)
		buffer->release(buffer->release_data);
	vtr_fd_close(&buffer->fd);
	free(buffer);
}

void vtr_buffer_drop(struct vtr_buffer *buffer)
{
	if (buffer)
		let_go(buffer);
}

struct vtr_buffer *vtr_buffer_lock(struct vtr_buffer *buffer)
{
	/* Whoever locks holds the buffer already, or was handed it by somebody who does: no ordering is needed. */
	atomic_fetch_add_explicit(&buffer->holders, 1, memory_order_relaxed);
	return buffer;
}

void vtr_buffer_unlock(struct vtr_buffer *buffer)
{
	if (buffer)
		let_go(buffer);
}

enum vtr_path vtr_buffer_path(const struct vtr_buffer *buffer)
{
	return buffer->path;
}

int vtr_buffer_fd(const struct vtr_buffer *buffer)
{
	return buffer->fd;
}

uint64_t vtr_buffer_offset(const struct vtr_buffer *buffer)
{
	return buffer->offset;
}

uint64_t vtr_buffer_size(const struct vtr_buffer *buffer)
{
	return buffer->size;
}

uint64_t vtr_buffer_id(const struct vtr_buffer *buffer)
{
	return buffer->id;
}
