/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_COMMAND_3D_H
#define VTR_GUEST_COMMAND_3D_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/machine.h"
#include "guest/virgl_stream.h"

/* The commands of contexts (virtio 1.3, 5.7.6.8, "3D mode"), as command.h has the others. */

/* *info: filled in where the answer is OK_CAPSET_INFO. */
uint32_t vtr_command_capset_info(struct vtr_guest *guest, uint32_t index, struct virtio_gpu_resp_capset_info *info);
/* size bytes of the capset to data, which the device did not write are 0; *written: those that it did. */
uint32_t vtr_command_capset(struct vtr_guest *guest, uint32_t id, uint32_t version, void *data, size_t size, size_t *written);

/* init: context_init. */
uint32_t vtr_command_ctx_create(struct vtr_guest *guest, uint32_t ctx, uint32_t init, const char *name);
uint32_t vtr_command_ctx_destroy(struct vtr_guest *guest, uint32_t ctx);
uint32_t vtr_command_ctx_attach(struct vtr_guest *guest, uint32_t ctx, uint32_t resource);
uint32_t vtr_command_ctx_detach(struct vtr_guest *guest, uint32_t ctx, uint32_t resource);

/* What RESOURCE_CREATE_3D says; depth and array_size are 1 where they are 0 here. */
struct vtr_texture {
	uint32_t target, format, bind, width, height, depth, array_size, last_level, nr_samples, flags;
};
uint32_t vtr_command_create_3d(struct vtr_guest *guest, uint32_t resource, const struct vtr_texture *texture);

/* Words as they are. */
uint32_t vtr_command_create_3d_raw(struct vtr_guest *guest, const struct virtio_gpu_resource_create_3d *request);

struct vtr_transfer {
	struct virtio_gpu_box box;
	uint64_t offset;
	uint32_t level, stride, layer_stride;
};
/* With a fence: when it is answered it is done. ctx 0: none. */
uint32_t vtr_command_transfer_to_host_3d(struct vtr_guest *guest, uint32_t ctx, uint32_t resource,
                                         const struct vtr_transfer *transfer);
uint32_t vtr_command_transfer_from_host_3d(struct vtr_guest *guest, uint32_t ctx, uint32_t resource,
                                           const struct vtr_transfer *transfer);

/* With a fence. */
uint32_t vtr_command_submit(struct vtr_guest *guest, uint32_t ctx, const void *stream, size_t size);
uint32_t vtr_command_submit_stream(struct vtr_guest *guest, uint32_t ctx, const struct vtr_virgl_stream *stream);

/* Writes the request to buffer, which has room for the header and the stream; what follows is posted as any. Returns its size. */
size_t vtr_command_pack_submit(void *buffer, const struct virtio_gpu_cmd_submit *header, const void *stream, size_t size);

#endif
