/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_COMMAND_H
#define VTR_GPU_COMMAND_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/device.h"

struct vtr_gpu;

enum { VTR_GPU_CONTROLQ, VTR_GPU_CURSORQ, VTR_GPU_QUEUES };

/*
 * One request of the guest, decoded once: `command` is a copy whose size was checked, so handlers see values that cannot change,
 * and `response` is what goes back. Handlers return the response type; command.c writes it, exactly once.
 */
struct vtr_gpu_request {
	unsigned queue;
	struct vtr_chain
		*chain;   /* NULL once somebody else answers: vtr_gpu_take_chain(); or when it is run again: vtr_gpu_run_again() */
	const char *name; /* of the command */
	uint32_t response_size; /* of an answer without an error */
	bool resumed;           /* it has waited: vtr_gpu_resume() */
	bool draws;             /* its fence completes when the renderer has drawn what it asked for */
	uint64_t began_ns;      /* a flush: when it came */
	void *answer; /* in the place of response, for one that has no room there: malloc'ed, response_size bytes; or NULL */
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_resource_create_2d create_2d;
		struct virtio_gpu_resource_unref unref;
		struct virtio_gpu_set_scanout set_scanout;
		struct virtio_gpu_resource_flush flush;
		struct virtio_gpu_transfer_to_host_2d transfer;
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_resource_detach_backing detach;
		struct virtio_gpu_cmd_get_edid get_edid;
		struct virtio_gpu_resource_assign_uuid assign_uuid;
		struct virtio_gpu_resource_create_blob create_blob;
		struct virtio_gpu_set_scanout_blob set_scanout_blob;
		struct virtio_gpu_update_cursor cursor;
		struct virtio_gpu_get_capset_info get_capset_info;
		struct virtio_gpu_get_capset get_capset;
		struct virtio_gpu_ctx_create ctx_create;
		struct virtio_gpu_ctx_resource ctx_resource;
		struct virtio_gpu_resource_create_3d create_3d;
		struct virtio_gpu_transfer_host_3d transfer_3d;
		struct virtio_gpu_cmd_submit submit;
		struct virtio_gpu_resource_map_blob map_blob;
		struct virtio_gpu_resource_unmap_blob unmap_blob;
	} command;
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_resp_display_info display_info;
		struct virtio_gpu_resp_edid edid;
		struct virtio_gpu_resp_resource_uuid uuid;
		struct virtio_gpu_resp_capset_info capset_info;
		struct virtio_gpu_resp_map_info map_info;
	} response;
};

/* In the place of a response type: guest memory cannot be read just now (vtr_virtqueue_is_transient). The request goes back into
 * its queue and is run again from its beginning, so a handler returns this only while nothing came of it. Where a translation has
 * to come first the queue waits for it (vtr_virtqueue_wait()); or for a kick, after vtr_virtqueue_hold(). */
enum { VTR_GPU_AGAIN = 0 };

/* Mem entries of the control queue's first command, copied out of the request: they wait for their translations, and the command,
 * run again, goes on from there. */
struct vtr_incoming {
	struct vtr_mem_entry *entries; /* NULL: none */
	size_t count;
	struct vtr_spans_cursor asked;
};
void vtr_gpu_forget_incoming(struct vtr_gpu *gpu);

/* Takes all chains of the queue and answers them. */
void vtr_gpu_process_queue(struct vtr_gpu *gpu, unsigned queue);

/* The response header for request, with its fence when it has one (virtio 1.3, 5.7.6.7). */
struct virtio_gpu_ctrl_hdr vtr_gpu_response_header(const struct vtr_gpu_request *request, uint32_t type);

/* Writes size bytes of response into chain and returns it to the guest: vtr_virtio_answer(). */
void vtr_gpu_answer(struct vtr_gpu *gpu, unsigned queue, struct vtr_chain *chain, const void *response, uint32_t size);

/* Answers a request with that type. The chain is the device core's then. */
void vtr_gpu_respond(struct vtr_gpu *gpu, struct vtr_gpu_request *request, uint32_t type);

/* Runs a command that the guest once sent: its row of the table, features included, and the handler. Returns the response type. */
uint32_t vtr_gpu_run_again(struct vtr_gpu *gpu, struct vtr_gpu_request *request);

/* The DRM fourcc of a virtio-gpu format (virtio 1.3, 5.7.6.8), 0 when there is none. */
uint32_t vtr_gpu_format_to_fourcc(uint32_t format);

/* ---- handlers: return VIRTIO_GPU_RESP_* or VTR_GPU_AGAIN ---- */
typedef uint32_t (*vtr_gpu_handler)(struct vtr_gpu *gpu, struct vtr_gpu_request *request);

/* Runs the handler of a request whose chain was taken, and answers it. The chain is the device core's then. */
void vtr_gpu_resume(struct vtr_gpu *gpu, struct vtr_gpu_request *request, vtr_gpu_handler handler);

uint32_t vtr_gpu_get_display_info(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_get_edid(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_set_scanout(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_set_scanout_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_create_2d(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_create_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_unref(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_attach_backing(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_detach_backing(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_assign_uuid(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_transfer_to_host_2d(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_flush(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_update_cursor(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_move_cursor(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
/* 3D */
uint32_t vtr_gpu_get_capset_info(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_get_capset(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_ctx_create(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_ctx_destroy(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_ctx_attach_resource(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_ctx_detach_resource(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_submit_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_create_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_transfer_to_host_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_transfer_from_host_3d(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_map_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request);
uint32_t vtr_gpu_resource_unmap_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request);

#endif
