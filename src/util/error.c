/* SPDX-License-Identifier: MIT */
#include <vitrine/error.h>

#include <stdarg.h>
#include <stdio.h>

int vtr_error_set(struct vtr_error *error, enum vtr_error_owner owner, int code, const char *format, ...)
{
	if (error) {
		va_list args;

		error->owner = owner;
		error->code = code;
		va_start(args, format);
		vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return -code;
}

const char *vtr_error_owner_name(enum vtr_error_owner owner)
{
	static const char *const names[] = {
		[VTR_ERROR_NONE] = "none",       [VTR_ERROR_GUEST] = "guest",
		[VTR_ERROR_HOST] = "host",       [VTR_ERROR_UNSUPPORTED] = "unsupported",
		[VTR_ERROR_REVOKED] = "revoked",
	};

	return names[owner];
}
