/* SPDX-License-Identifier: MIT */
/*
 * Whether a picture is, or holds, another one.
 *
 * A reference of the same size is compared; a smaller one may be anywhere where that is asked for. Pixels of the reference that are
 * transparent match everything: they are its holes for clocks and blinking cursors. The others may be off by a tolerance in each
 * channel, and some of them may differ altogether.
 *
 * The search looks at each place, from left to right and from top to bottom. Screens are mostly background, and so are references:
 * the reference's pixel that stands out most is looked at first, which rules nearly every place out.
 */
#include <stdlib.h>

#include "vitrinectl.h"

static const uint8_t *pixel_of(const struct ctl_picture *picture, uint32_t x, uint32_t y)
{
	return picture->pixels + y * picture->stride + (size_t)x * 3;
}

static bool is_opaque(const struct ctl_picture *picture, uint32_t x, uint32_t y)
{
	return !picture->opaque || picture->opaque[(size_t)y * picture->width + x];
}

static bool differs(const uint8_t *a, const uint8_t *b, unsigned tolerance)
{
	for (int i = 0; i < 3; i++)
		if ((unsigned)abs(a[i] - b[i]) > tolerance)
			return true;
	return false;
}

/* Counts what differs when the reference lies at left, top of the picture; more than `most` need not be counted. */
static void compare(const struct ctl_match *match, const struct ctl_picture *seen, uint32_t left, uint32_t top, uint64_t most,
                    struct ctl_difference *difference)
{
	const struct ctl_picture *wanted = match->wanted;

	*difference = (struct ctl_difference){ 0 };
	for (uint32_t y = 0; y < wanted->height && difference->pixels <= most; y++) {
		const uint8_t *is = pixel_of(seen, left, top + y), *should = pixel_of(wanted, 0, y);

		for (uint32_t x = 0; x < wanted->width; x++, is += 3, should += 3) {
			if (!differs(is, should, match->tolerance) || !is_opaque(wanted, x, y))
				continue;
			if (!difference->pixels++) {
				difference->x = left + x;
				difference->y = top + y;
				difference->is = is;
				difference->should = should;
			}
		}
	}
}

static void average(const struct ctl_picture *picture, uint8_t color[3])
{
	uint64_t sum[3] = { 0 }, count = 0;

	for (uint32_t y = 0; y < picture->height; y++)
		for (uint32_t x = 0; x < picture->width; x++) {
			if (!is_opaque(picture, x, y))
				continue;
			count++;
			for (int i = 0; i < 3; i++)
				sum[i] += pixel_of(picture, x, y)[i];
		}
	for (int i = 0; i < 3; i++)
		color[i] = count ? (uint8_t)(sum[i] / count) : 0;
}

/* The opaque pixel that is farthest from the average colour; false: there is none. */
static bool find_outstanding(const struct ctl_picture *picture, uint32_t *best_x, uint32_t *best_y)
{
	uint8_t usual[3];
	int farthest = -1;

	average(picture, usual);
	for (uint32_t y = 0; y < picture->height; y++)
		for (uint32_t x = 0; x < picture->width; x++) {
			const uint8_t *pixel = pixel_of(picture, x, y);
			int distance = abs(pixel[0] - usual[0]) + abs(pixel[1] - usual[1]) + abs(pixel[2] - usual[2]);

			if (!is_opaque(picture, x, y) || distance <= farthest)
				continue;
			farthest = distance;
			*best_x = x;
			*best_y = y;
		}
	return farthest >= 0;
}

static bool search(const struct ctl_match *match, const struct ctl_picture *seen, struct ctl_difference *difference)
{
	const struct ctl_picture *wanted = match->wanted;
	uint32_t x, y;
	bool hint = !match->differ && find_outstanding(wanted, &x, &y);

	for (uint32_t top = 0; top <= seen->height - wanted->height; top++)
		for (uint32_t left = 0; left <= seen->width - wanted->width; left++) {
			if (hint && differs(pixel_of(seen, left + x, top + y), pixel_of(wanted, x, y), match->tolerance))
				continue;
			compare(match, seen, left, top, match->differ, difference);
			if (difference->pixels > match->differ)
				continue;
			difference->left = left;
			difference->top = top;
			return true;
		}
	return false;
}

enum ctl_match_result ctl_match(const struct ctl_match *match, const struct ctl_picture *seen, struct ctl_difference *difference)
{
	const struct ctl_picture *wanted = match->wanted;
	bool same = wanted->width == seen->width && wanted->height == seen->height;

	*difference = (struct ctl_difference){ 0 };
	if (!same && (!match->anywhere || wanted->width > seen->width || wanted->height > seen->height))
		return CTL_MATCH_SIZE;
	if (match->anywhere)
		return search(match, seen, difference) ? CTL_MATCH_YES : CTL_MATCH_NO;
	compare(match, seen, 0, 0, UINT64_MAX - 1, difference);
	return difference->pixels <= match->differ ? CTL_MATCH_YES : CTL_MATCH_NO;
}
