/* SPDX-License-Identifier: MIT */
/* Built without virglrenderer: no 3D. */
#include <errno.h>
#include <stddef.h>

#include <vitrine/renderer.h>

bool vtr_virgl_is_built(void)
{
	return false;
}

struct vtr_renderer *vtr_virgl_create(struct vtr_loop *loop, const struct vtr_renderer_options *options, struct vtr_error *error)
{
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENOSYS,
	              "Vitrine was built without virglrenderer: install libvirglrenderer-dev and build with -Dvirgl=enabled");
	return NULL;
}
