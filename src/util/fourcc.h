/* SPDX-License-Identifier: MIT */
#ifndef VTR_UTIL_FOURCC_H
#define VTR_UTIL_FOURCC_H

#include <stdint.h>

enum { VTR_FOURCC_NAME = 5 };

/* "XR24": a DRM format as people know it. Returns name. */
static inline const char *vtr_fourcc_name(uint32_t fourcc, char name[VTR_FOURCC_NAME])
{
	for (int i = 0; i < 4; i++)
		name[i] = (char)(fourcc >> 8 * i);
	name[4] = '\0';
	return name;
}

/* The same without alpha: itself, of a format that has none. */
uint32_t vtr_fourcc_opaque(uint32_t fourcc);

/* What a picture of that format is when it lies in memory of another one of the formats that pictures have (eight bits each of red,
 * green, blue, and of alpha or nothing): the memory's, with alpha when the picture has it. 0: memory's is none of these. */
uint32_t vtr_fourcc_of_picture(uint32_t memory, uint32_t picture);

#endif
