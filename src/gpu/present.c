/* SPDX-License-Identifier: MIT */
/*
 * From a scanout to a frame, and what becomes of it.
 *
 * The ladder (ladder.c) says which way the pixels take. On a zero-copy rung the frame carries the buffer and nothing depends on its
 * size. Below, damaged rows are gathered into the output's staging memory, here on the device thread, and only when the output
 * wants pixels at all: until somebody looks, damage is just collected in `unread`.
 *
 * A frame whose buffer the display could not import is presented again at once. The new frame stands for the same flush: that is
 * answered, and counted, when the new one is done.
 *
 * When memory goes (scanouts freeze), what the display has must last. Pixels that it holds as a dmabuf are copied at the last
 * moment where that is possible: the memory of a guest may be somebody else's soon. It is not possible for memory that we could
 * only have asked the VMM for while the VMM waits for us, nor for the memory of a device that is revoked already. Nor is it
 * necessary: the kernel has taken such memory from the importer, too. The display keeps the dmabuf and, as every importer's driver
 * does it its own way, shows the last picture, or nothing, until the next frame.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "gpu/gpu.h"
#include "util/region.h"

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

/* The VMM had something to tell us first, or the memory is back. Once that is done the pixels can be read, and nobody else may ask
 * for them: the guest has its answer, and the display waits. */
static void read_again(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	scanout->again = true;
	vtr_event_raise(gpu->again);
}

#define SHARED_MEMORY                                                                                                              \
	"give the VM shared memory (QEMU: memory-backend-memfd,share=on), or name the assigned device that has it (--assign)"

/* Asking the VMM for the pixels was too much: the rung is refused (ladder.c). */
static void too_much_to_fetch(struct vtr_gpu *gpu, struct vtr_scanout *scanout, int code)
{
	struct vtr_error error;

	if (code == -E2BIG)
		vtr_error_set(&error, VTR_ERROR_GUEST, E2BIG,
		              "the picture lies in too many pieces to ask the VMM for each (%d requests at most): " SHARED_MEMORY,
		              VTR_MAX_FETCH_REQUESTS);
	else
		vtr_error_set(&error, VTR_ERROR_HOST, ETIMEDOUT, "the VMM takes too long to send the picture: " SHARED_MEMORY);
	vtr_backoff_failed(&scanout->fetching, &error, gpu->now_ns());
}

/* That the memory of a device is away for a while is nothing to warn of. */
static void unreadable(struct vtr_gpu *gpu, struct vtr_scanout *scanout, int error)
{
	bool device = error == -EFAULT && scanout->resource->memory & VTR_IN_DEVICE;

	scanout->revoked = device;
	if (error == -E2BIG || error == -ETIMEDOUT)
		too_much_to_fetch(gpu, scanout, error);
	else if (device)
		vtr_log_limited(&scanout->log, VTR_LOG_INFO,
		                "output %s: the device's memory cannot be read now; the last picture stays",
		                vtr_output_name(scanout->output));
	else
		vtr_log_limited(&scanout->log, VTR_LOG_WARN, "output %s: the guest's memory cannot be read: %s",
		                vtr_output_name(scanout->output), strerror(-error));
}

/* The way is frame->path. */
static void attach_pixels(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_frame *frame)
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
	int error = gather(scanout, frame->path, &stale, vtr_staging_data(staging), vtr_staging_stride(staging), &done);
	if (error) {
		/* half a picture is worse than the last one; what was not read stays in unread */
		vtr_staging_cancel(staging);
		if (vtr_virtqueue_is_transient(error))
			read_again(gpu, scanout);
		else
			unreadable(gpu, scanout, error);
	} else {
		if (frame->path == VTR_PATH_FETCHED)
			scanout->fetching = (struct vtr_backoff){ 0 };
		vtr_staging_commit(staging, &done, frame);
	}
	pixman_region32_fini(&done);
	pixman_region32_fini(&stale);
}

static void attach_buffer(struct vtr_scanout *scanout, struct vtr_frame *frame, const struct vtr_choice *choice)
{
	frame->content = VTR_FRAME_BUFFER;
	frame->buffer = vtr_buffer_lock(choice->buffer);
	frame->offset = choice->place.offset;
	frame->modifier = choice->place.modifier;
	frame->stride = choice->place.stride;
	frame->format = choice->place.format;
	frame->flipped = choice->place.flipped;
	frame->x = choice->place.x;
	frame->y = choice->place.y;
	vtr_imports_note(&scanout->imports, &(struct vtr_import_frame){
						    .sequence = frame->sequence,
						    .kind = choice->kind,
						    .binding = scanout->binding,
						    .flushed_ns = frame->flushed_ns,
					    });
}

