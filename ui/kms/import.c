/* SPDX-License-Identifier: MIT */
#include "import.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <string.h>

#include <vitrine/vfio.h>

#include "display/display.h"
#include "util/fourcc.h"

/* ---- GEM handles ---- */

static int hold_handle(struct kms_imports *imports, uint32_t handle)
{
	size_t free_slot = KMS_MAX_IMPORTS;

	for (size_t i = 0; i < KMS_MAX_IMPORTS; i++) {
		if (imports->handles[i].handle == handle) {
			imports->handles[i].count++;
			return 0;
		}
		if (!imports->handles[i].handle && free_slot == KMS_MAX_IMPORTS)
			free_slot = i;
	}
	if (free_slot == KMS_MAX_IMPORTS)
		return -ENOSPC;
	imports->handles[free_slot].handle = handle;
	imports->handles[free_slot].count = 1;
	return 0;
}

static void let_handle_go(struct kms_imports *imports, uint32_t handle)
{
	for (size_t i = 0; i < KMS_MAX_IMPORTS; i++) {
		if (imports->handles[i].handle != handle || --imports->handles[i].count)
			continue;
		imports->handles[i].handle = 0;
		drmCloseBufferHandle(imports->card->fd, handle);
	}
}

/* ---- one framebuffer ---- */

static void forget(struct kms_imports *imports, struct kms_import *import)
{
	drmModeRmFB(imports->card->fd, import->fb);
	let_handle_go(imports, import->handle);
	*import = (struct kms_import){ 0 };
}

static bool is_device_memory(const struct vtr_frame *frame)
{
	enum vtr_path path = vtr_buffer_path(frame->buffer);

	return path == VTR_PATH_VFIO_DMABUF || path == VTR_PATH_VFIO_WINDOW;
}

/* Is the device's memory the reason? In importing, always; later when the error can mean nothing else. */
static bool memory_is_why(const struct vtr_frame *frame, enum kms_import_step step, int code)
{
	if (!is_device_memory(frame))
		return false;
	return step == KMS_STEP_IMPORT || code == ENODEV || (step == KMS_STEP_COMMIT && (code == EOPNOTSUPP || code == EADDRINUSE));
}

int kms_import_error(const struct kms_card *card, const struct vtr_frame *frame, enum kms_import_step step, int code,
                     struct vtr_error *error)
{
	static const char *const refusals[] = {
		[KMS_STEP_IMPORT] = "does not import the dmabuf of",
		[KMS_STEP_FRAMEBUFFER] = "makes no framebuffer of",
		[KMS_STEP_COMMIT] = "does not show",
	};
	bool never = code == EOPNOTSUPP || code == ENOSYS || code == ENODEV || (step == KMS_STEP_FRAMEBUFFER && code == EINVAL);
	bool unreachable = step == KMS_STEP_COMMIT && code == EINVAL && is_device_memory(frame);
	char format[VTR_FOURCC_NAME];

	if (memory_is_why(frame, step, code))
		return vtr_vfio_import_error(error, code, vtr_buffer_ranges(frame->buffer));
	return vtr_error_set(error, never ? VTR_ERROR_UNSUPPORTED : VTR_ERROR_HOST, code,
	                     "%s (%s) %s %ux%u %s, %u bytes a row: %s%s", card->path, card->driver, refusals[step], frame->width,
	                     frame->height, vtr_fourcc_name(frame->format, format), frame->stride, strerror(code),
	                     unreachable ? ", or it cannot reach the assigned device" : "");
}

/* What the driver would check only when it reads: importers of memory that has no driver behind it take any size. */
static int check_size(const struct vtr_frame *frame, struct vtr_error *error)
{
	if (!vtr_frame_fits_dmabuf(frame, error))
		return -error->code;
	if (frame->offset > UINT32_MAX)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOVERFLOW,
		                     "the picture begins beyond 4 GiB of its dmabuf, where no framebuffer can");
	if (frame->flipped)
		return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		                     "a screen cannot show a picture that is upside down in memory");
	return 0;
}

