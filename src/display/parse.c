/* SPDX-License-Identifier: MIT */
/* What an output's mode and name may be, and how people write them. */
#include <errno.h>
#include <string.h>

#include "display/output.h"

/* Reads digits at *text into *value, at most max; false when there is none or it is larger. */
static bool parse_number(const char **text, uint32_t max, uint32_t *value)
{
	const char *c = *text;
	uint64_t number = 0;

	if (*c < '0' || *c > '9')
		return false;
	for (; *c >= '0' && *c <= '9'; c++) {
		number = number * 10 + (uint64_t)(*c - '0');
		if (number > max)
			return false;
	}
	*text = c;
	*value = (uint32_t)number;
	return true;
}

/* Hertz with up to three decimals, in millihertz; not strtod(), whose decimal point depends on the locale. */
static bool parse_refresh(const char **text, uint32_t *refresh_mhz)
{
	uint32_t hertz, scale = 1000;

	if (!parse_number(text, VTR_MAX_REFRESH_MHZ / 1000, &hertz))
		return false;
	*refresh_mhz = hertz * 1000;
	if (**text == '.') {
		for ((*text)++; **text >= '0' && **text <= '9' && scale > 1; (*text)++)
			*refresh_mhz += (uint32_t)(**text - '0') * (scale /= 10);
		if (scale == 1000)
			return false;
	}
	return *refresh_mhz >= VTR_MIN_REFRESH_MHZ && *refresh_mhz <= VTR_MAX_REFRESH_MHZ;
}

/* Printable ASCII, which is what an EDID can carry; no comma, so that more options may follow one day. */
bool vtr_output_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length < 1 || length > 31)
		return false;
	for (const char *c = name; *c; c++)
		if (*c < 0x20 || *c > 0x7e || *c == ',')
			return false;
	return true;
}

bool vtr_output_mode_is_valid(const struct vtr_mode *mode)
{
	return mode->width >= 1 && mode->width <= VTR_MAX_DIMENSION && mode->height >= 1 && mode->height <= VTR_MAX_DIMENSION &&
	       (!mode->refresh_mhz || (mode->refresh_mhz >= VTR_MIN_REFRESH_MHZ && mode->refresh_mhz <= VTR_MAX_REFRESH_MHZ));
}

/* Reads "WxH[@HZ]" or "auto" at *text into *mode. */
static bool parse_mode(const char **text, struct vtr_mode *mode)
{
	if (!strncmp(*text, "auto", 4)) {
		*text += 4;
		*mode = (struct vtr_mode){ 0 };
		return true;
	}
	*mode = (struct vtr_mode){ .refresh_mhz = VTR_DEFAULT_REFRESH_MHZ };
	if (!parse_number(text, VTR_MAX_DIMENSION, &mode->width) || *(*text)++ != 'x' ||
	    !parse_number(text, VTR_MAX_DIMENSION, &mode->height))
		return false;
	if (**text == '@') {
		(*text)++;
		if (!parse_refresh(text, &mode->refresh_mhz))
			return false;
	}
	return vtr_output_mode_is_valid(mode);
}

int vtr_output_parse(const char *text, struct vtr_mode *mode, char name[32])
{
	const char *new_name = NULL;
	struct vtr_mode parsed;

	if (!parse_mode(&text, &parsed))
		return -EINVAL;
	if (!strncmp(text, ",name=", 6)) {
		new_name = text + 6;
		if (!vtr_output_name_is_valid(new_name))
			return -EINVAL;
	} else if (*text) {
		return -EINVAL;
	}
	*mode = parsed;
	if (new_name)
		strcpy(name, new_name);
	return 0;
}
