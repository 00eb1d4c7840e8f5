/* SPDX-License-Identifier: MIT */
/* What is shown is what is measured: the numbers behind `vitrinectl status`. */
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void fill_latency(const struct vtr_scanout_stats *stats, struct vtr_scanout_status *status)
{
	uint32_t sorted[VTR_LATENCY_SAMPLES];
	size_t n = stats->samples < VTR_LATENCY_SAMPLES ? (size_t)stats->samples : VTR_LATENCY_SAMPLES;

	if (!n)
		return;
	memcpy(sorted, stats->latency_us, n * sizeof(sorted[0]));
	qsort(sorted, n, sizeof(sorted[0]), compare_u32);
	status->present_p50_us = sorted[(n - 1) * 50 / 100];
	status->present_p99_us = sorted[(n - 1) * 99 / 100];
}

bool vtr_gpu_scanout_status(struct vtr_gpu *gpu, uint32_t id, struct vtr_scanout_status *status)
{
	if (id >= gpu->n_scanouts)
		return false;
	struct vtr_scanout *scanout = &gpu->scanouts[id];
	bool frozen = vtr_scanout_frozen(scanout);

	*status = (struct vtr_scanout_status){
		.id = id,
		.name = vtr_output_name(scanout->output),
		.display = vtr_output_display_name(scanout->output),
		.enabled = scanout->resource,
		.frames = scanout->stats.frames,
		.dropped = scanout->stats.dropped,
		.timeouts = scanout->stats.timeouts,
		.bytes_copied = scanout->stats.bytes_copied,
		.cpu_ns = scanout->stats.cpu_ns,
	};
	if (scanout->resource) {
		status->width = scanout->layout.width;
		status->height = scanout->layout.height;
		status->format = scanout->layout.format;
		status->resource = scanout->resource->id;
	}
	struct vtr_choice choice = vtr_ladder_look(gpu, scanout, status->why_not, &status->n_why_not);
	status->path = choice.path;
	vtr_ladder_lacks_pixels(gpu, scanout, &choice, &status->no_pixels);
	status->revoked = frozen && !scanout->resource->three_d ? scanout->resource->was_resolved
	                                                        : scanout->resource && (choice.revoked || scanout->revoked);
	status->frozen = frozen || status->revoked || vtr_scanout_lost(scanout);
	fill_latency(&scanout->stats, status);
	return true;
}

void vtr_gpu_status(const struct vtr_gpu *gpu, struct vtr_gpu_status *status)
{
	*status = (struct vtr_gpu_status){
		.n_scanouts = gpu->n_scanouts,
		.resources = gpu->resources.count,
		.entries = gpu->resources.entries,
		.hostmem = gpu->resources.hostmem,
		.commands = gpu->commands,
		.errors = gpu->errors,
		.renderer = gpu->options.renderer ? vtr_renderer_description(gpu->options.renderer) : NULL,
		.contexts = gpu->contexts.count,
		.resources_3d = vtr_resources_count_rendered(gpu),
		.renderer_lost = gpu->rendering.lost,
		.lost_why = gpu->rendering.lost_why,
	};
}
