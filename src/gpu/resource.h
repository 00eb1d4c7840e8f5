/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_RESOURCE_H
#define VTR_GPU_RESOURCE_H

#include <pixman.h>
#include <stdbool.h>
#include <stdint.h>

#include <vitrine/buffer.h>
#include <vitrine/error.h>
#include <vitrine/memory.h>

#include "gpu/candidate.h"

struct vtr_gpu;

/*
 * What is known here of a resource that lives in the renderer, under the same id: of RESOURCE_CREATE_3D, or a blob of the host's.
 * Its pixels are there; `image` of the resource is a copy in host memory, made when somebody needs one (the rung readback, a
 * cursor), and stays when the renderer is lost.
 */
struct vtr_resource_3d {
	uint32_t width, height;        /* of level 0; 0: a blob, of which SET_SCANOUT_BLOB says what it looks like */
	uint32_t format;               /* DRM fourcc, 0: no picture that could be shown */
	bool y_0_top;                  /* VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP: the texture's first row is the picture's bottom one */
	bool lost;                     /* the renderer that had it is gone */
	bool mappable;                 /* a blob of the host's alone, which the guest may have mapped (hostmem.c) */
	bool was_read;                 /* something is in the copy */
	uint64_t bytes;                /* what it is counted as in hostmem */
	pixman_region32_t stale;       /* where the copy is older than what was drawn */
	struct vtr_backoff unreadable; /* it could not be read back */
};

/*
 * A guest resource. Its pixels lie in `pixels`: for a blob the guest's backing itself, for a 2D resource host memory that the
 * guest fills by transfers. What is made of the pixels (dmabuf, view) is made lazily and goes with them.
 */
struct vtr_resource {
	struct vtr_resource *next; /* vtr_resource_table.buckets[] */
	uint32_t id;
	uint64_t size;                   /* blob: bytes of the linear image; 0 for a 2D resource */
	struct vtr_image *image;         /* 2D: host image; 3D: a copy of what was drawn, or NULL; NULL for a blob of the guest's */
	struct vtr_resource_3d *three_d; /* NULL: it is not the renderer's */

	struct vtr_mem_entry *entries; /* the guest's backing as it came, kept to resolve it again; NULL without one */
	size_t n_entries;
	struct vtr_spans backing;      /* entries, resolved; empty while they do not resolve */
	uint64_t generation;           /* of the memory map when resolving was last tried */
	struct vtr_spans_cursor asked; /* behind an IOMMU: how far the entries are there, while they are asked for */

	bool rendered;       /* the renderer has it, under its id: a 3D resource, or one that contexts work with as well */
	bool lent;           /* and its backing: memory that the renderer reads and writes */
	bool missed;         /* the memory went that it was lent, or is not lent yet: it gets that when both have it and room */
	uint64_t twin_bytes; /* 2D, and rendered: what the renderer's copy is counted as in hostmem */

	bool was_resolved; /* at least once: memory that is missing now was there */

	unsigned memory;                                 /* VTR_IN_*: where the pixels are */
	struct vtr_candidate candidates[VTR_CANDIDATES]; /* dmabufs of the pixels */
	struct vtr_view *view;                           /* linear view of the pixels, or NULL */

	uint32_t shown; /* bit per scanout */
	bool unfilled;  /* restored, and its image has nothing yet: it is filled from the backing when that is there */
	uint32_t saved; /* its slot in vtr_gpu.saved, + 1; 0: none */
	bool has_uuid;
	bool announced; /* under its UUID, to other devices */
	uint8_t uuid[16];
};

/* Its pixels are the guest's backing. */
static inline bool vtr_resource_is_blob(const struct vtr_resource *resource)
{
	return !resource->image && !resource->three_d;
}

enum { VTR_RESOURCE_BUCKETS = 1024 };

