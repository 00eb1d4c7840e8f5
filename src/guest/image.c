/* SPDX-License-Identifier: MIT */
#include "guest/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/machine.h"

enum { PAGE = 4096, POISON = 0xa5 };

/* The same order every time: a check that fails fails again. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static void shuffle(struct virtio_gpu_mem_entry *entries, uint32_t n)
{
	uint32_t state = 20241;

	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = next_random(&state) % i;
		struct virtio_gpu_mem_entry entry = entries[i - 1];

		entries[i - 1] = entries[j];
		entries[j] = entry;
	}
}

/* n ranges of chunk bytes, a gap before each, in one piece of poisoned guest memory. */
static int lay_out(struct vtr_image *image, enum vtr_guest_memory memory, uint64_t gap)
{
	struct vtr_guest *guest = image->guest;
	uint64_t step = image->chunk + gap, bytes = step * image->n_entries + gap;
	uint64_t address = vtr_guest_area_alloc(&guest->areas[memory], bytes, PAGE);

	image->entries = calloc(image->n_entries, sizeof(*image->entries));
	if (!address || !image->entries)
		return vtr_guest_fail(guest, ENOMEM, "no room for an image of %llu bytes in the %s area",
		                      (unsigned long long)image->size, vtr_guest_memory_name(memory));
	int result = vtr_guest_fill(guest, address, POISON, bytes);
	if (result)
		return vtr_guest_fail(guest, -result, "writing to the %s area failed: %s", vtr_guest_memory_name(memory),
		                      strerror(-result));
	for (uint32_t i = 0; i < image->n_entries; i++)
		image->entries[i] =
			(struct virtio_gpu_mem_entry){ .addr = address + gap + i * step, .length = (uint32_t)image->chunk };
	shuffle(image->entries, image->n_entries);
	image->entries[image->n_entries - 1].length = (uint32_t)(image->size - image->chunk * (image->n_entries - 1));
	return 0;
}

int vtr_image_init(struct vtr_image *image, struct vtr_guest *guest, const struct vtr_image_layout *layout)
{
	uint64_t granularity = layout->granularity ? layout->granularity : PAGE;
	uint32_t ranges = layout->ranges ? layout->ranges : 1;

	*image = (struct vtr_image){ .guest = guest };
	if (!vtr_guest_has_memory(guest, layout->memory))
		return vtr_guest_fail(guest, ENOTSUP, "there is no %s memory over %s", vtr_guest_memory_name(layout->memory),
		                      guest->link->impl->name);
	image->framebuffer = (struct vtr_framebuffer){
		.width = layout->width,
		.height = layout->height,
		.format = layout->format ? layout->format : VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.stride = layout->stride ? layout->stride : layout->width * 4,
		.offset = layout->offset,
	};
	image->size = layout->offset + (uint64_t)image->framebuffer.stride * layout->height;
	if (!layout->granularity) /* whole pages, as a kernel gives them */
		image->size = (image->size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	uint64_t units = (image->size + granularity - 1) / granularity;
	image->chunk = (units + ranges - 1) / ranges * granularity;
	image->n_entries = (uint32_t)((image->size + image->chunk - 1) / image->chunk);
	int result = lay_out(image, layout->memory, granularity);
	if (result)
		vtr_image_finish(image);
	return result;
}

void vtr_image_finish(struct vtr_image *image)
{
	free(image->entries);
	image->entries = NULL;
	image->n_entries = 0;
}

void vtr_image_write(struct vtr_image *image, uint64_t offset, const void *bytes, size_t length)
{
	const uint8_t *from = bytes;

	while (length) {
		uint64_t within = offset % image->chunk;
		size_t n = image->chunk - within < length ? image->chunk - within : length;

		/* what cannot be written shows in the picture, and in every call that follows */
		vtr_guest_write(image->guest, image->entries[offset / image->chunk].addr + within, from, n);
		from += n;
		offset += n;
		length -= n;
	}
}

void vtr_image_draw(struct vtr_image *image, const struct vtr_pattern *pattern, struct vtr_rect rect)
{
	const struct vtr_framebuffer *fb = &image->framebuffer;
	uint8_t *row = malloc((size_t)rect.width * 4);

	if (!row)
		return;
	for (uint32_t y = rect.y; y < rect.y + rect.height; y++) {
		vtr_pattern_row(pattern, rect.x, y, rect.width, fb->format, row);
		vtr_image_write(image, fb->offset + (uint64_t)y * fb->stride + (uint64_t)rect.x * 4, row, (size_t)rect.width * 4);
	}
	free(row);
}

static struct vtr_rect whole(const struct vtr_image *image)
{
	return (struct vtr_rect){ 0, 0, image->framebuffer.width, image->framebuffer.height };
}

void vtr_image_draw_all(struct vtr_image *image, const struct vtr_pattern *pattern)
{
	vtr_image_draw(image, pattern, whole(image));
}

uint32_t vtr_image_create_blob(struct vtr_image *image, uint32_t resource)
{
	return vtr_command_create_blob(image->guest, resource, image->size, image->entries, image->n_entries);
}

uint32_t vtr_image_show(struct vtr_image *image, uint32_t resource, uint32_t scanout)
{
	uint32_t response = vtr_command_set_scanout_blob(image->guest, scanout, resource, whole(image), &image->framebuffer);

	return response == VIRTIO_GPU_RESP_OK_NODATA ? vtr_command_flush(image->guest, resource, whole(image)) : response;
}
