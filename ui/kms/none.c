/* SPDX-License-Identifier: MIT */
/* Built without the KMS display: the same functions, and a reason. */
#include <errno.h>

#include <vitrine/display.h>

struct vtr_display *vtr_kms_create(const char *card, struct vtr_error *error)
{
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENOSYS,
	              "vitrine was built without the kms display: build it with -Dkms=enabled");
	return NULL;
}

bool vtr_kms_connector(const struct vtr_display *kms, size_t i, struct vtr_mode *mode, char name[32])
{
	return false;
}
