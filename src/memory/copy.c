/* SPDX-License-Identifier: MIT */
#include "memory/copy.h"

#include <stdint.h>
#include <string.h>

/* Any processor: the library's copy, in steps small enough for the fetches to run beside it. */

enum { LINE = 64, STEP = 4 * LINE };

void vtr_copy_stream(void *to, const void *from, size_t length, const void *ahead)
{
	uint8_t *target = to;
	const uint8_t *source = from;
	uintptr_t fetch = (uintptr_t)ahead; // an integer: it may run over the end of what is there

	for (; length >= STEP; length -= STEP) {
		for (uintptr_t line = 0; line < STEP; line += LINE)
			__builtin_prefetch((const void *)(fetch + line), 0, 3);
		memcpy(target, source, STEP);
		target += STEP;
		source += STEP;
		fetch += STEP;
	}
	memcpy(target, source, length);
}

void vtr_copy_stream_end(void)
{
}

void vtr_copy_wide(void *to, const void *from, size_t length)
{
	uint8_t *target = to;
	const volatile uint64_t *source = from;

	for (size_t i = 0; i < length / sizeof(uint64_t); i++) {
		uint64_t word = source[i];

		memcpy(target + i * sizeof(word), &word, sizeof(word));
	}
}
