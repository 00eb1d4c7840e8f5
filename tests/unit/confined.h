/* SPDX-License-Identifier: MIT */
/* A process that is confined as the one that renders is. */
#ifndef TESTS_UNIT_CONFINED_H
#define TESTS_UNIT_CONFINED_H

#include <errno.h>

enum { CONFINED_LIMIT_MB = 256 }; /* what the guest's resources may take there */

#define CONFINED_RENDER_NODE "/dev/ptmx" /* what is there everywhere, and closed otherwise */

enum confined {
	CONFINED,
	CONFINED_LANDLOCK,    /* by a kernel that has Landlock: the caller looks */
	CONFINED_NO_LANDLOCK, /* by one that has none, or where Landlock is hidden */
	CONFINED_NODE,        /* with CONFINED_RENDER_NODE as its render node */
};

/* Forks, confines the child and has it do act(data), which returns 0 or a positive errno: what this returns. */
int confined_result(int (*act)(const void *data), const void *data, enum confined how);

/* 0 or a positive errno, of a call that returns -1 and errno. */
static inline int result(int code)
{
	return code < 0 ? errno : 0;
}

#endif
