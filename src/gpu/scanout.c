/* SPDX-License-Identifier: MIT */
/*
 * Scanouts: what the guest shows on which output. A scanout's configuration outlives the memory behind it (the Linux driver
 * detaches and attaches the backing of a live scanout when a device's memory is revoked and restored): while the memory is not
 * there the last picture stays.
 */
#include "gpu/scanout.h"

#include <assert.h>
#include <errno.h>

#include "gpu/gpu.h"

void vtr_scanout_init(struct vtr_scanout *scanout, uint32_t id, struct vtr_output *output)
{
	scanout->id = id;
	scanout->output = output;
	scanout->logged_path = VTR_PATH_COUNT;
	pixman_region32_init(&scanout->unread);
}

void vtr_scanout_finish(struct vtr_scanout *scanout)
{
	pixman_region32_fini(&scanout->unread);
}

void vtr_scanout_all_unread(struct vtr_scanout *scanout)
{
	const struct vtr_scanout_layout *layout = &scanout->layout;

	pixman_region32_fini(&scanout->unread);
	pixman_region32_init_rect(&scanout->unread, 0, 0, layout->width, layout->height);
	vtr_staging_note_damage(scanout->output, &scanout->unread);
}

/* The pixels are others now: they may lie in fewer pieces. What took too long before may do so again. */
static void forget_pieces(struct vtr_scanout *scanout)
{
	if (scanout->fetching.error.owner == VTR_ERROR_GUEST)
		scanout->fetching = (struct vtr_backoff){ 0 };
}

static void unbind(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	vtr_memory_cancel_wait(gpu->base.memory, &scanout->waiter);
	if (scanout->resource)
		scanout->resource->shown &= ~(1u << scanout->id);
	scanout->resource = NULL;
	scanout->revoked = scanout->awaited = scanout->waiting = false;
	scanout->binding++;
}

void vtr_scanout_set(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_resource *resource,
                     const struct vtr_scanout_layout *layout)
{
	unbind(gpu, scanout);
	scanout->resource = resource;
	scanout->layout = *layout;
	resource->shown |= 1u << scanout->id;
	vtr_scanout_all_unread(scanout);
	vtr_readback_all_stale(resource);
	forget_pieces(scanout);
}

void vtr_scanout_disable(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	if (!scanout->resource)
		return;
	unbind(gpu, scanout);
	pixman_region32_clear(&scanout->unread);
	vtr_scanout_present(gpu, scanout, NULL, 0);
}

void vtr_scanout_end_stall(struct vtr_scanout *scanout)
{
	scanout->stalled = false;
	if (scanout->stall_told)
		vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: the display answers again",
		                vtr_output_name(scanout->output));
	scanout->stall_told = false;
}

bool vtr_scanout_frozen(const struct vtr_scanout *scanout)
{
	const struct vtr_resource *resource = scanout->resource;

	if (!resource)
		return false;
	if (resource->three_d)
		return resource->three_d->lost && !vtr_readback_is_there(resource) &&
		       !vtr_candidate_of(resource, VTR_PATH_VIRGL)->buffer;
	return !vtr_resource_pixels(resource)->count || resource->unfilled;
}

bool vtr_scanout_lost(const struct vtr_scanout *scanout)
{
	return scanout->resource && scanout->resource->three_d && scanout->resource->three_d->lost;
}

void vtr_scanout_tell_frozen(const struct vtr_scanout *scanout)
{
	vtr_output_set_frozen(scanout->output, vtr_scanout_frozen(scanout) || scanout->revoked || vtr_scanout_lost(scanout));
}

void vtr_scanouts_tell_frozen(struct vtr_gpu *gpu, const struct vtr_resource *resource)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (gpu->scanouts[i].resource == resource)
			vtr_scanout_tell_frozen(&gpu->scanouts[i]);
}

void vtr_scanouts_thaw(struct vtr_gpu *gpu, const struct vtr_resource *resource)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (gpu->scanouts[i].resource == resource) {
			vtr_scanout_all_unread(&gpu->scanouts[i]);
			vtr_scanout_lift_revoked(&gpu->scanouts[i]);
			forget_pieces(&gpu->scanouts[i]);
			if (gpu->scanouts[i].awaited)
				vtr_scanout_present_restored(gpu, &gpu->scanouts[i]);
		}
}

