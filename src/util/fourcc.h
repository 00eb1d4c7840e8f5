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

#endif
