/* SPDX-License-Identifier: MIT */
#include "memory/copy.h"

#include <stdint.h>
#include <string.h>

/* Any processor: what is before and behind the wide loads, in units of 1, 2, 4 or 8 bytes. Volatile, so that each is one load. */

static size_t load(uint8_t *to, const uint8_t *from, size_t most)
{
	uintptr_t aligned = (uintptr_t)from | 8; // its lowest bit: the largest unit that is aligned here
	size_t unit = aligned & -aligned;
	uint64_t value;

	while (unit > most)
		unit /= 2;
	switch (unit) {
	case 8:
		value = *(const volatile uint64_t *)from;
		break;
	case 4:
		value = *(const volatile uint32_t *)from;
		break;
	case 2:
		value = *(const volatile uint16_t *)from;
		break;
	default:
		value = *(const volatile uint8_t *)from;
	}
	memcpy(to, &value, unit); // the low bytes: hosts are little-endian
	return unit;
}

static void copy_units(uint8_t *to, const uint8_t *from, size_t length)
{
	while (length) {
		size_t unit = load(to, from, length);

		to += unit;
		from += unit;
		length -= unit;
	}
}

void vtr_copy_device(void *to, const void *from, size_t length)
{
	uint8_t *target = to;
	const uint8_t *source = from;
	size_t head = -(uintptr_t)source & (VTR_COPY_WIDE - 1);

	if (head > length)
		head = length;
	size_t wide = (length - head) & ~(size_t)(VTR_COPY_WIDE - 1);
	copy_units(target, source, head);
	if (wide)
		vtr_copy_wide(target + head, source + head, wide);
	copy_units(target + head + wide, source + head + wide, length - head - wide);
}