/* Gives frame what the output can use of the scanout. */
static void attach_content(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_frame *frame, enum vtr_output_demand demand)
{
	struct vtr_choice choice = vtr_ladder_choose(gpu, scanout);

	scanout->revoked = choice.revoked;
	scanout->waiting |= choice.waiting;
	frame->path = choice.path;
	bool handed_on = choice.buffer && demand == VTR_DEMAND_DMABUF;
	if (handed_on && (choice.path == VTR_PATH_VIRGL || vtr_readback_update(gpu, scanout))) {
		attach_buffer(scanout, frame, &choice); /* the path goes to the log when the display has taken it */
		return;
	}
	if (!handed_on && choice.path != VTR_PATH_NONE && demand != VTR_DEMAND_NONE) {
		frame->path = vtr_ladder_pixels(gpu, scanout, &choice);
		if (frame->path != VTR_PATH_NONE && vtr_readback_update(gpu, scanout))
			attach_pixels(gpu, scanout, frame);
	}
	vtr_ladder_log(gpu, scanout, choice.path);
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

static void fill_damage(struct vtr_scanout *scanout, struct vtr_frame *frame)
{
	/* Without its memory a scanout has nothing newer to be read: no damage, the last picture is the right one. */
	if (!vtr_scanout_frozen(scanout) && !scanout->revoked)
		pixman_region32_copy(&frame->damage, &scanout->unread);
	if (frame->content == VTR_FRAME_UNREAD) {
		scanout->behind |= pixman_region32_not_empty(&frame->damage);
		return;
	}
	/* While a display has dmabufs it keeps no copy up to date. */
	if (frame->content == VTR_FRAME_PIXELS && scanout->holds_buffer)
		pixman_region32_union_rect(&frame->damage, &frame->damage, 0, 0, frame->width, frame->height);
	pixman_region32_clear(&scanout->unread);
	scanout->holds_buffer = frame->content == VTR_FRAME_BUFFER;
	scanout->behind = false;
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
	fill_damage(scanout, frame);
	vtr_scanout_tell_frozen(scanout);
	uint64_t sequence = scanout->sequence = frame->sequence;
	vtr_output_submit(scanout->output, frame);
	scanout->stats.cpu_ns += vtr_scanout_cpu_ns() - cpu;
	return sequence;
}

static void memory_came(struct vtr_memory_waiter *waiter)
{
	read_again(waiter->data, (struct vtr_scanout *)((char *)waiter - offsetof(struct vtr_scanout, waiter)));
}

/* The display wants a picture whose memory was taken away. */
static void look_for_memory(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	if (vtr_resource_resolve(gpu, scanout->resource, true) != -EINPROGRESS)
		return;
	scanout->waiter.ready = memory_came;
	scanout->waiter.data = gpu;
	vtr_memory_wait(gpu->base.memory, &scanout->waiter);
}

uint64_t vtr_scanout_present(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const pixman_region32_t *damage, uint64_t flushed_ns)
{
	scanout->waiting = false;
	if (vtr_scanout_frozen(scanout) && !scanout->resource->three_d)
		look_for_memory(gpu, scanout);
	if (damage) {
		vtr_region_add(&scanout->unread, damage);
		vtr_staging_note_damage(scanout->output, damage);
	}
	return present(gpu, scanout, vtr_output_demand(scanout->output), flushed_ns);
}

/* Can what is left be read, without asking a VMM that waits for us? */
static bool can_read(struct vtr_gpu *gpu, struct vtr_scanout *scanout, bool may_fetch)
{
	struct vtr_choice choice = vtr_ladder_choose(gpu, scanout);
	enum vtr_path path = vtr_ladder_pixels(gpu, scanout, &choice);

	if (path == VTR_PATH_READBACK)
		return vtr_readback_update_now(gpu, scanout);
	return path == VTR_PATH_MAPPED || (path == VTR_PATH_FETCHED && may_fetch);
}

void vtr_scanouts_freeze(struct vtr_gpu *gpu, struct vtr_resource *resource, bool may_fetch)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (scanout->resource != resource || vtr_scanout_frozen(scanout))
			continue;
		bool incomplete = scanout->holds_buffer || pixman_region32_not_empty(&scanout->unread);
		if (incomplete && can_read(gpu, scanout, may_fetch))
			present(gpu, scanout, VTR_DEMAND_PIXELS, 0);
	}
}

void vtr_scanouts_blank_unread(struct vtr_gpu *gpu, const struct vtr_resource *resource)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (gpu->scanouts[i].resource == resource && gpu->scanouts[i].behind)
			vtr_scanout_disable(gpu, &gpu->scanouts[i]);
}

