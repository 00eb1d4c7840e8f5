/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_MAP_H
#define VTR_VFIO_MAP_H

#include <vitrine/memory.h>

#include "vfio/device.h"

/* Reads where the BARs of the devices are, and makes the map look accordingly. gone: a device has left the list since the last
 * time. True when the map has changed, or a BAR. */
bool vtr_vfio_map_update(struct vtr_vfio_devices *devices, struct vtr_memory *memory, bool gone);

#endif
