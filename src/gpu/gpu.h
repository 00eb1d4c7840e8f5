/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_GPU_H
#define VTR_GPU_GPU_H

#include <linux/virtio_gpu.h>
#include <string.h>

#include <vitrine/gpu.h>
#include <vitrine/limits.h>
#include <vitrine/log.h>

#include "gpu/command.h"
#include "gpu/context.h"
#include "gpu/fence.h"
#include "gpu/flush.h"
#include "gpu/hostmem.h"
#include "gpu/ladder.h"
#include "gpu/questions.h"
#include "gpu/readback.h"
#include "gpu/rendering.h"
#include "gpu/resource.h"
#include "gpu/resource_3d.h"
#include "gpu/saved.h"
#include "gpu/scanout.h"
#include "gpu/shared.h"
#include "render/image.h"
#include "util/checked.h"
#include "virtio/device.h"

/* The structures of virtio-gpu are little-endian and used as they come. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts need conversions in src/gpu");

/* The configuration space, with what newer kernel headers have at its end: front-ends of vhost-user (QEMU 11.1) read and write all
 * that they know of, whether the feature was offered or not. */
struct vtr_gpu_config {
	struct virtio_gpu_config base;
	uint32_t blob_alignment; /* BLOB_ALIGNMENT is not offered: 0 */
};

/* The device: owns resources, contexts, scanouts and what waits, and hangs between queues and outputs. */
struct vtr_gpu {
	struct vtr_virtio_device base;
	struct vtr_gpu_options options;
	struct vtr_outputs *outputs;
	struct vtr_source *output_events;
	struct vtr_source *again; /* event: vtr_scanouts_present_again() */
	struct vtr_memory_listener memory_listener;
	struct vtr_gpu_config config;

	struct vtr_resource_table resources;
	struct vtr_incoming incoming;
	struct vtr_scanout scanouts[VTR_MAX_SCANOUTS];
	uint32_t n_scanouts;
	struct vtr_fences fences;
	struct vtr_questions questions;
	struct vtr_rendering rendering;
	struct vtr_reading *readings;
	struct vtr_context_table contexts;
	struct vtr_hostmem hostmem;
	struct vtr_saved *saved; /* what a successor has to know; NULL: nobody asked for that */

	uint64_t (*now_ns)(void); /* CLOCK_MONOTONIC for back-offs; tests have a clock of their own */
	vtr_gpu_frame_func frame_func;
	void *frame_data;
	uint64_t commands, errors;
	struct vtr_log_limit guest_log; /* what a guest's mistakes may write, */
	struct vtr_log_limit limit_log; /* and a guest that wants more than it may have */
};

static inline struct vtr_gpu *vtr_gpu_from_device(struct vtr_virtio_device *device)
{
	return (struct vtr_gpu *)((char *)device - offsetof(struct vtr_gpu, base));
}

/* Debug log of a guest's mistake, rate-limited. */
#define vtr_gpu_log_guest(gpu, ...) vtr_log_limited(&(gpu)->guest_log, VTR_LOG_DEBUG, __VA_ARGS__)

/* The guest wants more than it may have. Its driver may not look at the answer (Linux does not at RESOURCE_CREATE_3D's), so that
 * programs break in there and nobody but this log says why. */
#define vtr_gpu_log_limit(gpu, ...) vtr_log_limited(&(gpu)->limit_log, VTR_LOG_WARN, __VA_ARGS__)

#endif