void vtr_scanout_present_restored(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	scanout->awaited = vtr_scanout_frozen(scanout);
	/* behind an IOMMU presenting asks for the memory */
	if (!scanout->awaited || vtr_memory_is_translated(gpu->base.memory))
		read_again(gpu, scanout);
}

void vtr_scanouts_present_later(struct vtr_gpu *gpu)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];

		if (!scanout->resource)
			continue;
		/* of a frozen one the staging memory may have the last copy there is */
		if (!vtr_scanout_frozen(scanout))
			vtr_scanout_all_unread(scanout);
		scanout->again = true;
	}
	vtr_event_raise(gpu->again);
}

void vtr_scanouts_continue(struct vtr_gpu *gpu, const struct vtr_resource *resource)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (gpu->scanouts[i].resource == resource && gpu->scanouts[i].waiting)
			read_again(gpu, &gpu->scanouts[i]);
}

void vtr_scanouts_lost(struct vtr_gpu *gpu, const struct vtr_resource *resource)
{
	vtr_scanouts_tell_frozen(gpu, resource);
	for (uint32_t i = 0; i < gpu->n_scanouts; i++)
		if (gpu->scanouts[i].resource == resource)
			read_again(gpu, &gpu->scanouts[i]);
}

/* A picture that nobody has read, and nobody can any more. */
static bool is_nowhere(const struct vtr_scanout *scanout)
{
	return scanout->resource && scanout->resource->three_d && vtr_scanout_frozen(scanout) && scanout->behind;
}

void vtr_scanouts_present_again(struct vtr_gpu *gpu)
{
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		struct vtr_scanout *scanout = &gpu->scanouts[i];
		bool again = scanout->again;

		scanout->again = false;
		if (again && is_nowhere(scanout))
			vtr_scanout_disable(gpu, scanout);
		else if (again)
			vtr_scanout_present(gpu, scanout, NULL, 0);
	}
}

static void add_sample(struct vtr_scanout_stats *stats, uint64_t ns)
{
	uint64_t us = ns / 1000;

	stats->latency_us[stats->samples++ % VTR_LATENCY_SAMPLES] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* The first answer to a frame with a dmabuf: it could be imported, or it was never tried. */
static void import_done(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_import_frame *frame, bool shown)
{
	frame->done = true;
	if (!shown || frame->failed)
		return;
	vtr_imports_succeeded(&scanout->imports, &frame->kind);
	vtr_ladder_log(gpu, scanout, frame->kind.path);
}

void vtr_scanout_frame_done(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_event *event)
{
	struct vtr_import_frame *import = vtr_imports_find(&scanout->imports, event->sequence);
	uint64_t flushed_ns = import && import->replaced ? 0 : event->flushed_ns;

	if (!event->dropped)
		vtr_scanout_end_stall(scanout);
	if (import)
		import_done(gpu, scanout, import, !event->dropped);
	count_flush(&scanout->stats, flushed_ns, event->dropped);
	if (flushed_ns && !event->dropped && event->time_ns > flushed_ns)
		add_sample(&scanout->stats, event->time_ns - flushed_ns);
	if (event->dropped)
		vtr_flush_frame_dropped(gpu, scanout, event->sequence);
	else
		vtr_flush_frame_done(gpu, scanout, event->sequence);
	if (flushed_ns && gpu->frame_func)
		gpu->frame_func(scanout->id, gpu->frame_data);
}

/* What the last display could not import the new one may. */
void vtr_scanout_display_changed(struct vtr_gpu *gpu, struct vtr_scanout *scanout)
{
	vtr_imports_forget(&scanout->imports);
	vtr_scanout_end_stall(scanout);
	vtr_scanout_present(gpu, scanout, NULL, 0);
}

void vtr_scanout_import_failed(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_event *event)
{
	struct vtr_import_frame *frame = vtr_imports_find(&scanout->imports, event->sequence);

	if (!frame)
		return;
	frame->failed = true;
	vtr_imports_failed(&scanout->imports, &frame->kind, &event->error, gpu->now_ns());
	if (frame->binding != scanout->binding)
		return; /* the guest flipped; the display has its last picture until the guest flushes the next one */
	uint64_t flushed_ns = frame->done ? 0 : frame->flushed_ns;
	frame->replaced = flushed_ns;
	vtr_scanout_all_unread(scanout);
	uint64_t sequence = vtr_scanout_present(gpu, scanout, NULL, flushed_ns);
	if (flushed_ns && sequence)
		vtr_flush_frame_replaced(gpu, scanout->id, event->sequence, sequence);
}
