/* SPDX-License-Identifier: MIT */
/*
 * The virtio-gpu device: glue between the virtio core, the memory map, and the outputs. Everything runs on the device thread; the
 * outputs' events arrive through their file descriptor.
 */
#include "gpu/gpu.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

static const uint16_t queue_sizes[VTR_GPU_QUEUES] = { [VTR_GPU_CONTROLQ] = 256, [VTR_GPU_CURSORQ] = 64 };

/* ---- what the virtio core asks ---- */

static uint64_t gpu_features(struct vtr_virtio_device *device)
{
	uint64_t features = UINT64_C(1) << VIRTIO_GPU_F_EDID | UINT64_C(1) << VIRTIO_GPU_F_RESOURCE_UUID;

	const struct vtr_gpu_options *options = &vtr_gpu_from_device(device)->options;

	if (!options->no_blob)
		features |= UINT64_C(1) << VIRTIO_GPU_F_RESOURCE_BLOB;
	if (options->renderer)
		features |= UINT64_C(1) << VIRTIO_GPU_F_VIRGL | UINT64_C(1) << VIRTIO_GPU_F_CONTEXT_INIT;
	return features;
}

static void gpu_config_read(struct vtr_virtio_device *device, uint32_t offset, void *buffer, uint32_t length)
{
	struct vtr_gpu *gpu = vtr_gpu_from_device(device);

	memcpy(buffer, (const uint8_t *)&gpu->config + offset, length);
}

/* Only events_clear can be written: it clears those bits of events_read and reads as 0 (virtio 1.3, 5.7.4). A vhost-user front-end
 * writes all of the structure to write that. */
static void gpu_config_write(struct vtr_virtio_device *device, uint32_t offset, const void *buffer, uint32_t length)
{
	struct vtr_gpu *gpu = vtr_gpu_from_device(device);
	const uint32_t field = offsetof(struct virtio_gpu_config, events_clear);
	uint32_t clear;

	if (offset > field || offset + length < field + sizeof(clear))
		return;
	memcpy(&clear, (const uint8_t *)buffer + (field - offset), sizeof(clear));
	gpu->config.base.events_read &= ~clear;
}

static void gpu_notify(struct vtr_virtio_device *device, unsigned queue)
{
	vtr_gpu_process_queue(vtr_gpu_from_device(device), queue);
}

static void gpu_queue_reset(struct vtr_virtio_device *device, unsigned queue)
{
	struct vtr_gpu *gpu = vtr_gpu_from_device(device);

	vtr_rendering_drain(gpu, queue, false);
	vtr_fences_forget(gpu, queue);
	if (queue != VTR_GPU_CONTROLQ)
		return;
	vtr_flush_forget_ticks(gpu);
	vtr_questions_forget_all(gpu);
	vtr_gpu_forget_incoming(gpu);
}

static void gpu_drain(struct vtr_virtio_device *device, unsigned queue)
{
	struct vtr_gpu *gpu = vtr_gpu_from_device(device);

	vtr_rendering_drain(gpu, queue, true);
	vtr_fences_complete_all(gpu);
}

static void reset_queues(struct vtr_virtio_device *device)
{
	for (unsigned queue = 0; queue < VTR_GPU_QUEUES; queue++)
		gpu_queue_reset(device, queue);
}

static void stop_saving(struct vtr_gpu *gpu)
{
	vtr_saved_destroy(gpu->saved);
	gpu->saved = NULL;
}

static int gpu_save(struct vtr_virtio_device *device, struct vtr_saved_memory *memory, bool restore)
{
	struct vtr_gpu *gpu = vtr_gpu_from_device(device);

	assert(!gpu->saved);
	gpu->saved = restore ? vtr_saved_restore(gpu, memory) : vtr_saved_create(memory);
	if (!gpu->saved)
		return -errno;
	if (restore) {
		/* The guest may have been told of a change and not have asked, and the monitors are not what they were. */
		gpu->config.base.events_read |= VIRTIO_GPU_EVENT_DISPLAY;
		vtr_virtio_config_changed(device);
	}
	return 0;
}

