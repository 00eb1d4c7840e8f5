/* SPDX-License-Identifier: MIT */
/*
 * EDID of an output (VESA E-EDID 1.4, CVT 1.2, DisplayID 1.3).
 *
 * The preferred timing is CVT with reduced blanking (version 1), but for the pixel clock, which is rounded to 10 kHz, the unit of
 * the descriptors, instead of 250 kHz: the refresh rate comes out as it was asked for. Guests read size and refresh rate from it;
 * nothing is ever sent over a wire.
 *
 * A detailed timing descriptor holds at most 4095 pixels, 4095 lines and 655.35 MHz. A mode beyond that goes to a DisplayID
 * extension block as a type I timing, marked preferred. The base block must have a preferred timing all the same: the nearest mode
 * that fits, at a fraction of the refresh rate or of the size. Drivers that know no DisplayID take it; the Linux virtio-gpu driver
 * drops a preferred mode that differs from what GET_DISPLAY_INFO says, and is left with the right one.
 *
 * Common smaller modes are listed too, for guests that want one.
 */
#include <vitrine/gpu.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	BLOCK = 128,
	DESCRIPTOR = 18,
	TEXT = 13,       /* characters of a text descriptor */
	MAX_MM = 2550,   /* of a display size: one byte of centimetres */
	MIN_ACTIVE = 64, /* drivers take no less */
	MAX_ACTIVE = 65535,
	MIN_REFRESH = 1000, /* mHz */
	MAX_REFRESH = 1000000,
	DEFAULT_REFRESH = 60000,
	MODEL_YEAR = 2025,
	PRODUCT_CODE = 1,

	/* CVT reduced blanking, version 1: pixels, lines, microseconds */
	H_FRONT = 48,
	H_SYNC = 32,
	H_BLANK = 160,
	V_FRONT = 3,
	V_BACK_MIN = 6,
	V_BLANK_US = 460,

	/* limits of a detailed timing descriptor: 12 bits, and 10 kHz in 16 bits */
	DTD_MAX_LINES = 4095,
	DTD_MAX_CLOCK = 65535,
	DTD_MIN_CLOCK = 1000, /* below 10 MHz nobody believes it */

	/* descriptor tags */
	TAG_SERIAL = 0xff,
	TAG_RANGE = 0xfd,
	TAG_NAME = 0xfc,
	TAG_DUMMY = 0x10,

	DISPLAYID_EXTENSION = 0x70,
	DISPLAYID_VERSION = 0x13,
	DISPLAYID_STANDALONE = 0x03, /* a display device of its own */
	DISPLAYID_PRODUCT = 0x00,
	DISPLAYID_PRODUCT_SIZE = 12,
	DISPLAYID_PARAMETERS = 0x01,
	DISPLAYID_PARAMETERS_SIZE = 12,
	DISPLAYID_INTERFACE = 0x0f,
	DISPLAYID_INTERFACE_SIZE = 10,
	DISPLAYID_TYPE_I = 0x03,
	DISPLAYID_TYPE_I_SIZE = 20,
	DISPLAYID_MAX_CLOCK = 1 << 24, /* 10 kHz */
};

struct timing {
	uint32_t width, height;
	uint32_t v_blank, v_sync;
	uint64_t clock; /* 10 kHz */
};

/* ---- timings ---- */

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static bool is_ratio(const struct vtr_mode *mode, uint32_t x, uint32_t y)
{
	return (uint64_t)mode->width * y == (uint64_t)mode->height * x;
}

/* CVT codes the aspect ratio in the width of the vertical sync. */
static uint32_t cvt_v_sync(const struct vtr_mode *mode)
{
	if (is_ratio(mode, 4, 3))
		return 4;
	if (is_ratio(mode, 16, 9))
		return 5;
	if (is_ratio(mode, 16, 10))
		return 6;
	if (is_ratio(mode, 5, 4) || is_ratio(mode, 15, 9))
		return 7;
	return 10;
}

static struct timing cvt_timing(const struct vtr_mode *mode)
{
	struct timing timing = { .width = mode->width, .height = mode->height, .v_sync = cvt_v_sync(mode) };
	/* the part of a frame's time that is blanking, in units of 1e-9: us * mHz */
	const uint64_t blank = (uint64_t)V_BLANK_US * mode->refresh_mhz;
	const uint64_t h_total = mode->width + H_BLANK;
	uint64_t lines; /* for DTD_MIN_CLOCK, no more than fit */

	timing.v_blank = (uint32_t)(blank * mode->height / (UINT64_C(1000000000) - blank)) + 1;
	timing.v_blank = larger(timing.v_blank, V_FRONT + timing.v_sync + V_BACK_MIN);
	lines = UINT64_C(10000000) * DTD_MIN_CLOCK / (h_total * mode->refresh_mhz) + 1;
	if (lines > timing.height + timing.v_blank)
		timing.v_blank = smaller((uint32_t)lines - timing.height, DTD_MAX_LINES);
	timing.clock = (h_total * (timing.height + timing.v_blank) * mode->refresh_mhz + 5000000) / 10000000;
	return timing;
}

