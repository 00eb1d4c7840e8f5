/* SPDX-License-Identifier: MIT */
/*
 * From a scanout to a frame: the path ladder.
 *
 * Each present asks the rungs in order, best first; the first that can show the pixels is the path. A rung is asked with what is
 * known already (a dmabuf is made once per backing, a failed import is remembered per buffer), so asking again costs nothing and a
 * change of circumstances is noticed by itself. Reasons are put into words only for status and log.
 *
 * On a zero-copy rung the frame carries the buffer and nothing depends on its size. Below, damaged rows are gathered into the
 * output's staging memory, here on the device thread, and only when the output wants pixels at all: until somebody looks, damage is
 * just collected in `unread`.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include <vitrine/dmabuf.h>

#include "gpu/gpu.h"
#include "util/region.h"

/* ---- the ladder ---- */

static bool can_udmabuf(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_error *why)
{
	if (!vtr_resource_buffer(gpu, scanout->resource)) {
		*why = scanout->resource->no_buffer;
		return false;
	}
	if (scanout->resource->refused & 1u << scanout->id) {
		*why = scanout->refused;
		return false;
	}
	return vtr_output_accepts(scanout->output, scanout->layout.format, DRM_FORMAT_MOD_LINEAR, why);
}

static bool can_map(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_error *why)
{
	if (vtr_resource_pixels(scanout->resource)->cpu)
		return true;
	vtr_error_set(why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
	              "part of the frame lies in memory that came without a mappable fd: give the VM shared memory "
	              "(QEMU: memory-backend-memfd,share=on)");
	return false;
}

static bool can_fetch(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_error *why)
{
	return true; /* the VMM is always there to be asked; whether it answers is seen then */
}

static const struct rung {
	enum vtr_path path;
	bool zero_copy;
	/* False, with the reason in *why, when this rung cannot show the scanout. */
	bool (*usable)(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_error *why);
} ladder[] = {
	{ VTR_PATH_UDMABUF, true, can_udmabuf },
	{ VTR_PATH_MAPPED, false, can_map },
	{ VTR_PATH_FETCHED, false, can_fetch },
};

enum { RUNGS = sizeof(ladder) / sizeof(ladder[0]) };

/* --path leaves one rung. What the host holds itself (2D images) cannot be fetched: mapped stands in. */
static bool rung_allowed(const struct vtr_gpu *gpu, const struct vtr_scanout *scanout, const struct rung *rung,
                         struct vtr_error *why)
{
	enum vtr_path forced = gpu->options.force_path;

	if (forced == VTR_PATH_NONE || forced == rung->path)
		return true;
	if (scanout->resource->image && forced == VTR_PATH_FETCHED && rung->path == VTR_PATH_MAPPED)
		return true;
	vtr_error_set(why, VTR_ERROR_HOST, EPERM, "left out by --path %s", vtr_path_name(forced));
	return false;
}

static const struct rung *choose(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_path_refusal *refusals, size_t *n)
{
	struct vtr_error why;

	if (n)
		*n = 0;
	if (!scanout->resource || vtr_scanout_frozen(scanout))
		return NULL;
	for (size_t i = 0; i < RUNGS; i++) {
		if (rung_allowed(gpu, scanout, &ladder[i], &why) && ladder[i].usable(gpu, scanout, &why))
			return &ladder[i];
		if (!refusals)
			continue;
		refusals[*n].path = ladder[i].path;
		memcpy(refusals[*n].reason, why.text, sizeof(why.text));
		++*n;
	}
	return NULL;
}

enum vtr_path vtr_scanout_path(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_path_refusal *refusals, size_t *n)
{
	const struct rung *rung = choose(gpu, scanout, refusals, n);

	return rung ? rung->path : VTR_PATH_NONE;
}

/* One line when the path changes, with what keeps it from being better. */
static void log_path(struct vtr_gpu *gpu, struct vtr_scanout *scanout, enum vtr_path path)
{
	struct vtr_path_refusal refusals[VTR_PATH_COUNT];
	const char *name = vtr_output_name(scanout->output);
	size_t n;

	if (scanout->logged_path == path)
		return;
	scanout->logged_path = path;
	vtr_scanout_path(gpu, scanout, refusals, &n);
	if (vtr_scanout_frozen(scanout))
		vtr_log_limited(&scanout->log, VTR_LOG_INFO,
		                "output %s: the guest's memory is not there now; the last picture stays", name);
	else if (n)
		vtr_log_limited(&scanout->log, path == VTR_PATH_NONE ? VTR_LOG_WARN : VTR_LOG_INFO,
		                "output %s: path %s; not %s: %s", name, vtr_path_name(path), vtr_path_name(refusals[0].path),
		                refusals[0].reason);
	else
		vtr_log_limited(&scanout->log, VTR_LOG_INFO, "output %s: path %s", name, vtr_path_name(path));
}

/* ---- content ---- */

