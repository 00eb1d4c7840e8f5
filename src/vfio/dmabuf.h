/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_DMABUF_H
#define VTR_VFIO_DMABUF_H

#include "vfio/device.h"

/*
 * One dmabuf being made of many pieces: begin, add the pieces in order, end. Private to what makes VFIO dmabufs of something
 * (vfio/dmabuf.c, dmabuf/vfio.c).
 */
struct vtr_vfio_builder {
	struct vfio_device_feature *feature;      // the request, in one allocation
	struct vtr_vfio_feature_dma_buf *dma_buf; // in it: the ranges that were added and merged
	size_t capacity;                          // of ranges
	struct vtr_vfio_device *device;           // of all pieces; NULL before the first
	uint64_t length;                          // of all pieces
	uint64_t page;                            // of the host
	size_t entry;                             // which of the caller's entries is being added, for messages
};

/* For up to count entries. 0 or -errno as vtr_vfio_device_create_dmabuf() says; nothing is held on failure. */
int vtr_vfio_builder_begin(struct vtr_vfio_builder *builder, size_t count, struct vtr_error *error);
/* Adds length bytes of a BAR. An entry may be added in several pieces as long as each continues the one before. 0 or -errno. */
int vtr_vfio_builder_add(struct vtr_vfio_builder *builder, struct vtr_vfio_device *device, uint32_t bar, uint64_t offset,
                         uint64_t length, struct vtr_error *error);
/* Asks the kernel, unless code, the result of adding, is an error: then returns that. Frees the builder. An fd or -errno. */
int vtr_vfio_builder_end(struct vtr_vfio_builder *builder, int code, struct vtr_error *error);

/* Adds length bytes at a guest address; guess is the place of the piece before, all zero at first. 0 or -errno. */
int vtr_vfio_builder_add_address(struct vtr_vfio_builder *builder, const struct vtr_vfio_devices *devices, uint64_t address,
                                 uint64_t length, struct vtr_vfio_place *guess, struct vtr_error *error);

#endif
