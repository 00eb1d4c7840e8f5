/* SPDX-License-Identifier: MIT */
/* Built without windows: the same function, and a reason. */
#include <errno.h>

#include <vitrine/window.h>

struct vtr_display *vtr_sdl_create(const struct vtr_window_options *options, struct vtr_error *error)
{
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENOSYS,
	              "vitrine was built without windows: install SDL2 and libepoxy and build it with -Dsdl=enabled");
	return NULL;
}
