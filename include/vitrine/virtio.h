/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_VIRTIO_H
#define VITRINE_VIRTIO_H

#include <stdint.h>

#include <vitrine/api.h>

/* A virtio device without a transport: what vtr_gpu_virtio() returns and the transports take. Opaque outside the library. */
struct vtr_virtio_device;

VTR_API uint16_t vtr_virtio_device_id(const struct vtr_virtio_device *device);       /* virtio 1.3, 5: 16 is a GPU device */
VTR_API uint64_t vtr_virtio_device_features(const struct vtr_virtio_device *device); /* offered */
VTR_API uint64_t vtr_virtio_driver_features(const struct vtr_virtio_device *device); /* accepted; 0 before FEATURES_OK */
VTR_API uint8_t vtr_virtio_status(const struct vtr_virtio_device *device);           /* virtio 1.3, 2.1 */

/* The name of a feature bit of device type id ("EDID", "RESOURCE_BLOB", "VERSION_1", ...), or NULL when it has none. */
VTR_API const char *vtr_virtio_feature_name(uint16_t id, unsigned bit);

#endif
