/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_ERROR_H
#define VITRINE_ERROR_H

#include <vitrine/api.h>

/*
 * Errors with an owner. Most functions return 0 or -errno and need no more. Where it matters whose fault a failure is, a function
 * also fills a struct vtr_error: the guest gets an error response for its own faults only; a host's inability sends us down the
 * path ladder and is shown to the admin.
 */
enum vtr_error_owner {
	VTR_ERROR_NONE,
	VTR_ERROR_GUEST,       /* the guest asked for something impossible: it gets an error response, we log at debug level */
	VTR_ERROR_HOST,        /* something failed here: warn, go down the ladder */
	VTR_ERROR_UNSUPPORTED, /* probed and not there: quiet, shown in status */
	VTR_ERROR_REVOKED,     /* gone for now, comes back by itself */
};

struct vtr_error {
	enum vtr_error_owner owner;
	int code;       /* errno value, positive */
	char text[216]; /* cause and remedy, one sentence, no newline */
};

/* Fills *error (may be NULL) and returns -code. */
VTR_API int vtr_error_set(struct vtr_error *error, enum vtr_error_owner owner, int code, const char *format, ...) VTR_PRINTF(4, 5);

/* "guest", "host", "unsupported", "revoked" or "none". */
VTR_API const char *vtr_error_owner_name(enum vtr_error_owner owner);

#endif
