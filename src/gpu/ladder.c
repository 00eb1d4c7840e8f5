/* SPDX-License-Identifier: MIT */
/*
 * The path ladder: which way the pixels of a scanout take.
 *
 * Each frame asks the rungs in order, best first; the first that can show the pixels is the path. A rung is asked with what is
 * known already: dmabufs are made once per backing (candidate.c), what a display could not import is remembered by kind
 * (imports.c). So asking costs the same for a frame of any size, and a change of circumstances is noticed by itself. Reasons are
 * put into words only when something fails.
 *
 * Down: what cannot be made, accepted or imported leaves the next rung. An import that fails at the display comes back as an event,
 * and the same frame is presented again at once on the next rung (present.c); the guest's flush is answered when that one is shown.
 *
 * Up: everything that failed is tried again when that can help (backoff.h).
 *   host           made or imported again after 1 s, 2 s, ... 60 s; a success forgets the failure
 *   unsupported    when the display or the devices are others; a dmabuf also when the pixels are others
 *   revoked        at the guest's next flush, when its memory comes back, when the devices are others
 * Nothing is tried for the sake of trying: only a frame that is to be presented anyway goes up. The same holds for pixels that the
 * VMM was asked for in vain: while it is asked the device does nothing else.
 *
 * Revoked: when the device's configuration space, the kernel or the display says that the memory of a device is away (decoding off,
 * in reset, asleep), no other rung is tried. They would read the same memory, by a mapping that faults or by a request that the VMM
 * cannot answer well. The last picture stays.
 */
#include "gpu/ladder.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <string.h>

#include "gpu/gpu.h"

enum verdict {
	USABLE,
	REFUSED,
	REVOKED, /* and no rung below can do better */
};

/* What one look at the ladder is about. */
struct look {
	struct vtr_gpu *gpu;
	struct vtr_scanout *scanout;
	bool try; /* what failed before, when it is due */
};

/* ---- zero copy ---- */

/* Whose memory it is, as far as that makes a difference to an importer. */
static uint64_t origin(const struct vtr_gpu *gpu, enum vtr_path path, const struct vtr_region *region)
{
	struct vtr_vfio_place place;

	if (path == VTR_PATH_VFIO_WINDOW)
		return region->address;
	if (path == VTR_PATH_VFIO_DMABUF && gpu->options.devices &&
	    vtr_vfio_devices_find(gpu->options.devices, region->address, &place))
		return (uintptr_t)place.device;
	return 0;
}

static struct vtr_import_kind import_kind(const struct look *look, enum vtr_path path)
{
	const struct vtr_spans *pixels = vtr_resource_pixels(look->scanout->resource);
	const struct vtr_scanout_layout *layout = &look->scanout->layout;

	return (struct vtr_import_kind){
		.path = path,
		.format = layout->format,
		.width = layout->width,
		.height = layout->height,
		.stride = layout->stride,
		.scattered = pixels->count > 1,
		.origin = origin(look->gpu, path, pixels->items[0].region),
	};
}

static enum verdict refusal(enum vtr_path path, const struct vtr_error *why)
{
	return why->owner == VTR_ERROR_REVOKED && path != VTR_PATH_UDMABUF ? REVOKED : REFUSED;
}

/* A BAR that the VMM does not announce is not taken from the map when the guest disables it, and a display that has imported a
 * dmabuf of it notices nothing: the device is asked. */
static enum verdict ask_device(const struct look *look, struct vtr_error *why)
{
	const struct vtr_region *region = vtr_resource_pixels(look->scanout->resource)->items[0].region;
	struct vtr_vfio_devices *devices = look->gpu->options.devices;
	struct vtr_vfio_place place;

	if (region->kind != VTR_REGION_VFIO || !devices)
		return USABLE;
	vtr_vfio_devices_refresh(devices);
	if (vtr_vfio_devices_find(devices, region->address, &place))
		return USABLE;
	vtr_error_set(why, VTR_ERROR_REVOKED, ENODEV, "the device does not decode its memory now: comes back by itself");
	return REVOKED;
}

