/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_BENCH_H
#define VTR_GUEST_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <vitrine/guest.h>

/* A run of `bench`, and how its parts tell their figures. */
struct vtr_bench {
	struct vtr_guest *guest;
	const struct vtr_guest_bench *choice;
	uint32_t pid; /* the device's; 0: not known */
	json_t *rows;
	bool failed;
};

void vtr_bench_add(struct vtr_bench *bench, const char *name, double value, const char *unit);
/* In place of a figure that could not be taken: why not. The run has failed. */
void vtr_bench_give_up(struct vtr_bench *bench, const char *name, const char *why);

extern const char vtr_bench_unknown_process[];

/* Clears, read back and shown, and an idle picture: --3d. */
void vtr_bench_3d(struct vtr_bench *bench);

#endif
