/* SPDX-License-Identifier: MIT */
/* The DisplayID extension block of an EDID (DisplayID 1.3), for modes that no detailed timing descriptor holds. */
#include "gpu/edid.h"

enum {
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
};

/* DisplayID 1.3, 4.4.1: every field is stored less 1. */
static void put_displayid_timing(uint8_t *t, const struct vtr_timing *timing)
{
	const uint64_t clock = timing->clock - 1;

	vtr_edid_put16(t, (uint32_t)clock);
	t[2] = (uint8_t)(clock >> 16);
	t[3] = 0x80 | 0x08; /* preferred; the aspect ratio is none of the list */
	vtr_edid_put16(t + 4, timing->width - 1);
	vtr_edid_put16(t + 6, VTR_CVT_H_BLANK - 1);
	vtr_edid_put16(t + 8, (VTR_CVT_H_FRONT - 1) | 0x8000); /* positive */
	vtr_edid_put16(t + 10, VTR_CVT_H_SYNC - 1);
	vtr_edid_put16(t + 12, timing->height - 1);
	vtr_edid_put16(t + 14, timing->v_blank - 1);
	vtr_edid_put16(t + 16, VTR_CVT_V_FRONT - 1); /* negative */
	vtr_edid_put16(t + 18, timing->v_sync - 1);
}

/* DisplayID 1.3, 4.1. The vendor is left out: the base block has it, and checkers take its letters for an unknown OUI. */
static void put_displayid_product(uint8_t *p, uint32_t serial)
{
	vtr_edid_put16(p + 3, VTR_EDID_PRODUCT_CODE);
	vtr_edid_put32(p + 5, serial);
	p[9] = 0xff; /* a model year follows */
	p[10] = VTR_EDID_MODEL_YEAR - 2000;
}

/* DisplayID 1.3, 4.2 */
static void put_displayid_parameters(uint8_t *p, const struct vtr_mode *mode)
{
	const uint32_t longer = vtr_larger(mode->width, mode->height), shorter = vtr_smaller(mode->width, mode->height);

	vtr_edid_put16(p, vtr_edid_millimetres(mode->width) * 10);
	vtr_edid_put16(p + 2, vtr_edid_millimetres(mode->height) * 10);
	vtr_edid_put16(p + 4, mode->width);
	vtr_edid_put16(p + 6, mode->height);
	p[9] = 120;                                                                      /* gamma 2.2 */
	p[10] = (uint8_t)vtr_smaller((longer * 100 + shorter / 2) / shorter - 100, 255); /* aspect ratio */
	p[11] = (8 - 1) << 4 | (8 - 1);                                                  /* bits a colour */
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

void vtr_edid_put_displayid(uint8_t *extension, const struct vtr_mode *mode, uint32_t serial)
{
	const struct vtr_timing timing = vtr_timing_cvt(mode);
	uint8_t *section = extension + 1; /* version, bytes of payload, product type, extension count; payload; checksum */

	extension[0] = DISPLAYID_EXTENSION;
	section[0] = DISPLAYID_VERSION;
	section[2] = DISPLAYID_STANDALONE;
	put_displayid_product(add_data_block(section, DISPLAYID_PRODUCT, DISPLAYID_PRODUCT_SIZE), serial);
	put_displayid_parameters(add_data_block(section, DISPLAYID_PARAMETERS, DISPLAYID_PARAMETERS_SIZE), mode);
	put_displayid_interface(add_data_block(section, DISPLAYID_INTERFACE, DISPLAYID_INTERFACE_SIZE));
	put_displayid_timing(add_data_block(section, DISPLAYID_TYPE_I, DISPLAYID_TYPE_I_SIZE), &timing);
	section[4 + section[1]] = vtr_edid_checksum(section, 4u + section[1]);
	extension[VTR_EDID_BLOCK - 1] = vtr_edid_checksum(extension, VTR_EDID_BLOCK - 1);
}