/* What the display said about such dmabufs. */
static enum verdict ask_imports(const struct look *look, const struct vtr_import_kind *kind, struct vtr_error *why)
{
	const struct vtr_backoff *failure = vtr_imports_failure(&look->scanout->imports, kind);

	if (!failure || (look->try && vtr_backoff_due(failure, look->gpu->now_ns())))
		return USABLE;
	*why = failure->error;
	return refusal(kind->path, why);
}

static bool picture_fits(const struct vtr_scanout_layout *layout, const struct vtr_buffer *buffer)
{
	uint64_t bytes = (uint64_t)layout->stride * (layout->height - 1) + (uint64_t)layout->width * 4;

	return vtr_range_fits(layout->offset, bytes, vtr_buffer_size(buffer));
}

static enum verdict can_import(const struct look *look, enum vtr_path path, struct vtr_choice *choice, struct vtr_error *why)
{
	const struct vtr_scanout *scanout = look->scanout;
	struct vtr_import_kind kind = import_kind(look, path);
	enum verdict verdict = ask_device(look, why);

	if (verdict == USABLE && !vtr_output_accepts(scanout->output, scanout->layout.format, DRM_FORMAT_MOD_LINEAR, why))
		verdict = REFUSED;
	if (verdict == USABLE)
		verdict = ask_imports(look, &kind, why);
	if (verdict != USABLE)
		return verdict;
	struct vtr_buffer *buffer = vtr_candidate_buffer(look->gpu, scanout->resource, path, look->try, why);
	if (!buffer)
		return refusal(path, why);
	if (!picture_fits(&scanout->layout, buffer)) {
		vtr_error_set(why, VTR_ERROR_GUEST, ERANGE, "the picture ends beyond the resource's memory");
		return REFUSED;
	}
	choice->buffer = buffer;
	choice->kind = kind;
	return USABLE;
}

/* ---- copies ---- */

static enum verdict can_map(const struct look *look, enum vtr_path path, struct vtr_choice *choice, struct vtr_error *why)
{
	if (vtr_resource_pixels(look->scanout->resource)->cpu)
		return USABLE;
	vtr_error_set(why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
	              "part of the frame lies in memory that came without a mappable fd: give the VM shared memory "
	              "(QEMU: memory-backend-memfd,share=on), or name the assigned device that has it (--assign)");
	return REFUSED;
}

/* The VMM is always there to be asked; whether it answers, and in what time, is seen then. */
static enum verdict can_fetch(const struct look *look, enum vtr_path path, struct vtr_choice *choice, struct vtr_error *why)
{
	const struct vtr_backoff *failure = &look->scanout->fetching;

	if (!vtr_backoff_has_failed(failure) || (look->try && vtr_backoff_due(failure, look->gpu->now_ns())))
		return USABLE;
	*why = failure->error;
	return REFUSED;
}

/* ---- the ladder ---- */

static const struct rung {
	enum vtr_path path;
	bool zero_copy;
	/* Fills choice's buffer and kind when it is USABLE and zero_copy, else *why. */
	enum verdict (*ask)(const struct look *look, enum vtr_path path, struct vtr_choice *choice, struct vtr_error *why);
} ladder[] = {
	{ VTR_PATH_VFIO_DMABUF, true, can_import }, { VTR_PATH_VFIO_WINDOW, true, can_import },
	{ VTR_PATH_UDMABUF, true, can_import },     { VTR_PATH_MAPPED, false, can_map },
	{ VTR_PATH_FETCHED, false, can_fetch },
};

enum { RUNGS = sizeof(ladder) / sizeof(ladder[0]) };

/* Rungs for memory of another kind are neither asked nor missed, unless it is just that rung that the user wants. */
static bool is_missed(const struct look *look, const struct rung *rung)
{
	return !rung->zero_copy || look->gpu->options.force_path == rung->path ||
	       vtr_candidate_applies(look->scanout->resource, rung->path);
}

