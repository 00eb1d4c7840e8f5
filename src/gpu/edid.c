/* SPDX-License-Identifier: MIT */
/*
 * EDID of an output (VESA E-EDID 1.4).
 *
 * A detailed timing descriptor holds at most 4095 pixels, 4095 lines and 655.35 MHz. A mode beyond that goes to a DisplayID
 * extension block. The base block must have a preferred timing all the same: the nearest mode that fits, at a fraction of the
 * refresh rate or of the size. Drivers that know no DisplayID take it; the Linux virtio-gpu driver drops a preferred mode that
 * differs from what GET_DISPLAY_INFO says, and is left with the right one.
 *
 * Common smaller modes are listed too, for guests that want one.
 */
#include "gpu/edid.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <vitrine/gpu.h>

enum {
	DESCRIPTOR = 18,
	TEXT = 13, /* characters of a text descriptor */

	/* descriptor tags */
	TAG_SERIAL = 0xff,
	TAG_RANGE = 0xfd,
	TAG_NAME = 0xfc,
	TAG_DUMMY = 0x10,
};

/* E-EDID 1.4, 3.10.2. mode: the display's own, which gives the size in millimetres. */
static void put_timing(uint8_t *d, const struct vtr_timing *timing, const struct vtr_mode *mode)
{
	const uint32_t width_mm = vtr_edid_millimetres(mode->width), height_mm = vtr_edid_millimetres(mode->height);

	vtr_edid_put16(d, (uint32_t)timing->clock);
	d[2] = (uint8_t)timing->width;
	d[3] = VTR_CVT_H_BLANK;
	d[4] = (uint8_t)(timing->width >> 8 << 4 | VTR_CVT_H_BLANK >> 8);
	d[5] = (uint8_t)timing->height;
	d[6] = (uint8_t)timing->v_blank;
	d[7] = (uint8_t)(timing->height >> 8 << 4 | timing->v_blank >> 8);
	d[8] = VTR_CVT_H_FRONT;
	d[9] = VTR_CVT_H_SYNC;
	d[10] = (uint8_t)(VTR_CVT_V_FRONT << 4 | timing->v_sync);
	d[12] = (uint8_t)width_mm;
	d[13] = (uint8_t)height_mm;
	d[14] = (uint8_t)(width_mm >> 8 << 4 | height_mm >> 8);
	d[17] = 0x1a; /* digital separate sync: horizontal positive, vertical negative */
}

/* E-EDID 1.4, 3.10.3.1 and .4: ends with a newline and is padded with spaces when it is short. */
static void put_text(uint8_t *d, uint8_t tag, const char *text)
{
	size_t i, length = strnlen(text, TEXT);

	d[3] = tag;
	for (i = 0; i < TEXT; i++) {
		if (i < length)
			d[5 + i] = text[i] >= ' ' && text[i] <= '~' ? (uint8_t)text[i] : '?';
		else
			d[5 + i] = i == length ? '\n' : ' ';
	}
}

/* Common modes, as standard timings (E-EDID 1.4, 3.9): width, height, and the code of the aspect ratio. */
static const struct standard {
	uint16_t width, height;
	uint8_t aspect;
} standards[] = {
	{ 1920, 1080, 3 }, { 1680, 1050, 0 }, { 1600, 1200, 1 }, { 1600, 900, 3 },
	{ 1440, 900, 0 },  { 1280, 1024, 2 }, { 1280, 800, 0 },  { 1280, 720, 3 },
};

enum { N_STANDARDS = sizeof(standards) / sizeof(standards[0]) };

static bool is_smaller(uint32_t width, uint32_t height, const struct vtr_mode *mode)
{
	return width <= mode->width && height <= mode->height && (width < mode->width || height < mode->height);
}

static void put_smaller_modes(uint8_t *edid, const struct vtr_mode *mode)
{
	uint8_t *slot = edid + 38;
	size_t i;

	/* established timings at 60 Hz */
	if (is_smaller(640, 480, mode))
		edid[35] |= 0x20;
	if (is_smaller(800, 600, mode))
		edid[35] |= 0x01;
	if (is_smaller(1024, 768, mode))
		edid[36] |= 0x08;
	memset(slot, 0x01, 2 * N_STANDARDS); /* unused */
	for (i = 0; i < N_STANDARDS; i++) {
		if (!is_smaller(standards[i].width, standards[i].height, mode))
			continue;
		slot[0] = (uint8_t)(standards[i].width / 8 - 31);
		slot[1] = (uint8_t)(standards[i].aspect << 6 | (60 - 60));
		slot += 2;
	}
}

/* A rate in one byte and an offset flag; false when it is beyond both. */
static bool put_rate(uint8_t *byte, uint8_t *flags, uint8_t flag, uint32_t rate)
{
	if (rate > 255 + 255)
		return false;
	if (rate > 255)
		*flags |= flag;
	*byte = (uint8_t)(rate > 255 ? rate - 255 : rate);
	return true;
}

