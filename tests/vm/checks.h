/* SPDX-License-Identifier: MIT */
#ifndef CHECKS_H
#define CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/error.h>

/* For programs that check a real kernel from inside a small guest: one TAP line a check, and the plan at the end. */

/* "ok" or "not ok"; format: what was seen, printed when it is not ok. */
__attribute__((format(printf, 3, 4))) void check(bool ok, const char *name, const char *format, ...);
/* A library call that returned result: success when code is 0, else -code with an error of this owner. */
void check_error(const char *name, int result, const struct vtr_error *error, enum vtr_error_owner owner, int code);
/* Something that all that follows needs: ends the program. Says errno. */
void must(bool ok, const char *what);
void print_plan(void);

void write_text(const char *path, const char *text); /* into a file that exists; ends the program when it cannot */
/* Imports a dmabuf into a DRM card anew and gives it back: 0 or -errno. */
int import(int card, int dmabuf);

uint64_t config_offset(int device); /* where a VFIO device's configuration space is in its fd */
/* Turns its memory decoding on or off, as its guest may at any time. */
void set_decoding(int device, bool on);

#endif
