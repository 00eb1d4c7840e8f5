/* SPDX-License-Identifier: MIT */
#include "guest/edid.h"

#include <string.h>

/* VESA E-EDID 1.4, section 3; DisplayID 1.3, section 4.4 (type I timings) and 2.0, section 4.3 (type VII). */
enum {
	BLOCK = 128,
	VENDOR = 8,
	DESCRIPTORS = 54,
	DESCRIPTOR_SIZE = 18,
	N_DESCRIPTORS = 4,
	EXTENSIONS = 126,
	TAG_NAME = 0xfc,
	EXTENSION_DISPLAYID = 0x70,
	DISPLAYID_TYPE_I = 0x03,
	DISPLAYID_TYPE_VII = 0x22,
	DISPLAYID_TIMING_SIZE = 20,
};

static uint32_t le16(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

static bool checksum_fits(const uint8_t *block)
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < BLOCK; i++)
		sum = (uint8_t)(sum + block[i]);
	return !sum;
}

static void set_mode(struct vtr_edid_info *info, uint32_t width, uint32_t height, uint64_t clock_hz, uint32_t h_total,
                     uint32_t v_total)
{
	info->width = width;
	info->height = height;
	if (h_total && v_total)
		info->refresh_mhz = (uint32_t)(clock_hz * 1000 / ((uint64_t)h_total * v_total));
}

static void read_detailed_timing(const uint8_t *d, struct vtr_edid_info *info)
{
	uint32_t width = d[2] | (d[4] & 0xf0u) << 4, h_blank = d[3] | (d[4] & 0x0fu) << 8;
	uint32_t height = d[5] | (d[7] & 0xf0u) << 4, v_blank = d[6] | (d[7] & 0x0fu) << 8;

	set_mode(info, width, height, (uint64_t)le16(d) * 10000, width + h_blank, height + v_blank);
}

static void read_name(const uint8_t *d, struct vtr_edid_info *info)
{
	size_t n = 0;

	while (n < sizeof(info->name) - 1 && d[5 + n] != '\n' && d[5 + n])
		n++;
	memcpy(info->name, d + 5, n);
	info->name[n] = 0;
}

/* A mode too large for a detailed timing stands in a DisplayID extension. */
static void read_displayid(const uint8_t *block, struct vtr_edid_info *info)
{
	size_t end = 5 + (size_t)block[2] < BLOCK - 1 ? 5 + (size_t)block[2] : BLOCK - 1;

	for (size_t at = 5; at + 3 <= end && block[at + 2]; at += 3 + (size_t)block[at + 2]) {
		const uint8_t *t = block + at + 3;
		uint64_t unit = block[at] == DISPLAYID_TYPE_VII ? 1000 : 10000;

		if ((block[at] != DISPLAYID_TYPE_I && block[at] != DISPLAYID_TYPE_VII) || block[at + 2] < DISPLAYID_TIMING_SIZE ||
		    at + 3 + DISPLAYID_TIMING_SIZE > end)
			continue;
		uint32_t width = le16(t + 4) + 1, h_blank = le16(t + 6) + 1, height = le16(t + 12) + 1, v_blank = le16(t + 14) + 1;
		uint64_t clock = (le16(t) | (uint64_t)t[2] << 16) + 1;

		set_mode(info, width, height, clock * unit, width + h_blank, height + v_blank);
		return;
	}
}

void vtr_edid_read(const uint8_t *edid, size_t size, struct vtr_edid_info *info)
{
	static const uint8_t magic[8] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };

	*info = (struct vtr_edid_info){ 0 };
	if (size < BLOCK || size % BLOCK || memcmp(edid, magic, sizeof(magic)))
		return;
	info->blocks = (uint32_t)(size / BLOCK);
	info->valid = (uint32_t)edid[EXTENSIONS] + 1 == info->blocks;
	for (uint32_t i = 0; i < info->blocks; i++)
		info->valid = info->valid && checksum_fits(edid + i * BLOCK);

	uint32_t letters = (uint32_t)edid[VENDOR] << 8 | edid[VENDOR + 1];
	for (unsigned i = 0; i < 3; i++)
		info->vendor[i] = (char)('@' + (letters >> (10 - 5 * i) & 31));
	for (unsigned i = N_DESCRIPTORS; i-- > 0;) {
		const uint8_t *d = edid + DESCRIPTORS + i * DESCRIPTOR_SIZE;

		if (le16(d))
			read_detailed_timing(d, info); /* the first one is preferred, so it is read last */
		else if (d[3] == TAG_NAME)
			read_name(d, info);
	}
	for (uint32_t i = 1; i < info->blocks && !info->width; i++)
		if (edid[i * BLOCK] == EXTENSION_DISPLAYID)
			read_displayid(edid + i * BLOCK, info);
}
