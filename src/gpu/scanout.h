/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_SCANOUT_H
#define VTR_GPU_SCANOUT_H

#include <pixman.h>
#include <stdbool.h>
#include <stdint.h>

#include <vitrine/buffer.h>
#include <vitrine/display.h>
#include <vitrine/gpu.h>
#include <vitrine/log.h>

#include "gpu/imports.h"
#include "memory/iommu.h"

struct vtr_gpu;
struct vtr_resource;

enum { VTR_LATENCY_SAMPLES = 1024 };

struct vtr_scanout_stats {
	uint64_t frames, dropped, timeouts;
	uint64_t bytes_copied;
	uint64_t cpu_ns;
	uint32_t latency_us[VTR_LATENCY_SAMPLES];
	uint64_t samples;
};

/* The part of a resource that the guest shows on one output. */
struct vtr_scanout_layout {
	uint32_t width, height; /* of the picture, pixels */
	uint32_t format;        /* DRM fourcc */
	uint32_t stride;        /* bytes */
	uint64_t offset;        /* of the picture's first byte in the resource's linear image */
	uint32_t x, y;          /* the picture's place in the framebuffer, which flushes are relative to */
};

struct vtr_scanout {
	uint32_t id;
	struct vtr_output *output;
	struct vtr_resource *resource; /* NULL: disabled */
	struct vtr_scanout_layout layout;
	pixman_region32_t unread; /* damage whose pixels the output has not got yet, picture coordinates */
	bool holds_buffer;        /* the output's last picture is a dmabuf of the guest's memory, not a copy */
	bool behind;              /* it was told of a newer one, and did not want the pixels then */
	bool stalled;             /* the display missed a deadline and has not answered since, */
	uint64_t stalled_ns;      /* and this is when it did */
	bool stall_told;          /* it takes so long that the log says so */

	uint64_t sequence;      /* of the last frame */
	uint64_t tick_ns;       /* of frames that nobody sees: the last tick, or the next when tick_sequence is not 0 */
	uint64_t tick_sequence; /* what is answered then */

	bool waiting;                    /* for the renderer's answer: then again */
	bool again;                      /* to be presented once more, from the loop */
	struct vtr_memory_waiter waiter; /* for the resource's memory, where no command waits for it: then again */
	bool awaited;                    /* restored, and not presented yet: its memory is not there */

	struct vtr_imports imports;
	struct vtr_backoff fetching; /* asking the VMM for the pixels took too much */
	bool revoked;                /* the last frame could not show the device's memory: that is away */
	uint64_t binding;            /* changes when the guest binds the scanout anew */
	enum vtr_path logged_path;   /* VTR_PATH_COUNT: none yet */

	struct vtr_scanout_stats stats;
	struct vtr_log_limit log;
};

void vtr_scanout_init(struct vtr_scanout *scanout, uint32_t id, struct vtr_output *output);
void vtr_scanout_finish(struct vtr_scanout *scanout);

/* Shows layout of resource from the next flush on. */
void vtr_scanout_set(struct vtr_gpu *gpu, struct vtr_scanout *scanout, struct vtr_resource *resource,
                     const struct vtr_scanout_layout *layout);
/* Shows black at once. */
void vtr_scanout_disable(struct vtr_gpu *gpu, struct vtr_scanout *scanout);

/* The display answers, or is another one: no flush has to go on without it. */
void vtr_scanout_end_stall(struct vtr_scanout *scanout);

/* True when the guest shows something whose memory is not there, or whose renderer is lost with all that it had drawn: the last
 * picture stays. */
bool vtr_scanout_frozen(const struct vtr_scanout *scanout);

/* True when its renderer is lost: nothing new comes, whether or not the last picture can still be had. */
bool vtr_scanout_lost(const struct vtr_scanout *scanout);

/* The resource's memory is about to go: what was not read of it is read now, so that the last picture stays right. Memory that can
 * only be had by request is read only when may_fetch: not while the VMM waits for us. */
void vtr_scanouts_freeze(struct vtr_gpu *gpu, struct vtr_resource *resource, bool may_fetch);
/* The resource's memory is gone for good: outputs that are behind could never show its picture, and go blank. */
void vtr_scanouts_blank_unread(struct vtr_gpu *gpu, const struct vtr_resource *resource);
/* Whatever the output holds, it is another picture now. */
void vtr_scanout_all_unread(struct vtr_scanout *scanout);
/* Tells the outputs whether their pictures are old ones now. */
void vtr_scanout_tell_frozen(const struct vtr_scanout *scanout);
void vtr_scanouts_tell_frozen(struct vtr_gpu *gpu, const struct vtr_resource *resource); /* of those that show it */
/* The resource has memory again: scanouts that show it show that from the next flush or read on. */
void vtr_scanouts_thaw(struct vtr_gpu *gpu, const struct vtr_resource *resource);

/* ---- present.c: from a scanout to a frame ---- */

/* Gives the output a frame: damage (picture coordinates, may be NULL) and whatever was not read before. flushed_ns: when the guest
 * flushed, 0 when it is not a flush. Returns the frame's sequence number, 0 when there is no memory for one. */
uint64_t vtr_scanout_present(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const pixman_region32_t *damage,
                             uint64_t flushed_ns);

/* A scanout that was set by vtr_saved_restore(): it is presented from the loop, or when its memory is there, without a flush. */
void vtr_scanout_present_restored(struct vtr_gpu *gpu, struct vtr_scanout *scanout);

/* The guest flushes the scanout, or its memory came back: what was revoked is worth another try. */
void vtr_scanout_lift_revoked(struct vtr_scanout *scanout);

/* The renderer has answered about the resource: scanouts that wait for that are presented again, from the loop. */
void vtr_scanouts_continue(struct vtr_gpu *gpu, const struct vtr_resource *resource);

/* The renderer of the resource is lost: what outputs have of it stays; from the loop, those that have none of it go blank. */
void vtr_scanouts_lost(struct vtr_gpu *gpu, const struct vtr_resource *resource);

/* All scanouts are presented again, from the loop. */
void vtr_scanouts_present_later(struct vtr_gpu *gpu);
/* Presents the scanouts again that asked for it: whose pixels could not be read to the end, or with vtr_scanouts_present_later().
 */
void vtr_scanouts_present_again(struct vtr_gpu *gpu);

/* CPU time of the device thread, for the statistics. */
uint64_t vtr_scanout_cpu_ns(void);

/* The output's events. */
void vtr_scanout_frame_done(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_event *event);
void vtr_scanout_display_changed(struct vtr_gpu *gpu, struct vtr_scanout *scanout);
void vtr_scanout_import_failed(struct vtr_gpu *gpu, struct vtr_scanout *scanout, const struct vtr_event *event);

#endif
