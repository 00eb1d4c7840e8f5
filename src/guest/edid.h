/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_EDID_H
#define VTR_GUEST_EDID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a guest wants from an EDID 1.4: is it whole, what is the display called, which mode does it prefer. */
struct vtr_edid_info {
	bool valid;             /* header, checksum of each block, extension count against size */
	char name[14];          /* display product name, "" when there is none */
	char vendor[4];         /* three letters */
	uint32_t width, height; /* preferred mode, pixels; 0 when there is none */
	uint32_t refresh_mhz;
	uint32_t blocks;
};

/* size: bytes at edid that are the EDID. */
void vtr_edid_read(const uint8_t *edid, size_t size, struct vtr_edid_info *info);

#endif
