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
 * What a renderer drew has rungs of its own: it is shared as it is (virgl), or read back into host memory (readback), which then is
 * handed on as guest memory is, by a udmabuf or in rows. The other rungs are for guest memory only, and these two are not for that.
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
#include "util/fourcc.h"

enum verdict {
	USABLE,
	REFUSED,
	REVOKED, /* and no rung below can do better */
	WAITING, /* for the renderer's answer: no rung below is asked before */
};

/* What one look at the ladder is about. */
struct look {
	struct vtr_gpu *gpu;
	struct vtr_scanout *scanout;
	bool try; /* what failed before, when it is due */
};

static enum verdict refuse(struct vtr_error *why, const char *reason)
{
	vtr_error_set(why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "%s", reason);
	return REFUSED;
}

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

	if (!vtr_resource_pixels(scanout->resource)->count) /* only when this path is forced */
		return refuse(why, "a renderer draws the picture: it is not in the guest's memory");
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
	choice->place = (struct vtr_placement_in_buffer){
		.offset = vtr_buffer_offset(buffer) + scanout->layout.offset,
		.modifier = DRM_FORMAT_MOD_LINEAR,
		.stride = scanout->layout.stride,
		.format = scanout->layout.format,
	};
	return USABLE;
}

/* ---- what a renderer drew ---- */

/* The whole resource is shown, not a part. */
static bool shows_all(const struct vtr_scanout *scanout, uint32_t width, uint32_t height)
{
	const struct vtr_scanout_layout *layout = &scanout->layout;

	return !layout->x && !layout->y && layout->width == width && layout->height == height;
}

/* As a dmabuf, in the format that the renderer keeps it in. A part of it can be named only where it is known how it lies there.
 * Should another display get the frame before this one has taken it, it may find a texture in the same buffer, and needs the place
 * in that. */
static enum verdict can_import_drawn(const struct vtr_scanout *scanout, const struct vtr_buffer *buffer, struct vtr_choice *choice,
                                     struct vtr_error *why)
{
	const struct vtr_buffer_layout *layout = vtr_buffer_layout(buffer);
	const struct vtr_scanout_layout *shown = &scanout->layout;
	const struct vtr_resource_3d *three_d = scanout->resource->three_d;
	bool linear = layout->modifier == DRM_FORMAT_MOD_LINEAR, blob = !three_d->width;
	uint32_t format = vtr_fourcc_of_picture(layout->format, shown->format);
	char name[VTR_FOURCC_NAME];

	if (!format) {
		vtr_error_set(why, VTR_ERROR_UNSUPPORTED, ENOTSUP,
		              "the renderer keeps the picture as %s, which no display is given",
		              vtr_fourcc_name(layout->format, name));
		return REFUSED;
	}
	if (!vtr_output_accepts(scanout->output, format, layout->modifier, why))
		return REFUSED;
	if (!linear && !(blob ? !shown->x && !shown->y : shows_all(scanout, three_d->width, three_d->height)))
		return refuse(
			why, "the guest shows a part of what was drawn, and the GPU's layout of that (modifier) is its own affair");
	uint32_t row = three_d->y_0_top ? three_d->height - shown->y - shown->height : shown->y;
	choice->place = (struct vtr_placement_in_buffer){
		.offset = layout->offset + (linear ? (uint64_t)row * layout->stride + (uint64_t)shown->x * 4 : 0),
		.modifier = layout->modifier,
		.stride = layout->stride,
		.format = format,
		.x = shown->x,
		.y = shown->y,
		.flipped = three_d->y_0_top,
	};
	return USABLE;
}

/* As a texture, by a display that draws with the same EGLDisplay. */
static enum verdict can_sample(const struct vtr_scanout *scanout, const struct vtr_buffer *buffer, struct vtr_choice *choice,
                               struct vtr_error *why)
{
	const struct vtr_buffer_texture *texture = vtr_buffer_texture(buffer);
	const struct vtr_scanout_layout *shown = &scanout->layout;