void vtr_scanout_lift_revoked(struct vtr_scanout *scanout)
{
	vtr_imports_lift_revoked(&scanout->imports);
	vtr_candidates_lift_revoked(scanout->resource);
}

/* The memory that a view is of, or a copy that is up to date; false with *error. */
static bool have_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_error *error)
{
	if (!scanout->resource->three_d) {
		vtr_resource_resolve(gpu, scanout->resource, true);
		return true; /* the view says what is missing */
	}
	if (!vtr_readback_possible(gpu, scanout->resource, true, error))
		return false;
	if (vtr_readback_update_now(gpu, scanout))
		return true;
	vtr_error_set(error, VTR_ERROR_HOST, EIO, "what the renderer drew cannot be read back");
	return false;
}

int vtr_gpu_scanout_view(struct vtr_gpu *gpu, uint32_t id, struct vtr_scanout_view *view, struct vtr_error *error)
{
	struct vtr_scanout *scanout = id < gpu->n_scanouts ? &gpu->scanouts[id] : NULL;
	struct vtr_error failure;

	if (!scanout || !scanout->resource)
		return vtr_error_set(error, VTR_ERROR_GUEST, ENOENT, "the guest shows nothing on scanout %u", id);
	const uint8_t *data = have_pixels(gpu, scanout, &failure) ? vtr_resource_view(scanout->resource, &failure) : NULL;
	if (!data) {
		if (error)
			*error = failure;
		return -failure.code;
	}
	*view = (struct vtr_scanout_view){
		.data = data + scanout->layout.offset,
		.width = scanout->layout.width,
		.height = scanout->layout.height,
		.stride = scanout->layout.stride,
		.format = scanout->layout.format,
	};
	return 0;
}

/* ---- commands ---- */

uint32_t vtr_gpu_get_display_info(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	struct virtio_gpu_resp_display_info *info = &request->response.display_info;
	uint32_t x = 0;

	if (vtr_question_wait(gpu, request, vtr_gpu_get_display_info, UINT32_MAX >> (32 - gpu->n_scanouts)))
		return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
	/* monitors side by side; what is not connected takes no place */
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_mode mode = vtr_output_mode(gpu->scanouts[i].output);

		if (!vtr_output_connected(gpu->scanouts[i].output))
			continue;
		info->pmodes[i].r = (struct virtio_gpu_rect){ .x = x, .width = mode.width, .height = mode.height };
		info->pmodes[i].enabled = 1;
		x += mode.width;
	}
	return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

uint32_t vtr_gpu_get_edid(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	struct virtio_gpu_resp_edid *response = &request->response.edid;
	uint32_t id = request->command.get_edid.scanout;

	static_assert(sizeof(response->edid) == VTR_MAX_EDID, "an EDID of the display fits");
	if (id >= gpu->n_scanouts)
		return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	if (vtr_question_wait(gpu, request, vtr_gpu_get_edid, 1u << id))
		return VIRTIO_GPU_RESP_OK_EDID;
	const struct vtr_output *output = gpu->scanouts[id].output;
	struct vtr_mode mode = vtr_output_mode(output);
	size_t size = vtr_output_edid(output, response->edid);

	if (!size)
		size = vtr_edid_generate(&mode, vtr_output_name(output), id + 1, response->edid);
	response->size = (uint32_t)size;
	return VIRTIO_GPU_RESP_OK_EDID;
}

/* The scanout and resource that a SET_SCANOUT names. Resource id 0 disables the scanout: then, too, *resource is NULL, and the
 * response is the command's. */
static uint32_t begin_set(struct vtr_gpu *gpu, uint32_t scanout_id, uint32_t resource_id, struct vtr_scanout **scanout,
                          struct vtr_resource **resource)
{
	*resource = NULL;
	if (scanout_id >= gpu->n_scanouts)
		return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	*scanout = &gpu->scanouts[scanout_id];
	if (!resource_id) {
		vtr_scanout_disable(gpu, *scanout);
		vtr_saved_note_scanout(gpu->saved, scanout_id, NULL, 0);
		return VIRTIO_GPU_RESP_OK_NODATA;
	}
	*resource = vtr_resource_find(gpu, resource_id);
	return *resource ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

/* True when rect is not empty and lies inside width x height. */
static bool rect_fits(const struct virtio_gpu_rect *rect, uint32_t width, uint32_t height)
{
	return rect->width && rect->height && vtr_range_fits(rect->x, rect->width, width) &&
	       vtr_range_fits(rect->y, rect->height, height);
}

/* The layout of a SET_SCANOUT in the resource's image; for a 3D resource in the one that it would have in memory. False: it has no
 * picture of its own, or not there. */
static bool image_layout(const struct virtio_gpu_set_scanout *command, const struct vtr_resource *resource,
                         struct vtr_scanout_layout *layout)
{
	const struct vtr_resource_3d *three_d = resource->three_d;
	uint32_t width = 0, height = 0, format = 0;

