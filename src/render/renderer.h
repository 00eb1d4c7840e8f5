/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_RENDERER_H
#define VTR_RENDER_RENDERER_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/buffer.h>
#include <vitrine/error.h>
#include <vitrine/limits.h>
#include <vitrine/memory.h>
#include <vitrine/renderer.h>

#include "render/image.h"

/*
 * The interface behind which 3D is drawn. Whoever implements it gets calls, one structure each, plain enough to be sent to another
 * process, written to a file and played again:
 *
 *   virgl.c      virglrenderer in this process, on the device thread: a call is done when it returns
 *   remote.c     virglrenderer in a process of its own: calls may be in progress
 *   record.c     writes what passes to a file
 *
 * The caller (gpu/) has checked what it knows: ids exist or are free, boxes have a size, backings are long enough. What only the
 * renderer knows (formats, levels, what a command stream says) is refused there. Ids of resources, contexts and capsets are the
 * guest's. All of it on the device thread.
 */
enum vtr_render_op {
	VTR_RENDER_CTX_CREATE,
	VTR_RENDER_CTX_DESTROY,
	VTR_RENDER_CTX_ATTACH_RESOURCE,
	VTR_RENDER_CTX_DETACH_RESOURCE,
	VTR_RENDER_SUBMIT,      /* data, size: the command stream */
	VTR_RENDER_CREATE_3D,   /* also the twin of a 2D resource that a context wants to use */
	VTR_RENDER_CREATE_BLOB, /* spans: the guest's memory, where it has some */
	VTR_RENDER_UNREF,
	VTR_RENDER_ATTACH_BACKING,     /* spans: valid until DETACH_BACKING or UNREF; all of it with a CPU mapping (spans.cpu) */
	VTR_RENDER_DETACH_BACKING,     /* when it is done nothing of the guest's memory is used any more */
	VTR_RENDER_TRANSFER_TO_HOST,   /* from the backing */
	VTR_RENDER_TRANSFER_FROM_HOST, /* into the backing */
	VTR_RENDER_FENCE,              /* fence_done() comes when what was asked for before is drawn */
	VTR_RENDER_READ,               /* box of a resource into image, upright: row 0 is the top one */
	VTR_RENDER_EXPORT,      /* a resource as something that a display can sample: exported. Its row 0 is the picture's top
	                           one, or the bottom one (vtr_frame.flipped) if it was created with the flag Y_0_TOP */
	VTR_RENDER_EXPORT_BLOB, /* a HOST3D blob as memory that a VMM can map: mapped */
	VTR_RENDER_RESET,       /* no contexts, no resources, no fences any more */
	VTR_RENDER_OPS,
};

struct vtr_render_box {
	uint32_t x, y, z, w, h, d;
};

/* What a call is about; plain data. */
struct vtr_render_args {
	uint32_t op; /* enum vtr_render_op */
	uint32_t ctx_id, resource_id;
	union {
		struct {
			uint32_t capset_id; /* 0: the renderer's default (without CONTEXT_INIT) */
			uint32_t name_length;
			char name[64];
		} ctx_create;
		struct { /* virtio_gpu_resource_create_3d; target, format and bind are virglrenderer's (and Gallium's) */
			uint32_t target, format, bind, width, height, depth, array_size, last_level, nr_samples, flags;
		} create_3d;
		struct {
			uint32_t blob_mem, blob_flags;
			uint64_t blob_id, size;
		} create_blob;
		struct {
			struct vtr_render_box box;
			uint64_t offset;
			uint32_t level, stride, layer_stride;
		} transfer;
		struct {
			uint64_t id; /* of the caller's, rising */
			uint32_t has_ring, ring_idx;
		} fence;
		struct {
			uint32_t x, y, width, height; /* of the upright picture, and of image */
		} read;
	};
};

struct vtr_render_call {
	struct vtr_render_args args;

	/* What it brings; borrowed until it is done. */
	const void *data;              /* SUBMIT: private to the caller, 4-byte aligned */
	size_t size;                   /* of data, bytes; a multiple of 4 */
	const struct vtr_spans *spans; /* CREATE_BLOB (NULL: none), ATTACH_BACKING */
	struct vtr_image *image;       /* READ: 32 bits a pixel of image->format */