static int gpu_export_object(struct vtr_virtio_device *device, const uint8_t uuid[16])
{
	return vtr_shared_export(vtr_gpu_from_device(device), uuid);
}

static uint64_t gpu_shm_size(const struct vtr_virtio_device *device, uint8_t shmid)
{
	const struct vtr_gpu *gpu = (const struct vtr_gpu *)((const char *)device - offsetof(struct vtr_gpu, base));

	return shmid == VIRTIO_GPU_SHM_ID_HOST_VISIBLE ? vtr_hostmem_size(gpu) : 0;
}

static void gpu_reset(struct vtr_virtio_device *device)
{
	struct vtr_gpu *gpu = vtr_gpu_from_device(device);

	stop_saving(gpu);
	reset_queues(device);
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		vtr_scanout_disable(gpu, &gpu->scanouts[i]);
		vtr_output_set_cursor(gpu->scanouts[i].output, NULL, 0, 0);
	}
	vtr_hostmem_reset(gpu);
	/* the renderer lets go of the guest's memory first */
	vtr_contexts_destroy_all(gpu);
	vtr_rendering_reset(gpu);
	vtr_resources_left(gpu);
	vtr_resource_destroy_all(gpu);
	gpu->config.base.events_read = 0;
}

/* Nobody has switched the monitors off: they go on showing what was there last. */
static void gpu_abandoned(struct vtr_virtio_device *device)
{
	struct vtr_gpu *gpu = vtr_gpu_from_device(device);

	stop_saving(gpu);
	reset_queues(device);
	vtr_hostmem_reset(gpu);
	vtr_contexts_destroy_all(gpu);
	vtr_resources_abandon(gpu);
	gpu->config.base.events_read = 0;
}

static const struct vtr_virtio_device_impl device_impl = {
	.features = gpu_features,
	.config_read = gpu_config_read,
	.config_write = gpu_config_write,
	.notify = gpu_notify,
	.queue_reset = gpu_queue_reset,
	.drain = gpu_drain,
	.export_object = gpu_export_object,
	.shm_size = gpu_shm_size,
	.reset = gpu_reset,
	.saved_size = vtr_saved_size,
	.save = gpu_save,
	.abandoned = gpu_abandoned,
};

/* ---- what happens around it ---- */

static void handle_event(struct vtr_gpu *gpu, const struct vtr_event *event)
{
	if (event->output >= gpu->n_scanouts)
		return;
	struct vtr_scanout *scanout = &gpu->scanouts[event->output];

	switch (event->type) {
	case VTR_EVENT_FRAME_DONE:
		vtr_scanout_frame_done(gpu, scanout, event);
		break;
	case VTR_EVENT_FRAME_NEEDED:
		vtr_scanout_present(gpu, scanout, NULL, 0);
		break;
	case VTR_EVENT_IMPORT_FAILED:
		vtr_scanout_import_failed(gpu, scanout, event);
		break;
	case VTR_EVENT_MODE_CHANGED:
		gpu->config.base.events_read |= VIRTIO_GPU_EVENT_DISPLAY;
		vtr_virtio_config_changed(&gpu->base);
		break;
	case VTR_EVENT_ANSWERED:
		vtr_questions_answered(gpu, scanout);
		break;
	case VTR_EVENT_DISPLAY_CHANGED:
		vtr_scanout_display_changed(gpu, scanout);
		break;
	}
}

static void output_events(int fd, uint32_t events, void *data)
{
	struct vtr_gpu *gpu = data;
	struct vtr_event event;

	while (vtr_outputs_next_event(gpu->outputs, &event))
		handle_event(gpu, &event);
}

static struct vtr_gpu *gpu_from_listener(struct vtr_memory_listener *listener)
{
	return (struct vtr_gpu *)((char *)listener - offsetof(struct vtr_gpu, memory_listener));
}

