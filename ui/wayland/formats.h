/* SPDX-License-Identifier: MIT */
#ifndef VTR_WAYLAND_FORMATS_H
#define VTR_WAYLAND_FORMATS_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include <vitrine/error.h>

#include "linux-dmabuf-v1-client-protocol.h"

enum { WAYLAND_MAX_FORMATS = 65536 }; /* what an index of linux-dmabuf's feedback can name */

struct wayland_format {
	uint32_t fourcc;
	bool scanout; /* a plane of the screen may take it */
	uint64_t modifier;
};

/* What the compositor says about dmabufs, for all surfaces or for one. */
struct wayland_formats {
	pthread_mutex_t lock; /* of known, items and count: the device thread asks */
	bool known;           /* there is a list */
	struct wayland_format *items;
	size_t count;
	dev_t main_device;           /* that imports them; 0: not known */
	void (*changed)(void *data); /* there is a list, or another one; version 4 */
	void *data;

	/* version 4: a list is collected, and then takes the place of the last one */
	struct zwp_linux_dmabuf_feedback_v1 *feedback;
	struct wayland_format *table; /* the compositor's, copied */
	size_t table_size;
	uint8_t *marks; /* by table index, of the list under way */
	bool tranche_scanout;
};

void wayland_formats_init(struct wayland_formats *formats);
void wayland_formats_finish(struct wayland_formats *formats);
/* What holds for all surfaces. changed (version 4): the list is there, or another one came. */
void wayland_formats_listen(struct wayland_formats *formats, struct zwp_linux_dmabuf_v1 *dmabuf, void (*changed)(void *data),
                            void *data);
/* The same for one surface. Before version 4 nothing happens. */
void wayland_formats_listen_surface(struct wayland_formats *formats, struct zwp_linux_dmabuf_v1 *dmabuf, struct wl_surface *surface,
                                    void (*changed)(void *data), void *data);
void wayland_formats_forget(struct wayland_formats *formats); /* the surface is gone, and with it its list */

/* Any thread: whether a dmabuf of this layout is listed for the surface, or for all where that has no list. *found (may be NULL):
 * as which format it is to be given to the compositor, that ends the connection over others. Else false with *error. */
bool wayland_formats_find(struct wayland_formats *all, struct wayland_formats *surface, uint32_t fourcc, uint64_t modifier,
                          struct wayland_format *found, struct vtr_error *error);

#endif