/* --path leaves one rung. What the host holds itself (2D images) cannot be fetched: mapped stands in. */
static bool is_allowed(const struct look *look, const struct rung *rung, struct vtr_error *why)
{
	enum vtr_path forced = look->gpu->options.force_path;

	if (forced == VTR_PATH_NONE || forced == rung->path)
		return true;
	if (look->scanout->resource->image && forced == VTR_PATH_FETCHED && rung->path == VTR_PATH_MAPPED)
		return true;
	vtr_error_set(why, VTR_ERROR_HOST, EPERM, "left out by --path %s", vtr_path_name(forced));
	return false;
}

static struct vtr_choice climb(const struct look *look, struct vtr_path_refusal *refusals, size_t *n)
{
	struct vtr_choice choice = { .path = VTR_PATH_NONE };
	struct vtr_error why;

	for (size_t i = 0; i < RUNGS && !choice.revoked; i++) {
		const struct rung *rung = &ladder[i];

		if (!is_missed(look, rung))
			continue;
		enum verdict verdict = is_allowed(look, rung, &why) ? rung->ask(look, rung->path, &choice, &why) : REFUSED;
		if (verdict == USABLE) {
			choice.path = rung->path;
			break;
		}
		choice.revoked = verdict == REVOKED;
		if (!refusals)
			continue;
		refusals[*n].path = rung->path;
		memcpy(refusals[*n].reason, why.text, sizeof(why.text));
		++*n;
	}
	return choice;
}

struct vtr_choice vtr_ladder_choose(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	struct look look = { .gpu = gpu, .scanout = scanout, .try = true };

	if (!scanout->resource || vtr_scanout_frozen(scanout))
		return (struct vtr_choice){ .path = VTR_PATH_NONE };
	return climb(&look, NULL, NULL);
}

struct vtr_choice vtr_ladder_look(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_path_refusal *refusals, size_t *n)
{
	struct look look = { .gpu = gpu, .scanout = scanout };

	*n = 0;
	if (!scanout->resource || vtr_scanout_frozen(scanout))
		return (struct vtr_choice){ .path = VTR_PATH_NONE };
	return climb(&look, refusals, n);
}

enum vtr_path vtr_ladder_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_choice *choice)
{
	struct look look = { .gpu = gpu, .scanout = scanout, .try = true };
	struct vtr_error why;

	if (!choice->buffer)
		return choice->path;
	if (vtr_resource_pixels(scanout->resource)->cpu)
		return VTR_PATH_MAPPED;
	return can_fetch(&look, VTR_PATH_FETCHED, NULL, &why) == USABLE ? VTR_PATH_FETCHED : VTR_PATH_NONE;
}

/* The refusal that matters most: of the one rung that the user wants, else of the best; when there is no picture at all, that of
 * the last one, which asks for the least. */
static const struct vtr_path_refusal *main_refusal(const struct vtr_gpu *gpu, enum vtr_path path,
                                                   const struct vtr_path_refusal *refusals, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (refusals[i].path == gpu->options.force_path)
			return &refusals[i];
	return n && path == VTR_PATH_NONE ? &refusals[n - 1] : refusals;
}

void vtr_ladder_log(struct vtr_gpu *gpu, struct vtr_scanout *scanout, enum vtr_path path)
{
	struct vtr_path_refusal refusals[VTR_PATH_COUNT];
	const char *name = vtr_output_name(scanout->output);
	size_t n;

	if (scanout->logged_path == path)
		return;
	struct vtr_choice choice = vtr_ladder_look(gpu, scanout, refusals, &n);
	if (scanout->logged_path == choice.path) /* what failed before is only being tried */
		return;
	path = scanout->logged_path = choice.path;
	const struct vtr_path_refusal *refusal = main_refusal(gpu, path, refusals, n);
	if (vtr_scanout_frozen(scanout))
		vtr_log_limited(&scanout->log, VTR_LOG_INFO,
		                "output %s: the guest's memory is not there now; the last picture stays", name);
	else if (choice.revoked)
		vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: the last picture stays: %s", name, refusals[n - 1].reason);
	else if (n)
		vtr_log_limited(&scanout->log, path == VTR_PATH_NONE ? VTR_LOG_WARN : VTR_LOG_INFO,
		                "output %s: path %s; not %s: %s", name, vtr_path_name(path), vtr_path_name(refusal->path),
		                refusal->reason);
	else
		vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: path %s", name, vtr_path_name(path));
}