static int add_framebuffer(const struct kms_card *card, struct kms_import *import)
{
	uint32_t handles[4] = { import->handle }, strides[4] = { import->stride }, offsets[4] = { (uint32_t)import->offset };
	uint64_t modifiers[4] = { import->modifier };
	uint32_t format = vtr_fourcc_opaque(import->format);
	int result = card->modifiers ? drmModeAddFB2WithModifiers(card->fd, import->width, import->height, format, handles, strides,
	                                                          offsets, modifiers, &import->fb, DRM_MODE_FB_MODIFIERS)
	                             : drmModeAddFB2(card->fd, import->width, import->height, format, handles, strides, offsets,
	                                             &import->fb, 0);

	return result ? -errno : 0;
}

static int make(struct kms_imports *imports, struct kms_import *import, const struct vtr_frame *frame, struct vtr_error *error)
{
	const struct kms_card *card = imports->card;
	struct kms_import made = {
		.buffer = vtr_buffer_id(frame->buffer),
		.offset = frame->offset,
		.modifier = frame->modifier,
		.width = frame->width,
		.height = frame->height,
		.format = frame->format,
		.stride = frame->stride,
	};
	int result = check_size(frame, error);

	if (result)
		return result;
	if (drmPrimeFDToHandle(card->fd, vtr_buffer_fd(frame->buffer), &made.handle))
		return kms_import_error(card, frame, KMS_STEP_IMPORT, errno, error);
	result = hold_handle(imports, made.handle);
	if (result) {
		drmCloseBufferHandle(card->fd, made.handle);
		return vtr_error_set(error, VTR_ERROR_HOST, -result, "too many dmabufs are on the screen");
	}
	result = add_framebuffer(card, &made);
	if (result) {
		let_handle_go(imports, made.handle);
		return kms_import_error(card, frame, KMS_STEP_FRAMEBUFFER, -result, error);
	}
	*import = made;
	return 0;
}

/* ---- the cache ---- */

static bool matches(const struct kms_import *import, const struct vtr_frame *frame)
{
	return import->buffer == vtr_buffer_id(frame->buffer) && import->offset == frame->offset &&
	       import->modifier == frame->modifier && import->width == frame->width && import->height == frame->height &&
	       import->format == frame->format && import->stride == frame->stride;
}

/* A free slot, or that of the framebuffer which has not been used for longest. */
static struct kms_import *find_slot(struct kms_imports *imports)
{
	struct kms_import *oldest = NULL;

	for (size_t i = 0; i < KMS_MAX_IMPORTS; i++) {
		struct kms_import *import = &imports->items[i];

		if (!import->buffer)
			return import;
		if (!import->users && (!oldest || import->used_ns < oldest->used_ns))
			oldest = import;
	}
	if (oldest)
		forget(imports, oldest);
	return oldest;
}

struct kms_import *kms_imports_get(struct kms_imports *imports, const struct vtr_frame *frame, struct vtr_error *error)
{
	struct kms_import *import = NULL;

	for (size_t i = 0; i < KMS_MAX_IMPORTS && !import; i++)
		if (imports->items[i].buffer && matches(&imports->items[i], frame) && !imports->items[i].failed)
			import = &imports->items[i];
	if (!import) {
		import = find_slot(imports);
		if (!import) {
			vtr_error_set(error, VTR_ERROR_HOST, ENOSPC, "too many dmabufs are on the screen");
			return NULL;
		}
		if (make(imports, import, frame, error))
			return NULL;
	}
	import->users++;
	return import;
}

void kms_imports_put(struct kms_import *import)
{
	if (!--import->users)
		import->used_ns = vtr_now_ns();
}

bool kms_imports_sweep(struct kms_imports *imports, bool all)
{
	uint64_t keep_ns = UINT64_C(1000000) * KMS_IMPORT_KEEP_MS, now = vtr_now_ns();
	bool left = false;

	for (size_t i = 0; i < KMS_MAX_IMPORTS; i++) {
		struct kms_import *import = &imports->items[i];

		if (!import->buffer || import->users)
			continue;
		if (all || import->failed || now - import->used_ns >= keep_ns)
			forget(imports, import);
		else
			left = true;
	}
	return left;
}
