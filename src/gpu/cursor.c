/* SPDX-License-Identifier: MIT */
/*
 * The cursor queue: 64x64 images and positions (virtio 1.3, 5.7.6.10). An image is copied when the guest names it. What a renderer
 * drew is read back first: the request is held until that is done, and the queue waits.
 */
#include <drm_fourcc.h>
#include <errno.h>

#include "gpu/gpu.h"

/* Copies the cursor's image, whatever the resource's format is. 0 or -errno. */
static int read_image(struct vtr_gpu *gpu, struct vtr_resource *resource, uint32_t image[VTR_CURSOR_SIZE * VTR_CURSOR_SIZE])
{
	uint32_t format = DRM_FORMAT_ARGB8888; /* a blob has no format: what the Linux driver uses for cursors */
	uint32_t pixels[VTR_CURSOR_SIZE * VTR_CURSOR_SIZE];

	if (resource->image) {
		if (resource->image->width != VTR_CURSOR_SIZE || resource->image->height != VTR_CURSOR_SIZE)
			return -EINVAL;
		format = resource->image->format;
	} else if (resource->three_d || resource->size < sizeof(pixels)) {
		return -EINVAL;
	}
	int error = resource->image ? 0 : vtr_resource_resolve(gpu, resource, true);
	if (error == -EINPROGRESS) {
		vtr_virtqueue_wait(&gpu->base.queues[VTR_GPU_CURSORQ]);
		return error;
	}
	error = vtr_spans_read(vtr_resource_pixels(resource), 0, pixels, sizeof(pixels));
	if (error) {
		vtr_gpu_log_guest(gpu, "cursor resource %u: %s", resource->id, strerror(-error));
		return error;
	}
	return vtr_image_convert(pixels, format, VTR_CURSOR_SIZE * 4, VTR_CURSOR_SIZE, VTR_CURSOR_SIZE, image);
}

static void move(struct vtr_scanout *scanout, const struct virtio_gpu_cursor_pos *pos)
{
	vtr_output_move_cursor(scanout->output, (int32_t)pos->x, (int32_t)pos->y);
}

/* image: NULL hides the cursor. */
static uint32_t show(struct vtr_gpu *gpu, const struct virtio_gpu_update_cursor *command, const uint32_t *image)
{
	struct vtr_scanout *scanout = &gpu->scanouts[command->pos.scanout_id];

	move(scanout, &command->pos);
	vtr_output_set_cursor(scanout->output, image, command->hot_x, command->hot_y);
	vtr_saved_note_cursor(gpu->saved, command);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t show_resource(struct vtr_gpu *gpu, const struct virtio_gpu_update_cursor *command, struct vtr_resource *resource)
{
	uint32_t image[VTR_CURSOR_SIZE * VTR_CURSOR_SIZE];
	int error = read_image(gpu, resource, image);

	if (error)
		return vtr_virtqueue_is_transient(error) ? VTR_GPU_AGAIN : VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	return show(gpu, command, image);
}

/* The renderer has answered; the guest may have destroyed the resource meanwhile. */
static uint32_t was_read(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_render_call *call)
{
	const struct virtio_gpu_update_cursor *command = &request->command.cursor;
	struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);
	bool found = resource && resource->image == call->image;

	vtr_readback_end(gpu, call->image);
	if (call->code)
		return vtr_gpu_render_error(call->code);
	return found ? show_resource(gpu, command, resource) : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

static uint32_t read_back(struct vtr_gpu *gpu, struct vtr_gpu_request *request, struct vtr_resource *resource)
{
	const struct vtr_resource_3d *three_d = resource->three_d;
	struct vtr_error error;

	if (three_d->width != VTR_CURSOR_SIZE || three_d->height != VTR_CURSOR_SIZE || !three_d->format)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER; /* a blob of the host's, too */
	if (three_d->lost)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	struct vtr_image *image = vtr_readback_image(gpu, resource, &error);
	if (!image || !vtr_readback_begin(gpu, image))
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	return vtr_gpu_render(gpu, request,
	                      &(struct vtr_render_call){
				      .args = { .op = VTR_RENDER_READ,
	                                        .resource_id = resource->id,
	                                        .read = { .width = VTR_CURSOR_SIZE, .height = VTR_CURSOR_SIZE } },
				      .image = image,
			      },
	                      was_read);
}

uint32_t vtr_gpu_update_cursor(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_update_cursor *command = &request->command.cursor;

	if (command->pos.scanout_id >= gpu->n_scanouts)
		return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	if (!command->resource_id)
		return show(gpu, command, NULL);
	struct vtr_resource *resource = vtr_resource_find(gpu, command->resource_id);
	if (!resource)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (command->hot_x >= VTR_CURSOR_SIZE || command->hot_y >= VTR_CURSOR_SIZE)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	return resource->three_d ? read_back(gpu, request, resource) : show_resource(gpu, command, resource);
}

uint32_t vtr_gpu_move_cursor(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_cursor_pos *pos = &request->command.cursor.pos;

	if (pos->scanout_id >= gpu->n_scanouts)
		return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	move(&gpu->scanouts[pos->scanout_id], pos);
	vtr_saved_note_cursor(gpu->saved, &request->command.cursor);
	return VIRTIO_GPU_RESP_OK_NODATA;
}