static bool fits_descriptor(const struct timing *timing)
{
	return timing->width <= DTD_MAX_LINES && timing->height <= DTD_MAX_LINES && timing->v_blank <= DTD_MAX_LINES &&
	       timing->clock <= DTD_MAX_CLOCK;
}

/* The nearest mode that fits a detailed timing descriptor: half the size while that is too much, then 60 Hz, then half the rate. */
static struct vtr_mode descriptor_mode(struct vtr_mode mode)
{
	struct timing timing = cvt_timing(&mode);

	while (!fits_descriptor(&timing)) {
		if (mode.width > DTD_MAX_LINES || mode.height > DTD_MAX_LINES) {
			mode.width = larger(mode.width / 2, MIN_ACTIVE);
			mode.height = larger(mode.height / 2, MIN_ACTIVE);
		} else {
			mode.refresh_mhz = mode.refresh_mhz > DEFAULT_REFRESH ? DEFAULT_REFRESH : mode.refresh_mhz / 2;
		}
		timing = cvt_timing(&mode);
	}
	return mode;
}

/* What we cannot say is brought into the range of what we can. */
static struct vtr_mode sane_mode(const struct vtr_mode *mode)
{
	struct vtr_mode sane = *mode;

	if (sane.refresh_mhz == 0)
		sane.refresh_mhz = DEFAULT_REFRESH;
	sane.width = larger(smaller(sane.width, MAX_ACTIVE), MIN_ACTIVE);
	sane.height = larger(smaller(sane.height, MAX_ACTIVE), MIN_ACTIVE);
	sane.refresh_mhz = larger(smaller(sane.refresh_mhz, MAX_REFRESH), MIN_REFRESH);
	while (cvt_timing(&sane).clock > DISPLAYID_MAX_CLOCK)
		sane.refresh_mhz /= 2;
	return sane;
}

/* Millimetres at 96 dpi. */
static uint32_t millimetres(uint32_t pixels)
{
	return smaller((pixels * 254 + 480) / 960, MAX_MM);
}

/* ---- blocks ---- */

static void put16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)value;
	bytes[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *bytes, uint32_t value)
{
	put16(bytes, value);
	put16(bytes + 2, value >> 16);
}