static uint32_t line_khz(const struct vtr_mode *mode)
{
	const struct vtr_timing timing = vtr_timing_cvt(mode);

	return (uint32_t)((uint64_t)(timing.height + timing.v_blank) * mode->refresh_mhz / 1000000);
}

/* Range limits that hold every mode in the EDID: the display's own, the first descriptor's, and the common ones, which are at 60
 * Hz, 31 to 75 kHz, 162 MHz at most (E-EDID 1.4, 3.10.3.3). False when a limit is beyond what can be said. */
static bool put_range(uint8_t *d, const struct vtr_mode *mode, const struct vtr_mode *first)
{
	const uint64_t clock = vtr_timing_cvt(mode).clock / 1000 + 1; /* 10 MHz */
	const uint32_t low_khz = vtr_smaller(vtr_smaller(line_khz(mode), line_khz(first)), 30);

	if (clock > 255 || !put_rate(d + 6, d + 4, 0x02, vtr_larger(mode->refresh_mhz / 1000 + 1, 75)) ||
	    !put_rate(d + 8, d + 4, 0x08, vtr_larger(line_khz(mode) + 1, 80)))
		return false;
	d[3] = TAG_RANGE;
	d[5] = (uint8_t)vtr_smaller(first->refresh_mhz / 1000, 50);
	d[7] = (uint8_t)vtr_larger(low_khz, 1);
	d[9] = (uint8_t)vtr_larger((uint32_t)clock, 17);
	d[10] = 0x01; /* limits only, no formula */
	d[11] = '\n';
	memset(d + 12, ' ', 6);
	return true;
}

static void put_header(uint8_t *edid, const struct vtr_mode *mode, uint32_t serial)
{
	static const uint8_t magic[8] = { 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00 };
	/* sRGB (E-EDID 1.4, 3.7) */
	static const uint8_t chromaticity[10] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
	const uint32_t vendor = ('V' - '@') << 10 | ('T' - '@') << 5 | ('R' - '@');

	memcpy(edid, magic, sizeof(magic));
	edid[8] = (uint8_t)(vendor >> 8);
	edid[9] = (uint8_t)vendor;
	vtr_edid_put16(edid + 10, VTR_EDID_PRODUCT_CODE);
	vtr_edid_put32(edid + 12, serial);
	edid[16] = 0xff; /* a model year follows */
	edid[17] = VTR_EDID_MODEL_YEAR - 1990;
	edid[18] = 1;
	edid[19] = 4;
	edid[20] = 0xa0; /* digital, 8 bits a colour, no particular interface */
	edid[21] = (uint8_t)(vtr_edid_millimetres(mode->width) / 10);
	edid[22] = (uint8_t)(vtr_edid_millimetres(mode->height) / 10);
	edid[23] = 120;  /* gamma 2.2 */
	edid[24] = 0x06; /* RGB 4:4:4, sRGB, the preferred timing is the native one */
	memcpy(edid + 25, chromaticity, sizeof(chromaticity));
}

/* What takes no room, or cannot be said, is a dummy descriptor (E-EDID 1.4, 3.10.3.11). */
static void put_dummy(uint8_t *d)
{
	memset(d, 0, DESCRIPTOR);
	d[3] = TAG_DUMMY;
}

static void put_descriptors(uint8_t *d, const struct vtr_mode *mode, const struct vtr_mode *first, const char *name,
                            uint32_t serial)
{
	const struct vtr_timing timing = vtr_timing_cvt(first);
	char text[TEXT + 1];

	put_timing(d, &timing, mode);
	put_text(d + DESCRIPTOR, TAG_NAME, name && name[0] ? name : "Vitrine");
	if (!put_range(d + 2 * DESCRIPTOR, mode, first))
		put_dummy(d + 2 * DESCRIPTOR);
	snprintf(text, sizeof(text), "%" PRIu32, serial);
	if (serial)
		put_text(d + 3 * DESCRIPTOR, TAG_SERIAL, text);
	else
		put_dummy(d + 3 * DESCRIPTOR);
}

size_t vtr_edid_generate(const struct vtr_mode *wanted, const char *name, uint32_t serial, uint8_t edid[256])
{
	const struct vtr_mode mode = vtr_timing_sane_mode(wanted), first = vtr_timing_descriptor_mode(mode);
	const bool extended = memcmp(&mode, &first, sizeof(mode)) != 0;

	memset(edid, 0, 2 * VTR_EDID_BLOCK);
	put_header(edid, &mode, serial);
	put_smaller_modes(edid, &mode);
	put_descriptors(edid + 54, &mode, &first, name, serial);
	edid[126] = extended;
	edid[VTR_EDID_BLOCK - 1] = vtr_edid_checksum(edid, VTR_EDID_BLOCK - 1);
	if (extended)
		vtr_edid_put_displayid(edid + VTR_EDID_BLOCK, &mode, serial);
	return extended ? 2 * VTR_EDID_BLOCK : VTR_EDID_BLOCK;
}
