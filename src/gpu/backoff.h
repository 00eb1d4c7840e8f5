/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_BACKOFF_H
#define VTR_GPU_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/error.h>

/*
 * A failure and when trying again is worth it; all zero: no failure. What may have changed by itself is tried again, and less and
 * less often, so that what never works costs next to nothing:
 *
 *   host           after VTR_BACKOFF_FIRST_NS, then after twice as long each time, up to VTR_BACKOFF_LAST_NS
 *   revoked        when somebody says that the memory may be back (vtr_backoff_lift_revoked())
 *   unsupported,   never: whoever knows that something has changed forgets the failure (all zero)
 *   guest
 */
#define VTR_BACKOFF_FIRST_NS UINT64_C(1000000000)
#define VTR_BACKOFF_LAST_NS UINT64_C(60000000000)

struct vtr_backoff {
	struct vtr_error error; /* the last failure's; owner NONE: none */
	uint64_t retry_ns;      /* not before; UINT64_MAX: not by the clock */
	uint64_t delay_ns;      /* before that retry; 0 for owners other than HOST */
};

/* It failed at now_ns. A failure before the retry was due belongs to the attempts that are known to have failed: it moves nothing.
 */
void vtr_backoff_failed(struct vtr_backoff *backoff, const struct vtr_error *error, uint64_t now_ns);

static inline bool vtr_backoff_has_failed(const struct vtr_backoff *backoff)
{
	return backoff->error.owner != VTR_ERROR_NONE;
}

/* May it be tried at now_ns? */
static inline bool vtr_backoff_due(const struct vtr_backoff *backoff, uint64_t now_ns)
{
	return !vtr_backoff_has_failed(backoff) || now_ns >= backoff->retry_ns;
}

/* What was revoked may be back: it is due. */
static inline void vtr_backoff_lift_revoked(struct vtr_backoff *backoff)
{
	if (backoff->error.owner == VTR_ERROR_REVOKED)
		backoff->retry_ns = 0;
}

#endif
