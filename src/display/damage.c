/* SPDX-License-Identifier: MIT */
#include "display/output.h"
#include "util/region.h"

void vtr_damage_set_all(pixman_region32_t *region, struct vtr_layout layout)
{
	pixman_region32_fini(region);
	pixman_region32_init_rect(region, 0, 0, layout.width, layout.height);
}

void vtr_damage_add(pixman_region32_t *region, const pixman_region32_t *other, struct vtr_layout layout)
{
	vtr_region_add(region, other);
	/* also fails for a region that the union had no memory for */
	if (!pixman_region32_intersect_rect(region, region, 0, 0, layout.width, layout.height))
		vtr_damage_set_all(region, layout);
}

void vtr_damage_clip(pixman_region32_t *region, struct vtr_layout layout)
{
	vtr_damage_add(region, region, layout);
}

uint64_t vtr_damage_area(const pixman_region32_t *region)
{
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles(region, &count);
	uint64_t area = 0;

	for (int i = 0; i < count; i++)
		area += (uint64_t)(boxes[i].x2 - boxes[i].x1) * (uint64_t)(boxes[i].y2 - boxes[i].y1);
	return area;
}
