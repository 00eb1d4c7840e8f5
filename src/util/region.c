/* SPDX-License-Identifier: MIT */
#include "util/region.h"

void vtr_region_add(pixman_region32_t *region, const pixman_region32_t *other)
{
	/* pixman's prototypes lack a const in some versions; it does not write to its sources */
	pixman_region32_union(region, region, (pixman_region32_t *)other);
	if (pixman_region32_n_rects(region) > VTR_REGION_MAX_RECTS) {
		pixman_box32_t box = *pixman_region32_extents(region);

		pixman_region32_fini(region);
		pixman_region32_init_with_extents(region, &box);
	}
}