/* Reads damaged rows of the scanout into an image of its layout; *done is what was read. 0 or -errno. */
static int gather(struct vtr_scanout *scanout, enum vtr_path path, const pixman_region32_t *stale, uint8_t *image, uint32_t stride,
                  pixman_region32_t *done)
{
	const struct vtr_spans *pixels = vtr_resource_pixels(scanout->resource);
	const struct vtr_scanout_layout *layout = &scanout->layout;
	int n, error = 0;
	const pixman_box32_t *boxes = pixman_region32_rectangles((pixman_region32_t *)stale, &n);

	for (int i = 0; i < n && !error; i++) {
		const pixman_box32_t *box = &boxes[i];
		uint32_t x = (uint32_t)box->x1, y = (uint32_t)box->y1, rows = (uint32_t)(box->y2 - box->y1);
		size_t row_bytes = (size_t)(box->x2 - box->x1) * 4;
		uint64_t offset = layout->offset + (uint64_t)y * layout->stride + (uint64_t)x * 4;
		uint8_t *target = image + (size_t)y * stride + (size_t)x * 4;

		if (path == VTR_PATH_FETCHED)
			error = vtr_spans_fetch(pixels, offset, layout->stride, rows, row_bytes, target, stride);
		else
			error = vtr_spans_gather(pixels, offset, layout->stride, rows, row_bytes, target, stride);
		if (error)
			break;
		pixman_region32_union_rect(done, done, box->x1, box->y1, (unsigned)(box->x2 - box->x1), rows);
		scanout->stats.bytes_copied += (uint64_t)row_bytes * rows;
	}
	return error;
}

/* Copied pixels of all scanouts and the guest's 2D images share --max-hostmem; an output keeps three images. */
static bool staging_fits(const struct vtr_gpu *gpu)
{
	uint64_t bytes = gpu->resources.hostmem;

	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (gpu->scanouts[i].resource)
			bytes += 3 * vtr_image_bytes(gpu->scanouts[i].layout.width, gpu->scanouts[i].layout.height);
	return bytes <= gpu->options.max_hostmem;
}

/* The VMM had something to tell us first. Once that is done the pixels can be read, and nobody else may ask for them: the guest
 * has its answer, and the display waits. */
static void read_again(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	scanout->again = true;
	vtr_event_raise(gpu->again);
}

static void attach_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_frame *frame, enum vtr_path path)
{
	const struct vtr_scanout_layout *layout = &scanout->layout;
	pixman_region32_t stale, done;

	if (!staging_fits(gpu)) {
		vtr_log_limited(&scanout->log, VTR_LOG_WARN, "output %s: no memory for a picture of %ux%u: raise --max-hostmem",
		                vtr_output_name(scanout->output), layout->width, layout->height);
		return;
	}
	pixman_region32_init(&stale);
	struct vtr_staging *staging = vtr_staging_begin(scanout->output, layout->width, layout->height, layout->format, &stale);
	if (!staging) {
		pixman_region32_fini(&stale);
		return;
	}
	pixman_region32_init(&done);
	int error = gather(scanout, path, &stale, vtr_staging_data(staging), vtr_staging_stride(staging), &done);
	if (error) {
		/* half a picture is worse than the last one; what was not read stays in unread */
		vtr_staging_cancel(staging);
		if (error == -ECANCELED)
			read_again(gpu, scanout);
		else
			vtr_log_limited(&scanout->log, VTR_LOG_WARN, "output %s: the guest's memory cannot be read: %s",
			                vtr_output_name(scanout->output), strerror(-error));
	} else {
		vtr_staging_commit(staging, &done, frame);
	}
	pixman_region32_fini(&done);
	pixman_region32_fini(&stale);
}

static void attach_buffer(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_frame *frame)
{
	struct vtr_buffer *buffer = vtr_resource_buffer(gpu, scanout->resource);

	frame->content = VTR_FRAME_BUFFER;
	frame->buffer = vtr_buffer_lock(buffer);
	frame->offset = vtr_buffer_offset(buffer) + scanout->layout.offset;
	frame->modifier = DRM_FORMAT_MOD_LINEAR;
	frame->stride = scanout->layout.stride;
}

/* Gives frame what the output can use of the scanout. */
static void attach_content(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_frame *frame, enum vtr_output_demand demand)
{
	const struct rung *rung = choose(gpu, scanout, NULL, NULL);

	if (!rung || demand == VTR_DEMAND_NONE)
		frame->content = VTR_FRAME_UNREAD;
	else if (rung->zero_copy && demand == VTR_DEMAND_DMABUF)
		attach_buffer(gpu, scanout, frame);
	else
		attach_pixels(gpu, scanout, frame, rung->path);
	frame->path = rung ? rung->path : VTR_PATH_NONE;
	log_path(gpu, scanout, frame->path);
}

/* ---- frames ---- */

