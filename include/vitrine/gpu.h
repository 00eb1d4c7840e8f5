/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_GPU_H
#define VITRINE_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/buffer.h>
#include <vitrine/display.h>
#include <vitrine/error.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/renderer.h>
#include <vitrine/vfio.h>
#include <vitrine/virtio.h>

/*
 * The virtio-gpu device model (virtio 1.3, 5.7): resources, scanouts, cursor, fences. No sockets, no windows: it reads queues and
 * memory, and gives frames to outputs. Scanout i is shown by output i. Device thread only.
 */
struct vtr_gpu;

struct vtr_gpu_options {
	uint64_t max_hostmem;             /* bytes of host memory for 2D and 3D resources; 0: VTR_DEFAULT_MAX_HOSTMEM */
	enum vtr_path force_path;         /* only this rung; VTR_PATH_NONE: the best there is */
	bool no_blob;                     /* do not offer RESOURCE_BLOB: for guests and tests of the 2D path */
	struct vtr_vfio_devices *devices; /* assigned to the guest: dmabufs are made of their memory; NULL: none */
	struct vtr_renderer *renderer;    /* offers VIRGL and CONTEXT_INIT; not owned, destroyed after the device; NULL: no 3D */
};

/* All arguments are used, not owned, and must outlive the device. NULL when out of memory or fds. */
VTR_API struct vtr_gpu *vtr_gpu_create(struct vtr_loop *loop, struct vtr_memory *memory, struct vtr_outputs *outputs,
                                       const struct vtr_gpu_options *options);
VTR_API void vtr_gpu_destroy(struct vtr_gpu *gpu);                     /* NULL is fine */
VTR_API struct vtr_virtio_device *vtr_gpu_virtio(struct vtr_gpu *gpu); /* owned by gpu */

/* Devices were added to the list of the options or removed from it, or a BAR moved: what was made of them is made again, what could
 * not be made is tried again, and the scanouts are presented again, from the loop. Before a device is destroyed, so that nothing
 * made of it is left. */
VTR_API void vtr_gpu_devices_changed(struct vtr_gpu *gpu);

/* Status of one scanout, for people and programs. Strings are valid until the next call into gpu. */
struct vtr_path_refusal {
	enum vtr_path path;
	char reason[216];
};

struct vtr_scanout_status {
	uint32_t id;
	const char *name;    /* the output's */
	const char *display; /* "headless", ... */
	bool enabled;        /* the guest shows something */
	bool frozen;         /* its memory is not there; the last picture stays */
	bool revoked;        /* likewise, after it was there: taken back by the guest, the VMM or the device for the time being */
	uint32_t width, height;
	uint32_t format;   /* DRM fourcc, 0 when disabled */
	uint32_t resource; /* guest's resource id, 0 when disabled */
	enum vtr_path path;
	size_t n_why_not; /* better paths that were refused, best first */
	struct vtr_path_refusal why_not[VTR_PATH_COUNT];
	struct vtr_error no_pixels; /* there is a path, but no copy of the picture for who needs one: why; owner NONE: there is */
	uint64_t frames;            /* flushes shown or dropped since the device was created */
	uint64_t dropped;           /* of these, never shown */
	uint64_t timeouts;          /* flushes completed because the display did not answer in time */
	uint64_t bytes_copied;      /* by the CPU on the way to the display, 2D transfers included */
	uint64_t cpu_ns;            /* CPU time of the device thread for its frames, 2D transfers included */
	uint64_t present_p50_us, present_p99_us; /* flush to presented, of the last 1024 frames; 0 without samples */
};

/* Returns false when there is no such scanout. */
VTR_API bool vtr_gpu_scanout_status(struct vtr_gpu *gpu, uint32_t scanout, struct vtr_scanout_status *status);

struct vtr_gpu_status {
	uint32_t n_scanouts;
	uint32_t resources; /* alive */
	uint64_t entries;   /* mem entries they hold */
	uint64_t hostmem;   /* bytes of host memory they hold, of 3D ones as estimated */
	uint64_t commands;  /* answered */
	uint64_t errors;    /* answered with an error response */

	const char *renderer;   /* vtr_renderer_description(); NULL: no 3D */
	uint32_t contexts;      /* 3D, alive or lost with their renderer and not destroyed yet */
	uint32_t resources_3d;  /* of resources: what the renderer draws into, or reads */
	uint32_t renderer_lost; /* so often, */
	const char *lost_why;   /* the last time because of this; "" */
};
VTR_API void vtr_gpu_status(const struct vtr_gpu *gpu, struct vtr_gpu_status *status);

/* What a scanout shows as one image in memory, for an embedding VMM that draws its console with pixman or encodes frames. */
struct vtr_scanout_view {
	const uint8_t *data;    /* the picture's first byte */
	uint32_t width, height; /* pixels */
	uint32_t stride;        /* bytes */
	uint32_t format;        /* DRM fourcc */
};

/* The pages of the guest's memory side by side, without a copy where they can be mapped so; made at the first call and kept with
 * the resource. What the guest draws shows at once, flushed or not. Valid until the next call of any function of the library on the
 * device thread: when the memory goes, so does the view, before the VMM's unmapping is answered; when it comes back, so does the
 * view. 0, or -errno with *error (may be NULL): -ENOENT (no such scanout, or the guest shows nothing), REVOKED EFAULT (its memory
 * is not there now), UNSUPPORTED EOPNOTSUPP (memory that came without a mappable fd), or an error of vtr_view_create().
 *
 * Of what a renderer drew it is a copy, as of the last flush: what was flushed since the last call is read back, which is waited
 * for. HOST when that fails. */
VTR_API int vtr_gpu_scanout_view(struct vtr_gpu *gpu, uint32_t scanout, struct vtr_scanout_view *view, struct vtr_error *error);

/* Called on the device thread after a scanout's frame count changed (a frame was shown or dropped). One listener; NULL removes. */
typedef void (*vtr_gpu_frame_func)(uint32_t scanout, void *data);
VTR_API void vtr_gpu_set_frame_listener(struct vtr_gpu *gpu, vtr_gpu_frame_func func, void *data);

/* EDID 1.4 of an output: 128 bytes, or 256 with a CTA or DisplayID extension where the mode does not fit a detailed timing.
 * name: at most 13 characters are used. Returns the size in bytes. (VESA E-EDID 1.4) */
VTR_API size_t vtr_edid_generate(const struct vtr_mode *mode, const char *name, uint32_t serial, uint8_t edid[256]);

#endif
