/* SPDX-License-Identifier: MIT */
#include "gpu/backoff.h"

static uint64_t next_delay(const struct vtr_backoff *backoff)
{
	uint64_t delay = backoff->delay_ns ? 2 * backoff->delay_ns : VTR_BACKOFF_FIRST_NS;

	return delay < VTR_BACKOFF_LAST_NS ? delay : VTR_BACKOFF_LAST_NS;
}

void vtr_backoff_failed(struct vtr_backoff *backoff, const struct vtr_error *error, uint64_t now_ns)
{
	bool known = backoff->error.owner == error->owner && !vtr_backoff_due(backoff, now_ns);

	backoff->error = *error;
	if (known)
		return;
	backoff->delay_ns = error->owner == VTR_ERROR_HOST ? next_delay(backoff) : 0;
	backoff->retry_ns = backoff->delay_ns ? now_ns + backoff->delay_ns : UINT64_MAX;
}