	/* What came of it, when code is 0. */
	struct vtr_buffer *exported; /* EXPORT: the caller's; with a texture, a dmabuf, or both (vtr_buffer_texture(), _fd()) */
	struct vtr_error why;        /* EXPORT: also when it has no dmabuf: why not; EXPORT_BLOB, when code is not 0: why not */
	struct {
		int fd; /* the caller's */
		uint64_t offset, size;
		uint32_t map_info; /* VIRTIO_GPU_MAP_CACHE_* */
	} mapped;                  /* EXPORT_BLOB */

	/* For a call in progress: on the device thread, from the loop, code set. The call may be freed there. */
	void (*done)(struct vtr_render_call *call);
	void *user;
	int code;                     /* what came of it; means nothing before it is done */
	struct vtr_render_call *next; /* the renderer's, while it is in progress */
};

/* On the device thread, from the loop or from inside a call. */
struct vtr_renderer_listener {
	void (*fence_done)(void *data, uint64_t id);
	/* The renderer is lost, with all contexts and resources (the process died or hung, its EGLDisplay is gone). Calls in
	 * progress have been done with -ENODEV; fences do not come any more. Calls that name what is lost give -ENODEV or -ENOENT;
	 * a new CTX_CREATE or CREATE_3D may bring up another renderer, some time later. */
	void (*lost)(void *data, const struct vtr_error *why);
};

struct vtr_capset {
	uint32_t id, max_version, max_size;
};

struct vtr_renderer;

struct vtr_renderer_impl {
	/* 0, -errno, or -EINPROGRESS: call->done() follows. Errors: -EINVAL (the guest's doing), -ENOENT (nothing has that id),
	 * -ENOMEM, -EOPNOTSUPP (this renderer cannot), -ENODEV (lost). A renderer that has too many calls in progress gives -ENOMEM
	 * at once: the call may be made again when others are done. Not so DETACH_BACKING, UNREF, CTX_DESTROY and RESET, whose
	 * caller takes the renderer at its word: whatever the answer is to these, what they end is over when they are done. There
	 * it waits for room, as wait() does. */
	int (*call)(struct vtr_renderer *renderer, struct vtr_render_call *call);
	/* Waits until call, which is in progress, is done; a renderer that does not answer in time is lost: so long as one turn of
	 * the loop lasts there is one time for all waiting. NULL where no call ever is in progress. */
	void (*wait)(struct vtr_renderer *renderer, struct vtr_render_call *call);
	/* The capset's data, size bytes (at most its max_size), zeroed before; constant, never asks another process. */
	void (*fill_capset)(struct vtr_renderer *renderer, uint32_t id, uint32_t version, void *data, uint32_t size);
	/* As vtr_renderer_pid(). NULL: it runs in this process. */
	int (*pid)(const struct vtr_renderer *renderer);
	void (*destroy)(struct vtr_renderer *renderer);
};

enum { VTR_MAX_CAPSETS = 8 };

struct vtr_renderer {
	const struct vtr_renderer_impl *impl;
	const struct vtr_renderer_listener *listener; /* NULL: nobody listens */
	void *listener_data;
	struct vtr_capset capsets[VTR_MAX_CAPSETS]; /* constant */
	uint32_t n_capsets;
	bool maps_blobs;   /* EXPORT_BLOB can succeed on this machine */
	void *egl_display; /* whose textures EXPORT gives; NULL: it gives none */
	char description[128];
};

static inline int vtr_renderer_call(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	int code = renderer->impl->call(renderer, call);

	if (code != -EINPROGRESS) /* it may have one by now, for its done() */
		call->code = code;
	return code;
}

/* The same, and done when it returns: done() is not called. */
int vtr_renderer_call_wait(struct vtr_renderer *renderer, struct vtr_render_call *call);

void vtr_renderer_set_listener(struct vtr_renderer *renderer, const struct vtr_renderer_listener *listener, void *data);

#endif
