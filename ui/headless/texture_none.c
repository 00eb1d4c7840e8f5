/* SPDX-License-Identifier: MIT */
/* Built without EGL: the same functions, and a reason. */
#include <errno.h>

#include "texture.h"

static int refuse(struct vtr_error *error)
{
	return vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENOSYS,
	                     "vitrine was built without EGL: install libepoxy and build it again to show textures");
}

bool headless_textures_accept(void *egl_display, struct vtr_error *error)
{
	refuse(error);
	return false;
}

int headless_textures_read(struct headless_textures **textures, const struct vtr_frame *frame, pixman_image_t *picture,
                           struct vtr_error *error)
{
	return refuse(error);
}

void headless_textures_clear(struct headless_textures **textures)
{
}
