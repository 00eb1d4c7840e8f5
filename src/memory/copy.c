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
