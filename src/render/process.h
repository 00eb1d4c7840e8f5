/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_PROCESS_H
#define VTR_RENDER_PROCESS_H

#include "render/remote_protocol.h"
#include "transport/message.h"

/*
 * The process that renders: serves the calls that come on its socket with a renderer of its own, until the socket closes.
 */
struct vtr_process;

/* Makes the renderer, once the device has said how. As vtr_virgl_create(). */
typedef struct vtr_renderer *(*vtr_process_create_func)(struct vtr_loop *loop, void *data, struct vtr_error *error);

/* Serves socket (taken) until the device hangs up. The exit status: 0; 1 when there is no renderer or it is lost, or the device
 * does not speak as it should (logged). */
int vtr_process_run(int socket, vtr_process_create_func create, void *data);

/* ---- process_memory.c: files, and what resources have of them ---- */

struct vtr_process_backing {
	struct vtr_process_backing *next; // in its bucket
	uint32_t resource_id;
	struct vtr_spans spans;
};

enum { VTR_PROCESS_BUCKETS = 1024 };

struct vtr_process_memory {
	struct vtr_region *files[VTR_REMOTE_FILES]; // by slot; NULL: none, or it could not be mapped
	struct vtr_process_backing *backings[VTR_PROCESS_BUCKETS];
};

/* fd is taken. A file that cannot be mapped is one that is not there for those who need it. */
void vtr_process_add_file(struct vtr_process_memory *memory, uint32_t slot, int fd, uint64_t size);
void vtr_process_forget_files(struct vtr_process_memory *memory, const uint64_t forget[VTR_REMOTE_FILES / 64]);
/* The resource's memory is these spans from now on; *spans is valid until it is dropped. 0, -EINVAL (not in a file), -ENOMEM. */
int vtr_process_back(struct vtr_process_memory *memory, uint32_t resource_id, const struct vtr_remote_span *from, size_t count,
                     const struct vtr_spans **spans);
void vtr_process_unback(struct vtr_process_memory *memory, uint32_t resource_id); /* it may have none */
void vtr_process_unback_all(struct vtr_process_memory *memory);
/* The image of a READ, over the file in its slot; vtr_spans_finish(&image->pixels) ends it. 0, -EINVAL or -ENOMEM. */
int vtr_process_image(struct vtr_process_memory *memory, const struct vtr_remote_call *call, struct vtr_image *image);
void vtr_process_memory_finish(struct vtr_process_memory *memory);

#endif