	if (three_d) {
		width = three_d->width;
		height = three_d->height;
		format = three_d->format;
	} else if (resource->image) {
		width = resource->image->width;
		height = resource->image->height;
		format = resource->image->format;
	}
	if (!format || !rect_fits(&command->r, width, height))
		return false;
	*layout = (struct vtr_scanout_layout){
		.width = command->r.width,
		.height = command->r.height,
		.format = format,
		.stride = width * 4,
		.offset = ((uint64_t)command->r.y * width + command->r.x) * 4,
		.x = command->r.x,
		.y = command->r.y,
	};
	return true;
}

/* What the renderer has is gone with this process: a successor has nothing to show there. */
static void note_scanout(struct vtr_gpu *gpu, const struct vtr_scanout *scanout, const struct vtr_resource *resource,
                         const void *command, size_t size)
{
	vtr_saved_note_scanout(gpu->saved, scanout->id, resource->three_d ? NULL : command, size);
}

uint32_t vtr_gpu_set_scanout(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_set_scanout *command = &request->command.set_scanout;
	struct vtr_scanout_layout layout;
	struct vtr_scanout *scanout;
	struct vtr_resource *resource;
	uint32_t response = begin_set(gpu, command->scanout_id, command->resource_id, &scanout, &resource);

	if (!resource)
		return response;
	if (resource->three_d && resource->three_d->lost)
		return VIRTIO_GPU_RESP_ERR_UNSPEC; /* the last picture stays */
	if (!image_layout(command, resource, &layout))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	note_scanout(gpu, scanout, resource, command, sizeof(*command));
	vtr_scanout_set(gpu, scanout, resource, &layout);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Checks the framebuffer of a SET_SCANOUT_BLOB against a blob of size bytes (virtio 1.3, 5.7.6.8). The guest's kernel does not. */
static bool blob_layout(const struct virtio_gpu_set_scanout_blob *command, uint64_t size, struct vtr_scanout_layout *layout)
{
	uint32_t format = vtr_gpu_format_to_fourcc(command->format), stride = command->strides[0];
	uint64_t row = (uint64_t)command->width * 4;

	if (!format || !command->width || !command->height || command->width > VTR_MAX_DIMENSION ||
	    command->height > VTR_MAX_DIMENSION || stride < row || !rect_fits(&command->r, command->width, command->height))
		return false;
	/* at most 2^14 rows of 2^32 bytes: no sum below can overflow */
	if (!vtr_range_fits(command->offsets[0], (uint64_t)stride * (command->height - 1) + row, size))
		return false;
	*layout = (struct vtr_scanout_layout){
		.width = command->r.width,
		.height = command->r.height,
		.format = format,
		.stride = stride,
		.offset = command->offsets[0] + (uint64_t)command->r.y * stride + (uint64_t)command->r.x * 4,
		.x = command->r.x,
		.y = command->r.y,
	};
	return true;
}

uint32_t vtr_gpu_set_scanout_blob(struct vtr_gpu *gpu, struct vtr_gpu_request *request)
{
	const struct virtio_gpu_set_scanout_blob *command = &request->command.set_scanout_blob;
	struct vtr_scanout_layout layout;
	struct vtr_scanout *scanout;
	struct vtr_resource *resource;
	uint32_t response = begin_set(gpu, command->scanout_id, command->resource_id, &scanout, &resource);

	if (!resource)
		return response;
	if (resource->three_d && resource->three_d->lost)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!resource->size || !blob_layout(command, resource->size, &layout))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	note_scanout(gpu, scanout, resource, command, sizeof(*command));
	vtr_scanout_set(gpu, scanout, resource, &layout);
	return VIRTIO_GPU_RESP_OK_NODATA;
}
