/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_DISPLAY_H
#define VTR_GUEST_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The VMM's end of a display socket (VHOST_USER_GPU_SET_SOCKET): answers what a back-end asks of its displays, and keeps the
 * pictures that it sends, as a console would show them. The back-end is not trusted.
 */
enum { VTR_GUEST_DISPLAY_SCANOUTS = 2, VTR_GUEST_DISPLAY_WIDTH = 1280, VTR_GUEST_DISPLAY_HEIGHT = 800 };

struct vtr_guest_display;

/* *socket: the back-end's end, the caller's. NULL with errno. */
struct vtr_guest_display *vtr_guest_display_create(int *socket);
void vtr_guest_display_destroy(struct vtr_guest_display *display); /* NULL is fine */
int vtr_guest_display_fd(const struct vtr_guest_display *display); /* for polling; -1 when the back-end has closed it */
/* Takes what is there. 0, or -errno: the socket is closed. */
int vtr_guest_display_dispatch(struct vtr_guest_display *display);

/* The picture of a scanout, 0xXXRRGGBB, row after row, valid until the next dispatch; black when nothing is shown,
 * NULL when a dmabuf is. */
const uint32_t *vtr_guest_display_picture(const struct vtr_guest_display *display, uint32_t scanout, uint32_t *width,
                                          uint32_t *height);

#endif