/* The byte that makes the sum of length bytes and itself 0. */
static uint8_t checksum(const uint8_t *bytes, size_t length)
{
	uint8_t sum = 0;
	size_t i;

	for (i = 0; i < length; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* E-EDID 1.4, 3.10.2. mode: the display's own, which gives the size in millimetres. */
static void put_timing(uint8_t *d, const struct timing *timing, const struct vtr_mode *mode)
{
	const uint32_t width_mm = millimetres(mode->width), height_mm = millimetres(mode->height);

	put16(d, (uint32_t)timing->clock);
	d[2] = (uint8_t)timing->width;
	d[3] = H_BLANK;
	d[4] = (uint8_t)(timing->width >> 8 << 4 | H_BLANK >> 8);
	d[5] = (uint8_t)timing->height;
	d[6] = (uint8_t)timing->v_blank;
	d[7] = (uint8_t)(timing->height >> 8 << 4 | timing->v_blank >> 8);
	d[8] = H_FRONT;
	d[9] = H_SYNC;
	d[10] = (uint8_t)(V_FRONT << 4 | timing->v_sync);
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
	const struct timing timing = cvt_timing(mode);

	return (uint32_t)((uint64_t)(timing.height + timing.v_blank) * mode->refresh_mhz / 1000000);
}

/* Range limits that hold every mode in the EDID: the display's own, the first descriptor's, and the common ones, which are at 60
 * Hz, 31 to 75 kHz, 162 MHz at most (E-EDID 1.4, 3.10.3.3). False when a limit is beyond what can be said. */
static bool put_range(uint8_t *d, const struct vtr_mode *mode, const struct vtr_mode *first)
{
	const uint64_t clock = cvt_timing(mode).clock / 1000 + 1; /* 10 MHz */
	const uint32_t low_khz = smaller(smaller(line_khz(mode), line_khz(first)), 30);

	if (clock > 255 || !put_rate(d + 6, d + 4, 0x02, larger(mode->refresh_mhz / 1000 + 1, 75)) ||
	    !put_rate(d + 8, d + 4, 0x08, larger(line_khz(mode) + 1, 80)))
		return false;
	d[3] = TAG_RANGE;
	d[5] = (uint8_t)smaller(first->refresh_mhz / 1000, 50);
	d[7] = (uint8_t)larger(low_khz, 1);
	d[9] = (uint8_t)larger((uint32_t)clock, 17);
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
	put16(edid + 10, PRODUCT_CODE);
	put32(edid + 12, serial);
	edid[16] = 0xff; /* a model year follows */
	edid[17] = MODEL_YEAR - 1990;
	edid[18] = 1;
	edid[19] = 4;
	edid[20] = 0xa0; /* digital, 8 bits a colour, no particular interface */
	edid[21] = (uint8_t)(millimetres(mode->width) / 10);
	edid[22] = (uint8_t)(millimetres(mode->height) / 10);
	edid[23] = 120;  /* gamma 2.2 */
	edid[24] = 0x06; /* RGB 4:4:4, sRGB, the preferred timing is the native one */
	memcpy(edid + 25, chromaticity, sizeof(chromaticity));
}

/* DisplayID 1.3, 4.4.1: every field is stored less 1. */
static void put_displayid_timing(uint8_t *t, const struct timing *timing)
{
	const uint64_t clock = timing->clock - 1;

	put16(t, (uint32_t)clock);
	t[2] = (uint8_t)(clock >> 16);
	t[3] = 0x80 | 0x08; /* preferred; the aspect ratio is none of the list */
	put16(t + 4, timing->width - 1);
	put16(t + 6, H_BLANK - 1);
	put16(t + 8, (H_FRONT - 1) | 0x8000); /* positive */
	put16(t + 10, H_SYNC - 1);
	put16(t + 12, timing->height - 1);
	put16(t + 14, timing->v_blank - 1);
	put16(t + 16, V_FRONT - 1); /* negative */
	put16(t + 18, timing->v_sync - 1);
}

/* DisplayID 1.3, 4.1. The vendor is left out: the base block has it, and checkers take its letters for an unknown OUI. */
static void put_displayid_product(uint8_t *p, uint32_t serial)
{
	put16(p + 3, PRODUCT_CODE);
	put32(p + 5, serial);
	p[9] = 0xff; /* a model year follows */
	p[10] = MODEL_YEAR - 2000;
}

/* DisplayID 1.3, 4.2 */
static void put_displayid_parameters(uint8_t *p, const struct vtr_mode *mode)
{
	const uint32_t longer = larger(mode->width, mode->height), shorter = smaller(mode->width, mode->height);

	put16(p, millimetres(mode->width) * 10);
	put16(p + 2, millimetres(mode->height) * 10);
	put16(p + 4, mode->width);
	put16(p + 6, mode->height);
	p[9] = 120;                                                                  /* gamma 2.2 */
	p[10] = (uint8_t)smaller((longer * 100 + shorter / 2) / shorter - 100, 255); /* aspect ratio */
	p[11] = (8 - 1) << 4 | (8 - 1);                                              /* bits a colour */
}

/* DisplayID 1.3, 4.12 */
static void put_displayid_interface(uint8_t *p)
{
	p[0] = 0xb1; /* a proprietary digital interface, one link */
	p[2] = 0x02; /* RGB, 8 bits a colour */
}

/* Starts a data block behind the section's others; returns its payload. */
static uint8_t *add_data_block(uint8_t *section, uint8_t tag, uint8_t size)
{
	uint8_t *block = section + 4 + section[1];

	block[0] = tag;
	block[2] = size;
	section[1] = (uint8_t)(section[1] + 3 + size);
	return block + 3;
}

static void put_displayid(uint8_t *extension, const struct vtr_mode *mode, uint32_t serial)
{
	const struct timing timing = cvt_timing(mode);
	uint8_t *section = extension + 1; /* version, bytes of payload, product type, extension count; payload; checksum */

	extension[0] = DISPLAYID_EXTENSION;
	section[0] = DISPLAYID_VERSION;
	section[2] = DISPLAYID_STANDALONE;
	put_displayid_product(add_data_block(section, DISPLAYID_PRODUCT, DISPLAYID_PRODUCT_SIZE), serial);
	put_displayid_parameters(add_data_block(section, DISPLAYID_PARAMETERS, DISPLAYID_PARAMETERS_SIZE), mode);
	put_displayid_interface(add_data_block(section, DISPLAYID_INTERFACE, DISPLAYID_INTERFACE_SIZE));
	put_displayid_timing(add_data_block(section, DISPLAYID_TYPE_I, DISPLAYID_TYPE_I_SIZE), &timing);
	section[4 + section[1]] = checksum(section, 4u + section[1]);
	extension[BLOCK - 1] = checksum(extension, BLOCK - 1);
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
	const struct timing timing = cvt_timing(first);
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
	const struct vtr_mode mode = sane_mode(wanted), first = descriptor_mode(mode);
	const bool extended = memcmp(&mode, &first, sizeof(mode)) != 0;

	memset(edid, 0, 2 * BLOCK);
	put_header(edid, &mode, serial);
	put_smaller_modes(edid, &mode);
	put_descriptors(edid + 54, &mode, &first, name, serial);
	edid[126] = extended;
	edid[BLOCK - 1] = checksum(edid, BLOCK - 1);
	if (extended)
		put_displayid(edid + BLOCK, &mode, serial);
	return extended ? 2 * BLOCK : BLOCK;
}
