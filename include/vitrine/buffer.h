/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_BUFFER_H
#define VITRINE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/memory.h>

/*
 * A buffer: the bytes of one resource, as a display may hold them: one dmabuf of many ranges.
 *
 * One producer (the device thread) creates and drops it; any number of consumers lock and unlock it from any thread; whoever comes
 * last frees it. Consumers see the dmabuf only: spans and views stay with the resource on the device thread, so that unmapping and
 * revoking never wait for a display.
 */
enum vtr_path {
	VTR_PATH_NONE,        /* nothing can show it */
	VTR_PATH_FETCHED,     /* bytes by request to the VMM (DMA_READ) */
	VTR_PATH_MAPPED,      /* damaged rows copied by the CPU */
	VTR_PATH_READBACK,    /* what a renderer drew, read back into host memory */
	VTR_PATH_VIRGL,       /* zero copy: what a renderer drew, as a texture or a dmabuf */
	VTR_PATH_UDMABUF,     /* zero copy: a dmabuf over guest RAM */
	VTR_PATH_VFIO_WINDOW, /* zero copy: a range of a whole-BAR dmabuf */
	VTR_PATH_VFIO_DMABUF, /* zero copy: many ranges of a device's BAR */
	VTR_PATH_COUNT,
};

/* The name shown to users and taken by --path: "vfio-dmabuf", "vfio-window", "udmabuf", "virgl", "readback", "mapped", "fetched";
 * "none".
 */
VTR_API const char *vtr_path_name(enum vtr_path path);
/* 0 or -EINVAL, *path left alone. */
VTR_API int vtr_path_from_name(const char *name, enum vtr_path *path);

struct vtr_buffer;

/* A buffer over dmabuf_fd (taken, closed with the buffer, also on failure). offset: of the linear image's first byte in the dmabuf.
 * NULL when out of memory. */
VTR_API struct vtr_buffer *vtr_buffer_create(enum vtr_path path, int dmabuf_fd, uint64_t offset, uint64_t size);

/* What a renderer drew, for displays that draw with the same EGLDisplay. Plain pointers, so that nobody needs EGL for this header.
 */
struct vtr_buffer_texture {
	void *egl_display; /* EGLDisplay */
	void *egl_image;   /* EGLImage of a GL_TEXTURE_2D; any context of egl_display on any thread may bind it */
	uint32_t width, height;
};

/* A buffer over a texture. release (with data): called once, on whichever thread lets go last. dmabuf_fd (taken): the same pixels
 * for others, with the layout that vtr_buffer_set_layout() says; -1: there is none. NULL when out of memory: release was called
 * then, and the fd closed. */
VTR_API struct vtr_buffer *vtr_buffer_create_texture(enum vtr_path path, const struct vtr_buffer_texture *texture, int dmabuf_fd,
                                                     void (*release)(void *data), void *data);
/* NULL: the buffer is a dmabuf only. Then vtr_buffer_fd() is not -1. */
VTR_API const struct vtr_buffer_texture *vtr_buffer_texture(const struct vtr_buffer *buffer);

/* How the picture lies in the dmabuf of a renderer, which chose that itself: set before the buffer is shown to anybody. Buffers of
 * guest memory have none: there the guest says (SET_SCANOUT_BLOB). */
struct vtr_buffer_layout {
	uint32_t stride, offset; /* bytes */
	uint32_t format;         /* DRM_FORMAT_*, which need not be the one that the guest says of its resource */
	uint64_t modifier;
};
VTR_API void vtr_buffer_set_layout(struct vtr_buffer *buffer, const struct vtr_buffer_layout *layout);
VTR_API const struct vtr_buffer_layout *vtr_buffer_layout(const struct vtr_buffer *buffer); /* NULL: none */

/* How many ranges of memory the dmabuf is of, for messages about importers (vtr_vfio_import_error()); 1 unless it is set, before
 * the buffer is shown to anybody. */
VTR_API void vtr_buffer_set_ranges(struct vtr_buffer *buffer, size_t ranges);
VTR_API size_t vtr_buffer_ranges(const struct vtr_buffer *buffer);

VTR_API void vtr_buffer_drop(struct vtr_buffer *buffer);               /* the producer is done with it, once; NULL is fine */
VTR_API struct vtr_buffer *vtr_buffer_lock(struct vtr_buffer *buffer); /* returns buffer */
VTR_API void vtr_buffer_unlock(struct vtr_buffer *buffer);             /* NULL is fine */

VTR_API enum vtr_path vtr_buffer_path(const struct vtr_buffer *buffer);
VTR_API int vtr_buffer_fd(const struct vtr_buffer *buffer); /* owned by the buffer; -1: a texture only */
VTR_API uint64_t vtr_buffer_offset(const struct vtr_buffer *buffer);
VTR_API uint64_t vtr_buffer_size(const struct vtr_buffer *buffer); /* bytes from offset */
/* Unique in this process, never reused: the key of a display's import cache. */
VTR_API uint64_t vtr_buffer_id(const struct vtr_buffer *buffer);

#endif