uint64_t vtr_scanout_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void fill_geometry(struct vtr_scanout *scanout, struct vtr_frame *frame)
{
	if (scanout->resource) {
		frame->content = VTR_FRAME_UNREAD;
		frame->width = scanout->layout.width;
		frame->height = scanout->layout.height;
		frame->format = scanout->layout.format;
	} else {
		struct vtr_mode mode = vtr_output_mode(scanout->output);

		frame->content = VTR_FRAME_BLANK;
		frame->width = mode.width;
		frame->height = mode.height;
		frame->format = DRM_FORMAT_XRGB8888;
	}
}

/* Frames that were not made for a flush do not count. */
static void count_flush(struct vtr_scanout_stats *stats, uint64_t flushed_ns, bool dropped)
{
	stats->frames += flushed_ns != 0;
	stats->dropped += flushed_ns && dropped;
}

/* damage is in scanout->unread already. */
static uint64_t present(struct vtr_gpu *gpu, struct vtr_scanout *scanout, enum vtr_output_demand demand, uint64_t flushed_ns)
{
	uint64_t cpu = vtr_scanout_cpu_ns();
	struct vtr_frame *frame = vtr_output_begin_frame(scanout->output);

	if (!frame) {
		count_flush(&scanout->stats, flushed_ns, true);
		return 0;
	}
	fill_geometry(scanout, frame);
	frame->flushed_ns = flushed_ns;
	if (scanout->resource)
		attach_content(gpu, scanout, frame, demand);
	/* A frozen scanout has nothing newer to be read: its frames carry no damage, the last picture is the right one. */
	if (!vtr_scanout_frozen(scanout))
		pixman_region32_copy(&frame->damage, &scanout->unread);
	if (frame->content != VTR_FRAME_UNREAD) {
		pixman_region32_clear(&scanout->unread);
		scanout->holds_buffer = frame->content == VTR_FRAME_BUFFER;
	}
	uint64_t sequence = frame->sequence;
	vtr_output_submit(scanout->output, frame);
	scanout->stats.cpu_ns += vtr_scanout_cpu_ns() - cpu;
	return sequence;
}

uint64_t vtr_scanout_present(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const pixman_region32_t *damage, uint64_t flushed_ns)
{
	if (vtr_scanout_frozen(scanout))
		vtr_resource_resolve(gpu, scanout->resource);
	if (damage) {
		vtr_region_add(&scanout->unread, damage);
		vtr_staging_note_damage(scanout->output, damage);
	}
	return present(gpu, scanout, vtr_output_demand(scanout->output), flushed_ns);
}

void vtr_scanouts_freeze(struct vtr_gpu *gpu, struct vtr_resource *resource, bool may_fetch)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (scanout->resource != resource || vtr_scanout_frozen(scanout))
			continue;
		/* Copied pixels: a dmabuf would go on showing memory that may be used for something else now. */
		bool incomplete = scanout->holds_buffer || pixman_region32_not_empty(&scanout->unread);
		if (incomplete && (may_fetch || vtr_scanout_path(gpu, scanout, NULL, NULL) != VTR_PATH_FETCHED))
			present(gpu, scanout, VTR_DEMAND_PIXELS, 0);
	}
}

void vtr_scanouts_present_later(struct vtr_gpu *gpu)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		gpu->scanouts[i].again = gpu->scanouts[i].resource;
	vtr_event_raise(gpu->again);
}

void vtr_scanouts_present_again(struct vtr_gpu *gpu)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];
		bool again = scanout->again;

		scanout->again = false;
		if (again)
			vtr_scanout_present(gpu, scanout, NULL, 0);
	}
}

static void add_sample(struct vtr_scanout_stats *stats, uint64_t ns)
{
	uint64_t us = ns / 1000;

	stats->latency_us[stats->samples++ % VTR_LATENCY_SAMPLES] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

void vtr_scanout_frame_done(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_event *event)
{
	if (!event->dropped)
		scanout->stalled = false;
	count_flush(&scanout->stats, event->flushed_ns, event->dropped);
	if (event->flushed_ns && !event->dropped && event->time_ns > event->flushed_ns)
		add_sample(&scanout->stats, event->time_ns - event->flushed_ns);
	vtr_flush_frame_done(gpu, scanout->id, event->sequence);
	if (event->flushed_ns && gpu->frame_func)
		gpu->frame_func(scanout->id, gpu->frame_data);
}

/* What the last display could not import the new one may. */
void vtr_scanout_display_changed(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	vtr_resources_forget_refused(gpu, scanout->id);
	scanout->stalled = false;
	vtr_scanout_present(gpu, scanout, NULL, 0);
}

void vtr_scanout_import_failed(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_event *event)
{
	struct vtr_resource *resource = vtr_resource_find_buffer(gpu, event->buffer_id);
	pixman_region32_t all;

	if (!resource)
		return;
	resource->refused |= 1u << scanout->id;
	scanout->refused = event->error;
	if (scanout->resource != resource)
		return; /* the guest flipped; the display has its last picture until the guest flushes the next one */
	pixman_region32_init_rect(&all, 0, 0, scanout->layout.width, scanout->layout.height);
	vtr_scanout_present(gpu, scanout, &all, 0);
	pixman_region32_fini(&all);
}
