/* SPDX-License-Identifier: MIT */
#include "memory/copy.h"

#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

/* x86-64: whole cache lines are stored past the caches, which saves reading them first and leaves the caches to the sources. */

enum { LINE = 64 };

static void copy_line(uint8_t *to, const uint8_t *from)
{
	__m128i *target = (__m128i *)to;
	const __m128i *source = (const __m128i *)from;
	__m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
	__m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);

	_mm_stream_si128(target, a);
	_mm_stream_si128(target + 1, b);
	_mm_stream_si128(target + 2, c);
	_mm_stream_si128(target + 3, d);
}

void vtr_copy_stream(void *to, const void *from, size_t length, const void *ahead)
{
	uint8_t *target = to;
	const uint8_t *source = from;
	uintptr_t fetch = (uintptr_t)ahead; // an integer: it may run over the end of what is there
	size_t lead = (LINE - ((uintptr_t)to & (LINE - 1))) & (LINE - 1);

	/* Up to the first whole line of the target. */
	lead = lead < length ? lead : length;
	memcpy(target, source, lead);
	target += lead;
	source += lead;
	fetch += lead;
	length -= lead;
	for (; length >= LINE; length -= LINE) {
		_mm_prefetch((const char *)fetch, _MM_HINT_T0);
		copy_line(target, source);
		target += LINE;
		source += LINE;
		fetch += LINE;
	}
	memcpy(target, source, length);
}

void vtr_copy_stream_end(void)
{
	_mm_sfence();
}
