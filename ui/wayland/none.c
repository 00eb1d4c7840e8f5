/* SPDX-License-Identifier: MIT */
/* Built without Wayland: the same function, and a reason. */
#include <errno.h>

#include <vitrine/window.h>

struct vtr_display *vtr_wayland_create(const char *socket, const struct vtr_window_options *options, struct vtr_error *error)
{
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENOSYS,
	              "vitrine was built without Wayland: install its development files and build it with -Dwayland=enabled");
	return NULL;
}
