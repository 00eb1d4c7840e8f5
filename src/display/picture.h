/* SPDX-License-Identifier: MIT */
#ifndef VTR_DISPLAY_PICTURE_H
#define VTR_DISPLAY_PICTURE_H

#include <pixman.h>
#include <stdbool.h>
#include <stdint.h>

#include <vitrine/display.h>

/* True when the fourcc is one that a virtio-gpu scanout can have (virtio 1.3, 5.7.6.8), which is what pictures can be read from. */
bool vtr_picture_knows(uint32_t fourcc);

/* A picture is x8r8g8b8; a new one is black. NULL when out of memory. */
pixman_image_t *vtr_picture_create(uint32_t width, uint32_t height);

/* Converts region from an image at data: stride bytes a row (any number), of a format that is known. Alpha is ignored: a scanout
 * has nothing behind it. region lies inside the picture. False when out of memory. */
bool vtr_picture_read(pixman_image_t *picture, const pixman_region32_t *region, const void *data, uint32_t stride, uint32_t fourcc);

/* An image over width x height pixels of a known format at data, which stay the caller's. NULL when out of memory, or when rows do
 * not begin on a word. */
pixman_image_t *vtr_picture_wrap(const void *data, uint32_t width, uint32_t height, uint32_t stride, uint32_t fourcc);

/* Draws the cursor over picture, clipped at its borders; nothing when it is hidden. False when out of memory. */
bool vtr_picture_draw_cursor(pixman_image_t *picture, const struct vtr_cursor *cursor);

/* A copy of picture with the cursor drawn over it. NULL when out of memory. */
pixman_image_t *vtr_picture_with_cursor(pixman_image_t *picture, const struct vtr_cursor *cursor);

#endif
