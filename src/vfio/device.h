/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_DEVICE_H
#define VTR_VFIO_DEVICE_H

#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/vfio.h>

#include "dmabuf/udmabuf.h"
#include "vfio/backend.h"

/* Between the files of this room. */

enum { VTR_VFIO_NAME = 64 };
#define VTR_VFIO_UNKNOWN "VFIO device" // the name of one that the kernel does not tell the name of

struct vtr_vfio_mapping {
	uintptr_t host;
	uint64_t size;
	uint32_t bar;
	uint64_t offset;
};

struct vtr_vfio_device {
	struct vtr_vfio_backend *backend; // owned
	char name[VTR_VFIO_NAME];
	uint32_t capabilities;
	struct vtr_error no_dmabuf;             // why neither VTR_VFIO_DMA_BUF nor VTR_VFIO_UDMABUF is there
	const struct vtr_udmabuf_host *udmabuf; // with VTR_VFIO_UDMABUF: who makes them; not owned
	struct vtr_vfio_region regions[VTR_VFIO_BARS];
	uint64_t config_start, config_size;                      // in the device's file; size 0: cannot be read
	struct vtr_vfio_mapping mappings[VTR_MAX_VFIO_MAPPINGS]; // by host address
	size_t n_mappings;

	/* map.c: */
	struct vtr_memory_file **maps[VTR_VFIO_BARS]; // of each area, made when it is needed; owned
	uint64_t placed[VTR_VFIO_BARS];               // where the memory map was last told that the BARs are
	struct vtr_log_limit log;
};

struct vtr_vfio_devices {
	struct vtr_vfio_device *items[VTR_MAX_VFIO_DEVICES]; // owned
	size_t count;
};

/* device.c: as vtr_vfio_device_create(), on any backend (taken, also on failure). name is copied; NULL when nobody knows it. */
struct vtr_vfio_device *vtr_vfio_device_attach(struct vtr_vfio_backend *backend, const char *name, struct vtr_error *error);
/* device.c: sets or clears VTR_VFIO_UDMABUF by who makes udmabufs; host NULL: nobody, for this reason. */
void vtr_vfio_device_set_udmabuf(struct vtr_vfio_device *device, const struct vtr_udmabuf_host *host,
                                 const struct vtr_error *reason);
/* device.c: whether the device answers and decodes its memory now. */
bool vtr_vfio_device_decodes(struct vtr_vfio_device *device);

/* region_info.c: reads what VFIO_DEVICE_GET_REGION_INFO says about region index. *region is zeroed or complete; areas are
 * allocated. *start, *size: of the region in the device's file, also for what is not memory. 0, -ENOMEM, -EPROTO (an answer that
 * contradicts itself), or the backend's error. */
int vtr_vfio_region_read(struct vtr_vfio_backend *backend, uint32_t index, struct vtr_vfio_region *region);
/* region_info.c: the mappable part that holds all of [offset, offset + length). False when there is none. */
bool vtr_vfio_find_area(const struct vtr_vfio_region *region, uint64_t offset, uint64_t length, size_t *area);

/* bars.c: decodes the first VTR_VFIO_HEADER bytes of configuration space into address and decoded of the regions; true when one
 * changed. */
enum { VTR_VFIO_HEADER = 64 };
bool vtr_vfio_decode_bars(const uint8_t header[VTR_VFIO_HEADER], struct vtr_vfio_region regions[VTR_VFIO_BARS]);
/* bars.c: no BAR answers any more; true when one did. */
bool vtr_vfio_forget_bars(struct vtr_vfio_region regions[VTR_VFIO_BARS]);

/* devices.c: the place of a host address in a mapping; of a guest address, decoded or not. False when there is none. */
bool vtr_vfio_find_host(const struct vtr_vfio_devices *devices, uintptr_t host, struct vtr_vfio_place *place);
bool vtr_vfio_find_address(const struct vtr_vfio_devices *devices, uint64_t address, bool decoded, struct vtr_vfio_place *place);

#endif
