/* SPDX-License-Identifier: MIT */
#ifndef VTR_PROGRAMS_DISPLAYS_H
#define VTR_PROGRAMS_DISPLAYS_H

#include "options.h"

/* True when --display takes name. */
bool displays_know(const char *name);

/* The display of options->display, and its outputs in outputs. NULL with *error. */
struct vtr_display *displays_start(const struct options *options, struct vtr_outputs *outputs, struct vtr_error *error);

#endif