	if (!texture)
		return refuse(why, "the renderer shares no textures");
	if (!vtr_output_accepts_texture(scanout->output, texture->egl_display, why))
		return REFUSED;
	if (!vtr_range_fits(shown->x, shown->width, texture->width) || !vtr_range_fits(shown->y, shown->height, texture->height))
		return refuse(why, "the picture ends beyond its texture");
	choice->place = (struct vtr_placement_in_buffer){
		.modifier = DRM_FORMAT_MOD_INVALID,
		.format = shown->format,
		.x = shown->x,
		.y = shown->y,
		.flipped = scanout->resource->three_d->y_0_top,
	};
	return USABLE;
}

/* Either will do; when neither does, both reasons count. */
static enum verdict can_hand_on(const struct look *look, const struct vtr_buffer *buffer, struct vtr_choice *choice,
                                struct vtr_error *why)
{
	const struct vtr_candidate *candidate = vtr_candidate_of(look->scanout->resource, VTR_PATH_VIRGL);
	struct vtr_error no_texture, no_dmabuf = candidate->no_dmabuf;

	if (can_sample(look->scanout, buffer, choice, &no_texture) == USABLE)
		return USABLE;
	if (vtr_buffer_fd(buffer) >= 0 && vtr_buffer_layout(buffer) &&
	    can_import_drawn(look->scanout, buffer, choice, &no_dmabuf) == USABLE)
		return USABLE;
	if (no_dmabuf.owner == VTR_ERROR_NONE)
		refuse(&no_dmabuf, "the renderer exports no dmabufs");
	vtr_error_set(why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "%s; %s", no_texture.text, no_dmabuf.text);
	return REFUSED;
}

static enum verdict can_share(const struct look *look, enum vtr_path path, struct vtr_choice *choice, struct vtr_error *why)
{
	const struct vtr_scanout *scanout = look->scanout;
	struct vtr_choice shared = *choice;

	if (!scanout->resource->three_d)
		return refuse(why, "the picture is in memory of the guest's: no renderer draws it");
	struct vtr_buffer *buffer = vtr_candidate_buffer(look->gpu, scanout->resource, path, look->try, why);
	if (!buffer)
		return why->code == EINPROGRESS ? WAITING : REFUSED;
	if (can_hand_on(look, buffer, &shared, why) != USABLE)
		return REFUSED;
	if (shared.place.flipped && !vtr_output_accepts_flipped(scanout->output, why))
		return REFUSED;
	shared.buffer = buffer;
	shared.kind = (struct vtr_import_kind){
		.path = path,
		.format = shared.place.format,
		.width = scanout->layout.width,
		.height = scanout->layout.height,
		.stride = shared.place.stride,
		.origin = shared.place.modifier,
	};
	enum verdict verdict = ask_imports(look, &shared.kind, why);
	if (verdict == USABLE)
		*choice = shared;
	return verdict;
}

/* The copy is handed on like memory of the guest's, as soon as there is one. */
static enum verdict can_read_back(const struct look *look, enum vtr_path path, struct vtr_choice *choice, struct vtr_error *why)
{
	struct vtr_resource *resource = look->scanout->resource;
	struct vtr_error no_udmabuf;

	if (!resource->three_d)
		return refuse(why, "the picture is in memory of the guest's: no renderer draws it");
	if (!vtr_readback_possible(look->gpu, resource, look->try, why))
		return REFUSED;
	if (resource->image)
		can_import(look, VTR_PATH_UDMABUF, choice, &no_udmabuf);
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
	/* Fills choice's buffer, kind and place when it is USABLE and has one, else *why. */
	enum verdict (*ask)(const struct look *look, enum vtr_path path, struct vtr_choice *choice, struct vtr_error *why);
} ladder[] = {
	{ VTR_PATH_VFIO_DMABUF, true, can_import },  { VTR_PATH_VFIO_WINDOW, true, can_import },
	{ VTR_PATH_UDMABUF, true, can_import },      { VTR_PATH_VIRGL, true, can_share },
	{ VTR_PATH_READBACK, false, can_read_back }, { VTR_PATH_MAPPED, false, can_map },
	{ VTR_PATH_FETCHED, false, can_fetch },
};

enum { RUNGS = sizeof(ladder) / sizeof(ladder[0]) };

