/* SPDX-License-Identifier: MIT */
#include "memory/copy.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/*
 * x86-64: whole cache lines are stored past the caches, which saves reading them first and leaves the caches to the sources.
 *
 * Device memory is read 32 bytes at a time where the processor can (16 else), by loads that fetch a whole line at once if the
 * memory is write-combining; on uncached memory they are as good as any other of their size.
 */

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

__attribute__((target("avx2"))) static void copy_wide_avx2(uint8_t *to, const uint8_t *from, size_t length)
{
	for (size_t i = 0; i < length; i += sizeof(__m256i)) {
		__m256i bytes = _mm256_stream_load_si256((const __m256i *)(from + i));

		_mm256_storeu_si256((__m256i *)(to + i), bytes);
	}
}

static void copy_wide_sse2(uint8_t *to, const uint8_t *from, size_t length)
{
	for (size_t i = 0; i < length; i += sizeof(__m128i)) {
		__m128i bytes = _mm_load_si128((const __m128i *)(from + i));

		_mm_storeu_si128((__m128i *)(to + i), bytes);
	}
}

void vtr_copy_wide(void *to, const void *from, size_t length)
{
	/* What an earlier load of write-combining memory has left in the processor's buffers may be old. */
	_mm_mfence();
	if (__builtin_cpu_supports("avx2"))
		copy_wide_avx2(to, from, length);
	else
		copy_wide_sse2(to, from, length);
}