struct vtr_resource_table {
	struct vtr_resource *buckets[VTR_RESOURCE_BUCKETS];
	uint32_t count;
	uint64_t entries; /* of all resources */
	uint64_t spans;   /* that they resolve to; may be more, where one entry lies in many regions */
	uint64_t hostmem; /* bytes of all 2D images, and of what the renderer has */
	uint32_t missed;  /* how many `missed` resources */
	uint32_t images;  /* how many of them, */
	uint32_t buffers; /* and how many dmabufs: each holds an fd */
};

struct vtr_resource *vtr_resource_find(struct vtr_gpu *gpu, uint32_t id); /* NULL: no such id */

/* A new resource's id: not 0, not taken, and room for one more. The response type; that there is no room is logged. */
uint32_t vtr_resource_check_new_id(struct vtr_gpu *gpu, uint32_t id);
/* Room for so many more bytes of host memory? False after a message what to raise. */
bool vtr_resource_hostmem_fits(struct vtr_gpu *gpu, uint64_t bytes);
/* Creates a resource; the id was checked to be free. Return NULL when out of memory. */
struct vtr_resource *vtr_resource_create_blob(struct vtr_gpu *gpu, uint32_t id, uint64_t size);
struct vtr_resource *vtr_resource_create_2d(struct vtr_gpu *gpu, uint32_t id, uint32_t width, uint32_t height, uint32_t format);
/* three_d->bytes are counted in hostmem. It is not the renderer's yet. */
struct vtr_resource *vtr_resource_create_3d(struct vtr_gpu *gpu, uint32_t id, const struct vtr_resource_3d *three_d);

/* Frees it; scanouts that show it must have been disabled. */
void vtr_resource_destroy(struct vtr_gpu *gpu, struct vtr_resource *resource);
void vtr_resource_destroy_all(struct vtr_gpu *gpu);

/* The VMM is gone, its memory is about to go: nothing is left but what names the pictures that stay. Scanouts freeze first. */
void vtr_resources_abandon(struct vtr_gpu *gpu);

/* True when so many more spans are not too many. */
bool vtr_resource_spans_fit(const struct vtr_gpu *gpu, const struct vtr_spans *spans);

/* Takes entries (malloc'ed) as the backing; *spans is what they resolved to and is taken too, or empty
 * while the memory is not there. Scanouts that show a blob thaw. */
void vtr_resource_attach(struct vtr_gpu *gpu, struct vtr_resource *resource, struct vtr_mem_entry *entries, size_t n_entries,
                         struct vtr_spans *spans);
/* Forgets the backing. Scanouts that show a blob freeze first. */
void vtr_resource_detach(struct vtr_gpu *gpu, struct vtr_resource *resource);

/* Resolves the backing if it is not and the memory map has changed since the last try; scanouts that show a blob thaw then. ask:
 * behind an IOMMU, asks for what is missing. 0 when it is resolved; -EINPROGRESS when more has to come first; -EFAULT when it
 * cannot be now. */
int vtr_resource_resolve(struct vtr_gpu *gpu, struct vtr_resource *resource, bool ask);

/* For a command that needs the backing: VIRTIO_GPU_RESP_OK_NODATA when it is there, VTR_GPU_AGAIN when the command has to wait for
 * it, or an error. */
uint32_t vtr_resource_await(struct vtr_gpu *gpu, struct vtr_resource *resource, unsigned queue);

/* Where the pixels are; empty when they are nowhere now. */
const struct vtr_spans *vtr_resource_pixels(const struct vtr_resource *resource);

/* A linear view of the pixels, made at the first call and up to date after each; NULL with *error. Valid until the backing changes.
 */
const void *vtr_resource_view(struct vtr_resource *resource, struct vtr_error *error);

/* For the memory listener: a region goes; everything made from it goes first. */
void vtr_resources_region_removing(struct vtr_gpu *gpu, struct vtr_region *region);
/* The assigned devices are others now: dmabufs are made again, or tried again. */
void vtr_resources_devices_changed(struct vtr_gpu *gpu);
/* A region came: backings of resources that are shown, or the renderer's, are tried again. */
void vtr_resources_region_added(struct vtr_gpu *gpu);

#endif