static void region_removing(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	vtr_resources_region_removing(gpu_from_listener(listener), region);
}

static void region_added(struct vtr_memory_listener *listener, struct vtr_region *region)
{
	vtr_resources_region_added(gpu_from_listener(listener));
}

static void present_again(void *data)
{
	vtr_scanouts_present_again(data);
}

/* ---- life ---- */

struct vtr_gpu *vtr_gpu_create(struct vtr_loop *loop, struct vtr_memory *memory, struct vtr_outputs *outputs,
                               const struct vtr_gpu_options *options)
{
	struct vtr_gpu *gpu = calloc(1, sizeof(*gpu));

	if (!gpu)
		return NULL;
	gpu->options = *options;
	if (!gpu->options.max_hostmem)
		gpu->options.max_hostmem = VTR_DEFAULT_MAX_HOSTMEM;
	gpu->now_ns = vtr_now_ns;
	gpu->outputs = outputs;
	gpu->n_scanouts = (uint32_t)vtr_outputs_count(outputs);
	gpu->config.base.num_scanouts = gpu->n_scanouts;
	gpu->config.base.num_capsets = gpu->options.renderer ? gpu->options.renderer->n_capsets : 0;
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		vtr_scanout_init(&gpu->scanouts[i], i, vtr_outputs_get(outputs, i));
	if (vtr_virtio_device_init(&gpu->base, &device_impl, 16, VTR_GPU_QUEUES, queue_sizes, sizeof(gpu->config), memory, loop) <
	    0)
		goto free_gpu;
	if (vtr_fences_init(gpu) < 0)
		goto finish_device;
	if (vtr_rendering_init(gpu) < 0)
		goto finish_fences;
	if (vtr_questions_init(gpu) < 0)
		goto finish_rendering;
	gpu->output_events = vtr_loop_add_fd(loop, vtr_outputs_event_fd(outputs), EPOLLIN, output_events, gpu);
	if (!gpu->output_events)
		goto finish_questions;
	gpu->again = vtr_loop_add_event(loop, present_again, gpu);
	if (!gpu->again)
		goto remove_output_events;
	gpu->memory_listener = (struct vtr_memory_listener){ .removing = region_removing, .added = region_added };
	vtr_memory_add_listener(memory, &gpu->memory_listener);
	return gpu;
remove_output_events:
	vtr_source_remove(gpu->output_events);
finish_questions:
	vtr_questions_finish(gpu);
finish_rendering:
	vtr_rendering_finish(gpu);
finish_fences:
	vtr_fences_finish(gpu);
finish_device:
	vtr_virtio_device_finish(&gpu->base);
free_gpu:
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		vtr_scanout_finish(&gpu->scanouts[i]);
	free(gpu);
	return NULL;
}

void vtr_gpu_destroy(struct vtr_gpu *gpu)
{
	if (!gpu)
		return;
	gpu_reset(&gpu->base);
	vtr_memory_remove_listener(gpu->base.memory, &gpu->memory_listener);
	vtr_source_remove(gpu->again);
	vtr_source_remove(gpu->output_events);
	vtr_questions_finish(gpu);
	vtr_hostmem_finish(gpu);
	vtr_rendering_finish(gpu);
	vtr_fences_finish(gpu);
	vtr_virtio_device_finish(&gpu->base);
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		vtr_scanout_finish(&gpu->scanouts[i]);
	free(gpu);
}

struct vtr_virtio_device *vtr_gpu_virtio(struct vtr_gpu *gpu)
{
	return &gpu->base;
}

void vtr_gpu_devices_changed(struct vtr_gpu *gpu)
{
	vtr_resources_devices_changed(gpu);
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		vtr_imports_forget(&gpu->scanouts[i].imports);
	vtr_scanouts_present_later(gpu);
}

void vtr_gpu_set_frame_listener(struct vtr_gpu *gpu, vtr_gpu_frame_func func, void *data)
{
	gpu->frame_func = func;
	gpu->frame_data = data;
}
