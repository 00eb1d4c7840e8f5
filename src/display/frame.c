/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>

#include <vitrine/dmabuf.h>

#include "display/display.h"
#include "util/checked.h"

bool vtr_frame_fits_dmabuf(const struct vtr_frame *frame, struct vtr_error *error)
{
	uint64_t length = (uint64_t)frame->stride * (frame->height - 1) + (uint64_t)frame->width * 4;
	int fd = vtr_buffer_fd(frame->buffer);

	if (fd < 0) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the picture is a texture of another EGLDisplay");
		return false;
	}
	uint64_t size = vtr_dmabuf_size(fd);
	if (frame->stride / 4 < frame->width) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EINVAL, "a row of %u pixels does not fit into a stride of %u bytes",
		              frame->width, frame->stride);
		return false;
	}
	if (frame->modifier != DRM_FORMAT_MOD_LINEAR || vtr_range_fits(frame->offset, length, size))
		return true;
	vtr_error_set(error, VTR_ERROR_HOST, ERANGE,
	              "the dmabuf has %" PRIu64 " bytes, the picture ends %" PRIu64 " bytes from its begin", size,
	              frame->offset + length);
	return false;
}
