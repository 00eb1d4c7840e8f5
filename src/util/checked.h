/* SPDX-License-Identifier: MIT */
#ifndef VTR_UTIL_CHECKED_H
#define VTR_UTIL_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Arithmetic on numbers that a peer sent. Each returns false, with *result unspecified, when the true result does not fit. */
static inline bool vtr_add_u64(uint64_t a, uint64_t b, uint64_t *result)
{
	return !__builtin_add_overflow(a, b, result);
}

static inline bool vtr_mul_u64(uint64_t a, uint64_t b, uint64_t *result)
{
	return !__builtin_mul_overflow(a, b, result);
}

/* True when [offset, offset + length) lies inside [0, size). */
static inline bool vtr_range_fits(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

/* True when [a, a + a_size) and [b, b + b_size) share a byte; neither may wrap. */
static inline bool vtr_ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a_size && b_size && (a < b ? b - a < a_size : a - b < b_size);
}

static inline bool vtr_is_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}

#endif
