/* SPDX-License-Identifier: MIT */
#ifndef HEADLESS_TEXTURE_H
#define HEADLESS_TEXTURE_H

#include <pixman.h>
#include <stdbool.h>

#include <vitrine/display.h>
#include <vitrine/error.h>

/*
 * Textures of a renderer, read for a picture: with OpenGL ES contexts of the headless display's own, one for each EGLDisplay, made
 * when the first picture is wanted. A context keeps what it has read alive, so the owner clears them when nobody looks any more. On
 * the display's thread, but for headless_textures_accept().
 */
struct headless_textures;

/* Any thread, as vtr_display_impl.accepts_texture: a build without EGL takes none. */
bool headless_textures_accept(void *egl_display, struct vtr_error *error);

/* Reads what the frame damaged of its buffer's texture into picture (x8r8g8b8, of the frame's size), right side up. *textures: NULL
 * at first. 0, or -errno with *error. */
int headless_textures_read(struct headless_textures **textures, const struct vtr_frame *frame, pixman_image_t *picture,
                           struct vtr_error *error);

void headless_textures_clear(struct headless_textures **textures);

#endif
