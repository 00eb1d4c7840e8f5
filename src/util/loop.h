/* SPDX-License-Identifier: MIT */
#ifndef VTR_UTIL_LOOP_H
#define VTR_UTIL_LOOP_H

#include <vitrine/loop.h>

/* Counts the dispatches: as long as it stays the same, no source but those that were ready together gets its turn. */
uint64_t vtr_loop_turn(const struct vtr_loop *loop);

#endif