/* Rungs for memory of another kind are neither asked nor missed, unless it is just that rung that the user wants. */
static bool is_missed(const struct look *look, const struct rung *rung)
{
	const struct vtr_resource *resource = look->scanout->resource;

	if (look->gpu->options.force_path == rung->path)
		return true;
	if (rung->zero_copy)
		return vtr_candidate_applies(resource, rung->path);
	return (rung->path == VTR_PATH_READBACK) == (resource->three_d != NULL);
}

/* Copies that the CPU makes of different memory, of which each resource has one kind. */
static bool stands_in(const struct look *look, enum vtr_path path, enum vtr_path forced)
{
	const struct vtr_resource *resource = look->scanout->resource;

	if (resource->three_d)
		return path == VTR_PATH_READBACK && (forced == VTR_PATH_MAPPED || forced == VTR_PATH_FETCHED);
	return path == VTR_PATH_MAPPED && (forced == VTR_PATH_READBACK || (resource->image && forced == VTR_PATH_FETCHED));
}

/* --path leaves one rung. What the host holds itself (2D images) cannot be fetched, and what a renderer drew is not mapped: the
 * other copy stands in. */
static bool is_allowed(const struct look *look, const struct rung *rung, struct vtr_error *why)
{
	enum vtr_path forced = look->gpu->options.force_path;

	if (forced == VTR_PATH_NONE || forced == rung->path || stands_in(look, rung->path, forced))
		return true;
	vtr_error_set(why, VTR_ERROR_HOST, EPERM, "left out by --path %s", vtr_path_name(forced));
	return false;
}

static struct vtr_choice climb(const struct look *look, struct vtr_path_refusal *refusals, size_t *n)
{
	struct vtr_choice choice = { .path = VTR_PATH_NONE };
	struct vtr_error why;

	for (size_t i = 0; i < RUNGS && !choice.revoked && !choice.waiting; i++) {
		const struct rung *rung = &ladder[i];

		if (!is_missed(look, rung))
			continue;
		enum verdict verdict = is_allowed(look, rung, &why) ? rung->ask(look, rung->path, &choice, &why) : REFUSED;
		if (verdict == USABLE) {
			choice.path = rung->path;
			break;
		}
		choice.revoked = verdict == REVOKED;
		choice.waiting = verdict == WAITING;
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

static enum vtr_path find_pixels(const struct look *look, const struct vtr_choice *choice, struct vtr_error *why)
{
	const struct vtr_resource *resource = look->scanout->resource;

	if (resource->three_d)
		return vtr_readback_possible(look->gpu, resource, look->try, why) ? VTR_PATH_READBACK : VTR_PATH_NONE;
	if (!choice->buffer)
		return choice->path;
	if (vtr_resource_pixels(resource)->cpu)
		return VTR_PATH_MAPPED;
	return can_fetch(look, VTR_PATH_FETCHED, NULL, why) == USABLE ? VTR_PATH_FETCHED : VTR_PATH_NONE;
}

enum vtr_path vtr_ladder_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_choice *choice)
{
	const struct look look = { .gpu = gpu, .scanout = scanout, .try = true };
	struct vtr_error why;

	return choice->path == VTR_PATH_NONE ? VTR_PATH_NONE : find_pixels(&look, choice, &why);
}

bool vtr_ladder_lacks_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_choice *choice,
                             struct vtr_error *why)
{
	const struct look look = { .gpu = gpu, .scanout = scanout };

	return choice->path != VTR_PATH_NONE && find_pixels(&look, choice, why) == VTR_PATH_NONE;
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
	if (scanout->logged_path == choice.path || choice.waiting) /* what failed before is only being tried */
		return;
	path = scanout->logged_path = choice.path;
	const struct vtr_path_refusal *refusal = main_refusal(gpu, path, refusals, n);
	if (vtr_scanout_frozen(scanout))
		vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: %s; the last picture stays", name,
		                scanout->resource->three_d ? "the renderer is lost" : "the guest's memory is not there now");
	else if (choice.revoked)
		vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: the last picture stays: %s", name, refusals[n - 1].reason);
	else if (n)
		vtr_log_limited(&scanout->log, path == VTR_PATH_NONE ? VTR_LOG_WARN : VTR_LOG_INFO,
		                "output %s: path %s; not %s: %s", name, vtr_path_name(path), vtr_path_name(refusal->path),
		                refusal->reason);
	else
		vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: path %s", name, vtr_path_name(path));
}
